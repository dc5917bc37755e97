"""One person's skin: pigment over the whole head, and fine relief and spots on a map of the face.

The map unrolls the front of the head onto a cylinder: columns go around it, rows down it, so that pores, wrinkles and
moles stick to the skin whatever the expression. `morphable.skin` has the skin of the face model's own albedo; this one
is drawn finer, and its melanin is less saturated: what a camera sees of dark skin is partly light from its surface.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.compilation import njit
from facerecon.morphable.skin import SkinParameters, brow_map
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.wrinkles import draw_wrinkles

if TYPE_CHECKING:
    from facerecon.synthesis.head_surface import HeadSurface

# Linear reflectance without pigment and absorption per unit of melanin and haemoglobin, so that melanin 0.1 to 2.4
# spans the measured skin colours from pale to very dark.
PIGMENT_FREE = np.array([0.80, 0.63, 0.49], np.float32)
PIGMENTS = np.array([[0.58, 0.74, 0.88], [0.10, 0.60, 0.47]], np.float32)

TEXEL = 0.6  # mm
LEFT, TOP = -150.0, 130.0  # mm, corner of the map
COLUMNS, ROWS = 500, 360
CYLINDER_RADIUS, CYLINDER_DEPTH = 85.0, -70.0  # mm: radius of the unrolled cylinder and z of its axis on the template
CANVAS = 1024  # texels a side of the noise that people's maps are cut from
FIELD_LENGTHS = (28.0, 11.0, 5.0)  # mm, correlation lengths of the pigments' blotches
FIELDS = 10  # random fields a length, of which people get random mixtures


@dataclass(frozen=True)
class SkinDetail:
    """texels: (ROWS, COLUMNS, 4) slope around the head, slope up, added melanin, added haemoglobin."""

    texels: NDArray[np.float32]

    def at(self, pixel_mm: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The map averaged to pixels of a size in mm, and its frame (3,): left and top in mm, texels per mm."""
        factor = min(1.0, TEXEL / max(pixel_mm, 1e-3) * 1.3)
        if factor > 0.95:
            return self.texels, np.array([LEFT, TOP, 1.0 / TEXEL], np.float32)
        shape = round(COLUMNS * factor), round(ROWS * factor)
        texels = cv2.resize(self.texels, shape, interpolation=cv2.INTER_AREA)
        scale = shape[0] / (COLUMNS * TEXEL)
        return texels, np.array([LEFT + 0.5 / scale, TOP - 0.5 / scale, scale], np.float32)


def map_places(template: NDArray) -> NDArray[np.float32]:
    """(V, 2) places on the map in mm, around (to the subject's left) and up, of template points (V, 3)."""
    x, y, z = np.asarray(template, np.float32).T
    return np.stack([CYLINDER_RADIUS * np.arctan2(x, z - CYLINDER_DEPTH), y], 1).astype(np.float32)


def pigment_fields(template: NDArray) -> NDArray[np.float32]:
    """(lengths, FIELDS, V) independent smooth fields of unit variance on the template, the same in every process.

    Random mixtures of them with unit-norm weights stand for fields drawn anew, which take a hundred times as long.
    """
    rng = np.random.default_rng(20240)
    fields = np.empty((len(FIELD_LENGTHS), FIELDS, len(template)), np.float32)
    points = np.asarray(template, np.float32)
    for number, length in enumerate(FIELD_LENGTHS):
        waves = rng.normal(0.0, 1.0 / length, (60, 3)).astype(np.float32)
        phases = np.cos(points @ waves.T + rng.uniform(0.0, 2.0 * np.pi, 60).astype(np.float32))
        weights = rng.standard_normal((60, FIELDS)).astype(np.float32) * np.float32(np.sqrt(2.0 / 60.0))
        fields[number] = (phases @ weights).T
    return fields


