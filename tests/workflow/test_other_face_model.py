"""The pipeline with a published face model: one line of the configuration changed, from FLAME's files to the table."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from published_models import write_flame_head

import facerecon
from facerecon.cli import main
from facerecon.morphable.storage import face_model_sha256
from facerecon.networks.weights import read_card

REPOSITORY = Path(__file__).parents[2]

SMALLEST = """\
photographs: {reconstruction: {first_subject: 36, subjects: 2, photos_per_subject: 1, subjects_per_folder: 2}}
now_benchmark: {subjects: 1}
evaluation: {protocol: corrected}
train:
  amplitude_phase:
    training: {steps: 1, warmup_steps: 0, batch_size: 2, log_every: 1}
    task: {validation_photographs: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of SMALLEST with a converted FLAME head."""
    folder = tmp_path_factory.mktemp("run")
    files = write_flame_head(folder)
    with pytest.raises(SystemExit) as ended:
        main(["model", "convert", "flame", *map(str, files), "--out", str(folder / "flame.h5")])
    assert not ended.value.code
    (folder / "own.yaml").write_text(f"face_model: flame.h5\n{SMALLEST}")
    command = ["-m", "snakemake", "--cores", "2", "results/now_eval.csv", "--configfile", "own.yaml", "--snakefile"]
    answer = subprocess.run(
        [sys.executable, *command, str(REPOSITORY / "Snakefile"), "--directory", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(facerecon.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]
    return folder


def test_the_table_has_all_rows_that_the_model_allows(run: Path) -> None:
    with open(run / "results/now_eval.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["challenge"] == "all" and row["variant"] == "metrical"]
    assert [row["system"] for row in rows] == ["mean_face", "oracle", "amplitude_phase_trained"]
    assert all(row["failed"] == "0" for row in rows)
    medians = [float(row["median_mm"]) for row in rows]
    assert medians[1] < 0.3 < medians[0] < 3 and medians[2] < 4


def test_everything_belongs_to_that_model(run: Path) -> None:
    sha256 = face_model_sha256(run / "flame.h5")
    with h5py.File(run / "results/datasets/synthetic/shards/0/shard.h5") as shard:
        assert shard.attrs["face_model_sha256"] == sha256
        assert shard["identity"].shape == (2, 300) and shard["expression"].shape == (2, 23)
        # The photographs' true shapes are coefficients of the open model.
        assert not shard["true_shape"][()].any()
    assert read_card(run / "results/training/amplitude_phase/model.safetensors")["face_model_sha256"] == sha256
