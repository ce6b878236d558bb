"""The discrimination-free price of any regressor."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from fairdcov import DCovPoissonRegressor, DiscriminationFreeRegressor, JSDivergenceCalibrator
from fairdcov.actuarial import Rebalancer
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.metrics import proxy_discrimination


@pytest.fixture
def book(rng):
    n = 2000
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n, p=[0.4, 0.6]), "zone": rng.choice(["x", "y", "z"], n)})
    power = rng.normal(0.8 * (people["gender"] == "m"))
    X = pd.DataFrame({"power": power, "age": rng.uniform(-1, 1, n)})
    rate = np.exp(-1 + 0.2 * X["power"] + 0.6 * (people["gender"] == "m") - 0.3 * (people["zone"] == "z"))
    exposure = rng.uniform(0.2, 1.0, n)
    y = rng.poisson(5 * exposure * rate) / (5 * exposure)
    return X, y, exposure, people


def poisson():
    return PoissonRegressor(alpha=0, tol=1e-9, max_iter=500)


def interactions():
    return make_pipeline(PolynomialFeatures(interaction_only=True, include_bias=False), poisson())


@pytest.mark.parametrize("balance", [None, "multiplicative", "additive"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", [poisson, interactions])
def test_by_hand(book, make, weighted, balance):
    X, y, exposure, people = book
    weights = exposure if weighted else np.ones(len(y))
    model = DiscriminationFreeRegressor(make(), balance=balance)
    model.fit(X, y, sample_weight=exposure if weighted else None, sensitive_features=people)

    def table(gender, zone):
        return np.column_stack([X, gender == "m", zone == "y", zone == "z"]).astype(float)

    last = {"sample_weight": weights} if make is poisson else {"poissonregressor__sample_weight": weights}
    best = make().fit(table(people["gender"], people["zone"]), y, **last)
    expected = np.zeros(len(y))
    for (gender, zone), rows in people.groupby(["gender", "zone"]).groups.items():
        share = weights[rows].sum() / weights.sum()
        everybody = table(np.full(len(y), gender), np.full(len(y), zone))
        expected += share * best.predict(everybody)
    if balance == "multiplicative":
        expected *= weights @ y / (weights @ expected)
    if balance == "additive":
        expected += np.average(y - expected, weights=weights)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)
    if balance is not None:
        assert weights @ model.predict(X) == pytest.approx(weights @ y)


def test_attributes_of_the_fit(book):
    X, y, exposure, people = book
    model = DiscriminationFreeRegressor(poisson()).fit(X, y, sample_weight=exposure, sensitive_features=people)
    assert model.protected_features_ == ["gender_1", "zone_1", "zone_2"]
    assert model.estimator_.feature_names_in_.tolist() == ["power", "age", *model.protected_features_]
    assert model.feature_names_in_.tolist() == ["power", "age"]
    assert model.n_features_in_ == 2
    weights = pd.Series(exposure).groupby([people["gender"], people["zone"]]).sum() / exposure.sum()
    profiles = pd.MultiIndex.from_frame(model.reference_profiles_)
    np.testing.assert_allclose(model.reference_shares_, weights.loc[profiles])
    estimates = model.best_estimates(X)
    assert estimates.shape == (len(X), 6)
    np.testing.assert_allclose(estimates @ model.reference_shares_, model.predict(X))


def test_it_has_no_proxy_discrimination_and_the_best_price_without_attributes_has(book):
    X, y, exposure, people = book
    model = DiscriminationFreeRegressor(poisson())
    model.fit(X, y, sample_weight=exposure, sensitive_features=people)
    estimates = model.best_estimates(X)
    assert proxy_discrimination(model.predict(X), estimates, sample_weight=exposure) < 1e-20
    # Power says who is a man: without gender it takes over a part of that.
    unaware = poisson().fit(X, y, sample_weight=exposure)
    assert unaware.coef_[0] > model.estimator_.coef_[0] + 0.05
    assert proxy_discrimination(unaware.predict(X), estimates, sample_weight=exposure) > 1e-4


def test_independent_attributes_change_nothing(rng):
    X = rng.normal(size=(4000, 1))
    group = np.tile(["a", "b"], 2000)
    X[1::2] = X[::2]
    y = 1 + X[:, 0] + 2.0 * (group == "b")
    model = DiscriminationFreeRegressor(LinearRegression(), balance="additive").fit(X, y, sensitive_features=group)
    np.testing.assert_allclose(model.predict(X), LinearRegression().fit(X, y).predict(X))


@pytest.mark.parametrize("attributes", ["one", "with category"])
def test_continuous_attributes(rng, attributes):
    """The average over a systematic sample is near that over all rows."""
    n = 600
    age = rng.gamma(9.0, 5.0, n)
    X = np.column_stack([age / 50 + rng.normal(size=n), rng.normal(size=n)])
    people = pd.DataFrame({"age": age})
    if attributes == "with category":
        people["gender"] = np.where(rng.random(n) < 0.3, "f", "m")
    y = np.exp(0.3 * X[:, 0] + 0.02 * age) + 0.1 * rng.exponential(size=n)
    weights = rng.uniform(0.5, 1.5, n)
    trees = HistGradientBoostingRegressor(max_iter=10)
    model = DiscriminationFreeRegressor(trees, balance=None)
    model.fit(X, y, sample_weight=weights, sensitive_features=people)
    assert len(model.reference_shares_) <= 100
    assert model.reference_shares_ @ model.reference_profiles_["age"] == pytest.approx(
        np.average(age, weights=weights), rel=0.01
    )
    rows = slice(0, 40)
    every = clone(model).set_params(max_profiles=n)
    every.fit(X, y, sample_weight=weights, sensitive_features=people)
    assert len(every.reference_shares_) == n
    np.testing.assert_allclose(model.predict(X[rows]), every.predict(X[rows]), rtol=0.03)
    if attributes == "with category":
        shares = model.reference_shares_[model.reference_profiles_["gender"] == "f"].sum()
        assert shares == pytest.approx(weights[people["gender"] == "f"].sum() / weights.sum(), abs=0.011)


def test_common_values_count_as_often_as_they_are(rng):
    """More values than profiles, a few of them common: the sample has their weight."""
    claims = np.minimum(rng.geometric(0.3, 5000), 12).astype(float)
    X = rng.normal(size=(5000, 1))
    model = DiscriminationFreeRegressor(LinearRegression(), balance=None, max_profiles=11)
    model.fit(X, claims + X[:, 0], sensitive_features=claims)
    assert model.reference_shares_.sum() == pytest.approx(1)
    assert model.reference_shares_ @ model.reference_profiles_.iloc[:, 0] == pytest.approx(claims.mean(), rel=0.1)
    # The share of the commonest value, to the nearest of the eleven parts.
    assert model.reference_shares_[0] == pytest.approx(0.3, abs=1 / 11)


def test_any_container(book):
    X, y, exposure, people = book
    expected = None
    labelled = X.set_axis(np.arange(len(X))[::-1] + 10, axis=0)
    for given, attributes in (
        (X, people),
        (labelled, people.to_numpy()),
        tuple(pl.DataFrame({name: frame[name].tolist() for name in frame}) for frame in (X, people)),
        (X.to_numpy(), people.to_numpy(dtype=object)),
        (X.to_numpy().tolist(), people.to_numpy().tolist()),
        (X.set_axis([0, 1], axis=1), people.astype("category")),
        (sp.csr_matrix(X.to_numpy()), people),
        (sp.csc_array(X.to_numpy()), people),
    ):
        model = DiscriminationFreeRegressor(poisson())
        model.fit(given, y, sample_weight=exposure, sensitive_features=attributes)
        found = model.predict(given)
        expected = found if expected is None else expected
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rows_of_weight_zero_are_absent(book):
    X, y, exposure, people = book
    weights = np.where(np.arange(len(y)) % 4 == 0, 0.0, exposure)
    people = people.copy()
    people.loc[weights == 0, "zone"] = "abroad"
    keep = weights > 0
    whole = DiscriminationFreeRegressor(poisson()).fit(X, y, sample_weight=weights, sensitive_features=people)
    part = DiscriminationFreeRegressor(poisson())
    part.fit(X[keep], y[keep], sample_weight=weights[keep], sensitive_features=people[keep])
    assert whole.protected_features_ == part.protected_features_
    np.testing.assert_allclose(whole.predict(X), part.predict(X), rtol=1e-5)


def test_frames_keep_their_types(book):
    """Categories among the features reach the estimator."""
    X, y, exposure, people = book
    X = X.assign(use=pd.Categorical(np.where(X["age"] > 0, "private", "business")))
    one_hot = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (sklearn.preprocessing.OneHotEncoder(), ["use"]),
    )
    for estimator in (
        make_pipeline(one_hot, poisson()),
        HistGradientBoostingRegressor(loss="poisson", max_iter=5, categorical_features="from_dtype"),
    ):
        model = DiscriminationFreeRegressor(estimator)
        model.fit(X, y, sample_weight=exposure, sensitive_features=people)
        assert exposure @ model.predict(X) == pytest.approx(exposure @ y)


def test_pipelines_get_the_weights(book):
    X, y, exposure, people = book
    alone = DiscriminationFreeRegressor(poisson()).fit(X, y, sample_weight=exposure, sensitive_features=people)
    pipeline = DiscriminationFreeRegressor(make_pipeline(StandardScaler(), poisson()))
    pipeline.fit(X, y, sample_weight=exposure, sensitive_features=people)
    np.testing.assert_allclose(pipeline.predict(X), alone.predict(X), rtol=1e-4)


def test_routing(book):
    X, y, exposure, people = book
    expected = DiscriminationFreeRegressor(poisson()).fit(X, y, sample_weight=exposure, sensitive_features=people)
    given = {"sample_weight": exposure, "sensitive_features": people}
    with sklearn.config_context(enable_metadata_routing=True):
        model = DiscriminationFreeRegressor(poisson().set_fit_request(sample_weight=True)).fit(X, y, **given)
        np.testing.assert_allclose(model.predict(X), expected.predict(X))
        search = GridSearchCV(model, {"estimator__alpha": [0.0, 1.0]}, cv=3).fit(X, y, **given)
        assert search.best_params_ == {"estimator__alpha": 0.0}
        assert cross_val_predict(model, X, y, cv=3, params=given).shape == (len(X),)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
            DiscriminationFreeRegressor(poisson()).fit(X, y, **given)


def test_estimators_of_the_package(book):
    X, y, exposure, people = book
    given = {"sample_weight": exposure, "sensitive_features": people}
    ours = DiscriminationFreeRegressor(DCovPoissonRegressor(strength=0, alpha=0, tol=1e-8)).fit(X, y, **given)
    theirs = DiscriminationFreeRegressor(poisson()).fit(X, y, **given)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3)
    unbalanced = DiscriminationFreeRegressor(poisson(), balance=None)
    balanced = Rebalancer(unbalanced).fit(X, y, **given)
    np.testing.assert_allclose(balanced.predict(X), theirs.predict(X))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sensitive_features": None}, MissingSensitiveFeaturesError, "needs sensitive_features"),
        ({"y": None}, ValueError, "requires y to be passed"),
        ({"sensitive_features": ["a", "b"]}, ValueError, "sensitive_features"),
        ({"y": np.full(2000, -1.0)}, ValueError, "balance='multiplicative' needs predictions that are not negative"),
        ({"y": np.full(2000, np.nan)}, ValueError, "y must be finite"),
    ],
)
def test_errors_leave_the_estimator_as_it_was(book, change, error, message):
    X, y, exposure, people = book
    given = {"y": y, "sample_weight": exposure, "sensitive_features": people}
    model = DiscriminationFreeRegressor(LinearRegression()).fit(X.abs(), **{**given, "y": y + 10})
    before = vars(model).copy()
    with pytest.raises(error, match=message):
        model.fit(X[["power"]].abs(), **{**given, **change})
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_parameters_are_checked(book):
    X, y, _, people = book
    for parameters, message in (({"balance": "total"}, "balance must be"), ({"max_profiles": 0}, "max_profiles")):
        with pytest.raises(ValueError, match=message):
            DiscriminationFreeRegressor(poisson(), **parameters).fit(X, y, sensitive_features=people)
    with pytest.raises(TypeError, match="needs a regressor"):
        DiscriminationFreeRegressor(LogisticRegression()).fit(X, y > 0, sensitive_features=people)


def test_names_of_protected_columns_are_not_taken(book):
    X, y, _, people = book
    with pytest.raises(ValueError, match=r"X has \['gender_1'\]"):
        DiscriminationFreeRegressor(poisson()).fit(X.assign(gender_1=0.0), y, sensitive_features=people)


def test_one_level_is_remarked_on(book):
    X, y, _, _ = book
    with pytest.warns(SensitiveFeaturesWarning, match="the same in all rows"):
        model = DiscriminationFreeRegressor(poisson()).fit(X, y, sensitive_features=["all"] * len(y))
    np.testing.assert_allclose(model.predict(X), poisson().fit(X, y).predict(X), rtol=1e-6)


def test_other_features_are_refused(book):
    X, y, _, people = book
    model = DiscriminationFreeRegressor(poisson()).fit(X, y, sensitive_features=people)
    with pytest.raises(ValueError, match="feature"):
        model.predict(X[["age"]])
    with pytest.raises(ValueError, match="2 features"):
        DiscriminationFreeRegressor(poisson()).fit(X.to_numpy(), y, sensitive_features=people).predict(np.ones((3, 5)))


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")  # strength 10 explains nothing there
def test_it_can_be_calibrated_against(book):
    """Its divergence beside that of a penalised model: another duty, so not 0."""
    X, y, exposure, people = book
    given = {"sample_weight": exposure, "sensitive_features": people[["gender"]]}
    free = DiscriminationFreeRegressor(poisson()).fit(X, y, **given)
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(), strengths=[0, 10.0], rule=lambda results: 1, cv=2, n_permutations=5, verbose=0
    ).fit(X, y, **given)
    means = [pd.Series(m.predict(X)).groupby(people["gender"]).mean() for m in (free, calibrator)]
    assert means[0]["m"] / means[0]["f"] > 1.1
    assert means[1]["m"] / means[1]["f"] < means[0]["m"] / means[0]["f"]
