"""The NoW benchmark: scan-to-mesh errors of predictions for all its images, and their table.

`docs/benchmarks.md` tells the two protocols apart and lists the table's columns.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.artefacts import atomic_file, sha256_file
from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_alignment import UNIT_TO_MM, CroppedScan, Protocol, scan_error
from facerecon.evaluate.geometric.now_folder import (
    CHALLENGES,
    CONTENT_HASH_FILE,
    NowImage,
    PredictionFiles,
    find_prediction,
    read_cropped_scan,
    read_image_list,
    read_prediction,
)
from facerecon.progress import Progress
from facerecon.provenance import FOLDER_FILE, provenance_record, write_beside

ALL = "all"
KEY_COLUMNS = ("system", "variant", "protocol", "challenge")
COLUMNS = (*KEY_COLUMNS, "median_mm", "mean_mm", "std_mm", "scans", "failed", "vertices")
CURVE_COLUMNS = (*KEY_COLUMNS, "error_mm", "fraction")
FAILURE_COLUMNS = ("system", "image", "reason")
CURVE_ERRORS_MM = np.linspace(0.0, 7.0, 141)


class Variant(NamedTuple):
    """One way of measuring. metrical: the prediction keeps its own size."""

    protocol: Protocol
    metrical: bool

    @property
    def name(self) -> str:
        return "metrical" if self.metrical else "non-metrical"


class ImageResult(NamedTuple):
    """distances: (N,) float32 mm, scan order, or None where the prediction failed. reason: why it did, else empty."""

    image: NowImage
    distances: NDArray[np.float32] | None
    reason: str = ""


class Summary(NamedTuple):
    """Figures over all distances of all scans in one list, mm (NaN without any); std is the population's.

    scans: predictions measured. failed: predictions missing or malformed. vertices: distances.
    """

    median_mm: float
    mean_mm: float
    std_mm: float
    scans: int
    failed: int
    vertices: int


@dataclass(frozen=True)
class NowEvaluation:
    """All results of one system under one variant, in the image list's order."""

    variant: Variant
    results: list[ImageResult]

    @property
    def failures(self) -> list[ImageResult]:
        return [result for result in self.results if result.distances is None]

    @property
    def challenges(self) -> list[str]:
        """`all`, then the challenges that the image list has: the official four in their order, others after them."""
        present = {result.image.challenge for result in self.results}
        return [ALL, *(name for name in CHALLENGES if name in present), *sorted(present - set(CHALLENGES))]

    def distances(self, challenge: str = ALL) -> NDArray[np.float32]:
        """All distances of a challenge in one list, mm."""
        chosen = [result.distances for result in self._of(challenge) if result.distances is not None]
        return np.concatenate(chosen) if chosen else np.zeros(0, np.float32)

    def summary(self, challenge: str = ALL) -> Summary:
        distances = self.distances(challenge).astype(np.float64)
        results = self._of(challenge)
        scans = sum(result.distances is not None for result in results)
        figures = (np.median(distances), distances.mean(), distances.std()) if len(distances) else (np.nan,) * 3
        return Summary(*map(float, figures), scans, len(results) - scans, len(distances))

    def cumulative_curve(self, challenge: str = ALL, errors_mm: ArrayLike = CURVE_ERRORS_MM) -> NDArray[np.float64]:
        """Fraction of the distances that are at most each of `errors_mm`; NaN without distances."""
        distances = np.sort(self.distances(challenge))
        if len(distances) == 0:
            return np.full(np.shape(errors_mm), np.nan)
        return np.searchsorted(distances, np.asarray(errors_mm), side="right") / len(distances)

    def rows(self, system: str) -> list[dict[str, str]]:
        """The table's rows, a challenge each, with `COLUMNS`; lengths in mm to six decimals, empty without any."""
        return [self._row(system, challenge) for challenge in self.challenges]

    def curve_rows(self, system: str) -> list[dict[str, str]]:
        """The cumulative error curves, a row for each challenge and error, with `CURVE_COLUMNS`."""
        return [
            self._key(system, challenge) | {"error_mm": f"{error:.2f}", "fraction": _format(float(fraction))}
            for challenge in self.challenges
            for error, fraction in zip(CURVE_ERRORS_MM, self.cumulative_curve(challenge), strict=True)
        ]

    def _row(self, system: str, challenge: str) -> dict[str, str]:
        figures = self.summary(challenge)._asdict()
        return self._key(system, challenge) | {name: _format(value) for name, value in figures.items()}

    def _key(self, system: str, challenge: str) -> dict[str, str]:
        return dict(zip(KEY_COLUMNS, (system, self.variant.name, self.variant.protocol, challenge), strict=True))

    def _of(self, challenge: str) -> list[ImageResult]:
        return [result for result in self.results if challenge in (ALL, result.image.challenge)]


