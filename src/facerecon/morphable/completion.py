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
from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.landmark_files import read_landmarks
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.formats.registry import read_source_model
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.mean_face_landmarks import JAW, find_landmarks
from facerecon.morphable.model_files import save_converted_model
from facerecon.morphable.registration import LEAST_LANDMARKS, register_scan
from facerecon.morphable.source_model import ConvertedModel, SourceModel
from facerecon.morphable.storage import load_open_model
from facerecon.morphable.topology import weld_copies
from facerecon.morphable.topology_estimates import estimate_uv, mirror_map
from facerecon.morphable.transfer import (
    GREATEST_DISTANCE,
    Mesh,
    SurfaceMap,
    map_vertices,
    transfer_chart,
    transfer_landmarks,
    transfer_regions,
)

PUBLISHED = "the publisher's"
CARRIED_OVER = "carried over from the open face model"
GIVEN = "given with the conversion"
FOUND_BY_SHAPE = "landmarks found by shape"
LEAST_MOTION = 0.05
"""mm, root mean square: components that move vertices less have little part in mirrored coefficients."""
MOST_LANDMARKS_OFF = 6
"""Landmarks that may be farther than `transfer.GREATEST_DISTANCE` from the mesh that they are carried over to."""
LEAST_COVERED = 0.5
"""Part of the open face that must find the published one under it."""

_MOST_ROUNDS, _SETTLED = 1, 0.3  # registrations after the first; mm, mean, that its vertices still move


def convert_files(
    name: str,
    files: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    landmarks: str | os.PathLike | None = None,
) -> list[str]:
    """Write the model of format `name` in the publisher's files as a file that `load_face_model` reads.

    landmarks: file of 7 or 68 points, as `complete_model` takes them. Returns lines for people: what to check. Raises
    InputError, naming the file at fault, as the format's reader, `read_landmarks` and `complete_model` do.
    """
    source = read_source_model(name, files)
    points = None if landmarks is None else read_landmarks(landmarks)
    try:
        converted = complete_model(source, points)
    except InputError as error:
        raise InputError(f"{landmarks or files[0]}: {error}") from None
    save_converted_model(converted, out)
    if not converted.completed["landmarks"].startswith(CARRIED_OVER):
        return []
    return [
        f"landmarks: {converted.completed['landmarks']}; look at the picture of `facerecon model show {out} --out "
        "FILE.png`, and give --landmarks if they are wrong"
    ]


