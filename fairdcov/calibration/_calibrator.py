"""The meta-estimator: checks, routing, folds, and delegation to the chosen model."""

from __future__ import annotations

import inspect
import numbers
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, Self

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, get_routing_for_object, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from tqdm import tqdm

from fairdcov._checks import (
    Bins,
    Estimator,
    GroupWeights,
    RandomState,
    Table,
    check_choice,
    check_consistent_rows,
    check_positive_number,
    check_sample_weight,
    check_whole_number,
)
from fairdcov._fitting import check_strengths
from fairdcov.calibration._candidates import calibration_candidates
from fairdcov.calibration._cost import cost_levels, cost_lines, cost_table
from fairdcov.calibration._rules import RULES, apply_rule
from fairdcov.calibration._sweep import (
    CalibrationData,
    Sweep,
    count_rows,
    end_of_grid,
    find_range,
    measure_fold,
    summarise_folds,
)
from fairdcov.dependence import Strata
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    Attributes,
    as_given,
    check_sensitive_features,
    describe_groups,
    read_sensitive_columns,
    warn_about_order,
)
from fairdcov.exceptions import (
    CalibrationError,
    CalibrationWarning,
    MissingSensitiveFeaturesError,
    SensitiveFeaturesWarning,
    StrengthWarning,
)

__all__ = ["JSDivergenceCalibrator"]

# A chosen model that keeps less than this share of what the unpenalised one explains is worth a warning.
_LEAST_KEPT = 0.2
# What an estimator of the package takes a value of each row of.
_PER_ROW = {"offset", "frequency_offset", "severity_offset", "claims"}
# Folds that a warning names; of repeated folds there can be hundreds.
_MOST_FOLDS_NAMED = 5


def _fitted_has(attribute):
    """Whether the estimator in charge has a method, for ``available_if``."""

    def check(self):
        getattr(self.best_estimator_ if hasattr(self, "best_estimator_") else self.estimator, attribute)
        return True

    return check


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
    parameters = list(inspect.signature(estimator.predict).parameters.values())[1:] if _predicts(estimator) else []
    return [parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]


def _predicts(estimator):
    return callable(getattr(estimator, "predict", None))


def _without(params, others):
    """Metadata of a scorer without those that predictions have already been made with."""
    return {name: value for name, value in params.items() if name not in others}


def _warn(message):
    warnings.warn(message, CalibrationWarning, stacklevel=4)


def _check_targets_in_folds(splits, y, counted):
    """Raise for folds with one value of the target, where nothing can be fitted or scored."""
    values = np.asarray(y)
    if values.ndim != 1:
        return  # the estimator refuses it, or knows what to do

    def constant(rows):
        known = values[rows][counted[rows]]
        return len(known) > 0 and bool((known == known[0]).all())

    if constant(np.arange(len(values))):
        raise ValueError(f"y is {values[counted][0]} in every row, one value or class: there is nothing to calibrate")
    for fold, (fitted, held) in enumerate(splits):
        for rows, what in ((fitted, "is fitted to"), (held, "holds out")):
            if constant(rows):
                raise ValueError(
                    f"fold {fold} of {len(splits)} {what} rows of one value of y only, {values[rows][0]}: choose fewer "
                    "folds, or pass cv a splitter that spreads the values of y, such as claims, over all folds"
                )


