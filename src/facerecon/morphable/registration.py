"""Registration of face scans: a model's mesh laid onto a scan's surface, which puts raw scans into one topology.

Three stages: a rigid placement from landmarks; a fit of identity, expression and placement (robust, regularised
Gauss-Newton on closest points, in the manner of Chen and Medioni 1992); and smooth offsets of the vertices from that
fit, by sparse linear solves while their stiffness falls (after Amberg et al. 2007, optimal step non-rigid ICP, with a
thin-plate energy of the offsets in place of affine maps).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import splu
from torch import Tensor

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix, similarity_procrustes
from facerecon.geometry.barycentric import barycentric_coordinates, interpolation_matrix
from facerecon.geometry.laplacian import cotangent_laplacian, vertex_areas
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.scan_surface import Counterparts, ScanSurface, mesh_normals
from facerecon.morphable.topology import NOW_LANDMARKS

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "um": 0.001}
"""mm a unit that scans come in."""
SIZE_RANGE = (0.6, 1.6)
"""Face size over the mean face's, by landmarks, outside which a scan is held to be in another unit."""
LEAST_POINTS = 500
FIT_ITERATIONS = 20
FIT_POINTS = 4000
"""Model vertices that the fit compares with the scan."""
REGULARISATION = 1.0
"""Weight of the squared coefficients against the sum over FIT_POINTS vertices of squared distances in mm."""
GREATEST_LANDMARK_DISTANCE = 30.0
"""mm, median, by which landmarks may lie off the scan."""
STIFFNESS_LENGTHS = (24.0, 16.0, 11.0, 8.0, 5.5, 4.0, 3.0, 2.5)
"""Lengths in mm below which offsets are smoothed, one a level, coarse to fine."""
SOLVES_A_LEVEL = 2
GREATEST_ANGLE = 60.0
"""Degrees between the normals of counterparts."""

_STARTING_FACTOR = 300.0  # on the regularisation in the fit's first step, falling to 1 over the first two thirds
_SLIDING = 0.1  # weight of distances along the surface in the fit: keeps vertices from sliding, lets them settle
_FIT_SCALES = (10.0, 1.5)  # first and last robust scale of the fit, mm
_OFFSET_SCALES = (5.0, 1.5)  # first and last robust scale of the offsets, mm
_REJECTED_SCALES = 3.0  # distances beyond so many robust scales are no counterparts
_COVERED_DISTANCE = 0.5  # mm within which a vertex is on the scan, whatever else of the mesh is near
_COVERED_SHARE = 0.5  # of a vertex's distance: another part of the mesh nearer than that to the scan's point covers it
_PROBE_HEIGHTS = (0.3, 0.8, 2.0)  # mm above a vertex at which parts that cover it thinly are looked for
_LEAST_CLEARANCE = 0.5  # distance from a probe to the mesh over its height; with these heights no gap to 3 mm is missed
_FIT_LANDMARK_WEIGHTS = (40.0, 2.0)  # of a landmark against a vertex, first and last step
_OFFSET_LANDMARK_AREA = 20.0  # mm^2 of surface that a landmark counts for at the first level of the offsets
_JAW_WEIGHT = 0.1  # of the landmarks 0 to 16, which no surface feature marks
_TETHER = 1e-4  # pull of the offsets towards 0 against the data's: holds parts that see no scan


