"""A multiplicative model as a rating table: a base premium, and a relativity for each level of each factor.

The table is read off the predictions, one original column at a time, so that it does not matter how the columns are
encoded inside the model; that the model is multiplicative is checked the same way.
"""

from dataclasses import dataclass
from itertools import combinations

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from fairdcov._rows import warn_about_order
from fairdcov._validation import check_finite_vector, check_sample_weight
from fairdcov.actuarial._factors import DEFAULT_BINS, Factor, bins_of, nearest_name, read_factor, read_frame

__all__ = ["relativities"]

# Rows on which the product of relativities is compared with the prediction, and those on which a culprit is sought.
_CHECKED_ROWS = 500
_SEARCHED_ROWS = 50
# Largest difference of logarithms that is rounding: of single precision in some boosted trees.
_TOLERANCE = 1e-5


class _Surface:
    """Logarithm of a model's prediction as a function of the original columns."""

    def __init__(self, model, X):
        self.model = model
        self.frame = read_frame(X, "X")
        self._array = None
        if not isinstance(nw.from_native(X, eager_only=True, pass_through=True), nw.DataFrame):
            self._array = np.asarray(X).dtype
            if np.ndim(X) != 2:
                raise ValueError(f"X must have shape (n, p); found shape {np.shape(X)}")
        if self._array is None:
            self._check_columns()

    def _check_columns(self):
        """Raise for columns that the model needs; those that it was shown and does not use may be absent."""
        columns = [str(name) for name in self.frame.columns]
        shown = getattr(self.model, "feature_names_in_", [])
        absent = [str(name) for name in shown if str(name) not in columns]
        if absent and len(self.frame):
            try:
                self.model.predict(self.rows([0]).to_native())
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"X has no column {absent[0]!r}, which the model needs{nearest_name(absent[0], columns)}"
                ) from error

    def log(self, frame):
        """Logarithm of the prediction of each row of a narwhals frame."""
        native = frame.to_native()
        if self._array is not None:
            native = native.to_numpy().astype(self._array) if self._array.kind in "OSU" else native.to_numpy()
        predicted = check_finite_vector(self.model.predict(native), "the prediction of the model")
        if (predicted <= 0).any():
            raise ValueError(
                f"relativities need positive predictions, of a model with a log link; found {predicted.min():g}"
            )
        return np.log(predicted)

    def rows(self, rows):
        """Rows by position, which may repeat."""
        return self.frame[np.asarray(rows), :]


@dataclass(frozen=True, eq=False)
class _RatedFactor:
    """A factor with the values at which its levels are rated, and the level that is the base."""

    column: object
    factor: Factor
    points: nw.Series
    exposure: np.ndarray

    @property
    def base(self):
        """Level of the largest exposure."""
        return int(np.argmax(self.exposure))


def _rated_factor(surface, name, bins, rows, exposure):
    column = surface.frame.get_column(name)
    kept = column if len(rows) == len(column) else column[rows]
    factor = read_factor(kept, "X", bins, exposure)
    # reversed: the first row of a level is assigned last
    first = np.empty(len(factor.levels), dtype=np.int64)
    first[factor.codes[::-1]] = np.arange(len(factor.codes))[::-1]
    if any(isinstance(level, pd.Interval) for level in factor.levels):
        points = _middles(kept, factor)
    else:
        points = kept[first]
    return _RatedFactor(name, factor, points, np.bincount(factor.codes, exposure, len(factor.levels)))


def _middles(column, factor):
    """Middle of each bin; open ones end at the data. None for the level of missing values."""
    lowest, highest = float(column.min()), float(column.max())
    middles = [
        (
            max(level.left, lowest if np.isinf(level.left) else level.left)
            + min(level.right, highest if np.isinf(level.right) else level.right)
        )
        / 2
        if isinstance(level, pd.Interval)
        else None
        for level in factor.levels
    ]
    return nw.new_series(column.name, middles, nw.Float64, backend=column.implementation)