def evaluate_now(
    benchmark: Path,
    predictions: Path,
    protocol: Protocol = "official",
    metrical: bool = False,
    image_list: Path | None = None,
    jobs: int = 1,
    unit: str = "mm",
) -> NowEvaluation:
    """Measure a folder of predictions under one variant; see `evaluate_now_variants`."""
    return evaluate_now_variants(benchmark, predictions, [Variant(protocol, metrical)], image_list, jobs, unit)[0]


def evaluate_now_variants(
    benchmark: Path,
    predictions: Path,
    variants: Sequence[Variant],
    image_list: Path | None = None,
    jobs: int = 1,
    unit: str = "mm",
) -> list[NowEvaluation]:
    """Measure a folder of predictions, reading each scan and prediction once for all variants.

    benchmark, predictions: folders as `now_folder` describes. image_list: another list than the benchmark's own.
    jobs: processes, subjects shared among them; the results do not depend on it. unit: mm, cm or m, of the predictions.
    A missing or malformed prediction is a failed result with its reason; a missing or malformed scan raises InputError.
    """
    benchmark, predictions = Path(benchmark), Path(predictions)
    if not benchmark.is_dir():
        raise InputError(f"{benchmark}: the benchmark folder does not exist")
    if not predictions.is_dir():
        raise InputError(f"{predictions}: the folder of predictions does not exist")
    if unit not in UNIT_TO_MM:
        raise InputError(f"unit {unit!r} is not known: one of {', '.join(UNIT_TO_MM)}")
    images = read_image_list(benchmark, image_list)
    by_subject: dict[str, list[int]] = {}
    for position, image in enumerate(images):
        by_subject.setdefault(image.subject, []).append(position)
    tasks = [
        _SubjectTask(benchmark, predictions, [images[p] for p in group], list(variants), unit)
        for group in by_subject.values()
    ]
    results: list[list[ImageResult]] = [[] for _ in images]
    positions = (position for group in by_subject.values() for position in group)
    progress = Progress(f"NoW {predictions.name}", len(images))
    for position, image_results in zip(positions, _run(tasks, jobs), strict=True):
        results[position] = image_results
        progress.advance()
    return [
        NowEvaluation(variant, [image_results[k] for image_results in results]) for k, variant in enumerate(variants)
    ]


