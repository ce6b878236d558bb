"""What was read of each column, for people: its kind, its levels and its missing values."""

from collections import Counter
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from fairdcov.encoding import MISSING

__all__ = [
    "ColumnRead",
    "as_settings",
    "column_read",
    "notes_on_levels",
    "notes_on_range",
    "print_columns",
    "range_of",
    "take_stock",
]

# Columns of features that are printed; the others are counted.
_MOST_LINES = 40
# Levels from which a category is worth a remark.
_MANY_LEVELS = 100
# Share of the rows beyond what the rows fitted have that is worth a remark.
_BEYOND = 0.05
# Options whose columns are numbers that are added up or compared.
_AMOUNTS = ("target", "amount", "exposure", "prediction", "baseline")
_PLURALS = {"category": "categories", "empty": "empty"}


@dataclass(frozen=True)
class ColumnRead:
    """One column.

    Attributes
    ----------
    name : str
        Of the column.
    role : str
        What it is used for.
    kind : str
        ``"whole number"``, ``"number"``, ``"category"``, or ``"empty"``.
    levels : int
        Distinct values that are there.
    missing : int
        Rows without a value.
    """

    name: str
    role: str
    kind: str
    levels: int
    missing: int


def column_read(column, role):
    """What was read of one column, a Series that :meth:`Table.attribute` returns."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        missing = int((column == MISSING).sum())
        levels, kind = column.nunique() - (missing > 0), "category"
    else:
        missing, levels = int(column.isna().sum()), column.nunique()
        known = column.dropna().to_numpy(dtype=np.float64)
        kind = "whole number" if (known == np.floor(known)).all() else "number"
    return ColumnRead(column.name, role, kind if levels else "empty", levels, missing)


def take_stock(table, roles):
    """What was read of every column that is used.

    Parameters
    ----------
    table : Table
        What was read.
    roles : dict of str to list of str
        Columns that each option of the command line names.

    Returns
    -------
    list of ColumnRead
        Columns with two roles have the first.
    """
    found = {}
    for option, names in roles.items():
        role = {"sensitive": "protected", "probabilities": "protected", "features": "feature"}.get(
            option.removeprefix("--"), option.removeprefix("--")
        )
        for name in names:
            if name in found:
                continue
            if role in _AMOUNTS:
                column = pd.Series(table.numbers(name, option, allow_missing=True), name=name)
            else:
                column = table.attribute(name, option)
            found[name] = column_read(column, role)
    return list(found.values())


def as_settings(columns):
    """Columns as ``settings.json`` has them, a dict for each name."""
    return {column.name: {key: value for key, value in asdict(column).items() if key != "name"} for column in columns}


def print_columns(columns, *, all_in=""):
    """Print a line for each column.

    Parameters
    ----------
    columns : list of ColumnRead
        What was read; of more than 40 features the first are printed and the others counted.
    all_in : str, default=""
        Where all of them are found.
    """
    features = [column for column in columns if column.role == "feature"]
    more = features[_MOST_LINES:]
    shown = [column for column in columns if column not in more]
    cells = [("column", "role", "kind", "levels", "missing")]
    cells += [(c.name, c.role, c.kind, f"{c.levels:,}", f"{c.missing:,}") for c in shown]
    # A name may hold anything, line breaks among it.
    cells = [(" ".join(row[0].split()), *row[1:]) for row in cells]
    widths = [max(len(row[position]) for row in cells) for position in range(5)]
    for name, role, kind, levels, missing in cells:
        line = f"  {name:<{widths[0]}}  {role:<{widths[1]}}  {kind:<{widths[2]}}"
        print(f"{line}  {levels:>{widths[3]}}  {missing:>{widths[4]}}")
    if more:
        counts = Counter(column.kind for column in more)
        kinds = ", ".join(f"{count} {_PLURALS.get(kind, kind + 's')}" for kind, count in counts.items())
        gaps = sum(column.missing > 0 for column in more)
        print(f"  and {len(more)} more features: {kinds}; {gaps} with missing values{all_in and f' (all in {all_in})'}")


def notes_on_levels(columns, n_rows):
    """Remarks on categories of many levels, which numbers in disguise and names have."""
    return [
        f"{column.name} is a category of {column.levels:,} levels in {n_rows:,} rows"
        for column in columns
        if column.kind == "category" and column.levels > _MANY_LEVELS
    ]


def range_of(values):
    """Least and largest of some numbers, as ``settings.json`` has them; missing ones do not count."""
    return [float(np.nanmin(values)), float(np.nanmax(values))]


def notes_on_range(name, values, known):
    """Remark on a column of which many rows are beyond those fitted, as those of another unit or scale are.

    Parameters
    ----------
    name : str
        Of the column.
    values : (n,) array
        Numbers to predict with.
    known : pair of float or None
        Of :func:`range_of`, None where it is not known.

    Returns
    -------
    list of str
    """
    if not known:
        return []
    there = values[~np.isnan(values)]
    low, high = known
    beyond = ((there < low) | (there > high)).sum() / max(len(values), 1)
    if beyond <= _BEYOND:
        return []
    return [
        f"{name} is beyond the rows fitted, {low:.6g} to {high:.6g}, in {beyond:.0%} of the rows (it runs from "
        f"{there.min():.6g} to {there.max():.6g}): see that it is in the same unit"
    ]
