"""An offset is a known part of the prediction: in the loss, in the penalty, in the guard, in what is predicted."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

import fairdcov
from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)
from fairdcov._fitting import FAMILIES, HalfTweedieLoss, RawObjective
from fairdcov.exceptions import SensitiveFeaturesWarning

EXACT = {"alpha": 0, "tol": 1e-10, "max_iter": 1000}


@pytest.fixture
def book(rng):
    """Features, an offset that varies a lot, claim rates, exposure, and an attribute that the offset depends on."""
    n = 600
    gender = rng.integers(0, 2, n)
    X = np.column_stack([gender + rng.normal(size=n), rng.normal(size=n)])
    offset = np.log(0.1) + 0.8 * gender + 0.5 * rng.normal(size=n)
    exposure = rng.uniform(0.2, 1.0, n)
    mean = np.exp(offset + 0.3 * X[:, 0] - 0.2 * X[:, 1])
    return {
        "X": X,
        "offset": offset,
        "exposure": exposure,
        "gender": gender,
        "rate": rng.poisson(5 * exposure * mean) / exposure,
        "cost": rng.gamma(2.0, mean / 2.0),
    }


@pytest.mark.parametrize("sparse", [False, True])
def test_a_poisson_offset_is_dividing_by_hand(book, sparse):
    """claims ~ Poisson(exposure * base * mu): y = claims / (exposure * base) with weights exposure * base."""
    from scipy import sparse as sp

    X = sp.csr_matrix(book["X"]) if sparse else book["X"]
    base = np.exp(book["offset"])
    by_hand = DCovPoissonRegressor(strength=0, **EXACT)
    by_hand.fit(X, book["rate"] / base, sample_weight=book["exposure"] * base)
    model = DCovPoissonRegressor(strength=0, **EXACT)
    model.fit(X, book["rate"], sample_weight=book["exposure"], offset=book["offset"])
    np.testing.assert_allclose(model.coef_, by_hand.coef_, atol=1e-8)
    assert model.intercept_ == pytest.approx(by_hand.intercept_, abs=1e-8)
    np.testing.assert_allclose(model.predict(X, offset=book["offset"]), base * by_hand.predict(X), rtol=1e-8)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_any_tweedie_offset_is_dividing_by_hand(book, power):
    """The deviance of (y, b mu) is b^(2 - p) times that of (y / b, mu)."""
    y = book["cost"] if power == 2 else book["rate"]
    base = np.exp(book["offset"])
    settings = {"strength": 0, "power": power, "link": "log", **EXACT}
    by_hand = DCovTweedieRegressor(**settings)
    by_hand.fit(book["X"], y / base, sample_weight=book["exposure"] * base ** (2 - power))
    model = DCovTweedieRegressor(**settings)
    model.fit(book["X"], y, sample_weight=book["exposure"], offset=book["offset"])
    np.testing.assert_allclose(model.coef_, by_hand.coef_, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "target", "family"),
    [
        (DCovPoissonRegressor(), "rate", lambda sm: sm.families.Poisson()),
        (DCovGammaRegressor(), "cost", lambda sm: sm.families.Gamma(sm.families.links.Log())),
        (DCovNegativeBinomialRegressor(dispersion=0.7), "rate", lambda sm: sm.families.NegativeBinomial(alpha=0.7)),
        (DCovTweedieRegressor(power=1.5), "rate", lambda sm: sm.families.Tweedie(var_power=1.5)),
        (DCovRidge(), "cost", lambda sm: sm.families.Gaussian()),
    ],
    ids=["poisson", "gamma", "negative binomial", "tweedie", "gaussian"],
)
def test_coefficients_are_those_of_statsmodels(book, model, target, family):
    sm = pytest.importorskip("statsmodels.api")
    X, y = book["X"], book[target]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sm.GLM(
            y, sm.add_constant(X), family=family(sm), offset=book["offset"], freq_weights=book["exposure"]
        ).fit(tol=1e-12, maxiter=200)
    model = model.set_params(strength=0, **EXACT)
    model.fit(X, y, sample_weight=book["exposure"], offset=book["offset"])
    np.testing.assert_allclose([model.intercept_, *model.coef_], expected.params, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(X, offset=book["offset"]), expected.predict(sm.add_constant(X), offset=book["offset"]), rtol=1e-5
    )


def test_log_odds_take_an_offset_as_in_statsmodels(book):
    sm = pytest.importorskip("statsmodels.api")
    y = (book["cost"] > np.median(book["cost"])).astype(int)
    expected = sm.GLM(y, sm.add_constant(book["X"]), family=sm.families.Binomial(), offset=book["offset"]).fit()
    model = DCovLogisticRegression(strength=0, **EXACT).fit(book["X"], y, offset=book["offset"])
    np.testing.assert_allclose([*model.intercept_, *model.coef_[0]], expected.params, atol=1e-6)
    probability = model.predict_proba(book["X"], offset=book["offset"])[:, 1]
    np.testing.assert_allclose(probability, expected.fittedvalues, atol=1e-6)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(book["X"], offset=book["offset"]))[:, 1], probability)
    labels = model.predict(book["X"], offset=book["offset"])
    assert model.score(book["X"], y, offset=book["offset"]) == np.mean(labels == y)
    with pytest.raises(ValueError, match="fitted with an offset"):
        model.score(book["X"], y)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_an_offset_of_zero_is_none(book, strength):
    settings = {"strength": strength, "alpha": 1e-3, "tol": 1e-6}
    data = {"sample_weight": book["exposure"], "sensitive_features": book["gender"]}
    without = DCovPoissonRegressor(**settings).fit(book["X"], book["rate"], **data)
    zero = DCovPoissonRegressor(**settings).fit(book["X"], book["rate"], **data, offset=0.0)
    np.testing.assert_allclose(zero.coef_, without.coef_, atol=1e-6)
    assert zero.score(book["X"], book["rate"], offset=np.zeros(600)) == pytest.approx(
        without.score(book["X"], book["rate"])
    )


def test_the_penalty_sees_the_whole_prediction(book):
    """The trick of dividing by the base leaves the base's dependence in the premium; the offset does not."""
    X, base = book["X"], np.exp(book["offset"])
    penalty = CCDCovPenalty()
    bound = penalty.bind(book["gender"], book["exposure"])
    settings = {"strength": 3.0, "alpha": 1e-3, "penalty": penalty}
    data = {"sensitive_features": book["gender"], "sample_weight": book["exposure"]}
    model = DCovPoissonRegressor(**settings).fit(X, book["rate"], **data, offset=book["offset"])
    premium = model.predict(X, offset=book["offset"])
    assert model.penalty_value_ == pytest.approx(bound.value(premium), rel=1e-9)
    data["sample_weight"] = book["exposure"] * base
    relativity = DCovPoissonRegressor(**settings).fit(X, book["rate"] / base, **data)
    assert bound.value(premium) < bound.value(base * relativity.predict(X))
    # Balance: the Poisson total is the observed one whatever the offset.
    assert premium @ book["exposure"] == pytest.approx(book["rate"] @ book["exposure"], rel=1e-3)


