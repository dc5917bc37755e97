"""Training of the parsing network on the standard crops of synthetic photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facerecon.data.parsing_labels import MIRRORED, PARSING_CLASSES
from facerecon.networks.convolutions import channels_first, resize_to, to_tensor
from facerecon.networks.parsing import CLASS_COUNT, ParsingNetwork
from facerecon.training.tasks.augment import BORDERS, batch_generator, change_values
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.photographs import PhotographStore, ShuffledIndices
from facerecon.training.tasks.settings import ParsingSettings

_IGNORED = 255  # label of pixels that the photograph does not show
_BALANCE_SAMPLE = 256  # photographs from which the classes' frequencies are counted
_LARGEST_WEIGHT = 8.0  # of a rare class, over the mean weight
_VALIDATION_BATCH = 32


def make_task(settings: dict[str, Any], data: list[Path], seed: int, batch_size: int) -> "ParsingTask":
    """The task that `facerecon train parsing` runs; data: folders of synthetic photographs."""
    return ParsingTask(ParsingSettings(**settings), PhotographStore(data), seed, batch_size)


def mean_intersection_over_union(confusion: NDArray) -> tuple[float, NDArray]:
    """Mean over the classes that occur, and each class's intersection over union (NaN where it does not occur).

    confusion: (C, C) counts, rows true and columns predicted. A class occurs if it is true of any pixel.
    """
    confusion = np.asarray(confusion, np.float64)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"the confusion matrix must be square, not {confusion.shape}")
    right = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    occurs = confusion.sum(1) > 0
    each = np.where(occurs, right / np.maximum(union, 1), np.nan)
    return float(each[occurs].mean()) if occurs.any() else float("nan"), each


class ParsingTask:
    """A `TrainingTask`; batches are crops (B, S, S, 3) uint8 and classes (B, S, S) uint8, 255 where not asked."""

    name = "parsing"

    def __init__(
        self,
        settings: ParsingSettings,
        store: PhotographStore,
        seed: int,
        batch_size: int,
        mean_landmarks: NDArray | None = None,
    ):
        """mean_landmarks: as in `StandardCrops`."""
        self.settings, self.store, self.seed, self.batch_size = settings, store, seed, batch_size
        self._crops = StandardCrops(store, settings.size, mean_landmarks)
        training, validation = store.split(settings.validation_fraction, settings.validation_limit)
        training, self._validation = training[self._crops.usable[training]], validation[self._crops.usable[validation]]
        self._order = ShuffledIndices(training, seed)
        self._weights = torch.from_numpy(self._class_weights(training))

    def build_model(self) -> ParsingNetwork:
        return ParsingNetwork(self.settings.size, self.settings.width)

    def card(self) -> dict[str, Any]:
        return {
            "network": {"size": self.settings.size, "width": self.settings.width},
            "classes": list(PARSING_CLASSES),
            "settings": self.settings.model_dump(mode="json"),
            "data": self.store.card(),
            "face_model_sha256": self.store.face_model_sha256,
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = batch_generator(self.seed, step)
        settings, images, labels = self.settings, [], []
        for index in self._order.take(step * self.batch_size, self.batch_size):
            matrix = self._crops.random_matrix(rng, index, settings.shift, settings.log_scale, settings.rotation)
            crop = self._crops.image(index, matrix, BORDERS[rng.integers(len(BORDERS))])
            images.append(change_values(rng, crop, settings.photometric))
            labels.append(self._labels(index, matrix))
        return {"images": torch.from_numpy(np.stack(images)), "labels": torch.from_numpy(np.stack(labels))}

    def loss(self, model: ParsingNetwork, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        images = channels_first(batch["images"])
        logits = resize_to(model(images), images)
        weights = self._weights.to(logits.device)
        entropy = F.cross_entropy(logits, batch["labels"].long(), weights, ignore_index=_IGNORED)
        return entropy, {"cross_entropy": entropy}

    def validate(self, model: ParsingNetwork) -> dict[str, float]:
        """mean_iou over the classes, accuracy over pixels, and iou_NAME of each class, on exact standard crops."""
        device = next(model.parameters()).device
        confusion = np.zeros((CLASS_COUNT, CLASS_COUNT), np.int64)
        for start in range(0, len(self._validation), _VALIDATION_BATCH):
            indices = self._validation[start : start + _VALIDATION_BATCH]
            matrices = [self._crops.matrix(index) for index in indices]
            crops = np.stack([self._crops.image(*pair) for pair in zip(indices, matrices, strict=True)])
            truth = np.stack([self._labels(*pair) for pair in zip(indices, matrices, strict=True)])
            predicted = model.probabilities(to_tensor(crops, device)).argmax(1).cpu().numpy()
            asked = truth != _IGNORED
            pairs = truth[asked].astype(np.int64) * CLASS_COUNT + predicted[asked]
            confusion += np.bincount(pairs, minlength=CLASS_COUNT**2).reshape(CLASS_COUNT, CLASS_COUNT)
        mean, each = mean_intersection_over_union(confusion)
        measured = {"mean_iou": mean, "accuracy": float(np.diag(confusion).sum() / max(confusion.sum(), 1))}
        named = zip(PARSING_CLASSES, each, strict=True)
        return measured | {f"iou_{name}": float(value) for name, value in named if np.isfinite(value)}

    def _labels(self, index: int, matrix: NDArray) -> NDArray[np.uint8]:
        labels, inside = self._crops.labels(index, matrix)
        if np.linalg.det(matrix[:, :2]) < 0:  # mirrored: the subject's left is now its right
            labels = np.asarray(MIRRORED, np.uint8)[labels]
        return np.where(inside, labels, np.uint8(_IGNORED))

    def _class_weights(self, training: NDArray) -> NDArray[np.float32]:
        """Weight (19,) of each class: frequency to the power of -class_balance, of mean 1 over pixels, bounded."""
        sample = np.random.default_rng([self.seed, 3]).permutation(training)[:_BALANCE_SAMPLE]
        counts = np.zeros(CLASS_COUNT)
        for index in sample:
            labels = self._labels(index, self._crops.matrix(index))
            counts += np.bincount(labels[labels != _IGNORED], minlength=CLASS_COUNT)[:CLASS_COUNT]
        frequency = counts / counts.sum()
        weights = np.maximum(frequency, 1e-6) ** -self.settings.class_balance
        weights /= (weights * frequency).sum()
        return np.minimum(weights, _LARGEST_WEIGHT).astype(np.float32)
