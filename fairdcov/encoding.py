"""Protected attributes of any type to points in Euclidean space, one block of coordinates for each attribute."""

from copy import copy

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fairdcov._blocks import SensitiveBlocks, factorise
from fairdcov._validation import check_choice, check_consistent_rows, check_sample_weight
from fairdcov.exceptions import MissingSensitiveFeaturesError

__all__ = ["SensitiveColumn", "SensitiveEncoder", "check_sensitive_features", "select_rows", "sensitive_columns_of"]


def check_sensitive_features(sensitive_features, n_samples):
    """Raise unless protected attributes have a type that can be sliced into folds, and ``n_samples`` rows."""
    if isinstance(sensitive_features, dict):
        raise TypeError(
            "sensitive_features must be a DataFrame, a Series or an array; found a dict, which scikit-learn's searches "
            "cannot slice into folds: pass pandas.DataFrame(sensitive_features)"
        )
    check_consistent_rows(n_samples, sensitive_features, "sensitive_features")


def sensitive_columns_of(sensitive_features):
    """Named columns of protected attributes.

    Parameters
    ----------
    sensitive_features : DataFrame, Series or array, (n,) or (n, d)
        pandas, polars or another eager frame that narwhals knows, or anything NumPy makes an array of.

    Returns
    -------
    dict of str to column
        narwhals Series for frames, NumPy vectors for arrays (named ``"sensitive feature 0"`` and so on).
    """
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("sensitive_features is needed here; found None")
    if sp.issparse(sensitive_features):
        raise TypeError("sensitive_features must be dense; found a sparse matrix: pass sensitive_features.toarray()")
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
        array = np.asarray(sensitive_features)
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


def select_rows(data, keep):
    """Rows of a frame, matrix, vector or list by a boolean mask, in the type they came in."""
    frame = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.DataFrame | nw.Series):
        return frame.filter(keep.tolist()).to_native()
    return data[keep] if sp.issparse(data) else np.asarray(data)[keep]


class SensitiveColumn:
    """One attribute as plain values: numbers for continuous ones, anything hashable for categories."""

    def __init__(self, name, column):
        self.name = name
        self.declared = None
        self.codes = None
        self.numeric = False
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
            declared = column.cat.get_categories().to_list() if isinstance(dtype, nw.Enum) else None
            self._read_array(column.cast(nw.String).to_numpy())
            self.declared = declared
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

    def subset(self, keep):
        """The same column with some rows only."""
        part = copy(self)
        if self.codes is not None:
            part.codes = self.codes[keep]
        else:
            part.values = self.values[keep]
        return part

    def level_codes(self):
        """Codes of the rows and the values that the codes stand for."""
        if self.codes is not None:
            return self.codes.astype(np.int64), self.declared
        codes, first_rows = factorise(self.values)
        return codes, self.values[first_rows].tolist()


class _CategoricalCoder:
    """Levels of a nominal attribute: one 0/1 column for two of them, one column each for more."""

    def __init__(self, column):
        if column.declared is not None:
            self.levels = list(column.declared)
        else:
            _, found = column.level_codes()
            self.levels = sorted(found)
        n_levels = len(self.levels)
        if n_levels > 2:
            self.coordinates = np.eye(n_levels)
        else:
            self.coordinates = np.arange(n_levels, dtype=np.float64)[:, None]

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
        return self.coordinates[codes[rows]]

    def names(self, name):
        """Names of the coordinates."""
        return [f"{name}_{level}" for level in (self.levels if len(self.levels) > 2 else self.levels[-1:])]


class _ContinuousCoder:
    """Shift and scale of a continuous attribute."""

    def __init__(self, column, scaling, weights):
        values = column.values
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
        return ((column.values[rows] - self.shift) / self.scale)[:, None]

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
        """Fit and encode in one pass over the columns; see :meth:`fit` and :meth:`encode`."""
        columns = self._read(X)
        self._fit(columns, sample_weight, named=_has_names(X))
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
        columns = {name: SensitiveColumn(name, column) for name, column in sensitive_columns_of(X).items()}
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
        if self.continuous_scaling is not None:
            check_choice(self.continuous_scaling, "continuous_scaling", ("minmax", "standard"))
        categorical = self._categorical_names(columns)
        n_samples = len(next(iter(columns.values())))
        weights = check_sample_weight(sample_weight, n_samples, reference="sensitive_features")
        keep = weights > 0
        coders = {}
        for name, column in columns.items():
            kept = column if keep.all() else column.subset(keep)
            if name in categorical:
                coders[name] = _CategoricalCoder(kept)
            else:
                coders[name] = _ContinuousCoder(kept, self.continuous_scaling, weights[keep])
        self._coders = coders
        self.attributes_ = list(columns)
        self.kinds_ = {name: "categorical" if name in categorical else "continuous" for name in columns}
        self.n_features_in_ = len(columns)
        if named:
            self.feature_names_in_ = np.array(self.attributes_, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _categorical_names(self, columns):
        wanted = self.categorical_features
        if isinstance(wanted, str):
            check_choice(wanted, "categorical_features", ("from_dtype", "all"))
            return {name for name, column in columns.items() if wanted == "all" or column.categorical}
        names = list(columns)
        chosen = set()
        for item in wanted:
            if isinstance(item, str) and item in columns:
                chosen.add(item)
            elif not isinstance(item, str) and 0 <= item < len(names):
                chosen.add(names[item])
            else:
                raise ValueError(f"categorical_features names {item!r}; the protected attributes are {names}")
        text = [name for name, column in columns.items() if column.categorical and name not in chosen]
        if text:
            raise ValueError(
                f"categorical_features leaves out {text}, which hold text, booleans or categories and cannot be "
                "continuous"
            )
        return chosen

    def _blocks(self, columns):
        codes = {name: self._coders[name].codes(column) for name, column in columns.items()}
        return SensitiveBlocks.from_points(
            list(codes.values()),
            lambda rows: [self._coders[name].points(columns[name], codes[name], rows) for name in columns],
            list(columns),
        )


def _has_names(X):
    return isinstance(nw.from_native(X, eager_only=True, allow_series=True, pass_through=True), nw.DataFrame)
