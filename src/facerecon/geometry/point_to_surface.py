"""Exact distances from points to a triangle mesh."""

import igl
import numpy as np
from numpy.typing import ArrayLike, NDArray

# A triangle flatter than this (height over longest edge) is searched as its longest edge: the tree's closest point in
# a flat triangle is unreliable, and the edge is within this fraction of its length from every point of the triangle.
_FLAT_TRIANGLE = 1e-7


class Surface:
    """A triangle mesh with a bounding-volume tree, for repeated closest-point queries.

    vertices: (V, 3) finite, any unit. triangles: (F, 3) vertex indices, F >= 1; triangles without area are allowed.
    Raises ValueError for wrong shapes, coordinates that are not finite and indices out of range.
    """

    def __init__(self, vertices: ArrayLike, triangles: ArrayLike):
        vertices = np.ascontiguousarray(vertices, np.float64)
        triangles = np.ascontiguousarray(triangles, np.int64)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
            raise ValueError(f"(V, 3) vertices and (F, 3) triangles expected, got {vertices.shape}, {triangles.shape}")
        if len(triangles) == 0 or triangles.min() < 0 or triangles.max() >= len(vertices):
            raise ValueError("a surface needs at least one triangle, and indices between 0 and the vertex count")
        if not np.isfinite(vertices).all():
            raise ValueError("the surface has coordinates that are not finite")
        self._vertices = vertices
        self._triangles = _flat_triangles_as_edges(vertices, triangles)
        self._tree = igl.AABB()
        self._tree.init(self._vertices, self._triangles)

    def closest(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Unsigned distances (N,), closest surface points (N, 3) and their triangles (N,) for (N, 3) finite points."""
        points = np.ascontiguousarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"(N, 3) points expected, got {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError("the points are not all finite")
        if len(points) == 0:
            return np.zeros(0), np.zeros((0, 3)), np.zeros(0, np.int64)
        squared, triangle, closest = self._tree.squared_distance(self._vertices, self._triangles, points)
        return np.sqrt(squared).reshape(-1), closest.reshape(-1, 3), triangle.reshape(-1).astype(np.int64)


def point_to_surface(
    points: ArrayLike, vertices: ArrayLike, triangles: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Exact unsigned distance of each point to the nearest triangle.

    points: (N, 3). vertices: (V, 3), the same unit and frame. triangles: (F, 3). Returns distances (N,) in that unit,
    closest points (N, 3) and indices of the triangles they lie on (N,). For many queries of one mesh use `Surface`.
    Raises ValueError as `Surface` does.
    """
    return Surface(vertices, triangles).closest(points)


def triangle_flatness(vertices: NDArray, triangles: NDArray) -> NDArray[np.float64]:
    """(F,) height over longest edge of each triangle: 0 for one without area, at most sqrt(3)/2."""
    corners = np.asarray(vertices, np.float64)[triangles]
    edges = np.roll(corners, -1, axis=1) - corners
    longest_squared = np.square(edges).sum(axis=2).max(axis=1)
    double_area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    return np.divide(double_area, longest_squared, out=np.zeros_like(double_area), where=longest_squared > 0)


def _flat_triangles_as_edges(vertices: NDArray, triangles: NDArray) -> NDArray[np.int64]:
    flat = np.flatnonzero(triangle_flatness(vertices, triangles) <= _FLAT_TRIANGLE)
    if flat.size == 0:
        return triangles
    corners = vertices[triangles[flat]]
    longest = np.square(np.roll(corners, -1, axis=1) - corners).sum(axis=2).argmax(axis=1)
    rows = np.arange(flat.size)
    start, end = triangles[flat][rows, longest], triangles[flat][rows, (longest + 1) % 3]
    triangles = triangles.copy()
    triangles[flat] = np.stack([start, end, end], axis=1)
    return triangles
