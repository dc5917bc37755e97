"""Learning rates, optimisers and averaged weights."""

import pytest
import torch
from torch import nn

from facerecon.training.optimisation import AveragedModel, learning_rate, make_optimizer, to_device, to_float32
from facerecon.training.settings import TrainingSettings


def test_learning_rate_warms_up_and_stays():
    settings = TrainingSettings(steps=100, warmup_steps=3, learning_rate=1.0)
    assert [learning_rate(settings, step) for step in (0, 1, 2, 3, 99)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_learning_rate_falls_as_a_cosine():
    settings = TrainingSettings(steps=100, learning_rate=2.0, schedule="cosine", final_learning_rate=0.1)
    assert learning_rate(settings, 0) == 2.0
    assert learning_rate(settings, 50) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert learning_rate(settings, 100) == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_spares_vectors(name):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = make_optimizer(model, TrainingSettings(optimizer=name, weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {id(p): 0.1 if p.ndim > 1 else 0.0 for p in model.parameters()}


def test_frozen_parameters_are_not_trained():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = make_optimizer(model, TrainingSettings())
    assert [p is model.weight for group in optimizer.param_groups for p in group["params"]] == [True]


def test_the_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = AveragedModel(model, 0.5)
    for updates in range(2):
        nn.init.constant_(model.weight, updates + 1.0)
        average.update(model, updates)
    # Decays 0.1, then 2 / 11: 0.9, then 0.9 * 2 / 11 + 2 * 9 / 11.
    assert average.model.weight.item() == pytest.approx(0.9 * 2 / 11 + 2 * 9 / 11)


def test_without_decay_the_average_is_the_model():
    model = nn.BatchNorm1d(2)
    average = AveragedModel(model, 0.0)
    model(torch.randn(8, 2))
    average.update(model, 5)
    assert all(torch.equal(average.model.state_dict()[name], value) for name, value in model.state_dict().items())
    assert not average.model.training and not any(p.requires_grad for p in average.model.parameters())


def test_nested_batches():
    batch = {"a": torch.zeros(2, dtype=torch.bfloat16), "b": [torch.ones(1, dtype=torch.long), ("x", None)]}
    moved = to_device(batch, torch.device("cpu"))
    assert moved["b"][1] == ("x", None) and torch.equal(moved["a"], batch["a"])
    cast = to_float32(batch)
    assert cast["a"].dtype == torch.float32 and cast["b"][0].dtype == torch.long
