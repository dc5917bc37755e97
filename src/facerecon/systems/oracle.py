"""The best face that the basis can give for a scan, closely estimated: how far a prediction could get at all.

Minimises the squared distances from the scan's points to the model's surface over identity and rigid placement, by
alternating exact closest points with regularised linear least squares (Gauss-Newton on point-to-plane distances). Not
a strict bound: benchmarks report medians, some after a fitted scale, and this fits squares to a part of the points.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, similarity_procrustes
from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.face_model import FaceModel

ITERATIONS = 24
REGULARISATION = 1.0
"""Weight of |identity|^2 against the sum of squared distances in mm^2 over MAX_POINTS points."""
MAX_POINTS = 4000
_STARTING_FACTOR = 300.0  # on the regularisation in the first step, falling to 1 over the first two thirds
_SLIDING = 0.1  # weight of distances along the surface: keeps points from sliding, lets them settle
_CONVERGED = 1e-5  # relative change of the mean squared distance


@dataclass(frozen=True)
class OracleFit:
    """identity: (I,). vertices: (V, 3) neutral, mm, head frame. distance: root mean square over the points, mm."""

    identity: NDArray[np.float32]
    vertices: NDArray[np.float64]
    distance: float


def fit_identity(
    points: NDArray,
    landmarks: NDArray,
    model: FaceModel,
    iterations: int = ITERATIONS,
    regularisation: float = REGULARISATION,
    max_points: int = MAX_POINTS,
) -> OracleFit:
    """Fit the identity basis, neutral expression, to a scan.

    points: (N, 3) of the scan, mm, any rigid frame: the region that is to be fitted. landmarks: (7, 3), the NoW
    landmarks in the same frame. max_points: of a larger scan so many are used, evenly taken.
    Raises InputError if points or landmarks are not finite or too few.
    """
    points = np.asarray(points, np.float64)
    if len(points) < 100 or not np.isfinite(points).all():
        raise InputError(f"the scan has {len(points)} points, 100 finite ones are needed to fit a face")
    points = points[np.linspace(0, len(points) - 1, min(len(points), max_points)).round().astype(int)]
    mean = model.mean.double().numpy()
    basis = model.identity_basis.permute(1, 2, 0).double().numpy()
    triangles = np.asarray(model.topology.triangles, np.int64)
    placement = _start(landmarks, model)
    identity, previous = np.zeros(basis.shape[-1]), np.inf
    for iteration in range(iterations):
        placed = placement.apply(points)
        vertices = mean + basis @ identity
        distance, closest, triangle = Surface(vertices, triangles).closest(placed)
        error = float(np.square(distance).mean())
        progress = iteration / (2 * iterations / 3)
        factor = _STARTING_FACTOR ** max(0.0, 1.0 - progress)
        if progress > 1 and abs(previous - error) < _CONVERGED * error:
            break
        previous = error
        corners = triangles[triangle]
        weights = barycentric_coordinates(closest, vertices[corners])
        starts = np.arange(0, corners.size + 1, 3)
        picked = sparse.csr_matrix((weights.ravel(), corners.ravel(), starts), (len(placed), len(mean)))
        surface_basis = (picked @ basis.reshape(len(mean), -1)).reshape(len(placed), 3, -1)
        step, twist = _solve(
            placed, closest - placed, surface_basis, _normals(vertices[corners]), identity, regularisation * factor
        )
        identity = identity + step
        placement = _moved(placement, twist)
    vertices = mean + basis @ identity
    distance, _, _ = Surface(vertices, triangles).closest(placement.apply(points))
    return OracleFit(identity.astype(np.float32), vertices, float(np.sqrt(np.square(distance).mean())))


def _start(landmarks: NDArray, model: FaceModel) -> Similarity:
    with torch.no_grad():
        own = model.landmarks(model.mean[None])[0, list(model.topology.landmark7_indices)].double().numpy()
    return similarity_procrustes(landmarks, own, with_scale=False)


def _solve(
    placed: NDArray,
    residual: NDArray,
    surface_basis: NDArray,
    normals: NDArray,
    identity: NDArray,
    regularisation: float,
) -> tuple[NDArray, NDArray]:
    """Step of the identity and twist (rotation vector, translation) of the scan that bring both together.

    Minimises sum_i |residual_i + surface_basis_i da - (omega x placed_i + t)|^2, of which the part along the surface
    counts _SLIDING times and the part along the normal 1 + _SLIDING times, plus regularisation |identity + da|^2.
    """
    count, coefficients = len(placed), surface_basis.shape[-1]
    skew = np.zeros((count, 3, 3))
    x, y, z = placed.T
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -z, y, -x
    skew -= skew.transpose(0, 2, 1)
    # omega x p = -[p]x omega.
    jacobian = np.concatenate([surface_basis, skew, -np.broadcast_to(np.eye(3), (count, 3, 3))], axis=2)
    # The square root of n n' + _SLIDING I.
    along, across = np.sqrt(_SLIDING), np.sqrt(1 + _SLIDING)
    root = along * np.eye(3) + (across - along) * normals[:, :, None] * normals[:, None]
    rows, values = (root @ jacobian).reshape(-1, coefficients + 6), (root @ residual[..., None]).ravel()
    normal_matrix, gradient = rows.T @ rows, rows.T @ values
    diagonal = np.arange(coefficients)
    normal_matrix[diagonal, diagonal] += regularisation
    gradient[:coefficients] += regularisation * identity
    solution = -np.linalg.solve(normal_matrix, gradient)
    return solution[:coefficients], solution[coefficients:]


def _normals(corners: NDArray) -> NDArray[np.float64]:
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0, length, 1.0)


def _moved(placement: Similarity, twist: NDArray) -> Similarity:
    """The placement followed by a small rotation and translation."""
    angle = np.linalg.norm(twist[:3])
    x, y, z = twist[:3] / (angle if angle > 0 else 1.0)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return Similarity(1.0, rotation, twist[3:]).after(placement)
