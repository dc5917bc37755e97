"""Measure the auxiliary networks on folders of synthetic photographs, print tables and write them."""

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import atomic_file, sha256_file
from facerecon.errors import InputError
from facerecon.evaluate.statistics import Figure, Measure, figures_of
from facerecon.networks.weights import read_card, weights_file
from facerecon.provenance import provenance_record, write_beside
from facerecon.training.evaluation import IDENTITIES, NETWORKS
from facerecon.training.tasks.people import shared_person, subject_ranges, training_data
from facerecon.training.tasks.photographs import PhotographStore

COLUMNS = tuple(field.name for field in fields(Figure))
_SUFFIXES = (".csv", ".json")


def run(
    data: Sequence[str | os.PathLike],
    networks: Sequence[str] = NETWORKS,
    weights: Mapping[str, str | os.PathLike | None] | None = None,
    out: str | os.PathLike | None = None,
    limit: int = 1000,
    identities: int = IDENTITIES,
) -> list[Figure]:
    """Print the accuracy of `networks` on synthetic photographs and return the table's rows.

    data: folders of people that the networks have not seen. weights: files by network; None takes those carried.
    out: .csv (COLUMNS) or .json (a list of rows), with its provenance beside it. limit: most photographs, spread
    evenly; recognition takes all that its protocol asks for, up to `identities` people.
    Raises InputError for photographs of people that a network, or one that it began from, was trained on, unknown names
    and bad files.
    """
    unknown = sorted(set(networks) - set(NETWORKS))
    if unknown:
        raise InputError(f"no network is called {unknown[0]!r}; choose from {', '.join(NETWORKS)}")
    if out is not None and Path(out).suffix.lower() not in _SUFFIXES:
        raise InputError(f"{out}: name a .csv or .json file")
    files = {name: weights_file(name, (weights or {}).get(name)) for name in NETWORKS if _needed(name, networks)}
    store = PhotographStore([Path(folder) for folder in data])
    for file in files.values():
        check_unseen(file, store)
    indices = np.unique(np.linspace(0, len(store) - 1, min(limit, len(store))).round().astype(int))
    rows: list[Figure] = []
    for name in NETWORKS:
        if name in networks:
            measured = _MEASURED[name](store, indices, files, identities)
            print_table(measured)
            rows += measured
    if out is not None:
        inputs = {f"{name}_weights": sha256_file(file) for name, file in files.items()}
        settings = {"networks": list(networks), "limit": limit, "identities": identities}
        write_beside(out, provenance_record("evaluate.networks", settings, inputs={**inputs, "data": store.sha256}))
        write_table(out, rows)
    return rows


def check_unseen(weights: Path, store: PhotographStore) -> None:
    """Raises InputError if weights, or those that they began from, were trained on any of the people in `store`.

    Where a card does not say who they were trained on, a line on stderr says so.
    """
    card = read_card(weights)
    known = training_data(card)
    for data in known:
        if data.get("ground_truth_sha256") == store.sha256:
            raise InputError(f"{weights}: was trained on these photographs; synthesize others, of other subjects")
        met = shared_person(data.get("people") or {}, subject_ranges(store.people))
        if met is not None:
            raise InputError(
                f"{weights}: was trained on some of these people (seed {met[0]}, subject {met[1]}); "
                "measure on photographs of other subjects"
            )
    began = card.get("initial_trunk_sha256") or card.get("initial_weights_sha256")
    if len(known) < (2 if began else 1) or any("people" not in data for data in known):
        print(f"evaluate networks: {weights}: its card does not say on whom it was trained", file=sys.stderr)


def print_table(rows: Sequence[Figure]) -> None:
    """A line a row: measure, group, part, value with its interval, cases."""
    width = max(len(row.measure) for row in rows)
    for row in rows:
        where = "" if row.group == "all" else f"{row.group} {row.part}"
        interval = "" if math.isnan(row.low) else f"[{row.low:.3f}, {row.high:.3f}]"
        line = f"{row.network:<12}{row.measure:<{width + 2}}{where:<22}{row.value:>9.3f}  {interval:<18} n={row.cases}"
        print(line)


def write_table(out: str | os.PathLike, rows: Sequence[Figure]) -> None:
    """Write rows as .csv (columns COLUMNS) or .json (a list of objects); what is undefined is empty or null."""
    records = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(row).items()}
        for row in rows
    ]
    with atomic_file(out) as temporary:
        if Path(out).suffix.lower() == ".json":
            Path(temporary).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
            return
        with open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in record.items()}
                for record in records
            )


def _needed(name: str, networks: Sequence[str]) -> bool:
    return name in networks or (name == "landmarks" and "detector" in networks)


def _tabulated(measures: Sequence[Measure]) -> list[Figure]:
    return [row for measure in measures for row in figures_of(measure)]


def _landmarks(store: PhotographStore, indices: NDArray, files: Mapping[str, Path], _: int) -> list[Figure]:
    from facerecon.networks.landmarks import load_landmark_network
    from facerecon.training.evaluation.landmarks import landmark_measures, predict, reliability

    results = predict(store, indices, load_landmark_network(files["landmarks"]))
    return _tabulated(landmark_measures(store, indices, results)) + reliability(results)


def _parsing(store: PhotographStore, indices: NDArray, files: Mapping[str, Path], _: int) -> list[Figure]:
    from facerecon.networks.parsing import load_parsing
    from facerecon.training.evaluation.parsing import confusion_matrices, parsing_measures

    confusion = confusion_matrices(store, indices, load_parsing(files["parsing"]))
    return _tabulated(parsing_measures(store, indices, confusion))


def _recognition(store: PhotographStore, _: NDArray, files: Mapping[str, Path], identities: int) -> list[Figure]:
    from facerecon.networks.recognition import load_recognition
    from facerecon.training.evaluation.recognition import recognition_measures

    measures, rows = recognition_measures(store, load_recognition(files["recognition"]), identities)
    return _tabulated(measures) + rows


def _detector(store: PhotographStore, indices: NDArray, files: Mapping[str, Path], _: int) -> list[Figure]:
    from facerecon.networks.detector import load_detector
    from facerecon.networks.landmarks import load_landmark_network
    from facerecon.training.evaluation.detector import measured_scenes, photograph_measures, scene_measures

    network, verifier = load_detector(files["detector"]), load_landmark_network(files["landmarks"])
    in_scenes = scene_measures(store, measured_scenes(store, indices), network)
    in_photographs = photograph_measures(store, indices, network, verifier)
    return _tabulated([*in_scenes[0], *in_photographs[0]]) + in_scenes[1] + in_photographs[1]


_MEASURED: dict[str, Callable[..., list[Figure]]] = {
    "landmarks": _landmarks, "parsing": _parsing, "recognition": _recognition, "detector": _detector,
}  # fmt: skip
