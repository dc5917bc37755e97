"""Changed crops: what was found in them follows the picture."""

import numpy as np
import pytest
import torch

from facerecon.systems.amplitude_phase.model import FaceDecoder
from facerecon.systems.augmentation import CoefficientMirror, Crop, change_colours, mirror_crop, move_crop


@pytest.fixture
def crop(draw, render):
    coefficients = draw(1, seed=5)
    image, mask, landmarks = render(coefficients)
    fit = {
        name: getattr(coefficients, name)[0].numpy() for name in ("identity", "expression", "rotation", "translation")
    }
    return Crop(
        image=(image[0].permute(1, 2, 0) * 255).round().byte().numpy(),
        labels=mask[0].byte().numpy() * np.repeat([4, 5], 112).astype(np.uint8),
        landmarks=landmarks[0].numpy(),
        confidence=np.linspace(0, 1, 68).astype(np.float32),
        **fit,
    )


def projected_landmarks(face_model, crop, draw):
    """Landmarks of the crop's fit."""
    parts = {
        name: torch.from_numpy(np.asarray(getattr(crop, name), np.float32))[None]
        for name in ("identity", "expression", "rotation", "translation")
    }
    return FaceDecoder(face_model, 224).reconstruct(draw(1)._replace(**parts)).landmarks[0].numpy()


def test_the_fit_of_a_mirrored_crop_lies_on_its_landmarks(face_model, crop, draw):
    assert np.abs(projected_landmarks(face_model, crop, draw) - crop.landmarks).max() < 1e-3
    mirrored = mirror_crop(crop, CoefficientMirror.of(face_model))
    assert np.abs(projected_landmarks(face_model, mirrored, draw) - mirrored.landmarks).max() < 0.02
    assert mirrored.landmarks[0, 0] < 112 < mirrored.landmarks[16, 0]


def test_mirroring_exchanges_left_and_right(face_model, crop):
    mirrored = mirror_crop(crop, CoefficientMirror.of(face_model))
    assert np.array_equal(mirrored.image, crop.image[:, ::-1])
    assert (mirrored.labels[112, :112] == 4).sum() == (crop.labels[112, 112:] == 5).sum() > 0
    assert mirrored.confidence[0] == crop.confidence[16] and mirrored.confidence[30] == crop.confidence[30]


def test_mirroring_twice_changes_nothing(face_model, crop):
    signs = CoefficientMirror.of(face_model)
    twice = mirror_crop(mirror_crop(crop, signs), signs)
    for name, value in vars(crop).items():
        assert np.allclose(value, getattr(twice, name), atol=1e-4), name


@pytest.mark.parametrize("scale, shift", [(1.0, (7.0, -3.0)), (1.05, (0.0, 0.0)), (0.95, (-6.0, 6.0))])
def test_the_fit_of_a_moved_crop_lies_on_its_landmarks(face_model, crop, draw, scale, shift):
    moved = move_crop(crop, scale, shift)
    assert np.abs(moved.landmarks - crop.landmarks).max() > 2
    # The change of perspective is what remains.
    assert np.abs(projected_landmarks(face_model, moved, draw) - moved.landmarks).max() < 0.6


def test_pixels_move_with_the_landmarks(crop):
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[60:64, 150:154] = 255
    labels = (picture[..., 0] > 0).astype(np.uint8)
    # Pixels 150 to 153 have their middle at 152, whole.
    moved = move_crop(Crop(**{**vars(crop), "image": picture, "labels": labels}), 1.5, (10.0, -4.0))
    for values in (moved.image[..., 0].astype(float), moved.labels.astype(float)):
        rows, columns = np.indices(values.shape) + 0.5
        found = (columns * values).sum() / values.sum(), (rows * values).sum() / values.sum()
        assert found == pytest.approx(((152 - 112) * 1.5 + 112 + 10, (62 - 112) * 1.5 + 112 - 4), abs=0.3)


def test_no_movement_keeps_the_crop(crop):
    same = move_crop(crop, 1.0, (0.0, 0.0))
    for name, value in vars(crop).items():
        assert np.allclose(value, getattr(same, name), atol=1e-4), name


def test_colours_by_channel():
    image = np.full((2, 2, 3), 100, np.uint8)
    changed = change_colours(image, np.array([1.1, 0.5, 3.0]))
    assert changed[0, 0].tolist() == [110, 50, 255]
