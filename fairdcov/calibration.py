"""Choose the strength of a penalty by how far the predictions' distributions differ between groups.

A meta-estimator that sweeps the strength in cross-validation, measures the Jensen-Shannon divergence between
intersectional groups and the score on the rows held out, and picks by a rule that can be defended. It knows no
estimator of this package: anything with a strength-like parameter will do, and what offers ``strength_path`` is swept
along its path.
"""

import inspect
import numbers
import time
import warnings
from collections import Counter
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import numpy as np
import scipy.sparse as sp
import sklearn
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, get_routing_for_object, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from tqdm import tqdm

from fairdcov._validation import check_choice, check_consistent_rows, check_positive_number, check_sample_weight
from fairdcov.encoding import check_sensitive_features
from fairdcov.exceptions import CalibrationError, MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.metrics import js_divergence, null_distribution
from fairdcov.metrics._groups import fixed_bins, make_groups

__all__ = ["JSDivergenceCalibrator"]

RULES = ("null_level", "threshold", "elbow", "score_budget")
# Decades tried on each side of 1 when the range of strengths is looked for.
_MOST_DECADES = 8
# A divergence within this share of the one at strength 0 counts as unchanged.
_UNCHANGED = 0.03


# ---------------------------------------------------------------------------------------------------------------------
# Rows and paths
# ---------------------------------------------------------------------------------------------------------------------


def take_rows(data, rows):
    """Rows of a frame, matrix, vector or list by position, in the type they came in."""
    frame = nw.from_native(data, eager_only=True, allow_series=True, pass_through=True)
    if isinstance(frame, nw.Series):
        return frame[rows].to_native()
    if isinstance(frame, nw.DataFrame):
        return frame[rows, :].to_native()
    return data[rows] if sp.issparse(data) else np.asarray(data)[rows]


def _take_metadata(params, rows, n_samples):
    """Metadata of some rows; what is not one value per row goes through as it is."""
    return {
        name: take_rows(value, rows) if hasattr(value, "__len__") and len(value) == n_samples else value
        for name, value in params.items()
    }


def _n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


def _consumed(consumer, method, params):
    """The metadata that an object asks for."""
    names = get_routing_for_object(consumer).consumes(method, params.keys())
    return {name: params[name] for name in names}


class _Sweep:
    """Fits one estimator at many strengths; preprocessing and whatever else does not depend on them is done once.

    ``models(...)`` yields fitted models that take features prepared by ``prepare``.
    """

    def __init__(self, estimator, param_name):
        self.estimator = estimator
        self.param_name = param_name
        self._head = None
        owner, _, name = param_name.rpartition("__")
        self._last = None
        if name != "strength":
            return
        if not owner and hasattr(estimator, "strength_path"):
            self._last = estimator
        elif isinstance(estimator, Pipeline) and owner == estimator.steps[-1][0]:
            self._last = estimator[-1] if hasattr(estimator[-1], "strength_path") else None
            if self._last is not None and len(estimator.steps) > 1:
                self._head = clone(estimator[:-1])

    def models(self, X, y, strengths, params):
        if self._last is None:
            for strength in strengths:
                yield clone(self.estimator).set_params(**{self.param_name: strength}).fit(X, y, **params)
            return
        own, head = params, {}
        if isinstance(self.estimator, Pipeline):
            if sklearn.get_config()["enable_metadata_routing"]:
                own = _consumed(self._last, "fit", params)
                head = {} if self._head is None else _consumed(self._head, "fit_transform", params)
            else:
                prefix = self.estimator.steps[-1][0] + "__"
                own = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
                head = {name: value for name, value in params.items() if not name.startswith(prefix)}
        if self._head is not None:
            X = self._head.fit_transform(X, y, **head)
        yield from clone(self._last).strength_path(X, y, strengths, **own)

    def fit_last(self, X, y, strengths, params):
        """The whole estimator at the last of the strengths, reached by the same path as in the folds.

        The penalised objective is not convex: a fit from cold may end elsewhere than the models that were measured.
        """
        if self._last is None:
            strengths = strengths[-1:]
        *_, model = self.models(X, y, strengths, params)
        if self._last is None or not isinstance(self.estimator, Pipeline):
            return model
        head = [] if self._head is None else self._head.steps
        return clone(self.estimator).set_params(steps=[*head, (self.estimator.steps[-1][0], model)])

    def prepare(self, X):
        """Features as the models take them; after the first model has been made."""
        return X if self._head is None else self._head.transform(X)


