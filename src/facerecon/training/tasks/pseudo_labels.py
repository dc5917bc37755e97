"""Landmarks of photographs that nobody has marked, as a trained network gives them where it is sure (self-training).

The teacher looks at each face in several crops, mirrored and not. Where these looks agree and the teacher expects a
small error, their mean counts as the truth; photographs without such a face are left out, and points weigh less the
larger the error that is expected of them.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facerecon.data.images import IMAGE_SUFFIXES, read_image
from facerecon.errors import InputError
from facerecon.networks.detector import DetectorNetwork, detect_faces
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import LandmarkNetwork, predict_landmarks
from facerecon.progress import track

_LONGEST_SIDE = 512  # pixels of the face's surroundings that are kept
_SURROUNDINGS = 2.2  # side of what is kept around a face, of its box's
_LOOKS = (0.88, 1.0, 1.14)  # sizes of the box that the teacher starts from, of the face's


@dataclass(frozen=True)
class PseudoLabels:
    """images: JPEG files of the faces' surroundings; landmarks (N, 68, 2) their pixels; weights (N, 68) in (0, 1];
    sha256: of all that was found; looked_at: how many photographs there were; damaged: those that could not be read."""

    images: list[NDArray[np.uint8]]
    landmarks: NDArray[np.float32]
    weights: NDArray[np.float32]
    sha256: str
    looked_at: int
    damaged: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def image(self, number: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB."""
        return cv2.imdecode(self.images[number], cv2.IMREAD_COLOR_RGB)


def label_photographs(
    folders: Sequence[str | os.PathLike],
    detector: DetectorNetwork,
    teacher: LandmarkNetwork,
    largest_error: float = 0.04,
) -> PseudoLabels:
    """Pseudo labels of the photographs below `folders`.

    largest_error: of the box's longer side; a face is kept if the mean expected error, and the mean distance between
    looks, are at most this. Raises InputError if a folder does not exist or nothing is kept.
    """
    images, landmarks, weights, damaged = [], [], [], []
    paths = [path for folder in folders for path in _pictures(Path(folder))]
    for path in track(paths, "pseudo labels", len(paths)):
        try:
            photo = read_image(path)
        except InputError:  # one damaged file among a user's thousands is no reason to stop
            damaged.append(path)
            continue
        for detection in detect_faces(photo, detector, verifier=teacher):
            labelled = look_at_face(photo, detection.box, teacher, largest_error)
            if labelled is not None:
                points, weight = labelled
                image, points = _surroundings(photo, points)
                images.append(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
                landmarks.append(points)
                weights.append(weight)
    if not images:
        raise InputError(f"{', '.join(map(str, folders))}: no face that the landmark network is sure of; give others")
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.tobytes())
    arrays = [np.array(values, np.float32) for values in (landmarks, weights)]
    for array in arrays:
        digest.update(array.tobytes())
    return PseudoLabels(images, *arrays, digest.hexdigest(), len(paths), tuple(damaged))


def look_at_face(
    photo: NDArray[np.uint8], box: NDArray, teacher: LandmarkNetwork, largest_error: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Mean points (68, 2) of several looks at the face in `box` (4,) and their weights (68,).

    None if the teacher is not sure: its mean expected error or its looks' mean disagreement exceed `largest_error` of
    the box's longer side.
    """
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    looks = [
        predict_landmarks(photo, np.concatenate([centre - factor * half, centre + factor * half]), teacher, 0)
        for factor in _LOOKS
    ]
    points = np.array([look.points for look in looks])
    mean = points.mean(0)
    side = float(np.ptp(mean, axis=0).max())
    if side < 1:
        return None
    disagreement = np.linalg.norm(points - mean, axis=2).mean(0) / side
    expected = np.mean([look.expected_error for look in looks], axis=0) / side
    if expected.mean() > largest_error or disagreement.mean() > largest_error:
        return None
    weight = np.exp(-np.maximum(expected, disagreement) / largest_error)
    return mean.astype(np.float32), weight.astype(np.float32)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of unlabelled photographs")
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]


def _surroundings(photo: NDArray[np.uint8], points: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The part of a photograph around a face, shrunk if it is large, and the points in it."""
    box = points_box(points)
    centre, half = (box[:2] + box[2:]) / 2, _SURROUNDINGS / 2 * float((box[2:] - box[:2]).max())
    limit = np.array(photo.shape[1::-1])
    low, high = (np.clip(np.round(centre + sign * half), 0, limit).astype(int) for sign in (-1, 1))
    part = photo[low[1] : high[1], low[0] : high[0]]
    scale = min(1.0, _LONGEST_SIDE / max(part.shape[:2]))
    shape = [max(1, round(extent * scale)) for extent in part.shape[1::-1]]
    factor = np.array(shape) / part.shape[1::-1]
    return cv2.resize(part, shape, interpolation=cv2.INTER_AREA), ((points - low) * factor).astype(np.float32)
