"""Which rows belong to a group: all of a row where its attributes are observed, shares where they are probabilities."""

from dataclasses import dataclass

import numpy as np

from fairdcov.metrics import GroupedPredictions

__all__ = ["Membership", "Weighted"]


@dataclass(frozen=True, eq=False)
class Weighted:
    """Predictions with their weights."""

    predictions: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Membership:
    """Entries of groups: one for each row where attributes are observed, else one for each share of a row in a group.

    Attributes
    ----------
    codes : (m,) int64 array
        Group of each entry.
    labels : list of K tuples
        Levels of each group.
    names : list of str
        Names of the attributes.
    rows : (m,) int64 array or None
        Row of each entry; None where every row is one entry.
    shares : (n, K) scipy.sparse.csr_array or None
        Where some attribute is known as probabilities; its entries in their order are those of ``codes`` and ``rows``.
    """

    codes: np.ndarray
    labels: list
    names: list
    rows: np.ndarray | None = None
    shares: object = None

    @classmethod
    def of_groups(cls, groups):
        """Of rows that are in one group each."""
        return cls(groups.codes, groups.labels, list(groups.names))

    @classmethod
    def of_shares(cls, shares, labels, names):
        """Of rows that have a share in several groups."""
        rows = np.repeat(np.arange(shares.shape[0]), np.diff(shares.indptr))
        return cls(shares.indices.astype(np.int64), labels, list(names), rows, shares)

    @property
    def n_groups(self):
        """Number K of groups."""
        return len(self.labels)

    def spread(self, values):
        """Values of rows (n,) as values of entries (m,)."""
        return values if self.rows is None else values[self.rows]

    def weighted(self, weights):
        """Weights of rows (n,), times the shares, as weights of entries (m,)."""
        return weights if self.shares is None else weights[self.rows] * self.shares.data

    def totals(self, values=None):
        """Sum of values (n,) in each group, by shares; without values the (expected) number of rows."""
        if self.shares is not None:
            return self.shares.T @ (np.ones(self.shares.shape[0]) if values is None else values)
        return np.bincount(self.codes, weights=values, minlength=self.n_groups)

    def large_enough(self, least):
        """Which groups have so many (expected) rows, (K,) bool array; as the metrics count them."""
        return np.ceil(self.totals()) >= least

    def grouped(self, predictions, weights, kept):
        """Predictions of the groups ``kept`` (positions), as group metrics take them, and the entries that these are.

        Returns
        -------
        GroupedPredictions
        entries : (m',) int64 array
        """
        position = np.full(self.n_groups, -1)
        position[kept] = np.arange(len(kept))
        codes = position[self.codes]
        entries = np.flatnonzero(codes >= 0)
        labels = [self.labels[k] for k in kept]
        omitted = [self.labels[k] for k in np.flatnonzero(position < 0)]
        rows = entries if self.rows is None else self.rows[entries]
        grouped = GroupedPredictions(
            predictions[rows],
            self.weighted(weights)[entries],
            codes[entries],
            labels,
            self.names,
            omitted,
            rows,
            None if self.shares is None else self.shares[:, kept],
            None if self.shares is None else Weighted(predictions, weights),
        )
        return grouped, entries
