"""What a camera and a file format do to a picture: exposure, lens, sensor, development, resampling."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.randomness import chance

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
REFERENCE_SIZE = 224.0  # px, at which blur radii are given


def automatic_exposure(rng: Generator, radiance: NDArray, light_level: float) -> np.float32:
    """Gain of a camera that meters on the head: dark skin stays darker than fair skin, but less than in proportion.

    radiance: (n, 3) linear, of the head's pixels. light_level: irradiance / pi that falls on it (`Light.level`).
    """
    light_level = max(light_level, 1e-3)
    bright = float(np.percentile(radiance @ LUMINANCE, 70.0)) if len(radiance) else 0.35 * light_level
    reflected = np.clip(bright / light_level, 0.04, 1.2)
    wanted = 0.36 * (reflected / 0.36) ** rng.uniform(0.25, 0.6) * rng.lognormal(0.0, 0.22)
    if chance(rng, 0.08):  # metered on something else
        wanted *= rng.uniform(0.35, 2.0)
    return np.float32(wanted / max(reflected * light_level, 1e-3))


def apply_camera(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lens, sensor and development of a random camera; most are good, a few are bad in one way.

    image: (H, W, 3) sRGB in [0, 1]. Returns uint8 RGB. JPEG artefacts come from writing the file.
    """
    image = _lens(rng, np.ascontiguousarray(image, np.float32))
    image = _resample(rng, image)
    image = _sensor(rng, image)
    image = _develop(rng, image)
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def sample_jpeg_quality(rng: Generator) -> int:
    """60 % strongly compressed, else nearly lossless."""
    return int(rng.integers(35, 93)) if chance(rng, 0.6) else 95


def _lens(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Defocus, camera shake, lateral colour and vignette."""
    size = image.shape[0]
    unit = size / REFERENCE_SIZE
    blur = rng.gamma(1.1, 0.32) * unit
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), min(blur, 2.2 * unit))
    if chance(rng, 0.05):
        image = cv2.filter2D(image, -1, _shake(rng, rng.uniform(2.0, 6.0) * unit))
    if chance(rng, 0.12):
        for channel, sign in ((0, 1.0), (2, -1.0)):
            scale = 1.0 + sign * rng.uniform(0.001, 0.004)
            shift = (1.0 - scale) * size / 2.0
            matrix = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
            plane = np.ascontiguousarray(image[..., channel])
            image[..., channel] = cv2.warpAffine(plane, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    if chance(rng, 0.25):
        y = np.linspace(-1.0, 1.0, size, dtype=np.float32)
        image = image * (1.0 - np.float32(rng.uniform(0.02, 0.16)) * (y[:, None] ** 2 + y**2))[..., None]
    return image


def _shake(rng: Generator, length: float) -> NDArray[np.float32]:
    """Normalised kernel of a straight motion, px."""
    half = int(np.ceil(length / 2.0))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    angle = rng.uniform(0.0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2.0
    ends = np.round((np.array([-reach, reach]) + half) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 255, 1, cv2.LINE_AA, 4)
    return kernel.astype(np.float32) / max(float(kernel.sum()), 1.0)


def _resample(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """In one of ten pictures: a small picture enlarged."""
    if not chance(rng, 0.1):
        return image
    size = image.shape[0]
    small = int(size * rng.uniform(0.3, 0.75))
    reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    enlarge = cv2.INTER_LINEAR if chance(rng, 0.5) else cv2.INTER_CUBIC
    return cv2.resize(reduced, (size, size), interpolation=enlarge)


def _sensor(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shot and read noise by sensitivity, smoothed in colour as raw converters do; fine grain of old film at times."""
    size = image.shape[0]
    level = np.float32(np.exp(rng.uniform(np.log(0.0015), np.log(0.022))) if chance(rng, 0.85) else 0.0)
    if chance(rng, 0.05):
        level = np.float32(rng.uniform(0.02, 0.05))
    if level == 0.0:
        return image
    gray = rng.standard_normal((size, size), dtype=np.float32)
    if chance(rng, 0.4):  # noise reduction leaves coarse grain
        gray = cv2.GaussianBlur(gray, (0, 0), 0.7) * np.float32(1.9)
    half = (size + 1) // 2
    colour = cv2.resize(rng.standard_normal((half, half, 3), dtype=np.float32), (size, size))
    noise = gray[..., None] + colour * np.float32(rng.uniform(0.2, 0.9))
    # In sRGB shot noise is nearly even over the tones, and read noise shows in the shadows.
    return image + noise * (level * (1.2 - 0.7 * np.clip(image, 0.0, 1.0)))


def _develop(rng: Generator, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """White balance, tone curve, saturation, sharpening; monochrome in 6 %, toned in 2 %."""
    image = image * np.exp(rng.normal(0.0, [0.02, 0.01, 0.025])).astype(np.float32)
    gamma = np.float32(np.exp(rng.normal(0.0, 0.10)))
    lifted = np.float32(max(0.0, rng.normal(0.0, 0.02)))
    image = np.clip(image, 0.0, 1.0) ** gamma
    contrast = np.float32(rng.normal(0.28, 0.22))
    image = image + contrast * (image * image * (3.0 - 2.0 * image) - image)  # an S curve, or a flat one
    image = lifted + (1.0 - lifted) * image
    gray = (image @ LUMINANCE)[..., None]
    kind = rng.random()
    if kind < 0.08:
        image = np.repeat(gray, 3, 2)
        if kind < 0.02:
            image = image ** np.array([0.85, 1.0, 1.25], np.float32)  # toned print
    else:
        saturation = np.float32(np.clip(rng.normal(1.0, 0.16), 0.45, 1.5))
        image = gray + (image - gray) * saturation
    if chance(rng, 0.35):
        image = image + np.float32(rng.uniform(0.2, 1.0)) * (image - cv2.GaussianBlur(image, (0, 0), 1.0))
    return image
