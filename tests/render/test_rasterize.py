import pytest
import torch

from facerecon.errors import InputError
from facerecon.geometry.cameras import head_to_camera, project_perspective
from facerecon.render.backends.grid import grid_steps
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import rasterize_reference

# Counter-clockwise as seen: down the left side, along the bottom, back along the slope.
RIGHT_TRIANGLE = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10]]])
ONE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


def test_coverage_by_hand():
    index, depth = rasterize(RIGHT_TRIANGLE, ONE, 4, 5)
    # The slope passes through the centres on the diagonal. It is a right edge, so they are outside.
    expected = torch.tensor([[-1, -1, -1, -1, -1], [0, -1, -1, -1, -1], [0, 0, -1, -1, -1], [0, 0, 0, -1, -1]])
    assert torch.equal(index[0], expected.int())
    assert torch.equal(depth[0] == 10, expected == 0)
    assert torch.isinf(depth[0][expected < 0]).all()


def test_a_centre_on_the_shared_edge_belongs_to_the_triangle_on_its_right():
    square = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10], [4, 0, 10]]])
    index, _ = rasterize(square, torch.tensor([[0, 1, 2], [0, 2, 3]]), 4, 4)
    assert torch.equal(index[0], torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]).int())


def test_top_and_left_edges_are_inside_bottom_and_right_ones_outside():
    square = torch.tensor([[[0.5, 0.5, 10], [0.5, 2.5, 10], [2.5, 2.5, 10], [2.5, 0.5, 10]]])
    index, _ = rasterize(square, torch.tensor([[0, 1, 2], [0, 2, 3]]), 4, 4)
    assert torch.equal(index[0] >= 0, torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).bool())


def test_culling_leaves_out_triangles_seen_from_behind():
    behind = ONE.flip(1)
    assert (rasterize(RIGHT_TRIANGLE, behind, 4, 4)[0] == -1).all()
    assert torch.equal(rasterize(RIGHT_TRIANGLE, behind, 4, 4, cull=False)[0], rasterize(RIGHT_TRIANGLE, ONE, 4, 4)[0])


def test_a_triangle_counter_clockwise_from_outside_in_the_head_frame_is_seen_from_the_front():
    # Normal +z, out of the face: subject's right, subject's left, above.
    vertices = torch.tensor([[[-50.0, -50, 0], [50, -50, 0], [0, 50, 0]]])
    camera = head_to_camera(vertices, torch.eye(3)[None], torch.tensor([[0.0, 0, 1000]]))
    pixels = project_perspective(camera, 1015.0, (112.0, 112.0))
    assert (rasterize(pixels, ONE, 224, 224)[0] == 0).sum() == pytest.approx(101.5**2 / 2, rel=0.02)
    assert (rasterize(pixels, ONE.flip(1), 224, 224)[0] == -1).all()


def test_depth_is_perspective_correct():
    # In 3D the plane z = 1 + x, seen with f = 4 and cx = 0: 1/z is affine in the image, 1/z = 1 - x_px/4.
    vertices = torch.tensor([[[-4.0, -96, 0.5], [-4, 104, 0.5], [3.5, 4, 8.0]]], dtype=torch.float64)
    index, depth = rasterize(vertices, ONE, 6, 3)
    assert (index == 0).all()
    expected = 1 / (1 - (torch.arange(3) + 0.5) / 4)
    torch.testing.assert_close(depth[0], expected.expand(6, 3))


def test_the_nearest_surface_wins_whatever_the_order():
    far, near = RIGHT_TRIANGLE + torch.tensor([0, 0, 1.0]), RIGHT_TRIANGLE
    for first, second, expected in ((far, near, 1), (near, far, 0)):
        index, depth = rasterize(torch.cat([first, second], 1), torch.cat([ONE, ONE + 3]), 4, 4)
        assert (index[index >= 0] == expected).all()
        assert (depth[index >= 0] == 10).all()


