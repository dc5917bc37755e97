"""Neck, shoulders and chest below a head: a person's bust, turned and joined to the head's rim."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from facerecon.morphable.head import HeadIdentity
from facerecon.morphable.subdivision import catmull_clark
from facerecon.synthesis.body_data import load_body_data
from facerecon.synthesis.growth import growing_share
from facerecon.synthesis.kernels import fused_vertex_normals
from facerecon.synthesis.shapes import grid_triangles

PIVOT = np.array([0.0, -55.0, -25.0], np.float32)  # about which the neck turns, mm from the rim's centre
NECK_LENGTH = 62.0  # mm below the rim over which a turn of the head fades
RIM_REACH = 70.0  # mm below the rim over which the bust bends to the head's own rim
COLLAR_LEVELS = (0.55, 0.95)  # of the neck's length, where a collar's upper and lower edge lie
COLLAR_COLUMNS = 48
OVERLAP = 4.0  # mm that the neck reaches into the head, which closes the seam


@dataclass(frozen=True)
class BustSurface:
    """The bust's mesh, the same for everybody.

    operator: (V, C) sparse, fine vertices from coarse ones. triangles: (F, 3). spread: (C, R) how far each coarse
    vertex follows the rim's vertices. follows: (V,) 0 where a vertex turns with the head, 1 with the body.
    loose: (C, C) sparse smoothing of cloth that bridges hollows. collar: (2, COLLAR_COLUMNS) fine vertices along the
    upper and lower edge of a collar, from behind over the subject's left to the front and back again.
    rim_fine: (n,) fine vertices of the rim in order; below_rim: (n,) ones some 6 mm below them. visibility: (V,) share
    of the sky that the skin sees beside head and shoulders. depth: (V,) distance below the rim over NECK_LENGTH.
    """

    operator: sp.csr_matrix
    triangles: NDArray[np.int32]
    spread: NDArray[np.float32]
    follows: NDArray[np.float32]
    loose: sp.csr_matrix
    collar: NDArray[np.int64]
    rim_fine: NDArray[np.int64]
    below_rim: NDArray[np.int64]
    visibility: NDArray[np.float32]
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class PlacedBust:
    """A bust in the head frame of one photograph.

    vertices: (V, 3) skin. loose: (V, 3) where cloth hangs that bridges hollows. turn: (3, 3) rotation of the body
    against the head. origin: (3,) the rim's centre. All in mm.
    """

    vertices: NDArray[np.float32]
    loose: NDArray[np.float32]
    turn: NDArray[np.float32]
    origin: NDArray[np.float32]

    def to_body(self, points: NDArray) -> NDArray[np.float32]:
        """(N, 3) head frame to the body's axes, centred on the neck's rim, mm."""
        return (points - self.origin - PIVOT) @ self.turn + PIVOT

    def from_body(self, points: NDArray) -> NDArray[np.float32]:
        """(N, 3) in the body's axes to the head frame, mm: the inverse of `to_body`."""
        return (points - PIVOT) @ self.turn.T + PIVOT + self.origin


@lru_cache(maxsize=1)
def load_bust_surface() -> BustSurface:
    """Build the surface from the carried data; kept for the life of the process."""
    data = load_body_data()
    middle = data.bust_shapes[:, 0, 1].mean(0)
    step, quads = catmull_clark(len(middle), data.bust_quads)
    operator = step.tocsr().astype(np.float32)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    fine = np.asarray(operator @ middle)
    rim_points = middle[data.rim]
    distance = np.sqrt(((middle[:, None] - rim_points) ** 2).sum(2))
    near = np.exp(-0.5 * ((distance - distance.min(1, keepdims=True)) / 15.0) ** 2)
    near /= near.sum(1, keepdims=True)
    fade = _smooth_step(1.0 - distance.min(1) / RIM_REACH)
    depth = np.sqrt(((fine[:, None] - rim_points) ** 2).sum(2)).min(1) / NECK_LENGTH
    rim_fine = _rim_fine(fine, quads)
    lower = np.flatnonzero((depth > 0.06) & (depth < 0.3))
    below_rim = lower[((fine[rim_fine][:, None] - fine[lower]) ** 2).sum(2).argmin(1)]
    chin = np.clip(0.5 + fine[:, 2] / 80.0, 0.0, 1.0)  # the throat lies in the shade of the chin
    visibility = 0.92 - (0.02 + 0.16 * chin) * np.clip(1.0 - depth, 0.0, 1.0)
    return BustSurface(
        operator,
        triangles,
        (near * fade[:, None]).astype(np.float32),
        _smooth_step(depth).astype(np.float32),
        _smoothing(len(middle), data.bust_quads, 10),
        _collar_rings(fine, depth),
        rim_fine,
        below_rim,
        visibility.astype(np.float32),
        depth.astype(np.float32),
    )


def _smooth_step(value: NDArray) -> NDArray:
    value = np.clip(value, 0.0, 1.0)
    return value * value * (3.0 - 2.0 * value)


