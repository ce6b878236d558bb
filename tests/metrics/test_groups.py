import numpy as np
import pandas as pd
import polars as pl
import pytest

from fairdcov.encoding import MAX_NUMERIC_LEVELS, fixed_bins, make_groups
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.metrics import (
    demographic_parity_gap,
    group_densities,
    group_summary,
    js_divergence,
    ks_disparity,
    sensitive_groups,
    unfairness_ratio,
    wasserstein_disparity,
)
from fairdcov.metrics._grouped import group_predictions

METRICS = [js_divergence, unfairness_ratio, ks_disparity, wasserstein_disparity, demographic_parity_gap]


def by_loop(frame):
    return [tuple(row) for row in frame.itertuples(index=False)]


def test_groups_are_tuples_in_the_order_of_their_levels(book):
    people, _, _ = book
    codes, labels, names = make_groups(people)
    assert names == ["region", "gender"]
    assert labels == sorted(set(by_loop(people)))
    assert [labels[code] for code in codes] == by_loop(people)


def test_merged_strings_would_collide_and_tuples_do_not():
    people = pd.DataFrame({"a": ["x", "x_y"], "b": ["y_z", "z"]})
    _, labels, _ = make_groups(people)
    assert labels == [("x", "y_z"), ("x_y", "z")]


def test_declared_order_of_a_categorical_is_kept_and_absent_levels_are_no_groups():
    column = pd.Series(pd.Categorical(["old", "young", "old"], categories=["young", "middle", "old"]), name="age")
    codes, labels, _ = make_groups(column)
    assert labels == [("young",), ("old",)]
    assert codes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "convert",
    [
        lambda people: pl.DataFrame(people.to_dict("list")),
        lambda people: people.to_numpy(),
        lambda people: people.astype("category"),
        lambda people: people.to_numpy().tolist(),
        lambda people: pl.DataFrame(people.to_dict("list")).with_columns(pl.all().cast(pl.Categorical)),
    ],
    ids=["polars", "numpy", "categorical", "list", "polars categorical"],
)
@pytest.mark.parametrize("metric", METRICS)
def test_type_of_the_container_does_not_matter(book, metric, convert):
    people, prediction, exposure = book
    expected = metric(None, prediction, sensitive_features=people, sample_weight=exposure)
    found = metric(None, prediction, sensitive_features=convert(people), sample_weight=exposure)
    assert found == pytest.approx(expected, rel=1e-12)
    assert expected > 0


