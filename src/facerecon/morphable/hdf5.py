"""HDF5 conventions of the model files: checked kind and version, quantised bases, checksummed arrays."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from facerecon.errors import InputError

LARGEST_STEP = 32767
HEAD_FRAME = "y up, z out of the face, +x the subject's left; origin: mean of the mean face's 68 landmarks"
"""Attribute `frame` of the model files."""
OWN_KINDS = frozenset({"face_model", "linear_face_model", "head_generator", "open_face_parts", "body"})
"""Kinds of the model files that this package writes, and may replace."""


@contextmanager
def open_kind(path: str | os.PathLike, kind: str, schema_version: int) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, open for reading and checked for its attributes `kind` and `schema_version`.

    Raises InputError if the file is missing, is not HDF5 or is of another kind or version, and in place of the errors
    that a truncated, damaged or incomplete file causes while it is read.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such {kind} file; facerecon model build-open writes the open ones")
    damaged = InputError(f"{path}: damaged or incomplete {kind} file; restore it or write it again")
    try:
        with h5py.File(path, "r") as file:
            found = (file.attrs.get("kind"), file.attrs.get("schema_version"))
            if found != (kind, schema_version):
                raise InputError(
                    f"{path}: kind {found[0]!r}, schema version {found[1]}, where {kind!r}, version {schema_version} "
                    "is needed; name another file or rebuild it with this version of facerecon"
                )
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise damaged from error


def read_kind(path: str | os.PathLike) -> str | None:
    """The attribute `kind` of an HDF5 file; None if it has none, or is missing or no HDF5 file."""
    try:
        with h5py.File(path, "r") as file:
            kind = file.attrs.get("kind")
    except OSError:
        return None
    return kind if isinstance(kind, str) else None


def is_own_file(path: str | os.PathLike) -> bool:
    """Whether a file is a model file that this package wrote."""
    return read_kind(path) in OWN_KINDS


def quantise(values: np.ndarray, step: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Int16 steps (n, ...) and scales (n,) float32 with values (n, ...) = steps * scale, rounded to the nearest.

    The scale of an item makes its largest value 32767; where all its values are multiples of `step` and none passes
    32767 of them, it is `step`, which keeps them exactly.
    """
    flat = values.reshape(len(values), -1)
    largest = np.abs(flat).max(1)
    scale = np.maximum(largest, 1e-30) / LARGEST_STEP
    if step is not None:
        multiple = np.abs(flat / step - np.round(flat / step)).max(1) < 1e-2
        scale = np.where(multiple & (largest <= LARGEST_STEP * step), step, scale)
    scale = scale.astype(np.float32)
    steps = np.round(values / _beside(scale, values)).clip(-LARGEST_STEP, LARGEST_STEP).astype(np.int16)
    return steps, scale


def dequantise(steps: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Values (n, ...) float32 of int16 steps and scales (n,)."""
    return steps * _beside(scale, steps)


def write_array(file: h5py.File, name: str, array: np.ndarray, level: int = 9) -> None:
    """Write an array compressed and with a checksum; an empty one with neither. level: of compression, 1 to 9."""
    if array.size == 0:
        file.create_dataset(name, data=array)
        return
    file.create_dataset(name, data=array, compression="gzip", compression_opts=level, shuffle=True, fletcher32=True)


def _beside(scale: np.ndarray, values: np.ndarray) -> np.ndarray:
    return scale.reshape(-1, *[1] * (values.ndim - 1))