def _response(model, X):
    """Prediction whose distribution is compared: the probability of the second class, or the prediction."""
    return model.predict_proba(X)[:, 1] if is_classifier(model) else model.predict(X)


@dataclass(frozen=True)
class _Data:
    X: object
    y: object
    sensitive_features: object
    sample_weight: object
    fit_params: dict
    score_params: dict

    @property
    def n_samples(self):
        return _n_rows(self.X)

    def part(self, rows):
        n = self.n_samples
        return _Data(
            take_rows(self.X, rows),
            take_rows(self.y, rows),
            take_rows(self.sensitive_features, rows),
            None if self.sample_weight is None else np.asarray(self.sample_weight)[rows],
            _take_metadata(self.fit_params, rows, n),
            _take_metadata(self.score_params, rows, n),
        )


def _measure_fold(sweep, data, train, test, strengths, scorer, n_permutations, divergence, seed, report=None):
    """Divergence, its values under permuted groups, score and seconds for each strength, on the rows held out."""
    fitted, held = data.part(train), data.part(test)
    generator = check_random_state(seed)
    rows, prepared = [], None
    start = time.perf_counter()
    with warnings.catch_warnings():
        # Groups too small to compare have been reported for the whole sample.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        for model in sweep.models(fitted.X, fitted.y, strengths, fitted.fit_params):
            seconds = time.perf_counter() - start
            if prepared is None:
                prepared = sweep.prepare(held.X)
            null = null_distribution(
                js_divergence,
                held.y if not is_classifier(model) else None,
                _response(model, prepared),
                sensitive_features=held.sensitive_features,
                sample_weight=held.sample_weight,
                n_permutations=n_permutations,
                random_state=generator,
                **divergence,
            )
            rows.append((null.observed, null.values, scorer(model, prepared, held.y, **held.score_params), seconds))
            if report is not None:
                report()
            start = time.perf_counter()
    observed, permuted, scores, seconds = zip(*rows, strict=True)
    return np.array(observed), np.array(permuted), np.array(scores, dtype=float), np.array(seconds)


# ---------------------------------------------------------------------------------------------------------------------
# Rules: calibration results -> index of the chosen strength
# ---------------------------------------------------------------------------------------------------------------------


def _first_at_most(results, limit, what):
    """Smallest strength whose mean divergence is at most the limit (one for each strength)."""
    divergence = results["mean_divergence"]
    met = np.flatnonzero(divergence <= limit)
    if len(met):
        return int(met[0])
    best = int(np.argmin(divergence))
    raise CalibrationError(
        f"no strength brings the mean divergence down to {what}: the lowest reached is {divergence[best]:.4g} "
        f"(standard error {results['std_error_divergence'][best]:.2g}) at strength {results['strengths'][best]:g}. "
        "Allow more, try larger strengths, or see calibration_results on this error",
        results,
        best,
    )


def _rule_null_level(results, _options):
    return _first_at_most(results, results["null_level"], "its null level (the one under permuted groups)")


def _rule_threshold(results, options):
    limit = options["max_divergence"]
    return _first_at_most(results, limit, f"max_divergence={limit:g}")


