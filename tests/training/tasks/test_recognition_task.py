import hashlib
import json

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from facerecon.errors import InputError
from facerecon.networks.weights import card_path
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.recognition import RecognitionTask, margin_loss, pair_loss
from facerecon.training.tasks.settings import RecognitionSettings


@pytest.fixture(scope="module")
def store(toy_folder) -> PhotographStore:
    return PhotographStore([toy_folder])


@pytest.fixture(scope="module")
def task(store, toy_mean) -> RecognitionTask:
    settings = RecognitionSettings(width=4, initial_trunk=None, validation_fraction=0.4, margin_steps=10)
    return RecognitionTask(settings, store, 0, 6, toy_mean)


def test_margin_loss_by_hand():
    cosines, subjects = torch.tensor([[0.5, 0.1]]), torch.tensor([0])
    # scale 2, margin 0.2: logits 0.6 and 0.2
    assert margin_loss(cosines, subjects, 2.0, 0.2).item() == pytest.approx(np.log(1 + np.exp(-0.4)))
    assert margin_loss(torch.tensor([[1.0, -1.0]]), subjects, 40.0, 0.2).item() < 1e-12
    values = torch.tensor([[0.5, 0.1, -0.2], [0.0, 0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda value: margin_loss(value, torch.tensor([0, 2]), 5.0, 0.3), values)
    with pytest.raises(ValueError, match="do not fit"):
        margin_loss(cosines, torch.tensor([0, 1]), 2.0, 0.2)
    with pytest.raises(ValueError, match="scale"):
        margin_loss(cosines, subjects, 0.0, 0.2)


def test_pair_loss_by_hand():
    unit = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64), dim=1)
    # temperature 1/2; photographs 0 and 2 are a pair: each is asked for its partner among the two others
    near = 2 * 0.5**0.5
    expected = (np.log(1 + np.exp(0 - near)) + np.log(2)) / 2
    assert pair_loss(unit, torch.tensor([4, 7, 4]), 0.5).item() == pytest.approx(expected)
    assert pair_loss(unit, torch.tensor([0, 1, 2]), 0.5).item() == 0
    free = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert gradcheck(lambda value: pair_loss(value, torch.tensor([0, 0, 1, 1, 1]), 0.3), free)
    with pytest.raises(ValueError, match="temperature"):
        pair_loss(unit, torch.tensor([0, 1, 2]), 0.0)


def test_batches_and_subjects(task, store):
    batch = task.batch(3)
    assert batch["images"].shape == (6, 112, 112, 3) and batch["images"].dtype == torch.uint8
    assert torch.equal(batch["subjects"], task.batch(3)["subjects"])
    assert torch.bincount(batch["subjects"]).max() == 4  # photographs of a subject, of which there are but three
    numbers = torch.cat([task.batch(step)["subjects"] for step in range(12)])
    training = store.split(0.4, 1000)[0]
    assert sorted(set(numbers.tolist())) == list(range(len(np.unique(store.subjects[training]))))


def test_loss_and_validation(task):
    torch.manual_seed(0)
    model = task.build_model()
    batch = task.batch(0)
    early, late = (task.loss(model.eval(), batch, step)[0].item() for step in (0, 10))
    assert late > early  # the margin has risen
    with torch.no_grad():
        measured = task.validate(model)
    assert 0.5 <= measured["accuracy"] <= 1
    assert 0 <= measured["rank_1"] <= 1 and measured["identities"] >= 2


def test_batches_without_regard_to_subjects(store, toy_mean):
    settings = RecognitionSettings(width=4, initial_trunk=None, validation_fraction=0.4, photos_per_subject=1)
    task = RecognitionTask(settings, store, 0, 6, toy_mean)
    training = store.split(0.4, 1000)[0]
    steps = len(training) // 6
    drawn = np.concatenate([task._chosen(np.random.default_rng(0), step) for step in range(steps)])
    assert len(set(drawn.tolist())) == 6 * steps


def test_crops_agree_with_the_standard_crop(store, toy_mean):
    from facerecon.geometry.crop import crop_transform

    crops = StandardCrops(store, 224, toy_mean)
    for index in (0, 5):
        expected = crop_transform(store.landmarks[index], toy_mean)
        matrix = crops.matrix(index)
        np.testing.assert_allclose(matrix[:, :2], np.eye(2) * expected.scale, atol=1e-9)
        np.testing.assert_allclose(matrix[:, 2], expected.offset, atol=1e-6)


def test_the_card_names_the_content_of_the_trunk_it_starts_from(tmp_path, store, toy_mean, task):
    trunk = tmp_path / "landmarks.safetensors"
    settings = task.settings.model_copy(update={"initial_trunk": str(trunk)})
    with pytest.raises(InputError, match=r"landmarks\.safetensors: no such weights file"):
        RecognitionTask(settings, store, 0, 6, toy_mean)
    people = {"people": {"0": [[5, 9]]}}
    card_path(trunk).write_text(json.dumps({"schema_version": 1, "data": people, "earlier_data": [{"photographs": 3}]}))
    for content in (b"one", b"two"):
        trunk.write_bytes(content)
        card = RecognitionTask(settings, store, 0, 6, toy_mean).card()
        assert card["initial_trunk_sha256"] == hashlib.sha256(content).hexdigest()
        assert card["earlier_data"] == [people, {"photographs": 3}]  # whom the trunk has met
    assert task.card()["initial_trunk_sha256"] is None and task.card()["earlier_data"] == []
