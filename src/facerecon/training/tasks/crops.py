"""Standard crops of training photographs, exact or randomly moved, and the crops' labels."""

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.geometry.crop import crop_transforms
from facerecon.morphable.storage import load_face_model
from facerecon.networks.image_crops import crop_matrix, invert_matrix, warp
from facerecon.training.tasks.augment import random_crop_matrix
from facerecon.training.tasks.photographs import PhotographStore


class StandardCrops:
    """The standard crops of a store's photographs, or the middle of each, at `size` pixels."""

    def __init__(self, store: PhotographStore, size: int, mean_landmarks: NDArray | None = None, region: float = 1.0):
        """mean_landmarks: (68, 3) mm of the mean face; None takes those of the carried face model. region: side of the
        middle part that is cut, of the standard crop's."""
        self._store, self.size = store, size
        if mean_landmarks is None:
            mean_landmarks = mean_face_landmarks()
        scales, offsets = crop_transforms(store.landmarks, mean_landmarks, STANDARD_SIZE)
        self._side = region * STANDARD_SIZE / scales
        self._centre = (STANDARD_SIZE / 2 - offsets) / scales[:, None]
        self.usable = np.isfinite(self._side)

    def matrix(self, index: int) -> NDArray:
        """Photo-to-crop matrix (2, 3) of the exact standard crop."""
        return crop_matrix(self._centre[index], self._side[index], self.size)

    def random_matrix(self, rng: Generator, index: int, shift: float, log_scale: float, rotation: float) -> NDArray:
        """Photo-to-crop matrix of a moved and, half of the time, mirrored crop; bounds as in `random_crop_matrix`."""
        flip = bool(rng.random() < 0.5)
        return random_crop_matrix(
            rng, self._centre[index], self._side[index], self.size, shift, log_scale, rotation, flip
        )

    def image(self, index: int, matrix: NDArray, border: int = cv2.BORDER_CONSTANT) -> NDArray[np.uint8]:
        """Crop (size, size, 3); black outside the photograph, as standard crops are, unless told otherwise."""
        return warp(self._store.image(index), matrix, self.size, border)

    def labels(self, index: int, matrix: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Classes (size, size) as they stand in the photograph, and where the crop lies inside the photograph.

        A crop pixel has the class that most of four samples in it have. A mirroring `matrix` moves the pixels only:
        left and right classes are the caller's to exchange.
        """
        labels = self._store.labels(index)
        inside = inside_photo(matrix, labels.shape, self.size)
        return majority(warp(labels, 2 * matrix, 2 * self.size, cv2.BORDER_CONSTANT, nearest=True)), inside


def majority(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most frequent class of each 2 x 2 block: (2H, 2W) -> (H, W); of a tie, one of the most frequent."""
    first, second, third, fourth = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    first_repeats = (first == second) | (first == third) | (first == fourth)
    second_repeats = (second == third) | (second == fourth)
    return np.select([first_repeats, second_repeats, third == fourth], [first, second, third], first)


def inside_photo(matrix: NDArray, shape: tuple[int, ...], size: int) -> NDArray[np.bool_]:
    """(size, size): whether a crop pixel's centre lies within a photograph of `shape` (height, width, ...)."""
    inverse = invert_matrix(matrix)
    axis = np.arange(size) + 0.5
    x = inverse[0, 0] * axis[None] + inverse[0, 1] * axis[:, None] + inverse[0, 2]
    y = inverse[1, 0] * axis[None] + inverse[1, 1] * axis[:, None] + inverse[1, 2]
    return (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])


def mean_face_landmarks() -> NDArray[np.float64]:
    """(68, 3) mm, head frame: landmarks of the carried face model's mean face."""
    model = load_face_model()
    sizes = model.dimensions
    with torch.inference_mode():
        vertices = model.decode(torch.zeros(1, sizes["identity"]), torch.zeros(1, sizes["expression"]))
        return model.landmarks(vertices)[0].numpy().astype(np.float64)
