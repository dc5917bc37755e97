"""The face model's coarse mesh, cut out of the head: the frontal face skin and the front caps of both eyeballs."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import connected_components

from facerecon.morphable.head_data import HeadData
from facerecon.morphable.subdivision import mirror_faces

LEAST_FACE_MASK = 0.12  # of every vertex of a face quad
GREATEST_EAR_MASK = 0.6  # of any vertex of a face quad
GREATEST_EYE_ANGLE = 85.0  # degrees between an eyeball quad's normal and the forward direction


@dataclass(frozen=True)
class CoarseFace:
    """Coarse face mesh of Vc vertices; the skin's vertices lead, then the subject's left and right eyeball caps.

    head_vertices: (Vc,) ids in the head. quads: (Q, 4) oriented outwards. mirror: (Vc,) mirror map.
    part: (Vc,) 0 skin, 1 left eyeball, 2 right eyeball.
    """

    head_vertices: np.ndarray
    quads: np.ndarray
    mirror: np.ndarray
    part: np.ndarray


def cut_face(head: HeadData) -> CoarseFace:
    """Select the face's quads and renumber their vertices."""
    skin = _face_skin(head)
    left, right = (_eye_cap(head, head.quads[f"eye_{side}"]) for side in ("left", "right"))
    parts = [np.unique(quads) for quads in (skin, left, right)]
    head_vertices = np.concatenate(parts)
    number = np.full(len(head.template), -1)
    number[head_vertices] = np.arange(len(head_vertices))
    quads = number[np.concatenate([skin, left, right])]
    mirror = number[head.mirror[head_vertices]]
    mirror_faces(quads, mirror)  # raises if the selection is not symmetric
    part = np.repeat(np.arange(3), [len(vertices) for vertices in parts])
    return CoarseFace(head_vertices, quads, mirror, part)


def _face_skin(head: HeadData) -> np.ndarray:
    """Skin quads inside the face mask: the largest connected, mirror-closed piece, without its outstanding quads."""
    quads = head.quads["skin"]
    inside = head.masks["face"][quads].min(1) > LEAST_FACE_MASK
    quads = quads[inside & (head.masks["ears"][quads].max(1) < GREATEST_EAR_MASK)]
    count = len(head.template)
    links = sparse.coo_matrix((np.ones(quads.size), (np.repeat(quads[:, 0], 4), quads.ravel())), shape=(count, count))
    _, component = connected_components(links, directed=False)
    quads = quads[component[quads[:, 0]] == np.bincount(component[quads[:, 0]]).argmax()]
    known = {tuple(sorted(quad)) for quad in quads.tolist()}
    quads = np.array([quad for quad in quads.tolist() if tuple(sorted(head.mirror[quad].tolist())) in known])
    while True:
        sides = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
        _, inverse, uses = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
        sticks_out = (uses[inverse.ravel()] == 1).reshape(-1, 4).sum(1) >= 3
        if not sticks_out.any():
            return quads
        quads = quads[~sticks_out]


def _eye_cap(head: HeadData, quads: np.ndarray) -> np.ndarray:
    corner = head.template[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    forward = normal[:, 2] / np.linalg.norm(normal, axis=1)
    return quads[forward > np.cos(np.radians(GREATEST_EYE_ANGLE))]
