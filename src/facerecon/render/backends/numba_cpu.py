"""Rasterisation and interpolation compiled by numba: the backend of tensors on the CPU.

A batch is spread over as many threads as torch may use, an image and thread; results do not depend on their number.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facerecon.compilation import njit
from facerecon.geometry.batches import run_over_batch
from facerecon.render.backends.grid import grid_steps


def rasterize(vertices: Tensor, triangles: Tensor, height: int, width: int, cull: bool) -> tuple[Tensor, Tensor]:
    """Index and depth of the nearest triangle in each pixel: see `facerecon.render.backends`."""
    triangle_index = torch.empty((len(vertices), height, width), dtype=torch.int32)
    depth = torch.empty((len(vertices), height, width), dtype=torch.float32)
    arrays = (vertices.numpy(), triangles.numpy(), cull, grid_steps(height, width), triangle_index.numpy())
    run_over_batch(_rasterize_images, len(vertices), *arrays, depth.numpy())
    return triangle_index, depth


def interpolate(triangle_index: Tensor, vertices: Tensor, triangles: Tensor, attributes: Tensor) -> Tensor:
    """Attributes of the triangle in each pixel, with gradients: see `facerecon.render.backends`."""
    return _Interpolation.apply(vertices, attributes, triangles, triangle_index)


@njit(cache=True, nogil=True, error_model="numpy")
def _rasterize_images(first, last, vertices, triangles, cull, steps, triangle_index, depth):
    for b in range(first, last):
        triangle_index[b] = -1
        # Until all is drawn `depth` holds 1/z, which is affine in the image plane and needs no division a pixel.
        depth[b] = 0
        _draw_triangles(vertices[b], triangles, cull, steps, triangle_index[b], depth[b])
        for row in range(depth.shape[1]):
            for column in range(depth.shape[2]):
                depth[b, row, column] = np.float32(1) / depth[b, row, column]


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_triangles(vertices, triangles, cull, steps, triangle_index, inverse_depth):
    height, width = triangle_index.shape
    points = np.empty((vertices.shape[0], 2), np.float64)
    step = 1 / steps  # exact, as steps is a power of two
    for i in range(vertices.shape[0]):
        points[i, 0] = np.floor(vertices[i, 0] * steps + 0.5) * step
        points[i, 1] = np.floor(vertices[i, 1] * steps + 0.5) * step
    for f in range(triangles.shape[0]):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        x0, y0 = points[i, 0], points[i, 1]
        x1, y1 = points[j, 0], points[j, 1]
        x2, y2 = points[k, 0], points[k, 1]
        area = (x2 - x0) * (y1 - y0) - (x1 - x0) * (y2 - y0)
        if cull and area < 0:
            continue
        # Neither zero, nor infinite, nor NaN, as follows from coordinates that are not finite.
        if not 0 < abs(area) < math.inf:
            continue
        # Pixels whose centre lies in the bounding box.
        left = math.ceil(min(max(min(x0, x1, x2) - 0.5, 0.0), width))
        right = math.floor(max(min(max(x0, x1, x2) - 0.5, width - 1.0), -1.0))
        top = math.ceil(min(max(min(y0, y1, y2) - 0.5, 0.0), height))
        bottom = math.floor(max(min(max(y0, y1, y2) - 0.5, height - 1.0), -1.0))
        if left > right or top > bottom:
            continue
        z0, z1, z2 = vertices[i, 2], vertices[j, 2], vertices[k, 2]
        if not (0 < z0 < math.inf and 0 < z1 < math.inf and 0 < z2 < math.inf):
            continue
        if area < 0:
            x1, y1, z1, x2, y2, z2 = x2, y2, z2, x1, y1, z1
            area = -area
        ax0, ay0, dx0, dy0, limit0 = _edge(x1, y1, x2, y2)
        ax1, ay1, dx1, dy1, limit1 = _edge(x2, y2, x0, y0)
        ax2, ay2, dx2, dy2, limit2 = _edge(x0, y0, x1, y1)
        weight0, weight1, weight2 = 1 / (area * z0), 1 / (area * z1), 1 / (area * z2)
        for row in range(int(top), int(bottom) + 1):
            y = row + 0.5
            across0, across1, across2 = dx0 * (y - ay0), dx1 * (y - ay1), dx2 * (y - ay2)
            for column in range(int(left), int(right) + 1):
                x = column + 0.5
                e0 = dy0 * (x - ax0) - across0
                e1 = dy1 * (x - ax1) - across1
                e2 = dy2 * (x - ax2) - across2
                if e0 > limit0 and e1 > limit1 and e2 > limit2:
                    inverse = np.float32(e0 * weight0 + e1 * weight1 + e2 * weight2)
                    if inverse > inverse_depth[row, column]:
                        inverse_depth[row, column] = inverse
                        triangle_index[row, column] = f


@njit(cache=True, nogil=True, error_model="numpy")
def _edge(ax, ay, bx, by):
    """Origin, direction and limit of the edge function dy (x - ax) - dx (y - ay) > limit inside, for an edge a to b.

    It is evaluated from the end that comes first from top to bottom (from right to left along a row), whichever
    triangle asks: the two triangles at an edge get the same number with opposite signs. Of these, the one to the right
    of the edge, or below a horizontal one, owns the points where it is zero.
    """
    if ay < by or (ay == by and ax > bx):
        # -1e-300 stands for "zero is inside": no other value of an edge function lies between.
        return ax, ay, bx - ax, by - ay, -1e-300
    return bx, by, bx - ax, by - ay, 0.0


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
        vertices_gradient, attributes_gradient = torch.empty_like(vertices), torch.empty_like(attributes)
        tensors = (vertices, attributes, triangles, triangle_index, image_gradient.contiguous())
        arrays = (tensor.numpy() for tensor in (*tensors, vertices_gradient, attributes_gradient))
        to_vertices, to_attributes = ctx.needs_input_grad[:2]
        run_over_batch(_interpolation_backward, len(vertices), *arrays, to_vertices, to_attributes)
        return vertices_gradient if to_vertices else None, attributes_gradient if to_attributes else None, None, None


@njit(cache=True, nogil=True, error_model="numpy")
def _corners(p, q, r, row, column):
    """Corners (x, y) relative to the pixel's centre; arithmetic stays in the dtype of the vertices."""
    number = p.dtype.type
    x, y = number(column) + number(0.5), number(row) + number(0.5)
    return p[0] - x, p[1] - y, q[0] - x, q[1] - y, r[0] - x, r[1] - y


