"""Scalp hair as strands: the style of a person grown on a head."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.hair_styles import HairStyle, growth, mixed_colours, step
from facerecon.synthesis.head_surface import CLASS, HeadSurface
from facerecon.synthesis.shapes import Mesh, unit
from facerecon.synthesis.strands import (
    SKULL_CENTRE,
    Strands,
    body_map,
    candidate_roots,
    curl_offsets,
    flatten_under_hat,
    grow_guides,
    ribbons,
    scalp_bundles,
    skull_map,
    wisps,
)

NO_BODY = np.zeros((0, 3), np.float32)
SHORTEST_LOOSE = 30.0  # mm: shorter hair does not fall over the face
LOWEST_HAIR = -100.0  # y, mm, below which no hair is rooted
STRANDS = {"afro": 6000, "buzz": 6500, "crop": 5500, "ringlets": 3200}  # of other kinds MOST_STRANDS
MOST_STRANDS = 4200
HALF_WIDTHS = {"buzz": 0.17, "crop": 0.42, "afro": 0.45}  # mm; a strand stands for a lock of dozens of hairs
MOST_POINTS = 32  # of a strand: six a turn of its curls, as far as they go
CROWN = (0.0, 150.0, -105.0)  # template, mm: where hair that is not parted spreads from


@dataclass(frozen=True)
class HairLayers:
    """strands: what `hair_rendering.composite_hair` draws, first below. casters: meshes that shade the face."""

    strands: list[Strands]
    casters: list[Mesh]


@dataclass
class _Guides:
    """Guide strands before they grow; arrays (G,) or (G, 3) as in `strands.grow_guides`. held: (G,) False where a guide
    is left out of what is gathered or swept off the face."""

    template: NDArray
    place: NDArray
    normal: NDArray
    comb: NDArray
    length: NDArray
    lift: NDArray
    rise: NDArray
    weight: NDArray
    free: NDArray
    side: NDArray
    held: NDArray


def hair_layers(
    rng: Generator,
    surface: HeadSurface,
    head_vertices: NDArray,
    style: HairStyle,
    landmarks: NDArray,
    hat_rim: tuple[float, float] | None = None,
    loose: bool = False,
    body: NDArray | None = None,
) -> HairLayers:
    """Strands of a person's hair on a head (V, 3) with landmarks (68, 3), mm, in the head frame.

    The strands are those of the style's seed; rng moves them a little from photograph to photograph. hat_rim: heights
    y, mm, at forehead and back of the head above which a hat presses the hair down. loose: whether some wisps have
    fallen over the face. body: (B, 3) vertices of neck and shoulders, mm, that long hair glides over.
    """
    if style.kind is None:
        return HairLayers([], [])
    if hat_rim is not None:
        style = replace(style, lift=min(style.lift, 1.5), mess=min(style.mess, 1.0), curl=min(style.curl, 2.5))
    own = np.random.default_rng(style.seed)
    roots = candidate_roots(surface, "scalp")
    dense = growth(roots.template, style)
    accepted = np.flatnonzero(dense > own.uniform(0.08, 0.9, len(dense)))[: STRANDS.get(style.kind, MOST_STRANDS)]
    if not len(accepted):
        return HairLayers([], [])
    _, first, parent = np.unique(scalp_bundles(surface)[accepted], return_index=True, return_inverse=True)
    roots = roots.pick(accepted)
    place, normal = roots.place(head_vertices)
    guides = _comb(own, rng, style, roots.template[first], place[first], normal[first])
    if loose and style.length > SHORTEST_LOOSE:
        _loosen(rng, guides)
    if hat_rim is not None:
        _press(guides, hat_rim)
    radius = skull_map(surface, head_vertices, not style.tucked)
    paths = _grow(
        own, style, guides, radius, body_map(NO_BODY if body is None else body), float(landmarks[17:27, 1].max()) + 25.0
    )
    casters = _casters(paths[dense[accepted][first] > 0.6], style)
    if style.curl > 0.0:
        paths = paths + _curls(own, style, paths, guides.length)

    layer = own.random(len(parent), np.float32)
    offsets = place - place[first][parent]
    points = wisps(own, paths, parent, offsets, layer, style.clump, 0.35, style.mess, style.lift)
    if hat_rim is not None:
        flatten_under_hat(points, radius, *hat_rim, 2.0)
    colours = mixed_colours(own, style.colour, style.grey, len(parent))
    colours *= np.exp(own.normal(0.0, 0.10, len(paths)))[parent, None].astype(np.float32)
    # Inner strands are broad and fill what lies between the fine outer ones.
    width = HALF_WIDTHS.get(style.kind, 0.6) * (own.uniform(0.4, 1.1, len(parent)) + 1.6 * (1.0 - layer) ** 3)
    opacity = own.uniform(0.6, 0.95, len(parent)) * np.clip(dense[accepted] * 1.3, 0.35, 1.0)
    strands = [Strands(points, width.astype(np.float32), colours, opacity.astype(np.float32), layer, CLASS["hair"])]
    if style.gathered is not None and (hat_rim is None or style.gathered[1] < hat_rim[1]):
        strands.append(_tail(own, surface, head_vertices, style))
    return HairLayers(strands, casters)


def _comb(
    own: Generator, rng: Generator, style: HairStyle, template: NDArray, place: NDArray, normal: NDArray
) -> _Guides:
    """Guides at roots (G, 3) on the template and on the head, combed and cut as the style says."""
    count = len(place)
    x, y, z = template.T
    zero, one = np.zeros(count), np.ones(count)
    on_top = step((y - 85.0) / 8.0)
    length = style.sides + (style.length - style.sides) * on_top
    side = np.where(x > style.parting + own.normal(0.0, 2.0, count), 1.0, -1.0)
    comb = style.crown * unit(template - np.float32(CROWN))
    comb += style.lateral * np.stack([side * on_top, -0.3 * one, zero], 1)
    comb += style.forward * np.stack([zero, zero, on_top], 1)
    comb[:, 1] -= (1.0 - on_top) * 0.8
    if style.gathered is not None:
        goal = place[np.argmin(((template - style.gathered) ** 2).sum(1))]
        comb = goal - place
        length = np.linalg.norm(comb, axis=1) * 1.15 + 8.0
    fringe = np.zeros(count, bool)
    if style.fringe > 0.0:
        fringe = (z > -25.0 - 0.2 * style.fringe) & (np.abs(x) < 52.0) & (y > 95.0)
        sweep = np.clip(0.012 * (x - style.parting), -0.8, 0.8)
        comb = np.where(fringe[:, None], np.stack([sweep, -0.4 * one, one], 1), comb)
        length = np.where(fringe, style.fringe + np.maximum(-z, 0.0) * 0.8, length)
    comb = unit(comb) + own.normal(0.0, 0.05 + 0.03 * style.mess, comb.shape) + rng.normal(0.0, 0.03, comb.shape)
    return _Guides(
        template=template,
        place=place,
        normal=normal,
        comb=unit(comb - (comb * normal).sum(1, keepdims=True) * normal),
        length=length * own.uniform(0.8, 1.05, count),
        lift=style.lift * own.uniform(0.15, 1.0, count) * (0.5 + 0.5 * on_top),
        rise=style.rise * np.where(fringe, 0.6, 1.0),
        weight=style.weight * own.uniform(0.7, 1.3, count) + np.where(fringe, 0.01, 0.0),
        free=np.where(fringe, 0.0, style.opening * own.uniform(0.85, 1.1, count)),
        side=side,
        held=~fringe,
    )


def _loosen(rng: Generator, guides: _Guides) -> None:
    """Let some of the front hair fall over the face, in place."""
    count = len(guides.place)
    fallen = (guides.template[:, 2] > -60.0) & (rng.random(count) < rng.uniform(0.02, 0.18))
    astray = np.stack([rng.normal(0.0, 0.7, count), np.full(count, -0.2), np.ones(count)], 1)
    astray -= (astray * guides.normal).sum(1, keepdims=True) * guides.normal
    guides.comb[fallen] = unit(astray)[fallen]
    guides.length = np.where(fallen, np.maximum(guides.length, rng.uniform(50.0, 220.0, count)), guides.length)
    guides.weight = np.where(fallen, 0.02, guides.weight)
    guides.free = np.where(fallen, 0.0, guides.free)
    guides.held &= ~fallen


def _press(guides: _Guides, hat_rim: tuple[float, float]) -> None:
    """Lay the hair under a hat flat and keep it off the forehead, in place."""
    front, back = hat_rim
    height, depth = guides.place[:, 1], guides.place[:, 2]
    under = height > back + (front - back) * np.clip((depth + 170.0) / 190.0, 0.0, 1.0)
    guides.lift = np.where(under, 1.0, np.minimum(guides.lift, 8.0))
    guides.rise = np.where(under, 0.0, guides.rise)
    guides.weight = guides.weight + np.where(under, 0.02, 0.0)
    guides.length = np.where(under & (depth > -30.0), np.minimum(guides.length, 15.0), guides.length)
    if back < LOWEST_HAIR:  # a hood
        guides.length = np.minimum(guides.length, 60.0)


def _grow(
    own: Generator, style: HairStyle, guides: _Guides, radius: NDArray, below: NDArray, face_top: float
) -> NDArray[np.float32]:
    """(G, P, 3) mm; P grows with the number of curls. radius: the skull map; below: the body map. face_top: y, mm."""
    turns = max(style.length, style.sides) / style.pitch if style.curl > 0.0 else 0.0
    points = int(np.clip(6.0 * turns, 12.0, MOST_POINTS))
    paths = grow_guides(
        guides.place, guides.normal, guides.comb, guides.length, guides.lift, guides.rise, guides.weight, style.hold,
        guides.free, guides.side, style.backward, face_top, radius, below, points,
    )  # fmt: skip
    if style.gathered is None:
        return paths
    goal = guides.place[np.argmin(((guides.template - style.gathered) ** 2).sum(1))]
    closing = np.where(guides.held[:, None, None], np.linspace(0.0, 1.0, points)[:, None] ** 2, 0.0)
    ends = goal + own.normal(0.0, 5.0, (len(paths), 1, 3))
    return (paths * (1.0 - closing) + ends * closing).astype(np.float32)


def _curls(own: Generator, style: HairStyle, paths: NDArray, length: NDArray) -> NDArray[np.float32]:
    """Offsets (G, P, 3) mm of the curls, whose period is no shorter than the points can follow."""
    count, points = paths.shape[:2]
    pitch = max(style.pitch, 4.5 * max(style.length, style.sides) / points)
    return curl_offsets(
        paths,
        style.curl * own.uniform(0.6, 1.2, count),
        pitch * own.uniform(0.8, 1.2, count),
        own.uniform(0.0, 2.0 * np.pi, count),
        length / (points - 1),
    )


def _tail(own: Generator, surface: HeadSurface, head_vertices: NDArray, style: HairStyle) -> Strands:
    """The tail or bun behind the point where the hair is gathered."""
    nearest = np.argmin(((surface.template - style.gathered) ** 2).sum(1))
    start = head_vertices[nearest]
    outward = unit(start - np.float32(SKULL_CENTRE))
    if style.kind == "bun":
        count, points = 700, 12
        radius = own.uniform(20.0, 38.0)
        axis = unit(own.normal(0.0, 1.0, (count, 3)) * 0.5 + outward)
        first = unit(np.cross(axis, own.normal(0.0, 1.0, (count, 3))))
        second = np.cross(axis, first)
        tilt = own.uniform(0.1, 0.9, (count, 1, 1)) * np.pi / 2.0
        angle = np.linspace(0.0, own.uniform(1.5, 3.5, count), points).T[..., None]
        ring = np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None]
        shell = radius * own.uniform(0.85, 1.03, (count, 1, 1))
        path = start + outward * radius * 0.7 + shell * (np.sin(tilt) * ring + np.cos(tilt) * axis[:, None])
    else:
        count, points = 700, 14
        t = np.linspace(0.0, 1.0, points)[:, None] * own.uniform(0.55, 1.0, (count, 1, 1))
        bow = own.uniform(25.0, 55.0)
        middle = start + outward * bow * np.minimum(3.0 * t, 1.0) ** 0.7
        middle = middle + np.array([own.normal(0.0, 25.0), -style.length, -10.0]) * t**1.3
        spread = (3.0 + own.uniform(12.0, 26.0) * np.sqrt(t) * (1.15 - t)) * own.normal(0.0, 0.6, (count, 1, 3))
        path = middle + spread
        if style.curl > 0.0 or own.random() < 0.4:
            wave = np.sin(t * style.length / 12.0 + own.uniform(0.0, 6.3)) * own.uniform(2.0, 7.0)
            path = path + wave * own.normal([1.0, 0.0, 0.0], 0.2, (count, 1, 3))
    layer = own.random(count).astype(np.float32)
    return Strands(
        path.astype(np.float32), own.uniform(0.4, 1.1, count).astype(np.float32),
        mixed_colours(own, style.colour, style.grey, count, 0.25), np.full(count, 0.85, np.float32), layer,
        CLASS["hair"],
    )  # fmt: skip


def _casters(guides: NDArray, style: HairStyle) -> list[Mesh]:
    """Ribbons along the guides (G, P, 3) of dense hair: too coarse to be seen, fine enough for a shadow on the face."""
    if not len(guides) or (style.length < 15.0 and style.sides < 15.0):
        return []
    vertices, triangles = ribbons(guides, 2.4, 2 if guides.shape[1] < 16 else 3)
    colours = np.broadcast_to(np.asarray(style.colour, np.float32), vertices.shape)
    return [Mesh(vertices, triangles, colours, np.full(len(triangles), CLASS["hair"], np.uint8))]
