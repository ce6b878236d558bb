"""The fit of frequency and severity with one penalty, in numbered stages."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.validation import column_or_1d

from fairdcov._checks import check_consistent_rows, check_finite_vector, check_sample_weight, resolve_n_threads
from fairdcov._fitting import (
    ProductCoefficientObjective,
    ProductObjective,
    TrainingData,
    check_offset,
    read_training_data,
    warn_of_offset,
)
from fairdcov.linear_model._problem import START_TOLERANCE, LinearProblem

__all__ = ["PARTS", "FrequencySeverityProblem", "PremiumData", "read_premiums"]

PARTS = ("frequency", "severity")


def _first_rows(wrong):
    """How many rows, and which is the first."""
    return f"{int(wrong.sum())} row(s), first in row {int(np.flatnonzero(wrong)[0])}"


def _check_claims(claims, amounts):
    """Claim counts of rows with these claim costs, (n,) float64, or raise."""
    if claims is None:
        raise ValueError(
            "FrequencySeverityRegressor needs the number of claims of each row beside their cost: pass "
            "fit(..., claims=counts)"
        )
    claims = check_finite_vector(claims, "claims")
    check_consistent_rows(len(amounts), claims, "claims")
    if (claims < 0).any():
        raise ValueError(f"claims must not be negative; found {_first_rows(claims < 0)}")
    broken = claims != np.round(claims)
    if broken.any():
        raise ValueError(
            f"claims must be whole numbers, the claims of each row and not per unit of exposure; found "
            f"{claims[broken][0]:g} among {_first_rows(broken)}"
        )
    without = (amounts > 0) & (claims == 0)
    if without.any():
        raise ValueError(
            f"y has an amount without claims in {_first_rows(without)}: put claims right, or set y to 0 there"
        )
    free = (claims > 0) & (amounts <= 0)
    if free.any():
        raise ValueError(
            f"claims have no amount (y is 0) in {_first_rows(free)}: a gamma severity is above 0. Count only claims "
            "with a cost, or put y right"
        )
    return claims


@dataclass(frozen=True, eq=False)
class PremiumData:
    """Checked rows of a premium, and what each of the two models is of.

    Attributes
    ----------
    rows : TrainingData
        Features, pure premiums and exposures.
    claims : (n,) float64 array
        Numbers of claims.
    targets, weights, offsets : pair of (n,) float64 array
        Of frequency and severity: claims per exposure and cost per claim (1 where there is none), exposure and claims;
        an offset may be None.
    """

    rows: TrainingData
    claims: np.ndarray
    targets: tuple
    weights: tuple
    offsets: tuple

    @property
    def shares(self):
        """What the mean losses of both are multiplied by: both are per unit of exposure."""
        return 1.0, float(self.claims.sum() / self.rows.weights.sum())


def read_premiums(
    estimator,
    X,
    y,
    sample_weight,
    sensitive_features,
    *,
    penalised,
    claims,
    control_features,
    frequency_offset,
    severity_offset,
):
    """Rows of positive exposure, their claims and what these cost; arguments as in ``fit``."""
    rows = read_training_data(
        estimator,
        X,
        y,
        sample_weight,
        sensitive_features,
        estimator._loss(),
        penalised=penalised,
        control_features=control_features,
        beside={"claims": claims, "frequency_offset": frequency_offset, "severity_offset": severity_offset},
    )
    n_rows = len(column_or_1d(y))
    keep = check_sample_weight(sample_weight, n_rows) > 0
    if claims is not None:
        claims = check_finite_vector(claims, "claims")
        check_consistent_rows(n_rows, claims, "claims")
        claims = claims[keep]
    claims = _check_claims(claims, rows.y)
    offsets = [
        None if offset is None else check_offset(offset, n_rows, name=f"{part}_offset")[keep]
        for part, offset in zip(PARTS, (frequency_offset, severity_offset), strict=True)
    ]
    for part, offset in zip(PARTS, offsets, strict=True):
        if offset is not None:
            warn_of_offset(offset, rows.weights, estimator._loss(), name=f"{part}_offset")
    some = claims > 0
    amounts = rows.y * rows.weights
    targets = claims / rows.weights, np.where(some, amounts / np.where(some, claims, 1.0), 1.0)
    return PremiumData(rows, claims, targets, (rows.weights, claims), tuple(offsets))


class FrequencySeverityProblem(LinearProblem):
    """All of a fit that does not depend on the strength: both designs, the bound penalty, start and preconditioner."""

    def __init__(
        self,
        estimator,
        X,
        y,
        sample_weight,
        sensitive_features,
        strengths,
        *,
        claims=None,
        control_features=None,
        frequency_offset=None,
        severity_offset=None,
    ):
        # 1. Parameters.
        self.estimator = estimator
        estimator._check_parameters()
        penalised = any(strengths)
        self._start_tolerance = estimator.tol if 0 in strengths else max(estimator.tol, START_TOLERANCE)

        # 2. Data.
        data = estimator._read(
            X,
            y,
            sample_weight,
            sensitive_features,
            penalised=penalised,
            claims=claims,
            control_features=control_features,
            frequency_offset=frequency_offset,
            severity_offset=severity_offset,
        )

        # 3. The two models, each of its own features, target and weights.
        self.parts, models = [], []
        for part, target, weights, offset in zip(PARTS, data.targets, data.weights, data.offsets, strict=True):
            fitted, model = estimator._prepare_part(part, data.rows.X, target, weights, offset)
            model.n_threads = resolve_n_threads(estimator.n_threads)
            self.parts.append(fitted)
            models.append(model)

        # 4. What depends on the target or on the protected attributes alone.
        rows = data.rows
        penalty = rows.bind(estimator.penalty, penalised=penalised, n_threads=estimator.n_threads)
        raw_objective = ProductObjective(
            [model.raw_objective for model in models], data.shares, rows.y, rows.probabilities, penalty
        )
        self._start_from(ProductCoefficientObjective(models, raw_objective))

    def _constant_model(self):
        constants = []
        for model in self.objective.models:
            parameters = np.zeros(model.n_parameters)
            if model.fit_intercept:
                parameters[-1] = model.raw_objective.constant()
            constants.append(parameters)
        return np.concatenate(constants)

    def _solve_penalised(self, parameters, strength):
        # Balanced at once, so that what is compared with the constants is the model that comes out.
        solution = super()._solve_penalised(parameters, strength)
        parameters = self._published(solution.parameters)
        parts, _ = self.objective.parts_gradient(parameters, strength)
        return replace(solution, parameters=parameters, parts=parts)

    def _published(self, parameters):
        """Parameters with intercepts that give the observed number of claims and their observed cost."""
        models = self.objective.models
        if not (self.estimator.balance and all(model.fit_intercept for model in models)):
            return parameters
        frequency, severity = (own.copy() for own in self.objective.split(parameters))
        counts, raw = models[0].raw_objective, self.raw_objective
        expected = counts.response(models[0].raw(frequency))
        frequency[-1] += np.log((counts.probabilities @ counts.y) / (counts.probabilities @ expected))
        premium = np.exp(raw.whole(self.objective.raw(np.concatenate([frequency, severity]))))
        severity[-1] += np.log((raw.probabilities @ raw.y) / (raw.probabilities @ premium))
        return np.concatenate([frequency, severity])

    def _attributes(self, solution, effective_strength, n_iterations):
        raw_objective, parameters = self.raw_objective, self._published(solution.parameters)
        parts, _ = self.objective.parts_gradient(parameters, effective_strength)
        penalty = raw_objective.penalty_value(self.objective.raw(parameters))
        attributes = {
            **raw_objective.attributes(parts.loss, penalty, parts.total),
            "n_iter_": max(1, n_iterations),
            "converged_": solution.converged,
            "effective_strength_": effective_strength,
        }
        named = zip(PARTS, self.parts, self.objective.models, self.objective.split(parameters), strict=True)
        for name, (head, final), model, own in named:
            learnt = _learnt(final, model, own, attributes)
            attributes[f"{name}_"] = self.estimator._finish_part(head, final, learnt)
        return attributes


def _learnt(final, model, parameters, attributes):
    """Fitted attributes of a part with these parameters."""
    coefficients, intercept = parameters, 0.0
    if model.fit_intercept:
        coefficients, intercept = parameters[:-1].copy(), float(parameters[-1])
    loss = model.raw_objective.mean_loss(model.raw(parameters))
    return {
        **{name: value for name, value in vars(final).items() if name.endswith("_")},
        **final._publish(coefficients, intercept),
        **model.raw_objective.attributes(loss, float("nan"), loss + model.ridge_term(parameters)),
        **{name: attributes[name] for name in ("n_iter_", "converged_", "effective_strength_")},
    }
