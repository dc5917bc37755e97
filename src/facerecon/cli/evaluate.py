"""`facerecon evaluate ...`: accuracy on benchmarks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import OutFile, checked_file, command, group
from facerecon.networks import CARRIED

app = group("Accuracy: NoW, AFLW2000-3D landmarks, face detection.")


class Protocol(StrEnum):
    """NoW protocols."""

    official = "official"
    corrected = "corrected"
    both = "both"


class Unit(StrEnum):
    """Units that predictions may be in."""

    mm = "mm"
    cm = "cm"
    m = "m"


@command(
    app,
    "now",
    "facerecon evaluate now --benchmark now_open --predictions predictions --system mine --out mine.csv",
    "facerecon evaluate now --benchmark NoW --predictions predictions --system mine --unit m --strict --out mine.csv",
    "facerecon evaluate now --benchmark NoW --predictions predictions --system mine --curves curves.csv --out mine.csv",
)
def now(
    benchmark: Annotated[Path, typer.Option(help="Benchmark folder in the NoW layout.")],
    predictions: Annotated[Path, typer.Option(help="Folder of predicted meshes and landmarks.")],
    system: Annotated[str, typer.Option(help="Name of the system in the table.")],
    out: OutFile,
    protocol: Annotated[Protocol, typer.Option(help="Which evaluation.")] = Protocol.official,
    jobs: Annotated[int, typer.Option(min=1, help="Scans evaluated at once.")] = 1,
    unit: Annotated[Unit, typer.Option(help="Unit of the predictions.")] = Unit.mm,
    strict: Annotated[bool, typer.Option("--strict", help="Fail, writing nothing, if any prediction fails.")] = False,
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cumulative error curves, CSV.", callback=checked_file)
    ] = None,
) -> None:
    """Evaluate predictions on NoW: scan-to-mesh distance, non-metrical and metrical, overall and by challenge."""
    from facerecon.evaluate.geometric.now import run

    run(
        benchmark,
        predictions,
        system,
        out,
        protocol=protocol.value,
        jobs=jobs,
        strict=strict,
        unit=unit.value,
        curves_csv=curves,
    )


@command(app, "aflw2000", "facerecon evaluate aflw2000 AFLW2000")
def aflw2000(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of image.jpg + image.mat pairs.")],
    weights: Annotated[str, typer.Option(metavar="FILE", help="Landmark weights.")] = CARRIED,
) -> None:
    """Print the normalised mean error of the landmark network on AFLW2000-3D, boxes from the ground truth."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.measure import measure_aflw2000

    measure_aflw2000(folder, weights_file("landmarks", weights))


@command(app, "detection", "facerecon evaluate detection photographs")
def detection(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of photographs, each with five points.")],
    detector: Annotated[str, typer.Option(metavar="FILE", help="Detector weights.")] = CARRIED,
    landmark_network: Annotated[str, typer.Option(metavar="FILE", help="Landmark weights.")] = CARRIED,
) -> None:
    """Print how many faces are found, and the distance of five points from where they were marked."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.measure import measure_detection

    measure_detection(folder, weights_file("detector", detector), weights_file("landmarks", landmark_network))