def test_a_series_is_one_attribute(book):
    people, prediction, _ = book
    for column in (people["gender"], pl.Series(people["gender"].tolist()), people["gender"].tolist()):
        found = demographic_parity_gap(None, prediction, sensitive_features=column)
        means = pd.Series(prediction).groupby(people["gender"]).mean()
        assert found == pytest.approx(abs(means["f"] - means["m"]), rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_renaming_groups_and_permuting_rows_change_nothing(book, metric):
    people, prediction, exposure = book
    expected = metric(None, prediction, sensitive_features=people, sample_weight=exposure)
    renamed = people.assign(region=people["region"].map({"north": "z", "south": "b", "west": "a"}))
    rows = np.random.default_rng(0).permutation(len(people))
    assert metric(None, prediction, sensitive_features=renamed, sample_weight=exposure) == pytest.approx(expected)
    permuted = metric(None, prediction[rows], sensitive_features=people.iloc[rows], sample_weight=exposure[rows])
    assert permuted == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "options"),
    [(metric, {}) for metric in METRICS if metric not in (js_divergence, unfairness_ratio)]
    + [(js_divergence, {"bandwidth": 0.05}), (js_divergence, {"bandwidth": 0.05, "group_weights": "equal"})],
)
def test_whole_weights_equal_repetition(book, metric, options):
    people, prediction, _ = book
    weights = np.random.default_rng(1).integers(0, 4, len(people))
    rows = np.repeat(np.arange(len(people)), weights)
    weighted = metric(None, prediction, sensitive_features=people, sample_weight=weights, **options)
    repeated = metric(None, prediction[rows], sensitive_features=people.iloc[rows], **options)
    assert weighted == pytest.approx(repeated, rel=1e-10)
    assert weighted != pytest.approx(metric(None, prediction, sensitive_features=people, **options), rel=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_scale_of_weights_does_not_matter_and_weight_zero_is_absence(book, metric):
    people, prediction, exposure = book
    expected = metric(None, prediction, sensitive_features=people, sample_weight=exposure)
    assert metric(None, prediction, sensitive_features=people, sample_weight=7 * exposure) == pytest.approx(expected)
    kept = np.arange(len(people)) % 3 > 0
    zeroed = metric(None, prediction, sensitive_features=people, sample_weight=exposure * kept)
    dropped = metric(None, prediction[kept], sensitive_features=people[kept], sample_weight=exposure[kept])
    assert zeroed == pytest.approx(dropped, rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_constant_predictions_are_fair_exactly(book, metric):
    people, _, exposure = book
    for value in (0.0, -3.5, 0.1):
        constant = np.full(len(people), value)
        assert metric(None, constant, sensitive_features=people, sample_weight=exposure) == 0.0
    noise = 0.1 * (1 + 1e-15 * np.random.default_rng(0).normal(size=len(people)))
    assert np.unique(noise).size > 1
    assert metric(None, noise, sensitive_features=people) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_one_group_warns_and_gives_zero(metric):
    with pytest.warns(SensitiveFeaturesWarning, match="one group"):
        assert metric(None, [1.0, 2.0, 3.0], sensitive_features=["a", "a", "a"]) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_small_groups_are_named_and_left_out(book, metric):
    people, prediction, _ = book
    people = people.copy()
    people.loc[:2, "region"] = "islands"
    prediction = prediction.copy()
    prediction[:3] = 5.0
    with pytest.warns(SensitiveFeaturesWarning, match=r"min_group_size=10 .*islands"):
        found = metric(None, prediction, sensitive_features=people, min_group_size=10)
    assert found == pytest.approx(metric(None, prediction[3:], sensitive_features=people[3:]), rel=1e-12)
    # By default they take part.
    assert metric(None, prediction, sensitive_features=people) != pytest.approx(found, rel=1e-3)


def test_details_list_the_small_groups(book):
    people, prediction, _ = book
    people = people.copy()
    people.loc[0, ["region", "gender"]] = ["islands", "f"]
    with pytest.warns(SensitiveFeaturesWarning, match="islands"):
        details = group_densities(prediction, sensitive_features=people, min_group_size=2)
    assert details.omitted == [("islands", "f")]
    assert ("islands", "f") not in details.labels
    table = group_summary(prediction, prediction, sensitive_features=people, min_group_size=2)
    assert table["too_small"].loc[("islands", "f")]
    assert table["too_small"].sum() == 1


def test_a_group_without_weight_is_named():
    with pytest.warns(SensitiveFeaturesWarning, match="no row of positive weight.*'b'"):
        value = demographic_parity_gap(
            None, [1.0, 2.0, 4.0], sensitive_features=["a", "b", "c"], sample_weight=[1.0, 0.0, 1.0]
        )
    assert value == 3.0


def test_no_group_large_enough():
    with pytest.raises(ValueError, match="no group has min_group_size=3 rows; the largest of 2 has 2"):
        ks_disparity(None, [1.0, 2.0, 3.0], sensitive_features=["a", "a", "b"], min_group_size=3)


# --- bins ----------------------------------------------------------------------------------------------------------


def ages(n=400):
    rng = np.random.default_rng(3)
    return pd.DataFrame({"age": rng.integers(18, 90, n), "gender": rng.choice(["f", "m"], n)})


def test_edges_are_closed_on_the_left_and_the_last_on_both_sides():
    codes, labels, _ = make_groups(pd.DataFrame({"age": [18, 30, 29.9, 60, 45]}), {"age": [18, 30, 60]})
    assert codes.tolist() == [0, 1, 0, 1, 1]
    assert labels == [(pd.Interval(18, 30, closed="left"),), (pd.Interval(30, 60, closed="both"),)]


def test_open_edges():
    codes, _, _ = make_groups(np.array([1.0, 50.0, 99.0]), {0: [-np.inf, 20, 60, np.inf]})
    assert codes.tolist() == [0, 1, 2]


def test_quantile_bins_hold_equal_weight():
    people = pd.DataFrame({"age": np.random.default_rng(0).normal(size=1000)})
    codes, labels, _ = make_groups(people, {"age": 4})
    assert np.abs(np.bincount(codes) - 250).max() <= 1
    weights = np.where(people["age"] > 0, 3.0, 1.0)
    codes, labels, _ = make_groups(people, {"age": 4}, weights)
    assert np.bincount(codes, weights) == pytest.approx(np.full(4, weights.sum() / 4), rel=0.02)
    assert len(labels) == 4


def test_quantiles_of_tied_values_collapse():
    codes, labels, _ = make_groups(np.r_[np.zeros(90), np.arange(1, 31)], {0: 4})
    assert len(labels) == len(np.unique(codes)) < 4
    assert np.ptp(make_groups(np.ones(5), {0: 3})[0]) == 0


def test_one_number_cuts_only_what_needs_it():
    people = ages().assign(zone=lambda frame: frame["age"] % 3)
    codes, labels, _ = make_groups(people, 4)
    assert {len({label[k] for label in labels}) for k in (1, 2)} == {2, 3}
    assert len({label[0] for label in labels}) == 4
    assert len(labels) == codes.max() + 1 == 24


def test_numeric_with_many_values_needs_bins():
    with pytest.raises(ValueError, match=r"'age' is numeric with \d+ distinct values.*bins=\{'age': 5\}"):
        js_divergence(None, np.arange(400.0), sensitive_features=ages())
    with pytest.raises(ValueError, match="'age' is numeric"):
        js_divergence(None, np.arange(400.0), sensitive_features=ages(), bins={})
    _, labels, _ = make_groups(ages()[["age"]], {"age": None})
    assert len(labels) == ages()["age"].nunique()
    few = np.arange(3 * MAX_NUMERIC_LEVELS) % MAX_NUMERIC_LEVELS
    assert len(make_groups(few)[1]) == MAX_NUMERIC_LEVELS
    with pytest.raises(ValueError, match="is numeric with 21 distinct values"):
        make_groups(np.arange(MAX_NUMERIC_LEVELS + 1))


@pytest.mark.parametrize(
    ("bins", "error", "message"),
    [
        ({"agee": 3}, ValueError, "bins names 'agee'"),
        ({"gender": 3}, TypeError, "'gender', which holds categories"),
        ({"age": [20, 90]}, ValueError, "leave out"),
        ({"age": [90, 20]}, ValueError, "increasing"),
        ({"age": [np.nan, 20.0, 90.0]}, ValueError, "increasing"),
        ({"age": 0}, ValueError, "at least 1"),
        ({"age": "quartiles"}, TypeError, "whole number"),
        ([18, 30], TypeError, "bins must be None"),
        (True, TypeError, "bins must be None"),
    ],
)
def test_wrong_bins(bins, error, message):
    with pytest.raises(error, match=message):
        make_groups(ages(), bins)


def test_sensitive_groups_gives_the_groups_of_the_metrics(book):
    people, prediction, _ = book
    people = people.assign(age=np.random.default_rng(5).normal(40, 10, len(people)))
    table = sensitive_groups(people, bins={"age": 3})
    assert list(table.columns) == ["region", "gender", "age"]
    means = pd.Series(prediction).groupby([table[name].astype(str) for name in table]).mean()
    gap = demographic_parity_gap(None, prediction, sensitive_features=people, bins={"age": 3})
    assert gap == pytest.approx(means.max() - means.min(), rel=1e-12)


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"y_pred": [1.0, np.nan, 2.0]}, ValueError, "y_pred must be finite; found 1 NaN"),
        ({"y_pred": [1.0, np.inf, 2.0]}, ValueError, "y_pred must be finite"),
        ({"y_pred": ["a", "b", "c"]}, ValueError, "y_pred must be numeric"),
        ({"y_pred": np.ones((3, 2))}, ValueError, "y_pred must have one dimension"),
        ({"y_pred": []}, ValueError, "y_pred must have at least one row"),
        ({"y_true": [1.0]}, ValueError, "y_true must have as many rows"),
        ({"sensitive_features": ["a", "b"]}, ValueError, "sensitive_features must have as many rows"),
        ({"sensitive_features": None}, MissingSensitiveFeaturesError, "sensitive_features"),
        ({"sensitive_features": ["a", None, "b"]}, ValueError, "missing"),
        ({"sample_weight": [1.0, np.nan, 1.0]}, ValueError, "sample_weight must be finite"),
        ({"sample_weight": [1.0, -1.0, 1.0]}, ValueError, "negative"),
        ({"sample_weight": [0.0, 0.0, 0.0]}, ValueError, "all zero"),
        ({"sample_weight": [1.0]}, ValueError, "sample_weight must have as many rows"),
        ({"min_group_size": 0}, ValueError, "min_group_size"),
        ({"min_group_size": 2.5}, ValueError, "min_group_size"),
    ],
)
def test_errors_name_the_argument(metric, changes, error, message):
    arguments = {"y_true": [0.0, 1.0, 2.0], "y_pred": [1.0, 2.0, 3.0], "sensitive_features": ["a", "b", "b"], **changes}
    with pytest.raises(error, match=message):
        metric(arguments.pop("y_true"), arguments.pop("y_pred"), **arguments)


