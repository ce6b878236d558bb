"""Which level a value is in, at every end of a range; categories in one cell and back."""

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fairdcov.actuarial._distillation import _short_edges
from fairdcov.actuarial._rating_levels import CategoryLevels, NumberLevels, join_categories, split_categories


def column(values, name="age"):
    return nw.from_native(pd.Series(values, name=name), series_only=True)


def test_ranges_contain_their_lower_end():
    levels = NumberLevels.of_ranges("age", [0, 10], [10, 20], False)
    values = column([-1, 0, 9.99, 10, 20, 21, np.nan, np.inf])
    assert levels.labels == ("[0, 10)", "[10, 20]")
    assert levels.codes(values).tolist() == [-1, 0, 0, 1, 1, -1, -1, -1]
    assert levels.codes(values, nearest=True).tolist() == [0, 0, 0, 1, 1, 1, -1, 1]


def test_single_values_and_missing_ones():
    levels = NumberLevels.of_ranges("age", [18, 20, 25], [18, 20, 25], True)
    values = column([17, 18, 19, 22, 23, 25, 26, np.nan])
    assert levels.labels == ("18", "20", "25", "(missing)")
    assert levels.codes(values).tolist() == [-1, 0, -1, -1, -1, 2, -1, 3]
    assert levels.codes(values, nearest=True).tolist() == [0, 0, 0, 1, 2, 2, 2, 3]
    assert len(levels) == 4


def test_merged_ranges():
    levels = NumberLevels.of_ranges("age", [18, 19, 20], [19, 20, 20], True, np.array([18.0, 19.0, 20.0]))
    assert levels.labels == ("18", "19", "20", "(missing)")
    merged = levels.merged([0, 0, 1, 2])
    assert merged.labels == ("[18, 20)", "20", "(missing)")
    assert merged.codes(column([18, 19.5, 20, None])).tolist() == [0, 0, 1, 2]


def test_numbers_as_text_are_refused():
    levels = NumberLevels.of_ranges("age", [0, 10], [10, 20], False)
    assert levels.codes(column(["3", "12"])).tolist() == [0, 1]
    with pytest.raises(TypeError, match="text or categories in column 'age', which the table rates by its numbers"):
        levels.codes(column(["young", "old"]))


def test_categories():
    levels = CategoryLevels("fuel", (("a", "b"), ("(missing)",)))
    assert levels.codes(column(["b", "a", "c", None], "fuel")).tolist() == [0, 0, -1, 1]
    assert CategoryLevels("fuel", (("1",), ("2",))).codes(column([2, 1, 3], "fuel")).tolist() == [1, 0, -1]


@given(st.lists(st.text(alphabet="ab |\\\n", max_size=5), min_size=1, max_size=4))
def test_categories_in_a_cell_and_back(categories):
    assert split_categories(join_categories(categories)) == tuple(categories)


@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=40, unique=True))
@example([0.0, 1.1e-308])
def test_short_ends_contain_all(values):
    edges = np.sort(np.array(values))
    short = _short_edges(edges)
    assert len(short) == len(edges)
    assert (np.diff(short) > 0).all()
    assert short[0] <= edges[0]
    assert short[-1] >= edges[-1]
