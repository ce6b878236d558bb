"""What ``fit`` is given, checked before anything is computed."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable

from fairdcov._checks import check_consistent_rows, check_sample_weight
from fairdcov.calibration._data import count_rows
from fairdcov.calibration._groups import CalibrationGroups
from fairdcov.calibration._parameters import sensitive_columns_within
from fairdcov.encoding import check_sensitive_features, read_sensitive_columns, warn_about_order
from fairdcov.exceptions import MissingSensitiveFeaturesError

__all__ = ["read_input"]

# What an estimator of the package takes a value of each row of.
_PER_ROW = {"offset", "frequency_offset", "severity_offset", "claims"}


def read_input(calibrator, X, y, sample_weight, sensitive_features, control_features, fit_params):
    """X and y that rows can be taken from, the groups, and the weights or None."""
    if y is None:
        # scikit-learn's wording, which its estimator checks expect
        raise ValueError("JSDivergenceCalibrator requires y to be passed, but the target y is None")
    # What folds can be taken from: compressed rows of sparse matrices, and arrays of what only says how to be one.
    X, y = (indexable(data)[0] for data in (X, y))
    n_samples = count_rows(X)
    if n_samples == 0:
        raise ValueError("X must have at least one row; found 0")
    sensitive_features = _find_sensitive_features(calibrator.estimator, X, sensitive_features)
    warn_about_order(
        X=X,
        y=y,
        sample_weight=sample_weight,
        sensitive_features=sensitive_features,
        control_features=control_features,
    )
    check_sensitive_features(sensitive_features, n_samples)
    check_consistent_rows(n_samples, y, "y")
    for name in _PER_ROW & set(fit_params):
        if np.ndim(fit_params[name]):
            # In a fold they would be compared with its rows.
            check_consistent_rows(n_samples, fit_params[name], name)
    weights = None if sample_weight is None else check_sample_weight(sample_weight, n_samples)
    # Edges from all rows, so that every fold compares the same groups.
    groups = CalibrationGroups.read(
        sensitive_features,
        control_features,
        n_samples,
        weights,
        bins=calibrator.bins,
        control_bins=calibrator.control_bins,
    )
    return X, y, groups, weights


def _find_sensitive_features(estimator, X, sensitive_features):
    """The protected attributes: those given, or those that the estimator reads from X."""
    if sensitive_features is not None:
        return sensitive_features
    columns = sensitive_columns_within(estimator)
    # A position is one among the features of the last step, which are others than those of X.
    named = columns is not None and all(isinstance(column, str) for column in columns)
    if columns is not None and (named or not isinstance(estimator, Pipeline)):
        return read_sensitive_columns(X, None, columns)[1]
    raise MissingSensitiveFeaturesError(
        "JSDivergenceCalibrator needs sensitive_features to form groups: pass fit(..., sensitive_features=S)"
    )
