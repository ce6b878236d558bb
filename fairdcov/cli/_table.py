"""Columns of a file, before and after their values are read; what was written stays beside what it means.

A column is numbers or categories to a model; what it is has been found out from all of its values, or was asked for.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairdcov._checks import import_optional
from fairdcov.cli._meaning import (
    are_dates,
    common_spelling,
    exact_as_floats,
    floats_of,
    is_text,
    matches,
    number_pattern,
    respelled,
)
from fairdcov.encoding import MISSING, nearest_name

__all__ = ["Source", "Table", "arrow", "date_text", "one_chunk"]


def arrow(purpose="fairdcov: reading tables"):
    """The package pyarrow."""
    return import_optional("pyarrow", purpose)


def one_chunk(column):
    """A column as a single array."""
    pa = arrow()
    if not isinstance(column, pa.ChunkedArray):
        return column
    column = column.combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


@dataclass
class Source:
    """A file whose columns are known and whose values have not been read.

    ``names`` are the columns; ``headers`` has the name that each has in the file.
    """

    path: Path
    names: list
    n_rows: int | None = None
    remarks: list = field(default_factory=list)
    headers: dict = field(default_factory=dict)

    def check_names(self, requested):
        """Raise a ValueError for requested columns, a dict of option to names, that the file does not have."""
        for option, names in requested.items():
            for name in names:
                if name not in self.names:
                    raise ValueError(
                        f"{option} names {name!r}, which is not a column of {self.path}{nearest_name(name, self.names)}"
                    )

    def _settle_names(self, found):
        """Names to use: nameless columns, which count rows, are left out, and repeated names are an error."""
        named = [name for name in found if name and not name.startswith("__index_level_")]
        repeated = [name for name, count in Counter(named).items() if count > 1]
        if repeated:
            raise ValueError(
                f"{self.path} has duplicated column names: {', '.join(map(repr, repeated[:5]))}; rename them"
            )
        if not named:
            raise ValueError(f"{self.path} has no columns with names")
        if len(named) < len(found):
            self.remarks.append(f"left out {len(found) - len(named)} column(s) without a name")
        return named


@dataclass
class Table:
    """Columns of a file.

    Attributes
    ----------
    path : Path
        The file.
    columns : pyarrow.Table
        What they mean: numbers, truth values, dates, and categories of text.
    written : pyarrow.Table
        What is in the file.
    decimal : str
        Decimal mark of its numbers.
    remarks : list of str
        What was assumed.
    as_text : frozenset of str
        Columns of numbers that are names.
    headers : dict of str to str
        Names of the columns in the file.
    schema : pyarrow.Schema or None
        Types of the columns in a Parquet file.
    from_csv : bool
        Whether the file is a CSV file.
    """

    path: Path
    columns: Any
    written: Any
    decimal: str
    remarks: list
    as_text: frozenset
    headers: dict
    schema: Any = None
    from_csv: bool = False

    @property
    def n_rows(self):
        """Number of rows."""
        return self.columns.num_rows

    def is_number(self, name):
        """Whether a column holds numbers."""
        types = arrow().types
        kind = self.columns[name].type
        return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)

    def numbers(self, name, option, *, allow_missing=False):
        """One column as float64, (n,).

        Parameters
        ----------
        name : str
            Column.
        option : str
            Option of the command line that named it, for errors.
        allow_missing : bool, default=False
            Whether missing values become NaN instead of an error.

        Raises
        ------
        ValueError
            For text, dates, infinite and missing values, with the first row and their number; for whole numbers that no
            float holds.
        """
        pa = arrow()
        types = pa.types
        column = self.columns[name]
        if column.null_count == len(column):
            column = pa.nulls(len(column), pa.float64())
        elif is_text(column.type):
            column = self._text_to_numbers(column, name, option)
        elif types.is_boolean(column.type):
            column = column.cast(pa.int8())
        elif types.is_decimal(column.type):
            # Arrow's own conversion is not to the nearest float.
            column = floats_of(column.cast(pa.string()))
        elif types.is_integer(column.type) and not exact_as_floats(column):
            raise ValueError(_too_long(option, name))
        elif not self.is_number(name):
            raise ValueError(f"{option}: column {name!r} must be numbers; found values of type {column.type}")
        values = np.asarray(
            one_chunk(column.cast(pa.float64(), safe=False)).to_numpy(zero_copy_only=False), dtype=np.float64
        )
        self._reject(np.isinf(values), "infinite", name, option)
        if not allow_missing:
            self._reject(np.isnan(values), "missing", name, option)
        return values

    def _text_to_numbers(self, column, name, option):
        import pyarrow.compute as pc

        pa = arrow()
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        wrong = pc.invert(matches(text, number_pattern(self.decimal)))
        rows = np.flatnonzero(pc.fill_null(wrong, False).to_numpy(zero_copy_only=False))
        if len(rows):
            others = f" and in {len(rows) - 1:,} more" if len(rows) > 1 else ""
            raise ValueError(
                f"{option}: column {name!r} must be numbers; found {text[int(rows[0])].as_py()!r} in data row "
                f"{rows[0] + 1}{others}"
            )
        if bool(pc.all(matches(text, r"^[+-]?[0-9]+$")).as_py()) and not exact_as_floats(text):
            raise ValueError(_too_long(option, name))
        return floats_of(text, self.decimal)

    def _reject(self, wrong, what, name, option):
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise ValueError(
                f"{option}: column {name!r} has {len(rows):,} {what} value(s), the first in data row {rows[0] + 1}: "
                "fill them or leave these rows out"
            )

    def attribute(self, name, option, *, levels=None):
        """One column as numbers, or as categories among which the missing value is one.

        Parameters
        ----------
        name : str
            Column.
        option : str
            Option of the command line that named it, for errors.
        levels : list of str, optional
            Levels that it had when a model was fitted: it is categories then, in their spelling.

        Returns
        -------
        pandas.Series, (n,)
            int64 when all are whole numbers, float64 (NaN where missing), or categories of str. A column without any
            value is a category.

        Raises
        ------
        ValueError
            For dates, lists and other types that are neither, and for infinite numbers.
        """
        pa = arrow()
        column = self.columns[name]
        as_text = name in self.as_text or levels is not None
        if (
            not as_text
            and self.is_number(name)
            and not (pa.types.is_integer(column.type) and not exact_as_floats(column))
        ):
            values = self.numbers(name, option, allow_missing=True)
            if not np.isnan(values).all():
                return pd.Series(_whole(values), name=name)
        if column.null_count == len(column) or (pa.types.is_floating(column.type) and _all_nan(column)):
            return pd.Series(pd.Categorical.from_codes(np.zeros(self.n_rows, dtype=np.int8), [MISSING]), name=name)
        if not as_text and (pa.types.is_temporal(column.type) or (is_text(column.type) and are_dates(column))):
            kind = "text" if is_text(column.type) else column.type
            raise ValueError(
                f"{option}: column {name!r} has values of type {kind} (dates or times), which are neither numbers nor "
                "categories: convert them, to years for example, name the column with --categorical, or leave it out"
            )
        return pd.Series(_categories(self._names(name, option), self._spell(name, levels)), name=name)

    def _names(self, name, option):
        """A column as text, dictionary-encoded."""
        types = arrow().types
        column = self.columns[name]
        if self.is_number(name) or types.is_boolean(column.type) or types.is_temporal(column.type):
            return _written_out(column).dictionary_encode()
        if not is_text(column.type):
            raise ValueError(
                f"{option}: column {name!r} has values of type {column.type}, which are neither numbers nor "
                "categories: convert them or leave the column out"
            )
        return column

    def _spell(self, name, levels):
        """Function of the levels of a column that gives them in the spelling that they are to have."""
        if levels is not None:
            return lambda found: respelled(found, levels)
        return common_spelling if name in self.as_text else list

    def to_pandas(self):
        """All columns as pandas has them."""
        return self.columns.to_pandas(integer_object_nulls=True)


def _too_long(option, name):
    return (
        f"{option}: column {name!r} must be numbers; found whole numbers of more digits than numbers can "
        "hold, which are names"
    )


def _all_nan(column):
    import pyarrow.compute as pc

    return bool(pc.all(pc.is_nan(column)).as_py())


def _whole(values):
    """Numbers as int64 when all of them are whole, whether or not the file writes a point."""
    fits = np.abs(values) < 2.0**63
    return values.astype(np.int64) if fits.all() and (values == np.floor(values)).all() else values


def _categories(column, spell):
    """Sorted categories of an Arrow dictionary column in some spelling; missing values become a category."""
    column = one_chunk(column)
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    levels = np.asarray([MISSING if level is None else level for level in column.dictionary.to_pylist()], dtype=object)
    if (codes < 0).any():
        codes = np.where(codes < 0, len(levels), codes)
        levels = np.append(levels, MISSING)
    used = np.flatnonzero(np.bincount(codes, minlength=len(levels)))
    named = used[levels[used] != MISSING]
    levels[named] = spell(list(levels[named]))
    sorted_levels = sorted(set(levels[used]))
    place = {level: position for position, level in enumerate(sorted_levels)}
    position = np.zeros(len(levels), dtype=np.int64)
    position[used] = [place[level] for level in levels[used]]
    return pd.Categorical.from_codes(position[codes], sorted_levels)


def _written_out(column):
    """Numbers, truth values and dates as the text that a CSV file would have: whole numbers without a point."""
    pa = arrow()
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.string())
    if pa.types.is_temporal(column.type):
        return date_text(column)
    values = [None if value is None or value != value else value for value in column.to_pylist()]
    whole = all(value is None or (np.isfinite(value) and value == int(value)) for value in values)
    return pa.array([None if value is None else str(int(value) if whole else value) for value in values], pa.string())


def date_text(column):
    """Dates and times as pandas writes them: days alone where there is no time of day."""
    import pyarrow.compute as pc

    pa = arrow()
    text = column.cast(pa.string())
    if not pa.types.is_timestamp(column.type):
        return text
    text = pc.replace_substring_regex(text, r"\.0+(Z?)$", r"\1")
    midnight = pc.all(matches(text, r" 00:00:00$"), min_count=0).as_py()
    return pc.replace_substring(text, " 00:00:00", "") if midnight else text
