"""Fit of a face model's coefficients and placement to a scan's surface and landmarks.

Robust, regularised Gauss-Newton on closest points, in the manner of Chen and Medioni 1992. Models that are not linear
(jaws that turn, products of identity and expression) are linearised anew at every step.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix
from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.laplacian import vertex_areas
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.scan_surface import ScanSurface
from facerecon.morphable.surface_matching import find_exposed, interpolate_scales, match_vertices, robust_weights
from facerecon.morphable.topology import weld_copies

FIT_ITERATIONS = 20
FIT_POINTS = 4000
"""Model vertices that the fit compares with the scan."""
REGULARISATION = 1.0
"""Weight of the squared coefficients against the sum over FIT_POINTS vertices of squared distances in mm."""

_STARTING_FACTOR = 300.0  # on the regularisation in the fit's first step, falling to 1 over the first two thirds
_SLIDING = 0.1  # weight of distances along the surface in the fit: keeps vertices from sliding, lets them settle
_SCALES = (10.0, 1.5)  # first and last robust scale, mm
_LANDMARK_WEIGHTS = (40.0, 2.0)  # of a landmark against a vertex, first and last step


class RegistrationModel(Protocol):
    """What registration asks of a face model: mm, head frame, coefficients standard normal under the prior.

    mean (V, 3) and triangles (F, 3), counter-clockwise from outside, are tensors; dimensions: numbers I of "identity"
    and E of "expression" coefficients, 0 of which are the mean; seam_copies: (C,) ids of the vertices that the last C
    copy, along the seams of a texture chart. decode gives vertices (B, V, 3) of (B, I) and (B, E); jacobian the
    derivatives (n, 3, I + E) of vertices (n,) at (I,) and (E,); landmarks takes vertices (B, V, 3) to the 68 iBUG
    landmarks (B, 68, 3) on their surface.
    """

    mean: Tensor
    triangles: Tensor

    @property
    def dimensions(self) -> dict[str, int]: ...

    @property
    def seam_copies(self) -> NDArray[np.int64]: ...

    def decode(self, identity: Tensor, expression: Tensor) -> Tensor: ...

    def jacobian(self, identity: Tensor, expression: Tensor, vertices: Tensor) -> Tensor: ...

    def landmarks(self, vertices: Tensor) -> Tensor: ...


class FittedModel:
    """A model as the fit sees it: arrays of its N vertices without the copies on texture seams, and L landmarks.

    mean: (N, 3) float64. triangles: (F, 3) int64 of the N vertices. landmark_corners, landmark_weights: (L, 3).
    identities, expressions: numbers of coefficients, K together, in this order in a vector of them.
    """

    def __init__(self, model: RegistrationModel, landmarks: NDArray[np.int64]):
        """landmarks: (L,) iBUG numbers of those that take part."""
        self._model, self._copies = model, np.asarray(model.seam_copies, np.int64)
        whole = model.mean.detach().cpu().numpy().astype(np.float64)
        self.mean = whole[: len(whole) - len(self._copies)]
        self.triangles = weld_copies(model.triangles.cpu().numpy().astype(np.int64), len(whole), self._copies)
        self.identities, self.expressions = model.dimensions["identity"], model.dimensions["expression"]
        with torch.no_grad():
            own = model.landmarks(model.mean[None])[0].cpu().numpy().astype(np.float64)[landmarks]
        _, closest, triangle = Surface(self.mean, self.triangles).closest(own)
        self.landmark_corners = self.triangles[triangle]
        self.landmark_weights = barycentric_coordinates(closest, self.mean[self.landmark_corners])

    @torch.no_grad()
    def decode(self, coefficients: NDArray) -> NDArray[np.float64]:
        """Vertices (N, 3) of coefficients (K,)."""
        identity, expression = self._split(coefficients)
        return self._model.decode(identity[None], expression[None])[0, : len(self.mean)].cpu().numpy().astype(float)

    @torch.no_grad()
    def jacobian(self, coefficients: NDArray, vertices: NDArray) -> NDArray[np.float64]:
        """Derivatives (n, 3, K) of vertices (n,) by the coefficients, at coefficients (K,)."""
        ids = torch.from_numpy(vertices).to(self._model.mean.device)
        return self._model.jacobian(*self._split(coefficients), ids).cpu().numpy().astype(np.float64)

    def landmarks(self, vertices: NDArray) -> NDArray[np.float64]:
        """The landmarks (L, 3) on vertices (N, 3)."""
        return (vertices[self.landmark_corners] * self.landmark_weights[..., None]).sum(1)

    def with_copies(self, values: NDArray) -> NDArray:
        """Values (V, ...) of all the model's vertices from those (N, ...) of the mesh without copies."""
        return np.concatenate([values, values[self._copies]])

    def _split(self, coefficients: NDArray) -> tuple[Tensor, Tensor]:
        both = torch.from_numpy(np.asarray(coefficients)).to(self._model.mean)
        return both[: self.identities], both[self.identities :]


