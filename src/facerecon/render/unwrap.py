"""From a photograph to the texture of the face seen in it."""

import numpy as np
import torch
from torch import Tensor

from facerecon.compilation import njit
from facerecon.geometry.cameras import standard_focal, unproject_perspective
from facerecon.geometry.normals import vertex_normals
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize


def unwrap(
    image: Tensor | np.ndarray,
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    uv: Tensor | np.ndarray,
    size: int,
    *,
    focal: float | None = None,
    centre: tuple[float, float] | None = None,
    minimum_facing: float = 0.2,
    depth_tolerance: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """Sample an image at the surface points of a UV map's texels.

    image: (H, W, 3) float, any range. vertices_pixels: (V, 3) x_px, y_px in pixels of that image, z in mm.
    triangles: (F, 3). uv: (V, 2) in [0, 1], u right, v up. size: side of the texture, texels.
    focal, centre: of the perspective camera, pixels; by default those of a standard crop with the image's height.
    minimum_facing: least cosine between the surface normal and the direction to the camera.
    depth_tolerance: mm by which a point may lie behind the depth buffer's surface and still count as seen.
    Returns texture (size, size, 3) float32, bilinear in the image, 0 where not visible, and visibility (size, size)
    bool: the texel lies on the mesh and inside the image, its surface faces the camera, and nothing hides any of the
    four pixels that it is sampled from. Texture row 0 is v = 1. Not differentiable. Raises ValueError on wrong shapes.
    """
    image = torch.as_tensor(image).detach().to(torch.float32).contiguous()
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image must be (H, W, 3) float, not {tuple(image.shape)}")
    if vertices_pixels.ndim != 2:
        raise ValueError(f"vertices_pixels must be (V, 3), not {tuple(vertices_pixels.shape)}")
    height, width = image.shape[:2]
    vertices = vertices_pixels.detach()[None].to(torch.float32)
    _, depth = rasterize(vertices, triangles, height, width)
    focal = standard_focal(height) if focal is None else focal
    facing = surface_facing(vertices, triangles, focal, centre or (width / 2, height / 2))
    # A surface point is the linear mix of its triangle's corners in the camera frame; in pixels it is x = (xz) / z.
    homogeneous = torch.cat([vertices[..., :2] * vertices[..., 2:], vertices[..., 2:], facing[..., None]], -1)
    covered, points = uv_surface(uv, triangles, homogeneous[0], size)
    texture, visibility = torch.zeros((size, size, 3)), torch.zeros((size, size), dtype=torch.bool)
    arrays = (tensor.numpy() for tensor in (image, depth[0], covered, points, texture, visibility))
    _sample_visible(*arrays, focal, minimum_facing, depth_tolerance)
    return texture, visibility


def uv_surface(
    uv: Tensor | np.ndarray, triangles: Tensor | np.ndarray, attributes: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Vertex attributes at the texels of a UV map, linear on each triangle.

    uv: (V, 2) in [0, 1], u right, v up. triangles: (F, 3). attributes: (V, C) float32 or float64.
    Returns covered (size, size) bool and values (size, size, C), 0 where not covered; row 0 is v = 1.
    """
    uv = torch.as_tensor(uv).to(attributes.dtype)
    if uv.ndim != 2 or uv.shape[1] != 2 or len(uv) != len(attributes):
        raise ValueError(f"uv must be (V, 2) with V = {len(attributes)}, not {tuple(uv.shape)}")
    texels = torch.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, torch.ones_like(uv[:, 0])], -1)[None]
    triangle_index, _ = rasterize(texels, triangles, size, size, cull=False)
    return triangle_index[0] >= 0, interpolate(triangle_index, texels, triangles, attributes[None])[0]


def surface_facing(
    vertices_pixels: Tensor, triangles: Tensor | np.ndarray, focal: float | Tensor, centre: tuple[float, float] | Tensor
) -> Tensor:
    """Cosine between each vertex's normal and the direction from it to a perspective camera.

    vertices_pixels: (B, V, 3) x_px, y_px in pixels, z in mm. focal, centre: of the camera, pixels.
    Returns (B, V) in [-1, 1]: 1 faces the camera, below 0 faces away.
    """
    points = unproject_perspective(vertices_pixels, focal, centre)
    return -(vertex_normals(points, triangles) * torch.nn.functional.normalize(points, dim=-1)).sum(-1)


@njit(cache=True, nogil=True, error_model="numpy")
def _sample_visible(image, depth, covered, points, texture, visibility, focal, minimum_facing, depth_tolerance):
    height, width = depth.shape
    size = covered.shape[0]
    for v in range(size):
        for u in range(size):
            z = points[v, u, 2]
            facing = min(points[v, u, 3], 1.0)
            if not (covered[v, u] and facing >= minimum_facing and facing > 0 and z > 0):
                continue
            x, y = points[v, u, 0] / z, points[v, u, 1] / z
            # Of the four pixel centres around the point the upper left is (row, column). Half a pixel beyond the
            # outermost centres still counts as inside: the border's colour is taken there.
            if not (0 <= x < width and 0 <= y < height):
                continue
            column, row = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
            part_x, part_y = x - 0.5 - column, y - 0.5 - row
            # A plane seen at this angle changes its depth by so much over the diagonal of a pixel.
            slope = np.sqrt(1 - facing * facing) / facing
            slack = depth_tolerance + np.sqrt(2.0) * slope * z / focal
            seen = True
            red = green = blue = 0.0
            for down in range(2):
                for right in range(2):
                    i, j = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
                    if not (depth[i, j] < np.inf and abs(depth[i, j] - z) <= slack):
                        seen = False
                    weight = (part_y if down else 1 - part_y) * (part_x if right else 1 - part_x)
                    red += weight * image[i, j, 0]
                    green += weight * image[i, j, 1]
                    blue += weight * image[i, j, 2]
            if seen:
                visibility[v, u] = True
                texture[v, u, 0] = red
                texture[v, u, 1] = green
                texture[v, u, 2] = blue
