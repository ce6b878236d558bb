"""Loss + strength x penalty + ridge term, in raw-prediction and in coefficient space.

The only place with the chain rule. Learners ask for value and gradient and know nothing else. The objectives of a
product are those of two models with log links, such as claim frequency and severity, whose product is penalised.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
from scipy.linalg import block_diag
from scipy.optimize import minimize_scalar

from fairdcov._checks import one_blas_thread
from fairdcov._fitting._functions import functions_of
from fairdcov.dependence import feature_sums, features_times

__all__ = ["CoefficientObjective", "Parts", "ProductCoefficientObjective", "ProductObjective", "RawObjective"]

# Rows of features that are weighted at a time: few enough to stay in the cache until they have been multiplied.
_CACHED_ROWS = 1024
# A Hessian is summed over parts of the rows, for threads: so many at most, of so many rows at least, and of so many
# entries of all their matrices together.
_MOST_PARTS, _LEAST_ROWS, _MOST_ENTRIES = 16, 8192, 2**22


@dataclass(frozen=True)
class Parts:
    """Terms of the objective at a point: ``total = loss + strength * penalty + ridge``."""

    loss: float
    penalty: float
    ridge: float
    total: float


def _parts(loss, penalty, ridge, strength):
    return Parts(loss, penalty, ridge, loss + strength * penalty + ridge)


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
        if not self._is_finite(prediction):
            return value, np.nan, gradient
        penalty, slope = self.penalty.value_gradient(prediction)
        return value, penalty, gradient + strength * (slope * chain)

    def _is_finite(self, prediction):
        return bool(functions_of(prediction).isfinite(prediction).all())

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
            value = self.mean_loss(self.constant_raw(shift))
            return value if np.isfinite(value) else np.finfo(float).max

        if not lowest < highest:
            return highest
        return float(minimize_scalar(loss, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-10}).x)

    def constant_loss(self):
        """Mean loss of the best constant model."""
        return self.mean_loss(self.constant_raw(self.constant()))

    def constant_raw(self, value):
        """A raw prediction that all rows have, (n,)."""
        return np.full(len(self.y), value)

    def penalty_value(self, raw):
        """Penalty of raw predictions; NaN without a penalty."""
        if self.penalty is None:
            return float("nan")
        return self.penalty.value(self._penalised(raw)[0])

    def smoothed(self, width):
        """The same with a penalty that is smooth within ``width``."""
        return RawObjective(self.loss, self.y, self.probabilities, self.penalty.smoothed(width), self.offset)

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
    n_threads : int
        Threads for products with an array; no bit depends on them.
    """

    def __init__(self, X, raw_objective, ridge, fit_intercept, n_threads=1):
        self.X = X
        self.n_threads = n_threads
        self._by_kernels = (
            isinstance(X, np.ndarray) and X.dtype == np.float64 and (X.flags.c_contiguous or X.flags.f_contiguous)
        )
        self.raw_objective = raw_objective
        self.ridge = ridge
        self.fit_intercept = fit_intercept
        self.n_features = X.shape[1]
        self.n_parameters = X.shape[1] + bool(fit_intercept)
        self._last = None

    def raw(self, parameters):
        """Raw predictions; those of the last parameters are kept, and not to be changed."""
        if self._last is None or not np.array_equal(self._last[0], parameters):
            coefficients = parameters[: self.n_features]
            intercept = float(parameters[-1]) if self.fit_intercept else 0.0
            if not coefficients.any():
                # A constant model needs no product.
                raw = np.full(self.X.shape[0], intercept)
            elif self._by_kernels:
                raw = features_times(self.X, coefficients, intercept, n_threads=self.n_threads)
            else:
                raw = self.X @ coefficients
                raw += intercept
            self._last = parameters.copy(), raw
        return self._last[1]

    def parts_gradient(self, parameters, strength=0.0):
        """Terms of the objective and its gradient (parameters,)."""
        # A line search may step out of the range of floats; what comes back is then not finite, and the solver knows.
        with np.errstate(over="ignore", invalid="ignore"):
            loss, penalty, raw_gradient = self.raw_objective.terms(self.raw(parameters), strength)
            gradient = self.gradient(parameters, raw_gradient)
        return _parts(loss, penalty, self.ridge_term(parameters), strength), gradient

    def ridge_term(self, parameters):
        """Ridge term of the objective."""
        coefficients = parameters[: self.n_features]
        return 0.5 * self.ridge * float(coefficients @ coefficients)

    def gradient(self, parameters, raw_gradient):
        """Gradient (parameters,) of the ridge term and of a function of raw predictions whose gradient is given."""
        gradient = np.empty(self.n_parameters)
        if self._by_kernels:
            sums = feature_sums(self.X, raw_gradient, n_threads=self.n_threads)
        else:
            sums = self.X.T @ raw_gradient
        gradient[: self.n_features] = sums + self.ridge * parameters[: self.n_features]
        if self.fit_intercept:
            gradient[-1] = raw_gradient.sum()
        return gradient

    def smoothed(self, width):
        """The same with a penalty that is smooth within ``width``."""
        smoothed = self.raw_objective.smoothed(width)
        return CoefficientObjective(self.X, smoothed, self.ridge, self.fit_intercept, self.n_threads)

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
            hessian[:p, :p], column = _weighted_squares(self.X, weights, self.n_threads)
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


