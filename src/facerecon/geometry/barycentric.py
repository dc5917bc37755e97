"""Barycentric coordinates of points on triangles."""

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray


def barycentric_coordinates(points: NDArray, corners: NDArray) -> NDArray[np.float64]:
    """Weights (N, 3), summing to 1, of points (N, 3) on triangles with corners (N, 3, 3).

    A point off its triangle's plane is projected onto it; one outside the triangle gets a negative weight. A triangle
    without area stands for its first corner. Source: Ericson, "Real-Time Collision Detection", section 3.4.
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = points - corners[:, 0]
    aa, ab, bb = (first**2).sum(1), (first * second).sum(1), (second**2).sum(1)
    pa, pb = (offset * first).sum(1), (offset * second).sum(1)
    determinant = aa * bb - ab**2
    usable = determinant > 0
    scale = 1.0 / np.where(usable, determinant, 1.0)
    weights = np.stack([(bb * pa - ab * pb) * scale, (aa * pb - ab * pa) * scale], 1) * usable[:, None]
    return np.concatenate([1.0 - weights.sum(1, keepdims=True), weights], axis=1)


def interpolation_matrix(corners: NDArray, weights: NDArray, vertex_count: int) -> sparse.csr_matrix:
    """Values at points from values at vertices, (N, V) sparse. corners, weights: (N, 3) vertex ids, their weights."""
    starts = np.arange(0, corners.size + 1, 3)
    return sparse.csr_matrix((weights.ravel(), corners.ravel(), starts), (len(corners), vertex_count))
