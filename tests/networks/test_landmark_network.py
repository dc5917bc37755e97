import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.networks.landmark_heads import RefinementStep, SoftArgmax
from facerecon.networks.landmarks import (
    CROP_MARGIN,
    LANDMARK_COUNT,
    MIRRORED_LANDMARKS,
    LandmarkNetwork,
    load_landmark_network,
    predict_landmarks,
)
from facerecon.networks.weights import save_weights

SMALL = {"size": 32, "width": 8, "hidden": 16}


@pytest.fixture
def network() -> LandmarkNetwork:
    torch.manual_seed(0)
    network = LandmarkNetwork(**SMALL)
    network.start_at(torch.rand(LANDMARK_COUNT, 2) - 0.5)
    return network.eval()


class BrightSpot(LandmarkNetwork):
    """Puts the points around the brightest place of the crop: an exact detector of a dot, to test the geometry."""

    def forward(self, images):
        weight = images.mean(1) ** 8
        weight = weight / weight.sum((1, 2), keepdim=True)
        axis = (torch.arange(self.size) + 0.5) / self.size * 2 - 1
        centre = torch.stack([(weight.sum(1) * axis).sum(1), (weight.sum(2) * axis).sum(1)], -1)
        angle = torch.arange(LANDMARK_COUNT) / LANDMARK_COUNT * 2 * torch.pi
        ring = 0.5 * torch.stack([torch.cos(angle), torch.sin(angle)], -1)
        points = centre[:, None] + ring
        mirrored = points[:, MIRRORED_LANDMARKS]  # its names are symmetric, as a face's are
        return (points + mirrored) / 2, torch.full(points.shape[:2], -3.0)


def test_shapes(network):
    points, log_error = network(torch.rand(3, 3, 32, 32))
    assert points.shape == (3, 68, 2) and log_error.shape == (3, 68)
    with pytest.raises(ValueError, match="multiple of 16"):
        LandmarkNetwork(size=30)


@pytest.mark.parametrize("head", ["regression", "soft_argmax", "refined"])
def test_heads_guess_in_training_and_answer_in_evaluation(head):
    torch.manual_seed(0)
    network, images = LandmarkNetwork(**SMALL, head=head), torch.rand(2, 3, 32, 32)
    stages = {"regression": 1, "soft_argmax": 2, "refined": 3}[head]
    points, log_error = network.train()(images)
    assert points.shape == (2, stages, 68, 2) and log_error.shape == (2, stages, 68)
    (points.square().sum() + log_error.square().sum()).backward()
    untouched = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert untouched == []
    network.eval()
    together = network(images)
    assert together[0].shape == (2, 68, 2) and together[1].shape == (2, 68)
    torch.testing.assert_close(together[0][1], network(images[1:])[0][0], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="no head is called"):
        LandmarkNetwork(head="other")


def test_soft_argmax_is_at_a_peak_and_less_sure_of_a_wide_one():
    head = SoftArgmax(2, 2)
    with torch.no_grad():
        head.heat.weight.copy_(torch.eye(2)[:, :, None, None])
        head.heat.bias.zero_()
    features = torch.zeros(1, 2, 8, 8)
    features[0, 0, 2, 5] = 40.0  # one cell: column 5, row 2
    points, spread = head(features)
    torch.testing.assert_close(points[0], torch.tensor([[2 * 5.5 / 8 - 1, 2 * 2.5 / 8 - 1], [0.0, 0.0]]))
    assert spread[0, 0] < spread[0, 1] - 1


def test_refinement_looks_where_the_points_are():
    torch.manual_seed(0)
    step = RefinementStep(channels=4, points=3)
    features = torch.rand(1, 4, 16, 16)
    points, log_error = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.0, 0.6]]]), torch.zeros(1, 3)
    before = step(features, points, log_error)[0]
    elsewhere, there = features.clone(), features.clone()
    elsewhere[..., 13:, :4] += 1.0  # the lower left corner, where no point is
    there[..., 3:5, 3:5] += 1.0
    torch.testing.assert_close(step(elsewhere, points, log_error)[0], before)
    assert (step(there, points, log_error)[0] - before).abs().max() > 1e-4


