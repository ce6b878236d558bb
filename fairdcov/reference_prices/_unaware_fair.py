"""A penalised regressor with the features that a price without the protected attributes can do with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone, is_classifier
from sklearn.metrics import r2_score
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import Bins, Estimator, FloatArray, RandomState, Table, last_step, metadata_for_fit
from fairdcov._fitting import DevianceRegressor, explained_deviance
from fairdcov.encoding import DEFAULT_GROUPS, Attributes, MissingSensitiveFeaturesError, take_rows
from fairdcov.reference_prices._alike_rows import alike_rows
from fairdcov.reference_prices._features import PreparedRows, validate_features
from fairdcov.reference_prices._staged_fair import StagedFairRegressor
from fairdcov.reference_prices._unaware_features import UnawareFeatures

__all__ = ["UnawareFairRegressor"]

# Rows that are predicted together: the appended columns of all rows of a large book are never there at once.
_CHUNK = 100_000


def _has_path(model):
    return hasattr(model.estimator, "strength_path")


class UnawareFairRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Penalised regressor on X and on what :class:`UnawareFeatures` appends to it.

    Fitted as a Pipeline of the two is, with ``sensitive_features`` and ``sample_weight`` given once, and a path over
    strengths that learns the features once. A prediction is the average of the estimator's predictions from the columns
    of each fold's models, where a Pipeline predicts from the average of these columns: hardly a difference for linear
    models; trees, which were fitted to values of single folds, predict better and with less difference between groups.

    Parameters
    ----------
    estimator : estimator
        Penalised regressor, or a Pipeline that ends in one: of X with the appended columns behind.
    regressor, classifier, cv, summary, bins, n_knots, columns, link, random_state
        As in :class:`UnawareFeatures`.

    Attributes
    ----------
    features_ : UnawareFeatures
        Fitted to the rows of the fit.
    estimator_ : estimator
        Fitted to their out-of-fold values.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Their names, where X has them.
    effective_strength_ : float
        Of the estimator, where it has one.

    See Also
    --------
    UnawareFeatures : What is appended, and why.
    FairBarycentreRegressor : The best price from the same two ingredients.

    Notes
    -----
    The protected attributes are needed in ``fit`` only. The appended probabilities of their levels are information that
    is inferred from x, and whether a tariff may use it may need legal review: see :class:`UnawareFeatures`.

    Under metadata routing it consumes ``sensitive_features`` and ``sample_weight`` and hands all metadata on to the
    estimator as it asks for it. Without routing both go to the estimator, or the last step of a Pipeline.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from fairdcov import DCovPoissonRegressor, UnawareFairRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> S = book.sensitive_features[["gender"]]
    >>> glm = DCovPoissonRegressor(strength=1.0, alpha=1e-4)
    >>> model = UnawareFairRegressor(glm, classifier=HistGradientBoostingClassifier(max_iter=10), n_knots=3)
    >>> model = model.fit(X, book.target, sample_weight=book.exposure, sensitive_features=S)
    >>> model.predict(X).shape
    (2000,)
    """

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012
    __metadata_request__score = {"sample_weight": True}  # noqa: RUF012

    def __init__(
        self,
        estimator: Estimator,
        regressor: Estimator = None,
        classifier: Estimator = None,
        *,
        cv: Any = 5,
        summary: str = "marginals",
        bins: Bins = DEFAULT_GROUPS,
        n_knots: int = 5,
        columns: str = "all",
        link: str = "auto",
        random_state: RandomState = 0,
    ) -> None:
        self.estimator = estimator
        self.regressor = regressor
        self.classifier = classifier
        self.cv = cv
        self.summary = summary
        self.bins = bins
        self.n_knots = n_knots
        self.columns = columns
        self.link = link
        self.random_state = random_state

    def _features(self):
        own = self.get_params(deep=False)
        return UnawareFeatures(**{name: value for name, value in own.items() if name != "estimator"})

    def _check_given(self, sensitive_features):
        if is_classifier(self.estimator):
            raise TypeError(
                f"UnawareFairRegressor needs a regressor; found the classifier {type(self.estimator).__name__}: put "
                "UnawareFeatures(link='logit') before it in a Pipeline"
            )
        if sensitive_features is None:
            raise MissingSensitiveFeaturesError(
                "UnawareFairRegressor needs sensitive_features: pass fit(..., sensitive_features=S)"
            )

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        **fit_params: Any,
    ) -> Self:
        """Learn the features, and fit the estimator to their out-of-fold values.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features, without the protected attributes.
        y : (n,) array
            Target, such as claims per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure, of all models that take weights.
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
        TypeError, ValueError
            As in :meth:`UnawareFeatures.fit`, and whatever the estimator refuses.
        """
        features, table, params = self._prepare_fit(X, y, sample_weight, sensitive_features, fit_params)
        self._keep(features, clone(self.estimator).fit(table, y, **params))
        return self

    @available_if(_has_path)
    def strength_path(self, X, y, strengths, sample_weight=None, *, sensitive_features=None, **fit_params):
        """Fit a model for each strength of the estimator; the features are learned once.

        Parameters
        ----------
        X, y, sample_weight, sensitive_features, **fit_params
            As in :meth:`fit`.
        strengths : sequence of float
            Strengths in the order in which to fit them, as the estimator takes them.

        Returns
        -------
        iterator of estimators
            Fitted clones of this estimator that differ in ``estimator__strength``, made as they are asked for.
        """
        features, table, params = self._prepare_fit(X, y, sample_weight, sensitive_features, fit_params)
        return self._follow(features, clone(self.estimator).strength_path(table, y, strengths, **params))

    def _follow(self, features, path):
        for fitted in path:
            model = clone(self).set_params(estimator=clone(fitted))
            model._keep(features, fitted)
            yield model

    def _prepare_fit(self, X, y, sample_weight, sensitive_features, fit_params):
        self._check_given(sensitive_features)
        attributes = Attributes.read(sensitive_features)
        features = self._features()
        table = features.fit_transform(X, y, sample_weight, sensitive_features=attributes)
        given = {"sensitive_features": sensitive_features, **fit_params}
        return features, table, metadata_for_fit(self, sample_weight, given)

    def _keep(self, features, fitted):
        self.features_, self.estimator_ = features, fitted
        self.n_features_in_ = features.n_features_in_
        if hasattr(features, "feature_names_in_"):
            self.feature_names_in_ = features.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    @property
    def effective_strength_(self) -> Any:
        """Strength that the fitted estimator goes by."""
        return last_step(self.estimator_).effective_strength_

    def prepare(self, X: Any) -> Any:
        """Rows to predict with the appended columns, which the models of a path share, to be passed as X.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        object
            Of n rows, for ``predict`` of any model of the same ``strength_path``.
        """
        check_is_fitted(self, "estimator_")
        tables = list(self.features_.tables_of_folds(X))
        return PreparedRows(tables, tables[0].shape[0])

    def predict(self, X: Table) -> FloatArray:
        """Predict; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n,) array
        """
        check_is_fitted(self, "estimator_")
        if isinstance(X, PreparedRows):
            return self._average(X.content)
        X = validate_features(self, X, reset=False)
        n_samples = X.shape[0]
        if n_samples <= _CHUNK:
            return self._average(self.features_.tables_of_folds(X))
        # Sorted once for all parts, whose rows are the more alike.
        X, back = alike_rows(X)
        parts = np.array_split(np.arange(n_samples), -(-n_samples // _CHUNK))
        found = [self._average(self.features_.tables_of_folds(take_rows(X, rows))) for rows in parts]
        return np.concatenate(found)[back]

    def _average(self, tables):
        """Mean of the estimator's predictions from the columns of each fold's models."""
        return np.mean([self.estimator_.predict(table) for table in tables], axis=0)

    def score(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """R^2 of the predictions, or for an estimator of this package the share of its deviance that they explain.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        sample_weight : (n,) array, optional
            Row weights, such as exposure.

        Returns
        -------
        float
        """
        prediction = self.predict(X)
        final = last_step(self.estimator_)
        if not isinstance(final, DevianceRegressor | StagedFairRegressor):
            return r2_score(y, prediction, sample_weight=sample_weight)
        return explained_deviance(final._loss(), prediction, y, sample_weight)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that is consumed and handed on.

        Returns
        -------
        MetadataRouter
        """
        methods = MethodMapping().add(caller="fit", callee="fit")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=methods)
            .add(features=self._features(), method_mapping=MethodMapping().add(caller="fit", callee="fit_transform"))
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner, features = get_tags(self.estimator), get_tags(self._features())
        tags.target_tags = replace(inner.target_tags, multi_output=False, single_output=True)
        tags.input_tags = replace(features.input_tags, sparse=features.input_tags.sparse and inner.input_tags.sparse)
        tags.input_tags.allow_nan = features.input_tags.allow_nan and inner.input_tags.allow_nan
        tags.non_deterministic = inner.non_deterministic
        return tags
