"""FaceScape's bilinear model 1.6: `facescape_bm_v1.6_847_50_52_id_front.npz`, `..._50_52_id.npz`, `..._300_52_id.npz`.

Published formula (Yang et al. 2020): S = (core a) e with core (3 V, 52, n), identity factors a (n,) of mean `id_mean`
and variance `id_var`, and 52 expression weights e, of which the first is that of the neutral face. Millimetres; the
mesh is 26,278 vertices, of which `v_indices_front` are the face.

Here identity coefficients are standard normal (a = id_mean + sqrt(id_var) coefficient), expression coefficients are the
weights of the 51 other expressions (not normal: mostly 0 to 1), and e[0] is 1. The file holds 52 whole faces; like the
publisher's program, which takes the neutral one off the others, expressions here are offsets that are added to it. The
product of identity and expression is kept in `interaction`, without which the model would only be right at the mean
identity.

The colour model (`color_bm_mean`, `color_bm_core`: B, G, R, 0 to 255, on the face only) comes without the spread of its
coefficients: the published example draws them evenly between -50 and 50, whose standard deviation is one unit here.

Not read: the variant `id_exp`, whose expressions are components without names (known by its file's name, and by not
having 52 of them), and versions before 1.6.
"""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.morphable.formats.conversion import (
    assemble,
    check_chart,
    linear_albedo,
    orient_outwards,
    place_on_vertices,
)
from facerecon.morphable.formats.files import (
    Content,
    Role,
    check_indices,
    hash_files,
    read_array,
    read_columns,
    read_flat_points,
    sort_by_role,
)
from facerecon.morphable.source_model import SourceModel

LICENCE = "FaceScape: registered users, non-commercial research; not to be passed on"
EXPRESSIONS = 52
COLOUR_SPREAD = 100 / 12**0.5
ROLES = {
    "model": Role(
        "facescape_bm_v1.6_847_50_52_id_front.npz",
        frozenset({"shape_bm_core", "fv_indices_front", "v_indices_front", "lm_list_v16"}),
    )
}


def read(files: Sequence[str | os.PathLike]) -> SourceModel:
    """The face of the model in one .npz file.

    Raises InputError, naming the file, if it is missing, damaged, of the wrong size or the variant `id_exp`.
    """
    found = sort_by_role(files, ROLES)
    if "model" not in found:
        raise InputError("no file: facescape_bm_v1.6_847_50_52_id_front.npz or another of version 1.6 is needed")
    path, content = found["model"]
    core = read_array(path, content, "shape_bm_core", (None, None, None))
    if "id_exp" in path.stem or core.shape[1] != EXPRESSIONS:
        raise InputError(
            f"{path}: the variant id_exp, whose {core.shape[1]} expressions have no names, is not read; "
            "take facescape_bm_v1.6_847_50_52_id_front.npz"
        )
    if len(core) % 3:
        raise InputError(f"{path}: shape_bm_core has {len(core)} rows, where 3 a vertex are needed; download it again")
    count = len(core) // 3
    front = check_indices(path, "v_indices_front", read_array(path, content, "v_indices_front").ravel(), count)
    factors = core.shape[2]
    middle = read_array(path, content, "id_mean").ravel()
    variance = read_array(path, content, "id_var").ravel()
    if len(middle) != factors or len(variance) != factors or (variance < 0).any():
        raise InputError(f"{path}: id_mean and id_var are not of the core's {factors} factors; download it again")

    core = core.reshape(count, 3, EXPRESSIONS, factors)[front]
    at_mean, spread = _from_neutral(core, middle, np.sqrt(variance))
    mean = at_mean[0]
    corners = read_array(path, content, "fv_indices_front", (None, 3))
    triangles, turned = orient_outwards(mean, check_indices(path, "fv_indices_front", corners, len(front), first=1))
    return assemble(
        name=f"FaceScape ({path.stem})",
        licence=LICENCE,
        sources=hash_files([path]),
        mean=mean,
        triangles=triangles,
        identity=spread[0],
        expression=at_mean[1:],
        interaction=np.moveaxis(spread[1:], 1, 0),
        albedo=_read_albedo(path, content, len(front)),
        landmarks=_read_landmarks(path, content, front, count, triangles),
        chart=_read_chart(path, content, front, triangles, turned),
        notes=("expression coefficients: weights of 51 expressions, mostly 0 to 1, not standard normal",),
    )


def _from_neutral(
    core: NDArray, middle: NDArray, deviation: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The neutral face and the others' offsets from it at the mean identity (52, V, 3), and their change a standard
    deviation of each factor (52, n, V, 3).

    core: (V, 3, 52, n), whole faces, the neutral one first.
    """
    neutral = core[:, :, 0].astype(np.float64)
    at_mean = np.empty((EXPRESSIONS, len(core), 3))
    spread = np.empty((EXPRESSIONS, len(middle), len(core), 3), np.float32)
    for k in range(EXPRESSIONS):
        part = core[:, :, k] - neutral if k else neutral
        at_mean[k] = part @ middle
        spread[k] = np.moveaxis(part * deviation, 2, 0)
    return at_mean, spread


def _read_landmarks(
    path: os.PathLike, content: Content, front: NDArray, count: int, triangles: NDArray
) -> tuple[NDArray, NDArray]:
    listed = check_indices(path, "lm_list_v16", read_array(path, content, "lm_list_v16").ravel(), count)
    place = np.full(count, -1)
    place[front] = np.arange(len(front))
    if len(listed) != 68 or (place[listed] < 0).any():
        raise InputError(f"{path}: lm_list_v16 is not 68 vertices of the face; download it again")
    return place_on_vertices(path, place[listed], triangles)


def _read_chart(
    path: os.PathLike, content: Content, front: NDArray, triangles: NDArray, turned: bool
) -> tuple[NDArray, NDArray] | None:
    if "texcoords" not in content or "ft_indices_front" not in content:
        return None
    uv = check_chart(path, read_array(path, content, "texcoords", (None, 2)))
    corners = read_array(path, content, "ft_indices_front", triangles.shape)
    corners = check_indices(path, "ft_indices_front", corners, len(uv), first=1)
    corners = corners[:, [0, 2, 1]] if turned else corners
    if np.array_equal(corners, triangles) and front.max() < len(uv):  # numbers of the face's vertices, not of the chart
        uv = uv[front]
    return uv, corners


def _read_albedo(path: os.PathLike, content: Content, vertices: int) -> tuple[NDArray, NDArray] | None:
    """Linear RGB mean and basis of the face's vertices; black where the model has no colour."""
    if not {"color_bm_mean", "color_bm_core", "vc_dict_front"} <= set(content):
        return None
    mean = read_flat_points(path, content, "color_bm_mean") / 255
    basis = read_columns(path, content, "color_bm_core", len(mean)) * (COLOUR_SPREAD / 255)
    source = read_array(path, content, "vc_dict_front", (vertices,))
    source = check_indices(path, "vc_dict_front", source, len(mean) + 1, first=-1)  # 0 is now "none"
    known = (source > 0)[:, None]
    source = np.maximum(source - 1, 0)
    return linear_albedo(mean[source][:, ::-1] * known, basis[:, source, ::-1] * known)
