"""Every kernel against its definition in NumPy; also run on a build with bounds checks."""

import numpy as np
import pytest

from fairdcov import _kernels
from fairdcov._kernels import _reference

SIZES = [0, 1, 2, 3, 4, 5, 31, 128, 129, 257]


def _predictions(rng, n, kind):
    if kind == "distinct":
        return rng.permutation(n) / 3.0
    if kind == "ties":
        return rng.integers(0, 4, n).astype(float)
    return np.ones(n)


KINDS = ["distinct", "ties", "all equal"]


@pytest.fixture
def sample(rng):
    def make(n, kind, n_profiles=5):
        weights = rng.uniform(size=n)
        weights[::7] = 0.0
        return _predictions(rng, n, kind), rng.integers(0, n_profiles, n), weights

    return make


@pytest.mark.parametrize("n_profiles", [1, 2, 7, 8, 9, 40])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_profiles(sample, rng, n, kind, n_profiles):
    u, codes, weights = sample(n, kind, n_profiles)
    matrix = rng.normal(size=(n_profiles, n_profiles))
    matrix += matrix.T
    rows = matrix[np.ix_(codes, codes)]
    found = _kernels.profile_signed_products(u, codes, matrix)
    np.testing.assert_allclose(found, _reference.signed_products(u, rows, np.ones(n)), atol=1e-12)
    weighted = _kernels.profile_signed_products(u, codes, matrix, weights=weights, order=np.argsort(u))
    np.testing.assert_allclose(weighted, weights * _reference.signed_products(u, rows, weights), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_signed_sums(sample, rng, n, kind):
    u, _, weights = sample(n, kind)
    values = rng.normal(size=(n, 3))
    expected = np.sign(np.subtract.outer(u, u)) @ values
    np.testing.assert_allclose(_kernels.signed_sums(u, values), expected, atol=1e-12)
    np.testing.assert_allclose(_kernels.signed_sums(u, weights), np.sign(np.subtract.outer(u, u)) @ weights, atol=1e-12)


@pytest.mark.parametrize("n_features", [1, 8, 11])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_features(sample, rng, n, kind, n_features):
    u, codes, weights = sample(n, kind)
    features = rng.normal(size=(5, n_features))
    rows = (features @ features.T)[np.ix_(codes, codes)]
    np.testing.assert_allclose(
        _kernels.feature_signed_products(u, codes, features, weights),
        _reference.signed_products(u, rows, weights),
        atol=1e-11,
    )


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_univariate(sample, rng, n, kind, rounded):
    u, _, weights = sample(n, kind)
    z = rng.normal(size=n).round(0 if rounded else 9)
    distance = _reference.distances(z) if n else np.zeros((0, 0))
    sums = _kernels.univariate_distance_sums(z, weights)
    np.testing.assert_allclose(sums, distance @ weights, atol=1e-12)
    ranks = np.unique(z, return_inverse=True)[1] + 1
    np.testing.assert_allclose(
        _kernels.univariate_signed_distances(u, z, ranks, weights, sums),
        _reference.signed_products(u, distance, weights),
        atol=1e-11,
    )


@pytest.mark.parametrize("dims", [(1,), (2,), (5,), (12,), (1, 3), (4, 1, 2)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_tiles(sample, rng, n, kind, dims):
    u, _, weights = sample(n, kind)
    blocks = [rng.normal(size=(n, d)) for d in dims]
    half, scale = rng.normal(size=(len(dims), n)), rng.uniform(0.5, 2.0, len(dims))
    product = np.ones((n, n))
    for block, h, s in zip(blocks, half, scale, strict=True):
        product *= h[:, None] + h[None, :] - s * (_reference.distances(block) if n else 0.0)
    found = _kernels.tile_signed_products(u, blocks, half, scale, weights)
    np.testing.assert_allclose(found, _reference.signed_products(u, product, weights), rtol=1e-11, atol=1e-10)
    np.fill_diagonal(product, 0.0)
    np.testing.assert_allclose(
        _kernels.tile_row_sums(blocks, half, scale, weights), product @ weights, rtol=1e-11, atol=1e-10
    )


def test_tiles_give_the_same_bits_for_any_number_of_threads(rng):
    n = 1_500
    u, weights = rng.normal(size=n), rng.uniform(size=n)
    blocks = [rng.normal(size=(n, 3)), rng.normal(size=(n, 1))]
    half, scale = rng.normal(size=(2, n)), np.ones(2)
    one = _kernels.tile_signed_products(u, blocks, half, scale, weights, n_threads=1)
    sums = _kernels.tile_row_sums(blocks, half, scale, weights, n_threads=1)
    for n_threads in (2, 3, 8, 40):
        again = _kernels.tile_signed_products(u, blocks, half, scale, weights, n_threads=n_threads)
        np.testing.assert_array_equal(again, one)
        np.testing.assert_array_equal(_kernels.tile_row_sums(blocks, half, scale, weights, n_threads=n_threads), sums)


def test_unit_weights_leave_no_rounding_in_the_running_counts():
    # A signed count of a million rows is a whole number; a matrix of ones must give it exactly.
    n = 1_000_000
    u = np.random.default_rng(0).permutation(n).astype(float)
    found = _kernels.profile_signed_products(u, np.arange(n) % 3, np.ones((3, 3)))
    np.testing.assert_array_equal(found, 2 * u - (n - 1))


def test_any_memory_layout_and_type_will_do(sample, rng):
    u, codes, weights = sample(60, "distinct")
    matrix = rng.normal(size=(5, 5))
    expected = _kernels.profile_signed_products(u, codes, matrix, weights=weights)
    for array in (u, codes, weights, matrix):
        array.flags.writeable = False
    np.testing.assert_array_equal(_kernels.profile_signed_products(u, codes, matrix, weights=weights), expected)
    spaced = np.repeat(u, 2)[::2]
    np.testing.assert_array_equal(
        _kernels.profile_signed_products(
            spaced, codes.astype(np.int64)[::1], np.asfortranarray(matrix), weights=weights
        ),
        expected,
    )
    np.testing.assert_allclose(
        _kernels.profile_signed_products((3 * u).round().astype(np.int32), codes, matrix, weights=weights), expected
    )


def test_wrong_codes_raise_instead_of_reading_elsewhere():
    with pytest.raises(ValueError, match=r"codes must lie in range\(2\), found 0 to 2"):
        _kernels.profile_signed_products(np.arange(3.0), [0, 1, 2], np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"codes must lie in range\(2\), found -1 to 1"):
        _kernels.feature_signed_products(np.arange(3.0), [0, 1, -1], np.ones((2, 4)), np.ones(3))
    with pytest.raises(ValueError, match="codes has shape"):
        _kernels.profile_signed_products(np.arange(3.0), [0, 1], np.ones((2, 2)))


def test_nan_ends(rng):
    # The kernels are promised finite values; broken promises must not hang.
    u = np.array([1.0, np.nan, 0.5, np.nan])
    _kernels.profile_signed_products(u, [0, 1, 0, 1], np.ones((2, 2)))
    _kernels.signed_sums(u, np.ones(4))
    _kernels.feature_signed_products(u, [0, 1, 0, 1], np.ones((2, 8)), np.ones(4))
    _kernels.univariate_signed_distances(u, np.arange(4.0), [1, 2, 3, 4], np.ones(4), np.ones(4))
    _kernels.tile_signed_products(u, [np.ones((4, 2))], np.zeros((1, 4)), np.ones(1), np.ones(4))


def test_padding():
    padded = _kernels.pad_columns(np.ones((2, 9)))
    assert padded.shape == (2, 16)
    np.testing.assert_array_equal(padded[:, 9:], 0.0)
    assert _kernels.pad_columns(np.ones((0, 0))).shape == (0, 8)
