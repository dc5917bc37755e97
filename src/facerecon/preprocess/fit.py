"""Stage `fit`: the face model fitted to each image's landmarks.

Reads a landmarks table; writes a table of kind "fit" (docs/data.md): id, identity, expression, rotation, translation
and residual, in the camera of the standard crop.
"""

import os

import numpy as np
import torch

from facerecon.data.tables import Rejection, Table, read_table, write_table
from facerecon.errors import InputError
from facerecon.geometry.crop import crop_transforms
from facerecon.morphable.storage import face_model_sha256, load_face_model
from facerecon.preprocess.landmark_fit import LandmarkBasis, fit_landmarks, landmark_sigma
from facerecon.preprocess.records import stage_record
from facerecon.preprocess.rejection import check_rejected

STAGE = "fit"
WORST_RESIDUAL = 12.0
"""Root mean square landmark distance, pixels of the 224 crop, beyond which the points are not those of a face."""


def run(
    landmarks: str | os.PathLike,
    out: str | os.PathLike,
    face_model: str | os.PathLike | None = None,
    max_rejected_fraction: float = 0.25,
) -> None:
    """Write the fits of the images of a landmarks table.

    face_model: None means the open model; it must be the one that the landmarks table names.
    Landmarks that no face fits are rejected with their reason.
    Raises InputError if an input cannot be read or too many images are rejected.
    """
    source = read_table(landmarks, "landmarks")
    if source.attributes["face_model_sha256"] != face_model_sha256(face_model):
        raise InputError(f"{landmarks}: was made with another face model; run the landmarks stage with this one")
    basis = LandmarkBasis.of(load_face_model(face_model))
    points = source.columns["landmarks"].astype(np.float64)
    scales, offsets = crop_transforms(points, basis.mean.numpy())
    targets = torch.from_numpy(points * scales[:, None, None] + offsets[:, None])
    expected = torch.from_numpy(source.columns["expected_error"] * scales[:, None])
    fit = fit_landmarks(targets, landmark_sigma(torch.nan_to_num(expected, nan=1.0)), basis)
    usable = (fit.residual <= WORST_RESIDUAL).numpy()
    reasons = [f"landmarks are not those of a face (residual {value:.1f} px)" for value in fit.residual.tolist()]
    rejected = [Rejection(source.ids[k], STAGE, reasons[k]) for k in np.flatnonzero(~usable)]
    check_rejected(rejected, len(source.ids), max_rejected_fraction, str(landmarks))
    columns = {
        name: getattr(fit, name).numpy()[usable]
        for name in ("identity", "expression", "rotation", "translation", "residual")
    }
    ids = [name for name, good in zip(source.ids, usable, strict=True) if good]
    table = Table(STAGE, ids, columns, rejected=[*source.rejected, *rejected])
    table.attributes = {"face_model_sha256": face_model_sha256(face_model)}
    table.attributes |= stage_record(
        f"preprocess.{STAGE}", {"max_rejected_fraction": max_rejected_fraction}, {"landmarks": landmarks}
    )
    write_table(out, table)
