"""Hands with forearms: MakeHuman's hand, bent at its joints and laid against the head."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facerecon.morphable.head import OLD_YEARS, YOUNG_YEARS
from facerecon.morphable.subdivision import catmull_clark
from facerecon.synthesis.body_data import HAND_BONES, load_body_data
from facerecon.synthesis.growth import growing_share
from facerecon.synthesis.head_surface import CLASS
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.shapes import Mesh, unit

BONES = list(HAND_BONES)
CONTACT = -1.5  # mm that a touching hand may press into the skin

# Bends of the fingers, rad: knuckle, middle and end joint of index to little finger; bend of the thumb's three joints
# toward the palm and its turn across the palm.
BENDS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float]] = {
    "flat": ((0.05, 0.05, 0.0), (0.0, 0.0, 0.0), 0.0),
    "relaxed": ((0.3, 0.4, 0.25), (0.1, 0.15, 0.1), 0.2),
    "curled": ((0.75, 1.0, 0.55), (0.3, 0.4, 0.3), 0.4),
    "fist": ((1.1, 1.35, 0.6), (0.5, 0.7, 0.5), 0.7),
    "grip": ((0.75, 1.0, 0.55), (0.35, 0.45, 0.35), 0.8),
    "wide": ((0.3, 0.6, 0.4), (0.2, 0.25, 0.2), 0.9),
    "point": ((1.0, 1.25, 0.55), (0.4, 0.6, 0.5), 0.6),
}


@dataclass(frozen=True)
class Gesture:
    """How a left hand lies against the head (a right one is its mirror image).

    bends: names of BENDS to choose from. landmark: the one that it touches; offset from it, mm. fingers, back:
    directions of the fingers and of the back of the hand in the head frame. at: point of the hand that goes there, mm
    in the hand's own axes. jitter: rad. contact: whether it is pressed against the skin.
    """

    bends: tuple[str, ...]
    landmark: int
    offset: tuple[float, float, float]
    fingers: tuple[float, float, float]
    back: tuple[float, float, float]
    at: tuple[float, float, float]
    jitter: float = 0.2
    contact: bool = True


FLAT, LOOSE, CURLED = ("flat", "relaxed"), ("relaxed", "curled"), ("curled", "fist")
# fmt: off
GESTURES: dict[str, Gesture] = {
    "cheek": Gesture(
        (*FLAT, "curled"), 13, (0.0, 5.0, 10.0), (0.1, 0.85, -0.35), (0.85, 0.0, 0.45), (0.0, 70.0, -12.0)),
    "jaw": Gesture(CURLED, 11, (0.0, 0.0, 10.0), (0.05, 0.9, 0.1), (0.5, -0.1, 0.85), (0.0, 95.0, -15.0)),
    "chin": Gesture(CURLED, 8, (5.0, -6.0, 0.0), (-0.25, 0.75, 0.45), (0.3, -0.5, 0.8), (0.0, 100.0, -10.0)),
    "thoughtful": Gesture(
        ("point", "relaxed"), 8, (18.0, 6.0, 5.0), (0.15, 0.9, 0.0), (0.45, -0.1, 0.9), (10.0, 85.0, -15.0)),
    "mouth": Gesture(FLAT, 66, (5.0, 0.0, 0.0), (-0.8, 0.5, 0.1), (0.25, 0.1, 1.0), (0.0, 115.0, -12.0)),
    "nose": Gesture(LOOSE, 33, (6.0, -4.0, 0.0), (-0.45, 0.85, 0.1), (0.35, -0.1, 0.95), (5.0, 150.0, -14.0)),
    "eye": Gesture(LOOSE, 45, (0.0, 0.0, 0.0), (-0.4, 0.9, 0.05), (0.4, 0.0, 0.9), (0.0, 150.0, -14.0)),
    "forehead": Gesture(FLAT, 24, (0.0, 28.0, 0.0), (-0.6, 0.8, -0.05), (0.35, 0.1, 0.95), (0.0, 95.0, -12.0)),
    "hair": Gesture(LOOSE, 26, (12.0, 55.0, -35.0), (-0.3, 0.75, -0.6), (0.7, 0.4, 0.5), (0.0, 90.0, -14.0)),
    "wave": Gesture(
        FLAT, 16, (75.0, -20.0, 45.0), (0.15, 1.0, 0.05), (0.1, 0.0, -1.0), (0.0, 60.0, 0.0), 0.35, False),
}
HOLD = Gesture(
    ("grip",), 57, (0.0, 0.0, 0.0), (-0.45, 0.1, 0.85), (0.9, 0.05, 0.45), (12.0, 85.0, -32.0), 0.12, False)
# fmt: on


@lru_cache(maxsize=1)
def _surface() -> tuple[sp.csr_matrix, NDArray[np.int32]]:
    data = load_body_data()
    operator, quads = catmull_clark(data.hand_shapes.shape[2], data.hand_quads)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return operator.tocsr().astype(np.float32), triangles


def hand_shape(sex: float, age: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coarse vertices (V, 3) and joints (B, 3) of a person's left hand at rest, mm in its own axes."""
    data = load_body_data()
    child = growing_share(age)
    old = (1.0 - child) * float(np.clip((age - YOUNG_YEARS) / (OLD_YEARS - YOUNG_YEARS), 0.0, 1.0))
    ages = np.array([child, 1.0 - child - old, old], np.float32)
    sexes = np.array([1.0 - sex, sex], np.float32)
    shape = np.einsum("s,a,saij->ij", sexes, ages, data.hand_shapes)
    joints = np.einsum("s,a,saij->ij", sexes, ages, data.hand_joints)
    return shape, joints


