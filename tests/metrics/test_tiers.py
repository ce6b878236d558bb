"""Shares of the groups above thresholds of the premium."""

import itertools

import numpy as np
import pandas as pd
import pytest

from fairdcov.metrics import (
    ks_disparity,
    neg_tier_parity_gap_scorer,
    null_distribution,
    tier_parity_gap,
    tier_parity_ratio,
    tier_parity_ratio_scorer,
    tier_summary,
)


def direct_shares(prediction, labels, weights, thresholds):
    """Share above and share of the rest above, by group, row by row."""
    found = {}
    for label in sorted(set(labels)):
        inside = labels == label
        found[label] = [
            [np.average(prediction[rows] > threshold, weights=weights[rows]) for rows in (inside, ~inside)]
            for threshold in thresholds
        ]
    return {label: np.array(shares) for label, shares in found.items()}


@pytest.fixture
def tiers(book):
    people, prediction, exposure = book
    labels = (people["region"] + people["gender"]).to_numpy()
    thresholds = [0.1, 0.2, 0.35]
    return people, prediction, exposure, thresholds, direct_shares(prediction, labels, exposure, thresholds)


def test_against_the_definition(tiers):
    people, prediction, exposure, thresholds, direct = tiers
    arguments = {"sensitive_features": people, "sample_weight": exposure, "thresholds": thresholds}
    pairs = [
        (first[t, 0], second[t, 0]) for first, second in itertools.combinations(direct.values(), 2) for t in range(3)
    ]
    rest = [(group[t, 0], group[t, 1]) for group in direct.values() for t in range(3)]
    for comparison, compared in (("pairwise", pairs), ("rest", rest)):
        gaps = [abs(a - b) for a, b in compared]
        ratios = [min(a, b) / max(a, b) for a, b in compared]
        options = {"comparison": comparison, **arguments}
        assert tier_parity_gap(None, prediction, **options) == pytest.approx(max(gaps))
        assert tier_parity_gap(None, prediction, reduction="mean", **options) == pytest.approx(np.mean(gaps))
        assert tier_parity_ratio(None, prediction, **options) == pytest.approx(min(ratios))
        assert tier_parity_ratio(None, prediction, reduction="mean", **options) == pytest.approx(np.mean(ratios))


def test_quantiles_are_those_of_all_rows(book):
    people, prediction, exposure = book
    prediction = np.round(prediction, 2)
    edges = np.quantile(prediction, [0.3, 0.8], weights=exposure, method="inverted_cdf")
    by_quantiles = {"sensitive_features": people, "sample_weight": exposure, "quantiles": [0.3, 0.8]}
    by_edges = {"sensitive_features": people, "sample_weight": exposure, "thresholds": edges}
    assert tier_parity_gap(None, prediction, **by_quantiles) == tier_parity_gap(None, prediction, **by_edges)
    # No increasing transformation matters, nor one threshold among those of the largest distance.
    assert tier_parity_gap(None, np.log(prediction), **by_quantiles) == tier_parity_gap(
        None, prediction, **by_quantiles
    )
    largest = ks_disparity(None, prediction, sensitive_features=people, sample_weight=exposure)
    values = np.unique(prediction)
    every = tier_parity_gap(None, prediction, sensitive_features=people, sample_weight=exposure, thresholds=values)
    assert every == pytest.approx(largest)
    assert tier_parity_gap(None, prediction, **by_quantiles) <= largest


def test_above_is_larger_and_nobody_above_is_no_difference():
    premium, group = [1.0, 2.0, 2.0, 3.0], ["f", "f", "m", "m"]
    assert tier_parity_gap(None, premium, sensitive_features=group, thresholds=[2]) == 0.5
    assert tier_parity_ratio(None, premium, sensitive_features=group, thresholds=[2]) == 0
    assert tier_parity_gap(None, premium, sensitive_features=group, thresholds=5) == 0
    assert tier_parity_ratio(None, premium, sensitive_features=group, thresholds=5) == 1


