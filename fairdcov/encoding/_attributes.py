"""Protected attributes read once and checked once: profiles for penalties, groups for metrics, factors for tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Table, check_consistent_rows
from fairdcov.encoding._blocks import SensitiveBlocks
from fairdcov.encoding._groups import Factor, cross_columns, edges_of_columns
from fairdcov.encoding._probabilities import ProbabilityCoder, likely_probabilities, read_probabilities
from fairdcov.encoding._rows import array_of_rows, warn_of_attributes
from fairdcov.encoding._sensitive_column import column_named, read_columns
from fairdcov.encoding._soft_blocks import certain_shares, joint_shares

__all__ = [
    "Attributes",
    "as_given",
    "check_sensitive_features",
    "fixed_bins",
    "given_to",
    "make_groups",
    "select_rows",
    "sensitive_groups",
    "take_rows",
    "with_probabilities",
]


class Attributes:
    """Named columns of protected attributes, of equal length.

    Whatever takes ``sensitive_features`` takes them as well, or some of their rows, and does not read them again. Code
    that is not of this package gets :attr:`given`.

    Attributes
    ----------
    columns : dict of str to SensitiveColumn
        The columns under their names.
    probabilities : dict of str to list of str
        Attributes that are known as probabilities, and the columns of their levels; see :func:`with_probabilities`.
    """

    def __init__(self, columns, given, rows=None, positions=None, probabilities=None):
        self.columns = columns
        self.probabilities = probabilities or {}
        self._given = given
        self._rows = rows
        self._positions = positions
        self._groups = {}
        self._memberships = {}
        self._selections = {}

    @classmethod
    def read(cls, sensitive_features):
        """The attributes of a DataFrame, Series, array or list (n,) or (n, d); what has been read before as it is."""
        if isinstance(sensitive_features, cls):
            return sensitive_features
        return cls(read_columns(sensitive_features), sensitive_features)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __array__(self, dtype=None, copy=None):
        if self.probabilities:
            raise TypeError(
                f"the protected attributes {list(self.probabilities)} are known as probabilities: an array would not "
                "say so. Where scikit-learn slices them (searches, cross_validate), pass the frame as it is and a "
                "penalty with encoder=SensitiveEncoder(probabilities=...)"
            )
        return np.array(self.given, dtype=dtype)

    def __repr__(self):
        return f"Attributes({self.names}, {len(self)} rows)"

    @property
    def names(self):
        """Names of the attributes."""
        return list(self.columns)

    @property
    def columns_of(self):
        """Columns of each attribute, by its name: one, or those of its levels where it is known as probabilities."""
        attribute_of = {level: name for name, levels in self.probabilities.items() for level in levels}
        found = {}
        for name in self.columns:
            found.setdefault(attribute_of.get(name, name), []).append(name)
        return found

    @property
    def named(self):
        """Whether the names were given, by a DataFrame."""
        return isinstance(_frame_of(self._given), nw.DataFrame)

    @property
    def index(self):
        """Labels of the rows where pandas objects were given, for :func:`warn_about_order`; else None."""
        index = getattr(self._given, "index", None)
        if not isinstance(index, pd.Index):
            return None
        return index if self._rows is None else index[self._rows]

    @property
    def given(self):
        """These rows and columns in the type that the user passed."""
        given = self._given
        if self._positions is not None:
            frame = _frame_of(given)
            if isinstance(frame, nw.DataFrame):
                given = frame[:, self._positions].to_native()
            elif not isinstance(frame, nw.Series):
                array = array_of_rows(given)
                given = array if array.ndim == 1 else array[:, self._positions]
        return given if self._rows is None else take_rows(given, self._rows)

    def rows(self, keep):
        """Some of the rows, by a boolean mask, positions or a slice; levels and groups that are known are kept."""
        if not isinstance(keep, slice):
            keep = np.asarray(keep)
        rows = (np.arange(len(self)) if self._rows is None else self._rows)[keep]
        columns = {name: column.rows(keep) for name, column in self.columns.items()}
        part = Attributes(columns, self._given, rows, self._positions, self.probabilities)
        part._groups = {edges: groups.rows(keep) for edges, groups in self._groups.items()}
        return part

    def select(self, names):
        """Those of a name or of several, in that order; always the same object, so that its groups are made once."""
        known = self.names
        names = tuple(column_named(name, known, "names") for name in ([names] if isinstance(names, str) else names))
        if list(names) == known:
            return self
        if names not in self._selections:
            positions = np.array([known.index(name) for name in names], dtype=np.intp)
            if self._positions is not None:
                positions = self._positions[positions]
            columns = {name: self.columns[name] for name in names}
            kept = {key: levels for key, levels in self.probabilities.items() if set(levels) & set(names)}
            if any(set(levels) - set(names) for levels in kept.values()):
                raise ValueError(f"{list(names)} are some of the levels' probabilities only, of {list(kept)}: name all")
            self._selections[names] = Attributes(columns, self._given, self._rows, positions, kept)
        return self._selections[names]

    def edges(self, bins=None, sample_weight=None):
        """Bins with their edges, which cut any part of the rows like the whole.

        Parameters
        ----------
        bins, sample_weight
            As in :meth:`groups`.

        Returns
        -------
        dict of str to array or None
            For each attribute that is cut, and None for each whose every value is a group though bins speaks of it.
        """
        return edges_of_columns(self._observed, bins, sample_weight)

    @property
    def _observed(self):
        """The columns that are no probabilities."""
        levels = {level for levels in self.probabilities.values() for level in levels}
        return {name: column for name, column in self.columns.items() if name not in levels}

    def memberships(self, bins=None, sample_weight=None):
        """Share of each row in the intersectional groups, where attributes are known as probabilities.

        Parameters
        ----------
        bins, sample_weight
            As in :meth:`groups`.

        Returns
        -------
        shares : (n, K) scipy.sparse.csr_array
            Products of the probabilities of the levels; of observed ones, 1 or 0.
        labels : list of K tuples
            Levels of each group; columns of probabilities are levels by their name.
        names : list of str
            Names of the attributes, in the order in which their columns come.

        Made once for the same edges: what comes back is not to be changed in place.
        """
        for name, levels in self.probabilities.items():
            ProbabilityCoder(name, levels).warn_of_levels_without_mass(self.columns)
        edges = self.edges(bins, sample_weight)
        cuts = self._cuts(edges)
        if cuts not in self._memberships:
            self._memberships[cuts] = self._make_memberships(edges)
        return self._memberships[cuts]

    def _cuts(self, edges):
        """What groups are kept under: the edges of the columns that are cut."""
        return tuple((name, edges[name].tobytes()) for name in self.columns if edges.get(name) is not None)

    def _make_memberships(self, edges):
        observed = self._observed
        parts, levels_of = [], {}
        if observed:
            codes, labels, _ = cross_columns(observed, edges)
            parts.append(certain_shares(codes, len(labels)))
        for name, levels in self.probabilities.items():
            parts.append(ProbabilityCoder(name, levels).sparse_shares(self.columns))
        shares, positions = joint_shares(parts)
        if observed:
            combined = positions.pop(0)
            levels_of = {name: [labels[k][c] for k in combined] for c, name in enumerate(observed)}
        for (name, levels), position in zip(self.probabilities.items(), positions, strict=True):
            levels_of[name] = [levels[k] for k in position]
        names = list(self.columns_of)
        labels = [tuple(levels_of[name][k] for name in names) for k in range(shares.shape[1])]
        return shares, labels, names

    def require_observed(self, what):
        """Raise where attributes are known as probabilities: ``what`` is not defined for shares."""
        if self.probabilities:
            raise TypeError(
                f"the protected attributes {list(self.probabilities)} are known as probabilities, for which there is "
                f"not {what}: leave their columns out here; penalties, metrics of groups and of dependence, "
                "group_summary and independence_test take them"
            )

    def warn_of_likely_probabilities(self):
        """Remark on columns that look like probabilities of levels and were not declared to be."""
        found = likely_probabilities(self._observed)
        if found:
            warn_of_attributes(
                f"the sensitive_features columns {found} lie between 0 and 1 and sum to 1 in each row, as "
                "probabilities of levels do, and are read as measurements here: declare them by "
                "fairdcov.with_probabilities(sensitive_features, {'attribute': [columns]})"
            )

    def groups(self, bins=None, sample_weight=None):
        """Intersectional groups of the rows: several attributes are crossed.

        Parameters
        ----------
        bins : int or dict, optional
            How numeric attributes are cut, see :func:`fairdcov.metrics.js_divergence`.
        sample_weight : (n,) array, optional
            Weights of the quantiles; rows of weight 0 may lie beyond the edges, and are then in the nearest bin.

        Returns
        -------
        Groups
            ``codes``, ``labels`` and ``names``; made once for the same edges.
        """
        self.require_observed("a group for each row")
        edges = self.edges(bins, sample_weight)
        cuts = self._cuts(edges)
        if cuts not in self._groups:
            self._groups[cuts] = cross_columns(self.columns, edges)
        return self._groups[cuts]

    def factor(self, name, bins=None, sample_weight=None):
        """One attribute as a factor of a table.

        Parameters
        ----------
        name : str
            Which one.
        bins : int or dict, optional
            As in :meth:`groups`; what a dict says of other attributes does not count.
        sample_weight : (n,) array, optional
            Weights of the quantiles, all positive.

        Returns
        -------
        Factor
        """
        if isinstance(bins, dict):
            bins = {name: bins[name]} if name in bins else None
        codes, labels, _ = self.select(name).groups(bins, sample_weight)
        return Factor(name, codes, [label[0] for label in labels])

    def profiles(self, encoder=None, sample_weight=None):
        """Distinct profiles of the rows, which measures of dependence are bound to.

        Parameters
        ----------
        encoder : SensitiveEncoder, optional
            A fitted one is used as it is, otherwise a copy is fitted to these rows.
        sample_weight : (n,) array, optional
            As in :meth:`SensitiveEncoder.fit`.

        Returns
        -------
        SensitiveBlocks
        """
        from fairdcov.encoding._encoder import encode_attributes  # which reads its input by this class

        return encode_attributes(self, encoder, sample_weight)


def with_probabilities(sensitive_features: Table, probabilities: Mapping[str, Sequence[Any]]) -> Any:
    """Protected attributes some of which are not observed but known as probabilities of their levels.

    Pass what comes back as ``sensitive_features``: penalties take the expectation over independent draws of the levels,
    and metrics of groups weight rows by their share in each group, ``sum_i w_i p_ig u_i / sum_i w_i p_ig`` for means.
    What has no meaning for shares raises an error.

    Parameters
    ----------
    sensitive_features : DataFrame, Series or array, (n,) or (n, d)
        Protected attributes, among them the columns of probabilities.
    probabilities : dict of str to list of column names or positions
        Attributes with the columns that hold the probability of one of their levels each, which sum to 1 in each row;
        see :class:`fairdcov.SensitiveEncoder`.

    Returns
    -------
    object
        The rows with what is known of them, to pass as ``sensitive_features``; of the length n.

    Raises
    ------
    ValueError
        For unknown columns, columns that are used twice, and rows that are no probabilities (it names the first).

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov import with_probabilities
    >>> from fairdcov.metrics import group_summary
    >>> people = pd.DataFrame({"p_a": [1.0, 0.5, 0.0], "p_b": [0.0, 0.5, 1.0]})
    >>> people = with_probabilities(people, {"race": ["p_a", "p_b"]})
    >>> group_summary([1, 0, 1], [0.2, 0.5, 0.8], sensitive_features=people)["mean_predicted"].round(3).tolist()
    [0.3, 0.7]
    """
    attributes = Attributes.read(sensitive_features)
    found = read_probabilities(probabilities, attributes.names)
    for name, levels in found.items():
        ProbabilityCoder(name, levels).shares(attributes.columns)
    return Attributes(attributes.columns, attributes._given, attributes._rows, attributes._positions, found)


def as_given(sensitive_features):
    """Protected attributes for code that is not of this package: in the type that the user passed."""
    if not isinstance(sensitive_features, Attributes):
        return sensitive_features
    sensitive_features.require_observed("a plain table that would say so")
    return sensitive_features.given


def given_to(function, sensitive_features):
    """Protected attributes for a function that may be the user's: as they are if it is one of this package.

    So they are for others where attributes are known as probabilities: what passes them on, such as a pipeline, may do
    so, and what would read them as numbers gets an error from the conversion.
    """
    ours = (getattr(function, "__module__", None) or "").startswith("fairdcov.")
    if ours or (isinstance(sensitive_features, Attributes) and sensitive_features.probabilities):
        return sensitive_features
    return as_given(sensitive_features)


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


def _frame_of(data):
    return nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)


def select_rows(data, keep):
    """Rows of attributes, a frame, matrix, vector or list by a boolean mask, in the type they came in."""
    if isinstance(data, Attributes):
        return data.rows(keep)
    if isinstance(data, SensitiveBlocks):
        return data[keep]
    frame = _frame_of(data)
    if isinstance(frame, nw.DataFrame | nw.Series):
        return frame.filter(keep.tolist()).to_native()
    return data[keep] if sp.issparse(data) else array_of_rows(data)[keep]


def take_rows(data, rows):
    """Rows of attributes, a frame, matrix, vector or list by position, in the type they came in."""
    if isinstance(data, Attributes):
        return data.rows(rows)
    frame = _frame_of(data)
    if isinstance(frame, nw.Series):
        return frame[rows].to_native()
    if isinstance(frame, nw.DataFrame):
        return frame[rows, :].to_native()
    if isinstance(data, list | tuple):
        # An array would make text of numbers beside text.
        return [data[row] for row in rows]
    return data[rows] if sp.issparse(data) else np.asarray(data)[rows]


def fixed_bins(sensitive_features, bins=None, sample_weight=None):
    """Bins with their edges; see :meth:`Attributes.edges`."""
    return Attributes.read(sensitive_features).edges(bins, sample_weight)


def make_groups(sensitive_features, bins=None, sample_weight=None):
    """Intersectional groups of rows; see :meth:`Attributes.groups`."""
    return Attributes.read(sensitive_features).groups(bins, sample_weight)


def sensitive_groups(
    sensitive_features: Table, *, bins: Bins | None = None, sample_weight: ArrayLike | None = None
) -> pd.DataFrame:
    """Group of each row as a table: the very groups that the metrics of this package compare.

    Use it to hand the same groups to another tool, such as the ``sensitive_features`` of fairlearn's ``MetricFrame``.

    Parameters
    ----------
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes.
    bins : int or dict, optional
        How numeric attributes are cut, see :func:`fairdcov.metrics.js_divergence`.
    sample_weight : (n,) array, optional
        Positive weights of the quantiles.

    Returns
    -------
    pandas.DataFrame, (n, d)
        Level of each row in each attribute; bins are ``pandas.Interval``.

    Examples
    --------
    >>> from fairdcov.metrics import sensitive_groups
    >>> groups = sensitive_groups([18, 40, 70, 30], bins={0: [18, 40, 100]})
    >>> [str(interval) for interval in groups["sensitive feature 0"]]
    ['[18.0, 40.0)', '[40.0, 100.0]', '[40.0, 100.0]', '[18.0, 40.0)']
    """
    codes, labels, names = Attributes.read(sensitive_features).groups(bins, sample_weight)
    return pd.DataFrame({name: [labels[code][c] for code in codes] for c, name in enumerate(names)})
