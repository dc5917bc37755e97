"""Attributes of the surface seen in each pixel, differentiable in vertices and attributes."""

import numpy as np
import torch
from torch import Tensor

from facerecon.geometry.triangles import check_vertices, checked_triangles, extremes
from facerecon.render.backends import resolve_backend


def interpolate(
    triangle_index: Tensor,
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    attributes: Tensor,
    backend: str | None = None,
) -> Tensor:
    """Perspective-correct interpolation of vertex attributes at pixel centres.

    triangle_index: (B, H, W) int32 from `rasterize`, -1 where there is no triangle. vertices_pixels: (B, V, 3) x_px,
    y_px in pixels, z > 0 in mm; float32 or float64. triangles: (F, 3). attributes: (B, V, C), dtype of the vertices.
    Returns (B, H, W, C), 0 where there is no triangle. Differentiable (first derivatives) in attributes and in x, y and
    z of the vertices, with the visible triangles held fixed: silhouettes give no gradient. backend: as in `rasterize`;
    "pytorch3d", which has no such operation, takes that of the device.
    Raises ValueError on wrong shapes, dtypes, indices and devices, InputError on a backend that is unknown or cannot be
    used.
    """
    check_vertices("vertices_pixels", vertices_pixels)
    if attributes.ndim != 3 or attributes.shape[:2] != vertices_pixels.shape[:2]:
        shape = tuple(vertices_pixels.shape[:2])
        raise ValueError(f"attributes must be (B, V, C) with (B, V) = {shape}, not {tuple(attributes.shape)}")
    if attributes.dtype != vertices_pixels.dtype:
        raise ValueError(f"attributes are {attributes.dtype}, vertices_pixels {vertices_pixels.dtype}: make them equal")
    if triangle_index.ndim != 3 or len(triangle_index) != len(vertices_pixels):
        raise ValueError(f"triangle_index must be (B, H, W), not {tuple(triangle_index.shape)}")
    for name, tensor in (("triangle_index", triangle_index), ("attributes", attributes)):
        if tensor.device != vertices_pixels.device:
            raise ValueError(f"{name} is on {tensor.device}, vertices_pixels on {vertices_pixels.device}: move one")
    triangles = checked_triangles(triangles, vertices_pixels)
    triangle_index = triangle_index.to(torch.int32).contiguous()
    # Not on a GPU, which would have to wait for the answer: there the index comes from `rasterize`.
    if triangle_index.device.type == "cpu" and triangle_index.numel():
        _, highest = extremes(triangle_index)
        if highest >= len(triangles):
            raise ValueError(f"triangle_index names triangle {highest}, but there are {len(triangles)}")
    module = resolve_backend(backend, vertices_pixels.device)
    if not hasattr(module, "interpolate"):
        module = resolve_backend(None, vertices_pixels.device)
    return module.interpolate(triangle_index, vertices_pixels, triangles, attributes)
