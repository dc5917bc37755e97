"""Rasterisation and interpolation in Triton: the backend of tensors on CUDA.

Rasterised triangles and depths, and interpolated attributes, are bit for bit those of the backend "cpu" under Triton's
interpreter: the same arithmetic in the same order and precision, without fused multiply-adds. On a GPU that is checked
by tests/render/backends/test_triton.py where there is one (not yet run on one). Gradients are summed by atomic
additions, whose order a GPU does not fix: their last bits may differ from call to call.

With TRITON_INTERPRET=1, set before Python starts, the kernels run on the CPU, slowly, for tests.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from facerecon.render.backends import triton_kernels
from facerecon.render.backends.grid import grid_steps

# What the kernels are compiled with. Multiply-adds round twice, as on the CPU.
_EXACT = {"enable_fp_fusion": False}
DRAW_SMALL = {"LARGEST": 256, "TRIANGLES": 32, "num_warps": 1, **_EXACT}
"""LARGEST: pixels of a bounding box up to which one lane draws a triangle; larger ones get a whole program each.

A program lasts as long as its lane with the most pixels, so that a triangle that fills the screen would hold up all
others of its program. TRIANGLES: those of a program, which is one warp, so that no lane waits for those of another.
"""
DRAW_LARGE = {"PIXELS": 1024, "num_warps": 8, **_EXACT}
"""PIXELS: a step of a program that draws a large triangle."""
UNPACK = {"BLOCK": 1024, **_EXACT}
INTERPOLATION = {"BLOCK": 256, "num_warps": 8, **_EXACT}
"""BLOCK: pixels of a program, one a lane."""
_LARGE_PROGRAMS = 1024


def rasterize(vertices: Tensor, triangles: Tensor, height: int, width: int, cull: bool) -> tuple[Tensor, Tensor]:
    """Index and depth of the nearest triangle in each pixel: see `facerecon.render.backends`.

    Raises ValueError for images of 2^31 pixels or more.
    """
    pixels, images, count = height * width, len(vertices), len(triangles)
    if pixels >= 2**31:
        raise ValueError(f"images must have fewer than 2^31 pixels, not {height} x {width}")
    # What is nearest in each pixel: see _draw. Nothing is nearer than 0.
    nearest = vertices.new_zeros((images, height, width), dtype=torch.int64)
    triangle_index = torch.empty_like(nearest, dtype=torch.int32)
    depth = torch.empty_like(nearest, dtype=torch.float32)
    if images == 0:
        return triangle_index, depth
    with torch.cuda.device_of(vertices):
        if count:
            large = vertices.new_empty(images * count, dtype=torch.int64)
            large_count = vertices.new_zeros(1, dtype=torch.int64)
            shared = (nearest, large, large_count, vertices, triangles)
            sizes = (vertices.shape[1], count, height, width, pixels, grid_steps(height, width))
            blocks = triton.cdiv(count, DRAW_SMALL["TRIANGLES"])
            triton_kernels.draw_small[(images * blocks,)](*shared, *sizes, blocks, CULL=cull, **DRAW_SMALL)
            programs = min(_LARGE_PROGRAMS, len(large))
            triton_kernels.draw_large[(programs,)](*shared, *sizes, CULL=cull, **DRAW_LARGE)
        grid = (triton.cdiv(nearest.numel(), UNPACK["BLOCK"]),)
        triton_kernels.unpack[grid](nearest, triangle_index, depth, nearest.numel(), **UNPACK)
    return triangle_index, depth


def interpolate(triangle_index: Tensor, vertices: Tensor, triangles: Tensor, attributes: Tensor) -> Tensor:
    """Attributes of the triangle in each pixel, with gradients: see `facerecon.render.backends`."""
    return _Interpolation.apply(vertices, attributes, triangles, triangle_index)


class _Interpolation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, attributes: Tensor, triangles: Tensor, triangle_index: Tensor) -> Tensor:
        vertices, attributes = vertices.detach().contiguous(), attributes.detach().contiguous()
        ctx.save_for_backward(vertices, attributes, triangles, triangle_index)
        image = attributes.new_empty((*triangle_index.shape, attributes.shape[-1]))
        _launch(triton_kernels.interpolate, image, triangle_index, vertices, triangles, attributes)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, image_gradient: Tensor) -> tuple[Tensor | None, ...]:
        vertices, attributes, triangles, triangle_index = ctx.saved_tensors
        gradients = torch.zeros_like(vertices), torch.zeros_like(attributes)
        tensors = (image_gradient.contiguous(), triangle_index, vertices, triangles, attributes, *gradients)
        to_vertices, to_attributes = ctx.needs_input_grad[:2]
        _launch(triton_kernels.interpolate_backward, *tensors, TO_VERTICES=to_vertices, TO_ATTRIBUTES=to_attributes)
        return gradients[0] if to_vertices else None, gradients[1] if to_attributes else None, None, None


def _launch(kernel: Any, image: Tensor, *tensors: Tensor, **constants: bool) -> None:
    """Run an interpolation kernel over all pixels of an image batch (B, H, W, C)."""
    images, height, width, channels = image.shape
    if image.numel() == 0:
        return
    vertex_count, pixels = tensors[1].shape[1], height * width
    blocks = triton.cdiv(pixels, INTERPOLATION["BLOCK"])
    with torch.cuda.device_of(image):
        kernel[(images * blocks,)](
            image, *tensors, vertex_count, width, pixels, blocks, channels, **constants, **INTERPOLATION
        )
