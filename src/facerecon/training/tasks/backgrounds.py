"""Pictures without faces: what the detector must learn to leave alone.

Half come from the photographs and textures inside scikit-image (none of them shows a person near by): some for
training, others for choosing the score threshold, others for measuring. Half are drawn: noise of several spectra,
gradients, stripes, shapes, writing, and blobs in skin's colours.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import skimage.data
from numpy.random import Generator
from numpy.typing import NDArray

BACKGROUND_SIZE = 256
TRAINING_PICTURES = (
    "chelsea", "rocket", "hubble_deep_field", "immunohistochemistry", "logo", "brick", "grass", "page", "moon",
)  # fmt: skip
VALIDATION_PICTURES = ("coffee", "gravel", "text")
MEASURING_PICTURES = ("retina", "clock", "horse")


def make_background(rng: Generator, pictures: Sequence[str] = TRAINING_PICTURES) -> NDArray[np.uint8]:
    """A random picture (BACKGROUND_SIZE, BACKGROUND_SIZE, 3) uint8 sRGB without a face.

    pictures: names of scikit-image's that half of them are parts of.
    """
    picture = _from_photograph(rng, pictures) if rng.random() < 0.5 else _drawn(rng)
    if rng.random() < 0.25:
        other = _from_photograph(rng, pictures) if rng.random() < 0.5 else _drawn(rng)
        picture = _joined(rng, picture, other)
    return picture


def _from_photograph(rng: Generator, pictures: Sequence[str]) -> NDArray[np.uint8]:
    picture = _photograph(pictures[rng.integers(len(pictures))])
    height, width = picture.shape[:2]
    shorter = min(height, width)
    side = int(shorter * rng.uniform(0.35, 1.0))
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    part = picture[top : top + side, left : left + side]
    part = np.rot90(part, rng.integers(0, 4)) if rng.random() < 0.3 else part
    part = part[:, ::-1] if rng.random() < 0.5 else part
    part = part[..., rng.permutation(3)] if rng.random() < 0.2 else part
    return cv2.resize(np.ascontiguousarray(part), (BACKGROUND_SIZE, BACKGROUND_SIZE), interpolation=cv2.INTER_AREA)


@cache
def _photograph(name: str) -> NDArray[np.uint8]:
    picture = np.asarray(getattr(skimage.data, name)())
    picture = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    picture = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture[..., :3]
    return np.ascontiguousarray(picture)


def _drawn(rng: Generator) -> NDArray[np.uint8]:
    base = _noise(rng) if rng.random() < 0.6 else _gradient(rng)
    extra = rng.integers(0, 6)
    if extra == 0:
        _draw_shapes(rng, base, skin=False)
    elif extra == 1:
        _draw_shapes(rng, base, skin=True)
    elif extra == 2:
        _draw_stripes(rng, base)
    elif extra == 3:
        _draw_writing(rng, base)
    return base


def _noise(rng: Generator) -> NDArray[np.uint8]:
    """Noise whose amplitude falls as frequency to a random power, in random colours; white noise among them."""
    size = BACKGROUND_SIZE
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    power = rng.choice([0, 0.5, 1, 1.5, 2])
    spectrum = np.fft.rfft2(rng.standard_normal((3, size, size))) / np.maximum(frequency, 1) ** power
    field = np.fft.irfft2(spectrum, (size, size))
    field = (field - field.mean()) / field.std()
    mixed = np.einsum("kc,khw->hwc", rng.normal(0, 1, (3, 3)), field) * rng.uniform(5, 60) / 1.7
    return np.clip(mixed + rng.uniform(20, 235, 3), 0, 255).astype(np.uint8)


def _gradient(rng: Generator) -> NDArray[np.uint8]:
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    if rng.random() < 0.3:
        corners[:] = corners[0, 0]
    return cv2.resize(corners, (BACKGROUND_SIZE, BACKGROUND_SIZE)).astype(np.uint8)


def _draw_shapes(rng: Generator, picture: NDArray[np.uint8], skin: bool) -> None:
    size = BACKGROUND_SIZE
    for _ in range(rng.integers(3, 25)):
        colour = _skin_colour(rng) if skin else rng.integers(0, 256, 3)
        colour = tuple(int(value) for value in colour)
        centre = tuple(int(value) for value in rng.integers(0, size, 2))
        axes = tuple(int(value) for value in rng.integers(4, size // 4, 2))
        thickness = -1 if rng.random() < 0.7 else int(rng.integers(1, 6))
        kind = rng.integers(0, 3)
        if kind == 0:
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(picture, centre, axes, angle, 0, 360, colour, thickness, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(picture, centre, (centre[0] + axes[0], centre[1] + axes[1]), colour, thickness)
        else:
            corners = (np.array(centre) + rng.integers(-size // 5, size // 5, (rng.integers(3, 6), 2))).astype(np.int32)
            cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA)
    if rng.random() < 0.5:
        picture[:] = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 6))


def _skin_colour(rng: Generator) -> NDArray:
    dark, light = np.array([60, 35, 25]), np.array([245, 205, 180])
    return np.clip(dark + (light - dark) * rng.random() + rng.normal(0, 10, 3), 0, 255)


def _draw_stripes(rng: Generator, picture: NDArray[np.uint8]) -> None:
    along = np.arange(BACKGROUND_SIZE)
    angle = rng.uniform(0, np.pi)
    phase = (along[:, None] * np.sin(angle) + along[None] * np.cos(angle)) / rng.uniform(3, 40)
    wave = np.sin(2 * np.pi * phase)
    wave = np.sign(wave) if rng.random() < 0.5 else wave
    if rng.random() < 0.4:
        wave = wave * np.sin(2 * np.pi * phase.T)
    picture[:] = np.clip(picture + wave[..., None] * rng.uniform(10, 90, 3), 0, 255).astype(np.uint8)


def _draw_writing(rng: Generator, picture: NDArray[np.uint8]) -> None:
    for _ in range(rng.integers(3, 20)):
        text = "".join(chr(code) for code in rng.integers(33, 127, rng.integers(2, 14)))
        where = tuple(int(value) for value in rng.integers(-20, BACKGROUND_SIZE, 2))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX]))
        cv2.putText(picture, text, where, font, rng.uniform(0.4, 3), colour, int(rng.integers(1, 6)), cv2.LINE_AA)


def _joined(rng: Generator, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    cut = int(rng.integers(BACKGROUND_SIZE // 5, 4 * BACKGROUND_SIZE // 5))
    joined = np.where((np.arange(BACKGROUND_SIZE) < cut)[:, None, None], first, second)
    return np.ascontiguousarray(joined.transpose(1, 0, 2) if rng.random() < 0.5 else joined)
