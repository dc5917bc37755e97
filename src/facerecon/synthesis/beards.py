"""Beards, moustaches and brows of one person: where they grow on the template, and their strands on a head."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.morphable.head import HeadIdentity
from facerecon.morphable.skin import SkinParameters, brow_line, brow_map
from facerecon.synthesis.hair import HairLayers
from facerecon.synthesis.hair_styles import HairStyle, mixed_colours, step
from facerecon.synthesis.head_surface import HeadSurface
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.strands import Roots, Strands, candidate_roots

CUTS = ("full", "goatee", "moustache", "chin strap", "circle")
CUT_ODDS = (0.62, 0.10, 0.10, 0.06, 0.12)
MOST_BEARD_STRANDS, MOST_BROW_STRANDS = 4200, 900


@dataclass(frozen=True)
class FacialHair:
    """What one person's beard and brows keep from photograph to photograph.

    colour: (3,) linear albedo of beard and brows; grey: share of the beard without pigment. seed: of the strands.
    cut: None without a beard. density: [0, 1]. length: mm; moustache: mm. cheek_line: mm that the beard reaches higher
    on the cheeks. rise: how far it stands off the skin, [0, 1]. curl: mm that the strands wander.
    brow: opacity; brow_arch, brow_width: as in SkinParameters; brow_length: mm.
    """

    colour: NDArray[np.float32]
    grey: float
    seed: int
    cut: str | None
    density: float
    length: float
    moustache: float
    cheek_line: float
    rise: float
    curl: float
    brow: float
    brow_arch: float
    brow_width: float
    brow_length: float


def sample_facial_hair(
    rng: Generator, identity: HeadIdentity, hair: HairStyle, parameters: SkinParameters
) -> FacialHair:
    """Beards for about 60 % of men, from a day's stubble to 8 cm; brows in a darker shade of the hair."""
    colour = np.asarray(hair.colour) * (0.55 if hair.colour.mean() > 0.1 else 0.95) * rng.lognormal(0.0, 0.12)
    cut, density, length = None, 0.0, 0.0
    grown = np.clip((identity.age - 16.0) / 8.0, 0.0, 1.0)
    if identity.sex > 0.5 and chance(rng, 0.6 * grown):
        cut = CUTS[rng.choice(len(CUTS), p=CUT_ODDS)]
        density = float(rng.uniform(0.35, 1.0) * (1.0 - 0.35 * identity.ancestry[1]))
        kind = rng.choice(3, p=(0.5, 0.35, 0.15))
        length = float((rng.uniform(0.8, 2.5), rng.uniform(2.5, 10.0), rng.uniform(10.0, 70.0))[kind])
    return FacialHair(
        colour=np.clip(colour, 0.006, 0.5).astype(np.float32),
        grey=float(np.clip(hair.grey * rng.uniform(0.7, 1.4), 0.0, 1.0)),
        seed=int(rng.integers(1 << 31)),
        cut=cut,
        density=density,
        length=length,
        moustache=float(min(length, rng.uniform(3.0, 11.0))),
        cheek_line=float(rng.normal(-3.0, 6.0)),
        rise=float(rng.uniform(0.15, 0.55)),
        curl=float(rng.uniform(0.0, 0.25) + 0.25 * identity.ancestry[0]),
        brow=float(parameters.brow),
        brow_arch=float(parameters.brow_arch),
        brow_width=float(parameters.brow_width),
        brow_length=float(rng.uniform(5.0, 9.5)),
    )


