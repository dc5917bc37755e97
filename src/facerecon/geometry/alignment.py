"""Similarity transforms between corresponding points."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.errors import InputError

# Below this ratio of singular values a point set counts as flat or collinear: far above double rounding, far below any
# landmark noise.
_RANK_TOLERANCE = 1e-9


class Similarity(NamedTuple):
    """The map x -> scale * rotation @ x + translation.

    scale: target units a source unit. rotation: (3, 3) orthogonal, determinant -1 if it mirrors. translation: (3,)
    target units.
    """

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def apply(self, points: NDArray) -> NDArray[np.float64]:
        """(N, 3) points of the source frame in the target frame."""
        return self.scale * np.asarray(points, np.float64) @ self.rotation.T + self.translation

    def after(self, first: "Similarity") -> "Similarity":
        """The similarity that applies `first`, then this one."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )


def similarity_procrustes(
    source: ArrayLike, target: ArrayLike, allow_reflection: bool = False, with_scale: bool = True
) -> Similarity:
    """Least-squares similarity from `source` to `target`: least sum |scale rotation source + translation - target|^2.

    source, target: (N, 3) corresponding points, N >= 3, each set in one unit. allow_reflection: let the rotation mirror
    where that fits better; where it cannot fit better (points in one plane) the proper rotation is returned.
    with_scale: False fixes the scale at 1.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    Raises ValueError for wrong shapes, InputError for points that are not finite, coincide or lie on one line (the
    rotation is then undetermined).
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or len(source) < 3:
        raise ValueError(f"two equal sets of at least three 3D points expected, got {source.shape}, {target.shape}")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InputError("points to align are not all finite: remove NaN and infinite coordinates")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred_source, centred_target = source - source_mean, target - target_mean
    for name, points in (("source", centred_source), ("target", centred_target)):
        _require_rank_two(name, points)

    left, singular, right = np.linalg.svd(centred_target.T @ centred_source)
    mirrored = np.linalg.det(left @ right) < 0
    signs = np.ones(3)
    if mirrored and not (allow_reflection and singular[2] > _RANK_TOLERANCE * singular[0]):
        signs[2] = -1.0
    rotation = (left * signs) @ right
    scale = float((singular * signs).sum() / np.square(centred_source).sum()) if with_scale else 1.0
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def rotation_vector_to_matrix(vector: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation matrix of a rotation vector, with its derivative.

    vector: (3,) axis times angle, rad. Returns the (3, 3) matrix (Rodrigues) and its (3, 3, 3) derivative, whose entry
    [i] is the derivative by component i of the vector.
    Source: Gallego and Yezzi, "A compact formula for the derivative of a 3-D rotation in exponential coordinates",
    JMIV 2015, eq. 9.
    """
    vector = np.asarray(vector, np.float64)
    angle_squared = float(vector @ vector)
    generators = np.stack([_cross_matrix(axis) for axis in np.eye(3)])
    cross = _cross_matrix(vector)
    if angle_squared < 1e-16:  # the closed form divides by the squared angle; first order is exact to rounding here
        matrix = np.eye(3) + cross
        return matrix, generators @ matrix
    angle = np.sqrt(angle_squared)
    matrix = np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle_squared * cross @ cross
    columns = (np.eye(3) - matrix).T
    derivative = [
        (vector[i] * cross + _cross_matrix(np.cross(vector, columns[i]))) @ matrix / angle_squared for i in range(3)
    ]
    return matrix, np.stack(derivative)


def _cross_matrix(vector: NDArray) -> NDArray[np.float64]:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _require_rank_two(name: str, centred: NDArray) -> None:
    singular = np.linalg.svd(centred, compute_uv=False)
    if singular[0] == 0:
        raise InputError(f"the {name} points to align coincide: points that span a plane are needed")
    if singular[1] <= _RANK_TOLERANCE * singular[0]:
        raise InputError(f"the {name} points to align lie on one line: points that span a plane are needed")
