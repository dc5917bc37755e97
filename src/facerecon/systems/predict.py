"""`facerecon predict now`: a neutral face for each image of a NoW benchmark folder.

Writes OUT/<subject>/<challenge>/<image>.ply (mm, head frame) and <image>.npy with its seven landmarks (7, 3), and
OUT/failures.csv (image, reason) for the images without a prediction. Systems: mean_face (the model's mean for all),
oracle (best fit of the identity basis to the subject's scan: a yardstick, not a prediction) and the trained ones.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facerecon.artefacts import atomic_folder, sha256_file
from facerecon.data.adapters import now as now_rows
from facerecon.data.images import read_image
from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_folder import CONTENT_HASH_FILE, NowImage, read_cropped_scan, read_image_list
from facerecon.geometry.mesh_files import write_ply
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.storage import load_face_model
from facerecon.networks.weights import weights_file
from facerecon.preprocess.face import FaceFinder, find_face
from facerecon.progress import Progress
from facerecon.provenance import provenance_record, write_folder
from facerecon.systems.oracle import fit_identity
from facerecon.systems.registry import SYSTEMS, TrainedSystem, load_trained_system

PREDICTORS = ("mean_face", "oracle", *SYSTEMS)
FAILURES_FILE = "failures.csv"

Predicted = tuple[NowImage, NDArray | None, str]
"""An image and its neutral vertices (V, 3) in mm, or None and the reason why there are none."""


def predict_now(
    system: str,
    weights: str | os.PathLike | None,
    benchmark: str | os.PathLike,
    out: str | os.PathLike,
    face_model: str | os.PathLike | None = None,
    batch_size: int = 16,
    finder: FaceFinder | None = None,
) -> None:
    """Predict all images of a benchmark with `system`, one of PREDICTORS, into the folder `out`, which is replaced.

    weights: of a trained system: a file, or None or "carried" for those of the package. face_model: None is the open
    model. finder: finds faces, None loads the carried networks.
    Raises InputError if the benchmark or weights cannot be read, or no image at all could be predicted.
    """
    if system not in PREDICTORS:
        raise InputError(f"no system is named {system!r}; choose from {', '.join(PREDICTORS)}")
    benchmark, model = Path(benchmark), load_face_model(face_model, level=1)
    images = read_image_list(benchmark)
    inputs = {"face_model": model.sha256}
    if (content_hash := benchmark / CONTENT_HASH_FILE).is_file():
        inputs["benchmark"] = content_hash.read_text(encoding="ascii").strip()
    if system == "mean_face":
        predictions = ((image, model.mean.numpy(), "") for image in images)
    elif system == "oracle":
        predictions = _oracle_predictions(benchmark, images, model)
    else:
        file = weights_file(system, weights)
        trained, _ = load_trained_system(system, file, model)
        inputs["weights"] = sha256_file(file)
        finder = finder or FaceFinder.load()
        inputs |= finder.sha256
        predictions = _system_predictions(trained, benchmark, images, model, finder, batch_size)
    with atomic_folder(out) as folder:
        failures = _write(predictions, len(images), folder, model, system)
        if len(failures) == len(images):
            raise InputError(f"{benchmark}: none of {len(images)} images could be predicted: {failures[0][1]}")
        with open(folder / FAILURES_FILE, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("image", "reason"), *failures])
        write_folder(folder, provenance_record(f"predict.{system}", {"batch_size": batch_size}, inputs=inputs))


def _write(
    predictions: Iterator[Predicted], count: int, folder: Path, model: FaceModel, system: str
) -> list[tuple[str, str]]:
    """Write meshes and landmarks; the failures as (image, reason)."""
    failures: list[tuple[str, str]] = []
    progress = Progress(f"predict {system}", count)
    landmark_indices = list(model.topology.landmark7_indices)
    for image, vertices, reason in predictions:
        progress.advance(1, f"{len(failures)} failed" if failures else "")
        if vertices is None:
            failures.append((str(image), reason))
            continue
        vertices = np.asarray(vertices, np.float32)
        landmarks = model.landmarks(torch.from_numpy(vertices)[None])[0, landmark_indices].numpy()
        place = folder / image.subject / image.challenge
        place.mkdir(parents=True, exist_ok=True)
        write_ply(place / f"{image.stem}.ply", vertices, model.topology.triangles)
        np.save(place / f"{image.stem}.npy", landmarks)
    return failures


def _oracle_predictions(benchmark: Path, images: list[NowImage], model: FaceModel) -> Iterator[Predicted]:
    fits: dict[str, NDArray] = {}
    for image in images:
        if image.subject not in fits:
            scan = read_cropped_scan(benchmark, image.subject)
            fits[image.subject] = fit_identity(scan.points, scan.landmarks, model).vertices
        yield image, fits[image.subject], ""


def _system_predictions(
    system: TrainedSystem,
    benchmark: Path,
    images: list[NowImage],
    model: FaceModel,
    finder: FaceFinder,
    batch_size: int,
) -> Iterator[Predicted]:
    """Faces found and cropped image by image, identities predicted in batches, in the list's order."""
    paths = {row.id: row.path for row in now_rows(benchmark, "now")}
    mean_landmarks = model.landmarks(model.mean[None])[0].numpy()
    for start in range(0, len(images), batch_size):
        crops: list[NDArray[np.uint8]] = []
        results: list[tuple[NowImage, str]] = []
        for image in images[start : start + batch_size]:
            path = paths[f"{image.subject}/{image.challenge}/{image.stem}"]
            try:
                photograph = read_image(path)
                crops.append(find_face(photograph, finder, mean_landmarks).crop.warp(photograph))
                results.append((image, ""))
            except InputError as error:
                results.append((image, str(error)))
        vertices = iter(_neutral_faces(system, crops, model) if crops else ())
        for image, reason in results:
            yield image, None if reason else next(vertices), reason


@torch.no_grad()
def _neutral_faces(system: TrainedSystem, crops: list[NDArray[np.uint8]], model: FaceModel) -> NDArray:
    identity = system.predict(np.stack(crops)).identity
    neutral = torch.zeros(len(identity), model.dimensions["expression"])
    return model.decode(identity, neutral).numpy()
