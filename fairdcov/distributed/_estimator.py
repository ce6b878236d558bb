"""What the estimators on Dask collections share: the rows as they are read, the scheduler, predictions."""

from itertools import chain

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import check_finite_vector, import_optional
from fairdcov.distributed._partitions import read_partitions
from fairdcov.encoding import read_sensitive_columns

__all__ = ["DaskEstimator", "read_fit"]


def read_fit(estimator, X, y, sample_weight, sensitive_features, offset, *, persist=True):
    """Partitions of the arguments of a fit, checked: NaN and columns that differ raise an error with the partition.

    Parameters
    ----------
    estimator : PenalisedEstimator
        Knows which columns of X are protected, and what a target may be.
    X, y, sample_weight, sensitive_features, offset
        Dask collections, or None.
    persist : bool, default=True
        See :func:`read_partitions`.

    Returns
    -------
    Partitions
        With blocks of ``X``, ``y``, ``sample_weight``, ``sensitive_features`` and ``offset``.
    """
    rows = read_partitions(
        X=X, y=y, sample_weight=sample_weight, sensitive_features=sensitive_features, offset=offset, persist=persist
    )
    if estimator.sensitive_columns is not None:
        rows = rows.map(_split_columns, estimator.sensitive_columns, estimator.drop_sensitive_columns)
    described, levels = zip(*rows.compute(_describe, estimator._loss()), strict=True)
    for place, found in zip(rows.places(), described, strict=True):
        if found != described[0]:
            raise ValueError(
                f"X must have the same columns everywhere; {rows.places()[0]} has {_in_words(described[0])}, {place} "
                f"has {_in_words(found)}"
            )
    together = {name: list(dict.fromkeys(chain(*(found[name] for found in levels)))) for name in levels[0]}
    return rows if all(found == together for found in levels) else rows.map(_with_levels, together)


def _with_levels(block, levels):
    """A level that one partition alone knows is one in all of them, in the same place."""
    X = block["X"].copy(deep=False)
    for name, found in levels.items():
        X[name] = X[name].cat.set_categories(found)
    return {**block, "X": X}


def _split_columns(block, columns, drop):
    X, attributes = read_sensitive_columns(block["X"], block["sensitive_features"], columns, drop=drop)
    return {**block, "X": X, "sensitive_features": attributes}


def _describe(block, loss):
    """Columns of a block, and the levels of those that are categorical; what is wrong with its rows raises."""
    X, y, weights = block["X"], check_finite_vector(np.asarray(block["y"]), "y"), block["sample_weight"]
    if np.ndim(X) != 2:
        raise ValueError(f"X must have two dimensions; found {np.ndim(X)}")
    if weights is not None:
        weights = check_finite_vector(np.asarray(weights), "sample_weight")
        if (weights < 0).any():
            raise ValueError(f"sample_weight must not be negative; found {int((weights < 0).sum())} negative values")
        y = y[weights > 0]
    # That all targets are 0 is for all rows together to say.
    if loss.target_range != "binary" and loss.out_of_range(y).any():
        loss.check_target(y)
    if block["offset"] is not None and np.ndim(block["offset"]):
        check_finite_vector(np.asarray(block["offset"]), "offset")
    if hasattr(X, "columns"):
        levels = {name: list(column.cat.categories) for name, column in X.items() if hasattr(column, "cat")}
        return {str(name): str(dtype) for name, dtype in X.dtypes.items()}, levels
    return X.shape[1], {}


def _in_words(columns):
    if not isinstance(columns, dict):
        return f"{columns} columns"
    return ", ".join(f"{name} ({dtype})" for name, dtype in columns.items())


class DaskEstimator(BaseEstimator):
    """An estimator fitted on Dask collections; what is learnt is in ``estimator_``, and so are predictions."""

    def __init__(self, estimator):
        self.estimator = estimator

    def _copy(self):
        """A copy of the estimator for rows whose protected columns have been taken out."""
        return clone(self.estimator).set_params(sensitive_columns=None)

    def _keep(self, model):
        """Take a fitted model as the result, with the parameters of the user."""
        self.estimator_ = model.set_params(**self.estimator.get_params(deep=False))

    def predict(self, X, offset=None):
        """Predict, partition by partition.

        Parameters
        ----------
        X : Dask DataFrame or Array, or in-memory rows, (n, p)
            Features as in ``fit``.
        offset : Dask Series or Array, or in-memory, (n,), or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n,) Dask Array or array
            What ``estimator_.predict`` returns, delayed for Dask collections.
        """
        return self._mapped("predict", X, offset)

    def _mapped(self, method, X, offset, n_columns=None):
        dask = import_optional("dask", type(self).__name__)
        check_is_fitted(self, "estimator_")
        if not dask.is_dask_collection(X):
            given = {} if offset is None else {"offset": offset}
            return getattr(self.estimator_, method)(X, **given)
        array = import_optional("dask.array", type(self).__name__)
        rows = read_partitions(X=X, offset=offset)
        parts = rows.tasks(_predict, self.estimator_, method)
        shapes = [(size,) if n_columns is None else (size, n_columns) for size in rows.sizes]
        classes = getattr(self.estimator_, "classes_", None)
        kind = np.float64 if classes is None or method != "predict" else classes.dtype
        return array.concatenate(
            [array.from_delayed(part, shape, kind) for part, shape in zip(parts, shapes, strict=True)]
        )


def _predict(block, model, method):
    given = {} if block["offset"] is None else {"offset": block["offset"]}
    if isinstance(given.get("offset"), pd.Series):
        given["offset"] = given["offset"].to_numpy()
    return np.asarray(getattr(model, method)(block["X"], **given))
