"""Meshes around the head: hair shells and hats, torso, glasses."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.head_surface import CLASS
from facerecon.synthesis.randomness import chance, smooth_profile

HAIR_KINDS = ("short", "bob", "long")


@dataclass(frozen=True)
class Mesh:
    """A coloured piece of the scene in the head frame: vertices (V, 3) mm, triangles (F, 3), colours (V, 3) linear RGB,
    labels (F,) parsing classes."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colours: NDArray[np.float32]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class HairStyle:
    """What one person's hair keeps from photograph to photograph. kind: None is bald or shaved."""

    kind: str | None
    colour: NDArray[np.float32]
    thickness: float
    length: float
    parting: float


def sample_hair_style(rng: Generator, colour: NDArray, male: bool) -> HairStyle:
    """A style typical of the sex; colour: (3,) linear, dyed at times."""
    odds = (0.85, 0.08, 0.07) if male else (0.2, 0.35, 0.45)
    kind = None if chance(rng, 0.18 if male else 0.03) else HAIR_KINDS[rng.choice(3, p=odds)]
    if chance(rng, 0.15):
        colour = rng.uniform(0.01, 0.5) * np.array([1.0, rng.uniform(0.6, 0.95), rng.uniform(0.3, 0.9)])
    elif chance(rng, 0.12):
        colour = np.full(3, rng.uniform(0.15, 0.5))  # gray
    thickness = rng.uniform(2.0, 14.0) if kind == "short" else rng.uniform(6.0, 28.0)
    return HairStyle(kind, np.asarray(colour, np.float32), thickness, rng.random(), rng.normal(0.0, 1.0))


def grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Two triangles a cell of a (rows, columns) vertex grid."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = (i * columns + j).ravel()
    first = np.stack([a, a + 1, a + columns], 1)
    second = np.stack([a + 1, a + columns + 1, a + columns], 1)
    return np.concatenate([first, second]).astype(np.int32)


@dataclass(frozen=True)
class _Skull:
    half_width: float
    top: float
    front: float
    back: float
    eye_height: float


def _measure_skull(skin: NDArray, eye_height: float) -> _Skull:
    upper = skin[skin[:, 1] > eye_height + 10.0]
    return _Skull(np.abs(upper[:, 0]).max() * 0.96, upper[:, 1].max(), upper[:, 2].max(), upper[:, 2].min(), eye_height)


def hair_mesh(rng: Generator, skin: NDArray, eye_height: float, style: HairStyle) -> Mesh:
    """A shell of hair: an ellipsoid cap that falls down as a cylinder, open over the face.

    skin: (N, 3) vertices of the head's skin, mm. eye_height: y of the eyes, mm.
    """
    low = {"short": (-70.0, 0.0), "bob": (-150.0, -60.0), "long": (-300.0, -120.0)}[style.kind]
    fall = low[0] + (low[1] - low[0]) * style.length
    return _shell(rng, _measure_skull(skin, eye_height), style.kind, style.thickness, fall, style.colour, "hair")


def hat_mesh(rng: Generator, skin: NDArray, eye_height: float) -> Mesh:
    """A cap of any colour with a visor in 60 % of cases."""
    skull = _measure_skull(skin, eye_height)
    colour = rng.uniform(0.01, 0.7, 3) if chance(rng, 0.6) else np.full(3, rng.uniform(0.01, 0.6))
    thickness = rng.uniform(4.0, 14.0)
    cap = _shell(rng, skull, "hat", thickness, rng.uniform(0.0, 40.0), colour, "hat")
    if chance(rng, 0.4):
        return cap
    angle = np.linspace(-1.2, 1.2, 20)
    reach = np.linspace(0.0, 1.0, 4) * rng.uniform(30.0, 75.0)
    brim_height = eye_height + rng.uniform(42.0, 62.0)
    depth_centre = (skull.front + skull.back) / 2.0 - 4.0
    depth = (skull.front - skull.back) / 2.0 + 4.0
    rows = [
        np.stack(
            [
                np.sin(angle) * (skull.half_width + thickness + 0.3 * r),
                brim_height - 0.25 * r - 8.0 * angle**2,
                depth_centre + np.cos(angle) * (depth + r),
            ],
            1,
        )
        for r in reach
    ]
    visor = np.concatenate(rows).astype(np.float32)
    triangles = grid_triangles(4, 20)
    return Mesh(
        np.concatenate([cap.vertices, visor]),
        np.concatenate([cap.triangles, triangles + len(cap.vertices)]),
        np.concatenate([cap.colours, np.tile(np.float32(colour * 0.8), (len(visor), 1))]),
        np.concatenate([cap.labels, np.full(len(triangles), CLASS["hat"], np.uint8)]),
    )


