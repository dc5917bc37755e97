import numpy as np
import pytest
import torch

from facerecon.geometry.spherical_harmonics import SH_CONSTANTS, sh_basis


def test_constants_are_the_published_ones():
    published = [0.282095, 0.488603, 0.488603, 0.488603, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]
    np.testing.assert_allclose(SH_CONSTANTS, published, atol=5e-7)


@pytest.mark.parametrize(
    ("normal", "expected"),
    [
        ([0, 0, 1], [0.282095, 0, 0.488603, 0, 0, 0, 0.630783, 0, 0]),
        ([1, 0, 0], [0.282095, 0, 0, 0.488603, 0, 0, -0.315392, 0, 0.546274]),
        ([0, -1, 0], [0.282095, -0.488603, 0, 0, 0, 0, -0.315392, 0, -0.546274]),
        ([0.6, 0.8, 0], [0.282095, 0.390882, 0, 0.293162, 0.524423, 0, -0.315392, 0, -0.152957]),
        ([0.6, 0, 0.8], [0.282095, 0, 0.390882, 0.293162, 0, 0, 0.290161, 0.524423, 0.196659]),
    ],
)
def test_values_by_hand(normal, expected):
    np.testing.assert_allclose(sh_basis(np.array(normal, np.float64)), expected, atol=1e-6)


def test_basis_is_orthonormal_over_the_sphere():
    # Gauss-Legendre in z times an even grid in azimuth integrates polynomials of this degree exactly.
    z, weight = np.polynomial.legendre.leggauss(6)
    azimuth = 2 * np.pi * np.arange(8) / 8
    ring = np.sqrt(1 - z * z)[:, None]
    x, y = ring * np.cos(azimuth), ring * np.sin(azimuth)
    basis = sh_basis(np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], -1))
    gram = np.einsum("ijk,ijl,i->kl", basis, basis, weight) * 2 * np.pi / 8
    np.testing.assert_allclose(gram, np.eye(9), atol=1e-12)


def test_torch_equals_numpy_and_keeps_shape_and_dtype():
    normals = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    result = sh_basis(torch.from_numpy(normals))
    assert result.shape == (2, 5, 9) and result.dtype == torch.float32
    assert sh_basis(normals).dtype == np.float32
    np.testing.assert_allclose(result.numpy(), sh_basis(normals), rtol=1e-6)


def test_bad_shape():
    with pytest.raises(ValueError, match=r"\(\.\.\., 3\)"):
        sh_basis(np.zeros((4, 2)))
