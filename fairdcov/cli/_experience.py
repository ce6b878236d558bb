"""The policies of a table: target per unit of exposure, exposure, protected attributes and features, all checked."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairdcov.cli._features import MOST_LEVELS, is_quantity
from fairdcov.cli._parser import AGE_BINS
from fairdcov.encoding import DEFAULT_GROUPS, MAX_NUMERIC_LEVELS, make_groups

__all__ = [
    "Experience",
    "attribute_bins",
    "check_amounts",
    "crossed_strata",
    "groups_without_claims",
    "levels_with_few_claims",
    "read_claims",
    "read_experience",
    "read_sensitive",
]

# Groups and levels that a remark names.
_SHOWN = 8
# Levels with fewer rows with claims than this are named: folds without any are likely.
_FEWEST_CLAIMS = 10


@dataclass(frozen=True)
class Experience:
    """Rows that take part.

    Attributes
    ----------
    rows : (n,) int64 array
        Their positions in the table.
    target : (n,) float64 array or None
        Per unit of exposure.
    exposure : (n,) float64 array
        Ones where there is none.
    weighted : bool
        Whether there is one.
    remarks : list of str
        What was left out.
    """

    rows: np.ndarray
    target: np.ndarray | None
    exposure: np.ndarray
    weighted: bool
    remarks: list


def read_experience(table, target, exposure, option="--target"):
    """Target and exposure of a table.

    Parameters
    ----------
    table : Table
        With the columns below.
    target : str or None
        Column of the total of each row: the number or cost of its claims.
    exposure : str or None
        Column of its exposure.
    option : str, default="--target"
        Which names the target, for errors.

    Returns
    -------
    Experience

    Raises
    ------
    ValueError
        For negative exposure, for exposure of zero where the target is not zero, and when no row is left.
    """
    total = None if target is None else table.numbers(target, option)
    if exposure is None:
        return Experience(np.arange(table.n_rows), total, np.ones(table.n_rows), False, [])
    years = table.numbers(exposure, "--exposure")
    _reject(years < 0, f"--exposure: column {exposure!r} is negative", "correct them or leave them out")
    nothing = years == 0
    if total is not None:
        _reject(
            nothing & (total != 0),
            f"--exposure: column {exposure!r} is 0 although {target!r} is not",
            "a rate cannot be computed; correct the exposure or leave them out",
        )
    rows = np.flatnonzero(~nothing)
    if len(rows) == 0:
        raise ValueError(f"--exposure: column {exposure!r} is 0 in every row")
    left_out = table.n_rows - len(rows)
    remarks = [f"left out {left_out:,} row(s) without exposure and without claims"] if left_out else []
    if total is None and left_out:
        remarks = [f"left out {left_out:,} row(s) without exposure"]
    return Experience(rows, None if total is None else total[rows] / years[rows], years[rows], True, remarks)


def _reject(wrong, what, advice):
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise ValueError(f"{what} in {len(rows):,} row(s), the first is data row {rows[0] + 1}: {advice}")


def check_amounts(table, name, claims_name):
    """Raise for amounts that rows without claims lack, and for negative ones.

    Left out, as other rows with gaps may be, rows without claims would take most of the exposure with them.
    """
    amounts = table.numbers(name, "--amount", allow_missing=True)
    claims = table.numbers(claims_name, "--claims", allow_missing=True)
    _reject(
        np.isnan(amounts) & (claims == 0),
        f"--amount: column {name!r} has no value where {claims_name!r} is 0",
        "write 0 there, and keep these rows",
    )
    _reject(
        amounts < 0,
        f"--amount: column {name!r} is negative",
        "a recovery belongs to the claim that it is of: add it there",
    )


def read_claims(table, name, amount_name, experience):
    """Number of claims of the rows that take part, (n,) array, each with the amount that it needs.

    Raises
    ------
    ValueError
        For numbers that are no counts, amounts without claims and claims without amount, with the first such row.
    """
    counts, amounts = table.numbers(name, "--claims"), np.zeros(table.n_rows)
    amounts[experience.rows] = experience.target
    takes_part = np.zeros(table.n_rows, dtype=bool)
    takes_part[experience.rows] = True
    column, amount = f"--claims: column {name!r}", f"--amount: column {amount_name!r}"
    _reject(takes_part & (counts < 0), f"{column} is negative", "it is the number of claims of each row")
    _reject(
        takes_part & (counts != np.round(counts)),
        f"{column} is no whole number",
        "it is the number of claims of each row, not per unit of exposure",
    )
    _reject(
        takes_part & (amounts > 0) & (counts == 0),
        f"{amount} is above 0 where {name!r} is 0",
        "an amount needs a claim",
    )
    _reject(
        takes_part & (counts > 0) & (amounts <= 0),
        f"{amount} is not above 0 where {name!r} is",
        "a severity is above 0: count only claims with a cost",
    )
    return counts[experience.rows]


def read_sensitive(table, names, rows, option="--sensitive"):
    """Protected attributes of some rows as a DataFrame; numbers must be complete, missing categories are a category."""
    columns = {}
    for name in names:
        column = table.attribute(name, option)
        if not isinstance(column.dtype, pd.CategoricalDtype):
            # A number that is not known has no place among the others.
            table.numbers(name, option)
        column = column.iloc[rows].reset_index(drop=True)
        columns[name] = column.cat.remove_unused_categories() if hasattr(column, "cat") else column
        if column.nunique() < 2:
            raise ValueError(f"{option}: column {name!r} has the same value in every row: leave it out")
    return pd.DataFrame(columns)


def attribute_bins(sensitive, given, option="--bins", what="protected numbers"):
    """How each numeric attribute is cut where groups are compared: as given, or into the default number of quantiles.

    Parameters
    ----------
    sensitive : DataFrame
        Protected attributes.
    given : list of str or None
        ``"age=0,25,40,60,120"`` for edges or ``"age=5"`` for quantiles.
    option, what : str
        Option of the command line and what it cuts, for errors.

    Returns
    -------
    dict of str to int or list of float
    """
    numeric = [name for name in sensitive if not isinstance(sensitive[name].dtype, pd.CategoricalDtype)]
    bins: dict[str, int | list[float]] = dict.fromkeys(numeric, DEFAULT_GROUPS)
    for text in given or []:
        name, equals, values = text.rpartition("=")
        if not equals:
            raise ValueError(f"{option} takes COLUMN=EDGES such as {AGE_BINS}; found {text!r}")
        if name not in numeric:
            raise ValueError(f"{option} names {name!r}; the {what} are {numeric}")
        try:
            edges = [float(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(f"{option} {name} must be numbers separated by commas; found {values!r}") from None
        bins[name] = int(edges[0]) if len(edges) == 1 and edges[0].is_integer() else edges
    # Few values stay as they are unless something else was asked for.
    asked = {text.rpartition("=")[0] for text in given or []}
    return {name: cut for name, cut in bins.items() if name in asked or sensitive[name].nunique() > MAX_NUMERIC_LEVELS}


def crossed_strata(claims, sensitive):
    """Strata of a split: claims x protected categories; combinations too rare to split go by claims alone.

    Parameters
    ----------
    claims : (n,) array
        Class of each row's claims, such as none, one, more.
    sensitive : DataFrame
        Categories to cross.

    Returns
    -------
    (n,) array of str
    """
    claims = pd.Series(np.asarray(claims).astype(int).astype(str))
    crossed = claims + "|" + sensitive.astype(str).agg("|".join, axis=1).to_numpy() if sensitive.shape[1] else claims
    return crossed.where(crossed.map(crossed.value_counts()) >= 10, claims).to_numpy(dtype=str)


def groups_without_claims(experience, sensitive, bins):
    """Remarks that name the groups in which the target is 0 throughout."""
    codes, labels, _ = make_groups(sensitive, bins)
    totals = np.bincount(codes, experience.target * experience.exposure, len(labels))
    empty = [" × ".join(map(str, labels[k])) for k in np.flatnonzero(totals == 0)]
    if not empty:
        return []
    return [f"{len(empty)} of {len(labels)} groups have no claims: {_listed(empty)}"]


def levels_with_few_claims(experience, features):
    """Remarks that name the levels of factors that a GLM with log link can price anywhere, next to 0 as well."""
    claimed, remarks = experience.target > 0, []
    for name in features:
        codes, levels = pd.factorize(features[name], use_na_sentinel=False)
        # Quantities have splines, and of many levels the rare ones share a column.
        if is_quantity(features[name]) or len(levels) > MOST_LEVELS:
            continue
        n_claims = np.bincount(codes, claimed, len(levels)).astype(int)
        n_rows = np.bincount(codes, minlength=len(levels))
        few = [f"{levels[k]} ({n_claims[k]} of {n_rows[k]:,})" for k in np.flatnonzero(n_claims < _FEWEST_CLAIMS)]
        if few:
            remarks.append(
                f"{name}: under {_FEWEST_CLAIMS} rows with claims at {_listed(few)}; in a fold or a fit where such a "
                "level has none, its price is next to 0: merge it with another level"
            )
    return remarks


def _listed(names):
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
