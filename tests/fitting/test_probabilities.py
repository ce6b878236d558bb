"""Learners on attributes that are known as probabilities, however these come."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fairdcov import (
    CCDCovPenalty,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    DCovXGBRegressor,
    SensitiveEncoder,
    with_probabilities,
)

LEVELS = ["p_a", "p_b", "p_c"]
N = 400


@pytest.fixture
def book(rng):
    people = pd.DataFrame(rng.dirichlet([1.0, 1.0, 0.5], N), columns=LEVELS)
    X = pd.DataFrame({"proxy": rng.normal(size=N) + 3 * people["p_a"], "other": rng.normal(size=N)})
    y = rng.poisson(np.exp(X["proxy"] / 2 - 0.5)).astype(float)
    return X, y, rng.uniform(0.2, 1, N), people


@pytest.mark.parametrize(
    "estimator", [DCovPoissonRegressor(), DCovRidge(), DCovLogisticRegression()], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_models(book, estimator, weighted):
    X, y, weights, people = book
    y = (y > 1).astype(int) if isinstance(estimator, DCovLogisticRegression) else y
    given = {"sample_weight": weights if weighted else None, "sensitive_features": declared(people)}
    check(estimator, X, y, given)


@pytest.mark.parametrize(("estimator", "package"), [(DCovLGBMRegressor, "lightgbm"), (DCovXGBRegressor, "xgboost")])
def test_boosting(book, estimator, package):
    pytest.importorskip(package)
    X, y, weights, people = book
    quiet = {"verbose": -1} if package == "lightgbm" else {"verbosity": 0}
    model = estimator(objective="poisson", n_estimators=20, validation_fraction=None, **quiet)
    check(model, X, y, {"sample_weight": weights, "sensitive_features": declared(people)})


def declared(people):
    return with_probabilities(people, {"race": LEVELS})


def check(estimator, X, y, given):
    bound = CCDCovPenalty().bind(given["sensitive_features"], given["sample_weight"])
    values = []
    for strength in (0.0, 20.0):
        model = clone(estimator).set_params(strength=strength).fit(X, y, **given)
        response = model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)
        values.append(bound.value(response))
    assert values[1] < 0.5 * values[0]


def test_columns_of_the_features(book):
    """sensitive_columns names the columns of X, the encoder says what they are."""
    X, y, weights, people = book
    penalty = CCDCovPenalty(encoder=SensitiveEncoder(probabilities={"race": LEVELS}))
    beside = DCovPoissonRegressor(strength=2.0, penalty=penalty)
    beside.fit(X, y, sample_weight=weights, sensitive_features=people)
    within = clone(beside).set_params(sensitive_columns=LEVELS)
    within.fit(pd.concat([X, people], axis=1), y, sample_weight=weights)
    assert_array_equal(within.coef_, beside.coef_)
    declared_ = DCovPoissonRegressor(strength=2.0)
    declared_.fit(X, y, sample_weight=weights, sensitive_features=declared(people))
    assert_array_equal(declared_.coef_, beside.coef_)


def test_searches_slice_the_frame_and_the_encoder_says_what_it_is(book):
    X, y, weights, people = book
    penalty = CCDCovPenalty(encoder=SensitiveEncoder(probabilities={"race": LEVELS}))
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(DCovPoissonRegressor(penalty=penalty), {"strength": [0.0, 2.0]}, cv=2)
        search.fit(X, y, sample_weight=weights, sensitive_features=people)
        alone = DCovPoissonRegressor(penalty=penalty, **search.best_params_)
        alone.fit(X, y, sample_weight=weights, sensitive_features=people)
        assert_array_equal(search.best_estimator_.coef_, alone.coef_)
        with pytest.raises(TypeError, match="pass the frame as it is and a penalty with encoder=SensitiveEncoder"):
            search.fit(X, y, sample_weight=weights, sensitive_features=declared(people))
