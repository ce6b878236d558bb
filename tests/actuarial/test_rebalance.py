"""Rebalancer: exact balance, scores, metadata with and without routing, in and around pipelines, clone and pickle."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import GammaRegressor, LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import d2_tweedie_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fairdcov import DCovGammaRegressor
from fairdcov.actuarial import Rebalancer, balance_table


@pytest.fixture
def sample(rng):
    n = 400
    X = rng.normal(size=(n, 3))
    weight = rng.choice([0.0, 0.5, 1.0], n, p=[0.1, 0.3, 0.6])
    y = rng.poisson(np.exp(0.5 * X[:, 0] - 0.5)).astype(float)
    return X, y, weight, rng.choice(["f", "m"], n)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def is_balanced(model, X, y, weight):
    assert_allclose(weight @ model.predict(X), weight @ y, rtol=1e-12)
    return True


@pytest.mark.parametrize("method", ["multiplicative", "additive"])
def test_balance_is_exact_and_the_order_is_kept(sample, method):
    X, y, weight, _ = sample
    # a ridge term of this size and a square root as the mean lose the balance
    model = Rebalancer(PoissonRegressor(alpha=1.0), method=method)
    y = np.sqrt(y)
    model.fit(X, y, sample_weight=weight)
    plain = PoissonRegressor(alpha=1.0).fit(X, y, sample_weight=weight).predict(X)
    assert is_balanced(model, X, y, weight)
    if method == "multiplicative":
        assert_allclose(model.factor_, (weight @ y) / (weight @ plain))
        assert model.shift_ == 0
    else:
        assert_allclose(model.shift_, weight @ (y - plain) / weight.sum())
        assert model.factor_ == 1
    assert_allclose(model.predict(X), model.factor_ * plain + model.shift_)
    table = balance_table(y, model.predict(X), sample_weight=weight, interval="normal")
    assert_allclose(table["actual_to_expected"], 1.0)


def test_models_that_lose_balance(sample):
    X, y, weight, _ = sample
    gamma = GammaRegressor(alpha=0.5).fit(X, y + 1, sample_weight=weight)
    off = (weight @ gamma.predict(X)) / (weight @ (y + 1))
    assert abs(off - 1) > 1e-4
    balanced = Rebalancer(GammaRegressor(alpha=0.5)).fit(X, y + 1, sample_weight=weight)
    assert_allclose(balanced.factor_, 1 / off)
    assert is_balanced(balanced, X, y + 1, weight)
    # fitted on the rows alone, balanced by exposure: neighbours take no weights
    neighbours = Rebalancer(KNeighborsRegressor(25)).fit(X, y, sample_weight=weight)
    assert neighbours.factor_ != 1
    assert is_balanced(neighbours, X, y, weight)


def test_exposure_is_repetition(rng, sample):
    X, y, _, _ = sample
    counts = rng.integers(0, 3, len(y))
    weighted = Rebalancer(Ridge(), method="additive").fit(X, y, sample_weight=counts)
    repeated = Rebalancer(Ridge(), method="additive").fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert_allclose(weighted.predict(X), repeated.predict(X))


def test_score_is_the_score_of_the_balanced_predictions(sample):
    X, y, weight, _ = sample
    model = Rebalancer(PoissonRegressor(alpha=10.0)).fit(X, np.sqrt(y), sample_weight=weight)
    expected = d2_tweedie_score(y, model.predict(X), sample_weight=weight, power=1)
    assert_allclose(model.score(X, y, sample_weight=weight), expected)
    for method in ("multiplicative", "additive"):
        constant = Rebalancer(DummyRegressor(strategy="constant", constant=3.0), method=method).fit(X, y)
        assert_allclose(constant.score(X, 2 * y), r2_score(2 * y, constant.predict(X)))
        assert_allclose(constant.predict(X), y.mean())


def test_a_frozen_model_is_balanced_on_other_rows(sample):
    X, y, weight, _ = sample
    fitted = PoissonRegressor().fit(X[:200], y[:200], sample_weight=weight[:200])
    model = Rebalancer(FrozenEstimator(fitted)).fit(X[200:], y[200:], sample_weight=weight[200:])
    assert is_balanced(model, X[200:], y[200:], weight[200:])
    assert_allclose(model.predict(X) / fitted.predict(X), model.factor_)


class Recorder(RegressorMixin, BaseEstimator):
    """Regressor that keeps what it was given."""

    def fit(self, X, y, sample_weight=None, sensitive_features=None):
        self.given_ = {"sample_weight": sample_weight, "sensitive_features": sensitive_features}
        self.mean_ = float(np.mean(y)) * 1.5
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)

    def score(self, X, y, sample_weight=None):
        self.scored_with_ = sample_weight
        return 0.0


def given_to(model):
    """What the innermost estimator of a fitted model was given."""
    while not hasattr(model, "given_"):
        model = model[-1] if hasattr(model, "steps") else getattr(model, "estimator_", None) or model.regressor_
    return model.given_


def in_a_pipeline(model):
    return make_pipeline(StandardScaler(), model)


@pytest.mark.parametrize(
    "wrap", [lambda model: model, in_a_pipeline, lambda model: in_a_pipeline(in_a_pipeline(model))]
)
def test_metadata_without_routing(sample, wrap):
    X, y, weight, sensitive = sample
    model = Rebalancer(wrap(Recorder())).fit(X, y, sample_weight=weight, sensitive_features=sensitive)
    assert given_to(model)["sample_weight"] is weight
    assert given_to(model)["sensitive_features"] is sensitive
    assert is_balanced(model, X, y, weight)
    assert given_to(Rebalancer(wrap(Recorder())).fit(X, y))["sample_weight"] is None


def test_weights_reach_estimators_that_hand_everything_on(sample):
    X, y, weight, _ = sample
    search = GridSearchCV(PoissonRegressor(), {"alpha": [0.1, 1.0]}, cv=2)
    expected = clone(search).fit(X, y, sample_weight=weight).predict(X)
    model = Rebalancer(search).fit(X, y, sample_weight=weight)
    assert_allclose(model.estimator_.predict(X), expected)
    assert is_balanced(model, X, y, weight)
    transformed = Rebalancer(TransformedTargetRegressor(Recorder(), func=np.sqrt, inverse_func=np.square))
    assert given_to(transformed.fit(X, y, sample_weight=weight))["sample_weight"] is not None


def test_in_a_pipeline_without_routing(sample):
    X, y, weight, sensitive = sample
    model = make_pipeline(StandardScaler(), Rebalancer(Recorder()))
    model.fit(X, y, rebalancer__sample_weight=weight, rebalancer__sensitive_features=sensitive)
    assert given_to(model)["sensitive_features"] is sensitive
    assert is_balanced(model, X, y, weight)


@pytest.mark.parametrize("around", [False, True])
def test_metadata_with_routing(sample, routing, around):
    X, y, weight, sensitive = sample
    inner = Recorder().set_fit_request(sample_weight=True, sensitive_features=True)
    inner.set_score_request(sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    model = Rebalancer(make_pipeline(scaler, inner)) if around else make_pipeline(scaler, Rebalancer(inner))
    model.fit(X, y, sample_weight=weight, sensitive_features=sensitive)
    given = given_to(model)
    assert_allclose(given["sample_weight"], weight)
    assert list(given["sensitive_features"]) == list(sensitive)
    assert is_balanced(model, X, y, weight)
    model.score(X, y, sample_weight=weight)
    last = model.estimator_[-1] if around else model[-1].estimator_
    assert_allclose(last.scored_with_, weight)


def test_routing_balances_by_exposure_that_the_fit_does_not_ask_for(sample, routing):
    X, y, weight, sensitive = sample
    inner = Recorder().set_fit_request(sample_weight=False)
    model = Rebalancer(inner).fit(X, y, sample_weight=weight)
    assert given_to(model)["sample_weight"] is None
    assert is_balanced(model, X, y, weight)
    with pytest.raises(TypeError, match="unexpected argument"):
        Rebalancer(inner).fit(X, y, not_wanted=sensitive)
    with pytest.raises(UnsetMetadataPassedError, match="sensitive_features"):
        Rebalancer(inner).fit(X, y, sensitive_features=sensitive)
    predicted = cross_val_predict(Rebalancer(inner), X, y, cv=2, params={"sample_weight": weight})
    halves = [np.arange(200, 400), np.arange(200)]
    for rows, predicted_rows in zip(halves, halves[::-1], strict=True):
        assert_allclose(predicted[predicted_rows], np.average(y[rows], weights=weight[rows]))


@pytest.mark.parametrize("routed", [False, True])
# LightGBM 4.6 names the columns of arrays, and misses the names when it predicts.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names, but LGBMRegressor:UserWarning")
def test_around_a_fair_booster(sample, routed):
    lightgbm = pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMRegressor

    X, y, weight, sensitive = sample
    weight = weight + 0.1
    options = {"n_estimators": 20, "num_leaves": 8, "verbose": -1, "n_jobs": 1}
    with sklearn.config_context(enable_metadata_routing=routed):
        booster = DCovLGBMRegressor(objective="poisson", strength=0, **options)
        if routed:
            booster.set_fit_request(sample_weight=True, sensitive_features=True)
        model = Rebalancer(booster).fit(X, y, sample_weight=weight, sensitive_features=sensitive)
        assert is_balanced(model, X, y, weight)
        copied = pickle.loads(pickle.dumps(model))
        assert_allclose(copied.predict(X), model.predict(X))
        again = clone(model)
        assert not hasattr(again, "estimator_")
        assert_allclose(
            again.fit(X, y, sample_weight=weight, sensitive_features=sensitive).predict(X), model.predict(X)
        )
    # without a penalty it is LightGBM, which loses the balance a little
    plain = lightgbm.LGBMRegressor(objective="poisson", **options).fit(X, y, sample_weight=weight).predict(X)
    assert_allclose(model.estimator_.predict(X), plain, rtol=1e-6)
    assert_allclose(model.factor_, (weight @ y) / (weight @ plain), rtol=1e-6)


def test_clone_pickle_and_parameters(sample):
    X, y, weight, _ = sample
    model = Rebalancer(Ridge(alpha=2.0), method="additive").fit(X, y, sample_weight=weight)
    copied = pickle.loads(pickle.dumps(model))
    assert_allclose(copied.predict(X), model.predict(X))
    again = clone(model).set_params(estimator__alpha=3.0)
    assert again.estimator.alpha == 3.0
    assert model.estimator.alpha == 2.0
    assert not hasattr(model.estimator, "coef_")  # what was passed is not fitted
    with pytest.raises(NotFittedError):
        again.predict(X)


def test_skops_round_trip(sample):
    skops = pytest.importorskip("skops.io")
    X, y, weight, _ = sample
    model = Rebalancer(make_pipeline(StandardScaler(), PoissonRegressor())).fit(X, y, sample_weight=weight)
    data = skops.dumps(model)
    # scikit-learn's own types are trusted already, ours has to be declared
    untrusted = skops.get_untrusted_types(data=data)
    assert untrusted == ["fairdcov.actuarial._rebalance.Rebalancer"]
    loaded = skops.loads(data, trusted=untrusted)
    assert_allclose(loaded.predict(X), model.predict(X), rtol=0)
    assert loaded.get_params()["method"] == "multiplicative"


def test_names_and_text_columns(sample):
    X, y, weight, _ = sample
    frame = pd.DataFrame(
        {"fuel": np.where(X[:, 0] > 0, "<script>", "=SUM(A1)"), "area": np.where(X[:, 1] > 0, "a", "b")}
    )
    model = Rebalancer(make_pipeline(OneHotEncoder(), PoissonRegressor())).fit(frame, y, sample_weight=weight)
    assert is_balanced(model, frame, y, weight)
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["fuel", "area"]
    model.fit(frame.to_numpy(), y)
    assert not hasattr(model, "feature_names_in_")


def test_a_failed_fit_leaves_the_model_as_it_was(sample):
    X, y, weight, _ = sample
    model = Rebalancer(KNeighborsRegressor()).fit(X, y, sample_weight=weight)
    before = model.predict(X)
    with pytest.raises(ValueError, match="positive observed total"):
        model.fit(X, np.zeros(len(y)))
    assert_allclose(model.predict(X), before)


def test_bad_input_is_named(sample):
    X, y, weight, _ = sample
    with pytest.raises(TypeError, match="needs a regressor; found the classifier LogisticRegression"):
        Rebalancer(LogisticRegression()).fit(X, y > 0)
    with pytest.raises(ValueError, match="method must be one of 'multiplicative', 'additive'"):
        Rebalancer(Ridge(), method="both").fit(X, y)
    with pytest.raises(ValueError, match=r"predictions that are not negative; \d+ are: use method='additive'"):
        Rebalancer(LinearRegression()).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="positive predicted total on the training rows; found 0"):
        Rebalancer(DummyRegressor(strategy="constant", constant=0.0)).fit(X, y)
    with pytest.raises(ValueError, match=r"y should be a 1d array, got an array of shape \(400, 2\)"):
        Rebalancer(Ridge()).fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        Rebalancer(KNeighborsRegressor()).fit(X, y, sample_weight=-weight)


def test_negative_predictions_of_rows_that_do_not_count(sample):
    X = np.array([[1.0], [2.0], [-3.0]])
    model = LinearRegression(fit_intercept=False).fit(X, X[:, 0])
    balanced = Rebalancer(FrozenEstimator(model)).fit(X, [2.0, 4.0, 9.0], sample_weight=[1.0, 1.0, 0.0])
    assert balanced.factor_ == pytest.approx(2.0)
    with pytest.raises(ValueError, match="needs predictions that are not negative; 1 are"):
        balanced.fit(X, [2.0, 4.0, 9.0])


def test_without_target(sample):
    with pytest.raises(ValueError, match="Rebalancer requires y to be passed, but the target y is None"):
        Rebalancer(FrozenEstimator(PoissonRegressor().fit(sample[0], sample[1]))).fit(sample[0], None)


@pytest.mark.parametrize("pipeline", [False, True])
def test_an_offset_is_part_of_what_is_balanced(rng, pipeline):
    X, offset, exposure = rng.normal(size=(300, 2)), rng.normal(size=300), rng.uniform(0.5, 1.0, 300)
    y = rng.gamma(2.0, np.exp(offset + X[:, 0]) / 2)
    model = DCovGammaRegressor(strength=0)
    model = Rebalancer(make_pipeline(StandardScaler(), model) if pipeline else model)
    model.fit(X, y, sample_weight=exposure, offset=offset)
    assert model.predict(X, offset=offset) @ exposure == pytest.approx(y @ exposure)
    if not pipeline:
        assert model.score(X, y, offset=offset) > 0
    with pytest.raises(ValueError, match="was fitted with an offset"):
        model.predict(X)
