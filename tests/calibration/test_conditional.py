"""Calibration within strata: the divergence of the folds is the conditional one, and so is the penalty of the fits."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import KFold

from fairdcov import CCDCovPenalty, DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.metrics import js_divergence, neg_poisson_deviance_scorer

pytestmark = [
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning"),
]

OPTIONS = {"strengths": [0.0, 3.0], "rule": "elbow", "verbose": 0, "n_permutations": 10, "random_state": 0}


@pytest.fixture
def book():
    rng = np.random.default_rng(3)
    n = 1_200
    gender = pd.Series(rng.choice(["f", "m"], n), name="gender")
    female = (gender == "f").to_numpy()
    mileage = pd.Series(np.where(female, 9, 14) * rng.gamma(4.0, 0.25, n), name="mileage")
    score = rng.normal(size=n) - 0.8 * female
    X = np.column_stack([np.log(mileage), score, rng.normal(size=n)])
    exposure = rng.uniform(0.3, 1.0, n)
    y = rng.poisson(exposure * np.exp(X @ [0.5, 0.3, 0.3] - 1.0)) / exposure
    return {"X": X, "y": y, "exposure": exposure, "gender": gender, "mileage": mileage}


def fit(calibrator, book, **changed):
    given = {
        "sample_weight": book["exposure"],
        "sensitive_features": book["gender"],
        "control_features": book["mileage"],
        **changed,
    }
    return calibrator.fit(book["X"], book["y"], **given)


@pytest.mark.parametrize("routing", [False, True])
def test_results_can_be_redone_by_hand(book, routing):
    folds = KFold(3, shuffle=True, random_state=1)
    estimator = DCovPoissonRegressor(alpha=1e-4)
    with sklearn.config_context(enable_metadata_routing=routing):
        calibrator = JSDivergenceCalibrator(estimator, cv=folds, scoring=neg_poisson_deviance_scorer, **OPTIONS)
        fit(calibrator, book)
    edges = np.quantile(book["mileage"], np.linspace(0, 1, 6), weights=book["exposure"], method="inverted_cdf")
    for fold, (train, test) in enumerate(folds.split(book["X"])):
        for k, strength in enumerate((0.0, 3.0)):
            model = clone(estimator).set_params(strength=strength)
            part = {name: column[train] for name, column in book.items()}
            expected = js_divergence(
                None,
                fit(model, part).predict(book["X"][test]),
                sensitive_features=book["gender"][test],
                sample_weight=book["exposure"][test],
                control_features=book["mileage"][test],
                control_bins={"mileage": edges},
            )
            assert_allclose(calibrator.calibration_results_["fold_divergence"][k, fold], expected, rtol=0.05)
    bound = CCDCovPenalty().bind(book["gender"], book["exposure"], control_features=book["mileage"])
    best = calibrator.best_estimator_
    assert_allclose(best.penalty_value_, bound.value(best.predict(book["X"])), rtol=1e-6)


def test_estimators_that_take_none_are_measured_within_strata_all_the_same(book):
    options = {**OPTIONS, "rule": "threshold", "max_divergence": 1.0}
    calibrator = JSDivergenceCalibrator(
        PoissonRegressor(), param_name="alpha", cv=2, scoring=neg_poisson_deviance_scorer, **options
    )
    within = fit(calibrator, book)
    anywhere = fit(clone(calibrator), book, control_features=None)
    found, without = (model.calibration_results_["mean_divergence"] for model in (within, anywhere))
    assert (found != without).all()


def test_control_features_are_checked_first(book):
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), **OPTIONS)
    with pytest.raises(ValueError, match="control_features must have as many rows as X"):
        fit(calibrator, book, control_features=book["mileage"][1:])
    with pytest.raises(ValueError, match="control_bins for 'mileage' must be at least 1"):
        fit(calibrator.set_params(control_bins=0), book)
    assert not hasattr(calibrator, "best_estimator_")
