"""metrics.csv: one row every few steps, one column a loss term, no times, so that equal runs give equal files."""

import csv
import math
from pathlib import Path

from facerecon.artefacts import atomic_file


class MetricsFile:
    """The rows of a metrics.csv, rewritten whole and atomically at every change.

    The first column is `step`: the number of optimiser steps done. Later rows may bring new columns; absent values are
    empty.
    """

    def __init__(self, path: Path, last_step: int = 0):
        """Keep the rows of an existing file up to `last_step`, where training resumes; drop the others."""
        self.path = path
        self.rows: list[dict[str, str]] = []
        if last_step > 0 and path.is_file():
            with open(path, newline="", encoding="utf-8") as stream:
                self.rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= last_step]

    def record(self, step: int, values: dict[str, float]) -> None:
        """Add values to the row of `step` (which is the last row or a new one) and write the file."""
        if not self.rows or int(self.rows[-1]["step"]) != step:
            self.rows.append({"step": str(step)})
        self.rows[-1].update({name: f"{value:.7g}" for name, value in values.items()})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_file(self.path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


class RunningMeans:
    """Means of named values since the last `take`."""

    def __init__(self, sums: dict[str, float] | None = None, count: int = 0):
        self.sums, self.count = dict(sums or {}), count

    def add(self, values: dict[str, float]) -> None:
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """The means, and start over."""
        means = {name: total / self.count if self.count else math.nan for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means
