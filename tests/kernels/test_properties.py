"""Properties of kernels and measures over arbitrary floats: ties, subnormal and huge numbers, zeros of both signs.

A few seconds in the normal suite; ``pytest -m slow`` looks 25 times as far.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import (
    CCDCovPenalty,
    _kernels,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov._kernels import _reference

FLOAT_MAX, SUBNORMAL = np.finfo(float).max, 5e-324
anything = st.floats(allow_nan=False, allow_infinity=False)
# Ties, neighbours, zeros of both signs and both ends of the range.
awkward = st.sampled_from(
    [0.0, -0.0, 1.0, 1.0 + 2.0**-52, -1.0, SUBNORMAL, -SUBNORMAL, 1e-310, 1e300, FLOAT_MAX, -FLOAT_MAX]
)
ordinary = st.one_of(st.floats(-100, 100, width=32), st.integers(-3, 3).map(float))
predictions = st.one_of(anything, awkward, ordinary)
weight = st.one_of(st.just(0.0), st.integers(1, 4).map(float), st.floats(1e-3, 1e3))


def vectors(n, elements):
    return arrays(np.float64, n, elements=elements)


@st.composite
def samples(draw, elements=predictions, least=1, most=40, columns=3):
    """Predictions, an attribute of some columns, and weights of which one at least is positive."""
    n = draw(st.integers(least, most))
    u, weights = draw(vectors(n, elements)), draw(vectors(n, weight))
    points = draw(arrays(np.float64, (n, draw(st.integers(1, columns))), elements=ordinary))
    assume(weights.any())
    return u, points, weights


def property_test(strategy):
    """Two tests of one property: a short one, and one that looks 25 times as far."""

    def decorate(function):
        def checked(n_examples):
            options = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
            return settings(max_examples=n_examples, derandomize=n_examples < 100, **options)(given(strategy)(function))

        cases = [pytest.param(checked(40), id="short"), pytest.param(checked(1_000), id="long", marks=pytest.mark.slow)]

        @pytest.mark.parametrize("check", cases)
        def test(check):
            check()

        test.__doc__ = function.__doc__
        return test

    return decorate


def check_signed_sums(found, u, matrix, weights):
    expected = _reference.signed_products(np.sign(u) * _ranks(u), matrix, weights)
    assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * (np.abs(matrix) @ weights).max(initial=0))


def _ranks(u):
    """Numbers in the order of the values without their size, so that no difference leaves the range of floats."""
    return np.sign(u) * np.unique(u, return_inverse=True)[1]


@property_test(samples(most=200))
def test_order_is_stable_and_ascending(sample):
    u, _, _ = sample
    for values in (u, np.resize(u, 1_500)):
        order = _kernels.ascending_order(values)
        assert_array_equal(np.sort(order), np.arange(len(values)))
        before, after = order[:-1], order[1:]
        assert (values[before] <= values[after]).all()
        tied = (values[before] == values[after]) & (np.signbit(values[before]) == np.signbit(values[after]))
        assert (before < after)[tied & (values[before] != 0)].all()


@property_test(samples())
def test_every_kernel_is_its_definition(sample):
    u, points, weights = sample
    n = len(u)
    ranks = np.unique(u, return_inverse=True)[1].astype(float)
    expected = lambda matrix: _reference.signed_products(ranks, matrix, weights)  # noqa: E731
    distances = _reference.distances(points)
    size = 1e-12 * n * (1 + np.abs(points).max()) ** 2 * (1 + weights.max())
    codes = np.unique(points, axis=0, return_inverse=True)[1].reshape(-1)
    profiles = np.unique(points, axis=0)
    of_profiles = _reference.distances(profiles)
    found = _kernels.profile_signed_products(u, codes, of_profiles, weights=weights)
    assert_allclose(found, weights * expected(distances), rtol=1e-10, atol=size * (1 + weights.max()))
    ones = _kernels.profile_signed_products(u, codes, of_profiles)
    assert_allclose(ones, _reference.signed_products(ranks, distances, np.ones(n)), rtol=1e-10, atol=size)
    features = _kernels.feature_signed_products(u, codes, profiles, weights)
    assert_allclose(features, expected(points @ points.T), rtol=1e-10, atol=size)
    rows = _kernels.soft_rows(n, points.shape[1], [(slice(None), weights[:, None] * points, points)])
    soft, _ = _kernels.soft_signed_products(u, *rows, 0)
    assert_allclose(soft, expected(points @ points.T), rtol=1e-10, atol=size)
    certain = np.arange(n + 1), codes, np.ones(n)
    shares = _kernels.share_signed_products(u, *certain, weights, of_profiles)
    assert_allclose(shares, expected(distances), rtol=1e-10, atol=size)
    tiles = _kernels.tile_signed_products(u, [points], np.zeros((1, n)), np.ones(1), weights)
    assert_allclose(tiles, -expected(distances), rtol=1e-10, atol=size)
    for n_threads in (2, 16):
        again = _kernels.tile_signed_products(u, [points], np.zeros((1, n)), np.ones(1), weights, n_threads=n_threads)
        assert_array_equal(again, tiles)
    rows = _kernels.tile_row_sums([points], np.zeros((1, n)), np.ones(1), weights)
    assert_allclose(rows, -distances @ weights, rtol=1e-10, atol=size)
    assert_allclose(_kernels.signed_sums(u, weights), expected(np.ones((n, n))), rtol=1e-10, atol=size)
    assert_allclose(
        _kernels.signed_sums(u, points),
        np.sign(np.subtract.outer(ranks, ranks)) @ points,
        rtol=1e-10,
        atol=size,
    )
    z = points[:, 0] - points[:, 0].mean()
    apart = np.abs(np.subtract.outer(z, z))
    sums = _kernels.univariate_distance_sums(z, weights)
    assert_allclose(sums, apart @ weights, rtol=1e-10, atol=size)
    ranks_of_z = np.unique(z, return_inverse=True)[1] + 1
    found = _kernels.univariate_signed_distances(u, z, ranks_of_z, weights, sums)
    assert_allclose(found, expected(apart), rtol=1e-10, atol=size)


def measures(u, *blocks, **options):
    """The three measures and their gradients, by every exact method."""
    for method in ("profiles", "tiles"):
        for measure in (distance_covariance, concatenated_distance_covariance, joint_distance_covariance):
            yield measure, measure(u, *blocks, method=method, return_gradient=True, n_threads=1, **options)


REFERENCES = {
    distance_covariance: _reference.distance_covariance,
    concatenated_distance_covariance: _reference.concatenated_distance_covariance,
    joint_distance_covariance: _reference.joint_distance_covariance,
}


@property_test(samples(ordinary, least=4, most=20))
def test_every_measure_is_its_definition(sample):
    u, points, weights = sample
    p = weights / weights.sum()
    scale = 1e-11 * (1 + np.ptp(u)) * (1 + np.abs(points).max()) ** 2
    blocks = [points, points[:, :1] ** 2 / (1 + np.abs(points).max())]
    for options, reference in (
        ({"statistic": "u"}, {"statistic": "u"}),
        ({"statistic": "v", "sample_weight": weights}, {"statistic": "v", "probabilities": p}),
    ):
        for measure, (value, gradient) in measures(u, *blocks, **options):
            assert_allclose(value, REFERENCES[measure](u, *blocks, **reference), rtol=1e-9, atol=scale * len(u))
            # Homogeneous of degree one and blind to shifts.
            assert abs(gradient.sum()) <= scale


@property_test(samples(ordinary, least=4, most=20))
def test_rows_and_shifts_do_not_matter(sample):
    u, points, weights = sample
    scale = 1e-10 * len(u) * (1 + np.abs(u).max()) * (1 + np.abs(points).max())
    rows = np.random.default_rng(len(u)).permutation(len(u))
    options = {"statistic": "v", "sample_weight": weights, "return_gradient": True}
    value, gradient = concatenated_distance_covariance(u, points, **options)
    again, moved = concatenated_distance_covariance(u[rows], points[rows], **options | {"sample_weight": weights[rows]})
    assert_allclose(again, value, rtol=1e-9, atol=scale)
    assert_allclose(moved, gradient[rows], rtol=1e-9, atol=scale)
    shifted, _ = concatenated_distance_covariance(u, points + 64.0, **options)
    assert_allclose(shifted, value, rtol=1e-8, atol=scale)
    kept = weights > 0
    alone = concatenated_distance_covariance(u[kept], points[kept], statistic="v", sample_weight=weights[kept])
    assert_allclose(alone, value, rtol=1e-9, atol=scale)


@property_test(st.tuples(samples(ordinary, least=4, most=20), st.integers(-1000, 900), st.integers(-1000, 900)))
def test_homogeneous_over_the_range_of_floats(case):
    (u, points, _), of_u, of_points = case
    u, points = np.round(u), np.round(points)  # no power of two rounds them
    value = distance_covariance(u, points, statistic="v")
    assume(value > 1e-3)
    assert_allclose(np.ldexp(distance_covariance(np.ldexp(u, of_u), points, statistic="v"), -of_u), value, rtol=1e-9)
    moved = distance_covariance(u, np.ldexp(points, of_points), statistic="v")
    assert_allclose(np.ldexp(moved, -of_points), value, rtol=1e-9)


@property_test(samples(anything | awkward, least=4, most=20))
def test_penalties_of_any_predictions(sample):
    """Finite and within its bounds, be the predictions at both ends of the range at once; the same in other units."""
    u, points, weights = sample
    assume(len(np.unique(points, axis=0)) > 1 and len(np.unique(points[weights > 0], axis=0)) > 1)
    bound = CCDCovPenalty().bind(points, weights)
    value = bound.value(u)
    assert -1e-12 <= value <= np.sqrt(points.shape[1]) + 1e-12
    counted = np.where(weights > 0, u, 0.0)
    halved_or_doubled = np.ldexp(counted, -1 if np.abs(counted).max() > 1 else 1)
    assert_allclose(bound.value(halved_or_doubled), value, rtol=1e-9, atol=1e-9)
    if not 0 < np.abs(u[u != 0]).min(initial=1.0) < 1e-290:
        assert np.isfinite(bound.value_gradient(u)[1]).all()


@property_test(samples(st.integers(-50, 50).map(float), least=4, most=20))
def test_gradient_by_finite_differences_away_from_ties(sample):
    """Piecewise linear between ties: central differences are exact but for rounding."""
    u, points, weights = sample
    u = u + np.arange(len(u)) / (2 * len(u))
    direction = np.random.default_rng(len(u)).uniform(-1, 1, len(u))
    step = 1 / (8 * len(u))
    options = {"statistic": "v", "sample_weight": weights}
    for measure in REFERENCES:
        _, gradient = measure(u, points, **options, return_gradient=True)
        high, low = (measure(u + sign * step * direction, points, **options) for sign in (1, -1))
        scale = 1e-9 * len(u) * (1 + np.abs(points).max())
        assert_allclose(gradient @ direction, (high - low) / (2 * step), rtol=1e-7, atol=scale)
