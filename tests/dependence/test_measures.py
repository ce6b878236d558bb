"""The measures against their definitions, dcor, finite differences, and the identities they must satisfy."""

import itertools

import dcor
import numpy as np
import pytest
import sklearn

from fairdcov import concatenated_distance_covariance, distance_covariance, joint_distance_covariance
from fairdcov._blocks import SensitiveBlocks
from fairdcov._kernels import _reference
from fairdcov.dependence import METHODS, bind_dependence, gini_mean_difference

MEASURES = {
    "dcov": (distance_covariance, _reference.distance_covariance, {}),
    "ccdcov": (concatenated_distance_covariance, _reference.concatenated_distance_covariance, {}),
    "jdcov": (joint_distance_covariance, _reference.joint_distance_covariance, {}),
    "jdcov c=.3": (joint_distance_covariance, _reference.joint_distance_covariance, {"c": 0.3}),
    "jdcov scaled": (joint_distance_covariance, _reference.joint_distance_covariance, {"scale_invariant": True}),
}
STATISTICS = [("u", False), ("v", False), ("v", True)]


def _blocks(rng, n, kind):
    nominal = np.eye(3)[rng.permutation(np.arange(n) % 3)]
    binary = rng.permutation(np.arange(n) % 2).astype(float)
    continuous = rng.normal(size=n)
    return {
        "nominal + binary": [nominal, binary],
        "continuous": [continuous],
        "nominal + continuous": [nominal, continuous],
        "several dimensions": [rng.normal(size=(n, 3)), binary],
        "three": [nominal, binary, continuous],
    }[kind]


BLOCKS = ["nominal + binary", "continuous", "nominal + continuous", "several dimensions", "three"]


def _weights(rng, n, weighted):
    if not weighted:
        return None
    weights = rng.uniform(size=n)
    weights[1] = 0.0
    return weights


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("statistic", "weighted"), STATISTICS)
@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("measure", MEASURES)
def test_value_and_gradient_agree_with_the_definition(rng, measure, kind, statistic, weighted, method):
    function, definition, options = MEASURES[measure]
    n = 24
    blocks = _blocks(rng, n, kind)
    # Gaps of 0.05 between predictions: differences of 0.01 cross none of them, and the measures are linear in between.
    u = 0.05 * rng.permutation(n) + 0.0
    weights = _weights(rng, n, weighted)
    probabilities = None if weights is None else weights / weights.sum()

    def define(x):
        return definition(x, *blocks, statistic=statistic, probabilities=probabilities, **options)

    arguments = {"statistic": statistic, "sample_weight": weights, "method": method, "return_gradient": True, **options}
    if method == "univariate" and kind != "continuous":
        with pytest.raises(ValueError, match="one continuous attribute of one column"):
            function(u, *blocks, **arguments)
        return
    value, gradient = function(u, *blocks, **arguments)
    np.testing.assert_allclose(value, define(u), rtol=1e-9, atol=1e-13)
    step = 1e-3
    for i in range(0, n, 5):
        unit = step * np.eye(n)[i]
        near = define(u + unit) - define(u - unit)
        far = define(u + 2 * unit) - define(u - 2 * unit)
        np.testing.assert_allclose(gradient[i], (8 * near - far) / (12 * step), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("n", [4, 5, 6, 7, 50, 301])
def test_values_of_dcor(rng, n):
    x, z = rng.normal(size=n), rng.gamma(2.0, size=n)
    S = rng.normal(size=(n, 3))
    for block in (z, S, np.round(z)):
        np.testing.assert_allclose(
            distance_covariance(x, block), dcor.u_distance_covariance_sqr(x, block), rtol=1e-10, atol=1e-15
        )
        np.testing.assert_allclose(
            distance_covariance(x, block, statistic="v"), dcor.distance_covariance_sqr(x, block), rtol=1e-10, atol=1e-15
        )


def test_sums_of_dcor_over_blocks(rng):
    x, first, second = rng.normal(size=(3, 80))
    expected = dcor.u_distance_covariance_sqr(x, first) + dcor.u_distance_covariance_sqr(x, second)
    np.testing.assert_allclose(distance_covariance(x, first, second), expected, rtol=1e-10)


@pytest.mark.parametrize("method", ["profiles", "tiles", "approximate"])
@pytest.mark.parametrize(("statistic", "weighted"), STATISTICS)
@pytest.mark.parametrize("measure", ["dcov", "ccdcov", "jdcov"])
def test_identities(rng, measure, statistic, weighted, method):
    function, _, _ = MEASURES[measure]
    n = 60
    blocks = _blocks(rng, n, "three")
    u = rng.integers(0, 9, n).astype(float)  # ties included
    weights = _weights(rng, n, weighted)
    options = {"statistic": statistic, "method": method, "return_gradient": True}
    value, gradient = function(u, *blocks, sample_weight=weights, **options)
    constant, _ = function(np.zeros(n), *blocks, sample_weight=weights, **options)
    scale = np.abs(gradient).max()
    assert abs(gradient.sum()) < 1e-11 * scale * n
    np.testing.assert_allclose(u @ gradient, value - constant, atol=1e-10 * scale * n)
    shifted, again = function(u + 5.0, *blocks, sample_weight=weights, **options)
    np.testing.assert_allclose(shifted, value, rtol=1e-10)
    np.testing.assert_allclose(again, gradient, atol=1e-10 * scale)
    if method != "approximate":
        order = rng.permutation(n)
        moved = function(
            u[order],
            *(block[order] for block in blocks),
            sample_weight=None if weights is None else weights[order],
            **options,
        )
        np.testing.assert_allclose(moved[1], gradient[order], atol=1e-10 * scale)


def test_sign_of_zero_is_zero_at_ties(rng):
    n = 30
    S = rng.normal(size=(n, 2))
    u = rng.integers(0, 4, n).astype(float)
    p = np.full(n, 1 / n)
    centred = _reference.v_centred(S, p)
    expected = 2 * (np.sign(np.subtract.outer(u, u)) * -np.outer(p, p) * centred).sum(axis=1)
    for method in ("profiles", "tiles"):
        _, gradient = concatenated_distance_covariance(u, S, statistic="v", method=method, return_gradient=True)
        np.testing.assert_allclose(gradient, expected, atol=1e-14)
    _, gradient = concatenated_distance_covariance(np.ones(n), S, statistic="v", return_gradient=True)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-16)


