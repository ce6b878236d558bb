"""Forms ``sum_ij |u_i - u_j| M_ij``, one class for each way in which M can be represented."""

from abc import ABC, abstractmethod
from copy import copy

import numpy as np

from fairdcov import _kernels
from fairdcov._checks import product_about_mean
from fairdcov.dependence._curvature import LEAST_DENSITY, local_density
from fairdcov.dependence._sample import FEW_PROFILES, Factor, distances, pivoted_cholesky, product_of_factors

# A centred W this small beside W itself is rounding: nothing can depend on such attributes.
ROUNDING = 1e-13
# Joint profiles of forms that are added up for another device.
_JOINT_PROFILES = 2_000
# Rows that stand for all where the profiles are too many for their matrix.
_PART = 512

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
    n_threads : int
        Threads it may use.
    """

    method = "?"
    n_threads = 1
    error_bound = 0.0
    constant = 0.0
    factor = 1.0
    n_samples = 0

    @abstractmethod
    def signed_sums(self, u, order):
        """``sum_j sign(u_i - u_j) M_ij`` for every row, with ``order = np.argsort(u)``.

        Also ``sum_j w_j sign(u_i - u_j)`` with the row weights of the measure, 1 without weights: every form needs that
        for its centring or has it by the way.
        """

    def value_gradient(self, u, order=None):
        """Value without the constant, and its gradient (n,)."""
        return self.value_gradient_weights(u, _kernels.ascending_order(u) if order is None else order)[:2]

    def value_gradient_weights(self, u, order):
        """Value without the constant, its gradient (n,), and the by-product of :meth:`signed_sums`.

        The form is homogeneous of degree one in ``u`` and blind to shifts, so its value is ``u . gradient``, taken
        about the mean of ``u`` to lose no digits.
        """
        gradient, signed_weights = self.signed_sums(u, order)
        gradient *= 2.0 * self.factor
        return product_about_mean(u, gradient), gradient, signed_weights

    @abstractmethod
    def norm(self):
        """Length of the centred W, ``sqrt(sum_ij p_i p_j (CW)_ij^2)``, for U ``sqrt(sum_{i != j} .. / (n (n - 3)))``.

        The value is the inner product of W with the centred distances of ``u``, so that by the inequality of Cauchy
        and Schwarz it lies within the product of their norms. The norm of a distance covariance is the square root of
        the distance variance. It is 0 where nothing can depend on the attributes.
        """

    @abstractmethod
    def between(self, rows):
        """W between two different rows with the profiles of ``rows`` each, up to what centring takes off, (m, m)."""

    def profile_terms(self):
        """M as profiles, for code that sums on another device; None where it is represented by something else.

        The profile of each row (n,), the (K, K) matrix D and row weights q (n,), None for ones:
        ``M_ij = q_i q_j D[k_i, k_j]``.
        """
        return None

    def pull_bounds(self, random_state=0):
        """``sum_j |M_ij|`` for every row, (n,): no component of the gradient is more than twice that.

        Exact for up to 512 profiles; else the row weight times the mean over 512 rows, drawn by weight with the seed
        ``random_state``.
        """
        sample = self._sample
        if sample.n_profiles <= FEW_PROFILES:
            _, first = np.unique(sample.codes, return_index=True)
            return abs(self.factor) * ProfileForm(sample, self.between(first)).absolute_row_sums()
        probabilities = np.full(self.n_samples, 1.0 / self.n_samples) if sample.uniform else sample.q
        rows = np.random.default_rng(random_state).choice(self.n_samples, _PART, p=probabilities)
        part, first = sample.part(rows)
        return abs(self.factor) * probabilities * ProfileForm(part, self.between(first)).absolute_row_sums().sum()

    def density(self, u, order, probabilities, width):
        """Density of the predictions around each row among those that it is compared with, (n,).

        At least 2 % of the inverse of ``width``, the Gini mean difference of ``u``, which is not constant;
        ``probabilities`` are the row weights, None for equal ones, and ``order = np.argsort(u)``.
        """
        return np.maximum(local_density(u, probabilities, order=order), LEAST_DENSITY / width)

    def sorted_value(self, u, rows):
        """Value without the constant for predictions ``u`` in ascending order that belong to the rows ``rows``.

        With ``rows = order`` it is the value of the data; with any other permutation, that of attributes which have
        been permuted against the predictions, without another sort. Only for forms without row weights, which would
        stay with the attributes.
        """
        moved = np.empty_like(u)
        moved[rows] = u
        return self.value_gradient(moved, rows)[0]

    def sorted_values(self, u, lines):
        """:meth:`sorted_value` for each line of ``lines`` (B, n), (B,)."""
        return np.array([self.sorted_value(u, rows) for rows in lines])

    def permuted_values(self, u, n_permutations, generator):
        """:meth:`sorted_value` of random permutations, (n_permutations,)."""
        rows = np.arange(self.n_samples)
        return self.sorted_values(u, (generator.permuted(rows) for _ in range(n_permutations)))


class ProfileForm(DependenceForm):
    """M given by a K x K matrix over the profiles."""

    method = "profiles"

    def __init__(self, sample, matrix, n_threads=1):
        """``matrix`` is W between two different rows of each pair of profiles."""
        self.n_threads = n_threads
        centred = sample.centred_profile_matrix(matrix)
        self.n_samples = len(sample.codes)
        self._codes = sample.codes
        if sample.uniform:
            # Unit weights in the sweep make its running counts whole numbers, exact to the last digit.
            self._row_weights, centred = None, centred * sample.unit**2
        else:
            self._row_weights = sample.q
        self._matrix = _kernels.pad_columns(centred)
        self._sample = sample
        self._largest = float(np.abs(matrix).max())

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        return _kernels.profile_signed_products(
            u,
            self._codes,
            self._matrix,
            weights=self._row_weights,
            order=order,
            return_signed_weights=True,
            n_threads=self.n_threads,
        )

    def evaluate(self, u, order, *, normalize=False):
        """Value, over the Gini mean difference if ``normalize``, gradient (n,), and the Gini mean difference or 1.

        What :meth:`value_gradient_weights` and :func:`fairdcov.dependence.gini_mean_difference` say together, by two
        more walks over the rows instead of a dozen, all in threads.

        Parameters
        ----------
        u : (n,) float64 array
            Predictions, not all equal, of which squares are within the range of floats.
        order : (n,) int64 array
            ``np.argsort(u)``.
        """
        u = np.ascontiguousarray(u)
        weights, sample, threads = self._row_weights, self._sample, {"n_threads": self.n_threads}
        pairs = _kernels.profile_pairs(u, self._codes, self._matrix, order, weights=weights, **threads)
        # About the mean, to lose no digits; rows of next to no weight have no say in it.
        centre = u.mean() if weights is None else np.einsum("i,i->", weights, u)
        product, spread = _kernels.pair_sums(u, centre, pairs, weights=weights, **threads)
        value = 2.0 * self.factor * product
        if not normalize:
            gradient = _kernels.combine_pairs(pairs, 2.0 * self.factor, 0.0, weights=weights, **threads)
            return float(value), gradient, 1.0
        n, scale = self.n_samples, 1.0
        if weights is None:
            scale = 1.0 / (n * (n - 1)) if sample.statistic == "u" else 1.0 / n**2
        spread *= 2.0 * scale
        ratio = value / spread
        first, second = 2.0 * self.factor / spread, -2.0 * scale * ratio / spread
        gradient = _kernels.combine_pairs(pairs, first, second, weights=weights, **threads)
        return float(ratio), gradient, float(spread)

    def profile_terms(self):
        """See :meth:`DependenceForm.profile_terms`."""
        return self._codes, self.factor * self._matrix[:, : len(self._matrix)], self._row_weights

    def grid_rows(self):
        """The rows as :class:`fairdcov.dependence._grid.GridForm` takes them."""
        return _kernels.GridRows(*self.profile_terms())

    def norm(self):
        """See :meth:`DependenceForm.norm`."""
        sample = self._sample
        centred = self._matrix[:, : len(self._matrix)] / sample.scale
        if sample.uniform:
            centred = centred / sample.unit**2
        squares, weights = centred**2, sample.profile_weights
        total = weights @ squares @ weights
        if sample.statistic == "u":
            total -= weights @ np.diag(squares)
        norm = np.sqrt(sample.scale * max(total, 0.0))
        return float(self.factor * norm) if norm > ROUNDING * self._largest else 0.0

    def between(self, rows):
        """See :meth:`DependenceForm.between`."""
        codes, sample = self._codes[rows], self._sample
        return self._matrix[np.ix_(codes, codes)] / (-sample.scale * (sample.unit**2 if sample.uniform else 1.0))

    def pull_bounds(self, random_state=0):
        """See :meth:`DependenceForm.pull_bounds`."""
        few = len(self._matrix) <= FEW_PROFILES
        return self.absolute_row_sums() if few else super().pull_bounds(random_state)

    def sorted_value(self, u, rows):
        """See :meth:`DependenceForm.sorted_value`."""
        return float(self.sorted_values(u, rows[None])[0])

    def sorted_values(self, u, lines):
        """See :meth:`DependenceForm.sorted_values`."""
        return self._values(u, self._codes[lines])

    def permuted_values(self, u, n_permutations, generator):
        """See :meth:`DependenceForm.permuted_values`; profiles are permuted instead of rows."""
        return self._values(u, generator.permuted(np.tile(self._codes, (n_permutations, 1)), axis=1))

    def _values(self, u, codes):
        return self.factor * _kernels.profile_values(u - u.mean(), codes, self._matrix)

    def absolute_row_sums(self):
        """``sum_j |M_ij|`` for every row, (n,)."""
        sample = self._sample
        matrix = np.abs(self._matrix[:, : len(self._matrix)])
        if sample.uniform:
            counts = np.round(sample.profile_weights / sample.unit)
            return abs(self.factor) * (matrix @ counts)[self._codes]
        return abs(self.factor) * self._row_weights * (matrix @ sample.profile_weights)[self._codes]


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
        self._sample = sample
        self._statistic = sample.statistic
        self._q = sample.q
        self._unit = sample.q[0] if sample.uniform else 1.0
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

    @abstractmethod
    def _squared_sum(self, diagonal):
        """``sum_ij q_i q_j W_ij^2``, with or without the diagonal."""

    def norm(self):
        """See :meth:`DependenceForm.norm`; the square of W less what the centring takes off it."""
        n, centring, grand = self.n_samples, self._excess + self.grand_mean, self.grand_mean
        if self._statistic == "u":
            raw = self._squared_sum(False)
            taken = 2 * (n - 2) * (centring @ centring) - (n - 1) * (n - 2) * grand**2
        else:
            raw = self._squared_sum(True)
            taken = 2 * self._q @ centring**2 - grand**2
        return float(self.factor * np.sqrt(self._scale * (raw - taken))) if raw - taken > ROUNDING * raw else 0.0

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        below_minus_above, signed_centring = _kernels.signed_sums(u, self._weights, order=order).T
        products = self._signed_products(u, order)
        sums = -self._scale * self._q * (products - self._excess * below_minus_above - signed_centring)
        return sums, below_minus_above / self._unit


class UnivariateForm(RowForm):
    """W = -|z_i - z_j| for one continuous attribute, by a Fenwick tree in O(n log n)."""

    method = "univariate"

    def __init__(self, sample, values):
        """``values`` are those of the profiles."""
        values = values - values.mean()
        ranks = np.empty(len(values), dtype=np.int32)
        ascending = _kernels.ascending_order(values)
        ranks[ascending] = np.arange(1, len(values) + 1)
        self._z = values[sample.codes]
        self._ranks = ranks[sample.codes]
        distance_sums = _kernels.univariate_distance_sums(values, sample.profile_weights, order=ascending)
        self._distance_sums = distance_sums[sample.codes]
        super().__init__(sample, -self._distance_sums, np.zeros(sample.n_samples))

    def _signed_products(self, u, order):
        return -_kernels.univariate_signed_distances(u, self._z, self._ranks, self._q, self._distance_sums, order=order)

    def between(self, rows):
        """See :meth:`DependenceForm.between`."""
        return -distances(self._z[rows, None], self._z[rows, None])

    def _squared_sum(self, diagonal):
        total = self._q.sum()
        return 2 * total * (self._q @ (self._z - self._q @ self._z / total) ** 2)


class TileForm(RowForm):
    """W recomputed tile by tile from the rows' coordinates: any blocks, exact, O(n^2) time and O(n) memory."""

    method = "tiles"

    def __init__(self, sample, factors, n_threads):
        self._points = [factor.points[sample.codes] for factor in factors]
        self._half = np.array([factor.half[sample.codes] for factor in factors])
        self._scales = np.array([factor.scale for factor in factors])
        self.n_threads = n_threads
        row_sums = _kernels.tile_row_sums(self._points, self._half, self._scales, sample.q, n_threads=n_threads)
        super().__init__(sample, row_sums, np.prod(2 * self._half, axis=0))

    def _signed_products(self, u, order):
        return _kernels.tile_signed_products(
            u, self._points, self._half, self._scales, self._q, n_threads=self.n_threads, order=order
        )

    def between(self, rows):
        """See :meth:`DependenceForm.between`."""
        of_rows = zip(self._points, self._half, self._scales, strict=True)
        return product_of_factors([Factor(points[rows], half[rows], scale) for points, half, scale in of_rows])

    def _squared_sum(self, diagonal):
        points, half, scales = self._points * 2, np.vstack([self._half] * 2), np.tile(self._scales, 2)
        sums = _kernels.tile_row_sums(points, half, scales, self._q, n_threads=self.n_threads)
        if diagonal:
            sums = sums + self._q * np.prod(2 * half, axis=0)
        return self._q @ sums


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
        self._factors = factors
        self._residual = residual
        self.n_components = features.shape[1]
        self._features = _kernels.pad_columns(features)
        self._bind(sample)

    def _bind(self, sample):
        features = self._features
        self.error_bound = abs(self.factor) * float(sample.profile_probabilities @ self._residual)
        self._codes = sample.codes
        self._profile_weights = sample.profile_weights
        squared_norms = np.einsum("kr,kr->k", features, features)[sample.codes]
        total = features.T @ sample.profile_weights
        row_sums = (features @ total)[sample.codes] - sample.q * squared_norms
        RowForm.__init__(self, sample, row_sums, squared_norms)

    def rebound(self, sample):
        """The same features with other row weights, or another assignment of the profiles to the rows."""
        form = copy(self)
        form._bind(sample)
        return form

    def _signed_products(self, u, order):
        return _kernels.feature_signed_products(u, self._codes, self._features, self._q, order=order)

    def between(self, rows):
        """See :meth:`DependenceForm.between`; not approximated."""
        return product_of_factors(self._factors, self._codes[rows], self._codes[rows])

    def _squared_sum(self, diagonal):
        gram = (self._features.T * self._profile_weights) @ self._features
        total = (gram**2).sum()
        if not diagonal:
            squared_norms = np.einsum("kr,kr->k", self._features, self._features)[self._codes]
            total -= self._q**2 @ squared_norms**2
        return total


