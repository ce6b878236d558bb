"""Shares of the groups above thresholds of the premium: how far apart they are, and a table with intervals."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from fairdcov._checks import Bins, Table, check_choice, check_confidence, documented
from fairdcov.encoding import DEFAULT_GROUPS
from fairdcov.metrics._conditional import CONTROL_OPTIONS, compared_groups
from fairdcov.metrics._grouped import GROUP_ARGUMENTS, group_predictions
from fairdcov.metrics._parity import COMPARISONS

__all__ = ["bind_tier_parity_gap", "tier_parity_gap", "tier_parity_ratio", "tier_summary"]

_QUANTILES = (0.5, 0.75, 0.9)

_TIERS = """thresholds : list of float, optional
        In units of ``y_pred``: a row is above a threshold where its prediction is larger. In place of ``quantiles``.
    quantiles : list of float in (0, 1), default=(0.5, 0.75, 0.9)
        Thresholds at these quantiles, by weight, of the predictions of all groups together."""
_PARTS = {**GROUP_ARGUMENTS, "tiers": _TIERS, "control": CONTROL_OPTIONS}


def _numbers(values, name):
    if isinstance(values, numbers.Real) and not isinstance(values, bool):
        values = [values]
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a list of numbers; found {values!r}") from error
    if found.ndim != 1 or len(found) == 0 or not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        raise ValueError(f"{name} must be one or more finite, increasing numbers; found {values!r}")
    return found


def _thresholds(sample, thresholds, quantiles):
    """Thresholds (m,) as given, or at quantiles of the predictions."""
    if thresholds is not None:
        return _numbers(thresholds, "thresholds")
    levels = _numbers(quantiles, "quantiles")
    if levels[0] <= 0 or levels[-1] >= 1:
        raise ValueError(f"quantiles must be between 0 and 1; found {quantiles!r}")
    return sample.whole.quantiles(levels)


class _Shares:
    """Shares of weight above thresholds, by group and of all rows outside of it."""

    def __init__(self, sample, thresholds, quantiles):
        self.sample = sample
        self.thresholds = _thresholds(sample, thresholds, quantiles)
        # How many of the thresholds a row is above: it is above the first so many.
        self.passed = np.searchsorted(self.thresholds, sample.predictions, side="left")

    def above(self, codes, values):
        """Sum of values (n,) above each threshold in each group, (K, m)."""
        n_tiers = len(self.thresholds) + 1
        cells = np.bincount(codes * n_tiers + self.passed, values, self.sample.n_groups * n_tiers)
        from_the_top = np.cumsum(cells.reshape(-1, n_tiers)[:, ::-1], axis=1)[:, ::-1]
        return from_the_top[:, 1:]

    def of_groups(self, codes):
        """Share of each group's weight above each threshold, (K, m), and that of the rows outside of the group."""
        totals = self.sample.totals(self.sample.weights, codes)[:, None]
        above = self.above(codes, self.sample.weights)
        rest = totals.sum() - totals
        others = np.divide(above.sum(axis=0) - above, rest, out=np.full(above.shape, np.nan), where=rest > 0)
        return above / totals, np.clip(others, 0.0, 1.0)


def _pairs(shares, others, comparison):
    """The shares that are compared, as two arrays (pairs, m)."""
    if comparison == "rest":
        return shares, others
    first, second = np.triu_indices(len(shares), 1)
    return shares[first], shares[second]


def bind_tier_parity_gap(sample, *, thresholds=None, quantiles=_QUANTILES, comparison="pairwise", reduction="max"):
    """Function of group codes (n,) that gives the largest or mean difference of shares."""
    check_choice(comparison, "comparison", COMPARISONS)
    check_choice(reduction, "reduction", ("max", "mean"))
    shares = _Shares(sample, thresholds, quantiles)

    def gap(codes):
        of_groups, others = shares.of_groups(codes)
        if comparison == "pairwise" and reduction == "max":
            return float((of_groups.max(axis=0) - of_groups.min(axis=0)).max())
        first, second = _pairs(of_groups, others, comparison)
        return float(getattr(np.abs(first - second), reduction)())

    return gap


