"""Numba kernels of the photograph renderer: normals and deferred shading of one image."""

import numpy as np
from numpy.typing import NDArray

from facerecon.compilation import njit
from facerecon.geometry.spherical_harmonics import SH_CONSTANTS

# Six decimals, as every photograph so far was shaded with: more would change pixels of given seeds.
_C0, _C1, _C2, _C3, _C4 = (round(SH_CONSTANTS[k], 6) for k in (0, 1, 4, 6, 8))


@njit(cache=True, fastmath={"contract", "nsz", "arcp"})
def fused_vertex_normals(vertices: NDArray, triangles: NDArray) -> NDArray:
    """Area-weighted unit normals (V, 3) float32 of one mesh; 0 for vertices of no triangle.

    `geometry.normals.vertex_normals` of one numpy mesh, with products and sums fused: they differ by rounding alone,
    and this rounding is in the pixels of every photograph.
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


@njit(cache=True, fastmath={"contract", "nsz", "arcp"})
def shade_pixels(
    triangle_index: NDArray,
    pixels: NDArray,
    triangles: NDArray,
    position: NDArray,
    normal: NDArray,
    albedo: NDArray,
    occlusion: NDArray,
    gloss: NDArray,
    eye: NDArray,
    ambient: NDArray,
    key_direction: NDArray,
    key_colour: NDArray,
    shadow_depth: NDArray,
    shadow_frame: NDArray,
    shadow_scale: float,
    shadow_strength: float,
) -> NDArray:
    """Deferred shading of one image: (H, W, 3) float32 linear radiance, 0 where no triangle of any area covers.

    triangle_index: (H, W) int32, -1 none. pixels: (V, 3) image position and camera depth. position, normal: (V, 3) in
    the view frame (y up, z toward the viewer), mm. albedo: (V, 3) linear. occlusion: (V,) ambient visibility in [0, 1].
    gloss: (V,) strength of the broad highlight. eye: (V,) 1 on eyeballs. ambient: (9, 3) irradiance / pi in spherical
    harmonics. key_direction, key_colour: (3,) directional light. shadow_depth: (Z, Z) height along the light of the
    nearest surface, shadow_frame: (3, 3) rows x, y, toward-light; shadow_scale: texels per mm.
    """
    height, width = triangle_index.shape
    size = shadow_depth.shape[0]
    out = np.zeros((height, width, 3), np.float32)
    half = np.array([key_direction[0], key_direction[1], key_direction[2] + 1.0], np.float32)
    half /= np.sqrt((half * half).sum())
    for i in range(height):
        for j in range(width):
            t = triangle_index[i, j]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            px, py = np.float32(j + 0.5), np.float32(i + 0.5)
            xa, ya = pixels[a, 0] - px, pixels[a, 1] - py
            xb, yb = pixels[b, 0] - px, pixels[b, 1] - py
            xc, yc = pixels[c, 0] - px, pixels[c, 1] - py
            wa = (xb * yc - xc * yb) / pixels[a, 2]
            wb = (xc * ya - xa * yc) / pixels[b, 2]
            wc = (xa * yb - xb * ya) / pixels[c, 2]
            total = wa + wb + wc
            # A triangle with area on the rasteriser's grid may have none in its exact coordinates: black, as unlit.
            inverse = np.float32(1.0) / total if total != 0.0 else np.float32(0.0)
            wa, wb, wc = wa * inverse, wb * inverse, wc * inverse
            nx = wa * normal[a, 0] + wb * normal[b, 0] + wc * normal[c, 0]
            ny = wa * normal[a, 1] + wb * normal[b, 1] + wc * normal[c, 1]
            nz = wa * normal[a, 2] + wb * normal[b, 2] + wc * normal[c, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-9)
            if nz < 0.0 and occlusion[a] > 1.5:  # two-sided shells carry occlusion 2
                length = -length
            nx, ny, nz = nx / length, ny / length, nz / length
            visible = min(wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c], np.float32(1.0))
            lambert = max(nx * key_direction[0] + ny * key_direction[1] + nz * key_direction[2], np.float32(0.0))
            if lambert > 0.0 and shadow_strength > 0.0:
                x = wa * position[a, 0] + wb * position[b, 0] + wc * position[c, 0]
                y = wa * position[a, 1] + wb * position[b, 1] + wc * position[c, 1]
                z = wa * position[a, 2] + wb * position[b, 2] + wc * position[c, 2]
                u = (shadow_frame[0, 0] * x + shadow_frame[0, 1] * y + shadow_frame[0, 2] * z) * shadow_scale + size / 2
                v = (shadow_frame[1, 0] * x + shadow_frame[1, 1] * y + shadow_frame[1, 2] * z) * shadow_scale + size / 2
                w = shadow_frame[2, 0] * x + shadow_frame[2, 1] * y + shadow_frame[2, 2] * z
                hits = np.float32(0.0)
                for du in (-1, 0, 1):
                    for dv in (-1, 0, 1):
                        col, row = int(u) + du, int(v) + dv
                        if 0 <= col < size and 0 <= row < size and shadow_depth[row, col] > w + 6.0:
                            hits += np.float32(1.0 / 9.0)
                lambert *= np.float32(1.0) - shadow_strength * hits
            basis = (
                _C0,
                _C1 * ny,
                _C1 * nz,
                _C1 * nx,
                _C2 * nx * ny,
                _C2 * ny * nz,
                _C3 * (3.0 * nz * nz - 1.0),
                _C2 * nx * nz,
                _C4 * (nx * nx - ny * ny),
            )
            facing = max(nx * half[0] + ny * half[1] + nz * half[2], np.float32(0.0))
            is_eye = wa * eye[a] + wb * eye[b] + wc * eye[c] > 0.5
            if is_eye:
                highlight = np.float32(0.9) * facing**200 + np.float32(0.02) * facing**20
            else:
                shine = wa * gloss[a] + wb * gloss[b] + wc * gloss[c]
                highlight = shine * (facing**14 + np.float32(0.8) * facing**40)
            if lambert <= 0.0:
                highlight = np.float32(0.0)
            for k in range(3):
                irradiance = np.float32(0.0)
                for h in range(9):
                    irradiance += np.float32(basis[h]) * ambient[h, k]
                irradiance = max(irradiance, np.float32(0.02)) * visible + lambert * key_colour[k]
                colour = wa * albedo[a, k] + wb * albedo[b, k] + wc * albedo[c, k]
                out[i, j, k] = colour * irradiance + highlight * key_colour[k]
    return out
