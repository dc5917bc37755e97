"""Exact distances from points to a triangle mesh, by a tree of boxes around its triangles.

Source of the closest point on a triangle: Ericson, "Real-Time Collision Detection", 2005, section 5.1.5.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.compilation import njit

# A triangle flatter than this (height over longest edge) is searched as its longest edge: the closest point in a
# flat triangle is unreliable, and the edge is within this fraction of its length from every point of the triangle.
_FLAT_TRIANGLE = 1e-7
_LEAF_TRIANGLES = 4
# Halving the triangles at every level, the deepest path of 2^31 triangles passes 32 nodes, each leaving one sibling.
_STACK = 64


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
        corners = vertices[_flat_triangles_as_edges(vertices, triangles)]
        self._boxes, self._first, self._count, self._order = _build_tree(corners.min(axis=1), corners.max(axis=1))
        corners = corners[self._order]
        first_edge, second_edge = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        products = [(a * b).sum(axis=1) for a, b in ((first_edge,) * 2, (first_edge, second_edge), (second_edge,) * 2)]
        self._corners = np.concatenate([corners[:, 0], first_edge, second_edge, np.stack(products, axis=1)], axis=1)

    def closest(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Unsigned distances (N,), closest surface points (N, 3) and their triangles (N,) for (N, 3) finite points."""
        points = np.ascontiguousarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"(N, 3) points expected, got {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError("the points are not all finite")
        if len(points) == 0:
            return np.zeros(0), np.zeros((0, 3)), np.zeros(0, np.int64)
        distances, closest = np.empty(len(points)), np.empty_like(points)
        places = np.empty(len(points), np.int64)
        _search(points, self._corners, self._boxes, self._first, self._count, distances, closest, places)
        return distances, closest, self._order[places]


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


@njit(cache=True, nogil=True)
def _build_tree(low, high):
    """Tree over triangles with boxes low, high (F, 3), halved along the longest spread of their middles.

    Returns boxes (N, 6) of the nodes; first (N,) and count (N,): a leaf holds the triangles first to first + count of
    `order`, an inner node has count 0 and the children first and first + 1; order (F,).
    """
    middle = (low + high) / 2
    order = np.arange(len(low))
    most = 2 * len(low)
    boxes, first, count = np.empty((most, 6)), np.zeros(most, np.int32), np.zeros(most, np.int32)
    pending = [(0, len(low), 0)]
    used = 1
    while pending:
        start, end, node = pending.pop()
        part = order[start:end]
        axis, widest = 0, -1.0
        for k in range(3):
            boxes[node, k], boxes[node, k + 3] = low[part, k].min(), high[part, k].max()
            spread = middle[part, k].max() - middle[part, k].min()
            if spread > widest:
                axis, widest = k, spread
        if end - start <= _LEAF_TRIANGLES:
            first[node], count[node] = start, end - start
            continue
        order[start:end] = part[np.argsort(middle[part, axis], kind="mergesort")]
        half = (start + end) // 2
        first[node] = used
        pending.append((half, end, used + 1))
        pending.append((start, half, used))
        used += 2
    return boxes[:used].copy(), first[:used].copy(), count[:used].copy(), order


@njit(cache=True, nogil=True)
def _search(points, corners, boxes, first, count, distances, closest, places):
    """Depth-first search, the nearer child first; boxes farther than the best triangle so far are passed over."""
    waiting, waiting_distance = np.empty(_STACK, np.int32), np.empty(_STACK)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best, place, best_u, best_v = np.inf, 0, 0.0, 0.0
        waiting[0], waiting_distance[0] = 0, 0.0
        top = 0
        while top >= 0:
            node, far = waiting[top], waiting_distance[top] >= best
            top -= 1
            while not far and count[node] == 0:
                near, other = first[node], first[node] + 1
                near_distance = _distance_to_box(x, y, z, boxes, near)
                other_distance = _distance_to_box(x, y, z, boxes, other)
                if other_distance < near_distance:
                    near, other = other, near
                    near_distance, other_distance = other_distance, near_distance
                if other_distance < best:
                    top += 1
                    waiting[top], waiting_distance[top] = other, other_distance
                node, far = near, near_distance >= best
            if far:
                continue
            for t in range(first[node], first[node] + count[node]):
                u, v = _closest_on_triangle(x - corners[t, 0], y - corners[t, 1], z - corners[t, 2], corners, t)
                dx = corners[t, 0] + u * corners[t, 3] + v * corners[t, 6] - x
                dy = corners[t, 1] + u * corners[t, 4] + v * corners[t, 7] - y
                dz = corners[t, 2] + u * corners[t, 5] + v * corners[t, 8] - z
                squared = dx * dx + dy * dy + dz * dz
                if squared < best:
                    best, place, best_u, best_v = squared, t, u, v
        distances[i], places[i] = np.sqrt(best), place
        for k in range(3):
            closest[i, k] = corners[place, k] + best_u * corners[place, k + 3] + best_v * corners[place, k + 6]


@njit(cache=True, nogil=True, inline="always")
def _distance_to_box(x, y, z, boxes, node):
    """Squared distance, 0 inside."""
    dx = max(boxes[node, 0] - x, 0.0, x - boxes[node, 3])
    dy = max(boxes[node, 1] - y, 0.0, y - boxes[node, 4])
    dz = max(boxes[node, 2] - z, 0.0, z - boxes[node, 5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True, inline="always")
def _closest_on_triangle(x, y, z, corners, t):
    """u, v of the closest point a + u (b - a) + v (c - a) of triangle t to the point a + (x, y, z).

    Row t of corners: a, b - a, c - a and the products of these two edges with themselves and each other.
    """
    along_b = corners[t, 3] * x + corners[t, 4] * y + corners[t, 5] * z
    along_c = corners[t, 6] * x + corners[t, 7] * y + corners[t, 8] * z
    if along_b <= 0 and along_c <= 0:
        return 0.0, 0.0
    bb, bc, cc = corners[t, 9], corners[t, 10], corners[t, 11]
    # The same two products for the point as seen from b, then from c.
    b_along_b, b_along_c = along_b - bb, along_c - bc
    if b_along_b >= 0 and b_along_c <= b_along_b:
        return 1.0, 0.0
    outside_ab = along_b * b_along_c - b_along_b * along_c
    if outside_ab <= 0 and along_b >= 0 and b_along_b <= 0:
        return along_b / (along_b - b_along_b), 0.0
    c_along_b, c_along_c = along_b - bc, along_c - cc
    if c_along_c >= 0 and c_along_b <= c_along_c:
        return 0.0, 1.0
    outside_ac = c_along_b * along_c - along_b * c_along_c
    if outside_ac <= 0 and along_c >= 0 and c_along_c <= 0:
        return 0.0, along_c / (along_c - c_along_c)
    outside_bc = b_along_b * c_along_c - c_along_b * b_along_c
    from_b, from_c = b_along_c - b_along_b, c_along_b - c_along_c
    if outside_bc <= 0 and from_b >= 0 and from_c >= 0:
        return from_c / (from_b + from_c), from_b / (from_b + from_c)
    scale = 1 / (outside_ab + outside_ac + outside_bc)
    return outside_ac * scale, outside_ab * scale
