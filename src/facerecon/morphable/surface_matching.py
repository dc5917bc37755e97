"""Which points of a scan belong to which vertices of a model's mesh."""

import numpy as np
from numpy.typing import NDArray

from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.scan_surface import Counterparts, ScanSurface, mesh_normals

GREATEST_ANGLE = 60.0
"""Degrees between the normals of counterparts."""

_REJECTED_SCALES = 3.0  # distances beyond so many robust scales are no counterparts
_COVERED_DISTANCE = 0.5  # mm within which a vertex is on the scan, whatever else of the mesh is near
_COVERED_SHARE = 0.5  # of a vertex's distance: another part of the mesh nearer than that to the scan's point covers it
_PROBE_HEIGHTS = (0.3, 0.8, 2.0)  # mm above a vertex at which parts that cover it thinly are looked for
_LEAST_CLEARANCE = 0.5  # distance from a probe to the mesh over its height; with these heights no gap to 3 mm is missed


def match_vertices(
    surface: ScanSurface, vertices: NDArray, triangles: NDArray, sample: NDArray, scale: float
) -> tuple[Counterparts, NDArray[np.bool_]]:
    """Closest scan points of the vertices `sample` (n,) of a mesh (V, 3), (F, 3), and whether each is a counterpart.

    It is none where the scan ends, lies too far off or faces elsewhere, or where another part of the mesh is much
    nearer to it, as lids are to the skin that the rim of an eyeball finds. scale: mm, of `robust_weights`.
    """
    found = surface.closest(vertices[sample])
    cosine = (found.normals * mesh_normals(vertices, triangles)[sample]).sum(1)
    cosine = cosine if surface.oriented else np.abs(cosine)
    accepted = (cosine > np.cos(np.radians(GREATEST_ANGLE))) & ~found.beside
    accepted &= found.distances < _REJECTED_SCALES * scale
    doubtful = np.flatnonzero(accepted & (found.distances > _COVERED_DISTANCE))
    back, _, _ = Surface(vertices, triangles).closest(found.points[doubtful])
    accepted[doubtful] = back > _COVERED_SHARE * found.distances[doubtful]
    return found, accepted


def find_exposed(vertices: NDArray, triangles: NDArray) -> NDArray[np.bool_]:
    """(V,) whether the surface is the outer one at a vertex: no part that faces the same way lies close above it.

    Eyeballs under lids and linings would else be taken for the skin that covers them thinly. Probes go out along the
    normal; over outer skin the mesh is about as far from them as they went, but for parts that face elsewhere, such as
    the other lip.
    """
    mesh, normals = Surface(vertices, triangles), mesh_normals(vertices, triangles)
    exposed = np.ones(len(vertices), bool)
    for height in _PROBE_HEIGHTS:
        left = np.flatnonzero(exposed)
        distances, closest, triangle = mesh.closest(vertices[left] + height * normals[left])
        weights = barycentric_coordinates(closest, vertices[triangles[triangle]])
        above = (normals[triangles[triangle]] * weights[..., None]).sum(1)
        alike = (above * normals[left]).sum(1) > np.cos(np.radians(GREATEST_ANGLE))
        exposed[left] = ~alike | (distances > _LEAST_CLEARANCE * height)
    return exposed


def robust_weights(distances: NDArray, scale: float) -> NDArray[np.float64]:
    """Weights (N,) of Geman and McClure's estimator."""
    return 1.0 / (1.0 + (distances / scale) ** 2) ** 2


def interpolate_scales(ends: tuple[float, float], progress: float) -> float:
    """Geometric interpolation from the first to the last of two positive numbers; progress in [0, 1]."""
    return ends[0] * (ends[1] / ends[0]) ** progress