def _smoothing(count: int, quads: NDArray, steps: int) -> sp.csr_matrix:
    """(count, count) operator of `steps` steps of averaging with the neighbours."""
    ends = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    neighbours = sp.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (count, count))
    average = sp.diags(1.0 / np.maximum(np.asarray(neighbours.sum(1)).ravel(), 1.0)) @ neighbours
    step = 0.5 * (sp.identity(count) + average)
    result = step
    for _ in range(steps - 1):
        result = result @ step
    return result.tocsr().astype(np.float32)


def _rim_fine(fine: NDArray, quads: NDArray) -> NDArray[np.int64]:
    """Fine vertices of the neck's rim, in order of their angle about the neck."""
    edges = np.sort(np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)]), axis=1)
    edges, count = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(edges[count == 1])
    rim = border[fine[border, 1] > -60.0]
    return rim[np.argsort(np.arctan2(fine[rim, 0], fine[rim, 2]))]


def _collar_rings(fine: NDArray, depth: NDArray) -> NDArray[np.int64]:
    angles = np.linspace(-np.pi, np.pi, COLLAR_COLUMNS)
    own = np.arctan2(fine[:, 0], fine[:, 2] + 15.0)
    rings = []
    for level in COLLAR_LEVELS:
        apart = np.abs(np.angle(np.exp(1j * (own[None] - angles[:, None]))))
        rings.append((apart / 0.06 + np.abs(depth - level)[None] / 0.05).argmin(1))
    return np.array(rings)


def person_bust(identity: HeadIdentity) -> NDArray[np.float32]:
    """(C, 3) coarse bust of a person, the centre of its rim at the origin: between the sexes, ages and weights."""
    shapes = load_body_data().bust_shapes
    child, sex = growing_share(identity.age), float(np.clip(identity.sex, 0.0, 1.0))
    level = 2.0 * float(np.clip(identity.weight, 0.0, 1.0))
    heavier = int(min(level, 1.0))
    share = level - heavier
    by_weight = (1.0 - share) * shapes[:, :, heavier] + share * shapes[:, :, min(heavier + 1, 2)]
    by_age = (1.0 - child) * by_weight[:, 0] + child * by_weight[:, 1]
    return ((1.0 - sex) * by_age[0] + sex * by_age[1]).astype(np.float32)


def mean_bust(head: NDArray) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices (V, 3) and triangles of an average adult's bust below a coarse head (Vh, 3), mm."""
    bust = load_body_data().bust_shapes[:, 0, 1].mean(0)
    return place_bust(bust, head, np.eye(3)).vertices, load_bust_surface().triangles


def place_bust(bust: NDArray, head: NDArray, turn: NDArray) -> PlacedBust:
    """Join a bust (C, 3) to a coarse head (Vh, 3), mm, and turn the body by `turn` (3, 3) against the head."""
    surface, data = load_bust_surface(), load_body_data()
    rim = head[data.rim_head]
    origin = rim.mean(0).astype(np.float32)
    coarse = bust + surface.spread @ ((rim - origin) - bust[data.rim])
    skin = _turned(np.asarray(surface.operator @ coarse), turn, surface.follows) + origin
    loose = _turned(np.asarray(surface.operator @ (surface.loose @ coarse)), turn, surface.follows) + origin
    return PlacedBust(skin.astype(np.float32), loose.astype(np.float32), turn.astype(np.float32), origin)


def _turned(points: NDArray, turn: NDArray, share: NDArray) -> NDArray:
    """Points (V, 3) turned about PIVOT by `share` (V,) of a rotation (3, 3)."""
    axis = cv2.Rodrigues(np.asarray(turn, np.float64))[0].ravel()
    angle = np.linalg.norm(axis)
    if angle < 1e-6:
        return points
    axis = (axis / angle).astype(np.float32)
    arm = points - PIVOT
    cosine, sine = np.cos(angle * share)[:, None], np.sin(angle * share)[:, None]
    across = np.cross(np.broadcast_to(axis, arm.shape), arm)
    along = (arm @ axis)[:, None] * axis
    return arm * cosine + across * sine + along * (1.0 - cosine) + PIVOT


def bust_normals(vertices: NDArray) -> NDArray[np.float32]:
    """(V, 3) unit normals of bust vertices (V, 3)."""
    return fused_vertex_normals(np.ascontiguousarray(vertices, np.float32), load_bust_surface().triangles)


def seam_strip(placed: PlacedBust) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices (n, 3) and triangles of a strip that continues the bust just below the head's skin and closes the seam.

    Its own vertices on the rim leave the normals of bust and head alone.
    """
    surface = load_bust_surface()
    points, below = placed.vertices[surface.rim_fine], placed.vertices[surface.below_rim]
    upward = points - below
    upward /= np.linalg.norm(upward, axis=1, keepdims=True) + 1e-6
    inward = points.mean(0) - points
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    count = len(points)
    rows = [points - 1.0 * upward + 0.4 * inward, points + OVERLAP * upward + 1.2 * inward]
    triangles = grid_triangles(2, count)
    closing = np.array([[count - 1, 0, 2 * count - 1], [0, count, 2 * count - 1]], np.int32)
    return np.concatenate(rows).astype(np.float32), np.concatenate([triangles, closing])
