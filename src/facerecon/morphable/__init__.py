"""Morphable face models: the carried open face model, its head generator and skin, and how they are built."""
