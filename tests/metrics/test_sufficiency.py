"""Calibration within groups against its definition, cell by cell."""

import numpy as np
import pandas as pd
import pytest

from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import calibration_by_group, null_distribution, sufficiency_gap


@pytest.fixture
def book():
    generator = np.random.default_rng(5)
    n = 3_000
    people = pd.DataFrame({"sex": generator.choice(["f", "m"], n), "age": generator.integers(18, 80, n)})
    # Many ties, so that bins meet them.
    prediction = np.round(generator.gamma(3.0, 0.1, n), 2)
    weights = generator.uniform(0.1, 1.0, n)
    observed = generator.poisson(weights * prediction * np.where(people["sex"] == "f", 1.3, 0.8)) / weights
    return {"y": observed, "u": prediction, "S": people, "w": weights, "bins": {"age": [18, 40, 80]}}


def definition(y, u, groups, w, n_bins):
    """By loops over bins and groups; a bin holds the predictions up to a weighted quantile."""
    order = np.argsort(u, kind="stable")
    reached = np.cumsum(w[order]) / w.sum()
    edges = sorted({u[order][np.searchsorted(reached, k / n_bins - 1e-12)] for k in range(1, n_bins)})
    bins = np.array([sum(edge < value for edge in edges) for value in u])
    total = 0.0
    for b in set(bins):
        inside = bins == b
        mean = np.average((y - u)[inside], weights=w[inside])
        for group in set(groups[inside]):
            rows = inside & (groups == group)
            total += w[rows].sum() * abs(np.average((y - u)[rows], weights=w[rows]) - mean)
    return total / w.sum()


@pytest.mark.parametrize("n_bins", [1, 2, 7, 10, 500])
def test_against_the_definition(book, n_bins):
    groups = (book["S"]["sex"] + np.where(book["S"]["age"] < 40, "young", "old")).to_numpy()
    data = {"sensitive_features": book["S"], "sample_weight": book["w"], "bins": book["bins"], "n_bins": n_bins}
    expected = definition(book["y"], book["u"], groups, book["w"], n_bins)
    found = sufficiency_gap(book["y"], book["u"], **data)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    relative = sufficiency_gap(book["y"], book["u"], relative=True, **data)
    np.testing.assert_allclose(relative, expected / np.average(book["y"], weights=book["w"]), rtol=1e-12)
    # The table says the same.
    table = calibration_by_group(book["y"], book["u"], **data)
    excess = (table["weight"] * table["excess"]).groupby("bin").sum() / table["weight"].groupby("bin").sum()
    by_bin = table["weight"] * (table["excess"] - excess.reindex(table.index.get_level_values("bin")).to_numpy()).abs()
    np.testing.assert_allclose(by_bin.sum() / book["w"].sum(), expected, rtol=1e-12)
    assert table["rows"].sum() == len(book["y"])


def test_whole_weights_are_repetition_and_rows_of_none_are_absent(book):
    times = np.arange(len(book["y"])) % 4
    rows = np.repeat(np.arange(len(times)), times)
    found = sufficiency_gap(book["y"], book["u"], sensitive_features=book["S"]["sex"], sample_weight=times)
    repeated = sufficiency_gap(book["y"][rows], book["u"][rows], sensitive_features=book["S"]["sex"].iloc[rows])
    np.testing.assert_allclose(found, repeated, rtol=1e-12)


def test_neither_rows_nor_names_have_an_order(book):
    mixed = np.random.default_rng(0).permutation(len(book["y"]))
    names = {"f": "zz", "m": "a"}
    found = sufficiency_gap(book["y"], book["u"], sensitive_features=book["S"]["sex"].to_numpy())
    other = sufficiency_gap(
        book["y"][mixed], book["u"][mixed], sensitive_features=book["S"]["sex"].map(names).to_numpy()[mixed]
    )
    np.testing.assert_allclose(found, other, rtol=1e-12)


def test_it_is_zero_where_the_group_tells_nothing_more(book):
    sexes = book["S"]["sex"]
    # Off by the same at every level of the prediction, however much.
    off = book["u"] + np.where(book["u"] > 0.3, 0.5, -0.1)
    assert sufficiency_gap(off, book["u"], sensitive_features=sexes, n_bins=500) < 1e-12
    # A constant prediction is not sufficient where the groups differ.
    gap = np.where(sexes == "f", 2.0, 1.0)
    share = np.mean(sexes == "f")
    found = sufficiency_gap(gap, np.ones(len(gap)), sensitive_features=sexes)
    np.testing.assert_allclose(found, 2 * share * (1 - share))


def test_its_level_by_chance_separates_the_two(book):
    data = {"sensitive_features": book["S"]["sex"], "sample_weight": book["w"], "random_state": 0}
    null = null_distribution(sufficiency_gap, book["y"], book["u"], n_permutations=99, **data)
    assert null.p_value() == 0.01
    generator = np.random.default_rng(1)
    calibrated = generator.poisson(book["w"] * book["u"]) / book["w"]
    null = null_distribution(sufficiency_gap, calibrated, book["u"], n_permutations=99, **data)
    assert null.mean > 0
    assert null.p_value() > 0.05


def test_what_it_cannot_take(book):
    data = {"sensitive_features": book["S"]["sex"]}
    for function in (sufficiency_gap, calibration_by_group):
        with pytest.raises(ValueError, match="y_true is needed to compare predictions with; found None"):
            function(None, book["u"], **data)
        with pytest.raises(ValueError, match="n_bins must be"):
            function(book["y"], book["u"], n_bins=0, **data)
        with pytest.raises(ValueError, match="y_true"):
            function(book["y"][:-1], book["u"], **data)
        with pytest.raises(ValueError, match="y_true"):
            function(np.where(book["y"] > 0, np.nan, 0.0), book["u"], **data)
    with pytest.raises(ValueError, match="relative=True needs observed values whose mean is not 0"):
        sufficiency_gap(0 * book["y"], book["u"], relative=True, **data)
    with pytest.warns(SensitiveFeaturesWarning, match="nothing to compare"):
        assert sufficiency_gap(book["y"], book["u"], sensitive_features=["f"] * len(book["y"])) == 0
