"""The standard crop: scale, centre, warp and degenerate landmarks."""

import numpy as np
import pytest

from facerecon.geometry.crop import CropTransform, crop_transform, crop_transforms, fit_scaled_orthographic


@pytest.fixture
def head() -> np.ndarray:
    """68 points in mm around the origin, as deep as a face."""
    points = np.random.default_rng(3).normal(size=(68, 3)) * (35.0, 40.0, 20.0)
    return points - points.mean(axis=0)


def turned(head: np.ndarray, yaw: float, scale: float, origin: tuple[float, float]) -> np.ndarray:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    view = head @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]).T
    return scale * view[:, :2] * (1, -1) + origin


@pytest.mark.parametrize("yaw", [0.0, 0.7, -1.3])
def test_the_crop_has_the_stated_scale_and_centre(head, yaw):
    landmarks = turned(head, yaw, 3.2, (700.0, 410.0))
    transform = crop_transform(landmarks, head)
    assert transform.scale == pytest.approx(1.015 / 3.2, rel=1e-9)
    assert np.allclose(transform.to_crop(np.array([700.0, 410.0])), 112.0)
    half = crop_transform(landmarks, head, size=112)
    assert half.scale == pytest.approx(transform.resized(112).scale)
    assert np.allclose(half.offset, transform.resized(112).offset)


def test_pose_is_recovered(head):
    rotation, scale, origin = fit_scaled_orthographic(turned(head, 0.7, 2.0, (5.0, 6.0))[None], head)
    assert scale[0] == pytest.approx(2.0) and np.allclose(origin[0], (5, 6))
    assert np.allclose(rotation[0] @ rotation[0].T, np.eye(3)) and np.linalg.det(rotation[0]) == pytest.approx(1.0)
    assert rotation[0, 0, 2] == pytest.approx(np.sin(0.7))


def test_round_trip_is_exact(head):
    transform = crop_transform(turned(head, 0.4, 2.7, (123.4, 567.8)), head)
    points = np.random.default_rng(0).uniform(-500, 2000, (68, 2))
    assert np.abs(transform.to_photo(transform.to_crop(points)) - points).max() < 1e-9


def test_degenerate_landmarks_are_refused(head):
    good = turned(head, 0.0, 1.0, (0.0, 0.0))
    line = np.stack([np.arange(68.0), 2 * np.arange(68.0)], axis=1)
    for bad in (np.full((68, 2), 7.0), line, np.where(np.arange(68)[:, None] == 5, np.nan, good)):
        with pytest.raises(ValueError, match="degenerate"):
            crop_transform(bad, head)
    scales, offsets = crop_transforms(np.stack([good, line]), head)
    assert np.isfinite(scales[0]) and np.isnan(scales[1]) and np.isnan(offsets[1]).all()
    with pytest.raises(ValueError, match="shape"):
        crop_transform(good[:60], head)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.23, 1.7])
def test_a_blob_lands_where_its_centre_is_mapped(scale):
    centre = np.array([333.3, 251.9])
    rows, columns = np.mgrid[0:600, 0:700] + 0.5
    photo = np.exp(-((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2) / (2 * (6 / scale) ** 2)).astype(np.float32)
    transform = CropTransform(scale, tuple(112.0 - scale * centre + (3.3, -4.4)), 224)
    crop = transform.warp(photo)
    weight = crop.sum()
    rows, columns = np.mgrid[0:224, 0:224] + 0.5
    found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / weight
    assert np.abs(found - transform.to_crop(centre)).max() < 0.02


def test_shrinking_averages_instead_of_aliasing():
    photo = np.zeros((1200, 1200, 3), np.uint8)
    photo[:, ::2] = 200
    crop = CropTransform(224 / 1200, (0.0, 0.0), 224).warp(photo)
    inner = crop[8:-8, 8:-8].astype(int)
    assert np.abs(inner - 100).max() <= 12


def test_the_identity_crop_copies_and_outside_is_black():
    photo = np.random.default_rng(1).integers(1, 256, (224, 224, 3), np.uint8)
    assert np.array_equal(CropTransform(1.0, (0.0, 0.0), 224).warp(photo), photo)
    shifted = CropTransform(1.0, (24.0, 0.0), 224).warp(photo)
    assert (shifted[:, :24] == 0).all() and np.array_equal(shifted[:, 24:], photo[:, :200])
    assert (CropTransform(1.0, (5000.0, 0.0), 224).warp(photo) == 0).all()
