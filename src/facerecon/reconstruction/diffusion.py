"""Smooth extension of values known on a part of a picture (pull-push; Gortler et al. 1996, section 3.4)."""

import cv2
import numpy as np
from numpy.typing import NDArray


def extend(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill a picture smoothly from where it is known.

    values: (H, W, C) float32. weight: (H, W) float32 in [0, 1], how well each is known; 1 keeps a value as it is.
    Averages are pulled up a pyramid and pushed down again to where nothing is known, so that every hole, whatever its
    size, takes a blend of what surrounds it. All zeros where nothing is known anywhere. Raises ValueError on shapes.
    """
    if values.ndim != 3 or weight.shape != values.shape[:2]:
        raise ValueError(f"values must be (H, W, C) and weight (H, W), not {values.shape} and {weight.shape}")
    height, width = weight.shape
    if height == 1 and width == 1:
        return np.where(weight[..., None] > 0, values, 0.0)
    half = ((width + 1) // 2, (height + 1) // 2)
    halved_weight = _resized(weight, half, cv2.INTER_AREA)
    sums = _resized(values * weight[..., None], half, cv2.INTER_AREA)
    means = sums / np.maximum(halved_weight, 1e-12)[..., None]
    # Four well-known pixels make one that is as well known; a lone one among unknown ones keeps most of its say.
    coarse = extend(means, np.minimum(4.0 * halved_weight, 1.0))
    fine = _resized(coarse, (width, height), cv2.INTER_LINEAR)
    return values * weight[..., None] + fine * (1.0 - weight[..., None])


def _resized(values: NDArray[np.float32], shape: tuple[int, int], method: int) -> NDArray[np.float32]:
    """cv2.resize that keeps the channel axis of one-channel pictures."""
    return cv2.resize(values, shape, interpolation=method).reshape(shape[1], shape[0], *values.shape[2:])
