"""Random light as scenes have it: an environment in spherical harmonics and one key light, hard or soft."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.geometry.spherical_harmonics import SH_CONSTANTS, sh_basis

# Clamped-cosine convolution of each band divided by pi, so that irradiance is in units of reflected radiance.
LAMBERT_BANDS = np.array([1.0] + [2.0 / 3.0] * 3 + [0.25] * 5, np.float32)
REFLECTION_BANDS = np.array([1.0] + [0.85] * 3 + [0.5] * 5, np.float32)
CONSTANT_BAND, LINEAR_BAND = SH_CONSTANTS[0], SH_CONSTANTS[1]
BANDS = np.array([0] + [1] * 3 + [2] * 5)

# Linear sRGB of black bodies, green 1 (from CIE 1931 chromaticities of the Planckian locus).
_KELVIN = np.array([2000.0, 2700.0, 3400.0, 4200.0, 5200.0, 6500.0, 8000.0, 11000.0])
_PLANCK = np.array(
    [
        [3.55, 1.0, 0.10], [2.24, 1.0, 0.28], [1.76, 1.0, 0.45], [1.43, 1.0, 0.64],
        [1.19, 1.0, 0.85], [1.03, 1.0, 1.06], [0.91, 1.0, 1.26], [0.80, 1.0, 1.52],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Light:
    """ambient: (9, 3) SH coefficients of the environment's irradiance. direction, colour: (3,) the key light in the
    view frame (y up, z toward the viewer). shadow: strength of its cast shadow in [0, 1]. softness: angular radius of
    the key light in rad."""

    ambient: NDArray[np.float32]
    direction: NDArray[np.float32]
    colour: NDArray[np.float32]
    shadow: float
    softness: float = 0.08

    def reflected(self) -> NDArray[np.float32]:
        """(9, 3) SH coefficients of the environment's radiance, blurred to what a glossy surface mirrors."""
        return (self.ambient * (REFLECTION_BANDS / LAMBERT_BANDS)[:, None]).astype(np.float32)

    def coefficients(self) -> NDArray[np.float32]:
        """(9, 3) SH irradiance of environment and key light together, shadows left out: what a fit would find."""
        key = (np.pi * LAMBERT_BANDS * sh_basis(self.direction))[:, None] * self.colour
        return (self.ambient + key).astype(np.float32)

    def tint(self) -> NDArray[np.float32]:
        """(3,) colour of the light as a whole, mean 1."""
        mean = np.maximum(self.ambient[0] * CONSTANT_BAND, 0.0) + 0.4 * self.colour
        return (mean / max(float(mean.mean()), 1e-6)).astype(np.float32)

    def key_share(self) -> float:
        """Share of the key light in the light on a surface that faces it, [0, 1]."""
        around = float(np.maximum(sh_basis(self.direction) @ self.ambient, 0.0).mean())
        key = float(self.colour.mean())
        return key / max(key + around, 1e-6)

    def level(self) -> float:
        """Mean irradiance / pi of a surface toward the viewer, slightly upwards."""
        normal = np.array([0.0, 0.3, 0.954])
        around = sh_basis(normal) @ self.ambient
        return float(np.mean(np.maximum(around, 0.0) + max(float(normal @ self.direction), 0.25) * self.colour))


def planck_colour(kelvin: float) -> NDArray[np.float64]:
    """(3,) linear sRGB of a black body of 2000 to 11000 K, mean 1."""
    colour = np.array([np.interp(kelvin, _KELVIN, channel) for channel in _PLANCK.T])
    return colour / colour.mean()


