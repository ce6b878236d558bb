"""Choice of the method and its memory, the approximation's error bound, sums of forms, extreme numbers, wrong input."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import _kernels, concatenated_distance_covariance, distance_covariance, joint_distance_covariance
from fairdcov._kernels import _reference
from fairdcov.dependence import METHODS, bind_dependence, gini_mean_difference
from fairdcov.dependence._sample import Factor
from fairdcov.encoding._blocks import SensitiveBlocks

MEASURES = ("dcov", "jdcov", "ccdcov")
EVERY_MEASURE = {
    "dcov": distance_covariance,
    "ccdcov": concatenated_distance_covariance,
    "jdcov": joint_distance_covariance,
}


def factorise(*blocks):
    return SensitiveBlocks.from_arrays([np.asarray(block, dtype=float).reshape(len(block), -1) for block in blocks])


def repeated(n_profiles, n, columns=1):
    """A block with exactly ``n_profiles`` distinct rows."""
    return np.column_stack([np.arange(n) % n_profiles] * columns).astype(float)


# -- which method


@pytest.mark.parametrize(
    ("n_profiles", "n", "columns", "expected"),
    [
        (20, 20, 2, "profiles"),
        (512, 600, 1, "profiles"),
        (513, 600, 1, "univariate"),
        (513, 600, 2, "tiles"),
        (600, 1_200, 2, "profiles"),  # each profile twice
        (600, 1_199, 2, "tiles"),
        (2_048, 4_096, 2, "profiles"),
        (2_049, 16_391, 2, "tiles"),  # of so many profiles each has to come eight times
        (2_049, 16_392, 2, "profiles"),
        (513, 50_000, 1, "univariate"),  # its sweep is faster from here on, and needs no matrix
        (1000, 50_000, 2, "profiles"),  # columns, but many rows share them
        (20_000, 20_000, 2, "tiles"),
        (20_001, 20_001, 2, "approximate"),
    ],
)
def test_automatic_choice(n_profiles, n, columns, expected):
    blocks = factorise(repeated(n_profiles, n, columns))
    assert blocks.n_profiles == n_profiles
    options = {"n_components": 4, "n_threads": 1}
    for measure in MEASURES if n < 1000 else ["dcov"]:
        assert bind_dependence(blocks, measure, **options).method == expected
    if expected == "approximate":
        assert bind_dependence(factorise(repeated(600, 600, 2)), "dcov", approximate=False).method == "tiles"


def test_blocks_are_chosen_for_one_by_one_where_measures_are_summed(rng):
    n = 2000
    blocks = [rng.normal(size=n), rng.normal(size=(n, 2)), rng.integers(0, 3, n)]
    assert bind_dependence(factorise(*blocks), "dcov").method == "univariate + tiles + profiles"
    assert bind_dependence(factorise(*blocks), "jdcov").method == "tiles"
    assert bind_dependence(factorise(blocks[2], blocks[2] % 2), "dcov").method == "profiles"
    assert bind_dependence(factorise(blocks[0], blocks[0] ** 3), "dcov", method="univariate").method == "univariate"


@pytest.mark.parametrize("measure", MEASURES)
def test_automatic_choice_keeps_to_the_working_memory(measure):
    """250 profiles: three matrices of them are 1.43 MiB."""
    blocks = factorise(repeated(250, 10_000, 2), repeated(250, 10_000))
    assert bind_dependence(blocks, measure).method == "profiles"
    with sklearn.config_context(working_memory=1):
        assert "profiles" not in bind_dependence(blocks, measure, n_components=4).method
        with pytest.raises(ValueError, match=r"250 x 250 matrix, about 1 MiB, more than .* working_memory of 1 MiB"):
            bind_dependence(blocks, measure, method="profiles")
    with sklearn.config_context(working_memory=2):
        assert bind_dependence(blocks, measure, method="profiles").method == "profiles"


@pytest.mark.parametrize("measure", MEASURES)
def test_memory_stays_within_what_was_announced(measure, rng):
    n_profiles = 1000
    announced = 3 * 8 * n_profiles**2
    blocks = factorise(repeated(n_profiles, n_profiles, 2), rng.integers(0, 2, n_profiles))
    with sklearn.config_context(working_memory=announced / 2**20):
        tracemalloc.start()
        try:
            bind_dependence(blocks, measure, method="profiles")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1.4 * announced


def test_the_approximation_takes_fewer_features_in_little_memory(rng):
    blocks = factorise(rng.normal(size=(3000, 3)))
    with sklearn.config_context(working_memory=1):
        form = bind_dependence(blocks, "ccdcov", method="approximate", n_components=256)
    assert form.n_components == 2**20 // (3 * 8 * 3000)


def test_the_approximation_has_a_feature_at_least(rng):
    """Where not even one fits the memory: none at all would be a measure of 0."""
    S = rng.normal(size=(200, 2))
    with sklearn.config_context(working_memory=0.001):
        form = bind_dependence(SensitiveBlocks.from_arrays([S]), "ccdcov", method="approximate")
    assert form.n_components == 1
    assert form.value_gradient(S[:, 0])[0] > 0


def test_many_points_of_one_block_cost_no_more_because_of_another(rng, monkeypatch):
    """A region has 10 points however many profiles it forms with age: distance sums are over the 10."""
    sizes = []
    row_sums = _kernels.tile_row_sums

    def recorded(blocks, *arguments, **options):
        sizes.append(len(blocks[0]))
        return row_sums(blocks, *arguments, **options)

    monkeypatch.setattr(_kernels, "tile_row_sums", recorded)
    region, age = np.eye(10)[rng.integers(0, 10, 300)], rng.normal(size=300)
    form = bind_dependence(factorise(region, age), "jdcov", method="approximate", n_components=300)
    assert sizes == [10]
    exact = bind_dependence(factorise(region, age), "jdcov", method="profiles")
    u = age + region[:, 0]
    assert_allclose(form.value_gradient(u)[0], exact.value_gradient(u)[0], rtol=1e-6)


# -- the approximation


def predictions(rng, points):
    """Smooth, rough and local ones: single rows and small neighbourhoods are what few features explain worst."""
    n = len(points)
    yield rng.normal(size=n)
    yield points[:, 0]
    yield np.sin(20 * points[:, 0]) + points[:, 1]
    for row in rng.integers(0, n, 5):
        distance = np.linalg.norm(points - points[row], axis=1)
        yield distance
        yield (distance == 0).astype(float)
        yield (distance < np.quantile(distance, 0.02)).astype(float)


def adversary(exact, rough, start, p, steps=30):
    """The largest error per Gini mean difference on a climb along its gradient."""
    u, best = start.copy(), -np.inf
    for _ in range(steps):
        order = np.argsort(u)
        spread, spread_gradient = gini_mean_difference(u, p, order=order)
        exact_value, exact_gradient = exact.value_gradient(u, order)
        rough_value, rough_gradient = rough.value_gradient(u, order)
        value, gradient = exact_value - rough_value, exact_gradient - rough_gradient
        best = max(best, value / spread)
        slope = (gradient - value / spread * spread_gradient) / spread
        u = u + 0.5 * u.std() * slope / (np.abs(slope).max() + 1e-300)
    return best


@pytest.mark.parametrize("measure", ["ccdcov", "jdcov", "dcov"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["clouds", "groups and a tail"])
def test_the_approximation_keeps_its_bound(kind, weighted, measure, rng):
    n = 250
    if kind == "clouds":
        S = [rng.normal(size=(n, 3)) + 4 * rng.integers(0, 3, (n, 1)), rng.normal(size=(n, 1))]
    else:
        S = [np.eye(6)[rng.integers(0, 6, n)], rng.standard_cauchy(size=(n, 1))]
    weights = rng.uniform(0.1, 1.0, size=n) ** 2 if weighted else None
    p = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    options = {"sample_weight": weights, "n_threads": 1}
    blocks = factorise(*S)
    exact = bind_dependence(blocks, measure, method="tiles", **options)
    assert exact.error_bound == 0.0
    bounds, points = [], np.hstack(S)
    for n_components in (1, 8, 40, n):
        rough = bind_dependence(blocks, measure, method="approximate", n_components=n_components, **options)
        bounds.append(rough.error_bound)
        errors = []
        for u in predictions(rng, points):
            spread = gini_mean_difference(u, p)[0]
            errors.append((exact.value_gradient(u)[0] - rough.value_gradient(u)[0]) / spread)
        errors.append(adversary(exact, rough, points[:, -1] + 0.1 * rng.normal(size=n), p))
        scale = exact.value_gradient(points[:, -1])[0] / gini_mean_difference(points[:, -1], p)[0] + bounds[0]
        assert min(errors) >= -1e-9 * scale
        assert max(errors) <= rough.error_bound + 1e-9 * scale
        if n_components == 1:
            assert max(errors) > 0.02 * rough.error_bound  # the bound is about errors that happen
    assert (np.diff(bounds) < 0).all()
    assert bounds[-1] < 1e-6 * bounds[0]


def test_the_bound_has_the_units_of_the_scale_invariant_form(rng):
    """Dividing by the deviation of a narrow attribute enlarges value, error and bound alike."""
    points = 1e-3 * rng.normal(size=(200, 4))
    options = {"scale_invariant": True, "n_threads": 1}
    u = points[:, 0]
    for c, blocks in ((0.0, factorise(points)), (1.0, factorise(points, points[:, :1] ** 2))):
        exact = bind_dependence(blocks, "jdcov", c=c, method="tiles", **options)
        rough = bind_dependence(blocks, "jdcov", c=c, method="approximate", n_components=5, **options)
        error = (exact.value_gradient(u)[0] - rough.value_gradient(u)[0]) / gini_mean_difference(u)[0]
        assert 0 < error <= rough.error_bound
    larger = bind_dependence(factorise(1e6 * points), "jdcov", method="approximate", n_components=5, **options)
    narrow = bind_dependence(factorise(points), "jdcov", method="approximate", n_components=5, **options)
    assert_allclose(larger.error_bound, narrow.error_bound, rtol=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_as_many_features_as_profiles_are_exact(measure, rng):
    blocks = factorise(np.eye(4)[rng.integers(0, 4, 300)], rng.integers(0, 5, 300))
    u = rng.normal(size=300)
    for statistic in ("u", "v"):
        exact = bind_dependence(blocks, measure, statistic=statistic).value_gradient(u)
        full = bind_dependence(blocks, measure, statistic=statistic, method="approximate").value_gradient(u)
        assert_allclose(full[0], exact[0], rtol=1e-9)
        assert_allclose(full[1], exact[1], atol=1e-10 * np.abs(exact[1]).max())


@pytest.mark.parametrize("seed", range(5))
def test_points_that_rounding_alone_tells_apart_take_one_feature_together(seed, rng):
    """Of 32 pivots drawn at a time many are alike: the features left over are for the places not drawn yet."""
    places = np.repeat(rng.normal(size=(30, 2)), 10, axis=0)
    blocks = factorise(places + 1e-14 * rng.normal(size=places.shape))
    form = bind_dependence(blocks, "ccdcov", method="approximate", n_components=40, random_state=seed)
    assert form.error_bound < 1e-6


def test_the_seed_decides_the_approximation(rng):
    blocks, u = factorise(rng.normal(size=(300, 3))), rng.normal(size=300)
    bind = {"method": "approximate", "n_components": 8}
    first, again, other = (
        bind_dependence(blocks, "ccdcov", random_state=seed, **bind).value_gradient(u) for seed in (1, 1, 2)
    )
    assert_array_equal(first[1], again[1])
    assert first[0] == again[0] != other[0]


# -- forms


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("method", ["tiles", "approximate", "univariate"])
def test_a_sum_of_forms_adds_everything(method, statistic, rng):
    n = 60
    blocks = [rng.normal(size=n), rng.integers(0, 4, n)]
    options = {"statistic": statistic, "method": method, "n_components": 3}
    whole = bind_dependence(factorise(*blocks), "dcov", **options)
    parts = [bind_dependence(factorise(block), "dcov", **options) for block in blocks]
    u = rng.integers(0, 9, n).astype(float)
    assert whole.n_samples == n
    assert whole.method == method
    assert whole.constant == 0.0
    assert_allclose(whole.error_bound, sum(part.error_bound for part in parts), rtol=1e-12)
    value, gradient = whole.value_gradient(u)
    assert_allclose(value, sum(part.value_gradient(u)[0] for part in parts), rtol=1e-12)
    assert_allclose(gradient, sum(part.value_gradient(u)[1] for part in parts), rtol=0, atol=1e-15)


@pytest.mark.parametrize("exponent", [-700, 0, 700])
def test_a_sum_of_sorted_values_is_its_value(exponent, rng):
    """In any units, of which attributes near the ends of the range are freed first."""
    u, blocks = np.sort(rng.normal(size=50)), [np.ldexp(rng.normal(size=50), exponent) for _ in range(2)]
    form = bind_dependence(factorise(*blocks), "dcov", method="univariate")
    rows = rng.permutation(50)
    moved = np.empty(50)
    moved[rows] = u
    assert_allclose(form.sorted_value(u, rows), form.value_gradient(moved)[0], rtol=1e-9)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "auto"])
@pytest.mark.parametrize("length", [1, 20, 39, 41, 80])
def test_predictions_of_another_length_raise(length, method, rng):
    """A longer vector once ran beyond the end of the others, or for ever."""
    form = bind_dependence(factorise(rng.normal(size=40)), "ccdcov", method=method)
    with pytest.raises(ValueError, match=r"has shape \(40,.*u has shape"):
        form.value_gradient(rng.normal(size=length))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "auto"])
def test_a_form_can_be_evaluated_again(method, rng):
    """Nothing of an evaluation is left behind, whether or not the order is passed."""
    form = bind_dependence(factorise(rng.normal(size=40)), "ccdcov", method=method, n_threads=2)
    u, other = rng.normal(size=40), rng.normal(size=40)
    u.flags.writeable = False
    first = form.value_gradient(u)
    form.value_gradient(other)
    again = form.value_gradient(u, np.argsort(u))
    assert first[0] == again[0]
    assert_array_equal(first[1], again[1])


@pytest.mark.parametrize("measure", MEASURES)
def test_threads_do_not_change_a_bit(measure, rng):
    blocks, u = factorise(rng.normal(size=(700, 2)), rng.normal(size=700)), rng.normal(size=700)
    forms = [bind_dependence(blocks, measure, method="tiles", n_threads=n_threads) for n_threads in (1, 2, 3, 8, -1)]
    results = [form.value_gradient(u) for form in forms]
    for value, gradient in results[1:]:
        assert value == results[0][0]
        assert_array_equal(gradient, results[0][1])


@pytest.mark.parametrize(("statistic", "n"), [("v", 1), *((s, n) for s in "uv" for n in (2, 3, 4, 50))])
def test_gini_mean_difference(statistic, n, rng):
    u = rng.integers(0, 4, n) / 4
    pairs = n * (n - 1) if statistic == "u" else n**2
    signs = np.sign(np.subtract.outer(u, u))
    value, gradient = gini_mean_difference(u, statistic=statistic)
    assert_allclose(value, np.abs(np.subtract.outer(u, u)).sum() / pairs, rtol=1e-12, atol=1e-16)
    assert_allclose(gradient, 2 * signs.sum(axis=1) / pairs, rtol=1e-12)
    p = rng.dirichlet(np.ones(n))
    value, gradient = gini_mean_difference(u, p, order=np.argsort(u))
    assert_allclose(value, p @ np.abs(np.subtract.outer(u, u)) @ p, rtol=1e-12, atol=1e-16)
    assert_allclose(gradient, 2 * p * (signs @ p), rtol=1e-12, atol=1e-15)


# -- extreme numbers


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("method", ["auto", "tiles", "approximate"])
def test_huge_and_tiny_units(method, statistic, scale, rng):
    n = 40
    u, z, S = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(n, 2))
    options = {"statistic": statistic, "method": method, "return_gradient": True, "n_threads": 1}
    tolerance = {"rtol": 1e-6 if method == "approximate" else 1e-11}
    for measure in (distance_covariance, concatenated_distance_covariance):
        value, gradient = measure(u, z, S, **options)
        scaled, scaled_gradient = measure(scale * u, z, S, **options)
        assert_allclose(scaled / scale, value, **tolerance)
        assert_allclose(scaled_gradient, gradient, atol=tolerance["rtol"] * np.abs(gradient).max())
        assert_allclose(measure(u, scale * z, scale * S, **options)[0] / scale, value, **tolerance)
    options["scale_invariant"] = True
    value, gradient = joint_distance_covariance(u, z, S, **options)
    scaled, scaled_gradient = joint_distance_covariance(scale * u, z / scale, scale * S, **options)
    assert_allclose(scaled, value, **tolerance)
    assert_allclose(scale * scaled_gradient, gradient, atol=tolerance["rtol"] * np.abs(gradient).max())


@pytest.mark.parametrize("offset", [-1e8, 1e8, 1e12])
@pytest.mark.parametrize("method", ["auto", "profiles", "tiles", "univariate"])
def test_large_offsets_cost_no_digits(method, offset, rng):
    """Numbers are rounded when the offset is added; from then on, taking it away again makes no difference."""
    n = 300
    u, z = rng.normal(size=n) + offset, rng.normal(size=n) + offset
    for statistic in ("u", "v"):
        options = {"statistic": statistic, "method": method, "return_gradient": True}
        value, gradient = distance_covariance(u, z, **options)
        expected, expected_gradient = distance_covariance(u - offset, z - offset, **options)
        assert_allclose(value, expected, rtol=1e-9)
        assert_allclose(gradient, expected_gradient, atol=1e-12 * np.abs(gradient).max())
    assert_allclose(gini_mean_difference(u)[0], gini_mean_difference(u - offset)[0], rtol=1e-9)


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("method", ["profiles", "tiles"])
def test_large_offsets_cost_the_joint_measure_no_digits(method, statistic, rng):
    """It centres each block on its own, one of a single column by running sums of its values."""
    u, first, second = rng.normal(size=(3, 300)) + 1e8
    options = {"statistic": statistic, "method": method, "n_threads": 1}
    expected = joint_distance_covariance(u - 1e8, first - 1e8, second - 1e8, **options)
    assert_allclose(joint_distance_covariance(u, first, second, **options), expected, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_v_statistics_of_few_rows(n, rng):
    u, z, S = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, (n, 2)).astype(float)
    for name, measure in EVERY_MEASURE.items():
        definition = getattr(_reference, measure.__name__)
        for method in ("auto", "tiles", "approximate"):
            value, gradient = measure(u, z, S, statistic="v", method=method, return_gradient=True)
            assert_allclose(value, definition(u, z, S, statistic="v"), rtol=1e-8, atol=1e-14, err_msg=name)
            assert gradient.shape == (n,)


def test_deviations_are_exact_whatever_the_method(rng):
    """The approximation is of the measure; what it is divided by costs no more exactly."""
    z, plane, u = rng.normal(size=300), rng.normal(size=(300, 2)), rng.normal(size=300)
    for statistic in ("u", "v"):
        for block in (z, plane):
            deviation = np.sqrt(_reference.distance_covariance(block, block, statistic=statistic))
            blocks = SensitiveBlocks.from_arrays([block.reshape(300, -1)])
            options = {"statistic": statistic, "method": "approximate", "n_components": 3}
            plain = bind_dependence(blocks, "jdcov", **options)
            form = bind_dependence(blocks, "jdcov", scale_invariant=True, **options)
            assert plain.error_bound > 0.01
            assert_allclose(form.value_gradient(u)[0] * deviation, plain.value_gradient(u)[0], rtol=1e-9)
            assert_allclose(form.error_bound * deviation, plain.error_bound, rtol=1e-9)


@pytest.mark.parametrize("method", ["profiles", "univariate", "tiles"])
def test_small_norms_are_not_taken_for_rounding(method, rng):
    """All but one row nearly alike: what little there is can still be told from rounding, to some digits."""
    z = 3e-6 * rng.normal(size=50) + (np.arange(50) == 7)
    norm = bind_dependence(factorise(z), "ccdcov", statistic="u", method=method).norm()
    assert_allclose(norm, np.sqrt(_reference.distance_covariance(z, z, statistic="u")), rtol=1e-3)
    assert norm < 1e-5


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_the_norm_of_an_approximation_without_error_is_that_of_the_measure(statistic, rng):
    blocks = factorise(rng.integers(0, 5, (60, 2)))
    exact = bind_dependence(blocks, "ccdcov", statistic=statistic, method="profiles")
    full = bind_dependence(blocks, "ccdcov", statistic=statistic, method="approximate")
    assert_allclose(full.norm(), exact.norm(), rtol=1e-9)


@pytest.mark.parametrize("method", ["univariate", "tiles"])
@pytest.mark.parametrize("own", [0.3, 1 / 3, 7.7, 1e3 / 7])
def test_norms_that_are_rounding_are_none(own, method):
    """Of an attribute that one row differs in the U-centred distances are 0; their squares' sum was 1e-10."""
    for n in (5, 6, 7, 20, 50):
        for others in (0.0, 0.1, 7.7):
            z = np.where(np.arange(n) == 2, own, others)
            assert bind_dependence(factorise(z), "ccdcov", statistic="u", method=method).norm() == 0


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_deviations_keep_to_the_working_memory(statistic, rng, monkeypatch):
    """Where the matrix of a block is too large its squares are summed tile by tile."""
    u, plane = rng.normal(size=600), rng.normal(size=(600, 2))
    options = {"scale_invariant": True, "method": "tiles", "n_threads": 1, "statistic": statistic}
    expected = joint_distance_covariance(u, plane, plane[:, :1], **options)
    with sklearn.config_context(working_memory=1):
        monkeypatch.setattr(Factor, "between", None)
        assert_allclose(joint_distance_covariance(u, plane, plane[:, :1], **options), expected, rtol=1e-10)


