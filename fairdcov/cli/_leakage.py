"""Features that know the target: what is known only after the claim, such as its cost, is no rating factor."""

import numpy as np
import pandas as pd

from fairdcov.encoding import MISSING

__all__ = ["notes_on_leakage"]

# Share of the rows, with and without claims, in which a feature has to agree with the target.
_AGREEMENT = 0.995
# Rows with and without claims below which agreement may be chance.
_LEAST_ROWS = 20


def notes_on_leakage(features, target):
    """Remarks on features that have nothing to tell exactly where the target is 0.

    Parameters
    ----------
    features : DataFrame, (n, p)
        Numbers and categories.
    target : (n,) array
        Such as numbers of claims, or claims per unit of exposure.

    Returns
    -------
    list of str
        One for each number that is 0, missing or its most frequent value where the target is 0 and is something else
        where it is not, and for each category with a level that does so, in at least 99.5 % of the rows either way.
    """
    happened = np.asarray(target) != 0
    if min(happened.sum(), (~happened).sum()) < _LEAST_ROWS:
        return []
    notes = []
    for name in features:
        for value, silent in _silent_rows(features[name]):
            without, with_claims = silent[~happened].mean(), 1 - silent[happened].mean()
            if min(without, with_claims) >= _AGREEMENT:
                notes.append(
                    f"{name} is {value} where the target is 0, and is not elsewhere (in {without:.1%} and "
                    f"{with_claims:.1%} of the rows): it seems to be known only afterwards, as the cost of a claim "
                    f"is; leave it out with --exclude {_quoted(name)}"
                )
                break
    return notes


def _silent_rows(column):
    """Values of a column that may stand for nothing, and the rows that have them or no value."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        missing = (column == MISSING).to_numpy()
        usual = column.value_counts().index[:2]
    else:
        missing = column.isna().to_numpy()
        usual = [0, *column.value_counts().index[:1]]
    for value in dict.fromkeys(usual):
        shown = f"{value:g}" if isinstance(value, int | float) else repr(value)
        what = "missing" if value == MISSING else f"{shown} or missing" if missing.any() else shown
        yield what, (column == value).to_numpy() | missing


def _quoted(name):
    return name if name.replace("_", "").isalnum() else f"'{name}'"