def bend(
    rng: Generator, vertices: NDArray, joints: NDArray, pose: str, forearm: NDArray, spread: float = 0.0
) -> NDArray[np.float32]:
    """Coarse hand (V, 3) with bent fingers by linear blend skinning. forearm: (3, 3) rotation of the forearm about the
    wrist. spread: how far the fingers fan out, rad."""
    data = load_body_data()
    fingers, thumb, across = BENDS[pose]
    rotations = np.repeat(np.eye(3)[None], len(BONES), 0)
    loose = rng.normal(0.0, 0.12, 5)
    for number, bone in enumerate(BONES):
        if not bone.startswith("finger"):
            continue
        digit, joint = int(bone[6]), int(bone[8]) - 1
        if digit == 1:
            axis = _thumb_axis(joints)
            angle = thumb[joint] + 0.5 * loose[0] * (joint > 0)
            rotation = _rotation(axis * angle)
            if joint == 0:
                rotation = _rotation(np.array([0.0, -across, 0.0])) @ rotation
        else:
            angle = fingers[joint] * (1.0 + 0.1 * (digit - 3.5)) + loose[digit - 1] * (joint < 2)
            if pose == "point" and digit == 2:
                angle = 0.1 + 0.1 * joint
            rotation = _rotation(np.array([-max(angle, -0.05), 0.0, 0.0]))
            if joint == 0:
                rotation = _rotation(np.array([0.0, 0.0, spread * (3.5 - digit) * -1.0])) @ rotation
        rotations[number] = rotation
    places = np.zeros((len(BONES), 4, 4))
    for number, bone in enumerate(BONES):
        own = np.eye(4)
        if bone.startswith("lowerarm"):
            own[:3, :3] = forearm
            places[number] = own
            continue
        own[:3, :3] = rotations[number]
        own[:3, 3] = joints[number] - rotations[number] @ joints[number]
        parent = data.hand_parents[number]
        places[number] = own if bone == "wrist.L" else places[parent] @ own
    moved = np.einsum("bij,vj->vbi", places[:, :3, :3], vertices) + places[None, :, :3, 3]
    return np.einsum("vb,vbi->vi", data.hand_weights, moved).astype(np.float32)


