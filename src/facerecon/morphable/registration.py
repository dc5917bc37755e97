"""Registration of face scans: a model's mesh laid onto a scan's surface, which puts raw scans into one topology.

Three stages: a rigid placement from landmarks; a fit of identity, expression and placement (`model_fit`); and smooth
offsets of the vertices from that fit (`surface_offsets`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, similarity_procrustes
from facerecon.morphable.model_fit import FittedModel, RegistrationModel, Targets, fit_model
from facerecon.morphable.scan_surface import ScanSurface
from facerecon.morphable.surface_matching import find_exposed, match_vertices
from facerecon.morphable.surface_offsets import OFFSET_SCALES, fit_offsets
from facerecon.morphable.topology import NOW_LANDMARKS

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "um": 0.001}
"""mm a unit that scans come in."""
SIZE_RANGE = (0.6, 1.6)
"""Face size over the mean face's, by landmarks, outside which a scan is held to be in another unit."""
LEAST_POINTS, LEAST_LANDMARKS = 500, 4
GREATEST_LANDMARK_DISTANCE = 30.0
"""mm, median, by which landmarks may lie off the scan."""
_JAW_WEIGHT = 0.1  # of the landmarks 0 to 16, which no surface feature marks


@dataclass(frozen=True)
class RegisteredScan:
    """A scan in the model's topology, in mm along the scan's axes.

    identity: (I,), expression: (E,) of the model's fit, standard deviations. placement: head frame -> scan frame, rigid
    (scale 1). fitted: (V, 3) the model's fit. vertices: (V, 3) the mesh on the scan's surface. valid: (V,) bool, True
    where the scan has a counterpart; elsewhere the vertices follow their neighbours and the model. distances: (V,) mm
    from the vertices to the scan, whether valid or not.
    """

    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    placement: Similarity
    fitted: NDArray[np.float64]
    vertices: NDArray[np.float64]
    valid: NDArray[np.bool_]
    distances: NDArray[np.float64]

    @property
    def head_vertices(self) -> NDArray[np.float64]:
        """The registered vertices (V, 3) in the model's head frame, mm."""
        return (self.vertices - self.placement.translation) @ self.placement.rotation


def register_scan(
    scan: ArrayLike | tuple[ArrayLike, ArrayLike],
    landmarks: ArrayLike,
    model: RegistrationModel,
    unit: float = 1.0,
) -> RegisteredScan:
    """Lay the model's mesh onto a scan.

    scan: points (N, 3), or a mesh as a pair of vertices (N, 3) and triangles (F, 3), in any rigid frame; it may have
    holes, rough borders, outliers and more than the face. landmarks: (7, 3) in NoW's order or (68, 3) iBUG in the same
    frame and unit; rows of NaN stand for landmarks that were not seen. unit: mm a unit of scan and landmarks.
    Raises InputError for landmarks that are missing, too few, on one line or far from the scan, a scan that is empty or
    not finite, and a size that is no face's (the message names the unit it looks like); ValueError for other shapes.
    """
    vertices, triangles = _checked_scan(scan)
    points, numbers = _checked_landmarks(landmarks)
    targets = Targets(points * unit, np.where(numbers < 17, _JAW_WEIGHT, 1.0))
    fitted_model = FittedModel(model, numbers)
    own = fitted_model.landmarks(fitted_model.mean)
    check_face_size(targets.points, own, unit)
    placement = similarity_procrustes(own, targets.points, with_scale=False)
    surface = ScanSurface(vertices * unit, triangles)
    _check_frames(surface, targets.points)
    surface.turn_outwards(placement.apply(fitted_model.mean), fitted_model.triangles)

    coefficients, placement = fit_model(fitted_model, surface, targets, placement)
    fitted = placement.apply(fitted_model.decode(coefficients))
    exposed = find_exposed(fitted, fitted_model.triangles)
    moved = fit_offsets(fitted_model, fitted, exposed, surface, targets)
    found, valid = match_vertices(surface, moved, fitted_model.triangles, np.arange(len(moved)), OFFSET_SCALES[-1])
    return RegisteredScan(
        coefficients[: fitted_model.identities].astype(np.float32),
        coefficients[fitted_model.identities :].astype(np.float32),
        placement,
        *(fitted_model.with_copies(array) for array in (fitted, moved, valid & exposed, found.distances)),
    )


