"""DCovLGBMRegressor and DCovLGBMClassifier: LightGBM at strength 0, and what penalised rounds promise at any other."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fairdcov
from fairdcov import (
    CCDCovPenalty,
    DCovLGBMClassifier,
    DCovLGBMRegressor,
    JDCovPenalty,
    JSDivergenceCalibrator,
    concatenated_distance_covariance,
)
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, jdcov

lightgbm = pytest.importorskip("lightgbm")
# Large strengths are asked for on purpose; tests/fitting/test_guard.py tests that a fit says which one it goes by.
pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")

SMALL = {"n_estimators": 20, "num_leaves": 6, "n_penalised_rounds": 25, "random_state": 0, "n_jobs": 1}


def fit(portfolio, model=None, **params):
    model = DCovLGBMRegressor(objective="poisson", **{**SMALL, **params}) if model is None else model
    return model.fit(portfolio["X"], portfolio["y"], portfolio["exposure"], sensitive_features=portfolio["people"])


# -- strength 0 is LightGBM -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "name", "options"),
    [
        ("squared_error", "regression", {}),
        ("poisson", "poisson", {}),
        ("gamma", "gamma", {}),
        ("tweedie", "tweedie", {"tweedie_variance_power": 1.3}),
    ],
)
def test_strength_0_is_lightgbm(portfolio, objective, name, options):
    y = portfolio["y"] + (0.1 if objective == "gamma" else 0.0)
    common = {"n_estimators": 20, "num_leaves": 6, "random_state": 3, "subsample": 0.7, "subsample_freq": 1}
    own = DCovLGBMRegressor(strength=0, objective=objective, tweedie_power=1.3, **common)
    own.fit(portfolio["X"], y, portfolio["exposure"])
    theirs = lightgbm.LGBMRegressor(objective=name, verbose=-1, **common, **options)
    theirs.fit(portfolio["X"], y, sample_weight=portfolio["exposure"])
    np.testing.assert_allclose(own.predict(portfolio["X"]), theirs.predict(portfolio["X"]), rtol=1e-10)
    assert np.isnan(own.penalty_value_)
    assert own.n_penalised_rounds_ == 0


def test_strength_0_is_lightgbm_for_a_classifier(portfolio):
    labels = np.where(portfolio["claims"] > 0, "claim", "none")
    own = DCovLGBMClassifier(strength=0, n_estimators=20, num_leaves=6).fit(portfolio["X"], labels)
    theirs = lightgbm.LGBMClassifier(n_estimators=20, num_leaves=6, verbose=-1).fit(portfolio["X"], labels)
    np.testing.assert_allclose(own.predict_proba(portfolio["X"]), theirs.predict_proba(portfolio["X"]), rtol=1e-10)
    np.testing.assert_array_equal(own.predict(portfolio["X"]), theirs.predict(portfolio["X"]))


# -- what penalised rounds promise -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.1, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("penalty", [CCDCovPenalty(), JDCovPenalty(normalize=False), CCDCovPenalty(scale="link")])
def test_objective_falls_and_no_strength_diverges(portfolio, strength, penalty):
    model = fit(portfolio, penalty=penalty, strength=strength)
    # The last entry of a large strength is of leaves moved at a larger one than the trees were grown at.
    loss, values = model.history_["loss"], model.history_["penalty"]
    assert (np.diff(model.history_["objective"][: model.n_penalised_rounds_ + 1]) < 0).all()
    assert (np.diff(loss + model.effective_strength_ * values)[-1:] < 0).all()
    assert model.penalty_value_ == model.history_["penalty"][-1]
    constant = np.full(len(portfolio["y"]), np.average(portfolio["y"], weights=portfolio["exposure"]))
    weights = {"sample_weight": portfolio["exposure"]}
    deviance = mean_poisson_deviance(portfolio["y"], model.predict(portfolio["X"]), **weights)
    assert deviance <= 1.01 * mean_poisson_deviance(portfolio["y"], constant, **weights)


STRENGTHS = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e6)


@pytest.mark.parametrize("penalty", ["ccdcov", "jdcov", "dcov"])
def test_more_strength_never_means_a_larger_penalty_along_a_path(portfolio, penalty):
    model = DCovLGBMRegressor(penalty, objective="poisson", **SMALL)
    data = {"sample_weight": portfolio["exposure"], "sensitive_features": portfolio["people"]}
    path = model.strength_path(portfolio["X"], portfolio["y"], STRENGTHS, **data)
    values = [model.penalty_value_ for model in path]
    assert values[-1] < 0.05 * values[0]
    assert all(later <= earlier for earlier, later in pairwise(values))


@pytest.mark.parametrize("penalty", ["ccdcov", "jdcov", "dcov"])
def test_more_strength_hardly_means_a_larger_penalty_in_single_fits(portfolio, penalty):
    """Single fits grow other trees; the tolerances are what they may differ by, the second once the penalty is gone."""
    values = [fit(portfolio, penalty=penalty, strength=strength).penalty_value_ for strength in STRENGTHS]
    assert values[-1] < 0.05 * values[0]
    assert all(later <= 1.02 * earlier + 1e-3 * values[0] for earlier, later in pairwise(values))


def test_strengths_that_outweigh_what_is_left_of_the_model_count_as_the_largest_that_does_not(portfolio):
    models = [fit(portfolio, strength=strength) for strength in (1.0, 1e4, 1e6)]
    effective = [model.effective_strength_ for model in models]
    assert effective[0] == 1.0 < effective[1] == effective[2] < 1e4
    np.testing.assert_array_equal(models[1].predict(portfolio["X"]), models[2].predict(portfolio["X"]))
    objective = models[2].loss_value_ + effective[2] * models[2].penalty_value_
    assert models[2].objective_value_ == pytest.approx(objective, rel=1e-12)
    # The published form goes on to shrink predictions at any strength.
    published = fit(portfolio, strength=1e6, penalty=CCDCovPenalty(normalize=False))
    assert published.effective_strength_ == 1e6
    assert fit(portfolio, strength=0).effective_strength_ == 0.0


def test_a_small_strength_changes_little(portfolio):
    """However many penalised rounds there are: they keep close to the unpenalised model, and fit no noise."""
    unaware = fit(portfolio, strength=0)
    nearly = fit(portfolio, strength=1e-3, n_penalised_rounds=200)
    assert nearly.loss_value_ == pytest.approx(unaware.loss_value_, rel=5e-3)
    eager = fit(portfolio, strength=1e-3, n_penalised_rounds=200, penalised_target="observed")
    assert eager.loss_value_ < 0.8 * unaware.loss_value_


def test_fitted_values_are_what_the_measures_say(portfolio):
    model = fit(portfolio, strength=10.0, penalty=CCDCovPenalty(normalize=False))
    rate, weights = model.predict(portfolio["X"]), portfolio["exposure"]
    measured = ccdcov(None, rate, sensitive_features=portfolio["people"], sample_weight=weights, statistic="v")
    assert model.penalty_value_ == pytest.approx(measured, rel=1e-9)
    half_deviance = mean_poisson_deviance(portfolio["y"], rate, sample_weight=weights) / 2
    assert model.loss_value_ == pytest.approx(half_deviance, rel=1e-9)
    assert model.objective_value_ == pytest.approx(half_deviance + 10.0 * measured, rel=1e-9)


@pytest.mark.parametrize("strength", [1.0, 100.0, 1e5])
@pytest.mark.parametrize("penalty", [CCDCovPenalty(), CCDCovPenalty(normalize=False, scale="total")])
def test_total_stays_in_balance(portfolio, strength, penalty):
    total = fit(portfolio, strength=strength, penalty=penalty).predict(portfolio["X"]) @ portfolio["exposure"]
    assert total == pytest.approx(portfolio["claims"].sum(), rel=1e-9)


@pytest.mark.parametrize("strength", [1.0, 100.0, 1e5])
def test_total_of_probabilities_stays_in_balance(portfolio, strength):
    y = portfolio["claims"] > 0
    model = DCovLGBMClassifier(strength=strength, **SMALL)
    model.fit(portfolio["X"], y, portfolio["exposure"], sensitive_features=portfolio["people"])
    assert model.penalty_value_ < model.history_["penalty"][0]
    assert (np.diff(model.history_["objective"][: model.n_penalised_rounds_ + 1]) < 0).all()
    total = model.predict_proba(portfolio["X"])[:, 1] @ portfolio["exposure"]
    assert total == pytest.approx(portfolio["exposure"][y].sum(), rel=1e-9)


def test_mean_stays_in_balance_with_the_identity_link(portfolio):
    model = fit(portfolio, DCovLGBMRegressor(strength=10.0, **SMALL))
    total = model.predict(portfolio["X"]) @ portfolio["exposure"]
    assert total == pytest.approx(portfolio["claims"].sum(), rel=1e-9)


def test_intersections_are_seen(rng):
    """Neither attribute alone shows anything, their exclusive or does: only the joint measures repair that."""
    n = 3_000
    people = pd.DataFrame({"a": rng.integers(0, 2, n).astype(str), "b": rng.integers(0, 2, n).astype(str)})
    bias = (people["a"] == people["b"]).to_numpy(float)
    X = np.column_stack([bias + 0.3 * rng.normal(size=n), rng.normal(size=n)])
    y = X.sum(axis=1) + 0.3 * rng.normal(size=n)
    values = {}
    for penalty in ("dcov", "ccdcov", "jdcov"):
        model = DCovLGBMRegressor(penalty, strength=1e3, **{**SMALL, "n_penalised_rounds": 60}).fit(
            X, y, sensitive_features=people
        )
        values[penalty] = jdcov(None, model.predict(X), sensitive_features=people) / np.std(model.predict(X))
    assert values["ccdcov"] < 0.1 * values["dcov"]
    assert values["jdcov"] < 0.1 * values["dcov"]


def test_continuous_attribute(rng):
    n = 2_000
    age = rng.uniform(18, 80, n)
    X = np.column_stack([age + 10 * rng.normal(size=n), rng.normal(size=n)])
    y = X[:, 0] / 10 + X[:, 1]
    unaware, fair = (
        DCovLGBMRegressor(strength=strength, **SMALL).fit(X, y, sensitive_features=age) for strength in (0.0, 1e3)
    )
    assert fair.penalty_method_ == "univariate"
    assert fair.penalty_value_ < 0.2 * unaware.penalty_value_
    assert concatenated_distance_covariance(fair.predict(X), age) < 0.1 * concatenated_distance_covariance(
        unaware.predict(X), age
    )


# -- paths ------------------------------------------------------------------------------------------------------------


def test_path_continues_and_equals_single_fits(portfolio):
    model = DCovLGBMRegressor(objective="poisson", **SMALL)
    data = {"sample_weight": portfolio["exposure"], "sensitive_features": portfolio["people"]}
    path = list(model.strength_path(portfolio["X"], portfolio["y"], [0.0, 3.0, 30.0], **data))
    assert [m.strength for m in path] == [0.0, 3.0, 30.0]
    assert [m.booster_.num_trees() for m in path] == [20, 45, 70]
    assert path[0].penalty_value_ > path[1].penalty_value_ > path[2].penalty_value_
    # The first penalised model of a path is the fit with its strength; a later path does not change earlier models.
    np.testing.assert_array_equal(path[1].predict(portfolio["X"]), fit(portfolio, strength=3.0).predict(portfolio["X"]))
    np.testing.assert_array_equal(path[0].predict(portfolio["X"]), fit(portfolio, strength=0).predict(portfolio["X"]))
    with pytest.raises(ValueError, match="strengths must increase"):
        model.strength_path(portfolio["X"], portfolio["y"], [3.0, 1.0], **data)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")
def test_calibrator_follows_the_path(portfolio):
    calibrator = JSDivergenceCalibrator(
        DCovLGBMRegressor(objective="poisson", **SMALL), strengths=[0, 10, 1000], rule="elbow", cv=2, verbose=0
    )
    calibrator.fit(portfolio["X"], portfolio["y"], portfolio["exposure"], sensitive_features=portfolio["people"])
    divergence = calibrator.calibration_results_["mean_divergence"]
    assert divergence[-1] < divergence[0]
    assert calibrator.predict(portfolio["X"]).shape == portfolio["y"].shape


# -- the surroundings -------------------------------------------------------------------------------------------------


def test_booster_predicts_on_the_scale_of_the_target_and_explains_itself(portfolio):
    model = fit(portfolio, strength=10.0)
    rate = model.predict(portfolio["X"])
    np.testing.assert_allclose(model.booster_.predict(portfolio["X"]), rate, rtol=1e-12)
    contributions = model.shap_values(portfolio["X"])
    assert contributions.shape == (len(rate), 5)
    np.testing.assert_allclose(contributions.sum(axis=1), np.log(rate), atol=1e-9)
    assert model.feature_importances_.shape == (4,)
    assert model.feature_importances_.sum() > 0
    reread = lightgbm.Booster(model_str=model.booster_.model_to_string())
    np.testing.assert_allclose(reread.predict(portfolio["X"]), rate, rtol=1e-12)


def test_pickle_and_clone_keep_everything(portfolio):
    model = fit(portfolio, strength=10.0, penalty=JDCovPenalty(c=0.5), monotone_constraints=[1, 0, 0, 0])
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(portfolio["X"]), model.predict(portfolio["X"]))
    again = clone(model)
    assert again.get_params()["monotone_constraints"] == [1, 0, 0, 0]
    assert again.set_params(penalty__c=2.0, max_bin=31).penalty.c == 2.0
    assert again.get_params()["max_bin"] == 31


def test_seed_decides_and_is_all_that_decides(portfolio):
    def predictions(seed):
        return fit(portfolio, strength=5.0, random_state=seed, colsample_bytree=0.5).predict(portfolio["X"])

    np.testing.assert_array_equal(predictions(1), predictions(1))
    assert not np.array_equal(predictions(1), predictions(2))


def test_rows_of_weight_0_take_no_part(portfolio):
    weights = portfolio["exposure"].copy()
    weights[::3] = 0.0
    people = portfolio["people"].assign(region=portfolio["people"]["region"].astype(str))
    people.loc[0, "region"] = "nowhere"
    keep = weights > 0
    model = DCovLGBMRegressor(objective="poisson", strength=5.0, **SMALL)
    with_zeros = clone(model).fit(portfolio["X"], portfolio["y"], weights, sensitive_features=people)
    without = clone(model).fit(
        portfolio["X"][keep], portfolio["y"][keep], weights[keep], sensitive_features=people[keep]
    )
    np.testing.assert_array_equal(with_zeros.predict(portfolio["X"]), without.predict(portfolio["X"]))


@pytest.mark.parametrize("convert", [pl.from_pandas, lambda X: X])
def test_data_frames(portfolio, convert):
    X, people = convert(portfolio["X"]), convert(portfolio["people"])
    model = DCovLGBMRegressor(objective="poisson", strength=5.0, **SMALL)
    model.fit(X, portfolio["y"], portfolio["exposure"], sensitive_features=people)
    assert model.feature_names_in_.tolist() == ["mileage", "power", "value", "fuel"]
    np.testing.assert_array_equal(model.predict(X), fit(portfolio, strength=5.0).predict(portfolio["X"]))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(portfolio["X"].rename(columns={"power": "pwoer"}))


def test_sparse_features(portfolio):
    X = np.maximum(portfolio["X"][["mileage", "power"]].to_numpy(), 0.0)
    dense, sparse = (
        DCovLGBMRegressor(strength=1.0, **SMALL).fit(data, portfolio["y"], sensitive_features=portfolio["people"])
        for data in (X, sp.csr_matrix(X))
    )
    np.testing.assert_allclose(dense.predict(X), sparse.predict(sp.csr_matrix(X)), rtol=1e-9)


def test_sensitive_columns(portfolio):
    together = pd.concat([portfolio["X"], portfolio["people"]], axis=1)
    model = DCovLGBMRegressor(objective="poisson", strength=5.0, sensitive_columns=["gender", "region"], **SMALL).fit(
        together, portfolio["y"], portfolio["exposure"]
    )
    expected = fit(portfolio, strength=5.0).predict(portfolio["X"])
    np.testing.assert_array_equal(model.predict(together), expected)
    np.testing.assert_array_equal(model.predict(portfolio["X"]), expected)


def test_search_in_a_pipeline_routes_protected_attributes(portfolio):
    X = portfolio["X"][["mileage", "power", "value"]]
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(
                StandardScaler().set_fit_request(sample_weight=False),
                DCovLGBMRegressor(objective="poisson", **SMALL),
            ),
            {"dcovlgbmregressor__strength": [0.0, 100.0], "dcovlgbmregressor__max_bin": [15]},
            cv=2,
        )
        search.fit(X, portfolio["y"], sample_weight=portfolio["exposure"], sensitive_features=portfolio["people"])
    assert search.best_params_["dcovlgbmregressor__strength"] == 0.0


# -- early stopping and callbacks -------------------------------------------------------------------------------------


def halves(portfolio):
    first, second = slice(0, 1_000), slice(1_000, None)
    parts = []
    for rows in (first, second):
        parts.append(
            (
                portfolio["X"].iloc[rows],
                portfolio["y"][rows],
                portfolio["exposure"][rows],
                portfolio["people"].iloc[rows],
            )
        )
    return parts


def test_early_stopping_goes_back_to_the_best_round(portfolio):
    (X, y, w, S), (X_held, y_held, w_held, S_held) = halves(portfolio)
    model = DCovLGBMRegressor(
        objective="poisson", strength=1.0, early_stopping_rounds=5, learning_rate=0.3, **{**SMALL, "n_estimators": 200}
    )
    model.fit(
        X,
        y,
        w,
        sensitive_features=S,
        eval_set=(X_held, y_held),
        eval_sample_weight=w_held,
        eval_sensitive_features=S_held,
    )
    assert model.n_unpenalised_rounds_ < 200
    assert model.booster_.num_trees() == model.n_unpenalised_rounds_ + model.n_penalised_rounds_
    watched = model.history_["validation_objective"]
    assert model.n_penalised_rounds_ == np.argmin(watched)
    bound = CCDCovPenalty().bind(S_held, w_held)
    rate = model.predict(X_held)
    objective = mean_poisson_deviance(y_held, rate, sample_weight=w_held) / 2 + bound.value(rate)
    assert objective == pytest.approx(watched.min(), rel=1e-9)


def test_eval_set_without_early_stopping_only_watches(portfolio):
    (X, y, w, S), (X_held, y_held, w_held, S_held) = halves(portfolio)
    plain = DCovLGBMRegressor(objective="poisson", strength=1.0, **SMALL).fit(X, y, w, sensitive_features=S)
    watched = clone(plain).fit(
        X,
        y,
        w,
        sensitive_features=S,
        eval_set=[(X_held, y_held)],
        eval_sample_weight=[w_held],
        eval_sensitive_features=[S_held],
    )
    np.testing.assert_array_equal(plain.predict(X), watched.predict(X))
    assert len(watched.history_["validation_loss"]) == watched.n_penalised_rounds_ + 1


def test_callbacks_see_both_phases(portfolio):
    seen = []

    def look(environment):
        seen.append((environment.iteration, [tuple(entry)[:2] for entry in environment.evaluation_result_list or []]))

    model = DCovLGBMRegressor(objective="poisson", strength=5.0, **SMALL)
    model.fit(
        portfolio["X"], portfolio["y"], portfolio["exposure"], sensitive_features=portfolio["people"], callbacks=[look]
    )
    assert [iteration for iteration, _ in seen] == list(range(20 + model.n_penalised_rounds_))
    assert seen[-1][1] == [("training", "objective"), ("training", "loss"), ("training", "penalty")]


def test_callback_can_end_the_penalised_rounds(portfolio):
    def stop(environment):
        if environment.iteration == 29:
            raise lightgbm.callback.EarlyStopException(29, [])

    model = DCovLGBMRegressor(objective="poisson", strength=5.0, **SMALL)
    model.fit(
        portfolio["X"], portfolio["y"], portfolio["exposure"], sensitive_features=portfolio["people"], callbacks=[stop]
    )
    assert model.n_penalised_rounds_ == 10


# -- bad input --------------------------------------------------------------------------------------------------------


def test_no_protected_attributes_is_an_error_and_leaves_the_estimator_alone(portfolio):
    model = fit(portfolio, strength=5.0)
    before = model.predict(portfolio["X"])
    with pytest.raises(MissingSensitiveFeaturesError, match="strength > 0 needs sensitive_features"):
        model.fit(portfolio["X"], portfolio["y"])
    np.testing.assert_array_equal(model.predict(portfolio["X"]), before)


def test_eval_set_without_its_protected_attributes_is_an_error(portfolio):
    (X, y, w, S), (X_held, y_held, w_held, _) = halves(portfolio)
    with pytest.raises(MissingSensitiveFeaturesError, match="eval_sensitive_features"):
        DCovLGBMRegressor(objective="poisson", **SMALL).fit(
            X, y, w, sensitive_features=S, eval_set=(X_held, y_held), eval_sample_weight=w_held
        )


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_estimators": 0}, ValueError, "n_estimators must be a whole number >= 1; found 0"),
        ({"n_penalised_rounds": 0}, ValueError, "n_penalised_rounds must be a whole number >= 1"),
        ({"strength": -1.0}, ValueError, "strength must be a finite number >= 0"),
        ({"penalised_learning_rate": 0.0}, ValueError, "penalised_learning_rate must be a finite number > 0"),
        ({"boosting_type": "dart"}, ValueError, "boosting_type must be 'gbdt' or 'goss'"),
        ({"linear_tree": True}, ValueError, "linear_tree cannot be passed"),
        ({"objective": "quantile"}, ValueError, "objective must be one of"),
        ({"objective": "tweedie", "tweedie_power": 2.5}, ValueError, "tweedie_power must be above 1 and below 2"),
        ({"strenght": 3.0}, TypeError, "no parameter 'strenght'; did you mean 'strength'"),
        ({"early_stopping_rounds": 5}, ValueError, "early_stopping_rounds=5 needs rows to watch"),
        ({"penalty": "dcor"}, ValueError, "penalty must be one of"),
    ],
)
def test_bad_parameters(portfolio, params, error, message):
    with pytest.raises(error, match=message):
        fit(portfolio, DCovLGBMRegressor(**{"objective": "poisson", **SMALL, **params}))


def test_bad_targets_and_rows(portfolio):
    with pytest.raises(ValueError, match="needs y >= 0"):
        DCovLGBMRegressor(objective="poisson", strength=0).fit(portfolio["X"], -portfolio["y"] - 1)
    with pytest.raises(ValueError, match="sensitive_features"):
        DCovLGBMRegressor(**SMALL).fit(portfolio["X"], portfolio["y"], sensitive_features=portfolio["people"].iloc[:10])
    with pytest.raises(ValueError, match="two classes"):
        DCovLGBMClassifier(**SMALL).fit(
            portfolio["X"], np.ones(len(portfolio["y"])), sensitive_features=portfolio["people"]
        )


def test_constant_attributes_are_warned_about(portfolio):
    with pytest.warns(SensitiveFeaturesWarning, match="constant"):
        model = DCovLGBMRegressor(strength=5.0, **SMALL).fit(
            portfolio["X"], portfolio["y"], sensitive_features=np.ones(len(portfolio["y"]))
        )
    assert model.penalty_value_ == 0.0


def test_constant_target_gives_the_constant_model(portfolio):
    y = np.full(len(portfolio["y"]), 0.3)
    model = DCovLGBMRegressor(strength=5.0, **SMALL).fit(portfolio["X"], y, sensitive_features=portfolio["people"])
    np.testing.assert_allclose(model.predict(portfolio["X"]), 0.3, rtol=1e-6)


def test_names_are_public():
    assert {"DCovLGBMRegressor", "DCovLGBMClassifier", "DCovXGBRegressor"} <= set(fairdcov.__all__)
