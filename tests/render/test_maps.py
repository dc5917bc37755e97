import math

import pytest
import torch

from facerecon.render.interpolate import interpolate
from facerecon.render.maps import depth_map, normal_map, silhouette
from facerecon.render.rasterize import rasterize

RAMP = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 30], [4, 0, 30]]])
"""A square of 4 pixels whose right side is three times as far as its left one."""
TRIANGLES = torch.tensor([[0, 1, 2], [0, 2, 3]])
NOTHING = torch.zeros(0, 3, dtype=torch.int32)


def test_silhouette_is_where_pixel_centres_are_covered():
    index, _ = rasterize(RAMP, TRIANGLES, 4, 6)
    expected = torch.zeros(1, 4, 6, dtype=torch.bool)
    expected[..., :4] = True
    assert torch.equal(silhouette(index), expected)


def test_depth_by_hand_and_inf_beside_the_mesh():
    index, depth = rasterize(RAMP, TRIANGLES, 4, 6)
    found = depth_map(index, RAMP, TRIANGLES)
    for column, x in enumerate((0.125, 0.375, 0.625, 0.875)):
        torch.testing.assert_close(found[0, :, column], torch.full((4,), 1 / ((1 - x) / 10 + x / 30)))
    assert torch.isposinf(found[..., 4:]).all()
    torch.testing.assert_close(found, depth)


def test_depth_is_that_of_the_rasteriser(closed_mesh):
    vertices, triangles = closed_mesh(0, batch=3)
    index, depth = rasterize(vertices, triangles, 32, 30)
    torch.testing.assert_close(depth_map(index, vertices, triangles), depth)
    assert depth_map(index, vertices.double(), triangles).dtype == torch.float64


def test_depth_gradients(closed_mesh):
    vertices, triangles = closed_mesh(2, batch=2, vertices=12, size=10)
    index, _ = rasterize(vertices, triangles, 10, 10)
    vertices = vertices.double().requires_grad_()
    seen = silhouette(index)
    assert torch.autograd.gradcheck(lambda v: depth_map(index, v, triangles)[seen], vertices)
    (gradient,) = torch.autograd.grad(depth_map(index, vertices, triangles).sum(), vertices)
    assert torch.isfinite(gradient).all()


def test_normals_are_unit_where_there_is_a_surface():
    # Half-way between two normals that are 90 degrees apart, at equal depth, lies their bisector.
    square = torch.tensor([[[0.0, 0, 10], [0, 2, 10], [3, 2, 10], [3, 0, 10]]])
    normals = torch.tensor([[[0.0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0]]])
    index, _ = rasterize(square, TRIANGLES, 2, 5)
    image = normal_map(index, square, TRIANGLES, normals)
    torch.testing.assert_close(image[0, 0, 1], torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5)]))
    torch.testing.assert_close(image[0, 0, 0], torch.tensor([1.0, 0, 5.0]) / math.sqrt(26))
    assert (image[0, :, 3:] == 0).all()


def test_normals_are_those_interpolated_at_length_one(closed_mesh):
    vertices, triangles = closed_mesh(1, batch=2)
    normals = torch.nn.functional.normalize(torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    index, _ = rasterize(vertices, triangles, 32, 32)
    expected = torch.nn.functional.normalize(interpolate(index, vertices, triangles, normals), dim=-1)
    torch.testing.assert_close(normal_map(index, vertices, triangles, normals), expected)


def test_normal_gradients_are_right_and_finite_where_normals_vanish(closed_mesh):
    vertices, triangles = closed_mesh(3, vertices=12, size=8)
    index, _ = rasterize(vertices, triangles, 8, 8)
    normals = torch.randn(1, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    arguments = (vertices.double().requires_grad_(), normals)
    assert torch.autograd.gradcheck(lambda v, n: normal_map(index, v, triangles, n), arguments)
    vanishing = torch.zeros_like(normals, requires_grad=True)
    image = normal_map(index, arguments[0], triangles, vanishing)
    assert (image == 0).all()
    for gradient in torch.autograd.grad(image.sum(), (arguments[0], vanishing)):
        assert (gradient == 0).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2)])
def test_empty_meshes_and_single_pixels(height, width):
    vertices = torch.zeros(2, 0, 3)
    index, _ = rasterize(vertices, NOTHING, height, width)
    assert not silhouette(index).any()
    assert torch.isposinf(depth_map(index, vertices, NOTHING)).all()
    assert torch.equal(normal_map(index, vertices, NOTHING, vertices), torch.zeros(2, height, width, 3))


def test_nan_vertices_spoil_their_own_triangles_only():
    vertices = torch.cat([RAMP, RAMP * float("nan")], 1)
    index, _ = rasterize(vertices, torch.cat([TRIANGLES + 4, TRIANGLES]), 4, 4)
    triangles = torch.cat([TRIANGLES + 4, TRIANGLES])
    torch.testing.assert_close(depth_map(index, vertices, triangles), rasterize(RAMP, TRIANGLES, 4, 4)[1])
    normals = torch.tensor([0.0, 0, 1]).expand(1, 8, 3).clone()
    normals[:, 4:] = float("nan")
    assert torch.equal(normal_map(index, vertices, triangles, normals)[..., 2], torch.ones(1, 4, 4))
