"""Offsets in calibration and in scorers: each fold has its own, and whoever asks for predictions gets them with it."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from fairdcov import (
    DCovGammaRegressor,
    DCovPoissonRegressor,
    FrequencySeverityRegressor,
    JSDivergenceCalibrator,
)
from fairdcov.calibration._folds import stratified_splits
from fairdcov.metrics import js_divergence, mean_deviance, neg_js_divergence_scorer, neg_poisson_deviance_scorer

OPTIONS = {"strengths": [0, 1.0], "cv": 2, "rule": "score_budget", "score_budget": 1.0, "n_permutations": 2}
OPTIONS |= {"verbose": 0, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")


@pytest.fixture
def book(rng):
    n = 400
    gender = rng.integers(0, 2, n)
    X = np.column_stack([gender + rng.normal(size=n), rng.normal(size=n)])
    offset = 0.8 * gender + 0.5 * rng.normal(size=n)
    rate = rng.poisson(np.exp(offset + 0.3 * X[:, 0])).astype(float)
    return X, rate, {"sample_weight": rng.uniform(0.5, 1.0, n), "sensitive_features": gender, "offset": offset}


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("scoring", [None, neg_poisson_deviance_scorer])
@pytest.mark.parametrize("pipeline", [False, True])
def test_folds_predict_with_their_part_of_the_offset(book, routing, scoring, pipeline):
    X, y, given = book
    model = DCovPoissonRegressor(alpha=1e-3)
    estimator = make_pipeline(PolynomialFeatures(include_bias=False), model) if pipeline else model
    with sklearn.config_context(enable_metadata_routing=routing):
        calibrator = JSDivergenceCalibrator(estimator, scoring=scoring, **OPTIONS).fit(X, y, **given)
        prediction = calibrator.predict(X, offset=given["offset"])
        with pytest.raises(ValueError, match="was fitted with an offset"):
            calibrator.predict(X)
    assert prediction @ given["sample_weight"] == pytest.approx(y @ given["sample_weight"], rel=1e-2)
    # By hand, on the same folds.
    sections = stratified_splits(OPTIONS["cv"], given["sensitive_features"], 0)
    for fold, (fitted, held) in enumerate(sections):
        by_hand = make_pipeline(PolynomialFeatures(include_bias=False), DCovPoissonRegressor(alpha=1e-3, strength=0))
        if not pipeline:
            by_hand = by_hand[-1:]
        name = "dcovpoissonregressor__"
        own = {name + key: given[key][fitted] for key in ("sample_weight", "offset")}
        by_hand.fit(X[fitted], y[fitted], **own)
        there = by_hand.predict(X[held], offset=given["offset"][held])
        weights = given["sample_weight"][held]
        divergence = js_divergence(
            y[held], there, sensitive_features=given["sensitive_features"][held], sample_weight=weights
        )
        assert calibrator.calibration_results_["fold_divergence"][0, fold] == pytest.approx(divergence, abs=1e-3)
        score = -mean_deviance(y[held], there, sample_weight=weights, power=1)
        if scoring is not None:
            assert calibrator.calibration_results_["fold_score"][0, fold] == pytest.approx(score, rel=1e-4)


def test_scorers_ask_for_predictions_with_the_offset(book):
    X, y, given = book
    model = DCovPoissonRegressor(strength=0).fit(X, y, offset=given["offset"])
    prediction = model.predict(X, offset=given["offset"])
    own = {"sample_weight": given["sample_weight"], "offset": given["offset"]}
    expected = -mean_deviance(y, prediction, sample_weight=given["sample_weight"], power=1)
    assert neg_poisson_deviance_scorer(model, X, y, **own) == pytest.approx(expected)
    expected = -js_divergence(y, prediction, sensitive_features=given["sensitive_features"])
    found = neg_js_divergence_scorer(
        model, X, y, sensitive_features=given["sensitive_features"], offset=given["offset"]
    )
    assert found == pytest.approx(expected)
    with pytest.raises(ValueError, match="was fitted with an offset"):
        neg_poisson_deviance_scorer(model, X, y)
    with sklearn.config_context(enable_metadata_routing=True):
        scoring = {"deviance": neg_poisson_deviance_scorer, "divergence": neg_js_divergence_scorer}
        found = cross_validate(
            DCovPoissonRegressor(strength=0), X, y, params=given, scoring=scoring, cv=2, error_score="raise"
        )
        assert np.isfinite(found["test_deviance"]).all()
        search = GridSearchCV(DCovPoissonRegressor(), {"strength": [0, 1.0]}, cv=2, error_score="raise")
        search.fit(X, y, **given)
        assert search.predict is not None
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("cut", [slice(-1), slice(0, 200)])
def test_an_offset_of_another_length_is_compared_with_all_rows(book, cut):
    # 200 are the rows of one fold of two.
    X, y, given = book
    given["offset"] = given["offset"][cut]
    message = f"offset must have as many rows as X: found {len(given['offset'])} instead of 400"
    with pytest.raises(ValueError, match=message):
        JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), **OPTIONS).fit(X, y, **given)


def test_an_offset_that_is_not_finite_is_refused_in_all_folds(book):
    X, y, given = book
    given["offset"][7] = np.inf
    with pytest.raises(ValueError, match="offset must be finite; found 1 infinite"):
        JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), **OPTIONS).fit(X, y, **given)


def test_claims_of_another_length_are_compared_with_all_rows(book):
    X, y, given = book
    del given["offset"]
    joint = FrequencySeverityRegressor(DCovPoissonRegressor(alpha=1e-3), DCovGammaRegressor(alpha=1e-3))
    with pytest.raises(ValueError, match="claims must have as many rows as X: found 200 instead of 400"):
        JSDivergenceCalibrator(joint, **OPTIONS).fit(X, y, claims=y[:200], **given)
