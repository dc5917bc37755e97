"""Rotations from Euler angles, in the order of docs/conventions.md."""

import torch
from torch import Tensor


def euler_to_matrix(angles: Tensor) -> Tensor:
    """Rotation matrices R = Rz(roll) Rx(pitch) Ry(yaw), acting on column vectors of the head frame.

    angles: (..., 3) pitch, yaw, roll in radians. Positive yaw turns the nose to the subject's left (image right),
        positive pitch turns it down, positive roll turns the head counter-clockwise in the image.
    Returns (..., 3, 3). Raises ValueError if the last dimension is not 3.
    """
    if angles.ndim < 1 or angles.shape[-1] != 3:
        raise ValueError(f"angles must be (..., 3) pitch, yaw, roll, not {tuple(angles.shape)}")
    sin_pitch, sin_yaw, sin_roll = torch.sin(angles).unbind(-1)
    cos_pitch, cos_yaw, cos_roll = torch.cos(angles).unbind(-1)
    entries = [
        cos_roll * cos_yaw - sin_roll * sin_pitch * sin_yaw,
        -sin_roll * cos_pitch,
        cos_roll * sin_yaw + sin_roll * sin_pitch * cos_yaw,
        sin_roll * cos_yaw + cos_roll * sin_pitch * sin_yaw,
        cos_roll * cos_pitch,
        sin_roll * sin_yaw - cos_roll * sin_pitch * cos_yaw,
        -cos_pitch * sin_yaw,
        sin_pitch,
        cos_pitch * cos_yaw,
    ]
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def matrix_to_euler(rotation: Tensor) -> Tensor:
    """Pitch, yaw and roll of rotation matrices: the inverse of `euler_to_matrix`.

    rotation: (..., 3, 3), orthonormal with determinant 1.
    Returns (..., 3) radians: pitch in [-pi/2, pi/2], yaw and roll in [-pi, pi]. At a pitch of +-pi/2 yaw and roll turn
    about the same axis; there yaw is 0 and roll holds their sum or difference.
    Raises ValueError if the last two dimensions are not 3 x 3.
    """
    if rotation.ndim < 2 or rotation.shape[-2:] != (3, 3):
        raise ValueError(f"rotation must be (..., 3, 3), not {tuple(rotation.shape)}")
    cos_pitch = torch.hypot(rotation[..., 0, 1], rotation[..., 1, 1])
    locked = cos_pitch < 10 * torch.finfo(rotation.dtype).eps
    pitch = torch.atan2(rotation[..., 2, 1], cos_pitch)
    yaw = torch.atan2(-rotation[..., 2, 0], rotation[..., 2, 2])
    roll = torch.where(
        locked,
        torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0]),
        torch.atan2(-rotation[..., 0, 1], rotation[..., 1, 1]),
    )
    return torch.stack([pitch, torch.where(locked, torch.zeros_like(yaw), yaw), roll], -1)
