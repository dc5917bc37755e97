"""The face detector: face centres as heat-map peaks, with box sizes, over an image pyramid.

A small fully convolutional network after "Objects as Points" (Zhou et al. 2019): at each cell of a grid the probability
that a face's box is centred there, the box's size, and the centre's place in the cell. A face's box is the tight box of
its 68 landmarks, hidden ones included.
"""

import os
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.networks.convolutions import ResidualBlock, conv_norm, resize_to, standardise, to_tensor
from facerecon.networks.image_crops import require_rgb
from facerecon.networks.landmarks import LandmarkNetwork, predict_landmarks
from facerecon.networks.loading import load_network

STRIDE = 8  # image pixels per cell of the output grid
REFERENCE_SIZE = 40.0  # box side in pixels whose predicted size is exp(0)
# Longer sides of boxes, in pixels of the pyramid level, that the network is trained to find there.
SMALLEST_FACE, LARGEST_FACE = 18.0, 112.0
_LEVEL_FACTOR = 2.0  # between pyramid levels; less than LARGEST_FACE / SMALLEST_FACE, so that levels overlap
_COARSEST = 32  # the network's coarsest stride: levels are padded to a multiple of it
_PADDING = 114  # gray beyond the image
# Mean landmark confidence of a face, between what 95 % of synthetic photographs' faces reach (0.49) and the most that
# anything reaches which the detector proposes in scikit-image's faceless sample pictures (0.17).
LEAST_CONFIDENCE = 0.35
FOUND_OVERLAP = 0.5  # intersection over union with the true box from which a face counts as found
_OVERLAP = 0.35  # intersection over union from which two boxes are the same face


@dataclass(frozen=True)
class Detection:
    """A face: box (4,) float32 as x0, y0, x1, y1 in pixels of the photo; score in [0, 1]."""

    box: NDArray[np.float32]
    score: float


