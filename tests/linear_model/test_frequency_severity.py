"""Two models and one penalty on their product: against each model on its own, and against finite differences."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLGBMRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    FrequencySeverityRegressor,
    JSDivergenceCalibrator,
    audit,
)
from fairdcov._fitting import (
    CoefficientObjective,
    HalfTweedieLoss,
    ProductCoefficientObjective,
    ProductObjective,
    RawObjective,
)
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import make_weighted_scorer, mean_deviance

FREQUENCY, SEVERITY = DCovPoissonRegressor(alpha=1e-3), DCovGammaRegressor(alpha=1e-3)


def joint(**options):
    return FrequencySeverityRegressor(FREQUENCY, SEVERITY, **options)


@pytest.fixture
def book(rng):
    """Women have more claims, men dearer ones: either model alone sees nothing of the other."""
    n = 1200
    gender = rng.integers(0, 2, n)
    X = pd.DataFrame({"a": gender + 0.7 * rng.normal(size=n), "b": rng.normal(size=n), "c": rng.normal(size=n)})
    exposure = rng.uniform(0.3, 1.0, n)
    claims = rng.poisson(exposure * np.exp(-0.3 + 0.5 * X["a"] + 0.2 * X["b"])).astype(float)
    cost = np.where(claims > 0, rng.gamma(2 * np.maximum(claims, 1), np.exp(5 + 0.3 * X["a"] - 0.3 * X["c"]) / 2), 0.0)
    return {
        "X": X,
        "y": cost / exposure,
        "given": {"sample_weight": exposure, "claims": claims, "sensitive_features": gender},
        "exposure": exposure,
        "claims": claims,
        "cost": cost,
        "gender": gender,
    }


def fit(book, model, **changed):
    return model.fit(book["X"], book["y"], **{**book["given"], **changed})


# ---------------------------------------------------------------------------------------------------------------------
# The fit
# ---------------------------------------------------------------------------------------------------------------------


def test_without_a_penalty_it_is_the_two_models(book):
    exact = {"strength": 0, "alpha": 1e-3, "tol": 1e-9}
    some = book["claims"] > 0
    frequency = DCovPoissonRegressor(**exact).fit(book["X"], book["claims"] / book["exposure"], book["exposure"])
    severity = DCovGammaRegressor(**exact).fit(
        book["X"][some], book["cost"][some] / book["claims"][some], book["claims"][some]
    )
    model = fit(book, joint(strength=0, balance=False, tol=1e-9))
    np.testing.assert_allclose(model.frequency_.coef_, frequency.coef_, atol=1e-7)
    np.testing.assert_allclose(model.severity_.coef_, severity.coef_, atol=1e-7)
    np.testing.assert_allclose(model.predict_frequency(book["X"]), frequency.predict(book["X"]), rtol=1e-6)
    np.testing.assert_allclose(model.predict_severity(book["X"]), severity.predict(book["X"]), rtol=1e-6)
    share = book["claims"].sum() / book["exposure"].sum()
    assert model.loss_value_ == pytest.approx(frequency.loss_value_ + share * severity.loss_value_)
    balanced = fit(book, joint(strength=0, tol=1e-9))
    np.testing.assert_allclose(balanced.severity_.coef_, severity.coef_, atol=1e-7)


@pytest.mark.parametrize("strength", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("penalty", [CCDCovPenalty(), CCDCovPenalty(normalize=False), CCDCovPenalty(scale="link")])
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_claims_and_cost_are_kept_in_balance(book, strength, penalty):
    strength = strength * 1e-3 if not penalty.normalize else strength
    model = fit(book, joint(strength=strength, penalty=penalty))
    exposure, X = book["exposure"], book["X"]
    assert exposure @ model.predict_frequency(X) == pytest.approx(book["claims"].sum(), rel=1e-10)
    assert exposure @ model.predict(X) == pytest.approx(book["cost"].sum(), rel=1e-10)
    np.testing.assert_allclose(model.predict(X), model.predict_frequency(X) * model.predict_severity(X))


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.parametrize("strength", [1e3, 1e6])
def test_a_fit_is_no_worse_than_two_constants(book, strength):
    constants = joint(strength=0).fit(np.ones((1200, 1)), book["y"], **book["given"])
    model = fit(book, joint(strength=strength))
    assert model.loss_value_ <= constants.loss_value_ * (1 + 1e-9)
    assert model.effective_strength_ <= strength


def test_a_model_without_an_intercept_has_no_balance(book):
    part = DCovPoissonRegressor(alpha=1e-3, fit_intercept=False)
    models = [fit(book, FrequencySeverityRegressor(part, SEVERITY, strength=0, balance=b)) for b in (True, False)]
    np.testing.assert_array_equal(models[0].predict(book["X"]), models[1].predict(book["X"]))
    assert models[0].frequency_.intercept_ == 0


@pytest.mark.parametrize("penalty", [CCDCovPenalty(), CCDCovPenalty(scale="link")], ids=["response", "link"])
def test_the_penalty_is_of_the_premium(book, penalty):
    model = fit(book, joint(strength=2.0, penalty=penalty))
    premium = model.predict(book["X"])
    u = np.log(premium) if penalty.scale == "link" else premium
    assert model.penalty_value_ == pytest.approx(penalty.bind(book["gender"], book["exposure"]).value(u), rel=1e-9)
    before = fit(book, joint(strength=0, penalty=penalty)).penalty_value_
    assert model.penalty_value_ < 0.5 * before
    assert model.objective_value_ == pytest.approx(
        model.loss_value_
        + 2.0 * model.penalty_value_
        + 5e-4 * model.frequency_.coef_ @ model.frequency_.coef_
        + 5e-4 * book["claims"].sum() / book["exposure"].sum() * model.severity_.coef_ @ model.severity_.coef_
    )


def test_one_penalty_costs_less_than_two(book):
    """At the same loss, less dependence of the premium than two models that each give up what they know."""
    some = book["claims"] > 0
    bound = CCDCovPenalty().bind(book["gender"], book["exposure"])
    share = book["claims"].sum() / book["exposure"].sum()
    path = joint().strength_path(book["X"], book["y"], np.geomspace(0.1, 100, 13), **book["given"])
    losses, penalties = np.array([(model.loss_value_, model.penalty_value_) for model in path]).T
    frequency = DCovPoissonRegressor(alpha=1e-3, strength=0.3).fit(
        book["X"], book["claims"] / book["exposure"], book["exposure"], sensitive_features=book["gender"]
    )
    severity = DCovGammaRegressor(alpha=1e-3, strength=0.3).fit(
        book["X"][some],
        book["cost"][some] / book["claims"][some],
        book["claims"][some],
        sensitive_features=book["gender"][some],
    )
    apart = bound.value(frequency.predict(book["X"]) * severity.predict(book["X"]))
    loss = frequency.loss_value_ + share * severity.loss_value_
    assert np.interp(loss, losses, penalties) < apart


@pytest.mark.parametrize("scale", ["response", "link"])
def test_the_gradient_against_finite_differences(rng, scale):
    n = 40
    X, Z = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    weights, claims = rng.uniform(0.5, 1.5, n), rng.integers(0, 3, n)
    objectives = [
        RawObjective(HalfTweedieLoss(1.0), claims / weights, weights / weights.sum(), offset=rng.normal(size=n)),
        RawObjective(HalfTweedieLoss(2.0), rng.gamma(2.0, size=n), claims / claims.sum()),
    ]
    penalty = CCDCovPenalty(scale=scale).bind(rng.integers(0, 3, n), weights)
    product = ProductObjective(objectives, (1.0, 0.4), np.ones(n), weights / weights.sum(), penalty)
    models = [CoefficientObjective(X, objectives[0], 0.1, True), CoefficientObjective(Z, objectives[1], 0.2, False)]
    objective = ProductCoefficientObjective(models, product)
    parameters = rng.normal(size=6) / 3
    _, gradient = objective.parts_gradient(parameters, 3.0)

    def total(step, position):
        moved = parameters.copy()
        moved[position] += step
        return objective.parts_gradient(moved, 3.0)[0].total

    h = 1e-6
    for position in range(6):
        slope = (total(h, position) - total(-h, position)) / (2 * h)
        assert slope == pytest.approx(gradient[position], rel=1e-4, abs=1e-7)
    # The expected Hessian of the losses is that of the gradient where responses are expected ones: block by block.
    hessian = objective.hessian(parameters)
    assert (hessian[:4, 4:] == 0).all()
    np.testing.assert_allclose(hessian[:4, :4], models[0].hessian(parameters[:4]))
    np.testing.assert_allclose(hessian[4:, 4:], 0.4 * models[1].hessian(parameters[4:]))
    np.testing.assert_allclose(np.diag(hessian), objective.hessian_diagonal(parameters))


def test_repeated_rows_are_weights(book):
    """Two half years with a claim each are a year with two."""
    model = fit(book, joint(strength=1.0))
    twice = pd.concat([book["X"]] * 2, ignore_index=True)
    halves = joint(strength=1.0).fit(
        twice,
        np.tile(book["y"], 2),
        np.tile(book["exposure"], 2),
        claims=np.tile(book["claims"], 2),
        sensitive_features=np.tile(book["gender"], 2),
    )
    np.testing.assert_allclose(halves.predict(book["X"]), model.predict(book["X"]), rtol=1e-2)


def test_rows_of_exposure_0_take_no_part(book):
    exposure = book["exposure"].copy()
    exposure[::4] = 0
    keep = exposure > 0
    some = fit(book, joint(strength=1.0), sample_weight=exposure)
    rest = joint(strength=1.0).fit(
        book["X"][keep],
        book["y"][keep],
        exposure[keep],
        claims=book["claims"][keep],
        sensitive_features=book["gender"][keep],
    )
    np.testing.assert_array_equal(some.predict(book["X"]), rest.predict(book["X"]))


# ---------------------------------------------------------------------------------------------------------------------
# Features and offsets
# ---------------------------------------------------------------------------------------------------------------------


def test_each_model_has_features_of_its_own(book):
    named = fit(book, joint(strength=1.0, frequency_features=["a", "b"], severity_features="c"))
    assert named.frequency_.coef_.shape == (2,)
    assert named.severity_.coef_.shape == (1,)
    by_position = FrequencySeverityRegressor(
        FREQUENCY, SEVERITY, strength=1.0, frequency_features=[0, 1], severity_features=[2]
    ).fit(book["X"].to_numpy(), book["y"], **book["given"])
    np.testing.assert_allclose(by_position.predict(book["X"].to_numpy()), named.predict(book["X"]))
    columns = [ColumnTransformer([("own", "passthrough", names)]) for names in (["a", "b"], ["c"])]
    piped = FrequencySeverityRegressor(
        make_pipeline(columns[0], FREQUENCY), make_pipeline(columns[1], SEVERITY), strength=1.0
    )
    fit(book, piped)
    np.testing.assert_allclose(piped.predict(book["X"]), named.predict(book["X"]))
    np.testing.assert_allclose(piped.frequency_.predict(book["X"]), named.predict_frequency(book["X"]))
    with pytest.raises(ValueError, match=r"severity_features names \['d'\], which X does not have"):
        fit(book, joint(severity_features=["d"]))
    with pytest.raises(ValueError, match="are not column positions of X"):
        joint(severity_features=["c"]).fit(book["X"].to_numpy(), book["y"], **book["given"])


def test_categories_go_through_pipelines(book, rng):
    X = book["X"].assign(make=rng.choice(["x", "y", "z"], len(book["X"])))
    columns = ColumnTransformer([("n", StandardScaler(), ["a", "b"]), ("l", OneHotEncoder(), ["make"])])
    model = FrequencySeverityRegressor(make_pipeline(columns, FREQUENCY), SEVERITY, severity_features=["c"])
    model.fit(X, book["y"], **book["given"])
    assert model.frequency_[-1].coef_.shape == (5,)
    assert list(model.feature_names_in_) == ["a", "b", "c", "make"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.drop(columns="make"))


def test_protected_columns_of_X_are_no_features(book):
    X = book["X"].assign(gender=book["gender"])
    model = joint(strength=1.0, sensitive_columns=["gender"])
    model.fit(X, book["y"], book["exposure"], claims=book["claims"])
    beside = fit(book, joint(strength=1.0))
    np.testing.assert_array_equal(model.predict(X), beside.predict(book["X"]))
    np.testing.assert_array_equal(model.predict(book["X"]), beside.predict(book["X"]))


def test_offsets_of_both_models(book, rng):
    n = len(book["X"])
    offsets = {"frequency_offset": rng.normal(size=n) / 3, "severity_offset": 5 + rng.normal(size=n) / 3}
    exact = {"strength": 0, "alpha": 1e-3, "tol": 1e-9}
    some = book["claims"] > 0
    frequency = DCovPoissonRegressor(**exact).fit(
        book["X"], book["claims"] / book["exposure"], book["exposure"], offset=offsets["frequency_offset"]
    )
    severity = DCovGammaRegressor(**exact).fit(
        book["X"][some],
        book["cost"][some] / book["claims"][some],
        book["claims"][some],
        offset=offsets["severity_offset"][some],
    )
    model = fit(book, joint(strength=0, balance=False, tol=1e-9), **offsets)
    np.testing.assert_allclose(model.frequency_.coef_, frequency.coef_, atol=1e-7)
    np.testing.assert_allclose(model.severity_.coef_, severity.coef_, atol=1e-7)
    model = fit(book, joint(strength=2.0), **offsets)
    premium = model.predict(book["X"], **offsets)
    assert model.penalty_value_ == pytest.approx(CCDCovPenalty().bind(book["gender"], book["exposure"]).value(premium))
    assert premium @ book["exposure"] == pytest.approx(book["cost"].sum())
    assert np.isfinite(model.score(book["X"], book["y"], book["exposure"], **offsets))
    for name, predict in (("severity_offset", model.predict_severity), ("frequency_offset", model.predict_frequency)):
        with pytest.raises(ValueError, match=f"was fitted with a {name}"):
            predict(book["X"])
    with pytest.raises(ValueError, match="fitted without a severity_offset"):
        fit(book, joint(strength=0)).predict(book["X"], severity_offset=0.0)
    for method in (model.fit, model.predict, model.score):
        given = () if method == model.predict else (book["y"],)
        with pytest.raises(
            TypeError, match=rf"{method.__name__}\(\.\.\., frequency_offset=offset\) for a known part of"
        ):
            method(book["X"], *given, offset=np.zeros(n))
    with pytest.raises(ValueError, match="severity_offset must have as many rows as X"):
        fit(book, joint(strength=0), severity_offset=np.zeros(3))


# ---------------------------------------------------------------------------------------------------------------------
# With the rest of the package
# ---------------------------------------------------------------------------------------------------------------------


def test_a_path_a_pickle_and_a_score(book):
    path = list(joint().strength_path(book["X"], book["y"], [0.0, 0.5, 5.0], **book["given"]))
    penalties = [model.penalty_value_ for model in path]
    assert penalties[0] > penalties[1] > penalties[2]
    single = fit(book, joint(strength=5.0))
    assert path[-1].penalty_value_ == pytest.approx(single.penalty_value_, rel=0.1)
    again = pickle.loads(pickle.dumps(single))
    np.testing.assert_array_equal(again.predict(book["X"]), single.predict(book["X"]))
    score = path[0].score(book["X"], book["y"], book["exposure"])
    deviance = mean_deviance(book["y"], path[0].predict(book["X"]), sample_weight=book["exposure"], power=1.5)
    mean = np.full(len(book["y"]), np.average(book["y"], weights=book["exposure"]))
    assert score == pytest.approx(
        1 - deviance / mean_deviance(book["y"], mean, sample_weight=book["exposure"], power=1.5)
    )


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")
@pytest.mark.parametrize("routing", [False, True])
def test_the_calibrator_and_the_report_take_it(book, routing, rng):
    options = {"strengths": [0, 1.0], "cv": 2, "rule": "score_budget", "score_budget": 1.0, "n_permutations": 2}
    offsets = {"frequency_offset": rng.normal(size=len(book["y"])) / 3}
    with sklearn.config_context(enable_metadata_routing=routing):
        calibrator = JSDivergenceCalibrator(joint(), verbose=0, **options)
        calibrator.fit(book["X"], book["y"], **book["given"], **offsets)
        premium = calibrator.predict(book["X"], **offsets)
    assert premium @ book["exposure"] == pytest.approx(book["cost"].sum())
    report = audit(book["y"], premium, book["gender"], sample_weight=book["exposure"], task="pure_premium")
    assert report is not None


def test_searches_route_claims(book):
    scorer = make_weighted_scorer(mean_deviance, greater_is_better=False, power=1.5)
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            joint(), book["X"], book["y"], params=book["given"], cv=2, scoring=scorer, error_score="raise"
        )
        assert np.isfinite(found["test_score"]).all()
        search = GridSearchCV(joint(), {"strength": [0, 1.0], "frequency__alpha": [1e-3, 1.0]}, cv=2)
        search.fit(book["X"], book["y"], **book["given"])
        assert search.best_params_["strength"] == 0


# ---------------------------------------------------------------------------------------------------------------------
# Input
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda book: {"claims": None}, "needs the number of claims of each row"),
        (lambda book: {"claims": np.maximum(book["claims"] - 1, 0)}, r"y has an amount without claims in \d+ row"),
        (lambda book: {"claims": book["claims"] + 1}, r"claims have no amount \(y is 0\) in \d+ row"),
        (lambda book: {"claims": book["claims"] / book["exposure"]}, "claims must be whole numbers"),
        (lambda book: {"claims": -book["claims"]}, "claims must not be negative"),
        (lambda book: {"claims": book["claims"][1:]}, "claims must have as many rows as X"),
        (lambda book: {"claims": np.where(book["claims"] > 1, np.nan, book["claims"])}, "claims must be finite"),
        (lambda book: {"sensitive_features": None}, "sensitive_features"),
        (lambda book: {"frequency_offset": np.full(1200, np.nan)}, "frequency_offset must be finite"),
    ],
    ids=["none", "amount alone", "claims alone", "rates", "negative", "short", "nan", "nobody", "offset"],
)
def test_what_is_refused(book, change, message):
    model = joint()
    with pytest.raises(ValueError, match=message):
        fit(book, model, **change(book))
    assert vars(model) == vars(joint()) | {"frequency": model.frequency, "severity": model.severity}


def test_nothing_but_rows_without_claims_is_refused(book):
    with pytest.raises(ValueError, match="must have a positive mean"):
        joint().fit(book["X"], np.zeros(1200), **{**book["given"], "claims": np.zeros(1200)})


@pytest.mark.parametrize("part", [DCovLGBMRegressor(), DCovRidge(), make_pipeline(StandardScaler(), DCovRidge())])
def test_parts_that_cannot_be_fitted_together(book, part):
    with pytest.raises(TypeError, match=r"frequency must be a model of fairdcov with a log link.*found DCov.*Networks"):
        fit(book, FrequencySeverityRegressor(part))


def test_parameters(book):
    for options, message in [({"power": 2.0}, "power"), ({"tol": 0}, "tol"), ({"balance": "no"}, "balance")]:
        with pytest.raises(ValueError, match=message):
            fit(book, joint(**options))
    with pytest.raises(ValueError, match="names sensitive_columns of its own"):
        fit(book, FrequencySeverityRegressor(DCovPoissonRegressor(sensitive_columns=["a"])))
    # Families other than the defaults.
    model = FrequencySeverityRegressor(FREQUENCY, DCovTweedieRegressor(power=3, link="log", alpha=1e-3), strength=0.1)
    assert fit(book, model).converged_


def test_labels_in_another_order_are_warned_about(book):
    claims = pd.Series(book["claims"]).sample(frac=1, random_state=0)
    with pytest.warns(SensitiveFeaturesWarning, match="claims"), pytest.raises(ValueError, match="claims"):
        fit(book, joint(), claims=claims)
