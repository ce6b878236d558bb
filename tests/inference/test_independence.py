"""The test as users call it: p-values, levels and power, effect sizes, and what it says to bad input."""

import dataclasses
import itertools
import json
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest, chi2

from fairdcov import SensitiveEncoder
from fairdcov._kernels import _reference
from fairdcov.dependence import PermutableDependence
from fairdcov.encoding._blocks import SensitiveBlocks
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.inference import IndependenceTestResult, independence_test


def people(rng, n, *, age=False):
    frame = pd.DataFrame({"gender": rng.choice(list("fm"), n), "region": rng.choice(list("nsw"), n)})
    return frame.assign(age=rng.normal(40, 12, n)) if age else frame


def dependent(rng, n, strength, **options):
    frame = people(rng, n, **options)
    shift = (frame["gender"] == "f") & (frame["region"] != "n")
    return rng.gamma(2.0, size=n) + strength * shift.to_numpy(), frame


def points(frame):
    """All attributes as one point, by the public encoder."""
    return SensitiveEncoder().fit_transform(frame)


# ---------------------------------------------------------------------------------------------------------------------
# Statistic, effect size, p-value
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [False, True])
@pytest.mark.parametrize("test", ["permutation", "chi2"])
def test_statistic_and_effect_size_of_dcor(test, age, rng, dcor):
    u, frame = dependent(rng, 150, 1.0, age=age)
    found = independence_test(u, frame, test=test, n_permutations=19)
    assert found.statistic == pytest.approx(dcor.u_distance_covariance_sqr(u, points(frame)), rel=1e-9)
    assert found.effect_size == pytest.approx(dcor.u_distance_correlation_sqr(u, points(frame)), rel=1e-9)
    assert 0 < found.effect_size < 1
    assert found.statistic_type == "u"


def test_chi_square_of_the_published_formula(rng, dcor):
    """Shen, Panda and Vogelstein (2022), on dcor's bias-corrected correlation, above and below 0."""
    signs = set()
    for strength in (0.0, 0.0, 0.0, 0.0, 0.3, 1.0):
        u, frame = dependent(rng, 90, strength, age=True)
        for attributes in (frame, frame[["age"]], frame["gender"]):
            correlation = dcor.u_distance_correlation_sqr(u, points(pd.DataFrame(attributes)))
            found = independence_test(u, attributes, test="chi2")
            assert found.p_value == pytest.approx(chi2.sf(90 * correlation + 1, 1), rel=1e-8)
            assert found.effect_size == pytest.approx(max(correlation, 0), abs=1e-12)
            signs.add(np.sign(correlation))
    assert signs == {-1.0, 1.0}
    one = independence_test(u, frame["age"], test="chi2", measure="dcov")
    assert one.p_value == independence_test(u, frame["age"], test="chi2").p_value
    assert one.null_distribution is one.null_mean is one.null_quantile_95 is one.n_permutations is None


def test_weights_act_as_repetition(rng, dcor):
    u, frame = dependent(rng, 60, 1.0, age=True)
    weights = rng.integers(1, 4, 60)
    found = independence_test(u, frame, sample_weight=weights, n_permutations=9)
    repeated, again = np.repeat(u, weights), np.repeat(points(frame), weights, axis=0)
    assert found.statistic_type == "v"
    assert found.statistic == pytest.approx(dcor.distance_covariance_sqr(repeated, again), rel=1e-9)
    assert found.effect_size == pytest.approx(dcor.distance_correlation_sqr(repeated, again), rel=1e-9)


