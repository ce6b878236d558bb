"""Forms within strata: the definition stratum by stratum, identities, bounds, and permutations within strata."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov._kernels import _reference
from fairdcov.dependence import (
    PermutableDependence,
    Strata,
    ascending_order,
    bind_dependence,
    bind_strata,
    gini_mean_difference,
    permutable_dependence,
)
from fairdcov.dependence._strata import StrataForm, _grouping
from fairdcov.encoding._blocks import SensitiveBlocks
from fairdcov.exceptions import SensitiveFeaturesWarning

DEFINITIONS = {
    "dcov": _reference.distance_covariance,
    "ccdcov": _reference.concatenated_distance_covariance,
    "jdcov": _reference.joint_distance_covariance,
}
MEASURES = tuple(DEFINITIONS)


def definition(u, blocks, codes, measure, statistic="v", weights=None):
    """The measure of each stratum by its definition, in the mean by the shares of the weight."""
    weights = np.ones(len(u)) if weights is None else weights
    total = 0.0
    for stratum in np.unique(codes):
        rows = codes == stratum
        inside = weights[rows] / weights[rows].sum()
        parts = [block[rows] for block in blocks]
        total += weights[rows].sum() * DEFINITIONS[measure](u[rows], *parts, statistic=statistic, probabilities=inside)
    return total / weights.sum()


@pytest.fixture
def sample(rng):
    n = 157
    blocks = [rng.integers(0, 3, (n, 1)).astype(float), rng.normal(size=(n, 2)).round(1)]
    return rng.gamma(2.0, size=n), blocks, rng.integers(0, 4, n), rng.uniform(0.1, 2.0, n)


@pytest.mark.parametrize("method", ["profiles", "tiles", "approximate"])
@pytest.mark.parametrize("statistic", ["u", "v", "weighted"])
@pytest.mark.parametrize("measure", MEASURES)
def test_value_and_gradient_are_those_of_the_definition(sample, measure, statistic, method):
    u, blocks, codes, weights = sample
    weights = weights if statistic == "weighted" else None
    statistic = "u" if statistic == "u" else "v"
    options = {"statistic": statistic, "method": method, "sample_weight": weights, "n_components": 10_000}
    form = bind_strata(SensitiveBlocks.from_arrays(blocks), Strata(codes), measure, **options)
    assert form.method == method
    value, gradient = form.value_gradient(u)
    expected = definition(u, blocks, codes, measure, statistic, weights)
    assert_allclose(value + form.constant, expected, rtol=1e-9)
    step = 1e-5
    for row in (0, 50, 156):
        direction = step * (np.arange(len(u)) == row)
        above, below = (
            definition(moved, blocks, codes, measure, statistic, weights) for moved in (u + direction, u - direction)
        )
        assert_allclose(gradient[row], (above - below) / (2 * step), rtol=1e-5, atol=1e-9)
    sums, nothing = form.signed_sums(u, ascending_order(u))
    assert nothing is None
    assert_allclose(2 * sums, gradient, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_one_stratum_is_the_unconditional_form_to_the_last_digit(sample, measure, weighted):
    u, blocks, _, weights = sample
    weights = weights if weighted else None
    blocks = SensitiveBlocks.from_arrays(blocks)
    plain = bind_dependence(blocks, measure, sample_weight=weights)
    within = bind_strata(blocks, Strata(np.zeros(len(u), dtype=int)), measure, sample_weight=weights)
    assert within.value_gradient(u)[0] == plain.value_gradient(u)[0]
    assert_array_equal(within.value_gradient(u)[1], plain.value_gradient(u)[1])
    # The composite itself, which the shortcut leaves out.
    composite = StrataForm(Strata(np.zeros(len(u), dtype=int)), {0: plain}, np.ones(1))
    order = ascending_order(u)
    assert composite.value_gradient(u)[0] == plain.value_gradient(u)[0]
    assert_array_equal(composite.value_gradient(u)[1], plain.value_gradient(u)[1])
    assert_array_equal(composite.pull_bounds(), plain.pull_bounds())
    assert_allclose(composite.norm(), plain.norm(), rtol=1e-15)
    assert composite.constant == plain.constant
    width, _ = gini_mean_difference(u)
    assert_array_equal(composite.density(u, order, None, width), plain.density(u, order, None, width))


@pytest.mark.parametrize("measure", MEASURES)
def test_strata_that_are_copies_have_the_measure_of_one(sample, measure):
    u, blocks, _, weights = sample
    copies = [np.tile(block, (3, 1)) for block in blocks]
    codes = np.repeat([0, 1, 2], len(u))
    of_one = bind_dependence(SensitiveBlocks.from_arrays(blocks), measure, sample_weight=weights)
    form = bind_strata(
        SensitiveBlocks.from_arrays(copies),
        Strata(codes),
        measure,
        sample_weight=np.concatenate([weights, 2 * weights, 5 * weights]),
    )
    # Each stratum elsewhere on the line: rows of different strata are not compared.
    value, gradient = form.value_gradient(np.concatenate([u, 100 - u, u - 50]))
    expected, slope = of_one.value_gradient(u)
    assert_allclose(value, expected, rtol=1e-11)
    assert_allclose(gradient, np.concatenate([slope / 8, -slope / 4, slope * 5 / 8]), atol=1e-14)
    assert_allclose(form.norm(), of_one.norm(), rtol=1e-11)


@pytest.mark.parametrize("measure", MEASURES)
def test_whole_weights_are_repetition(rng, sample, measure):
    u, blocks, codes, _ = sample
    times = rng.integers(1, 4, len(u))
    weighted = bind_strata(SensitiveBlocks.from_arrays(blocks), Strata(codes), measure, sample_weight=times)
    repeated = [np.repeat(block, times, axis=0) for block in blocks]
    plain = bind_strata(SensitiveBlocks.from_arrays(repeated), Strata(np.repeat(codes, times)), measure)
    assert_allclose(weighted.value_gradient(u)[0], plain.value_gradient(np.repeat(u, times))[0], rtol=1e-11)
    assert_allclose(weighted.constant, plain.constant, rtol=1e-11)


def test_a_prediction_of_the_strata_alone_has_no_value_and_no_gradient(rng, sample):
    u, blocks, codes, weights = sample
    form = bind_strata(SensitiveBlocks.from_arrays(blocks), Strata(codes), "ccdcov", sample_weight=weights)
    level = rng.gamma(2.0, size=4)[codes]
    rounded = level * (1 + 1e-16 * rng.integers(-3, 4, len(u)))
    for prediction in (level, rounded):
        value, gradient = form.value_gradient(prediction)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("method", ["profiles", "tiles"])
def test_rows_of_a_pair_matrix(sample, method):
    """Value, bounds on the pull and norm from M itself, block by block."""
    u, blocks, codes, weights = sample
    form = bind_strata(
        SensitiveBlocks.from_arrays(blocks), Strata(codes), "ccdcov", sample_weight=weights, method=method
    )
    n, points = len(u), np.hstack(blocks)
    matrix = np.zeros((n, n))
    for stratum in range(4):
        rows = np.flatnonzero(codes == stratum)
        inside = weights[rows] / weights[rows].sum()
        share = weights[rows].sum() / weights.sum()
        matrix[np.ix_(rows, rows)] = -share * np.outer(inside, inside) * _reference.v_centred(points[rows], inside)
    assert_allclose(form.value_gradient(u)[0], _reference.pair_sum(u, matrix), rtol=1e-10)
    assert_allclose(form.pull_bounds(), np.abs(matrix).sum(axis=1), rtol=1e-10)
    squares = matrix**2 / np.outer(weights, weights) * weights.sum() ** 2
    shares = np.bincount(codes, weights)[codes] / weights.sum()
    assert_allclose(form.norm(), np.sqrt((squares * shares[:, None]).sum()), rtol=1e-10)


def test_error_bound_of_the_approximation_holds(rng):
    n = 600
    blocks = SensitiveBlocks.from_arrays([rng.normal(size=(n, 3))])
    codes, weights, u = rng.integers(0, 3, n), rng.uniform(size=n), rng.gamma(2.0, size=n)
    u += 3 * codes
    exact = bind_strata(blocks, Strata(codes), "ccdcov", sample_weight=weights, method="tiles")
    near = bind_strata(blocks, Strata(codes), "ccdcov", sample_weight=weights, method="approximate", n_components=20)
    assert near.error_bound == max(form.error_bound for form in near.forms.values()) > 0
    width, _ = gini_mean_difference(u, weights / weights.sum())
    missed = (exact.value_gradient(u)[0] - near.value_gradient(u)[0]) / width
    assert 0 <= missed <= near.error_bound


def test_automatic_choice_gives_all_strata_the_time_of_one(rng):
    n = 30_000
    blocks = SensitiveBlocks.from_arrays([rng.normal(size=(n, 2))])
    codes = np.repeat([0, 1], [26_000, 4_000])
    form = bind_strata(blocks, Strata(codes), "ccdcov", n_components=4, n_threads=1)
    assert [part.method for part in form.forms.values()] == ["approximate", "tiles"]


def test_strata_without_variation_count_as_nothing_and_are_named(sample):
    u, blocks, codes, weights = sample
    groups = (blocks[0] > 0).astype(float)
    groups[codes == 2] = 1.0
    labels = [("north",), ("south",), ("east",), ("west",)]
    strata = Strata(codes, labels, ["region"])
    with pytest.warns(SensitiveFeaturesWarning, match=r"1 of 4 strata of \['region'\].*'east': "):
        form = bind_strata(SensitiveBlocks.from_arrays([groups]), strata, "ccdcov", sample_weight=weights)
    value, gradient = form.value_gradient(u)
    assert_allclose(value, definition(u, [groups], codes, "ccdcov", weights=weights), rtol=1e-10)
    assert not gradient[codes == 2].any()
    assert not form.pull_bounds()[codes == 2].any()
    assert form.shares[2] == pytest.approx(weights[codes == 2].sum() / weights.sum())


def test_strata_of_few_rows(sample):
    u, blocks, codes, _ = sample
    codes = codes.copy()
    codes[:3] = 4
    codes[3] = 5
    blocks = SensitiveBlocks.from_arrays(blocks)
    with pytest.warns(SensitiveFeaturesWarning, match="1 of 6 strata.*fewer than 2 rows"):
        bind_strata(blocks, Strata(codes), "ccdcov").value_gradient(u)
    with pytest.warns(SensitiveFeaturesWarning, match="2 of 6 strata.*fewer than 4 rows .which the U-statistic needs"):
        form = bind_strata(blocks, Strata(codes), "ccdcov", statistic="u")
    assert not form.value_gradient(u)[1][:4].any()


def test_control_features_that_determine_the_attributes(sample):
    u, _, codes, _ = sample
    blocks = SensitiveBlocks.from_arrays([(codes % 2)[:, None].astype(float)], ["gender"])
    with pytest.raises(ValueError, match=r"\['region'\] determine the protected attributes \['gender'\].* 4 strata"):
        bind_strata(blocks, Strata(codes, names=["region"]), "ccdcov")
    # Variation that only rows of weight 0 have is none.
    blocks = SensitiveBlocks.from_arrays([np.append(codes % 2, 1 - codes[0] % 2)[:, None].astype(float)], ["gender"])
    weights = np.append(np.ones(len(u)), 0.0)
    with pytest.raises(ValueError, match="determine"):
        bind_strata(blocks, Strata(np.append(codes, codes[0])), "ccdcov", sample_weight=weights)


def test_grouping_is_a_stable_sort_also_of_very_many_strata(rng):
    for n_codes in (1, 3, 2**16, 2**16 + 1, 2**33):
        codes = rng.integers(0, n_codes, 2000)
        assert_array_equal(_grouping(codes, n_codes), np.argsort(codes, kind="stable"))


# -- permutations


def test_permutations_leave_rows_in_their_strata(rng, sample):
    codes = sample[2]
    permutation = Strata(codes).permutation(rng)
    assert_array_equal(np.sort(permutation), np.arange(len(codes)))
    assert_array_equal(codes[permutation], codes)
    assert (permutation != np.arange(len(codes))).mean() > 0.9


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_permuted_values_are_those_of_permuted_attributes(rng, sample, measure, weighted, normalize):
    u, blocks, codes, weights = sample
    weights = weights if weighted else None
    strata = Strata(codes)
    bound = SensitiveBlocks.from_arrays(blocks)
    options = {"sample_weight": weights, "normalize": normalize, "net": False}
    found = permutable_dependence(u, bound, measure, strata, **options)
    permutations = [strata.permutation(rng) for _ in range(5)]
    width = gini_mean_difference(u, None if weights is None else weights / weights.sum())[0] if normalize else 1.0

    def expected(rows):
        moved = [block[rows] for block in blocks]
        form = bind_strata(SensitiveBlocks.from_arrays(moved), strata, measure, sample_weight=weights)
        return form.value_gradient(u)[0] / width + form.constant

    values = [expected(rows) for rows in permutations]
    assert_allclose(found.values_of(permutations), values, rtol=1e-9)
    assert_allclose(found.value(), expected(np.arange(len(u))), rtol=1e-9)
    assert_allclose(found.value_of(found.form), found.value(), rtol=1e-12)
    random = found.permuted_values(200, rng)
    again = found.values_of(strata.permutation(rng) for _ in range(200))
    assert abs(random.mean() - again.mean()) < 4 * np.sqrt((random.var() + again.var()) / 200)


def test_one_stratum_is_permuted_as_without_strata(sample):
    u, blocks, _, _ = sample
    bound = SensitiveBlocks.from_arrays(blocks)
    strata = Strata(np.zeros(len(u), dtype=int))
    found = permutable_dependence(u, bound, "ccdcov", strata)
    assert isinstance(found, PermutableDependence)
    expected = PermutableDependence(u, bound, "ccdcov").permuted_values(3, np.random.default_rng(1))
    assert_array_equal(found.permuted_values(3, np.random.default_rng(1)), expected)
