"""Predictions and scores from raw predictions, for any learner: finite or refused, rows of weight 0 not scored."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.metrics import d2_tweedie_score, r2_score

from fairdcov._fitting import BinaryClassifier, DevianceRegressor, HalfSquaredError, HalfTweedieLoss


class Regressor(DevianceRegressor, BaseEstimator):
    """Predicts from its first feature, which is the raw prediction."""

    def __init__(self, loss=None):
        self.loss = loss

    def _loss(self):
        return self.loss

    def _raw_predict(self, X):
        return np.asarray(X)[:, 0]


class Classifier(BinaryClassifier, BaseEstimator):
    """Predicts from its first feature, which is the log odds."""

    classes_ = np.array(["no", "yes"])

    def _raw_predict(self, X):
        return np.asarray(X)[:, 0]


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_predictions_go_through_the_link():
    raw = column(-1.0, 0.0, 2.0)
    np.testing.assert_allclose(Regressor(HalfTweedieLoss(1.0)).predict(raw), np.exp(raw[:, 0]), rtol=1e-15)
    np.testing.assert_array_equal(Regressor(HalfSquaredError()).predict(raw), raw[:, 0])


@pytest.mark.parametrize("wrong", [800.0, np.nan, np.inf])
def test_predictions_that_are_not_finite_are_refused(wrong):
    with pytest.raises(ValueError, match=r"2 of 3 predictions are not finite, first in row 1"):
        Regressor(HalfTweedieLoss(1.0)).predict(column(0.0, wrong, wrong))


@pytest.mark.parametrize("wrong", [np.nan, -np.inf])
def test_log_odds_that_are_not_finite_are_refused(wrong):
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(ValueError, match=r"1 of 2 log odds are not finite, first in row 0"):
            getattr(Classifier(), method)(column(wrong, 0.0))


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_score_is_the_deviance_explained(rng, power, weighted):
    raw, y = rng.normal(size=(40, 1)), rng.gamma(2.0, size=40)
    weights = rng.integers(0, 3, 40).astype(float) if weighted else None
    expected = d2_tweedie_score(y, np.exp(raw[:, 0]), sample_weight=weights, power=power)
    assert Regressor(HalfTweedieLoss(power)).score(raw, y, weights) == pytest.approx(expected, rel=1e-12)
    expected = r2_score(y, raw[:, 0], sample_weight=weights)
    assert Regressor(HalfSquaredError()).score(raw, y, weights) == pytest.approx(expected, rel=1e-12)


def test_whole_number_weights_repeat_rows(rng):
    raw, y, weights = rng.normal(size=(20, 1)), rng.poisson(1.0, 20).astype(float), rng.integers(0, 3, 20)
    model = Regressor(HalfTweedieLoss(1.0))
    repeated = np.repeat(np.arange(20), weights)
    assert model.score(raw, y, weights) == pytest.approx(model.score(raw[repeated], y[repeated]), rel=1e-12)


def test_where_nothing_is_to_be_explained_only_the_value_itself_scores():
    model = Regressor(HalfSquaredError())
    assert model.score(column(2.0, 2.0), [2.0, 2.0]) == 1.0
    assert model.score(column(2.0, 2.5), [2.0, 2.0]) == 0.0
    # The row that is another has no weight.
    assert model.score(column(2.0, 2.0, 0.0), [2.0, 2.0, 9.0], [1.0, 1.0, 0.0]) == 1.0


def test_probabilities_sum_to_1_and_agree_with_their_logarithms():
    log_odds = column(-800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0)
    model = Classifier()
    probabilities = model.predict_proba(log_odds)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(probabilities[:, ::-1], model.predict_proba(-log_odds))
    logarithms = model.predict_log_proba(log_odds)
    np.testing.assert_allclose(np.exp(logarithms), probabilities, rtol=1e-12)
    assert np.isfinite(logarithms).all()


def test_the_more_probable_label_is_predicted_and_the_first_at_a_tie():
    np.testing.assert_array_equal(Classifier().predict(column(-2.0, 0.0, 2.0)), ["no", "no", "yes"])


def test_the_score_is_that_of_predict():
    """What is put in the place of ``predict`` is scored: so the calibration learns what a constant would get."""
    model, y = Regressor(HalfTweedieLoss(1.0)), np.array([1.0, 2.0, 6.0])
    assert model.score(column(0.0, 1.0, 2.0), y) != 0.0
    model.predict = lambda X: np.full(len(X), y.mean())
    assert model.score(column(0.0, 1.0, 2.0), y) == pytest.approx(0.0, abs=1e-15)
