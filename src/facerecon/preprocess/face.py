"""One photograph's face: detection, the 68 landmarks and the standard crop, in memory."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import sha256_file
from facerecon.errors import InputError
from facerecon.geometry.crop import CropTransform, crop_transform

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the photograph."""

PROPOSAL_SCORE = 0.4
"""Detector score from which the landmark network is asked whether there is a face. Lower than the detector's own
threshold, which has no second opinion: 95 % of synthetic photographs' faces score 0.42 or more."""


class NoFaceError(InputError):
    """The detector finds no face; where the user knows better, a box helps."""


class FoundBox(Protocol):
    """What a detector gives for each face (networks.detector.Detection)."""

    @property
    def box(self) -> NDArray: ...

    @property
    def score(self) -> float: ...


class FoundLandmarks(Protocol):
    """What a landmark network gives (networks.landmarks.LandmarkPrediction)."""

    @property
    def points(self) -> NDArray: ...

    @property
    def expected_error(self) -> NDArray: ...

    @property
    def confidence(self) -> NDArray: ...


@dataclass(frozen=True)
class FaceFinder:
    """The two functions that find a face, so that any detector and any landmark network can be put in.

    detect: photograph (H, W, 3) uint8 -> faces, any order. predict: (photograph, box (4,)) -> landmarks. sha256: of the
    weights behind them by name, for the provenance of what depends on them.
    """

    detect: Callable[[NDArray], Sequence[FoundBox]]
    predict: Callable[[NDArray, NDArray], FoundLandmarks]
    sha256: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, weights: Mapping[str, str | os.PathLike | None] | None = None) -> "FaceFinder":
        """The detector and landmark network of files by name (`detector`, `landmarks`); None means those carried."""
        from facerecon.networks.detector import detect_faces, load_detector
        from facerecon.networks.landmarks import load_landmark_network, predict_landmarks
        from facerecon.networks.weights import carried_weights

        files = {name: (weights or {}).get(name) or carried_weights(name) for name in ("detector", "landmarks")}
        detector, network = load_detector(files["detector"]), load_landmark_network(files["landmarks"])
        return cls(
            detect=lambda image: detect_faces(image, detector, PROPOSAL_SCORE, verifier=network),
            predict=lambda image, box: predict_landmarks(image, box, network),
            sha256={name: sha256_file(file) for name, file in files.items()},
        )


@dataclass(frozen=True)
class Face:
    """The face chosen in a photograph.

    box: (4,) x0, y0, x1, y1; score: the detector's, in [0, 1] (1 for a box that was given). landmarks: (68, 2) and
    expected_error: (68,), all in photo pixels; confidence: (68,) in [0, 1]. crop: the standard crop.
    faces: how many were found.
    """

    box: NDArray[np.float32]
    score: float
    landmarks: NDArray[np.float32]
    expected_error: NDArray[np.float32]
    confidence: NDArray[np.float32]
    crop: CropTransform
    faces: int


def find_face(image: NDArray[np.uint8], finder: FaceFinder, mean_landmarks: NDArray, box: Box | None = None) -> Face:
    """Find the main face of a photograph.

    image: (H, W, 3) uint8 sRGB. mean_landmarks: (68, 3) mm of the face model's mean face. box: about the landmarks'
    box, if it is known; the detector is not asked then.
    Raises InputError, without the photograph's name, if no face is found (NoFaceError) or its landmarks make no sense.
    """
    if box is None:
        found = finder.detect(image)
        if not found:
            raise NoFaceError("no face was found")
        chosen = found[main_face([each.box for each in found], image.shape)]
        own, score, faces = np.asarray(chosen.box, np.float32), float(chosen.score), len(found)
    else:
        own, score, faces = _checked_box(box, image.shape), 1.0, 1
    predicted = finder.predict(image, own)
    points = np.asarray(predicted.points, np.float32)
    try:
        crop = crop_transform(points, mean_landmarks)
    except ValueError as error:
        raise InputError(f"{error}; no face can be there") from None
    return Face(
        box=own,
        score=score,
        landmarks=points,
        expected_error=np.asarray(predicted.expected_error, np.float32),
        confidence=np.asarray(predicted.confidence, np.float32),
        crop=crop,
        faces=faces,
    )


def main_face(boxes: Sequence[NDArray], shape: tuple[int, ...]) -> int:
    """Index of the face that the photograph is about: the largest, unless a slightly smaller one is more central.

    boxes: x0, y0, x1, y1 each. shape: (H, W, ...) of the photograph. A face at a corner counts for a third of its size.
    """
    areas, weights = [], []
    half = np.array([shape[1], shape[0]]) / 2.0
    for box in np.asarray(boxes, np.float64):
        distance = np.linalg.norm(((box[:2] + box[2:]) / 2.0 - half) / half) / np.sqrt(2.0)
        areas.append(np.prod(np.maximum(box[2:] - box[:2], 0.0)))
        weights.append(1.0 - 2.0 / 3.0 * min(distance, 1.0))
    return int(np.argmax(np.array(areas) * np.array(weights)))


def _checked_box(box: Box, shape: tuple[int, ...]) -> NDArray[np.float32]:
    own = np.asarray(box, np.float32)
    height, width = shape[:2]
    if not np.isfinite(own).all() or (own[2:] <= own[:2]).any():
        raise InputError(f"the box {box} has no area")
    if own[0] >= width or own[1] >= height or own[2] <= 0 or own[3] <= 0:
        raise InputError(f"the box {box} (x0, y0, x1, y1) lies outside the {width}x{height} photograph")
    return own
