"""FLAME head models of 2017, 2020 and 2023, with their landmarks and texture spaces.

The model file (`generic_model.pkl`, `female_model.pkl`, `flame2023.pkl`, ... or the same names in an .npz) is required,
the others are optional:

- landmarks: `landmark_embedding.npy` (68 fixed ones, and 17 of the jaw for each degree of yaw from -39 to 39), or
  `flame_static_embedding.pkl` (51 without the jaw) with `flame_dynamic_embedding.npy` (the jaw's, whose frontal row
  completes the 68); with the 51 alone the model has no landmarks;
- a texture space: `FLAME_texture.npz` (with the UV chart), or `FLAME_albedo_from_BFM.npz`, which has none: then the
  chart must come from `FLAME_texture.npz` or from `head_template.obj`, which may also be given for its chart alone. Of
  two texture spaces the one from the BFM is taken.

Published formula (Li et al. 2017): T = v_template + shapedirs (a, b) + posedirs (R - 1); joints = J_regressor
(v_template + shapedirs (a, b)); linear blend skinning of T. Metres; 300 identity and 100 expression components a
standard deviation, in this order; joints: root, neck, jaw, left and right eye. Textures are pictures of channels B, G,
R, display values 0 to 255 (from the BFM: 0 to 1), row 0 at v = 1; each vertex takes its own texel's colour.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.geometry.obj_files import read_obj
from facerecon.morphable.formats.conversion import (
    assemble,
    check_chart,
    corner_coordinates,
    linear_albedo,
    orient_outwards,
    sample_texture,
)
from facerecon.morphable.formats.files import (
    Content,
    Role,
    hash_files,
    read_array,
    read_indices,
    sort_by_role,
)
from facerecon.morphable.source_model import MovingContour, Skinning, SourceModel

LICENCE = "FLAME: the licence of the version, as its download page at https://flame.is.tue.mpg.de states it"
JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
IDENTITY = 300
MM_PER_METRE = 1000.0
LARGEST_YAW = 39  # degrees, of the jaw's embedding

PART_NAMES = frozenset({"lmk_face_idx", "lmk_b_coords"})  # of the static and of the dynamic landmarks
ROLES = {
    "model": Role(
        "generic_model.pkl",
        frozenset({"v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f"}),
    ),
    "embedding": Role(
        "landmark_embedding.npy",
        frozenset(
            {"full_lmk_faces_idx", "full_lmk_bary_coords", "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"},
        ),
    ),
    "static": Role(
        "flame_static_embedding.pkl", PART_NAMES, also=lambda content: np.ndim(content["lmk_face_idx"]) == 1
    ),
    "dynamic": Role(
        "flame_dynamic_embedding.npy", PART_NAMES, also=lambda content: np.ndim(content["lmk_face_idx"]) == 2
    ),
    "texture": Role("FLAME_texture.npz", frozenset({"mean", "tex_dir", "vt", "ft"})),
    # AlbedoMM's file has these names too; its colours are linear and come with a specular part.
    "bfm_texture": Role(
        "FLAME_albedo_from_BFM.npz", frozenset({"MU", "PC"}), also=lambda content: "specMU" not in content
    ),
}
CONTOUR, INNER = 17, 51

Landmarks = tuple[NDArray[np.int64], NDArray[np.float64]]
Chart = tuple[NDArray[np.float64], NDArray[np.int64]]


def read(files: Sequence[str | os.PathLike]) -> SourceModel:
    """The model in the files above, in any order.

    Raises InputError, naming the file, if the model is missing, or a file is damaged, of the wrong size or of no use.
    """
    templates = [path for path in files if Path(path).suffix.lower() == ".obj"]
    found = sort_by_role([path for path in files if path not in templates], ROLES)
    if len(templates) > 1:
        raise InputError(f"{templates[1]}: a second chart beside {templates[0]}; name one of them")
    if "model" not in found:
        raise InputError(f"{files[0] if files else 'no file'}: needs also the model, such as generic_model.pkl")
    path, content = found["model"]
    mean = read_array(path, content, "v_template", (None, 3)).astype(np.float64) * MM_PER_METRE
    triangles, turned = orient_outwards(mean, read_indices(path, content, "f", (None, 3), len(mean), first=0))
    directions = read_array(path, content, "shapedirs", (len(mean), 3, None))
    if directions.shape[2] <= IDENTITY:
        raise InputError(
            f"{path}: shapedirs has {directions.shape[2]} components, where {IDENTITY} and more are needed"
        )
    bases = np.moveaxis(directions, 2, 0).astype(np.float64) * MM_PER_METRE

    landmarks, contour = _read_landmarks(found, mean, triangles, turned)
    chart = _read_chart(found, templates, mean, triangles, turned)
    return assemble(
        name=f"FLAME ({path.stem})",
        licence=LICENCE,
        sources=hash_files(files),
        mean=mean,
        triangles=triangles,
        identity=bases[:IDENTITY],
        expression=bases[IDENTITY:],
        albedo=_read_albedo(found, len(mean), triangles, chart),
        landmarks=landmarks,
        contour=contour,
        chart=chart,
        skinning=_read_skinning(path, content, len(mean)),
    )


def _read_skinning(path: Path, content: Content, vertices: int) -> Skinning:
    count = len(JOINTS)
    table = read_array(path, content, "kintree_table", (2, count)).astype(np.int64)
    parents = np.where(np.arange(count) == 0, -1, table[0])
    if (parents[1:] < 0).any() or (parents >= np.arange(count)).any():
        raise InputError(f"{path}: kintree_table names a joint before its parent; is it a FLAME model?")
    regressor = read_array(path, content, "J_regressor", (count, vertices)).astype(np.float64)
    weights = read_array(path, content, "weights", (vertices, count)).astype(np.float64)
    # Vertices move along with the origin only if their weights sum to 1; joints have `SourceModel.joint_offsets`.
    if np.abs(weights.sum(1) - 1).max() > 1e-3:
        raise InputError(f"{path}: the rows of weights do not sum to 1; is it a FLAME model?")
    correctives = read_array(path, content, "posedirs", (vertices, 3, 9 * (count - 1)))
    return Skinning(
        JOINTS,
        parents,
        regressor.astype(np.float32),
        (weights / weights.sum(1, keepdims=True)).astype(np.float32),
        np.moveaxis(correctives, 2, 0).astype(np.float32) * np.float32(MM_PER_METRE),
    )


def _read_landmarks(
    found: dict[str, tuple[Path, Content]], mean: NDArray, triangles: NDArray, turned: bool
) -> tuple[Landmarks | None, MovingContour | None]:
    """The 68 landmarks and the jaw's moving ones, as far as the files have them."""
    count = len(triangles)
    if "embedding" in found:
        path, content = found["embedding"]
        names = ("full_lmk_faces_idx", "full_lmk_bary_coords")
        fixed = _read_places(path, content, names, (1, CONTOUR + INNER), count, turned)
        names = ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords")
        rows = _read_places(path, content, names, (2 * LARGEST_YAW + 1, CONTOUR), count, turned)
        return (fixed[0][0], fixed[1][0]), _moving_contour(*rows, mean, triangles)
    names = ("lmk_face_idx", "lmk_b_coords")
    if "dynamic" not in found:
        return None, None
    rows = _read_places(*found["dynamic"], names, (2 * LARGEST_YAW + 1, CONTOUR), count, turned)
    contour = _moving_contour(*rows, mean, triangles)
    if "static" not in found:
        return None, contour
    inner = _read_places(*found["static"], names, (INNER,), count, turned)
    return (np.concatenate([rows[0][0], inner[0]]), np.concatenate([rows[1][0], inner[1]])), contour


