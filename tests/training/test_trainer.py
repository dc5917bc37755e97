"""The training loop: exact resume, signals, divergence, files."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from facerecon.errors import InputError
from facerecon.networks.weights import load_weights
from facerecon.training.settings import TrainingSettings
from facerecon.training.trainer import step_seed, train


class LineTask:
    """Fits a small convolutional network with dropout and batch normalisation to a fixed function of noise images."""

    name = "line"

    def __init__(self, seed=0, at_step=None):
        self.seed = seed
        self.at_step = at_step or {}
        self.steps_seen = []

    def build_model(self):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(512, 1),
        )

    def card(self):
        return {"settings": {"width": 8}}

    def batch(self, step):
        images = np.random.default_rng((self.seed, step)).normal(size=(4, 3, 8, 8)).astype(np.float32)
        return {
            "images": torch.from_numpy(images),
            "targets": torch.from_numpy(images.mean(axis=(1, 2, 3), keepdims=False)),
        }

    def loss(self, model, batch, step):
        if step in self.at_step:
            self.at_step[step]()
        self.steps_seen.append(step)
        residual = model(batch["images"]).squeeze(1) - batch["targets"]
        square = (residual**2).mean()
        return square, {"square": square}

    def validate(self, model):
        assert not model.training
        return {"answer": 42.0}


def settings(**values):
    defaults = {"steps": 12, "batch_size": 4, "threads": 1, "log_every": 5, "learning_rate": 1e-2, "ema_decay": 0.9}
    return TrainingSettings(**{**defaults, **values})


def final_bytes(folder):
    return (folder / "model.safetensors").read_bytes(), (folder / "metrics.csv").read_bytes()


@pytest.fixture
def uninterrupted(tmp_path):
    train(LineTask(), settings(), tmp_path / "whole")
    return final_bytes(tmp_path / "whole")


def fail():
    raise RuntimeError("power cut")


def test_resumes_to_the_same_bits_after_an_exception(tmp_path, uninterrupted):
    out = tmp_path / "broken"
    with pytest.raises(RuntimeError, match="power cut"):
        train(LineTask(at_step={7: fail}), settings(checkpoint_seconds=1e-6), out)
    assert (out / "checkpoints" / "checkpoint.pt").is_file()
    resumed = LineTask()
    train(resumed, settings(), out)
    assert resumed.steps_seen == list(range(7, 12))
    assert final_bytes(out) == uninterrupted
    assert not (out / "checkpoints" / "checkpoint.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_writes_a_checkpoint_and_exits(tmp_path, uninterrupted, number):
    out = tmp_path / "stopped"
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        train(LineTask(at_step={6: lambda: os.kill(os.getpid(), number)}), settings(), out)
    assert stop.value.code == 128 + number
    assert signal.getsignal(number) is handler
    resumed = LineTask()
    train(resumed, settings(), out)
    assert resumed.steps_seen[0] == 7
    assert final_bytes(out) == uninterrupted


def test_resumes_to_the_same_bits_after_a_kill(tmp_path, uninterrupted):
    out = tmp_path / "killed"
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from pathlib import Path
        from test_trainer import LineTask, settings
        from facerecon.training.trainer import train
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        train(LineTask(at_step={{9: kill}}), settings(checkpoint_seconds=1e-6), Path({str(out)!r}))
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert process.returncode == -signal.SIGKILL
    train(LineTask(), settings(), out)
    assert final_bytes(out) == uninterrupted


def test_pieces_of_limited_time_end_in_the_same_bits(tmp_path, uninterrupted):
    results = []
    while not results or not results[-1].finished:
        results.append(train(LineTask(), settings(), tmp_path / "pieces", max_seconds_per_call=1e-6))
    assert [result.step for result in results] == list(range(1, 13))
    assert final_bytes(tmp_path / "pieces") == uninterrupted


def test_prefetching_does_not_change_the_result(tmp_path, uninterrupted):
    train(LineTask(), settings(prefetch=0), tmp_path / "plain")
    assert final_bytes(tmp_path / "plain") == uninterrupted


def test_another_seed_and_another_setting_train_anew(tmp_path, uninterrupted):
    out = tmp_path / "other"
    train(LineTask(), settings(), out, max_seconds_per_call=1e-6)
    other = LineTask()
    train(other, settings(learning_rate=2e-2), out)
    assert other.steps_seen == list(range(12))
    assert final_bytes(out)[0] != uninterrupted[0]
    train(LineTask(), settings(seed=1), tmp_path / "seed")
    assert final_bytes(tmp_path / "seed")[0] != uninterrupted[0]


def test_other_starting_weights_train_anew(tmp_path):
    class Started(LineTask):
        def __init__(self, digest):
            super().__init__()
            self.digest = digest

        def card(self):
            return {**super().card(), "data_sha256": {"initial_weights": self.digest}}

    train(Started("a"), settings(), tmp_path)
    same, other = Started("a"), Started("b")
    train(same, settings(), tmp_path)
    train(other, settings(), tmp_path)
    assert same.steps_seen == [] and other.steps_seen == list(range(12))


def test_a_finished_run_is_left_as_it_is(tmp_path):
    train(LineTask(), settings(), tmp_path)
    again = LineTask()
    result = train(again, settings(prefetch=1), tmp_path)
    assert result.finished and again.steps_seen == [] and result.measured == {"answer": 42.0}


def test_writes_metrics_and_card(tmp_path):
    train(LineTask(), settings(validate_every=6), tmp_path)
    with open(tmp_path / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["5", "6", "10", "12"]
    assert [row["validation_answer"] for row in rows] == ["", "42", "", "42"]
    assert float(rows[0]["square"]) == float(rows[0]["loss"]) > 0
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["name"] == "line" and card["steps"] == 12 and card["settings"] == {"width": 8}
    assert card["measured"] == {"answer": 42.0}
    state, _ = load_weights(tmp_path / "model.safetensors")
    LineTask().build_model().load_state_dict(state)


def test_training_lowers_the_loss(tmp_path):
    train(LineTask(), settings(steps=200, log_every=50, learning_rate=3e-3), tmp_path)
    with open(tmp_path / "metrics.csv", newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_stops_with_one_line(tmp_path):
    class Diverging(LineTask):
        def loss(self, model, batch, step):
            loss, terms = super().loss(model, batch, step)
            return (loss * float("nan"), {"square": float("nan")}) if step == 3 else (loss, terms)

    with pytest.raises(InputError, match=r"loss is not finite at step 3 \(square=nan\)") as error:
        train(Diverging(), settings(), tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.safetensors").exists()


def test_an_infinite_gradient_stops_with_one_line(tmp_path):
    class Steep(LineTask):
        def loss(self, model, batch, step):
            loss, terms = super().loss(model, batch, step)
            return loss + torch.sqrt((loss - loss.detach()).abs() * 1e-30), terms

    with pytest.raises(InputError, match="gradient is not finite at step 0"):
        train(Steep(), settings(), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"checkpoint\.pt: not a readable checkpoint"):
        train(LineTask(), settings(), tmp_path)


def test_an_error_of_the_data_reaches_the_caller(tmp_path):
    class Broken(LineTask):
        def batch(self, step):
            if step == 4:
                raise InputError("shard-0.h5: damaged")
            return super().batch(step)

    task = Broken()
    with pytest.raises(InputError, match="damaged"):
        train(task, settings(), tmp_path)
    assert task.steps_seen == [0, 1, 2, 3]


def test_bfloat16_runs_the_network_but_not_the_loss(tmp_path):
    seen = {}

    class Watching(LineTask):
        def loss(self, model, batch, step):
            model[0].register_forward_hook(lambda module, inputs, output: seen.update(inside=output.dtype))
            seen["result"] = model(batch["images"]).dtype
            return super().loss(model, batch, step)

    train(Watching(), settings(steps=2, bf16=True), tmp_path)
    assert seen == {"inside": torch.bfloat16, "result": torch.float32}


def test_step_seeds_differ():
    seeds = {step_seed(seed, step) for seed in range(20) for step in range(-1, 50)}
    assert len(seeds) == 20 * 51
