"""What the command modules share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

CARRIED = "carried"
"""Value of a weights option that selects the weights inside the package."""

Out = Annotated[Path, typer.Option("--out", help="File or folder to write; it appears only when it is complete.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]


def group(help_text: str) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def command(app: typer.Typer, name: str, *examples: str) -> Callable:
    """Decorator: register a function as a command whose help ends in `examples`, each a full command line."""
    lines = "\n".join(f"  {example}" for example in examples)
    return app.command(name, epilog=f"\b\nExamples:\n{lines}", no_args_is_help=True)


def weights_path(name: str, given: str) -> Path:
    """The file that a weights option means: the carried weights of network `name`, or the path given.

    Raises InputError if the file is missing.
    """
    from facerecon.errors import InputError

    if given == CARRIED:
        from facerecon.networks.weights import carried_weights

        return carried_weights(name)
    path = Path(given)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; give a .safetensors file or `{CARRIED}`")
    return path