def _shell(
    rng: Generator, skull: _Skull, kind: str, thickness: float, fall: float, colour: NDArray, label: str
) -> Mesh:
    columns, rows, cap_rows = 120, 44, 24
    angle = np.linspace(-np.pi, np.pi, columns)
    cap_height = skull.eye_height + rng.uniform(15.0, 35.0)
    width = skull.half_width + thickness
    height = skull.top - cap_height + thickness * rng.uniform(0.7, 1.5)
    depth_centre = (skull.front + skull.back) / 2.0 - 4.0
    depth = (skull.front - skull.back) / 2.0 - 2.0 + thickness * rng.uniform(0.3, 0.9)
    bumps = smooth_profile(rng, columns, 10) * thickness * 0.12 + rng.normal(0.0, 0.02 * thickness + 0.4, columns)

    polar = np.linspace(0.02, np.pi / 2.0, cap_rows)
    falling = np.linspace(cap_height, skull.eye_height + fall, rows - cap_rows + 1)[1:]
    drop = (cap_height - falling) / 150.0
    flare = rng.uniform(-0.15, 0.3)
    widening = 1.0 + (-0.3 * np.maximum(0.0, drop - 0.2) if kind == "short" else flare * drop * (kind != "hat"))
    radius = np.concatenate([np.sin(polar), widening])
    level = np.concatenate([cap_height + height * np.cos(polar), falling])
    swell = np.minimum(1.0, np.arange(rows) / 8.0)[:, None] * bumps
    grid = np.empty((rows, columns, 3), np.float32)
    grid[..., 0] = np.sin(angle) * (width * radius[:, None] + swell)
    grid[..., 1] = level[:, None] + rng.normal(0.0, 0.5, (rows, 1))
    grid[..., 2] = depth_centre + np.cos(angle) * (depth * radius[:, None] + swell)

    triangles = grid_triangles(rows, columns)
    face_opening = _opening(rng, grid, angle, skull.eye_height, kind).ravel()
    triangles = triangles[~face_opening[triangles].any(1)]
    if kind == "hat":
        strands = np.ones(columns)
    else:
        contrast = rng.uniform(0.1, 0.45)
        strands = np.exp(smooth_profile(rng, columns, 30) * 0.12 + rng.normal(0.0, contrast, columns))
    shade = strands[None, :, None] * np.exp(rng.normal(0.0, 0.08, (rows, columns, 1)))
    colours = (np.ones((rows, columns, 3)) * colour * shade).reshape(-1, 3)
    labels = np.full(len(triangles), CLASS[label], np.uint8)
    return Mesh(grid.reshape(-1, 3), triangles, np.clip(colours, 0.003, 0.9).astype(np.float32), labels)


def _opening(rng: Generator, grid: NDArray, angle: NDArray, eye_height: float, kind: str) -> NDArray[np.bool_]:
    """Which grid vertices are left out for the face, between a wavy hairline and two side edges."""
    rows, columns = grid.shape[:2]
    hairline = eye_height + rng.normal(58.0, 14.0) + smooth_profile(rng, columns, 6) * rng.uniform(2.0, 12.0)
    if kind != "hat" and chance(rng, 0.25):  # a fringe, or hair that falls to one side
        wave = np.sin(angle * rng.uniform(0.5, 1.5) + rng.uniform(0.0, 2.0 * np.pi))
        hairline = hairline - rng.uniform(10.0, 45.0) * np.clip(wave + 0.6, 0.0, 1.0)
    edge = np.radians(rng.normal(62.0, 12.0) + smooth_profile(rng, rows, 4) * rng.uniform(2.0, 8.0))
    if kind == "long" and chance(rng, 0.35):  # strands in front of the cheeks
        edge = edge - np.radians(rng.uniform(5.0, 40.0)) * np.linspace(0.0, 1.0, rows) ** 0.7
    other = edge * rng.uniform(0.8, 1.15) if kind in ("bob", "long") else edge
    limit = np.where(angle[None] < 0.0, edge[:, None], other[:, None])
    receding = np.clip((np.abs(angle) - 0.5) / 0.7, 0.0, 1.0) ** 2 * rng.uniform(20.0, 40.0)
    return (np.abs(angle)[None] < limit) & (grid[..., 1] < hairline - receding)


