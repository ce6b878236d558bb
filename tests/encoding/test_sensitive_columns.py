"""Protected attributes that come as columns of X: what is read, what is left as features, what is refused."""

import numpy as np
import pandas as pd
import pytest

from fairdcov.encoding import drop_sensitive_columns, read_sensitive_columns

polars = pytest.importorskip("polars")


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    """Features with two protected columns among them."""
    columns = {"age": [20, 30, 40], "power": [1.0, 2.0, 3.0], "sex": ["f", "m", "f"], "density": [5.0, 6.0, 7.0]}
    return pd.DataFrame(columns) if request.param == "pandas" else polars.DataFrame(columns)


@pytest.fixture
def array():
    return np.arange(12.0).reshape(3, 4)


def test_without_names_everything_stays_as_it_is(frame, array):
    for X in (frame, array, [[1, 2], [3, 4]]):
        attributes = object()
        found = read_sensitive_columns(X, attributes, None)
        assert found[0] is X
        assert found[1] is attributes
        assert drop_sensitive_columns(X, None, 2) is X


@pytest.mark.parametrize("drop", [True, False])
def test_columns_of_a_frame_in_the_order_asked_for(frame, drop):
    X, sensitive = read_sensitive_columns(frame, None, ["sex", "age"], drop=drop)
    assert type(X) is type(sensitive) is type(frame)
    assert list(X.columns) == (["power", "density"] if drop else list(frame.columns))
    assert list(sensitive.columns) == ["sex", "age"]
    assert list(sensitive["age"]) == [20, 30, 40]


def test_one_name_stands_for_a_list_of_one(frame):
    X, sensitive = read_sensitive_columns(frame, None, "sex")
    assert list(sensitive.columns) == ["sex"]
    assert "sex" not in X.columns


@pytest.mark.parametrize("drop", [True, False])
def test_columns_of_an_array_by_position(array, drop):
    X, sensitive = read_sensitive_columns(array, None, [3, 0], drop=drop)
    np.testing.assert_array_equal(sensitive, array[:, [3, 0]])
    np.testing.assert_array_equal(X, array[:, [1, 2]] if drop else array)


def test_a_list_of_rows_is_an_array(array):
    X, sensitive = read_sensitive_columns(array.tolist(), None, [1])
    np.testing.assert_array_equal(X, np.delete(array, 1, axis=1))
    np.testing.assert_array_equal(sensitive, array[:, [1]])


def test_attributes_come_from_one_place(frame):
    with pytest.raises(ValueError, match="use one of the two"):
        read_sensitive_columns(frame, frame, ["sex"])


def test_a_column_that_is_not_there_is_named_with_the_nearest(frame):
    with pytest.raises(
        ValueError, match="sensitive_columns names 'sexe', which is not a column of X; did you mean 'sex'"
    ):
        read_sensitive_columns(frame, None, ["age", "sexe"])
    with pytest.raises(ValueError, match=r"names 'zzz', which is not a column of X$"):
        read_sensitive_columns(frame, None, ["zzz"])


def test_names_need_a_frame(array):
    with pytest.raises(ValueError, match=r"sensitive_columns='sex' needs X as a DataFrame; found ndarray"):
        read_sensitive_columns(array, None, "sex")


@pytest.mark.parametrize("names", [[4], [-1], [0.0], [0, 4]])
def test_positions_lie_within_the_array(array, names):
    with pytest.raises(ValueError, match=r"are not column positions of X with shape \(3, 4\)"):
        read_sensitive_columns(array, None, names)


def test_rows_of_one_number_have_no_columns():
    with pytest.raises(ValueError, match=r"are not column positions of X with shape \(3,\)"):
        read_sensitive_columns(np.arange(3.0), None, [0])


def test_a_prediction_needs_no_protected_columns_and_minds_none(frame, array):
    for present in (["age", "sex"], ["sex"], []):
        X = frame[["power", "density", *present]]
        assert list(drop_sensitive_columns(X, ["age", "sex"], 2).columns) == ["power", "density"]
    np.testing.assert_array_equal(drop_sensitive_columns(array, [3, 0], 2), array[:, [1, 2]])
    without = array[:, [1, 2]]
    assert drop_sensitive_columns(without, [3, 0], 2) is without
