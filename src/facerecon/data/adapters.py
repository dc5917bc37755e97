"""Data set layouts: each adapter lists the images of one folder as manifest rows.

An adapter reads names and small index files only; the images themselves are opened by the first stage, which rejects
the unreadable ones with their reason.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
from numpy.typing import NDArray

from facerecon.data.images import IMAGE_SUFFIXES
from facerecon.errors import InputError

VALIDATION_PERCENT = 5
GROUND_TRUTH_FILE = "ground_truth.h5"
"""What a folder of synthetic photographs keeps its ground truth in."""


@dataclass(frozen=True)
class ManifestRow:
    """One image. Empty text where a column is unknown.

    id: unique. split: train, validation or test. subject: who is pictured. landmarks, labels, mesh: files of ground
    truth. extra: JSON object with what else the adapter knows.
    """

    id: str
    dataset: str
    split: str
    path: str
    subject: str = ""
    landmarks: str = ""
    labels: str = ""
    mesh: str = ""
    extra: str = ""


def held_out_split(subject: str) -> str:
    """train or validation: 5 % of the subjects are held out, by a checksum of their name, on every machine alike."""
    return "validation" if zlib.crc32(subject.encode()) % 100 < VALIDATION_PERCENT else "train"


def read_true_shapes(path: Path, face_model_sha256: str) -> dict[str, NDArray] | None:
    """Columns identity (N, 80) and expression (N, 64) of a synthetic ground truth, or None if of another face model.

    Raises InputError if the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["face_model_sha256"] != face_model_sha256:
                return None
            return {name: file[name][()] for name in ("identity", "expression")}
    except (OSError, KeyError):
        raise InputError(f"{path}: missing or not synthetic ground truth; write it with `data synthesize`") from None


def synthetic(folder: Path, name: str) -> list[ManifestRow]:
    """Synthetic photographs: images/<id>.jpg, labels/<id>.png and ground_truth.h5 with one row an image."""
    truth = folder / GROUND_TRUTH_FILE
    try:
        with h5py.File(truth, "r") as file:
            ids = [value.decode() for value in file["id"][()].tolist()]
            subjects = file["subject"][()].tolist()
    except (OSError, KeyError):
        raise InputError(f"{truth}: missing or not synthetic ground truth; write it with `data synthesize`") from None
    images = {path.stem: path for path in _images(folder / "images")}
    rows = []
    for number, (image, subject) in enumerate(zip(ids, subjects, strict=True)):
        if image not in images:
            raise InputError(f"{folder / 'images'}: has no image of {image}, which {truth.name} lists")
        labels = folder / "labels" / f"{image}.png"
        rows.append(
            ManifestRow(
                id=image,
                dataset=name,
                split=held_out_split(str(subject)),
                path=str(images[image]),
                subject=str(subject),
                landmarks=str(truth),
                labels=str(labels) if labels.exists() else "",
                mesh=str(truth),
                extra=json.dumps({"row": number}),
            )
        )
    return rows


def folder(folder: Path, name: str) -> list[ManifestRow]:
    """Any folder of photographs, searched wholly; the id is the path below it without its suffix."""
    rows = []
    for path in _images(folder, recursive=True):
        identifier = path.relative_to(folder).with_suffix("").as_posix()
        rows.append(ManifestRow(identifier, name, held_out_split(identifier), str(path)))
    return rows


def now(folder: Path, name: str) -> list[ManifestRow]:
    """The NoW benchmark: images of imagepathsvalidation.txt and imagepathstest.txt, with scans where they are given."""
    release = folder / "NoW_Dataset" / "final_release_version"
    release = release if release.is_dir() else folder
    rows = []
    for split in ("validation", "test"):
        image_list = next((d / f"imagepaths{split}.txt" for d in (folder, release) if _has(d, split)), None)
        for line in _lines(image_list) if image_list else []:
            parts = line.split("/")
            if len(parts) != 3:
                raise InputError(f"{image_list}: line {line!r} is not subject/challenge/image")
            scans = sorted((folder / "scans" / parts[0]).glob("*.obj"))
            points = sorted((folder / "scans_lmks_onlypp" / parts[0]).glob("*.pp"))
            rows.append(
                ManifestRow(
                    id=Path(line).with_suffix("").as_posix(),
                    dataset=name,
                    split=split,
                    path=str(release / "iphone_pictures" / line),
                    subject=parts[0],
                    landmarks=str(points[0]) if points else "",
                    mesh=str(scans[0]) if scans else "",
                    extra=json.dumps({"challenge": parts[1]}),
                )
            )
    if not rows:
        raise InputError(f"{folder}: has neither imagepathsvalidation.txt nor imagepathstest.txt with images")
    return rows


def aflw2000(folder: Path, name: str) -> list[ManifestRow]:
    """AFLW2000-3D: imageNNNNN.jpg beside imageNNNNN.mat."""
    rows = []
    for path in _images(folder):
        truth = path.with_suffix(".mat")
        if not truth.exists():
            raise InputError(f"{truth}: is missing; AFLW2000-3D has a .mat file beside each image")
        rows.append(ManifestRow(path.stem, name, "test", str(path), landmarks=str(truth)))
    return rows


ADAPTERS: dict[str, Callable[[Path, str], list[ManifestRow]]] = {
    "synthetic": synthetic,
    "folder": folder,
    "now": now,
    "aflw2000": aflw2000,
}


def _images(folder: Path, recursive: bool = False) -> list[Path]:
    """Image files of a folder, sorted by path; PermissionError if any part of it cannot be listed."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            found += _images(path, recursive=True) if recursive else []
        elif path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            found.append(path)
    return found


def _has(folder: Path, split: str) -> bool:
    return (folder / f"imagepaths{split}.txt").is_file()


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
