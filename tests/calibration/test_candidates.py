"""The record of all models that were tried."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import DCovRidge, JSDivergenceCalibrator
from fairdcov.calibration import search_candidates
from fairdcov.metrics import lowest_divergence_within, neg_js_divergence_scorer, neg_root_mean_squared_error_scorer


@pytest.fixture
def data(rng):
    n = 400
    group = rng.choice(["a", "b"], n)
    X = rng.normal(size=(n, 3)) + 0.8 * (group == "b")[:, None]
    return X, X @ [1.0, 0.5, 0.0] + rng.normal(size=n), group


def calibrator(**options):
    options = {"strengths": [0, 1, 10], "cv": 3, "n_permutations": 5, "verbose": 0, "rule": "elbow"} | options
    return JSDivergenceCalibrator(make_pipeline(StandardScaler(), DCovRidge()), **options)


def test_of_a_calibration(data):
    X, y, group = data
    model = calibrator().fit(X, y, sensitive_features=group)
    table, results = model.candidates_, model.calibration_results_
    assert table["estimator"].tolist() == ["DCovRidge"] * 3
    assert table["strength"].tolist() == [0, 1, 10]
    assert set(table["rule"]) == {"elbow"}
    columns = {
        "score": "mean_score",
        "score_std_error": "std_error_score",
        "kept": "kept",
        "divergence": "mean_divergence",
        "divergence_std_error": "std_error_divergence",
        "net_divergence": "mean_net_divergence",
        "null_level": "null_level",
        "seconds": "mean_fit_seconds",
    }
    for column, name in columns.items():
        np.testing.assert_array_equal(table[column], results[name])
    assert np.flatnonzero(table["chosen"]).tolist() == [model.best_index_]
    assert table.loc[table["chosen"], "strength"].item() == model.best_strength_
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(model)).candidates_, table)


def test_a_rule_of_ones_own_is_named(data):
    X, y, group = data

    def second(results):
        return 1

    model = calibrator(rule=second).fit(X, y, sensitive_features=group)
    assert set(model.candidates_["rule"]) == {"second"}
    assert model.candidates_["chosen"].tolist() == [False, True, False]


def test_nothing_before_the_fit():
    assert not hasattr(calibrator(), "candidates_")
    with pytest.raises(NotFittedError):
        _ = calibrator().candidates_
    with pytest.raises(NotFittedError):
        search_candidates(GridSearchCV(DCovRidge(), {"strength": [0]}))


def test_of_a_search_with_two_scorers(data):
    X, y, group = data
    rule = lowest_divergence_within(0.5, score="error", divergence="divergence")
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), DCovRidge()),
            {"dcovridge__strength": [0.0, 1.0, 10.0], "dcovridge__alpha": [0.1]},
            scoring={"error": neg_root_mean_squared_error_scorer, "divergence": neg_js_divergence_scorer},
            refit=rule,
            cv=4,
        ).fit(X, y, sensitive_features=group)
    table = search_candidates(search)
    assert table.columns.tolist() == [
        *("estimator", "dcovridge__alpha", "strength", "rule"),
        *("error", "error_std_error", "divergence", "divergence_std_error", "seconds", "chosen"),
    ]
    assert table["strength"].tolist() == [0, 1, 10]
    assert table["rule"].iloc[0] == repr(rule)
    np.testing.assert_array_equal(table["divergence"], search.cv_results_["mean_test_divergence"])
    folds = np.array([search.cv_results_[f"split{fold}_test_error"] for fold in range(4)])
    np.testing.assert_allclose(table["error_std_error"], folds.std(axis=0, ddof=1) / 2)
    assert np.flatnonzero(table["chosen"]).tolist() == [search.best_index_]


def test_of_other_searches(data):
    X, y, _ = data
    parameters = [{"strength": [0.0]}, {"alpha": [1.0, 2.0]}]
    search = RandomizedSearchCV(DCovRidge(strength=0), parameters, n_iter=3, cv=2, random_state=0).fit(X, y)
    table = search_candidates(search)
    assert sorted(table.columns) == sorted(
        ["estimator", "alpha", "strength", "rule", "score", "score_std_error", "seconds", "chosen"]
    )
    assert table["strength"].notna().sum() == 1
    assert table["rule"].isna().all()
    unchosen = GridSearchCV(DCovRidge(), {"strength": [0.0]}, scoring=["r2"], refit=False, cv=2).fit(X, y)
    assert not search_candidates(unchosen)["chosen"].any()
