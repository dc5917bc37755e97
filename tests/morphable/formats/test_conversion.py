import numpy as np
import pytest
from publisher_files import outward_volume, small_face

from facerecon.errors import InputError
from facerecon.morphable.formats.conversion import linear_albedo, orient_outwards, place_on_vertices, sample_texture


@pytest.mark.parametrize("flipped", [False, True])
def test_triangles_face_outwards(flipped: bool) -> None:
    vertices, triangles = small_face()
    given = triangles[:, ::-1] if flipped else triangles
    found, turned = orient_outwards(vertices + 1000, given)
    assert turned == flipped and found.dtype == np.int32
    assert outward_volume(vertices, found) > 0
    np.testing.assert_array_equal(np.sort(found, 1), np.sort(triangles, 1))


def test_landmarks_on_vertices() -> None:
    triangles = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    index, weights = place_on_vertices("f", np.array([3, 1]), triangles)
    assert index.tolist() == [1, 0] and weights.tolist() == [[0, 0, 1], [0, 1, 0]]
    for missing in (4, 7):
        with pytest.raises(InputError, match="in no triangle"):
            place_on_vertices("f", np.array([missing]), np.array([[0, 1, 2], [2, 1, 5]], np.int32))


def test_albedo_follows_the_curve_to_first_order() -> None:
    mean, basis = np.array([[0.02, 0.5, 0.8]]), np.full((1, 1, 3), 0.05)
    linear, slope = linear_albedo(mean, basis)
    np.testing.assert_allclose(linear[0], [0.02 / 12.92, 0.21404, 0.60383], atol=1e-5)
    exact = ((mean[0] + 0.05 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose((linear + slope[0])[0, 1:], exact[1:], atol=0.005)
    np.testing.assert_allclose(slope[0, 0, 0], 0.05 / 12.92, atol=1e-7)


def test_texture_rows_start_at_the_top() -> None:
    texture = np.arange(4.0).reshape(2, 2, 1)  # 0 1 above 2 3
    uv = np.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0, 1], [1, 0]])
    np.testing.assert_allclose(sample_texture(texture, uv)[:, 0], [0, 3, 1.5, 0, 3])
