"""`facerecon reconstruct`."""

from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import FaceModelFile, command
from facerecon.errors import InputError
from facerecon.networks import CARRIED


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @command(
        app,
        "reconstruct",
        "facerecon reconstruct portrait.jpg --out faces",
        "facerecon reconstruct holiday/*.jpg --out faces --texture-size 1024",
        "facerecon reconstruct group.jpg --out faces --box 410,120,180,220",
        "facerecon reconstruct portrait.jpg --out faces --face-model flame.h5 --weights run/model.safetensors",
    )
    def reconstruct(
        photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photographs, JPEG or PNG.")],
        out: Annotated[Path, typer.Option("--out", help="Folder to write, a folder a photograph.")],
        texture_size: Annotated[int, typer.Option(min=64, max=4096, help="Side of the texture, pixels.")] = 512,
        box: Annotated[
            str | None, typer.Option(metavar="X,Y,W,H", help="Where the face is, pixels; default: detected.")
        ] = None,
        face_model: FaceModelFile = None,
        weights: Annotated[
            str, typer.Option(metavar="FILE", help="Weights of amplitude_phase, trained with that face model.")
        ] = CARRIED,
    ) -> None:
        """Turn photographs into textured 3D faces: a folder each with mesh, texture, albedo, overlay and numbers.

        A photograph that cannot be used is named on stderr, the others go on, and the exit status is 2.
        """
        given_box = _parse_box(box)
        from facerecon.networks.weights import weights_file
        from facerecon.reconstruct import reconstruct_photos

        chosen = {"amplitude_phase": weights_file("amplitude_phase", weights)}
        if reconstruct_photos(photos, out, chosen, face_model, texture_size=texture_size, box=given_box):
            raise typer.Exit(2)


def _parse_box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--box {text}: give four numbers of pixels, X,Y,W,H") from None
    if not (width > 0 and height > 0 and all(abs(value) < 1e6 for value in (x, y, width, height))):
        raise InputError(f"--box {text}: the width and height must be positive")
    return x, y, width, height
