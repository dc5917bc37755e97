import numpy as np
import pytest
import torch

from facerecon.geometry.normals import normals_across_seams, vertex_normals, vertex_normals_torch

OCTAHEDRON_VERTICES = torch.tensor(
    [[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=torch.float64
)
OCTAHEDRON = torch.tensor(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], dtype=torch.int32
)


def random_octahedra(batch, dtype=torch.float64):
    noise = torch.randn(batch, 6, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return OCTAHEDRON_VERTICES.to(dtype) * 10 + noise


def test_normals_point_outward_for_counter_clockwise_triangles():
    torch.testing.assert_close(vertex_normals(OCTAHEDRON_VERTICES[None], OCTAHEDRON)[0], OCTAHEDRON_VERTICES)


def test_triangles_are_weighted_by_area():
    # At the origin meet a triangle of area 1/2 in the xy plane (normal z) and one of area 2 in the yz plane (normal x).
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 2, 0], [0, 0, 2]]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]]))
    torch.testing.assert_close(normals[0, 0], torch.tensor([4.0, 0, 1]) / 17**0.5)
    torch.testing.assert_close(normals[0, 1], torch.tensor([0.0, 0, 1]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_fast_equals_torch_with_gradients(dtype, tolerance):
    vertices = random_octahedra(3, dtype).requires_grad_()
    weights = torch.randn(3, 6, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))
    results = []
    for function in (vertex_normals, vertex_normals_torch):
        normals = function(vertices, OCTAHEDRON)
        (gradient,) = torch.autograd.grad((normals * weights).sum(), vertices)
        results.append((normals.detach(), gradient))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, atol=tolerance, rtol=tolerance)


def test_gradients():
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, OCTAHEDRON), random_octahedra(2).requires_grad_())


def test_vertices_without_area_have_zero_normals_and_gradients():
    # Vertex 3 belongs to no triangle, 4 and 5 only to one without area.
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [2, 2, 2], [3, 3, 3]]], requires_grad=True)
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [4, 5, 4]]))
    normals.sum().backward()
    assert torch.equal(normals[0, 3:], torch.zeros(3, 3))
    assert torch.equal(vertices.grad[0, 3:], torch.zeros(3, 3))
    assert torch.isfinite(vertices.grad).all()


def test_gradients_of_tiny_triangles_are_finite():
    gradients = []
    for function in (vertex_normals, vertex_normals_torch):
        vertices = (OCTAHEDRON_VERTICES[None].float() * 1e-10).requires_grad_()
        (gradient,) = torch.autograd.grad(function(vertices, OCTAHEDRON)[..., 0].sum(), vertices)
        assert torch.isfinite(gradient).all()
        gradients.append(gradient * 1e-10)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_a_seam_makes_no_crease():
    whole = random_octahedra(2)
    copies = torch.tensor([4, 2])
    normals = normals_across_seams(torch.cat([whole, whole[:, copies]], 1), OCTAHEDRON, copies)
    expected = vertex_normals(whole, OCTAHEDRON)
    torch.testing.assert_close(normals, torch.cat([expected, expected[:, copies]], 1))
    torch.testing.assert_close(normals_across_seams(whole, OCTAHEDRON, copies[:0]), expected)


def test_batch_equals_single_on_any_number_of_threads():
    vertices = random_octahedra(5)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        batched = vertex_normals(vertices, OCTAHEDRON)
    finally:
        torch.set_num_threads(threads)
    for i in range(5):
        assert torch.equal(batched[i : i + 1], vertex_normals(vertices[i : i + 1], OCTAHEDRON))


def test_accepts_numpy_triangles_and_empty_meshes():
    assert torch.equal(
        vertex_normals(OCTAHEDRON_VERTICES[None], OCTAHEDRON.numpy().astype(np.int64)),
        vertex_normals(OCTAHEDRON_VERTICES[None], OCTAHEDRON),
    )
    assert vertex_normals(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.int32)).shape == (2, 0, 3)


def test_bad_input():
    vertices = torch.zeros(1, 4, 3)
    with pytest.raises(ValueError, match="vertices"):
        vertex_normals(vertices[0], OCTAHEDRON)
    with pytest.raises(ValueError, match="float32 or float64"):
        vertex_normals(vertices.half(), OCTAHEDRON)
    with pytest.raises(ValueError, match=r"\(F, 3\)"):
        vertex_normals(vertices, torch.zeros(2, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match="int32 or int64"):
        vertex_normals(vertices, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="there are 4"):
        vertex_normals(vertices, torch.tensor([[0, 1, 4]]))
    with pytest.raises(ValueError, match="there are 4"):
        vertex_normals(vertices, torch.tensor([[0, 1, -1]]))
