import numpy as np
import pytest

from facerecon.networks.image_crops import apply_matrix
from facerecon.training.tasks.augment import batch_generator, change_values, random_crop_matrix
from facerecon.training.tasks.settings import PhotometricSettings

NOTHING = dict.fromkeys(PhotometricSettings.model_fields, 0)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)


def test_no_change_at_zero_settings(image):
    changed = change_values(batch_generator(0, 0), image, PhotometricSettings(**NOTHING))
    np.testing.assert_array_equal(changed, image)


@pytest.mark.parametrize("name", list(PhotometricSettings.model_fields))
def test_each_setting_changes_the_picture_and_keeps_its_form(image, name):
    settings = PhotometricSettings(**{**NOTHING, name: 1})
    before = image.copy()
    changed = change_values(batch_generator(0, 1), image, settings)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert (changed != image).any() and (image == before).all()


def test_mono_makes_gray(image):
    settings = PhotometricSettings(**{**NOTHING, "mono": 1})
    assert np.ptp(change_values(batch_generator(0, 0), image, settings).astype(int), axis=2).max() <= 1


def test_generator_depends_on_seed_and_step_alone():
    assert batch_generator(1, 2).random() == batch_generator(1, 2).random()
    values = {batch_generator(seed, step).random() for seed in range(3) for step in range(3)}
    assert len(values) == 9


def test_random_crop_matrix_stays_within_its_bounds():
    centre, side = np.array([50.0, 40.0]), 30.0
    for step in range(50):
        matrix = random_crop_matrix(batch_generator(0, step), centre, side, 60, 0.1, 0.2, 0.3, flip=False)
        scale = np.sqrt(np.linalg.det(matrix[:, :2]))
        assert 2 * np.exp(-0.2) <= scale <= 2 * np.exp(0.2)
        assert np.abs(apply_matrix(matrix, centre) - 30).max() <= 0.1 * side * scale * 1.42
        assert abs(np.arctan2(matrix[1, 0], matrix[0, 0])) <= 0.3