def sample_light(rng: Generator) -> Light:
    """Light of a random scene after the camera's white balance: overcast sky, sun, shade, window, rooms, flash, studio,
    backlight, evening."""
    names = list(_SCENES)
    odds = np.array([_SCENES[name][0] for name in names])
    make = _SCENES[names[rng.choice(len(names), p=odds / odds.sum())]][1]
    scene = _Scene(rng)
    adaptation = make(scene)
    mean = scene.ambient[0] * CONSTANT_BAND + 0.4 * scene.colour
    gains = (mean.mean() / mean) ** np.clip(rng.normal(adaptation, 0.08), 0.0, 1.0)
    gains *= np.exp(rng.normal(0.0, [0.025, 0.012, 0.03]))
    direction = scene.direction / np.linalg.norm(scene.direction)
    return Light(
        (scene.ambient * gains).astype(np.float32),
        direction.astype(np.float32),
        (scene.colour * gains).astype(np.float32),
        float(scene.shadow),
        float(scene.softness),
    )


class _Scene:
    """Light being put together; amounts are irradiance / pi on a surface that faces the source."""

    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.ambient = np.zeros((9, 3))
        self.direction = np.array([0.0, 0.0, 1.0])
        self.colour = np.zeros(3)
        self.shadow = 1.0
        self.softness = 0.08

    def uniform(self, least: float, most: float) -> float:
        return float(self.rng.uniform(least, most))

    def around(self, amount: float, kelvin: float) -> None:
        self.ambient[0] += amount * planck_colour(kelvin) / CONSTANT_BAND

    def gradient(self, direction: NDArray, amount: float, kelvin: float) -> None:
        """More light from one half of the sphere than from the other."""
        band = sh_basis(np.asarray(direction, float) / np.linalg.norm(direction))[1:4] / LINEAR_BAND**2
        self.ambient[1:4] += (2.0 / 3.0) * amount * band[:, None] * planck_colour(kelvin)

    def lobe(self, direction: NDArray, amount: float, kelvin: float, width: float) -> None:
        """A soft source of angular radius `width` (rad) that casts no shadow."""
        unit = np.asarray(direction, float) / np.linalg.norm(direction)
        bands = np.pi * LAMBERT_BANDS * np.exp(-0.5 * BANDS * (BANDS + 1) * width**2 / 2.0)
        self.ambient += (bands * sh_basis(unit))[:, None] * amount * planck_colour(kelvin)

    def key(self, azimuth: float, elevation: float, amount: float, kelvin: float, softness: float) -> None:
        """azimuth, elevation: degrees from the viewer's direction, to the right and up."""
        a, e = np.radians([azimuth, elevation])
        self.direction = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
        self.colour = amount * planck_colour(kelvin)
        self.softness = softness


def _overcast(s: _Scene) -> float:
    kelvin = s.uniform(6000.0, 7500.0)
    s.around(s.uniform(0.2, 0.36), kelvin)
    s.gradient(np.array([0.0, 1.0, 0.2]), s.uniform(0.15, 0.35), kelvin)
    s.key(s.rng.normal(0.0, 50.0), s.uniform(35.0, 75.0), s.uniform(0.15, 0.35), kelvin, s.uniform(0.4, 0.6))
    return 0.95


def _sun(s: _Scene) -> float:
    s.around(s.uniform(0.08, 0.2), s.uniform(6500.0, 9000.0))
    s.gradient(np.array([0.0, 1.0, 0.0]), s.uniform(0.0, 0.12), 9000.0)
    s.lobe(np.array([0.0, -1.0, 0.4]), s.uniform(0.03, 0.15), s.uniform(4500.0, 5500.0), 0.8)
    elevation = s.uniform(12.0, 65.0)
    kelvin = np.interp(elevation, [10.0, 40.0], [4200.0, 5500.0])
    s.key(np.clip(s.rng.normal(0.0, 50.0), -120.0, 120.0), elevation, s.uniform(0.6, 1.1), kelvin, 0.02)
    return 0.85


def _shade(s: _Scene) -> float:
    s.around(s.uniform(0.12, 0.28), s.uniform(6000.0, 8000.0))
    side = s.rng.normal(0.0, 0.8)
    s.lobe(np.array([side, 0.4, 0.8]), s.uniform(0.15, 0.4), s.uniform(5500.0, 7500.0), 0.7)
    s.key(s.rng.normal(0.0, 40.0), s.uniform(30.0, 70.0), s.uniform(0.1, 0.3), 6500.0, s.uniform(0.3, 0.6))
    return 0.9


