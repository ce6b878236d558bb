"""Nodes on the range of the predictions, and wrappers of the kernels that work on them."""

import math
from dataclasses import dataclass

import numpy as np

import fairdcov._kernels._grid as _grid
from fairdcov._kernels._threads import usable_threads

__all__ = ["GridRows", "Lattice", "extent", "grid_gradient", "grid_masses", "mass_unit"]

# Whole numbers that all mass together is, a power of two: four times less than what an integer of 64 bits can hold.
_WHOLE = 2.0**60
_MANTISSA = 52
# The lattice is even below this share (2 ** -3) of the mean absolute prediction, and geometric beyond.
_EVEN_BELOW = 3
# Nodes that a table may have, over those asked for: the least ratio is half of that.
_MOST_NODES = math.sqrt(2.0)
_MOST_DIGITS = 40
# Entries of the tables of all threads together (256 MiB).
_MOST_ENTRIES = 2**25
_NO_NUMBERS, _NO_STARTS = np.empty(0), np.empty(0, dtype=np.int64)


def _blocks(n):
    return -(-n // _grid.ROWS_OF_BLOCK)


def extent(u, *, n_threads=1):
    """Smallest and largest value and the sum of the absolute ones, which is not finite where one of them is not."""
    found = np.empty((_blocks(len(u)), 3))
    if not len(u):
        return math.inf, -math.inf, 0.0
    _grid.extent(u, min(usable_threads(n_threads), _blocks(len(u))), found)
    return float(found[:, 0].min()), float(found[:, 1].max()), float(found[:, 2].sum())


@dataclass(frozen=True)
class Lattice:
    """Nodes where ``|u| + offset`` is a floating-point number of few binary digits, on either side of 0.

    Between two neighbouring powers of two ``|u| + offset`` there are ``2 ** digits`` cells of the same width: the nodes
    are even on the logarithm of the predictions, up to a factor of two, and even below the offset. They are a function
    of ``offset`` and ``digits`` alone, both of which change with the predictions in steps by powers of two only: what
    is interpolated between them is one and the same function of the predictions within a step.

    Attributes
    ----------
    offset : float
        A power of two.
    digits : int
        Binary digits behind the leading one.
    first, n_cells : int
        Cells in use, numbered from the one that begins at 0; ``first`` may be negative.
    """

    offset: float
    digits: int
    first: int
    n_cells: int

    @classmethod
    def of(cls, low, high, mean_absolute, size):
        """The finest lattice whose nodes from ``low`` to ``high`` are no more than 1.4 times ``size``.

        Half of that at least where ``size`` allows for a digit.
        """
        offset = math.ldexp(1.0, math.frexp(mean_absolute)[1] - 1 - _EVEN_BELOW)
        for digits in range(_MOST_DIGITS, -1, -1):
            lattice = cls(offset, digits, 0, 0)
            first, last = lattice._cell(low), lattice._cell(high)
            if last - first + 2 <= _MOST_NODES * size:
                break
        return cls(offset, digits, first, last - first + 1)

    @property
    def arguments(self):
        """What the kernels take."""
        return self.offset, _MANTISSA - self.digits, self.first, self.n_cells

    def _cell(self, u):
        leading = int(np.float64(abs(u) + self.offset).view(np.int64)) >> (_MANTISSA - self.digits)
        cell = leading - self._zero
        return -1 - cell if u < 0 else cell

    @property
    def _zero(self):
        return int(np.float64(self.offset).view(np.int64)) >> (_MANTISSA - self.digits)

    @property
    def nodes(self):
        """Positions, (n_cells + 1,)."""
        numbers = np.arange(self.first, self.first + self.n_cells + 1)
        distances = ((np.abs(numbers) + self._zero) << (_MANTISSA - self.digits)).view(np.float64) - self.offset
        return np.copysign(distances, numbers)

    def cells(self, u):
        """Cell of each row, counted from the first in use, and the position within it in [0, 1]."""
        found, fractions = np.empty(len(u), dtype=np.int64), np.empty(len(u))
        _grid.cells(u, *self.arguments, found, fractions)
        return found, fractions


class GridRows:
    """Profiles and weights of the rows as the grid takes them, with ``M_ij = w_i w_j (p_i' N p_j + e_i + e_j)``.

    Parameters
    ----------
    codes : (n,) or (entries,) integer array
        Profile of each row, or of each of its shares.
    matrix : (K, K) array
        Symmetric, N.
    weights : (n,) array, optional
        Row weights ``w``, not negative; 1 when omitted.
    starts : (n + 1,) integer array, optional
        Row i has the entries ``starts[i]`` to ``starts[i + 1]``, as in SciPy's CSR arrays.
    shares : (entries,) array, optional
        Shares ``p``, not negative and of sum 1 for each row.
    own : (n,) array, optional
        ``p_i' N p_i + 2 e_i`` where rows have shares.
    excess : (n,) array, optional
        ``e``; only where rows have shares.
    """

    def __init__(self, codes, matrix, weights=None, *, starts=None, shares=None, own=None, excess=None):
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        self.codes = np.ascontiguousarray(codes, dtype=np.int32)
        n_profiles = len(self.matrix)
        if self.codes.size and not 0 <= self.codes.min() <= self.codes.max() < n_profiles:
            raise ValueError(f"codes must lie in range({n_profiles}), found {self.codes.min()} to {self.codes.max()}")
        self.has_excess = excess is not None
        self.n_rows = n = len(self.codes) if starts is None else len(starts) - 1
        self.weights = self._numbers(weights, n, "weights")
        self.starts, self.shares, self.excess = _NO_STARTS, _NO_NUMBERS, self._numbers(excess, n, "excess")
        if starts is None:
            if shares is not None or own is not None or excess is not None:
                raise ValueError("shares, own and excess go with starts")
            self.own = np.ascontiguousarray(np.diag(self.matrix))
            return
        self.starts = np.ascontiguousarray(starts, dtype=np.int64)
        self.shares = self._numbers(shares, len(self.codes), "shares")
        self.own = self._numbers(own, n, "own")
        if self.starts[0] != 0 or self.starts[-1] != len(self.codes) or (np.diff(self.starts) < 0).any():
            raise ValueError(f"starts must ascend from 0 to {len(self.codes)}, the number of shares")

    @staticmethod
    def _numbers(values, n, name):
        if values is None:
            return _NO_NUMBERS
        values = np.ascontiguousarray(values, dtype=np.float64)
        if values.shape != (n,):
            raise ValueError(f"{name} has shape {values.shape}, not ({n},)")
        return values

    @property
    def total(self):
        """Sum of the row weights."""
        return float(self.weights.sum()) if len(self.weights) else float(self.n_rows)

    @property
    def arguments(self):
        """What the kernels take."""
        return self.starts, self.codes, self.shares, self.weights, self.own, self.excess


def power_of_two_beyond(total):
    """The smallest power of two that is more than a number."""
    return math.ldexp(1.0, math.frexp(total)[1])


def mass_unit(total):
    """The weight that 1 stands for in a table of rows whose weights sum to ``total``, for :func:`grid_masses`."""
    return power_of_two_beyond(total) / _WHOLE


def grid_masses(u, rows, lattice, total, largest_excess=0.0, *, n_threads=1):
    """Weight of each profile at each node, as whole numbers that can be added to those of other rows.

    Parameters
    ----------
    u : (n,) float64 array
        Predictions within the lattice; others raise a ValueError.
    rows : GridRows
        Their profiles and weights.
    lattice : Lattice
    total : float
        Sum of the weights of all rows whose tables are added.
    largest_excess : float
        Largest absolute excess of all these rows.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    table : (K, nodes) int64 array
        A row more where the rows have an excess: the masses of weight times excess.
    units : tuple of two floats
        What 1 in the table stands for: a weight, a product of weight and excess.
    own : (2,) array
        ``sum_i w_i^2 m_i I_ii`` and ``sum_i w_i^2 I_ii``, with the interpolant I of the distance of a row to itself
        and ``m_i = p_i' N p_i + 2 e_i``.
    """
    shape = len(rows.matrix) + rows.has_excess, lattice.n_cells + 1
    n_threads = max(1, min(usable_threads(n_threads), _blocks(len(u)), _MOST_ENTRIES // (shape[0] * shape[1])))
    tables = np.zeros((n_threads, *shape), dtype=np.int64)
    scale = _WHOLE / power_of_two_beyond(total)
    excess_scale = _WHOLE / power_of_two_beyond(total * largest_excess) if largest_excess else 0.0
    own = np.zeros((_blocks(len(u)), 2))
    if len(u):
        _check_rows(u, rows)
        _grid.masses(u, *lattice.arguments, *rows.arguments, scale, excess_scale, tables, own)
        if np.isnan(own).any():
            raise ValueError(f"u from {u.min()} to {u.max()} is not within the lattice")
    units = 1.0 / scale, 1.0 / excess_scale if excess_scale else 0.0
    return tables[0] if n_threads == 1 else tables.sum(axis=0), units, own.sum(axis=0)


def grid_gradient(u, rows, lattice, slopes, plain, own_scale, own_shift, out, *, n_threads=1):
    """Add ``w_i (p_i' slopes_c + e_i plain_c - w_i (own_scale m_i + own_shift) (1 - 2 x_i))`` to ``out``.

    For the cell ``c`` of each row and the position ``x`` within it, with ``m`` as in :func:`grid_masses`.

    Parameters
    ----------
    u, rows, lattice
        As in :func:`grid_masses`; predictions must be within the lattice.
    slopes : (K, cells) array
    plain : (cells,) array
    own_scale, own_shift : float
    out : (n,) float64 array
    n_threads : int
        The result does not depend on it.
    """
    slopes, plain = np.ascontiguousarray(slopes), np.ascontiguousarray(plain)
    if slopes.shape != (len(rows.matrix), lattice.n_cells) or plain.shape != (lattice.n_cells,):
        raise ValueError(f"slopes {slopes.shape} and plain {plain.shape} do not go with {lattice.n_cells} cells")
    if out.shape != u.shape:
        raise ValueError(f"out has shape {out.shape}, u has shape {u.shape}")
    if len(u):
        _check_rows(u, rows)
        n_threads = min(usable_threads(n_threads), _blocks(len(u)))
        _grid.gradient(u, *lattice.arguments, *rows.arguments, slopes, plain, own_scale, own_shift, n_threads, out)


def _check_rows(u, rows):
    if u.shape != (rows.n_rows,):
        raise ValueError(f"u has shape {u.shape}, there are {rows.n_rows} rows")
