"""The training loop of every system and auxiliary network: seeded, resumable to the bit, and small.

What a task brings is the `TrainingTask` protocol; what the loop decides is `TrainingSettings`. Files in the folder:

    model.safetensors, model.json   averaged (EMA) weights and their card, written at the end
    metrics.csv                     step, learning_rate, gradient_norm, every loss term (means over log_every steps) and
                                    validation_* columns
    checkpoints/checkpoint.pt       the state of an unfinished run: tensors and plain values; removed at the end

The random state of a step depends on (seed, step) alone and a checkpoint holds network, optimiser and average, so an
interrupted run ends in the same bits as an uninterrupted one on the same kind of CPU and number of threads.
"""

import hashlib
import json
import math
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from facerecon.artefacts import atomic_file
from facerecon.errors import InputError
from facerecon.networks.weights import card_path, read_card, save_weights
from facerecon.progress import Progress
from facerecon.provenance import ATTRIBUTE, provenance_record
from facerecon.training.metrics import MetricsFile, RunningMeans
from facerecon.training.optimisation import AveragedModel, learning_rate, make_optimizer, to_device, to_float32
from facerecon.training.prefetch import prefetched
from facerecon.training.settings import FREE_SETTINGS, TrainingSettings

CHECKPOINT_VERSION = 1


