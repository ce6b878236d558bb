"""What the wrappers promise about their input: any memory layout and number type, wrong sizes and codes raise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import _kernels


def strided(array):
    """The same values, every other element of a larger array."""
    larger = np.zeros(tuple(2 * size for size in array.shape), dtype=array.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def other_byte_order(array):
    return array.astype(array.dtype.newbyteorder())


LAYOUTS = {
    "read-only": read_only,
    "strided": strided,
    "reversed": lambda array: array[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "other byte order": other_byte_order,
    "float32": lambda array: array.astype(np.float32),
    "int16": lambda array: array.astype(np.int16),
}

N = 40


@pytest.fixture
def numbers(rng):
    """Whole numbers, which every type holds exactly."""
    return {
        "u": rng.integers(0, 9, N).astype(float),
        "codes": rng.integers(0, 8, N).astype(float),
        "matrix": np.add.outer(np.arange(8.0), np.arange(8.0)),
        "weights": rng.integers(0, 5, N).astype(float),
        "z": rng.integers(0, 6, N).astype(float),
        "ranks": None,
        "block": rng.integers(0, 6, (N, 3)).astype(float),
        "half": rng.integers(0, 6, (1, N)).astype(float),
        "scale": np.array([2.0]),
    }


def everything(numbers):
    """All kernels on the same numbers."""
    z, weights, u = numbers["z"], numbers["weights"], numbers["u"]
    order = np.argsort(np.asarray(u, dtype=float), kind="stable")
    ranks = np.unique(np.asarray(z, dtype=float), return_inverse=True)[1] + 1
    sums = _kernels.univariate_distance_sums(z, weights)
    pairs, total = _kernels.soft_rows(N, 3, [(slice(None), numbers["block"], numbers["block"])])
    starts = np.arange(N + 1)
    tile = ([numbers["block"]], numbers["half"], numbers["scale"], weights)
    return {
        "profiles": _kernels.profile_signed_products(u, numbers["codes"], numbers["matrix"], order=order),
        "weighted": _kernels.profile_signed_products(u, numbers["codes"], numbers["matrix"], weights=weights),
        "features": _kernels.feature_signed_products(u, numbers["codes"], numbers["matrix"], weights),
        "soft": _kernels.soft_signed_products(u, pairs, total, 2, order=order)[0],
        "shares": _kernels.share_signed_products(u, starts, numbers["codes"], weights, weights, numbers["matrix"]),
        "sums": _kernels.signed_sums(u, numbers["block"]),
        "signed weights": _kernels.signed_sums(u, weights),
        "density": _kernels.window_density(u, weights, 3, least=0.5),
        "distance sums": sums,
        "univariate": _kernels.univariate_signed_distances(u, z, ranks, weights, sums),
        "tiles": _kernels.tile_signed_products(u, *tile),
        "row sums": _kernels.tile_row_sums(*tile),
    }


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_and_number_type(numbers, layout):
    expected = everything(numbers)
    numbers = {name: None if array is None else layout(array) for name, array in numbers.items()}
    before = {name: None if array is None else array.copy() for name, array in numbers.items()}
    for name, result in everything(numbers).items():
        assert_array_equal(result, expected[name], err_msg=name)
        assert result.dtype == np.float64
    for name, array in numbers.items():
        if array is not None:
            assert_array_equal(array, before[name], err_msg=f"{name} was changed")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_values_of_any_layout_and_number_type(layout):
    u, matrix = np.arange(8.0), np.add.outer(np.arange(8.0), np.arange(8.0))
    codes = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [3, 3, 0, 0, 7, 7, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]])
    expected = _kernels.profile_values(u, codes, matrix)
    ascending = u if layout is LAYOUTS["reversed"] else layout(u)
    assert_array_equal(_kernels.profile_values(ascending, layout(codes), layout(matrix)), expected)


def test_values_refuse_what_does_not_go_together():
    """The compiled loop trusts lengths and codes; in any other order than the ascending one it would be wrong."""
    u, codes, matrix = np.arange(3.0), np.zeros((2, 3), dtype=int), np.ones((2, 2))
    for wrong in (u[::-1], np.array([0.0, np.nan, 1.0]), u[None]):
        with pytest.raises(ValueError, match="u must be a vector in ascending order"):
            _kernels.profile_values(wrong, codes, matrix)
    for wrong in (codes[0], codes[:, :2], np.zeros((2, 4), dtype=int)):
        with pytest.raises(ValueError, match=r"codes has shape .*, u has shape \(3,\)"):
            _kernels.profile_values(u, wrong, matrix)
    for code in (2, -1):
        with pytest.raises(ValueError, match=r"codes must lie in range\(2\), found "):
            _kernels.profile_values(u, np.full((2, 3), code), matrix)


def test_lists_of_numbers():
    assert_array_equal(_kernels.signed_sums([3, 1, 2], [1, 1, 1]), [2, -2, 0])
    assert_array_equal(_kernels.univariate_distance_sums([3, 1, 2], [1, 1, 1]), [3, 3, 2])


def test_pad_columns():
    for columns, width in ((0, 8), (1, 8), (8, 8), (9, 16)):
        matrix = np.arange(3.0 * columns).reshape(3, columns)
        padded = _kernels.pad_columns(matrix)
        assert padded.shape == (3, width)
        assert padded.flags.c_contiguous
        assert_array_equal(padded[:, :columns], matrix)
        assert not padded[:, columns:].any()


def test_padded_matrices_are_taken_as_they_are(rng):
    u, codes, matrix = rng.normal(size=50), rng.integers(0, 11, 50), rng.normal(size=(11, 11))
    for kernel, options in (
        (_kernels.profile_signed_products, {}),
        (_kernels.feature_signed_products, {"weights": np.ones(50)}),
    ):
        padded = kernel(u, codes, _kernels.pad_columns(matrix), **options)
        assert_array_equal(padded, kernel(u, codes, matrix, **options))


@pytest.mark.parametrize("code", [8, -1, 2**31 - 1])
def test_codes_out_of_range_raise(numbers, code):
    numbers["codes"][7] = code
    with pytest.raises(ValueError, match=r"codes must lie in range\(8\), found "):
        _kernels.profile_signed_products(numbers["u"], numbers["codes"], numbers["matrix"])
    with pytest.raises(ValueError, match=r"codes must lie in range\(8\), found "):
        _kernels.feature_signed_products(numbers["u"], numbers["codes"], numbers["matrix"], numbers["weights"])


@pytest.mark.parametrize("rank", [0, -3])
def test_ranks_below_one_raise(numbers, rank):
    """A Fenwick tree would be climbed for ever from rank 0."""
    ranks = np.ones(N, dtype=int)
    ranks[3] = rank
    with pytest.raises(ValueError, match=f"ranks must be at least 1, found {rank}"):
        _kernels.univariate_signed_distances(numbers["u"], numbers["z"], ranks, numbers["weights"], numbers["z"])


@pytest.mark.parametrize("length", [0, 1, N // 2, N - 1, N + 1, 2 * N])
def test_lengths_that_differ_raise(numbers, length):
    """The compiled loops trust the lengths: a longer u would read beyond the end of everything else."""
    u = np.arange(float(length))
    rows, block, half = numbers["weights"], numbers["block"], numbers["half"]
    ones = np.ones(length)
    calls = [
        lambda: _kernels.profile_signed_products(u, numbers["codes"], numbers["matrix"]),
        lambda: _kernels.profile_signed_products(u, ones, numbers["matrix"], weights=rows),
        lambda: _kernels.profile_signed_products(u, ones, numbers["matrix"], order=np.arange(N)),
        lambda: _kernels.feature_signed_products(u, ones, numbers["matrix"], rows),
        lambda: _kernels.feature_signed_products(u, numbers["codes"], numbers["matrix"], ones),
        lambda: _kernels.signed_sums(u, rows),
        lambda: _kernels.signed_sums(u, block),
        lambda: _kernels.signed_sums(u, ones, order=np.arange(N)),
        lambda: _kernels.window_density(u, rows, 1, least=1.0),
        lambda: _kernels.univariate_distance_sums(u, rows),
        lambda: _kernels.univariate_signed_distances(u, numbers["z"], ones, ones, ones),
        lambda: _kernels.univariate_signed_distances(u, ones, np.ones(N), ones, ones),
        lambda: _kernels.univariate_signed_distances(u, ones, ones, rows, ones),
        lambda: _kernels.univariate_signed_distances(u, ones, ones, ones, rows),
        lambda: _kernels.tile_signed_products(u, [block], np.zeros((1, length)), [1.0], ones),
        lambda: _kernels.tile_signed_products(u, [ones], half, [1.0], ones),
        lambda: _kernels.tile_signed_products(u, [ones], np.zeros((1, length)), [1.0], rows),
        lambda: _kernels.tile_row_sums([block], np.zeros((1, length)), [1.0], ones),
        lambda: _kernels.tile_row_sums([ones], half, [1.0], ones),
        lambda: _kernels.tile_row_sums([ones, ones], np.zeros((1, length)), [1.0], ones),
        lambda: _kernels.tile_row_sums([ones], np.zeros((1, length)), [1.0, 1.0], ones),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"has shape|do not go with|for each of the"):
            call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, N // 2, N])
def test_predictions_that_are_not_finite_terminate(numbers, value, count, rng):
    """Callers check that predictions are finite; a kernel that is told otherwise must still come to an end."""
    numbers["u"][rng.permutation(N)[:count]] = value
    for name, result in everything(numbers).items():
        # The density alone has values of u in its result.
        assert name == "density" or np.isfinite(result).all(), name


def test_vectors_and_columns_are_the_same_block(rng):
    u, z, weights = rng.normal(size=(3, 20))
    arguments = (np.zeros((1, 20)), np.ones(1), weights)
    as_vector = _kernels.tile_signed_products(u, [z], *arguments)
    assert_array_equal(as_vector, _kernels.tile_signed_products(u, [z[:, None]], *arguments))
    ranks = np.argsort(np.argsort(z)) + 1
    sums = _kernels.univariate_distance_sums(z, weights)
    by_tree = _kernels.univariate_signed_distances(u, z, ranks, weights, sums)
    assert_allclose(as_vector, -by_tree, rtol=1e-12, atol=1e-12)


def test_no_more_threads_than_stripes():
    """Whatever a caller, or the environment, asks for."""
    found = [_kernels.usable_threads(n) for n in (-1, 0, 1, 15, 16, 17, 10**6)]
    assert found == [1, 1, 1, 15, 16, 16, 16]


def test_soft_rows_refuse_what_does_not_go_together():
    """The compiled loops trust lengths, columns, codes and starts."""
    u = np.zeros(3)
    pairs, total = _kernels.soft_rows(3, 2, [(slice(None), np.ones((3, 2)), np.ones((3, 2)))])
    for wrong in ((pairs[:2], total, 0), (pairs, total[:4], 0), (pairs[:, :8], total, 0), (pairs, total, 8)):
        with pytest.raises(ValueError, match="do not go with 3 rows"):
            _kernels.soft_signed_products(u, *wrong)
    good = [np.arange(4), np.zeros(3), np.ones(3), np.ones(3), np.ones((2, 2))]
    _kernels.share_signed_products(u, *good)
    for starts in ([0, 1, 2], [0, 1, 2, 4], [1, 1, 2, 3], [0, 2, 1, 3]):
        with pytest.raises(ValueError, match="starts must ascend from 0 to 3"):
            _kernels.share_signed_products(u, starts, *good[1:])
    for code in (2, -1):
        with pytest.raises(ValueError, match=r"codes must lie in range\(2\), found "):
            _kernels.share_signed_products(u, good[0], np.full(3, code), *good[2:])
    with pytest.raises(ValueError, match=r"codes has shape \(2,\), u has shape"):
        _kernels.share_signed_products(u, good[0], np.zeros(2), *good[2:])
    with pytest.raises(ValueError, match="weights has shape"):
        _kernels.share_signed_products(u, *good[:3], np.ones(2), good[4])
