"""One photograph's face in 3D: found, regressed, drawn to its landmarks, textured."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.artefacts import sha256_file
from facerecon.data.parsing_labels import FACE_CLASSES
from facerecon.errors import InputError
from facerecon.geometry.cameras import STANDARD_SIZE, head_to_camera, project_standard_crop, standard_focal
from facerecon.geometry.crop import CropTransform
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.morphable.storage import load_face_model
from facerecon.networks.weights import weights_file
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


RegressFace = Callable[[NDArray[np.uint8]], FaceParameters]
"""Standard crop (224, 224, 3) uint8 sRGB -> parameters of one face (B = 1), for the perspective camera."""


@dataclass(frozen=True)
class Reconstruction:
    """A photograph's face.

    parameters: B = 1, light (1, 9, 3). vertices: (V, 3) mm, head frame, with expression. pixels: (V, 3) x, y in pixels
    of the photograph and z in mm. landmarks_3d: (68, 3) the model's landmarks: x, y in pixels of the photograph, z in
    pixels of the same scale, away from the camera, 0 at the head's origin. focal, centre (2,): the perspective camera,
    pixels of the photograph.
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
    """What is loaded once for many photographs; the networks are plain functions, so that any can be put in.

    sha256: of the weights behind them by network, for provenance; functions that were put in have none.
    """

    model: FaceModel
    basis: LandmarkBasis
    finder: FaceFinder
    regress: RegressFace
    parse: ParseFace
    sha256: Mapping[str, str] = field(default_factory=dict)

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
        finder = finder or FaceFinder.load(weights)
        loaded = {"amplitude_phase": regress is None, "parsing": parse is None}
        files = {name: weights_file(name, weights.get(name)) for name, own in loaded.items() if own}
        return cls(
            model=model,
            basis=LandmarkBasis.of(model),
            finder=finder,
            regress=regress or load_regressor(weights.get("amplitude_phase"), model),
            parse=parse or load_parser(weights.get("parsing")),
            sha256={**finder.sha256, **{name: sha256_file(file) for name, file in files.items()}},
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
            vertices = self.model.decode(parameters.identity, parameters.expression)
            albedo = self.model.decode_albedo(parameters.albedo)[0]
            landmarks = self.model.landmarks(vertices)
        texture = self._texture(image, crop, face.crop, parameters, vertices, albedo, texture_size)
        pixels = _in_photo(_project(vertices, parameters, STANDARD_SIZE), face.crop)
        points = _in_photo(_project(landmarks, parameters, STANDARD_SIZE), face.crop).numpy()
        focal = standard_focal(STANDARD_SIZE) / face.crop.scale
        distance = float(parameters.translation[0, 2])
        depth = (points[:, 2:] - distance) * focal / distance
        return Reconstruction(
            face=face,
            parameters=parameters._replace(light=torch.from_numpy(texture.light)[None]),
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
            parameters.identity, parameters.expression, parameters.rotation, parameters.translation, torch.zeros(1)
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
        return parameters._replace(
            identity=fit.identity, expression=fit.expression, rotation=fit.rotation, translation=fit.translation
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
        rotation = euler_to_matrix(parameters.rotation)[0]
        return complete_texture(
            view, vertices[0], rotation, albedo, parameters.light[0, :, 0].numpy(), self.model.topology, size
        )


def load_regressor(weights: str | os.PathLike | None, model: FaceModel) -> RegressFace:
    """The amplitude_phase system as a function; None means the carried weights.

    Raises InputError if they cannot be used, or were trained for another camera than the perspective one.
    """
    from facerecon.systems.amplitude_phase.model import load_system

    system, _ = load_system(weights, model)
    if system.decoder.camera != "perspective":
        raise InputError(
            f"{weights}: trained with camera {system.decoder.camera}, but faces are drawn in perspective; "
            "use weights trained with camera: perspective"
        )
    return lambda crop: system.predict(crop[None])


def _project(points: Tensor, parameters: FaceParameters, side: int) -> Tensor:
    """Points (1, N, 3) of the head frame in pixels of the standard crop of `side`, z in mm."""
    placed = head_to_camera(points, euler_to_matrix(parameters.rotation), parameters.translation)
    return project_standard_crop(placed, side)


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
