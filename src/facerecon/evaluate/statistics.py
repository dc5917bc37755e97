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

    cases: photographs, faces or probes. terms: (N, K) of each case. figure: (sums (R, K), total (K,)) -> (R,), NaN
    where undefined; sums of resamples, and those of all cases, for what is to stay the same in every resample.
    subjects: (N,) whom each case shows: resampling draws people, not photographs, since those of one person are alike.
    """

    network: str
    name: str
    terms: NDArray[np.float64]
    figure: Callable[[NDArray, NDArray], NDArray]
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
    return ratio_measure(network, name, values, np.ones(len(values)), subjects, groups)


def ratio_measure(
    network: str,
    name: str,
    numerators: NDArray,
    denominators: NDArray,
    subjects: NDArray,
    groups: Mapping[str, NDArray[np.str_]],
) -> Measure:
    """The sum of numerators (N,) over that of denominators (N,); undefined where the latter is zero."""
    terms = np.column_stack([numerators, denominators]).astype(np.float64)
    return Measure(network, name, terms, ratio_of_sums, subjects, groups)


def ratio_of_sums(sums: NDArray, total: NDArray) -> NDArray:
    """(R,) first over second column of sums (R, 2 or more), NaN where the second is zero."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)


def figures_of(measure: Measure, seed: int = 0) -> list[Figure]:
    """The measure over all cases, and for each part of each group."""
    everyone = np.full(len(measure.terms), ALL)
    rows = []
    for group, parts in {ALL: everyone, **measure.groups}.items():
        for part in sorted(set(parts.tolist()), key=part_order):
            chosen = parts == part
            low, high = bootstrap_interval(measure.terms[chosen], measure.subjects[chosen], measure.figure, seed)
            total = measure.terms[chosen].sum(0)
            value = float(measure.figure(total[None], total)[0])
            rows.append(Figure(measure.network, measure.name, group, part, int(chosen.sum()), value, low, high))
    return rows


def bootstrap_interval(
    terms: NDArray, subjects: NDArray, figure: Callable[[NDArray, NDArray], NDArray], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `figure` under resampling of subjects; NaN with fewer than two of them. Resamples in
    which the figure is undefined do not count; if they are more than half, the interval is NaN.

    terms: (N, K); subjects: (N,); figure: as in `Measure`.
    """
    names, owner = np.unique(subjects, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums = np.zeros((len(names), terms.shape[1]))
    np.add.at(sums, owner, terms)
    rng, total = np.random.default_rng(seed), sums.sum(0)
    share = np.full(len(names), 1 / len(names))
    drawn = [figure(rng.multinomial(len(names), share, _CHUNK) @ sums, total) for _ in range(_RESAMPLES // _CHUNK)]
    values = np.concatenate(drawn)
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:  # the resamples left are too much like the cases at hand
        return float("nan"), float("nan")
    low, high = np.percentile(known, _INTERVAL)
    return float(low), float(high)


def mean_interval(values: NDArray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of independent values (N,)."""
    terms = np.column_stack([np.asarray(values, np.float64), np.ones(len(values))])
    return bootstrap_interval(terms, np.arange(len(values)), ratio_of_sums, seed)