def _thumb_axis(joints: NDArray) -> NDArray:
    """Axis about which the thumb bends toward the palm."""
    at = {bone: joints[number] for number, bone in enumerate(BONES)}
    along = at["finger1-3.L"] - at["finger1-1.L"]
    inward = at["finger5-1.L"] - at["finger1-1.L"]
    axis = np.cross(along, inward)
    return axis / np.linalg.norm(axis)


def _rotation(vector: NDArray) -> NDArray[np.float64]:
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]


@dataclass(frozen=True)
class HandLook:
    """Colours of a person's hands, linear RGB, and of the sleeve; sleeve: mm from the wrist where it begins."""

    skin: NDArray[np.float32]
    cloth: NDArray[np.float32]
    sleeve: float


@dataclass(frozen=True)
class Bearer:
    """The person that hands and things are held against, in the head frame, mm.

    landmarks: (68, 3). skin, normals: (N, 3) vertices of the skin and their normals. ears: (2, 3) tops of the right and
    left ear; elbows: (2, 3) where the right and left forearms come from. sex, age: of the person. look: of the hands.
    """

    landmarks: NDArray
    skin: NDArray
    normals: NDArray
    ears: NDArray
    elbows: NDArray
    sex: float
    age: float
    look: HandLook


def hand_mesh(rng: Generator, gesture: Gesture, left: bool, bearer: Bearer, target: NDArray | None = None) -> Mesh:
    """A hand of the person in the head frame, labelled background (its sleeve is cloth).

    target: (3,) where `gesture.at` goes instead of the gesture's landmark.
    """
    mirror = np.array([1.0 if left else -1.0, 1.0, 1.0])
    landmark = _mirrored_landmark(gesture.landmark, left)
    goal = bearer.landmarks[landmark] + mirror * gesture.offset if target is None else np.asarray(target, float)
    along = np.asarray(gesture.fingers, float)
    back = np.asarray(gesture.back, float)
    turn = _frame(along, back) @ _rotation(rng.normal(0.0, gesture.jitter, 3))
    shape, joints = hand_shape(bearer.sex, bearer.age)
    scale = float(rng.normal(0.97, 0.03))
    forearm = _bent_wrist(turn.T @ unit(mirror * (bearer.elbows[int(left)] + rng.normal(0.0, 40.0, 3) - goal)))
    pose = gesture.bends[rng.integers(len(gesture.bends))]
    hand = bend(rng, shape, joints, pose, forearm, float(rng.uniform(-0.05, 0.12))) * scale
    placed = ((hand - np.asarray(gesture.at) * scale) @ turn.T) * mirror + goal
    if gesture.contact:
        placed = _touching(placed, mirror * (turn @ [0.0, 0.0, 1.0]), bearer.skin, bearer.normals)
    return _coloured(rng, placed, shape, joints, bearer.look, not left)


def _frame(along: NDArray, back: NDArray) -> NDArray[np.float64]:
    """(3, 3) head frame from hand axes whose y is `along` and whose z is nearest to `back`."""
    y = unit(along)
    z = unit(back - (back @ y) * y)
    return np.stack([np.cross(y, z), y, z], 1)


def _bent_wrist(elbow: NDArray, most: float = 1.0) -> NDArray[np.float64]:
    """Rotation of the forearm, whose rest direction is -y, toward `elbow` (hand axes), by at most `most` rad."""
    rest = np.array([0.07, -0.99, -0.05])
    axis = np.cross(rest, elbow)
    angle = float(np.arctan2(np.linalg.norm(axis), rest @ elbow))
    return _rotation(axis / (np.linalg.norm(axis) + 1e-9) * min(angle, most))


def _mirrored_landmark(index: int, left: bool) -> int:
    """The landmark of the right side that corresponds to one of the left side (iBUG order)."""
    if left:
        return index
    pairs = {13: 3, 11: 5, 16: 0, 45: 36, 24: 19, 26: 17}
    return pairs.get(index, index)


