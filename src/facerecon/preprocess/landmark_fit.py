"""Maximum a posteriori fit of a face model, linearised, to 68 landmarks of the standard crop.

Minimises over rotation, translation, identity a and expression b

    sum_k |project(R s_k(a, b) + t) - landmark_k|^2 / sigma_k^2 + |a|^2 + |b|^2

where s_k are the model's landmarks, by Levenberg-Marquardt from a scaled orthographic start. Coefficients are standard
normal under the model's prior, so the sum is twice the negative logarithm of the posterior when landmark errors are
Gaussian. Only the 68 landmark rows of the basis enter, and all faces of a batch are solved together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from facerecon.geometry.cameras import STANDARD_DISTANCE, head_to_camera, project_standard_crop, standard_focal
from facerecon.geometry.crop import fit_scaled_orthographic
from facerecon.geometry.rotations import euler_to_matrix, matrix_to_euler

POSE = 6
MODEL_SIGMA = 1.0
"""Pixels (of a 224 crop) by which the model's landmarks and annotated ones differ even without noise."""

_NEAREST = 200.0  # mm; a head cannot be nearer to the camera
_CONVERGED = 1e-7  # relative decrease of the sum below which no further step is made
_FLIP = (1.0, -1.0, -1.0)
_ERROR_PER_SIGMA = float(np.sqrt(np.pi / 2))  # mean length of a 2D Gaussian vector over its standard deviation


class LinearisedLandmarks(Protocol):
    """What is needed of a face model (morphable.face_model.FaceModel)."""

    dimensions: Mapping[str, int]

    def linearise_landmarks(self) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class LandmarkBasis:
    """The landmark rows of a linear model: s = mean + components c, c = (identity, expression).

    mean: (68, 3) mm, head frame. components: (68, 3, identities + expressions) mm a standard deviation.
    """

    mean: Tensor
    components: Tensor
    identities: int

    @classmethod
    def of(cls, model: LinearisedLandmarks) -> "LandmarkBasis":
        """The rows of a model at its landmarks; for one that turns the jaw or is bilinear its slopes at the mean face.

        Those of the open model are the same at every level of detail.
        """
        mean, components = model.linearise_landmarks()
        return cls(torch.from_numpy(mean), torch.from_numpy(components), identities=model.dimensions["identity"])

    @property
    def expressions(self) -> int:
        """Number of expression coefficients."""
        return self.components.shape[2] - self.identities

    def shape(self, coefficients: Tensor) -> Tensor:
        """Landmarks (B, 68, 3) in mm, head frame, of coefficients (B, identities + expressions)."""
        offsets = coefficients @ self.components.flatten(0, 1).T
        return self.mean + offsets.unflatten(1, self.mean.shape)


@dataclass(frozen=True)
class FaceFit:
    """Fits of B faces.

    identity (B, I), expression (B, E); rotation (B, 3) pitch, yaw, roll in rad; translation (B, 3) mm in the camera of
    the standard crop; residual (B,) root mean square landmark distance in pixels. NaN where landmarks are degenerate.
    """

    identity: Tensor
    expression: Tensor
    rotation: Tensor
    translation: Tensor
    residual: Tensor

    @property
    def coefficients(self) -> Tensor:
        """(B, I + E) identity, expression."""
        return torch.cat([self.identity, self.expression], dim=1)


def landmark_sigma(expected_error: Tensor) -> Tensor:
    """Standard deviation a coordinate, in pixels of the 224 crop, of landmarks of that expected error (in the same).

    expected_error: (B, 68) mean distance from the truth, >= 0. The model's own misfit is added.
    """
    return torch.sqrt((expected_error / _ERROR_PER_SIGMA) ** 2 + MODEL_SIGMA**2)


