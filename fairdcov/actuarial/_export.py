"""Tables to files that a spreadsheet opens without running what is in them."""

from __future__ import annotations

import csv
import numbers
import secrets
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

__all__ = ["armed", "disarmed", "excel_safe", "whole_file", "write_csv"]

# Letters and symbols that show nothing, beside the blanks, controls, formats and marks that Unicode calls so.
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"


def _is_formula(text):
    """Whether a spreadsheet may run a cell: what cannot be seen in front of the sign does not protect from it."""
    for position, character in enumerate(text):
        if character.isalnum() and character not in _FILLERS:
            return False
        # the full-width, small and raised forms of the signs included
        if unicodedata.normalize("NFKC", character) in ("=", "+", "-", "@"):
            return True
        if position == 0 and character in "\t\r\n":
            return True
        if unicodedata.category(character)[0] not in "ZCM" and character not in _FILLERS:
            return False
    return False


def disarmed(text):
    """Text with an apostrophe in front where a spreadsheet would run it.

    Text that has apostrophes before a formula of its own gets one more, so that :func:`armed` gives back all text.
    """
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def armed(text):
    """Text as it was before :func:`disarmed`."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


@contextmanager
def whole_file(path):
    """Name of a file beside ``path`` to write, which takes its place when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _safe_cell(value):
    if isinstance(value, numbers.Number | np.bool_) or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return value
    return disarmed(str(value))


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


def excel_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Table whose text cannot be taken for formulas by a spreadsheet.

    Parameters
    ----------
    frame : DataFrame
        pandas, polars or another eager frame that narwhals knows. An index of levels becomes columns; one that merely
        counts rows is dropped.

    Returns
    -------
    pandas.DataFrame
        With an apostrophe before text cells and column names that begin with ``=``, ``+``, ``-``, ``@``, one of their
        other forms such as the full-width ones, a tab or a line break, whatever blanks and invisible characters are in
        front. Numbers, booleans and missing values are untouched; other objects, such as intervals, become text.

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
        # As objects: whole numbers beside a gap would become floats, which do not hold all of them.
        cells = column if numeric else pd.Series([_safe_cell(value) for value in column], column.index, dtype=object)
        safe[position] = cells
    result = pd.DataFrame(safe, index=table.index)
    result.columns = [disarmed(str(name)) for name in table.columns]
    return result


def write_csv(table: pd.DataFrame, path: str | Path) -> Path:
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
    with whole_file(path) as temporary, temporary.open("x", encoding="utf-8-sig", newline="") as file:
        safe.to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return path
