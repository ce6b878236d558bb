"""Tables to files that a spreadsheet opens without running what is in them."""

import csv
import numbers
import secrets
from pathlib import Path

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

__all__ = ["excel_safe", "write_csv"]

# What makes a spreadsheet take a cell for a formula, the full-width forms of these signs included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _safe_text(text):
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _safe_cell(value):
    if isinstance(value, numbers.Number | np.bool_) or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return value
    return _safe_text(str(value))


def _as_pandas(table):
    if isinstance(table, pd.DataFrame):
        # not by narwhals, which knows no repeated column names
        return table
    frame = nw.from_native(table, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.Series):
        frame = frame.alias("x0" if frame.name is None else frame.name).to_frame()
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(f"table must be a DataFrame; found {type(table).__name__}")
    if frame.implementation is nw.Implementation.PANDAS:
        return frame.to_native()
    return pd.DataFrame(frame.to_dict(as_series=False))


def excel_safe(frame):
    """Table whose text cannot be taken for formulas by a spreadsheet.

    Parameters
    ----------
    frame : DataFrame
        pandas, polars or another eager frame that narwhals knows. An index of levels becomes columns; one that merely
        counts rows is dropped.

    Returns
    -------
    pandas.DataFrame
        With an apostrophe before text cells and column names that begin with ``=``, ``+``, ``-``, ``@``, tab or a line
        break. Numbers, booleans and missing values are untouched; other objects, such as intervals, become text.

    References
    ----------
    OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov.actuarial import excel_safe
    >>> excel_safe(pd.DataFrame({"level": ["=SUM(A1)", "diesel"], "effect": [-0.5, 1.0]}))
           level  effect
    0  '=SUM(A1)    -0.5
    1     diesel     1.0
    """
    table = _as_pandas(frame)
    counts_rows = table.index.nlevels == 1 and table.index.name is None and pd.api.types.is_integer_dtype(table.index)
    table = table.reset_index(drop=counts_rows, allow_duplicates=True)
    safe = {}
    for position in range(table.shape[1]):
        column = table.iloc[:, position]
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        safe[position] = column if numeric else column.astype(object).map(_safe_cell)
    result = pd.DataFrame(safe)
    result.columns = [_safe_text(str(name)) for name in table.columns]
    return result


def write_csv(table, path):
    """Write a table as CSV for Excel: formulas disarmed, UTF-8 with the mark that Excel looks for, whole or not at all.

    Parameters
    ----------
    table : DataFrame
        Any table of this module, or another one; see :func:`excel_safe`.
    path : str or Path
        File to write. An existing one is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileNotFoundError
        When its folder does not exist.
    TypeError
        For anything but a table.

    Notes
    -----
    All text is in quotation marks, so that a cell cannot be split by a spreadsheet that separates by semicolons.
    Numbers are written in full, so that they are read back as they were.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov.actuarial import write_csv
    >>> path = write_csv(pd.DataFrame({"level": ["=SUM(A1)"], "relativity": [1.25]}), "relativities.csv")
    >>> print(path.read_text(encoding="utf-8-sig"))
    "level","relativity"
    "'=SUM(A1)",1.25
    <BLANKLINE>
    """
    safe = excel_safe(table)
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path {str(path)!r} is in a folder that does not exist: make {str(path.parent)!r} first"
        )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8-sig", newline="") as file:
            safe.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
