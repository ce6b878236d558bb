"""A multiplicative model as a rating table: a base premium, and a relativity for each level of each factor.

The table is read off the predictions, one original column at a time, so that it does not matter how the columns are
encoded inside the model; that the model is multiplicative is checked the same way.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import is_classifier

from fairdcov._checks import Bins, Estimator, Table, check_finite_vector, check_sample_weight
from fairdcov.encoding import (
    MAX_NUMERIC_LEVELS,
    MISSING,
    bins_of,
    interval_labels,
    missing_rows,
    nearest_name,
    read_factor,
    read_frame,
    warn_about_order,
)

__all__ = ["relativities"]

# Rows on which the columns that interact are sought.
_SEARCHED_ROWS = 50
# Largest difference of logarithms that is rounding: of single precision in some boosted trees.
_TOLERANCE = 1e-5
# Whole numbers of up to so many values, such as ages, are rated at each of them unless bins are asked for.
_MOST_WHOLE_NUMBERS = 100


class _Surface:
    """Logarithm of a model's prediction as a function of the original columns."""

    def __init__(self, model, X):
        self.model = model
        self.frame = read_frame(X, "X")
        # What the model knows its columns by, which need not be text.
        self._labels = X.columns if isinstance(X, pd.DataFrame) else None
        self._array = None
        if not isinstance(nw.from_native(X, eager_only=True, pass_through=True), nw.DataFrame):
            self._array = np.asarray(X).dtype
            if np.ndim(X) != 2:
                raise ValueError(f"X must have shape (n, p); found shape {np.shape(X)}")
        if self._array is None:
            self._check_columns()

    def _check_columns(self):
        """Raise for columns that the model needs; those that it was shown and does not use may be absent."""
        columns = self.frame.columns
        shown = getattr(self.model, "feature_names_in_", [])
        absent = [str(name) for name in shown if str(name) not in columns]
        if absent and len(self.frame):
            try:
                self.model.predict(self._native(self.rows([0])))
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"X has no column {absent[0]!r}, which the model needs{nearest_name(absent[0], columns)}"
                ) from error

    def _native(self, frame):
        """A narwhals frame as the model takes it."""
        native = frame.to_native()
        if self._array is not None:
            return native.to_numpy().astype(self._array) if self._array.kind in "OSU" else native.to_numpy()
        return native if self._labels is None else native.set_axis(self._labels, axis="columns")

    def log(self, frame):
        """Logarithm of the prediction of each row of a narwhals frame."""
        predicted = check_finite_vector(self.model.predict(self._native(frame)), "the prediction of the model")
        if (predicted <= 0).any():
            raise ValueError(
                f"relativities need positive predictions, of a model with a log link; found {predicted.min():g}"
            )
        return np.log(predicted)

    def rows(self, rows):
        """Rows by position, which may repeat."""
        return self.frame[np.asarray(rows), :]

    def vary(self, base, name, values):
        """Logarithm of the prediction at the base with other values in one column."""
        repeated = base[np.zeros(len(values), dtype=np.int64), :]
        return self.log(repeated.with_columns(values.alias(name)))


@dataclass(frozen=True, eq=False)
class _Column:
    """One column of X: its levels, and the distinct values that its rows have.

    Attributes
    ----------
    name : str
        Name of the column.
    codes : (n,) int64 array
        Level of each row.
    levels : list
        All levels, those of bins without exposure included.
    point_of_row : (n,) int64 array
        Distinct value of each row.
    points : narwhals.Series
        The distinct values.
    exposure : (L,) array
        Of each level.
    """

    name: str
    codes: np.ndarray
    levels: list
    point_of_row: np.ndarray
    points: nw.Series
    exposure: np.ndarray

    @property
    def base(self):
        """Level of the largest exposure."""
        return int(np.argmax(self.exposure))

    def base_value(self, exposure):
        """The value of the largest exposure within the base level, as a series of length 1."""
        inside = self.codes == self.base
        return self.points[[int(np.argmax(np.bincount(self.point_of_row[inside], exposure[inside])))]]


def _bins_of_column(column, bins, asked):
    """Bins of a column; whole numbers of few values stay as they are where nothing was asked."""
    if asked or not column.dtype.is_numeric():
        return bins
    values = column.drop_nulls().cast(nw.Float64).to_numpy()
    values = np.unique(values[~np.isnan(values)])
    whole = MAX_NUMERIC_LEVELS < len(values) <= _MOST_WHOLE_NUMBERS and (values == np.rint(values)).all()
    return {str(column.name): None} if whole else bins


