"""``score`` of the regressors where scikit-learn's share of deviance has no denominator."""

import numpy as np
import pytest
from sklearn.metrics import d2_tweedie_score, r2_score

from fairdcov import (
    DCovGammaRegressor,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)

REGRESSORS = [
    DCovPoissonRegressor(strength=0),
    DCovGammaRegressor(strength=0),
    DCovNegativeBinomialRegressor(strength=0),
    DCovTweedieRegressor(strength=0, power=1.5),
    DCovRidge(strength=0),
]


@pytest.fixture
def fitted(rng):
    X = rng.normal(size=(80, 2))
    y = rng.gamma(2.0, np.exp(0.4 * X[:, 0]))
    return X, y


@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_target_scores_0_as_in_scikit_learn(fitted, estimator, weighted):
    X, y = fitted
    model = estimator.fit(X, y)
    weights = np.linspace(0.0, 1.0, 80) if weighted else None
    constant = np.full(80, 2.5)
    if weighted:
        # A row that does not count is no variation.
        constant[0] = 99.0
    score = model.score(X, constant, sample_weight=weights)
    assert score == 0.0 == r2_score(constant, model.predict(X), sample_weight=weights if weighted else None)
    assert isinstance(score, float)


def test_a_fold_without_claims_scores_0(fitted):
    X, y = fitted
    assert DCovPoissonRegressor(strength=0).fit(X, y).score(X, np.zeros(80)) == 0.0


def test_predictions_that_are_the_constant_score_1(rng):
    X = rng.normal(size=(20, 2))
    model = DCovRidge(strength=0, alpha=1e6).fit(X, np.full(20, 3.0))
    model.coef_[:] = 0.0
    assert model.intercept_ == 3.0
    assert model.score(X, np.full(20, 3.0)) == 1.0


def test_any_other_target_scores_as_before(fitted):
    X, y = fitted
    model = DCovPoissonRegressor(strength=0).fit(X, y)
    weights = np.linspace(0.1, 1.0, 80)
    expected = d2_tweedie_score(y, model.predict(X), sample_weight=weights, power=1)
    assert model.score(X, y, sample_weight=weights) == expected


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("link", ["identity", "log"])
def test_the_share_of_deviance_is_that_of_scikit_learn(fitted, power, link):
    X, y = fitted
    model = DCovTweedieRegressor(strength=0, power=power, link=link, alpha=0.1).fit(X, y + 1.0)
    expected = d2_tweedie_score(y + 1.0, model.predict(X), power=power)
    assert model.score(X, y + 1.0) == pytest.approx(expected, rel=1e-14)


def test_predictions_outside_the_family_are_said(fitted):
    X, y = fitted
    model = DCovTweedieRegressor(strength=0, power=3, link="identity", alpha=0.1).fit(X, y + 1.0)
    with pytest.raises(ValueError, match="deviances are not finite"):
        model.score(X - 100.0 * np.sign(model.coef_), y + 1.0)
    with pytest.raises(ValueError, match="needs y > 0; found 1 value"):
        model.score(X, np.r_[0.0, y[1:]])
    with pytest.raises(ValueError, match="y must have as many rows as X"):
        model.score(X, y[:-1])


def test_the_share_of_deviance_of_a_negative_binomial_model(fitted):
    X, y = fitted
    model = DCovNegativeBinomialRegressor(strength=0, alpha=1e-3, dispersion=0.4).fit(X, np.round(y))
    target, mu = np.round(y), model.predict(X)

    def deviance(mu):
        ratio = np.where(target > 0, target / mu, 1.0)
        return 2 * (target * np.log(ratio) - (target + 2.5) * np.log((1 + 0.4 * target) / (1 + 0.4 * mu))).sum()

    expected = 1 - deviance(mu) / deviance(np.full(80, target.mean()))
    assert model.score(X, target) == pytest.approx(expected, rel=1e-12)
    assert model.score(X, target) > 0.05
