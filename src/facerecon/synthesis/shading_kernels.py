"""Numba kernels of the photograph renderer's deferred shading: skin, eyes, mouth and plain surfaces in one pass.

All in one file, because numba's cache does not see changes of functions that are called from other files.
"""

import numpy as np
from numpy.typing import NDArray

from facerecon.compilation import njit
from facerecon.geometry.spherical_harmonics import SH_CONSTANTS

_C0, _C1, _C2, _C3, _C4 = (np.float32(SH_CONSTANTS[k]) for k in (0, 1, 4, 6, 8))
_ONE, _TWO, _THREE = np.float32(1.0), np.float32(2.0), np.float32(3.0)  # mixing in doubles costs time

# Materials of triangles.
PLAIN, SKIN, EYE, MOUTH = 0, 1, 2, 3

# Columns of the vertex attributes of `shade_pixels`.
AMBIENT, GLOSS, LIPS, LASH, SHADE, PLACE, ATTRIBUTES = 0, 1, 2, 3, 4, 5, 8

# Light scattered below the skin turns around corners, red light farthest: how far beyond the terminator each channel is
# lit, how much it ignores fine relief, and how far it spreads into cast shadows (by eye).
WRAP = np.array([0.21, 0.11, 0.08], np.float32)
SMOOTHING = np.array([0.65, 0.35, 0.2], np.float32)
SPREAD = np.array([0.22, 0.04, -0.02], np.float32)

SKIN_REFLECTANCE, WATER_REFLECTANCE = 0.028, 0.025  # at normal incidence
LOBE_STEPS = 2048
BROAD_EXPONENT, NARROW_EXPONENT, WET_EXPONENT = 11.0, 48.0, 160.0

FLAGS = {"contract", "nsz", "arcp"}
IRIS_SINE = 0.415  # of the angle between the gaze and the iris' rim, seen from the eyeball's centre
CORNEA_CURVATURE = 1.75  # eyeball's radius over the cornea's
SHADOW_BIAS = 1.5  # mm below which a surface does not shade itself
SHADOW_RAMP = 5.0  # mm over which an occluder's shade sets in

