"""Landmarks, regions and texture coordinates carried from one mesh to another that lies on it.

The two surfaces must lie on one another: one model's mean registered onto another's (`registration.register_scan`), or
two triangulations of one surface. A point's counterpart is the closest surface point whose normal agrees, so that an
inner lip is not taken for the outer one nor an eyelid for the eyeball under it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.scan_surface import ScanSurface, mesh_normals
from facerecon.morphable.uv_layout import signed_areas

GREATEST_DISTANCE = 5.0
"""mm between counterparts."""
GREATEST_ANGLE = 60.0
"""Degrees between the normals of counterparts."""
OVERHANG = 1.0
"""mm beside a mesh's border that still count as on it: triangulations cut their borders differently."""
SEAM_STRETCH = 6.0
"""An edge so many times longer in the texture, against the median edge of its mesh, bridges a seam."""

_AXES = np.concatenate([np.eye(3), -np.eye(3)])
_BESIDE_COSINE = (
    0.0  # triangles whose normals are farther from an axis are no candidates of points nearest to that axis
)


class Mesh(NamedTuple):
    """vertices: (V, 3) mm. triangles: (F, 3), counter-clockwise from outside."""

    vertices: NDArray
    triangles: NDArray


@dataclass(frozen=True)
class SurfaceMap:
    """Counterparts of N points on a mesh.

    triangles: (N,) of the mesh. corners: (N, 3) their vertices. barycentric: (N, 3) in [0, 1], sum 1. distances: (N,)
    mm. valid: (N,) bool, False where the closest point is too far or has another normal, or the point
    lies more than OVERHANG beside the mesh's border.
    """

    triangles: NDArray[np.int64]
    corners: NDArray[np.int64]
    barycentric: NDArray[np.float64]
    distances: NDArray[np.float64]
    valid: NDArray[np.bool_]

    def interpolate(self, values: ArrayLike) -> NDArray[np.float64]:
        """Values (N, ...) at the counterparts from values (V, ...) at the mesh's vertices."""
        values = np.asarray(values, np.float64)
        weights = self.barycentric.reshape(*self.barycentric.shape, *[1] * (values.ndim - 1))
        return (values[self.corners] * weights).sum(1)


def map_to_mesh(
    points: ArrayLike,
    normals: ArrayLike,
    mesh: Mesh,
    greatest_distance: float = GREATEST_DISTANCE,
    greatest_angle: float = GREATEST_ANGLE,
) -> SurfaceMap:
    """Counterparts on a mesh of points (N, 3) with unit normals (N, 3), mm, one frame.

    Raises ValueError for shapes that do not fit and coordinates that are not finite.
    """
    points, normals = np.asarray(points, np.float64), np.asarray(normals, np.float64)
    if points.shape != normals.shape:
        raise ValueError(f"points {points.shape} and normals {normals.shape} must have one shape")
    vertices, triangles = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.triangles, np.int64)
    vertex_normals = mesh_normals(vertices, triangles)
    least_cosine = np.cos(np.radians(greatest_angle))
    distances, closest, triangle = Surface(vertices, triangles).closest(points)

    def agree(closest: NDArray, triangle: NDArray, normals: NDArray) -> NDArray[np.bool_]:
        corners = triangles[triangle]
        weights = barycentric_coordinates(closest, vertices[corners])
        there = (vertex_normals[corners] * weights[..., None]).sum(1)
        return (there * normals).sum(1) > least_cosine * np.maximum(np.linalg.norm(there, axis=1), 1e-12)

    agreeing = agree(closest, triangle, normals)
    corner = vertices[triangles]
    facing = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    nearest_axis = (normals @ _AXES.T).argmax(1)
    for number, axis in enumerate(_AXES):
        again = np.flatnonzero(~agreeing & (nearest_axis == number))
        candidates = np.flatnonzero(facing @ axis > _BESIDE_COSINE)
        if len(again) == 0 or len(candidates) == 0:
            continue
        other_distances, other, found = Surface(vertices, triangles[candidates]).closest(points[again])
        found = candidates[found]
        better = agree(other, found, normals[again]) & (other_distances <= greatest_distance)
        chosen = again[better]
        distances[chosen], closest[chosen], triangle[chosen] = other_distances[better], other[better], found[better]
        agreeing[chosen] = True

    corners = triangles[triangle]
    weights = np.clip(barycentric_coordinates(closest, vertices[corners]), 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    beside = ScanSurface(vertices, triangles).closest(closest).beside & (distances > OVERHANG)
    valid = agreeing & (distances <= greatest_distance) & ~beside
    return SurfaceMap(triangle, corners, weights, distances, valid)


def map_vertices(target: Mesh, source: Mesh, greatest_distance: float = GREATEST_DISTANCE) -> SurfaceMap:
    """Counterparts on `source` of the vertices of `target`: what carries values from source to target."""
    normals = mesh_normals(np.asarray(target.vertices, np.float64), np.asarray(target.triangles))
    return map_to_mesh(target.vertices, normals, source, greatest_distance)


def transfer_landmarks(
    source: Mesh, landmark_triangles: ArrayLike, landmark_barycentric: ArrayLike, target: Mesh
) -> SurfaceMap:
    """Landmarks of `source`, given as triangles (L,) and barycentrics (L, 3), on `target`: a map of L points."""
    corners = np.asarray(source.triangles)[np.asarray(landmark_triangles)]
    weights = np.asarray(landmark_barycentric, np.float64)[..., None]
    vertices = np.asarray(source.vertices, np.float64)
    points = (vertices[corners] * weights).sum(1)
    normals = (mesh_normals(vertices, np.asarray(source.triangles))[corners] * weights).sum(1)
    return map_to_mesh(points, normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12), target)


