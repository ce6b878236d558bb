"""What a price without the protected attributes can depend on: the best estimate, and who is likely to be who."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.preprocessing import SplineTransformer
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fairdcov._checks import (
    Bins,
    Estimator,
    RandomState,
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_flag,
    check_sample_weight,
    check_whole_number,
)
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    Attributes,
    MissingSensitiveFeaturesError,
    check_sensitive_features,
    level_text,
    take_rows,
    warn_about_order,
)
from fairdcov.reference_prices._alike_rows import alike_rows
from fairdcov.reference_prices._features import validate_features, with_columns
from fairdcov.reference_prices._learners import (
    check_classifier,
    default_classifier,
    default_regressor,
    estimates,
    fit_learner,
    posteriors,
    weights_for,
)
from fairdcov.reference_prices._levels import Levels, too_few_rows

__all__ = ["UnawareFeatures"]

_LINKS = ("auto", "log", "logit", "identity")


class UnawareFeatures(TransformerMixin, BaseEstimator):
    """Features that a price without the protected attributes can do with: best estimates and posteriors of groups.

    The best price that is independent of the protected attributes S, and does not see them, depends on the features x
    only through the best estimate ``eta(x) = E[y | x]`` and the probabilities ``P(S = s | x)`` [1]_ [2]_. This
    transformer learns both and appends to X: ``eta`` on the scale of the link, splines of it, the probabilities of the
    levels of each attribute, and their products with the splines. A penalised estimator behind it has in reach what it
    could otherwise find by interactions of many features only.

    As with :class:`sklearn.preprocessing.TargetEncoder`, ``fit_transform(X, y)`` is not ``fit(X, y).transform(X)``: it
    gives each row the values of models that have not seen it, without which the columns would look better than they are
    on new rows; ``transform`` gives the average of the folds' models. A Pipeline calls the right one of the two.

    Parameters
    ----------
    regressor : estimator, default=None
        For ``eta``; a classifier for a binary y. None is
        ``HistGradientBoostingRegressor(loss="poisson")``, the classifier of that kind with ``link="logit"``.
    classifier : estimator with ``predict_proba``, default=None
        For the levels of S. None is a small ``HistGradientBoostingClassifier`` that stops early.
    cv : int, splitter or iterable of splits, default=5
        Folds. An int is for folds that mix the profiles of S; every row has to be held out once.
    summary : {"marginals", "profiles"}, default="marginals"
        The probabilities of the levels of each attribute, one classifier each; or those of the crossed profiles.
    bins : int or dict, default=5
        How numeric attributes of more than 20 values are cut into bands, see :func:`fairdcov.metrics.js_divergence`.
    n_knots : int, default=5
        Knots of the cubic splines of ``eta``, at its quantiles; 0 for no splines and no products.
    columns : {"all", "probabilities"}, default="all"
        What is appended: everything, or the probabilities alone, for trees, which find ``eta`` by themselves.
    link : {"auto", "log", "logit", "identity"}, default="auto"
        Scale of ``eta``: ``"auto"`` is the logit for a classifier and the logarithm for a regressor.
    passthrough : bool, default=True
        Whether the columns go behind those of X; False gives them alone.
    random_state : int, default=0
        Of the folds, and of the default learners.

    Attributes
    ----------
    levels_ : dict of str to list
        Levels of each attribute, or the profiles under the names of all; bands are ``pandas.Interval``.
    models_ : list of (regressor, list of classifiers)
        Fitted ones of each fold.
    splines_ : SplineTransformer or None
        Fitted to the values of ``eta`` that ``fit_transform`` gives.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Their names, where X has them.

    See Also
    --------
    UnawareFairRegressor : This and a penalised regressor in one.
    FairBarycentreRegressor : The best price from the same two ingredients.

    Notes
    -----
    The protected attributes are needed in ``fit`` only. But the appended probabilities are information about them that
    is inferred from x: whether a tariff may use them is a legal question, which may need review, whatever comes out of
    it. So is the sum of many features that tell as much; here it is in plain sight.

    Under metadata routing it consumes ``sensitive_features`` and ``sample_weight``, and hands the weights on to
    learners that request them. Without routing learners that take weights get them; in a Pipeline pass
    ``unawarefeatures__sensitive_features=S`` beside the last step's.

    References
    ----------
    .. [1] V. Divol, S. Gaucher (2024), "Demographic parity in regression and classification within the unawareness
       framework", arXiv:2409.02471.
    .. [2] G. Taturyan, E. Chzhen, M. Hebiri (2024), "Regression under demographic parity constraints via unlabeled
       post-processing", NeurIPS 2024.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from fairdcov import DCovPoissonRegressor, UnawareFeatures
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> S = book.sensitive_features[["gender"]]
    >>> features = UnawareFeatures(classifier=HistGradientBoostingClassifier(max_iter=10), n_knots=3)
    >>> model = make_pipeline(features, DCovPoissonRegressor(strength=1.0, alpha=1e-4))
    >>> given = {"unawarefeatures__sensitive_features": S, "dcovpoissonregressor__sensitive_features": S}
    >>> model = model.fit(X, book.target, **given)
    >>> model.predict(X).shape
    (2000,)
    >>> model[0].get_feature_names_out()[X.shape[1]:].tolist()[:3]
    ['log_estimate', 'estimate_spline_1', 'estimate_spline_2']
    """

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012

    def __init__(
        self,
        regressor: Estimator = None,
        classifier: Estimator = None,
        *,
        cv: Any = 5,
        summary: Literal["marginals", "profiles"] = "marginals",
        bins: Bins = DEFAULT_GROUPS,
        n_knots: int = 5,
        columns: Literal["all", "probabilities"] = "all",
        link: Literal["auto", "log", "logit", "identity"] = "auto",
        passthrough: bool = True,
        random_state: RandomState = 0,
    ) -> None:
        self.regressor = regressor
        self.classifier = classifier
        self.cv = cv
        self.summary = summary
        self.bins = bins
        self.n_knots = n_knots
        self.columns = columns
        self.link = link
        self.passthrough = passthrough
        self.random_state = random_state

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(
        self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, *, sensitive_features: Table | None = None
    ) -> Self:
        """Fit the models of all folds.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features, without the protected attributes.
        y : (n,) array
            Target, such as claims per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure, for learners that take weights. Rows of weight 0 take no part.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
            Protected attributes of any type; never needed in ``transform``.

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
            For an attribute of one level, a level or profile with fewer rows than folds or missing from the training
            rows of a fold, estimates without a value on the scale of the link, and whatever the learners refuse.
        """
        self._learn(X, y, sample_weight, sensitive_features)
        return self

    def fit_transform(
        self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, *, sensitive_features: Table | None = None
    ) -> Any:
        """Fit, and append to each row the values of the models that have not seen it.

        Parameters
        ----------
        X, y, sample_weight, sensitive_features
            As in :meth:`fit`.

        Returns
        -------
        array, sparse matrix or DataFrame, (n, p + m)
            In the form of X.
        """
        X, eta, shares = self._learn(X, y, sample_weight, sensitive_features)
        return self._append(X, eta, shares)

    def _learn(self, X, y, sample_weight, sensitive_features):
        """Fit all models; the features, and what the models of the other folds say of each row."""
        self._check_parameters()
        if y is None:
            # scikit-learn's wording, which its estimator checks expect
            raise ValueError("UnawareFeatures requires y to be passed, but the target y is None")
        if sensitive_features is None:
            raise MissingSensitiveFeaturesError(
                "UnawareFeatures needs sensitive_features: pass fit(..., sensitive_features=S), in a Pipeline without "
                "metadata routing as unawarefeatures__sensitive_features=S"
            )
        warn_about_order(X=X, y=y, sample_weight=sample_weight, sensitive_features=sensitive_features)
        # What validation finds out about X is kept with a clone until everything else has worked.
        checked = clone(self)
        X = validate_features(checked, X, reset=True)
        n_samples = X.shape[0]
        y = column_or_1d(y, warn=True)
        check_consistent_rows(n_samples, y, "y")
        regressor = self._regressor()
        if not is_classifier(regressor):
            check_finite_vector(y, "y")
        check_sensitive_features(sensitive_features, n_samples)
        weights = check_sample_weight(sample_weight, n_samples)
        counted = np.flatnonzero(weights > 0)
        levels = Levels(Attributes.read(sensitive_features).rows(counted), self.bins, weights[counted])
        targets = self._targets(levels)
        splits = self._splits(n_samples, counted, levels, targets)
        learners = {"regressor": regressor, "classifier": self._classifier()}
        params = weights_for(self, learners, None if sample_weight is None else weights)

        place = np.full(n_samples, -1)
        place[counted] = np.arange(len(counted))
        models, eta, shares = (
            [],
            np.empty(n_samples),
            [np.empty((n_samples, len(kept))) for _, kept in targets.values()],
        )
        for fitted, held in splits:
            fitted = fitted[place[fitted] >= 0]
            given = {name: {key: value[fitted] for key, value in params[name].items()} for name in learners}
            rows = take_rows(X, fitted)
            model = fit_learner(regressor, rows, y[fitted], given["regressor"])
            classifiers = [
                fit_learner(learners["classifier"], rows, codes[place[fitted]], given["classifier"])
                for codes, _ in targets.values()
            ]
            models.append((model, classifiers))
            rows = take_rows(X, held)
            eta[held] = estimates(model, rows)
            for found, classifier in zip(shares, classifiers, strict=True):
                found[held] = posteriors(classifier, rows, found.shape[1])
        scale = self._scale(eta)
        alone = self.n_knots == 0 or self.columns == "probabilities"
        splines = None if alone else _fit_splines(scale[counted], self.n_knots, weights[counted])

        self.models_ = models
        self.splines_ = splines
        self.levels_ = {name: kept for name, (_, kept) in targets.items()}
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(checked, name):
                setattr(self, name, getattr(checked, name))
            elif hasattr(self, name):
                delattr(self, name)
        return X, scale, shares

    def _check_parameters(self):
        check_choice(self.summary, "summary", ("marginals", "profiles"))
        check_choice(self.columns, "columns", ("all", "probabilities"))
        check_choice(self.link, "link", _LINKS)
        check_flag(self.passthrough, "passthrough")
        if check_whole_number(self.n_knots, "n_knots", 0) == 1:
            raise ValueError("n_knots must be 0, for no splines, or at least 2; found 1")
        check_classifier(self._classifier())
        if is_classifier(self._regressor()):
            check_classifier(self._regressor())
            if self.link not in ("auto", "logit"):
                raise ValueError(
                    f"link={self.link!r} is not for a classifier, whose estimates are probabilities: take 'logit'"
                )

    def _regressor(self):
        if self.regressor is not None:
            return self.regressor
        return default_regressor(self.random_state, binary=self.link == "logit")

    def _classifier(self):
        return default_classifier(self.random_state) if self.classifier is None else self.classifier

    def _targets(self, levels):
        """What the classifiers learn: codes of the rows, and the levels that they stand for."""
        if self.summary == "profiles":
            return {" × ".join(levels.names): (levels.codes, levels.labels)}
        return {name: levels.of_attribute(c) for c, name in enumerate(levels.names)}

    def _splits(self, n_samples, counted, levels, targets):
        """Folds in which every row is held out once, and every level is among the rows that are fitted."""
        if isinstance(self.cv, int | np.integer) and not isinstance(self.cv, bool):
            n_folds = check_whole_number(self.cv, "cv", 2)
            if n_folds > n_samples:
                raise ValueError(f"cv must be at most the number of rows, {n_samples}; found {n_folds}")
            for name, (codes, kept) in targets.items():
                sizes = np.bincount(codes)
                if sizes.min() < n_folds:
                    raise self._too_few(name, kept[sizes.argmin()], sizes.min(), f"fewer than cv={n_folds} folds")
            splits = _mixed_folds(n_samples, counted, levels.codes, n_folds, self.random_state)
        else:
            splits = list(check_cv(self.cv).split(np.zeros((n_samples, 1))))
        held_out = np.bincount(np.concatenate([held for _, held in splits]), minlength=n_samples)
        if not (held_out == 1).all():
            raise ValueError(
                "cv must hold out every row once, so that each has values of models that have not seen it; found "
                f"{int((held_out != 1).sum())} rows that are held out {sorted(set(held_out.tolist()) - {1})} times"
            )
        fold = np.empty(n_samples, dtype=np.int64)
        for k, (_, held) in enumerate(splits):
            fold[held] = k
        for name, (codes, kept) in targets.items():
            table = np.zeros((len(kept), len(splits)), dtype=np.int64)
            np.add.at(table, (codes, fold[counted]), 1)
            alone = np.argwhere(table == table.sum(axis=1, keepdims=True))
            if len(alone):
                level, k = alone[0]
                raise self._too_few(
                    name, kept[level], table[level, k], f"all of them held out in fold {k}, whose models never see it"
                )
        return splits

    def _too_few(self, name, level, count, problem):
        if self.summary == "profiles":
            return too_few_rows("profile", level, count, problem)
        return too_few_rows(f"level of {name!r}", (level,), count, problem)

    # -- columns ------------------------------------------------------------------------------------------------------

    @property
    def _link_name(self):
        if self.link != "auto":
            return self.link
        return "logit" if is_classifier(self._regressor()) else "log"

    def _scale(self, eta):
        """Estimates on the scale of the link."""
        link = self._link_name
        if link == "identity":
            return eta
        wrong = ~(eta > 0) if link == "log" else ~((eta > 0) & (eta < 1))
        if wrong.any():
            wanted = "above 0" if link == "log" else "between 0 and 1, the ends left out"
            raise ValueError(
                f"the regressor's estimates must be {wanted} for link={link!r}; found {int(wrong.sum())} that are not, "
                f"such as {eta[wrong][0]:g}: take a regressor that keeps away from the ends (a log link, such as "
                "HistGradientBoostingRegressor(loss='poisson'), or larger leaves), or link='identity'"
            )
        return np.log(eta) if link == "log" else logit(eta)

    def _append(self, X, scale, shares):
        columns = [scale[:, None]] if self.columns == "all" else []
        splines = None
        if self.splines_ is not None:
            splines = self.splines_.transform(scale[:, None])
            columns.append(splines)
        # The probabilities of an attribute sum to 1: those of its first level say nothing more.
        free = np.hstack([found[:, 1:] for found in shares])
        columns.append(free)
        if splines is not None:
            columns.append((free[:, :, None] * splines[:, None, :]).reshape(len(free), -1))
        table = np.hstack(columns)
        names = self._appended_names()
        taken = sorted(set(names) & set(getattr(self, "feature_names_in_", ())))
        if taken:
            raise ValueError(f"X has {taken[:3]}, which are names of columns to be appended: rename them")
        return with_columns(X, names, table, keep=self.passthrough)

    def transform(self, X: Table) -> Any:
        """Append the average of the folds' models; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        array, sparse matrix or DataFrame, (n, p + m)
            In the form of X.
        """
        check_is_fitted(self, "models_")
        X = validate_features(self, X, reset=False)
        n_folds = len(self.models_)
        eta = np.zeros(X.shape[0])
        shares = [np.zeros((X.shape[0], len(kept))) for kept in self.levels_.values()]
        for of_fold, found in self._of_folds(X):
            eta += of_fold / n_folds
            for total, share in zip(shares, found, strict=True):
                total += share / n_folds
        return self._append(X, self._scale(eta), shares)

    def _of_folds(self, X):
        """Estimates and posteriors of each fold's models in turn."""
        rows, back = alike_rows(X)
        for model, classifiers in self.models_:
            levels = self.levels_.values()
            found = [posteriors(each, rows, len(kept))[back] for each, kept in zip(classifiers, levels, strict=True)]
            yield estimates(model, rows)[back], found

    def tables_of_folds(self, X: Table) -> Any:
        """What :meth:`transform` would give by each fold's models alone, one after the other.

        Values of a single fold's models are spread as the out-of-fold values are that an estimator behind was fitted
        to; their average is smoother, which makes a difference to trees. :class:`UnawareFairRegressor` averages the
        predictions from these tables.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        iterator of array, sparse matrix or DataFrame, (n, p + m)
        """
        check_is_fitted(self, "models_")
        X = validate_features(self, X, reset=False)
        return (self._append(X, self._scale(eta), shares) for eta, shares in self._of_folds(X))

    def _appended_names(self):
        link = self._link_name
        n_splines = 0 if self.splines_ is None else self.splines_.n_features_out_
        splines = [f"estimate_spline_{k + 1}" for k in range(n_splines)]
        posterior = []
        for name, kept in self.levels_.items():
            for level in kept[1:]:
                parts = level if isinstance(level, tuple) else (level,)
                posterior.append(_plain("_".join(["probability", name, *map(level_text, parts)])))
        posterior = _distinct(posterior)
        products = [f"{name}_{spline}" for name in posterior for spline in splines]
        estimate = ["estimate" if link == "identity" else f"{link}_estimate"] if self.columns == "all" else []
        return [*estimate, *splines, *posterior, *products]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the columns: those of X, then those appended.

        Parameters
        ----------
        input_features : sequence of str, optional
            Names of the columns of X where it had none.

        Returns
        -------
        (p + m,) array of str
        """
        check_is_fitted(self, "models_")
        names = getattr(self, "feature_names_in_", None)
        if input_features is not None:
            input_features = np.asarray(input_features, dtype=object)
            if names is not None and not np.array_equal(names, input_features):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(input_features) != self.n_features_in_:
                raise ValueError(
                    f"input_features should have length equal to number of features ({self.n_features_in_}), got "
                    f"{len(input_features)}"
                )
            names = input_features
        if names is None:
            names = [f"x{k}" for k in range(self.n_features_in_)]
        return np.array([*(names if self.passthrough else []), *self._appended_names()], dtype=object)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that is consumed and handed on.

        Returns
        -------
        MetadataRouter
        """
        methods = MethodMapping().add(caller="fit", callee="fit").add(caller="fit_transform", callee="fit")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(regressor=self._regressor(), method_mapping=methods)
            .add(classifier=self._classifier(), method_mapping=methods)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(learner).input_tags for learner in (self._regressor(), self._classifier())]
        tags.target_tags.required = True
        tags.input_tags = replace(
            inner[0], sparse=all(each.sparse for each in inner), allow_nan=all(each.allow_nan for each in inner)
        )
        return tags


