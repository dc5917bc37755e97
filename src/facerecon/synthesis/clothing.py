"""Clothes: cloth over the bust with necklines, collars, lapels, patterns and folds.

The cut of the cloth is decided pixel by pixel from where the pixel's surface lies on the body, so that edges and
patterns are sharper than the bust's mesh.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.bust import PlacedBust, bust_normals, load_bust_surface, seam_strip
from facerecon.synthesis.head_surface import CLASS
from facerecon.synthesis.palettes import cloth_colour
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.rendering import Camera, Rendering
from facerecon.synthesis.shapes import Mesh, grid_triangles

BODY = 200  # stands for neck or cloth in a rendering until `dress` has decided
SKIN_GLOSS = 0.3
FRONT_PIT = -62.0  # height of the pit of the neck, mm from the rim's centre

MAP_SIZE = 96  # texels a side of the maps of folds and threads

# Kinds and how often women and men wear them; children wear the same.
KINDS = ("crew", "scoop", "vneck", "shirt", "suit", "turtleneck", "hoodie", "straps", "boat")
SHARES = {"male": (26, 3, 8, 22, 20, 5, 14, 2, 0), "female": (20, 18, 14, 12, 6, 8, 8, 8, 6)}
PATTERNS = ("plain", "stripes", "columns", "checks", "dots", "print", "emblem", "knit", "heather")


@dataclass(frozen=True)
class Outfit:
    """What one person wears in one photograph. Colours are linear RGB, lengths mm.

    second: of the pattern and of a tie. inner: of the shirt under a suit. drop: how far a neckline falls below the pit
    of the neck; width: half of its width. thickness: distance of the cloth from the skin. period: of the pattern.
    """

    kind: str
    colour: NDArray[np.float32]
    second: NDArray[np.float32]
    inner: NDArray[np.float32]
    pattern: str
    period: float
    drop: float
    width: float
    thickness: float
    tie: bool
    necklace: bool
    folds: NDArray[np.float32]


def sample_outfit(rng: Generator, male: bool) -> Outfit:
    """Draw clothes."""
    shares = np.array(SHARES["male" if male else "female"], float)
    kind = KINDS[rng.choice(len(KINDS), p=shares / shares.sum())]
    colour, second, inner = cloth_colour(rng), cloth_colour(rng), cloth_colour(rng)
    if chance(rng, 0.6):  # a pattern in tones of one colour
        second = np.clip(colour * np.float32(rng.uniform(0.3, 2.5)) + np.float32(0.02), 0.0, 0.85)
    if kind == "suit":
        colour = colour * np.float32(0.25) if colour.mean() > 0.15 else colour
        if chance(rng, 0.6):
            inner = np.float32(rng.uniform(0.55, 0.8)) * np.ones(3, np.float32)
    pattern = "plain" if chance(rng, 0.5) else PATTERNS[1 + rng.integers(len(PATTERNS) - 1)]
    if kind == "suit":
        pattern = ("plain", "plain", "heather")[rng.integers(3)]
    if kind == "turtleneck" and pattern in ("dots", "print", "emblem", "columns"):
        pattern = "knit"
    drop, width = {
        "scoop": (rng.uniform(25.0, 70.0), rng.uniform(80.0, 110.0)),
        "vneck": (rng.uniform(35.0, 95.0), rng.uniform(68.0, 85.0)),
        "shirt": (rng.uniform(5.0, 55.0), 64.0),
        "suit": (rng.uniform(110.0, 170.0), 64.0),
        "straps": (rng.uniform(40.0, 80.0), rng.uniform(95.0, 120.0)),
        "boat": (rng.uniform(5.0, 25.0), rng.uniform(125.0, 150.0)),
    }.get(kind, (rng.uniform(-4.0, 12.0), rng.uniform(62.0, 74.0)))
    return Outfit(
        kind, colour, second, inner, pattern, float(rng.uniform(9.0, 45.0)), float(drop), float(width),
        float(rng.uniform(2.0, 5.0) + (6.0 if kind in ("suit", "hoodie") else 0.0)),
        chance(rng, 0.65), chance(rng, 0.06 if male else 0.3), _fold_map(rng, 0.25 if kind == "suit" else 1.0),
    )  # fmt: skip


def _fold_map(rng: Generator, strength: float) -> NDArray[np.float32]:
    """(MAP_SIZE, MAP_SIZE) brightness of folds, about 1: streaks in one or two directions that fade in and out."""
    total = np.zeros((MAP_SIZE, MAP_SIZE), np.float32)
    for across, amplitude in ((7, 0.13), (16, 0.06)):
        grid = rng.standard_normal((4, across)).astype(np.float32)
        streaks = cv2.resize(grid, (2 * MAP_SIZE, 2 * MAP_SIZE), interpolation=cv2.INTER_CUBIC)
        centre = (float(MAP_SIZE), float(MAP_SIZE))
        turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(0.0, 180.0)), 1.0)
        turned = cv2.warpAffine(streaks, turn, (2 * MAP_SIZE, 2 * MAP_SIZE), borderMode=cv2.BORDER_REFLECT)
        half = MAP_SIZE // 2
        mask = cv2.resize(rng.random((5, 5)).astype(np.float32), (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_CUBIC)
        total += (
            amplitude * turned[half : half + MAP_SIZE, half : half + MAP_SIZE] * np.clip(1.6 * mask - 0.3, 0.0, 1.2)
        )
    return np.exp(strength * (total - np.abs(total) * 0.2)).astype(np.float32)


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    """(MAP_SIZE, MAP_SIZE) noise of unit variance: the uneven threads of melange and knits."""
    noise = np.random.default_rng(11).standard_normal((MAP_SIZE, MAP_SIZE)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.6, borderType=cv2.BORDER_REFLECT)
    return soft / soft.std()


def _looked_up(texture: NDArray, x: NDArray, y: NDArray, spacing: float) -> NDArray[np.float32]:
    """Values (N,) of a map at points, mm; it has `spacing` mm a texel and is mirrored beyond its sides."""
    places = np.zeros((2, -(-len(x) // 256) * 256), np.float32)  # in rows, since OpenCV's pictures have a largest width
    places[0, : len(x)], places[1, : len(x)] = x / spacing + MAP_SIZE / 2, -y / spacing
    column, row = places.reshape(2, -1, 256)
    return cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).ravel()[: len(x)]


def bust_meshes(outfit: Outfit, placed: PlacedBust, skin_colour: NDArray) -> list[Mesh]:
    """The bust under its cloth (labelled BODY), the seam to the head and collars. skin_colour: (3,) linear."""
    surface = load_bust_surface()
    vertices = placed.vertices.copy()
    covered = _cover(outfit, placed.to_body(placed.vertices), surface.depth)
    normals = bust_normals(placed.loose)
    swell = np.clip((surface.depth - 1.3) / 1.2, 0.0, 1.0)[:, None]
    cloth = placed.vertices + swell * (placed.loose - placed.vertices) + normals * outfit.thickness
    # Cloth never lies inside the skin that it covers.
    inside = np.minimum(((cloth - placed.vertices) * normals).sum(1, keepdims=True) - outfit.thickness, 0.0)
    cloth -= inside * normals
    vertices[covered] = cloth[covered]
    colours = np.tile(np.float32(skin_colour), (len(vertices), 1))
    labels = np.full(len(surface.triangles), BODY, np.uint8)
    inner, triangles = seam_strip(placed)
    strip = Mesh(
        inner, triangles, np.tile(np.float32(skin_colour), (len(inner), 1)),
        np.full(len(triangles), CLASS["neck"], np.uint8), np.ones(len(triangles), bool),
        np.tile(surface.visibility[surface.rim_fine], 2), SKIN_GLOSS,
    )  # fmt: skip
    bare = ~covered[surface.triangles].all(1)
    visibility = np.where(covered, 0.92, surface.visibility).astype(np.float32)
    meshes = [
        Mesh(vertices.astype(np.float32), surface.triangles, colours, labels, bare, visibility, SKIN_GLOSS * 0.1),
        strip,
    ]
    if outfit.kind in ("shirt", "suit"):
        meshes.append(_shirt_collar(outfit, placed))
    elif outfit.kind in ("turtleneck", "hoodie"):
        meshes.append(_roll(outfit, placed))
    if outfit.necklace and outfit.kind in ("scoop", "vneck", "straps", "boat", "crew"):
        meshes.append(_necklace(outfit, placed))
    return meshes


def _cover(outfit: Outfit, body: NDArray, depth: NDArray | None = None) -> NDArray[np.bool_]:
    """Which points (N, 3) in the body's frame, mm, lie under cloth. depth: (N,) along the neck, for high collars."""
    x, y, z = body.T
    side = np.abs(x)
    back = z < -15.0
    drop = (4.0 if outfit.tie else 30.0) if outfit.kind == "suit" else outfit.drop  # of the shirt under the jacket
    lowest = np.where(back, FRONT_PIT + 40.0, FRONT_PIT - drop)
    if outfit.kind == "turtleneck" and depth is not None:
        return depth > 0.45
    if outfit.kind in ("vneck", "shirt", "suit"):
        opening = outfit.width * np.clip((y - lowest) / np.maximum(-10.0 - lowest, 30.0), 0.0, None)
        opening = np.where(back, outfit.width, np.minimum(opening, outfit.width + 6.0))
        bare = (side < opening) & (y > lowest)
    elif outfit.kind == "straps":
        strap = (side > outfit.width - 38.0) & (side < outfit.width)
        bare = ((y > FRONT_PIT - drop) & ~strap) | (side > 158.0)
    else:
        # An oval seen from above, deeper in front.
        reach = np.hypot(side / outfit.width, (z + 20.0) / 78.0)
        front = np.clip((y - lowest) / max(drop + 22.0, 22.0), 0.0, 1.0)
        bare = np.where(back, reach < 1.0, (side < outfit.width * np.sqrt(front)) & (y > lowest))
    if depth is not None:
        bare = bare | (depth < 0.75)
    return ~bare


