"""Which landmarks a photograph shows, and what hides the others."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from facerecon.render.rasterize import rasterize
from facerecon.synthesis.head_surface import CLASS, HeadSurface
from facerecon.synthesis.rendering import Camera

TOLERANCE = 6.0  # mm that a landmark may lie behind the surface seen in its place: coarse mesh against fine
LENS_TOLERANCE = 3.0  # mm behind frames and dark lenses
# What lies closer to the skin than the tolerance, yet hides it: hair, hats, cloth, and hands and masks without a class.
COVERS = [CLASS[name] for name in ("hair", "hat", "cloth", "background")]


@lru_cache(maxsize=2)
def _coarse_head(surface: HeadSurface) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Ids of the vertices of the coarse head and its triangles (n, 3) among them."""
    used, corners = np.unique(surface.coarse_triangles, return_inverse=True)
    return used, corners.reshape(-1, 3).astype(np.int32)


def head_depth(camera: Camera, surface: HeadSurface, head_vertices: NDArray, size: int) -> NDArray[np.float32]:
    """(S, S) mm from the camera to the bare head (V, 3) alone, infinite beside it."""
    used, corners = _coarse_head(surface)
    pixels = camera.project(np.asarray(head_vertices, np.float32)[used])
    return rasterize(torch.from_numpy(pixels)[None], corners, size, size, cull=False)[1][0].numpy()


def landmark_visibility(
    projected: NDArray, depth: NDArray, labels: NDArray, bare: NDArray
) -> tuple[NDArray[np.bool_], float]:
    """(68,) True for landmarks that the photograph shows, and the share of those in the picture that something else
    than the bare head hides: hair, clothes, hats, dark glasses or occluders.

    projected: (68, 3) px, px, mm of the photograph. depth, labels: (S, S) of all that was drawn, depth infinite on the
    background. bare: (R, R) `head_depth` at the photograph's size R. A landmark of the outline may fall beside it: it
    is then compared with what its pixel's neighbours show.
    """
    size = bare.shape[0]
    x, y = projected[:, 0], projected[:, 1]
    inside = (x >= 0.0) & (x < size) & (y >= 0.0) & (y < size)
    seen, place = _seen_depth(projected, depth, depth.shape[0] / size)
    limit = np.where(labels[place] == CLASS["eye_g"], LENS_TOLERANCE, TOLERANCE)
    limit = np.where(np.isin(labels[place], COVERS) & np.isfinite(depth[place]), -TOLERANCE, limit)
    visible = inside & (projected[:, 2] <= seen + limit)
    by_itself = projected[:, 2] > _seen_depth(projected, bare, 1.0)[0] + TOLERANCE
    hidden = inside & ~visible & ~by_itself
    return visible, float(hidden.sum() / max(inside.sum(), 1))


def _seen_depth(projected: NDArray, depth: NDArray, scale: float) -> tuple[NDArray, tuple[NDArray, NDArray]]:
    """(68,) depth, mm, at the landmarks' pixels of a map `scale` times as large, and rows and columns of those pixels.

    Where a pixel shows nothing, the farthest that its eight neighbours show; infinite where they show nothing either.
    """
    column, row = np.floor(projected[:, :2] * scale).astype(int).clip(0, depth.shape[0] - 1).T
    around = np.pad(np.where(np.isfinite(depth), depth, -np.inf), 1, constant_values=-np.inf)
    farthest = np.max([around[row + i, column + j] for i in range(3) for j in range(3)], axis=0)
    here = depth[row, column]
    beside = np.where(np.isfinite(farthest), farthest, np.inf)
    return np.where(np.isfinite(here), here, beside), (row, column)
