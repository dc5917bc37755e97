"""From a photograph to the texture of the face seen in it."""

import numpy as np
import torch
from torch import Tensor

from facerecon.compilation import njit
from facerecon.geometry.batches import run_over_batch
from facerecon.geometry.cameras import standard_focal, unproject_perspective
from facerecon.geometry.normals import vertex_normals
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize


@torch.no_grad()
def unwrap(
    image: Tensor | np.ndarray,
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    uv: Tensor | np.ndarray,
    size: int,
    *,
    focal: float | Tensor | None = None,
    centre: tuple[float, float] | Tensor | None = None,
    minimum_facing: float = 0.2,
    depth_tolerance: float = 2.0,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample images at the surface points of a UV map's texels.

    image: (B, H, W, C) float, any range. vertices_pixels: (B, V, 3) x_px, y_px in pixels of those images, z in mm; its
    device is where the work is done. Or one image and mesh, (H, W, C) and (V, 3), for which B is left out below.
    triangles: (F, 3). uv: (V, 2) in [0, 1], u right, v up. size: side of the texture, texels.
    focal, centre: of the perspective cameras, pixels, a number or (B,), and (2,) or (B, 2); by default those of a
    standard crop with the image's height.
    minimum_facing: least cosine between the surface normal and the direction to the camera.
    depth_tolerance: mm by which a point may lie off the depth buffer's surface and still count as seen.
    backend: as in `rasterize`.
    Returns texture (B, size, size, C) float32, bilinear in the image, 0 where not visible, and visibility
    (B, size, size) bool: the texel lies on the mesh and inside the image, its surface faces the camera, and nothing
    hides any of the four pixels that it is sampled from. Texture row 0 is v = 1. Without gradient. Raises ValueError on
    wrong shapes, and as `rasterize` does.
    """
    image = torch.as_tensor(image, device=vertices_pixels.device).to(torch.float32)
    vertices = vertices_pixels.to(torch.float32)
    single = vertices.ndim == 2
    if image.ndim != vertices.ndim + 1 or vertices.ndim not in (2, 3) or (not single and len(image) != len(vertices)):
        raise ValueError(
            "image and vertices_pixels must be (H, W, C) and (V, 3), or (B, H, W, C) and (B, V, 3), "
            f"not {tuple(image.shape)} and {tuple(vertices.shape)}"
        )
    if single:
        image, vertices = image[None], vertices[None]
    height, width = image.shape[1:3]
    focal = torch.as_tensor(standard_focal(height) if focal is None else focal).to(vertices)
    if focal.ndim > 1 or focal.numel() not in (1, len(vertices)):
        raise ValueError(f"focal must be a number or (B,) with B = {len(vertices)}, not {tuple(focal.shape)}")
    _, depth = rasterize(vertices, triangles, height, width, backend=backend)
    facing = surface_facing(vertices, triangles, focal, (width / 2, height / 2) if centre is None else centre)
    # A surface point is the linear mix of its triangle's corners in the camera frame; in pixels it is x = (xz) / z.
    homogeneous = torch.cat([vertices[..., :2] * vertices[..., 2:], vertices[..., 2:], facing[..., None]], -1)
    covered, points = uv_surface(uv, triangles, homogeneous, size, backend)
    focal = focal.expand(len(vertices))
    texture, visibility = sample_visible(image, depth, covered, points, focal, minimum_facing, depth_tolerance)
    return (texture[0], visibility[0]) if single else (texture, visibility)


def uv_surface(
    uv: Tensor | np.ndarray,
    triangles: Tensor | np.ndarray,
    attributes: Tensor,
    size: int,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Vertex attributes at the texels of a UV map, linear on each triangle.

    uv: (V, 2) in [0, 1], u right, v up. triangles: (F, 3). attributes: (V, C) or (B, V, C) float32 or float64; its
    device is where the work is done. backend: as in `rasterize`.
    Returns covered (size, size) bool and values (size, size, C) or (B, size, size, C), 0 where not covered; row 0 is
    v = 1. Differentiable in attributes. Raises ValueError on wrong shapes, and as `rasterize` does.
    """
    uv = torch.as_tensor(uv).to(attributes)
    if attributes.ndim not in (2, 3) or uv.shape != (attributes.shape[-2], 2):
        raise ValueError(
            "uv and attributes must be (V, 2) and (V, C) or (B, V, C), "
            f"not {tuple(uv.shape)} and {tuple(attributes.shape)}"
        )
    batch = attributes if attributes.ndim == 3 else attributes[None]
    texels = torch.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, torch.ones_like(uv[:, 0])], -1)[None]
    triangle_index, _ = rasterize(texels, triangles, size, size, cull=False, backend=backend)
    same = (len(batch), -1, -1)
    values = interpolate(triangle_index.expand(same), texels.expand(same), triangles, batch, backend)
    return triangle_index[0] >= 0, values if attributes.ndim == 3 else values[0]


def surface_facing(
    vertices_pixels: Tensor, triangles: Tensor | np.ndarray, focal: float | Tensor, centre: tuple[float, float] | Tensor
) -> Tensor:
    """Cosine between each vertex's normal and the direction from it to a perspective camera.

    vertices_pixels: (B, V, 3) x_px, y_px in pixels, z in mm. focal, centre: of the camera, pixels.
    Returns (B, V) in [-1, 1]: 1 faces the camera, below 0 faces away.
    """
    points = unproject_perspective(vertices_pixels, focal, centre)
    return -(vertex_normals(points, triangles) * torch.nn.functional.normalize(points, dim=-1)).sum(-1)