class DetectorNetwork(nn.Module):
    """Feature pyramid down to 1/32, read out at 1/8.

    width: channels at 1/4 of the size. score_threshold, longest_side: see `detect_faces`; they belong to the weights.
    """

    def __init__(self, width: int = 32, score_threshold: float = 0.4, longest_side: int = 896):
        super().__init__()
        self.score_threshold = score_threshold
        self.longest_side = longest_side
        self.stem = nn.Sequential(conv_norm(3, width // 2, 3, 2), conv_norm(width // 2, width, 3, 2))
        self.eighth = nn.Sequential(ResidualBlock(width, 2 * width, 2), ResidualBlock(2 * width, 2 * width))
        self.sixteenth = nn.Sequential(ResidualBlock(2 * width, 3 * width, 2), ResidualBlock(3 * width, 3 * width))
        self.thirty_second = nn.Sequential(ResidualBlock(3 * width, 4 * width, 2), ResidualBlock(4 * width, 4 * width))
        self.lateral = nn.ModuleList(conv_norm(k * width, 2 * width, 1) for k in (2, 3, 4))
        self.smooth = nn.ModuleList(conv_norm(2 * width, 2 * width) for _ in range(2))
        self.head = nn.Sequential(conv_norm(2 * width, 2 * width), nn.Conv2d(2 * width, 5, 1))
        with torch.no_grad():  # faces are rare: start at a probability of 1 %
            self.head[-1].bias.copy_(torch.tensor([-4.6, 0, 0, 0.5, 0.5]))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: (B, 3, H, W) sRGB in [0, 1], H and W multiples of 32 -> on the grid (H/8, W/8): logits (B, h, w) of a
        face centred in the cell, and (B, h, w, 4): log(width, height / REFERENCE_SIZE), and the box centre's x and y in
        cells from the cell's upper left corner."""
        eighth = self.eighth(self.stem(standardise(images)))
        sixteenth = self.sixteenth(eighth)
        features = self.lateral[2](self.thirty_second(sixteenth))
        for level, lateral, smooth in ((sixteenth, 1, 0), (eighth, 0, 1)):
            side = self.lateral[lateral](level)
            features = self.smooth[smooth](side + resize_to(features, side))
        output = self.head(features).float().permute(0, 2, 3, 1)
        return output[..., 0], output[..., 1:]


@torch.inference_mode()
def detect_faces(
    image: NDArray[np.uint8],
    detector: DetectorNetwork,
    score_threshold: float | None = None,
    verifier: LandmarkNetwork | None = None,
    least_confidence: float = LEAST_CONFIDENCE,
) -> list[Detection]:
    """Faces in a photograph, best first; an empty list if there is none.

    image: (H, W, 3) uint8 sRGB, or gray (H, W); one longer than `detector.longest_side` is searched shrunk to it, so
    the smallest face found is SMALLEST_FACE pixels there. score_threshold: least score; None takes the detector's own.
    verifier: if given, a detection whose 68 points have a mean confidence below `least_confidence` is dropped, and the
    others' boxes become those of their points.
    Raises InputError for something that is not an image.
    """
    image = require_rgb(image)
    threshold = detector.score_threshold if score_threshold is None else score_threshold
    found = [
        _detect_level(level, scale, detector, threshold) for level, scale in _pyramid(image, detector.longest_side)
    ]
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    inside = _centre_inside(boxes, image.shape)
    detections = suppress(boxes[inside], scores[inside])
    return detections if verifier is None else _verify(image, detections, verifier, least_confidence)


def suppress(boxes: NDArray, scores: NDArray, overlap: float = _OVERLAP) -> list[Detection]:
    """Greedy non-maximum suppression: boxes (N, 4) by falling score, without those that overlap a better one.

    Two boxes are the same face if their intersection over union reaches `overlap`, or if one lies mostly (70 %) inside
    the other.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for candidate in order:
        if not kept or not _same_face(boxes[candidate], boxes[kept], overlap).any():
            kept.append(int(candidate))
    return [Detection(boxes[index].astype(np.float32), float(scores[index])) for index in kept]


def intersection_over_union(box: NDArray, boxes: NDArray) -> NDArray:
    """Intersection over union (N,) of one box (4,) with boxes (N, 4)."""
    intersection = _intersection(box, boxes)
    return intersection / np.maximum(_area(box) + _area(boxes) - intersection, 1e-9)


def load_detector(weights: str | os.PathLike | None = None) -> DetectorNetwork:
    """The detector with its weights (None: those carried) and the score threshold that its training chose.

    Raises InputError as `loading.load_network`.
    """
    detector, card = load_network("detector", DetectorNetwork, weights)
    detector.score_threshold = float(card.get("measured", {}).get("score_threshold", detector.score_threshold))
    return detector


def decode(logits: Tensor, geometry: Tensor, threshold: float) -> tuple[NDArray, NDArray]:
    """Peaks of one output grid: boxes (N, 4) in pixels of the network's input, and scores (N,), unordered.

    logits: (h, w), geometry: (h, w, 4) as `DetectorNetwork.forward` gives them. A peak is a cell at least as likely as
    its eight neighbours and at least `threshold`.
    """
    scores = torch.sigmoid(logits)
    peaks = (F.max_pool2d(scores[None, None], 3, 1, 1)[0, 0] == scores) & (scores >= threshold)
    row, column = torch.nonzero(peaks, as_tuple=True)
    size = torch.exp(geometry[row, column, :2]) * REFERENCE_SIZE
    centre = (torch.stack([column, row], -1) + geometry[row, column, 2:]) * STRIDE
    boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
    return boxes.cpu().numpy(), scores[row, column].cpu().numpy()


def _pyramid(image: NDArray[np.uint8], longest_side: int) -> list[tuple[NDArray[np.uint8], NDArray]]:
    """Levels of the image, finest first, each with its scale (2,): level pixels per photo pixel along x and y."""
    height, width = image.shape[:2]
    longest = min(max(height, width), longest_side)
    sides = [float(longest)]
    # The coarsest level shows a face that fills the image at a size that the network knows.
    while sides[-1] > LARGEST_FACE * 1.3:
        sides.append(sides[-1] / _LEVEL_FACTOR)
    levels = []
    for side in sides:
        shape = [max(1, round(extent * side / max(height, width))) for extent in (width, height)]
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA) if shape != [*image.shape[1::-1]] else image
        levels.append((image, np.array(shape) / (width, height)))
    return levels


def _detect_level(
    level: NDArray[np.uint8], scale: NDArray, detector: DetectorNetwork, threshold: float
) -> tuple[NDArray, NDArray]:
    height, width = level.shape[:2]
    padded = np.full((_padded(height), _padded(width), 3), _PADDING, np.uint8)
    padded[:height, :width] = level
    logits, geometry = detector(to_tensor(padded, next(detector.parameters()).device))
    boxes, scores = decode(logits[0], geometry[0], threshold)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    known = (longer > 0.7 * SMALLEST_FACE) & (longer < 1.3 * LARGEST_FACE)
    return boxes[known] / np.tile(scale, 2), scores[known]


def _padded(extent: int) -> int:
    # One further coarse cell of gray, so that faces at the edge are seen against something.
    return (extent // _COARSEST + 1) * _COARSEST


def _verify(
    image: NDArray[np.uint8], detections: list[Detection], verifier: LandmarkNetwork, least_confidence: float
) -> list[Detection]:
    verified = []
    for detection in detections:
        landmarks = predict_landmarks(image, detection.box, verifier)
        if landmarks.confidence.mean() >= least_confidence:
            verified.append(Detection(landmarks.box, detection.score))
    return verified


def _centre_inside(boxes: NDArray, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centre >= 0) & (centre < (shape[1], shape[0]))).all(1)


def _same_face(box: NDArray, boxes: NDArray, overlap: float) -> NDArray[np.bool_]:
    contained = _intersection(box, boxes) / np.maximum(np.minimum(_area(box), _area(boxes)), 1e-9)
    return (intersection_over_union(box, boxes) >= overlap) | (contained >= 0.7)


def _intersection(box: NDArray, boxes: NDArray) -> NDArray:
    extent = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.maximum(extent, 0).prod(1)


def _area(boxes: NDArray) -> NDArray:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
