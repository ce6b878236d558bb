import pickle
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import fairdcov.metrics as fm
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.metrics import js_divergence, make_fairness_scorer, make_weighted_scorer

FAIRNESS = {
    "js": (fm.neg_js_divergence_scorer, fm.js_divergence),
    "net js": (fm.neg_net_js_divergence_scorer, partial(fm.js_divergence, net=True)),
    "ratio": (fm.neg_unfairness_ratio_scorer, fm.unfairness_ratio),
    "ks": (fm.neg_ks_disparity_scorer, fm.ks_disparity),
    "wasserstein": (fm.neg_wasserstein_disparity_scorer, fm.wasserstein_disparity),
    "gap": (fm.neg_demographic_parity_gap_scorer, fm.demographic_parity_gap),
    "tiers": (fm.neg_tier_parity_gap_scorer, fm.tier_parity_gap),
    "dcov": (fm.neg_dcov_scorer, fm.dcov),
    "jdcov": (fm.neg_jdcov_scorer, fm.jdcov),
    "ccdcov": (fm.neg_ccdcov_scorer, fm.ccdcov),
}
SCORES = {
    "poisson": fm.neg_poisson_deviance_scorer,
    "gamma": fm.neg_gamma_deviance_scorer,
    "rmse": fm.neg_root_mean_squared_error_scorer,
    "log loss": fm.neg_log_loss_scorer,
    "brier": fm.neg_brier_scorer,
    "rps": fm.neg_rps_scorer,
    "gini": fm.gini_scorer,
    "tweedie": make_weighted_scorer(fm.mean_deviance, greater_is_better=False, power=1.5),
}
ALL = {name: scorer for name, (scorer, _) in FAIRNESS.items()} | SCORES


class Shrunk(RegressorMixin, BaseEstimator):
    """Takes the group means out of the prediction, the more the larger the strength; asks for its metadata itself."""

    __metadata_request__fit = {"sensitive_features": True, "sample_weight": True}  # noqa: RUF012

    def __init__(self, strength=0.0):
        self.strength = strength

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None):
        assert sensitive_features is not None
        assert len(sensitive_features) == len(y)
        self.mean_ = np.average(y, weights=sample_weight)
        return self

    def predict(self, X):
        return self.mean_ * np.exp((1 - self.strength) * np.asarray(X)[:, 0])


@pytest.fixture
def data(book):
    people, prediction, exposure = book
    rng = np.random.default_rng(4)
    X = np.column_stack([np.log(prediction) + 2, rng.normal(size=len(people))])
    y = rng.poisson(5 * exposure * prediction) / exposure
    return X, y, people, exposure


def folds():
    return KFold(3, shuffle=True, random_state=0)


# --- direct calls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAIRNESS)
def test_direct_call_is_the_negated_metric(data, name):
    X, y, people, exposure = data
    scorer, metric = FAIRNESS[name]
    model = PoissonRegressor().fit(X, y, exposure)
    expected = -metric(y, model.predict(X), sensitive_features=people, sample_weight=exposure)
    assert scorer(model, X, y, sensitive_features=people, sample_weight=exposure) == expected < 0
    unweighted = -metric(y, model.predict(X), sensitive_features=people)
    assert scorer(model, X, y, sensitive_features=people) == unweighted != expected
    assert scorer(model, X, sensitive_features=people) == unweighted


@pytest.mark.parametrize("name", FAIRNESS)
def test_without_sensitive_features_the_message_says_what_to_pass(data, name):
    X, y, _, exposure = data
    model = Ridge().fit(X, y)
    with pytest.raises(MissingSensitiveFeaturesError) as caught:
        FAIRNESS[name][0](model, X, y, sample_weight=exposure)
    for part in ("enable_metadata_routing=True", "params={'sensitive_features': S}", "sensitive_columns=["):
        assert part in str(caught.value)


def test_weighted_scorers_are_those_of_scikit_learn(data):
    X, y, _, exposure = data
    y = y + 0.1
    model = PoissonRegressor().fit(X, y, exposure)
    u = model.predict(X)
    references = {
        "poisson": sk.mean_poisson_deviance,
        "gamma": sk.mean_gamma_deviance,
        "rmse": sk.root_mean_squared_error,
        "tweedie": lambda *a, **k: sk.mean_tweedie_deviance(*a, power=1.5, **k),
    }
    for name, reference in references.items():
        expected = -reference(y, u, sample_weight=exposure)
        assert SCORES[name](model, X, y, sample_weight=exposure) == pytest.approx(expected, rel=1e-12)
        assert SCORES[name](model, X, y) == pytest.approx(-reference(y, u), rel=1e-12)
    assert fm.gini_scorer(model, X, y, sample_weight=exposure) == fm.gini(y, u, sample_weight=exposure)


