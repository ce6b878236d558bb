"""Forms on a grid and forms by nodes of the attributes, against the exact ones and their own definitions."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov._kernels import _reference as reference
from fairdcov.dependence import (
    MEASURES,
    GridForm,
    Reduction,
    bind_dependence,
    concatenated_distance_covariance,
    gini_mean_difference,
)
from fairdcov.dependence._curvature import grid_density, local_density
from fairdcov.dependence._nodes import NodeBlocks, NodeForm, NodeSample
from fairdcov.encoding import SensitiveBlocks, SoftBlocks

N = 400


def discrete(rng, n=N):
    codes = rng.integers(0, 6, n).astype(np.int32)
    points = rng.normal(size=(6, 1)), np.eye(3)[rng.integers(0, 3, 6)]
    return SensitiveBlocks(codes, points, ("one", "three"))


def soft(rng, n=N):
    shares = rng.dirichlet(np.ones(4), n)
    shares[::3] = np.eye(4)[rng.integers(0, 4, len(shares[::3]))]
    return SoftBlocks(shares, (rng.normal(size=(4, 1)), np.eye(4)), ("one", "four"))


def continuous(rng, n=N):
    columns = rng.gamma(2.0, size=(n, 1)), np.eye(3)[rng.integers(0, 3, n)]
    return SensitiveBlocks.from_arrays(columns, ("income", "three"))


ATTRIBUTES = {"discrete": discrete, "soft": soft, "continuous": continuous}
CASES = [
    (attributes, measure, statistic, weighted)
    for attributes in ATTRIBUTES
    for measure in MEASURES
    for statistic in "vu"
    for weighted in (False, True)
    if statistic == "v" or not (weighted or attributes == "soft")
]


def both_forms(attributes, blocks, measure, size, statistic="v", sample_weight=None):
    """The form without nodes of the predictions, and that with them."""
    options = {"statistic": statistic, "sample_weight": sample_weight}
    if attributes != "continuous":
        form = bind_dependence(blocks, measure, method="grid", grid_size=size, n_threads=2, **options)
        return bind_dependence(blocks, measure, **options), form
    by_nodes = bind_dependence(blocks, measure, method="nodes", **options)
    return by_nodes, GridForm([by_nodes], statistic, size, 2, Reduction())


def gini(u, weights, statistic):
    return gini_mean_difference(u, None if weights is None else weights / weights.sum(), statistic=statistic)


@pytest.mark.parametrize(("attributes", "measure", "statistic", "weighted"), CASES)
def test_rows_alone_in_their_cells_are_exact(attributes, measure, statistic, weighted, rng):
    """The interpolant of the distance is exact between cells, and a row with itself is taken out."""
    blocks = ATTRIBUTES[attributes](rng)
    u = rng.permutation(np.exp(np.linspace(-2, 1, N)))
    weights = rng.uniform(size=N) if weighted else None
    exact, form = both_forms(attributes, blocks, measure, 20_000, statistic, weights)
    value, gradient = exact.value_gradient(u)
    found = form.evaluate(u)
    size = np.abs(gradient).max()
    assert_allclose(found.value, value, rtol=1e-9)
    assert_allclose(found.gradient, gradient, rtol=1e-9, atol=1e-10 * size)
    assert form.constant == exact.constant
    spread, slope = gini(u, weights, statistic)
    assert_allclose(found.spread, spread, rtol=1e-10)
    scale_free = form.evaluate(u, normalize=True)
    assert_allclose(scale_free.value, value / spread, rtol=1e-9)
    expected = (gradient - value / spread * slope) / spread
    assert_allclose(scale_free.gradient, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    assert_allclose(form.norm(), exact.norm())
    assert_allclose(form.pull_bounds(), exact.pull_bounds())


@pytest.mark.parametrize(("attributes", "measure", "statistic", "weighted"), CASES)
@pytest.mark.parametrize("normalize", [False, True])
def test_value_and_gradient_are_of_the_same_function(attributes, measure, statistic, weighted, normalize, rng):
    """Many rows in a cell: the gradient is not that of the exact measure, but the derivative of the value."""
    blocks = ATTRIBUTES[attributes](rng)
    weights = rng.uniform(size=N) if weighted else None
    _, form = both_forms(attributes, blocks, measure, 32, statistic, weights)
    u = rng.gamma(3.0, size=N)
    lattice = form.evaluate(u).masses.lattice
    cells, _ = lattice.cells(u)
    # Away from the nodes, where the derivative jumps; also from those of the lattices with a digit more or less.
    u = lattice.nodes[cells] + rng.uniform(0.27, 0.33, N) * np.diff(lattice.nodes)[cells]
    direction = rng.normal(size=N) * np.diff(lattice.nodes)[cells] / 100

    def value(step):
        return form.evaluate(u + step * direction, normalize=normalize).value

    gradient = form.evaluate(u, normalize=normalize).gradient
    expected = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / 12
    # The directions have no sum: cancellation is measured by the largest of the terms.
    assert_allclose(gradient @ direction, expected, rtol=1e-7, atol=1e-9 * np.abs(gradient * direction).sum())


@pytest.mark.parametrize("measure", MEASURES)
def test_error_falls_with_the_square_of_the_nodes_and_is_bounded(measure, rng):
    n = 3000
    blocks = discrete(rng, n)
    u = np.exp(0.5 * rng.normal(size=n) + 0.2 * blocks.codes)
    exact, _ = bind_dependence(blocks, measure).value_gradient(u)
    spread, _ = gini(u, None, "v")
    errors, bounds = [], []
    for size in (32, 128, 512):
        form = bind_dependence(blocks, measure, method="grid", grid_size=size)
        assert form.error_bound == np.inf
        value, _ = form.value_gradient(u)
        errors.append(abs(value - exact) / spread)
        bounds.append(form.error_bound)
        assert errors[-1] <= bounds[-1]
    assert errors[2] < errors[0] / 60
    assert bounds[2] < bounds[0] / 60
    assert errors[2] < 1e-4 * exact / spread


def test_extreme_predictions_keep_their_digits(rng):
    blocks = discrete(rng)
    u = rng.gamma(3.0, size=N)
    form = bind_dependence(blocks, "ccdcov", method="grid")
    expected, scale_free = form.evaluate(u), form.evaluate(u, normalize=True)
    for exponent in (-1000, -300, 3, 1000):
        found = form.evaluate(np.ldexp(u, exponent))
        assert_allclose(np.ldexp(found.value, -exponent), expected.value, rtol=1e-12)
        assert_allclose(found.gradient, expected.gradient, rtol=1e-12)
        found = form.evaluate(np.ldexp(u, exponent), normalize=True)
        assert_allclose(found.value, scale_free.value, rtol=1e-12)
        assert_allclose(np.ldexp(found.gradient, exponent), scale_free.gradient, rtol=1e-12)


def test_constant_predictions_depend_on_nothing(rng):
    form = bind_dependence(discrete(rng), "ccdcov", method="grid")
    for normalize in (False, True):
        found = form.evaluate(np.full(N, 0.3), normalize=normalize)
        assert found.value == 0
        assert not found.gradient.any()
        assert found.masses is None


def test_one_group_has_no_value(rng):
    blocks = SensitiveBlocks(np.zeros(N, dtype=np.int32), (np.zeros((1, 1)),), ("one",))
    form = bind_dependence(blocks, "ccdcov", method="grid")
    value, gradient = form.value_gradient(rng.gamma(3.0, size=N))
    assert value == 0
    assert not gradient.any()


def test_rows_without_weight_do_not_count(rng):
    blocks, u, weights = discrete(rng), rng.gamma(3.0, size=N), rng.uniform(size=N)
    weights[::4] = 0.0
    keep = weights > 0
    form = bind_dependence(blocks, "jdcov", sample_weight=weights, method="grid")
    part = bind_dependence(blocks[keep].present(), "jdcov", sample_weight=weights[keep], method="grid")
    u[~keep] = np.median(u)
    found, expected = form.evaluate(u), part.evaluate(u[keep])
    assert_allclose(found.value, expected.value, rtol=1e-6)  # the mean absolute prediction sets the nodes
    assert not found.gradient[~keep].any()


class Together(Reduction):
    """Processes in threads that wait for each other."""

    def __init__(self, size):
        self.barrier, self.given = threading.Barrier(size), {}

    def _all(self, array, combine):
        self.given[threading.get_ident()] = np.asarray(array)
        self.barrier.wait(30)
        found = combine(np.array(list(self.given.values())))
        self.barrier.wait(30)
        return found

    def add(self, array):
        return self._all(array, lambda given: given.sum(axis=0))

    def maximum(self, array):
        return self._all(array, lambda given: given.max(axis=0))


def in_parts(parts, function):
    """``function(part, reduction)`` for each part, at the same time."""
    reduction, found = Together(len(parts)), [None] * len(parts)

    def run(k):
        try:
            found[k] = function(parts[k], reduction)
        except BaseException as error:
            found[k] = error
            reduction.barrier.abort()

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [result for result in found if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return found


@pytest.mark.parametrize("attributes", ["discrete", "soft"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cut", [200, 37, 0])
def test_parts_of_the_rows_that_add_their_tables_are_the_whole(attributes, measure, weighted, cut, rng):
    blocks, u = ATTRIBUTES[attributes](rng), rng.gamma(3.0, size=N)
    weights = rng.uniform(size=N) if weighted else None
    if cut == 0 and weighted:
        pytest.skip("weights of no rows are refused")
    expected = bind_dependence(blocks, measure, method="grid", sample_weight=weights).evaluate(u, normalize=True)

    def evaluate(part, reduction):
        part_weights = None if weights is None else weights[part]
        form = bind_dependence(
            blocks[part], measure, method="grid", sample_weight=part_weights, reduction=reduction, n_threads=1
        )
        return form.evaluate(u[part], normalize=True), form.constant

    found = in_parts([slice(0, cut), slice(cut, N)], evaluate)
    assert found[0][0].value == found[1][0].value
    assert found[0][1] == found[1][1]
    assert_allclose(found[0][0].value, expected.value, rtol=1e-12)
    gradient = np.concatenate([evaluation.gradient for evaluation, _ in found])
    assert_allclose(gradient, expected.gradient, rtol=1e-9, atol=1e-12 * np.abs(expected.gradient).max())


@pytest.mark.parametrize("scale", [1.0, 2.0**-400])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("options", [{}, {"statistic": "u"}, {"sample_weight": True}])
def test_terms_without_rows_give_what_the_form_gives(measure, options, scale, rng):
    """Rows a few at a time, for which others with equal attributes stand; by the weight of each profile."""
    blocks, u = discrete(rng), scale * rng.gamma(3.0, size=N)
    weights = rng.uniform(size=N) if options.get("sample_weight") else np.ones(N)
    if options.get("sample_weight"):
        options = {"sample_weight": weights}
    form = bind_dependence(blocks, measure, method="grid", **options)
    expected = form.evaluate(u, normalize=True)
    if options.get("statistic") == "u":
        terms = form.terms(np.unique(blocks.codes, return_index=True)[1])
    else:
        profiles = SensitiveBlocks(np.arange(blocks.n_profiles, dtype=np.int32), blocks.points, blocks.names)
        of_profiles = bind_dependence(profiles, measure, method="grid", sample_weight=blocks.profile_weights(weights))
        terms = of_profiles.terms(np.arange(blocks.n_profiles))
    parts = [slice(0, 150), slice(150, 150), slice(150, N)]
    rows = [terms.rows(blocks.codes[part], weights[part] / weights.sum()) for part in parts]
    ends = np.array([terms.extent(u[part]) for part in parts])
    lattice, exponent = terms.lattice(ends[:, 0].min(), ends[:, 1].max(), ends[:, 2].sum() / N)
    masses = [terms.masses(u[part], own, lattice, exponent) for part, own in zip(parts, rows, strict=True)]
    tables = [sum(found) for found in zip(*(table for table, _ in masses), strict=True)]
    own = [sum(found) for found in zip(*(sums for _, sums in masses), strict=True)]
    answer = terms.answer(lattice, exponent, tables, own, True)
    assert_allclose(answer.whole_value(), expected.value, rtol=1e-10)
    gradient = np.concatenate([answer.whole_gradient(u[part], own) for part, own in zip(parts, rows, strict=True)])
    assert_allclose(gradient, expected.gradient, rtol=1e-8, atol=1e-11 * np.abs(expected.gradient).max())


def test_shares_in_profiles_have_no_terms_without_rows(rng):
    assert bind_dependence(ATTRIBUTES["soft"](rng), "ccdcov", method="grid").terms(np.arange(3)) is None


def test_several_processes_need_the_grid(rng):
    for options in ({"method": "auto"}, {"method": "grid", "scale_invariant": True}):
        with pytest.raises(ValueError, match="rows in several processes need method='grid'"):
            bind_dependence(discrete(rng), "jdcov", reduction=Reduction(), **options)


def test_threads_have_the_same_bits(rng):
    n = 20_000
    blocks, u, weights = discrete(rng, n), rng.gamma(3.0, size=n), rng.uniform(size=n)
    forms = [
        bind_dependence(blocks, "jdcov", method="grid", sample_weight=weights, n_threads=threads)
        for threads in (1, 2, 5)
    ]
    first, *others = [form.evaluate(u, normalize=True) for form in forms]
    for other in others:
        assert other.value == first.value
        assert_array_equal(other.gradient, first.gradient)


def test_density_is_that_of_the_rows(rng):
    u = np.exp(rng.normal(size=20_000))
    form = bind_dependence(discrete(rng, len(u)), "ccdcov", method="grid")
    found = form.evaluate(u)
    density = form.density(u, found, None, found.spread)
    expected = np.maximum(local_density(u), 0.02 / found.spread)
    assert_allclose(density, expected, rtol=0.1)
    assert_allclose(np.median(density / expected), 1, rtol=5e-3)


def test_density_of_an_atom_is_that_of_its_cell():
    density = grid_density(np.array([0.0, 1.0, 1.5, 3.0]), np.array([0.25, 0.75, 0.0, 0.0]))
    assert (density > 0).all()
    assert density[0] == pytest.approx(0.5)


def test_functions_take_the_grid(rng):
    x, z = rng.gamma(3.0, size=N), rng.integers(0, 3, N)
    found = concatenated_distance_covariance(x, z, method="grid")
    assert_allclose(found, concatenated_distance_covariance(x, z), rtol=1e-3)


def test_too_many_profiles_for_a_grid(rng):
    blocks = SensitiveBlocks.from_arrays([rng.normal(size=(3000, 3))])
    for method in ("grid", "nodes"):
        with pytest.raises(ValueError, match=f"method='{method}' needs attributes of few profiles"):
            bind_dependence(blocks, "ccdcov", method=method)
    with pytest.raises(ValueError, match="grid_size must be"):
        bind_dependence(discrete(rng), "ccdcov", method="grid", grid_size=0)


def interpolated(blocks, measure, statistic, weights):
    """NodeForm and its W between rows, by the definition."""
    form = bind_dependence(blocks, measure, method="nodes", statistic=statistic, sample_weight=weights)
    rows = np.arange(blocks.n_samples)
    matrix = form.between(rows)
    return form, matrix


@pytest.mark.parametrize("measure", ["dcov", "ccdcov"])
@pytest.mark.parametrize("weighted", [False, True])
def test_nodes_are_an_interpolation_of_w(measure, weighted, rng):
    blocks, u = continuous(rng), rng.gamma(3.0, size=N)
    weights = rng.uniform(size=N) if weighted else None
    form, matrix = interpolated(blocks, measure, "v", weights)
    node_blocks = NodeBlocks.of(blocks.concatenated() if measure == "ccdcov" else blocks, weights, most_bytes=2**30)
    shares = np.zeros((N, node_blocks.n_profiles))
    codes = node_blocks.codes
    for e in range(2):
        shares[np.arange(N), node_blocks.corners[codes, e]] += node_blocks.shares[codes, e]
    assert_allclose(shares.sum(axis=1), 1)
    assert_allclose(shares @ node_blocks.points[0], node_blocks.observed_points[0][codes], atol=1e-12)
    expected = -sum(reference.distances(points) for points in node_blocks.points)
    assert_allclose(matrix, shares @ expected @ shares.T, atol=1e-12)
    p = np.full(N, 1 / N) if weights is None else weights / weights.sum()
    full = reference.interpolated_form(shares, expected, 0.0)
    form_matrix = reference.centred_form(full, p)
    assert_allclose(form.value_gradient(u)[0], reference.pair_sum(u, form_matrix), rtol=1e-9)
    assert_allclose(
        form.signed_sums(u, np.argsort(u))[0], reference.signed_products(u, form_matrix, np.ones(N)), atol=1e-13
    )
    centred = form_matrix / np.outer(p, p)
    assert_allclose(form.norm(), np.sqrt(p @ centred**2 @ p), rtol=1e-9)
    off = form_matrix - np.diag(np.diag(form_matrix))
    exact = np.abs(off).sum(axis=1)
    assert (form.pull_bounds() >= exact - 1e-12).all()
    assert (form.pull_bounds() <= 1.2 * exact).all()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("statistic", ["v", "u"])
@pytest.mark.parametrize("dependent", [False, True])
def test_nodes_against_tiles(measure, statistic, dependent, rng):
    n = 3000
    age = rng.gamma(9.0, 5.0, size=(n, 1))
    region = np.eye(5)[rng.integers(0, 5, n)]
    blocks = SensitiveBlocks.from_arrays([age / 60, region], ("age", "region"))
    u = np.exp(0.4 * rng.normal(size=n) + dependent * np.abs(age[:, 0] - 45) / 60)
    exact = bind_dependence(blocks, measure, statistic=statistic, approximate=False)
    form = bind_dependence(blocks, measure, statistic=statistic, method="nodes")
    assert isinstance(form, NodeForm)
    value, gradient = exact.value_gradient(u)
    found, slope = form.value_gradient(u)
    assert_allclose(found, value, rtol=2e-3, atol=1e-6)  # a value of independence is of the order of 1e-4
    assert np.linalg.norm(slope - gradient) <= 5e-3 * np.linalg.norm(gradient)
    spread, _ = gini(u, None, statistic)
    if statistic == "v":
        assert abs(found - value) <= form.error_bound * spread
    assert 0 < form.error_bound < (0.02 if measure == "jdcov" else 1e-3)
    if measure != "dcov":  # of whose two forms the norms are added up
        assert_allclose(form.norm(), exact.norm(), rtol=2e-3)
    assert_allclose(form.constant, exact.constant, rtol=0.02, atol=1e-4)


def test_two_columns_share_the_profiles(rng):
    n = 2500
    plane = rng.normal(size=(n, 2))
    blocks = SensitiveBlocks.from_arrays([plane])
    u = np.exp(0.4 * rng.normal(size=n) + 0.2 * plane[:, 0] * plane[:, 1])
    form = bind_dependence(blocks, "ccdcov", method="nodes")
    exact = bind_dependence(blocks, "ccdcov", approximate=False)
    assert form._sample.n_profiles <= 2048
    assert_allclose(form.value_gradient(u)[0], exact.value_gradient(u)[0], rtol=0.01)
    assert abs(form.value_gradient(u)[0] - exact.value_gradient(u)[0]) <= form.error_bound * gini(u, None, "v")[0]


def test_auto_prefers_nodes_where_it_is_told_to(rng):
    blocks = continuous(rng, 3000)
    options = {"many_rows": 1000}
    assert bind_dependence(blocks, "ccdcov", **options).method == "approximate"
    assert bind_dependence(blocks, "ccdcov", attribute_nodes=True, **options).method == "nodes"
    assert bind_dependence(blocks, "dcov", attribute_nodes=True, **options).method == "univariate + profiles"
    space = SensitiveBlocks.from_arrays([rng.normal(size=(3000, 3))])
    assert bind_dependence(space, "ccdcov", attribute_nodes=True, **options).method == "approximate"


def test_attributes_of_one_value_or_weight_on_few(rng):
    """Nodes follow the weight, be all of it on one value."""
    values = np.concatenate([np.zeros(200), np.arange(1.0, 101.0)])
    weights = np.concatenate([np.ones(200), np.full(100, 1e-9)])
    blocks = SensitiveBlocks.from_arrays([values[:, None], rng.integers(0, 2, (300, 1)).astype(float)])
    form = bind_dependence(blocks, "ccdcov", method="nodes", sample_weight=weights)
    assert np.isfinite(form.value_gradient(rng.gamma(2.0, size=300))[0])
    assert isinstance(form._sample, NodeSample)
