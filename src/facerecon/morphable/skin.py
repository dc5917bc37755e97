"""Procedural skin albedo: absorption by melanin and haemoglobin with facial maps, brows and stubble.

Everything is a function of a point's place on the head generator's template (mm, head frame), so one skin fits every
head and every resolution. The maps were placed by hand on the template.
"""

from dataclasses import dataclass

import numpy as np

from facerecon.morphable.head import HeadIdentity

# Linear RGB reflectance of pigment-free skin and absorption per unit of melanin and haemoglobin (relative units; the
# ratios follow the pigments' absorption in the red, green and blue bands: Jacques 2013, "Optical properties of
# biological tissues").
PIGMENT_FREE = np.array([0.80, 0.66, 0.58], dtype=np.float32)
MELANIN = np.array([0.42, 0.72, 1.05], dtype=np.float32)
HAEMOGLOBIN = np.array([0.10, 0.62, 0.48], dtype=np.float32)

DARK_HAIR = (0.020, 0.015, 0.012)
LIGHT_HAIRS = ((0.16, 0.09, 0.045), (0.06, 0.03, 0.015), (0.28, 0.19, 0.10), (0.18, 0.06, 0.02))
GREY_HAIR = (0.42, 0.40, 0.38)
BROWN_IRISES = ((0.05, 0.025, 0.012), (0.10, 0.05, 0.02))
LIGHT_IRISES = ((0.09, 0.13, 0.18), (0.07, 0.11, 0.06), (0.12, 0.14, 0.15))
FAIR_MELANIN = 0.6  # below it hair, eyes and freckles of fair skin occur

# Brow centre line and half-width over |x| on the template.
BROW_X = np.array([9.0, 16.0, 25.0, 34.0, 42.0, 51.0])
BROW_Y = np.array([54.0, 57.0, 59.5, 60.5, 59.0, 54.0])
BROW_ARCH = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 0.0])
BROW_HALF_WIDTH = np.array([3.4, 3.9, 3.6, 3.0, 2.4, 1.0])

DARKEST, BRIGHTEST = 0.004, 0.95


@dataclass(frozen=True)
class SkinParameters:
    """One person's skin, hair and eye colour. Strengths are relative: 0 is absent, 1 strong; colours are linear RGB.

    melanin: 0.03 very fair to 2.4 very dark. haemoglobin: overall redness. lips, cheeks, nose: added redness there.
    brow: opacity of the brows; brow_width: factor on their width; brow_arch: mm that their outer part is raised.
    beard: opacity of stubble. eye_circles: darkness below the eyes. freckles: strength (drawn only in fine detail).
    melanin_variation, haemoglobin_variation: relative spread of smooth blotches.
    hair: (3,) colour of brows, beard and painted hair. iris: (3,) colour of the iris.
    """

    melanin: float
    haemoglobin: float
    lips: float
    cheeks: float
    nose: float
    brow: float
    brow_width: float
    brow_arch: float
    beard: float
    eye_circles: float
    freckles: float
    melanin_variation: float
    haemoglobin_variation: float
    hair: np.ndarray
    iris: np.ndarray


def sample_skin(rng: np.random.Generator, identity: HeadIdentity) -> SkinParameters:
    """Random skin of a head: melanin follows ancestry with a wide spread, beards sex, grey hair age."""
    melanin = float(np.clip(identity.ancestry @ [1.75, 0.55, 0.24] * rng.lognormal(0, 0.4), 0.03, 2.4))
    fair = melanin < FAIR_MELANIN
    male = identity.sex > 0.5
    hair = np.array(LIGHT_HAIRS[rng.integers(4)] if fair and rng.random() < 0.5 else DARK_HAIR)
    hair = hair * rng.lognormal(0, 0.2)
    grey = np.clip((identity.age - 40) / 40 + rng.normal(0, 0.25), 0, 1)
    hair = hair + grey**2 * (np.array(GREY_HAIR) - hair)
    light_eyes = fair and rng.random() < 0.6
    irises = LIGHT_IRISES if light_eyes else BROWN_IRISES
    iris = np.array(irises[rng.integers(len(irises))]) * rng.lognormal(0, 0.25) * rng.lognormal(0, 0.08, 3)
    parameters = SkinParameters(
        melanin=melanin,
        haemoglobin=float(rng.uniform(0.25, 0.8)),
        lips=float(rng.uniform(0.35, 1.0) + (0 if male else 0.5 * rng.random())),
        cheeks=float(abs(rng.normal(0, 0.22))),
        nose=float(abs(rng.normal(0, 0.15))),
        brow=float(rng.uniform(0.35, 0.97)),
        brow_width=float(rng.uniform(0.7, 1.35) * (1 if male else 0.8)),
        brow_arch=float(rng.normal(0, 1)),
        beard=float(max(0, rng.normal(0.15, 0.35))) if male else 0.0,
        eye_circles=float(abs(rng.normal(0, 0.18))),
        freckles=float(max(0, rng.normal(-0.3, 0.5))) if fair else 0.0,
        melanin_variation=float(rng.uniform(0.03, 0.10)),
        haemoglobin_variation=float(rng.uniform(0.04, 0.12)),
        hair=np.clip(hair, 0.005, 0.6),
        iris=np.clip(iris, 0.005, 0.4),
    )
    rng.normal()  # drawn for nothing: without it every head of a seed would look different from here on
    return parameters


