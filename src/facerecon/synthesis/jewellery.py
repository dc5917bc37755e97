"""Earrings: studs, hoops and pendants at the lobes of the ears."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.head_surface import CLASS, HeadSurface
from facerecon.synthesis.palettes import from_hsv
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.shapes import Mesh, coloured, lathe, merge, tube

METALS = ((0.55, 0.42, 0.17), (0.5, 0.5, 0.5), (0.03, 0.03, 0.03))
EARRINGS = {"male": 0.05, "female": 0.4}  # share of adults in photographs with earrings


def ear_lobes(surface: HeadSurface, head: NDArray) -> NDArray[np.float32]:
    """(2, 3) lower ends of the right and the left ear of a head (V, 3), mm."""
    on_ear = surface.masks["ears"] > 0.7
    lobes = []
    for side in (-1.0, 1.0):
        ear = np.flatnonzero(on_ear & (side * surface.template[:, 0] > 0.0))
        lowest = ear[np.argsort(surface.template[ear, 1])[:12]]
        lobes.append(head[lowest].mean(0))
    return np.array(lobes, np.float32)


def sample_earrings(rng: Generator, lobes: NDArray, male: bool) -> Mesh | None:
    """A pair of earrings (one in a few cases) labelled `ear_r`, or None. lobes: (2, 3) mm."""
    if not chance(rng, EARRINGS["male" if male else "female"]):
        return None
    metal = np.array(METALS[rng.integers(len(METALS))])
    stone = from_hsv(rng.uniform(0, 360), rng.uniform(0.0, 0.7), rng.uniform(0.3, 0.95))
    kind, size = rng.integers(3), rng.uniform(0.6, 1.5)
    pieces = []
    for lobe, side in zip(lobes, (-1.0, 1.0), strict=True):
        hook = lobe + [side * 1.5, 3.0, 2.0]
        if kind == 0:
            pieces.append(coloured(_ball(2.6 * size)[0] + hook, _ball(1.0)[1], stone, CLASS["ear_r"]))
        elif kind == 1:
            turn, radius = np.linspace(0.0, 2.0 * np.pi, 20), rng.uniform(6.0, 14.0) * size
            ring = hook + np.stack([0.3 * np.sin(turn), np.cos(turn) - 1.0, np.sin(turn)], 1) * radius
            pieces.append(coloured(*tube(ring, 1.0), metal, CLASS["ear_r"]))
        else:
            length = rng.uniform(8.0, 26.0) * size
            path = np.linspace(hook, hook - [0.0, length, 0.0], 4)
            pieces.append(coloured(*tube(path, 0.7), metal, CLASS["ear_r"]))
            points, triangles = _ball(3.4 * size)
            pieces.append(coloured(points * [1.0, 1.6, 1.0] + path[-1], triangles, stone, CLASS["ear_r"]))
        if male and len(pieces) == 1 and chance(rng, 0.5):
            break
    return replace(merge(pieces), gloss=0.15)


def _ball(radius: float) -> tuple[NDArray, NDArray]:
    turns = np.linspace(-np.pi / 2, np.pi / 2, 7)
    return lathe(radius * np.stack([np.cos(turns), np.sin(turns)], 1), 10)
