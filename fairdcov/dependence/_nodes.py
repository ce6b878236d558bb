"""Attributes of many values by nodes: W between rows is interpolated from that between few profiles."""

import numpy as np
import scipy.sparse as sp

from fairdcov import _kernels
from fairdcov.dependence._forms import ROUNDING, DependenceForm
from fairdcov.dependence._sample import Sample, distances
from fairdcov.encoding import combine_codes, factorise

__all__ = ["ATTRIBUTE_NODES", "NodeBlocks", "NodeForm", "NodeSample"]

# Nodes of an attribute of many values, and as few as they may become where several have to share the profiles.
ATTRIBUTE_NODES = 64
_FEWEST_NODES = 16
# Profiles that nodes may make together, beyond which their matrix takes longer than what it replaces.
_MOST_PROFILES = 2048


def _place_nodes(values, weights, n_nodes):
    """Nodes for a column: half of them by the range, half by the weight, so that neither tails nor peaks are coarse."""
    ascending = np.argsort(values, kind="stable")
    values, weights = values[ascending], weights[ascending]
    upto = np.cumsum(weights) - 0.5 * weights
    monitor = (values - values[0]) / (values[-1] - values[0])
    if upto[-1] > upto[0]:
        monitor = 0.5 * monitor + 0.5 * (upto - upto[0]) / (upto[-1] - upto[0])
    nodes = np.unique(np.interp(np.linspace(0.0, 1.0, n_nodes), monitor, values))
    nodes[0], nodes[-1] = values[0], values[-1]
    return nodes


