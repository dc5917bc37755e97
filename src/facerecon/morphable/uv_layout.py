"""UV chart of the face: one symmetric, flip-free island for the skin, with each eyeball cap inside its eye hole."""

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from facerecon.morphable.subdivision import boundary_loops

SUPERELLIPSE_POWER = 2.8
EQUALISING_STEPS = 2
EQUALISING_POWER = 0.5
STRETCH_RANGE = (0.1, 10.0)
MARGIN = 0.005  # of the unit square, left free along its edges
EYE_SQUEEZE = 0.85  # of the angle from the eyeball's front, so that its equator stays apart from the rays before it
EYE_FILL = 0.92  # size of an eye's ellipse relative to the largest one of its shape in the eye hole


def chart_skin(vertices: np.ndarray, triangles: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Texture coordinates (V, 2) in [0, 1] (u right, v up) of a symmetric face shell with holes.

    vertices: (V, 3) mm head frame; triangles: (F, 3) oriented outwards; mirror: (V,). See `chart_disc`.
    """
    chart = chart_disc(vertices, triangles)
    chart = (chart + chart[mirror] * [-1, 1]) / 2
    return to_unit_square(chart)


def chart_disc(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """One-to-one chart (V, 2) in [-1, 1] of a connected surface that is a disc with holes; every vertex on a triangle.

    vertices: (V, 3) mm head frame; triangles: (F, 3) oriented outwards. The longest boundary goes onto a superellipse
    by arc length; inner vertices are mean-value averages of their neighbours (Tutte 1963, Floater 2003), with holes
    closed by a cone, which makes the map one to one; the weights are then divided by the square root of the vertices'
    stretch, twice, which evens out the texels' area.
    """
    loops = boundary_loops(triangles)
    longest = max(range(len(loops)), key=lambda k: _loop_length(vertices, loops[k]))
    outline, holes = loops[longest], loops[:longest] + loops[longest + 1 :]
    count = len(vertices)
    closed, cones = [vertices], [triangles]
    for k, hole in enumerate(holes):
        closed.append(vertices[hole].mean(0, keepdims=True))
        cones.append(np.stack([np.roll(hole, -1), hole, np.full(len(hole), count + k)], axis=1))
    vertices, filled = np.concatenate(closed), np.concatenate(cones)
    outline, places = _superellipse(vertices, outline)
    weights = mean_value_weights(vertices, filled)
    chart = solve_tutte(weights, outline, places)
    for _ in range(EQUALISING_STEPS):
        stretch = vertex_stretch(chart, vertices, filled)
        stretch = np.clip(stretch / np.median(stretch), *STRETCH_RANGE)
        weights = weights @ sparse.diags(stretch**-EQUALISING_POWER)
        chart = solve_tutte(weights, outline, places)
    return chart[:count]


def to_unit_square(chart: np.ndarray) -> np.ndarray:
    """Texture coordinates in [0, 1], with a margin, of a chart in [-1, 1]."""
    return 0.5 + (0.5 - MARGIN) * chart


def chart_eye(vertices: np.ndarray, centre: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Texture coordinates (V, 2) of an eyeball cap (V, 3) on an ellipse inside the chart's eye hole.

    centre: (3,) of the eyeball, mm. hole: (N, 2) the hole's boundary polygon in the chart, star-shaped.
    The cap is seen from its front, slightly squeezed towards its rim so that a half sphere does not fold there.
    """
    middle = _polygon_centroid(hole)
    deviation = hole - middle
    _, directions = np.linalg.eigh(deviation.T @ deviation)
    directions = directions * np.sign(np.diag(directions[::-1]))[None]  # long axis to the right, short one up
    axes = np.abs(deviation @ directions).max(0)
    ends = np.roll(hole, -1, axis=0)
    along = np.linspace(0, 1, 16)[:, None, None]
    outline = ((1 - along) * hole + along * ends).reshape(-1, 2)
    axes = axes * np.linalg.norm((outline - middle) @ directions / axes, axis=1).min() * EYE_FILL

    ray = vertices - centre
    across = np.linalg.norm(ray[:, :2], axis=1)
    angle = EYE_SQUEEZE * np.arctan2(across, ray[:, 2])
    disc = ray[:, :2] * (np.sin(angle) / np.sin(angle.max()) / np.maximum(across, 1e-9))[:, None]
    return middle + (disc @ directions * axes) @ directions.T


def signed_areas(chart: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Signed areas (F,) of chart triangles; positive where the chart keeps the mesh's orientation."""
    a, b, c = (chart[triangles[:, k]] for k in range(3))
    return 0.5 * ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))


