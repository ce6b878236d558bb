"""Protected attributes that are encoded once and sliced into mini-batches."""

import numpy as np
from sklearn.base import BaseEstimator

from fairdcov.encoding import SensitiveBlocks

__all__ = ["EncodedSensitiveFeatures", "ProfileEncoder"]


class EncodedSensitiveFeatures:
    """Encoded rows that slice like an array: ``encoded[rows]`` has the profiles of the whole, not those of the batch.

    Attributes
    ----------
    codes : (n,) int32 array
        Profile of each row.
    points : tuple of (K, q) arrays
        Coordinates of the K profiles of the whole sample, one array for each attribute.
    names : tuple of str
        Names of the attributes.

    Notes
    -----
    Levels and scales are those of the whole sample, so that a batch in which a region happens to be missing measures
    distances as any other batch does.
    """

    def __init__(self, codes, points, names):
        self.codes = codes
        self.points = points
        self.names = names

    def __len__(self):
        return len(self.codes)

    def __getitem__(self, rows):
        """Rows by a slice, an integer or boolean array, or a torch tensor of either."""
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        codes = self.codes[rows]
        if codes.ndim != 1:
            raise IndexError(f"rows must be a slice or a vector of row numbers; found {rows!r}")
        return EncodedSensitiveFeatures(codes, self.points, self.names)

    def present(self):
        """The profiles that some row has, as :class:`~fairdcov.encoding._blocks.SensitiveBlocks`."""
        found, codes = np.unique(self.codes, return_inverse=True)
        points = tuple(np.ascontiguousarray(points[found]) for points in self.points)
        return SensitiveBlocks(codes.astype(np.int32), points, self.names)


class ProfileEncoder(BaseEstimator):
    """Encoder of profile numbers: what a penalty binds a mini-batch with, in place of its own encoder.

    Parameters
    ----------
    encoded : EncodedSensitiveFeatures
        Where the profiles are looked up.
    """

    def __init__(self, encoded=None):
        self.encoded = encoded

    def __sklearn_clone__(self):
        # It learns nothing, and a copy of the profiles for every batch would cost more than the batch.
        return self

    def fit_encode(self, codes, sample_weight=None):
        """Blocks of rows given by their profile numbers (n,)."""
        return EncodedSensitiveFeatures(codes, self.encoded.points, self.encoded.names).present()
