"""Morphable face models: the carried open face model, its head generator and procedural skin, and how they are built."""
