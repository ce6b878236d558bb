"""The best price that parity allows, with the protected attributes or without: a post-processing of best estimates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fairdcov._checks import (
    Bins,
    Estimator,
    FloatArray,
    RandomState,
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_flag,
    check_sample_weight,
    check_whole_number,
)
from fairdcov._fitting import FAMILIES_BY_LOSS, check_strengths, explained_deviance
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    Attributes,
    MissingSensitiveFeaturesError,
    check_sensitive_features,
    take_rows,
    warn_about_order,
)
from fairdcov.reference_prices._features import PreparedRows, ProtectedColumns, validate_features, with_columns
from fairdcov.reference_prices._learners import (
    check_classifier,
    default_classifier,
    default_regressor,
    estimates,
    fit_learner,
    posteriors,
    weights_for,
)
from fairdcov.reference_prices._levels import Levels
from fairdcov.reference_prices._potentials import DualProblem
from fairdcov.reference_prices._quantile_averages import QuantileAverages

__all__ = ["FairBarycentreRegressor"]


class FairBarycentreRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """The best predictions for a strength of the penalty on dependence, over all functions of estimates and posteriors.

    A regressor learns the best estimate ``eta`` of y, a classifier the probabilities ``pi`` of the profiles of the
    protected attributes S. The prediction is ``argmin_u loss(eta, u) + pi' phi(u)`` with potentials phi, one function
    for each profile, that solve a concave problem (see Notes). No other function of the same two ingredients has a
    lower loss at the same CCdCov. It is a reference for what a penalised model could reach, and a post-processor.

    With ``aware=True`` S is needed to predict: ``pi`` is then 1 for the profile of the row, ``eta`` is learned with S
    among the features, and infinite strength gives the Wasserstein barycentre of the profiles' distributions of
    estimates, weighted by their shares.

    Parameters
    ----------
    regressor : estimator, default=None
        For ``eta``. None is ``HistGradientBoostingRegressor(loss="poisson")``, the classifier of that kind with
        ``loss="binomial"``. Of a classifier ``eta`` is the probability of its second class.
    classifier : estimator with ``predict_proba``, default=None
        For ``pi``, of the crossed profiles. None is a small ``HistGradientBoostingClassifier`` that stops early; with
        ``aware=True`` there is no need of any.
    strength : float, default=100
        Of the penalty ``CCdCov^2 / Gini mean difference of eta``: for predictions about as far apart as the estimates
        that is the one of ``CCDCovPenalty()``. ``inf`` is independence on the rows of the fit, chance included; on new
        rows 100 is often as independent, at a lower deviance.
    aware : bool, default=False
        Whether predictions take S.
    loss : {"poisson", "negative_binomial", "gamma", "tweedie", "squared_error", "binomial"}, default="poisson"
        Half the deviance of this family, of its default parameter. With ``"binomial"`` predictions are probabilities.
    bins : int or dict, default=5
        How numeric attributes of more than 20 values are cut into bands, see :func:`fairdcov.metrics.js_divergence`.
    max_rows : int, default=10000
        The potentials are solved for so many rows at most: with S estimates are averaged within slices of each
        profile; without, it is a systematic sample in the order of the likeliest profile and the estimate. With S and
        infinite strength all rows are taken, which is no effort.
    random_state : int, default=0
        Of the default learners.

    Attributes
    ----------
    regressor_, classifier_ : estimator
        Fitted to all rows; ``classifier_`` is None with ``aware=True``.
    profiles_ : list of K tuples
        Level of each profile in every attribute; bands are ``pandas.Interval``.
    shares_ : (K,) array
        Weight of each profile, of sum 1.
    potentials_ : Potentials or QuantileAverages
        ``grid`` (M,) and ``values`` (M, K); with ``aware=True`` and infinite strength ``estimates`` and
        ``predictions``, K arrays of each.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Their names, where X has them.

    See Also
    --------
    UnawareFeatures : The same two ingredients as features of a penalised model.
    frontier_gap : How far a model is from these references.

    Notes
    -----
    The penalty ``int F(t)' A F(t) dt`` of the profiles' distribution functions is convex in the law of the predictions,
    so that its dual has no gap [1]_ [2]_; ``fairdcov.reference_prices._potentials`` has it. The smoothed dual is solved
    by L-BFGS on a grid of about a hundred predictions, and predictions are exact between its nodes; with S and infinite
    strength the averages of quantiles are computed without a grid. The potentials are
    those of the very models that predict, on the rows of the fit: averages over folds would have fewer ties and another
    distribution than the models they are applied to. Rows of equal estimates and posteriors get equal predictions,
    which bounds the independence that can be reached with few distinct ones.

    Learners that follow single rows look better on the rows of the fit than they are: give those that generalise. The
    total is that of the estimates.

    Predictions without S infer it from x: see the remark at :class:`UnawareFeatures`.

    References
    ----------
    .. [1] E. Chzhen, C. Denis, M. Hebiri, L. Oneto, M. Pontil (2020), "Fair regression with Wasserstein barycenters",
       NeurIPS 2020.
    .. [2] V. Divol, S. Gaucher (2024), "Demographic parity in regression and classification within the unawareness
       framework", arXiv:2409.02471.

    Examples
    --------
    >>> from fairdcov import DCovPoissonRegressor, FairBarycentreRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.metrics import js_divergence
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> S = book.sensitive_features[["gender"]]
    >>> model = FairBarycentreRegressor(DCovPoissonRegressor(strength=0), aware=True)
    >>> model = model.fit(X, book.target, sample_weight=book.exposure, sensitive_features=S)
    >>> fair = model.predict(X, sensitive_features=S)
    >>> bool(js_divergence(None, fair, sensitive_features=S, sample_weight=book.exposure) < 0.002)
    True
    """

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012
    __metadata_request__predict = {"sensitive_features": True}  # noqa: RUF012
    __metadata_request__score = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012

    def __init__(
        self,
        regressor: Estimator = None,
        classifier: Estimator = None,
        *,
        strength: float = 100.0,
        aware: bool = False,
        loss: Literal["poisson", "negative_binomial", "gamma", "tweedie", "squared_error", "binomial"] = "poisson",
        bins: Bins = DEFAULT_GROUPS,
        max_rows: int = 10_000,
        random_state: RandomState = 0,
    ) -> None:
        self.regressor = regressor
        self.classifier = classifier
        self.strength = strength
        self.aware = aware
        self.loss = loss
        self.bins = bins
        self.max_rows = max_rows
        self.random_state = random_state

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(
        self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, *, sensitive_features: Table | None = None
    ) -> Self:
        """Fit regressor and classifier, and solve for the potentials.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features, without the protected attributes.
        y : (n,) array
            Target per unit of exposure; two classes or 0 and 1 with ``loss="binomial"``.
        sample_weight : (n,) array, optional
            Exposure: of the profiles' distributions, and of learners that take weights. Rows of weight 0 take no part.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
            Protected attributes of any type.

        Returns
        -------
        self

        Raises
        ------
        MissingSensitiveFeaturesError
            Without protected attributes.
        TypeError
            For a classifier without ``predict_proba``, and attributes that are known as probabilities.
        ValueError
            For an attribute of one level, estimates out of the range of the loss, and whatever the learners refuse.
        """
        strengths = check_strengths([self.strength], "strength", allow_infinite=True)
        (model,) = self._path(X, y, strengths, sample_weight, sensitive_features)
        self.__dict__.update({name: value for name, value in vars(model).items() if name.endswith("_")})
        self._levels, self._columns = model._levels, model._columns
        if not hasattr(model, "feature_names_in_") and hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def strength_path(
        self,
        X: Table,
        y: ArrayLike,
        strengths: Iterable[float],
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
    ) -> Iterator[Self]:
        """Fit a model for each strength: the learners are fitted once, potentials start from those before.

        Parameters
        ----------
        X, y, sample_weight, sensitive_features
            As in :meth:`fit`.
        strengths : sequence of float
            Strengths in the order in which to solve; increasing ones start best.

        Returns
        -------
        iterator of estimators
            Fitted clones of this estimator that differ in ``strength``, made as they are asked for.

        Raises
        ------
        ValueError
            At once, as in :meth:`fit`, and for empty or negative strengths.
        """
        strengths = check_strengths(strengths, allow_infinite=True)
        return self._path(X, y, strengths, sample_weight, sensitive_features)

    def _path(self, X, y, strengths, sample_weight, sensitive_features):
        """Check everything and fit the learners at once; solve for each strength when it is asked for."""
        check_choice(self.loss, "loss", tuple(FAMILIES_BY_LOSS))
        check_flag(self.aware, "aware")
        check_whole_number(self.max_rows, "max_rows", 100)
        if not self.aware:
            check_classifier(self._classifier())
        if y is None:
            # scikit-learn's wording, which its estimator checks expect
            raise ValueError("FairBarycentreRegressor requires y to be passed, but the target y is None")
        _check_given(sensitive_features, "fit(..., sensitive_features=S)")
        warn_about_order(X=X, y=y, sample_weight=sample_weight, sensitive_features=sensitive_features)
        model = clone(self)
        X = validate_features(model, X, reset=True)
        n_samples = X.shape[0]
        y = column_or_1d(y, warn=True)
        check_consistent_rows(n_samples, y, "y")
        regressor = self._regressor()
        if not is_classifier(regressor):
            check_finite_vector(y, "y")
        check_sensitive_features(sensitive_features, n_samples)
        weights = check_sample_weight(sample_weight, n_samples)
        counted = np.flatnonzero(weights > 0)
        if len(counted) < n_samples:
            X, y = take_rows(X, counted), y[counted]
        attributes = Attributes.read(sensitive_features).rows(counted)
        weights = weights[counted]
        levels = Levels(attributes, self.bins, weights)
        columns = ProtectedColumns(attributes, np.arange(len(counted))) if self.aware else None

        learners = {"regressor": regressor} | ({} if self.aware else {"classifier": self._classifier()})
        params = weights_for(self, learners, None if sample_weight is None else weights)
        seen = X if columns is None else with_columns(X, columns.names, columns.table)
        model.regressor_ = fit_learner(regressor, seen, y, params["regressor"])
        model.classifier_ = None
        if not self.aware:
            model.classifier_ = fit_learner(learners["classifier"], X, levels.codes, params["classifier"])
        model._levels, model._columns = levels.without_rows(), columns and columns.without_rows()
        model.profiles_ = levels.labels
        probabilities = weights / weights.sum()
        model.shares_ = np.bincount(levels.codes, probabilities, len(levels))
        eta = model._estimates(seen)
        memberships = np.eye(len(levels))[levels.codes] if self.aware else posteriors(model.classifier_, X, len(levels))
        return _solved(model, strengths, eta, memberships, probabilities, self.max_rows)

    def _regressor(self):
        if self.regressor is not None:
            return self.regressor
        return default_regressor(self.random_state, binary=self.loss == "binomial")

    def _classifier(self):
        return default_classifier(self.random_state) if self.classifier is None else self.classifier

    def _estimates(self, X):
        """Best estimates within the range of the loss."""
        eta = estimates(self.regressor_, X)
        loss = FAMILIES_BY_LOSS[self.loss].loss()
        wrong = np.zeros(len(eta), dtype=bool)
        if loss.link != "identity":
            wrong = ~(eta > 0) if loss.link == "log" else ~((eta > 0) & (eta < 1))
        if wrong.any():
            wanted = "above 0" if loss.link == "log" else "between 0 and 1, the ends left out"
            raise ValueError(
                f"the regressor's estimates must be {wanted} for loss={self.loss!r}; found {int(wrong.sum())} that are "
                f"not, such as {eta[wrong][0]:g}: take a regressor that keeps away from the ends (a log link, such as "
                "HistGradientBoostingRegressor(loss='poisson'), or larger leaves)"
            )
        return eta

    # -- predictions --------------------------------------------------------------------------------------------------

    def predict(self, X: Table, *, sensitive_features: Table | None = None) -> FloatArray:
        """Predict; the protected attributes are needed with ``aware=True`` only.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d), optional
            Protected attributes with the columns of ``fit``; without ``aware=True`` they are not looked at.

        Returns
        -------
        (n,) array
            On the scale of y; probabilities of the second class with ``loss="binomial"``.

        Raises
        ------
        MissingSensitiveFeaturesError
            With ``aware=True`` and no protected attributes.
        ValueError
            With ``aware=True`` for groups that the fit has not seen (it names them), and for estimates out of the range
            of the loss.
        """
        check_is_fitted(self, "potentials_")
        if isinstance(X, PreparedRows):
            return self.potentials_.predict(*X.content)
        return self.potentials_.predict(*self._ingredients(X, sensitive_features))

    def _ingredients(self, X, sensitive_features):
        X = validate_features(self, X, reset=False)
        if not self.aware:
            return self._estimates(X), posteriors(self.classifier_, X, len(self.profiles_))
        _check_given(sensitive_features, "predict(X, sensitive_features=S), since aware=True")
        check_sensitive_features(sensitive_features, X.shape[0])
        attributes = Attributes.read(sensitive_features)
        codes = self._levels.encode(attributes)
        eta = self._estimates(with_columns(X, self._columns.names, self._columns.encode(attributes)))
        return eta, np.eye(len(self.profiles_))[codes]

    def prepare(self, X: Any) -> Any:
        """What the models of a path have in common for rows to predict, to be passed as X; not with ``aware=True``.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        object
            Estimates and posteriors of the n rows, for ``predict`` of any model of the same ``strength_path``.
        """
        check_is_fitted(self, "potentials_")
        if self.aware:
            return X
        ingredients = self._ingredients(X, None)
        return PreparedRows(ingredients, len(ingredients[0]))

    def score(
        self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, *, sensitive_features: Table | None = None
    ) -> float:
        """Share of the deviance that the predictions explain, D^2; R^2 for the squared error.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        sample_weight : (n,) array, optional
            Row weights, such as exposure.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d), optional
            Protected attributes, with ``aware=True``.

        Returns
        -------
        float
        """
        prediction = self.predict(X, sensitive_features=sensitive_features)
        y = column_or_1d(y, warn=True)
        if is_classifier(self.regressor_):
            y = (y == self.regressor_.classes_[1]).astype(np.float64)
        return explained_deviance(FAMILIES_BY_LOSS[self.loss].loss(), prediction, y, sample_weight)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that is consumed and handed on.

        Returns
        -------
        MetadataRouter
        """
        methods = MethodMapping().add(caller="fit", callee="fit")
        router = (
            MetadataRouter(owner=self).add_self_request(self).add(regressor=self._regressor(), method_mapping=methods)
        )
        return router if self.aware else router.add(classifier=self._classifier(), method_mapping=methods)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._regressor())
        learners = [inner] if self.aware else [inner, get_tags(self._classifier())]
        tags.target_tags = replace(inner.target_tags, multi_output=False, single_output=True)
        tags.input_tags = replace(
            inner.input_tags,
            sparse=all(each.input_tags.sparse for each in learners),
            allow_nan=all(each.input_tags.allow_nan for each in learners),
        )
        tags.non_deterministic = inner.non_deterministic
        return tags


