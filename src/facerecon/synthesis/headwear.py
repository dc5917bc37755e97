"""Headwear as meshes around a head: caps, beanies, brimmed hats, helmets, turbans, headscarves and hoods."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.head_surface import CLASS, HeadSurface
from facerecon.synthesis.randomness import chance, smooth_profile
from facerecon.synthesis.shapes import Mesh, grid_triangles
from facerecon.synthesis.strands import SKULL_CENTRE, skin_distance, skull_map

KINDS = ("cap", "beanie", "brim", "helmet", "turban", "headscarf", "hood")
ODDS = (0.30, 0.17, 0.15, 0.10, 0.05, 0.13, 0.10)
COLUMNS = 96
UNDER_HOOD = -400.0  # height of a rim that leaves all of the back covered
# Linear albedos that cloth is often dyed.
CLOTHS = (
    (0.02, 0.02, 0.022), (0.03, 0.04, 0.09), (0.16, 0.16, 0.16), (0.55, 0.53, 0.50), (0.32, 0.25, 0.17),
    (0.28, 0.03, 0.035), (0.05, 0.09, 0.05), (0.06, 0.13, 0.30), (0.14, 0.08, 0.05), (0.45, 0.30, 0.06),
    (0.40, 0.20, 0.22), (0.10, 0.05, 0.13),
)  # fmt: skip


@dataclass(frozen=True)
class Headwear:
    """mesh: labelled hat. rim: heights y, mm, at forehead and back of the head above which it presses the hair down.
    hides_hair: whether no hair is seen."""

    mesh: Mesh
    rim: tuple[float, float]
    hides_hair: bool


def sample_headwear(rng: Generator, surface: HeadSurface, head_vertices: NDArray, landmarks: NDArray) -> Headwear:
    """Any of KINDS on a head (V, 3) with landmarks (68, 3), mm, head frame."""
    return headwear(rng, KINDS[rng.choice(len(KINDS), p=ODDS)], surface, head_vertices, landmarks)


def headwear(rng: Generator, kind: str, surface: HeadSurface, head_vertices: NDArray, landmarks: NDArray) -> Headwear:
    """One of KINDS on a head (V, 3) with landmarks (68, 3), mm, head frame."""
    over_ears = kind in ("headscarf", "hood", "helmet") or (kind == "beanie" and chance(rng, 0.5))
    radius = _smooth(skull_map(surface, head_vertices, over_ears), 1.5 if kind == "headscarf" else 2.5)
    brow = float(landmarks[17:27, 1].mean())
    colour = sample_cloth(rng)
    if kind in ("headscarf", "hood"):
        return Headwear(_veil(rng, kind, radius, landmarks, colour), (brow + 20.0, UNDER_HOOD), kind == "headscarf")
    front, back = {
        "cap": (rng.uniform(14.0, 38.0), rng.uniform(-25.0, 15.0)),
        "beanie": (rng.uniform(8.0, 40.0), rng.uniform(-60.0, -5.0)),
        "brim": (rng.uniform(15.0, 38.0), rng.uniform(-15.0, 15.0)),
        "helmet": (rng.uniform(12.0, 32.0), rng.uniform(-55.0, 0.0)),
        "turban": (rng.uniform(12.0, 30.0), rng.uniform(-50.0, -10.0)),
    }[kind]
    pieces = _HATS[kind](rng, radius, brow + front, brow + back, colour)
    return Headwear(joined(pieces, "hat"), (brow + front - 3.0, brow + back - 3.0), False)


def sample_cloth(rng: Generator) -> NDArray[np.float64]:
    """(3,) linear albedo of dyed cloth."""
    colour = np.array(CLOTHS[rng.integers(len(CLOTHS))]) * rng.lognormal(0.0, 0.3) * rng.lognormal(0.0, 0.12, 3)
    return np.clip(colour, 0.01, 0.75)


def joined(pieces: list[tuple[NDArray, NDArray, NDArray]], label: str) -> Mesh:
    """One mesh of (vertices, triangles, colours)."""
    offsets = np.cumsum([0] + [len(vertices) for vertices, _, _ in pieces[:-1]])
    triangles = np.concatenate([t + offset for (_, t, _), offset in zip(pieces, offsets, strict=True)])
    return Mesh(
        np.concatenate([vertices for vertices, _, _ in pieces]).astype(np.float32),
        triangles.astype(np.int32),
        np.clip(np.concatenate([colours for _, _, colours in pieces]), 0.005, 0.85).astype(np.float32),
        np.full(len(triangles), CLASS[label], np.uint8),
    )


def _smooth(radius: NDArray, sigma: float) -> NDArray[np.float32]:
    """Blurred skull map that lies nowhere inside the skull by more than a little."""
    wide = np.concatenate([radius, radius, radius], 1)
    soft = cv2.GaussianBlur(wide, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[
        :, radius.shape[1] : 2 * radius.shape[1]
    ]
    return np.maximum(soft, radius - 1.5).astype(np.float32)


def _direction(polar: NDArray, azimuth: NDArray) -> NDArray:
    polar, azimuth = np.broadcast_arrays(polar, azimuth)
    return np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], -1)


def _azimuth() -> NDArray:
    return np.linspace(-np.pi, np.pi, COLUMNS)


def _rim(front: float, back: float, azimuth: NDArray) -> NDArray:
    """Height y, mm, of a hat's rim around the head."""
    return back + (front - back) * (0.5 + 0.5 * np.cos(azimuth))


