"""Loss + strength x penalty + ridge term, in raw-prediction and in coefficient space.

The only place with the chain rule. Learners ask for value and gradient and know nothing else.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

__all__ = ["CoefficientObjective", "Parts", "RawObjective"]

# Of the bound on the curvature of the penalty. It is for rows that move one by one; those of a leaf move together and
# have mixed attributes, so that most of it cancels.
_SHARE_OF_BOUND = 0.25


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
    strength : float
        Multiplier of the penalty; 0 leaves it out.
    """

    def __init__(self, loss, y, probabilities, penalty=None, strength=0.0):
        self.loss = loss
        self.y = y
        self.probabilities = probabilities
        self.penalty = penalty
        self.strength = strength
        self._target_terms = loss.target_terms(y)

    def terms(self, raw):
        """Mean loss, penalty, and the gradient (n,) of ``loss + strength * penalty``; not finite where undefined."""
        value, gradient = self._loss(raw)
        if self.penalty is None or self.strength == 0 or not np.isfinite(value):
            return value, 0.0, gradient
        prediction, chain = self._penalised(raw)
        if not np.isfinite(prediction).all():
            return value, np.nan, gradient
        penalty, slope = self.penalty.value_gradient(prediction)
        return value, penalty, gradient + self.strength * (slope * chain)

    def terms_curvature(self, raw):
        """:meth:`terms` and a curvature (n,), never negative, for learners that divide the gradient by one.

        The Fisher weights of the loss plus a quarter of the bound on the penalty's curvature, without the bend of the
        inverse link.
        """
        value, gradient = self._loss(raw)
        if self.penalty is None or self.strength == 0 or not np.isfinite(value):
            return value, 0.0, gradient, self.loss.curvature(raw) * self.probabilities
        prediction, chain = self._penalised(raw)
        response = None if self.penalty.scale == "link" else prediction
        curvature = self.loss.curvature(raw, response) * self.probabilities
        if not np.isfinite(prediction).all():
            return value, np.nan, gradient, curvature
        penalty, slope, bend = self.penalty.value_gradient_curvature(prediction)
        # In place where an array is ours: at this length a new one costs more than the arithmetic.
        slope = slope * chain
        slope *= self.strength
        slope += gradient
        bend = bend * chain
        bend *= chain
        bend *= _SHARE_OF_BOUND * self.strength
        bend += curvature
        return value, penalty, slope, bend

    def _loss(self, raw):
        losses, gradient = self.loss.loss_gradient(self.y, raw, self._target_terms)
        gradient *= self.probabilities
        return float(self.probabilities @ losses), gradient

    def _penalised(self, raw):
        """The prediction that the penalty takes, and its derivative with respect to ``raw``."""
        if self.penalty.scale == "link":
            return raw, 1.0
        response = self.loss.response(raw)
        return response, self.loss.response_slope(raw, response)

    def balanced_terms_curvature(self, raw):
        """:meth:`terms_curvature` of the raw predictions plus :meth:`best_shift`, as functions of ``raw``; that shift.

        The shift follows ``raw``. Where it moves the penalty, the gradient is that along predictions in balance: what
        ``raw_i`` adds to the total is taken off all rows again.
        """
        shift = self.best_shift(raw)
        raw = raw + shift
        value, penalty, gradient, curvature = self.terms_curvature(raw)
        if shift and self._shift_moves_penalty():
            weights = self.loss.curvature(raw) * self.probabilities
            gradient -= gradient.sum() / weights.sum() * weights
        return shift, (value, penalty, gradient, curvature)

    def best_shift(self, raw):
        """What added to all raw predictions gives the lowest loss, 0 where that is not known.

        It keeps totals in balance however far the penalty moves predictions, also where the penalty would gain from
        lower ones.
        """
        shift = self.loss.best_shift(self.y, raw, self.probabilities)
        return shift if shift is not None and np.isfinite(shift) else 0.0

    def _shift_moves_penalty(self):
        """Whether a shift of all raw predictions changes the penalty, if only a little where that is scale-free."""
        if self.penalty is None or self.strength == 0 or self.penalty.scale == "link":
            return False
        if self.loss.link == "identity":
            return not self.penalty.shift_free
        return not (self.loss.link == "log" and self.penalty.scale_free)

    def mean_loss(self, raw):
        """Mean loss alone."""
        return self._loss(raw)[0]

    def constant(self):
        """Raw prediction of the best constant model."""
        return float(self.loss.intercept(float(self.probabilities @ self.y)))

    def constant_loss(self):
        """Mean loss of the best constant model."""
        return self.mean_loss(np.full(len(self.y), self.constant()))

    def penalty_value(self, raw):
        """Penalty of raw predictions, also where ``strength`` is 0; NaN without a penalty."""
        if self.penalty is None:
            return float("nan")
        return self.penalty.value(self._penalised(raw)[0])


class CoefficientObjective:
    """The objective of a linear model, ``raw = X @ coefficients + intercept``.

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

    def parts_gradient(self, parameters):
        """Terms of the objective and its gradient (parameters,)."""
        coefficients = parameters[: self.n_features]
        ridge = 0.5 * self.ridge * float(coefficients @ coefficients)
        gradient = np.empty(self.n_parameters)
        # A line search may step out of the range of floats; what comes back is then not finite, and the solver knows.
        with np.errstate(over="ignore", invalid="ignore"):
            loss, penalty, raw_gradient = self.raw_objective.terms(self.raw(parameters))
            gradient[: self.n_features] = self.X.T @ raw_gradient + self.ridge * coefficients
            if self.fit_intercept:
                gradient[-1] = raw_gradient.sum()
        total = loss + self.raw_objective.strength * penalty + ridge
        return Parts(loss, penalty, ridge, total), gradient

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
        return self.raw_objective.probabilities * self.raw_objective.loss.curvature(self.raw(parameters))
