"""What a publisher left out of a model's topology, estimated from the mean face: mirror map, texture coordinates."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, similarity_procrustes
from facerecon.morphable.scan_surface import mesh_normals
from facerecon.morphable.subdivision import boundary_loops
from facerecon.morphable.uv_layout import chart_disc, chart_eye, signed_areas, to_unit_square

NORMAL_WEIGHT = 3.0
"""mm that opposite sides of a thin part (lids, lips) are kept apart by, for each unit of their normals' difference."""
CAP_ANGLE = 85.0
"""Degrees from straight ahead up to which an eyeball gets texture."""
_PLANE_STEPS = 5
_SPHERE_SPREAD = 0.2  # standard deviation of an eyeball's radius over its mean
_HOLE_RANGE = (0.3, 1.6)  # distance of an eye hole's rim from the eyeball's centre over its radius
_LEAST_COMPONENT = 20  # triangles


class MirrorMap(NamedTuple):
    """vertex: (V,) id of the vertex nearest to each one's mirror image. residual: (V,) mm between the two. plane: the
    reflection that was used. Where the mesh has a mirror-symmetric topology `vertex` is an involution."""

    vertex: NDArray[np.int64]
    residual: NDArray[np.float64]
    plane: Similarity


@dataclass(frozen=True)
class EstimatedUv:
    """uv: (V, 2) in [0, 1], u right and v up seen from the front. charted: (V,) and triangles_charted: (F,) bool: what
    the chart holds, without folds; other vertices have the place of the nearest charted one."""

    uv: NDArray[np.float64]
    charted: NDArray[np.bool_]
    triangles_charted: NDArray[np.bool_]


def mirror_map(vertices: ArrayLike, triangles: ArrayLike) -> MirrorMap:
    """Mirror map of a mean face (V, 3), mm, head frame: about symmetric in x = 0, which is refined to its own plane.

    Nearness counts normals too (NORMAL_WEIGHT), so that the two sides of lids and lips are not mixed up. Where the mesh
    is not symmetric the residual is about half an edge: take the map's values with that grain.
    """
    vertices = np.asarray(vertices, np.float64)
    normals = NORMAL_WEIGHT * mesh_normals(vertices, np.asarray(triangles))
    tree = cKDTree(np.concatenate([vertices, normals], axis=1))
    plane = Similarity(1.0, np.diag([-1.0, 1.0, 1.0]), np.zeros(3))
    for step in range(_PLANE_STEPS + 1):
        mirrored = np.concatenate([plane.apply(vertices), normals @ plane.rotation.T], axis=1)
        _, nearest = tree.query(mirrored)
        if step < _PLANE_STEPS:
            pairs = np.flatnonzero(nearest[nearest] == np.arange(len(nearest)))
            plane = _reflection(vertices[pairs], vertices[nearest[pairs]])
    residual = np.linalg.norm(plane.apply(vertices) - vertices[nearest], axis=1)
    return MirrorMap(nearest.astype(np.int64), residual, plane)


def estimate_uv(vertices: ArrayLike, triangles: ArrayLike) -> EstimatedUv:
    """Texture coordinates for a face or head mesh (V, 3), (F, 3), mm, head frame, by `uv_layout.chart_disc`.

    The chart holds the largest component, without triangles at edges or vertices where the surface is not a manifold;
    its longest border (around the face, or the neck of a head) becomes the outline. A closed head is cropped to the
    half in front of its centroid. A mouth cavity that hangs on the lips stays in the chart and gets its share of area.
    Eyeballs, as separate components behind a hole, have their front caps laid into that hole. Their backs, teeth,
    tongue and other components get no texture of their own.
    Raises InputError if the largest component has handles, which no disc can show, or too few triangles.
    """
    vertices, triangles = np.asarray(vertices, np.float64), np.asarray(triangles, np.int64)
    kept = _largest_disc(vertices, triangles)
    skin, local = np.unique(triangles[kept], return_inverse=True)
    local = local.reshape(-1, 3)
    chart = to_unit_square(chart_disc(vertices[skin], local))
    folded = int((signed_areas(chart, local) <= 0).sum())
    if folded:
        raise InputError(f"{folded} triangles of the texture chart fold over: the mesh has nearly flat triangles there")
    uv = np.zeros((len(vertices), 2))
    charted = np.zeros(len(vertices), bool)
    uv[skin], charted[skin] = chart, True
    charted_triangles = np.zeros(len(triangles), bool)
    charted_triangles[kept] = True
    holes = [skin[loop] for loop in boundary_loops(local)]
    used = np.zeros(len(vertices), bool)
    used[skin] = True
    for cap, centre, hole in _eye_caps(vertices, triangles, used, holes):
        ids = np.unique(triangles[cap])
        places = chart_eye(vertices[ids], centre, uv[hole])
        number = np.zeros(len(vertices), np.int64)
        number[ids] = np.arange(len(ids))
        if (signed_areas(places, number[triangles[cap]]) > 0).all():
            uv[ids], charted[ids], charted_triangles[cap] = places, True, True
    rest = np.flatnonzero(~charted)
    if len(rest):
        known = np.flatnonzero(charted)
        uv[rest] = uv[known[cKDTree(vertices[known]).query(vertices[rest])[1]]]
    return EstimatedUv(uv, charted, charted_triangles)


