"""DCovMLPRegressor and DCovMLPClassifier: what they minimise, at every strength, and what they promise around it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.metrics import d2_tweedie_score, log_loss, mean_tweedie_deviance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPenalty,
    DCovPoissonRegressor,
    DCovRidge,
    JDCovPenalty,
    JSDivergenceCalibrator,
)
from fairdcov.exceptions import (
    ConvergenceWarning,
    MissingSensitiveFeaturesError,
    SensitiveFeaturesWarning,
    StrengthWarning,
)
from fairdcov.metrics import neg_ccdcov_scorer

torch = pytest.importorskip("torch")

from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor  # noqa: E402
from fairdcov.neural._layers import Layers, Units, raw_predictions  # noqa: E402
from fairdcov.neural._torch_network import Network  # noqa: E402

SMALL = {"hidden_layer_sizes": (8,), "objective": "poisson", "random_state": 0, "max_epochs": 40}
CLASSIFIER = {name: value for name, value in SMALL.items() if name != "objective"}

# Whether a budget was enough is tested where it is the subject.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.ConvergenceWarning")


def poisson(**parameters):
    return DCovMLPRegressor(**{**SMALL, **parameters})


# -- the network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("hidden", [(), (3,), (4, 3)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_torch_and_numpy_agree_and_the_gradient_is_right(rng, monkeypatch, activation, hidden, chunk):
    import fairdcov.neural._torch_network as module

    monkeypatch.setattr(module, "_TYPE", torch.float64)
    monkeypatch.setattr(module, "_CHUNK_ROWS", chunk)
    monkeypatch.setattr(module.np, "float32", np.float64)
    X, target = rng.normal(size=(20, 3)) * [1, 10, 0.1] + 5, rng.normal(size=20)
    units = Units(X, target, np.full(20, 0.05), _Identity())
    layers = Layers(3, hidden)
    parameters = rng.normal(size=len(layers.is_weight)) / 2
    network = Network(units.standardise(X), layers.shapes, activation)
    coefs, intercepts = layers.publish(parameters, units)
    output = network.raw(parameters)
    np.testing.assert_allclose(
        raw_predictions(X, coefs, intercepts, activation), units.shift + units.spread * output, rtol=1e-10
    )
    np.testing.assert_allclose(layers.read(coefs, intercepts, units), parameters, rtol=1e-9)

    def value(parameters):
        return np.sin(network.raw(parameters)) @ target

    found, gradient = network.value_gradient(parameters, lambda z: (np.sin(z) @ target, np.cos(z) * target))
    np.testing.assert_allclose(found, value(parameters), rtol=1e-12)
    for i in range(0, len(parameters), 3):
        unit = 1e-6 * np.eye(len(parameters))[i]
        numeric = (value(parameters + unit) - value(parameters - unit)) / 2e-6
        np.testing.assert_allclose(gradient[i], numeric, rtol=1e-5, atol=1e-8)


class _Identity:
    link = "identity"

    def intercept(self, mean):
        return mean


def test_units_center_indicators_and_scale_numbers(rng):
    X = np.column_stack([rng.normal(1e6, 3.0, 200), rng.integers(0, 2, 200), np.full(200, 7.0)])
    units = Units(X, rng.normal(size=200), np.full(200, 1 / 200), _Identity())
    standardised = units.standardise(X)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(standardised[:, 0].std(), 1)
    np.testing.assert_allclose(np.ptp(standardised[:, 1]), 1)
    np.testing.assert_allclose(standardised[:, 2], 0, atol=1e-12)


def test_large_samples_pass_in_parts(book, data, monkeypatch):
    import fairdcov.neural._layers as layers
    import fairdcov.neural._torch_network as network

    whole = poisson(strength=3.0).fit(book["X"], book["y"], **data)
    monkeypatch.setattr(layers, "_CHUNK_ROWS", 100)
    monkeypatch.setattr(network, "_CHUNK_ROWS", 100)
    parts = poisson(strength=3.0).fit(book["X"], book["y"], **data)
    np.testing.assert_allclose(parts.loss_value_, whole.loss_value_, rtol=1e-2)
    np.testing.assert_allclose(parts.predict(book["X"]), raw_rate(parts, book["X"]), rtol=1e-12)


def raw_rate(model, X):
    return np.exp(raw_predictions(X, model.coefs_, model.intercepts_, model.activation))


# -- the objective -----------------------------------------------------------------------------------------------------


LINEAR = {
    "poisson": (DCovPoissonRegressor, {"objective": "poisson"}),
    "gamma": (DCovGammaRegressor, {"objective": "gamma"}),
    "squared_error": (DCovRidge, {"objective": "squared_error"}),
    "logistic": (DCovLogisticRegression, {}),
}


@pytest.mark.parametrize("strength", [0.0, 2.0])
@pytest.mark.parametrize("name", LINEAR)
def test_without_hidden_layers_it_is_the_linear_model(book, data, name, strength):
    linear, parameters = LINEAR[name]
    y = {"gamma": book["y"] + 0.1, "logistic": np.where(book["y"] > 0, "yes", "no")}.get(name, book["y"])
    reference = linear(strength=strength, alpha=0.0).fit(book["X"], y, **data)
    estimator = DCovMLPClassifier if name == "logistic" else DCovMLPRegressor
    model = estimator(
        strength=strength,
        hidden_layer_sizes=(),
        alpha=0.0,
        early_stopping=False,
        learning_rate_init=0.01,
        max_epochs=150,
        tol=1e-7,
        random_state=0,
        **parameters,
    ).fit(book["X"], y, **data)
    unaware = linear(strength=0, alpha=0.0).fit(book["X"], y, **data).loss_value_
    scale = abs(reference.loss_value_) + abs(unaware)
    # Adam leaves the unpenalised minimum at a distance of its step; L-BFGS goes on to that of the whole objective.
    assert model.objective_value_ <= reference.objective_value_ + 2e-4 * scale
    assert model.objective_value_ >= reference.objective_value_ - 1e-6 * scale


def test_fitted_attributes_are_the_terms_of_the_objective(book, data):
    model = poisson(strength=3.0, alpha=5.0).fit(book["X"], book["y"], **data)
    rate = model.predict(book["X"])
    deviance = mean_tweedie_deviance(book["y"], rate, sample_weight=book["exposure"], power=1)
    np.testing.assert_allclose(model.loss_value_, deviance / 2, rtol=1e-10)
    bound = CCDCovPenalty().bind(book["people"], book["exposure"])
    np.testing.assert_allclose(model.penalty_value_, bound.value(rate), rtol=1e-10)
    decay = model.objective_value_ - model.loss_value_ - 3.0 * model.penalty_value_
    assert 0 < decay < 5.0 * sum((coef**2).sum() for coef in model.coefs_)
    assert model.penalty_method_ == bound.method
    assert model.penalty_error_bound_ == 0
    assert model.n_iter_ == len(model.loss_curve_) == len(model.penalty_curve_) == len(model.validation_curve_)
    assert np.isnan(model.penalty_curve_[: model.n_epochs_]).all()
    assert (model.penalty_curve_[model.n_epochs_ :] >= 0).all()
    assert [coef.shape for coef in model.coefs_] == [(4, 8), (8, 1)]
    np.testing.assert_allclose(
        model.score(book["X"], book["y"], sample_weight=book["exposure"]),
        d2_tweedie_score(book["y"], rate, sample_weight=book["exposure"], power=1),
    )


@pytest.mark.parametrize("penalty", [CCDCovPenalty, JDCovPenalty, DCovPenalty])
@pytest.mark.parametrize("normalize", [True, False])
def test_more_strength_never_gives_more_penalty(book, data, penalty, normalize):
    estimator = poisson(penalty=penalty(normalize=normalize), max_iter=40)
    path = list(estimator.strength_path(book["X"], book["y"], [0.0, 1.0, 10.0, 100.0], **data))
    penalties = np.array([model.penalty_value_ for model in path])
    assert (penalties[1:] <= 1.02 * penalties[:-1]).all()
    assert penalties[-1] < 0.2 * penalties[0]
    assert path[0].loss_value_ < path[-1].loss_value_
    assert not hasattr(estimator, "coefs_")


@pytest.mark.parametrize("strength", [1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_any_strength_stays_between_the_best_and_the_constant_model(book, data, strength, normalize, early_stopping):
    unaware = poisson(strength=0, early_stopping=early_stopping).fit(book["X"], book["y"], **data)
    model = poisson(
        strength=strength, penalty=CCDCovPenalty(normalize=normalize), early_stopping=early_stopping, max_iter=60
    ).fit(book["X"], book["y"], **data)
    mean = np.average(book["y"], weights=book["exposure"])
    constant = mean_tweedie_deviance(book["y"], np.full(len(book["y"]), mean), sample_weight=book["exposure"], power=1)
    assert 2 * model.loss_value_ <= (1 + 1e-8) * constant
    before = CCDCovPenalty(normalize=normalize).bind(book["people"], book["exposure"]).value(unaware.predict(book["X"]))
    if strength >= 1:
        assert model.penalty_value_ <= before
    if strength >= 1e3:
        assert model.penalty_value_ < 0.2 * before
    assert np.isfinite(model.predict(book["X"])).all()


@pytest.mark.parametrize(
    ("penalty", "balanced"),
    [
        (CCDCovPenalty(), True),
        (JDCovPenalty(), True),
        (CCDCovPenalty(normalize=False, scale="link"), True),
        (CCDCovPenalty(normalize=False), False),
    ],
)
def test_fitted_total_equals_observed_total(book, data, penalty, balanced):
    for strength in (0.0, 3.0):
        model = poisson(penalty=penalty, strength=strength).fit(book["X"], book["y"], **data)
        ratio = (model.predict(book["X"]) * book["exposure"]).sum() / book["claims"].sum()
        assert (abs(ratio - 1) < 1e-8) == (balanced or strength == 0)


@pytest.mark.parametrize("objective", ["poisson", "gamma", "tweedie", "squared_error"])
def test_families_and_units_of_the_target(book, data, objective):
    y = book["y"] + (0.1 if objective == "gamma" else 0.0)
    settings = {"objective": objective, "strength": 2.0}
    model = poisson(**settings).fit(book["X"], y, **data)
    unaware = poisson(**settings | {"strength": 0}).fit(book["X"], y, **data)
    assert unaware.score(book["X"], y, sample_weight=book["exposure"]) > 0.05
    assert model.penalty_value_ < unaware.penalty_value_
    # In another currency: the scale-free penalty keeps its value, the strength is in units of the loss.
    power = {"poisson": 1.0, "gamma": 2.0, "tweedie": 1.5, "squared_error": 0.0}[objective]
    factor = 4.0**6
    other = poisson(**settings | {"strength": 2.0 * factor ** (2 - power)}).fit(book["X"], factor * y, **data)
    # Rounding sends L-BFGS along other kinks, to a model that is as good.
    np.testing.assert_allclose(other.loss_value_, factor ** (2 - power) * model.loss_value_, rtol=0.03)
    assert np.corrcoef(other.predict(book["X"]), model.predict(book["X"]))[0, 1] > 0.95


def test_intersections_are_protected_where_single_attributes_show_nothing():
    # Exclusive or of two fair attributes drives the claims: each alone is blind to it, also the summed penalty.
    rng = np.random.default_rng(1)
    n = 3_000
    young, female = rng.integers(0, 2, n), rng.integers(0, 2, n)
    X = np.column_stack([(young ^ female) + 0.2 * rng.normal(size=n), rng.normal(size=n)])
    y = rng.poisson(np.exp(-1 + 0.8 * X[:, 0] + 0.3 * X[:, 1]))
    S = pd.DataFrame({"young": young.astype(bool), "female": female.astype(bool)})

    def spread(**parameters):
        model = poisson(**parameters).fit(X, y, sensitive_features=S)
        means = S.assign(u=model.predict(X)).groupby(["young", "female"])["u"].mean()
        return means.max() / means.min()

    unaware = spread(strength=0)
    assert unaware > 1.7
    assert spread(penalty="ccdcov", strength=30.0) < 1.1
    assert spread(penalty="jdcov", strength=30.0) < 1.1
    # Blind, but for what the network happens to do on the way.
    assert spread(penalty="dcov", strength=30.0) > 1.1


def test_classifier(book, data):
    y = np.where(book["y"] > 0, "claim", "none")
    unaware = DCovMLPClassifier(strength=0, **CLASSIFIER).fit(book["X"], y, **data)
    fair = DCovMLPClassifier(strength=5.0, **CLASSIFIER).fit(book["X"], y, **data)
    assert list(fair.classes_) == ["claim", "none"]
    probability = fair.predict_proba(book["X"])
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(probability), fair.predict_log_proba(book["X"]))
    assert (fair.predict(book["X"]) == fair.classes_[probability.argmax(axis=1)]).all()
    np.testing.assert_allclose(
        fair.loss_value_, log_loss(y == "none", probability[:, 1], sample_weight=book["exposure"]), rtol=1e-9
    )
    assert fair.penalty_value_ < 0.5 * unaware.penalty_value_
    assert unaware.score(book["X"], y, sample_weight=book["exposure"]) > 0.5


# -- rows and weights --------------------------------------------------------------------------------------------------


def test_rows_of_weight_zero_take_no_part(book, data):
    weights = book["exposure"].copy()
    weights[::5] = 0.0
    people = book["people"].copy()
    people["gender"] = people["gender"].where(weights > 0, "x")
    keep = weights > 0
    with_them = poisson(strength=2.0).fit(book["X"], book["y"], weights, sensitive_features=people)
    without = poisson(strength=2.0).fit(
        book["X"][keep], book["y"][keep], weights[keep], sensitive_features=people[keep]
    )
    for one, other in zip(with_them.coefs_, without.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_are_repetition_on_the_full_sample(book):
    # One batch for all rows; the float32 sums differ in their order only.
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 4, 200).astype(float)
    rows = np.repeat(np.arange(200), weights.astype(int))
    X, y, people = book["X"][:200], book["y"][:200], book["people"][:200]
    estimator = poisson(strength=1.0, early_stopping=False, batch_size=10_000, max_epochs=20, max_iter=2)
    weighted = estimator.fit(X, y, weights, sensitive_features=people).predict(X)
    repeated = clone(estimator).fit(X[rows], y[rows], sensitive_features=people.iloc[rows]).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-3)


def test_exposure_changes_the_model(book, data):
    weighted = poisson(strength=1.0).fit(book["X"], book["y"], **data)
    unweighted = poisson(strength=1.0).fit(book["X"], book["y"], sensitive_features=book["people"])
    assert not np.allclose(weighted.predict(book["X"]), unweighted.predict(book["X"]), rtol=1e-2)


# -- seeds -------------------------------------------------------------------------------------------------------------


def test_same_seed_same_bits_and_other_seeds_differ(book, data):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    one = poisson(strength=2.0, n_threads=1).fit(book["X"], book["y"], **data)
    torch.manual_seed(5)
    two = poisson(strength=2.0, n_threads=1).fit(book["X"], book["y"], **data)
    other = poisson(strength=2.0, n_threads=1, random_state=1).fit(book["X"], book["y"], **data)
    for first, second in zip(one.coefs_ + one.intercepts_, two.coefs_ + two.intercepts_, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.allclose(one.predict(book["X"]), other.predict(book["X"]), rtol=1e-3)
    # Torch's own settings are the caller's.
    assert torch.get_num_threads() == threads
    torch.random.set_rng_state(state)
    before = torch.random.get_rng_state()
    poisson(strength=2.0).fit(book["X"], book["y"], **data)
    assert torch.equal(before, torch.random.get_rng_state())


def test_settings_of_the_caller_do_no_harm(book, data):
    expected = poisson(strength=2.0).fit(book["X"], book["y"], **data).predict(book["X"])
    with torch.inference_mode():
        assert (poisson(strength=2.0).fit(book["X"], book["y"], **data).predict(book["X"]) == expected).all()
    with torch.device("meta"):
        assert (poisson(strength=2.0).fit(book["X"], book["y"], **data).predict(book["X"]) == expected).all()
    torch.set_default_dtype(torch.float64)
    try:
        assert (poisson(strength=2.0).fit(book["X"], book["y"], **data).predict(book["X"]) == expected).all()
    finally:
        torch.set_default_dtype(torch.float32)


def test_threads_are_put_back_after_an_error(book, data, monkeypatch):
    import fairdcov.neural._problem as problem

    def fail(*args):
        raise RuntimeError("no")

    monkeypatch.setattr(problem, "adam_phase", fail)
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="no"):
        poisson(n_threads=threads + 1).fit(book["X"], book["y"], **data)
    assert torch.get_num_threads() == threads


# -- early stopping ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_rows_to_watch_that_are_worse_than_a_constant_from_the_start_refuse_nothing(book, data):
    """By chance, where little is left of a model: the training would go on to its end, and its start be the outcome."""
    held = slice(600, None)
    evaluation = {
        "eval_set": (book["X"][held], 3.0 - np.clip(book["X"][held, 0], 0.0, 2.9)),
        "eval_sample_weight": book["exposure"][held],
        "eval_sensitive_features": book["people"][held],
    }
    rows = {name: values[:600] for name, values in data.items()}
    options = {"strength": 100.0, "early_stopping": True, "max_epochs": 10, "max_iter": 100}
    model = poisson(**options).fit(book["X"][:600], book["y"][:600], **rows, **evaluation)
    assert np.isfinite(model.validation_curve_[-1])
    assert model.converged_
    assert model.n_iter_ < 110


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_what_a_strength_has_not_bought_is_said(book, data):
    with pytest.warns(StrengthWarning, match="on its training rows, where attributes"):
        model = poisson(strength=1e4, max_iter=1, early_stopping=False).fit(book["X"], book["y"], **data)
    assert model.penalty_value_ > model.penalty_null_level_ > 0
    assert np.isnan(poisson(strength=0.1).fit(book["X"], book["y"], **data).penalty_null_level_)


def test_an_evaluation_set_decides_when_to_stop(book, data):
    train, held = np.arange(600), np.arange(600, 800)
    people = book["people"]
    arguments = {
        "X": book["X"][train],
        "y": book["y"][train],
        "sample_weight": book["exposure"][train],
        "sensitive_features": people.iloc[train],
        "eval_set": (book["X"][held], book["y"][held]),
        "eval_sample_weight": book["exposure"][held],
        "eval_sensitive_features": people.iloc[held],
    }
    model = poisson(strength=2.0).fit(**arguments)
    rate = model.predict(book["X"][held])
    deviance = mean_tweedie_deviance(book["y"][held], rate, sample_weight=book["exposure"][held], power=1)
    penalty = CCDCovPenalty().bind(people.iloc[held], book["exposure"][held]).value(rate)
    best = np.nanmin(model.validation_curve_[model.n_epochs_ :])
    # The intercept is settled on the training rows afterwards.
    np.testing.assert_allclose(deviance / 2 + 2.0 * penalty, best, rtol=0.02)
    same = poisson(strength=2.0).fit(**{**arguments, "eval_set": [arguments["eval_set"]]})
    np.testing.assert_array_equal(same.predict(book["X"]), model.predict(book["X"]))
    path = list(
        poisson().strength_path(
            strengths=[0.0, 2.0], **{name: value for name, value in arguments.items() if name != "strengths"}
        )
    )
    assert path[1].penalty_value_ < path[0].penalty_value_
    with pytest.raises(MissingSensitiveFeaturesError, match="pass eval_sensitive_features"):
        poisson().fit(**{**arguments, "eval_sensitive_features": None})
    with pytest.raises(ValueError, match="need an eval_set; found none"):
        poisson().fit(**{**arguments, "eval_set": None})
    with pytest.raises(ValueError, match=r"eval_set must be one pair \(X, y\), or a list of one; found list"):
        poisson().fit(**{**arguments, "eval_set": [1, 2, 3]})
    with pytest.raises(ValueError, match=r"eval_set: .*NaN"):
        poisson().fit(**{**arguments, "eval_set": (np.full((200, 4), np.nan), book["y"][held])})
    with pytest.raises(ValueError, match="eval_set: X has 3 features"):
        poisson().fit(**{**arguments, "eval_set": (book["X"][held][:, :3], book["y"][held])})
    with pytest.raises(ValueError, match=r"eval_set: .*found 1 negative"):
        poisson().fit(**{**arguments, "eval_set": (book["X"][held], np.r_[-1.0, book["y"][held][1:]])})


def test_an_evaluation_set_with_sensitive_columns_and_with_labels(book):
    frame = pd.DataFrame(book["X"], columns=list("abcd")).assign(gender=book["people"]["gender"])
    model = poisson(strength=1.0, sensitive_columns=["gender"])
    model.fit(frame[:600], book["y"][:600], eval_set=(frame[600:], book["y"][600:]))
    assert model.n_features_in_ == 4
    labels = np.where(book["y"] > 0, "claim", "none")
    classifier = DCovMLPClassifier(strength=0, **CLASSIFIER)
    classifier.fit(book["X"][:600], labels[:600], eval_set=(book["X"][600:], labels[600:]))
    with pytest.raises(ValueError, match="eval_set: y has the label 'other'"):
        classifier.fit(book["X"][:600], labels[:600], eval_set=(book["X"][600:604], ["claim", "none", "other", "none"]))


def test_early_stopping_keeps_the_best_and_prevents_overfitting(rng):
    X, y = rng.normal(size=(300, 20)), rng.normal(size=300)
    new_X, new_y = rng.normal(size=(2000, 20)), rng.normal(size=2000)
    settings = {"objective": "squared_error", "strength": 0, "max_epochs": 200, "learning_rate_init": 0.01}
    stopped = poisson(**settings).fit(X, y)
    overfitted = poisson(early_stopping=False, **settings).fit(X, y)
    assert stopped.converged_
    assert stopped.n_epochs_ < 200
    assert overfitted.validation_curve_ is None
    assert overfitted.loss_value_ < 0.7 * stopped.loss_value_
    assert stopped.score(new_X, new_y) > overfitted.score(new_X, new_y) + 0.1


def test_a_learning_rate_that_is_too_large_ends_well(book, data):
    model = poisson(strength=1.0, learning_rate_init=1e3).fit(book["X"], book["y"], **data)
    mean = np.average(book["y"], weights=book["exposure"])
    constant = mean_tweedie_deviance(book["y"], np.full(len(book["y"]), mean), sample_weight=book["exposure"], power=1)
    assert 2 * model.loss_value_ <= (1 + 1e-8) * constant


def test_a_budget_that_was_too_small_warns(book, data):
    with pytest.warns(ConvergenceWarning, match=r"still getting better when it stopped \(max_epochs=3\): increase it"):
        model = poisson(strength=0, max_epochs=3).fit(book["X"], book["y"], **data)
    assert model.converged_ is False
    assert model.n_epochs_ == model.n_iter_ == 3
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2"):
        model = poisson(strength=5.0, max_iter=2).fit(book["X"], book["y"], **data)
    assert model.n_iter_ == model.n_epochs_ + 2


def test_progress_is_shown_on_request(book, data, capsys):
    poisson(strength=1.0).fit(book["X"], book["y"], **data)
    assert capsys.readouterr().err == ""
    poisson(strength=1.0, verbose=1).fit(book["X"], book["y"], **data)
    shown = capsys.readouterr().err
    assert "loss" in shown
    assert "strength 1" in shown


# -- around the fit ----------------------------------------------------------------------------------------------------


def test_warm_start_continues(book, data):
    model = poisson(strength=2.0, warm_start=True).fit(book["X"], book["y"], **data)
    first = model.n_epochs_
    before = model.objective_value_
    model.fit(book["X"], book["y"], **data)
    assert first > 0
    assert model.n_epochs_ == 0
    assert model.objective_value_ <= 1.02 * before
    model.set_params(hidden_layer_sizes=(3,)).fit(book["X"], book["y"], **data)
    assert model.n_epochs_ > 0
    assert model.coefs_[0].shape == (4, 3)


def test_path_starts_from_the_neighbour(book, data):
    estimator = poisson()
    strengths = [0.0, 1.0, 10.0]
    path = list(estimator.strength_path(book["X"], book["y"], strengths, **data))
    assert [model.strength for model in path] == strengths
    assert [model.n_epochs_ > 0 for model in path] == [True, False, False]
    np.testing.assert_array_equal(
        path[0].predict(book["X"]),
        clone(estimator).set_params(strength=0).fit(book["X"], book["y"], **data).predict(book["X"]),
    )
    with pytest.raises(ValueError, match="at least one"):
        estimator.strength_path(book["X"], book["y"], [], **data)
    with pytest.raises(MissingSensitiveFeaturesError):
        estimator.strength_path(book["X"], book["y"], [0.0, 1.0])


def test_pickle_clone_and_nested_parameters(book, data):
    model = poisson(penalty=JDCovPenalty(c=0.5), strength=1.0).fit(book["X"], book["y"], **data)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict(book["X"]), model.predict(book["X"]))
    other = clone(model).set_params(penalty__c=2.0)
    assert not hasattr(other, "coefs_")
    assert model.penalty.c == 0.5
    assert other.penalty.c == 2.0
    assert "torch" not in str([type(value) for value in vars(model).values()])


def test_skops(book, data, tmp_path):
    skops = pytest.importorskip("skops.io")
    model = poisson(penalty=CCDCovPenalty(), strength=1.0).fit(book["X"], book["y"], **data)
    skops.dump(model, tmp_path / "model.skops")
    untrusted = skops.get_untrusted_types(file=tmp_path / "model.skops")
    assert all(name.startswith("fairdcov.") for name in untrusted)
    loaded = skops.load(tmp_path / "model.skops", trusted=untrusted)
    np.testing.assert_array_equal(loaded.predict(book["X"]), model.predict(book["X"]))


def test_searches_and_calibration(book, data):
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), poisson())
        search = GridSearchCV(
            pipeline, {"dcovmlpregressor__strength": [0.0, 10.0]}, scoring=neg_ccdcov_scorer, cv=2
        ).fit(book["X"], book["y"], **data)
    assert search.best_params_["dcovmlpregressor__strength"] == 10.0
    calibrator = JSDivergenceCalibrator(
        poisson(), strengths=[0.0, 3.0, 30.0], rule="elbow", bins={"age": [0, 40, 90]}, cv=2, verbose=0
    ).fit(book["X"], book["y"], **data)
    divergence = calibrator.calibration_results_["mean_divergence"]
    assert divergence[2] < divergence[0]
    assert np.isfinite(calibrator.predict(book["X"])).all()


def test_frames_and_sensitive_columns(book):
    frame = pd.DataFrame(book["X"], columns=list("abcd")).assign(gender=book["people"]["gender"])
    model = poisson(strength=1.0, sensitive_columns=["gender"]).fit(frame, book["y"])
    assert model.feature_names_in_.tolist() == list("abcd")
    expected = model.predict(frame)
    np.testing.assert_array_equal(model.predict(frame.drop(columns="gender")), expected)
    from_polars = poisson(strength=1.0, sensitive_columns=["gender"]).fit(pl.from_pandas(frame), book["y"])
    np.testing.assert_allclose(from_polars.predict(pl.from_pandas(frame)), expected, rtol=1e-6)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strength": -1.0}, "strength must be a finite number >= 0"),
        ({"strength": np.nan}, "strength must be a finite number >= 0"),
        ({"alpha": -1.0}, "alpha must be a finite number >= 0"),
        ({"tol": -1.0}, "tol must be a finite number >= 0"),
        ({"learning_rate_init": 0.0}, "learning_rate_init must be a finite number > 0"),
        ({"max_epochs": 0}, "max_epochs must be a whole number >= 1; found 0"),
        ({"max_iter": 1.5}, "max_iter must be a whole number >= 1; found 1.5"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be a whole number >= 1"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1"),
        ({"batch_size": "all"}, "batch_size must be a whole number >= 1; found 'all'"),
        ({"validation_fraction": 1.0}, "validation_fraction must be below 1"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be whole numbers >= 1"),
        ({"hidden_layer_sizes": (8.0,)}, "hidden_layer_sizes must be whole numbers >= 1"),
        ({"activation": "selu"}, "activation must be one of 'identity', 'logistic', 'relu', 'tanh'; found 'selu'"),
        ({"objective": "huber"}, "objective must be one of"),
        ({"objective": "tweedie", "tweedie_power": 2.5}, "tweedie_power must be above 1 and below 2"),
        ({"penalty": "dcor"}, "penalty must be one of"),
        ({"penalty": CCDCovPenalty(statistic="u")}, "weighted U-statistic is not defined"),
        ({"n_threads": 0}, "n_threads must be None or a whole number other than 0"),
        ({"sensitive_columns": ["age"]}, "use one of the two"),
    ],
)
def test_bad_parameters(book, data, parameters, message):
    model = poisson(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(book["X"], book["y"], **data)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sensitive_features": None}, MissingSensitiveFeaturesError, "strength > 0 needs sensitive_features"),
        ({"X": np.full((800, 4), np.nan)}, ValueError, "NaN"),
        ({"y": np.full(800, np.nan)}, ValueError, "NaN"),
        ({"y": np.full(800, -1.0)}, ValueError, "y >= 0; found 800 negative"),
        ({"sample_weight": np.zeros(800)}, ValueError, "must not be all zero"),
        ({"sample_weight": np.r_[1.0, 1.0, np.zeros(798)]}, ValueError, "at least 4 rows of positive sample_weight"),
        ({"sample_weight": np.r_[np.ones(7), np.zeros(793)]}, ValueError, "early_stopping holds back 4 rows and needs"),
        ({"sensitive_features": {"a": [1] * 800}}, TypeError, "found a dict"),
    ],
)
def test_bad_data(book, data, change, error, message):
    model = poisson()
    with pytest.raises(error, match=message):
        model.fit(**{"X": book["X"], "y": book["y"], **data, **change})
    assert not [name for name in vars(model) if name.endswith("_")]


def test_a_failed_fit_leaves_the_fitted_model(book, data):
    model = poisson(strength=1.0).fit(book["X"], book["y"], **data)
    expected = model.predict(book["X"])
    with pytest.raises(ValueError, match="NaN"):
        model.fit(book["X"], np.full(800, np.nan), **data)
    np.testing.assert_array_equal(model.predict(book["X"]), expected)


def test_constant_attributes_and_constant_targets(book):
    with pytest.warns(SensitiveFeaturesWarning, match="nothing to penalise"):
        model = poisson(strength=5.0).fit(book["X"], book["y"], sensitive_features=np.full(800, "f"))
    assert model.penalty_value_ == 0
    unaware = poisson(strength=0).fit(book["X"], book["y"])
    np.testing.assert_array_equal(model.predict(book["X"]), unaware.predict(book["X"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = poisson(objective="squared_error", strength=2.0).fit(
            book["X"], np.full(800, 3.0), sensitive_features=book["people"]
        )
    np.testing.assert_allclose(flat.predict(book["X"]), 3.0, atol=1e-3)
