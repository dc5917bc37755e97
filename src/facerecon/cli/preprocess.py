"""`facerecon preprocess ...`: from photographs to shards, one job a stage and shard."""

from pathlib import Path
from typing import Annotated

import typer

from facerecon.cli.common import FaceModelFile, OutFile, command, group
from facerecon.networks import CARRIED

app = group("From photographs to shards: landmarks, parsing, fit, shard.")

Manifest = Annotated[Path, typer.Option(help="Manifest of the dataset, CSV.")]
Landmarks = Annotated[Path, typer.Option(help="The shard's landmarks.h5.")]
MaxRejected = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Fail if more than this fraction of a shard of 20 or more must be rejected; 1: never."
    ),
]


@command(
    app,
    "landmarks",
    "facerecon preprocess landmarks --manifest manifest.csv --shard 0 --shard-size 150 --out landmarks.h5",
)
def landmarks(
    manifest: Manifest,
    out: OutFile,
    shard: Annotated[int, typer.Option(min=0, help="Which shard of the manifest.")] = 0,
    shard_size: Annotated[int, typer.Option(min=1, help="Rows in a shard.")] = 150,
    detector: Annotated[str, typer.Option(metavar="FILE", help="Detector weights.")] = CARRIED,
    landmark_network: Annotated[str, typer.Option(metavar="FILE", help="Landmark weights.")] = CARRIED,
    face_model: FaceModelFile = None,
    max_rejected_fraction: MaxRejected = 0.25,
) -> None:
    """Find the face and its 68 landmarks in each photograph of a shard."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.landmarks import run

    weights = {"detector": weights_file("detector", detector), "landmarks": weights_file("landmarks", landmark_network)}
    run(
        manifest,
        shard,
        shard_size,
        out,
        weights=weights,
        max_rejected_fraction=max_rejected_fraction,
        face_model=face_model,
    )


@command(app, "parsing", "facerecon preprocess parsing --manifest manifest.csv --landmarks landmarks.h5 --out masks.h5")
def parsing(
    manifest: Manifest,
    landmarks: Landmarks,
    out: OutFile,
    parsing_network: Annotated[str, typer.Option(metavar="FILE", help="Parsing weights.")] = CARRIED,
    face_model: FaceModelFile = None,
    max_rejected_fraction: MaxRejected = 0.25,
) -> None:
    """Label every pixel of each standard crop with one of 19 classes."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.parsing import run

    weights = {"parsing": weights_file("parsing", parsing_network)}
    run(
        manifest,
        landmarks,
        out,
        weights=weights,
        max_rejected_fraction=max_rejected_fraction,
        face_model=face_model,
    )


@command(app, "fit", "facerecon preprocess fit --landmarks landmarks.h5 --out fit.h5")
def fit(
    landmarks: Landmarks, out: OutFile, face_model: FaceModelFile = None, max_rejected_fraction: MaxRejected = 0.25
) -> None:
    """Fit the face model to the landmarks of each photograph."""
    from facerecon.preprocess.fit import run

    run(landmarks, out, face_model=face_model, max_rejected_fraction=max_rejected_fraction)


@command(
    app,
    "shard",
    "facerecon preprocess shard --manifest manifest.csv --landmarks landmarks.h5 --masks masks.h5 --fit fit.h5 "
    "--out shard.h5",
)
def shard(
    manifest: Manifest,
    landmarks: Landmarks,
    masks: Annotated[Path, typer.Option(help="The shard's masks.h5.")],
    fit: Annotated[Path, typer.Option(help="The shard's fit.h5.")],
    out: OutFile,
    recognition_network: Annotated[str, typer.Option(metavar="FILE", help="Recognition weights.")] = CARRIED,
    max_rejected_fraction: MaxRejected = 0.25,
) -> None:
    """Join crops, labels, landmarks, fit and recognition features into one file to train from."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.shard import run

    weights = {"recognition": weights_file("recognition", recognition_network)}
    run(manifest, landmarks, masks, fit, out, weights=weights, max_rejected_fraction=max_rejected_fraction)
