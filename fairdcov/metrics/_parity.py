"""Differences of the predictions between groups: means and distribution functions, and a table by group."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Table, check_choice, check_finite_vector, documented
from fairdcov.encoding import DEFAULT_GROUPS
from fairdcov.metrics._conditional import CONTROL_OPTIONS, compared_groups
from fairdcov.metrics._divergence import GROUP_WEIGHTS
from fairdcov.metrics._grouped import GROUP_ARGUMENTS, group_predictions

__all__ = [
    "bind_demographic_parity_gap",
    "bind_ks_disparity",
    "bind_unfairness_ratio",
    "bind_wasserstein_disparity",
    "demographic_parity_gap",
    "group_summary",
    "ks_disparity",
    "unfairness_ratio",
    "wasserstein_disparity",
]

COMPARISONS = ("pairwise", "rest")

# Cells of the table of distribution functions that are alive at a time: 2^16 float64 are 512 KiB and stay in cache.
_CELLS_AT_A_TIME = 2**16

# --- means ---------------------------------------------------------------------------------------------------------


def bind_demographic_parity_gap(sample, *, relative=False):
    """Function of group codes (n,) that gives the gap."""
    overall = abs(np.average(sample.predictions, weights=sample.weights)) if relative else 1.0
    if overall == 0:
        raise ValueError("relative=True needs predictions whose mean is not 0")

    def gap(codes):
        means = sample.group_means(codes)
        return float((means.max() - means.min()) / overall)

    return gap


@documented(**GROUP_ARGUMENTS, control=CONTROL_OPTIONS)
def demographic_parity_gap(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    relative: bool = False,
    bins: Bins | None = None,
    min_group_size: int = 1,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Largest difference between the mean predictions of two groups.

    Parameters
    ----------
    <shared>
    relative : bool, default=False
        Divide by the mean of all predictions.
    <shared last>
    <control>

    Returns
    -------
    float
        At least 0, in units of ``y_pred``, or without units for ``relative=True``.

    Examples
    --------
    >>> from fairdcov.metrics import demographic_parity_gap
    >>> demographic_parity_gap(None, [1.0, 3.0, 3.0, 5.0], sensitive_features=["f", "f", "m", "m"])
    2.0
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
    return groups.value(bind_demographic_parity_gap, relative=relative)


def bind_unfairness_ratio(sample, *, group_weights="equal"):
    """Function of group codes (n,) that gives the ratio."""
    check_choice(group_weights, "group_weights", GROUP_WEIGHTS)
    values, weights = sample.predictions, sample.weights
    mean = np.average(values, weights=weights)
    variance = np.average((values - mean) ** 2, weights=weights)
    if group_weights == "proportion":

        def share_between(codes):
            differences = (sample.group_means(codes) - mean) ** 2
            return float(np.average(differences, weights=sample.totals(weights, codes)) / variance)

        return share_between
    n = len(sample.once.predictions)
    variance = variance * n / max(n - 1, 1)
    return lambda codes: float(sample.group_means(codes).var(ddof=1) / variance)


@documented(**GROUP_ARGUMENTS, control=CONTROL_OPTIONS)
def unfairness_ratio(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    group_weights: Literal["equal", "proportion"] = "equal",
    bins: Bins | None = None,
    min_group_size: int = 1,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Variance of the group means over the variance of all predictions.

    Parameters
    ----------
    <shared>
        They weight the group means and the variance of the predictions; the groups themselves only with
        ``group_weights="proportion"``.
    group_weights : {"equal", "proportion"}, default="equal"
        ``"equal"`` is the published ratio: group means count alike, however small the group, and both variances have
        one degree of freedom less than terms. ``"proportion"`` weights each group by its share of the rows or of
        ``sample_weight``: the share of the variance of the predictions that lies between the groups (the squared
        correlation ratio), in [0, 1].
    <shared last>
    <control>

    Returns
    -------
    float
        At least 0, without units; 0 for a constant prediction. With ``"equal"``, small groups can bring it above 1.

    References
    ----------
    H. M. Lee, K. Antonio, B. Avanzi, L. Marchi, R. Zhou (2025), Machine Learning with Multitype Protected Attributes:
    Intersectional Fairness through Regularisation, arXiv 2509.08163.

    Examples
    --------
    >>> from fairdcov.metrics import unfairness_ratio
    >>> unfairness_ratio(None, [1.0, 3.0, 3.0, 5.0], sensitive_features=["f", "f", "m", "m"])
    0.75
    >>> unfairness_ratio(
    ...     None, [1.0, 3.0, 3.0, 5.0], sensitive_features=["f", "f", "m", "m"], group_weights="proportion"
    ... )
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
    return groups.value(bind_unfairness_ratio, group_weights=group_weights)


# --- distribution functions ----------------------------------------------------------------------------------------


class DistributionFunctions:
    """Weighted distribution functions of all groups at the distinct predictions, some rows at a time."""

    def __init__(self, sample):
        self.sample = sample
        self._order = np.argsort(sample.predictions)
        self._sorted = sample.predictions[self._order]
        self._weights = sample.weights[self._order]
        # Rows after which the prediction changes: there the functions are complete for all ties.
        self._last = np.append(self._sorted[1:] != self._sorted[:-1], True)
        self._gaps = np.append(np.diff(self._sorted), 0.0)

    def tables(self, codes, comparison):
        """Yield (functions (m, K), gaps to the next distinct prediction (m,)), against the rest if asked."""
        n, n_groups = len(codes), self.sample.n_groups
        codes = codes[self._order]
        totals = np.bincount(codes, self._weights, n_groups)
        reached = np.zeros(n_groups)
        size = max(1, _CELLS_AT_A_TIME // n_groups)
        for start in range(0, n, size):
            rows = slice(start, start + size)
            m = len(codes[rows])
            table = np.zeros((m, n_groups))
            table[np.arange(m), codes[rows]] = self._weights[rows]
            table[0] += reached
            np.cumsum(table, axis=0, out=table)
            reached = table[-1].copy()
            last = self._last[rows]
            if not last.all():
                table = table[last]
            if comparison == "rest":
                table = table / totals - (table.sum(axis=1, keepdims=True) - table) / (totals.sum() - totals)
            else:
                table /= totals
            yield table, self._gaps[rows][last]


def bind_ks_disparity(sample, *, comparison="pairwise"):
    """Function of group codes (n,) that gives the largest distance."""
    check_choice(comparison, "comparison", COMPARISONS)
    functions = DistributionFunctions(sample)

    def largest_distance(codes):
        largest = 0.0
        for table, _ in functions.tables(codes, comparison):
            if len(table) == 0:
                continue
            # The largest distance over all pairs is that of the highest to the lowest function.
            distance = np.abs(table) if comparison == "rest" else table.max(axis=1) - table.min(axis=1)
            largest = max(largest, float(distance.max()))
        return largest

    return largest_distance


@documented(**GROUP_ARGUMENTS, control=CONTROL_OPTIONS)
def ks_disparity(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    comparison: Literal["pairwise", "rest"] = "pairwise",
    bins: Bins | None = None,
    min_group_size: int = 1,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Largest Kolmogorov-Smirnov distance between the predictions of two groups.

    Parameters
    ----------
    <shared>
    comparison : {"pairwise", "rest"}, default="pairwise"
        The largest distance over all pairs of groups, or over the groups, each against all other rows together. A group
        of few rows is far from any other by chance alone: leave it out by ``min_group_size``.
    <shared last>
    <control>

    Returns
    -------
    float
        In [0, 1]; no increasing transformation of the predictions changes it.

    Examples
    --------
    >>> from fairdcov.metrics import ks_disparity
    >>> ks_disparity(None, [1.0, 3.0, 3.0, 5.0], sensitive_features=["f", "f", "m", "m"])
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
    return groups.value(bind_ks_disparity, comparison=comparison)


def bind_wasserstein_disparity(sample, *, comparison="pairwise", reduction="max"):
    """Function of group codes (n,) that gives the largest or mean distance."""
    check_choice(comparison, "comparison", COMPARISONS)
    check_choice(reduction, "reduction", ("max", "mean"))
    functions = DistributionFunctions(sample)
    n_groups = sample.n_groups

    def distances(codes):
        if comparison == "rest":
            return sum(gaps @ np.abs(table) for table, gaps in functions.tables(codes, comparison))
        found = [np.zeros(n_groups - 1 - first) for first in range(n_groups - 1)]
        for table, gaps in functions.tables(codes, comparison):
            by_group = np.ascontiguousarray(table.T)
            difference = np.empty_like(by_group)
            for first in range(n_groups - 1):
                part = difference[first + 1 :]
                np.subtract(by_group[first + 1 :], by_group[first], out=part)
                np.abs(part, out=part)
                found[first] += part @ gaps
        return np.concatenate(found)

    return lambda codes: float(getattr(distances(codes), reduction)())


@documented(**GROUP_ARGUMENTS, control=CONTROL_OPTIONS)
def wasserstein_disparity(
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    comparison: Literal["pairwise", "rest"] = "pairwise",
    reduction: Literal["max", "mean"] = "max",
    bins: Bins | None = None,
    min_group_size: int = 1,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
) -> float:
    """Largest or mean Wasserstein-1 distance between the predictions of two groups.

    The distance is the area between two distribution functions: how much predictions would have to move, on average,
    to turn the one group's distribution into the other's.

    Parameters
    ----------
    <shared>
    comparison : {"pairwise", "rest"}, default="pairwise"
        Distances between all pairs of groups, or of each group to all other rows together.
    reduction : {"max", "mean"}, default="max"
        The largest of these distances, or their unweighted mean.
    <shared last>
    <control>

    Returns
    -------
    float
        At least 0, in units of ``y_pred``; at least the difference of the two means.

    Notes
    -----
    Exact, in O(n log n + n K^2) time for K groups (O(n K) with ``comparison="rest"``).

    Examples
    --------
    >>> from fairdcov.metrics import wasserstein_disparity
    >>> wasserstein_disparity(None, [1.0, 5.0, 3.0, 3.0], sensitive_features=["f", "f", "m", "m"])
    2.0
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
    return groups.value(bind_wasserstein_disparity, comparison=comparison, reduction=reduction)


