"""Identities and invariances that hold exactly, and population values known in closed form."""

import itertools
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fairdcov import concatenated_distance_covariance, distance_covariance, joint_distance_covariance
from fairdcov._kernels import _reference
from fairdcov.dependence import bind_dependence, gini_mean_difference
from fairdcov.encoding._blocks import SensitiveBlocks

# One thread: the samples are small, and starting threads would take longer than all the rest.
MEASURES = {
    "dcov": partial(distance_covariance, n_threads=1),
    "ccdcov": partial(concatenated_distance_covariance, n_threads=1),
    "jdcov": partial(joint_distance_covariance, n_threads=1, c=0.7),
    "jdcov, scale-invariant": partial(joint_distance_covariance, n_threads=1, scale_invariant=True),
}
LINEAR = {name: measure for name, measure in MEASURES.items() if "invariant" not in name}
N = 30

measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
linear_measures = pytest.mark.parametrize("measure", LINEAR.values(), ids=LINEAR)
methods = pytest.mark.parametrize("method", ["profiles", "tiles", "approximate"])
statistics = pytest.mark.parametrize("statistic", ["u", "v", "v, weighted"])


@pytest.fixture
def blocks(rng):
    return [np.eye(3)[rng.integers(0, 3, N)], rng.normal(size=N), rng.normal(size=(N, 2))]


@pytest.fixture(params=["distinct", "tied"])
def u(request, rng):
    return rng.normal(size=N) if request.param == "distinct" else rng.integers(0, 6, N) / 2


def options_of(statistic, rng):
    if statistic == "v, weighted":
        return {"statistic": "v", "sample_weight": rng.uniform(0.5, 1.5, N) * (np.arange(N) > 2)}
    return {"statistic": statistic}


@measures
@statistics
@methods
def test_gradient_sums_to_zero_and_is_blind_to_shifts(measure, statistic, method, u, blocks, rng):
    options = options_of(statistic, rng) | {"method": method, "return_gradient": True}
    value, gradient = measure(u, *blocks, **options)
    size = np.abs(gradient).sum()
    assert size > 0
    assert abs(gradient.sum()) < 1e-13 * size
    shifted_value, shifted = measure(u - 4.0, *blocks, **options)
    assert_allclose(shifted_value, value, rtol=1e-10, atol=1e-13)
    assert_allclose(shifted, gradient, atol=1e-12 * size)


@linear_measures
@statistics
@methods
def test_homogeneous_of_degree_one(measure, statistic, method, u, blocks, rng):
    """``u . gradient = value - constant``; halving u halves both; -u has the distances of u."""
    measure = partial(measure, **options_of(statistic, rng), method=method, return_gradient=True)
    value, gradient = measure(u, *blocks)
    constant, _ = measure(np.zeros(N), *blocks)
    size = np.abs(u) @ np.abs(gradient)
    assert_allclose(u @ gradient, value - constant, rtol=0, atol=1e-12 * size + 1e-14)
    for factor in (0.5, -1.0, -3.0):
        scaled, scaled_gradient = measure(factor * u, *blocks)
        assert_allclose(scaled - constant, abs(factor) * (value - constant), rtol=0, atol=1e-12 * size)
        assert_allclose(scaled_gradient, np.sign(factor) * gradient, atol=1e-12 * size)


@statistics
@methods
def test_the_scale_invariant_gradient_is_orthogonal_to_the_prediction(statistic, method, u, blocks, rng):
    options = options_of(statistic, rng) | {"method": method, "return_gradient": True}
    measure = MEASURES["jdcov, scale-invariant"]
    value, gradient = measure(u, *blocks, **options)
    assert abs(u @ gradient) < 1e-12 * (np.abs(u) @ np.abs(gradient))
    units = [1e-3 * blocks[0], 50.0 * blocks[1] + 7.0, 0.2 * blocks[2] @ np.array([[0.6, -0.8], [0.8, 0.6]])]
    for factor in (1e-4, 1e5, -2.0):
        scaled, scaled_gradient = measure(factor * u, *units, **options)
        tolerance = 1e-6 if method == "approximate" else 1e-10  # pivots are chosen anew, small eigenvalues left out
        assert_allclose(scaled, value, rtol=tolerance)
        assert_allclose(factor * scaled_gradient, gradient, atol=tolerance * np.abs(gradient).max())