def _read_places(
    path: Path, content: Content, names: tuple[str, str], shape: tuple[int, ...], count: int, turned: bool
) -> Landmarks:
    """Triangles `shape` and barycentrics (*shape, 3) of points on the model's triangles, as these were turned."""
    triangles = read_indices(path, content, names[0], shape, count, first=0)
    barycentric = read_array(path, content, names[1], (*shape, 3)).astype(np.float64)
    if np.abs(barycentric.sum(-1) - 1).max() > 1e-3:
        raise InputError(f"{path}: barycentrics in {names[1]} do not sum to 1; download it again")
    return triangles, barycentric[..., [0, 2, 1]] if turned else barycentric


def _moving_contour(rows: NDArray, barycentric: NDArray, mean: NDArray, triangles: NDArray) -> MovingContour:
    """The jaw's rows by rising yaw. Row k <= 39 is for k degrees to one side, row 39 + k for k degrees to the other.

    Which side is which, the published programs do not agree on; the surface tells: on the side that turns away, the
    contour comes forward.
    """
    points = (mean[triangles[rows]] * barycentric[..., None]).sum(-2)
    depth = points[:, 9:, 2].mean(1) - points[:, :8, 2].mean(1)  # the subject's left side before the right
    sign = 1 if depth[LARGEST_YAW] >= depth[-1] else -1
    yaw = sign * np.concatenate([np.arange(LARGEST_YAW + 1), -np.arange(1, LARGEST_YAW + 1)])
    order = np.argsort(yaw)
    return MovingContour(yaw[order].astype(np.float64), rows[order], barycentric[order].astype(np.float32))


