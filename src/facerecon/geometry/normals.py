"""Vertex normals of triangle meshes, differentiable."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from facerecon.compilation import njit
from facerecon.geometry.batches import run_over_batch
from facerecon.geometry.triangles import check_vertices, checked_triangles


def vertex_normals(vertices: Tensor, triangles: Tensor | np.ndarray) -> Tensor:
    """Unit vertex normals: the sum of the adjoining triangles' normals weighted by their areas, normalised.

    vertices: (B, V, 3) in any unit and right-handed frame. triangles: (F, 3), counter-clockwise seen from outside.
    Returns (B, V, 3) pointing outward; zero, with zero gradient, where a vertex has no triangle of positive area.
    Differentiable in vertices (first derivatives). Raises ValueError on other shapes and dtypes.
    """
    check_vertices("vertices", vertices)
    triangles = checked_triangles(triangles, vertices)
    if vertices.device.type == "cpu":
        return _VertexNormals.apply(vertices, triangles)
    return vertex_normals_torch(vertices, triangles)


def normals_across_seams(vertices: Tensor, welded_triangles: Tensor | np.ndarray, seam_copies: Tensor) -> Tensor:
    """`vertex_normals` (B, V, 3) of a surface whose last C vertices copy others, without a crease between the two.

    vertices: (B, V, 3). welded_triangles: (F, 3) of the vertices that are no copies. seam_copies: (C,) int64, on the
    vertices' device: what the last C copy.
    """
    if not len(seam_copies):
        return vertex_normals(vertices, welded_triangles)
    normals = vertex_normals(vertices[:, : -len(seam_copies)], welded_triangles)
    return torch.cat([normals, normals.index_select(1, seam_copies)], 1)


def vertex_normals_torch(vertices: Tensor, triangles: Tensor) -> Tensor:
    """`vertex_normals` written with torch operations only: for other devices, and the reference of the fast one."""
    # index_select, whose backward pass is index_add: that of indexing sorts.
    corners = vertices.index_select(1, triangles.flatten()).reshape(len(vertices), len(triangles), 3, 3)
    first, second, third = corners.unbind(2)
    doubled_area_normals = torch.linalg.cross(second - first, third - first)
    sums = torch.zeros_like(vertices)
    for corner in range(3):
        sums = sums.index_add(1, triangles[:, corner].long(), doubled_area_normals)
    usable = (sums * sums).sum(-1, keepdim=True) > 0
    # Scaled first, which changes nothing: the slope of the root of a tiny number overflows.
    largest = torch.where(usable, sums.detach().abs().amax(-1, keepdim=True), 1.0)
    scaled = torch.where(usable, sums, 0.0) / largest
    return scaled * torch.where(usable, (scaled * scaled).sum(-1, keepdim=True), 1.0).rsqrt()


class _VertexNormals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vertices: Tensor, triangles: Tensor) -> Tensor:
        vertices = vertices.detach().contiguous()
        normals = torch.zeros_like(vertices)
        lengths = vertices.new_zeros(vertices.shape[:2])
        run_over_batch(
            _accumulate_normals, len(vertices), vertices.numpy(), triangles.numpy(), normals.numpy(), lengths.numpy()
        )
        ctx.save_for_backward(vertices, triangles, normals, lengths)
        return normals

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, normals_gradient: Tensor) -> tuple[Tensor, None]:
        vertices, triangles, normals, lengths = ctx.saved_tensors
        gradient = torch.zeros_like(vertices)
        run_over_batch(
            _normals_backward,
            len(vertices),
            vertices.numpy(),
            triangles.numpy(),
            normals.numpy(),
            lengths.numpy(),
            normals_gradient.contiguous().numpy(),
            gradient.numpy(),
        )
        return gradient, None


@njit(cache=True, nogil=True, error_model="numpy")
def _accumulate_normals(first, last, vertices, triangles, normals, lengths):
    for b in range(first, last):
        v = vertices[b]
        n = normals[b]
        for f in range(triangles.shape[0]):
            i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            ax, ay, az = v[j, 0] - v[i, 0], v[j, 1] - v[i, 1], v[j, 2] - v[i, 2]
            bx, by, bz = v[k, 0] - v[i, 0], v[k, 1] - v[i, 1], v[k, 2] - v[i, 2]
            cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            for corner in (i, j, k):
                n[corner, 0] += cx
                n[corner, 1] += cy
                n[corner, 2] += cz
        for i in range(n.shape[0]):
            length = np.sqrt(n[i, 0] * n[i, 0] + n[i, 1] * n[i, 1] + n[i, 2] * n[i, 2])
            lengths[b, i] = length
            if length > 0:
                n[i, 0] /= length
                n[i, 1] /= length
                n[i, 2] /= length
            else:
                lengths[b, i] = n[i, 0] = n[i, 1] = n[i, 2] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _normals_backward(first, last, vertices, triangles, normals, lengths, normals_gradient, gradient):
    sums_gradient = np.empty_like(normals[0])
    for b in range(first, last):
        v, n, g, s, out = vertices[b], normals[b], normals_gradient[b], sums_gradient, gradient[b]
        # Through the normalisation n = s / |s|.
        for i in range(n.shape[0]):
            scale = 1 / lengths[b, i] if lengths[b, i] > 0 else 0.0
            along = n[i, 0] * g[i, 0] + n[i, 1] * g[i, 1] + n[i, 2] * g[i, 2]
            s[i, 0] = (g[i, 0] - along * n[i, 0]) * scale
            s[i, 1] = (g[i, 1] - along * n[i, 1]) * scale
            s[i, 2] = (g[i, 2] - along * n[i, 2]) * scale
        # Through the cross product c = a x b of the edges a, b: dL/da = b x dL/dc, dL/db = dL/dc x a.
        for f in range(triangles.shape[0]):
            i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            ax, ay, az = v[j, 0] - v[i, 0], v[j, 1] - v[i, 1], v[j, 2] - v[i, 2]
            bx, by, bz = v[k, 0] - v[i, 0], v[k, 1] - v[i, 1], v[k, 2] - v[i, 2]
            cx, cy, cz = s[i, 0] + s[j, 0] + s[k, 0], s[i, 1] + s[j, 1] + s[k, 1], s[i, 2] + s[j, 2] + s[k, 2]
            dax, day, daz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
            dbx, dby, dbz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
            out[j, 0] += dax
            out[j, 1] += day
            out[j, 2] += daz
            out[k, 0] += dbx
            out[k, 1] += dby
            out[k, 2] += dbz
            out[i, 0] -= dax + dbx
            out[i, 1] -= day + dby
            out[i, 2] -= daz + dbz
