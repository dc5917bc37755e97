"""`facerecon train` and `facerecon predict`."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from facerecon.cli.common import FaceModelFile, OutFolder, command, group
from facerecon.errors import InputError
from facerecon.networks import CARRIED

PAUSED = os.EX_TEMPFAIL
"""Exit status (75) of a training that stopped at --max-seconds-per-call: call it again."""


class Trainable(StrEnum):
    """What can be trained."""

    amplitude_phase = "amplitude_phase"
    detector = "detector"
    landmarks = "landmarks"
    parsing = "parsing"
    recognition = "recognition"


class Predictor(StrEnum):
    """What can predict a benchmark; amplitude_phase takes its weights from --weights."""

    mean_face = "mean_face"
    oracle = "oracle"
    amplitude_phase = "amplitude_phase"


predict_app = group("Predict the images of a benchmark.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    command(
        app,
        "train",
        "facerecon train amplitude_phase --settings training.yaml --data shard-0.h5 --data shard-1.h5 --out run",
        "facerecon train landmarks --settings training.yaml --data photographs --out run",
        'facerecon train amplitude_phase --settings \'{"training": {"steps": 50}}\' --data shard-0.h5 --out run',
    )(train)
    app.add_typer(predict_app, name="predict")


def train(
    name: Annotated[Trainable, typer.Argument(metavar="NAME", help=f"One of: {', '.join(Trainable)}.")],
    data: Annotated[list[Path], typer.Option(help="Shard, or folder of synthetic photographs; repeatable.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: weights, card, metrics, checkpoints.")],
    settings: Annotated[
        str, typer.Option(metavar="FILE", help="YAML file with sections training and task, or JSON text of them.")
    ] = "{}",
    face_model: FaceModelFile = None,
    max_seconds_per_call: Annotated[
        float | None,
        typer.Option(min=0, help="Stop with a checkpoint after this long (status 75), to be called again."),
    ] = None,
    checkpoint_seconds: Annotated[
        float | None, typer.Option(help="Seconds between checkpoints, whatever the settings say.")
    ] = None,
    prefetch: Annotated[int | None, typer.Option(help="Batches prepared ahead, whatever the settings say.")] = None,
) -> None:
    """Train a system on shards, or an auxiliary network on synthetic photographs. Killed runs resume."""
    given = _read_settings(settings)
    from facerecon.training.run import run_training

    result = run_training(
        name.value,
        given,
        data,
        out,
        max_seconds_per_call=max_seconds_per_call or 0.0,
        face_model=face_model,
        checkpoint_seconds=checkpoint_seconds,
        prefetch=prefetch,
    )
    if not result.finished:
        raise typer.Exit(PAUSED)


@command(
    predict_app,
    "now",
    "facerecon predict now --system mean_face --benchmark now_open --out predictions",
    "facerecon predict now --system amplitude_phase --weights run/model.safetensors --benchmark now_open --out mine",
)
def predict_now(
    system: Annotated[Predictor, typer.Option(help="What predicts.")],
    benchmark: Annotated[Path, typer.Option(help="Benchmark folder in the NoW layout.")],
    out: OutFolder,
    weights: Annotated[str, typer.Option(metavar="FILE", help="Weights, of a system that has any.")] = CARRIED,
    detector: Annotated[str, typer.Option(metavar="FILE", help="Detector weights, for such a system.")] = CARRIED,
    landmark_network: Annotated[str, typer.Option(metavar="FILE", help="Landmark weights, likewise.")] = CARRIED,
    face_model: FaceModelFile = None,
) -> None:
    """Write a mesh and 7 landmarks for every image of a NoW-format benchmark."""
    from facerecon.networks.weights import weights_file
    from facerecon.preprocess.face import FaceFinder
    from facerecon.systems.predict import predict_now as predict
    from facerecon.systems.registry import SYSTEMS

    finder = None
    if system.value in SYSTEMS:
        networks = {"detector": detector, "landmarks": landmark_network}
        finder = FaceFinder.load({name: weights_file(name, given) for name, given in networks.items()})
    predict(system.value, weights, benchmark, out, face_model=face_model, finder=finder)


def _read_settings(text: str) -> dict[str, Any] | Path:
    if not text.lstrip().startswith("{"):
        return Path(text)
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"--settings: not JSON ({error}); give JSON text or the path of a YAML file") from None
