"""Gaps between groups: closed forms against the influence of every row, and degrees of freedom by their definition."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from fairdcov.inference._gaps import FactorRegression, MeanGaps, RegressionGaps, SharedMeanGaps


@pytest.fixture
def book(rng):
    """Skewed prices and exposures; shares of four levels, few of them above 0, crossed with six regions."""
    n = 700
    shares = rng.dirichlet(np.ones(4), n)
    shares[shares < 0.25] = 0.0
    shares[:50] = np.eye(4)[rng.integers(4, size=50)]
    shares /= shares.sum(axis=1, keepdims=True)
    region = rng.integers(6, size=n)
    crossed = np.zeros((n, 24))
    for level in range(4):
        crossed[np.arange(n), 6 * level + region] = shares[:, level]
    exposure = rng.uniform(0.02, 1.0, n)
    return {
        "prices": rng.lognormal(5.0, 0.8, n),
        "weights": exposure / exposure.mean(),
        "region": region,
        "shares": {"few": sp.csr_array(shares), "crossed": sp.csr_array(crossed)},
    }


def parts_by_definition(prices, weights, shares, above):
    """Contributions of every row to the logarithms of both means, dense, (n, K) each."""
    p, w, u = shares.toarray(), weights[:, None], prices[:, None]
    found = []
    for member in (w * p, w * (1 - p)):
        total = member.sum(axis=0)
        extra = (member**2).sum(axis=0) / total if above else 0.0
        mean = (np.sum(member * u, axis=0) + extra / 2) / (total + extra / 2)
        found.append(member * (u - mean) / (total * mean))
    return found


@pytest.mark.parametrize("kind", ["few", "crossed"])
@pytest.mark.parametrize("above", [False, True])
def test_sums_over_the_shares_are_those_over_all_rows_and_groups(book, kind, above):
    weights, shares = book["weights"], book["shares"][kind]
    values = (book["prices"] > 200) * 1.0 if above else book["prices"] / book["prices"].mean()
    found = SharedMeanGaps(values, weights, shares, shares=above)
    own, rest = parts_by_definition(values, weights, shares, above)
    influence, member = own - rest, weights[:, None] * shares.toarray()
    expected = [own**2, rest**2, influence**2, influence**3, influence**4, influence * own, influence * rest]
    expected += [influence * member, influence * (weights[:, None] - member)]
    sums = found._sums()
    for k, products in enumerate(expected):
        scale = np.abs(products).sum(axis=0)
        assert (np.abs(sums[k] - products.sum(axis=0)) <= 1e-10 * scale).all(), k
    assert_allclose(found.influence(slice(None)), influence, rtol=1e-10, atol=1e-16)


def degrees_by_definition(influence, group, rest, group_rows, rest_rows):
    """Satterthwaite's for a normal population, less what the fourth cumulant takes."""
    parts = group * group_rows / (group_rows - 1), rest * rest_rows / (rest_rows - 1)
    normal = (parts[0] ** 2 / (group_rows - 1) + parts[1] ** 2 / (rest_rows - 1)) / (parts[0] + parts[1]) ** 2
    fourth = np.sum(influence**4) / np.sum(influence**2) ** 2 - 3 * normal
    return 1 / (normal + max(fourth, 0.0))


def test_degrees_and_skewness_of_observed_groups(book):
    prices, weights, codes = book["prices"], book["weights"], book["region"]
    part = MeanGaps(prices, weights, codes, 6)
    influence = part.influence(slice(None))
    for k in range(6):
        inside, psi = codes == k, influence[:, k]
        rows = [weights[rows].sum() ** 2 / np.sum(weights[rows] ** 2) for rows in (inside, ~inside)]
        degrees = degrees_by_definition(psi, np.sum(psi[inside] ** 2), np.sum(psi[~inside] ** 2), *rows)
        assert part.gaps.degrees[k] == pytest.approx(degrees, rel=1e-10)
        assert part.gaps.skewness[k] == pytest.approx(np.sum(psi**3) / np.sum(psi**2) ** 1.5, rel=1e-10)
        assert degrees < rows[0]


def test_degrees_of_coefficients(book):
    prices, weights, shares = book["prices"], book["weights"], book["shares"]["few"]
    n = len(prices)
    design = sp.csr_array(np.column_stack([np.ones(n), book["region"] == 1, book["region"] == 2]) * 1.0)
    part = RegressionGaps(FactorRegression(prices, weights, design), shares)
    influence, p = part.influence(slice(None)), shares.toarray()
    for k in range(4):
        psi, member, rest = influence[:, k], weights * p[:, k], weights * (1 - p[:, k])
        rows = [part.sum() ** 2 / np.sum(part**2) for part in (member, rest)]
        own, other = np.sum(p[:, k] * psi**2), np.sum((1 - p[:, k]) * psi**2)
        degrees = degrees_by_definition(psi, own, other, *rows)
        # The residuals of few factors are a little too small, by the same part in all rows.
        assert part.gaps.degrees[k] == pytest.approx(degrees, rel=0.02)


def test_without_excess_kurtosis_degrees_are_those_of_normal_prices():
    """Of two prices each the fourth cumulant is negative: Welch's test."""
    prices, codes = np.tile([1.0, 2.0], 40), np.repeat([0, 1], [60, 20])
    degrees = MeanGaps(prices, np.ones(80), codes, 2).gaps.degrees[0]
    variances = [np.var(prices[codes == k], ddof=1) / np.sum(codes == k) / 1.5**2 for k in (0, 1)]
    welch = sum(variances) ** 2 / (variances[0] ** 2 / 59 + variances[1] ** 2 / 19)
    assert degrees == pytest.approx(welch)


def test_shares_above_a_threshold_lose_no_degrees(book):
    """Of 0 and 1 the variance is known by the mean: degrees stay between the bounds of Satterthwaite's."""
    values, weights, codes = (book["prices"] > 600) * 1.0, book["weights"], book["region"]
    degrees = MeanGaps(values, weights, codes, 6, shares=True).gaps.degrees
    for k in range(6):
        rows = [weights[rows].sum() ** 2 / np.sum(weights[rows] ** 2) - 1 for rows in (codes == k, codes != k)]
        assert min(rows) <= degrees[k] <= sum(rows) * (1 + 1e-12)
