"""What every penalised estimator does with the input of ``fit``, whatever it then fits."""

import numbers
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import clone, is_regressor
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from fairdcov._checks import check_consistent_rows, check_finite_vector, check_sample_weight, warn_user
from fairdcov.encoding import check_sensitive_features, read_sensitive_columns, select_rows, warn_about_order
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.penalties import bind_penalty, resolve_penalty

__all__ = [
    "TrainingData",
    "check_offset",
    "encode_binary_target",
    "read_evaluation_data",
    "read_training_data",
    "warn_of_offset",
]

LEAST_PENALISED_ROWS = 4
_NAMES = ("X", "y", "sample_weight", "sensitive_features", "control_features", "offset")
# Between two rows, of an offset on a logarithmic or logistic scale: a factor of 1e13.
_WIDEST_OFFSET = 30.0
# By which the logarithms of weights differ at least, and an offset from them at most, where it is taken for them.
_SAME_OFFSET = 1e-6
_EVALUATION_NAMES = (
    "X of eval_set",
    "y of eval_set",
    "eval_sample_weight",
    "eval_sensitive_features",
    "eval_control_features",
    "eval_offset",
)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Checked rows of positive weight.

    Attributes
    ----------
    X : array, sparse matrix or DataFrame, (n, p)
        Features, as the estimator's ``_validate`` returns them.
    y : (n,) float64 array
        Target; 0 and 1 for a classifier.
    weights : (n,) float64 array
        Positive row weights, as given.
    sensitive_features : DataFrame, Series, array or None
        Protected attributes.
    weighted : bool
        Whether a ``sample_weight`` was passed.
    control_features : DataFrame, Series, array or None
        What the penalty conditions on.
    offset : (n,) float64 array or None
        Known part of the raw predictions.
    shared_weight : float or None
        Sum of the weights of all processes that share the rows; None where all rows are here.
    """

    X: object
    y: np.ndarray
    weights: np.ndarray
    sensitive_features: object
    weighted: bool
    control_features: object = None
    offset: np.ndarray | None = None
    shared_weight: float | None = None

    @property
    def total_weight(self):
        """Sum of the weights of all rows, those of other processes too."""
        return self.weights.sum() if self.shared_weight is None else self.shared_weight

    @property
    def probabilities(self):
        """Row weights, of sum 1 over all rows, (n,)."""
        return self.weights / self.total_weight

    def part(self, keep):
        """Some of the rows, by a mask."""
        people = {"sensitive_features": self.sensitive_features, "control_features": self.control_features}
        people = {name: None if columns is None else select_rows(columns, keep) for name, columns in people.items()}
        return replace(
            self,
            X=select_rows(self.X, keep),
            y=self.y[keep],
            weights=self.weights[keep],
            offset=None if self.offset is None else self.offset[keep],
            **people,
        )

    def bind(self, penalty, *, penalised, n_threads=None, reduction=None):
        """The penalty bound to these rows; None when it is not needed and there are no protected attributes.

        With a ``reduction`` the rows are those of one process of several, and the penalty goes by the grid.
        """
        if self.sensitive_features is None and not penalised:
            return None
        if reduction is not None:
            penalty = resolve_penalty(penalty)
            if getattr(penalty, "method", None) == "auto":
                penalty = clone(penalty).set_params(method="grid")
        weights = self.weights if self.weighted else None
        return bind_penalty(
            penalty,
            self.sensitive_features,
            weights,
            n_threads=n_threads,
            control_features=self.control_features,
            reduction=reduction,
        )


def check_offset(offset, n_samples, *, name="offset", reference="X", X=None):
    """Return an offset as float64 (n,); a number stands for that offset on every row.

    Parameters
    ----------
    offset : (n,) array or float
        Known part of raw predictions.
    n_samples : int
        Number of rows.
    name, reference : str
        Of the argument and of what gives the number of rows, for errors.
    X : DataFrame or array, optional
        Features of the same rows; a warning says where their labels are in another order.

    Returns
    -------
    (n,) float64 array

    Raises
    ------
    ValueError
        For values that are not finite (the logarithm of 0 is not), matrices and another number of rows.
    """
    if X is not None:
        warn_about_order(X=X, **{name: offset})
    if isinstance(offset, numbers.Real) and not isinstance(offset, bool | np.bool_):
        offset = np.full(n_samples, float(offset))
    if np.ndim(offset) != 1:
        raise ValueError(
            f"{name} must have one dimension, (n,), or be a number; found shape {np.shape(offset)}: take a column of "
            "it, on the link scale"
        )
    offset = check_finite_vector(offset, name)
    check_consistent_rows(n_samples, offset, name, reference=reference)
    return offset


def warn_of_offset(offset, weights, loss, *, name="offset"):
    """Warn of an offset that fits without an error and is on another scale than that of the link, or counts twice.

    Parameters
    ----------
    offset, weights : (n,) array
        Checked, of rows of positive weight.
    loss : PointwiseLoss
        Loss with the link.
    name : str
        Of the argument.
    """
    if loss.link == "identity":
        return
    low, high = offset.min(), offset.max()
    if high - low > _WIDEST_OFFSET:
        warn_user(
            f"{name} runs from {low:.6g} to {high:.6g}, a factor of 1e{(high - low) / np.log(10):.0f} between rows: it "
            f"has to be on the scale of the {loss.link} link, such as the logarithm of a base rate",
            UserWarning,
        )
        return
    spread = np.ptp(np.log(weights))
    if loss.link == "log" and spread > _SAME_OFFSET and np.ptp(offset - np.log(weights)) <= _SAME_OFFSET * spread:
        warn_user(
            f"{name} is the logarithm of sample_weight: where y is per unit of exposure, that counts the exposure "
            "twice; leave the offset out, or sample_weight where y is not divided by it",
            UserWarning,
        )


def read_training_data(
    estimator,
    X,
    y,
    sample_weight,
    sensitive_features,
    loss,
    *,
    penalised,
    control_features=None,
    offset=None,
    beside=None,
):
    """Check the input of a fit and leave out the rows of weight 0.

    Parameters
    ----------
    estimator : PenalisedEstimator
        Estimator; it learns the number and names of features, the classes, and whether there is an offset.
    X, y, sample_weight, sensitive_features, control_features, offset
        As passed to ``fit``.
    loss : PointwiseLoss
        Loss that the target is checked by.
    penalised : bool
        Whether a penalty will be evaluated, which needs at least four rows.
    beside : dict of str to array, optional
        Further arguments with a value for each row, by name: whether their rows are labelled in the same order.

    Returns
    -------
    TrainingData
    """
    least = LEAST_PENALISED_ROWS if penalised else 1
    given = (X, y, sample_weight, sensitive_features, control_features, offset)
    data = _read_rows(estimator, given, _NAMES, least, beside)
    estimator.fitted_with_offset_ = offset is not None
    if len(data.y) < least:
        raise ValueError(f"a penalised fit needs at least {least} rows of positive sample_weight; found {len(data.y)}")
    loss.check_target(data.y)
    if data.offset is not None:
        warn_of_offset(data.offset, data.weights, loss)
    return data


def read_evaluation_data(
    estimator,
    eval_set,
    sample_weight,
    sensitive_features,
    loss,
    *,
    penalised,
    control_features=None,
    conditional=False,
    offset=None,
):
    """Check the rows to watch that were passed to ``fit``; None without any.

    Parameters
    ----------
    estimator : PenalisedEstimator
        Estimator that has learnt what the training rows look like.
    eval_set : tuple (X, y), or list of one, or None
        Features and target.
    sample_weight, sensitive_features, control_features, offset : optional
        Theirs, each as it is or in a list of one, as LightGBM and XGBoost take weights.
    loss : PointwiseLoss
        Loss that the target is checked by.
    penalised : bool
        Whether their penalty will be evaluated.
    conditional : bool
        Whether the fit has control features.

    Returns
    -------
    TrainingData or None
    """
    if eval_set is None:
        if any(given is not None for given in (sample_weight, sensitive_features, control_features, offset)):
            raise ValueError(
                "eval_sample_weight, eval_sensitive_features, eval_control_features and eval_offset need an eval_set; "
                "found none"
            )
        return None
    pair = eval_set
    if isinstance(eval_set, list) and len(eval_set) == 1:
        pair = tuple(eval_set[0]) if isinstance(eval_set[0], list) else eval_set[0]
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(f"eval_set must be one pair (X, y), or a list of one; found {type(eval_set).__name__}")
    sample_weight, sensitive_features = _only(sample_weight), _only(sensitive_features)
    control_features, offset = _only(control_features), _only(offset)
    if estimator.fitted_with_offset_ != (offset is not None):
        found = "the fit has an offset and the eval_set has none: pass eval_offset"
        if not estimator.fitted_with_offset_:
            found = "the eval_set has an eval_offset and the fit has no offset: pass one"
        raise ValueError(f"{found}, so that both are predicted alike")
    if penalised and sensitive_features is None and estimator.sensitive_columns is None:
        raise MissingSensitiveFeaturesError(
            "eval_set needs protected attributes of its own when strength > 0: pass eval_sensitive_features, or leave "
            "eval_set out"
        )
    watched = penalised or sensitive_features is not None
    if watched and conditional != (control_features is not None):
        found = "the fit has control_features and the eval_set has none: pass eval_control_features"
        if not conditional:
            found = "the eval_set has eval_control_features and the fit has no control_features: pass them"
        raise ValueError(f"{found}, so that both penalties are of one kind")
    try:
        given = (*pair, sample_weight, sensitive_features, control_features, offset)
        data = _read_rows(estimator, given, _EVALUATION_NAMES, 1)
        if is_regressor(estimator):
            loss.check_target(data.y)
    except ValueError as error:
        raise type(error)(f"eval_set: {error}") from error
    return data


def _only(values):
    """The entry of a list of one entry that holds rows itself; anything else as it is."""
    return values[0] if isinstance(values, list) and len(values) == 1 and np.ndim(values[0]) else values


def _read_rows(estimator, given, names, least, beside=None):
    warn_about_order(**dict(zip(names, given, strict=True)), **(beside or {}))
    X, y, sample_weight, sensitive_features, control_features, offset = given
    X, sensitive_features = read_sensitive_columns(
        X, sensitive_features, estimator.sensitive_columns, drop=estimator.drop_sensitive_columns
    )
    first = names is _NAMES
    X, y = estimator._validate(X, y, ensure_min_samples=least, reset=first)
    n_samples = X.shape[0]
    weights = check_sample_weight(sample_weight, n_samples, name=names[2], reference=names[0])
    y = estimator._encode_target(y) if first else estimator._encode_known_target(y)
    if sensitive_features is not None:
        check_sensitive_features(sensitive_features, n_samples, reference=names[0])
    if control_features is not None:
        if not hasattr(control_features, "__len__"):
            raise TypeError(
                f"{names[4]} must be a DataFrame, a Series or an array; found a {type(control_features).__name__}"
            )
        check_consistent_rows(n_samples, control_features, names[4], reference=names[0])
    if offset is not None:
        offset = check_offset(offset, n_samples, name=names[5], reference=names[0])
    data = TrainingData(X, y, weights, sensitive_features, sample_weight is not None, control_features, offset)
    # Rows of weight 0 take no part in anything: neither in the loss nor in the penalty or its encoder.
    return data if weights.all() else data.part(weights > 0)


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
