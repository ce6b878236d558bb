"""Levels of the columns of a rating table: which level a value is in, and how levels are written and read back."""

from dataclasses import dataclass

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from fairdcov.encoding import MISSING, level_text, missing_rows, read_factor

__all__ = [
    "CategoryLevels",
    "NumberLevels",
    "category_text",
    "column_values",
    "is_number",
    "join_categories",
    "split_categories",
]

# Between the categories of a level, and what keeps it apart from the same sign within one.
_SEPARATOR, _ESCAPE = " | ", "\\"


def is_number(column):
    """Whether a column is rated by its numbers."""
    return column.dtype.is_numeric()


def column_values(column):
    """Numbers of a column as float64, NaN where missing; (n,) array."""
    missing = missing_rows(column)
    if column.dtype.is_numeric():
        values = column.cast(nw.Float64).to_numpy().astype(np.float64)
    else:
        try:
            values = np.array(
                [np.nan if gone else float(value) for value, gone in zip(column.to_list(), missing, strict=True)]
            )
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"X has text or categories in column {str(column.name)!r}, which the table rates by its numbers"
            ) from error
    return np.where(missing, np.nan, values)


@dataclass(frozen=True, eq=False)
class NumberLevels:
    """Ranges of numbers, in increasing order and apart; missing values are the last level where there is one.

    A range contains its lower end and what is below its upper one; the upper end as well where it is the last range or
    a single number.

    Attributes
    ----------
    name : str
        Name of the column.
    lower, upper : (R,) float64 array
        Ends of the ranges.
    labels : tuple of str
        What the levels are called.
    missing : bool
        Whether missing values have a level.
    """

    name: str
    lower: np.ndarray
    upper: np.ndarray
    labels: tuple
    missing: bool

    @classmethod
    def of_ranges(cls, name, lower, upper, missing, values=None):
        """Levels with labels; a range with a single one of the distinct ``values`` in it is called by that value."""
        lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        labels = []
        for k in range(len(lower)):
            last = k == len(lower) - 1
            inside = np.empty(0)
            if values is not None:
                below = values <= upper[k] if last else values < upper[k]
                inside = values[(values >= lower[k]) & below]
            if lower[k] == upper[k] or (len(inside) == 1 and inside[0] == lower[k]):
                labels.append(level_text(float(lower[k])))
            else:
                labels.append(level_text(pd.Interval(lower[k], upper[k], closed="both" if last else "left")))
        if len(set(labels)) < len(labels):
            # Ends that agree to six digits.
            labels = [f"[{low!r}, {high!r})" for low, high in zip(lower.tolist(), upper.tolist(), strict=True)]
        return cls(name, lower, upper, (*labels, *([MISSING] if missing else [])), missing)

    def __len__(self):
        return len(self.lower) + self.missing

    def codes(self, column, *, nearest=False):
        """Level of each row, -1 where a value is in none; ``nearest`` takes the closest range for numbers in none."""
        values = column_values(column)
        gone = np.isnan(values)
        codes = np.full(len(values), -1, dtype=np.int64)
        if len(self.lower):
            found = np.searchsorted(self.lower, values, side="right") - 1
            inside = found.clip(0)
            within = (found >= 0) & (values < self.upper[inside])
            at_end = (self.lower[inside] == self.upper[inside]) | (inside == len(self.lower) - 1)
            within |= (found >= 0) & at_end & (values == self.upper[inside])
            codes[within] = found[within]
            if nearest:
                outside = ~within & ~gone
                above = np.minimum(inside + 1, len(self.lower) - 1)
                with np.errstate(invalid="ignore"):
                    closer = np.abs(self.lower[above] - values) < np.abs(values - self.upper[inside])
                codes[outside] = np.where(found < 0, 0, np.where(closer, above, inside))[outside]
        codes[gone] = len(self.lower) if self.missing else -1
        return codes

    def ends(self, level):
        """Ends of the range of a level, None for missing values."""
        if level == len(self.lower):
            return None, None
        return float(self.lower[level]), float(self.upper[level])

    def merged(self, groups, values=None):
        """Neighbouring levels made one: ``groups`` (L,) says which new level each becomes, in increasing order."""
        groups = np.asarray(groups)[: len(self.lower)]
        first = np.unique(groups, return_index=True)[1]
        last = np.append(first[1:], len(groups)) - 1
        return self.of_ranges(self.name, self.lower[first], self.upper[last], self.missing, values)


@dataclass(frozen=True, eq=False)
class CategoryLevels:
    """Sets of categories; missing values count as one that is called ``"(missing)"``.

    Attributes
    ----------
    name : str
        Name of the column.
    categories : tuple of tuple of str
        The categories of each level.
    """

    name: str
    categories: tuple

    def __len__(self):
        return len(self.categories)

    @property
    def labels(self):
        """What the levels are called."""
        return tuple(join_categories(level) for level in self.categories)

    def codes(self, column, *, nearest=False):
        """Level of each row, -1 for categories in none."""
        factor = read_factor(column, "X", {str(column.name): None} if is_number(column) else 1)
        position = {category: k for k, level in enumerate(self.categories) for category in level}
        of_level = np.array([position.get(category_text(level), -1) for level in factor.levels], dtype=np.int64)
        return of_level[factor.codes]

    def ends(self, level):
        """No ends."""
        return None, None

    def merged(self, groups, values=None):
        """Levels made one: ``groups`` (L,) says which new level each becomes."""
        new: list[list[str]] = [[] for _ in range(int(np.max(groups)) + 1)]
        for level, group in zip(self.categories, groups, strict=True):
            new[group].extend(level)
        return CategoryLevels(self.name, tuple(map(tuple, new)))


def category_text(level):
    """A category as text; whole numbers read the same whether a frame keeps them as integers or as floats."""
    if isinstance(level, float | np.floating) and float(level).is_integer():
        return str(int(level))
    return str(level)


def join_categories(categories):
    """The categories of a level in one cell."""
    return _SEPARATOR.join(
        str(category).replace(_ESCAPE, _ESCAPE * 2).replace("|", f"{_ESCAPE}|") for category in categories
    )


def split_categories(text):
    """What :func:`join_categories` has joined."""
    found, current, position = [], "", 0
    while position < len(text):
        if text[position] == _ESCAPE and position + 1 < len(text):
            current += text[position + 1]
            position += 2
        elif text.startswith(_SEPARATOR, position):
            found.append(current)
            current = ""
            position += len(_SEPARATOR)
        else:
            current += text[position]
            position += 1
    return (*found, current)
