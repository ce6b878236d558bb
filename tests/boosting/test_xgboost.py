"""DCovXGBRegressor: XGBoost at strength 0, and the promises of penalised rounds on another learner."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import mean_poisson_deviance

from fairdcov import CCDCovPenalty, DCovXGBRegressor, JDCovPenalty
from fairdcov.boosting._xgboost import XGBoostGrower
from fairdcov.exceptions import MissingSensitiveFeaturesError

xgboost = pytest.importorskip("xgboost")
# Large strengths are asked for on purpose; tests/fitting/test_guard.py tests that a fit says which one it goes by.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")

SMALL = {
    "n_estimators": 15,
    "max_depth": 3,
    "n_penalised_rounds": 25,
    "random_state": 0,
    "n_jobs": 1,
    "learning_rate": 0.2,
}


def fit(portfolio, **params):
    model = DCovXGBRegressor(**{"objective": "poisson", **SMALL, **params})
    return model.fit(portfolio["X"], portfolio["y"], portfolio["exposure"], sensitive_features=portfolio["people"])


@pytest.mark.parametrize(
    ("objective", "name", "options"),
    [
        ("squared_error", "reg:squarederror", {}),
        ("poisson", "count:poisson", {}),
        ("gamma", "reg:gamma", {}),
        ("tweedie", "reg:tweedie", {"tweedie_variance_power": 1.3}),
    ],
)
def test_strength_0_is_xgboost(portfolio, objective, name, options):
    y = portfolio["y"] + (0.1 if objective == "gamma" else 0.0)
    common = {"n_estimators": 15, "max_depth": 3, "random_state": 3, "subsample": 0.7}
    own = DCovXGBRegressor(strength=0, objective=objective, tweedie_power=1.3, **common)
    own.fit(portfolio["X"], y, portfolio["exposure"])
    theirs = xgboost.XGBRegressor(objective=name, learning_rate=0.3, enable_categorical=True, **common, **options)
    theirs.fit(portfolio["X"], y, sample_weight=portfolio["exposure"])
    np.testing.assert_allclose(own.predict(portfolio["X"]), theirs.predict(portfolio["X"]), rtol=1e-5)


@pytest.mark.parametrize("strength", [0.1, 100.0, 1e6])
@pytest.mark.parametrize("penalty", [CCDCovPenalty(), JDCovPenalty(normalize=False)])
def test_objective_falls_and_no_strength_diverges(portfolio, strength, penalty):
    model = fit(portfolio, penalty=penalty, strength=strength)
    # The last entry of a large strength is of leaves moved at a larger one than the trees were grown at.
    loss, values = model.history_["loss"], model.history_["penalty"]
    assert (np.diff(model.history_["objective"][: model.n_penalised_rounds_ + 1]) < 0).all()
    assert (np.diff(loss + model.effective_strength_ * values)[-1:] < 0).all()
    constant = np.full(len(portfolio["y"]), np.average(portfolio["y"], weights=portfolio["exposure"]))
    weights = {"sample_weight": portfolio["exposure"]}
    deviance = mean_poisson_deviance(portfolio["y"], model.predict(portfolio["X"]), **weights)
    assert deviance <= 1.01 * mean_poisson_deviance(portfolio["y"], constant, **weights)


@pytest.mark.parametrize("objective", ["poisson", "squared_error"])
def test_booster_is_in_balance_and_predicts_by_itself(portfolio, objective):
    model = fit(portfolio, strength=30.0, objective=objective)
    rate = model.predict(portfolio["X"])
    assert rate @ portfolio["exposure"] == pytest.approx(portfolio["claims"].sum(), rel=1e-5)
    rows = xgboost.DMatrix(portfolio["X"], enable_categorical=True)
    np.testing.assert_allclose(model.booster_.predict(rows), rate, rtol=1e-5)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(portfolio["X"]), rate)
    raw = np.log(rate) if objective == "poisson" else rate
    np.testing.assert_allclose(model.shap_values(portfolio["X"]).sum(axis=1), raw, atol=1e-4)
    assert model.feature_importances_.sum() == pytest.approx(1.0)


def test_path_reduces_the_penalty_step_by_step(portfolio):
    model = DCovXGBRegressor(objective="poisson", **SMALL)
    data = {"sample_weight": portfolio["exposure"], "sensitive_features": portfolio["people"]}
    path = list(model.strength_path(portfolio["X"], portfolio["y"], [0.0, 3.0, 30.0], **data))
    assert path[0].penalty_value_ > path[1].penalty_value_ > path[2].penalty_value_
    np.testing.assert_array_equal(path[1].predict(portfolio["X"]), fit(portfolio, strength=3.0).predict(portfolio["X"]))


def test_early_stopping(portfolio):
    first, second = slice(0, 1_000), slice(1_000, None)
    X, y, w, S = (portfolio[name] for name in ("X", "y", "exposure", "people"))
    model = DCovXGBRegressor(objective="poisson", early_stopping_rounds=5, **{**SMALL, "n_estimators": 200})
    model.fit(
        X.iloc[first],
        y[first],
        w[first],
        sensitive_features=S.iloc[first],
        eval_set=(X.iloc[second], y[second]),
        eval_sample_weight=w[second],
        eval_sensitive_features=S.iloc[second],
    )
    assert model.n_unpenalised_rounds_ < 200
    assert model.n_penalised_rounds_ == np.argmin(model.history_["validation_objective"])
    assert model.booster_.num_boosted_rounds() == model.n_unpenalised_rounds_ + model.n_penalised_rounds_


def test_callbacks_see_the_penalised_rounds(portfolio):
    seen = []

    class Look(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            seen.append((epoch, sorted(evals_log.get("train", {}))))
            return epoch == 19

    model = DCovXGBRegressor(objective="poisson", **SMALL)
    model.fit(
        portfolio["X"],
        portfolio["y"],
        portfolio["exposure"],
        sensitive_features=portfolio["people"],
        callbacks=[Look()],
    )
    assert seen[-1] == (19, ["loss", "objective", "penalty"])
    assert model.n_penalised_rounds_ == 5


def test_bad_input(portfolio):
    with pytest.raises(MissingSensitiveFeaturesError):
        DCovXGBRegressor().fit(portfolio["X"], portfolio["y"])
    with pytest.raises(ValueError, match="booster must be 'gbtree'"):
        fit(portfolio, booster="dart")
    with pytest.raises(ValueError, match="num_parallel_tree cannot be passed"):
        fit(portfolio, num_parallel_tree=4)
    with pytest.raises(TypeError, match="did you mean 'strength'"):
        fit(portfolio, strenght=4)
    assert clone(DCovXGBRegressor(max_bin=64)).get_params()["max_bin"] == 64


@pytest.mark.parametrize("objective", ["squared_error", "poisson"])
@pytest.mark.parametrize("penalised_target", ["unpenalised", "observed"])
@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_weights_are_repetition(rng, objective, penalised_target, strength):
    X = rng.normal(size=(150, 3))
    X[:, 1] = np.round(X[:, 1])
    y = rng.poisson(np.exp(0.5 * X[:, 0]))
    people = np.column_stack([X[:, 0] > 0, rng.integers(0, 3, 150)])
    times = rng.integers(0, 4, 150)
    rows = np.repeat(np.arange(150), times)
    model = DCovXGBRegressor(
        objective=objective,
        penalised_target=penalised_target,
        strength=strength,
        n_estimators=5,
        n_penalised_rounds=10,
        n_jobs=1,
    )
    weighted = clone(model).fit(X, y, times.astype(float), sensitive_features=people)
    repeated = clone(model).fit(X[rows], y[rows], sensitive_features=people[rows])
    assert weighted.n_penalised_rounds_ == repeated.n_penalised_rounds_
    # sums of XGBoost in single precision, over several trees
    np.testing.assert_allclose(weighted._raw_predict(X), repeated._raw_predict(X), atol=5e-4)


@pytest.mark.parametrize("offset", [False, True])
def test_rows_see_all_trees_after_some_were_taken_back(rng, offset):
    """XGBoost keeps predictions of the rows that it trains on, and has to be made to after a tree was taken back."""
    X = rng.normal(size=(300, 2))
    given = {"base_margin": rng.normal(size=300)} if offset else {}
    rows, others = (xgboost.DMatrix(X, X[:, 0], **given) for _ in range(2))
    booster = xgboost.train({"max_depth": 2, "nthread": 1}, rows, 4)
    # A part of a booster is one that has not predicted yet.
    grower = XGBoostGrower(booster[:3], rows, None, "identity", {})
    for n_trees in (4, 5, 5, 6):
        while grower.n_trees() >= n_trees:
            grower.drop()
        assert grower.grow(rng.normal(size=300), np.ones(300), 0.5)
        assert grower.n_trees() == n_trees
        np.testing.assert_allclose(grower.raw(), grower.booster.predict(others, output_margin=True), rtol=1e-6)
