"""Protected attributes, observed or as columns of probabilities, and control features, as the options name them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairdcov import with_probabilities
from fairdcov.cli._experience import attribute_bins, read_sensitive
from fairdcov.encoding import DEFAULT_GROUPS

__all__ = ["Protected", "read_control", "read_probabilities", "read_protected", "split_names"]

# Of the sum of a row's probabilities from 1.
_TOLERANCE = 1e-6


def split_names(names, known):
    """Names of columns; one text may hold several between commas, unless it is the name of a column itself."""
    found = []
    for name in names:
        parts = [part.strip() for part in name.split(",")]
        found += [name] if name in known or not all(part in known for part in parts) else parts
    return found


def read_probabilities(texts):
    """``["race=p_white,p_black"]`` as a dict of attributes with the columns of their levels."""
    found: dict[str, list] = {}
    used: dict[str, str] = {}
    for text in texts or []:
        name, equals, columns = text.partition("=")
        names = [column.strip() for column in columns.split(",")] if equals else []
        if not name or len(names) < 2 or not all(names):
            raise ValueError(
                "--probabilities takes NAME=COLUMN,COLUMN,... with the probability of each of at least two levels, "
                f"such as race=p_white,p_black; found {text!r}"
            )
        if name in found:
            raise ValueError(f"--probabilities names the attribute {name!r} twice")
        for column in names:
            if column in used:
                raise ValueError(
                    f"--probabilities names the column {column!r} twice, for {used[column]!r} and {name!r}: each level "
                    "needs a column of its own"
                )
            used[column] = name
        found[name] = names
    return found


@dataclass(frozen=True)
class Protected:
    """Protected attributes of some rows.

    Attributes
    ----------
    columns : DataFrame
        Observed attributes, then the probabilities.
    probabilities : dict of str to list of str
        Attributes that are known as probabilities, and their columns.
    """

    columns: pd.DataFrame
    probabilities: dict

    @property
    def observed(self):
        """The columns that are attributes themselves."""
        return self.columns.drop(columns=[column for columns in self.probabilities.values() for column in columns])

    @property
    def names(self):
        """Names of the attributes."""
        return [*self.observed, *self.probabilities]

    @property
    def attributes(self):
        """What the library takes as ``sensitive_features``."""
        return with_probabilities(self.columns, self.probabilities) if self.probabilities else self.columns


def read_protected(table, sensitive, probabilities, rows):
    """Protected attributes of some rows of a table.

    Parameters
    ----------
    table : Table
        With the columns below.
    sensitive : list of str
        Columns of observed attributes.
    probabilities : dict of str to list of str
        Of :func:`read_probabilities`.
    rows : (n,) int64 array
        Rows that take part.

    Returns
    -------
    Protected

    Raises
    ------
    ValueError
        Without any attribute, and for rows that are no probabilities, with the first of them and its column.
    """
    for name, levels in probabilities.items():
        for taken in (name, *levels):
            if taken in sensitive:
                raise ValueError(f"--probabilities names {taken!r}, which --sensitive names already")
    if not sensitive and not probabilities:
        raise ValueError("no protected attributes: name columns with --sensitive, or with --probabilities")
    columns = read_sensitive(table, sensitive, rows)
    for name, levels in probabilities.items():
        shares = np.column_stack([table.numbers(level, "--probabilities")[rows] for level in levels])
        _check_shares(name, levels, shares, rows)
        columns = columns.assign(**dict(zip(levels, shares.T, strict=True)))
    return Protected(columns, probabilities)


def _check_shares(name, levels, shares, rows):
    outside = (shares < 0) | (shares > 1 + _TOLERANCE)
    if outside.any():
        row, position = np.argwhere(outside)[0]
        raise ValueError(
            f"--probabilities: column {levels[position]!r} must lie between 0 and 1; found {shares[row, position]:.6g} "
            f"in data row {rows[row] + 1} ({int(outside.any(axis=1).sum()):,} such row(s))"
        )
    sums = shares.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > _TOLERANCE)
    if len(off):
        raise ValueError(
            f"--probabilities: the columns of {name!r}, {', '.join(levels)}, must sum to 1 in each row; found "
            f"{sums[off[0]]:.8g} in data row {rows[off[0]] + 1} ({len(off):,} such row(s)): name a column for every "
            "level, or divide by the sum"
        )


def read_control(table, names, given, rows):
    """Control features of some rows and how their numbers are cut; two times None without any.

    ``given`` is the text of ``--control-bins``.
    """
    if not names:
        if given:
            raise ValueError("--control-bins needs --control, whose numbers it cuts")
        return None, None
    control = read_sensitive(table, names, rows, "--control")
    bins = attribute_bins(control, given, option="--control-bins", what="control numbers")
    return control, bins if given else DEFAULT_GROUPS
