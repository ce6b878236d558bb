"""What the chosen strength keeps of the model, the warnings of a choice that keeps little, and folds without claims."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.metrics import d2_tweedie_score, log_loss, make_scorer, mean_poisson_deviance, mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fairdcov import DCovLogisticRegression, DCovPoissonRegressor, DCovRidge, JSDivergenceCalibrator
from fairdcov.calibration._rules import apply_rule, elbow, score_budget
from fairdcov.calibration._stand_in import score_of_constant
from fairdcov.calibration._strengths import find_range
from fairdcov.exceptions import CalibrationWarning, SensitiveFeaturesWarning
from fairdcov.metrics import make_weighted_scorer, neg_poisson_deviance_scorer

QUIET = {"verbose": 0, "n_permutations": 10, "random_state": 0}
FOLDS = KFold(3, shuffle=True, random_state=1)


@pytest.fixture
def book(rng):
    """1,200 policies; what the first feature explains differs between the groups, what the second explains does not."""
    n = 1_200
    group = rng.choice(["f", "m"], n)
    X = np.column_stack([3.0 * (group == "f") + 0.3 * rng.normal(size=n), rng.normal(size=n)])
    exposure = rng.uniform(0.3, 1.0, n)
    claims = rng.poisson(exposure * np.exp(-0.5 + X @ [0.5, 0.2]))
    return {"X": X, "y": claims / exposure, "exposure": exposure, "group": group}


def calibrate(book, estimator=None, **options):
    options = {"strengths": [0.0, 1.0, 1e3], "cv": FOLDS, "rule": lambda results: 1, **QUIET, **options}
    estimator = DCovPoissonRegressor(alpha=1e-4) if estimator is None else estimator
    calibrator = JSDivergenceCalibrator(estimator, **options)
    return calibrator.fit(book["X"], book["y"], book["exposure"], sensitive_features=book["group"])


def said_of(book, *arguments, **options):
    """A calibration, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calibrator = calibrate(book, *arguments, **options)
    return calibrator, [str(warning.message) for warning in caught if warning.category is CalibrationWarning]


# --- what is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("path", [True, False])
@pytest.mark.parametrize("scoring", [None, neg_poisson_deviance_scorer])
def test_explained_is_the_score_above_that_of_the_mean_of_the_rows_fitted(book, pipeline, path, scoring):
    estimator = DCovPoissonRegressor(alpha=1e-4) if path else NoPath()
    if pipeline:
        estimator = make_pipeline(StandardScaler(), estimator)
    results = calibrate(book, estimator, scoring=scoring).calibration_results_
    y, exposure = book["y"], book["exposure"]
    constants = []
    for train, test in FOLDS.split(book["X"]):
        mean = np.full(len(test), np.average(y[train], weights=exposure[train]))
        held = {"sample_weight": exposure[test]}
        d2, deviance = d2_tweedie_score(y[test], mean, power=1, **held), mean_poisson_deviance(y[test], mean, **held)
        constants.append(d2 if scoring is None else -deviance)
    np.testing.assert_allclose(results["fold_constant_score"], constants, rtol=1e-10, atol=1e-12)
    explained = results["fold_score"].mean(axis=1) - np.mean(constants)
    np.testing.assert_allclose(results["mean_explained"], explained, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(results["kept"], explained / explained[0], rtol=1e-10, atol=1e-12)
    assert results["kept"][0] == 1.0
    assert 0.2 < results["kept"][1] < 1.0
    assert results["kept"][2] < results["kept"][1]


class NoPath(RegressorMixin, BaseEstimator):
    """The same model without a path, and with the score of the package's regressors."""

    def __init__(self, strength=0.0):
        self.strength = strength

    def fit(self, X, y, sample_weight=None, sensitive_features=None):
        model = DCovPoissonRegressor(alpha=1e-4, strength=self.strength)
        self.model_ = model.fit(X, y, sample_weight, sensitive_features=sensitive_features)
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def score(self, X, y, sample_weight=None):
        return d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=1)