def _reflection(points: NDArray, images: NDArray) -> Similarity:
    """The reflection in a plane that best takes points (N, 3) to their images (N, 3) and these to the points."""
    both = similarity_procrustes(
        np.concatenate([points, images]), np.concatenate([images, points]), allow_reflection=True, with_scale=False
    )
    _, vectors = np.linalg.eigh((both.rotation + both.rotation.T) / 2)
    normal = vectors[:, 0]  # of the eigenvalue -1
    middle = (points + images).mean(0) / 2
    return Similarity(1.0, np.eye(3) - 2 * np.outer(normal, normal), 2 * normal * (normal @ middle))


def _largest_disc(vertices: NDArray, triangles: NDArray) -> NDArray[np.int64]:
    """Ids of the triangles of the largest component, cut until it is a disc with holes."""
    kept = np.arange(len(triangles))
    while True:
        kept = kept[_largest_component(vertices, triangles[kept])]
        if len(kept) < _LEAST_COMPONENT:
            raise InputError("the mesh has no connected surface large enough to give it texture coordinates")
        rough = _not_manifold(triangles[kept])
        if rough.any():
            kept = kept[~rough]
            continue
        loops = boundary_loops(triangles[kept])
        if not loops:
            depth = vertices[triangles[kept], 2].mean(1)
            kept = kept[depth > depth.mean()]
            continue
        count = len(np.unique(triangles[kept]))
        edges = len(np.unique(np.sort(_sides(triangles[kept]), axis=1), axis=0))
        handles = (2 - len(loops) - (count - edges + len(kept))) // 2
        if handles:
            raise InputError(f"the mesh has {handles} handles, no disc can show it: give texture coordinates with it")
        return kept


def _sides(triangles: NDArray) -> NDArray[np.int64]:
    """Directed edges (3 F, 2), those of a triangle in sequence."""
    return np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=-1).reshape(-1, 2)


def _components(triangles: NDArray) -> NDArray[np.int64]:
    """Number (F,) of each triangle's component; triangles are joined by edges."""
    edges, edge = np.unique(np.sort(_sides(triangles), axis=1), axis=0, return_inverse=True)
    of_triangle = np.repeat(np.arange(len(triangles)), 3)
    joins = sparse.csr_matrix(
        (np.ones(len(of_triangle)), (of_triangle, edge.reshape(-1))), (len(triangles), len(edges))
    )
    return connected_components(joins @ joins.T, directed=False)[1]


def _largest_component(vertices: NDArray, triangles: NDArray) -> NDArray[np.bool_]:
    """(F,) bool: the triangles of the component with the greatest area."""
    corner = vertices[triangles]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    component = _components(triangles)
    return component == np.bincount(component, area).argmax()


def _not_manifold(triangles: NDArray) -> NDArray[np.bool_]:
    """(F,) bool: triangles at an edge that is used twice in one direction, or at a vertex where two borders touch."""
    sides = _sides(triangles)
    size = int(triangles.max()) + 1
    key, back = sides[:, 0] * size + sides[:, 1], sides[:, 1] * size + sides[:, 0]
    _, inverse, uses = np.unique(key, return_inverse=True, return_counts=True)
    rough = (uses[inverse.reshape(-1)] > 1).reshape(-1, 3).any(1)
    starts = sides[~np.isin(key, back), 0]
    touching = np.flatnonzero(np.bincount(starts, minlength=size) > 1)
    return rough | np.isin(triangles, touching).any(1)


def _eye_caps(
    vertices: NDArray, triangles: NDArray, used: NDArray, holes: list[NDArray]
) -> list[tuple[NDArray, NDArray, NDArray]]:
    """For each eyeball behind a hole: its front triangles, its centre (3,) and the hole's vertices."""
    others = np.flatnonzero(~used[triangles].any(1))
    if len(others) == 0:
        return []
    component = _components(triangles[others])
    caps, taken = [], set()
    for number in range(component.max() + 1):
        part = others[component == number]
        ids = np.unique(triangles[part])
        if len(part) < _LEAST_COMPONENT:
            continue
        centre, radius, spread = _sphere(vertices[ids])
        if spread > _SPHERE_SPREAD * radius:
            continue
        fitting = []
        for k, hole in enumerate(holes):
            rim = np.linalg.norm(vertices[hole] - centre, axis=1).mean() / radius
            if k not in taken and _HOLE_RANGE[0] < rim < _HOLE_RANGE[1]:
                fitting.append((rim, k))
        ray = vertices - centre
        ahead = ray[:, 2] > np.cos(np.radians(CAP_ANGLE)) * np.linalg.norm(ray, axis=1)
        front = part[ahead[triangles[part]].all(1)]
        if fitting and len(front):
            taken.add(min(fitting)[1])
            caps.append((front, centre, holes[min(fitting)[1]]))
    return caps


def _sphere(points: NDArray) -> tuple[NDArray[np.float64], float, float]:
    """Centre (3,), radius and its standard deviation of the sphere that fits points (N, 3) in the algebraic sense."""
    middle = points.mean(0)
    offset = points - middle
    rows = np.concatenate([2 * offset, np.ones((len(points), 1))], axis=1)
    centre = np.linalg.lstsq(rows, (offset**2).sum(1), rcond=None)[0][:3]
    distance = np.linalg.norm(offset - centre, axis=1)
    return middle + centre, float(distance.mean()), float(distance.std())
