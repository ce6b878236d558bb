"""A table with predictions beside what was read: the names and values of the file go through as they are."""

from pathlib import Path

import numpy as np

from fairdcov._checks import import_optional
from fairdcov.actuarial import armed, disarmed, whole_file
from fairdcov.cli._files import file_format
from fairdcov.cli._meaning import is_text, matches, number_pattern, plain_numbers
from fairdcov.cli._table import date_text, one_chunk

__all__ = ["write_table"]

# Rows that are put together at a time.
_ROWS = 1 << 16
# Numbers that every reader takes for the same number.
_PLAIN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def _arrow():
    return import_optional("pyarrow", "fairdcov: writing tables")


def write_table(table, added, path):
    """Write a table with further columns, as CSV or Parquet by the end of the file's name, whole or not at all.

    Parameters
    ----------
    table : Table
        What was read. From Parquet to Parquet columns keep their types, from CSV to CSV fields keep their text; only
        numbers with a decimal comma or separators of thousands, which the new file cannot have, are written plainly.
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
    added = {name: _arrow().array(np.asarray(values)) for name, values in added.items()}
    write = _write_csv if file_format(path, "--output") == "csv" else _write_parquet
    with whole_file(path) as temporary:
        write(table, added, temporary)


# ---------------------------------------------------------------------------------------------------------------------
# Parquet
# ---------------------------------------------------------------------------------------------------------------------


def _write_parquet(table, added, path):
    parquet = import_optional("pyarrow.parquet", "fairdcov: writing Parquet")
    columns = table.columns
    if table.schema is not None:
        columns = table.written.rename_columns([table.headers[name] for name in table.written.column_names])
        for position, name in enumerate(columns.column_names):
            # Text was read as categories, and is text again.
            kind = table.schema.field(name).type
            if columns[name].type != kind:
                columns = columns.set_column(position, name, columns[name].cast(kind))
    for name, values in added.items():
        columns = columns.append_column(name, values)
    parquet.write_table(columns, path)


# ---------------------------------------------------------------------------------------------------------------------
# CSV
# ---------------------------------------------------------------------------------------------------------------------


def _write_csv(table, added, path):
    import pyarrow.compute as pc

    header = [_text_field(table.headers[name], from_csv=table.from_csv) for name in table.written.column_names]
    header += [_text_field(name) for name in added]
    columns = [_prepared(table, name) for name in table.written.column_names]
    columns += [_with_text_as_fields(values) for values in added.values()]
    with path.open("x", encoding="utf-8-sig", newline="") as file:
        file.write(",".join(header) + "\n")
        for start in range(0, table.n_rows, _ROWS):
            fields = [_fields(column.slice(start, _ROWS)).fill_null("") for column in columns]
            file.write("\n".join(pc.binary_join_element_wise(*fields, ",").to_pylist()) + "\n")


def _text_field(text, *, from_csv=False):
    """Text in quotation marks that no spreadsheet runs; where it comes from a CSV file that may be so already."""
    safe = disarmed(armed(text) if from_csv else text)
    return '"' + safe.replace('"', '""') + '"'


def _prepared(table, name):
    """A column of the file whose text, if it is text, has become fields."""
    column = one_chunk(table.written[name])
    if not table.from_csv:
        return _with_text_as_fields(column)
    pa = _arrow()
    kind = table.columns[name].type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    fields = _fields_of_numbers(column.dictionary, table.decimal) if is_number else _fields_of_names(column.dictionary)
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(fields, pa.string()))


def _fields_of_numbers(levels, decimal):
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(levels)
    plain = plain_numbers(trimmed, decimal)
    if decimal == ".":
        plain = pc.if_else(matches(trimmed, _PLAIN), trimmed, plain)
    is_number = matches(trimmed, number_pattern(decimal))
    # What is no number here stands for a missing value.
    return [
        number if is_it else word and _text_field(word)
        for number, is_it, word in zip(plain.to_pylist(), is_number.to_pylist(), trimmed.to_pylist(), strict=True)
    ]


def _fields_of_names(levels):
    # Digits that are names may have a sign in front, which is no formula.
    are_digits = matches(levels, _PLAIN).to_pylist()
    return [
        f'"{level}"' if is_it else level and _text_field(level, from_csv=True)
        for level, is_it in zip(levels.to_pylist(), are_digits, strict=True)
    ]


def _with_text_as_fields(column):
    """A column of values whose text, if it is text, has become fields."""
    pa = _arrow()
    if not is_text(column.type):
        return column
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    fields = [level and _text_field(level) for level in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(fields, pa.string()))


def _fields(column):
    """Fields of a column of values, or of text that are fields already; null where there is no value."""
    pa = _arrow()
    types = pa.types
    if types.is_dictionary(column.type):
        return column.cast(pa.string())
    if types.is_integer(column.type) or types.is_decimal(column.type) or types.is_null(column.type):
        return column.cast(pa.string())
    if types.is_floating(column.type):
        # In as many digits as tell them apart in their precision.
        values = column.to_numpy(zero_copy_only=False)
        return pa.array(values.astype(str).astype(object), pa.string(), mask=np.isnan(values))
    if types.is_boolean(column.type):
        values = [value if value is None else str(value) for value in column.to_pylist()]
    else:
        values = date_text(column).to_pylist() if types.is_temporal(column.type) else column.to_pylist()
        values = [value if value is None else _text_field(str(value)) for value in values]
    return pa.array(values, pa.string())
