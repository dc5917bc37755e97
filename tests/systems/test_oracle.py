"""The oracle fit finds the face that made a scan."""

import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.geometry.alignment import similarity_procrustes
from facerecon.geometry.point_to_surface import point_to_surface
from facerecon.systems.oracle import fit_identity

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def subject(face_model):
    """A face of the basis, points on its front and its seven landmarks."""
    identity = torch.randn(1, 80, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        vertices = face_model.decode(identity, torch.zeros(1, 64))
        landmarks = face_model.landmarks(vertices)[0, list(face_model.topology.landmark7_indices)].numpy()
    vertices = vertices[0].double().numpy()
    triangles = np.asarray(face_model.topology.triangles)
    rng = np.random.default_rng(0)
    corners = vertices[triangles[rng.integers(0, len(triangles), 20000)]]
    points = np.einsum("nk,nkc->nc", rng.dirichlet(np.ones(3), len(corners)), corners)
    front = points[np.linalg.norm(points - landmarks[4], axis=1) < 85]
    return vertices, front, landmarks


def error(subject, fit, face_model):
    """Distances of the clean scan's points, once the fit, whose rigid frame is free, is laid onto the truth."""
    truth, points, landmarks = subject
    near = np.linalg.norm(truth - landmarks[4], axis=1) < 80
    placement = similarity_procrustes(truth[near], fit.vertices[near], with_scale=False)
    return point_to_surface(placement.apply(points), fit.vertices, face_model.topology.triangles)[0]


def test_recovers_a_face_of_the_basis_from_a_moved_scan(subject, face_model):
    _, points, landmarks = subject
    fit = fit_identity(points @ TURN.T + [300, -20, 5], landmarks @ TURN.T + [300, -20, 5], face_model)
    assert fit.distance < 0.06
    mean_distance = point_to_surface(points, face_model.mean.numpy(), face_model.topology.triangles)[0].mean()
    assert error(subject, fit, face_model).mean() < 0.1 * mean_distance
    assert np.allclose(
        fit.vertices, face_model.decode(torch.from_numpy(fit.identity)[None], torch.zeros(1, 64))[0], atol=1e-3
    )


def test_noise_on_scan_and_landmarks_is_averaged_out(subject, face_model):
    _, points, landmarks = subject
    rng = np.random.default_rng(1)
    fit = fit_identity(
        points + rng.normal(0, 0.3, points.shape), landmarks + rng.normal(0, 2, landmarks.shape), face_model
    )
    assert 0.2 < fit.distance < 0.35
    assert error(subject, fit, face_model).mean() < 0.15


def test_a_strong_prior_keeps_the_mean(subject, face_model):
    fit = fit_identity(*subject[1:], face_model, regularisation=1e9)
    assert np.abs(fit.identity).max() < 0.01


def test_the_mean_face_is_found(face_model):
    mean = face_model.mean.double().numpy()
    with torch.no_grad():
        landmarks = face_model.landmarks(face_model.mean[None])[0, list(face_model.topology.landmark7_indices)].numpy()
    fit = fit_identity(mean, landmarks, face_model)
    assert fit.distance < 1e-3 and np.abs(fit.identity).max() < 0.01


def test_bad_scans_are_refused(subject, face_model):
    _, points, landmarks = subject
    with pytest.raises(InputError, match="100 finite ones are needed"):
        fit_identity(points[:50], landmarks, face_model)
    with pytest.raises(InputError, match="100 finite ones are needed"):
        fit_identity(np.where(np.arange(len(points))[:, None] == 3, np.nan, points), landmarks, face_model)
    with pytest.raises(InputError, match="coincide"):
        fit_identity(points, np.tile(landmarks[:1], (7, 1)), face_model)