@pytest.mark.parametrize("measure", ["dcov", "ccdcov", "jdcov"])
def test_whole_weights_are_repetition(rng, measure):
    function, _, _ = MEASURES[measure]
    n = 40
    blocks = _blocks(rng, n, "three")
    u, counts = rng.normal(size=n), rng.integers(0, 4, n)
    rows = np.repeat(np.arange(n), counts)
    value, gradient = function(u, *blocks, statistic="v", sample_weight=counts, return_gradient=True)
    repeated, each = function(u[rows], *(block[rows] for block in blocks), statistic="v", return_gradient=True)
    np.testing.assert_allclose(value, repeated, rtol=1e-11)
    np.testing.assert_allclose(gradient, np.bincount(rows, each, n), atol=1e-13)


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_joint_covariance_expands_into_pairs_and_the_triple(rng, statistic):
    n = 40
    u, first, second = rng.normal(size=n), rng.integers(0, 3, n).astype(float), rng.normal(size=n)
    p = np.full(n, 1 / n)
    matrices = [_reference.centred(x, statistic, p) for x in (u, first, second)]
    pairs = sum(_reference.mean_product(a * b, statistic, p) for a, b in itertools.combinations(matrices, 2))
    triple = _reference.mean_product(matrices[0] * matrices[1] * matrices[2], statistic, p)
    for c in (0.0, 0.5, 1.0, 10.0):
        found = joint_distance_covariance(u, first, second, c=c, statistic=statistic)
        np.testing.assert_allclose(found, c * pairs + triple, rtol=1e-8, atol=1e-12)
    # the larger c, the closer to the sum of pairs
    large = joint_distance_covariance(u, first, second, c=1e4, statistic=statistic) / 1e4
    np.testing.assert_allclose(large, pairs, rtol=1e-2)


def test_one_attribute_makes_all_measures_agree(rng):
    u, z = rng.normal(size=(2, 50))
    expected = distance_covariance(u, z)
    np.testing.assert_allclose(concatenated_distance_covariance(u, z), expected, rtol=1e-12)
    for c in (0.0, 1.0, 7.0):
        np.testing.assert_allclose(joint_distance_covariance(u, z, c=c), expected, rtol=1e-12)


def test_population_values_of_exclusive_or_and_main_effect():
    first, second = np.tile([0.0, 0, 1, 1], 500), np.tile([0.0, 1, 0, 1], 500)
    # Distances 0, 1, 1 and sqrt(2) between the four cells give a difference of (2 - sqrt(2)) / 8, of either sign.
    for u, expected in ((np.abs(first - second), (2 - np.sqrt(2)) / 8), (first, -(2 - np.sqrt(2)) / 8)):
        alone = distance_covariance(u, first, second, statistic="v")
        joint = concatenated_distance_covariance(u, first, second, statistic="v")
        np.testing.assert_allclose(joint - alone, expected, rtol=1e-10)


