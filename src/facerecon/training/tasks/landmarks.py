"""Training of the landmark network on synthetic photographs."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from facerecon.artefacts import sha256_file
from facerecon.errors import InputError
from facerecon.evaluate.geometric.aflw2000 import normalised_mean_error
from facerecon.networks.convolutions import channels_first, to_tensor
from facerecon.networks.detector import load_detector
from facerecon.networks.image_crops import apply_matrix, crop_matrix, points_box, square_of_box, warp
from facerecon.networks.landmarks import CROP_MARGIN, MIRRORED_LANDMARKS, LandmarkNetwork, load_landmark_network
from facerecon.networks.weights import read_card, weights_file
from facerecon.training.tasks.augment import BORDERS, batch_generator, change_values, random_crop_matrix
from facerecon.training.tasks.people import training_data
from facerecon.training.tasks.photographs import PhotographStore, ShuffledIndices
from facerecon.training.tasks.pseudo_labels import PseudoLabels, label_photographs
from facerecon.training.tasks.settings import LandmarkSettings

_VALIDATION_BATCH = 64


def make_task(settings: dict[str, Any], data: list[Path], seed: int, batch_size: int) -> "LandmarkTask":
    """The task that `facerecon train landmarks` runs; data: folders of synthetic photographs."""
    return LandmarkTask(LandmarkSettings(**settings), PhotographStore(data), seed, batch_size)


def wing_loss(residual: Tensor, width: float, curvature: float) -> Tensor:
    """Wing loss (Feng et al. 2018, eq. 5) of each element of `residual`; zero at zero, unreduced.

    width: |residual| below which the loss is logarithmic. Raises ValueError if width or curvature is not positive.
    """
    if width <= 0 or curvature <= 0:
        raise ValueError(f"width and curvature must be positive, not {width} and {curvature}")
    absolute = residual.abs()
    linear_offset = width - width * float(np.log1p(width / curvature))
    return torch.where(absolute < width, width * torch.log1p(absolute / curvature), absolute - linear_offset)


def expected_error_loss(distance: Tensor, log_expected: Tensor) -> Tensor:
    """Negative log-likelihood of `distance` >= 0, exponentially distributed with mean exp(log_expected); unreduced.

    Least where exp(log_expected) is the mean distance, so it teaches the network how far off its points are.
    """
    return log_expected + distance * torch.exp(-log_expected)


class LandmarkTask:
    """A `TrainingTask`; batches are crops (B, S, S, 3) uint8, points (B, 68, 2) in crop units and weights (B, 68)."""

    name = "landmarks"

    def __init__(self, settings: LandmarkSettings, store: PhotographStore, seed: int, batch_size: int):
        self.settings, self.store, self.seed, self.batch_size = settings, store, seed, batch_size
        training, self._validation = store.split(settings.validation_fraction, settings.validation_limit)
        self._order = ShuffledIndices(training, seed)
        initial = settings.initial_weights
        self._initial = weights_file("landmarks", initial) if initial else None
        self._unlabelled: PseudoLabels | None = None
        self._teacher_sha256: dict[str, str] = {}
        self._own = 0  # photographs of a batch that are the user's own
        if settings.unlabelled:
            self._own = round(settings.unlabelled_share * batch_size)
            if not 0 < self._own < batch_size:
                raise InputError(
                    f"unlabelled_share {settings.unlabelled_share:g} is {self._own} of a batch of {batch_size}; choose "
                    "one that leaves unlabelled and synthetic photographs at least one each, or no `unlabelled`"
                )
            self._unlabelled = self._mark_unlabelled()
            self._unlabelled_order = ShuffledIndices(np.arange(len(self._unlabelled)), seed)

    def build_model(self) -> LandmarkNetwork:
        """Raises InputError if the initial weights are missing or of another network."""
        network = LandmarkNetwork(**self._network_arguments())
        if self._initial is not None:
            try:
                network.load_state_dict(load_landmark_network(self._initial).state_dict())
            except RuntimeError:
                raise InputError(f"{self._initial}: of another head, size or width; give the same settings") from None
            return network
        network.start_at(torch.from_numpy(self._mean_points()).float())
        return network

    def card(self) -> dict[str, Any]:
        return {
            "network": self._network_arguments(),
            "settings": self.settings.model_dump(mode="json"),
            "data": self.store.card(),
            "face_model_sha256": self.store.face_model_sha256,
        } | self._optional_card()

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = batch_generator(self.seed, step)
        synthetic = self.batch_size - self._own
        indices = self._order.take(step * synthetic, synthetic)
        crops = [self._augmented(rng, self.store.image(index), self.store.landmarks[index]) for index in indices]
        weights = [np.where(self.store.landmarks_visible[indices], 1, self.settings.hidden_weight)]
        if self._unlabelled is not None:
            numbers = self._unlabelled_order.take(step * self._own, self._own)
            own = self._unlabelled
            crops += [self._augmented(rng, own.image(number), own.landmarks[number]) for number in numbers]
            weights.append(own.weights[numbers])
        flips = rng.random(self.batch_size) < 0.5
        images, points = (np.stack(values) for values in zip(*crops, strict=True))
        points, weight = points.astype(np.float32), np.concatenate(weights).astype(np.float32)
        images[flips] = images[flips, :, ::-1]
        points[flips] = points[flips][:, MIRRORED_LANDMARKS] * np.float32([-1, 1])
        weight[flips] = weight[flips][:, MIRRORED_LANDMARKS]
        return {name: torch.from_numpy(v) for name, v in (("images", images), ("points", points), ("weights", weight))}

    def loss(self, model: LandmarkNetwork, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        points, log_error = model(channels_first(batch["images"]))
        residual = points - batch["points"][:, None]
        wing = wing_loss(residual, self.settings.wing_width, self.settings.wing_curvature).sum(3)
        each = (wing * batch["weights"][:, None]).mean((0, 2))  # of each guess on the way, the answer last
        # The points learn from the wing loss alone; the confidence only watches how far off they are.
        confidence = expected_error_loss(residual.detach().norm(dim=3), log_error).mean()
        loss = each[-1] + self.settings.guess_weight * each[:-1].sum() + self.settings.confidence_weight * confidence
        return loss, {"wing": each[-1], "confidence": confidence}

    def validate(self, model: LandmarkNetwork) -> dict[str, float]:
        """nme: 68-point NME, %, of one pass over true boxes; error_correlation: of log expected and log true error."""
        device = next(model.parameters()).device
        errors, expected, distances = [], [], []
        for start in range(0, len(self._validation), _VALIDATION_BATCH):
            crops, truth = zip(*map(self._plain, self._validation[start : start + _VALIDATION_BATCH]), strict=True)
            points, log_error = (values.cpu().numpy() for values in model(to_tensor(np.stack(crops), device)))
            errors.append(normalised_mean_error(points, np.stack(truth)))
            distances.append(np.linalg.norm(points - np.stack(truth), axis=2))
            expected.append(log_error)
        log_distance = np.log(np.concatenate(distances).ravel() + 1e-4)
        return {
            "nme": 100 * float(np.concatenate(errors).mean()),
            "error_correlation": float(np.corrcoef(np.concatenate(expected).ravel(), log_distance)[0, 1]),
        }

    def _network_arguments(self) -> dict[str, int]:
        return self.settings.model_dump(include={"size", "width", "hidden", "head"})

    def _mean_points(self) -> NDArray:
        """Symmetric mean (68, 2) of the training crops' points, crop units."""
        boxes = points_box(self.store.landmarks)
        centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1) * CROP_MARGIN
        mean = ((self.store.landmarks - centre[:, None]) / (side / 2)[:, None, None]).mean(0)
        return (mean + mean[MIRRORED_LANDMARKS] * [-1, 1]) / 2

    def _mark_unlabelled(self) -> PseudoLabels:
        settings = self.settings
        files = {
            "teacher": weights_file("landmarks", settings.teacher),
            "teacher_detector": weights_file("detector", settings.teacher_detector),
        }
        self._teacher_sha256 = {f"{name}_sha256": sha256_file(file) for name, file in files.items()}
        labels = label_photographs(
            settings.unlabelled,
            load_detector(files["teacher_detector"]),
            load_landmark_network(files["teacher"]),
            settings.unlabelled_error,
        )
        print(f"train landmarks: {len(labels)} faces of {labels.looked_at} photographs without labels", file=sys.stderr)
        if labels.damaged:
            print(
                f"train landmarks: {len(labels.damaged)} of them cannot be read, the first {labels.damaged[0]}",
                file=sys.stderr,
            )
        return labels

    def _optional_card(self) -> dict[str, Any]:
        card: dict[str, Any] = {}
        if self._initial is not None:
            card["initial_weights_sha256"] = sha256_file(self._initial)
            card["earlier_data"] = training_data(read_card(self._initial))
        if self._unlabelled is not None:
            found = {"faces": len(self._unlabelled), "sha256": self._unlabelled.sha256}
            card["unlabelled"] = found | self._teacher_sha256
        return card

    def _augmented(
        self, rng: Generator, image: NDArray[np.uint8], landmarks: NDArray
    ) -> tuple[NDArray[np.uint8], NDArray]:
        settings = self.settings
        centre, side = square_of_box(points_box(landmarks), CROP_MARGIN)
        rotation = settings.rotation * (3 if rng.random() < 0.125 else 1)
        matrix = random_crop_matrix(
            rng, centre, side, settings.size, settings.shift, settings.log_scale, rotation, flip=False
        )
        crop = warp(image, matrix, settings.size, BORDERS[rng.integers(len(BORDERS))])
        return change_values(rng, crop, settings.photometric), self._crop_units(matrix, landmarks)

    def _plain(self, index: int) -> tuple[NDArray[np.uint8], NDArray]:
        landmarks = self.store.landmarks[index]
        matrix = crop_matrix(*square_of_box(points_box(landmarks), CROP_MARGIN), self.settings.size)
        return warp(self.store.image(index), matrix, self.settings.size), self._crop_units(matrix, landmarks)

    def _crop_units(self, matrix: NDArray, landmarks: NDArray) -> NDArray:
        return apply_matrix(matrix, landmarks) * (2 / self.settings.size) - 1
