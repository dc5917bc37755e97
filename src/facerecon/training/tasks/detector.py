"""Training of the face detector on scenes composed of synthetic photographs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facerecon.networks.convolutions import channels_first, to_tensor
from facerecon.networks.detector import (
    FOUND_OVERLAP,
    REFERENCE_SIZE,
    STRIDE,
    DetectorNetwork,
    decode,
    intersection_over_union,
    suppress,
)
from facerecon.training.tasks.augment import batch_generator
from facerecon.training.tasks.backgrounds import VALIDATION_PICTURES
from facerecon.training.tasks.photographs import PhotographStore, ShuffledIndices
from facerecon.training.tasks.scenes import Scene, SceneComposer, detector_targets
from facerecon.training.tasks.settings import DetectorSettings

FALSE_PER_SCENE = 0.01
"""False detections a scene that the chosen score threshold allows."""
_LOWEST_THRESHOLD = 0.05
_VALIDATION_STREAM = 2**31  # step number whose generator draws the validation scenes
_VALIDATION_SEED = 10_000  # added to the training's own, for backgrounds that no batch has shown
_VALIDATION_BACKGROUNDS = 200
_VALIDATION_BATCH = 32


def make_task(settings: dict[str, Any], data: list[Path], seed: int, batch_size: int) -> "DetectorTask":
    """The task that `facerecon train detector` runs; data: folders of synthetic photographs."""
    return DetectorTask(DetectorSettings(**settings), PhotographStore(data), seed, batch_size)


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss of centre probabilities, a sum (Law & Deng 2018, eq. 1; alpha 2, beta 4).

    logits: any shape. heat: the same shape; 1 at centres, in [0, 1) elsewhere, negative where nothing is asked.
    """
    if logits.shape != heat.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and heat {tuple(heat.shape)} differ in shape")
    probability = torch.sigmoid(logits)
    positive = F.softplus(-logits) * (1 - probability) ** 2
    negative = F.softplus(logits) * probability**2 * (1 - heat.clamp(min=0)) ** 4
    loss = torch.where(heat == 1, positive, negative)
    return torch.where(heat < 0, 0, loss).sum()


def overlap_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """1 - generalised intersection over union (Rezatofighi et al. 2019) of boxes, in [0, 2].

    predicted, true: (..., 4) as `DetectorNetwork.forward` gives them for one cell. Where both lie counts, not the cell.
    """
    (low, high), (true_low, true_high) = _corners(predicted), _corners(true)
    shared = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp(min=0).prod(-1)
    union = (high - low).prod(-1) + (true_high - true_low).prod(-1) - shared
    hull = (torch.maximum(high, true_high) - torch.minimum(low, true_low)).prod(-1)
    return 2 - shared / union - union / hull


def _corners(geometry: Tensor) -> tuple[Tensor, Tensor]:
    """Upper left and lower right corners (..., 2) in cells, from the cell's corner."""
    # a wild size would overflow to an infinite area early in training
    half = torch.exp(geometry[..., :2].clamp(-6, 6)) * (REFERENCE_SIZE / STRIDE / 2)
    return geometry[..., 2:] - half, geometry[..., 2:] + half


