import numpy as np

from facerecon.geometry.laplacian import cotangent_laplacian, vertex_areas

SQUARE = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]])
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def test_weights_of_a_square() -> None:
    """Opposite to its sides are angles of 45 degrees (cotangent 1), to the diagonal right ones (0, raised to 0.05)."""
    side, diagonal = 0.5, 0.05
    expected = -np.array([[0, side, diagonal, side], [side, 0, side, 0], [diagonal, side, 0, side], [side, 0, side, 0]])
    expected -= np.diag(expected.sum(1))
    np.testing.assert_allclose(cotangent_laplacian(SQUARE, HALVES).toarray(), expected, atol=1e-12)


def test_linear_functions_are_harmonic_inside() -> None:
    rng = np.random.default_rng(0)
    angles = np.arange(7) * 2 * np.pi / 7 + rng.uniform(-0.05, 0.05, 7)
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1) * rng.uniform(0.95, 1.05, (7, 1))
    triangles = np.stack([np.full(7, 7), np.arange(7), np.roll(np.arange(7), -1)], 1)
    vertices = np.concatenate([ring, [[0.1, -0.05, 0]]])
    np.testing.assert_allclose((cotangent_laplacian(vertices, triangles) @ vertices)[7], 0, atol=1e-12)


def test_areas_sum_to_the_surface() -> None:
    np.testing.assert_allclose(vertex_areas(SQUARE, HALVES), [4 / 3, 2 / 3, 4 / 3, 2 / 3])
