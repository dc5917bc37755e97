import numpy as np
import pytest
import torch

from facerecon.training.tasks.parsing import ParsingTask, mean_intersection_over_union
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
    assert task.loss(lambda images: truth, batch, 0)[0].item() < 1e-6
    assert task.loss(lambda images: -truth, batch, 0)[0].item() > 10


def test_validate(task):
    with torch.no_grad():
        measured = task.validate(task.build_model().eval())
    assert 0 <= measured["mean_iou"] <= 1 and 0 <= measured["accuracy"] <= 1 and "iou_skin" in measured
