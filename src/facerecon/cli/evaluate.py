"""`facerecon evaluate ...`: accuracy on benchmarks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import OutFile, checked_file, command, group
from facerecon.networks import CARRIED
from facerecon.training.evaluation import IDENTITIES

app = group("Accuracy: NoW, the auxiliary networks, AFLW2000-3D landmarks, face detection.")


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


_SheetFile = Annotated[
    Path | None,
    typer.Option("--sheet", metavar="FILE", help="Photographs with their results, PNG.", callback=checked_file),
]
_DetectorFile = Annotated[str, typer.Option("--detector", metavar="FILE", help="Detector weights.")]
_LandmarkFile = Annotated[str, typer.Option("--landmark-network", metavar="FILE", help="Landmark weights.")]
_ParsingFile = Annotated[str, typer.Option("--parsing", metavar="FILE", help="Parsing weights.")]


@command(
    app,
    "networks",
    "facerecon evaluate networks held_out/0 held_out/1 --out networks.csv --sheet synthetic.png",
    "facerecon evaluate networks held_out --network landmarks --landmark-network run/model.safetensors --limit 500",
)
def networks(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folders of synthetic photographs.")],
    network: Annotated[
        list[str] | None, typer.Option(help="landmarks, parsing, recognition or detector; repeatable; default: all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table to write, .csv or .json.", callback=checked_file)
    ] = None,
    sheet: _SheetFile = None,
    limit: Annotated[int, typer.Option(min=1, help="Most photographs to measure on.")] = 1000,
    identities: Annotated[int, typer.Option(min=2, help="Most people in recognition's gallery.")] = IDENTITIES,
    detector: _DetectorFile = CARRIED,
    landmark_network: _LandmarkFile = CARRIED,
    parsing: _ParsingFile = CARRIED,
    recognition: Annotated[str, typer.Option(metavar="FILE", help="Recognition weights.")] = CARRIED,
) -> None:
    """Print the networks' accuracy on synthetic photographs of unseen people, overall and by groups of people, pose,
    occlusion and light, with 95 % bootstrap intervals."""
    from facerecon.training.evaluation import NETWORKS
    from facerecon.training.evaluation.run import run

    weights = {"detector": detector, "landmarks": landmark_network, "parsing": parsing, "recognition": recognition}
    if sheet is not None:
        _check_sheet(sheet)
    run(data, network or NETWORKS, weights, out, limit, identities)
    if sheet is not None:
        photographs = [path for folder in data for path in sorted((folder / "images").glob("*.jpg"))]
        _write_sheet(photographs, sheet, detector, landmark_network, parsing)


@command(app, "aflw2000", "facerecon evaluate aflw2000 AFLW2000", "facerecon evaluate aflw2000 AFLW2000 --sheet a.png")
def aflw2000(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of image.jpg + image.mat pairs.")],
    detector: _DetectorFile = CARRIED,
    landmark_network: _LandmarkFile = CARRIED,
    parsing: _ParsingFile = CARRIED,
    sheet: _SheetFile = None,
) -> None:
    """Print the normalised mean error of the landmark network on AFLW2000-3D, with true boxes and the detector's."""
    from facerecon.evaluate.geometric.aflw2000 import read_aflw2000
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.measure import measure_aflw2000

    if sheet is not None:
        _check_sheet(sheet)
    measure_aflw2000(folder, weights_file("landmarks", landmark_network), weights_file("detector", detector))
    if sheet is not None:
        _write_sheet([each.path for each in read_aflw2000(folder)], sheet, detector, landmark_network, parsing)


@command(app, "detection", "facerecon evaluate detection photographs --sheet detection.png")
def detection(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of photographs, each with five points.")],
    detector: _DetectorFile = CARRIED,
    landmark_network: _LandmarkFile = CARRIED,
    parsing: _ParsingFile = CARRIED,
    sheet: _SheetFile = None,
) -> None:
    """Print how many faces are found, and the distance of five points from where they were marked."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.measure import marked_pictures, measure_detection

    if sheet is not None:
        _check_sheet(sheet)
    measure_detection(folder, weights_file("detector", detector), weights_file("landmarks", landmark_network))
    if sheet is not None:
        _write_sheet(marked_pictures(folder), sheet, detector, landmark_network, parsing)


def _check_sheet(sheet: Path) -> None:
    from facerecon.report.network_sheet import check_sheet_name

    check_sheet_name(sheet)


def _write_sheet(photographs: list[Path], sheet: Path, detector: str, landmarks: str, parsing: str) -> None:
    from facerecon.networks.weights import weights_file
    from facerecon.report.network_sheet import SheetNetworks, network_sheet

    given = {"detector": detector, "landmarks": landmarks, "parsing": parsing}
    files = {name: weights_file(name, file) for name, file in given.items()}
    network_sheet(photographs, SheetNetworks.load(**files), sheet)
