"""The open face model: identity, expression and albedo bases on one mesh, subdivided from a coarse one."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from torch import Tensor

from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.topology import Topology


@dataclass(frozen=True)
class CoarseModel:
    """The model on the vertices of its coarse control mesh (Vc vertices, mm, head frame), float32.

    mean: (Vc, 3). identity: (80, Vc, 3). expression: (64, Vc, 3). quads: (Q, 4). mirror: (Vc,).
    is_skin: (Vc,) bool, False on the eyeballs. landmark_operator: (68, Vc) sparse, the 68 landmarks of coarse vertices.
    """

    mean: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    quads: np.ndarray
    mirror: np.ndarray
    is_skin: np.ndarray
    landmark_operator: sparse.csr_matrix


class LinearFaceModel(FaceModel):
    """The open face model: vertices and albedo are linear in standard normal coefficients, and it mirrors exactly.

    80 identity, 64 expression and 80 albedo coefficients. Buffers besides those of every model: `identity_signs`,
    `expression_signs` and `albedo_signs`, which mirror a face: the mirror image of decode(c) is decode(c * signs).
    level: subdivision level; coarse: the control mesh's model.
    """

    def __init__(
        self,
        name: str,
        topology: Topology,
        level: int,
        sha256: str,
        coarse: CoarseModel,
        shape: tuple[np.ndarray, np.ndarray, np.ndarray],
        albedo: tuple[np.ndarray, np.ndarray],
        signs: tuple[np.ndarray, np.ndarray, np.ndarray],
    ):
        """shape: mean, identity and expression bases; albedo: mean and basis; signs: of the three bases in order."""
        super().__init__(name, topology, level, sha256, shape, albedo, (np.diag(signs[0]), np.diag(signs[1])))
        self.coarse = coarse
        for buffer, array in zip(("identity_signs", "expression_signs", "albedo_signs"), signs, strict=True):
            self._keep(buffer, array)
        self._identity_projection = _least_squares(coarse.identity)
        self._expression_projection = _least_squares(coarse.expression)

    @property
    def landmark_operator(self) -> sparse.csr_matrix:
        """(68, Vc) sparse: the 68 landmarks from coarse vertices."""
        return self.coarse.landmark_operator

    @property
    def coarse_mean(self) -> np.ndarray:
        """Mean face (Vc, 3) of the coarse mesh, mm."""
        return self.coarse.mean

    @property
    def coarse_identity(self) -> np.ndarray:
        """Identity basis (80, Vc, 3) of the coarse mesh, mm a standard deviation."""
        return self.coarse.identity

    @property
    def coarse_expression(self) -> np.ndarray:
        """Expression basis (64, Vc, 3) of the coarse mesh, mm a unit."""
        return self.coarse.expression

    def decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices (B, V, 3), mm in the head frame, of coefficients identity (B, 80) and expression (B, 64)."""
        return self._add_offsets(identity, expression)

    def linearise_landmarks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As every model's, of the coarse mesh: the same at every level of detail."""
        shape = np.concatenate([self.coarse_mean[None], self.coarse_identity, self.coarse_expression])
        rows = np.stack([self.landmark_operator @ part for part in shape.astype(np.float64)])
        return rows[0], np.ascontiguousarray(rows[1:].transpose(1, 2, 0))

    def project_identity(self, vertices: np.ndarray) -> np.ndarray:
        """Identity coefficients (..., 80), least squares, of neutral coarse vertices (..., Vc, 3), mm head frame."""
        return _project(np.asarray(vertices, dtype=np.float64) - self.coarse.mean, self._identity_projection)

    def project_expression(self, offsets: np.ndarray) -> np.ndarray:
        """Expression coefficients (..., 64), least squares, of coarse offsets from neutral (..., Vc, 3), mm."""
        return _project(np.asarray(offsets, dtype=np.float64), self._expression_projection)


def _least_squares(basis: np.ndarray) -> np.ndarray:
    """Matrix (3 Vc, n), float64, that maps flattened offsets to the coefficients nearest in the least-squares sense."""
    flat = basis.reshape(len(basis), -1).astype(np.float64)
    return np.linalg.solve(flat @ flat.T, flat).T


def _project(offsets: np.ndarray, projection: np.ndarray) -> np.ndarray:
    return (offsets.reshape(*offsets.shape[:-2], -1) @ projection).astype(np.float32)