def sample_visible(
    image: Tensor,
    depth: Tensor,
    covered: Tensor,
    points: Tensor,
    focal: Tensor,
    minimum_facing: float,
    depth_tolerance: float,
) -> tuple[Tensor, Tensor]:
    """The last step of `unwrap`: which texels are seen, and their colours.

    image: (B, H, W, C) float32. depth: (B, H, W) of the surfaces in the images, mm, inf where there is none.
    covered: (T, T) bool, texels on the mesh. points: (B, T, T, 4), the surface points of the texels: x z, y z, z and
    the cosine of facing, x, y in pixels and z in mm. focal: (B,) pixels. minimum_facing, depth_tolerance, and what is
    returned: see `unwrap`.
    """
    if image.device.type != "cpu":
        return sample_visible_torch(image, depth, covered, points, focal, minimum_facing, depth_tolerance)
    texture = image.new_zeros((*points.shape[:3], image.shape[-1]))
    visibility = torch.zeros(points.shape[:3], dtype=torch.bool)
    tensors = (*(tensor.contiguous() for tensor in (image, depth, covered, points, focal)), texture, visibility)
    arrays = (tensor.numpy() for tensor in tensors)
    run_over_batch(_sample_visible_texels, len(image), *arrays, np.float32(minimum_facing), np.float32(depth_tolerance))
    return texture, visibility


def sample_visible_torch(
    image: Tensor,
    depth: Tensor,
    covered: Tensor,
    points: Tensor,
    focal: Tensor,
    minimum_facing: float,
    depth_tolerance: float,
) -> tuple[Tensor, Tensor]:
    """`sample_visible` with torch operations only, for devices other than the CPU."""
    height, width, channels = image.shape[1:]
    z, facing = points[..., 2], points[..., 3].clamp(max=1)
    x, y = points[..., 0] / z, points[..., 1] / z
    visible = covered & (facing >= minimum_facing) & (facing > 0) & (z > 0)
    # Half a pixel beyond the outermost centres still counts as inside: the border's colour is taken there.
    visible = visible & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y, facing = (torch.where(visible, values, 1.0) for values in (x, y, facing))
    # Of the four pixel centres around the point the upper left is (row, column).
    column, row = (x - 0.5).floor(), (y - 0.5).floor()
    part_x, part_y = x - 0.5 - column, y - 0.5 - row
    # A plane seen at this angle changes its depth by so much over the diagonal of a pixel.
    slope = (1 - facing * facing).sqrt() / facing
    slack = depth_tolerance + slope * z / focal[:, None, None] * 2**0.5
    texture = image.new_zeros((*z.shape, channels))
    for down, weight_y in ((0, 1 - part_y), (1, part_y)):
        for right, weight_x in ((0, 1 - part_x), (1, part_x)):
            i, j = (row + down).clamp(0, height - 1).long(), (column + right).clamp(0, width - 1).long()
            pixel = (i * width + j).flatten(1)
            surface = depth.flatten(1).gather(1, pixel).reshape(z.shape)
            visible = visible & (surface < torch.inf) & ((surface - z).abs() <= slack)
            colours = image.flatten(1, 2).gather(1, pixel[..., None].expand(-1, -1, channels))
            texture += (weight_y * weight_x)[..., None] * colours.reshape(texture.shape)
    return torch.where(visible[..., None], texture, 0.0), visible


@njit(cache=True, nogil=True, error_model="numpy")
def _sample_visible_texels(
    first, last, image, depth, covered, points, focal, texture, visibility, minimum_facing, depth_tolerance
):
    """See `sample_visible_torch`, whose steps and rounding these are: all numbers are float32."""
    height, width = depth.shape[1:]
    number = np.float32
    half, one, diagonal = number(0.5), number(1), number(np.sqrt(2.0))
    for b in range(first, last):
        for v in range(covered.shape[0]):
            for u in range(covered.shape[1]):
                z = points[b, v, u, 2]
                facing = min(points[b, v, u, 3], one)
                if not (covered[v, u] and facing >= minimum_facing and facing > 0 and z > 0):
                    continue
                x, y = points[b, v, u, 0] / z, points[b, v, u, 1] / z
                if not (x >= 0 and x < width and y >= 0 and y < height):
                    continue
                column, row = np.floor(x - half), np.floor(y - half)
                part_x, part_y = x - half - column, y - half - row
                slope = np.sqrt(one - facing * facing) / facing
                slack = depth_tolerance + slope * z / focal[b] * diagonal
                top, left = max(int(row), 0), max(int(column), 0)
                bottom, right = min(int(row) + 1, height - 1), min(int(column) + 1, width - 1)
                seen = True
                for i, j in ((top, left), (top, right), (bottom, left), (bottom, right)):
                    seen = seen and depth[b, i, j] < np.inf and abs(depth[b, i, j] - z) <= slack
                if not seen:
                    continue
                visibility[b, v, u] = True
                p, q, r, s = image[b, top, left], image[b, top, right], image[b, bottom, left], image[b, bottom, right]
                wp, wq = (one - part_y) * (one - part_x), (one - part_y) * part_x
                wr, ws = part_y * (one - part_x), part_y * part_x
                for c in range(image.shape[3]):
                    texture[b, v, u, c] = wp * p[c] + wq * q[c] + wr * r[c] + ws * s[c]
