"""Columns to intersectional groups of rows: numbers cut into bins, categories as they are."""

import numbers
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from fairdcov.encoding._blocks import combine_codes, present_codes
from fairdcov.encoding._sensitive_column import column_named

__all__ = [
    "DEFAULT_FACTOR_BINS",
    "DEFAULT_GROUPS",
    "MAX_NUMERIC_LEVELS",
    "Factor",
    "Groups",
    "bin_edges",
    "cross_columns",
    "cut",
    "describe_groups",
    "edges_of_columns",
    "interval_labels",
    "level_text",
]

# A numeric column with more distinct values than this is a measurement, not a code of categories: it needs bins.
MAX_NUMERIC_LEVELS = 20
# Quantile groups of a measurement among the protected attributes that nobody has said how to cut. Groups are crossed:
# few of them, so that intersections keep rows enough to be compared. The help of the command line says this number.
DEFAULT_GROUPS = 5
# Quantile bins of a measurement among the factors of a table, where each factor stands alone and a tariff is read off
# its levels.
DEFAULT_FACTOR_BINS = 10


class Groups(NamedTuple):
    """Intersectional groups of rows.

    Attributes
    ----------
    codes : (n,) int64 array
        Group of each row.
    labels : list of tuple
        For each group its level in every attribute, in the order of the levels.
    names : list of str
        Names of the attributes.
    """

    codes: np.ndarray
    labels: list
    names: list

    def rows(self, keep):
        """The groups of some rows: those that have none of them are no group."""
        codes, present = present_codes(self.codes[keep], len(self.labels))
        return Groups(codes, [self.labels[k] for k in present], self.names)


@dataclass(frozen=True, eq=False)
class Factor:
    """One column as levels.

    Attributes
    ----------
    name : str
        Name of the column.
    codes : (n,) int64 array
        Level of each row, in ``range(L)``.
    levels : list of L values
        In their natural order: values, ``pandas.Interval`` for bins, and :data:`MISSING` last.
    """

    name: str
    codes: np.ndarray
    levels: list


def interval_labels(edges):
    """Bins between edges, closed on the left, the last one on both sides."""
    last = len(edges) - 2
    return [pd.Interval(edges[k], edges[k + 1], closed="both" if k == last else "left") for k in range(len(edges) - 1)]


def bin_edges(values, bins, name, weights):
    """Edges of one column from quantiles or as given."""
    if isinstance(bins, numbers.Integral) and not isinstance(bins, bool):
        if bins < 1:
            raise ValueError(f"bins for {name!r} must be at least 1; found {bins}")
        levels = np.linspace(0.0, 1.0, int(bins) + 1)
        if weights is not None:
            # NumPy 2.0 takes the least value for the lowest quantile, whatever its weight.
            values, weights = values[weights > 0], weights[weights > 0]
        edges = np.unique(np.quantile(values, levels, weights=weights, method="inverted_cdf"))
        return np.array([edges[0], edges[0]]) if len(edges) == 1 else edges
    try:
        edges = np.asarray(bins, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"bins for {name!r} must be a whole number (quantiles), a list of edges or None; found {bins!r}"
        ) from error
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"bins for {name!r} must be at least two increasing edges; found {bins!r}")
    outside = (values < edges[0]) | (values > edges[-1])
    if weights is not None:
        # Rows of weight 0 have no part in quantiles that were asked for before.
        outside &= weights > 0
    if outside.any():
        raise ValueError(
            f"bins for {name!r} leave out {int(outside.sum())} value(s), such as {values[outside][0]:g}: the edges run "
            f"from {edges[0]:g} to {edges[-1]:g}; open them with -numpy.inf and numpy.inf"
        )
    return edges


def level_text(level, digits=6):
    """Name of a level of an attribute as people write it, numbers to so many digits."""
    if isinstance(level, pd.Interval):
        left, right = f"{level.left:.{digits}g}", f"{level.right:.{digits}g}"
        if np.isneginf(level.left):
            return f"< {right}"
        if np.isposinf(level.right):
            return f"≥ {left}"
        return f"[{left}, {right}{']' if level.closed == 'both' else ')'}"
    if isinstance(level, float | np.floating):
        return f"{level:.{digits}g}"
    return str(level)


def cut(values, edges):
    """Bin of each value: closed on the left, the last one on both sides; values beyond the edges in the nearest."""
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2).astype(np.int64)


def _column_levels(column, edges):
    """Codes of the rows of one attribute, and its levels in a natural order."""
    if edges is not None:
        return cut(np.asarray(column.values, dtype=np.float64), edges), interval_labels(edges)
    codes, levels = column.level_codes()
    if column.declared is not None:
        return codes, list(levels)
    order = sorted(range(len(levels)), key=levels.__getitem__)
    position = np.empty(len(levels), dtype=np.int64)
    position[order] = np.arange(len(levels))
    return position[codes], [levels[k] for k in order]


def _bins_of_columns(bins, columns):
    """The ``bins`` of each column; the ones that need some and have none raise."""
    names = list(columns)
    chosen = {}
    if isinstance(bins, dict):
        for key, value in bins.items():
            chosen[column_named(key, names, "bins")] = value
    elif bins is not None and not (isinstance(bins, numbers.Integral) and not isinstance(bins, bool)):
        raise TypeError(
            "bins must be None, a whole number of quantiles, or a dict of column name to edges or whole number; found "
            f"{bins!r}"
        )
    for name, value in chosen.items():
        if value is not None and not columns[name].numeric:
            raise TypeError(
                f"bins names {name!r}, which holds categories: only numeric attributes can be cut into bins"
            )
    for name, column in columns.items():
        if name in chosen or not column.numeric:
            continue
        n_levels = len(column.distinct()[1])
        if n_levels <= MAX_NUMERIC_LEVELS:
            continue
        if bins is None or isinstance(bins, dict):
            raise ValueError(
                f"sensitive_features column {name!r} is numeric with {n_levels} distinct values, too many to be "
                f"groups: pass bins={{{name!r}: 5}} for quantile groups, bins={{{name!r}: [edges]}} for groups of your "
                f"own, or bins={{{name!r}: None}} to take every value as a group"
            )
        chosen[name] = bins
    return chosen


def edges_of_columns(columns, bins, sample_weight):
    """Edges of each column that ``bins`` speaks of: an array, or None where every value is a group."""
    edges = {}
    for name, wanted in _bins_of_columns(bins, columns).items():
        edges[name] = None
        if wanted is not None:
            edges[name] = bin_edges(np.asarray(columns[name].values, dtype=np.float64), wanted, name, sample_weight)
    return edges


def cross_columns(columns, edges):
    """The groups that the levels of several columns form, cut by :func:`edges_of_columns`."""
    codes, levels = [], []
    for name, column in columns.items():
        column_codes, column_levels = _column_levels(column, edges.get(name))
        codes.append(column_codes)
        levels.append(column_levels)
    crossed, first_rows = combine_codes(codes)
    keys = np.array([column_codes[first_rows] for column_codes in codes])
    order = np.lexsort(keys[::-1])
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    labels = [tuple(levels[c][keys[c, k]] for c in range(len(codes))) for k in order]
    return Groups(position[crossed], labels, list(columns))


def describe_groups(labels, counts=None, shown=8):
    """Names of groups for a message, with a count for each, the first few of them."""
    parts = []
    for position, label in enumerate(labels[:shown]):
        text = str(tuple(str(level) for level in label)) if len(label) > 1 else repr(str(label[0]))
        parts.append(text if counts is None else f"{text}: {counts[position]}")
    return ", ".join(parts) + (f" and {len(labels) - shown} more" if len(labels) > shown else "")