class RegistrationModel(Protocol):
    """What registration asks of a face model: mm, head frame, coefficients standard normal under the prior.

    mean (V, 3), identity_basis (I, V, 3), expression_basis (E, V, 3) and triangles (F, 3), counter-clockwise from
    outside, are tensors; landmarks takes vertices (B, V, 3) to the 68 iBUG landmarks (B, 68, 3) on their surface.
    """

    mean: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    triangles: Tensor

    def landmarks(self, vertices: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class RegisteredScan:
    """A scan in the model's topology, in mm along the scan's axes.

    identity: (I,), expression: (E,) of the model's fit, standard deviations. placement: head frame -> scan frame, rigid
    (scale 1). fitted: (V, 3) the model's fit. vertices: (V, 3) the mesh on the scan's surface. valid: (V,) bool, True
    where the scan has a counterpart; elsewhere the vertices follow their neighbours and the model. distances: (V,) mm
    from the vertices to the scan, whether valid or not.
    """

    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    placement: Similarity
    fitted: NDArray[np.float64]
    vertices: NDArray[np.float64]
    valid: NDArray[np.bool_]
    distances: NDArray[np.float64]

    @property
    def head_vertices(self) -> NDArray[np.float64]:
        """The registered vertices (V, 3) in the model's head frame, mm."""
        return (self.vertices - self.placement.translation) @ self.placement.rotation


class _Model(NamedTuple):
    """mean (V, 3), basis (V, 3, I + E), triangles (F, 3); landmark_corners, landmark_weights: (L, 3) of the landmarks
    that the scan has."""

    mean: NDArray[np.float64]
    basis: NDArray[np.float64]
    triangles: NDArray[np.int64]
    landmark_corners: NDArray[np.int64]
    landmark_weights: NDArray[np.float64]

    def landmarks(self, vertices: NDArray) -> NDArray[np.float64]:
        return (vertices[self.landmark_corners] * self.landmark_weights[..., None]).sum(1)


class _Targets(NamedTuple):
    """Landmarks (L, 3) of the scan, mm, and what each counts (L,)."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]


def register_scan(
    scan: ArrayLike | tuple[ArrayLike, ArrayLike],
    landmarks: ArrayLike | None,
    model: RegistrationModel,
    unit: float = 1.0,
) -> RegisteredScan:
    """Lay the model's mesh onto a scan.

    scan: points (N, 3), or a mesh as a pair of vertices (N, 3) and triangles (F, 3), in any rigid frame; it may have
    holes, rough borders, outliers and more than the face. landmarks: (7, 3) in NoW's order or (68, 3) iBUG in the same
    frame and unit; rows of NaN stand for landmarks that were not seen. unit: mm a unit of scan and landmarks.
    Raises InputError for landmarks that are missing, too few, on one line or far from the scan, a scan that is empty or
    not finite, and a size that is no face's (the message names the unit it looks like); ValueError for other shapes.
    """
    vertices, triangles = _checked_scan(scan)
    prepared, targets = _prepare(model, landmarks, unit)
    own = prepared.landmarks(prepared.mean)
    check_face_size(targets.points, own, unit)
    placement = similarity_procrustes(own, targets.points, with_scale=False)
    surface = ScanSurface(vertices * unit, triangles)
    _check_frames(surface, targets.points)
    surface.turn_outwards(placement.apply(prepared.mean), prepared.triangles)

    coefficients, placement = _fit_model(prepared, surface, targets, placement)
    fitted = placement.apply(prepared.mean + prepared.basis @ coefficients)
    exposed = _exposed(fitted, prepared.triangles)
    moved = _fit_offsets(prepared, fitted, exposed, surface, targets)
    found, valid = _match(surface, moved, prepared.triangles, np.arange(len(moved)), _OFFSET_SCALES[-1])
    identities = len(model.identity_basis)
    return RegisteredScan(
        coefficients[:identities].astype(np.float32),
        coefficients[identities:].astype(np.float32),
        placement,
        fitted,
        moved,
        valid & exposed,
        found.distances,
    )


def distances_to_mesh(points: ArrayLike, vertices: ArrayLike, triangles: ArrayLike) -> NDArray[np.float64]:
    """Distances (N,) of scan points to a registered mesh, NaN for points that it does not reach up to.

    Those are the points whose closest point lies on the mesh's border: hair, neck and ears beyond a face model. No
    point is left out for its distance. points: (N, 3); vertices: (V, 3); triangles: (F, 3); one frame and unit.
    """
    found = ScanSurface(np.asarray(vertices, np.float64), np.asarray(triangles, np.int64)).closest(
        np.asarray(points, np.float64)
    )
    return np.where(found.beside, np.nan, found.distances)


def check_face_size(landmarks: NDArray, model_landmarks: NDArray, unit: float) -> None:
    """Raise InputError, naming the unit that it looks like, if a face is not of human size.

    landmarks: (L, 3) of the scan in mm, as `unit` (mm a unit of the file) made them; model_landmarks: (L, 3) mm.
    """
    ratio = 1.0 / similarity_procrustes(landmarks, model_landmarks).scale
    if SIZE_RANGE[0] <= ratio <= SIZE_RANGE[1]:
        return
    likely = min(UNITS, key=lambda name: abs(np.log(ratio / unit * UNITS[name])))
    fits = SIZE_RANGE[0] <= ratio / unit * UNITS[likely] <= SIZE_RANGE[1]
    remedy = f"it looks like {likely}: give that unit" if fits else "give its unit, and landmarks in the scan's frame"
    raise InputError(f"the landmarks span a face {ratio:.3g} times the usual size with {unit:g} mm a unit; {remedy}")


def _check_frames(surface: ScanSurface, landmarks: NDArray) -> None:
    distance = float(np.median(surface.closest(landmarks).distances))
    if distance > GREATEST_LANDMARK_DISTANCE:
        raise InputError(
            f"the landmarks lie {distance:.3g} mm off the scan: give those of this scan, in its frame and unit"
        )


def _prepare(model: RegistrationModel, landmarks: ArrayLike | None, unit: float) -> tuple[_Model, _Targets]:
    """The model as arrays, with the landmarks that the scan has, and these as targets in mm."""
    points, numbers = _checked_landmarks(landmarks)
    mean, triangles = _array(model.mean, np.float64), _array(model.triangles, np.int64)
    with torch.no_grad():
        own = _array(model.landmarks(model.mean[None])[0], np.float64)[numbers]
    _, closest, triangle = Surface(mean, triangles).closest(own)
    corners = triangles[triangle]
    basis = np.concatenate([_array(model.identity_basis, np.float64), _array(model.expression_basis, np.float64)])
    prepared = _Model(
        mean,
        np.ascontiguousarray(basis.transpose(1, 2, 0)),
        triangles,
        corners,
        barycentric_coordinates(closest, mean[corners]),
    )
    return prepared, _Targets(points * unit, np.where(numbers < 17, _JAW_WEIGHT, 1.0))


def _fit_model(
    model: _Model, surface: ScanSurface, targets: _Targets, placement: Similarity
) -> tuple[NDArray[np.float64], Similarity]:
    """Coefficients (I + E,) and placement that bring the model to the scan's surface and landmarks."""
    areas = vertex_areas(model.mean, model.triangles)
    exposed = _exposed(model.mean, model.triangles)
    order = np.random.default_rng(0).permutation(np.flatnonzero(exposed & (areas > 0)))
    sample = np.sort(order[:FIT_POINTS])
    area_weights = areas[sample] / areas[sample].mean() * FIT_POINTS / len(sample)
    sample_basis = model.basis[sample]
    landmark_basis = np.einsum("lc,lcij->lij", model.landmark_weights, model.basis[model.landmark_corners])
    coefficients = np.zeros(model.basis.shape[-1])
    for iteration in range(FIT_ITERATIONS):
        progress = iteration / (FIT_ITERATIONS - 1)
        scale = _between(_FIT_SCALES, progress)
        vertices = model.mean + model.basis @ coefficients
        placed = placement.apply(vertices)
        found, accepted = _match(surface, placed, model.triangles, sample, scale)
        weights = area_weights * _robust(found.distances, scale) * accepted
        landmarks = model.landmarks(vertices)
        system = _GaussNewton(len(coefficients))
        system.add_surface(
            vertices[sample],
            _to_head(placement, found.points),
            found.normals @ placement.rotation,
            sample_basis,
            weights,
        )
        system.add_points(
            landmarks,
            _to_head(placement, targets.points),
            landmark_basis,
            targets.weights * _between(_FIT_LANDMARK_WEIGHTS, progress),
        )
        factor = _STARTING_FACTOR ** max(0.0, 1.0 - 1.5 * progress)
        step, twist = system.solve(coefficients, REGULARISATION * factor)
        coefficients = coefficients + step
        rotation, _ = rotation_vector_to_matrix(twist[:3])
        placement = placement.after(Similarity(1.0, rotation, twist[3:]))
    return coefficients, placement


class _GaussNewton:
    """Normal equations, head frame, of the step da of the coefficients and the twist (omega, t) of the placement that
    least leaves of the residuals target - (vertex + basis da + omega x vertex + t)."""

    def __init__(self, coefficients: int):
        self._matrix = np.zeros((coefficients + 6, coefficients + 6))
        self._gradient = np.zeros(coefficients + 6)

    def add_surface(
        self, vertices: NDArray, targets: NDArray, normals: NDArray, basis: NDArray, weights: NDArray
    ) -> None:
        """Residuals of N points that count fully along the scan's normals and _SLIDING times along its surface."""
        used = weights > 0
        root = np.sqrt(_SLIDING) * np.eye(3) + (1 - np.sqrt(_SLIDING)) * normals[:, :, None] * normals[:, None]
        root = root * np.sqrt(weights)[:, None, None]
        self._add(vertices[used], targets[used], basis[used], root[used])

    def add_points(self, vertices: NDArray, targets: NDArray, basis: NDArray, weights: NDArray) -> None:
        """Residuals of N points that count equally in every direction."""
        self._add(vertices, targets, basis, np.sqrt(weights)[:, None, None] * np.eye(3))

    def solve(self, coefficients: NDArray, regularisation: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step of the coefficients and twist, with regularisation |coefficients + step|^2."""
        count = len(coefficients)
        diagonal = np.arange(count)
        matrix, gradient = self._matrix.copy(), self._gradient.copy()
        matrix[diagonal, diagonal] += regularisation
        matrix[np.arange(count, count + 6), np.arange(count, count + 6)] += 1e-9  # where nothing was accepted
        gradient[:count] -= regularisation * coefficients
        solution = np.linalg.solve(matrix, gradient)
        return solution[:count], solution[count:]

    def _add(self, vertices: NDArray, targets: NDArray, basis: NDArray, root: NDArray) -> None:
        x, y, z = vertices.T
        cross = np.zeros((len(vertices), 3, 3))  # omega x v = cross omega
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = z, -y, x
        cross -= cross.transpose(0, 2, 1)
        jacobian = np.concatenate([basis, cross, np.broadcast_to(np.eye(3), cross.shape)], axis=2)
        rows = (root @ jacobian).reshape(-1, jacobian.shape[-1])
        self._matrix += rows.T @ rows
        self._gradient += rows.T @ (root @ (targets - vertices)[..., None]).ravel()


def _fit_offsets(
    model: _Model, fitted: NDArray, exposed: NDArray, surface: ScanSurface, targets: _Targets
) -> NDArray[np.float64]:
    """Vertices (V, 3) of the fit moved onto the scan by smooth offsets, which the `exposed` (V,) ones draw.

    Each solve minimises sum_i m_i w_i |x_i - c_i|^2 + length^4 |M^-1/2 L (x - fitted)|^2 with areas m, closest points
    c, robust weights w and the cotangent Laplacian L: offsets longer than `length` pass, shorter ones are smoothed out,
    whatever the mesh's density. Closest points lie along the normal, so that vertices slide only as smoothness asks.
    """
    areas = vertex_areas(fitted, model.triangles)
    areas = np.maximum(areas, 1e-3 * areas.mean())
    laplacian = cotangent_laplacian(fitted, model.triangles)
    thin_plate = (laplacian @ sparse.diags(1 / areas) @ laplacian).tocsc()
    marks = interpolation_matrix(model.landmark_corners, model.landmark_weights, len(fitted))
    moved, everywhere = fitted, np.arange(len(fitted))
    for level, length in enumerate(STIFFNESS_LENGTHS):
        progress = level / (len(STIFFNESS_LENGTHS) - 1)
        scale = _between(_OFFSET_SCALES, progress)
        pull = marks.T @ sparse.diags(targets.weights * _OFFSET_LANDMARK_AREA * (1 - progress))
        for _ in range(SOLVES_A_LEVEL):
            found, accepted = _match(surface, moved, model.triangles, everywhere, scale)
            weights = areas * _robust(found.distances, scale) * (accepted & exposed)
            system = sparse.diags(weights + _TETHER * areas) + length**4 * thin_plate + pull @ marks
            right = weights[:, None] * (found.points - fitted) + pull @ (targets.points - marks @ fitted)
            # Positive definite: without pivoting, which would fill the factors.
            symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
            factors = splu(system.tocsc(), **symmetric)
            moved = fitted + factors.solve(right)
    return moved


def _match(
    surface: ScanSurface, vertices: NDArray, triangles: NDArray, sample: NDArray, scale: float
) -> tuple[Counterparts, NDArray[np.bool_]]:
    """Closest scan points of the vertices `sample` of a mesh, and whether each is a counterpart.

    It is none where the scan ends, lies too far off or faces elsewhere, or where another part of the mesh is much
    nearer to it, as lids are to the skin that the rim of an eyeball finds.
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


def _exposed(vertices: NDArray, triangles: NDArray) -> NDArray[np.bool_]:
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


def _robust(distances: NDArray, scale: float) -> NDArray[np.float64]:
    """Weights (N,) of Geman and McClure's estimator."""
    return 1.0 / (1.0 + (distances / scale) ** 2) ** 2


def _between(ends: tuple[float, float], progress: float) -> float:
    """Geometric interpolation from the first to the last of two positive numbers; progress in [0, 1]."""
    return ends[0] * (ends[1] / ends[0]) ** progress


def _to_head(placement: Similarity, points: NDArray) -> NDArray[np.float64]:
    return (points - placement.translation) @ placement.rotation


def _checked_scan(
    scan: ArrayLike | tuple[ArrayLike, ArrayLike],
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    vertices, triangles = scan if isinstance(scan, tuple) else (scan, None)
    vertices = np.asarray(vertices, np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"scan points must be (N, 3), not {vertices.shape}")
    if len(vertices) < LEAST_POINTS:
        raise InputError(f"the scan has {len(vertices)} points, at least {LEAST_POINTS} are needed to register a face")
    broken = int((~np.isfinite(vertices).all(1)).sum())
    if broken:
        raise InputError(f"{broken} of the scan's {len(vertices)} points are NaN or infinite: remove them")
    if triangles is None:
        return vertices, None
    triangles = np.asarray(triangles, np.int64)
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"scan triangles must be (F, 3), not {triangles.shape}")
    if len(triangles) == 0:
        raise InputError("the scan's mesh has no triangles: give its points alone")
    return vertices, triangles


def _checked_landmarks(landmarks: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The landmarks that were seen (L, 3) and their iBUG numbers (L,)."""
    if landmarks is None:
        raise InputError("no landmarks were given: registration starts from NoW's 7 or the 68 iBUG landmarks")
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape not in ((7, 3), (68, 3)):
        raise ValueError(f"landmarks must be (7, 3) or (68, 3), not {landmarks.shape}")
    numbers = np.arange(68) if len(landmarks) == 68 else np.array(NOW_LANDMARKS)
    seen = ~np.isnan(landmarks).any(1)
    if np.isinf(landmarks).any() or seen.sum() < 4:
        raise InputError(f"{int(seen.sum())} landmarks are finite, at least 4 are needed to place a face")
    return landmarks[seen], numbers[seen]


def _array(tensor: Tensor, dtype: type) -> NDArray:
    return tensor.detach().cpu().numpy().astype(dtype)
