"""The meta-estimator: the story of a calibration, from what is given to the model that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, Self

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from fairdcov._checks import Bins, Estimator, GroupWeights, RandomState, Table
from fairdcov.calibration._cost import cost_levels
from fairdcov.calibration._data import CalibrationData
from fairdcov.calibration._fitted import FittedCalibration
from fairdcov.calibration._folds import make_splits
from fairdcov.calibration._frontier import check_reference, gap_of_choice, predict_references
from fairdcov.calibration._measurements import end_of_grid, measure_fold, measure_folds, summarise_folds
from fairdcov.calibration._parameters import check_parameters, find_parameter, number_of_folds
from fairdcov.calibration._reading import read_input
from fairdcov.calibration._remarks import warn_of_choice, warn_of_end, warn_of_folds, warn_of_limit
from fairdcov.calibration._routing import route_metadata
from fairdcov.calibration._rules import choose
from fairdcov.calibration._strengths import strengths_to_measure
from fairdcov.calibration._sweep import Sweep
from fairdcov.encoding import DEFAULT_GROUPS

__all__ = ["JSDivergenceCalibrator"]


class JSDivergenceCalibrator(FittedCalibration, MetaEstimatorMixin, BaseEstimator):
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
    cv : int, splitter, iterable of (rows to fit, rows held out) or None, default=None
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
    reference : FairBarycentreRegressor, optional
        Compares the choice with the best that parity allows, see ``frontier_gap_``. Its ``loss`` is that of the
        estimator; ``aware``, ``strength`` and columns of X with the names of attributes are not looked at. It costs, in
        each fold, two fits of its regressor, one of its classifier and two paths of eight strengths: far more than the
        path of a GLM.

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
    frontier_gap_ : FrontierGap or None
        With a ``reference``: :func:`fairdcov.frontier_gap` of the chosen strength, of all rows together, each predicted
        once by models and references of a fold that have not seen it. :meth:`summary` and ``cost_`` have it as well.
    levels_ : list of tuple
        Protected attribute and level, of each column of ``actual_to_expected``.
    n_splits_ : int
        Number of folds.
    score_name_ : str
        Name of the score: of what the estimator scores by, or the text given as ``scoring``.

    See Also
    --------
    fairdcov.metrics.js_divergence : The divergence.
    fairdcov.FairBarycentreRegressor : References for the distance to the best that parity allows.
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
        reference: Estimator = None,
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
        self.reference = reference

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
        TypeError
            For a ``reference`` that is none, or that the attributes do not suit, such as probabilities.
        ValueError
            For invalid parameters, a reference of another loss or that cannot be fitted in some fold, a single group,
            no rows or no y, folds without two groups to compare or with one value of y, and input that the estimator
            refuses.

        Warns
        -----
        CalibrationWarning
            When the model with the chosen strength has no finite score, explains nothing, or less than a fifth of what
            it explains without penalty, when the largest strength that was tried meets the rule, and when
            ``rule="elbow"`` finds none. Also for folds that hold out rows that they are fitted to, and where the folds
            disagree: the model without penalty scores below a constant in some fold, and above in their mean.
        StrengthWarning
            When the grid has strengths beyond the largest that the models can go by, which are left out.
        SensitiveFeaturesWarning
            For groups that are not compared in some fold because they have too few rows there, for a
            ``max_divergence`` below the null level, and with ``strengths="auto"`` for predictions without any
            divergence.
        UserWarning
            When, without metadata routing, ``sample_weight`` does not reach the scorer.
        """
        rule_options = check_parameters(self)
        param_name = find_parameter(self.estimator, self.param_name)
        X, y, groups, weights = read_input(self, X, y, sample_weight, sensitive_features, control_features, fit_params)
        # Before routing, which would use up a generator of splits.
        splitter = None if number_of_folds(self.cv) else check_cv(self.cv)
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        given = {
            "sensitive_features": groups.attributes,
            "sample_weight": weights,
            "control_features": groups.control,
            **fit_params,
        }
        metadata = route_metadata(self, scorer, given)
        check_reference(self, metadata)
        sweep = Sweep(self.estimator, param_name, metadata.fit)
        score_params = sweep.own_score_params(metadata.score) if self.scoring is None else metadata.score
        routed = (metadata.fit, score_params, groups.control, metadata.predict)
        data = CalibrationData(X, y, groups.attributes, weights, *routed)
        splits = make_splits(self, splitter, data, groups, metadata.split)
        options: dict[str, Any] = {
            "n_permutations": self.n_permutations,
            "divergence": groups.divergence_options(
                bandwidth=self.bandwidth, group_weights=self.group_weights, min_group_size=self.min_group_size
            ),
        }

        references = predict_references(self, data, splits)
        measure = partial(measure_fold, sweep, data, splits[0], scorer=scorer, seed=self.random_state, **options)
        strengths = strengths_to_measure(self.strengths, self.n_strengths, self.null_quantile, measure)
        found = measure_folds(self, sweep, data, splits, strengths, scorer, options, keep_predictions=bool(references))
        end = end_of_grid(found)
        if end is not None and end + 1 < len(strengths):
            warn_of_end(strengths, end)
            strengths = strengths[: end + 1]
        results = summarise_folds(strengths, found, self.n_seeds, self.null_quantile)
        warn_of_folds(results, self.n_seeds)

        if self.rule == "threshold":
            warn_of_limit(results, self.max_divergence)
        best, met = choose(self.rule, results, self.if_unmet, **rule_options)
        warn_of_choice(results, best, larger_may_help=met and end is None)
        model = sweep.fit_last(X, y, strengths[: best + 1].tolist(), metadata.fit)
        gap = gap_of_choice(self, model, data, splits, references, found, best, options["divergence"])

        self.calibration_results_ = results
        self.best_index_ = best
        self.best_strength_ = float(strengths[best])
        self.best_estimator_ = model
        self.scorer_ = scorer
        self.group_labels_ = groups.labels
        self.frontier_gap_ = gap
        self.levels_ = cost_levels([part["cost"] for part in found])
        self.n_splits_ = len(splits)
        for name in ("n_features_in_", "feature_names_in_", "classes_"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        return self

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
