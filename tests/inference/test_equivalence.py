"""The equivalence certificate: estimates and errors against independent ones, decisions, coverage, bad input."""

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from fairdcov import SensitiveEncoder, with_probabilities
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.inference import EquivalenceTestResult, equivalence_test
from fairdcov.inference._decisions import Bent, holm, joint_tail
from fairdcov.inference._distance_correlation import DistanceCorrelationGap

WITHIN, UNSURE, OUTSIDE = "within tolerance", "not enough evidence", "outside tolerance"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def book(rng):
    """Prices, attributes, exposures and factors of 600 policies."""
    n = 600
    people = pd.DataFrame(
        {"gender": rng.choice(list("fm"), n), "region": rng.choice(["n", "s", "w"], n, p=[0.5, 0.3, 0.2])}
    )
    factors = pd.DataFrame(
        {"power": rng.integers(1, 6, n), "car": rng.choice(list("abc"), n), "age": rng.uniform(18, 80, n)}
    )
    prices = np.exp(0.1 * factors["power"] - 0.01 * factors["age"] + 0.1 * (people["region"] == "w"))
    return prices.to_numpy() * rng.uniform(0.8, 1.2, n), people, rng.uniform(0.05, 1.0, n), factors


def rows_of(result, *names):
    return [row for row in result.groups if row["attributes"] == list(names)]


def delete_one_error(estimate, n):
    """Standard error by the jackknife."""
    values = np.array([estimate(np.delete(np.arange(n), i)) for i in range(n)])
    return math.sqrt((n - 1) / n * np.sum((values - values.mean()) ** 2))


# --- estimates and errors ------------------------------------------------------------------------------------------


def test_the_gap_is_the_ratio_of_weighted_means(book):
    prices, people, exposure, _ = book
    result = equivalence_test(prices, people, tolerance=0.05, sample_weight=exposure)
    assert [part["attributes"] for part in result.attributes] == [["gender"], ["region"], ["gender", "region"]]
    assert len(result.groups) == 2 + 3 + 6
    for row in result.groups:
        inside = np.ones(len(prices), dtype=bool)
        for name, level in zip(row["attributes"], row["group"].split(" × "), strict=True):
            inside &= (people[name] == level).to_numpy()
        mean = np.average(prices[inside], weights=exposure[inside])
        rest = np.average(prices[~inside], weights=exposure[~inside])
        assert row["value"] == pytest.approx(mean)
        assert row["reference"] == pytest.approx(rest)
        assert row["gap"] == pytest.approx(mean / rest - 1)
        assert row["rows"] == inside.sum()
        assert row["exposure"] == pytest.approx(exposure[inside].sum())


def test_the_error_of_a_mean_is_that_of_the_jackknife(book):
    prices, people, exposure, _ = book
    inside = (people["region"] == "w").to_numpy()

    def estimate(rows):
        p, w, g = prices[rows], exposure[rows], inside[rows]
        return math.log(np.average(p[g], weights=w[g]) / np.average(p[~g], weights=w[~g]))

    row = rows_of(equivalence_test(prices, people, tolerance=0.05, sample_weight=exposure), "region")[2]
    assert row["standard_error"] == pytest.approx(delete_one_error(estimate, len(prices)), rel=0.02)


def test_the_error_given_factors_is_the_sandwich_of_statsmodels(book):
    statsmodels = pytest.importorskip("statsmodels.api")
    prices, people, exposure, factors = book
    factors = factors[["power", "car"]]
    result = equivalence_test(
        prices, people, tolerance=0.05, sample_weight=exposure, measure="given_factors", legitimate_features=factors
    )
    assert result.legitimate_features == ["power", "car"]
    for row in rows_of(result, "region"):
        inside = (people["region"] == row["group"]).to_numpy().astype(float)
        X = pd.get_dummies(factors.astype(str), drop_first=True, dtype=float)
        X.insert(0, "inside", inside)
        fit = statsmodels.WLS(np.log(prices), statsmodels.add_constant(X), weights=exposure).fit(cov_type="HC1")
        assert math.log1p(row["gap"]) == pytest.approx(fit.params["inside"])
        # Slightly larger: a correction for the rows of the group beside that for the coefficients.
        assert 1.0 <= row["standard_error"] / fit.bse["inside"] < 1.01
        assert row["value"] is None