def beard_growth(template: NDArray, lips: NDArray, style: FacialHair) -> tuple[NDArray, NDArray]:
    """Density of beard and of moustache, (N,) each in [0, 1], at template points (N, 3) mm; lips: (N,) mask."""
    if style.cut is None:
        return np.zeros(len(template), np.float32), np.zeros(len(template), np.float32)
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    bare = 1.0 - np.clip(1.4 * lips, 0.0, 1.0)
    moustache = 1.5 * np.exp(-0.5 * ((y + 15.0 + 0.006 * x**2) / 4.0) ** 2) * step((29.0 - x) / 2.5)
    chin = step((-33.0 - y) / 3.5) * step((24.0 - x) / 4.0) * (z > -40.0)
    around = step((31.0 - x) / 2.5) * step((x - 22.0) / 2.5) * step((-10.0 - y) / 4.0) * (z > -40.0)
    cheeks = step((style.cheek_line - 24.0 + 0.75 * (x - 25.0) - y) / 3.5) * step((x - 22.0) / 5.0)
    cheeks = cheeks * step((z + 72.0) / 4.0) * step((28.0 - y) / 4.0)
    under = step((-30.0 - y) / 4.0) * step((z + 66.0) / 6.0)
    beard = {
        "full": chin + cheeks + under + around,
        "goatee": chin,
        "moustache": 0.0 * chin,
        "chin strap": step((-18.0 + 0.5 * (x - 45.0) - y) / 3.0) * (cheeks + under)
        + 0.7 * chin * step((-52.0 - y) / 4.0),
        "circle": chin + around,
    }[style.cut]
    if style.cut in ("goatee", "chin strap"):
        moustache = moustache * 0.4
    bald_lip = 1.0 - 0.6 * np.exp(-0.5 * ((y + 38.0) / 3.0) ** 2) * np.exp(-0.5 * ((x - 9.0) / 5.0) ** 2)
    scale = style.density * bare
    return np.clip(beard, 0.0, 1.0) * scale * bald_lip, moustache * scale


def facial_hair_paint(surface: HeadSurface, style: FacialHair) -> NDArray[np.float32]:
    """(V,) opacity of beard-coloured paint under the strands: the shade of cut hairs in the skin."""
    paint = np.zeros(len(surface.template), np.float32)
    if style.cut is not None:
        region = np.flatnonzero((surface.template[:, 1] < 30.0) & surface.is_part("skin"))
        beard, moustache = beard_growth(surface.template[region], surface.masks["lips"][region], style)
        paint[region] = np.clip(beard + moustache, 0.0, 1.0) * min(0.35 + 0.06 * style.length, 0.8)
    return paint


def beard_layers(rng: Generator, surface: HeadSurface, head_vertices: NDArray, style: FacialHair) -> HairLayers:
    """Strands of brows and beard on a head (V, 3), mm; skin keeps its label under them.

    The strands are those of the style's seed; rng moves them a little from photograph to photograph.
    """
    own = np.random.default_rng(style.seed)
    layers = [_brows(own, surface, head_vertices, style)]
    if style.cut is not None:
        layers.append(_beard(own, rng, surface, head_vertices, style))
    return HairLayers(layers, [])


def _brows(own: Generator, surface: HeadSurface, head_vertices: NDArray, style: FacialHair) -> Strands:
    roots = candidate_roots(surface, "brows")
    strength = brow_map(roots.template, style.brow_arch, style.brow_width)
    kept = np.flatnonzero(strength * style.brow > own.uniform(0.05, 1.1, len(strength)))[:MOST_BROW_STRANDS]
    roots = roots.pick(kept)
    place, normal = roots.place(head_vertices)
    x, y = roots.template[:, 0], roots.template[:, 1]
    outward = np.clip((np.abs(x) - 9.0) / 22.0, 0.0, 1.0)
    above = np.clip((y - brow_line(x, style.brow_arch)) / 3.0, -1.0, 1.0)
    # Upright at the inner end, outwards in the middle, where upper hairs lie down and lower ones stand up.
    direction = np.stack(
        [np.sign(x) * (0.35 + 0.9 * outward), 1.0 - 1.1 * outward - 0.45 * above * outward, 0.0 * x], 1
    )
    direction = direction + own.normal(0.0, 0.16, direction.shape) + 0.12 * normal
    t = np.linspace(0.0, 1.0, 5)[:, None]
    length = style.brow_length * own.uniform(0.5, 1.0, (len(kept), 1, 1)) * (1.0 - 0.3 * outward)[:, None, None]
    points = (
        place[:, None] + _tangent(direction, normal)[:, None] * t * length + normal[:, None] * (0.5 * np.sin(2.2 * t))
    )
    points[:, :, 1] -= (0.08 * length * t**2 * outward[:, None, None])[..., 0]
    count = len(kept)
    return Strands(
        points.astype(np.float32), own.uniform(0.10, 0.24, count).astype(np.float32),
        mixed_colours(own, style.colour, 0.4 * style.grey, count), own.uniform(0.35, 0.8, count).astype(np.float32),
        own.uniform(0.5, 1.0, count).astype(np.float32), None,
    )  # fmt: skip


