"""Eyelashes as strands on MakeHuman's lash sheets, which follow the lids in every expression."""

from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from facerecon.morphable.lashes import lash_sheets
from facerecon.synthesis.eyes_and_mouth import EyeAndMouthLook
from facerecon.synthesis.head_surface import HeadSurface
from facerecon.synthesis.strands import Strands

GAP = {"upper": 0.5, "lower": 1.1}  # mm between roots on the template
POINTS = 5
HALF_WIDTH = 0.11  # mm
COLOUR = (0.010, 0.008, 0.007)


def lash_strands(surface: HeadSurface, coarse: NDArray, look: EyeAndMouthLook) -> Strands:
    """Lashes of both eyes on a posed coarse head (C, 3), mm, longer and thicker the stronger the look's lashes."""
    operator, spread = _lash_operator(surface)
    count = len(spread)
    points = (operator @ coarse).reshape(count, POINTS, 3)
    length = (0.55 + 0.45 * look.lashes) * (1.0 - 0.25 * spread)
    points = points[:, :1] + (points - points[:, :1]) * length[:, None, None]
    colour = np.array(COLOUR) + max(0.0, 0.5 - look.lashes) * np.array([0.12, 0.07, 0.04])
    return Strands(
        points.astype(np.float32),
        np.full(count, HALF_WIDTH * (0.6 + 0.6 * look.lashes), np.float32),
        np.tile(colour.astype(np.float32), (count, 1)),
        (0.95 - 0.3 * spread).astype(np.float32),
        np.ones(count, np.float32),
        None,
    )


@lru_cache(maxsize=2)
def _lash_operator(surface: HeadSurface) -> tuple[sp.csr_matrix, NDArray[np.float32]]:
    """Points of all lashes (N * POINTS, C) from the coarse head, and (N,) random numbers in [0, 1], one a lash."""
    generator = surface.generator
    edges = np.intersect1d(generator.quads["eye_sockets"], generator.quads["skin"])
    template = generator.template
    rng = np.random.default_rng(7)
    rows, columns, weights, total = [], [], [], 0
    for sheet in lash_sheets(template, generator.lash_quads, edges):
        rises = template[sheet[-1], 1].mean() > template[sheet[0], 1].mean()
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(template[sheet[0]], axis=0), axis=1))])
        count = int(along[-1] / GAP["upper" if rises else "lower"])
        root = (np.arange(count) + rng.uniform(0.2, 0.8, count)) / count * along[-1]
        # Lashes fan out toward the corners and clump a little, so that no two photographs' combs look alike.
        lean = 2.0 * (2.0 * root / along[-1] - 1.0) + rng.normal(0.0, 0.5, count)
        height = np.linspace(0.0, 1.0, POINTS)
        place = np.clip(root[:, None] + lean[:, None] * height**2, 0.0, along[-1])
        across = np.interp(place, along, np.arange(len(along)))
        up = np.broadcast_to(height * (len(sheet) - 1), place.shape)
        i, j = np.minimum(up.astype(int), len(sheet) - 2), np.minimum(across.astype(int), len(along) - 2)
        fy, fx = up - i, across - j
        ids = total + np.arange(place.size).reshape(place.shape)
        for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
            rows.append(ids.ravel())
            columns.append(sheet[i + di, j + dj].ravel())
            weights.append((np.abs(1 - di - fy) * np.abs(1 - dj - fx)).ravel())
        total += place.size
    entries = np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(columns))
    operator = sp.csr_matrix(entries, shape=(total, len(template)))
    return operator, rng.random(total // POINTS).astype(np.float32)
