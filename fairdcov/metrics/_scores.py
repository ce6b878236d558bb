"""Scores without groups: ranked probability score, Gini index, balance, deviances. MetricFrame splits them by group."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import log_loss as _sklearn_log_loss
from sklearn.metrics import mean_tweedie_deviance

from fairdcov._checks import (
    FloatArray,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_sample_weight,
    check_whole_number,
)
from fairdcov.encoding import warn_about_order

__all__ = [
    "binary_log_loss",
    "gini",
    "lorenz_curve",
    "mean_deviance",
    "predicted_to_observed",
    "root_mean_squared_error",
    "rps",
]


def _check_scores_input(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    warn_about_order(y_true=y_true, y_pred=y_pred, sample_weight=sample_weight)
    y_true = check_finite_vector(y_true, "y_true")
    y_pred = check_finite_vector(y_pred, "y_pred")
    if len(y_true) == 0:
        raise ValueError("y_true must have at least one row; found 0")
    check_consistent_rows(len(y_true), y_pred, "y_pred", reference="y_true")
    return y_true, y_pred, check_sample_weight(sample_weight, len(y_true), reference="y_true")


def _undefined(message):
    warnings.warn(message, UndefinedMetricWarning, stacklevel=3)
    return float("nan")


def rps(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    exposure: ArrayLike | None = None,
    family: Literal["poisson", "binary"] = "poisson",
    max_count: int = 10,
) -> float:
    """Mean ranked probability score of counts or of binary outcomes; smaller is better.

    Poisson: ``sum_{k=0..max_count} (F(k; mu) - 1{y <= k})^2`` with F the Poisson distribution function of mean mu;
    binary: the Brier score ``(y - p)^2``, which is the same sum for two outcomes.

    Parameters
    ----------
    y_true : (n,) array
        Observed counts, whole numbers (counts per unit of exposure if ``exposure`` is given), or 0 and 1.
    y_pred : (n,) array
        Expected counts (per unit of exposure if ``exposure`` is given), or probabilities.
    sample_weight : (n,) array, optional
        Weights of the rows in the mean.
    exposure : (n,) array, optional
        Poisson only: observed and expected frequencies are multiplied by it to counts. Rows count alike, as policies do
        in the published figures.
    family : {"poisson", "binary"}, default="poisson"
        Distribution of the outcome.
    max_count : int, default=10
        Last term of the Poisson sum.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For negative predictions, for counts that are not whole numbers (frequencies without their exposure), and for
        values outside [0, 1] with ``family="binary"``.

    References
    ----------
    T. Gneiting, A. Raftery (2007), Strictly proper scoring rules, prediction, and estimation, Journal of the American
    Statistical Association 102(477).

    Examples
    --------
    >>> from fairdcov.metrics import rps
    >>> round(rps([0, 1], [0.1, 0.1]), 4)
    0.4139
    >>> round(rps([0, 1], [0.1, 0.1], family="binary"), 4)
    0.41
    """
    check_choice(family, "family", ("poisson", "binary"))
    y_true, y_pred, weights = _check_scores_input(y_true, y_pred, sample_weight)
    if family == "binary":
        if exposure is not None:
            raise ValueError("exposure has no meaning for family='binary'; pass sample_weight to weight rows")
        _check_binary(y_true, y_pred)
        return float(np.average((y_true - y_pred) ** 2, weights=weights))
    check_whole_number(max_count, "max_count", 0)
    if exposure is not None:
        exposure = check_sample_weight(exposure, len(y_true), name="exposure", reference="y_true")
        y_true, y_pred = y_true * exposure, y_pred * exposure
    counts = np.rint(y_true)
    off = (np.abs(y_true - counts) > 1e-6 * np.maximum(1.0, counts)) | (counts < 0)
    if off.any():
        raise ValueError(
            f"y_true must hold counts (whole numbers >= 0) for family='poisson'; found "
            f"{int(off.sum())} other value(s), such as {y_true[off][0]:g}: for frequencies pass exposure=, or "
            "weight_argument='exposure' for a scorer"
        )
    if (y_pred < 0).any():
        raise ValueError(f"y_pred must not be negative; found {int((y_pred < 0).sum())} negative value(s)")
    return float(np.average(_poisson_scores(counts, y_pred, max_count), weights=weights))


def _poisson_scores(counts, means, max_count):
    probability = np.exp(-means)
    cumulative = probability.copy()
    scores = (cumulative - (counts <= 0)) ** 2
    for k in range(1, max_count + 1):
        probability *= means / k
        cumulative += probability
        scores += (cumulative - (counts <= k)) ** 2
    return scores


def _check_binary(y_true, y_pred):
    if not np.isin(y_true, (0.0, 1.0)).all():
        raise ValueError("y_true must hold 0 and 1 only for a binary outcome")
    if (y_pred < 0).any() or (y_pred > 1).any():
        raise ValueError(f"y_pred must hold probabilities; found values from {y_pred.min():g} to {y_pred.max():g}")


def lorenz_curve(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Share of the observed total against the share of exposure, from the lowest to the highest prediction.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of weight, not negative.
    y_pred : (n,) array
        Predictions, used for their order only. Rows of equal prediction are one step of the curve, so that their order
        does not matter.
    sample_weight : (n,) array, optional
        Row weights such as exposure.

    Returns
    -------
    exposure_share : (m + 1,) array
        From 0 to 1 over the m distinct predictions.
    observed_share : (m + 1,) array
        From 0 to 1, NaN when nothing was observed.

    Examples
    --------
    >>> from fairdcov.metrics import lorenz_curve
    >>> exposure, observed = lorenz_curve([0.0, 1.0, 3.0], [0.1, 0.2, 0.3])
    >>> observed.tolist()
    [0.0, 0.0, 0.25, 1.0]
    """
    y_true, y_pred, weights = _check_scores_input(y_true, y_pred, sample_weight)
    if (y_true < 0).any():
        raise ValueError(f"y_true must not be negative; found {int((y_true < 0).sum())} negative value(s)")
    order = np.argsort(y_pred, kind="stable")
    ranked = y_pred[order]
    last = np.append(ranked[1:] != ranked[:-1], True)
    exposure = np.append(0.0, np.cumsum(weights[order])[last])
    observed = np.append(0.0, np.cumsum((weights * y_true)[order])[last])
    with np.errstate(invalid="ignore"):
        return exposure / exposure[-1], observed / observed[-1]


