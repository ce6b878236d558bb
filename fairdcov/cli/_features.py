"""Rating factors as the columns of a generalised linear model."""

import numpy as np
import pandas as pd
from scipy.interpolate import BSpline
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.validation import check_is_fitted

__all__ = ["MOST_LEVELS", "QuantityColumns", "feature_columns", "is_quantity", "level_columns"]

# Numbers with more distinct values than this are quantities; those with fewer have a column for each.
MOST_NUMERIC_LEVELS = 8
_N_KNOTS = 6
_DEGREE = 3
# Further levels share one column, so that a long list of makes or postcodes does not make a column each.
MOST_LEVELS = 100


def is_quantity(column):
    """Whether a column is a measurement rather than a list of levels."""
    return bool(pd.api.types.is_numeric_dtype(column)) and column.nunique() > MOST_NUMERIC_LEVELS


def feature_columns(features):
    """Transformer of rating factors: splines for quantities, one column for each level of the rest.

    Parameters
    ----------
    features : DataFrame, (n, p)
        Numbers, categories and text. Knots and base levels are taken from it; the transformer is not fitted.

    Returns
    -------
    ColumnTransformer
        Knots are at quantiles, each once. A quantity that has missing values gets the median there and a column that
        says so; missing levels are levels. The most frequent level of a factor is its base, and stands for levels that
        turn up later. Of more than 100 levels the rare ones are one, which stands for those, and none is the base: it
        could be rare in some fold.
    """
    quantities = [name for name in features if is_quantity(features[name])]
    levels = [name for name in features if name not in quantities]
    incomplete = [name for name in quantities if features[name].isna().any()]
    # Positions in the names of the steps: a column may be called anything.
    steps = [(f"spline {position}", _spline(features[name]), [name]) for position, name in enumerate(quantities)]
    if incomplete:
        steps.append(("missing", MissingIndicator(features="all"), incomplete))
    options = {"handle_unknown": "infrequent_if_exist", "sparse_output": False}
    many = [name for name in levels if features[name].nunique(dropna=False) > MOST_LEVELS]
    few = [name for name in levels if name not in many]
    if few:
        base = np.array([features[name].value_counts(dropna=False).index[0] for name in few], dtype=object)
        # All levels are named, since a fold may lack some of them, the base among them.
        known = [np.unique(features[name].to_numpy()) for name in few]
        steps.append(("levels", OneHotEncoder(categories=known, drop=base, **options), few))
    if many:
        steps.append(("many levels", OneHotEncoder(max_categories=MOST_LEVELS, **options), many))
    return ColumnTransformer(steps)


def level_columns(model):
    """Columns that are levels to a pipeline that begins with :func:`feature_columns`, in the order of its encoder."""
    steps = getattr(model[0], "transformers", [])
    return [column for name, _, columns in steps if name == "levels" for column in columns]


def _spline(column):
    values = column.dropna().to_numpy(dtype=np.float64)
    return QuantityColumns(np.unique(np.quantile(values, np.linspace(0.0, 1.0, _N_KNOTS))))


class QuantityColumns(TransformerMixin, BaseEstimator):
    """Cubic splines of one quantity, constant beyond the outer knots, as scikit-learn's SplineTransformer makes them.

    It holds its knots and a median and makes the splines anew whenever it is asked for columns: scikit-learn's holds
    objects of SciPy, whose inside differs from release to release, and a saved model has to outlive those.

    Parameters
    ----------
    knots : array, (k,)
        Distinct and ascending, at least two.

    Attributes
    ----------
    median_ : float
        What stands for missing values.
    """

    def __init__(self, knots):
        self.knots = knots

    def fit(self, X, y=None):
        """Take the median of one column; a column without values has the middle of the knots."""
        values = _only_column(X)
        values = values[~np.isnan(values)]
        self.median_ = float(np.median(values if len(values) else self.knots))
        return self

    def transform(self, X):
        """Splines of one column, all but the last, which is one minus the others."""
        check_is_fitted(self)
        values = _only_column(X)
        values = np.clip(np.where(np.isnan(values), self.median_, values), self.knots[0], self.knots[-1])
        return BSpline.design_matrix(values, self._knots_of_splines(), _DEGREE).toarray()[:, :-1]

    def get_feature_names_out(self, input_features):
        """Name of the quantity and number of the spline."""
        return np.array([f"{input_features[0]}_sp_{k}" for k in range(len(self.knots) + _DEGREE - 2)], dtype=object)

    def _knots_of_splines(self):
        """The knots and further ones outside, at the distance of the outermost two."""
        knots = np.asarray(self.knots, dtype=np.float64)
        first, last = knots[1] - knots[0], knots[-1] - knots[-2]
        before = np.linspace(knots[0] - _DEGREE * first, knots[0] - first, _DEGREE)
        after = np.linspace(knots[-1] + last, knots[-1] + _DEGREE * last, _DEGREE)
        return np.concatenate([before, knots, after])


def _only_column(X):
    return np.asarray(X, dtype=np.float64)[:, 0]