# --- table ---------------------------------------------------------------------------------------------------------


@documented(**GROUP_ARGUMENTS)
def group_summary(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    bins: Bins | None = None,
    min_group_size: int = 1,
) -> pd.DataFrame:
    """Rows, weight, means and balance of every group, small ones included.

    Parameters
    ----------
    y_true : (n,) array
        Observed values.
    y_pred : (n,) array
        Predictions.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes; several columns are crossed into intersectional groups.
    sample_weight : (n,) array, optional
        Row weights such as exposure; rows of weight 0 are absent.
    bins : int or dict, optional
        How numeric attributes are cut into groups, see :func:`js_divergence`.
    min_group_size : int, default=1
        Groups with fewer rows are marked in the column ``too_small``.

    Returns
    -------
    pandas.DataFrame
        Indexed by the attributes' levels, with the columns ``rows`` (where attributes are known as probabilities, the
        expected number), ``weight``, ``share``, ``mean_observed``,
        ``mean_predicted``, ``predicted_to_observed`` (NaN where nothing was observed) and ``too_small``.

    Examples
    --------
    >>> from fairdcov.metrics import group_summary
    >>> table = group_summary([0, 2, 1, 1], [1.0, 3.0, 1.0, 1.0], sensitive_features=["f", "f", "m", "m"])
    >>> table["predicted_to_observed"].tolist()
    [2.0, 1.0]
    """
    sample = group_predictions(y_true, y_pred, sensitive_features, sample_weight, bins=bins, compare=False)
    observed = check_finite_vector(y_true, "y_true")[sample.rows]
    rows = sample.row_counts()
    weight = sample.totals(sample.weights)
    claims = sample.totals(sample.weights * observed)
    expected = sample.totals(sample.weights * sample.predictions)
    ratio = np.divide(expected, claims, out=np.full(len(claims), np.nan), where=claims != 0)
    return pd.DataFrame(
        {
            "rows": rows,
            "weight": weight,
            "share": weight / weight.sum(),
            "mean_observed": claims / weight,
            "mean_predicted": expected / weight,
            "predicted_to_observed": ratio,
            "too_small": rows < min_group_size,
        },
        index=pd.MultiIndex.from_tuples(sample.labels, names=sample.names),
    )
