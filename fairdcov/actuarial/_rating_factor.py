"""Factors of a rating table: the relativities of levels, as they were fitted, as rows of the table, and looked up."""

from dataclasses import dataclass

import numpy as np

from fairdcov._checks import check_choice
from fairdcov.encoding import nearest_name, read_frame

__all__ = ["NO_EXPOSURE", "RatingFactor", "factor_of_effects", "premium_of", "ratios_of_levels"]

# Notes on levels.
NO_EXPOSURE = "no exposure, no relativity"
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
                note = NO_EXPOSURE if len(shape) == 1 else _NO_EXPOSURE_OF_PAIR
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


def premium_of(base_premium, factors, X, unknown):
    """Premium of each row of X; see :meth:`RatingTable.predict`."""
    check_choice(unknown, "unknown", ("error", "base", "nearest"))
    frame = read_frame(X, "X")
    for name in dict.fromkeys(column.name for part in factors for column in part.columns):
        if name not in frame.columns:
            raise ValueError(f"X has no column {name!r}, which the table rates by{nearest_name(name, frame.columns)}")
    premium = np.full(len(frame), base_premium)
    for part in factors:
        premium *= _relativity_of_rows(part, frame, unknown)
    return premium


def _relativity_of_rows(part, frame, unknown):
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
