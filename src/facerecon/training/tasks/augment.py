"""Random changes of training pictures: where the crop lies, and how its values look."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.networks.image_crops import crop_matrix
from facerecon.training.tasks.settings import PhotometricSettings

BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def batch_generator(seed: int, step: int) -> Generator:
    """The random generator of one step's batch."""
    return np.random.default_rng([seed, 0, step])


def random_crop_matrix(
    rng: Generator, centre: NDArray, side: float, size: int, shift: float, log_scale: float, rotation: float, flip: bool
) -> NDArray:
    """Photo-to-crop matrix (2, 3) of the square around `centre` (2,) of `side` pixels, randomly moved.

    shift: largest move along x and y, of the side. log_scale: largest |log| of the change of side. rotation: largest
    angle, rad.
    """
    moved = centre + rng.uniform(-shift, shift, 2) * side
    return crop_matrix(
        moved, side * np.exp(rng.uniform(-log_scale, log_scale)), size, rng.uniform(-rotation, rotation), flip
    )


def change_values(rng: Generator, image: NDArray[np.uint8], settings: PhotometricSettings) -> NDArray[np.uint8]:
    """A picture (H, W, 3) uint8 sRGB with other colours, sharpness, noise, compression and hidden parts."""
    image = _change_colours(rng, image, settings)
    if rng.random() < settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < settings.coarse:
        image = _coarsen(image, rng.uniform(0.35, 0.8))
    if rng.random() < settings.erase:
        image = _erase(rng, image)
    if rng.random() < settings.noise:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(255 * rng.uniform(0.01, 0.05))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < settings.jpeg:
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 81))])[1]
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # written as BGR and read as such: the order is kept
    return image


def _change_colours(rng: Generator, image: NDArray[np.uint8], settings: PhotometricSettings) -> NDArray[np.uint8]:
    gain = (1 + rng.uniform(-settings.gain, settings.gain)) * (
        1 + rng.uniform(-settings.channel_gain, settings.channel_gain, 3)
    )
    gamma = np.exp(rng.uniform(-settings.gamma, settings.gamma))
    ramp = np.linspace(0, 1, 256)[:, None] ** gamma * gain + rng.uniform(-settings.offset, settings.offset)
    table = np.rint(np.clip(ramp, 0, 1) * 255).astype(np.uint8)
    image = cv2.LUT(image, table[None])
    fate = rng.random()
    if fate >= 2 * settings.mono:
        return image
    keep = 0.0 if fate < settings.mono else rng.uniform(0.2, 0.8)
    mix = keep * np.eye(3, dtype=np.float32) + (1 - keep) * np.tile(_LUMA, (3, 1))
    return cv2.transform(image, mix.astype(np.float32))


def _coarsen(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))


def _erase(rng: Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hide one or two rectangles under one colour, noise, or another part of the picture."""
    image = image.copy()
    height, width = image.shape[:2]
    for _ in range(rng.integers(1, 3)):
        tall, wide = (int(extent * rng.uniform(0.07, 0.38)) + 1 for extent in (height, width))
        top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
        patch = image[top : top + tall, left : left + wide]
        kind = rng.integers(0, 3)
        if kind == 0:
            patch[:] = rng.integers(0, 256, 3)
        elif kind == 1:
            patch[:] = rng.integers(0, 256, patch.shape)
        else:
            row, column = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
            patch[:] = image[row : row + tall, column : column + wide].copy()
    return image
