"""Amplitude and phase losses against hand-computed values, the full transform, Parseval and shifts."""

import math

import pytest
import torch

from facerecon.losses.frequency import amplitude_loss, frequency_loss, half_spectrum_weights, phase_loss


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def full_spectrum_losses(rendered, target):
    """The definitions, without the half-spectrum shortcut: printed, modulus, phase by atan2, phase as printed."""
    a, b = torch.fft.fft2(rendered, norm="ortho"), torch.fft.fft2(target, norm="ortho")
    turn = torch.angle(a * b.conj())
    printed_phase = torch.atan(a.imag / a.real) - torch.atan(b.imag / b.real)
    return [
        values.mean().item()
        for values in ((a - b).abs() ** 2, (a.abs() - b.abs()) ** 2, turn.abs(), printed_phase.abs())
    ]


@pytest.mark.parametrize("kind", ["printed", "modulus"])
def test_amplitude_is_zero_for_equal_images(kind):
    assert amplitude_loss(images(2, 3, 6, 7), images(2, 3, 6, 7), kind) == 0


@pytest.mark.parametrize("kind", ["atan2", "printed"])
def test_phase_is_zero_for_equal_images(kind):
    assert phase_loss(images(2, 3, 6, 7), images(2, 3, 6, 7), kind) == 0


@pytest.mark.parametrize("height, width", [(8, 8), (7, 9), (6, 5), (1, 4), (5, 1)])
def test_half_spectra_give_the_full_result(height, width):
    rendered, target = images(2, 3, height, width), images(2, 3, height, width, seed=1)
    expected = full_spectrum_losses(rendered, target)
    found = [
        amplitude_loss(rendered, target, "printed").item(),
        amplitude_loss(rendered, target, "modulus").item(),
        phase_loss(rendered, target, "atan2").item(),
        phase_loss(rendered, target, "printed").item(),
    ]
    assert found == pytest.approx(expected, rel=1e-9)


def test_parseval_makes_the_printed_amplitude_loss_the_pixel_mse():
    rendered, target = images(2, 3, 10, 13), images(2, 3, 10, 13, seed=1)
    expected = (rendered - target).square().mean().item()
    assert amplitude_loss(rendered, target, "printed").item() == pytest.approx(expected, rel=1e-12)


def test_weights_count_the_whole_spectrum():
    assert half_spectrum_weights(6).tolist() == [1, 2, 2, 1]
    assert half_spectrum_weights(5).tolist() == [1, 2, 2]
    assert half_spectrum_weights(1).tolist() == [1]


