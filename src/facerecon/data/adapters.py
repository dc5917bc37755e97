"""Data set layouts: each adapter lists the images of one folder as manifest rows; `list_images` a whole data set.

An adapter reads names and small index files only; the images themselves are opened by the first stage, which rejects
the unreadable ones with their reason.
"""

import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import h5py
from numpy.typing import NDArray

from facerecon.data.images import IMAGE_SUFFIXES
from facerecon.data.tables import refusal
from facerecon.errors import InputError

VALIDATION_PERCENT = 5
GROUND_TRUTH_FILE = "ground_truth.h5"
"""What a folder of synthetic photographs keeps its ground truth in."""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image. Empty text where a column is unknown.

    id: unique in the data set. split: train, validation or test; adapters leave it empty where the layout has none.
    subject: who is pictured. landmarks, labels, mesh: files of ground truth. extra: JSON object with what else the
    adapter knows.
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


def list_images(adapter: str, name: str, folders: Sequence[str | os.PathLike]) -> list[ManifestRow]:
    """The images of a data set, in the order of its folders, with a split each and ids made distinct where they can be.

    adapter: key of ADAPTERS. name: of the data set. Raises InputError if a folder is missing, unreadable, empty or not
    of that layout, or if an image is listed twice.
    """
    listed: list[list[ManifestRow]] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: {'is not a folder' if folder.exists() else 'no such folder'}")
        try:
            listed.append(ADAPTERS[adapter](folder, name))
        except OSError as error:
            raise InputError(f"{error.filename or folder}: cannot be read ({error.strerror})") from None
        if not listed[-1]:
            raise InputError(f"{folder}: holds no images for the {adapter} adapter")
    rows = [row for part in listed for row in part]
    _refuse_repeated_images(rows)
    held = held_out({row.subject or row.id for row in rows if not row.split})
    splits = [row.split or ("validation" if (row.subject or row.id) in held else "train") for row in rows]
    ids = _distinct_ids(listed, [Path(os.path.abspath(folder)) for folder in folders])
    return [replace(row, id=own, split=split) for row, own, split in zip(rows, ids, splits, strict=True)]


def held_out(subjects: set[str]) -> set[str]:
    """Which of a data set's subjects (or images, where nobody knows the subject) are for validation.

    5 % by a checksum of their name, on every machine alike. Of two subjects or more at least one is held out and one is
    not: where the checksum would have none or all of them, the one with the smallest.
    """
    held = {subject for subject in subjects if _checksum(subject) % 100 < VALIDATION_PERCENT}
    if held and held != subjects:
        return held
    return {min(subjects, key=lambda subject: (_checksum(subject), subject))} if len(subjects) > 1 else set()


def read_true_shapes(path: Path, face_model_sha256: str) -> dict[str, NDArray] | None:
    """Columns identity (N, 80) and expression (N, 64) of a synthetic ground truth, or None if of another face model.

    Raises InputError if the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["face_model_sha256"] != face_model_sha256:
                return None
            return {name: file[name][()] for name in ("identity", "expression")}
    except (OSError, KeyError) as error:
        raise _no_truth(path, error) from None


def synthetic(folder: Path, name: str) -> list[ManifestRow]:
    """Synthetic photographs: images/<id>.jpg, labels/<id>.png and ground_truth.h5 with one row an image."""
    truth = folder / GROUND_TRUTH_FILE
    try:
        with h5py.File(truth, "r") as file:
            ids = [value.decode() for value in file["id"][()].tolist()]
            subjects = file["subject"][()].tolist()
    except (OSError, KeyError) as error:
        raise _no_truth(truth, error) from None
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
                split="",
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
        rows.append(ManifestRow(path.relative_to(folder).with_suffix("").as_posix(), name, "", str(path)))
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


def _distinct_ids(listed: Sequence[Sequence[ManifestRow]], folders: Sequence[Path]) -> list[str]:
    """Ids of the rows of each folder, all in one list; only those that would be there twice are changed.

    Images of one folder that differ in their suffix alone keep it; equal ids of several folders get the folder's name
    before them, or as many of the last parts of its path as tell the folders apart.
    """
    lists = []
    for rows in listed:
        counts = Counter(row.id for row in rows)
        lists.append([row.id + Path(row.path).suffix if counts[row.id] > 1 else row.id for row in rows])
    counts = Counter(own for ids in lists for own in ids)
    parts = next(n for n in count(1) if len({folder.parts[-n:] for folder in folders}) == len(set(folders)))
    names = ["/".join(part.strip("/") for part in folder.parts[-parts:]) for folder in folders]
    return [f"{name}/{own}" if counts[own] > 1 else own for name, ids in zip(names, lists, strict=True) for own in ids]


def _refuse_repeated_images(rows: Sequence[ManifestRow]) -> None:
    seen: set[str] = set()
    for row in rows:
        path = os.path.abspath(row.path)
        if path in seen:
            raise InputError(f"{row.path}: is listed twice; name each folder once, and none that lies in another")
        seen.add(path)


def _checksum(subject: str) -> int:
    return zlib.crc32(subject.encode())


def _no_truth(path: Path, error: Exception) -> InputError:
    absent = "missing or not synthetic ground truth; write it with `data synthesize`"
    return InputError(f"{path}: {absent if isinstance(error, FileNotFoundError) else refusal(error) or absent}")


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
