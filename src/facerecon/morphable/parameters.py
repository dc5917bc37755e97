"""What describes faces: the one type that systems predict, landmarks refine and renderers draw."""

from typing import NamedTuple

from torch import Tensor


class FaceParameters(NamedTuple):
    """B faces seen by cameras; float32.

    identity (B, I), expression (B, E), albedo (B, A): coefficients of the face model, standard normal under its prior.
    rotation (B, 3): pitch, yaw, roll, rad. translation (B, 3): mm, camera frame of the standard crop. light: (B, 9, 3)
    spherical harmonics, or (B, 9, 1) for white light.
    """

    identity: Tensor
    expression: Tensor
    albedo: Tensor
    rotation: Tensor
    translation: Tensor
    light: Tensor
