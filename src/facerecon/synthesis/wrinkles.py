"""Wrinkles as creases of a height map of the face, drawn anew for each person."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

CREASE_WIDTH, FOLD_WIDTH = 0.75, 2.4  # mm, standard deviation across
CREASE_DEPTH, FOLD_DEPTH = 0.8, 1.6  # mm of the deepest
SEGMENTS = 8
COARSENESS = 3  # texels of the map a texel of the canvas on which folds are drawn
FAINTEST = 6  # of 255, below which a line is left out

# Control points (mm around, mm up on the map, one side), depth in mm on an old face, age in years at which it is half
# as deep, and whether it is a broad fold.
_LINES = (
    (((50, 36), (57, 41), (66, 46)), 0.45, 48, False),
    (((50, 35), (58, 36), (68, 36)), 0.45, 46, False),
    (((50, 34), (57, 31), (65, 25)), 0.40, 48, False),
    (((49, 33), (54, 27), (59, 19)), 0.30, 55, False),
    (((17, 32), (29, 24), (44, 29)), 0.40, 50, False),
    (((18, 27), (32, 16), (50, 24)), 0.60, 58, True),
    (((17, 3), (27, -12), (32, -33)), 1.10, 42, True),
    (((18, 2), (27, -12), (31, -30)), 0.45, 45, False),
    (((29, -32), (31, -43), (29, -55)), 0.60, 58, True),
    (((28, -32), (30, -42), (28, -52)), 0.35, 60, False),
    (((55, 5), (62, -12), (58, -34)), 0.30, 68, False),
    (((68, 8), (74, -10), (70, -30)), 0.25, 70, False),
    (((20, 43), (31, 49), (46, 41)), 0.45, 10, False),
)


def draw_wrinkles(
    rng: Generator, age: float, shape: tuple[int, int], corner: tuple[float, float], texel: float
) -> NDArray[np.float32]:
    """Height in mm, shape (rows, columns): negative in creases, slightly raised beside them.

    age: years. corner: left and top of the map, mm. texel: mm.
    """
    personal = rng.lognormal(0.0, 0.3)
    lines = [
        (np.array(points) * [side, 1.0], depth, half_age, broad)
        for points, depth, half_age, broad in _LINES
        for side in (-1.0, 1.0)
    ]
    height = rng.uniform(70.0, 76.0)
    while height < 104.0:  # across the forehead
        reach, middle = rng.uniform(22.0, 50.0), rng.normal(0.0, 6.0)
        bend, lift = rng.normal(-3.0, 2.0), rng.normal(0.0, 2.0)
        ends = [[middle - reach, height + bend], [middle, height + lift], [middle + reach, height + bend]]
        lines.append((np.array(ends), 0.5, 45.0, False))
        height += rng.uniform(6.0, 12.0)
    for side in (-1.0, 1.0):  # between the brows
        lines.append((np.array([[side * 5.0, 48.0], [side * 6.5, 56.0], [side * 5.5, 66.0]]), 0.5, 50.0, False))
    if age > 50.0:  # above the upper lip
        for x in np.arange(-14.0, 15.0, 4.0):
            lines.append((np.array([[x, -16.0], [1.05 * x, -12.5], [1.1 * x, -9.0]]), 0.35, 68.0, False))

    controls = np.stack([line[0] for line in lines]) + rng.normal(0.0, 1.2, (len(lines), 3, 2))
    depths, half_ages = np.array([line[1] for line in lines]), np.array([line[2] for line in lines])
    strengths = personal * depths * rng.uniform(0.5, 1.4, len(lines)) / (1.0 + np.exp(-(age - half_ages) / 9.0))
    curves = _curves(rng, controls)
    broad = np.array([line[3] for line in lines])
    creases = np.zeros(shape, np.uint8)
    _draw(creases, curves[~broad], strengths[~broad] / CREASE_DEPTH, corner, texel)
    folds = np.zeros((shape[0] // COARSENESS, shape[1] // COARSENESS), np.uint8)
    _draw(folds, curves[broad], strengths[broad] / FOLD_DEPTH, corner, COARSENESS * texel)
    broad_relief = _profile(folds, FOLD_WIDTH / (COARSENESS * texel), FOLD_DEPTH)
    broad_relief = cv2.resize(broad_relief, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return _profile(creases, CREASE_WIDTH / texel, CREASE_DEPTH) + broad_relief


def _curves(rng: Generator, controls: NDArray) -> NDArray[np.float64]:
    """(n, SEGMENTS + 1, 2) wavering quadratic curves through three points each, (n, 3, 2) mm."""
    t = np.linspace(0.0, 1.0, SEGMENTS + 1)[:, None]
    first, last = controls[:, None, 0], controls[:, None, 2]
    middle = 2.0 * controls[:, None, 1] - 0.5 * (first + last)
    curves = (1.0 - t) ** 2 * first + 2.0 * t * (1.0 - t) * middle + t**2 * last
    count = (len(controls), 1)
    curves[..., 1] += 0.6 * np.sin(t[:, 0] * rng.uniform(5.0, 14.0, count) + rng.uniform(0.0, 6.0, count))
    return curves


def _draw(
    canvas: NDArray[np.uint8], curves: NDArray, values: NDArray, corner: tuple[float, float], texel: float
) -> None:
    """Curves that are strongest in their middle; values: (n,), 1 is the canvas' full range."""
    texels = np.stack([curves[..., 0] - corner[0], corner[1] - curves[..., 1]], -1) / texel
    places = np.round(texels * 16.0).astype(int)
    taper = np.sin(np.pi * (np.arange(SEGMENTS) + 0.7) / (SEGMENTS + 0.4)) ** 0.7
    levels = np.clip(255.0 * values[:, None] * taper, 0.0, 255.0).astype(int).tolist()
    for curve, of_curve in zip(places.tolist(), levels, strict=True):
        for k, level in enumerate(of_curve):
            if level >= FAINTEST:
                cv2.line(canvas, curve[k], curve[k + 1], level, 1, cv2.LINE_AA, 4)


def _profile(canvas: NDArray[np.uint8], width: float, depth: float) -> NDArray[np.float32]:
    """Valleys of a standard deviation (texels) with raised sides; depth: mm of a line of value 255."""
    lines = canvas.astype(np.float32) * np.float32(1.0 / 255.0)
    valley = cv2.GaussianBlur(lines, (0, 0), width) * np.float32(width * np.sqrt(2.0 * np.pi))
    sides = cv2.GaussianBlur(lines, (0, 0), 2.5 * width) * np.float32(2.5 * width * np.sqrt(2.0 * np.pi))
    return np.float32(depth) * (np.float32(0.45) * sides - valley)