def test_effect_size_of_the_sum_over_attributes(rng, dcor):
    u, frame = dependent(rng, 80, 1.0, age=True)
    found = independence_test(u, frame, measure="dcov", n_permutations=9)
    blocks = [points(frame[[name]]) for name in frame]
    covariances = [dcor.u_distance_covariance_sqr(u, block) for block in blocks]
    own = dcor.u_distance_covariance_sqr(u, u)
    deviations = [np.sqrt(own * dcor.u_distance_covariance_sqr(block, block)) for block in blocks]
    assert found.statistic == pytest.approx(sum(covariances), rel=1e-9)
    assert found.effect_size == pytest.approx(sum(covariances) / sum(deviations), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", [0.0, 0.5, 3.0])
def test_effect_size_of_the_joint_measure(c, weighted, rng):
    """The cosine between two centred matrices, by their definitions."""
    n = 40
    u, frame = dependent(rng, n, 2.0)
    weights = rng.exponential(size=n) if weighted else None
    found = independence_test(u, frame, measure="jdcov", c=c, n_permutations=9, sample_weight=weights)
    statistic, p = ("v", weights / weights.sum()) if weighted else ("u", np.full(n, 1 / n))
    blocks = [points(frame[[name]]) for name in frame]
    product = np.prod([_reference.centred(block, statistic, p) + c for block in blocks], axis=0)
    U = _reference.centred(u, statistic, p)
    if weighted:
        project = np.eye(n) - np.outer(np.ones(n), p)
        W = project @ product @ project.T
    else:
        np.fill_diagonal(product, 0.0)
        rows = product.sum(axis=1) / (n - 2)
        W = product - rows[:, None] - rows[None, :] + product.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(W, 0.0)
    inner, own, other = (_reference.mean_product(m, statistic, p) for m in (U * W, U * U, W * W))
    assert found.statistic == pytest.approx(inner, rel=1e-9)
    assert found.effect_size == pytest.approx(max(inner, 0) / np.sqrt(own * other), rel=1e-9)


def test_one_attribute_is_the_same_for_every_measure(rng):
    u, frame = dependent(rng, 70, 1.0)
    found = [independence_test(u, frame["region"], measure=m, n_permutations=49) for m in ("ccdcov", "dcov", "jdcov")]
    for other in found[1:]:
        assert other.statistic == pytest.approx(found[0].statistic, rel=1e-10)
        assert other.effect_size == pytest.approx(found[0].effect_size, rel=1e-10)
        assert other.p_value == found[0].p_value


def test_effect_size_is_one_for_the_attribute_itself():
    group = np.repeat([0.0, 1.0], [30, 50])
    for test in ("permutation", "chi2"):
        assert independence_test(group, group, test=test, n_permutations=9).effect_size == pytest.approx(1.0)
    weights = np.linspace(0.1, 2, 80)
    assert independence_test(group, group, sample_weight=weights, n_permutations=9).effect_size == pytest.approx(1.0)


def test_p_value_of_all_permutations(rng):
    """Against the exact p-value over all 720 permutations of six rows, ties included."""
    u = np.array([0.0, 1.0, 1.0, 2.0, 2.0, 5.0])
    frame = pd.DataFrame({"gender": list("fffmmm"), "region": list("nnsnww")})
    encoded = points(frame)

    def statistic(rows):
        return _reference.distance_covariance(u, encoded[list(rows)])

    values = np.array([statistic(rows) for rows in itertools.permutations(range(6))])
    observed = statistic(range(6))
    exact = np.mean(values >= observed - 1e-12)
    assert 0.05 < exact < 0.5
    found = independence_test(u, frame, n_permutations=20_000)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert set(found.null_distribution.round(10) + 0.0) == set(values.round(10) + 0.0)
    counts = {value: np.mean(values.round(8) == value) for value in set(values.round(8))}
    for value, share in counts.items():
        seen = np.mean(found.null_distribution.round(8) == value)
        assert seen == pytest.approx(share, abs=5 * np.sqrt(share / 20_000))
    assert found.null_mean == pytest.approx(found.null_distribution.mean())
    assert found.null_quantile_95 == pytest.approx(np.quantile(found.null_distribution, 0.95))


def test_p_value_of_dcor(rng, dcor):
    """The permutation test of the V-statistic; dcor multiplies it by n."""
    n, B = 60, 1999
    for strength in (0.2, 0.6):
        u, frame = dependent(rng, n, strength, age=True)
        oracle = dcor.independence.distance_covariance_test(u, points(frame), num_resamples=B, random_state=0)
        sample = PermutableDependence(u, SensitiveBlocks.from_arrays([points(frame)]), "ccdcov")
        assert sample.value() == pytest.approx(oracle.statistic / n, rel=1e-9)
        values = sample.permuted_values(B, np.random.default_rng(0))
        p_value = (1 + np.sum(values >= sample.value())) / (1 + B)
        spread = np.sqrt(2 * p_value * (1 - p_value) / B)
        assert p_value == pytest.approx(oracle.pvalue, abs=4 * spread)
        # The two statistics rank permutations alike but for a little.
        assert independence_test(u, frame, n_permutations=B).p_value == pytest.approx(oracle.pvalue, abs=0.05)


def test_mean_of_the_permuted_statistic_is_zero(rng):
    u, frame = dependent(rng, 200, 1.0)
    found = independence_test(u, frame, n_permutations=4000)
    assert abs(found.null_mean) < 4 * found.null_distribution.std() / np.sqrt(4000)
    assert found.null_distribution.std() > 1e-3


def test_equal_statistics_count_against_a_rejection():
    """Every permutation of one odd row gives the same statistic, but not the same rounding."""
    u = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.7])
    group = list("aabbcc")
    found = independence_test(u, group, n_permutations=500, sample_weight=[1, 1, 1, 1, 1.0000001, 1])
    assert np.ptp(found.null_distribution) < 1e-6
    found = independence_test(np.array([0.1, 0.1, 0.7, 0.7, 0.7, 0.1]) / 3, group, n_permutations=500)
    values = found.null_distribution
    near = np.abs(values - found.statistic) < 1e-12
    assert found.p_value == (1 + np.sum(near | (values > found.statistic))) / 501


