"""Seeded random streams and smooth random functions."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

# Streams of one seed never overlap: each purpose has its own number.
TRAINING_DOMAIN = 1
BENCHMARK_DOMAIN = 2
JPEG_DOMAIN = 101  # strength of the compression of training photographs


def stream(seed: int, domain: int, subject: int, photo: int | None = None) -> Generator:
    """Random generator of one subject, or of one photograph of it, independent of every other one."""
    key = [seed, domain, subject] if photo is None else [seed, domain, subject, photo + 1]
    return np.random.default_rng(key)


def smooth_profile(rng: Generator, count: int, harmonics: int) -> NDArray[np.float64]:
    """(count,) sum of cosines with 1/f amplitudes: a smooth curve around 0 of about unit size."""
    x = np.linspace(0.0, 1.0, count)
    frequency = np.arange(1, harmonics + 1)
    amplitude = rng.normal(0.0, 1.0 / frequency)
    phase = rng.uniform(0.0, 2.0 * np.pi, harmonics)
    return (amplitude * np.cos(2.0 * np.pi * x[:, None] * frequency + phase)).sum(1)


def chance(rng: Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)