@pytest.mark.parametrize("scoring", [None, neg_poisson_deviance_scorer])
def test_routing_changes_nothing(book, scoring):
    expected = calibrate(book, make_pipeline(StandardScaler(), DCovPoissonRegressor(alpha=1e-4)), scoring=scoring)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        found = calibrate(book, make_pipeline(scaler, DCovPoissonRegressor(alpha=1e-4)), scoring=scoring)
    for name in ("fold_constant_score", "mean_explained", "kept"):
        np.testing.assert_allclose(found.calibration_results_[name], expected.calibration_results_[name])
        assert np.isfinite(found.calibration_results_[name]).all()


def test_weights_of_the_constant_are_those_of_the_rows(book):
    # a mean without weights would be another
    heavy = dict(book, exposure=np.where(book["y"] > 1, 5.0, 0.1))
    results = calibrate(heavy).calibration_results_
    train, test = next(FOLDS.split(book["X"]))
    y, w = heavy["y"], heavy["exposure"]
    mean = np.full(len(test), np.average(y[train], weights=w[train]))
    expected = d2_tweedie_score(y[test], mean, sample_weight=w[test], power=1)
    assert results["fold_constant_score"][0] == pytest.approx(expected)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc", "accuracy"])
def test_scores_of_classifiers(book, scoring):
    outcome = np.where(book["y"] > 0.8, "claim", "none")
    model = DCovLogisticRegression(alpha=1e-4)
    results = (
        JSDivergenceCalibrator(model, strengths=[0.0, 0.1], cv=FOLDS, rule=lambda results: 0, scoring=scoring, **QUIET)
        .fit(book["X"], outcome, sensitive_features=book["group"])
        .calibration_results_
    )
    constants = []
    for train, test in FOLDS.split(book["X"]):
        shares = pd.Series(outcome[train]).value_counts(normalize=True).sort_index()
        if scoring == "roc_auc":
            constants.append(0.5)
        elif scoring == "accuracy":
            constants.append(np.mean(outcome[test] == shares.idxmax()))
        else:
            prior = np.tile(shares.to_numpy(), (len(test), 1))
            constants.append(-log_loss(outcome[test], prior, labels=["claim", "none"]))
    np.testing.assert_allclose(results["fold_constant_score"], constants)
    assert (results["mean_explained"] > 0).all()


def test_a_scorer_without_a_value_for_constants_leaves_it_open(book):
    def only_if_it_varies(y_true, y_pred, sample_weight):
        if np.ptp(y_pred) == 0:
            raise ZeroDivisionError("no spread")
        return -float(np.average((y_true - y_pred) ** 2, weights=sample_weight))

    for estimator, scoring in (
        (None, make_weighted_scorer(only_if_it_varies)),
        # the score of a search is that of the estimator within it
        (GridSearchCV(Ridge(), {"fit_intercept": [True]}, cv=2), None),
    ):
        options = {} if estimator is None else {"param_name": "estimator__alpha"}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="the score is not weighted")
            results = calibrate(book, estimator, scoring=scoring, **options).calibration_results_
        assert np.isfinite(results["mean_score"]).all()
        for name in ("mean_explained", "kept", "fold_constant_score"):
            assert np.isnan(results[name]).all()


def test_the_model_is_not_changed(book):
    X, y = book["X"], book["y"]
    for model in (DCovRidge(strength=0.0), make_pipeline(StandardScaler(), Ridge())):
        model.fit(X, y)
        before = model.predict(X)
        scorer = make_scorer(mean_squared_error, greater_is_better=False)
        score = score_of_constant(model, scorer, y, None, (X, y), {})
        assert score == pytest.approx(-np.var(y))
        np.testing.assert_array_equal(model.predict(X), before)


# --- warnings ------------------------------------------------------------------------------------------------------


