"""3DDFA_V2's face: `bfm_noneck_v3.pkl`, `tri.pkl` and `param_mean_std_62d_120x120.pkl`, all in its folder `configs`.

A cut of the Basel Face Model 2009 of 38,365 vertices with 40 identity and 10 expression components, no albedo. With
`BFM_UV.mat` and `indices.npy` of the same folder it has a UV chart: that of the 53,215 vertices without the inner
mouth, of which the second says which are kept.

Published formula: S = u + w_shp a + w_exp b, micrometres, in which a and b are the network's outputs times a standard
deviation plus a mean, over the training faces (the third file: 12 numbers of pose, 40 of identity, 10 of expression).

The bases alone do not say how large a coefficient is likely to be; the training faces do. Here identity coefficients
are standard normal over them, so that the mean face is their mean and not `u`. Expression 0 is the neutral face, which
is not the mean of expressions: there a coefficient of 1 is the root mean square over the training faces.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.morphable.formats.conversion import assemble, check_chart, orient_outwards, place_on_vertices
from facerecon.morphable.formats.files import (
    Content,
    Role,
    check_indices,
    hash_files,
    read_array,
    read_columns,
    read_flat_points,
    read_indices,
    sort_by_role,
)
from facerecon.morphable.source_model import SourceModel

LICENCE = "Basel Face Model 2009 as cut by 3DDFA_V2: academic use only"
IDENTITY, EXPRESSION, POSE = 40, 10, 12
MM_PER_MICROMETRE = 1e-3

ROLES = {
    "model": Role("bfm_noneck_v3.pkl", frozenset({"u", "w_shp", "w_exp", "keypoints"})),
    "statistics": Role("param_mean_std_62d_120x120.pkl", frozenset({"mean", "std"})),
    "triangles": Role("tri.pkl", frozenset({"array"}), also=lambda content: np.ndim(content["array"]) == 2),
    "kept": Role("indices.npy", frozenset({"array"}), also=lambda content: np.ndim(content["array"]) == 1),
    "uv": Role("BFM_UV.mat", frozenset({"UV"})),
}
REQUIRED, OF_CHART = {"model", "statistics", "triangles"}, {"kept", "uv"}


def read(files: Sequence[str | os.PathLike]) -> SourceModel:
    """The model in the three files, or in the five with its UV chart, in any order.

    Raises InputError, naming the file, if one is missing, damaged, of the wrong size or of no use here.
    """
    found = sort_by_role(files, ROLES)
    needed = REQUIRED | OF_CHART if OF_CHART & found.keys() else REQUIRED
    if needed - found.keys():
        missing = ", ".join(role.title for name, role in ROLES.items() if name in needed and name not in found)
        raise InputError(f"{files[0] if files else 'no file'}: needs also {missing} of 3DDFA_V2's configs")
    path, content = found["model"]
    mean = read_flat_points(path, content, "u") * MM_PER_MICROMETRE
    bases = [
        read_columns(path, content, name, len(mean))[:count] * MM_PER_MICROMETRE
        for name, count in (("w_shp", IDENTITY), ("w_exp", EXPRESSION))
    ]
    if [len(basis) for basis in bases] != [IDENTITY, EXPRESSION]:
        raise InputError(
            f"{path}: {len(bases[0])} + {len(bases[1])} components, where {IDENTITY} + {EXPRESSION} are needed"
        )
    size = (POSE + IDENTITY + EXPRESSION,)
    average, deviation = (read_array(*found["statistics"], name, size) for name in ("mean", "std"))
    own, shown = slice(POSE, POSE + IDENTITY), slice(POSE + IDENTITY, None)
    mean = mean + np.tensordot(average[own].astype(np.float64), bases[0], 1)

    triangle_path, triangle_content = found["triangles"]
    corners = read_array(triangle_path, triangle_content, "array", (3, None)).T
    triangles, _ = orient_outwards(mean, check_indices(triangle_path, "tri", corners, len(mean)))
    # Numbers of the coordinates in u: x, y and z of each landmark.
    keypoints = read_indices(path, content, "keypoints", (3 * 68,), 3 * len(mean), first=0)[::3] // 3
    return assemble(
        name="3DDFA_V2 face (Basel Face Model 2009 without neck)",
        licence=LICENCE,
        sources=hash_files(files),
        mean=mean,
        triangles=triangles,
        identity=bases[0] * deviation[own, None, None],
        expression=bases[1] * np.hypot(average, deviation)[shown, None, None],
        landmarks=place_on_vertices(path, keypoints, triangles),
        chart=None if "uv" not in found else _read_chart(found, triangles, len(mean)),
        notes=(
            "identity 0: the mean of 3DDFA_V2's training faces, not the mean face u of its file",
            "expression coefficients: 1 is the root mean square over 3DDFA_V2's training faces",
        ),
    )


def _read_chart(
    found: dict[str, tuple[Path, Content]], triangles: NDArray[np.int32], vertices: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    path, content = found["uv"]
    uv = check_chart(path, read_array(path, content, "UV", (None, 2)))
    path, content = found["kept"]
    return uv[check_indices(path, "indices", read_array(path, content, "array", (vertices,)), len(uv))], triangles
