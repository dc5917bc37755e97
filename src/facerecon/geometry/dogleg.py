"""Powell's dogleg method for small nonlinear least-squares problems."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Residuals (N,) at a point (P,) and a function that gives their (N, P) Jacobian there, called for accepted points only.
Residuals = Callable[[Array], tuple[Array, Callable[[], Array]]]

_SMALLEST_STEP = 1e-15
_SMALLEST_GRADIENT = 1e-15
_GOOD_AGREEMENT, _POOR_AGREEMENT = 0.9, 0.05
_RADIUS_GROWTH, _RADIUS_SHRINKAGE = 2.5, 0.25


class DoglegResult(NamedTuple):
    """parameters: (P,). residuals: (N,) there. iterations: accepted steps. converged: False if the limit ended it."""

    parameters: Array
    residuals: Array
    iterations: int
    converged: bool


def minimise_dogleg(
    function: Residuals, start: Array, trust_radius: float, max_iterations: int, min_improvement: float
) -> DoglegResult:
    """Minimise the sum of squared residuals from `start` (P,).

    trust_radius: initial radius, one for all parameters together, in their own units. It grows to 2.5 steps where a
    step does better than 0.9 of the linear prediction and shrinks to a quarter below 0.05. max_iterations: limit on
    accepted steps. min_improvement: stop once an accepted step lowers the sum by less than this fraction of it.

    Source: Powell's dogleg as in Lourakis and Argyros, "Is Levenberg-Marquardt the most efficient optimization
    algorithm for implementing bundle adjustment?", ICCV 2005, with Gauss-Newton steps. The constants are those of the
    chumpy library, which the NoW benchmark's official evaluation uses, since its figures depend on where this stops.
    """
    point = np.array(start, np.float64)
    residuals, jacobian_of = function(point)
    total = float(residuals @ residuals)
    radius = trust_radius
    for iteration in range(max_iterations):
        jacobian = jacobian_of()
        normal, descent = jacobian.T @ jacobian, -jacobian.T @ residuals
        if np.abs(descent).max() < _SMALLEST_GRADIENT:
            return DoglegResult(point, residuals, iteration, True)
        cauchy = descent * (descent @ descent) / max(descent @ normal @ descent, np.finfo(float).tiny)
        newton: Array | None = None
        while True:
            if np.linalg.norm(cauchy) >= radius:
                step = cauchy * (radius / np.linalg.norm(cauchy))
            else:
                newton = _solve(normal, descent) if newton is None else newton
                step = _dogleg_step(cauchy, newton, radius)
            if min(np.linalg.norm(step), radius) <= _SMALLEST_STEP * np.linalg.norm(point):
                return DoglegResult(point, residuals, iteration, True)
            trial_residuals, trial_jacobian_of = function(point + step)
            trial_total = float(trial_residuals @ trial_residuals)
            gain = total - trial_total
            agreement = gain / (2 * step @ descent - step @ normal @ step) if gain > 0 else gain
            if agreement > _GOOD_AGREEMENT:
                radius = max(radius, _RADIUS_GROWTH * float(np.linalg.norm(step)))
            elif agreement < _POOR_AGREEMENT:
                radius *= _RADIUS_SHRINKAGE
            if agreement > 0:
                break
        point, residuals, jacobian_of = point + step, trial_residuals, trial_jacobian_of
        if gain / total < min_improvement:
            return DoglegResult(point, residuals, iteration + 1, True)
        total = trial_total
    return DoglegResult(point, residuals, max_iterations, False)


def _dogleg_step(cauchy: Array, newton: Array, radius: float) -> Array:
    """The Gauss-Newton step if it lies inside the trust region, else where the line to it from `cauchy` leaves it."""
    if np.linalg.norm(newton) <= radius:
        return newton
    line = newton - cauchy
    a, b, c = line @ line, cauchy @ line, radius**2 - cauchy @ cauchy
    # Of the two forms of the positive root, the one without cancellation (b is not negative for a descent direction).
    return cauchy + line * (c / (b + np.sqrt(b * b + a * c)))


def _solve(normal: Array, descent: Array) -> Array:
    try:
        return np.linalg.solve(normal, descent)
    except np.linalg.LinAlgError:  # a parameter without effect, such as a rotation of a plane in itself
        return np.linalg.lstsq(normal, descent, rcond=None)[0]
