"""Rendered portraits with known answers, and networks that know them: for tests of what comes around the networks."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import cv2
import numpy as np
import torch

from facerecon.geometry.cameras import head_to_camera, project_perspective, standard_focal
from facerecon.geometry.crop import CropTransform, crop_transform
from facerecon.geometry.normals import vertex_normals
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.networks.image_crops import warp
from facerecon.preprocess.face import FaceFinder
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.render.mesh import render_mesh
from facerecon.render.shading import linear_to_srgb, shade

LIGHT = np.array([2.6, 0.2, 0.9, 0.5, 0, 0, 0, 0, 0], np.float32)
SHAPE = (330, 280)


@dataclass(frozen=True)
class Portrait:
    """image (H, W, 3) uint8; landmarks (68, 2) px; mask (H, W) bool of the face; parameters (B = 1) in its crop."""

    image: np.ndarray
    landmarks: np.ndarray
    mask: np.ndarray
    parameters: FaceParameters


def render_portrait(model: FaceModel, seed: int, yaw: float = 0.3, spread: float = 0.7) -> Portrait:
    """A face of random shape and colour before a smooth background, its standard crop off the photograph's centre."""
    generator = torch.Generator().manual_seed(seed)
    identity, expression, albedo = (
        spread * torch.randn(model.dimensions[name], generator=generator)
        for name in ("identity", "expression", "albedo")
    )
    rotation, translation = torch.tensor([0.1, yaw, -0.08]), torch.tensor([0.0, 0.0, 1000.0])
    matrix = euler_to_matrix(rotation)[None]
    vertices = model.decode(identity[None], expression[None])
    place = CropTransform(0.8, (-30.0 - seed % 5, -25.0))

    def project(points: torch.Tensor) -> torch.Tensor:
        pixels = project_perspective(
            head_to_camera(points, matrix, translation[None]), standard_focal(224), (112.0, 112.0)
        )
        return torch.cat([(pixels[..., :2] - torch.tensor(place.offset)) / place.scale, pixels[..., 2:]], dim=-1)

    normals = vertex_normals(vertices, model.topology.triangles) @ matrix.transpose(1, 2)
    light = torch.from_numpy(LIGHT)[None, :, None]
    colours = linear_to_srgb(shade(model.decode_albedo(albedo[None]).clamp(0.02, 0.95), normals, light).clamp(0, 1))
    rendered, mask = render_mesh(project(vertices), model.topology.triangles, colours, *SHAPE)
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    background = np.stack([0.2 + rows / 900, 0.6 - columns / 900, 0.5 + 0 * rows], axis=-1)
    image = np.where(mask[0, ..., None].numpy(), rendered[0].numpy(), background)
    landmarks = project(model.landmarks(vertices))[0, :, :2].numpy()
    parameters = _in_standard_crop(model, landmarks, place, identity, expression, albedo, rotation, translation)
    return Portrait(np.round(255 * image).astype(np.uint8), landmarks, mask[0].numpy(), parameters)


def _in_standard_crop(model, landmarks, place, identity, expression, albedo, rotation, translation) -> FaceParameters:
    """Parameters as the standard crop's camera sees them: it is centred and scaled by the landmarks, `place` is not."""
    crop = crop_transform(landmarks, LandmarkBasis.of(model).mean.numpy())
    ratio = crop.scale / place.scale
    shift = crop.to_crop(place.to_photo(np.full(2, 112.0))) - 112.0
    depth = float(translation[2]) / ratio
    moved = torch.tensor([*(shift * depth / 1015.0), depth], dtype=torch.float32)
    light = torch.from_numpy(LIGHT)[:, None].repeat(1, 3)
    return FaceParameters(*(part[None] for part in (identity, expression, albedo, rotation, moved, light)))


def crop_mask(transform: CropTransform, mask: np.ndarray) -> np.ndarray:
    """Crop (size, size) uint8, 0 or 1, of a mask (H, W) bool by nearest pixel; 0 outside the photograph."""
    matrix = np.column_stack([transform.scale * np.eye(2), transform.offset])
    return warp(mask.astype(np.uint8), matrix, transform.size, cv2.BORDER_CONSTANT, nearest=True)


@dataclass
class KnowingNetworks:
    """Networks that recognise the portraits they were told of, pixel by pixel, and see no face elsewhere."""

    model: FaceModel
    portraits: list[Portrait]
    current: Portrait | None = None
    boxes: list = field(default_factory=list)

    @property
    def finder(self) -> FaceFinder:
        return FaceFinder(self.detect, self.predict)

    def detect(self, image: np.ndarray) -> list:
        self.current = next((p for p in self.portraits if np.array_equal(p.image, image)), None)
        if self.current is None:
            return []
        points = self.current.landmarks
        return [SimpleNamespace(box=np.concatenate([points.min(0), points.max(0)]), score=0.9), *self.boxes]

    def predict(self, image: np.ndarray, box: np.ndarray) -> SimpleNamespace:
        self.current = next(p for p in self.portraits if np.array_equal(p.image, image))
        return SimpleNamespace(
            points=self.current.landmarks, expected_error=np.full(68, 2.0), confidence=np.full(68, 0.8)
        )

    def regress(self, crop: np.ndarray) -> FaceParameters:
        assert crop.shape == (224, 224, 3) and crop.dtype == np.uint8
        return self.current.parameters

    def parse(self, crop: np.ndarray) -> np.ndarray:
        assert crop.shape == (224, 224, 3) and crop.dtype == np.uint8
        transform = crop_transform(self.current.landmarks, LandmarkBasis.of(self.model).mean.numpy())
        return crop_mask(transform, self.current.mask)
