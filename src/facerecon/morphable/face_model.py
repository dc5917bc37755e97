"""What every face model offers to fits, systems, renderers and evaluations, whoever published it."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facerecon.geometry.normals import normals_across_seams
from facerecon.morphable.topology import MovingContour, Topology


class FaceModel(nn.Module, ABC):
    """A face model of V vertices in mm in the head frame: y up, z out of the face, +x the subject's left, the origin at
    the mean face's mean landmark.

    I identity, E expression and A albedo coefficients (`dimensions`), standard normal under the prior unless the
    model's file says otherwise; 0 of all is the mean face, which is the neutral one.
    Buffers, float32: mean (V, 3), identity_basis (I, V, 3), what identity adds at rest, neutral expression;
    expression_basis (E', V, 3), what the linear expression coefficients add (E' = E but for models that turn joints);
    albedo_mean (V, 3), albedo_basis (A, V, 3) linear RGB; identity_mirror (I, I), expression_mirror (E, E); triangles
    (F, 3) int64, counter-clockwise seen from outside; welded_triangles (F, 3) int32, the same without the copies on
    texture seams; copied_vertices (C,) int64, what the last C vertices copy.
    name: the publisher's; topology: the mesh; level: of detail; sha256: of the model's file, by which shards and
    trained weights name the model that their coefficients belong to.
    """

    def __init__(
        self,
        name: str,
        topology: Topology,
        level: int,
        sha256: str,
        shape: tuple[NDArray, NDArray, NDArray],
        albedo: tuple[NDArray, NDArray],
        mirror: tuple[NDArray, NDArray],
    ):
        """shape: mean, identity and expression bases; albedo: mean and basis; mirror: matrices (I, I) and (E, E)."""
        super().__init__()
        self.name, self.topology, self.level, self.sha256 = name, topology, level, sha256
        for buffer, array in zip(("mean", "identity_basis", "expression_basis"), shape, strict=True):
            self._keep(buffer, array)
        for buffer, array in zip(("albedo_mean", "albedo_basis"), albedo, strict=True):
            self._keep(buffer, array)
        for buffer, array in zip(("identity_mirror", "expression_mirror"), mirror, strict=True):
            self._keep(buffer, array)
        self._keep("triangles", topology.triangles, np.int64)
        self._keep("welded_triangles", topology.welded_triangles, np.int32)
        self._keep("copied_vertices", topology.seam_copies, np.int64)
        self._keep("landmark_vertices", topology.landmark_vertices, np.int64)
        self._keep("landmark_weights", topology.landmark_barycentric)

    @property
    def dimensions(self) -> dict[str, int]:
        """Numbers of coefficients: identity, expression, albedo."""
        return {
            "identity": len(self.identity_mirror),
            "expression": len(self.expression_mirror),
            "albedo": len(self.albedo_basis),
        }

    @property
    def contour(self) -> MovingContour | None:
        """The publisher's jaw landmarks that move with yaw; None where there are none."""
        return self.topology.contour

    @property
    def seam_copies(self) -> NDArray[np.int64]:
        """(C,) ids of the vertices that the last C vertices copy, along the seams of the texture chart."""
        return self.topology.seam_copies

    @abstractmethod
    def decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices (B, V, 3), mm, of coefficients identity (B, I) and expression (B, E); differentiable."""

    def decode_albedo(self, albedo: Tensor) -> Tensor:
        """Albedo (B, V, 3), linear RGB and not clamped, of coefficients (B, A)."""
        return self.albedo_mean + (albedo @ self.albedo_basis.flatten(1)).unflatten(-1, (-1, 3))

    def landmarks(self, vertices: Tensor) -> Tensor:
        """The 68 landmarks (B, 68, 3) on the surface of vertices (B, V, 3), in the vertices' unit and frame."""
        return (vertices[:, self.landmark_vertices] * self.landmark_weights[..., None]).sum(-2)

    def mirror_identity(self, identity: Tensor) -> Tensor:
        """Identity coefficients (B, I) of the mirrored faces: exact for the open model, else nearest in the basis."""
        return identity @ self.identity_mirror

    def mirror_expression(self, expression: Tensor) -> Tensor:
        """Expression coefficients (B, E) of the mirrored faces: exact for the open model, else nearest in the basis."""
        return expression @ self.expression_mirror

    @torch.no_grad()
    def linearise_landmarks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean face's landmarks (68, 3), mm, and their derivatives (68, 3, I + E) by identity and expression there.

        Exact for linear models; for others the first order at the mean face.
        """
        rest = (self.mean.new_zeros(self.dimensions[kind]) for kind in ("identity", "expression"))
        corners = self.jacobian(*rest, self.landmark_vertices.flatten()).unflatten(0, (-1, 3))
        slopes = (corners * self.landmark_weights[..., None, None]).sum(1)
        return self.landmarks(self.mean[None])[0].double().numpy(force=True), slopes.double().numpy(force=True)

    def jacobian(self, identity: Tensor, expression: Tensor, vertices: Tensor) -> Tensor:
        """Derivatives (n, 3, I + E), mm a unit, of decoded vertices, ids (n,), at identity (I,) and expression (E,)."""
        return torch.cat([self.identity_basis[:, vertices], self.expression_basis[:, vertices]]).permute(1, 2, 0)

    def normals(self, vertices: Tensor) -> Tensor:
        """Unit normals (B, V, 3) of vertices (B, V, 3), as `vertex_normals`, without a crease along texture seams."""
        return normals_across_seams(vertices, self.welded_triangles, self.copied_vertices)

    def _add_offsets(self, identity: Tensor, expression: Tensor) -> Tensor:
        """The linear part (B, V, 3), mm: mean, identity (B, I) and expression (B, E')."""
        vertices = torch.addmm(self.mean.flatten(), identity, self.identity_basis.flatten(1))
        return torch.addmm(vertices, expression, self.expression_basis.flatten(1)).unflatten(-1, (-1, 3))

    def _keep(self, name: str, array: NDArray, dtype: type = np.float32) -> None:
        tensor = torch.from_numpy(np.array(array, dtype=dtype, order="C"))
        self.register_buffer(name, tensor, persistent=False)
