"""Loss + strength x penalty + ridge term, in raw-prediction and in coefficient space.

The only place with the chain rule. Learners ask for value and gradient and know nothing else.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize_scalar

__all__ = ["CoefficientObjective", "Parts", "RawObjective"]


@dataclass(frozen=True)
class Parts:
    """Terms of the objective at a point: ``total = loss + strength * penalty + ridge``."""

    loss: float
    penalty: float
    ridge: float
    total: float


class RawObjective:
    """Weighted mean loss plus penalty as a function of raw predictions.

    Parameters
    ----------
    loss : PointwiseLoss
        Loss of a row.
    y : (n,) float64 array
        Targets.
    probabilities : (n,) float64 array
        Row weights of sum 1.
    penalty : BoundPenalty or None
        A function of all predictions.
    offset : (n,) float64 array or None
        Known part of the raw predictions: all that takes ``raw`` adds it first, and nothing that is learnt has it.
    """

    def __init__(self, loss, y, probabilities, penalty=None, offset=None):
        self.loss = loss
        self.y = y
        self.probabilities = probabilities
        self.penalty = penalty
        self.offset = offset
        self._target_terms = loss.target_terms(y)

    def whole(self, raw):
        """Raw predictions with their offset."""
        return raw if self.offset is None else raw + self.offset

    def without_offset(self, whole):
        """What :meth:`whole` makes these of."""
        return whole if self.offset is None else whole - self.offset

    def terms(self, raw, strength=0.0):
        """Mean loss, penalty, and the gradient (n,) of ``loss + strength * penalty``; not finite where undefined.

        A strength of 0 leaves the penalty out, and says 0 for it.
        """
        value, gradient = self._loss(raw)
        if self.penalty is None or strength == 0 or not np.isfinite(value):
            return value, 0.0, gradient
        prediction, chain = self._penalised(raw)
        if not np.isfinite(prediction).all():
            return value, np.nan, gradient
        penalty, slope = self.penalty.value_gradient(prediction)
        return value, penalty, gradient + strength * (slope * chain)

    def _loss(self, raw):
        losses, gradient = self.loss.loss_gradient(self.y, self.whole(raw), self._target_terms)
        gradient *= self.probabilities
        return float(self.probabilities @ losses), gradient

    def _penalised(self, raw):
        """The prediction that the penalty takes, and its derivative with respect to ``raw``."""
        raw = self.whole(raw)
        if self.penalty.scale == "link":
            return raw, 1.0
        response = self.loss.response(raw)
        return response, self.loss.response_slope(raw, response)

    def prediction(self, raw):
        """The prediction that the penalty takes, (n,)."""
        return self._penalised(raw)[0]

    def response(self, raw):
        """Prediction on the scale of ``y``, (n,)."""
        return self.loss.response(self.whole(raw))

    def curvature(self, raw, response=None):
        """Fisher weights of the loss, (n,); ``response`` where it is known already."""
        return self.loss.curvature(self.whole(raw), response)

    def mean_loss(self, raw):
        """Mean loss alone."""
        return self._loss(raw)[0]

    def constant(self):
        """Raw prediction of the best constant model; what it adds to the offset where there is one."""
        if self.offset is None:
            return float(self.loss.intercept(float(self.probabilities @ self.y)))
        shift = self.loss.best_shift(self.y, self.offset, self.probabilities)
        return self._search_constant() if shift is None or not np.isfinite(shift) else shift

    def _search_constant(self):
        """Where the loss of all rows is lowest, between the constants that are best for one of them."""
        with np.errstate(divide="ignore"):
            apart = self.loss.intercept(self.y) - self.offset
        apart = apart[np.isfinite(apart)]
        # With an identity link and a family of positive means the lowest prediction is above 0.
        lowest = -self.offset.min() if self.loss.link == "identity" and self.loss.target_range != "any" else -np.inf
        lowest, highest = max(float(apart.min()), lowest), float(apart.max())

        def loss(shift):
            value = self.mean_loss(np.full(len(self.y), shift))
            return value if np.isfinite(value) else np.finfo(float).max

        if not lowest < highest:
            return highest
        return float(minimize_scalar(loss, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-10}).x)

    def constant_loss(self):
        """Mean loss of the best constant model."""
        return self.mean_loss(np.full(len(self.y), self.constant()))

    def penalty_value(self, raw):
        """Penalty of raw predictions; NaN without a penalty."""
        if self.penalty is None:
            return float("nan")
        return self.penalty.value(self._penalised(raw)[0])

    def attributes(self, loss, penalty, total):
        """Fitted attributes of a model by its terms of the objective."""
        return {
            "loss_value_": loss,
            "penalty_value_": penalty,
            "objective_value_": total,
            "penalty_method_": None if self.penalty is None else self.penalty.method,
            "penalty_error_bound_": None if self.penalty is None else self.penalty.error_bound,
        }


class CoefficientObjective:
    """The objective of a linear model, ``raw = X @ coefficients + intercept``, beside the offset of ``raw_objective``.

    Parameters
    ----------
    X : (n, p) float64 array or CSR matrix
        Features.
    raw_objective : RawObjective
        Loss and penalty.
    ridge : float
        Multiplier of ``|coefficients|^2 / 2``; the intercept is free.
    fit_intercept : bool
        Whether the last parameter is an intercept.
    """

    def __init__(self, X, raw_objective, ridge, fit_intercept):
        self.X = X
        self.raw_objective = raw_objective
        self.ridge = ridge
        self.fit_intercept = fit_intercept
        self.n_features = X.shape[1]
        self.n_parameters = X.shape[1] + bool(fit_intercept)

    def raw(self, parameters):
        """Raw predictions."""
        raw = self.X @ parameters[: self.n_features]
        if self.fit_intercept:
            raw = raw + parameters[-1]
        return raw

    def parts_gradient(self, parameters, strength=0.0):
        """Terms of the objective and its gradient (parameters,)."""
        coefficients = parameters[: self.n_features]
        ridge = 0.5 * self.ridge * float(coefficients @ coefficients)
        gradient = np.empty(self.n_parameters)
        # A line search may step out of the range of floats; what comes back is then not finite, and the solver knows.
        with np.errstate(over="ignore", invalid="ignore"):
            loss, penalty, raw_gradient = self.raw_objective.terms(self.raw(parameters), strength)
            gradient[: self.n_features] = self.X.T @ raw_gradient + self.ridge * coefficients
            if self.fit_intercept:
                gradient[-1] = raw_gradient.sum()
        return Parts(loss, penalty, ridge, loss + strength * penalty + ridge), gradient

    def hessian(self, parameters):
        """Expected Hessian of loss and ridge term; the penalty is piecewise linear and has none."""
        p = self.n_features
        weights = self._row_curvature(parameters)
        hessian = np.empty((self.n_parameters, self.n_parameters))
        if sp.issparse(self.X):
            weighted = self.X.multiply(weights[:, None]).tocsr()
            hessian[:p, :p] = (self.X.T @ weighted).toarray()
            column = np.asarray(weighted.sum(axis=0)).ravel()
        else:
            # A' A with one and the same A costs half of a general product.
            root = np.sqrt(weights)[:, None] * self.X
            hessian[:p, :p] = root.T @ root
            column = self.X.T @ weights
        hessian[np.arange(p), np.arange(p)] += self.ridge
        if self.fit_intercept:
            hessian[:p, -1] = hessian[-1, :p] = column
            hessian[-1, -1] = weights.sum()
        return hessian

    def hessian_diagonal(self, parameters):
        """Diagonal of :meth:`hessian`, for models too wide for the whole."""
        weights = self._row_curvature(parameters)
        squares = self.X.multiply(self.X) if sp.issparse(self.X) else self.X**2
        diagonal = squares.T @ weights + self.ridge
        return np.append(diagonal, weights.sum()) if self.fit_intercept else diagonal

    def _row_curvature(self, parameters):
        return self.raw_objective.probabilities * self.raw_objective.curvature(self.raw(parameters))