def transfer_labels(to_source: SurfaceMap, labels: ArrayLike, missing: int = -1) -> NDArray[np.int64]:
    """Labels (N,) from those (V,) of the source's vertices: the one of most barycentric weight; invalid: `missing`."""
    of_corners = np.asarray(labels, np.int64)[to_source.corners]
    same = of_corners[:, :, None] == of_corners[:, None, :]
    support = (same * to_source.barycentric[:, None, :]).sum(2)
    chosen = of_corners[np.arange(len(of_corners)), support.argmax(1)]
    return np.where(to_source.valid, chosen, missing)


def transfer_regions(to_source: SurfaceMap, regions: dict[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
    """Region masks (N,) from masks (V,) of the source's vertices that do not overlap; no region where invalid.

    Raises ValueError for masks that overlap.
    """
    masks = np.stack([np.asarray(mask, bool) for mask in regions.values()])
    if (masks.sum(0) > 1).any():
        raise ValueError("regions overlap: a vertex may be in one only")
    labels = transfer_labels(to_source, np.where(masks.any(0), masks.argmax(0), -1))
    return {name: labels == number for number, name in enumerate(regions)}


def transfer_uv(to_source: SurfaceMap, uv: ArrayLike, uv_triangles: ArrayLike | None = None) -> NDArray[np.float64]:
    """Texture coordinates (N, 2) from those of the source; a number also where the map is not valid.

    uv: (T, 2) and uv_triangles: (F, 3), its corners for each triangle of the source; None where T = V and they are the
    triangles themselves. Triangles of the target that bridge a seam of the source: see `seam_triangles`.
    """
    uv = np.asarray(uv, np.float64)
    corners = to_source.corners if uv_triangles is None else np.asarray(uv_triangles)[to_source.triangles]
    return (uv[corners] * to_source.barycentric[..., None]).sum(1)


@dataclass(frozen=True)
class CarriedChart:
    """uv: (N, 2) of the target's vertices. triangles_charted: (F,) bool, what the chart shows: triangles all of whose
    corners have counterparts, that no seam runs through and that do not fold over; triangles_folded: (F,) bool, those
    left out for that alone. Vertices of no charted triangle have the place of the nearest one that has."""

    uv: NDArray[np.float64]
    triangles_charted: NDArray[np.bool_]
    triangles_folded: NDArray[np.bool_]


def transfer_chart(to_source: SurfaceMap, target: Mesh, uv: ArrayLike) -> CarriedChart:
    """The chart of a source, uv (V, 2) at its vertices, for a target of N vertices whose counterparts are known."""
    triangles, vertices = np.asarray(target.triangles), np.asarray(target.vertices, np.float64)
    carried = transfer_uv(to_source, uv)
    sound = to_source.valid[triangles].all(1)
    sound[sound] = ~seam_triangles(Mesh(vertices, triangles[sound]), carried)
    folded = sound & (signed_areas(carried, triangles) <= 0)
    charted = sound & ~folded
    if charted.any():
        known = np.unique(triangles[charted])
        rest = np.setdiff1d(np.arange(len(carried)), known)
        carried[rest] = carried[known[cKDTree(vertices[known]).query(vertices[rest])[1]]]
    return CarriedChart(carried, charted, folded)


def seam_triangles(mesh: Mesh, uv: ArrayLike) -> NDArray[np.bool_]:
    """(F,) bool: triangles that a texture seam runs through, told by an edge stretched SEAM_STRETCH times the median.

    uv: (V, 2) a vertex, as `transfer_uv` gives them. Such triangles are to be left untextured, or their vertices
    duplicated.
    """
    triangles = np.asarray(mesh.triangles)
    following = np.roll(triangles, -1, axis=1)
    vertices, uv = np.asarray(mesh.vertices, np.float64), np.asarray(uv, np.float64)
    length = np.linalg.norm(vertices[following] - vertices[triangles], axis=2)
    stretch = np.linalg.norm(uv[following] - uv[triangles], axis=2) / np.maximum(length, 1e-9)
    return (stretch > SEAM_STRETCH * np.median(stretch)).any(1)
