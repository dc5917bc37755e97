"""Face model whose jaw, neck and eyes turn: linear blend skinning with pose correctives (FLAME, Li et al. 2017)."""

import numpy as np
import torch
from torch import Tensor

from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.source_model import ConvertedModel

JAW_UNIT = 0.1
"""Radians (5.7 degrees) that the jaw turns for one unit of an expression vector's last three entries."""
JAW = "jaw"
TURN_MIRROR = (1.0, -1.0, -1.0)
"""What mirroring in x = 0 does to the entries of a rotation vector."""

_SLOPE_STEP = 0.05  # of the jaw's entries, to either side, for its slopes: 0.3 degrees


class SkinnedFaceModel(FaceModel):
    """Model of V vertices, I identity and E' expression components, and J joints, the first of which stays at rest.

    Expression coefficients are E = E' + 3: the last three turn the jaw (`decode`).
    Buffers besides those of every model: joint_regressor (J, V), joint_offsets (J, 3) mm, skinning_weights (V, J),
    pose_correctives (9 (J - 1), V, 3) mm. identity_basis and expression_basis hold at rest.
    """

    def __init__(self, model: ConvertedModel, sha256: str = ""):
        """Raises ValueError if the model has no skinning with a joint "jaw", or is bilinear."""
        source, skinning = model.source, model.source.skinning
        if skinning is None or JAW not in skinning.joint_names[1:]:
            raise ValueError(f"{source.name} has no jaw joint")
        if source.interaction is not None:
            raise ValueError(f"{source.name} is bilinear")
        components = len(source.expression)
        expression_mirror = np.zeros((components + 3, components + 3), np.float32)
        expression_mirror[:components, :components] = model.expression_mirror
        expression_mirror[components:, components:] = np.diag(TURN_MIRROR)
        super().__init__(
            source.name,
            model.topology,
            1,
            sha256,
            (source.mean, source.identity, source.expression),
            (source.albedo_mean, source.albedo),
            (model.identity_mirror, expression_mirror),
        )
        self.joint_names = skinning.joint_names
        self._parents = [int(parent) for parent in skinning.parents]
        self._jaw = self.joint_names.index(JAW) - 1
        self._keep("joint_regressor", skinning.joint_regressor)
        self._keep("joint_offsets", source.joint_offsets)
        self._keep("skinning_weights", skinning.weights)
        correctives = skinning.pose_correctives
        if correctives is None:
            correctives = np.zeros((9 * len(self._parents) - 9, len(source.mean), 3))
        self._keep("pose_correctives", correctives)

    def decode(self, identity: Tensor, expression: Tensor, pose: Tensor | None = None) -> Tensor:
        """Vertices (B, V, 3), mm in the head frame.

        identity: (B, I). expression: (B, E), at the end the jaw's rotation vector in units of JAW_UNIT, which is added
        to the pose's. pose: (B, J - 1, 3) rotation vectors, radians, of the joints after the root in the order of
        `joint_names` (FLAME: neck, jaw, left eye, right eye), each relative to its parent; None is rest. The head's own
        rotation is the camera's. Raises ValueError for other shapes.
        """
        components = len(self.expression_basis)
        if expression.shape[1] != components + 3:
            raise ValueError(f"expression must have {components + 3} entries, not {expression.shape[1]}")
        joints = len(self._parents) - 1
        if pose is not None and pose.shape != (len(identity), joints, 3):
            raise ValueError(f"pose must be {(len(identity), joints, 3)}, not {tuple(pose.shape)}")
        shaped = self.compute_shape(identity, expression[:, :components])
        return self.turn_joints(shaped, rotation_matrices(self._add_jaw(expression[:, components:], pose)))

    def compute_shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices (B, V, 3) at rest of coefficients identity (B, I) and expression (B, E')."""
        return self._add_offsets(identity, expression)

    @torch.no_grad()
    def jacobian(self, identity: Tensor, expression: Tensor, vertices: Tensor) -> Tensor:
        """As every model's, at rest but for the jaw; its three columns, the last, are slopes over small turns."""
        bases = torch.cat([self.identity_basis, self.expression_basis])
        shaped = self.compute_shape(identity[None], expression[None, : len(self.expression_basis)])
        rotations = rotation_matrices(self._add_jaw(expression[None, -3:]))
        # At a given turn the vertices are linear in what shapes them at rest.
        turn, shift = self._place_joints(self.joint_regressor @ bases, rotations.expand(len(bases), -1, -1, -1))
        blended = torch.einsum("vj,jxy->vxy", self.skinning_weights[vertices], turn[0])
        by_shape = torch.einsum("vxy,kvy->vxk", blended, bases[:, vertices])
        by_shape = by_shape + torch.einsum("vj,kjx->vxk", self.skinning_weights[vertices], shift)
        steps = _SLOPE_STEP * torch.cat([torch.eye(3), -torch.eye(3)]).to(self.mean)
        turned = rotation_matrices(self._add_jaw(expression[-3:] + steps))
        there, back = self.turn_joints(shaped.expand(6, -1, -1), turned)[:, vertices].split(3)
        by_turn = ((there - back) / (2 * _SLOPE_STEP)).permute(1, 2, 0)
        return torch.cat([by_shape, by_turn], 2)

    def turn_joints(self, shaped: Tensor, rotations: Tensor) -> Tensor:
        """Vertices (B, V, 3) at rest, turned by the rotations (B, J - 1, 3, 3) of the joints after the root."""
        feature = (rotations - torch.eye(3).to(shaped)).flatten(1)
        posed = shaped + (feature @ self.pose_correctives.flatten(1)).unflatten(-1, (-1, 3))
        turn, shift = self._place_joints(self.joint_regressor @ shaped + self.joint_offsets, rotations)
        blended = torch.einsum("vj,bjxy->bvxy", self.skinning_weights, turn)
        return (blended @ posed[..., None])[..., 0] + self.skinning_weights @ shift

    def _place_joints(self, joints: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Of each joint the rotation (B, J, 3, 3) and shift (B, J, 3) that take points at rest to where it takes them.

        joints: (B, J, 3) at rest. rotations: (B, J - 1, 3, 3), each relative to its parent.
        """
        turns, places = [torch.eye(3).to(joints).expand(len(joints), 3, 3)], [joints[:, 0]]
        for joint in range(1, len(self._parents)):
            parent = self._parents[joint]
            bone = (joints[:, joint] - joints[:, parent])[..., None]
            places.append(places[parent] + (turns[parent] @ bone)[..., 0])
            turns.append(turns[parent] @ rotations[:, joint - 1])
        turn, place = torch.stack(turns, 1), torch.stack(places, 1)
        return turn, place - (turn @ joints[..., None])[..., 0]

    def _add_jaw(self, jaw: Tensor, pose: Tensor | None = None) -> Tensor:
        """Rotation vectors (B, J - 1, 3), radians, of a pose (rest if None) and the jaw's (B, 3) in JAW_UNIT."""
        turns = jaw.new_zeros(len(self._parents) - 1, 1)
        turns[self._jaw] = JAW_UNIT
        turns = turns * jaw[:, None]
        return turns if pose is None else turns + pose


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