@measures
@statistics
def test_permuting_rows_permutes_the_gradient(measure, statistic, u, blocks, rng):
    options = options_of(statistic, rng)
    order = rng.permutation(N)
    for method in ("profiles", "tiles"):
        value, gradient = measure(u, *blocks, **options, method=method, return_gradient=True)
        permuted = {name: option[order] if name == "sample_weight" else option for name, option in options.items()}
        moved = measure(u[order], *(b[order] for b in blocks), **permuted, method=method, return_gradient=True)
        assert_allclose(moved[0], value, rtol=1e-11, atol=1e-15)
        assert_allclose(moved[1], gradient[order], atol=1e-12 * np.abs(gradient).max())


@measures
def test_whole_weights_are_repetition(measure, u, blocks, rng):
    """The gradient of a weighted row is the sum over its copies, which are tied with each other."""
    counts = rng.integers(0, 4, N)
    rows = np.repeat(np.arange(N), counts)
    for method in ("profiles", "tiles"):
        options = {"statistic": "v", "method": method, "return_gradient": True}
        value, gradient = measure(u, *blocks, sample_weight=counts, **options)
        repeated, copies = measure(u[rows], *(block[rows] for block in blocks), **options)
        assert_allclose(value, repeated, rtol=1e-11, atol=1e-15)
        assert_allclose(gradient, np.bincount(rows, copies, N), atol=1e-12 * np.abs(gradient).max())
        assert not gradient[counts == 0].any()
        assert_allclose(measure(u, *blocks, sample_weight=1e-6 * counts, **options)[0], value, rtol=1e-11, atol=1e-15)


@measures
def test_equal_weights_are_no_weights(measure, u, blocks):
    plain = measure(u, *blocks, statistic="v", return_gradient=True)
    for weights in (np.full(N, 0.37), 3):
        weighted = measure(u, *blocks, statistic="v", sample_weight=weights, return_gradient=True)
        assert_allclose(weighted[0], plain[0], rtol=1e-11)
        assert_allclose(weighted[1], plain[1], atol=1e-13)


@pytest.mark.parametrize("statistic", ["u", "v"])
@measures
def test_blocks_may_be_moved_turned_and_exchanged(measure, statistic, u, blocks):
    """Only distances count: columns may be shifted, turned and exchanged, and blocks have no order."""
    turn = np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))[0]
    moved = [blocks[2][:, ::-1] - 3.0, blocks[0] @ turn + 1.0, 5.0 - blocks[1]]
    assert_allclose(measure(u, *moved, statistic=statistic), measure(u, *blocks, statistic=statistic), rtol=1e-10)


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_distance_covariance_is_symmetric(statistic, u, rng):
    z = rng.normal(size=N)
    covariance = distance_covariance(u, z, statistic=statistic)
    assert_allclose(distance_covariance(z, u, statistic=statistic), covariance, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("measure", ["dcov", "ccdcov", "jdcov"])
def test_the_u_statistic_is_0_on_average_over_all_permutations(measure, rng):
    """Unbiased under independence, exactly and in any sample: the mean over all orders of u vanishes."""
    matrices = [rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1)).astype(float)]
    form = bind_dependence(SensitiveBlocks.from_arrays(matrices), measure, statistic="u")
    u = rng.gamma(1.0, size=5)
    values = np.array([form.value_gradient(u[list(order)])[0] for order in itertools.permutations(range(5))])
    assert np.abs(values).max() > 1e-3
    assert abs(values.mean()) < 1e-14


@pytest.mark.parametrize("c", [0.0, 0.3, 1.0, 20.0])
@statistics
@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_joint_covariance_expands_into_all_orders(n_blocks, statistic, c, u, blocks, rng):
    """``JdCov^2 = sum_{k >= 2} c^(p - k) sum_{|A| = k} dCov^2(A)``: no term of order 0 or 1 is left."""
    options = options_of(statistic, rng)
    weights = options.get("sample_weight", np.ones(N))
    p, kind = weights / weights.sum(), statistic[0]
    centred = [_reference.centred(block, kind, p) for block in (u, *blocks[:n_blocks])]
    terms = [
        c ** (len(centred) - size) * _reference.mean_product(np.prod(subset, axis=0), kind, p)
        for size in range(2, len(centred) + 1)
        for subset in itertools.combinations(centred, size)
    ]
    value = joint_distance_covariance(u, *blocks[:n_blocks], c=c, **options)
    assert_allclose(value, sum(terms), rtol=1e-10, atol=1e-12 * max(1.0, c ** (n_blocks + 1)))


