"""Measures of numbers near the ends of the range of floats: the same as in its middle, times a power of two."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import (
    CCDCovPenalty,
    DCovPenalty,
    JDCovPenalty,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov._checks._range import is_constant, product_about_mean, row_probabilities, within_range, without_exponent
from fairdcov.dependence import bind_dependence
from fairdcov.encoding._blocks import SensitiveBlocks
from fairdcov.inference import independence_test
from fairdcov.metrics import ccdcov

MEASURES = {
    "dcov": distance_covariance,
    "ccdcov": concatenated_distance_covariance,
    "jdcov": lambda u, first, *others, **options: joint_distance_covariance(u, first, c=3.0, **options),
}
EXPONENTS = [-1000, -700, -540, -300, 300, 520, 700, 1000]

every_method = pytest.mark.parametrize("method", ["auto", "profiles", "tiles"])
every_exponent = pytest.mark.parametrize("exponent", EXPONENTS)
every_statistic = pytest.mark.parametrize("statistic", ["u", "v"])


@pytest.fixture
def sample(rng):
    """A prediction and two attributes, of whole numbers: no power of two rounds them, down to the subnormal ones."""
    return rng.integers(-99, 99, 80).astype(float), [rng.integers(-9, 9, (80, q)).astype(float) for q in (2, 1)]


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@every_method
@every_exponent
@every_statistic
def test_measures_are_homogeneous_over_the_whole_range(measure, method, statistic, exponent, sample):
    """Squares of distances overflow from 1e154 and vanish below 1e-162; the measures do not."""
    u, blocks = sample
    options = {"statistic": statistic, "method": method, "return_gradient": True, "n_threads": 1}
    expected, slope = measure(u, *blocks, **options)
    value, gradient = measure(np.ldexp(u, exponent), *blocks, **options)
    assert_allclose(np.ldexp(value, -exponent), expected, rtol=1e-10)
    assert_allclose(gradient, slope, rtol=1e-10, atol=1e-12)
    value, gradient = measure(u, *(np.ldexp(block, exponent) for block in blocks), **options)
    assert_allclose(np.ldexp(value, -exponent), expected, rtol=1e-9)
    assert_allclose(np.ldexp(gradient, -exponent), slope, rtol=1e-9, atol=1e-11)


@every_method
@every_exponent
@every_statistic
def test_no_units_matter_to_the_scale_invariant_form(method, statistic, exponent, sample):
    """A variance beyond the range made an attribute count as independent."""
    u, blocks = sample
    options = {"statistic": statistic, "method": method, "scale_invariant": True, "n_threads": 1}
    expected = joint_distance_covariance(u, *blocks, **options)
    assert abs(expected) > 0.001
    moved = [np.ldexp(u, exponent), *blocks], [u, np.ldexp(blocks[0], exponent), blocks[1]]
    for arguments in moved:
        assert_allclose(joint_distance_covariance(*arguments, **options), expected, rtol=1e-9)
    if exponent > -1000:  # beyond, the gradient is more than the largest float
        _, slope = joint_distance_covariance(u, *blocks, **options, return_gradient=True)
        _, gradient = joint_distance_covariance(np.ldexp(u, exponent), *blocks, **options, return_gradient=True)
        assert_allclose(np.ldexp(gradient, exponent), slope, rtol=1e-8, atol=1e-10)


def test_approximation_of_extreme_attributes(sample):
    u, (block, _) = sample
    options = {"method": "approximate", "n_components": 16}
    expected = bind_dependence(SensitiveBlocks.from_arrays([block]), "ccdcov", **options)
    for exponent in (-700, 700):
        form = bind_dependence(SensitiveBlocks.from_arrays([np.ldexp(block, exponent)]), "ccdcov", **options)
        assert 0 < expected.error_bound < 5
        assert_allclose(np.ldexp(form.error_bound, -exponent), expected.error_bound, rtol=1e-9)
        assert_allclose(np.ldexp(form.norm(), -exponent), expected.norm(), rtol=1e-9)
        assert_allclose(np.ldexp(form.value_gradient(u)[0], -exponent), expected.value_gradient(u)[0], rtol=1e-9)


def test_a_constant_column_does_not_set_the_scale(rng):
    """What matters is the range of a column, not where it lies."""
    u, z = rng.normal(size=(2, 30))
    expected = concatenated_distance_covariance(u, z)
    for place in (1e300, -1e308, 1e200):
        beside = np.column_stack([z, np.full(30, place)])
        for method in ("auto", "tiles"):
            assert_allclose(concatenated_distance_covariance(u, beside, method=method), expected, rtol=1e-12)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_ends_whose_sum_no_float_can_hold(sign, rng):
    u, z = rng.normal(size=30), rng.integers(0, 9, 30).astype(float)
    # From 2^1023 to below 2^1024, in steps of 2^1020.
    far = sign * np.ldexp(8.0 + z / 8 * 7, 1020)
    expected = concatenated_distance_covariance(u, z)
    assert_allclose(concatenated_distance_covariance(u, far), np.ldexp(expected * 7 / 8, 1020), rtol=1e-12)


def test_what_no_float_can_hold_raises(rng):
    u, z = rng.normal(size=(2, 30)) * 1e300
    for measure in (distance_covariance, concatenated_distance_covariance, joint_distance_covariance):
        with pytest.raises(
            ValueError, match="beyond the range of floats; found inf: divide x and the blocks by a number"
        ):
            measure(u, u + z)


@pytest.mark.parametrize("factor", [1e308, 1e-310])
def test_weights_whose_sum_leaves_the_range(factor, rng):
    u, z, weights = rng.normal(size=60), rng.normal(size=60), rng.integers(1, 9, 60) / 8
    blocks = SensitiveBlocks.from_arrays([z[:, None]])
    expected = bind_dependence(blocks, "ccdcov", sample_weight=weights).value_gradient(u)[0]
    assert_allclose(row_probabilities(weights * factor), weights / weights.sum(), rtol=1e-12)
    # Weights that add up to something within the range, however far from 1, are what their shares are.
    form = bind_dependence(blocks, "ccdcov", sample_weight=weights * (1e-140 if factor < 1 else 1e140))
    assert_allclose(form.value_gradient(u)[0], expected, rtol=1e-11)
    with pytest.raises(ValueError, match="sample_weight must have a sum between 1e-150"):
        bind_dependence(blocks, "ccdcov", sample_weight=weights * factor)


@pytest.mark.parametrize("n", [4, 5, 6, 50])
@pytest.mark.parametrize(("others", "own"), [(0.0, 1.0), (1 / 3, 0.3), (7.7, 0.3), (0.0, 1e3 / 7), (0.1, 1 / 3)])
def test_one_row_apart_has_no_dependence_and_no_gradient(n, others, own, rng):
    """Its distance variance is 0 in the U-statistic; divided by what rounding left of it the gradient was 1e9."""
    z = rng.normal(size=n)
    for row in range(n):
        x = np.where(np.arange(n) == row, own, others)
        for block in (z, rng.integers(0, 2, n), np.column_stack([z, z**2])):
            value, gradient = joint_distance_covariance(x, block, scale_invariant=True, return_gradient=True)
            assert value == 0
            assert_array_equal(gradient, 0)
        for block in (x, np.column_stack([x, 3 * x])):
            value, gradient = joint_distance_covariance(z, block, scale_invariant=True, return_gradient=True)
            assert abs(value) < 1e-12
            assert np.abs(gradient).max() < 1e-12


@pytest.mark.parametrize("far", [1e17, -1e33, 1e160, 1e308])
@pytest.mark.parametrize("penalty", [CCDCovPenalty, DCovPenalty, JDCovPenalty])
def test_rows_of_no_weight_may_be_anywhere(penalty, far, rng):
    """They took part in the mean about which a value is computed: all digits of the others were lost."""
    n = 40
    u, z, plane = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, 2))
    weights = rng.uniform(0.5, 2, n) * (np.arange(n) % 4 > 0)
    absent = weights == 0
    away, far_z, far_plane = np.where(absent, far, u), np.where(absent, far, z), np.where(absent[:, None], far, plane)
    for normalize in (True, False):
        bound = penalty(normalize=normalize).bind(plane, weights)
        for found, expected in zip(bound.value_gradient(away), bound.value_gradient(u), strict=True):
            assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
    options = {"statistic": "v", "sample_weight": weights, "return_gradient": True}
    for measure in (distance_covariance, concatenated_distance_covariance, joint_distance_covariance):
        for method in ("auto", "profiles", "tiles"):
            value, gradient = measure(u, z, plane, method=method, **options)
            for arguments in ((away, z, plane), (u, far_z, plane), (u, z, far_plane), (away, far_z, far_plane)):
                found, slope = measure(*arguments, method=method, **options)
                assert_allclose(found, value, rtol=1e-11)
                assert_allclose(slope, gradient, rtol=1e-10, atol=1e-13)
    value = joint_distance_covariance(u, z, plane, scale_invariant=True, **options)[0]
    found = joint_distance_covariance(away, far_z, far_plane, scale_invariant=True, **options)[0]
    assert_allclose(found, value, rtol=1e-10)
    blocks, far_blocks = (SensitiveBlocks.from_arrays([block[:, None]]) for block in (z, far_z))
    form, other = (bind_dependence(b, "ccdcov", sample_weight=weights) for b in (blocks, far_blocks))
    assert_allclose(other.value_gradient(away)[0], form.value_gradient(u)[0], rtol=1e-11)
    assert_allclose(other.norm(), form.norm(), rtol=1e-11)


# -- penalties, metrics and tests of extreme predictions


@pytest.fixture
def people(rng):
    return pd.DataFrame({"gender": rng.choice(["f", "m"], 80), "region": rng.choice(list("abc"), 80)})


@pytest.mark.parametrize("penalty", [CCDCovPenalty, DCovPenalty, JDCovPenalty])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("exponent", [-1040, -700, 700, 1010])
def test_penalties_of_extreme_predictions(penalty, weighted, exponent, people, sample, rng):
    u = sample[0]
    weights = rng.integers(0, 5, len(u)) / 4 if weighted else None
    moved = np.ldexp(u, exponent)
    free, raw = penalty().bind(people, weights), penalty(normalize=False).bind(people, weights)
    assert free.value(u) > 0.005
    assert_allclose(free.value(moved), free.value(u), rtol=1e-12)
    # A result below 1e-308 has fewer digits.
    assert_allclose(np.ldexp(raw.value(moved), -exponent), raw.value(u), rtol=1e-9)
    assert_allclose(raw.value_gradient(moved)[1], raw.value_gradient(u)[1], rtol=1e-12)
    if exponent > -1000:
        assert_allclose(np.ldexp(free.value_gradient(moved)[1], exponent), free.value_gradient(u)[1], rtol=1e-12)
        curvature = np.ldexp(raw.value_gradient_curvature(moved)[2], exponent)
        assert_allclose(curvature, raw.value_gradient_curvature(u)[2], rtol=1e-12)
    assert_allclose(
        ccdcov(None, moved, sensitive_features=people, normalize=True),
        ccdcov(None, u, sensitive_features=people, normalize=True),
        rtol=1e-12,
    )
    assert_allclose(
        np.ldexp(ccdcov(None, moved, sensitive_features=people), -exponent),
        ccdcov(None, u, sensitive_features=people),
        rtol=1e-9,
    )


@pytest.mark.parametrize("exponent", [-200, 200])
def test_curvature_of_predictions_in_other_units(exponent, people, sample):
    """The scale-free form's is of degree -2."""
    u, bound = sample[0] * 2.0**-60, CCDCovPenalty().bind(people)
    curvature = bound.value_gradient_curvature(np.ldexp(u, exponent))[2]
    assert_allclose(np.ldexp(curvature, 2 * exponent), bound.value_gradient_curvature(u)[2], rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"measure": "dcov"}, {"measure": "jdcov"}, {"test": "chi2"}], ids=str)