def fit_landmarks(
    landmarks: Tensor,
    sigma: Tensor,
    basis: LandmarkBasis,
    size: int = 224,
    start: FaceFit | None = None,
    prior_mean: Tensor | None = None,
    prior_precision: float = 1.0,
    pose_iterations: int = 4,
    iterations: int = 6,
    batch: int = 64,
) -> FaceFit:
    """Fit faces to landmarks.

    landmarks: (B, 68, 2) pixels of the standard crop of `size`. sigma: (B, 68) standard deviation a coordinate, pixels,
    > 0. start: a fit to begin at (its residual is not read) instead of the scaled orthographic one.
    prior_mean: (B, I + E) centre of the coefficients' normal prior; zeros if None. prior_precision: inverse variance.
    pose_iterations: steps on the pose alone; iterations: steps on all unknowns. batch: faces solved at once.
    A face's result does not depend on the others in its batch, beyond rounding.
    Raises ValueError on wrong shapes, or a sigma or precision that is not positive.
    """
    points = tuple(basis.mean.shape[:1])
    if landmarks.shape[1:] != (*points, 2) or sigma.shape != landmarks.shape[:2]:
        shapes = f"landmarks {tuple(landmarks.shape)} and sigma {tuple(sigma.shape)}"
        raise ValueError(f"{shapes} do not fit the basis, which has {points[0]} points")
    if not (bool((sigma > 0).all()) and prior_precision > 0):
        raise ValueError("sigma and prior_precision must be positive")
    with torch.no_grad():
        targets, weights = landmarks.double(), 1.0 / sigma.double()
        state = _initial(targets, basis, size) if start is None else _state_of(start)
        usable = torch.isfinite(targets).all((1, 2)) & torch.isfinite(state.translation).all(1)
        targets = torch.where(usable[:, None, None], targets, 0.0)
        state = _chosen(usable, state, _frontal(state))
        centre = torch.zeros_like(state.coefficients) if prior_mean is None else prior_mean.double()
        parts = []
        for rows in torch.arange(len(targets)).split(batch):
            problem = _Problem(targets[rows], weights[rows], centre[rows], prior_precision, basis, size)
            part = _State(*(getattr(state, column.name)[rows] for column in fields(_State)))
            part = _minimise(problem, part, pose_iterations, pose_only=True)
            parts.append(_minimise(problem, part, iterations, pose_only=False))
        whole = _State(*(torch.cat([getattr(p, c.name) for p in parts]) for c in fields(_State))) if parts else state
        return _finished(whole, targets, usable, basis, size)


@dataclass(frozen=True)
class _State:
    rotation: Tensor  # (B, 3, 3)
    translation: Tensor  # (B, 3)
    coefficients: Tensor  # (B, I + E)


@dataclass(frozen=True)
class _Problem:
    targets: Tensor  # (B, 68, 2)
    weights: Tensor  # (B, 68), 1 / sigma
    prior_mean: Tensor  # (B, I + E)
    precision: float
    basis: LandmarkBasis
    size: int

    def residual(self, state: _State) -> Tensor:
        """(B, 136) weighted residuals."""
        points = _project(state, self.basis.shape(state.coefficients), self.size)[..., :2]
        return ((points - self.targets) * self.weights[..., None]).flatten(1)

    def cost(self, state: _State) -> Tensor:
        """(B,) the posterior's sum; infinite where it is not a number or a point is behind the camera."""
        prior = self.precision * (state.coefficients - self.prior_mean).square().sum(1)
        cost = self.residual(state).square().sum(1) + prior
        return torch.where(state.translation[:, 2] > _NEAREST, cost, torch.inf).nan_to_num(torch.inf)

    def jacobian(self, state: _State, pose_only: bool) -> Tensor:
        """(B, 136, 6 or 6 + I + E) of the residuals to a rotation vector, translation and coefficients."""
        shape = self.basis.shape(state.coefficients) @ state.rotation.transpose(1, 2)
        camera = shape * shape.new_tensor(_FLIP) + state.translation[:, None]
        inverse = standard_focal(self.size) / camera[..., 2]
        zero = torch.zeros_like(inverse)
        ratio = camera[..., :2] / camera[..., 2:]
        rows = [torch.stack([inverse, zero, -inverse * ratio[..., 0]], -1)]
        rows.append(torch.stack([zero, inverse, -inverse * ratio[..., 1]], -1))
        projection = torch.stack(rows, -2) * self.weights[..., None, None]
        turned = projection * projection.new_tensor(_FLIP)
        # d(R s) = omega x R s, so the row vector p gives (R s) x p.
        angular = torch.linalg.cross(shape[:, :, None].expand_as(turned), turned, dim=-1)
        parts = [angular.flatten(1, 2), projection.flatten(1, 2)]
        if not pose_only:
            turned = turned @ state.rotation[:, None]
            count = turned.shape[1]
            by_point = turned.permute(1, 0, 2, 3).reshape(count, -1, 3) @ self.basis.components
            parts.append(by_point.unflatten(1, (-1, 2)).transpose(0, 1).flatten(1, 2))
        return torch.cat(parts, dim=2)