def dress(rendering: Rendering, camera: Camera, outfit: Outfit, placed: PlacedBust, skin_colour: NDArray) -> Rendering:
    """Decide neck or cloth for the pixels labelled BODY and colour the cloth there.

    skin_colour: (3,) linear, the one that `bust_meshes` was given.
    """
    rows, columns = np.nonzero(rendering.labels == BODY)
    if not len(rows):
        return rendering
    depth = rendering.depth[rows, columns]
    seen = np.empty((len(rows), 3), np.float32)
    seen[:, 0] = (columns + 0.5 - camera.centre[0]) * depth / camera.focal - camera.translation[0]
    seen[:, 1] = camera.translation[1] - (rows + 0.5 - camera.centre[1]) * depth / camera.focal
    seen[:, 2] = camera.translation[2] - depth
    body = placed.to_body(seen @ camera.rotation)
    covered = _cover(outfit, body)
    if outfit.kind == "turtleneck":
        covered = body[:, 1] < FRONT_PIT + np.interp(body[:, 2], [-40.0, 20.0], [72.0, 36.0])
    labels, radiance = rendering.labels.copy(), rendering.radiance.copy()
    labels[rows, columns] = np.where(covered, CLASS["cloth"], CLASS["neck"])
    if not covered.any():
        return replace(rendering, labels=labels)
    rows, columns, body = rows[covered], columns[covered], body[covered]
    radiance[rows, columns] *= _cloth_albedo(outfit, body) / np.maximum(skin_colour, 1e-3)
    return replace(rendering, radiance=radiance, labels=labels)


