"""Basel Face Models 2017 and 2019: HDF5 files such as `model2017-1_face12_nomouth.h5` and `model2019_fullHead.h5`.

Published formula (Gerig et al. 2018): S = shape mean + shape basis sqrt(variance) a + expression mean + expression
basis sqrt(variance) b, in mm; colour likewise in [0, 1]. A file without expressions or colours is read too.

The mean face here is the shape mean, so that expression 0 is the neutral face. The expression mean follows the
publisher's components as one more: its coefficient 1 gives the published formula, b then being the others. How large it
is, the model's notes say.

The file names some sixty landmarks (`metadata/landmarks/json`: `id`, `coordinates`) on its reference mesh
(`shape/representer/points`). Those that are iBUG ones become `start_landmarks`; the model has no 68 until they are
carried over from another one. `model2019_textureMapping.json`, which comes with the model of 2019, has a UV chart for
the whole head (`triangles`, `textureMapping/pointData`, `textureMapping/triangles`).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facerecon.errors import InputError
from facerecon.morphable.formats.conversion import assemble, check_chart, linear_albedo, orient_outwards
from facerecon.morphable.formats.files import (
    check_exists,
    check_indices,
    hash_files,
    read_array,
    read_columns,
    read_flat_points,
    read_indices,
)
from facerecon.morphable.source_model import SourceModel

LICENCE = "Basel Face Model 2017/2019: registered users, non-commercial research; not to be passed on"
START = {
    "center.nose.tip": 30,
    "center.nose.attachement_to_philtrum": 33,
    "right.eye.corner_outer": 36,
    "right.eye.corner_inner": 39,
    "left.eye.corner_inner": 42,
    "left.eye.corner_outer": 45,
    "right.lips.corner": 48,
    "center.lips.upper.outer": 51,
    "left.lips.corner": 54,
    "center.lips.lower.outer": 57,
    "center.lips.upper.inner": 62,
    "center.lips.lower.inner": 66,
}
"""Publisher's name -> iBUG number, where both mean one point; the chin's tip and the brows are other ones."""
FARTHEST_LANDMARK = 5.0
"""mm off the reference mesh beyond which a named landmark lies on what a crop has cut away."""


def read(files: Sequence[str | os.PathLike]) -> SourceModel:
    """The model in one .h5 file, with the chart of model2019_textureMapping.json if that is named too.

    Raises InputError, naming the file, if one is missing, damaged, of the wrong size or another mesh's.
    """
    charts = [path for path in files if Path(path).suffix.lower() == ".json"]
    models = [path for path in files if path not in charts]
    if len(models) != 1 or len(charts) > 1:
        wrong = [*models[1:], *charts[1:], *charts, "no file"][0]
        raise InputError(f"{wrong}: one file is needed, such as model2019_fullHead.h5, and with it one chart at most")
    path = check_exists(models[0])
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file, check_exists(charts[0]) if charts else None)
    except OSError as error:
        raise InputError(f"{path}: not an HDF5 file, or damaged; download it again") from error


def _read(path: Path, file: h5py.File, chart: Path | None) -> SourceModel:
    mean, identity = _read_part(path, file, "shape", None)
    expression, notes = np.zeros((0, len(mean), 3)), ()
    if "expression/model" in file:
        expression_mean, expression = _read_part(path, file, "expression", len(mean))
        expression = np.concatenate([expression, expression_mean[None]])
        moved = np.linalg.norm(expression_mean, axis=1)
        size = f"{np.sqrt((moved**2).mean()):.2f} mm root mean square, {moved.max():.2f} mm at most"
        notes = (f"expression coefficient {len(expression)}: at 1 the publisher's mean expression ({size}), at 0 none",)
    colour = _read_part(path, file, "color", len(mean)) if "color/model" in file else None
    cells = read_array(path, file, "shape/representer/cells", (3, None)).T
    cells = check_indices(path, "shape/representer/cells", cells, len(mean))
    triangles, turned = orient_outwards(mean, cells)
    return assemble(
        name=f"Basel Face Model ({path.stem})",
        licence=LICENCE,
        sources=hash_files([path] if chart is None else [path, chart]),
        mean=mean,
        triangles=triangles,
        identity=identity,
        expression=expression,
        albedo=None if colour is None else linear_albedo(*colour),
        chart=None if chart is None else _read_chart(chart, cells, turned),
        start_landmarks=_read_landmarks(path, file, mean),
        notes=notes,
    )


def _read_landmarks(path: Path, file: h5py.File, mean: NDArray) -> NDArray[np.float64] | None:
    """The iBUG landmarks (68, 3) on the mean face that the file names, NaN where it names none; None without any."""
    if "metadata/landmarks/json" not in file:
        return None
    try:
        named = file["metadata/landmarks/json"][()]
        entries = json.loads(named if isinstance(named, str | bytes) else np.asarray(named).item())
        places = {entry["id"]: np.array(entry["coordinates"], np.float64).reshape(3) for entry in entries}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path}: metadata/landmarks/json is not a list of landmarks; download it again") from None
    reference = mean
    if "shape/representer/points" in file:
        reference = read_array(path, file, "shape/representer/points", (3, len(mean))).T
    found = {START[name]: place for name, place in places.items() if name in START and np.isfinite(place).all()}
    if not found:
        return None
    distances, vertices = cKDTree(reference).query(np.array(list(found.values())))
    landmarks = np.full((68, 3), np.nan)
    landmarks[list(found)] = np.where(distances[:, None] <= FARTHEST_LANDMARK, mean[vertices], np.nan)
    return landmarks if np.isfinite(landmarks).any() else None


def _read_chart(path: Path, cells: NDArray, turned: bool) -> tuple[NDArray, NDArray]:
    """Texture coordinates (T, 2) and their indices (F, 3) for the corners of the triangles, as these were turned."""
    try:
        content = json.loads(path.read_bytes())
        held = {"triangles": content["triangles"]} | {
            f"textureMapping/{name}": content["textureMapping"][name] for name in ("pointData", "triangles")
        }
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path}: no triangles and textureMapping; is it model2019_textureMapping.json?") from None
    own = read_array(path, held, "triangles", (None, 3))
    if not np.array_equal(own, cells):
        raise InputError(f"{path}: its triangles are not the model's: it belongs to model2019_fullHead.h5")
    uv = check_chart(path, read_array(path, held, "textureMapping/pointData", (None, 2)))
    corners = read_indices(path, held, "textureMapping/triangles", cells.shape, len(uv), first=0)
    return uv, corners[:, [0, 2, 1]] if turned else corners


def _read_part(path: Path, file: h5py.File, part: str, vertices: int | None) -> tuple[NDArray, NDArray]:
    """Mean (V, 3) and basis (n, V, 3) a standard deviation of `shape`, `expression` or `color`, in the file's unit."""
    mean = read_flat_points(path, file, f"{part}/model/mean")
    if vertices not in (None, len(mean)):
        raise InputError(f"{path}: {part} is of {len(mean)} vertices and shape of {vertices}; download it again")
    basis = read_columns(path, file, f"{part}/model/pcaBasis", len(mean))
    variance = read_array(path, file, f"{part}/model/pcaVariance", (len(basis),))
    if (variance < 0).any():
        raise InputError(f"{path}: {part}/model/pcaVariance has negative values; download it again")
    return mean, basis * np.sqrt(variance.astype(np.float64))[:, None, None]
