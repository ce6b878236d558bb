"""What forms are made of: profiles with their weights, the factors of W, and a low-rank approximation of W."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial.distance import cdist

from fairdcov.dependence._reduction import Reduction
from fairdcov.encoding import SensitiveBlocks

__all__ = ["Factor", "Sample", "distance_factor", "distances", "pivoted_cholesky", "product_of_factors"]

STATISTICS = ("u", "v")

# Up to this many profiles a K x K matrix is small change (2 MiB) whatever the number of rows.
FEW_PROFILES = 512

# Pivots drawn at a time by the Nystroem approximation: matrix products instead of one column after the other.
_PIVOT_BLOCK = 32
# From so many columns on it pays to look at the ones of 0/1 columns only.
_WIDE = 64


def distances(left, right):
    """Euclidean distances between the rows of two matrices of points, (K, H)."""
    if left.shape[1] <= _WIDE:
        return cdist(left, right)
    seen = (right != 0).any(axis=0)
    if 4 * np.count_nonzero(seen) < left.shape[1]:
        # A few points have few of the levels; in the other columns the distance is what is there on the left.
        squares = cdist(left[:, seen], right[:, seen], "sqeuclidean")
        squares += np.einsum("kc,kc,c->k", left, left, (~seen).astype(np.float64))[:, None]
        return np.sqrt(squares, out=squares)
    # Wide points are mostly the 0/1 columns of nominal attributes, where all but the ones can be left out; the squares
    # are whole numbers and exact.
    binary = ((left == 0) | (left == 1)).all(axis=0) & ((right == 0) | (right == 1)).all(axis=0)
    first, second = sp.csr_array(left[:, binary]), sp.csr_array(right[:, binary])
    squares = (first @ second.T).toarray()
    squares *= -2.0
    squares += first.sum(axis=1)[:, None]
    squares += second.sum(axis=1)[None, :]
    if not binary.all():
        squares += cdist(left[:, ~binary], right[:, ~binary], "sqeuclidean")
    return np.sqrt(squares, out=squares)


class Sample:
    """Profiles of the rows with their weights, in the units of one statistic.

    With rows in other processes too, ``n_samples`` and the weights of the profiles are those of all, ``q`` and the
    codes those of the rows that are here.
    """

    def __init__(self, blocks, statistic, probabilities, reduction=None):
        self.reduction = Reduction() if reduction is None else reduction
        self.n_samples = n = int(self.reduction.add(np.array([blocks.n_samples]))[0])
        self.statistic = statistic
        self._read(blocks)
        self.uniform = probabilities is None
        if statistic == "u":
            if not self.uniform:
                raise ValueError(
                    "a weighted U-statistic is not defined: pass statistic='v' to weight rows, or no sample_weight"
                )
            if n < 4:
                raise ValueError(f"the U-statistic needs at least 4 rows; found {n} (statistic='v' needs fewer)")
            self.scale = 1.0 / (n * (n - 3))
            self.q = np.ones(blocks.n_samples)
        else:
            if n == 0:
                raise ValueError("x must have at least one row; found 0")
            self.scale = 1.0
            self.q = np.full(blocks.n_samples, 1.0 / n) if self.uniform else probabilities
        # Of a row, where all have the same.
        self.unit = (1.0 if statistic == "u" else 1.0 / n) if self.uniform else None
        counts = self.reduction.add(blocks.profile_weights() if self.uniform else blocks.profile_weights(self.q))
        self.profile_weights = counts * self.unit if self.uniform else counts
        self.profile_probabilities = self.profile_weights / self.profile_weights.sum()

    def _read(self, blocks):
        self.codes = blocks.codes

    @property
    def n_profiles(self):
        """Number K of profiles."""
        return len(self.profile_weights)

    def part(self, rows):
        """Some rows that stand for all, without weights, and a row for each of their profiles."""
        _, first, codes = np.unique(self.codes[rows], return_index=True, return_inverse=True)
        nowhere = (np.empty((len(first), 0)),)
        return Sample(SensitiveBlocks(codes.astype(np.int32), nowhere, ()), self.statistic, None), rows[first]

    def centring(self, row_sums):
        """Split ``r_i + r_j - grand mean`` between its two rows, from the distance sums ``sum_j q_j d_ij``."""
        n = self.n_samples
        total = self.profile_weights @ row_sums
        if self.statistic == "u":
            return row_sums / (n - 2) - total / (2 * (n - 1) * (n - 2))
        return row_sums - total / 2

    def centred_profile_matrix(self, matrix):
        """M over the profiles from W over the profiles (the value between two different rows)."""
        n = self.n_samples
        weights = self.profile_weights
        row_sums = matrix @ weights
        if self.statistic == "u":
            row_sums = row_sums - np.diag(matrix)
            total = weights @ row_sums
            centring = row_sums / (n - 2)
            grand = total / ((n - 1) * (n - 2))
        else:
            centring = row_sums
            grand = weights @ row_sums
        return -self.scale * (matrix - centring[:, None] - centring[None, :] + grand)


@dataclass(frozen=True)
class Factor:
    """One block's factor of W: ``half_k + half_h - scale * |points_k - points_h|`` over the profiles."""

    points: np.ndarray
    half: np.ndarray
    scale: float = 1.0

    def between(self, rows=slice(None), columns=slice(None)):
        left, right = self.points[rows], self.points[columns]
        return self.half[rows][:, None] + self.half[columns][None, :] - self.scale * distances(left, right)


def distance_factor(points):
    """Minus the distance, seen from a base point: centring removes the additive part, and W is positive definite."""
    base = np.median(points, axis=0, keepdims=True)
    return Factor(points, distances(points, base)[:, 0])


def product_of_factors(factors, rows=slice(None), columns=slice(None)):
    """W between two sets of profiles."""
    product = factors[0].between(rows, columns)
    for factor in factors[1:]:
        product *= factor.between(rows, columns)
    return product


def pivoted_cholesky(factors, probabilities, n_components, generator):
    """Features (K, r) with ``Phi Phi' ~ W``, and the diagonal of the error.

    Pivots are drawn with probability proportional to what is left of the weighted diagonal, a block at a time.
    """
    diagonal = np.prod([2 * factor.half for factor in factors], axis=0)
    residual = np.maximum(diagonal, 0.0)
    floor = 1e-12 * max(float(probabilities @ residual), np.finfo(float).tiny)
    n_components = min(n_components, len(diagonal))
    features = np.zeros((len(diagonal), n_components))
    filled = 0
    while filled < n_components:
        mass = probabilities * residual
        if mass.sum() <= floor:
            break
        candidates = np.flatnonzero(mass > 0)
        size = min(_PIVOT_BLOCK, n_components - filled, len(candidates))
        pivots = generator.choice(candidates, size=size, replace=False, p=mass[candidates] / mass.sum())
        columns = product_of_factors(factors, slice(None), pivots) - features[:, :filled] @ features[pivots, :filled].T
        core = columns[pivots]
        # Pivots of one block can be nearly alike: their core is inverted on its well-conditioned part only.
        eigenvalues, vectors = np.linalg.eigh((core + core.T) / 2)
        kept = eigenvalues > 1e-10 * max(eigenvalues[-1], 0.0)
        if not kept.any():
            break
        added = columns @ (vectors[:, kept] / np.sqrt(eigenvalues[kept]))
        features[:, filled : filled + added.shape[1]] = added
        filled += added.shape[1]
        residual = np.maximum(residual - np.einsum("kr,kr->k", added, added), 0.0)
        residual[pivots] = 0.0
    return features[:, :filled], residual