def bind_tier_parity_ratio(sample, *, thresholds=None, quantiles=_QUANTILES, comparison="pairwise", reduction="min"):
    """Function of group codes (n,) that gives the smallest or mean ratio of shares."""
    check_choice(comparison, "comparison", COMPARISONS)
    check_choice(reduction, "reduction", ("min", "mean"))
    shares = _Shares(sample, thresholds, quantiles)

    def ratio(codes):
        first, second = _pairs(*shares.of_groups(codes), comparison)
        smaller, larger = np.minimum(first, second), np.maximum(first, second)
        ratios = np.divide(smaller, larger, out=np.ones_like(larger), where=larger > 0)
        return float(getattr(ratios, reduction)())

    return ratio


@documented(**_PARTS)
def tier_parity_gap(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    thresholds: Iterable[float] | None = None,
    quantiles: Iterable[float] = _QUANTILES,
    comparison: Literal["pairwise", "rest"] = "pairwise",
    reduction: Literal["max", "mean"] = "max",
    bins: Bins | None = None,
    min_group_size: int = 1,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Largest or mean difference between two groups' shares above a threshold of the premium.

    Groups can pay the same on average and differ in who gets into the dearest tier. The share of a group is that of its
    rows, or of its weight, with a prediction above the threshold.

    Parameters
    ----------
    <shared>
    <tiers>
    comparison : {"pairwise", "rest"}, default="pairwise"
        All pairs of groups, or each group against all other rows together.
    reduction : {"max", "mean"}, default="max"
        The largest of the differences over pairs and thresholds, or their unweighted mean.
    <shared last>
    <control>
        Thresholds are the same in all strata.

    Returns
    -------
    float
        In [0, 1]; 0 for a constant prediction and for a single group. With quantiles no increasing transformation of
        the predictions changes it. At most the Kolmogorov-Smirnov distance of :func:`ks_disparity`, which is that at
        the worst of all thresholds.

    Raises
    ------
    ValueError
        For thresholds that do not increase and quantiles outside (0, 1).

    See Also
    --------
    tier_parity_ratio : The same by ratios.
    tier_summary : The shares with intervals.

    Examples
    --------
    >>> from fairdcov.metrics import tier_parity_gap
    >>> premium, group = [300, 400, 500, 900, 300, 400, 800, 900], list("ffffmmmm")
    >>> tier_parity_gap(None, premium, sensitive_features=group, thresholds=[450, 600])
    0.25
    """
    groups = compared_groups(
        y_true,
        y_pred,
        sensitive_features,
        sample_weight,
        control_features,
        control_bins,
        given,
        bins=bins,
        min_group_size=min_group_size,
    )
    return groups.value(
        bind_tier_parity_gap,
        thresholds=thresholds,
        quantiles=quantiles,
        comparison=comparison,
        reduction=reduction,
    )


@documented(**_PARTS)
def tier_parity_ratio(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    thresholds: Iterable[float] | None = None,
    quantiles: Iterable[float] = _QUANTILES,
    comparison: Literal["pairwise", "rest"] = "pairwise",
    reduction: Literal["min", "mean"] = "min",
    bins: Bins | None = None,
    min_group_size: int = 1,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Smallest or mean ratio of two groups' shares above a threshold of the premium, the smaller to the larger share.

    Parameters
    ----------
    <shared>
    <tiers>
    comparison : {"pairwise", "rest"}, default="pairwise"
        All pairs of groups, or each group against all other rows together.
    reduction : {"min", "mean"}, default="min"
        The smallest of the ratios over pairs and thresholds, or their unweighted mean.
    <shared last>
    <control>
        Thresholds are the same in all strata.

    Returns
    -------
    float
        In [0, 1]; 1 where the shares are the same, for a constant prediction and for a single group. A threshold that
        nobody is above has the ratio 1.

    Raises
    ------
    ValueError
        For thresholds that do not increase and quantiles outside (0, 1).

    See Also
    --------
    tier_parity_gap : The same by differences.
    tier_summary : The shares with intervals.

    Examples
    --------
    >>> from fairdcov.metrics import tier_parity_ratio
    >>> premium, group = [300, 400, 500, 900, 300, 400, 800, 900], list("ffffmmmm")
    >>> tier_parity_ratio(None, premium, sensitive_features=group, thresholds=[450, 600])
    0.5
    """
    groups = compared_groups(
        y_true,
        y_pred,
        sensitive_features,
        sample_weight,
        control_features,
        control_bins,
        given,
        bins=bins,
        min_group_size=min_group_size,
    )
    return groups.value(
        bind_tier_parity_ratio,
        thresholds=thresholds,
        quantiles=quantiles,
        comparison=comparison,
        reduction=reduction,
        equal=1.0,
    )


# --- table ---------------------------------------------------------------------------------------------------------


def _spread(weights_squared_above, weights_squared, share):
    """Variance of the weight above a threshold, about its share of the weight."""
    # Where all weight is above, the two sums differ by rounding.
    below = np.maximum(weights_squared - weights_squared_above, 0.0)
    return weights_squared_above * (1 - share) ** 2 + below * share**2


def _effective_rows(weights_squared_above, weights_squared, share, weight):
    """Rows of equal weight with as uncertain a share: p (1 - p) over the linearised variance of the weighted share."""
    variance = _spread(weights_squared_above, weights_squared, share)
    by_kish = np.broadcast_to(weight**2 / weights_squared, share.shape).copy()
    return np.divide(share * (1 - share) * weight**2, variance, out=by_kish, where=(share > 0) & (share < 1))


def _wilson(share, rows, z):
    """Wilson's score interval of a share."""
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    # Exactly the ends where nobody or everybody is above.
    return np.where(share <= 0, 0.0, centre - half), np.where(share >= 1, 1.0, centre + half)


def _added(first, second, correlation):
    """Half width of a difference by those of its two parts (Zou and Donner 2008)."""
    return np.sqrt(np.maximum(first**2 + second**2 - 2 * correlation * first * second, 0.0))


def _correlation(share, rest, both_above, both, spreads):
    """Correlation of the shares of a group and of the rest, of rows that are partly in either.

    ``both`` is the sum of ``w^2 p (1 - p)`` over the rows, ``both_above`` over those above the threshold; the
    ``spreads`` are the variances of the totals behind the two shares.
    """
    covariance = both_above * (1 - share) * (1 - rest) + (both - both_above) * share * rest
    scale = np.sqrt(spreads[0] * spreads[1])
    return np.clip(np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0), -1.0, 1.0)