def distances_to_mesh(points: ArrayLike, vertices: ArrayLike, triangles: ArrayLike) -> NDArray[np.float64]:
    """Distances (N,) of scan points to a registered mesh, NaN for points that it does not reach up to.

    Those are the points whose closest point lies on the mesh's border: hair, neck and ears beyond a face model. No
    point is left out for its distance. points: (N, 3); vertices: (V, 3); triangles: (F, 3); one frame and unit.
    """
    found = ScanSurface(np.asarray(vertices, np.float64), np.asarray(triangles, np.int64)).closest(
        np.asarray(points, np.float64)
    )
    return np.where(found.beside, np.nan, found.distances)


def check_face_size(landmarks: NDArray, model_landmarks: NDArray, unit: float) -> None:
    """Raise InputError, naming the unit that it looks like, if a face is not of human size.

    landmarks: (L, 3) of the scan in mm, as `unit` (mm a unit of the file) made them; model_landmarks: (L, 3) mm.
    """
    ratio = 1.0 / similarity_procrustes(landmarks, model_landmarks).scale
    if SIZE_RANGE[0] <= ratio <= SIZE_RANGE[1]:
        return
    likely = min(UNITS, key=lambda name: abs(np.log(ratio / unit * UNITS[name])))
    fits = SIZE_RANGE[0] <= ratio / unit * UNITS[likely] <= SIZE_RANGE[1]
    remedy = f"it looks like {likely}: give that unit" if fits else "give its unit, and landmarks in the scan's frame"
    raise InputError(f"the landmarks span a face {ratio:.3g} times the usual size with {unit:g} mm a unit; {remedy}")


def _check_frames(surface: ScanSurface, landmarks: NDArray) -> None:
    distance = float(np.median(surface.closest(landmarks).distances))
    if distance > GREATEST_LANDMARK_DISTANCE:
        raise InputError(
            f"the landmarks lie {distance:.3g} mm off the scan: give those of this scan, in its frame and unit"
        )


def _checked_scan(
    scan: ArrayLike | tuple[ArrayLike, ArrayLike],
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    vertices, triangles = scan if isinstance(scan, tuple) else (scan, None)
    vertices = np.asarray(vertices, np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"scan points must be (N, 3), not {vertices.shape}")
    if len(vertices) < LEAST_POINTS:
        raise InputError(f"the scan has {len(vertices)} points, at least {LEAST_POINTS} are needed to register a face")
    broken = int((~np.isfinite(vertices).all(1)).sum())
    if broken:
        raise InputError(f"{broken} of the scan's {len(vertices)} points are NaN or infinite: remove them")
    if triangles is None:
        return vertices, None
    triangles = np.asarray(triangles, np.int64)
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"scan triangles must be (F, 3), not {triangles.shape}")
    if len(triangles) == 0:
        raise InputError("the scan's mesh has no triangles: give its points alone")
    return vertices, triangles


def _checked_landmarks(landmarks: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The landmarks that were seen (L, 3) and their iBUG numbers (L,)."""
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape not in ((7, 3), (68, 3)):
        raise ValueError(f"landmarks must be (7, 3) or (68, 3), not {landmarks.shape}")
    numbers = np.arange(68) if len(landmarks) == 68 else np.array(NOW_LANDMARKS)
    seen = ~np.isnan(landmarks).any(1)
    if np.isinf(landmarks).any() or seen.sum() < LEAST_LANDMARKS:
        raise InputError(
            f"{int(seen.sum())} landmarks are finite, at least {LEAST_LANDMARKS} are needed to place a face"
        )
    return landmarks[seen], numbers[seen]
