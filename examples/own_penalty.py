"""
A penalty of one's own
======================

The squared norm of the covariances of the prediction with the protected attributes.
"""

import numpy as np

from fairdcov.penalties import BoundPenalty, Penalty


class CovariancePenalty(Penalty):
    """``|cov(u, S)|^2`` of the predictions u with the encoded attributes S, a measure of linear dependence.

    In squared units of the predictions, so that the strength is in units of the mean loss over those.
    """

    def bind_attributes(self, attributes, probabilities):
        """Weigh and centre the attributes once; a covariance is then a product with the predictions."""
        points = np.hstack(attributes.points)[attributes.codes]
        return BoundCovariance(probabilities[:, None] * (points - probabilities @ points))


class BoundCovariance(BoundPenalty):
    """The penalty of attributes that have been weighed and centred, (n, q)."""

    shift_free = True  # adding a number to all predictions changes no covariance

    def __init__(self, directions):
        self.directions = directions

    def value_gradient(self, u):
        """The sum of the squared covariances, and its derivative with respect to every prediction."""
        covariances = u @ self.directions
        return covariances @ covariances, 2 * self.directions @ covariances
