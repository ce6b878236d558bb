"""The best predictions that are independent of known profiles: averages of the profiles' quantiles, without a grid.

With ``F_k`` the distribution of the estimates of profile k and ``s_j`` the shares of the profiles, a row of profile k
and estimate x gets ``sum_j s_j Q_j(F_k(x))``. Where estimates tie, ``F_k`` steps, and all rows of the step get the mean
over it, the best that a function of estimate and profile can do.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["QuantileAverages"]

# A smaller step of a profile is nothing but rounding in the difference of the integrals up to its two ends.
_SMALLEST_STEP = 1e-10


@dataclass(frozen=True, eq=False)
class QuantileAverages:
    """Predictions by profile and estimate.

    Attributes
    ----------
    estimates : list of K arrays
        Distinct estimates of each profile, increasing.
    predictions : list of K arrays
        What each becomes; linear in between, and constant beyond the ends.
    """

    estimates: list
    predictions: list

    @classmethod
    def of(cls, eta, memberships, weights):
        """For estimates (n,), memberships (n, K) of 0 and 1, and weights (n,) of sum 1."""
        profile = memberships.argmax(axis=1)
        shares = np.bincount(profile, weights, memberships.shape[1])
        estimates, levels, integrals = [], [], []
        for k, share in enumerate(shares):
            known, place = np.unique(eta[profile == k], return_inverse=True)
            masses = np.bincount(place.ravel(), weights[profile == k]) / share
            estimates.append(known)
            # Upper end of each step of F_k, from 0 to exactly 1, and the integral of the quantiles up to there.
            reached = np.concatenate([[0.0], np.cumsum(masses)])
            levels.append(reached / reached[-1])
            integrals.append(np.concatenate([[0.0], np.cumsum(masses * known)]))
        predictions = []
        for k, own in enumerate(levels):
            whole = sum(
                share * np.interp(own, *quantiles) for share, *quantiles in zip(shares, levels, integrals, strict=True)
            )
            step = np.diff(own)
            middle = 0.5 * (own[:-1] + own[1:])
            # Over next to nothing the mean of the quantiles is the quantile there, of its own profile the estimate.
            there = shares[k] * estimates[k]
            for j in range(len(levels)):
                if j != k:
                    place = np.searchsorted(levels[j][1:], middle)
                    there += shares[j] * estimates[j][np.minimum(place, len(estimates[j]) - 1)]
            wide = step > _SMALLEST_STEP
            predictions.append(np.divide(np.diff(whole), step, out=there, where=wide))
        return cls(estimates, predictions)

    def predict(self, eta, memberships):
        """Predictions (n,) for estimates (n,) and memberships (n, K) of 0 and 1."""
        profile = memberships.argmax(axis=1)
        found = np.empty(len(eta))
        for k, (known, moved) in enumerate(zip(self.estimates, self.predictions, strict=True)):
            rows = profile == k
            found[rows] = np.interp(eta[rows], known, moved)
        return found
