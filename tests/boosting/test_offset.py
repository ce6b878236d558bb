"""Offsets of boosters: init scores of LightGBM, base margins of XGBoost, and neither in what the trees have learnt."""

import numpy as np
import pytest

from fairdcov import CCDCovPenalty, DCovLGBMClassifier, DCovLGBMRegressor, DCovXGBRegressor
from fairdcov.boosting import BoostedRegressor

TREES = {"n_estimators": 30, "n_penalised_rounds": 30, "n_jobs": 1, "random_state": 0}
OBJECTIVES = ("squared_error", "poisson", "negative_binomial", "gamma", "tweedie")


def lightgbm(**options):
    pytest.importorskip("lightgbm")
    return DCovLGBMRegressor(num_leaves=4, **{**TREES, **options})


def xgboost(**options):
    pytest.importorskip("xgboost")
    return DCovXGBRegressor(max_depth=2, **{**TREES, **options})


learners = pytest.mark.parametrize("make", [lightgbm, xgboost], ids=lambda make: make.__name__)


@pytest.fixture
def book(rng):
    n = 1500
    gender = rng.integers(0, 2, n)
    X = np.column_stack([gender + rng.normal(size=n), rng.normal(size=n)]).round(1)
    offset = np.log(0.2) + gender + 0.5 * rng.normal(size=n)
    exposure = rng.uniform(0.2, 1.0, n)
    mean = np.exp(offset + 0.5 * np.sin(X[:, 0]) - 0.3 * X[:, 1])
    return {
        "X": X,
        "offset": offset,
        "exposure": exposure,
        "gender": gender,
        "rate": rng.poisson(20 * exposure * mean) / (20 * exposure),
        "cost": rng.gamma(2.0, mean / 2.0),
    }


@learners
def test_a_poisson_offset_is_dividing_by_hand(make, book):
    base = np.exp(book["offset"])
    options = {"objective": "poisson", "strength": 0, "max_delta_step": 0.7}
    by_hand = make(**options).fit(book["X"], book["rate"] / base, sample_weight=book["exposure"] * base)
    model = make(**options).fit(book["X"], book["rate"], sample_weight=book["exposure"], offset=book["offset"])
    relativity = by_hand.predict(book["X"])
    np.testing.assert_allclose(model.predict(book["X"], offset=0), relativity, rtol=0.02)
    np.testing.assert_allclose(
        model.predict(book["X"], offset=book["offset"]), base * model.predict(book["X"], offset=0), rtol=1e-6
    )


@learners
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_loss_and_penalty_are_those_of_the_whole_prediction(make, objective, strength, book):
    y = book["cost"] if objective in ("gamma", "squared_error") else book["rate"]
    penalty = CCDCovPenalty()
    model = make(objective=objective, strength=strength, penalty=penalty)
    model.fit(book["X"], y, sample_weight=book["exposure"], sensitive_features=book["gender"], offset=book["offset"])
    prediction = model.predict(book["X"], offset=book["offset"])
    probabilities = book["exposure"] / book["exposure"].sum()
    loss = probabilities @ model._loss().deviance(y, prediction) / 2
    assert model.loss_value_ == pytest.approx(loss, rel=1e-4, abs=1e-6)
    assert model.penalty_value_ == pytest.approx(
        penalty.bind(book["gender"], book["exposure"]).value(prediction), rel=1e-3
    )
    # Better than what was known before.
    base = book["offset"] if objective == "squared_error" else np.exp(book["offset"])
    if strength == 0:
        assert loss < 0.9 * probabilities @ model._loss().deviance(y, base) / 2
    elif objective in ("poisson", "squared_error"):
        assert prediction @ probabilities == pytest.approx(y @ probabilities, rel=1e-5)


@learners
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_penalised_rounds_lower_the_dependence_that_the_base_has(make, book):
    given = {"sample_weight": book["exposure"], "sensitive_features": book["gender"], "offset": book["offset"]}
    path = make(objective="poisson").strength_path(book["X"], book["rate"], [0.0, 3.0], **given)
    before, after = (model.penalty_value_ for model in path)
    assert after < 0.8 * before


