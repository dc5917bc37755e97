"""Accuracy of the parsing network on standard crops."""

import numpy as np
from numpy.typing import NDArray

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.evaluate.groups import groups_of
from facerecon.evaluate.statistics import Measure, ratio_measure, ratio_of_sums
from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.networks.parsing import CLASS_COUNT, ParsingNetwork
from facerecon.progress import track
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.parsing import confusion_matrix, predict_crops
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
    """Mean IoU over the classes that occur in a group's truth, how many these are (groups that lack some cannot be
    compared by it), pixel accuracy, and each class's IoU (overall only)."""
    attributes = {name: column[indices] for name, column in store.attributes.items()}
    groups, subjects = groups_of(attributes), store.subjects[indices]
    terms = confusion.reshape(len(confusion), -1).astype(np.float64)
    right, pixels = np.trace(confusion, axis1=1, axis2=2), confusion.sum((1, 2))
    measures = [
        Measure("parsing", "mean_iou", terms, _mean_iou, subjects, groups),
        Measure("parsing", "classes", terms, _class_count, subjects, groups),
        ratio_measure("parsing", "pixel_accuracy", right, pixels, subjects, groups),
    ]
    for number, name in enumerate(PARSING_CLASSES):
        right, true, told = confusion[:, number, number], confusion[:, number].sum(1), confusion[:, :, number].sum(1)
        if true.sum():
            sums = np.column_stack([right, true + told - right, true]).astype(np.float64)
            measures.append(Measure("parsing", f"iou_{name}", sums, _class_iou, subjects, {}))
    return measures


def _mean_iou(sums: NDArray, total: NDArray) -> NDArray:
    """Over the classes that occur in `total`; undefined for sums in which one of them does not occur, so that every
    resample is a mean over the same classes."""
    confusion = sums.reshape(-1, CLASS_COUNT, CLASS_COUNT)
    right, true = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(2)
    each = np.where(true > 0, right / np.maximum(true + confusion.sum(1) - right, 1), np.nan)
    occurs = _occurring(total)
    return each[:, occurs].mean(1) if occurs.any() else np.full(len(sums), np.nan)


def _class_count(sums: NDArray, total: NDArray) -> NDArray:
    return np.full(len(sums), _occurring(total).sum(), np.float64)


def _occurring(total: NDArray) -> NDArray[np.bool_]:
    """(19,) whether the truth has pixels of each class."""
    return total.reshape(CLASS_COUNT, CLASS_COUNT).sum(1) > 0


def _class_iou(sums: NDArray, total: NDArray) -> NDArray:
    """sums (R, 3): pixels told right, in the union, and truly of the class; undefined where there are none of these."""
    return np.where(sums[:, 2] > 0, ratio_of_sums(sums, total), np.nan)
