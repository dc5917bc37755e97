import numpy as np

from facerecon.morphable.texels import fill_outside, locate_texels


def test_texels_of_one_triangle() -> None:
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    texels = locate_texels(uv, np.array([[0, 1, 2]]), 8)
    assert len(texels.rows) in range(28, 37)  # half of 64, the diagonal's eight either way
    values = texels.interpolate(uv)
    np.testing.assert_allclose(values[:, 0], (texels.columns + 0.5) / 8)
    np.testing.assert_allclose(values[:, 1], 1 - (texels.rows + 0.5) / 8)  # row 0 is the top


def test_nearest_value_fills_the_rest() -> None:
    picture, known = np.zeros((1, 5, 1)), np.array([[True, False, False, False, True]])
    picture[0, 0], picture[0, 4] = 2.0, 7.0
    assert fill_outside(picture, known)[0, :, 0].tolist()[:2] == [2.0, 2.0]
    assert fill_outside(picture, known)[0, 3:, 0].tolist() == [7.0, 7.0]