def _read_column(surface, name, bins, asked, rows, exposure):
    column = surface.frame.get_column(name)[rows]
    bins = _bins_of_column(column, bins, asked)
    factor = read_factor(column, "X", bins, exposure)
    codes, levels = factor.codes, factor.levels
    if any(isinstance(level, pd.Interval) for level in levels):
        codes, levels = _with_empty_bins(codes, levels, bins.get(name) if isinstance(bins, dict) else None)
        values = column.cast(nw.Float64).to_numpy()
    else:
        # Missing values may share a level with a category that is called so.
        values = 2 * codes + missing_rows(column)
    _, first, point_of_row = np.unique(values, return_index=True, return_inverse=True)
    return _Column(name, codes, levels, point_of_row, column[first], np.bincount(codes, exposure, len(levels)))


def _with_empty_bins(codes, levels, edges):
    """Codes and levels with the bins between given edges that no row is in, which a table must not pass over."""
    if np.ndim(edges) != 1:
        return codes, levels
    every = interval_labels(np.asarray(edges, dtype=np.float64)) + [level for level in levels if level is MISSING]
    position = np.array([every.index(level) for level in levels])
    return position[codes], every


def relativities(
    model: Estimator,
    X: Table,
    *,
    sample_weight: ArrayLike | None = None,
    factors: Sequence[str] | None = None,
    bins: Bins | None = None,
    max_levels: int | None = 1000,
) -> pd.DataFrame:
    """Rating table of a multiplicative model: its prediction as a base premium times one relativity for each factor.

    Every factor is varied with the others held at their base level, so that the table is in terms of the columns of X,
    whatever the model makes of them inside: a fitted GLM with a log link, bare or at the end of a Pipeline with
    one-hot columns, scaling and splines, or a Rebalancer around one. The table is in balance: applied to the rows of X
    it predicts the total that the model predicts.

    Parameters
    ----------
    model : estimator
        Fitted, with positive predictions that are a product of one function for each column of X. This is checked on
        every row; interactions, such as those of trees, are an error that names them.
    X : DataFrame or array, (n, p)
        Original features, as they go into ``model.predict``.
    sample_weight : (n,) array, optional
        Exposure: of the relativities of bins, the balance, the base levels and the columns ``exposure`` and ``share``.
        Rows of zero exposure do not count.
    factors : list of str, optional
        Columns to show. By default all that change the prediction. Base premium and balance are those of the whole
        table, whatever is shown.
    bins : int or dict, optional
        How numeric columns are cut. By default those with more than 20 distinct values are cut into 10 quantile groups,
        but whole numbers of up to 100 values, such as ages, are rated at each value. A number asks for so many quantile
        groups of all columns with more than 20 distinct values, and a dict says it by column, as in :func:`one_way`.
    max_levels : int or None, default=1000
        Levels that a factor of the table may have; None for any number.

    Returns
    -------
    pandas.DataFrame
        A row for each factor and level: ``factor``, ``level``, ``value`` (the level itself, or the mean value of the
        policies of a bin), ``rows``, ``exposure``, ``share``, ``relativity``, ``is_base``, ``premium``, which is the
        base premium times the relativity, ``table_to_model``, which is the total that the table predicts for the rows
        of this level over the model's, and ``note``. The base level of a factor is the one of the largest exposure,
        with relativity 1. Bins that no exposure is in have no relativity (NaN), and a note that says so. In
        ``table.attrs``: ``base_premium``, the premium of a risk at the base of all factors; ``model_total``, the total
        that the model predicts; ``off_balance_before`` and ``off_balance_after``, the table's total over it before
        and after the base premium was rebalanced; and ``left_out``, the factors of the table that are not shown.

    Raises
    ------
    ValueError
        For a model that is not multiplicative, predictions that are not positive, columns that are not there, and
        factors of more than ``max_levels`` levels.
    TypeError
        For a classifier, and for X without columns.

    See Also
    --------
    RatingTable : A table that predicts, of any model; :meth:`RatingTable.from_relativities` makes it of this one.

    Notes
    -----
    The relativity of a bin is the mean of the relativities of its policies, weighted by exposure, over the same mean of
    the base. Since bins of several factors are not filled independently, the product of these means misses the model's
    total: that is the off-balance, and the base premium gives it back. What then remains within single levels is in the
    column ``table_to_model``; finer bins make it smaller. Where every factor is rated at each of its levels nothing is
    lost: base premium times relativities is the prediction, exactly.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import PoissonRegressor
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from fairdcov.actuarial import relativities
    >>> fuel, area = ["diesel", "petrol", "petrol", "petrol"], ["town", "town", "town", "country"]
    >>> X = pd.DataFrame({"fuel": fuel, "area": area})
    >>> model = make_pipeline(OneHotEncoder(drop="first"), PoissonRegressor(alpha=0, tol=1e-8))
    >>> model = model.fit(X, [0.3, 0.1, 0.1, 0.05])
    >>> table = relativities(model, X)
    >>> table[["factor", "level", "exposure", "relativity", "is_base"]].round(3)
      factor    level  exposure  relativity  is_base
    0   fuel   diesel       1.0         3.0    False
    1   fuel   petrol       3.0         1.0     True
    2   area  country       1.0         0.5    False
    3   area     town       3.0         1.0     True
    >>> round(table.attrs["base_premium"], 3), round(table.attrs["off_balance_before"], 6)
    (0.1, 1.0)
    """
    # Models of other packages need no more than predict.
    if hasattr(model, "__sklearn_tags__") and is_classifier(model):
        raise TypeError(f"relativities need a regressor with a log link; found the classifier {type(model).__name__}")
    if max_levels is not None and (
        isinstance(max_levels, bool) or not isinstance(max_levels, numbers.Integral) or max_levels < 1
    ):
        raise ValueError(f"max_levels must be a whole number >= 1 or None; found {max_levels!r}")
    warn_about_order(X=X, sample_weight=sample_weight)
    surface = _Surface(model, X)
    names = surface.frame.columns
    n_samples = len(surface.frame)
    if n_samples == 0:
        raise ValueError("X must have at least one row; found 0")
    shown = _shown(factors, names)
    chosen = bins_of(bins, names)
    asked = set(names) if isinstance(bins, int | numbers.Integral) else {str(name) for name in bins or ()}
    weights = check_sample_weight(sample_weight, n_samples)
    rows = np.flatnonzero(weights > 0)
    exposure = weights[rows]
    columns = [_read_column(surface, name, chosen[name], name in asked, rows, exposure) for name in names]

    base = surface.rows([rows[0]]).with_columns(*(part.base_value(exposure).alias(part.name) for part in columns))
    base_log = float(surface.log(base)[0])
    # The logarithm of a multiplicative model is a sum of effects, each of one column.
    effects = [(surface.vary(base, part.name, part.points) - base_log)[part.point_of_row] for part in columns]
    logs = surface.log(surface.rows(rows))
    _check_multiplicative(surface, base, base_log, rows, logs, dict(zip(names, effects, strict=True)))

    rated = []
    for part, effect in zip(columns, effects, strict=True):
        changes = np.abs(effect).max() > _TOLERANCE
        if changes or (shown is not None and part.name in shown):
            rated.append(_rate(part, effect, exposure))
    kept = [part for part in rated if shown is None or part.column.name in shown]
    if not kept:
        raise ValueError("no column of X changes the prediction: there are no relativities; name factors to see them")
    for part in kept:
        part.check_levels(max_levels)
    return _table(rated, kept, base_log, exposure, np.exp(logs))


