"""The `facerecon` command. Each command translates its options into one function call of the library.

A stage is imported only when its command is called, so that help and errors come at once. What the user can mend ends
in one line on stderr and exit status 2, as wrong options do.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

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
    _limit_opencv()
    with _tidy_termination():
        try:
            app(args=arguments, prog_name="facerecon")
        except InputError as error:
            print(f"facerecon: error: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(2)


def _limit_opencv() -> None:
    """Hold OpenCV to the threads that OpenMP and with it torch are held to: those of the workflow's job.

    OpenCV reads its variable when it is first imported and would otherwise take every core.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        os.environ.setdefault("OPENCV_FOR_THREADS_NUM", threads)


@contextmanager
def _tidy_termination() -> Iterator[None]:
    """While inside, SIGTERM ends the program as an exception does, so that temporary files are removed; status 143."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # tidying up is not to be interrupted by a second one
    raise SystemExit(128 + number)
