"""What a camera and a file format do to a picture."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.randomness import chance


def apply_camera(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Tone, colour, blur, resampling and noise of a random camera.

    image: (H, W, 3) sRGB in [0, 1]. Returns uint8 RGB. JPEG artefacts come from writing the file.
    """
    size = image.shape[0]
    image = image * (1.0 + rng.normal(0.0, 0.06, 3)).astype(np.float32)
    image = np.clip((image - 0.5) * rng.uniform(0.65, 1.45) + 0.5 + rng.normal(0.0, 0.07), 0.0, 1.0)
    image = image ** np.float32(rng.uniform(0.7, 1.4))
    gray = image.mean(2, keepdims=True)
    if chance(rng, 0.15):
        image = np.repeat(gray, 3, 2)
    elif chance(rng, 0.5):
        image = gray + (image - gray) * rng.uniform(0.3, 1.3)
    if chance(rng, 0.08):  # warm indoor or faded print
        image = np.clip(image * np.array([1.15, 0.8, 0.45]), 0.0, 1.0)
    image = image.astype(np.float32)
    if chance(rng, 0.5):
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.0) * size / 224.0)
    if chance(rng, 0.15):  # a small picture enlarged
        small = int(size * rng.uniform(0.3, 0.7))
        reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        enlarge = cv2.INTER_LINEAR if chance(rng, 0.5) else cv2.INTER_CUBIC
        image = cv2.resize(reduced, (size, size), interpolation=enlarge)
    if chance(rng, 0.2):  # in-camera sharpening
        image = image + rng.uniform(0.3, 1.0) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + noise * np.float32(rng.uniform(0.0, 0.035))
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def sample_jpeg_quality(rng: Generator) -> int:
    """60 % strongly compressed, else nearly lossless."""
    return int(rng.integers(35, 93)) if chance(rng, 0.6) else 95
