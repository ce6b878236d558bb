"""Restore the balance of a model: the total predicted is the total observed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fairdcov._checks import (
    Estimator,
    FloatArray,
    Table,
    balance_correction,
    check_choice,
    check_finite_vector,
    check_sample_weight,
    metadata_for_fit,
)
from fairdcov.encoding import warn_about_order

__all__ = ["Rebalancer"]


class Rebalancer(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Regressor whose predictions, weighted by exposure, add up to the observed total on the training rows.

    A Poisson GLM with a log link and an intercept has this balance property; ridge and smoothing keep it, but boosted
    trees, gamma models, early stopping and penalties that are not scale-free lose it. One factor (or one amount) for
    all rows gives it back and leaves the order of the predictions alone.

    Parameters
    ----------
    estimator : estimator
        Regressor, or a Pipeline that ends in one. A fitted one within ``sklearn.frozen.FrozenEstimator`` is not fitted
        again: ``fit`` then only finds the factor, also on other rows than those of the fit.
    method : {"multiplicative", "additive"}, default="multiplicative"
        Multiply all predictions by a factor, which keeps relativities (log link, positive predictions), or add an
        amount, which keeps differences (identity link).

    Attributes
    ----------
    estimator_ : estimator
        Fitted clone.
    factor_ : float
        What predictions are multiplied by; 1 for ``method="additive"``.
    shift_ : float
        What is added to them; 0 for ``method="multiplicative"``.
    n_features_in_ : int
        Number of features, where the estimator says it.
    feature_names_in_ : (p,) array of str
        Names of the features, where the estimator says them.

    See Also
    --------
    balance_table : Observed and predicted totals, overall and by group.

    Notes
    -----
    ``factor_ = sum(exposure * y) / sum(exposure * predicted)`` over the training rows.

    There is no balance by protected group, on purpose. A factor for each group would make the prediction a function of
    the group: what the penalty took out of the model would be put back by hand, and protected attributes would be
    needed to predict. Where predictions are independent of the attributes and the groups' claims differ, their totals
    cannot all be in balance; :func:`balance_table` shows by how much each is not.

    Under metadata routing it consumes ``sample_weight`` and hands all metadata on to the estimator as it asks for it.
    Without routing ``sample_weight`` and ``sensitive_features`` are passed to the last step of a Pipeline, and
    weights to every estimator that takes them or hands on what it is given, such as a search.

    References
    ----------
    M. V. Wüthrich (2020), Bias regularization in neural network models for general insurance pricing, European
    Actuarial Journal 10.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from fairdcov.actuarial import Rebalancer
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> trees = HistGradientBoostingRegressor(loss="poisson", max_iter=20)
    >>> model = Rebalancer(trees).fit(X, book.target, sample_weight=book.exposure)
    >>> round(float((model.predict(X) * book.exposure).sum() / book.claims.sum()), 6)
    1.0
    """

    __metadata_request__fit = {"sample_weight": True}  # noqa: RUF012  (scikit-learn's convention)

    def __init__(
        self, estimator: Estimator, *, method: Literal["multiplicative", "additive"] = "multiplicative"
    ) -> None:
        self.estimator = estimator
        self.method = method

    def fit(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, **fit_params: Any) -> Self:
        """Fit the estimator, and find the factor on the same rows.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure: of the balance, and of the fit where the estimator takes weights.
        **fit_params
            Further metadata for the estimator, such as ``sensitive_features``. An ``offset`` is needed in
            :meth:`predict` as well.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For a classifier.
        ValueError
            For ``method="multiplicative"`` when a prediction is negative or a total is not positive, and for whatever
            the estimator refuses.
        """
        check_choice(self.method, "method", ("multiplicative", "additive"))
        if is_classifier(self.estimator):
            raise TypeError(
                f"Rebalancer needs a regressor; found the classifier {type(self.estimator).__name__}, whose "
                "probabilities a factor could carry beyond 1"
            )
        if y is None:
            # scikit-learn's wording, which its estimator checks expect
            raise ValueError("Rebalancer requires y to be passed, but the target y is None")
        warn_about_order(X=X, y=y, sample_weight=sample_weight)
        y = column_or_1d(y, warn=True)
        fitted = clone(self.estimator).fit(X, y, **metadata_for_fit(self, sample_weight, fit_params))
        observed = check_finite_vector(y, "y")
        # An offset is part of predictions.
        offset = {name: value for name, value in fit_params.items() if name == "offset"}
        predicted = check_finite_vector(fitted.predict(X, **offset), "the prediction of the estimator")
        weights = check_sample_weight(sample_weight, len(observed))
        factor, shift = balance_correction(self.method, observed, predicted, weights)

        self.estimator_ = fitted
        self.factor_, self.shift_ = factor, shift
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def predict(self, X: Table, **params: Any) -> FloatArray:
        """Prediction of the estimator, in balance.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the estimator predicts with, such as ``offset``.

        Returns
        -------
        (n,) array
        """
        check_is_fitted(self, "estimator_")
        if params and sklearn.get_config()["enable_metadata_routing"]:
            params = process_routing(self, "predict", **params).estimator.predict
        return self.factor_ * np.asarray(self.estimator_.predict(X, **params)) + self.shift_

    def score(self, X: Table, y: ArrayLike, **params: Any) -> float:
        """Score of the balanced predictions, as the estimator scores: such as D^2 of a Poisson model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        **params
            Metadata of the estimator's ``score``, such as ``sample_weight``.

        Returns
        -------
        float

        Notes
        -----
        The estimator scores its own predictions against ``(y - shift_) / factor_``. For R^2 and for D^2 with a Tweedie
        deviance and a factor this is the score of the balanced predictions against y, since these scores do not change
        with the unit. Other scores of the estimator, such as those of a search with a ``scoring`` of its own, are in
        units of the estimator's predictions.
        """
        check_is_fitted(self, "estimator_")
        if sklearn.get_config()["enable_metadata_routing"]:
            params = process_routing(self, "score", **params).estimator.score if params else {}
        return self.estimator_.score(X, (check_finite_vector(y, "y") - self.shift_) / self.factor_, **params)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that the rebalancer consumes and hands on.

        Returns
        -------
        MetadataRouter
        """
        methods = MethodMapping()
        for method in ("fit", "predict", "score"):
            methods.add(caller=method, callee=method)
        return MetadataRouter(owner=self).add_self_request(self).add(estimator=self.estimator, method_mapping=methods)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.regressor_tags = inner.regressor_tags or tags.regressor_tags
        # one factor is for one target
        tags.target_tags = replace(inner.target_tags, multi_output=False, single_output=True)
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags
