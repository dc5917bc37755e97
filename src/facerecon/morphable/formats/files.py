"""The files of published models as mappings from name to array: .mat, .npz, .npy, .pkl and .h5."""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse as sparse

from facerecon.artefacts import sha256_file
from facerecon.errors import InputError
from facerecon.morphable.formats.unpickling import load_pickle, read_pickle

Content = Mapping[str, Any]
NUMBERS = "biuf"
LARGE = 1 << 28
"""Bytes up to which a part of a file may be packed as tightly as it likes."""
TIGHTEST = 50
"""Times its packed bytes that a larger part may hold: bases are noise, and do not pack by more than 2."""
_MATLAB_BYTES = {"double": 8, "single": 4, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2}


class NpzFile(Mapping[str, Any]):
    """A .npz archive. An array is read when it is asked for; one of Python objects through the restricted unpickler."""

    def __init__(self, path: str | os.PathLike):
        """Raises InputError if the file is no archive."""
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._names = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not an .npz file, or damaged; download it again") from error

    def __getitem__(self, name: str) -> Any:
        try:
            with zipfile.ZipFile(self._path) as archive:
                member = archive.getinfo(self._names[name])
                stored = min(member.compress_size, os.path.getsize(self._path))
                check_size(self._path, name, member.file_size, stored)
                return load_npy(archive.read(member), self._path)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
            raise InputError(f"{self._path}: {name} is damaged; download the file again") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def check_size(path: str | os.PathLike, name: str, size: int, stored: int) -> None:
    """Raise InputError if `size` bytes under `name` are packed into `stored` ones as no model's are: before unpacking,
    since memory may not hold what a small file can claim."""
    if size > max(LARGE, TIGHTEST * stored):
        raise InputError(f"{path}: {name} would take {size / 1e9:.1f} GB of memory; is it the publisher's file?")


def load_npy(data: bytes, path: str | os.PathLike) -> Any:
    """The array in the bytes of an .npy file; a single Python object, such as a dict, as itself.

    Raises InputError, naming `path`, for damage, for a shape that the bytes do not fill and as `read_pickle`.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream)
    except Exception as error:  # the header is parsed as a Python literal, which fails in many ways
        raise InputError(f"{path}: not a numpy array file, or damaged; download it again") from error
    content = memoryview(data)[stream.tell() :]
    if dtype.kind == "O":
        array = load_pickle(bytes(content), path)
        if isinstance(array, np.ndarray) and array.dtype == object and array.shape == ():
            return array[()]
        return array
    if dtype.kind not in "biufcSU" or dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize > len(content):
        raise InputError(f"{path}: an array of shape {shape} and type {dtype} that the file does not hold; is it cut?")
    array = np.frombuffer(content, dtype, count=math.prod(shape)).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_content(path: str | os.PathLike) -> Content:
    """Name -> value of a .mat, .npz, .npy (of one dict) or .pkl file, by its suffix; a pickled array is named "array".

    Raises InputError if the file is missing, of another kind or damaged.
    """
    suffix = check_exists(path).suffix.lower()
    if suffix == ".mat":
        return _read_mat(path)
    if suffix == ".npz":
        return NpzFile(path)
    if suffix == ".npy":
        content = load_npy(Path(path).read_bytes(), path)
    elif suffix in (".pkl", ".pickle"):
        content = read_pickle(path)
    else:
        raise InputError(f"{path}: a .mat, .npz, .npy or .pkl file is needed")
    if isinstance(content, np.ndarray):
        return {"array": content}
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, where a dict of arrays is needed; is it the model?"
        )
    return {name.decode("latin1") if isinstance(name, bytes) else name: value for name, value in content.items()}


@dataclass(frozen=True)
class Role:
    """A file's part in a format: how the publisher calls it, the names it must hold, and what else marks it."""

    title: str
    names: frozenset[str]
    also: Callable[[Content], bool] = lambda content: True

    def fits(self, content: Content) -> bool:
        """Whether a file of this content has this role."""
        return self.names <= set(content) and self.also(content)


def sort_by_role(files: Sequence[str | os.PathLike], roles: Mapping[str, Role]) -> dict[str, tuple[Path, Content]]:
    """Role -> path and content of the given files, each known by what it holds.

    Raises InputError for a file that fits no role or one that is taken, and as `read_content`.
    """
    found: dict[str, tuple[Path, Content]] = {}
    for path in files:
        content = read_content(path)
        name = next((name for name, role in roles.items() if role.fits(content)), None)
        if name is None:
            known = "; ".join(f"{role.title} ({', '.join(sorted(role.names))})" for role in roles.values())
            raise InputError(f"{path}: none of this format's files, which are {known}")
        if name in found:
            raise InputError(f"{path}: a second {roles[name].title} beside {found[name][0]}; name one of them")
        found[name] = (Path(path), content)
    return found