class NodeBlocks:
    """Profiles made of nodes, of which every row has two for each attribute of many values.

    Attributes
    ----------
    codes : (n,) int32 array
        Observed profile of each row.
    corners, shares : (observed profiles, 2 ** continuous columns) arrays
        The node profiles around each observed one, and its shares in them, which are linear in each column.
    points : tuple of (K, q) arrays
        Coordinates of the node profiles, one for each block.
    names : tuple of str
    observed_points : tuple of arrays
        Coordinates of the observed profiles.
    """

    def __init__(self, blocks, columns, nodes):
        """``nodes`` are those of the columns numbered ``columns`` of all blocks side by side."""
        self.codes, self.names, self.observed_points = blocks.codes, blocks.names, blocks.points
        wide = np.hstack(blocks.points)
        others = [c for c in range(wide.shape[1]) if c not in columns]
        other = np.zeros(len(wide), dtype=np.int64)
        if others:
            other = combine_codes([factorise(wide[:, c])[0] for c in others])[0]
        lower, positions = [], []
        for column, of_column in zip(columns, nodes, strict=True):
            values = wide[:, column]
            cell = np.clip(np.searchsorted(of_column, values, side="right") - 1, 0, len(of_column) - 2)
            lower.append(cell)
            positions.append((values - of_column[cell]) / (of_column[cell + 1] - of_column[cell]))
        corners, shares = [], []
        for corner in np.ndindex(*(2,) * len(columns)):
            code, share = other, np.ones(len(wide))
            for above, cell, position, of_column in zip(corner, lower, positions, nodes, strict=True):
                code = code * len(of_column) + cell + above
                share = share * (position if above else 1.0 - position)
            corners.append(code)
            shares.append(share)
        self.shares = np.column_stack(shares)
        present, corners = np.unique(np.column_stack(corners), return_inverse=True)
        self.corners = corners.reshape(self.shares.shape).astype(np.int32)
        points = np.zeros((len(present), wide.shape[1]))
        code = present
        for column, of_column in zip(columns[::-1], nodes[::-1], strict=True):
            code, node = np.divmod(code, len(of_column))
            points[:, column] = of_column[node]
        first = np.zeros(int(other.max()) + 1, dtype=np.int64)
        first[other[::-1]] = np.arange(len(other))[::-1]
        points[:, others] = wide[np.ix_(first[code], others)]
        self.points = tuple(np.split(points, np.cumsum([p.shape[1] for p in blocks.points])[:-1], axis=1))
        self._columns, self._nodes, self._lower, self._other, self._others = columns, nodes, lower, other, others

    @classmethod
    def of(cls, blocks, weights=None, *, most_bytes):
        """Nodes for the columns of many values; None where there are none or their profiles would be too many."""
        wide = np.hstack(blocks.points)
        values = [np.unique(column) for column in wide.T]
        columns = [c for c in range(wide.shape[1]) if len(values[c]) > ATTRIBUTE_NODES]
        if not columns:
            return None
        others = [c for c in range(wide.shape[1]) if c not in columns]
        n_others = len(combine_codes([factorise(wide[:, c])[0] for c in others])[1]) if others else 1
        most = min(_MOST_PROFILES, int(np.sqrt(most_bytes / (5 * 8))))
        size = min(ATTRIBUTE_NODES, int((most / n_others) ** (1 / len(columns)) * (1 + 1e-12)))
        if size < _FEWEST_NODES:
            return None
        profile_weights = blocks.profile_weights(weights)
        nodes = [_place_nodes(wide[:, c], profile_weights, size) for c in columns]
        return cls(blocks, columns, nodes)

    @property
    def n_samples(self):
        """Number of rows."""
        return len(self.codes)

    @property
    def n_profiles(self):
        """Number of node profiles."""
        return len(self.points[0])

    def profile_weights(self, weights=None):
        """Weight of each node profile, (K,)."""
        observed = np.bincount(self.codes, weights=weights, minlength=len(self.corners))
        return np.bincount(
            self.corners.ravel(), weights=(observed[:, None] * self.shares).ravel(), minlength=self.n_profiles
        )

    def interpolated(self, values):
        """Values of the observed profiles from those of the node profiles."""
        return np.einsum("ke,ke->k", self.shares, values[self.corners])

    def distance_error(self, block, probabilities):
        """Bound on the operator norm of the error of the interpolated distances within a block, for row weights.

        It is the largest row sum of ``p_j |E_ij|``. For two rows of cells of widths h and h' the error is at most
        ``(h + h') / 2`` for each column with nodes, since distances are 1-Lipschitz, and at most
        ``(h^2 + h'^2) / 8`` times the largest second derivative between the cells, ``d^2 / (gap^2 + d^2)^(3/2)`` with
        the distance d in the other columns and the gap between the cells.
        """
        offset = sum(points.shape[1] for points in self.observed_points[:block])
        width = self.observed_points[block].shape[1]
        inside = [k for k, c in enumerate(self._columns) if offset <= c < offset + width]
        if not inside:
            return 0.0
        observed = np.bincount(self.codes, weights=probabilities, minlength=len(self._other)).astype(float)
        observed /= observed.sum()
        plain = [c for c in range(offset, offset + width) if c not in self._columns]
        wide = np.hstack(self.observed_points)
        columns = [factorise(wide[:, c])[0] for c in plain] + [self._lower[k] for k in inside]
        cells, first = combine_codes(columns)
        mass = np.bincount(cells, weights=observed)
        elsewhere = np.zeros((len(first), len(first)))
        if plain:
            elsewhere = distances(wide[np.ix_(first, plain)], wide[np.ix_(first, plain)])
        lower = [self._lower[k][first] for k in inside]
        return float((_interpolation_error([self._nodes[k] for k in inside], lower, elsewhere) @ mass).max())


