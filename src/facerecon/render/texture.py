"""Looking up UV textures, and meshes that wear them.

UV coordinates are those of docs/conventions.md: u to the right, v up, row 0 of a texture at v = 1, centres of texels at
half-integer rows and columns. They belong to vertices. Where a chart is cut, the vertices along the cut must be there
twice, once for each side: a triangle whose corners lie on both sides would draw all that is between them.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from facerecon.compilation import njit
from facerecon.geometry.batches import run_over_batch
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize


def render_textured_mesh(
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    uv: Tensor | np.ndarray,
    texture: Tensor,
    height: int,
    width: int | None = None,
    cull: bool = True,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Rasterise a mesh and look its texture up in each pixel.

    vertices_pixels: (B, V, 3) x_px, y_px in pixels, z in mm. triangles: (F, 3). uv: (V, 2) in [0, 1], u right, v up.
    texture: (B, T, T, C), or (1, T, T, C) for all images; any range, dtype and device of the vertices.
    height, width: pixels; width defaults to height. cull, backend: as in `rasterize` and `interpolate`.
    Returns image (B, height, width, C), 0 outside the mesh, differentiable in vertices and texture, and mask
    (B, height, width) bool, True on the mesh. A texture that is much finer than the image is not averaged: it aliases.
    Raises as `rasterize`, `interpolate` and `sample_texture` do.
    """
    width = height if width is None else width
    uv = torch.as_tensor(uv).to(vertices_pixels)
    if uv.shape != (vertices_pixels.shape[1], 2):
        raise ValueError(f"uv must be (V, 2) with V = {vertices_pixels.shape[1]}, not {tuple(uv.shape)}")
    triangle_index, _ = rasterize(vertices_pixels, triangles, height, width, cull, backend)
    mask = triangle_index >= 0
    uv_image = interpolate(triangle_index, vertices_pixels, triangles, uv.expand(len(mask), -1, -1), backend)
    return sample_texture(texture, uv_image, mask), mask