# ---------------------------------------------------------------------------------------------------------------------
# Level and power
# ---------------------------------------------------------------------------------------------------------------------


def mixed(rng, n):
    return rng.gamma(2.0, size=n), people(rng, n)


def discrete(rng, n):
    return rng.integers(0, 3, n) / 3, people(rng, n)


def continuous(rng, n):
    return rng.gamma(2.0, size=n), people(rng, n, age=True)


def rare(rng, n):
    return np.exp(2 * rng.normal(size=n)), pd.DataFrame({"group": rng.choice(["a", "b", "c"], n, p=[0.9, 0.07, 0.03])})


def correlated(rng, n):
    frame = people(rng, n)
    frame["second"] = np.where(rng.uniform(size=n) < 0.8, frame["gender"], "f")
    return rng.gamma(2.0, size=n), frame


def binary(rng, n):
    return rng.integers(0, 2, n).astype(float), rng.integers(0, 2, n)


def rejections(make, n, repetitions, *, weights=None, **options):
    """Share of samples rejected at 5 %; with 99 permutations, or 39, that level is possible exactly."""
    rng = np.random.default_rng(11)
    options = {"n_permutations": 99, "n_threads": 1, **options}
    count = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        for seed in range(repetitions):
            u, frame = make(rng, n)
            drawn = {} if weights is None else {"sample_weight": weights(rng, n)}
            count += independence_test(u, frame, random_state=seed, **drawn, **options).p_value <= 0.05
    return count / repetitions


def exposure(rng, n):
    return rng.uniform(0.05, 1.0, n)


@pytest.mark.parametrize("measure", ["ccdcov", "dcov", "jdcov"])
@pytest.mark.parametrize("make", [mixed, discrete])
def test_level_of_the_permutation_test(make, measure):
    """5 % +- 1.5 %, three standard deviations of the binomial with 2,000 samples."""
    repetitions = 2000 if measure == "ccdcov" else 500
    allowed = 0.015 if measure == "ccdcov" else 0.03
    assert rejections(make, 60, repetitions, measure=measure) == pytest.approx(0.05, abs=allowed)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (continuous, {"method": "tiles"}),
        (continuous, {"method": "approximate"}),
        (rare, {}),
        (mixed, {"measure": "jdcov", "hypothesis": "mutual"}),
        (mixed, {"weights": exposure}),
    ],
    ids=["tiles", "approximate", "rare", "mutual", "weighted"],
)
def test_level_of_other_ways(make, options):
    """At most 5 % in truth: four standard deviations with 200 samples. The slow test below is sharper."""
    assert rejections(make, 40, 200, n_permutations=39, **options) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (mixed, {"measure": "dcov"}),
        (mixed, {"measure": "jdcov"}),
        (continuous, {}),
        (continuous, {"method": "tiles"}),
        (continuous, {"method": "approximate"}),
        (correlated, {}),
        (correlated, {"measure": "jdcov", "c": 0.2}),
        (mixed, {"measure": "jdcov", "hypothesis": "mutual"}),
        (mixed, {"weights": exposure}),
        (continuous, {"weights": exposure, "method": "approximate"}),
        (discrete, {"weights": exposure, "measure": "jdcov"}),
    ],
)
def test_level_in_detail(make, options):
    assert rejections(make, 60, 2000, n_permutations=39, **options) == pytest.approx(0.05, abs=0.015)


