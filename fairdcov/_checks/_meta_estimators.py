"""What meta-estimators share: metadata for the estimator within, and the balance of its predictions."""

import inspect

import sklearn
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import has_fit_parameter

__all__ = ["balance_correction", "last_step", "metadata_for_fit"]


def last_step(estimator):
    """The estimator at the end of a Pipeline, or of one within it; any other estimator itself."""
    while isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return estimator


def _takes_weights(estimator):
    """Whether ``fit`` has weights, or hands on whatever it is given, as a search does."""
    parameters = inspect.signature(estimator.fit).parameters.values()
    return has_fit_parameter(estimator, "sample_weight") or any(p.kind is p.VAR_KEYWORD for p in parameters)


def metadata_for_fit(owner, sample_weight, fit_params, name="estimator"):
    """Metadata for the ``fit`` of the estimator that a meta-estimator has by that name, routed or by what it takes."""
    given = {name: value for name, value in fit_params.items() if value is not None}
    if sklearn.get_config()["enable_metadata_routing"]:
        if sample_weight is not None:
            given["sample_weight"] = sample_weight
        return dict(process_routing(owner, "fit", **given)[name].fit) if given else {}
    prefix, final = "", getattr(owner, name)
    while isinstance(final, Pipeline):
        step, final = final.steps[-1]
        prefix += f"{step}__"
    if sample_weight is not None and _takes_weights(final):
        given["sample_weight"] = sample_weight
    return {
        prefix + name if name in ("sample_weight", "sensitive_features", "offset") else name: value
        for name, value in given.items()
    }


def balance_correction(method, observed, predicted, weights, argument="method"):
    """Factor and shift with which the predicted total is the observed one; ``argument`` names the method in errors."""
    observed_total, predicted_total = float(weights @ observed), float(weights @ predicted)
    if method == "additive":
        return 1.0, (observed_total - predicted_total) / float(weights.sum())
    negative = predicted[weights > 0] < 0
    if negative.any():
        raise ValueError(
            f"{argument}='multiplicative' needs predictions that are not negative; {int(negative.sum())} are: use "
            f"{argument}='additive' or a model with a log link"
        )
    for name, total in (("observed", observed_total), ("predicted", predicted_total)):
        if not total > 0:
            raise ValueError(
                f"{argument}='multiplicative' needs a positive {name} total on the training rows; found {total:g}"
            )
    return observed_total / predicted_total, 0.0
