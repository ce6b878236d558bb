"""The fit of a linear model whose rows are in parts: the same problem and solver, by sums over the parts."""

from abc import ABC, abstractmethod
from functools import partial
from types import SimpleNamespace

import numpy as np

from fairdcov._checks import check_positive_number, check_whole_number
from fairdcov._fitting import (
    LEAST_PENALISED_ROWS,
    PartPlan,
    Parts,
    RawObjective,
    curvature_diagonal,
    curvature_gradient,
    loss_extent,
    loss_shifted,
    mean_response,
    mean_target,
    node_masses,
    objective_gradient,
    raw_predictions,
    warn_of_level,
)
from fairdcov.linear_model._problem import START_TOLERANCE, LinearProblem
from fairdcov.linear_model._solver import MAX_DENSE_PARAMETERS

__all__ = ["BlockProblem", "RowParts", "fit_parts"]

_CONSTANT_STEPS = 100
_FURTHEST = 1e150


class RowParts(ABC):
    """Whoever holds the rows of a fit in parts, and adds what the parts compute.

    A *stage* is a function of this package. It is called once for each part with what the part holds, and returns
    :class:`fairdcov._fitting.Sums`, which are small. They are added (``first + second + ...``) in an order that is
    always the same for the same parts, so that a fit has the same bits each time.

    What a part holds is made in three steps: ``read_part(estimator, block, number)`` gives what is kept of a block and
    its description; the sum of the descriptions gives the plan; ``hold_part(plan, kept)`` gives the rows.
    """

    @abstractmethod
    def describe(self, estimator):
        """Sum of the descriptions of all parts, in their order: :func:`fairdcov._fitting.read_part` of each.

        Parameters
        ----------
        estimator : PenalisedEstimator
            Not fitted; it is not to be changed.

        Returns
        -------
        PartDescription
        """

    @abstractmethod
    def hold(self, estimator, plan):
        """Make the rows of each part by :func:`fairdcov._fitting.hold_part`, and keep them where they are.

        Parameters
        ----------
        estimator : PenalisedEstimator
            Knows the features now, for :func:`fairdcov._fitting.read_features`.
        plan : PartPlan
        """

    @abstractmethod
    def predict(self, stage, parameters):
        """Replace the raw predictions of each part by ``stage(X, rows, parameters)``, and keep them where they are."""

    @abstractmethod
    def constant(self, value):
        """Replace the raw predictions of each part by a number."""

    @abstractmethod
    def total(self, stage, *arguments):
        """Sum over the parts of ``stage(rows, raw, *arguments)``: no features are needed.

        Stages that come before the first predictions do not look at ``raw``.
        """

    @abstractmethod
    def total_with_features(self, stage, *arguments):
        """Sum over the parts of ``stage(X, rows, *arguments)``."""

    @abstractmethod
    def total_with_predictions(self, stage, *arguments):
        """Sum over the parts of ``stage(X, rows, raw, *arguments)``."""