def test_a_straight_line_of_a_number_is_taken_out(book):
    _, people, _, factors = book
    prices = np.exp(0.03 * factors["age"] + 0.1 * (people["gender"] == "f"))
    result = equivalence_test(
        prices, people["gender"], tolerance=0.05, measure="given_factors", legitimate_features=factors["age"]
    )
    assert result.groups[0]["gap"] == pytest.approx(math.expm1(0.1))
    assert result.groups[0]["standard_error"] < 1e-10
    assert result.outcome == OUTSIDE


def test_shares_of_a_tier(book):
    prices, people, _, _ = book
    result = equivalence_test(prices, people["gender"], tolerance=0.25, measure="tier", threshold=1.0)
    inside = (people["gender"] == "f").to_numpy()
    above = prices > 1.0
    a, n, b, m = above[inside].sum() + 0.5, inside.sum() + 0.5, above[~inside].sum() + 0.5, (~inside).sum() + 0.5
    row = result.groups[0]
    assert row["value"] == pytest.approx(a / n)
    assert row["gap"] == pytest.approx((a / n) / (b / m) - 1)
    # The variance of the logarithm of a ratio of shares (Pettigrew, Gart and Thomas 1986).
    assert row["standard_error"] == pytest.approx(math.sqrt(1 / a - 1 / n + 1 / b - 1 / m), rel=0.01)


def test_a_group_without_a_row_in_the_tier_has_an_error(rng):
    prices, group = rng.uniform(1.0, 2.0, 4_000), np.repeat(["a", "b"], 2_000)
    prices[group == "a"] = 1.0
    row = equivalence_test(prices, group, tolerance=0.25, measure="tier", threshold=1.5).groups[0]
    assert row["gap"] < -0.99
    assert row["standard_error"] > 1.0
    assert row["outcome"] == OUTSIDE
    few = equivalence_test(prices[1_970:2_030], group[1_970:2_030], tolerance=20.0, measure="tier", threshold=1.5)
    assert few.groups[0]["outcome"] == UNSURE


@pytest.mark.parametrize("measure", ["relative_mean", "given_factors", "tier", "distance_correlation"])
def test_units_order_and_rows_of_weight_0_do_not_matter(book, rng, measure):
    prices, people, exposure, factors = book
    more = {"given_factors": {"legitimate_features": factors}, "tier": {"threshold": 1.0}}.get(measure, {})
    expected = equivalence_test(
        prices, people, tolerance=0.1, sample_weight=exposure, measure=measure, adjust="max_t", **more
    )
    order = rng.permutation(len(prices))
    scale = 1.0 if measure == "tier" else 1e6
    changed = equivalence_test(
        np.append(prices[order] * scale, -1.0),
        pd.concat([people.iloc[order], people[:1].assign(region="nowhere")], ignore_index=True),
        tolerance=0.1,
        sample_weight=np.append(exposure[order] * 1e-3, 0.0),
        measure=measure,
        adjust="max_t",
        **(
            more
            | (
                {"legitimate_features": pd.concat([factors.iloc[order], factors[:1]], ignore_index=True)}
                if "legitimate_features" in more
                else {}
            )
        ),
    )
    for one, other in zip(expected.groups, changed.groups, strict=True):
        for name in ("gap", "lower", "upper", "p_within", "p_outside"):
            assert one[name] == pytest.approx(other[name], abs=1e-8), name
        assert one["outcome"] == other["outcome"]


def test_swapping_group_and_rest_swaps_the_interval(book):
    prices, people, exposure, _ = book
    first, second = equivalence_test(prices, people["gender"], tolerance=0.05, sample_weight=exposure).groups
    assert (1 + first["lower"]) * (1 + second["upper"]) == pytest.approx(1.0)
    assert first["p_within"] == second["p_within"]
    assert first["outcome"] == second["outcome"]


def test_constant_prices_are_within_any_tolerance():
    result = equivalence_test(np.full(100, 0.1), np.repeat(["a", "b"], 50), tolerance=1e-6)
    assert result.outcome == WITHIN
    assert result.groups[0]["gap"] == pytest.approx(0.0, abs=1e-12)


