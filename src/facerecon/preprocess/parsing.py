"""Stage `parsing`: a class for every pixel of each standard crop.

Reads the manifest and a landmarks table; writes a table of kind "masks" (docs/data.md): id, crop_scale, crop_offset and
the label maps as PNG bytes.
"""

import os
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from facerecon.data.images import encode_png, read_image
from facerecon.data.manifest import read_rows
from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.data.tables import Rejection, Table, read_table, write_table
from facerecon.errors import InputError
from facerecon.geometry.crop import CropTransform, crop_transforms
from facerecon.morphable.storage import load_face_model
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.preprocess.records import stage_record
from facerecon.preprocess.rejection import check_rejected
from facerecon.progress import track

STAGE = "parsing"
MASKS_KIND = "masks"
FACE_LEAST = 0.03
"""Fraction of the crop that facial skin must cover; a face covers a fifth."""

_FACIAL = [PARSING_CLASSES.index(name) for name in ("skin", "nose", "l_eye", "r_eye", "u_lip", "l_lip", "mouth")]

ParseFace = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Standard crop (S, S, 3) uint8 sRGB -> parsing classes (S, S) uint8."""


def load_parser(weights: str | os.PathLike | None = None) -> ParseFace:
    """The parsing network as a function; None means the carried weights."""
    from facerecon.networks.parsing import load_parsing, parse_face

    network = load_parsing(weights)
    return lambda crop: parse_face(crop, network)


def run(
    manifest: str | os.PathLike,
    landmarks: str | os.PathLike,
    out: str | os.PathLike,
    weights: Mapping[str, str | os.PathLike | None] | None = None,
    max_rejected_fraction: float = 0.25,
    face_model: str | os.PathLike | None = None,
    parse: ParseFace | None = None,
) -> None:
    """Write the label maps of the images of a landmarks table.

    weights: file of the network `parsing`; None means the carried one. parse: used in its stead.
    A crop in which no face is seen, or a photograph that has become unreadable, is rejected with its reason.
    Raises InputError if an input cannot be read, does not match the others, or too many images are rejected.
    """
    source = read_table(landmarks, "landmarks")
    rows = read_rows(manifest, source.ids)
    weights = {} if parse else {"parsing": None, **(weights or {})}
    parse = parse or load_parser(weights["parsing"])
    mean = LandmarkBasis.of(load_face_model(face_model)).mean.numpy()
    scales, offsets = crop_transforms(source.columns["landmarks"], mean)
    kept: list[int] = []
    encoded: list[bytes] = []
    rejected: list[Rejection] = []
    for index, name in enumerate(track(source.ids, "parsing", len(source.ids))):
        if name not in rows:
            raise InputError(f"{manifest}: has no row of {name}, which {landmarks} has; they belong to different runs")
        try:
            image = read_image(rows[name].path)
        except InputError as error:
            rejected.append(Rejection(name, STAGE, str(error).rpartition(": ")[2]))
            continue
        labels = parse(CropTransform(float(scales[index]), tuple(offsets[index].tolist())).warp(image))
        if np.isin(labels, _FACIAL).mean() < FACE_LEAST:
            rejected.append(Rejection(name, STAGE, "no face is seen in the crop"))
            continue
        kept.append(index)
        encoded.append(encode_png(labels))
    check_rejected(rejected, len(source.ids), max_rejected_fraction, str(landmarks))
    table = Table(
        MASKS_KIND,
        [source.ids[index] for index in kept],
        {"crop_scale": scales[kept].astype(np.float64), "crop_offset": offsets[kept].astype(np.float64)},
        {"labels": encoded},
        [*source.rejected, *rejected],
    )
    table.attributes = {"face_model_sha256": source.attributes["face_model_sha256"]}
    table.attributes |= stage_record(
        f"preprocess.{STAGE}",
        {"max_rejected_fraction": max_rejected_fraction},
        {"manifest": manifest, "landmarks": landmarks},
        weights,
    )
    write_table(out, table)
