"""Training of amplitude_phase: its losses and the task that the trainer runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facerecon.artefacts import atomic_file, sha256_file
from facerecon.data.images import encode_jpeg
from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.data.shards import ShardDataset
from facerecon.errors import InputError
from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.losses.frequency import frequency_loss
from facerecon.losses.spatial import (
    DENG_REGULARISATION,
    PRINTED_REGULARISATION,
    coefficient_regularisation,
    identity_loss,
    photometric_loss,
    wing_landmark_loss,
)
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.parameters import FaceParameters
from facerecon.morphable.storage import load_face_model
from facerecon.networks.backbones import backbone_input_size
from facerecon.networks.recognition import RecognitionNetwork, load_recognition, recognition_crop
from facerecon.networks.weights import weights_file
from facerecon.provenance import read_provenance
from facerecon.render.backends import resolve_backend
from facerecon.systems.amplitude_phase.model import NAME, CoefficientNetwork, DecodedFace, FaceDecoder
from facerecon.systems.amplitude_phase.settings import RegionWeights, Settings
from facerecon.systems.augmentation import CoefficientMirror
from facerecon.systems.crop_batches import CropBatches

PRINTED_WEIGHT, DENG_WEIGHT = 4e-4, 3e-4
# What counts as an error of 1 in the fit term: about the spread of the landmark fit itself.
_FIT_ROTATION = 0.1  # rad
_FIT_IDENTITY = 4.0  # weight of the identity's group
_FIT_TRANSLATION = (10.0, 10.0, 40.0)  # mm
_SAMPLE_PICTURES = 6


@dataclass(frozen=True)
class FaceLosses:
    """The system's loss as a function of coefficients and a batch of `CropBatches`; see `Settings` for its parts.

    recognition: frozen network of the identity term, None if its weight is 0.
    """

    settings: Settings
    decoder: FaceDecoder
    recognition: RecognitionNetwork | None

    def __call__(
        self, coefficients: FaceParameters, batch: dict[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total (a scalar) and unweighted terms by name, among them `objective`: the total without the fit term.

        Its weights are the same at every step, so that it tells whether training gets anywhere.

        Frequency and identity terms see the render laid over the input inside the visible face, our choice: elsewhere
        they agree by construction, and no black background appears that the recognition network never saw.
        """
        weights = self.settings.weights
        face = self.decoder.reconstruct(coefficients)
        terms = {"landmark": self.landmark_term(face, batch), "regularisation": self.regularisation_term(coefficients)}
        scale = {"landmark": weights.landmark, "regularisation": self.regularisation_weight()}
        if weights.photometric or weights.frequency or weights.identity:
            rendered, coverage = self.decoder.render(face)
            mask = batch["face"] * coverage
            terms["photometric"] = photometric_loss(rendered, batch["image"], mask, batch["region_weight"])
            scale["photometric"] = weights.photometric
            composite = torch.where(mask[:, None] > 0, rendered, batch["image"])
        if weights.frequency:
            settings = self.settings
            terms["frequency"], terms["amplitude"], terms["phase"] = frequency_loss(
                composite, batch["image"], settings.amplitude, settings.phase, floor=settings.phase_floor
            )
            scale["frequency"] = weights.frequency
        if self.recognition is not None:
            features = self.recognition.embed(recognition_crop(composite.clamp(0.0, 1.0)))
            terms["identity"] = identity_loss(features, batch["feature"])
            scale["identity"] = weights.identity
        objective = torch.stack([scale[name] * terms[name] for name in scale]).sum()
        total = objective
        if self.fit_weight(0) > 0:
            # Still measured once its weight has fallen to 0.
            terms["fit"] = fit_distance(coefficients, batch)
            total = total + self.fit_weight(step) * terms["fit"]
        return total, {"objective": objective, **terms}

    def to(self, device: torch.device) -> None:
        """Go on on another device."""
        self.decoder.to(device)
        if self.recognition is not None:
            self.recognition.to(device)

    def landmark_term(self, face: DecodedFace, batch: dict[str, Tensor]) -> Tensor:
        """Wing loss between projected and found landmarks, weighted by confidence."""
        ratio = STANDARD_SIZE / self.decoder.size
        return wing_landmark_loss(face.landmarks * ratio, batch["landmarks"], batch["confidence"])

    def regularisation_term(self, coefficients: FaceParameters) -> Tensor:
        """Squared coefficients with the inner weights that the settings name."""
        inner = PRINTED_REGULARISATION if self.settings.regularisation == "printed" else DENG_REGULARISATION
        return coefficient_regularisation(coefficients._asdict(), inner)

    def regularisation_weight(self) -> float:
        """The settings' weight, or the one that belongs to the inner weights."""
        own = PRINTED_WEIGHT if self.settings.regularisation == "printed" else DENG_WEIGHT
        given = self.settings.weights.regularisation
        return own if given is None else given

    def fit_weight(self, step: int) -> float:
        """Weight of the warm-up term: linear from its setting at step 0 to 0 at fit_steps."""
        remaining = 1.0 - step / self.settings.fit_steps if self.settings.fit_steps else 0.0
        return self.settings.weights.fit * max(remaining, 0.0)