def _cloth_albedo(outfit: Outfit, body: NDArray) -> NDArray[np.float32]:
    """(N, 3) linear colour of cloth at body points (N, 3), mm."""
    x, y, z = body.T
    around = np.where(np.abs(x) > 130.0, np.sign(x) * (130.0 + np.abs(z) * 0.6), x)
    colour = _patterned(outfit, around, y)
    side = np.abs(x)
    front = z > -15.0
    fold = _looked_up(outfit.folds, around, y, 4.5)
    if outfit.kind in ("shirt", "hoodie"):
        seam = front & (side < 1.4) & (y < FRONT_PIT)
        colour = np.where(seam[:, None], colour * 0.55, colour)
        if outfit.kind == "shirt":
            button = front & (np.hypot(x - 6.0, (y % 75.0) - 30.0) < 5.0) & (y < FRONT_PIT - outfit.drop)
            colour = np.where(button[:, None], 0.5 * colour + 0.25, colour)
    if outfit.kind == "suit":
        colour = _suit_front(outfit, colour, x, y, front)
    rim = _edge_distance(outfit, x, y)
    if outfit.kind in ("crew", "scoop", "vneck"):  # the ribbed band along the neckline
        band = front & (rim < 14.0) & (side < outfit.width * 1.02)
        colour = colour * np.where(band, np.where(rim > 12.0, 0.75, 0.93), 1.0)[:, None]
    return (colour * fold[:, None]).astype(np.float32)


