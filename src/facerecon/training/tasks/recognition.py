"""Training of the recognition network: telling synthetic subjects apart, with a margin.

On a CPU's few passes over the photographs a margin loss alone hardly starts (area under the ROC curve 0.63 after 83,000
images). So training starts from the landmark network's trunk, each batch shows several photographs of a subject, which
are contrasted with one another, and the embedding also has to tell traits that the scenes know: the face's shape, sex,
age and melanin.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.artefacts import sha256_file
from facerecon.errors import InputError
from facerecon.networks import CARRIED
from facerecon.networks.convolutions import channels_first
from facerecon.networks.landmarks import load_landmark_network
from facerecon.networks.recognition import EMBEDDING, INPUT_SIZE, REGION, RecognitionNetwork
from facerecon.networks.weights import read_card, weights_file
from facerecon.training.tasks.augment import BORDERS, batch_generator, change_values
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.identification import embed_photographs, gallery_and_probes, identify, verification
from facerecon.training.tasks.people import training_data
from facerecon.training.tasks.photographs import TRAIT_COUNT, PhotographStore, ShuffledIndices
from facerecon.training.tasks.settings import RecognitionSettings

_MAX_PAIRS = 20_000  # of each kind, in validation


def make_task(settings: dict[str, Any], data: list[Path], seed: int, batch_size: int) -> "RecognitionTask":
    """The task that `facerecon train recognition` runs; data: folders of synthetic photographs."""
    return RecognitionTask(RecognitionSettings(**settings), PhotographStore(data), seed, batch_size)


def margin_loss(cosines: Tensor, subjects: Tensor, scale: float, margin: float) -> Tensor:
    """CosFace loss (Wang et al. 2018, eq. 4), mean over the batch.

    cosines: (B, N) of each embedding with each subject's centre. subjects: (B,) the true ones. margin: taken off the
    true cosine. Raises ValueError if the shapes do not fit or scale is not positive.
    """
    if cosines.ndim != 2 or subjects.shape != cosines.shape[:1]:
        raise ValueError(f"cosines {tuple(cosines.shape)} and subjects {tuple(subjects.shape)} do not fit")
    if scale <= 0:
        raise ValueError(f"scale must be positive, not {scale}")
    reduced = cosines - margin * F.one_hot(subjects, cosines.shape[1]).to(cosines.dtype)
    return F.cross_entropy(scale * reduced, subjects)


def pair_loss(unit: Tensor, subjects: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, eq. 2) of a batch; zero if no two photographs share a subject.

    unit: (B, D) unit embeddings. subjects: (B,). Raises ValueError if temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    same = (subjects[:, None] == subjects[None]) & ~itself
    log_share = torch.where(same, similarity - similarity.logsumexp(1, keepdim=True), 0)
    partners = same.sum(1)
    anchors = (partners > 0).sum().clamp(min=1)
    return -(log_share.sum(1) / partners.clamp(min=1)).sum() / anchors


class SubjectClassifier(nn.Module):
    """The recognition network with one centre a training subject and a readout of traits, which serve training only."""

    def __init__(self, network: RecognitionNetwork, subjects: int):
        super().__init__()
        self.network = network
        self.centres = nn.Parameter(torch.randn(subjects, EMBEDDING) * 0.01)
        self.readout = nn.Linear(EMBEDDING, TRAIT_COUNT)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, 112, 112) in [0, 1] -> embeddings (B, 512), any length."""
        return self.network(images)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(B, N) cosines of the embeddings with the subjects' centres."""
        return F.normalize(embeddings, dim=1) @ F.normalize(self.centres, dim=1).T

    def traits(self, embeddings: Tensor) -> Tensor:
        """(B, TRAIT_COUNT) traits told from the embeddings' directions."""
        return self.readout(F.normalize(embeddings, dim=1) * EMBEDDING**0.5)


