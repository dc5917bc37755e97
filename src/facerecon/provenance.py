"""Where an artefact came from: a record inside every file that a stage writes.

A record names the stage, its settings, the package's version and commit, the seed and the ids (SHA-256 or name) of the
inputs. It holds no time and no host name, so that equal runs give equal files. HDF5 files carry it as JSON in the root
attribute `provenance`, JSON files under the key `provenance`, folders in `provenance.json`; weights in their card;
tables in a file beside them (`now.csv`: `now.provenance.json`).
"""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facerecon import __version__
from facerecon.artefacts import FOLDER_RECORD, atomic_file
from facerecon.errors import InputError

if TYPE_CHECKING:
    import h5py

ATTRIBUTE = "provenance"
FOLDER_FILE = FOLDER_RECORD
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def provenance_record(
    stage: str,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    inputs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The record of one artefact.

    stage: a key of `fingerprint.STAGE_MODULES`. settings: what the stage was told, plain JSON values. inputs: name of
    each input -> its id (a SHA-256 or a published name), never a path. Raises ValueError if a value is not plain JSON.
    """
    record = {
        "stage": stage,
        "settings": dict(settings or {}),
        "version": __version__,
        "commit": source_commit(),
        "seed": seed,
        "inputs": dict(inputs or {}),
    }
    try:
        return json.loads(json.dumps(record, sort_keys=True, allow_nan=False))
    except TypeError as error:
        raise ValueError(f"provenance of {stage}: {error}") from None


def write_hdf5(target: "h5py.File", record: Mapping[str, Any]) -> None:
    """Store the record in an open HDF5 file."""
    target.attrs[ATTRIBUTE] = json.dumps(record, sort_keys=True)


def write_folder(folder: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Store the record of a folder of results as `provenance.json` in it."""
    text = json.dumps(record, sort_keys=True, indent=2)
    Path(folder, FOLDER_FILE).write_text(f"{text}\n", encoding="utf-8")


def write_beside(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Store the record of a table, which has no room for one, in `<stem>.provenance.json` beside it."""
    with atomic_file(_beside(Path(path))) as temporary:
        temporary.write_text(f"{json.dumps({ATTRIBUTE: record}, sort_keys=True, indent=2)}\n", encoding="utf-8")


def read_provenance(path: str | os.PathLike) -> dict[str, Any]:
    """The record of an HDF5 file, JSON file, safetensors or CSV file (from what lies beside it) or folder of results.

    Raises InputError if the path does not exist or carries no record.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FOLDER_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a file or folder that facerecon wrote")
    if path.suffix == ".safetensors":
        path = path.with_suffix(".json")
        if not path.is_file():
            raise InputError(f"{path}: no card beside the weights; copy it along with them")
    if path.suffix == ".csv":
        path = _beside(path)
        if not path.is_file():
            raise InputError(f"{path}: missing; a table's provenance lies beside it, copy it along")
    with open(path, "rb") as stream:
        is_hdf5 = stream.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE
    record = _record_in_hdf5(path) if is_hdf5 else _record_in_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path}: carries no provenance; name a file or folder that facerecon wrote")
    return record


def describe(path: str | os.PathLike) -> str:
    """The record of `path` as indented JSON, one key a line, for people."""
    return json.dumps(read_provenance(path), indent=2, sort_keys=True)


@lru_cache
def source_commit() -> str:
    """Commit of the source: of the git checkout it lies in (`-dirty` if edited), else as packaged, else `unknown`."""
    package = Path(__file__).parent
    checkout = package.parent.parent
    if (checkout / ".git").exists() and (checkout / "src" / package.name) == package:
        command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
        return answer.stdout.strip() if answer.returncode == 0 else "unknown"
    packaged = package / "COMMIT"
    return packaged.read_text(encoding="ascii").strip() if packaged.is_file() else "unknown"


def _beside(path: Path) -> Path:
    return path.with_suffix(".provenance.json")


def _record_in_hdf5(path: Path) -> Any:
    import h5py

    try:
        with h5py.File(path, "r") as source:
            text = source.attrs.get(ATTRIBUTE)
    except OSError:
        raise InputError(f"{path}: damaged HDF5 file; make it again") from None
    return None if text is None else json.loads(text)


def _record_in_json(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    return content if path.name == FOLDER_FILE else content.get(ATTRIBUTE)
