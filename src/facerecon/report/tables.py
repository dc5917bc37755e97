"""Tables made from evaluation files."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from facerecon.artefacts import atomic_file, sha256_file
from facerecon.errors import InputError
from facerecon.evaluate.geometric.now import COLUMNS
from facerecon.provenance import provenance_record, read_provenance, write_beside

_KEY = COLUMNS[:4]


def merge_now(evaluations: Sequence[str | os.PathLike], out: str | os.PathLike) -> None:
    """Join NoW evaluations of systems into one table, rows in the order given, numbers as they were written.

    evaluations: CSV files with the evaluator's `COLUMNS`, any number of systems each. out: CSV; its provenance
    is written beside it.
    Raises InputError for a file that is missing, empty or has other columns, and for a row that two files have.
    """
    if not evaluations:
        raise InputError("no evaluations to join; name at least one CSV of `facerecon evaluate now`")
    rows: list[dict[str, str]] = []
    origin: dict[tuple[str, ...], Path] = {}
    for path in map(Path, evaluations):
        for row in _read_rows(path):
            key = tuple(row[column] for column in _KEY)
            if key in origin:
                raise InputError(f"{path}: has {', '.join(key)} as {origin[key]} does; give each system its own name")
            origin[key] = path
            rows.append(row)
    write_beside(out, provenance_record("report.now", inputs=_ids(map(Path, evaluations))))
    with atomic_file(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _ids(evaluations: Iterable[Path]) -> dict[str, str]:
    """Each table's SHA-256 by name, and what the tables' own records say of the benchmark they are about."""
    ids = {}
    for path in evaluations:
        ids[path.stem] = sha256_file(path)
        try:
            benchmark = read_provenance(path)["inputs"]["benchmark"]
        except (InputError, KeyError):  # a table from elsewhere
            benchmark = "unknown"
        ids[f"benchmark of {path.stem}"] = benchmark
    return ids


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            columns, rows = tuple(reader.fieldnames or ()), list(reader)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it with `facerecon evaluate now`") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: not a CSV file; make it with `facerecon evaluate now`") from None
    if columns != COLUMNS:
        raise InputError(f"{path}: the columns must be {','.join(COLUMNS)}")
    if not rows:
        raise InputError(f"{path}: has no rows; make it anew with `facerecon evaluate now`")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}: line {number} must have {len(COLUMNS)} fields")
    return rows
