"""Observed against predicted: by factor, by group, and by bins of the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Interval, Table, check_whole_number
from fairdcov.actuarial._factors import factors_of
from fairdcov.actuarial._policies import check_positive_baseline, experience, exposure_bins, read_policies
from fairdcov.encoding import DEFAULT_FACTOR_BINS

__all__ = ["ALL", "balance_table", "double_lift_table", "level_tables", "lift_table", "one_way"]

# Level of the row for the whole book.
ALL = "all rows"


def level_tables(book, columns_of, data, argument, bins, *, whole=False):
    """One table of the levels of all factors in ``data``, below each other and below the whole book if wanted."""
    parts = [(ALL, np.zeros(len(book.rows), dtype=np.int64), [ALL])] if whole else []
    if data is not None or not whole:
        parts += [(factor.name, factor.codes, factor.levels) for factor in factors_of(data, argument, bins, book)]
    tables = []
    for name, codes, levels in parts:
        table = pd.DataFrame(columns_of(codes, len(levels)))
        table.insert(0, "factor", name)
        table.insert(1, "level", pd.Series(levels, dtype=object))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def one_way(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    features: Table | Mapping[Any, Any],
    *,
    sample_weight: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    bins: Bins | None = DEFAULT_FACTOR_BINS,
    confidence: float = 0.95,
    interval: Interval = "auto",
) -> pd.DataFrame:
    """Observed and predicted values by the levels of each factor, whether or not it is in the model.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of exposure, such as claims / exposure.
    y_pred : (n,) array
        Predictions per unit of exposure.
    features : DataFrame, Series, array or dict of columns, (n,) or (n, d)
        A column for each factor; protected attributes too. Missing values are a level, ``"(missing)"``.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    baseline : (n,) array, optional
        Predictions of another tariff for the same rows.
    bins : int or dict, default=10
        Quantile bins (of equal exposure) of numeric columns with more than 20 distinct values. A dict gives columns
        a number of bins, a list of edges, or None for every value.
    confidence : float, default=0.95
        Level of the intervals.
    interval : {"auto", "poisson", "normal"}, default="auto"
        Intervals of actual to expected, for a given prediction. ``"poisson"``: exact (Garwood), for claim counts, that
        is when observed times exposure are whole numbers. ``"normal"``: the linearised ratio of two totals over
        independent rows, for amounts; symmetric, so that it may fall below 0 in small levels. ``"auto"``: Poisson for
        counts, else normal; which one is in ``table.attrs["interval"]``.

    Returns
    -------
    pandas.DataFrame
        A row for each factor and level with the columns ``factor``, ``level``, ``rows``, ``exposure``, ``share`` (of
        the exposure), ``observed`` and ``predicted`` (means per unit of exposure), ``actual_to_expected``, ``lower``
        and ``upper`` (NaN where nothing is expected), and with a baseline ``baseline`` (mean) and
        ``actual_to_baseline``.

    Raises
    ------
    ValueError
        For values that are not finite, unequal lengths, repeated column names, all-zero exposure, amounts with
        ``interval="poisson"``, and bins that name no column or leave out values.

    See Also
    --------
    fairdcov.plots.OneWayDisplay : Its picture.
    fairdcov.metrics.group_summary : Intersections of attributes instead of one at a time.

    Notes
    -----
    With O claims in a level and E = sum(exposure * predicted) expected, the exact interval of O / E is
    ``chi2(a / 2; 2 O) / (2 E)`` to ``chi2(1 - a / 2; 2 O + 2) / (2 E)``, a = 1 - confidence. It takes claims as
    Poisson: with overdispersed claims it is too short.

    References
    ----------
    F. Garwood (1936), Fiducial limits for the Poisson distribution, Biometrika 28(3/4).

    Examples
    --------
    >>> from fairdcov.actuarial import one_way
    >>> table = one_way([0, 2, 1, 1], [1.0, 1.0, 0.5, 1.5], {"fuel": ["petrol", "petrol", "diesel", "diesel"]})
    >>> table[["factor", "level", "exposure", "observed", "predicted", "actual_to_expected"]]
      factor   level  exposure  observed  predicted  actual_to_expected
    0   fuel  diesel       2.0       1.0        1.0                 1.0
    1   fuel  petrol       2.0       1.0        1.0                 1.0
    >>> table[["lower", "upper"]].iloc[0].round(3).tolist()
    [0.121, 3.612]
    """
    book = read_policies(y_true, sample_weight, y_pred=y_pred, baseline=baseline)
    kinds = set()

    def columns_of(codes, n_levels):
        columns, kind = experience(book, codes, n_levels, confidence=confidence, interval=interval)
        kinds.add(kind)
        if baseline is not None:
            against, _ = experience(
                book, codes, n_levels, confidence=confidence, interval=interval, prediction="baseline"
            )
            columns["baseline"], columns["actual_to_baseline"] = against["predicted"], against["actual_to_expected"]
        return columns

    table = level_tables(book, columns_of, features, "features", bins)
    table.attrs["interval"] = kinds.pop()
    return table


def balance_table(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    sensitive_features: Table | Mapping[Any, Any] | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    bins: Bins | None = DEFAULT_FACTOR_BINS,
    confidence: float = 0.95,
    interval: Interval = "auto",
) -> pd.DataFrame:
    """Observed and predicted totals, of all rows and by the levels of each protected attribute.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of exposure.
    y_pred : (n,) array
        Predictions per unit of exposure.
    sensitive_features : DataFrame, Series, array or dict of columns, (n,) or (n, d), optional
        Protected attributes, one at a time; :func:`fairdcov.metrics.group_summary` crosses them.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    bins, confidence, interval
        As in :func:`one_way`.

    Returns
    -------
    pandas.DataFrame
        ``factor``, ``level``, ``rows``, ``exposure``, ``share``, ``observed_total``, ``predicted_total``,
        ``difference`` (predicted less observed), ``actual_to_expected``, ``lower`` and ``upper``. The first row is the
        whole book.

    Examples
    --------
    >>> from fairdcov.actuarial import balance_table
    >>> table = balance_table([0, 2, 1, 1], [0.5, 1.5, 1.0, 1.0], {"gender": ["f", "m", "f", "m"]})
    >>> table[["level", "observed_total", "predicted_total", "difference"]]
          level  observed_total  predicted_total  difference
    0  all rows             4.0              4.0         0.0
    1         f             1.0              1.5         0.5
    2         m             3.0              2.5        -0.5
    """
    book = read_policies(y_true, sample_weight, y_pred=y_pred)

    def columns_of(codes, n_levels):
        columns, _ = experience(book, codes, n_levels, confidence=confidence, interval=interval)
        totals = {f"{name}_total": columns.pop(name) * columns["exposure"] for name in ("observed", "predicted")}
        totals["difference"] = totals["predicted_total"] - totals["observed_total"]
        first = {name: columns.pop(name) for name in ("rows", "exposure", "share")}
        return first | totals | columns

    return level_tables(book, columns_of, sensitive_features, "sensitive_features", bins, whole=True)


def _extremes(values, codes, n_levels):
    lowest, highest = np.full(n_levels, np.inf), np.full(n_levels, -np.inf)
    np.minimum.at(lowest, codes, values)
    np.maximum.at(highest, codes, values)
    return lowest, highest


def lift_table(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 10,
    confidence: float = 0.95,
    interval: Interval = "auto",
) -> pd.DataFrame:
    """Observed and predicted values by bins of the prediction, from the lowest to the highest.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of exposure.
    y_pred : (n,) array
        Predictions per unit of exposure.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    n_bins : int, default=10
        Bins of about equal exposure. Rows of equal prediction are never parted, so there may be fewer.
    confidence, interval
        As in :func:`one_way`.

    Returns
    -------
    pandas.DataFrame
        ``bin`` (from 1), ``rows``, ``exposure``, ``share``, ``lowest`` and ``highest`` prediction, ``observed`` and
        ``predicted`` (means), ``lift`` (observed over the observed mean of all rows), ``actual_to_expected``,
        ``lower`` and ``upper``.

    See Also
    --------
    fairdcov.plots.LiftDisplay : Its picture.
    fairdcov.metrics.gini : The order of the predictions in one number.

    Examples
    --------
    >>> from fairdcov.actuarial import lift_table
    >>> table = lift_table([0, 1, 1, 4], [0.5, 1.0, 1.5, 3.0], n_bins=2)
    >>> table[["bin", "exposure", "observed", "predicted", "lift"]]
       bin  exposure  observed  predicted      lift
    0    1       2.0       0.5       0.75  0.333333
    1    2       2.0       2.5       2.25  1.666667
    """
    n_bins = check_whole_number(n_bins, "n_bins")
    book = read_policies(y_true, sample_weight, y_pred=y_pred)
    predicted = book.predictions["y_pred"]
    codes = exposure_bins(predicted, book.exposure, n_bins)
    n_levels = int(codes.max()) + 1
    columns, kind = experience(book, codes, n_levels, confidence=confidence, interval=interval)
    lowest, highest = _extremes(predicted, codes, n_levels)
    mean = float(np.average(book.observed, weights=book.exposure))
    first = {name: columns.pop(name) for name in ("rows", "exposure", "share")}
    means = {name: columns.pop(name) for name in ("observed", "predicted")}
    lift = means["observed"] / mean if mean != 0 else np.full(n_levels, np.nan)
    table = pd.DataFrame(
        {"bin": np.arange(1, n_levels + 1), **first, "lowest": lowest, "highest": highest}
        | means
        | {"lift": lift}
        | columns
    )
    table.attrs["interval"] = kind
    return table


def double_lift_table(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    baseline: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 10,
    confidence: float = 0.95,
    interval: Interval = "auto",
) -> pd.DataFrame:
    """Two tariffs against the observed values, by bins of their ratio.

    Rows are sorted by ``y_pred / baseline``: at both ends the tariffs disagree most, and the observed values say which
    one is right.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of exposure.
    y_pred : (n,) array
        Predictions of the new tariff.
    baseline : (n,) array
        Predictions of the present tariff, all positive.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    n_bins : int, default=10
        Bins of about equal exposure. Rows of equal ratio are never parted, so there may be fewer.
    confidence, interval
        As in :func:`one_way`.

    Returns
    -------
    pandas.DataFrame
        ``bin`` (from 1), ``rows``, ``exposure``, ``share``, ``lowest_ratio``, ``highest_ratio`` and ``ratio`` (of the
        totals), ``observed``, ``predicted`` and ``baseline`` (means), ``actual_to_expected`` with ``lower`` and
        ``upper``, and ``actual_to_baseline``.

    See Also
    --------
    fairdcov.plots.DoubleLiftDisplay : Its picture.

    Examples
    --------
    >>> from fairdcov.actuarial import double_lift_table
    >>> table = double_lift_table([0, 1, 2, 3], [0.5, 1.0, 2.0, 3.0], [1.0, 1.5, 1.5, 1.0], n_bins=2)
    >>> table[["ratio", "observed", "predicted", "baseline"]]
       ratio  observed  predicted  baseline
    0    0.6       0.5       0.75      1.25
    1    2.0       2.5       2.50      1.25
    """
    n_bins = check_whole_number(n_bins, "n_bins")
    book = read_policies(y_true, sample_weight, y_pred=y_pred, baseline=baseline)
    before = check_positive_baseline(book)
    ratio = book.predictions["y_pred"] / before
    codes = exposure_bins(ratio, book.exposure, n_bins)
    n_levels = int(codes.max()) + 1
    columns, kind = experience(book, codes, n_levels, confidence=confidence, interval=interval)
    against, _ = experience(book, codes, n_levels, interval=kind, prediction="baseline")
    lowest, highest = _extremes(ratio, codes, n_levels)
    table = pd.DataFrame(
        {
            "bin": np.arange(1, n_levels + 1),
            **{name: columns[name] for name in ("rows", "exposure", "share")},
            "lowest_ratio": lowest,
            "highest_ratio": highest,
            "ratio": columns["predicted"] / against["predicted"],
            **{name: columns[name] for name in ("observed", "predicted")},
            "baseline": against["predicted"],
            **{name: columns[name] for name in ("actual_to_expected", "lower", "upper")},
            "actual_to_baseline": against["actual_to_expected"],
        }
    )
    table.attrs["interval"] = kind
    return table
