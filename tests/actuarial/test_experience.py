"""one_way and balance_table: equal to a groupby by hand, intervals of scipy, missing values, names, weights."""

from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from scipy.optimize import brentq
from scipy.stats import poisson

from fairdcov.actuarial import balance_table, one_way
from fairdcov.exceptions import SensitiveFeaturesWarning


def by_hand(book, keys):
    """The definition: totals of each level in pandas."""
    counted = book[book["exposure"] > 0]
    columns = pd.DataFrame(
        {
            "rows": 1,
            "exposure": counted["exposure"],
            "observed": counted["exposure"] * counted["y_true"],
            "predicted": counted["exposure"] * counted["y_pred"],
            "baseline": counted["exposure"] * counted["baseline"],
        }
    )
    return columns.groupby(keys[counted.index], observed=True).sum()


def level_of_each_row(book):
    bounds = np.quantile(
        book.loc[book["exposure"] > 0, "age"],
        np.linspace(0, 1, 5),
        weights=book.loc[book["exposure"] > 0, "exposure"],
        method="inverted_cdf",
    )
    bounds[[0, -1]] = -np.inf, np.inf
    return {
        "fuel": book["fuel"],
        "area": book["area"].fillna("(missing)"),
        "doors": book["doors"],
        "age": pd.Series(np.searchsorted(bounds, book["age"], side="right"), index=book.index),
    }


def test_one_way_is_the_groupby(book, arguments):
    y_true, y_pred, features, weights = arguments
    table = one_way(y_true, y_pred, features, baseline=book["baseline"], bins=4, **weights)
    keys = level_of_each_row(book)
    assert table["factor"].drop_duplicates().tolist() == list(keys)
    for name, part in table.groupby("factor", sort=False):
        expected = by_hand(book, keys[name])
        assert part["level"].tolist()[-1] == ("(missing)" if name == "area" else part["level"].tolist()[-1])
        if name != "age":
            expected = expected.loc[part["level"].tolist()]
        assert len(part) == len(expected)
        assert part["rows"].tolist() == expected["rows"].tolist()
        assert_allclose(part["exposure"], expected["exposure"])
        assert_allclose(part["share"], expected["exposure"] / book["exposure"].sum())
        for column in ("observed", "predicted", "baseline"):
            assert_allclose(part[column], expected[column] / expected["exposure"])
        assert_allclose(part["actual_to_expected"], expected["observed"] / expected["predicted"])
        assert_allclose(part["actual_to_baseline"], expected["observed"] / expected["baseline"])
        assert_allclose(part["share"].sum(), 1.0)
    # levels in their natural order, the bins too
    assert table.loc[table["factor"] == "fuel", "level"].tolist() == ["<script>", "=SUM(A1)", "diesel"]
    assert table.loc[table["factor"] == "area", "level"].tolist() == ["country", "town", "(missing)"]
    bins = table.loc[table["factor"] == "age", "level"].tolist()
    assert all(isinstance(level, pd.Interval) for level in bins)
    assert all(a.right == b.left for a, b in pairwise(bins))
    assert_allclose(table.loc[table["factor"] == "age", "share"], 0.25, atol=0.01)


def test_poisson_interval_holds_the_means_that_the_count_does_not_contradict(arguments):
    y_true, y_pred, features, weights = arguments
    table = one_way(y_true, y_pred, features[["fuel"]], confidence=0.9, **weights)
    assert table.attrs["interval"] == "poisson"
    expected = table["exposure"] * table["predicted"]
    claims = (table["exposure"] * table["observed"]).round().astype(int)
    for row in range(3):
        low = brentq(lambda mean, c=claims[row]: poisson.sf(c - 1, mean) - 0.05, 1e-9, 1e4)
        high = brentq(lambda mean, c=claims[row]: poisson.cdf(c, mean) - 0.05, 1e-9, 1e4)
        assert_allclose(table[["lower", "upper"]].iloc[row], [low / expected[row], high / expected[row]], rtol=1e-8)