def run(
    benchmark: Path,
    predictions: Path,
    system: str,
    out_csv: Path,
    protocol: Protocol | Literal["both"] = "both",
    jobs: int = 1,
    strict: bool = False,
    unit: str = "mm",
    curves_csv: Path | None = None,
) -> list[NowEvaluation]:
    """Measure one system, non-metrical and metrical, and write its table.

    out_csv: `COLUMNS`, a row for each variant and challenge. Beside it `<stem>.provenance.json` and, only if some
    predictions failed, `<stem>.failures.csv` with `FAILURE_COLUMNS`. curves_csv: cumulative error curves,
    `CURVE_COLUMNS`, if wanted. All are written atomically. protocol: official, corrected or both. strict: refuse if any
    prediction failed, writing nothing. Other arguments as `evaluate_now_variants`.
    Raises InputError; also if no prediction at all could be measured.
    """
    protocols = ("official", "corrected") if protocol == "both" else (protocol,)
    if not set(protocols) <= {"official", "corrected"}:
        raise InputError(f"protocol {protocol!r} is not known: official, corrected or both")
    variants = [Variant(name, metrical) for name in protocols for metrical in (False, True)]
    evaluations = evaluate_now_variants(benchmark, predictions, variants, None, jobs, unit)
    failures = list(dict.fromkeys((str(f.image), f.reason) for e in evaluations for f in e.failures))
    if all(len(evaluation.failures) == len(evaluation.results) for evaluation in evaluations):
        raise InputError(f"{predictions}: none of the predictions could be measured; the first: {failures[0][1]}")
    if strict and failures:
        failed = len({image for image, _ in failures})
        raise InputError(
            f"{predictions}: {failed} of {len(evaluations[0].results)} predictions failed; the first: {failures[0][1]}"
        )
    out_csv = Path(out_csv)
    failures_csv = out_csv.with_name(f"{out_csv.stem}.failures.csv")
    if failures:
        _write_csv(failures_csv, FAILURE_COLUMNS, ({"system": system, "image": i, "reason": r} for i, r in failures))
    else:
        failures_csv.unlink(missing_ok=True)
    if curves_csv is not None:
        _write_csv(Path(curves_csv), CURVE_COLUMNS, (row for e in evaluations for row in e.curve_rows(system)))
    write_beside(out_csv, _record(system, Path(benchmark), Path(predictions), protocols, unit))
    _write_csv(out_csv, COLUMNS, (row for e in evaluations for row in e.rows(system)))
    return evaluations


def _record(system: str, benchmark: Path, predictions: Path, protocols: Sequence[str], unit: str) -> dict[str, object]:
    """The table's provenance: benchmark and predictions by what their folders say of themselves."""
    inputs = {}
    content_hash, record = benchmark / CONTENT_HASH_FILE, predictions / FOLDER_FILE
    if content_hash.is_file():
        inputs["benchmark"] = content_hash.read_text(encoding="ascii").strip()
    if record.is_file():
        inputs["predictions"] = sha256_file(record)
    settings = {"system": system, "protocols": list(protocols), "unit": unit}
    return provenance_record("evaluate.now", settings, inputs=inputs)


class _SubjectTask(NamedTuple):
    benchmark: Path
    predictions: Path
    images: list[NowImage]
    variants: list[Variant]
    unit: str

    def results(self) -> Iterator[list[ImageResult]]:
        """For each image in turn, its result under each variant."""
        scan = read_cropped_scan(self.benchmark, self.images[0].subject)
        measured: dict[str, list[NDArray[np.float32]]] = {}
        for image in self.images:
            try:
                files = find_prediction(self.predictions, image)
                content = files.content_hash()
                if content not in measured:
                    measured[content] = self._measure(scan, files)
                yield [ImageResult(image, distances) for distances in measured[content]]
            except InputError as error:
                yield [ImageResult(image, None, str(error))] * len(self.variants)

    def _measure(self, scan: CroppedScan, files: PredictionFiles) -> list[NDArray[np.float32]]:
        prediction = read_prediction(files)
        try:
            errors = [scan_error(scan, prediction, *variant, self.unit) for variant in self.variants]
        except InputError as error:
            raise InputError(f"{files.landmarks}: {error}") from None
        return [error.distances.astype(np.float32) for error in errors]


def _run(tasks: list[_SubjectTask], jobs: int) -> Iterator[list[ImageResult]]:
    """Results of all images of all tasks, in order."""
    if jobs <= 1 or len(tasks) == 1:
        for task in tasks:
            yield from task.results()
        return
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=get_context("spawn")) as pool:
        try:
            for results in pool.map(_all_results, tasks):
                yield from results
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _all_results(task: _SubjectTask) -> list[list[ImageResult]]:
    return list(task.results())


def _format(value: float | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if np.isnan(value) else f"{value:.6f}"


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
    with atomic_file(path) as temporary, open(temporary, "w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
