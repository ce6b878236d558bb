import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

import fairdcov.metrics._parity as parity
from fairdcov.metrics import demographic_parity_gap, ks_disparity, unfairness_ratio, wasserstein_disparity


def split(people, *columns):
    keys = list(people.itertuples(index=False, name=None))
    groups = sorted(set(keys))
    masks = [np.array([key == group for key in keys]) for group in groups]
    return [[column[mask] for column in columns] for mask in masks], masks


@pytest.fixture(params=["continuous", "tied"])
def any_book(book, request):
    people, prediction, exposure = book
    return people, prediction if request.param == "continuous" else np.round(prediction, 1), exposure


def test_gap_is_the_difference_of_weighted_means(any_book):
    people, prediction, exposure = any_book
    groups, _ = split(people, prediction, exposure)
    means = [np.average(u, weights=w) for u, w in groups]
    gap = demographic_parity_gap(None, prediction, sensitive_features=people, sample_weight=exposure)
    assert gap == pytest.approx(max(means) - min(means), rel=1e-12)
    relative = demographic_parity_gap(
        None, prediction, sensitive_features=people, sample_weight=exposure, relative=True
    )
    assert relative == pytest.approx(gap / np.average(prediction, weights=exposure), rel=1e-12)
    scaled = demographic_parity_gap(None, -5 * prediction, sensitive_features=people, relative=True)
    assert scaled == pytest.approx(demographic_parity_gap(None, prediction, sensitive_features=people, relative=True))


def test_relative_gap_needs_a_mean():
    with pytest.raises(ValueError, match="mean is not 0"):
        demographic_parity_gap(None, [-1.0, 1.0], sensitive_features=["a", "b"], relative=True)


def test_unfairness_ratio_is_the_published_one(any_book):
    people, prediction, exposure = any_book
    frame = people.assign(u=prediction)
    means = frame.groupby(["region", "gender"])["u"].mean()
    expected = means.var(ddof=1) / frame["u"].var(ddof=1)
    assert unfairness_ratio(None, prediction, sensitive_features=people) == pytest.approx(expected, rel=1e-12)
    weighted = unfairness_ratio(None, prediction, sensitive_features=people, sample_weight=exposure)
    groups, _ = split(people, prediction, exposure)
    means = [np.average(u, weights=w) for u, w in groups]
    n = len(prediction)
    variance = np.cov(prediction, aweights=exposure, ddof=0) * n / (n - 1)
    assert weighted == pytest.approx(np.var(means, ddof=1) / variance, rel=1e-12)
    # Group sizes do not weigh the means, and neither units nor level of the predictions matter.
    assert unfairness_ratio(None, 3 - 7 * prediction, sensitive_features=people) == pytest.approx(expected)


def test_unfairness_ratio_by_share_is_the_correlation_ratio(any_book):
    people, prediction, exposure = any_book
    groups, _ = split(people, prediction, exposure)
    mean = np.average(prediction, weights=exposure)
    between = sum(w.sum() * (np.average(u, weights=w) - mean) ** 2 for u, w in groups)
    total = (exposure * (prediction - mean) ** 2).sum()
    options = {"sensitive_features": people, "group_weights": "proportion"}
    found = unfairness_ratio(None, prediction, sample_weight=exposure, **options)
    assert found == pytest.approx(between / total, rel=1e-12)
    # Ten times the rows are not ten times the evidence: with their shares the groups are what they were.
    repeated = np.repeat(np.arange(len(prediction)), 10)
    once = unfairness_ratio(None, prediction, **options)
    options["sensitive_features"] = people.iloc[repeated]
    assert unfairness_ratio(None, prediction[repeated], **options) == pytest.approx(once, rel=1e-12)


def test_a_tiny_group_hardly_counts_by_share():
    """The published ratio lets one row in a thousand decide."""
    prediction = np.append(np.tile([1.0, 3.0], 500), 100.0)
    group = np.append(np.repeat(["a", "b"], 500), "c")
    alike = unfairness_ratio(None, prediction, sensitive_features=group)
    by_share = unfairness_ratio(None, prediction, sensitive_features=group, group_weights="proportion")
    assert alike > 100
    assert 0.5 < by_share < 1
    everyone_alike = np.append(np.tile([1.0, 3.0], 500), 2.5)
    assert unfairness_ratio(None, everyone_alike, sensitive_features=group, group_weights="proportion") < 1e-3


def test_group_weights_of_the_unfairness_ratio_are_checked():
    with pytest.raises(ValueError, match="group_weights must be one of 'proportion', 'equal'; found 'exposure'"):
        unfairness_ratio(None, [1.0, 2.0], sensitive_features=["a", "b"], group_weights="exposure")