def test_joint_covariance_with_large_c_tends_to_the_pairs(u, blocks):
    """The next order is 1 / c of the pairs: ten times the c, a tenth of the difference."""
    pairs = sum(
        _reference.distance_covariance(first, second) for first, second in itertools.combinations([u, *blocks], 2)
    )
    differences = [
        joint_distance_covariance(u, *blocks, c=c) / c**2 - pairs  # p = 4 variables
        for c in (1e2, 1e3, 1e4)
    ]
    assert_allclose(np.divide(differences[1:], differences[:-1]), 0.1, rtol=0.2)


@pytest.mark.parametrize("c", [0.0, 1.0, 50.0])
@statistics
def test_a_single_block_makes_all_measures_one(statistic, c, u, blocks, rng):
    options = options_of(statistic, rng) | {"return_gradient": True}
    for block in blocks:
        value, gradient = distance_covariance(u, block, **options)
        for measure in (concatenated_distance_covariance, partial(joint_distance_covariance, c=c)):
            other, other_gradient = measure(u, block, **options)
            assert_allclose(other, value, rtol=1e-11)
            assert_allclose(other_gradient, gradient, atol=1e-13)


@pytest.mark.parametrize("method", ["profiles", "tiles"])
def test_v_statistics_stay_within_their_bounds(method, rng):
    """``0 <= CCdCov^2 <= GMD(u) GMD(S)``, and JdCov^2 net of the terms without u is not negative either."""
    for _ in range(40):
        n = int(rng.integers(1, 15))
        u = rng.choice([rng.normal(size=n), rng.integers(0, 2, n), np.arange(n) == 0])
        weights = rng.uniform(size=n)
        p = weights / weights.sum()
        matrices = [rng.integers(0, 3, (n, 1)).astype(float), rng.standard_cauchy(size=(n, 2))]
        blocks = SensitiveBlocks.from_arrays(matrices)
        spread = gini_mean_difference(u, p)[0]
        options = {"sample_weight": weights, "method": method, "n_threads": 1}
        value = bind_dependence(blocks, "ccdcov", **options).value_gradient(u)[0]
        bound = spread * (p @ _reference.distances(np.hstack(matrices)) @ p)
        assert -1e-13 * bound <= value <= bound * (1 + 1e-12)
        assert bind_dependence(blocks, "dcov", **options).value_gradient(u)[0] >= -1e-13 * bound
        for c in (0.0, 1.0):
            net = bind_dependence(blocks, "jdcov", c=c, **options).value_gradient(u)[0]
            assert net >= -1e-12 * spread * (c + np.abs(matrices[1]).max()) ** 2


# Fair coins in all four cells alike. Distances 0, 1, 1, sqrt(2) between cells have the characters -(sqrt(2) / 4) for a
# coin and -(2 - sqrt(2)) / 4 for the exclusive or; |u_i - u_j| has -1/2 for u's own. Squared covariances are products.
FIRST, SECOND = np.tile([0.0, 0.0, 1.0, 1.0], 50), np.tile([0.0, 1.0, 0.0, 1.0], 50)


def test_main_effect_of_two_fair_coins():
    assert_allclose(distance_covariance(FIRST, FIRST, SECOND, statistic="v"), 1 / 4, rtol=1e-12)
    joint = concatenated_distance_covariance(FIRST, FIRST, SECOND, statistic="v")
    assert_allclose(joint, np.sqrt(2) / 8, rtol=1e-12)
    # Less than what the attributes show alone: the difference is no residual that must be positive.
    assert_allclose(joint - 1 / 4, -(2 - np.sqrt(2)) / 8, rtol=1e-12)
    # No triple: the product of two equal characters has none of the other coin's.
    assert_allclose(joint_distance_covariance(FIRST, FIRST, SECOND, statistic="v", c=3.0), 3 / 4, rtol=1e-12)


