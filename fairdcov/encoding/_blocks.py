"""Protected attributes in the form the measures need: distinct profiles, and the profile of each row.

Rows with equal attributes are exchangeable for every dependence measure, so all that depends on the attributes alone
is computed once for each profile instead of once for each row.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["NominalCoordinates", "SensitiveBlocks", "combine_codes", "factorise", "present_codes"]


class NominalCoordinates:
    """One 0/1 column for two levels, one column each for more.

    Parameters
    ----------
    levels : list
        In their order.
    """

    def __init__(self, levels):
        self.levels = levels
        self.n_coordinates = len(levels) if len(levels) > 2 else 1

    def names(self, name):
        """Names of the coordinates."""
        return [f"{name}_{level}" for level in (self.levels if len(self.levels) > 2 else self.levels[-1:])]


def factorise(values):
    """Integer codes of the distinct values of a vector, by hashing.

    Returns
    -------
    codes : (n,) int64 array
        In ``range(K)``, in the order of first appearance; -1 for missing values.
    first_rows : (K,) array
        For each code the row where it appears first.
    """
    codes, distinct = pd.factorize(values)
    first_rows = np.empty(len(distinct), dtype=np.intp)
    known = np.flatnonzero(codes >= 0)[::-1] if (codes < 0).any() else np.arange(len(codes) - 1, -1, -1)
    first_rows[codes[known]] = known
    return codes, first_rows


def present_codes(codes, n_codes):
    """Codes in ``range(n_codes)`` without gaps, in the same order, and the codes that are there."""
    present = np.flatnonzero(np.bincount(codes, minlength=n_codes))
    if len(present) == n_codes:
        return codes, present
    position = np.zeros(n_codes, dtype=codes.dtype)
    position[present] = np.arange(len(present))
    return position[codes], present


def combine_codes(columns):
    """Codes of the distinct combinations of several code columns, and the first row of each combination.

    Parameters
    ----------
    columns : sequence of (n,) integer arrays
        Non-negative codes, at least one column.
    """
    combined = np.asarray(columns[0], dtype=np.int64)
    for column in columns[1:]:
        size = int(column.max(initial=0)) + 1
        if (int(combined.max(initial=0)) + 1) * size > np.iinfo(np.int64).max:
            combined, column = factorise(combined)[0], factorise(column)[0]
            size = int(column.max(initial=0)) + 1
        combined = combined * size + column
        if combined.max(initial=0) > len(combined):
            combined, _ = factorise(combined)
    return factorise(combined)


@dataclass(frozen=True, eq=False)
class SensitiveBlocks:
    """Protected attributes as distinct profiles.

    Attributes
    ----------
    codes : (n,) int32 array
        Profile of each row.
    points : tuple of (K, q) float64 arrays
        One for each block (attribute): its coordinates in each of the K profiles. Euclidean distances between them
        are the distances of the measures.
    names : tuple of str
        Names of the blocks.

    Notes
    -----
    They slice like an array: ``blocks[rows]`` keeps the profiles of the whole, so that a mini-batch in which a region
    happens to be missing measures distances as any other does. Encoders take such rows as they are.
    """

    codes: np.ndarray
    points: tuple
    names: tuple

    @classmethod
    def from_arrays(cls, blocks, names=None):
        """Factorise numeric blocks (n, q), finite and of equal length."""
        columns = [factorise(column)[0] for block in blocks for column in block.T]
        names = names or [f"block {position}" for position in range(len(blocks))]
        return cls.from_points(columns, lambda rows: [block[rows] for block in blocks], names)

    @classmethod
    def from_points(cls, columns, points_of, names):
        """Combine code columns into profiles; ``points_of(rows)`` gives each block's coordinates of some rows."""
        codes, first_rows = combine_codes(columns)
        points = tuple(np.ascontiguousarray(points, dtype=np.float64) for points in points_of(first_rows))
        return cls(codes.astype(np.int32), points, tuple(names))

    def __len__(self):
        return len(self.codes)

    def __getitem__(self, rows):
        """Rows by a slice, an integer or boolean array, or a torch tensor of either."""
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        codes = self.codes[rows]
        if codes.ndim != 1:
            raise IndexError(f"rows must be a slice or a vector of row numbers; found {rows!r}")
        return SensitiveBlocks(codes, self.points, self.names)

    def permuted(self, generator):
        """The same profiles, dealt to the rows at random."""
        return SensitiveBlocks(generator.permuted(self.codes), self.points, self.names)

    def with_points(self, points):
        """The same profiles of the rows with other coordinates."""
        return SensitiveBlocks(self.codes, points, self.names)

    def of_profiles(self, keep):
        """Some of the profiles, by a mask; rows with another one, which must not have weight, take any."""
        position = np.where(keep, np.cumsum(keep) - 1, 0).astype(np.int32)
        return SensitiveBlocks(position[self.codes], tuple(points[keep] for points in self.points), self.names)

    def observed(self):
        """The same object: its rows have one profile each."""
        return self

    def present(self):
        """The same rows with those profiles only that some row has."""
        codes, found = present_codes(self.codes, self.n_profiles)
        if len(found) == self.n_profiles:
            return self
        return SensitiveBlocks(codes, tuple(np.ascontiguousarray(points[found]) for points in self.points), self.names)

    @property
    def n_samples(self):
        """Number of rows."""
        return len(self.codes)

    @property
    def n_profiles(self):
        """Number K of distinct rows."""
        return len(self.points[0])

    def concatenated(self):
        """The same rows with all columns in a single block."""
        points = self.points if len(self.points) == 1 else (np.hstack(self.points),)
        return SensitiveBlocks(self.codes, points, (" + ".join(self.names),))

    def single(self, block):
        """One block alone, with its own, fewer profiles."""
        points = self.points[block]
        profile_codes, first_profiles = combine_codes([factorise(column)[0] for column in points.T])
        return SensitiveBlocks(
            profile_codes.astype(np.int32)[self.codes], (points[first_profiles],), (self.names[block],)
        )

    def spread(self, keep):
        """The same blocks on more rows: those not in the mask ``keep`` get the first profile."""
        codes = np.zeros(len(keep), dtype=np.int32)
        codes[keep] = self.codes
        return SensitiveBlocks(codes, self.points, self.names)

    def profile_weights(self, weights=None):
        """Sum of the row weights (their number without weights) in each profile, (K,)."""
        return np.bincount(self.codes, weights=weights, minlength=self.n_profiles).astype(np.float64)

    def is_constant(self, weights=None):
        """Whether all rows that carry weight share one profile."""
        return np.count_nonzero(self.profile_weights(weights)) < 2
