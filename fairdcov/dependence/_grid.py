"""The form on a grid: pairs of rows by the interpolant of their distance between nodes, in linear time."""

from dataclasses import dataclass

import numpy as np

from fairdcov import _kernels
from fairdcov._checks import is_constant, without_exponent
from fairdcov.dependence._curvature import LEAST_DENSITY, grid_density
from fairdcov.dependence._forms import DependenceForm

__all__ = ["GridAnswer", "GridForm", "GridTerms"]

# Up to so many a product over all nodes takes half of a millisecond without the BLAS.
_FEW_PROFILES = 32


class GridForm(DependenceForm):
    """``sum_{i != j} I(u_i, u_j) M_ij`` with the bilinear interpolant I of the distance between nodes.

    The interpolant is exact for rows in different cells and above by at most half of the width for rows of one cell,
    so that the error is quadratic in the width. Value and gradient are of this one function: the nodes do not move with
    the predictions, see :class:`fairdcov._kernels.Lattice`, but when the range of the predictions passes a power of
    two, from where on the value is another by no more than its error.

    It is homogeneous and blind to shifts as far as the interpolant is exact.

    Parameters
    ----------
    forms : list of DependenceForm
        Forms that have ``grid_rows()``; the measure is their sum.
    statistic : {"u", "v"}
        For the Gini mean difference.
    size : int
        Nodes to have, about.
    n_threads : int
        The bits do not depend on it.
    reduction : Reduction
        Over the processes that share the rows.

    Attributes
    ----------
    error_bound : float
        As in :class:`DependenceForm`, for the predictions evaluated last: infinity before the first. With row weights
        ``w`` the error is at most half of ``max |M_ij / (w_i w_j)|`` times ``sum_c h_c w_c^2`` over the cells, of width
        h_c and weight w_c.
    """

    def __init__(self, forms, statistic, size, n_threads, reduction):
        self.n_samples = forms[0].n_samples
        self.constant = sum(form.constant for form in forms)
        self.method = " + ".join(dict.fromkeys(form.method for form in forms)) + " on a grid"
        self.size = size
        self._forms, self._reduction, self._n_threads = forms, reduction, n_threads
        self._rows = [form.grid_rows() for form in forms]
        self._totals = reduction.add(np.array([rows.total for rows in self._rows]))
        excess = [np.abs(rows.excess).max(initial=0.0) for rows in self._rows]
        self._largest_excess = reduction.maximum(np.array(excess))
        total = float(self._totals[0])
        self._gini_scale = 1.0 / (total * (total - 1.0) if statistic == "u" else total**2)
        self._bound = np.inf

    @property
    def error_bound(self):
        """See above."""
        return self._bound + abs(self.factor) * sum(form.error_bound for form in self._forms)

    def evaluate(self, u, *, normalize=False):
        """Value, over the Gini mean difference if ``normalize``, and gradient.

        Parameters
        ----------
        u : (n,) float64 array
            Finite predictions.
        normalize : bool

        Returns
        -------
        GridEvaluation
        """
        u, exponent, lattice = self._lattice(u)
        if lattice is None:
            return GridEvaluation(0.0, np.zeros(len(u)), 1.0, u, exponent, None)
        tables = [self._table(u, position, lattice) for position in range(len(self._rows))]
        answer = GridAnswer.of(tables, self._gini_scale, self.factor, normalize)
        self._bound = answer.error_bound
        gradient = answer.gradient(u, self._rows, n_threads=self._n_threads)
        if exponent and normalize:
            gradient = np.ldexp(gradient, -exponent)
        value = answer.value if normalize else float(np.ldexp(answer.value, exponent))
        return GridEvaluation(value, gradient, answer.gini, u, exponent, tables[0])

    def terms(self, rows):
        """What the form is made of, for more rows than it is bound to; None where rows have shares in profiles.

        Parameters
        ----------
        rows : (m,) integer array
            Rows of the form that stand for others with their attributes.

        Returns
        -------
        GridTerms or None
        """
        if any(len(own.starts) for own in self._rows):
            return None
        # Of row weights of sum 1.
        squares = float(self._totals[0]) ** 2
        return GridTerms(
            tuple(own.matrix * squares for own in self._rows),
            tuple(own.codes[rows] for own in self._rows),
            self._gini_scale * squares,
            self.factor,
            self.size,
        )

    def _lattice(self, u):
        """Predictions without a power of two, its exponent, and the nodes: None for constant predictions."""
        low, high, absolute = self._extent(u)
        _, exponent = without_exponent(np.array([low, high]))
        if exponent:
            u = np.ldexp(u, -exponent)
            low, high, absolute = self._extent(u)
        return u, exponent, _lattice_of(low, high, absolute, self.size)

    def _extent(self, u):
        """Smallest, largest and mean absolute prediction of all processes."""
        low, high, absolute = _kernels.extent(u, n_threads=self._n_threads)
        low, high = self._reduction.maximum(np.array([-low, high]))
        absolute, n_rows = self._reduction.add(np.array([absolute, float(len(u))]))
        return -float(low), float(high), float(absolute) / float(n_rows)

    def _table(self, u, position, lattice):
        rows = self._rows[position]
        table, units, own = _kernels.grid_masses(
            u,
            rows,
            lattice,
            float(self._totals[position]),
            float(self._largest_excess[position]),
            n_threads=self._n_threads,
        )
        return NodeMasses(
            lattice,
            self._reduction.add(table),
            units,
            self._reduction.add(own),
            rows.matrix,
            float(self._largest_excess[position]),
        )

    def value_gradient_weights(self, u, order=None):
        """See :meth:`DependenceForm.value_gradient_weights`; needs no order, and has no sums of weights."""
        found = self.evaluate(u)
        return found.value, found.gradient, None

    def value_gradient(self, u, order=None):
        """See :meth:`DependenceForm.value_gradient`."""
        return self.value_gradient_weights(u)[:2]

    def signed_sums(self, u, order=None):
        """See :meth:`DependenceForm.signed_sums`; the slopes of the interpolant stand for signs."""
        return self.evaluate(u).gradient / (2.0 * self.factor), None

    def density(self, u, order, probabilities, width):
        """See :meth:`DependenceForm.density`; the same in a cell, and ``order`` is what :meth:`evaluate` returned."""
        masses = order.masses
        density = grid_density(masses.lattice.nodes, masses.node_weights())
        return np.maximum(density, LEAST_DENSITY / width)[masses.lattice.cells(u)[0]]

    def norm(self):
        """See :meth:`DependenceForm.norm`; nothing is interpolated."""
        return abs(self.factor) * sum(form.norm() for form in self._forms)

    def between(self, rows):
        """See :meth:`DependenceForm.between`; nothing is interpolated."""
        return sum(form.factor * form.between(rows) for form in self._forms)

    def pull_bounds(self, random_state=0):
        """See :meth:`DependenceForm.pull_bounds`."""
        return abs(self.factor) * sum(form.pull_bounds(random_state) for form in self._forms)