def test_level_of_the_chi_square_test():
    """Exact in the limit for two binary variables, and not above it for more values."""
    assert rejections(binary, 200, 2000, test="chi2") == pytest.approx(0.05, abs=0.015)
    for make in (mixed, continuous, discrete):
        assert rejections(make, 60, 500, test="chi2") <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)


def gerrymandered(rng, n):
    frame = pd.DataFrame({"gender": rng.choice(list("fm"), n), "region": rng.choice(list("ns"), n)})
    agree = (frame["gender"] == "f") == (frame["region"] == "n")
    return rng.gamma(2.0, size=n) + 1.5 * agree.to_numpy(), frame


def test_power_against_dependence_on_intersections():
    """The exclusive or: attribute by attribute there is nothing to see."""
    seen = {m: rejections(gerrymandered, 120, 60, measure=m) for m in ("ccdcov", "jdcov", "dcov")}
    assert seen["ccdcov"] > 0.9
    assert seen["jdcov"] > 0.9
    assert seen["dcov"] < 0.3
    assert rejections(gerrymandered, 120, 60, test="chi2") > 0.9
    assert rejections(gerrymandered, 120, 60, weights=exposure) > 0.8


def test_mutual_dependence_of_the_attributes_alone(rng):
    """The prediction is independent of them: only the mutual hypothesis is false."""
    _, frame = correlated(rng, 150)
    u = rng.gamma(2.0, size=150)
    mutual = independence_test(u, frame, measure="jdcov", hypothesis="mutual", n_permutations=99)
    prediction = independence_test(u, frame, measure="jdcov", n_permutations=99)
    assert mutual.p_value == 0.01
    assert prediction.p_value > 0.01
    assert mutual.statistic > 10 * abs(prediction.statistic)
    assert mutual.effect_size == pytest.approx(prediction.effect_size, abs=1e-12)
    blocks = [points(frame[[name]]) for name in frame]
    assert mutual.statistic == pytest.approx(_reference.joint_distance_covariance(u, *blocks), rel=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Large samples
# ---------------------------------------------------------------------------------------------------------------------


def large(n, *, strength=0.0):
    rng = np.random.default_rng(n)
    frame = pd.DataFrame({"gender": rng.choice(list("fm"), n), "region": rng.choice(list("abcdefghij"), n)})
    return rng.gamma(2.0, size=n) + strength * (frame["gender"] == "f").to_numpy(), frame


@pytest.mark.parametrize("n", [60_000, 100_000])
def test_large_samples(n, dcor):
    """Counts of pairs pass 2^32 here: nothing may overflow."""
    u, frame = large(n)
    for test in ("chi2", "permutation"):
        found = independence_test(u, frame, test=test, n_permutations=99)
        assert 0.03 < found.p_value < 1
        assert found.effect_size < 1e-3
        assert found.n_profiles == 20
        assert independence_test(*large(n, strength=0.05), test=test, n_permutations=99).p_value <= 0.01
    assert independence_test(u, frame, measure="jdcov", n_permutations=39).p_value > 0.03
    weighted = independence_test(u, frame, sample_weight=np.linspace(0.1, 1, n), n_permutations=39)
    assert weighted.p_value > 0.03
    age = np.random.default_rng(0).normal(size=n)
    univariate = independence_test(u, age, test="chi2")
    assert univariate.method == "univariate"
    correlation = dcor.u_distance_covariance_sqr(u, (age - age.min()) / np.ptp(age), method="mergesort")
    assert univariate.statistic == pytest.approx(correlation, rel=1e-6)
    assert univariate.p_value > 0.03


@pytest.mark.slow
def test_a_million_rows():
    u, frame = large(1_000_000)
    for test in ("chi2", "permutation"):
        found = independence_test(u, frame, test=test, n_permutations=99)
        assert 0.03 < found.p_value < 1
        assert found.effect_size < 1e-4
    assert independence_test(*large(1_000_000, strength=0.02), test="chi2").p_value < 1e-3
    assert independence_test(u, frame, measure="jdcov", hypothesis="mutual", n_permutations=39).p_value > 0.03
    assert independence_test(u, frame.assign(age=u[::-1]), n_permutations=19).p_value > 0.03


@pytest.mark.slow
@pytest.mark.parametrize("n", [60_000, 100_000, 1_000_000])
def test_level_of_the_chi_square_test_in_large_samples(n):
    """p-values over independent samples, where implementations that count pairs in 32 bits go astray."""
    rng = np.random.default_rng(n)
    repetitions = 400 if n < 1_000_000 else 100
    p_values = [independence_test(*binary(rng, n), test="chi2").p_value for _ in range(repetitions)]
    rejected = int(np.sum(np.array(p_values) <= 0.05))
    assert binomtest(rejected, repetitions, 0.05).pvalue > 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# Invariances
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"measure": "jdcov", "hypothesis": "mutual"}, {"weighted": True}])
def test_the_same_bits_for_any_number_of_threads(options, monkeypatch, rng):
    monkeypatch.setattr("fairdcov.inference._independence._WORTH_A_THREAD", 0)
    monkeypatch.setattr("fairdcov.inference._independence._BLOCK_ROWS", 5_000)
    u, frame = dependent(rng, 300, 0.5)
    weights = rng.exponential(size=300) if options.get("weighted") else None
    options = {name: value for name, value in options.items() if name != "weighted"}
    one, *others = (
        independence_test(u, frame, n_permutations=70, sample_weight=weights, n_threads=n, **options)
        for n in (1, 2, 3, 16)
    )
    assert len(np.unique(one.null_distribution)) > 60
    for other in others:
        assert_array_equal(other.null_distribution, one.null_distribution)
        assert other.to_dict() == one.to_dict()


