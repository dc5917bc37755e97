"""How well the detector and the landmark network do on real photographs with known points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.data.images import read_image
from facerecon.errors import InputError
from facerecon.evaluate.geometric.aflw2000 import Aflw2000Evaluation, evaluate_aflw2000, read_aflw2000
from facerecon.evaluate.statistics import mean_interval
from facerecon.networks.detector import FOUND_OVERLAP, intersection_over_union
from facerecon.networks.image_crops import points_box
from facerecon.preprocess.face import FaceFinder, main_face
from facerecon.progress import track

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_EYES = (slice(36, 42), slice(42, 48))
_NOSE_TIP, _MOUTH_CORNERS = 30, [48, 54]
_SIDE = (1.3, 4.5)  # longer side of a face's box over the distance of its eyes: 2.2 from the front, 4 at 60 degrees


@dataclass(frozen=True)
class DetectionMeasure:
    """found, photographs: counts; error: mean five-point error over the interocular distance, of the found (NaN if
    none); errors: by file name, None where the face was not found."""

    found: int
    photographs: int
    error: float
    errors: dict[str, float | None]


@dataclass(frozen=True)
class Aflw2000Measure:
    """NME in %. true_boxes: with the true points' boxes. own_boxes: with the detector's, of the photographs whose face
    was found (None if there are none); found: (N,) which."""

    true_boxes: Aflw2000Evaluation
    own_boxes: Aflw2000Evaluation | None
    found: NDArray[np.bool_]


def measure_aflw2000(
    folder: Path, weights: Path | None = None, detector_weights: Path | None = None
) -> Aflw2000Measure:
    """Print the 68-point NME (%) of the landmark network on a folder in AFLW2000-3D's layout, and return it.

    Once with the true points' tight boxes, once with those of our own detector, which is asked as the pipeline does; a
    face is found if the box of the main face overlaps the true one by half.
    Beside means the largest error and the 95 % bootstrap interval of the mean over photographs. Weights: None takes
    those carried. Raises InputError as `read_aflw2000` does.
    """
    photographs = read_aflw2000(Path(folder))
    finder = FaceFinder.load({"landmarks": weights, "detector": detector_weights})
    from_true, from_own, truth, found = [], [], [], []
    for photograph in track(photographs, "AFLW2000-3D landmarks", len(photographs)):
        points = photograph.landmarks[:, :2]
        image = read_image(photograph.path)
        from_true.append(finder.predict(image, points_box(points)).points)
        boxes = [each.box for each in finder.detect(image)]
        own = boxes[main_face(boxes, image.shape)] if boxes else None
        found.append(own is not None and _overlaps(own, points_box(points)))
        from_own.append(finder.predict(image, own).points if found[-1] else np.full((68, 2), np.nan))
        truth.append(points)
    yaw = np.array([photograph.yaw for photograph in photographs])
    evaluation = evaluate_aflw2000(np.array(from_true), np.array(truth), yaw)
    known = np.array(found, bool)
    own_evaluation = None
    if known.any():
        own_evaluation = evaluate_aflw2000(np.array(from_own)[known], np.array(truth)[known], yaw[known])
    own_errors = np.full(len(known), np.nan)
    if own_evaluation is not None:
        own_errors[known] = own_evaluation.per_image
    for photograph, error, own_error in zip(photographs, evaluation.per_image, own_errors, strict=True):
        beside = f"own box {own_error:5.2f} %" if np.isfinite(own_error) else "not found"
        print(f"{photograph.path.name}  yaw {photograph.yaw:6.1f}  NME {error:5.2f} %  {beside}")
    _print_aflw2000("true boxes", evaluation)
    print(f"own boxes: found {known.sum()} of {len(known)}")
    if own_evaluation is not None:
        _print_aflw2000("own boxes", own_evaluation)
    return Aflw2000Measure(evaluation, own_evaluation, known)


def _print_aflw2000(boxes: str, evaluation: Aflw2000Evaluation) -> None:
    for name, error in evaluation.bins.items():
        print(f"{boxes}, |yaw| {name}: NME {error:.2f} % ({evaluation.counts[name]} photographs)")
    print(f"{boxes}, mean of the yaw bins: NME {evaluation.mean:.2f} % (std {evaluation.std:.2f})")
    low, high = mean_interval(evaluation.per_image)
    worst = evaluation.per_image.max()
    print(
        f"{boxes}, mean of the photographs: NME {evaluation.mean_over_images:.2f} % "
        f"[{low:.2f}, {high:.2f}], largest {worst:.2f} %"
    )


def measure_detection(
    folder: Path, detector_weights: Path | None = None, landmark_weights: Path | None = None
) -> DetectionMeasure:
    """Print how many portraits' faces are found and how far five points are off, and return it.

    folder: pictures NAME.jpg or NAME.png, each with NAME.txt: five lines `x y`, pixels: centre of the eye on the
    image's left and on its right, nose tip, mouth corner on the left and on the right. A face is found if the box of
    the main face that the pipeline finds holds the middle of the true points and its longer side is 1.3 to 4.5 times
    as long as the eyes' centres lie apart. Weights: None takes those carried.
    Raises InputError if the folder has no such pictures or a .txt is not five points.
    """
    pictures = marked_pictures(folder)
    finder = FaceFinder.load({"detector": detector_weights, "landmarks": landmark_weights})
    errors: dict[str, float | None] = {}
    for path in track(pictures, "detection", len(pictures)):
        truth, image = _read_points(path.with_suffix(".txt")), read_image(path)
        boxes = [each.box for each in finder.detect(image)]
        errors[path.name] = None
        if boxes and _fits(box := boxes[main_face(boxes, image.shape)], truth):
            five = five_points(finder.predict(image, box).points)
            errors[path.name] = five_point_error(five, truth)
    known = [error for error in errors.values() if error is not None]
    for name, error in errors.items():
        print(f"{name}  " + ("not found" if error is None else f"five-point error {100 * error:.1f} %"))
    mean = float(np.mean(known)) if known else float("nan")
    low, high = mean_interval(np.array(known)) if known else (float("nan"), float("nan"))
    worst = max(known, default=float("nan"))
    print(
        f"found {len(known)} of {len(errors)}; mean five-point error {100 * mean:.2f} % of the eye distance "
        f"[{100 * low:.2f}, {100 * high:.2f}], largest {100 * worst:.1f} %"
    )
    return DetectionMeasure(len(known), len(errors), mean, errors)


def marked_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder that have five points beside them. Raises InputError if there are none."""
    pictures = [path for path in sorted(Path(folder).glob("*")) if path.suffix.lower() in _IMAGE_SUFFIXES]
    pictures = [path for path in pictures if path.with_suffix(".txt").is_file()]
    if not pictures:
        raise InputError(f"{folder}: no pictures with a .txt of five points beside them; give a folder that has some")
    return pictures