def _lattice_of(low, high, mean_absolute, size):
    """The nodes; None for constant predictions."""
    return None if is_constant(np.array([low, high])) else _kernels.Lattice.of(low, high, mean_absolute, size)


@dataclass(frozen=True, eq=False)
class GridTerms:
    """A form on a grid without its rows: what is known of it where rows are in many places, a few at a time.

    Each place computes :meth:`extent` and :meth:`masses` of its rows, somebody adds them up and asks :meth:`lattice`
    and :meth:`answer`, and each place has :meth:`GridAnswer.gradient` of its rows from that. Row weights are shares of
    all rows, and sum to 1 over all places.

    Attributes
    ----------
    matrices : tuple of (K, K) arrays
        N of each form that is added up, for such weights.
    codes : tuple of (m,) int32 arrays
        For each form the profiles of some rows that stand for all.
    gini_scale, factor : float
    size : int
        Nodes to have, about.
    """

    matrices: tuple
    codes: tuple
    gini_scale: float
    factor: float
    size: int

    def rows(self, standing, weights):
        """Rows of given weights (n,) with the profiles of those that stand for them (n,), a list as it is passed on."""
        pairs = zip(self.codes, self.matrices, strict=True)
        return [_kernels.GridRows(codes[standing], matrix, weights) for codes, matrix in pairs]

    @staticmethod
    def extent(u, *, n_threads=1):
        """Smallest, largest and sum of the absolute predictions; infinite ends for no rows."""
        return _kernels.extent(u, n_threads=n_threads)

    def lattice(self, low, high, mean_absolute):
        """The nodes, None for constant predictions, and the exponent of the power of two to divide these by."""
        _, exponent = without_exponent(np.array([low, high]))
        ends = np.ldexp([low, high, mean_absolute], -exponent)
        return _lattice_of(float(ends[0]), float(ends[1]), float(ends[2]), self.size), exponent

    def masses(self, u, rows, lattice, exponent, *, n_threads=1):
        """Tables of whole numbers, one for each form, and a list of two sums for each; all can be added."""
        u = np.ldexp(u, -exponent) if exponent else u
        found = [_kernels.grid_masses(u, own, lattice, 1.0, n_threads=n_threads) for own in rows]
        return [table for table, _, _ in found], [own for _, _, own in found]

    def answer(self, lattice, exponent, tables, own, normalize):
        """Value and slopes from the sums over all rows.

        Parameters
        ----------
        lattice, exponent
            From :meth:`lattice`.
        tables, own : lists of arrays
            Sums of what :meth:`masses` gives.
        normalize : bool
            Whether the value is over the Gini mean difference.

        Returns
        -------
        GridAnswer
        """
        units = _kernels.mass_unit(1.0), 0.0
        found = zip(tables, own, self.matrices, strict=True)
        masses = [NodeMasses(lattice, table, units, sums, matrix, 0.0) for table, sums, matrix in found]
        return GridAnswer.of(masses, self.gini_scale, self.factor, normalize, exponent)