def test_ks_against_scipy(any_book):
    people, prediction, _ = any_book
    groups, masks = split(people, prediction)
    pairs = [ks_2samp(a[0], b[0]).statistic for a, b in itertools.combinations(groups, 2)]
    assert ks_disparity(None, prediction, sensitive_features=people) == pytest.approx(max(pairs), rel=1e-12)
    rest = [ks_2samp(prediction[mask], prediction[~mask]).statistic for mask in masks]
    found = ks_disparity(None, prediction, sensitive_features=people, comparison="rest")
    assert found == pytest.approx(max(rest), rel=1e-12)
    assert max(rest) < max(pairs)


def test_weighted_ks_by_hand(any_book):
    people, prediction, exposure = any_book
    groups, _ = split(people, prediction, exposure)
    points = np.unique(prediction)
    functions = [np.array([w[u <= x].sum() for x in points]) / w.sum() for u, w in groups]
    expected = max(np.abs(a - b).max() for a, b in itertools.combinations(functions, 2))
    found = ks_disparity(None, prediction, sensitive_features=people, sample_weight=exposure)
    assert found == pytest.approx(expected, rel=1e-12)
    increasing = ks_disparity(None, np.exp(5 * prediction), sensitive_features=people, sample_weight=exposure)
    assert increasing == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("reduction", "reduce"), [("max", max), ("mean", np.mean)])
def test_wasserstein_against_scipy(any_book, reduction, reduce):
    people, prediction, exposure = any_book
    groups, masks = split(people, prediction, exposure)
    options = {"sensitive_features": people, "sample_weight": exposure, "reduction": reduction}
    pairs = [wasserstein_distance(a, b, v, w) for (a, v), (b, w) in itertools.combinations(groups, 2)]
    assert wasserstein_disparity(None, prediction, **options) == pytest.approx(reduce(pairs), rel=1e-10)
    rest = [
        wasserstein_distance(prediction[mask], prediction[~mask], exposure[mask], exposure[~mask]) for mask in masks
    ]
    found = wasserstein_disparity(None, prediction, comparison="rest", **options)
    assert found == pytest.approx(reduce(rest), rel=1e-10)


def test_wasserstein_has_the_units_of_the_predictions_and_bounds_the_gap(book):
    people, prediction, _ = book
    distance = wasserstein_disparity(None, prediction, sensitive_features=people)
    assert wasserstein_disparity(None, 1 - 4 * prediction, sensitive_features=people) == pytest.approx(4 * distance)
    assert distance >= demographic_parity_gap(None, prediction, sensitive_features=people) * (1 - 1e-12)
    moved = prediction + 2.0 * (people["gender"] == "m")
    shifted = wasserstein_disparity(None, np.r_[prediction, moved], sensitive_features=np.repeat([0, 1], len(people)))
    assert shifted == pytest.approx((people["gender"] == "m").mean() * 2.0)


@pytest.mark.parametrize("cells", [1, 13, 100])
def test_ties_across_the_borders_of_the_tables(any_book, monkeypatch, cells):
    people, prediction, exposure = any_book
    options = {"sensitive_features": people, "sample_weight": exposure}
    metrics = [
        lambda: ks_disparity(None, prediction, **options),
        lambda: ks_disparity(None, prediction, comparison="rest", **options),
        lambda: wasserstein_disparity(None, prediction, **options),
        lambda: wasserstein_disparity(None, prediction, comparison="rest", **options),
    ]
    expected = [metric() for metric in metrics]
    monkeypatch.setattr(parity, "_CELLS_AT_A_TIME", cells)
    assert [metric() for metric in metrics] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("metric", [ks_disparity, wasserstein_disparity])
def test_wrong_options(metric):
    with pytest.raises(ValueError, match="comparison must be one of 'pairwise', 'rest'"):
        metric(None, [1.0, 2.0], sensitive_features=["a", "b"], comparison="all")
    with pytest.raises(ValueError, match="reduction must be one of 'max', 'mean'"):
        wasserstein_disparity(None, [1.0, 2.0], sensitive_features=["a", "b"], reduction="sum")


def test_separate_groups_are_one_apart():
    people = pd.DataFrame({"g": ["a", "a", "b", "b"]})
    assert ks_disparity(None, [1.0, 2.0, 3.0, 4.0], sensitive_features=people) == 1.0
    assert wasserstein_disparity(None, [1.0, 2.0, 3.0, 4.0], sensitive_features=people) == 2.0
