"""The fit of every penalised linear model, in numbered stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import (
    PenaltyLike,
    check_positive_number,
    check_squarable,
    check_whole_number,
    one_blas_thread,
    resolve_n_threads,
    warn_user,
)
from fairdcov._fitting import (
    CoefficientObjective,
    PenalisedEstimator,
    RawObjective,
    StrengthGuard,
    features_on_device,
    follows_device,
    largest_sensible_strength,
    on_host,
    read_training_data,
    warn_of_level,
    warn_of_strength,
)
from fairdcov.linear_model._solver import MAX_DENSE_PARAMETERS, Preconditioner, minimise, newton

__all__ = ["LinearProblem", "PenalisedLinearModel"]

# Tolerance of an unpenalised fit that serves as a starting point only.
START_TOLERANCE = 1e-2
# Of the penalty of a stratum at the start: one this small may have met its kink; how the kinks are smoothed then.
_COLLAPSED = 1e-2
_KINK_WIDTHS = np.array([1e-1, 1e-2, 1e-3, 1e-4, 1e-5])


class LinearProblem:
    """All of a fit that does not depend on the strength: checked data, bound penalty, start and preconditioner."""

    def __init__(
        self, estimator, X, y, sample_weight, sensitive_features, strengths, *, control_features=None, offset=None
    ):
        # 1. Parameters.
        self.estimator = estimator
        check_positive_number(estimator.alpha, "alpha", allow_zero=True)
        self._set_tolerance(strengths)
        check_whole_number(estimator.max_iter, "max_iter")
        penalised = any(strengths)

        # 2. Data.
        loss = estimator._loss()
        data = read_training_data(
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
        check_squarable(data.X)

        # 3. What depends on the target or on the protected attributes alone.
        penalty = data.bind(estimator.penalty, penalised=penalised, n_threads=estimator.n_threads)
        raw_objective = RawObjective(loss, data.y, data.probabilities, penalty, data.offset)
        ridge = estimator._ridge(data.weights.sum())
        threads = resolve_n_threads(estimator.n_threads)
        self._start_from(CoefficientObjective(data.X, raw_objective, ridge, estimator.fit_intercept, threads))

    def _set_tolerance(self, strengths):
        tolerance = check_positive_number(self.estimator.tol, "tol")
        # The unpenalised model is a result when it was asked for, otherwise only a place to start from.
        self._start_tolerance = tolerance if 0 in strengths else max(tolerance, START_TOLERANCE)

    def _start_from(self, objective):
        """Take an objective whose constant model is known."""
        self.objective, self.raw_objective = objective, objective.raw_objective
        # The constant model that the family has: without an intercept that of coefficients 0. Both beside the offset.
        self._guard = StrengthGuard(self.raw_objective.mean_loss(self.objective.raw(self._constant_model())))
        self._unpenalised = None
        self._preconditioner = None

    def solve(self, strength, parameters=None):
        """Fitted attributes at a strength, from given parameters or from the unpenalised model, and the parameters."""
        with one_blas_thread():
            return self._solve(strength, parameters)

    def _solve(self, strength, parameters):
        estimator = self.estimator
        n_iterations = 0
        if parameters is None or strength == 0:
            solution = self._solve_unpenalised(parameters)
            parameters, n_iterations = solution.parameters, solution.n_iterations
        effective_strength = strength
        if strength > 0:
            effective_strength, solution = self._guard.solve(
                strength, partial(self._solve_penalised, parameters), first_guess=partial(self._first_guess, parameters)
            )
            warn_of_strength(estimator, strength, effective_strength)
            self._warn_of_level(solution.parameters, effective_strength)
        if not solution.converged:
            warn_user(
                f"{type(estimator).__name__} with strength={effective_strength:g} stopped before it converged "
                f"({solution.message}, max_iter={estimator.max_iter}): increase max_iter or tol, scale the features, "
                "or start from a neighbouring strength with strength_path",
                ConvergenceWarning,
            )
        if strength > 0:
            n_iterations += solution.n_iterations
        return solution.parameters, self._attributes(solution, effective_strength, n_iterations)

    def _warn_of_level(self, parameters, strength):
        raw_objective = self.raw_objective
        warn_of_level(
            self.estimator,
            raw_objective,
            lambda: raw_objective.whole(self.objective.raw(self._published(parameters))),
            strength,
        )

    def _solve_penalised(self, parameters, strength):
        if strength == 0:
            return self._solve_unpenalised(None)
        if self._preconditioner is None:
            self._preconditioner = Preconditioner(self.objective, parameters)
        solution = self._minimise(partial(self.objective.parts_gradient, strength=strength), parameters)
        before = self._values_within(parameters)
        if before is None:
            return solution
        collapsed = self._values_within(solution.parameters) <= _COLLAPSED * before
        if (collapsed & (before > 0)).any():
            solution = self._settle_at_kinks(solution, parameters, strength, before.max())
        return solution

    def _values_within(self, parameters):
        """Penalty of each stratum of control features; None where there are none."""
        values_within = getattr(self.raw_objective.penalty, "values_within", None)
        return values_within and values_within(self.raw_objective.prediction(self.objective.raw(parameters)))

    def _minimise(self, parts_gradient, parameters):
        return minimise(
            parts_gradient,
            parameters,
            self._preconditioner,
            max_iterations=self.estimator.max_iter,
            tolerance=self.estimator.tol,
            report=_report if self.estimator.verbose > 1 else None,
        )

    def _settle_at_kinks(self, solution, parameters, strength, largest):
        """The better one of a solution with strata whose penalty is gone and of one that was led there smoothly.

        Where all that varies within a stratum are proxies, predictions that are constant there are a kink of the
        penalty, as 0 is of an absolute value: a search along the gradient stops wherever it meets one. A penalty with
        parabolas below ``width`` in the place of the kinks is minimised for smaller and smaller widths.
        """
        n_iterations = solution.n_iterations
        for width in largest * _KINK_WIDTHS:
            objective = self.objective.smoothed(width)
            found = self._minimise(partial(objective.parts_gradient, strength=strength), parameters)
            parameters = found.parameters
            n_iterations += found.n_iterations
        found = replace(found, parts=self.objective.parts_gradient(parameters, strength)[0])
        better = found if found.parts.total < solution.parts.total else solution
        return replace(better, n_iterations=n_iterations)

    def _published(self, parameters):
        """Parameters of the fitted model, of those that the solver has found."""
        return parameters

    def _first_guess(self, parameters):
        raw = self.objective.raw(parameters)
        raw_objective = self.raw_objective
        return largest_sensible_strength(
            self._guard.highest_loss, raw_objective.mean_loss(raw), raw_objective.penalty_value(raw)
        )

    def _solve_unpenalised(self, parameters):
        if self._unpenalised is None:
            if parameters is None:
                parameters = self._constant_model()
            options = {"max_iterations": self.estimator.max_iter, "tolerance": self._start_tolerance}
            if self.objective.n_parameters <= MAX_DENSE_PARAMETERS:
                self._unpenalised = newton(self.objective, parameters, **options)
            else:
                preconditioner = Preconditioner(self.objective, parameters)
                self._unpenalised = minimise(self.objective.parts_gradient, parameters, preconditioner, **options)
        return self._unpenalised

    def _constant_model(self):
        parameters = np.zeros(self.objective.n_parameters)
        if self.estimator.fit_intercept:
            parameters[-1] = self.raw_objective.constant()
        return parameters

    def _attributes(self, solution, effective_strength, n_iterations):
        estimator, parts = self.estimator, solution.parts
        # At strength 0 it is no part of the objective, and has not been computed.
        penalty_value = parts.penalty
        if effective_strength == 0:
            penalty_value = self.raw_objective.penalty_value(self.objective.raw(solution.parameters))
        coefficients, intercept = solution.parameters, 0.0
        if estimator.fit_intercept:
            coefficients, intercept = solution.parameters[:-1].copy(), float(solution.parameters[-1])
        if estimator.verbose:
            _report(solution.n_iterations, parts)
        attributes = estimator._publish(coefficients, intercept)
        attributes.update(
            self.raw_objective.attributes(parts.loss, penalty_value, parts.total),
            n_iter_=max(1, n_iterations),
            converged_=solution.converged,
            effective_strength_=effective_strength,
        )
        return attributes


def _report(iteration, parts):
    print(
        f"iteration {iteration}: objective {parts.total:.8g}, loss {parts.loss:.8g}, penalty {parts.penalty:.4g}, "
        f"ridge term {parts.ridge:.4g}"
    )


class PenalisedLinearModel(PenalisedEstimator):
    """Linear predictor fitted to ``mean loss + strength * penalty + ridge term``.

    Subclasses say which loss, how ``alpha`` enters and how predictions are returned.
    """

    @staticmethod
    def _problem_class(*given, **further):
        from fairdcov.linear_model._device_problem import linear_problem

        return linear_problem(*given, **further)

    _learnt = "coef_"
    _input = {"accept_sparse": "csr", "dtype": np.float64}  # noqa: RUF012

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        max_iter: int = 500,
        tol: float = 1e-4,
        warm_start: bool = False,
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        n_threads: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.penalty = penalty
        self.strength = strength
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.sensitive_columns = sensitive_columns
        self.drop_sensitive_columns = drop_sensitive_columns
        self.n_threads = n_threads
        self.verbose = verbose

    def _ridge(self, total_weight):
        """Multiplier of ``|coef|^2 / 2`` beside a mean loss over rows of this total weight."""
        return float(self.alpha)

    def _publish(self, coefficients, intercept):
        """Fitted attributes for a solution, in the shapes of the scikit-learn estimator."""
        return {"coef_": coefficients, "intercept_": intercept}

    def _warm_start(self, problem):
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        coefficients = np.ravel(on_host(self.coef_)).astype(np.float64)
        if len(coefficients) != problem.objective.n_features:
            return None
        return np.append(coefficients, np.ravel(on_host(self.intercept_))) if self.fit_intercept else coefficients

    def _raw_predict(self, X):
        check_is_fitted(self, self._learnt)
        coefficients, intercept = np.ravel(on_host(self.coef_)), float(np.ravel(on_host(self.intercept_))[0])
        if not follows_device(X):
            return self._features(X) @ coefficients + intercept
        X = features_on_device(self, X)
        return X @ X.new_tensor(coefficients) + intercept
