"""Random backgrounds from scikit-image's sample pictures and procedural patterns."""

from functools import lru_cache

import cv2
import numpy as np
import skimage.data
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.randomness import chance

# Samples inside the scikit-image wheel. "camera" shows a man's face in profile, 60 px wide, labelled as background like
# the rest; to leave it out would change the photographs of given seeds.
PICTURES = (
    "chelsea", "coffee", "rocket", "camera", "brick", "grass", "gravel", "coins", "hubble_deep_field",
    "immunohistochemistry", "retina", "page", "text", "clock", "moon", "colorwheel", "cell",
)  # fmt: skip


@lru_cache(maxsize=1)
def background_pictures() -> tuple[NDArray[np.uint8], ...]:
    """The sample pictures that this installation carries, RGB; those that would have to be downloaded are left out."""
    pictures = []
    for name in PICTURES:
        try:
            picture = getattr(skimage.data, name)()
        except (OSError, ImportError, ValueError, ConnectionError):  # not in the wheel: needs pooch and a network
            continue
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, 2)
        pictures.append(np.ascontiguousarray(picture[..., :3]).astype(np.uint8))
    return tuple(pictures)


def value_noise(rng: Generator, size: int, cells: int, channels: int = 3) -> NDArray[np.float32]:
    """(size, size, channels) smooth noise in about [0, 1] with `cells` random values a side."""
    grid = rng.random((max(2, cells), max(2, cells), channels), dtype=np.float32)
    noise = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return noise.reshape(size, size, channels)


def sample_background(rng: Generator, size: int) -> NDArray[np.float32]:
    """(size, size, 3) sRGB background in [0, 1]: a picture's part, noise, a plain colour or coloured shapes."""
    kind = rng.integers(5)
    pictures = background_pictures()
    if kind <= 1 and pictures:
        image = _picture_part(rng, pictures[rng.integers(len(pictures))], size)
    elif kind == 2:
        image = value_noise(rng, size, int(rng.integers(2, 30))) * rng.uniform(0.2, 1.0) + rng.uniform(0.0, 0.3)
    elif kind == 3:
        colour = rng.uniform(0.0, 1.0) * np.ones(3) if chance(rng, 0.5) else rng.random(3)
        image = np.full((size, size, 3), colour, np.float32)
    else:
        image = _shapes(rng, size)
    image = image * np.float32(rng.uniform(0.3, 1.3))
    if chance(rng, 0.5):
        image = image * np.float32(rng.uniform(0.3, 1.0))
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def _picture_part(rng: Generator, picture: NDArray, size: int) -> NDArray[np.float32]:
    side = max(8, int(min(picture.shape[:2]) * rng.uniform(0.2, 0.95)))
    row = rng.integers(picture.shape[0] - side + 1)
    column = rng.integers(picture.shape[1] - side + 1)
    part = cv2.resize(picture[row : row + side, column : column + side], (size, size), interpolation=cv2.INTER_AREA)
    image = part.astype(np.float32) / 255.0
    if chance(rng, 0.5):
        image = image[:, ::-1]
    if chance(rng, 0.5):
        image = image[..., rng.permutation(3)]
    if chance(rng, 0.5):
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1.0, 12.0) * size / 256.0)
    return np.ascontiguousarray(image)


def _shapes(rng: Generator, size: int) -> NDArray[np.float32]:
    image = value_noise(rng, size, 2)
    for _ in range(rng.integers(2, 12)):
        corners = rng.integers(-20, size + 20, (rng.integers(3, 6), 2)).astype(np.int32)
        cv2.fillPoly(image, [corners], rng.random(3).tolist())
    if chance(rng, 0.6):
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 6.0))
    return image