def _rule_elbow(results, _options):
    """Farthest from the chord between the ends of the curve of score against divergence, both scaled to [0, 1].

    The plane has no axis of strengths, so it does not matter whether they are spaced evenly or by factors.
    """
    divergence, score = results["mean_divergence"], results["mean_score"]
    last = int(np.argmin(divergence))
    gain = (divergence[0] - divergence[: last + 1]) / max(divergence[0] - divergence[last], np.finfo(float).tiny)
    loss = score[0] - score[: last + 1]
    cost = loss / loss[last] if loss[last] > 0 else np.zeros(last + 1)
    if last == 0:
        raise CalibrationError(
            "rule='elbow' needs a strength that lowers the divergence: the lowest is at strength "
            f"{results['strengths'][0]:g} ({divergence[0]:.4g})",
            results,
            0,
        )
    return int(np.argmax(gain - cost))


def _rule_score_budget(results, options):
    """Lowest divergence among the strengths whose score is within the budget of the first one's."""
    score = results["mean_score"]
    lowest = score[0] - options["score_budget"] * abs(score[0])
    allowed = np.flatnonzero(score >= lowest)
    return int(allowed[np.argmin(results["mean_divergence"][allowed])])


_RULES = {
    "null_level": _rule_null_level,
    "threshold": _rule_threshold,
    "elbow": _rule_elbow,
    "score_budget": _rule_score_budget,
}