# --- decisions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tolerance", "outcome"), [(0.3, WITHIN), (None, UNSURE), (0.02, OUTSIDE)])
def test_three_outcomes(rng, tolerance, outcome):
    n = 2_000
    group = rng.choice(["a", "b"], n)
    prices = rng.gamma(5.0, size=n) * np.where(group == "a", 1.12, 1.0)
    if tolerance is None:
        tolerance = equivalence_test(prices, group, tolerance=1.0).groups[0]["gap"] + 0.01
    result = equivalence_test(prices, group, tolerance=tolerance)
    assert result.outcome == outcome
    assert all(row["outcome"] == outcome for row in result.groups)
    row, bound = result.groups[0], tolerance
    inside = -bound / (1 + bound) <= row["lower"] and row["upper"] <= bound
    assert inside == (outcome == WITHIN)
    assert (row["lower"] > bound) == (outcome == OUTSIDE)
    assert (row["rows_needed"] is not None) == (outcome == UNSURE)


def test_the_interval_decides_where_there_is_one_gap(book):
    prices, people, exposure, _ = book
    row = equivalence_test(prices, people["gender"], tolerance=0.05, sample_weight=exposure).groups[0]
    upper, error = math.log1p(row["upper"]), row["standard_error"]
    # At a tolerance of just the end of the interval the p-value is just alpha.
    size = max(abs(upper), abs(math.log1p(row["lower"])))
    at_end = equivalence_test(prices, people["gender"], tolerance=math.expm1(size), sample_weight=exposure).groups[0]
    assert at_end["p_within"] == pytest.approx(0.05)
    assert upper - math.log1p(row["gap"]) == pytest.approx(norm.isf(0.05) * error, rel=0.01)


def test_rows_needed_are_what_the_interval_needs(rng):
    n = 1_000
    group = rng.choice(["a", "b"], n)
    prices = rng.gamma(3.0, size=n)
    result = equivalence_test(prices, group, tolerance=0.06, adjust=None)
    row = result.groups[0]
    assert result.outcome == UNSURE
    distance = math.log1p(0.06) - abs(math.log1p(row["gap"]))
    factor = (student.isf(0.05, 900) * row["standard_error"] / abs(distance)) ** 2
    assert row["rows_needed"] == pytest.approx(factor * n, rel=0.01)
    assert row["exposure_needed"] == pytest.approx(row["rows_needed"], abs=1.0)
    # The same rows again and again: as many as that decide.
    times = math.ceil(row["rows_needed"] / n * 1.01)
    again = equivalence_test(np.tile(prices, times), np.tile(group, times), tolerance=0.06, adjust=None)
    assert again.outcome != UNSURE


def test_an_attribute_is_within_only_if_all_its_groups_are(rng):
    n = 30_000
    group = rng.choice(["a", "b", "c"], n, p=[0.5, 0.4, 0.1])
    prices = rng.gamma(20.0, size=n) * np.where(group == "c", 1.5, 1.0)
    result = equivalence_test(prices, group, tolerance=0.2)
    assert [row["outcome"] for row in result.groups] == [WITHIN, WITHIN, OUTSIDE]
    assert result.attributes[0]["outcome"] == result.outcome == OUTSIDE
    part = result.attributes[0]
    assert (part["n_within"], part["n_unsure"], part["n_outside"]) == (2, 0, 1)