class Targets(NamedTuple):
    """Landmarks (L, 3) of the scan, mm, and what each counts (L,)."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]


def fit_model(
    model: FittedModel, surface: ScanSurface, targets: Targets, placement: Similarity
) -> tuple[NDArray[np.float64], Similarity]:
    """Coefficients (K,) and placement that bring the model to the scan's surface and landmarks, from a placement."""
    areas = vertex_areas(model.mean, model.triangles)
    exposed = find_exposed(model.mean, model.triangles)
    order = np.random.default_rng(0).permutation(np.flatnonzero(exposed & (areas > 0)))
    sample = np.sort(order[:FIT_POINTS])
    area_weights = areas[sample] / areas[sample].mean() * FIT_POINTS / len(sample)
    moving = np.concatenate([sample, model.landmark_corners.ravel()])
    coefficients = np.zeros(model.identities + model.expressions)
    for iteration in range(FIT_ITERATIONS):
        progress = iteration / (FIT_ITERATIONS - 1)
        scale = interpolate_scales(_SCALES, progress)
        vertices = model.decode(coefficients)
        found, accepted = match_vertices(surface, placement.apply(vertices), model.triangles, sample, scale)
        weights = area_weights * robust_weights(found.distances, scale) * accepted
        slopes = model.jacobian(coefficients, moving)
        of_corners = slopes[len(sample) :].reshape(*model.landmark_corners.shape, 3, -1)
        system = GaussNewton(len(coefficients))
        system.add_surface(
            vertices[sample],
            to_head(placement, found.points),
            found.normals @ placement.rotation,
            slopes[: len(sample)],
            weights,
        )
        system.add_points(
            model.landmarks(vertices),
            to_head(placement, targets.points),
            np.einsum("lc,lcij->lij", model.landmark_weights, of_corners),
            targets.weights * interpolate_scales(_LANDMARK_WEIGHTS, progress),
        )
        factor = _STARTING_FACTOR ** max(0.0, 1.0 - 1.5 * progress)
        step, twist = system.solve(coefficients, REGULARISATION * factor)
        coefficients = coefficients + step
        rotation, _ = rotation_vector_to_matrix(twist[:3])
        placement = placement.after(Similarity(1.0, rotation, twist[3:]))
    return coefficients, placement


class GaussNewton:
    """Normal equations, head frame, of the step da of the coefficients and the twist (omega, t) of the placement that
    least leaves of the residuals target - (vertex + basis da + omega x vertex + t)."""

    def __init__(self, coefficients: int):
        self._matrix = np.zeros((coefficients + 6, coefficients + 6))
        self._gradient = np.zeros(coefficients + 6)

    def add_surface(
        self,
        vertices: NDArray,
        targets: NDArray,
        normals: NDArray,
        basis: NDArray,
        weights: NDArray,
        sliding: float = _SLIDING,
    ) -> None:
        """Residuals of N points that count fully along the scan's normals and `sliding` times along its surface."""
        used = weights > 0
        root = np.sqrt(sliding) * np.eye(3) + (1 - np.sqrt(sliding)) * normals[:, :, None] * normals[:, None]
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


def to_head(placement: Similarity, points: NDArray) -> NDArray[np.float64]:
    """Points (N, 3) of the scan's frame in the head frame of a rigid placement."""
    return (points - placement.translation) @ placement.rotation
