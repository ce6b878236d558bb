"""Fitted estimators predict the same to the last bit as copies of them, in this process and another, and from files."""

import copy
import importlib.util
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.linear_model import PoissonRegressor

from fairdcov import (
    DCovGammaRegressor,
    DCovLGBMClassifier,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    DCovXGBRegressor,
    JSDivergenceCalibrator,
    SensitiveEncoder,
)
from fairdcov.actuarial import Rebalancer
from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning"),
]

TREES = {"n_estimators": 4, "n_penalised_rounds": 3, "n_jobs": 1, "objective": "poisson"}
NETWORK = {"hidden_layer_sizes": (4,), "max_epochs": 3, "max_iter": 2, "early_stopping": False}
ESTIMATORS = {
    "gamma": DCovGammaRegressor(),
    "logistic": DCovLogisticRegression(),
    "negative binomial": DCovNegativeBinomialRegressor(dispersion=0.3),
    "poisson": DCovPoissonRegressor(strength=2.0),
    "ridge": DCovRidge(),
    "tweedie": DCovTweedieRegressor(power=1.5),
    "lightgbm": DCovLGBMRegressor(max_bin=30, **TREES),
    "lightgbm negative binomial": DCovLGBMRegressor(**TREES | {"objective": "negative_binomial"}),
    "lightgbm classifier": DCovLGBMClassifier(n_estimators=4, n_penalised_rounds=3, n_jobs=1),
    "xgboost": DCovXGBRegressor(**TREES),
    "network": DCovMLPRegressor(**NETWORK),
    "network classifier": DCovMLPClassifier(**NETWORK),
    "calibrator": JSDivergenceCalibrator(
        DCovRidge(), strengths=[0, 1], rule="elbow", cv=2, n_permutations=2, verbose=0
    ),
    "rebalancer": Rebalancer(PoissonRegressor()),
    "encoder": SensitiveEncoder(continuous_scaling="standard"),
}
NEEDED = {"lightgbm": "lightgbm", "xgboost": "xgboost", "network": "torch"}
# Types of other packages, and of ours, that skops does not know by itself; nothing else may be in a file.
OTHERS = {"xgboost": {"xgboost.core.Booster"}, "calibrator": {"sklearn.metrics._scorer._PassthroughScorer"}}


def book():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(160, 3)), columns=["a", "b", "c"])
    return X, rng.poisson(np.exp(0.5 * X["a"])) + 0.5, np.where(X["a"] + rng.normal(size=160) > 0, "f", "m")


def fitted(name):
    """A fitted estimator."""
    X, y, S = book()
    estimator = copy.deepcopy(ESTIMATORS[name])
    if name == "encoder":
        return estimator.fit(pd.DataFrame({"s": S, "a": X["a"]}))
    if name == "rebalancer":
        return estimator.fit(X, y)
    return estimator.fit(X, y > 1 if "classifier" in name or name == "logistic" else y, sensitive_features=S)


def predict(name, estimator):
    X, _, S = book()
    if name == "encoder":
        return estimator.transform(pd.DataFrame({"s": S, "a": X["a"]}))
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


@pytest.fixture(params=ESTIMATORS)
def case(request):
    package = NEEDED.get(request.param.split()[0])
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return request.param, fitted(request.param)


def test_copies_predict_the_same(case, tmp_path):
    name, estimator = case
    expected = predict(name, estimator)
    with config_context(enable_metadata_routing=True):
        # skops cannot save any estimator of which that has been asked, be it of scikit-learn
        estimator.set_fit_request(sample_weight=False)
    copies = [copy.deepcopy(estimator), copy.copy(estimator)]
    copies += [pickle.loads(pickle.dumps(estimator, protocol)) for protocol in (2, pickle.HIGHEST_PROTOCOL)]
    joblib.dump(estimator, tmp_path / "model.joblib")
    copies += [joblib.load(tmp_path / "model.joblib")]
    for again in copies:
        np.testing.assert_array_equal(predict(name, again), expected)
        assert again.get_params(deep=False).keys() == estimator.get_params(deep=False).keys()
        # a copy of a copy, and requests
        np.testing.assert_array_equal(predict(name, pickle.loads(pickle.dumps(again))), expected)
        assert repr(again.get_metadata_routing()) == repr(estimator.get_metadata_routing())
    np.testing.assert_array_equal(predict(name, estimator), expected)


def test_files_of_skops_predict_the_same(case):
    skops = pytest.importorskip("skops.io")
    name, estimator = case
    content = skops.dumps(estimator)
    types = skops.get_untrusted_types(data=content)
    assert all(found.startswith(("fairdcov.", "numpy.")) or found in OTHERS.get(name, ()) for found in types), types
    again = skops.loads(content, trusted=types)
    np.testing.assert_array_equal(predict(name, again), predict(name, estimator))


def test_another_process_predicts_the_same(tmp_path):
    X, _, S = book()
    names = [name for name in ESTIMATORS if importlib.util.find_spec(NEEDED.get(name.split()[0], "numpy"))]
    models = {name: fitted(name) for name in names}
    joblib.dump((models, X, S), tmp_path / "models.joblib")
    script = """
import sys
import joblib, pandas as pd
models, X, S = joblib.load(sys.argv[1])
people = pd.DataFrame({"s": S, "a": X["a"]})
joblib.dump({
    name: model.transform(people) if name == "encoder"
    else model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
    for name, model in models.items()
}, sys.argv[2])
"""
    subprocess.run(
        [sys.executable, "-c", script, tmp_path / "models.joblib", tmp_path / "predictions.joblib"], check=True
    )
    for name, prediction in joblib.load(tmp_path / "predictions.joblib").items():
        np.testing.assert_array_equal(prediction, predict(name, models[name]), err_msg=name)
