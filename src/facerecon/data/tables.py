"""HDF5 tables: rows keyed by image id, checksummed, written whole or not at all.

Layout of every table (docs/data.md lists the columns of each kind):

    attributes    kind, schema_version, and the provenance the writer passes
    id            (N,) fixed-length bytes, unique
    <column>      (N, ...) fixed-size array, fletcher32
    <blob>/data   flat uint8, the rows' encoded bytes one after the other
    <blob>/offsets (N + 1,) int64, fletcher32; row i is data[offsets[i]:offsets[i + 1]]
    <blob>/crc32  (N,) uint32, fletcher32
    rejected/id, rejected/stage, rejected/reason    (R,) bytes: images that a stage could not use, and why
"""

import errno
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from facerecon.artefacts import atomic_hdf5
from facerecon.errors import InputError

SCHEMA_VERSION = 1
_ROWS_A_CHUNK = 256

_LOCKED = "; wait for what is writing it, or if its disk has no locks set HDF5_USE_FILE_LOCKING=FALSE"
_REMEDIES = {
    errno.EMFILE: "; allow more with `ulimit -n`",
    errno.EACCES: "; change its permissions",
    errno.EAGAIN: _LOCKED,
    errno.ENOLCK: _LOCKED,
}


class Rejection(NamedTuple):
    """An image that a stage could not use: its id, the stage's name and a one-line reason."""

    id: str
    stage: str
    reason: str


@dataclass
class Table:
    """A table in memory.

    ids: N unique image ids. columns: name -> (N, ...) array. blobs: name -> N byte strings.
    rejected: what this stage and the ones before it left out. attributes: scalars and strings about the whole.
    """

    kind: str
    ids: list[str]
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    blobs: dict[str, list[bytes]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    attributes: dict[str, str | int | float] = field(default_factory=dict)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Row numbers of `ids`; KeyError names one that is absent."""
        position = {name: row for row, name in enumerate(self.ids)}
        return np.array([position[name] for name in ids], dtype=np.int64)

    def strings(self, column: str) -> list[str]:
        """A column of bytes as text."""
        return [value.decode() for value in self.columns[column].tolist()]


def encode_strings(values: Sequence[str]) -> np.ndarray:
    """Fixed-length UTF-8 byte array of texts; never of length zero, which HDF5 refuses."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def write_table(path: str | os.PathLike, table: Table) -> None:
    """Write a table atomically. Equal tables give equal bytes. Raises ValueError on rows that do not match."""
    count = len(table.ids)
    if len(set(table.ids)) != count:
        raise ValueError("ids of a table must be unique")
    for name, values in [*table.columns.items(), *table.blobs.items()]:
        if len(values) != count:
            raise ValueError(f"column {name} has {len(values)} rows, expected {count}")
    with atomic_hdf5(path) as file:
        file.attrs.update({"kind": table.kind, "schema_version": SCHEMA_VERSION, **table.attributes})
        _write_column(file, "id", encode_strings(table.ids))
        for name, values in table.columns.items():
            _write_column(file, name, np.asarray(values))
        for name, values in table.blobs.items():
            offsets = np.cumsum([0, *map(len, values)], dtype=np.int64)
            file.create_dataset(f"{name}/data", data=np.frombuffer(b"".join(values), np.uint8))
            _write_column(file, f"{name}/offsets", offsets)
            _write_column(file, f"{name}/crc32", np.array([zlib.crc32(value) for value in values], np.uint32))
        for name in Rejection._fields:
            _write_column(file, f"rejected/{name}", encode_strings([getattr(row, name) for row in table.rejected]))


def read_table(path: str | os.PathLike, kind: str) -> Table:
    """Read a whole table of the stated kind, all checksums verified.

    Raises InputError, one line naming the file, if it is missing, no table, of another kind or schema, or damaged.
    """
    path = Path(path)
    with open_table(path, kind) as file, damage_named(path):
        table = Table(kind, [value.decode() for value in file["id"][()].tolist()])
        table.attributes = {name: _scalar(value) for name, value in file.attrs.items()}
        for name, item in file.items():
            if name in ("id", "rejected"):
                continue
            if isinstance(item, h5py.Group):
                offsets, bytes_, sums = item["offsets"][()], item["data"][()].tobytes(), item["crc32"][()]
                table.blobs[name] = [bytes_[a:b] for a, b in pairwise(offsets)]
                for row, value, expected in zip(table.ids, table.blobs[name], sums, strict=True):
                    check_crc32(value, int(expected), f"{path}: {name} of {row}")
            else:
                table.columns[name] = item[()]
        table.rejected = read_rejected(file)
    return table


def open_table(path: str | os.PathLike, kind: str) -> h5py.File:
    """Open a table for reading, its kind and schema checked; InputError as `read_table`."""
    path = Path(path)
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it is written by the stage that makes {kind} tables") from None
    except OSError as error:
        damage = "not a readable HDF5 file, or half written; delete it and make it again"
        raise InputError(f"{path}: {refusal(error) or damage}") from None
    found, version = file.attrs.get("kind"), file.attrs.get("schema_version")
    if found == kind and version == SCHEMA_VERSION:
        return file
    file.close()
    if found != kind:
        raise InputError(f"{path}: holds {found or 'something else'}, not {kind}")
    raise InputError(f"{path}: has schema version {version}, this release reads {SCHEMA_VERSION}; make it again")


def read_rejected(file: h5py.File) -> list[Rejection]:
    """The rejected table of an open file."""
    columns = [[value.decode() for value in file[f"rejected/{name}"][()].tolist()] for name in Rejection._fields]
    return [Rejection(*row) for row in zip(*columns, strict=True)]


def check_crc32(value: bytes, expected: int, name: str) -> None:
    """Raise InputError if the bytes are not those that were written."""
    if zlib.crc32(value) != expected:
        raise InputError(f"{name} is damaged (checksum mismatch); make the file again")


def refusal(error: Exception) -> str | None:
    """What the system said and what to do, if it was the system that refused to open or read and not the content."""
    number = getattr(error, "errno", None)
    return f"cannot be read ({os.strerror(number)}){_REMEDIES.get(number, '')}" if number else None


@contextmanager
def damage_named(path: str | os.PathLike) -> Iterator[None]:
    """Turn HDF5's own errors (failed checksum, missing dataset, short file) into an InputError naming the file."""
    try:
        yield
    except (OSError, KeyError, UnicodeDecodeError) as error:
        damage = "is damaged or incomplete; delete it and make it again"
        raise InputError(f"{path}: {refusal(error) or damage}") from error


def _write_column(file: h5py.File, name: str, values: np.ndarray) -> None:
    chunks = (min(len(values), _ROWS_A_CHUNK), *values.shape[1:]) if values.size else True
    file.create_dataset(name, data=values, chunks=chunks, fletcher32=True)


def _scalar(value: object) -> str | int | float:
    return value.item() if isinstance(value, np.generic) else value
