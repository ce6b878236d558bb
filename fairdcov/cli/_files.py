"""Files by the end of their name: CSV or Parquet, opened as tables whose values are read when they are asked for."""

import hashlib
from pathlib import Path

from fairdcov._checks import import_optional
from fairdcov.cli._csv_file import CSVSource
from fairdcov.cli._meaning import is_text, read_meaning, why_names
from fairdcov.cli._table import Source, Table, arrow, one_chunk

__all__ = ["CSV_SUFFIXES", "PARQUET_SUFFIXES", "file_format", "file_sha256", "open_table"]

CSV_SUFFIXES = (".csv", ".txt", ".tsv")
PARQUET_SUFFIXES = (".parquet", ".pq")


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
    arrow()
    if kind == "parquet":
        return ParquetSource(path)
    if separator is not None:
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
        if len(separator) != 1 or not separator.isascii():
            raise ValueError(f"--separator must be a single character, or tab; found {separator!r}")
        if separator == decimal:
            raise ValueError(f"--separator and --decimal are both {decimal!r}: no number could have a decimal mark")
    return CSVSource(path, separator=separator, decimal=decimal, encoding=encoding)


class ParquetSource(Source):
    """A Parquet file; text is read as categories."""

    def __init__(self, path):
        super().__init__(path, [])
        self._parquet = import_optional("pyarrow.parquet", "fairdcov: reading Parquet")
        pa = arrow()
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
        pa = arrow()
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
