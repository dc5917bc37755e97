"""Stage `shard`: crops, labels, landmarks, fits and recognition features joined by image id into one file.

Reads the manifest and the landmarks, masks and fit tables; writes a table of kind "shard" (docs/data.md).
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.data.adapters import GROUND_TRUTH_FILE, read_true_shapes
from facerecon.data.images import decode_image, encode_jpeg, read_image
from facerecon.data.manifest import ManifestRow, read_rows
from facerecon.data.shards import SHARD_KIND
from facerecon.data.tables import Rejection, Table, read_table, write_table
from facerecon.errors import InputError
from facerecon.geometry.crop import CropTransform
from facerecon.networks.recognition import EMBEDDING
from facerecon.preprocess.records import stage_record
from facerecon.preprocess.rejection import check_rejected
from facerecon.progress import track

STAGE = "shard"
JPEG_QUALITY = 93

EmbedFaces = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Standard crops (B, 224, 224, 3) uint8 sRGB -> unit recognition features (B, D) float32."""


def load_embedder(weights: str | os.PathLike | None = None) -> EmbedFaces:
    """The recognition network as a function; None means the carried weights."""
    import torch

    from facerecon.networks.convolutions import to_tensor
    from facerecon.networks.recognition import load_recognition, recognition_crop

    network = load_recognition(weights)

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network.embed(recognition_crop(to_tensor(crops))).numpy()

    return embed


def run(
    manifest: str | os.PathLike,
    landmarks: str | os.PathLike,
    masks: str | os.PathLike,
    fit: str | os.PathLike,
    out: str | os.PathLike,
    weights: Mapping[str, str | os.PathLike | None] | None = None,
    max_rejected_fraction: float = 0.25,
    embed: EmbedFaces | None = None,
) -> None:
    """Write the shard of the images that all three tables hold.

    weights: file of the network `recognition`; None means the carried one. embed: used in its stead. Features are those
    of the stored (JPEG) crop. The rejected table says which stage left out what.
    Raises InputError if an input cannot be read, the tables do not belong together, or too many images are rejected.
    """
    points, labels, fits = read_table(landmarks, "landmarks"), read_table(masks, "masks"), read_table(fit, "fit")
    if len({table.attributes["face_model_sha256"] for table in (points, labels, fits)}) > 1:
        raise InputError(f"{fit}: made with another face model than {landmarks} or {masks}; run all stages with one")
    known = set(points.ids)
    for path, table in ((masks, labels), (fit, fits)):
        if not known.issuperset(table.ids):
            raise InputError(f"{path}: holds images that {landmarks} has not; they belong to different shards")
    rows = read_rows(manifest, points.ids)
    weights = {} if embed else {"recognition": None, **(weights or {})}
    embed = embed or load_embedder(weights["recognition"])
    complete = set(labels.ids) & set(fits.ids)
    wanted = [name for name in points.ids if name in complete]
    rejected: list[Rejection] = []
    ids: list[str] = []
    images: list[bytes] = []
    features: list[NDArray[np.float32]] = []
    for name, row in track(zip(wanted, labels.rows(wanted), strict=True), "shard", len(wanted)):
        transform = _transform(labels, int(row))
        if name not in rows:
            raise InputError(f"{manifest}: has no row of {name}, which {landmarks} has; they belong to different runs")
        try:
            image = read_image(rows[name].path)
        except InputError as error:
            rejected.append(Rejection(name, STAGE, str(error).rpartition(": ")[2]))
            continue
        images.append(encode_jpeg(transform.warp(image), JPEG_QUALITY))
        features.append(embed(decode_image(images[-1], name)[None])[0])
        ids.append(name)
    check_rejected(rejected, len(wanted), max_rejected_fraction, str(landmarks))
    table = _joined(ids, points, labels, fits)
    _take_true_shapes(table, rows, fits.attributes["face_model_sha256"])
    table.columns["feature"] = np.array(features, np.float32).reshape(len(ids), -1 if ids else EMBEDDING)
    table.blobs["image"] = images
    table.rejected = _merged([*points.rejected, *labels.rejected, *fits.rejected, *rejected])
    table.attributes = {"face_model_sha256": fits.attributes["face_model_sha256"]}
    table.attributes |= stage_record(
        f"preprocess.{STAGE}",
        {"max_rejected_fraction": max_rejected_fraction},
        {"manifest": manifest, "landmarks": landmarks, "masks": masks, "fit": fit},
        weights,
    )
    write_table(out, table)


def _joined(ids: list[str], points: Table, labels: Table, fits: Table) -> Table:
    """The columns of the three tables for `ids`, landmarks in crop pixels."""
    table = Table(SHARD_KIND, ids)
    of_points, of_labels, of_fits = points.rows(ids), labels.rows(ids), fits.rows(ids)
    for name in ("dataset", "split", "subject", "confidence"):
        table.columns[name] = points.columns[name][of_points]
    scale, offset = labels.columns["crop_scale"][of_labels], labels.columns["crop_offset"][of_labels]
    table.columns["crop_scale"], table.columns["crop_offset"] = scale.astype(np.float32), offset.astype(np.float32)
    landmarks = points.columns["landmarks"][of_points] * scale[:, None, None] + offset[:, None]
    table.columns["landmarks"] = landmarks.astype(np.float32)
    for name in ("identity", "expression", "rotation", "translation", "residual"):
        table.columns[name] = fits.columns[name][of_fits]
    table.blobs["labels"] = [labels.blobs["labels"][row] for row in of_labels]
    return table


def _take_true_shapes(table: Table, rows: Mapping[str, ManifestRow], face_model: str) -> None:
    """Put the true identity and expression in place of the fitted ones where the manifest knows them, in place.

    Only the generator of synthetic photographs knows coefficients. Truth of another face model is not used. Column
    `true_shape` tells which rows have it.
    """
    truths: dict[str, dict[str, NDArray] | None] = {}
    known = np.zeros(len(table.ids), bool)
    for number, name in enumerate(table.ids):
        path = rows[name].mesh
        if Path(path).name != GROUND_TRUTH_FILE:
            continue
        if path not in truths:
            truths[path] = read_true_shapes(Path(path), face_model)
        truth = truths[path]
        if truth is not None:
            row = json.loads(rows[name].extra)["row"]
            table.columns["identity"][number] = truth["identity"][row]
            table.columns["expression"][number] = truth["expression"][row]
            known[number] = True
    table.columns["true_shape"] = known


def _merged(rejected: list[Rejection]) -> list[Rejection]:
    """One line an image: the first stage that left it out."""
    return list({row.id: row for row in reversed(rejected)}.values())[::-1]


def _transform(labels: Table, row: int) -> CropTransform:
    offset = labels.columns["crop_offset"][row]
    return CropTransform(float(labels.columns["crop_scale"][row]), (float(offset[0]), float(offset[1])))
