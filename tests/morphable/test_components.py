import numpy as np

from facerecon.morphable.components import expression_components, mirrored_components

MIRROR = np.array([1, 0, 2])  # vertices 0 and 1 are a pair, vertex 2 lies on the plane


def mirror(shapes: np.ndarray) -> np.ndarray:
    return shapes[..., MIRROR, :] * np.array([-1, 1, 1])


def test_components_of_a_known_population() -> None:
    rng = np.random.default_rng(0)
    symmetric, antisymmetric = np.zeros((3, 3)), np.zeros((3, 3))
    symmetric[:2, 1] = 2.0  # the pair rises together
    antisymmetric[2, 0] = 1.0  # the midline point goes aside
    centre = np.array([[-5.0, 0, 0], [5, 0, 0], [0, 1, 0]])
    coefficients = rng.normal(size=(400, 2))
    samples = centre + coefficients[:, :1, None] * symmetric + coefficients[:, 1:, None] * antisymmetric
    mean, basis, signs = mirrored_components(samples, mirror, 2)
    np.testing.assert_allclose(mean, mirror(mean), atol=1e-12)
    np.testing.assert_allclose(mean, centre, atol=0.2)
    np.testing.assert_allclose(basis[0], symmetric, atol=0.2)
    np.testing.assert_allclose(basis[1], antisymmetric, atol=0.1)
    assert signs.tolist() == [1, -1]


def test_components_mirror_by_their_signs() -> None:
    samples = np.random.default_rng(1).normal(size=(50, 3, 3))
    _, basis, signs = mirrored_components(samples, mirror, 6)
    np.testing.assert_allclose(mirror(basis), signs[:, None, None] * basis, atol=1e-5)
    lengths = np.linalg.norm(basis.reshape(6, -1), axis=1)
    assert (np.diff(lengths) <= 1e-9).all()


def test_expression_components_have_unit_mean_square_and_span_the_targets() -> None:
    rng = np.random.default_rng(2)
    left = rng.normal(size=(3, 3))
    middle = rng.normal(size=(3, 3))
    middle = (middle + mirror(middle)) / 2
    targets = np.stack([left, mirror(left), middle])
    partners = np.array([1, 0, 2])
    weights = rng.random((500, 3))
    weights = np.concatenate([weights, weights[:, partners]])  # exactly symmetric in law
    basis, signs = expression_components(targets, partners, weights, 3)
    flat = basis.reshape(3, -1)
    expressions = np.tensordot(weights, targets, 1).reshape(len(weights), -1)
    coefficients = np.linalg.lstsq(flat.T, expressions.T, rcond=None)[0].T
    np.testing.assert_allclose(coefficients @ flat, expressions, atol=1e-8)
    np.testing.assert_allclose((coefficients**2).mean(0), 1.0, atol=1e-8)
    np.testing.assert_allclose(mirror(basis), signs[:, None, None] * basis, atol=1e-9)
