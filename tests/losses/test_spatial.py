"""Losses in the image and on landmarks, features and coefficients."""

import math

import pytest
import torch

from facerecon.losses.spatial import (
    DENG_REGULARISATION,
    PRINTED_REGULARISATION,
    coefficient_regularisation,
    identity_loss,
    photometric_loss,
    wing_landmark_loss,
)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestPhotometric:
    def test_zero_for_equal_images_with_a_finite_gradient(self):
        image = random(2, 3, 4, 5).requires_grad_()
        loss = photometric_loss(image, image.detach(), torch.ones(2, 4, 5))
        loss.backward()
        assert loss == 0 and torch.equal(image.grad, torch.zeros_like(image))

    def test_hand_computed(self):
        rendered, target = torch.zeros(2, 3, 1, 2), torch.zeros(2, 3, 1, 2)
        rendered[0, :, 0, 0] = torch.tensor([3.0, 0.0, 4.0])  # distance 5, weight 1.5
        rendered[0, 0, 0, 1] = 2.0  # distance 2, weight 1
        rendered[1, 0, 0, 0] = 7.0  # outside the mask
        rendered[1, 0, 0, 1] = 1.0  # distance 1, weight 1.2
        mask = torch.tensor([[[1.0, 1.0]], [[0.0, 1.0]]])
        weights = torch.tensor([[[1.5, 1.0]], [[9.0, 1.2]]])
        expected = ((5 * 1.5 + 2) / 2 + 1.2) / 2
        assert photometric_loss(rendered, target, mask, weights).item() == pytest.approx(expected)

    def test_gradient(self):
        rendered = random(2, 3, 3, 3).requires_grad_()
        arguments = random(2, 3, 3, 3, seed=1), (random(2, 3, 3, seed=2) > 0.4).double(), random(2, 3, 3, seed=3)
        assert torch.autograd.gradcheck(lambda image: photometric_loss(image, *arguments), rendered)

    def test_an_empty_mask_counts_as_zero(self):
        rendered = random(2, 3, 4, 4).requires_grad_()
        target = random(2, 3, 4, 4, seed=1)
        mask = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
        loss = photometric_loss(rendered, target, mask)
        assert loss.item() == pytest.approx(photometric_loss(rendered[1:], target[1:], mask[1:]).item() / 2)
        loss.backward()
        assert torch.isfinite(rendered.grad).all() and (rendered.grad[0] == 0).all()

    def test_a_black_render_is_as_far_as_the_photograph_is_bright(self):
        target = random(1, 3, 4, 4)
        loss = photometric_loss(torch.zeros_like(target), target, torch.ones(1, 4, 4))
        assert loss.item() == pytest.approx(target.square().sum(1).sqrt().mean().item())

    def test_bad_input(self):
        image = random(2, 3, 4, 4)
        with pytest.raises(ValueError, match="images must both be"):
            photometric_loss(image, image[:1], torch.ones(2, 4, 4))
        with pytest.raises(ValueError, match="mask must be"):
            photometric_loss(image, image, torch.ones(2, 1, 4, 4))
        with pytest.raises(ValueError, match="weights must be"):
            photometric_loss(image, image, torch.ones(2, 4, 4), torch.ones(4, 4))


