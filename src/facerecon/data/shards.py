"""Training shards: crops, labels, landmarks and fits of up to `shard_size` images in one HDF5 file.

A shard is a table (facerecon.data.tables) of kind "shard"; docs/data.md lists its columns. `ShardDataset` reads batches
from many of them at random.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from facerecon.data.images import decode_image, decode_labels
from facerecon.data.tables import check_crc32, damage_named, open_table
from facerecon.errors import InputError

SHARD_KIND = "shard"
BATCH_COLUMNS = (
    "landmarks",
    "confidence",
    "crop_scale",
    "crop_offset",
    "identity",
    "expression",
    "rotation",
    "translation",
    "feature",
)


class ShardDataset:
    """Random access to the rows of shards.

    paths: shard files, in the order that gives the rows their numbers. split: keep only rows of it (train, validation,
    test); None keeps all. Files are opened in the process that reads (so a forked or spawned worker has its own
    handles) and small columns are held in memory, about 3.5 kB an image.
    Raises InputError if a file is missing, damaged, of another kind, made for another face model than the first,
    if an id is there twice, or if no row is left.
    """

    def __init__(self, paths: Iterable[str | os.PathLike], split: str | None = None):
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise InputError("no shard files were given; make them with `facerecon preprocess shard`")
        self.face_model_sha256 = ""
        self.ids: list[str] = []
        self.subjects: list[str] = []
        places: list[tuple[int, int]] = []
        for number, path in enumerate(self.paths):
            with open_table(path, SHARD_KIND) as file, damage_named(path):
                self._check_face_model(path, str(file.attrs["face_model_sha256"]))
                ids, subjects, splits = (_strings(file[name]) for name in ("id", "subject", "split"))
            for row, own in enumerate(splits):
                if split in (None, own):
                    places.append((number, row))
                    self.ids.append(ids[row])
                    self.subjects.append(subjects[row])
        if not places:
            raise InputError(f"{self.paths[0]}: the {len(self.paths)} shards hold no images of split {split!r}")
        if len(set(self.ids)) != len(self.ids):
            twice = next(name for name in self.ids if self.ids.count(name) > 1)
            raise InputError(f"{self.paths[0]}: image {twice} is in the shards twice; give each shard once")
        self._places = np.array(places, dtype=np.int64)
        self._opened: dict[int, _OpenShard] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._places)

    def load_batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Rows as arrays, in the order of `indices` (B of them, repeats allowed).

        image (B, 224, 224, 3) uint8 sRGB; labels (B, 224, 224) uint8 parsing classes; landmarks (B, 68, 2) crop pixels;
        confidence (B, 68) in [0, 1]; crop_scale (B,) and crop_offset (B, 2): x_crop = scale * x_photo + offset;
        identity (B, 80), expression (B, 64), rotation (B, 3) pitch, yaw, roll in rad, translation (B, 3) mm: the
        landmark fit; feature (B, D) unit vectors of the recognition network. All but the first two float32.
        Raises InputError naming the file and image if stored bytes do not match their checksum, IndexError if an index
        is out of range.
        """
        batch: dict[str, list[np.ndarray]] = {name: [] for name in ("image", "labels", *BATCH_COLUMNS)}
        for number, row in self._places[np.asarray(indices, dtype=np.int64)]:
            shard = self._shard(int(number))
            batch["image"].append(decode_image(shard.blob("image", row), f"{shard.path}: image {row}"))
            batch["labels"].append(decode_labels(shard.blob("labels", row), f"{shard.path}: labels {row}"))
            for name in BATCH_COLUMNS:
                batch[name].append(shard.columns[name][row])
        return {name: np.stack(values) for name, values in batch.items()}

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        for shard in self._opened.values():
            shard.file.close()
        self._opened = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": {}}

    def _shard(self, number: int) -> "_OpenShard":
        if self._process != os.getpid():
            self._opened, self._process = {}, os.getpid()
        if number not in self._opened:
            self._opened[number] = _OpenShard(self.paths[number])
        return self._opened[number]

    def _check_face_model(self, path: Path, sha256: str) -> None:
        self.face_model_sha256 = self.face_model_sha256 or sha256
        if sha256 != self.face_model_sha256:
            raise InputError(f"{path}: was made with another face model than {self.paths[0]}; make all with one")


class _OpenShard:
    """An open file with its fixed-size columns in memory."""

    def __init__(self, path: Path):
        self.path = path
        self.file: h5py.File = open_table(path, SHARD_KIND)
        with damage_named(path):
            self.columns = {name: self.file[name][()] for name in BATCH_COLUMNS}
            self._offsets = {name: self.file[f"{name}/offsets"][()] for name in ("image", "labels")}
            self._sums = {name: self.file[f"{name}/crc32"][()] for name in ("image", "labels")}

    def blob(self, name: str, row: int) -> bytes:
        start, end = self._offsets[name][row : row + 2]
        with damage_named(self.path):
            value = self.file[f"{name}/data"][start:end].tobytes()
        check_crc32(value, int(self._sums[name][row]), f"{self.path}: {name} of row {row}")
        return value


def _strings(dataset: h5py.Dataset) -> list[str]:
    return [value.decode() for value in dataset[()].tolist()]
