"""What snakemake would run again after a change: only what depends on it."""

import os
import re
import time

AFTER_TRAINING = {"train_system": 1, "training_curve": 1, "predict": 1, "evaluate_now": 1, "now_eval": 1, "all": 1}
PREPROCESSING = {"landmarks": 2, "masks": 2, "fit": 2, "shard": 2}


def test_a_finished_run_has_nothing_to_do(finished) -> None:
    start = time.monotonic()
    assert finished.to_run() == {}
    assert time.monotonic() - start < 30  # the budget of 10 s is for an idle machine; it takes 2 to 3


def test_a_loss_weight_reruns_training_and_what_follows(finished) -> None:
    with finished.edited("config.yaml", "photometric: 3.0", "photometric: 2.5"):
        assert finished.to_run() == AFTER_TRAINING


def test_another_renderer_reruns_training_and_what_follows(finished) -> None:
    with finished.edited("config.yaml", "renderer: auto", "renderer: cpu"):
        assert finished.to_run() == AFTER_TRAINING


def test_code_of_a_loss_reruns_training_from_its_start_and_what_follows(finished) -> None:
    def work(said: str) -> str:
        return re.search(r"--out (results/training/amplitude_phase/runs/\w+)", said)[1]

    before = finished.snakemake("--dry-run", "--forcerun", "train_system").stdout
    with finished.edited("src/facerecon/losses/frequency.py", "\ndef ", "\nUNUSED = 1\n\n\ndef "):
        after = finished.snakemake("--dry-run").stdout
    assert finished.jobs(after) == AFTER_TRAINING
    assert work(after) != work(before)  # checkpoints of other code are never gone on from


def test_words_for_people_rerun_nothing(finished) -> None:
    with (
        finished.edited("src/facerecon/losses/frequency.py", '"""', "# a comment\n" + '"""Changed. '),
        finished.edited("src/facerecon/errors.py", "\n    The message", "\n    Changed. The message"),
        finished.edited("src/facerecon/training/settings.py", "optimiser steps", "steps of the optimiser"),
        finished.edited("src/facerecon/cli/preprocess.py", "facerecon preprocess fit", "python -m facerecon fit"),
        finished.edited("src/facerecon/cli/data.py", "Render synthetic photographs", "Photograph"),
    ):
        assert finished.to_run() == {}


def test_code_of_the_generator_reruns_everything_made_from_photographs(finished) -> None:
    with finished.edited("src/facerecon/synthesis/photographs.py", "\ndef ", "\nUNUSED = 1\n\n\ndef "):
        jobs = finished.to_run()
    made = {"synthesize_photographs": 2, "now_benchmark": 1, "manifest": 1, **PREPROCESSING}
    assert {rule: jobs[rule] for rule in made} == made
    assert jobs["train_system"] == 1


def test_code_of_the_evaluator_reruns_evaluation_alone(finished) -> None:
    with finished.edited("src/facerecon/evaluate/geometric/now.py", "\ndef ", "\nUNUSED = 1\n\n\ndef "):
        assert finished.to_run() == {"evaluate_now": 3, "now_eval": 1, "all": 1}


def test_carried_weights_count_by_content_and_not_by_time(finished) -> None:
    for path in (finished.root / "src/facerecon/networks/assets").iterdir():
        os.utime(path)
    assert finished.to_run() == {}
    with finished.edited("src/facerecon/networks/assets/parsing.safetensors", "parsing", "another"):
        jobs = finished.to_run()
    assert jobs["landmarks"] == jobs["fit"] == jobs["synthesize_photographs"] == 0
    assert jobs["masks"] == jobs["shard"] == 2
    assert jobs["train_system"] == 1


def test_recognition_is_trained_again_after_the_landmark_weights_it_starts_from(recognition_trained) -> None:
    target = "results/networks/recognition/model.safetensors"
    assert recognition_trained.to_run(target) == {}
    with recognition_trained.edited("src/facerecon/networks/assets/landmarks.safetensors", "landmarks", "another"):
        assert recognition_trained.to_run(target) == {"train_network": 1}


def test_settings_that_change_no_result_rerun_nothing(finished) -> None:
    text = (finished.root / "config.yaml").read_text()
    for old, new in (
        ("max_rejected_fraction: 0.25", "max_rejected_fraction: 0.5"),
        ("checkpoint_seconds: 60.0", "checkpoint_seconds: 5.0"),
        ("prefetch: 2", "prefetch: 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    with finished.edited("config.yaml", (finished.root / "config.yaml").read_text(), text):
        assert finished.to_run() == {}
        answer = finished.snakemake("--dry-run", "--forcerun", "fit", "train_system")
    assert "--max-rejected-fraction 0.5" in answer.stdout
    assert "--checkpoint-seconds 5.0 --prefetch 1" in answer.stdout


def test_what_a_command_passes_on_counts(finished) -> None:
    with finished.edited(
        "src/facerecon/cli/preprocess.py",
        "run(landmarks, out, face_model=face_model",
        "run(landmarks, out, face_model=None",
    ):
        jobs = finished.to_run()
    assert jobs["fit"] == jobs["shard"] == 2
    assert jobs["landmarks"] == jobs["masks"] == 0


def test_another_face_model_reruns_all_that_has_coefficients(finished) -> None:
    own = finished.root / "own.h5"
    own.write_bytes((finished.root / "src/facerecon/morphable/assets/open_face.h5").read_bytes())
    jobs = finished.to_run("--config", "face_model=own.h5")
    expected = {**PREPROCESSING, **AFTER_TRAINING, "predict": 3, "evaluate_now": 3}
    assert jobs == expected


def test_a_carried_system_with_another_face_model_is_refused_in_one_line(finished) -> None:
    (finished.root / "other.h5").write_text("another")
    answer = finished.snakemake("--dry-run", "--config", "face_model=other.h5")
    assert answer.returncode != 0
    line = next(line for line in answer.stderr.splitlines() if "facerecon: error" in line)
    assert "amplitude_phase belong to the open face model" in line
