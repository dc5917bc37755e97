"""The Laplacian of a triangle mesh's surface and its vertices' areas."""

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

COTANGENTS = (0.05, 20.0)
"""Least and greatest cotangent of a corner that counts."""


def vertex_areas(vertices: NDArray, triangles: NDArray) -> NDArray[np.float64]:
    """A third of the area of each vertex's triangles (V,). vertices: (V, 3); triangles: (F, 3)."""
    corner = vertices[triangles]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 6
    return np.bincount(triangles.ravel(), np.repeat(area, 3), minlength=len(vertices))


def cotangent_laplacian(vertices: NDArray, triangles: NDArray) -> sparse.csr_matrix:
    """Laplacian (V, V), symmetric and positive semidefinite: (L x)_i = sum_j w_ij (x_i - x_j).

    w_ij is half the sum of the cotangents opposite to the edge (Pinkall and Polthier 1993), each kept in COTANGENTS so
    that obtuse and flat triangles give positive, bounded weights. vertices: (V, 3); triangles: (F, 3).
    """
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, apex = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        first, second = vertices[i] - vertices[apex], vertices[j] - vertices[apex]
        sine = np.linalg.norm(np.cross(first, second), axis=1)
        cotangent = (first * second).sum(1) / np.maximum(sine, 1e-9)
        rows += [i, j]
        columns += [j, i]
        values += [np.clip(cotangent, *COTANGENTS) / 2] * 2
    shape = (len(vertices), len(vertices))
    weights = sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    return sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights
