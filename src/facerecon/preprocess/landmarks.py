"""Stage `landmarks`: the face and its 68 landmarks in each photograph of a shard.

Reads manifest rows; writes a table of kind "landmarks" (docs/data.md): id, dataset, split, subject, box, score, faces,
landmarks, expected_error, confidence, image_size.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facerecon.data.images import read_image
from facerecon.data.manifest import ManifestRow, read_shard
from facerecon.data.tables import Rejection, Table, encode_strings, write_table
from facerecon.errors import InputError
from facerecon.morphable.storage import face_model_sha256, load_face_model
from facerecon.preprocess.face import Face, FaceFinder, find_face
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.preprocess.records import stage_record
from facerecon.preprocess.rejection import check_rejected
from facerecon.progress import track

STAGE = "landmarks"


def run(
    manifest: str | os.PathLike,
    shard: int,
    shard_size: int,
    out: str | os.PathLike,
    weights: Mapping[str, str | os.PathLike | None] | None = None,
    max_rejected_fraction: float = 0.25,
    face_model: str | os.PathLike | None = None,
    finder: FaceFinder | None = None,
) -> None:
    """Write the landmarks of rows shard * shard_size onward, up to shard_size of them.

    weights: files of the networks `detector` and `landmarks`; None means those carried. finder: used in their stead.
    face_model: None means the open model. An image without a usable face goes to the rejected table with its reason.
    Raises InputError if the manifest or weights cannot be read, or too many images are rejected.
    """
    rows = read_shard(manifest, shard, shard_size)
    weights = {} if finder else {"detector": None, "landmarks": None, **(weights or {})}
    finder = finder or FaceFinder.load(weights)
    mean = LandmarkBasis.of(load_face_model(face_model)).mean.numpy()
    found: list[tuple[ManifestRow, Face, tuple[int, int]]] = []
    rejected: list[Rejection] = []
    for row in track(rows, f"landmarks of shard {shard}", len(rows)):
        try:
            image = read_image(row.path)
            found.append((row, find_face(image, finder, mean), image.shape[:2]))
        except InputError as error:
            rejected.append(Rejection(row.id, STAGE, _named(str(error), row.path)))
    check_rejected(rejected, len(rows), max_rejected_fraction, f"{manifest}, shard {shard}")
    table = _table(found, rejected)
    table.attributes = {"face_model_sha256": face_model_sha256(face_model)}
    table.attributes |= stage_record(
        f"preprocess.{STAGE}",
        {"shard": shard, "shard_size": shard_size, "max_rejected_fraction": max_rejected_fraction},
        {"manifest": manifest},
        weights,
    )
    write_table(out, table)


def _named(message: str, path: str) -> str:
    """The reason with the file's name alone: folders differ between machines, tables must not."""
    return message.replace(path, Path(path).name)


def _table(found: list[tuple[ManifestRow, Face, tuple[int, int]]], rejected: list[Rejection]) -> Table:
    """The table of what was found, which may be nothing."""
    columns = {
        name: encode_strings([getattr(row, name) for row, _, _ in found]) for name in ("dataset", "split", "subject")
    }
    for name, shape in (("box", (4,)), ("landmarks", (68, 2)), ("expected_error", (68,)), ("confidence", (68,))):
        columns[name] = np.array([getattr(face, name) for _, face, _ in found], np.float32).reshape(-1, *shape)
    columns["score"] = np.array([face.score for _, face, _ in found], np.float32)
    columns["faces"] = np.array([face.faces for _, face, _ in found], np.int32)
    columns["image_size"] = np.array([size for _, _, size in found], np.int32).reshape(-1, 2)
    return Table(STAGE, [row.id for row, _, _ in found], columns, rejected=rejected)