def _read_chart(
    found: dict[str, tuple[Path, Content]],
    templates: Sequence[str | os.PathLike],
    mean: NDArray,
    triangles: NDArray,
    turned: bool,
) -> Chart | None:
    """Texture coordinates (T, 2) and their indices (F, 3), from the texture space or else the template's mesh."""
    if "texture" in found:
        path, content = found["texture"]
        uv = read_array(path, content, "vt", (None, 2)).astype(np.float64)
        corners = read_indices(path, content, "ft", triangles.shape, len(uv), first=0)
    elif templates:
        path, mesh = templates[0], read_obj(templates[0])
        if mesh.uv is None or mesh.uv_triangles is None or len(mesh.vertices) != len(mean):
            raise InputError(f"{path}: no texture coordinates of {len(mean)} vertices; is it head_template.obj?")
        uv, corners = mesh.uv, mesh.uv_triangles
        own = triangles[:, [0, 2, 1]] if turned else triangles
        if not np.array_equal(mesh.triangles, own):
            raise InputError(f"{path}: its triangles are not the model's; is it head_template.obj?")
    else:
        return None
    return check_chart(path, uv), corners[:, [0, 2, 1]] if turned else corners


def _read_albedo(
    found: dict[str, tuple[Path, Content]], vertices: int, triangles: NDArray, chart: Chart | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Linear RGB mean (V', 3) and basis (n, V', 3) at the vertices and the copies that the chart makes."""
    if "bfm_texture" in found:
        path, content = found["bfm_texture"]
        mean, basis = read_array(path, content, "MU"), read_array(path, content, "PC")
        scale = 1.0
    elif "texture" in found:
        path, content = found["texture"]
        mean = read_array(path, content, "mean", (None, None, 3))
        basis = read_array(path, content, "tex_dir", (*mean.shape, None))
        scale = 255.0
    else:
        return None
    if chart is None:
        raise InputError(f"{path}: has no UV chart; name FLAME_texture.npz or head_template.obj as well")
    size = round((mean.size / 3) ** 0.5)
    if mean.size != 3 * size * size or basis.size % mean.size or basis.shape[0] not in (mean.size, size):
        raise InputError(f"{path}: texture of shape {mean.shape} with basis {basis.shape}; download it again")
    uv = corner_coordinates(vertices, triangles, *chart)
    colour = sample_texture(mean.reshape(size, size, 3), uv)[:, ::-1] / scale
    columns = sample_texture(basis.reshape(size, size, -1), uv).reshape(len(uv), 3, -1)[:, ::-1] / scale
    return linear_albedo(colour, np.moveaxis(columns, 2, 0))
