"""Our rasteriser and PyTorch3D's. Figures at 70,000 triangles: benchmarks/pytorch3d_parity.py."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from facerecon.errors import InputError
from facerecon.render.backends import pytorch3d_adapter
from facerecon.render.backends.pytorch3d_adapter import pixels_to_ndc
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize

ENVIRONMENT = Path(__file__).parents[3] / "envs" / "pytorch3d.yaml"
MODULES = "pytorch3d.structures", "pytorch3d.renderer.mesh.rasterize_meshes"

needs_pytorch3d = pytest.mark.skipif(
    importlib.util.find_spec("pytorch3d") is None,
    reason="PyTorch3D is not installed: run this test in the environment of envs/pytorch3d.yaml",
)

RIGHT_TRIANGLE = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10]]])
ONE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


def torus(around: int, across: int, height: int, width: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of a closed uneven surface that hides parts of itself: (batch, V, 3) pixels and 2 V triangles."""
    i, j = torch.meshgrid(torch.arange(around), torch.arange(across), indexing="ij")
    u, v = 2 * math.pi * i / around, 2 * math.pi * j / across
    radius = 0.45 + 0.05 * torch.sin(5 * u) * torch.cos(3 * v)
    ring = 1 + radius * v.cos()
    x, y, z = (axis.flatten() for axis in (ring * u.cos(), ring * u.sin(), radius * v.sin()))
    angle = torch.linspace(0.9, 0.6, batch)[:, None]
    depth = 5 + angle.sin() * x - angle.cos() * z
    across_image, up_image = angle.cos() * x + angle.sin() * z, y.expand_as(depth)
    focal = 1.5 * min(height, width)
    pixels = [width / 2 + focal * across_image / depth, height / 2 - focal * up_image / depth, depth]
    next_i, next_j = (i + 1) % around, (j + 1) % across
    corners = i * across + j, next_i * across + j, next_i * across + next_j, i * across + next_j
    a, b, c, d = (corner.flatten() for corner in corners)
    triangles = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)])
    return torch.stack(pixels, -1), triangles.int()


def assert_same(found, expected, least_share=0.999):
    """Equal indices in that share of the pixels, and depths equal where the indices are."""
    same = found[0] == expected[0]
    assert same.float().mean() >= least_share
    torch.testing.assert_close(found[1][same], expected[1][same], rtol=1e-3, atol=0)
    assert torch.equal(found[0] < 0, found[1].isinf())
    assert found[0].dtype == torch.int32 and found[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("height", "width", "pixel", "expected"),
    [
        # Square: x_ndc = 1 - 2 x / 4.
        (4, 4, (0.0, 0.0), (1.0, 1.0)),
        (4, 4, (3.5, 0.5), (-0.75, 0.75)),
        # The height spans [-1, 1], the width [-1.5, 1.5]; and the other way round.
        (4, 6, (0.0, 0.0), (1.5, 1.0)),
        (4, 6, (3.0, 2.0), (0.0, 0.0)),
        (4, 6, (5.5, 3.5), (-1.25, -0.75)),
        (6, 4, (4.0, 6.0), (-1.0, -1.5)),
    ],
)
def test_ndc_by_hand(height, width, pixel, expected):
    ndc = pixels_to_ndc(torch.tensor([[[*pixel, 7.0]]]), height, width)
    assert torch.equal(ndc, torch.tensor([[[*expected, 7.0]]]))


def test_ndc_is_differentiable():
    vertices = torch.rand(1, 2, 3, dtype=torch.float64, requires_grad=True)
    pixels_to_ndc(vertices, 4, 8).sum().backward()
    assert torch.equal(vertices.grad, torch.tensor([-0.5, -0.5, 1], dtype=torch.float64).expand(1, 2, 3))


def test_without_pytorch3d_the_remedy_is_named(monkeypatch):
    for name in ("pytorch3d", *MODULES):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"envs/pytorch3d\.yaml") as error:
        pytorch3d_adapter.rasterize(RIGHT_TRIANGLE, ONE, 4, 4)
    assert "\n" not in str(error.value)


