"""The Triton kernels and numba, compared bit for bit: run by test_triton.py in a process of its own.

Under TRITON_INTERPRET=1 the kernels run on the CPU, otherwise on CUDA. Triton reads that variable when it is imported,
so that no process that has run other tests will do.
"""

import os

import pytest
import torch

from facerecon.render.backends import triton_cuda
from facerecon.render.interpolate import interpolate
from facerecon.render.mesh import render_mesh
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import interpolate_reference

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
RIGHT_TRIANGLE = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10]]])
ONE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


def bits(tensor):
    return tensor.contiguous().view({4: torch.int32, 8: torch.int64}[tensor.element_size()])


def assert_rasterized_alike(vertices, triangles, height, width, cull=True):
    """Equal indices and depths by numba and by Triton; returns them."""
    index, depth = rasterize(vertices, triangles, height, width, cull, "cpu")
    own_index, own_depth = rasterize(vertices.to(DEVICE), triangles, height, width, cull, "triton")
    assert own_index.dtype == torch.int32 and own_depth.dtype == torch.float32
    assert own_index.device == own_depth.device == vertices.to(DEVICE).device
    assert torch.equal(own_index.cpu(), index)
    assert torch.equal(bits(own_depth.cpu()), bits(depth))
    return index, depth


@pytest.mark.parametrize("cull", [True, False])
def test_closed_mesh_of_2000_triangles(closed_mesh, monkeypatch, cull):
    if DEVICE == "cpu":
        # The interpreter takes as long for a program of 32 triangles as for one of 256.
        monkeypatch.setitem(triton_cuda.DRAW_SMALL, "TRIANGLES", 256)
    vertices, triangles = closed_mesh(0, batch=2, vertices=1002, size=64)
    assert len(triangles) == 2000
    index, _ = assert_rasterized_alike(vertices, triangles, 64, 60, cull)
    assert (index >= 0).float().mean() > 0.3


def test_float64_vertices(closed_mesh):
    vertices, triangles = closed_mesh(1, vertices=100)
    generator = torch.Generator().manual_seed(0)
    vertices = vertices.double() + 1e-9 * torch.randn(vertices.shape, dtype=torch.float64, generator=generator)
    assert_rasterized_alike(vertices, triangles, 32, 32)


@pytest.mark.parametrize("seed", range(3))
def test_pixel_centres_on_edges_and_vertices(planar_mesh, seed):
    vertices, triangles = planar_mesh(seed)
    index, _ = assert_rasterized_alike(vertices, triangles, 16, 15)
    assert (index >= 0).all()


def test_small_triangles_among_some_that_fill_the_screen(closed_mesh):
    vertices, triangles = closed_mesh(2, batch=2, vertices=50, size=32)
    tilted = torch.tensor([[-1.0, -1, 9], [-1, 25, 8], [35, -1, 7.5]]).expand(2, 3, 3)
    far = torch.tensor([[-1e9, -1e9, 10], [-1e9, 3e9, 10], [3e9, -1e9, 10]]).expand(2, 3, 3)
    count = vertices.shape[1]
    vertices = torch.cat([vertices, tilted, far], 1)
    triangles = torch.cat([ONE + count, triangles, ONE + count + 3])
    index, _ = assert_rasterized_alike(vertices, triangles, 32, 34)
    assert (index >= 0).all()
    drawn = [(index == f).sum(dim=(1, 2)).min().item() for f in (0, len(triangles) - 1)]
    assert min(drawn) > 100 and ((index > 0) & (index < len(triangles) - 1)).sum() > 100


@pytest.mark.parametrize("largest", [1, 20, 10**6])
def test_the_border_between_small_and_large_triangles_changes_nothing(closed_mesh, planar_mesh, monkeypatch, largest):
    monkeypatch.setitem(triton_cuda.DRAW_SMALL, "LARGEST", largest)
    monkeypatch.setattr(triton_cuda, "_LARGE_PROGRAMS", 3)
    assert_rasterized_alike(*closed_mesh(3, batch=2, vertices=20, size=16), 16, 16, cull=False)
    assert_rasterized_alike(*planar_mesh(3, vertices=20, size=8), 8, 8)