@dataclass(frozen=True, eq=False)
class GridAnswer:
    """What the masses of all rows say, for the gradient of any of them.

    Attributes
    ----------
    value : float
        Of predictions divided by ``2 ** exponent``.
    gini : float
        Their Gini mean difference on the grid.
    error_bound : float
        Of the value over the Gini mean difference.
    lattice : Lattice
    slopes : list of tuples
        What the kernel takes, for each form that is added up.
    normalize : bool
    exponent : int
    """

    value: float
    gini: float
    error_bound: float
    lattice: object
    slopes: list
    normalize: bool
    exponent: int = 0

    @classmethod
    def of(cls, tables, gini_scale, factor, normalize, exponent=0):
        """From the masses of each form that is added up."""
        gini = tables[0].gini() * gini_scale
        value = factor * sum(table.value() for table in tables)
        bound = abs(factor) * sum(table.error_bound() for table in tables) / gini
        ratio, over = (value / gini, 1.0 / gini) if normalize else (0.0, 1.0)
        found = []
        for position, table in enumerate(tables):
            # The Gini mean difference is taken off once.
            off = ratio * gini_scale if position == 0 else 0.0
            slopes = (2.0 * over * factor) * table.slopes
            slopes -= (2.0 * over * off) * table.balance
            plain = (2.0 * over * factor) * table.balance
            found.append((slopes, plain, 2.0 * over * factor, -2.0 * over * off))
        value = ratio if normalize else value
        return cls(value, gini, bound, tables[0].lattice, found, normalize, exponent)

    def whole_value(self):
        """Value of the predictions as they are."""
        return self.value if self.normalize else float(np.ldexp(self.value, self.exponent))

    def gradient(self, u, rows, *, n_threads=1):
        """Gradient (n,) at some rows, by predictions divided by ``2 ** exponent``."""
        gradient = np.zeros(len(u))
        for own, slopes in zip(rows, self.slopes, strict=True):
            _kernels.grid_gradient(u, own, self.lattice, *slopes, gradient, n_threads=n_threads)
        return gradient

    def whole_gradient(self, u, rows, *, n_threads=1):
        """Gradient (n,) at some rows, of the predictions as they are."""
        if not self.exponent:
            return self.gradient(u, rows, n_threads=n_threads)
        gradient = self.gradient(np.ldexp(u, -self.exponent), rows, n_threads=n_threads)
        return np.ldexp(gradient, -self.exponent) if self.normalize else gradient