def _shown(factors, names):
    if factors is None:
        return None
    factors = [factors] if isinstance(factors, str) else list(factors)
    for name in factors:
        if str(name) not in names:
            raise ValueError(f"factors names {name!r}, which is not a column of X{nearest_name(name, names)}")
    return {str(name) for name in factors}


@dataclass(frozen=True, eq=False)
class _RatedColumn:
    """A column with the effect of each level on the premium at the base of the model, NaN where no exposure is."""

    column: _Column
    effect: np.ndarray
    values: list

    @property
    def base_effect(self):
        """Effect of the base level, 1 unless it is a bin."""
        return float(self.effect[self.column.base])

    @property
    def relativity(self):
        """Relativity of each level."""
        return self.effect / self.base_effect

    def check_levels(self, most):
        """Raise for more levels than a table may have."""
        n_levels = len(self.column.levels)
        if most is not None and n_levels > most:
            raise ValueError(
                f"column {self.column.name!r} has {n_levels:,} levels, more than max_levels={most:,}: cut its numbers "
                "by bins, group its rare levels before the fit, leave it out of factors, or raise max_levels"
            )

    @property
    def of_rows(self):
        """Relativity of each row."""
        return self.relativity[self.column.codes]


def _rate(column, effect, exposure):
    total = np.bincount(column.codes, exposure * np.exp(effect), len(column.levels))
    with np.errstate(invalid="ignore"):
        return _RatedColumn(column, total / column.exposure, _level_values(column, exposure))