def test_rows_refer_to_the_input(book):
    people, prediction, exposure = book
    weights = exposure * (np.arange(len(people)) % 2)
    sample = group_predictions(None, prediction, people, weights)
    assert np.array_equal(prediction[sample.rows], sample.predictions)
    assert (weights[sample.rows] > 0).all()


def test_fixed_bins_are_quantiles_of_the_weight():
    """They cut parts of the rows like the whole is cut by the metrics themselves."""
    age, weights = np.arange(10.0), np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 6])
    edges = fixed_bins(age, {0: 3}, weights)["sensitive feature 0"]
    assert edges.tolist() == [0.0, 4.0, 9.0]
    assert fixed_bins(np.repeat(age, weights), {0: 3})["sensitive feature 0"].tolist() == edges.tolist()
    codes, _, _ = make_groups(age, {0: 3}, weights)
    assert np.array_equal(make_groups(age, {0: edges})[0], codes)


def test_summary_by_hand():
    table = group_summary(
        [0.0, 2.0, 1.0, 0.0],
        [1.0, 3.0, 1.0, 4.0],
        sensitive_features=pd.DataFrame({"g": ["f", "f", "m", "x"]}),
        sample_weight=[1.0, 3.0, 2.0, 4.0],
        min_group_size=2,
    )
    assert table.index.tolist() == [("f",), ("m",), ("x",)]
    assert table["rows"].tolist() == [2, 1, 1]
    assert table["share"].tolist() == [0.4, 0.2, 0.4]
    assert table["mean_observed"].tolist() == [1.5, 1.0, 0.0]
    assert table["mean_predicted"].tolist() == [2.5, 1.0, 4.0]
    assert table["predicted_to_observed"].tolist()[:2] == [pytest.approx(10 / 6), 1.0]
    assert np.isnan(table["predicted_to_observed"].iloc[2])
    assert table["too_small"].tolist() == [False, True, True]


def test_rows_of_weight_zero_beyond_the_quantiles_of_the_others():
    age, gender = np.r_[1.0, np.arange(10.0, 31.0), 90.0], np.r_[["m"], ["f"] * 22]
    people, weights = pd.DataFrame({"gender": gender, "age": age}), np.r_[0.0, np.ones(21), 0.0]
    codes, labels, _ = make_groups(people, {"age": 2}, weights)
    inner, inner_labels, _ = make_groups(people.iloc[1:-1], {"age": 2})
    assert [labels[code] for code in codes[1:-1]] == [inner_labels[code] for code in inner]
    assert labels[codes[0]] == ("m", inner_labels[0][1])
    assert labels[codes[-1]] == inner_labels[-1]
    edges = {"age": [10.0, 20.0, 30.0]}
    np.testing.assert_array_equal(make_groups(people, edges, weights)[0], codes)
    with pytest.raises(ValueError, match="leave out 2 value"):
        make_groups(people, edges)
