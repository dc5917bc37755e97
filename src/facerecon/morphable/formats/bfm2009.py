"""Basel Face Model 2009, alone or as Deng et al. (2019) crop it and add FaceWarehouse expressions.

Three sets of files are read:

- `01_MorphableModel.mat` (Paysan et al. 2009): the whole head of 53,490 vertices, 199 identity and albedo components,
  no expression and no landmarks.
- The same with `Exp_Pca.bin` and `std_exp.txt` (Guo et al. 2018: 79 expression components made from FaceWarehouse, on
  53,215 of the vertices), `BFM_exp_idx.mat` (which these are), `BFM_front_idx.mat` (which of them Deng et al. keep) and
  `facemodel_info.mat` (their triangles and landmarks): 35,709 vertices, 80 identity, 64 expression and 80 albedo
  components, with 68 landmarks.
- `BFM_model_front.mat`: the result of the latter, as Deng et al.'s code writes it.

The face of the latter two has a UV chart if `BFM_UV.mat` (of 3DDFA_V2: the 53,215 vertices of `BFM_exp_idx.mat`) is
named too, beside `BFM_model_front.mat` with `BFM_front_idx.mat`.

Published formula: S = shapeMU + shapePC (shapeEV a) + expPC (expEV b), texture T = texMU + texPC (texEV t), where the
"EV" are standard deviations; micrometres (tenths of a metre in `BFM_model_front.mat`) and display values 0 to 255. The
mean of the expression file is left out, as Deng et al. do.
"""

import os
from collections.abc import Sequence
from pathlib import Path

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
    check_exists,
    hash_files,
    read_array,
    read_columns,
    read_flat_points,
    read_indices,
    sort_by_role,
)
from facerecon.morphable.source_model import SourceModel

LICENCE = "Basel Face Model 2009: registered users, non-commercial research; not to be passed on"
MM_PER_MICROMETRE = 1e-3
MM_PER_DECIMETRE = 100.0
FRONT_IDENTITY, FRONT_EXPRESSION, FRONT_ALBEDO = 80, 64, 80

ROLES = {
    "ready": Role(
        "BFM_model_front.mat",
        frozenset({"meanshape", "idBase", "exBase", "meantex", "texBase", "tri", "keypoints"}),
    ),
    "model": Role(
        "01_MorphableModel.mat", frozenset({"shapeMU", "shapePC", "shapeEV", "texMU", "texPC", "texEV", "tl"})
    ),
    "info": Role("facemodel_info.mat", frozenset({"tri", "keypoints"})),
    "front": Role("BFM_front_idx.mat", frozenset({"idx"})),
    "trim": Role("BFM_exp_idx.mat", frozenset({"trimIndex"})),
    "uv": Role("BFM_UV.mat", frozenset({"UV"})),
}
PARTS = ("model", "info", "front", "trim")


def read(files: Sequence[str | os.PathLike]) -> SourceModel:
    """The model in one of the three sets of files above, in any order.

    Raises InputError, naming the file, if one is missing, damaged, of the wrong size or of no use here.
    """
    expression = {Path(path).suffix.lower(): path for path in files if Path(path).suffix.lower() in (".bin", ".txt")}
    found = sort_by_role([path for path in files if path not in expression.values()], ROLES)
    if not expression and set(found) in ({"ready"}, {"ready", "uv", "front"}):
        return _read_ready(found)
    if not expression and set(found) == {"model"}:
        return _read_whole(*found["model"])
    if set(found) - {"uv"} != set(PARTS) or set(expression) != {".bin", ".txt"} or len(files) != len(found) + 2:
        raise InputError(
            f"{files[0] if files else 'no file'}: name 01_MorphableModel.mat alone, BFM_model_front.mat alone or with "
            f"BFM_UV.mat and BFM_front_idx.mat, or {', '.join(ROLES[name].title for name in PARTS)}, Exp_Pca.bin and "
            "std_exp.txt together, and BFM_UV.mat if there"
        )
    return _read_front(found, expression[".bin"], expression[".txt"])


def _read_whole(path: Path, content: Content) -> SourceModel:
    mean, identity, colour = _read_bases(path, content)
    triangles = read_indices(path, content, "tl", (None, 3), len(mean), first=1)
    return assemble(
        name="Basel Face Model 2009",
        licence=LICENCE,
        sources=hash_files([path]),
        mean=mean,
        triangles=orient_outwards(mean, triangles)[0],
        identity=identity,
        expression=np.zeros((0, len(mean), 3)),
        albedo=linear_albedo(*colour),
    )


def _read_front(
    found: dict[str, tuple[Path, Content]], basis_file: str | os.PathLike, deviations_file: str | os.PathLike
) -> SourceModel:
    mean, identity, colour = _read_bases(*found["model"])
    trim = read_indices(*found["trim"], "trimIndex", (None, 1), len(mean), first=1)[:, 0]
    front = read_indices(*found["front"], "idx", (None, 1), len(trim), first=1)[:, 0]
    expression = _read_expression(basis_file, deviations_file, len(trim))[:FRONT_EXPRESSION, front]
    kept = trim[front]
    mean, colour_mean, colour_basis = mean[kept], colour[0][kept], colour[1][:FRONT_ALBEDO, kept]
    triangles, landmarks = _read_mesh(*found["info"], mean)
    return assemble(
        name="Basel Face Model 2009, front face (Deng et al. 2019)",
        licence=LICENCE,
        sources=hash_files([path for path, _ in found.values()] + [basis_file, deviations_file]),
        mean=mean,
        triangles=triangles,
        identity=identity[:FRONT_IDENTITY, kept],
        expression=expression,
        albedo=linear_albedo(colour_mean, colour_basis),
        landmarks=landmarks,
        chart=_read_chart(found, triangles, len(mean)),
    )