def test_a_strength_that_keeps_little_is_warned_of(book):
    strengths = [0.0, 1.0, 10.0, 1e3]
    calibrator, said = said_of(book, strengths=strengths, rule=lambda results: 2)
    results = calibrator.calibration_results_
    kept, score, constant = results["kept"], results["mean_score"], results["fold_constant_score"].mean()
    assert 0.0 < kept[2] < 0.2 < kept[1]
    assert said == [
        f"the chosen strength, 10, keeps {kept[2]:.0%} of what the model without penalty explains: mean score "
        f"{score[2]:.4g} on the rows held out, {constant:.4g} for a constant prediction, {score[0]:.4g} at strength 0. "
        "Smaller strengths keep more, see their table"
    ]
    assert said_of(book, strengths=strengths, rule=lambda results: 1)[1] == []


class Worse(RegressorMixin, BaseEstimator):
    """A model that a penalty makes worse than a constant, or that always was."""

    def __init__(self, strength=0.0, noise=0.0):
        self.strength, self.noise = strength, noise

    def fit(self, X, y):
        self.model_ = Ridge().fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X) + (self.strength + self.noise) * np.sin(1e3 * X[:, 1])


@pytest.mark.filterwarnings("ignore:the score is not weighted")
def test_a_model_that_explains_nothing_is_warned_of(book):
    strengths = [0.0, 0.01, 5.0, 6.0]
    _, said = said_of(book, Worse(), strengths=strengths, rule=lambda results: 2)
    (message,) = said
    assert message.startswith("the model with the chosen strength, 5, explains nothing: mean score -")
    calibrator, said = said_of(book, Worse(noise=5.0), strengths=strengths, rule=lambda results: 0)
    (message,) = said
    assert message.startswith("the model without penalty explains nothing: its score is -")
    assert np.isnan(calibrator.calibration_results_["kept"]).all()
    assert (calibrator.calibration_results_["mean_explained"] < 0).all()


@pytest.mark.filterwarnings("ignore:the score is not weighted")
def test_a_model_that_is_a_little_worse_than_a_constant_explains_nothing(book):
    calibrator, said = said_of(book, Worse(), strengths=[0.0, 1.0, 1.6, 5.0], rule=lambda results: 2)
    explained = calibrator.calibration_results_["mean_explained"]
    assert -1 < explained[2] < 0 < explained[0]
    (message,) = said
    assert message.startswith("the model with the chosen strength, 1.6, explains nothing: mean score -")


def test_a_score_that_is_not_finite_is_warned_of(book):
    scorer = make_weighted_scorer(lambda y_true, y_pred, sample_weight: np.nan)
    assert said_of(book, scoring=scorer)[1] == [
        "the chosen strength, 1, has no finite score in some fold: what it keeps is not known"
    ]


