"""The synthetic book does what its docstring says."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from fairdcov import DCovPoissonRegressor, concatenated_distance_covariance, distance_covariance
from fairdcov.datasets import make_motor_portfolio


@pytest.fixture(scope="module")
def book():
    return make_motor_portfolio(100_000, random_state=1)


def test_shapes_and_ranges(book):
    assert book.data.shape == (100_000, 9)
    assert book.feature_names == list(book.data)
    assert not set(book.sensitive_features) & set(book.data)
    assert ((book.exposure > 0) & (book.exposure <= 1)).all()
    np.testing.assert_array_equal(book.target, book.claims / book.exposure)
    assert ((book.cost > 0) == (book.claims > 0)).all()
    assert not book.frame.isna().any().any()
    assert len(book.frame) == 100_000


def test_claims_follow_the_true_rate(book):
    expected = (book.exposure * book.true_rate).sum()
    assert abs(book.claims.sum() - expected) < 4 * np.sqrt(expected)
    # a Poisson count has variance equal to its mean
    residual = (book.claims - book.exposure * book.true_rate) ** 2
    np.testing.assert_allclose(residual.sum() / expected, 1.0, rtol=0.05)


def test_costs_are_gamma_with_the_documented_mean(book):
    expected = book.claims * 1_200 * np.sqrt(book.data["vehicle_value"].to_numpy() / 14_000)
    single = book.claims == 1
    ratio = book.cost[single] / expected[single]
    standard_error = np.sqrt(0.5 / single.sum())
    assert abs(ratio.mean() - 1) < 4 * standard_error
    np.testing.assert_allclose(ratio.var(), 0.5, rtol=0.1)  # shape 2
    several = book.claims > 1
    assert abs(book.cost[several].sum() / expected[several].sum() - 1) < 0.1


def test_fair_rate_is_the_documented_function_of_what_can_be_seen(book):
    # Habits are the mileage without the intersection, the size of the vehicle is its power: both but for rounding.
    S = book.sensitive_features
    sign = np.where(S["gender"] == "female", 1, -1) * np.where(S["region"].isin(["north", "west", "south"]), 1, -1)
    habits = np.log(book.data["mileage"] / 12) / 0.35 - np.where(S["age"] < 30, 1.35, 0.9) * sign
    power = (book.data["vehicle_power"] - 90) / 25
    duration = (book.data["policy_duration"] - 5.2) / 4.5
    rate = 0.14 * np.exp(0.35 * habits + 0.25 * power - 0.2 * duration - 0.01)
    inside = book.data["vehicle_power"].between(41, 249)  # not cut
    np.testing.assert_allclose(rate[inside], book.fair_rate[inside], rtol=0.01)


def test_exposure_is_independent_of_the_attributes(book):
    whole = book.exposure == 1.0
    assert abs(whole.mean() - 0.6) < 0.01
    S = book.sensitive_features
    groups = [S["gender"].cat.codes, S["region"].cat.codes, S["age"] // 15]
    for _, rows in S.groupby(groups, observed=True):
        exposure = book.exposure[rows.index]
        standard_error = book.exposure.std() / np.sqrt(len(rows))
        assert abs(exposure.mean() - book.exposure.mean()) < 4.5 * standard_error


def test_no_attribute_alone_shows_the_bias_and_their_intersection_does(book):
    rates = book.sensitive_features.assign(
        rate=book.true_rate / book.fair_rate, young=book.sensitive_features["age"] < 30
    )
    for attributes in (["gender"], ["region"], ["young"], ["gender", "young"], ["region", "young"]):
        groups = rates.groupby(attributes, observed=True)["rate"]
        assert (abs(groups.mean() - 1) < 4 * groups.sem()).all()
    crossed = rates.groupby(["region", "gender", "young"], observed=True)["rate"].mean().unstack("gender")
    ratio = crossed["female"] / crossed["male"]
    north = ratio.loc["north"]
    np.testing.assert_allclose(north[False], np.exp(0.8), rtol=1e-6)
    np.testing.assert_allclose(north[True], np.exp(1.6), rtol=1e-6)
    np.testing.assert_allclose(ratio.loc["coast"][True], np.exp(-1.6), rtol=1e-6)


def test_fair_rate_is_independent_of_the_attributes(book):
    S = book.sensitive_features
    joint = [
        (S["gender"] == "female").to_numpy(float),
        (S["region"].cat.codes < 3).to_numpy(float),
        (S["age"] // 10).to_numpy(float),
    ]
    fair = concatenated_distance_covariance(book.fair_rate, *joint)
    biased = concatenated_distance_covariance(book.true_rate, *joint)
    assert fair < 0.01 * biased


def test_features_carry_the_attributes_only_as_strongly_as_asked():
    S_of = lambda book: (book.sensitive_features["region"] == "north").to_numpy()  # noqa: E731
    for proxy, low, high in ((1.0, 0.85, 1.0), (0.0, 0.78, 0.81)):
        book = make_motor_portfolio(20_000, proxy_strength=proxy, random_state=2)
        X = book.data.apply(lambda c: c.cat.codes if c.dtype == "category" else c)
        model = HistGradientBoostingClassifier(max_iter=15, random_state=0).fit(X[:15_000], S_of(book)[:15_000])
        assert low <= model.score(X[15_000:], S_of(book)[15_000:]) <= high


@pytest.mark.parametrize("proxy", [0.0, 1.0])
def test_vehicle_types_have_the_documented_shares(proxy):
    book = make_motor_portfolio(100_000, proxy_strength=proxy, random_state=4)
    S, types = book.sensitive_features, book.data["vehicle_type"]
    preferences = {
        ("female", True): {"city": 1.2, "saloon": 0.0, "estate": 0.0, "sports": 0.5, "van": 0.0},
        ("male", False): {"city": 0.0, "saloon": 0.3, "estate": 0.4, "sports": 0.6, "van": 0.3},
    }
    for (gender, young), preference in preferences.items():
        weights = {name: np.exp(proxy * value) for name, value in preference.items()}
        rows = (S["gender"] == gender) & ((S["age"] < 30) == young)
        shares = types[rows].value_counts(normalize=True)
        for name, weight in weights.items():
            assert abs(shares[name] - weight / sum(weights.values())) < 4 * np.sqrt(0.25 / rows.sum())


def test_proxies_follow_age_and_region_only_if_asked():
    for proxy in (0.0, 1.0):
        book = make_motor_portfolio(20_000, proxy_strength=proxy, random_state=5)
        S = book.sensitive_features
        with_age = np.corrcoef(book.data["bonus_malus"], S["age"])[0, 1]
        density = np.log(book.data["density"]).groupby(S["region"], observed=True).mean()
        difference = density["north"] - density["centre"]
        if proxy:
            assert with_age < -0.6
            np.testing.assert_allclose(difference, 5.6 - 3.7, atol=0.05)
        else:
            assert abs(with_age) < 4 / np.sqrt(20_000)
            assert abs(difference) < 0.05


def test_a_model_without_the_attributes_learns_the_bias(book):
    X = book.data.select_dtypes("number").assign(mileage=np.log(book.data["mileage"]))
    model = DCovPoissonRegressor(strength=0, alpha=1e-6).fit(X / X.std(), book.target, book.exposure)
    sign = np.where(book.sensitive_features["gender"] == "female", 1, -1) * np.where(
        book.sensitive_features["region"].cat.codes < 3, 1, -1
    )
    prediction = model.predict(X / X.std())
    assert prediction[sign > 0].mean() > 1.3 * prediction[sign < 0].mean()
    gender = (book.sensitive_features["gender"] == "female").to_numpy(float)
    assert distance_covariance(prediction, gender) < 0.01 * distance_covariance(prediction, sign)


def test_without_bias_the_rates_agree():
    book = make_motor_portfolio(1_000, intersectional_bias=0.0, random_state=3)
    np.testing.assert_allclose(book.true_rate, book.fair_rate)


def test_seed_decides_everything():
    one, same, other = (make_motor_portfolio(500, random_state=seed) for seed in (0, 0, 1))
    assert one.frame.equals(same.frame)
    assert not one.frame.equals(other.frame)


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
def test_generators_are_seeds_too_and_move_on(kind):
    generator = kind(0)
    first, second = (make_motor_portfolio(500, random_state=generator) for _ in range(2))
    assert first.frame.equals(make_motor_portfolio(500, random_state=kind(0)).frame)
    assert not first.frame.equals(second.frame)


def test_without_a_seed_books_differ():
    assert not make_motor_portfolio(500).frame.equals(make_motor_portfolio(500).frame)


def test_extreme_options_stay_finite():
    book = make_motor_portfolio(5_000, intersectional_bias=10, proxy_strength=10, random_state=6)
    numbers = book.frame.select_dtypes("number")
    assert np.isfinite(numbers.to_numpy()).all()
    assert (book.true_rate >= 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_policies": 5}, "n_policies must be a whole number >= 10; found 5"),
        ({"n_policies": 100.5}, "n_policies must be a whole number"),
        ({"intersectional_bias": -1.0}, "intersectional_bias must be a finite number >= 0"),
        ({"proxy_strength": np.nan}, "proxy_strength must be a finite number >= 0"),
        ({"proxy_strength": 11}, r"proxy_strength must be at most 10; found 11\.0"),
        ({"intersectional_bias": 1000.0}, "intersectional_bias must be at most 10"),
        ({"random_state": "a"}, "random_state must be None, a whole number >= 0, .*; found 'a'"),
        ({"random_state": -1}, "random_state must be .*; found -1"),
        ({"random_state": True}, "random_state must be .*; found True"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_motor_portfolio(**options)
