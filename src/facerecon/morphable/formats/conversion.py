"""What every reader does to reach this library's frame, mesh and colours."""

import os

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.morphable.source_model import MovingContour, Skinning, SourceModel

_ROUNDING = 1e-4  # of texture coordinates: a tenth of a texel


def check_chart(path: str | os.PathLike, uv: NDArray) -> NDArray[np.float64]:
    """Texture coordinates (T, 2) float64; InputError, naming the file, for any outside [0, 1] by more than rounding."""
    if not len(uv) or uv.min() < -_ROUNDING or uv.max() > 1 + _ROUNDING:
        raise InputError(f"{path}: texture coordinates outside [0, 1]; is it the publisher's chart?")
    return np.clip(uv.astype(np.float64), 0, 1)


def orient_outwards(vertices: NDArray, triangles: NDArray) -> tuple[NDArray[np.int32], bool]:
    """Triangles (F, 3) int32 counter-clockwise seen from outside, and whether they had to be turned.

    Publishers wind all triangles one way or all the other. Outside is where the volume under the surface, seen from the
    mean of the vertices (V, 3), is positive, which holds for a whole head and for a face open at the back.
    """
    corners = vertices[triangles] - vertices.mean(0)
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum()
    turned = bool(volume < 0)
    return np.ascontiguousarray(triangles[:, [0, 2, 1]] if turned else triangles, dtype=np.int32), turned


def place_on_vertices(
    path: str | os.PathLike, landmark_vertices: NDArray[np.int64], triangles: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Landmarks that are vertices (n,) as triangles (n,) and barycentrics (n, 3).

    Raises InputError, naming the file, if one of the vertices is in no triangle.
    """
    corners = triangles.ravel()
    order = np.argsort(corners, kind="stable")
    first = np.searchsorted(corners, landmark_vertices, sorter=order)
    inside = first < len(corners)
    corner = order[np.where(inside, first, 0)]
    if not (inside & (corners[corner] == landmark_vertices)).all():
        raise InputError(f"{path}: a landmark's vertex is in no triangle; do the files belong together?")
    return corner // 3, np.eye(3, dtype=np.float32)[corner % 3]


def linear_albedo(mean: NDArray, basis: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Linear RGB mean (V, 3) and basis (A, V, 3) of a texture model in display values.

    mean: (V, 3), basis: (A, V, 3), sRGB in [0, 1]. The mean is converted exactly (IEC 61966-2-1). The curve is not
    linear, so no basis reproduces every colour: this one has the curve's slope at the mean, and its error grows with
    the square of the distance from the mean. The publishers' photographs hold shading and an unknown white, which stay
    in.
    """
    display = np.clip(mean, 0, 1)
    bent = ((display + 0.055) / 1.055) ** 1.4
    dark = display <= 0.04045
    slope = np.where(dark, 1 / 12.92, 2.4 / 1.055 * bent)
    linear = np.where(dark, display / 12.92, bent * (display + 0.055) / 1.055)
    return linear.astype(np.float32), (basis * slope).astype(np.float32)


def assemble(
    *,
    name: str,
    licence: str,
    sources: dict[str, str],
    mean: NDArray,
    triangles: NDArray[np.int32],
    identity: NDArray,
    expression: NDArray,
    albedo: tuple[NDArray, NDArray] | None = None,
    landmarks: tuple[NDArray, NDArray] | None = None,
    contour: MovingContour | None = None,
    chart: tuple[NDArray, NDArray] | None = None,
    skinning: Skinning | None = None,
    interaction: NDArray | None = None,
    start_landmarks: NDArray | None = None,
    notes: tuple[str, ...] = (),
) -> SourceModel:
    """The model in the head frame, float32, its seams split and its origin at the landmarks' mean.

    mean (V, 3) and the bases (n, V, 3) are mm along the head frame's axes, of any origin; triangles are oriented.
    albedo: mean and basis, linear RGB, of the vertices before or after the split. landmarks: triangles and
    barycentrics. start_landmarks: (7, 3) or (68, 3) mm beside the mean face, of its origin.
    chart: texture coordinates (T, 2) and their indices (F, 3) for each triangle's corners. Without landmarks the origin
    is the vertices' mean.
    """
    uv, copies = None, np.zeros(0, np.int64)
    if chart is not None:
        triangles, uv, copies = _split_seams(len(mean), triangles, *chart)

    def vertices_last(array: NDArray) -> NDArray[np.float32]:
        """An array (..., V, 3) with the seams' copies."""
        return np.concatenate([array, array[..., copies, :]], axis=-2).astype(np.float32)

    if albedo is not None and len(albedo[0]) == len(mean):
        albedo = (vertices_last(albedo[0]), vertices_last(albedo[1]))
    if skinning is not None and len(copies):
        correctives = skinning.pose_correctives
        skinning = Skinning(
            skinning.joint_names,
            skinning.parents,
            np.pad(skinning.joint_regressor, ((0, 0), (0, len(copies)))),
            np.concatenate([skinning.weights, skinning.weights[copies]]),
            None if correctives is None else vertices_last(correctives),
        )
    model = SourceModel(
        name=name,
        licence=licence,
        mean=vertices_last(mean - mean.mean(0)),
        triangles=triangles,
        identity=vertices_last(identity),
        expression=vertices_last(expression),
        albedo_mean=None if albedo is None else albedo[0],
        albedo=None if albedo is None else albedo[1],
        contour=contour,
        uv=uv,
        seam_copies=copies,
        skinning=skinning,
        interaction=None if interaction is None else vertices_last(interaction),
        sources=sources,
        origin=mean.mean(0),
        start_landmarks=None if start_landmarks is None else start_landmarks - mean.mean(0),
        notes=notes,
    )
    return model if landmarks is None else model.with_landmarks(*landmarks)


def sample_texture(texture: NDArray, uv: NDArray) -> NDArray[np.float64]:
    """Values (V, C) of a texture (H, W, C) at uv (V, 2), bilinear; row 0 is at v = 1, texel centres half a texel in."""
    height, width = texture.shape[:2]
    column = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    row = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (column - left)[:, None], (row - top)[:, None]
    upper = texture[top, left] * (1 - across) + texture[top, right] * across
    lower = texture[bottom, left] * (1 - across) + texture[bottom, right] * across
    return upper * (1 - down) + lower * down


def corner_coordinates(count: int, triangles: NDArray, uv: NDArray, uv_triangles: NDArray) -> NDArray[np.float64]:
    """Texture coordinates (V', 2) of `count` vertices followed by their copies, as `assemble` splits them."""
    return _split_seams(count, triangles, uv, uv_triangles)[1].astype(np.float64)


def _split_seams(
    count: int, triangles: NDArray, uv: NDArray, uv_triangles: NDArray
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
    """Triangles whose every vertex has one place in the chart, those places, and which vertices the added ones copy.

    A vertex keeps the first of its places by number, and gets a copy for each further one. Vertices of no triangle are
    put at (0, 0).
    """
    pairs = triangles.astype(np.int64).ravel() * len(uv) + uv_triangles.ravel()
    places, corner = np.unique(pairs, return_inverse=True)
    owner, place = places // len(uv), places % len(uv)
    is_first = np.diff(owner, prepend=-1) != 0
    new_id = np.where(is_first, owner, count + np.cumsum(~is_first) - 1)
    copies = owner[~is_first]
    coordinates = np.zeros((count + len(copies), 2), np.float32)
    coordinates[new_id] = uv[place]
    return new_id[corner].reshape(-1, 3).astype(np.int32), coordinates, copies