def test_of_surfaces_at_equal_depth_the_first_wins():
    # In several programs, and large ones among small ones.
    index, _ = assert_rasterized_alike(RIGHT_TRIANGLE, ONE.expand(100, 3), 4, 4)
    assert index.max() == 0
    large = torch.tensor([[[-40.0, -40, 10], [-40, 80, 10], [80, -40, 10]]])
    vertices, triangles = torch.cat([RIGHT_TRIANGLE, large], 1), torch.cat([ONE, ONE + 3])
    for order in (triangles, triangles.flip(0)):
        index, depth = assert_rasterized_alike(vertices, order, 20, 20)
        assert (index >= 0).all() and (depth == 10).all()


def test_degenerate_triangles():
    bad = float("nan"), float("inf"), -float("inf"), 1e30
    vertices = RIGHT_TRIANGLE.repeat(20, 1, 1)
    for i, value in enumerate(bad):
        vertices[4 * i, 1, 0] = vertices[4 * i + 1, 2, 1] = vertices[4 * i + 2, 0, 2] = value
        vertices[4 * i + 3, 2, 2] = value
    vertices[16, :, 2] = torch.tensor([10, 0.0, 10])
    vertices[17, :, 2] = torch.tensor([10, 10, -1.0])
    vertices[18, 2] = vertices[18, 1]
    vertices[19, :, 1] = 2 * vertices[19, :, 0]
    for cull in (True, False):
        assert_rasterized_alike(vertices, ONE, 4, 4, cull)
    # They do no harm to the others.
    together = torch.cat([*vertices[16:].split(1), *vertices[:12].split(1), RIGHT_TRIANGLE], 1)
    triangles = torch.arange(51, dtype=torch.int32).reshape(17, 3)
    index, _ = assert_rasterized_alike(together, triangles, 4, 4)
    assert index.max() == 16
    # Depths whose inverses are infinite or zero in float32.
    for z in (1e-42, 1e-38, 1e38):
        assert_rasterized_alike(RIGHT_TRIANGLE * torch.tensor([1, 1, z / 10]), ONE, 4, 4)
    assert_rasterized_alike(RIGHT_TRIANGLE.double() * torch.tensor([1, 1, 1e300]), ONE, 4, 4)


@pytest.mark.parametrize("shift", [(100.0, 0.0), (-100.0, 0.0), (0.0, 100.0), (0.0, -100.0), (1e30, -1e30)])
def test_triangles_outside_the_image(shift):
    index, _ = assert_rasterized_alike(RIGHT_TRIANGLE + torch.tensor([*shift, 0]), ONE, 4, 4)
    assert (index == -1).all()


def test_one_pixel():
    index, depth = assert_rasterized_alike(RIGHT_TRIANGLE - torch.tensor([0.0, 2, 0]), ONE, 1, 1)
    assert index.item() == 0 and depth.item() == 10
    image = interpolate(index.to(DEVICE), RIGHT_TRIANGLE.to(DEVICE), ONE, torch.eye(3, device=DEVICE)[None], "triton")
    assert torch.equal(image.cpu(), interpolate(index, RIGHT_TRIANGLE, ONE, torch.eye(3)[None], "cpu"))


def test_empty_meshes_batches_and_attributes():
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    index, _ = assert_rasterized_alike(torch.zeros(2, 0, 3), nothing, 3, 4)
    assert_rasterized_alike(torch.zeros(0, 3, 3), ONE, 3, 4)
    for vertices, triangles, channels in ((torch.zeros(2, 0, 3), nothing, 5), (RIGHT_TRIANGLE.repeat(2, 1, 1), ONE, 0)):
        vertices = vertices.to(DEVICE).requires_grad_()
        attributes = torch.zeros(2, vertices.shape[1], channels, device=DEVICE)
        image = interpolate(index.to(DEVICE), vertices, triangles, attributes, "triton")
        assert torch.equal(image.cpu(), torch.zeros(2, 3, 4, channels))
        image.sum().backward()
        assert (vertices.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 12])
