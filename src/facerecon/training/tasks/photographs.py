"""Synthetic training photographs, held encoded in memory and decoded as batches need them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import read_bytes, sha256_file
from facerecon.data.images import decode_image, decode_labels
from facerecon.errors import InputError
from facerecon.provenance import read_provenance
from facerecon.synthesis.photographs import load_ground_truth
from facerecon.training.tasks.people import subject_ranges

TRAIT_COUNT = 43
"""Traits of a person that `person_traits` gives."""
_REMEDY = "make the photographs again"
_LARGEST_ATTRIBUTE = 32  # values a photograph; columns with more (meshes, landmarks) are no attributes
_LARGEST_TRAIT = 3.0  # standard deviations: children and odd heads lie far out and would rule a squared error


class PhotographStore:
    """Photographs and ground truth of the shards in `folders`, in the order of the folders and of their rows.

    landmarks (N, 68, 2) float32 pixels; landmarks_visible (N, 68) bool; subjects (N,) int64: whom each shows, 0, 1, ...
    in the order of seeds and subjects' numbers; traits (N, T) float32, what the scene tells of the person, of zero mean
    and unit spread, at most 3 (`person_traits`); attributes: small columns of the ground truth, by name, that all
    folders have; people: (seed, number) of each subject. Rows whose landmarks are not finite are left out. sha256: of
    all ground truth files; face_model_sha256: of the model they were made with.
    Raises InputError if a folder holds no photographs, a picture is missing or twice there, a shard does not say which
    seed it was made with, or the shards' face models differ.
    """

    def __init__(self, folders: Sequence[Path]):
        # OpenCV's own threads would compete with the training thread for cores, and lose on pictures this small.
        cv2.setNumThreads(1)
        shards = _read_shards(folders)
        paths = [path for shard in shards for path in shard.paths]
        columns = {name: np.concatenate([shard.truth[name] for shard in shards]) for name in _common(shards)}
        self.landmarks = columns["landmarks"].astype(np.float32)
        self.landmarks_visible = columns["landmarks_visible"].astype(bool)
        self.traits = standardised(person_traits(columns))
        self.attributes = {name: column for name, column in columns.items() if _is_attribute(column)}
        shown = [person for shard in shards for person in shard.people]
        self.people = sorted(set(shown))
        position = {person: place for place, person in enumerate(self.people)}
        self.subjects = np.array([position[person] for person in shown], np.int64)
        self._card = _card(shards)
        self.sha256 = str(self._card["ground_truth_sha256"])
        self.face_model_sha256 = shards[0].face_model_sha256
        self._size = [shard.size for shard in shards for _ in shard.paths]
        self._paths = paths
        self._images = [read_bytes(path, _REMEDY) for path in paths]
        self._labels = [read_bytes(_beside(path, "labels"), _REMEDY) for path in paths]
        with_mattes = {shard.folder for shard in shards if (shard.folder / "mattes").is_dir()}
        self._mattes = [
            read_bytes(_beside(path, "mattes"), _REMEDY) if path.parents[1] in with_mattes else None for path in paths
        ]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Photograph (H, W, 3), sRGB. Raises InputError, naming the file, if it is damaged."""
        path = self._paths[index]
        return self._sized(index, decode_image(self._images[index], str(path)), path)

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Parsing classes (H, W). Raises InputError, naming the file, if it is damaged or of another size."""
        path = _beside(self._paths[index], "labels")
        return self._sized(index, decode_labels(self._labels[index], str(path)), path)

    def matte(self, index: int) -> NDArray[np.uint8] | None:
        """How much of each pixel (H, W) is not background, 255: all; None if the shard does not tell. Raises InputError
        as `labels` does."""
        encoded, path = self._mattes[index], _beside(self._paths[index], "mattes")
        return None if encoded is None else self._sized(index, decode_labels(encoded, str(path)), path)

    def _sized(self, index: int, pixels: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        size = self._size[index]
        if pixels.shape[:2] != (size, size):
            height, width = pixels.shape[:2]
            raise InputError(f"{path}: {width}x{height} pixels, not the {size}x{size} of its shard; make them again")
        return pixels

    def split(self, validation_fraction: float, validation_limit: int) -> tuple[NDArray, NDArray]:
        """Indices of the training photographs and of at most `validation_limit` validation ones, by subject.

        Which subjects validate depends on their numbers alone, not on the shards. Raises InputError if either is empty.
        """
        share = np.array([_hash_fraction(number) for _, number in self.people])
        validation = (share < validation_fraction)[self.subjects]
        if not validation.any() and len(self.people) > 1:
            validation = self.subjects == share.argmin()
        training, held_out = np.flatnonzero(~validation), np.flatnonzero(validation)
        if not len(training) or not len(held_out):
            raise InputError(f"{len(self.people)} subject is too few to train and validate; synthesize more subjects")
        return training, held_out[:validation_limit]

    def card(self) -> dict[str, object]:
        """What a weights card says of the data: counts, who is shown (`people.Ranges`), hashes."""
        return dict(self._card)


def photographs_card(folders: Sequence[Path]) -> dict[str, object]:
    """`PhotographStore(folders).card()`, without reading the pictures. Raises InputError as `PhotographStore` does."""
    return _card(_read_shards(folders))


def person_traits(truth: dict[str, NDArray]) -> NDArray[np.float32]:
    """Traits (N, TRAIT_COUNT) of the people in ground truth columns: the face model's first identity coefficients, sex,
    age in years and the logarithm of the skin's melanin, in their own units. Later coefficients hardly show."""
    melanin = np.log(np.maximum(truth["melanin"], 0.03))
    identity = truth["identity"][:, : TRAIT_COUNT - 3]
    return np.column_stack([identity, truth["sex"], truth["age"], melanin]).astype(np.float32)