def test_rps_scorer_takes_frequencies_with_their_exposure(data):
    X, y, _, exposure = data
    model = PoissonRegressor().fit(X, y, exposure)
    expected = -fm.rps(np.rint(y * exposure), exposure * model.predict(X))
    assert fm.neg_rps_scorer(model, X, y, sample_weight=exposure) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="whole numbers"):
        fm.neg_rps_scorer(model, X, y)


@pytest.mark.parametrize("labels", [("no", "yes"), (0, 1), (-1, 1)])
def test_classifiers_are_asked_for_the_probability_of_the_second_class(data, labels):
    X, y, people, exposure = data
    target = np.where(y > 0, labels[1], labels[0])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, target)
    p = model.predict_proba(X)[:, 1]
    found = fm.neg_log_loss_scorer(model, X, target, sample_weight=exposure)
    assert found == pytest.approx(-sk.log_loss(y > 0, p, sample_weight=exposure), rel=1e-12)
    found = fm.neg_brier_scorer(model, X, target)
    assert found == pytest.approx(-np.mean(((y > 0) - p) ** 2), rel=1e-12)
    assert fm.neg_js_divergence_scorer(model, X, target, sensitive_features=people) == -js_divergence(
        None, p, sensitive_features=people
    )
    with pytest.raises(ValueError, match="not fitted on"):
        fm.neg_brier_scorer(model, X, np.where(y > 0, "17" if labels[0] == "no" else 17, labels[0]))


def test_response_methods(data):
    X, y, people, _ = data
    target = (y > 0).astype(int)
    svc = LinearSVC().fit(X, target)
    with pytest.raises(TypeError, match="LinearSVC has no predict_proba"):
        fm.neg_js_divergence_scorer(svc, X, target, sensitive_features=people)
    for method in ("decision_function", "predict"):
        scorer = make_fairness_scorer(fm.demographic_parity_gap, response_method=method)
        expected = -fm.demographic_parity_gap(None, getattr(svc, method)(X), sensitive_features=people)
        assert scorer(svc, X, target, sensitive_features=people) == expected
    three = LogisticRegression().fit(X, np.digitize(y, [0.1, 2.0]))
    with pytest.raises(ValueError, match="two columns"):
        fm.neg_js_divergence_scorer(three, X, sensitive_features=people)


def test_options_reach_the_metric(data):
    X, y, people, _ = data
    people = people.assign(age=np.random.default_rng(0).normal(40, 10, len(people)))
    model = Ridge().fit(X, y)
    with pytest.raises(ValueError, match=r"'age' is numeric with \d+ distinct values"):
        fm.neg_js_divergence_scorer(model, X, y, sensitive_features=people)
    options = {"bins": {"age": [-np.inf, 30, 50, np.inf]}, "bandwidth": 0.15}
    scorer = make_fairness_scorer(js_divergence, **options)
    expected = -js_divergence(None, model.predict(X), sensitive_features=people, **options)
    assert scorer(model, X, y, sensitive_features=people) == expected


def test_a_metric_of_the_user_that_grows_with_fairness_and_knows_no_weights(data):
    X, y, people, exposure = data

    def similarity(y_true, y_pred, *, sensitive_features):
        return 1 - fm.ks_disparity(y_true, y_pred, sensitive_features=sensitive_features)

    scorer = make_fairness_scorer(similarity, greater_is_better=True)
    model = Ridge().fit(X, y)
    assert scorer(model, X, y, sensitive_features=people) == similarity(y, model.predict(X), sensitive_features=people)
    assert set(scorer.requests) == {"sensitive_features", "offset"}
    with sklearn.config_context(enable_metadata_routing=True):
        model = Ridge().set_fit_request(sample_weight=True)
        params = {"sensitive_features": people, "sample_weight": exposure}
        assert np.isfinite(cross_val_score(model, X, y, scoring=scorer, params=params)).all()


# --- objects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_pickle_clone_and_repr(data, name):
    X, y, people, exposure = data
    scorer = ALL[name]
    y = (y > 0).astype(float)
    model = LogisticRegression().fit(X, y)
    metadata = {"sample_weight": exposure * 0 + 1}
    if "sensitive_features" in scorer.requests:
        metadata["sensitive_features"] = people
    if name in ("gamma", "tweedie"):
        y = y + 1.0
        model = PoissonRegressor().fit(X, y)
    for copy in (pickle.loads(pickle.dumps(scorer)), clone(scorer), eval(repr(scorer), vars(fm) | {"power": None})):
        assert copy(model, X, y, **metadata) == scorer(model, X, y, **metadata)
        assert repr(copy) == repr(scorer)