def test_independence_of_extreme_predictions(options, people, sample):
    u = sample[0]
    expected = independence_test(u, people, n_permutations=19, **options)
    for exponent in (-1040, -700, 700, 1010):
        found = independence_test(np.ldexp(u, exponent), people, n_permutations=19, **options)
        assert found.p_value == pytest.approx(expected.p_value)
        assert found.effect_size == pytest.approx(expected.effect_size)
        assert np.ldexp(found.statistic, -exponent) == pytest.approx(expected.statistic)
        if expected.null_distribution is not None:
            assert_allclose(
                np.ldexp(found.null_distribution, -exponent), expected.null_distribution, rtol=1e-10, atol=1e-9
            )


# -- the tools


def test_ordinary_numbers_are_left_alone(rng):
    u, points = rng.normal(size=9), rng.normal(size=(9, 2))
    assert without_exponent(u)[0] is u
    assert within_range(points)[0][0] is points
    assert without_exponent(u)[1] == within_range(points)[1] == 0


@pytest.mark.parametrize("largest", [5e-324, 1e-310, 1e-200, 1e200, np.finfo(float).max])
def test_extreme_numbers_are_brought_to_the_middle(largest):
    u = np.array([-1.0, 0.0, 0.5, 1.0]) * largest
    for part in (u, u[:2], u[1:]):
        moved, exponent = without_exponent(part)
        assert 1 <= np.abs(moved).max() < 2
        assert_array_equal(np.ldexp(moved, exponent), part)
    (points,), exponent = within_range(u[:, None])
    assert 0.5 <= np.ptp(points) <= 4
    assert_allclose(np.ldexp(points - points[1], exponent)[:, 0], u, rtol=1e-15)
    about_mean = product_about_mean(np.full(1_000, largest), np.ones(1_000))
    assert abs(about_mean) <= 1e-12 * largest


@pytest.mark.parametrize(
    ("values", "constant"),
    [
        ([0.0, 0.0], True),
        ([0.0, -0.0], True),
        ([1.0, 1.0 + 1e-14], True),
        ([1.0, 1.0 + 2e-14], False),
        ([-1e308, 1e308], False),
        ([0.0, 5e-324], False),
        ([1e308, 1e308], True),
    ],
)
def test_constant_up_to_rounding(values, constant):
    assert is_constant(np.array(values)) is constant
