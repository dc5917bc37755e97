"""Reading 3D landmarks: MeshLab picked points (.pp), numpy arrays (.npy) and text with a point a line (.txt)."""

import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError

COUNTS = (7, 68)
"""NoW's seven, or the 68 of iBUG."""


def read_landmarks(path: str | os.PathLike) -> NDArray[np.float64]:
    """Landmarks (7, 3) or (68, 3), in the file's frame and unit.

    .pp: points marked active="0", as MeshLab keeps points that were not picked, become NaN. .txt: x, y, z separated by
    blanks or commas, lines that start with # passed over. Raises InputError for other files, counts and content.
    """
    path = Path(path)
    readers = {".pp": _read_picked_points, ".npy": _read_array, ".txt": _read_text}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: not a landmark file that can be read (.pp, .npy or .txt)")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        points = np.asarray(readers[path.suffix.lower()](path), np.float64)
    except (OSError, EOFError, ElementTree.ParseError, KeyError, ValueError, TypeError):
        raise InputError(f"{path}: does not hold landmarks as points of x, y, z; write it again") from None
    if points.ndim != 2 or points.shape[1] != 3 or len(points) not in COUNTS:
        shape = " x ".join(map(str, points.shape))
        raise InputError(f"{path}: holds {shape} numbers, {COUNTS[0]} or {COUNTS[1]} points of x, y, z are needed")
    return points


def _read_picked_points(path: Path) -> list[list[float]]:
    points = []
    for point in ElementTree.parse(path).iter("point"):
        picked = point.get("active", "1") != "0"
        points.append([float(point.attrib[axis]) if picked else np.nan for axis in "xyz"])
    return points


def _read_array(path: Path) -> NDArray:
    return np.load(path, allow_pickle=False)


def _read_text(path: Path) -> list[list[float]]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [[float(word) for word in line.replace(",", " ").split()] for line in lines if line and line[0] != "#"]
