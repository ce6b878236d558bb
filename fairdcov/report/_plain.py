"""Values to plain JSON types: what a report may hold."""

import datetime
import math
import numbers
import os

import numpy as np
import pandas as pd

from fairdcov import encoding

__all__ = ["level_text", "level_value", "plain", "rows_of"]


def level_text(level):
    """Name of a level of an attribute as people write it, in full."""
    if isinstance(level, bytes):
        return level.decode(errors="backslashreplace")
    return encoding.level_text(level, digits=12)


def level_value(level):
    """A level of an attribute as JSON: numbers and truth values stay what they are, bins become text."""
    if isinstance(level, pd.Interval | bytes):
        return level_text(level)
    return plain(level)


def plain(value):
    """Plain JSON types: NumPy's become Python's, numbers that are not finite None, everything unknown its text.

    Parameters
    ----------
    value : any
        Nested as deep as need be.

    Returns
    -------
    None, bool, int, float, str, list or dict
    """
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, dict):
        return {level_text(key): plain(part) for key, part in value.items()}
    if isinstance(value, pd.DataFrame):
        return rows_of(value)
    if isinstance(value, np.ndarray | pd.Series | pd.Index):
        return [plain(part) for part in value.tolist()]
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, pd.Interval | bytes):
        return level_text(value)
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def rows_of(table):
    """Rows of a table as dicts."""
    columns = {str(name): [plain(value) for value in table[name].tolist()] for name in table.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
