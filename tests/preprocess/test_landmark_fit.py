"""The landmark fit: recovery, descent, batching, degenerate input and the prior."""

import numpy as np
import pytest
import torch

from facerecon.geometry.cameras import head_to_camera, project_standard_crop
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.preprocess.landmark_fit import (
    FaceFit,
    LandmarkBasis,
    fit_landmarks,
    landmark_sigma,
)


@pytest.fixture(scope="module")
def basis() -> LandmarkBasis:
    """A face-sized random basis: 20 identity and 10 expression coefficients."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(68, 3, dtype=torch.float64, generator=generator) * torch.tensor([35.0, 40.0, 22.0])
    components = torch.randn(68, 3, 30, dtype=torch.float64, generator=generator) * 4.0 / torch.arange(1, 31) ** 0.5
    return LandmarkBasis(mean - mean.mean(0), components, identities=20)


def faces(basis: LandmarkBasis, count: int, spread: float = 1.0) -> FaceFit:
    generator = torch.Generator().manual_seed(1)
    angles = torch.stack(
        [
            torch.linspace(-0.5, 0.5, count, dtype=torch.float64),
            torch.linspace(1.4, -1.4, count, dtype=torch.float64),
            torch.linspace(-0.3, 0.6, count, dtype=torch.float64),
        ],
        dim=1,
    )
    coefficients = spread * torch.randn(count, 30, dtype=torch.float64, generator=generator)
    spread_mm = torch.randn(count, 3, generator=generator) * torch.tensor([3, 3, 30])
    translation = torch.tensor([3.0, -4.0, 1000.0]) + spread_mm
    return FaceFit(coefficients[:, :20], coefficients[:, 20:], angles, translation.double(), torch.zeros(count))


def project_landmarks(fit: FaceFit, basis: LandmarkBasis, size: int = 224) -> torch.Tensor:
    """Landmarks (B, 68, 3) of faces: x, y in pixels of the standard crop, z in mm from the camera."""
    shape = basis.shape(fit.coefficients.double())
    camera = head_to_camera(shape, euler_to_matrix(fit.rotation.double()), fit.translation.double())
    return project_standard_crop(camera, size)


def test_pose_of_the_mean_face_is_recovered(basis):
    truth = faces(basis, 7, spread=0.0)
    fit = fit_landmarks(project_landmarks(truth, basis)[..., :2], torch.ones(7, 68), basis)
    assert torch.allclose(fit.rotation, truth.rotation.float(), atol=1e-4)
    assert torch.allclose(fit.translation, truth.translation.float(), atol=0.05)
    assert fit.coefficients.abs().max() < 1e-3 and fit.residual.max() < 1e-3


def test_exact_landmarks_give_back_pose_and_shape(basis):
    truth = faces(basis, 9)
    landmarks = project_landmarks(truth, basis)[..., :2]
    fit = fit_landmarks(landmarks, torch.full((9, 68), 0.02), basis, iterations=25)
    assert fit.residual.max() < 0.05
    found, true = euler_to_matrix(fit.rotation), euler_to_matrix(truth.rotation.float())
    assert (found - true).abs().max() < 0.01
    assert (fit.coefficients - truth.coefficients.float()).abs().max() < 0.1


def test_the_residual_falls_with_every_further_step(basis):
    truth = faces(basis, 5)
    landmarks = project_landmarks(truth, basis)[..., :2]
    sigma = torch.ones(5, 68)
    residuals = [fit_landmarks(landmarks, sigma, basis, iterations=count).residual for count in (0, 2, 8)]
    assert (residuals[1] < residuals[0]).all() and (residuals[2] <= residuals[1] + 1e-3).all()
    assert residuals[2].max() < 1.0


def test_batched_equals_single(basis):
    landmarks = project_landmarks(faces(basis, 6), basis)[..., :2]
    landmarks = landmarks + torch.randn(6, 68, 2, generator=torch.Generator().manual_seed(2))
    sigma = torch.linspace(1.0, 3.0, 6 * 68).reshape(6, 68)
    together = fit_landmarks(landmarks, sigma, basis)
    chunked = fit_landmarks(landmarks, sigma, basis, batch=4)
    for k in range(6):
        alone = fit_landmarks(landmarks[k : k + 1], sigma[k : k + 1], basis)
        for other in (together, chunked):
            assert torch.allclose(other.coefficients[k], alone.coefficients[0], atol=1e-5)
            assert torch.allclose(other.rotation[k], alone.rotation[0], atol=1e-6)


def test_a_degenerate_face_is_nan_and_harms_no_other(basis):
    landmarks = project_landmarks(faces(basis, 3), basis)[..., :2]
    alone = fit_landmarks(landmarks[2:], torch.ones(1, 68), basis)
    landmarks[0] = 5.0
    landmarks[1, 3] = torch.nan
    fit = fit_landmarks(landmarks, torch.ones(3, 68), basis)
    assert torch.isnan(fit.residual[:2]).all() and torch.isnan(fit.identity[:2]).all()
    assert torch.allclose(fit.coefficients[2], alone.coefficients[0], atol=1e-5)


def test_uncertain_landmarks_pull_less(basis):
    truth = faces(basis, 1, spread=0.0)
    landmarks = project_landmarks(truth, basis)[..., :2].clone()
    landmarks[:, 10] += 30.0
    sigma = torch.ones(1, 68)
    trusted = fit_landmarks(landmarks, sigma, basis).coefficients.norm()
    sigma[:, 10] = 60.0
    doubted = fit_landmarks(landmarks, sigma, basis).coefficients.norm()
    assert doubted < 0.1 * trusted


def test_the_prior_can_be_centred_elsewhere(basis):
    truth = faces(basis, 2)
    landmarks = project_landmarks(truth, basis)[..., :2]
    fit = fit_landmarks(
        landmarks, torch.full((2, 68), 1e4), basis, start=truth, prior_mean=truth.coefficients, pose_iterations=0
    )
    assert torch.allclose(fit.coefficients, truth.coefficients.float(), atol=1e-3)
    free = fit_landmarks(landmarks, torch.full((2, 68), 1e4), basis, start=truth)
    assert free.coefficients.norm() < 0.1 * truth.coefficients.norm()


def test_other_crop_sizes_scale(basis):
    landmarks = project_landmarks(faces(basis, 2), basis)[..., :2]
    whole = fit_landmarks(landmarks, torch.full((2, 68), 2.0), basis)
    half = fit_landmarks(landmarks / 2, torch.full((2, 68), 1.0), basis, size=112)
    assert torch.allclose(whole.coefficients, half.coefficients, atol=1e-4)
    assert torch.allclose(whole.residual, 2 * half.residual, atol=1e-3)


def test_bad_input_is_refused(basis):
    with pytest.raises(ValueError, match="68 points"):
        fit_landmarks(torch.zeros(2, 67, 2), torch.ones(2, 67), basis)
    with pytest.raises(ValueError, match="positive"):
        fit_landmarks(torch.zeros(1, 68, 2), torch.zeros(1, 68), basis)
    assert len(fit_landmarks(torch.zeros(0, 68, 2), torch.ones(0, 68), basis).residual) == 0


def test_sigma_of_an_expected_error():
    sigma = landmark_sigma(torch.tensor([[0.0, np.sqrt(np.pi / 2) * 3.0]]))
    assert sigma[0].tolist() == pytest.approx([1.0, np.sqrt(10.0)])
