"""Synthetic photographs and benchmark folders rendered from the open head."""
