"""A penalised regressor that begins where another ends."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import PoissonRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import (
    DCovPoissonRegressor,
    DCovRidge,
    FrequencySeverityRegressor,
    JSDivergenceCalibrator,
    StagedFairRegressor,
    UnawareFairRegressor,
)
from fairdcov.metrics import js_divergence


@pytest.fixture
def book(rng):
    n = 3_000
    gender = rng.choice(["f", "m"], n)
    X = pd.DataFrame({"power": rng.normal(0.7 * (gender == "m")), "age": rng.normal(size=n)})
    exposure = rng.uniform(0.2, 1.0, n)
    y = rng.poisson(exposure * np.exp(0.4 * X["power"] - 0.3 * X["age"])) / exposure
    return X, y, {"sample_weight": exposure, "sensitive_features": gender}


def glm(**options):
    return DCovPoissonRegressor(**{"strength": 77.0, "alpha": 1e-3, **options})


def test_the_second_model_begins_where_the_first_ends(book):
    X, y, given = book
    # Two linear models, whose fits are known.
    model = StagedFairRegressor(glm(), glm(alpha=1e-2), strength=2.0).fit(X, y, **given)
    first = glm(strength=2.0).fit(X, y, **given)
    offset = np.log(first.predict(X))
    second = glm(alpha=1e-2, strength=2.0).fit(X, y, offset=offset, **given)
    np.testing.assert_allclose(model.first_.coef_, first.coef_)
    np.testing.assert_allclose(model.second_.coef_, second.coef_, atol=1e-12)
    np.testing.assert_allclose(model.predict(X), second.predict(X, offset=offset))
    assert model.effective_strength_ == second.effective_strength_
    weights = given["sample_weight"]
    assert model.score(X, y, weights) == pytest.approx(second.score(X, y, weights, offset=offset))
    assert model.feature_names_in_.tolist() == ["power", "age"]
    assert (model.first.strength, model.second.strength) == (77.0, 77.0)
    assert not hasattr(model.fit(X.to_numpy(), y, **given), "feature_names_in_")


def test_a_path_is_its_fits(book):
    X, y, given = book
    model = StagedFairRegressor(glm(), glm())
    path = list(model.strength_path(X, y, [0.0, 2.0], **given))
    assert [each.strength for each in path] == [0.0, 2.0]
    for each in path:
        np.testing.assert_allclose(
            each.predict(X), model.set_params(strength=each.strength).fit(X, y, **given).predict(X)
        )
    assert js_divergence(None, path[1].predict(X), **given) < js_divergence(None, path[0].predict(X), **given)
    with pytest.raises(ValueError, match="at least one"):
        model.strength_path(X, y, [], **given)
    with pytest.raises(ValueError, match="strengths"):
        model.strength_path(X, y, [-1.0], **given)
    with pytest.raises(TypeError, match=r"strengths must be a sequence of numbers; found 1.0: pass \[1.0\]"):
        model.strength_path(X, y, 1.0, **given)


@pytest.mark.parametrize("routing", [False, True])
def test_pipelines_and_the_calibrator(book, routing):
    X, y, given = book
    with sklearn.config_context(enable_metadata_routing=routing):
        scaler = StandardScaler()
        if routing:
            scaler.set_fit_request(sample_weight=True)
        model = StagedFairRegressor(make_pipeline(scaler, glm()), glm())
        calibrator = JSDivergenceCalibrator(
            model, strengths=[0, 1, 10], rule="elbow", if_unmet="warn", cv=2, n_permutations=2, verbose=0
        )
        with warnings.catch_warnings():
            # What there is to choose from is not looked at here.
            warnings.simplefilter("ignore")
            calibrator.fit(X, y, **given)
    best = calibrator.best_estimator_
    assert type(best) is StagedFairRegressor
    assert best.strength == calibrator.best_strength_
    with sklearn.config_context(enable_metadata_routing=routing):
        expected = model.set_params(strength=best.strength).fit(X, y, **given)
    np.testing.assert_allclose(best.predict(X), expected.predict(X))


def test_trees_find_what_the_linear_model_misses(rng):
    pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMRegressor

    n = 6_000
    gender = rng.choice(["f", "m"], n)
    X = pd.DataFrame({"power": rng.normal(1.0 * (gender == "m")), "age": rng.normal(size=n)})
    X["kind"] = pd.Categorical(rng.choice(["a", "b"], n))
    y = rng.poisson(np.exp(0.4 * X["power"] - 0.3 * X["age"] + 0.4 * (X["kind"] == "b")))
    numbers = make_column_transformer((StandardScaler(), make_column_selector(dtype_include="number")))
    trees = DCovLGBMRegressor(objective="poisson", n_estimators=30, n_penalised_rounds=10, num_leaves=4, n_jobs=1)
    given = {"sensitive_features": gender}
    model = StagedFairRegressor(make_pipeline(numbers, glm()), trees, strength=10.0).fit(X, y, **given)
    prediction = model.predict(X)
    # The first one does not see the category.
    kinds = pd.Series(prediction).groupby(X["kind"].to_numpy()).mean()
    assert kinds["b"] > 1.1 * kinds["a"]
    plain = StagedFairRegressor(make_pipeline(numbers, glm()), trees, strength=0.0).fit(X, y, **given).predict(X)
    assert js_divergence(None, prediction, **given) < 0.2 * js_divergence(None, plain, **given)


# The second one may not undo what the first has explained.
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_behind_unaware_features(book):
    X, y, given = book
    model = UnawareFairRegressor(
        StagedFairRegressor(glm(), glm(), strength=2.0), PoissonRegressor(), GaussianNB(), cv=2, n_knots=2
    )
    path = list(model.strength_path(X, y, [0.0, 2.0], **given))
    single = model.fit(X, y, **given)
    np.testing.assert_allclose(path[1].predict(X), single.predict(X))
    assert single.effective_strength_ == single.estimator_.effective_strength_
    # Of the deviance, as of an estimator that is one model.
    own = single.estimator_
    table = single.features_.transform(X)
    weights = given["sample_weight"]
    assert single.score(X, y, weights) == pytest.approx(own.score(table, y, weights), abs=0.01)


def test_models_that_do_not_go_together(book):
    X, y, given = book
    for model, error, message in (
        (StagedFairRegressor(PoissonRegressor(), glm()), TypeError, "first must be .* found PoissonRegressor"),
        (StagedFairRegressor(glm(), PoissonRegressor()), TypeError, "second must be .* found PoissonRegressor"),
        (StagedFairRegressor(DCovRidge(), glm()), ValueError, "same link.*'identity' and 'log'"),
        (StagedFairRegressor(glm(), glm(), strength=-1.0), ValueError, "strength"),
        (StagedFairRegressor(FrequencySeverityRegressor(), glm()), TypeError, "first must be a model of one target"),
        (StagedFairRegressor(glm(sensitive_columns=["age"]), glm()), ValueError, "first names sensitive_columns"),
    ):
        with pytest.raises(error, match=message):
            model.fit(X, y, **given)
        assert not hasattr(model, "first_")
    for name in ("offset", "eval_set"):
        with pytest.raises(ValueError, match=f"{name} is not for a StagedFairRegressor"):
            StagedFairRegressor(glm(), glm()).fit(X, y, **given, **{name: np.zeros(len(y))})