def test_repr_tells_what_differs():
    assert repr(fm.neg_js_divergence_scorer) == "make_fairness_scorer(js_divergence)"
    scorer = make_fairness_scorer(
        js_divergence, greater_is_better=True, response_method="predict", sensitive_columns=["g"], bandwidth=0.15
    ).with_requests(sample_weight="exposure")
    assert repr(scorer) == (
        "make_fairness_scorer(js_divergence, greater_is_better=True, response_method='predict', "
        "sensitive_columns=['g'], bandwidth=0.15).with_requests(sample_weight='exposure')"
    )


def test_with_requests_leaves_the_scorer_as_it_is():
    changed = fm.neg_js_divergence_scorer.with_requests(sample_weight=False)
    kept = {"sensitive_features": True, "control_features": True, "offset": True}
    assert changed.requests == {**kept, "sample_weight": False}
    assert all(request is True for request in fm.neg_js_divergence_scorer.requests.values())
    with pytest.raises(TypeError, match="takes the metadata"):
        fm.gini_scorer.with_requests(sensitive_features=True)
    with pytest.raises(ValueError, match="should be either a valid identifier"):
        fm.gini_scorer.with_requests(sample_weight=3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make_fairness_scorer("js"), TypeError, "metric must be callable"),
        (lambda: make_fairness_scorer(js_divergence, greater_is_better=-1), TypeError, "greater_is_better"),
        (lambda: make_fairness_scorer(js_divergence, response_method="proba"), ValueError, "response_method"),
        (lambda: make_fairness_scorer(js_divergence, sensitive_columns="age"), TypeError, "list of column names"),
        (lambda: make_weighted_scorer(fm.gini, weight_argument="exposure"), TypeError, "no argument 'exposure'"),
        (lambda: make_weighted_scorer(3), TypeError, "metric must be callable"),
    ],
)
def test_wrong_arguments_of_the_factories(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- routing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAIRNESS)
@pytest.mark.usefixtures("routing")
def test_cross_validate_routes_the_rows_of_the_fold(data, name):
    X, y, people, exposure = data
    scorer, metric = FAIRNESS[name]
    model = PoissonRegressor().set_fit_request(sample_weight=True)
    params = {"sensitive_features": people, "sample_weight": exposure}
    found = cross_validate(model, X, y, scoring=scorer, params=params, cv=folds())["test_score"]
    expected = []
    for train, test in folds().split(X):
        fitted = clone(model).fit(X[train], y[train], exposure[train])
        u = fitted.predict(X[test])
        expected.append(-metric(y[test], u, sensitive_features=people.iloc[test], sample_weight=exposure[test]))
    assert found == pytest.approx(np.array(expected), rel=1e-10)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("convert", [lambda s: pl.DataFrame(s.to_dict("list")), lambda s: s.to_numpy()])
def test_containers_are_sliced(data, convert):
    X, y, people, _ = data
    scores = [
        cross_val_score(
            Ridge(), X, y, scoring=fm.neg_js_divergence_scorer, params={"sensitive_features": s}, cv=folds()
        )
        for s in (people, convert(people))
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-10)
    assert (scores[0] < 0).all()


@pytest.mark.usefixtures("routing")
def test_weights_under_another_name_and_refused(data):
    X, y, people, exposure = data
    params = {"sensitive_features": people, "exposure": exposure}
    scoring = {
        "own": fm.neg_js_divergence_scorer.with_requests(sample_weight="exposure"),
        "plain": fm.neg_js_divergence_scorer.with_requests(sample_weight=False),
        "deviance": fm.neg_poisson_deviance_scorer.with_requests(sample_weight="exposure"),
    }
    found = cross_validate(PoissonRegressor(), X, y, scoring=scoring, params=params, cv=folds())
    train, test = next(folds().split(X))
    model = PoissonRegressor().fit(X[train], y[train])
    u = model.predict(X[test])
    weighted = js_divergence(None, u, sensitive_features=people.iloc[test], sample_weight=exposure[test])
    assert found["test_own"][0] == pytest.approx(-weighted)
    assert found["test_plain"][0] == pytest.approx(-js_divergence(None, u, sensitive_features=people.iloc[test]))
    deviance = sk.mean_poisson_deviance(y[test], u, sample_weight=exposure[test])
    assert found["test_deviance"][0] == pytest.approx(-deviance)