def complete_model(source: SourceModel, landmarks: NDArray | None = None) -> ConvertedModel:
    """The model with all that this library needs of one.

    landmarks: (7, 3) in NoW's order or (68, 3) iBUG on the published mean face, mm, in the publisher's frame; the 68
    become the model's own landmarks. None takes the publisher's or, where there are none, carries the open model's
    over, after it is registered onto the mean face from points that the publisher names or, without such, from
    landmarks found by shape (`find_landmarks`).
    Raises InputError if the open model cannot be registered onto the mean face.
    """
    open_model = load_open_model(level=1)
    completed = dict.fromkeys(("landmarks", "uv", "albedo"), PUBLISHED)
    if landmarks is not None and len(landmarks) == 68:
        if not np.isfinite(landmarks).all():
            raise InputError("all 68 landmarks must be given, or NoW's seven")
        source = source.with_landmarks(*_on_surface(source, landmarks - source.origin))
        completed["landmarks"] = GIVEN
    start, origin = _registration_landmarks(source, landmarks, open_model)
    laid = _lay_open_model(source, start, open_model)
    if source.landmark_triangles is None:
        laid = _settle(source, laid, open_model)
        moved, completed["landmarks"] = _with_landmarks(source, laid, open_model), f"{CARRIED_OVER}, from {origin}"
        laid = Mesh(laid.vertices - (moved.origin - source.origin), laid.triangles)
        source = moved
    mesh = Mesh(*source.unsplit)
    counterparts = map_vertices(mesh, laid)
    whole = weld_copies(np.arange(len(source.mean)), len(source.mean), source.seam_copies)
    regions = transfer_regions(counterparts, open_model.topology.regions)
    if source.uv is None:  # after the landmarks, which bring the face's middle to x = 0
        source, completed["uv"] = _with_uv(source, counterparts, open_model)
    if source.albedo_mean is None:
        source, completed["albedo"] = _with_albedo(source, counterparts, open_model, whole), CARRIED_OVER
    mirrored = mirror_map(*mesh)
    residual = float(np.median(mirrored.residual))
    kept = len(mesh.vertices)
    return ConvertedModel(
        source=source,
        mirror=mirrored.vertex[whole],
        regions={name: mask[whole] for name, mask in regions.items()},
        identity_mirror=mirror_matrix(source.identity[:, :kept], mirrored.vertex),
        expression_mirror=mirror_matrix(source.expression[:, :kept], mirrored.vertex),
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


def _registration_landmarks(
    source: SourceModel, given: NDArray | None, open_model: LinearFaceModel
) -> tuple[NDArray[np.float64], str]:
    """Landmarks (7, 3) or (68, 3) on the mean face, in the source's frame, for registration to start from, and whence.

    In this order: the model's own, the given ones, those that the publisher names, those found by shape.
    """
    if source.landmark_triangles is not None:
        return source.landmarks(source.mean.astype(np.float64)), "the model's landmarks"
    if given is not None:
        return given - source.origin, "the given points"
    if source.start_landmarks is not None and np.isfinite(source.start_landmarks).all(1).sum() >= LEAST_LANDMARKS:
        return source.start_landmarks, "points that the publisher names"
    return find_landmarks(*source.unsplit, open_model), FOUND_BY_SHAPE


def _lay_open_model(source: SourceModel, landmarks: NDArray, open_model: LinearFaceModel) -> Mesh:
    """The open model registered onto the mean face from landmarks (7, 3) or (68, 3)."""
    registered = register_scan(source.unsplit, landmarks, open_model)
    if registered.valid.mean() < LEAST_COVERED:
        raise InputError(
            f"only {100 * registered.valid.mean():.0f} % of a face were found on the mean face of {source.name}: "
            "give its landmarks with --landmarks (docs/face_models.md)"
        )
    return Mesh(registered.vertices, open_model.topology.triangles)


def _settle(source: SourceModel, laid: Mesh, open_model: LinearFaceModel) -> Mesh:
    """The open model laid onto the mean face again from where its inner landmarks came to lie, until it stays there."""
    topology = open_model.topology
    for _ in range(_MOST_ROUNDS):
        before = laid.vertices
        corners = before[topology.landmark_vertices]
        start = (corners * topology.landmark_barycentric[..., None]).sum(1)
        start[:JAW] = np.nan
        laid = _lay_open_model(source, start, open_model)
        if np.linalg.norm(laid.vertices - before, axis=1).mean() < _SETTLED:
            break
    return laid


def _on_surface(source: SourceModel, points: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Triangles (N,) and barycentrics (N, 3) of the mean face's points closest to points (N, 3)."""
    mean, triangles = source.unsplit
    _, closest, triangle = Surface(mean, triangles).closest(points)
    return triangle, barycentric_coordinates(closest, mean[triangles[triangle]])


def _with_landmarks(source: SourceModel, laid: Mesh, open_model: LinearFaceModel) -> SourceModel:
    topology = open_model.topology
    placed = transfer_landmarks(laid, topology.landmark_triangles, topology.landmark_barycentric, Mesh(*source.unsplit))
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
        chart = transfer_chart(counterparts, Mesh(*source.unsplit), open_model.topology.uv)
        shown, folded = 100 * chart.triangles_charted.mean(), int(chart.triangles_folded.sum())
        uv, origin = chart.uv, f"{CARRIED_OVER}: {shown:.0f} % of the triangles, without {folded} that fold over"
    return replace(source, uv=np.clip(uv, 0, 1).astype(np.float32)), origin


def _with_albedo(
    source: SourceModel, counterparts: SurfaceMap, open_model: LinearFaceModel, whole: NDArray[np.int64]
) -> SourceModel:
    """The open model's albedo where the surfaces lie on one another; elsewhere that of the nearest such vertex.

    whole: (V,) ids among the vertices without copies.
    """
    stacked = np.concatenate([open_model.albedo_mean[None].numpy(), open_model.albedo_basis.numpy()]).transpose(1, 0, 2)
    values = counterparts.interpolate(stacked).astype(np.float32)
    known, (mean, _) = np.flatnonzero(counterparts.valid), source.unsplit
    nearest = known[cKDTree(mean[known]).query(mean)[1]][whole]
    values = np.ascontiguousarray(values[nearest].transpose(1, 0, 2))
    return replace(source, albedo_mean=values[0], albedo=values[1:])