@pytest.mark.parametrize("scale_invariant", [False, True])
@pytest.mark.parametrize("statistic", ["u", "v"])
def test_constants_are_independent_of_everything(statistic, scale_invariant, rng):
    u, S, constant = rng.normal(size=30), rng.normal(size=(30, 2)), np.full(30, 0.1)
    options = {"statistic": statistic, "scale_invariant": scale_invariant, "return_gradient": True}
    value, gradient = joint_distance_covariance(u, constant, **options)
    assert abs(value) < 1e-15
    assert np.abs(gradient).max() < 1e-15
    # A constant attribute drops out and leaves a factor c; a constant prediction leaves the attributes' own dependence.
    with_constant, slope = joint_distance_covariance(u, S, constant, c=3.0, **options)
    without, expected_slope = joint_distance_covariance(u, S, c=3.0, **options)
    assert_allclose(with_constant, 3 * without, rtol=1e-11)
    assert_allclose(slope, 3 * expected_slope, atol=1e-13)
    own, gradient = joint_distance_covariance(constant, u, S, c=3.0, **options)
    assert_allclose(own, 3 * joint_distance_covariance(u, S, c=3.0, **options)[0], rtol=1e-11)
    assert np.abs(gradient).max() < 1e-15


def test_an_attribute_that_one_row_differs_in_vanishes_from_u_statistics(rng):
    """Its U-centred distances are all 0, which rounding turns into very small numbers: nothing may blow up."""
    u, z, one = rng.normal(size=50), rng.normal(size=50), (np.arange(50) == 7) * 0.3
    for scale_invariant in (False, True):
        value = joint_distance_covariance(u, z, one, scale_invariant=scale_invariant)
        without = joint_distance_covariance(u, z, scale_invariant=scale_invariant)
        assert_allclose(value, without, atol=1e-6)