def test_of_surfaces_at_equal_depth_the_first_wins():
    index, _ = rasterize(RIGHT_TRIANGLE, torch.cat([ONE, ONE]), 4, 4)
    assert index.max() == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cull", [True, False])
def test_fast_equals_reference(closed_mesh, seed, cull):
    vertices, triangles = closed_mesh(seed, batch=2, vertices=30, size=12)
    fast, slow = rasterize(vertices, triangles, 12, 12, cull), rasterize_reference(vertices, triangles, 12, 12, cull)
    assert torch.equal(fast[0], slow[0])
    torch.testing.assert_close(fast[1], slow[1], rtol=3e-7, atol=0)


@pytest.mark.parametrize("seed", range(4))
def test_fast_equals_reference_where_centres_lie_on_edges(planar_mesh, seed):
    vertices, triangles = planar_mesh(seed, vertices=20, size=8)
    fast, slow = rasterize(vertices, triangles, 8, 7), rasterize_reference(vertices, triangles, 8, 7)
    assert torch.equal(fast[0], slow[0])


def times_drawn(vertices, triangles, size):
    """How many triangles draw each pixel: each becomes an image of its own."""
    corners = vertices[0][triangles.long()]
    return (rasterize(corners, ONE, size, size)[0] >= 0).sum(0)


@pytest.mark.parametrize("seed", range(20))
def test_a_plane_of_triangles_draws_every_pixel_once(planar_mesh, seed):
    vertices, triangles = planar_mesh(seed)
    assert (times_drawn(vertices, triangles, 16) == 1).all()


@pytest.mark.parametrize("centre", [(8.5, 8.5), (8.0, 8.0), (8.3, 7.9)])
def test_a_fan_draws_every_pixel_once(centre):
    angle = torch.arange(0, 360, 3.0).deg2rad()
    rim = torch.stack([16.3 * torch.cos(angle) + 8, -16.3 * torch.sin(angle) + 8], -1)
    vertices = torch.cat([torch.tensor([centre]), rim])
    vertices = torch.cat([vertices, torch.full((len(vertices), 1), 10.0)], 1)[None]
    following = torch.arange(len(rim)).roll(-1)
    triangles = torch.stack([torch.zeros(len(rim)), torch.arange(len(rim)) + 1, following + 1], -1).int()
    assert (times_drawn(vertices, triangles, 16) == 1).all()


def test_a_plane_of_triangles_that_reach_far_beyond_the_image_draws_every_pixel_once(planar_mesh):
    vertices, triangles = planar_mesh(3, vertices=30)
    frame = vertices[..., :2].sub(8).abs().amax(-1) > 11
    vertices[..., :2] = torch.where(frame[..., None], 8 + (vertices[..., :2] - 8) * 1.2345e7, vertices[..., :2])
    assert (times_drawn(vertices, triangles, 16) == 1).all()


@pytest.mark.parametrize("seed", range(10))
def test_closed_meshes_have_no_holes(closed_mesh, seed):
    size = 64
    vertices, triangles = closed_mesh(seed, vertices=300, size=size)
    covered = rasterize(vertices, triangles, size, size)[0][0] >= 0
    assert covered.sum() > 0.3 * size * size
    # The outline is convex: every row and every column is one run of pixels.
    for mask in (covered, covered.T):
        changes = (mask[:, 1:].int() - mask[:, :-1].int()).abs().sum(1)
        assert changes.max() <= 2
    drawn = times_drawn(vertices, triangles, size)
    assert torch.equal(drawn, covered.long())