@pytest.fixture
def rare(rng):
    """900 policies, of which 15 have a level whose claims are all in fold 1: in its training rows it has none."""
    number = np.arange(900)
    level = np.where(number // 3 % 2 == 0, "low", "high")
    claims = np.where(level == "high", number // 6 % 3, number // 6 % 4 == 0).astype(float)
    fold, few = number % 3, number[::60]
    level[few], fold[few] = "rare", np.arange(15) % 3
    claims[few] = np.where(fold[few] == 1, 4.0, 0.0)
    return {
        "X": pd.DataFrame({"level": level}),
        "y": claims,
        "exposure": np.ones(900),
        "group": rng.choice(["f", "m"], 900),
        "cv": PredefinedSplit(fold),
    }


def levels(alpha):
    return make_pipeline(OneHotEncoder(), DCovPoissonRegressor(alpha=alpha))


def test_folds_that_disagree_are_named(rare):
    calibrator, said = said_of(rare, levels(1e-4), strengths=[0.0, 1.0, 2.0], cv=rare["cv"])
    results = calibrator.calibration_results_
    score, constant = results["fold_score"][0], results["fold_constant_score"]
    assert score[1] < constant[1] - 0.01
    assert (score[[0, 2]] > constant[[0, 2]] + 0.05).all()
    assert results["mean_explained"][0] > 0
    assert said[0] == (
        "the folds disagree: without penalty the score is below that of a constant prediction in 1 of 3, fold 1 "
        f"({score[1]:.4g}, {constant[1]:.4g} for a constant); mean score {score.mean():.4g}, standard error "
        f"{score.std(ddof=1) / np.sqrt(3):.2g}. Look for levels of factors without claims in the rows that such a fold "
        "is fitted to, which a GLM with log link prices next to 0: merge them with others, or raise alpha"
    )
    # What it says to do helps.
    merged = rare | {"X": rare["X"].replace("rare", "low")}
    for book, alpha in ((merged, 1e-4), (rare, 0.1)):
        said = said_of(book, levels(alpha), strengths=[0.0, 1.0, 2.0], cv=rare["cv"])[1]
        assert not any("disagree" in message for message in said)


def test_folds_that_disagree_are_no_news_where_nothing_is_explained(rare):
    _, said = said_of(rare, levels(0.0), strengths=[0.0, 1.0, 2.0], cv=rare["cv"])
    assert [message.partition(":")[0] for message in said] == ["the model without penalty explains nothing"]


def test_many_folds_that_disagree_are_counted(rare):
    # Folds of seven learners each, all alike.
    with pytest.warns(
        CalibrationWarning, match=r"in 7 of 21, fold 1 seed 0 .*, fold 1 seed 4 [^,]*, [^,]*, 2 more; mean"
    ):
        calibrate(rare, WithSeed(), strengths=[0.0, 1.0, 2.0], cv=rare["cv"], n_seeds=7)


class WithSeed(RegressorMixin, BaseEstimator):
    """A model of one factor whose seed changes nothing."""

    def __init__(self, strength=0.0, random_state=None):
        self.strength, self.random_state = strength, random_state

    def fit(self, X, y, sample_weight=None):
        self.model_ = levels(1e-4).set_params(dcovpoissonregressor__strength=0.0).fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def score(self, X, y, sample_weight=None):
        return d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=1)


def test_the_end_of_the_grid_is_warned_of(book):
    strengths = [0.0, 0.05, 0.1]
    for index, expected in ((1, []), (2, ["the chosen strength, 0.1, is the largest that was tried"])):
        _, said = said_of(book, strengths=strengths, rule=lambda results, index=index: index)
        assert [message.partition(": ")[0] for message in said] == expected
    # strength 0 alone is no grid
    assert said_of(book, strengths=[0.0], rule=lambda results: 0)[1] == []
    # what is not met has its own words for it
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        with pytest.warns(SensitiveFeaturesWarning, match="Allow more, or try larger strengths"):
            calibrator = calibrate(book, strengths=strengths, rule="threshold", max_divergence=0.1, if_unmet="warn")
    assert calibrator.best_index_ == 2


def test_a_budget_of_negative_scores_is_a_share_of_their_size():
    results = {"strengths": np.arange(4.0), "mean_divergence": np.array([0.4, 0.3, 0.2, 0.1])}
    results["mean_score"] = np.array([-2.0, -2.1, -2.3, -3.0])
    assert [score_budget(results, budget=budget) for budget in (0.0, 0.049, 0.051, 0.2, 0.5)] == [0, 0, 1, 2, 3]
    results["mean_score"] = np.array([0.5, 0.48, 0.3, 0.0])
    assert [score_budget(results, budget=budget) for budget in (0.0, 0.039, 0.041, 0.4, 1.0)] == [0, 0, 1, 2, 3]


# --- range of strengths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("divergence", "level", "expected"),
    [
        # reaches its level at 100; 0.01 is the first decade that changes less than 3 %
        (lambda strength: 1 / (1 + strength), 0.05, (0.01, 100.0)),
        # falls by less than 3 % from 1,000 on, above its level
        (lambda strength: 0.2 + 0.8 / (1 + strength), 0.05, (0.01, 1_000.0)),
        # too weak below 100
        (lambda strength: 1 / (1 + strength / 1_000), 0.5, (10.0, 1_000.0)),
        # at its level where it starts to change: still a decade wide
        (lambda strength: 1 / (1 + strength), 0.95, (0.01, 1.0)),
    ],
)
def test_the_range_is_where_the_divergence_changes(divergence, level, expected):
    low, high = find_range(
        lambda strengths: ([divergence(strength) for strength in strengths], [level] * len(strengths))
    )
    assert low == pytest.approx(expected[0])
    assert high == pytest.approx(expected[1] * 10**0.5)


