"""Numba kernels on the meshes of the photograph renderer: normals and what of them an image can show."""

import numpy as np
from numpy.typing import NDArray

from facerecon.compilation import njit

FLAGS = {"contract", "nsz", "arcp"}  # which leaves infinities and what is not a number their meaning
RAMP = 6.0  # mm over which the shade of a caster sets in


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def fused_vertex_normals(vertices: NDArray, triangles: NDArray) -> NDArray:
    """Area-weighted unit normals (V, 3) float32 of one mesh; 0 for vertices of no triangle.

    `geometry.normals.vertex_normals` of one numpy mesh, with products and sums fused: they differ by rounding alone.
    """
    normals = np.zeros(vertices.shape, np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0.0:
            scale = np.float32(1.0) / length
            normals[v, 0] *= scale
            normals[v, 1] *= scale
            normals[v, 2] *= scale
    return normals


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def visible_triangles(pixels: NDArray, triangles: NDArray, closed: NDArray, size: int) -> NDArray:
    """Ids of the triangles that a size x size image can show: the front of closed surfaces, within the picture.

    pixels: (V, 3). triangles: (F, 3). closed: (n,) bool, n <= F: True for those of the first n triangles that are
    oriented outwards and seen from there alone.
    Most triangles of a fine head face away or hold no pixel's centre, which is quicker to find out than to draw.
    """
    ids = np.empty(triangles.shape[0], np.int32)
    count = 0
    margin = np.float32(0.01)  # px, beyond what the rasteriser's grid may move a corner
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        xa, ya, xb, yb, xc, yc = pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1], pixels[c, 0], pixels[c, 1]
        if t < closed.shape[0] and closed[t] and (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya) > margin:
            continue
        left, right = min(xa, xb, xc) - margin, max(xa, xb, xc) + margin
        top, bottom = min(ya, yb, yc) - margin, max(ya, yb, yc) + margin
        if right < 0.5 or bottom < 0.5 or left > size or top > size:
            continue
        if np.floor(right - 0.5) < np.ceil(left - 0.5) or np.floor(bottom - 0.5) < np.ceil(top - 0.5):
            continue
        ids[count] = t
        count += 1
    return ids[:count]


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def caster_shade(
    cover: NDArray, heights: NDArray, position: NDArray, normal: NDArray, frame: NDArray, scale: float, bias: float
) -> NDArray:
    """(V,) share of the key light in [0, 1] that a shadow map takes from points; 0 for those that face away.

    cover: (Z, Z) share of each texel that casters fill; heights: (Z, Z) mm along the light of what fills it. position,
    normal: (V, 3) in the view frame. frame: (3, 3) rows x, y, toward-light; scale: texels per mm. bias: mm below which
    a caster does not shade. The average of 3 x 3 soft comparisons under a quadratic B-spline makes of separate strands
    one soft shade.
    """
    size = heights.shape[0]
    out = np.zeros(position.shape[0], np.float32)
    half = np.float32(0.5)
    for n in range(position.shape[0]):
        facing = normal[n, 0] * frame[2, 0] + normal[n, 1] * frame[2, 1] + normal[n, 2] * frame[2, 2]
        if facing < np.float32(-0.3):
            continue
        x, y, z = position[n, 0], position[n, 1], position[n, 2]
        u = (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z) * scale + half * (size - 1)
        v = (frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z) * scale + half * (size - 1)
        w = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z + bias
        i, j = int(np.floor(v + half)), int(np.floor(u + half))
        if i < 1 or j < 1 or i + 1 >= size or j + 1 >= size:
            continue
        fy, fx = v - np.float32(i), u - np.float32(j)
        rows = (half * (half - fy) ** 2, np.float32(0.75) - fy * fy, half * (half + fy) ** 2)
        columns = (half * (half - fx) ** 2, np.float32(0.75) - fx * fx, half * (half + fx) ** 2)
        shade = np.float32(0.0)
        for p in range(3):
            for q in range(3):
                over = (heights[i + p - 1, j + q - 1] - w) * np.float32(1.0 / RAMP)
                if over > 0.0:
                    filled = cover[i + p - 1, j + q - 1]
                    shade += rows[p] * columns[q] * filled * min(over, np.float32(1.0))
        out[n] = shade
    return out