def test_interpolation_and_its_gradients(closed_mesh, dtype, channels):
    vertices, triangles = closed_mesh(4, batch=2, vertices=300)
    index, _ = rasterize(vertices, triangles, 32, 30)
    generator = torch.Generator().manual_seed(1)
    vertices = vertices.to(dtype)
    attributes = torch.randn(2, 300, channels, dtype=dtype, generator=generator)
    weights = torch.randn(2, 32, 30, channels, dtype=dtype, generator=generator)

    def result(function, device, to_dtype, *backend):
        inputs = [tensor.to(device, to_dtype).requires_grad_() for tensor in (vertices, attributes)]
        image = function(index.to(device), inputs[0], triangles.to(device), inputs[1], *backend)
        gradients = torch.autograd.grad((image * weights.to(image)).sum(), inputs)
        return [tensor.detach().cpu() for tensor in (image, *gradients)]

    image, *gradients = result(interpolate, DEVICE, dtype, "triton")
    assert torch.equal(bits(image), bits(result(interpolate, "cpu", dtype, "cpu")[0]))
    _, *expected = result(interpolate_reference, "cpu", torch.float64)
    # Triangles of a fraction of a pixel: float32 positions alone are worth 2e-6 of them.
    tolerance = 1e-5 if dtype == torch.float32 else 1e-11
    for gradient, exact in zip(gradients, expected, strict=True):
        assert torch.linalg.norm(gradient - exact) <= tolerance * torch.linalg.norm(exact)


def test_a_triangle_without_area_gives_zero_and_finite_gradients():
    vertices = torch.tensor([[[0.0, 0, 10], [1, 1, 10], [2, 2, 10]]], device=DEVICE, requires_grad=True)
    attributes = torch.ones(1, 3, 2, device=DEVICE, requires_grad=True)
    image = interpolate(torch.zeros(1, 2, 2, dtype=torch.int32, device=DEVICE), vertices, ONE, attributes, "triton")
    image.sum().backward()
    assert (image == 0).all()
    assert torch.isfinite(vertices.grad).all() and torch.isfinite(attributes.grad).all()


@pytest.mark.parametrize("scale", [1e18, 1e30])
def test_huge_triangles_give_finite_values_and_gradients(scale):
    vertices = torch.tensor([[[-1.0, -1, 10], [-1, 3, 10], [3, -1, 10]]]) * torch.tensor([scale, scale, 1])
    index, _ = assert_rasterized_alike(vertices, ONE, 5, 4)
    assert (index == 0).all()
    leaves = [tensor.to(DEVICE).requires_grad_() for tensor in (vertices, torch.eye(3)[None])]
    image = interpolate(index.to(DEVICE), leaves[0], ONE, leaves[1], "triton")
    assert torch.equal(bits(image.detach().cpu()), bits(interpolate(index, vertices, ONE, torch.eye(3)[None], "cpu")))
    for gradient in torch.autograd.grad(image[..., 0].sum(), leaves):
        assert torch.isfinite(gradient).all()


def test_only_the_gradients_that_are_needed():
    index, _ = rasterize(RIGHT_TRIANGLE, ONE, 4, 4)
    vertices, attributes = RIGHT_TRIANGLE.to(DEVICE), torch.eye(3, device=DEVICE)[None]
    both = [tensor.clone().requires_grad_() for tensor in (vertices, attributes)]
    interpolate(index.to(DEVICE), *both[:1], ONE, both[1], "triton")[..., 0].sum().backward()
    only = [tensor.clone().requires_grad_() for tensor in (vertices, attributes)]
    interpolate(index.to(DEVICE), only[0], ONE, attributes, "triton")[..., 0].sum().backward()
    interpolate(index.to(DEVICE), vertices, ONE, only[1], "triton")[..., 0].sum().backward()
    for found, expected in zip(only, both, strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_render_mesh(closed_mesh):
    vertices, triangles = closed_mesh(5, vertices=50)
    colours = torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(0))
    image, mask = render_mesh(vertices, triangles, colours, 32, 30, backend="cpu")
    own_image, own_mask = render_mesh(vertices.to(DEVICE), triangles, colours.to(DEVICE), 32, 30, backend="triton")
    assert torch.equal(own_image.cpu(), image) and torch.equal(own_mask.cpu(), mask)