def gini_of_curve(exposure, observed):
    """Gini index of a Lorenz curve; NaN for one of NaN."""
    return 1.0 - 2.0 * float(np.trapezoid(observed, exposure))


def gini(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None, normalize: bool = False
) -> float:
    """Gini index of the predictions: twice the area between the diagonal and their Lorenz curve; larger is better.

    It measures how well predictions order risks, not their level.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of weight, not negative.
    y_pred : (n,) array
        Predictions.
    sample_weight : (n,) array, optional
        Row weights such as exposure.
    normalize : bool, default=False
        Divide by the index of a perfect order, so that 1 is the best possible value.

    Returns
    -------
    float
        0 for a constant prediction; NaN, with an UndefinedMetricWarning, when nothing was observed.

    Examples
    --------
    >>> from fairdcov.metrics import gini
    >>> round(gini([0.0, 0.0, 1.0, 3.0], [0.1, 0.2, 0.3, 0.4]), 3)
    0.625
    >>> gini([0.0, 0.0, 1.0, 3.0], [0.1, 0.2, 0.3, 0.4], normalize=True)
    1.0
    """
    index = gini_of_curve(*lorenz_curve(y_true, y_pred, sample_weight=sample_weight))
    if np.isnan(index):
        return _undefined("the Gini index is undefined: y_true has no positive value of positive weight")
    if not normalize:
        return index
    perfect = gini_of_curve(*lorenz_curve(y_true, y_true, sample_weight=sample_weight))
    if perfect <= 1e-15:
        return _undefined("the normalised Gini index is undefined: all observed values are equal")
    return index / perfect


def predicted_to_observed(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Balance: the predicted total over the observed total, both weighted by exposure.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of weight.
    y_pred : (n,) array
        Predictions per unit of weight.
    sample_weight : (n,) array, optional
        Row weights such as exposure.

    Returns
    -------
    float
        1 in balance; NaN, with an UndefinedMetricWarning, when the observed total is 0.

    See Also
    --------
    group_summary : The same for every group.

    Examples
    --------
    >>> from fairdcov.metrics import predicted_to_observed
    >>> predicted_to_observed([0.0, 1.0], [0.5, 0.25], sample_weight=[1.0, 2.0])
    0.5
    """
    y_true, y_pred, weights = _check_scores_input(y_true, y_pred, sample_weight)
    observed = float(weights @ y_true)
    if observed == 0:
        return _undefined("predicted_to_observed is undefined: the observed total is 0")
    return float(weights @ y_pred) / observed


def mean_deviance(
    y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None, power: float = 1.0
) -> float:
    """Mean Tweedie deviance: power 0 normal, 1 Poisson, 2 gamma, 3 inverse Gaussian; smaller is better.

    Parameters
    ----------
    y_true : (n,) array
        Observed values, in the range of the family.
    y_pred : (n,) array
        Predictions.
    sample_weight : (n,) array, optional
        Row weights such as exposure.
    power : float, default=1.0
        Variance power, at most 0 or at least 1.

    Returns
    -------
    float

    See Also
    --------
    sklearn.metrics.mean_tweedie_deviance : Does the work; it takes the power first.

    Examples
    --------
    >>> from fairdcov.metrics import mean_deviance
    >>> mean_deviance([1.0, 2.0], [1.0, 2.0])
    0.0
    """
    y_true, y_pred, weights = _check_scores_input(y_true, y_pred, sample_weight)
    return float(mean_tweedie_deviance(y_true, y_pred, sample_weight=weights, power=power))


def root_mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Square root of the weighted mean squared error; smaller is better.

    Parameters
    ----------
    y_true, y_pred : (n,) arrays
        Observed values and predictions.
    sample_weight : (n,) array, optional
        Row weights.

    Returns
    -------
    float

    Examples
    --------
    >>> from fairdcov.metrics import root_mean_squared_error
    >>> root_mean_squared_error([1.0, 2.0], [1.0, 4.0], sample_weight=[3.0, 1.0])
    1.0
    """
    y_true, y_pred, weights = _check_scores_input(y_true, y_pred, sample_weight)
    return float(np.sqrt(np.average((y_true - y_pred) ** 2, weights=weights)))


def binary_log_loss(y_true: ArrayLike, y_pred: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean negative log-likelihood of 0/1 outcomes under predicted probabilities of 1; smaller is better.

    Unlike :func:`sklearn.metrics.log_loss` it is defined where only one of the outcomes occurs, as in a small group.

    Parameters
    ----------
    y_true : (n,) array
        0 and 1.
    y_pred : (n,) array
        Probabilities of 1.
    sample_weight : (n,) array, optional
        Row weights.

    Returns
    -------
    float

    Examples
    --------
    >>> from fairdcov.metrics import binary_log_loss
    >>> round(binary_log_loss([1, 1], [0.5, 0.5]), 4)
    0.6931
    """
    y_true, y_pred, weights = _check_scores_input(y_true, y_pred, sample_weight)
    _check_binary(y_true, y_pred)
    return float(_sklearn_log_loss(y_true, y_pred, sample_weight=weights, labels=[0.0, 1.0]))
