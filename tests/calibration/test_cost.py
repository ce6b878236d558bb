"""What a calibration says of its choice: order, actual over expected and changes on rows held out, against pandas."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import PredefinedSplit

from fairdcov import (
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    JSDivergenceCalibrator,
    with_probabilities,
)
from fairdcov.metrics import gini
from fairdcov.plots import CalibrationDisplay

# What is counted here is right for any choice.
pytestmark = pytest.mark.filterwarnings("ignore:rule='elbow' chooses strength 0")


@pytest.fixture
def book(rng):
    n = 1_200
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "age": rng.uniform(18, 80, n)})
    X = np.column_stack([(people["gender"] == "f") + 0.5 * rng.normal(size=n), rng.normal(size=n)])
    exposure = rng.uniform(0.2, 1.0, n)
    claims = rng.poisson(exposure * np.exp(-0.5 + 0.5 * X[:, 0] + 0.3 * X[:, 1]))
    return {"X": X, "y": claims / exposure, "exposure": exposure, "people": people, "fold": np.arange(n) % 2}


OPTIONS = {"strengths": [0.0, 3.0, 30.0], "rule": "elbow", "bins": {"age": [0, 40, 100]}, "verbose": 0}


def by_hand(book, model):
    """Predictions of all rows by the models that have not seen them, a column for each strength."""
    held = np.empty((len(book["y"]), 3))
    for fold in (0, 1):
        fitted = book["fold"] != fold
        path = model.strength_path(
            book["X"][fitted],
            book["y"][fitted],
            OPTIONS["strengths"],
            book["exposure"][fitted],
            sensitive_features=book["people"][fitted],
        )
        for column, one in enumerate(path):
            held[~fitted, column] = one.predict(book["X"][~fitted])
    return held


def test_it_is_that_of_the_rows_held_out(book):
    model = DCovPoissonRegressor(alpha=1e-3)
    calibrator = JSDivergenceCalibrator(model, cv=PredefinedSplit(book["fold"]), **OPTIONS)
    calibrator.fit(book["X"], book["y"], book["exposure"], sensitive_features=book["people"])
    results, best = calibrator.calibration_results_, calibrator.best_index_
    held, weights = by_hand(book, model), book["exposure"]
    levels = {("gender", g): (book["people"]["gender"] == g).to_numpy() for g in ("f", "m")}
    assert set(calibrator.levels_) >= set(levels)
    assert len(calibrator.levels_) == 4
    for position, key in enumerate(calibrator.levels_):
        if key in levels:
            rows = levels[key]
        else:
            rows = (book["people"]["age"] >= 40).to_numpy() == (key[1].left == 40)
        expected = (weights * book["y"])[rows].sum() / (weights[:, None] * held)[rows].sum(axis=0)
        np.testing.assert_allclose(results["actual_to_expected"][:, position], expected, rtol=1e-6)
    change = np.abs(held - held[:, :1])
    moved = weights @ change / (weights @ held[:, 0])
    np.testing.assert_allclose(results["premium_that_changes"], moved, rtol=1e-5, atol=1e-12)
    large = weights @ (change > 0.1 * held[:, :1]) / weights.sum()
    np.testing.assert_allclose(results["exposure_that_changes"], large, atol=2e-3)
    index = [
        np.mean(
            [
                gini(book["y"][rows], held[rows, column], sample_weight=weights[rows])
                for rows in (book["fold"] == 0, book["fold"] == 1)
            ]
        )
        for column in range(3)
    ]
    np.testing.assert_allclose(results["mean_gini"], index, rtol=1e-6)
    np.testing.assert_allclose(results["gini_kept"], results["mean_gini"] / results["mean_gini"][0])

    table = calibrator.cost_.set_index("measure")
    assert table.loc["score"].tolist() == [
        results["mean_score"][0],
        results["mean_score"][best],
        results["kept"][best],
    ]
    assert table.loc["premium that changes", "chosen"] == results["premium_that_changes"][best]
    assert table.index[-4:].str.startswith("A/E of ").all()
    text = calibrator.summary()
    assert text.startswith(f"strength {calibrator.best_strength_:g} by rule elbow, of 3: divergence ")
    assert f"Gini {results['mean_gini'][0]:.4g} -> {results['mean_gini'][best]:.4g}: keeps " in text
    assert "of the premium changes" in text
    assert "gender f " in text
    assert {"gini_kept", "premium_that_changes"} <= set(calibrator.candidates_)


def test_of_attributes_known_as_probabilities(book):
    certain = np.column_stack([book["people"]["gender"] == "f", book["people"]["gender"] == "m"]).astype(float)
    people = with_probabilities(pd.DataFrame(certain, columns=["f", "m"]), {"gender": ["f", "m"]})
    options = {**OPTIONS, "bins": None, "strengths": [3.0], "cv": PredefinedSplit(book["fold"])}
    found = []
    for given in (people, book["people"][["gender"]]):
        calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), **options)
        calibrator.fit(book["X"], book["y"], book["exposure"], sensitive_features=given)
        results = calibrator.calibration_results_
        found.append(dict(zip(calibrator.levels_, results["actual_to_expected"].T, strict=True)))
    for key in (("gender", "f"), ("gender", "m")):
        np.testing.assert_allclose(found[0][key], found[1][key], rtol=1e-6)


def test_of_a_classifier_the_second_class_is_counted(book):
    y = np.where(book["y"] > 0, "yes", "no")
    calibrator = JSDivergenceCalibrator(DCovLogisticRegression(), cv=2, **{**OPTIONS, "strengths": [1.0], "bins": None})
    calibrator.fit(book["X"], y, sensitive_features=book["people"][["gender"]])
    np.testing.assert_allclose(calibrator.calibration_results_["actual_to_expected"][0], 1.0, atol=0.2)


def test_targets_below_0_have_no_gini(book):
    calibrator = JSDivergenceCalibrator(DCovRidge(), cv=2, **{**OPTIONS, "strengths": [1.0]})
    calibrator.fit(book["X"], book["y"] - 1.0, sensitive_features=book["people"])
    assert np.isnan(calibrator.calibration_results_["mean_gini"]).all()
    assert "Gini" not in calibrator.cost_["measure"].tolist()
    assert "Gini" not in calibrator.summary()


def test_the_picture_says_what_is_kept(book):
    pytest.importorskip("matplotlib").use("Agg")
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), cv=2, **OPTIONS)
    calibrator.fit(book["X"], book["y"], book["exposure"], sensitive_features=book["people"])
    display = CalibrationDisplay.from_estimator(calibrator)
    kept = calibrator.calibration_results_["kept"][calibrator.best_index_]
    label = display.best_markers_[0].get_label()
    assert f"keeps {kept:.0%} of what is explained and " in label
    assert "of the Gini index" in label