# -- wrong input

X = np.arange(6.0)
WEIGHTED = {"statistic": "v"}
WRONG = {
    "x with NaN": ((X * np.nan, X), {}, "x must be finite; found 6 NaN"),
    "x with both": (([np.nan, np.inf, -np.inf, 1, 2, 3], X), {}, "x must be finite; found 1 NaN and 2 infinite values"),
    "a block with NaN": ((X, X, [[1, 2]] * 5 + [[1, np.nan]]), {}, "block 2 must be finite; found 1 NaN"),
    "lengths": ((X, X, X[:4]), {}, "block 2 must have as many rows as x: found 4 instead of 6"),
    "x of two columns": ((np.ones((6, 2)), X), {}, r"x must have one dimension, \(n,\); found shape \(6, 2\)"),
    "block of three dimensions": ((X, np.ones((6, 1, 1))), {}, r"block 1 must have shape .* found shape \(6, 1, 1\)"),
    "block without columns": ((X, np.ones((6, 0))), {}, r"block 1 must have shape .* found shape \(6, 0\)"),
    "scalar": ((X, 3.0), {}, r"block 1 must have shape .* found shape \(\)"),
    "no block": ((X,), {}, "at least one block of protected attributes is needed besides x; found none"),
    "words": ((X, list("abcdef")), {}, "block 1 must be numeric; encode categories first"),
    "digits as text": ((X, list("123456")), {}, "block 1 must be numeric; encode categories first"),
    "digits as objects": ((X, np.array(list("123456"), dtype=object)), {}, "block 1 must be numeric; .*found text"),
    "x of text": ((list("123456"), X), {}, "x must be numeric"),
    "dates": ((X, np.arange(6).astype("M8[D]")), {}, r"block 1 must be numeric; .*found datetime64\[D\]"),
    "complex": ((X, X * 1j), {}, "block 1 must be numeric; .*found complex128"),
    "categories": ((X, pd.Series(list("ababab"), dtype="category")), {}, "block 1 must be numeric; encode categories"),
    "rows of different lengths": ((X[:2], [[1], [1, 2]]), {}, "block 1 must be numeric"),
    "masked values": ((np.ma.array(X, mask=[0, 1, 0, 0, 0, 0]), X), {}, "x must be numeric; .*found masked values"),
    "a number too large": ((X, [10**400, 1, 2, 3, 4, 5]), {}, "block 1 must be numeric; .*too large"),
    "3 rows": ((X[:3], X[:3]), {}, r"U-statistic needs at least 4 rows; found 3 \(statistic='v' needs fewer\)"),
    "no rows": (([], []), {}, "needs at least 4 rows; found 0"),
    "no rows, v": (([], []), WEIGHTED, "must have at least one row; found 0"),
    "weights with u": ((X, X), {"sample_weight": X + 1}, "a weighted U-statistic is not defined: pass statistic='v'"),
    "negative weights": ((X, X), WEIGHTED | {"sample_weight": X - 1.5}, "must not be negative; found 2 negative"),
    "zero weights": ((X, X), WEIGHTED | {"sample_weight": 0 * X}, "must not be all zero: no row would count"),
    "NaN weights": ((X, X), WEIGHTED | {"sample_weight": X * np.nan}, "sample_weight must be finite; found 6 NaN"),
    "few weights": ((X, X), WEIGHTED | {"sample_weight": X[:4]}, "as many rows as x: found 4 instead of 6"),
    "a matrix of weights": ((X, X), WEIGHTED | {"sample_weight": np.eye(6)}, "1D array or scalar; .* 2 dimensions"),
    "statistic": ((X, X), {"statistic": "w"}, "statistic must be one of 'u', 'v'; found 'w'"),
    "no statistic": ((X, X), {"statistic": None}, "statistic must be one of 'u', 'v'; found None"),
    "method": ((X, X), {"method": "fast"}, "method must be one of 'auto', 'profiles', .*; found 'fast'"),
    "univariate vectors": ((X, np.eye(6)), {"method": "univariate"}, r"found 1 block\(s\) with 6 column\(s\)"),
    "threads": ((X, X), {"n_threads": 0}, "n_threads must be None or a whole number other than 0; found 0"),
}


