"""Factors of a rating table: the relativities of levels, looked up, rounded and capped, and read from cells."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fairdcov.actuarial._export import armed
from fairdcov.actuarial._rating_levels import CategoryLevels, NumberLevels, split_categories
from fairdcov.encoding import MISSING

__all__ = [
    "RatingFactor",
    "adjusted_factor",
    "cell_text",
    "factor_after_adjustment",
    "factor_of_cells",
    "factor_of_effects",
    "positive_number",
    "ratios_of_levels",
    "relativity_of_rows",
]

_NO_EXPOSURE = "no exposure, no relativity"
_NO_EXPOSURE_OF_PAIR = "no exposure, no more than the factors alone"


@dataclass(frozen=True, eq=False)
class RatingFactor:
    """Relativities of the levels of one column, or of all combinations of those of two.

    Attributes
    ----------
    columns : tuple of one or two of NumberLevels, CategoryLevels
        Levels.
    relativities : array, an axis for each column
        NaN where no exposure is.
    rows, exposure, table_to_model : arrays of that shape
        What was in the levels when the table was made, zeros and NaN where that is not known.
    values : tuple
        The value of each level or the mean of a range, for the table; None where there is none.
    """

    columns: tuple
    relativities: np.ndarray
    rows: np.ndarray
    exposure: np.ndarray
    table_to_model: np.ndarray
    values: tuple

    @property
    def name(self):
        """Names of the columns."""
        return " × ".join(column.name for column in self.columns)

    def codes(self, frame, *, nearest=False):
        """Level of each row in each column, -1 for none."""
        return [column.codes(frame.get_column(column.name), nearest=nearest) for column in self.columns]

    def frame(self, base_premium):
        """Rows of the table."""
        shape = self.relativities.shape
        total = self.exposure.sum()
        base = None
        if total > 0:
            axes = range(len(shape))
            base = tuple(
                int(np.argmax(self.exposure.sum(axis=tuple(other for other in axes if other != axis)))) for axis in axes
            )
        rows = []
        for place, index in enumerate(np.ndindex(*shape)):
            row = {"factor": self.columns[0].name}
            for prefix, column, level in zip(("", "by_"), self.columns, index, strict=False):
                lower, upper = column.ends(level)
                if prefix:
                    row["by"] = column.name
                row |= {f"{prefix}level": column.labels[level], f"{prefix}lower": lower, f"{prefix}upper": upper}
            relativity = float(self.relativities[index])
            note = ""
            if total > 0 and self.exposure[index] == 0:
                note = _NO_EXPOSURE if len(shape) == 1 else _NO_EXPOSURE_OF_PAIR
            rows.append(
                row
                | {
                    "value": self.values[place] if self.values else None,
                    "rows": int(self.rows[index]),
                    "exposure": float(self.exposure[index]),
                    "share": float(self.exposure[index] / total) if total > 0 else np.nan,
                    "relativity": relativity,
                    "is_base": index == base,
                    "premium": base_premium * relativity,
                    "table_to_model": float(self.table_to_model[index]),
                    "note": note,
                }
            )
        return rows


# ---------------------------------------------------------------------------------------------------------------------
# Factors
# ---------------------------------------------------------------------------------------------------------------------


def factor_of_effects(group, logs, exposure):
    """A factor of fitted effects."""
    shape = logs.shape
    codes = np.ravel_multi_index([column.codes for column in group], shape)
    in_level = np.bincount(codes, exposure, logs.size).reshape(shape)
    relativities = np.exp(logs)
    values = ()
    if len(group) == 1:
        # Nothing is known of a level without exposure; of a combination what its two levels say.
        relativities[in_level == 0] = np.nan
        values = _level_values(group[0], exposure)
    return RatingFactor(
        tuple(column.levels for column in group),
        relativities,
        np.bincount(codes, minlength=logs.size).reshape(shape),
        in_level,
        np.full(shape, np.nan),
        values,
    )


def _level_values(column, exposure):
    """Mean value of each range, weighted by exposure, or the category of a level."""
    if column.values is None:
        return tuple(level[0] if len(level) == 1 else None for level in column.levels.categories)
    known = ~np.isnan(column.values)
    n_levels = len(column.levels)
    total = np.bincount(column.codes[known], (exposure * column.values)[known], n_levels)
    mass = np.bincount(column.codes[known], exposure[known], n_levels)
    return tuple(float(total[k] / mass[k]) if mass[k] > 0 else None for k in range(n_levels))


def ratios_of_levels(group, table, model):
    shape = tuple(len(column.levels) for column in group)
    codes = np.ravel_multi_index([column.codes for column in group], shape)
    with np.errstate(invalid="ignore"):
        ratio = np.bincount(codes, table, int(np.prod(shape))) / np.bincount(codes, model, int(np.prod(shape)))
    return ratio.reshape(shape)


def relativity_of_rows(part, frame, unknown):
    codes = part.codes(frame, nearest=unknown == "nearest")
    found = part.relativities[tuple(code.clip(0) for code in codes)]
    for column, code in zip(part.columns, codes, strict=True):
        found = np.where(code < 0, np.nan, found)
        if unknown == "error" and (code < 0).any():
            outside = np.flatnonzero(code < 0)
            value = frame.get_column(column.name).to_list()[outside[0]]
            raise ValueError(
                f"X has {len(outside):,} row(s) with values of column {column.name!r} that the table has no level for, "
                f"such as {value!r} in row {outside[0]}: group them with a level before, or pass unknown='base' "
                "(relativity 1) or unknown='nearest' (the closest range of numbers)"
            )
    nothing = np.isnan(found)
    if unknown == "error" and nothing.any():
        row = int(np.flatnonzero(nothing)[0])
        raise ValueError(
            f"X has {int(nothing.sum()):,} row(s) in level {part.columns[0].labels[codes[0][row]]!r} of factor "
            f"{part.name!r}, which has no relativity, for want of exposure: merge it with another one by bins, or pass "
            "unknown='base'"
        )
    return np.where(nothing, 1.0, found)


def adjusted_factor(part, decimals, lower, upper):
    relativities = part.relativities
    if decimals is not None:
        relativities = np.round(relativities, int(decimals))
    relativities = np.clip(relativities, lower, upper) if (lower, upper) != (None, None) else relativities
    if (relativities <= 0).any():
        raise ValueError(
            f"decimals={decimals} rounds relativities of {part.name!r} to 0, such as "
            f"{np.nanmin(part.relativities):.4g}: keep more decimals, or set lower"
        )
    return replace(part, relativities=relativities)


def factor_after_adjustment(part, frame, before, after, unknown):
    """The factor with its ratios of table to model moved by what the adjustment has done to its levels."""
    codes = part.codes(frame, nearest=unknown == "nearest")
    inside = np.all([code >= 0 for code in codes], axis=0)
    flat = np.ravel_multi_index([code[inside] for code in codes], part.relativities.shape)
    size = part.relativities.size
    with np.errstate(invalid="ignore"):
        ratio = np.bincount(flat, after[inside], size) / np.bincount(flat, before[inside], size)
    return replace(part, table_to_model=part.table_to_model * ratio.reshape(part.relativities.shape))


# ---------------------------------------------------------------------------------------------------------------------
# From a file
# ---------------------------------------------------------------------------------------------------------------------


def cell_text(value):
    if isinstance(value, float) and np.isnan(value):
        return ""
    return repr(value) if isinstance(value, float) else "" if value is None else str(value)


def positive_number(text, what, column, row):
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


def factor_of_cells(part, what):
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
        if text != "" or "note" not in part or part.loc[row, "note"] != _NO_EXPOSURE:
            relativities[position] = positive_number(text, what, "relativity", int(row))
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
