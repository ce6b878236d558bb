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


def test_no_attribute_alone_shows_the_bias_and_their_intersection_does(book):
    rates = book.sensitive_features.assign(
        rate=book.true_rate / book.fair_rate, young=book.sensitive_features["age"] < 30
    )
    for attribute in ("gender", "region", "young"):
        means = rates.groupby(attribute, observed=True)["rate"].mean()
        np.testing.assert_allclose(means, 1.0, atol=0.03)
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
        model = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(X[:15_000], S_of(book)[:15_000])
        assert low <= model.score(X[15_000:], S_of(book)[15_000:]) <= high


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_policies": 5}, "n_policies must be a whole number >= 10; found 5"),
        ({"n_policies": 100.5}, "n_policies must be a whole number"),
        ({"intersectional_bias": -1.0}, "intersectional_bias must be a finite number >= 0"),
        ({"proxy_strength": np.nan}, "proxy_strength must be a finite number >= 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_motor_portfolio(**options)