def skin_albedo(
    points: np.ndarray,
    masks: dict[str, np.ndarray],
    parameters: SkinParameters,
    rng: np.random.Generator,
    detail: bool = False,
) -> np.ndarray:
    """Albedo (N, 3) float32, linear RGB in [0.004, 0.95], of skin at template points (N, 3), mm.

    masks: lips, ears and eyelids -> (N,) in [0, 1] at the points. rng: source of the blotches (and of the detail).
    detail: add pores, freckles and single brow and beard hairs, which need a sampling of about 1 mm.
    """
    points = np.asarray(points, dtype=np.float32)
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    p = parameters
    lips, ears, eyelids = (np.asarray(masks[name], dtype=np.float32) for name in ("lips", "ears", "eyelids"))

    melanin = p.melanin * (
        1 + p.melanin_variation * (smooth_noise(points, 30, rng) + 0.6 * smooth_noise(points, 8, rng))
    )
    haemoglobin = p.haemoglobin * (
        1 + p.haemoglobin_variation * (smooth_noise(points, 22, rng) + 0.7 * smooth_noise(points, 6, rng))
    )
    haemoglobin = haemoglobin + p.cheeks * _bump(x - 42, 14) * _bump(y - 7, 14) * (z > -42)
    haemoglobin = haemoglobin + p.nose * _bump(x, 13) * _bump(y, 10) * (z > 18) + 0.25 * ears
    circles = p.eye_circles * _bump(x - 31, 11.5) * _bump(y - 28, 5.5) * (z > -22)
    melanin = melanin * (1 + 0.12 * eyelids) + 0.5 * circles + 0.15 * lips
    haemoglobin = haemoglobin + 0.4 * circles + p.lips * lips
    if detail:
        melanin = melanin * (1 + 0.05 * smooth_noise(points, 2.0, rng, 96))
        haemoglobin = haemoglobin * (1 + 0.05 * smooth_noise(points, 1.2, rng, 96))
        spots = np.maximum(0, smooth_noise(points, 1.6, rng, 128) - 1.3)
        melanin = melanin + p.freckles * spots * _bump(y - 15, 22) * (x < 60) * (z > -42)
    albedo = PIGMENT_FREE * np.exp(-melanin[:, None] * MELANIN - haemoglobin[:, None] * HAEMOGLOBIN)

    beard = p.beard * _beard_map(x, y, z) * (1 - np.clip(1.6 * lips, 0, 1))
    brow = p.brow * brow_map(points, p.brow_arch, p.brow_width)
    if detail:
        beard = beard * (1 + 0.25 * smooth_noise(points, 1.0, rng, 96))
        hairs = smooth_noise(points * np.array([1.6, 0.5, 1.0], dtype=np.float32), 0.55, rng, 160)
        brow = np.clip(brow * (1 + 0.16 * hairs), 0, 1)
    hair_colour = p.hair.astype(np.float32)
    albedo = _blend(albedo, 0.9 * hair_colour + 0.02, np.clip(beard, 0, 0.85))
    albedo = _blend(albedo, hair_colour, brow)
    return np.clip(albedo, DARKEST, BRIGHTEST).astype(np.float32)


def brow_map(points: np.ndarray, arch: float = 0.0, width: float = 1.0) -> np.ndarray:
    """Brow strength (N,) in [0, 1] at template points (N, 3): a soft band about the brow line.

    arch: mm that the outer part is raised; width: factor on the band's width.
    """
    x = np.abs(points[:, 0])
    half_width = width * np.interp(x, BROW_X, BROW_HALF_WIDTH)
    inside = _step((half_width - np.abs(points[:, 1] - brow_line(x, arch))) * 1.6)
    return inside * _step((x - 8) * 1.2) * _step(52 - x) * (points[:, 2] > -32)


def brow_line(x: np.ndarray, arch: float = 0.0) -> np.ndarray:
    """Height y, mm, of the brows' centre line over |x|, mm, on the template; constant beyond its ends."""
    return np.interp(np.abs(x), BROW_X, BROW_Y + arch * BROW_ARCH)


def hair_map(points: np.ndarray, ears: np.ndarray) -> np.ndarray:
    """Where scalp hair grows (N,) in [0, 1] at template points (N, 3): behind the hairline, at temples and back.

    ears: (N,) mask of the ears, which stay bare.
    """
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    off_ears = 1 - np.clip(4 * ears, 0, 1)
    front = _step((y - (105 - 0.010 * x**2)) / 3)
    temples = _step((-50 - z + 0.35 * (y - 50)) / 4) * _step((y - 15) / 4) * _step((x - 55) / 3)
    back = _step((-102 - z) / 6) * _step((y + 20) / 5)
    return np.clip(front + temples + back, 0, 1) * off_ears


def smooth_noise(points: np.ndarray, length: float, rng: np.random.Generator, terms: int = 48) -> np.ndarray:
    """Smooth random field (N,) at points (N, 3): mean 0, variance 1, Gaussian correlation of scale `length`.

    A sum of `terms` random cosines (random Fourier features, Rahimi & Recht 2007); the draw depends on `rng` only.
    """
    frequencies = rng.normal(0, 1 / length, (terms, 3)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, terms).astype(np.float32)
    waves = np.cos(np.asarray(points, dtype=np.float32) @ frequencies.T + phases)
    return np.sqrt(2 / terms).astype(np.float32) * waves.sum(1)


def _beard_map(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where stubble grows: chin, jaw and moustache, in front of the ears and below the cheeks."""
    chin = _step((-22 - y) / 6)
    jaw = _step((x - 28) / 5) * _step((0.25 * x - y) / 5)
    moustache = _bump(y + 13, 4) * _bump(x, 20)
    return _step((-2 - y) / 3) * _step((z + 70) / 6) * np.clip(chin + jaw + moustache, 0, 1)


def _blend(under: np.ndarray, over: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return under + (over - under) * opacity[:, None]


def _bump(value: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * (value / width) ** 2)


def _step(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))
