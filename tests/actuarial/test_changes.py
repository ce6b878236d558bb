"""premium_changes, premium_change_by_group and largest_dislocations: shares, quantiles and rows by hand."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from fairdcov.actuarial import largest_dislocations, premium_change_by_group, premium_changes

COLUMNS = ["fuel", "doors"]


def by_hand(part):
    """The columns of one level, by their definitions."""
    weight, change = part["exposure"], part["y_pred"] / part["baseline"] - 1
    after, before = (float((weight * part[name]).sum()) for name in ("y_pred", "baseline"))
    values = {
        "rows": len(part),
        "exposure": weight.sum(),
        "premium_before": before,
        "premium_after": after,
        "change": after / before - 1,
        "mean_change": np.average(change, weights=weight),
        "share_up": weight[change > 0].sum() / weight.sum(),
        "share_down": weight[change < 0].sum() / weight.sum(),
    }
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    quantiles = np.quantile(change, levels, weights=weight, method="inverted_cdf")
    values |= {f"quantile_{100 * q:g}": value for q, value in zip(levels, quantiles, strict=True)}
    for percent in (5, 10, 20):
        values[f"share_up_over_{percent}%"] = weight[change > percent / 100].sum() / weight.sum()
        values[f"share_down_over_{percent}%"] = weight[change < -percent / 100].sum() / weight.sum()
    return values


def test_one_attribute_at_a_time(book):
    table = premium_changes(book["y_pred"], book["baseline"], book[COLUMNS], sample_weight=book["exposure"])
    counted = book[book["exposure"] > 0]
    assert table.loc[0, ["factor", "level"]].tolist() == ["all rows", "all rows"]
    for _, row in table.iterrows():
        part = counted if row["factor"] == "all rows" else counted[counted[row["factor"]] == row["level"]]
        for name, value in by_hand(part).items():
            assert_allclose(row[name], value, rtol=1e-9, err_msg=f"{row['level']} {name}")
        assert_allclose(row["share"], row["exposure"] / counted["exposure"].sum())
    assert_allclose(table.groupby("factor")["share"].sum(), 1.0)
    assert_allclose(table.iloc[1:].groupby("factor")["premium_after"].sum(), table.loc[0, "premium_after"])
    alone = premium_changes(book["y_pred"], book["baseline"], sample_weight=book["exposure"])
    assert_frame_equal(alone, table.iloc[:1], check_dtype=False)


def test_intersectional_groups(book):
    table = premium_change_by_group(book["y_pred"], book["baseline"], book[COLUMNS], sample_weight=book["exposure"])
    assert table.index.names == COLUMNS
    counted = book[book["exposure"] > 0].groupby(COLUMNS)
    assert table.index.tolist() == list(counted.groups)
    for group, part in counted:
        for name, value in by_hand(part).items():
            assert_allclose(table.loc[group, name], value, rtol=1e-9, err_msg=f"{group} {name}")
    assert_allclose(table["share"].sum(), 1.0)


def test_groups_without_exposure_do_not_count(book, recwarn):
    other = book.copy()
    other.loc[other["exposure"] == 0, "fuel"] = "only without exposure"
    table = premium_change_by_group(other["y_pred"], other["baseline"], other[COLUMNS], sample_weight=book["exposure"])
    assert "only without exposure" not in table.index.get_level_values("fuel")
    assert len(recwarn) == 0


def test_age_in_bins(book):
    arguments = (book["y_pred"], book["baseline"], book[["age"]])
    with pytest.raises(ValueError, match=r"column 'age' is numeric .* pass bins="):
        premium_change_by_group(*arguments)
    edges = {"age": [0, 40, 100]}
    one, other = premium_changes(*arguments, bins=edges), premium_change_by_group(*arguments, bins=edges)
    assert_frame_equal(one.iloc[1:, 2:].reset_index(drop=True), other.reset_index(drop=True))
    assert len(premium_changes(*arguments)) == 11


def test_nobody_pays_more_or_less(book):
    same = book["baseline"] * 3 / 3
    table = premium_changes(same, book["baseline"], book[COLUMNS])
    assert (table.filter(like="share_") == 0).all(axis=None)
    assert_allclose(table[["change", "mean_change", "quantile_5", "quantile_95"]], 0, atol=1e-12)
    assert len(largest_dislocations(same, book["baseline"])) == 0
    # a constant change of exactly a threshold is not beyond it
    table = premium_changes(book["baseline"] * 1.1, book["baseline"])
    assert table[["share_up", "share_up_over_5%", "share_up_over_10%"]].iloc[0].tolist() == [1, 1, 0]


def test_exposure_is_repetition_and_order_does_not_matter(rng, book):
    counts = rng.integers(0, 4, len(book))
    repeated = book.loc[book.index.repeat(counts)]
    repeated = repeated.iloc[rng.permutation(len(repeated))]
    for function in (premium_changes, premium_change_by_group):
        one = function(book["y_pred"], book["baseline"], book[COLUMNS], sample_weight=counts)
        other = function(repeated["y_pred"], repeated["baseline"], repeated[COLUMNS])
        assert_frame_equal(one.drop(columns="rows"), other.drop(columns="rows"))


def test_polars_and_arrays(book):
    pytest.importorskip("pyarrow")  # polars asks for it
    arrays = book["y_pred"].to_numpy(), book["baseline"].to_numpy()
    for function in (premium_changes, premium_change_by_group):
        expected = function(book["y_pred"], book["baseline"], book[COLUMNS])
        assert_frame_equal(function(*map(pl.Series, arrays), pl.from_pandas(book[COLUMNS])), expected)
        assert_frame_equal(function(*arrays, {name: book[name].tolist() for name in COLUMNS}), expected)
    expected = largest_dislocations(book["y_pred"], book["baseline"], book[COLUMNS])
    shown = largest_dislocations(*map(pl.Series, arrays), pl.from_pandas(book[COLUMNS]))
    assert_frame_equal(shown, expected, check_dtype=False)


def test_quantiles_that_are_reached_up_to_rounding():
    # 20 rows of a tenth: their sums in floating point are a little off
    table = premium_changes(np.arange(101.0, 121.0), np.full(20, 100.0), sample_weight=np.full(20, 0.1))
    found = table.loc[0, [f"quantile_{q}" for q in (5, 25, 50, 75, 95)]].astype(float)
    assert_allclose(found, [0.01, 0.05, 0.10, 0.15, 0.19])


def test_thresholds_of_ones_own(book):
    table = premium_changes(book["y_pred"], book["baseline"], thresholds=[0.07, 0.5])
    change = book["y_pred"] / book["baseline"] - 1
    assert_allclose(table["share_up_over_7%"], (change > 0.07).mean())
    assert_allclose(table["share_down_over_50%"], (change < -0.5).mean())
    with pytest.raises(ValueError, match="thresholds must increase"):
        premium_changes(book["y_pred"], book["baseline"], thresholds=[0.2, 0.1])
    with pytest.raises(ValueError, match="thresholds must be a finite number > 0"):
        premium_changes(book["y_pred"], book["baseline"], thresholds=[-0.1])


@pytest.mark.parametrize("by", ["relative", "absolute"])
@pytest.mark.parametrize("direction", ["both", "up", "down"])
def test_largest_dislocations_by_hand(book, by, direction):
    table = largest_dislocations(
        book["y_pred"],
        book["baseline"],
        book[["fuel", "area"]],
        sample_weight=book["exposure"],
        n=15,
        by=by,
        direction=direction,
    )
    size = np.log(book["y_pred"] / book["baseline"]) if by == "relative" else book["y_pred"] - book["baseline"]
    wanted = size.abs() if direction == "both" else size if direction == "up" else -size
    rows = wanted[book["exposure"] > 0].sort_values(ascending=False).index[:15]
    assert table["row"].tolist() == rows.tolist()
    for column, name in (("after", "y_pred"), ("before", "baseline"), ("exposure", "exposure")):
        assert table[column].tolist() == book.loc[rows, name].tolist()
    assert_allclose(table["difference"], table["after"] - table["before"])
    assert_allclose(table["change"], table["after"] / table["before"] - 1)
    assert table["fuel"].tolist() == book.loc[rows, "fuel"].tolist()
    assert table["area"].isna().tolist() == book.loc[rows, "area"].isna().tolist()


def test_halving_is_as_large_as_doubling_and_nothing_is_largest():
    table = largest_dislocations([50.0, 200.0, 0.0, 149.0], [100.0] * 4)
    assert table["row"].tolist() == [2, 0, 1, 3]
    assert table["change"].tolist() == [-1.0, -0.5, 1.0, 0.49]
    assert largest_dislocations([50.0, 200.0, 0.0], [100.0] * 3, by="absolute")["row"].tolist() == [1, 2, 0]


def test_bad_input_is_named(book):
    y_pred, baseline = book["y_pred"], book["baseline"]
    functions = [
        lambda *premiums: premium_changes(*premiums),
        lambda *premiums: premium_change_by_group(*premiums, book[COLUMNS]),
        lambda *premiums: largest_dislocations(*premiums),
    ]
    for function in functions:
        with pytest.raises(ValueError, match="baseline must be positive"):
            function(y_pred, baseline * 0)
        with pytest.raises(ValueError, match="y_pred must not be negative; found 1200 negative"):
            function(-y_pred, baseline)
        with pytest.raises(ValueError, match="baseline must have as many rows as y_pred"):
            function(y_pred, baseline[:7])
    doubled = pd.concat([book["fuel"], book["fuel"]], axis=1)
    for function in (premium_changes, premium_change_by_group):
        with pytest.raises(ValueError, match="sensitive_features must have distinct column names"):
            function(y_pred, baseline, doubled)
        with pytest.raises(ValueError, match="sensitive_features must have as many rows as y_pred"):
            function(y_pred, baseline, book[COLUMNS][:9])
    with pytest.raises(ValueError, match=r"column 'area' has \d+ missing"):
        premium_change_by_group(y_pred, baseline, book[["area"]])
    assert "(missing)" in premium_changes(y_pred, baseline, book[["area"]])["level"].tolist()
    with pytest.raises(ValueError, match=r"features has column\(s\) \['exposure'\]"):
        largest_dislocations(y_pred, baseline, book[["exposure"]])
    with pytest.raises(ValueError, match="n must be a whole number >= 1; found 0"):
        largest_dislocations(y_pred, baseline, n=0)
    with pytest.raises(ValueError, match="by must be one of 'relative', 'absolute'"):
        largest_dislocations(y_pred, baseline, by="size")
    with pytest.raises(ValueError, match="direction must be one of"):
        largest_dislocations(y_pred, baseline, direction="sideways")