class DetectorTask:
    """A `TrainingTask`; batches are images (B, S, S, 3) uint8 with heat, geometry and weight of `detector_targets`."""

    name = "detector"

    def __init__(self, settings: DetectorSettings, store: PhotographStore, seed: int, batch_size: int):
        self.settings, self.store, self.seed, self.batch_size = settings, store, seed, batch_size
        training, self._validation = store.split(settings.validation_fraction, settings.validation_limit)
        self._order = ShuffledIndices(training, seed)
        self._composer = SceneComposer(store, settings, seed)

    def build_model(self) -> DetectorNetwork:
        return DetectorNetwork(**self._network_arguments())

    def card(self) -> dict[str, Any]:
        return {
            "network": self._network_arguments(),
            "settings": self.settings.model_dump(mode="json"),
            "data": self.store.card(),
            "face_model_sha256": self.store.face_model_sha256,
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = batch_generator(self.seed, step)
        most = self.settings.most_people
        indices = self._order.take(most * step * self.batch_size, most * self.batch_size).reshape(-1, most)
        scenes = [self._composer.compose(rng, chosen) for chosen in indices]
        heat, geometry, weight = zip(*(detector_targets(scene, self.settings.size) for scene in scenes), strict=True)
        arrays = {"images": [scene.image for scene in scenes], "heat": heat, "geometry": geometry, "weight": weight}
        return {name: torch.from_numpy(np.stack(values)) for name, values in arrays.items()}

    def loss(self, model: DetectorNetwork, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        logits, geometry = model(channels_first(batch["images"]))
        faces = (batch["heat"] == 1).sum().clamp(min=1)
        heat = focal_loss(logits, batch["heat"]) / faces
        difference = (geometry - batch["geometry"]).abs() * batch["weight"][..., None]
        total_weight = batch["weight"].sum().clamp(min=1)
        size, offset = difference[..., :2].sum() / total_weight, difference[..., 2:].sum() / total_weight
        overlap = (overlap_loss(geometry, batch["geometry"]) * batch["weight"]).sum() / total_weight
        settings = self.settings
        loss = heat + settings.size_weight * size + settings.offset_weight * offset + settings.overlap_weight * overlap
        return loss, {"heat": heat, "size": size, "offset": offset, "overlap": overlap}

    def validate(self, model: DetectorNetwork) -> dict[str, float]:
        """On composed scenes of unseen subjects: score_threshold, the least one with at most one false detection in a
        hundred scenes; there recall, and overlap: mean intersection over union of what is found."""
        scenes = self.validation_scenes()
        scores, overlaps = zip(*(judgement[:2] for judgement in judge_scenes(model, scenes)), strict=True)
        faces = sum(len(scene.boxes) for scene in scenes)
        return choose_threshold(np.concatenate(scores), np.concatenate(overlaps), faces, len(scenes))

    def validation_scenes(self) -> list[Scene]:
        """One scene a validation photograph, always the same ones: unseen people before unseen backgrounds."""
        few = min(self.settings.backgrounds, _VALIDATION_BACKGROUNDS)
        settings = self.settings.model_copy(update={"backgrounds": few})
        composer = SceneComposer(self.store, settings, self.seed + _VALIDATION_SEED, VALIDATION_PICTURES)
        rng = batch_generator(self.seed, _VALIDATION_STREAM)
        others = [rng.permutation(self._validation) for _ in range(settings.most_people - 1)]
        return [composer.compose(rng, chosen) for chosen in zip(self._validation, *others, strict=True)]

    def _network_arguments(self) -> dict[str, int]:
        return {"width": self.settings.width}


def choose_threshold(scores: NDArray, overlaps: NDArray, faces: int, scenes: int) -> dict[str, float]:
    """The score threshold and what it gives, from all detections on `scenes` scenes with `faces` faces.

    scores, overlaps: (N,) score and intersection over union with the face found; 0 for a false detection.
    """
    false_scores = np.sort(scores[overlaps == 0])[::-1]
    allowed = int(FALSE_PER_SCENE * scenes)
    threshold = max(_LOWEST_THRESHOLD, float(false_scores[allowed]) + 1e-4 if len(false_scores) > allowed else 0.0)
    right = (scores >= threshold) & (overlaps > 0)
    return {
        "score_threshold": threshold,
        "recall": float(right.sum() / max(faces, 1)),
        "overlap": float(overlaps[right].mean()) if right.any() else 0.0,
        "false_per_scene": float((scores[overlaps == 0] >= threshold).sum() / max(scenes, 1)),
    }


def judge_scenes(
    model: DetectorNetwork, scenes: Sequence[Scene], least_score: float = _LOWEST_THRESHOLD
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """What the detector finds in each scene, as `judge` says; detections below `least_score` do not count."""
    device = next(model.parameters()).device
    for start in range(0, len(scenes), _VALIDATION_BATCH):
        batch = scenes[start : start + _VALIDATION_BATCH]
        images = to_tensor(np.stack([scene.image for scene in batch]), device)
        for scene, logits, geometry in zip(batch, *model(images), strict=True):
            yield judge(scene, *decode(logits, geometry, least_score))


def judge(scene: Scene, boxes: NDArray, scores: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """What detections (N, 4) with scores (N,) are worth in a scene with F faces; each face is found once at most.

    Returns scores and overlaps (M,) of the detections, without those centred in ignored areas, an overlap of 0 being a
    false one; and the score (F,) with which each face was found, 0 if it was not.
    """
    found = np.zeros(len(scene.boxes))
    kept_scores, overlaps = [], []
    for detection in suppress(boxes, scores):
        overlap = intersection_over_union(detection.box, scene.boxes) * (found == 0)
        best = int(overlap.argmax()) if len(overlap) else -1
        if best >= 0 and overlap[best] >= FOUND_OVERLAP:
            found[best] = detection.score
            kept_scores.append(detection.score)
            overlaps.append(overlap[best])
        elif not _centred_inside(detection.box, scene.ignored):
            kept_scores.append(detection.score)
            overlaps.append(0.0)
    return np.array(kept_scores), np.array(overlaps), found


def _centred_inside(box: NDArray, areas: NDArray) -> bool:
    centre = (box[:2] + box[2:]) / 2
    return bool(((areas[:, :2] <= centre) & (centre <= areas[:, 2:])).all(1).any())
