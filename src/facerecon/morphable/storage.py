"""Face-model files, and loading any of them by its kind.

The open model's: HDF5 of kind "linear_face_model" with a schema version; bases as int16, a scale a component. Those of
converted models are `model_files`'.
"""

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import scipy.sparse as sparse

from facerecon.artefacts import atomic_file, atomic_hdf5, sha256_file
from facerecon.errors import InputError
from facerecon.geometry.ply_files import write_ply
from facerecon.morphable.control_mesh import control_topology
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.hdf5 import HEAD_FRAME, dequantise, open_kind, quantise, read_kind, write_array
from facerecon.morphable.head_data import mirror_image
from facerecon.morphable.linear import CoarseModel, LinearFaceModel
from facerecon.morphable.model_files import CONVERTED_KIND, describe_converted_model, read_converted_model
from facerecon.morphable.published import PublishedFaceModel
from facerecon.morphable.regions import symmetric_regions
from facerecon.morphable.skinned import SkinnedFaceModel
from facerecon.morphable.subdivision import SubdividedMesh, interpolate_once, subdivide
from facerecon.morphable.topology import REGIONS, Topology

KIND = "linear_face_model"
SCHEMA_VERSION = 1
LEVELS = (0, 1, 2)
STORED_LEVELS = (1, 2)
"""Levels whose topology is in the file; level 0, the control mesh, follows from them."""
CARRIED_PATH = Path(__file__).parent / "assets" / "open_face.h5"
BASES = ("identity", "expression", "albedo")


@dataclass(frozen=True)
class StoredModel:
    """Content of a face-model file.

    mean: (Vc, 3) mm. quads: (Q, 4), mirror: (Vc,), is_skin: (Vc,) of the coarse mesh. albedo_mean: (V1, 3) at level 1.
    bases: identity (80, Vc, 3), expression (64, Vc, 3), albedo (80, V1, 3). signs: of each basis under mirroring.
    topologies: level -> Topology for levels 1 and 2; level 1's vertices lead level 2's.
    """

    name: str
    mean: np.ndarray
    quads: np.ndarray
    mirror: np.ndarray
    is_skin: np.ndarray
    albedo_mean: np.ndarray
    bases: dict[str, np.ndarray]
    signs: dict[str, np.ndarray]
    topologies: dict[int, Topology]


def load_face_model(path: str | os.PathLike | None = None, level: int = 1) -> FaceModel:
    """The face model of a file, whatever its kind; `None` means the carried open model.

    level: subdivision level of the open model, 0 for drafts, 1 for training, 2 for fine meshes. A converted model has
    one level only, its publisher's mesh, and is given as it is.
    Raises InputError if the file is missing, damaged, of another kind or version, or has no such level.
    """
    path = CARRIED_PATH if path is None else Path(path)
    if _kind(path) != CONVERTED_KIND:
        return load_open_model(path, level)
    model, sha256 = read_converted_model(path), face_model_sha256(path)
    return (PublishedFaceModel if model.source.skinning is None else SkinnedFaceModel)(model, sha256)


def load_open_model(path: str | os.PathLike | None = None, level: int = 1) -> LinearFaceModel:
    """The open face model alone, with its coarse mesh; otherwise as `load_face_model`."""
    if level not in LEVELS:
        raise InputError(f"face models have the levels {LEVELS}, not {level}")
    path = CARRIED_PATH if path is None else Path(path)
    stored = read_face_model(path)
    meshes = subdivide(len(stored.mean), stored.quads, stored.mirror, max(STORED_LEVELS))
    operator = meshes[level].operator
    mean, identity, expression = (
        _expand(operator, array) for array in (stored.mean, stored.bases["identity"], stored.bases["expression"])
    )
    mean = (mean + mirror_image(mean, meshes[level].mirror)) / 2  # subdivision's sums round to unlike halves
    landmark_operator = _landmark_operator(stored.topologies[2], meshes[2])
    albedo = (stored.albedo_mean, stored.bases["albedo"])
    if level == 0:  # a level's vertices lead those of the next
        albedo = tuple(array[..., : len(stored.mean), :] for array in albedo)
        topology = control_topology(
            stored.mean, stored.quads, stored.mirror, stored.topologies[1], landmark_operator @ stored.mean
        )
    else:
        topology = stored.topologies[level]
    if level == 2:
        finer = interpolate_once(len(stored.albedo_mean), meshes[1].quads)
        albedo = tuple(_expand(finer, array) for array in albedo)
    coarse = CoarseModel(
        mean=stored.mean,
        identity=stored.bases["identity"],
        expression=stored.bases["expression"],
        quads=stored.quads,
        mirror=stored.mirror,
        is_skin=stored.is_skin,
        landmark_operator=landmark_operator,
    )
    return LinearFaceModel(
        name=stored.name,
        topology=replace(topology, regions=symmetric_regions(topology.regions, topology.mirror)),
        level=level,
        sha256=face_model_sha256(path),
        coarse=coarse,
        shape=(mean, identity, expression),
        albedo=albedo,
        signs=tuple(stored.signs[name] for name in BASES),
    )


def face_model_sha256(path: str | os.PathLike | None = None) -> str:
    """SHA-256 of a face-model file, by which trained weights name the model that they belong to."""
    path = CARRIED_PATH if path is None else Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such face-model file; name another")
    return _sha256_of_version(path, path.stat().st_mtime_ns, path.stat().st_size)


