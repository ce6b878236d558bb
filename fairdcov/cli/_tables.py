"""Tables of other systems, read as they come: separator, decimal mark and encoding are found out and said.

A CSV file is read as text first and becomes numbers column by column, once all of a column is known. What other
programs guess from the first rows, such as whether ``1,234`` is one or a thousand, is decided by all values, or asked.
"""

import codecs
import csv
import hashlib
import io
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from fairdcov._optional import import_optional
from fairdcov.actuarial import write_csv
from fairdcov.actuarial._factors import MISSING, nearest_name

__all__ = ["CSV_SUFFIXES", "PARQUET_SUFFIXES", "Table", "file_format", "file_sha256", "open_table", "write_table"]

CSV_SUFFIXES = (".csv", ".txt", ".tsv")
PARQUET_SUFFIXES = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# What R, SAS, Excel and SQL write where there is no value.
NULL_VALUES = ("", ".", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null")
# Rows that the separator is found from.
_SNIFFED_ROWS = 200
_SNIFFED_BYTES = 1 << 18
# Whole numbers beyond it are no float64; they are names of things.
_MOST_DIGITS = 15
# Signs that write_csv puts an apostrophe before, which is taken away again here.
_DISARMED = r"^'([=+\-@\t\r\n＝＋－＠])"


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
# Numbers in text
# ---------------------------------------------------------------------------------------------------------------------


def _number_pattern(decimal):
    """Regular expression of numbers with this decimal mark, with or without separators of thousands."""
    mark, thousands = (r"\.", ",") if decimal == "." else (",", r"\.")
    whole = rf"([1-9][0-9]{{0,2}}([{thousands}' \x{{a0}}\x{{202f}}][0-9]{{3}})+|[0-9]+)"
    return rf"^[+-]?({whole}({mark}[0-9]*)?|{mark}[0-9]+)([eE][+-]?[0-9]+)?$"


def _matches(values, pattern):
    import pyarrow.compute as pc

    return pc.match_substring_regex(values, pattern)


def _all_match(values, pattern):
    import pyarrow.compute as pc

    return bool(pc.all(_matches(values, pattern), min_count=0).as_py())


def _parse(values, decimal):
    """Text that matches the pattern of this decimal mark, as an Arrow array of floats."""
    import pyarrow.compute as pc

    values = pc.replace_substring_regex(values, r"[' \x{a0}\x{202f}]", "")
    values = pc.replace_substring(values, "," if decimal == "." else ".", "")
    return pc.cast(values if decimal == "." else pc.replace_substring(values, ",", "."), _arrow().float64())


def _distinct(column):
    """Distinct values of a text column, without the missing one and without blanks around them."""
    import pyarrow.compute as pc

    values = pc.unique(column)
    if _arrow().types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return pc.utf8_trim_whitespace(pc.drop_null(values))


def _find_decimal(columns, separator):
    """Decimal mark of a file, from all the values of the columns that can be numbers.

    Returns the mark and, where it was not beyond doubt, what was assumed.
    """
    votes, doubtful = {}, []
    for name, column in columns.items():
        values = _distinct(column)
        point, comma = (_all_match(values, _number_pattern(mark)) for mark in (".", ","))
        if point != comma:
            votes.setdefault("." if point else ",", name)
        elif point and not _all_match(values, r"^[+-]?[0-9]+$"):
            doubtful.append((name, next(text for text in values.to_pylist() if not text.lstrip("+-").isdigit())))
    if len(votes) == 2:
        raise ValueError(
            f"columns disagree about the decimal mark: {votes['.']!r} has points and {votes[',']!r} has commas; say "
            "which it is with --decimal . or --decimal ,"
        )
    if votes:
        return next(iter(votes)), None
    if not doubtful:
        return ".", None
    name, example = doubtful[0]
    if separator != ",":
        raise ValueError(
            f"column {name!r} has numbers such as {example}, which can be read with a decimal mark or with a separator "
            "of thousands: say which with --decimal . or --decimal ,"
        )
    return ".", f"{example!r} in column {name!r} was read with a decimal point, as in the rest of the file"


def _as_numbers(values, decimal):
    """Numbers of a text column if all of it is numbers, or None.

    Digits with zeros in front, and more of them than a number can hold, are names: of postcodes, of policies.
    """
    import pyarrow.compute as pc

    pa = _arrow()
    known = _distinct(values)
    if len(known) == 0 or not _all_match(known, _number_pattern(decimal)):
        return None
    if bool(pc.any(_matches(known, rf"^[+-]?0[0-9]|[0-9]{{{_MOST_DIGITS + 1}}}")).as_py()):
        return None
    whole = _all_match(known, r"^[+-]?[0-9]+$")
    flat = pc.utf8_trim_whitespace(values.cast(pa.string()))
    numbers = _parse(flat, decimal)
    return numbers.cast(pa.int64()) if whole else numbers


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


def _find_separator(lines):
    """Separator that cuts the lines into the most columns, the same number on each."""

    def score(separator):
        lengths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if not lengths or lengths[0] < 2:
            return 0.0
        usual, count = Counter(lengths[1:] or lengths).most_common(1)[0]
        return min(usual, lengths[0]) * count / max(len(lengths) - 1, 1)

    best = max(SEPARATORS, key=score)
    return best if score(best) > 0 else ","


def _tidy_name(name):
    name = name.strip()
    return name[1:] if len(name) > 1 and name[0] == "'" and name[1] in "=+-@＝＋－＠" else name


@dataclass
class _Source:
    """A file whose columns are known and whose values have not been read.

    ``names`` are the columns; ``position`` says which of the file's own columns each is.
    """

    path: Path
    names: list
    n_rows: int | None = None
    remarks: list = field(default_factory=list)

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


class _CSVSource(_Source):
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
        with path.open("rb") as file:
            beginning = file.read(_SNIFFED_BYTES + 1)
        whole = len(beginning) <= _SNIFFED_BYTES
        try:
            text = codecs.getincrementaldecoder(self.encoding)().decode(beginning, final=whole)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} cannot be read as {self.encoding}: {error}") from error
        # A file in UTF-8 may be read as such whether it begins with the mark or not.
        lines = io.StringIO(text.removeprefix("\ufeff"), newline=None).read().split("\n")
        if not whole:
            lines = lines[:-1]
        self.skipped = next((number for number, line in enumerate(lines) if line.strip()), None)
        if self.skipped is None:
            raise ValueError(f"{path} is empty")
        if lines[self.skipped].strip().lower().startswith("sep=") and len(lines[self.skipped].strip()) == 5:
            # Excel's own first line.
            separator = separator or lines[self.skipped].strip()[4]
            self.skipped += 1
        lines = [line for line in lines[self.skipped :] if line.strip()][: _SNIFFED_ROWS + 1]
        if len(lines) < 2:
            raise ValueError(f"{path} has no rows" + (" below the names of the columns" if lines else ""))
        self.separator = separator or _find_separator(lines)
        rows = list(csv.reader(lines, delimiter=self.separator))
        self.found = [_tidy_name(name) for name in rows[0]]
        # R writes the numbers of the rows without a name for their column; others end each row with a separator.
        if len(rows) > 1 and all(len(row) == len(self.found) + 1 for row in rows[1:-1] or rows[1:]):
            last = all(row[-1] == "" for row in rows[1:-1] or rows[1:])
            self.found = [*self.found, ""] if last else ["", *self.found]
        self.names = self._settle_names(self.found)

    def read(self, names=None, *, as_text=(), used=None):
        """Columns as a Table.

        Those in ``as_text`` stay text. Columns that are not in ``used`` are only passed on, so that they have no say in
        what the decimal mark is.
        """
        import pyarrow.csv as arrow_csv

        pa = _arrow()
        names = self.names if names is None else list(dict.fromkeys(names))
        # The nameless columns need names while they are skipped.
        all_names = [name if name in self.names else f"\0{position}" for position, name in enumerate(self.found)]
        text = pa.dictionary(pa.int32(), pa.string())
        try:
            columns = arrow_csv.read_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(
                    column_names=all_names,
                    skip_rows=self.skipped + 1,
                    encoding="utf8" if self.encoding in ("utf-8", "utf-8-sig") else self.encoding,
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, text),
                    strings_can_be_null=True,
                    null_values=list(NULL_VALUES),
                ),
            )
        except (pa.ArrowException, UnicodeError) as error:
            raise ValueError(f"{self.path} cannot be read as {self.encoding} text: {error}") from error
        if columns.num_rows == 0:
            raise ValueError(f"{self.path} has no rows below the names of the columns")
        columns = columns.unify_dictionaries().combine_chunks()
        remarks = list(self.remarks)
        decimal = self.decimal
        if decimal is None:
            candidates = {
                name: columns[name] for name in names if name not in as_text and (used is None or name in used)
            }
            decimal, doubt = _find_decimal(candidates, self.separator)
            remarks += [doubt] if doubt else []
        typed = {}
        for name in names:
            column = columns[name].combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            numbers = None if name in as_text else _as_numbers(column, decimal)
            typed[name] = _tidy_text(column) if numbers is None else numbers
        mark = "point" if decimal == "." else "comma"
        named = _SEPARATOR_NAMES.get(self.separator, repr(self.separator))
        remarks.insert(0, f"separated by {named}, decimal {mark}, encoding {self.encoding}")
        return Table(self.path, pa.table(typed), decimal, remarks)


