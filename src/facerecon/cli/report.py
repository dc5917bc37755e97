"""`facerecon report ...` and `facerecon provenance`."""

from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import OutFile, command, group

app = group("Tables and figures.")


def register(application: typer.Typer) -> None:
    """Add `facerecon provenance` to the application."""

    @command(application, "provenance", "facerecon provenance results/datasets/synthetic/shards/0/shard.h5")
    def provenance(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="File or folder that facerecon wrote.")],
    ) -> None:
        """Print where an artefact came from: stage, settings, version, commit, seed, inputs."""
        from facerecon.provenance import describe

        print(describe(file))


@command(
    app, "now", "facerecon report now --evaluations mean_face.csv --evaluations mine.csv --out results/now_eval.csv"
)
def now(
    evaluations: Annotated[list[Path], typer.Option(help="CSV of `facerecon evaluate now`; repeatable, in row order.")],
    out: OutFile,
) -> None:
    """Join evaluations of systems on NoW into one table."""
    from facerecon.report.tables import merge_now

    merge_now(evaluations, out)


@command(
    app, "training-curve", "facerecon report training-curve run/metrics.csv --out results/figures/training_curve.png"
)
def training_curve(
    metrics: Annotated[Path, typer.Argument(metavar="METRICS.csv", help="metrics.csv of a training run.")], out: OutFile
) -> None:
    """Plot the losses of a training run."""
    from facerecon.report.figures import training_curve as plot

    plot(metrics, out)


@command(app, "sheet", "facerecon report sheet faces/anna faces/ben --out sheet.jpg")
def sheet(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders that `facerecon reconstruct` wrote.")
    ],
    out: OutFile,
) -> None:
    """Picture reconstructions: overlay, three textured views, albedo."""
    from facerecon.report.gallery import reconstruction_sheet

    reconstruction_sheet(folders, out)
