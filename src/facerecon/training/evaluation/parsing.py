"""Accuracy of the parsing network on standard crops."""

import numpy as np
from numpy.typing import NDArray

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.evaluate.groups import groups_of
from facerecon.evaluate.statistics import Measure
from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.networks.parsing import CLASS_COUNT, ParsingNetwork
from facerecon.progress import track
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.parsing import confusion_matrix, mean_intersection_over_union, predict_crops
from facerecon.training.tasks.photographs import PhotographStore

_BATCH = 16


def confusion_matrices(store: PhotographStore, indices: NDArray, network: ParsingNetwork) -> NDArray[np.int64]:
    """(N, 19, 19) counts of the pixels of each photograph's standard crop, 224 pixels a side; rows true."""
    crops = StandardCrops(store, STANDARD_SIZE)
    counts = []
    batches = [indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH)]
    for batch in track(batches, "parsing", len(batches)):
        predicted, truth = predict_crops(network, crops, batch)
        counts += [confusion_matrix(*pair) for pair in zip(predicted, truth, strict=True)]
    return np.array(counts).reshape(-1, CLASS_COUNT, CLASS_COUNT)


def parsing_measures(store: PhotographStore, indices: NDArray, confusion: NDArray) -> list[Measure]:
    """Mean IoU over the classes that occur in the truth, pixel accuracy, and each class's IoU (overall only)."""
    attributes = {name: column[indices] for name, column in store.attributes.items()}
    groups, subjects = groups_of(attributes), store.subjects[indices]
    terms = confusion.reshape(len(confusion), -1).astype(np.float64)
    measures = [
        Measure("parsing", "mean_iou", terms, _mean_iou, subjects, groups),
        Measure("parsing", "pixel_accuracy", terms, _accuracy, subjects, groups),
    ]
    for number, name in enumerate(PARSING_CLASSES):
        right, true, told = confusion[:, number, number], confusion[:, number].sum(1), confusion[:, :, number].sum(1)
        if true.sum():
            sums = np.column_stack([right, true + told - right]).astype(np.float64)
            measures.append(Measure("parsing", f"iou_{name}", sums, _ratio, subjects, {}))
    return measures


def _mean_iou(sums: NDArray) -> NDArray:
    return np.array([mean_intersection_over_union(each.reshape(CLASS_COUNT, CLASS_COUNT))[0] for each in sums])


def _accuracy(sums: NDArray) -> NDArray:
    right = np.trace(sums.reshape(-1, CLASS_COUNT, CLASS_COUNT), axis1=1, axis2=2)
    return right / np.maximum(sums.sum(1), 1)


def _ratio(sums: NDArray) -> NDArray:
    return sums[:, 0] / np.maximum(sums[:, 1], 1)
