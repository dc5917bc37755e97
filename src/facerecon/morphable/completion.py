"""What publishers leave out of a face model, filled in: landmarks, texture coordinates, albedo, mirror map, regions.

The open face model is registered onto the published mean face; what it has at a place, the published model gets there.
"""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, similarity_procrustes
from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.landmark_files import read_landmarks
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.formats.registry import read_source_model
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.model_files import save_converted_model
from facerecon.morphable.registration import register_scan
from facerecon.morphable.scan_surface import ScanSurface, mesh_normals
from facerecon.morphable.source_model import ConvertedModel, SourceModel
from facerecon.morphable.storage import load_open_model
from facerecon.morphable.topology_estimates import estimate_uv, mirror_map
from facerecon.morphable.transfer import (
    GREATEST_DISTANCE,
    Mesh,
    SurfaceMap,
    map_vertices,
    transfer_landmarks,
    transfer_regions,
    transfer_uv,
)

PUBLISHED = "the publisher's"
CARRIED_OVER = "carried over from the open face model"
GIVEN = "given with the conversion"
LEAST_MOTION = 0.05
"""mm, root mean square: components that move vertices less have little part in mirrored coefficients."""
MOST_LANDMARKS_OFF = 6
"""Landmarks that may be farther than `transfer.GREATEST_DISTANCE` from the mesh that they are carried over to."""
LEAST_COVERED = 0.5
"""Part of the open face that must find the published one under it."""
_NOSE_BAND = 20.0  # mm beside the middle in which the nose tip, the foremost point, is looked for
_ALIGNMENT_STEPS, _ALIGNMENT_POINTS, _ALIGNMENT_SHARE = 30, 1500, 0.6
_ALIGNMENT_HEIGHTS = (0.0, -15.0, 15.0, -30.0, 30.0)  # mm of the nose tip over the foremost point, at the start
_MOST_ROUNDS, _SETTLED = 5, 0.3  # registrations after the first; mm, mean, that landmarks still move
_FARTHEST = 10.0  # mm at which distances are truncated


def convert_files(
    name: str,
    files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    landmarks: str | os.PathLike | None = None,
) -> None:
    """Write the model of format `name` in the publisher's files as a file that `load_face_model` reads.

    landmarks: file of 7 or 68 points, as `complete_model` takes them. Raises InputError, naming the file at fault, as
    the format's reader, `read_landmarks` and `complete_model` do.
    """
    source = read_source_model(name, files)
    points = None if landmarks is None else read_landmarks(landmarks)
    try:
        converted = complete_model(source, points)
    except InputError as error:
        raise InputError(f"{landmarks or files[0]}: {error}") from None
    save_converted_model(converted, out)


def complete_model(source: SourceModel, landmarks: NDArray | None = None) -> ConvertedModel:
    """The model with all that this library needs of one.

    landmarks: (7, 3) in NoW's order or (68, 3) iBUG on the published mean face, mm, in the publisher's frame; the 68
    become the model's own landmarks. None takes the publisher's or, where there are none, carries the open model's
    over, after the open mean face is laid onto the published one (`align_mean_faces`).
    Raises InputError if the open model cannot be registered onto the mean face.
    """
    open_model = load_open_model(level=1)
    completed = dict.fromkeys(("landmarks", "uv", "albedo"), PUBLISHED)
    if landmarks is not None and len(landmarks) == 68:
        if not np.isfinite(landmarks).all():
            raise InputError("all 68 landmarks must be given, or NoW's seven")
        source = source.with_landmarks(*_on_surface(source, landmarks - source.origin))
        completed["landmarks"] = GIVEN
    start = _registration_landmarks(source, landmarks, open_model)
    laid, found = _lay_open_model(source, start, open_model)
    if source.landmark_triangles is None:  # the start is rough: go on from what was found, till it settles
        for _ in range(_MOST_ROUNDS):
            start = found
            laid, found = _lay_open_model(source, start, open_model)
            if np.linalg.norm(found - start, axis=1).mean() < _SETTLED:
                break
    counterparts = map_vertices(Mesh(source.mean, source.triangles), laid)
    regions = transfer_regions(counterparts, open_model.topology.regions)
    if source.landmark_triangles is None:
        source, completed["landmarks"] = _with_landmarks(source, laid, open_model), CARRIED_OVER
    if source.uv is None:  # after the landmarks, which bring the face's middle to x = 0
        source, completed["uv"] = _with_uv(source, counterparts, open_model)
    if source.albedo_mean is None:
        source, completed["albedo"] = _with_albedo(source, counterparts, open_model), CARRIED_OVER
    mirrored = mirror_map(source.mean, source.triangles)
    residual = float(np.median(mirrored.residual))
    return ConvertedModel(
        source=source,
        mirror=mirrored.vertex,
        regions=regions,
        identity_mirror=mirror_matrix(source.identity, mirrored.vertex),
        expression_mirror=mirror_matrix(source.expression, mirrored.vertex),
        completed={
            **completed,
            "mirror": f"estimated, to {residual:.2f} mm (median)",
            "regions": f"{CARRIED_OVER}, at {100 * counterparts.valid.mean():.0f} % of the vertices",
        },
    )


