"""Boosters on data and parameters at the edge: constants, gaps, few rows, other categories, steps far too large."""

import pickle

import numpy as np
import pandas as pd
import pytest

from fairdcov import DCovLGBMClassifier, DCovLGBMRegressor, DCovXGBRegressor, with_probabilities

lightgbm = pytest.importorskip("lightgbm")

# Small books explain little: a strength that weighs more than that is taken for less, which other tests are about.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")

FEW = {"n_estimators": 5, "n_penalised_rounds": 3, "n_jobs": 1}


def boosters():
    yield pytest.param(DCovLGBMRegressor, id="lightgbm")
    try:
        import xgboost  # noqa: F401
    except ImportError:
        return
    yield pytest.param(DCovXGBRegressor, id="xgboost")


every_booster = pytest.mark.parametrize("booster", list(boosters()))


def rows(rng, n=200):
    X = rng.normal(size=(n, 3))
    return X, np.exp(0.5 * X[:, 0]) + 0.1, (X[:, 0] + rng.normal(size=n) > 0)


@every_booster
@pytest.mark.parametrize("strength", [0, 3.0])
@pytest.mark.parametrize("objective", ["squared_error", "poisson", "negative_binomial", "gamma", "tweedie"])
@pytest.mark.parametrize("features", ["constant", "missing", "constant or missing"])
def test_features_that_tell_nothing_give_the_mean(booster, strength, objective, features, rng):
    _, y, S = rows(rng)
    X = np.ones((200, 2)) if features == "constant" else np.full((200, 2), np.nan)
    if features == "constant or missing":
        X[:, 0] = 3.0
    model = booster(strength=strength, objective=objective, min_child_weight=1e-9, **{**FEW, "n_estimators": 50})
    model.fit(X, y, sensitive_features=S)
    np.testing.assert_allclose(model.predict(X), y.mean(), rtol=1e-3 if strength == 0 else 1e-6)
    assert model.n_penalised_rounds_ == 0


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # LightGBM 4.6, of arrays
@pytest.mark.parametrize("strength", [0, 3.0])
def test_too_few_rows_for_a_leaf_give_the_mean_as_lightgbm_does(strength, rng):
    X, y, S = rows(rng, 30)
    model = DCovLGBMRegressor(strength=strength, early_stopping_rounds=2, **FEW)
    model.fit(X, y, sensitive_features=S, eval_set=(X[:5], y[:5]), eval_sensitive_features=S[:5])
    np.testing.assert_allclose(model.predict(X), y.mean(), rtol=1e-6)
    theirs = lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbosity=-1).fit(X, y)
    np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-6)
    classifier = DCovLGBMClassifier(strength=strength, **FEW).fit(X, S, sensitive_features=S)
    np.testing.assert_allclose(classifier.predict_proba(X)[:, 1], S.mean(), rtol=1e-6)


