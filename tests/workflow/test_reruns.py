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


def test_code_of_a_loss_reruns_training_and_what_follows(finished) -> None:
    with finished.edited("src/facerecon/losses/frequency.py", "\ndef ", "\nUNUSED = 1\n\n\ndef "):
        assert finished.to_run() == AFTER_TRAINING


def test_changed_code_never_resumes_old_checkpoints(finished) -> None:
    def work() -> str:
        answer = finished.snakemake("--dry-run", "--forcerun", "train_system")
        return re.search(r"--out (results/training/amplitude_phase/work/\w+)", answer.stdout)[1]

    before = work()
    with finished.edited("src/facerecon/losses/frequency.py", "\ndef ", "\nUNUSED = 1\n\n\ndef "):
        assert work() != before
    assert work() == before


def test_comments_and_docstrings_rerun_nothing(finished) -> None:
    with (
        finished.edited("src/facerecon/losses/frequency.py", '"""', "# a comment\n" + '"""Changed. '),
        finished.edited("src/facerecon/errors.py", "\n    The message", "\n    Changed. The message"),
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


def test_networks_are_trained_only_on_request(finished) -> None:
    jobs = finished.to_run(
        "--config",
        "networks={detector: train, recognition: train}",
        "photographs={networks: {subjects: 2, photos_per_subject: 1, subjects_per_folder: 1}}",
    )
    assert jobs["train_network"] == 2
    assert jobs["synthesize_photographs"] == 2
    assert jobs["landmarks"] == jobs["shard"] == 2
