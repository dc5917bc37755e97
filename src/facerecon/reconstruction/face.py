"""One photograph's face in 3D: found, regressed, drawn to its landmarks, textured."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.data.parsing_labels import FACE_CLASSES
from facerecon.geometry.cameras import STANDARD_SIZE, head_to_camera, project_perspective, standard_focal
from facerecon.geometry.crop import CropTransform
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.storage import load_face_model
from facerecon.preprocess.face import Box, Face, FaceFinder, find_face
from facerecon.preprocess.landmark_fit import FaceFit, LandmarkBasis, fit_landmarks, landmark_sigma
from facerecon.preprocess.parsing import ParseFace, load_parser
from facerecon.reconstruction.texture import FaceTexture, View, complete_texture

FINEST_CROP = 1024
"""Side of the largest crop that colours are taken from, pixels."""
REFINEMENT_PRECISION = 4.0
"""How firmly refinement holds the regressed coefficients: inverse variance, 1 for the face model's own prior."""
LEAST_FACE = 0.06
"""Fraction of the crop (a frontal face covers a quarter) that must be bare face for the mask to be believed."""

Weights = Mapping[str, str | os.PathLike | None]


@dataclass(frozen=True)
class FaceParameters:
    """One face. identity (I,), expression (E,), albedo (A,): coefficients of the face model; rotation (3,) pitch, yaw,
    roll, rad; translation (3,) mm in the camera of the standard crop; light (9, 3) spherical harmonics (regressors give
    white light, three equal columns). float32."""

    identity: Tensor
    expression: Tensor
    albedo: Tensor
    rotation: Tensor
    translation: Tensor
    light: Tensor


RegressFace = Callable[[NDArray[np.uint8]], FaceParameters]
"""Standard crop (224, 224, 3) uint8 sRGB -> parameters."""


@dataclass(frozen=True)
class Reconstruction:
    """A photograph's face.

    vertices: (V, 3) mm, head frame, with expression. pixels: (V, 3) x, y in pixels of the photograph and z in mm.
    landmarks_3d: (68, 3) the model's landmarks: x, y in pixels of the photograph, z in pixels of the same scale, away
    from the camera, 0 at the head's origin. focal, centre (2,): the perspective camera, pixels of the photograph.
    """

    face: Face
    parameters: FaceParameters
    vertices: Tensor
    pixels: Tensor
    landmarks_3d: NDArray[np.float32]
    focal: float
    centre: NDArray[np.float64]
    texture: FaceTexture