def standardised(traits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Traits (N, T) of zero mean and unit spread, those beyond 3 moved to 3."""
    return np.clip((traits - traits.mean(0)) / np.maximum(traits.std(0), 1e-6), -_LARGEST_TRAIT, _LARGEST_TRAIT)


def _is_attribute(column: NDArray) -> bool:
    return column.ndim >= 1 and column[0].size <= _LARGEST_ATTRIBUTE if len(column) else False


class ShuffledIndices:
    """An endless sequence of `indices`, shuffled anew each round; any piece of it depends on the seed alone."""

    def __init__(self, indices: NDArray, seed: int):
        self._indices, self._seed = indices, seed
        self._round, self._order = -1, indices

    def take(self, first: int, count: int) -> NDArray:
        """Elements first, ..., first + count - 1 of the sequence."""
        if count == 0:
            return self._indices[:0]
        positions = np.arange(first, first + count)
        rounds = positions // len(self._indices)
        within = positions % len(self._indices)
        return np.concatenate([self._shuffled(number)[within[rounds == number]] for number in np.unique(rounds)])

    def _shuffled(self, number: int) -> NDArray:
        if number != self._round:
            self._round, self._order = number, np.random.default_rng([self._seed, 1, number]).permutation(self._indices)
        return self._order


@dataclass(frozen=True)
class _Shard:
    """truth: columns of the usable rows, without meshes; paths: of their photographs; sha256: of ground_truth.h5."""

    folder: Path
    truth: dict[str, NDArray]
    paths: list[Path]
    seed: int
    size: int
    sha256: str
    face_model_sha256: str

    @property
    def people(self) -> list[tuple[int, int]]:
        """Seed and number of whom each row shows."""
        return [(self.seed, number) for number in self.truth["subject"].tolist()]

    @classmethod
    def read(cls, folder: Path) -> "_Shard":
        path, truth = folder / "ground_truth.h5", load_ground_truth(folder)
        with h5py.File(path, "r") as file:
            model = str(file.attrs["face_model_sha256"])
        settings = read_provenance(path).get("settings") or {}
        if not isinstance(settings.get("seed"), int) or not isinstance(settings.get("size"), int):
            raise InputError(f"{path}: its provenance names no seed and size; {_REMEDY}")
        usable = np.isfinite(truth["landmarks"]).all((1, 2))
        # The meshes, which no task reads, would fill the memory.
        truth = {name: column[usable] for name, column in truth.items() if name != "face_vertices"}
        paths = [folder / "images" / f"{name}.jpg" for name in truth["id"]]
        return cls(folder, truth, paths, settings["seed"], settings["size"], sha256_file(path), model)


def _read_shards(folders: Sequence[Path]) -> list[_Shard]:
    shards = [_Shard.read(Path(folder)) for folder in folders]
    if not any(shard.paths for shard in shards):
        raise InputError(f"{', '.join(map(str, folders)) or 'no folder'}: no photographs; synthesize some")
    if len({shard.face_model_sha256 for shard in shards}) > 1:
        raise InputError(f"{folders[0]} and others were made with different face models; make them anew with one")
    _check_once(shards)
    return shards


def _card(shards: list[_Shard]) -> dict[str, object]:
    people = {person for shard in shards for person in shard.people}
    hashes = [shard.sha256 for shard in shards]
    return {
        "photographs": sum(len(shard.paths) for shard in shards),
        "subjects": len(people),
        "people": subject_ranges(people),
        "ground_truth_sha256": hashlib.sha256("".join(hashes).encode()).hexdigest(),
        "shards_sha256": hashes,
    }


def _common(shards: list[_Shard]) -> list[str]:
    """Names of the columns that all shards have."""
    return sorted(set(shards[0].truth).intersection(*(shard.truth for shard in shards)))


def _check_once(shards: list[_Shard]) -> None:
    """A photograph given twice would be in training and validation, in gallery and probes."""
    first: dict[tuple[int, str], Path] = {}
    for shard in shards:
        for name in shard.truth["id"].tolist():
            if (shard.seed, name) in first:
                other = first[shard.seed, name]
                raise InputError(
                    f"{shard.folder}: photograph {name} of seed {shard.seed} is in {other} too; give each shard once"
                )
            first[shard.seed, name] = shard.folder


def _beside(image: Path, kind: str) -> Path:
    """The picture of another kind (`labels`, `mattes`) that belongs to a photograph."""
    return image.parents[1] / kind / f"{image.stem}.png"


def _hash_fraction(subject: int) -> float:
    return int.from_bytes(hashlib.sha256(f"validation {subject}".encode()).digest()[:6], "little") / 2**48