@pytest.mark.usefixtures("routing")
def test_without_the_attributes_a_search_raises_or_warns(data):
    X, y, _, _ = data
    scorer = fm.neg_js_divergence_scorer
    with pytest.raises(MissingSensitiveFeaturesError, match="sensitive_features"):
        cross_validate(Ridge(), X, y, scoring=scorer, error_score="raise")
    with pytest.warns(UserWarning, match="MissingSensitiveFeaturesError"):
        scores = cross_validate(Ridge(), X, y, scoring=scorer)["test_score"]
    assert np.isnan(scores).all()


@pytest.mark.usefixtures("routing")
def test_metadata_that_nobody_asks_for_still_raise(data):
    X, y, people, _ = data
    with pytest.raises(TypeError, match="gender_of"):
        cross_validate(Ridge(), X, y, scoring=fm.neg_js_divergence_scorer, params={"gender_of": people})


@pytest.mark.usefixtures("routing")
def test_grid_search_with_one_metric(data):
    X, y, people, exposure = data
    search = GridSearchCV(Shrunk(), {"strength": [0.0, 0.9, 0.5]}, scoring=fm.neg_js_divergence_scorer, cv=folds())
    wide = make_fairness_scorer(js_divergence, bandwidth=0.05)
    search.set_params(scoring=wide).fit(X, y, sensitive_features=people, sample_weight=exposure)
    assert search.best_params_ == {"strength": 0.9}
    score = search.score(X, y, sensitive_features=people, sample_weight=exposure)
    assert score == wide(search.best_estimator_, X, y, sensitive_features=people, sample_weight=exposure)
    assert "make_fairness_scorer(js_divergence, bandwidth=0.05)" in repr(search)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search_with_several_metrics(data, n_jobs):
    X, y, people, exposure = data
    scoring = {
        "score": fm.neg_poisson_deviance_scorer,
        "divergence": make_fairness_scorer(js_divergence, bandwidth=0.05),
        "gap": fm.neg_demographic_parity_gap_scorer,
    }
    strengths = [0.0, 0.3, 0.6, 0.9]
    options = {"scoring": scoring, "cv": folds(), "n_jobs": n_jobs}
    metadata = {"sensitive_features": people, "sample_weight": exposure}
    if not n_jobs:
        # scikit-learn's own scorers must say that they do not want the weights.
        scoring["rmse"] = sk.get_scorer("neg_root_mean_squared_error").set_score_request(sample_weight=False)
    searches = {}
    for rule in (
        fm.lowest_divergence_within(0.002),
        fm.lowest_divergence_within(10.0),
        fm.best_score_below(10.0),
        "divergence",
    ):
        search = GridSearchCV(Shrunk(), {"strength": strengths}, refit=rule, **options)
        searches[repr(rule)] = search.fit(X, y, **metadata)
    results = search.cv_results_
    assert (np.diff(results["mean_test_gap"]) > 0).all()
    chosen = [search.best_params_["strength"] for search in searches.values()]
    assert chosen[1] == chosen[3] == 0.9
    loss = results["mean_test_score"].max() * 1.002
    assert chosen[0] == max(strengths[k] for k in range(4) if results["mean_test_score"][k] >= loss) < 0.9
    assert chosen[2] == strengths[int(np.argmax(results["mean_test_score"]))]
    train, test = next(folds().split(X))
    u = Shrunk(0.3).fit(X[train], y[train], exposure[train], sensitive_features=people.iloc[train]).predict(X[test])
    expected = sk.mean_poisson_deviance(y[test], u, sample_weight=exposure[test])
    assert results["split0_test_score"][1] == pytest.approx(-expected)


@pytest.mark.usefixtures("routing")
def test_limit_that_no_candidate_meets(data):
    X, y, people, _ = data
    scoring = {"score": fm.neg_root_mean_squared_error_scorer, "divergence": fm.neg_ks_disparity_scorer}
    search = GridSearchCV(Shrunk(), {"strength": [0.0, 0.5]}, scoring=scoring, refit=fm.best_score_below(1e-6))
    with pytest.raises(
        ValueError, match=r"no candidate has a mean 'divergence' of at most 1e-06: the lowest reached is"
    ):
        search.fit(X, y, sensitive_features=people)


@pytest.mark.usefixtures("routing")
def test_halving_grid_search(data):
    X, y, people, exposure = data
    search = HalvingGridSearchCV(
        Shrunk(),
        {"strength": [0.0, 0.2, 0.5, 0.9]},
        scoring=make_fairness_scorer(js_divergence, bandwidth=0.05),
        cv=KFold(2, shuffle=True, random_state=0),
        min_resources=400,
        random_state=0,
    ).fit(X, y, sensitive_features=people, sample_weight=exposure)
    assert search.best_params_ == {"strength": 0.9}
    assert search.n_iterations_ == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.usefixtures("routing")
