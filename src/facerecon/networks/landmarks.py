"""The landmark network: 68 points and how far off each is likely to be, from the crop around a face."""

import os
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.errors import InputError
from facerecon.morphable.topology import MIRRORED_LANDMARKS
from facerecon.networks.convolutions import TRUNK_LEVELS, conv_norm, face_trunk, standardise, to_tensor
from facerecon.networks.image_crops import (
    apply_matrix,
    crop_matrix,
    invert_matrix,
    points_box,
    require_rgb,
    square_of_box,
    warp,
)
from facerecon.networks.landmark_heads import FinePyramid, RefinementStep, SoftArgmax
from facerecon.networks.loading import load_network

LANDMARK_COUNT = 68
CROP_MARGIN = 1.3  # side of the crop over the longer side of the points' box
Head = Literal["regression", "soft_argmax", "refined"]
_FINE_CHANNELS = 32
# Expected error, in box sides, at which the confidence has fallen to 1/e.
_CONFIDENCE_ERROR = 0.05


@dataclass(frozen=True)
class LandmarkPrediction:
    """points (68, 2) float32 photo pixels; expected_error (68,) float32 pixels: the network's own guess of each
    point's distance from the truth; confidence (68,) float32 in (0, 1]: exp(-expected error / 5 % of the box side)."""

    points: NDArray[np.float32]
    expected_error: NDArray[np.float32]
    confidence: NDArray[np.float32]

    @property
    def box(self) -> NDArray[np.float32]:
        """Tight box (4,) of the points: x0, y0, x1, y1."""
        return points_box(self.points)


class LandmarkNetwork(nn.Module):
    """Residual network that finds the points in a square crop.

    size: crop in pixels, a multiple of 16. width: channels at a quarter of the size; deeper stages have two and four
    times as many. hidden: units of the layer before the first guess. head: how the points come about:
    `regression`: the first guess, regressed from the coarsest features, is the answer;
    `soft_argmax`: the centre of mass of one heat map a point;
    `refined`: the first guess, moved in two steps by what is seen around its points.
    """

    def __init__(self, size: int = 112, width: int = 48, hidden: int = 256, head: Head = "regression"):
        super().__init__()
        if size % 16:
            raise ValueError(f"the crop size must be a multiple of 16, not {size}")
        if head not in get_args(Head):
            raise ValueError(f"no head is called {head!r}; there are {', '.join(get_args(Head))}")
        self.size, self.head = size, head
        self.features = nn.Sequential(*face_trunk(width), conv_norm(4 * width, 64, 1))
        self.hidden = nn.Linear(64 * (size // 16) ** 2, hidden)
        self.output = nn.Linear(hidden, 3 * LANDMARK_COUNT)
        if head != "regression":
            self.fine = FinePyramid(width, _FINE_CHANNELS)
        if head == "soft_argmax":
            self.heat_maps = SoftArgmax(_FINE_CHANNELS, LANDMARK_COUNT)
        elif head == "refined":
            self.steps = nn.ModuleList(RefinementStep(_FINE_CHANNELS, LANDMARK_COUNT) for _ in range(2))

    def start_at(self, mean_points: Tensor) -> None:
        """Let the untrained network guess about `mean_points` (68, 2), crop units, and an expected error of 0.1."""
        with torch.no_grad():
            self.output.weight.mul_(0.3)
            self.output.bias.copy_(F.pad(mean_points, (0, 1), value=float(np.log(0.1))).flatten())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: (B, 3, size, size) sRGB in [0, 1] -> points (B, 68, 2) in crop units (-1 at the left and upper edge,
        1 at the right and lower one) and the logarithm (B, 68) of each point's expected distance from the truth.

        In training mode (B, stages, 68, 2) and (B, stages, 68): every guess on the way, the answer last.
        """
        features, levels = standardise(images), []
        for number, layer in enumerate(self.features):
            features = layer(features)
            if number in TRUNK_LEVELS:
                levels.append(features)
        values = self.output(F.relu(self.hidden(features.flatten(1)))).float().unflatten(1, (LANDMARK_COUNT, 3))
        guesses = [(values[..., :2], values[..., 2])]
        if self.head != "regression":
            fine = self.fine(*levels)
        if self.head == "soft_argmax":
            points, spread = self.heat_maps(fine)
            guesses.append((points, guesses[0][1] + spread))
        elif self.head == "refined":
            for step in self.steps:
                guesses.append(step(fine, *guesses[-1]))
        if not self.training:
            return guesses[-1]
        points, log_error = zip(*guesses, strict=True)
        return torch.stack(points, 1), torch.stack(log_error, 1)


@torch.inference_mode()
def predict_landmarks(
    image: NDArray[np.uint8],
    box: NDArray,
    network: LandmarkNetwork,
    refinements: int = 1,
    flip: bool = True,
) -> LandmarkPrediction:
    """The 68 landmarks of the face in `box`.

    image: (H, W, 3) uint8 sRGB. box: x0, y0, x1, y1 pixels, about the tight box of the landmarks; it may reach outside
    the image. refinements: how often to crop again from the predicted points. flip: average with the mirrored crop.
    Raises InputError for a bad image, a box without area, or one that lies outside the image.
    """
    image = require_rgb(image)
    box = np.asarray(box, np.float64)
    centre, side = square_of_box(box, CROP_MARGIN)
    _require_overlap(image, box)
    for _ in range(refinements + 1):
        matrix = crop_matrix(centre, side, network.size)
        points, error = _predict_crop(warp(image, matrix, network.size), network, flip)
        points = apply_matrix(invert_matrix(matrix), (points + 1) / 2 * network.size)
        error = error * side / 2
        refined_box = points_box(points)
        if (refined_box[2:] - refined_box[:2]).min() < 1:  # collapsed onto a point: nothing to refine on
            break
        centre, side = square_of_box(refined_box, CROP_MARGIN)
    box_side = max(float(np.ptp(points, axis=0).max()), 1e-6)
    confidence = np.exp(-error / (_CONFIDENCE_ERROR * box_side))
    return LandmarkPrediction(*(values.astype(np.float32) for values in (points, error, confidence)))


def load_landmark_network(weights: str | os.PathLike | None = None) -> LandmarkNetwork:
    """The landmark network with its weights (None: those carried); raises InputError as `loading.load_network`."""
    return load_network("landmarks", LandmarkNetwork, weights)[0]


def _require_overlap(image: NDArray, box: NDArray) -> None:
    height, width = image.shape[:2]
    if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0:
        raise InputError(f"box {box.tolist()} lies outside the {width} x {height} image; give a box around the face")


def _predict_crop(crop: NDArray[np.uint8], network: LandmarkNetwork, flip: bool) -> tuple[NDArray, NDArray]:
    """Points (68, 2) in crop units and expected errors (68,) in the same units."""
    device = next(network.parameters()).device
    crops = np.stack([crop, crop[:, ::-1]]) if flip else crop[None]
    points, log_error = (values.cpu().numpy().astype(np.float64) for values in network(to_tensor(crops, device)))
    if flip:
        points[1] = points[1, MIRRORED_LANDMARKS] * [-1, 1]
        log_error[1] = log_error[1, MIRRORED_LANDMARKS]
    return points.mean(0), np.exp(log_error.mean(0))
