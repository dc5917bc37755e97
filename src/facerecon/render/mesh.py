"""A coloured mesh as an image."""

import numpy as np
from torch import Tensor

from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize


def render_mesh(
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    colours: Tensor,
    height: int,
    width: int | None = None,
    cull: bool = True,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Rasterise a mesh and interpolate its vertex colours.

    vertices_pixels: (B, V, 3) x_px, y_px in pixels, z in mm. triangles: (F, 3). colours: (B, V, C), any range.
    height, width: pixels; width defaults to height. cull, backend: as in `rasterize` and `interpolate`.
    Returns image (B, height, width, C), 0 outside the mesh, differentiable in vertices and colours, and mask
    (B, height, width) bool, True on the mesh. Raises as `rasterize` and `interpolate` do.
    """
    width = height if width is None else width
    triangle_index, _ = rasterize(vertices_pixels, triangles, height, width, cull, backend)
    return interpolate(triangle_index, vertices_pixels, triangles, colours, backend), triangle_index >= 0
