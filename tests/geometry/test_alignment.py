import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix, similarity_procrustes


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(7, 3)) * 40 + [10, -20, 300]


def test_known_similarity_is_recovered(points):
    rotation, _ = rotation_vector_to_matrix([0.3, -1.2, 2.0])
    known = Similarity(0.03, rotation, np.array([5.0, -6.0, 7.0]))
    scale, found, translation = similarity_procrustes(points, known.apply(points))
    assert scale == pytest.approx(0.03)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(translation, known.translation, atol=1e-9)


def test_by_hand():
    """A quarter turn about z, twice the size, moved by (1, 0, 0)."""
    source = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    target = [[1, 0, 0], [1, 2, 0], [-1, 0, 0], [1, 0, 2]]
    scale, rotation, translation = similarity_procrustes(source, target)
    assert scale == pytest.approx(2)
    np.testing.assert_allclose(rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(translation, [1, 0, 0], atol=1e-12)


def test_reflection_only_where_allowed(points):
    mirrored = points * [-1, 1, 1]
    proper = similarity_procrustes(points, mirrored)
    free = similarity_procrustes(points, mirrored, allow_reflection=True)
    assert np.linalg.det(proper.rotation) == pytest.approx(1)
    assert np.linalg.det(free.rotation) == pytest.approx(-1)
    np.testing.assert_allclose(free.apply(points), mirrored, atol=1e-9)
    assert np.abs(proper.apply(points) - mirrored).max() > 1
    # Points in one plane fit as well either way: not mirrored.
    flat = points * [1, 1, 0]
    assert np.linalg.det(similarity_procrustes(flat, flat * [-1, 1, 1], allow_reflection=True).rotation) > 0


def test_no_other_similarity_fits_better(points):
    rng = np.random.default_rng(1)
    target = points * 0.5 + rng.normal(size=points.shape) * 5
    for with_scale in (True, False):
        best = similarity_procrustes(points, target, with_scale=with_scale)
        assert with_scale or best.scale == 1

        def cost(s):
            return np.square(s.apply(points) - target).sum()

        for _ in range(50):
            step = Similarity(
                1 + 0.01 * rng.normal() * with_scale,
                rotation_vector_to_matrix(0.01 * rng.normal(size=3))[0],
                0.1 * rng.normal(size=3),
            )
            assert cost(step.after(best)) > cost(best)


def test_after_composes(points):
    first = Similarity(2.0, rotation_vector_to_matrix([0.1, 0.2, 0.3])[0], np.array([1.0, 2.0, 3.0]))
    second = Similarity(0.5, rotation_vector_to_matrix([-0.4, 0.0, 0.3])[0], np.array([-1.0, 0.0, 9.0]))
    np.testing.assert_allclose(second.after(first).apply(points), second.apply(first.apply(points)), atol=1e-10)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: np.ones_like(p), "coincide"),
        (lambda p: np.arange(7.0)[:, None] * [[1, 2, 3]], "one line"),
        (lambda p: np.where(np.arange(21).reshape(7, 3) == 4, np.nan, p), "finite"),
    ],
)
def test_degenerate_points_are_named(points, spoil, reason):
    for arguments in ((spoil(points), points), (points, spoil(points))):
        with pytest.raises(InputError, match=reason):
            similarity_procrustes(*arguments)


def test_wrong_shapes(points):
    for source, target in ((points[:2], points[:2]), (points, points[:6]), (points[:, :2], points[:, :2])):
        with pytest.raises(ValueError, match="3D points"):
            similarity_procrustes(source, target)


@pytest.mark.parametrize("vector", [[0, 0, 0], [1e-9, 0, 2e-9], [1e-4, -2e-4, 0], [0.3, -1.0, 0.5], [0, 3.0, 0.4]])
def test_rotation_vector_derivative(vector):
    matrix, derivative = rotation_vector_to_matrix(np.array(vector))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    for i, step in enumerate(1e-5 * np.eye(3)):
        after, before = (rotation_vector_to_matrix(vector + sign * step)[0] for sign in (1, -1))
        np.testing.assert_allclose(derivative[i], (after - before) / 2e-5, atol=1e-8)


def test_rotation_vector_by_hand():
    np.testing.assert_allclose(
        rotation_vector_to_matrix([0, 0, np.pi / 2])[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12
    )