def test_the_environment_named_in_the_remedy_has_pytorch3d():
    environment = yaml.safe_load(ENVIRONMENT.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    names = [dependency.split("=")[0] for dependency in environment["dependencies"]]
    assert {"python", "pip", "pytorch", "pytorch3d"} <= set(names)


@pytest.fixture
def stand_in(monkeypatch):
    """A function putting another `rasterize_meshes` in the place of PyTorch3D's; meshes arrive as (vertices, faces)."""

    def put(rasterize_meshes):
        structures, module = (ModuleType(name) for name in MODULES)
        structures.Meshes = lambda vertices, faces: (vertices, faces)
        module.rasterize_meshes = rasterize_meshes
        monkeypatch.setitem(sys.modules, MODULES[0], structures)
        monkeypatch.setitem(sys.modules, MODULES[1], module)

    return put


def test_packed_indices_come_back_as_indices_of_the_mesh(stand_in):
    # Of three triangles image 0 keeps 0 and 2, image 1 keeps 1 and 2; packed they are 0, 1 and 2, 3.
    def rasterize_meshes(meshes, image_size, **options):
        assert image_size == (1, 3) and options["cull_backfaces"] is True and options["perspective_correct"] is True
        assert [faces.tolist() for faces in meshes[1]] == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [6, 7, 8]]]
        index = torch.tensor([[[0, 1, -1]], [[-1, 2, 3]]])[..., None]
        return index, torch.where(index < 0, -1.0, 10.0 + index), None, None

    stand_in(rasterize_meshes)
    vertices = torch.full((2, 9, 3), 10.0)
    vertices[0, 4, 0], vertices[1, 1, 2] = math.nan, 0.0
    index, depth = pytorch3d_adapter.rasterize(vertices, torch.arange(9, dtype=torch.int32).view(3, 3), 1, 3, True)
    assert torch.equal(index, torch.tensor([[[0, 2, -1]], [[-1, 1, 2]]]).int())
    assert torch.equal(depth, torch.tensor([[[10, 11, math.inf]], [[math.inf, 12, 13]]]))


def test_a_build_without_cuda_is_named(stand_in):
    def rasterize_meshes(*_, **options):
        raise RuntimeError("Not compiled with GPU support.")

    stand_in(rasterize_meshes)
    with pytest.raises(InputError, match="built for the CPU"):
        pytorch3d_adapter.rasterize(RIGHT_TRIANGLE, ONE, 4, 4)


@needs_pytorch3d
@pytest.mark.parametrize(("around", "across", "cull"), [(40, 25, False), (100, 50, True)])
def test_triangle_index_and_depth_of_a_closed_mesh(around, across, cull):
    vertices, triangles = torus(around, across, 224, 224)
    expected = rasterize(vertices, triangles, 224, 224, cull, backend="cpu")
    assert 0.3 < (expected[0] >= 0).float().mean() < 0.9
    assert_same(rasterize(vertices, triangles, 224, 224, cull, backend="pytorch3d"), expected)


@needs_pytorch3d
@pytest.mark.parametrize(("height", "width"), [(60, 100), (100, 60), (64, 65)])
@pytest.mark.parametrize("cull", [True, False])
def test_images_that_are_not_square(height, width, cull):
    vertices, triangles = torus(30, 20, height, width, batch=2)
    expected = rasterize(vertices, triangles, height, width, cull, backend="cpu")
    assert (expected[0] >= 0).float().mean() > 0.2
    assert_same(pytorch3d_adapter.rasterize(vertices, triangles, height, width, cull), expected)


@needs_pytorch3d
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 1)])
def test_a_single_row_or_pixel(height, width):
    vertices = torch.tensor([[[-2.0, -1, 10], [-1, 5.2, 20], [8, -1.3, 30]]])
    expected = rasterize(vertices, ONE, height, width, backend="cpu")
    assert (expected[0] == 0).any()
    assert_same(pytorch3d_adapter.rasterize(vertices, ONE, height, width), expected, least_share=1)


@needs_pytorch3d
def test_culling_leaves_out_the_same_side():
    vertices, triangles = torus(30, 20, 80, 80)
    behind = triangles.flip(1)
    seen, inside = (rasterize(vertices, triangles, 80, 80, cull, backend="cpu") for cull in (True, False))
    assert torch.equal(seen[0], inside[0])
    from_behind = rasterize(vertices, behind, 80, 80, True, backend="cpu")
    assert (from_behind[0] != seen[0])[seen[0] >= 0].float().mean() > 0.99
    assert_same(pytorch3d_adapter.rasterize(vertices, behind, 80, 80, True), from_behind)
    assert_same(pytorch3d_adapter.rasterize(vertices, behind, 80, 80, False), seen)


@needs_pytorch3d
@pytest.mark.parametrize("cull", [True, False])
def test_gradients(cull):
    height, width = 112, 128
    vertices, triangles = torus(40, 25, height, width, batch=2)
    generator = torch.Generator().manual_seed(0)
    attributes = torch.randn(*vertices.shape[:2], 4, generator=generator)
    gradient = torch.randn(2, height, width, 4, generator=generator)
    index, _ = rasterize(vertices, triangles, height, width, cull, backend="cpu")
    leaves = vertices.requires_grad_(), attributes.requires_grad_()
    ours = interpolate(index, vertices, triangles, attributes)
    theirs, their_index = interpolate_by_pytorch3d(vertices, triangles, attributes, height, width, cull)
    same = (their_index == index)[..., None]
    assert same.float().mean() >= 0.999
    assert relative_difference(ours * same, theirs * same) < 1e-3
    our_gradients, their_gradients = (torch.autograd.grad(image, leaves, gradient * same) for image in (ours, theirs))
    assert relative_difference(our_gradients[0][..., :2], their_gradients[0][..., :2]) < 1e-3
    assert relative_difference(our_gradients[0][..., 2], their_gradients[0][..., 2]) < 1e-3
    assert relative_difference(our_gradients[1], their_gradients[1]) < 1e-3