def test_there_is_no_range_where_nothing_changes_a_divergence_within_its_null_level():
    assert find_range(lambda strengths: ([0.1] * len(strengths), [0.2] * len(strengths))) is None
    with pytest.raises(ValueError, match=r"found no strength up to 1e\+08 that changes the divergence of 0.1"):
        find_range(lambda strengths: ([0.1] * len(strengths), [0.05] * len(strengths)))


def test_groups_of_the_least_size_are_compared(book):
    fold = np.arange(1_200) % 2
    group = np.where(np.arange(1_200) < 40, "few", book["group"])
    options = {"cv": PredefinedSplit(fold), "strengths": [0.0, 1.0, 1e3]}
    exactly = calibrate(dict(book, group=group), min_group_size=20, **options)
    assert ("few",) in exactly.group_labels_
    with pytest.warns(SensitiveFeaturesWarning, match=r"1 group\(s\) have fewer than min_group_size=21 rows"):
        calibrate(dict(book, group=group), min_group_size=21, **options)


def test_an_elbow_where_nothing_is_lost_is_the_lowest_divergence():
    results = {"strengths": np.arange(3.0), "mean_divergence": np.array([0.4, 0.2, 0.1])}
    for score in ([1.0, 0.5, 1.0], [1.0, 0.5, 1.5]):
        assert elbow(results | {"mean_score": np.array(score)}) == 2


@pytest.mark.parametrize("index", [-1, 3, 1.0, True, None])
def test_what_is_no_index_is_refused(index):
    results = {"strengths": np.arange(3.0), "mean_divergence": np.zeros(3)}
    with pytest.raises(ValueError, match="the rule must return an index into the 3 strengths; found"):
        apply_rule(lambda results: index, results)
    assert apply_rule(lambda results: np.int64(2), results) == 2


# --- targets -------------------------------------------------------------------------------------------------------


def test_without_target_or_rows(book):
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), strengths=[1.0], **QUIET)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        calibrator.fit(book["X"], None, sensitive_features=book["group"])
    with pytest.raises(ValueError, match="X must have at least one row; found 0"):
        calibrator.fit(book["X"][:0], book["y"][:0], sensitive_features=book["group"][:0])
    with pytest.raises(ValueError, match=r"y is 0\.0 in every row, one value or class: there is nothing to"):
        calibrator.fit(book["X"], 0 * book["y"], sensitive_features=book["group"])
    assert not hasattr(calibrator, "best_estimator_")


@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
@pytest.mark.parametrize("held", [True, False])
def test_a_fold_without_claims_is_named(book, kind, held):
    fold = np.arange(len(book["y"])) % 3
    empty = (fold == 1) == held
    # a claim on a row that does not count is none
    y, exposure = np.where(empty, 0.0, book["y"]), book["exposure"].copy()
    row = int(np.flatnonzero(empty)[7])
    y[row], exposure[row] = 3.0, 0.0
    cv = PredefinedSplit(fold) if held else [(np.flatnonzero(fold != 1), np.flatnonzero(fold == 1))]
    what = "1 of 3 holds out" if held else "0 of 1 is fitted to"
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), strengths=[1.0], cv=cv, **QUIET)
    with pytest.raises(ValueError, match=rf"fold {what} rows of one value of y only, 0\.0: choose fewer folds"):
        calibrator.fit(book["X"], kind(y), exposure, sensitive_features=book["group"])


def test_a_fold_of_one_class_is_named(book):
    fold = np.arange(len(book["y"])) % 3
    outcome = np.where((fold != 2) & (book["y"] > 0.8), "claim", "none")
    calibrator = JSDivergenceCalibrator(DCovLogisticRegression(), strengths=[1.0], cv=PredefinedSplit(fold), **QUIET)
    with pytest.raises(ValueError, match="fold 2 of 3 holds out rows of one value of y only, none"):
        calibrator.fit(book["X"], outcome, sensitive_features=book["group"])