@pytest.mark.parametrize("measure", EVERY_MEASURE.values(), ids=EVERY_MEASURE)
@pytest.mark.parametrize(("arguments", "options", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input(arguments, options, message, measure):
    with pytest.raises(ValueError, match=message):
        measure(*arguments, **options)


def test_wrong_options_of_the_joint_measure():
    with pytest.raises(ValueError, match=r"c must be a finite number >= 0; found -0\.5"):
        joint_distance_covariance(X, X, c=-0.5)
    with pytest.raises(ValueError, match="c must be a finite number >= 0; found inf"):
        joint_distance_covariance(X, X, c=np.inf)
    with pytest.raises(TypeError, match="c must be a number; found '1' of type str"):
        joint_distance_covariance(X, X, c="1")
    with pytest.raises(ValueError, match=r"rank=True with return_gradient=True.*scale_invariant=True"):
        joint_distance_covariance(X, X, rank=True, return_gradient=True)
    with pytest.raises(ValueError, match=r"one continuous attribute of one column; found 2 block\(s\)"):
        joint_distance_covariance(X, X, X, method="univariate")
    with pytest.raises(ValueError, match=r"one continuous attribute of one column; found 1 block\(s\) with 2"):
        concatenated_distance_covariance(X, X, X, method="univariate")
    with pytest.raises(ValueError, match="measure must be one of 'dcov', 'jdcov', 'ccdcov'; found 'DCOV'"):
        bind_dependence(factorise(X), "DCOV")


def test_other_forms_of_good_input(rng):
    """Lists, integers, booleans, columns, frames and read-only arrays are numbers too."""
    x, z = rng.integers(0, 9, 12), rng.integers(0, 2, 12)
    expected = distance_covariance(x.astype(float), z.astype(float))
    frozen = z.astype(float)
    frozen.flags.writeable = False
    for block in (z.tolist(), z.astype(bool), z.astype(np.int8), z[:, None], frozen, z.astype(object), pd.Series(z)):
        assert distance_covariance(x.tolist(), block) == expected
    assert distance_covariance(x[:, None], pd.DataFrame({"z": z})) == expected
    assert distance_covariance(pd.Series(x, index=np.arange(12)[::-1]), z) == expected
    assert type(expected) is float


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs a fork that copies a process with threads")
def test_tiles_after_a_fork():
    """A child process of one that has used the threads must not wait for them for ever, and so must no grandchild."""
    program = """
import os, signal, numpy as np
from fairdcov import CCDCovPenalty, concatenated_distance_covariance
x, S = np.arange(99.0), np.arange(198.0).reshape(99, 2) ** 2
bound = CCDCovPenalty(method="tiles").bind(S, n_threads=2)
compute = lambda n: (concatenated_distance_covariance(x, S, method="tiles", n_threads=n), bound.value(x))
expected = compute(2)
for n_threads in (1, 2, None):
    if os.fork() == 0:
        if os.fork() == 0:
            signal.alarm(30)
            os._exit(0 if compute(n_threads) == expected else 1)
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    if status := os.waitstatus_to_exitcode(os.wait()[1]):
        raise SystemExit(f"the grandchild with n_threads={n_threads} ended with {status}")
"""
    subprocess.run([sys.executable, "-c", program], timeout=120, check=True)


def test_more_threads_than_a_machine_has():
    """In a process of its own, which the stacks of so many threads would take down."""
    program = """
import numpy as np
from fairdcov import concatenated_distance_covariance
x, S = np.arange(99.0), np.arange(198.0).reshape(99, 2) ** 2
of = lambda n: concatenated_distance_covariance(x, S, method="tiles", n_threads=n)
wrong = [n for n in (17, 10**5, 10**6, 10**30) if of(n) != of(1)]
raise SystemExit(f"differs with n_threads in {wrong}" if wrong else 0)
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


# -- value and gradient of profiles by fused walks


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("statistic", "weighted"), [("v", True), ("v", False), ("u", False)])
@pytest.mark.parametrize("n", [4, 7, 257, 40_000])
def test_profiles_at_once_are_profiles_step_by_step(rng, n, statistic, weighted, normalize):
    blocks = factorise(rng.integers(0, 3, n), rng.integers(0, 2, n))
    weights = np.where(rng.uniform(size=n) < 0.2, 0.0, rng.uniform(size=n)) if weighted else None
    u = np.round(rng.gamma(2.0, size=n), 3)
    u[:3] = 0.25, 0.5, 2.0
    if weighted:
        weights[:3] = 1.0
    probabilities = None if weights is None else weights / weights.sum()
    order = _kernels.ascending_order(u)
    found = []
    for n_threads in (1, 2, 5):
        options = {"statistic": statistic, "sample_weight": weights, "n_threads": n_threads, "parallel_sweep": True}
        form = bind_dependence(blocks, "ccdcov", **options)
        assert form.method == "profiles"
        found.append(form.evaluate(u, order, normalize=normalize))
    value, gradient = form.value_gradient(u, order)
    spread = 1.0
    if normalize:
        spread, slope = gini_mean_difference(u, probabilities, statistic=statistic)
        value, gradient = value / spread, (gradient - value / spread * slope) / spread
    size = np.abs(gradient).max()
    assert_allclose(found[0][0], value, rtol=1e-11, atol=1e-15)
    assert_allclose(found[0][1], gradient, rtol=1e-11, atol=1e-12 * size)
    assert_allclose(found[0][2], spread, rtol=1e-12)
    for other in found[1:]:
        assert other[0] == found[0][0]
        assert other[2] == found[0][2]
        assert_array_equal(other[1], found[0][1])


def test_a_far_row_of_next_to_no_weight_costs_no_digits(rng):
    n = 1_000
    u, group = rng.gamma(2.0, size=n), rng.integers(0, 2, n)
    weights = np.append(np.ones(n), 1e-30)
    form = bind_dependence(factorise(np.append(group, 0)), "ccdcov", sample_weight=weights)
    alone = bind_dependence(factorise(group), "ccdcov", sample_weight=np.ones(n))
    far = np.append(u, 1e12)
    value, _, spread = form.evaluate(far, _kernels.ascending_order(far), normalize=True)
    expected, _, expected_spread = alone.evaluate(u, _kernels.ascending_order(u), normalize=True)
    assert_allclose([value, spread], [expected, expected_spread], rtol=1e-10)
