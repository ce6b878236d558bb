"""What the text of a column means: numbers, truth values, or names, and what made it names.

The same column must mean the same in every format: what a CSV file says of it is what a Parquet file of the same rows
says.
"""

import re

import numpy as np

from fairdcov._checks import import_optional
from fairdcov.actuarial import armed

__all__ = [
    "NULL_VALUES",
    "are_dates",
    "common_spelling",
    "exact_as_floats",
    "find_decimal",
    "floats_of",
    "is_text",
    "matches",
    "number_pattern",
    "plain_numbers",
    "read_meaning",
    "respelled",
    "why_names",
]

# What R, SAS, Excel and SQL write where there is no value.
NULL_VALUES = ("", ".", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null")
_WHOLE = r"^[+-]?[0-9]+$"
_ZEROS_IN_FRONT = r"^[+-]?0[0-9]"
_TRUTH = r"^(true|false|True|False|TRUE|FALSE)$"
_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_DAY = r"([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{4})"
_DATE = rf"^({_DAY}([ T]{_TIME}(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?|{_TIME}|-?[0-9]+ days( [+-]?{_TIME})?)$"
# Every whole number up to it is a float.
_LARGEST_EXACT = 2**53
# A column is text by mistake, perhaps, when so large a share of its rows has numbers.
_MOSTLY = 0.5
_TOO_LONG = "whole numbers of more digits than numbers can hold, which are names"
# Values that a remark names.
_SHOWN = 5


def _arrow():
    return import_optional("pyarrow", "fairdcov: reading tables")


def is_text(kind):
    """Whether an Arrow type is text, or categories of text."""
    types = _arrow().types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers in text
# ---------------------------------------------------------------------------------------------------------------------


def number_pattern(decimal):
    """Regular expression of numbers with this decimal mark, with or without separators of thousands."""
    mark, thousands = (r"\.", ",") if decimal == "." else (",", r"\.")
    whole = rf"([1-9][0-9]{{0,2}}([{thousands}' \x{{a0}}\x{{202f}}][0-9]{{3}})+|[0-9]+)"
    finite = rf"({whole}({mark}[0-9]*)?|{mark}[0-9]+)([eE][+-]?[0-9]+)?"
    # Infinite numbers are numbers, which no model takes: as text they would become a level.
    return rf"^[+-]?({finite}|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"


def matches(values, pattern):
    """Which text matches a pattern; null where there is none."""
    import pyarrow.compute as pc

    return pc.match_substring_regex(values, pattern)


def _all_match(values, pattern):
    import pyarrow.compute as pc

    return bool(pc.all(matches(values, pattern), min_count=0).as_py())


def plain_numbers(values, decimal):
    """Text that matches the pattern of this decimal mark with a point and without separators of thousands."""
    import pyarrow.compute as pc

    values = pc.replace_substring_regex(values, r"[' \x{a0}\x{202f}]", "")
    values = pc.replace_substring(values, "," if decimal == "." else ".", "")
    return values if decimal == "." else pc.replace_substring(values, ",", ".")


def floats_of(values, decimal="."):
    """Text that matches the pattern of this decimal mark as the nearest floats."""
    import pyarrow.compute as pc

    return pc.cast(plain_numbers(values, decimal), _arrow().float64())


def exact_as_floats(values):
    """Whether whole numbers, as an Arrow array of them or of their digits, are all floats; if not, they are names.

    It is asked of the values and not of their number of digits: a file with digits in full, as C writes floats, and one
    with floats must mean the same.
    """
    import pyarrow.compute as pc

    pa = _arrow()
    values = pc.unique(values).drop_null()
    if pa.types.is_integer(values.type):
        limit = pa.scalar(_LARGEST_EXACT, values.type) if values.type.bit_width == 64 else None
        if limit is None:
            return True
        beyond = pc.greater(values, limit)
        if pa.types.is_signed_integer(values.type):
            beyond = pc.or_(beyond, pc.less(values, pa.scalar(-_LARGEST_EXACT, values.type)))
    else:
        beyond = pc.greater(pc.utf8_length(values), len(str(_LARGEST_EXACT)) - 1)
    return all(_is_float(int(value)) for value in values.filter(beyond).to_pylist())


def _is_float(whole):
    try:
        return int(float(whole)) == whole
    except OverflowError:
        return False


def _numbers(known, decimal):
    """Distinct text as int64, uint64 or float64, nulls kept, or None where it is not all numbers that are no names."""
    import pyarrow.compute as pc

    pa = _arrow()
    if not _all_match(known, number_pattern(decimal)) or bool(pc.any(matches(known, _ZEROS_IN_FRONT)).as_py()):
        return None
    plain = plain_numbers(known, decimal)
    if not _all_match(plain, _WHOLE):
        return floats_of(known, decimal)
    plain = pc.replace_substring_regex(plain, r"^\+", "")
    for kind in (pa.int64(), pa.uint64()):
        try:
            return pc.cast(plain, kind)
        except pa.ArrowInvalid:
            continue
    return pc.cast(plain, pa.float64()) if exact_as_floats(plain) else None


def _distinct(column):
    """Distinct values of a text column, without the missing ones and without blanks around them."""
    import pyarrow.compute as pc

    pa = _arrow()
    values = pc.unique(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    values = pc.utf8_trim_whitespace(pc.drop_null(values))
    return values.filter(pc.invert(pc.is_in(values, pa.array(NULL_VALUES, values.type))))


def find_decimal(columns, separator):
    """Decimal mark of a file, from all the values of the columns that can be numbers.

    Returns the mark and, where it was not beyond doubt, what was assumed.
    """
    votes: dict[str, str] = {}
    doubtful: list[tuple[str, str]] = []
    for name, column in columns.items():
        values = _distinct(column)
        point, comma = (_all_match(values, number_pattern(mark)) for mark in (".", ","))
        if point != comma:
            votes.setdefault("." if point else ",", name)
        elif point:
            # numbers without a mark, such as 12 and 1e-5, are the same either way
            doubtful += [(name, text) for text in values.filter(matches(values, r"[.,]")).to_pylist()[:1]]
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


# ---------------------------------------------------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------------------------------------------------


def read_meaning(column, decimal, *, as_text=False, from_csv=False):
    """What a text column means.

    Parameters
    ----------
    column : pyarrow.DictionaryArray, (n,)
        Its text as it is in the file.
    decimal : str
        Decimal mark.
    as_text : bool, default=False
        Take it for names whatever it looks like.
    from_csv : bool, default=False
        Whether the file has no types: numbers are then numbers, and apostrophes are taken away that disarm formulas.

    Returns
    -------
    values : pyarrow.Array, (n,)
        Integers, floats, booleans, or categories of text; null where the text stands for a missing value.
    why : str or None
        Why a column that looks like numbers is text.
    """
    import pyarrow.compute as pc

    pa = _arrow()
    levels = column.dictionary.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(levels)
    counts = np.bincount(column.indices.drop_null().to_numpy(), minlength=len(levels))
    missing = pc.fill_null(pc.is_in(trimmed, pa.array(NULL_VALUES)), True)
    known = pc.if_else(pc.and_(pa.array(counts > 0), pc.invert(missing)), trimmed, pa.scalar(None, pa.string()))
    why = None
    if known.null_count < len(known) and not as_text:
        meant = _numbers(known, decimal) if from_csv else None
        if meant is None and _all_match(known, _TRUTH):
            meant = pc.equal(pc.utf8_lower(known), "true")
        if meant is not None:
            return meant.take(column.indices), why_names(meant)
        why = _why_text(known, counts, decimal)
    text = pc.if_else(missing, pa.scalar(None, pa.string()), levels)
    if from_csv:
        text = pa.array([level if level is None else armed(level) for level in text.to_pylist()], pa.string())
    # Levels that are the same now become one.
    encoded = text.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(column.indices), encoded.dictionary), why


def why_names(column):
    """Why a column of whole numbers is names, or None where it is numbers or something else."""
    return _TOO_LONG if _arrow().types.is_integer(column.type) and not exact_as_floats(column) else None


def _why_text(known, counts, decimal):
    """What kept a column of which at least half is numbers from being read as numbers."""
    import pyarrow.compute as pc

    is_number = pc.fill_null(matches(known, number_pattern(decimal)), False).to_numpy(zero_copy_only=False)
    is_known = pc.is_valid(known).to_numpy(zero_copy_only=False)
    if counts[is_number].sum() < _MOSTLY * counts[is_known].sum():
        return None
    others = np.flatnonzero(is_known & ~is_number)
    if len(others):
        shown = ", ".join(repr(known[int(position)].as_py()) for position in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
        n_rows = counts[others].sum()
        return f"numbers but for {shown}{more} in {n_rows:,} row(s), which make all of it text"
    zeros = known.filter(pc.fill_null(matches(known, _ZEROS_IN_FRONT), False))
    if len(zeros):
        return f"digits with zeros in front, such as {zeros[0].as_py()!r}, which are names"
    if not _all_match(known, _WHOLE) or len(known.drop_null()) == 0 or exact_as_floats(known):
        return "numbers that the file has as text; convert them there if they are quantities"
    return _TOO_LONG


def are_dates(column):
    """Whether all text of a column is dates, times or durations."""
    values = _distinct(column)
    return len(values) > 0 and _all_match(values, _DATE)


def _spelling(level):
    """The form in which every format has a level: pandas writes True for true, and 1.0 for 1 beside a gap."""
    if level.lower() in ("true", "false"):
        return level.lower()
    return level[:-2] if re.fullmatch(r"-?[0-9]+[.,]0", level) else level


def common_spelling(levels):
    """Names in the spelling of every format, where all are truth values or whole numbers with a needless point."""
    spelled = [_spelling(level) for level in levels]
    truth = all(level in ("true", "false") for level in spelled)
    return spelled if truth or all(old != new for old, new in zip(levels, spelled, strict=True)) else list(levels)


def respelled(levels, known):
    """Levels as a model knows them: in the spelling of another format where it has no level of their own."""
    by_spelling = {_spelling(level): level for level in reversed(known)}
    return [level if level in known else by_spelling.get(_spelling(level), level) for level in levels]