def _tidy_text(column):
    """Text with the apostrophes taken away that write_csv puts before what a spreadsheet would run."""
    import pyarrow.compute as pc

    pa = _arrow()
    levels = pc.replace_substring_regex(column.dictionary, _DISARMED, r"\1")
    if pc.count_distinct(levels).as_py() == len(levels):
        return pa.DictionaryArray.from_arrays(column.indices, levels)
    return levels.take(column.indices).dictionary_encode()


# ---------------------------------------------------------------------------------------------------------------------
# Parquet
# ---------------------------------------------------------------------------------------------------------------------


class _ParquetSource(_Source):
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
        self.names = self._settle_names(self._schema.names)
        self.n_rows = file.metadata.num_rows
        if self.n_rows == 0:
            raise ValueError(f"{path} has no rows")

    def read(self, names=None, *, as_text=(), used=None):
        """Columns as a Table; those in ``as_text`` are categories whatever their type."""
        pa = _arrow()
        names = self.names if names is None else list(dict.fromkeys(names))
        types = {name: self._schema.field(name).type for name in names}
        text = [name for name, kind in types.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
        try:
            file = self._parquet.ParquetFile(self.path, read_dictionary=text)
            columns = file.read(columns=names).select(names)
            columns = columns.unify_dictionaries().combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from error
        return Table(self.path, columns, ".", list(self.remarks), frozenset(as_text), self._schema)


def _written_out(column):
    """Values of any type as the text that a CSV file would have: whole numbers without a point."""
    import pyarrow.compute as pc

    pa = _arrow()
    if pa.types.is_floating(column.type):
        whole = pc.all(pc.equal(column, pc.round(column)), min_count=0).as_py()
        column = column.cast(pa.int64()) if whole else column
    return column.cast(pa.string())


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
        return _ParquetSource(path)
    if separator is not None:
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
        if len(separator) != 1 or not separator.isascii():
            raise ValueError(f"--separator must be a single character, or tab; found {separator!r}")
        if separator == decimal:
            raise ValueError(f"--separator and --decimal are both {decimal!r}: no number could have a decimal mark")
    return _CSVSource(path, separator=separator, decimal=decimal, encoding=encoding)


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
        Typed columns; text is dictionary-encoded.
    decimal : str
        Decimal mark of its numbers.
    remarks : list of str
        What was assumed.
    as_text : frozenset of str
        Columns of numbers that are names.
    schema : pyarrow.Schema or None
        Types of the columns in the file, where they are not those of ``columns``.
    """

    path: Path
    columns: object
    decimal: str
    remarks: list
    as_text: frozenset = frozenset()
    schema: object = None

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
            For text, dates, infinite and missing values, with the first row and their number.
        """
        pa = _arrow()
        column = self.columns[name]
        if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
            column = self._text_to_numbers(column, name, option)
        elif pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        elif not self.is_number(name):
            raise ValueError(f"{option}: column {name!r} must be numbers; found values of type {column.type}")
        values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
        self._reject(np.isinf(values), "infinite", name, option)
        if not allow_missing:
            self._reject(np.isnan(values), "missing", name, option)
        return values

    def _text_to_numbers(self, column, name, option):
        import pyarrow.compute as pc

        pa = _arrow()
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        wrong = pc.invert(_matches(text, _number_pattern(self.decimal)))
        rows = np.flatnonzero(pc.fill_null(wrong, False).to_numpy(zero_copy_only=False))
        if len(rows):
            others = f" and in {len(rows) - 1:,} more" if len(rows) > 1 else ""
            raise ValueError(
                f"{option}: column {name!r} must be numbers; found {text[int(rows[0])].as_py()!r} in data row "
                f"{rows[0] + 1}{others}"
            )
        return _parse(text, self.decimal)

    def _reject(self, wrong, what, name, option):
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise ValueError(
                f"{option}: column {name!r} has {len(rows):,} {what} value(s), the first in data row {rows[0] + 1}: "
                "fill them or leave these rows out"
            )

    def attribute(self, name, option):
        """One column as numbers, or as categories among which the missing value is one.

        Parameters
        ----------
        name : str
            Column.
        option : str
            Option of the command line that named it, for errors.

        Returns
        -------
        pandas.Series, (n,)
            float64 (NaN where missing), int64, or categories of str.

        Raises
        ------
        ValueError
            For dates, lists and other types that are neither, and for infinite numbers.
        """
        pa = _arrow()
        column = self.columns[name]
        if self.is_number(name) and name in self.as_text:
            column = _written_out(column)
        elif self.is_number(name):
            values = self.numbers(name, option, allow_missing=True)
            integer = pa.types.is_integer(column.type) and not np.isnan(values).any()
            return pd.Series(values.astype(np.int64) if integer else values, name=name)
        if pa.types.is_null(column.type):
            return pd.Series(pd.Categorical.from_codes(np.zeros(self.n_rows, dtype=np.int8), [MISSING]), name=name)
        if pa.types.is_boolean(column.type) or pa.types.is_string(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        if not pa.types.is_dictionary(column.type) or not (
            pa.types.is_string(column.type.value_type) or pa.types.is_large_string(column.type.value_type)
        ):
            raise ValueError(
                f"{option}: column {name!r} has values of type {column.type}, which are neither numbers nor "
                "categories: convert them or leave the column out"
            )
        return pd.Series(_categories(column), name=name)

    def to_pandas(self):
        """All columns as they are in the file, to be written again."""
        return self.columns.to_pandas(integer_object_nulls=True)


def _categories(column):
    """Sorted categories of an Arrow dictionary column; missing values become a category."""
    pa = _arrow()
    column = column.combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    levels = np.asarray([MISSING if level is None else level for level in column.dictionary.to_pylist()], dtype=object)
    if (codes < 0).any():
        codes = np.where(codes < 0, len(levels), codes)
        levels = np.append(levels, MISSING)
    used = np.flatnonzero(np.bincount(codes, minlength=len(levels)))
    sorted_levels = sorted(set(levels[used]))
    place = {level: position for position, level in enumerate(sorted_levels)}
    position = np.zeros(len(levels), dtype=np.int64)
    position[used] = [place[level] for level in levels[used]]
    return pd.Categorical.from_codes(position[codes], sorted_levels)


def write_table(table, added, path):
    """Write a table with further columns, as CSV or Parquet by the end of the file's name, whole or not at all.

    Parameters
    ----------
    table : Table
        What was read; Parquet columns keep their types.
    added : dict of str to (n,) array
        Columns to put behind its own.
    path : str or Path
        File to write. In a CSV file text cannot be taken for a formula by a spreadsheet.

    Raises
    ------
    ValueError
        For a name that the table has already.
    """
    path = Path(path)
    for name in added:
        if name in table.columns.column_names:
            raise ValueError(f"{table.path} has a column {name!r} already: choose another name for the prediction")
    if file_format(path, "--output") == "csv":
        write_csv(table.to_pandas().assign(**added), path)
        return
    pa = _arrow()
    parquet = import_optional("pyarrow.parquet", "fairdcov: writing Parquet")
    columns = table.columns
    for position, name in enumerate(columns.column_names):
        # Text was read as categories, and is text again.
        if table.schema is not None and columns[name].type != table.schema.field(name).type:
            columns = columns.set_column(position, name, columns[name].cast(table.schema.field(name).type))
    for name, values in added.items():
        columns = columns.append_column(name, pa.array(np.asarray(values)))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        parquet.write_table(columns, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