def five_points(landmarks: NDArray) -> NDArray[np.float64]:
    """Eye centres, nose tip and mouth corners (5, 2), the image's left first, from 68 landmarks (68, 2)."""
    landmarks = np.asarray(landmarks, np.float64)
    eyes = [landmarks[eye].mean(0) for eye in _EYES]
    return np.array([*eyes, landmarks[_NOSE_TIP], *landmarks[_MOUTH_CORNERS]])


def five_point_error(predicted: NDArray, truth: NDArray) -> float:
    """Mean distance of (5, 2) points over the distance of the true eye centres. Raises ValueError if these coincide."""
    interocular = float(np.linalg.norm(truth[0] - truth[1]))
    if not interocular > 0:
        raise ValueError("the true eye centres coincide")
    return float(np.linalg.norm(predicted - truth, axis=1).mean()) / interocular


def _read_points(path: Path) -> NDArray[np.float64]:
    try:
        points = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], float)
    except ValueError:  # words, uneven lines, or not text at all
        points = np.empty(0)
    if points.shape != (5, 2) or not np.isfinite(points).all() or np.allclose(points[0], points[1]):
        raise InputError(f"{path}: not five lines of x and y; write eye centres, nose tip and mouth corners")
    return points


def _overlaps(box: NDArray, truth: NDArray) -> bool:
    return bool(intersection_over_union(box, truth[None])[0] >= FOUND_OVERLAP)


def _fits(box: NDArray, five: NDArray) -> bool:
    """Whether a box can be that of the face with these five points."""
    side = (box[2:] - box[:2]).max() / np.linalg.norm(five[0] - five[1])
    centre = five.mean(0)
    return bool((box[:2] <= centre).all() and (centre <= box[2:]).all() and _SIDE[0] <= side <= _SIDE[1])
