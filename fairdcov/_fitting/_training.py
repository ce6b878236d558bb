"""What every penalised estimator does with the input of ``fit``, whatever it then fits."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from fairdcov._checks import check_positive_number, check_sample_weight
from fairdcov.encoding import check_sensitive_features, read_sensitive_columns, select_rows, warn_about_order
from fairdcov.penalties import bind_penalty

__all__ = [
    "TrainingData",
    "check_strengths",
    "encode_binary_target",
    "fitted_clone",
    "read_training_data",
    "unchanged_on_error",
]

LEAST_PENALISED_ROWS = 4


@contextmanager
def unchanged_on_error(estimator):
    """Put the attributes of an estimator back when the block raises: no half-fitted estimators."""
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Checked rows of positive weight.

    Attributes
    ----------
    X : array, sparse matrix or DataFrame, (n, p)
        Features, as the estimator's ``validate`` returns them.
    y : (n,) float64 array
        Target; 0 and 1 for a classifier.
    weights : (n,) float64 array
        Positive row weights, as given.
    sensitive_features : DataFrame, Series, array or None
        Protected attributes.
    weighted : bool
        Whether a ``sample_weight`` was passed.
    keep : (m,) bool array
        Which rows of the input these are.
    """

    X: object
    y: np.ndarray
    weights: np.ndarray
    sensitive_features: object
    weighted: bool
    keep: np.ndarray

    @property
    def probabilities(self):
        """Row weights of sum 1, (n,)."""
        return self.weights / self.weights.sum()

    def bind(self, penalty, *, penalised, n_threads=None):
        """The penalty bound to these rows; None when it is not needed and there are no protected attributes."""
        if self.sensitive_features is None and not penalised:
            return None
        weights = self.weights if self.weighted else None
        return bind_penalty(penalty, self.sensitive_features, weights, n_threads=n_threads)


def read_training_data(estimator, X, y, sample_weight, sensitive_features, *, penalised, validate, encode_target=None):
    """Check the input of a fit and leave out the rows of weight 0.

    Parameters
    ----------
    estimator : estimator
        With ``sensitive_columns`` and ``drop_sensitive_columns``.
    X, y, sample_weight, sensitive_features
        As passed to ``fit``.
    penalised : bool
        Whether a penalty will be evaluated, which needs at least four rows.
    validate : callable
        ``validate(X, y, ensure_min_samples=...)`` returns the features and the target that the estimator takes.
    encode_target : callable, optional
        Turns the target into floats.

    Returns
    -------
    TrainingData
    """
    warn_about_order(X=X, y=y, sample_weight=sample_weight, sensitive_features=sensitive_features)
    X, sensitive_features = read_sensitive_columns(
        X, sensitive_features, estimator.sensitive_columns, drop=estimator.drop_sensitive_columns
    )
    X, y = validate(X, y, ensure_min_samples=LEAST_PENALISED_ROWS if penalised else 1)
    n_samples = X.shape[0]
    weights = check_sample_weight(sample_weight, n_samples)
    y = y.astype(np.float64, copy=False) if encode_target is None else encode_target(y)
    if sensitive_features is not None:
        check_sensitive_features(sensitive_features, n_samples)
    # Rows of weight 0 take no part in anything: neither in the loss nor in the penalty or its encoder.
    keep = weights > 0
    if penalised and keep.sum() < LEAST_PENALISED_ROWS:
        raise ValueError(
            f"a penalised fit needs at least {LEAST_PENALISED_ROWS} rows of positive sample_weight; found {keep.sum()}"
        )
    if not keep.all():
        X, y, weights = select_rows(X, keep), y[keep], weights[keep]
        if sensitive_features is not None:
            sensitive_features = select_rows(sensitive_features, keep)
    return TrainingData(X, y, weights, sensitive_features, sample_weight is not None, keep)


def check_strengths(strengths, name="strengths"):
    """Return strengths as floats, at least one and none negative, or raise."""
    strengths = [check_positive_number(strength, name, allow_zero=True) for strength in strengths]
    if not strengths:
        raise ValueError(f"{name} must have at least one value; found none")
    return strengths


def encode_binary_target(y):
    """Class labels, sorted, and the target as 0 and 1 for the first and the second.

    Parameters
    ----------
    y : (n,) array
        Labels of two classes.

    Returns
    -------
    classes : (2,) array
    target : (n,) float64 array

    Raises
    ------
    ValueError
        For one class, and for more than two.
    """
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind != "binary":
        raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(f"y must have two classes; found one class, {classes[0]!r}")
    return classes, (y == classes[1]).astype(np.float64)


def fitted_clone(estimator, strength, attributes):
    """A clone with another strength and with fitted attributes, beside what validation found out about X and y."""
    model = clone(estimator).set_params(strength=strength)
    learnt = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    model.__dict__.update(learnt, **attributes)
    return model