# Borders of the teeth along the arch, mm from the midline (incisors, canine, premolars, molar).
TOOTH_BORDERS = np.array([0.0, 8.4, 15.0, 22.4, 29.2, 36.0, 46.0], np.float32)
UPPER, LOWER = 1.0, 2.0


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def sample_map(image, row, column, out):
    """Bilinear sample of an image (R, C, K) at texel coordinates into `out` (K,); False outside."""
    i, j = int(np.floor(row)), int(np.floor(column))
    if i < 0 or j < 0 or i + 1 >= image.shape[0] or j + 1 >= image.shape[1]:
        return False
    fy, fx = row - np.float32(i), column - np.float32(j)
    for k in range(out.shape[0]):
        top = image[i, j, k] + fx * (image[i, j + 1, k] - image[i, j, k])
        bottom = image[i + 1, j, k] + fx * (image[i + 1, j + 1, k] - image[i + 1, j, k])
        out[k] = top + fy * (bottom - top)
    return True


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def key_visibility(heights, u, v, w, scale, cosine):
    """Share of the key light in [0, 1] that reaches a point: cubic B-spline average of 4 x 4 soft depth comparisons.

    heights: (Z, Z) shadow map in mm. u, v: place from the map's centre in texels; w: height along the light, mm; scale:
    texels per mm; cosine: of the angle between normal and light, which sets how steep the map is.
    """
    size = heights.shape[0]
    middle = np.float32(0.5) * np.float32(size - 1)
    u, v = u + middle, v + middle
    i, j = int(np.floor(v)), int(np.floor(u))
    if i < 1 or j < 1 or i + 2 >= size or j + 2 >= size:
        return np.float32(1.0)
    fy, fx = v - np.float32(i), u - np.float32(j)
    sine = np.sqrt(max(np.float32(1.0) - cosine * cosine, np.float32(0.0)))
    steep = min(sine / max(cosine, np.float32(0.25)), np.float32(3.0))
    limit = w + np.float32(SHADOW_BIAS) + steep / scale
    gy, gx = np.float32(1.0) - fy, np.float32(1.0) - fx
    sixth = np.float32(1.0 / 6.0)
    y0, y3 = gy * gy * gy * sixth, fy * fy * fy * sixth
    y1 = (np.float32(4.0) - np.float32(6.0) * fy * fy + np.float32(3.0) * fy * fy * fy) * sixth
    x0, x3 = gx * gx * gx * sixth, fx * fx * fx * sixth
    x1 = (np.float32(4.0) - np.float32(6.0) * fx * fx + np.float32(3.0) * fx * fx * fx) * sixth
    weights_y = (y0, y1, np.float32(1.0) - y0 - y1 - y3, y3)
    weights_x = (x0, x1, np.float32(1.0) - x0 - x1 - x3, x3)
    shade = np.float32(0.0)
    for p in range(4):
        for q in range(4):
            over = (heights[i + p - 1, j + q - 1] - limit) * np.float32(1.0 / SHADOW_RAMP)
            if over > 0.0:
                shade += weights_y[p] * weights_x[q] * min(over, np.float32(1.0))
    return np.float32(1.0) - shade


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def _ramp(value, width):
    return min(max(value / width + np.float32(0.5), np.float32(0.0)), np.float32(1.0))


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def eye_colour(x, y, z, eye, pixel_mm, axes, key, colour):
    """Paint a point of an eyeball into `colour` (3,); returns the cornea's normal in the head frame.

    x, y, z: direction from the eyeball's centre in the head frame, any length. eye: `EyeAndMouthLook.parameters`.
    axes: (3, 3) head to view frame. key: (3,) direction of the key light in the view frame.
    """
    one = np.float32(1.0)
    length = one / np.sqrt(x * x + y * y + z * z)
    x, y, z = x * length, y * length, z * length
    gx, gy, gz = eye[0], eye[1], eye[2]
    along = x * gx + y * gy + z * gz
    ex, ey, ez = x - along * gx, y - along * gy, z - along * gz
    sine = np.sqrt(ex * ex + ey * ey + ez * ez) if along > 0.0 else one
    radius = sine / np.float32(IRIS_SINE)
    width = max(np.float32(0.10), pixel_mm / np.float32(5.9))
    inside = _ramp(one - radius, width)
    pupil = _ramp(eye[9] - radius, width)
    limbus = np.exp(-((radius - np.float32(0.97)) ** 2) / np.float32(0.018)) * eye[10]
    # Angle around the iris, for its fibres; away from the light the iris glows, as the cornea bends light there.
    angle = np.arctan2(ey, ex)
    fibres = one + eye[13] * (np.sin(31.0 * angle + 4.0 * np.sin(5.0 * angle + eye[12])) * np.float32(0.6))
    lx = axes[0, 0] * key[0] + axes[1, 0] * key[1] + axes[2, 0] * key[2]
    ly = axes[0, 1] * key[0] + axes[1, 1] * key[1] + axes[2, 1] * key[2]
    glow = one - np.float32(1.1) * (ex * lx + ey * ly)
    collar = np.exp(-((radius - np.float32(0.55)) ** 2) / np.float32(0.02))
    outer = max(radius - one, np.float32(0.0))
    redness = min(outer * outer * eye[8], np.float32(0.6))
    vein = np.sin(19.0 * y + 7.0 * np.sin(9.0 * x + eye[12])) * np.sin(23.0 * x + 5.0 * np.sin(13.0 * y))
    redness += max(vein - np.float32(0.75), np.float32(0.0)) * eye[8] * min(outer, one) * np.float32(3.0)
    for k in range(3):
        white = eye[5 + k] * (one - redness * (np.float32(0.05), np.float32(0.75), np.float32(0.65))[k])
        warm = (np.float32(0.45), np.float32(0.25), np.float32(0.0))[k]
        iris = eye[16 + k] * fibres * glow * (one + warm * collar)
        blend = white + (iris - white) * inside
        blend *= one - limbus
        colour[k] = blend + (np.float32(0.004) - blend) * pupil
    # The cornea bulges: its normal turns faster than the eyeball's.
    bulge = _ramp(np.float32(1.15) - radius, np.float32(0.25)) * np.float32(CORNEA_CURVATURE - 1.0)
    nx, ny, nz = x + bulge * ex, y + bulge * ey, z + bulge * ez
    length = one / np.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * length, ny * length, nz * length


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def tooth_tone(arc, height, kind, eye, pixel_mm, colour):
    """Darken `colour` (3,) between teeth and redden it to gums.

    arc: mm from the midline along the teeth; height: mm from their biting edge toward the gum; kind: UPPER, LOWER or
    anything else, which stays as it is. eye: `EyeAndMouthLook.parameters`.
    """
    if kind < UPPER - 0.4 or kind > LOWER + 0.4:
        return
    one = np.float32(1.0)
    size = eye[19] if kind < 1.5 else eye[19] * np.float32(0.78)
    s = abs(arc) / size
    k = 0
    while k + 2 < TOOTH_BORDERS.shape[0] and s > TOOTH_BORDERS[k + 1]:
        k += 1
    to_gap = min(s - TOOTH_BORDERS[k], TOOTH_BORDERS[k + 1] - s) * size
    across = (s - TOOTH_BORDERS[k]) / (TOOTH_BORDERS[k + 1] - TOOTH_BORDERS[k]) - np.float32(0.5)
    width = max(np.float32(0.45), np.float32(0.6) * pixel_mm)
    gap = np.exp(-((to_gap / width) ** 2)) * min(np.float32(0.45) / width, one) * np.float32(0.5)
    gum_line = eye[20] - np.float32(5.0) * across * across
    gum = _ramp(height - gum_line, max(np.float32(0.8), pixel_mm))
    tone = one - gap * (one - gum)
    for channel in range(3):
        pink = (np.float32(0.36), np.float32(0.13), np.float32(0.12))[channel]
        colour[channel] = (colour[channel] + (pink - colour[channel]) * gum) * tone


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def _basis(x, y, z, basis):
    basis[0] = _C0
    basis[1] = _C1 * y
    basis[2] = _C1 * z
    basis[3] = _C1 * x
    basis[4] = _C2 * x * y
    basis[5] = _C2 * y * z
    basis[6] = _C3 * (_THREE * z * z - _ONE)
    basis[7] = _C2 * x * z
    basis[8] = _C4 * (x * x - y * y)


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def _rim_distance(material, triangle_index, i, j, step, reach, kind):
    """Rows from pixel (i, j) to the first one of another material than `kind`, upwards (step -1) or down; at most
    `reach`."""
    for k in range(1, reach):
        row = i + step * k
        if row < 0 or row >= triangle_index.shape[0]:
            return reach
        t = triangle_index[row, j]
        if t < 0 or material[t] != kind:
            return k
    return reach


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def shade_pixels(
    triangle_index: NDArray,
    pixels: NDArray,
    triangles: NDArray,
    material: NDArray,
    position: NDArray,
    normal: NDArray,
    albedo: NDArray,
    attributes: NDArray,
    detail: NDArray,
    detail_frame: NDArray,
    pigments: NDArray,
    eye: NDArray,
    axes: NDArray,
    view: NDArray,
    ambient: NDArray,
    reflected: NDArray,
    key_direction: NDArray,
    key_colour: NDArray,
    softness: float,
    shadow_height: NDArray,
    shadow_frame: NDArray,
    shadow_scale: float,
    shadow_strength: float,
) -> NDArray:
    """Deferred shading of one image: (H, W, 3) float32 linear radiance, 0 where no triangle of any area covers.

    triangle_index: (H, W) int32, -1 none. pixels: (V, 3) image position and camera depth. material: (F,) uint8.
    position, normal: (V, 3) in the view frame (y up, z toward the viewer), mm. albedo: (V, 3) linear. attributes: (V,
    ATTRIBUTES) ambient visibility in [0, 1] (2 marks two-sided shells), gloss, lips, lashes, shade of the casters
    outside the shadow map, and three coordinates: place on the detail map in mm (skin), direction from the eyeball's
    centre (eyes), or tooth arc, height and kind. detail: (R, C, 4) slopes around the head and up, added melanin and
    haemoglobin; detail_frame: (3,) left and top of the map in mm, texels per mm. pigments: (2, 3) absorption of melanin
    and haemoglobin. eye: `EyeAndMouthLook.parameters`. axes: (3, 3) head to view frame. view: (4,) focal length and
    centre in px, mm a pixel at the head. ambient, reflected: (9, 3) irradiance / pi and blurred radiance of the
    environment in spherical harmonics. key_direction, key_colour: (3,) key light; softness: its angular radius in rad.
    shadow_height: (Z, Z) height along the light of the nearest surface, shadow_frame: (3, 3) rows x, y, toward-light;
    shadow_scale: texels per mm.
    """
    height, width = triangle_index.shape
    out = np.zeros((height, width, 3), np.float32)
    one, zero = np.float32(1.0), np.float32(0.0)
    basis = np.zeros(9, np.float32)
    mirror = np.zeros(9, np.float32)
    colour = np.zeros(3, np.float32)
    texel = np.zeros(4, np.float32)
    kx, ky, kz = key_direction[0], key_direction[1], key_direction[2]
    pixel_mm = view[3]
    reach = max(2, int(7.0 / pixel_mm))
    soft2 = np.float32(softness * softness)
    texels, strength = np.float32(shadow_scale), np.float32(shadow_strength)
    broad = np.float32(BROAD_EXPONENT / (1.0 + BROAD_EXPONENT * soft2 / 2.0))
    narrow = np.float32(NARROW_EXPONENT / (1.0 + NARROW_EXPONENT * soft2 / 2.0))
    wet = np.float32(WET_EXPONENT / (1.0 + WET_EXPONENT * soft2 / 2.0))
    lobes = np.empty((LOBE_STEPS + 1, 3), np.float32)  # highlights by the cosine of normal and half vector
    for n in range(LOBE_STEPS + 1):
        for k, (lobe, strength_of) in enumerate(((broad, 1.2), (narrow, 1.3), (wet, 1.0))):
            lobes[n, k] = np.float32(strength_of) * (lobe + 8.0) / 8.0 * np.float32(n / LOBE_STEPS) ** lobe
    lights_up = key_colour[0] + key_colour[1] + key_colour[2] > 0.0
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
            if total == 0.0:
                continue
            inverse = one / total
            wa, wb, wc = wa * inverse, wb * inverse, wc * inverse
            nx = wa * normal[a, 0] + wb * normal[b, 0] + wc * normal[c, 0]
            ny = wa * normal[a, 1] + wb * normal[b, 1] + wc * normal[c, 1]
            nz = wa * normal[a, 2] + wb * normal[b, 2] + wc * normal[c, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-9)
            kind = material[t]
            # Toward the camera, in perspective.
            vx, vy = (view[1] - px) / view[0], (py - view[2]) / view[0]
            vz = one / np.sqrt(one + vx * vx + vy * vy)
            vx, vy = vx * vz, vy * vz
            if (kind == MOUTH or attributes[a, AMBIENT] > 1.5) and nx * vx + ny * vy + nz * vz < 0.0:  # two-sided
                length = -length
            nx, ny, nz = nx / length, ny / length, nz / length
            visible = min(wa * attributes[a, AMBIENT] + wb * attributes[b, AMBIENT] + wc * attributes[c, AMBIENT], one)
            gloss = wa * attributes[a, GLOSS] + wb * attributes[b, GLOSS] + wc * attributes[c, GLOSS]
            p0 = wa * attributes[a, PLACE] + wb * attributes[b, PLACE] + wc * attributes[c, PLACE]
            p1 = wa * attributes[a, PLACE + 1] + wb * attributes[b, PLACE + 1] + wc * attributes[c, PLACE + 1]
            for k in range(3):
                colour[k] = wa * albedo[a, k] + wb * albedo[b, k] + wc * albedo[c, k]
            dx, dy, dz = nx, ny, nz  # normal with fine relief
            sx, sy, sz = nx, ny, nz  # normal of the mirror-like layer
            lips = zero
            if kind == SKIN:
                lips = wa * attributes[a, LIPS] + wb * attributes[b, LIPS] + wc * attributes[c, LIPS]
                lash = wa * attributes[a, LASH] + wb * attributes[b, LASH] + wc * attributes[c, LASH]
                column = (p0 - detail_frame[0]) * detail_frame[2]
                row = (detail_frame[1] - p1) * detail_frame[2]
                if sample_map(detail, row, column, texel):
                    # Tangents: up along the head, and to the subject's left around it.
                    ux, uy, uz = axes[0, 1], axes[1, 1], axes[2, 1]
                    rx, ry, rz = uy * nz - uz * ny, uz * nx - ux * nz, ux * ny - uy * nx
                    # Where the skin turns level, as below the jaw, the map is stretched and has nothing to say.
                    upright = rx * rx + ry * ry + rz * rz
                    scale = one / (np.sqrt(upright) + np.float32(0.05))
                    rx, ry, rz = rx * scale, ry * scale, rz * scale
                    ux, uy, uz = ny * rz - nz * ry, nz * rx - nx * rz, nx * ry - ny * rx
                    su, sv = texel[0] * upright, texel[1] * upright
                    dx, dy, dz = nx - su * rx - sv * ux, ny - su * ry - sv * uy, nz - su * rz - sv * uz
                    scale = one / np.sqrt(dx * dx + dy * dy + dz * dz)
                    dx, dy, dz = dx * scale, dy * scale, dz * scale
                    for k in range(3):
                        absorbed = np.float32(0.25) * upright * (texel[2] * pigments[0, k] + texel[3] * pigments[1, k])
                        colour[k] *= max(one - absorbed, zero) ** 4  # near exp(-4 absorbed), and quick
                dark = one - np.float32(0.9) * lash * (np.float32(0.35) + np.float32(0.65) * eye[15])
                for k in range(3):
                    colour[k] *= dark
                sx, sy, sz = dx, dy, dz
            elif kind == EYE:
                p2 = wa * attributes[a, PLACE + 2] + wb * attributes[b, PLACE + 2] + wc * attributes[c, PLACE + 2]
                above = np.float32(_rim_distance(material, triangle_index, i, j, -1, reach, EYE)) * pixel_mm
                below = np.float32(_rim_distance(material, triangle_index, i, j, 1, reach, EYE)) * pixel_mm
                shade = one - np.float32(0.68) * np.exp(-above / np.float32(2.6))
                shade *= one - np.float32(0.3) * np.exp(-below / np.float32(1.2))
                # The corners lie deep between the lids.
                corner = min(max(abs(p0) - np.float32(0.3), zero) * np.float32(2.2), one)
                visible = shade * (one - np.float32(0.55) * corner)
                cx, cy, cz = eye_colour(p0, p1, p2, eye, pixel_mm, axes, key_direction, colour)
                sx = axes[0, 0] * cx + axes[0, 1] * cy + axes[0, 2] * cz
                sy = axes[1, 0] * cx + axes[1, 1] * cy + axes[1, 2] * cz
                sz = axes[2, 0] * cx + axes[2, 1] * cy + axes[2, 2] * cz
                for k in range(3):
                    colour[k] *= min(one, np.float32(0.45) + np.float32(0.55) * above / np.float32(1.6))
            elif kind == MOUTH:
                p2 = wa * attributes[a, PLACE + 2] + wb * attributes[b, PLACE + 2] + wc * attributes[c, PLACE + 2]
                above = np.float32(_rim_distance(material, triangle_index, i, j, -1, 2 * reach, MOUTH)) * pixel_mm
                below = np.float32(_rim_distance(material, triangle_index, i, j, 1, 2 * reach, MOUTH)) * pixel_mm
                # How far the lips are apart here tells how much light gets in, at least; the template's mouth is shut.
                opening = min(above, np.float32(14.0)) + min(below, np.float32(14.0))
                visible = one - np.exp(-opening / np.float32(6.0))
                visible *= one - np.float32(0.5) * np.exp(-above / np.float32(4.5))
                visible = max(visible * (one - np.float32(0.25) * np.exp(-below / np.float32(2.0))), np.float32(0.4))
                tooth_tone(p0, p1, p2, eye, pixel_mm, colour)

            lit = one
            cosine = nx * kx + ny * ky + nz * kz
            if lights_up and strength > 0.0 and cosine > np.float32(-0.3):
                x = wa * position[a, 0] + wb * position[b, 0] + wc * position[c, 0] + np.float32(2.5) * nx
                y = wa * position[a, 1] + wb * position[b, 1] + wc * position[c, 1] + np.float32(2.5) * ny
                z = wa * position[a, 2] + wb * position[b, 2] + wc * position[c, 2] + np.float32(2.5) * nz
                u = (shadow_frame[0, 0] * x + shadow_frame[0, 1] * y + shadow_frame[0, 2] * z) * texels
                v = (shadow_frame[1, 0] * x + shadow_frame[1, 1] * y + shadow_frame[1, 2] * z) * texels
                w = shadow_frame[2, 0] * x + shadow_frame[2, 1] * y + shadow_frame[2, 2] * z
                soft = wa * attributes[a, SHADE] + wb * attributes[b, SHADE] + wc * attributes[c, SHADE]
                lit = key_visibility(shadow_height, u, v, w, texels, cosine) * (one - soft)
                lit = one - (strength * np.float32(0.8) if kind == MOUTH else strength) * (one - lit)

            facing = max(sx * vx + sy * vy + sz * vz, np.float32(0.02))
            fine = dx * kx + dy * ky + dz * kz
            # Highlights: microfacets about the half vector, as normalised Blinn-Phong lobes.
            highlight, sheen = zero, zero
            hx, hy, hz = kx + vx, ky + vy, kz + vz
            scale = one / (np.sqrt(hx * hx + hy * hy + hz * hz) + np.float32(1e-6))
            grazing = one - (hx * vx + hy * vy + hz * vz) * scale
            grazing = grazing * grazing * grazing * grazing * max(grazing, zero)
            rim = one - facing
            rim = min(rim * rim * rim, np.float32(0.4))  # rough surfaces shade themselves at grazing angles
            if kind == EYE:
                rx, ry, rz = _TWO * facing * sx - vx, _TWO * facing * sy - vy, _TWO * facing * sz - vz
                off = max(one - (rx * kx + ry * ky + rz * kz), zero) * np.float32(2.0)  # squared angle off the light
                blur = soft2 + np.float32(0.004) + np.float32(0.012) * pixel_mm * pixel_mm
                spot = np.exp(-off * off / (blur * blur))
                highlight = np.float32(WATER_REFLECTANCE) * spot / blur
                sheen = np.float32(WATER_REFLECTANCE) + np.float32(0.25) * rim
                sheen *= min(one, above / np.float32(3.0))
            else:
                cosine_h = min(max((sx * hx + sy * hy + sz * hz) * scale, zero), one)
                if fine > 0.0:
                    n = int(cosine_h * np.float32(LOBE_STEPS) + np.float32(0.5))
                    if kind == SKIN:
                        lobe = lobes[n, 0] + min(gloss, one) * lobes[n, 1] + lips * eye[14] * lobes[n, 2]
                        lobe *= min(fine * np.float32(4.0), one) * max(fine, np.float32(0.25))
                        highlight = (np.float32(SKIN_REFLECTANCE) + grazing) * lobe
                    elif kind == MOUTH:
                        highlight = np.float32(0.03) * lobes[n, 2] * fine
                    else:
                        highlight = gloss * (np.float32(0.4) * lobes[n, 0] + np.float32(0.15) * lobes[n, 1])
                if kind == SKIN:
                    sheen = (np.float32(0.014) + np.float32(0.16) * rim) * (np.float32(0.5) + np.float32(0.6) * gloss)
                elif kind == MOUTH:
                    sheen = np.float32(0.03)
                else:
                    sheen = gloss * (np.float32(0.3) + rim)
            _basis(dx, dy, dz, basis)
            if sheen > 0.0:
                rx, ry, rz = _TWO * facing * sx - vx, _TWO * facing * sy - vy, _TWO * facing * sz - vz
                _basis(rx, ry, rz, mirror)
            for k in range(3):
                irradiance, around = zero, zero
                for h in range(9):
                    irradiance += basis[h] * ambient[h, k]
                irradiance = max(irradiance, np.float32(0.02)) * visible
                # Light that a cavity's walls send back takes their colour, so dark folds of the skin are warm.
                irradiance += irradiance * colour[k] * (one - visible) * np.float32(0.8)
                if sheen > 0.0:
                    for h in range(9):
                        around += mirror[h] * reflected[h, k]
                    around = max(around, zero) * visible * sheen
                if kind == SKIN:
                    blend = SMOOTHING[k]
                    direct = blend * cosine + (one - blend) * fine
                    direct = max((direct + WRAP[k]) / (one + WRAP[k]), zero)
                    through = lit + SPREAD[k] * lit * (one - lit)
                else:
                    direct = max(fine, zero)
                    through = lit
                irradiance += direct * through * key_colour[k]
                value = colour[k] * irradiance + highlight * lit * key_colour[k] + around
                # One broken pixel must not decide the exposure of the picture.
                out[i, j, k] = value if np.isfinite(value) else zero
    return out
