"""NoW's scan-to-mesh error of one prediction: crop of the scan, alignment of the prediction, distances.

Two protocols. `official` gives the numbers of the benchmark's own evaluation code, early stop and all. `corrected`
centres the prediction on its landmarks before the start and converges fully; the two agree to 0.01 mm in the median
and mean of a scan unless the official start is wrong (metrical, with the prediction's origin far from the head).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix, similarity_procrustes
from facerecon.geometry.dogleg import minimise_dogleg
from facerecon.geometry.point_to_surface import Surface

Protocol = Literal["official", "corrected"]
UNIT_TO_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}

_MAX_ITERATIONS = 200
# Official: variables are scale, radians and millimetres side by side.
_OFFICIAL_TRUST_RADIUS = 0.1
_OFFICIAL_MIN_IMPROVEMENT = 1e-4
# Corrected: all variables in millimetres of vertex movement.
_CORRECTED_TRUST_RADIUS_MM = 10.0
_CORRECTED_MIN_IMPROVEMENT = 1e-8
_ROUGH_POINTS = 2000
_NEGATIVE_SCALE_WEIGHT = 100.0
_MIN_CROPPED_VERTICES = 10


@dataclass(frozen=True)
class FaceMesh:
    """vertices: (V, 3), its own unit and frame. triangles: (F, 3). landmarks: (7, 3) same frame, NoW order: right outer
    and inner eye corner, left inner and outer, subnasale, right and left mouth corner."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    landmarks: NDArray


class CroppedScan(NamedTuple):
    """The part of a scan that is measured. points: (N, 3) mm, order kept. landmarks: (7, 3) mm. centre: (3,) mm and
    radius: mm of the sphere it was cropped by."""

    points: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    centre: NDArray[np.float64]
    radius: float


class ScanError(NamedTuple):
    """distances: (N,) mm, unsigned, of the cropped scan's points. placement: prediction unit and frame -> scan, mm.
    converged: False where the iteration limit ended the alignment."""

    distances: NDArray[np.float64]
    placement: Similarity
    converged: bool


def crop_scan(vertices: ArrayLike, landmarks: ArrayLike) -> CroppedScan:
    """Vertices of a scan inside NoW's sphere around the face.

    vertices: (V, 3) mm. landmarks: (7, 3) mm, NoW order. With B the middle of the inner eye corners l1, l2: centre
    l4 + 0.3 (B - l4), radius 1.4 (|l0 - l3| + |B - l4|) / 2. In single precision, as the official code reads the
    landmarks, so that the same vertices are kept.
    Raises ValueError for wrong shapes, InputError if too few vertices are left.
    """
    vertices, landmarks = np.asarray(vertices, np.float64), np.asarray(landmarks, np.float32)
    if landmarks.shape != (7, 3) or vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"(V, 3) vertices and (7, 3) landmarks expected, got {vertices.shape}, {landmarks.shape}")
    nose_bottom = landmarks[4]
    nose_bridge = (landmarks[1] + landmarks[2]) / 2
    centre = nose_bottom + np.float32(0.3) * (nose_bridge - nose_bottom)
    lengths = np.linalg.norm(landmarks[0] - landmarks[3]) + np.linalg.norm(nose_bridge - nose_bottom)
    radius = 1.4 * float(lengths) / 2
    points = vertices[np.linalg.norm(vertices - centre, axis=1) <= radius]
    if len(points) < _MIN_CROPPED_VERTICES:
        raise InputError(
            f"only {len(points)} scan vertices lie within {radius:.1f} mm of the face's centre: "
            "scan and landmarks must share one frame, in mm"
        )
    return CroppedScan(points, landmarks.astype(np.float64), centre.astype(np.float64), radius)


