"""Training shards: crops, labels, landmarks and fits of up to `shard_size` images in one HDF5 file.

A shard is a table (facerecon.data.tables) of kind "shard"; docs/data.md lists its columns. `ShardDataset` reads batches
from many of them at random.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np

from facerecon.data.images import decode_image, decode_labels
from facerecon.data.tables import check_crc32, damage_named, open_table
from facerecon.errors import InputError

SHARD_KIND = "shard"
OPEN_FILES = 64
"""Most shard files that a data set keeps open; the system's limit is often 1024 for the whole process."""

_HELD_COLUMNS = (
    "landmarks",
    "confidence",
    "crop_scale",
    "crop_offset",
    "identity",
    "expression",
    "rotation",
    "translation",
)
_BLOBS = ("image", "labels")


class ShardDataset:
    """Random access to the rows of shards.

    paths: shard files, in the order that gives the rows their numbers; one without rows is passed over. split: keep
    only rows of it (train, validation, test); None keeps all. Files are opened in the process that reads (so a forked
    or spawned worker has its own handles), at most OPEN_FILES at a time. Columns are held in memory, about 1.5 kB an
    image; images, labels and features are read when they are asked for.
    Raises InputError if a file is missing, damaged, of another kind, made for another face model than the first,
    if an image of a data set is there twice, or if no row is left.
    """

    def __init__(self, paths: Iterable[str | os.PathLike], split: str | None = None):
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise InputError("no shard files were given; make them with `facerecon preprocess shard`")
        self.face_model_sha256 = ""
        self.ids: list[str] = []
        places: list[tuple[int, int]] = []
        shard_of: dict[str, dict[str, int]] = {}  # data set -> id -> shard: ids are unique within a data set
        for number, path in enumerate(self.paths):
            with open_table(path, SHARD_KIND) as file, damage_named(path):
                self._check_face_model(path, str(file.attrs["face_model_sha256"]))
                ids, datasets, splits = (_strings(file[name]) for name in ("id", "dataset", "split"))
            for row, (name, dataset) in enumerate(zip(ids, datasets, strict=True)):
                first = shard_of.setdefault(dataset, {}).setdefault(name, number)
                if first != number:
                    raise InputError(
                        f"{path}: image {name} of data set {dataset} is in {self.paths[first]} too; "
                        "give each shard once, and each data set a name of its own"
                    )
                if split in (None, splits[row]):
                    places.append((number, row))
                    self.ids.append(name)
        if not shard_of:
            raise InputError(
                f"{self.paths[0]}: the {len(self.paths)} shards hold no photographs, since every one was rejected; "
                "their tables `rejected` say why"
            )
        if not places:
            raise InputError(f"{self.paths[0]}: the {len(self.paths)} shards hold no images of split {split!r}")
        self._places = np.array(places, dtype=np.int64)
        self._columns: dict[int, _Columns] = {}
        self._opened: OrderedDict[int, _OpenShard] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self._places)

    def load_batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Rows as arrays, in the order of `indices` (B of them, repeats allowed).

        image (B, 224, 224, 3) uint8 sRGB; labels (B, 224, 224) uint8 parsing classes; landmarks (B, 68, 2) crop pixels;
        confidence (B, 68) in [0, 1]; crop_scale (B,) and crop_offset (B, 2): x_crop = scale * x_photo + offset;
        identity (B, I), expression (B, E), rotation (B, 3) pitch, yaw, roll in rad, translation (B, 3) mm: the
        landmark fit, but for synthetic photographs and the open face model identity and expression are the truth (its
        projection on the model); feature (B, D) unit vectors of the recognition network. All but the first two float32.
        Raises InputError naming the file and image if stored bytes do not match their checksum, IndexError if an index
        is out of range.
        """
        batch: dict[str, list[np.ndarray]] = {name: [] for name in (*_BLOBS, *_HELD_COLUMNS, "feature")}
        for number, row in self._places[np.asarray(indices, dtype=np.int64)].tolist():
            shard, columns = self._shard(number)
            image, labels = (shard.blob(name, row, columns) for name in _BLOBS)
            batch["image"].append(decode_image(image, f"{shard.path}: image {row}"))
            batch["labels"].append(decode_labels(labels, f"{shard.path}: labels {row}"))
            batch["feature"].append(shard.feature(row))
            for name in _HELD_COLUMNS:
                batch[name].append(columns.values[name][row])
        return {name: np.stack(values) for name, values in batch.items()}

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        for shard in self._opened.values():
            shard.file.close()
        self._opened.clear()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_columns": {}, "_opened": OrderedDict()}

    def _shard(self, number: int) -> "tuple[_OpenShard, _Columns]":
        """A shard's file, opened if it is not, and its columns, read if they were not."""
        if self._process != os.getpid():
            self._opened, self._process = OrderedDict(), os.getpid()
        if number not in self._opened:
            if len(self._opened) >= OPEN_FILES:
                self._opened.popitem(last=False)  # not closed by force: another thread may be reading from it
            self._opened[number] = _OpenShard(self.paths[number])
        self._opened.move_to_end(number)
        shard = self._opened[number]
        if number not in self._columns:
            self._columns[number] = _Columns(shard)
        return shard, self._columns[number]

    def _check_face_model(self, path: Path, sha256: str) -> None:
        self.face_model_sha256 = self.face_model_sha256 or sha256
        if sha256 != self.face_model_sha256:
            raise InputError(f"{path}: was made with another face model than {self.paths[0]}; make all with one")


class _OpenShard:
    """An open file and what is read from it row by row."""

    def __init__(self, path: Path):
        self.path = path
        self.file: h5py.File = open_table(path, SHARD_KIND)
        with damage_named(path):
            self._data = {name: self.file[f"{name}/data"] for name in _BLOBS}
            self._features = self.file["feature"]

    def blob(self, name: str, row: int, columns: "_Columns") -> bytes:
        start, end = columns.offsets[name][row : row + 2]
        with damage_named(self.path):
            value = self._data[name][start:end].tobytes()
        check_crc32(value, int(columns.sums[name][row]), f"{self.path}: {name} of row {row}")
        return value

    def feature(self, row: int) -> np.ndarray:
        with damage_named(self.path):
            return self._features[row]


class _Columns:
    """What is held of a shard in memory, whether its file is open or not."""

    def __init__(self, shard: _OpenShard):
        with damage_named(shard.path):
            self.values = {name: shard.file[name][()] for name in _HELD_COLUMNS}
            self.offsets = {name: shard.file[f"{name}/offsets"][()] for name in _BLOBS}
            self.sums = {name: shard.file[f"{name}/crc32"][()] for name in _BLOBS}


def _strings(dataset: h5py.Dataset) -> list[str]:
    return [value.decode() for value in dataset[()].tolist()]
