"""Every check of user input: what it returns for good input, and the message it raises for bad input."""

import os
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from fairdcov._checks._validation import (
    check_choice,
    check_consistent_rows,
    check_finite_matrix,
    check_finite_vector,
    check_positive_number,
    check_sample_weight,
    check_whole_number,
    resolve_n_threads,
)


def message(text):
    return "^" + re.escape(text)


def test_check_choice():
    assert check_choice("u", "statistic", ("u", "v")) == "u"
    for value in ("w", "U", "", None, 1, ["u"], np.array(["u", "v"])):
        with pytest.raises(ValueError, match=message(f"statistic must be one of 'u', 'v'; found {value!r}")):
            check_choice(value, "statistic", ("u", "v"))


def test_check_whole_number():
    for value in (1, np.int64(1)):
        found = check_whole_number(value, "n")
        assert (found, type(found)) == (1, int)
    assert check_whole_number(0, "n", 0) == 0
    for value in (True, np.True_, 0, -3, 1.0, "2", None, np.nan, [1]):
        with pytest.raises(ValueError, match=message(f"n must be a whole number >= 1; found {value!r}")):
            check_whole_number(value, "n")
    with pytest.raises(ValueError, match=message("n must be a whole number >= 3; found 2")):
        check_whole_number(2, "n", 3)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int64(3), 1e-300])
def test_check_positive_number(value):
    checked = check_positive_number(value, "c")
    assert checked == value
    assert type(checked) is float


@pytest.mark.parametrize("value", [-1, -1e-300, np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_positive(value):
    for allow_zero, wanted in ((False, "> 0"), (True, ">= 0")):
        with pytest.raises(ValueError, match=message(f"c must be a finite number {wanted}; found {float(value)!r}")):
            check_positive_number(value, "c", allow_zero=allow_zero)


def test_zero_is_allowed_where_it_says_so():
    assert check_positive_number(0, "c", allow_zero=True) == 0.0
    with pytest.raises(ValueError, match=message("c must be a finite number > 0; found 0.0")):
        check_positive_number(0, "c")


@pytest.mark.parametrize("value", ["1", None, True, np.True_, [1], 1j, np.ones(2)], ids=repr)
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match=message(f"c must be a number; found {value!r} of type {type(value).__name__}")):
        check_positive_number(value, "c")


VECTORS = {
    "list": [1, 2, 3],
    "tuple of floats": (1.0, 2.0, 3.0),
    "integers": np.array([1, 2, 3], dtype=np.uint8),
    "column": np.array([[1.0], [2.0], [3.0]]),
    "strided": np.arange(1.0, 4.0, 0.5)[::2],
    "float32": np.array([1, 2, 3], dtype=np.float32),
    "objects": np.array([1, 2.0, np.int64(3)], dtype=object),
    "series": pd.Series([1, 2, 3], index=[3, 2, 1]),
    "nullable series": pd.Series([1, 2, 3], dtype="Int64"),
}


@pytest.mark.parametrize("values", VECTORS.values(), ids=VECTORS)
def test_check_finite_vector(values):
    vector = check_finite_vector(values, "u")
    assert_array_equal(vector, [1.0, 2.0, 3.0])
    assert vector.dtype == np.float64
    assert vector.shape == (3,)
    assert vector.flags.c_contiguous


@pytest.mark.parametrize("values", VECTORS.values(), ids=VECTORS)
def test_check_finite_matrix(values):
    matrix = check_finite_matrix(values, "block 1")
    assert_array_equal(matrix, [[1.0], [2.0], [3.0]])
    assert matrix.dtype == np.float64


def test_matrices_keep_their_shape():
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": [True, False]})
    assert_array_equal(check_finite_matrix(frame, "S"), [[1, 0.5, 1], [2, 1.5, 0]])
    assert check_finite_matrix(np.empty((0, 2)), "S").shape == (0, 2)
    assert check_finite_vector([], "u").shape == (0,)


NOT_NUMERIC = {
    "words": ["a", "b"],
    "digits": ["1", "2"],
    "bytes": [b"1", b"2"],
    "one word among numbers": np.array([1.0, "2"], dtype=object),
    "text series": pd.Series(["1", "2"]),
    "string series": pd.Series(["1", "2"], dtype="string"),
    "dates": np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
    "date series": pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
    "durations": np.array([1, 2], dtype="timedelta64[s]"),
    "complex": [1 + 1j, 2],
    "categories": pd.Series(["a", "b"], dtype="category"),
    "objects": [object(), object()],
    "rows of different lengths": [[1], [1, 2]],
    "dictionary": {"a": 1},
}


@pytest.mark.parametrize("values", NOT_NUMERIC.values(), ids=NOT_NUMERIC)
def test_what_is_not_numeric(values):
    """NumPy would convert digits, dates and some more without a word: levels must not become quantities that way."""
    with pytest.raises(ValueError, match=message("u must be numeric; it could not be converted to floats: ")):
        check_finite_vector(values, "u")
    advice = "block 1 must be numeric; encode categories first, for example with fairdcov.SensitiveEncoder: "
    with pytest.raises(ValueError, match=message(advice)):
        check_finite_matrix(values, "block 1")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.0, np.nan, np.nan], "2 NaN"),
        ([np.inf, 1.0, -np.inf], "2 infinite values"),
        ([np.inf, np.nan, 1.0], "1 NaN and 1 infinite values"),
        (pd.Series([1.0, None, 2.0]), "1 NaN"),
        (pd.array([1.0, None, 2.0], dtype="Float64"), None),
    ],
)
def test_what_is_not_finite(values, found):
    for check in (check_finite_vector, check_finite_matrix):
        with pytest.raises(ValueError, match=message(f"u must be finite; found {found}") if found else "^u must be "):
            check(values, "u")