def test_random_state(rng):
    u, frame = dependent(rng, 50, 0.5)
    first, second, other, more = (
        independence_test(u, frame, n_permutations=b, random_state=s).null_distribution
        for s, b in ((1, 30), (1, 30), (2, 30), (np.random.RandomState(1), 30))
    )
    assert_array_equal(first, second)
    assert_array_equal(first, more)
    assert not np.array_equal(first, other)


def test_an_interrupt_ends_the_threads(monkeypatch, rng):
    monkeypatch.setattr("fairdcov.inference._independence._WORTH_A_THREAD", 0)
    monkeypatch.setattr("fairdcov.inference._independence._BLOCK_ROWS", 1)
    calls = []

    def interrupted(self, n_permutations, generator):
        calls.append(n_permutations)
        raise KeyboardInterrupt

    monkeypatch.setattr(PermutableDependence, "permuted_values", interrupted)
    u, frame = dependent(rng, 50, 0.5)
    with pytest.raises(KeyboardInterrupt):
        independence_test(u, frame, n_permutations=4000, n_threads=2)
    assert len(calls) < 1000


@pytest.mark.parametrize("test", ["permutation", "chi2"])
def test_units_of_the_prediction_do_not_matter(test, rng):
    u, frame = dependent(rng, 100, 0.3)
    found = independence_test(u, frame, test=test, n_permutations=99)
    for moved in (1e6 * u, 1e-9 * u, u + 1e6):
        other = independence_test(moved, frame, test=test, n_permutations=99)
        assert other.p_value == pytest.approx(found.p_value, rel=1e-5)
        assert other.effect_size == pytest.approx(found.effect_size, rel=1e-5)


