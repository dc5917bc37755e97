"""Diffuse shading by spherical harmonics, and the sRGB transfer curve."""

import numpy as np
import torch
from torch import Tensor

from facerecon.geometry.spherical_harmonics import sh_basis


def shade(albedo: Tensor, normals_view: Tensor, light: Tensor) -> Tensor:
    """Lambertian colour of each vertex: albedo times the light's spherical-harmonic expansion at its normal.

    albedo: (B, V, 3) linear RGB. normals_view: (B, V, 3) unit, head-centred view frame (x right, y up, z toward the
    viewer). light: (B, 9, 3), or (B, 9, 1) for white light; the cosine kernel's factors are part of it.
    Returns (B, V, 3) linear RGB, not clamped (shading can be negative or above 1). Raises ValueError on other shapes.
    """
    if albedo.ndim != 3 or albedo.shape[-1] != 3:
        raise ValueError(f"albedo must be (B, V, 3), not {tuple(albedo.shape)}")
    if normals_view.ndim != 3 or normals_view.shape[1:] != albedo.shape[1:]:
        raise ValueError(f"normals_view must be (B, V, 3) like albedo, not {tuple(normals_view.shape)}")
    if light.ndim != 3 or light.shape[1] != 9 or light.shape[2] not in (1, 3):
        raise ValueError(f"light must be (B, 9, 3) or (B, 9, 1), not {tuple(light.shape)}")
    return albedo * (sh_basis(normals_view) @ light)


def linear_to_srgb(linear: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The sRGB curve of IEC 61966-2-1: 12.92 x up to 0.0031308, then 1.055 x^(1/2.4) - 0.055.

    linear: any shape, nominal range [0, 1]; torch or numpy. Below 0 the straight part and above 1 the power go on, so
    gradients are finite, at most 12.92 and positive everywhere; clip before writing an image.
    """
    if isinstance(linear, Tensor):
        # The power never sees values of the other branch, whose infinite slope at 0 would turn gradients into NaN.
        power = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
        return torch.where(linear <= 0.0031308, 12.92 * linear, power)
    power = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, power)


def srgb_to_linear(srgb: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The inverse of `linear_to_srgb`: x / 12.92 up to 0.04045, then ((x + 0.055) / 1.055)^2.4.

    srgb: any shape, nominal range [0, 1]; torch or numpy.
    """
    if isinstance(srgb, Tensor):
        power = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
        return torch.where(srgb <= 0.04045, srgb / 12.92, power)
    power = ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, srgb / 12.92, power)
