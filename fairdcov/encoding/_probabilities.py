"""Columns of probabilities for the levels of an attribute that was not observed."""

import numpy as np
import scipy.sparse as sp
import sklearn

from fairdcov.encoding._blocks import NominalCoordinates
from fairdcov.encoding._rows import warn_of_attributes
from fairdcov.encoding._sensitive_column import column_named
from fairdcov.encoding._soft_blocks import SoftBlocks, certain_shares, joint_shares

__all__ = ["ProbabilityCoder", "likely_probabilities", "read_probabilities", "soft_blocks"]

# Of the sum of a row's probabilities from 1: tables are rounded to six digits.
_TOLERANCE = 1e-6
# Fewer rows that sum to 1 may do so by chance.
_ROWS_TO_TELL = 10


def read_probabilities(probabilities, names):
    """The columns of each attribute that is known as probabilities, by name; all names and uses are checked.

    Parameters
    ----------
    probabilities : dict of str to list of column names or positions, or None
        As the user gave it.
    names : list of str
        Columns that there are.

    Returns
    -------
    dict of str to list of str
    """
    if probabilities is None:
        return {}
    if not isinstance(probabilities, dict):
        raise TypeError(
            "probabilities must be a dict of attributes with the columns of their levels, such as "
            f"{{'race': ['p_white', 'p_black']}}; found {probabilities!r}"
        )
    found, used = {}, {}
    for attribute, columns in probabilities.items():
        if isinstance(columns, str) or not hasattr(columns, "__iter__"):
            raise TypeError(f"probabilities[{attribute!r}] must be a list of column names; found {columns!r}")
        found[str(attribute)] = [column_named(column, names, "probabilities") for column in columns]
        if len(found[str(attribute)]) < 2:
            raise ValueError(
                f"probabilities[{attribute!r}] must name the columns of at least two levels; found {list(columns)!r}: "
                "the probability of one of two levels needs a column with the other's, 1 minus it"
            )
        for column in found[str(attribute)]:
            if column in used:
                raise ValueError(
                    f"probabilities uses the column {column!r} twice, for {used[column]!r} and {attribute!r}: each "
                    "level needs a column of its own"
                )
            used[column] = attribute
    taken = [attribute for attribute in found if attribute in names and attribute not in used]
    if taken:
        raise ValueError(
            f"probabilities gives the name {taken[0]!r} to an attribute, and sensitive_features has an observed column "
            "of that name: use the one or the other, under another name if both are wanted"
        )
    return found


def likely_probabilities(columns):
    """Names of the numeric columns that together sum to 1 in every row, or none of them.

    All columns with values between 0 and 1, some of them in between: shares of anything else are rare.
    """
    inside = {
        name: column.values
        for name, column in columns.items()
        if column.numeric and len(column) >= _ROWS_TO_TELL and column.values.min() >= 0 and column.values.max() <= 1
    }
    between = [((values > _TOLERANCE) & (values < 1 - _TOLERANCE)).any() for values in inside.values()]
    if len(inside) < 2 or not any(between):
        return []
    return list(inside) if np.allclose(sum(inside.values()), 1.0, rtol=0, atol=_TOLERANCE) else []