@pytest.mark.parametrize(
    "convert", [lambda s: pl.DataFrame(s.to_dict("list")), lambda s: s.to_numpy(), lambda s: s.to_numpy().tolist()]
)
def test_any_frame(convert, rng):
    u, frame = dependent(rng, 50, 0.5)
    weights = np.r_[0.0, rng.exponential(size=49)]
    for given in (None, weights):
        expected = independence_test(u, frame, n_permutations=19, sample_weight=given)
        found = independence_test(u.tolist(), convert(frame), n_permutations=19, sample_weight=given)
        assert_array_equal(found.null_distribution, expected.null_distribution)


def test_rows_of_weight_zero_are_absent(rng):
    """Neither their predictions nor their levels and values count."""
    u, frame = dependent(rng, 80, 0.5, age=True)
    frame.loc[0, ["region", "age"]] = ["nowhere", 500.0]
    weights = np.r_[0.0, 0.0, rng.exponential(size=78)]
    found = independence_test(u, frame, sample_weight=weights, n_permutations=29)
    expected = independence_test(u[2:], frame[2:], sample_weight=weights[2:], n_permutations=29)
    assert found.to_dict(null_distribution=True) == expected.to_dict(null_distribution=True)
    assert found.n_samples == 78
    u[0] = 1e9
    assert independence_test(u, frame, sample_weight=weights, n_permutations=29).statistic == found.statistic


def test_equal_weights_are_no_weights(rng):
    u, frame = dependent(rng, 40, 0.5)
    expected = independence_test(u, frame, n_permutations=19)
    for weights in (np.full(40, 0.25), 3.0):
        found = independence_test(u, frame, n_permutations=19, sample_weight=weights)
        assert found.to_dict(null_distribution=True) == expected.to_dict(null_distribution=True)
    chi_square = independence_test(u, frame, test="chi2", sample_weight=np.full(40, 2.0))
    assert chi_square.to_dict() == independence_test(u, frame, test="chi2").to_dict()


def test_encoder(rng):
    """A fitted one is used as it is, another is cloned; scales do not depend on the weights."""
    u = rng.normal(size=60)
    codes = pd.DataFrame({"region": rng.integers(0, 4, 60)})
    nominal = SensitiveEncoder(categorical_features="all")
    found = independence_test(u, codes, encoder=nominal, n_permutations=9)
    assert not hasattr(nominal, "attributes_")
    assert found.statistic == pytest.approx(independence_test(u, codes.astype(str), n_permutations=9).statistic)
    fitted = SensitiveEncoder().fit(pd.DataFrame({"region": [0, 30]}))
    assert independence_test(u, codes, encoder=fitted, n_permutations=9).statistic == pytest.approx(
        independence_test(u, codes, n_permutations=9).statistic / 10
    )
    standard = SensitiveEncoder(continuous_scaling="standard")
    weights = rng.exponential(size=60)
    weighted = independence_test(u, codes, encoder=standard, sample_weight=weights, n_permutations=9)
    z = (codes["region"] / codes["region"].std(ddof=0)).to_numpy()
    expected = _reference.distance_covariance(u, z, statistic="v", probabilities=weights / weights.sum())
    assert weighted.statistic == pytest.approx(expected)


@pytest.mark.parametrize("method", ["profiles", "tiles", "univariate", "approximate"])
def test_methods_agree(method, rng):
    u, age = rng.normal(size=200), rng.normal(size=200)
    u += 0.1 * age
    expected = independence_test(u, age, method="auto", n_permutations=199)
    found = independence_test(u, age, method=method, n_permutations=199)
    assert found.method == method
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-6)
    assert found.effect_size == pytest.approx(expected.effect_size, rel=1e-6)
    assert found.p_value == pytest.approx(expected.p_value, abs=0.15)


# ---------------------------------------------------------------------------------------------------------------------
# Result
# ---------------------------------------------------------------------------------------------------------------------


