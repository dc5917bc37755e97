import math

import pytest
import torch

from facerecon.geometry.cameras import project_perspective
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import visibility_reference
from facerecon.render.unwrap import sample_visible, sample_visible_torch, surface_facing, unwrap, uv_surface

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


def charted(closed_mesh, batch=2, vertices=80, size=32):
    """Views of a closed mesh with a chart of its front and one of its back, side by side; z is about 800 mm."""
    points, triangles = closed_mesh(3, batch=batch, vertices=vertices, size=size)
    points = points * torch.tensor([1.0, 1, 100])
    first = points[0]
    # Each triangle has its own three vertices, so that no triangle reaches from one chart to the other.
    corners = triangles.flatten().long()
    plane = (first[corners, :2] / size).clamp(0.01, 0.99) * torch.tensor([0.5, 1])
    x, y = first[corners, :2].reshape(-1, 3, 2).unbind(-1)
    behind = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) > (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    uv = torch.where(behind.repeat_interleave(3)[:, None], plane + torch.tensor([0.5, 0]), plane)
    own = torch.arange(len(corners), dtype=torch.int32).reshape(-1, 3)
    return points[:, corners].contiguous(), own, uv


def test_a_batch_is_its_images_one_by_one_on_any_number_of_threads(closed_mesh):
    vertices, triangles, uv = charted(closed_mesh, batch=4)
    image = torch.rand(4, 32, 30, 5, generator=torch.Generator().manual_seed(0))
    focal, centre = torch.tensor([200.0, 256, 300, 400]), torch.tensor([[16.0, 15]]).repeat(4, 1)
    options = {"minimum_facing": 0.1, "depth_tolerance": 5.0}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        texture, visible = unwrap(image, vertices, triangles, uv, 20, focal=focal, centre=centre, **options)
    finally:
        torch.set_num_threads(threads)
    assert texture.shape == (4, 20, 20, 5) and visible.shape == (4, 20, 20)
    for i in range(4):
        place = {"focal": focal[i].item(), "centre": (16.0, 15.0)}
        one = unwrap(image[i].numpy(), vertices[i], triangles, uv, 20, **place, **options)
        assert torch.equal(texture[i], one[0]) and torch.equal(visible[i], one[1])
        assert 0.05 < one[1].float().mean() < 0.95


def visible_inputs(closed_mesh, image_size=(32, 30), channels=3):
    """Arguments of the last step of `unwrap`, with hidden texels, texels outside and texels that face away."""
    vertices, triangles, uv = charted(closed_mesh)
    height, width = image_size
    image = torch.rand(2, height, width, channels, generator=torch.Generator().manual_seed(0))
    focal = torch.tensor([256.0, 200.0])
    _, depth = rasterize(vertices, triangles, height, width)
    depth[:, : height // 2] -= 40 * torch.rand(
        depth[:, : height // 2].shape, generator=torch.Generator().manual_seed(1)
    )
    facing = surface_facing(vertices, triangles, focal, (16, 16))
    homogeneous = torch.cat([vertices[..., :2] * vertices[..., 2:], vertices[..., 2:], facing[..., None]], -1)
    homogeneous[:, :9] = float("nan")
    covered, points = uv_surface(uv, triangles, homogeneous, 24)
    return image, depth, covered, points, focal, 0.2, 20.0


@pytest.mark.parametrize("options", [{}, {"channels": 1}, {"image_size": (20, 16)}, {"image_size": (1, 1)}])
def test_fast_visibility_and_colours_equal_those_of_torch_bit_for_bit(closed_mesh, options):
    arguments = visible_inputs(closed_mesh, **options)
    fast, slow = sample_visible(*arguments), sample_visible_torch(*arguments)
    assert torch.equal(fast[1], slow[1]) and torch.equal(fast[0], slow[0])
    if "image_size" not in options:
        assert 0.05 < fast[1].float().mean() < 0.6 and fast[0][fast[1]].min() > 0


def test_visibility_equals_the_reference(closed_mesh):
    vertices, triangles, uv = charted(closed_mesh, batch=1, vertices=24, size=16)
    expected = visibility_reference(vertices[0], triangles, uv, 14, 16, 16, 128.0, depth_tolerance=5.0)
    _, found = unwrap(torch.ones(16, 16, 3), vertices[0], triangles, uv, 14, focal=128.0, depth_tolerance=5.0)
    assert torch.equal(found, expected) and 20 < expected.sum() < 150


def test_one_pixel_images_show_themselves_where_they_are_covered():
    square, triangles, uv = grid_square(1)
    points = torch.cat([(square[:, :2] + 60) / 120, torch.full((4, 1), 1000.0)], 1)
    texture, visible = unwrap(torch.full((1, 1, 2), 0.3), points, triangles, uv, 4)
    assert visible.all()
    torch.testing.assert_close(texture, torch.full((4, 4, 2), 0.3))


def test_nan_vertices_and_empty_meshes_show_nothing():
    vertices, triangles, uv = grid_square(4)
    points = pixels(vertices)
    points[0] = float("nan")
    texture, visible = unwrap(position_image(), points, triangles, uv, 16, focal=FOCAL, centre=CENTRE)
    # The first vertex is the chart's lower left corner; normals next to it are spoilt with it.
    assert not visible[-4:, :4].any() and visible[:8, 8:].all() and torch.isfinite(texture).all()
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    texture, visible = unwrap(torch.ones(2, 5, 5, 3), torch.zeros(2, 0, 3), nothing, torch.zeros(0, 2), 4)
    assert texture.shape == (2, 4, 4, 3) and not texture.any() and not visible.any()


def test_what_lies_outside_the_chart_is_left_out():
    vertices, triangles, uv = grid_square(1)
    covered, values = uv_surface(uv * 2 - 0.5, triangles, vertices, 4)
    assert covered.all()
    torch.testing.assert_close(values[0, :, 0], torch.tensor([-22.5, -7.5, 7.5, 22.5]))
    covered, values = uv_surface(uv + 2, triangles, vertices, 4)
    assert not covered.any() and not values.any()


def test_uv_surface_of_a_batch_with_gradients(closed_mesh):
    _, triangles, uv = grid_square(2)
    attributes = torch.randn(3, len(uv), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    covered, values = uv_surface(uv, triangles, attributes, 5)
    assert covered.shape == (5, 5) and values.shape == (3, 5, 5, 2)
    for i in range(3):
        assert torch.equal(values[i], uv_surface(uv, triangles, attributes[i], 5)[1])
    attributes.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: uv_surface(uv, triangles, a, 5)[1], attributes)


def test_bad_input():
    vertices, triangles, uv = grid_square(1)
    with pytest.raises(ValueError, match="image and vertices_pixels"):
        unwrap(torch.zeros(3, 8, 8, 3), pixels(vertices).expand(2, -1, -1), triangles, uv, 8)
    with pytest.raises(ValueError, match="focal"):
        unwrap(torch.zeros(8, 8, 3), pixels(vertices), triangles, uv, 8, focal=torch.ones(2))
    with pytest.raises(ValueError, match="image"):
        unwrap(torch.zeros(8, 8), pixels(vertices), triangles, uv, 8)
    with pytest.raises(ValueError, match="vertices_pixels"):
        unwrap(torch.zeros(8, 8, 3), pixels(vertices)[None], triangles, uv, 8)
    with pytest.raises(ValueError, match="uv"):
        unwrap(torch.zeros(8, 8, 3), pixels(vertices), triangles, uv[:-1], 8)