class BlockObjective:
    """Loss + strength x penalty + ridge term of a linear model, by sums over parts of the rows.

    It stands for both the objective of coefficients and that of raw predictions: those of all rows are in no one place,
    and the parameters stand for them.

    Parameters
    ----------
    parts : RowParts
        They hold the rows.
    plan : PartPlan
    n_features : int
    ridge : float
        Multiplier of ``|coefficients|^2 / 2``.
    mean : float
        Weighted mean of the target.
    offset : bool
        Whether the rows have one.
    """

    def __init__(self, parts, plan, n_features, ridge, mean, offset):
        self.parts, self.plan, self.ridge = parts, plan, ridge
        self.loss, self.fit_intercept = plan.loss, plan.fit_intercept
        self.n_features = n_features
        self.n_parameters = n_features + plan.fit_intercept
        self.raw_objective = self
        self.penalty = None
        if plan.penalised:
            self.penalty = SimpleNamespace(method=plan.method, error_bound=np.inf)
        self.n_passes, self.n_evaluations = 0, 0
        self.best = None
        self._mean, self._offset = mean, offset
        self._predicted, self._sums, self._hessian = None, None, None

    attributes = RawObjective.attributes

    # -- what is asked of an objective ---------------------------------------------------------------------------------

    def raw(self, parameters):
        """The parameters, which stand for raw predictions."""
        return parameters

    def parts_gradient(self, parameters, strength=0.0):
        """Terms of the objective and its gradient (parameters,)."""
        self.n_evaluations += 1
        if strength == 0:
            loss, gradient = self._loss_gradient(parameters)
            penalty = 0.0
        else:
            loss, penalty, gradient = self._penalised(parameters, strength)
        coefficients = parameters[: self.n_features]
        ridge = 0.5 * self.ridge * float(coefficients @ coefficients)
        gradient[: self.n_features] += self.ridge * coefficients
        found = Parts(loss, penalty, ridge, loss + strength * penalty + ridge)
        self._remember(parameters, found, strength)
        return found, gradient

    def hessian(self, parameters):
        """Expected Hessian of loss and ridge term."""
        if self._hessian is None or not np.array_equal(self._hessian[0], parameters):
            self._loss_gradient(parameters)
        hessian = self._hessian[1].copy()
        features = np.arange(self.n_features)
        hessian[features, features] += self.ridge
        return hessian

    def hessian_diagonal(self, parameters):
        """Diagonal of :meth:`hessian`, for models too wide for the whole."""
        if self._hessian is None or not np.array_equal(self._hessian[0], parameters):
            self._loss_gradient(parameters)
        diagonal = self._hessian[1].copy()
        diagonal[: self.n_features] += self.ridge
        return diagonal

    def mean_loss(self, parameters):
        """Mean loss alone."""
        return float(self._predict(parameters).added[0])

    def penalty_value(self, parameters):
        """Penalty of the model; NaN without one."""
        if self.penalty is None:
            return float("nan")
        answer = self._answer(self._predict(parameters))
        return 0.0 if answer is None else answer.whole_value()

    def constant(self):
        """Raw prediction of the best constant model; what it adds to the offset where there is one."""
        start = float(self.loss.intercept(self._mean))
        return self._search_constant(start) if self._offset else start

    def mean_response(self, parameters):
        """Mean prediction on the scale of the target."""
        self._predict(parameters)
        return float(self.parts.total(mean_response).added[0])

    # -- passes --------------------------------------------------------------------------------------------------------

    def _loss_gradient(self, parameters):
        """Mean loss and gradient, and beside them the Hessian, which costs no other pass."""
        stage = curvature_gradient if self.n_parameters <= MAX_DENSE_PARAMETERS else curvature_diagonal
        self.n_passes += 1
        loss, gradient, hessian = self.parts.total_with_features(stage, parameters).added
        self._hessian = parameters.copy(), hessian
        return float(loss), gradient

    def _penalised(self, parameters, strength):
        found = self._predict(parameters)
        loss, absolute = (float(value) for value in found.added)
        if not (np.isfinite(loss) and np.isfinite(absolute)):
            return loss, np.nan, np.full(self.n_parameters, np.nan)
        answer = self._answer(found)
        self.n_passes += 1
        gradient = self.parts.total_with_predictions(objective_gradient, strength, answer).added[0]
        return loss, 0.0 if answer is None else answer.whole_value(), gradient

    def _predict(self, parameters):
        """Sums of :func:`loss_extent` for the parameters, whose predictions the parts have then."""
        if self._predicted is None or not np.array_equal(self._predicted, parameters):
            self._predicted = None
            if parameters[: self.n_features].any():
                self.n_passes += 1
                self.parts.predict(raw_predictions, parameters)
            else:
                self.parts.constant(float(parameters[-1]) if self.fit_intercept else 0.0)
            self._sums = self.parts.total(loss_extent)
            self._predicted = parameters.copy()
        return self._sums

    def _answer(self, found):
        """What the tables of all parts say; None where all predictions are the same."""
        terms, plan = self.plan.terms, self.plan
        low, high = -float(found.largest[0]), float(found.largest[1])
        lattice, exponent = terms.lattice(low, high, float(found.added[1]) / plan.n_rows)
        if lattice is None:
            return None
        added = self.parts.total(node_masses, terms, lattice, exponent).added
        n_forms = len(terms.matrices)
        answer = terms.answer(lattice, exponent, added[:n_forms], added[n_forms:], plan.normalize)
        self.penalty.error_bound = answer.error_bound
        return answer

    def _search_constant(self, start):
        """Newton steps for the one number, halved until they lower the loss."""
        shift, step = start, max(abs(start), 1.0)
        found = self.parts.total(loss_shifted, shift).added
        while not np.isfinite(found[0]) and step < _FURTHEST:
            # With an identity link and a family of positive means the lowest prediction is above 0.
            shift, step = shift + step, 2 * step
            found = self.parts.total(loss_shifted, shift).added
        for _ in range(_CONSTANT_STEPS):
            loss, slope, curvature = (float(value) for value in found)
            step = -slope / curvature if curvature > 0 else np.nan
            if not np.isfinite(step):
                break
            while abs(step) > 1e-14 * max(abs(shift), 1.0):
                found = self.parts.total(loss_shifted, shift + step).added
                if found[0] <= loss:
                    break
                step /= 2
            else:
                break
            shift += step
            if abs(step) <= 1e-12 * max(abs(shift), 1.0):
                break
        return shift

    def _remember(self, parameters, found, strength):
        """The best parameters of the strength that is being fitted, for a fit that is interrupted."""
        if not np.isfinite(found.total):
            return
        if self.best is None or self.best[2] != strength or found.total < self.best[1].total:
            self.best = parameters.copy(), found, strength


