"""amplitude_phase at inference: a network from crops to coefficients, and the face they stand for.

The standard crop (facerecon.geometry.crop) at the backbone's resolution goes in; identity, expression, albedo, pose and
white light come out; the face model, the camera of the crop and Lambertian shading make the face (eq. 1 to 3).
"""

import copy
import os
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.errors import InputError
from facerecon.geometry.cameras import (
    STANDARD_DISTANCE,
    head_to_camera,
    project_scaled_orthographic,
    project_standard_crop,
    standard_focal,
)
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.geometry.spherical_harmonics import SH_CONSTANTS
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.networks.backbones import backbone_input_size, build_backbone
from facerecon.networks.weights import carried_weights, load_weights
from facerecon.render.mesh import render_mesh
from facerecon.render.shading import linear_to_srgb, shade
from facerecon.systems.amplitude_phase.settings import NetworkSettings

NAME = "amplitude_phase"

_LIGHT_TERMS = 9
_AMBIENT_SHADING, _FRONTAL_SHADING = 0.7, 0.3
# One unit of a head's output stands for this much, so that all outputs learn at a like pace.
_ROTATION_SCALE = 0.5  # rad
_TRANSLATION_SCALE = (20.0, 20.0, 50.0)  # mm


class DecodedFace(NamedTuple):
    """B faces decoded: vertices (B, V, 3) mm, head frame; pixels (B, V, 3) x, y in pixels of the crop and z in mm;
    landmarks (B, 68, 2) pixels of the crop; colours (B, V, 3) shaded sRGB, not clipped."""

    vertices: Tensor
    pixels: Tensor
    landmarks: Tensor
    colours: Tensor


class CoefficientNetwork(nn.Module):
    """Backbone and one linear layer a coefficient group, all zero at first.

    Before training every crop gives the mean face, frontal, at the standard distance, under light that shades surfaces
    facing the camera by 1 and those seen edge-on by 0.7.
    """

    def __init__(self, dimensions: dict[str, int], settings: NetworkSettings, initial_weights: str | None = None):
        """dimensions: of the face model: identity, expression, albedo."""
        super().__init__()
        self.backbone = build_backbone(settings.backbone, initial_weights)
        self.sizes = [dimensions["identity"], dimensions["expression"], dimensions["albedo"], 3, 3, _LIGHT_TERMS]
        self.heads = nn.Linear(self.backbone.feature_size, sum(self.sizes))
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)
        light = torch.zeros(_LIGHT_TERMS)
        light[0], light[2] = _AMBIENT_SHADING / SH_CONSTANTS[0], _FRONTAL_SHADING / SH_CONSTANTS[2]
        for name, values in (
            ("light_start", light),
            ("translation_start", torch.tensor([0.0, 0.0, STANDARD_DISTANCE])),
            ("translation_scale", torch.tensor(_TRANSLATION_SCALE)),
        ):
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> FaceParameters:
        """images: (B, 3, S, S) sRGB in [0, 1], standard crops of the backbone's size."""
        identity, expression, albedo, rotation, translation, light = (
            self.heads(self.backbone(images)).float().split(self.sizes, dim=1)
        )
        return FaceParameters(
            identity,
            expression,
            albedo,
            _ROTATION_SCALE * rotation,
            self.translation_start + self.translation_scale * translation,
            (self.light_start + light)[..., None],
        )


