"""Complete texture and albedo of a face from one photograph.

Seen texels are divided by the light's shading; unseen ones take the albedo of their mirror images, or else the face
model's, each drawn to the seen ones' colour by an offset that is spread smoothly from the seam: gradients come from the
source and the boundary from the target, as in Poisson blending, at the cost of a few picture pyramids. Lit again, that
is the texture; at fully trusted texels it is the photograph itself.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.geometry.normals import normals_across_seams
from facerecon.geometry.spherical_harmonics import sh_basis
from facerecon.morphable.topology import Topology
from facerecon.reconstruction.diffusion import extend
from facerecon.reconstruction.lighting import fit_light
from facerecon.render.shading import linear_to_srgb, srgb_to_linear
from facerecon.render.unwrap import surface_facing, unwrap, uv_surface

LEAST_SHADING = 0.25
"""Shading, relative to its median over what is seen, below which dividing by it would magnify errors; clamped there."""
_DARKEST = 0.01
"""Least albedo, so that its logarithm exists."""
_REACH = 1.0 / 5.0
"""Distance over which a seam's own colour offset gives way to the whole face's, a fraction of the texture's side."""
_BRIGHTER, _DARKER = 0.4, 1.6
"""How far the logarithm of a delit texel may lie above (highlights) and below (hairs) the smooth albedo around it."""
_FEATHER = 1.0 / 48.0
"""Width of the seams between seen and unseen texels, a fraction of the texture's side."""
_CLIPPED = 0.97
_FACING = (0.25, 0.6)
"""Cosines between normal and view from which a texel begins to be trusted, and is fully trusted."""


@dataclass(frozen=True)
class View:
    """A face as a photograph shows it.

    image: (S, S, 3) uint8 sRGB standard crop at any resolution. face: (S, S) float32 in [0, 1], 1 where the photograph
    shows bare face (no hair, glasses or other occluder). pixels: (V, 3) x, y in pixels of `image`, z in mm. focal: in
    pixels.
    """

    image: NDArray[np.uint8]
    face: NDArray[np.float32]
    pixels: Tensor
    focal: float


@dataclass(frozen=True)
class FaceTexture:
    """texture, albedo: (T, T, 3) uint8 sRGB, complete, row 0 is v = 1. trust: (T, T) float32, how much of each texel is
    the photograph's. light: (9, 3) float32 spherical harmonics of the view frame."""

    texture: NDArray[np.uint8]
    albedo: NDArray[np.uint8]
    trust: NDArray[np.float32]
    light: NDArray[np.float32]


@dataclass(frozen=True)
class _Surface:
    """What the mesh says of each texel: covered (T, T) bool; normals in the view frame, the model's albedo, facing, and
    the mirror texel's place as (column, row)."""

    covered: NDArray[np.bool_]
    normals: NDArray[np.float32]
    albedo: NDArray[np.float32]
    facing: NDArray[np.float32]
    mirror: NDArray[np.float32]


def complete_texture(
    view: View,
    vertices: Tensor,
    rotation: Tensor,
    albedo: Tensor,
    light: NDArray[np.float32],
    topology: Topology,
    size: int = 512,
) -> FaceTexture:
    """Texture and albedo of a reconstructed face.

    vertices: (V, 3) mm, head frame. rotation: (3, 3) head to view frame. albedo: (V, 3) linear RGB of the face model.
    light: (9,) or (9, 1) white estimate to begin with; it is fitted to the photograph. size: of the texture, texels.
    """
    surface = _surface(view, vertices, rotation, albedo, topology, size)
    seen, trust = _seen(view, surface, topology, size)
    light = _fitted_light(seen, trust, surface, light)
    shading, depth = _shading(surface, light, trust)
    model = np.log(np.maximum(surface.albedo, _DARKEST))
    own = np.log(np.maximum(seen / shading, _DARKEST))
    mirrored, mirrored_trust = _mirrored(own, trust, surface)
    filled = _blended(model, mirrored, mirrored_trust)
    whole = _blended(filled, own, trust)
    base = model + _typical(own - model, trust)
    reliable = _ramp(depth, LEAST_SHADING, 2.5 * LEAST_SHADING)[..., None]
    delit = np.exp(base + reliable * _limited(whole - base))
    return FaceTexture(
        texture=_picture(np.exp(whole) * shading, surface.covered),
        albedo=_picture(delit, surface.covered),
        trust=trust,
        light=light,
    )


