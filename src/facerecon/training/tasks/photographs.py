"""Synthetic training photographs, held encoded in memory and decoded as batches need them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import sha256_file
from facerecon.errors import InputError
from facerecon.synthesis.photographs import load_ground_truth

TRAIT_COUNT = 43
"""Traits of a person that `person_traits` gives."""
_LARGEST_ATTRIBUTE = 32  # values a photograph; columns with more (meshes, landmarks) are no attributes


class PhotographStore:
    """Photographs and ground truth of the shards in `folders`, in the order of the folders and of their rows.

    landmarks (N, 68, 2) float32 pixels; landmarks_visible (N, 68) bool; subjects (N,) int64; traits (N, T) float32,
    what the scene tells of the person, of zero mean and unit spread (`person_traits`); attributes: small columns of
    the ground truth, by name, that all folders have. Rows whose landmarks are not finite are left out. sha256: of all
    ground truth files; face_model_sha256: of the model they were made with.
    Raises InputError if a folder holds no photographs, a picture is missing, or the shards' face models differ.
    """

    def __init__(self, folders: Sequence[Path]):
        # OpenCV's own threads would compete with the training thread for cores, and lose on pictures this small.
        cv2.setNumThreads(1)
        digest = hashlib.sha256()
        paths: list[Path] = []
        landmarks, visible, subjects, traits, attributes, models = [], [], [], [], [], set()
        for folder in map(Path, folders):
            truth, model = _read_truth(folder)
            digest.update(sha256_file(folder / "ground_truth.h5").encode())
            usable = np.isfinite(truth["landmarks"]).all((1, 2))
            paths += [folder / "images" / f"{name}.jpg" for name in truth["id"][usable]]
            landmarks.append(truth["landmarks"][usable].astype(np.float32))
            visible.append(truth["landmarks_visible"][usable].astype(bool))
            subjects.append(truth["subject"][usable].astype(np.int64))
            traits.append(person_traits(truth)[usable])
            attributes.append({name: column[usable] for name, column in truth.items() if _is_attribute(column)})
            models.add(model)
        if not paths:
            raise InputError(f"{', '.join(map(str, folders)) or 'no folder'}: no photographs; synthesize some")
        if len(models) > 1:
            raise InputError(f"{folders[0]} and others were made with different face models; make them anew with one")
        self.landmarks, self.landmarks_visible = np.concatenate(landmarks), np.concatenate(visible)
        self.subjects, self.traits = np.concatenate(subjects), _standardised(np.concatenate(traits))
        common = set(attributes[0]).intersection(*attributes)
        self.attributes = {name: np.concatenate([each[name] for each in attributes]) for name in sorted(common)}
        self.sha256, self.face_model_sha256 = digest.hexdigest(), models.pop()
        self._images = [_read(path) for path in paths]
        self._labels = [_read(path.parents[1] / "labels" / f"{path.stem}.png") for path in paths]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Photograph (H, W, 3), sRGB."""
        return cv2.imdecode(self._images[index], cv2.IMREAD_COLOR_RGB)

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Parsing classes (H, W)."""
        return cv2.imdecode(self._labels[index], cv2.IMREAD_GRAYSCALE)

    def split(self, validation_fraction: float, validation_limit: int) -> tuple[NDArray, NDArray]:
        """Indices of the training photographs and of at most `validation_limit` validation ones, by subject.

        Which subjects validate depends on their numbers alone, not on the shards. Raises InputError if either is empty.
        """
        subjects = np.unique(self.subjects)
        share = np.array([_hash_fraction(int(subject)) for subject in subjects])
        validation = np.isin(self.subjects, subjects[share < validation_fraction])
        if not validation.any() and len(subjects) > 1:
            validation = self.subjects == subjects[share.argmin()]
        training, held_out = np.flatnonzero(~validation), np.flatnonzero(validation)
        if not len(training) or not len(held_out):
            raise InputError(f"{len(subjects)} subject is too few to train and validate; synthesize more subjects")
        return training, held_out[:validation_limit]

    def card(self) -> dict[str, object]:
        """What a weights card says of the data."""
        return {
            "photographs": len(self),
            "subjects": len(np.unique(self.subjects)),
            "ground_truth_sha256": self.sha256,
        }


def person_traits(truth: dict[str, NDArray]) -> NDArray[np.float32]:
    """Traits (N, TRAIT_COUNT) of the people in ground truth columns: the face model's first identity coefficients, sex,
    age in years and the logarithm of the skin's melanin, in their own units. Later coefficients hardly show."""
    melanin = np.log(np.maximum(truth["melanin"], 0.03))
    identity = truth["identity"][:, : TRAIT_COUNT - 3]
    return np.column_stack([identity, truth["sex"], truth["age"], melanin]).astype(np.float32)


def _standardised(traits: NDArray[np.float32]) -> NDArray[np.float32]:
    return (traits - traits.mean(0)) / np.maximum(traits.std(0), 1e-6)


def _is_attribute(column: NDArray) -> bool:
    return column.ndim >= 1 and column[0].size <= _LARGEST_ATTRIBUTE if len(column) else False


class ShuffledIndices:
    """An endless sequence of `indices`, shuffled anew each round; any piece of it depends on the seed alone."""

    def __init__(self, indices: NDArray, seed: int):
        self._indices, self._seed = indices, seed
        self._round, self._order = -1, indices

    def take(self, first: int, count: int) -> NDArray:
        """Elements first, ..., first + count - 1 of the sequence."""
        positions = np.arange(first, first + count)
        rounds = positions // len(self._indices)
        within = positions % len(self._indices)
        return np.concatenate([self._shuffled(number)[within[rounds == number]] for number in np.unique(rounds)])

    def _shuffled(self, number: int) -> NDArray:
        if number != self._round:
            self._round, self._order = number, np.random.default_rng([self._seed, 1, number]).permutation(self._indices)
        return self._order


def _read_truth(folder: Path) -> tuple[dict[str, NDArray], str]:
    truth = load_ground_truth(folder)
    with h5py.File(folder / "ground_truth.h5", "r") as file:
        return truth, str(file.attrs["face_model_sha256"])


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        raise InputError(f"{path}: missing; make the photographs again") from None
    if not len(encoded):
        raise InputError(f"{path}: empty; make the photographs again")
    return encoded


def _hash_fraction(subject: int) -> float:
    return int.from_bytes(hashlib.sha256(f"validation {subject}".encode()).digest()[:6], "little") / 2**48
