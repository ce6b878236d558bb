"""Tables of other systems, read as they come: separator, decimal mark and encoding are found out and said.

A CSV file is read as text first and becomes numbers column by column, once all of a column is known. What other
programs guess from the first rows, such as whether ``1,234`` is one or a thousand, is decided by all values, or asked.
What was in the file is kept beside what it means, so that it can be written again as it was.
"""

import codecs
import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fairdcov._checks import import_optional
from fairdcov.actuarial import armed
from fairdcov.cli._meaning import (
    are_dates,
    common_spelling,
    exact_as_floats,
    find_decimal,
    floats_of,
    is_text,
    matches,
    number_pattern,
    read_meaning,
    respelled,
    why_names,
)
from fairdcov.encoding import MISSING, nearest_name

__all__ = [
    "CSV_SUFFIXES",
    "PARQUET_SUFFIXES",
    "Source",
    "Table",
    "date_text",
    "file_format",
    "file_sha256",
    "one_chunk",
    "open_table",
]

CSV_SUFFIXES = (".csv", ".txt", ".tsv")
PARQUET_SUFFIXES = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Rows that the separator is found from.
_SNIFFED_ROWS = 200
_SNIFFED_BYTES = 1 << 18
_FEW_ROWS = 3
# Bytes that Arrow reads at a time, in which a row must fit; and as many as it can.
_BLOCK = 1 << 22
_LARGEST_BLOCK = (1 << 31) - 1


def _arrow(purpose="fairdcov: reading tables"):
    return import_optional("pyarrow", purpose)


def file_format(path, option):
    """``"csv"`` or ``"parquet"`` by the end of a file's name, or raise a ValueError that names the option."""
    suffix = Path(path).suffix.lower()
    if suffix in CSV_SUFFIXES:
        return "csv"
    if suffix in PARQUET_SUFFIXES:
        return "parquet"
    raise ValueError(f"{option} {path} must end in {', '.join((*CSV_SUFFIXES, *PARQUET_SUFFIXES))}")


