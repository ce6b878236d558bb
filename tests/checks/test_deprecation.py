"""Old names of parameters, attributes and classes go on working, whatever scikit-learn does with the estimator."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import GridSearchCV

from fairdcov._checks import (
    NOT_GIVEN,
    parameter_value,
    renamed_attribute,
    renamed_class,
    renamed_state,
    warn_of_renamed,
)


class Constant(RegressorMixin, BaseEstimator):
    """Predicts a number of rounds, which was called ``n_steps`` once."""

    _renamed_parameters = (("n_steps", "n_rounds"),)
    n_steps_ = renamed_attribute("n_steps_", "n_rounds_")

    def __init__(self, n_rounds=10, *, n_steps=NOT_GIVEN):
        self.n_rounds = n_rounds
        self.n_steps = n_steps

    def __setstate__(self, state):
        super().__setstate__(renamed_state(self, state))

    def fit(self, X, y):
        return self._fit()

    def _fit(self):
        warn_of_renamed(self)
        self.n_rounds_ = parameter_value(self, "n_rounds")
        return self

    def predict(self, X):
        return np.full(len(X), float(self.n_rounds_))


X, Y = np.zeros((8, 1)), np.full(8, 3.0)


@pytest.mark.parametrize(
    "make", [lambda: Constant(n_rounds=3), lambda: Constant(3), lambda: Constant().set_params(n_rounds=3)]
)
def test_new_names_say_nothing(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone(make()).fit(X, Y).n_rounds_ == 3


@pytest.mark.parametrize("make", [lambda: Constant(n_steps=3), lambda: Constant().set_params(n_steps=3)])
def test_old_names_apply_and_warn_when_fitted(make):
    model = make()
    for copy in (model, clone(model), pickle.loads(pickle.dumps(model))):
        assert copy.get_params() == {"n_rounds": 10, "n_steps": 3}
        with pytest.warns(FutureWarning, match="^n_steps is called n_rounds now") as caught:
            copy.fit(X, Y)
        assert caught[0].filename == __file__
        assert copy.n_rounds_ == 3
    # What was given stays as it was given.
    assert model.get_params() == {"n_rounds": 10, "n_steps": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.set_params(n_steps=NOT_GIVEN).fit(X, Y).n_rounds_ == 10


def test_searches_go_by_either_name():
    for name in ("n_rounds", "n_steps"):
        search = GridSearchCV(Constant(), {name: [1, 3, 5]}, scoring="neg_mean_squared_error", cv=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            assert search.fit(X, Y).best_params_ == {name: 3}


def test_both_names_are_one_too_many():
    with pytest.raises(ValueError, match="n_steps is the former name of n_rounds, and both were given"):
        Constant(n_rounds=5, n_steps=3).fit(X, Y)


def test_fitted_attributes_by_their_old_name():
    model = Constant(3)
    assert not hasattr(model, "n_steps_")
    model.fit(X, Y)
    with pytest.warns(FutureWarning, match="^n_steps_ is called n_rounds_ now") as caught:
        assert model.n_steps_ == 3
    assert caught[0].filename == __file__
    assert "n_steps_" not in vars(model)


def test_what_an_earlier_version_has_saved():
    model = Constant.__new__(Constant)
    model.__setstate__({"n_steps": 7, "n_steps_": 7})
    assert model.get_params() == {"n_rounds": 7, "n_steps": NOT_GIVEN}
    assert model.n_rounds_ == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(model).fit(X, Y)


def test_classes_by_their_old_name():
    Old = renamed_class("Steady", Constant)
    with pytest.warns(FutureWarning, match="^Steady is called Constant now") as caught:
        model = Old(n_rounds=3)
    assert caught[0].filename == __file__
    assert isinstance(model, Constant)
    assert Old.__name__ == "Steady"
    assert model.fit(X, Y).n_rounds_ == 3
