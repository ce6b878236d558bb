"""Columns of a table to factors: the level of each row, numbers cut into bins, missing values a level of their own."""

import difflib
import numbers
from contextlib import contextmanager

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from fairdcov._checks import check_consistent_rows
from fairdcov.encoding._attributes import Attributes, as_given
from fairdcov.encoding._groups import DEFAULT_FACTOR_BINS, Factor
from fairdcov.encoding._rows import array_of_rows

__all__ = [
    "MISSING",
    "bins_of",
    "missing_rows",
    "nearest_name",
    "read_factor",
    "read_frame",
]

# Level of the rows without a value.
MISSING = "(missing)"


def nearest_name(name, names, called="columns"):
    """Second half of an error message: the name that was probably meant, or all, which are ``called`` so."""
    near = difflib.get_close_matches(str(name), [str(known) for known in names], n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the {called} are {[str(known) for known in names]}"


@contextmanager
def _about(argument):
    """The checks of columns are those of protected attributes; their errors name the argument that was passed."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("sensitive_features", argument)) from error


def read_frame(data, argument, n_samples=None):
    """A table, column or array as a narwhals DataFrame.

    Parameters
    ----------
    data : DataFrame, Series, array or dict of columns, (n,) or (n, d)
        Columns of an array are called ``x0``, ``x1`` and so on, as in scikit-learn; names that are no text become text.
    argument : str
        Name of the argument, for errors.
    n_samples : int, optional
        Rows there must be.

    Returns
    -------
    narwhals.DataFrame
    """
    data = as_given(data)
    if isinstance(data, dict):
        data = pd.DataFrame(data)
    if isinstance(data, pd.DataFrame):
        # A frame of narwhals takes a number for the position of a row.
        names = [str(name) for name in data.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"{argument} must have distinct column names; found {list(data.columns)}")
        if names != list(data.columns):
            data = data.set_axis(names, axis="columns")
    try:
        frame = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
        if isinstance(frame, nw.Series):
            frame = frame.alias("x0" if frame.name is None else frame.name).to_frame()
    except nw.exceptions.DuplicateError as error:
        raise ValueError(f"{argument} must have distinct column names: {error}") from error
    if not isinstance(frame, nw.DataFrame):
        if hasattr(data, "toarray"):
            raise TypeError(f"{argument} must be a DataFrame or an array; found a sparse matrix: pass a DataFrame")
        array = array_of_rows(data, argument)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2:
            raise ValueError(f"{argument} must have shape (n,) or (n, d); found shape {array.shape}")
        columns = pd.DataFrame(array, columns=[f"x{position}" for position in range(array.shape[1])])
        frame = nw.from_native(columns.infer_objects(), eager_only=True)
    if frame.shape[1] == 0:
        raise ValueError(f"{argument} must have at least one column; found none")
    if len({str(name) for name in frame.columns}) < frame.shape[1]:
        raise ValueError(f"{argument} must have distinct column names; found {frame.columns}")
    if n_samples is not None:
        check_consistent_rows(n_samples, frame, argument, reference="y_pred")
    return frame


def missing_rows(column):
    """Rows of a column without a value, (n,) bool array."""
    missing = column.is_null().to_numpy()
    if column.dtype.is_float():
        # polars tells NaN from null.
        missing = missing | column.is_nan().fill_null(True).to_numpy()
    return missing.astype(bool)


def read_factor(column, argument, bins=DEFAULT_FACTOR_BINS, exposure=None):
    """Levels of one column.

    Parameters
    ----------
    column : narwhals.Series, (n,)
        Values of any type that protected attributes may have; missing ones are a level.
    argument : str
        Name of the argument that the column belongs to, for errors.
    bins : int or dict
        Quantiles for numbers with more than 20 distinct values; or ``{name: value}`` for a number of quantiles in any
        case, edges, or None for every value.
    exposure : (n,) array, optional
        Positive weights of the quantiles.

    Returns
    -------
    Factor
    """
    name = str(column.name)
    missing = missing_rows(column)
    known = np.flatnonzero(~missing)
    if len(known) == 0:
        return Factor(name, np.zeros(len(column), dtype=np.int64), [MISSING])
    if len(known) < len(column):
        column = column[known]
        exposure = None if exposure is None else exposure[known]
    with _about(argument):
        factor = Attributes.read(column.alias(name).to_native()).factor(name, bins, exposure)
    if len(known) == len(missing):
        return factor
    levels = factor.levels
    # A category that is called so already takes them in.
    position = levels.index(MISSING) if MISSING in levels else len(levels)
    codes = np.full(len(missing), position, dtype=np.int64)
    codes[known] = factor.codes
    return Factor(name, codes, levels if MISSING in levels else [*levels, MISSING])


def bins_of(bins, names):
    """What :func:`read_factor` takes as bins of each column.

    A bare number leaves categories and numbers of few values as they are; what a dict says of a column is meant.
    """
    if bins is None:
        bins = DEFAULT_FACTOR_BINS
    if isinstance(bins, dict):
        known = {str(name) for name in names}
        for name in bins:
            if str(name) not in known:
                raise ValueError(f"bins names {name!r}, which is not a column{nearest_name(name, names)}")
        named = {str(name): {str(name): value} for name, value in bins.items()}
        return {str(name): named.get(str(name), DEFAULT_FACTOR_BINS) for name in names}
    if isinstance(bins, bool) or not isinstance(bins, numbers.Integral):
        raise TypeError(
            "bins must be a whole number of quantiles, or a dict of column name to edges, whole number or None (every "
            f"value); found {bins!r}"
        )
    return {str(name): int(bins) for name in names}