def _ratio_limits(first, second, correlation):
    """Interval of the ratio of two shares by their intervals, squared and added on the log scale."""
    (share, lower, upper), (other, other_lower, other_upper) = first, second
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = share / other
        down = _added(np.log(share / lower), np.log(other_upper / other), correlation)
        up = _added(np.log(upper / share), np.log(other / other_lower), correlation)
        # Where a share is 0 its logarithm says nothing: the ends of the two intervals against each other.
        plain = (share > 0) & (other > 0)
        low = np.where(plain, ratio * np.exp(-down), lower / other_upper)
        high = np.where(plain, ratio * np.exp(up), upper / other_lower)
    return ratio, low, high


@documented(**_PARTS)
def tier_summary(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    thresholds: Iterable[float] | None = None,
    quantiles: Iterable[float] = _QUANTILES,
    confidence: float = 0.95,
    bins: Bins | None = None,
    min_group_size: int = 1,
) -> pd.DataFrame:
    """Share of every group above each threshold of the premium, against all other rows, with intervals.

    Parameters
    ----------
    <shared>
    <tiers>
    confidence : float in (0, 1), default=0.95
        Level of each interval, taken alone.
    bins : int or dict, optional
        How numeric attributes are cut into groups, see :func:`js_divergence`.
    min_group_size : int, default=1
        Groups with fewer rows are left out, with a warning that names them.

    Returns
    -------
    pandas.DataFrame
        Indexed by the attributes' levels and the threshold, ``above``. Columns: ``rows`` and ``weight`` of the group,
        ``rows_above``, the share of its weight ``share`` with ``share_lower`` and ``share_upper``, the share of all
        other rows ``rest``, and group less rest and group over rest: ``difference`` and ``ratio``, each with ``_lower``
        and ``_upper``. What compares is NaN for a single group; a ratio is NaN where nobody is above the threshold.

    Raises
    ------
    ValueError
        For thresholds that do not increase, quantiles outside (0, 1) and a confidence outside (0, 1).

    Notes
    -----
    Predictions and thresholds are taken as given and the rows as an independent sample: what is uncertain is whom a
    group consists of. Intervals are Wilson's for the number of equally weighted rows that have the variance of the
    weighted share; of differences they are Newcombe's, which square and add the two intervals, and of ratios the same
    on the log scale. Of attributes known as probabilities a row counts in each group by its share p, so that squares
    are of weight times p, and in the rest by 1 - p: the two shares go together, and their correlation is taken off
    where intervals are added. ``rows`` are then expected numbers.

    References
    ----------
    R. G. Newcombe (1998), Interval estimation for the difference between independent proportions: comparison of eleven
    methods, Statistics in Medicine 17(8).
    G. Y. Zou, A. Donner (2008), Construction of confidence limits about effect measures: a general approach, Statistics
    in Medicine 27(10).

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.metrics import tier_summary
    >>> rng = np.random.default_rng(0)
    >>> gender = rng.choice(["f", "m"], 2_000)
    >>> premium = 300 * rng.lognormal(0.2 * (gender == "m"), 0.5)
    >>> table = tier_summary(None, premium, sensitive_features=gender, thresholds=[500])
    >>> shown = ["share", "rest", "difference", "difference_lower", "difference_upper"]
    >>> table.loc[("m", 500.0), shown].round(2).tolist()
    [0.28, 0.15, 0.13, 0.1, 0.17]
    """
    confidence = check_confidence(confidence)
    sample = group_predictions(
        y_true, y_pred, sensitive_features, sample_weight, bins=bins, min_group_size=min_group_size, compare=False
    )
    tiers = _Shares(sample, thresholds, quantiles)
    codes, squares = sample.codes, sample.weights**2
    of_rows, counts = sample.weights, np.ones(len(codes))
    if sample.shares is not None:
        of_rows, counts = sample.weights_of_rows()[sample.share_rows()], sample.shares.data
    share, rest = tiers.of_groups(codes)
    weight = sample.totals(sample.weights)[:, None]
    # What rows add that are partly in the group and partly in the rest: 0 where groups are observed.
    partly = sample.weights * (of_rows - sample.weights)
    squared, both = sample.totals(squares)[:, None], sample.totals(partly)[:, None]
    squared_above, both_above = tiers.above(codes, squares), tiers.above(codes, partly)
    z = norm.ppf(0.5 + confidence / 2)
    group = (share, *_wilson(share, _effective_rows(squared_above, squared, share, weight), z))
    others = (rest, np.full(rest.shape, np.nan), np.full(rest.shape, np.nan))
    correlation = np.zeros(rest.shape)
    if sample.n_groups > 1:
        # (w - v)^2 = w^2 - v^2 - 2 v (w - v), and w^2 is the sum of v^2 + v (w - v) over the groups.
        rest_squared, rest_squared_above = (
            np.maximum((own + shared).sum(axis=0) - own - 2 * shared, 0.0)
            for own, shared in ((squared, both), (squared_above, both_above))
        )
        rows = _effective_rows(rest_squared_above, rest_squared, rest, weight.sum() - weight)
        others = (rest, *_wilson(rest, rows, z))
        spreads = _spread(squared_above, squared, share), _spread(rest_squared_above, rest_squared, rest)
        correlation = _correlation(share, rest, both_above, both, spreads)
    difference = share - rest
    ratio, ratio_lower, ratio_upper = _ratio_limits(group, others, correlation)
    columns = {
        "rows": np.broadcast_to(sample.row_counts()[:, None], share.shape),
        "weight": np.broadcast_to(weight, share.shape),
        "rows_above": tiers.above(codes, counts).astype(np.int64 if sample.shares is None else np.float64),
        "share": share,
        "share_lower": group[1],
        "share_upper": group[2],
        "rest": rest,
        "difference": difference,
        "difference_lower": difference - _added(share - group[1], others[2] - rest, correlation),
        "difference_upper": difference + _added(group[2] - share, rest - others[1], correlation),
        "ratio": ratio,
        "ratio_lower": ratio_lower,
        "ratio_upper": ratio_upper,
    }
    labels = [(*label, threshold) for label in sample.labels for threshold in tiers.thresholds.tolist()]
    index = pd.MultiIndex.from_tuples(labels, names=[*sample.names, "above"])
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)
