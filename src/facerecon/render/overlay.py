"""Pictures for people: the reconstructed mesh and the landmarks drawn over a photograph."""

import cv2
import numpy as np
import torch
from torch import Tensor

from facerecon.geometry.cameras import standard_focal
from facerecon.render.mesh import render_mesh
from facerecon.render.shading import linear_to_srgb
from facerecon.render.unwrap import surface_facing

CHAINS_68 = (
    range(0, 17),
    range(17, 22),
    range(22, 27),
    range(27, 31),
    range(31, 36),
    (*range(36, 42), 36),
    (*range(42, 48), 42),
    (*range(48, 60), 48),
    (*range(60, 68), 60),
)
"""The lines that join the 68 iBUG landmarks: jaw, brows, nose bridge, nostrils, eyes, outer and inner lips."""
CLAY = (0.62, 0.62, 0.66)
"""Linear RGB of a mesh that has no colours of its own."""


def draw_overlay(
    image: np.ndarray,
    vertices_pixels: Tensor | np.ndarray,
    triangles: Tensor | np.ndarray,
    colours: Tensor | np.ndarray | None = None,
    opacity: float = 0.7,
    *,
    focal: float | None = None,
    centre: tuple[float, float] | None = None,
) -> np.ndarray:
    """Blend a mesh over an image.

    image: (H, W, 3) uint8 sRGB. vertices_pixels: (V, 3) x_px, y_px in pixels of that image, z in mm.
    triangles: (F, 3). colours: (V, 3) shaded linear RGB; None draws clay lit from the camera.
    opacity: of the mesh, in [0, 1]. focal, centre: of the camera, pixels, used by the clay's shading only; by default
    those of a standard crop with the image's height.
    Tensors may lie on any device and carry gradients; the picture is made on the CPU and needs no display.
    Returns a new (H, W, 3) uint8 image. Raises ValueError on wrong shapes, dtypes and opacity.
    """
    _check_image(image)
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], not {opacity}")
    height, width = image.shape[:2]
    vertices = _rows("vertices_pixels", vertices_pixels, 3).float()[None]
    if colours is None:
        focal = standard_focal(height) if focal is None else focal
        facing = surface_facing(vertices, triangles, focal, centre or (width / 2, height / 2))
        shaded = torch.tensor(CLAY) * facing.clamp(min=0)[..., None]
    else:
        shaded = _rows("colours", colours, 3).float()[None]
    rendered, mask = render_mesh(vertices, triangles, shaded, height, width)
    mesh = 255 * linear_to_srgb(rendered[0].clamp(0, 1)).numpy()
    blended = (1 - opacity) * image.astype(np.float32) + opacity * mesh
    return np.where(mask[0, ..., None].numpy(), np.rint(blended), image).astype(np.uint8)


def draw_landmarks(
    image: np.ndarray,
    landmarks: Tensor | np.ndarray,
    colour: tuple[int, int, int] = (80, 255, 80),
    radius: float | None = None,
) -> np.ndarray:
    """Draw landmarks as dots, and the lines between them if they are the 68 of iBUG.

    image: (H, W, 3) uint8 RGB. landmarks: (N, 2) pixels, pixel centres at +0.5; points that are not finite are left
    out. colour: RGB. radius: of a dot in pixels, by default 1/160 of the image's larger side and at least 1.
    Returns a new (H, W, 3) uint8 image. Raises ValueError on wrong shapes and dtypes.
    """
    _check_image(image)
    landmarks = _rows("landmarks", landmarks, 2).double().numpy()
    radius = max(1.0, max(image.shape[:2]) / 160) if radius is None else radius
    # OpenCV puts pixel centres at whole numbers and takes coordinates in 16ths of a pixel (shift=4). Points far outside
    # would overflow its integers and are as invisible at the clipped place.
    usable = np.isfinite(landmarks).all(1)
    far = 4.0 * max(image.shape[:2])
    points = np.rint((np.clip(np.where(usable[:, None], landmarks, 0), -far, 2 * far) - 0.5) * 16).astype(np.int32)
    drawn = np.ascontiguousarray(image).copy()
    if len(points) == 68:
        lines = [(chain[i], chain[i + 1]) for chain in CHAINS_68 for i in range(len(chain) - 1)]
        for a, b in lines:
            if usable[a] and usable[b]:
                cv2.line(drawn, points[a].tolist(), points[b].tolist(), colour, 1, cv2.LINE_AA, 4)
    for point in points[usable]:
        cv2.circle(drawn, point.tolist(), round(radius * 16), colour, cv2.FILLED, cv2.LINE_AA, 4)
    return drawn


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")


def _rows(name: str, values: Tensor | np.ndarray, columns: int) -> Tensor:
    """(N, columns) on the CPU, without gradient."""
    values = torch.as_tensor(values).detach().cpu()
    if values.ndim != 2 or values.shape[1] != columns:
        raise ValueError(f"{name} must be (N, {columns}), those of one picture, not {tuple(values.shape)}")
    return values
