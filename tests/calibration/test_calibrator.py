"""The calibrator: rules, folds, null levels, routing, pipelines, and what it refuses to return."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneGroupOut, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import CCDCovPenalty, DCovLogisticRegression, DCovPoissonRegressor, DCovRidge, JSDivergenceCalibrator
from fairdcov.calibration._rules import elbow
from fairdcov.encoding import take_rows
from fairdcov.exceptions import CalibrationError, MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.metrics import (
    js_divergence,
    make_weighted_scorer,
    mean_deviance,
    neg_js_divergence_scorer,
    neg_poisson_deviance_scorer,
    null_distribution,
)

# What the chosen models keep is looked at in test_choice.py.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")

QUIET = {"verbose": 0, "n_permutations": 20, "random_state": 0}


@pytest.fixture
def book():
    """A biased book of 1,500 policies in four groups."""
    rng = np.random.default_rng(5)
    n = 1_500
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "young": rng.choice([True, False], n)})
    X = np.column_stack(
        [(people["gender"] == "f") ^ people["young"], people["gender"] == "f", np.zeros(n), np.zeros(n)]
    ) + 0.4 * rng.normal(size=(n, 4))
    exposure = rng.uniform(0.3, 1.0, n)
    claims = rng.poisson(exposure * np.exp(-0.5 + X @ [0.8, 0.4, 0.4, 0.0]))
    return {"X": X, "y": claims / exposure, "exposure": exposure, "people": people}


def _fit(book, estimator=None, **options):
    estimator = DCovPoissonRegressor(alpha=1e-4) if estimator is None else estimator
    options = {"strengths": [0.1, 1.0, 10.0, 100.0], **QUIET, **options}
    return JSDivergenceCalibrator(estimator, **options).fit(
        book["X"], book["y"], book["exposure"], sensitive_features=book["people"]
    )


def test_results_can_be_redone_by_hand(book):
    folds = KFold(3, shuffle=True, random_state=1)
    calibrator = _fit(book, strengths=[0.0, 2.0], cv=folds, rule="elbow")
    results = calibrator.calibration_results_
    for index, strength in enumerate([0.0, 2.0]):
        divergences, scores = [], []
        for train, test in folds.split(book["X"]):
            model = DCovPoissonRegressor(alpha=1e-4, strength=strength).fit(
                book["X"][train],
                book["y"][train],
                book["exposure"][train],
                sensitive_features=book["people"].iloc[train],
            )
            held = {"sample_weight": book["exposure"][test]}
            prediction = model.predict(book["X"][test])
            divergences.append(js_divergence(None, prediction, sensitive_features=book["people"].iloc[test], **held))
            scores.append(model.score(book["X"][test], book["y"][test], **held))
        np.testing.assert_allclose(results["fold_divergence"][index], divergences, rtol=1e-3)
        np.testing.assert_allclose(results["fold_score"][index], scores, rtol=1e-3)
        np.testing.assert_allclose(results["mean_score"][index], np.mean(scores), rtol=1e-3)
        np.testing.assert_allclose(
            results["std_error_divergence"][index], np.std(divergences, ddof=1) / np.sqrt(3), rtol=2e-2
        )


def test_null_level_rule_takes_the_first_strength_that_meets_it(book):
    calibrator = _fit(book)
    results = calibrator.calibration_results_
    met = results["mean_divergence"] <= results["null_level"]
    assert calibrator.best_index_ == np.flatnonzero(met)[0] > 0
    assert calibrator.best_strength_ == results["strengths"][calibrator.best_index_]
    assert results["strengths"][0] == 0
    assert (results["null_mean"] < results["null_level"]).all()
    strengths = results["strengths"][: calibrator.best_index_ + 1]
    *_, expected = DCovPoissonRegressor(alpha=1e-4).strength_path(
        book["X"], book["y"], strengths, book["exposure"], sensitive_features=book["people"]
    )
    np.testing.assert_allclose(calibrator.predict(book["X"]), expected.predict(book["X"]))


def test_threshold_rule(book):
    reference = _fit(book).calibration_results_["mean_divergence"]
    limit = (reference[1] + reference[2]) / 2
    calibrator = _fit(book, rule="threshold", max_divergence=limit)
    assert calibrator.best_index_ == 2
    with (
        pytest.warns(SensitiveFeaturesWarning, match="below the mean divergence under permuted groups"),
        pytest.raises(CalibrationError, match=r"lowest reached is .* at strength") as caught,
    ):
        _fit(book, rule="threshold", max_divergence=1e-6)
    assert caught.value.calibration_results["mean_divergence"].shape == (5,)
    assert "calibration_results of this error" in caught.value.__notes__[0]
    with (
        pytest.warns(SensitiveFeaturesWarning, match="no strength brings"),
        pytest.warns(SensitiveFeaturesWarning, match="below the mean divergence"),
    ):
        fallback = _fit(book, rule="threshold", max_divergence=1e-6, if_unmet="warn")
    assert fallback.best_index_ == np.argmin(reference)


def test_score_budget_rule(book):
    results = _fit(book, rule="elbow").calibration_results_
    loss = 1 - results["mean_score"] / results["mean_score"][0]
    assert loss[1] < loss[2] < loss[3]
    calibrator = _fit(book, rule="score_budget", score_budget=(loss[2] + loss[3]) / 2)
    assert calibrator.best_index_ == 2
    assert _fit(book, rule="score_budget", score_budget=0.0).best_index_ in (0, 1)


def test_elbow_is_the_farthest_point_from_the_chord_and_knows_no_strengths():
    results = {
        "strengths": np.array([0.0, 1.0, 2.0, 3.0]),
        "mean_divergence": np.array([1.0, 0.2, 0.1, 0.0]),
        "mean_score": np.array([1.0, 0.9, 0.5, 0.0]),
    }
    assert elbow(results) == 1
    assert elbow({**results, "strengths": np.array([0.0, 1e-6, 1e3, 1e9])}) == 1
    with pytest.raises(CalibrationError, match="lowers the divergence"):
        elbow({**results, "mean_divergence": np.array([0.1, 0.2, 0.2, 0.3])})


def test_elbow_ends_where_nothing_is_explained_any_more():
    results = {
        "strengths": np.array([0.0, 1.0, 10.0, 100.0, 1e3]),
        "mean_divergence": np.array([0.10, 0.06, 0.05, 0.03, 0.0]),
        "mean_score": np.array([0.08, 0.076, 0.04, -0.01, -4.0]),
        "mean_explained": np.array([0.08, 0.076, 0.04, -0.01, -4.0]),
    }
    # Beside a score of -4 even the constant at 100 would look cheap.
    assert elbow(results) == 1
    assert elbow({**results, "mean_explained": np.full(5, np.nan)}) == 3
    assert elbow({name: values for name, values in results.items() if name != "mean_explained"}) == 3
    # a model that explains nothing without penalty has nothing to keep
    assert elbow({**results, "mean_explained": results["mean_score"] - 1.0}) == 3
    with pytest.raises(CalibrationError, match="lowers the divergence of a model that still explains something"):
        elbow({**results, "mean_explained": np.array([0.08, -0.1, -0.1, -0.1, -0.1])})


def test_callable_rule(book):
    assert _fit(book, rule=lambda results: len(results["strengths"]) - 1).best_strength_ == 100.0
    with pytest.raises(ValueError, match="the rule must return an index into the 5 strengths; found 9"):
        _fit(book, rule=lambda results: 9)


def test_automatic_range_spans_from_no_change_to_the_null_level(book):
    calibrator = _fit(book, strengths="auto", n_strengths=8)
    results = calibrator.calibration_results_
    divergence = results["mean_divergence"]
    assert len(results["strengths"]) == 8
    assert divergence[1] > 0.9 * divergence[0]
    assert divergence[-1] < 1.5 * results["null_level"][-1]
    assert calibrator.best_index_ > 0
    # The unit of the raw penalty is another one by orders of magnitude.
    raw = _fit(book, DCovPoissonRegressor(CCDCovPenalty(normalize=False), alpha=1e-4), strengths="auto", n_strengths=6)
    assert raw.calibration_results_["mean_divergence"][1] > 0.8 * divergence[0]


def test_threshold_holds_on_new_rows_within_its_standard_error():
    def rows(seed, n):
        rng = np.random.default_rng(seed)
        people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "young": rng.choice([True, False], n)})
        X = np.column_stack([people["gender"] == "f", people["young"], np.zeros(n)]) + 0.5 * rng.normal(size=(n, 3))
        return X, rng.poisson(np.exp(-0.5 + X @ [0.6, 0.4, 0.4])).astype(float), people

    X, y, people = rows(0, 5_000)
    limit = 0.03
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(alpha=1e-4), strengths="auto", rule="threshold", max_divergence=limit, **QUIET
    ).fit(X, y, sensitive_features=people)
    error = calibrator.calibration_results_["std_error_divergence"][calibrator.best_index_]
    X_new, _, people_new = rows(1, 5_000)
    assert js_divergence(None, calibrator.predict(X_new), sensitive_features=people_new) <= limit + 2 * error


def test_exclusive_or_is_brought_to_its_null_level_by_joint_measures_only():
    def rows(seed, n):
        rng = np.random.default_rng(seed)
        young, female = rng.integers(0, 2, (2, n)).astype(bool)
        X = np.column_stack([young ^ female, np.zeros(n)]) + 0.4 * rng.normal(size=(n, 2))
        people = pd.DataFrame({"young": young, "female": female})
        return X, rng.poisson(np.exp(-1 + X @ [0.8, 0.3])).astype(float), people

    X, y, people = rows(1, 5_000)
    X_new, _, people_new = rows(2, 5_000)
    # Enough permutations for a steady 95 % level: independence itself misses it once in twenty samples.
    options = {**QUIET, "n_permutations": 100}
    strengths = [1.0, 3.0, 10.0, 30.0, 100.0]

    def null_of(prediction, columns):
        return null_distribution(
            js_divergence, None, prediction, sensitive_features=people_new[columns], n_permutations=100, random_state=0
        )

    unaware = DCovPoissonRegressor(strength=0, alpha=1e-4).fit(X, y).predict(X_new)
    both = ["young", "female"]
    for one in both:
        assert null_of(unaware, [one]).p_value() > 0.01
    assert null_of(unaware, both).p_value() < 0.02
    for measure in ("jdcov", "ccdcov"):
        calibrator = JSDivergenceCalibrator(
            DCovPoissonRegressor(measure, alpha=1e-4), strengths=strengths, rule="null_level", **options
        ).fit(X, y, sensitive_features=people)
        null = null_of(calibrator.predict(X_new), both)
        assert null.observed <= null.quantile(0.99)
    with pytest.raises(CalibrationError, match="null level"):
        JSDivergenceCalibrator(DCovPoissonRegressor("dcov", alpha=1e-4), strengths=strengths, **options).fit(
            X, y, sensitive_features=people
        )


class Shrunk(RegressorMixin, BaseEstimator):
    """A learner without a path and with another name for its strength: mixes a model with its mean, and a seed."""

    def __init__(self, mix=0.0, random_state=None):
        self.mix = mix
        self.random_state = random_state

    def fit(self, X, y):
        self.model_ = Ridge().fit(X, y)
        self.mean_ = np.mean(y)
        rng = np.random.default_rng(self.random_state)
        self.offset_ = rng.normal()
        return self

    def predict(self, X):
        noise = np.random.default_rng(0).normal(size=len(X))
        return (self.model_.predict(X) - self.mean_) * (1 - self.mix) + self.mix * noise + self.offset_


def test_any_estimator_with_a_strength_like_parameter(book):
    calibrator = JSDivergenceCalibrator(
        Shrunk(), strengths=[0.5, 0.9, 1.0], param_name="mix", n_seeds=3, cv=3, **QUIET
    ).fit(book["X"], book["y"], sensitive_features=book["people"])
    assert calibrator.calibration_results_["fold_divergence"].shape == (4, 9)
    assert calibrator.best_strength_ > 0
    # the seeds differ: so do the scores of one fold
    assert len(np.unique(calibrator.calibration_results_["fold_score"][0])) == 9
    wrapped = GridSearchCV(make_pipeline(DCovRidge()), {})
    with pytest.raises(ValueError, match="there is 'estimator__dcovridge__strength'"):
        _fit(book, wrapped)
    with pytest.raises(ValueError, match=r"no parameter 'strength': set param_name"):
        JSDivergenceCalibrator(Shrunk(), **QUIET).fit(book["X"], book["y"], sensitive_features=book["people"])
    with pytest.raises(ValueError, match="needs an estimator with a random_state"):
        _fit(book, n_seeds=2)


class SeededNoise(RegressorMixin, BaseEstimator):
    """Predicts a group from the first feature, and noise of its own seed: the seeds of a fold share their groups."""

    def __init__(self, strength=0.0, random_state=None):
        self.strength = strength
        self.random_state = random_state

    def fit(self, X, y):
        self.seed_ = self.random_state
        return self

    def predict(self, X):
        return X[:, 0] / (1 + self.strength) + 0.01 * np.random.default_rng(self.seed_).normal(size=len(X))


def test_seeds_are_averaged_within_their_fold(book):
    options = {**QUIET, "strengths": [0.0, 1.0], "rule": "elbow", "cv": 4, "if_unmet": "warn"}
    fit = {"sensitive_features": book["people"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        many = JSDivergenceCalibrator(SeededNoise(), n_seeds=6, **options).fit(book["X"], book["y"], **fit)
        one = JSDivergenceCalibrator(SeededNoise(), **options).fit(book["X"], book["y"], **fit)
    results = many.calibration_results_
    folds = results["fold_divergence"].reshape(2, 4, 6)
    assert (np.ptp(folds, axis=2) > 0).all()
    # The seeds of a fold share its rows, so they say little about the error: four folds are four observations.
    error = folds.mean(axis=2).std(axis=1, ddof=1) / 2
    np.testing.assert_allclose(results["std_error_divergence"], error)
    np.testing.assert_allclose(results["mean_net_divergence"], results["mean_divergence"] - results["null_mean"])
    np.testing.assert_allclose(results["std_error_net_divergence"], error, rtol=0.3)
    np.testing.assert_allclose(
        results["std_error_divergence"], one.calibration_results_["std_error_divergence"], rtol=0.5
    )
    # And they share its permutations: more seeds do not narrow the null distribution.
    width = results["null_level"] - results["null_mean"]
    width_of_one = one.calibration_results_["null_level"] - one.calibration_results_["null_mean"]
    np.testing.assert_allclose(width, width_of_one, rtol=0.8)


def test_null_levels_of_all_strengths_share_their_permutations(book):
    class Same(SeededNoise):
        def predict(self, X):
            return X[:, 0]

    calibrator = JSDivergenceCalibrator(Same(), strengths=[0.0, 1.0, 2.0], rule=lambda results: 0, **QUIET)
    results = calibrator.fit(book["X"], book["y"], sensitive_features=book["people"]).calibration_results_
    assert len(np.unique(results["null_level"])) == 1


@pytest.mark.parametrize("routing", [False, True])
def test_around_a_pipeline_preprocessing_is_part_of_each_fold(book, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        scaler = StandardScaler().set_fit_request(sample_weight=False) if routing else StandardScaler()
        pipeline = make_pipeline(scaler, DCovPoissonRegressor(alpha=1e-4))
        calibrator = _fit(book, pipeline)
        assert calibrator.best_estimator_[-1].strength == calibrator.best_strength_
        X = (book["X"] - book["X"].mean(axis=0)) / book["X"].std(axis=0)
        strengths = calibrator.calibration_results_["strengths"][: calibrator.best_index_ + 1]
        *_, by_hand = DCovPoissonRegressor(alpha=1e-4).strength_path(
            X, book["y"], strengths, book["exposure"], sensitive_features=book["people"]
        )
        np.testing.assert_allclose(calibrator.predict(book["X"]), by_hand.predict(X), rtol=1e-6)
        single = _fit(book, make_pipeline(DCovPoissonRegressor(alpha=1e-4)))
        assert single.best_strength_ > 0


def test_inside_a_pipeline_and_in_cross_validation_with_routing(book):
    with sklearn.config_context(enable_metadata_routing=True):
        calibrator = JSDivergenceCalibrator(
            DCovPoissonRegressor(alpha=1e-4), strengths=[1.0, 10.0], rule="elbow", cv=3, **QUIET
        )
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), calibrator)
        found = cross_validate(
            pipeline,
            book["X"],
            book["y"],
            params={"sample_weight": book["exposure"], "sensitive_features": book["people"]},
            scoring={"deviance": neg_poisson_deviance_scorer, "fairness": neg_js_divergence_scorer},
            cv=3,
            return_estimator=True,
            error_score="raise",
        )
        assert np.isfinite(found["test_deviance"]).all()
        assert all(estimator[-1].best_strength_ in (0.0, 1.0, 10.0) for estimator in found["estimator"])
        search = GridSearchCV(calibrator, {"estimator__alpha": [1e-4, 1.0]}, cv=2, error_score="raise")
        search.fit(book["X"], book["y"], sample_weight=book["exposure"], sensitive_features=book["people"])
        assert search.best_params_["estimator__alpha"] in (1e-4, 1.0)


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_the_scorer(book, routing):
    with sklearn.config_context(enable_metadata_routing=routing):
        folds = KFold(2)
        scorer = make_weighted_scorer(mean_deviance, greater_is_better=False, power=1)
        calibrator = _fit(book, strengths=[0.0, 1.0], cv=folds, scoring=scorer, rule="elbow")
        train, test = next(folds.split(book["X"]))
        model = DCovPoissonRegressor(alpha=1e-4, strength=0).fit(
            book["X"][train], book["y"][train], book["exposure"][train]
        )
        expected = -mean_poisson_deviance(
            book["y"][test], model.predict(book["X"][test]), sample_weight=book["exposure"][test]
        )
        np.testing.assert_allclose(calibrator.calibration_results_["fold_score"][0, 0], expected, rtol=1e-6)
        np.testing.assert_allclose(
            calibrator.score(book["X"], book["y"], sample_weight=book["exposure"]),
            -mean_poisson_deviance(book["y"], calibrator.predict(book["X"]), sample_weight=book["exposure"]),
        )


def test_sensitive_columns_of_the_estimator_are_enough(book):
    frame = pd.DataFrame(book["X"], columns=["a", "b", "c", "d"]).assign(**book["people"])
    model = DCovPoissonRegressor(alpha=1e-4, sensitive_columns=["gender", "young"])
    calibrator = JSDivergenceCalibrator(model, strengths=[1.0, 10.0, 100.0], **QUIET)
    calibrator.fit(frame, book["y"], book["exposure"])
    expected = _fit(book, strengths=[1.0, 10.0, 100.0])
    assert calibrator.best_strength_ == expected.best_strength_
    np.testing.assert_allclose(calibrator.predict(frame[["a", "b", "c", "d"]]), expected.predict(book["X"]))


def test_classifier_compares_probabilities(book):
    y = np.where(book["y"] > 0, "claim", "none")
    calibrator = JSDivergenceCalibrator(DCovLogisticRegression(alpha=0.1), strengths=[1.0, 10.0, 100.0], **QUIET)
    calibrator.fit(book["X"], y, sensitive_features=book["people"])
    assert sklearn.base.is_classifier(calibrator)
    assert calibrator.classes_.tolist() == ["claim", "none"]
    assert calibrator.predict_proba(book["X"]).shape == (1_500, 2)
    assert set(calibrator.predict(book["X"])) <= {"claim", "none"}
    assert calibrator.decision_function(book["X"]).shape == (1_500,)


def test_jobs_and_seeds_do_not_change_the_results(book):
    one = _fit(book).calibration_results_
    two = _fit(book, n_jobs=2).calibration_results_
    for name in set(one) - {"mean_fit_seconds"}:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-10, err_msg=name)


def test_clone_pickle_and_nested_parameters(book):
    calibrator = _fit(book)
    assert clone(calibrator).get_params()["estimator__alpha"] == 1e-4
    again = pickle.loads(pickle.dumps(calibrator))
    np.testing.assert_array_equal(again.predict(book["X"]), calibrator.predict(book["X"]))
    assert "JSDivergenceCalibrator" in calibrator._repr_html_()
    assert not hasattr(calibrator, "predict_proba")


def test_progress_bar_can_be_shown(book, capsys):
    _fit(book, verbose=1, strengths=[1.0], rule="elbow", cv=2)
    assert "calibrating" in capsys.readouterr().err


def test_numeric_attributes_are_cut_by_the_same_edges_in_every_fold(book):
    people = book["people"].assign(age=np.random.default_rng(0).uniform(18, 80, 1_500))
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(alpha=1e-4), strengths=[100.0], rule="elbow", bins={"age": 3}, **QUIET
    ).fit(book["X"], book["y"], sensitive_features=people)
    assert len(calibrator.group_labels_) == 12
    with pytest.raises(ValueError, match="pass bins="):
        JSDivergenceCalibrator(DCovPoissonRegressor(), strengths=[1.0], **QUIET).fit(
            book["X"], book["y"], sensitive_features=people
        )


def test_groups_with_fewer_rows_than_folds_are_named(book):
    gender = book["people"]["gender"].to_numpy(dtype=object).copy()
    gender[:2] = "x"
    people = book["people"].assign(gender=gender)
    with pytest.warns(SensitiveFeaturesWarning, match=r"fewer than min_group_size=1 rows in some of the 5 folds.*'x'"):
        calibrator = JSDivergenceCalibrator(
            DCovPoissonRegressor(alpha=1e-4), strengths=[1.0, 100.0], rule="elbow", **QUIET
        ).fit(book["X"], book["y"], sensitive_features=people)
    assert np.isfinite(calibrator.calibration_results_["mean_divergence"]).all()


def test_groups_below_the_size_asked_for_are_named_with_the_number_of_folds(book):
    rare = np.where(np.arange(1_500) < 30, "x", book["people"]["gender"])
    with pytest.warns(SensitiveFeaturesWarning, match=r"fewer than min_group_size=20 rows in some of the 5 .*'x': 5;"):
        calibrator = JSDivergenceCalibrator(
            DCovPoissonRegressor(alpha=1e-4), strengths=[1.0, 100.0], rule="elbow", min_group_size=20, **QUIET
        ).fit(book["X"], book["y"], sensitive_features=rare)
    without = js_divergence(None, calibrator.predict(book["X"][30:]), sensitive_features=rare[30:])
    assert calibrator.calibration_results_["mean_divergence"][calibrator.best_index_] < 3 * without


def test_folds_in_which_nothing_can_be_compared_are_refused(book):
    # One group is held out at a time: every divergence would be 0, and every rule met.
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), strengths=[1.0], cv=LeaveOneGroupOut(), **QUIET)
    with pytest.raises(ValueError, match=r"2 of 2 folds hold out fewer than two groups .* choose folds that mix"):
        calibrator.fit(
            book["X"], book["y"], sensitive_features=book["people"]["gender"], groups=book["people"]["gender"]
        )
    with pytest.raises(ValueError, match="5 of 5 folds hold out fewer than two groups of at least min_group_size=800"):
        _fit(book, min_group_size=800)
    weights = np.where(book["people"]["gender"] == "f", 1.0, 0.0)
    with pytest.raises(ValueError, match="5 of 5 folds hold out fewer than two groups"):
        JSDivergenceCalibrator(DCovPoissonRegressor(), strengths=[1.0], **QUIET).fit(
            book["X"], book["y"], weights, sensitive_features=book["people"]["gender"]
        )
    with pytest.raises(ValueError, match="cv gives no split"):
        _fit(book, cv=[])


def test_a_fold_without_a_category_is_named_and_the_others_are_compared(book):
    people = book["people"]["gender"].to_numpy(dtype=object).copy()
    people[:40] = "x"
    halves = [(np.arange(750, 1_500), np.arange(750)), (np.arange(750), np.arange(750, 1_500))]
    with pytest.warns(SensitiveFeaturesWarning, match=r"1 group\(s\) .* in some of the 2 folds .*'x': 1;"):
        calibrator = JSDivergenceCalibrator(
            DCovPoissonRegressor(alpha=1e-4), strengths=[0.0, 10.0], rule="elbow", cv=halves, **QUIET
        ).fit(book["X"], book["y"], sensitive_features=people)
    # The first of the models was fitted without anybody of the category that it is then held against.
    model = DCovPoissonRegressor(alpha=1e-4, strength=0).fit(book["X"][750:], book["y"][750:])
    expected = js_divergence(None, model.predict(book["X"][:750]), sensitive_features=people[:750])
    assert calibrator.calibration_results_["fold_divergence"][0, 0] == pytest.approx(expected, rel=1e-4)


def test_automatic_range_of_constant_predictions(book):
    with pytest.warns(SensitiveFeaturesWarning, match="found no divergence at strength 0"):
        calibrator = JSDivergenceCalibrator(DCovRidge(alpha=1.0), **QUIET).fit(
            np.zeros((1_500, 1)), book["y"], sensitive_features=book["people"]
        )
    assert calibrator.calibration_results_["strengths"].tolist() == [0.0]
    assert calibrator.best_strength_ == 0.0


def test_automatic_range_without_anything_to_find(book):
    by_chance = np.arange(1_500) % 2
    calibrator = JSDivergenceCalibrator(Unmoved(), **QUIET)
    with pytest.warns(SensitiveFeaturesWarning, match=r"not above its null level of .* only strength 0 is measured"):
        calibrator.fit(book["X"], book["y"], sensitive_features=by_chance)
    assert calibrator.best_strength_ == 0.0


def test_automatic_range_without_effect_is_refused(book):
    calibrator = JSDivergenceCalibrator(Unmoved(), **QUIET)
    with pytest.raises(ValueError, match=r"no strength up to 1e\+08 that changes the divergence"):
        calibrator.fit(book["X"], book["y"], sensitive_features=book["people"])


class Unmoved(SeededNoise):
    """Minds no strength."""

    def predict(self, X):
        return X[:, 0]


class Weakened(LogisticRegression):
    """A classifier of any number of classes with a strength."""

    def __init__(self, strength=0.0):
        super().__init__()
        self.strength = strength


def test_classifiers_that_cannot_be_compared_are_refused(book):
    calibrator = JSDivergenceCalibrator(Weakened(), strengths=[1.0], **QUIET)
    with pytest.raises(ValueError, match=r"two columns, those of a binary classifier; found shape \(300, 3\)"):
        calibrator.fit(book["X"], np.arange(1_500) % 3, sensitive_features=book["people"])


def test_scores_that_are_not_finite(book):
    def value(y_true, y_pred, sample_weight):
        return np.nan

    score = make_weighted_scorer(value)
    assert _fit(book, scoring=score, rule="null_level", **{"strengths": [100.0]}).best_strength_ == 100.0
    for rule in ("elbow", "score_budget"):
        with pytest.raises(ValueError, match=f"rule='{rule}' compares scores.*none that is finite at strength 0"):
            _fit(book, scoring=score, rule=rule)


def test_constant_predictions_have_no_divergence(book):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calibrator = JSDivergenceCalibrator(DCovRidge(alpha=1.0), strengths=[1.0], **QUIET).fit(
            np.zeros((1_500, 1)), book["y"], sensitive_features=book["people"]
        )
    np.testing.assert_array_equal(calibrator.calibration_results_["mean_divergence"], 0.0)
    assert calibrator.best_strength_ == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strengths": []}, "at least one value"),
        ({"strengths": [1.0, 0.5]}, "strengths must increase"),
        ({"strengths": [1.0, 1.0]}, "strengths must increase"),
        ({"strengths": [-1.0, 1.0]}, "strengths must be a finite number >= 0; found -1"),
        ({"strengths": "fine"}, "strengths must be one of 'auto'"),
        ({"rule": "best"}, "rule must be one of 'null_level', 'threshold', 'elbow', 'score_budget'"),
        ({"rule": "threshold"}, "needs max_divergence"),
        ({"rule": "threshold", "max_divergence": -1.0}, "max_divergence must be a finite number >= 0"),
        ({"score_budget": -0.1}, "score_budget must be a finite number >= 0"),
        ({"if_unmet": "ignore"}, "if_unmet must be one of"),
        ({"null_quantile": 1.0}, "null_quantile must be between 0 and 1"),
        ({"n_permutations": 0}, "n_permutations must be a whole number >= 1"),
        ({"cv": 1}, "cv must be between 2 and the number of rows"),
        ({"param_name": "lambda"}, "no parameter 'lambda'"),
        ({"bandwidth": "wide"}, "bandwidth must be one of"),
        ({"strengths": 3.0}, "strengths must be 'auto' or a sequence of numbers; found 3.0"),
        ({"strengths": [1.0, np.nan]}, "strengths must be a finite number"),
        ({"min_group_size": 0}, "min_group_size must be a whole number >= 1"),
        ({"scoring": ["r2", "neg_mean_squared_error"]}, "scoring must be one score"),
        ({"rule": lambda results: True}, "must return an index into the 2 strengths; found True"),
    ],
)
def test_bad_parameters(book, options, message):
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), **{"strengths": [1.0], **QUIET, **options})
    with pytest.raises(ValueError, match=message):
        calibrator.fit(book["X"], book["y"], sensitive_features=book["people"])
    assert not [name for name in vars(calibrator) if name.endswith("_")]


def test_bad_data(book):
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), strengths=[1.0], **QUIET)
    with pytest.raises(MissingSensitiveFeaturesError, match="needs sensitive_features to form groups"):
        calibrator.fit(book["X"], book["y"])
    with pytest.raises(ValueError, match="single group"):
        calibrator.fit(book["X"], book["y"], sensitive_features=np.full(1_500, "f"))
    with pytest.raises(ValueError, match="sensitive_features must have as many rows as X"):
        calibrator.fit(book["X"], book["y"], sensitive_features=book["people"][:9])
    with pytest.raises(ValueError, match="y must have as many rows as X"):
        calibrator.fit(book["X"], book["y"][:9], sensitive_features=book["people"])
    with pytest.raises(ValueError, match="NaN"):
        calibrator.fit(np.full((1_500, 1), np.nan), book["y"], sensitive_features=book["people"])


def test_a_scorer_that_needs_groups_gets_them_or_raises(book):
    calibrator = _fit(book, scoring=neg_js_divergence_scorer, rule="elbow", strengths=[10.0])
    results = calibrator.calibration_results_
    with pytest.raises(MissingSensitiveFeaturesError):
        calibrator.score(book["X"], book["y"])
    np.testing.assert_allclose(results["fold_score"], -results["fold_divergence"], rtol=1e-12)


def test_take_rows():
    rows = np.array([2, 0])
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert take_rows(frame, rows)["a"].tolist() == [3, 1]
    assert take_rows(frame["a"], rows).tolist() == [3, 1]
    assert take_rows([1, 2, 3], rows) == [3, 1]
    assert take_rows([["f", 20], ["m", 31], ["f", 40]], rows) == [["f", 40], ["f", 20]]
