"""Attributes of the surface seen in each pixel, differentiable in vertices and attributes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from facerecon.compilation import njit
from facerecon.errors import InputError
from facerecon.geometry.batches import run_over_batch
from facerecon.geometry.triangles import check_vertices, checked_triangles


def interpolate(
    triangle_index: Tensor, vertices_pixels: Tensor, triangles: Tensor | np.ndarray, attributes: Tensor
) -> Tensor:
    """Perspective-correct interpolation of vertex attributes at pixel centres.

    triangle_index: (B, H, W) int32 from `rasterize`, -1 where there is no triangle. vertices_pixels: (B, V, 3) x_px,
    y_px in pixels, z > 0 in mm; float32 or float64. triangles: (F, 3). attributes: (B, V, C), dtype of the vertices.
    Returns (B, H, W, C), 0 where there is no triangle. Differentiable (first derivatives) in attributes and in x, y and
    z of the vertices, with the visible triangles held fixed: silhouettes give no gradient.
    Raises ValueError on wrong shapes, dtypes and indices, InputError for tensors that are not on the CPU.
    """
    check_vertices("vertices_pixels", vertices_pixels)
    if attributes.ndim != 3 or attributes.shape[:2] != vertices_pixels.shape[:2]:
        shape = tuple(vertices_pixels.shape[:2])
        raise ValueError(f"attributes must be (B, V, C) with (B, V) = {shape}, not {tuple(attributes.shape)}")
    if attributes.dtype != vertices_pixels.dtype:
        raise ValueError(f"attributes are {attributes.dtype}, vertices_pixels {vertices_pixels.dtype}: make them equal")
    if triangle_index.ndim != 3 or len(triangle_index) != len(vertices_pixels):
        raise ValueError(f"triangle_index must be (B, H, W), not {tuple(triangle_index.shape)}")
    if vertices_pixels.device.type != "cpu":
        raise InputError(f"interpolate runs on the CPU but got tensors on {vertices_pixels.device}: call .cpu() first")
    triangles = checked_triangles(triangles, vertices_pixels)
    triangle_index = triangle_index.to(torch.int32).contiguous()
    if triangle_index.numel() and triangle_index.max() >= len(triangles):
        raise ValueError(f"triangle_index names triangle {triangle_index.max()}, but there are {len(triangles)}")
    return _Interpolation.apply(vertices_pixels, attributes, triangles, triangle_index)


class _Interpolation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, attributes: Tensor, triangles: Tensor, triangle_index: Tensor) -> Tensor:
        vertices, attributes = vertices.detach().contiguous(), attributes.detach().contiguous()
        ctx.save_for_backward(vertices, attributes, triangles, triangle_index)
        image = attributes.new_empty((*triangle_index.shape, attributes.shape[-1]))
        arrays = (tensor.numpy() for tensor in (vertices, attributes, triangles, triangle_index, image))
        run_over_batch(_interpolate_images, len(vertices), *arrays)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, image_gradient: Tensor) -> tuple[Tensor | None, ...]:
        vertices, attributes, triangles, triangle_index = ctx.saved_tensors
        vertices_gradient, attributes_gradient = torch.zeros_like(vertices), torch.zeros_like(attributes)
        tensors = (vertices, attributes, triangles, triangle_index, image_gradient.contiguous())
        arrays = (tensor.numpy() for tensor in (*tensors, vertices_gradient, attributes_gradient))
        run_over_batch(_interpolation_backward, len(vertices), *arrays)
        return vertices_gradient, attributes_gradient, None, None


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _corners(p, q, r, row, column):
    """Corners (x, y) relative to the pixel's centre; arithmetic stays in the dtype of the vertices."""
    number = p.dtype.type
    x, y = number(column) + number(0.5), number(row) + number(0.5)
    return p[0] - x, p[1] - y, q[0] - x, q[1] - y, r[0] - x, r[1] - y


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _weights(p, q, r, x0, y0, x1, y1, x2, y2):
    """Perspective-correct barycentric weights u / sum(u), and what the backward pass needs of them.

    u_i = e_i s_i with e_i the doubled area opposite corner i; s_i = z_j z_k stands for 1 / z_i, which is the same up to
    a common factor. Returns the weights, the s_i and 1 / sum(u).
    """
    s0, s1, s2 = q[2] * r[2], r[2] * p[2], p[2] * q[2]
    u0, u1, u2 = (x1 * y2 - x2 * y1) * s0, (x2 * y0 - x0 * y2) * s1, (x0 * y1 - x1 * y0) * s2
    total = u0 + u1 + u2
    number = p.dtype.type
    # A triangle with area on the rasteriser's grid may have none in its exact coordinates.
    scale = number(1) / total if total != 0 else number(0)
    return u0 * scale, u1 * scale, u2 * scale, s0, s1, s2, scale


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _interpolate_images(first, last, vertices, attributes, triangles, triangle_index, image):
    channels = attributes.shape[2]
    packed = np.empty((vertices.shape[1], 3 + channels), vertices.dtype)
    for b in range(first, last):
        _pack(vertices[b], attributes[b], packed)
        for row in range(image.shape[1]):
            visible, out = triangle_index[b, row], image[b, row]
            for column in range(image.shape[2]):
                f = visible[column]
                if f < 0:
                    for c in range(channels):
                        out[column, c] = 0
                    continue
                p, q, r = packed[triangles[f, 0]], packed[triangles[f, 1]], packed[triangles[f, 2]]
                x0, y0, x1, y1, x2, y2 = _corners(p, q, r, row, column)
                w0, w1, w2, _, _, _, _ = _weights(p, q, r, x0, y0, x1, y1, x2, y2)
                for c in range(channels):
                    out[column, c] = w0 * p[3 + c] + w1 * q[3 + c] + w2 * r[3 + c]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _interpolation_backward(
    first, last, vertices, attributes, triangles, triangle_index, image_gradient, vertices_gradient, attributes_gradient
):
    channels = attributes.shape[2]
    packed = np.empty((vertices.shape[1], 3 + channels), vertices.dtype)
    for b in range(first, last):
        _pack(vertices[b], attributes[b], packed)
        dv, da = vertices_gradient[b], attributes_gradient[b]
        for row in range(image_gradient.shape[1]):
            visible, gradient = triangle_index[b, row], image_gradient[b, row]
            for column in range(image_gradient.shape[2]):
                f = visible[column]
                if f < 0:
                    continue
                i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
                p, q, r = packed[i], packed[j], packed[k]
                dp, dq, dr = dv[i], dv[j], dv[k]
                ap, aq, ar = da[i], da[j], da[k]
                x0, y0, x1, y1, x2, y2 = _corners(p, q, r, row, column)
                w0, w1, w2, s0, s1, s2, scale = _weights(p, q, r, x0, y0, x1, y1, x2, y2)
                # h = dL/dw.
                h0 = h1 = h2 = packed.dtype.type(0)
                for c in range(channels):
                    g = gradient[column, c]
                    h0 += g * p[3 + c]
                    h1 += g * q[3 + c]
                    h2 += g * r[3 + c]
                    ap[c] += g * w0
                    aq[c] += g * w1
                    ar[c] += g * w2
                # Through w = u / sum(u): h - mean is dL/du times sum(u); e = dL/de.
                mean = h0 * w0 + h1 * w1 + h2 * w2
                h0, h1, h2 = h0 - mean, h1 - mean, h2 - mean
                e0, e1, e2 = h0 * scale * s0, h1 * scale * s1, h2 * scale * s2
                dp[0] += e2 * y1 - e1 * y2
                dq[0] += e0 * y2 - e2 * y0
                dr[0] += e1 * y0 - e0 * y1
                dp[1] += e1 * x2 - e2 * x1
                dq[1] += e2 * x0 - e0 * x2
                dr[1] += e0 * x1 - e1 * x0
                # 1 / z_i = s_i / (z_0 z_1 z_2).
                inverse = packed.dtype.type(1) / (s0 * p[2])
                dp[2] -= h0 * w0 * (s0 * inverse)
                dq[2] -= h1 * w1 * (s1 * inverse)
                dr[2] -= h2 * w2 * (s2 * inverse)


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(vertices, attributes, packed):
    """Position and attributes of a vertex side by side: one line of the processor's cache instead of two a corner."""
    for i in range(packed.shape[0]):
        for axis in range(3):
            packed[i, axis] = vertices[i, axis]
        for c in range(attributes.shape[1]):
            packed[i, 3 + c] = attributes[i, c]