def _fitted_has(attribute):
    """Whether the estimator in charge has a method, for ``available_if``."""

    def check(self):
        getattr(self.best_estimator_ if hasattr(self, "best_estimator_") else self.estimator, attribute)
        return True

    return check


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
        - ``"elbow"``: farthest from the chord of the curve of score against divergence.
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
        ``strengths`` (m,), ``mean_divergence``, ``std_error_divergence``, ``mean_score``, ``std_error_score``,
        ``null_mean``, ``null_level``, ``mean_fit_seconds`` (m,), ``fold_divergence`` and ``fold_score`` (m, folds times
        seeds).
    group_labels_ : list of tuple
        Levels of the groups that are compared.
    n_splits_ : int
        Number of folds.

    See Also
    --------
    fairdcov.metrics.js_divergence : The divergence.
    fairdcov.plots.CalibrationDisplay : Its picture.

    Notes
    -----
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

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012

    def __init__(
        self,
        estimator,
        *,
        strengths="auto",
        n_strengths=16,
        rule="null_level",
        max_divergence=None,
        score_budget=0.01,
        if_unmet="raise",
        scoring=None,
        cv=None,
        param_name="auto",
        bins=None,
        min_group_size=1,
        bandwidth="silverman",
        group_weights="proportion",
        n_permutations=50,
        null_quantile=0.95,
        n_seeds=1,
        n_jobs=None,
        random_state=0,
        verbose=1,
    ):
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

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None, **fit_params):
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
        **fit_params
            Further metadata, routed to the estimator, the scorer and the splitter; without metadata routing they are
            passed to the estimator.

        Returns
        -------
        self

        Raises
        ------
        CalibrationError
            When no strength meets the rule; its ``calibration_results`` keep what was computed.
        ValueError
            For invalid parameters, a single group, and input that the estimator refuses.

        Warns
        -----
        SensitiveFeaturesWarning
            For groups with fewer rows than folds, and for a ``max_divergence`` below the null level.
        """
        options = self._check_parameters()
        param_name = self._find_parameter()
        sensitive_features = self._find_sensitive_features(X, sensitive_features)
        n_samples = _n_rows(X)
        check_sensitive_features(sensitive_features, n_samples)
        check_consistent_rows(n_samples, y, "y")
        weights = None if sample_weight is None else check_sample_weight(sample_weight, n_samples)
        # Edges from all rows, so that every fold compares the same groups.
        bins = fixed_bins(sensitive_features, self.bins, weights)
        codes, labels, _ = make_groups(sensitive_features, bins)
        if len(labels) < 2:
            raise ValueError(
                f"sensitive_features has a single group, {labels[0]}: there is nothing to calibrate; fit the estimator "
                "with strength 0"
            )
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        given = {"sensitive_features": sensitive_features, "sample_weight": weights, **fit_params}
        params, score_params, split_params = self._route(scorer, given)
        data = _Data(X, y, sensitive_features, weights, params, score_params)

        splits = self._split(X, y, codes, labels, split_params)
        sweep = _Sweep(self.estimator, param_name)
        divergence = {
            "bandwidth": self.bandwidth,
            "group_weights": self.group_weights,
            "bins": bins,
            "min_group_size": self.min_group_size,
        }
        strengths = self._strengths(sweep, data, splits[0], scorer, divergence)
        results = self._sweep_folds(sweep, data, splits, strengths, scorer, divergence)
        best = self._choose(results, options)
        model = sweep.fit_last(X, y, strengths[: best + 1].tolist(), params)

        self.calibration_results_ = results
        self.best_index_ = best
        self.best_strength_ = float(strengths[best])
        self.best_estimator_ = model
        self.scorer_ = scorer
        self.group_labels_ = labels
        self.n_splits_ = len(splits)
        for name in ("n_features_in_", "feature_names_in_", "classes_"):
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        return self

    def _check_parameters(self):
        if not callable(self.rule):
            check_choice(self.rule, "rule", RULES)
        check_choice(self.if_unmet, "if_unmet", ("raise", "warn"))
        if self.rule == "threshold":
            if self.max_divergence is None:
                raise ValueError("rule='threshold' needs max_divergence, the largest divergence that is allowed")
            check_positive_number(self.max_divergence, "max_divergence", allow_zero=True)
        check_positive_number(self.score_budget, "score_budget", allow_zero=True)
        if not 0 < self.null_quantile < 1:
            raise ValueError(f"null_quantile must be between 0 and 1; found {self.null_quantile!r}")
        for name, least in (("n_permutations", 1), ("n_seeds", 1), ("n_strengths", 3)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
                raise ValueError(f"{name} must be a whole number >= {least}; found {value!r}")
        if self.n_seeds > 1 and self._seed_name() is None:
            raise ValueError(
                f"n_seeds={self.n_seeds} needs an estimator with a random_state; "
                f"{type(self.estimator).__name__} has none"
            )
        if not isinstance(self.strengths, str):
            values = [check_positive_number(value, "strengths", allow_zero=True) for value in self.strengths]
            if not values:
                raise ValueError("strengths must have at least one value; found none")
            if (np.diff(values) <= 0).any():
                raise ValueError(
                    f"strengths must increase; found {list(self.strengths)}: sort them, without repetition"
                )
        else:
            check_choice(self.strengths, "strengths", ("auto",))
        return {"max_divergence": self.max_divergence, "score_budget": self.score_budget}

    def _final_estimator(self):
        return self.estimator.steps[-1] if isinstance(self.estimator, Pipeline) else ("", self.estimator)

    def _find_parameter(self):
        known = self.estimator.get_params()
        name = self.param_name
        if name == "auto":
            step, _ = self._final_estimator()
            name = f"{step}__strength" if step else "strength"
        if name not in known:
            raise ValueError(
                f"the estimator {type(self.estimator).__name__} has no parameter {name!r}: set param_name to its "
                "strength-like parameter, for a step of a Pipeline as 'step__strength'"
            )
        return name

    def _seed_name(self):
        step, final = self._final_estimator()
        return (f"{step}__random_state" if step else "random_state") if "random_state" in final.get_params() else None

    def _find_sensitive_features(self, X, sensitive_features):
        if sensitive_features is not None:
            return sensitive_features
        columns = getattr(self._final_estimator()[1], "sensitive_columns", None)
        frame = nw.from_native(X, eager_only=True, pass_through=True)
        if columns is not None and isinstance(frame, nw.DataFrame):
            return frame.select([columns] if isinstance(columns, str) else list(columns)).to_native()
        raise MissingSensitiveFeaturesError(
            "JSDivergenceCalibrator needs sensitive_features to form groups: pass fit(..., sensitive_features=S)"
        )

    def _route(self, scorer, given):
        """Metadata for fit, score and split."""
        given = {name: value for name, value in given.items() if value is not None}
        step, final = self._final_estimator()
        if getattr(final, "sensitive_columns", None) is not None:
            given.pop("sensitive_features")
        if sklearn.get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **given)
            return dict(routed.estimator.fit), dict(routed.scorer.score), dict(routed.splitter.split)
        prefix = f"{step}__" if step else ""
        params = {name: value for name, value in given.items() if name not in ("sensitive_features", "sample_weight")}
        for name in ("sensitive_features", "sample_weight"):
            if name in given and has_fit_parameter(final, name):
                params[prefix + name] = given[name]
        if self.scoring is None:
            accepted = inspect.signature(self.estimator.score).parameters
            score_params = {name: given[name] for name in ("sample_weight",) if name in given and name in accepted}
        else:
            score_params = _consumed(scorer, "score", given)
        return params, score_params, {}

    def _split(self, X, y, codes, labels, split_params):
        n_splits = 5 if self.cv is None else self.cv
        if not isinstance(n_splits, numbers.Integral):
            splits = list(check_cv(self.cv).split(X, y, **split_params))
            if not splits:
                raise ValueError("cv gives no split")
            return splits
        counts = np.bincount(codes)
        small = np.flatnonzero(counts < n_splits)
        if len(small):
            listed = ", ".join(f"{labels[k]}: {counts[k]}" for k in small[:8]) + (", ..." if len(small) > 8 else "")
            warnings.warn(
                f"{len(small)} group(s) have fewer rows than the {n_splits} folds and are missing from some of them: "
                f"{listed}; set min_group_size, coarser bins or fewer folds",
                SensitiveFeaturesWarning,
                stacklevel=3,
            )
        if n_splits < 2 or n_splits > len(codes):
            raise ValueError(f"cv must be between 2 and the number of rows, {len(codes)}; found {n_splits}")
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            # Groups too small to stratify share one stratum.
            strata = np.where(np.isin(codes, small), -1, codes)
            if Counter(strata.tolist()).most_common()[0][1] < n_splits:
                strata = np.zeros_like(codes)
            return list(folds.split(np.zeros(len(codes)), strata))

    def _strengths(self, sweep, data, split, scorer, divergence):
        if not isinstance(self.strengths, str):
            values = np.array(self.strengths, dtype=np.float64)
            return values if values[0] == 0 else np.append(0.0, values)
        low, high = self._range(sweep, data, split, scorer, divergence)
        return np.append(0.0, np.geomspace(low, high, self.n_strengths - 1))

    def _range(self, sweep, data, split, scorer, divergence):
        """From the smallest strength that changes the divergence to the one where it reaches its null level."""

        def measure(strengths):
            observed, permuted, _, _ = _measure_fold(
                sweep, data, *split, strengths, scorer, self.n_permutations, divergence, self.random_state
            )
            return observed, np.quantile(permuted, self.null_quantile, axis=1)

        (start, at_one), (_, level) = measure([0.0, 1.0])
        low = high = 1.0
        if at_one >= (1 - _UNCHANGED) * start:
            # Too weak: go up to the first decade that changes something.
            for _ in range(_MOST_DECADES):
                high *= 10.0
                (_, reached), (_, level) = measure([0.0, high])
                if reached < (1 - _UNCHANGED) * start:
                    break
                low = high
            else:
                raise ValueError(
                    f"strengths='auto' found no strength up to {high:g} that changes the divergence of "
                    f"{start:.4g}: pass strengths, and check that the penalty sees the groups' attributes"
                )
        else:
            reached = at_one
            for _ in range(_MOST_DECADES):
                (_, value), _ = measure([0.0, low / 10.0])
                low /= 10.0
                if value >= (1 - _UNCHANGED) * start:
                    break
        best = reached
        for _ in range(_MOST_DECADES):
            if reached <= level:
                break
            (_, reached), (_, level) = measure([0.0, 10.0 * high])
            if reached > (1 - _UNCHANGED) * best:
                break
            best = min(best, reached)
            high *= 10.0
        # Half a decade of room, since one fold has decided.
        return low, max(high, 10.0 * low) * 10.0**0.5

    def _sweep_folds(self, sweep, data, splits, strengths, scorer, divergence):
        generator = check_random_state(self.random_state)
        tasks = []
        seed_name = self._seed_name()
        for train, test in splits:
            for _ in range(self.n_seeds):
                seed = int(generator.randint(np.iinfo(np.int32).max))
                estimator = self.estimator
                if self.n_seeds > 1:
                    estimator = clone(estimator).set_params(**{seed_name: seed})
                tasks.append((_Sweep(estimator, sweep.param_name), data, train, test, strengths, scorer))
                tasks[-1] += (self.n_permutations, divergence, seed)
        sequential = self.n_jobs in (None, 1)
        total = len(tasks) * (len(strengths) if sequential else 1)
        unit = "fit" if sequential else "fold"
        found = []
        with tqdm(total=total, desc="calibrating", unit=unit, disable=not self.verbose, leave=False) as bar:
            if sequential:
                found = [_measure_fold(*task, report=bar.update) for task in tasks]
            else:
                workers = Parallel(n_jobs=self.n_jobs, return_as="generator")
                for result in workers(delayed(_measure_fold)(*task) for task in tasks):
                    found.append(result)
                    bar.update()
        observed, permuted, scores, seconds = (np.stack(parts, axis=-1) for parts in zip(*found, strict=True))
        # A draw of the mean divergence under permuted groups is the mean over the folds of one draw each.
        null = permuted.mean(axis=-1)

        def standard_error(values):
            return (
                values.std(axis=1, ddof=1) / np.sqrt(values.shape[1]) if values.shape[1] > 1 else np.zeros(len(values))
            )

        return {
            "strengths": np.asarray(strengths),
            "mean_divergence": observed.mean(axis=1),
            "std_error_divergence": standard_error(observed),
            "mean_score": scores.mean(axis=1),
            "std_error_score": standard_error(scores),
            "null_mean": null.mean(axis=1),
            "null_level": np.quantile(null, self.null_quantile, axis=1),
            "mean_fit_seconds": seconds.mean(axis=1),
            "fold_divergence": observed,
            "fold_score": scores,
        }

    def _choose(self, results, options):
        if not np.isfinite(results["mean_divergence"]).all():
            raise ValueError("some fold has a divergence that is not finite: check the estimator's predictions")
        if callable(self.rule):
            index = self.rule(results)
            if not isinstance(index, numbers.Integral) or not 0 <= index < len(results["strengths"]):
                raise ValueError(
                    f"the rule must return an index into the {len(results['strengths'])} strengths; found {index!r}"
                )
            return int(index)
        if self.rule == "threshold" and self.max_divergence < results["null_mean"].min():
            warnings.warn(
                f"max_divergence={self.max_divergence:g} is below the mean divergence under permuted groups, "
                f"{results['null_mean'].min():.4g}: independent predictions would not meet it; use rule='null_level', "
                "coarser groups or more rows",
                SensitiveFeaturesWarning,
                stacklevel=3,
            )
        try:
            return _RULES[self.rule](results, options)
        except CalibrationError as error:
            if self.if_unmet == "raise":
                raise
            warnings.warn(str(error), SensitiveFeaturesWarning, stacklevel=3)
            return error.best_index

    # -- the fitted model ---------------------------------------------------------------------------------------------

    @available_if(_fitted_has("predict"))
    def predict(self, X):
        """Prediction of the chosen model; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n,) array
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict(X)

    @available_if(_fitted_has("predict_proba"))
    def predict_proba(self, X):
        """Class probabilities of the chosen model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n, 2) array
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict_proba(X)

    @available_if(_fitted_has("decision_function"))
    def decision_function(self, X):
        """Decision function of the chosen model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n,) array
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.decision_function(X)

    def score(self, X, y, **params):
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

    def get_metadata_routing(self):
        """Metadata that the calibrator consumes, and hands on to estimator, scorer and splitter.

        Returns
        -------
        MetadataRouter
        """
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        splitter = check_cv(5 if self.cv is None else self.cv)
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(estimator=self.estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit"))
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
