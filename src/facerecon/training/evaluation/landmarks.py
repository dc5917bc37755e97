"""Accuracy of the landmark network, and whether it knows how far off it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from facerecon.evaluate.geometric.aflw2000 import normalised_mean_error
from facerecon.evaluate.groups import groups_of
from facerecon.evaluate.statistics import Figure, Measure, mean_measure, ratio_measure
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import LandmarkNetwork, predict_landmarks
from facerecon.progress import track
from facerecon.training.tasks.photographs import PhotographStore

_RELIABILITY_BINS = 10


@dataclass(frozen=True)
class LandmarkResults:
    """points (N, 68, 2) px; error and expected_error (N, 68): distance from the truth and what the network expects, in
    % of the true box's sqrt(width height); confidence (N,): the mean one of each face."""

    points: NDArray[np.float32]
    error: NDArray[np.float64]
    expected_error: NDArray[np.float64]
    confidence: NDArray[np.float64]


def predict(store: PhotographStore, indices: NDArray, network: LandmarkNetwork) -> LandmarkResults:
    """The landmarks of photographs, found as the pipeline does, from the true points' boxes."""
    predicted = []
    for index in track(indices, "landmarks", len(indices)):
        predicted.append(predict_landmarks(store.image(index), points_box(store.landmarks[index]), network))
    points = np.array([each.points for each in predicted])
    truth = store.landmarks[indices].astype(np.float64)
    side = np.sqrt(np.ptp(truth, axis=1).prod(1))[:, None]
    return LandmarkResults(
        points,
        100 * np.linalg.norm(points - truth, axis=2) / side,
        100 * np.array([each.expected_error for each in predicted], np.float64) / side,
        np.array([each.confidence.mean() for each in predicted], np.float64),
    )


def landmark_measures(store: PhotographStore, indices: NDArray, results: LandmarkResults) -> list[Measure]:
    """NME, %, of all 68 points and of those that the photograph shows, each the mean over photographs; photographs that
    show no point do not count in the latter."""
    attributes = {name: column[indices] for name, column in store.attributes.items()}
    groups, subjects = groups_of(attributes), store.subjects[indices]
    nme = 100 * normalised_mean_error(results.points, store.landmarks[indices])
    shown = store.landmarks_visible[indices]
    own = np.where(shown, results.error, 0).sum(1) / np.maximum(shown.sum(1), 1)
    return [
        mean_measure("landmarks", "nme_percent", nme, subjects, groups),
        ratio_measure("landmarks", "nme_visible_percent", own, shown.any(1), subjects, groups),
    ]


def reliability(results: LandmarkResults) -> list[Figure]:
    """Whether the expected error tells the error: the rank correlation over all points, and for ten equal shares of
    them by expected error (`part` 1: the most certain tenth) the mean expected and the mean true error, %."""
    error, expected = results.error.ravel(), results.expected_error.ravel()
    nothing = (float("nan"), float("nan"))
    correlation = float(spearmanr(expected, error).statistic)
    rows = [Figure("landmarks", "expected_error_spearman", "all", "all", len(error), correlation, *nothing)]
    for number, share in enumerate(np.array_split(np.argsort(expected, kind="stable"), _RELIABILITY_BINS), 1):
        for name, values in (("expected_error_percent", expected), ("true_error_percent", error)):
            rows.append(
                Figure("landmarks", name, "certainty", str(number), len(share), float(values[share].mean()), *nothing)
            )
    least = float(np.quantile(results.confidence, 0.05))
    return [*rows, Figure("landmarks", "confidence_5th_percentile", "all", "all", len(results.points), least, *nothing)]