class TrainingTask(Protocol):
    """What the loop needs to know of a network and its data.

    name: of the network, for messages and the card.
    Optional further methods: `sample_pictures(model, folder: Path) -> None`, called after each validation, and
    `check_device(device: torch.device) -> None`, called first, which raises InputError if it cannot train there.
    """

    name: str

    def build_model(self) -> nn.Module:
        """The network to train, with initial weights drawn from torch's global generator (seeded by the loop)."""

    def card(self) -> dict[str, Any]:
        """JSON values that say what is trained on what: the task's settings, face_model_sha256, and the SHA-256 of the
        data and of every file that training starts from. Only under equal ones is a run resumed, or taken as done."""

    def batch(self, step: int) -> Any:
        """Batch of step 0, 1, ...: a function of (seed, step) alone, without global random state; nested dicts, lists
        and tuples of tensors. Runs in a background thread with one torch thread: keep to numpy and OpenCV."""

    def loss(self, model: nn.Module, batch: Any, step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The loss to minimise (a scalar) and its terms by name. The network is in training mode."""

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Measures of the averaged network (in eval mode, without gradients) on the task's own validation data."""


@dataclass(frozen=True)
class TrainingResult:
    """How a call of `train` ended: `finished` is False if its time was over and it stopped with a checkpoint."""

    finished: bool
    step: int
    weights: Path
    measured: dict[str, float]


class _Stop(SystemExit):
    """Exit status 128 + signal, after the checkpoint is written."""


def train(
    task: TrainingTask, settings: TrainingSettings, out: Path, code: str = "", max_seconds_per_call: float = 0.0
) -> TrainingResult:
    """Train, or go on training, into the folder `out`; a finished run of the same task and settings is left as it is.

    code: fingerprint of the source at work; what other code began is not gone on with. max_seconds_per_call: stop with
    a checkpoint after this long, to be called again; 0 goes on to the end.
    Raises InputError if the loss is no longer finite. On SIGTERM or SIGINT: finishes the step, writes a checkpoint and
    raises SystemExit(128 + signal).
    """
    out = Path(out)
    identity = _identity(task, settings, code)
    weights = out / "model.safetensors"
    finished = _finished_card(weights, identity)
    if finished is not None:
        print(f"train {task.name}: {weights} is already trained", file=sys.stderr)
        return TrainingResult(True, settings.steps, weights, finished.get("measured", {}))
    torch.set_num_threads(settings.threads)
    return _Loop(task, settings, out, identity, max_seconds_per_call).run()


def step_seed(seed: int, step: int) -> int:
    """Seed of a step's random numbers: distinct, well mixed and independent of the history."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:7], "little")


class _Loop:
    """State of one call of `train`."""

    def __init__(
        self, task: TrainingTask, settings: TrainingSettings, out: Path, identity: str, max_seconds_per_call: float
    ):
        self.task, self.settings, self.out, self.identity = task, settings, out, identity
        self.max_seconds = max_seconds_per_call
        self.started = time.monotonic()
        self.device = torch.device(settings.device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise InputError("training on cuda: torch sees no GPU; set training.device to cpu")
        if hasattr(task, "check_device"):
            task.check_device(self.device)
        torch.manual_seed(step_seed(settings.seed, -1))
        self.model = task.build_model().to(self.device)
        if settings.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.model, settings.ema_decay)
        self.optimizer = make_optimizer(self.model, settings)
        self.step = 0
        self.means = RunningMeans()
        self.checkpoint = out / "checkpoints" / "checkpoint.pt"
        self._resume()
        self.metrics = MetricsFile(out / "metrics.csv", self.step)
        if settings.bf16:
            _run_in_bfloat16(self.model, self.device)

    def run(self) -> TrainingResult:
        settings = self.settings
        progress = Progress(
            f"train {self.task.name}", settings.steps * settings.batch_size, done=self.step * settings.batch_size
        )
        measured: dict[str, float] = {}
        saved = time.monotonic()
        with (
            _signals_noted() as received,
            prefetched(self.task.batch, self.step, settings.steps, settings.prefetch) as batches,
        ):
            every = settings.validate_every
            for batch in batches:
                loss = self._train_step(batch)
                self.step += 1
                progress.advance(settings.batch_size, f"step {self.step}, loss {loss:.4g}")
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    self._log()
                if self.step == settings.steps or (every and self.step % every == 0):
                    measured = self._validate()
                if self.step == settings.steps:
                    break
                now = time.monotonic()
                out_of_time = 0 < self.max_seconds <= now - self.started
                if received or out_of_time or now - saved >= settings.checkpoint_seconds:
                    self._save_checkpoint()
                    saved = now
                if received:
                    print(f"train {self.task.name}: stopped at step {self.step}, checkpoint written", file=sys.stderr)
                    raise _Stop(128 + received[0])
                if out_of_time:
                    return self._paused()
        self._finish(measured)
        return TrainingResult(True, self.step, self.out / "model.safetensors", measured)

    def _train_step(self, batch: Any) -> float:
        settings, step = self.settings, self.step
        torch.manual_seed(step_seed(settings.seed, step))
        rate = learning_rate(settings, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        loss, terms = self.task.loss(self.model, to_device(batch, self.device), step)
        values = {name: _number(value) for name, value in terms.items()}
        if not math.isfinite(_number(loss)):
            self._diverged("loss", values)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # With no clipping wanted the norm is still measured: it tells a diverging run first.
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip or math.inf))
        if not math.isfinite(norm):
            self._diverged("gradient", values)
        self.optimizer.step()
        self.average.update(self.model, step)
        self.means.add({"loss": _number(loss), **values, "gradient_norm": norm})
        return _number(loss)

    def _log(self) -> None:
        means = self.means.take()
        self.metrics.record(self.step, {"learning_rate": learning_rate(self.settings, self.step - 1), **means})

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        measured = {name: float(value) for name, value in self.task.validate(self.average.model).items()}
        if measured:
            self.metrics.record(self.step, {f"validation_{name}": value for name, value in measured.items()})
            text = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
            print(f"train {self.task.name}: step {self.step}, validation: {text}", file=sys.stderr)
        if hasattr(self.task, "sample_pictures"):
            folder = self.out / "samples"
            folder.mkdir(parents=True, exist_ok=True)
            self.task.sample_pictures(self.average.model, folder)
        return measured

    def _diverged(self, what: str, terms: dict[str, float]) -> None:
        listed = ", ".join(f"{name}={value:.4g}" for name, value in terms.items())
        raise InputError(
            f"training {self.task.name}: the {what} is not finite at step {self.step} ({listed}); "
            "lower training.learning_rate or check the data"
        )

    def _save_checkpoint(self) -> None:
        state = {
            "version": CHECKPOINT_VERSION,
            "identity": self.identity,
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self.means.sums,
            "count": self.means.count,
        }
        # To a stream: torch's own writer does not say that a disk is full.
        with atomic_file(self.checkpoint) as temporary, open(temporary, "wb") as stream:
            torch.save(state, stream)

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            return
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
            raise InputError(f"{self.checkpoint}: not a readable checkpoint; remove it to train anew") from None
        if (state.get("version"), state.get("identity")) != (CHECKPOINT_VERSION, self.identity):
            print(
                f"train {self.task.name}: the checkpoint has other settings, data or code; training anew",
                file=sys.stderr,
            )
            return
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.means = RunningMeans(state["sums"], state["count"])
        print(f"train {self.task.name}: resuming at step {self.step} of {self.settings.steps}", file=sys.stderr)

    def _paused(self) -> TrainingResult:
        print(
            f"train {self.task.name}: {self.max_seconds:g} s are over at step {self.step} of "
            f"{self.settings.steps}; call again to go on",
            file=sys.stderr,
        )
        return TrainingResult(False, self.step, self.out / "model.safetensors", {})

    def _finish(self, measured: dict[str, float]) -> None:
        own = self.task.card()
        training = self.settings.model_dump(mode="json", exclude=set(FREE_SETTINGS))
        inputs = {"face_model": own["face_model_sha256"]} if own.get("face_model_sha256") else {}
        card = {
            "name": self.task.name,
            **own,
            "training": training,
            "steps": self.step,
            "measured": measured,
            "training_identity": self.identity,
            ATTRIBUTE: provenance_record(
                f"training.{self.task.name}",
                {"training": training, "task": own.get("settings")},
                self.settings.seed,
                {"training": self.identity, **inputs},
            ),
        }
        save_weights(
            self.out / "model.safetensors", self.average.model.state_dict(), card, self.settings.half_precision_weights
        )
        self.checkpoint.unlink(missing_ok=True)


def _number(value: Tensor | float) -> float:
    return value.detach().item() if isinstance(value, Tensor) else float(value)


def _identity(task: TrainingTask, settings: TrainingSettings, code: str) -> str:
    description = [task.name, task.card(), settings.model_dump(mode="json", exclude=set(FREE_SETTINGS)), code]
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _finished_card(weights: Path, identity: str) -> dict[str, Any] | None:
    if not (weights.is_file() and card_path(weights).is_file()):
        return None
    try:
        card = read_card(weights)
    except InputError:
        return None
    return card if card.get("training_identity") == identity else None


def _run_in_bfloat16(model: nn.Module, device: torch.device) -> None:
    """Make the network's forward pass (not the losses) run under bfloat16 autocast, with float32 results."""
    forward = model.forward

    def autocast_forward(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            output = forward(*args, **kwargs)
        return to_float32(output)

    model.forward = autocast_forward


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """While inside, SIGTERM and SIGINT are appended to the list that is yielded (only in the main thread)."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    caught = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in caught}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
