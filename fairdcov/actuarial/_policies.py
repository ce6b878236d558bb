"""Observed and predicted rates with their exposure, and what every table says about a part of the rows."""

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2, norm

from fairdcov._checks import (
    check_choice,
    check_confidence,
    check_consistent_rows,
    check_finite_vector,
    check_sample_weight,
)
from fairdcov.encoding import warn_about_order

__all__ = ["Policies", "check_positive_baseline", "experience", "exposure_bins", "read_policies"]

INTERVALS = ("auto", "poisson", "normal")
# Relative difference up to which neighbouring values are equal: the rounding of predictions and of their ratios.
_EQUAL = 1e-12


@dataclass(frozen=True, eq=False)
class Policies:
    """Rows of positive exposure, checked.

    Attributes
    ----------
    observed : (n,) float64 array or None
        Observed values per unit of exposure.
    predictions : dict of str to (n,) float64 array
        Predicted values per unit of exposure, under the name of their argument.
    exposure : (n,) float64 array
        Positive.
    rows : (n,) int64 array
        Which rows of the input these are.
    n_samples : int
        Rows of the input.
    row_labels : dict
        What :func:`fairdcov.encoding._rows.warn_about_order` compares further arguments with.
    """

    observed: np.ndarray | None
    predictions: dict
    exposure: np.ndarray
    rows: np.ndarray
    n_samples: int
    row_labels: dict = field(default_factory=dict)

    def take(self, frame):
        """The same rows of a narwhals frame."""
        return frame if len(self.rows) == self.n_samples else frame[self.rows, :]

    def sums(self, codes, n_levels, values=None):
        """Sum over each level of exposure times ``values`` (n,)."""
        weights = self.exposure if values is None else self.exposure * values
        return np.bincount(codes, weights=weights, minlength=n_levels)


def read_policies(y_true, sample_weight=None, **predictions):
    """Check observed values, predictions and exposure, and leave out the rows of zero exposure.

    Parameters
    ----------
    y_true : (n,) array or None
        Observed values per unit of exposure.
    sample_weight : (n,) array, optional
        Exposure; ones for None.
    **predictions : (n,) arrays or None
        At least ``y_pred``; those that are None are left out.

    Returns
    -------
    Policies
    """
    row_labels = warn_about_order(**predictions, y_true=y_true, sample_weight=sample_weight)
    predictions = {name: check_finite_vector(y, name) for name, y in predictions.items() if y is not None}
    n_samples = len(predictions["y_pred"])
    if n_samples == 0:
        raise ValueError("y_pred must have at least one row; found 0")
    columns = dict(predictions)
    if y_true is not None:
        columns["y_true"] = check_finite_vector(y_true, "y_true")
    for name, values in columns.items():
        check_consistent_rows(n_samples, values, name, reference="y_pred")
    exposure = check_sample_weight(sample_weight, n_samples, reference="y_pred")
    rows = np.flatnonzero(exposure > 0)
    columns = {name: values[rows] for name, values in columns.items()}
    observed = columns.pop("y_true", None)
    return Policies(observed, columns, exposure[rows], rows, n_samples, row_labels)


def check_positive_baseline(book):
    """Baseline predictions, all positive, or an error."""
    before = book.predictions["baseline"]
    if (before <= 0).any():
        raise ValueError(
            f"baseline must be positive, since changes are relative to it; found {int((before <= 0).sum())} value(s) "
            f"of at most 0, such as {before[before <= 0][0]:g}"
        )
    return before


def _divide(numerator, denominator):
    """Quotients, NaN where nothing is divided by nothing."""
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0)


def _kind_of_interval(book, interval):
    """``"poisson"`` or ``"normal"``: what was asked for, or what the observed totals are."""
    check_choice(interval, "interval", INTERVALS)
    if interval == "normal":
        return interval
    counts = book.exposure * book.observed
    whole = np.rint(counts)
    off = (np.abs(counts - whole) > 1e-6 * np.maximum(1.0, np.abs(whole))) | (whole < 0)
    if not off.any():
        return "poisson"
    if interval == "poisson":
        raise ValueError(
            f"interval='poisson' needs counts: y_true times sample_weight has {int(off.sum())} value(s) that are not "
            f"whole numbers >= 0, such as {counts[off][0]:g}; use interval='normal' for amounts"
        )
    return "normal"


