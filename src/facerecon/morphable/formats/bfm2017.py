"""Basel Face Models 2017 and 2019: HDF5 files such as `model2017-1_face12_nomouth.h5` and `model2019_fullHead.h5`.

Published formula (Gerig et al. 2018): S = shape mean + shape basis sqrt(variance) a + expression mean + expression
basis sqrt(variance) b, in mm; colour likewise in [0, 1]. The mean face here is the sum of both means: the publisher's
neutral face differs from it by the mean expression. A file without expressions or colours is read too.

The file names some twenty landmarks (`metadata/landmarks/json`), which are not the 68; the model has none until they
are carried over from another one. There is no UV chart in it either.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.morphable.formats.conversion import assemble, linear_albedo, orient_outwards
from facerecon.morphable.formats.files import (
    check_exists,
    check_indices,
    hash_files,
    read_array,
    read_columns,
    read_flat_points,
)
from facerecon.morphable.source_model import SourceModel

LICENCE = "Basel Face Model 2017/2019: registered users, non-commercial research; not to be passed on"


def read(files: Sequence[str | os.PathLike]) -> SourceModel:
    """The model in one .h5 file. Raises InputError, naming the file, if it is missing, damaged or of the wrong size."""
    if len(files) != 1:
        raise InputError(f"{files[1] if files else 'no file'}: one file is needed, such as model2019_fullHead.h5")
    path = check_exists(files[0])
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except OSError as error:
        raise InputError(f"{path}: not an HDF5 file, or damaged; download it again") from error


def _read(path: Path, file: h5py.File) -> SourceModel:
    mean, identity = _read_part(path, file, "shape", None)
    expression = np.zeros((0, len(mean), 3))
    if "expression/model" in file:
        expression_mean, expression = _read_part(path, file, "expression", len(mean))
        mean = mean + expression_mean
    colour = _read_part(path, file, "color", len(mean)) if "color/model" in file else None
    cells = read_array(path, file, "shape/representer/cells", (3, None)).T
    triangles, _ = orient_outwards(mean, check_indices(path, "shape/representer/cells", cells, len(mean)))
    return assemble(
        name=f"Basel Face Model ({path.stem})",
        licence=LICENCE,
        sources=hash_files([path]),
        mean=mean,
        triangles=triangles,
        identity=identity,
        expression=expression,
        albedo=None if colour is None else linear_albedo(*colour),
    )


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