def sample_texture(texture: Tensor, uv_image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Bilinear lookup of a texture.

    texture: (B, T, T, C), or (1, T, T, C) for all images; rows and columns need not be equal. float32 or float64.
    uv_image: (B, H, W, 2), u right and v up in [0, 1], dtype of the texture; beyond the outermost texels' centres the
    border's colours go on. mask: (B, H, W) bool, where to look up; everywhere by default.
    Returns (B, H, W, C), 0 where the mask is False or a coordinate is NaN. Differentiable (first derivatives) in
    texture and uv_image; across the border and where nothing is looked up uv_image gets no gradient.
    Raises ValueError on wrong shapes, dtypes and devices.
    """
    _check_lookup(texture, uv_image, mask)
    if mask is None:
        mask = torch.ones(uv_image.shape[:3], dtype=torch.bool, device=uv_image.device)
    if texture.device.type == "cpu":
        return _TextureLookup.apply(texture, uv_image, mask)
    return sample_texture_torch(texture, uv_image, mask)


def sample_texture_torch(texture: Tensor, uv_image: Tensor, mask: Tensor) -> Tensor:
    """`sample_texture` with torch operations only, for devices other than the CPU."""
    mask = (mask & ~uv_image.isnan().any(-1))[..., None]
    u, v = torch.where(mask, uv_image, 0.5).unbind(-1)
    # grid_sample's y axis points down and its -1 and 1 are the outer edges of the outermost texels.
    grid = torch.stack([2 * u - 1, 1 - 2 * v], -1)
    planes = texture.permute(0, 3, 1, 2).expand(len(grid), -1, -1, -1)
    colours = F.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(mask, colours.permute(0, 2, 3, 1), 0.0)


def _check_lookup(texture: Tensor, uv_image: Tensor, mask: Tensor | None) -> None:
    if uv_image.ndim != 4 or uv_image.shape[-1] != 2:
        raise ValueError(f"uv_image must be (B, H, W, 2), not {tuple(uv_image.shape)}")
    if texture.ndim != 4 or len(texture) not in (1, len(uv_image)) or 0 in texture.shape[1:3]:
        raise ValueError(f"texture must be (B, T, T, C) with B = {len(uv_image)} or 1, not {tuple(texture.shape)}")
    if texture.dtype not in (torch.float32, torch.float64) or texture.dtype != uv_image.dtype:
        raise ValueError(f"texture is {texture.dtype}, uv_image {uv_image.dtype}: make both float32, or both float64")
    if mask is not None and (mask.shape != uv_image.shape[:3] or mask.dtype != torch.bool):
        raise ValueError(f"mask must be {tuple(uv_image.shape[:3])} bool, not {tuple(mask.shape)} {mask.dtype}")
    for name, tensor in (("uv_image", uv_image), ("mask", mask)):
        if tensor is not None and tensor.device != texture.device:
            raise ValueError(f"{name} is on {tensor.device}, texture on {texture.device}: move one")


class _TextureLookup(torch.autograd.Function):
    """The lookup on the CPU: colours of a texel lie side by side and pixels outside the mask cost nothing."""

    @staticmethod
    def forward(ctx: Any, texture: Tensor, uv_image: Tensor, mask: Tensor) -> Tensor:
        texture, uv_image, mask = (tensor.detach().contiguous() for tensor in (texture, uv_image, mask))
        ctx.save_for_backward(texture, uv_image, mask)
        image = texture.new_empty((*uv_image.shape[:3], texture.shape[-1]))
        arrays = (tensor.numpy() for tensor in (texture, uv_image, mask, image))
        run_over_batch(_look_up, len(uv_image), *arrays)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, image_gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        texture, uv_image, mask = ctx.saved_tensors
        texture_gradient, uv_gradient = torch.zeros_like(texture), torch.zeros_like(uv_image)
        tensors = (texture, uv_image, mask, image_gradient.contiguous(), texture_gradient, uv_gradient)
        arrays = (tensor.numpy() for tensor in tensors)
        if len(texture) == len(uv_image):
            run_over_batch(_look_up_backward, len(uv_image), *arrays)
        else:
            # All images add to one texture's gradient: on one thread, so that the sum is always the same.
            _look_up_backward(0, len(uv_image), *arrays)
        return texture_gradient, uv_gradient, None


@njit(cache=True, nogil=True, error_model="numpy")
def _axis(position, count):
    """Texels around a position along one axis, in texels from the edge, and the second one's weight.

    The last is how the position within the texture moves with the one asked for: 1, or 0 beyond the border.
    """
    number = type(position)
    from_centre = position - number(0.5)
    last = number(count - 1)
    if from_centre <= 0:
        return 0, 0, number(0), number(0)
    if from_centre >= last:
        return count - 1, count - 1, number(0), number(0)
    first = int(from_centre)
    return first, first + 1, from_centre - number(first), number(1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _look_up(first, last, textures, uv_image, mask, image):
    rows, columns, channels = textures.shape[1:]
    number = textures.dtype.type
    one = number(1)
    for b in range(first, last):
        texture = textures[min(b, textures.shape[0] - 1)]
        for i in range(uv_image.shape[1]):
            for j in range(uv_image.shape[2]):
                u, v, out = uv_image[b, i, j, 0], uv_image[b, i, j, 1], image[b, i, j]
                if not mask[b, i, j] or np.isnan(u) or np.isnan(v):
                    out[:] = 0
                    continue
                left, right, x, _ = _axis(u * number(columns), columns)
                top, bottom, y, _ = _axis((one - v) * number(rows), rows)
                wp, wq, wr, ws = (one - y) * (one - x), (one - y) * x, y * (one - x), y * x
                p, q, r, s = texture[top, left], texture[top, right], texture[bottom, left], texture[bottom, right]
                for channel in range(channels):
                    out[channel] = wp * p[channel] + wq * q[channel] + wr * r[channel] + ws * s[channel]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _look_up_backward(first, last, textures, uv_image, mask, image_gradient, textures_gradient, uv_gradient):
    rows, columns, channels = textures.shape[1:]
    number = textures.dtype.type
    one = number(1)
    for b in range(first, last):
        texture = textures[min(b, textures.shape[0] - 1)]
        texture_gradient = textures_gradient[min(b, textures.shape[0] - 1)]
        for i in range(uv_image.shape[1]):
            for j in range(uv_image.shape[2]):
                u, v, gradient = uv_image[b, i, j, 0], uv_image[b, i, j, 1], image_gradient[b, i, j]
                if not mask[b, i, j] or np.isnan(u) or np.isnan(v):
                    continue
                left, right, x, inside_x = _axis(u * number(columns), columns)
                top, bottom, y, inside_y = _axis((one - v) * number(rows), rows)
                p, q, r, s = texture[top, left], texture[top, right], texture[bottom, left], texture[bottom, right]
                dp, dq = texture_gradient[top, left], texture_gradient[top, right]
                dr, ds = texture_gradient[bottom, left], texture_gradient[bottom, right]
                along_x = along_y = number(0)
                for channel in range(channels):
                    g = gradient[channel]
                    upper, lower = q[channel] - p[channel], s[channel] - r[channel]
                    along_x += g * (upper + y * (lower - upper))
                    along_y += g * (r[channel] - p[channel] + x * (lower - upper))
                    dp[channel] += g * (one - y) * (one - x)
                    dq[channel] += g * (one - y) * x
                    dr[channel] += g * y * (one - x)
                    ds[channel] += g * y * x
                uv_gradient[b, i, j, 0] = along_x * inside_x * number(columns)
                uv_gradient[b, i, j, 1] = -along_y * inside_y * number(rows)