def interpolate_by_pytorch3d(vertices, triangles, attributes, height, width, cull):
    """The image and its triangle_index, by PyTorch3D alone but for the change of axes."""
    from pytorch3d.ops import interpolate_face_attributes
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    triangles = triangles.long()
    meshes = Meshes(list(pixels_to_ndc(vertices, height, width)), [triangles] * len(vertices))
    index, _, weights, _ = rasterize_meshes(
        meshes, (height, width), faces_per_pixel=1, perspective_correct=True, cull_backfaces=cull
    )
    image = interpolate_face_attributes(index, weights, attributes[:, triangles].flatten(0, 1))[..., 0, :]
    return image, torch.where(index < 0, -1, index % len(triangles))[..., 0]


def relative_difference(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@needs_pytorch3d
def test_a_centre_on_a_shared_edge_is_a_hole_in_pytorch3d_and_belongs_to_one_triangle_in_ours():
    square = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10], [4, 0, 10]]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    index, _ = pytorch3d_adapter.rasterize(square, triangles, 4, 4)
    assert torch.equal(index[0] < 0, torch.eye(4).bool())
    assert (rasterize(square, triangles, 4, 4, backend="cpu")[0] >= 0).all()


@needs_pytorch3d
def test_degenerate_triangles_are_left_out():
    bad = math.nan, math.inf, -math.inf
    vertices = RIGHT_TRIANGLE.repeat(14, 1, 1)
    for i, value in enumerate(bad):
        vertices[3 * i, 1, 0] = vertices[3 * i + 1, 2, 1] = vertices[3 * i + 2, 0, 2] = value
    vertices[9, :, 2] = torch.tensor([10, 0.0, 10])
    vertices[10, :, 2] = torch.tensor([10, 10, -1.0])
    vertices[11, 2] = vertices[11, 1]
    vertices[12, :, 1] = 2 * vertices[12, :, 0]
    vertices[13, :, :2] = 1.5
    for cull in (True, False):
        index, depth = pytorch3d_adapter.rasterize(vertices, ONE, 4, 4, cull)
        assert (index == -1).all() and depth.isinf().all()
    # They do no harm to other triangles and other images.
    for place in (0, 7, 14):
        images = torch.cat([vertices[:place], RIGHT_TRIANGLE, vertices[place:]])
        index, _ = pytorch3d_adapter.rasterize(images, ONE, 4, 4)
        assert index[place].amax() == 0 and (index.flatten(1).amax(1) == 0).sum() == 1
        mesh, triangles = images.reshape(1, 45, 3), torch.arange(45, dtype=torch.int32).view(15, 3)
        index, depth = pytorch3d_adapter.rasterize(mesh, triangles, 4, 4)
        assert torch.equal(index == place, rasterize(RIGHT_TRIANGLE, ONE, 4, 4, backend="cpu")[0] == 0)
        assert torch.equal(depth == 10, index >= 0)


@needs_pytorch3d
def test_empty_meshes_and_batches():
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    index, depth = pytorch3d_adapter.rasterize(torch.zeros(2, 0, 3), nothing, 3, 4)
    assert (index == -1).all() and depth.isinf().all() and index.shape == depth.shape == (2, 3, 4)
    assert pytorch3d_adapter.rasterize(torch.zeros(0, 3, 3), ONE, 3, 4)[0].shape == (0, 3, 4)


@needs_pytorch3d
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_triangles_fill_the_image_or_are_left_out(dtype):
    triangle = torch.tensor([[[-1.0, -1, 10], [-1, 3, 10], [3, -1, 10]]], dtype=dtype)
    for scale, expected in ((1e4, 0), (1e9, 0), (1e30, -1)):
        vertices = triangle * torch.tensor([scale, scale, 1], dtype=dtype)
        index, depth = pytorch3d_adapter.rasterize(vertices, ONE, 5, 4)
        assert (index == expected).all()
        torch.testing.assert_close(depth, torch.full((1, 5, 4), math.inf if expected else 10.0))


@needs_pytorch3d
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_image_of_the_cpu():
    vertices, triangles = torus(40, 25, 112, 128, batch=3)
    index, depth = pytorch3d_adapter.rasterize(vertices.cuda(), triangles.cuda(), 112, 128)
    assert index.is_cuda and depth.is_cuda
    assert_same((index.cpu(), depth.cpu()), pytorch3d_adapter.rasterize(vertices, triangles, 112, 128))