class FaceDecoder:
    """The known part of the system: from coefficients to vertices, pixels and pictures.

    size: side of the crop in pixels. renderer: a backend of facerecon.render.backends; None is that of the device.
    Differentiable; runs where the face model lies.
    """

    def __init__(self, face_model: FaceModel, size: int, camera: str = "perspective", renderer: str | None = None):
        self.face_model, self.size, self.camera, self.renderer = face_model, size, camera, renderer
        triangles = np.asarray(face_model.topology.triangles)
        self.triangles = torch.as_tensor(triangles, dtype=torch.int32, device=face_model.mean.device)

    def to(self, device: torch.device) -> None:
        """Go on with a copy of the face model, which others may share, on another device."""
        self.face_model = copy.deepcopy(self.face_model).to(device)
        self.triangles = self.triangles.to(device)

    def reconstruct(self, coefficients: FaceParameters) -> DecodedFace:
        """Decode coefficients (eq. 1), place and project (eq. 2) and shade (eq. 3)."""
        vertices = self.face_model.decode(coefficients.identity, coefficients.expression)
        placed = head_to_camera(vertices, euler_to_matrix(coefficients.rotation), coefficients.translation)
        # Landmarks are weighted means of vertices: placing them after or before is the same.
        landmarks = self._project(self.face_model.landmarks(placed), coefficients)[..., :2]
        pixels = self._project(placed, coefficients)
        return DecodedFace(vertices, pixels, landmarks, self.shade(placed, coefficients))

    def _project(self, placed: Tensor, coefficients: FaceParameters) -> Tensor:
        """Points (B, N, 3) of the camera frame, mm, to (B, N, 3): x, y in crop pixels, z in mm."""
        if self.camera == "perspective":
            return project_standard_crop(placed, self.size)
        # One scale for the whole face: that of a perspective view at the distance of the head's origin.
        scale = standard_focal(self.size) / coefficients.translation[:, 2]
        return project_scaled_orthographic(placed, scale, (self.size / 2.0, self.size / 2.0))

    def shade(self, placed: Tensor, coefficients: FaceParameters) -> Tensor:
        """Colours (B, V, 3) of vertices in the camera frame under white light, sRGB, not clipped."""
        albedo = self.face_model.decode_albedo(coefficients.albedo)
        # The view frame of light has the camera's axes with y up and z toward the viewer.
        normals = self.face_model.normals(placed) * placed.new_tensor([1.0, -1.0, -1.0])
        return linear_to_srgb(shade(albedo, normals, coefficients.light))

    def render(self, face: DecodedFace) -> tuple[Tensor, Tensor]:
        """Picture (B, 3, S, S), sRGB, 0 beside the face, not clipped, and its coverage (B, S, S) bool."""
        image, mask = render_mesh(face.pixels, self.triangles, face.colours, self.size, backend=self.renderer)
        return image.permute(0, 3, 1, 2), mask


class AmplitudePhase:
    """The trained system: crops to coefficients to faces, without gradients."""

    def __init__(self, network: CoefficientNetwork, face_model: FaceModel, settings: NetworkSettings):
        self.network = network.eval().requires_grad_(False)
        self.decoder = FaceDecoder(face_model, backbone_input_size(settings.backbone), settings.camera)

    @torch.no_grad()
    def predict(self, crops: np.ndarray | Tensor) -> FaceParameters:
        """Coefficients of standard crops: (B, 224, 224, 3) uint8 sRGB, or (B, 3, S, S) float in [0, 1]."""
        images = torch.as_tensor(crops)
        if images.dtype == torch.uint8:
            images = images.permute(0, 3, 1, 2).float() / 255.0
        return self.network(resize_crops(images, self.decoder.size))

    @torch.no_grad()
    def reconstruct(self, coefficients: FaceParameters) -> DecodedFace:
        """The faces of coefficients, in pixels of a crop of the network's resolution (`decoder.size`)."""
        return self.decoder.reconstruct(coefficients)


def resize_crops(images: Tensor, size: int) -> Tensor:
    """Crops (B, C, S, S) at another size by averaging areas; `size` divides S or equals it, else InputError."""
    if images.shape[-1] == size:
        return images
    if images.shape[-1] % size or images.shape[-2] != images.shape[-1]:
        raise InputError(f"crops of {images.shape[-2]}x{images.shape[-1]} pixels cannot be averaged to {size}x{size}")
    return F.avg_pool2d(images, images.shape[-1] // size)


def load_system(weights: str | os.PathLike | None, face_model: FaceModel) -> tuple[AmplitudePhase, dict[str, Any]]:
    """The system with trained weights (None: those carried), and their card.

    Raises InputError if the weights are missing, damaged, for another face model, or not of this system.
    """
    path = carried_weights(NAME) if weights is None else weights
    state, card = load_weights(path, face_model.sha256)
    if card.get("name") != NAME:
        raise InputError(f"{path}: weights of {card.get('name')!r}, not of {NAME}; give those of train {NAME}")
    try:
        settings = NetworkSettings(**card["settings"]["network"])
        network = CoefficientNetwork(face_model.dimensions, settings)
        network.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise InputError(f"{path}: weights that do not fit this version of {NAME}; retrain it") from None
    return AmplitudePhase(network, face_model, settings), card