@every_booster
def test_few_rows_of_positive_weight(booster, rng):
    X, y, S = rows(rng)
    weight = np.zeros(200)
    weight[:6] = 1.0
    options = {"min_child_samples": 1} if booster is DCovLGBMRegressor else {}
    model = booster(min_child_weight=1e-9, **options, **FEW).fit(X, y, weight, sensitive_features=S)
    alone = booster(min_child_weight=1e-9, **options, **FEW).fit(X[:6], y[:6], sensitive_features=S[:6])
    np.testing.assert_allclose(model.predict(X), alone.predict(X), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:the protected attributes .* are constant")
@every_booster
def test_one_round_one_eval_row_single_precision_and_whole_numbers(booster, rng):
    X, y, S = rows(rng)
    once = booster(objective="poisson", **{**FEW, "n_estimators": 1, "n_penalised_rounds": 1})
    assert np.isfinite(once.fit(X, y, sensitive_features=S).predict(X)).all()
    watched = booster(objective="poisson", early_stopping_rounds=1, **FEW)
    watched.fit(X, y, sensitive_features=S, eval_set=(X[:1], y[:1]), eval_sensitive_features=S[:1])
    assert np.isfinite(watched.predict(X)).all()
    single = booster(**FEW).fit(X.astype(np.float32), y.astype(np.float32), sensitive_features=S)
    double = booster(**FEW).fit(X.astype(np.float32).astype(float), y.astype(np.float32), sensitive_features=S)
    np.testing.assert_allclose(single.predict(X), double.predict(X), rtol=1e-6)
    whole = np.round(10 * X).astype(int)
    np.testing.assert_allclose(
        booster(**FEW).fit(whole, y, sensitive_features=S).predict(whole),
        booster(**FEW).fit(whole.astype(float), y, sensitive_features=S).predict(whole.astype(float)),
        rtol=1e-6,
    )


@every_booster
def test_categories_are_those_of_the_fit(booster, rng):
    X, y, S = rows(rng)
    frame = pd.DataFrame({"a": X[:, 0], "kind": pd.Categorical(np.where(X[:, 1] > 0, "p", "q"))})
    model = booster(**FEW).fit(frame, y, sensitive_features=S)
    other_order = frame.assign(kind=frame["kind"].cat.set_categories(["q", "p"]))
    np.testing.assert_array_equal(model.predict(other_order), model.predict(frame))
    for kind in (1.0, frame["kind"].astype(str), frame["kind"].cat.codes):
        with pytest.raises(ValueError, match=r"categorical_feature do not match|must be int|held categories there and"):
            model.predict(frame.assign(kind=kind))
    numbers = booster(**FEW).fit(frame.assign(kind=X[:, 1]), y, sensitive_features=S)
    with pytest.raises(ValueError, match=r"categorical_feature do not match|'kind' held numbers there and holds categ"):
        numbers.predict(frame)


@every_booster
@pytest.mark.parametrize("strength", [0, 3.0])
def test_steps_far_too_large_are_an_error_or_no_worse_than_a_constant(booster, strength, rng):
    X, y, S = rows(rng)
    for learning_rate in (100.0, 1e30):
        with pytest.raises(ValueError, match="diverge"):
            booster(strength=strength, objective="poisson", learning_rate=learning_rate, **FEW).fit(
                X, y, sensitive_features=S
            )
    model = booster(strength=strength, objective="poisson", penalised_learning_rate=1e6, **FEW)
    assert model.fit(X, y, sensitive_features=S).score(X, y) > -1e-9


NAMES = ['power, kW ["max"]:{1}', "a b", "a_b", "Dichte (Ew./km²) <1", "fuel"]


@every_booster
@pytest.mark.parametrize("monotone", [False, True])
def test_a_messy_portfolio_with_everything(booster, monotone, rng):
    # Names that no learner takes, gaps in numbers and categories, a group of 12 rows, shares of a level, an offset,
    # control features and rows of exposure 0.
    n = 600
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=NAMES[:4])
    X[NAMES[4]] = pd.Categorical(np.where(rng.random(n) < 0.1, None, rng.choice(["diesel", "petrol"], n)))
    X.iloc[::7, 1] = np.nan
    exposure = rng.uniform(0.2, 1.0, n)
    exposure[5:10] = 0.0
    offset = rng.normal(-1.0, 0.2, n)
    rate = np.exp(offset + 0.6 * X[NAMES[0]] + 0.3 * X[NAMES[2]])
    y = np.where(exposure > 0, rng.poisson(exposure * rate) / np.where(exposure > 0, exposure, 1.0), 0.0)
    people = pd.DataFrame({"group": np.where(np.arange(n) < 12, "tiny", rng.choice(["a", "b"], n))})
    people["p_x"] = 1 / (1 + np.exp(-2 * X[NAMES[0]]))
    people["p_y"] = 1 - people["p_x"]
    people = with_probabilities(people, {"race": ["p_x", "p_y"]})
    control = pd.DataFrame({"zone": rng.choice(["u", "v"], n)})
    options = {}
    if monotone:
        signs = [1, 0, 0, 0, 0]
        options["monotone_constraints"] = signs if booster is DCovLGBMRegressor else str(tuple(signs))
    free, model = (
        booster(strength=strength, objective="poisson", random_state=0, **{**FEW, **options, "n_penalised_rounds": 20})
        for strength in (0, 5.0)
    )
    given = {"sample_weight": exposure, "offset": offset, "sensitive_features": people, "control_features": control}
    free.fit(X, y, **given)
    model.fit(X, y, **given)
    assert model.penalty_value_ < 0.6 * free.penalty_value_
    predicted = model.predict(X, offset=offset)
    assert (exposure @ predicted) / (exposure @ y) == pytest.approx(1, abs=1e-3)
    assert model.feature_names_in_.tolist() == NAMES
    assert len(model.feature_importances_) == 5
    assert free.feature_importances_[0] > 0
    assert model.shap_values(X).sum(axis=1) + offset == pytest.approx(np.log(predicted), abs=1e-4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X, offset=offset), predicted)
    if monotone:
        rising = pd.concat([X.iloc[[0]]] * 50, ignore_index=True).assign(**{NAMES[0]: np.linspace(-3, 3, 50)})
        assert (np.diff(model.predict(rising, offset=0.0)) >= -1e-9).all()


