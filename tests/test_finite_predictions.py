"""No prediction that is not a number, or infinite, is passed on; and none comes out of a fit."""

import numpy as np
import pytest
from sklearn.base import clone

from fairdcov import (
    DCovGammaRegressor,
    DCovLGBMClassifier,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    DCovXGBRegressor,
)
from fairdcov.neural import DCovMLPRegressor


def rows(rng, n=200):
    X = rng.normal(size=(n, 3))
    return X, rng.poisson(np.exp(0.5 * X[:, 0])) + 0.1, rng.integers(0, 2, n)


@pytest.mark.parametrize("linear", [DCovGammaRegressor(), DCovPoissonRegressor(), DCovTweedieRegressor(power=1.5)])
def test_an_overflow_of_the_link_is_an_error(linear, rng):
    X, y, _ = rows(rng)
    model = clone(linear).set_params(strength=0).fit(X, y)
    far = X.copy()
    far[7] = 1e9 * np.sign(model.coef_)
    with pytest.raises(
        ValueError, match=r"1 of 200 predictions are not finite, first in row 7: the raw prediction ther"
    ):
        model.predict(far)
    with pytest.raises(ValueError, match="not finite"):
        model.score(far, y)
    # down to 0 is a number
    far[7] = -far[7]
    assert model.predict(far)[7] == 0.0


def test_raw_predictions_that_overflow_are_an_error(rng):
    X, y, _ = rows(rng)
    model = DCovRidge(strength=0).fit(X, y)
    far = np.full((1, 3), 1.7e308) * np.sign(model.coef_)
    model.coef_ = 10 * model.coef_
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="1 of 1 predictions are not finite"):
        model.predict(far)
    model = DCovLogisticRegression(strength=0).fit(X, y > 1)
    model.coef_ = 1e3 * model.coef_
    for method in ("decision_function", "predict", "predict_proba", "predict_log_proba"):
        with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="log odds are not finite"):
            getattr(model, method)(np.full((1, 3), 1.7e308) * np.sign(model.coef_))


def test_networks_and_boosters_pass_on_nothing_infinite(rng, monkeypatch):
    for cls in (DCovMLPRegressor, DCovLGBMRegressor, DCovXGBRegressor):
        monkeypatch.setattr(cls, "_raw_predict", lambda self, X: np.array([0.0, np.nan]))
        with pytest.raises(ValueError, match=r"1 of 2 predictions are not finite, first in row 1: .* is nan"):
            cls(objective="gamma").predict(None)
    monkeypatch.setattr(DCovLGBMClassifier, "_raw_predict", lambda self, X: np.array([np.inf]))
    with pytest.raises(ValueError, match="1 of 1 log odds are not finite"):
        DCovLGBMClassifier().predict_proba(None)


BOOSTERS = [pytest.param(DCovLGBMRegressor, "lightgbm"), pytest.param(DCovXGBRegressor, "xgboost")]


@pytest.mark.parametrize(("booster", "package"), BOOSTERS)
@pytest.mark.parametrize("objective", ["squared_error", "poisson", "negative_binomial", "gamma", "tweedie"])
def test_targets_beyond_single_precision_are_refused(booster, package, objective, rng):
    pytest.importorskip(package)
    X, y, S = rows(rng)
    model = booster(objective=objective, n_estimators=3, n_penalised_rounds=2, n_jobs=1)
    for unit in (1e-300, 1e-40, 1e40, 1e300):
        with pytest.raises(ValueError, match=r"y must have sizes between 1\.18e-38 and 3\.4e\+38"):
            model.fit(X, y * unit, sensitive_features=S)
        with pytest.raises(ValueError, match="y of eval_set must have sizes"):
            model.fit(X, y, sensitive_features=S, eval_set=(X, y * unit), eval_sensitive_features=S)
    for unit in (1e-60, 1e60):
        with pytest.raises(ValueError, match="sample_weight must have sizes"):
            model.fit(X, y, np.full(200, unit), sensitive_features=S)
    for unit in (1e-35, 1e35):
        prediction = model.fit(X, y * unit, sensitive_features=S).predict(X)
        assert np.isfinite(prediction).all()
        assert np.isfinite(model.loss_value_)
    # one that vanishes beside the others does no harm, but to gamma
    y[3] = 1e-50
    if objective == "gamma":
        with pytest.raises(ValueError, match="y must have sizes"):
            model.fit(X, y, sensitive_features=S)
    else:
        assert np.isfinite(model.fit(X, y, sensitive_features=S).predict(X)).all()


@pytest.mark.parametrize(("booster", "package"), BOOSTERS)
@pytest.mark.parametrize("objective", ["squared_error", "poisson", "negative_binomial", "gamma", "tweedie"])
@pytest.mark.parametrize("constant", [1e-3, 0.1, 1 / 3, 7.0, 1e6])
def test_a_constant_target_is_predicted(booster, package, objective, constant, rng):
    pytest.importorskip(package)
    X, _, S = rows(rng)
    model = booster(objective=objective, n_estimators=20, n_penalised_rounds=3, n_jobs=1, min_child_weight=1e-9)
    prediction = model.fit(X, np.full(200, constant), sensitive_features=S).predict(X)
    np.testing.assert_allclose(prediction, constant, rtol=1e-5)
