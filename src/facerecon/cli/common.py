"""What the command modules share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from facerecon.artefacts import check_file_target, check_folder_target


def checked_file(path: Path | None) -> Path | None:
    """An option's value that a file can be written to; refused before any work otherwise."""
    if path is not None:
        check_file_target(path)
    return path


def _checked_folder(path: Path) -> Path:
    check_folder_target(path)
    return path


OutFile = Annotated[
    Path, typer.Option("--out", help="File to write; it appears only when it is complete.", callback=checked_file)
]
OutFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Folder to write; it appears only when it is complete, and replaces only what facerecon wrote.",
        callback=_checked_folder,
    ),
]
FaceModelFile = Annotated[
    Path | None,
    typer.Option(
        "--face-model", metavar="FILE", help="Face model, HDF5 (facerecon model convert); default: the open one."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]


def group(help_text: str) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def command(app: typer.Typer, name: str, *examples: str) -> Callable:
    """Decorator: register a function as a command whose help ends in `examples`, each a full command line."""
    lines = "\n".join(f"  {example}" for example in examples)
    return app.command(name, epilog=f"\b\nExamples:\n{lines}", no_args_is_help=True)
