"""How well the detector and the landmark network do on real photographs with known points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.data.images import read_image
from facerecon.errors import InputError
from facerecon.evaluate.geometric.aflw2000 import Aflw2000Evaluation, evaluate_aflw2000, read_aflw2000
from facerecon.networks.detector import detect_faces, load_detector
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import load_landmark_network, predict_landmarks
from facerecon.progress import track

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_EYES = (slice(36, 42), slice(42, 48))
_NOSE_TIP, _MOUTH_CORNERS = 30, [48, 54]


@dataclass(frozen=True)
class DetectionMeasure:
    """found, photographs: counts; error: mean five-point error over the interocular distance, of the found (NaN if
    none); errors: by file name, None where the face was not found."""

    found: int
    photographs: int
    error: float
    errors: dict[str, float | None]


def measure_aflw2000(
    folder: Path, weights: Path | None = None, refinements: int = 1, flip: bool = True
) -> Aflw2000Evaluation:
    """Print the 68-point NME (%) of the landmark network on a folder in AFLW2000-3D's layout, and return it.

    Boxes are the true points' tight boxes. weights: of the landmark network (None: those carried). refinements, flip:
    as in `networks.landmarks.predict_landmarks`. Raises InputError as `read_aflw2000` does.
    """
    photographs = read_aflw2000(Path(folder))
    network = load_landmark_network(weights)
    predicted, truth = [], []
    for photograph in track(photographs, "AFLW2000-3D landmarks", len(photographs)):
        points = photograph.landmarks[:, :2]
        image = read_image(photograph.path)
        predicted.append(predict_landmarks(image, points_box(points), network, refinements, flip).points)
        truth.append(points)
    yaw = np.array([photograph.yaw for photograph in photographs])
    evaluation = evaluate_aflw2000(np.array(predicted), np.array(truth), yaw)
    for photograph, error in zip(photographs, evaluation.per_image, strict=True):
        print(f"{photograph.path.name}  yaw {photograph.yaw:6.1f}  NME {error:5.2f} %")
    for name, error in evaluation.bins.items():
        print(f"|yaw| {name}: NME {error:.2f} % ({evaluation.counts[name]} photographs)")
    print(f"mean of the yaw bins: NME {evaluation.mean:.2f} % (std {evaluation.std:.2f})")
    print(f"mean of the photographs: NME {evaluation.mean_over_images:.2f} %")
    return evaluation


def measure_detection(
    folder: Path, detector_weights: Path | None = None, landmark_weights: Path | None = None
) -> DetectionMeasure:
    """Print how many portraits' faces are found and how far five points are off, and return it.

    folder: pictures NAME.jpg or NAME.png, each with NAME.txt: five lines `x y`, pixels: centre of the eye on the
    image's left and on its right, nose tip, mouth corner on the left and on the right. A face is found
    if the best detection's box holds the middle of the true points. Weights: None takes those carried.
    Raises InputError if the folder has no such pictures or a .txt is not five points.
    """
    pictures = [path for path in sorted(Path(folder).glob("*")) if path.suffix.lower() in _IMAGE_SUFFIXES]
    pictures = [path for path in pictures if path.with_suffix(".txt").is_file()]
    if not pictures:
        raise InputError(f"{folder}: no pictures with a .txt of five points beside them; give a folder that has some")
    detector, network = load_detector(detector_weights), load_landmark_network(landmark_weights)
    errors: dict[str, float | None] = {}
    for path in track(pictures, "detection", len(pictures)):
        truth, image = _read_points(path.with_suffix(".txt")), read_image(path)
        detections = detect_faces(image, detector, verifier=network)
        errors[path.name] = None
        if detections and _holds(detections[0].box, truth.mean(0)):
            five = five_points(predict_landmarks(image, detections[0].box, network).points)
            errors[path.name] = five_point_error(five, truth)
    known = [error for error in errors.values() if error is not None]
    for name, error in errors.items():
        print(f"{name}  " + ("not found" if error is None else f"five-point error {100 * error:.1f} %"))
    mean = float(np.mean(known)) if known else float("nan")
    print(f"found {len(known)} of {len(errors)}; mean five-point error {100 * mean:.2f} % of the eye distance")
    return DetectionMeasure(len(known), len(errors), mean, errors)


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


def _holds(box: NDArray, point: NDArray) -> bool:
    return bool((box[:2] <= point).all() and (point <= box[2:]).all())
