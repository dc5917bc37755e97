"""Values of a mesh's vertices at the texels of its UV chart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


@dataclass(frozen=True)
class Texels:
    """The N texels of a square picture whose centres lie in a chart: rows (N,), counted from the top, columns (N,),
    and vertices (N, 3) and weights (N, 3) of the triangle around each."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    vertices: NDArray[np.int64]
    weights: NDArray[np.float64]

    def interpolate(self, values: NDArray) -> NDArray:
        """Values (N, C) at the texels of values (V, C) at the chart's vertices."""
        return sum(values[self.vertices[:, k]] * self.weights[:, k, None] for k in range(3))


def locate_texels(uv: NDArray, triangles: NDArray, size: int) -> Texels:
    """Texels of a size x size picture inside a chart uv (V, 2), [0, 1], u right and v up, of triangles (F, 3)."""
    from matplotlib.tri import Triangulation  # slow to import

    uv = np.asarray(uv, dtype=np.float64)
    low = np.floor(uv.min(0) * size).astype(int).clip(0, size - 1)
    high = np.ceil(uv.max(0) * size).astype(int).clip(1, size)
    columns, heights = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    u, v = (columns.ravel() + 0.5) / size, (heights.ravel() + 0.5) / size
    corners = uv[triangles]
    area = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    triangles = triangles[np.abs(area) > 1e-12]
    found = Triangulation(uv[:, 0], uv[:, 1], triangles).get_trifinder()(u, v)
    inside = found >= 0
    vertices = triangles[found[inside]].astype(np.int64)
    a, b, c = (uv[vertices[:, k]] for k in range(3))
    point = np.stack([u[inside], v[inside]], axis=1)
    whole = _cross(b - a, c - a)
    second, third = _cross(point - a, c - a) / whole, _cross(b - a, point - a) / whole
    weights = np.stack([1 - second - third, second, third], axis=1)
    return Texels(size - 1 - heights.ravel()[inside], columns.ravel()[inside], vertices, weights)


def fill_outside(picture: NDArray, known: NDArray[np.bool_]) -> NDArray:
    """The picture (H, W, C) with the nearest known texel's value where `known` (H, W) is False."""
    rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return picture[rows, columns]


def _cross(a: NDArray, b: NDArray) -> NDArray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
