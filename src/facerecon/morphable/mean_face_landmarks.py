"""The open model's landmarks found on another model's mean face, of which nothing is known but its shape.

The open model's identity is fitted to the surface, without expression, which mean faces have little of: it could open
the lips where those of the other face begin. Counterparts are the nearest points in place and normal together: unlike
the closest ones they hold to the slopes of nose, lips and lids, and find a mouth that is a centimetre away. The fit
runs from several heights of the nose tip, since the foremost point of a face may be its lips or its chin.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix
from facerecon.geometry.laplacian import vertex_areas
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.model_fit import FittedModel, GaussNewton, to_head
from facerecon.morphable.scan_surface import ScanSurface, mesh_normals
from facerecon.morphable.surface_matching import find_exposed, interpolate_scales, match_vertices, robust_weights

START_HEIGHTS = (0.0, -15.0, 15.0, -30.0, 30.0)
"""mm of the open model's nose tip over the other face's foremost point, at the start."""
JAW = 17
"""Landmarks 0 to 16 are the jaw's."""
GREATEST_DISAGREEMENT = 3.0
"""mm, mean over the inner 51 landmarks, between starts that fit about equally well."""

_NOSE_BAND = 20.0  # mm beside the middle in which the nose tip, the foremost point, is looked for
_LEVELS, _STEPS = 6, 4  # of the weight of normals and the robust scale; steps a level
_NORMAL_WEIGHTS = (50.0, 8.0)  # mm for each unit of the normals' difference, first and last level
_SCALES = (20.0, 3.0)  # robust scale of distances in place and normal, mm
_SLIDING = 0.3
_REGULARISATION = 3.0  # of the squared coefficients, against squared mm over _SAMPLE vertices
_STARTING_FACTOR = 300.0
_SAMPLE = 2500  # of the open model's vertices
_MOST_POINTS = 60_000  # of the other surface
_TRUNCATED, _LAST_SCALE = 5.0, 1.5  # mm, of the distances that a fit is judged by
_EQUAL = 1.3  # times the least cost: fits that may as well be right


class _Points(NamedTuple):
    """Points (N, 3), mm, on a surface and its unit normals (N, 3) there."""

    places: NDArray[np.float64]
    normals: NDArray[np.float64]


def find_landmarks(vertices: NDArray, triangles: NDArray, open_model: LinearFaceModel) -> NDArray[np.float64]:
    """Landmarks (68, 3) near a mean face (V, 3), (F, 3), mm, whose axes are about those of the head frame.

    The jaw's 17 are NaN: no feature marks them, and in the fit they slide.
    Raises InputError if fits from different starts disagree.
    """
    vertices = np.asarray(vertices, np.float64)
    surface, points = ScanSurface(vertices, triangles), _surface_points(vertices, np.asarray(triangles))
    model = FittedModel(open_model, np.arange(68))
    areas = vertex_areas(model.mean, model.triangles)
    seen = np.flatnonzero(find_exposed(model.mean, model.triangles) & (areas > 0))
    sample = np.sort(np.random.default_rng(0).permutation(seen)[:_SAMPLE])
    weights = areas[sample] / areas[sample].mean()
    levels = [
        (weight, interpolate_scales(_SCALES, k / (_LEVELS - 1)), _tree(points, weight))
        for k, weight in enumerate(interpolate_scales(_NORMAL_WEIGHTS, k / (_LEVELS - 1)) for k in range(_LEVELS))
    ]
    onto_tip = find_nose_tip(vertices) - find_nose_tip(model.mean)
    costs, landmarks = [], []
    for height in START_HEIGHTS:
        placement = Similarity(1.0, np.eye(3), onto_tip + [0.0, height, 0.0])
        coefficients, placement = _fit(model, sample, weights, surface, points, levels, placement)
        placed = placement.apply(model.decode(coefficients))
        found, accepted = match_vertices(surface, placed, model.triangles, sample, _LAST_SCALE)
        distances = np.where(accepted, np.minimum(found.distances, _TRUNCATED), _TRUNCATED)
        costs.append((weights * distances**2).sum() + _REGULARISATION * (coefficients**2).sum())
        landmarks.append(model.landmarks(placed))
    best = int(np.argmin(costs))
    for cost, others in zip(costs, landmarks, strict=True):
        apart = np.linalg.norm(others - landmarks[best], axis=1)[JAW:].mean()
        if cost < _EQUAL * costs[best] and apart > GREATEST_DISAGREEMENT:
            raise InputError(f"landmarks found from two starts lie {apart:.1f} mm apart: give them with --landmarks")
    landmarks[best][:JAW] = np.nan
    return landmarks[best]


def find_nose_tip(vertices: NDArray) -> NDArray[np.float64]:
    """The foremost (3,) of vertices (V, 3) near the middle."""
    middle = (vertices[:, 0].min() + vertices[:, 0].max()) / 2
    beside = np.abs(vertices[:, 0] - middle) > _NOSE_BAND
    return vertices[np.where(beside, -np.inf, vertices[:, 2]).argmax()]


def _fit(
    model: FittedModel,
    sample: NDArray,
    sample_weights: NDArray,
    surface: ScanSurface,
    points: _Points,
    levels: list[tuple[float, float, cKDTree]],
    placement: Similarity,
) -> tuple[NDArray[np.float64], Similarity]:
    """Coefficients (K,), expression 0, and placement of the open model on the surface."""
    coefficients = np.zeros(model.identities + model.expressions)
    basis = model.jacobian(coefficients, sample)[:, :, : model.identities]
    for step in range(_LEVELS * _STEPS):
        normal_weight, scale, tree = levels[step // _STEPS]
        vertices = model.decode(coefficients)
        placed = placement.apply(vertices)
        normals = mesh_normals(placed, model.triangles)[sample]
        distances, nearest = tree.query(np.concatenate([placed[sample], normal_weight * normals], axis=1))
        places, their_normals = points.places[nearest], points.normals[nearest]
        usable = ((their_normals * normals).sum(1) > 0.5) & ~surface.closest(placed[sample]).beside
        system = GaussNewton(model.identities)
        system.add_surface(
            vertices[sample],
            to_head(placement, places),
            their_normals @ placement.rotation,
            basis,
            sample_weights * robust_weights(distances, scale) * usable,
            _SLIDING,
        )
        factor = _STARTING_FACTOR ** max(0.0, 1.0 - 1.5 * step / (_LEVELS * _STEPS - 1))
        change, twist = system.solve(coefficients[: model.identities], _REGULARISATION * factor)
        coefficients[: model.identities] += change
        rotation, _ = rotation_vector_to_matrix(twist[:3])
        placement = placement.after(Similarity(1.0, rotation, twist[3:]))
    return coefficients, placement


def _surface_points(vertices: NDArray, triangles: NDArray) -> _Points:
    """Vertices and the triangles' middles, thinned out evenly where there are very many."""
    normals = mesh_normals(vertices, triangles)
    places = np.concatenate([vertices, vertices[triangles].mean(1)])
    normals = np.concatenate([normals, normals[triangles].mean(1)])
    length = np.linalg.norm(normals, axis=1)
    kept = np.flatnonzero(length > 0)
    kept = kept[:: max(1, -(-len(kept) // _MOST_POINTS))]
    return _Points(places[kept], normals[kept] / length[kept, None])


def _tree(points: _Points, normal_weight: float) -> cKDTree:
    return cKDTree(np.concatenate([points.places, normal_weight * points.normals], axis=1))
