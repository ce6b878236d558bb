"""Newton for the unpenalised start, preconditioned L-BFGS for the penalised objective."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import minimize

__all__ = ["Preconditioner", "Solution", "minimise", "newton"]

# A Cholesky factor of this many columns takes 8 MiB and a few seconds of Hessian at a million rows.
MAX_DENSE_PARAMETERS = 1_000
_ARMIJO = 1e-4
# Reductions below this share of the objective are rounding noise.
_RELATIVE_NOISE = 1e-13
_NOT_FINITE = "the objective is not finite at the start of the fit: check y for extreme values and scale the features"


@dataclass(frozen=True)
class Solution:
    """Where a solver stopped.

    Attributes
    ----------
    parameters : (p,) array
        Coefficients, then the intercept.
    n_iterations : int
        Steps taken.
    converged : bool
        Whether the tolerance was met.
    message : str
        Why it stopped.
    parts : Parts
        Terms of the objective there.
    """

    parameters: np.ndarray
    n_iterations: int
    converged: bool
    message: str
    parts: object

    @property
    def loss(self):
        """Mean loss there."""
        return self.parts.loss


class Preconditioner:
    """Coordinates in which the loss has about unit curvature: ``parameters = L^-T coordinates``, ``L L' = Hessian``.

    Wide models use the diagonal of the Hessian in place of its Cholesky factor.
    """

    def __init__(self, objective, parameters):
        self._factor = None
        if objective.n_parameters <= MAX_DENSE_PARAMETERS:
            self._factor = _jittered_cholesky(objective.hessian(parameters))
        else:
            diagonal = objective.hessian_diagonal(parameters)
            floor = 1e-8 * max(diagonal.max(), np.finfo(float).tiny)
            self._root = np.sqrt(np.maximum(diagonal, floor))

    def to_coordinates(self, parameters):
        """Coordinates of parameters."""
        return self._root * parameters if self._factor is None else self._factor.T @ parameters

    def to_parameters(self, coordinates):
        """Parameters at coordinates."""
        if self._factor is None:
            return coordinates / self._root
        return solve_triangular(self._factor, coordinates, lower=True, trans="T", check_finite=False)

    def gradient(self, gradient):
        """Gradient with respect to the coordinates."""
        if self._factor is None:
            return gradient / self._root
        return solve_triangular(self._factor, gradient, lower=True, check_finite=False)


def _jittered_cholesky(hessian):
    """Lower Cholesky factor; collinear features get the least multiple of the diagonal that makes it exist."""
    scale = np.diag(hessian).copy()
    scale[scale <= 0] = max(scale.max(), 1.0)
    jitter = 1e-12
    while True:
        try:
            return cholesky(hessian + np.diag(jitter * scale), lower=True, check_finite=False)
        except LinAlgError:
            jitter *= 100.0
            if jitter > 1.0:
                return np.diag(np.sqrt(scale))


def newton(objective, parameters, *, max_iterations, tolerance):
    """Minimise the unpenalised objective by Newton steps (Fisher scoring) with backtracking.

    Stops when the predicted decrease of a step, half the squared gradient norm in the metric of the Hessian, is below
    ``tolerance ** 2 / 1000`` times the objective (1 at least).
    """
    parts, gradient = objective.parts_gradient(parameters)
    if not (np.isfinite(parts.total) and np.isfinite(gradient).all()):
        raise ValueError(_NOT_FINITE)
    for iteration in range(1, max_iterations + 1):
        preconditioner = Preconditioner(objective, parameters)
        scaled = preconditioner.gradient(gradient)
        decrease = 0.5 * float(scaled @ scaled)
        direction = -preconditioner.to_parameters(scaled)
        step = 1.0
        while True:
            trial = parameters + step * direction
            trial_parts, trial_gradient = objective.parts_gradient(trial)
            noise = _RELATIVE_NOISE * max(abs(parts.total), 1.0)
            if trial_parts.total <= parts.total - 2 * _ARMIJO * step * decrease + noise:
                break
            step /= 2
            if step < 1e-10:
                return Solution(parameters, iteration, decrease < tolerance, "no step lowers the objective", parts)
        parameters, parts, gradient = trial, trial_parts, trial_gradient
        if decrease <= 1e-3 * tolerance**2 * max(abs(parts.total), 1.0):
            return Solution(parameters, iteration, True, "converged", parts)
    return Solution(parameters, max_iterations, False, "max_iter reached", parts)


def minimise(parts_gradient, parameters, preconditioner, *, max_iterations, tolerance, report=None):
    """Minimise the penalised objective, a function of parameters, by L-BFGS in preconditioned coordinates.

    The penalty is piecewise linear, so its gradient jumps by O(1 / n) at every change of rank: a search that finds no
    descent along its direction starts afresh from the same point and gives up only when that brings nothing either.
    Stops when the largest component of the preconditioned gradient is at most ``tolerance`` or the objective falls by
    less than ``tolerance ** 2`` of itself.
    """
    n_iterations = 0
    best = {"parts": None, "coordinates": preconditioner.to_coordinates(parameters)}

    def value_gradient(coordinates):
        parts, gradient = parts_gradient(preconditioner.to_parameters(coordinates))
        if not (np.isfinite(parts.total) and np.isfinite(gradient).all()):
            if best["parts"] is None:
                raise ValueError(_NOT_FINITE)
            # Beyond the range of the family: a wall that is steep towards the best point sends the search back.
            away = coordinates - best["coordinates"]
            return 2 * abs(best["parts"].total) + 1.0 + float(away @ away), 2 * away
        if best["parts"] is None or parts.total < best["parts"].total:
            best.update(parts=parts, coordinates=coordinates.copy())
        return parts.total, preconditioner.gradient(gradient)

    def after_iteration(coordinates):
        nonlocal n_iterations
        n_iterations += 1
        if report:
            report(n_iterations, best["parts"])

    def solution(converged, message):
        return Solution(
            preconditioner.to_parameters(best["coordinates"]), n_iterations, converged, message, best["parts"]
        )

    start_total = None
    while n_iterations < max_iterations:
        result = minimize(
            value_gradient,
            best["coordinates"],
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxiter": max_iterations - n_iterations,
                "maxfun": 20 * max_iterations,
                "maxcor": 20,
                "gtol": tolerance,
                "ftol": tolerance**2,
            },
        )
        if result.status == 0:
            return solution(True, result.message)
        if result.status == 1:
            break
        total = best["parts"].total
        if start_total is not None and start_total - total <= tolerance**2 * max(abs(total), 1.0):
            return solution(True, "no direction lowers the objective by more than the tolerance")
        start_total = total
    return solution(False, "max_iter reached")
