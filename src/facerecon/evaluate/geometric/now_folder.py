"""The NoW benchmark's folder and folders of predictions for it, as their authors lay them out.

BENCHMARK/imagepathsvalidation.txt (or imagepathstest.txt)   a line an image: subject/challenge/image.jpg
BENCHMARK/scans/<subject>/*.obj                              mm
BENCHMARK/scans_lmks_onlypp/<subject>/*.pp                   seven MeshLab picked points, mm
PREDICTIONS/<subject>/<challenge>/<image>.obj|.ply           any frame and unit
PREDICTIONS/<subject>/<challenge>/<image>.npy|.txt           seven landmarks (7, 3) of that mesh
"""

import hashlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_alignment import CroppedScan, FaceMesh, crop_scan
from facerecon.geometry.mesh_files import read_mesh, read_obj
from facerecon.geometry.point_to_surface import triangle_flatness

CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")
IMAGE_LISTS = ("imagepathsvalidation.txt", "imagepathstest.txt")
CONTENT_HASH_FILE = "content_hash.txt"
"""In a benchmark folder that this package wrote: the name by which scores on it go."""
_LANDMARKS = 7


class NowImage(NamedTuple):
    """One line of the image list. name: file name with its suffix."""

    subject: str
    challenge: str
    name: str

    def __str__(self) -> str:
        return f"{self.subject}/{self.challenge}/{self.name}"

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem


class PredictionFiles(NamedTuple):
    """The two files of a prediction, both present."""

    mesh: Path
    landmarks: Path

    def content_hash(self) -> str:
        """SHA-256 over both files, so that a mesh written for several images is aligned once."""
        digest = hashlib.sha256()
        for path in self:
            content = path.read_bytes()
            digest.update(f"{path.suffix.lower()} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()


def read_image_list(benchmark: Path, image_list: Path | None = None) -> list[NowImage]:
    """The benchmark's images in the list's order: `image_list`, else the validation, else the test list in the folder.

    Raises InputError if there is no list, it is empty or a line is not subject/challenge/image.
    """
    if image_list is None:
        found = [benchmark / name for name in IMAGE_LISTS if (benchmark / name).is_file()]
        if not found:
            raise InputError(f"{benchmark}: not a NoW benchmark folder, it has no {' or '.join(IMAGE_LISTS)}")
        image_list = found[0]
    try:
        lines = [line.strip() for line in Path(image_list).read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{image_list}: the image list cannot be read") from None
    images = []
    for line in filter(None, lines):
        parts = PurePosixPath(line).parts[-3:]
        if len(parts) != 3:
            raise InputError(f"{image_list}: line {line!r} is not subject/challenge/image.jpg")
        images.append(NowImage(*parts))
    if not images:
        raise InputError(f"{image_list}: the image list is empty")
    return images


def read_cropped_scan(benchmark: Path, subject: str) -> CroppedScan:
    """The measured part of a subject's scan; InputError if the scan or its landmarks are missing or malformed."""
    scan_path = _only_file(benchmark / "scans" / subject, ".obj", "scan")
    landmarks_path = _only_file(benchmark / "scans_lmks_onlypp" / subject, ".pp", "file of scan landmarks")
    vertices = read_obj(scan_path).vertices
    if not np.isfinite(vertices).all():
        raise InputError(f"{scan_path}: the scan has vertices that are not finite; write it again")
    try:
        return crop_scan(vertices, read_picked_points(landmarks_path))
    except InputError as error:
        raise InputError(f"{scan_path}: {error}") from None


def read_picked_points(path: Path) -> NDArray[np.float32]:
    """(7, 3) landmarks of a MeshLab .pp file: the first seven points, as the official code takes them.

    Raises InputError if it is not such a file, has fewer points or one that is not finite.
    """
    try:
        points = [[float(point.attrib[axis]) for axis in "xyz"] for point in ElementTree.parse(path).iter("point")]
    except (OSError, ElementTree.ParseError, KeyError, ValueError):
        raise InputError(f"{path}: not a MeshLab picked-points file with x, y and z for each point") from None
    landmarks = np.array(points[:_LANDMARKS], np.float32)
    if len(points) < _LANDMARKS or not np.isfinite(landmarks).all():
        raise InputError(f"{path}: {len(points)} picked points, {_LANDMARKS} finite ones are needed")
    return landmarks


def find_prediction(predictions: Path, image: NowImage) -> PredictionFiles:
    """The files of one image's prediction, OBJ and .npy first, as officially; InputError if either is missing."""
    base = predictions / image.subject / image.challenge
    return PredictionFiles(
        _first_existing(base, image.stem, (".obj", ".ply"), "mesh"),
        _first_existing(base, image.stem, (".npy", ".txt"), "landmark file"),
    )


def read_prediction(files: PredictionFiles) -> FaceMesh:
    """One prediction, checked.

    Raises InputError, naming the file, for vertices or landmarks that are not finite, faces without area, a wrong
    landmark count, and anything that cannot be read.
    """
    mesh = read_mesh(files.mesh)
    broken = int((~np.isfinite(mesh.vertices).all(axis=1)).sum())
    if broken:
        raise InputError(f"{files.mesh}: {broken} of {len(mesh.vertices)} vertices are NaN or infinite")
    degenerate = int((triangle_flatness(mesh.vertices, mesh.triangles) == 0).sum())
    if degenerate:
        raise InputError(f"{files.mesh}: {degenerate} of {len(mesh.triangles)} faces are degenerate; remove them")
    return FaceMesh(mesh.vertices, mesh.triangles, read_prediction_landmarks(files.landmarks))


def read_prediction_landmarks(path: Path) -> NDArray:
    """(7, 3) landmarks of a .npy file or a text file with a point a line. Raises InputError if they are not that."""
    try:
        landmarks = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _read_text_points(path)
        landmarks = np.asarray(landmarks, np.float64)
    except (OSError, ValueError, EOFError, TypeError):
        raise InputError(f"{path}: not {_LANDMARKS} landmarks, as lines of x y z or an array") from None
    if landmarks.shape != (_LANDMARKS, 3):
        raise InputError(f"{path}: {_LANDMARKS} landmarks of x, y, z are needed, it has shape {landmarks.shape}")
    if not np.isfinite(landmarks).all():
        raise InputError(f"{path}: landmarks are NaN or infinite")
    return landmarks


def _read_text_points(path: Path) -> NDArray:
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    # Single precision as officially.
    return np.array(rows, dtype=np.float32)


def _first_existing(folder: Path, stem: str, suffixes: tuple[str, ...], what: str) -> Path:
    for suffix in suffixes:
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    raise InputError(f"{folder / stem}: the prediction's {what} is missing ({' or '.join(suffixes)})")


def _only_file(folder: Path, suffix: str, what: str) -> Path:
    found = []
    if folder.is_dir():
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() == suffix and not p.name.startswith("."))
    if len(found) != 1:
        raise InputError(f"{folder}: one {what} (*{suffix}) is needed there, {len(found)} found")
    return found[0]