def _interpolation_error(nodes, lower, elsewhere):
    """Bound on the error of interpolated distances between pairs of cells; see :meth:`NodeBlocks.distance_error`.

    Parameters
    ----------
    nodes : list of arrays
        Of each column.
    lower : list of (cells,) integer arrays
        Node below each cell, for each column.
    elsewhere : (cells, cells) array
        Distance in the columns without nodes.
    """
    low = [of_column[cell] for of_column, cell in zip(nodes, lower, strict=True)]
    high = [of_column[cell + 1] for of_column, cell in zip(nodes, lower, strict=True)]
    gaps = [np.maximum(0.0, np.maximum.outer(a, a) - np.minimum.outer(b, b)) for a, b in zip(low, high, strict=True)]
    nearest = np.sqrt(elsewhere**2 + sum(gap**2 for gap in gaps))
    error = np.zeros_like(elsewhere)
    for position, (a, b) in enumerate(zip(low, high, strict=True)):
        width = b - a
        # The distance across the column: others with nodes may bring two rows no nearer than their cells are.
        across = elsewhere if len(nodes) == 1 else nearest
        with np.errstate(divide="ignore", invalid="ignore"):
            curvature = np.where(nearest > 0, across**2 / nearest**3, np.inf)
        if len(nodes) == 1:
            # On a line the distance is linear but within a cell.
            curvature[(elsewhere == 0) & (np.subtract.outer(lower[position], lower[position]) != 0)] = 0.0
        smooth = np.add.outer(width**2, width**2) / 8 * curvature
        error += np.minimum(np.add.outer(width, width) / 2, smooth)
    return error


class NodeSample(Sample):
    """Rows with linear shares in the node profiles around them."""

    def _read(self, blocks):
        self.blocks, self.codes = blocks, blocks.codes


