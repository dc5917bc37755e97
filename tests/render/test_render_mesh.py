import pytest
import torch

from facerecon.errors import InputError
from facerecon.render.mesh import render_mesh


def test_a_square_of_one_colour():
    square = torch.tensor([[[1.0, 1, 10], [1, 3, 10], [4, 3, 10], [4, 1, 10]]])
    image, mask = render_mesh(square, torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.full((1, 4, 3), 0.25), 4, 6)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[1:3, 1:4] = True
    assert torch.equal(mask[0], expected)
    torch.testing.assert_close(image[0], 0.25 * expected[..., None].expand(4, 6, 3).float())


def test_width_defaults_to_height_and_gradients_reach_vertices_and_colours(closed_mesh):
    vertices, triangles = closed_mesh(0, batch=2)
    vertices.requires_grad_()
    colours = torch.rand(2, 60, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    image, mask = render_mesh(vertices, triangles, colours, 32)
    assert image.shape == (2, 32, 32, 3) and mask.shape == (2, 32, 32)
    image.square().sum().backward()
    assert vertices.grad.abs().sum() > 0 and colours.grad.abs().sum() > 0


def test_without_culling_the_inside_of_an_open_mesh_is_seen():
    triangle = torch.tensor([[[0.0, 0, 10], [4, 0, 10], [0, 4, 10]]])
    seen_from_behind = torch.tensor([[0, 1, 2]])
    assert not render_mesh(triangle, seen_from_behind, torch.ones(1, 3, 3), 4)[1].any()
    assert render_mesh(triangle, seen_from_behind, torch.ones(1, 3, 3), 4, cull=False)[1].any()


def test_the_backend_reaches_both_steps_and_is_never_replaced():
    triangle = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 0, 10]]])
    arguments = (triangle, torch.tensor([[0, 1, 2]]), torch.rand(1, 3, 3), 4)
    expected = render_mesh(*arguments)
    for name in ("cpu", "auto", None):
        assert torch.equal(render_mesh(*arguments, backend=name)[0], expected[0])
    with pytest.raises(InputError, match="'gpu' is not available"):
        render_mesh(*arguments, backend="gpu")
