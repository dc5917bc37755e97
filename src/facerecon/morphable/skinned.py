"""Face model whose jaw, neck and eyes turn: linear blend skinning with pose correctives (FLAME, Li et al. 2017)."""

import numpy as np
import torch
from torch import Tensor, nn

from facerecon.morphable.source_model import SourceModel

JAW_UNIT = 0.1
"""Radians (5.7 degrees) that the jaw turns for one unit of an expression vector's last three entries."""
JAW = "jaw"


class SkinnedFaceModel(nn.Module):
    """Model of V vertices, I identity and E expression components, and J joints, the first of which stays at rest.

    Buffers: mean (V, 3), identity_basis (I, V, 3), expression_basis (E, V, 3) mm in the head frame (y up, z out of the
    face, +x the subject's left); joint_regressor (J, V), skinning_weights (V, J), pose_correctives (9 (J - 1), V, 3)
    mm; albedo_mean (V, 3) and albedo_basis (A, V, 3) linear RGB, with A = 0 and gray where the source has none;
    triangles (F, 3). source: the arrays that it was made of.
    """

    def __init__(self, source: SourceModel):
        """Raises ValueError if the source has no skinning with a joint "jaw", or is bilinear."""
        super().__init__()
        if source.skinning is None or JAW not in source.skinning.joint_names[1:]:
            raise ValueError(f"{source.name} has no jaw joint")
        if source.interaction is not None:
            raise ValueError(f"{source.name} is bilinear")
        self.source = source
        self.joint_names = source.skinning.joint_names
        self._parents = [int(parent) for parent in source.skinning.parents]
        self._jaw = self.joint_names.index(JAW) - 1
        count = len(source.mean)

        def keep(name: str, array: np.ndarray, dtype: type = np.float32) -> None:
            self.register_buffer(name, torch.from_numpy(np.array(array, dtype=dtype)), persistent=False)

        correctives, albedo_mean = source.skinning.pose_correctives, source.albedo_mean
        keep("mean", source.mean)
        keep("identity_basis", source.identity)
        keep("expression_basis", source.expression)
        keep("joint_regressor", source.skinning.joint_regressor)
        keep("skinning_weights", source.skinning.weights)
        keep(
            "pose_correctives", np.zeros((9 * len(self._parents) - 9, count, 3)) if correctives is None else correctives
        )
        keep("albedo_mean", np.full((count, 3), 0.5) if albedo_mean is None else albedo_mean)
        keep("albedo_basis", np.zeros((0, count, 3)) if source.albedo is None else source.albedo)
        keep("triangles", source.triangles, np.int64)
        if source.landmark_triangles is not None:
            keep("landmark_vertices", source.triangles[source.landmark_triangles], np.int64)
            keep("landmark_weights", source.landmark_barycentric)

    @property
    def dimensions(self) -> dict[str, int]:
        """Numbers of coefficients: identity, expression (the jaw's three included), albedo."""
        return {
            "identity": len(self.identity_basis),
            "expression": len(self.expression_basis) + 3,
            "albedo": len(self.albedo_basis),
        }

    def decode(self, identity: Tensor, expression: Tensor, pose: Tensor | None = None) -> Tensor:
        """Vertices (B, V, 3), mm in the head frame.

        identity: (B, I). expression: (B, E), or (B, E + 3) with the jaw's rotation vector in units of JAW_UNIT at the
        end, which is added to the pose's. pose: (B, J - 1, 3) rotation vectors, radians, of the joints after the root
        in the order of `joint_names` (FLAME: neck, jaw, left eye, right eye), each relative to its parent; None is
        rest. The head's own rotation is the camera's. Raises ValueError for other shapes.
        """
        batch, components = len(identity), len(self.expression_basis)
        if expression.shape[1] not in (components, components + 3):
            raise ValueError(
                f"expression must have {components} or {components + 3} entries, not {expression.shape[1]}"
            )
        turns = identity.new_zeros(batch, len(self._parents) - 1, 3) if pose is None else pose
        if turns.shape != (batch, len(self._parents) - 1, 3):
            raise ValueError(f"pose must be {(batch, len(self._parents) - 1, 3)}, not {tuple(turns.shape)}")
        if expression.shape[1] > components:
            jaw = turns.new_zeros(len(self._parents) - 1, 1)
            jaw[self._jaw] = JAW_UNIT
            turns = turns + jaw * expression[:, None, components:]
        shaped = self.compute_shape(identity, expression[:, :components])
        return self.turn_joints(shaped, rotation_matrices(turns))

    def compute_shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices (B, V, 3) at rest of coefficients identity (B, I) and expression (B, E)."""
        offsets = identity @ self.identity_basis.flatten(1) + expression @ self.expression_basis.flatten(1)
        return self.mean + offsets.unflatten(-1, (-1, 3))

    def turn_joints(self, shaped: Tensor, rotations: Tensor) -> Tensor:
        """Vertices (B, V, 3) at rest, turned by the rotations (B, J - 1, 3, 3) of the joints after the root."""
        joints = self.joint_regressor @ shaped
        identity = torch.eye(3, dtype=shaped.dtype, device=shaped.device)
        feature = (rotations - identity).flatten(1)
        posed = shaped + (feature @ self.pose_correctives.flatten(1)).unflatten(-1, (-1, 3))

        turns, places = [identity.expand(len(shaped), 3, 3)], [joints[:, 0]]
        for joint in range(1, len(self._parents)):
            parent = self._parents[joint]
            bone = (joints[:, joint] - joints[:, parent])[..., None]
            places.append(places[parent] + (turns[parent] @ bone)[..., 0])
            turns.append(turns[parent] @ rotations[:, joint - 1])
        turn, place = torch.stack(turns, 1), torch.stack(places, 1)
        shift = place - (turn @ joints[..., None])[..., 0]
        blended = torch.einsum("vj,bjxy->bvxy", self.skinning_weights, turn)
        return (blended @ posed[..., None])[..., 0] + self.skinning_weights @ shift

    def decode_albedo(self, albedo: Tensor) -> Tensor:
        """Albedo (B, V, 3), linear RGB and not clamped, of coefficients (B, A)."""
        return self.albedo_mean + (albedo @ self.albedo_basis.flatten(1)).unflatten(-1, (-1, 3))

    def landmarks(self, vertices: Tensor) -> Tensor:
        """The 68 landmarks (B, 68, 3) of vertices (B, V, 3); ValueError if the model has none."""
        if self.source.landmark_triangles is None:
            raise ValueError(f"{self.source.name} has no landmarks")
        return (vertices[:, self.landmark_vertices] * self.landmark_weights[..., None]).sum(-2)


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Rotations (..., 3, 3) by |v| radians about v (right-handed) of rotation vectors v (..., 3): Rodrigues' formula.

    The gradient exists at v = 0 too.
    """
    square = (vectors**2).sum(-1)
    small = square < 1e-8
    angle = torch.where(small, torch.ones_like(square), square).sqrt()  # where, before sqrt: its slope at 0 is infinite
    half = torch.sin(angle / 2) / angle
    along = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)[..., None, None]
    across = torch.where(small, 0.5 - square / 24, 2 * half**2)[..., None, None]
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=vectors.dtype, device=vectors.device) + along * skew + across * (skew @ skew)
