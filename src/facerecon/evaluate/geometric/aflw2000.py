"""Landmark accuracy on AFLW2000-3D (Zhu et al. 2016): the 68-point normalised mean error (NME) by yaw.

Published protocol: mean distance in the image plane over the 68 points, over the square root of the area of the true
points' box; photographs are binned by |yaw| as <= 30, (30, 60], > 60 degrees and `mean` and `std` are over the three
bin means. Some of the set's yaws are unwrapped (up to 351 degrees); the published protocol leaves them so.
Corrected: yaws wrapped to [-180, 180) before binning; `mean_over_images` beside.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from facerecon.errors import InputError

YAW_BINS = ("0-30", "30-60", "60-90")


@dataclass(frozen=True)
class Aflw2000Photograph:
    """path: of the picture; landmarks (68, 3): the file's pt3d_68, x and y in its pixels, y down; yaw: degrees, as the
    file gives it."""

    path: Path
    landmarks: NDArray[np.float64]
    yaw: float


@dataclass(frozen=True)
class Aflw2000Evaluation:
    """All NME in %. per_image (N,); bins: mean by yaw bin (NaN if empty); mean, std: over the bins that hold any
    photograph; mean_over_images."""

    per_image: NDArray[np.float64]
    bins: dict[str, float]
    counts: dict[str, int]
    mean: float
    std: float
    mean_over_images: float


def normalised_mean_error(predicted: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """Mean distance of (N, 68, 2) predicted and true points over sqrt(width height) of the true points' box: (N,).

    A fraction, not %. Raises ValueError if the shapes differ or a true box has no area.
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape or truth.ndim != 3 or truth.shape[2] != 2:
        raise ValueError(f"points must both be (N, P, 2), not {predicted.shape} and {truth.shape}")
    area = np.ptp(truth, axis=1).prod(1)
    if not (area > 0).all():
        raise ValueError("a true box has no area, so the error cannot be normalised")
    return np.linalg.norm(predicted - truth, axis=2).mean(1) / np.sqrt(area)


def evaluate_aflw2000(predicted: NDArray, truth: NDArray, yaw: NDArray, wrap_yaw: bool = False) -> Aflw2000Evaluation:
    """NME of N photographs by yaw bin.

    predicted, truth: (N, 68, 2) pixels. yaw: (N,) degrees. wrap_yaw: the corrected protocol.
    """
    errors = 100 * normalised_mean_error(predicted, truth)
    yaw = np.asarray(yaw, np.float64)
    if yaw.shape != errors.shape:
        raise ValueError(f"{len(errors)} photographs but yaws of shape {yaw.shape}")
    angle = np.abs((yaw + 180) % 360 - 180) if wrap_yaw else np.abs(yaw)
    members = dict(zip(YAW_BINS, (angle <= 30, (angle > 30) & (angle <= 60), angle > 60), strict=True))
    bins = {name: float(errors[inside].mean()) if inside.any() else float("nan") for name, inside in members.items()}
    filled = [value for value in bins.values() if np.isfinite(value)]
    return Aflw2000Evaluation(
        errors,
        bins,
        {name: int(inside.sum()) for name, inside in members.items()},
        float(np.mean(filled)) if filled else float("nan"),
        float(np.std(filled)) if filled else float("nan"),
        float(errors.mean()) if len(errors) else float("nan"),
    )


def read_aflw2000(folder: Path) -> list[Aflw2000Photograph]:
    """The photographs of a folder in AFLW2000-3D's layout (NAME.jpg with NAME.mat), sorted by name.

    Raises InputError if there are none, or a .mat file is damaged or lacks a field.
    """
    folder = Path(folder)
    pictures = [path for path in sorted(folder.glob("*.jpg")) if path.with_suffix(".mat").is_file()]
    if not pictures:
        raise InputError(f"{folder}: no pairs of .jpg and .mat; give a folder in AFLW2000-3D's layout")
    return [_read_photograph(path) for path in pictures]


def _read_photograph(path: Path) -> Aflw2000Photograph:
    matrix_file = path.with_suffix(".mat")
    try:
        fields = loadmat(matrix_file)
        landmarks = np.asarray(fields["pt3d_68"], np.float64).T
        yaw = float(np.degrees(np.asarray(fields["Pose_Para"]).ravel()[1]))
    except (OSError, ValueError, TypeError, NotImplementedError, LookupError, MatReadError, zlib.error):
        raise InputError(f"{matrix_file}: not a readable .mat file with pt3d_68 and Pose_Para; copy it again") from None
    if landmarks.shape != (68, 3) or not np.isfinite(landmarks).all():
        raise InputError(f"{matrix_file}: pt3d_68 is not 3 x 68 finite numbers; copy the file again")
    return Aflw2000Photograph(path, landmarks, yaw)
