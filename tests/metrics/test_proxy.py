"""Distance of a price from those without proxy discrimination, and its attribution to features."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from fairdcov.metrics import admissible_price, proxy_discrimination, proxy_discrimination_by_feature, unfairness_ratio


def unexplained(price, estimates, shares, weights):
    """The criterion at given shares, with its best constant."""
    left = price - estimates @ shares
    mean, level = np.average(left, weights=weights), np.average(price, weights=weights)
    return np.average((left - mean) ** 2, weights=weights) / np.average((price - level) ** 2, weights=weights)


def prices(rng, n, k, kind="mixed"):
    x = rng.normal(size=(n, 3))
    estimates = np.exp(0.3 * x @ rng.normal(size=(3, k)) + rng.normal(size=k))
    if kind == "loaded":  # the sum of the shares is bound
        return 1.7 * estimates @ rng.dirichlet(np.ones(k)) + 0.1 * x[:, 0], estimates
    if kind == "opposite":  # every share is bound
        return -estimates.sum(axis=1), estimates
    return estimates @ rng.dirichlet(np.ones(k)) * 0.7 + 0.3 * np.exp(0.3 * x[:, 0]), estimates


@pytest.mark.parametrize("kind", ["mixed", "loaded", "opposite"])
@pytest.mark.parametrize("weighted", [False, True])
def test_two_levels_against_a_grid(rng, kind, weighted):
    price, estimates = prices(rng, 300, 2, kind)
    weights = rng.uniform(0.1, 1.0, 300) if weighted else np.ones(300)
    ticks = np.linspace(0, 1, 201)
    grid = [(a, b) for a in ticks for b in ticks if a + b <= 1 + 1e-12]
    lowest = min(unexplained(price, estimates, np.array(shares), weights) for shares in grid)
    found = proxy_discrimination(price, estimates, sample_weight=weights if weighted else None)
    assert found <= lowest + 1e-12
    assert found == pytest.approx(lowest, abs=2e-4)


@pytest.mark.parametrize("kind", ["mixed", "loaded", "opposite"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_against_a_general_solver(rng, kind, k):
    price, estimates = prices(rng, 400, k, kind)
    weights = rng.uniform(0.1, 1.0, 400)
    nearest = admissible_price(price, estimates, sample_weight=weights)
    solved = min(
        (
            minimize(
                lambda shares: unexplained(price, estimates, shares, weights),
                start,
                method="SLSQP",
                bounds=[(0, 1)] * k,
                constraints={"type": "ineq", "fun": lambda shares: 1 - shares.sum()},
                options={"ftol": 1e-14, "maxiter": 1000},
            )
            for start in (np.full(k, 1 / k), np.zeros(k))
        ),
        key=lambda result: result.fun,
    )
    assert nearest.proxy_discrimination <= solved.fun + 1e-9
    assert nearest.proxy_discrimination == pytest.approx(solved.fun, abs=1e-6)
    assert (nearest.shares >= 0).all()
    assert nearest.shares.sum() <= 1 + 1e-12
    value = unexplained(price, estimates, nearest.shares, weights)
    assert nearest.proxy_discrimination == pytest.approx(value, abs=1e-12)
    # The parts of the answer agree, and the constant is the best one.
    np.testing.assert_allclose(nearest.price, nearest.constant + estimates @ nearest.shares)
    assert np.average(price - nearest.price, weights=weights) == pytest.approx(0, abs=1e-12)


def test_optimal_by_its_conditions(rng):
    """No reference: no feasible direction lowers the criterion."""
    for kind in ("mixed", "loaded", "opposite"):
        price, estimates = prices(rng, 500, 6, kind)
        nearest = admissible_price(price, estimates)
        left = price - nearest.price
        gains = (estimates - estimates.mean(axis=0)).T @ left / 500  # what a share more would take off, halved
        least = gains[nearest.shares > 1e-9].max() if (nearest.shares > 1e-9).any() else 0.0
        bound = least if nearest.shares.sum() > 1 - 1e-9 else 0.0
        assert (gains <= bound + 1e-9 * np.var(price)).all()
        np.testing.assert_allclose(gains[nearest.shares > 1e-9], bound, atol=1e-9 * np.var(price))


def test_identities(rng):
    price, estimates = prices(rng, 500, 4)
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    # Averages of the best estimates, and what is added to them; less than a full average; a constant.
    for admissible in (estimates @ shares, 5 + estimates @ shares, estimates @ (0.5 * shares), estimates[:, 2]):
        assert proxy_discrimination(admissible, estimates) < 1e-20
    assert proxy_discrimination(np.full(500, 3.0), estimates) == 0
    found = proxy_discrimination(price, estimates)
    assert 0 < found < 1
    # The unit, an amount, the order of the levels and a level twice do not matter.
    for other, given in (
        (100 * price, 100 * estimates),
        (price + 7, estimates - 3),
        (price, estimates[:, [2, 0, 3, 1]]),
        (price, np.column_stack([estimates, estimates[:, 0]])),
    ):
        assert proxy_discrimination(other, given) == pytest.approx(found, rel=1e-9)
    # More levels can only come nearer.
    assert proxy_discrimination(price, estimates[:, :2]) >= found - 1e-12
    # What has nothing to do with the estimates.
    assert proxy_discrimination(np.resize([1.0, -1.0], 500), np.ones((500, 2))) == pytest.approx(1)


def test_a_proxy_that_tells_the_group(rng):
    """A feature that says which group one is in: best for everybody, and all of it proxy discrimination."""
    x, group = rng.uniform(size=1000), rng.integers(2, size=1000)
    estimates = np.column_stack([x, x + 0.5])
    price = estimates[np.arange(1000), group]
    assert proxy_discrimination(price, estimates) > 0.2
    # Partly telling features are in between.
    leaning = x + 0.5 * np.where(group == 1, 0.6, 0.4)
    assert 0 < proxy_discrimination(leaning, estimates) < proxy_discrimination(price, estimates)


def test_parity_is_not_the_absence_of_proxies():
    """Each without the other."""
    x, proxy = np.tile([0.0, 1.0], 200), np.repeat([0, 1], 200)
    group = proxy.astype(str)
    estimates = np.column_stack([x, x + 1.0])
    # The same prices in both groups, since who has the proxy gets the opposite of x.
    crossed = np.where(proxy == 1, 1 - x, x)
    assert unfairness_ratio(None, crossed, sensitive_features=group) == pytest.approx(0)
    assert proxy_discrimination(crossed, estimates) > 0.9
    # No proxy is used, and the groups differ since x does.
    x = np.repeat([0.0, 1.0, 1.0, 1.0], 100)
    estimates = np.column_stack([x, x + 1.0])
    free = estimates @ [0.5, 0.5]
    assert proxy_discrimination(free, estimates) < 1e-20
    assert unfairness_ratio(None, free, sensitive_features=group) > 0.1


def test_weights_are_repetition_and_zero_is_absent(rng):
    price, estimates = prices(rng, 80, 3)
    weights = rng.integers(0, 4, 80)
    rows = np.repeat(np.arange(80), weights)
    found = admissible_price(price, estimates, sample_weight=weights)
    repeated = admissible_price(price[rows], estimates[rows])
    assert found.proxy_discrimination == pytest.approx(repeated.proxy_discrimination, rel=1e-9)
    np.testing.assert_allclose(found.shares, repeated.shares, atol=1e-9)
    price[weights == 0], estimates[weights == 0] = 1e6, -1e6
    odd = admissible_price(price, estimates, sample_weight=weights)
    assert odd.proxy_discrimination == pytest.approx(found.proxy_discrimination, rel=1e-9)


@pytest.mark.parametrize(
    ("price", "estimates", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], r"best_estimates must have shape \(n, K\)"),
        ([1.0, 2.0], [[1.0], [2.0], [3.0]], "best_estimates"),
        ([1.0, np.nan], [[1.0], [2.0]], "y_pred must be finite"),
        ([1.0, 2.0], [[1.0], [np.inf]], "best_estimates must be finite"),
        ([], np.zeros((0, 2)), "at least one row"),
        ([1.0, 2.0], np.zeros((2, 0)), "best_estimates must have"),
    ],
)
def test_errors(price, estimates, message):
    with pytest.raises(ValueError, match=message):
        proxy_discrimination(price, estimates)


# --- attribution ---------------------------------------------------------------------------------------------------


@pytest.fixture
def book(rng):
    n = 4000
    X = pd.DataFrame(
        {
            "age": rng.uniform(0, 1, n),
            "postcode": rng.choice(["a", "b", "c", "d"], n),
            "car": rng.integers(3, size=n),
            "nothing": rng.normal(size=n),
        }
    )
    estimates = np.column_stack([X["age"], X["age"] + 1.0])
    price = X["age"] + 0.6 * (X["postcode"] == "c") + 0.3 * (X["car"] == 2)
    return X, price.to_numpy(), estimates


@pytest.mark.parametrize("weighted", [False, True])
def test_effects_of_independent_features(book, rng, weighted):
    X, price, estimates = book
    weights = rng.uniform(0.5, 1.5, len(X)) if weighted else None
    table = proxy_discrimination_by_feature(price, estimates, X, sample_weight=weights)
    assert table.index.tolist()[:2] == ["postcode", "car"]
    total = proxy_discrimination(price, estimates, sample_weight=weights)
    assert table["effect"].sum() == pytest.approx(total)
    assert table["share"].sum() == pytest.approx(1)
    # Of an additive residual of independent features the effects are their variances over that of the price.
    spread = np.cov(price, aweights=weights)
    for name, part in (("postcode", 0.6 * (X["postcode"] == "c")), ("car", 0.3 * (X["car"] == 2))):
        assert table.loc[name, "effect"] == pytest.approx(np.cov(part, aweights=weights) / spread, rel=0.05)
        assert table.loc[name, "alone"] == pytest.approx(table.loc[name, "effect"], rel=0.05)
    assert table.loc[["age", "nothing"], "share"].max() < 0.02


def test_features_that_say_the_same_share(book):
    X, price, estimates = book
    X["copy"] = X["postcode"]
    table = proxy_discrimination_by_feature(price, estimates, X[["age", "postcode", "copy", "car"]])
    assert table.loc["copy", "effect"] == pytest.approx(table.loc["postcode", "effect"], rel=1e-6)
    assert table.loc["copy", "alone"] == pytest.approx(2 * table.loc["copy", "effect"], rel=0.05)


def test_orders_of_many_features(book, rng):
    X, price, estimates = book
    many = X.assign(**{f"noise {k}": rng.normal(size=len(X)) for k in range(5)})
    table = proxy_discrimination_by_feature(price, estimates, many, n_orders=2, max_rows=800)
    assert table["effect"].sum() == pytest.approx(proxy_discrimination(price, estimates))
    assert table.index[0] == "postcode"
    again = proxy_discrimination_by_feature(price, estimates, many, n_orders=2, max_rows=800)
    pd.testing.assert_frame_equal(table, again)


def test_missing_values_and_arrays(book):
    X, price, estimates = book
    car = X["car"].astype(float).where(X["car"] != 2)  # missing says as much
    postcode = X["postcode"].where(X["postcode"] != "c", None)
    table = proxy_discrimination_by_feature(price, estimates, pd.DataFrame({"postcode": postcode, "car": car}))
    assert table.loc["postcode", "share"] == pytest.approx(0.36 * 3 / 16 / (0.36 * 3 / 16 + 0.09 * 2 / 9), rel=0.1)
    array = proxy_discrimination_by_feature(price, estimates, np.column_stack([X["age"], X["car"]]), max_rows=1000)
    assert sorted(array.index) == ["x0", "x1"]


def test_nothing_to_attribute(book):
    X, _, estimates = book
    table = proxy_discrimination_by_feature(estimates @ [0.5, 0.5], estimates, X)
    assert (table["effect"] == 0).all()
    assert table["share"].isna().all()


def test_shapley_effects_by_the_definition(book):
    """The average over orders against the weighted sum over subsets, with the explained variances that were used."""
    from fairdcov.metrics._proxy import _Explained, _orders, _tree_features

    X, price, estimates = book
    table, names, categorical = _tree_features(X[["age", "postcode", "car"]], len(X))
    residual = price - admissible_price(price, estimates).price
    explained = _Explained(table, categorical, residual, np.ones(len(X)), 0)
    by_orders = np.zeros(3)
    orders = _orders(3, 1, None)
    assert len(orders) == 6
    for order in orders:
        for position, feature in enumerate(order):
            by_orders[feature] += (explained(order[: position + 1]) - explained(order[:position])) / 6
    for feature, name in enumerate(names):
        others = [other for other in range(3) if other != feature]
        effect = sum(
            [1 / 3, 1 / 6, 1 / 3][size] * (explained([*subset, feature]) - explained(subset))
            for size in range(3)
            for subset in itertools.combinations(others, size)
        )
        assert by_orders[feature] == pytest.approx(effect, abs=1e-12), name
