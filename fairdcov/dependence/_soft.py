"""The form of attributes that are known as probabilities: the expected V-statistic over independent imputations."""

import numpy as np
import sklearn

from fairdcov import _kernels
from fairdcov.dependence._forms import ROUNDING, DependenceForm
from fairdcov.dependence._sample import Sample

__all__ = ["SoftForm", "SoftSample"]

# Rows whose shares are made dense at a time, and rows that stand for all in the bounds of the pull.
_ROWS_AT_A_TIME = 16_384
_PART = 512
# Up to so many shares in a row, sparse rows are quicker than a vector of all profiles.
_FEW_SHARES = 4


class SoftSample(Sample):
    """Rows with shares ``p`` (n, K) of the profiles; ``profile_weights`` are the expected ones, ``sum_i q_i p_i``."""

    def _read(self, blocks):
        self.shares = blocks.shares


class SoftForm(DependenceForm):
    """Expected V-statistic when every row draws its profile from its probabilities, independently of the others.

    With profiles ``Z_i ~ p_i`` and D the K x K matrix of W between profiles, the expectation of W is::

        E W_ij = p_i' D p_j for i != j,    E W_ii = sum_k p_ik D_kk,

    so that ``W_ii = 0`` for distances. Centring and the sum over pairs are linear in W: ``sum_ij |u_i - u_j| M_ij``
    with M of this W is the expectation of the form, exactly. For the joint measure D is the product of its factors,
    each centred by the expected profile weights ``sum_i q_i p_i`` and not by those of a draw, which differ by the order
    of ``1 / sqrt(n)``: the expectation is over draws with these factors.

    A row is one policy: it draws once, whatever its weight. A weight of 2 is therefore not the same as two rows, which
    would draw independently of each other.

    Notes
    -----
    With ``w = sum_i q_i p_i`` and ``N = -(D - D w 1' - 1 (D w)' + w' D w)``, with ``d_i = E W_ii - p_i' D p_i``, which
    is 0 for certain rows, ``e_i = q_i d_i`` and ``t = sum_i q_i e_i``::

        M_ij = q_i q_j (p_i' N p_j + e_i + e_j - t) for i != j,

    an inner product of vectors of the length K + 2, of which one sweep over the sorted predictions keeps the sum.
    """

    method = "memberships"

    def __init__(self, sample, matrix):
        """``matrix`` is W between two rows of each pair of profiles; on its diagonal also that of a row with itself."""
        self.n_samples = n = sample.shares.shape[0]
        self._sample = sample
        self._q = q = sample.q
        self._unit = sample.unit if sample.uniform else 1.0
        self._matrix = matrix
        self._largest = float(np.abs(matrix).max())
        row_sums = matrix @ sample.profile_weights
        grand = float(sample.profile_weights @ row_sums)
        self._centred = -(matrix - row_sums[:, None] - row_sums[None, :] + grand)
        self._own, self._excess = np.empty(n), np.empty(n)
        for rows, _, sees in self._parts():
            own = np.asarray(self._sample.shares[rows].multiply(sees).sum(axis=1)).ravel()
            self._own[rows] = own
            # What a row has with itself beyond two independent draws; 0 where it is certain of its profile.
            self._excess[rows] = own - self._sample.shares[rows] @ np.diag(self._centred)
        self._excess *= q
        self._total_excess = float(sample.reduction.add(np.array([q @ self._excess]))[0])
        self.grand_mean = grand + self._total_excess
        width = sample.n_profiles + 2
        dense = 2 * 8 * n * (width + 6) <= sklearn.get_config()["working_memory"] * 2**20
        self._pairs = None
        if dense and sample.shares.nnz > _FEW_SHARES * n:
            self._pairs = _kernels.soft_rows(n, width, self._weighted_parts())
        else:
            self._padded = _kernels.pad_columns(self._centred)
            self._weights = np.column_stack([q, q * self._excess])

    def _parts(self):
        """Some rows at a time: their shares, dense, and their products with the centred matrix."""
        size = max(1, min(_ROWS_AT_A_TIME, 2**22 // self._sample.n_profiles))
        for start in range(0, self.n_samples, size):
            rows = slice(start, min(start + size, self.n_samples))
            shares = self._sample.shares[rows].toarray()
            yield rows, shares, shares @ self._centred

    def _vectors(self, rows, shares, sees):
        """The vectors of the length K + 2 whose inner products are M but for the weights of both rows."""
        excess, ones = self._excess[rows], np.ones(len(shares))
        return (
            np.column_stack([shares, ones, excess]),
            np.column_stack([sees, excess - self._total_excess, ones]),
        )

    def _weighted_parts(self):
        for rows, shares, sees in self._parts():
            q = self._q[rows, None]
            seen, sees = self._vectors(rows, shares, sees)
            yield rows, q * seen, q * sees

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        if self._pairs is not None:
            sums, below_minus_above = _kernels.soft_signed_products(
                u, *self._pairs, self._sample.n_profiles, order=order
            )
            return sums, below_minus_above / self._unit
        below_minus_above, signed_excess = _kernels.signed_sums(u, self._weights, order=order).T
        shares = self._sample.shares
        products = _kernels.share_signed_products(
            u, shares.indptr, shares.indices, shares.data, self._q, self._padded, order=order
        )
        products += (self._excess - self._total_excess) * below_minus_above + signed_excess
        return self._q * products, below_minus_above / self._unit

    def grid_rows(self):
        """The rows as :class:`fairdcov.dependence._grid.GridForm` takes them."""
        excess = self._excess - self._total_excess / 2
        shares = self._sample.shares
        return _kernels.GridRows(
            shares.indices,
            self.factor * self._centred,
            self._q,
            starts=shares.indptr,
            shares=shares.data,
            own=self.factor * (self._own + 2 * excess),
            excess=self.factor * excess,
        )

    def norm(self):
        """See :meth:`DependenceForm.norm`; of the expected W, from second moments of the rows' vectors."""
        size = self._sample.n_profiles + 2
        moments = np.zeros((size, size))
        for rows, shares, sees in self._parts():
            seen, _ = self._vectors(rows, shares, sees)
            moments += seen.T @ (self._q[rows, None] * seen)
        core = np.zeros((size, size))
        core[:-2, :-2] = self._centred
        core[-2, -2], core[-2, -1], core[-1, -2] = -self._total_excess, 1.0, 1.0
        product = core @ moments
        # The centred W of a row with itself has its surplus beside the product.
        surplus = self._surplus()
        own = self._own + 2 * self._excess - self._total_excess
        squared = np.einsum("ab,ba->", product, product) + self._q**2 @ (surplus**2 - 2 * surplus * own)
        norm = np.sqrt(max(squared, 0.0))
        return float(self.factor * norm) if norm > ROUNDING * self._largest else 0.0

    def _surplus(self):
        return np.divide(self._excess, self._q, out=np.zeros(self.n_samples), where=self._q > 0)

    def between(self, rows):
        """See :meth:`DependenceForm.between`."""
        shares = self._sample.shares[rows].toarray()
        return shares @ self._matrix @ shares.T

    def pull_bounds(self, random_state=0):
        """See :meth:`DependenceForm.pull_bounds`; exact for up to 512 rows, else by 512 rows drawn by weight."""
        n, q = self.n_samples, self._q
        drawn, weights = np.arange(n), q
        if n > _PART:
            drawn = np.random.default_rng(random_state).choice(n, _PART, p=q / q.sum())
            weights = np.full(_PART, q.sum() / _PART)
        shares = self._sample.shares[drawn].toarray()
        others, _ = self._vectors(drawn, shares, shares)
        found = np.empty(n)
        for rows, shares, sees in self._parts():
            _, sees = self._vectors(rows, shares, sees)
            found[rows] = np.abs(sees @ others.T) @ weights
        if n <= _PART:
            found -= q * np.abs(self._own + 2 * self._excess - self._total_excess)
        return abs(self.factor) * q * found
