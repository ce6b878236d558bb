"""Checks of user input, each in one place, with errors that name the argument and what was found."""

import numbers
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from fairdcov._checks._types import FloatArray

__all__ = [
    "check_choice",
    "check_confidence",
    "check_consistent_rows",
    "check_finite_matrix",
    "check_finite_vector",
    "check_flag",
    "check_positive_number",
    "check_sample_weight",
    "check_squarable",
    "check_whole_number",
    "resolve_n_threads",
]

# Sums of weights whose squares, and quotients of one and them, are floats with all their digits.
_LEAST_TOTAL, _LARGEST_TOTAL = 1e-150, 1e150
# The squares of a million such numbers have a finite sum.
_LARGEST_SQUARABLE = 1e150
# More would be asked of any machine by mistake only, and OpenMP takes the process down where there are too many.
_MOST_THREADS = 1024


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``, or raise a ValueError that lists them."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; found {value!r}")
    return value


def check_flag(value: Any, name: str) -> bool:
    """Return ``value`` as a bool if it is one; anything else may well mean its opposite (``"no"``) and raises."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False; found {value!r}")
    return bool(value)


def check_confidence(confidence: Any) -> float:
    """Return a confidence level between 0 and 1, or raise."""
    if isinstance(confidence, bool) or not isinstance(confidence, numbers.Real) or not 0 < float(confidence) < 1:
        raise ValueError(f"confidence must be between 0 and 1, such as 0.95; found {confidence!r}")
    return float(confidence)


def check_positive_number(value: Any, name: str, *, allow_zero: bool = False) -> float:
    """Return ``value`` as a finite float above (or at) zero, or raise an error that names the argument."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; found {value!r} of type {type(value).__name__}")
    value = float(value)
    if not np.isfinite(value) or value < 0 or (value == 0 and not allow_zero):
        wanted = "a finite number >= 0" if allow_zero else "a finite number > 0"
        raise ValueError(f"{name} must be {wanted}; found {value!r}")
    return value


def check_whole_number(value: Any, name: str, least: int = 1) -> int:
    """Return ``value`` as an int if it is a whole number of at least ``least``, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}; found {value!r}")
    return int(value)


def _as_floats(values: Any, name: str, advice: str) -> FloatArray:
    """Return ``values`` as float64; text, dates and complex numbers are no numbers, even where NumPy would convert."""
    try:
        if np.ma.is_masked(values):
            raise TypeError("found masked values")
        array = np.asarray(values)
        if array.dtype.kind in "STUMmc":
            raise TypeError(f"found {array.dtype.name}")
        if array.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in array.flat):
            raise TypeError("found text")
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numeric; {advice}: {error}") from error


def check_finite_vector(values: Any, name: str) -> FloatArray:
    """Return ``values`` as a contiguous float64 vector (n,) without NaN and infinity."""
    array = _as_floats(values, name, "it could not be converted to floats")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, (n,); found shape {array.shape}")
    _check_finite(array, name)
    return np.ascontiguousarray(array)


def check_finite_matrix(values: Any, name: str) -> FloatArray:
    """Return ``values``, (n,) or (n, q), as a float64 matrix (n, q) without NaN and infinity."""
    array = _as_floats(values, name, "encode categories first, for example with fairdcov.SensitiveEncoder")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n,) or (n, q) with q >= 1; found shape {array.shape}")
    _check_finite(array, name)
    return array


def _check_finite(array: FloatArray, name: str) -> None:
    if not np.isfinite(array).all():
        n_nan = int(np.isnan(array).sum())
        n_infinite = int(np.isinf(array).sum())
        found = " and ".join(
            f"{count} {what}" for count, what in ((n_nan, "NaN"), (n_infinite, "infinite values")) if count
        )
        raise ValueError(f"{name} must be finite; found {found}")


def check_squarable(X: Any, name: str = "X") -> None:
    """Raise unless the columns of ``X``, an array or sparse matrix, have sums of squares within the range of floats."""
    values = X.data if hasattr(X, "tocsr") else X
    if values.size and max(abs(values.max()), abs(values.min())) > _LARGEST_SQUARABLE:
        largest = np.max(np.abs(X), axis=0)
        largest = np.ravel(largest.toarray() if hasattr(largest, "toarray") else largest)
        column = int(np.argmax(largest))
        raise ValueError(
            f"{name} has values too large to compute with: up to {largest[column]:.3g} in column {column}; scale the "
            f"features to at most {_LARGEST_SQUARABLE:g}"
        )


def check_consistent_rows(n_samples: int, other: Any, name: str, *, reference: str = "X") -> None:
    """Raise unless ``other`` has ``n_samples`` rows."""
    if len(other) != n_samples:
        raise ValueError(f"{name} must have as many rows as {reference}: found {len(other)} instead of {n_samples}")


def check_sample_weight(
    sample_weight: Any, n_samples: int, *, name: str = "sample_weight", reference: str = "X"
) -> FloatArray:
    """Return the weights as float64 (n,), all ones for None; negative, non-finite or all-zero weights raise.

    A single number stands for that weight on every row, as in scikit-learn. Weights whose sum has no square among
    floats raise as well: shares, weighted totals and effective numbers of rows would overflow or vanish.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    sample_weight = np.asarray(sample_weight)
    if np.ndim(sample_weight) != 1:
        # scikit-learn's wording, which its estimator checks expect
        raise ValueError(f"Sample weights must be 1D array or scalar; {name} has {np.ndim(sample_weight)} dimensions")
    weights = check_finite_vector(sample_weight, name)
    check_consistent_rows(n_samples, weights, name, reference=reference)
    if (weights < 0).any():
        raise ValueError(f"{name} must not be negative; found {int((weights < 0).sum())} negative values")
    if not weights.any():
        raise ValueError(f"{name} must not be all zero: no row would count")
    with np.errstate(over="ignore"):
        total = float(weights.sum())
    if not _LEAST_TOTAL <= total <= _LARGEST_TOTAL:
        raise ValueError(
            f"{name} must have a sum between {_LEAST_TOTAL:g} and {_LARGEST_TOTAL:g}; found {total:g}, with a largest "
            f"value of {weights.max():g}: give it in another unit"
        )
    return weights


def resolve_n_threads(n_threads: Any) -> int:
    """Return the number of threads to use: all processors this process may use for None, counted back for < 0.

    More than 1024 count as 1024; no result depends on the number.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_threads is None:
        # OpenMP allows a list, one number for each level of nesting.
        wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        return min(int(wanted), _MOST_THREADS) if wanted.isdecimal() and int(wanted) > 0 else available
    if isinstance(n_threads, bool) or not isinstance(n_threads, numbers.Integral) or n_threads == 0:
        raise ValueError(f"n_threads must be None or a whole number other than 0; found {n_threads!r}")
    return min(int(n_threads), _MOST_THREADS) if int(n_threads) > 0 else max(1, available + 1 + int(n_threads))
