import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facerecon.geometry.point_to_surface import Surface, point_to_surface, triangle_flatness


def distance_to_segment(point, start, end):
    line = end - start
    along = np.clip((point - start) @ line / max(line @ line, 1e-300), 0, 1)
    return np.linalg.norm(point - start - along * line)


def distance_to_triangle(point, corners):
    """The readable reference: the foot on the plane if it lies inside, else the nearest edge."""
    a, b, c = corners
    nearest = min(distance_to_segment(point, *pair) for pair in ((a, b), (b, c), (c, a)))
    normal = np.cross(b - a, c - a)
    if np.linalg.norm(normal) > 1e-9:
        normal = normal / np.linalg.norm(normal)
        foot = point - normal * ((point - a) @ normal)
        turns = [np.cross(q - p, foot - p) @ normal for p, q in ((a, b), (b, c), (c, a))]
        if min(turns) >= 0:
            nearest = abs((point - a) @ normal)
    return nearest


def slow_distances(points, vertices, triangles):
    return np.array([min(distance_to_triangle(p, vertices[t]) for t in triangles) for p in points])


def test_by_hand():
    """One triangle in the plane z = 0: above its inside, beyond an edge, beyond a corner."""
    vertices = [[0, 0, 0], [4, 0, 0], [0, 4, 0]]
    points = [[1, 1, 2], [1, 1, -2], [2, -3, 4], [-3, -4, 0], [1, 1, 0]]
    distances, closest, triangle = point_to_surface(points, vertices, [[0, 1, 2]])
    np.testing.assert_allclose(distances, [2, 2, 5, 5, 0], atol=1e-12)
    np.testing.assert_allclose(closest, [[1, 1, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0], [1, 1, 0]], atol=1e-12)
    np.testing.assert_array_equal(triangle, 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_matches_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(12, 3)) * rng.uniform(0.01, 100)
    triangles = rng.integers(0, 12, size=(15, 3))  # repeated corners among them
    points = rng.normal(size=(20, 3)) * np.abs(vertices).max()
    distances, closest, triangle = point_to_surface(points, vertices, triangles)
    np.testing.assert_allclose(distances, slow_distances(points, vertices, triangles), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(points - closest, axis=1), distances, rtol=1e-9)
    on_triangle = [distance_to_triangle(p, vertices[triangles[t]]) for p, t in zip(closest, triangle, strict=True)]
    np.testing.assert_allclose(on_triangle, 0, atol=1e-6 * np.abs(vertices).max())


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0, 0], [1, 0, 0], [0.3, 0, 0]],
        [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]],
        [[0, 0, 0], [1, 0, 0], [0.3, 1e-12, 0]],
        [[0, 0, 0], [1, 0, 0], [1, 0, 0]],
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    ],
)
def test_triangles_without_area(corners):
    corners = np.array(corners, float)
    points = np.random.default_rng(0).normal(size=(50, 3))
    expected = [min(distance_to_segment(p, corners[i], corners[i - 1]) for i in range(3)) for p in points]
    np.testing.assert_allclose(point_to_surface(points, corners, [[0, 1, 2]])[0], expected, atol=1e-10)


def test_flatness_by_hand():
    vertices = [[0, 0, 0], [4, 0, 0], [1, 1, 0], [2, 0, 0]]
    np.testing.assert_allclose(triangle_flatness(vertices, [[0, 1, 2], [0, 1, 3], [0, 0, 0]]), [0.25, 0, 0], atol=1e-15)


def test_no_points():
    distances, closest, triangle = Surface(np.eye(3), [[0, 1, 2]]).closest(np.zeros((0, 3)))
    assert (distances.shape, closest.shape, triangle.shape) == ((0,), (0, 3), (0,))


def test_bad_input():
    with pytest.raises(ValueError, match="at least one triangle"):
        Surface(np.eye(3), np.zeros((0, 3), int))
    with pytest.raises(ValueError, match="indices"):
        Surface(np.eye(3), [[0, 1, 3]])
    with pytest.raises(ValueError, match="not finite"):
        Surface(np.full((3, 3), np.nan), [[0, 1, 2]])
    with pytest.raises(ValueError, match=r"\(V, 3\)"):
        Surface(np.eye(2), [[0, 1, 1]])
    surface = Surface(np.eye(3), [[0, 1, 2]])
    with pytest.raises(ValueError, match="not all finite"):
        surface.closest([[0, 0, np.inf]])
    with pytest.raises(ValueError, match=r"\(N, 3\)"):
        surface.closest([0, 0, 0])
