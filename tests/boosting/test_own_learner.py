"""The learner of the examples: scikit-learn's histogram gradient boosting, driven by what a grower has to have."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from fairdcov.boosting import Grower

# Large strengths are asked for on purpose, as for the other learners.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
SMALL = {"n_estimators": 15, "n_penalised_rounds": 10, "max_leaf_nodes": 6, "random_state": 0}


@pytest.fixture(scope="module")
def example(import_example):
    return import_example("own_learner")


def fit(example, portfolio, strength, **options):
    model = example.DCovHistGradientBoostingRegressor(strength=strength, **{**SMALL, "objective": "poisson", **options})
    people = {"sensitive_features": portfolio["people"]}
    return model.fit(portfolio["X"], portfolio["y"], portfolio["exposure"], **people)


def test_the_example_is_short(example):
    assert len(Path(example.__file__).read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("objective", ["poisson", "squared_error"])
def test_without_a_penalty_it_is_the_model_of_scikit_learn(example, portfolio, objective):
    model = fit(example, portfolio, 0.0, objective=objective)
    own = HistGradientBoostingRegressor(
        loss=objective, max_iter=15, max_leaf_nodes=6, random_state=0, early_stopping=False
    )
    own.fit(portfolio["X"], portfolio["y"], portfolio["exposure"])
    np.testing.assert_allclose(model.predict(portfolio["X"]), own.predict(portfolio["X"]), rtol=1e-12)


@pytest.mark.parametrize("objective", ["poisson", "squared_error"])
def test_the_penalty_falls_and_the_total_stays(example, portfolio, objective):
    unaware, fair = (fit(example, portfolio, strength, objective=objective) for strength in (0.0, 10.0))
    assert fair.penalty_value_ < 0.3 * unaware.penalty_value_
    assert (np.diff(fair.history_["objective"]) < 0).all()
    assert fair.booster_.n_rounds == fair.n_unpenalised_rounds_ == 15
    assert len(fair.booster_.steps) == fair.n_penalised_rounds_ > 0
    prediction = fair.predict(portfolio["X"])
    assert prediction @ portfolio["exposure"] == pytest.approx(portfolio["claims"].sum(), rel=1e-6)


def test_paths_and_rows_to_watch(example, portfolio):
    X, y, people = (portfolio[name] for name in ("X", "y", "people"))
    model = example.DCovHistGradientBoostingRegressor(objective="poisson", **SMALL)
    path = list(
        model.strength_path(
            X[:1000],
            y[:1000],
            [0.0, 1.0, 10.0],
            sensitive_features=people[:1000],
            eval_set=(X[1000:], y[1000:]),
            eval_sensitive_features=people[1000:],
        )
    )
    assert np.all(np.diff([fitted.penalty_value_ for fitted in path]) < 0)
    # The rows that are watched have the predictions of the model.
    last = path[-1]
    deviance = np.mean(last.predict(X[1000:]) - y[1000:] * np.log(last.predict(X[1000:])))
    watched = last.history_["validation_loss"]
    saturated = np.where(y[1000:] > 0, y[1000:] - y[1000:] * np.log(np.where(y[1000:] > 0, y[1000:], 1.0)), 0.0)
    assert watched[-1] == pytest.approx(deviance - saturated.mean(), rel=1e-6)


def test_a_tree_is_a_newton_step(example, rng):
    """Its leaves are minus the sum of the gradients over that of the curvatures; dropped, it leaves nothing behind."""
    X = np.repeat([[0.0], [1.0]], 50, axis=0)
    start = HistGradientBoostingRegressor(max_iter=1).fit(X, rng.normal(size=100))
    grower = example.HistGrower(start, X, None, "identity", {"min_samples_leaf": 1, "early_stopping": False})
    before = grower.raw()
    gradient, curvature = rng.normal(size=100), rng.uniform(0.5, 2.0, size=100)
    assert grower.grow(gradient, curvature, 0.5)
    assert grower.n_trees() == 2
    newton = -0.5 * gradient.reshape(2, 50).sum(axis=1) / curvature.reshape(2, 50).sum(axis=1)
    np.testing.assert_allclose(grower.raw() - before, np.repeat(newton, 50), rtol=1e-5)  # single precision
    grower.drop()
    np.testing.assert_allclose(grower.raw(), before, atol=1e-12)
    assert not grower.grow(np.ones(100), np.ones(100), 0.5)
    assert grower.n_trees() == 1


def test_what_a_grower_lacks_is_named():
    class Some(Grower):
        def n_trees(self):
            return 1

    with pytest.raises(TypeError, match="drop"):
        Some()

    class Bare(Some):
        grow = drop = raw = snapshot = None

    assert Bare().after_round([], 10) is None
    with pytest.raises(NotImplementedError, match="Bare takes no callbacks"):
        Bare().after_round([print], 10)
    with pytest.raises(NotImplementedError, match="Bare watches no eval_set"):
        Bare().monitored_raw()