class TestWing:
    def test_zero_for_equal_landmarks(self):
        points = random(2, 68, 2)
        assert wing_landmark_loss(points, points) == 0

    def test_hand_computed(self):
        target = torch.zeros(1, 2, 2)
        predicted = torch.tensor([[[2.0, 0.0], [-30.0, 10.0]]])
        bound = 10 * math.log(1 + 10 / 2)
        # 2 px is in the logarithm, 30 px beyond the width, 10 px at it, where both branches agree.
        expected = (10 * math.log(2) + 0 + (30 - 10 + bound) + bound) / 4
        assert wing_landmark_loss(predicted, target).item() == pytest.approx(expected)

    def test_continuous_at_the_width(self):
        target = torch.zeros(1, 1, 2, dtype=torch.float64)
        below, above = (wing_landmark_loss(target + 10 + step, target) for step in (-1e-9, 1e-9))
        assert abs(above - below) < 1e-7

    def test_confidence_weighs_the_mean(self):
        target, predicted = torch.zeros(1, 2, 2), torch.tensor([[[2.0, 2.0], [50.0, 50.0]]])
        loss = wing_landmark_loss(predicted, target, torch.tensor([[0.5, 0.0]]))
        assert loss.item() == pytest.approx(10 * math.log(2))
        assert wing_landmark_loss(predicted, target, torch.zeros(1, 2)) == 0

    def test_the_resolution_does_not_matter(self):
        predicted, target = 224 * random(2, 68, 2), 224 * random(2, 68, 2, seed=1)
        at_224 = wing_landmark_loss(predicted, target)
        assert wing_landmark_loss(predicted / 2, target / 2, size=112).item() == pytest.approx(at_224.item())

    def test_gradient(self):
        predicted = (20 * random(2, 5, 2)).requires_grad_()
        arguments = 20 * random(2, 5, 2, seed=1), random(2, 5, seed=2)
        assert torch.autograd.gradcheck(lambda points: wing_landmark_loss(points, *arguments), predicted)

    @pytest.mark.parametrize("values", [{"width": 0.0}, {"curvature": -1.0}, {"size": 0}])
    def test_bad_values(self, values):
        with pytest.raises(ValueError, match="must be positive"):
            wing_landmark_loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), **values)

    def test_bad_shapes(self):
        with pytest.raises(ValueError, match="landmarks must both be"):
            wing_landmark_loss(torch.zeros(1, 68, 3), torch.zeros(1, 68, 3))
        with pytest.raises(ValueError, match="confidence must be"):
            wing_landmark_loss(torch.zeros(1, 68, 2), torch.zeros(1, 68, 2), torch.zeros(1, 7))


class TestIdentity:
    def test_zero_for_the_same_direction(self):
        features = random(3, 8)
        assert identity_loss(2.5 * features, features).abs() < 1e-12

    def test_hand_computed(self):
        features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
        target = torch.tensor([[0.0, 2.0], [-1.0, 0.0], [4.0, 3.0]])
        assert identity_loss(features, target).item() == pytest.approx((1 + 2 + 1 - 24 / 25) / 3)

    def test_gradient(self):
        features = random(3, 6).requires_grad_()
        assert torch.autograd.gradcheck(lambda values: identity_loss(values, random(3, 6, seed=1)), features)

    def test_a_zero_vector_is_unlike_everything(self):
        features = torch.zeros(1, 4, requires_grad=True)
        loss = identity_loss(features, torch.ones(1, 4))
        loss.backward()
        assert loss == 1 and torch.isfinite(features.grad).all()

    def test_bad_input(self):
        with pytest.raises(ValueError, match="features must both be"):
            identity_loss(torch.zeros(2, 512), torch.zeros(2, 256))


COEFFICIENTS = {
    "identity": torch.tensor([[3.0, 4.0], [0.0, 0.0]]),
    "expression": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    "albedo": torch.tensor([[2.0], [0.0]]),
    "light": torch.tensor([[1.0, 1.0], [1.0, 1.0]]),
}


class TestRegularisation:
    def test_zero_for_the_mean_face_in_the_dark(self):
        zeros = {name: torch.zeros_like(values) for name, values in COEFFICIENTS.items()}
        assert coefficient_regularisation(zeros) == 0

    def test_hand_computed_as_printed(self):
        expected = (25e-4 + 2 * 0.8e-4 + 4e-1 + 4e-2) / 2
        loss = coefficient_regularisation(COEFFICIENTS, PRINTED_REGULARISATION)
        assert loss.item() == pytest.approx(expected)

    def test_hand_computed_as_deng(self):
        loss = coefficient_regularisation(COEFFICIENTS, DENG_REGULARISATION)
        assert loss.item() == pytest.approx((25 + 2 * 0.8 + 4 * 1.7e-2) / 2)

    def test_gradient(self):
        values = random(2, 5).requires_grad_()
        weights = {"identity": 0.3}
        assert torch.autograd.gradcheck(lambda a: coefficient_regularisation({"identity": a}, weights), values)

    def test_a_missing_name_is_refused(self):
        with pytest.raises(ValueError, match="no coefficients named light"):
            coefficient_regularisation({name: COEFFICIENTS[name] for name in ("identity", "expression", "albedo")})