def test_random_search_around_a_pipeline(data):
    X, y, people, exposure = data
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), Shrunk())
    search = RandomizedSearchCV(
        pipeline, {"shrunk__strength": [0.0, 0.9]}, n_iter=2, scoring=fm.neg_demographic_parity_gap_scorer, cv=folds()
    ).fit(X, y, sensitive_features=people, sample_weight=exposure)
    assert search.best_params_ == {"shrunk__strength": 0.9}


# --- without routing -----------------------------------------------------------------------------------------------


def test_columns_of_X_serve_searches_without_routing(data):
    X, y, people, _ = data
    table = pd.DataFrame(X, columns=["x", "z"]).join(people)
    model = make_pipeline(
        sklearn.preprocessing.FunctionTransformer(lambda frame: frame[["x", "z"]].to_numpy()), Ridge()
    )
    for convert in (lambda frame: frame, lambda frame: pl.DataFrame(frame.to_dict("list"))):
        scorer = make_fairness_scorer(js_divergence, sensitive_columns=["region", "gender"])
        found = cross_validate(
            model, convert(table), y, scoring={"js": scorer, "rmse": fm.neg_root_mean_squared_error_scorer}, cv=folds()
        )
        train, test = next(folds().split(X))
        u = Ridge().fit(X[train], y[train]).predict(X[test])
        expected = -js_divergence(None, u, sensitive_features=people.iloc[test])
        assert found["test_js"][0] == pytest.approx(expected, rel=1e-9)
    fitted = Ridge().fit(X, y)
    with pytest.raises(TypeError, match="needs X to be a DataFrame; found ndarray"):
        scorer(fitted, X, y)
    with pytest.raises(ValueError, match=r"names \['region', 'gender'\], which X does not have"):
        scorer(fitted, table[["x", "z"]], y)


def test_passed_attributes_come_before_columns(data):
    X, y, people, _ = data
    model = Ridge().fit(X, y)
    scorer = make_fairness_scorer(fm.ks_disparity, sensitive_columns=["gender"])
    expected = -fm.ks_disparity(None, model.predict(X), sensitive_features=people["region"])
    assert scorer(model, X, y, sensitive_features=people["region"]) == expected


@pytest.mark.parametrize("several", [False, True])
def test_weights_without_routing(data, several):
    """Searches pass sample_weight on to scorers that take it, but no weights that are meant for a step."""
    X, y, people, exposure = data
    table = pd.DataFrame(X, columns=["x", "z"]).join(people)
    model = make_pipeline(
        sklearn.preprocessing.FunctionTransformer(lambda frame: frame[["x", "z"]].to_numpy()), PoissonRegressor()
    )
    scorer = make_fairness_scorer(fm.demographic_parity_gap, sensitive_columns=["gender"])
    scoring = {"score": fm.neg_poisson_deviance_scorer, "gap": scorer} if several else fm.neg_poisson_deviance_scorer
    search = GridSearchCV(model, {"poissonregressor__alpha": [0.1]}, scoring=scoring, refit=False, cv=folds())
    search.fit(table, y, poissonregressor__sample_weight=exposure)
    train, test = next(folds().split(X))
    u = PoissonRegressor(alpha=0.1).fit(X[train], y[train], exposure[train]).predict(X[test])
    expected = -sk.mean_poisson_deviance(y[test], u)
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(expected, rel=1e-6)
    plain = GridSearchCV(PoissonRegressor(), {"alpha": [0.1]}, scoring=fm.neg_poisson_deviance_scorer, cv=folds())
    if several:
        plain.set_params(scoring={"score": fm.neg_poisson_deviance_scorer, "gini": fm.gini_scorer}, refit="score")
    plain.fit(X, y, sample_weight=exposure)
    weighted = -sk.mean_poisson_deviance(y[test], u, sample_weight=exposure[test])
    found = plain.cv_results_["split0_test_score"][0]
    assert found == pytest.approx(weighted, rel=1e-6)
    assert weighted != pytest.approx(expected, rel=1e-3)


def test_metadata_request_is_there_at_import_time():
    for scorer in ALL.values():
        request = scorer.get_metadata_routing()
        assert request.score.requests["sample_weight"] is True
        assert ("sensitive_features" in request.score.requests) == (scorer in [s for s, _ in FAIRNESS.values()])
