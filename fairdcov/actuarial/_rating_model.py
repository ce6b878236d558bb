"""Rating tables of models: distilled from any, taken from the exact one of a multiplicative one, beside their model."""

import numbers
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from fairdcov._checks import (
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_positive_number,
    check_sample_weight,
    check_whole_number,
    warn_user,
)
from fairdcov.actuarial._comparison import compare, dependence_text
from fairdcov.actuarial._distillation import distil, read_columns
from fairdcov.actuarial._rating_factor import RatingFactor, factor_of_effects, premium_of, ratios_of_levels
from fairdcov.actuarial._rating_input import (
    bins_by_name,
    check_no_penalty,
    check_pairs,
    check_power,
    columns_named,
    penalty_of,
    positive_predictions,
)
from fairdcov.actuarial._rating_levels import CategoryLevels, NumberLevels, category_text
from fairdcov.encoding import MISSING, given_to, read_frame, select_rows, warn_about_order
from fairdcov.exceptions import StrengthWarning
from fairdcov.metrics import mean_deviance

__all__ = ["compare_with_model", "factors_of_relativities", "table_of_model"]

# Of the variation of the model's premiums: a table that keeps less has another price for most.
_LEAST_FIDELITY = 0.5


def table_of_model(
    model,
    X,
    y,
    *,
    sample_weight,
    sensitive_features,
    control_features,
    factors,
    bins,
    max_relativities,
    pairs,
    penalty,
    strength,
    power,
    max_levels,
):
    """What a table distilled from a model is made of, by argument; see :meth:`RatingTable.from_model`."""
    # 1. What can be wrong.
    if hasattr(model, "__sklearn_tags__") and is_classifier(model):
        raise TypeError(f"a rating table needs a regressor; found the classifier {type(model).__name__}")
    check_whole_number(max_relativities, "max_relativities", 1)
    if max_levels is not None:
        check_whole_number(max_levels, "max_levels", 1)
    check_power(power)
    if strength != "auto":
        check_positive_number(strength, "strength", allow_zero=True)
    pairs = check_pairs(pairs)
    penalty = penalty_of(model) if penalty is None else penalty
    if isinstance(penalty, str):
        check_choice(penalty, "penalty", ("ccdcov", "jdcov", "dcov"))
    if sensitive_features is None:
        check_no_penalty(model, strength, control_features)
    people = {"sensitive_features": sensitive_features, "control_features": control_features}
    warn_about_order(X=X, y=y, sample_weight=sample_weight, **people)
    frame = read_frame(X, "X")
    n_samples = len(frame)
    if n_samples == 0:
        raise ValueError("X must have at least one row; found 0")
    names = columns_named(factors, frame.columns)
    bins = bins_by_name(bins, names, frame)
    weights = check_sample_weight(sample_weight, n_samples)
    people = {name: given_to(None, value) for name, value in people.items() if value is not None}
    if y is not None:
        y = check_finite_vector(y, "y")
    for name, value in {"y": y, **people}.items():
        if value is not None:
            check_consistent_rows(n_samples, value, name)

    # 2. Predictions and levels of the rows that count.
    rows = np.flatnonzero(weights > 0)
    exposure = weights[rows]
    predicted = positive_predictions(model, X, n_samples)[rows]
    if len(rows) < n_samples:
        frame = frame[rows, :]
        people = {name: select_rows(value, weights > 0) for name, value in people.items()}
    columns = read_columns(frame, names, bins, exposure, max_levels)

    # 3. The table.
    found = distil(
        predicted,
        exposure,
        columns,
        most=max_relativities,
        pairs=pairs,
        power=power,
        penalty=penalty,
        strength=strength,
        people=people,
    )
    parts = [factor_of_effects(group, logs, exposure) for group, logs in found.factors]
    premium = premium_of(found.base_premium, parts, frame.to_native(), "error")
    filled = [
        replace(part, table_to_model=ratios_of_levels(group, exposure * premium, exposure * predicted))
        for part, (group, _) in zip(parts, found.factors, strict=True)
    ]
    comparison = compare(
        predicted,
        premium,
        None if y is None else y[rows],
        exposure=exposure,
        people=people,
        deviance=partial(mean_deviance, power=power),
        fidelity=True,
    )
    _warn_of_loss(found, comparison)
    return {
        "base_premium": found.base_premium,
        "factors": filled,
        "off_balance": found.off_balance,
        "strength": found.strength,
        "comparison": comparison,
        "power": power,
    }


