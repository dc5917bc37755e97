import numpy as np

from facerecon.geometry.barycentric import barycentric_coordinates, interpolation_matrix

CORNERS = np.array([[0.0, 0, 5], [4, 0, 5], [0, 2, 5]])


def test_coordinates_of_corners_middle_and_points_off_the_triangle() -> None:
    points = np.array([[4.0, 0, 5], CORNERS.mean(0), [2, 1, 9], [-4, 0, 5]])
    weights = barycentric_coordinates(points, np.broadcast_to(CORNERS, (4, 3, 3)))
    np.testing.assert_allclose(weights, [[0, 1, 0], [1 / 3] * 3, [0, 0.5, 0.5], [2, -1, 0]], atol=1e-12)


def test_triangle_without_area_stands_for_its_first_corner() -> None:
    flat = np.array([[[1.0, 1, 1], [2, 2, 2], [3, 3, 3]]])
    np.testing.assert_array_equal(barycentric_coordinates(np.array([[2.0, 2, 2]]), flat), [[1, 0, 0]])


def test_matrix_interpolates() -> None:
    matrix = interpolation_matrix(np.array([[2, 0, 1], [3, 3, 1]]), np.array([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]]), 5)
    np.testing.assert_allclose(matrix @ np.array([10.0, 20, 30, 40, 50]), [23, 26])