def test_a_small_group_is_not_judged_and_leaves_its_attribute_unsure(rng):
    n = 3_000
    group = np.array(["a", "b"] * (n // 2))
    group[:20] = "c"
    result = equivalence_test(rng.gamma(50.0, size=n), group, tolerance=0.1)
    small = result.groups[2]
    assert (small["outcome"], small["note"]) == (UNSURE, "the group has fewer than 30 rows")
    assert small["lower"] is None
    assert small["p_within"] is None
    assert small["gap"] is not None
    assert result.outcome == UNSURE
    assert [row["outcome"] for row in result.groups[:2]] == [WITHIN, WITHIN]
    both = equivalence_test(rng.gamma(50.0, size=100), ["a"] * 60 + ["b"] * 40, tolerance=0.1, min_group_size=40)
    assert both.groups[0]["note"] is None
    rest = equivalence_test(
        rng.gamma(50.0, size=2_020),
        pd.DataFrame({"x": ["a"] * 2_000 + ["b"] * 20, "y": ["c", "d"] * 1_010}),
        tolerance=0.1,
    )
    assert rest.groups[0]["note"] == "the rest has fewer than 30 rows"


def test_holms_adjustment():
    judged = np.array([True, True, True, False, True, True])
    firsts = np.array([True, True, True, False, True, False])
    found = holm(np.array([0.01, 0.04, 0.03, 0.001, 0.2, 0.2]), judged, firsts)
    assert found == pytest.approx([0.04, 0.09, 0.09, 1.0, 0.2, 0.2])


def test_the_two_gaps_of_two_groups_count_once(book):
    prices, people, exposure, _ = book
    one = equivalence_test(prices, people["gender"], tolerance=0.05, sample_weight=exposure)
    alone = equivalence_test(prices, people["gender"], tolerance=0.05, sample_weight=exposure, adjust=None)
    band = equivalence_test(prices, people["gender"], tolerance=0.05, sample_weight=exposure, adjust="max_t")
    assert one.n_compared == band.n_compared == 1
    for other in (alone, band):
        for row, same in zip(one.groups, other.groups, strict=True):
            assert row["outcome"] == same["outcome"]
            assert row["p_within"] == pytest.approx(same["p_within"])
            assert row["lower"] == pytest.approx(same["lower"])
    assert equivalence_test(prices, people, tolerance=0.05).n_compared == 1 + 3 + 6


def test_the_joint_tail_lies_between_one_gap_and_bonferroni():
    random_state = np.random.RandomState(0)
    assert joint_tail(np.ones((1, 1)), 0.05, random_state) == 0.05
    assert joint_tail(np.eye(8), 0.05, random_state) == pytest.approx(0.05 / 8)
    # Gaps that are all the same: the largest of them is one of them, on two sides.
    assert joint_tail(np.ones((8, 8)), 0.05, random_state) == pytest.approx(0.025, rel=0.1)


def test_the_band_is_wider_and_no_wider_than_bonferronis(book):
    prices, people, exposure, factors = book
    options = {"tolerance": 0.1, "sample_weight": exposure}
    for measure in ({}, {"measure": "given_factors", "legitimate_features": factors}):
        alone = equivalence_test(prices, people, adjust=None, **options, **measure)
        band = equivalence_test(prices, people, adjust="max_t", **options, **measure)
        holm = equivalence_test(prices, people, adjust="holm", **options, **measure)
        ratios = [
            (math.log1p(one["upper"]) - math.log1p(one["gap"])) / (math.log1p(two["upper"]) - math.log1p(two["gap"]))
            for one, two in zip(band.groups, alone.groups, strict=True)
        ]
        assert min(ratios) > 1.3
        assert max(ratios) < 1.2 * norm.isf(0.05 / band.n_compared) / norm.isf(0.05)
        assert [row["lower"] for row in holm.groups] == [row["lower"] for row in alone.groups]
        for one, two, three in zip(alone.groups, band.groups, holm.groups, strict=True):
            assert one["p_within"] <= two["p_within"]
            assert one["p_within"] <= three["p_within"] <= 1.0
            inside = two["lower"] >= -0.1 / 1.1 and two["upper"] <= 0.1
            assert inside == (two["outcome"] == WITHIN)


# --- coverage ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate():
    """The benchmark script, whose population has known gaps."""
    if not BENCHMARKS.exists():
        pytest.skip("the tests run away from the repository, without benchmarks/")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        for name in ("certificate", "timing"):
            patch.delitem(sys.modules, name, raising=False)
        yield importlib.import_module("certificate")
        for name in ("certificate", "timing"):
            sys.modules.pop(name, None)


def test_intervals_cover_the_true_gaps_of_deterministic_prices(certificate):
    """Bounds of more than three standard errors. Textbook errors of the smallest group are too small by half."""
    found = certificate.simulate(
        2_000, 200, seed=1, attributes=["origin"], measures=["relative_mean", "given_factors"], textbook=True
    )
    for line in found:
        assert 0.83 <= line["coverage"] <= 0.97, line
        assert line["within"] <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 200), line
    (smallest,) = (line for line in found if line["group"] == "level 3" and line["measure"] == "given_factors")
    assert smallest["textbook_coverage"] < 0.7
    assert smallest["textbook_within"] > 0.12


def test_skewed_prices_of_a_small_group_are_missed_less_often():
    """Log-normal prices beside a rest without spread: of intervals symmetric about the estimate 9.5 % end below."""
    rng, n, n_books = np.random.default_rng(5), 100, 500
    group = np.repeat(["a", "b"], n)
    missed, symmetric = 0, 0
    for _ in range(n_books):
        prices = np.append(rng.lognormal(-0.5, 1.0, n), np.ones(n))
        row = equivalence_test(prices, group, tolerance=0.1).groups[0]
        missed += row["upper"] < 0.0
        symmetric += math.log1p(row["gap"]) + student.isf(0.05, n - 1) * row["standard_error"] < 0.0
    assert missed <= 0.9 * symmetric


def test_bent_scores_are_straightened_and_back():
    bent = Bent(np.full(5, 30.0), np.array([0.3, -0.3, 0.0, 0.9, -0.9]), np.array([0.1, -0.1, 0.0, 0.15, -0.15]))
    for straight in (-6.0, -1.6, -0.1, 0.0, 1.7, 2.9, 8.0):
        scores = bent.scores(np.full(5, straight))
        assert bent.straightened(scores) == pytest.approx(straight)
    assert bent.scores(np.full(5, 1.6))[2] == pytest.approx(1.6)


def test_no_gap_of_many_is_called_within_by_chance(rng):
    """Four groups with gaps at the tolerance or just beyond: any called within is an error of the certificate."""
    n, n_books, errors = 600, 300, {"holm": 0, "max_t": 0, None: 0}
    high = 1.4 / ((1.0 + 1.0 + 1.4) / 3)
    low = ((1.0 + 1.4 + 1.4) / 3) / 1.0
    for _ in range(n_books):
        group = rng.integers(0, 4, n)
        prices = np.array([1.0, 1.0, 1.4, 1.4])[group] * rng.gamma(30.0, size=n)
        for adjust in errors:
            result = equivalence_test(prices, group, tolerance=min(high, low) - 1, adjust=adjust)
            errors[adjust] += any(row["outcome"] == WITHIN for row in result.groups)
    most = n_books * (0.05 + 3 * math.sqrt(0.05 * 0.95 / n_books))
    assert errors["holm"] <= most
    assert errors["max_t"] <= most
    assert errors[None] > most


# --- forms of the result -------------------------------------------------------------------------------------------


def test_the_result_in_other_forms(book):
    prices, people, exposure, _ = book
    result = equivalence_test(prices, people, tolerance=0.05, sample_weight=exposure)
    assert isinstance(result, EquivalenceTestResult)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["tolerance"] == 0.05
    assert data["groups"] == result.groups
    frame = result.to_frame()
    assert list(frame["attributes"][:3]) == ["gender", "gender", "region"]
    assert frame["attributes"].iloc[-1] == "gender × region"
    assert len(frame) == len(result.groups)
    text = str(result)
    assert result.outcome in text
    assert "-4.76% to +5.00%" in text
    assert "adjusted for 10 gaps by Holm's method" in text
    result.to_dict()["groups"][0]["gap"] = None
    assert result.groups[0]["gap"] is not None


def test_numeric_attributes_are_cut_into_bins(book):
    prices, people, _, factors = book
    people = people[["gender"]].assign(age=factors["age"])
    with pytest.raises(ValueError, match="age"):
        equivalence_test(prices, people, tolerance=0.05)
    result = equivalence_test(prices, people, tolerance=0.05, bins={"age": [0, 40, 100]})
    assert [row["group"] for row in rows_of(result, "age")] == ["[0, 40)", "[40, 100]"]


def test_attributes_from_polars_and_lists(book):
    polars = pytest.importorskip("polars")
    prices, people, exposure, factors = book
    expected = equivalence_test(
        prices, people, tolerance=0.05, sample_weight=exposure, measure="given_factors", legitimate_features=factors
    )
    found = equivalence_test(
        prices.tolist(),
        polars.DataFrame({name: people[name].tolist() for name in people}),
        tolerance=0.05,
        sample_weight=exposure.tolist(),
        measure="given_factors",
        legitimate_features=polars.DataFrame({name: factors[name].tolist() for name in factors}),
    )
    assert found.groups == expected.groups


# --- attributes known as probabilities -----------------------------------------------------------------------------


@pytest.fixture
def imputed(book, rng):
    """The book with the probability of three levels of an attribute beside the gender."""
    prices, people, exposure, factors = book
    shares = rng.dirichlet([0.5, 0.5, 0.5], len(prices))
    people = people[["gender"]].assign(**dict(zip(["p_a", "p_b", "p_c"], shares.T, strict=True)))
    return prices * np.exp(0.2 * shares[:, 2]), people, exposure, factors[["power", "car"]], shares


def known_by_shares(people):
    return with_probabilities(people, {"origin": ["p_a", "p_b", "p_c"]})


@pytest.mark.parametrize("measure", ["relative_mean", "given_factors", "tier"])
def test_certain_probabilities_have_the_gaps_of_the_observed_attribute(imputed, rng, measure):
    prices, people, exposure, factors, _ = imputed
    origin = rng.integers(3, size=len(prices))
    people = people.assign(**dict(zip(["p_a", "p_b", "p_c"], np.eye(3)[origin].T, strict=True)))
    observed = people[["gender"]].assign(origin=np.array(["p_a", "p_b", "p_c"])[origin])
    options = {"tolerance": 0.05, "measure": measure, "sample_weight": exposure}
    if measure == "given_factors":
        options["legitimate_features"] = factors
    if measure == "tier":
        options["threshold"] = 1.0
    found, expected = (equivalence_test(prices, given, **options) for given in (known_by_shares(people), observed))
    assert [row["group"] for row in found.groups] == [row["group"] for row in expected.groups]
    for row, other in zip(found.groups, expected.groups, strict=True):
        for name, value in other.items():
            assert row[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


def test_gaps_of_shares_are_weighted_by_them_with_the_jackknifes_error(imputed):
    prices, people, exposure, _, shares = imputed

    def estimate(rows):
        p, w, g = prices[rows], exposure[rows], shares[rows, 2]
        return math.log(np.average(p, weights=w * g) / np.average(p, weights=w * (1 - g)))

    result = equivalence_test(prices, known_by_shares(people), tolerance=0.05, sample_weight=exposure)
    row = rows_of(result, "origin")[2]
    assert row["group"] == "p_c"
    assert math.log1p(row["gap"]) == pytest.approx(estimate(np.arange(len(prices))))
    assert row["standard_error"] == pytest.approx(delete_one_error(estimate, len(prices)), rel=0.02)
    assert row["rows"] == round(shares[:, 2].sum())
    assert [part["attributes"] for part in result.attributes] == [["gender"], ["origin"], ["gender", "origin"]]


def test_shares_of_a_tier_by_probabilities_have_the_jackknifes_error(imputed):
    prices, people, exposure, _, shares = imputed
    above = prices > 1.2

    def estimate(rows):
        p, w, g = above[rows], exposure[rows], shares[rows, 2]
        return math.log(np.average(p, weights=w * g) / np.average(p, weights=w * (1 - g)))

    row = equivalence_test(
        prices, known_by_shares(people), tolerance=0.05, measure="tier", threshold=1.2, sample_weight=exposure
    ).groups[4]
    assert row["standard_error"] == pytest.approx(delete_one_error(estimate, len(prices)), rel=0.05)


def test_the_gap_given_factors_is_the_coefficient_of_the_share(imputed):
    statsmodels = pytest.importorskip("statsmodels.api")
    prices, people, exposure, factors, shares = imputed
    result = equivalence_test(
        prices,
        known_by_shares(people),
        tolerance=0.05,
        sample_weight=exposure,
        measure="given_factors",
        legitimate_features=factors,
    )
    X = pd.get_dummies(factors.astype(str), drop_first=True, dtype=float)
    X.insert(0, "share", shares[:, 2])
    fit = statsmodels.WLS(np.log(prices), statsmodels.add_constant(X), weights=exposure).fit(cov_type="HC1")
    row = rows_of(result, "origin")[2]
    assert math.log1p(row["gap"]) == pytest.approx(fit.params["share"])
    assert 1.0 <= row["standard_error"] / fit.bse["share"] < 1.02


def test_shares_that_are_the_same_in_all_rows_say_nothing_given_factors(imputed):
    prices, people, _, factors, _ = imputed
    people = people.assign(p_a=0.2, p_b=0.3, p_c=0.5)
    with pytest.raises(ValueError, match=r"determine the groups of \['origin'\]"):
        equivalence_test(
            prices,
            with_probabilities(people[["p_a", "p_b", "p_c"]], {"origin": ["p_a", "p_b", "p_c"]}),
            tolerance=0.05,
            measure="given_factors",
            legitimate_features=factors,
        )


# --- distance correlation ------------------------------------------------------------------------------------------


def weighted_distance_correlation_squared(prices, points, weights):
    """By its definition over all pairs."""
    weights = weights / weights.sum()

    def centred(values):
        distances = np.sqrt(((values[:, None] - values) ** 2).sum(axis=2))
        means = distances @ weights
        return distances - means[:, None] - means + weights @ means

    a, b = centred(prices[:, None]), centred(points)
    covariance, left, right = (weights @ product @ weights for product in (a * b, a * a, b * b))
    return covariance / math.sqrt(left * right)


def test_the_distance_correlation_is_dcors(book, dcor):
    prices, people, _, factors = book
    attributes = people.assign(power=factors["power"])
    result = equivalence_test(prices, attributes, tolerance=0.3, measure="distance_correlation")
    for row in result.groups:
        points = np.asarray(SensitiveEncoder().fit_transform(attributes[row["attributes"]]))
        assert row["value"] == pytest.approx(dcor.distance_correlation(prices, points))
        net = math.sqrt(max(dcor.u_distance_correlation_sqr(prices, points), 0.0))
        assert row["gap"] == pytest.approx(net, abs=0.02)
        assert row["lower"] <= row["gap"] <= row["upper"]


def test_the_error_of_the_distance_correlation_is_the_jackknifes(book, rng):
    prices, people, exposure, _ = (part[:150] for part in book)
    prices = prices * np.exp(0.4 * (people["region"] == "w"))
    points = np.asarray(SensitiveEncoder().fit_transform(people))
    squared = weighted_distance_correlation_squared(prices.to_numpy(), points, exposure)
    part = DistanceCorrelationGap(prices.to_numpy(), exposure, SensitiveEncoder().fit_encode(people).concatenated())
    assert part.gaps.values[0] == pytest.approx(math.sqrt(squared))

    def estimate(rows):
        return weighted_distance_correlation_squared(prices.to_numpy()[rows], points[rows], exposure[rows])

    error = 2 * part.gaps.errors[0] * part.gaps.estimates[0]
    assert error == pytest.approx(delete_one_error(estimate, 150), rel=0.05)


def test_three_outcomes_of_the_distance_correlation(rng):
    group = rng.choice(list("ab"), 4_000)
    prices = rng.gamma(5.0, size=4_000) * np.exp(0.3 * (group == "b"))
    options = {"measure": "distance_correlation"}
    loose, near, tight = (
        equivalence_test(prices, group, tolerance=tolerance, **options) for tolerance in (0.6, 0.33, 0.1)
    )
    assert 0.3 < loose.groups[0]["gap"] < 0.36
    assert (loose.outcome, near.outcome, tight.outcome) == (WITHIN, UNSURE, OUTSIDE)
    assert near.groups[0]["rows_needed"] > 4_000
    assert "distance correlation of price and attributes" in str(near)
    assert "at most 0.33" in str(near)
    unrelated = equivalence_test(rng.gamma(5.0, size=4_000), group, tolerance=0.1, **options)
    assert unrelated.outcome == WITHIN
    assert unrelated.groups[0]["lower"] == 0.0
    constant = equivalence_test(np.ones(4_000), group, tolerance=0.01, **options)
    assert (constant.outcome, constant.groups[0]["gap"]) == (WITHIN, 0.0)


def test_what_the_distance_correlation_refuses(imputed, rng):
    prices, people, _, _, _ = imputed
    options = {"measure": "distance_correlation"}
    with pytest.raises(ValueError, match="tolerance must be below 1"):
        equivalence_test(prices, people["gender"], tolerance=1.0, **options)
    with pytest.raises(TypeError, match=r"known as probabilities.*not a distance correlation with an error"):
        equivalence_test(prices, known_by_shares(people), tolerance=0.1, **options)
    with pytest.raises(ValueError, match="at most 2,000 profiles; found 2,500"):
        equivalence_test(rng.gamma(5.0, size=2_500), rng.uniform(size=2_500), tolerance=0.1, **options)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must be a finite number > 0"),
        ({"tolerance": -0.1}, "tolerance must be a finite number > 0"),
        ({"tolerance": np.nan}, "tolerance must be a finite number > 0"),
        ({"measure": "ratio"}, "measure must be one of"),
        ({"adjust": "bonferroni"}, "adjust must be one of"),
        ({"alpha": 0.5}, "alpha must be a number between 0 and 0.5"),
        ({"alpha": True}, "alpha must be a number between 0 and 0.5"),
        ({"min_group_size": 1}, "min_group_size must be a whole number >= 2"),
        ({"min_group_size": 400}, "600 row.*too few to ever decide.*800 in all"),
        ({"sensitive_features": ["a"] * 571 + ["b"] * 29}, "no gap can ever be decided.*min_group_size=30.*have .*29"),
        ({"measure": "given_factors"}, "needs legitimate_features"),
        ({"legitimate_features": np.ones((600, 1))}, "legitimate_features are for measure='given_factors'"),
        ({"measure": "tier"}, "needs a threshold"),
        ({"threshold": 1.0}, "threshold is for measure='tier'"),
        ({"measure": "tier", "threshold": 1e9}, "threshold must leave prices above it; found 1e.09"),
        ({"sample_weight": np.zeros(600)}, "sample_weight must not be all zero"),
        ({"sensitive_features": ["a"] * 599}, "sensitive_features must have as many rows as y_pred"),
        ({"sensitive_features": ["a"] * 600}, "has one group only .'a'.*nothing to compare"),
        ({"sensitive_features": ["a"] * 300 + [None] * 300}, "missing"),
    ],
)
def test_bad_input(book, change, message):
    prices, people, _, _ = book
    arguments = {"sensitive_features": people["region"], "tolerance": 0.05} | change
    with pytest.raises(ValueError, match=message):
        equivalence_test(prices, **arguments)


