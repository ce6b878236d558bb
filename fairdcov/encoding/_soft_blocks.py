"""Protected attributes known as probabilities: shares of the profiles in each row, in place of one profile."""

import numpy as np
import scipy.sparse as sp

from fairdcov.encoding._blocks import SensitiveBlocks, combine_codes, factorise

__all__ = ["SoftBlocks", "certain_shares", "joint_shares", "row_products"]


class SoftBlocks(SensitiveBlocks):
    """Rows that belong to several profiles each, with shares that sum to 1.

    They slice and bind as :class:`SensitiveBlocks` do. What asks for the one profile of each row gets an error instead
    of a number that means something else.

    Attributes
    ----------
    shares : (n, K) scipy.sparse.csr_array
        Probability of each profile in each row, without explicit zeros. A row of one entry has 1 there, exactly.
    points, names : tuple
        As in :class:`SensitiveBlocks`.
    """

    def __init__(self, shares, points, names):
        shares = sp.csr_array(shares, dtype=np.float64)
        shares.sum_duplicates()
        shares.eliminate_zeros()
        # Sums of products may miss 1 by a rounding error.
        single = np.flatnonzero(np.diff(shares.indptr) == 1)
        shares.data[shares.indptr[single]] = 1.0
        for name, value in (("shares", shares), ("points", tuple(points)), ("names", tuple(names))):
            object.__setattr__(self, name, value)

    @property
    def codes(self):
        """Not there: a row has no single profile."""
        raise TypeError(
            f"the protected attributes {list(self.names)} are probabilities: a row has a share in several profiles and "
            "no profile of its own, which is needed here"
        )

    def __len__(self):
        return self.shares.shape[0]

    def __getitem__(self, rows):
        """Rows by a slice, an integer or boolean array, or a torch tensor of either."""
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(rows, slice) and rows.ndim != 1:
            raise IndexError(f"rows must be a slice or a vector of row numbers; found {rows!r}")
        return SoftBlocks(self.shares[rows], self.points, self.names)

    def permuted(self, generator):
        """The same rows in random order."""
        return self[generator.permutation(len(self))]

    def with_points(self, points):
        """The same shares of profiles with other coordinates."""
        return SoftBlocks(self.shares, points, self.names)

    def of_profiles(self, keep):
        """Some of the profiles, by a mask; rows with others, which must not have weight, lose them or take any."""
        shares = self.shares[:, np.flatnonzero(keep)]
        kept = np.diff(shares.indptr) > 0
        part = SoftBlocks(shares[np.flatnonzero(kept)], [points[keep] for points in self.points], self.names)
        return part if kept.all() else part.spread(kept)

    def observed(self):
        """:class:`SensitiveBlocks` where every row is certain of its profile, else the same object."""
        if self.shares.nnz != len(self) or (np.diff(self.shares.indptr) != 1).any():
            return self
        # Profiles in the order of their first row, as if the levels had been observed: equal to the last digit.
        codes, first = factorise(self.shares.indices)
        profiles = self.shares.indices[first]
        points = tuple(np.ascontiguousarray(points[profiles]) for points in self.points)
        return SensitiveBlocks(codes.astype(np.int32), points, self.names)

    def present(self):
        """The same rows with those profiles only that some row has a share in."""
        found = np.bincount(self.shares.indices, minlength=self.n_profiles) > 0
        return self if found.all() else self.of_profiles(found)

    @property
    def n_samples(self):
        """Number of rows."""
        return len(self)

    def concatenated(self):
        """The same rows with all columns in a single block."""
        points = self.points if len(self.points) == 1 else (np.hstack(self.points),)
        return SoftBlocks(self.shares, points, (" + ".join(self.names),))

    def single(self, block):
        """One block alone, with its own, fewer profiles; observed ones as they are."""
        points = self.points[block]
        codes, first = combine_codes([factorise(column)[0] for column in points.T])
        merged = sp.csr_array(
            (self.shares.data, codes[self.shares.indices], self.shares.indptr), shape=(len(self), len(first))
        )
        return SoftBlocks(merged.copy(), (points[first],), (self.names[block],)).observed()

    def spread(self, keep):
        """The same blocks on more rows: those not in the mask ``keep`` get the first profile."""
        counts = np.ones(len(keep), dtype=np.int64)
        counts[keep] = np.diff(self.shares.indptr)
        starts = np.concatenate([[0], np.cumsum(counts)])
        entries = np.repeat(keep, counts)
        indices, data = np.zeros(starts[-1], dtype=np.int64), np.ones(starts[-1])
        indices[entries], data[entries] = self.shares.indices, self.shares.data
        return SoftBlocks(
            sp.csr_array((data, indices, starts), shape=(len(keep), self.n_profiles)), self.points, self.names
        )

    def profile_weights(self, weights=None):
        """Sum of the row weights (1 without weights) times the share in each profile, (K,)."""
        weights = np.ones(len(self)) if weights is None else np.asarray(weights, dtype=np.float64)
        return self.shares.T @ weights

    def is_constant(self, weights=None):
        """Whether all rows that carry weight have the same shares."""
        shares = self.shares if weights is None else self.shares[np.flatnonzero(weights)]
        counts = np.diff(shares.indptr)
        if shares.shape[0] == 0 or (counts != counts[0]).any():
            return shares.shape[0] == 0
        lines = shares.indices.reshape(-1, counts[0]), shares.data.reshape(-1, counts[0])
        return all((line == line[0]).all() for line in lines)


