"""The parameters of a calibrator: what can be said of them without data."""

import numbers

import numpy as np
from sklearn.pipeline import Pipeline

from fairdcov._checks import check_choice, check_positive_number, check_whole_number
from fairdcov._fitting import check_strengths
from fairdcov.calibration._rules import RULES

__all__ = [
    "check_parameters",
    "final_estimator",
    "find_parameter",
    "name_of_rule",
    "name_of_seed",
    "number_of_folds",
    "sensitive_columns_within",
]


def check_parameters(calibrator):
    """Check what needs no data; the options of the rule."""
    if isinstance(calibrator.estimator, type):
        name = calibrator.estimator.__name__
        raise TypeError(f"estimator must be an estimator, such as {name}(); found the class {name}")
    if not callable(calibrator.rule):
        check_choice(calibrator.rule, "rule", tuple(RULES))
    check_choice(calibrator.if_unmet, "if_unmet", ("raise", "warn"))
    if calibrator.rule == "threshold":
        if calibrator.max_divergence is None:
            raise ValueError("rule='threshold' needs max_divergence, the largest divergence that is allowed")
        check_positive_number(calibrator.max_divergence, "max_divergence", allow_zero=True)
    check_positive_number(calibrator.score_budget, "score_budget", allow_zero=True)
    if not isinstance(calibrator.null_quantile, numbers.Real) or not 0 < calibrator.null_quantile < 1:
        raise ValueError(f"null_quantile must be between 0 and 1; found {calibrator.null_quantile!r}")
    for name, least in (("n_permutations", 1), ("n_seeds", 1), ("n_strengths", 3), ("min_group_size", 1)):
        check_whole_number(getattr(calibrator, name), name, least)
    if calibrator.n_seeds > 1 and name_of_seed(calibrator.estimator) is None:
        raise ValueError(
            f"n_seeds={calibrator.n_seeds} needs an estimator with a random_state; "
            f"{type(calibrator.estimator).__name__} has none"
        )
    if isinstance(calibrator.scoring, list | tuple | set | dict):
        raise ValueError(f"scoring must be one score, which the rules compare; found {calibrator.scoring!r}")
    _check_strengths(calibrator.strengths)
    return {
        "threshold": {"max_divergence": calibrator.max_divergence},
        "score_budget": {"budget": calibrator.score_budget},
    }.get(calibrator.rule if isinstance(calibrator.rule, str) else None, {})


def _check_strengths(strengths):
    if isinstance(strengths, str):
        check_choice(strengths, "strengths", ("auto",))
        return
    if np.ndim(strengths) != 1:
        raise ValueError(f"strengths must be 'auto' or a sequence of numbers; found {strengths!r}")
    if (np.diff(check_strengths(strengths)) <= 0).any():
        raise ValueError(f"strengths must increase; found {list(strengths)}: sort them, without repetition")


def number_of_folds(cv):
    """Number of stratified folds; None when ``cv`` is a splitter."""
    n_folds = 5 if cv is None else cv
    return n_folds if isinstance(n_folds, numbers.Integral) else None


def final_estimator(estimator):
    """Name and estimator of the last step of a Pipeline; no name for any other estimator."""
    return estimator.steps[-1] if isinstance(estimator, Pipeline) else ("", estimator)


def find_parameter(estimator, param_name):
    """Name of the strength-like parameter of an estimator."""
    known = estimator.get_params()
    name = param_name
    if name == "auto":
        step, _ = final_estimator(estimator)
        name = f"{step}__strength" if step else "strength"
        if name not in known and hasattr(estimator, "strength_path") and "estimator__strength" in known:
            name = "estimator__strength"
    if name not in known:
        near = sorted(key for key in known if key.endswith("__strength"))
        raise ValueError(
            f"the estimator {type(estimator).__name__} has no parameter {name!r}: set param_name to its "
            "strength-like parameter, for a step of a Pipeline as 'step__strength'"
            + (f"; there is {near[0]!r}" if near else "")
        )
    return name


def name_of_seed(estimator):
    """Name of the parameter with the seed of an estimator, or of the last step of a Pipeline; None without one."""
    step, final = final_estimator(estimator)
    return (f"{step}__random_state" if step else "random_state") if "random_state" in final.get_params() else None


def name_of_rule(rule):
    """A rule in words."""
    return rule if isinstance(rule, str) else getattr(rule, "__name__", repr(rule))


def sensitive_columns_within(estimator):
    """Columns of X that an estimator, or an estimator within it, reads its protected attributes from; None without."""
    for name, value in estimator.get_params().items():
        if name.rpartition("__")[2] == "sensitive_columns" and value is not None:
            return [value] if isinstance(value, str) else list(value)
    return None
