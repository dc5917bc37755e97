"""Glasses in 3D: frames that stand on nose and ears, and lenses that tint, bend and mirror what lies behind them."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.geometry.spherical_harmonics import sh_basis
from facerecon.render.rasterize import rasterize
from facerecon.synthesis.head_surface import CLASS
from facerecon.synthesis.lighting import Light
from facerecon.synthesis.palettes import from_hsv
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.rendering import Camera, Rendering
from facerecon.synthesis.shapes import Mesh, coloured, merge, tube, unit

OUTLINE_POINTS = 41
DARK_LENS = 0.4  # transmission below which the eyes count as hidden
MEAN_EYE_DISTANCE = 88.0  # mm between the outer eye corners of the mean face

# Outlines by name: half width and half height, mm; exponent of the superellipse; widening toward the top; lift of the
# outer upper corner, as shares of the half sizes; sag of the lower inner side.
OUTLINES: dict[str, tuple[float, float, float, float, float, float]] = {
    "round": (22.5, 21.5, 2.0, 0.0, 0.0, 0.0),
    "panto": (24.0, 21.0, 2.3, 0.10, 0.0, 0.0),
    "oval": (25.5, 17.0, 2.2, 0.0, 0.0, 0.0),
    "rectangular": (26.5, 15.5, 4.0, 0.03, 0.03, 0.0),
    "wayfarer": (26.5, 20.0, 3.3, 0.12, 0.12, 0.0),
    "cat_eye": (27.0, 19.0, 2.7, 0.10, 0.32, 0.0),
    "aviator": (28.5, 23.5, 2.5, 0.10, 0.0, 0.18),
    "square": (27.5, 22.0, 4.5, 0.05, 0.05, 0.0),
}


@dataclass(frozen=True)
class Lens:
    """One lens in the head frame: outline (n, 3) mm, centre (3,), normal (3,) away from the face."""

    outline: NDArray[np.float32]
    centre: NDArray[np.float32]
    normal: NDArray[np.float32]


@dataclass(frozen=True)
class Glasses:
    """frame: mesh. lenses: right then left. transmission: (3,) at the middle; fading: by which share the lower edge is
    lighter and the upper one darker. coating: (3,) colour of mirrored light, relative to bare glass. power:
    magnification less 1. streak: strength of a mirrored lamp, phase and width of its band."""

    frame: Mesh
    lenses: tuple[Lens, Lens]
    transmission: NDArray[np.float32]
    fading: float
    coating: NDArray[np.float32]
    power: float
    streak: tuple[float, float, float, float]

    @property
    def dark(self) -> bool:
        """Whether the eyes behind the lenses count as hidden."""
        return float(self.transmission.mean()) < DARK_LENS


def sample_glasses(rng: Generator, landmarks: NDArray, ears: NDArray) -> Glasses:
    """Draw glasses that fit a head. landmarks: (68, 3) mm. ears: (2, 3) tops of the right and the left ear, mm."""
    name = list(OUTLINES)[rng.integers(len(OUTLINES))]
    sun = chance(rng, 0.5 if name == "aviator" else 0.28)
    size = (
        np.linalg.norm(landmarks[45] - landmarks[36])
        / MEAN_EYE_DISTANCE
        * rng.uniform(0.92, 1.1)
        * (1.06 if sun else 1.0)
    )
    colour, radius, flat, style = _material(rng, name)
    bridge = rng.uniform(8.5, 11.0) * size
    half_width = OUTLINES[name][0] * size
    nose, brow = landmarks[27], max(landmarks[19:25, 2])
    forward = max(float(landmarks[36:48, 2].mean() + rng.uniform(13.0, 17.0)), float(brow) + 2.5 - 6.0)
    height = float(landmarks[36:48, 1].mean()) + rng.uniform(-6.0, 1.0)
    tilt = rng.uniform(0.06, 0.16)  # pantoscopic: the lower edge lies nearer to the cheeks
    wrap = rng.uniform(0.03, 0.12) + (0.1 if sun else 0.0)
    lenses, pieces = [], []
    shift = 0.5 * (landmarks[39, 0] + landmarks[42, 0])
    for side, ear in ((-1.0, ears[0]), (1.0, ears[1])):
        outline = _outline(name, size) * [side, 1.0]
        centre = np.array([shift + side * (bridge + half_width), height, forward])
        depth = -wrap * side * outline[:, 0] + tilt * outline[:, 1] - 0.002 * (outline**2).sum(1) + 1.0
        points = centre + np.column_stack([outline, depth])
        normal = np.array([side * wrap, -tilt, 1.0])
        lenses.append(Lens(points.astype(np.float32), centre.astype(np.float32), unit(normal).astype(np.float32)))
        if style == "full":
            pieces.append(tube(points, radius, flat))
        elif style == "half":
            upper = points[outline[:, 1] > -2.0]
            order = np.argsort(upper[:, 0])
            pieces.append(tube(upper[order], radius, flat))
        hinge = points[np.argmax(side * points[:, 0] + 0.3 * points[:, 1])] + [side * 1.5, 0.0, -1.0]
        pieces.append(tube(_temple(hinge, ear, side), min(radius, 1.6), 1.8 if flat > 1.2 else 1.0))
    inner = [
        points.outline[np.argmin(side * points.outline[:, 0] - 0.2 * points.outline[:, 1])]
        for side, points in zip((-1.0, 1.0), lenses, strict=True)
    ]
    across = np.linspace(inner[0], inner[1], 7)
    rise = np.sin(np.linspace(0.0, np.pi, 7))
    across[:, 1] += rise * 2.5
    across[:, 2] = np.maximum(across[:, 2] + rise * 1.5, nose[2] + 2.0)
    pieces.append(tube(across, radius, flat))
    if name == "aviator":
        pieces.append(tube(across + [0.0, 7.0, -1.0], radius, 1.0))
    frame = merge([coloured(*piece, colour, CLASS["eye_g"], gloss=0.12) for piece in pieces])
    return Glasses(frame, (lenses[0], lenses[1]), *_optics(rng, sun))


def _material(rng: Generator, name: str) -> tuple[NDArray[np.float32], float, float, str]:
    """Colour, half thickness in mm, how much taller than deep the rim is, and style of a frame."""
    kind = rng.random()
    if name == "aviator" or kind < 0.38:  # metal
        colour = [np.full(3, 0.02), np.full(3, 0.35), np.array([0.5, 0.36, 0.14]), np.array([0.12, 0.08, 0.06])]
        return np.float32(colour[rng.integers(4)]), rng.uniform(0.5, 1.0), 1.0, "half" if chance(rng, 0.25) else "full"
    if kind < 0.48:
        return np.full(3, 0.3, np.float32), 0.5, 1.0, "rimless"
    if kind < 0.8:
        colour = from_hsv(rng.uniform(0, 60), rng.uniform(0.0, 0.5), rng.uniform(0.05, 0.22))  # black, tortoise
    else:
        colour = from_hsv(rng.uniform(0, 360), rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.8))
    return colour, rng.uniform(1.1, 2.6), rng.uniform(1.0, 1.4), "full"


def _optics(rng: Generator, sun: bool) -> tuple[NDArray[np.float32], float, NDArray[np.float32], float, tuple]:
    streak = (
        float(rng.uniform(0.1, 1.2)) if chance(rng, 0.45) else 0.0,
        float(rng.uniform(0.0, 2.0 * np.pi)), float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.1, 0.45)),
    )  # fmt: skip
    if sun:
        level = np.exp(rng.uniform(np.log(0.015), np.log(0.25)))
        tint = from_hsv(rng.choice([30.0, 35.0, 100.0, 210.0]), rng.uniform(0.0, 0.5), 1.0)
        mirror = np.ones(3) * (rng.uniform(1.0, 8.0) if chance(rng, 0.25) else 1.0)
        return np.float32(level * tint), rng.uniform(0.0, 0.8), np.float32(mirror), 0.0, streak
    coating = np.array([[1.0, 1.0, 1.0], [0.35, 0.8, 0.45], [0.5, 0.4, 0.9]])[rng.integers(3)]
    return (
        np.float32(rng.uniform(0.86, 0.96) * np.ones(3)),
        0.0,
        np.float32(coating),
        float(rng.normal(-0.01, 0.02)),
        streak,
    )


def _outline(name: str, size: float) -> NDArray[np.float64]:
    """(OUTLINE_POINTS, 2) closed outline of the left lens, mm: x outwards, y up."""
    half_width, half_height, power, top, lift, sag = OUTLINES[name]
    turn = np.linspace(0.0, 2.0 * np.pi, OUTLINE_POINTS)
    cosine, sine = np.cos(turn), np.sin(turn)
    x = np.sign(cosine) * np.abs(cosine) ** (2.0 / power)
    y = np.sign(sine) * np.abs(sine) ** (2.0 / power)
    x, y = x * (1.0 + top * y), y + lift * np.clip(x, 0.0, 1.0) ** 2 * np.clip(y, 0.0, 1.0)
    y = y - sag * np.clip(x, 0.0, 1.0) * np.clip(-y, 0.0, 1.0)
    return np.stack([x * half_width, y * half_height], 1) * size


def _temple(hinge: NDArray, ear: NDArray, side: float) -> NDArray[np.float64]:
    """(14, 3) from the hinge over the ear and down behind it."""
    top = ear + [side * 1.0, 3.0, 4.0]
    straight = np.linspace(hinge, top, 10)
    bow = np.sin(np.linspace(0.0, np.pi, 10))
    straight[:, 0] += side * 4.0 * bow
    hook = top + np.array([[-side, -5.0, -9.0], [-2.0 * side, -14.0, -15.0], [-3.0 * side, -26.0, -18.0]])
    return np.concatenate([straight, hook])


def look_through(rendering: Rendering, glasses: Glasses, camera: Camera, light: Light) -> Rendering:
    """Put the lenses in front of a rendering with the frame: tint, refraction, mirrored surroundings and lamp.

    A lens before the background covers the share of it that it does not let through; `opacity` says so.

    All pixels of the lenses become `eye_g`. Clear lenses leave the depth behind them, so that landmarks there count as
    visible; dark ones cover it.
    """
    size = rendering.depth.shape[0]
    for lens in glasses.lenses:
        rows, columns, depth = _seen(lens, rendering.depth, camera, size)
        if not len(rows):
            continue
        rendering = _through(rendering, lens, glasses, camera, light, rows, columns, depth)
    return rendering


def _seen(lens: Lens, scene: NDArray, camera: Camera, size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Rows, columns and depths, mm, of the pixels in which a lens lies before everything else."""
    pixels = camera.project(np.concatenate([lens.outline, lens.centre[None] + lens.normal * 2.0]).astype(np.float32))
    low = np.floor(pixels[:, :2].min(0)).astype(int).clip(0, size)
    high = np.ceil(pixels[:, :2].max(0)).astype(int).clip(0, size)
    if (high - low < 1).any():
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    pixels[:, :2] -= low
    count = len(lens.outline)
    fan = np.stack([np.full(count - 1, count), np.arange(count - 1), np.arange(1, count)], 1).astype(np.int32)
    width, height = int(high[0] - low[0]), int(high[1] - low[1])
    index, depth = rasterize(torch.from_numpy(pixels)[None], fan, height, width, cull=False)
    index, depth = index[0].numpy(), depth[0].numpy()
    window = scene[low[1] : high[1], low[0] : high[0]]
    rows, columns = np.nonzero((index >= 0) & (depth < window + 1.0))
    return rows + low[1], columns + low[0], depth[rows, columns]