def mean_value_weights(vertices: np.ndarray, triangles: np.ndarray) -> sparse.csr_matrix:
    """Mean-value weights (V, V), positive: w_ij = (tan(a/2) + tan(b/2)) / |ij| with a, b the angles at i beside ij."""
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, l = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]  # noqa: E741
        to_j, to_l = vertices[j] - vertices[i], vertices[l] - vertices[i]
        length_j, length_l = np.linalg.norm(to_j, axis=1), np.linalg.norm(to_l, axis=1)
        product = np.maximum(length_j * length_l, 1e-12)
        cosine = (to_j * to_l).sum(1) / product
        sine = np.linalg.norm(np.cross(to_j, to_l), axis=1) / product
        half_tangent = sine / (1 + np.maximum(cosine, -0.999))
        rows += [i, i]
        columns += [j, l]
        values += [half_tangent / np.maximum(length_j, 1e-3), half_tangent / np.maximum(length_l, 1e-3)]
    shape = (len(vertices), len(vertices))
    return sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def solve_tutte(weights: sparse.csr_matrix, fixed: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Chart (V, 2) whose free vertices are weighted means of their neighbours; `fixed` ones lie at `places`."""
    count = weights.shape[0]
    free = np.setdiff1d(np.arange(count), fixed)
    system = sparse.identity(count) - sparse.diags(1 / np.asarray(weights.sum(1)).ravel()) @ weights
    system = system.tocsr()[free]
    chart = np.zeros((count, 2))
    chart[fixed] = places
    factors = splu(system[:, free].tocsc())
    chart[free] = factors.solve(-system[:, fixed] @ places)
    return chart


def _superellipse(vertices: np.ndarray, outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outline from its top on and its places (n, 2) on |x|^p + |y|^p = 1, by arc length, mirror images opposite.

    The top is where the outline crosses the mirror plane high up or, for one around the neck, at the back. Where no
    vertex lies on the plane it is the nearest to it in the upper or rear half.
    """
    points = vertices[outline]
    height = points[:, 1] - points[:, 2]
    on_plane = np.abs(points[:, 0]) < 1e-6
    if not on_plane.any():
        rising = height > height.mean()
        on_plane = rising & (np.abs(points[:, 0]) == np.abs(points[rising, 0]).min())
    outline = np.roll(outline, -np.argmax(np.where(on_plane, height, -np.inf)))
    points = vertices[outline]
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1))])
    side = np.sign(points[len(points) // 4, 0])
    angle = np.linspace(0, 2 * np.pi, 20001)
    power = 2 / SUPERELLIPSE_POWER
    sine, cosine = np.sin(angle), np.cos(angle)
    curve = np.stack([side * np.sign(sine) * np.abs(sine) ** power, np.sign(cosine) * np.abs(cosine) ** power], axis=1)
    curve_length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    parameter = length[:-1] / length[-1]
    places = [np.interp(parameter, curve_length / curve_length[-1], curve[:, k]) for k in range(2)]
    return outline, np.stack(places, axis=1)


def _loop_length(vertices: np.ndarray, loop: np.ndarray) -> float:
    return float(np.linalg.norm(vertices[np.roll(loop, -1)] - vertices[loop], axis=1).sum())


def vertex_stretch(chart: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Root of surface over chart area at each vertex (V,): the mean of its triangles, weighted by surface area."""
    corner = vertices[triangles]
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) + 1e-9
    ratio = np.sqrt(area / np.maximum(np.abs(signed_areas(chart, triangles)), 1e-12))
    corners = triangles.ravel()
    total = np.bincount(corners, np.repeat(area * ratio, 3), minlength=len(vertices))
    return total / np.bincount(corners, np.repeat(area, 3), minlength=len(vertices))


def _polygon_centroid(polygon: np.ndarray) -> np.ndarray:
    following = np.roll(polygon, -1, axis=0)
    cross = polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]
    return ((polygon + following) * cross[:, None]).sum(0) / (3 * cross.sum())
