"""Who pays more and who pays less after a change of tariff."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Table, check_choice, check_positive_number, check_whole_number, documented
from fairdcov.actuarial._experience import level_tables
from fairdcov.actuarial._policies import check_positive_baseline, read_policies
from fairdcov.encoding import DEFAULT_FACTOR_BINS, Attributes, read_frame, warn_about_order
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import group_predictions

__all__ = ["largest_dislocations", "premium_change_by_group", "premium_changes"]

THRESHOLDS = (0.05, 0.10, 0.20)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# A relative change up to this is the rounding of the arithmetic.
_UNCHANGED = 1e-9

_SHARED = """y_pred : (n,) array
        Premiums (or rates per unit of exposure) of the new tariff, not negative.
    baseline : (n,) array
        Premiums of the present tariff for the same rows, all positive.
    sensitive_features : DataFrame, Series, array or dict of columns, (n,) or (n, d)<optional>
        <attributes>
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    bins : int or dict<default>
        <bins>
    thresholds : sequence of float, default=(0.05, 0.10, 0.20)
        Sizes of change, as shares of the present premium, beyond which exposure is counted.

    Returns
    -------
    pandas.DataFrame
        <index>``rows``, ``exposure``, ``share``, ``premium_before`` and ``premium_after`` (totals: exposure times
        rate), ``change`` (of the totals), ``mean_change``, ``quantile_5`` to ``quantile_95`` (5, 25, 50, 75 and 95 % of
        the changes), ``share_up`` and ``share_down`` (who pays more, who pays less), and for each threshold
        ``share_up_over_5%`` and ``share_down_over_5%``. Changes are shares of the present premium and weighted by
        exposure, as are shares."""


def _check_thresholds(thresholds):
    checked = [check_positive_number(threshold, "thresholds") for threshold in thresholds]
    if sorted(set(checked)) != checked:
        raise ValueError(f"thresholds must increase; found {list(thresholds)}")
    return checked


def _changes_of(book):
    before = check_positive_baseline(book)
    after = book.predictions["y_pred"]
    if (after < 0).any():
        raise ValueError(f"y_pred must not be negative; found {int((after < 0).sum())} negative value(s)")
    change = after / before - 1.0
    return np.where(np.abs(change) <= _UNCHANGED, 0.0, change)


def _quantiles_by_level(values, exposure, codes, n_levels):
    """Weighted quantiles (inverse of the distribution function) of each level, (L, q)."""
    order = np.lexsort((values, codes))
    values, exposure, codes = values[order], exposure[order], codes[order]
    bounds = np.searchsorted(codes, np.arange(n_levels + 1))
    quantiles = np.full((n_levels, len(QUANTILES)), np.nan)
    for level, (start, stop) in enumerate(pairwise(bounds)):
        if stop > start:
            reached = np.cumsum(exposure[start:stop])
            # A little below, so that a share that is reached up to rounding counts as reached.
            wanted = np.array(QUANTILES) * reached[-1] * (1 - 1e-12)
            quantiles[level] = values[start:stop][np.searchsorted(reached, wanted)]
    return quantiles


def _summary(book, change, thresholds):
    """Function of level codes that gives the columns of a table of changes."""
    before, after = book.predictions["baseline"], book.predictions["y_pred"]

    def columns_of(codes, n_levels):
        exposure = book.sums(codes, n_levels)
        premium_before, premium_after = book.sums(codes, n_levels, before), book.sums(codes, n_levels, after)

        def share(mask):
            return book.sums(codes, n_levels, mask.astype(np.float64)) / exposure

        columns = {
            "rows": np.bincount(codes, minlength=n_levels),
            "exposure": exposure,
            "share": exposure / exposure.sum(),
            "premium_before": premium_before,
            "premium_after": premium_after,
            "change": premium_after / premium_before - 1.0,
            "mean_change": book.sums(codes, n_levels, change) / exposure,
        }
        quantiles = _quantiles_by_level(change, book.exposure, codes, n_levels)
        columns |= {f"quantile_{100 * q:g}": quantiles[:, k] for k, q in enumerate(QUANTILES)}
        columns |= {"share_up": share(change > 0), "share_down": share(change < 0)}
        for threshold in thresholds:
            columns[f"share_up_over_{100 * threshold:g}%"] = share(change > threshold + _UNCHANGED)
            columns[f"share_down_over_{100 * threshold:g}%"] = share(change < -threshold - _UNCHANGED)
        return columns

    return columns_of


@documented(
    shared=_SHARED,
    optional=", optional",
    attributes="Protected attributes (or any factors), one at a time.",
    default=", default=10",
    bins="As in :func:`one_way`.",
    index="``factor`` and ``level`` (the first row is the whole book), ",
)
def premium_changes(
    y_pred: ArrayLike,
    baseline: ArrayLike,
    sensitive_features: Table | Mapping[Any, Any] | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    bins: Bins = DEFAULT_FACTOR_BINS,
    thresholds: Iterable[float] = THRESHOLDS,
) -> pd.DataFrame:
    """Distribution of the change from one tariff to another, of all rows and by the levels of each attribute.

    Parameters
    ----------
    <shared>

    See Also
    --------
    premium_change_by_group : The same for intersections of the attributes.
    largest_dislocations : The rows behind the tails.
    fairdcov.plots.PremiumChangeDisplay : Its picture.

    Examples
    --------
    >>> from fairdcov.actuarial import premium_changes
    >>> table = premium_changes([110, 90, 100, 130], [100, 100, 100, 100], {"gender": ["f", "f", "m", "m"]})
    >>> table[["level", "premium_after", "change", "share_up", "share_down", "share_up_over_20%"]]
          level  premium_after  change  share_up  share_down  share_up_over_20%
    0  all rows          430.0   0.075       0.5        0.25               0.25
    1         f          200.0   0.000       0.5        0.50               0.00
    2         m          230.0   0.150       0.5        0.00               0.50
    """
    thresholds = _check_thresholds(thresholds)
    book = read_policies(None, sample_weight, y_pred=y_pred, baseline=baseline)
    columns_of = _summary(book, _changes_of(book), thresholds)
    return level_tables(book, columns_of, sensitive_features, "sensitive_features", bins, whole=True)


@documented(
    shared=_SHARED,
    optional="",
    attributes="Protected attributes; several columns are crossed into intersectional groups.",
    default=", optional",
    bins="How numeric attributes are cut, see :func:`fairdcov.metrics.js_divergence`.",
    index="Indexed by the attributes' levels: ",
)
def premium_change_by_group(
    y_pred: ArrayLike,
    baseline: ArrayLike,
    sensitive_features: Table | Mapping[Any, Any],
    *,
    sample_weight: ArrayLike | None = None,
    bins: Bins | None = None,
    thresholds: Iterable[float] = THRESHOLDS,
) -> pd.DataFrame:
    """Distribution of the change from one tariff to another in every intersectional group.

    Parameters
    ----------
    <shared>

    See Also
    --------
    premium_changes : One attribute at a time, and all rows.
    fairdcov.metrics.group_summary : Balance of the same groups.

    Examples
    --------
    >>> from fairdcov.actuarial import premium_change_by_group
    >>> table = premium_change_by_group([110, 90, 100, 130], [100, 100, 100, 100], ["f", "f", "m", "m"])
    >>> table["share_up"].tolist()
    [0.5, 0.5]
    """
    thresholds = _check_thresholds(thresholds)
    book = read_policies(None, sample_weight, y_pred=y_pred, baseline=baseline)
    change = _changes_of(book)
    warn_about_order(**book.row_labels, sensitive_features=sensitive_features)
    attributes = sensitive_features
    if isinstance(attributes, Attributes):
        attributes.require_observed("a table of premium changes")
    else:
        attributes = read_frame(sensitive_features, "sensitive_features", book.n_samples).to_native()
    with warnings.catch_warnings():
        # Groups of zero exposure do not count here as rows of zero exposure do not.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        groups = group_predictions(None, y_pred, attributes, sample_weight, bins=bins, compare=False)
    columns = _summary(book, change, thresholds)(groups.codes, groups.n_groups)
    return pd.DataFrame(columns, index=pd.MultiIndex.from_tuples(groups.labels, names=groups.names))


def largest_dislocations(
    y_pred: ArrayLike,
    baseline: ArrayLike,
    features: Table | Mapping[Any, Any] | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    n: int = 20,
    by: Literal["relative", "absolute"] = "relative",
    direction: Literal["both", "up", "down"] = "both",
) -> pd.DataFrame:
    """Rows whose premium changes most.

    Parameters
    ----------
    y_pred : (n,) array
        Premiums (or rates per unit of exposure) of the new tariff, not negative.
    baseline : (n,) array
        Premiums of the present tariff for the same rows, all positive.
    features : DataFrame, Series, array or dict of columns, (n,) or (n, d), optional
        Columns to show beside.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    n : int, default=20
        Rows to show.
    by : {"relative", "absolute"}, default="relative"
        Size of a change: of the ratio of the premiums on the logarithmic scale, where doubling and halving are alike,
        or of their difference per unit of exposure.
    direction : {"both", "up", "down"}, default="both"
        Which changes.

    Returns
    -------
    pandas.DataFrame
        At most n rows, the largest change first: ``row`` (position in the input, from 0), ``exposure``, ``before``,
        ``after``, ``difference``, ``change`` (share of ``before``) and the columns of ``features``. Rows without a
        change are left out.

    Raises
    ------
    ValueError
        For premiums out of range, unequal lengths, and features with a column of one of these names.

    Examples
    --------
    >>> from fairdcov.actuarial import largest_dislocations
    >>> largest_dislocations([50, 90, 100, 130], [100, 100, 100, 100], {"age": [20, 30, 40, 50]}, n=2)
       row  exposure  before  after  difference  change  age
    0    0       1.0   100.0   50.0       -50.0    -0.5   20
    1    3       1.0   100.0  130.0        30.0     0.3   50
    """
    check_choice(by, "by", ("relative", "absolute"))
    check_choice(direction, "direction", ("both", "up", "down"))
    check_whole_number(n, "n")
    book = read_policies(None, sample_weight, y_pred=y_pred, baseline=baseline)
    change = _changes_of(book)
    before, after = book.predictions["baseline"], book.predictions["y_pred"]
    size = np.abs(after - before)
    if by == "relative":
        with np.errstate(divide="ignore"):
            size = np.abs(np.log(after / before))
    wanted = {"both": change != 0, "up": change > 0, "down": change < 0}[direction]
    candidates = np.flatnonzero(wanted)
    chosen = candidates[np.argsort(-size[candidates], kind="stable")[:n]]
    table = pd.DataFrame(
        {
            "row": book.rows[chosen],
            "exposure": book.exposure[chosen],
            "before": before[chosen],
            "after": after[chosen],
            "difference": after[chosen] - before[chosen],
            "change": change[chosen],
        }
    )
    if features is None:
        return table
    warn_about_order(**book.row_labels, features=features)
    frame = read_frame(features, "features", book.n_samples)
    shown = frame[book.rows[chosen], :]
    taken = sorted(set(table.columns) & {str(name) for name in frame.columns})
    if taken:
        raise ValueError(f"features has column(s) {taken}, which are names of the table: rename them")
    for name in frame.columns:
        table[str(name)] = _plain_column(shown.get_column(name))
    return table


def _plain_column(column):
    """A column as pandas keeps it, without the index it had."""
    if column.implementation is nw.Implementation.PANDAS:
        return column.to_native().reset_index(drop=True)
    return pd.Series(column.to_list())