def _read_ready(found: dict[str, tuple[Path, Content]]) -> SourceModel:
    path, content = found["ready"]
    mean = read_flat_points(path, content, "meanshape") * MM_PER_DECIMETRE
    colour = read_flat_points(path, content, "meantex") / 255
    if len(colour) != len(mean):
        raise InputError(
            f"{path}: meantex is of {len(colour)} vertices and meanshape of {len(mean)}; download it again"
        )
    triangles, landmarks = _read_mesh(path, content, mean)
    return assemble(
        name="Basel Face Model 2009, front face (Deng et al. 2019)",
        licence=LICENCE,
        sources=hash_files([path for path, _ in found.values()]),
        mean=mean,
        triangles=triangles,
        identity=read_columns(path, content, "idBase", len(mean)) * MM_PER_DECIMETRE,
        expression=read_columns(path, content, "exBase", len(mean)) * MM_PER_DECIMETRE,
        albedo=linear_albedo(colour, read_columns(path, content, "texBase", len(mean)) / 255),
        landmarks=landmarks,
        chart=_read_chart(found, triangles, len(mean)),
    )


def _read_bases(path: Path, content: Content) -> tuple[NDArray, NDArray, tuple[NDArray, NDArray]]:
    """Mean (V, 3) and identity basis (n, V, 3) in mm, and the colour's mean and basis, sRGB in [0, 1]."""
    mean = read_flat_points(path, content, "shapeMU") * MM_PER_MICROMETRE
    colour = read_flat_points(path, content, "texMU") / 255
    if len(colour) != len(mean):
        raise InputError(f"{path}: texMU is of {len(colour)} vertices and shapeMU of {len(mean)}; download it again")
    identity = _scaled(path, content, "shapePC", "shapeEV", len(mean)) * MM_PER_MICROMETRE
    return mean, identity, (colour, _scaled(path, content, "texPC", "texEV", len(mean)) / 255)


def _scaled(path: Path, content: Content, basis: str, deviations: str, vertices: int) -> NDArray[np.float64]:
    columns = read_columns(path, content, basis, vertices)
    return columns * read_array(path, content, deviations, (len(columns), 1))[:, :, None]


def _read_mesh(path: Path, content: Content, mean: NDArray) -> tuple[NDArray[np.int32], tuple[NDArray, NDArray]]:
    triangles, _ = orient_outwards(mean, read_indices(path, content, "tri", (None, 3), len(mean), first=1))
    keypoints = read_indices(path, content, "keypoints", (1, 68), len(mean), first=1)[0]
    return triangles, place_on_vertices(path, keypoints, triangles)


def _read_chart(
    found: dict[str, tuple[Path, Content]], triangles: NDArray[np.int32], vertices: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]] | None:
    """The front face's texture coordinates (V, 2) and triangles; None without BFM_UV.mat."""
    if "uv" not in found:
        return None
    path, content = found["uv"]
    uv = check_chart(path, read_array(path, content, "UV", (None, 2)))
    return uv[read_indices(*found["front"], "idx", (vertices, 1), len(uv), first=1)[:, 0]], triangles


def _read_expression(
    basis_file: str | os.PathLike, deviations_file: str | os.PathLike, vertices: int
) -> NDArray[np.float64]:
    """Expression basis (n, V, 3), mm a standard deviation.

    The binary file holds the number n as int32, then a mean and n components, float32 x, y, z of each vertex in turn,
    little-endian, micrometres; the text file n standard deviations.
    """
    data = check_exists(basis_file).read_bytes()
    count = int.from_bytes(data[:4], "little", signed=True)
    if count < 1 or len(data) != 4 + 4 * 3 * vertices * (1 + count):
        raise InputError(
            f"{basis_file}: {len(data)} bytes do not hold components of {vertices} vertices; "
            "is it Exp_Pca.bin, and whole?"
        )
    numbers = np.frombuffer(data, "<f4", offset=4).reshape(1 + count, vertices, 3)[1:]
    if not np.isfinite(numbers).all():
        raise InputError(f"{basis_file}: values that are not finite; download it again")
    try:
        deviations = np.array(check_exists(deviations_file).read_text(encoding="ascii").split(), dtype=np.float64)
    except ValueError:
        raise InputError(f"{deviations_file}: not a text file of numbers; is it std_exp.txt?") from None
    if len(deviations) != count or not np.isfinite(deviations).all():
        raise InputError(f"{deviations_file}: {len(deviations)} numbers for {count} components; is it std_exp.txt?")
    return numbers.astype(np.float64) * deviations[:, None, None] * MM_PER_MICROMETRE