def test_normal_interval_is_the_linearised_ratio(book, arguments):
    _, y_pred, features, weights = arguments
    amounts = book["y_true"] * 1234.5
    table = one_way(amounts, y_pred * 1234.5, features[["fuel"]], **weights)
    assert table.attrs["interval"] == "normal"
    for _, row in table.iterrows():
        part = book[(book["fuel"] == row["level"]) & (book["exposure"] > 0)]
        observed, predicted = (1234.5 * part["exposure"] * part[name] for name in ("y_true", "y_pred"))
        ratio = observed.sum() / predicted.sum()
        residuals = observed - ratio * predicted
        error = np.sqrt(len(part) * residuals.var(ddof=1)) / predicted.sum()
        assert_allclose([row["lower"], row["upper"]], ratio + np.array([-1, 1]) * 1.959964 * error, rtol=1e-6)
    with pytest.raises(ValueError, match="interval='poisson' needs counts"):
        one_way(amounts, y_pred, features, interval="poisson", **weights)


def test_normal_interval_covers_as_it_says(rng):
    hits = 0
    for _ in range(400):
        exposure = rng.uniform(0.2, 1.0, 300)
        cost = rng.gamma(2.0, 500.0, 300)
        table = one_way(cost, np.full(300, 800.0), np.zeros(300), sample_weight=exposure, confidence=0.8)
        hits += table["lower"].item() <= 1000 / 800 <= table["upper"].item()
    # four standard errors
    assert abs(hits / 400 - 0.8) < 0.08


def test_groups_with_no_claims_and_nothing_expected():
    features = {"level": ["none", "none", "some", "zero", "zero"]}
    y_true, y_pred = [0, 0, 1, 0, 0], [1.0, 2.0, 1.0, 0.0, 0.0]
    table = one_way(y_true, y_pred, features).set_index("level")
    assert table.loc["none", "actual_to_expected"] == table.loc["none", "lower"] == 0
    assert_allclose(table.loc["none", "upper"], -np.log(0.025) / 3)
    assert table.loc["zero", ["actual_to_expected", "lower", "upper"]].isna().all()
    assert table.loc["zero", ["observed", "predicted"]].tolist() == [0, 0]
    normal = one_way(y_true, y_pred, features, interval="normal").set_index("level")
    assert normal.loc["some", ["lower", "upper"]].isna().all()  # a single row has no spread
    assert normal.attrs["interval"] == "normal"
    assert one_way([0.0, 0.0], [1.0, 1.0], ["a", "b"])["observed"].tolist() == [0, 0]


def test_exposure_is_repetition(rng, book):
    counts = rng.integers(0, 4, len(book))
    repeated = book.loc[book.index.repeat(counts)].reset_index(drop=True)
    options = {"bins": {"age": [0, 30, 60, 100]}, "interval": "normal"}
    names = ["fuel", "area", "doors", "age"]
    one = one_way(book["y_true"], book["y_pred"], book[names], sample_weight=counts, **options)
    other = one_way(repeated["y_true"], repeated["y_pred"], repeated[names], **options)
    # the number of rows differs, and with it what is known about the spread
    shared = ["factor", "level", "exposure", "share", "observed", "predicted", "actual_to_expected"]
    assert_frame_equal(one[shared], other[shared])
    whole = balance_table(book["y_true"], book["y_pred"], sample_weight=counts)
    assert_allclose(whole["observed_total"], repeated["y_true"].sum())


def test_rows_of_zero_exposure_are_absent(book, arguments):
    y_true, y_pred, features, weights = arguments
    spoilt = features.copy()
    spoilt.loc[book["exposure"] == 0, "fuel"] = "only without exposure"
    spoilt.loc[book["exposure"] == 0, "age"] = 1e6
    counted = book["exposure"] > 0
    expected = one_way(
        y_true[counted], y_pred[counted], features[counted], sample_weight=weights["sample_weight"][counted]
    )
    assert_frame_equal(one_way(y_true, y_pred, spoilt, **weights), expected)
    with pytest.raises(ValueError, match="sample_weight must not be all zero"):
        one_way(y_true, y_pred, features, sample_weight=np.zeros(len(book)))


def test_order_of_the_rows_does_not_matter(rng, book, arguments):
    y_true, y_pred, features, weights = arguments
    order = rng.permutation(len(book))
    shuffled = [part.iloc[order] for part in (y_true, y_pred, features, weights["sample_weight"])]
    for function in (one_way, balance_table):
        table = function(y_true, y_pred, features, **weights)
        assert_frame_equal(function(*shuffled[:3], sample_weight=shuffled[3]), table)


