"""The light of a photograph."""

import numpy as np
import pytest

from facerecon.geometry.spherical_harmonics import sh_basis
from facerecon.reconstruction.lighting import fit_light

SHADING = np.array([2.4, 0.3, 0.8, -0.5, 0.05, 0.0, 0.1, -0.05, 0.02])
COLOUR = np.array([1.1, 0.9, 0.7])
START = np.array([2.5, 0, 0.6, 0, 0, 0, 0, 0, 0])


@pytest.fixture
def scene():
    """Normals of the front hemisphere, albedo, and the colours they show."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(3000, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    albedo = np.array([0.5, 0.35, 0.3]) + 0.05 * rng.normal(size=(3000, 1))
    return albedo, normals, albedo * (sh_basis(normals) @ SHADING)[:, None] * COLOUR


def relative_error(light, scene) -> float:
    albedo, normals, colours = scene
    return float(np.abs(albedo * (sh_basis(normals) @ light) - colours).mean() / colours.mean())


def test_a_light_of_one_colour_is_recovered(scene):
    albedo, normals, colours = scene
    light = fit_light(colours, albedo, normals, np.ones(3000), START, stiffness=1e-6)
    assert relative_error(light, scene) < 0.01
    assert light[0] / light[0].sum() == pytest.approx(COLOUR / COLOUR.sum(), rel=0.01)
    assert relative_error(fit_light(colours, albedo, normals, np.ones(3000), START), scene) < 0.05


def test_outliers_are_ignored(scene):
    albedo, normals, colours = scene
    spoilt = colours.copy()
    spoilt[:450] = (1.0, 1.0, 1.0)
    light = fit_light(spoilt, albedo, normals, np.ones(3000), START)
    assert relative_error(light, scene) < 0.08


def test_unseen_directions_keep_the_start_lights_shape():
    normals = np.tile([0.0, 0.0, 1.0], (100, 1))
    light = fit_light(np.full((100, 3), 0.2), np.full((100, 3), 0.4), normals, np.ones(100), START)
    assert sh_basis(normals[:1]) @ light == pytest.approx(np.full((1, 3), 0.5), rel=0.02)
    assert light[[1, 3]] == pytest.approx(np.zeros((2, 3)), abs=1e-3)


def test_without_points_the_start_is_returned():
    light = fit_light(np.ones((5, 3)), np.ones((5, 3)), np.eye(3)[[0, 1, 2, 0, 1]], np.zeros(5), START[:, None])
    assert light == pytest.approx(np.repeat(START[:, None], 3, axis=1).astype(np.float32))