def _warn_of_loss(found, comparison):
    """Warn of a table that is more dependent than its model, and of one that has little of it left."""
    if not found.kept:
        warn_user(
            "the table depends more on the protected attributes than the model does "
            f"({dependence_text(comparison)}) at every strength that was tried: let it have more relativities or "
            "fewer columns, or pass a strength",
            StrengthWarning,
        )
    fidelity = comparison.set_index("measure").loc["deviance from the model", "kept"]
    if found.strength > 0 and fidelity < _LEAST_FIDELITY:
        warn_user(
            f"the table keeps {max(fidelity, 0.0):.0%} of the variation of the model's premiums: it takes a "
            f"penalty of strength {found.strength:.3g} to be no more dependent than the model is. Let it have more "
            "relativities, or pass a smaller strength",
            StrengthWarning,
        )


def factors_of_relativities(table):
    """Factors of the table of :func:`relativities`; see :meth:`RatingTable.from_relativities`."""
    if not isinstance(table, pd.DataFrame) or not {"base_premium", "off_balance_before"} <= table.attrs.keys():
        raise ValueError(
            "table must be what relativities(...) returns, with its attrs; tables that were put together or read "
            "from a file have none"
        )
    absent = table.attrs.get("left_out")
    if absent:
        raise ValueError(f"table lacks the factors {absent} of the model: let relativities(...) show all of them")
    repeated = table.duplicated(["factor", "level"])
    if repeated.any():
        raise ValueError(f"table has levels twice, the first of them of factor {table['factor'][repeated].iloc[0]!r}")
    parts = []
    for name, part in table.groupby("factor", sort=False):
        levels = part["level"].tolist()
        missing = bool(levels) and levels[-1] == MISSING
        known = levels[:-1] if missing else levels
        if known and all(isinstance(level, pd.Interval) for level in known):
            lower, upper = ([getattr(level, side) for level in known] for side in ("left", "right"))
            columns = NumberLevels.of_ranges(name, lower, upper, missing)
        elif known and all(isinstance(level, numbers.Real) and not isinstance(level, bool) for level in known):
            columns = NumberLevels.of_ranges(name, known, known, missing)
        else:
            columns = CategoryLevels(name, tuple((category_text(level),) for level in levels))
        arrays = {
            column: part[column].to_numpy(dtype=np.int64 if column == "rows" else np.float64)
            for column in ("rows", "exposure", "table_to_model")
        }
        relativity = part["relativity"].to_numpy(dtype=np.float64)
        parts.append(RatingFactor((columns,), relativity, **arrays, values=tuple(part["value"])))
    return parts


def compare_with_model(model, premium, X, y, *, sample_weight, people, bins, power):
    """The premiums of a table beside a model, or its predictions; see :meth:`RatingTable.compare`."""
    if hasattr(model, "predict"):
        predicted = positive_predictions(model, X, len(premium))
    else:
        predicted = check_finite_vector(model, "model")
        check_consistent_rows(len(premium), predicted, "model")
    weights = check_sample_weight(sample_weight, len(premium))
    warn_about_order(X=X, y=y, sample_weight=sample_weight, **people)
    people = {name: given_to(None, value) for name, value in people.items() if value is not None}
    keep = weights > 0
    for name, value in people.items():
        check_consistent_rows(len(premium), value, name)
    if y is not None:
        y = check_finite_vector(y, "y")
        check_consistent_rows(len(premium), y, "y")
    return compare(
        predicted[keep],
        premium[keep],
        None if y is None else y[keep],
        exposure=weights[keep],
        people={name: select_rows(value, keep) for name, value in people.items()},
        deviance=partial(mean_deviance, power=power),
        bins=bins,
        fidelity=True,
    )
