import math

import pytest
import torch

from facerecon.geometry.cameras import (
    head_to_camera,
    project_perspective,
    project_scaled_orthographic,
    standard_focal,
    unproject_perspective,
)
from facerecon.geometry.rotations import euler_to_matrix

IDENTITY = torch.eye(3)[None]
STANDARD = torch.tensor([[0.0, 0.0, 1000.0]])


def test_a_centred_frontal_face_is_upright_and_its_nose_nearest():
    # The origin, 10 mm to the subject's left, 10 mm up, and 10 mm out of the face.
    points = torch.tensor([[[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]]])
    camera = head_to_camera(points, IDENTITY, STANDARD)
    expected = torch.tensor([[[0.0, 0, 1000], [10, 0, 1000], [0, -10, 1000], [0, 0, 990]]])
    torch.testing.assert_close(camera, expected)
    pixels = project_perspective(camera, 1015.0, (112.0, 112.0))
    torch.testing.assert_close(pixels[0, 0], torch.tensor([112.0, 112, 1000]))
    torch.testing.assert_close(pixels[0, 1], torch.tensor([122.15, 112, 1000]))
    torch.testing.assert_close(pixels[0, 2], torch.tensor([112, 101.85, 1000]))


def test_rotation_acts_before_the_flip():
    rotation = euler_to_matrix(torch.tensor([[0.0, math.pi / 2, 0.0]]))
    camera = head_to_camera(torch.tensor([[[0.0, 0, 10]]]), rotation, STANDARD)
    torch.testing.assert_close(camera, torch.tensor([[[10.0, 0, 1000]]]))


def test_every_image_has_its_own_focal_length_and_centre():
    points = torch.tensor([[[100.0, 50.0, 1000.0]]]).expand(2, 1, 3)
    pixels = project_perspective(points, torch.tensor([1000.0, 500.0]), torch.tensor([[0.0, 0.0], [10.0, 20.0]]))
    torch.testing.assert_close(pixels[:, 0, :2], torch.tensor([[100.0, 50.0], [60.0, 45.0]]))


def test_scaled_orthographic_does_not_depend_on_depth():
    points = torch.tensor([[[10.0, 20.0, 900.0], [10.0, 20.0, 1100.0]]])
    pixels = project_scaled_orthographic(points, 2.0, (5.0, 6.0))
    torch.testing.assert_close(pixels, torch.tensor([[[25.0, 46.0, 900.0], [25.0, 46.0, 1100.0]]]))


def test_unprojection_inverts_projection():
    points = torch.randn(3, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 80
    points[..., 2] += 900
    focal, centre = torch.tensor([900.0, 1015.0, 300.0]).double(), torch.rand(3, 2).double()
    torch.testing.assert_close(unproject_perspective(project_perspective(points, focal, centre), focal, centre), points)


def test_focal_length_scales_with_the_crop():
    assert standard_focal(224) == 1015
    assert standard_focal(112) == 507.5


def test_gradients():
    generator = torch.Generator().manual_seed(2)
    vertices = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    angles = torch.randn(2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    translation = torch.tensor([[0.1, 0.2, 20.0], [0.3, -0.1, 15.0]], dtype=torch.float64, requires_grad=True)
    focal = torch.tensor([30.0, 20.0], dtype=torch.float64, requires_grad=True)

    def project(vertices, angles, translation, focal):
        return project_perspective(head_to_camera(vertices, euler_to_matrix(angles), translation), focal, (3.0, 4.0))

    assert torch.autograd.gradcheck(project, (vertices, angles, translation, focal))


def test_bad_shapes():
    points = torch.ones(2, 5, 3)
    with pytest.raises(ValueError, match="vertices"):
        head_to_camera(points[0], IDENTITY, STANDARD)
    with pytest.raises(ValueError, match="rotation"):
        head_to_camera(points, torch.eye(3), STANDARD)
    with pytest.raises(ValueError, match="translation"):
        head_to_camera(points, IDENTITY, STANDARD[0])
    with pytest.raises(ValueError, match="points_camera"):
        project_perspective(points[..., :2], 1.0, (0.0, 0.0))
    with pytest.raises(ValueError, match="focal"):
        project_perspective(points, torch.ones(2, 1), (0.0, 0.0))
    with pytest.raises(ValueError, match="centre"):
        project_scaled_orthographic(points, 1.0, (0.0, 0.0, 0.0))
