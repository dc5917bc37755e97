"""`facerecon data ...`: synthetic photographs, the open benchmark, manifests."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import OutFile, OutFolder, Seed, command, group

app = group("Synthetic photographs, the open benchmark, manifests.")


class Adapter(StrEnum):
    """Layouts that a manifest can be made from."""

    synthetic = "synthetic"
    folder = "folder"
    now = "now"
    aflw2000 = "aflw2000"


@command(
    app,
    "synthesize",
    "facerecon data synthesize --out photographs --subjects 25",
    "facerecon data synthesize --out more --first-subject 25 --subjects 25 --photos-per-subject 4 --size 224 --seed 1",
)
def synthesize(
    out: OutFolder,
    subjects: Annotated[int, typer.Option(min=1, help="Identities.")],
    first_subject: Annotated[int, typer.Option(min=0, help="Number of the first identity.")] = 0,
    photos_per_subject: Annotated[int, typer.Option(min=1, max=100, help="Photographs of each.")] = 4,
    size: Annotated[int, typer.Option(min=64, max=1024, help="Side of a photograph, pixels.")] = 224,
    seed: Seed = 0,
) -> None:
    """Render synthetic photographs with landmarks, parsing labels, coefficients and meshes."""
    from facerecon.synthesis.photographs import write_photographs

    write_photographs(
        out,
        first_subject=first_subject,
        subjects=subjects,
        photos_per_subject=photos_per_subject,
        size=size,
        seed=seed,
    )


@command(app, "benchmark", "facerecon data benchmark --out now_open", "facerecon data benchmark --out few --subjects 2")
def benchmark(
    out: OutFolder,
    subjects: Annotated[int | None, typer.Option(min=1, help="Only the first so many identities.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="File of `facerecon data build-benchmark`; default: the carried benchmark.")
    ] = None,
) -> None:
    """Write the open benchmark in the NoW layout: photographs, scans, landmarks, image list, content hash."""
    from facerecon.synthesis.now_benchmark import write_now_benchmark

    print(f"content hash {write_now_benchmark(out, source=source, subjects=subjects)}")


@command(app, "build-benchmark", "facerecon data build-benchmark --out now_benchmark_v2.h5 --subjects 20 --seed 2027")
def build_benchmark(
    out: OutFile,
    subjects: Annotated[int, typer.Option(min=1, help="Identities with a scan.")] = 20,
    size: Annotated[int, typer.Option(min=64, max=1024, help="Side of an image, pixels.")] = 320,
    seed: Seed = 2026,
) -> None:
    """Render a new version of the open benchmark into one file. The carried version stays frozen."""
    from facerecon.synthesis.now_benchmark import build_now_benchmark

    print(f"content hash {build_now_benchmark(out, subjects=subjects, size=size, seed=seed)}")


@command(
    app,
    "manifest",
    "facerecon data manifest --adapter folder --name holiday photos --out manifest.csv",
    "facerecon data manifest --adapter synthetic --name synthetic part0 part1 --out manifest.csv",
)
def manifest(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders to read, in this order.")],
    adapter: Annotated[Adapter, typer.Option(help="Layout of the folders.")],
    name: Annotated[str, typer.Option(help="Name of the dataset in the manifest.")],
    out: OutFile,
) -> None:
    """List the images of a dataset with their ground truth, one row an image."""
    from facerecon.data.manifest import write_manifest

    write_manifest(adapter.value, name, folders, out)
