"""Losses in the image and on landmarks, identity features and coefficients (Diao and Jiang, section 3.1)."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

WING_REFERENCE_SIZE = 224
"""Side in pixels of the crop in which the wing loss's width and curvature are meant."""

PRINTED_REGULARISATION: Mapping[str, float] = {"identity": 1e-4, "expression": 0.8e-4, "albedo": 1e-1, "light": 1e-2}
"""Inner weights of eq. 7 as printed; the loss as a whole is weighted 4e-4."""

DENG_REGULARISATION: Mapping[str, float] = {"identity": 1.0, "expression": 0.8, "albedo": 1.7e-2}
"""Inner weights of Deng et al. 2019; the loss as a whole is weighted 3e-4."""


def photometric_loss(rendered: Tensor, target: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted colour distance over the visible face (eq. 4): sum P W ||I - I'||_2 / sum P.

    rendered, target: (B, 3, H, W) images in the same space and range; the norm is over the three channels.
    mask: (B, H, W), P, 1 on pixels that count and 0 elsewhere (values between count in part).
    weights: (B, H, W), W, the importance of each pixel's region; None weighs all alike.
    Returns the mean over the images of each image's quotient; an image whose mask is empty counts as 0.
    Raises ValueError if shapes differ.
    """
    _check_images(rendered, target)
    expected = (rendered.shape[0], *rendered.shape[2:])
    for name, values in (("mask", mask), ("weights", weights)):
        if values is not None and values.shape != expected:
            raise ValueError(f"{name} must be {tuple(expected)}, not {tuple(values.shape)}")
    distance = torch.linalg.vector_norm(rendered - target, dim=1)
    mask = mask.to(distance.dtype)
    weighted = mask * distance if weights is None else mask * weights * distance
    area = mask.sum((1, 2))
    # Dividing by 1 where nothing counts leaves those images at 0 / 1 rather than 0 / 0.
    return (weighted.sum((1, 2)) / torch.where(area > 0, area, 1.0)).mean()


def wing_landmark_loss(
    predicted: Tensor,
    target: Tensor,
    confidence: Tensor | None = None,
    width: float = 10.0,
    curvature: float = 2.0,
    size: float = WING_REFERENCE_SIZE,
) -> Tensor:
    """Wing loss of projected landmarks (eq. 5; Feng et al. 2018), averaged over coordinates and landmarks.

    w ln(1 + |d| / eps) where |d| < w, else |d| - C with C = w - w ln(1 + w / eps), for each coordinate's difference d.

    predicted, target: (B, N, 2) pixels. confidence: (B, N) >= 0, weights of the average; None counts all alike, and
    without any confidence the loss is 0.
    width w, curvature eps: pixels of a 224-pixel crop, > 0. size: side of the crop that the points are measured in;
    differences are scaled to 224 pixels first, so that the loss does not depend on the resolution.
    Raises ValueError for other shapes or values.
    """
    if width <= 0 or curvature <= 0 or size <= 0:
        raise ValueError(f"width, curvature and size must be positive, not {width}, {curvature}, {size}")
    if predicted.ndim != 3 or predicted.shape[-1] != 2 or predicted.shape != target.shape:
        raise ValueError(f"landmarks must both be (B, N, 2), not {tuple(predicted.shape)} and {tuple(target.shape)}")
    if confidence is not None and confidence.shape != predicted.shape[:2]:
        raise ValueError(f"confidence must be {tuple(predicted.shape[:2])}, not {tuple(confidence.shape)}")
    distance = (predicted - target).abs() * (WING_REFERENCE_SIZE / size)
    offset = width - width * torch.log1p(distance.new_tensor(width / curvature))
    wing = torch.where(distance < width, width * torch.log1p(distance / curvature), distance - offset).mean(-1)
    if confidence is None:
        return wing.mean()
    total = confidence.sum()
    return (confidence * wing).sum() / torch.where(total > 0, total, 1.0)


def identity_loss(features: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine between recognition features (eq. 6), averaged over the batch; in [0, 2].

    features, target: (B, D), of any length; a zero vector has cosine 0 with everything. Raises ValueError if shapes
    differ.
    """
    if features.ndim != 2 or features.shape != target.shape:
        raise ValueError(f"features must both be (B, D), not {tuple(features.shape)} and {tuple(target.shape)}")
    return (1.0 - F.cosine_similarity(features, target, dim=1)).mean()


def coefficient_regularisation(
    coefficients: Mapping[str, Tensor], weights: Mapping[str, float] = PRINTED_REGULARISATION
) -> Tensor:
    """Weighted squared norms of coefficients (eq. 7), summed over a face's coefficients, averaged over the batch.

    coefficients: name -> (B, D) or (B, ...); weights: name -> weight; names without a weight are free.
    Raises ValueError if a weighted name is missing.
    """
    missing = [name for name in weights if name not in coefficients]
    if missing:
        raise ValueError(f"no coefficients named {', '.join(missing)} to regularise")
    terms = [weight * coefficients[name].flatten(1).square().sum(1).mean() for name, weight in weights.items()]
    return torch.stack(terms).sum()


def _check_images(rendered: Tensor, target: Tensor) -> None:
    if rendered.ndim != 4 or rendered.shape[1] != 3 or rendered.shape != target.shape:
        raise ValueError(f"images must both be (B, 3, H, W), not {tuple(rendered.shape)} and {tuple(target.shape)}")