def test_scale_invariant_form_has_no_units(rng):
    u, z, S = rng.normal(size=70), rng.gamma(2.0, size=70), rng.normal(size=(70, 2))
    expected, gradient = joint_distance_covariance(u, z, S, scale_invariant=True, return_gradient=True)
    value, scaled = joint_distance_covariance(100 * u, 1e-3 * z, 7 * S, scale_invariant=True, return_gradient=True)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    np.testing.assert_allclose(100 * scaled, gradient, atol=1e-12)
    assert joint_distance_covariance(np.ones(70), z, scale_invariant=True) == 0.0


def test_rank_form_ignores_increasing_transformations(rng):
    u, z = rng.normal(size=60), rng.normal(size=60)
    weights = rng.integers(1, 4, 60)
    found = joint_distance_covariance(u, z, rank=True)
    np.testing.assert_allclose(joint_distance_covariance(np.exp(u), z**3, rank=True), found, rtol=1e-12)
    p = np.full(60, 1 / 60)
    ranks = [_reference.empirical_cdf(x, p) for x in (u, z)]
    np.testing.assert_allclose(found, _reference.joint_distance_covariance(*ranks), rtol=1e-10)
    rows = np.repeat(np.arange(60), weights)
    np.testing.assert_allclose(
        joint_distance_covariance(u, z, rank=True, statistic="v", sample_weight=weights),
        joint_distance_covariance(u[rows], z[rows], rank=True, statistic="v"),
        rtol=1e-10,
    )


def test_v_statistics_are_not_negative(rng):
    for _ in range(50):
        n = int(rng.integers(2, 12))
        u, weights = rng.normal(size=n), rng.uniform(size=n)
        blocks = SensitiveBlocks.from_arrays([rng.normal(size=(n, 1)), rng.integers(0, 2, (n, 1)).astype(float)])
        for measure in ("dcov", "ccdcov", "jdcov"):
            form = bind_dependence(blocks, measure, sample_weight=weights)
            assert form.value_gradient(u)[0] >= -1e-14


@pytest.mark.parametrize("n", [60_000, 100_000, 1_000_000])
def test_large_independent_samples_have_no_covariance(n):
    # A fast implementation elsewhere overflows here: independent normals at n = 100,000 gave 0.97 of the maximum.
    rng = np.random.default_rng(n)
    x, z = rng.normal(size=(2, n))
    spread = gini_mean_difference(x)[0] * gini_mean_difference(z)[0]
    assert abs(distance_covariance(x, z)) < 10 * spread / n
    groups = rng.integers(0, 20, n).astype(float)
    assert abs(distance_covariance(x, groups)) < 10 * 10 / n
    dependent = distance_covariance(x, 0.3 * x + z)
    assert dependent > 100 * spread / n


@pytest.mark.parametrize("measure", ["ccdcov", "jdcov"])
@pytest.mark.parametrize("weighted", [False, True])
def test_approximation_stays_within_its_bound(rng, measure, weighted):
    n = 400
    S = [rng.normal(size=(n, 2)), rng.gamma(1.0, size=(n, 1))]
    weights = _weights(rng, n, weighted)
    blocks = SensitiveBlocks.from_arrays(S)
    p = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    exact = bind_dependence(blocks, measure, sample_weight=weights, method="tiles")
    assert exact.error_bound == 0.0
    bounds = []
    for n_components in (4, 16, 64, 400):
        rough = bind_dependence(blocks, measure, sample_weight=weights, method="approximate", n_components=n_components)
        bounds.append(rough.error_bound)
        nearest = S[0][:, 0] + 1e-6 * rng.normal(size=n)
        for u in (nearest, S[1][:, 0] * S[0][:, 1], rng.normal(size=n), np.cos(9 * S[0][:, 1]), np.eye(n)[3]):
            error = (exact.value_gradient(u)[0] - rough.value_gradient(u)[0]) / gini_mean_difference(u, p)[0]
            assert -1e-10 <= error <= rough.error_bound + 1e-10
    assert np.all(np.diff(bounds) < 0)
    assert bounds[-1] < 1e-6


