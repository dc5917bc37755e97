"""Rendering of triangle meshes: rasterisation, differentiable interpolation, shading, UV unwrapping, overlays."""
