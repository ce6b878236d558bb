"""Protected attributes as profiles: codes of distinct rows, their order, and the profiles' weights."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fairdcov.encoding._blocks import SensitiveBlocks, combine_codes, factorise


def check_codes(codes, first_rows, rows):
    """Equal codes for equal rows and no others, numbered in the order of first appearance."""
    rows = np.asarray(rows).reshape(len(codes), -1)
    distinct, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    appearance = np.argsort(np.argsort(first))
    assert_array_equal(codes, appearance[inverse.ravel()])
    assert_array_equal(first_rows, np.sort(first))
    assert len(distinct) == len(first_rows)


@pytest.mark.parametrize("n", [1, 2, 5, 1000])
def test_factorise(n, rng):
    for values in (
        rng.integers(-3, 4, n),
        rng.normal(size=n),
        np.round(rng.normal(size=n), 1),
        np.full(n, 7.5),
        np.arange(n)[::-1] * 2**40,
        rng.integers(0, 2, n).astype(bool),
    ):
        check_codes(*factorise(values), values)


def test_factorise_nothing():
    codes, first_rows = factorise(np.empty(0))
    assert len(codes) == len(first_rows) == 0


def test_zeros_of_both_signs_are_the_same_number():
    codes, first_rows = factorise(np.array([0.0, -0.0, 1.0, -0.0]))
    assert_array_equal(codes, [0, 0, 1, 0])
    assert_array_equal(first_rows, [0, 2])


def test_missing_values_have_no_code():
    codes, first_rows = factorise(np.array([np.nan, 2.0, np.nan, 1.0, 2.0]))
    assert_array_equal(codes, [-1, 0, -1, 1, 0])
    assert_array_equal(first_rows, [1, 3])
    codes, first_rows = factorise(np.array(["b", None, "a", "b"], dtype=object))
    assert_array_equal(codes, [0, -1, 1, 0])
    assert_array_equal(first_rows, [0, 2])


@pytest.mark.parametrize("n_columns", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 50, 2000])
def test_combine_codes(n, n_columns, rng):
    columns = [rng.integers(0, rng.integers(1, 6), n) for _ in range(n_columns)]
    check_codes(*combine_codes(columns), np.column_stack(columns))


@pytest.mark.parametrize("largest", [10, 2**20, 2**31, 2**62 - 1])
def test_combine_many_columns_with_large_codes(largest, rng):
    """The product of the sizes is far beyond 64 bits; codes are made small on the way."""
    columns = [rng.integers(0, 2, 300) * largest for _ in range(12)]
    check_codes(*combine_codes(columns), np.column_stack(columns))


def test_combine_columns_whose_product_is_just_beyond_64_bits():
    """Between 2^63 and 2^64 rows are still told apart by the wrapped numbers, but no longer with the next column."""
    columns = [np.array([2**32, 2**32 + 2**31, 2**32]), np.array([0, 0, 2**31 - 1]), np.array([0, 0, 3])]
    check_codes(*combine_codes(columns), np.column_stack(columns))


def test_combine_columns_of_distinct_rows(rng):
    columns = [rng.permutation(5000), rng.permutation(5000), rng.permutation(5000)]
    check_codes(*combine_codes(columns), columns[0])


def test_combine_small_integers_without_overflow():
    """Columns of 8-bit codes: the combination needs more."""
    columns = [np.arange(120, dtype=np.int8), np.arange(120, dtype=np.int8)[::-1].copy()]
    check_codes(*combine_codes(columns), np.column_stack(columns))
    check_codes(*combine_codes(columns[:1]), columns[0])


@pytest.fixture
def arrays(rng):
    n = 200
    return [np.eye(3)[rng.integers(0, 3, n)], rng.integers(0, 4, (n, 1)) / 4, rng.integers(0, 2, (n, 2)) * 1.5]


def test_from_arrays(arrays):
    blocks = SensitiveBlocks.from_arrays(arrays)
    check_codes(blocks.codes, np.unique(blocks.codes, return_index=True)[1], np.hstack(arrays))
    assert blocks.codes.dtype == np.int32
    assert blocks.n_samples == 200
    assert blocks.n_profiles == blocks.codes.max() + 1 == len(np.unique(np.hstack(arrays), axis=0))
    assert blocks.names == ("block 0", "block 1", "block 2")
    for points, array in zip(blocks.points, arrays, strict=True):
        assert_array_equal(points[blocks.codes], array)
        assert points.flags.c_contiguous
        assert points.dtype == np.float64
    assert SensitiveBlocks.from_arrays(arrays, names=["a", "b", "c"]).names == ("a", "b", "c")


def test_from_arrays_takes_any_layout(arrays):
    expected = SensitiveBlocks.from_arrays(arrays)
    awkward = [np.asfortranarray(arrays[0]), np.repeat(arrays[1], 2, axis=0)[::2], arrays[2][:, ::-1]]
    for array in awkward:
        array.flags.writeable = False
    found = SensitiveBlocks.from_arrays(awkward)
    assert_array_equal(found.codes, expected.codes)
    assert_array_equal(found.points[2], expected.points[2][:, ::-1])


def test_without_rows():
    blocks = SensitiveBlocks.from_arrays([np.empty((0, 2)), np.empty((0, 1))])
    assert blocks.n_samples == blocks.n_profiles == 0


def test_concatenated(arrays):
    blocks = SensitiveBlocks.from_arrays(arrays, names=["a", "b", "c"])
    whole = blocks.concatenated()
    assert whole.names == ("a + b + c",)
    assert whole.n_profiles == blocks.n_profiles
    assert_array_equal(whole.points[0][whole.codes], np.hstack(arrays))


def test_single(arrays):
    """A block on its own has its own, fewer profiles."""
    blocks = SensitiveBlocks.from_arrays(arrays, names=["a", "b", "c"])
    for position, array in enumerate(arrays):
        single = blocks.single(position)
        assert single.names == (blocks.names[position],)
        assert single.n_profiles == len(np.unique(array, axis=0)) < blocks.n_profiles
        assert single.codes.dtype == np.int32
        assert_array_equal(single.points[0][single.codes], array)


def test_spread(arrays, rng):
    """Rows that were left out get some profile; the others keep theirs."""
    keep = rng.uniform(size=300) < 0.5
    keep[np.cumsum(keep) > 200] = False
    blocks = SensitiveBlocks.from_arrays([array[: keep.sum()] for array in arrays])
    spread = blocks.spread(keep)
    assert spread.n_samples == 300
    assert spread.codes.dtype == np.int32
    assert_array_equal(spread.codes[keep], blocks.codes)
    assert not spread.codes[~keep].any()
    weights = np.where(keep, 2.0, 0.0)
    assert_array_equal(spread.profile_weights(weights), 2 * blocks.profile_weights())


def test_profile_weights(arrays, rng):
    blocks = SensitiveBlocks.from_arrays(arrays)
    counts = blocks.profile_weights()
    assert counts.dtype == np.float64
    assert_array_equal(counts, [(blocks.codes == k).sum() for k in range(blocks.n_profiles)])
    weights = rng.integers(0, 9, 200)
    expected = [weights[blocks.codes == k].sum() for k in range(blocks.n_profiles)]
    assert_array_equal(blocks.profile_weights(weights), expected)


def test_profiles_without_rows_have_no_weight():
    """Such are left by a permutation of the attributes one by one."""
    blocks = SensitiveBlocks(np.array([1, 0, 1], dtype=np.int32), (np.arange(4.0)[:, None],), ("a",))
    assert_array_equal(blocks.profile_weights(), [1, 2, 0, 0])
    assert_array_equal(blocks.profile_weights([0.5, 3, 1]), [3, 1.5, 0, 0])


def test_is_constant():
    blocks = SensitiveBlocks.from_arrays([np.array([[0.0], [0.0], [1.0]])])
    assert not blocks.is_constant()
    assert not blocks.is_constant([1.0, 0.0, 1.0])
    assert blocks.is_constant([1.0, 1.0, 0.0])
    assert blocks.is_constant([0.0, 0.0, 3.0])
    assert SensitiveBlocks.from_arrays([np.ones((4, 2))]).is_constant()


def test_blocks_cannot_be_changed(arrays):
    blocks = SensitiveBlocks.from_arrays(arrays)
    with pytest.raises(AttributeError, match="cannot assign to field"):
        blocks.codes = blocks.codes[::-1]
