"""The kernels on a grid: the nodes, the masses at them, and the gradient, against their definitions in NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import _kernels
from fairdcov._kernels import _reference as reference

SAMPLES = {
    "skewed": lambda rng, n: rng.gamma(0.7, size=n),
    "signed": lambda rng, n: rng.normal(size=n),
    "negative": lambda rng, n: -1000 - rng.uniform(size=n),
    "tied": lambda rng, n: rng.integers(1, 4, n) / 3,
    "all equal but one": lambda rng, n: np.append(np.full(n - 1, 0.3), 0.7),
    "on nodes": lambda rng, n: 2.0 ** rng.integers(-3, 3, n) * rng.choice([-1, 1], n),
    "an outlier": lambda rng, n: np.append(rng.uniform(size=n - 1), 1e9),
}


def lattice_of(u, size=64):
    return _kernels.Lattice.of(u.min(), u.max(), np.abs(u).mean(), size)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("size", [16, 300, 4096])
def test_nodes_enclose_the_predictions_and_are_about_as_many_as_asked_for(sample, size, rng):
    u = sample(rng, 257)
    lattice = lattice_of(u, size)
    nodes = lattice.nodes
    assert (np.diff(nodes) > 0).all()
    assert nodes[0] <= u.min() <= u.max() <= nodes[-1]
    assert len(nodes) == lattice.n_cells + 1 <= 1.42 * size or lattice.digits == 0
    finer = _kernels.Lattice(lattice.offset, lattice.digits + 1, 0, 0)
    assert finer._cell(u.max()) - finer._cell(u.min()) + 2 > 1.41 * size


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_cells_and_positions(sample, rng):
    u = sample(rng, 257)
    lattice = lattice_of(u)
    cells, positions = lattice.cells(u)
    nodes = lattice.nodes
    assert 0 <= positions.min() <= positions.max() <= 1
    assert_allclose(
        (1 - positions) * nodes[cells] + positions * nodes[cells + 1], u, rtol=1e-13, atol=1e-15 * abs(u).max()
    )


def test_nodes_stay_where_they_are_unless_the_range_passes_a_power_of_two():
    """What is interpolated is one function of the predictions, be they what they are."""
    lattice = _kernels.Lattice.of(0.011, 2.0, 0.2, 4096)
    other = _kernels.Lattice.of(0.013, 1.7, 0.22, 4096)
    assert (lattice.offset, lattice.digits) == (other.offset, other.digits)
    assert np.isin(other.nodes, lattice.nodes).all()


def weights_of(kind, rng, n):
    if kind == "unit":
        return None
    weights = rng.uniform(size=n)
    if kind == "zeros":
        weights[rng.uniform(size=n) < 0.5] = 0.0
        weights[0] = 0.5
    return weights


def rows_of(kind, rng, n, weights):
    """Rows for the kernels, and the matrix of M between them."""
    n_profiles = 1 if kind == "one group" else 5
    matrix = rng.normal(size=(n_profiles, n_profiles))
    matrix = matrix + matrix.T
    q = np.ones(n) if weights is None else weights
    if kind != "shares":
        codes = rng.integers(0, n_profiles, n)
        return _kernels.GridRows(codes, matrix, weights), np.outer(q, q) * matrix[np.ix_(codes, codes)]
    codes = np.array([rng.choice(n_profiles, 2, replace=False) for _ in range(n)]).reshape(n, 2)
    first = rng.uniform(size=n)
    shares, excess = np.column_stack([first, 1 - first]), rng.normal(size=n)
    dense = np.zeros((n, n_profiles))
    np.put_along_axis(dense, codes, shares, axis=1)
    full = dense @ matrix @ dense.T + np.add.outer(excess, excess)
    rows = _kernels.GridRows(
        codes.ravel(),
        matrix,
        weights,
        starts=np.arange(0, 2 * n + 1, 2),
        shares=shares.ravel(),
        own=np.diag(full).copy(),
        excess=excess,
    )
    return rows, np.outer(q, q) * full


def evaluated(u, rows, lattice, n_threads=1):
    """Value and gradient as the form puts them together."""
    largest = float(np.abs(rows.excess).max(initial=0.0))
    table, units, own = _kernels.grid_masses(u, rows, lattice, rows.total, largest, n_threads=n_threads)
    below = np.cumsum(table, axis=1)
    difference = 2 * below[:, :-1] - below[:, -1:]
    n_profiles = len(rows.matrix)
    balances, totals = difference[:n_profiles] * units[0], below[:n_profiles, -1] * units[0]
    plain, slopes = balances.sum(axis=0), rows.matrix @ balances
    quadratic, beyond = (balances * slopes).sum(axis=0), totals @ rows.matrix @ totals
    if len(table) > n_profiles:
        excess = difference[-1] * units[1]
        quadratic, beyond = quadratic + 2 * plain * excess, beyond + 2 * totals.sum() * below[-1, -1] * units[1]
        slopes = slopes + excess
    gradient = np.zeros(len(u))
    _kernels.grid_gradient(u, rows, lattice, 2 * slopes, 2 * plain, 2.0, 0.0, gradient, n_threads=n_threads)
    return 0.5 * np.diff(lattice.nodes) @ (beyond - quadratic) - own[0], gradient


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("n", [2, 3, 5, 257])
@pytest.mark.parametrize("weighting", ["unit", "any", "zeros"])
@pytest.mark.parametrize("kind", ["profiles", "one group", "shares"])
def test_definition(sample, n, weighting, kind, rng):
    u = sample(rng, n)
    if u.min() == u.max():
        u[0] *= 1.5
    weights = weights_of(weighting, rng, n)
    rows, matrix = rows_of(kind, rng, n, weights)
    lattice = lattice_of(u, 16)
    value, gradient = evaluated(u, rows, lattice)
    interpolated = reference.interpolated_distances(u, lattice.nodes)
    # Masses are whole numbers of 2^-60 or so of their sum.
    size = np.ptp(u) * rows.total**2 * (np.abs(rows.matrix).max() + np.abs(rows.excess).max(initial=0.0))
    assert_allclose(value, (interpolated * matrix).sum(), rtol=1e-10, atol=1e-14 * size)
    # Where predictions are on nodes, the slope to their right is taken, to their left below 0.
    cells, _ = lattice.cells(u)
    inside = np.isin(u, lattice.nodes)
    expected = reference.interpolated_gradient(u, lattice.nodes, matrix)
    assert_allclose(gradient[~inside], expected[~inside], rtol=1e-10, atol=1e-11 * np.abs(matrix).sum())
    assert cells.max() < lattice.n_cells


@pytest.mark.parametrize("kind", ["profiles", "shares"])
@pytest.mark.parametrize("weighting", ["unit", "any"])
def test_threads_and_parts_of_the_rows_have_the_same_bits(kind, weighting, rng):
    n = 30_000
    u = rng.gamma(2.0, size=n)
    weights = weights_of(weighting, rng, n)
    if kind == "profiles":
        codes = rng.integers(0, 5, n)
        matrix = np.eye(5)
        rows = _kernels.GridRows(codes, matrix, weights)
        parts = [
            _kernels.GridRows(codes[part], matrix, None if weights is None else weights[part])
            for part in (slice(0, 7_001), slice(7_001, n))
        ]
    else:
        rows, _ = rows_of(kind, rng, 400, None if weights is None else weights[:400])
        parts, n, u = None, 400, u[:400]
    lattice = lattice_of(u, 300)
    expected = evaluated(u, rows, lattice)
    for n_threads in (2, 3, 16):
        value, gradient = evaluated(u, rows, lattice, n_threads)
        assert value == expected[0]
        assert_array_equal(gradient, expected[1])
    if parts is not None:
        whole, units, _ = _kernels.grid_masses(u, rows, lattice, rows.total)
        tables = [
            _kernels.grid_masses(u[part], rows_, lattice, rows.total)
            for part, rows_ in zip((slice(0, 7_001), slice(7_001, n)), parts, strict=True)
        ]
        assert_array_equal(tables[0][0] + tables[1][0], whole)
        assert tables[0][1] == units


def test_no_rows_are_no_mass():
    lattice = _kernels.Lattice.of(0.0, 1.0, 0.5, 16)
    rows = _kernels.GridRows(np.empty(0, dtype=int), np.eye(2))
    table, _, own = _kernels.grid_masses(np.empty(0), rows, lattice, 10.0)
    assert not table.any()
    assert not own.any()
    assert _kernels.extent(np.empty(0)) == (np.inf, -np.inf, 0.0)


def test_extent(rng):
    for n in (1, 5, 4096, 4097, 20_000):
        u = rng.normal(size=n)
        low, high, absolute = _kernels.extent(u, n_threads=2)
        assert (low, high) == (u.min(), u.max())
        assert_allclose(absolute, np.abs(u).sum())
    for wrong in (np.nan, np.inf, -np.inf):
        assert not np.isfinite(_kernels.extent(np.array([1.0, wrong, 2.0]))[2])


def test_what_does_not_go_together_raises(rng):
    """The compiled loops trust lengths and codes; a prediction outside the nodes they notice."""
    u = np.array([0.1, 0.5, 0.9])
    lattice = lattice_of(u)
    rows = _kernels.GridRows([0, 1, 0], np.eye(2))
    for outside in (0.0, 5.0, -0.3, np.nan):
        with pytest.raises(ValueError, match="not within the lattice"):
            _kernels.grid_masses(np.array([0.1, outside, 0.9]), rows, lattice, 3.0)
    with pytest.raises(ValueError, match=r"u has shape \(2,\), there are 3 rows"):
        _kernels.grid_masses(u[:2], rows, lattice, 3.0)
    for code in (2, -1):
        with pytest.raises(ValueError, match=r"codes must lie in range\(2\), found "):
            _kernels.GridRows([0, code], np.eye(2))
    with pytest.raises(ValueError, match="weights has shape"):
        _kernels.GridRows([0, 1], np.eye(2), np.ones(3))
    with pytest.raises(ValueError, match="starts must ascend from 0 to 2"):
        _kernels.GridRows([0, 1], np.eye(2), starts=[0, 1, 3], shares=np.ones(2), own=np.ones(2))
    with pytest.raises(ValueError, match="shares, own and excess go with starts"):
        _kernels.GridRows([0, 1], np.eye(2), shares=np.ones(2))
    slopes, out = np.zeros((2, lattice.n_cells)), np.zeros(3)
    with pytest.raises(ValueError, match="do not go with"):
        _kernels.grid_gradient(u, rows, lattice, slopes[:, 1:], slopes[0], 1.0, 0.0, out)
    with pytest.raises(ValueError, match=r"out has shape \(2,\)"):
        _kernels.grid_gradient(u, rows, lattice, slopes, slopes[0], 1.0, 0.0, out[:2])
