import math

import pytest
import torch

from facerecon.geometry.cameras import project_perspective
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.render.unwrap import surface_facing, unwrap, uv_surface

FOCAL, CENTRE = 500.0, (40.0, 40.0)


def grid_square(divisions, half=60.0):
    """A square in the xy plane, facing -z (the camera): vertices mm, triangles, uv with u along x and v up."""
    ticks = torch.linspace(0, 1, divisions + 1)
    v, u = torch.meshgrid(ticks, ticks, indexing="ij")
    uv = torch.stack([u, v], -1).reshape(-1, 2)
    vertices = torch.cat([(uv[:, :1] - 0.5) * 2 * half, (0.5 - uv[:, 1:]) * 2 * half, torch.zeros(len(uv), 1)], 1)
    index = torch.arange(len(uv)).reshape(divisions + 1, divisions + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = torch.cat([torch.stack([a, b, c], -1).reshape(-1, 3), torch.stack([a, c, d], -1).reshape(-1, 3)])
    return vertices, triangles, uv


def pixels(points, distance=1000.0):
    return project_perspective((points + torch.tensor([0, 0, distance]))[None], FOCAL, CENTRE)[0]


def position_image(size=80):
    """An image whose red is the x and whose green is the y coordinate of the pixel."""
    centres = torch.arange(size) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1)


def test_texels_sample_the_image_where_their_surface_point_is_seen():
    vertices, triangles, uv = grid_square(4)
    turned = vertices @ euler_to_matrix(torch.tensor([[0.3, 0.5, 0.2]]))[0].T
    texture, visible = unwrap(
        position_image(), pixels(turned), triangles, uv, 16, focal=FOCAL, centre=CENTRE, depth_tolerance=2.0
    )
    # The surface points of the texels, without the mesh.
    texel = (torch.arange(16) + 0.5) / 16
    v, u = torch.meshgrid(1 - texel, texel, indexing="ij")
    points = torch.stack([(u - 0.5) * 120, (0.5 - v) * 120, torch.zeros_like(u)], -1).reshape(-1, 3)
    expected = pixels(points @ euler_to_matrix(torch.tensor([[0.3, 0.5, 0.2]]))[0].T)[:, :2].reshape(16, 16, 2)
    assert visible[1:-1, 1:-1].all()
    torch.testing.assert_close(texture[visible][:, :2], expected[visible], atol=1e-3, rtol=0)
    assert (texture[~visible] == 0).all()


@pytest.mark.parametrize(("degrees", "seen"), [(0, True), (70, True), (85, False), (180, False)])
def test_surfaces_that_do_not_face_the_camera_are_not_visible(degrees, seen):
    vertices, triangles, uv = grid_square(4)
    turned = vertices @ euler_to_matrix(torch.tensor([[0.0, math.radians(degrees), 0.0]]))[0].T
    _, visible = unwrap(position_image(), pixels(turned), triangles, uv, 16, focal=FOCAL, centre=CENTRE)
    assert visible[4:12, 4:12].any() == seen


def test_a_hidden_surface_is_not_visible():
    vertices, triangles, uv = grid_square(8)
    shield = vertices * torch.tensor([0.4, 0.4, 1]) - torch.tensor([0, 0, 50.0])
    both = torch.cat([pixels(vertices), pixels(shield)])
    all_triangles = torch.cat([triangles, triangles + len(vertices)])
    # The square fills the left half of the texture, the shield the right one.
    all_uv = torch.cat([uv * torch.tensor([0.5, 1]), uv * torch.tensor([0.5, 1]) + torch.tensor([0.5, 0])])
    _, visible = unwrap(position_image(), both, all_triangles, all_uv, 64, focal=FOCAL, centre=CENTRE)
    # Seen from the camera the shield hides |x|, |y| < 0.4 * 1000 / 950 of the square's half side.
    u, v = torch.meshgrid((torch.arange(32) + 0.5) / 16 - 1, (torch.arange(64) + 0.5) / 32 - 1, indexing="xy")
    inside = torch.maximum(u.abs(), v.abs())
    assert not visible[:, :32][inside < 0.421].any()
    assert visible[:, :32][(inside > 0.48) & (inside < 0.95)].all()
    assert visible[2:-2, 34:62].all()


def test_what_falls_outside_the_image_is_not_visible():
    vertices, triangles, uv = grid_square(4)
    _, visible = unwrap(position_image(), pixels(vertices + torch.tensor([80.0, 0, 0])), triangles, uv, 16, focal=FOCAL)
    assert visible[4:12, :7].all()
    assert not visible[:, 9:].any()


def test_uv_surface_is_linear_and_its_first_row_is_the_top():
    vertices, triangles, uv = grid_square(1)
    covered, values = uv_surface(uv, triangles, vertices, 4)
    assert covered.all()
    torch.testing.assert_close(values[0, :, 1], torch.full((4,), -45.0))
    torch.testing.assert_close(values[0, :, 0], torch.tensor([-45.0, -15.0, 15.0, 45.0]))


def test_facing_is_the_cosine_to_the_camera():
    vertices, triangles, _ = grid_square(2)
    centre_vertex = 4
    for degrees in (0, 40, 120):
        turned = vertices @ euler_to_matrix(torch.tensor([[math.radians(degrees), 0.0, 0.0]]))[0].T
        facing = surface_facing(pixels(turned)[None], triangles, FOCAL, CENTRE)
        assert facing[0, centre_vertex].item() == pytest.approx(math.cos(math.radians(degrees)), abs=1e-4)


def test_the_default_camera_is_the_standard_crop():
    vertices, triangles, uv = grid_square(4)
    points = project_perspective((vertices * 0.5 + torch.tensor([0, 0, 1000.0]))[None], 1015.0 * 80 / 224, (40, 40))[0]
    default = unwrap(position_image(), points, triangles, uv, 16)
    given = unwrap(position_image(), points, triangles, uv, 16, focal=1015 * 80 / 224, centre=(40, 40))
    assert torch.equal(default[0], given[0]) and default[1].any()


def test_bad_input():
    vertices, triangles, uv = grid_square(1)
    with pytest.raises(ValueError, match="image"):
        unwrap(torch.zeros(8, 8), pixels(vertices), triangles, uv, 8)
    with pytest.raises(ValueError, match="vertices_pixels"):
        unwrap(torch.zeros(8, 8, 3), pixels(vertices)[None], triangles, uv, 8)
    with pytest.raises(ValueError, match="uv"):
        unwrap(torch.zeros(8, 8, 3), pixels(vertices), triangles, uv[:-1], 8)
