"""Pointwise losses of a raw prediction: half deviances with their link, first derivative and Fisher weight.

Everything is done on whole vectors, of NumPy or (what a fit on a device needs) tensors of PyTorch; rows never see each
other here. A loss knows nothing of features, weights or penalties.
"""

from abc import ABC, abstractmethod

import numpy as np
from scipy.special import logit, xlogy

from fairdcov._fitting._functions import functions_of, is_tensor
from fairdcov.dependence import Reduction

__all__ = [
    "ONE_PROCESS",
    "HalfBinomialLoss",
    "HalfSquaredError",
    "HalfTweedieLoss",
    "PointwiseLoss",
    "balancing_shift",
]

# All rows are here.
ONE_PROCESS = Reduction()

# A total counts as balanced within this share of itself; bisection alone needs no more steps for that.
_BALANCED = 1e-13
_MOST_STEPS = 100


class PointwiseLoss(ABC):
    """Loss of a target ``y`` and a raw (link-scale) prediction: half a deviance.

    Attributes
    ----------
    link : {"identity", "log", "logit"}
        Name of the link function.
    target_range : {"any", "not negative", "positive", "binary"}
        What a target may be.
    name : str
        Name of the family in messages.
    """

    link = "identity"
    target_range = "any"
    name = ""

    def target_terms(self, y):
        """The part of the loss that depends on ``y`` alone, (n,) or 0; worth keeping where ``raw`` changes often."""
        return 0.0

    @abstractmethod
    def loss_gradient(self, y, raw, target_terms=None):
        """Loss and its derivative with respect to ``raw``, both (n,); ``target_terms`` where they are known already."""

    @abstractmethod
    def curvature(self, raw, response=None):
        """Expected second derivative (Fisher weight), (n,), never negative; ``response`` where it is known already."""

    @abstractmethod
    def response(self, raw):
        """Prediction on the scale of ``y``."""

    @abstractmethod
    def response_slope(self, raw, response=None):
        """Derivative of :meth:`response`; ``response`` where it is known already."""

    @abstractmethod
    def intercept(self, mean):
        """Raw prediction whose response is ``mean``, such as that of a constant model."""

    def deviance(self, y, prediction):
        """Deviance of each row (n,), twice the loss, of predictions on the scale of ``y``; not finite out of range."""
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return 2.0 * self.loss_gradient(y, self.intercept(prediction))[0]

    def best_shift(self, y, raw, probabilities, reduction=ONE_PROCESS):
        """What added to all raw predictions gives the lowest mean loss; None where nothing does or it is not known.

        Where processes share the rows, ``reduction`` adds up over them (``fairdcov.dependence.Reduction``).
        """
        return

    def check_target(self, y):
        """Raise a ValueError if ``y`` has values outside the range of the family, or none that the link can have."""
        wrong = self.out_of_range(y)
        if wrong.any():
            least, found = (
                ("y > 0", "value(s) at or below 0")
                if self.target_range == "positive"
                else ("y >= 0", "negative value(s)")
            )
            raise ValueError(
                f"Some value(s) of y are out of the valid range: the {self.name} needs {least}; found "
                f"{int(wrong.sum())} {found}, the smallest {y.min():g}"
            )
        if self.link == "log" and not y.mean() > 0:
            raise ValueError(f"y must have a positive mean for a log link; found {y.mean():g}")

    def out_of_range(self, y):
        """Which targets the family does not have, (n,) bool array."""
        if self.target_range == "positive":
            return y <= 0
        return y < 0 if self.target_range == "not negative" else np.zeros(len(y), dtype=bool)


def balancing_shift(excess_slope, lowest, highest, size):
    """Root of a rising function by Newton steps within a bracket, which is halved where a step would leave it.

    Parameters
    ----------
    excess_slope : callable
        ``excess_slope(shift)`` is the function and its derivative.
    lowest, highest : float
        Where it is not above, and not below, 0.
    size : float
        Size of the parts of the function: what is far below it counts as 0.

    Returns
    -------
    float
    """
    shift = min(max(0.0, lowest), highest)
    for _ in range(_MOST_STEPS):
        excess, slope = excess_slope(shift)
        if abs(excess) <= _BALANCED * size:
            break
        if excess > 0:
            highest = shift
        else:
            lowest = shift
        step = shift - excess / slope if slope > 0 else np.inf
        shift = step if lowest < step < highest else 0.5 * (lowest + highest)
    return float(shift)


