import math

import pytest
import torch

from facerecon.geometry.rotations import euler_to_matrix, matrix_to_euler

NOSE = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def matrix(pitch=0.0, yaw=0.0, roll=0.0):
    return euler_to_matrix(torch.tensor([[pitch, yaw, roll]], dtype=torch.float64))[0]


def test_no_rotation_is_the_identity():
    assert torch.equal(matrix(), torch.eye(3, dtype=torch.float64))


def test_positive_yaw_turns_the_nose_to_the_subjects_left():
    torch.testing.assert_close(matrix(yaw=0.5) @ NOSE, torch.tensor([math.sin(0.5), 0, math.cos(0.5)]).double())


def test_positive_pitch_turns_the_nose_down():
    torch.testing.assert_close(matrix(pitch=0.5) @ NOSE, torch.tensor([0, -math.sin(0.5), math.cos(0.5)]).double())


def test_positive_roll_turns_left_to_up():
    left = torch.tensor([1.0, 0, 0]).double()
    torch.testing.assert_close(matrix(roll=math.pi / 2) @ left, torch.tensor([0, 1.0, 0]).double())


def test_order_is_roll_after_pitch_after_yaw():
    product = matrix(roll=0.3) @ matrix(pitch=-0.4) @ matrix(yaw=1.1)
    torch.testing.assert_close(matrix(-0.4, 1.1, 0.3), product)


def test_inverse():
    generator = torch.Generator().manual_seed(0)
    angles = (torch.rand(200, 3, dtype=torch.float64, generator=generator) - 0.5) * math.pi * 0.98
    angles[:, 1:] *= 2
    rotation = euler_to_matrix(angles)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(200).double())
    torch.testing.assert_close(matrix_to_euler(rotation), angles)


@pytest.mark.parametrize("pitch", [math.pi / 2, -math.pi / 2])
def test_inverse_gives_the_same_rotation_where_yaw_and_roll_share_an_axis(pitch):
    rotation = matrix(pitch, 0.4, -0.9)
    angles = matrix_to_euler(rotation)
    assert angles[1] == 0
    torch.testing.assert_close(euler_to_matrix(angles), rotation)


def test_gradients():
    angles = torch.tensor([[0.2, -0.7, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(euler_to_matrix, angles)
    assert torch.autograd.gradcheck(lambda a: matrix_to_euler(euler_to_matrix(a)), angles)


def test_bad_shapes():
    with pytest.raises(ValueError, match="pitch, yaw, roll"):
        euler_to_matrix(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, 3\)"):
        matrix_to_euler(torch.zeros(3, 2))
