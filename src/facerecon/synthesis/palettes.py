"""Colours of made things as people choose them: mostly muted. All colours are linear RGB."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.render.shading import srgb_to_linear
from facerecon.synthesis.randomness import chance


def from_hsv(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """Linear RGB (3,) of a hue in degrees and a saturation and value in [0, 1], as sRGB encodes them."""
    pixel = np.array([[[hue % 360.0, saturation, value]]], np.float32)
    return np.asarray(srgb_to_linear(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)), np.float32)


def cloth_colour(rng: Generator) -> NDArray[np.float32]:
    """Clothes: black, white and grey in four of nine, navy and denim, earthy tones, now and then a bright one."""
    kind = rng.random()
    if kind < 0.22:
        return from_hsv(rng.uniform(0, 360), rng.uniform(0.0, 0.15), rng.uniform(0.06, 0.25))
    if kind < 0.34:
        return from_hsv(rng.uniform(20, 60), rng.uniform(0.0, 0.08), rng.uniform(0.82, 0.95))
    if kind < 0.46:
        return from_hsv(rng.uniform(0, 360), rng.uniform(0.0, 0.1), rng.uniform(0.3, 0.75))
    if kind < 0.64:
        return from_hsv(rng.normal(216, 9), rng.uniform(0.3, 0.75), rng.uniform(0.18, 0.65))
    if kind < 0.80:
        return from_hsv(rng.normal(30, 14), rng.uniform(0.2, 0.6), rng.uniform(0.25, 0.8))
    if kind < 0.92:
        return from_hsv(rng.uniform(0, 360), rng.uniform(0.25, 0.55), rng.uniform(0.3, 0.8))
    return from_hsv(
        rng.choice([0.0, 350.0, 45.0, 130.0, 205.0]) + rng.normal(0, 8), rng.uniform(0.65, 0.9), rng.uniform(0.5, 0.85)
    )


def wall_colour(rng: Generator) -> NDArray[np.float32]:
    """Paint, plaster, wood and stone: light and pale in most cases."""
    kind = rng.random()
    if kind < 0.45:
        return from_hsv(rng.normal(40, 15), rng.uniform(0.0, 0.2), rng.uniform(0.55, 0.95))
    if kind < 0.65:
        return from_hsv(rng.normal(210, 20), rng.uniform(0.05, 0.35), rng.uniform(0.35, 0.85))
    if kind < 0.8:
        return from_hsv(rng.normal(28, 8), rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.55))
    if kind < 0.93:
        return from_hsv(rng.uniform(0, 360), rng.uniform(0.1, 0.45), rng.uniform(0.25, 0.8))
    return from_hsv(rng.uniform(0, 360), rng.uniform(0.3, 0.7), rng.uniform(0.08, 0.25))


def leaf_colour(rng: Generator) -> NDArray[np.float32]:
    """Leaves and grass, yellow to bluish green, red and brown in autumn."""
    if chance(rng, 0.12):
        return from_hsv(rng.uniform(15, 50), rng.uniform(0.4, 0.8), rng.uniform(0.25, 0.7))
    return from_hsv(rng.normal(88, 16), rng.uniform(0.3, 0.75), rng.uniform(0.12, 0.6))