def torso_mesh(rng: Generator, skin: NDArray, skin_colour: NDArray) -> Mesh:
    """Neck, shoulders and clothes below the head; skin_colour: (3,) linear."""
    lowest = skin[:, 1].min()
    rim = skin[skin[:, 1] < lowest + 30.0]
    depth_centre = (rim[:, 2].max() + rim[:, 2].min()) / 2.0 - 5.0
    neck_width = np.abs(rim[:, 0]).max() - 2.0
    neck_depth = (rim[:, 2].max() - rim[:, 2].min()) / 2.0 - 2.0
    rows, columns = 14, 40
    angle, down = np.linspace(-np.pi, np.pi, columns), np.linspace(0.0, 1.0, rows)[:, None]
    shoulder = rng.uniform(170.0, 230.0)
    spread = np.clip((down - 0.25) / 0.5, 0.0, 1.0) ** 1.5
    grid = np.empty((rows, columns, 3), np.float32)
    grid[..., 0] = np.sin(angle) * (neck_width + spread * (shoulder - neck_width))
    grid[..., 1] = lowest + 35.0 - down * rng.uniform(150.0, 220.0)
    grid[..., 2] = depth_centre - spread * 25.0 + np.cos(angle) * (neck_depth + spread * (110.0 - neck_depth))
    collar = int(rng.integers(2, 8))
    cloth = rng.uniform(0.0, 0.8, 3) ** 1.5 if chance(rng, 0.6) else np.full(3, rng.uniform(0.0, 0.8) ** 1.5)
    colours = np.ones((rows, columns, 3), np.float32) * skin_colour
    pattern = rng.uniform(0.0, 0.3)
    colours[collar:] = cloth * np.exp(rng.normal(0.0, pattern, (rows - collar, columns, 1)))
    triangles = grid_triangles(rows, columns)
    row_of = triangles.min(1) // columns
    labels = np.where(row_of >= collar - 1, CLASS["cloth"], CLASS["neck"]).astype(np.uint8)
    return Mesh(grid.reshape(-1, 3), triangles, colours.reshape(-1, 3), labels)


def glasses_mesh(rng: Generator, landmarks: NDArray) -> Mesh:
    """Glasses in 3D: two rims, a bridge, two temples, and dark lenses for sunglasses.

    landmarks: (68, 3) of the head, mm.
    """
    dark = chance(rng, 0.4)
    half_width, half_height = rng.uniform(22.0, 30.0), rng.uniform(15.0, 24.0)
    power = rng.uniform(2.0, 4.0)
    radius = rng.uniform(0.5, 2.2)
    frame_colour = rng.uniform(0.0, 0.25, 3) if chance(rng, 0.8) else rng.uniform(0.2, 0.8, 3)
    lens_colour = rng.uniform(0.0, 0.08, 3)
    forward, lift = rng.uniform(12.0, 18.0), rng.uniform(-6.0, 2.0)
    turn = np.linspace(0.0, 2.0 * np.pi, 33)
    cosine, sine = np.cos(turn), np.sin(turn)
    outline = np.stack(
        [
            np.sign(cosine) * np.abs(cosine) ** (2.0 / power) * half_width,
            np.sign(sine) * np.abs(sine) ** (2.0 / power) * half_height,
        ],
        1,
    )
    pieces, colours = [], []

    def add(vertices: NDArray, triangles: NDArray, colour: NDArray) -> None:
        pieces.append((vertices, triangles))
        colours.append(np.tile(np.float32(colour), (len(vertices), 1)))

    inner = []
    for side, eye, ear in ((-1.0, slice(36, 42), 0), (1.0, slice(42, 48), 16)):
        centre = landmarks[eye].mean(0) + [side * 2.0, lift, forward]
        wrap = -6.0 * np.maximum(side * cosine, 0.0)
        rim = centre + np.stack([outline[:, 0], outline[:, 1], wrap], 1)
        add(*_tube(rim, radius), frame_colour)
        hinge = rim[np.argmax(side * rim[:, 0])]
        temple = np.linspace(hinge, landmarks[ear] + [side * 5.0, 12.0, -25.0], 8)
        add(*_tube(temple, radius), frame_colour)
        inner.append(rim[np.argmin(side * rim[:, 0])])
        if dark:
            fan = np.stack([np.full(32, 33), np.arange(32), np.arange(1, 33)], 1)
            add(np.concatenate([rim, centre[None]]), fan, lens_colour)
    add(*_tube(np.linspace(inner[0], inner[1], 4), radius), frame_colour)
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in pieces[:-1]])
    triangles = np.concatenate([t + offset for (_, t), offset in zip(pieces, offsets, strict=True)]).astype(np.int32)
    vertices = np.concatenate([vertices for vertices, _ in pieces]).astype(np.float32)
    return Mesh(vertices, triangles, np.concatenate(colours), np.full(len(triangles), CLASS["eye_g"], np.uint8))


def _tube(path: NDArray, radius: float) -> tuple[NDArray, NDArray]:
    """A tube of square section along path (N, 3)."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    reference = np.where(np.abs(tangent[:, 2:3]) > 0.8, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    first = np.cross(tangent, reference)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(tangent, first)
    corners = [first + second, second - first, -first - second, first - second, first + second]
    rings = np.stack([path + radius * corner for corner in corners], 1)
    return rings.reshape(-1, 3), grid_triangles(len(path), 5)