def mirror_matrix(basis: NDArray, mirror: NDArray[np.int64]) -> NDArray[np.float32]:
    """Matrix (n, n) with coefficients(mirrored face) ~ coefficients @ matrix, by regularised least squares.

    basis: (n, V, 3) mm a standard deviation; mirror: (V,). Components that move the mesh by less than LEAST_MOTION are
    held back: they would take up what the mirror map errs by.
    """
    flat = basis.reshape(len(basis), -1)
    mirrored = (basis[:, mirror] * np.float32([-1, 1, 1])).reshape(len(basis), -1)
    gram = (flat @ flat.T).astype(np.float64) + LEAST_MOTION**2 * basis.shape[1] * np.eye(len(basis))
    return np.linalg.solve(gram, (flat @ mirrored.T).astype(np.float64)).T.astype(np.float32)


def align_mean_faces(source: SourceModel, open_model: LinearFaceModel) -> Similarity:
    """Rigid placement of the open mean face on a published one of like axes, by closest points with like normals.

    It starts with the nose tip on the foremost point, and above and below it, since that may be the lips or the chin;
    the placement with the smallest truncated distances is taken. The farther ones of the closest points are left out,
    since one mesh may show more of the head than the other.
    """
    own = open_model.mean.double().numpy()
    chosen = np.linspace(0, len(own) - 1, _ALIGNMENT_POINTS).astype(int)
    points, normals = own[chosen], mesh_normals(own, open_model.topology.triangles)[chosen]
    surface = ScanSurface(source.mean.astype(np.float64), source.triangles)
    onto_tip = _nose_tip(source.mean.astype(np.float64)) - _nose_tip(own)
    best, least = Similarity(1.0, np.eye(3), onto_tip), np.inf
    for height in _ALIGNMENT_HEIGHTS:
        placement = Similarity(1.0, np.eye(3), onto_tip + [0.0, height, 0.0])
        for _ in range(_ALIGNMENT_STEPS):
            closest, distances = _counterparts(surface, placement, points, normals)
            near = distances <= np.quantile(distances, _ALIGNMENT_SHARE)
            placement = similarity_procrustes(points[near], closest[near], with_scale=False)
        _, distances = _counterparts(surface, placement, points, normals)
        if distances.mean() < least:
            best, least = placement, distances.mean()
    return best


