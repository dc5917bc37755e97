"""Training of the parsing network on the standard crops of synthetic photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from facerecon.data.parsing_labels import MIRRORED, PARSING_CLASSES
from facerecon.geometry.cameras import STANDARD_SIZE
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


def class_weights(frequency: NDArray, balance: float) -> NDArray[np.float32]:
    """Weight (C,) of each class: frequency (C,) to the power of -balance, of mean 1 over pixels, bounded."""
    weights = np.maximum(frequency, 1e-6) ** -balance
    weights /= (weights * frequency).sum()
    return np.minimum(weights, _LARGEST_WEIGHT).astype(np.float32)


def balanced_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy in which class c weighs weights[c] without being told more often for that.

    Weighted cross entropy is least at probabilities times the weights, so that rare classes spread over their
    neighbours. Here the logits need not hold the weights, which are added to them in the loss alone.
    logits: (B, C, H, W). labels: (B, H, W) int64, 255 where nothing is asked. weights: (C,) > 0.
    """
    return F.cross_entropy(logits + weights.log()[:, None, None], labels, weights, ignore_index=_IGNORED)


def confusion_matrix(predicted: NDArray, truth: NDArray) -> NDArray[np.int64]:
    """Counts (19, 19) of pixels, rows true and columns predicted; pixels whose true class is 255 are left out."""
    asked = truth != _IGNORED
    pairs = truth[asked].astype(np.int64) * CLASS_COUNT + predicted[asked]
    return np.bincount(pairs, minlength=CLASS_COUNT**2).reshape(CLASS_COUNT, CLASS_COUNT)


def true_classes(crops: StandardCrops, index: int, matrix: NDArray) -> NDArray[np.uint8]:
    """Classes (S, S) of a crop of a photograph, which may be mirrored; 255 outside the photograph."""
    labels, inside = crops.labels(index, matrix)
    if np.linalg.det(matrix[:, :2]) < 0:  # mirrored: the subject's left is now its right
        labels = np.asarray(MIRRORED, np.uint8)[labels]
    return np.where(inside, labels, np.uint8(_IGNORED))


def predict_crops(
    model: ParsingNetwork, crops: StandardCrops, indices: NDArray
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Classes told and true classes (255 outside the photograph), (N, S, S), of photographs' exact standard crops."""
    matrices = [crops.matrix(index) for index in indices]
    images = np.stack([crops.image(*pair) for pair in zip(indices, matrices, strict=True)])
    truth = np.stack([true_classes(crops, *pair) for pair in zip(indices, matrices, strict=True)])
    with torch.inference_mode():
        probabilities = model.probabilities(to_tensor(images, next(model.parameters()).device))
    return probabilities.argmax(1).to(torch.uint8).cpu().numpy(), truth


def overlap_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice coefficient of probabilities and true classes, mean over the classes that the batch shows.

    logits: (B, C, H, W). labels: (B, H, W) int64, 255 where nothing is asked. A class counts as much however small it
    is, and is not told where it is not, to which weights of the cross entropy lead.
    """
    asked = labels != _IGNORED
    probability = torch.softmax(logits.float(), 1) * asked[:, None]
    count = logits.shape[1]
    at_truth = probability.gather(1, labels.where(asked, 0)[:, None])[:, 0]
    shared = torch.zeros(count, device=logits.device).index_add(0, labels[asked], at_truth[asked])
    true = torch.bincount(labels[asked], minlength=count).to(shared.dtype)
    dice = (2 * shared + 1) / (probability.sum((0, 2, 3)) + true + 1)
    shown = true > 0
    return torch.where(shown, 1 - dice, 0).sum() / shown.sum().clamp(min=1)


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
        self._full_crops = StandardCrops(store, STANDARD_SIZE, mean_landmarks)
        training, validation = store.split(settings.validation_fraction, settings.validation_limit)
        training, self._validation = training[self._crops.usable[training]], validation[self._crops.usable[validation]]
        self._order = ShuffledIndices(training, seed)
        self._frequency = self._class_frequency(training)
        self._weights = torch.from_numpy(class_weights(self._frequency, settings.class_balance))

    def build_model(self) -> ParsingNetwork:
        network = ParsingNetwork(**self._network_arguments())
        network.start_at(torch.from_numpy(self._frequency))
        return network

    def card(self) -> dict[str, Any]:
        return {
            "network": self._network_arguments(),
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
            labels.append(true_classes(self._crops, index, matrix))
        return {"images": torch.from_numpy(np.stack(images)), "labels": torch.from_numpy(np.stack(labels))}

    def loss(self, model: ParsingNetwork, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        images = channels_first(batch["images"])
        logits, labels = resize_to(model(images), images), batch["labels"].long()
        entropy = balanced_entropy(logits, labels, self._weights.to(logits.device))
        overlap = overlap_loss(logits, labels)
        return entropy + self.settings.overlap_weight * overlap, {"cross_entropy": entropy, "overlap": overlap}

    def validate(self, model: ParsingNetwork) -> dict[str, float]:
        """mean_iou over the classes that occur, accuracy over pixels, and iou_NAME of each class, on exact standard
        crops of 224 pixels."""
        confusion = np.zeros((CLASS_COUNT, CLASS_COUNT), np.int64)
        for start in range(0, len(self._validation), _VALIDATION_BATCH):
            predicted, truth = predict_crops(
                model, self._full_crops, self._validation[start : start + _VALIDATION_BATCH]
            )
            confusion += confusion_matrix(predicted, truth)
        mean, each = mean_intersection_over_union(confusion)
        measured = {"mean_iou": mean, "accuracy": float(np.diag(confusion).sum() / max(confusion.sum(), 1))}
        named = zip(PARSING_CLASSES, each, strict=True)
        return measured | {f"iou_{name}": float(value) for name, value in named if np.isfinite(value)}

    def _network_arguments(self) -> dict[str, Any]:
        return self.settings.model_dump(include={"size", "width", "full_size"})

    def _class_frequency(self, training: NDArray) -> NDArray[np.float64]:
        """Share (19,) of the pixels that each class has."""
        sample = np.random.default_rng([self.seed, 3]).permutation(training)[:_BALANCE_SAMPLE]
        counts = np.zeros(CLASS_COUNT)
        for index in sample:
            labels = true_classes(self._crops, index, self._crops.matrix(index))
            counts += np.bincount(labels[labels != _IGNORED], minlength=CLASS_COUNT)[:CLASS_COUNT]
        return counts / counts.sum()
