"""strength=0 is scikit-learn's estimator of the same name: same objective, same coefficients."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import linear_model
from sklearn.base import is_classifier

from fairdcov import (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)

GLM = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000}
PAIRS = {
    "poisson": (DCovPoissonRegressor, {}, linear_model.PoissonRegressor, GLM),
    "gamma": (DCovGammaRegressor, {}, linear_model.GammaRegressor, GLM),
    "tweedie 0": (DCovTweedieRegressor, {}, linear_model.TweedieRegressor, GLM),
    "tweedie 1.5": (DCovTweedieRegressor, {"power": 1.5}, linear_model.TweedieRegressor, {"power": 1.5, **GLM}),
    "tweedie 3": (
        DCovTweedieRegressor,
        {"power": 3},
        linear_model.TweedieRegressor,
        {"power": 3, **GLM, "solver": "lbfgs"},
    ),
    "tweedie 0 log": (
        DCovTweedieRegressor,
        {"power": 0, "link": "log"},
        linear_model.TweedieRegressor,
        {"power": 0, "link": "log", **GLM},
    ),
    "ridge": (DCovRidge, {}, linear_model.Ridge, {"solver": "cholesky"}),
    "logistic": (
        DCovLogisticRegression,
        {},
        linear_model.LogisticRegression,
        {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000},
    ),
}


def _target(name, rng, X):
    mean = np.exp(0.4 * X[:, 0] - 0.2 * X[:, 1])
    if name == "logistic":
        return np.where(rng.uniform(size=len(X)) < mean / (1 + mean), "yes", "no")
    if name in ("poisson", "tweedie 1.5"):
        return rng.poisson(mean).astype(float)
    return rng.gamma(3.0, mean / 3.0) + 0.01


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 1e-3])
@pytest.mark.parametrize("name", PAIRS)
def test_same_coefficients_without_penalty(name, alpha, weighted, fit_intercept):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 4)) * [1.0, 2.0, 0.5, 1.0]
    y = _target(name, rng, X)
    weights = rng.uniform(0.1, 2.0, len(y)) if weighted else None
    ours, own_options, theirs, options = PAIRS[name]
    strength_of_ridge = {"C": 1 / alpha} if name == "logistic" else {"alpha": alpha}
    mine = ours(strength=0, alpha=alpha, fit_intercept=fit_intercept, tol=1e-6, **own_options).fit(X, y, weights)
    reference = theirs(fit_intercept=fit_intercept, **strength_of_ridge, **options).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(mine.coef_, reference.coef_, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(mine.intercept_, reference.intercept_, rtol=1e-4, atol=1e-7)
    assert np.shape(mine.coef_) == np.shape(reference.coef_)
    assert np.shape(mine.intercept_) == np.shape(reference.intercept_)
    if is_classifier(mine):
        np.testing.assert_allclose(mine.predict_proba(X), reference.predict_proba(X), rtol=1e-4)
        np.testing.assert_allclose(mine.predict_log_proba(X), reference.predict_log_proba(X), rtol=1e-4, atol=1e-6)
        assert (mine.predict(X) == reference.predict(X)).all()
    else:
        np.testing.assert_allclose(mine.predict(X), reference.predict(X), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        mine.score(X, y, sample_weight=weights), reference.score(X, y, sample_weight=weights), rtol=1e-6
    )


@pytest.mark.parametrize("name", ["poisson", "ridge", "logistic"])
def test_default_tolerance_reaches_the_same_coefficients(name):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(500, 5))
    y = _target(name, rng, X)
    ours, _, theirs, options = PAIRS[name]
    np.testing.assert_allclose(
        ours(strength=0).fit(X, y).coef_, theirs(**options).fit(X, y).coef_, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("strength", [0.0, 2.0])
@pytest.mark.parametrize("name", ["poisson", "ridge", "logistic"])
def test_sparse_and_dense_features_agree(name, strength):
    rng = np.random.default_rng(5)
    X = sp.random_array((300, 6), density=0.4, rng=rng, format="csr")
    y = _target(name, rng, X.toarray())
    S = (X[:, [0]].toarray() > 0).ravel()
    model = PAIRS[name][0](strength=strength, alpha=0.01, tol=1e-6)
    sparse = model.fit(X, y, sensitive_features=S).coef_
    np.testing.assert_allclose(sparse, model.fit(X.toarray(), y, sensitive_features=S).coef_, rtol=1e-5, atol=1e-7)
    assert model.predict(X[:3]).shape == (3,)


def test_wide_features_use_the_diagonal_and_agree_with_scikit_learn():
    rng = np.random.default_rng(6)
    X = sp.random_array((400, 1500), density=0.02, rng=rng, format="csr")
    y = rng.poisson(np.exp(0.5 * X[:, [0]].toarray().ravel()))
    mine = DCovPoissonRegressor(strength=0, alpha=0.05, tol=1e-7, max_iter=2000).fit(X, y)
    reference = linear_model.PoissonRegressor(alpha=0.05, tol=1e-9, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(mine.predict(X), reference.predict(X), rtol=1e-4)


def test_collinear_features_without_ridge_term():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(200, 2))
    X = np.column_stack([X, X.sum(axis=1), np.zeros(200)])
    y = rng.poisson(np.exp(X[:, 0]))
    S = X[:, 1] > 0
    for strength in (0.0, 1.0):
        model = DCovPoissonRegressor(strength=strength, alpha=0).fit(X, y, sensitive_features=S)
        assert model.converged_
        independent = DCovPoissonRegressor(strength=strength, alpha=0).fit(X[:, :2], y, sensitive_features=S)
        np.testing.assert_allclose(model.objective_value_, independent.objective_value_, rtol=1e-6)