def paint_skin(
    rng: Generator, surface: "HeadSurface", parameters: SkinParameters, age: float, male: bool
) -> NDArray[np.float32]:
    """(V, 3) linear albedo of the whole head's skin with the shade of the brows, but without beard and scalp hair;
    other parts hold skin colour as well.

    age: years.
    """
    p, zones = parameters, surface.zones
    mottled = 1.0 + 0.6 * np.clip((age - 40.0) / 40.0, 0.0, 1.0)
    melanin = 1.0 + 0.45 * p.melanin_variation * mottled * _mixture(rng, surface.fields, (0.9, 0.6, 0.4))
    haemoglobin = 1.0 + 1.2 * p.haemoglobin_variation * mottled * _mixture(rng, surface.fields, (0.7, 0.8, 0.6))
    melanin *= p.melanin * (1.0 + 0.10 * zones["eyelids"] + rng.uniform(-0.05, 0.15) * zones["forehead"])
    haemoglobin *= 0.08 + 0.45 * p.haemoglobin
    circles = p.eye_circles + 0.15 * np.clip((age - 30.0) / 50.0, 0.0, 1.0)
    # Dark skin shows circles and lips by melanin, fair skin by blood.
    melanin += circles * (0.25 + 0.3 * p.melanin) * zones["under_eye"] + (0.05 + 0.12 * p.melanin) * zones["lips"]
    haemoglobin += 0.45 * circles * zones["under_eye"] + 0.25 * zones["lids"]
    lips = 0.8 * p.lips * (0.75 + (0.0 if male else rng.uniform(0.0, 0.35)))
    haemoglobin += (lips + 0.10) * zones["lips"]
    haemoglobin += (0.04 + 0.6 * p.cheeks) * zones["cheeks"] + (0.06 + 0.6 * p.nose) * zones["nose"]
    haemoglobin += 0.14 * zones["ears"] + 0.05 * zones["chin"]
    colours = np.empty((len(melanin), 3), np.float32)
    for k in range(3):
        colours[:, k] = PIGMENT_FREE[k] * np.exp(-PIGMENTS[0, k] * melanin - PIGMENTS[1, k] * haemoglobin)
    at = surface.brow_vertices
    cover = p.brow * brow_map(surface.template[at], p.brow_arch, p.brow_width).astype(np.float32)[:, None]
    colours[at] += (p.hair.astype(np.float32) - colours[at]) * cover
    if not male and age > 14.0 and chance(rng, 0.3):
        _make_up(rng, zones, colours)
    return colours


def skin_gloss(rng: Generator, surface: "HeadSurface", age: float) -> NDArray[np.float32]:
    """(V,) oiliness in [0, 1], most on forehead, nose and chin; drier with age."""
    zones = surface.zones
    level = rng.beta(1.8, 2.6) * (1.0 - 0.35 * np.clip((age - 30.0) / 50.0, 0.0, 1.0))
    shiny = 0.75 * zones["forehead"] + 0.9 * zones["nose"] + 0.45 * zones["chin"] + 0.35 * zones["cheeks"]
    return np.clip(level * (0.35 + shiny) + 0.35 * zones["lips"], 0.0, 1.0).astype(np.float32)


def sample_skin_detail(rng: Generator, parameters: SkinParameters, age: float, male: bool) -> SkinDetail:
    """Pores, fine unevenness, wrinkles by age, freckles, moles, blemishes and age spots of one person. age: years."""
    noise = _noise_canvas()
    row, column = rng.integers(0, CANVAS - ROWS), rng.integers(0, CANVAS - COLUMNS)
    window = noise[:, row : row + ROWS, column : column + COLUMNS]
    if chance(rng, 0.5):
        window = window[:, :, ::-1]
    window = np.ascontiguousarray(window)
    old = float(np.clip((age - 20.0) / 60.0, 0.0, 1.0))
    spots, redness = _spots(rng, parameters, age)
    relief = draw_wrinkles(rng, age, (ROWS, COLUMNS), (LEFT, TOP), TEXEL)
    child = float(np.clip((age - 8.0) / 12.0, 0.15, 1.0))
    strengths = np.array(
        [
            child * rng.uniform(0.02, 0.05) * (1.25 if male else 1.0),  # pores, mm RMS
            child * rng.uniform(0.02, 0.06) * (1.0 + 0.8 * old),  # unevenness, mm RMS
            (0.03 + 0.04 * old) * max(parameters.melanin, 0.25),  # melanin mottling
            rng.uniform(0.02, 0.055) * (1.0 + 0.5 * old),  # blood mottling
            0.6 * parameters.freckles,
        ],
        np.float32,
    )
    return SkinDetail(_assemble(window, relief, spots, redness, strengths, _fade(), TEXEL))