def scan_error(
    scan: CroppedScan, prediction: FaceMesh, protocol: Protocol, metrical: bool, unit: str = "mm"
) -> ScanError:
    """Distances from a cropped scan to a prediction, aligned by the protocol's rules.

    metrical: the prediction keeps its size (times the unit factor); otherwise its scale is fitted. unit: mm, cm or m,
    of the prediction; it matters for metrical only.
    Raises ValueError for an unknown protocol or unit, InputError for landmarks that determine no rotation.
    """
    if protocol not in ("official", "corrected"):
        raise ValueError(f"unknown protocol {protocol!r}: official or corrected")
    start = _start(scan, prediction, protocol, metrical, unit)
    surface = Surface(start.apply(prediction.vertices), prediction.triangles)
    if protocol == "official":
        # Rotation about the scan's origin, trust region shared by variables of different size.
        pivot, length, radius, improvement = np.zeros(3), 1.0, _OFFICIAL_TRUST_RADIUS, _OFFICIAL_MIN_IMPROVEMENT
    else:
        pivot = scan.points.mean(axis=0)
        length = float(np.sqrt(np.square(scan.points - pivot).sum(axis=1).mean()))
        radius, improvement = _CORRECTED_TRUST_RADIUS_MM, _CORRECTED_MIN_IMPROVEMENT
    refinement = _Refinement(scan.points, surface, pivot, length, metrical)
    parameters = refinement.start()
    if protocol == "corrected":
        # Most of the way on a part of the points: the minimum is that of all of them, found in fewer long iterations.
        part = _Refinement(scan.points[:: 1 + len(scan.points) // _ROUGH_POINTS], surface, pivot, length, metrical)
        parameters = minimise_dogleg(part.residuals, parameters, radius, _MAX_ITERATIONS, improvement).parameters
    result = minimise_dogleg(refinement.residuals, parameters, radius, _MAX_ITERATIONS, improvement)
    distances = result.residuals[: len(scan.points)]  # without the penalty
    return ScanError(distances, refinement.placement(result.parameters).after(start), result.converged)


def _start(scan: CroppedScan, prediction: FaceMesh, protocol: Protocol, metrical: bool, unit: str) -> Similarity:
    """Procrustes on the landmarks, mirroring allowed; for metrical with the unit factor in place of its scale."""
    if unit not in UNIT_TO_MM:
        raise ValueError(f"unknown unit {unit!r}: one of {', '.join(UNIT_TO_MM)}")
    start = similarity_procrustes(prediction.landmarks, scan.landmarks, allow_reflection=True)
    if not metrical:
        return start
    factor = UNIT_TO_MM[unit]
    if protocol == "official":
        # The official code leaves the translation as it was for the fitted scale: wrong by the scales' difference times
        # the distance between the prediction's origin and its landmarks.
        return Similarity(factor, start.rotation, start.translation)
    middle = np.asarray(prediction.landmarks, np.float64).mean(axis=0)
    return Similarity(factor, start.rotation, scan.landmarks.mean(axis=0) - factor * start.rotation @ middle)


class _Refinement:
    """Least squares over the movement x -> s R(w) (x - pivot) + pivot + t of the placed prediction.

    Parameters, (7,) or for metrical (6,): [length * (s - 1)], length * w, t. With length the size of the face (mm) all
    of them are mm of movement; with length 1 they are the bare scale, radians and mm.
    """

    def __init__(self, points: NDArray, surface: Surface, pivot: NDArray, length: float, metrical: bool):
        self._points, self._surface, self._pivot = points - pivot, surface, pivot
        self._length, self._metrical = length, metrical

    def start(self) -> NDArray[np.float64]:
        return np.zeros(6 if self._metrical else 7)

    def placement(self, parameters: NDArray) -> Similarity:
        """The movement as a similarity of the scan's frame."""
        scale, vector, shift = self._unpack(parameters)
        rotation, _ = rotation_vector_to_matrix(vector)
        return Similarity(scale, rotation, self._pivot + shift - scale * rotation @ self._pivot)

    def residuals(self, parameters: NDArray):
        """Unsigned distances in mm (and the penalty on a negative scale), and their Jacobian when it is asked for.

        The points are moved into the resting mesh's frame, not the mesh to the points, so that one tree serves every
        iteration. A distance changes with the movement of its closest surface point along the line to it; the sliding
        of that point along the surface has no first-order effect.
        """
        scale, vector, shift = self._unpack(parameters)
        rotation, rotation_derivative = rotation_vector_to_matrix(vector)
        if scale == 0:  # never accepted, so its Jacobian is never asked for
            return np.full(len(self._points) + 1, np.inf), lambda: np.zeros((len(self._points) + 1, 7))
        resting = (self._points - shift) @ rotation / scale
        distances, closest, _ = self._surface.closest(resting + self._pivot)
        distances *= abs(scale)
        closest -= self._pivot

        def jacobian() -> NDArray[np.float64]:
            moved = scale * (resting - closest) @ rotation.T
            direction = np.divide(moved, distances[:, None], out=np.zeros_like(moved), where=distances[:, None] > 0)
            movements = [scale * part for part in rotation_derivative]
            if not self._metrical:
                movements.insert(0, rotation)
            columns = [((direction @ movement) * closest).sum(axis=1) / self._length for movement in movements]
            matrix = -np.concatenate([np.stack(columns, axis=1), direction], axis=1)
            return matrix if self._metrical else np.concatenate([matrix, self._penalty_row(scale)])

        if self._metrical:
            return distances, jacobian
        return np.append(distances, _NEGATIVE_SCALE_WEIGHT * (abs(scale) - scale)), jacobian

    def _penalty_row(self, scale: float) -> NDArray[np.float64]:
        row = np.zeros((1, 7))
        row[0, 0] = _NEGATIVE_SCALE_WEIGHT * (np.sign(scale) - 1) / self._length
        return row

    def _unpack(self, parameters: NDArray) -> tuple[float, NDArray, NDArray]:
        scale = 1.0 if self._metrical else 1.0 + float(parameters[0]) / self._length
        return scale, parameters[-6:-3] / self._length, parameters[-3:]