def file_sha256(path):
    """SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# CSV
# ---------------------------------------------------------------------------------------------------------------------


_OTHER_FILES = {
    b"PAR1": "a Parquet file: rename it to .parquet",
    b"PK\x03\x04": "an Excel workbook or a zip file: save it as CSV",
}


def _find_encoding(path):
    """Encoding of a text file, from all of its lines.

    Raises
    ------
    ValueError
        For files that are no text, and for lines in different encodings.
    """
    with path.open("rb") as file:
        start = file.read(4096)
        for mark, what in _OTHER_FILES.items():
            if start.startswith(mark):
                raise ValueError(f"{path} is not text but {what}")
        if start.startswith(codecs.BOM_UTF8):
            encoding = "utf-8-sig"
        elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        elif b"\0" in start:
            raise ValueError(
                f"{path} is not text: it has bytes of value 0; if it is UTF-16, say so with --encoding utf-16"
            )
        else:
            encoding = "utf-8"
        file.seek(0)
        good, bad, undefined = 0, [], False
        for number, line in enumerate(file, start=1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                good += 1
            except UnicodeDecodeError:
                bad.append(number)
                undefined = undefined or any(byte in line for byte in b"\x81\x8d\x8f\x90\x9d")
    if not bad:
        return encoding
    if good or encoding == "utf-8-sig":
        others = f"{good} other lines with special characters are" if good else "the file begins as if it were"
        raise ValueError(
            f"{path} has mixed encodings: line {bad[0]} is not UTF-8 ({len(bad)} such lines) although {others}; "
            "convert it to one encoding, or say which to use for all of it with --encoding"
        )
    return "latin-1" if undefined else "cp1252"


def _rows_of(lines, separator):
    """Rows of text lines, with fields of any length."""
    limit = csv.field_size_limit(_LARGEST_BLOCK)
    try:
        yield from csv.reader(lines, delimiter=separator)
    finally:
        csv.field_size_limit(limit)


def _find_separator(lines):
    """Separator that cuts the lines into the most columns, the same number on each."""

    def score(separator):
        lengths = [len(row) for row in _rows_of(lines, separator) if row]
        if not lengths or lengths[0] < 2:
            return 0.0
        usual, count = Counter(lengths[1:] or lengths).most_common(1)[0]
        return min(usual, lengths[0]) * count / max(len(lengths) - 1, 1)

    best = max(SEPARATORS, key=score)
    return best if score(best) > 0 else ","


def _tidy_name(name):
    return armed(name.strip()).strip()


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


class CSVSource(Source):
    """A text file with a line of names."""

    def __init__(self, path, *, separator, decimal, encoding):
        super().__init__(path, [])
        self.decimal = decimal
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise ValueError(
                    f"--encoding {encoding!r} is not known; use for example utf-8, cp1252, latin-1 or utf-16"
                ) from None
        self.encoding = encoding or _find_encoding(path)
        lines = self._first_lines()
        self.skipped = next((number for number, line in enumerate(lines) if line.strip()), None)
        if self.skipped is None:
            raise ValueError(f"{path} is empty")
        if lines[self.skipped].strip().lower().startswith("sep=") and len(lines[self.skipped].strip()) == 5:
            # Excel's own first line.
            separator = separator or lines[self.skipped].strip()[4]
            self.skipped += 1
        # Tabs alone are a row of missing values.
        lines = [f"{line}\n" for line in lines[self.skipped :] if line.strip(" ")][: _SNIFFED_ROWS + 1]
        if len(lines) < 2:
            raise ValueError(f"{path} has no rows" + (" below the names of the columns" if lines else ""))
        self.separator = separator or _find_separator(lines)
        rows = list(_rows_of(lines, self.separator))
        # A name may have a line break in quotation marks.
        self.skipped += 1 + sum(name.count("\n") for name in rows[0])
        self.found = [_tidy_name(name) for name in rows[0]]
        self.headers = dict(zip(self.found, rows[0], strict=True))
        # R writes the numbers of the rows without a name for their column; others end each row with a separator.
        if len(rows) > 1 and all(len(row) == len(self.found) + 1 for row in rows[1:-1] or rows[1:]):
            last = all(row[-1] == "" for row in rows[1:-1] or rows[1:])
            self.found = [*self.found, ""] if last else ["", *self.found]
        self.names = self._settle_names(self.found)

    def _first_lines(self):
        """Whole lines from the beginning of the file, as many as it takes to see a few rows."""
        n_bytes = _SNIFFED_BYTES
        while True:
            with self.path.open("rb") as file:
                beginning = file.read(n_bytes + 1)
            whole = len(beginning) <= n_bytes
            try:
                text = codecs.getincrementaldecoder(self.encoding)().decode(beginning, final=whole)
            except UnicodeDecodeError as error:
                raise ValueError(f"{self.path} cannot be read as {self.encoding}: {error}") from error
            # A file in UTF-8 may be read as such whether it begins with the mark or not.
            lines = io.StringIO(text.removeprefix("\ufeff"), newline=None).read().split("\n")
            if whole:
                return lines
            if sum(bool(line.strip(" ")) for line in lines[:-1]) > _FEW_ROWS:
                return lines[:-1]
            n_bytes *= 8

    def read(self, names=None, *, as_text=(), used=None):
        """Columns as a Table.

        Those in ``as_text`` stay text. Columns that are not in ``used`` are only passed on, so that they have no say in
        what the decimal mark is.
        """
        names = self.names if names is None else list(dict.fromkeys(names))
        columns = self._read_text(names).unify_dictionaries().combine_chunks()
        if columns.num_rows == 0:
            raise ValueError(f"{self.path} has no rows below the names of the columns")
        remarks, used = list(self.remarks), set(names if used is None else used)
        decimal = self.decimal
        if decimal is None:
            candidates = {name: columns[name] for name in names if name not in as_text and name in used}
            decimal, doubt = find_decimal(candidates, self.separator)
            remarks += [doubt] if doubt else []
        typed = {}
        for name in names:
            typed[name], why = read_meaning(one_chunk(columns[name]), decimal, as_text=name in as_text, from_csv=True)
            remarks += [f"{name}: {why}"] if why and name in used else []
        mark = "point" if decimal == "." else "comma"
        named = _SEPARATOR_NAMES.get(self.separator, repr(self.separator))
        remarks.insert(0, f"separated by {named}, decimal {mark}, encoding {self.encoding}")
        return Table(
            self.path, _arrow().table(typed), columns, decimal, remarks, frozenset(as_text), self.headers, from_csv=True
        )

    def _read_text(self, names):
        """Some of the columns, every field as it is in the file."""
        import pyarrow.csv as arrow_csv

        pa = _arrow()
        # The nameless columns need names while they are skipped.
        all_names = [name if name in self.names else f"\0{position}" for position, name in enumerate(self.found)]

        def read(block):
            return arrow_csv.read_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(
                    column_names=all_names,
                    skip_rows=self.skipped,
                    encoding="utf8" if self.encoding in ("utf-8", "utf-8-sig") else self.encoding,
                    block_size=block,
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, pa.dictionary(pa.int32(), pa.string())),
                    strings_can_be_null=False,
                ),
            )

        try:
            try:
                return read(_BLOCK)
            except pa.ArrowInvalid as error:
                size = 2 * self.path.stat().st_size  # UTF-16 grows in UTF-8 by half at most
                if "straddling" not in str(error) or size <= _BLOCK:
                    raise
                return read(min(size, _LARGEST_BLOCK))
        except (pa.ArrowException, UnicodeError) as error:
            raise ValueError(f"{self.path} cannot be read as {self.encoding} text: {error}") from error


def one_chunk(column):
    """A column as a single array."""
    pa = _arrow()
    if not isinstance(column, pa.ChunkedArray):
        return column
    column = column.combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


# ---------------------------------------------------------------------------------------------------------------------
# Parquet
# ---------------------------------------------------------------------------------------------------------------------


class ParquetSource(Source):
    """A Parquet file; text is read as categories."""

    def __init__(self, path):
        super().__init__(path, [])
        self._parquet = import_optional("pyarrow.parquet", "fairdcov: reading Parquet")
        pa = _arrow()
        try:
            file = self._parquet.ParquetFile(path)
            self._schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from error
        self.names = self._settle_names([name.strip() for name in self._schema.names])
        self.headers = {name.strip(): name for name in self._schema.names}
        self.n_rows = file.metadata.num_rows
        if self.n_rows == 0:
            raise ValueError(f"{path} has no rows")

    def read(self, names=None, *, as_text=(), used=None):
        """Columns as a Table; those in ``as_text`` are categories whatever their type."""
        pa = _arrow()
        names = self.names if names is None else list(dict.fromkeys(names))
        headers = [self.headers[name] for name in names]
        text = [name for name in headers if is_text(self._schema.field(name).type)]
        try:
            file = self._parquet.ParquetFile(self.path, read_dictionary=text)
            columns = file.read(columns=headers).select(headers).rename_columns(names)
            columns = columns.unify_dictionaries().combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from error
        remarks, typed = list(self.remarks), {}
        for name in names:
            typed[name] = columns[name]
            why = None if name in as_text else why_names(columns[name])
            if is_text(columns[name].type):
                column = one_chunk(columns[name])
                column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
                typed[name], why = read_meaning(column, ".", as_text=name in as_text)
            remarks += [f"{name}: {why}"] if why and (used is None or name in used) else []
        return Table(
            self.path, pa.table(typed), columns, ".", remarks, frozenset(as_text), self.headers, schema=self._schema
        )


def _written_out(column):
    """Numbers, truth values and dates as the text that a CSV file would have: whole numbers without a point."""
    pa = _arrow()
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

    pa = _arrow()
    text = column.cast(pa.string())
    if not pa.types.is_timestamp(column.type):
        return text
    text = pc.replace_substring_regex(text, r"\.0+(Z?)$", r"\1")
    midnight = pc.all(matches(text, r" 00:00:00$"), min_count=0).as_py()
    return pc.replace_substring(text, " 00:00:00", "") if midnight else text


def open_table(path, *, separator=None, decimal=None, encoding=None):
    """Open a table: its columns are known, its values are read when they are asked for.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet file, told apart by the end of its name.
    separator, decimal, encoding : str, optional
        Of a CSV file, where they should not be found out.

    Returns
    -------
    source
        With ``names``, ``check_names(requested)`` and ``read(names, as_text)``.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        For files that are not there, are empty, have repeated names, or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    kind = file_format(path, "the file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    _arrow()
    if kind == "parquet":
        return ParquetSource(path)
    if separator is not None:
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
        if len(separator) != 1 or not separator.isascii():
            raise ValueError(f"--separator must be a single character, or tab; found {separator!r}")
        if separator == decimal:
            raise ValueError(f"--separator and --decimal are both {decimal!r}: no number could have a decimal mark")
    return CSVSource(path, separator=separator, decimal=decimal, encoding=encoding)


# ---------------------------------------------------------------------------------------------------------------------
# What was read
# ---------------------------------------------------------------------------------------------------------------------


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
        types = _arrow().types
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
        pa = _arrow()
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

        pa = _arrow()
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
        pa = _arrow()
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
        types = _arrow().types
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
