"""Random changes of standard crops in training, with landmarks, labels, poses and coefficients that follow.

Pictures are uint8 arrays here: this runs in the thread that prepares batches, in numpy and OpenCV alone.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from facerecon.data.parsing_labels import mirror_labels
from facerecon.geometry.cameras import standard_focal
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.topology import MIRRORED_LANDMARKS


@dataclass(frozen=True)
class Crop:
    """A standard crop and what preprocessing found in it.

    image: (S, S, 3) uint8 sRGB. labels: (S, S) uint8 parsing classes. landmarks: (68, 2) pixels. confidence: (68,).
    rotation (3,) pitch, yaw, roll in rad, translation (3,) mm: the landmark fit's. identity (I,), expression (E,):
    the landmark fit's, or the true ones where the shard knows them (synthetic photographs and the open face model).
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    confidence: NDArray[np.float32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    rotation: NDArray[np.float32]
    translation: NDArray[np.float32]


@dataclass(frozen=True)
class CoefficientMirror:
    """A mirrored face's coefficients: identity @ matrix (I, I) and expression @ matrix (E, E).

    Exact for the open face model, whose matrices hold signs alone; the nearest in the basis for others.
    """

    identity: NDArray[np.float32]
    expression: NDArray[np.float32]

    @classmethod
    def of(cls, model: FaceModel) -> "CoefficientMirror":
        """The matrices of a face model."""
        return cls(model.identity_mirror.numpy(force=True), model.expression_mirror.numpy(force=True))


def mirror_crop(crop: Crop, mirror: CoefficientMirror) -> Crop:
    """The crop seen in a mirror: left and right exchanged in the picture, the labels, the landmarks and the fit."""
    size = crop.image.shape[1]
    return Crop(
        image=crop.image[:, ::-1],
        labels=mirror_labels(crop.labels),
        landmarks=crop.landmarks[MIRRORED_LANDMARKS] * np.float32([-1, 1]) + np.float32([size, 0]),
        confidence=crop.confidence[MIRRORED_LANDMARKS],
        identity=crop.identity @ mirror.identity,
        expression=crop.expression @ mirror.expression,
        rotation=crop.rotation * np.float32([1, -1, -1]),
        translation=crop.translation * np.float32([-1, 1, 1]),
    )


def move_crop(crop: Crop, scale: float, shift: tuple[float, float]) -> Crop:
    """The crop enlarged about its centre by `scale` and then moved by `shift` (x, y pixels).

    The fitted head moves to z / scale and sideways by shift z / f: exact but for the change of perspective. Beyond the
    crop's edge the picture is reflected and labelled background.
    """
    size = crop.image.shape[0]
    offset = size / 2 * (1 - scale) + np.asarray(shift)
    # OpenCV counts pixel centres from 0, not 0.5.
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    matrix[:, 2] += 0.5 * scale - 0.5
    depth = crop.translation[2] / scale
    sideways = crop.translation[:2] + np.asarray(shift) * depth / standard_focal(size)
    return replace(
        crop,
        image=cv2.warpAffine(
            crop.image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        ),
        labels=cv2.warpAffine(np.ascontiguousarray(crop.labels), matrix, (size, size), flags=cv2.INTER_NEAREST),
        landmarks=(crop.landmarks * scale + offset).astype(np.float32),
        translation=np.array([*sideways, depth], np.float32),
    )


def change_colours(image: NDArray[np.uint8], gains: NDArray[np.float64]) -> NDArray[np.uint8]:
    """sRGB values times a gain (3,) a channel, rounded and clipped."""
    table = np.clip(np.arange(256)[:, None] * gains + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table[None])
