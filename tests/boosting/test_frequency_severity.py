"""Two boosters with one penalty on the premium: against each one apart, finite differences, and what was observed."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLGBMRegressor,
    DCovPoissonRegressor,
    DCovXGBRegressor,
    FrequencySeverityRegressor,
    JSDivergenceCalibrator,
)
from fairdcov._fitting import HalfTweedieLoss
from fairdcov.boosting._objective import BalancedObjective
from fairdcov.boosting._product import BalancedProduct
from fairdcov.metrics import ccdcov

pytest.importorskip("lightgbm")

# Strengths beyond what so few rows explain.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")

TREES = {"n_estimators": 15, "n_penalised_rounds": 25, "max_depth": 3, "n_jobs": 1, "random_state": 0}


def boosters():
    yield pytest.param(DCovLGBMRegressor, id="lightgbm")
    try:
        import xgboost  # noqa: F401
    except ImportError:
        return
    yield pytest.param(DCovXGBRegressor, id="xgboost")


every_booster = pytest.mark.parametrize("booster", list(boosters()))


def pair(booster, **changed):
    return booster(objective="poisson", **{**TREES, **changed}), booster(objective="gamma", **{**TREES, **changed})


@pytest.fixture
def book(rng):
    """Women have more claims, and dearer ones where a category shows it; gaps in a number, some rows of exposure 0."""
    n = 2_000
    gender = rng.integers(0, 2, n)
    X = pd.DataFrame({"a": gender + 0.7 * rng.normal(size=n), "b": rng.normal(size=n)})
    X["fuel"] = pd.Categorical(np.where(rng.random(n) < 0.4 + 0.3 * gender, "diesel", "petrol"))
    exposure = rng.uniform(0.3, 1.0, n)
    claims = rng.poisson(exposure * np.exp(-0.3 + 0.5 * X["a"] + 0.2 * X["b"])).astype(float)
    mean = np.exp(5 + 0.3 * X["a"] + 0.4 * (X["fuel"] == "diesel"))
    cost = np.where(claims > 0, rng.gamma(2 * np.maximum(claims, 1), mean / 2), 0.0)
    X.iloc[::11, 1] = np.nan
    exposure[:5] = claims[:5] = cost[:5] = 0.0
    given = {"sample_weight": exposure, "claims": claims, "sensitive_features": gender}
    premium = np.divide(cost, exposure, out=np.zeros(n), where=exposure > 0)
    return {"X": X, "y": premium, "given": given, "cost": cost, "gender": gender, **given}


def fit(book, model, **changed):
    return model.fit(book["X"], book["y"], **{**book["given"], **changed})


def dependence(book, predicted):
    return ccdcov(
        None,
        predicted,
        sensitive_features=book["gender"],
        sample_weight=book["sample_weight"],
        normalize=True,
    )


@every_booster
def test_without_a_penalty_they_are_the_two_boosters_fitted_apart(book, booster):
    exposure, claims, X = book["sample_weight"], book["claims"], book["X"]
    frequency, severity = pair(booster, strength=0)
    rate = np.divide(claims, exposure, out=np.zeros(len(claims)), where=exposure > 0)
    frequency.fit(X, rate, sample_weight=exposure)
    some = claims > 0
    severity.fit(X[some], book["cost"][some] / claims[some], sample_weight=claims[some])
    model = fit(book, FrequencySeverityRegressor(*pair(booster), strength=0, balance=False))
    np.testing.assert_allclose(model.predict_frequency(X), frequency.predict(X), rtol=1e-6)
    np.testing.assert_allclose(model.predict_severity(X), severity.predict(X), rtol=1e-6)
    share = claims.sum() / exposure.sum()
    assert model.loss_value_ == pytest.approx(frequency.loss_value_ + share * severity.loss_value_, rel=1e-6)


@every_booster
@pytest.mark.parametrize("strength", [3.0, 1e3], ids=["rounds", "leaves"])
def test_the_premium_is_penalised_and_in_balance(book, booster, strength):
    free = fit(book, FrequencySeverityRegressor(*pair(booster), strength=0))
    model = fit(book, FrequencySeverityRegressor(*pair(booster), strength=strength))
    premium, exposure = model.predict(book["X"]), book["sample_weight"]
    # Of the boosters as they predict, leaves that were moved among them.
    assert model.penalty_value_ == pytest.approx(dependence(book, premium), rel=1e-3)
    assert model.penalty_value_ < 0.3 * free.penalty_value_
    assert free.loss_value_ < model.loss_value_ < free.loss_value_ + strength * free.penalty_value_
    assert exposure @ premium == pytest.approx(book["cost"].sum(), rel=1e-5)
    assert exposure @ model.predict_frequency(book["X"]) == pytest.approx(book["claims"].sum(), rel=1e-5)
    assert 0 < model.n_penalised_rounds_ <= 25
    if strength > 100:
        assert model.effective_strength_ > 3
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(book["X"]), premium)


def test_one_penalty_on_the_premium_beats_two(book):
    # The price that both have: at no more dependence, a lower loss of the training rows.
    exposure, claims, X = book["sample_weight"], book["claims"], book["X"]
    rate = np.divide(claims, exposure, out=np.zeros(len(claims)), where=exposure > 0)
    some = claims > 0
    frequency, severity = pair(DCovLGBMRegressor, strength=1.0)
    frequency.fit(X, rate, sample_weight=exposure, sensitive_features=book["gender"])
    cost = book["cost"][some] / claims[some]
    severity.fit(X[some], cost, sample_weight=claims[some], sensitive_features=book["gender"][some])
    apart = frequency.predict(X) * severity.predict(X)
    share = claims.sum() / exposure.sum()
    loss = frequency.loss_value_ + share * severity.loss_value_
    path = FrequencySeverityRegressor(*pair(DCovLGBMRegressor)).strength_path(
        X, book["y"], [0.1, 0.3, 1.0, 3.0, 10.0], **book["given"]
    )
    joint = [(model.loss_value_, model.penalty_value_) for model in path]
    assert any(found < loss and penalty < dependence(book, apart) for found, penalty in joint)


@pytest.mark.parametrize(
    "penalty",
    [
        pytest.param(CCDCovPenalty(), id="free"),
        pytest.param(CCDCovPenalty(normalize=False), id="units"),
        pytest.param(CCDCovPenalty(scale="link"), id="link"),
    ],
)
def test_gradient_along_predictions_in_balance(rng, penalty):
    n = 60
    weights, claims = rng.uniform(0.5, 1.5, n), rng.integers(0, 3, n).astype(float)
    severity = np.where(claims > 0, rng.gamma(2.0, 1.0, n), 1.0)
    offset = rng.normal(size=n)
    parts = [
        BalancedObjective(HalfTweedieLoss(1.0, "log"), claims / weights, weights / weights.sum(), None, offset),
        BalancedObjective(HalfTweedieLoss(2.0, "log"), severity, claims / claims.sum(), None),
    ]
    shares = 1.0, claims.sum() / weights.sum()
    bound = penalty.bind(rng.integers(0, 2, n), weights)
    objective = BalancedProduct(parts, shares, claims * severity / weights, weights / weights.sum(), bound)
    raw = 0.3 * rng.normal(size=2 * n)

    def value(raw):
        _, (loss, penalty, _) = objective.balanced_terms(raw, 2.0)
        return loss + 2.0 * penalty

    shift, (loss, found, gradient, curvature) = objective.balanced_terms_curvature(raw, 2.0)
    assert (curvature >= 0).all()
    assert loss == pytest.approx(objective.mean_loss(raw + shift))
    assert found == pytest.approx(objective.penalty_value(raw + shift))
    # Where a shift moves the penalty, the one that balances a gamma loss is followed by its Fisher weights alone.
    rows = n if bound.scale == "response" and not bound.scale_free else 2 * n
    for row in rng.choice(rows, 8, replace=False):
        step = np.zeros(2 * n)
        step[row] = 1e-6
        slope = (8 * (value(raw + step) - value(raw - step)) - value(raw + 2 * step) + value(raw - 2 * step)) / 12e-6
        assert gradient[row] == pytest.approx(slope, rel=1e-4, abs=1e-8)
    np.testing.assert_allclose(objective.balanced_terms(raw, 2.0)[1][2], gradient, rtol=1e-12)


def test_parts_of_two_learners_in_pipelines_with_offsets(book):
    pytest.importorskip("xgboost")
    to_numbers = ColumnTransformer([("fuel", OrdinalEncoder(), ["fuel"])], remainder="passthrough")
    frequency, severity = make_pipeline(to_numbers, pair(DCovXGBRegressor)[0]), pair(DCovLGBMRegressor)[1]
    model = FrequencySeverityRegressor(frequency, severity, strength=5.0, severity_features=["a", "fuel"])
    offsets = {"frequency_offset": 0.1 * book["X"]["a"].to_numpy(), "severity_offset": np.full(2_000, 0.5)}
    fit(book, model, **offsets)
    premium = model.predict(book["X"], **offsets)
    assert book["sample_weight"] @ premium == pytest.approx(book["cost"].sum(), rel=1e-5)
    assert model.penalty_value_ == pytest.approx(dependence(book, premium), rel=1e-3)
    assert model.severity_.n_features_in_ == 2
    with pytest.raises(ValueError, match="was fitted with a frequency_offset"):
        model.predict(book["X"])


@every_booster
def test_monotone_constraints_are_kept(book, booster):
    signs = [1, 0, 0] if booster is DCovLGBMRegressor else "(1, 0, 0)"
    model = fit(book, FrequencySeverityRegressor(*pair(booster, monotone_constraints=signs), strength=300.0))
    rising = pd.concat([book["X"].iloc[[20]]] * 60, ignore_index=True).assign(a=np.linspace(-2, 3, 60))
    for predict in (model.predict_frequency, model.predict_severity):
        assert (np.diff(predict(rising)) >= -1e-6 * predict(rising).mean()).all()


@every_booster
def test_a_part_whose_features_tell_nothing(book, booster):
    book["X"]["nothing"] = 1.0
    options = {"frequency_features": ["a", "b", "fuel"], "severity_features": ["nothing"]}
    model = fit(book, FrequencySeverityRegressor(*pair(booster), strength=3.0, **options))
    free = fit(book, FrequencySeverityRegressor(*pair(booster), strength=0, **options))
    assert np.ptp(model.predict_severity(book["X"])) == 0
    assert model.penalty_value_ < 0.5 * free.penalty_value_


def test_a_calibration_of_two_boosters(book):
    rows = book["sample_weight"] > 0
    calibrator = JSDivergenceCalibrator(
        FrequencySeverityRegressor(*pair(DCovLGBMRegressor)), strengths=[1.0, 30.0], rule="elbow", cv=2, verbose=0
    )
    given = {name: values[rows] for name, values in book["given"].items()}
    calibrator.fit(book["X"][rows], book["y"][rows], **given)
    divergence = calibrator.calibration_results_["mean_divergence"]
    assert divergence[-1] < divergence[0]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            (DCovPoissonRegressor(), DCovLGBMRegressor(objective="gamma")),
            "two linear models or two boosters",
        ),
        (
            (DCovLGBMRegressor(objective="poisson"), DCovGammaRegressor()),
            "two linear models or two boosters",
        ),
        (
            (DCovLGBMRegressor(), DCovLGBMRegressor(objective="gamma")),
            "found .* with objective='squared_error'",
        ),
    ],
)
def test_parts_that_do_not_go_together(book, parts, message):
    with pytest.raises(TypeError, match=message):
        fit(book, FrequencySeverityRegressor(*parts))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_penalised_rounds": 7}, "n_penalised_rounds must be the same; found 25 for the frequency and 7"),
        ({"penalised_learning_rate": 0.1}, "penalised_learning_rate must be the same"),
        ({"penalised_target": "observed"}, "penalised_target of the severity must be 'unpenalised'"),
        ({"early_stopping_rounds": 3}, "early_stopping_rounds of the severity must be None in a joint fit"),
    ],
)
def test_parameters_that_a_joint_fit_cannot_go_by(book, changed, message):
    frequency, severity = pair(DCovLGBMRegressor)
    with pytest.raises(ValueError, match=message):
        fit(book, FrequencySeverityRegressor(frequency, severity.set_params(**changed)))


def test_strengths_of_a_path_must_increase(book):
    with pytest.raises(ValueError, match="strengths must increase along a path"):
        FrequencySeverityRegressor(*pair(DCovLGBMRegressor)).strength_path(
            book["X"], book["y"], [1.0, 0.5], **book["given"]
        )
