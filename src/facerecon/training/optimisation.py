"""Optimiser, learning rate and averaged weights of the training loop."""

import copy
import math

import torch
from torch import Tensor, nn

from facerecon.training.settings import TrainingSettings


def make_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser named in the settings; weight decay acts on tensors of two or more dimensions only."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return kind(groups, lr=settings.learning_rate, fused=True)


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Learning rate of step 0 ... steps-1: a linear rise over warmup_steps, then constant or a cosine fall."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    low = settings.final_learning_rate
    return settings.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))


class AveragedModel:
    """Exponential moving average of a model's floating state: parameters and normalisation statistics alike.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that short runs do not keep the initial weights.
    With decay 0 it follows the model exactly. `model` is a copy of the network that holds the average.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Average in the state of `model` after `updates` earlier updates."""
        decay = min(self.decay, (1 + updates) / (10 + updates)) if self.decay else 0.0
        own, new = self.model.state_dict(), model.state_dict()
        names = [name for name, tensor in own.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in names], [new[name] for name in names], 1.0 - decay)
        for name, tensor in own.items():
            if not tensor.is_floating_point():
                tensor.copy_(new[name])


def to_device(batch: object, device: torch.device) -> object:
    """Move every tensor of nested dicts, lists and tuples to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch


def to_float32(output: object) -> object:
    """Cast every floating tensor of nested dicts, lists and tuples to float32."""
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, dict):
        return {name: to_float32(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        cast = [to_float32(value) for value in output]
        return type(output)(*cast) if hasattr(output, "_fields") else type(output)(cast)
    return output
