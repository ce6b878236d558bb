"""Protected attributes of any type to points in Euclidean space, one block of coordinates for each attribute."""

import numbers
from copy import copy

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fairdcov._blocks import SensitiveBlocks, factorise
from fairdcov._range import without_exponent
from fairdcov._rows import array_of_rows, warn_of_attributes
from fairdcov._validation import check_choice, check_consistent_rows, check_sample_weight
from fairdcov.exceptions import MissingSensitiveFeaturesError

__all__ = [
    "SensitiveColumn",
    "SensitiveEncoder",
    "check_sensitive_features",
    "column_named",
    "read_columns",
    "select_rows",
    "sensitive_columns_of",
]

# Text that is all numbers is worth a remark beyond so many levels: codes of categories are few, measurements many.
_MANY_NUMBERS = 20
# A nominal attribute of more levels than this is hardly meant as one: it is slow, and few rows share a level.
_MANY_LEVELS = 1000


def check_sensitive_features(sensitive_features, n_samples, *, reference="X"):
    """Raise unless protected attributes have a type that can be sliced into folds, and ``n_samples`` rows."""
    if isinstance(sensitive_features, dict):
        raise TypeError(
            "sensitive_features must be a DataFrame, a Series or an array; found a dict, which scikit-learn's searches "
            "cannot slice into folds: pass pandas.DataFrame(sensitive_features)"
        )
    if isinstance(sensitive_features, list | tuple) and len(sensitive_features) != n_samples:
        first = sensitive_features[0] if sensitive_features else None
        if not isinstance(first, str | bytes) and hasattr(first, "__len__") and len(first) == n_samples:
            raise ValueError(
                f"sensitive_features must be rows; found {len(sensitive_features)} columns of {n_samples} values: pass "
                "a pandas.DataFrame of them, or list(zip(...))"
            )
    check_consistent_rows(n_samples, sensitive_features, "sensitive_features", reference=reference)


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


def check_encoder(encoder):
    """Raise unless an ``encoder`` given by the user is one."""
    if not hasattr(encoder, "fit_encode"):
        raise TypeError(f"encoder must be None or a fairdcov.SensitiveEncoder; found {encoder!r}")


def select_rows(data, keep):
    """Rows of a frame, matrix, vector or list by a boolean mask, in the type they came in."""
    frame = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.DataFrame | nw.Series):
        return frame.filter(keep.tolist()).to_native()
    return data[keep] if sp.issparse(data) else array_of_rows(data)[keep]


class SensitiveColumn:
    """One attribute as plain values: numbers for continuous ones, anything hashable for categories."""

    def __init__(self, name, column, most_numbers=_MANY_NUMBERS):
        self.name = name
        self.most_numbers = most_numbers
        self.declared = None
        self.codes = None
        self.numeric = False
        self._level_codes = None
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
            values = column.cast(nw.String).to_numpy()
            if isinstance(dtype, nw.Enum):
                categories = column.cat.get_categories().to_numpy()
                self._read_codes(pd.Index(categories).get_indexer(values), categories)
            else:
                self._read_array(values)
        elif dtype.is_temporal():
            self._reject_dates(dtype)
        elif column.null_count():
            self._reject_missing(column.null_count())
        else:
            self._read_array(column.to_numpy())

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

    def subset(self, keep):
        """The same column with some rows only."""
        part = copy(self)
        part._level_codes = None
        if self.codes is not None:
            part.codes = self.codes[keep]
        else:
            part.values = self.values[keep]
        return part

    def level_codes(self):
        """Codes of the rows and the values that the codes stand for."""
        if self.codes is not None:
            return self.codes.astype(np.int64), self.declared
        if self._level_codes is None:
            codes, first_rows = factorise(self.values)
            self._level_codes = codes, self.values[first_rows].tolist()
        return self._level_codes


def _is_number_as_text(level):
    if not isinstance(level, str | bytes):
        return False
    try:
        float(level)
    except ValueError:
        return False
    return True