@njit(cache=True, nogil=True, error_model="numpy")
def _weights(p, q, r, x0, y0, x1, y1, x2, y2):
    """Perspective-correct barycentric weights u / sum(u), and what the backward pass needs of them.

    u_i = e_i s_i with e_i the doubled area opposite corner i and s_i = 1 / z_i. Returns the weights, the s_i and
    1 / sum(u); zeros if that is not a finite number: a triangle with area on the rasteriser's grid may have none in its
    exact coordinates, or more than the dtype holds.
    """
    s0, s1, s2 = p[2], q[2], r[2]
    u0, u1, u2 = (x1 * y2 - x2 * y1) * s0, (x2 * y0 - x0 * y2) * s1, (x0 * y1 - x1 * y0) * s2
    total = u0 + u1 + u2
    number = p.dtype.type
    scale = number(1) / total
    if not (abs(total) < math.inf and abs(scale) < math.inf):
        zero = number(0)
        return zero, zero, zero, zero, zero, zero, zero
    return u0 * scale, u1 * scale, u2 * scale, s0, s1, s2, scale


@njit(cache=True, nogil=True, error_model="numpy")
def _corner_indices(triangles, f):
    """Unsigned: numba would look for negative ones, which count from the end."""
    f = np.uint32(f)
    return np.uint32(triangles[f, 0]), np.uint32(triangles[f, 1]), np.uint32(triangles[f, 2])


@njit(cache=True, nogil=True, error_model="numpy")
def _interpolate_images(first, last, vertices, attributes, triangles, triangle_index, image):
    # A number of channels that the compiler knows saves a tenth of the time: three get code of their own.
    channels = attributes.shape[2]
    if channels == 3:
        _interpolate_channels(first, last, vertices, attributes, triangles, triangle_index, image, 3)
    else:
        _interpolate_channels(first, last, vertices, attributes, triangles, triangle_index, image, channels)


