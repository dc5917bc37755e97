"""The `facerecon` command. Each command translates its options into one function call of the library.

A stage is imported only when its command is called, so that help and errors come at once. What the user can mend ends
in one line on stderr and exit status 2, as wrong options do.
"""

import sys
from collections.abc import Sequence

import typer

from facerecon.cli import data, evaluate, model, preprocess, reconstruct, report, training
from facerecon.errors import InputError

app = typer.Typer(
    help="3D faces with complete, relightable textures from photographs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
reconstruct.register(app)
app.add_typer(model.app, name="model")
app.add_typer(data.app, name="data")
app.add_typer(preprocess.app, name="preprocess")
training.register(app)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(report.app, name="report")
report.register(app)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and exit.")
) -> None:
    """3D faces with complete, relightable textures from photographs."""
    if version:
        from facerecon import __version__

        print(f"facerecon {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (default: the process's own) and exit with its status."""
    try:
        app(args=arguments, prog_name="facerecon")
    except InputError as error:
        print(f"facerecon: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
