"""A triangle mesh as files hold it."""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError


@dataclass(frozen=True)
class TriangleMesh:
    """vertices: (V, 3), the file's unit and frame. triangles: (F, 3), 0-based, in the file's order, polygons split into
    fans. uv: (T, 2) texture coordinates and uv_triangles: (F, 3) indices into them, or None."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    uv: NDArray[np.float64] | None = None
    uv_triangles: NDArray[np.int64] | None = None


def polygons_to_triangles(corner_counts: NDArray) -> NDArray[np.int64]:
    """Fans of polygons laid end to end: (F, 3) positions in the flat list of all corners.

    corner_counts: (P,) corners of each polygon, >= 3 each. A polygon a b c d gives a b c and a c d.
    """
    counts = np.asarray(corner_counts, np.int64)
    starts = np.cumsum(counts) - counts
    fan_sizes = counts - 2
    first = np.repeat(starts, fan_sizes)
    within = np.arange(fan_sizes.sum()) - np.repeat(np.cumsum(fan_sizes) - fan_sizes, fan_sizes)
    return np.stack([first, first + within + 1, first + within + 2], axis=1)


def checked_mesh(path: str | os.PathLike, mesh: TriangleMesh) -> TriangleMesh:
    """`mesh` itself; InputError naming the file if it has no vertices or faces, or a face points outside the lists."""
    if len(mesh.vertices) == 0:
        raise InputError(f"{path}: no vertices; is it a mesh file?")
    if len(mesh.triangles) == 0:
        raise InputError(f"{path}: no faces; is it cut short?")
    _check_indices(path, "vertex", mesh.triangles, len(mesh.vertices))
    if mesh.uv is not None and mesh.uv_triangles is not None:
        _check_indices(path, "texture coordinate", mesh.uv_triangles, len(mesh.uv))
    return mesh


def _check_indices(path: str | os.PathLike, what: str, indices: NDArray, count: int) -> None:
    if indices.min() < 0 or indices.max() >= count:
        raise InputError(f"{path}: a face names a {what} that does not exist ({count} are there); is it cut short?")