class HalfSquaredError(PointwiseLoss):
    """``(y - raw)^2 / 2`` with identity link, half the Tweedie deviance of power 0.

    Examples
    --------
    >>> import numpy as np
    >>> HalfSquaredError().loss_gradient(np.array([1.0]), np.array([3.0]))
    (array([2.]), array([2.]))
    """

    name = "normal distribution"

    def loss_gradient(self, y, raw, target_terms=None):
        """See :class:`PointwiseLoss`."""
        residual = raw - y
        return 0.5 * residual**2, residual

    def deviance(self, y, prediction):
        """See :class:`PointwiseLoss`."""
        return (y - prediction) ** 2

    def curvature(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return functions_of(raw).ones_like(raw)

    def response(self, raw):
        """See :class:`PointwiseLoss`."""
        return raw

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return functions_of(raw).ones_like(raw)

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return mean

    def best_shift(self, y, raw, probabilities, reduction=ONE_PROCESS):
        """See :class:`PointwiseLoss`."""
        return float(reduction.add(np.array(float(probabilities @ (y - raw)))))


class HalfBinomialLoss(PointwiseLoss):
    """Log loss ``log(1 + exp(raw)) - y raw`` of a probability with logit link."""

    link = "logit"
    target_range = "binary"
    name = "Bernoulli distribution"

    def loss_gradient(self, y, raw, target_terms=None):
        """See :class:`PointwiseLoss`."""
        functions = functions_of(raw)
        return functions.log1pexp(raw) - y * raw, functions.expit(raw) - y

    def curvature(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return self.response_slope(raw, response)

    def response(self, raw):
        """See :class:`PointwiseLoss`."""
        return functions_of(raw).expit(raw)

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        expit = functions_of(raw).expit
        return expit(raw) * expit(-raw)

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return logit(mean)

    def deviance(self, y, prediction):
        """See :class:`PointwiseLoss`; a certain prediction that is wrong costs as much as the smallest number."""
        tiny = np.finfo(np.float64).tiny
        return -2.0 * (y * np.log(np.maximum(prediction, tiny)) + xlogy(1.0 - y, np.maximum(1.0 - prediction, tiny)))

    def best_shift(self, y, raw, probabilities, reduction=ONE_PROCESS):
        """See :class:`PointwiseLoss`; the shift that balances the totals, by Newton steps within a bracket."""
        target, expit = float(reduction.add(np.array(float(probabilities @ y)))), functions_of(raw).expit
        if not 0 < target < 1:
            return None

        def excess_slope(shift):
            response = expit(raw + shift)
            slope = float(probabilities @ (response * (1.0 - response)))
            mean, slope = reduction.add(np.array([float(probabilities @ response), slope]))
            return mean - target, slope

        # With these shifts no probability is above, or below, the mean of y.
        above, below = reduction.maximum(np.array([float(raw.max()), -float(raw.min())]))
        lowest, highest = logit(target) - above, logit(target) + below
        return balancing_shift(excess_slope, lowest, highest, target)

    def check_target(self, y):
        """See :class:`PointwiseLoss`."""
        if y.min() == y.max():
            raise ValueError("y must have two classes among the rows of positive sample_weight; found one class only")


class HalfTweedieLoss(PointwiseLoss):
    """Half the Tweedie deviance; power 1 is Poisson, 2 gamma, 3 inverse Gaussian.

    ``d(y, mu) = y^(2-p) / ((1-p) (2-p)) - y mu^(1-p) / (1-p) + mu^(2-p) / (2-p)`` with its limits at p = 1 and 2; the
    derivative with respect to ``mu`` is ``(mu - y) / mu^p`` for every p.

    Parameters
    ----------
    power : float
        At most 0, or at least 1: no distribution exists in between.
    link : {"log", "identity"}
        Link function.

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = HalfTweedieLoss(1.0).loss_gradient(np.array([2.0]), np.log([2.0]))
    >>> abs(loss.item()) < 1e-12 and abs(gradient.item()) < 1e-12
    True
    """

    def __init__(self, power, link="log"):
        self.power = power
        self.link = link
        self.name = f"Tweedie family of power {power:g}"
        if power >= 1:
            self.target_range = "positive" if power >= 2 else "not negative"

    def deviance(self, y, prediction):
        """See :class:`PointwiseLoss`; by the prediction itself, which has more digits than its logarithm."""
        p = self.power
        with np.errstate(all="ignore"):
            if p == 0:
                return (y - prediction) ** 2
            if p == 1:
                deviance = 2.0 * (xlogy(y, y / prediction) - y + prediction)
            elif p == 2:
                deviance = 2.0 * (np.log(prediction / y) + y / prediction - 1.0)
            else:
                deviance = 2.0 * (
                    np.maximum(y, 0.0) ** (2 - p) / ((1 - p) * (2 - p))
                    - y * prediction ** (1 - p) / (1 - p)
                    + prediction ** (2 - p) / (2 - p)
                )
        return np.where(prediction > 0, deviance, np.inf)

    def target_terms(self, y):
        """See :class:`PointwiseLoss`."""
        p = self.power
        if p == 0:
            return 0.0
        functions = functions_of(y)
        if p == 1:
            return functions.xlogy(y, y) - y
        if p == 2:
            return -functions.log(y) - 1.0
        return functions.not_negative(y) ** (2 - p) / ((1 - p) * (2 - p))

    def loss_gradient(self, y, raw, target_terms=None):
        """See :class:`PointwiseLoss`."""
        p = self.power
        if target_terms is None:
            target_terms = self.target_terms(y)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            mu, log_mu = self._mu(raw)
            if p == 1:
                loss = target_terms - y * log_mu + mu
            elif p == 2:
                loss = y / mu + log_mu + target_terms
            elif p == 0:
                loss = 0.5 * (y - mu) ** 2
            else:
                loss = (
                    target_terms
                    - y * self._power(mu, log_mu, 1 - p) / (1 - p)
                    + self._power(mu, log_mu, 2 - p) / (2 - p)
                )
            undefined = functions_of(raw).isnan(loss)
            # To look first spares a pass on the host; a device would have to be waited for.
            if is_tensor(undefined) or undefined.any():
                # Overflow of both terms leaves a difference of infinities; the loss itself is infinite there.
                loss[undefined] = np.inf
            if self.link == "log":
                gradient = self._power(mu, log_mu, 2 - p) - (y if p == 1 else y * self._power(mu, log_mu, 1 - p))
            else:
                gradient = (mu - y) * self._power(mu, log_mu, -p)
                if p != 0:
                    # Outside the range of the mean there is no model: an infinite loss sends line searches back.
                    loss = functions_of(raw).where(mu > 0, loss, np.inf)
        return loss, gradient

    def curvature(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            mu, log_mu = self._mu(raw, response)
            return self._power(mu, log_mu, 2 - self.power if self.link == "log" else -self.power)

    def response(self, raw):
        """See :class:`PointwiseLoss`."""
        if self.link == "identity":
            return raw
        with np.errstate(over="ignore"):
            return functions_of(raw).exp(raw)

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        if self.link == "identity":
            return functions_of(raw).ones_like(raw)
        return self.response(raw) if response is None else response

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return np.log(mean) if self.link == "log" else mean

    def best_shift(self, y, raw, probabilities, reduction=ONE_PROCESS):
        """See :class:`PointwiseLoss`; with a log link and p = 1 the shift that balances the totals."""
        if self.link != "log":
            return None
        # Not finite where steps have been far too large: such a shift is taken for none.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            mu = functions_of(raw).exp(raw)
            observed = float(probabilities @ (y * self._power(mu, raw, 1 - self.power)))
            predicted = float(probabilities @ self._power(mu, raw, 2 - self.power))
            observed, predicted = reduction.add(np.array([observed, predicted]))
            return float(np.log(observed / predicted))

    def _mu(self, raw, response=None):
        functions = functions_of(raw)
        if self.link == "log":
            return functions.exp(raw) if response is None else response, raw
        return raw, functions.log(functions.where(raw > 0, raw, np.nan)) if self.power != 0 else raw

    def _power(self, mu, log_mu, exponent):
        """``mu ** exponent`` by way of the logarithm, which is at hand."""
        functions = functions_of(mu)
        if exponent == 0:
            return functions.ones_like(mu)
        if exponent == 1:
            return mu
        if self.power == 0:
            return mu**exponent
        return functions.exp(exponent * log_mu)