def _weighted_squares(X, weights, n_threads=1):
    """``X' diag(weights) X`` and ``X' weights`` of an array, with one pass over it."""
    n, p = X.shape
    n_parts = max(1, min(_MOST_PARTS, n // _LEAST_ROWS, _MOST_ENTRIES // max(p * p, 1)))
    parts = [slice(part * n // n_parts, (part + 1) * n // n_parts) for part in range(n_parts)]
    squares, column = np.zeros((p, p)), np.zeros(p)
    of_part = partial(_weighted_squares_of_part, X, weights)
    n_threads = min(n_threads, n_parts)
    with one_blas_thread():
        if n_threads == 1:
            _add_to(squares, column, map(of_part, parts))
        else:
            with ThreadPoolExecutor(n_threads) as threads:
                _add_to(squares, column, threads.map(of_part, parts))
    return squares, column


def _add_to(squares, column, found):
    for part_squares, part_column in found:
        squares += part_squares
        column += part_column


def _weighted_squares_of_part(X, weights, rows):
    X, weights = X[rows], weights[rows]
    p = X.shape[1]
    squares, column, weighted = np.zeros((p, p)), np.zeros(p), np.empty((_CACHED_ROWS, p))
    root = np.sqrt(weights)
    for start in range(0, len(X), _CACHED_ROWS):
        part = X[start : start + _CACHED_ROWS]
        own = weighted[: len(part)]
        np.multiply(root[start : start + _CACHED_ROWS, None], part, out=own)
        # A' A with one and the same A costs half of a general product.
        squares += own.T @ own
        column += part.T @ weights[start : start + _CACHED_ROWS]
    return squares, column


class ProductObjective:
    """Losses of two models with log links and one penalty on the product of their predictions.

    Raw predictions are (2, n), those of the one model and of the other. A row in which a model has no target has weight
    0 in its objective, and counts in the penalty.

    Parameters
    ----------
    objectives : pair of RawObjective
        Losses of both, of the same rows and without a penalty.
    shares : pair of float
        What both losses are multiplied by.
    y : (n,) float64 array
        Observed product.
    probabilities : (n,) float64 array
        Row weights of sum 1, of ``y``.
    penalty : BoundPenalty or None
        A function of all products.
    """

    def __init__(self, objectives, shares, y, probabilities, penalty=None):
        self.objectives = objectives
        self.shares = shares
        self.y = y
        self.probabilities = probabilities
        self.penalty = penalty
        # The product has the link that both have.
        self.loss = objectives[0].loss

    def terms(self, raw, strength=0.0):
        """Sum of the losses, penalty, and the gradient (2, n) of ``loss + strength * penalty``."""
        value, gradient = 0.0, np.empty_like(raw)
        for position, (objective, share) in enumerate(zip(self.objectives, self.shares, strict=True)):
            loss, _, slope = objective.terms(raw[position])
            value += share * loss
            np.multiply(share, slope, out=gradient[position])
        if self.penalty is None or strength == 0 or not np.isfinite(value):
            return value, 0.0, gradient
        prediction, chain = self._penalised(raw)
        if not np.isfinite(prediction).all():
            return value, np.nan, gradient
        penalty, slope = self.penalty.value_gradient(prediction)
        # Of exp(a + b) both derivatives are the product itself.
        gradient += strength * (slope * chain)
        return value, penalty, gradient

    def _penalised(self, raw):
        whole = self.whole(raw)
        if self.penalty.scale == "link":
            return whole, 1.0
        response = np.exp(whole)
        return response, response

    def whole(self, raw):
        """Logarithm of the product, with both offsets, (n,)."""
        return sum(objective.whole(own) for objective, own in zip(self.objectives, raw, strict=True))

    def prediction(self, raw):
        """The prediction that the penalty takes, (n,)."""
        return self._penalised(raw)[0]

    def mean_loss(self, raw):
        """Sum of the losses alone."""
        return self.terms(raw)[0]

    def penalty_value(self, raw):
        """Penalty of raw predictions; NaN without a penalty."""
        return float("nan") if self.penalty is None else self.penalty.value(self.prediction(raw))

    def smoothed(self, width):
        """The same with a penalty that is smooth within ``width``."""
        return ProductObjective(self.objectives, self.shares, self.y, self.probabilities, self.penalty.smoothed(width))

    attributes = RawObjective.attributes


class ProductCoefficientObjective:
    """The objective of two linear models whose product is penalised; parameters are those of the one, then the other.

    Parameters
    ----------
    models : pair of CoefficientObjective
        Of the objectives of ``raw_objective``.
    raw_objective : ProductObjective
        Losses and penalty.
    """

    def __init__(self, models, raw_objective):
        self.models = models
        self.raw_objective = raw_objective
        self.n_parameters = sum(model.n_parameters for model in models)

    def split(self, parameters):
        """Parameters of both models."""
        return np.split(parameters, [self.models[0].n_parameters])

    def raw(self, parameters):
        """Raw predictions, (2, n)."""
        return np.stack([model.raw(own) for model, own in zip(self.models, self.split(parameters), strict=True)])

    def parts_gradient(self, parameters, strength=0.0):
        """Terms of the objective and its gradient (parameters,)."""
        shares, split = self.raw_objective.shares, self.split(parameters)
        with np.errstate(over="ignore", invalid="ignore"):
            loss, penalty, raw_gradient = self.raw_objective.terms(self.raw(parameters), strength)
            # The ridge term of a model belongs to its loss, and has the same share.
            gradients = [
                share * model.gradient(own, slope / share)
                for model, own, slope, share in zip(self.models, split, raw_gradient, shares, strict=True)
            ]
        ridge = sum(share * model.ridge_term(own) for model, own, share in zip(self.models, split, shares, strict=True))
        return _parts(loss, penalty, ridge, strength), np.concatenate(gradients)

    def hessian(self, parameters):
        """Expected Hessian of losses and ridge terms, in two blocks."""
        return block_diag(*self._of_models("hessian", parameters))

    def hessian_diagonal(self, parameters):
        """Diagonal of :meth:`hessian`, for models too wide for the whole."""
        return np.concatenate(self._of_models("hessian_diagonal", parameters))

    def _of_models(self, method, parameters):
        parts = zip(self.models, self.split(parameters), self.raw_objective.shares, strict=True)
        return [share * getattr(model, method)(own) for model, own, share in parts]

    def smoothed(self, width):
        """The same with a penalty that is smooth within ``width``."""
        return ProductCoefficientObjective(self.models, self.raw_objective.smoothed(width))
