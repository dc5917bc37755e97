import numpy as np
import pytest
import torch

from facerecon.render.overlay import draw_landmarks, draw_overlay
from facerecon.render.shading import linear_to_srgb

SQUARE = torch.tensor([[2.0, 2, 1000], [2, 6, 1000], [6, 6, 1000], [6, 2, 1000]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
INSIDE = np.zeros((8, 10), bool)
INSIDE[2:6, 2:6] = True


def test_overlay_blends_on_the_mesh_and_leaves_the_rest():
    image = np.full((8, 10, 3), 100, np.uint8)
    drawn = draw_overlay(image, SQUARE, TRIANGLES, torch.full((4, 3), 0.21404114), opacity=0.5)
    assert (drawn[INSIDE] == 114).all()  # (100 + 127.5) / 2 = 113.75
    assert (drawn[~INSIDE] == 100).all()
    assert (image == 100).all()


def test_tensors_of_a_training_step_make_the_same_picture():
    image = np.full((8, 10, 3), 100, np.uint8)
    colours = torch.full((4, 3), 0.21404114)
    expected = draw_overlay(image, SQUARE, TRIANGLES, colours)
    batch = SQUARE.double().expand(3, -1, -1).clone().requires_grad_()
    drawn = draw_overlay(image, batch[1], torch.from_numpy(TRIANGLES).long(), colours.double().requires_grad_())
    assert np.array_equal(drawn, expected)
    assert np.array_equal(draw_overlay(image, SQUARE.numpy(), TRIANGLES, colours.numpy()), expected)
    points = torch.tensor([[4.0, 4.0]], requires_grad=True)
    assert np.array_equal(draw_landmarks(image, points), draw_landmarks(image, points.detach().numpy()))


def test_nan_vertices_and_empty_meshes_leave_the_image():
    image = np.full((8, 10, 3), 100, np.uint8)
    assert (draw_overlay(image, SQUARE * float("nan"), TRIANGLES) == 100).all()
    assert (draw_overlay(image, np.zeros((0, 3)), np.zeros((0, 3), np.int32)) == 100).all()
    assert draw_overlay(image[:1, :1], SQUARE - 2, TRIANGLES, opacity=1).shape == (1, 1, 3)


def test_colours_outside_the_range_are_clipped():
    image = np.zeros((8, 10, 3), np.uint8)
    drawn = draw_overlay(image, SQUARE, TRIANGLES, torch.tensor([[2.0, -1.0, 1.0]]).expand(4, 3), opacity=1)
    assert (drawn[INSIDE] == [255, 0, 255]).all()


def test_clay_is_lit_from_the_camera():
    drawn = draw_overlay(np.zeros((8, 10, 3), np.uint8), SQUARE, TRIANGLES, opacity=1)
    expected = np.rint(255 * linear_to_srgb(np.array([0.62, 0.62, 0.66])))
    assert np.abs(drawn[INSIDE].astype(int) - expected).max() <= 1
    assert (drawn[~INSIDE] == 0).all()


def test_a_landmark_is_drawn_around_its_pixel():
    drawn = draw_landmarks(np.zeros((21, 21, 3), np.uint8), np.array([[10.5, 5.5]]), (255, 0, 10), radius=2)
    assert (drawn[5, 10] == [255, 0, 10]).all()
    weight = drawn[..., 0] / drawn[..., 0].sum()
    # OpenCV's smoothed discs are not quite symmetric.
    assert abs((weight.sum(1) * np.arange(21)).sum() - 5) < 0.2
    assert abs((weight.sum(0) * np.arange(21)).sum() - 10) < 0.2
    assert 2 <= drawn[..., 0].any(0).nonzero()[0].max() - 10 <= 3


def test_the_68_are_joined_by_lines_and_missing_ones_left_out():
    image = np.zeros((100, 100, 3), np.uint8)
    points = np.full((68, 2), np.nan)
    points[:3] = [[10, 10], [50, 10], [90, 10]]
    joined = draw_landmarks(image, points, radius=1)
    assert joined[9:11, 10:90].any(axis=(0, 2)).all() and not joined[14:].any()
    points[1] = [np.inf, 10]
    assert not draw_landmarks(image, points, radius=1)[:, 15:85].any()
    assert not draw_landmarks(image, points[:5], radius=1)[:, 15:85].any()


def test_landmarks_far_outside_do_no_harm():
    drawn = draw_landmarks(np.zeros((9, 9, 3), np.uint8), torch.tensor([[1e20, -1e20], [4.5, 4.5]]), radius=1)
    assert drawn[4, 4].any() and not drawn[0].any()


def test_bad_input():
    image = np.zeros((8, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="uint8"):
        draw_overlay(image.astype(np.float32), SQUARE, TRIANGLES)
    with pytest.raises(ValueError, match="opacity"):
        draw_overlay(image, SQUARE, TRIANGLES, opacity=1.5)
    with pytest.raises(ValueError, match="uint8"):
        draw_landmarks(image[..., 0], np.zeros((3, 2)))
    with pytest.raises(ValueError, match="vertices_pixels must be"):
        draw_overlay(image, SQUARE[None], TRIANGLES)
    with pytest.raises(ValueError, match="colours must be"):
        draw_overlay(image, SQUARE, TRIANGLES, torch.ones(1, 4, 3))
    with pytest.raises(ValueError, match="landmarks"):
        draw_landmarks(image, np.zeros((3, 3)))
