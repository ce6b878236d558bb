"""What a calibration makes of folds, scorers and groups that were not thought through."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold, KFold
from sklearn.naive_bayes import GaussianNB

from fairdcov import DCovPoissonRegressor, FairBarycentreRegressor, JSDivergenceCalibrator, UnawareFairRegressor
from fairdcov.calibration._rules import choose
from fairdcov.exceptions import CalibrationWarning

OPTIONS = {"strengths": [0, 0.5], "rule": "score_budget", "score_budget": 0.0, "n_permutations": 2, "verbose": 0}
REFERENCE = FairBarycentreRegressor(DCovPoissonRegressor(strength=0, alpha=1e-3), GaussianNB())


@pytest.fixture
def book(rng):
    n = 300
    group = rng.choice(["f", "m"], n)
    X = np.column_stack([1.0 * (group == "m") + 0.7 * rng.normal(size=n), rng.normal(size=n)])
    y = rng.poisson(np.exp(0.5 * (group == "m") + 0.5 * X[:, 1])) * 1.0
    return X, y, group


def calibrate(book, estimator=None, fit_params=None, **options):
    X, y, group = book
    calibrator = JSDivergenceCalibrator(estimator or DCovPoissonRegressor(), **(OPTIONS | options))
    return calibrator.fit(X, y, sensitive_features=group, **(fit_params or {}))


def test_masks_lists_and_generators_are_folds_as_positions_are(book):
    splits = list(KFold(3).split(book[0]))
    expected = calibrate(book, cv=splits).calibration_results_["fold_divergence"]
    masks = [tuple(np.isin(np.arange(300), rows) for rows in split) for split in splits]
    lists = [(fitted.tolist(), held.tolist()) for fitted, held in splits]
    for cv in (masks, lists, iter(splits), KFold(3).split(book[0]), KFold(3)):
        assert_array_equal(calibrate(book, cv=cv).calibration_results_["fold_divergence"], expected)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((np.arange(100), np.arange(100, 301)), "fold 0 of 1 in cv has the row 300; X has rows 0 to 299"),
        ((np.arange(-1, 100), np.arange(100, 300)), "has the row -1"),
        ((np.zeros(0, dtype=int), np.arange(300)), "fold 0 of 1 in cv has no row to fit"),
        ((np.arange(100) / 2, np.arange(100, 300)), "positions of rows, or masks .*type float64"),
        ((np.ones(299, dtype=bool), np.arange(100, 300)), r"masks \(300,\); found an array of shape \(299,\)"),
    ],
)
def test_folds_that_are_none(book, split, message):
    with pytest.raises(ValueError, match=message):
        calibrate(book, cv=[split])


def test_rows_that_were_fitted_are_no_new_rows(book):
    rows = np.arange(300)
    with pytest.warns(
        CalibrationWarning, match=r"fold 0 of 2 in cv holds out 20 row\(s\) that its models are fitted to"
    ):
        calibrate(book, cv=[(rows[:200], rows[180:]), (rows[150:], rows[:150])])
    with (
        pytest.warns(CalibrationWarning, match="holds out 300 row"),
        pytest.raises(ValueError, match="reference needs folds that hold out rows that they are not fitted to"),
    ):
        calibrate(book, cv=[(rows, rows)], reference=REFERENCE)


def test_groups_without_a_splitter_that_takes_them(book):
    groups = np.arange(300) // 10
    assert calibrate(book, cv=GroupKFold(3), fit_params={"groups": groups}).n_splits_ == 3
    with pytest.raises(TypeError, match=r"groups is for a splitter, such as cv=GroupKFold\(5\); cv=3 makes"):
        calibrate(book, cv=3, fit_params={"groups": groups})


@pytest.mark.parametrize("value", [None, np.ones(2), {"a": 1.0}, "much"])
def test_scores_that_are_no_number(book, value):
    def own_scorer(estimator, X, y):
        estimator.predict(X)
        return value

    with pytest.raises(TypeError, match=r"scoring must give one number.*own_scorer"):
        calibrate(book, scoring=own_scorer)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite(book, value):
    def own_scorer(estimator, X, y):
        return value

    for rule in ("elbow", "score_budget"):
        with pytest.raises(ValueError, match="some fold has none that is finite at strength 0"):
            calibrate(book, scoring=own_scorer, rule=rule)
    with pytest.warns(CalibrationWarning, match="has no finite score in some fold"):
        calibrator = calibrate(book, scoring=own_scorer, rule=lambda results: 0)
    assert np.isnan(calibrator.calibration_results_["kept"]).all()


def test_a_class_and_a_quantile_that_is_no_number(book):
    with pytest.raises(TypeError, match=r"such as DCovPoissonRegressor\(\); found the class DCovPoissonRegressor"):
        calibrate(book, DCovPoissonRegressor)
    with pytest.raises(ValueError, match="null_quantile must be between 0 and 1; found 'a'"):
        calibrate(book, null_quantile="a")


def test_an_elbow_that_is_none_is_said():
    results = {
        "strengths": np.array([0.0, 1.0, 2.0]),
        "mean_divergence": np.array([0.3, 0.2, 0.1]),
        "mean_score": np.array([0.2, 0.05, 0.0]),
    }
    with pytest.warns(CalibrationWarning, match="rule='elbow' chooses strength 0, no penalty"):
        assert choose("elbow", results, "raise") == (0, True)
    assert choose("elbow", results | {"mean_score": np.array([0.2, 0.19, 0.0])}, "raise") == (1, True)


def test_rows_without_weight_are_asked_of_no_reference(book):
    X, y, group = book
    group = group.astype(object)
    group[:4] = "x"
    weights = np.where(group == "x", 0.0, 1.0)
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), reference=REFERENCE, cv=KFold(3), **OPTIONS)
    with pytest.warns(UserWarning, match="not compared there"):
        gap = calibrator.fit(X, y, weights, sensitive_features=group).frontier_gap_
    assert np.isfinite(gap.table[["deviance", "divergence"]]).all(axis=None)


def test_lists_are_features_of_references_as_arrays_are(book):
    X, y, group = book
    expected = calibrate(book, reference=REFERENCE, cv=3).frontier_gap_.table
    found = calibrate((X.tolist(), y.tolist(), group.tolist()), reference=REFERENCE, cv=3).frontier_gap_.table
    pd.testing.assert_frame_equal(found, expected)
    trees = HistGradientBoostingRegressor(loss="poisson", max_iter=3)
    unaware = UnawareFairRegressor(DCovPoissonRegressor(alpha=1e-2), trees, GaussianNB(), cv=2)
    unaware.fit(X, y, sensitive_features=group)
    assert_allclose(unaware.predict(unaware.prepare(X[:5].tolist())), unaware.predict(X[:5]))
