"""Rating tables in files: a row with the base premium, then a row for each level, and back, edited or not."""

from pathlib import Path

import numpy as np
import pandas as pd

from fairdcov._checks import import_optional
from fairdcov.actuarial._export import armed, excel_safe
from fairdcov.actuarial._rating_factor import NO_EXPOSURE, RatingFactor
from fairdcov.actuarial._rating_levels import CategoryLevels, NumberLevels, split_categories
from fairdcov.encoding import MISSING

__all__ = ["cells_of", "read_csv_file", "read_excel_file", "write_excel_file"]

# Factor of the row with the base premium.
_BASE = "(base premium)"
_COLUMNS = ("factor", "level", "lower", "upper", "relativity", "premium")


def cells_of(frame, base_premium):
    """The frame of a table below a row with its base premium."""
    frame = frame.astype(object)
    base = pd.DataFrame([{"factor": _BASE, "level": "", "relativity": 1.0, "premium": base_premium}], dtype=object)
    return pd.concat([base, frame], ignore_index=True)[frame.columns]


def read_csv_file(path):
    """Base premium and factors of a CSV file."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return _read_cells(frame, f"path {str(path)!r}")


def read_excel_file(path):
    """Base premium and factors of a workbook."""
    import_optional("openpyxl", "RatingTable.from_excel")
    frame = pd.read_excel(path, dtype=object, keep_default_na=False, engine="openpyxl")
    return _read_cells(frame.map(_cell_text), f"path {str(path)!r}")


def write_excel_file(cells, path):
    """Write the cells of a table as a workbook; its path is returned."""
    import_optional("openpyxl", "RatingTable.to_excel")
    path = Path(path)
    excel_safe(cells).to_excel(path, index=False, sheet_name="rating table", engine="openpyxl")
    return path


def _read_cells(frame, what):
    absent = [name for name in _COLUMNS if name not in frame.columns]
    if absent:
        raise ValueError(f"{what} is no rating table of to_csv: it has no column {absent[0]!r}")
    frame = frame.reset_index(drop=True)
    first = frame["factor"] == _BASE
    if first.sum() != 1:
        raise ValueError(f"{what} must have one row of factor {_BASE!r}; found {int(first.sum())}")
    base_premium = _positive_number(frame.loc[first, "premium"].item(), what, "premium", int(np.flatnonzero(first)[0]))
    by = frame["by"] if "by" in frame else pd.Series("", index=frame.index)
    parts = [_factor_of_cells(part, what) for _, part in frame[~first].groupby([frame["factor"], by], sort=False)]
    return base_premium, parts


def _cell_text(value):
    if isinstance(value, float) and np.isnan(value):
        return ""
    return repr(value) if isinstance(value, float) else "" if value is None else str(value)


def _positive_number(text, what, column, row):
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"{what}: {column} must be a number above 0 in data row {row + 1}; found {text!r}")
    return value


def _end(text, what, row):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{what}: lower and upper must be numbers in data row {row + 1}; found {text!r}") from None


def _factor_of_cells(part, what):
    prefixes = ["", "by_"] if "by" in part and part["by"].iloc[0] != "" else [""]
    columns, codes = [], []
    for prefix in prefixes:
        name = armed(part["by" if prefix else "factor"].iloc[0])
        cells = [armed(text) for text in part[f"{prefix}level"]]
        ends = list(zip(part[f"{prefix}lower"], part[f"{prefix}upper"], strict=True))
        levels = list(dict.fromkeys(zip(cells, ends, strict=True)))
        columns.append(_read_levels(name, levels, what, int(part.index[0])))
        codes.append([levels.index(level) for level in zip(cells, ends, strict=True)])
    shape = tuple(map(len, columns))
    flat = np.ravel_multi_index(codes, shape)
    if len(np.unique(flat)) < len(flat) or len(flat) < np.prod(shape):
        raise ValueError(
            f"{what}: factor {' × '.join(column.name for column in columns)!r} must have each level, of a pair each "
            "combination, once"
        )
    arrays = {}
    for name in ("rows", "exposure", "table_to_model"):
        cells = pd.to_numeric(part[name], errors="coerce") if name in part else pd.Series(np.nan, part.index)
        arrays[name] = np.empty(len(flat))
        arrays[name][flat] = cells
        arrays[name] = arrays[name].reshape(shape)
    for name in ("rows", "exposure"):
        arrays[name] = np.nan_to_num(arrays[name])
    relativities = np.full(len(flat), np.nan)
    for row, position in zip(part.index, flat, strict=True):
        text = part.loc[row, "relativity"]
        if text != "" or "note" not in part or part.loc[row, "note"] != NO_EXPOSURE:
            relativities[position] = _positive_number(text, what, "relativity", int(row))
    values = np.empty(len(flat), dtype=object)
    if "value" in part and len(prefixes) == 1:
        numeric = isinstance(columns[0], NumberLevels)
        for position, text in zip(flat, part["value"], strict=True):
            values[position] = (_end(text, what, int(part.index[0])) if numeric else armed(text)) if text else None
    return RatingFactor(
        tuple(columns),
        relativities.reshape(shape),
        arrays["rows"].astype(np.int64),
        arrays["exposure"],
        arrays["table_to_model"],
        tuple(values) if len(prefixes) == 1 else (),
    )


def _read_levels(name, levels, what, row):
    ranges = [ends for _, ends in levels if ends != ("", "")]
    if not ranges:
        return CategoryLevels(name, tuple(split_categories(label) for label, _ in levels))
    lower, upper = (np.array([_end(text, what, row) for text in side]) for side in zip(*ranges, strict=True))
    missing = len(levels) > len(ranges)
    if missing and (len(levels) > len(ranges) + 1 or levels[-1][0] != MISSING):
        raise ValueError(
            f"{what}: factor {name!r} has levels with ends and without; only {MISSING!r}, the last one, may have none"
        )
    if (upper < lower).any() or (lower[1:] < upper[:-1]).any() or (np.diff(lower) <= 0).any():
        raise ValueError(f"{what}: the ranges of factor {name!r} must increase and not overlap")
    return NumberLevels(name, lower, upper, tuple(label for label, _ in levels), missing)
