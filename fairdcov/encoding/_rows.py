"""Rows of user input: lists of them column by column, and labels of pandas that say the rows are in another order."""

import numpy as np
import pandas as pd

from fairdcov._checks import warn_user
from fairdcov.exceptions import SensitiveFeaturesWarning

__all__ = ["array_of_rows", "warn_about_order", "warn_of_attributes"]


def warn_of_attributes(message):
    """Issue a SensitiveFeaturesWarning at the user's line."""
    warn_user(message, SensitiveFeaturesWarning)


def array_of_rows(values, name="sensitive_features"):
    """An array of values or rows, (n,) or (n, d); lists become objects, so that numbers beside text stay numbers.

    Parameters
    ----------
    values : array, or list or tuple of values or of rows
        What is neither is left to NumPy.
    name : str
        Name of the argument, for errors.
    """
    if not isinstance(values, list | tuple):
        return np.asarray(values)
    lengths = {len(row) if isinstance(row, list | tuple | np.ndarray) and np.ndim(row) else None for row in values}
    if len(lengths) > 1:
        found = ", ".join(sorted("a single value" if length is None else str(length) for length in lengths))
        raise ValueError(f"{name} must have rows of equal length; found {found}")
    return np.array(values, dtype=object)


def warn_about_order(**arguments):
    """Warn where pandas objects have the labels of one another in another order: rows are matched by position.

    Parameters
    ----------
    **arguments : object or None
        Arguments under their names; the first pandas object among them is what the others are compared with. An index
        stands for itself.

    Returns
    -------
    dict
        Name and index of that first object; empty without one. Pass it on to compare further arguments.
    """
    reference = {}
    for name, value in arguments.items():
        index = value if isinstance(value, pd.Index) else getattr(value, "index", None)
        if not isinstance(index, pd.Index):
            continue
        if not reference:
            reference = {name: index}
            continue
        ((first, expected),) = reference.items()
        apart = _rows_in_another_order(expected, index)
        if apart:
            warn_of_attributes(
                f"rows of {first} and {name} are matched by position, but their indexes have the same labels in "
                f"another order: {apart} of {len(index)} rows have different labels. Put {name} in the order of "
                f"{first} by {name}.loc[{first}.index], or drop labels that mean nothing by reset_index(drop=True)"
            )
    return reference


def _rows_in_another_order(expected, index):
    """Number of rows with different labels, where two indexes of equal length share their labels; else 0."""
    n = len(index)
    if expected is index or len(expected) != n or expected.equals(index):
        return 0
    codes, labels = expected.append(index).factorize(use_na_sentinel=False)
    before, after = codes[:n], codes[n:]
    counts, found = np.bincount(before, minlength=len(labels)), np.bincount(after, minlength=len(labels))
    apart = np.flatnonzero(before != after)
    if not (counts == found).all():
        # Other rows were left out of the one than of the other: what is left should still be side by side. Only a
        # table without labels, which pandas numbers 0, 1, 2 ..., shares labels with others by chance.
        unlabelled = pd.RangeIndex(n)
        shared = np.minimum(counts, found)
        if unlabelled.equals(expected) or unlabelled.equals(index) or 2 * shared.sum() <= n:
            return 0
        if not shared[after[apart]].any():
            return 0
    return len(apart)
