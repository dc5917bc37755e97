import numpy as np
import pytest

from facerecon.geometry.dogleg import minimise_dogleg


def linear(matrix, target):
    return lambda p: (matrix @ p - target, lambda: matrix)


def rosenbrock(p):
    residuals = np.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])
    return residuals, lambda: np.array([[-20 * p[0], 10.0], [-1.0, 0.0]])


def test_linear_problem_in_one_step_if_the_radius_allows():
    rng = np.random.default_rng(0)
    matrix, target = rng.normal(size=(20, 4)), rng.normal(size=20)
    best = np.linalg.lstsq(matrix, target, rcond=None)[0]
    result = minimise_dogleg(linear(matrix, target), np.zeros(4), 100.0, 1, 0.0)
    np.testing.assert_allclose(result.parameters, best, atol=1e-10)
    assert result.iterations == 1


def test_steps_stay_inside_the_trust_region():
    """f = x - 10: the first steps have lengths 0.1 and, after perfect agreement, 2.5 times as much each."""
    seen = []

    def recorded(p):
        seen.append(p[0])
        return p - 10, lambda: np.eye(1)

    minimise_dogleg(recorded, np.zeros(1), 0.1, 3, 0.0)
    np.testing.assert_allclose(np.diff(seen), [0.1, 0.25, 0.625])


def test_dogleg_step_lies_on_the_radius_between_cauchy_and_newton():
    """Residuals (x - 1, 3 (y - 1)): Newton step (1, 1); the Cauchy step (1, 9) 82 / 730 has length 1.017."""
    seen = []

    def recorded(p):
        seen.append(p.copy())
        return np.array([p[0] - 1, 3 * (p[1] - 1)]), lambda: np.diag([1.0, 3.0])

    minimise_dogleg(recorded, np.zeros(2), 1.2, 1, 0.0)
    cauchy, newton = np.array([1.0, 9.0]) * 82 / 730, np.ones(2)
    step = seen[1]
    assert np.linalg.norm(step) == pytest.approx(1.2)
    fraction = (step - cauchy) / (newton - cauchy)
    assert fraction[0] == pytest.approx(fraction[1])
    assert 0 < fraction[0] < 1


def test_rosenbrock():
    result = minimise_dogleg(rosenbrock, np.array([-1.2, 1.0]), 0.1, 200, 0.0)
    np.testing.assert_allclose(result.parameters, [1, 1], atol=1e-8)
    assert result.converged


def test_stops_by_improvement_and_by_limit():
    early = minimise_dogleg(rosenbrock, np.array([-1.2, 1.0]), 0.1, 200, 0.5)
    assert early.converged
    assert np.square(early.residuals).sum() > 1e-3
    limited = minimise_dogleg(rosenbrock, np.array([-1.2, 1.0]), 0.1, 3, 0.0)
    assert not limited.converged
    assert limited.iterations == 3


def test_parameter_without_effect():
    result = minimise_dogleg(
        linear(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, 2.0])), np.zeros(2), 10.0, 50, 0.0
    )
    np.testing.assert_allclose(result.parameters, [1, 0], atol=1e-12)


def test_perfect_start():
    result = minimise_dogleg(linear(np.eye(2), np.zeros(2)), np.zeros(2), 1.0, 10, 0.0)
    assert result == (pytest.approx(np.zeros(2)), pytest.approx(np.zeros(2)), 0, True)