def _surface(view: View, vertices: Tensor, rotation: Tensor, albedo: Tensor, topology: Topology, size: int) -> _Surface:
    copies = torch.from_numpy(topology.seam_copies)
    normals = normals_across_seams(vertices[None], topology.welded_triangles, copies)[0] @ rotation.T
    centre = (view.image.shape[1] / 2.0, view.image.shape[0] / 2.0)
    facing = surface_facing(view.pixels[None], topology.triangles, view.focal, centre)[0]
    mirror = torch.from_numpy(topology.uv[topology.mirror])
    attributes = torch.cat([normals, albedo, facing[:, None], mirror], dim=1).float()
    covered, values = (part.numpy() for part in uv_surface(topology.uv, topology.triangles, attributes, size))
    length = np.linalg.norm(values[..., :3], axis=-1, keepdims=True)
    place = np.stack([values[..., 7] * size, (1.0 - values[..., 8]) * size], axis=-1) - 0.5
    return _Surface(
        covered=covered,
        normals=values[..., :3] / np.maximum(length, 1e-6),
        albedo=np.clip(values[..., 3:6], 0.0, 1.0),
        facing=np.where(covered, values[..., 6], 0.0),
        mirror=place.astype(np.float32),
    )


def _seen(
    view: View, surface: _Surface, topology: Topology, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear colours (T, T, 3) that the photograph shows, and how far to trust each texel (T, T) in [0, 1]."""
    linear = srgb_to_linear(view.image.astype(np.float32) / 255.0).astype(np.float32)
    place = {"vertices_pixels": view.pixels, "triangles": topology.triangles, "uv": topology.uv, "size": size}
    colours, visible = unwrap(linear, **place, focal=view.focal)
    mask, _ = unwrap(np.repeat(view.face[..., None], 3, axis=2), **place, focal=view.focal)
    # The border of the whole chart is no seam: only texels on the mesh that are not seen push the trust down.
    usable = visible.numpy() & (surface.facing > _FACING[0]) & (mask[..., 0].numpy() > 0.6)
    distance = cv2.distanceTransform((usable | ~surface.covered).astype(np.uint8), cv2.DIST_L2, 3)
    return colours.numpy(), usable * _ramp(surface.facing, *_FACING) * _ramp(distance, 0.5, _FEATHER * size)


def _fitted_light(
    seen: NDArray[np.float32], trust: NDArray[np.float32], surface: _Surface, start: NDArray[np.float32]
) -> NDArray[np.float32]:
    stride = max(1, len(trust) // 128)
    rows = np.s_[::stride, ::stride]
    # A channel that the camera clipped tells nothing of the light.
    weight = trust * (seen.max(axis=2) < _CLIPPED)
    parts = (part[rows].reshape(-1, *part.shape[2:]) for part in (seen, surface.albedo, surface.normals, weight))
    return fit_light(*parts, start=start)


def _shading(
    surface: _Surface, light: NDArray[np.float32], trust: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shading (T, T, 3) of each texel, clamped from below, and its depth (T, T): relative to the typical one."""
    shading = (sh_basis(surface.normals) @ light).astype(np.float32)
    brightness = shading.mean(axis=2)
    lit = brightness[trust > 0.5] if (trust > 0.5).any() else brightness[surface.covered]
    typical = max(float(np.median(lit)), 1e-3)
    tint = np.maximum(light.mean(axis=0), 1e-6) / max(float(light.mean()), 1e-6)
    return np.maximum(shading, LEAST_SHADING * typical * tint), brightness / typical


def _mirrored(
    values: NDArray[np.float32], trust: NDArray[np.float32], surface: _Surface
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and trust of each texel's mirror image."""
    place = (surface.mirror[..., 0], surface.mirror[..., 1])
    colours = cv2.remap(values, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weights = cv2.remap(trust, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colours, np.where(surface.covered, weights, 0.0).astype(np.float32)


def _blended(
    source: NDArray[np.float32], target: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`target` where it has weight; elsewhere `source`, moved smoothly so that it meets the target at the seam."""
    offset = target - source
    typical = _typical(offset, weight)
    away = cv2.distanceTransform((weight <= 0.0).astype(np.uint8), cv2.DIST_L2, 3)
    fading = np.exp(-away / (_REACH * len(weight)))[..., None]
    moved = source + typical + fading * extend(offset - typical, weight)
    return weight[..., None] * target + (1.0 - weight[..., None]) * moved


def _typical(offset: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median (3,) of an offset where it is well known; zeros where it is nowhere."""
    known = offset[weight > 0.5]
    return np.median(known, axis=0) if len(known) else np.zeros(3, np.float32)


def _limited(offset: NDArray[np.float32]) -> NDArray[np.float32]:
    """Soft limit of logarithmic deviations: highlights and deep shadows are no albedo."""
    return np.where(offset > 0, _BRIGHTER * np.tanh(offset / _BRIGHTER), _DARKER * np.tanh(offset / _DARKER))


def _ramp(values: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """Smooth step: 0 up to `low`, 1 from `high`."""
    part = np.clip((values - low) / (high - low), 0.0, 1.0)
    return (part * part * (3.0 - 2.0 * part)).astype(np.float32)


def _picture(linear: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(T, T, 3) uint8 sRGB; texels off the mesh take the colour around, so that no background bleeds in at its edge."""
    whole = extend(np.clip(linear, 0.0, 1.0), covered.astype(np.float32))
    return np.round(255.0 * linear_to_srgb(np.clip(whole, 0.0, 1.0))).astype(np.uint8)
