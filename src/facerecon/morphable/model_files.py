"""Files of converted face models: HDF5 of kind "face_model" with a schema version; float32, checksummed."""

import json
import os
from dataclasses import fields

import h5py
import numpy as np

from facerecon.artefacts import atomic_hdf5
from facerecon.errors import InputError
from facerecon.morphable.hdf5 import HEAD_FRAME, open_kind, write_array
from facerecon.morphable.skinned import JAW
from facerecon.morphable.source_model import ConvertedModel, MovingContour, Skinning, SourceModel
from facerecon.morphable.topology import REGIONS

CONVERTED_KIND = "face_model"
SCHEMA_VERSION = 2

_REQUIRED = (
    "mean", "triangles", "identity", "expression", "albedo_mean", "albedo", "landmark_triangles",
    "landmark_barycentric", "uv", "seam_copies", "origin",
)  # fmt: skip
_COMPRESSION = 1  # bases are noise to a compressor: higher levels cost minutes and save nothing


def save_converted_model(model: ConvertedModel, path: str | os.PathLike) -> None:
    """Write a converted model (whole or not at all); equal content gives equal bytes."""
    source = model.source
    # No version or commit: weights name a model by its file's SHA-256, which converting again must not change.
    record = {"stage": "model.convert", "settings": {"completed": model.completed}, "inputs": source.sources}
    with atomic_hdf5(path) as file:
        file.attrs.update(
            kind=CONVERTED_KIND,
            schema_version=SCHEMA_VERSION,
            name=source.name,
            licence=source.licence,
            sources=json.dumps(source.sources, sort_keys=True),
            notes=json.dumps(source.notes),
            completed=json.dumps(model.completed, sort_keys=True),
            provenance=json.dumps(record, sort_keys=True),
            units="mm; albedo linear RGB",
            frame=HEAD_FRAME,
        )
        for name in _REQUIRED:
            write_array(file, name, _stored(getattr(source, name)), _COMPRESSION)
        if source.interaction is not None:
            write_array(file, "interaction", _stored(source.interaction), _COMPRESSION)
        for group, part in (("contour", source.contour), ("skinning", source.skinning)):
            for field in fields(part) if part is not None else ():
                value = getattr(part, field.name)
                if value is not None:
                    array = np.array(value, "S") if field.name == "joint_names" else _stored(value)
                    write_array(file, f"{group}/{field.name}", array, _COMPRESSION)
        for name in ("mirror", "identity_mirror", "expression_mirror"):
            write_array(file, name, _stored(getattr(model, name)), _COMPRESSION)
        for name in REGIONS:
            write_array(file, f"regions/{name}", model.regions[name], _COMPRESSION)


def describe_converted_model(model: ConvertedModel) -> list[str]:
    """Lines about a converted model, for people."""
    source = model.source
    lines = [f"licence: {source.licence}"]
    lines += [f"made from {name}, SHA-256 {digest}" for name, digest in sorted(source.sources.items())]
    lines.append(f"mesh: {len(source.mean)} vertices, {len(source.triangles)} triangles")
    for name in ("identity", "expression", "albedo"):
        lines.append(f"{name}: {len(getattr(source, name))} coefficients")
    if source.skinning is not None:
        lines.append(f"joints: {', '.join(source.skinning.joint_names)}; three more expression coefficients: the jaw")
    if source.interaction is not None:
        lines.append("bilinear: identity and expression also act together")
    if source.contour is not None:
        lines.append(f"jaw landmarks that move with yaw: {len(source.contour.yaw_degrees)} places")
    lines += source.notes
    lines += [f"{part}: {origin}" for part, origin in sorted(model.completed.items())]
    return lines


def read_converted_model(path: str | os.PathLike) -> ConvertedModel:
    """Content of a converted model's file. Raises InputError if it is missing, damaged or of another kind."""
    with open_kind(path, CONVERTED_KIND, SCHEMA_VERSION) as file:
        try:
            model = _read(file)
            if not _fits(model):
                raise InputError(f"{path}: its arrays do not belong together; convert the model again")
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise KeyError(str(error)) from error
        except MemoryError:
            raise InputError(f"{path}: takes more memory than there is; use it on a larger machine") from None
    return model