@dataclass(frozen=True)
class Reconstructor:
    """What is loaded once for many photographs; the networks are plain functions, so that any can be put in."""

    model: LinearFaceModel
    basis: LandmarkBasis
    finder: FaceFinder
    regress: RegressFace
    parse: ParseFace

    @classmethod
    def load(
        cls,
        weights: Weights | None = None,
        face_model: str | os.PathLike | None = None,
        level: int = 2,
        finder: FaceFinder | None = None,
        regress: RegressFace | None = None,
        parse: ParseFace | None = None,
    ) -> "Reconstructor":
        """Load networks by name (detector, landmarks, parsing, amplitude_phase; None: carried) and the face model.

        finder, regress, parse: used in place of those networks. Raises InputError if a file is missing or unfit.
        """
        weights = weights or {}
        model = load_face_model(face_model, level=level)
        return cls(
            model=model,
            basis=LandmarkBasis.of(model),
            finder=finder or FaceFinder.load(weights),
            regress=regress or load_regressor(weights.get("amplitude_phase"), model),
            parse=parse or load_parser(weights.get("parsing")),
        )

    def reconstruct(
        self, image: NDArray[np.uint8], box: Box | None = None, texture_size: int = 512, refine: bool = True
    ) -> Reconstruction:
        """Reconstruct the main face of a photograph.

        image: (H, W, 3) uint8 sRGB. box: x0, y0, x1, y1 of the face, pixels, if it is known. refine: draw pose,
        identity and expression to the landmarks after the network. Raises InputError if there is no face.
        """
        face = find_face(image, self.finder, self.basis.mean.numpy(), box)
        crop = face.crop.warp(image)
        parameters = self.regress(crop)
        if refine:
            parameters = self._refined(parameters, face)
        with torch.no_grad():
            vertices = self.model.decode(parameters.identity[None], parameters.expression[None])
            albedo = self.model.decode_albedo(parameters.albedo[None])[0]
            landmarks = self.model.landmarks(vertices)
        texture = self._texture(image, crop, face.crop, parameters, vertices, albedo, texture_size)
        pixels = _in_photo(_project(vertices, parameters, STANDARD_SIZE), face.crop)
        points = _in_photo(_project(landmarks, parameters, STANDARD_SIZE), face.crop).numpy()
        focal = standard_focal(STANDARD_SIZE) / face.crop.scale
        depth = (points[:, 2:] - float(parameters.translation[2])) * focal / float(parameters.translation[2])
        return Reconstruction(
            face=face,
            parameters=replace(parameters, light=torch.from_numpy(texture.light)),
            vertices=vertices[0],
            pixels=pixels,
            landmarks_3d=np.concatenate([points[:, :2], depth], axis=1).astype(np.float32),
            focal=focal,
            centre=face.crop.to_photo(np.full(2, STANDARD_SIZE / 2.0)),
            texture=texture,
        )

    def _refined(self, parameters: FaceParameters, face: Face) -> FaceParameters:
        """Parameters nearer to the landmarks: the regressed coefficients are the prior's centre."""
        start = FaceFit(
            parameters.identity[None],
            parameters.expression[None],
            parameters.rotation[None],
            parameters.translation[None],
            torch.zeros(1),
        )
        fit = fit_landmarks(
            torch.from_numpy(face.crop.to_crop(face.landmarks))[None],
            landmark_sigma(torch.from_numpy(face.expected_error * face.crop.scale))[None],
            self.basis,
            start=start,
            prior_mean=start.coefficients,
            prior_precision=REFINEMENT_PRECISION,
        )
        if not bool(torch.isfinite(fit.residual).all()):
            return parameters
        return replace(
            parameters,
            identity=fit.identity[0],
            expression=fit.expression[0],
            rotation=fit.rotation[0],
            translation=fit.translation[0],
        )

    def _texture(
        self,
        image: NDArray[np.uint8],
        crop: NDArray[np.uint8],
        transform: CropTransform,
        parameters: FaceParameters,
        vertices: Tensor,
        albedo: Tensor,
        size: int,
    ) -> FaceTexture:
        native = round(STANDARD_SIZE / transform.scale)
        side = int(np.clip(native, STANDARD_SIZE, min(FINEST_CROP, max(2 * size, STANDARD_SIZE))))
        fine = transform.resized(side)
        view = View(
            image=fine.warp(image),
            face=_bare_face(self.parse(crop), fine, transform, image.shape),
            pixels=_project(vertices, parameters, side)[0],
            focal=standard_focal(side),
        )
        rotation = euler_to_matrix(parameters.rotation)
        return complete_texture(
            view, vertices[0], rotation, albedo, parameters.light.numpy()[:, 0], self.model.topology, size
        )


def load_regressor(weights: str | os.PathLike | None, model: LinearFaceModel) -> RegressFace:
    """The amplitude_phase system as a function; None means the carried weights."""
    from facerecon.systems.amplitude_phase.model import load_system

    system, _ = load_system(weights, model)

    def regress(crop: NDArray[np.uint8]) -> FaceParameters:
        found = system.predict(crop[None])
        return FaceParameters(
            identity=found.identity[0],
            expression=found.expression[0],
            albedo=found.albedo[0],
            rotation=found.rotation[0],
            translation=found.translation[0],
            light=found.light[0][:, None].expand(9, 3).clone(),
        )

    return regress


def _project(points: Tensor, parameters: FaceParameters, side: int) -> Tensor:
    """Points (1, N, 3) of the head frame in pixels of the standard crop of `side`, z in mm."""
    placed = head_to_camera(points, euler_to_matrix(parameters.rotation)[None], parameters.translation[None])
    return project_perspective(placed, standard_focal(side), (side / 2.0, side / 2.0))


def _in_photo(pixels: Tensor, transform: CropTransform) -> Tensor:
    """Crop pixels (1, N, 3) in pixels of the photograph, z kept."""
    offset = pixels.new_tensor(transform.offset)
    return torch.cat([(pixels[0, :, :2] - offset) / transform.scale, pixels[0, :, 2:]], dim=1)


def _bare_face(
    labels: NDArray[np.uint8], fine: CropTransform, coarse: CropTransform, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Soft mask (S, S) of bare face inside the photograph, from the labels (224, 224) of the coarse crop."""
    inside = fine.warp(np.ones(shape[:2], np.float32))
    mask = np.isin(labels, FACE_CLASSES).astype(np.uint8)
    if mask.mean() < LEAST_FACE:
        return (inside > 0.999).astype(np.float32)
    # Labels err by about a pixel along hair and background, whose colours must not reach the texture.
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=1).astype(np.float32)
    soft = cv2.resize(cv2.GaussianBlur(mask, (0, 0), 1.0), (fine.size, fine.size), interpolation=cv2.INTER_LINEAR)
    return np.where(inside > 0.999, soft, 0.0).astype(np.float32)
