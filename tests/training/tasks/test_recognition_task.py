import hashlib

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from facerecon.errors import InputError
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.recognition import RecognitionTask, margin_loss, verification
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


def test_verification_by_hand():
    perfect = verification(np.array([0.9, 0.8, 0.1, 0.2]), np.array([True, True, False, False]))
    assert perfect == {"accuracy": 1.0, "tar_at_far_1pc": 1.0, "auc": 1.0}
    mixed = verification(np.array([0.9, 0.3, 0.5, 0.1]), np.array([True, True, False, False]))
    # best threshold: above 0.5 accepts half and refuses all, or above 0.1 accepts all and refuses half
    assert mixed["accuracy"] == pytest.approx(0.75) and mixed["auc"] == pytest.approx(0.75)
    assert mixed["tar_at_far_1pc"] == pytest.approx(0.5)
    assert verification(np.ones(4), np.array([True, False, True, False]))["auc"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="needs pairs"):
        verification(np.ones(3), np.ones(3, bool))


def test_batches_and_subjects(task, store):
    batch = task.batch(3)
    assert batch["images"].shape == (6, 112, 112, 3) and batch["images"].dtype == torch.uint8
    assert torch.equal(batch["subjects"], task.batch(3)["subjects"])
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
    for content in (b"one", b"two"):
        trunk.write_bytes(content)
        card = RecognitionTask(settings, store, 0, 6, toy_mean).card()
        assert card["initial_trunk_sha256"] == hashlib.sha256(content).hexdigest()
    assert task.card()["initial_trunk_sha256"] is None