def _level_values(column, exposure):
    """The value of each level, or the mean value of a bin; None where there is none."""
    if not any(isinstance(level, pd.Interval) for level in column.levels):
        first = np.empty(len(column.levels), dtype=np.int64)
        # reversed: the first row of a level is assigned last
        first[column.codes[::-1]] = column.point_of_row[::-1]
        return column.points[first].to_list()
    values = column.points.cast(nw.Float64).to_numpy()[column.point_of_row]
    total = np.bincount(column.codes, exposure * values, len(column.levels))
    return [
        float(total[k] / column.exposure[k]) if column.exposure[k] > 0 and isinstance(level, pd.Interval) else None
        for k, level in enumerate(column.levels)
    ]


def _table(rated, kept, base_log, exposure, predicted):
    """The table of the factors kept, its base premium such that all factors together predict the model's total."""
    base_premium = float(np.exp(base_log)) * math.prod(part.base_effect for part in rated)
    premium = exposure * base_premium * np.prod([part.of_rows for part in rated], axis=0)
    model = exposure * predicted
    off_balance = float(premium.sum() / model.sum())
    premium /= off_balance
    base_premium /= off_balance
    table = pd.concat([_factor_table(part, base_premium, premium, model) for part in kept], ignore_index=True)
    table.attrs |= {
        "left_out": [part.column.name for part in rated if part not in kept],
        "base_premium": base_premium,
        "model_total": float(model.sum()),
        "off_balance_before": off_balance,
        "off_balance_after": float(premium.sum() / model.sum()),
    }
    return table


def _factor_table(part, base_premium, premium, model):
    column = part.column
    n_levels = len(column.levels)
    relativity = part.relativity
    with np.errstate(invalid="ignore"):
        table_to_model = np.bincount(column.codes, premium, n_levels) / np.bincount(column.codes, model, n_levels)
    return pd.DataFrame(
        {
            "factor": column.name,
            "level": pd.Series(column.levels, dtype=object),
            "value": pd.Series(part.values, dtype=object),
            "rows": np.bincount(column.codes, minlength=n_levels),
            "exposure": column.exposure,
            "share": column.exposure / column.exposure.sum(),
            "relativity": relativity,
            "is_base": np.arange(n_levels) == column.base,
            "premium": base_premium * relativity,
            "table_to_model": table_to_model,
            "note": np.where(np.isnan(relativity), "no exposure, no relativity", ""),
        }
    )


def _check_multiplicative(surface, base, base_log, rows, logs, effects):
    """Raise unless the logarithm of the prediction is a sum of one function for each column, on every row."""
    deviation = np.abs(logs - base_log - sum(effects.values()))
    worst = float(deviation.max())
    if worst <= _TOLERANCE:
        return
    searched = np.argsort(-deviation, kind="stable")[:_SEARCHED_ROWS]
    sample = surface.rows(rows[searched])
    repeated = base[np.zeros(len(searched), dtype=np.int64), :]
    strongest, pair = 0.0, None
    for first, second in combinations(sample.columns, 2):
        both = repeated.with_columns(*(sample.get_column(name).alias(name) for name in (first, second)))
        together = surface.log(both) - base_log
        size = float(np.abs(together - effects[first][searched] - effects[second][searched]).max())
        if size > max(strongest, _TOLERANCE):
            strongest, pair = size, (first, second)
    names = f"{pair[0]!r} and {pair[1]!r} interact" if pair else "three or more columns interact"
    raise ValueError(
        "relativities need a multiplicative model (a log link and no interactions): the prediction differs from the "
        f"product of relativities by a factor of up to {np.exp(worst):.3g}; {names}. Make one column of interacting "
        "ones, or show the model by one_way"
    )
