"""Conditional parity through every learner: the penalty of the fit is the one within strata, and is what falls."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import CCDCovPenalty, DCovLGBMRegressor, DCovPoissonRegressor, DCovXGBRegressor
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.neural import DCovMLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning"),
]

TREES = {"objective": "poisson", "n_estimators": 20, "n_penalised_rounds": 20, "n_jobs": 1, "random_state": 0}
NETWORK = {"hidden_layer_sizes": (4,), "max_epochs": 20, "max_iter": 40, "random_state": 0, "n_threads": 1}


def linear():
    return DCovPoissonRegressor(alpha=1e-4)


def lightgbm():
    pytest.importorskip("lightgbm")
    return DCovLGBMRegressor(num_leaves=8, **TREES)


def xgboost():
    pytest.importorskip("xgboost")
    return DCovXGBRegressor(max_depth=3, **TREES)


def network():
    pytest.importorskip("torch")
    return DCovMLPRegressor(objective="poisson", **NETWORK)


learners = pytest.mark.parametrize("make", [linear, lightgbm, xgboost, network], ids=lambda make: make.__name__)


@pytest.fixture
def book(rng):
    """The group drives more, which is legitimate, and also lives elsewhere, which is not."""
    n = 1500
    group = rng.choice(["a", "b"], n)
    mileage = rng.choice(["low", "middle", "high"], n, p=[0.4, 0.3, 0.3])
    mileage = np.where((group == "a") & (rng.uniform(size=n) < 0.5), "high", mileage)
    proxy = (group == "a") + rng.normal(size=n)
    X = pd.DataFrame({"high": mileage == "high", "middle": mileage == "middle", "proxy": proxy}).astype(float)
    w = rng.uniform(0.5, 2.0, n)
    y = rng.poisson(w * np.exp(X["high"] + 0.5 * X["middle"] + 0.4 * proxy)) / w
    return {"X": X, "y": y, "weights": w, "group": pd.Series(group), "mileage": pd.Series(mileage)}


def fit(estimator, book, **changed):
    given = {
        "sample_weight": book["weights"],
        "sensitive_features": book["group"],
        "control_features": book["mileage"],
        **changed,
    }
    return estimator.fit(book["X"], book["y"], **given)


@learners
def test_the_conditional_penalty_falls_with_the_strength(make, book):
    bound = CCDCovPenalty().bind(book["group"], book["weights"], control_features=book["mileage"])
    penalties = []
    for strength in (0.0, 1.0, 20.0):
        model = fit(make().set_params(strength=strength), book)
        penalties.append(bound.value(model.predict(book["X"])))
        assert_allclose(model.penalty_value_, penalties[-1], rtol=1e-4)
    assert penalties[0] > penalties[1] > penalties[2]
    assert penalties[2] < 0.3 * penalties[0]


@learners
def test_path_is_conditional_as_well(make, book):
    data = {"sensitive_features": book["group"], "control_features": book["mileage"]}
    path = list(make().strength_path(book["X"], book["y"], [0.0, 5.0], book["weights"], **data))
    bound = CCDCovPenalty().bind(book["group"], book["weights"], control_features=book["mileage"])
    for model in path:
        assert_allclose(model.penalty_value_, bound.value(model.predict(book["X"])), rtol=1e-4)
    assert path[1].penalty_value_ < path[0].penalty_value_


def test_differences_between_strata_are_free(book):
    within = fit(linear().set_params(strength=20.0), book)
    everywhere = fit(linear().set_params(strength=20.0), book, control_features=None)
    assert within.coef_[0] > 0.8
    assert everywhere.coef_[0] < 0.5
    total = (within.predict(book["X"]) * book["weights"]).sum()
    assert_allclose(total, (book["y"] * book["weights"]).sum(), rtol=1e-3)


@pytest.mark.parametrize("strength", [20.0, 60.0])
def test_the_kink_where_nothing_varies_within_strata_is_no_place_to_get_stuck(book, strength):
    """All features but the proxy are the control features: the best model there is without the proxy."""
    model = fit(linear().set_params(strength=strength), book)
    without = linear().set_params(strength=0).fit(book["X"][["high", "middle"]], book["y"], book["weights"])
    assert_allclose(model.objective_value_, without.objective_value_, rtol=1e-4)
    assert_allclose(model.coef_, [*without.coef_, 0.0], atol=0.02)


@pytest.mark.parametrize("seed", [0, 3])
def test_kinks_of_single_strata_are_no_place_to_get_stuck(seed):
    """A proxy for each stratum: no model of another strength has a lower objective than the one fitted to it."""
    rng = np.random.default_rng(seed)
    n = 3000
    mileage = rng.choice(["low", "middle", "high"], n, p=[0.4, 0.3, 0.3])
    group = rng.choice(["a", "b"], n)
    proxy = (group == "a") * pd.Series(mileage).map({"low": 0.2, "middle": 0.8, "high": 2.0}) + rng.normal(size=n)
    levels = pd.DataFrame({level: mileage == level for level in ("high", "middle", "low")}).astype(float)
    X = pd.concat([levels[["high", "middle"]], levels.mul(proxy, axis=0).add_prefix("proxy ")], axis=1)
    w = rng.uniform(0.5, 2.0, n)
    y = rng.poisson(w * np.exp(levels["high"] + 0.5 * levels["middle"] + 0.4 * proxy)) / w
    data = {"sample_weight": w, "sensitive_features": group, "control_features": mileage}
    models = [linear().set_params(strength=strength).fit(X, y, **data) for strength in (3.0, 10.0, 20.0, 40.0)]
    terms = [(m.loss_value_ + 0.5e-4 * m.coef_ @ m.coef_, m.penalty_value_) for m in models]
    for model in models:
        for rest, penalty in terms:
            assert model.objective_value_ <= rest + model.strength * penalty + 1e-4


@learners
def test_one_stratum_changes_nothing(make, book):
    within = fit(make().set_params(strength=2.0), book, control_features=np.zeros(len(book["y"])))
    plain = fit(make().set_params(strength=2.0), book, control_features=None)
    np.testing.assert_array_equal(within.predict(book["X"]), plain.predict(book["X"]))


def test_rows_of_weight_zero_are_left_out(book):
    weights = np.where(np.arange(len(book["y"])) < 300, 0.0, book["weights"])
    book["mileage"][:100] = "unknown"
    whole = fit(linear(), book, sample_weight=weights)
    part = {name: column[300:] for name, column in book.items()}
    assert_allclose(whole.coef_, fit(linear(), part).coef_, rtol=1e-12)


@learners
def test_errors_are_of_the_argument(make, book):
    with pytest.raises(ValueError, match=r"^control_features must have as many rows as X: found 1499 instead of 1500"):
        fit(make(), book, control_features=book["mileage"][:-1])
    with pytest.raises(TypeError, match=r"^control_features must be a DataFrame, a Series or an array; found a int"):
        fit(make(), book, control_features=3)
    with pytest.raises(ValueError, match="control_features column 'age' has 1 missing"):
        fit(make(), book, control_features=book["mileage"].where(np.arange(1500) != 7).rename("age"))
    estimator = make()
    with (
        pytest.warns(SensitiveFeaturesWarning, match="nothing of"),
        pytest.raises(ValueError, match="determine the protected attributes"),
    ):
        fit(estimator, book, control_features=book["group"].map({"a": 1, "b": 2}).rename("code"))
    assert not any(name.endswith("_") and not name.startswith("_") for name in vars(estimator))


def test_rows_of_control_features_in_another_order_are_warned_of(book):
    shuffled = book["mileage"].sample(frac=1, random_state=0)
    with (
        pytest.warns(SensitiveFeaturesWarning, match="X and control_features are matched by position"),
        pytest.warns(SensitiveFeaturesWarning, match="sensitive_features and control_features are matched by position"),
    ):
        fit(linear(), book, control_features=shuffled)


class OwnPenalty:
    """A penalty that knows of no control features."""

    def bind(self, sensitive_features, sample_weight=None):
        raise AssertionError


@learners
def test_penalties_that_take_no_control_features_say_so(make, book):
    with pytest.raises(TypeError, match=r"OwnPenalty\.bind does not take control_features"):
        fit(make().set_params(penalty=OwnPenalty()), book)


@pytest.mark.parametrize("make", [lightgbm, xgboost, network], ids=lambda make: make.__name__)
def test_rows_to_watch_need_their_own(make, book):
    held = {
        "eval_set": (book["X"][1000:], book["y"][1000:]),
        "eval_sample_weight": book["weights"][1000:],
        "eval_sensitive_features": book["group"][1000:],
    }
    part = {name: column[:1000] for name, column in book.items()}
    with pytest.raises(ValueError, match="the fit has control_features and the eval_set has none"):
        fit(make(), part, **held)
    with pytest.raises(ValueError, match="the fit has no control_features"):
        fit(make(), part, control_features=None, eval_control_features=book["mileage"][1000:], **held)
    with pytest.raises(ValueError, match="eval_control_features must have as many rows as X of eval_set"):
        fit(make(), part, eval_control_features=book["mileage"][1001:], **held)
    model = fit(make(), part, eval_control_features=[book["mileage"][1000:]], **held)
    plain = fit(make(), part, control_features=None, **held)
    assert model.penalty_value_ != plain.penalty_value_


def test_searches_route_them(book):
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), linear())
        data = {
            "sample_weight": book["weights"],
            "sensitive_features": book["group"],
            "control_features": book["mileage"],
        }
        search = GridSearchCV(pipeline, {"dcovpoissonregressor__strength": [0.1, 1.0]}, cv=2, error_score="raise")
        search.fit(book["X"], book["y"], **data)
        model = clone(search.best_estimator_).fit(book["X"], book["y"], **data)
    bound = CCDCovPenalty().bind(book["group"], book["weights"], control_features=book["mileage"])
    assert_allclose(bound.value(model.predict(book["X"])), model[-1].penalty_value_, rtol=1e-8)