class NodeForm(DependenceForm):
    """W between rows as the multilinear interpolant of that between node profiles, ``W_ij = p_i' D p_j``.

    Interpolation of a distance is exact for one column and rows in different cells; else the error is quadratic in the
    distance of the nodes. ``W_ii`` is not interpolated: for rows that are independent of the predictions the value is
    little more than the contribution of their diagonal. With the error E of W and the largest row sum ``e`` of
    ``p_j |E_ij|``, the value of a V-statistic is off by at most ``e`` times the Gini mean difference of ``u``.

    Parameters
    ----------
    sample : NodeSample
    matrix : (K, K) array
        D.
    diagonal : (observed profiles,) array or 0
        W of a row with itself.

    Notes
    -----
    With ``w = sum_i q_i p_i``, ``r = D w`` and ``d_i = W_ii - p_i' D p_i``, both centrings read
    ``M_ij = q_i q_j (p_i' N p_j + e_i + e_j)``. For the V-statistic ``N = -(D - r 1' - 1 r' + w' r)`` and
    ``e_i = q_i d_i - sum_j q_j^2 d_j / 2``; for the U-statistic ``N = -s (D - (r 1' + 1 r') / (n - 2))`` and
    ``e_i = -s (p_i' D p_i / (n - 2) + t / 2)`` with the mean t of W over pairs of rows and ``s = 1 / (n (n - 3))``.
    """

    method = "nodes"

    def __init__(self, sample, matrix, diagonal=0.0):
        self.n_samples = len(sample.codes)
        self._sample, self._matrix, self._q = sample, matrix, sample.q
        self._largest = float(np.abs(matrix).max())
        blocks, weights, n = sample.blocks, sample.profile_weights, sample.n_samples
        row_sums = matrix @ weights
        grand = float(weights @ row_sums)
        own = self._of_observed(matrix)
        codes, q = sample.codes, sample.q
        if sample.statistic == "u":
            # A row is not compared with itself.
            centring = row_sums / (n - 2)
            own_sum = float(sample.reduction.add(np.array([own[codes].sum()]))[0])
            self.grand_mean = (grand - own_sum) / ((n - 1) * (n - 2))
            self._excess = -sample.scale * (own / (n - 2) + self.grand_mean / 2)[codes]
        else:
            self._surplus = (diagonal - own)[codes]
            surplus = q * self._surplus
            total = float(sample.reduction.add(np.array([q @ surplus]))[0])
            centring, self.grand_mean = row_sums, grand + total
            self._excess = surplus - total / 2
            matrix = matrix + grand
        self._centred = -sample.scale * (matrix - centring[:, None] - centring[None, :])
        self._own = self._of_observed(self._centred)[codes] + 2 * self._excess
        entries = blocks.shares.shape[1]
        self._starts = np.arange(0, entries * self.n_samples + 1, entries, dtype=np.int64)
        self._codes = blocks.corners[sample.codes].ravel()
        self._shares = blocks.shares[sample.codes].ravel()
        self._padded = _kernels.pad_columns(self._centred)

    @property
    def n_shares(self):
        """Shares of all rows in node profiles."""
        return len(self._shares)

    def _of_observed(self, matrix):
        """``p' matrix p`` for each observed profile."""
        corners, shares = self._sample.blocks.corners, self._sample.blocks.shares
        found = np.zeros(len(corners))
        for a in range(corners.shape[1]):
            for b in range(corners.shape[1]):
                found += shares[:, a] * shares[:, b] * matrix[corners[:, a], corners[:, b]]
        return found

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`."""
        products = _kernels.share_signed_products(
            u, self._starts, self._codes, self._shares, self._q, self._padded, order=order
        )
        unit = self._sample.unit if self._sample.uniform else 1.0
        both = np.column_stack([self._q, self._q * self._excess])
        below_minus_above, signed_excess = _kernels.signed_sums(u, both, order=order).T
        products += self._excess * below_minus_above + signed_excess
        return self._q * products, below_minus_above / unit

    def grid_rows(self):
        """The rows as :class:`fairdcov.dependence._grid.GridForm` takes them."""
        return _kernels.GridRows(
            self._codes,
            self.factor * self._centred,
            self._q,
            starts=self._starts,
            shares=self._shares,
            own=self.factor * self._own,
            excess=self.factor * self._excess,
        )

    def norm(self):
        """See :meth:`DependenceForm.norm`; of the interpolated W, from second moments of the shares."""
        sample, blocks = self._sample, self._sample.blocks
        observed = np.bincount(sample.codes, weights=sample.q, minlength=len(blocks.corners))
        entries = blocks.shares.shape[1]
        starts = np.arange(0, entries * len(blocks.corners) + 1, entries)
        shape = (len(blocks.corners), sample.n_profiles)
        shares = sp.csr_array((blocks.shares.ravel(), blocks.corners.ravel(), starts), shape=shape)
        moments = (shares.T @ shares.multiply(observed[:, None])).toarray()
        product = self._centred @ moments
        squares = np.einsum("ab,ba->", product, product)
        # (a + e_i + e_j)^2 of all pairs, where a row with itself has its own W instead.
        q, excess, codes = sample.q, self._excess, sample.codes
        of_rows = (shares @ (self._centred @ sample.profile_weights))[codes]
        squares += 4 * (q * excess) @ of_rows + 2 * q.sum() * (q @ excess**2) + 2 * (q @ excess) ** 2
        squares -= q**2 @ self._own**2
        if sample.statistic == "v":
            squares += q**2 @ (self._own - self._surplus) ** 2
        squares /= sample.scale**2
        norm = np.sqrt(sample.scale * max(squares, 0.0))
        return float(self.factor * norm) if norm > ROUNDING * self._largest else 0.0

    def between(self, rows):
        """See :meth:`DependenceForm.between`; interpolated."""
        blocks, codes = self._sample.blocks, self._sample.codes[rows]
        shares = np.zeros((len(rows), self._sample.n_profiles))
        for corner, share in zip(blocks.corners[codes].T, blocks.shares[codes].T, strict=True):
            np.add.at(shares, (np.arange(len(rows)), corner), share)
        return shares @ self._matrix @ shares.T

    def pull_bounds(self, random_state=0):
        """See :meth:`DependenceForm.pull_bounds`; not less than the sums, which are convex between nodes."""
        sample, blocks = self._sample, self._sample.blocks
        sums = np.abs(self._centred) @ sample.profile_weights
        found = np.einsum("ke,ke->k", blocks.shares, sums[blocks.corners])
        of_rows = found[sample.codes] + sample.profile_weights.sum() * np.abs(self._excess)
        return abs(self.factor) * self._q * (of_rows + self._q @ np.abs(self._excess))
