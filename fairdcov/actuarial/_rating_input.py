"""What is passed to make a rating table: the model and its penalty, its predictions, columns, bins and pairs."""

import numbers

from sklearn.pipeline import Pipeline

from fairdcov._checks import check_consistent_rows, check_finite_vector, check_whole_number
from fairdcov.encoding import MAX_NUMERIC_LEVELS, nearest_name
from fairdcov.exceptions import MissingSensitiveFeaturesError

__all__ = [
    "bins_by_name",
    "check_no_penalty",
    "check_pairs",
    "check_power",
    "columns_named",
    "penalty_of",
    "positive_predictions",
]


def _final(model):
    """The estimator that has learnt: of the last step of a Pipeline, and the chosen one of a search."""
    while True:
        if isinstance(model, Pipeline):
            model = model[-1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif hasattr(model, "estimator_"):
            model = model.estimator_
        else:
            return model


def penalty_of(model):
    penalty = getattr(_final(model), "penalty", None)
    known = isinstance(penalty, str) and penalty in ("ccdcov", "jdcov", "dcov")
    return penalty if known or hasattr(penalty, "bind") else "ccdcov"


def check_no_penalty(model, strength, control_features):
    """Raise where a penalty is wanted and there are no protected attributes."""
    if strength != "auto" and strength > 0:
        raise MissingSensitiveFeaturesError(f"strength={strength:g} needs sensitive_features; found None")
    if control_features is not None:
        raise MissingSensitiveFeaturesError("control_features need sensitive_features; found None")
    final = _final(model)
    own = getattr(final, "strength", 0)
    if strength == "auto" and hasattr(final, "penalty") and isinstance(own, numbers.Real) and float(own) > 0:
        raise MissingSensitiveFeaturesError(
            f"the model has a penalty of strength {own:g}, which the table keeps only if it sees the protected "
            "attributes: pass sensitive_features, or strength=0 to go without"
        )


def check_power(power):
    if isinstance(power, bool) or not isinstance(power, numbers.Real) or not 1 <= float(power) <= 2:
        raise ValueError(f"power must be a number between 1 (Poisson) and 2 (gamma); found {power!r}")


def check_pairs(pairs):
    if pairs is None or (isinstance(pairs, str) and pairs == "auto"):
        return pairs
    found = [tuple(pair) if isinstance(pair, list | tuple) else (pair,) for pair in pairs]
    for pair in found:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(f"pairs must be 'auto', None or a list of pairs of different columns; found {pairs!r}")
    return [tuple(map(str, pair)) for pair in found]


def columns_named(factors, names):
    if factors is None:
        return list(names)
    factors = [factors] if isinstance(factors, str) else list(factors)
    for name in factors:
        if str(name) not in names:
            raise ValueError(f"factors names {name!r}, which is not a column of X{nearest_name(name, names)}")
    return list(dict.fromkeys(map(str, factors)))


def bins_by_name(bins, names, frame):
    if bins is None:
        return {}
    if isinstance(bins, dict):
        for name in bins:
            if str(name) not in names:
                raise ValueError(f"bins names {name!r}, which is not a factor{nearest_name(name, names)}")
        return {str(name): value for name, value in bins.items()}
    check_whole_number(bins, "bins", 1)
    many = [name for name in names if frame.get_column(name).dtype.is_numeric()]
    return {name: int(bins) for name in many if frame.get_column(name).n_unique() > MAX_NUMERIC_LEVELS}


def positive_predictions(model, X, n_samples):
    predicted = check_finite_vector(model.predict(X), "the prediction of the model")
    check_consistent_rows(n_samples, predicted, "the prediction of the model")
    if (predicted <= 0).any():
        raise ValueError(
            f"a rating table needs positive predictions, which a log link gives; found {predicted.min():g}"
        )
    return predicted
