import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from facerecon.training.tasks.parsing import (
    ParsingTask,
    balanced_entropy,
    class_weights,
    confusion_matrix,
    mean_intersection_over_union,
    overlap_loss,
)
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.settings import ParsingSettings

SMALL = {"size": 64, "width": 4, "validation_fraction": 0.2}


@pytest.fixture(scope="module")
def task(toy_folder, toy_mean) -> ParsingTask:
    return ParsingTask(ParsingSettings(**SMALL), PhotographStore([toy_folder]), 0, 12, toy_mean)


def test_mean_intersection_over_union_by_hand():
    confusion = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    mean, each = mean_intersection_over_union(confusion)
    np.testing.assert_allclose(each[:2], [3 / 4, 4 / 5])
    assert mean == pytest.approx((3 / 4 + 4 / 5) / 2) and np.isnan(each[2])
    assert mean_intersection_over_union(np.diag([5, 2]))[0] == 1
    with pytest.raises(ValueError, match="square"):
        mean_intersection_over_union(np.zeros((2, 3)))


def test_overlap_loss_by_hand():
    # four pixels, three classes; one pixel is not asked, and class 2 does not occur
    labels = torch.tensor([[[0, 0], [1, 255]]])
    probability = torch.tensor([[0.5, 0.9, 0.2, 0.1], [0.3, 0.1, 0.6, 0.1], [0.2, 0.0, 0.2, 0.8]]).clamp(min=1e-9)
    logits = probability.log().reshape(1, 3, 2, 2)
    first = (2 * 1.4 + 1) / (1.6 + 2 + 1)
    second = (2 * 0.6 + 1) / (1.0 + 1 + 1)
    assert overlap_loss(logits, labels).item() == pytest.approx(1 - (first + second) / 2, abs=1e-6)
    free = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert gradcheck(lambda value: overlap_loss(value, labels), free, atol=1e-4, eps=1e-3)


def test_class_weights_by_hand():
    frequency = np.array([0.64, 0.36, 0.0])
    np.testing.assert_allclose(class_weights(frequency, 0.0), 1)
    weights = class_weights(frequency, 0.5)
    assert weights[1] / weights[0] == pytest.approx((0.64 / 0.36) ** 0.5) and weights[2] == 8
    assert (weights * frequency).sum() == pytest.approx(1)


def test_balanced_entropy_is_least_at_the_true_probabilities():
    # of ten pixels that look alike nine are of class 0; class 1 weighs three times as much
    labels = torch.tensor([0] * 9 + [1]).reshape(1, 1, 10)
    logit = torch.zeros(1, requires_grad=True)
    weights = torch.tensor([1.0, 3.0])
    optimizer = torch.optim.LBFGS([logit], max_iter=50)

    def loss():
        optimizer.zero_grad()
        value = balanced_entropy(
            torch.stack([0 * logit, logit]).reshape(1, 2, 1, 1).expand(1, 2, 1, 10), labels, weights
        )
        value.backward()
        return value

    optimizer.step(loss)
    assert torch.sigmoid(logit).item() == pytest.approx(0.1, abs=1e-4)
    ignored = torch.where(labels == 1, 255, labels)
    assert balanced_entropy(torch.zeros(1, 2, 1, 10), ignored, torch.ones(2)).item() == pytest.approx(np.log(2))


def test_confusion_matrix_by_hand():
    counts = confusion_matrix(np.array([[1, 1], [2, 0]], np.uint8), np.array([[1, 2], [2, 255]], np.uint8))
    assert counts[1, 1] == 1 and counts[2, 1] == 1 and counts[2, 2] == 1 and counts.sum() == 3


def test_batches_depend_on_seed_and_step_alone(task):
    for name, tensor in task.batch(4).items():
        assert torch.equal(tensor, task.batch(4)[name])
    assert not torch.equal(task.batch(4)["images"], task.batch(5)["images"])


def test_left_and_right_stay_the_subjects_own(task):
    # Class 5 is the subject's right eye: left in the picture, mirrored or not.
    columns = torch.arange(64)
    for step in range(3):
        for labels in task.batch(step)["labels"]:
            right, left = (labels == 5).sum(0), (labels == 4).sum(0)
            if right.sum() > 4 and left.sum() > 4:
                assert (right * columns).sum() / right.sum() < (left * columns).sum() / left.sum()


def test_outside_the_photograph_nothing_is_asked(task):
    labels = task.batch(0)["labels"]
    assert (labels == 255).any() and set(labels.unique().tolist()) <= {*range(19), 255}


def test_loss_is_least_at_the_truth(task):
    batch = task.batch(0)
    truth = torch.nn.functional.one_hot(batch["labels"].long().clamp(max=18), 19).permute(0, 3, 1, 2) * 60.0
    loss, terms = task.loss(lambda images: truth, batch, 0)
    assert loss.item() < 1e-6 and abs(terms["overlap"].item()) < 1e-6
    assert task.loss(lambda images: -truth, batch, 0)[0].item() > 10


def test_validate(task):
    with torch.no_grad():
        measured = task.validate(task.build_model().eval())
    assert 0 <= measured["mean_iou"] <= 1 and 0 <= measured["accuracy"] <= 1 and "iou_skin" in measured
