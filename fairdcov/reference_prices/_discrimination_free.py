"""The discrimination-free price, whatever regressor gives the best estimates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fairdcov._checks import (
    Estimator,
    FloatArray,
    Table,
    balance_correction,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_sample_weight,
    check_whole_number,
    metadata_for_fit,
)
from fairdcov.encoding import (
    Attributes,
    MissingSensitiveFeaturesError,
    check_sensitive_features,
    warn_about_order,
    warn_of_attributes,
)
from fairdcov.reference_prices._features import ProtectedColumns, validate_features, with_columns

__all__ = ["DiscriminationFreeRegressor"]


class DiscriminationFreeRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Discrimination-free price: best estimates given features and attributes, averaged over the attributes.

    A regressor learns ``mu(x, s)`` with the protected attributes S among its features, so that no feature has to stand
    in for them. The price of a policy is ``sum_s mu(x, s) P(s)`` with the shares P of the whole book, which do not
    depend on x: what x says about S has no part in it. Groups may still differ in price where they differ in x: this is
    no parity of groups, as a penalty on dependence is no absence of proxies. How far a price is from those of this kind
    says :func:`fairdcov.metrics.proxy_discrimination`.

    Parameters
    ----------
    estimator : estimator
        Regressor, or a Pipeline that ends in one, for ``mu(x, s)``.
    balance : {"multiplicative", "additive"} or None, default="multiplicative"
        Averaging over S loses the balance of the best estimates where S depends on x. A factor, or an amount, brings
        the total on the training rows back to the observed one; None leaves the average as it is.
    max_profiles : int, default=100
        The average is over the distinct rows of S, intersections of several attributes, with their shares. Where there
        are more, as of a continuous attribute, it is over so many of the training rows in equal parts: a systematic
        sample in the order of the attributes, categories first, at equal steps of weight. A prediction costs one of the
        estimator for each profile.

    Attributes
    ----------
    estimator_ : estimator
        Fitted clone for ``mu(x, s)``: X with the columns ``protected_features_`` behind.
    protected_features_ : list of str
        Names of these columns: an indicator for each level of an attribute but the first, and numbers as they are.
    reference_profiles_ : DataFrame, (K, d)
        Rows of the attributes that the average is over.
    reference_shares_ : (K,) array
        Their shares P, of sum 1.
    factor_, shift_ : float
        What the average is multiplied by, and what is added to it.
    n_features_in_ : int
        Number of features, without the protected ones.
    feature_names_in_ : (p,) array of str
        Names of the features, where X has them.

    See Also
    --------
    fairdcov.metrics.proxy_discrimination : Distance of a price from the nearest one without proxy discrimination.
    fairdcov.actuarial.Rebalancer : Balance of any regressor.

    Notes
    -----
    The attributes are needed in ``fit`` only. Linear models take them as main effects: for others, put interactions
    into a Pipeline, or take trees.

    Under metadata routing it consumes ``sensitive_features`` and ``sample_weight`` and hands all metadata on to the
    estimator as it asks for it. Without routing the weights go to the last step of a Pipeline, or to the estimator, if
    it takes them, and the attributes, which it has as features, are not handed on.

    References
    ----------
    M. Lindholm, R. Richman, A. Tsanakas, M. V. Wüthrich (2022), Discrimination-free insurance pricing, ASTIN Bulletin
    52(1).

    Examples
    --------
    >>> from fairdcov import DCovPoissonRegressor, DiscriminationFreeRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> S = book.sensitive_features[["gender", "region"]]
    >>> model = DiscriminationFreeRegressor(DCovPoissonRegressor(strength=0, alpha=1e-4))
    >>> model = model.fit(X, book.target, sample_weight=book.exposure, sensitive_features=S)
    >>> model.predict(X).shape, round(float(model.reference_shares_.sum()), 12)
    ((2000,), 1.0)
    """

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012
    __metadata_request__score = {"sample_weight": True}  # noqa: RUF012

    def __init__(
        self,
        estimator: Estimator,
        *,
        balance: Literal["multiplicative", "additive"] | None = "multiplicative",
        max_profiles: int = 100,
    ) -> None:
        self.estimator = estimator
        self.balance = balance
        self.max_profiles = max_profiles

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        **fit_params: Any,
    ) -> Self:
        """Fit the best estimates, and take the shares of the attributes.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features, without the protected attributes.
        y : (n,) array
            Target per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure: of the shares and the balance, and of the fit where the estimator takes weights.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
            Protected attributes of any type; never needed in ``predict``.
        **fit_params
            Further metadata for the estimator.

        Returns
        -------
        self

        Raises
        ------
        MissingSensitiveFeaturesError
            Without protected attributes.
        TypeError
            For a classifier.
        ValueError
            For features with the name of a protected column, for ``balance="multiplicative"`` when a price is negative
            or a total is not positive, and for whatever the estimator refuses.

        Warns
        -----
        SensitiveFeaturesWarning
            For attributes that are the same in all rows.
        """
        if self.balance is not None:
            check_choice(self.balance, "balance", ("multiplicative", "additive"))
        check_whole_number(self.max_profiles, "max_profiles")
        if is_classifier(self.estimator):
            raise TypeError(
                f"DiscriminationFreeRegressor needs a regressor; found the classifier {type(self.estimator).__name__}"
            )
        if y is None:
            # scikit-learn's wording, which its estimator checks expect
            raise ValueError("DiscriminationFreeRegressor requires y to be passed, but the target y is None")
        if sensitive_features is None:
            raise MissingSensitiveFeaturesError(
                "DiscriminationFreeRegressor needs sensitive_features: pass fit(..., sensitive_features=S)"
            )
        warn_about_order(X=X, y=y, sample_weight=sample_weight, sensitive_features=sensitive_features)
        # What validation finds out about X is kept with a clone until everything else has worked.
        checked = clone(self)
        X = validate_features(checked, X, reset=True)
        n_samples = X.shape[0]
        y = column_or_1d(y, warn=True)
        observed = check_finite_vector(y, "y")
        check_consistent_rows(n_samples, observed, "y")
        check_sensitive_features(sensitive_features, n_samples)
        weights = check_sample_weight(sample_weight, n_samples)
        columns = ProtectedColumns(Attributes.read(sensitive_features), weights > 0)
        profiles, shares, rows = columns.profiles(weights, self.max_profiles)
        if len(rows) < 2:
            warn_of_attributes(
                "the protected attributes are the same in all rows: the price is the best estimate, and what the "
                "features say about attributes that differ elsewhere cannot be told"
            )
        taken = sorted(set(columns.names) & set(getattr(checked, "feature_names_in_", ())))
        if taken:
            raise ValueError(
                f"X has {taken}, which are names of protected columns: leave the protected attributes out of X, or "
                "rename them in sensitive_features"
            )
        params = metadata_for_fit(self, sample_weight, self._handed_on(sensitive_features, fit_params))
        fitted = clone(self.estimator).fit(with_columns(X, columns.names, columns.table), y, **params)
        factor, shift = 1.0, 0.0
        if self.balance is not None:
            average = _best_estimates(fitted, X, columns.names, profiles) @ shares
            factor, shift = balance_correction(self.balance, observed, average, weights, argument="balance")

        self.estimator_ = fitted
        self.protected_features_ = columns.names
        self.reference_profiles_ = columns.described(rows)
        self.reference_shares_ = shares
        self.factor_, self.shift_ = factor, shift
        self._profiles = profiles
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(checked, name):
                setattr(self, name, getattr(checked, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    def _handed_on(self, sensitive_features, fit_params):
        """Metadata that the estimator may ask for: the attributes only where it can say that it wants them."""
        if sklearn.get_config()["enable_metadata_routing"]:
            return {"sensitive_features": sensitive_features, **fit_params}
        return fit_params

    def best_estimates(self, X: Table) -> FloatArray:
        """Best estimates for each profile of the attributes, in balance as the price is.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n, K) array
            ``mu(x, s)`` times ``factor_`` plus ``shift_``, one column for each row of ``reference_profiles_``: the
            price is these times ``reference_shares_``. For :func:`fairdcov.metrics.proxy_discrimination`.
        """
        check_is_fitted(self, "estimator_")
        X = validate_features(self, X, reset=False)
        return (
            self.factor_ * _best_estimates(self.estimator_, X, self.protected_features_, self._profiles) + self.shift_
        )

    def predict(self, X: Table) -> FloatArray:
        """Discrimination-free price; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n,) array
        """
        return self.best_estimates(X) @ self.reference_shares_

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that is consumed and handed on.

        Returns
        -------
        MetadataRouter
        """
        methods = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add_self_request(self).add(estimator=self.estimator, method_mapping=methods)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.target_tags = replace(inner.target_tags, multi_output=False, single_output=True)
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags


def _best_estimates(model, X, names, profiles):
    """Predictions for all rows with each profile, (n, K)."""
    estimates = np.empty((X.shape[0], len(profiles)))
    for k, profile in enumerate(profiles):
        estimates[:, k] = check_finite_vector(
            model.predict(with_columns(X, names, profile)), "the prediction of the estimator"
        )
    return estimates