def _poisson_interval(claims, expected, confidence):
    """Exact (Garwood) interval of the ratio of a Poisson count to its expectation."""
    tail = (1 - confidence) / 2
    claims = np.rint(claims)
    lower = np.where(claims > 0, chi2.ppf(tail, 2 * np.maximum(claims, 1)) / 2, 0.0)
    return _divide(lower, expected), _divide(chi2.ppf(1 - tail, 2 * claims + 2) / 2, expected)


def _normal_interval(book, predicted, codes, n_levels, ratio, expected, confidence):
    """Interval of a ratio of two totals over independent rows, by its linearisation."""
    residuals = book.observed - ratio[codes] * predicted
    squares = np.bincount(codes, weights=(book.exposure * residuals) ** 2, minlength=n_levels)
    rows = np.bincount(codes, minlength=n_levels)
    correction = np.divide(rows, rows - 1, out=np.full(n_levels, np.nan), where=rows > 1)
    half = norm.ppf((1 + confidence) / 2) * _divide(np.sqrt(correction * squares), expected)
    return ratio - half, ratio + half


def experience(book, codes, n_levels, *, confidence=0.95, interval="auto", prediction="y_pred"):
    """Columns of a table of experience, an entry for each level.

    Parameters
    ----------
    book : Policies
        Observed and predicted values.
    codes : (n,) int64 array
        Level of each row.
    n_levels : int
        Number L of levels.
    confidence, interval
        See :func:`fairdcov.actuarial.one_way`.
    prediction : str
        Which prediction is expected.

    Returns
    -------
    columns : dict of str to (L,) arrays
        ``rows``, ``exposure``, ``share``, ``observed``, ``predicted``, ``actual_to_expected``, ``lower``, ``upper``.
    kind : str
        Kind of the intervals.
    """
    confidence = check_confidence(confidence)
    kind = _kind_of_interval(book, interval)
    predicted = book.predictions[prediction]
    exposure = book.sums(codes, n_levels)
    claims = book.sums(codes, n_levels, book.observed)
    expected = book.sums(codes, n_levels, predicted)
    ratio = _divide(claims, expected)
    if kind == "poisson":
        lower, upper = _poisson_interval(claims, expected, confidence)
    else:
        lower, upper = _normal_interval(book, predicted, codes, n_levels, ratio, expected, confidence)
    columns = {
        "rows": np.bincount(codes, minlength=n_levels),
        "exposure": exposure,
        "share": exposure / exposure.sum(),
        "observed": _divide(claims, exposure),
        "predicted": _divide(expected, exposure),
        "actual_to_expected": ratio,
        "lower": lower,
        "upper": upper,
    }
    return columns, kind


def exposure_bins(values, exposure, n_bins):
    """Bin of each row, in the order of the values and of about equal exposure.

    Rows of equal value share the bin of the middle of their exposure, so that the order of the rows does not matter.
    Equal is up to rounding: two tariffs with one ratio in exact arithmetic have several in floating point.

    Parameters
    ----------
    values : (n,) array
        What the rows are sorted by.
    exposure : (n,) array
        Positive weights.
    n_bins : int
        Bins wanted; with many equal values there are fewer.

    Returns
    -------
    (n,) int64 array
        In ``range(B)``, B the number of bins that are not empty.
    """
    distinct, ranks = np.unique(values, return_inverse=True)
    apart = np.diff(distinct) > _EQUAL * np.maximum(np.abs(distinct[:-1]), np.abs(distinct[1:]))
    ranks = np.append(0, np.cumsum(apart))[ranks]
    weight = np.bincount(ranks, weights=exposure)
    middle = (np.cumsum(weight) - weight / 2) / weight.sum()
    wanted = np.minimum((middle * n_bins + 1e-9).astype(np.int64), n_bins - 1)
    _, used = np.unique(wanted, return_inverse=True)
    return used[ranks]