def _read(file: h5py.File) -> ConvertedModel:
    source = SourceModel(
        name=str(file.attrs["name"]),
        licence=str(file.attrs["licence"]),
        sources=json.loads(file.attrs["sources"]),
        notes=tuple(json.loads(file.attrs["notes"])),
        interaction=file["interaction"][()] if "interaction" in file else None,
        contour=MovingContour(**_group(file["contour"])) if "contour" in file else None,
        skinning=_read_skinning(_group(file["skinning"])) if "skinning" in file else None,
        **{name: file[name][()] for name in _REQUIRED},
    )
    return ConvertedModel(
        source=source,
        mirror=file["mirror"][()],
        regions={name: file[f"regions/{name}"][()] for name in REGIONS},
        identity_mirror=file["identity_mirror"][()],
        expression_mirror=file["expression_mirror"][()],
        completed=json.loads(file.attrs["completed"]),
    )


def _read_skinning(arrays: dict[str, np.ndarray]) -> Skinning:
    names = tuple(name.decode() for name in arrays.pop("joint_names").tolist())
    return Skinning(joint_names=names, **arrays)


def _group(group: h5py.Group) -> dict[str, np.ndarray]:
    return {name: dataset[()] for name, dataset in group.items()}


def _stored(array: np.ndarray) -> np.ndarray:
    """Floats as float32, but for single numbers such as places in mm; whole numbers as they are."""
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.kind == "f" and array.ndim > 1 else array


def _fits(model: ConvertedModel) -> bool:
    """Whether the arrays have the shapes, types and ranges that belong to one model."""
    source = model.source
    floats, indices, masks = _expected(model)
    return (
        len(source.mean) > 0
        and len(source.triangles) > 0
        and all(np.shape(array) == shape and array.dtype.kind == "f" for array, shape in floats)
        and all(np.isfinite(array).all() for array, _ in floats)
        and all(
            np.shape(array) == shape and array.dtype.kind in "iu" and _within(array, low, high)
            for array, shape, low, high in indices
        )
        and all(mask.shape == (len(source.mean),) and mask.dtype == bool for mask in masks)
        and (source.contour is None or bool((np.diff(source.contour.yaw_degrees) > 0).all()))
        and (source.skinning is None or (_has_jaw(source.skinning) and source.interaction is None))
    )


def _expected(model: ConvertedModel) -> tuple[list[tuple], list[tuple], list[np.ndarray]]:
    """Real arrays and their shapes; indices, their shapes and ranges [low, high); masks of the vertices."""
    source = model.source
    vertices, faces = len(source.mean), len(source.triangles)
    identities, expressions, albedos = len(source.identity), len(source.expression), len(source.albedo)
    copies = len(source.seam_copies)
    floats = [
        (source.mean, (vertices, 3)),
        (source.identity, (identities, vertices, 3)),
        (source.expression, (expressions, vertices, 3)),
        (source.albedo_mean, (vertices, 3)),
        (source.albedo, (albedos, vertices, 3)),
        (source.landmark_barycentric, (68, 3)),
        (source.uv, (vertices, 2)),
        (source.origin, (3,)),
        (model.identity_mirror, (identities, identities)),
        (model.expression_mirror, (expressions, expressions)),
    ]
    indices = [
        (source.triangles, (faces, 3), 0, vertices),
        (source.landmark_triangles, (68,), 0, faces),
        (source.seam_copies, (copies,), 0, vertices - copies),
        (model.mirror, (vertices,), 0, vertices),
    ]
    if source.interaction is not None:
        floats.append((source.interaction, (identities, expressions, vertices, 3)))
    if source.contour is not None:
        places = len(source.contour.yaw_degrees)
        floats += [(source.contour.yaw_degrees, (places,)), (source.contour.barycentric, (places, 17, 3))]
        indices.append((source.contour.triangles, (places, 17), 0, faces))
    if source.skinning is not None:
        skinning, joints = source.skinning, len(source.skinning.joint_names)
        floats += [(skinning.joint_regressor, (joints, vertices)), (skinning.weights, (vertices, joints))]
        if skinning.pose_correctives is not None:
            floats.append((skinning.pose_correctives, (9 * (joints - 1), vertices, 3)))
        indices.append((skinning.parents, (joints,), -1, joints))
    return floats, indices, list(model.regions.values())


def _within(array: np.ndarray, low: int, high: int) -> bool:
    return not array.size or bool(array.min() >= low and array.max() < high)


def _has_jaw(skinning: Skinning) -> bool:
    """Whether the joints have one root, the first, parents before their children, and a jaw."""
    parents = skinning.parents
    before = (parents[1:] >= 0) & (parents[1:] < np.arange(1, len(parents)))
    return bool(len(parents) and parents[0] == -1 and before.all()) and JAW in skinning.joint_names[1:]