def _mixed_folds(n_samples, counted, profiles, n_folds, random_state):
    """Folds that mix the profiles; profiles too rare for that, and rows that do not count, are strata of their own."""
    strata = np.full(n_samples, -1)
    strata[counted] = np.where(np.bincount(profiles)[profiles] < n_folds, -2, profiles)
    if np.unique(strata, return_counts=True)[1].max() < n_folds:
        strata = np.zeros(n_samples)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(folds.split(np.zeros(n_samples), strata))


def _fit_splines(scale, n_knots, weights):
    """Cubic splines with knots at quantiles; fewer where these are the same."""
    knots = np.unique(
        np.quantile(scale, np.linspace(0.0, 1.0, n_knots), weights=weights, method="inverted_cdf").round(12)
    )
    if len(knots) < 2:
        # Estimates that are all the same: any knots will do.
        knots = knots[0] + np.array([-0.5, 0.5])
    splines = SplineTransformer(knots=knots[:, None], include_bias=False, extrapolation="constant")
    return splines.fit(scale[:, None])


def _plain(name):
    """A name that every learner takes."""
    return re.sub(r"[\W_]+", "_", name.replace("≥", "from ").replace("<", "below ")).strip("_")


def _distinct(names):
    """Names of which those that occur again have a number behind."""
    seen = {}
    for position, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[position] = f"{name}_{seen[name]}"
    return names
