"""Square crops of photographs by similarity transforms, in the pixel convention of centres at +0.5."""

import cv2
import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError

# A coarser crop is first averaged to this many times its own resolution and then interpolated.
_FINER = 1.25


def require_rgb(image: NDArray) -> NDArray[np.uint8]:
    """The image as contiguous uint8 RGB (H, W, 3); a gray (H, W) or (H, W, 1) image is repeated into three channels.

    Raises InputError for another type or shape, or for an image without pixels.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.dtype != np.uint8 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise InputError(f"an image of type {image.dtype} and shape {image.shape} was given; give uint8 (H, W, 3) RGB")
    return np.ascontiguousarray(image) if image.shape[2] == 3 else np.repeat(image, 3, axis=2)


def crop_matrix(centre: NDArray, side: float, size: int, angle: float = 0.0, flip: bool = False) -> NDArray[np.float64]:
    """(2, 3) affine map from photo pixels to the pixels of a `size` x `size` crop around `centre` (2,).

    side: photo pixels that the crop spans, > 0. angle: radians by which the content turns (image x towards y).
    flip: mirror the crop left to right.
    """
    scale = size / side
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.column_stack([linear, size / 2 - linear @ np.asarray(centre, np.float64)])
    if flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size
    return matrix


def apply_matrix(matrix: NDArray, points: NDArray) -> NDArray:
    """Points (..., 2) mapped by an affine matrix (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert_matrix(matrix: NDArray) -> NDArray[np.float64]:
    """The affine map (2, 3) that undoes `matrix`."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def warp(
    image: NDArray, matrix: NDArray, size: int, border: int = cv2.BORDER_REPLICATE, nearest: bool = False
) -> NDArray:
    """Resample an image (H, W) or (H, W, 3) by `matrix` (photo to crop pixels) to `size` x `size`.

    Where the crop is coarser than the photo, the photo is averaged first, so that nothing aliases; less far than in
    `CropTransform.warp`, since here the crop may turn. The two stay apart: the carried landmark network learned from
    this one, and the standard crops of the benchmark's figures are cut by the other.
    nearest: take the nearest pixel, for label images. border: cv2 border mode outside the photo.
    """
    if not nearest:
        image, matrix = _shrunk(image, matrix, size)
    # cv2 puts pixel centres at whole numbers, so half a pixel is taken off on both sides.
    shifted = matrix.copy()
    shifted[:, 2] += 0.5 * matrix[:, :2].sum(1) - 0.5
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.warpAffine(image, shifted, (size, size), flags=flags, borderMode=border)


def _shrunk(image: NDArray, matrix: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """The part of the image that the crop shows, averaged to about the crop's resolution, and the matrix from there."""
    scale = _FINER * np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale >= 1:
        return image, matrix
    corners = apply_matrix(invert_matrix(matrix), size * np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]))
    # A few source pixels more than shown, enough for the averages at the edge.
    margin = 2 / scale + 2
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(corners.min(0) - margin), 0, limit).astype(int)
    high = np.clip(np.ceil(corners.max(0) + margin), 0, limit).astype(int)
    extent = high - low
    if (extent <= 0).any():
        return image, matrix
    shape = np.maximum(np.rint(extent * scale), 1).astype(int)
    region = cv2.resize(image[low[1] : high[1], low[0] : high[0]], shape.tolist(), interpolation=cv2.INTER_AREA)
    linear = matrix[:, :2] * (extent / shape)
    return region, np.column_stack([linear, matrix[:, :2] @ low + matrix[:, 2]])


def points_box(points: NDArray) -> NDArray:
    """Tight boxes (..., 4) as x0, y0, x1, y1 of points (..., N, 2)."""
    return np.concatenate([points.min(-2), points.max(-2)], -1)


def square_of_box(box: NDArray, margin: float) -> tuple[NDArray, float]:
    """Centre (2,) and side of the square around a box x0, y0, x1, y1: `margin` times the box's longer side.

    Raises InputError if the box is not finite or has no area.
    """
    box = np.asarray(box, np.float64)
    if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        raise InputError(f"box {box.tolist()} has no area; give x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return (box[:2] + box[2:]) / 2, margin * float((box[2:] - box[:2]).max())