def _through(
    rendering: Rendering, lens: Lens, glasses: Glasses, camera: Camera, light: Light, rows: NDArray, columns: NDArray,
    depth: NDArray,
) -> Rendering:  # fmt: skip
    axis = camera.view(lens.normal[None])[0]
    centre = camera.project(lens.centre[None])[0]
    radius = 27.0 * camera.focal / centre[2]
    u, v = (columns + 0.5 - centre[0]) / radius, (rows + 0.5 - centre[1]) / radius
    radiance, labels, distance = rendering.radiance.copy(), rendering.labels.copy(), rendering.depth
    opacity = rendering.coverage().copy()
    if abs(glasses.power) > 0.004:
        factor = 1.0 / (1.0 + glasses.power)
        column = (centre[0] + u * radius * factor - 0.5).astype(np.float32)
        row = (centre[1] + v * radius * factor - 0.5).astype(np.float32)
        below = _looked_up(opacity, row, column)[:, None]
        behind = _looked_up(radiance * opacity[..., None], row, column)
    else:
        below = opacity[rows, columns][:, None]
        behind = radiance[rows, columns] * below
    transmission = np.clip(glasses.transmission * (1.0 + glasses.fading * np.clip(v, -1.0, 1.0)[:, None]), 0.0, 1.0)
    normal = axis + 0.22 * np.column_stack([u, -v, np.zeros_like(u)])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    eye = np.array([0.0, 0.0, 1.0])
    cosine = np.clip(normal @ eye, 0.02, 1.0)
    mirrored = 2.0 * cosine[:, None] * normal - eye
    around = np.maximum(sh_basis(mirrored) @ light.reflected(), 0.02)
    fresnel = 0.045 + 0.955 * (1.0 - cosine) ** 5
    reflected = around * fresnel[:, None]
    strength, angle, offset, width = glasses.streak
    if strength > 0.0:  # a window or a lamp with straight edges
        across = np.cos(angle) * u + np.sin(angle) * v - offset
        along = -np.sin(angle) * u + np.cos(angle) * v
        band = np.clip((width - np.abs(across + 0.2 * along * along)) * 12.0, 0.0, 1.0) * np.clip(
            (0.75 - np.abs(along)) * 8.0, 0, 1
        )
        reflected = reflected + (band * strength * 0.12)[:, None] * (light.colour + light.ambient[0] * 0.3)
    # Of the background behind a lens there remains what passes; the rest of the pixel is the lens and what it shows.
    total = 1.0 - (1.0 - below) * transmission.mean(1, keepdims=True)
    radiance[rows, columns] = (behind * transmission + reflected * glasses.coating) / total
    opacity[rows, columns] = total[:, 0]
    labels[rows, columns] = CLASS["eye_g"]
    if glasses.dark:
        distance = distance.copy()
        distance[rows, columns] = depth
    return replace(rendering, radiance=radiance, labels=labels, depth=distance, opacity=opacity)


def _looked_up(image: NDArray, row: NDArray, column: NDArray) -> NDArray[np.float32]:
    """Bilinear samples (n,) or (n, C) of an image (S, S) or (S, S, C)."""
    return cv2.remap(image, column[None], row[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