def _counterparts(
    surface: ScanSurface, placement: Similarity, points: NDArray, normals: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Closest surface points (N, 3) of placed points, and distances (N,), truncated; the same where there are none."""
    found = surface.closest(placement.apply(points))
    alike = (found.normals * (normals @ placement.rotation.T)).sum(1) > 0.5
    return found.points, np.where(alike & ~found.beside, np.minimum(found.distances, _FARTHEST), _FARTHEST)


def _registration_landmarks(
    source: SourceModel, given: NDArray | None, open_model: LinearFaceModel
) -> NDArray[np.float64]:
    """Landmarks (7, 3) or (68, 3) on the mean face, in the source's frame, for registration to start from."""
    if source.landmark_triangles is not None:
        return source.landmarks(source.mean.astype(np.float64))
    if given is not None:
        return given - source.origin
    own = open_model.landmarks(open_model.mean[None])[0].double().numpy()
    return align_mean_faces(source, open_model).apply(own)


def _lay_open_model(
    source: SourceModel, landmarks: NDArray, open_model: LinearFaceModel
) -> tuple[Mesh, NDArray[np.float64]]:
    """The open model registered onto the mean face from landmarks (7, 3) or (68, 3), and its 68 landmarks there."""
    registered = register_scan((source.mean, source.triangles), landmarks, open_model)
    if registered.valid.mean() < LEAST_COVERED:
        raise InputError(
            f"only {100 * registered.valid.mean():.0f} % of a face were found on the mean face of {source.name}: "
            "give its landmarks with --landmarks (docs/face_models.md)"
        )
    topology = open_model.topology
    corners = registered.vertices[topology.landmark_vertices]
    return Mesh(registered.vertices, topology.triangles), (corners * topology.landmark_barycentric[..., None]).sum(1)


def _nose_tip(vertices: NDArray) -> NDArray[np.float64]:
    middle = (vertices[:, 0].min() + vertices[:, 0].max()) / 2
    beside = np.abs(vertices[:, 0] - middle) > _NOSE_BAND
    return vertices[np.where(beside, -np.inf, vertices[:, 2]).argmax()]


def _on_surface(source: SourceModel, points: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Triangles (N,) and barycentrics (N, 3) of the mean face's points closest to points (N, 3)."""
    mean = source.mean.astype(np.float64)
    _, closest, triangle = Surface(mean, source.triangles).closest(points)
    return triangle, barycentric_coordinates(closest, mean[source.triangles[triangle]])


def _with_landmarks(source: SourceModel, laid: Mesh, open_model: LinearFaceModel) -> SourceModel:
    topology = open_model.topology
    placed = transfer_landmarks(
        laid, topology.landmark_triangles, topology.landmark_barycentric, Mesh(source.mean, source.triangles)
    )
    off = int((placed.distances > GREATEST_DISTANCE).sum())
    if off > MOST_LANDMARKS_OFF:
        raise InputError(
            f"{off} of {source.name}'s landmarks could not be placed: give them with --landmarks (docs/face_models.md)"
        )
    return source.with_landmarks(placed.triangles, placed.barycentric)


def _with_uv(source: SourceModel, counterparts: SurfaceMap, open_model: LinearFaceModel) -> tuple[SourceModel, str]:
    """A chart of the mesh's own, or the open model's where no disc can show the mesh."""
    try:
        uv, origin = estimate_uv(source.mean, source.triangles).uv, "estimated"
    except InputError:
        uv, origin = transfer_uv(counterparts, open_model.topology.uv), CARRIED_OVER
    return replace(source, uv=np.clip(uv, 0, 1).astype(np.float32)), origin


def _with_albedo(source: SourceModel, counterparts: SurfaceMap, open_model: LinearFaceModel) -> SourceModel:
    """The open model's albedo where the surfaces lie on one another; elsewhere that of the nearest such vertex."""
    stacked = np.concatenate([open_model.albedo_mean[None].numpy(), open_model.albedo_basis.numpy()]).transpose(1, 0, 2)
    values = counterparts.interpolate(stacked).astype(np.float32)
    known = np.flatnonzero(counterparts.valid)
    nearest = known[cKDTree(source.mean[known]).query(source.mean)[1]]
    values = np.ascontiguousarray(values[nearest].transpose(1, 0, 2))
    return replace(source, albedo_mean=values[0], albedo=values[1:])