def _crown(radius: NDArray, rim: NDArray, rows: int, thickness: NDArray) -> NDArray:
    """Grid (rows + 1, COLUMNS, 3) mm from the vertex down to the rim and a turned-in edge.

    rim: (COLUMNS,) y, mm. thickness: (rows, COLUMNS) mm above the skin.
    """
    azimuth = _azimuth()
    last = np.full(COLUMNS, 1.2)
    for _ in range(6):  # polar angle at which the surface reaches the rim's height
        reach = skin_distance(radius, _direction(last, azimuth)) + thickness[-1]
        last = np.arccos(np.clip((rim - SKULL_CENTRE[1]) / reach, -0.95, 0.95))
    polar = np.linspace(0.015, 1.0, rows)[:, None] * last
    direction = _direction(polar, azimuth)
    distance = skin_distance(radius, direction.reshape(-1, 3)).reshape(polar.shape)
    inner = (distance[-1:] + 0.5)[..., None] * direction[-1:]
    return np.concatenate([direction * (distance + thickness)[..., None], inner]) + SKULL_CENTRE


def _piece(grid: NDArray, colours: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    rows, columns = grid.shape[:2]
    colours = np.broadcast_to(colours, grid.shape).reshape(-1, 3)
    return grid.reshape(-1, 3), grid_triangles(rows, columns), colours


def _weave(rng: Generator, rows: int, strength: float) -> NDArray:
    """(rows, COLUMNS, 1) uneven brightness of cloth about 1."""
    return np.exp(strength * rng.standard_normal((rows, COLUMNS, 1)))


def _cap(rng: Generator, radius: NDArray, front: float, back: float, colour: NDArray) -> list:
    rows = 20
    azimuth, down = _azimuth(), np.linspace(0.0, 1.0, rows)[:, None]
    high = rng.uniform(0.0, 16.0) * np.exp(-((azimuth / 1.0) ** 2)) * np.sin(np.pi * down) ** 0.7
    seams = -0.8 * np.exp(-(((azimuth + np.pi) % (np.pi / 3.0) - np.pi / 6.0) ** 2) / 0.002)
    rim = _rim(front, back, azimuth)
    grid = _crown(radius, rim, rows, rng.uniform(7.0, 10.0) + high + seams)
    colours = colour * _weave(rng, rows + 1, 0.03)
    second = sample_cloth(rng) if chance(rng, 0.5) else colour
    if chance(rng, 0.4):  # front panels of another colour
        colours[:, np.abs(azimuth) < 0.75] = second * 1.1
    if chance(rng, 0.4):  # a badge
        badge = ((azimuth / rng.uniform(0.12, 0.3)) ** 2 + ((down - 0.72) / rng.uniform(0.08, 0.16)) ** 2) < 1.0
        badge &= rng.random(badge.shape) < 0.75
        colours[:rows][badge] = sample_cloth(rng)
    turned = np.pi if chance(rng, 0.12) else 0.0  # worn back to front
    span = np.linspace(-1.0, 1.0, 25) * rng.uniform(0.85, 1.1)
    at = np.interp(np.abs(span + turned) % (2.0 * np.pi), azimuth[COLUMNS // 2 :], np.arange(COLUMNS // 2, COLUMNS))
    edge = grid[rows - 1]
    index = np.where(span + turned >= 0.0, at, COLUMNS - 1 - at)
    index = np.clip(np.round(index), 0, COLUMNS - 1).astype(int) if turned == 0.0 else _behind(span)
    base = edge[index]
    reach = np.linspace(0.0, 1.0, 7)[:, None] * (rng.uniform(50.0, 78.0) * np.cos(span / span[-1] * np.pi / 2.0) ** 0.6)
    bend, slope = rng.uniform(5.0, 22.0), rng.uniform(0.12, 0.6)
    forward = 1.0 if turned == 0.0 else -1.0
    visor = np.repeat(base[None], 7, 0)
    visor[..., 0] += 0.12 * reach * np.sign(span)
    visor[..., 1] += -slope * reach - bend * (span / span[-1]) ** 2 * reach / 70.0
    visor[..., 2] += forward * reach
    return [_piece(grid, colours), _piece(visor, second * 0.9)]


def _behind(span: NDArray) -> NDArray[np.int64]:
    """Columns of the azimuths pi + span."""
    return np.round((span % (2.0 * np.pi)) / (2.0 * np.pi) * (COLUMNS - 1)).astype(int)


def _beanie(rng: Generator, radius: NDArray, front: float, back: float, colour: NDArray) -> list:
    rows = 30
    azimuth, down = _azimuth(), np.linspace(0.0, 1.0, rows)[:, None]
    slack = rng.uniform(0.0, 28.0) * np.cos(down * np.pi / 2.0) ** 1.5
    cuff = (down > rng.uniform(0.68, 0.85)) * rng.uniform(1.5, 4.0) if chance(rng, 0.7) else 0.0 * down
    ribs = np.abs(np.sin(azimuth * int(rng.integers(16, 40)) / 2.0))
    thickness = rng.uniform(6.0, 8.0) + slack + cuff + 0.8 * ribs * down
    thickness = thickness + slack * 0.12 * smooth_profile(rng, COLUMNS, 5) * (1.0 - down)
    grid = _crown(radius, _rim(front, back, azimuth) + 1.5 * smooth_profile(rng, COLUMNS, 4), rows, thickness)
    colours = colour * (0.72 + 0.36 * ribs[None, :, None]) * _weave(rng, rows + 1, 0.10)
    if chance(rng, 0.3):  # stripes
        stripes = np.sin(np.linspace(0.0, rng.uniform(8.0, 25.0), rows + 1)) > rng.uniform(-0.2, 0.7)
        colours[stripes] *= sample_cloth(rng) / colour
    if chance(rng, 0.2):  # a bobble
        ball = np.linspace(0.05, np.pi - 0.05, 9)[:, None]
        bobble = _direction(ball, azimuth) * rng.uniform(16.0, 28.0)
        bobble *= 1.0 + 0.12 * rng.standard_normal((9, COLUMNS, 1))
        return [_piece(grid, colours), _piece(bobble + grid[0, 0] + [0.0, 12.0, 0.0], colour * _weave(rng, 9, 0.25))]
    return [_piece(grid, colours)]


def _brim(rng: Generator, radius: NDArray, front: float, back: float, colour: NDArray) -> list:
    rows = 20
    azimuth, down = _azimuth(), np.linspace(0.0, 1.0, rows)[:, None]
    rim = _rim(front, back, azimuth)
    tall = rng.uniform(10.0, 45.0) * (1.0 - down**2)
    dent = -0.6 * tall * np.exp(-((np.sin(azimuth) / 0.35) ** 2)) * np.exp(-((down / 0.3) ** 2))
    grid = _crown(radius, rim, rows, rng.uniform(7.0, 10.0) + tall + dent + 3.0 * down)
    straw = 0.14 if chance(rng, 0.35) else 0.04
    colours = colour * _weave(rng, rows + 1, straw)
    if chance(rng, 0.7):
        colours[(np.linspace(0.0, 1.0, rows + 1) > 0.8)] = sample_cloth(rng)
    steps = np.linspace(0.0, 1.0, 9)[:, None]
    width = rng.uniform(35.0, 95.0) * (1.0 + 0.1 * smooth_profile(rng, COLUMNS, 3))
    width[-1] = width[0]
    outward = np.stack([np.sin(azimuth), 0.0 * azimuth, np.cos(azimuth)], 1)
    roll = rng.uniform(-0.1, 0.35) * np.abs(np.sin(azimuth)) ** 2 - rng.uniform(-0.05, 0.3) * np.cos(azimuth) ** 2
    plate = grid[rows - 1] + (steps * width)[..., None] * outward
    plate[..., 1] += steps**1.4 * width * roll + steps * rng.uniform(1.0, 5.0) * smooth_profile(rng, COLUMNS, 4)
    plate[:, -1] = plate[:, 0]
    return [_piece(grid, colours), _piece(plate, colour * _weave(rng, 9, straw))]


def _helmet(rng: Generator, radius: NDArray, front: float, back: float, colour: NDArray) -> list:
    rows = 22
    azimuth, down = _azimuth(), np.linspace(0.0, 1.0, rows)[:, None]
    if chance(rng, 0.4):  # safety and sports helmets are bright
        colour = np.array([[0.6, 0.45, 0.03], [0.6, 0.6, 0.58], [0.55, 0.1, 0.03], [0.05, 0.15, 0.45]])[rng.integers(4)]
    thickness = rng.uniform(14.0, 26.0) + rng.uniform(0.0, 10.0) * (1.0 - down) + 0.0 * azimuth
    grooves = np.zeros_like(thickness)
    if chance(rng, 0.5):  # openings between ribs
        slots = (np.cos(azimuth * 5.0) > 0.55) & (np.sin(np.pi * down) > 0.45)
        grooves = np.where(slots & (np.abs(np.sin(azimuth)) < 0.9), 9.0, 0.0)
    grid = _crown(radius, _rim(front, back, azimuth), rows, thickness - grooves)
    colours = np.ones((rows + 1, COLUMNS, 1)) * colour
    colours[:rows][grooves > 0.0] *= 0.15
    pieces = [_piece(grid, colours)]
    jaw = skin_distance(radius, _direction(np.array([2.45]), np.array([0.0])))
    chin = _direction(np.array([2.45]), np.array([0.0])) * (jaw + 4.0)[:, None] + SKULL_CENTRE
    for side in (-1.0, 1.0):
        start = grid[rows, int(COLUMNS * (0.5 + side * 0.22))]
        t = np.linspace(0.0, 1.0, 14)[:, None]
        path = start + (chin - start) * t
        away = path - SKULL_CENTRE
        length = np.linalg.norm(away, axis=1, keepdims=True)
        path = away / length * (skin_distance(radius, away / length)[:, None] + 3.0) + SKULL_CENTRE
        pieces.append(_piece(np.stack([path - [0, 0, 7.0], path + [0, 0, 7.0]], 1), np.full(3, 0.03)))
    return pieces


def _turban(rng: Generator, radius: NDArray, front: float, back: float, colour: NDArray) -> list:
    rows = 34
    azimuth, down = _azimuth(), np.linspace(0.0, 1.0, rows)[:, None]
    wraps = np.sin(down * rng.uniform(14.0, 24.0) + rng.uniform(0.8, 2.0) * np.abs(azimuth) + 1.0)
    thickness = rng.uniform(14.0, 32.0) * np.sin(np.pi * (0.12 + 0.8 * down)) ** 0.6 + 3.0 * wraps + 4.0
    peak = _rim(front, back, azimuth) + 14.0 * np.exp(-((azimuth / 0.35) ** 2))
    colours = colour * _weave(rng, rows + 1, 0.05)
    colours[:rows] *= 0.75 + 0.25 * wraps[..., None]
    return [_piece(_crown(radius, peak, rows, thickness), colours)]


_HATS = {"cap": _cap, "beanie": _beanie, "brim": _brim, "helmet": _helmet, "turban": _turban}


def _veil(rng: Generator, kind: str, radius: NDArray, landmarks: NDArray, colour: NDArray) -> Mesh:
    """A headscarf or hood: cloth from an oval around the face over the head, and its fall over neck and shoulders."""
    rows, hood = 26, kind == "hood"
    around = np.linspace(-np.pi, np.pi, COLUMNS)  # from below the chin by the subject's right side over the forehead
    chin, brow = landmarks[8], float(landmarks[17:27, 1].mean())
    wide = np.abs(landmarks[[1, 15], 0]).mean() * (rng.uniform(0.98, 1.18) if hood else rng.uniform(0.82, 0.98))
    top = brow + (rng.uniform(30.0, 60.0) if hood else rng.uniform(12.0, 38.0))
    bottom = chin[1] + (-14.0 if hood else rng.uniform(-6.0, 3.0))
    middle, half = (top + bottom) / 2.0, (top - bottom) / 2.0
    side_depth = landmarks[[1, 15], 2].mean() + (rng.uniform(5.0, 25.0) if hood else rng.uniform(5.0, 18.0))
    edge = np.stack(
        [
            np.sin(around) * wide,
            middle + half * np.cos(around),
            side_depth + (np.where(np.cos(around) > 0.0, landmarks[27, 2] - 12.0, chin[2] - 18.0) - side_depth)
            * np.cos(around) ** 2,
        ],
        1,
    )  # fmt: skip
    start = edge - SKULL_CENTRE
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    end = np.array([0.0, 0.47, -0.88])  # opposite to the middle of the face
    end /= np.linalg.norm(end)
    t = np.linspace(0.0, 1.0, rows)[:, None, None]
    angle = np.arccos(np.clip(start @ end, -0.999, 0.999))[:, None]
    direction = (np.sin((1.0 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)
    distance = skin_distance(radius, direction.reshape(-1, 3)).reshape(rows, COLUMNS)
    folds = smooth_profile(rng, COLUMNS, 14) * rng.uniform(0.5, 2.0)
    folds = folds + np.sin(6.0 * t[..., 0] + smooth_profile(rng, COLUMNS, 6)) * rng.uniform(0.3, 1.5)
    gap = rng.uniform(14.0, 26.0) if hood else rng.uniform(4.0, 9.0)
    offset = np.maximum(gap + folds * np.minimum(4.0 * t[..., 0], 1.0), 3.0)
    shell = direction * np.minimum(distance + offset, 165.0)[..., None] + SKULL_CENTRE
    inner = direction[:1] * (distance[:1] + (8.0 if hood else 0.5))[..., None] + SKULL_CENTRE
    grid = np.concatenate([inner, shell])

    turn = np.linspace(-np.pi, np.pi, COLUMNS)
    down = np.linspace(0.0, 1.0, 14)[:, None]
    neck = 68.0 + 12.0 * rng.random() + (150.0 - 20.0 * np.cos(turn) ** 2) * down**1.6
    fold = smooth_profile(rng, COLUMNS, 16) * (2.0 + 8.0 * down)
    fall = np.stack(
        [
            np.sin(turn) * (neck + fold),
            bottom + 26.0 - (20.0 + 40.0 * (1.0 - down)) * 0.3 - down * rng.uniform(110.0, 160.0) + 0.0 * turn,
            -55.0 + np.cos(turn) * (0.72 * neck + fold),
        ],
        2,
    )  # fmt: skip
    return joined(
        [_piece(grid, colour * _weave(rng, rows + 1, 0.04)), _piece(fall, colour * _weave(rng, 14, 0.04))], "hat"
    )
