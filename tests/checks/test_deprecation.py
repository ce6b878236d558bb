"""Old names of parameters, attributes and classes go on working, whatever scikit-learn does with the estimator."""

import pickle
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from fairdcov._checks import renamed_class
from fairdcov.boosting import DCovLGBMClassifier, DCovLGBMRegressor, DCovXGBRegressor

FORMER = [
    ("n_fair_rounds", "n_penalised_rounds", 3),
    ("fair_learning_rate", "penalised_learning_rate", 0.25),
    ("fair_target", "penalised_target", "observed"),
]
needs_lightgbm = pytest.mark.skipif(find_spec("lightgbm") is None, reason="LightGBM is not installed")
BOOSTERS = [DCovLGBMRegressor, DCovLGBMClassifier, DCovXGBRegressor]


def book(n=80):
    generator = np.random.default_rng(3)
    S = generator.integers(2, size=n)
    return generator.normal(size=(n, 2)) + S[:, None], generator.normal(size=n) + S, S


def small(**parameters):
    return DCovLGBMRegressor(strength=1.0, n_estimators=5, min_child_samples=5, **parameters)


@pytest.mark.parametrize("Booster", BOOSTERS)
@pytest.mark.parametrize(("old", "new", "value"), FORMER)
def test_former_names_of_parameters_set_them_and_warn(Booster, old, new, value):
    by_new_name = Booster(**{new: value}).get_params()
    with pytest.warns(FutureWarning, match=f"^{old} is called {new} now") as caught:
        model = Booster(**{old: value})
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match=f"^{old} is called {new} now"):
        changed = Booster().set_params(**{old: value})
    with pytest.warns(FutureWarning, match=f"^{old} is called {new} now"):
        assert getattr(model, old) == value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for copy in (model, changed, clone(model), pickle.loads(pickle.dumps(model))):
            assert copy.get_params() == by_new_name
    # Nothing is set by a name that nobody reads.
    with pytest.raises(AttributeError):
        setattr(model, old, value)


@pytest.mark.parametrize(("old", "new", "value"), FORMER)
def test_both_names_are_one_too_many(old, new, value):
    for make in (lambda **both: DCovLGBMRegressor(**both), lambda **both: DCovLGBMRegressor().set_params(**both)):
        with pytest.raises(TypeError, match=f"{old} is the former name of {new}, and both were given"):
            make(**{old: value, new: value})


@needs_lightgbm
def test_searches_go_by_either_name():
    X, y, S = book()
    found = {}
    for name in ("n_fair_rounds", "n_penalised_rounds"):
        search = GridSearchCV(small(), {name: [1, 4]}, scoring="neg_mean_squared_error", cv=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            search.fit(X, y, sensitive_features=S)
        found[name] = search.cv_results_["mean_test_score"]
        assert search.best_params_.keys() == {name}
    assert np.array_equal(*found.values())
    assert found[name][0] != found[name][1]


@needs_lightgbm
def test_the_former_name_of_a_fitted_attribute():
    model = small()
    assert not hasattr(model, "n_fair_rounds_")
    X, y, S = book()
    model.fit(X, y, sensitive_features=S)
    with pytest.warns(FutureWarning, match="^n_fair_rounds_ is called n_penalised_rounds_ now") as caught:
        assert model.n_fair_rounds_ == model.n_penalised_rounds_
    assert caught[0].filename == __file__


def test_what_an_earlier_version_has_saved():
    state = small(n_penalised_rounds=7).__getstate__()
    state["n_fair_rounds"] = state.pop("n_penalised_rounds")
    state["n_fair_rounds_"] = 5
    model = DCovLGBMRegressor.__new__(DCovLGBMRegressor)
    model.__setstate__(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone(model).get_params() == small(n_penalised_rounds=7).get_params()
    assert model.n_penalised_rounds_ == 5


def test_classes_by_their_old_name():
    Old = renamed_class("Steady", Ridge)
    with pytest.warns(FutureWarning, match="^Steady is called Ridge now") as caught:
        model = Old(alpha=3)
    assert caught[0].filename == __file__
    assert isinstance(model, Ridge)
    assert Old.__name__ == "Steady"
    assert model.get_params()["alpha"] == 3
