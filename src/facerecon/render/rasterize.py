"""Which triangle is seen in each pixel: a z-buffer over triangle meshes.

The edge rule. A pixel belongs to a triangle if its centre lies inside, or on a top or left edge; so a centre on an edge
that two triangles share, or on a vertex of a fan, belongs to exactly one of them, and a closed surface has no holes.
That holds exactly, not up to rounding: vertices are first rounded to a grid that is as fine as the spacing of float32
numbers at the far half of the image (2^-16 pixel at 224 pixels), coarse enough that every edge function of vertices in
or near the image is exact in float64. Edges that reach farther out are evaluated from the same end by both triangles.
"""

import numpy as np
from torch import Tensor

from facerecon.geometry.triangles import check_vertices, checked_triangles
from facerecon.render.backends import resolve_backend


def rasterize(
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    height: int,
    width: int,
    cull: bool = True,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Index and depth of the nearest triangle in each pixel; discrete, without gradient.

    vertices_pixels: (B, V, 3) x_px, y_px in pixels (x right, y down, pixel (row i, column j) has its centre at
        (j + 0.5, i + 0.5)) and z, mm in front of the camera. float32 or float64.
    triangles: (F, 3) vertex indices, counter-clockwise seen from outside, which is counter-clockwise in the image too
        (its y axis points down, so that the signed area in pixels is negative). cull: leave out those seen from behind.
    backend: one of `facerecon.render.backends.BACKENDS`, never replaced by another one silently; None or "auto" takes
        that of the tensors' device: "cpu" (numba) or "triton" (CUDA), which give the same numbers bit for bit under
        Triton's interpreter; on a GPU that is checked by tests/render/backends/test_triton.py where there is one (not
        yet run on one).
    Returns triangle_index (B, height, width) int32, -1 where there is none, and depth (B, height, width) float32: z of
    the surface at the pixel's centre in mm, perspective-correct, inf where there is none. Of surfaces at equal depth
    the triangle that comes first wins. A triangle with a vertex at z <= 0 or not finite, or without area, is left out.
    Raises ValueError on wrong shapes, dtypes and indices, InputError on a backend that is unknown or cannot be used.
    """
    check_vertices("vertices_pixels", vertices_pixels)
    triangles = checked_triangles(triangles, vertices_pixels)
    if height < 1 or width < 1:
        raise ValueError(f"the image must have at least one pixel, not {height} x {width}")
    module = resolve_backend(backend, vertices_pixels.device)
    return module.rasterize(vertices_pixels.detach().contiguous(), triangles, height, width, cull)
