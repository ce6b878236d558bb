"""Negative binomial counts with a given dispersion: more spread than a Poisson distribution has."""

import numpy as np

from fairdcov._checks import check_positive_number
from fairdcov._fitting._functions import functions_of
from fairdcov._fitting._losses import ONE_PROCESS, PointwiseLoss, balancing_shift

__all__ = ["HalfNegativeBinomialLoss"]


class HalfNegativeBinomialLoss(PointwiseLoss):
    """Half the deviance of the negative binomial distribution of variance ``mu + dispersion mu^2`` (NB2), log link.

    ``d(y, mu) / 2 = y log(y / mu) - (y + 1/a) log((1 + a y) / (1 + a mu))`` with ``a = dispersion``; the derivative
    with respect to ``log mu`` is ``(mu - y) / (1 + a mu)``. For ``a`` to 0 it is that of the Poisson distribution.

    Parameters
    ----------
    dispersion : float
        Above 0, and of a size that has an inverse.

    Notes
    -----
    A weight times the loss of a rate is the loss of weight times rate, with the dispersion divided by the weight: the
    sum of independent parts of unit weight, as repeated rows are.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov._fitting._negative_binomial import HalfNegativeBinomialLoss
    >>> loss, gradient = HalfNegativeBinomialLoss(0.5).loss_gradient(np.array([2.0]), np.log([2.0]))
    >>> abs(loss.item()) < 1e-12 and abs(gradient.item()) < 1e-12
    True
    """

    link = "log"
    target_range = "not negative"
    name = "negative binomial distribution"

    def __init__(self, dispersion):
        self.dispersion = check_positive_number(dispersion, "dispersion")
        if not np.isfinite(1.0 / self.dispersion):
            raise ValueError(f"dispersion is too small; found {self.dispersion:g}: use the Poisson family")
        self._log_dispersion = float(np.log(self.dispersion))

    def target_terms(self, y):
        """See :class:`PointwiseLoss`."""
        functions = functions_of(y)
        return functions.xlogy(y, y) - (y + 1.0 / self.dispersion) * functions.log1p(self.dispersion * y)

    def loss_gradient(self, y, raw, target_terms=None):
        """See :class:`PointwiseLoss`."""
        if target_terms is None:
            target_terms = self.target_terms(y)
        # log(a mu): its logistic function is a mu / (1 + a mu), and nothing overflows.
        scaled, functions = raw + self._log_dispersion, functions_of(raw)
        expit = functions.expit
        loss = target_terms - y * raw + (y + 1.0 / self.dispersion) * functions.log1pexp(scaled)
        return loss, expit(scaled) / self.dispersion - y * expit(-scaled)

    def curvature(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return functions_of(raw).expit(raw + self._log_dispersion) / self.dispersion

    def response(self, raw):
        """See :class:`PointwiseLoss`."""
        with np.errstate(over="ignore"):
            return functions_of(raw).exp(raw)

    def response_slope(self, raw, response=None):
        """See :class:`PointwiseLoss`."""
        return self.response(raw) if response is None else response

    def intercept(self, mean):
        """See :class:`PointwiseLoss`."""
        return np.log(mean)

    def best_shift(self, y, raw, probabilities, reduction=ONE_PROCESS):
        """See :class:`PointwiseLoss`; the root of the mean derivative, which rises with the shift."""
        mean, expit = float(reduction.add(np.array(float(probabilities @ y)))), functions_of(raw).expit
        # Over several processes the maximum must not depend on where a NaN is: it counts as infinite.
        highest, lowest = float(raw.max()), float(raw.min())
        extremes = np.array([highest, -lowest, float(y.max())])
        above, below, most = reduction.maximum(np.where(np.isnan(extremes), np.inf, extremes))
        if not (mean > 0 and np.isfinite([above, below]).all()):
            return None

        def excess_slope(shift):
            scaled = raw + (shift + self._log_dispersion)
            inner, outer = expit(scaled) / self.dispersion, expit(-scaled)
            gradient = inner - y * outer
            slope = outer * inner * (1.0 + self.dispersion * y)
            return reduction.add(np.array([float(probabilities @ gradient), float(probabilities @ slope)]))

        # Not above 0 where mu (1 + a mu) is nowhere above the mean of y; not below 0 where mu is nowhere below any y.
        lowest = np.log(2.0 * mean / (1.0 + np.sqrt(1.0 + 4.0 * self.dispersion * mean))) - above
        highest = np.log(most) + below
        return balancing_shift(excess_slope, lowest, highest, mean / (1.0 + self.dispersion * mean))
