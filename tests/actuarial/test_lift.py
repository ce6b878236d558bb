"""lift_table and double_lift_table: bins of about equal exposure, ties kept together, sums by hand."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from fairdcov.actuarial import double_lift_table, lift_table
from fairdcov.metrics import gini, lorenz_curve


def tables(book, **options):
    weights = {"sample_weight": book["exposure"]}
    yield lift_table(book["y_true"], book["y_pred"], **weights, **options)
    yield double_lift_table(book["y_true"], book["y_pred"], book["baseline"], **weights, **options)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 10, 40])
def test_bins_have_about_equal_exposure(book, n_bins):
    total, largest = book["exposure"].sum(), book["exposure"].max()
    for table in tables(book, n_bins=n_bins):
        assert table["bin"].tolist() == list(range(1, n_bins + 1))
        # a row goes where the middle of its exposure is: each end of a bin is off by half a row at most
        assert (table["exposure"] - total / n_bins).abs().max() <= largest + 1e-9
        assert_allclose(table["share"].sum(), 1.0)
        assert table["rows"].sum() == (book["exposure"] > 0).sum()


def test_equal_rows_in_equal_bins(rng):
    y = rng.permutation(np.arange(1.0, 101))
    for table in (lift_table(y, y), double_lift_table(y, y, np.full(100, 7.0))):
        assert table["rows"].tolist() == [10] * 10
        assert_allclose(table["observed"], np.arange(5.5, 100, 10))


def test_values_that_differ_by_rounding_are_equal(rng):
    baseline = rng.gamma(4.0, 0.1, 3000)
    factor = rng.choice([0.7, 1.0, 1.3], 3000)
    # The product divided by the baseline again is the factor up to the last digits, of which there are several.
    predicted = factor * baseline
    assert len(np.unique(predicted / baseline)) > 3
    y = rng.poisson(predicted).astype(float)
    table = double_lift_table(y, predicted, baseline, n_bins=20)
    assert table["rows"].tolist() == [(factor == level).sum() for level in (0.7, 1.0, 1.3)]
    assert_allclose(table["observed"], [y[factor == level].mean() for level in (0.7, 1.0, 1.3)])
    noise = 1 + rng.choice([-1e-15, 0.0, 1e-15], 3000)
    assert lift_table(y, factor * noise, n_bins=20)["rows"].tolist() == table["rows"].tolist()
    # real differences, however small, part rows; so do signs around 0
    close = 1 + 1e-9 * np.arange(100.0)
    assert lift_table(np.ones(100), close, n_bins=10)["rows"].tolist() == [10] * 10
    assert lift_table(np.ones(4), [-1e-300, 0.0, 1e-300, 2e-300], n_bins=4)["rows"].tolist() == [1] * 4


def test_a_row_in_the_middle_belongs_to_the_upper_bin():
    for exposure in (1.0, 0.1, 0.7):
        table = lift_table([1.0, 1.0, 1.0], [0.1, 0.2, 0.3], sample_weight=np.full(3, exposure), n_bins=2)
        assert table["rows"].tolist() == [1, 2]


def test_lift_is_the_groupby_of_the_bins(book):
    table, _ = tables(book, n_bins=8)
    counted = book[book["exposure"] > 0]
    mean = (counted["exposure"] * counted["y_true"]).sum() / counted["exposure"].sum()
    assert (table["lowest"].to_numpy()[1:] > table["highest"].to_numpy()[:-1]).all()
    for _, row in table.iterrows():
        part = counted[counted["y_pred"].between(row["lowest"], row["highest"])]
        assert row["rows"] == len(part)
        observed = np.average(part["y_true"], weights=part["exposure"])
        predicted = np.average(part["y_pred"], weights=part["exposure"])
        assert_allclose(row[["observed", "predicted"]].astype(float), [observed, predicted])
        assert_allclose(row["lift"], observed / mean)
        assert_allclose(row["actual_to_expected"], observed / predicted)
        assert row["lower"] <= row["actual_to_expected"] <= row["upper"]
    assert_allclose((table["lift"] * table["share"]).sum(), 1.0)


def test_double_lift_is_the_groupby_of_the_ratio(book):
    _, table = tables(book, n_bins=8)
    counted = book[book["exposure"] > 0].assign(ratio=lambda frame: frame["y_pred"] / frame["baseline"])
    assert (table["lowest_ratio"].to_numpy()[1:] > table["highest_ratio"].to_numpy()[:-1]).all()
    for _, row in table.iterrows():
        part = counted[counted["ratio"].between(row["lowest_ratio"], row["highest_ratio"])]
        assert row["rows"] == len(part)
        totals = {name: (part["exposure"] * part[name]).sum() for name in ("y_true", "y_pred", "baseline")}
        assert_allclose(row["ratio"], totals["y_pred"] / totals["baseline"])
        assert row["lowest_ratio"] <= row["ratio"] <= row["highest_ratio"]
        assert_allclose(row["actual_to_expected"], totals["y_true"] / totals["y_pred"])
        assert_allclose(row["actual_to_baseline"], totals["y_true"] / totals["baseline"])
        assert_allclose(row["baseline"], totals["baseline"] / part["exposure"].sum())


def test_one_bin_for_each_prediction_is_the_lorenz_curve(rng):
    y_pred = rng.permutation(np.repeat(np.arange(1.0, 21), 5))
    y_true = rng.poisson(y_pred)
    table = lift_table(y_true, y_pred, n_bins=20)
    assert table["lowest"].tolist() == table["highest"].tolist() == list(range(1, 21))
    share, observed = lorenz_curve(y_true, y_pred)
    assert_allclose(table["share"].cumsum(), share[1:])
    assert_allclose((table["lift"] * table["share"]).cumsum(), observed[1:])
    heights = np.append(0, (table["lift"] * table["share"]).cumsum())
    area = float((table["share"] * (heights[1:] + heights[:-1]) / 2).sum())
    assert_allclose(1 - 2 * area, gini(y_true, y_pred))


def test_order_of_the_rows_does_not_matter(rng, book):
    # many ties, which a bin by rank would part in the order of the rows
    tied = book.assign(y_pred=book["y_pred"].round(1), baseline=book["baseline"].round(1))
    shuffled = tied.iloc[rng.permutation(len(book))]
    for one, other in zip(tables(tied), tables(shuffled), strict=True):
        assert_frame_equal(one, other)


def test_exposure_is_repetition(rng, book):
    counts = rng.integers(0, 4, len(book))
    repeated = book.loc[book.index.repeat(counts)].assign(exposure=1.0)
    for one, other in zip(tables(book.assign(exposure=counts)), tables(repeated), strict=True):
        same = one.columns.difference(["rows", "lower", "upper"])
        assert_frame_equal(one[same], other[same])


def test_constant_predictions_are_one_bin(book):
    constant = book.assign(y_pred=0.3, baseline=0.2)
    for table in tables(constant):
        assert table["bin"].tolist() == [1]
        assert_allclose(table["share"], 1.0)
    lift = next(tables(constant))
    assert_allclose(lift["lift"], 1.0)
    assert_allclose(lift["predicted"], 0.3)


def test_nothing_observed_has_no_lift(book):
    table = lift_table(np.zeros(len(book)), book["y_pred"], sample_weight=book["exposure"])
    assert table["lift"].isna().all()
    assert (table["actual_to_expected"] == 0).all()
    assert (table["upper"] > 0).all()


def test_polars_and_arrays(book):
    expected = list(tables(book))
    for kind in (pl.Series, np.asarray, list):
        columns = {name: kind(book[name].to_numpy()) for name in ("y_true", "y_pred", "baseline", "exposure")}
        for one, other in zip(tables(columns), expected, strict=True):
            assert_frame_equal(one, other)


def test_bad_input_is_named(book):
    y_true, y_pred, baseline = book["y_true"], book["y_pred"], book["baseline"]
    for wrong in (0, 2.5, True, "ten"):
        with pytest.raises(ValueError, match="n_bins must be a whole number >= 1"):
            lift_table(y_true, y_pred, n_bins=wrong)
    with pytest.raises(ValueError, match=r"baseline must be positive.* found 1 value\(s\) of at most 0, such as -2"):
        double_lift_table(y_true, y_pred, baseline.where(baseline.index != 4, -2.0))
    with pytest.raises(ValueError, match="baseline must have as many rows as y_pred: found 5"):
        double_lift_table(y_true, y_pred, baseline[:5])
    # a row of zero exposure is absent, so that its baseline does not matter
    weight = np.ones(len(book))
    weight[4] = 0
    double_lift_table(y_true, y_pred, baseline.where(baseline.index != 4, -2.0), sample_weight=weight)
