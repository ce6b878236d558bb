"""Who gets which metadata: fit, score, split and predict, with scikit-learn's metadata routing and without."""

import inspect
from dataclasses import dataclass

import sklearn
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.validation import has_fit_parameter

from fairdcov._checks import warn_user
from fairdcov.calibration._parameters import final_estimator, number_of_folds, sensitive_columns_within

__all__ = ["RoutedMetadata", "route_metadata"]


@dataclass(frozen=True)
class RoutedMetadata:
    """Metadata by who gets them, each a dict."""

    fit: dict
    score: dict
    split: dict
    predict: dict


def route_metadata(calibrator, scorer, given):
    """Metadata for fit, score, split and predict; ``given`` has None for what was not given."""
    given = {name: value for name, value in given.items() if value is not None}
    for_fit = given
    if sensitive_columns_within(calibrator.estimator) is not None:
        # The estimator reads them from X, and would refuse to get them twice.
        for_fit = _without(given, ["sensitive_features"])
    if sklearn.get_config()["enable_metadata_routing"]:
        return _routed(calibrator, given, for_fit)
    return _by_name(calibrator, scorer, given, for_fit)


def _routed(calibrator, given, for_fit):
    """As all who take part have asked for it."""
    routed = process_routing(calibrator, "fit", **given)
    own = routed if for_fit is given else process_routing(calibrator, "fit", **for_fit)
    predict = dict(own["estimator"]["predict"])
    score = _without(dict(routed["scorer"]["score"]), predict)
    return RoutedMetadata(dict(own["estimator"]["fit"]), score, dict(routed["splitter"]["split"]), predict)


def _by_name(calibrator, scorer, given, for_fit):
    """By the names that the methods take."""
    estimator = calibrator.estimator
    step, final = final_estimator(estimator)
    prefix = f"{step}__" if step else ""
    predict = {name: given[name] for name in _taken_in_predict(final) if name in given}
    # Beside them what the last step of a Pipeline takes by name; the rest goes to ``fit`` as it is.
    own = [name for name in for_fit if step and has_fit_parameter(final, name)]
    per_row = {"sensitive_features", "sample_weight", "control_features", *predict, *own}
    fit = _without(for_fit, per_row)
    for name in per_row:
        if name in for_fit and _takes_in_fit(final, name):
            fit[prefix + name] = for_fit[name]
    if step and "sensitive_features" in for_fit:
        # Steps before the last that learn from the attributes; weights go to the last one only.
        for name, transformer in estimator.steps[:-1]:
            if has_fit_parameter(transformer, "sensitive_features"):
                fit[f"{name}__sensitive_features"] = for_fit["sensitive_features"]
    split = {}
    if "groups" in fit:
        if not number_of_folds(calibrator.cv):
            split["groups"] = fit.pop("groups")
        elif not has_fit_parameter(final, "groups") and not hasattr(final, "estimator"):
            # The estimator would be in the dark about what it is to do with them.
            raise TypeError(
                f"groups is for a splitter, such as cv=GroupKFold(5); cv={calibrator.cv!r} makes folds that mix the "
                "groups of sensitive_features and keep no others together"
            )
    if calibrator.scoring is None:
        accepted = inspect.signature(estimator.score).parameters
        score = {name: given[name] for name in ("sample_weight",) if name in given and name in accepted}
    else:
        names = get_routing_for_object(scorer).consumes("score", given.keys())
        score = _without({name: given[name] for name in names}, predict)
    if "sample_weight" in given and "sample_weight" not in score:
        warn_user(
            f"the score is not weighted by sample_weight, the divergence is: without metadata routing {scorer!r} "
            "does not get it; take a scorer of fairdcov.metrics (such as make_weighted_scorer) or turn routing on",
            UserWarning,
        )
    return RoutedMetadata(fit, score, split, predict)


def _takes_in_fit(estimator, name):
    """Whether ``fit`` takes a metadata, by itself or (as searches do) for the estimator within."""
    if has_fit_parameter(estimator, name):
        return True
    inner = getattr(estimator, "estimator", getattr(estimator, "regressor", None))
    if inner is None:
        return False
    kinds = [parameter.kind for parameter in inspect.signature(estimator.fit).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds and _takes_in_fit(inner, name)


def _taken_in_predict(estimator):
    """Names of the metadata that ``predict`` takes beside ``X``."""
    if not callable(getattr(estimator, "predict", None)):
        return []
    parameters = list(inspect.signature(estimator.predict).parameters.values())[1:]
    return [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]


def _without(params, others):
    """Metadata without some, such as those of a scorer that predictions have already been made with."""
    return {name: value for name, value in params.items() if name not in others}
