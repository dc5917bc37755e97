import csv

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from facerecon.errors import InputError
from facerecon.networks.landmarks import MIRRORED_LANDMARKS, LandmarkNetwork, load_landmark_network
from facerecon.networks.weights import read_card, save_weights
from facerecon.training.run import run_training
from facerecon.training.tasks.landmarks import LandmarkTask, expected_error_loss, wing_loss
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.settings import LandmarkSettings

SMALL = {"size": 32, "width": 8, "hidden": 16}
STILL = {
    "shift": 0, "log_scale": 0, "rotation": 0,
    "photometric": {"gain": 0, "channel_gain": 0, "offset": 0, "gamma": 0, "mono": 0, "blur": 0, "coarse": 0,
                    "noise": 0, "jpeg": 0, "erase": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def store(toy_folder) -> PhotographStore:
    return PhotographStore([toy_folder])


def test_wing_loss():
    assert wing_loss(torch.zeros(3), 0.1, 0.02).sum() == 0
    # inside: 0.1 ln(1 + 0.02/0.02); outside: 0.5 - (0.1 - 0.1 ln 6)
    expected = torch.tensor([0.1 * np.log(2), 0.5 - 0.1 + 0.1 * np.log(6)], dtype=torch.float32)
    torch.testing.assert_close(wing_loss(torch.tensor([-0.02, 0.5]), 0.1, 0.02), expected)
    residual = torch.tensor([-0.3, -0.05, 0.02, 0.2], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda value: wing_loss(value, 0.1, 0.02), residual)
    for width, curvature in ((0, 1), (1, -1)):
        with pytest.raises(ValueError, match="positive"):
            wing_loss(torch.zeros(1), width, curvature)


def test_expected_error_loss_is_least_at_the_mean_distance():
    distance = torch.tensor([0.1, 0.3], dtype=torch.float64)
    log_mean = torch.tensor(0.2, dtype=torch.float64).log().requires_grad_()
    loss = expected_error_loss(distance, log_mean).mean()
    assert loss.item() == pytest.approx(np.log(0.2) + 1)
    loss.backward()
    assert abs(log_mean.grad.item()) < 1e-12
    assert gradcheck(expected_error_loss, (distance, torch.zeros(2, dtype=torch.float64, requires_grad=True)))


def test_loss_is_zero_at_perfect_points_and_confidence_does_not_move_them(store):
    task = LandmarkTask(LandmarkSettings(**SMALL), store, seed=0, batch_size=4)
    batch = task.batch(0)
    points = batch["points"].clone().requires_grad_()
    loss, terms = task.loss(lambda images: (points[:, None], torch.zeros(4, 1, 68)), batch, 0)
    assert terms["wing"].item() == 0
    loss.backward()
    assert (points.grad == 0).all()


def test_batches_depend_on_seed_and_step_alone(store):
    make = lambda seed: LandmarkTask(LandmarkSettings(**SMALL), store, seed, batch_size=6)  # noqa: E731
    first, again, other = make(0), make(0), make(1)
    again.batch(0)
    for name, tensor in first.batch(7).items():
        assert torch.equal(tensor, again.batch(7)[name])
    assert not torch.equal(first.batch(7)["images"], other.batch(7)["images"])
    assert not torch.equal(first.batch(7)["images"], first.batch(8)["images"])


def test_points_lie_on_the_face_in_every_crop(store):
    # Where the toy face's eyes are drawn white, the augmented crop is bright at the labelled eye centres.
    settings = LandmarkSettings(size=64, photometric=STILL["photometric"])
    batch = LandmarkTask(settings, store, seed=0, batch_size=32).batch(3)
    for image, points in zip(batch["images"].numpy(), batch["points"].numpy(), strict=True):
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = np.floor((points[eye].mean(0) + 1) * 32).astype(int)
            if 0 <= x < 64 and 0 <= y < 64:
                assert image[y, x].min() > 190


def test_a_mirrored_crop_keeps_the_names_on_their_sides(store):
    # Landmark 36 is the subject's right eye, on the image's left: so it stays in a mirrored picture of a face.
    points = LandmarkTask(LandmarkSettings(**SMALL, **STILL), store, 0, 24).batch(0)["points"]
    assert (points[:, 36, 0] < points[:, 45, 0]).all() and (points[:, 48, 0] < points[:, 54, 0]).all()
    assert (MIRRORED_LANDMARKS[36], MIRRORED_LANDMARKS[48]) == (45, 54)


def test_hidden_landmarks_weigh_less(store):
    task = LandmarkTask(LandmarkSettings(**SMALL, hidden_weight=0.25), store, 0, 24)
    assert (task.batch(0)["weights"] == 1).all()
    store.landmarks_visible[:, 3] = False
    try:
        weights = task.batch(0)["weights"]
    finally:
        store.landmarks_visible[:, 3] = True
    # 3 mirrors to 13: each crop has one of them, by whether it was mirrored
    assert torch.equal(weights[:, [3, 13]].sort(1).values, torch.tensor([[0.25, 1.0]]).expand(24, 2))


def test_training_lowers_the_loss_and_writes_a_card(toy_folder, tmp_path):
    training = {"steps": 40, "batch_size": 16, "learning_rate": 2e-3, "threads": 1, "log_every": 10}
    task = {"size": 32, "width": 16, "hidden": 64, **STILL, "validation_fraction": 0.1}
    result = run_training("landmarks", {"training": training, "task": task}, [toy_folder], tmp_path)
    with open(tmp_path / "metrics.csv", newline="") as stream:
        wing = [float(row["wing"]) for row in csv.DictReader(stream)]
    assert result.finished and wing[-1] < 0.8 * wing[0]
    card = read_card(result.weights)
    assert card["face_model_sha256"] == "f" * 64 and card["data"]["photographs"] == 24
    assert load_landmark_network(result.weights).size == 32


def test_training_goes_on_from_given_weights(tmp_path, store):
    path = tmp_path / "start.safetensors"
    torch.manual_seed(3)
    start = LandmarkNetwork(**SMALL, head="refined")
    arguments = {**SMALL, "head": "refined"}
    save_weights(path, start.state_dict(), {"name": "landmarks", "network": arguments}, half=False)
    task = LandmarkTask(LandmarkSettings(**SMALL, initial_weights=str(path)), store, 0, 4)
    for name, tensor in task.build_model().state_dict().items():
        assert torch.equal(tensor, start.state_dict()[name])
    assert len(task.card()["initial_weights_sha256"]) == 64
    other = LandmarkTask(LandmarkSettings(**{**SMALL, "width": 12}, initial_weights=str(path)), store, 0, 4)
    with pytest.raises(InputError, match=r"start\.safetensors: of another head, size or width"):
        other.build_model()
