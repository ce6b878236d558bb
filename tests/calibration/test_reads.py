"""A calibration reads each attribute once, forms the groups once, and asks each model once for its predictions."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import CCDCovPenalty, DCovLogisticRegression, DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.calibration._stand_in import predicting_once
from fairdcov.encoding import SensitiveColumn, _attributes
from fairdcov.metrics import neg_poisson_deviance_scorer

OPTIONS = {
    "strengths": [0.0, 0.1, 1.0],
    "cv": 2,
    "rule": "elbow",
    "if_unmet": "warn",
    "n_permutations": 3,
    "bins": {"age": 2},
    "verbose": 0,
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:rule=.elbow. needs a strength"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning"),
    pytest.mark.filterwarnings("ignore:the score is not weighted:UserWarning"),
]


@pytest.fixture
def sample(rng):
    n = 200
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    S = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "age": rng.uniform(18, 90, n)})
    y = rng.poisson(np.exp(0.5 * X["a"] + 0.5 * (S["gender"] == "m")))
    return X, y, S, rng.integers(0, 3, n).astype(float)


@pytest.fixture
def counts(monkeypatch):
    """How often columns are read, groups formed and predictions asked for."""
    counted = {}

    def count(owner, name):
        function = getattr(owner, name)
        counted[name] = 0

        def counting(*arguments, **options):
            counted[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    count(SensitiveColumn, "__init__")
    count(_attributes, "cross_columns")
    count(DCovPoissonRegressor, "predict")
    return counted


@pytest.mark.parametrize("scoring", [None, neg_poisson_deviance_scorer])
@pytest.mark.parametrize("scaled", [False, True])
def test_all_is_done_once(sample, counts, scoring, scaled):
    X, y, S, weights = sample
    model = DCovPoissonRegressor(alpha=1e-3)
    if scaled:
        model = make_pipeline(StandardScaler(), model)
    JSDivergenceCalibrator(model, scoring=scoring, **OPTIONS).fit(X, y, sample_weight=weights, sensitive_features=S)
    assert counts["__init__"] == len(S.columns)
    assert counts["cross_columns"] == 1
    assert counts["predict"] == 2 * len(OPTIONS["strengths"])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_model_that_is_not_of_the_package_gets_rows_as_they_were_passed(sample, weighted):
    X, y, S, weights = sample
    got = []

    class Learner(Ridge):
        def __init__(self, strength=0.0):
            super().__init__(alpha=1.0 + strength)
            self.strength = strength

        def fit(self, X, y, sensitive_features=None):
            assert sensitive_features.index.equals(X.index)
            got.append(sensitive_features)
            return super().fit(X, y)

    fitted = JSDivergenceCalibrator(Learner(), **OPTIONS).fit(
        X, y, sample_weight=weights if weighted else None, sensitive_features=S
    )
    assert len(got) == 2 * len(OPTIONS["strengths"]) + 1
    for sensitive_features in got:
        pd.testing.assert_frame_equal(sensitive_features, S.loc[sensitive_features.index])
    assert fitted.n_splits_ == 2


def test_a_penalty_that_is_not_of_the_package_gets_rows_as_they_were_passed(sample):
    X, y, S, weights = sample
    got = []

    class Penalty(CCDCovPenalty):
        def bind(self, sensitive_features, sample_weight=None, *, n_threads=None):
            got.append(sensitive_features)
            return super().bind(sensitive_features, sample_weight, n_threads=n_threads)

    model = DCovPoissonRegressor(alpha=1e-3, penalty=Penalty())
    own = JSDivergenceCalibrator(model, **OPTIONS).fit(X, y, sample_weight=weights, sensitive_features=S)
    assert got
    for sensitive_features in got:
        pd.testing.assert_frame_equal(sensitive_features, S.loc[sensitive_features.index])
    model = DCovPoissonRegressor(alpha=1e-3)
    usual = JSDivergenceCalibrator(model, **OPTIONS).fit(X, y, sample_weight=weights, sensitive_features=S)
    np.testing.assert_array_equal(own.predict(X), usual.predict(X))


def test_what_is_known_of_one_table_is_not_said_of_another(sample):
    X, y, _, _ = sample
    target = (y > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DCovLogisticRegression(strength=0).fit(X, target)
    once = predicting_once(model, X)
    assert type(once) is type(model)
    first = once.predict_proba(X)
    assert once.predict_proba(X) is first
    np.testing.assert_array_equal(first, model.predict_proba(X))
    np.testing.assert_array_equal(once.predict(X), model.predict(X))
    np.testing.assert_array_equal(once.predict_proba(X[:5] + 1), model.predict_proba(X[:5] + 1))
    assert "predict" not in vars(model)