def fit_distance(coefficients: FaceParameters, batch: dict[str, Tensor]) -> Tensor:
    """Mean squared distance to the shard's pose and shape, each group in its own unit, summed over the groups.

    Our guide, not the paper's: photometric gradients mean little until the render lies on the face, and 68 landmarks
    tell little of who it is. Rotation counts in 0.1 rad, translation in 10 mm sideways and 40 mm in depth, coefficients
    in standard deviations, identity four times. On real photographs the shape is that of the landmark fit, so that
    supervision stays weak; on synthetic ones it is the true one (`true_shape` of the shard).
    """
    translation = coefficients.translation.new_tensor(_FIT_TRANSLATION)
    groups = [
        (coefficients.rotation - batch["rotation"]) / _FIT_ROTATION,
        (coefficients.translation - batch["translation"]) / translation,
        _FIT_IDENTITY**0.5 * (coefficients.identity - batch["identity"]),
        coefficients.expression - batch["expression"],
    ]
    # A model without expressions has an empty group, whose mean is not a number.
    return torch.stack([group.square().mean() for group in groups if group.numel()]).sum()


class AmplitudePhaseTask:
    """The training task (facerecon.training.trainer.TrainingTask)."""

    name = NAME

    def __init__(
        self,
        settings: Settings,
        face_model: FaceModel,
        recognition: RecognitionNetwork | None,
        training: CropBatches,
        validation: CropBatches | None,
        data_sha256: dict[str, str],
    ):
        """validation: None validates nothing. data_sha256: what else decides the result, by name, for the card."""
        self.settings, self.face_model = settings, face_model
        self.training, self.validation, self.data_sha256 = training, validation, data_sha256
        decoder = FaceDecoder(face_model, training.size, settings.network.camera, settings.renderer)
        self.losses = FaceLosses(settings, decoder, recognition)

    def check_device(self, device: torch.device) -> None:
        """Raise InputError if the settings' renderer cannot draw what a network on `device` predicts."""
        resolve_backend(self.settings.renderer, self._rendering_device(device))

    def build_model(self) -> nn.Module:
        return CoefficientNetwork(self.face_model.dimensions, self.settings.network, self.settings.initial_weights)

    def card(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(mode="json"),
            "face_model_sha256": self.face_model.sha256,
            "data_sha256": self.data_sha256,
            "photographs": len(self.training.source),
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        return self.training.batch(step)

    def loss(self, model: nn.Module, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.losses(*self._predicted(model, batch), step)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Objective and loss terms on validation photographs, and the mean landmark distance, pixels at 224."""
        if self.validation is None:
            return {}
        batches = [self.validation.plain_batch(indices) for indices in self._validation_rows()]
        measured: dict[str, list[float]] = {}
        for batch in batches:
            coefficients, batch = self._predicted(model, batch)
            _, terms = self.losses(coefficients, batch, self.settings.fit_steps)
            landmarks = self.losses.decoder.reconstruct(coefficients).landmarks * (STANDARD_SIZE / self.training.size)
            distance = torch.linalg.vector_norm(landmarks - batch["landmarks"], dim=-1).mean()
            for name, value in {**terms, "landmark_pixels": distance}.items():
                measured.setdefault(name, []).append(float(value) * len(batch["image"]))
        count = sum(len(batch["image"]) for batch in batches)
        return {name: sum(values) / count for name, values in measured.items()}

    def sample_pictures(self, model: nn.Module, folder: Path) -> None:
        """validation.jpg: rows of input, render over input, render alone."""
        if self.validation is None:
            return
        batch = self.validation.plain_batch(list(range(min(_SAMPLE_PICTURES, len(self.validation.source)))))
        coefficients, batch = self._predicted(model, batch)
        face = self.losses.decoder.reconstruct(coefficients)
        rendered, coverage = self.losses.decoder.render(face)
        over = torch.where(coverage[:, None], rendered, batch["image"])
        columns = torch.cat([batch["image"], over, rendered], dim=3).clamp(0, 1)
        picture = (columns.permute(0, 2, 3, 1).flatten(0, 1) * 255).round().byte().cpu().numpy()
        with atomic_file(folder / "validation.jpg") as temporary:
            temporary.write_bytes(encode_jpeg(picture))

    def _predicted(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[FaceParameters, dict[str, Tensor]]:
        """Parameters and the batch where faces are decoded and rendered: with the network, or on the CPU if the
        settings say that the renderer `cpu` does it."""
        device = next(model.parameters()).device
        coefficients = model(batch["image"].to(device))
        device = self._rendering_device(device)
        if self.losses.decoder.triangles.device != device:
            self.losses.to(device)
        placed = {name: values.to(device) for name, values in batch.items()}
        return FaceParameters(*(values.to(device) for values in coefficients)), placed

    def _rendering_device(self, device: torch.device) -> torch.device:
        return torch.device("cpu") if self.settings.renderer == "cpu" else device

    def _validation_rows(self) -> list[list[int]]:
        count = min(self.settings.validation_photographs, len(self.validation.source))
        rows = np.linspace(0, len(self.validation.source) - 1, count).round().astype(int)
        return [part.tolist() for part in np.array_split(rows, -(-count // self.validation.batch_size))]


def make_task(
    settings: dict[str, Any], data: list[Path], seed: int, batch_size: int, face_model: Path | None = None
) -> AmplitudePhaseTask:
    """The task for shard files (or folders of them). face_model: a file; None is the open model.

    Raises InputError if shards are missing, hold no photographs to train or validate on, or were made with another face
    model or recognition network; pydantic's ValidationError for bad settings.
    """
    checked = Settings(**settings)
    shards = shard_files(data)
    model = load_face_model(face_model, level=1)
    dataset = ShardDataset(shards, "train")
    if dataset.face_model_sha256 != model.sha256:
        raise InputError(f"{shards[0]}: was made with another face model than the one in use; preprocess again")
    hashes = {f"shard {number}": sha256_file(path) for number, path in enumerate(shards)}
    recognition = None
    if checked.weights.identity:
        weights = weights_file("recognition", checked.recognition)
        recognition = load_recognition(weights).to(memory_format=torch.channels_last)
        hashes["recognition"] = sha256_file(weights)
        _check_features(shards, hashes["recognition"])
    if checked.initial_weights is not None:
        hashes["initial_weights"] = sha256_file(weights_file("recognition", checked.initial_weights))
    size = backbone_input_size(checked.network.backbone)
    regions = region_weights(checked.regions)
    validation = None
    if checked.validation_photographs:
        validation = CropBatches(_validation_set(shards), batch_size, seed, size, regions)
    training = CropBatches(dataset, batch_size, seed, size, regions, checked.augmentation, CoefficientMirror.of(model))
    return AmplitudePhaseTask(checked, model, recognition, training, validation, hashes)


def _validation_set(shards: list[Path]) -> ShardDataset:
    try:
        return ShardDataset(shards, "validation")
    except InputError as error:
        raise InputError(f"{error}; to validate nothing set validation_photographs to 0") from None


def _check_features(shards: list[Path], recognition_sha256: str) -> None:
    """Raise InputError if a shard says that its features are those of another recognition network."""
    for path in shards:
        recorded = read_provenance(path)["inputs"].get("recognition")
        if recorded not in (None, recognition_sha256):
            raise InputError(f"{path}: its features are of another recognition network; preprocess again")


def region_weights(regions: RegionWeights) -> dict[int, float]:
    """Weight W of eq. 4 for each parsing class of the visible face; glasses, hair, ears and all others are no face."""
    names = {
        "skin": ("skin", "l_brow", "r_brow"),
        "eyes": ("l_eye", "r_eye"),
        "nose": ("nose",),
        "mouth": ("mouth", "u_lip", "l_lip"),
    }
    return {PARSING_CLASSES.index(name): getattr(regions, part) for part, group in names.items() for name in group}


def shard_files(data: list[Path]) -> list[Path]:
    """The shard files among `data`: files as they are, shard*.h5 of folders, sorted. InputError if there are none."""
    files = [file for path in data for file in (sorted(path.glob("shard*.h5")) if path.is_dir() else [path])]
    if not files:
        raise InputError(f"{data[0]}: holds no shard*.h5; make shards with `facerecon preprocess shard`")
    return files
