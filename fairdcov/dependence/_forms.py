"""Forms ``sum_ij |u_i - u_j| M_ij``, one class for each way in which M can be represented."""

from abc import ABC, abstractmethod

import numpy as np

from fairdcov import _kernels
from fairdcov.dependence._sample import pivoted_cholesky

__all__ = ["DependenceForm", "FeatureForm", "ProfileForm", "SumForm", "TileForm", "UnivariateForm"]


class DependenceForm(ABC):
    """The part of a dependence measure that depends on the prediction, ``sum_ij |u_i - u_j| M_ij``.

    Attributes
    ----------
    n_samples : int
        Rows it is bound to.
    constant : float
        The part that depends on the attributes alone: measure = value + constant.
    method : str
        How M is represented.
    error_bound : float
        Bound on the error of ``value / gini_mean_difference(u)``; 0 for the exact methods.
    factor : float
        Multiplies the whole form.
    """

    method = "?"
    error_bound = 0.0
    constant = 0.0
    factor = 1.0
    n_samples = 0

    @abstractmethod
    def signed_sums(self, u, order):
        """``sum_j sign(u_i - u_j) M_ij`` for every row, with ``order = np.argsort(u)``."""

    def value_gradient(self, u, order=None):
        """Value without the constant, and its gradient (n,).

        The form is homogeneous of degree one in ``u`` and blind to shifts, so its value is ``u . gradient``, taken
        about the mean of ``u`` to lose no digits.
        """
        order = np.argsort(u) if order is None else order
        gradient = 2.0 * self.factor * self.signed_sums(u, order)
        return float((u - u.mean()) @ gradient), gradient


class ProfileForm(DependenceForm):
    """M given by a K x K matrix over the profiles."""

    method = "profiles"

    def __init__(self, sample, matrix):
        """``matrix`` is W between two different rows of each pair of profiles."""
        centred = sample.centred_profile_matrix(matrix)
        self.n_samples = sample.n_samples
        self._codes = sample.codes
        if sample.uniform:
            # Unit weights in the sweep make its running counts whole numbers, exact to the last digit.
            self._row_weights, centred = None, centred * sample.q[0] ** 2
        else:
            self._row_weights = sample.q
        self._matrix = _kernels.pad_columns(centred)

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        return _kernels.profile_signed_products(u, self._codes, self._matrix, weights=self._row_weights, order=order)


class RowForm(DependenceForm):
    """M is a centred W of which only signed sums over rows can be had.

    With ``q`` the row weights, both centrings read ``M_ij = -s q_i q_j (W_ij - b_i - b_j + t)``; for V-statistics
    ``q = p``, ``s = 1``, ``b_i = sum_j p_j W_ij`` and ``t = sum_i p_i b_i``; for U-statistics ``q = 1``,
    ``s = 1 / (n (n - 3))``, ``b_i = sum_{j != i} W_ij / (n - 2)`` and ``t = sum_{i != j} W_ij / ((n - 1) (n - 2))``.
    So the signed sums of M follow from those of W, of ``q`` and of ``q b``.
    """

    def __init__(self, sample, row_sums, diagonal):
        """``row_sums`` are ``sum_{j != i} q_j W_ij``, ``diagonal`` is ``W_ii``."""
        n = sample.n_samples
        self.n_samples = n
        self._q = sample.q
        self._scale = sample.scale
        if sample.statistic == "u":
            centring = row_sums / (n - 2)
            self.grand_mean = row_sums.sum() / ((n - 1) * (n - 2))
        else:
            centring = row_sums + self._q * diagonal
            self.grand_mean = float(self._q @ centring)
        self._excess = centring - self.grand_mean
        self._weights = np.column_stack([self._q, self._q * centring])

    @abstractmethod
    def _signed_products(self, u, order):
        """``sum_j q_j sign(u_i - u_j) W_ij``."""

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        below_minus_above, signed_centring = _kernels.signed_sums(u, self._weights, order=order).T
        products = self._signed_products(u, order)
        return -self._scale * self._q * (products - self._excess * below_minus_above - signed_centring)


class UnivariateForm(RowForm):
    """W = -|z_i - z_j| for one continuous attribute, by a Fenwick tree in O(n log n)."""

    method = "univariate"

    def __init__(self, sample, values):
        """``values`` are those of the profiles."""
        values = values - values.mean()
        ranks = np.empty(len(values), dtype=np.int32)
        ascending = np.argsort(values)
        ranks[ascending] = np.arange(1, len(values) + 1)
        self._z = values[sample.codes]
        self._ranks = ranks[sample.codes]
        distance_sums = _kernels.univariate_distance_sums(values, sample.profile_weights, order=ascending)
        self._distance_sums = distance_sums[sample.codes]
        super().__init__(sample, -self._distance_sums, np.zeros(sample.n_samples))

    def _signed_products(self, u, order):
        return -_kernels.univariate_signed_distances(u, self._z, self._ranks, self._q, self._distance_sums, order=order)


class TileForm(RowForm):
    """W recomputed tile by tile from the rows' coordinates: any blocks, exact, O(n^2) time and O(n) memory."""

    method = "tiles"

    def __init__(self, sample, factors, n_threads):
        self._points = [factor.points[sample.codes] for factor in factors]
        self._half = np.array([factor.half[sample.codes] for factor in factors])
        self._scales = np.array([factor.scale for factor in factors])
        self._n_threads = n_threads
        row_sums = _kernels.tile_row_sums(self._points, self._half, self._scales, sample.q, n_threads=n_threads)
        super().__init__(sample, row_sums, np.prod(2 * self._half, axis=0))

    def _signed_products(self, u, order):
        return _kernels.tile_signed_products(
            u, self._points, self._half, self._scales, self._q, n_threads=self._n_threads, order=order
        )


class FeatureForm(RowForm):
    """W ~ Phi Phi', a Nystroem approximation by randomly pivoted Cholesky (Chen, Epperly, Tropp and Webber 2025).

    For V-statistics W (minus the distance from a base point's view, or the product of JdCov with c >= 0) is positive
    semi-definite and so is the error E = W - Phi Phi'. As ``sum_i p_i U_ii`` is the Gini mean difference of ``u``,

        0 <= (value - approximation) / gini_mean_difference(u) <= sum_i p_i E_ii = error_bound.
    """

    method = "approximate"

    def __init__(self, sample, factors, n_components, random_state):
        features, residual = pivoted_cholesky(
            factors, sample.profile_probabilities, n_components, np.random.default_rng(random_state)
        )
        self.error_bound = float(sample.profile_probabilities @ residual)
        self.n_components = features.shape[1]
        self._codes = sample.codes
        self._features = _kernels.pad_columns(features)
        self._features_q = sample.q
        squared_norms = np.einsum("kr,kr->k", features, features)[sample.codes]
        total = features.T @ sample.profile_weights
        row_sums = (features @ total)[sample.codes] - sample.q * squared_norms
        super().__init__(sample, row_sums, squared_norms)

    def _signed_products(self, u, order):
        return _kernels.feature_signed_products(u, self._codes, self._features, self._q, order=order)


class SumForm(DependenceForm):
    """Sum of several forms over the same rows."""

    def __init__(self, forms):
        self.n_samples = forms[0].n_samples
        self.constant = sum(form.constant for form in forms)
        self.error_bound = sum(form.error_bound for form in forms)
        self.method = " + ".join(dict.fromkeys(form.method for form in forms))
        self._forms = forms

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        return sum(form.signed_sums(u, order) for form in self._forms)
