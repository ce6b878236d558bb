"""``eval_set`` with its weights and attributes: one reader, so that boosters and networks take and refuse the same."""

import numpy as np
import pandas as pd
import pytest

from fairdcov import DCovLGBMClassifier, DCovLGBMRegressor, DCovPoissonRegressor, DCovXGBRegressor
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning"),
]

TREES = {"objective": "poisson", "n_estimators": 5, "n_penalised_rounds": 4, "n_jobs": 1, "random_state": 0}
NETWORK = {"hidden_layer_sizes": (4,), "max_epochs": 4, "max_iter": 4, "random_state": 0, "n_threads": 1}


def lightgbm():
    pytest.importorskip("lightgbm")
    return DCovLGBMRegressor(strength=1.0, early_stopping_rounds=2, num_leaves=4, **TREES)


def xgboost():
    pytest.importorskip("xgboost")
    return DCovXGBRegressor(strength=1.0, early_stopping_rounds=2, max_depth=2, **TREES)


def network():
    pytest.importorskip("torch")
    return DCovMLPRegressor(strength=1.0, objective="poisson", **NETWORK)


learners = pytest.mark.parametrize("make", [lightgbm, xgboost, network], ids=lambda make: make.__name__)


@pytest.fixture
def data(rng):
    n = 300
    group = rng.choice(["a", "b"], n)
    X = np.column_stack([(group == "a") + rng.normal(size=n), rng.normal(size=n)])
    w = rng.uniform(0.5, 2.0, n)
    y = rng.poisson(w * np.exp(0.5 * X[:, 0])) / w
    first, held = slice(0, 200), slice(200, 300)
    return {
        "fit": {"X": X[first], "y": y[first], "sample_weight": w[first], "sensitive_features": group[first]},
        "set": (X[held], y[held]),
        "weights": w[held],
        "attributes": group[held],
    }


def fit(make, data, **evaluation):
    given = {
        "eval_set": data["set"],
        "eval_sample_weight": data["weights"],
        "eval_sensitive_features": data["attributes"],
        **evaluation,
    }
    return make().fit(**data["fit"], **given)


@learners
def test_pairs_weights_and_attributes_may_stand_in_a_list_of_one(make, data):
    X = data["set"][0]
    expected = fit(make, data).predict(X)
    lists = {
        "eval_set": [data["set"]],
        "eval_sample_weight": [data["weights"]],
        "eval_sensitive_features": [pd.Series(data["attributes"])],
    }
    np.testing.assert_array_equal(fit(make, data, **lists).predict(X), expected)
    path = make().strength_path(strengths=[1.0], **data["fit"], **lists)
    np.testing.assert_array_equal(next(path).predict(X), expected)


@learners
def test_rows_of_no_weight_take_no_part(make, data):
    X, y = data["set"]
    weights = np.r_[np.zeros(20), data["weights"][20:]]
    y = np.r_[np.full(20, 1e6), y[20:]]
    one = fit(make, data, eval_set=(X, y), eval_sample_weight=weights)
    other = fit(
        make,
        data,
        eval_set=(X[20:], y[20:]),
        eval_sample_weight=weights[20:],
        eval_sensitive_features=data["attributes"][20:],
    )
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


@learners
def test_what_is_refused(make, data):
    X, y = data["set"]
    patient = make()
    if make is not network:
        patient.set_params(early_stopping_rounds=None)
    for alone in ("eval_sample_weight", "eval_sensitive_features", "eval_control_features"):
        with pytest.raises(ValueError, match="eval_control_features and eval_offset need an eval_set"):
            patient.fit(**data["fit"], **{alone: data["weights"]})
    for wrong in ([data["set"], data["set"]], (X,), [1, 2], X):
        with pytest.raises(ValueError, match=r"eval_set must be one pair \(X, y\), or a list of one; found"):
            fit(make, data, eval_set=wrong)
    with pytest.raises(MissingSensitiveFeaturesError, match="pass eval_sensitive_features"):
        fit(make, data, eval_sensitive_features=None)
    with pytest.raises(ValueError, match="eval_set: eval_sample_weight must have as many rows as X of eval_set"):
        fit(make, data, eval_sample_weight=data["weights"][:-1])
    with pytest.raises(ValueError, match=r"eval_set: .* as many rows as X of eval_set"):
        fit(make, data, eval_sensitive_features=data["attributes"][:-1])
    with pytest.raises(ValueError, match=r"eval_set: .*found 1 negative"):
        fit(make, data, eval_set=(X, np.r_[-1.0, y[1:]]))
    with pytest.raises(ValueError, match=r"eval_set: .*NaN"):
        fit(make, data, eval_set=(X, np.r_[np.nan, y[1:]]))
    with pytest.raises(ValueError, match="eval_set: X has 1 features"):
        fit(make, data, eval_set=(X[:, :1], y))


@pytest.mark.parametrize(
    ("classifier", "package", "options"),
    [
        (DCovLGBMClassifier, "lightgbm", {"n_estimators": 3, "n_jobs": 1}),
        (DCovMLPClassifier, "torch", NETWORK),
    ],
)
def test_labels_are_those_of_the_fit(classifier, package, options, rng):
    pytest.importorskip(package)
    X, labels = rng.normal(size=(60, 2)), rng.choice(["no", "yes"], 60)
    model = classifier(strength=0, **options)
    # A set to watch may well have one class.
    model.fit(X, labels, eval_set=(X[:5], np.full(5, "yes")))
    with pytest.raises(ValueError, match=r"eval_set: y has the label 'other', which is none of \['no', 'yes'\]"):
        model.fit(X, labels, eval_set=(X[:3], ["no", "other", "yes"]))


def test_linear_models_take_none(data):
    with pytest.raises(TypeError, match="eval_set"):
        DCovPoissonRegressor().fit(**data["fit"], eval_set=data["set"])
    with pytest.raises(TypeError, match="eval_set"):
        DCovPoissonRegressor().strength_path(strengths=[0.0], **data["fit"], eval_set=data["set"])


def test_a_state_without_a_parameter_of_today_gets_its_default(data):
    model = DCovMLPRegressor(objective="poisson")
    state = model.__getstate__().copy()
    del state["dispersion"]
    again = DCovMLPRegressor.__new__(DCovMLPRegressor)
    again.__setstate__(state)
    assert again.get_params() == model.get_params()
