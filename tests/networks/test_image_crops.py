import cv2
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.geometry.crop import CropTransform
from facerecon.networks.image_crops import (
    apply_matrix,
    crop_matrix,
    invert_matrix,
    points_box,
    require_rgb,
    square_of_box,
    warp,
)


def test_crop_matrix_by_hand():
    # A square of 20 px around (30, 40) onto 10 px: half the scale, centre to centre, left edge to 0.
    matrix = crop_matrix(np.array([30.0, 40.0]), 20.0, 10)
    points = np.array([[30.0, 40.0], [20.0, 30.0], [40.0, 50.0]])
    np.testing.assert_allclose(apply_matrix(matrix, points), [[5, 5], [0, 0], [10, 10]])
    flipped = crop_matrix(np.array([30.0, 40.0]), 20.0, 10, flip=True)
    np.testing.assert_allclose(apply_matrix(flipped, points), [[5, 5], [10, 0], [0, 10]])


def test_crop_matrix_turns_x_towards_y():
    matrix = crop_matrix(np.zeros(2), 2.0, 2, angle=np.pi / 2)
    np.testing.assert_allclose(apply_matrix(matrix, np.array([1.0, 0.0])), [1, 2], atol=1e-12)


def test_invert_matrix_undoes():
    matrix = crop_matrix(np.array([3.0, 7.0]), 11.0, 32, angle=0.4, flip=True)
    points = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(apply_matrix(invert_matrix(matrix), apply_matrix(matrix, points)), points, atol=1e-12)


@pytest.mark.parametrize("side", [64.0, 32.0, 16.0])
def test_warp_puts_pixel_centres_at_a_half(side):
    # A horizontal ramp whose value is its own x coordinate: the warped value must be the inverse-mapped coordinate.
    ramp = np.tile((np.arange(64) + 0.5).astype(np.float32), (64, 1))
    matrix = crop_matrix(np.array([32.0, 32.0]), side, 16)
    warped = warp(ramp, matrix, 16)
    x = apply_matrix(invert_matrix(matrix), np.column_stack([np.arange(16) + 0.5, np.full(16, 8.0)]))[:, 0]
    np.testing.assert_allclose(warped[8, 1:-1], x[1:-1], atol=0.08)  # OpenCV interpolates at 1/32 pixel


def test_warp_does_not_alias():
    stripes = np.zeros((128, 128), np.uint8)
    stripes[:, ::2] = 255
    warped = warp(stripes, crop_matrix(np.array([64.0, 64.0]), 128.0, 16), 16)
    assert np.abs(warped[2:-2, 2:-2].astype(int) - 127).max() <= 12


@pytest.mark.parametrize("scale", [0.3, 0.75, 1.6])
def test_warp_agrees_with_the_standard_crop(scale):
    """Where neither turns nor mirrors, the two crops differ by how finely they average first: about a gray level."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    photo = cv2.resize(noise, (600, 600), interpolation=cv2.INTER_CUBIC)
    standard = CropTransform(scale, (112.0 - scale * 290.3, 112.0 - scale * 310.8))
    matrix = np.column_stack([scale * np.eye(2), standard.offset])
    ours = warp(photo, matrix, 224, cv2.BORDER_CONSTANT)
    inner = (slice(32, -32),) * 2
    difference = np.abs(ours[inner].astype(int) - standard.warp(photo)[inner])
    assert difference.mean() < 1.0 and difference.max() <= 10
    assert ours[inner].std() > 30


def test_nearest_keeps_classes_and_follows_the_image():
    labels = np.zeros((500, 500), np.uint8)
    cv2.circle(labels, (250, 200), 60, 17, -1)
    matrix = crop_matrix(np.array([240.0, 190.0]), 280.0, 224, angle=0.2, flip=True)
    crop = warp(labels, matrix, 224, nearest=True)
    soft = warp((labels > 0).astype(np.float32), matrix, 224)
    assert set(np.unique(crop)) == {0, 17}
    assert np.mean((crop > 0) != (soft > 0.5)) < 0.005


def test_require_rgb():
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert (require_rgb(gray) == gray[..., None]).all() and require_rgb(gray).shape == (2, 3, 3)
    for wrong in (
        np.zeros((2, 3, 3)),
        np.zeros((2, 3, 4), np.uint8),
        np.zeros((0, 3, 3), np.uint8),
        np.zeros(3, np.uint8),
    ):
        with pytest.raises(InputError, match="give uint8"):
            require_rgb(wrong)


def test_boxes():
    np.testing.assert_array_equal(points_box(np.array([[3.0, 9.0], [1.0, 10.0], [2.0, 4.0]])), [1, 4, 3, 10])
    centre, side = square_of_box(np.array([0, 0, 10, 20]), 1.5)
    np.testing.assert_array_equal(centre, [5, 10])
    assert side == 30
    for box in ([0, 0, 0, 5], [0, 0, np.nan, 5], [5, 5, 1, 1], [1, 2, 3]):
        with pytest.raises(InputError, match="no area"):
            square_of_box(np.array(box, float), 1.3)