@pytest.mark.parametrize("shape", [(), (3, 2), (3, 0), (3, 1, 1)], ids=str)
def test_vectors_of_the_wrong_shape(shape):
    with pytest.raises(ValueError, match=message(f"u must have one dimension, (n,); found shape {shape}")):
        check_finite_vector(np.ones(shape), "u")


@pytest.mark.parametrize("shape", [(), (3, 0), (3, 1, 1)], ids=str)
def test_matrices_of_the_wrong_shape(shape):
    expected = f"S must have shape (n,) or (n, q) with q >= 1; found shape {shape}"
    with pytest.raises(ValueError, match=message(expected)):
        check_finite_matrix(np.ones(shape), "S")


def test_check_consistent_rows():
    check_consistent_rows(3, [1, 2, 3], "S")
    with pytest.raises(ValueError, match=message("S must have as many rows as X: found 2 instead of 3")):
        check_consistent_rows(3, [1, 2], "S")
    with pytest.raises(ValueError, match=message("S must have as many rows as y_pred: found 4 instead of 3")):
        check_consistent_rows(3, np.ones((4, 2)), "S", reference="y_pred")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [1, 1, 1]),
        (2, [2, 2, 2]),
        (np.float32(0.5), [0.5, 0.5, 0.5]),
        ([1, 0, 2], [1, 0, 2]),
        (pd.Series([1, 2, 3], index=[9, 8, 7]), [1, 2, 3]),
        (np.array([1, 2, 3], dtype=np.int8)[::-1], [3, 2, 1]),
        ([1e-150, 0, 5e-324], [1e-150, 0, 5e-324]),
    ],
    ids=str,
)
def test_check_sample_weight(weights, expected):
    checked = check_sample_weight(weights, 3)
    assert_array_equal(checked, expected)
    assert checked.dtype == np.float64
    assert checked.flags.c_contiguous


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1, 2], "exposure must have as many rows as S: found 2 instead of 3"),
        ([1, -1, -2], "exposure must not be negative; found 2 negative values"),
        (-1.0, "exposure must not be negative; found 3 negative values"),
        ([0, 0, 0], "exposure must not be all zero: no row would count"),
        (0, "exposure must not be all zero: no row would count"),
        ([1, np.nan, 1], "exposure must be finite; found 1 NaN"),
        (np.inf, "exposure must be finite; found 3 infinite values"),
        (["1", "2", "3"], "exposure must be numeric; it could not be converted to floats"),
        ([[1], [2], [3]], "Sample weights must be 1D array or scalar; exposure has 2 dimensions"),
        (
            [1e306] * 3,
            "exposure must have a sum between 1e-150 and 1e+150; found 3e+306, with a largest value of 1e+306",
        ),
        ([1e308] * 3, "exposure must have a sum between 1e-150 and 1e+150; found inf, with a largest value of 1e+308"),
        ([5e-324, 0, 0], "exposure must have a sum between 1e-150 and 1e+150; found 4.94066e-324"),
        ("balanced", "Sample weights must be 1D array or scalar; exposure has 0 dimensions"),
    ],
    ids=str,
)
def test_weights_that_are_none(weights, expected):
    with pytest.raises(ValueError, match=message(expected)):
        check_sample_weight(weights, 3, name="exposure", reference="S")


@pytest.fixture
def processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def test_threads_asked_for(processors):
    assert resolve_n_threads(3) == 3
    assert resolve_n_threads(np.int64(2)) == 2
    assert resolve_n_threads(-1) == processors
    assert resolve_n_threads(-processors) == 1
    assert resolve_n_threads(-1000) == 1
    assert resolve_n_threads(10**9) == 1024


@pytest.mark.parametrize("n_threads", [0, 1.0, "2", True, np.True_], ids=repr)
def test_threads_that_cannot_be(n_threads):
    expected = f"n_threads must be None or a whole number other than 0; found {n_threads!r}"
    with pytest.raises(ValueError, match=message(expected)):
        resolve_n_threads(n_threads)


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("3", 3),
        ("100000", 1024),
        (" 5 ", 5),
        ("4,2,1", 4),
        (None, "all"),
        ("", "all"),
        ("0", "all"),
        ("many", "all"),
        ("-2", "all"),
    ],
)
def test_threads_of_the_environment(variable, expected, monkeypatch, processors):
    """OMP_NUM_THREADS may hold a list, one number for each level of nesting, and OpenMP ignores what makes no sense."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert resolve_n_threads(None) == (processors if expected == "all" else expected)