def test_result(rng):
    u, frame = dependent(rng, 60, 1.0)
    found = independence_test(u, frame, n_permutations=99)
    assert isinstance(found, IndependenceTestResult)
    assert (found.measure, found.test, found.hypothesis) == ("ccdcov", "permutation", "prediction")
    assert (found.n_samples, found.n_profiles, found.n_permutations) == (60, 6, 99)
    assert found.attributes == ("gender", "region")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.p_value = 0.0
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["p_value"] == found.p_value
    assert plain["attributes"] == ["gender", "region"]
    assert "null_distribution" not in plain
    full = found.to_dict(null_distribution=True)
    assert_allclose(full["null_distribution"], found.null_distribution, rtol=0)
    chi_square = independence_test(u, frame, test="chi2")
    assert json.loads(json.dumps(chi_square.to_dict(null_distribution=True)))["null_distribution"] is None


def test_result_as_text(rng):
    u, frame = dependent(rng, 60, 1.0)
    text = str(independence_test(u, frame, n_permutations=1999))
    assert "prediction independent of the attributes (gender, region)" in text
    assert "1,999 permutations, 60 rows, 6 profiles" in text
    for word in ("p-value", "effect size", "statistic", "if true"):
        assert word in text
    mutual = str(independence_test(u, frame, measure="jdcov", hypothesis="mutual", n_permutations=9))
    assert "prediction and attributes mutually independent (gender, region)" in mutual
    assert "if true" not in str(independence_test(u, frame, test="chi2"))


def test_progress_bar(rng, capfd):
    u, frame = dependent(rng, 50, 1.0)
    independence_test(u, frame, n_permutations=30)
    assert capfd.readouterr().err == ""
    independence_test(u, frame, n_permutations=30, verbose=1)
    assert "permuting" in capfd.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# Input that has no answer, or a trivial one
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", ["permutation", "chi2"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, -7.0])
def test_constant_prediction(value, test, rng):
    frame = people(rng, 30, age=True)
    found = independence_test(np.full(30, value), frame, test=test, n_permutations=19)
    assert (found.statistic, found.p_value, found.effect_size) == (0.0, 1.0, 0.0)
    rounding = value * (1 + np.finfo(float).eps * rng.integers(0, 3, 30))
    found = independence_test(rounding, frame, test=test, n_permutations=19)
    assert (found.statistic, found.p_value, found.effect_size) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("options", [{}, {"test": "chi2"}, {"measure": "jdcov"}, {"sample_weight": np.arange(1.0, 31)}])
def test_single_group(options, rng):
    with pytest.warns(SensitiveFeaturesWarning, match="are constant"):
        found = independence_test(rng.normal(size=30), ["a"] * 30, n_permutations=19, **options)
    assert (found.statistic, found.p_value, found.effect_size, found.n_profiles) == (0.0, 1.0, 0.0, 1)


@pytest.mark.parametrize("test", ["permutation", "chi2"])
def test_one_row_that_differs(test):
    """U-centred distances are then 0 everywhere: the statistic is 0 in exact arithmetic, whatever the permutation."""
    group = ["a"] * 29 + ["b"]
    found = independence_test(np.arange(30.0), group, test=test, n_permutations=19)
    assert (found.statistic, found.p_value, found.effect_size) == (0.0, 1.0, 0.0)
    found = independence_test(np.r_[np.ones(29), 2.0], np.arange(30.0), test=test, n_permutations=19)
    assert (found.statistic, found.p_value, found.effect_size) == (0.0, 1.0, 0.0)


def test_mutual_hypothesis_of_a_constant_prediction(rng):
    """It says something about the attributes still."""
    _, frame = correlated(rng, 100)
    found = independence_test(np.ones(100), frame, measure="jdcov", hypothesis="mutual", n_permutations=99)
    assert found.p_value == 0.01
    assert found.effect_size == 0.0