def _minimise(problem: _Problem, state: _State, iterations: int, pose_only: bool) -> _State:
    """Levenberg-Marquardt steps, each face with its own damping; a step that does not improve a face is not taken."""
    damping = state.translation.new_full((len(state.translation),), 1e-3)
    cost = problem.cost(state)
    for _ in range(iterations):
        jacobian = problem.jacobian(state, pose_only)
        normal = jacobian.transpose(1, 2) @ jacobian
        gradient = (jacobian.transpose(1, 2) @ problem.residual(state)[..., None])[..., 0]
        if not pose_only:
            normal.diagonal(dim1=1, dim2=2)[:, POSE:] += problem.precision
            gradient[:, POSE:] += problem.precision * (state.coefficients - problem.prior_mean)
        diagonal = normal.diagonal(dim1=1, dim2=2)
        diagonal *= 1.0 + damping[:, None]
        factor, failed = torch.linalg.cholesky_ex(normal)
        step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        trial = _moved(state, step)
        trial_cost = problem.cost(trial)
        better = (trial_cost < cost) & (failed == 0)
        state = _chosen(better, trial, state)
        settled = (cost - trial_cost).abs() <= _CONVERGED * cost
        cost = torch.where(better, trial_cost, cost)
        if bool(settled.all()):
            break
        damping = torch.where(better, damping * 0.2, damping * 10.0).clamp(1e-7, 1e7)
    return state


def _moved(state: _State, step: Tensor) -> _State:
    spin = torch.zeros_like(state.rotation)
    x, y, z = step[:, :3].unbind(1)
    spin[:, 0, 1], spin[:, 0, 2], spin[:, 1, 2] = -z, y, -x
    spin = torch.nan_to_num(spin - spin.transpose(1, 2)).clamp(-10.0, 10.0)
    coefficients = state.coefficients + step[:, POSE:] if step.shape[1] > POSE else state.coefficients
    return _State(torch.matrix_exp(spin) @ state.rotation, state.translation + step[:, 3:POSE], coefficients)


def _chosen(better: Tensor, trial: _State, state: _State) -> _State:
    pairs = ((getattr(trial, column.name), getattr(state, column.name)) for column in fields(_State))
    return _State(*(torch.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in pairs))


def _project(state: _State, shape: Tensor, size: int) -> Tensor:
    camera = head_to_camera(shape, state.rotation, state.translation)
    return project_standard_crop(camera, size)


def _frontal(state: _State) -> _State:
    """A state to stand in for faces that cannot be fitted, so that they stay finite."""
    rotation = torch.eye(3, dtype=torch.float64).expand_as(state.rotation)
    translation = state.translation.new_tensor([0.0, 0.0, STANDARD_DISTANCE]).expand_as(state.translation)
    return _State(rotation, translation, torch.zeros_like(state.coefficients))


def _initial(targets: Tensor, basis: LandmarkBasis, size: int) -> _State:
    rotation, scale, origin = (
        torch.from_numpy(part) for part in fit_scaled_orthographic(targets.numpy(), basis.mean.numpy())
    )
    depth = standard_focal(size) / scale
    sideways = (origin - size / 2.0) / scale[:, None]
    coefficients = targets.new_zeros(len(targets), basis.components.shape[2])
    return _State(rotation, torch.cat([sideways, depth[:, None]], dim=1), coefficients)


def _state_of(fit: FaceFit) -> _State:
    return _State(euler_to_matrix(fit.rotation.double()), fit.translation.double(), fit.coefficients.double())


def _finished(state: _State, targets: Tensor, usable: Tensor, basis: LandmarkBasis, size: int) -> FaceFit:
    points = _project(state, basis.shape(state.coefficients), size)[..., :2]
    residual = (points - targets).square().sum(-1).mean(-1).sqrt()
    identity, expression = state.coefficients.split([basis.identities, basis.expressions], dim=1)
    results = [identity, expression, matrix_to_euler(state.rotation), state.translation, residual]
    return FaceFit(*(torch.where(usable if x.ndim == 1 else usable[:, None], x, torch.nan).float() for x in results))
