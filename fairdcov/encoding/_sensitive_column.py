"""Protected attributes as the user passed them to named columns with their rules."""

import numbers
from copy import copy

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp

from fairdcov.encoding._blocks import factorise, present_codes
from fairdcov.encoding._rows import array_of_rows, warn_of_attributes
from fairdcov.exceptions import MissingSensitiveFeaturesError

__all__ = ["SensitiveColumn", "column_named", "read_columns", "sensitive_columns_of"]

# Text that is all numbers is worth a remark beyond so many levels: codes of categories are few, measurements many.
_MANY_NUMBERS = 20


def sensitive_columns_of(sensitive_features):
    """Named columns of protected attributes.

    Parameters
    ----------
    sensitive_features : DataFrame, Series or array, (n,) or (n, d)
        pandas, polars or another eager frame that narwhals knows, a list of values or of rows, or anything NumPy makes
        an array of.

    Returns
    -------
    dict of str to column
        narwhals Series for frames, NumPy vectors for arrays and lists (named ``"sensitive feature 0"`` and so on).
    """
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("sensitive_features is needed here; found None")
    if sp.issparse(sensitive_features):
        raise TypeError("sensitive_features must be dense; found a sparse matrix: make it dense with toarray()")
    try:
        native = nw.from_native(sensitive_features, eager_only=True, allow_series=True, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        raise ValueError(f"sensitive_features must have distinct column names: {error}") from error
    if isinstance(native, nw.Series):
        return {str(native.name) if native.name is not None else "sensitive feature": native}
    if isinstance(native, nw.DataFrame):
        columns = {str(column.name): column for column in native.iter_columns()}
        if len(columns) < len(native.columns):
            raise ValueError(f"sensitive_features must have distinct column names as text; found {native.columns}")
    else:
        array = array_of_rows(sensitive_features)
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2:
            raise ValueError(
                f"sensitive_features must have shape (n,) or (n, d) with d >= 1; found shape {array.shape}"
            )
        columns = {f"sensitive feature {position}": column for position, column in enumerate(array.T)}
    if not columns:
        raise ValueError("sensitive_features must have at least one column; found none")
    return columns


def read_columns(sensitive_features):
    """Protected attributes as :class:`SensitiveColumn` under their names; arguments as :func:`sensitive_columns_of`."""
    # Arrays of text with several columns have made text of everything that stood in them beside text.
    rows = sensitive_features
    if isinstance(rows, list | tuple) and len(rows):
        rows = rows[0]
    packed = isinstance(rows, np.ndarray) and rows.dtype.kind in "US" and rows.ndim > 0 and rows.shape[-1] > 1
    if rows is sensitive_features:
        packed = packed and rows.ndim == 2
    return {
        name: SensitiveColumn(name, column, most_numbers=2 if packed else _MANY_NUMBERS)
        for name, column in sensitive_columns_of(sensitive_features).items()
    }


def column_named(key, names, argument):
    """The one of ``names`` that a key of ``argument`` stands for: a name, a name that is no text, or a position."""
    by_name = str(key) if str(key) in names else None
    if isinstance(key, str) or not isinstance(key, numbers.Integral) or isinstance(key, bool):
        by_position = None
    else:
        by_position = names[key] if 0 <= key < len(names) else None
    if by_name is None and by_position is None:
        raise ValueError(f"{argument} names {key!r}; the protected attributes are {names}")
    if None not in (by_name, by_position) and by_name != by_position:
        raise ValueError(
            f"{argument} names {key!r}, which is both the column {by_name!r} and the position of {by_position!r}: give "
            f"the name as text, {str(key)!r} or {by_position!r}"
        )
    return by_position if by_name is None else by_name


class SensitiveColumn:
    """One attribute as plain values: numbers for continuous ones, anything hashable for categories."""

    def __init__(self, name, column, most_numbers=_MANY_NUMBERS):
        self.name = name
        self.most_numbers = most_numbers
        self.declared = None
        self.codes = None
        self.numeric = False
        self._distinct = None
        if isinstance(column, nw.Series):
            self._read_series(column)
        else:
            self._read_array(np.asarray(column))

    def _read_series(self, column):
        dtype = column.dtype
        if isinstance(dtype, nw.Categorical | nw.Enum):
            native = column.to_native()
            if isinstance(native, pd.Series):
                self._read_codes(native.cat.codes.to_numpy(), native.cat.categories.to_numpy())
                return
            values = _values_of(column.cast(nw.String))
            if isinstance(dtype, nw.Enum):
                categories = _values_of(column.cat.get_categories())
                self._read_codes(pd.Index(categories).get_indexer(values), categories)
            else:
                self._read_array(values)
        elif dtype.is_temporal():
            self._reject_dates(dtype)
        elif column.null_count():
            self._reject_missing(column.null_count())
        else:
            self._read_array(_values_of(column))

    def _read_codes(self, codes, categories):
        if (codes < 0).any():
            self._reject_missing(int((codes < 0).sum()))
        self.codes, self.declared = codes, categories.tolist()

    def _read_array(self, values):
        if values.dtype.kind in "mM":
            self._reject_dates(values.dtype)
        if values.dtype.kind == "c":
            raise ValueError(f"sensitive_features column {self.name!r} must hold real values; found complex numbers")
        self.numeric = values.dtype.kind in "fiu"
        if values.dtype.kind == "O":
            values = self._read_objects(values)
        if self.numeric:
            values = values.astype(np.float64)
            if not np.isfinite(values).all():
                self._reject_missing(int((~np.isfinite(values)).sum()), "NaN or infinite")
        self.values = values

    def _read_objects(self, values):
        missing = int(pd.isna(values).sum())
        if missing:
            self._reject_missing(missing)
        kind = pd.api.types.infer_dtype(values, skipna=False)
        if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
            self.numeric = True
        elif kind.startswith(("date", "time", "period")):
            self._reject_dates(kind)
        elif kind not in ("string", "boolean", "categorical", "bytes"):
            types = sorted({type(value).__name__ for value in values})
            raise TypeError(
                f"sensitive_features column {self.name!r} mixes types ({', '.join(types)}): convert it to text, to "
                "numbers or to a categorical dtype, so that equal categories are equal values"
            )
        return values

    def _reject_missing(self, count, what="missing"):
        raise ValueError(
            f"sensitive_features column {self.name!r} has {count} {what} value(s): NaN is not a group; drop the "
            "rows or give them a category of their own"
        )

    def _reject_dates(self, dtype):
        raise TypeError(
            f"sensitive_features column {self.name!r} holds dates ({dtype}): convert it to a number, such as an age in "
            "years, or to categories"
        )

    def __len__(self):
        return len(self.codes if self.codes is not None else self.values)

    @property
    def categorical(self):
        """Whether the column is a category by its own type."""
        return not self.numeric

    def warn_of_numbers_as_text(self):
        """Remark on text of many levels that are all numbers: whoever meant a measurement gets a nominal attribute."""
        if self.numeric or self.declared is not None:
            return
        levels = self.level_codes()[1]
        if len(levels) > self.most_numbers and all(_is_number_as_text(level) for level in levels):
            warn_of_attributes(
                f"sensitive_features column {self.name!r} holds numbers as text (such as {min(levels)!r}) and is read "
                f"as nominal with {len(levels)} levels, each as far from the next as from any other: convert it to "
                "numbers, or to a categorical dtype if these are labels"
            )

    def warn_of_unused_levels(self):
        """Remark on declared levels that no row has, where they change distances: two levels in use are then 3."""
        if self.declared is None or len(self.declared) < 3:
            return
        used = np.unique(self.codes)
        if len(used) != 2:
            return
        unused = [level for position, level in enumerate(self.declared) if position not in used]
        listed = ", ".join(repr(level) for level in unused[:5]) + (", ..." if len(unused) > 5 else "")
        warn_of_attributes(
            f"sensitive_features column {self.name!r} declares level(s) that no row has, {listed}: they count, so that "
            f"its two levels in use are sqrt(2) apart instead of 1. Drop them by remove_unused_categories() (pandas) "
            "or a cast to text, unless these rows are a part of data that has them"
        )

    def rows(self, keep):
        """The same column with some rows only; distinct values that have been found are not looked for again."""
        part = copy(self)
        if self.codes is not None:
            part.codes = self.codes[keep]
            return part
        part.values = self.values[keep]
        if self._distinct is not None:
            codes, values = self._distinct
            codes, present = present_codes(codes[keep], len(values))
            part._distinct = codes, values[present]
        return part

    def distinct(self):
        """Codes of the rows and the array of the values that they stand for, in no order that means anything."""
        if self._distinct is None:
            codes, first_rows = factorise(self.values)
            self._distinct = codes, self.values[first_rows]
        return self._distinct

    def level_codes(self):
        """Codes of the rows and the list of the values that the codes stand for."""
        if self.codes is not None:
            return self.codes.astype(np.int64), self.declared
        codes, values = self.distinct()
        return codes, values.tolist()


def _values_of(column):
    """Values of a narwhals series; text by the library's own conversion, since NumPy's text ends before a final NUL."""
    return column.to_native().to_numpy() if column.dtype == nw.String else column.to_numpy()


def _is_number_as_text(level):
    if not isinstance(level, str | bytes):
        return False
    try:
        float(level)
    except ValueError:
        return False
    return True