# Here multiply-adds may be fused: gradients need not equal another backend's bit for bit.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _interpolation_backward(
    first, last, vertices, attributes, triangles, index, gradient, dv, da, to_vertices, to_attributes
):
    """Writes dv if to_vertices, and da if to_attributes."""
    channels = attributes.shape[2]
    if channels == 3:
        _channels_backward(
            first, last, vertices, attributes, triangles, index, gradient, dv, da, to_vertices, to_attributes, 3
        )
    else:
        _channels_backward(
            first, last, vertices, attributes, triangles, index, gradient, dv, da, to_vertices, to_attributes, channels
        )


@njit(nogil=True, error_model="numpy", inline="always")
def _interpolate_channels(first, last, vertices, attributes, triangles, triangle_index, image, channels):
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
                i, j, k = _corner_indices(triangles, f)
                p, q, r = packed[i], packed[j], packed[k]
                x0, y0, x1, y1, x2, y2 = _corners(p, q, r, row, column)
                w0, w1, w2, _, _, _, _ = _weights(p, q, r, x0, y0, x1, y1, x2, y2)
                for c in range(channels):
                    out[column, c] = w0 * p[3 + c] + w1 * q[3 + c] + w2 * r[3 + c]


@njit(nogil=True, error_model="numpy", inline="always")
def _channels_backward(
    first,
    last,
    vertices,
    attributes,
    triangles,
    triangle_index,
    image_gradient,
    dv,
    da,
    to_vertices,
    to_attributes,
    channels,
):
    packed = np.empty((vertices.shape[1], 3 + channels), vertices.dtype)
    sums = np.empty_like(packed)
    for b in range(first, last):
        _pack(vertices[b], attributes[b], packed)
        sums[:] = 0
        for row in range(image_gradient.shape[1]):
            visible, gradient = triangle_index[b, row], image_gradient[b, row]
            for column in range(image_gradient.shape[2]):
                f = visible[column]
                if f < 0:
                    continue
                i, j, k = _corner_indices(triangles, f)
                p, q, r = packed[i], packed[j], packed[k]
                dp, dq, dr = sums[i], sums[j], sums[k]
                x0, y0, x1, y1, x2, y2 = _corners(p, q, r, row, column)
                w0, w1, w2, s0, s1, s2, scale = _weights(p, q, r, x0, y0, x1, y1, x2, y2)
                if to_attributes:
                    for c in range(channels):
                        g = gradient[column, c]
                        dp[3 + c] += g * w0
                        dq[3 + c] += g * w1
                        dr[3 + c] += g * w2
                if not to_vertices:
                    continue
                # h = dL/dw.
                h0 = h1 = h2 = packed.dtype.type(0)
                for c in range(channels):
                    g = gradient[column, c]
                    h0 += g * p[3 + c]
                    h1 += g * q[3 + c]
                    h2 += g * r[3 + c]
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
                dp[2] -= h0 * w0 * s0
                dq[2] -= h1 * w1 * s1
                dr[2] -= h2 * w2 * s2
        _unpack(sums, dv[b], da[b], to_vertices, to_attributes)


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(vertices, attributes, packed):
    """x, y, 1 / z and attributes of a vertex side by side: one line of the processor's cache instead of two a corner.

    Reading all in order, before pixels read it in theirs, also brings an image's vertices into the cache at once.
    """
    for i in range(packed.shape[0]):
        packed[i, 0], packed[i, 1] = vertices[i, 0], vertices[i, 1]
        packed[i, 2] = packed.dtype.type(1) / vertices[i, 2]
        for c in range(attributes.shape[1]):
            packed[i, 3 + c] = attributes[i, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _unpack(packed, vertices, attributes, to_vertices, to_attributes):
    for i in range(packed.shape[0]):
        if to_vertices:
            for axis in range(3):
                vertices[i, axis] = packed[i, axis]
        if to_attributes:
            for c in range(attributes.shape[1]):
                attributes[i, c] = packed[i, 3 + c]