def describe(path: str | os.PathLike) -> str:
    """A few lines about a face-model file. Raises InputError as `load_face_model`."""
    kind = _kind(path)
    if kind == CONVERTED_KIND:
        model = read_converted_model(path)
        name, mean, lines = model.source.name, model.source.mean, describe_converted_model(model)
    else:
        stored = read_face_model(Path(path))
        name, mean, lines = stored.name, stored.mean, _describe_stored(stored)
    extent = zip("xyz", mean.min(0), mean.max(0), strict=True)
    return "\n".join(
        [
            f"{path}: {name}",
            f"kind {kind}, SHA-256 {face_model_sha256(path)}",
            *lines,
            "mean face, mm: " + ", ".join(f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in extent),
        ]
    )


def write_mean_face(path: str | os.PathLike, out: str | os.PathLike) -> None:
    """Write a face model's mean face as .ply, mm; with its publisher's origin, where it is a converted model's.

    Raises InputError as `load_face_model`, and if `out` is no .ply file's name.
    """
    if Path(out).suffix.lower() != ".ply":
        raise InputError(f"{out}: name a .ply file for the mean face")
    if _kind(path) == CONVERTED_KIND:
        source = read_converted_model(path).source
        vertices, triangles = source.mean + source.origin, source.triangles
    else:
        model = load_open_model(path, level=2)
        vertices, triangles = model.mean.numpy(), model.topology.triangles
    with atomic_file(out) as temporary:
        write_ply(temporary, vertices, triangles)


def _kind(path: str | os.PathLike) -> str:
    """Kind of a face-model file; InputError for a missing file and for what is no HDF5 file with a kind."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such face-model file; `facerecon model convert` writes those of published models")
    kind = read_kind(path)
    if kind is None:
        raise InputError(
            f"{path}: no face-model file, or damaged; convert publishers' files by `facerecon model convert`"
        )
    return kind


def _describe_stored(stored: StoredModel) -> list[str]:
    lines = [f"coarse mesh: {len(stored.mean)} vertices, {len(stored.quads)} quads"]
    for level, topology in stored.topologies.items():
        lines.append(f"level {level}: {len(topology.uv)} vertices, {len(topology.triangles)} triangles")
    return lines + [f"{name}: {len(stored.bases[name])} coefficients" for name in BASES]


def save_face_model(stored: StoredModel, path: str | os.PathLike) -> None:
    """Write a face-model file (whole or not at all); equal content gives equal bytes."""
    with atomic_hdf5(path) as file:
        file.attrs.update(
            kind=KIND,
            schema_version=SCHEMA_VERSION,
            name=stored.name,
            units="mm; albedo linear RGB",
            frame=HEAD_FRAME,
        )
        write_array(file, "coarse/mean", stored.mean.astype(np.float32))
        write_array(file, "coarse/quads", stored.quads.astype(np.int32))
        write_array(file, "coarse/mirror", stored.mirror.astype(np.int32))
        write_array(file, "coarse/is_skin", stored.is_skin)
        write_array(file, "albedo_mean", stored.albedo_mean.astype(np.float32))
        for name in BASES:
            steps, scale = quantise(stored.bases[name])
            write_array(file, f"bases/{name}/steps", steps)
            write_array(file, f"bases/{name}/scale", scale)
            write_array(file, f"bases/{name}/mirror_signs", stored.signs[name].astype(np.int8))
        for level, topology in stored.topologies.items():
            for name in ("triangles", "uv", "mirror", "landmark_triangles", "landmark_barycentric"):
                array = getattr(topology, name)
                write_array(
                    file, f"level{level}/{name}", array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
                )
            for name in REGIONS:
                write_array(file, f"level{level}/regions/{name}", topology.regions[name])


def read_face_model(path: str | os.PathLike) -> StoredModel:
    """Content of a face-model file. Raises InputError if it is missing, damaged or of another kind or version."""
    with open_kind(path, KIND, SCHEMA_VERSION) as file:
        bases = {name: dequantise(file[f"bases/{name}/steps"][:], file[f"bases/{name}/scale"][:]) for name in BASES}
        return StoredModel(
            name=str(file.attrs["name"]),
            mean=file["coarse/mean"][:],
            quads=file["coarse/quads"][:].astype(np.int64),
            mirror=file["coarse/mirror"][:].astype(np.int64),
            is_skin=file["coarse/is_skin"][:],
            albedo_mean=file["albedo_mean"][:],
            bases=bases,
            signs={name: file[f"bases/{name}/mirror_signs"][:] for name in BASES},
            topologies={level: _read_topology(file[f"level{level}"]) for level in STORED_LEVELS},
        )


def _read_topology(group: h5py.Group) -> Topology:
    return Topology(
        triangles=group["triangles"][:],
        uv=group["uv"][:],
        mirror=group["mirror"][:].astype(np.int64),
        landmark_triangles=group["landmark_triangles"][:].astype(np.int64),
        landmark_barycentric=group["landmark_barycentric"][:],
        regions={name: group[f"regions/{name}"][:] for name in REGIONS},
    )


def _landmark_operator(topology: Topology, mesh: SubdividedMesh) -> sparse.csr_matrix:
    rows = np.repeat(np.arange(68), 3)
    weights = topology.landmark_barycentric.ravel().astype(np.float64)
    shape = (68, mesh.operator.shape[0])
    pick = sparse.csr_matrix((weights, (rows, topology.landmark_vertices.ravel())), shape=shape)
    return (pick @ mesh.operator).tocsr()


def _expand(operator: sparse.csr_matrix, array: np.ndarray) -> np.ndarray:
    """Apply an operator (V, Vc) to arrays (..., Vc, 3), float32."""
    flat = array.reshape(-1, *array.shape[-2:]).transpose(1, 0, 2)
    out = operator.astype(np.float32) @ flat.reshape(len(flat), -1)
    return out.reshape(len(out), -1, 3).transpose(1, 0, 2).reshape(*array.shape[:-2], len(out), 3)


@lru_cache(maxsize=16)
def _sha256_of_version(path: Path, modified: int, size: int) -> str:
    return sha256_file(path)
