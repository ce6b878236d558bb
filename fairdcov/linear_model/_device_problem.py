"""The fit of a penalised linear model on the device of its features."""

from functools import partial

import numpy as np

from fairdcov._checks import check_positive_number, check_whole_number
from fairdcov._fitting import (
    DeviceCoefficientObjective,
    DeviceObjective,
    as_given,
    bind_on_device,
    every_row,
    follows_device,
    is_tensor,
    on_host,
    read_device_data,
    refuse_device,
)
from fairdcov.linear_model._problem import START_TOLERANCE, LinearProblem
from fairdcov.linear_model._solver import MAX_DENSE_PARAMETERS, Preconditioner, minimise, newton

__all__ = ["DeviceLinearProblem", "linear_problem"]

# Rows of the part that a fit of many rows starts on, at the least, and how many times as many make it worth while.
_PART_ROWS = 2**18
_LEAST_SHARE = 4
# Of that start: nearer to the optimum of the part is no nearer to that of the whole.
_PART_TOLERANCE = 1e-3


def linear_problem(estimator, X, y, sample_weight, sensitive_features, strengths, **further):
    """The problem of a fit: on the device of ``X``, if scikit-learn dispatches, or on the host."""
    if follows_device(X):
        return DeviceLinearProblem(estimator, X, y, sample_weight, sensitive_features, strengths, **further)
    given = {"y": y, "sample_weight": sample_weight, "sensitive_features": sensitive_features}
    refuse_device(estimator, **given, **further)
    return LinearProblem(estimator, X, *map(on_host, given.values()), strengths, **further)


class DeviceLinearProblem(LinearProblem):
    """:class:`LinearProblem` whose rows stay on the device of ``X``."""

    def __init__(
        self, estimator, X, y, sample_weight, sensitive_features, strengths, *, control_features=None, offset=None
    ):
        self.estimator = estimator
        self._given = X
        check_positive_number(estimator.alpha, "alpha", allow_zero=True)
        self._set_tolerance(strengths)
        check_whole_number(estimator.max_iter, "max_iter")
        penalised = any(strengths)

        loss = estimator._loss()
        data = read_device_data(
            estimator,
            X,
            y,
            sample_weight,
            sensitive_features,
            loss,
            penalised=penalised,
            control_features=control_features,
            offset=offset,
        )
        people = data.sensitive_features

        penalty = bind_on_device(data, estimator.penalty, penalised=penalised, n_threads=estimator.n_threads)
        raw_objective = DeviceObjective(loss, data.y, data.probabilities, penalty, data.offset)
        ridge = estimator._ridge(float(data.weights.sum()))
        self._start_from(DeviceCoefficientObjective(data.X, raw_objective, ridge, estimator.fit_intercept))

        # Evenly spread rows, on which all of a search but its last steps costs next to nothing.
        self._part, n_steps = None, len(data.y) // _PART_ROWS
        if n_steps >= _LEAST_SHARE:
            part = every_row(data, n_steps)
            penalty = bind_on_device(part, estimator.penalty, penalised=penalised) if is_tensor(people) else None
            raw_objective = DeviceObjective(loss, part.y, part.probabilities, penalty, part.offset)
            self._part = DeviceCoefficientObjective(part.X, raw_objective, ridge, estimator.fit_intercept)

    def solve(self, strength, parameters=None):
        """See :class:`LinearProblem`; a fit of many rows that starts anywhere starts on a part of them."""
        if parameters is None and self._part is not None:
            parameters = self._solve_part(strength)
        return super().solve(strength, parameters)

    def _solve_part(self, strength):
        """Parameters of a fit to part of the rows, None where these have none."""
        part, options = self._part, {"max_iterations": self.estimator.max_iter, "tolerance": START_TOLERANCE}
        try:
            start = np.zeros(part.n_parameters)
            if self.estimator.fit_intercept:
                with np.errstate(divide="ignore"):
                    start[-1] = part.raw_objective.constant()
            if part.n_parameters > MAX_DENSE_PARAMETERS:
                preconditioner = Preconditioner(part, start)
                solution = minimise(part.parts_gradient, start, preconditioner, **options)
            else:
                solution = newton(part, start, **options)
            preconditioner = Preconditioner(part, solution.parameters)
            if strength > 0 and part.raw_objective.penalty is not None:
                objective = partial(part.parts_gradient, strength=strength)
                options["tolerance"] = max(self.estimator.tol, _PART_TOLERANCE)
                penalised = minimise(objective, solution.parameters, preconditioner, **options)
                # Where the guard will want a smaller strength, no start but the unpenalised one is any good.
                if self._guard.admits(penalised.loss):
                    solution = penalised
        except ValueError:
            # Rows without a claim, and the like: the whole will do, or say what is wrong.
            return None
        if strength > 0:
            # The curvature of the part is that of the whole, as far as a scale needs to know it.
            self._preconditioner = preconditioner
        return solution.parameters

    def _attributes(self, solution, effective_strength, n_iterations):
        attributes = super()._attributes(solution, effective_strength, n_iterations)
        for name in ("coef_", "intercept_"):
            if np.ndim(attributes[name]):
                attributes[name] = as_given(self.objective.X.new_tensor(attributes[name]), self._given)
        return attributes
