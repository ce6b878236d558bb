"""Features with further columns: protected attributes as features, and rows in whatever frame they came in."""

from copy import copy

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

__all__ = ["PreparedRows", "ProtectedColumns", "validate_features", "with_columns"]


class ProtectedColumns:
    """Protected attributes as numbers to be features: an indicator for each level but the first, numbers as they are.

    Levels are those of the rows of positive weight; a row of another one, which has no weight, has no indicator.
    """

    def __init__(self, attributes, counted):
        self.names, columns, categorical, self._levels = [], [], [], {}
        for name, column in attributes.columns.items():
            label = "_".join(name.split())
            if column.numeric:
                self.names.append(label)
                columns.append(np.asarray(column.values, dtype=np.float64))
                categorical.append(False)
                continue
            codes, levels = column.level_codes()
            used = np.unique(codes[counted]).tolist()
            if column.declared is None:
                used.sort(key=lambda code, levels=levels: str(levels[code]))
            position = np.zeros(len(levels), dtype=np.int64)
            position[used] = np.arange(len(used))
            self._levels[name] = [levels[code] for code in used], position[codes]
            for k, code in enumerate(used[1:], start=1):
                self.names.append(f"{label}_{k}")
                columns.append((codes == code).astype(np.float64))
                categorical.append(True)
        self.table = np.column_stack(columns) if columns else np.zeros((len(attributes), 0))
        self._categorical = np.array(categorical, dtype=bool)
        self._attributes = attributes

    def encode(self, attributes):
        """The same columns for other rows, (n, m); a level that was not there has no indicator."""
        columns = []
        for name, column in attributes.columns.items():
            if column.numeric:
                columns.append(np.asarray(column.values, dtype=np.float64))
                continue
            codes, levels = column.level_codes()
            position = {level: code for code, level in enumerate(levels)}
            columns += [(codes == position.get(level, -1)).astype(np.float64) for level in self._levels[name][0][1:]]
        return np.column_stack(columns) if columns else np.zeros((len(attributes), 0))

    def without_rows(self):
        """The same without the rows, for a fitted model."""
        kept = copy(self)
        kept.table = kept._attributes = None
        kept._levels = {name: (levels, None) for name, (levels, _) in self._levels.items()}
        return kept

    def profiles(self, weights, most):
        """Distinct rows (K, m), their shares (K,) of the weight, and a row of the data (K,) that has each.

        Beyond ``most`` a systematic sample: the rows in order, categories first, at equal steps of weight.
        """
        counted = np.flatnonzero(weights > 0)
        order = np.argsort(~self._categorical, kind="stable")
        distinct, first, inverse = np.unique(
            self.table[counted][:, order], axis=0, return_index=True, return_inverse=True
        )
        shares = np.bincount(inverse.ravel(), weights[counted], len(distinct))
        shares /= shares.sum()
        rows = counted[first]
        if len(rows) > most:
            reached = np.cumsum(shares)
            steps = (np.arange(most) + 0.5) / most
            chosen, times = np.unique(np.searchsorted(reached, steps * reached[-1]), return_counts=True)
            rows, shares = rows[chosen], times / most
        return self.table[rows], shares, rows

    def described(self, rows):
        """The attributes of some rows, as a table of levels and numbers."""
        found = {}
        for name, column in self._attributes.columns.items():
            if column.numeric:
                found[name] = np.asarray(column.values, dtype=np.float64)[rows]
            else:
                levels, codes = self._levels[name]
                found[name] = [levels[code] for code in codes[rows]]
        return pd.DataFrame(found)


def frame_of(X):
    """X as a frame of narwhals, or None for what is none, or has names that are no text."""
    if isinstance(X, pd.DataFrame) and not all(isinstance(name, str) for name in X.columns):
        return None
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def with_columns(X, names, table, *, keep=True):
    """X with further columns, or (not ``keep``) these alone: a table (n, m), or one row (m,) for all."""
    table = np.broadcast_to(table, (X.shape[0], len(names)))
    frame = frame_of(X)
    if frame is not None:
        if frame.implementation is nw.Implementation.PANDAS:
            # Side by side whatever the labels of the rows.
            added = pd.DataFrame(table, columns=list(names), index=frame.to_native().index)
            return pd.concat([frame.to_native(), added], axis="columns") if keep else added
        added = [
            nw.new_series(name, np.ascontiguousarray(column), backend=frame.implementation)
            for name, column in zip(names, table.T, strict=True)
        ]
        together = frame.with_columns(*added)
        return (together if keep else together.select(*names)).to_native()
    if not keep:
        return np.array(table)
    if sp.issparse(X):
        return sp.hstack([X, sp.csr_array(table) if isinstance(X, sp.sparray) else sp.csr_matrix(table)], format="csr")
    return np.column_stack([X, table])


class PreparedRows:
    """Rows whose ingredients are known, for models that share them.

    Attributes
    ----------
    content : object
        What the models predict from.
    shape : tuple
        Of the number of rows.
    """

    def __init__(self, content, n_samples):
        self.content = content
        self.shape = (n_samples,)

    def __len__(self):
        return self.shape[0]


def validate_features(estimator, X, *, reset):
    """Features as an estimator hands them on: frames as they are, all else as a matrix."""
    if frame_of(X) is not None:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if X.shape[0] == 0:
            raise ValueError("X must have at least one row; found 0")
        return X
    return validate_data(estimator, X, reset=reset, dtype=None, accept_sparse="csr", ensure_all_finite=False)
