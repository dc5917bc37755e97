"""Strands of hair composited over a rendered scene: Kajiya-Kay shading, soft coverage, sorted from front to back."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.compilation import njit
from facerecon.geometry.spherical_harmonics import SH_CONSTANTS
from facerecon.synthesis.hair import HairLayers
from facerecon.synthesis.kernels import FLAGS
from facerecon.synthesis.lighting import Light
from facerecon.synthesis.rendering import Camera, Rendering
from facerecon.synthesis.strands import SKULL_CENTRE, Strands

SLICES = 512  # depth slices that segments are sorted into
FULL = 0.985  # alpha behind which nothing is seen
LABEL_BLUR = 1.0  # standard deviation, px at 256 px, of what outlines of labelled hair leave out
DEPTH_BIAS = 2.5  # mm by which a strand may lie behind the skin it grows on
_C0, _C1, _C2, _C3, _C4 = (float(SH_CONSTANTS[k]) for k in (0, 1, 4, 6, 8))


def composite_hair(
    rng: Generator, rendering: Rendering, layers: HairLayers, camera: Camera, light: Light, size: int
) -> Rendering:
    """Draw layers over a rendering of size x size pixels by the same camera and light.

    `opacity` of the result is the share of each pixel that scene or hair covers; radiance there is what covers it.
    Labels and depth change where hair that carries a label covers more than half, labels along smoothed outlines.
    """
    colour = np.zeros((size, size, 3), np.float32)
    alpha, marked = np.zeros((2, size, size), np.float32)
    nearest = np.full((size, size), np.inf, np.float32)
    labels, depth = rendering.labels.copy(), rendering.depth.copy()
    for strands in reversed(layers.strands):  # what lies in front first
        if len(strands.points):
            draw_layer(rng, strands, camera, light, rendering.depth, colour, alpha, marked, nearest)
        if strands.label is not None:
            # Labelled by hand, hair has smooth outlines: single strands beside it and gaps in it do not count.
            soft = cv2.GaussianBlur(marked, (0, 0), LABEL_BLUR * size / 256.0)
            labels[(soft > 0.5) & (marked > 0.1)] = strands.label
    opacity = rendering.coverage().copy()
    radiance = rendering.radiance.copy()
    lay_over(radiance, opacity, depth, colour, alpha, marked, nearest)
    return replace(
        rendering, radiance=radiance, labels=labels, depth=depth, covered=rendering.covered | (opacity > 0.5),
        opacity=opacity,
    )  # fmt: skip


@njit(cache=True)
def lay_over(
    radiance: NDArray,
    opacity: NDArray,
    depth: NDArray,
    colour: NDArray,
    alpha: NDArray,
    marked: NDArray,
    nearest: NDArray,
) -> None:
    """Lay premultiplied colour over radiance that fills the share `opacity` of each pixel; all in place."""
    for row in range(alpha.shape[0]):
        for column in range(alpha.shape[1]):
            a = alpha[row, column]
            if a <= 0.0:
                continue
            below = opacity[row, column] * (np.float32(1.0) - a)
            total = max(a + below, np.float32(1e-4))
            for c in range(3):
                radiance[row, column, c] = (colour[row, column, c] + radiance[row, column, c] * below) / total
            opacity[row, column] = total
            if marked[row, column] > 0.5:
                depth[row, column] = min(depth[row, column], nearest[row, column])


def draw_layer(
    rng: Generator, strands: Strands, camera: Camera, light: Light, scene_depth: NDArray, colour: NDArray,
    alpha: NDArray, marked: NDArray, nearest: NDArray,
) -> None:  # fmt: skip
    """Accumulate strands in premultiplied colour (S, S, 3) and alpha (S, S), in place.

    marked: (S, S) alpha of labelled strands alone; nearest: (S, S) mm, depth of the nearest of them.
    """
    count, points = strands.points.shape[:2]
    flat = strands.points.reshape(-1, 3)
    view = camera.view(flat).astype(np.float32).reshape(count, points, 3)
    pixels = camera.project(flat).astype(np.float32).reshape(count, points, 3)
    centre = camera.view(np.float32([SKULL_CENTRE]))[0]
    down = camera.view(np.float32([[0.0, -1.0, 0.0]]))[0]
    gleam = rng.normal(0.0, 0.12, count).astype(np.float32)
    radiance = shade_strands(
        view, centre, down, strands.colours, strands.layer, gleam, light.ambient, light.direction, light.colour
    )
    order = sorted_segments(pixels, scene_depth)
    draw_segments(
        pixels, strands.half_width * np.float32(camera.focal), strands.opacity, radiance, order, scene_depth, colour,
        alpha, marked, nearest, strands.label is not None,
    )  # fmt: skip


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def shade_strands(
    view: NDArray,
    centre: NDArray,
    down: NDArray,
    colours: NDArray,
    layer: NDArray,
    gleam: NDArray,
    ambient: NDArray,
    direction: NDArray,
    key: NDArray,
) -> NDArray:
    """Radiance (N, P, 3) of strands (N, P, 3) in the view frame by Kajiya and Kay (1989) with two highlights.

    centre, down: the skull's centre and the head's down in the view frame: what lies outwards of a strand decides
    which part of the light reaches it. gleam: (N,) shift of the highlights along the strand.
    """
    count, points = view.shape[0], view.shape[1]
    out = np.empty((count, points, 3), np.float32)
    hx, hy, hz = direction[0], direction[1], direction[2] + np.float32(1.0)
    h = np.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / h, hy / h, hz / h
    for n in range(count):
        # Pale hair scatters light on, down to its inner strands; black hair swallows it.
        floor = np.float32(0.22) + np.float32(0.6) * (colours[n, 0] + colours[n, 1] + colours[n, 2]) / np.float32(3.0)
        open_sky = floor + (np.float32(1.0) - floor) * layer[n]
        for k in range(points):
            before, after = max(k - 1, 0), min(k + 1, points - 1)
            tx = view[n, after, 0] - view[n, before, 0]
            ty = view[n, after, 1] - view[n, before, 1]
            tz = view[n, after, 2] - view[n, before, 2]
            t = np.sqrt(tx * tx + ty * ty + tz * tz) + np.float32(1e-6)
            tx, ty, tz = tx / t, ty / t, tz / t
            nx, ny, nz = view[n, k, 0] - centre[0], view[n, k, 1] - centre[1], view[n, k, 2] - centre[2]
            below = nx * down[0] + ny * down[1] + nz * down[2]
            if below > 0.0:  # hanging hair faces sideways
                nx, ny, nz = nx - below * down[0], ny - below * down[1], nz - below * down[2]
            r = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6)
            nx, ny, nz = nx / r, ny / r, nz / r
            facing = nx * direction[0] + ny * direction[1] + nz * direction[2]
            lit = max((facing + np.float32(0.3)) / np.float32(1.3), np.float32(0.0)) * open_sky
            along = tx * direction[0] + ty * direction[1] + tz * direction[2]
            diffuse = np.float32(0.35) + np.float32(0.65) * np.sqrt(
                max(np.float32(1.0) - along * along, np.float32(0.0))
            )
            shift = tx * hx + ty * hy + tz * hz + gleam[n]
            first = max(np.float32(1.0) - (shift - np.float32(0.1)) ** 2, np.float32(0.0)) ** 40
            second = max(np.float32(1.0) - (shift + np.float32(0.15)) ** 2, np.float32(0.0)) ** 10
            for c in range(3):
                irradiance = (
                    _C0 * ambient[0, c] + _C1 * (ny * ambient[1, c] + nz * ambient[2, c] + nx * ambient[3, c])
                    + _C2 * (nx * ny * ambient[4, c] + ny * nz * ambient[5, c] + nx * nz * ambient[7, c])
                    + _C3 * (3.0 * nz * nz - 1.0) * ambient[6, c] + _C4 * (nx * nx - ny * ny) * ambient[8, c]
                )  # fmt: skip
                base = colours[n, c]
                out[n, k, c] = base * max(irradiance, np.float32(0.02)) * open_sky + lit * key[c] * (
                    base * (np.float32(0.8) * diffuse + np.float32(0.9) * second) + np.float32(0.035) * first
                )
    return out


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def sorted_segments(pixels: NDArray, scene_depth: NDArray) -> NDArray:
    """Segments of strands (N, P, 3) px, px, mm as n * (P - 1) + k, near ones first; those out of sight are left out."""
    count, points = pixels.shape[0], pixels.shape[1]
    size = scene_depth.shape[0]
    slices = np.full(count * (points - 1), -1, np.int32)
    low, high = np.float32(1e9), np.float32(-1e9)
    for n in range(count):
        for k in range(points):
            low, high = min(low, pixels[n, k, 2]), max(high, pixels[n, k, 2])
    scale = (SLICES - 1) / max(high - low, np.float32(1e-3))
    found = np.zeros(SLICES + 1, np.int64)
    for n in range(count):
        for k in range(points - 1):
            x = (pixels[n, k, 0] + pixels[n, k + 1, 0]) * np.float32(0.5)
            y = (pixels[n, k, 1] + pixels[n, k + 1, 1]) * np.float32(0.5)
            z = (pixels[n, k, 2] + pixels[n, k + 1, 2]) * np.float32(0.5)
            if x < -8.0 or y < -8.0 or x >= size + 8.0 or y >= size + 8.0 or low <= 10.0:
                continue
            column, row = min(max(int(x), 0), size - 1), min(max(int(y), 0), size - 1)
            if z > scene_depth[row, column] + np.float32(25.0):
                continue
            place = int((z - low) * scale)
            slices[n * (points - 1) + k] = place
            found[place + 1] += 1
    for place in range(SLICES):
        found[place + 1] += found[place]
    order = np.empty(found[SLICES], np.int32)
    for segment in range(slices.shape[0]):
        place = slices[segment]
        if place >= 0:
            order[found[place]] = segment
            found[place] += 1
    return order


@njit(cache=True, error_model="numpy", fastmath=FLAGS)
def draw_segments(
    pixels: NDArray,
    half_width: NDArray,
    opacity: NDArray,
    radiance: NDArray,
    order: NDArray,
    scene_depth: NDArray,
    colour: NDArray,
    alpha: NDArray,
    marked: NDArray,
    nearest: NDArray,
    labelled: bool,
) -> None:
    """Lay segments, near ones first, under what is drawn already where they lie before the scene.

    half_width: (N,) mm times the focal length. labelled: whether they count in `marked` and `nearest`.
    """
    size = scene_depth.shape[0]
    points = pixels.shape[1]
    for m in range(order.shape[0]):
        n = order[m] // (points - 1)
        k = order[m] - n * (points - 1)
        ax, ay, az = pixels[n, k, 0], pixels[n, k, 1], pixels[n, k, 2]
        bx, by, bz = pixels[n, k + 1, 0], pixels[n, k + 1, 1], pixels[n, k + 1, 2]
        dx, dy = bx - ax, by - ay
        steep = abs(dy) >= abs(dx)
        if not steep:  # run along columns instead of rows
            ax, ay, bx, by, dx, dy = ay, ax, by, bx, dy, dx
        if abs(dy) < 1e-4:
            continue
        at = np.float32(k) / np.float32(points - 1)
        taper = np.float32(1.0) - at * at * np.float32(0.75)
        row, column = int((ay + by) * np.float32(0.5)), int((ax + bx) * np.float32(0.5))
        if not steep:
            row, column = column, row
        if 0 <= row < size and 0 <= column < size and alpha[row, column] > np.float32(FULL):
            r0, c0, r1, c1 = int(ay), int(ax), int(by), int(bx)
            if not steep:
                r0, c0, r1, c1 = c0, r0, c1, r1
            inside = min(min(r0, c0), min(r1, c1)) >= 0 and max(max(r0, c0), max(r1, c1)) < size
            if inside and alpha[r0, c0] > np.float32(FULL) and alpha[r1, c1] > np.float32(FULL):
                continue
        slope = dx / dy
        half = half_width[n] / az * taper * np.sqrt(np.float32(1.0) + slope * slope)
        strength = opacity[n] * (np.float32(1.0) - np.float32(0.5) * at * at * at)
        if k == 0:
            strength *= np.float32(0.7)
        if half < 0.5:  # thinner than a pixel: as wide as one, but fainter
            strength *= max(half * np.float32(2.0), np.float32(0.1))
            half = np.float32(0.5)
        first, last = (ay, by) if dy > 0.0 else (by, ay)
        low, high = max(int(np.ceil(first - 0.5)), 0), min(int(np.ceil(last - 0.5)), size)
        for line in range(low, high):
            f = (np.float32(line) + np.float32(0.5) - ay) / dy
            x = ax + f * dx
            z = az + f * (bz - az)
            left, right = x - half, x + half
            for cell in range(max(int(np.floor(left)), 0), min(int(np.floor(right)) + 1, size)):
                cover = min(np.float32(cell + 1), right) - max(np.float32(cell), left)
                row, column = (line, cell) if steep else (cell, line)
                if alpha[row, column] > np.float32(FULL) or z - np.float32(DEPTH_BIAS) > scene_depth[row, column]:
                    continue
                a = strength * cover
                if a <= 0.0:
                    continue
                a *= np.float32(1.0) - alpha[row, column]
                for c in range(3):
                    colour[row, column, c] += (
                        radiance[n, k, c] * (np.float32(1.0) - f) + radiance[n, k + 1, c] * f
                    ) * a
                alpha[row, column] += a
                if labelled:
                    marked[row, column] += a
                    if a > 0.1:
                        nearest[row, column] = min(nearest[row, column], z)
