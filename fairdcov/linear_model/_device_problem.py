"""The fit of a penalised linear model on the device of its features."""

import numpy as np

from fairdcov._checks import check_positive_number, check_whole_number
from fairdcov._fitting import (
    DeviceCoefficientObjective,
    DeviceObjective,
    as_given,
    bind_on_device,
    follows_device,
    on_host,
    read_device_data,
    refuse_device,
)
from fairdcov.linear_model._problem import LinearProblem

__all__ = ["DeviceLinearProblem", "linear_problem"]


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

        penalty = bind_on_device(data, estimator.penalty, penalised=penalised, n_threads=estimator.n_threads)
        raw_objective = DeviceObjective(loss, data.y, data.probabilities, penalty, data.offset)
        ridge = estimator._ridge(float(data.weights.sum()))
        self._start_from(DeviceCoefficientObjective(data.X, raw_objective, ridge, estimator.fit_intercept))

    def _attributes(self, solution, effective_strength, n_iterations):
        attributes = super()._attributes(solution, effective_strength, n_iterations)
        for name in ("coef_", "intercept_"):
            if np.ndim(attributes[name]):
                attributes[name] = as_given(self.objective.X.new_tensor(attributes[name]), self._given)
        return attributes
