"""A face scan as registration sees it: closest points with normals, and whether they lie on the scan's border."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.normals import vertex_normals
from facerecon.geometry.point_to_surface import Surface

_BORDER = 1e-6  # barycentric weight below which a closest point lies on the opposite edge
_CLOUD_NEIGHBOURS = 12
_CLOUD_GAP = 2.5  # median spacings beside a cloud's nearest point beyond which there is no surface


class Counterparts(NamedTuple):
    """Of N points: the closest scan points (N, 3), unit normals there (N, 3), distances (N,) and beside (N,) bool: True
    where the point lies beside the scan's border rather than over its surface."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    distances: NDArray[np.float64]
    beside: NDArray[np.bool_]


class ScanSurface:
    """A mesh, or a cloud of points with tangent planes, for closest-point queries.

    vertices: (N, 3) finite. triangles: (F, 3) or None for a cloud. Vertices at one place count as one, so that meshes
    cut along texture seams have no border there. `oriented` tells whether normals have a known sign: those of a cloud
    have none.
    """

    def __init__(self, vertices: NDArray, triangles: NDArray | None):
        self.oriented = triangles is not None
        if triangles is None:
            self.vertices = np.asarray(vertices, np.float64)
            self._tree = cKDTree(self.vertices)
            spacing, neighbours = self._tree.query(self.vertices, k=_CLOUD_NEIGHBOURS)
            self._gap = _CLOUD_GAP * float(np.median(spacing[:, 1]))
            around = self.vertices[neighbours]
            deviation = around - around.mean(1, keepdims=True)
            self._normals = np.linalg.eigh(np.einsum("nki,nkj->nij", deviation, deviation))[1][:, :, 0]
            return
        self.vertices, same = np.unique(np.asarray(vertices, np.float64), axis=0, return_inverse=True)
        triangles = same.reshape(-1)[triangles]
        distinct = (triangles != np.roll(triangles, 1, axis=1)).all(1)
        self._triangles = triangles[distinct] if distinct.any() else triangles
        self._surface = Surface(self.vertices, self._triangles)
        self._normals = mesh_normals(self.vertices, self._triangles)
        self._open_edge = _open_edges(self._triangles)
        self._open_vertex = np.zeros(len(self.vertices), bool)
        for k in range(3):
            ends = self._triangles[self._open_edge[:, k]][:, [k, (k + 1) % 3]]
            self._open_vertex[ends.ravel()] = True

    def closest(self, points: NDArray) -> Counterparts:
        """Counterparts of points (N, 3), finite, in the scan's frame."""
        return self._closest_in_cloud(points) if not self.oriented else self._closest_on_mesh(points)

    def turn_outwards(self, vertices: NDArray, triangles: NDArray) -> None:
        """Flip the scan's normals if most disagree with those of a mesh (V, 3), (F, 3) that lies about on it."""
        if self.oriented:
            found = self.closest(vertices)
            agreement = (found.normals * mesh_normals(vertices, triangles)).sum(1)
            if np.median(agreement[~found.beside] if not found.beside.all() else agreement) < 0:
                self._normals = -self._normals

    def _closest_on_mesh(self, points: NDArray) -> Counterparts:
        distances, closest, triangle = self._surface.closest(points)
        corners = self._triangles[triangle]
        weights = barycentric_coordinates(closest, self.vertices[corners])
        normals = _unit((self._normals[corners] * weights[..., None]).sum(1))
        on_edge = weights[:, [2, 0, 1]] < _BORDER  # edge k joins corners k and k + 1
        at_corner = weights > 1 - _BORDER
        beside = (on_edge & self._open_edge[triangle]).any(1) | (at_corner & self._open_vertex[corners]).any(1)
        return Counterparts(closest, normals, distances, beside)

    def _closest_in_cloud(self, points: NDArray) -> Counterparts:
        """The points' feet on the tangent plane of the nearest scan point; beside it where that is far along it."""
        _, nearest = self._tree.query(points)
        normals, offset = self._normals[nearest], points - self.vertices[nearest]
        height = (offset * normals).sum(1, keepdims=True)
        along = np.linalg.norm(offset - height * normals, axis=1)
        beside = along > self._gap
        closest = np.where(beside[:, None], self.vertices[nearest], points - height * normals)
        return Counterparts(closest, normals, np.linalg.norm(points - closest, axis=1), beside)


def mesh_normals(vertices: NDArray, triangles: NDArray) -> NDArray[np.float64]:
    """Unit vertex normals (V, 3), weighted by area; zero where a vertex has no area around it."""
    return vertex_normals(torch.from_numpy(np.ascontiguousarray(vertices, np.float64))[None], triangles)[0].numpy()


def _open_edges(triangles: NDArray) -> NDArray[np.bool_]:
    """(F, 3) bool: whether the edge from corner k to k + 1 belongs to one triangle only."""
    edges = np.sort(np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    key = edges[:, 0].astype(np.int64) * (int(triangles.max()) + 1) + edges[:, 1]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    return (count[inverse.reshape(-1)] == 1).reshape(-1, 3)


def _unit(vectors: NDArray) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
