"""Writing artefacts: whole or not at all, and never over what is not ours."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from facerecon.errors import InputError

if TYPE_CHECKING:
    import h5py

FOLDER_RECORD = "provenance.json"
"""What every folder of results holds (facerecon.provenance.write_folder): by it a folder is known as ours."""

_RECORD_KEYS = frozenset({"stage", "version", "inputs"})
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HDF5_GROWTH = 1 << 26  # bytes by which an HDF5 file in memory grows


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary file path beside `path`; rename it onto `path` on success, remove it on any failure.

    The temporary name keeps the suffix of `path`, since writers choose their format by it.
    Raises InputError as `check_file_target` does, at once, and if the place cannot be written to or is full.
    """
    path = Path(path)
    check_file_target(path)
    with _failures_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".part{path.suffix}", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with _full_disk_named(path, temporary):
            yield temporary
        with _failures_named(path):
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_hdf5(path: str | os.PathLike) -> Iterator["h5py.File"]:
    """Yield an HDF5 file to fill; on success it is written to `path` whole, on any failure nothing is.

    It is made in memory, and the bytes are those that HDF5 would write itself: HDF5 cannot be told that a disk is
    full, and takes the process down. Twice the file's size is needed for a moment, so files should stay below 1 GB.
    Raises InputError as `atomic_file`.
    """
    import h5py  # here, since every command imports this module

    with atomic_file(path) as temporary:
        with h5py.File(path, "w", driver="core", backing_store=False, block_size=_HDF5_GROWTH) as file:
            yield file
            file.flush()
            content = file.id.get_file_image()
        temporary.write_bytes(content)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it replaces `path`, on any failure nothing is left of it.

    Only an empty folder, or one that this package wrote, is replaced: whoever fills the temporary folder leaves its
    record there (facerecon.provenance.write_folder). A link is followed.
    Raises InputError as `check_folder_target` does, at once, and if the place cannot be written to or is full.
    """
    target = Path(os.path.realpath(path))
    check_folder_target(path)
    with _failures_named(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        with _full_disk_named(path, temporary):
            yield temporary
        check_folder_target(path)  # something may have been put there meanwhile
        with _failures_named(path):
            os.chmod(temporary, 0o777 & ~_umask())
            _replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_file_target(path: str | os.PathLike) -> None:
    """Raise InputError unless a file can be written at `path`: not if it is a folder or device, or out of reach."""
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder; name a file to write")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path}: is not a regular file; name another to write")
    _check_parents(path, Path(os.path.abspath(path)))


def check_kept(targets: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike]) -> None:
    """Raise InputError if one of the files to write is one of those that are read, by whatever names and links."""
    read = [path for path in inputs if os.path.exists(path)]
    for target in targets:
        found = next((path for path in read if os.path.exists(target) and os.path.samefile(target, path)), None)
        if found is not None:
            raise InputError(f"{target}: would replace {found}, which is read; name another file to write")


def check_folder_target(path: str | os.PathLike) -> None:
    """Raise InputError unless a folder can be written at `path`.

    That is: nothing is there, or an empty folder, or one that this package wrote, and its parent can be written to.
    """
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not target.is_dir():
        raise InputError(f"{path}: is a file; name a folder to write")
    _check_parents(path, target)
    if not target.is_dir():
        return
    if os.path.ismount(target) or Path.cwd().is_relative_to(target):
        raise InputError(f"{path}: cannot be replaced as a whole; name a folder below it")
    with _failures_named(path):
        empty = next(target.iterdir(), None) is None
    if not empty and not is_own_folder(target):
        raise InputError(f"{path}: exists and was not written by facerecon; choose another --out")


def is_own_folder(folder: Path) -> bool:
    """Whether a folder carries the record that `facerecon.provenance.write_folder` leaves."""
    try:
        record = json.loads((folder / FOLDER_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.keys() >= _RECORD_KEYS


def read_bytes(path: str | os.PathLike, remedy: str | None = None) -> bytes:
    """A file's bytes. InputError, one line, if it is missing, a folder, unreadable or blank; `remedy`: what helps."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, where a file is needed")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{f'; {remedy}' if remedy else ''}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not data or data.isspace():
        raise InputError(f"{path}: the file is empty; {remedy or 'write it again'}")
    return data


def sha256_file(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_parents(path: str | os.PathLike, target: Path) -> None:
    """Raise InputError if the nearest existing parent of `target`, absolute, is no folder that can be written to."""
    parent = next((parent for parent in target.parents if os.path.lexists(parent)), target)
    if not os.path.isdir(parent):
        raise InputError(f"{path}: {parent} is not a folder; name another place to write to")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: {parent} cannot be written to; name another place or change its permissions")


def _replace_folder(temporary: Path, target: Path) -> None:
    """Put `temporary` where `target` is or is not; on failure what was there is there again."""
    if not target.is_dir():
        os.replace(temporary, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    os.replace(target, old)
    try:
        os.replace(temporary, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _failures_named(path: str | os.PathLike) -> Iterator[None]:
    """Turn a failing system call into an InputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None


@contextmanager
def _full_disk_named(path: str | os.PathLike, temporary: Path) -> Iterator[None]:
    """Turn a write that found no room, as whichever library reports it, into an InputError that names `path`.

    Messages name `path` for `temporary`, which nobody knows and which will be gone.
    """
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(temporary), str(path))) from None
    except Exception as error:
        text = next((os.strerror(code) for code in _FULL if _says(error, code)), None) or _no_room(temporary.parent)
        if text is None:
            raise
        raise InputError(f"{path}: cannot be written ({text}); make room or choose another place") from None


def _says(error: Exception, code: int) -> bool:
    """Whether an exception is of this errno: HDF5 and safetensors only tell it in their message."""
    return getattr(error, "errno", None) == code or os.strerror(code) in str(error)


def _no_room(folder: Path) -> str | None:
    """Why nothing can be written to `folder`, or None if something can: numpy gives no reason at all."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(bytes(1 << 20))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