def relativities(model, X, *, sample_weight=None, factors=None, bins=DEFAULT_BINS):
    """Rating table of a multiplicative model: its prediction as a base premium times one relativity for each factor.

    Every factor is varied with the others held at their base level, so that the table is in terms of the columns of X,
    whatever the model makes of them inside: a fitted GLM with a log link, bare or at the end of a Pipeline with
    one-hot columns, scaling and splines, or a Rebalancer around one.

    Parameters
    ----------
    model : estimator
        Fitted, with positive predictions that are a product of one function for each column of X. This is checked on
        500 rows; interactions, such as those of trees, are an error that names them.
    X : DataFrame or array, (n, p)
        Original features, as they go into ``model.predict``.
    sample_weight : (n,) array, optional
        Exposure, for the base levels and the columns ``exposure`` and ``share``. Rows of zero exposure do not count.
    factors : list of str, optional
        Columns to show. By default all that change the prediction.
    bins : int or dict, default=10
        How numeric columns with more than 20 distinct values are cut, as in :func:`one_way`. A bin is rated at its
        middle, other columns at every level.

    Returns
    -------
    pandas.DataFrame
        A row for each factor and level: ``factor``, ``level``, ``value`` (at which it is rated), ``rows``,
        ``exposure``, ``share``, ``relativity``, ``is_base`` and ``premium``, which is the base premium times the
        relativity. The base level of a factor is the one of the largest exposure, with relativity 1. The prediction
        where all factors are at their base is in ``table.attrs["base_premium"]``.

    Raises
    ------
    ValueError
        For a model that is not multiplicative, predictions that are not positive, and columns that are not there.
    TypeError
        For a classifier, and for X without columns.

    Notes
    -----
    Where every factor is rated at each of its levels, base premium times relativities is the prediction, exactly.

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
    >>> round(table.attrs["base_premium"], 3)
    0.1
    """
    # Models of other packages need no more than predict.
    if hasattr(model, "__sklearn_tags__") and is_classifier(model):
        raise TypeError(f"relativities need a regressor with a log link; found the classifier {type(model).__name__}")
    warn_about_order(X=X, sample_weight=sample_weight)
    surface = _Surface(model, X)
    names = surface.frame.columns
    n_samples = len(surface.frame)
    if n_samples == 0:
        raise ValueError("X must have at least one row; found 0")
    shown = _shown(factors, names)
    chosen = bins_of(bins, names)
    weights = check_sample_weight(sample_weight, n_samples)
    rows = np.flatnonzero(weights > 0)
    rated = [_rated_factor(surface, name, chosen[str(name)], rows, weights[rows]) for name in names]

    base = surface.rows([rows[0]]).with_columns(*(part.points[[part.base]].alias(part.column) for part in rated))
    base_log = float(surface.log(base)[0])
    effects = [_vary(surface, base, part.column, part.points) - base_log for part in rated]
    _check_multiplicative(surface, base, base_log, rows)

    tables = []
    for part, effect in zip(rated, effects, strict=True):
        if part.column in shown if shown is not None else np.abs(effect).max() > _TOLERANCE:
            tables.append(_factor_table(part, np.exp(effect), np.exp(base_log)))
    if not tables:
        raise ValueError("no column of X changes the prediction: there are no relativities; name factors to see them")
    table = pd.concat(tables, ignore_index=True)
    table.attrs["base_premium"] = float(np.exp(base_log))
    return table


def _shown(factors, names):
    if factors is None:
        return None
    factors = [factors] if isinstance(factors, str) else list(factors)
    for name in factors:
        if name not in names:
            raise ValueError(f"factors names {name!r}, which is not a column of X{nearest_name(name, names)}")
    return factors


def _vary(surface, base, name, values):
    """Logarithms of the prediction at the base with other values in one column."""
    repeated = base[np.zeros(len(values), dtype=np.int64), :]
    return surface.log(repeated.with_columns(values.alias(name)))


def _factor_table(part, relativity, base_premium):
    n_levels = len(part.factor.levels)
    relativity = relativity / relativity[part.base]
    return pd.DataFrame(
        {
            "factor": part.factor.name,
            "level": pd.Series(part.factor.levels, dtype=object),
            "value": pd.Series(part.points.to_list(), dtype=object),
            "rows": np.bincount(part.factor.codes, minlength=n_levels),
            "exposure": part.exposure,
            "share": part.exposure / part.exposure.sum(),
            "relativity": relativity,
            "is_base": np.arange(n_levels) == part.base,
            "premium": base_premium * relativity,
        }
    )


def _check_multiplicative(surface, base, base_log, rows):
    """Raise unless the logarithm of the prediction is a sum of one function for each column."""
    if len(rows) > _CHECKED_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _CHECKED_ROWS, replace=False))
    sample = surface.rows(rows)
    actual = surface.log(sample) - base_log
    effects = {name: _vary(surface, base, name, sample.get_column(name)) - base_log for name in sample.columns}
    deviation = np.abs(actual - sum(effects.values()))
    worst = float(deviation.max())
    if worst <= _TOLERANCE:
        return
    searched = np.argsort(-deviation, kind="stable")[:_SEARCHED_ROWS]
    repeated = base[np.zeros(len(searched), dtype=np.int64), :]
    strongest, pair = 0.0, None
    for first, second in combinations(sample.columns, 2):
        both = repeated.with_columns(*(sample.get_column(name)[searched].alias(name) for name in (first, second)))
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
