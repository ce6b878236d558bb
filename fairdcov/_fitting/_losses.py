"""Pointwise losses of a raw prediction: half deviances with their link, first derivative and Fisher weight.

Everything is NumPy on whole vectors; rows never see each other here. A loss knows nothing of features, weights or
penalties.
"""

from abc import ABC, abstractmethod

import numpy as np
from scipy.special import expit, logit, xlogy

from fairdcov._checks import check_choice

__all__ = ["OBJECTIVES", "HalfBinomialLoss", "HalfSquaredError", "HalfTweedieLoss", "PointwiseLoss", "regression_loss"]


# A total counts as balanced within this share of itself; bisection alone needs no more steps for that.
_BALANCED = 1e-13
_MOST_STEPS = 100


class PointwiseLoss(ABC):
    """Loss of a target ``y`` and a raw (link-scale) prediction.

    Attributes
    ----------
    link : {"identity", "log", "logit"}
        Name of the link function.
    """

    link = "identity"

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
        """Raw prediction of the constant model whose response is ``mean``."""

    def best_shift(self, y, raw, probabilities):
        """What added to all raw predictions gives the lowest mean loss; None where nothing does or it is not known."""
        return

    def check_target(self, y):
        """Raise a ValueError if ``y`` has values outside the range of the family; here none is."""
        return