def test_automatic_choice_of_the_method(rng):
    def method(*blocks, measure="ccdcov", **options):
        return bind_dependence(SensitiveBlocks.from_arrays(blocks), measure, **options).method

    few = rng.integers(0, 5, (3_000, 2)).astype(float)
    assert method(few) == "profiles"
    assert method(rng.normal(size=(400, 3))) == "profiles"
    assert method(rng.normal(size=(3_000, 1))) == "univariate"
    assert method(rng.normal(size=(3_000, 1)), measure="jdcov") == "univariate"
    assert method(rng.normal(size=(3_000, 2))) == "tiles"
    assert method(rng.normal(size=(3_000, 1)), few, measure="dcov") == "univariate + profiles"
    assert method(rng.normal(size=(20_001, 2)), n_components=16) == "approximate"
    with sklearn.config_context(working_memory=1):
        assert (
            method(rng.integers(0, 900, (3_000, 1)).astype(float), rng.integers(0, 2, (3_000, 1)).astype(float))
            == "tiles"
        )
        with pytest.raises(ValueError, match=r"1500 x 1500 matrix, about 51 MiB.*working_memory of 1 MiB"):
            method(np.tile(np.arange(1500.0), 2)[:, None], np.zeros((3000, 1)), method="profiles")


def test_large_offsets_and_scales_lose_no_more_than_they_must(rng):
    u, S = rng.normal(size=100), rng.normal(size=(100, 2))
    expected = concatenated_distance_covariance(u, S)
    np.testing.assert_allclose(concatenated_distance_covariance(u + 1e6, S), expected, rtol=1e-6)
    for scale in (1e-100, 1e100):
        np.testing.assert_allclose(concatenated_distance_covariance(scale * u, S), scale * expected, rtol=1e-10)
    z = rng.normal(size=100)
    np.testing.assert_allclose(
        distance_covariance(u, z + 1e8, method="univariate"), distance_covariance(u, z), rtol=1e-5
    )


def test_constants_have_no_covariance(rng):
    u, S = rng.normal(size=20), rng.normal(size=(20, 2))
    assert concatenated_distance_covariance(np.ones(20), S) == 0.0
    np.testing.assert_allclose(concatenated_distance_covariance(u, np.ones((20, 2))), 0.0, atol=1e-16)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_v_statistics_of_tiny_samples(n):
    u = np.arange(float(n))
    np.testing.assert_allclose(
        distance_covariance(u, u, statistic="v"), _reference.distance_covariance(u, u, statistic="v"), atol=1e-15
    )


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_gini_mean_difference(rng, statistic):
    u = rng.normal(size=30)
    expected = np.abs(np.subtract.outer(u, u)).sum() / (30 * 29 if statistic == "u" else 900)
    value, gradient = gini_mean_difference(u, statistic=statistic)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient @ u, expected, rtol=1e-12)


X = np.arange(6.0)
BAD = {
    "nan": (lambda: distance_covariance(X * np.nan, X), "x must be finite; found 6 NaN"),
    "infinite block": (
        lambda: distance_covariance(X, X, X + np.inf),
        "block 2 must be finite; found 6 infinite",
    ),
    "lengths": (lambda: distance_covariance(X, X[:4]), "block 1 must have as many rows as x: found 4 instead of 6"),
    "no block": (lambda: distance_covariance(X), "at least one block"),
    "two dimensions": (lambda: distance_covariance(np.ones((3, 2)), X), r"x must have one dimension, \(n,\)"),
    "three dimensions": (lambda: distance_covariance(X, np.ones((6, 1, 1))), r"block 1 must have shape"),
    "text": (lambda: distance_covariance(X, list("abcdef")), "encode categories first"),
    "few rows": (lambda: distance_covariance(X[:3], X[:3]), "at least 4 rows; found 3"),
    "weighted u": (lambda: distance_covariance(X, X, sample_weight=X + 1), "weighted U-statistic is not defined"),
    "negative": (
        lambda: distance_covariance(X, X, statistic="v", sample_weight=X - 1),
        "must not be negative; found 1",
    ),
    "zero": (lambda: distance_covariance(X, X, statistic="v", sample_weight=0 * X), "must not be all zero"),
    "statistic": (lambda: distance_covariance(X, X, statistic="w"), "statistic must be one of 'u', 'v'; found 'w'"),
    "method": (lambda: distance_covariance(X, X, method="fast"), "method must be one of 'auto'"),
    "c": (lambda: joint_distance_covariance(X, X, c=-1), "c must be a finite number >= 0; found -1"),
    "univariate": (lambda: distance_covariance(X, np.eye(6), method="univariate"), "one continuous attribute"),
    "rank": (lambda: joint_distance_covariance(X, X, rank=True, return_gradient=True), "piecewise constant"),
    "empty": (lambda: distance_covariance([], [], statistic="v"), "at least one row"),
    "threads": (lambda: distance_covariance(X, X, n_threads=0), "n_threads must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
