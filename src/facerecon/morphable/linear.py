"""Linear face model: identity, expression and albedo bases on one mesh."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor, nn

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


class LinearFaceModel(nn.Module):
    """Face model whose vertices and albedo are linear in standard normal coefficients.

    Buffers, float32: mean (V, 3), identity_basis (80, V, 3) and expression_basis (64, V, 3) in mm in the head frame (y
    up, z out of the face, +x the subject's left, origin at the mean face's mean landmark); albedo_mean (V, 3) and
    albedo_basis (80, V, 3) linear RGB. Neutral is expression 0. `identity_signs`, `expression_signs` and `albedo_signs`
    mirror a face: the mirror image of decode(c) is decode(c * signs).
    topology: the mesh; level: subdivision level; sha256: of the model file; coarse: the control mesh's model.
    """

    def __init__(
        self,
        topology: Topology,
        level: int,
        sha256: str,
        coarse: CoarseModel,
        shape: tuple[np.ndarray, np.ndarray, np.ndarray],
        albedo: tuple[np.ndarray, np.ndarray],
        signs: tuple[np.ndarray, np.ndarray, np.ndarray],
    ):
        """shape: mean, identity and expression bases; albedo: mean and basis; signs: of the three bases in order."""
        super().__init__()
        self.topology, self.level, self.sha256, self.coarse = topology, level, sha256, coarse

        def keep(name: str, array: np.ndarray) -> None:
            tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
            self.register_buffer(name, tensor, persistent=False)

        for name, array in zip(("mean", "identity_basis", "expression_basis"), shape, strict=True):
            keep(name, array)
        for name, array in zip(("albedo_mean", "albedo_basis"), albedo, strict=True):
            keep(name, array)
        for name, array in zip(("identity_signs", "expression_signs", "albedo_signs"), signs, strict=True):
            keep(name, array)
        self.register_buffer("triangles", torch.from_numpy(topology.triangles.astype(np.int64)), persistent=False)
        landmark_vertices = torch.from_numpy(topology.landmark_vertices.astype(np.int64))
        self.register_buffer("landmark_vertices", landmark_vertices, persistent=False)
        keep("landmark_weights", topology.landmark_barycentric)
        self._identity_projection = _least_squares(coarse.identity)
        self._expression_projection = _least_squares(coarse.expression)

    @property
    def dimensions(self) -> dict[str, int]:
        """Numbers of coefficients: identity, expression, albedo."""
        return {
            "identity": len(self.identity_basis),
            "expression": len(self.expression_basis),
            "albedo": len(self.albedo_basis),
        }

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
        offsets = identity @ self.identity_basis.flatten(1) + expression @ self.expression_basis.flatten(1)
        return self.mean + offsets.unflatten(-1, (-1, 3))

    def decode_albedo(self, albedo: Tensor) -> Tensor:
        """Albedo (B, V, 3), linear RGB and not clamped, of coefficients (B, 80)."""
        return self.albedo_mean + (albedo @ self.albedo_basis.flatten(1)).unflatten(-1, (-1, 3))

    def landmarks(self, vertices: Tensor) -> Tensor:
        """The 68 landmarks (B, 68, 3) on the surface of vertices (B, V, 3), in the vertices' unit and frame."""
        return (vertices[:, self.landmark_vertices] * self.landmark_weights[..., None]).sum(-2)

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
