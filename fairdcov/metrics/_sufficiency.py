"""Calibration within groups: whether a prediction means the same for everybody who gets it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Table, check_finite_vector, check_whole_number, documented
from fairdcov.metrics._grouped import GROUP_ARGUMENTS, group_predictions

__all__ = ["calibration_by_group", "sufficiency_gap"]

_PARTS = {
    **GROUP_ARGUMENTS,
    "observed": """y_true : (n,) array
        Observed values.""",
    "n_bins": """n_bins : int, default=10
        Bins of the predictions, of about equal weight; equal predictions are in one bin. Few and wide bins take
        differences of the predictions within a bin for differences at equal prediction.""",
}


def _cells(sample, n_bins):
    """Bin of each row by its prediction, and how many bins there are."""
    check_whole_number(n_bins, "n_bins")
    edges = np.unique(sample.quantiles(np.linspace(0.0, 1.0, n_bins + 1)[1:-1]))
    bins, positions = np.unique(np.searchsorted(edges, sample.predictions, side="left"), return_inverse=True)
    return positions, len(bins)


def _read(y_true, y_pred, sensitive_features, sample_weight, **options):
    """Grouped predictions, and the observed values of their rows."""
    if y_true is None:
        raise ValueError("y_true is needed to compare predictions with; found None")
    sample = group_predictions(y_true, y_pred, sensitive_features, sample_weight, **options)
    return sample, check_finite_vector(y_true, "y_true")[sample.rows]


@documented(**_PARTS)
def sufficiency_gap(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 10,
    relative: bool = False,
    bins: Bins | None = None,
    min_group_size: int = 1,
) -> float:
    """Mean difference between the groups in what is observed at equal prediction (calibration within groups).

    ``sum_bg w_bg |e_bg - e_b| / sum_bg w_bg`` over bins b of the predictions and groups g, with ``e`` the weighted mean
    of observed less predicted value in a bin and group, or in the whole bin, and ``w`` their weights. It is 0 where,
    at every level of the prediction, all groups are off by the same: the prediction is then sufficient, and the group
    tells nothing more about the outcome.

    Parameters
    ----------
    <observed>
    <predictions>
    <n_bins>
    relative : bool, default=False
        Divide by the mean of all observed values.
    <shared last>

    Returns
    -------
    float
        At least 0, in units of ``y_true``, or without units for ``relative=True``. By chance alone it is above 0: read
        it beside :func:`null_distribution`.

    See Also
    --------
    calibration_by_group : The cells as a table.
    js_divergence : The other notion, independence. Where groups differ in what is observed, a model that tells
        anything about the outcome cannot have both.

    References
    ----------
    S. Barocas, M. Hardt, A. Narayanan (2023), Fairness and Machine Learning: Limitations and Opportunities, chapter 3.

    Examples
    --------
    >>> from fairdcov.metrics import sufficiency_gap
    >>> sufficiency_gap([1.0, 3.0, 2.0, 4.0], [2.0, 4.0, 2.0, 4.0], sensitive_features=["f", "f", "m", "m"], n_bins=2)
    0.5
    """
    sample, observed = _read(
        y_true, y_pred, sensitive_features, sample_weight, bins=bins, min_group_size=min_group_size
    )
    positions, n_bins = _cells(sample, n_bins)
    level = 1.0
    if relative:
        level = abs(np.average(observed, weights=sample.weights))
        if level == 0:
            raise ValueError("relative=True needs observed values whose mean is not 0")
    cells = positions * sample.n_groups + sample.codes
    excess = sample.weights * (observed - sample.predictions)
    size = n_bins * sample.n_groups
    by_cell = np.bincount(cells, excess, size).reshape(n_bins, -1)
    weight = np.bincount(cells, sample.weights, size).reshape(n_bins, -1)
    expected = weight * (by_cell.sum(axis=1) / weight.sum(axis=1))[:, None]
    return float(np.abs(by_cell - expected).sum() / weight.sum() / level)


@documented(**_PARTS)
def calibration_by_group(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    n_bins: int = 10,
    bins: Bins | None = None,
    min_group_size: int = 1,
) -> pd.DataFrame:
    """Observed and predicted means by bins of the prediction and groups.

    Parameters
    ----------
    <observed>
    <predictions>
    <n_bins>
    <shared last>

    Returns
    -------
    pandas.DataFrame
        A row for each bin (``bin``, from 1) and group that has rows there, indexed by bin and levels of the attributes,
        with ``rows``, ``weight``, ``mean_observed``, ``mean_predicted`` and ``excess``, their difference.

    Examples
    --------
    >>> from fairdcov.metrics import calibration_by_group
    >>> people = ["f", "f", "m", "m"]
    >>> table = calibration_by_group([1.0, 3.0, 2.0, 4.0], [2.0, 4.0, 2.0, 4.0], sensitive_features=people, n_bins=2)
    >>> table["excess"].tolist()
    [-1.0, 0.0, -1.0, 0.0]
    """
    sample, observed = _read(
        y_true, y_pred, sensitive_features, sample_weight, bins=bins, min_group_size=min_group_size
    )
    positions, _ = _cells(sample, n_bins)
    cells, codes = np.unique(positions * sample.n_groups + sample.codes, return_inverse=True)
    # Expected ones where attributes are known as probabilities.
    rows = np.bincount(codes, None if sample.shares is None else sample.shares.data)

    def mean(values):
        return np.bincount(codes, sample.weights * values) / weight

    weight = np.bincount(codes, sample.weights)
    labels = [(int(cell // sample.n_groups) + 1, *sample.labels[cell % sample.n_groups]) for cell in cells]
    means = {"mean_observed": mean(observed), "mean_predicted": mean(sample.predictions)}
    table = pd.DataFrame(
        {"rows": rows, "weight": weight, **means},
        index=pd.MultiIndex.from_tuples(labels, names=["bin", *sample.names]),
    )
    return table.assign(excess=table["mean_observed"] - table["mean_predicted"])