def test_start_at_gives_the_mean_points():
    torch.manual_seed(0)
    network = LandmarkNetwork(**SMALL)
    mean = torch.linspace(-0.5, 0.5, 136).view(68, 2)
    network.output.weight.data.zero_()
    network.start_at(mean)
    points, log_error = network.eval()(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(points[0], mean)
    torch.testing.assert_close(log_error[0].exp(), torch.full((68,), 0.1))


def test_batched_equals_single(network):
    images = torch.rand(4, 3, 32, 32)
    together = network(images)[0]
    one_by_one = torch.cat([network(image[None])[0] for image in images])
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=1e-4)


def test_mirrored_landmarks_is_an_involution_that_swaps_sides():
    assert (MIRRORED_LANDMARKS[MIRRORED_LANDMARKS] == np.arange(68)).all()
    middle = np.flatnonzero(np.arange(68) == MIRRORED_LANDMARKS)
    np.testing.assert_array_equal(middle, [8, 27, 28, 29, 30, 33, 51, 57, 62, 66])
    # Outer eye corners, mouth corners, ends of the jaw and of the brows.
    assert [MIRRORED_LANDMARKS[i] for i in (36, 48, 0, 17, 60, 31)] == [45, 54, 16, 26, 64, 35]


def test_predict_maps_crops_to_photo_pixels_and_follows_the_face():
    photo = np.zeros((120, 160, 3), np.uint8)
    photo[60:64, 88:92] = 255  # a dot centred at (90, 62)
    network = BrightSpot(**SMALL)
    box = np.array([70.0, 40.0, 102.0, 72.0])
    for flip in (False, True):
        prediction = predict_landmarks(photo, box, network, refinements=0, flip=flip)
        np.testing.assert_allclose(prediction.points.mean(0), [90, 62], atol=0.3)
        # log error -3 in crop units, whose unit is half the crop's side
        np.testing.assert_allclose(prediction.expected_error, np.exp(-3) * 32 * CROP_MARGIN / 2, rtol=1e-4)
        assert (
            prediction.points.dtype == np.float32 and ((prediction.confidence > 0) & (prediction.confidence <= 1)).all()
        )
    refined = predict_landmarks(photo, box, network, refinements=2)
    np.testing.assert_allclose(refined.points.mean(0), [90, 62], atol=0.3)


def test_predict_refuses_bad_input(network):
    photo = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(InputError, match="outside the 50 x 40 image"):
        predict_landmarks(photo, [60, 10, 80, 30], network)
    with pytest.raises(InputError, match="no area"):
        predict_landmarks(photo, [10, 10, 10, 30], network)
    with pytest.raises(InputError, match="give uint8"):
        predict_landmarks(photo.astype(float), [1, 1, 20, 20], network)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200, 3), (40, 50)])
def test_predict_takes_tiny_and_gray_images_and_boxes_that_reach_outside(network, shape):
    prediction = predict_landmarks(np.full(shape, 90, np.uint8), [-30, -20, 30, 40], network)
    assert np.isfinite(prediction.points).all()


def test_load(tmp_path, network):
    path = tmp_path / "model.safetensors"
    save_weights(path, network.state_dict(), {"name": "landmarks", "network": SMALL}, half=False)
    loaded = load_landmark_network(path)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images)[0], network(images)[0].detach())
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())


def test_load_refuses_other_files(tmp_path, network):
    with pytest.raises(InputError, match=r"no such weights file"):
        load_landmark_network(tmp_path / "absent.safetensors")
    path = tmp_path / "model.safetensors"
    save_weights(path, network.state_dict(), {"name": "parsing", "network": SMALL})
    with pytest.raises(InputError, match="weights of 'parsing'"):
        load_landmark_network(path)
    for card in ({"network": {**SMALL, "width": 10}}, {"network": {"colour": 1}}, {}):
        save_weights(path, network.state_dict(), {"name": "landmarks", **card})
        with pytest.raises(InputError, match="do not fit"):
            load_landmark_network(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="copy both files again"):
        load_landmark_network(path)
