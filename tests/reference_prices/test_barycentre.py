"""Barycentres as estimators: with the attributes against averages of quantiles, without, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

from fairdcov import FairBarycentreRegressor, JSDivergenceCalibrator, with_probabilities
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.metrics import ccdcov
from fairdcov.reference_prices._quantile_averages import QuantileAverages


@pytest.fixture
def book(rng):
    n = 600
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n, p=[0.4, 0.6]), "zone": rng.choice(["x", "y"], n)})
    X = pd.DataFrame({"power": rng.normal(1.0 * (people["gender"] == "m")), "bonus": rng.normal(size=n)})
    exposure = rng.uniform(0.2, 1.0, n)
    rate = np.exp(0.3 * X["power"] - 0.4 * X["bonus"] + 0.5 * (people["gender"] == "m"))
    return X, rng.poisson(exposure * rate) / exposure, exposure, people


def barycentre(**options):
    return FairBarycentreRegressor(PoissonRegressor(alpha=1e-3), GaussianNB(), **options)


def quantile_average(eta, groups, weights):
    shares = pd.Series(weights).groupby(groups).sum() / weights.sum()
    known, levels = {}, np.empty(len(eta))
    for group in shares.index:
        rows = np.flatnonzero(groups == group)
        rows = rows[np.argsort(eta[rows])]
        level = (np.cumsum(weights[rows]) - 0.5 * weights[rows]) / weights[rows].sum()
        levels[rows], known[group] = level, (level, eta[rows])
    return sum(share * np.interp(levels, *known[group]) for group, share in shares.items())


def test_with_the_attributes_it_averages_the_quantiles_of_the_groups(book):
    X, y, exposure, people = book
    model = barycentre(strength=np.inf, aware=True).fit(X, y, exposure, sensitive_features=people)
    own = np.column_stack([X, people["gender"] == "m", people["zone"] == "y"]).astype(float)
    eta = PoissonRegressor(alpha=1e-3).fit(own, y, sample_weight=exposure).predict(own)
    groups = people["gender"] + people["zone"]
    expected = quantile_average(eta, groups.to_numpy(), exposure)
    found = model.predict(X, sensitive_features=people)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.01 * eta.std()
    given = {"sensitive_features": people, "sample_weight": exposure, "statistic": "v"}
    assert ccdcov(None, found, **given) < 5e-4 * ccdcov(None, eta, **given)
    assert exposure @ found == pytest.approx(exposure @ eta)
    assert model.profiles_ == [("f", "x"), ("f", "y"), ("m", "x"), ("m", "y")]
    np.testing.assert_allclose(model.shares_, (pd.Series(exposure).groupby(groups).sum() / exposure.sum()).to_numpy())
    assert model.classifier_ is None


def test_averages_of_quantiles_are_of_all_rows(book):
    X, y, exposure, people = book
    found = [
        barycentre(strength=strength, aware=True, max_rows=rows)
        .fit(X, y, exposure, sensitive_features=people)
        .predict(X, sensitive_features=people)
        for strength, rows in ((np.inf, 10_000), (np.float32(np.inf), 100))
    ]
    np.testing.assert_array_equal(*found)


def test_estimates_that_tie_get_the_mean_over_their_step():
    # Profile 0 has 1 and 2 in equal parts, profile 1 has 5 with 3/4 and 9 with 1/4 of its weight.
    eta = np.array([2.0, 1.0, 5.0, 9.0, 5.0])
    memberships = np.eye(2)[[0, 0, 1, 1, 1]]
    weights = np.array([0.25, 0.25, 0.125, 0.125, 0.25])
    found = QuantileAverages.of(eta, memberships, weights)
    np.testing.assert_allclose(found.estimates[0], [1, 2])
    np.testing.assert_allclose(found.predictions[0], [0.5 * (1 + 5), 0.5 * (2 + 0.5 * (5 + 9))])
    # Two thirds of the step of 5 are beside 1, one third is beside 2.
    np.testing.assert_allclose(found.predictions[1], [0.5 * (4 / 3 + 5), 0.5 * (2 + 9)])
    predicted = found.predict(eta, memberships)
    assert weights @ predicted == pytest.approx(weights @ eta)
    beyond = found.predict(np.array([0.0, 1.5, 20.0]), np.eye(2)[[0, 0, 1]])
    np.testing.assert_allclose(beyond, [3.0, 0.5 * (3.0 + 4.5), 5.5])


def test_averages_of_quantiles_of_rows_that_weigh_next_to_nothing(rng):
    """Their steps are below what levels between 0 and 1 can tell apart, which gave NaN, or noise."""
    eta, codes, weights = np.exp(rng.normal(size=200)), rng.integers(0, 2, 200), rng.uniform(0.5, 1.0, 200)
    light = np.arange(200) % 10 == 0
    weights[light] *= np.tile([1e-30, 1e-17, 1e-15, 1e-13], 5)
    weights /= weights.sum()
    memberships = np.eye(2)[codes]
    found = QuantileAverages.of(eta, memberships, weights).predict(eta, memberships)
    without = QuantileAverages.of(eta[~light], memberships[~light], weights[~light] / weights[~light].sum())
    np.testing.assert_allclose(found[~light], without.predict(eta[~light], memberships[~light]), rtol=1e-9)
    for code in (0, 1):
        rows = np.flatnonzero(codes == code)
        assert (np.diff(found[rows[np.argsort(eta[rows])]]) >= 0).all()


@pytest.mark.parametrize("ties", [1.0, 0.02])
def test_infinite_strength_with_the_attributes_is_independence(book, rng, ties):
    X, y, exposure, people = book
    # Few distinct estimates, as of a small tree: a grid left some dependence there.
    X = (X / ties).round(0) * ties
    model = barycentre(strength=np.inf, aware=True).fit(X, y, exposure, sensitive_features=people)
    found = model.predict(X, sensitive_features=people)
    groups = (people["gender"] + people["zone"]).to_numpy()
    means = [np.average(found[groups == k], weights=exposure[groups == k]) for k in np.unique(groups)]
    np.testing.assert_allclose(means, exposure @ found / exposure.sum(), rtol=1e-6)
    assert model.score(X, y, exposure, sensitive_features=people) > 0


@pytest.mark.parametrize("aware", [False, True])
def test_a_sample_of_the_rows_will_do(book, aware):
    X, y, exposure, people = book
    given = {"sensitive_features": people} if aware else {}
    predictions = [
        barycentre(aware=aware, max_rows=rows, strength=10.0)
        .fit(X, y, exposure, sensitive_features=people)
        .predict(X, **given)
        for rows in (150, 600)
    ]
    assert np.sqrt(np.mean((predictions[0] - predictions[1]) ** 2)) < 0.1 * predictions[1].std()


@pytest.mark.parametrize("aware", [False, True])
def test_no_strength_gives_the_estimates(book, aware):
    X, y, exposure, people = book
    model = barycentre(strength=0, aware=aware).fit(X, y, exposure, sensitive_features=people)
    given = {"sensitive_features": people} if aware else {}
    own = np.column_stack([X, people["gender"] == "m", people["zone"] == "y"]).astype(float) if aware else X
    expected = PoissonRegressor(alpha=1e-3).fit(own, y, sample_weight=exposure).predict(own)
    np.testing.assert_allclose(model.predict(X, **given), expected)


def test_without_the_attributes_dependence_falls(book):
    X, y, exposure, people = book
    path = barycentre().strength_path(X, y, [0.0, 1.0, 100.0], exposure, sensitive_features=people["gender"])
    given = {"sensitive_features": people["gender"], "sample_weight": exposure, "statistic": "v"}
    models = list(path)
    found = [ccdcov(None, model.predict(X), **given) for model in models]
    assert found[0] > found[1] > 3 * found[2]
    assert models[0].regressor_ is models[2].regressor_
    np.testing.assert_allclose(models[1].predict(models[0].prepare(X)), models[1].predict(X))
    single = barycentre(strength=1.0).fit(X, y, exposure, sensitive_features=people["gender"])
    np.testing.assert_allclose(single.predict(X), models[1].predict(X), rtol=0.02)
    totals = [exposure @ model.predict(X) for model in models]
    assert totals[1] == pytest.approx(totals[0]) == totals[2]


def test_rows_without_weight_take_no_part(book):
    X, y, exposure, people = book
    exposure = np.where(np.arange(600) < 50, 0.0, exposure)
    people = people.copy()
    people.loc[0, "gender"] = "x"
    y = np.where(np.arange(600) < 50, 1e6, y)
    for aware in (False, True):
        model = barycentre(aware=aware).fit(X, y, exposure, sensitive_features=people)
        part = barycentre(aware=aware).fit(X[50:], y[50:], exposure[50:], sensitive_features=people[50:])
        given = {"sensitive_features": people[50:]} if aware else {}
        np.testing.assert_allclose(model.predict(X[50:], **given), part.predict(X[50:], **given))


def test_probabilities(book, rng):
    X, _, _, people = book
    y = np.where(rng.random(600) < 1 / (1 + np.exp(-X["power"])), "yes", "no")
    model = FairBarycentreRegressor(LogisticRegression(), GaussianNB(), loss="binomial", strength=10.0)
    model.fit(X, y, sensitive_features=people["gender"])
    found = model.predict(X)
    assert ((found > 0) & (found < 1)).all()
    eta = LogisticRegression().fit(X, y).predict_proba(X)[:, 1]
    assert found.sum() == pytest.approx(eta.sum())
    given = {"sensitive_features": people["gender"], "statistic": "v"}
    assert ccdcov(None, found, **given) < 0.3 * ccdcov(None, eta, **given)
    assert 0 < model.score(X, y) < 1


def test_bands_are_those_of_the_fit(book, rng):
    X, y, exposure, people = book
    people = people.assign(age=rng.uniform(18, 80, 600))[["gender", "age"]]
    model = barycentre(aware=True, bins=2).fit(X, y, exposure, sensitive_features=people)
    assert len(model.profiles_) == 4
    older = people.assign(age=99.0)
    assert np.isfinite(model.predict(X, sensitive_features=older)).all()


def test_the_calibrator_finds_a_strength(book, monkeypatch):
    X, y, exposure, people = book
    calls = []
    own = FairBarycentreRegressor._ingredients
    monkeypatch.setattr(FairBarycentreRegressor, "_ingredients", lambda *given: calls.append(1) or own(*given))
    calibrator = JSDivergenceCalibrator(
        barycentre(), strengths=[0, 1.0, 10.0], rule="elbow", cv=2, n_permutations=2, verbose=0
    ).fit(X, y, sample_weight=exposure, sensitive_features=people["gender"])
    assert len(calls) == 2
    assert calibrator.best_strength_ > 0
    assert isinstance(calibrator.best_estimator_, FairBarycentreRegressor)


def test_routing(book):
    X, y, exposure, people = book
    with sklearn.config_context(enable_metadata_routing=True):
        model = FairBarycentreRegressor(
            PoissonRegressor().set_fit_request(sample_weight=True), GaussianNB().set_fit_request(sample_weight=False)
        )
        model.fit(X, y, sample_weight=exposure, sensitive_features=people["gender"])
    expected = PoissonRegressor().fit(X, y, sample_weight=exposure).predict(X)
    np.testing.assert_allclose(model.regressor_.predict(X), expected)
    np.testing.assert_allclose(
        model.classifier_.predict_proba(X), GaussianNB().fit(X, people["gender"]).predict_proba(X)
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classifier": LinearSVC()}, TypeError, "must have predict_proba.*LinearSVC has none"),
        (
            {"regressor": LinearRegression()},
            ValueError,
            "estimates must be above 0 for loss='poisson'; found .* log link",
        ),
        ({"loss": "absolute"}, ValueError, "loss must be one of"),
        ({"strength": -1.0}, ValueError, "strength must be a finite number >= 0"),
        ({"strength": np.nan}, ValueError, "strength must be a finite number >= 0"),
        ({"aware": "no"}, ValueError, "aware must be True or False"),
        ({"max_rows": 10}, ValueError, "max_rows must be a whole number >= 100"),
    ],
)
def test_bad_parameters(book, options, error, message):
    X, y, _, people = book
    model = barycentre().set_params(**options)
    with pytest.raises(error, match=message):
        model.fit(X, y - 1 if "regressor" in options else y, sensitive_features=people["gender"])
    assert not hasattr(model, "potentials_")


def test_bad_attributes(book):
    X, y, _, people = book
    with pytest.raises(MissingSensitiveFeaturesError, match=r"fit\(..., sensitive_features=S\)"):
        barycentre().fit(X, y)
    with pytest.raises(ValueError, match="'f' in every row, one class only"):
        barycentre().fit(X, y, sensitive_features=np.full(600, "f"))
    with pytest.raises(TypeError, match="known as probabilities"):
        barycentre().fit(X, y, sensitive_features=with_probabilities(np.full((600, 2), 0.5), {"gender": [0, 1]}))
    with pytest.raises(ValueError, match="at least one value"):
        barycentre().strength_path(X, y, [], sensitive_features=people)
    model = barycentre(aware=True).fit(X, y, sensitive_features=people)
    with pytest.raises(MissingSensitiveFeaturesError, match="since aware=True"):
        model.predict(X)
    with pytest.raises(ValueError, match="columns seen in fit"):
        model.predict(X, sensitive_features=people["gender"])
    unseen = people.copy()
    unseen.loc[:2, "gender"] = "other"
    with pytest.raises(ValueError, match=r"not there in fit \(group: rows\): .*'other'.*; merge each with"):
        model.predict(X, sensitive_features=unseen)
