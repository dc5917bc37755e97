"""Diffuse shading by spherical harmonics, and the sRGB transfer curve."""

import numpy as np
import torch
from torch import Tensor

from facerecon.geometry.spherical_harmonics import sh_basis


def shade(albedo: Tensor, normals_view: Tensor, light: Tensor) -> Tensor:
    """Lambertian colour of each vertex: albedo times the light's spherical-harmonic expansion at its normal.

    albedo: (B, V, 3) linear RGB. normals_view: (B, V, 3) unit, head-centred view frame (x right, y up, z toward the
    viewer). light: (B, 9, 3), or (B, 9, 1) for white light; the cosine kernel's factors are part of it. A batch of 1 is
    broadcast.
    Returns (B, V, 3) linear RGB, not clamped (shading can be negative or above 1). Raises ValueError on other shapes.
    """
    _check_surface(albedo, normals_view, "(B, V, 3)")
    _check_light(light)
    _check_batches(albedo, normals_view, light)
    return albedo * _irradiance(normals_view, light)


def shade_image(albedo: Tensor, normals_view: Tensor, light: Tensor) -> Tensor:
    """Lambertian colour of each pixel of an image or texel of a UV map, under one light or a light of its own.

    albedo, normals_view: (B, H, W, 3) as for `shade`; where the normal is (0, 0, 0), as beside a mesh, the colour means
    nothing but is finite. light: one an image, (B, 9, 3) or (B, 9, 1) for white; or an illumination map, one a pixel:
    (B, H, W, 9, 3), or (B, H, W, 27) in which channel 3 k + c is the coefficient of term k and colour c, so that a
    constant map holds `light.reshape(B, 27)` (the order is our choice: Yang et al., eq. 4, leave it open). A batch of 1
    is broadcast.
    Returns (B, H, W, 3) linear RGB, not clamped. Differentiable in all three. Raises ValueError on other shapes.
    """
    _check_surface(albedo, normals_view, "(B, H, W, 3)")
    height, width = albedo.shape[1:3]
    if light.ndim == 3:
        _check_light(light)
        _check_batches(albedo, normals_view, light)
        # As (B, pixels, 9) times (B, 9, colours): with four dimensions the light would be copied for each row.
        return albedo * _irradiance(normals_view.flatten(1, 2), light).unflatten(1, (height, width))
    if tuple(light.shape[1:]) not in ((height, width, 27), (height, width, 9, 3)):
        maps = f"a map (B, {height}, {width}, 27) or (B, {height}, {width}, 9, 3)"
        raise ValueError(f"light must be (B, 9, 3), (B, 9, 1) or {maps}, not {tuple(light.shape)}")
    _check_batches(albedo, normals_view, light)
    light = light.reshape(len(light), height, width, 9, 3)
    return albedo * _irradiance(normals_view.unsqueeze(-2), light).squeeze(-2)


def _irradiance(normals_view: Tensor, light: Tensor) -> Tensor:
    """sum_k light[..., k, :] basis_k(normal): normals (..., N, 3) under the light (..., 9, C) give (..., N, C)."""
    return sh_basis(normals_view) @ light


def _check_surface(albedo: Tensor, normals_view: Tensor, layout: str) -> None:
    if albedo.ndim != layout.count(",") + 1 or albedo.shape[-1] != 3:
        raise ValueError(f"albedo must be {layout}, not {tuple(albedo.shape)}")
    if normals_view.ndim != albedo.ndim or normals_view.shape[1:] != albedo.shape[1:]:
        raise ValueError(f"normals_view must be {tuple(albedo.shape)} like albedo, not {tuple(normals_view.shape)}")


def _check_light(light: Tensor) -> None:
    if light.ndim != 3 or light.shape[1] != 9 or light.shape[2] not in (1, 3):
        raise ValueError(f"light must be (B, 9, 3) or (B, 9, 1), not {tuple(light.shape)}")


def _check_batches(*tensors: Tensor) -> None:
    sizes = [len(tensor) for tensor in tensors]
    if len({size for size in sizes if size != 1}) > 1:
        raise ValueError(f"albedo, normals_view and light have batches of {sizes}: make them equal, or 1")


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