class RecognitionTask:
    """A `TrainingTask`; batches are images (B, 112, 112, 3) uint8, numbers of subjects (B,) int64 and traits (B, T)."""

    name = "recognition"

    def __init__(
        self,
        settings: RecognitionSettings,
        store: PhotographStore,
        seed: int,
        batch_size: int,
        mean_landmarks: NDArray | None = None,
    ):
        """mean_landmarks: as in `StandardCrops`."""
        self.settings, self.store, self.seed, self.batch_size = settings, store, seed, batch_size
        self._crops = StandardCrops(store, INPUT_SIZE, mean_landmarks, REGION)
        training, validation = store.split(settings.validation_fraction, settings.validation_limit)
        training, self._validation = training[self._crops.usable[training]], validation[self._crops.usable[validation]]
        self._subjects, numbers = np.unique(store.subjects[training], return_inverse=True)
        self._number = dict(zip(training.tolist(), numbers.tolist(), strict=True))
        self._photographs = [training[numbers == number] for number in range(len(self._subjects))]
        self._order = ShuffledIndices(np.arange(len(self._subjects)), seed)
        self._any_order = ShuffledIndices(training, seed)
        trunk = settings.initial_trunk
        self._trunk = weights_file("landmarks", trunk) if trunk else None
        self._trunk_sha256 = sha256_file(self._trunk) if self._trunk else None

    def build_model(self) -> SubjectClassifier:
        """Raises InputError if the landmark network that gives the trunk is missing or of another width."""
        network = RecognitionNetwork(**self._network_arguments())
        if self.settings.initial_trunk:
            _start_trunk(network, self.settings.initial_trunk)
        return SubjectClassifier(network, len(self._subjects))

    def card(self) -> dict[str, Any]:
        return {
            "network": self._network_arguments(),
            "settings": self.settings.model_dump(mode="json"),
            "data": self.store.card(),
            "initial_trunk_sha256": self._trunk_sha256,
            "earlier_data": training_data(read_card(self._trunk)) if self._trunk else [],
            "face_model_sha256": self.store.face_model_sha256,
        }

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = batch_generator(self.seed, step)
        settings, images = self.settings, []
        indices = self._chosen(rng, step)
        for index in indices:
            matrix = self._crops.random_matrix(rng, index, settings.shift, settings.log_scale, settings.rotation)
            image = self._crops.image(index, matrix, BORDERS[rng.integers(len(BORDERS))])
            images.append(change_values(rng, image, settings.photometric))
        numbers = np.array([self._number[int(index)] for index in indices])
        return {
            "images": torch.from_numpy(np.stack(images)),
            "subjects": torch.from_numpy(numbers),
            "traits": torch.from_numpy(self.store.traits[indices]),
        }

    def loss(self, model: SubjectClassifier, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings = model(channels_first(batch["images"]))
        cosines = model.cosines(embeddings)
        rise = min(1.0, step / max(self.settings.margin_steps, 1))
        margin = margin_loss(cosines, batch["subjects"], self.settings.scale, rise * self.settings.margin)
        pairs = pair_loss(F.normalize(embeddings, dim=1), batch["subjects"], self.settings.pair_temperature)
        traits = F.mse_loss(model.traits(embeddings), batch["traits"])
        accuracy = (cosines.argmax(1) == batch["subjects"]).float().mean()
        loss = margin + self.settings.pair_weight * pairs + self.settings.trait_weight * traits
        return loss, {"margin": margin, "pairs": pairs, "traits": traits, "accuracy": accuracy}

    def validate(self, model: SubjectClassifier) -> dict[str, float]:
        """On unseen subjects: `verification` over all pairs of photographs, or 20,000 of each kind, and rank_1 of
        `identify` with the number of identities among which it was told."""
        unit = embed_photographs(model.network, self._crops, self._validation)
        subjects = self.store.subjects[self._validation]
        first, second = np.triu_indices(len(subjects), 1)
        same = subjects[first] == subjects[second]
        if not same.any() or same.all():
            return {}  # too few photographs held out to tell anything
        chosen = np.concatenate([self._some(np.flatnonzero(same)), self._some(np.flatnonzero(~same))])
        similarity = np.einsum("nd,nd->n", unit[first[chosen]], unit[second[chosen]])
        measured = verification(similarity, same[chosen])
        attributes = {name: column[self._validation] for name, column in self.store.attributes.items()}
        gallery, probes = gallery_and_probes(subjects, attributes)
        if len(probes):
            right = identify(unit[gallery], subjects[gallery], unit[probes], subjects[probes])
            measured |= {"rank_1": float(right.mean()), "identities": float(len(gallery))}
        return measured

    def _chosen(self, rng: Generator, step: int) -> NDArray:
        """Photographs (batch_size,) of a step: `photos_per_subject` of each of some subjects, or any."""
        size, each = self.batch_size, self.settings.photos_per_subject
        if each == 1:
            return self._any_order.take(step * size, size)
        subjects = -(-size // each)
        chosen = [
            rng.choice(photographs, each, replace=len(photographs) < each)
            for photographs in (self._photographs[number] for number in self._order.take(step * subjects, subjects))
        ]
        return np.concatenate(chosen)[:size]

    def _some(self, pairs: NDArray) -> NDArray:
        return np.random.default_rng([self.seed, 4]).permutation(pairs)[:_MAX_PAIRS]

    def _network_arguments(self) -> dict[str, Any]:
        return self.settings.model_dump(include={"width", "dropout"})


def _start_trunk(network: RecognitionNetwork, landmarks: str) -> None:
    """Copy the trunk of the landmark network in the file `landmarks`, or of the carried one."""
    features = load_landmark_network(None if landmarks == CARRIED else landmarks).features
    try:
        network.trunk.load_state_dict(features[: len(network.trunk)].state_dict())
    except RuntimeError:
        raise InputError(
            f"initial_trunk {landmarks}: a landmark network of another width; give both the same"
        ) from None