@pytest.mark.filterwarnings("ignore:.*one group")
@pytest.mark.parametrize("comparison", ["pairwise", "rest"])
def test_nothing_differs(comparison):
    for prediction, people in (([1.0, 2.0, 3.0], ["a"] * 3), ([1.0, 1.0, 1.0], ["a", "b", "b"])):
        assert tier_parity_gap(None, prediction, sensitive_features=people, comparison=comparison) == 0
        assert tier_parity_ratio(None, prediction, sensitive_features=people, comparison=comparison) == 1


def test_means_can_agree_where_tiers_do_not():
    premium = np.array([400.0] * 10 + [300.0] * 9 + [1300.0])
    group = np.repeat(["even", "uneven"], 10)
    assert premium[:10].mean() == premium[10:].mean()
    assert tier_parity_gap(None, premium, sensitive_features=group, thresholds=[350]) == pytest.approx(0.9)


def test_table_against_statsmodels(rng):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    group = rng.choice(["a", "b"], 400, p=[0.3, 0.7])
    premium = rng.lognormal(6 + 0.3 * (group == "a"), 0.5)
    table = tier_summary(None, premium, sensitive_features=group, thresholds=[500, 900], confidence=0.9)
    assert table.index.names == ["sensitive_feature", "above"] or table.index.names[-1] == "above"
    for threshold in (500.0, 900.0):
        row = table.loc[("a", threshold)]
        above, rows = [(premium[group == g] > threshold).sum() for g in "ab"], [(group == g).sum() for g in "ab"]
        assert (row["rows_above"], row["rows"]) == (above[0], rows[0])
        limits = proportion.proportion_confint(above[0], rows[0], alpha=0.1, method="wilson")
        assert (row["share_lower"], row["share_upper"]) == pytest.approx(limits)
        limits = proportion.confint_proportions_2indep(
            above[0], rows[0], above[1], rows[1], method="newcomb", alpha=0.1
        )
        assert (row["difference_lower"], row["difference_upper"]) == pytest.approx(limits)
        # The two groups are each other's rest.
        other = table.loc[("b", threshold)]
        assert other["difference"] == pytest.approx(-row["difference"])
        assert other["ratio_lower"] == pytest.approx(1 / row["ratio_upper"])