@learners
def test_an_eval_set_has_an_offset_of_its_own(make, book):
    fitted, held = slice(0, 1000), slice(1000, None)
    data = {
        "sample_weight": book["exposure"][fitted],
        "sensitive_features": book["gender"][fitted],
        "eval_set": (book["X"][held], book["rate"][held]),
        "eval_sample_weight": book["exposure"][held],
        "eval_sensitive_features": book["gender"][held],
    }
    model = make(objective="poisson", strength=1.0, early_stopping_rounds=5, n_estimators=200)
    with pytest.raises(ValueError, match="the fit has an offset and the eval_set has none: pass eval_offset"):
        model.fit(book["X"][fitted], book["rate"][fitted], **data, offset=book["offset"][fitted])
    data["eval_offset"] = book["offset"][held]
    with pytest.raises(ValueError, match="the eval_set has an eval_offset and the fit has no offset"):
        model.fit(book["X"][fitted], book["rate"][fitted], **data)
    model.fit(book["X"][fitted], book["rate"][fitted], **data, offset=book["offset"][fitted])
    assert model.n_unpenalised_rounds_ < 200
    prediction = model.predict(book["X"][held], offset=book["offset"][held])
    loss = np.average(model._loss().deviance(book["rate"][held], prediction), weights=book["exposure"][held]) / 2
    assert model.history_["validation_loss"][model.n_penalised_rounds_] == pytest.approx(loss, rel=1e-5)


@learners
def test_own_gradients_stop_early_by_the_loss_beside_the_offset(make, book):
    fitted, held = slice(0, 1000), slice(1000, None)
    model = make(objective="negative_binomial", strength=0, early_stopping_rounds=5, n_estimators=300)
    model.fit(
        book["X"][fitted],
        book["rate"][fitted],
        offset=book["offset"][fitted],
        eval_set=(book["X"][held], book["rate"][held]),
        eval_offset=book["offset"][held],
    )
    assert 5 < model.n_unpenalised_rounds_ < 300


@learners
def test_features_that_tell_nothing_leave_offset_and_constant(make, book):
    X = np.zeros((1500, 2))
    model = make(objective="poisson", strength=0)
    model.fit(X, book["rate"], sample_weight=book["exposure"], offset=book["offset"])
    added = (book["exposure"] @ book["rate"]) / (book["exposure"] @ np.exp(book["offset"]))
    np.testing.assert_allclose(model.predict(X, offset=book["offset"]), added * np.exp(book["offset"]), rtol=1e-5)


def test_classes_of_lightgbm(book):
    pytest.importorskip("lightgbm")
    y = book["cost"] > np.median(book["cost"])
    model = DCovLGBMClassifier(strength=0, num_leaves=4, **TREES).fit(book["X"], y, offset=book["offset"])
    probability = model.predict_proba(book["X"], offset=book["offset"])[:, 1]
    assert probability.mean() == pytest.approx(y.mean(), abs=0.01)
    assert model.score(book["X"], y, offset=book["offset"]) > 0.6


@learners
def test_saved_models_remember_their_offset(make, book):
    import pickle

    model = make(objective="poisson", strength=0).fit(book["X"], book["rate"], offset=book["offset"])
    again = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match="was fitted with an offset"):
        again.predict(book["X"])
    np.testing.assert_array_equal(
        again.predict(book["X"], offset=book["offset"]), model.predict(book["X"], offset=book["offset"])
    )


def test_a_learner_that_knows_no_offset_refuses_it(book):
    class Own(BoostedRegressor):
        def __init__(self, penalty="ccdcov", strength=0.0):
            self.penalty, self.strength = penalty, strength
            self.objective, self.n_estimators, self.n_penalised_rounds = "poisson", 1, 1
            self.learning_rate = self.penalised_learning_rate = 0.1
            self.early_stopping_rounds = None
            self.penalised_target = "observed"
            self.sensitive_columns, self.drop_sensitive_columns = None, True

    with pytest.raises(ValueError, match="Own takes no offset"):
        Own().fit(book["X"], book["rate"], offset=book["offset"])
