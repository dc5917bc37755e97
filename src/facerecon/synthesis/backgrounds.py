"""Backgrounds: rooms, streets, foliage, skies, studio cloths and surfaces, blurred as a lens blurs what lies behind.

All are drawn at random except for parts of scikit-image's sample pictures. Values are linear RGB in about [0, 1].
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import skimage
import skimage.data
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.render.shading import srgb_to_linear
from facerecon.synthesis.palettes import cloth_colour, from_hsv, leaf_colour, wall_colour
from facerecon.synthesis.randomness import chance

# Samples inside the scikit-image wheel that show no person: scenes, and grey textures that are tinted.
SCENES = ("chelsea", "coffee", "rocket", "hubble_deep_field")
TEXTURES = ("brick", "grass", "gravel", "page", "text", "clock", "moon")
BASE = 192  # px, the side at which scenes are drawn; they are blurred or enlarged afterwards


@dataclass(frozen=True)
class _Place:
    """Where a thing stands in a room: left and top in px, the picture's side in px, and how much walls slope to the
    right."""

    x: float
    y: float
    size: int
    slope: float


@lru_cache(maxsize=1)
def background_pictures() -> dict[str, NDArray[np.float32]]:
    """The sample pictures SCENES + TEXTURES, linear RGB.

    Raises InputError if one is missing: with fewer of them the same seed would give other pixels.
    """
    pictures = {}
    for name in SCENES + TEXTURES:
        try:
            picture = getattr(skimage.data, name)()
        except (AttributeError, OSError, ImportError, ValueError) as error:  # ImportError: a download needs pooch
            raise InputError(
                f"scikit-image {skimage.__version__} lacks its sample picture {name!r}; install the wheel that "
                "facerecon's requirements name"
            ) from error
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, 2)
        side = min(1.0, 400.0 / min(picture.shape[:2]))
        small = cv2.resize(picture[..., :3], None, fx=side, fy=side, interpolation=cv2.INTER_AREA)
        pictures[name] = np.asarray(srgb_to_linear(small.astype(np.float32) / 255.0), np.float32)
    return pictures


def value_noise(rng: Generator, size: int, cells: int, channels: int = 1) -> NDArray[np.float32]:
    """(size, size, channels) smooth noise in about [0, 1] with `cells` random values a side."""
    grid = rng.random((max(2, cells), max(2, cells), channels), dtype=np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, channels)


def fractal_noise(rng: Generator, size: int, cells: int, octaves: int = 4) -> NDArray[np.float32]:
    """(size, size, 1) noise about 0 of about unit range: halving amplitudes at doubling frequencies."""
    total = np.zeros((size, size, 1), np.float32)
    for octave in range(octaves):
        total += (value_noise(rng, size, min(cells << octave, size)) - 0.5) * np.float32(2.0**-octave)
    return total


def sample_background(rng: Generator, size: int, tint: NDArray | float = 1.0) -> NDArray[np.float32]:
    """(size, size, 3) linear background, whose mean brightness varies about 0.3.

    tint: (3,) colour of the scene's light relative to grey, which outdoor and indoor scenes share with the face.
    """
    kinds = (
        (_studio, 0.16), (_room, 0.24), (_street, 0.15), (_foliage, 0.14), (_sky, 0.09), (_surface, 0.10),
        (_press_wall, 0.05), (_night, 0.03), (_picture, 0.04),
    )  # fmt: skip
    shares = np.array([share for _, share in kinds])
    draw = kinds[rng.choice(len(kinds), p=shares / shares.sum())][0]
    image = draw(rng, BASE)
    image = image * (0.5 + 0.5 * np.asarray(tint, np.float32)) * np.float32(np.exp(rng.normal(0.0, 0.35)))
    image = _defocus(rng, image)
    if image.shape[0] != size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR if size > BASE else cv2.INTER_AREA)
    return np.maximum(image, 0.002).astype(np.float32)


def _defocus(rng: Generator, image: NDArray) -> NDArray[np.float32]:
    """Blur by a disc, as a lens does; bright spots become discs themselves. None at all in one case of eight."""
    radius = 0.0 if chance(rng, 0.12) else float(np.exp(rng.uniform(np.log(0.8), np.log(13.0))))
    if radius < 0.9:
        return image
    side = int(np.ceil(radius)) * 2 + 1
    axis = np.arange(side) - side // 2
    disc = np.clip(radius + 0.5 - np.hypot(axis[:, None], axis[None]), 0.0, 1.0).astype(np.float32)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)


def _gradient(size: int, top: NDArray, bottom: NDArray) -> NDArray[np.float32]:
    share = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None, None]
    return np.ascontiguousarray(np.broadcast_to(top + (bottom - top) * share, (size, size, 3)), np.float32)


def _box(image: NDArray, x: float, y: float, width: float, height: float, colour: NDArray, slope: float = 0.0) -> None:
    """An upright box; slope: how far its right side lies lower, as under perspective."""
    corners = np.array([[x, y], [x + width, y + slope], [x + width, y + height + slope], [x, y + height]])
    cv2.fillPoly(image, [np.round(corners).astype(np.int32)], [float(c) for c in colour], cv2.LINE_AA)


def _lit(rng: Generator, image: NDArray, strength: float) -> NDArray[np.float32]:
    """Uneven light: a smooth bright side and a bright patch."""
    size = image.shape[0]
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ramp = np.cos(angle) * (column - 0.5) + np.sin(angle) * (row - 0.5)
    x, y, width = rng.uniform(-0.2, 1.2), rng.uniform(-0.2, 0.8), rng.uniform(0.25, 0.7)
    patch = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2.0 * width**2))
    gain = np.exp(strength * (0.8 * ramp + rng.uniform(-0.2, 0.9) * (patch - 0.4)))
    return image * gain[..., None].astype(np.float32)


def _studio(rng: Generator, size: int) -> NDArray[np.float32]:
    """Paper or cloth behind a sitter: white, grey, black or coloured, with a lit patch."""
    kind = rng.random()
    if kind < 0.35:
        colour = np.full(3, rng.uniform(0.5, 0.95), np.float32)
    elif kind < 0.6:
        colour = np.full(3, rng.uniform(0.03, 0.35), np.float32)
    elif kind < 0.72:
        colour = np.full(3, rng.uniform(0.003, 0.02), np.float32)
    else:
        colour = wall_colour(rng)
    image = _lit(rng, np.ones((size, size, 3), np.float32) * colour, rng.uniform(0.1, 1.2))
    if chance(rng, 0.3):  # mottled cloth
        image = image * np.exp(rng.uniform(0.1, 0.5) * fractal_noise(rng, size, int(rng.integers(3, 7))))
    return image


def _room(rng: Generator, size: int) -> NDArray[np.float32]:
    """A wall with some of: window, door, shelf, pictures, curtain, lamp, furniture, a corner of the room."""
    image = np.ones((size, size, 3), np.float32) * wall_colour(rng)
    if chance(rng, 0.4):  # a second wall
        corner = rng.uniform(0.05, 0.95) * size
        _box(image, corner, 0, size, size, image[0, 0] * rng.uniform(0.45, 1.4))
    if chance(rng, 0.25):
        image = image * (1.0 + 0.15 * np.sign(np.sin(np.arange(size) * rng.uniform(0.15, 0.8))))[None, :, None]
    image = _lit(rng, image, rng.uniform(0.3, 1.4))
    image = np.ascontiguousarray(image, np.float32)
    slope = rng.uniform(-0.15, 0.15)
    for _ in range(rng.integers(1, 5)):
        x, y = rng.uniform(-0.2, 0.9) * size, rng.uniform(-0.1, 0.6) * size
        draw = (_window, _shelf, _frame, _door, _curtain, _furniture, _lamp)[rng.integers(7)]
        draw(rng, image, _Place(x, y, size, slope))
    if chance(rng, 0.4):  # floor, table or sofa at the bottom
        top = rng.uniform(0.6, 0.9) * size
        _box(image, 0, top, size, size, wall_colour(rng) * rng.uniform(0.3, 0.9), rng.uniform(-0.1, 0.1) * size)
    return image * np.exp(0.12 * fractal_noise(rng, size, 10, 3))


def _window(rng: Generator, image: NDArray, place: _Place) -> None:
    width, height = rng.uniform(0.25, 0.6) * place.size, rng.uniform(0.35, 0.8) * place.size
    frame, light = wall_colour(rng), from_hsv(rng.normal(210, 25), rng.uniform(0.0, 0.25), 1.0) * rng.uniform(0.6, 2.5)
    drop = place.slope * width
    _box(image, place.x - 4, place.y - 4, width + 8, height + 8, frame, drop)
    panes = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    for i in range(panes[0]):
        for j in range(panes[1]):
            pane = light * rng.uniform(0.8, 1.1)
            left, top = place.x + i * width / panes[0], place.y + j * height / panes[1]
            _box(image, left + 2, top + 2, width / panes[0] - 4, height / panes[1] - 4, pane, drop / panes[0])
    if chance(rng, 0.3):  # a blind
        for row in np.arange(place.y, place.y + height, rng.uniform(5.0, 9.0)):
            _box(image, place.x, row, width, 2.0, frame * 0.8, drop)


def _shelf(rng: Generator, image: NDArray, place: _Place) -> None:
    width, boards = rng.uniform(0.3, 0.8) * place.size, int(rng.integers(2, 6))
    gap = rng.uniform(0.13, 0.26) * place.size
    wood = wall_colour(rng) * 0.5
    _box(image, place.x, place.y, width, boards * gap, wood * 0.4)
    for board in range(boards):
        base = place.y + (board + 1) * gap
        at = place.x + 2.0
        while at < place.x + width - 4.0:
            thick, tall = rng.uniform(2.0, 9.0), gap * rng.uniform(0.5, 0.92)
            if chance(rng, 0.85):
                _box(image, at, base - tall, thick, tall, cloth_colour(rng) * rng.uniform(0.5, 1.1))
            at += thick + 0.7
        _box(image, place.x, base, width, 3.0, wood)


def _frame(rng: Generator, image: NDArray, place: _Place) -> None:
    width, height = rng.uniform(0.12, 0.4) * place.size, rng.uniform(0.12, 0.4) * place.size
    _box(image, place.x, place.y, width, height, wall_colour(rng) * rng.uniform(0.1, 1.0), place.slope * width)
    _box(image, place.x + 4, place.y + 4, width - 8, height - 8, np.full(3, rng.uniform(0.4, 0.9)), place.slope * width)
    for _ in range(rng.integers(1, 7)):
        w, h = rng.uniform(0.1, 0.6, 2) * [width, height]
        left, top = place.x + rng.uniform(0.1, 0.4) * width, place.y + rng.uniform(0.1, 0.5) * height
        _box(image, left, top, w, h, cloth_colour(rng))


def _door(rng: Generator, image: NDArray, place: _Place) -> None:
    x, size = place.x, place.size
    width, colour = rng.uniform(0.25, 0.4) * size, wall_colour(rng)
    drop = place.slope * width
    _box(image, x - 4, place.y - 4, width + 8, 2 * size, colour * 0.7, drop)
    _box(image, x, place.y, width, 2 * size, colour, drop)
    for top in (0.08, 0.55):
        _box(image, x + 0.15 * width, place.y + top * size, 0.7 * width, 0.35 * size, colour * 0.85, drop)


def _curtain(rng: Generator, image: NDArray, place: _Place) -> None:
    width, colour = rng.uniform(0.15, 0.5) * place.size, cloth_colour(rng)
    phase = rng.uniform(0.0, 6.0)
    for column in np.arange(place.x, place.x + width, 1.5):
        shade = 0.75 + 0.35 * np.sin(column * 0.5 + phase + 2.0 * np.sin(column * 0.11))
        _box(image, column, 0, 2.5, place.size, colour * shade)


def _furniture(rng: Generator, image: NDArray, place: _Place) -> None:
    colour, size = cloth_colour(rng), place.size
    top, width = rng.uniform(0.45, 0.8) * size, rng.uniform(0.3, 0.9) * size
    _box(image, place.x, top, width, size, colour, place.slope * width)
    _box(image, place.x, top, width, 5.0, colour * 1.4, place.slope * width)
    for _ in range(rng.integers(0, 4)):
        left, high = place.x + rng.uniform(0, width), top - rng.uniform(4, 20)
        _box(image, left, high, rng.uniform(4, 14), 20.0, cloth_colour(rng))


def _lamp(rng: Generator, image: NDArray, place: _Place) -> None:
    colour = from_hsv(rng.normal(38, 8), rng.uniform(0.1, 0.45), 1.0) * rng.uniform(1.0, 5.0)
    radius = int(rng.uniform(3, 12))
    centre = (int(place.x), int(place.y))
    wall = image[min(max(centre[1], 0), place.size - 1), 0]
    cv2.circle(image, centre, radius * 3, [float(c) for c in wall * 1.5], -1)
    cv2.circle(image, centre, radius, [float(c) for c in colour], -1, cv2.LINE_AA)


def _street(rng: Generator, size: int) -> NDArray[np.float32]:
    """Facades with windows under a bit of sky, a road, and things that stand on it."""
    horizon = rng.uniform(0.5, 0.85) * size
    image = _gradient(size, _sky_colour(rng), from_hsv(40, rng.uniform(0.0, 0.1), rng.uniform(0.6, 0.95)))
    x = rng.uniform(-0.3, 0.0) * size
    while x < size:
        width, height = rng.uniform(0.2, 0.6) * size, rng.uniform(0.35, 1.2) * horizon
        wall = wall_colour(rng) * rng.uniform(0.3, 1.0)
        _box(image, x, horizon - height, width, height, wall)
        pane = rng.uniform(0.02, 0.5) * from_hsv(210, rng.uniform(0, 0.4), 1.0)
        across, down = rng.uniform(9.0, 26.0), rng.uniform(12.0, 32.0)
        share = rng.uniform(0.4, 0.7, 2)
        for left in np.arange(x + 4, x + width - across * share[0], across):
            for top in np.arange(horizon - height + 6, horizon - 10, down):
                _box(image, left, top, across * share[0], down * share[1], pane * rng.uniform(0.4, 1.8))
        x += width
    _box(image, 0, horizon, size, size, np.full(3, rng.uniform(0.04, 0.3)) * [1.0, 0.98, 0.95])
    for _ in range(rng.integers(0, 8)):  # vehicles, signs, passers-by far away
        w, h = rng.uniform(0.03, 0.35) * size, rng.uniform(0.05, 0.3) * size
        _box(image, rng.uniform(-0.1, 1.0) * size, horizon - h + rng.uniform(0, 12), w, h, cloth_colour(rng))
    if chance(rng, 0.4):
        _trees(rng, image, int(rng.integers(1, 4)))
    return _lit(rng, image * np.exp(0.2 * fractal_noise(rng, size, 16, 3)), 0.4)


def _trees(rng: Generator, image: NDArray, count: int) -> None:
    size = image.shape[0]
    for _ in range(count):
        mask = value_noise(rng, size, 20)[..., 0] + 0.6 * value_noise(rng, size, 60)[..., 0]
        row, column = np.mgrid[0:size, 0:size]
        far = np.hypot(column - rng.uniform(0, size), (row - rng.uniform(0, 0.6) * size) * 0.8) / (
            rng.uniform(0.2, 0.5) * size
        )
        crown = (mask > 0.5 + 0.55 * far) & (far < 1.3)
        image[crown] = (leaf_colour(rng) * (0.4 + 0.9 * value_noise(rng, size, 90)))[crown]


def _sky_colour(rng: Generator) -> NDArray[np.float32]:
    if chance(rng, 0.4):
        return from_hsv(rng.normal(215, 10), rng.uniform(0.0, 0.1), rng.uniform(0.7, 1.0))
    return from_hsv(rng.normal(212, 7), rng.uniform(0.25, 0.65), rng.uniform(0.6, 0.95))


def _foliage(rng: Generator, size: int) -> NDArray[np.float32]:
    """Leaves at several depths with gaps of light, or a lawn, or a hedge."""
    image = np.ones((size, size, 3), np.float32) * leaf_colour(rng) * np.float32(rng.uniform(0.05, 0.5))
    gaps = from_hsv(rng.normal(75, 25), rng.uniform(0.05, 0.4), 1.0) * rng.uniform(0.5, 2.0)
    open_sky = np.clip(fractal_noise(rng, size, int(rng.integers(3, 9)), 3) * 4.0 + rng.uniform(-2.2, 0.2), 0.0, 1.0)
    image = image * (1.0 - open_sky) + gaps * open_sky
    for layer in range(3):
        colour, scale = leaf_colour(rng), rng.uniform(1.5, 5.0) * (1.0 + layer)
        for _ in range(int(rng.integers(60, 220) / (1 + layer))):
            x, y = rng.uniform(0, size, 2)
            shade = float(np.exp(rng.normal(0.0, 0.5))) * (0.4 + 0.3 * layer)
            axes = (int(1 + scale * rng.uniform(0.6, 1.5)), int(1 + scale * rng.uniform(0.2, 0.7)))
            tone = [float(c) for c in colour * shade]
            cv2.ellipse(image, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
    if chance(rng, 0.4):  # a trunk or a path
        _box(image, rng.uniform(0, size), 0, rng.uniform(4, 30), size, from_hsv(30, 0.35, rng.uniform(0.1, 0.4)))
    return _lit(rng, image * np.exp(0.5 * fractal_noise(rng, size, 6)), 0.7)


def _sky(rng: Generator, size: int) -> NDArray[np.float32]:
    """Open sky with clouds over hills, sea, a beach or fields."""
    top = _sky_colour(rng)
    low = from_hsv(rng.normal(30, 12), rng.uniform(0.0, 0.5), 1.0) * rng.uniform(0.5, 1.1)
    image = _gradient(size, top, low if chance(rng, 0.5) else top * 1.2)
    cloud = np.clip(fractal_noise(rng, size, int(rng.integers(3, 7)), 5) * 2.5 + rng.uniform(-0.8, 0.4), 0.0, 1.0)
    image = image * (1.0 - 0.7 * cloud) + np.float32(rng.uniform(0.5, 1.0)) * 0.7 * cloud
    horizon = rng.uniform(0.45, 1.05) * size
    for far in range(int(rng.integers(1, 4))):
        ridge = (
            horizon + far * 0.12 * size + (value_noise(rng, size, int(rng.integers(3, 9)))[0, :, 0] - 0.5) * 0.25 * size
        )
        if chance(rng, 0.4):
            ridge[:] = horizon + far * 0.12 * size
        colour = (
            leaf_colour(rng) if chance(rng, 0.6) else from_hsv(rng.choice([205.0, 38.0]), 0.4, rng.uniform(0.3, 0.8))
        )
        haze = 0.6 - 0.3 * far
        below = np.arange(size)[:, None] > ridge[None]
        texture = np.exp(0.35 * fractal_noise(rng, size, 24, 3))
        image[below] = ((colour * (1.0 - haze) + low * haze) * texture)[below]
    return image


def _surface(rng: Generator, size: int) -> NDArray[np.float32]:
    """A wall of brick, concrete, planks, tiles, stone or corrugated metal right behind the head."""
    kind, colour = rng.integers(5), wall_colour(rng)
    if kind == 0:
        texture = background_pictures()[("brick", "gravel", "grass")[rng.integers(3)]]
        part = _part(rng, texture, size).mean(2, keepdims=True)
        return _lit(rng, part / max(float(part.mean()), 1e-3) * colour, 0.6)
    image = np.ones((size, size, 3), np.float32) * colour
    row, column = np.mgrid[0:size, 0:size].astype(np.float32)
    if kind == 1:  # planks
        width = rng.uniform(12.0, 40.0)
        board = np.floor((column if chance(rng, 0.5) else row) / width).astype(int)
        tone = np.exp(rng.normal(0.0, 0.18, board.max() + 1))[board]
        seam = (column if board[0, -1] else row) % width < 1.5
        image = image * (tone * np.where(seam, 0.4, 1.0))[..., None].astype(np.float32)
    elif kind == 2:  # tiles or bricks
        height = rng.uniform(8.0, 34.0)
        width = height * rng.uniform(1.0, 3.0)
        course = np.floor(row / height)
        shifted = column + (0.5 * width * (course % 2) if chance(rng, 0.7) else 0.0)
        number = (course * 37 + np.floor(shifted / width) * 11).astype(int)
        tone = np.exp(rng.normal(0.0, rng.uniform(0.03, 0.3), 97))[number % 97]
        joint = (row % height < 1.4) | (shifted % width < 1.4)
        image = np.where(joint[..., None], rng.uniform(0.2, 0.7), image * tone[..., None]).astype(np.float32)
    elif kind == 3:  # corrugated metal, pleats
        image = image * (1.0 + 0.3 * np.sin(column * rng.uniform(0.2, 0.8)))[..., None].astype(np.float32)
    image = image * np.exp(rng.uniform(0.1, 0.5) * fractal_noise(rng, size, int(rng.integers(3, 20)), 5))
    return _lit(rng, image, 0.7)


def _press_wall(rng: Generator, size: int) -> NDArray[np.float32]:
    """A board with emblems and letters in rows, or a poster."""
    image = np.ones((size, size, 3), np.float32) * (np.full(3, 0.8) if chance(rng, 0.5) else cloth_colour(rng))
    image = np.ascontiguousarray(image, np.float32)
    letters = "ABCDEFGHIKLMNOPRSTUVWXYZ0123456789"
    pitch = rng.uniform(0.2, 0.6) * size
    words = ["".join(rng.choice(list(letters), rng.integers(2, 7))) for _ in range(3)]
    colours = [[float(c) for c in cloth_colour(rng)] for _ in range(3)]
    for i, y in enumerate(np.arange(0.1 * size, size, pitch * rng.uniform(0.4, 0.8))):
        for j, x in enumerate(np.arange(-0.2 * size, size, pitch)):
            which = (i + j) % 3
            at = (int(x + 0.5 * pitch * (i % 2)), int(y))
            if which == 2 and chance(rng, 0.7):
                cv2.circle(image, at, int(0.18 * pitch), colours[which], -1, cv2.LINE_AA)
            else:
                scale = pitch / 22.0 / max(len(words[which]), 3)
                _write(image, words[which], at, scale, colours[which])
    return _lit(rng, image, 0.4)


def _write(image: NDArray, text: str, at: tuple[int, int], scale: float, colour: list[float]) -> None:
    ink = np.zeros(image.shape[:2], np.uint8)
    cv2.putText(ink, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, max(1, int(2 * scale)), cv2.LINE_AA)
    image += (ink[..., None] / np.float32(255.0)) * (np.float32(colour) - image)


def _night(rng: Generator, size: int) -> NDArray[np.float32]:
    """Lights in the dark: a street at night, a stage, a bar."""
    image = (
        np.ones((size, size, 3), np.float32)
        * np.float32(rng.uniform(0.004, 0.03))
        * from_hsv(rng.uniform(0, 360), 0.4, 1.0)
    )
    image = np.ascontiguousarray(image * np.exp(1.5 * fractal_noise(rng, size, 5)), np.float32)
    for _ in range(rng.integers(8, 60)):
        hue = rng.choice([38.0, 45.0, 210.0, 0.0, 30.0, 120.0, 280.0])
        colour = from_hsv(hue + rng.normal(0, 8), rng.uniform(0.1, 0.7), 1.0) * np.exp(rng.normal(0.3, 0.8))
        at = (int(rng.uniform(0, size)), int(rng.uniform(0, size)))
        cv2.circle(image, at, int(rng.integers(1, 4)), [float(c) for c in colour], -1)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def _picture(rng: Generator, size: int) -> NDArray[np.float32]:
    pictures = background_pictures()
    names = SCENES + TEXTURES
    return np.ascontiguousarray(_part(rng, pictures[names[rng.integers(len(names))]], size))


def _part(rng: Generator, picture: NDArray, size: int) -> NDArray[np.float32]:
    side = int(min(picture.shape[:2]) * rng.uniform(0.35, 0.95))
    row = rng.integers(picture.shape[0] - side + 1)
    column = rng.integers(picture.shape[1] - side + 1)
    part = cv2.resize(picture[row : row + side, column : column + side], (size, size), interpolation=cv2.INTER_AREA)
    return part[:, ::-1] if chance(rng, 0.5) else part
