"""Protected attributes of all partitions: the distinct rows, and which of them each row is."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fairdcov.encoding import Attributes, combine_codes

__all__ = ["Profiles", "find_profiles"]

# Beyond so many distinct rows tables over them are no longer small beside the rows themselves.
_MOST_PROFILES = 100_000


@dataclass(frozen=True)
class Profiles:
    """Distinct rows of the protected attributes.

    Attributes
    ----------
    frame : (K, d) DataFrame
        In the order of their first appearance.
    weights : (K,) array
        Sum of the row weights.
    n_rows : (K,) array
        Rows of positive weight.
    positions : dict of tuple to int
        Row of ``frame`` by its levels.
    """

    frame: pd.DataFrame
    weights: np.ndarray
    n_rows: np.ndarray
    positions: dict = field(repr=False)

    def codes_of(self, sensitive_features):
        """Row of :attr:`frame` that each row is, (n,); -1 for one that is not there."""
        codes, frame = _distinct(sensitive_features)
        return np.array([self.positions.get(row, -1) for row in _keys(frame)], dtype=np.int32)[codes]


def find_profiles(partitions, name="sensitive_features", weight="sample_weight"):
    """The distinct rows of one argument, those of no weight left out.

    Parameters
    ----------
    partitions : Partitions
        With the arguments of these names.
    name, weight : str
        Of attributes and weights; a block may have no weights.

    Returns
    -------
    Profiles
    """
    found = [part for part in partitions.compute(_of_block, name, weight) if len(part[0])]
    if not found:
        raise ValueError(f"{weight} must be positive in at least one row")
    frames, weights, n_rows = zip(*found, strict=True)
    columns = [tuple(frame.columns) for frame in frames]
    if len(set(columns)) > 1:
        other = next(position for position, names in enumerate(columns) if names != columns[0])
        raise ValueError(
            f"{name} must have the same columns everywhere; found {list(columns[0])} in "
            f"{partitions.places()[0]} and {list(columns[other])} in {partitions.places()[other]}"
        )
    codes, frame = _distinct(_together(frames))
    if len(frame) > _MOST_PROFILES:
        raise ValueError(
            f"{name} has {len(frame):,} distinct rows, more than {_MOST_PROFILES:,}: cut or round its continuous "
            "columns"
        )
    weights = np.bincount(codes, np.concatenate(weights), len(frame))
    n_rows = np.bincount(codes, np.concatenate(n_rows), len(frame)).astype(np.int64)
    return Profiles(frame, weights, n_rows, {row: position for position, row in enumerate(_keys(frame))})


def _of_block(block, name, weight):
    """Distinct rows of a block with their weights and numbers."""
    attributes = Attributes.read(block[name])
    attributes.require_observed("a way to spread shares over partitions")
    if block.get(weight) is not None:
        weights = np.asarray(block[weight], dtype=np.float64)
        keep = weights > 0
        attributes, weights = attributes.rows(keep), weights[keep]
    else:
        weights = np.ones(len(attributes))
    codes, frame = _distinct(attributes)
    return frame, np.bincount(codes, weights, len(frame)), np.bincount(codes, minlength=len(frame))


def _distinct(sensitive_features):
    """Codes of the rows, and a DataFrame of the distinct rows that they stand for."""
    columns = Attributes.read(sensitive_features).columns
    if not len(next(iter(columns.values()))):
        return np.zeros(0, dtype=np.int64), pd.DataFrame({name: [] for name in columns})
    codes, rows = combine_codes([_codes(column) for column in columns.values()])
    frame = {}
    for name, column in columns.items():
        if column.declared is not None:
            frame[name] = pd.Categorical.from_codes(column.codes[rows], categories=column.declared)
        else:
            frame[name] = column.values[rows]
    return codes, pd.DataFrame(frame)


def _codes(column):
    return column.codes.astype(np.int64) if column.codes is not None else column.distinct()[0]


def _together(frames):
    """Rows of all frames; levels that are declared anywhere are declared."""
    together = {}
    for name in frames[0].columns:
        parts = [frame[name] for frame in frames]
        declared = {level: None for part in parts if hasattr(part, "cat") for level in part.cat.categories}
        values = np.concatenate([np.asarray(part, dtype=object) for part in parts])
        if declared:
            levels = list(dict.fromkeys([*declared, *values.tolist()]))
            together[name] = pd.Categorical(values, categories=levels)
        else:
            # Numbers stay numbers where all partitions have some.
            numbers = all(part.dtype.kind in "fiu" for part in parts)
            together[name] = values.astype(np.float64) if numbers else values
    return pd.DataFrame(together)


def _keys(frame):
    return list(zip(*(frame[name].tolist() for name in frame.columns), strict=True))