@pytest.mark.parametrize(("value", "message"), [(0.0, "positive.*1 value"), (-1.0, "positive"), (np.nan, "finite")])
def test_bad_prices(book, value, message):
    prices, people, _, _ = book
    prices[7] = value
    with pytest.raises(ValueError, match=f"y_pred must be {message}"):
        equivalence_test(prices, people, tolerance=0.05)


def test_attributes_are_needed(book):
    with pytest.raises(MissingSensitiveFeaturesError, match="equivalence_test needs sensitive_features"):
        equivalence_test(book[0], None, tolerance=0.05)
    with pytest.raises(TypeError, match="tolerance must be a number"):
        equivalence_test(book[0], book[1], tolerance="5%")


def test_factors_that_determine_the_attribute(book):
    prices, people, _, factors = book
    given = {"measure": "given_factors", "tolerance": 0.05}
    with pytest.raises(ValueError, match=r"\['gender'\] determine the groups of \['gender'\]"):
        equivalence_test(prices, people["gender"], legitimate_features=people[["gender"]], **given)
    region = people["region"]
    result = equivalence_test(
        prices, region, legitimate_features=factors.assign(west=region == "w"), min_group_size=10, **given
    )
    west = result.groups[2]
    assert (west["outcome"], west["note"], west["gap"]) == (UNSURE, "the factors determine the group", None)
    assert result.outcome == UNSURE or OUTSIDE in [row["outcome"] for row in result.groups]
    assert [row["note"] for row in result.groups[:2]] == [None, None]
    assert "the factors determine the group" in str(result)


def test_missing_factors_are_a_level(book):
    prices, people, _, factors = book
    factors.loc[:50, "age"] = np.nan
    result = equivalence_test(
        prices, people["gender"], tolerance=0.05, measure="given_factors", legitimate_features=factors
    )
    assert np.isfinite(result.groups[0]["gap"])