class JSDivergenceCalibrator(MetaEstimatorMixin, BaseEstimator):
    """Choose the strength of a fairness penalty by cross-validation, and fit the model with it.

    For each strength and fold it measures, on the rows held out, the Jensen-Shannon divergence of the predictions
    between the (intersectional) groups and the score; then a rule picks the strength, and the model is fitted to all
    rows.

    Parameters
    ----------
    estimator : estimator
        With a strength-like parameter; also a Pipeline whose last step has one. Estimators (or last steps) that offer
        ``strength_path`` are swept along it, others are refitted.
    strengths : "auto" or sequence of float, default="auto"
        Increasing strengths; 0 is put in front where it is missing, since every rule compares with it. ``"auto"`` looks
        for the range on the first fold: from the smallest strength that changes the divergence to the one where it
        reaches its null level, or stops falling.
    n_strengths : int, default=16
        Number of strengths for ``"auto"``, 0 included.
    rule : {"null_level", "threshold", "elbow", "score_budget"} or callable, default="null_level"
        - ``"null_level"``: smallest strength at which the groups cannot be told from permuted ones: mean divergence at
          most the ``null_quantile`` of its values under permutation.
        - ``"threshold"``: smallest strength with a mean divergence of at most ``max_divergence``.
        - ``"elbow"``: farthest from the chord of the curve of score against divergence, among the strengths that leave
          something explained.
        - ``"score_budget"``: lowest divergence whose mean score is at most ``score_budget`` (a share) below that of
          strength 0.
        - a callable takes ``calibration_results_`` and returns an index.
    max_divergence : float, optional
        For ``rule="threshold"``, in bits.
    score_budget : float, default=0.01
        For ``rule="score_budget"``.
    if_unmet : {"raise", "warn"}, default="raise"
        When no strength meets the rule: a CalibrationError that carries the results, or a warning and the strength with
        the lowest divergence.
    scoring : str, callable or None, default=None
        Scorer; the estimator's own ``score`` for None.
    cv : int, splitter or None, default=None
        Folds. None and whole numbers give shuffled folds stratified by group, 5 for None.
    param_name : str, default="auto"
        Name of the parameter, such as ``"model__strength"``. ``"auto"`` takes ``strength``, of the last step for a
        Pipeline.
    bins : int or dict, optional
        How numeric attributes are cut into groups, see :func:`fairdcov.metrics.js_divergence`.
    min_group_size : int, default=1
        Groups with fewer rows in a fold are left out of the comparison there.
    bandwidth, group_weights
        Options of :func:`fairdcov.metrics.js_divergence`.
    control_bins : int or dict, default=5
        How numbers among the control features of :meth:`fit` are cut into strata of the divergence, in all folds alike.
        A penalty cuts them by its own ``control_bins``.
    n_permutations : int, default=50
        Permutations of the groups, in each fold and at each strength, that give the null level.
    null_quantile : float, default=0.95
        Quantile of the permuted values that is the null level.
    n_seeds : int, default=1
        Fits with different ``random_state`` for each fold, for learners that use one; the results are averaged.
    n_jobs : int, optional
        Folds and seeds at a time, as in joblib.
    random_state : int, RandomState or None, default=0
        Seed of the folds, the permutations and the learners' seeds.
    verbose : int, default=1
        1 shows a progress bar.

    Attributes
    ----------
    best_strength_ : float
        Chosen strength.
    best_index_ : int
        Its position in ``calibration_results_``.
    best_estimator_ : estimator
        Fitted to all rows with that strength, along the path of the smaller ones where there is one.
    calibration_results_ : dict of arrays
        ``strengths`` (m,), ``mean_divergence``, ``std_error_divergence``, ``mean_net_divergence`` (less its mean under
        permuted groups in each fold: about 0 where nothing differs), ``std_error_net_divergence``, ``mean_score``,
        ``std_error_score``, ``mean_gini`` (NaN for targets below 0), ``gini_kept`` (of the one at strength 0),
        ``premium_that_changes`` (absolute changes from strength 0, as a share of its total), ``exposure_that_changes``
        (by over 10 %), ``actual_to_expected`` (m, l) of the ``levels_``, ``mean_explained``
        (by how much the mean score is above that of a constant prediction, the
        mean of y in the rows fitted: of a D^2 score, the share of the deviance that is explained), ``kept`` (the share
        of it that is left of the one at strength 0), ``null_mean``, ``null_level``, ``mean_fit_seconds`` (m,),
        ``fold_divergence`` and ``fold_score`` (m, folds times seeds), ``fold_constant_score`` (folds times seeds,).
        What is explained is NaN where the scorer has no value for constant predictions; what is kept also where
        strength 0 explains nothing.
    candidates_ : DataFrame
        All models that were tried, a row for each strength: ``estimator``, ``strength``, ``rule``, ``score``, ``kept``,
        ``gini_kept``, ``premium_that_changes``, ``divergence``, ``net_divergence``, ``null_level``, standard errors,
        ``seconds`` of a fit and ``chosen``.
    cost_ : DataFrame
        What the chosen strength costs on the rows held out: rows by ``measure`` (the score, ``Gini``, ``divergence``,
        ``premium that changes``, ``exposure that changes by over 10 %``, and ``A/E`` of each level of each protected
        attribute, actual over expected), columns ``no penalty``, ``chosen`` and ``kept``. :meth:`summary` has it in
        words.
    group_labels_ : list of tuple
        Levels of the groups that are compared.
    levels_ : list of tuple
        Protected attribute and level, of each column of ``actual_to_expected``.
    n_splits_ : int
        Number of folds.

    See Also
    --------
    fairdcov.metrics.js_divergence : The divergence.
    fairdcov.plots.CalibrationDisplay : Its picture.
    fairdcov.calibration.search_candidates : The record of what scikit-learn's searches have tried.

    Notes
    -----
    *Which rule for which duty.* ``"null_level"`` where predictions have to be independent of the groups, as far as the
    data can tell: it takes what that costs, which may be nearly all that the model explains. ``"threshold"`` where a
    standard says how large a difference may be. ``"score_budget"`` where the tariff has to stay adequate and the
    difference is to be as small as that allows. ``"elbow"`` where no number is prescribed and both count: it stops
    where more fairness gets dearer. Only ``"score_budget"`` (of less than what the model explains) and ``"elbow"`` keep
    from choosing a model that is no better than a constant; ``"null_level"`` and ``"threshold"`` take one where
    nothing less will do, and a warning says so. Whatever the rule, ``calibration_results_["kept"]`` says what is left
    of the model, and :func:`fairdcov.actuarial.comparison_table` on rows held back what it costs and who pays.

    The divergence of a finite sample is above 0 by chance. A ``max_divergence`` below the null level of a fold asks for
    less than independence itself would give, and is warned about.

    Under metadata routing it consumes ``sensitive_features`` and ``sample_weight`` and hands them on to the estimator
    and the scorer as these ask for them.

    References
    ----------
    H. M. Lee, K. Antonio, B. Avanzi, L. Marchi, R. Zhou (2025), Machine Learning with Multitype Protected Attributes:
    Intersectional Fairness through Regularisation, arXiv 2509.08163.

    Examples
    --------
    >>> from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(4_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> calibrator = JSDivergenceCalibrator(
    ...     DCovPoissonRegressor(alpha=1e-4), strengths=[0, 1, 10, 100], rule="elbow", bins={"age": 3}, verbose=0
    ... )
    >>> calibrator = calibrator.fit(
    ...     X, book.target, sample_weight=book.exposure, sensitive_features=book.sensitive_features
    ... )
    >>> calibrator.best_strength_ in (1, 10, 100)
    True
    >>> calibrator.predict(X).shape
    (4000,)
    """

    __metadata_request__fit = {  # noqa: RUF012
        "sensitive_features": True,
        "control_features": True,
        "sample_weight": True,
    }

    def __init__(
        self,
        estimator: Estimator,
        *,
        strengths: Literal["auto"] | Iterable[float] = "auto",
        n_strengths: int = 16,
        rule: str | Callable[..., Any] = "null_level",
        max_divergence: float | None = None,
        score_budget: float = 0.01,
        if_unmet: Literal["raise", "warn"] = "raise",
        scoring: str | Callable[..., Any] | None = None,
        cv: Any = None,
        param_name: str = "auto",
        bins: Bins | None = None,
        min_group_size: int = 1,
        bandwidth: float | Literal["silverman", "scott"] = "silverman",
        group_weights: GroupWeights = "proportion",
        n_permutations: int = 50,
        null_quantile: float = 0.95,
        n_seeds: int = 1,
        n_jobs: int | None = None,
        random_state: RandomState = 0,
        verbose: int = 1,
        control_bins: Bins = DEFAULT_GROUPS,
    ) -> None:
        self.estimator = estimator
        self.strengths = strengths
        self.n_strengths = n_strengths
        self.rule = rule
        self.max_divergence = max_divergence
        self.score_budget = score_budget
        self.if_unmet = if_unmet
        self.scoring = scoring
        self.cv = cv
        self.param_name = param_name
        self.bins = bins
        self.min_group_size = min_group_size
        self.bandwidth = bandwidth
        self.group_weights = group_weights
        self.n_permutations = n_permutations
        self.null_quantile = null_quantile
        self.n_seeds = n_seeds
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.control_bins = control_bins

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        **fit_params: Any,
    ) -> Self:
        """Sweep the strengths, choose one and fit the model with it to all rows.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        sample_weight : (n,) array, optional
            Row weights, such as exposure: of the divergence, and of the fits and the score where these take them.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d)
            Protected attributes. May be left out when the estimator reads them from X by ``sensitive_columns``.
        control_features : DataFrame, Series or array, (n,) or (n, d), optional
            Legitimate factors. Divergence and null level are then those within their strata, as in
            :func:`fairdcov.metrics.js_divergence`, and an estimator that takes them gets them as well.
        **fit_params
            Further metadata, routed to the estimator, the scorer and the splitter. Without metadata routing ``groups``
            goes to a splitter given as ``cv``, what the last step of a Pipeline takes in ``fit`` to that step, and the
            rest to the estimator's ``fit``. An estimator whose
            ``strength_path`` does not take all of it is refitted at each strength. What ``predict`` of the estimator
            takes as well, such as an ``offset``, is handed to it for the rows held out, and is needed in
            :meth:`predict`.

        Returns
        -------
        self

        Raises
        ------
        CalibrationError
            When no strength meets the rule; its ``calibration_results`` keep what was computed.
        ValueError
            For invalid parameters, a single group, no rows or no y, folds without two groups to compare or with one
            value of y, and input that the estimator refuses.

        Warns
        -----
        CalibrationWarning
            When the model with the chosen strength has no finite score, explains nothing, or less than a fifth of what
            it explains without penalty, and when the largest strength that was tried meets the rule. Also where the
            folds disagree: the model without penalty scores below a constant in some fold, and above in their mean.
        StrengthWarning
            When the grid has strengths beyond the largest that the models can go by, which are left out.
        SensitiveFeaturesWarning
            For groups that are not compared in some fold because they have too few rows there, for a
            ``max_divergence`` below the null level, and with ``strengths="auto"`` for predictions without any
            divergence.
        UserWarning
            When, without metadata routing, ``sample_weight`` does not reach the scorer.
        """
        rule_options = self._check_parameters()
        param_name = self._find_parameter()
        if y is None:
            # scikit-learn's wording, which its estimator checks expect
            raise ValueError("JSDivergenceCalibrator requires y to be passed, but the target y is None")
        # What folds can be taken from: compressed rows of sparse matrices, and arrays of what only says how to be one.
        X, y = (indexable(data)[0] for data in (X, y))
        n_samples = count_rows(X)
        if n_samples == 0:
            raise ValueError("X must have at least one row; found 0")
        sensitive_features = self._find_sensitive_features(X, sensitive_features)
        warn_about_order(
            X=X,
            y=y,
            sample_weight=sample_weight,
            sensitive_features=sensitive_features,
            control_features=control_features,
        )
        check_sensitive_features(sensitive_features, n_samples)
        check_consistent_rows(n_samples, y, "y")
        for name in _PER_ROW & set(fit_params):
            if np.ndim(fit_params[name]):
                # In a fold they would be compared with its rows.
                check_consistent_rows(n_samples, fit_params[name], name)
        weights = None if sample_weight is None else check_sample_weight(sample_weight, n_samples)
        # Edges from all rows, so that every fold compares the same groups.
        attributes = Attributes.read(sensitive_features)
        attributes.warn_of_likely_probabilities()
        bins = attributes.edges(self.bins, weights)
        shares = None
        if attributes.probabilities:
            shares, labels, _ = attributes.memberships(bins, weights)
            # Folds are to mix the groups: the likeliest one of each row will do for that, and for nothing else.
            codes = np.asarray(shares.argmax(axis=1), dtype=np.int64).ravel()
        else:
            codes, labels, _ = attributes.groups(bins, weights)
        if len(labels) < 2:
            raise ValueError(
                f"sensitive_features has a single group, {labels[0]}: there is nothing to calibrate; fit the estimator "
                "with strength 0"
            )
        control = strata = None
        if control_features is not None:
            strata = Strata.read(control_features, n_samples, self.control_bins, weights, reference="X")
            control = Attributes.read(control_features)
        # Before routing, which would use up a generator of splits.
        splitter = None if self._n_folds() else check_cv(self.cv)
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        given = {
            "sensitive_features": attributes,
            "sample_weight": weights,
            "control_features": control,
            **fit_params,
        }
        params, score_params, split_params, predict_params = self._route(scorer, given)
        sweep = Sweep(self.estimator, param_name, params)
        if self.scoring is None:
            score_params = sweep.own_score_params(score_params)
        data = CalibrationData(X, y, attributes, weights, params, score_params, control, predict_params)

        if splitter is None:
            # Folds mix the strata as they mix the groups.
            splits = self._stratified_splits(codes if strata is None else strata.codes * len(labels) + codes)
        else:
            splits = list(splitter.split(X, y, **{name: as_given(value) for name, value in split_params.items()}))
        counted = np.ones(n_samples, dtype=bool) if weights is None else weights > 0
        self._check_groups_in_folds(splits, codes, labels, counted, shares)
        _check_targets_in_folds(splits, y, counted)
        options: dict[str, Any] = {"n_permutations": self.n_permutations}
        options["divergence"] = {
            "bandwidth": self.bandwidth,
            "group_weights": self.group_weights,
            "bins": bins,
            "min_group_size": self.min_group_size,
        }
        if control is not None:
            options["divergence"]["control_bins"] = control.edges(self.control_bins, weights)
        strengths = self._strengths(sweep, data, splits[0], scorer, options)
        found = self._sweep_folds(sweep, data, splits, strengths, scorer, options)
        end = end_of_grid(found)
        if end is not None and end + 1 < len(strengths):
            left_out = ", ".join(f"{strength:g}" for strength in strengths[end + 1 :])
            warnings.warn(
                f"the grid of strengths ends at {strengths[end]:g}: from there on the models of all folds go by a "
                "smaller strength (effective_strength_), since a larger one would outweigh all that they explain. "
                f"Left out: {left_out}",
                StrengthWarning,
                stacklevel=2,
            )
            strengths = strengths[: end + 1]
        results = summarise_folds(strengths, found, self.n_seeds, self.null_quantile)
        self._warn_of_folds(results)
        best, met = self._choose(results, rule_options)
        self._warn_of_choice(results, best, larger_may_help=met and end is None)
        model = sweep.fit_last(X, y, strengths[: best + 1].tolist(), params)

        self.calibration_results_ = results
        self.best_index_ = best
        self.best_strength_ = float(strengths[best])
        self.best_estimator_ = model
        self.scorer_ = scorer
        self.group_labels_ = labels
        self.levels_ = cost_levels([part["cost"] for part in found])
        self.n_splits_ = len(splits)
        for name in ("n_features_in_", "feature_names_in_", "classes_"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        return self

    def _check_parameters(self):
        """Check the parameters that need no data; the options of the rule."""
        if not callable(self.rule):
            check_choice(self.rule, "rule", tuple(RULES))
        check_choice(self.if_unmet, "if_unmet", ("raise", "warn"))
        if self.rule == "threshold":
            if self.max_divergence is None:
                raise ValueError("rule='threshold' needs max_divergence, the largest divergence that is allowed")
            check_positive_number(self.max_divergence, "max_divergence", allow_zero=True)
        check_positive_number(self.score_budget, "score_budget", allow_zero=True)
        if not 0 < self.null_quantile < 1:
            raise ValueError(f"null_quantile must be between 0 and 1; found {self.null_quantile!r}")
        for name, least in (("n_permutations", 1), ("n_seeds", 1), ("n_strengths", 3), ("min_group_size", 1)):
            check_whole_number(getattr(self, name), name, least)
        if self.n_seeds > 1 and self._seed_name() is None:
            raise ValueError(
                f"n_seeds={self.n_seeds} needs an estimator with a random_state; "
                f"{type(self.estimator).__name__} has none"
            )
        if isinstance(self.scoring, list | tuple | set | dict):
            raise ValueError(f"scoring must be one score, which the rules compare; found {self.scoring!r}")
        self._check_strengths()
        return {
            "threshold": {"max_divergence": self.max_divergence},
            "score_budget": {"budget": self.score_budget},
        }.get(self.rule if isinstance(self.rule, str) else None, {})

    def _check_strengths(self):
        if isinstance(self.strengths, str):
            check_choice(self.strengths, "strengths", ("auto",))
            return
        if np.ndim(self.strengths) != 1:
            raise ValueError(f"strengths must be 'auto' or a sequence of numbers; found {self.strengths!r}")
        if (np.diff(check_strengths(self.strengths)) <= 0).any():
            raise ValueError(f"strengths must increase; found {list(self.strengths)}: sort them, without repetition")

    def _final_estimator(self):
        return self.estimator.steps[-1] if isinstance(self.estimator, Pipeline) else ("", self.estimator)

    def _find_parameter(self):
        known = self.estimator.get_params()
        name = self.param_name
        if name == "auto":
            step, _ = self._final_estimator()
            name = f"{step}__strength" if step else "strength"
            if name not in known and hasattr(self.estimator, "strength_path") and "estimator__strength" in known:
                name = "estimator__strength"
        if name not in known:
            near = sorted(key for key in known if key.endswith("__strength"))
            raise ValueError(
                f"the estimator {type(self.estimator).__name__} has no parameter {name!r}: set param_name to its "
                "strength-like parameter, for a step of a Pipeline as 'step__strength'"
                + (f"; there is {near[0]!r}" if near else "")
            )
        return name

    def _seed_name(self):
        step, final = self._final_estimator()
        return (f"{step}__random_state" if step else "random_state") if "random_state" in final.get_params() else None

    def _sensitive_columns(self):
        """Columns of X that the estimator, or an estimator within it, reads its protected attributes from."""
        for name, value in self.estimator.get_params().items():
            if name.rpartition("__")[2] == "sensitive_columns" and value is not None:
                return [value] if isinstance(value, str) else list(value)
        return None

    def _find_sensitive_features(self, X, sensitive_features):
        if sensitive_features is not None:
            return sensitive_features
        columns = self._sensitive_columns()
        # A position is one among the features of the last step, which are others than those of X.
        named = columns is not None and all(isinstance(column, str) for column in columns)
        if columns is not None and (named or not isinstance(self.estimator, Pipeline)):
            return read_sensitive_columns(X, None, columns)[1]
        raise MissingSensitiveFeaturesError(
            "JSDivergenceCalibrator needs sensitive_features to form groups: pass fit(..., sensitive_features=S)"
        )

    # -- routing ------------------------------------------------------------------------------------------------------

    def _route(self, scorer, given):
        """Metadata for fit, score, split and predict."""
        given = {name: value for name, value in given.items() if value is not None}
        for_fit = given
        if self._sensitive_columns() is not None:
            # The estimator reads them from X, and would refuse to get them twice.
            for_fit = {name: value for name, value in given.items() if name != "sensitive_features"}
        if sklearn.get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **given)
            own = routed if for_fit is given else process_routing(self, "fit", **for_fit)
            predict_params = dict(own["estimator"]["predict"])
            score_params = _without(dict(routed["scorer"]["score"]), predict_params)
            return dict(own["estimator"]["fit"]), score_params, dict(routed["splitter"]["split"]), predict_params
        step, final = self._final_estimator()
        prefix = f"{step}__" if step else ""
        predict_params = {name: given[name] for name in _taken_in_predict(final) if name in given}
        # Beside them what the last step of a Pipeline takes by name; the rest goes to ``fit`` as it is.
        own = [name for name in for_fit if step and has_fit_parameter(final, name)]
        per_row = {"sensitive_features", "sample_weight", "control_features", *predict_params, *own}
        params = {name: value for name, value in for_fit.items() if name not in per_row}
        for name in per_row:
            if name in for_fit and _takes_in_fit(final, name):
                params[prefix + name] = for_fit[name]
        if step and "sensitive_features" in for_fit:
            # Steps before the last that learn from the attributes; weights go to the last one only.
            for name, transformer in self.estimator.steps[:-1]:
                if has_fit_parameter(transformer, "sensitive_features"):
                    params[f"{name}__sensitive_features"] = for_fit["sensitive_features"]
        split_params = {}
        if not self._n_folds() and "groups" in params:
            split_params["groups"] = params.pop("groups")
        if self.scoring is None:
            accepted = inspect.signature(self.estimator.score).parameters
            score_params = {name: given[name] for name in ("sample_weight",) if name in given and name in accepted}
        else:
            names = get_routing_for_object(scorer).consumes("score", given.keys())
            score_params = _without({name: given[name] for name in names}, predict_params)
        if "sample_weight" in given and "sample_weight" not in score_params:
            warnings.warn(
                f"the score is not weighted by sample_weight, the divergence is: without metadata routing {scorer!r} "
                "does not get it; take a scorer of fairdcov.metrics (such as make_weighted_scorer) or turn routing on",
                UserWarning,
                stacklevel=3,
            )
        return params, score_params, split_params, predict_params

    # -- folds --------------------------------------------------------------------------------------------------------

    def _n_folds(self):
        """Number of stratified folds; None when ``cv`` is a splitter."""
        n_folds = 5 if self.cv is None else self.cv
        return n_folds if isinstance(n_folds, numbers.Integral) else None

    def _stratified_splits(self, codes):
        n_folds = self._n_folds()
        if n_folds < 2 or n_folds > len(codes):
            raise ValueError(f"cv must be between 2 and the number of rows, {len(codes)}; found {n_folds}")
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            # Groups too small to stratify share one stratum.
            strata = np.where(np.isin(codes, np.flatnonzero(np.bincount(codes) < n_folds)), -1, codes)
            if Counter(strata.tolist()).most_common()[0][1] < n_folds:
                strata = np.zeros_like(codes)
            return list(folds.split(np.zeros(len(codes)), strata))

    def _check_groups_in_folds(self, splits, codes, labels, counted, shares):
        """Name the groups that are not compared in some fold; raise where a fold has nothing to compare."""
        if not splits:
            raise ValueError("cv gives no split")
        held_out = [np.asarray(test)[counted[test]] for _, test in splits]
        if shares is None:
            counts = np.array([np.bincount(codes[rows], minlength=len(labels)) for rows in held_out])
        else:
            counts = np.array([np.ceil(shares[rows].sum(axis=0)) for rows in held_out])
        compared = counts >= self.min_group_size
        empty = np.flatnonzero(compared.sum(axis=1) < 2)
        if len(empty):
            raise ValueError(
                f"{len(empty)} of {len(splits)} folds hold out fewer than two groups of at least "
                f"min_group_size={self.min_group_size} rows, the first of them fold {empty[0]}, where nothing can be "
                "compared: choose folds that mix the groups (such as cv=5), coarser bins or a smaller min_group_size"
            )
        missing = (~compared).sum(axis=0)
        small = np.flatnonzero(missing)
        if len(small):
            warnings.warn(
                f"{len(small)} group(s) have fewer than min_group_size={self.min_group_size} rows in some of the "
                f"{len(splits)} folds and are not compared there (group: number of such folds): "
                f"{describe_groups([labels[k] for k in small], missing[small])}; set coarser bins or fewer folds",
                SensitiveFeaturesWarning,
                stacklevel=3,
            )

    def _strengths(self, sweep, data, split, scorer, options):
        if not isinstance(self.strengths, str):
            values = np.array(self.strengths, dtype=np.float64)
            return values if values[0] == 0 else np.append(0.0, values)

        unpenalised = None

        def measure(strengths):
            nonlocal unpenalised
            found = measure_fold(sweep, data, split, strengths, scorer, seed=self.random_state, **options)
            divergence, level = found["divergence"], np.quantile(found["permuted"], self.null_quantile, axis=1)
            unpenalised = divergence[0], level[0]
            return divergence, level

        found = find_range(measure)
        if found is None:
            divergence, level = unpenalised
            reason = "found no divergence at strength 0, where the predictions of the first fold are constant"
            if divergence > 0:
                reason = (
                    f"found no strength that changes the divergence of the first fold, {divergence:.4g}, which is not "
                    f"above its null level of {level:.4g} as it is"
                )
            warnings.warn(
                f"strengths='auto' {reason}: only strength 0 is measured; check the features, or pass strengths",
                SensitiveFeaturesWarning,
                stacklevel=3,
            )
            return np.zeros(1)
        return np.append(0.0, np.geomspace(*found, self.n_strengths - 1))

    def _sweep_folds(self, sweep, data, splits, strengths, scorer, options):
        """What ``measure_fold`` finds in each fold and, within it, for each seed of the learner."""
        generator = check_random_state(self.random_state)
        tasks = []
        for split in splits:
            # One for the permutations of a fold, which its learners share.
            seed, *learner_seeds = generator.randint(np.iinfo(np.int32).max, size=1 + self.n_seeds).tolist()
            for learner_seed in learner_seeds:
                fold_sweep = sweep
                if self.n_seeds > 1:
                    learner = clone(self.estimator).set_params(**{self._seed_name(): learner_seed})
                    fold_sweep = sweep.with_estimator(learner, data.fit_params)
                tasks.append(((fold_sweep, data, split, strengths.tolist(), scorer), {"seed": seed, **options}))
        sequential = self.n_jobs in (None, 1)
        total = len(tasks) * (len(strengths) if sequential else 1)
        unit = "fit" if sequential else "fold"
        found = []
        with tqdm(total=total, desc="calibrating", unit=unit, disable=not self.verbose, leave=False) as bar:
            if sequential:
                return [measure_fold(*task, report=bar.update, **named) for task, named in tasks]
            workers = Parallel(n_jobs=self.n_jobs, return_as="generator")
            for result in workers(delayed(measure_fold)(*task, **named) for task, named in tasks):
                found.append(result)
                bar.update()
        return found

    def _choose(self, results, options):
        """Index of the strength that the rule chooses, and whether the rule is met."""
        if self.rule == "threshold" and self.max_divergence < results["null_mean"].min():
            warnings.warn(
                f"max_divergence={self.max_divergence:g} is below the mean divergence under permuted groups, "
                f"{results['null_mean'].min():.4g}: independent predictions would not meet it; use rule='null_level', "
                "coarser groups or more rows",
                SensitiveFeaturesWarning,
                stacklevel=3,
            )
        try:
            return apply_rule(self.rule, results, **options), True
        except CalibrationError as error:
            if self.if_unmet == "raise":
                error.add_note("what was measured is kept in calibration_results of this error")
                raise
            warnings.warn(str(error), SensitiveFeaturesWarning, stacklevel=3)
            return error.best_index, False

    def _warn_of_folds(self, results):
        """Warn of folds where the unpenalised model is worse than a constant, although it explains something in all."""
        scores, constants = results["fold_score"][0], results["fold_constant_score"]
        # Scores of a constant that are not known (NaN) are no measure of anything.
        worse = np.flatnonzero(scores < constants)
        if len(worse) == 0 or not results["mean_explained"][0] > 0:
            return
        # A fold has a score for each seed of the learner.
        named = [
            f"fold {k // self.n_seeds}{f' seed {k % self.n_seeds}' if self.n_seeds > 1 else ''} ({scores[k]:.4g}, "
            f"{constants[k]:.4g} for a constant)"
            for k in worse[:_MOST_FOLDS_NAMED]
        ]
        if len(worse) > len(named):
            named.append(f"{len(worse) - len(named)} more")
        _warn(
            f"the folds disagree: without penalty the score is below that of a constant prediction in {len(worse)} of "
            f"{len(scores)}, {', '.join(named)}; mean score {results['mean_score'][0]:.4g}, standard error "
            f"{results['std_error_score'][0]:.2g}. Look for levels of factors without claims in the rows that such a "
            "fold is fitted to, which a GLM with log link prices next to 0: merge them with others, or raise alpha"
        )

    def _warn_of_choice(self, results, best, *, larger_may_help):
        """Warn of a choice that explains little or nothing, or that the end of the grid has made."""
        strength, score, constant = results["strengths"][best], results["mean_score"], results["fold_constant_score"]
        explained, kept = results["mean_explained"], results["kept"][best]
        said = f"mean score {score[best]:.4g} on the rows held out, {constant.mean():.4g} for a constant prediction"
        if not np.isfinite(score[best]):
            _warn(f"the chosen strength, {strength:g}, has no finite score in some fold: what it keeps is not known")
        elif explained[0] <= 0:
            _warn(
                f"the model without penalty explains nothing: its score is {score[0]:.4g} on the rows held out, "
                f"{constant.mean():.4g} for a constant prediction. There is nothing that a penalty could keep"
            )
        elif explained[best] <= 0:
            _warn(
                f"the model with the chosen strength, {strength:g}, explains nothing: {said}. Smaller strengths keep "
                "more, see their table"
            )
        elif kept < _LEAST_KEPT:
            _warn(
                f"the chosen strength, {strength:g}, keeps {kept:.0%} of what the model without penalty explains: "
                f"{said}, {score[0]:.4g} at strength 0. Smaller strengths keep more, see their table"
            )
        # A rule that is not met has said already that larger strengths may be needed; models that go by no larger one
        # have no use for them.
        if larger_may_help and 0 < best == len(score) - 1:
            _warn(
                f"the chosen strength, {strength:g}, is the largest that was tried: a larger one may suit the rule as "
                "well or better, try some"
            )

    @property
    def candidates_(self) -> Any:
        """All models that were tried, made of ``calibration_results_`` when it is asked for."""
        check_is_fitted(self, "calibration_results_")
        return calibration_candidates(self)

    @property
    def cost_(self) -> Any:
        """What the chosen strength costs, made of ``calibration_results_`` when it is asked for."""
        check_is_fitted(self, "calibration_results_")
        return cost_table(self.calibration_results_, self.levels_, self.best_index_, "score")

    def summary(self) -> str:
        """What was chosen, and what that costs on the rows held out, in words.

        Returns
        -------
        str
        """
        check_is_fitted(self, "calibration_results_")
        results, best = self.calibration_results_, self.best_index_
        rule = self.rule if isinstance(self.rule, str) else getattr(self.rule, "__name__", repr(self.rule))
        first = (
            f"strength {self.best_strength_:g} by rule {rule}, of {len(results['strengths'])}: divergence "
            f"{results['mean_divergence'][0]:.4g} -> {results['mean_divergence'][best]:.4g} (null level "
            f"{results['null_level'][best]:.4g})"
        )
        return "\n".join([first, *cost_lines(self.cost_)])

    # -- the fitted model ---------------------------------------------------------------------------------------------

    @available_if(_fitted_has("predict"))
    def predict(self, X, **params):
        """Prediction of the chosen model; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the model predicts with, such as ``offset``.

        Returns
        -------
        (n,) array
        """
        return self._predict("predict", X, params)

    @available_if(_fitted_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Class probabilities of the chosen model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the model predicts with, such as ``offset``.

        Returns
        -------
        (n, 2) array
        """
        return self._predict("predict_proba", X, params)

    @available_if(_fitted_has("decision_function"))
    def decision_function(self, X, **params):
        """Decision function of the chosen model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the model predicts with, such as ``offset``.

        Returns
        -------
        (n,) array
        """
        return self._predict("decision_function", X, params)

    def _predict(self, method, X, params):
        check_is_fitted(self, "best_estimator_")
        if params and sklearn.get_config()["enable_metadata_routing"]:
            params = process_routing(self, method, **params)["estimator"][method]
        return getattr(self.best_estimator_, method)(X, **params)

    def score(self, X: Table, y: ArrayLike, **params: Any) -> float:
        """Score of the chosen model by the scorer that was used to choose it.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        **params
            Metadata of the scorer, such as ``sample_weight``.

        Returns
        -------
        float
        """
        check_is_fitted(self, "best_estimator_")
        if sklearn.get_config()["enable_metadata_routing"]:
            params = process_routing(self, "score", **params).scorer.score if params else {}
        return self.scorer_(self.best_estimator_, X, y, **params)

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata that the calibrator consumes, and hands on to estimator, scorer and splitter.

        Returns
        -------
        MetadataRouter
        """
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        splitter = check_cv(5 if self.cv is None else self.cv)
        methods = MethodMapping().add(caller="fit", callee="fit").add(caller="fit", callee="predict")
        for method in ("predict", "predict_proba", "decision_function"):
            methods.add(caller=method, callee=method)
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=methods)
            .add(
                scorer=scorer,
                method_mapping=MethodMapping().add(caller="fit", callee="score").add(caller="score", callee="score"),
            )
            .add(splitter=splitter, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.input_tags.sparse = inner.input_tags.sparse
        return tags