def test_the_path_goes_along_with_the_offset(book):
    path = DCovPoissonRegressor(alpha=1e-3).strength_path(
        book["X"], book["rate"], [0.0, 1.0], book["exposure"], sensitive_features=book["gender"], offset=book["offset"]
    )
    for model in path:
        single = DCovPoissonRegressor(alpha=1e-3, strength=model.strength).fit(
            book["X"], book["rate"], book["exposure"], sensitive_features=book["gender"], offset=book["offset"]
        )
        np.testing.assert_allclose(
            model.predict(book["X"], offset=book["offset"]), single.predict(book["X"], offset=book["offset"]), rtol=1e-3
        )
        with pytest.raises(ValueError, match="pass the offset"):
            model.predict(book["X"])


def test_a_fit_is_no_worse_than_offset_and_constant(book):
    data = {"sensitive_features": book["gender"], "sample_weight": book["exposure"], "offset": book["offset"]}
    with pytest.warns(fairdcov.exceptions.StrengthWarning):
        model = DCovPoissonRegressor(alpha=1e-3, strength=1e6).fit(book["X"], book["rate"], **data)
    objective = RawObjective(
        HalfTweedieLoss(1.0), book["rate"], book["exposure"] / book["exposure"].sum(), offset=book["offset"]
    )
    assert model.loss_value_ <= objective.constant_loss() * (1 + 1e-9)