def test_hand_computed_amplitude():
    # 1x2 images (a, b) have the orthonormal spectrum ((a + b), (a - b)) / sqrt(2).
    rendered, target = torch.tensor([[[[3.0, 1.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
    modulus = ((4 - 2) ** 2 + (2 - 2) ** 2) / 2 / 2
    printed = ((4 - 2) ** 2 + (2 + 2) ** 2) / 2 / 2
    assert amplitude_loss(rendered, target, "modulus").item() == pytest.approx(modulus)
    assert amplitude_loss(rendered, target, "printed").item() == pytest.approx(printed)


def test_hand_computed_phase_of_a_shift():
    # Moving an impulse by one of 4 pixels turns frequency k by -pi k / 2: 0, pi/2, pi, pi/2 (wrapped).
    target = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    rendered = torch.tensor([[[[0.0, 1.0, 0.0, 0.0]]]])
    assert phase_loss(rendered, target).item() == pytest.approx(math.pi / 2, rel=1e-6)
    # arctan(b / a) of -1 is that of 1: frequency 2 is lost.
    assert phase_loss(rendered, target, "printed").item() == pytest.approx(math.pi / 4, rel=1e-6)


def test_differences_are_wrapped():
    # One row of 3 pixels has frequencies 0, 1 and its conjugate. Phases of 3 and -3 radians are 2 pi - 6 apart.
    rendered, target = (
        torch.fft.irfft(torch.tensor([[[[5.0, complex(math.cos(angle), math.sin(angle))]]]]), n=3)
        for angle in (3.0, -3.0)
    )
    assert phase_loss(rendered, target).item() == pytest.approx(2 * (2 * math.pi - 6) / 3, abs=1e-5)


def test_total_and_terms():
    rendered, target = images(2, 3, 8, 8), images(2, 3, 8, 8, seed=1)
    for amplitude, phase in (("modulus", "atan2"), ("printed", "printed")):
        total, amplitude_term, phase_term = frequency_loss(rendered, target, amplitude, phase)
        assert amplitude_term.item() == amplitude_loss(rendered, target, amplitude).item()
        assert phase_term.item() == phase_loss(rendered, target, phase).item()
        assert total.item() == pytest.approx(0.5 * amplitude_term.item() + 0.5 * phase_term.item())


@pytest.mark.parametrize("kind", ["printed", "modulus"])
def test_amplitude_gradient(kind):
    rendered, target = images(1, 2, 5, 4).requires_grad_(), images(1, 2, 5, 4, seed=1)
    assert torch.autograd.gradcheck(lambda image: amplitude_loss(image, target, kind), rendered)


@pytest.mark.parametrize("kind", ["atan2", "printed"])
def test_phase_gradient_without_floor_is_the_true_one(kind):
    rendered, target = images(1, 2, 5, 4).requires_grad_(), images(1, 2, 5, 4, seed=1)
    assert torch.autograd.gradcheck(lambda image: phase_loss(image, target, kind, floor=0.0), rendered)


def test_the_floor_fades_the_gradient_and_not_the_value():
    target = torch.tensor([[[[0.0, 1.0, 0.0, 0.0]]]], dtype=torch.float64)
    rendered = torch.tensor([[[[0.3, 1.0, 0.2, 0.1]]]], dtype=torch.float64)
    losses, gradients = [], []
    for floor in (0.0, 1e-2, 1e3):
        leaf = rendered.clone().requires_grad_()
        losses.append(phase_loss(leaf, target, floor=floor))
        losses[-1].backward()
        gradients.append(leaf.grad.norm().item())
    assert losses[0] == losses[1] == losses[2]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-3) and gradients[2] < 1e-5 * gradients[0]


@pytest.mark.parametrize("kind", ["atan2", "printed"])
@pytest.mark.parametrize("floor", [0.0, 1e-2])
def test_a_black_image_has_finite_phase_and_zero_gradient(kind, floor):
    black = torch.zeros(1, 3, 6, 6, requires_grad=True)
    loss = phase_loss(black, images(1, 3, 6, 6).float(), kind, floor)
    loss.backward()
    assert math.isfinite(loss.item()) and torch.equal(black.grad, torch.zeros_like(black))
    assert phase_loss(torch.zeros(1, 3, 6, 6), torch.zeros(1, 3, 6, 6), kind) == 0


def test_a_black_image_has_finite_amplitude_gradient():
    black = torch.zeros(1, 3, 6, 6, requires_grad=True)
    amplitude_loss(black, images(1, 3, 6, 6).float(), "modulus").backward()
    assert torch.isfinite(black.grad).all()


def test_a_flat_image_has_amplitude_at_frequency_zero_only():
    flat = torch.full((1, 3, 6, 6), 0.5, requires_grad=True)
    total, _, _ = frequency_loss(flat, images(1, 3, 6, 6).float())
    total.backward()
    # Frequencies whose amplitude is a rounding error would give gradients of 1e6 without the floor.
    assert flat.grad.abs().max() < 10


def test_float32_follows_float64():
    rendered, target = images(2, 3, 16, 16), images(2, 3, 16, 16, seed=1)
    for precise, single in zip(
        frequency_loss(rendered, target), frequency_loss(rendered.float(), target.float()), strict=True
    ):
        assert single.item() == pytest.approx(precise.item(), rel=1e-4)


def test_bad_input():
    image = images(1, 3, 4, 4)
    with pytest.raises(ValueError, match="images must both be"):
        amplitude_loss(image, image[..., :3])
    with pytest.raises(ValueError, match="images must both be"):
        phase_loss(image[0], image[0])
    with pytest.raises(ValueError, match="amplitude kind"):
        amplitude_loss(image, image, "log")
    with pytest.raises(ValueError, match="phase kind"):
        phase_loss(image, image, "acos")
    with pytest.raises(ValueError, match="floor"):
        phase_loss(image, image, floor=-1.0)
