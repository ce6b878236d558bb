"""Every kernel against ``sum_j q_j sign(u_i - u_j) W_ij``, over the sizes and inputs that break loops."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import _kernels
from fairdcov._kernels import _reference

# Around the lengths at which loops change: 8 lanes, 32 rows and 128 columns of a tile, 512 rows dealt to the stripes.
SIZES = [0, 1, 2, 3, 4, 5, 8, 9, 33, 127, 129, 257]
LARGE = [513, 1000]

PREDICTIONS = {
    "distinct": lambda rng, n: rng.normal(size=n),
    "tied": lambda rng, n: rng.integers(0, 4, n) / 4,
    "all equal": lambda rng, n: np.full(n, 0.1),
    "ascending": lambda rng, n: np.arange(n) / 3,
    "descending": lambda rng, n: -np.arange(n) / 3,
    "zeros of both signs": lambda rng, n: rng.choice([-0.0, 0.0, 1.0], n),
    "one apart": lambda rng, n: (np.arange(n) == n // 2).astype(float),
}

WEIGHTS = {
    "random, some zero": lambda rng, n: rng.uniform(size=n) * rng.integers(0, 3, n).astype(bool),
    "ones": lambda rng, n: np.ones(n),
    "all zero": lambda rng, n: np.zeros(n),
}


@dataclass
class Problem:
    """A kernel with everything but the prediction, and the W that it stands for."""

    kernel: object
    matrix: np.ndarray
    arguments: tuple = ()
    options: dict = field(default_factory=dict)
    # The profile kernel multiplies by the row's own weight as well.
    multiplier: np.ndarray | float = 1.0
    weights: np.ndarray | None = None

    def compute(self, u, **options):
        return self.kernel(u, *self.arguments, **self.options, **options)

    def expected(self, u):
        return self.multiplier * _reference.signed_products(u, self.matrix, self.weights)

    def magnitude(self):
        """Sum of the absolute terms of the largest row: what rounding errors are relative to."""
        return (np.abs(self.multiplier) * (np.abs(self.matrix) @ np.abs(self.weights))).max(initial=0.0)


def symmetric(rng, size):
    matrix = rng.normal(size=(size, size))
    return matrix + matrix.T


def profiles(n_profiles, *, unit=False):
    def build(rng, n, weights):
        size = n if n_profiles == "n" else n_profiles
        codes = rng.permutation(n) if n_profiles == "n" else rng.integers(0, size, n)
        matrix = symmetric(rng, size)
        rows = matrix[np.ix_(codes, codes)]
        if unit:
            return Problem(_kernels.profile_signed_products, rows, (codes, matrix), weights=np.ones(n))
        return Problem(
            _kernels.profile_signed_products,
            rows,
            (codes, matrix),
            {"weights": weights},
            multiplier=weights,
            weights=weights,
        )

    return build


def features(rank):
    def build(rng, n, weights):
        points = rng.normal(size=(max(n // 2, 1), rank))
        codes = rng.integers(0, len(points), n)
        rows = points[codes]
        return Problem(_kernels.feature_signed_products, rows @ rows.T, (codes, points, weights), {}, weights=weights)

    return build


def soft(size):
    """Rows with two vectors each: what others see of them, weighted, and what they see of others."""

    def build(rng, n, weights):
        seen, sees = rng.normal(size=(2, n, size))
        halves = [slice(0, n // 2), slice(n // 2, n)]
        parts = [(rows, weights[rows, None] * seen[rows], sees[rows]) for rows in halves]

        def compute(u, **options):
            return _kernels.soft_signed_products(u, *_kernels.soft_rows(n, size, parts), 0, **options)[0]

        return Problem(compute, sees @ seen.T, weights=weights)

    return build


def signed_column_of_soft_rows(rng, n, weights):
    vectors = np.column_stack([rng.normal(size=(n, 8)), weights])

    def compute(u, **options):
        rows = _kernels.soft_rows(n, 9, [(slice(None), vectors, vectors)])
        return _kernels.soft_signed_products(u, *rows, 8, **options)[1]

    return Problem(compute, np.ones((n, n)), weights=weights)


def shares(n_profiles, most):
    """Rows with a share in up to so many profiles each, some in none."""

    def build(rng, n, weights):
        matrix = symmetric(rng, n_profiles)
        rows = np.zeros((n, n_profiles))
        for row in rows:
            row[rng.permutation(n_profiles)[: rng.integers(0, most + 1)]] = rng.uniform()
        sparse = sp.csr_array(rows)
        arguments = (sparse.indptr, sparse.indices, sparse.data, weights, matrix)
        return Problem(_kernels.share_signed_products, rows @ matrix @ rows.T, arguments, weights=weights)

    return build


def univariate(values):
    def build(rng, n, weights):
        z = values(rng, n)
        ranks = np.unique(z, return_inverse=True)[1] + 1
        distance_sums = _kernels.univariate_distance_sums(z, weights)
        distances = np.abs(np.subtract.outer(z, z))
        arguments = (z, ranks, weights, distance_sums)
        return Problem(_kernels.univariate_signed_distances, distances, arguments, weights=weights)

    return build


def tile_factors(rng, n, dims):
    blocks = [rng.normal(size=(n, dim)) for dim in dims]
    half = rng.normal(size=(len(dims), n))
    scale = rng.uniform(0.5, 2.0, len(dims))
    matrix = np.ones((n, n))
    for block, h, s in zip(blocks, half, scale, strict=True):
        distances = _reference.distances(block) if n and block.shape[1] else np.zeros((n, n))
        matrix *= h[:, None] + h[None, :] - s * distances
    return blocks, half, scale, matrix


def tiles(*dims):
    def build(rng, n, weights):
        blocks, half, scale, matrix = tile_factors(rng, n, dims)
        arguments = (blocks, half, scale, weights)
        return Problem(_kernels.tile_signed_products, matrix, arguments, {"n_threads": 2}, weights=weights)

    return build


def column_sums(rng, n, weights):
    return Problem(_kernels.signed_sums, np.ones((n, n)), (weights,), weights=weights)


def one_of_two_columns(rng, n, weights):
    def compute(u, weights, **options):
        return _kernels.signed_sums(u, np.column_stack([rng.normal(size=n), weights]), **options)[:, 1]

    return Problem(compute, np.ones((n, n)), (weights,), weights=weights)


KERNELS = {
    "profiles, unit weights": profiles(5, unit=True),
    "one profile": profiles(1),
    "3 profiles": profiles(3),
    "8 profiles": profiles(8),
    "9 profiles": profiles(9),
    "16 profiles": profiles(16),
    "300 profiles": profiles(300),
    "a profile for each row": profiles("n"),
    "a profile for each row, unit weights": profiles("n", unit=True),
    "1 feature": features(1),
    "8 features": features(8),
    "13 features": features(13),
    "soft, 1 column": soft(1),
    "soft, 8 columns": soft(8),
    "soft, 22 columns": soft(22),
    "soft, 200 columns": soft(200),
    "soft, signed column": signed_column_of_soft_rows,
    "shares of 1 profile": shares(1, 1),
    "shares of 9 profiles": shares(9, 4),
    "shares of 40 profiles": shares(40, 40),
    "univariate, distinct": univariate(lambda rng, n: rng.normal(size=n)),
    "univariate, tied": univariate(lambda rng, n: rng.integers(0, 5, n).astype(float)),
    "univariate, constant": univariate(lambda rng, n: np.zeros(n)),
    "tiles, 1 column": tiles(1),
    "tiles, 2 columns": tiles(2),
    "tiles, 4 columns": tiles(4),
    "tiles, 7 columns": tiles(7),
    "tiles, 12 columns": tiles(12),
    "tiles, 2 blocks": tiles(1, 3),
    "tiles, 4 blocks": tiles(1, 5, 1, 8),
    "tiles, a block without columns": tiles(2, 0),
    "signed sums": column_sums,
    "signed sums of columns": one_of_two_columns,
}

every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
every_weight = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)


def check(problem, u):
    result = problem.compute(u)
    assert result.shape == u.shape
    assert result.dtype == np.float64
    assert_allclose(result, problem.expected(u), rtol=1e-12, atol=1e-13 * problem.magnitude())


@every_kernel
@every_weight
@pytest.mark.parametrize("n", SIZES)
def test_equals_the_definition(kernel, weights, n, rng):
    problem = kernel(rng, n, weights(rng, n))
    for predictions in PREDICTIONS.values():
        check(problem, predictions(rng, n))


@every_kernel
@pytest.mark.parametrize("n", LARGE)
def test_equals_the_definition_over_several_stripes(kernel, n, rng):
    problem = kernel(rng, n, WEIGHTS["random, some zero"](rng, n))
    for predictions in ("distinct", "tied"):
        check(problem, PREDICTIONS[predictions](rng, n))


@every_weight
@pytest.mark.parametrize("n", SIZES)
def test_density_equals_the_definition(weights, n, rng):
    weights = weights(rng, n)
    for predictions in PREDICTIONS.values():
        u = predictions(rng, n)
        # not at the end of a row, where rounding decides
        for half in (0.0, 0.037 * weights.sum(), 2.0 * weights.sum()):
            for least in (1e-9, 2.0):
                found = _kernels.window_density(u, weights, half, least=least)
                expected = _reference.window_density(u, weights, half, least)
                assert_allclose(found, expected, rtol=1e-12, atol=1e-14 * weights.sum() / least)


def test_density_takes_weights_for_repetition(rng):
    for predictions in PREDICTIONS.values():
        u = predictions(rng, 257)
        times = rng.integers(1, 5, 257)
        rows = np.repeat(np.arange(257), times)
        for half in (0.0, 20.3, 2_000.0):
            weighted = _kernels.window_density(u, times.astype(float), half, least=1e-3)
            repeated = _kernels.window_density(u[rows], np.ones(len(rows)), half, least=1e-3)
            assert_allclose(repeated, weighted[rows], rtol=1e-12)


def test_the_definition_in_plain_python(rng):
    """The reference itself, and with it sign(0) = 0, against two loops."""
    for n in range(6):
        u, weights, matrix = rng.integers(0, 3, n), rng.uniform(size=n), symmetric(rng, n)
        expected = [
            sum(weights[j] * (int(u[i] > u[j]) - int(u[i] < u[j])) * matrix[i, j] for j in range(n)) for i in range(n)
        ]
        assert_allclose(_reference.signed_products(u, matrix, weights), expected, rtol=1e-14, atol=1e-14)


def test_expected_matrix_is_the_mean_over_all_draws(rng):
    """The definition itself, by going through every profile that two rows may draw."""
    memberships, matrix = rng.dirichlet(np.ones(3), 2), symmetric(rng, 3)
    expected = np.zeros((2, 2))
    for first in range(3):
        for second in range(3):
            drawn = [first, second]
            expected += memberships[0, first] * memberships[1, second] * matrix[np.ix_(drawn, drawn)]
    assert_allclose(_reference.expected_matrix(memberships, matrix), expected, rtol=1e-14)


@pytest.mark.parametrize("n_profiles", [1, 3, 8, 9, 16, 300])
@pytest.mark.parametrize("n", SIZES)
def test_values_of_several_assignments_of_profiles(n, n_profiles, rng):
    """Value alone, for any number of assignments; ties and the group that a line falls into do not matter."""
    matrix = symmetric(rng, n_profiles)
    for name, predictions in PREDICTIONS.items():
        u = np.sort(predictions(rng, n))
        u -= u.mean() if n else 0.0
        for n_assignments in (0, 1, 3, 4, 5, 9):
            codes = rng.integers(0, n_profiles, (n_assignments, n))
            values = _kernels.profile_values(u, codes, matrix)
            terms = [matrix[np.ix_(line, line)] for line in codes]
            expected = [_reference.pair_sum(u, rows) if n else 0.0 for rows in terms]
            magnitude = np.abs(u).sum() * np.abs(matrix).max() * n
            assert values.shape == (n_assignments,)
            assert_allclose(values, expected, rtol=1e-12, atol=1e-14 * magnitude, err_msg=name)
            alone = [_kernels.profile_values(u, line[None], matrix)[0] for line in codes]
            assert_array_equal(values, alone)


def test_values_agree_with_the_signed_products(rng):
    """Too long for a matrix: by Euler's identity the value is u times its gradient."""
    n, n_profiles = 100_000, 37
    u, codes = np.sort(rng.integers(0, n // 3, n) / 7), rng.integers(0, n_profiles, (3, n))
    u -= u.mean()
    matrix = symmetric(rng, n_profiles)
    expected = [2 * u @ _kernels.profile_signed_products(u, line, matrix) for line in codes]
    scale = np.abs(u).sum() * np.sqrt(n)
    assert_allclose(_kernels.profile_values(u, codes, matrix), expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("columns", [1, 3, 8, 40])
@pytest.mark.parametrize("n", [0, 1, 5, 257])
def test_signed_sums_of_several_columns(n, columns, rng):
    u, values = rng.integers(0, 4, n).astype(float), rng.normal(size=(n, columns))
    expected = np.sign(np.subtract.outer(u, u)) @ values
    assert_allclose(_kernels.signed_sums(u, values), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [*SIZES, *LARGE])
def test_univariate_distance_sums(n, rng):
    for z in (rng.normal(size=n), rng.integers(0, 4, n).astype(float), np.full(n, 0.3)):
        weights = rng.integers(0, 3, n).astype(float)
        expected = np.abs(np.subtract.outer(z, z)) @ weights
        assert_allclose(_kernels.univariate_distance_sums(z, weights), expected, rtol=1e-12, atol=1e-12 * n)
        ordered = _kernels.univariate_distance_sums(z, weights, order=np.argsort(z, kind="stable"))
        assert_allclose(ordered, expected, rtol=1e-12, atol=1e-12 * n)


@pytest.mark.parametrize("dims", [(1,), (3,), (12,), (1, 5), (2, 0, 9)], ids=str)
@pytest.mark.parametrize("n", [*SIZES, *LARGE])
def test_tile_row_sums(n, dims, rng):
    blocks, half, scale, matrix = tile_factors(rng, n, dims)
    weights = rng.integers(0, 3, n).astype(float)
    np.fill_diagonal(matrix, 0.0)
    result = _kernels.tile_row_sums(blocks, half, scale, weights, n_threads=2)
    assert_allclose(result, matrix @ weights, rtol=1e-12, atol=1e-13 * (np.abs(matrix) @ weights).max(initial=0))


@pytest.mark.parametrize("n_threads", [2, 3, 8, 64])
@pytest.mark.parametrize("n", [5, 257, 1500])
def test_same_bits_for_any_number_of_threads(n, n_threads, rng):
    blocks, half, scale, _ = tile_factors(rng, n, (1, 6))
    u, weights = rng.integers(0, n, n).astype(float), rng.uniform(size=n)
    for kernel in (
        lambda t: _kernels.tile_signed_products(u, blocks, half, scale, weights, n_threads=t),
        lambda t: _kernels.tile_row_sums(blocks, half, scale, weights, n_threads=t),
    ):
        assert_array_equal(kernel(n_threads), kernel(1))


@every_kernel
def test_a_known_order_changes_nothing(kernel, rng):
    problem = kernel(rng, 257, rng.uniform(size=257))
    u = rng.normal(size=257)
    assert_array_equal(problem.compute(u, order=np.argsort(u)), problem.compute(u))
    assert_array_equal(problem.compute(u, order=np.argsort(u).astype(np.int32)), problem.compute(u))


@every_kernel
def test_the_order_within_ties_does_not_matter(kernel, rng):
    problem = kernel(rng, 257, rng.uniform(size=257))
    u = rng.integers(0, 5, 257).astype(float)
    forward = problem.compute(u, order=np.argsort(u, kind="stable"))
    backward = problem.compute(u, order=256 - np.argsort(u[::-1], kind="stable"))
    assert_allclose(forward, backward, rtol=1e-12, atol=1e-13 * problem.magnitude())


def test_unit_weights_are_counted_without_rounding(rng):
    """Whole numbers stay whole over a long sweep: counts by binary search give the same bits."""
    n, n_profiles = 100_000, 20
    u, codes = rng.integers(0, 30_000, n).astype(float), rng.integers(0, n_profiles, n)
    matrix = rng.integers(-50, 50, (n_profiles, n_profiles))
    matrix += matrix.T
    counts = np.empty((n_profiles, n), dtype=np.int64)
    for profile in range(n_profiles):
        own = np.sort(u[codes == profile])
        counts[profile] = np.searchsorted(own, u, "left") + np.searchsorted(own, u, "right") - len(own)
    expected = (matrix[:, codes] * counts).sum(axis=0)
    assert_array_equal(_kernels.profile_signed_products(u, codes, matrix), expected)


@pytest.mark.parametrize("name", ["profiles", "features", "univariate", "signed sums", "tiles"])
def test_long_samples_at_some_rows(name, rng):
    """Too long for a matrix: some rows of the definition are computed one at a time."""
    n = 4_000 if name == "tiles" else 200_000
    u, weights = rng.integers(0, n // 3, n) / 7, rng.uniform(size=n)
    if name == "profiles":
        codes, matrix = rng.integers(0, 37, n), symmetric(rng, 37)
        result = _kernels.profile_signed_products(u, codes, matrix, weights=weights)
        row = lambda i: weights[i] * matrix[codes[i], codes]  # noqa: E731
    elif name == "features":
        codes, points = rng.integers(0, 99, n), rng.normal(size=(99, 13))
        result = _kernels.feature_signed_products(u, codes, points, weights)
        row = lambda i: points[codes] @ points[codes[i]]  # noqa: E731
    elif name == "univariate":
        z = rng.integers(0, n // 2, n) / n - 0.25
        ranks = np.unique(z, return_inverse=True)[1] + 1
        distance_sums = _kernels.univariate_distance_sums(z, weights)
        result = _kernels.univariate_signed_distances(u, z, ranks, weights, distance_sums)
        row = lambda i: np.abs(z[i] - z)  # noqa: E731
    elif name == "signed sums":
        result = _kernels.signed_sums(u, weights)
        row = lambda i: np.ones(n)  # noqa: E731
    else:
        points = rng.normal(size=(n, 6))
        result = _kernels.tile_signed_products(u, [points], np.zeros((1, n)), np.ones(1), weights, n_threads=2)
        row = lambda i: -np.sqrt(((points[i] - points) ** 2).sum(axis=1))  # noqa: E731
    for i in rng.integers(0, n, 25):
        terms = row(i) * weights
        assert_allclose(result[i], np.sign(u[i] - u) @ terms, rtol=0, atol=1e-12 * np.abs(terms).sum())


def test_rounding_does_not_build_up_along_the_sweep():
    """Products that are kept up to date by sums of 0.1 are computed afresh before they have drifted away."""
    n = 200_000
    found = _kernels.profile_signed_products(np.arange(n), np.zeros(n, dtype=int), np.array([[0.1]]))
    exact = 0.1 * np.arange(1 - n, n, 2)
    assert np.abs(found - exact).max() < 4096 * np.spacing(0.1 * n) / 2


@pytest.mark.parametrize("n_profiles", [1, 7, 300])
@pytest.mark.parametrize("weights", [None, "random, some zero"], ids=str)
@pytest.mark.parametrize("predictions", ["distinct", "tied", "all equal", "one apart", "half in one tie"])
def test_parts_of_the_sorted_rows(n_profiles, weights, predictions, rng):
    """Enough rows to be cut: against signed sums by profile, and with the same bits for any number of threads."""
    n = 2 * 8192 + 5
    if predictions == "half in one tie":
        u = np.where(rng.uniform(size=n) < 0.5, 0.3, rng.normal(size=n))
    else:
        u = PREDICTIONS[predictions](rng, n)
    w = None if weights is None else WEIGHTS[weights](rng, n)
    codes, matrix = rng.integers(0, n_profiles, n), symmetric(rng, n_profiles)
    found = [
        _kernels.profile_signed_products(u, codes, matrix, weights=w, return_signed_weights=True, n_threads=threads)
        for threads in (1, 2, 5)
    ]
    for products, signed in found[1:]:
        assert_array_equal(products, found[0][0])
        assert_array_equal(signed, found[0][1])
    q = np.ones(n) if w is None else w
    of_profiles = _kernels.signed_sums(u, np.eye(n_profiles)[codes] * q[:, None])
    expected = q * (matrix[codes] * of_profiles).sum(axis=1)
    assert_allclose(found[0][0], expected, rtol=1e-9, atol=1e-11 * q.sum() * np.abs(matrix).max())
    assert_allclose(found[0][1], of_profiles.sum(axis=1), rtol=1e-9, atol=1e-12 * q.sum())