def certain_shares(codes, n_codes):
    """Shares of rows that have one level each, (n, n_codes) CSR."""
    n = len(codes)
    return sp.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, n_codes))


def joint_shares(parts):
    """Shares in the combinations of the levels of attributes that are independent given the row.

    Parameters
    ----------
    parts : list of (n, L) scipy.sparse.csr_array
        Shares in the levels of each attribute.

    Returns
    -------
    shares : (n, K) scipy.sparse.csr_array
        In those combinations that some row has a share in.
    levels : list of (K,) arrays
        Level of each combination in each attribute.
    """
    shares = parts[0]
    for part in parts[1:]:
        shares = row_products(shares, part)
    kept = np.flatnonzero(np.bincount(shares.indices, minlength=shares.shape[1]))
    position = np.zeros(shares.shape[1], dtype=np.int32)
    position[kept] = np.arange(len(kept))
    shares = sp.csr_array((shares.data, position[shares.indices], shares.indptr), shape=(shares.shape[0], len(kept)))
    return shares, list(np.unravel_index(kept, [part.shape[1] for part in parts]))


def row_products(left, right):
    """Shares in all pairs of profiles of two attributes that are independent given the row, (n, K L) CSR.

    Pair ``(k, l)`` is column ``k L + l``.
    """
    n_right = right.shape[1]
    shape = left.shape[0], left.shape[1] * n_right
    if left.nnz == left.shape[0] and (np.diff(left.indptr) == 1).all():
        # Levels that are observed only say where the row on the right goes.
        counts = np.diff(right.indptr)
        columns = np.repeat(left.indices.astype(np.int64) * n_right, counts) + right.indices
        return sp.csr_array((np.repeat(left.data, counts) * right.data, columns, right.indptr), shape=shape)
    left_counts, right_counts = np.diff(left.indptr).astype(np.int64), np.diff(right.indptr).astype(np.int64)
    counts = left_counts * right_counts
    starts = np.concatenate([[0], np.cumsum(counts)])
    # Each entry of a row on the left meets all entries of the row on the right.
    row = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(starts[-1]) - starts[row]
    of_left = left.indptr[row] + place // right_counts[row]
    of_right = right.indptr[row] + place % right_counts[row]
    columns = left.indices[of_left].astype(np.int64) * n_right + right.indices[of_right]
    return sp.csr_array((left.data[of_left] * right.data[of_right], columns, starts), shape=shape)
