"""Text files of other systems: separator, decimal mark and encoding are found out and said.

A file is read as text first and becomes numbers column by column, once all of a column is known. What other programs
guess from the first rows, such as whether ``1,234`` is one or a thousand, is decided by all values, or asked.
"""

import codecs
import csv
import io
from collections import Counter

from fairdcov.actuarial import armed
from fairdcov.cli._meaning import find_decimal, read_meaning
from fairdcov.cli._table import Source, Table, arrow, one_chunk

__all__ = ["CSVSource"]

SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Rows that the separator is found from.
_SNIFFED_ROWS = 200
_SNIFFED_BYTES = 1 << 18
_FEW_ROWS = 3
# Bytes that Arrow reads at a time, in which a row must fit; and as many as it can.
_BLOCK = 1 << 22
_LARGEST_BLOCK = (1 << 31) - 1


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
            self.path, arrow().table(typed), columns, decimal, remarks, frozenset(as_text), self.headers, from_csv=True
        )

    def _read_text(self, names):
        """Some of the columns, every field as it is in the file."""
        import pyarrow.csv as arrow_csv

        pa = arrow()
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