LOSSES = [family.loss() for family in FAMILIES.values()]
LOSSES += [HalfTweedieLoss(0.0, "identity"), HalfTweedieLoss(1.0, "identity"), HalfTweedieLoss(2.0, "identity")]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name} {loss.link}")
def test_the_constant_beside_an_offset_is_the_best(loss, rng):
    y = rng.integers(0, 2, 50).astype(float) if loss.target_range == "binary" else rng.uniform(0.5, 3.0, 50)
    offset = rng.uniform(0.5, 1.0, 50)
    objective = RawObjective(loss, y, np.full(50, 1 / 50), offset=offset)
    best = objective.constant_loss()
    for step in (-1e-3, 1e-3):
        assert best < objective.mean_loss(np.full(50, objective.constant() + step))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.name} {loss.link}")
def test_an_offset_only_moves_where_things_are_evaluated(loss, rng):
    y = rng.integers(0, 2, 30).astype(float) if loss.target_range == "binary" else rng.uniform(0.5, 3.0, 30)
    raw, offset = rng.uniform(0.2, 1.0, 30), rng.uniform(0.2, 1.0, 30)
    penalty = CCDCovPenalty().bind(rng.integers(0, 3, 30))
    probabilities = np.full(30, 1 / 30)
    with_offset = RawObjective(loss, y, probabilities, penalty, offset)
    without = RawObjective(loss, y, probabilities, penalty)
    for found, expected in zip(with_offset.terms(raw, 2.0), without.terms(raw + offset, 2.0), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(with_offset.curvature(raw), without.curvature(raw + offset))
    np.testing.assert_array_equal(with_offset.response(raw), without.response(raw + offset))
    np.testing.assert_array_equal(with_offset.prediction(raw), without.prediction(raw + offset))
    assert with_offset.penalty_value(raw) == without.penalty_value(raw + offset)


def test_rows_of_weight_0_take_no_part(book):
    weights = book["exposure"].copy()
    weights[::3] = 0
    keep = weights > 0
    offset = book["offset"].copy()
    settings = {"strength": 0.5, "alpha": 1e-3}
    some = DCovPoissonRegressor(**settings).fit(
        book["X"], book["rate"], weights, sensitive_features=book["gender"], offset=offset
    )
    rest = DCovPoissonRegressor(**settings).fit(
        book["X"][keep], book["rate"][keep], weights[keep], sensitive_features=book["gender"][keep], offset=offset[keep]
    )
    np.testing.assert_array_equal(some.coef_, rest.coef_)


# ---------------------------------------------------------------------------------------------------------------------
# Input
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (lambda offset: np.log(np.r_[0.0, np.exp(offset[1:])]), "offset must be finite; found 1 infinite"),
        (lambda offset: np.r_[np.nan, offset[1:]], "offset must be finite; found 1 NaN"),
        (lambda offset: offset[:-1], "offset must have as many rows as X: found 599 instead of 600"),
        (
            lambda offset: offset[:, None],
            r"offset must have one dimension, \(n,\), or be a number; found shape \(600, 1\)",
        ),
        (lambda offset: pd.DataFrame({"offset": offset}), r"found shape \(600, 1\)"),
        (lambda offset: offset.astype(str), "offset must be numeric"),
        (lambda offset: float("nan"), "offset must be finite"),
        (lambda offset: "log_base", r"found shape \(\)"),
    ],
    ids=["minus infinity", "nan", "short", "column", "frame", "text", "one nan", "name"],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_offsets_that_are_none(book, offset, message):
    model = DCovPoissonRegressor(strength=0)
    with pytest.raises(ValueError, match=message):
        model.fit(book["X"], book["rate"], offset=offset(book["offset"]))
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "fitted_with_offset_")
    model.fit(book["X"], book["rate"], offset=book["offset"])
    with pytest.raises(ValueError, match=message):
        model.predict(book["X"], offset=offset(book["offset"]))