class BlockProblem(LinearProblem):
    """All of a fit from parts of the rows that does not depend on the strength.

    Parameters
    ----------
    estimator : PenalisedLinearModel
        It learns the number and names of features, the classes, and whether there is an offset.
    parts : RowParts
        They hold the rows.
    strengths : list of float
        All strengths to come.
    """

    def __init__(self, estimator, parts, strengths):
        # 1. Parameters.
        self.estimator = estimator
        check_positive_number(estimator.alpha, "alpha", allow_zero=True)
        check_positive_number(estimator.tol, "tol")
        check_whole_number(estimator.max_iter, "max_iter")
        penalised = any(strengths)
        self._start_tolerance = estimator.tol if 0 in strengths else max(estimator.tol, START_TOLERANCE)

        # 2. What the rows are together.
        description = parts.describe(estimator)
        _check_description(description, estimator, LEAST_PENALISED_ROWS if penalised else 1)
        plan = PartPlan.of(estimator, description, penalised=penalised)
        estimator.n_features_in_ = description.n_features
        if description.columns is not None:
            estimator.feature_names_in_ = np.array(description.columns, dtype=object)
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        estimator.fitted_with_offset_ = description.given[1]
        if plan.labels is not None:
            estimator.classes_ = np.array(plan.labels)
        parts.hold(estimator, plan)

        # 3. The objective.
        mean = float(description.sums[1]) / plan.total_weight
        if plan.labels is not None:
            mean = float(parts.total(mean_target).added[0])
        self._mean = mean
        ridge = estimator._ridge(plan.total_weight)
        self._start_from(BlockObjective(parts, plan, description.n_features, ridge, mean, description.given[1]))

    def interrupted(self, parameters, parts, strength):
        """Fitted attributes of a fit that did not end, by the best parameters of the strength that it was at."""
        coefficients, intercept = parameters, 0.0
        if self.estimator.fit_intercept:
            coefficients, intercept = parameters[:-1].copy(), float(parameters[-1])
        attributes = self.estimator._publish(coefficients, intercept)
        penalty = parts.penalty if strength > 0 else float("nan")
        attributes.update(
            self.objective.attributes(parts.loss, penalty, parts.total),
            n_iter_=self.objective.n_evaluations,
            converged_=False,
            effective_strength_=strength,
        )
        return attributes

    def _warn_of_level(self, parameters, strength):
        predicted = partial(self.objective.mean_response, self._published(parameters))
        loss = self.objective.loss
        # One row that has the totals of all.
        whole = SimpleNamespace(loss=loss, probabilities=np.ones(1), y=np.array([self._mean]))
        warn_of_level(self.estimator, whole, lambda: loss.intercept(np.array([predicted()])), strength)


def _check_description(description, estimator, least):
    if description.n_rows < least:
        what = "a penalised fit" if least > 1 else "a fit"
        raise ValueError(f"{what} needs at least {least} rows of positive sample_weight; found {description.n_rows}")
    if description.labels is None:
        # Each row has been checked; what is left is their mean.
        estimator._loss().check_target(np.array([float(description.sums[2]) / description.n_rows]))
        return
    found = description.labels
    if len(found) > 2:
        raise ValueError(f"Only binary classification is supported; found {len(found)} labels, such as {found[:3]}")
    if len(found) < 2:
        raise ValueError(f"y must have two classes; found one class, {found[0]!r}")


def fit_parts(estimator, parts):
    """Fit an estimator, at its strength, to rows in parts.

    Parameters
    ----------
    estimator : PenalisedLinearModel
    parts : RowParts
        They hold the rows.

    Returns
    -------
    The estimator, fitted. A fit that fails leaves it as it was; one that is interrupted by whatever exception once it
    has begun leaves it with the best coefficients so far and ``converged_`` False, from where a warm start goes on.
    """
    before, problem = estimator.__dict__.copy(), None
    try:
        check_positive_number(estimator.strength, "strength", allow_zero=True)
        problem = BlockProblem(estimator, parts, [estimator.strength])
        _, attributes = problem.solve(estimator.strength, estimator._warm_start(problem))
        estimator.__dict__.update(attributes)
    except BaseException as error:
        learnt = estimator.__dict__.copy()
        best = None if problem is None else problem.objective.best
        estimator.__dict__.clear()
        estimator.__dict__.update(before if best is None else learnt)
        if best is not None:
            estimator.__dict__.update(problem.interrupted(*best))
            error.add_note(
                f"{type(estimator).__name__} keeps the best coefficients that it had found (converged_ is False): "
                "set_params(warm_start=True) and fit again to go on from them"
            )
        raise
    return estimator
