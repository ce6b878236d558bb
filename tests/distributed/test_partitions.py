"""Rows of collections that are partitioned in any way are put side by side by position."""

import numpy as np
import pandas as pd
import pytest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

from fairdcov.distributed._partitions import read_partitions, tree_sum  # noqa: E402
from fairdcov.distributed._profiles import find_profiles  # noqa: E402


def rows_of(block):
    return {name: None if values is None else np.asarray(values).tolist() for name, values in block.items()}


@pytest.mark.parametrize("persist", [False, True])
@pytest.mark.parametrize("chunks", [(10,), (3, 3, 4), (1, 0, 0, 9), (0, 5, 5), (7, 3, 0)])
def test_rows_go_by_position(chunks, persist):
    numbers = np.arange(10)
    first = da.from_array(numbers, chunks=(4, 4, 2))
    other = da.from_array(numbers, chunks=(chunks,))
    rows = read_partitions(u=first, v=other, w=None, x=numbers, persist=persist)
    assert rows.sizes == [4, 4, 2]
    for block, expected in zip(rows.compute(rows_of), np.split(numbers, [4, 8]), strict=True):
        assert block == {"u": expected.tolist(), "v": expected.tolist(), "w": None, "x": expected.tolist()}


def test_frames_of_unknown_divisions_and_empty_partitions():
    frame = pd.DataFrame({"a": np.arange(12.0), "b": list("abcdefghijkl")}, index=np.arange(12)[::-1])
    parts = [dask.delayed(frame.iloc[low:high]) for low, high in [(0, 5), (5, 5), (5, 6), (6, 12), (12, 12)]]
    collection = dd.from_delayed(parts, meta=frame.iloc[:0])
    assert not collection.known_divisions
    series = dd.from_pandas(frame["a"], npartitions=4, sort=False)
    rows = read_partitions(X=collection, y=series)
    assert rows.sizes == [5, 1, 6]
    assert rows.numbers == [0, 2, 3]
    found = rows.compute(lambda block: (block["X"], block["y"]))
    pd.testing.assert_frame_equal(pd.concat([X for X, _ in found]), frame)
    pd.testing.assert_series_equal(pd.concat([y for _, y in found]), frame["a"])
    assert [X["a"].tolist() == y.tolist() for X, y in found] == [True] * 3


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="y must have as many rows as X, 10; found 9"):
        read_partitions(X=da.ones((10, 2), chunks=(5, 1)), y=da.ones(9, chunks=3))


def test_no_rows():
    with pytest.raises(ValueError, match="y_pred must have at least one row; found 0 in 2 partitions"):
        read_partitions(y_pred=da.from_array(np.ones(0), chunks=((0, 0),)))


def test_rows_in_memory_are_told_where_to_go():
    with pytest.raises(TypeError, match="y_pred must be a Dask DataFrame, Series or Array; found a ndarray"):
        read_partitions(y_pred=np.ones(3))


def test_an_error_names_the_partition():
    def fail_at_six(block):
        if 6 in block["u"]:
            raise ValueError("six")

    rows = read_partitions(u=da.arange(10, chunks=4))
    with pytest.raises(ValueError, match=r"^partition 1 \(rows 4 to 7\): six"):
        rows.compute(fail_at_six)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 65])
def test_sums_of_any_number_of_parts(n):
    task = dask.delayed(lambda k: (np.array([k, 1]), 2.0 * k))
    array, number = tree_sum([task(k) for k in range(n)]).compute()
    assert array.tolist() == [n * (n - 1) // 2, n]
    assert number == n * (n - 1)


def test_profiles_of_all_partitions():
    people = pd.DataFrame({"g": list("ffmmxx"), "age": [1, 2, 1, 2, 1, 1]})
    weights = np.array([1.0, 2.0, 3.0, 4.0, 0.0, 0.0])
    # A category that one partition alone has, one that has no weight, and dtypes that differ.
    parts = [people.iloc[:3], people.iloc[3:].astype({"g": "category", "age": float})]
    collection = dd.from_delayed([dask.delayed(part) for part in parts], meta=people.iloc[:0], verify_meta=False)
    rows = read_partitions(sensitive_features=collection, sample_weight=da.from_array(weights, chunks=4))
    profiles = find_profiles(rows)
    found = dict(zip(zip(profiles.frame["g"], profiles.frame["age"], strict=True), profiles.weights, strict=True))
    assert found == {("f", 1): 1, ("f", 2): 2, ("m", 1): 3, ("m", 2): 4}
    assert profiles.n_rows.tolist() == [1, 1, 1, 1]
    assert list(profiles.frame["g"].cat.categories) == ["m", "x", "f"]
    assert profiles.codes_of(people).tolist()[-2:] == [-1, -1]
    assert profiles.frame.iloc[profiles.codes_of(people)[:4]]["g"].tolist() == list("ffmm")


def test_attributes_of_other_columns_or_types():
    people = pd.DataFrame({"g": list("ffmm")})

    def of(second):
        parts = [dask.delayed(people), dask.delayed(second)]
        collection = dd.from_delayed(parts, meta=people.iloc[:0], verify_meta=False)
        return find_profiles(read_partitions(sensitive_features=collection))

    with pytest.raises(ValueError, match=r"same columns everywhere; found \['g'\] in partition 0 .* and \['h'\] in p"):
        of(people.rename(columns={"g": "h"}))
    with pytest.raises(ValueError, match=r"^partition 1 \(rows 4 to 7\): sensitive_features column 'g' has 1 missing"):
        of(pd.DataFrame({"g": ["f", None, "m", "m"]}))
    with pytest.raises(TypeError, match="mixes types"):
        of(pd.DataFrame({"g": [1, 2, 3, 4]}))