@dataclass(frozen=True)
class GridEvaluation:
    """What :meth:`GridForm.evaluate` found.

    Attributes
    ----------
    value : float
    gradient : (n,) array
    spread : float
        The Gini mean difference on the grid, of ``u``; 1 for constant predictions.
    u : (n,) array
        Predictions divided by ``2 ** exponent``.
    exponent : int
    masses : NodeMasses or None
        None where the predictions of all processes are constant.
    """

    value: float
    gradient: np.ndarray
    spread: float
    u: np.ndarray
    exponent: int
    masses: object


class NodeMasses:
    """The masses of all rows at the nodes, and what follows from them.

    Attributes
    ----------
    lattice : Lattice
    balance : (cells,) array
        Weight at the nodes below a cell less that above.
    slopes : (K, cells) array
        Half of the derivative of the form with respect to a row of each profile in each cell, over its weight; the
        excess of the row itself is not in it.
    """

    def __init__(self, lattice, table, units, own, matrix, largest_excess):
        self.lattice = lattice
        self._own = own
        self._widths = np.diff(lattice.nodes)
        self._largest = float(np.abs(matrix).max()) + 2.0 * largest_excess
        n_profiles = len(matrix)
        self._node_masses = table[:n_profiles].sum(axis=0) * units[0]
        # Whole numbers: what is below and above a cell is exact.
        below = np.cumsum(table, axis=1)
        totals = below[:, -1]
        difference = 2 * below[:, :-1] - totals[:, None]
        balances, totals_of_profiles = difference[:n_profiles] * units[0], totals[:n_profiles] * units[0]
        # A product of few profiles is not worth the threads of the BLAS, see fairdcov._checks.one_blas_thread.
        few = n_profiles <= _FEW_PROFILES
        self.slopes = np.einsum("kh,hc->kc", matrix, balances) if few else matrix @ balances
        self.balance = difference[:n_profiles].sum(axis=0) * units[0]
        self._total = float(totals_of_profiles.sum())
        # The quadratic form of what is below a cell less what is above, and its value beyond all rows.
        self._quadratic = np.einsum("kc,kc->c", balances, self.slopes)
        self._beyond = float(totals_of_profiles @ matrix @ totals_of_profiles)
        if len(table) > n_profiles:
            excess = difference[-1] * units[1]
            self._quadratic += 2.0 * self.balance * excess
            self._beyond += 2.0 * self._total * float(totals[-1] * units[1])
            self.slopes += excess

    def value(self):
        """The form without its factor, the rows with themselves taken out."""
        return float(0.5 * (self._widths @ (self._beyond - self._quadratic)) - self._own[0])

    def gini(self):
        """``sum_{i != j} w_i w_j I(u_i, u_j)``."""
        return float(0.5 * (self._widths @ (self._total**2 - self.balance**2)) - self._own[1])

    def error_bound(self):
        """Bound on the difference to the exact value of the form, without its factor."""
        of_cells = self._node_masses[:-1] + self._node_masses[1:]
        return 0.5 * self._largest * float(self._widths @ of_cells**2)

    def node_weights(self):
        """Share of the weight at each node, (nodes,)."""
        return self._node_masses / self._total
