"""Scorers that say for themselves which metadata they need, so that searches route it without further settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.metadata_routing import MetadataRequest

from fairdcov._checks import MetricFunction, check_choice
from fairdcov.encoding import MissingSensitiveFeaturesError, given_to
from fairdcov.metrics._dependence import ccdcov, dcov, jdcov
from fairdcov.metrics._divergence import js_divergence
from fairdcov.metrics._parity import demographic_parity_gap, ks_disparity, unfairness_ratio, wasserstein_disparity
from fairdcov.metrics._scores import binary_log_loss, gini, mean_deviance, root_mean_squared_error, rps
from fairdcov.metrics._tiers import tier_parity_gap, tier_parity_ratio

__all__ = [
    "FairnessScorer",
    "WeightedScorer",
    "gini_scorer",
    "make_fairness_scorer",
    "make_weighted_scorer",
    "neg_brier_scorer",
    "neg_ccdcov_scorer",
    "neg_dcov_scorer",
    "neg_demographic_parity_gap_scorer",
    "neg_gamma_deviance_scorer",
    "neg_jdcov_scorer",
    "neg_js_divergence_scorer",
    "neg_ks_disparity_scorer",
    "neg_log_loss_scorer",
    "neg_net_js_divergence_scorer",
    "neg_poisson_deviance_scorer",
    "neg_root_mean_squared_error_scorer",
    "neg_rps_scorer",
    "neg_tier_parity_gap_scorer",
    "neg_unfairness_ratio_scorer",
    "neg_wasserstein_disparity_scorer",
    "tier_parity_ratio_scorer",
]

RESPONSE_METHODS = ("auto", "predict", "predict_proba", "decision_function")


def _accepts(function, argument):
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return True
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _is_classifier(estimator):
    try:
        return is_classifier(estimator)
    except (AttributeError, TypeError):  # not a scikit-learn estimator, but it may have a response method
        return getattr(estimator, "_estimator_type", None) == "classifier"


def predictions_of(estimator, X, response_method="auto", **params):
    """Predictions (n,) of a fitted estimator, with metadata; for a classifier the probability of ``classes_[1]``."""
    if response_method == "auto":
        response_method = "predict_proba" if _is_classifier(estimator) else "predict"
    method = getattr(estimator, response_method, None)
    if method is None:
        raise TypeError(
            f"{type(estimator).__name__} has no {response_method}: choose another response_method for the "
            "scorer, one of " + ", ".join(map(repr, RESPONSE_METHODS))
        )
    predictions = np.asarray(method(X, **params))
    if response_method == "predict_proba":
        if predictions.ndim != 2 or predictions.shape[1] != 2:
            raise ValueError(
                f"predict_proba of {type(estimator).__name__} must have two columns, those of a binary classifier; "
                f"found shape {predictions.shape}"
            )
        predictions = predictions[:, 1]
    return predictions


def _response(estimator, X, y_true, response_method, offset=None):
    """Observed values and predictions: for a binary classifier 0/1 and the probability of ``classes_[1]``."""
    predictions = predictions_of(estimator, X, response_method, **({} if offset is None else {"offset": offset}))
    if response_method == "auto":
        response_method = "predict_proba" if _is_classifier(estimator) else "predict"
    if response_method != "predict" and y_true is not None and hasattr(estimator, "classes_"):
        y_true = np.asarray(y_true)
        classes = np.asarray(estimator.classes_).tolist()
        unknown = set(y_true.tolist()).difference(classes)
        if unknown:
            raise ValueError(
                f"y has value(s) that the classifier was not fitted on, such as {next(iter(unknown))!r}; its classes "
                f"are {classes}"
            )
        y_true = (y_true == estimator.classes_[1]).astype(np.float64)
    return y_true, predictions


class _MetricScorer:
    """What the two kinds of scorers share. They are never changed after construction, so a clone is the scorer."""

    _factory = "?"
    _default_greater_is_better = True

    def __init__(
        self,
        metric: MetricFunction,
        greater_is_better: bool,
        response_method: Literal["auto", "predict", "predict_proba", "decision_function"],
        options: Any,
        requests: Mapping[str, bool | str],
    ) -> None:
        if not callable(metric):
            raise TypeError(f"metric must be callable; found {metric!r}")
        if not isinstance(greater_is_better, bool | np.bool_):
            raise TypeError(f"greater_is_better must be True or False; found {greater_is_better!r}")
        self.metric = metric
        self.greater_is_better = bool(greater_is_better)
        self.response_method = check_choice(response_method, "response_method", RESPONSE_METHODS)
        self.options = dict(options)
        self.requests = dict(requests)

    def get_metadata_routing(self) -> MetadataRequest:
        """Metadata that the scorer asks for under scikit-learn's metadata routing.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRequest
        """
        request = MetadataRequest(owner=repr(self))
        for name, alias in self.requests.items():
            request.score.add_request(param=name, alias=alias)
        return request

    def with_requests(self, **requests: bool | str) -> Self:
        """A copy that asks for its metadata under other names, or not at all.

        Parameters
        ----------
        **requests : bool or str
            For ``sample_weight`` (``sensitive_features``, ``offset``, ...): True to take it, False to ignore it,
            or the name under which it is passed to the search, for example ``sample_weight="exposure"``.

        Returns
        -------
        scorer
            Of the same type; the scorer itself stays as it is.
        """
        unknown = sorted(set(requests) - set(self.requests))
        if unknown:
            raise TypeError(f"{self!r} takes the metadata {sorted(self.requests)}; found {unknown}")
        changed = {**self.requests, **requests}
        # An alias that scikit-learn does not take raises now and not in the middle of a search.
        check = MetadataRequest(owner=repr(self))
        for name, alias in changed.items():
            check.score.add_request(param=name, alias=alias)
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, requests=changed)
        return copy

    def __sklearn_clone__(self):
        return self

    def __repr__(self):
        parts = [getattr(self.metric, "__name__", repr(self.metric))]
        if self.greater_is_better != self._default_greater_is_better:
            parts.append(f"greater_is_better={self.greater_is_better}")
        if self.response_method != "auto":
            parts.append(f"response_method={self.response_method!r}")
        parts += self._repr_extra()
        parts += [f"{name}={value!r}" for name, value in self.options.items()]
        changed = [f"{name}={alias!r}" for name, alias in self.requests.items() if alias is not True]
        return f"{self._factory}({', '.join(parts)})" + (f".with_requests({', '.join(changed)})" if changed else "")

    def _repr_extra(self):
        return []

    def _accept_sample_weight(self):
        # scikit-learn's searches ask scorers by this name when routing is off.
        return "sample_weight" in self.requests

    def _sign(self, value):
        return float(value) if self.greater_is_better else -float(value)


class FairnessScorer(_MetricScorer):
    """Scorer ``(estimator, X, y, *, sensitive_features, sample_weight=None)``; see :func:`make_fairness_scorer`.

    Attributes
    ----------
    metric : callable
        The metric.
    greater_is_better : bool
        Whether the metric is returned as it is or with its sign changed.
    response_method : str
        What is asked of the estimator.
    sensitive_columns : list or None
        Columns of X to read the protected attributes from.
    options : dict
        Options of the metric.
    requests : dict
        Metadata requested.
    """

    _factory = "make_fairness_scorer"
    _default_greater_is_better = False

    def __init__(
        self,
        metric: MetricFunction,
        *,
        greater_is_better: bool = False,
        response_method: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
        sensitive_columns: Sequence[str | int] | None = None,
        options: Any = (),
    ) -> None:
        if isinstance(sensitive_columns, str):
            raise TypeError(f"sensitive_columns must be a list of column names; found {sensitive_columns!r}")
        self.sensitive_columns = None if sensitive_columns is None else list(sensitive_columns)
        requests = {"sensitive_features": True, "offset": True}
        if callable(metric) and _accepts(metric, "sample_weight"):
            requests["sample_weight"] = True
        if callable(metric) and _accepts(metric, "control_features"):
            requests["control_features"] = True
        super().__init__(metric, greater_is_better, response_method, dict(options), requests)

    def __call__(
        self,
        estimator,
        X,
        y_true=None,
        *,
        sensitive_features=None,
        sample_weight=None,
        control_features=None,
        offset=None,
    ):
        """Score a fitted estimator on (X, y).

        Parameters
        ----------
        estimator : fitted estimator
            Asked for its predictions; no metadata but ``offset`` are passed on to it.
        X : (n, p) array or DataFrame
            Features.
        y_true : (n,) array, optional
            Observed values.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes of the rows.
        sample_weight : (n,) array, optional
            Row weights such as exposure.
        control_features : DataFrame, Series or array, (n,) or (n, d), optional
            Legitimate factors of the rows, for metrics that take them.
        offset : (n,) array, optional
            Offset of the rows, for estimators that predict with one.

        Returns
        -------
        float
            Larger is better.

        Raises
        ------
        MissingSensitiveFeaturesError
            Without protected attributes.
        """
        if sensitive_features is None:
            if self.sensitive_columns is None:
                raise MissingSensitiveFeaturesError(self._missing_message())
            sensitive_features = self._columns_of(X)
        sensitive_features = given_to(self.metric, sensitive_features)
        y_true, predictions = _response(estimator, X, y_true, self.response_method, offset)
        given = {"sample_weight": sample_weight, "control_features": control_features}
        given = {name: value for name, value in given.items() if value is not None}
        return self._sign(
            self.metric(y_true, predictions, sensitive_features=sensitive_features, **given, **self.options)
        )

    def _missing_message(self):
        name = self.requests["sensitive_features"]
        name = name if isinstance(name, str) else "sensitive_features"
        return (
            f"{self!r} needs sensitive_features and did not get them. In a search or cross-validation call "
            f"sklearn.set_config(enable_metadata_routing=True) first and pass search.fit(X, y, {name}=S) or "
            f"cross_validate(..., params={{{name!r}: S}}); without routing, let the scorer read them from "
            "columns of X by make_fairness_scorer(..., sensitive_columns=[...]); in a direct call pass "
            "scorer(estimator, X, y, sensitive_features=S)"
        )

    def _columns_of(self, X):
        frame = nw.from_native(X, eager_only=True, pass_through=True)
        if not isinstance(frame, nw.DataFrame):
            raise TypeError(
                f"sensitive_columns={self.sensitive_columns} needs X to be a DataFrame; found {type(X).__name__}"
            )
        missing = [column for column in self.sensitive_columns if column not in frame.columns]
        if missing:
            raise ValueError(
                f"sensitive_columns names {missing}, which X does not have; its columns are {frame.columns}"
            )
        return frame.select(*map(nw.col, self.sensitive_columns)).to_native()

    def _repr_extra(self):
        return [] if self.sensitive_columns is None else [f"sensitive_columns={self.sensitive_columns!r}"]


class WeightedScorer(_MetricScorer):
    """Scorer ``(estimator, X, y, *, sample_weight=None)``; see :func:`make_weighted_scorer`.

    Attributes
    ----------
    metric : callable
        The metric.
    greater_is_better : bool
        Whether the metric is returned as it is or with its sign changed.
    response_method : str
        What is asked of the estimator.
    weight_argument : str
        Argument of the metric that takes the weights.
    options : dict
        Options of the metric.
    requests : dict
        Metadata requested.
    """

    _factory = "make_weighted_scorer"

    def __init__(
        self,
        metric: MetricFunction,
        *,
        greater_is_better: bool = True,
        response_method: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
        weight_argument: str = "sample_weight",
        options: Any = (),
    ) -> None:
        if callable(metric) and not _accepts(metric, weight_argument):
            raise TypeError(
                f"{getattr(metric, '__name__', metric)!r} has no argument {weight_argument!r} to take the weights"
            )
        self.weight_argument = weight_argument
        super().__init__(
            metric, greater_is_better, response_method, dict(options), {"sample_weight": True, "offset": True}
        )

    def __call__(self, estimator, X, y_true, *, sample_weight=None, offset=None):
        """Score a fitted estimator on (X, y).

        Parameters
        ----------
        estimator : fitted estimator
            Asked for its predictions; no metadata but ``offset`` are passed on to it.
        X : (n, p) array or DataFrame
            Features.
        y_true : (n,) array
            Observed values.
        sample_weight : (n,) array, optional
            Row weights such as exposure.
        offset : (n,) array, optional
            Offset of the rows, for estimators that predict with one.

        Returns
        -------
        float
            Larger is better.
        """
        y_true, predictions = _response(estimator, X, y_true, self.response_method, offset)
        weights = {} if sample_weight is None else {self.weight_argument: sample_weight}
        return self._sign(self.metric(y_true, predictions, **weights, **self.options))

    def _repr_extra(self):
        return [] if self.weight_argument == "sample_weight" else [f"weight_argument={self.weight_argument!r}"]


def make_fairness_scorer(
    metric: MetricFunction,
    *,
    greater_is_better: bool = False,
    response_method: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
    sensitive_columns: Sequence[str | int] | None = None,
    **kwargs: Any,
) -> FairnessScorer:
    """Scorer of a fairness metric that asks for ``sensitive_features`` by itself.

    With ``sklearn.set_config(enable_metadata_routing=True)`` it gets the protected attributes of the fold (and
    ``sample_weight`` and ``control_features`` if they are passed and the metric takes them) from
    ``cross_validate(..., params={"sensitive_features": S})`` and ``search.fit(X, y, sensitive_features=S)``, alone or
    among other scorers, without a ``set_score_request``.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, *, sensitive_features, sample_weight=None, control_features=None, **kwargs)``, such as
        :func:`js_divergence`; both keywords of default None may be missing.
    greater_is_better : bool, default=False
        Fairness metrics are mostly disparities: their sign is changed, so that the scorer grows with fairness.
    response_method : {"auto", "predict", "predict_proba", "decision_function"}, default="auto"
        ``"auto"`` takes the probability of the second class from classifiers, the prediction from regressors.
    sensitive_columns : list of str, optional
        Read the attributes from these columns of a DataFrame X when they are not passed, for searches without routing.
    **kwargs
        Options of the metric, for example ``bins={"age": [18, 30, 60, 100]}``.

    Returns
    -------
    FairnessScorer

    Notes
    -----
    A scorer that fails inside a search does not stop it unless ``error_score="raise"``: scikit-learn turns the error
    into a warning and a score of NaN.

    Examples
    --------
    >>> from fairdcov.metrics import js_divergence, make_fairness_scorer
    >>> make_fairness_scorer(js_divergence, bandwidth=0.15, n_points=1000)
    make_fairness_scorer(js_divergence, bandwidth=0.15, n_points=1000)
    """
    return FairnessScorer(
        metric,
        greater_is_better=greater_is_better,
        response_method=response_method,
        sensitive_columns=sensitive_columns,
        options=kwargs,
    )


def make_weighted_scorer(
    metric: MetricFunction,
    *,
    greater_is_better: bool = True,
    response_method: Literal["auto", "predict", "predict_proba", "decision_function"] = "auto",
    weight_argument: str = "sample_weight",
    **kwargs: Any,
) -> WeightedScorer:
    """Scorer of a metric that asks for ``sample_weight`` by itself and does without where none is passed.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, *, sample_weight=None, **kwargs)``.
    greater_is_better : bool, default=True
        With False the sign is changed.
    response_method : {"auto", "predict", "predict_proba", "decision_function"}, default="auto"
        ``"auto"`` takes the probability of the second class from classifiers, the prediction from regressors.
    weight_argument : str, default="sample_weight"
        Argument of the metric that takes the weights; ``"exposure"`` for :func:`rps` of claim frequencies.
    **kwargs
        Options of the metric.

    Returns
    -------
    WeightedScorer

    Examples
    --------
    >>> from fairdcov.metrics import make_weighted_scorer, mean_deviance
    >>> make_weighted_scorer(mean_deviance, greater_is_better=False, power=1.5)
    make_weighted_scorer(mean_deviance, greater_is_better=False, power=1.5)
    """
    return WeightedScorer(
        metric,
        greater_is_better=greater_is_better,
        response_method=response_method,
        weight_argument=weight_argument,
        options=kwargs,
    )


neg_js_divergence_scorer = make_fairness_scorer(js_divergence)
neg_net_js_divergence_scorer = make_fairness_scorer(js_divergence, net=True)
neg_unfairness_ratio_scorer = make_fairness_scorer(unfairness_ratio)
neg_ks_disparity_scorer = make_fairness_scorer(ks_disparity)
neg_wasserstein_disparity_scorer = make_fairness_scorer(wasserstein_disparity)
neg_demographic_parity_gap_scorer = make_fairness_scorer(demographic_parity_gap)
neg_tier_parity_gap_scorer = make_fairness_scorer(tier_parity_gap)
tier_parity_ratio_scorer = make_fairness_scorer(tier_parity_ratio, greater_is_better=True)
neg_dcov_scorer = make_fairness_scorer(dcov)
neg_jdcov_scorer = make_fairness_scorer(jdcov)
neg_ccdcov_scorer = make_fairness_scorer(ccdcov)

neg_poisson_deviance_scorer = make_weighted_scorer(mean_deviance, greater_is_better=False, power=1)
neg_gamma_deviance_scorer = make_weighted_scorer(mean_deviance, greater_is_better=False, power=2)
neg_root_mean_squared_error_scorer = make_weighted_scorer(root_mean_squared_error, greater_is_better=False)
neg_log_loss_scorer = make_weighted_scorer(binary_log_loss, greater_is_better=False)
neg_brier_scorer = make_weighted_scorer(rps, greater_is_better=False, family="binary")
neg_rps_scorer = make_weighted_scorer(rps, greater_is_better=False, weight_argument="exposure")
gini_scorer = make_weighted_scorer(gini)
