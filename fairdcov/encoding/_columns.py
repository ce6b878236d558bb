"""Protected attributes that come as columns of X: read for the penalty, kept from the features."""

import difflib
import numbers

import narwhals.stable.v2 as nw
import numpy as np

from fairdcov.encoding._rows import array_of_rows

__all__ = ["drop_sensitive_columns", "read_sensitive_columns"]


def read_sensitive_columns(X, sensitive_features, names, *, drop=True):
    """Features and protected attributes of a fit.

    Parameters
    ----------
    X : array or DataFrame, (n, p)
        Features, among them the columns ``names``.
    sensitive_features : DataFrame, Series, array or None
        What was passed beside X; with ``names`` there must be none.
    names : list of str or int, str, or None
        Columns of X that hold the protected attributes; None when they come beside X.
    drop : bool, default=True
        Whether these columns are no features.

    Returns
    -------
    X : array or DataFrame
        Features.
    sensitive_features : DataFrame, array or None
        Protected attributes.

    Raises
    ------
    ValueError
        For columns that X does not have, and for attributes both in X and beside it.
    """
    if names is None:
        return X, sensitive_features
    if sensitive_features is not None:
        raise ValueError(
            "sensitive_features were passed although sensitive_columns names columns of X: use one of the two"
        )
    given, names = names, _as_list(names)
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        for name in names:
            if name not in frame.columns:
                near = difflib.get_close_matches(str(name), [str(column) for column in frame.columns], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"sensitive_columns names {name!r}, which is not a column of X{hint}")
        sensitive = frame.select(*map(nw.col, names)).to_native()
        return (frame.drop(names).to_native() if drop else X), sensitive
    if any(isinstance(name, str) for name in names):
        raise ValueError(
            f"sensitive_columns={given!r} needs X as a DataFrame; found {type(X).__name__}: give column positions, or "
            "let the step before return a DataFrame with set_output(transform='pandas')"
        )
    array = array_of_rows(X, "X")
    if array.ndim != 2 or not all(isinstance(i, numbers.Integral) and 0 <= i < array.shape[1] for i in names):
        raise ValueError(f"sensitive_columns={names} are not column positions of X with shape {array.shape}")
    return (np.delete(array, names, axis=1) if drop else X), array[:, names]


def drop_sensitive_columns(X, names, n_features):
    """X for a prediction of a model with ``n_features``: without the columns ``names``, which may be there or not."""
    if names is None:
        return X
    names = _as_list(names)
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        present = [name for name in names if name in frame.columns]
        return frame.drop(present).to_native() if present else X
    if getattr(X, "ndim", 0) == 2 and X.shape[1] == n_features + len(names):
        return np.delete(np.asarray(X), names, axis=1)
    return X


def _as_list(names):
    return [names] if isinstance(names, str) else list(names)