def test_an_offset_in_fit_is_one_in_predict(book):
    model = DCovPoissonRegressor(strength=0).fit(book["X"], book["rate"], offset=book["offset"])
    with pytest.raises(ValueError, match=r"was fitted with an offset .* pass the offset of these rows"):
        model.predict(book["X"])
    with pytest.raises(ValueError, match="was fitted with an offset"):
        model.score(book["X"], book["rate"])
    # What is added to it is asked for by name.
    np.testing.assert_allclose(
        model.predict(book["X"], offset=0) * np.exp(book["offset"]), model.predict(book["X"], offset=book["offset"])
    )
    model.fit(book["X"], book["rate"])
    with pytest.raises(ValueError, match="was fitted without an offset"):
        model.predict(book["X"], offset=book["offset"])


def test_labels_in_another_order_are_warned_about(book):
    X = pd.DataFrame(book["X"], columns=["a", "b"])
    offset = pd.Series(book["offset"]).sort_values()
    with pytest.warns(SensitiveFeaturesWarning, match="rows of X and offset are matched by position"):
        model = DCovPoissonRegressor(strength=0).fit(X, book["rate"], offset=offset)
    with pytest.warns(SensitiveFeaturesWarning, match="rows of X and offset are matched by position"):
        model.predict(X, offset=offset)
    # Labels that the rows do not share say nothing, and rows are matched by position.
    elsewhere = pd.Series(book["offset"], index=np.arange(600) + 10_000)
    model.fit(X, book["rate"], offset=elsewhere)
    np.testing.assert_array_equal(model.predict(X, offset=elsewhere), model.predict(X, offset=elsewhere.to_numpy()))


def test_pipelines_and_routing_take_it_along(book):
    X, offset = book["X"], book["offset"]
    pipe = make_pipeline(PolynomialFeatures(include_bias=False), DCovPoissonRegressor(strength=0.5))
    name = "dcovpoissonregressor"
    given = {"sample_weight": book["exposure"], "sensitive_features": book["gender"], "offset": offset}
    pipe.fit(X, book["rate"], **{f"{name}__{key}": value for key, value in given.items()})
    expected = pipe.predict(X, offset=offset)
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(PolynomialFeatures(include_bias=False), DCovPoissonRegressor(strength=0.5)).fit(
            X, book["rate"], **given
        )
        np.testing.assert_array_equal(routed.predict(X, offset=offset), expected)
        assert routed.score(X, book["rate"], offset=offset) > 0
        classifier = make_pipeline(PolynomialFeatures(include_bias=False), DCovLogisticRegression(strength=0))
        classifier.fit(X, book["rate"] > 0, offset=offset)
        assert classifier.predict_proba(X, offset=offset).shape == (600, 2)


def test_models_of_earlier_versions_have_none(book):
    model = DCovPoissonRegressor(strength=0).fit(book["X"], book["rate"])
    del model.fitted_with_offset_
    assert model.predict(book["X"]).shape == (600,)
    with pytest.raises(ValueError, match="fitted without an offset"):
        model.predict(book["X"], offset=0)


@pytest.mark.parametrize("joint", [False, True], ids=["one model", "frequency and severity"])
def test_offsets_that_fit_and_mean_something_else_are_warned_of(joint, rng):
    n = 400
    exposure, X = rng.uniform(0.2, 1.0, n), rng.normal(size=(n, 2))
    claims = rng.poisson(2 * exposure)
    cost = claims * rng.gamma(2.0, 50.0, n)
    name = "frequency_offset" if joint else "offset"
    model = fairdcov.FrequencySeverityRegressor(strength=0) if joint else DCovPoissonRegressor(strength=0)
    given = {"claims": claims} if joint else {}

    def fit(offset, weights=exposure):
        return model.fit(X, cost / exposure if joint else claims / exposure, weights, **given, **{name: offset})

    with pytest.warns(
        UserWarning, match=f"^{name} runs from .* a factor of 1e.* between rows: it has to be on the scale"
    ):
        fit(np.linspace(200, 240, n))
    with pytest.warns(UserWarning, match=f"^{name} is the logarithm of sample_weight: .* counts the exposure twice"):
        fit(np.log(exposure) + 3)
    # Neither is a base rate that varies, nor a constant beside weights that are all the same.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(rng.normal(size=n))
        fit(np.full(n, -2.0), np.ones(n))


def test_offsets_of_another_link_have_no_scale(rng):
    X = rng.normal(size=(50, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DCovRidge(strength=0).fit(X, rng.normal(size=50), offset=np.linspace(0, 900, 50))
