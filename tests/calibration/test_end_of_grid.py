"""The grid of strengths ends where the models go by no larger one, and the calibrator says so."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.datasets import make_motor_portfolio
from fairdcov.exceptions import CalibrationWarning, StrengthWarning


class Capped(RegressorMixin, BaseEstimator):
    """Linear predictions that shrink with the strength, which counts as 1,000 at most."""

    def __init__(self, strength=1.0):
        self.strength = strength

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None):
        self.effective_strength_ = min(self.strength, 1e3)
        if self.effective_strength_ < self.strength:
            warnings.warn("goes by 1,000", StrengthWarning, stacklevel=2)
        self.line_ = LinearRegression().fit(X, y, sample_weight=sample_weight)
        return self

    def predict(self, X):
        return 1.0 + self.line_.predict(X) / (1.0 + self.effective_strength_)


BINS = {"age": [0, 40, 120]}
STRENGTHS = [1.0, 10.0, 1e5, 1e6, 1e7]


@pytest.fixture(scope="module")
def book():
    return make_motor_portfolio(2_000, random_state=5)


def calibrate(book, estimator, strengths, rule="elbow"):
    X = book.data.select_dtypes("number")
    calibrator = JSDivergenceCalibrator(
        estimator, strengths=strengths, rule=rule, bins=BINS, cv=2, n_permutations=10, min_group_size=1, random_state=0
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calibrator.fit(X, book.target, book.exposure, sensitive_features=book.sensitive_features)
    return calibrator, caught


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_strengths_beyond_the_largest_are_left_out_and_said(book, in_pipeline):
    model = make_pipeline(StandardScaler(), Capped()) if in_pipeline else Capped()
    calibrator, caught = calibrate(book, model, STRENGTHS)
    said = [str(warning.message) for warning in caught if warning.category is StrengthWarning]
    # Once for the grid; the model that is fitted last says it of itself where it is the last of the grid.
    assert len(said) == 1 + (calibrator.best_strength_ > 1e3)
    assert said[0].startswith("the grid of strengths ends at 100000:")
    assert said[0].endswith("Left out: 1e+06, 1e+07")
    results = calibrator.calibration_results_
    np.testing.assert_array_equal(results["strengths"], [0.0, 1.0, 10.0, 1e5])
    assert len(calibrator.levels_) == results["actual_to_expected"].shape[1]
    for name, values in results.items():
        assert len(values) == (2 if name == "fold_constant_score" else 4)


def test_a_linear_model_ends_the_grid_where_every_fold_is_at_its_largest(book):
    calibrator, caught = calibrate(book, DCovPoissonRegressor(alpha=1e-4, fit_intercept=True), [1.0, 1e9, 1e10])
    said = [str(warning.message) for warning in caught if warning.category is StrengthWarning]
    assert said[0].endswith("Left out: 1e+10")
    assert len(calibrator.calibration_results_["mean_score"]) == 3


def test_an_ordinary_grid_is_measured_whole(book):
    calibrator, caught = calibrate(book, DCovPoissonRegressor(alpha=1e-4), [1.0, 10.0])
    assert not [warning for warning in caught if warning.category is StrengthWarning]
    assert len(calibrator.calibration_results_["strengths"]) == 3


def test_no_larger_strength_is_suggested_where_none_can_be_gone_by(book):
    def last(results):
        return len(results["strengths"]) - 1

    def advised(strengths):
        _, caught = calibrate(book, Capped(), strengths, rule=last)
        messages = [str(warning.message) for warning in caught if warning.category is CalibrationWarning]
        return any("is the largest that was tried" in message for message in messages)

    assert advised([1.0, 10.0])
    assert not advised([1.0, 1e6, 1e7])
