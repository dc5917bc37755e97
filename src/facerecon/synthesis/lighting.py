"""Random light: a soft environment in spherical harmonics and one hard key light."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.geometry.spherical_harmonics import SH_CONSTANTS, sh_basis
from facerecon.synthesis.randomness import chance

# Clamped-cosine convolution of each band divided by pi, so that irradiance is in units of reflected radiance.
LAMBERT_BANDS = np.array([1.0] + [2.0 / 3.0] * 3 + [0.25] * 5, np.float32)
CONSTANT_BAND = round(SH_CONSTANTS[0], 6)  # six decimals: more would change the light of given seeds


@dataclass(frozen=True)
class Light:
    """ambient: (9, 3) SH coefficients of the environment's irradiance. direction, colour: (3,) the key light in the
    view frame (y up, z toward the viewer). shadow: strength of its cast shadow in [0, 1]."""

    ambient: NDArray[np.float32]
    direction: NDArray[np.float32]
    colour: NDArray[np.float32]
    shadow: float

    def coefficients(self) -> NDArray[np.float32]:
        """(9, 3) SH irradiance of environment and key light together, shadows left out: what a fit would find."""
        key = (np.pi * LAMBERT_BANDS * sh_basis(self.direction))[:, None] * self.colour
        return (self.ambient + key).astype(np.float32)


def _direction(rng: Generator, lowest_z: float) -> NDArray[np.float32]:
    direction = np.array([rng.normal(0.0, 0.7), rng.normal(0.3, 0.5), rng.uniform(lowest_z, 1.0)])
    return (direction / np.linalg.norm(direction)).astype(np.float32)


def sample_light(rng: Generator) -> Light:
    """Ambient light of any level and tint, up to two soft lamps and a key light that casts shadows in 60 % of cases."""
    ambient = np.zeros((9, 3))
    ambient[0] = rng.uniform(0.1, 0.7) / CONSTANT_BAND * (1.0 + rng.normal(0.0, 0.06, 3))

    def tint() -> NDArray:
        return np.array([1.0, rng.uniform(0.85, 1.02), rng.uniform(0.7, 1.1)])

    for _ in range(rng.integers(0, 3)):
        lamp = rng.uniform(0.05, 0.5) * tint()
        ambient += (np.pi * LAMBERT_BANDS * sh_basis(_direction(rng, -0.3)))[:, None] * lamp
    key = rng.uniform(0.1, 1.0) * tint()
    shadow = rng.uniform(0.5, 1.0) if chance(rng, 0.6) else 0.0
    return Light(ambient.astype(np.float32), _direction(rng, 0.15), key.astype(np.float32), float(shadow))