class SumForm(DependenceForm):
    """Sum of several forms over the same rows."""

    def __init__(self, forms, sample):
        """``sample`` has the profiles of all blocks together."""
        self.n_samples = sample.n_samples
        self._sample = sample
        self.constant = sum(form.constant for form in forms)
        self.error_bound = sum(form.error_bound for form in forms)
        self.method = " + ".join(dict.fromkeys(form.method for form in forms))
        self.n_threads = max(form.n_threads for form in forms)
        self._forms = forms

    def parts(self):
        """Copies of the forms with the factor of the sum."""
        parts = [copy(form) for form in self._forms]
        for part in parts:
            part.factor *= self.factor
        return parts

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        sums, weights = zip(*(form.signed_sums(u, order) for form in self._forms), strict=True)
        return sum(sums), weights[0]

    def profile_terms(self):
        """See :meth:`DependenceForm.profile_terms`; by the joint profiles, where these are few."""
        parts = [form.profile_terms() for form in self._forms]
        if not hasattr(self._sample, "codes") or any(part is None for part in parts):
            return None
        found, first, codes = np.unique(self._sample.codes, return_index=True, return_inverse=True)
        if len(found) > _JOINT_PROFILES:
            return None
        matrix = sum(part[np.ix_(part_codes[first], part_codes[first])] for part_codes, part, _ in parts)
        return codes.astype(np.int32), self.factor * matrix, parts[0][2]

    def norm(self):
        """Sum of the norms of the forms, which by the triangle inequality is not less than that of their sum."""
        return self.factor * sum(form.norm() for form in self._forms)

    def between(self, rows):
        """See :meth:`DependenceForm.between`."""
        return sum(form.factor * form.between(rows) for form in self._forms)

    def pull_bounds(self, random_state=0):
        """See :meth:`DependenceForm.pull_bounds`; without joint profiles, the sum of the bounds of the forms."""
        if hasattr(self._sample, "codes"):
            return super().pull_bounds(random_state)
        return abs(self.factor) * sum(form.pull_bounds(random_state) for form in self._forms)

    def sorted_value(self, u, rows):
        """See :meth:`DependenceForm.sorted_value`."""
        return self.factor * sum(form.sorted_value(u, rows) for form in self._forms)
