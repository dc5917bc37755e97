"""From the head frame to pixels: rigid placement before the camera, perspective and scaled orthographic projection.

Frames, axes and units are drawn in docs/conventions.md. All functions are differentiable and batched.
"""

import torch
from torch import Tensor

STANDARD_SIZE = 224
"""Side of the standard face crop, pixels."""
STANDARD_FOCAL = 1015.0
"""Focal length of the standard crop, pixels at `STANDARD_SIZE`; scales with the size."""
STANDARD_DISTANCE = 1000.0
"""Distance of the head's origin from the camera in the standard crop, mm."""


def standard_focal(size: int) -> float:
    """Focal length in pixels of a standard crop of `size` pixels."""
    return STANDARD_FOCAL * size / STANDARD_SIZE


def head_to_camera(vertices: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Place heads before the camera: x_cam = F (R x) + t with F = diag(1, -1, -1).

    vertices: (B, V, 3) mm, head frame (x the subject's left, y up, z out of the face); B = 1 is broadcast.
    rotation: (B, 3, 3), head frame. translation: (B, 3) mm, camera frame; (0, 0, 1000) for a centred face.
    Returns (B, V, 3) mm, camera frame (x right, y down, z forward). Raises ValueError on other shapes.
    """
    _check_points("vertices", vertices)
    if rotation.ndim != 3 or rotation.shape[-2:] != (3, 3):
        raise ValueError(f"rotation must be (B, 3, 3), not {tuple(rotation.shape)}")
    if translation.ndim != 2 or translation.shape[-1] != 3:
        raise ValueError(f"translation must be (B, 3), not {tuple(translation.shape)}")
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=vertices.dtype, device=vertices.device)
    return vertices @ (flip[:, None] * rotation).transpose(1, 2) + translation[:, None, :]


def project_perspective(points_camera: Tensor, focal: float | Tensor, centre: Tensor | tuple[float, float]) -> Tensor:
    """Perspective projection: x_px = f X/Z + cx, y_px = f Y/Z + cy; z is kept.

    points_camera: (B, V, 3) mm, camera frame, Z > 0 (points behind the camera give numbers without meaning, which
        `rasterize` drops by their z).
    focal: pixels, a number or (B,). centre: principal point in pixels, (2,) or (B, 2).
    Returns (B, V, 3): x_px, y_px in pixels (pixel centres at +0.5), z in mm. Raises ValueError on other shapes.
    """
    _check_points("points_camera", points_camera)
    focal, centre = _per_image(points_camera, "focal", focal), _centre(points_camera, centre)
    depth = points_camera[..., 2:]
    return torch.cat([focal * points_camera[..., :2] / depth + centre, depth], -1)


def project_standard_crop(points_camera: Tensor, size: int = STANDARD_SIZE) -> Tensor:
    """Perspective projection by the camera of a standard crop of `size` pixels; as `project_perspective`."""
    return project_perspective(points_camera, standard_focal(size), (size / 2.0, size / 2.0))


def unproject_perspective(points_pixels: Tensor, focal: float | Tensor, centre: Tensor | tuple[float, float]) -> Tensor:
    """The inverse of `project_perspective`.

    points_pixels: (B, V, 3) x_px, y_px in pixels, z in mm. focal, centre as there.
    Returns (B, V, 3) mm, camera frame. Raises ValueError on other shapes.
    """
    _check_points("points_pixels", points_pixels)
    focal, centre = _per_image(points_pixels, "focal", focal), _centre(points_pixels, centre)
    depth = points_pixels[..., 2:]
    return torch.cat([(points_pixels[..., :2] - centre) * depth / focal, depth], -1)


def project_scaled_orthographic(
    points_camera: Tensor, scale: float | Tensor, centre: Tensor | tuple[float, float]
) -> Tensor:
    """Scaled orthographic projection: x_px = s X + cx, y_px = s Y + cy; z is kept.

    points_camera: (B, V, 3) mm, camera frame. scale: pixels/mm, a number or (B,). centre: pixels, (2,) or (B, 2).
    Returns (B, V, 3): x_px, y_px in pixels, z in mm. To rasterise them all z must be positive: keep the head at the
    standard distance. Raises ValueError on other shapes.
    """
    _check_points("points_camera", points_camera)
    scale, centre = _per_image(points_camera, "scale", scale), _centre(points_camera, centre)
    return torch.cat([scale * points_camera[..., :2] + centre, points_camera[..., 2:]], -1)


def _check_points(name: str, points: Tensor) -> None:
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"{name} must be (B, V, 3), not {tuple(points.shape)}")


def _per_image(points: Tensor, name: str, value: float | Tensor) -> Tensor:
    """A number or (B,) as (1 or B, 1, 1)."""
    value = torch.as_tensor(value, dtype=points.dtype, device=points.device)
    if value.ndim > 1:
        raise ValueError(f"{name} must be a number or (B,), not {tuple(value.shape)}")
    return value.reshape(-1, 1, 1)


def _centre(points: Tensor, centre: Tensor | tuple[float, float]) -> Tensor:
    """(2,) or (B, 2) as (1 or B, 1, 2)."""
    centre = torch.as_tensor(centre, dtype=points.dtype, device=points.device)
    if centre.ndim not in (1, 2) or centre.shape[-1] != 2:
        raise ValueError(f"centre must be (2,) or (B, 2), not {tuple(centre.shape)}")
    return centre.reshape(-1, 1, 2)
