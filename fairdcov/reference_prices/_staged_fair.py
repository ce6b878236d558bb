"""A penalised regressor that begins where another ends: a linear model, then trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import Estimator, FloatArray, Table, check_positive_number, last_step, metadata_for_fit
from fairdcov._fitting import DevianceRegressor, check_strengths, explained_deviance
from fairdcov.reference_prices._features import validate_features

__all__ = ["StagedFairRegressor"]


class StagedFairRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Two penalised regressors one after the other: a linear model, and trees that begin where it ends.

    ``first`` is fitted to X; ``second`` to X as well, with the raw prediction of ``first`` as its offset. Both have the
    same ``strength``, and both penalties are of the whole prediction,

        prediction = inverse link(first(X) + second(X)).

    Trees follow a smooth effect in steps, and take many penalised rounds to move whole groups, which a linear model
    does at once; that misses interactions, which trees find. At equal divergence between groups the two together can
    have a lower loss than either.

    Parameters
    ----------
    first : estimator
        Penalised regressor of this package, such as :class:`DCovPoissonRegressor`, or a Pipeline that ends in one.
    second : estimator
        Penalised regressor of the same link that takes an ``offset``, such as :class:`DCovLGBMRegressor` or
        :class:`DCovXGBRegressor`, or a Pipeline that ends in one.
    strength : float, default=1.0
        Strength of both; their own ones are not looked at. 0 is no penalty.

    Attributes
    ----------
    first_, second_ : estimator
        Fitted ones.
    effective_strength_ : float
        Of ``second_``, where it has one.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Their names, where X has them.

    See Also
    --------
    UnawareFairRegressor : Appends estimates and probabilities of groups, which do a linear model good.
    JSDivergenceCalibrator : Finds the strength.

    Notes
    -----
    ``first`` is fitted to the rows that ``second`` is fitted to, which suits models of few parameters: one that follows
    single rows would leave nothing to learn from. ``second`` never ends with a higher loss on these rows than ``first``
    has: where its strength would ask for that, it is fitted at a smaller one, and a warning says so.

    Under metadata routing all metadata go to both models as they ask for them. Without routing ``sensitive_features``
    and ``sample_weight`` go to both, or to the last step of a Pipeline.

    Examples
    --------
    >>> from fairdcov import DCovLGBMRegressor, DCovPoissonRegressor, StagedFairRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> given = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features[["gender"]]}
    >>> trees = DCovLGBMRegressor(objective="poisson", n_estimators=20, n_penalised_rounds=10, num_leaves=4)
    >>> model = StagedFairRegressor(DCovPoissonRegressor(alpha=1e-4), trees, strength=3.0)
    >>> model = model.fit(X, book.target, **given)
    >>> model.predict(X).shape
    (2000,)
    """

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012
    __metadata_request__score = {"sample_weight": True}  # noqa: RUF012

    def __init__(self, first: Estimator, second: Estimator, *, strength: float = 1.0) -> None:
        self.first = first
        self.second = second
        self.strength = strength

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        **fit_params: Any,
    ) -> Self:
        """Fit the first model, and the second from where it ends.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target, such as claims per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d), optional
            Protected attributes; needed unless the strength is 0, and never in ``predict``.
        **fit_params
            Further metadata for both models, such as ``control_features``.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For models that are none of this package, or of frequency and severity.
        ValueError
            For models of different links or with ``sensitive_columns``, an ``offset`` or ``eval_set``, and whatever the
            models refuse.
        """
        self._check_models(fit_params)
        check_positive_number(self.strength, "strength", allow_zero=True)
        given = {"sensitive_features": sensitive_features, **fit_params}
        checked = clone(self)
        X = validate_features(checked, X, reset=True)
        first = _with_strength(self.first, self.strength)
        first.fit(X, y, **metadata_for_fit(self, sample_weight, given, "first"))
        self._keep(checked, first, self._continued(first, X, y, sample_weight, given))
        return self

    def strength_path(
        self,
        X: Table,
        y: ArrayLike,
        strengths: Iterable[float],
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        **fit_params: Any,
    ) -> Iterator[Self]:
        """Fit a model for each strength, as :meth:`fit` would.

        Parameters
        ----------
        X, y, sample_weight, sensitive_features, **fit_params
            As in :meth:`fit`.
        strengths : sequence of float
            Strengths in the order in which to fit them.

        Returns
        -------
        iterator of estimators
            Fitted clones of this estimator that differ in ``strength``, made as they are asked for.

        Raises
        ------
        TypeError, ValueError
            As in :meth:`fit`; for empty or negative strengths.
        """
        self._check_models(fit_params)
        strengths = check_strengths(strengths)

        def models():
            for strength in strengths:
                model = clone(self).set_params(strength=strength)
                yield model.fit(X, y, sample_weight, sensitive_features=sensitive_features, **fit_params)

        return models()

    def _check_models(self, fit_params):
        links = {}
        for name in ("first", "second"):
            model = last_step(getattr(self, name))
            if not isinstance(model, DevianceRegressor):
                raise TypeError(
                    f"{name} must be a penalised regressor of this package, or a Pipeline that ends in one; found "
                    f"{type(model).__name__}"
                )
            if hasattr(model, "predict_frequency"):
                raise TypeError(
                    f"{name} must be a model of one target; found {type(model).__name__}, whose premium is the product "
                    "of two: stage its frequency and its severity, or fit the premium as one"
                )
            if getattr(model, "sensitive_columns", None) is not None:
                raise ValueError(
                    f"{name} names sensitive_columns, which its features would have to have in predict as well: pass "
                    "these columns as sensitive_features, and leave them out of X"
                )
            links[name] = model._loss().link
        if links["first"] != links["second"]:
            raise ValueError(
                "first and second must have the same link, as the one begins where the other ends; found "
                f"{links['first']!r} and {links['second']!r}"
            )
        for name in ("offset", "eval_set"):
            if fit_params.get(name) is not None:
                raise ValueError(
                    f"{name} is not for a StagedFairRegressor, whose second model has the first one's prediction as "
                    "offset: leave it out"
                )

    def _continued(self, first, X, y, sample_weight, given):
        """The second model, fitted from where the first one ends."""
        given = {**given, "offset": _raw(first, X)}
        params = metadata_for_fit(self, sample_weight, given, "second")
        return _with_strength(self.second, self.strength).fit(X, y, **params)

    def _keep(self, checked, first, second):
        self.first_, self.second_ = first, second
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(checked, name):
                setattr(self, name, getattr(checked, name))
            elif hasattr(self, name):
                delattr(self, name)

    def _loss(self):
        return last_step(self.second)._loss()

    @property
    def effective_strength_(self) -> Any:
        """Strength that the second model goes by."""
        return last_step(self.second_).effective_strength_

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
        check_is_fitted(self, "second_")
        X = validate_features(self, X, reset=False)
        return self.second_.predict(X, offset=_raw(self.first_, X))

    def score(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Share of the deviance that the predictions explain, D^2; R^2 for the squared error.

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
        return explained_deviance(self._loss(), self.predict(X), y, sample_weight)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that is handed on.

        Returns
        -------
        MetadataRouter
        """
        methods = MethodMapping().add(caller="fit", callee="fit")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(first=self.first, method_mapping=methods)
            .add(second=self.second, method_mapping=methods)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(model) for model in (self.first, self.second)]
        tags.target_tags = replace(inner[1].target_tags, multi_output=False, single_output=True)
        if inner[0].target_tags.positive_only:
            tags.target_tags.positive_only = True
        tags.input_tags = replace(
            inner[1].input_tags,
            sparse=all(each.input_tags.sparse for each in inner),
            allow_nan=all(each.input_tags.allow_nan for each in inner),
        )
        tags.non_deterministic = any(each.non_deterministic for each in inner)
        return tags


def _with_strength(model, strength):
    """An unfitted copy of that strength."""
    model = clone(model)
    last_step(model).set_params(strength=strength)
    return model


def _raw(model, X):
    """Predictions on the scale of the link."""
    return last_step(model)._loss().intercept(model.predict(X))