def test_degenerate_triangles_are_left_out():
    bad = float("nan"), float("inf"), -float("inf")
    vertices = RIGHT_TRIANGLE.repeat(14, 1, 1)
    for i, value in enumerate(bad):
        vertices[3 * i, 1, 0] = vertices[3 * i + 1, 2, 1] = vertices[3 * i + 2, 0, 2] = value
    vertices[9, :, 2] = torch.tensor([10, 0.0, 10])
    vertices[10, :, 2] = torch.tensor([10, 10, -1.0])
    vertices[11, 2] = vertices[11, 1]
    vertices[12, :, 1] = 2 * vertices[12, :, 0]
    vertices[13, :, :2] = 1.5
    index, depth = rasterize(vertices, ONE, 4, 4, cull=False)
    assert (index == -1).all() and torch.isinf(depth).all()
    # They do no harm to the others.
    together = torch.cat([*vertices.split(1), RIGHT_TRIANGLE], 1)
    triangles = torch.arange(45, dtype=torch.int32).reshape(15, 3)
    assert torch.equal(rasterize(together, triangles, 4, 4)[0] == 14, rasterize(RIGHT_TRIANGLE, ONE, 4, 4)[0] == 0)


@pytest.mark.parametrize("shift", [(100.0, 0.0), (-100.0, 0.0), (0.0, 100.0), (0.0, -100.0), (1e30, -1e30)])
def test_triangles_outside_the_image_draw_nothing(shift):
    assert (rasterize(RIGHT_TRIANGLE + torch.tensor([*shift, 0]), ONE, 4, 4)[0] == -1).all()


@pytest.mark.parametrize("scale", [1e4, 1e9, 1e30])
def test_huge_triangles_fill_the_image(scale):
    vertices = torch.tensor([[[-1.0, -1, 10], [-1, 3, 10], [3, -1, 10]]]) * torch.tensor([scale, scale, 1])
    index, depth = rasterize(vertices, ONE, 50, 40)
    assert (index == 0).all()
    torch.testing.assert_close(depth, torch.full((1, 50, 40), 10.0))


def test_batch_equals_single_on_any_number_of_threads(closed_mesh):
    vertices, triangles = closed_mesh(0, batch=5)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        index, depth = rasterize(vertices, triangles, 32, 30)
    finally:
        torch.set_num_threads(threads)
    for i in range(5):
        single = rasterize(vertices[i : i + 1], triangles, 32, 30)
        assert torch.equal(index[i], single[0][0]) and torch.equal(depth[i], single[1][0])


def test_float64_vertices_give_the_same_image(closed_mesh):
    vertices, triangles = closed_mesh(1)
    assert torch.equal(rasterize(vertices.double(), triangles, 32, 32)[0], rasterize(vertices, triangles, 32, 32)[0])


def test_empty_meshes_and_batches():
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    index, depth = rasterize(torch.zeros(2, 0, 3), nothing, 3, 4)
    assert (index == -1).all() and torch.isinf(depth).all() and index.shape == (2, 3, 4)
    assert rasterize(torch.zeros(0, 3, 3), ONE, 3, 4)[0].shape == (0, 3, 4)


def test_the_grid_holds_float32_positions_exactly():
    assert grid_steps(224, 224) == 2**16
    assert grid_steps(200, 257) == 2**15
    position = torch.tensor(112 + 2**-17)
    assert position.item() != 112 and position.item() * grid_steps(224, 200) % 1 == 0.5
    far = torch.nextafter(torch.tensor(128.0), torch.tensor(129.0))
    assert far.item() * grid_steps(224, 224) % 1 == 0


def test_unknown_backends_are_named():
    with pytest.raises(InputError, match="'gpu' is not available: choose one of auto, cpu"):
        rasterize(RIGHT_TRIANGLE, ONE, 4, 4, backend="gpu")


def test_bad_input():
    with pytest.raises(ValueError, match="vertices_pixels"):
        rasterize(RIGHT_TRIANGLE[0], ONE, 4, 4)
    with pytest.raises(ValueError, match="float32 or float64"):
        rasterize(RIGHT_TRIANGLE.half(), ONE, 4, 4)
    with pytest.raises(ValueError, match="triangles"):
        rasterize(RIGHT_TRIANGLE, ONE[0], 4, 4)
    with pytest.raises(ValueError, match="there are 3"):
        rasterize(RIGHT_TRIANGLE, ONE + 1, 4, 4)
    with pytest.raises(ValueError, match="at least one pixel"):
        rasterize(RIGHT_TRIANGLE, ONE, 0, 4)