class HalfSquaredError(PointwiseLoss):
    """``(y - raw)^2 / 2`` with identity link, half the Tweedie deviance of power 0.

    Examples
    --------
    >>> import numpy as np
    >>> HalfSquaredError().loss_gradient(np.array([1.0]), np.array([3.0]))
    (array([2.]), array([2.]))
    """

    power = 0.0

    def loss_gradient(self, y, raw, target_terms=None):
        """See :class:`PointwiseLoss`."""
        residual = raw - y
        return 0.5 * residual**2, residual

    def curvature(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return np.ones_like(raw)

    def response(self, raw):
        """See :class:`PointwiseLoss`."""
        return raw

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return np.ones_like(raw)

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return mean

    def best_shift(self, y, raw, probabilities):
        """See :class:`PointwiseLoss`."""
        return float(probabilities @ (y - raw))


class HalfBinomialLoss(PointwiseLoss):
    """Log loss ``log(1 + exp(raw)) - y raw`` of a probability with logit link."""

    link = "logit"

    def loss_gradient(self, y, raw, target_terms=None):
        """See :class:`PointwiseLoss`."""
        return np.logaddexp(0.0, raw) - y * raw, expit(raw) - y

    def curvature(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return self.response_slope(raw, response)

    def response(self, raw):
        """See :class:`PointwiseLoss`."""
        return expit(raw)

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return expit(raw) * expit(-raw)

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return logit(mean)

    def best_shift(self, y, raw, probabilities):
        """See :class:`PointwiseLoss`; the shift that balances the totals, by Newton steps within a bracket."""
        target = probabilities @ y
        if not 0 < target < 1:
            return None
        # With these shifts no probability is above, or below, the mean of y.
        lowest, highest = logit(target) - raw.max(), logit(target) - raw.min()
        shift = min(max(0.0, lowest), highest)
        for _ in range(_MOST_STEPS):
            response = expit(raw + shift)
            excess = probabilities @ response - target
            if abs(excess) <= _BALANCED * target:
                break
            if excess > 0:
                highest = shift
            else:
                lowest = shift
            slope = probabilities @ (response * (1.0 - response))
            step = shift - excess / slope if slope > 0 else np.inf
            shift = step if lowest < step < highest else 0.5 * (lowest + highest)
        return float(shift)

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

    def target_terms(self, y):
        """See :class:`PointwiseLoss`."""
        p = self.power
        if p == 0:
            return 0.0
        if p == 1:
            return xlogy(y, y) - y
        if p == 2:
            return -np.log(y) - 1.0
        return np.maximum(y, 0.0) ** (2 - p) / ((1 - p) * (2 - p))

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
            undefined = np.isnan(loss)
            if undefined.any():
                # Overflow of both terms leaves a difference of infinities; the loss itself is infinite there.
                loss[undefined] = np.inf
            if self.link == "log":
                gradient = self._power(mu, log_mu, 2 - p) - y * self._power(mu, log_mu, 1 - p)
            else:
                gradient = (mu - y) * self._power(mu, log_mu, -p)
                if p != 0:
                    # Outside the range of the mean there is no model: an infinite loss sends line searches back.
                    loss = np.where(mu > 0, loss, np.inf)
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
            return np.exp(raw)

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        if self.link == "identity":
            return np.ones_like(raw)
        return self.response(raw) if response is None else response

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return np.log(mean) if self.link == "log" else mean

    def best_shift(self, y, raw, probabilities):
        """See :class:`PointwiseLoss`; with a log link and p = 1 the shift that balances the totals."""
        if self.link != "log":
            return None
        # Not finite where steps have been far too large: such a shift is taken for none.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            mu = np.exp(raw)
            observed = probabilities @ (y * self._power(mu, raw, 1 - self.power))
            return float(np.log(observed / (probabilities @ self._power(mu, raw, 2 - self.power))))

    def check_target(self, y):
        """See :class:`PointwiseLoss`."""
        if self.power >= 2 and (y <= 0).any():
            raise ValueError(
                f"Some value(s) of y are out of the valid range: the Tweedie family of power {self.power:g} needs "
                f"y > 0; found {int((y <= 0).sum())} value(s) at or below 0, the smallest {y.min():g}"
            )
        if 1 <= self.power < 2 and (y < 0).any():
            raise ValueError(
                f"Some value(s) of y are out of the valid range: the Tweedie family of power {self.power:g} needs "
                f"y >= 0; found {int((y < 0).sum())} negative value(s), the smallest {y.min():g}"
            )
        if self.link == "log" and not y.mean() > 0:
            raise ValueError(f"y must have a positive mean for a log link; found {y.mean():g}")

    def _mu(self, raw, response=None):
        if self.link == "log":
            return np.exp(raw) if response is None else response, raw
        return raw, np.log(np.where(raw > 0, raw, np.nan)) if self.power != 0 else raw

    def _power(self, mu, log_mu, exponent):
        """``mu ** exponent`` by way of the logarithm, which is at hand."""
        if exponent == 0:
            return np.ones_like(mu)
        if exponent == 1:
            return mu
        if self.power == 0:
            return mu**exponent
        return np.exp(exponent * log_mu)


OBJECTIVES = ("squared_error", "poisson", "gamma", "tweedie")


def regression_loss(objective, tweedie_power=1.5):
    """Loss of a regressor by the name of its objective; all but the squared error have a log link.

    Parameters
    ----------
    objective : {"squared_error", "poisson", "gamma", "tweedie"}
        Family of the target.
    tweedie_power : float, default=1.5
        Power of the variance function for ``"tweedie"``, above 1 and below 2.

    Returns
    -------
    PointwiseLoss
        Its ``power`` is that of the deviance, as in ``sklearn.metrics.d2_tweedie_score``.

    Raises
    ------
    ValueError
        For another name or power.

    Examples
    --------
    >>> from fairdcov._fitting._losses import regression_loss
    >>> regression_loss("gamma").power
    2.0
    """
    check_choice(objective, "objective", OBJECTIVES)
    if objective == "squared_error":
        return HalfSquaredError()
    if objective == "tweedie":
        if isinstance(tweedie_power, bool) or not 1 < tweedie_power < 2:
            raise ValueError(
                f"tweedie_power must be above 1 and below 2; found {tweedie_power!r} (1 is objective='poisson', 2 is "
                "objective='gamma')"
            )
        return HalfTweedieLoss(float(tweedie_power))
    return HalfTweedieLoss(1.0 if objective == "poisson" else 2.0)
