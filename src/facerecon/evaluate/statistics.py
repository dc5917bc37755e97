"""Figures with bootstrap intervals, over all photographs and by groups."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerecon.evaluate.groups import ALL, part_order

_RESAMPLES = 1000
_CHUNK = 100  # resamples at once: memory stays small for measures with many terms
_INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Measure:
    """A figure that is a function of sums over cases.

    cases: photographs, faces or probes. terms: (N, K) of each case. figure: sums (R, K) -> (R,), NaN where undefined.
    subjects: (N,) whom each case shows: resampling draws people, not photographs, since those of one person are alike.
    """

    network: str
    name: str
    terms: NDArray[np.float64]
    figure: Callable[[NDArray], NDArray]
    subjects: NDArray
    groups: Mapping[str, NDArray[np.str_]]


@dataclass(frozen=True)
class Figure:
    """A row of the table. low, high: the 95 % bootstrap interval, NaN where there is none; cases: how many."""

    network: str
    measure: str
    group: str
    part: str
    cases: int
    value: float
    low: float
    high: float


def mean_measure(
    network: str, name: str, values: NDArray, subjects: NDArray, groups: Mapping[str, NDArray[np.str_]]
) -> Measure:
    """The mean of values (N,)."""
    terms = np.column_stack([np.asarray(values, np.float64), np.ones(len(values))])
    return Measure(network, name, terms, _mean_of_sums, subjects, groups)


def figures_of(measure: Measure, seed: int = 0) -> list[Figure]:
    """The measure over all cases, and for each part of each group."""
    everyone = np.full(len(measure.terms), ALL)
    rows = []
    for group, parts in {ALL: everyone, **measure.groups}.items():
        for part in sorted(set(parts.tolist()), key=part_order):
            chosen = parts == part
            low, high = bootstrap_interval(measure.terms[chosen], measure.subjects[chosen], measure.figure, seed)
            value = float(measure.figure(measure.terms[chosen].sum(0, keepdims=True))[0])
            rows.append(Figure(measure.network, measure.name, group, part, int(chosen.sum()), value, low, high))
    return rows


def bootstrap_interval(
    terms: NDArray, subjects: NDArray, figure: Callable[[NDArray], NDArray], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `figure` under resampling of subjects; NaN with fewer than two of them.

    terms: (N, K); subjects: (N,); figure: as in `Measure`.
    """
    names, owner = np.unique(subjects, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums = np.zeros((len(names), terms.shape[1]))
    np.add.at(sums, owner, terms)
    rng = np.random.default_rng(seed)
    share = np.full(len(names), 1 / len(names))
    drawn = [figure(rng.multinomial(len(names), share, _CHUNK) @ sums) for _ in range(_RESAMPLES // _CHUNK)]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, _INTERVAL)
    return float(low), float(high)


def mean_interval(values: NDArray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of independent values (N,)."""
    terms = np.column_stack([np.asarray(values, np.float64), np.ones(len(values))])
    return bootstrap_interval(terms, np.arange(len(values)), _mean_of_sums, seed)


def _mean_of_sums(sums: NDArray) -> NDArray:
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