def read_array(
    path: str | os.PathLike, content: Content | h5py.File, name: str, shape: tuple[int | None, ...] | None = None
) -> np.ndarray:
    """The numbers under `name`, dense and finite, of a shape, in which None is any length, or of any shape.

    Raises InputError, naming the file, if they are missing, not numbers, not finite or of another shape.
    """
    if name not in content:
        raise InputError(f"{path}: holds no {name}; is it the publisher's file?")
    value = content[name]
    if isinstance(value, h5py.Dataset):
        value = _read_dataset(path, value)
    if not sparse.issparse(value):
        try:
            value = np.asarray(value)
        except ValueError:  # lists of unequal lengths
            raise InputError(f"{path}: {name} holds no numbers; is it the publisher's file?") from None
    if shape is not None and not _fits(value.shape, shape):
        raise InputError(f"{path}: {name} has shape {value.shape}, where {_shape_text(shape)} is needed")
    if value.dtype.kind not in NUMBERS:
        raise InputError(f"{path}: {name} holds no numbers; is it the publisher's file?")
    if sparse.issparse(value):
        value = value.toarray()
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise InputError(f"{path}: {name} has values that are not finite; download it again")
    return value


def read_indices(
    path: str | os.PathLike,
    content: Content | h5py.File,
    name: str,
    shape: tuple[int | None, ...],
    count: int,
    first: int,
) -> np.ndarray:
    """Whole numbers under `name` that count from `first` (0 or 1) and stay below `first + count`, as int64 from 0.

    Raises InputError, naming the file, as `read_array` and for numbers outside the range.
    """
    return check_indices(path, name, read_array(path, content, name, shape), count, first)


def check_indices(path: str | os.PathLike, name: str, values: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """Whole numbers that count from `first`, as int64 from 0; InputError for any outside [first, first + count)."""
    indices = values.astype(np.int64)
    outside = indices.size and (indices.min() < first or indices.max() >= first + count)
    if outside or (values != indices).any():
        raise InputError(
            f"{path}: {name} has an index outside {first} to {first + count - 1}; do the files belong together?"
        )
    return indices - first


def read_columns(path: str | os.PathLike, content: Content | h5py.File, name: str, vertices: int) -> np.ndarray:
    """A basis (3 V, n) with x, y, z of each vertex in turn, as (n, V, 3) float64. Raises InputError as `read_array`."""
    return split_columns(read_array(path, content, name, (3 * vertices, None)))


def split_columns(basis: np.ndarray) -> np.ndarray:
    """A basis (3 V, n) as (n, V, 3) float64."""
    return np.ascontiguousarray(basis.T, dtype=np.float64).reshape(basis.shape[1], -1, 3)


def read_flat_points(path: str | os.PathLike, content: Content | h5py.File, name: str) -> np.ndarray:
    """A row or column of x, y, z of each vertex in turn, as (V, 3) float64. Raises InputError as `read_array`."""
    value = read_array(path, content, name)
    if value.size != max(value.shape, default=0) or value.size % 3 or not value.size:
        raise InputError(f"{path}: {name} has shape {value.shape}, where x, y, z of each vertex in one row are needed")
    return value.reshape(-1, 3).astype(np.float64)


def check_exists(path: str | os.PathLike) -> Path:
    """The path, if a file is there; else InputError."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; docs/face_models.md says where each model is had")
    return Path(path)


def hash_files(files: Sequence[str | os.PathLike]) -> dict[str, str]:
    """File name -> SHA-256. Raises InputError for a second file of one name, which the record could not tell apart."""
    named: dict[str, str | os.PathLike] = {}
    for path in files:
        if Path(path).name in named:
            raise InputError(f"{path}: has the name of {named[Path(path).name]}; rename one of them")
        named[Path(path).name] = path
    return {name: sha256_file(path) for name, path in named.items()}


def _read_mat(path: str | os.PathLike) -> Content:
    try:
        parts = scipy.io.whosmat(path)
        size = sum(math.prod(shape) * _MATLAB_BYTES.get(kind, 1) for _, shape, kind in parts)
        check_size(path, ", ".join(name for name, _, _ in parts), size, os.path.getsize(path))
        content = scipy.io.loadmat(path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # scipy's reader of damaged files raises errors of many kinds
        raise InputError(f"{path}: not a MATLAB 5 to 7 file, or damaged; download it again") from error
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _read_dataset(path: str | os.PathLike, dataset: h5py.Dataset) -> np.ndarray:
    try:
        check_size(path, dataset.name, dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size())
        return dataset[()]
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {dataset.name} is damaged; download it again") from error


def _fits(shape: tuple[int, ...], needed: tuple[int | None, ...]) -> bool:
    return len(shape) == len(needed) and all(want in (None, have) for have, want in zip(shape, needed, strict=True))


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"
