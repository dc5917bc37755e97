"""The standard crop: a square around the face, never rotated, of a known scale.

A scaled orthographic camera is fitted to the 68 landmarks with the face model's mean landmarks; the crop is the square
in which that camera has 1.015 px/mm (at 224 pixels) and puts the head's origin at the centre. A perspective camera of
focal length 1015 px at 1000 mm then sees the face at the same size (Deng et al. 2019 crop alike).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from facerecon.geometry.cameras import STANDARD_DISTANCE, STANDARD_FOCAL, STANDARD_SIZE

PIXELS_PER_MM = STANDARD_FOCAL / STANDARD_DISTANCE
"""Scale of the face in a standard crop of `STANDARD_SIZE` pixels."""


@dataclass(frozen=True)
class CropTransform:
    """`x_crop = scale * x_photo + offset`, pixels with centres at +0.5, both axes alike.

    scale: crop pixels a photo pixel, > 0. offset: (2,) x, y in crop pixels. size: side of the crop in pixels.
    """

    scale: float
    offset: tuple[float, float]
    size: int = STANDARD_SIZE

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the photograph, pixels, in the crop."""
        return np.asarray(points) * self.scale + np.asarray(self.offset)

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the crop, pixels, in the photograph; the inverse of `to_crop`."""
        return (np.asarray(points) - np.asarray(self.offset)) / self.scale

    def resized(self, size: int) -> "CropTransform":
        """The same square at another resolution."""
        ratio = size / self.size
        return CropTransform(self.scale * ratio, (self.offset[0] * ratio, self.offset[1] * ratio), size)

    def warp(self, image: np.ndarray) -> np.ndarray:
        """Crop of a photograph: (H, W[, C]) uint8 or float32 -> (size, size[, C]); black outside the photograph.

        Where the photograph is larger than the crop it is averaged over each crop pixel's footprint first, so that
        nothing aliases.
        """
        height, width = image.shape[:2]
        low = np.floor(self.to_photo(np.zeros(2)) - 2).astype(int).clip(0)
        high = np.minimum(np.ceil(self.to_photo(np.full(2, float(self.size))) + 2).astype(int), (width, height))
        if (high <= low).any():
            return np.zeros((self.size, self.size, *image.shape[2:]), image.dtype)
        region = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
        extent = high - low
        shrunk = np.maximum(np.round(extent * min(self.scale, 1.0)), 1).astype(int)
        if (shrunk < extent).any():
            region = cv2.resize(region, tuple(int(n) for n in shrunk), interpolation=cv2.INTER_AREA)
        # Region pixel u stands for photo pixel low + u * extent / shrunk; OpenCV counts pixel centres from 0, not 0.5.
        scale = self.scale * extent / shrunk
        shift = self.scale * low + np.asarray(self.offset) + 0.5 * scale - 0.5
        matrix = np.array([[scale[0], 0.0, shift[0]], [0.0, scale[1], shift[1]]])
        return cv2.warpAffine(region, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR)


def crop_transform(landmarks: np.ndarray, mean_landmarks: np.ndarray, size: int = STANDARD_SIZE) -> CropTransform:
    """Standard crop of one face.

    landmarks: (68, 2) pixels of the photograph. mean_landmarks: (68, 3) mm, head frame, of the face model's mean face.
    Raises ValueError if the landmarks are not finite, or coincide or lie on a line, so that no scale can be told.
    """
    scales, offsets = crop_transforms(np.asarray(landmarks)[None], mean_landmarks, size)
    if not np.isfinite(scales[0]):
        raise ValueError("the landmarks are degenerate: not finite, or all on one line")
    return CropTransform(float(scales[0]), (float(offsets[0, 0]), float(offsets[0, 1])), size)


def crop_transforms(
    landmarks: np.ndarray, mean_landmarks: np.ndarray, size: int = STANDARD_SIZE
) -> tuple[np.ndarray, np.ndarray]:
    """Scales (N,) and offsets (N, 2) of the standard crops of (N, 68, 2) landmarks; NaN where they are degenerate."""
    landmarks = np.asarray(landmarks, np.float64)
    mean_landmarks = np.asarray(mean_landmarks, np.float64)
    if landmarks.shape[1:] != (len(mean_landmarks), 2):
        raise ValueError(f"landmarks have shape {landmarks.shape}, expected (N, {len(mean_landmarks)}, 2)")
    scale, origin = fit_scaled_orthographic(landmarks, mean_landmarks)[1:]
    ratio = PIXELS_PER_MM * size / STANDARD_SIZE / scale
    return ratio, size / 2.0 - ratio[:, None] * origin


def fit_scaled_orthographic(points: np.ndarray, model: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled orthographic cameras of point sets, by linear least squares (POS, DeMenthon & Davis 1995).

    points: (N, P, 2) pixels, x right, y down. model: (P, 3) mm, head frame (y up).
    The 2x3 affine camera is solved for in closed form; the nearest scaled rotation gives the rest.
    Returns rotation (N, 3, 3) head frame to view frame (y up, z toward the viewer), scale (N,) px/mm and origin (N, 2),
    the pixel of the head's origin; NaN where the points are not finite or lie on a line.
    """
    usable = np.isfinite(points).all(axis=(1, 2))
    finite = np.where(usable[:, None, None], points, 0.0)
    design = np.concatenate([model, np.ones((len(model), 1))], axis=1)
    solution = np.einsum("kp,npc->nck", np.linalg.pinv(design), finite)
    affine = solution[:, :, :3] * np.array([1.0, -1.0])[:, None]
    left, values, right = np.linalg.svd(affine, full_matrices=False)
    spread = np.linalg.svd(finite - finite.mean(axis=1, keepdims=True), compute_uv=False)
    usable &= (spread[:, 1] > 1e-3 * spread[:, 0]) & (values[:, 1] > 1e-3 * values[:, 0]) & (values[:, 1] > 0)
    rows = left @ right
    rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
    rotation[~usable] = np.nan
    return rotation, np.where(usable, values.mean(axis=1), np.nan), np.where(usable[:, None], solution[:, :, 3], np.nan)
