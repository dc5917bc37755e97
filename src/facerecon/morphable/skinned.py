"""Face model whose jaw, neck and eyes turn: linear blend skinning with pose correctives (FLAME, Li et al. 2017)."""

import numpy as np
import torch
from numpy.typing import NDArray
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
    Buffers besides those of every model: joint_regressor (J, V), skinning_weights (V, J), pose_correctives
    (9 (J - 1), V, 3) mm. identity_basis and expression_basis hold at rest.
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
        self._keep("skinning_weights", skinning.weights)
        correctives = skinning.pose_correctives
        if correctives is None:
            correctives = np.zeros((9 * len(self._parents) - 9, len(source.mean), 3))
        self._keep("pose_correctives", correctives)

    def decode(self, identity: Tensor, expression: Tensor, pose: Tensor | None = None) -> Tensor:
        """Vertices (B, V, 3), mm in the head frame.

        identity: (B, I). expression: (B, E') alone, or (B, E) with the jaw's rotation vector in units of JAW_UNIT at
        the end, which is added to the pose's. pose: (B, J - 1, 3) rotation vectors, radians, of the joints after the
        root in the order of `joint_names` (FLAME: neck, jaw, left eye, right eye), each relative to its parent; None is
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
        """Vertices (B, V, 3) at rest of coefficients identity (B, I) and expression (B, E')."""
        return self._add_offsets(identity, expression)

    @torch.no_grad()
    def linearise_landmarks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As every model's; the last three columns are the slopes at rest by the jaw's rotation vector."""
        mean, components = super().linearise_landmarks()
        turns = _SLOPE_STEP * torch.cat([torch.eye(3), -torch.eye(3)]).to(self.mean)
        rest = self.mean.new_zeros(6, len(self.identity_basis) + len(self.expression_basis))
        expression = torch.cat([rest[:, len(self.identity_basis) :], turns], dim=1)
        there, back = self.landmarks(self.decode(rest[:, : len(self.identity_basis)], expression)).double().split(3)
        slopes = ((there - back) / (2 * _SLOPE_STEP)).permute(1, 2, 0)
        return mean, np.concatenate([components, slopes.numpy(force=True)], axis=2)

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