def _edge_distance(outfit: Outfit, x: NDArray, y: NDArray) -> NDArray:
    """Roughly how far below the neckline a point in front lies, mm."""
    if outfit.kind == "vneck":
        slope = outfit.width / max(FRONT_PIT * -1.0 - 10.0 + outfit.drop, 30.0)
        return (np.abs(x) - slope * (y - FRONT_PIT + outfit.drop)) / np.hypot(1.0, slope)
    level = 1.0 - (np.abs(x) / outfit.width) ** 2
    return FRONT_PIT - outfit.drop + (1.0 - np.clip(level, 0.0, 1.0)) * (outfit.drop + 22.0) - y


def _suit_front(outfit: Outfit, colour: NDArray, x: NDArray, y: NDArray, front: NDArray) -> NDArray:
    """Shirt and tie in the opening of a jacket with lapels."""
    side = np.abs(x)
    lowest = FRONT_PIT - outfit.drop - 60.0
    opening = 78.0 * np.clip((y - lowest) / (FRONT_PIT + 25.0 - lowest), 0.0, 1.2)
    shirt = front & (side < opening) & (y > lowest)
    colour = np.where(shirt[:, None], outfit.inner, colour)
    if outfit.tie:
        half = 8.0 + 0.11 * np.maximum(FRONT_PIT - 12.0 - y, 0.0)
        knot = (y > FRONT_PIT - 22.0) & (side < 13.0 + 0.25 * (y - FRONT_PIT))
        colour = np.where((shirt & ((side < half) | knot) & (y < FRONT_PIT + 14.0))[:, None], outfit.second, colour)
    lapel = front & ~shirt & (side < opening + 48.0 - 0.25 * np.maximum(0.0, FRONT_PIT - y)) & (y < FRONT_PIT + 25.0)
    border = lapel & (side > opening + 45.0 - 0.25 * np.maximum(0.0, FRONT_PIT - y))
    fold = front & ~shirt & (side < opening + 2.5)
    notch = lapel & (np.abs(y - (FRONT_PIT - 18.0) - 0.5 * (side - opening)) < 2.0) & (side > opening + 14.0)
    shade = np.where(fold | border | notch, 0.55, np.where(lapel, 1.08, 1.0))
    return colour * shade[:, None]


def _patterned(outfit: Outfit, x: NDArray, y: NDArray) -> NDArray[np.float32]:
    first, second, period = outfit.colour, outfit.second, outfit.period
    u, v = x / period, y / period
    if outfit.pattern == "stripes":
        mask = (v % 1.0) < 0.4
    elif outfit.pattern == "columns":
        mask = (u % 1.0) < 0.18
    elif outfit.pattern == "checks":
        mask = 0.5 * ((u % 1.0) < 0.35) + 0.5 * ((v % 1.0) < 0.35)
    elif outfit.pattern == "dots":
        row = np.floor(v)
        mask = np.hypot((u + 0.5 * (row % 2.0)) % 1.0 - 0.5, v % 1.0 - 0.5) < 0.25
    elif outfit.pattern == "print":
        wave = _looked_up(_grain(), x, y, 0.25 * period)
        mask = np.where(wave > 0.7, 1.0, np.where(wave < -0.9, 0.45, 0.0))
    elif outfit.pattern == "emblem":
        inside = (np.abs(x) < 45.0 + period) & (y < FRONT_PIT - 60.0) & (y > FRONT_PIT - 110.0 - period)
        mask = inside & (((x / 11.0) % 1.0 < 0.62) & ((y / 26.0) % 1.0 < 0.7))
    elif outfit.pattern == "knit":
        mask = 0.1 + 0.09 * np.sin(2.0 * np.pi * x / 7.0) + 0.04 * _looked_up(_grain(), x, y, 2.5)
    elif outfit.pattern == "heather":
        mask = np.clip(0.2 + 0.1 * _looked_up(_grain(), x, y, 1.8), 0.0, 1.0)
    else:
        return np.broadcast_to(first, (len(x), 3)).astype(np.float32)
    mask = np.asarray(mask, np.float32)[:, None]
    return first * (1.0 - mask) + second * mask