@pytest.mark.parametrize("function", [one_way, balance_table])
def test_frames_arrays_and_dicts(book, arguments, function):
    pytest.importorskip("pyarrow")  # polars asks for it
    y_true, y_pred, features, weights = arguments
    expected = function(y_true, y_pred, features, **weights)
    from_polars = function(
        pl.Series(y_true.to_numpy()),
        pl.Series(y_pred.to_numpy()),
        pl.from_pandas(features),
        sample_weight=pl.Series(weights["sample_weight"].to_numpy()),
    )
    assert isinstance(from_polars, pd.DataFrame)
    assert_frame_equal(from_polars, expected)
    columns = {name: features[name].tolist() for name in features}
    assert_frame_equal(function(y_true.tolist(), y_pred.tolist(), columns, **weights), expected)
    other_index = features.set_axis(np.arange(len(book))[::-1], axis=0)
    with pytest.warns(SensitiveFeaturesWarning, match="matched by position"):
        assert_frame_equal(function(y_true, y_pred, other_index, **weights), expected)
    array = function(y_true.to_numpy(), y_pred.to_numpy(), features.to_numpy(dtype=object), **weights)
    assert_frame_equal(array.drop(columns="factor"), expected.drop(columns="factor"))
    names = ["x0", "x1", "x2", "x3"] if function is one_way else ["all rows", "x0", "x1", "x2", "x3"]
    assert array["factor"].drop_duplicates().tolist() == names


def test_missing_values_of_any_kind(rng):
    y = np.ones(40)
    columns = {
        "float": np.where(np.arange(40) < 10, np.nan, rng.uniform(0, 1, 40)),
        "text": pd.Series(["a", None, "b", np.nan] * 10, dtype=object),
        "category": pd.Categorical(["a", None, "b", "b"] * 10, categories=["b", "a", "never"]),
        "integer": pd.array([1, None, 2, 3] * 10, dtype="Int64"),
        "bool": pd.array([True, None, False, False] * 10, dtype="boolean"),
        "all": [None] * 40,
    }
    table = one_way(y, y, pd.DataFrame(columns), bins=3)
    missing = table[table["level"].astype(str) == "(missing)"].set_index("factor")["rows"]
    assert missing.to_dict() == {"float": 10, "text": 20, "category": 10, "integer": 10, "bool": 10, "all": 40}
    assert (table.groupby("factor")["rows"].sum() == 40).all()
    # the order of a category is its own, levels that never occur do not count
    assert table.loc[table["factor"] == "category", "level"].tolist() == ["b", "a", "(missing)"]
    in_polars = pl.DataFrame({"float": [1.0, float("nan"), None, 2.0]})
    table = one_way(y[:4], y[:4], in_polars)
    assert table["level"].tolist() == [1.0, 2.0, "(missing)"]
    assert table["rows"].tolist() == [1, 1, 2]
    table = one_way(y[:3], y[:3], {"x": ["(missing)", None, "z"]})
    assert table.set_index("level")["rows"].to_dict() == {"(missing)": 2, "z": 1}


def test_bins_as_asked(book, arguments):
    y_true, y_pred, features, weights = arguments
    table = one_way(y_true, y_pred, features[["age"]], bins={"age": [0, 25, 60, np.inf]}, **weights)
    assert table["level"].astype(str).tolist() == ["[0.0, 25.0)", "[25.0, 60.0)", "[60.0, inf]"]
    counted = book[book["exposure"] > 0]
    cut = pd.cut(counted["age"], [0, 25, 60, np.inf], right=False)
    assert table["rows"].tolist() == cut.value_counts(sort=False).tolist()
    every = one_way(y_true, y_pred, features[["age"]], bins={"age": None}, **weights)
    assert len(every) == counted["age"].nunique()
    assert len(one_way(y_true, y_pred, features[["doors"]], **weights)) == 4  # a few numbers are levels
    assert len(one_way(y_true, y_pred, features[["doors"]], bins={"doors": 2}, **weights)) == 2


