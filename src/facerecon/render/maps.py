"""Pictures of the geometry itself, from what `rasterize` found: silhouette, depth and normals."""

import numpy as np
import torch
from torch import Tensor

from facerecon.render.interpolate import interpolate


def silhouette(triangle_index: Tensor) -> Tensor:
    """Where the mesh covers the image.

    triangle_index: (B, H, W) from `rasterize`. Returns (B, H, W) bool, all or nothing a pixel: it has no gradient, and
    its edge is that of pixel centres.
    """
    return triangle_index >= 0


def depth_map(
    triangle_index: Tensor, vertices_pixels: Tensor, triangles: Tensor | np.ndarray, backend: str | None = None
) -> Tensor:
    """Depth of the surface seen in each pixel: that of `rasterize`, but differentiable.

    triangle_index: (B, H, W) from `rasterize`. vertices_pixels: (B, V, 3) x_px, y_px in pixels, z in mm.
    triangles: (F, 3). backend: as in `interpolate`.
    Returns (B, H, W) in mm and the dtype of the vertices; inf, with no gradient, where there is no surface, so that
    the nearer of two maps is their minimum. Under a perspective camera 1/z is linear in the image, and so it is
    interpolated; under a scaled orthographic one, where z is, the result is nearer than the surface by at most
    (range of z in the triangle)^2 / (4 z). On slivers about 1e-5 px thick a pixel's centre may lie outside the exact
    triangle, and interpolation extrapolates. Raises as `interpolate` does.
    """
    depth = interpolate(triangle_index, vertices_pixels, triangles, vertices_pixels[..., 2:], backend)[..., 0]
    return torch.where(silhouette(triangle_index), depth, torch.inf)


def normal_map(
    triangle_index: Tensor,
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    normals: Tensor,
    backend: str | None = None,
) -> Tensor:
    """Unit normals of the surface seen in each pixel, smooth over the triangles.

    triangle_index: (B, H, W) from `rasterize`. vertices_pixels: (B, V, 3) x_px, y_px in pixels, z in mm.
    triangles: (F, 3). normals: (B, V, 3) of the vertices, in the frame that the map shall have: for shading the view
    frame. backend: as in `interpolate`.
    Returns (B, H, W, 3) of length 1; (0, 0, 0), with no gradient, where there is no surface or the normals of its
    corners cancel. Differentiable in normals and vertices. Raises as `interpolate` does.
    """
    interpolated = interpolate(triangle_index, vertices_pixels, triangles, normals, backend)
    largest = interpolated.detach().abs().amax(-1, keepdim=True)
    usable = largest > 0
    # Neither zero, whose root has an infinite slope, nor numbers whose squares vanish: gradients would be NaN.
    scaled = torch.where(usable, interpolated / torch.where(usable, largest, 1.0), 1.0)
    return torch.where(usable, scaled / scaled.square().sum(-1, keepdim=True).sqrt(), 0.0)
