"""Distance correlation of predictions with profiles, and its error, from the influence of every row."""

import numpy as np

from fairdcov.inference._gaps import Gaps

__all__ = ["DistanceCorrelationGap"]

# Sums below, of rows in profiles, that are held at once.
_BLOCK = 2**22


class DistanceCorrelationGap:
    """Distance correlation R of a prediction with the protected attributes of the rows, and ends of its interval.

    With weights of sum 1 and the weighted double-centred distances A of the predictions and B of the attributes,
    ``R^2 = C / sqrt(V_u V_s)`` of ``C = sum_ij w_i w_j A_ij B_ij`` and the same with A, and with B, twice. Each of the
    three is a smooth function of the weighted distribution: a row moves C by ``2 w_i (sum_j w_j A_ij B_ij - C)``, which
    gives the standard error s of R^2.

    R^2 is above 0 by chance: by N, of C ``-sum_i w_i^2 B_ii`` times the mean distance of two predictions where these do
    not depend on the attributes. Near independence R^2 is skewed, and the lower it comes out, the lower s; on the scale
    of R it is nearly normal. The lower end of the interval is by the root of ``R^2 - N`` with the error ``s / (2 R)``.
    For the upper end only half of N is taken off and R in the error is at least the root of N: simulations (in
    ``benchmarks/certificate.py``) show that a limit at R itself is then passed in no more than the nominal share.

    Parameters
    ----------
    predictions, weights : (n,) float64 arrays
        Weights positive.
    blocks : SensitiveBlocks
        Profiles of the rows, in one block.
    """

    def __init__(self, predictions, weights, blocks):
        order = np.argsort(predictions, kind="stable")
        u = predictions[order]
        spread = u[-1] - u[0]
        # Free of the unit, and no cancellation by a common level.
        u = (u - u[0]) / spread if spread > 0 else np.zeros_like(u)
        w = weights[order] / weights.sum()
        codes = blocks.codes[order]
        shares = np.bincount(codes, w, blocks.n_profiles)
        distances, own_rows = self._centred_distances(blocks.points[0], shares)
        mean_distances = _distance_sums(u, w)
        overall = w @ mean_distances
        products = self._products(u, w, codes, distances, mean_distances)
        squares = _centred_squares(u, w, mean_distances)
        profile_squares = distances**2 @ shares
        covariance, variance, profile_variance = w @ products, w @ squares, shares @ profile_squares
        scale = np.sqrt(variance * profile_variance)
        by_chance = -(w**2 @ own_rows[codes]) * overall / (1.0 - w @ w)
        squared, chance, moved = 0.0, 0.0, np.zeros(len(u))
        if scale > 0:
            squared, chance = covariance / scale, by_chance / scale
            moved = 2 * (products - covariance) / scale
            moved -= squared * ((squares - variance) / variance)
            moved -= squared * ((profile_squares[codes] - profile_variance) / profile_variance)
        influence = np.empty(len(u))
        influence[order] = w * moved
        self._influence = influence[:, None]
        error = np.sqrt(influence @ influence)
        net, half_net = (np.sqrt(max(squared - part * chance, 0.0)) for part in (1.0, 0.5))
        least = np.sqrt(chance)

        def of_root(root):
            return np.array([error / (2 * root) if root > 0 else np.inf if error > 0 else 0.0])

        straight = np.zeros(1)
        self.gaps = Gaps(
            estimates=np.array([net]),
            errors=of_root(net),
            degrees=np.array([max(1.0 / (w @ w) - 1.0, 1.0)]),
            skewness=straight,
            bend=straight,
            values=np.array([np.sqrt(max(squared, 0.0))]),
            references=np.array([np.nan]),
            upper_estimates=np.array([half_net]),
            upper_errors=of_root(max(net, least)),
        )

    @staticmethod
    def _centred_distances(points, shares):
        """Double-centred distances of the profiles, (K, K), and their diagonal."""
        squares = np.sum(points**2, axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0.0))
        np.fill_diagonal(distances, 0.0)
        means = distances @ shares
        distances = distances - means[:, None] - means + shares @ means
        return distances, np.diag(distances)

    @staticmethod
    def _products(u, w, codes, distances, mean_distances):
        """``sum_j w_j A_ij B_ij`` of each row i, by sums below it in every profile."""
        n_profiles = len(distances)
        profile_means = np.bincount(codes, w * mean_distances, n_profiles)
        weight, weighted = (np.bincount(codes, value, n_profiles) for value in (w, w * u))
        below, weighted_below = np.zeros(n_profiles), np.zeros(n_profiles)
        products = np.empty(len(u))
        step = max(1, _BLOCK // n_profiles)
        for start in range(0, len(u), step):
            rows = slice(start, start + step)
            part = codes[rows]
            member = np.zeros((2, len(part), n_profiles))
            member[0, np.arange(len(part)), part] = w[rows]
            member[1, np.arange(len(part)), part] = (w * u)[rows]
            member[:, 0] += below, weighted_below
            np.cumsum(member, axis=1, out=member)
            below, weighted_below = member[:, -1].copy()
            table = u[rows, None] * (2 * member[0] - weight) - (2 * member[1] - weighted)
            products[rows] = np.einsum("ik,ik->i", table - profile_means, distances[part])
        return products

    def influence(self, rows):
        """Contributions of some rows (a slice) to the estimate, (m, 1)."""
        return self._influence[rows]


def _distance_sums(u, w):
    """``sum_j w_j |u_i - u_j|`` of each row, u in order."""
    below, weighted_below = np.cumsum(w), np.cumsum(w * u)
    return u * (2 * below - below[-1]) - (2 * weighted_below - weighted_below[-1])


def _centred_squares(u, w, means):
    """``sum_j w_j A_ij^2`` of each row, with A the double-centred distances of u in order, and w of sum 1."""
    overall, mean_squares = w @ means, w @ means**2
    squares = u**2 - 2 * u * (w @ u) + w @ u**2
    with_means = means**2 + _distance_sums(u, w * means) - overall * means
    return squares - 2 * with_means + means**2 + mean_squares - overall**2