def test_exclusive_or_of_two_fair_coins():
    """Gerrymandering: nothing shows attribute by attribute."""
    u = np.abs(FIRST - SECOND)
    assert abs(distance_covariance(u, FIRST, SECOND, statistic="v")) < 1e-15
    joint = concatenated_distance_covariance(u, FIRST, SECOND, statistic="v")
    assert_allclose(joint, (2 - np.sqrt(2)) / 8, rtol=1e-12)
    for c in (0.0, 1.0, 5.0):
        assert_allclose(joint_distance_covariance(u, FIRST, SECOND, statistic="v", c=c), 1 / 8, rtol=1e-12)
    # The population is the same for U-statistics; n = 200 rows are off by about 1 / n.
    assert abs(distance_covariance(u, FIRST, SECOND)) < 5 / 200
    assert_allclose(concatenated_distance_covariance(u, FIRST, SECOND), (2 - np.sqrt(2)) / 8, atol=2 / 200)


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_noise_around_the_main_effect_and_exclusive_or_keeps_the_signs(noise, rng):
    """With noise the difference of concatenated and summed covariance moves from -+0.0732 towards 0."""
    first, second = rng.integers(0, 2, (2, 20_000)).astype(float)
    for u, sign in ((first, -1), (np.abs(first - second), 1)):
        u = u + noise * rng.normal(size=len(u))
        difference = concatenated_distance_covariance(u, first, second) - distance_covariance(u, first, second)
        assert 0.05 < sign * difference < 0.0745


@pytest.mark.parametrize("n", [60_000, 100_000, 1_000_000])
@pytest.mark.parametrize("kind", ["continuous", "20 groups"])
def test_large_independent_samples_follow_the_theory(kind, n, rng):
    """n dCov^2_V / (GMD(x) GMD(z)) has mean 1 under independence; elsewhere sums overflow beyond 60,000 rows."""
    x = rng.normal(size=n)
    z = rng.normal(size=n) if kind == "continuous" else rng.integers(0, 20, n).astype(float)
    spread = gini_mean_difference(x)[0] * gini_mean_difference(z)[0]
    biased = distance_covariance(x, z, statistic="v")
    unbiased = distance_covariance(x, z)
    assert 0.4 < n * biased / spread < 2.5
    # The bias that the U-statistic takes away is that 1, up to sampling errors of moments of distances.
    assert_allclose(n * (biased - unbiased) / spread, 1.0, rtol=10 / np.sqrt(n))
    assert distance_covariance(x + 0.3 * z, z) > 100 * spread / n


def empirical_cdf(column, weights):
    return np.array([weights[column <= value].sum() for value in column]) / weights.sum()


@pytest.mark.parametrize(("statistic", "weighted"), [("u", False), ("v", False), ("v", True)])
def test_rank_form(statistic, weighted, u, blocks, rng):
    """Equals the form of the empirical distribution functions, and no increasing transformation matters."""
    weights = rng.integers(1, 5, N).astype(float) if weighted else None
    options = {"statistic": statistic, "sample_weight": weights}
    value = joint_distance_covariance(u, *blocks, rank=True, **options)
    share = np.ones(N) if weights is None else weights
    ranks = [np.column_stack([empirical_cdf(c, share) for c in b.reshape(N, -1).T]) for b in (u, *blocks)]
    assert_allclose(value, joint_distance_covariance(ranks[0][:, 0], *ranks[1:], **options), rtol=1e-11)
    moved = [np.exp(blocks[0]), blocks[1] ** 3, np.arctan(blocks[2]) - 5]
    assert_allclose(joint_distance_covariance(np.expm1(u), *moved, rank=True, **options), value, rtol=1e-11)
    assert abs(joint_distance_covariance(-u, *blocks, rank=True, **options) - value) < 0.2
    if weighted:
        rows = np.repeat(np.arange(N), weights.astype(int))
        repeated = joint_distance_covariance(u[rows], *(b[rows] for b in blocks), rank=True, statistic="v")
        assert_allclose(repeated, value, rtol=1e-10)
