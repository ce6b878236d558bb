"""Rows that come in parts, such as the blocks of a file: each is checked alone, and what they have in common is merged.

A part is described by figures that are small and can be merged in any place; what is kept of it beside is as long as
the part and stays where the part is. Features are not kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import clone, is_regressor
from sklearn.utils.validation import column_or_1d

from fairdcov._checks import check_sample_weight, check_squarable
from fairdcov._fitting._training_data import check_offset
from fairdcov.encoding import (
    Attributes,
    check_sensitive_features,
    combine_codes,
    read_sensitive_columns,
    select_rows,
    warn_about_order,
)

__all__ = ["KeptRows", "PartDescription", "read_features", "read_part"]

_NAMES = ("X", "y", "sample_weight", "sensitive_features", "offset")
_OPTIONAL = ("sample_weight", "offset", "sensitive_features")
# A grid has as many profiles at most.
MOST_PROFILES = 2_048


@dataclass(frozen=True, eq=False)
class KeptRows:
    """What is kept of a part beside its features, of rows of positive weight.

    Attributes
    ----------
    n_given : int
        Rows of the part, with those of weight 0.
    keep : (n_given,) bool array or None
        Which of them have weight; None for all.
    target : (n,) array
        Target, for a classifier the position among ``labels``.
    labels : list or None
        Labels of a classifier.
    weights : (n,) float64 array
    offset : (n,) float64 array or None
    profiles : (n,) int32 array or None
        Position among ``people``; None without protected attributes or rows.
    people : list of tuples
        Distinct rows of the protected attributes.
    """

    n_given: int
    keep: np.ndarray | None
    target: np.ndarray
    labels: list | None
    weights: np.ndarray
    offset: np.ndarray | None
    profiles: np.ndarray | None
    people: list

    @property
    def n_rows(self):
        """Rows of positive weight."""
        return len(self.target)


@dataclass(frozen=True, eq=False)
class PartDescription:
    """What is to be known of a part by all others; descriptions are merged in the order of the parts.

    Attributes
    ----------
    part : int
        The first part that is described, for messages.
    given : tuple of bool
        Whether there is a sample weight, an offset, and whether there are protected attributes.
    columns : list of str or None
        Names of the features, where there are any.
    n_features : int
    n_rows : int
        Rows of positive weight.
    sums : (3,) float64 array
        Of weights, of weights times targets, and of targets.
    weight_range : (2,) float64 array
        Smallest and largest.
    labels : list or None
        Of a classifier, in the order in which they were found.
    kinds : dict of str to tuple
        For each protected attribute whether it is numeric, and the levels that it declares (None for none). None
        without attributes or rows.
    people : dict of tuple to [int, float]
        Distinct rows of protected attributes with the number of rows and their weight.
    """

    part: int
    given: tuple
    columns: list | None
    n_features: int
    n_rows: int
    sums: np.ndarray
    weight_range: np.ndarray
    labels: list | None
    kinds: dict | None
    people: dict = field(default_factory=dict)

    def __add__(self, other):
        """What both parts are together; raises a ValueError where they do not go together."""
        here, there = f"block {self.part}", f"block {other.part}"
        if self.columns != other.columns or self.n_features != other.n_features:
            raise ValueError(f"the columns of X differ between blocks: {_difference(self, other)}")
        for name, first, second in zip(
            ("sample_weight", "offset", "sensitive_features"), self.given, other.given, strict=True
        ):
            if first != second:
                raise ValueError(
                    f"{name} is given in {here if first else there} and not in {there if first else here}: give it in "
                    "all blocks or in none"
                )
        labels = None if self.labels is None else list(dict.fromkeys([*self.labels, *other.labels]))
        return replace(
            self,
            n_rows=self.n_rows + other.n_rows,
            sums=self.sums + other.sums,
            weight_range=np.array(
                [
                    min(self.weight_range[0], other.weight_range[0]),
                    max(self.weight_range[1], other.weight_range[1]),
                ]
            ),
            labels=labels,
            kinds=self._merged_kinds(other),
            people=self._merged_people(other),
        )

    def _merged_kinds(self, other):
        # A block without rows of weight says nothing of its own.
        if not self.people or not other.people:
            return self.kinds if self.people else other.kinds
        if list(self.kinds) != list(other.kinds):
            raise ValueError(
                f"the columns of sensitive_features differ between blocks: {list(self.kinds)} in block {self.part}, "
                f"{list(other.kinds)} in block {other.part}"
            )
        merged = {}
        for name, (numeric, declared) in self.kinds.items():
            also_numeric, also_declared = other.kinds[name]
            if numeric != also_numeric:
                first, second = ("numbers", "categories") if numeric else ("categories", "numbers")
                raise ValueError(
                    f"sensitive_features column {name!r} holds {first} in block {self.part} and {second} in block "
                    f"{other.part}: convert it to one type"
                )
            # Levels that were declared otherwise elsewhere are those of a part, not of the whole.
            merged[name] = numeric, declared if declared == also_declared else None
        return merged

    def _merged_people(self, other):
        people = {row: list(found) for row, found in self.people.items()}
        for row, (count, weight) in other.people.items():
            found = people.setdefault(row, [0, 0.0])
            found[0] += count
            found[1] += weight
        if len(people) > MOST_PROFILES:
            raise _too_many_people(list(self.kinds), f"{len(people):,} distinct rows up to block {other.part}")
        return people

    def frame(self):
        """Distinct rows of the protected attributes, one line for each entry of ``people``."""
        values = zip(*self.people, strict=True)
        columns = {}
        for (name, (numeric, declared)), column in zip(self.kinds.items(), values, strict=True):
            if numeric:
                columns[name] = np.array(column, dtype=np.float64)
            elif declared is not None:
                columns[name] = pd.Categorical(column, categories=list(declared))
            else:
                found = np.empty(len(column), dtype=object)
                found[:] = column
                columns[name] = found
        return pd.DataFrame(columns)


def _difference(first, second):
    def described(part):
        return f"block {part.part} has {part.n_features} column(s)" + (
            "" if part.columns is None else f" {part.columns[:10]}"
        )

    text = f"{described(first)}, {described(second)}"
    if first.columns is not None and second.columns is not None:
        lacks = [name for name in first.columns if name not in second.columns]
        more = [name for name in second.columns if name not in first.columns]
        if lacks or more:
            return f"block {second.part} lacks {lacks[:10]} and has {more[:10]} beside those of block {first.part}"
        text += "; put them in one order"
    return text


def _too_many_people(names, found):
    return ValueError(
        f"the protected attributes {names} have {found}, and rows in blocks may have {MOST_PROFILES:,} at most: round "
        "continuous attributes (an age to whole years), or merge levels"
    )


def split_block(block):
    """The five things that a block may hold, by name; what it has none of is None."""
    if isinstance(block, Mapping):
        unknown = [name for name in block if name not in _NAMES]
        if unknown:
            raise ValueError(f"a block has the entries {', '.join(_NAMES)}; found {unknown}")
        given = {name: block.get(name) for name in _NAMES}
    elif isinstance(block, tuple):
        if not 2 <= len(block) <= len(_NAMES):
            raise ValueError(f"a block is a tuple of 2 to 5 entries ({', '.join(_NAMES)}); found {len(block)}")
        given = dict(zip(_NAMES, [*block, *[None] * (len(_NAMES) - len(block))], strict=True))
    else:
        raise TypeError(f"a block must be a tuple or a dict of {', '.join(_NAMES)}; found {type(block).__name__}")
    for name in ("X", "y"):
        if given[name] is None:
            raise ValueError(f"a block needs {name}; found none")
    return given


def _in_block(part, error):
    """The same error with the number of the block in front."""
    try:
        return type(error)(f"block {part}: {error}")
    except TypeError:
        return ValueError(f"block {part}: {error}")


def read_part(estimator, block, part):
    """Check a block of rows.

    Parameters
    ----------
    estimator : PenalisedEstimator
        Says what is expected; it is not changed.
    block : tuple or dict
        ``(X, y, sample_weight, sensitive_features, offset)``, of which the last may be left out.
    part : int
        Number of the block, for messages.

    Returns
    -------
    kept : KeptRows
    description : PartDescription

    Raises
    ------
    ValueError, TypeError
        As ``fit`` does, with the number of the block, and for values that are not finite that of a row.
    """
    try:
        return _read_part(clone(estimator), split_block(block), part)
    except (ValueError, TypeError) as error:
        raise _in_block(part, error) from error


def _read_part(estimator, given, part):
    warn_about_order(**given)
    X, people = read_sensitive_columns(
        given["X"], given["sensitive_features"], estimator.sensitive_columns, drop=estimator.drop_sensitive_columns
    )
    try:
        X, y = estimator._validate(X, given["y"], ensure_min_samples=0, reset=True)
    except ValueError as error:
        raise ValueError(f"{_first_not_finite(X, given['y'])}{error}") from error
    check_squarable(X)
    n_given = X.shape[0]
    weights = _weights(given["sample_weight"], n_given)
    offset = given["offset"]
    if offset is not None:
        offset = check_offset(offset, n_given)
    labels = None
    if is_regressor(estimator):
        y = np.asarray(y, dtype=np.float64)
    else:
        found, y = np.unique(column_or_1d(y), return_inverse=True)
        if len(found) > 2:
            raise ValueError(
                f"Only binary classification is supported; found {len(found)} labels, such as {found[:3].tolist()}"
            )
        labels, y = found.tolist(), y.astype(np.int8)
    keep = None if weights.all() else weights > 0
    if people is not None:
        check_sensitive_features(people, n_given)
    if keep is not None:
        y, weights = y[keep], weights[keep]
        offset = None if offset is None else offset[keep]
        people = None if people is None else select_rows(people, keep)
    loss = estimator._loss()
    if labels is None and loss.out_of_range(y).any():
        loss.check_target(y)
    profiles, kinds, rows = None, None, []
    if people is not None and len(y):
        profiles, kinds, rows = _distinct_rows(people)
    y, weights, offset = _own(y), _own(weights), _own(offset)
    kept = KeptRows(n_given, keep, y, labels, weights, offset, profiles, rows)
    sums = np.array([weights.sum(), weights @ y, float(y.sum())])
    weight_range = np.array([weights.min(initial=np.inf), weights.max(initial=-np.inf)])
    counted = {}
    if rows:
        counts = np.bincount(profiles, minlength=len(rows)).tolist()
        totals = np.bincount(profiles, weights=weights, minlength=len(rows)).tolist()
        counted = {row: [count, total] for row, count, total in zip(rows, counts, totals, strict=True)}
    names = getattr(estimator, "feature_names_in_", None)
    description = PartDescription(
        part,
        tuple(given[name] is not None for name in ("sample_weight", "offset")) + (people is not None,),
        None if names is None else names.tolist(),
        X.shape[1],
        len(y),
        sums,
        weight_range,
        labels,
        kinds,
        counted,
    )
    return kept, description


def _own(values):
    """The same vector in memory of its own: a column of a frame would keep all of the frame."""
    return values if values is None or values.flags.owndata else values.copy()


def _weights(given, n_rows):
    if given is not None and np.ndim(given) == 1 and len(given) == n_rows and not np.any(given):
        # No row of this block counts, or there is none; those of others may.
        return np.zeros(n_rows)
    return np.ones(0) if n_rows == 0 else check_sample_weight(given, n_rows)


def _first_not_finite(X, y):
    """Where the first value is that is no finite number, for an error; empty where none is found."""
    for name, values in (("X", X), ("y", y)):
        try:
            finite = np.isfinite(np.asarray(values, dtype=np.float64))
        except (TypeError, ValueError):
            continue
        wrong = ~(finite if finite.ndim < 2 else finite.all(axis=1))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            where = ""
            if finite.ndim == 2:
                column = int(np.flatnonzero(~finite[row])[0])
                where = f", column {getattr(values, 'columns', range(column + 1))[column]!r}"
            return f"{name} in row {row}{where}: "
    return ""


def _distinct_rows(people):
    """Position of each row among the distinct rows, kinds of the columns, and the distinct rows."""
    attributes = Attributes.read(people)
    if attributes.probabilities:
        raise TypeError(
            f"the protected attributes {list(attributes.probabilities)} are known as probabilities, which rows in "
            "blocks cannot have: fit a sample of the rows in memory"
        )
    kinds, codes, levels = {}, [], []
    for name, column in attributes.columns.items():
        kinds[name] = column.numeric, None if column.declared is None else tuple(column.declared)
        own, found = column.level_codes()
        codes.append(own)
        levels.append(found)
    profiles, first = combine_codes(codes)
    if len(first) > MOST_PROFILES:
        raise _too_many_people(attributes.names, f"{len(first):,} distinct rows in this block")
    of_columns = ([found[code] for code in own[first]] for own, found in zip(codes, levels, strict=True))
    return profiles.astype(np.int32), kinds, list(zip(*of_columns, strict=True))


def read_features(estimator, block, kept, part):
    """Features of a block that was checked before, of rows of positive weight.

    Parameters
    ----------
    estimator : PenalisedEstimator
        One that knows the names and the number of features.
    block : tuple or dict
        As in :func:`read_part`; the features are enough.
    kept : object
        With ``n_given`` and ``keep`` of :class:`KeptRows`.
    part : int
        Number of the block, for messages.

    Returns
    -------
    (n, p) float64 array or CSR matrix
    """
    try:
        X = block["X"] if isinstance(block, Mapping) else block[0]
        if estimator.sensitive_columns is not None:
            X, _ = read_sensitive_columns(X, None, estimator.sensitive_columns, drop=estimator.drop_sensitive_columns)
        found = X.shape[0] if hasattr(X, "shape") else len(X)
        if found != kept.n_given:
            raise ValueError(f"it has {found:,} rows and had {kept.n_given:,} before: blocks must not change in a fit")
        if not kept.n_given:
            return np.empty((0, estimator.n_features_in_))
        # It was found finite when it was read first.
        with sklearn.config_context(assume_finite=True):
            X = estimator._validate_features(X)
    except (ValueError, TypeError) as error:
        raise _in_block(part, error) from error
    return X if kept.keep is None else select_rows(X, kept.keep)
