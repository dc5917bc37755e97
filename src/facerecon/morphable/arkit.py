"""ARKit's 52 facial expressions on the open face model: exactly as the CC0 data has them, and in the 64 coefficients.

The expressions are carried once, with the head generator (`assets/head.h5`: whole multiples of 0.05 mm as int16); here
they are put onto the face model's mesh, its parts, or its training basis.
"""

import numpy as np
from numpy.typing import NDArray

from facerecon.morphable.head_data import HeadData, load_head_data
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.parts import HeadParts
from facerecon.morphable.storage import face_model_sha256
from facerecon.morphable.subdivision import subdivide

ARKIT_NAMES = (
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)


def arkit_basis(model: LinearFaceModel) -> NDArray[np.float32]:
    """Offsets (52, V, 3), mm at full strength, of ARKIT_NAMES on the open face model at its level.

    Not projected onto the model's 64 components. "tongueOut" moves no vertex of the face: the tongue is a part of the
    head, see `head_basis`. Raises ValueError for a model of another coarse mesh.
    """
    coarse = coarse_basis(model)
    meshes = subdivide(len(model.coarse.mean), model.coarse.quads, model.coarse.mirror, model.level)
    operator = meshes[model.level].operator.astype(np.float32)
    columns = operator @ coarse.transpose(1, 0, 2).reshape(coarse.shape[1], -1)
    return np.ascontiguousarray(columns.reshape(len(columns), -1, 3).transpose(1, 0, 2))


def coarse_basis(model: LinearFaceModel) -> NDArray[np.float32]:
    """As `arkit_basis`, on the coarse mesh: (52, Vc, 3)."""
    head = _load_expressions()
    if len(model.coarse.mean) != len(head.face_vertices):
        raise ValueError(f"the face model {face_model_sha256()[:12]} is needed, not one of another mesh")
    return head.targets["expression"][:, head.face_vertices]


def head_basis(parts: HeadParts) -> NDArray[np.float32]:
    """Offsets (52, H, 3), mm at full strength, of ARKIT_NAMES on the coarse head, for `HeadParts.surfaces`."""
    return _load_expressions().targets["expression"][:, parts.head_vertices]


def arkit_coefficients(model: LinearFaceModel) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The 64 expression coefficients (52, 64) nearest to each of ARKIT_NAMES at full strength, by least squares on the
    coarse mesh, and what they leave: (52,) root mean square over its vertices, mm."""
    basis = coarse_basis(model)
    coefficients = model.project_expression(basis)
    residual = basis - np.tensordot(coefficients, model.coarse.expression, 1)
    return coefficients, np.sqrt((residual.astype(np.float64) ** 2).sum(-1).mean(1))


def _load_expressions() -> HeadData:
    head = load_head_data()
    if tuple(head.names["expression"]) != ARKIT_NAMES:
        raise RuntimeError("the head data's expressions are not ARKit's 52 in their order")
    return head