class ProbabilityCoder(NominalCoordinates):
    """Levels of a nominal attribute of which each row has probabilities; coordinates as of one that is observed."""

    def __init__(self, name, levels):
        super().__init__(list(levels))
        self.name = name

    def shares(self, columns):
        """Probabilities of the levels in each row, (n, L), checked and scaled to sum 1."""
        self._check_numbers(columns)
        shares = np.column_stack([np.asarray(columns[level].values, dtype=np.float64) for level in self.levels])
        outside = (shares < 0) | (shares > 1 + _TOLERANCE)
        if outside.any():
            row, position = np.argwhere(outside)[0]
            raise ValueError(
                f"probabilities[{self.name!r}] must lie between 0 and 1; found {shares[row, position]:.6g} in row "
                f"{row} of {self.levels[position]!r} ({np.count_nonzero(outside.any(axis=1)):,} such row(s))"
            )
        sums = shares.sum(axis=1)
        off = np.abs(sums - 1) > _TOLERANCE
        if off.any():
            row = int(np.flatnonzero(off)[0])
            raise ValueError(
                f"probabilities[{self.name!r}] must sum to 1 in each row; found {sums[row]:.8g} in row {row} "
                f"({np.count_nonzero(off):,} such row(s)): name a column for every level, or divide by the sum"
            )
        return shares / sums[:, None]

    def _check_numbers(self, columns):
        for level in self.levels:
            column = columns[level]
            if not column.numeric and (column.codes is not None or column.values.dtype.kind != "b"):
                raise TypeError(
                    f"probabilities[{self.name!r}] names the column {level!r}, which holds no numbers: give the "
                    "columns that hold the probability of each level"
                )

    def sparse_shares(self, columns):
        """:meth:`shares` as CSR array."""
        shares = self.shares(columns)
        n, size = shares.shape
        if (shares == 0).any():
            return sp.csr_array(shares)
        return sp.csr_array((shares.ravel(), np.tile(np.arange(size), n), np.arange(0, n * size + 1, size)))

    def warn_of_levels_without_mass(self, columns):
        """Name levels that have probability 0 in all rows: they count as levels all the same."""
        self._check_numbers(columns)
        empty = [level for level in self.levels if not columns[level].values.any()]
        if empty:
            warn_of_attributes(
                f"probabilities[{self.name!r}] has level(s) of probability 0 in every row, "
                f"{', '.join(map(repr, empty))}: nothing can be said about them; leave them out, unless these rows are "
                "a part of data that has them"
            )

    def level_points(self):
        """Coordinates of the levels, (L, n_coordinates)."""
        if self.n_coordinates == 1:
            return np.arange(2.0)[:, None]
        return np.eye(len(self.levels))

    def points(self, columns):
        """Expected coordinates of the rows."""
        return self.shares(columns) @ self.level_points()


def soft_blocks(names, observed, coders, columns):
    """Shares of the joint profiles of observed attributes and of attributes that are known as probabilities.

    Given what the probabilities are given, attributes are independent in a row: the share of a combination of levels
    is the product of its levels' probabilities, 0 or 1 for observed ones.

    Parameters
    ----------
    names : list of str
        The attributes, in the order of the blocks.
    observed : SensitiveBlocks or None
        Those that are observed.
    coders : dict of str to ProbabilityCoder
        Those that are not.
    columns : dict of str to SensitiveColumn

    Returns
    -------
    SoftBlocks, or SensitiveBlocks where all rows are certain
    """
    parts, points = [], {}
    if observed is not None:
        parts.append(certain_shares(observed.codes, observed.n_profiles))
    parts += [coder.sparse_shares(columns) for coder in coders.values()]
    _check_entries(parts, names)
    shares, levels = joint_shares(parts)
    if observed is not None:
        profiles = levels.pop(0)
        points = {name: block[profiles] for name, block in zip(observed.names, observed.points, strict=True)}
    for (name, coder), level in zip(coders.items(), levels, strict=True):
        points[name] = coder.level_points()[level]
    return SoftBlocks(shares, [np.ascontiguousarray(points[name]) for name in names], names).observed()


def _check_entries(parts, names):
    """Raise where the products of the rows' probabilities would not fit scikit-learn's ``working_memory``."""
    entries = np.prod([np.diff(part.indptr).astype(np.float64) for part in parts], axis=0).sum()
    available = sklearn.get_config()["working_memory"] * 2**20
    if 16 * entries > available:
        raise ValueError(
            f"the combinations of the levels of {names} that rows have a share in need about "
            f"{16 * entries / 2**20:,.0f} MiB, more than scikit-learn's working_memory of {available / 2**20:,.0f} "
            "MiB: merge levels of small probability, or raise sklearn.set_config(working_memory=...)"
        )