def _window(s: _Scene) -> float:
    s.around(s.uniform(0.06, 0.2), s.uniform(3600.0, 5800.0))
    side = float(s.rng.choice([-1.0, 1.0]))
    s.lobe(np.array([-side, -0.2, 0.3]), s.uniform(0.02, 0.12), s.uniform(3600.0, 5200.0), 0.8)
    s.key(side * s.uniform(15.0, 85.0), s.uniform(0.0, 35.0), s.uniform(0.35, 0.8), 6000.0, s.uniform(0.2, 0.4))
    return 0.85


def _room(s: _Scene) -> float:
    kelvin = s.uniform(2800.0, 4800.0)
    s.around(s.uniform(0.1, 0.28), kelvin + s.uniform(-300.0, 500.0))
    for _ in range(s.rng.integers(0, 3)):
        direction = np.array([s.rng.normal(0.0, 0.8), s.uniform(0.1, 1.0), s.uniform(-0.6, 1.0)])
        s.lobe(direction, s.uniform(0.06, 0.25), kelvin, s.uniform(0.3, 0.6))
    s.key(s.rng.normal(0.0, 45.0), s.uniform(25.0, 75.0), s.uniform(0.15, 0.55), kelvin, s.uniform(0.06, 0.35))
    s.shadow = s.uniform(0.6, 1.0)
    return 0.85


def _flash(s: _Scene) -> float:
    s.around(s.uniform(0.04, 0.22), s.uniform(2800.0, 6000.0))
    s.key(s.rng.normal(0.0, 7.0), s.uniform(2.0, 14.0), s.uniform(0.6, 0.9), 5600.0, s.uniform(0.02, 0.08))
    return 0.95


def _studio(s: _Scene) -> float:
    s.around(s.uniform(0.05, 0.2), 5200.0)
    side = float(s.rng.choice([-1.0, 1.0]))
    s.lobe(np.array([-side * s.uniform(0.3, 1.0), 0.1, 0.8]), s.uniform(0.05, 0.35), 5200.0, 0.4)
    s.lobe(np.array([-side, 0.5, -0.8]), s.uniform(0.0, 0.3), 5200.0, 0.2)
    s.key(side * s.uniform(10.0, 55.0), s.uniform(15.0, 45.0), s.uniform(0.4, 0.8), 5200.0, s.uniform(0.12, 0.35))
    return 0.95


def _backlight(s: _Scene) -> float:
    s.around(s.uniform(0.2, 0.4), s.uniform(5200.0, 8000.0))
    s.lobe(np.array([s.rng.normal(0.0, 0.4), 0.3, -1.0]), s.uniform(0.2, 0.6), 5500.0, 0.5)
    azimuth = float(s.rng.choice([-1.0, 1.0])) * s.uniform(100.0, 150.0)
    s.key(azimuth, s.uniform(10.0, 50.0), s.uniform(0.3, 0.7), s.uniform(4200.0, 5500.0), 0.03)
    return 0.85


def _evening(s: _Scene) -> float:
    s.around(s.uniform(0.03, 0.14), s.uniform(2800.0, 5500.0))
    s.lobe(np.array([s.rng.normal(), 0.2, s.uniform(-0.8, 0.8)]), s.uniform(0.05, 0.3), s.uniform(2600.0, 6500.0), 0.4)
    s.key(s.rng.normal(0.0, 60.0), s.uniform(-10.0, 60.0), s.uniform(0.3, 0.7), s.uniform(2700.0, 4800.0), 0.08)
    return 0.7


_SCENES: dict[str, tuple[float, Callable[[_Scene], float]]] = {
    "overcast": (0.13, _overcast),
    "sun": (0.13, _sun),
    "shade": (0.10, _shade),
    "window": (0.16, _window),
    "room": (0.22, _room),
    "flash": (0.08, _flash),
    "studio": (0.10, _studio),
    "backlight": (0.04, _backlight),
    "evening": (0.04, _evening),
}
"""Share of photographs taken in each kind of light and what makes it; the makers return the share of the light's colour
that the camera takes out."""