def test_what_lightgbm_refuses_is_a_value_error(rng):
    X, y, _ = rows(rng)
    with pytest.raises(ValueError, match=r"LightGBM refuses these parameters .*: .*num_leaves"):
        DCovLGBMRegressor(strength=0, **FEW, num_leaves=-3).fit(X, y)
    with pytest.raises(ValueError, match=r"LightGBM refuses these parameters .*: .*tree learner"):
        DCovLGBMRegressor(strength=0, **FEW, tree_learner="none of them").fit(X, y)


@every_booster
@pytest.mark.parametrize("strength", [0, 3.0])
@pytest.mark.parametrize("form", ["list", "text", "dict"])
def test_a_monotone_constraint_on_a_category_is_refused(booster, strength, form, rng):
    # LightGBM would end the process, XGBoost would say nothing.
    X, y, S = rows(rng)
    X = pd.DataFrame(X, columns=["a", "b", "c"]).assign(b=pd.Categorical(rng.choice(["x", "y", "z"], 200)))
    if form == "dict" and booster is DCovLGBMRegressor:
        pytest.skip("LightGBM takes no constraints by name")

    def signs(a, b):
        if form == "dict":
            return {"a": a, "b": b}
        if form == "text":
            return f"({a},{b},0)" if booster is DCovXGBRegressor else f"{a},{b},0"
        return (a, b, 0) if booster is DCovXGBRegressor else [a, b, 0]

    model = booster(strength=strength, monotone_constraints=signs(1, -1), **FEW)
    with pytest.raises(ValueError, match=r"monotone_constraints has -1 for feature 'b', a category, .*: set 0 there"):
        model.fit(X, y, sensitive_features=S)
    assert not hasattr(model, "booster_")
    model.set_params(monotone_constraints=signs(1, 0)).fit(X, y, sensitive_features=S)
    line = X.iloc[[0] * 30].assign(a=np.linspace(-2, 2, 30))
    assert (np.diff(model.predict(line)) >= 0).all()


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore:.*categorical_feature keyword has been found")
@pytest.mark.parametrize("named", [[1], 1, "1", "name:b", ["b"]])
@pytest.mark.parametrize("alias", ["monotone_constraints", "mc"])
def test_a_monotone_constraint_on_numbers_that_are_called_categories(named, alias, rng):
    X, y, S = rows(rng)
    X = pd.DataFrame(X, columns=["a", "b", "c"]).assign(b=rng.integers(0, 3, 200))
    model = DCovLGBMRegressor(categorical_feature=named, **{alias: [0, 1, 0]}, **FEW)
    with pytest.raises(ValueError, match=rf"{alias} has 1 for feature 'b', a category"):
        model.fit(X, y, sensitive_features=S)


def test_levels_in_an_order_take_a_monotone_constraint(rng):
    # LightGBM reads them as numbers.
    X, y, S = rows(rng)
    levels = pd.Categorical(rng.choice(["x", "y", "z"], 200), categories=["x", "y", "z"], ordered=True)
    X = pd.DataFrame(X, columns=["a", "b", "c"]).assign(b=levels)
    DCovLGBMRegressor(monotone_constraints=[0, 1, 0], **FEW).fit(X, y, sensitive_features=S)
