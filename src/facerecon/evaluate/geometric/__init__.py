"""Geometric benchmarks: NoW, AFLW2000-3D."""