def _rings(placed: PlacedBust) -> tuple[NDArray, NDArray, NDArray]:
    """Upper and lower edge of a collar on the neck (K, 3) and directions away from the neck's axis (K, 3)."""
    upper, lower = (placed.vertices[ring] for ring in load_bust_surface().collar)
    kernel = np.ones(5) / 5.0

    def smooth(ring: NDArray) -> NDArray:
        wrapped = np.concatenate([ring[-3:-1], ring, ring[1:3]])
        return np.stack([np.convolve(column, kernel, "valid") for column in wrapped.T], 1)

    upper, lower = smooth(upper), smooth(lower)
    axis = upper.mean(0) - lower.mean(0)
    axis /= np.linalg.norm(axis)
    away = lower - lower.mean(0)
    away -= (away @ axis)[:, None] * axis
    return upper, lower, away / np.linalg.norm(away, axis=1, keepdims=True)


def _strip(rows: list[NDArray], colour: NDArray, keep: NDArray | None = None) -> Mesh:
    points = np.concatenate(rows).astype(np.float32)
    triangles = grid_triangles(len(rows), len(rows[0]))
    if keep is not None:
        triangles = triangles[np.tile(keep, len(rows))[triangles].all(1)]
    return Mesh(
        points, triangles, np.tile(np.float32(colour), (len(points), 1)),
        np.full(len(triangles), CLASS["cloth"], np.uint8),
    )  # fmt: skip


def _shirt_collar(outfit: Outfit, placed: PlacedBust) -> Mesh:
    """A collar that stands up and folds over, open in front with two points."""
    upper, lower, away = _rings(placed)
    count = len(lower)
    front = np.abs(np.linspace(-1.0, 1.0, count))  # 0 in front, 1 behind
    rise = (upper - lower) * np.interp(front, [0.0, 0.25, 1.0], [0.25, 0.7, 1.05])[:, None]
    gap = 0.05 if outfit.tie and outfit.kind == "suit" else 0.09
    base = lower + away * (outfit.thickness + 1.0)
    top = base + rise + away * 2.0
    fold = top + away * 4.0
    point = np.interp(front, [0.0, 0.3, 0.6], [26.0, 6.0, 0.0])
    down = fold - rise * np.interp(front, [0.0, 0.3, 1.0], [2.2, 1.25, 0.95])[:, None] + away * 9.0
    down[:, 1] -= point
    colour = outfit.inner if outfit.kind == "suit" else _mean_colour(outfit)
    middle = 0.5 * (fold + down) + away * 2.5
    return _strip([base, top, fold, middle, down], colour, front > gap)


def _roll(outfit: Outfit, placed: PlacedBust) -> Mesh:
    """The rolled collar of a turtleneck, or a hood that lies on the shoulders."""
    upper, lower, away = _rings(placed)
    up = upper - lower
    if outfit.kind == "turtleneck":
        out = outfit.thickness + 2.0
        base, top = lower + away * out, lower + up * 0.95 + away * (out - 1.0)
        fold = top + away * 5.0
        return _strip([base, top, fold, lower + up * 0.15 + away * (out + 6.0)], _mean_colour(outfit))
    behind = np.abs(np.linspace(-1.0, 1.0, len(lower)))[:, None]
    size = 9.0 + 24.0 * behind**1.5
    turns = np.linspace(-0.6 * np.pi, 1.1 * np.pi, 9)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    centre = lower + away * (size * 0.9 + 4.0) + up * (size * 0.1 + 4.0)
    rows = [centre + size * (np.cos(turn) * -away + np.sin(turn) * up) for turn in turns]
    return _strip(rows, _mean_colour(outfit) * 0.95)


def _mean_colour(outfit: Outfit) -> NDArray[np.float32]:
    share = {"stripes": 0.4, "columns": 0.18, "checks": 0.35, "dots": 0.2, "print": 0.3, "knit": 0.1, "heather": 0.15}
    weight = share.get(outfit.pattern, 0.0)
    return outfit.colour * (1.0 - weight) + outfit.second * weight


def _necklace(outfit: Outfit, placed: PlacedBust) -> Mesh:
    """A chain around the base of the neck."""
    _, lower, away = _rings(placed)
    front = 1.0 - np.abs(np.linspace(-1.0, 1.0, len(lower)))
    path = lower + away * (1.5 + 6.0 * front[:, None] ** 3)
    path[:, 1] -= 14.0 * front**3
    rows = [path + away * 1.4 * np.cos(t) + np.array([0.0, 1.4, 0.0]) * np.sin(t) for t in np.linspace(0, 2 * np.pi, 5)]
    mesh = _strip(rows, np.array([0.55, 0.45, 0.22]) if outfit.period > 25.0 else np.full(3, 0.5))
    return replace(mesh, labels=np.full(len(mesh.triangles), CLASS["neck_l"], np.uint8))
