"""The manifest: one row an image, whatever data set it comes from.

Paths are stored relative to the manifest's own folder, so that a tree of data and manifest can be moved as one.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from facerecon.artefacts import atomic_file
from facerecon.data.adapters import ADAPTERS, ManifestRow
from facerecon.errors import InputError

COLUMNS = tuple(column.name for column in fields(ManifestRow))
_PATH_COLUMNS = ("path", "landmarks", "labels", "mesh")


@dataclass(frozen=True)
class Manifest:
    """Rows with paths that can be opened from the current folder, and the file they came from."""

    path: Path
    rows: list[ManifestRow]

    def shard(self, number: int, size: int) -> list[ManifestRow]:
        """Rows number * size up to (number + 1) * size; InputError if there are none."""
        if size < 1 or not 0 <= number * size < len(self.rows):
            raise InputError(
                f"{self.path}: shard {number} of {size} rows does not exist; the manifest has {len(self.rows)} rows"
            )
        return self.rows[number * size : (number + 1) * size]

    def by_id(self) -> dict[str, ManifestRow]:
        """Rows by image id."""
        return {row.id: row for row in self.rows}


def write_manifest(adapter: str, name: str, folders: Sequence[str | os.PathLike], out: str | os.PathLike) -> int:
    """Read data set folders by an adapter and write one manifest of them; returns the number of rows.

    adapter: synthetic, folder, now or aflw2000. name: data set's name in the manifest.
    Raises InputError for an unknown adapter, a folder that is missing, empty or not of that layout, and duplicate ids.
    """
    if adapter not in ADAPTERS:
        raise InputError(f"adapter {adapter!r} is unknown; choose one of {', '.join(ADAPTERS)}")
    if not folders:
        raise InputError(f"no folder given for the {adapter} adapter; name at least one")
    rows: list[ManifestRow] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: {'is not a folder' if folder.exists() else 'no such folder'}")
        try:
            found = ADAPTERS[adapter](folder, name)
        except PermissionError as error:
            raise InputError(f"{error.filename or folder}: cannot be read (permission denied)") from None
        if not found:
            raise InputError(f"{folder}: holds no images for the {adapter} adapter")
        rows += found
    _refuse_duplicates(rows, str(out))
    save_manifest(rows, out)
    return len(rows)


def save_manifest(rows: Iterable[ManifestRow], out: str | os.PathLike) -> None:
    """Write rows as CSV, atomically, with paths relative to the manifest's folder."""
    out = Path(out)
    base = os.path.abspath(out.parent)
    with atomic_file(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            paths = {name: _relative(getattr(row, name), base) for name in _PATH_COLUMNS}
            writer.writerow(getattr(replace(row, **paths), name) for name in COLUMNS)


def read_manifest(path: str | os.PathLike) -> Manifest:
    """Read a manifest; InputError names the file and line at fault (missing file, columns, empty or repeated id)."""
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            lines = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not CSV text"
        raise InputError(f"{path}: cannot be read as a manifest ({reason})") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        raise InputError(f"{path}: the first line must be {','.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(COLUMNS) or not line[0] or not line[3]:
            raise InputError(f"{path}: line {number} needs {len(COLUMNS)} fields with an id and a path")
        row = ManifestRow(*line)
        paths = {name: _joined(path.parent, getattr(row, name)) for name in _PATH_COLUMNS}
        rows.append(replace(row, **paths))
    if not rows:
        raise InputError(f"{path}: has no rows")
    _refuse_duplicates(rows, str(path))
    return Manifest(path, rows)


def _refuse_duplicates(rows: Sequence[ManifestRow], name: str) -> None:
    seen: dict[str, ManifestRow] = {}
    for row in rows:
        first = seen.setdefault(row.id, row)
        if first is not row:
            raise InputError(f"{name}: id {row.id} is there twice, {first.path} and {row.path}; ids must be unique")


def _relative(path: str, base: str) -> str:
    return Path(os.path.relpath(os.path.abspath(path), base)).as_posix() if path else ""


def _joined(base: Path, path: str) -> str:
    return os.path.normpath(base / path) if path else ""
