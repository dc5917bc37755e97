"""What the workflow makes of a configuration; a wrong one it refuses in one line, before it builds the graph."""

import json
import os
import subprocess
import sys

import pytest

from facerecon.data.manifest import read_manifest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "train: {amplitude_phase: {task: {weights: {frequncy: 1}}}}",
            "did you mean 'train.amplitude_phase.task.weights.frequency'?",
        ),
        (
            "datasets: {mine: {adapter: folder, folders: [nowhere]}}\ntraining_datasets: [mine]",
            "nowhere: no such folder",
        ),
    ],
)
def test_one_line_and_status_2(finished, text: str, said: str) -> None:
    (finished.root / "wrong.yaml").write_text(text)
    answer = finished.snakemake("--dry-run", "all", config="wrong.yaml")
    assert answer.returncode == 2
    lines = answer.stderr.splitlines()
    errors = [line for line in lines if line.startswith("facerecon: error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert lines[-1] == errors[0]
    assert "Traceback" not in answer.stderr
    assert "Building DAG" not in answer.stdout + answer.stderr


def test_parsing_the_workflow_imports_no_torch_and_writes_nothing(finished) -> None:
    probe = finished.root / "probe.smk"
    probe.write_text(
        'import sys\ninclude: "Snakefile"\nprint([name in sys.modules for name in ("torch", "cv2", "numba")])\n'
    )
    before = {
        path for path in finished.root.rglob("*") if ".snakemake" not in path.parts and "__pycache__" not in path.parts
    }
    answer = finished.snakemake("--snakefile", "probe.smk", "--list-rules")
    assert answer.returncode == 0, answer.stderr
    assert "[False, False, False]" in answer.stdout
    after = {
        path for path in finished.root.rglob("*") if ".snakemake" not in path.parts and "__pycache__" not in path.parts
    }
    assert after == before


def test_photographs_of_your_own_in_folders_of_any_name(finished) -> None:
    names = ["my photos", "a; touch harm", "it's $(touch harm)"]
    for number in range(5):
        folder = finished.root / "albums" / names[number % 3] / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(b"")
    settings = {
        "datasets": {"albums": {"adapter": "folder", "folders": [f"albums/{name}" for name in names]}},
        "training_datasets": ["albums"],
        "preprocess": {"shard_size": 2},
        "train": {"amplitude_phase": {"task": {"initial_weights": "my weights; touch harm"}}},
    }
    (finished.root / "my weights; touch harm").touch()
    (finished.root / "albums.yaml").write_text(json.dumps(settings))
    jobs = finished.to_run("all", config="albums.yaml")
    assert jobs["shard"] == jobs["landmarks"] == 3
    assert jobs["synthesize_photographs"] == 0
    manifest = finished.root / "results" / "datasets" / "albums" / "manifest.csv"
    answer = finished.snakemake("--nolock", str(manifest.relative_to(finished.root)), config="albums.yaml")
    assert answer.returncode == 0, answer.stderr
    assert [row.id for row in read_manifest(manifest)] == [f"deep/{number}" for number in (0, 3, 1, 4, 2)]
    assert not list(finished.root.rglob("harm"))


def test_nothing_is_trained_that_the_tables_do_not_show(finished) -> None:
    (finished.root / "mean.yaml").write_text("evaluation: {systems: [mean_face]}")
    jobs = finished.to_run("--forceall", "all", config="mean.yaml")
    assert jobs["predict"] == jobs["evaluate_now"] == jobs["now_eval"] == 1
    assert jobs["train_system"] == jobs["training_curve"] == jobs["shard"] == 0


def test_a_run_in_another_folder_finds_its_settings(finished, tmp_path) -> None:
    (tmp_path / "small.yaml").write_text((finished.root / "small.yaml").read_text())
    answer = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--configfile", "small.yaml",
            "--snakefile", str(finished.root / "Snakefile"), "--directory", str(tmp_path),
        ],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(finished.root / "src")}, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "train_system" in answer.stdout


def test_networks_are_trained_on_request_and_on_the_device_asked_for(finished) -> None:
    answer = finished.snakemake(
        "--dry-run",
        "--forceall",
        "--config",
        "train={amplitude_phase: {training: {device: cuda}}}",
        "networks={detector: train, recognition: train}",
        "photographs={networks: {subjects: 2, photos_per_subject: 1, subjects_per_folder: 1}}",
    )
    assert answer.returncode == 0, answer.stderr
    blocks = answer.stdout.split("\n\n")
    by_rule = {
        rule: [block for block in blocks if f"rule {rule}:" in block] for rule in ("train_system", "train_network")
    }
    assert len(by_rule["train_system"]) == 1 and "gpu=1" in by_rule["train_system"][0]
    assert len(by_rule["train_network"]) == 2 and all("gpu=0" in block for block in by_rule["train_network"])
    assert len([block for block in blocks if "rule synthesize_photographs:" in block]) == 2 + 2