def _beard(own: Generator, rng: Generator, surface: HeadSurface, head_vertices: NDArray, style: FacialHair) -> Strands:
    roots: Roots = candidate_roots(surface, "beard")
    lips = (surface.masks["lips"][roots.corners] * roots.weights).sum(1)
    beard, moustache = beard_growth(roots.template, lips, style)
    kept = np.flatnonzero(np.maximum(beard, moustache) > own.uniform(0.04, 0.95, len(lips)))[:MOST_BEARD_STRANDS]
    roots, on_lip = roots.pick(kept), moustache[kept] > beard[kept]
    place, normal = roots.place(head_vertices)
    count = len(kept)
    x, y = roots.template[:, 0], roots.template[:, 1]
    long = np.clip((style.length - 10.0) / 20.0, 0.0, 1.0)
    low = np.clip((-y - 5.0) / 50.0, 0.0, 1.0)  # cheeks are kept shorter than the chin
    length = np.where(on_lip, style.moustache, style.length * (1.0 - long * (1.0 - low) * 0.75)) * own.uniform(
        0.6, 1.1, count
    )
    across = np.where(on_lip, np.sign(x) * np.clip(np.abs(x) / 8.0, 0.3, 1.4), np.sign(x) * 0.15)
    direction = np.stack([across, -np.ones(count), np.where(on_lip, 0.1, 0.15)], 1)
    rise = np.where(on_lip, 0.6, 1.0) * style.rise
    direction = direction + own.normal(0.0, 0.22, direction.shape) + rng.normal(0.0, 0.03, direction.shape)
    start = _tangent(direction, normal) * (1.0 - rise)[:, None] + normal * rise[:, None]
    t = np.linspace(0.0, 1.0, 6 if style.length < 12.0 else 10)[:, None]
    run = length[:, None, None] * t
    points = place[:, None] + start[:, None] * run
    points += np.float32([0.0, -1.0, 0.0]) * run**2 / (2.0 * np.maximum(style.length, 12.0)) * 0.8
    points[:, :, 0] *= (1.0 - 0.22 * long * t[None, :, 0] ** 1.5).repeat(count, 0) if long > 0.0 else 1.0
    wander = (
        np.cumsum(own.normal(0.0, style.curl + 0.06, points.shape), 1)
        * np.sqrt(np.minimum(length, 30.0))[:, None, None]
    )
    points += 0.35 * wander * t
    layer = own.random(count).astype(np.float32)
    thick = 0.16 if style.length < 3.0 else 0.26
    return Strands(
        points.astype(np.float32), (thick * own.uniform(0.7, 1.4, count)).astype(np.float32),
        mixed_colours(own, style.colour, style.grey, count, 0.22), own.uniform(0.5, 0.9, count).astype(np.float32),
        layer, None,
    )  # fmt: skip


def _tangent(direction: NDArray, normal: NDArray) -> NDArray:
    direction = direction - (direction * normal).sum(1, keepdims=True) * normal
    return direction / (np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6)