def test_table_agrees_with_the_metric(tiers):
    people, prediction, exposure, thresholds, direct = tiers
    arguments = {"sensitive_features": people, "sample_weight": exposure, "thresholds": thresholds}
    table = tier_summary(None, prediction, **arguments)
    expected = np.concatenate(list(direct.values()))
    np.testing.assert_allclose(table[["share", "rest"]].to_numpy(), expected)
    np.testing.assert_allclose(table["ratio"], table["share"] / table["rest"])
    gap = tier_parity_gap(None, prediction, comparison="rest", **arguments)
    assert table["difference"].abs().max() == pytest.approx(gap)
    for name in ("share", "difference", "ratio"):
        assert (table[f"{name}_lower"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_upper"]).all()


def test_ends_of_the_table():
    premium, group = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], list("aaabbb")
    table = tier_summary(None, premium, sensitive_features=group, thresholds=[3, 9])
    first = table.loc[("a", 3.0)]
    assert (first["share"], first["share_lower"], first["ratio"], first["ratio_lower"]) == (0, 0, 0, 0)
    assert 0 < first["ratio_upper"] < np.inf
    assert table.loc[("b", 3.0), "ratio"] == np.inf
    assert table.loc[("b", 3.0), "ratio_lower"] == pytest.approx(1 / first["ratio_upper"])
    assert np.isnan(table.loc[("a", 9.0), "ratio"])
    alone = tier_summary(None, premium, sensitive_features=["a"] * 6, thresholds=[3])
    assert alone["share"].tolist() == [0.5]
    assert alone[["rest", "difference", "difference_lower", "ratio", "ratio_upper"]].isna().all(axis=None)


@pytest.mark.parametrize("exposure_matters", [False, True])
def test_coverage_with_exposure(exposure_matters):
    """Shares of exposure in small groups, also where short exposures go with high premiums."""
    rng = np.random.default_rng(5)
    covered = dict.fromkeys(["share", "difference", "ratio"], 0)
    truth = None
    for n in [400_000] + [400] * 400:
        group = rng.choice(["a", "b"], n, p=[0.3, 0.7])
        premium = rng.lognormal(0.3 * (group == "a"), 0.5)
        weights = rng.uniform(0.1, 1.0, n) / (premium if exposure_matters else 1.0)
        table = tier_summary(None, premium, sensitive_features=group, sample_weight=weights, thresholds=[1.8])
        row = table.loc[("a", 1.8)]
        if truth is None:
            truth = row
            continue
        for name in covered:
            covered[name] += row[f"{name}_lower"] <= truth[name] <= row[f"{name}_upper"]
    for count in covered.values():
        assert 0.92 <= count / 400 <= 0.98


def test_null_distribution_takes_it(book):
    people, prediction, exposure = book
    arguments = {"sensitive_features": people, "sample_weight": exposure, "n_permutations": 20, "random_state": 0}
    null = null_distribution(tier_parity_gap, None, prediction, quantiles=[0.9], **arguments)
    assert null.observed > null.quantile(0.9)
    ratio = null_distribution(tier_parity_ratio, None, prediction, quantiles=[0.9], **arguments)
    assert ratio.observed < np.median(ratio.values)


def test_scorers(book):
    class Model:
        def predict(self, X):
            return X[:, 0]

    people, prediction, exposure = book
    given = {"sensitive_features": people, "sample_weight": exposure}
    gap = neg_tier_parity_gap_scorer(Model(), prediction[:, None], None, **given)
    assert gap == -tier_parity_gap(None, prediction, **given)
    ratio = tier_parity_ratio_scorer(Model(), prediction[:, None], None, **given)
    assert ratio == tier_parity_ratio(None, prediction, **given)
    assert repr(tier_parity_ratio_scorer) == "make_fairness_scorer(tier_parity_ratio, greater_is_better=True)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": [2.0, 1.0]}, "thresholds must be one or more finite, increasing"),
        ({"thresholds": []}, "thresholds must be one or more"),
        ({"thresholds": [np.nan]}, "thresholds must be one or more finite"),
        ({"thresholds": ["dear"]}, "thresholds must be a list of numbers"),
        ({"quantiles": [0.5, 1.0]}, "quantiles must be between 0 and 1"),
        ({"comparison": "all"}, "comparison"),
        ({"reduction": "sum"}, "reduction"),
    ],
)
@pytest.mark.parametrize("metric", [tier_parity_gap, tier_parity_ratio])
def test_errors(book, metric, options, message):
    people, prediction, _ = book
    with pytest.raises((ValueError, TypeError), match=message):
        metric(None, prediction, sensitive_features=people, **options)


@pytest.mark.parametrize("confidence", [0, 1, 95, "high"])
def test_confidence_is_checked(book, confidence):
    people, prediction, _ = book
    with pytest.raises(ValueError, match="confidence must be between 0 and 1"):
        tier_summary(None, prediction, sensitive_features=people, confidence=confidence)


def test_small_groups_are_named(book):
    people, prediction, _ = book
    people = pd.concat([people, pd.DataFrame({"region": ["islands"], "gender": ["f"]})], ignore_index=True)
    with pytest.warns(UserWarning, match="islands"):
        table = tier_summary(None, np.append(prediction, 1.0), sensitive_features=people, min_group_size=5)
    assert "islands" not in table.index.get_level_values("region")


def test_a_threshold_below_all_predictions_and_one_above_all(rng):
    """Sums of the same weights in another order differ by rounding, which is no negative variance."""
    premium, weights = rng.uniform(1.0, 2.0, 999), rng.uniform(0.1, 1.0, 999)
    group = rng.choice(list("abcdefg"), 999)
    table = tier_summary(
        None, premium, sensitive_features=group, sample_weight=weights, thresholds=[0.5, 3.0]
    ).reset_index()
    shares = table.groupby("above")["share"]
    assert (shares.get_group(0.5) == 1.0).all()
    assert (shares.get_group(3.0) == 0.0).all()
    assert (table["difference_upper"] >= 0).all()
