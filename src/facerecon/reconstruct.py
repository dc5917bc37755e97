"""`facerecon reconstruct`: photographs to textured 3D faces, one folder a photograph."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from facerecon.artefacts import check_folder_target, sha256_file
from facerecon.data.images import read_image
from facerecon.errors import InputError
from facerecon.preprocess.face import Box, NoFaceError
from facerecon.provenance import provenance_record
from facerecon.reconstruction.face import Reconstructor, Weights
from facerecon.reconstruction.files import write_reconstruction


def reconstruct_photos(
    paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    weights: Weights | None = None,
    face_model: str | os.PathLike | None = None,
    texture_size: int = 512,
    box: tuple[float, float, float, float] | None = None,
    level: int = 2,
    reconstructor: Reconstructor | None = None,
) -> list[str]:
    """Reconstruct the main face of each photograph into `out/<stem>/` (docs/data.md lists its files).

    weights: network -> file; None means the carried ones. face_model: None means the open model. texture_size: side in
    texels. box: x, y, width, height of the face in pixels, for a single photograph. level: subdivision of the open
    model's mesh. reconstructor: used as it is, in place of weights, face_model and level.
    A photograph that cannot be reconstructed gives one line on stderr and leaves nothing behind; the others go on.
    Returns those lines: empty if all went well. Raises InputError if nothing can be begun (weights, `out`, `box`), or
    if a folder in `out` that would be replaced was not written by this function or holds a photograph of `paths`.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out needs a folder")
    if not paths:
        raise InputError("no photographs were given")
    if box is not None and len(paths) > 1:
        raise InputError("--box is for one photograph; give the photographs one by one")
    edges = None if box is None else _edges(*map(float, box))
    folders = [out / name for name in folder_names(paths)]
    _check_folders(folders, paths)
    reconstructor = reconstructor or Reconstructor.load(weights, face_model, level)
    failures: list[str] = []
    for path, folder in zip(map(Path, paths), folders, strict=True):
        try:
            print(_reconstruct_one(path, folder, reconstructor, edges, texture_size), flush=True)
        except InputError as error:
            failures.append(_one_line(str(error), path))
            print(f"facerecon: error: {failures[-1]}", file=sys.stderr, flush=True)
    return failures


def folder_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """A folder name for each photograph: its stem; further ones of that stem are numbered from 2."""
    stems = [Path(path).stem for path in paths]
    names: list[str] = []
    taken: set[str] = set()
    for index, stem in enumerate(stems):
        name, number = stem, 2
        while name in taken or (name != stem and name in stems[index + 1 :]):
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def _check_folders(folders: Sequence[Path], paths: Sequence[str | os.PathLike]) -> None:
    """Raise InputError if writing to one of `folders` would remove what is not ours, or a photograph of `paths`."""
    places = {Path(os.path.realpath(folder)): folder for folder in folders}
    for folder in folders:
        check_folder_target(folder)
    for path in paths:
        holding = places.keys() & set(Path(os.path.realpath(path)).parents)
        if holding:
            raise InputError(f"{path}: lies in {places[holding.pop()]}, which would be replaced; choose another --out")


def _edges(x: float, y: float, width: float, height: float) -> Box:
    return x, y, x + width, y + height


def _reconstruct_one(
    path: Path,
    folder: Path,
    reconstructor: Reconstructor,
    box: Box | None,
    texture_size: int,
) -> str:
    """Reconstruct one photograph; returns the line that says so."""
    image = read_image(path)
    try:
        reconstruction = reconstructor.reconstruct(image, box, texture_size)
    except NoFaceError as error:
        raise InputError(f"{error}; if there is one, give its box with --box X,Y,W,H") from None
    record = provenance_record(
        "reconstruct",
        {"texture_size": texture_size, "box": None if box is None else list(box)},
        inputs={"photograph": sha256_file(path), "face_model": reconstructor.model.sha256, **reconstructor.sha256},
    )
    write_reconstruction(folder, image, reconstruction, reconstructor.model.topology, record)
    others = reconstruction.face.faces - 1
    note = f" ({others + 1} faces were found; this is the largest and most central)" if others else ""
    return f"{path} -> {folder}{note}"


def _one_line(message: str, path: Path) -> str:
    text = " ".join(message.split())
    return text if str(path) in text else f"{path}: {text}"