def _touching(hand: NDArray, outward: NDArray, head: NDArray, normals: NDArray) -> NDArray:
    """The hand (V, 3) moved along `outward` until it just touches the skin (N, 3)."""
    tree = cKDTree(head[::3], balanced_tree=False, compact_nodes=False)
    outward, part, moved = unit(outward), hand[::4], np.zeros(3)
    for _ in range(5):
        distance, nearest = tree.query(part + moved)
        height = ((part + moved - head[::3][nearest]) * normals[::3][nearest]).sum(1)
        near = distance < 40.0
        lowest = float(np.percentile(height[near], 2.0)) if near.any() else float(distance.min())
        moved = moved + outward * np.clip(CONTACT - lowest, -25.0, 25.0) * 0.8
    return hand + moved


def _coloured(rng: Generator, hand: NDArray, shape: NDArray, joints: NDArray, look: HandLook, mirrored: bool) -> Mesh:
    operator, triangles = _surface()
    vertices = np.asarray(operator @ hand, np.float32)
    rest = np.asarray(operator @ shape)
    triangles = triangles[:, ::-1] if mirrored else triangles
    palm = np.clip((-rest[:, 2] - 4.0) / 8.0, 0.0, 1.0) * (rest[:, 1] > 0.0)
    colours = look.skin * (1.0 + (palm * 0.25)[:, None]) + (palm * 0.05)[:, None] * np.float32([1.0, 0.5, 0.4])
    for number, bone in enumerate(BONES):
        if not bone.startswith("finger"):
            continue
        reach = np.linalg.norm(rest - joints[number], axis=1)
        knuckle = 0.16 * np.exp(-((reach / 9.0) ** 2))[:, None]
        colours = colours * (1.0 - knuckle * np.float32([0.35, 0.9, 0.9]))
    tips = np.stack([joints[n] for n, bone in enumerate(BONES) if bone.endswith("-3.L")])
    bases = np.stack([joints[n] for n, bone in enumerate(BONES) if bone.endswith("-2.L")])
    colours = _with_nails(rng, colours, rest, tips, bases, look.skin)
    sleeved = rest[:, 1] < -look.sleeve
    label = np.where(sleeved[triangles].all(1), CLASS["cloth"], CLASS["background"]).astype(np.uint8)
    if sleeved.any():
        colours[sleeved] = look.cloth
        arm = rest[:, 1] < 20.0
        axis = np.polynomial.polynomial.polyfit(rest[arm, 1], vertices[arm], 1)
        middle = axis[0] + rest[:, 1:2] * axis[1]
        away = vertices - middle
        away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
        vertices[sleeved] += (away * rng.uniform(4.0, 9.0))[sleeved].astype(np.float32)
    return Mesh(
        vertices, np.ascontiguousarray(triangles), np.clip(colours, 0.004, 0.95).astype(np.float32), label,
        skin=~sleeved[triangles].all(1), visibility=np.full(len(vertices), 0.85, np.float32), gloss=0.3,
    )  # fmt: skip


def _with_nails(
    rng: Generator, colours: NDArray, rest: NDArray, tips: NDArray, bases: NDArray, skin: NDArray
) -> NDArray:
    """Paler nails on the backs of the finger ends, varnished at times."""
    nail = skin * 1.15 + np.float32([0.06, 0.03, 0.03])
    if chance(rng, 0.15):
        nail = np.float32(rng.uniform(0.05, 0.5, 3)) * np.float32([1.0, 0.4, 0.4])
    for tip, base in zip(tips, bases, strict=True):
        along = unit(tip - base)
        local = rest - (tip + along * 17.0)
        dorsal = np.array([0.0, 0.0, 1.0]) - along[2] * along
        if tip[1] < 95.0 and tip[0] > 40.0:  # the thumb's nail faces sideways
            dorsal = np.array([0.6, 0.0, 0.8]) - (0.6 * along[0] + 0.8 * along[2]) * along
        height = local @ unit(dorsal)
        reach = np.linalg.norm(local - np.outer(height, unit(dorsal)), axis=1)
        on = np.clip((7.5 - reach) / 2.0, 0.0, 1.0) * np.clip((height - 1.5) / 1.5, 0.0, 1.0)
        colours = colours + on[:, None] * (nail - colours)
    return colours
