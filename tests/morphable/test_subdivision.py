import numpy as np
import pytest

from facerecon.morphable.subdivision import (
    boundary_loops,
    catmull_clark,
    interpolate_once,
    mirror_faces,
    subdivide,
    triangulate,
)

CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])

# A strip of four quads in the plane z = 0, two on either side of x = 0: vertex 2 k is at (k - 2, 0), 2 k + 1 above it.
STRIP = np.array([[x, y, 0.0] for x in (-2.0, -1.0, 0.0, 1.0, 2.0) for y in (0.0, 1.0)])
STRIP_QUADS = np.array([[2 * k, 2 * k + 2, 2 * k + 3, 2 * k + 1] for k in range(4)])
STRIP_MIRROR = np.array([8, 9, 6, 7, 4, 5, 2, 3, 0, 1])


def row_at(points: np.ndarray, place: tuple[float, float, float]) -> bool:
    return bool((np.abs(points - place).max(1) < 1e-12).any())


def test_catmull_clark_of_a_cube_by_hand() -> None:
    operator, quads = catmull_clark(8, CUBE_QUADS)
    points = operator @ CUBE
    assert points.shape == (26, 3) and quads.shape == (24, 4)
    np.testing.assert_allclose(points[:8], CUBE * 5 / 9, atol=1e-12)  # (F + 2 R + (n - 3) P) / n with n = 3
    assert row_at(points, (0.75, 0.75, 0.0))  # edge point: mean of two ends and two face points
    assert row_at(points, (0.0, 0.0, 1.0))  # face point
    np.testing.assert_allclose(operator.sum(axis=1), 1.0, atol=1e-12)


def test_catmull_clark_boundary_of_a_quad_by_hand() -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    operator, _ = catmull_clark(4, np.array([[0, 1, 2, 3]]))
    points = operator @ square
    np.testing.assert_allclose(points[0], [0.125, 0.125, 0], atol=1e-12)  # 3/4 P + 1/8 of both neighbours
    assert row_at(points, (0.5, 0.0, 0.0)) and row_at(points, (0.5, 0.5, 0.0))


def test_unused_vertices_stay() -> None:
    operator, _ = catmull_clark(9, CUBE_QUADS)
    vertices = np.vstack([CUBE, [7.0, 8.0, 9.0]])
    np.testing.assert_allclose((operator @ vertices)[8], [7, 8, 9])


def test_interpolation_keeps_vertices_and_averages() -> None:
    points = interpolate_once(8, CUBE_QUADS) @ CUBE
    np.testing.assert_array_equal(points[:8], CUBE)
    assert row_at(points, (1.0, 1.0, 0.0)) and row_at(points, (0.0, 1.0, 0.0))


def test_subdivided_mirror_is_geometric() -> None:
    for mesh in subdivide(len(STRIP), STRIP_QUADS, STRIP_MIRROR, 2):
        points = mesh.operator @ STRIP
        np.testing.assert_allclose(points[mesh.mirror] * [-1, 1, 1], points, atol=1e-12)
        np.testing.assert_array_equal(mesh.mirror[mesh.mirror], np.arange(len(points)))


def test_triangulation_is_symmetric_and_keeps_orientation() -> None:
    skewed = STRIP + np.array([0.0, 0.3, 0.0]) * (STRIP[:, :1] ** 2) * STRIP[:, 1:2]
    triangles = triangulate(STRIP_QUADS, skewed, STRIP_MIRROR)
    mirror_faces(triangles, STRIP_MIRROR)
    normals = np.cross(
        skewed[triangles[:, 1]] - skewed[triangles[:, 0]], skewed[triangles[:, 2]] - skewed[triangles[:, 0]]
    )
    assert (normals[:, 2] > 0).all()


def test_triangulation_refuses_a_quad_across_the_mirror_plane() -> None:
    quad = np.array([[0, 1, 2, 3]])
    with pytest.raises(ValueError, match="own mirror image"):
        triangulate(quad, np.array([[-1.0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 0]]), np.array([1, 0, 3, 2]))


def test_mirror_faces_refuses_an_open_set() -> None:
    with pytest.raises(ValueError, match="not closed"):
        mirror_faces(STRIP_QUADS[:1], STRIP_MIRROR)


def test_boundary_loop_of_a_strip() -> None:
    (loop,) = boundary_loops(STRIP_QUADS)
    assert loop.tolist() == [0, 2, 4, 6, 8, 9, 7, 5, 3, 1]
    assert boundary_loops(CUBE_QUADS) == []
