"""Which triangle is seen in each pixel: a z-buffer over triangle meshes.

The edge rule. A pixel belongs to a triangle if its centre lies inside, or on a top or left edge; so a centre on an edge
that two triangles share, or on a vertex of a fan, belongs to exactly one of them, and a closed surface has no holes.
That holds exactly, not up to rounding: vertices are first rounded to a grid that is as fine as the spacing of float32
numbers at the far half of the image (2^-16 pixel at 224 pixels), coarse enough that every edge function of vertices in
or near the image is exact in float64. Edges that reach farther out are evaluated from the same end by both triangles.
"""

import math

import numpy as np
import torch
from torch import Tensor

from facerecon.compilation import njit
from facerecon.errors import InputError
from facerecon.geometry.batches import run_over_batch
from facerecon.geometry.triangles import check_vertices, checked_triangles

BACKENDS = ("cpu",)
"""Names of the rasteriser's implementations."""


def rasterize(
    vertices_pixels: Tensor,
    triangles: Tensor | np.ndarray,
    height: int,
    width: int,
    cull: bool = True,
    backend: str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Index and depth of the nearest triangle in each pixel; discrete, without gradient.

    vertices_pixels: (B, V, 3) x_px, y_px in pixels (x right, y down, pixel (row i, column j) has its centre at
        (j + 0.5, i + 0.5)) and z, mm in front of the camera. float32 or float64.
    triangles: (F, 3) vertex indices, counter-clockwise seen from outside, which is counter-clockwise in the image too
        (its y axis points down, so that the signed area in pixels is negative). cull: leave out those seen from behind.
    backend: "cpu" (numba); never replaced by another one silently.
    Returns triangle_index (B, height, width) int32, -1 where there is none, and depth (B, height, width) float32: z of
    the surface at the pixel's centre in mm, perspective-correct, inf where there is none. Of surfaces at equal depth
    the triangle that comes first wins. A triangle with a vertex at z <= 0 or not finite, or without area, is left out.
    Raises ValueError on wrong shapes, dtypes and indices, InputError on a backend that is unknown or cannot be used.
    """
    check_vertices("vertices_pixels", vertices_pixels)
    triangles = checked_triangles(triangles, vertices_pixels)
    if height < 1 or width < 1:
        raise ValueError(f"the image must have at least one pixel, not {height} x {width}")
    if backend not in BACKENDS:
        raise InputError(f"rasteriser backend {backend!r} is not available: choose one of {', '.join(BACKENDS)}")
    device = vertices_pixels.device
    if device.type != "cpu":
        raise InputError(f"rasteriser backend 'cpu' got tensors on {device}: move them with .cpu() first")
    vertices = vertices_pixels.detach().contiguous()
    triangle_index = torch.empty((len(vertices), height, width), dtype=torch.int32)
    depth = torch.empty((len(vertices), height, width), dtype=torch.float32)
    arrays = (vertices.numpy(), triangles.numpy(), cull, grid_steps(height, width), triangle_index.numpy())
    run_over_batch(_rasterize_images, len(vertices), *arrays, depth.numpy())
    return triangle_index, depth


def grid_steps(height: int, width: int) -> float:
    """Grid steps a pixel, a power of two, to which vertices are rounded before they are rasterised.

    With coordinates within twice the image's size, differences have at most 26 bits and the difference of two products
    53, which float64 holds exactly.
    """
    bits_before_point = math.ceil(math.log2(2 * max(height, width)))
    return 2.0 ** (25 - bits_before_point)


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
    for i in range(vertices.shape[0]):
        points[i, 0] = np.floor(vertices[i, 0] * steps + 0.5) / steps
        points[i, 1] = np.floor(vertices[i, 1] * steps + 0.5) / steps
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