class _CategoricalCoder:
    """Levels of a nominal attribute: one 0/1 column for two of them, one column each for more."""

    def __init__(self, column):
        if column.declared is not None:
            self.levels = list(column.declared)
        else:
            _, found = column.level_codes()
            self.levels = sorted(found)
        self.n_coordinates = len(self.levels) if len(self.levels) > 2 else 1

    def codes(self, column):
        """Position of each row's level among the fitted ones."""
        codes, found = column.level_codes()
        positions = {level: position for position, level in enumerate(self.levels)}
        present = np.flatnonzero(np.bincount(codes, minlength=len(found)))
        unknown = [found[code] for code in present if found[code] not in positions]
        if unknown:
            listed = ", ".join(repr(level) for level in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
            raise ValueError(
                f"sensitive_features column {column.name!r} has level(s) {listed} that were not there when the encoder "
                "was fitted: declare all levels by a categorical dtype"
            )
        return np.array([positions.get(level, -1) for level in found], dtype=np.int64)[codes]

    def points(self, column, codes, rows=slice(None)):
        """Coordinates of some rows."""
        codes = codes[rows]
        if self.n_coordinates == 1:
            return codes[:, None].astype(np.float64)
        coordinates = np.zeros((len(codes), self.n_coordinates))
        coordinates[np.arange(len(codes)), codes] = 1.0
        return coordinates

    def names(self, name):
        """Names of the coordinates."""
        return [f"{name}_{level}" for level in (self.levels if len(self.levels) > 2 else self.levels[-1:])]


class _ContinuousCoder:
    """Shift and scale of a continuous attribute."""

    n_coordinates = 1

    def __init__(self, column, scaling, weights):
        # Numbers whose range or squares no float holds are first divided by a power of two, which rounds nothing.
        values, self.exponent = without_exponent(column.values) if scaling is not None else (column.values, 0)
        self.shift, self.scale = 0.0, 1.0
        if scaling == "minmax":
            self.shift, self.scale = float(values.min()), float(values.max() - values.min())
        elif scaling == "standard":
            self.shift = float(np.average(values, weights=weights))
            self.scale = float(np.sqrt(np.average((values - self.shift) ** 2, weights=weights)))
        if not self.scale > 0:
            self.scale = 1.0

    def codes(self, column):
        """Codes of the distinct values."""
        return factorise(column.values)[0]

    def points(self, column, codes, rows=slice(None)):
        """Coordinates of some rows."""
        return ((np.ldexp(column.values[rows], -self.exponent) - self.shift) / self.scale)[:, None]

    def names(self, name):
        """Names of the coordinates."""
        return [name]


class SensitiveEncoder(TransformerMixin, BaseEstimator):
    """Encode protected attributes of mixed type as points whose distances the dependence measures use.

    A nominal attribute with more than two levels becomes one 0/1 column for each level (distance sqrt(2) between
    levels, whatever their names), a binary one a single 0/1 column (distance 1), a continuous one a scaled column.

    Parameters
    ----------
    categorical_features : "from_dtype", "all", or list of column names or positions, default="from_dtype"
        Which attributes are nominal. ``"from_dtype"`` takes text, boolean and categorical dtypes; numbers are then
        continuous, so name numeric codes (such as a region number) here.
    continuous_scaling : {"minmax", "standard", None}, default="minmax"
        Scale continuous attributes to [0, 1], to (weighted) standard deviation 1, or leave them as they are. The scale
        sets how much an attribute counts beside the others.

    Attributes
    ----------
    attributes_ : list of str
        Names of the attributes, one block each.
    kinds_ : dict of str to {"categorical", "continuous"}
        How each attribute was read.
    n_features_in_ : int
        Number of attributes.
    feature_names_in_ : (d,) array of str
        Names of the attributes, where the input had names.

    Notes
    -----
    The levels of a categorical dtype count as levels even when no row has them, so that folds and subsets keep the
    same geometry.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov import SensitiveEncoder
    >>> people = pd.DataFrame({"gender": ["f", "m", "f"], "region": ["n", "s", "w"], "age": [20, 30, 60]})
    >>> encoder = SensitiveEncoder().fit(people)
    >>> encoder.get_feature_names_out().tolist()
    ['gender_m', 'region_n', 'region_s', 'region_w', 'age']
    >>> encoder.transform(people)
    array([[0.  , 1.  , 0.  , 0.  , 0.  ],
           [1.  , 0.  , 1.  , 0.  , 0.25],
           [0.  , 0.  , 0.  , 1.  , 1.  ]])
    """

    __metadata_request__fit = {"sample_weight": True}  # noqa: RUF012  (scikit-learn's convention)

    def __init__(self, categorical_features="from_dtype", continuous_scaling="minmax"):
        self.categorical_features = categorical_features
        self.continuous_scaling = continuous_scaling

    def fit(self, X, y=None, sample_weight=None):
        """Learn levels and scales.

        Parameters
        ----------
        X : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes.
        y : ignored
            For scikit-learn's interface.
        sample_weight : (n,) array, optional
            Rows of weight 0 are left out; the others weight ``continuous_scaling="standard"``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For missing values, repeated names, no rows and unknown names in ``categorical_features``.
        TypeError
            For columns of mixed types or dates.

        Warns
        -----
        SensitiveFeaturesWarning
            For text of many levels that are all numbers, which ``categorical_features="from_dtype"`` takes as nominal.
        """
        self._fit(self._read(X), sample_weight, named=_has_names(X))
        return self

    def transform(self, X):
        """Coordinates of the rows.

        Parameters
        ----------
        X : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes with the columns seen in ``fit``.

        Returns
        -------
        (n, q) float64 array, or a DataFrame after ``set_output(transform="pandas")`` or ``"polars"``.
        """
        parts = []
        for name, column in self._read_fitted(X).items():
            coder = self._coders[name]
            parts.append(coder.points(column, coder.codes(column)))
        return np.hstack(parts)

    def encode(self, X):
        """Distinct profiles of the rows, which the penalties are bound to.

        Parameters
        ----------
        X : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes with the columns seen in ``fit``.

        Returns
        -------
        SensitiveBlocks
        """
        return self._blocks(self._read_fitted(X))

    def fit_encode(self, X, sample_weight=None):
        """Fit and encode in one pass over the columns; see :meth:`fit` and :meth:`encode`.

        Warns
        -----
        SensitiveFeaturesWarning
            Beside the remark of :meth:`fit`, for levels of a categorical dtype that no row has, where they change the
            distance between the two levels in use.
        """
        columns = self._read(X)
        for column in self._fit(columns, sample_weight, named=_has_names(X)).values():
            column.warn_of_unused_levels()
        return self._blocks(columns)

    def get_feature_names_out(self, input_features=None):
        """Names of the coordinates, attribute by attribute.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.
        """
        check_is_fitted(self)
        return np.array([part for name, coder in self._coders.items() for part in coder.names(name)], dtype=object)

    def _read(self, X):
        columns = read_columns(X)
        lengths = {len(column) for column in columns.values()}
        if lengths == {0}:
            raise ValueError("sensitive_features must have at least one row; found 0 sample(s)")
        return columns

    def _read_fitted(self, X):
        check_is_fitted(self)
        columns = self._read(X)
        if list(columns) != self.attributes_:
            raise ValueError(
                f"sensitive_features must have the columns seen in fit, {self.attributes_}; found {list(columns)}"
            )
        return columns

    def _fit(self, columns, sample_weight, named):
        """Learn levels and scales; the columns without the rows of weight 0."""
        if self.continuous_scaling is not None:
            check_choice(self.continuous_scaling, "continuous_scaling", ("minmax", "standard"))
        categorical = self._categorical_names(columns)
        n_samples = len(next(iter(columns.values())))
        weights = check_sample_weight(sample_weight, n_samples, reference="sensitive_features")
        keep = weights > 0
        counted = columns if keep.all() else {name: column.subset(keep) for name, column in columns.items()}
        coders = {}
        for name, column in counted.items():
            if name in categorical:
                coders[name] = _CategoricalCoder(column)
                _warn_of_many_levels(name, coders[name].levels)
            else:
                coders[name] = _ContinuousCoder(column, self.continuous_scaling, weights[keep])
        self._coders = coders
        self.attributes_ = list(columns)
        self.kinds_ = {name: "categorical" if name in categorical else "continuous" for name in columns}
        self.n_features_in_ = len(columns)
        if named:
            self.feature_names_in_ = np.array(self.attributes_, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return counted

    def _categorical_names(self, columns):
        wanted = self.categorical_features
        if isinstance(wanted, str):
            check_choice(wanted, "categorical_features", ("from_dtype", "all"))
            if wanted == "all":
                return set(columns)
            for column in columns.values():
                column.warn_of_numbers_as_text()
            return {name for name, column in columns.items() if column.categorical}
        chosen = {column_named(item, list(columns), "categorical_features") for item in wanted}
        text = [name for name, column in columns.items() if column.categorical and name not in chosen]
        if text:
            raise ValueError(
                f"categorical_features leaves out {text}, which hold text, booleans or categories and cannot be "
                "continuous"
            )
        return chosen

    def _blocks(self, columns):
        codes = {name: self._coders[name].codes(column) for name, column in columns.items()}

        def points_of(rows):
            _check_memory(self._coders, len(rows))
            return [self._coders[name].points(columns[name], codes[name], rows) for name in columns]

        return SensitiveBlocks.from_points(list(codes.values()), points_of, list(columns))


def _warn_of_many_levels(name, levels):
    if len(levels) > _MANY_LEVELS:
        warn_of_attributes(
            f"sensitive_features column {name!r} is nominal with {len(levels):,} levels, each as far from the next as "
            f"from any other, such as {levels[0]!r} and {levels[1]!r}: time and memory grow with their number. Merge "
            "levels into groups (regions for postcodes), or make it a number if it is one"
        )


def _check_memory(coders, n_profiles):
    """Raise where the coordinates of all profiles would not fit scikit-learn's ``working_memory``."""
    needed = 8 * n_profiles * sum(coder.n_coordinates for coder in coders.values())
    available = sklearn.get_config()["working_memory"] * 2**20
    if needed > available:
        name, coder = max(coders.items(), key=lambda item: item[1].n_coordinates)
        raise ValueError(
            f"the coordinates of {n_profiles:,} distinct rows of sensitive_features need about "
            f"{needed / 2**20:,.0f} MiB, more than scikit-learn's working_memory of {available / 2**20:,.0f} MiB, most "
            f"of it for the {coder.n_coordinates:,} levels of {name!r}: merge its levels into groups, round continuous "
            "attributes, or raise sklearn.set_config(working_memory=...)"
        )


def _has_names(X):
    return isinstance(nw.from_native(X, eager_only=True, allow_series=True, pass_through=True), nw.DataFrame)