def _check_given(sensitive_features, how):
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError(f"FairBarycentreRegressor needs sensitive_features: pass {how}")


def _solved(model, strengths, eta, memberships, weights, max_rows):
    """Clones of a model with the potentials of each strength."""
    loss = FAMILIES_BY_LOSS[model.loss].loss()
    sample = _sample(eta, memberships, weights, max_rows, averaged=model.aware)
    problem = DualProblem(loss, *sample, model._levels.points)
    start = None
    learnt = {name: value for name, value in vars(model).items() if name.endswith("_") or name.startswith("_")}
    for strength in strengths:
        if model.aware and np.isposinf(strength):
            # Known without a grid, whose nodes leave some dependence where estimates tie; keeps the total by itself.
            potentials = QuantileAverages.of(eta, memberships, weights)
        else:
            potentials, start = problem.solve(float(strength), start)
            if potentials.values.any():
                prediction = potentials.predict(*sample[:2])
                shift = loss.best_shift(sample[0], loss.intercept(prediction), sample[2])
                potentials = replace(potentials, shift=float(shift or 0.0))
        solved = clone(model).set_params(strength=strength)
        solved.__dict__.update(learnt, potentials_=potentials)
        yield solved


def _sample(eta, memberships, weights, max_rows, *, averaged):
    """Estimates, memberships and weights (of sum 1) of at most so many rows that stand for all.

    Rows of one profile that is known may be averaged, since the loss is linear in the estimate; those of posteriors may
    not, which would take away how they vary.
    """
    if len(eta) <= max_rows:
        return eta, memberships, weights
    profile = memberships.argmax(axis=1)
    order = np.lexsort((eta, profile))
    reached = np.cumsum(weights[order])
    if averaged:
        # Slices are finer towards both ends of a profile, where the estimates are far apart.
        shares = memberships.T @ weights
        before = np.concatenate([[0.0], np.cumsum(shares)[:-1]])
        share = np.clip((reached - 0.5 * weights[order] - before[profile[order]]) / shares[profile[order]], 0.0, 1.0)
        n_slices = np.maximum(1, (max_rows * shares).astype(np.int64))[profile[order]]
        slices = np.minimum((n_slices * np.arccos(1.0 - 2.0 * share) / np.pi).astype(np.int64), n_slices - 1)
        cells = np.unique(np.column_stack([profile[order], slices]), axis=0, return_inverse=True)[1].ravel()
        totals = np.bincount(cells, weights[order])
        first = np.unique(cells, return_index=True)[1]
        return np.bincount(cells, weights[order] * eta[order]) / totals, memberships[order[first]], totals
    steps = (np.arange(max_rows) + 0.5) / max_rows
    rows, times = np.unique(order[np.searchsorted(reached, steps * reached[-1])], return_counts=True)
    return eta[rows], memberships[rows], times / max_rows
