"""What the penalty does to a fit, and what the estimators promise around it."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import fairdcov
from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPenalty,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    JDCovPenalty,
)
from fairdcov._checks._blas import _libraries
from fairdcov.exceptions import ConvergenceWarning, MissingSensitiveFeaturesError, SensitiveFeaturesWarning


def _data(portfolio):
    return (portfolio["X"], portfolio["y"]), {
        "sample_weight": portfolio["exposure"],
        "sensitive_features": portfolio["people"],
    }


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("penalty", [CCDCovPenalty, JDCovPenalty, DCovPenalty])
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_more_strength_never_gives_more_penalty_or_less_loss(portfolio, penalty, normalize):
    (X, y), data = _data(portfolio)
    estimator = DCovPoissonRegressor(penalty(normalize=normalize), alpha=1e-3)
    path = list(estimator.strength_path(X, y, [0.0, 0.1, 1.0, 10.0, 100.0, 1000.0], **data))
    penalties = np.array([model.penalty_value_ for model in path])
    losses = np.array([model.loss_value_ for model in path])
    assert (np.diff(penalties) <= 1e-6 * penalties[0]).all()
    assert (np.diff(losses) >= -1e-6).all()
    # A V-statistic of 600 rows does not go to zero under independence: its floor is of order 1 / n.
    assert penalties[-1] < 0.15 * penalties[0]
    assert all(model.converged_ for model in path)


def test_solution_is_stationary_to_first_order(portfolio):
    # Independent of the solver: no small step in any of many directions lowers the objective, written out by hand.
    (X, y), data = _data(portfolio)
    w = portfolio["exposure"] / portfolio["exposure"].sum()
    bound = CCDCovPenalty().bind(portfolio["people"], portfolio["exposure"])
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3, tol=1e-6).fit(X, y, **data)

    def objective(coef, intercept):
        mu = np.exp(X @ coef + intercept)
        positive = np.where(y > 0, y, 1.0)
        loss = w @ (np.where(y > 0, y * np.log(positive / mu), 0.0) - y + mu)
        return loss + 2.0 * bound.value(mu) + 0.5e-3 * coef @ coef

    best = objective(model.coef_, model.intercept_)
    np.testing.assert_allclose(best, model.objective_value_, rtol=1e-10)
    rng = np.random.default_rng(0)
    for _ in range(200):
        direction = rng.normal(size=5)
        direction *= 1e-3 / np.linalg.norm(direction)
        assert objective(model.coef_ + direction[:4], model.intercept_ + direction[4]) > best


@pytest.mark.parametrize(
    ("penalty", "balanced"),
    [
        (CCDCovPenalty(), True),
        (JDCovPenalty(), True),
        (CCDCovPenalty(normalize=False, scale="link"), True),
        (CCDCovPenalty(normalize=False), False),
    ],
)
def test_fitted_total_equals_observed_total(portfolio, penalty, balanced):
    (X, y), data = _data(portfolio)
    model = DCovPoissonRegressor(penalty, strength=3.0, alpha=1e-3, tol=1e-7).fit(X, y, **data)
    ratio = (model.predict(X) * portfolio["exposure"]).sum() / portfolio["claims"].sum()
    assert (abs(ratio - 1) < 1e-5) == balanced


def test_identity_link_is_balanced_with_either_form(portfolio):
    (X, y), data = _data(portfolio)
    for normalize in (True, False):
        model = DCovRidge(CCDCovPenalty(normalize=normalize), strength=1.0, tol=1e-7).fit(X, y, **data)
        np.testing.assert_allclose(
            np.average(model.predict(X), weights=portfolio["exposure"]),
            np.average(y, weights=portfolio["exposure"]),
            rtol=1e-5,
        )


def test_scale_free_penalty_does_not_depend_on_the_unit_of_the_target(portfolio):
    (X, y), data = _data(portfolio)
    gamma = y + 0.1
    one = DCovGammaRegressor(strength=2.0, alpha=0.01, tol=1e-7).fit(X, gamma, **data)
    hundred = DCovGammaRegressor(strength=2.0, alpha=0.01, tol=1e-7).fit(X, 100 * gamma, **data)
    np.testing.assert_allclose(100 * one.predict(X), hundred.predict(X), rtol=1e-4)


def test_intersections_are_protected_where_single_attributes_show_nothing():
    # Exclusive or of two fair attributes drives the claims: each alone is blind to it, also the summed penalty.
    rng = np.random.default_rng(1)
    n = 4_000
    young, female = rng.integers(0, 2, n), rng.integers(0, 2, n)
    X = np.column_stack([(young ^ female) + 0.2 * rng.normal(size=n), rng.normal(size=n)])
    y = rng.poisson(np.exp(-1 + 0.8 * X[:, 0] + 0.3 * X[:, 1]))
    S = pd.DataFrame({"young": young.astype(bool), "female": female.astype(bool)})

    def spread(model):
        means = S.assign(u=model.predict(X)).groupby(["young", "female"])["u"].mean()
        return means.max() / means.min()

    settings = {"strength": 30.0, "alpha": 1e-4}
    unaware = spread(DCovPoissonRegressor(strength=0, alpha=1e-4).fit(X, y))
    assert unaware > 1.8
    assert spread(DCovPoissonRegressor("dcov", **settings).fit(X, y, sensitive_features=S)) > 0.9 * unaware
    assert spread(DCovPoissonRegressor("ccdcov", **settings).fit(X, y, sensitive_features=S)) < 1.1
    assert spread(DCovPoissonRegressor("jdcov", **settings).fit(X, y, sensitive_features=S)) < 1.1


@pytest.mark.parametrize("method", ["tiles", "approximate"])
def test_methods_give_the_same_model(portfolio, method):
    (X, y), data = _data(portfolio)
    exact = DCovPoissonRegressor(CCDCovPenalty(method="profiles"), strength=2.0, alpha=1e-3).fit(X, y, **data)
    other = DCovPoissonRegressor(CCDCovPenalty(method=method), strength=2.0, alpha=1e-3).fit(X, y, **data)
    assert other.penalty_method_ == method
    np.testing.assert_allclose(other.predict(X), exact.predict(X), rtol=1e-3 if method == "tiles" else 0.02)
    assert (other.penalty_error_bound_ > 0) == (method == "approximate")


def test_path_agrees_with_single_fits(portfolio):
    (X, y), data = _data(portfolio)
    strengths = [0.0, 0.5, 5.0]
    estimator = DCovPoissonRegressor(alpha=1e-3, tol=1e-6)
    for strength, model in zip(strengths, estimator.strength_path(X, y, strengths, **data), strict=True):
        single = clone(estimator).set_params(strength=strength).fit(X, y, **data)
        assert model.strength == strength
        # With 600 rows the kinks of the penalty are coarse: different starts end on different, equally good ones.
        np.testing.assert_allclose(model.objective_value_, single.objective_value_, rtol=1e-6)
        np.testing.assert_allclose(model.predict(X), single.predict(X), rtol=1e-2)
    assert not hasattr(estimator, "coef_")


def test_warm_start_continues(portfolio):
    (X, y), data = _data(portfolio)
    cold = DCovPoissonRegressor(strength=5.0, alpha=1e-3).fit(X, y, **data)
    model = DCovPoissonRegressor(strength=4.5, alpha=1e-3, warm_start=True).fit(X, y, **data)
    model.set_params(strength=5.0).fit(X, y, **data)
    assert model.n_iter_ < cold.n_iter_
    np.testing.assert_allclose(model.objective_value_, cold.objective_value_, rtol=1e-6)


def test_rows_of_weight_zero_take_no_part(portfolio):
    (X, y), _ = _data(portfolio)
    kept = np.arange(len(y)) % 3 > 0
    people = portfolio["people"].copy()
    people.loc[~kept, "age"] = 1e6  # would change the scale of the attribute if it were seen
    people.loc[~kept, "gender"] = "unknown"
    weighted = DCovPoissonRegressor(alpha=1e-3).fit(
        X, y, sample_weight=portfolio["exposure"] * kept, sensitive_features=people
    )
    removed = DCovPoissonRegressor(alpha=1e-3).fit(
        X[kept], y[kept], sample_weight=portfolio["exposure"][kept], sensitive_features=portfolio["people"][kept]
    )
    np.testing.assert_allclose(weighted.coef_, removed.coef_, rtol=1e-10)


def test_frames_of_any_kind_give_the_same_model(portfolio):
    (X, y), data = _data(portfolio)
    expected = DCovPoissonRegressor().fit(X, y, **data).coef_
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(X, columns=names)
    people = portfolio["people"]
    for features in (frame, pl.DataFrame(X, schema=names)):
        for attributes in (
            people,
            pl.DataFrame({name: people[name].to_list() for name in people}),
            people.astype({"gender": "category", "region": str}),
        ):
            model = DCovPoissonRegressor().fit(features, y, portfolio["exposure"], sensitive_features=attributes)
            np.testing.assert_allclose(model.coef_, expected, rtol=1e-9)
            assert model.feature_names_in_.tolist() == names


def test_group_names_and_their_order_do_not_matter(portfolio):
    (X, y), data = _data(portfolio)
    people = portfolio["people"]
    renamed = people.assign(
        gender=people["gender"].map({"f": "zz", "m": "a"}), region=people["region"].map({"n": "9", "s": "1", "w": "5"})
    )
    expected = DCovPoissonRegressor().fit(X, y, **data)
    model = DCovPoissonRegressor().fit(
        X, y, portfolio["exposure"], sensitive_features=renamed[["age", "region", "gender"]]
    )
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-8)


def test_sensitive_columns_are_read_from_a_frame_and_not_needed_to_predict(portfolio):
    (X, y), data = _data(portfolio)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    both = pd.concat([frame, portfolio["people"]], axis=1)
    # Columns of the same frame: another order in memory moves the last digits.
    expected = DCovPoissonRegressor().fit(both[list(frame)], y, **data)
    names = ["gender", "region", "age"]
    model = DCovPoissonRegressor(sensitive_columns=names).fit(both, y, portfolio["exposure"])
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-10)
    assert model.n_features_in_ == 4
    np.testing.assert_allclose(model.predict(both), model.predict(frame))
    kept = DCovPoissonRegressor(sensitive_columns=["age"], drop_sensitive_columns=False)
    kept.fit(both.drop(columns=["gender", "region"]), y, portfolio["exposure"])
    assert kept.n_features_in_ == 5
    positions = DCovPoissonRegressor(sensitive_columns=[4]).fit(both.drop(columns=["gender", "region"]).to_numpy(), y)
    assert positions.n_features_in_ == 4
    assert positions.predict(X).shape == y.shape


def test_pipeline_search_with_routing(portfolio):
    X = pd.DataFrame(portfolio["X"], columns=["a", "b", "c", "d"]).assign(kind=portfolio["people"]["region"])
    steps = ColumnTransformer(
        [("numbers", StandardScaler(), ["a", "b", "c", "d"]), ("kinds", OneHotEncoder(), ["kind"])]
    )
    with sklearn.config_context(enable_metadata_routing=True):
        steps.set_params(numbers=StandardScaler().set_fit_request(sample_weight=False))
        search = GridSearchCV(
            make_pipeline(steps, DCovPoissonRegressor(alpha=1e-3)),
            {"dcovpoissonregressor__strength": [0.0, 1.0], "dcovpoissonregressor__penalty": [JDCovPenalty(c=0.5)]},
            cv=3,
        )
        search.fit(X, portfolio["y"], sample_weight=portfolio["exposure"], sensitive_features=portfolio["people"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == portfolio["y"].shape


def test_search_without_routing_by_sensitive_columns(portfolio):
    X = pd.DataFrame(portfolio["X"], columns=["a", "b", "c", "d"]).assign(gender=portfolio["people"]["gender"])
    scores = cross_val_score(DCovPoissonRegressor(sensitive_columns=["gender"]), X, portfolio["y"], cv=3)
    assert np.isfinite(scores).all()
    pipeline = make_pipeline(StandardScaler(), DCovPoissonRegressor())
    pipeline.fit(portfolio["X"], portfolio["y"], dcovpoissonregressor__sensitive_features=portfolio["people"])
    assert pipeline[-1].penalty_value_ < 0.1


def test_pickle_clone_and_nested_parameters(portfolio):
    (X, y), data = _data(portfolio)
    model = DCovPoissonRegressor(JDCovPenalty(), strength=2.0).set_params(penalty__c=0.3, penalty__encoder=None)
    assert clone(model).get_params()["penalty__c"] == 0.3
    model.fit(X, y, **data)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert "DCovPoissonRegressor" in model._repr_html_()


def test_fit_does_not_touch_its_parameters(portfolio):
    (X, y), data = _data(portfolio)
    penalty = CCDCovPenalty(encoder=fairdcov.SensitiveEncoder())
    model = DCovPoissonRegressor(penalty)
    before = repr(model.get_params())
    model.fit(X, y, **data)
    assert model.penalty is penalty
    assert repr(model.get_params()) == before
    assert not hasattr(penalty.encoder, "attributes_")


def test_logistic_regression_keeps_its_labels_and_lowers_the_penalty():
    rng = np.random.default_rng(2)
    S = rng.choice(["a", "b"], 500)
    X = np.column_stack([(S == "a") + rng.normal(size=500), rng.normal(size=500)])
    y = np.where(X.sum(axis=1) + rng.normal(size=500) > 0.5, "claim", "none")
    unaware = DCovLogisticRegression(strength=0).fit(X, y, sensitive_features=S)
    for scale in ("response", "link"):
        fair = DCovLogisticRegression(CCDCovPenalty(scale=scale), strength=100.0).fit(X, y, sensitive_features=S)
        assert fair.classes_.tolist() == ["claim", "none"]
        probability = fair.predict_proba(X)[:, 1]
        gap = abs(probability[S == "a"].mean() - probability[S == "b"].mean())
        before = unaware.predict_proba(X)[:, 1]
        assert gap < 0.2 * abs(before[S == "a"].mean() - before[S == "b"].mean())


# -- bad input ----------------------------------------------------------------------------------------------------


def test_strength_without_attributes_is_an_error_and_leaves_nothing_behind(portfolio):
    model = DCovPoissonRegressor()
    with pytest.raises(MissingSensitiveFeaturesError, match=r"sensitive_features.*strength=0"):
        model.fit(portfolio["X"], portfolio["y"])
    assert not [name for name in vars(model) if name.endswith("_")]


def test_failed_refit_keeps_the_fitted_model(portfolio):
    (X, y), data = _data(portfolio)
    model = DCovPoissonRegressor().fit(X, y, **data)
    before = model.predict(X)
    with pytest.raises(ValueError, match="y >= 0"):
        model.fit(X[:, :2], -1.0 - y, **data)
    np.testing.assert_array_equal(model.predict(X), before)


def _with(array, value):
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


BAD = {
    "nan in X": (lambda d: {"X": _with(d["X"], np.nan)}, "X contains NaN"),
    "inf in y": (lambda d: {"y": _with(d["y"], np.inf)}, "y contains infinity"),
    "nan in weights": (lambda d: {"sample_weight": _with(d["exposure"], np.nan)}, "sample_weight must be finite"),
    "negative weight": (lambda d: {"sample_weight": _with(d["exposure"], -1.0)}, "sample_weight must not be negative"),
    "all zero": (lambda d: {"sample_weight": np.zeros(600)}, "sample_weight must not be all zero"),
    "short weights": (lambda d: {"sample_weight": np.ones(5)}, "sample_weight must have as many rows as X.*5"),
    "short S": (lambda d: {"sensitive_features": d["people"][:7]}, "sensitive_features must have as many rows as X.*7"),
    "nan in S": (
        lambda d: {"sensitive_features": d["people"].assign(age=_with(d["people"]["age"], np.nan))},
        "'age' has 1",
    ),
    "missing category": (
        lambda d: {"sensitive_features": d["people"].assign(gender=[None, *d["people"]["gender"][1:]])},
        "'gender' has 1 missing",
    ),
    "mixed types": (
        lambda d: {
            "sensitive_features": d["people"].assign(gender=pd.Series([1, *d["people"]["gender"][1:]], dtype=object))
        },
        "'gender' mixes types",
    ),
    "dates": (
        lambda d: {"sensitive_features": d["people"].assign(born=pd.Timestamp("2000-01-01"))},
        "'born' holds dates",
    ),
    "dict": (lambda d: {"sensitive_features": {"a": [1] * 600}}, "found a dict"),
    "negative y": (lambda d: {"y": _with(d["y"], -0.1)}, "y >= 0; found 1 negative"),
    "few rows": (
        lambda d: {"X": d["X"][:3], "y": d["y"][:3], "sample_weight": None, "sensitive_features": d["people"][:3]},
        "minimum of 4 is required",
    ),
    "few rows with weight": (
        lambda d: {"sample_weight": np.r_[1.0, 1.0, np.zeros(598)]},
        "at least 4 rows of positive sample_weight; found 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(portfolio, case):
    change, message = BAD[case]
    arguments = {
        "X": portfolio["X"],
        "y": portfolio["y"],
        "sample_weight": portfolio["exposure"],
        "sensitive_features": portfolio["people"],
    }
    arguments.update(change(portfolio))
    model = DCovPoissonRegressor()
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(**arguments)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strength": -1.0}, "strength must be a finite number >= 0; found -1"),
        ({"strength": np.nan}, "strength must be a finite number >= 0"),
        ({"alpha": -1.0}, "alpha must be a finite number >= 0"),
        ({"tol": 0.0}, "tol must be a finite number > 0"),
        ({"max_iter": 0}, "max_iter must be a whole number >= 1"),
        ({"max_iter": True}, "max_iter must be a whole number >= 1; found True"),
        ({"penalty": "dcor"}, "penalty must be one of 'ccdcov', 'dcov', 'jdcov'"),
        ({"penalty": CCDCovPenalty(method="fast")}, "method must be one of 'auto'"),
        ({"penalty": CCDCovPenalty(scale="log")}, "scale must be one of 'response', 'link', 'total'; found 'log'"),
        ({"penalty": CCDCovPenalty(statistic="w")}, "statistic must be one of"),
        ({"penalty": CCDCovPenalty(statistic="u")}, "weighted U-statistic is not defined"),
        ({"penalty": JDCovPenalty(c=-1.0)}, "c must be a finite number >= 0"),
        ({"penalty": CCDCovPenalty(method="univariate")}, "one continuous attribute of one column"),
        ({"n_threads": 0}, "n_threads must be None or a whole number other than 0"),
        ({"sensitive_columns": ["age"]}, "use one of the two"),
    ],
)
def test_bad_parameters(portfolio, parameters, message):
    (X, y), data = _data(portfolio)
    with pytest.raises(ValueError, match=message):
        DCovPoissonRegressor(**parameters).fit(X, y, **data)


def test_too_many_profiles_for_the_memory_bound(portfolio):
    (X, y), data = _data(portfolio)
    with sklearn.config_context(working_memory=1), pytest.raises(ValueError, match=r"600 x 600 matrix.*working_memory"):
        DCovPoissonRegressor(CCDCovPenalty(method="profiles")).fit(X, y, **data)


def test_bad_sensitive_columns(portfolio):
    frame = pd.DataFrame(portfolio["X"], columns=["a", "b", "c", "gender"])
    with pytest.raises(ValueError, match=r"'gendr', which is not a column of X; did you mean 'gender'"):
        DCovPoissonRegressor(sensitive_columns=["gendr"]).fit(frame, portfolio["y"])
    with pytest.raises(ValueError, match="needs X as a DataFrame"):
        DCovPoissonRegressor(sensitive_columns=["gender"]).fit(portfolio["X"], portfolio["y"])
    for wrong in ([9], [-1], [0, 4], [1.0]):
        with pytest.raises(ValueError, match="not column positions"):
            DCovPoissonRegressor(sensitive_columns=wrong).fit(portfolio["X"], portfolio["y"])


def test_bad_strengths_raise_at_once(portfolio):
    (X, y), data = _data(portfolio)
    with pytest.raises(ValueError, match="at least one"):
        DCovPoissonRegressor().strength_path(X, y, [], **data)
    with pytest.raises(ValueError, match="strengths must be a finite number >= 0; found -2"):
        DCovPoissonRegressor().strength_path(X, y, [0.0, -2.0], **data)
    with pytest.raises(MissingSensitiveFeaturesError):
        DCovPoissonRegressor().strength_path(X, y, [0.0, 2.0])


def test_constant_attributes_warn_and_change_nothing(portfolio):
    X, y = portfolio["X"], portfolio["y"]
    with pytest.warns(SensitiveFeaturesWarning, match="nothing to penalise"):
        model = DCovPoissonRegressor(strength=5.0).fit(X, y, sensitive_features=np.full(len(y), "f"))
    assert model.penalty_value_ == 0
    np.testing.assert_allclose(model.coef_, PoissonRegressor(tol=1e-8).fit(X, y).coef_, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_not_enough_iterations_warn_and_say_what_to_do(portfolio):
    (X, y), data = _data(portfolio)
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        model = DCovPoissonRegressor(strength=50.0, alpha=1e-4, max_iter=3).fit(X, y, **data)
    assert model.converged_ is False


@pytest.mark.parametrize("strength", [1e-6, 1e3, 1e6])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_any_strength_stays_between_the_best_and_the_constant_model(portfolio, normalize, strength):
    (X, y), data = _data(portfolio)
    model = DCovPoissonRegressor(CCDCovPenalty(normalize=normalize), strength=strength, alpha=1e-4).fit(X, y, **data)
    unaware = DCovPoissonRegressor(strength=0, alpha=1e-4).fit(X, y, **data)
    w = portfolio["exposure"] / portfolio["exposure"].sum()
    mean = w @ y
    constant = w @ (np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / mean), 0.0))
    assert unaware.loss_value_ - 1e-9 <= model.loss_value_
    # At 1e-6 there is nothing to gain within tol: the model is the unaware one, its penalty the same but for rounding.
    assert model.penalty_value_ <= (1 + 1e-12) * unaware.penalty_value_
    assert model.objective_value_ <= unaware.loss_value_ + strength * unaware.penalty_value_ + 1e-2
    assert model.loss_value_ <= (1 + 1e-8) * constant
    assert np.isfinite(model.predict(X)).all()


def test_tweedie_parameters():
    X, y = np.arange(8.0)[:, None], np.arange(8.0) + 1
    with pytest.raises(ValueError, match="power must be <= 0 or >= 1"):
        DCovTweedieRegressor(strength=0, power=0.5).fit(X, y)
    with pytest.raises(ValueError, match="link must be one of"):
        DCovTweedieRegressor(strength=0, power=1.5, link="inverse").fit(X, y)
    with pytest.raises(ValueError, match="y > 0; found 1"):
        DCovGammaRegressor(strength=0).fit(X, y - 1)
    with pytest.raises(ValueError, match="positive mean"):
        DCovPoissonRegressor(strength=0).fit(X, np.zeros(8))


def test_classifier_targets():
    X = np.arange(8.0)[:, None]
    with pytest.raises(ValueError, match="Only binary classification"):
        DCovLogisticRegression(strength=0).fit(X, [0, 1, 2, 0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match="one class"):
        DCovLogisticRegression(strength=0).fit(X, np.ones(8))


# -- threads


def blas_threads():
    return [library.get_num_threads() for library in _libraries()]


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_threads_show_in_no_bit_of_a_fit(rng, layout):
    n = 40_000
    X, people = layout(rng.normal(size=(n, 4))), pd.DataFrame({"gender": rng.integers(0, 2, n).astype(str)})
    y = rng.poisson(np.exp(0.3 * X[:, 0] + 0.2 * (people["gender"] == "1"))) + 0.0
    first, second = (
        DCovPoissonRegressor(strength=1.0, alpha=1e-4, n_threads=threads).fit(X, y, sensitive_features=people)
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(first.coef_, second.coef_)
    assert first.objective_value_ == second.objective_value_


@pytest.mark.parametrize("fails", [False, True])
def test_a_fit_leaves_the_threads_of_the_blas_as_they_were(portfolio, fails):
    (X, y), data = _data(portfolio)

    class Failing(CCDCovPenalty):
        def bind(self, *given, **options):
            bound = super().bind(*given, **options)
            seen.append(blas_threads())
            evaluate = bound.value_gradient

            def value_gradient(u):
                seen.append(blas_threads())
                if fails and len(seen) > 3:
                    raise RuntimeError("in the middle of a fit")
                return evaluate(u)

            bound.value_gradient = value_gradient
            return bound

    seen = []
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        model = DCovPoissonRegressor(Failing(), strength=1.0, alpha=1e-3)
        if fails:
            with pytest.raises(RuntimeError, match="in the middle"):
                model.fit(X, y, **data)
        else:
            model.fit(X, y, **data)
        assert blas_threads() == before
    assert len(seen) > 3
    assert all(set(found) <= {1} for found in seen[1:])
