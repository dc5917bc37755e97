"""The manifest: one row an image, whatever data set it comes from.

Paths are stored relative to the manifest's own folder, so that a tree of data and manifest can be moved as one.
"""

import csv
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

from facerecon.artefacts import atomic_file
from facerecon.data.adapters import ADAPTERS, ManifestRow, list_images
from facerecon.errors import InputError

COLUMNS = tuple(column.name for column in fields(ManifestRow))
_PATH_COLUMNS = ("path", "landmarks", "labels", "mesh")


def write_manifest(adapter: str, name: str, folders: Sequence[str | os.PathLike], out: str | os.PathLike) -> int:
    """Read data set folders by an adapter and write one manifest of them; returns the number of rows.

    adapter: synthetic, folder, now or aflw2000. name: data set's name in the manifest.
    Raises InputError for an unknown adapter, as `list_images` does, and if two ids are the same after all.
    """
    if adapter not in ADAPTERS:
        raise InputError(f"adapter {adapter!r} is unknown; choose one of {', '.join(ADAPTERS)}")
    if not folders:
        raise InputError(f"no folder given for the {adapter} adapter; name at least one")
    rows = list_images(adapter, name, folders)
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


def read_manifest(path: str | os.PathLike) -> list[ManifestRow]:
    """All rows of a manifest, with paths that can be opened from the current folder.

    Raises InputError naming the file and line at fault (missing file, columns, empty or repeated id).
    """
    rows = [_opened(path, line) for line in _lines(path)]
    if not rows:
        raise InputError(f"{path}: has no rows")
    _refuse_duplicates(rows, str(path))
    return rows


def read_shard(path: str | os.PathLike, number: int, size: int) -> list[ManifestRow]:
    """Rows number * size up to (number + 1) * size of a manifest, the others not held; InputError if there are none."""
    rows = [_opened(path, line) for line in islice(_lines(path), number * size, (number + 1) * size)]
    if not rows:
        raise InputError(f"{path}: shard {number} of {size} rows does not exist; the manifest has fewer rows")
    _refuse_duplicates(rows, str(path))
    return rows


def read_rows(path: str | os.PathLike, ids: Collection[str]) -> dict[str, ManifestRow]:
    """The rows of these ids that a manifest has, by id, the others not held; InputError if one is there twice."""
    wanted = frozenset(ids)
    rows = [_opened(path, line) for line in _lines(path) if line[0] in wanted]
    _refuse_duplicates(rows, str(path))
    return {row.id: row for row in rows}


def _lines(path: str | os.PathLike) -> Iterator[list[str]]:
    """The fields of each row, one row at a time; InputError as `read_manifest`."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            lines = csv.reader(stream)
            if tuple(next(lines, ())) != COLUMNS:
                raise InputError(f"{path}: the first line must be {','.join(COLUMNS)}")
            for number, line in enumerate(lines, start=2):
                if len(line) != len(COLUMNS) or not line[0] or not line[3]:
                    raise InputError(f"{path}: line {number} needs {len(COLUMNS)} fields with an id and a path")
                yield line
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not CSV text"
        raise InputError(f"{path}: cannot be read as a manifest ({reason})") from None


def _opened(manifest: str | os.PathLike, line: Sequence[str]) -> ManifestRow:
    """A row whose paths can be opened from the current folder."""
    row, base = ManifestRow(*line), Path(manifest).parent
    return replace(row, **{name: _joined(base, getattr(row, name)) for name in _PATH_COLUMNS})


def _refuse_duplicates(rows: Sequence[ManifestRow], name: str) -> None:
    seen: dict[str, ManifestRow] = {}
    for row in rows:
        first = seen.setdefault(row.id, row)
        if first is not row:
            raise InputError(
                f"{name}: id {row.id} is there twice, {first.path} and {row.path}; rename one of these files, "
                "or put their folders in data sets of their own"
            )


def _relative(path: str, base: str) -> str:
    return Path(os.path.relpath(os.path.abspath(path), base)).as_posix() if path else ""


def _joined(base: Path, path: str) -> str:
    return os.path.normpath(base / path) if path else ""