@njit(cache=True, error_model="numpy")
def _assemble(noise, relief, spots, redness, strengths, fade, texel):
    """(ROWS, COLUMNS, 4) texels from the layers; see SkinDetail."""
    rows, columns = relief.shape
    out = np.zeros((rows, columns, 4), np.float32)
    heights = np.zeros((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            height = relief[i, j] + strengths[0] * noise[0, i, j] + strengths[1] * noise[1, i, j]
            heights[i, j] = height * fade[i, j]
            freckle = max(noise[4, i, j] - np.float32(1.2), np.float32(0.0)) * strengths[4]
            crease = max(-relief[i, j], np.float32(0.0))  # little light gets in, and what comes out is red
            melanin = strengths[2] * noise[2, i, j] + spots[i, j] + freckle + np.float32(0.25) * crease
            out[i, j, 2] = melanin * fade[i, j]
            out[i, j, 3] = (strengths[3] * noise[3, i, j] + redness[i, j] + np.float32(0.35) * crease) * fade[i, j]
    half = np.float32(0.5 / texel)
    for i in range(1, rows - 1):
        for j in range(1, columns - 1):
            out[i, j, 0] = (heights[i, j + 1] - heights[i, j - 1]) * half
            out[i, j, 1] = (heights[i - 1, j] - heights[i + 1, j]) * half
    return out


@cache
def _fade() -> NDArray[np.float32]:
    """(ROWS, COLUMNS) 1 inside the map, 0 at its rim."""
    x = np.clip(np.minimum(np.arange(COLUMNS), np.arange(COLUMNS)[::-1]) * TEXEL / 15.0, 0.0, 1.0)
    y = np.clip(np.minimum(np.arange(ROWS), np.arange(ROWS)[::-1]) * TEXEL / 10.0, 0.0, 1.0)
    return (y[:, None] * x).astype(np.float32)


@cache
def _noise_canvas() -> NDArray[np.float32]:
    """(5, CANVAS, CANVAS) periodic random layers of unit variance, the same in every process: pores, unevenness,
    melanin, blood, freckles."""
    rng = np.random.default_rng(40961)
    frequency = np.fft.fftfreq(CANVAS, TEXEL)[:, None] ** 2 + np.fft.rfftfreq(CANVAS, TEXEL)[None] ** 2
    frequency = np.sqrt(frequency) + 1e-6  # cycles a mm
    shapes = (
        np.exp(-0.5 * ((frequency - 0.55) / 0.22) ** 2),
        np.exp(-0.5 * (np.log(frequency / 0.13) / 0.6) ** 2) / frequency**0.5,
        np.exp(-0.5 * (np.log(frequency / 0.15) / 1.1) ** 2) / frequency**0.6,
        np.exp(-0.5 * (np.log(frequency / 0.12) / 1.0) ** 2) / frequency**0.7,
        np.exp(-0.5 * (np.log(frequency / 0.34) / 0.35) ** 2),
    )
    canvas = np.empty((len(shapes), CANVAS, CANVAS), np.float32)
    for layer, shape in zip(canvas, shapes, strict=True):
        spectrum = np.fft.rfft2(rng.standard_normal((CANVAS, CANVAS)).astype(np.float32)) * shape
        field = np.fft.irfft2(spectrum, (CANVAS, CANVAS))
        layer[:] = field / field.std()
    return canvas


def _mixture(rng: Generator, fields: NDArray, amplitudes: tuple[float, ...]) -> NDArray[np.float32]:
    """(V,) field of about unit variance: random mixtures of the fields of each length."""
    weights = rng.standard_normal(fields.shape[:2])
    shares = np.array(amplitudes) / np.linalg.norm(amplitudes)
    weights *= (shares / np.linalg.norm(weights, axis=1))[:, None]
    return weights.astype(np.float32).ravel() @ fields.reshape(-1, fields.shape[2])


def _spots(rng: Generator, parameters: SkinParameters, age: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(ROWS, COLUMNS) added melanin of moles and age spots, and added blood of blemishes."""
    pigment, blood = np.zeros((ROWS, COLUMNS), np.uint8), np.zeros((ROWS, COLUMNS), np.uint8)
    draws = [(pigment, 0.6, 1.5, 255) for _ in range(rng.poisson(4.0))]
    draws += [(pigment, 1.0, 3.5, 60) for _ in range(rng.poisson(max(0.0, (age - 50.0) / 4.0)))]
    draws += [(blood, 0.8, 2.2, 160) for _ in range(rng.poisson(rng.exponential(7.0) if age < 30.0 else 1.5))]
    for canvas, least, most, value in draws:
        centre = np.array([rng.uniform(-95.0, 95.0), rng.uniform(-70.0, 105.0)])
        radius = rng.uniform(least, most) * rng.uniform(0.6, 1.0)
        at = np.round((np.array([centre[0] - LEFT, TOP - centre[1]]) / TEXEL) * 16).astype(int)
        strength = int(value * rng.uniform(0.4, 1.0))
        cv2.circle(canvas, at.tolist(), round(radius / TEXEL * 16), strength, -1, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(pigment, (5, 5), 0.9).astype(np.float32) * np.float32(1.8 / 255.0)
    red = cv2.GaussianBlur(blood, (7, 7), 1.6).astype(np.float32) * np.float32(0.9 / 255.0)
    return soft * np.float32(0.6 + 0.4 * parameters.melanin), red


def _make_up(rng: Generator, zones: dict[str, NDArray], colours: NDArray) -> None:
    """Lipstick, eye shadow and blush in place. colours: (V, 3)."""
    if chance(rng, 0.7):
        lipstick = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.03, 0.16), rng.uniform(0.04, 0.16)])
        opacity = (rng.uniform(0.2, 0.8) * zones["lips"])[:, None]
        colours += (lipstick.astype(np.float32) - colours) * opacity.astype(np.float32)
    shade = (rng.uniform(0.0, 0.6) * zones["upper_lid"])[:, None]
    tint = np.array([rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.9)])
    colours *= (1.0 - shade * (1.0 - 0.5 * tint)).astype(np.float32)
