"""Monotone constraints: features that predictions may only rise or only fall with, all else equal."""

import numpy as np
import pandas as pd

from fairdcov.cli._models import MODELS
from fairdcov.encoding import nearest_name

__all__ = ["check_monotone", "notes_on_table", "read_monotone"]

# Relativities are rounded sums.
_ROUNDING = 1e-9


def read_monotone(texts, model_name, columns):
    """Signs by column of ``--monotone COLUMN=+ COLUMN=-``.

    Parameters
    ----------
    texts : list of str
        As they were typed.
    model_name : str
        Key of ``MODELS``.
    columns : list of str
        Of the book.

    Returns
    -------
    dict of str to {"+", "-"}

    Raises
    ------
    ValueError
        For a model that takes no constraints, another form, columns that are not there, and columns named twice.
    """
    if texts and not MODELS[model_name].monotone:
        able = ", ".join(sorted({f"--model {model.option}" for model in MODELS.values() if model.monotone}))
        raise ValueError(
            f"--monotone is for {able}; --model {MODELS[model_name].option} fits splines, which may rise and fall: "
            f"take {able}, or look at relativities.csv after the fit"
        )
    signs: dict[str, str] = {}
    for text in texts:
        # A name may have an equals sign itself.
        column, _, sign = text.rpartition("=")
        if not column or sign not in ("+", "-"):
            raise ValueError(f"--monotone takes COLUMN=+ or COLUMN=-, as in power=+; found {text!r}")
        if column not in columns:
            raise ValueError(f"--monotone: there is no column {column!r}{nearest_name(column, columns)}")
        if column in signs:
            raise ValueError(f"--monotone names {column!r} twice")
        signs[column] = sign
    return signs


def check_monotone(signs, features):
    """Raise for constraints on columns that are no features, and on categories, which have no order."""
    for column in signs:
        if column not in features:
            raise ValueError(f"--monotone names {column!r}, which is no feature: only features can be constrained")
        if isinstance(features[column].dtype, pd.CategoricalDtype):
            raise ValueError(
                f"--monotone names {column!r}, a category of {len(features[column].cat.categories):,} levels, which "
                "have no order: only numbers can be constrained"
            )


def notes_on_table(signs, table):
    """Remarks on factors of a rating table that do not keep the constraints of the trees it was distilled from.

    Parameters
    ----------
    signs : dict of str to {"+", "-"}
        Constraints of the model.
    table : RatingTable
        Distilled from it.

    Returns
    -------
    list of str
    """
    notes = []
    for column, sign in signs.items():
        levels = table.frame[table.frame["factor"] == column].dropna(subset=["value"]).sort_values("value")
        relativity = levels["relativity"].to_numpy(dtype=np.float64)
        steps = np.diff(relativity if sign == "+" else -relativity)
        if (steps < -_ROUNDING).any():
            notes.append(
                f"the model keeps --monotone {column}={sign}, relativities.csv does not: it "
                f"{'falls' if sign == '+' else 'rises'} at {int((steps < -_ROUNDING).sum())} of {len(steps)} steps"
            )
    return notes