def test_four_rows_are_enough():
    found = independence_test([0.0, 0.0, 1.0, 1.0], list("aabb"), n_permutations=999)
    assert found.effect_size == pytest.approx(1.0)
    assert found.p_value == pytest.approx(1 / 3, abs=0.06)  # 8 of 24 permutations separate the groups
    assert independence_test([0.0, 0.0, 1.0, 1.0], list("aabb"), test="chi2").p_value == pytest.approx(chi2.sf(5, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_pred": [1.0, 2.0, 3.0], "sensitive_features": list("abc")}, "at least 4 rows; found 3"),
        ({"y_pred": [], "sensitive_features": []}, "at least 4 rows; found 0"),
        ({"sample_weight": [0, 0, 0, 0, 1, 2, 3]}, "at least 4 rows; found 3 .* of positive weight"),
        ({"y_pred": [1, 2, 3, np.nan, 5, 6, 7]}, "y_pred must be finite; found 1 NaN"),
        ({"y_pred": [1, 2, 3, np.inf, 5, 6, 7]}, "y_pred must be finite"),
        ({"y_pred": np.ones((7, 2))}, "y_pred must have one dimension"),
        ({"y_pred": np.ones(6)}, "sensitive_features must have as many rows"),
        ({"sensitive_features": [0.0, 1.0, np.nan, 0.0, 1.0, 2.0, 3.0]}, "NaN is not a group"),
        ({"sample_weight": np.ones(6)}, "sample_weight must have as many rows as y_pred"),
        ({"sample_weight": [1, 1, 1, 1, 1, 1, -1]}, "sample_weight must not be negative"),
        ({"sample_weight": np.zeros(7)}, "sample_weight must not be all zero"),
        ({"n_permutations": 0}, "n_permutations must be a whole number >= 1; found 0"),
        ({"n_permutations": 9.0}, "n_permutations must be a whole number >= 1"),
        ({"n_permutations": True}, "n_permutations must be a whole number >= 1"),
        ({"measure": "dcor"}, "measure must be one of 'dcov', 'jdcov', 'ccdcov'; found 'dcor'"),
        ({"test": "t"}, "test must be one of 'permutation', 'chi2'"),
        ({"hypothesis": "joint"}, "hypothesis must be one of 'prediction', 'mutual'"),
        ({"method": "fast"}, "method must be one of"),
        ({"c": -1.0}, "c must be a finite number >= 0"),
        ({"n_threads": 0}, "n_threads must be None or a whole number other than 0"),
        ({"test": "chi2", "sample_weight": np.arange(1, 8)}, "test='chi2' is not defined with sample_weight"),
        ({"test": "chi2", "measure": "jdcov"}, "test='chi2' is defined for measure='ccdcov'.*joint"),
        ({"hypothesis": "mutual"}, "hypothesis='mutual' is defined for measure='jdcov'"),
        ({"hypothesis": "mutual", "measure": "dcov"}, "hypothesis='mutual' is defined for measure='jdcov'"),
    ],
)
def test_errors(change, message):
    arguments = {"y_pred": np.arange(7.0), "sensitive_features": list("abababa"), **change}
    with pytest.raises(ValueError, match=message):
        independence_test(arguments.pop("y_pred"), arguments.pop("sensitive_features"), **arguments)


def test_more_errors(rng):
    u, frame = dependent(rng, 30, 0.0)
    with pytest.raises(MissingSensitiveFeaturesError, match="needs sensitive_features"):
        independence_test(u, None)
    with pytest.raises(TypeError, match="found a dict"):
        independence_test(u, frame.to_dict("list"))
    with pytest.raises(ValueError, match="a sum over 2 attributes"):
        independence_test(u, frame, measure="dcov", test="chi2")
    with pytest.raises(ValueError, match="method='univariate' takes one continuous attribute"):
        independence_test(u, frame, method="univariate")


def test_a_slow_test_is_announced(monkeypatch, rng):
    monkeypatch.setattr("fairdcov.inference._independence._SLOW", 1e4)
    u, frame = dependent(rng, 60, 0.0, age=True)
    for options in ({"method": "tiles"}, {"method": "approximate", "measure": "jdcov", "sample_weight": u}):
        with pytest.warns(UserWarning, match=r"operations for each of 20 permutations.*round continuous attributes"):
            independence_test(u, frame, n_permutations=20, **options)
    independence_test(u, frame, n_permutations=20, method="approximate")
    independence_test(u, frame[["gender"]], n_permutations=20)