def test_balance_table_has_the_totals(book, arguments):
    y_true, y_pred, features, weights = arguments
    table = balance_table(y_true, y_pred, features[["fuel", "area"]], **weights)
    whole = table.iloc[0]
    assert whole[["factor", "level"]].tolist() == ["all rows", "all rows"]
    assert_allclose(whole["observed_total"], book["claims"].sum())
    assert_allclose(whole["predicted_total"], (y_pred * book["exposure"]).sum())
    assert_allclose(table["difference"], table["predicted_total"] - table["observed_total"])
    assert_allclose(table["actual_to_expected"], table["observed_total"] / table["predicted_total"])
    totals = ["rows", "exposure", "share", "observed_total", "predicted_total", "difference"]
    for _, part in table.iloc[1:].groupby("factor"):
        assert_allclose(part[totals].sum(), whole[totals].astype(float), rtol=1e-9)
    intervals = ["actual_to_expected", "lower", "upper"]
    one = one_way(y_true, y_pred, features[["fuel", "area"]], **weights)
    assert_allclose(table.iloc[1:][intervals], one[intervals])
    alone = balance_table(y_true, y_pred, **weights)
    assert_frame_equal(alone, table.iloc[:1], check_dtype=False)


def test_bad_input_is_named(arguments):
    y_true, y_pred, features, weights = arguments
    with pytest.raises(ValueError, match="bins names 'aeg', which is not a column; did you mean 'age'"):
        one_way(y_true, y_pred, features, bins={"aeg": 3})
    with pytest.raises(ValueError, match=r"bins for 'age' leave out \d+ value"):
        one_way(y_true, y_pred, features, bins={"age": [30, 40]})
    with pytest.raises(TypeError, match="bins names 'fuel', which holds categories"):
        one_way(y_true, y_pred, features, bins={"fuel": 3})
    with pytest.raises(TypeError, match="bins must be a whole number"):
        one_way(y_true, y_pred, features, bins="ten")
    with pytest.raises(ValueError, match="bins for 'age' must be at least 1; found 0"):
        one_way(y_true, y_pred, features, bins={"age": 0})
    with pytest.raises(ValueError, match="bins for 'age' must be at least two increasing edges"):
        one_way(y_true, y_pred, features, bins={"age": [60, 20]})
    doubled = pd.concat([features["fuel"], features["fuel"]], axis=1)
    with pytest.raises(ValueError, match="features must have distinct column names"):
        one_way(y_true, y_pred, doubled)
    with pytest.raises(ValueError, match="sensitive_features must have distinct column names"):
        balance_table(y_true, y_pred, doubled)
    with pytest.raises(ValueError, match="features must have as many rows as y_pred: found 3 instead of 1200"):
        one_way(y_true, y_pred, features[:3])
    with pytest.raises(ValueError, match="y_true must have as many rows as y_pred"):
        one_way(y_true[:5], y_pred, features)
    with pytest.raises(ValueError, match="y_pred must be finite; found 1200 NaN"):
        one_way(y_true, y_pred * np.nan, features)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        one_way(y_true, y_pred, features, confidence=95)
    with pytest.raises(ValueError, match="interval must be one of"):
        one_way(y_true, y_pred, features, interval="exact")
    with pytest.raises(ValueError, match="y_pred must have at least one row"):
        one_way([], [], features[:0])
    with pytest.raises(TypeError, match="features column 'x' holds dates"):
        one_way(y_true, y_pred, {"x": pd.date_range("2024", periods=1200)}, **weights)


def test_column_names_that_are_numbers(arguments):
    y_true, y_pred, factors, weights = arguments
    # 1 is the name of the first column and the position of the second
    table = one_way(y_true, y_pred, factors[["fuel", "doors"]].set_axis([1, 0], axis="columns"), **weights)
    expected = one_way(y_true, y_pred, factors[["fuel", "doors"]].set_axis(["1", "0"], axis="columns"), **weights)
    assert_frame_equal(table, expected)
    with pytest.raises(ValueError, match="features must have distinct column names"):
        one_way(y_true, y_pred, factors[["fuel", "doors"]].set_axis([1, "1"], axis="columns"), **weights)
