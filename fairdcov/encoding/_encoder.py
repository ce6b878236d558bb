"""Protected attributes of any type to points in Euclidean space, one block of coordinates for each attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import Table, check_choice, check_sample_weight, without_exponent
from fairdcov.encoding._attributes import Attributes, given_to
from fairdcov.encoding._blocks import NominalCoordinates, SensitiveBlocks
from fairdcov.encoding._probabilities import ProbabilityCoder, read_probabilities, soft_blocks
from fairdcov.encoding._rows import warn_of_attributes
from fairdcov.encoding._sensitive_column import column_named
from fairdcov.exceptions import MissingSensitiveFeaturesError

__all__ = ["SensitiveEncoder", "check_encoder", "encode_attributes"]

# A nominal attribute of more levels than this is hardly meant as one: it is slow, and few rows share a level.
_MANY_LEVELS = 1000


def check_encoder(encoder):
    """Raise unless an ``encoder`` given by the user is one."""
    if not hasattr(encoder, "fit_encode"):
        raise TypeError(f"encoder must be None or a fairdcov.SensitiveEncoder; found {encoder!r}")


class _CategoricalCoder(NominalCoordinates):
    """Levels of a nominal attribute."""

    def __init__(self, column):
        super().__init__(sorted(column.level_codes()[1]) if column.declared is None else list(column.declared))

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
        return column.distinct()[0]

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
    probabilities : dict of str to list of column names or positions, optional
        Nominal attributes that are not observed but known as probabilities, each with the columns that hold the
        probability of one of its levels, such as ``{"race": ["p_white", "p_black", "p_other"]}``. Each row of these
        columns sums to 1 (within 1e-6; what is left is scaled away). The columns are the levels' names.

    Attributes
    ----------
    attributes_ : list of str
        Names of the attributes, one block each.
    kinds_ : dict of str to {"categorical", "continuous", "probabilities"}
        How each attribute was read.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : (d,) array of str
        Names of the columns, where the input had names.

    Notes
    -----
    The levels of a categorical dtype count as levels even when no row has them, so that folds and subsets keep the
    same geometry.

    With ``probabilities``, :meth:`encode` gives each row a share in every combination of levels: the product of the
    probabilities of its levels, 1 or 0 for observed attributes. Penalties, tests and metrics of dependence then take
    the expectation of their V-statistic over independent draws of the levels, which is exact and costs
    O(n log n + nK). Probabilities of 0 and 1 give the figures of the observed attribute. What is penalised is
    dependence on the attribute given what the probabilities were computed from: rows of equal inputs are alike.

    References
    ----------
    .. [1] J. Chen, N. Kallus, X. Mao, G. Svacha, M. Udell, "Fairness under unawareness: assessing disparity when
       protected class is unobserved", FAT* 2019, arXiv:1811.11154.
    .. [2] N. Kallus, X. Mao, A. Zhou, "Assessing algorithmic fairness with unobserved protected class using data
       combination", Management Science 68(3), 2022.

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

    An attribute that is known as probabilities:

    >>> from fairdcov import CCDCovPenalty
    >>> people = pd.DataFrame({"p_a": [0.9, 0.2, 0.5], "p_b": [0.1, 0.8, 0.5], "gender": ["f", "m", "f"]})
    >>> encoder = SensitiveEncoder(probabilities={"race": ["p_a", "p_b"]})
    >>> encoder.fit(people).get_feature_names_out().tolist()
    ['race_p_b', 'gender_m']
    >>> CCDCovPenalty(encoder=encoder).bind(people).method
    'memberships'
    """

    __metadata_request__fit = {"sample_weight": True}  # noqa: RUF012  (scikit-learn's convention)

    # Encoders that were pickled before there were probabilities.
    probabilities = None

    def __init__(
        self,
        categorical_features: str | Sequence[str | int] = "from_dtype",
        continuous_scaling: Literal["minmax", "standard"] | None = "minmax",
        probabilities: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self.categorical_features = categorical_features
        self.continuous_scaling = continuous_scaling
        self.probabilities = probabilities

    def fit(self, X: Table, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
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
            For missing values, repeated names, no rows and unknown names in ``categorical_features``; for
            probabilities that are negative, exceed 1 or do not sum to 1, and for columns that are used twice.
        TypeError
            For columns of mixed types or dates, and probabilities that are no numbers.

        Warns
        -----
        SensitiveFeaturesWarning
            For text of many levels that are all numbers, which ``categorical_features="from_dtype"`` takes as nominal,
            for levels of probability 0 in every row, and for columns that look like probabilities and were not said to
            be.
        """
        self._fit(_read(X), sample_weight)
        return self

    def transform(self, X: Table) -> Any:
        """Coordinates of the rows; their expectation where an attribute is known as probabilities.

        Parameters
        ----------
        X : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes with the columns seen in ``fit``.

        Returns
        -------
        (n, q) float64 array, or a DataFrame after ``set_output(transform="pandas")`` or ``"polars"``.
        """
        columns, parts = self._read_fitted(X).columns, []
        for name, coder in self._coders.items():
            if isinstance(coder, ProbabilityCoder):
                parts.append(coder.points(columns))
            else:
                parts.append(coder.points(columns[name], coder.codes(columns[name])))
        return np.hstack(parts)

    def encode(self, X: Table) -> SensitiveBlocks:
        """Distinct profiles of the rows, which the penalties are bound to.

        Parameters
        ----------
        X : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes with the columns seen in ``fit``.

        Returns
        -------
        SensitiveBlocks
            With probabilities that are not all 0 or 1, their subclass of shares of the profiles.
        """
        return self._blocks(self._read_fitted(X).columns)

    def fit_encode(self, X: Table, sample_weight: ArrayLike | None = None) -> SensitiveBlocks:
        """Fit and encode in one pass over the columns; see :meth:`fit` and :meth:`encode`.

        Parameters
        ----------
        X : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes.
        sample_weight : (n,) array, optional
            Row weights.

        Returns
        -------
        SensitiveBlocks
            As :meth:`encode` returns them.

        Warns
        -----
        SensitiveFeaturesWarning
            Beside the remark of :meth:`fit`, for levels of a categorical dtype that no row has, where they change the
            distance between the two levels in use.
        """
        if isinstance(X, SensitiveBlocks):
            return X.present()
        attributes = _read(X)
        for column in self._fit(attributes, sample_weight).columns.values():
            column.warn_of_unused_levels()
        return self._blocks(attributes.columns)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the coordinates, attribute by attribute.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.

        Returns
        -------
        (p,) array of str
            One name for each coordinate.
        """
        check_is_fitted(self)
        return np.array([part for name, coder in self._coders.items() for part in coder.names(name)], dtype=object)

    def _read_fitted(self, X):
        check_is_fitted(self)
        attributes = _read(X)
        seen = getattr(self, "_columns", self.attributes_)
        if attributes.names != seen:
            raise ValueError(f"sensitive_features must have the columns seen in fit, {seen}; found {attributes.names}")
        return attributes

    def _fit(self, attributes, sample_weight):
        """Learn levels and scales; the attributes without the rows of weight 0."""
        if self.continuous_scaling is not None:
            check_choice(self.continuous_scaling, "continuous_scaling", ("minmax", "standard"))
        probabilities = read_probabilities(self.probabilities, attributes.names)
        if probabilities and attributes.probabilities not in ({}, probabilities):
            raise ValueError(
                f"probabilities={self.probabilities!r} of the encoder are not those that sensitive_features were "
                f"declared with, {attributes.probabilities}: give them in one of the two places"
            )
        probabilities = probabilities or attributes.probabilities
        if not probabilities:
            attributes.warn_of_likely_probabilities()
        attribute_of = {column: name for name, columns in probabilities.items() for column in columns}
        categorical = self._categorical_names(attributes.columns, attribute_of)
        weights = check_sample_weight(sample_weight, len(attributes), reference="sensitive_features")
        keep = weights > 0
        counted = attributes if keep.all() else attributes.rows(keep)
        coders = {}
        for name, column in counted.columns.items():
            if name in attribute_of:
                name = attribute_of[name]
                if name not in coders:
                    coders[name] = ProbabilityCoder(name, probabilities[name])
                    coders[name].shares(counted.columns)  # which raises where they are none
                    coders[name].warn_of_levels_without_mass(counted.columns)
            elif name in categorical:
                coders[name] = _CategoricalCoder(column)
                _warn_of_many_levels(name, coders[name].levels)
            else:
                coders[name] = _ContinuousCoder(column, self.continuous_scaling, weights[keep])
        self._coders = coders
        self.attributes_, self._columns = list(coders), attributes.names
        kinds = {**dict.fromkeys(categorical, "categorical"), **dict.fromkeys(probabilities, "probabilities")}
        self.kinds_ = {name: kinds.get(name, "continuous") for name in self.attributes_}
        self.n_features_in_ = len(self._columns)
        if attributes.named:
            self.feature_names_in_ = np.array(self._columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return counted

    def _categorical_names(self, columns, attribute_of):
        """Names of the nominal ones of the columns that are no probabilities."""
        wanted, names = self.categorical_features, list(columns)
        columns = {name: column for name, column in columns.items() if name not in attribute_of}
        if isinstance(wanted, str):
            check_choice(wanted, "categorical_features", ("from_dtype", "all"))
            if wanted == "all":
                return set(columns)
            for column in columns.values():
                column.warn_of_numbers_as_text()
            return {name for name, column in columns.items() if column.categorical}
        chosen = {column_named(item, names, "categorical_features") for item in wanted}
        both = sorted(chosen & set(attribute_of))
        if both:
            raise ValueError(
                f"categorical_features names {both[0]!r}, which is a column of probabilities of "
                f"{attribute_of[both[0]]!r}: name it in one of the two"
            )
        text = [name for name, column in columns.items() if column.categorical and name not in chosen]
        if text:
            raise ValueError(
                f"categorical_features leaves out {text}, which hold text, booleans or categories and cannot be "
                "continuous"
            )
        return chosen

    def _blocks(self, columns):
        soft = {name: coder for name, coder in self._coders.items() if isinstance(coder, ProbabilityCoder)}
        coders = {name: coder for name, coder in self._coders.items() if name not in soft}
        codes = {name: coder.codes(columns[name]) for name, coder in coders.items()}

        def points_of(rows):
            _check_memory(coders, len(rows))
            return [coder.points(columns[name], codes[name], rows) for name, coder in coders.items()]

        observed = SensitiveBlocks.from_points(list(codes.values()), points_of, list(codes)) if codes else None
        return soft_blocks(self.attributes_, observed, soft, columns) if soft else observed


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


def _read(X):
    attributes = Attributes.read(X)
    if len(attributes) == 0:
        raise ValueError("sensitive_features must have at least one row; found 0 sample(s)")
    return attributes


def encode_attributes(sensitive_features, encoder, sample_weight):
    """Profiles of the rows, by a fitted encoder as it is, or by a copy fitted to the rows."""
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("sensitive_features is needed to measure dependence; found None")
    if encoder is None:
        return SensitiveEncoder().fit_encode(sensitive_features, sample_weight)
    check_encoder(encoder)
    try:
        check_is_fitted(encoder)
    except NotFittedError:
        return clone(encoder).fit_encode(given_to(encoder.fit_encode, sensitive_features), sample_weight)
    return encoder.encode(given_to(encoder.encode, sensitive_features))
