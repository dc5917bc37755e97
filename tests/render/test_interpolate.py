import pytest
import torch

from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import interpolate_reference

TRIANGLE = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 0, 10]]])
ONE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


def test_position_is_affine_on_a_triangle_parallel_to_the_image():
    index, _ = rasterize(TRIANGLE, ONE, 4, 4)
    image = interpolate(index, TRIANGLE, ONE, TRIANGLE[..., :2].contiguous())
    row, column = (index[0] >= 0).nonzero(as_tuple=True)
    torch.testing.assert_close(image[0, row, column], torch.stack([column + 0.5, row + 0.5], -1))
    assert (image[index < 0] == 0).all()


def test_perspective_by_hand():
    # Half-way between a corner at z = 1 and one at z = 3 in the image, the near corner has weight (1/1)/(1/1 + 1/3).
    vertices = torch.tensor([[[0.5, 0.5, 1.0], [0.5, 8.5, 2.0], [2.5, 0.5, 3.0]]])
    image = interpolate(torch.zeros(1, 1, 2, dtype=torch.int32), vertices, ONE, torch.eye(3)[None])
    torch.testing.assert_close(image[0, 0], torch.tensor([[1.0, 0, 0], [0.75, 0, 0.25]]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("channels", [1, 3, 12])
def test_fast_equals_reference_with_gradients(closed_mesh, dtype, tolerance, channels):
    vertices, triangles = closed_mesh(0, batch=3, vertices=100)
    index, _ = rasterize(vertices, triangles, 32, 30)
    generator = torch.Generator().manual_seed(1)
    vertices = vertices.to(dtype)
    attributes = torch.randn(3, 100, channels, dtype=dtype, generator=generator)
    weights = torch.randn(3, 32, 30, channels, dtype=dtype, generator=generator)
    results = []
    for function, precision in ((interpolate, dtype), (interpolate_reference, torch.float64)):
        inputs = [tensor.detach().to(precision).requires_grad_() for tensor in (vertices, attributes)]
        image = function(index, inputs[0], triangles, inputs[1])
        results.append((image.detach(), *torch.autograd.grad((image * weights).sum(), inputs)))
    for fast, slow in zip(*results, strict=True):
        assert torch.linalg.norm(fast - slow) <= tolerance * torch.linalg.norm(slow)


def test_gradients(closed_mesh):
    vertices, triangles = closed_mesh(2, batch=2, vertices=12, size=10)
    index, _ = rasterize(vertices, triangles, 10, 10)
    vertices = vertices.double().requires_grad_()
    attributes = torch.randn(2, 12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, a: interpolate(index, v, triangles, a), (vertices, attributes))


def test_constant_attributes_stay_constant_and_do_not_move_vertices(closed_mesh):
    vertices, triangles = closed_mesh(4)
    vertices.requires_grad_()
    index, _ = rasterize(vertices, triangles, 32, 32)
    image = interpolate(index, vertices, triangles, torch.full((1, 60, 3), 0.7))
    torch.testing.assert_close(image[index >= 0], torch.full_like(image[index >= 0], 0.7))
    (gradient,) = torch.autograd.grad(image.sum(), vertices)
    assert gradient.abs().max() < 1e-3


def test_a_triangle_without_area_gives_zero_and_finite_gradients():
    vertices = torch.tensor([[[0.0, 0, 10], [1, 1, 10], [2, 2, 10]]], requires_grad=True)
    attributes = torch.ones(1, 3, 2, requires_grad=True)
    image = interpolate(torch.zeros(1, 2, 2, dtype=torch.int32), vertices, ONE, attributes)
    image.sum().backward()
    assert torch.isfinite(image).all()
    assert torch.isfinite(vertices.grad).all() and torch.isfinite(attributes.grad).all()


@pytest.mark.parametrize("scale", [1e12, 1e18, 1e20, 1e30])
def test_huge_triangles_give_finite_values_and_gradients(scale):
    vertices = torch.tensor([[[-1.0, -1, 10], [-1, 3, 10], [3, -1, 10]]]) * torch.tensor([scale, scale, 1])
    index, _ = rasterize(vertices, ONE, 5, 4)
    assert (index == 0).all()
    vertices.requires_grad_()
    attributes = torch.eye(3)[None].requires_grad_()
    image = interpolate(index, vertices, ONE, attributes)
    # Beyond 1e19 the area is more than float32 holds.
    expected = [0.5, 0.25, 0.25] if scale < 1e19 else [0.0, 0, 0]
    torch.testing.assert_close(image, torch.tensor(expected).expand(1, 5, 4, 3))
    for gradient in torch.autograd.grad(image[..., 0].sum(), (vertices, attributes)):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("z", [1e-36, 1e-13, 1e20, 1e36])
def test_depths_of_any_size(z):
    vertices = (TRIANGLE * torch.tensor([1, 1, z / 10])).requires_grad_()
    index, _ = rasterize(vertices, ONE, 4, 4)
    image = interpolate(index, vertices, ONE, torch.eye(3)[None])
    torch.testing.assert_close(image, interpolate(index, TRIANGLE, ONE, torch.eye(3)[None]))
    (gradient,) = torch.autograd.grad(image[..., 0].sum(), vertices)
    assert torch.isfinite(gradient).all() and (gradient[..., 2] * z).abs().max() > 0.1


def test_only_the_gradients_that_are_needed(closed_mesh):
    vertices, triangles = closed_mesh(6)
    index, _ = rasterize(vertices, triangles, 32, 32)
    attributes = torch.rand(1, 60, 2, generator=torch.Generator().manual_seed(0))
    gradients = {}
    for needed in ((True, True), (True, False), (False, True)):
        inputs = [vertices.clone().requires_grad_(needed[0]), attributes.clone().requires_grad_(needed[1])]
        interpolate(index, inputs[0], triangles, inputs[1])[..., 0].sum().backward()
        gradients[needed] = [tensor.grad for tensor in inputs]
    both = gradients[True, True]
    assert torch.equal(gradients[True, False][0], both[0]) and gradients[True, False][1] is None
    assert torch.equal(gradients[False, True][1], both[1]) and gradients[False, True][0] is None


def test_batch_equals_single_on_any_number_of_threads(closed_mesh):
    vertices, triangles = closed_mesh(5, batch=4)
    index, _ = rasterize(vertices, triangles, 32, 32)
    attributes = torch.randn(4, 60, 3, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        batched = interpolate(index, vertices, triangles, attributes)
    finally:
        torch.set_num_threads(threads)
    for i in range(4):
        part = slice(i, i + 1)
        assert torch.equal(batched[part], interpolate(index[part], vertices[part], triangles, attributes[part]))


def test_empty_mesh():
    index = torch.full((2, 3, 4), -1, dtype=torch.int32)
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    image = interpolate(index, torch.zeros(2, 0, 3), nothing, torch.zeros(2, 0, 5))
    assert torch.equal(image, torch.zeros(2, 3, 4, 5))


def test_gradients_that_are_not_contiguous():
    index, _ = rasterize(TRIANGLE, ONE, 4, 4)
    attributes = torch.rand(1, 3, 2, requires_grad=True)
    interpolate(index, TRIANGLE, ONE, attributes).permute(0, 3, 1, 2).sum((2, 3)).sum().backward()
    torch.testing.assert_close(attributes.grad.sum(), 2.0 * (index >= 0).sum())


def test_bad_input():
    index, _ = rasterize(TRIANGLE, ONE, 4, 4)
    attributes = torch.rand(1, 3, 2)
    with pytest.raises(ValueError, match="vertices_pixels"):
        interpolate(index, TRIANGLE[0], ONE, attributes)
    with pytest.raises(ValueError, match="attributes must be"):
        interpolate(index, TRIANGLE, ONE, attributes[:, :2])
    with pytest.raises(ValueError, match="make them equal"):
        interpolate(index, TRIANGLE, ONE, attributes.double())
    with pytest.raises(ValueError, match="triangle_index must be"):
        interpolate(index[0], TRIANGLE, ONE, attributes)
    with pytest.raises(ValueError, match="names triangle 3"):
        interpolate(index + 3, TRIANGLE, ONE, attributes)
