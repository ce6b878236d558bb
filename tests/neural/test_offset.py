"""Offsets of networks: beside the layers, in loss, penalty and balance."""

import numpy as np
import pytest

from fairdcov import CCDCovPenalty, DCovPoissonRegressor
from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

pytest.importorskip("torch")

NETWORK = {
    "hidden_layer_sizes": (6,),
    "random_state": 0,
    "n_threads": 1,
    "learning_rate_init": 0.02,
    "max_epochs": 30,
    "max_iter": 30,
}


@pytest.fixture
def book(rng):
    n = 900
    gender = rng.integers(0, 2, n)
    X = np.column_stack([gender + rng.normal(size=n), rng.normal(size=n)])
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


def test_without_hidden_layers_it_is_the_linear_model(book):
    """The same minimum as Newton's, which another learner has found beside the same offset."""
    settings = {"strength": 0, "alpha": 0, "hidden_layer_sizes": (), "early_stopping": False, "max_epochs": 200}
    network = DCovMLPRegressor(objective="poisson", **{**NETWORK, "tol": 1e-7, **settings})
    network.fit(book["X"], book["rate"], sample_weight=book["exposure"], offset=book["offset"])
    linear = DCovPoissonRegressor(strength=0, alpha=0, tol=1e-8)
    linear.fit(book["X"], book["rate"], sample_weight=book["exposure"], offset=book["offset"])
    np.testing.assert_allclose(network.coefs_[0][:, 0], linear.coef_, atol=0.03)
    assert network.loss_value_ == pytest.approx(linear.loss_value_, rel=2e-3)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("objective", "early_stopping"), [("squared_error", False), ("poisson", True), ("gamma", False)]
)
def test_loss_and_penalty_are_those_of_the_whole_prediction(objective, early_stopping, book):
    y = book["cost"] if objective in ("gamma", "squared_error") else book["rate"]
    penalty = CCDCovPenalty()
    model = DCovMLPRegressor(penalty, 0.3, objective=objective, early_stopping=early_stopping, **NETWORK)
    model.fit(book["X"], y, sample_weight=book["exposure"], sensitive_features=book["gender"], offset=book["offset"])
    prediction = model.predict(book["X"], offset=book["offset"])
    probabilities = book["exposure"] / book["exposure"].sum()
    loss = probabilities @ model._loss().deviance(y, prediction) / 2
    assert model.loss_value_ == pytest.approx(loss, rel=1e-6)
    assert model.penalty_value_ == pytest.approx(penalty.bind(book["gender"], book["exposure"]).value(prediction))
    if objective in ("poisson", "squared_error"):
        assert prediction @ probabilities == pytest.approx(y @ probabilities, rel=1e-6)
    unpenalised = DCovMLPRegressor(penalty, 0, objective=objective, early_stopping=early_stopping, **NETWORK)
    unpenalised.fit(book["X"], y, sample_weight=book["exposure"], offset=book["offset"])
    before = penalty.bind(book["gender"], book["exposure"]).value(unpenalised.predict(book["X"], offset=book["offset"]))
    # Early stopping may well keep what there was.
    assert model.penalty_value_ <= before * (1 + 1e-9)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.ConvergenceWarning")
def test_an_eval_set_has_an_offset_of_its_own(book):
    fitted, held = slice(0, 600), slice(600, None)
    data = {
        "sample_weight": book["exposure"][fitted],
        "sensitive_features": book["gender"][fitted],
        "offset": book["offset"][fitted],
        "eval_set": (book["X"][held], book["rate"][held]),
        "eval_sensitive_features": book["gender"][held],
    }
    model = DCovMLPRegressor(objective="poisson", strength=0.3, **NETWORK)
    with pytest.raises(ValueError, match="pass eval_offset"):
        model.fit(book["X"][fitted], book["rate"][fitted], **data)
    model.fit(book["X"][fitted], book["rate"][fitted], **data, eval_offset=book["offset"][held])
    with pytest.raises(ValueError, match="was fitted with an offset"):
        model.predict(book["X"])


def test_classes(book):
    y = book["cost"] > np.median(book["cost"])
    model = DCovMLPClassifier(strength=0, **NETWORK).fit(book["X"], y, offset=book["offset"])
    probability = model.predict_proba(book["X"], offset=book["offset"])[:, 1]
    assert probability.mean() == pytest.approx(y.mean(), abs=1e-6)
