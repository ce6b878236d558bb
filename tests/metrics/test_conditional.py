"""Metrics within strata: means over strata of the unconditional ones, null levels by permutations within strata."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.model_selection import cross_validate

from fairdcov import CCDCovPenalty, DCovPenalty, DCovPoissonRegressor, JDCovPenalty, SensitiveEncoder
from fairdcov import metrics as fm
from fairdcov.exceptions import SensitiveFeaturesWarning

GROUP_METRICS = [
    fm.demographic_parity_gap,
    fm.js_divergence,
    fm.ks_disparity,
    fm.tier_parity_gap,
    fm.tier_parity_ratio,
    fm.unfairness_ratio,
    fm.wasserstein_disparity,
]
DEPENDENCE = {fm.ccdcov: CCDCovPenalty, fm.dcov: DCovPenalty, fm.jdcov: JDCovPenalty}


@pytest.fixture
def book(rng):
    n = 600
    cover = rng.choice(["basic", "full", "plus"], n)
    gender = np.where(rng.uniform(size=n) < np.where(cover == "plus", 0.8, 0.3), "f", "m")
    people = pd.DataFrame({"gender": gender, "region": rng.choice(["n", "s"], n)})
    u = rng.gamma(2.0, size=n) + 2 * (cover == "plus")
    return {"u": u, "people": people, "cover": pd.Series(cover), "weights": rng.uniform(0.2, 2.0, n)}


def mean_over_strata(metric, book, weighted, **options):
    total = 0.0
    shares = book["weights"] if weighted else np.ones(len(book["u"]))
    for _, rows in book["cover"].groupby(book["cover"]):
        rows = rows.index
        weights = {"sample_weight": shares[rows]} if weighted else {}
        value = metric(None, book["u"][rows], sensitive_features=book["people"].loc[rows], **weights, **options)
        total += shares[rows].sum() * value
    return total / shares.sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", DEPENDENCE)
def test_dependence_is_the_mean_over_the_strata(book, metric, weighted):
    weights = {"sample_weight": book["weights"]} if weighted else {}
    given = {"sensitive_features": book["people"], "control_features": book["cover"], **weights}
    encoder = SensitiveEncoder().fit(book["people"])
    assert_allclose(
        metric(None, book["u"], **given), mean_over_strata(metric, book, weighted, encoder=encoder), rtol=1e-10
    )
    bound = DEPENDENCE[metric]().bind(book["people"], weights.get("sample_weight"), control_features=book["cover"])
    assert_allclose(metric(None, book["u"], normalize=True, **given), bound.value(book["u"]), rtol=1e-10)
    constant = metric(None, book["u"], sensitive_features=book["people"], control_features=[1] * 600, **weights)
    assert constant == metric(None, book["u"], sensitive_features=book["people"], **weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", GROUP_METRICS)
def test_group_metrics_are_the_mean_over_the_strata(book, metric, weighted):
    weights = {"sample_weight": book["weights"]} if weighted else {}
    given = {"sensitive_features": book["people"], **weights}
    options = {"thresholds": [1.5, 3.0]} if "tier" in metric.__name__ else {}
    found = metric(None, book["u"], control_features=book["cover"], **given, **options)
    assert_allclose(found, mean_over_strata(metric, book, weighted, **options), rtol=1e-12)
    same = metric(None, book["u"], control_features=np.zeros(600), **given)
    assert_allclose(same, metric(None, book["u"], **given), rtol=1e-14)


def test_tiers_are_those_of_all_strata(book):
    given = {"sensitive_features": book["people"], "control_features": book["cover"]}
    thresholds = np.quantile(book["u"], [0.5, 0.9], method="inverted_cdf")
    for metric in (fm.tier_parity_gap, fm.tier_parity_ratio):
        found = metric(None, book["u"], quantiles=[0.5, 0.9], **given)
        assert found == metric(None, book["u"], thresholds=thresholds, **given)


@pytest.mark.parametrize("metric", [metric for metric in GROUP_METRICS if metric is not fm.tier_parity_ratio])
def test_null_levels_of_group_metrics_are_those_within_strata(book, metric):
    def with_control(y_true, y_pred, *, control_features, control_bins, **given):
        return metric(y_true, y_pred, control_features=control_features, control_bins=control_bins, **given)

    data = {"sensitive_features": book["people"], "control_features": book["cover"], "n_permutations": 4}
    bound = fm.null_distribution(metric, None, book["u"], random_state=3, **data)
    called = fm.null_distribution(with_control, None, book["u"], random_state=3, **data)
    assert_allclose(bound.values, called.values, rtol=1e-10)
    assert_allclose(bound.observed, called.observed, rtol=1e-14)


@pytest.mark.parametrize("metric", [*DEPENDENCE, *GROUP_METRICS])
def test_predictions_of_the_strata_alone_are_independent_within(book, metric):
    level = book["cover"].map({"basic": 1.0, "full": 2.0, "plus": 3.0})
    given = {"sensitive_features": book["people"]}
    equal = 1.0 if metric is fm.tier_parity_ratio else 0.0
    assert metric(None, level, control_features=book["cover"], **given) == equal
    assert abs(metric(None, level, **given) - equal) > 0.01


@pytest.mark.parametrize("metric", [*DEPENDENCE, fm.js_divergence])
def test_null_level_is_of_permutations_within_strata(book, metric):
    """Independent within strata, dependent over all: only permutations within strata reach the value observed."""
    data = {"sensitive_features": book["people"], "sample_weight": book["weights"], "n_permutations": 99}
    within = fm.null_distribution(metric, None, book["u"], control_features=book["cover"], random_state=0, **data)
    anywhere = fm.null_distribution(metric, None, book["u"], random_state=0, **data)
    assert within.observed == pytest.approx(
        metric(
            None,
            book["u"],
            sensitive_features=book["people"],
            sample_weight=book["weights"],
            control_features=book["cover"],
        )
    )
    assert within.p_value() > 0.01
    assert anywhere.p_value() == 0.01
    assert within.values.std() > 0


def test_null_values_are_those_of_permuted_attributes(book):
    """The bound metric and the plain call of the same one, by a name that it is not known by."""

    def plain(y_true, y_pred, **given):
        return fm.js_divergence(y_true, y_pred, **given)

    data = {"sensitive_features": book["people"], "control_features": book["cover"], "n_permutations": 5}
    bound = fm.null_distribution(fm.js_divergence, None, book["u"], random_state=3, **data)
    called = fm.null_distribution(plain, None, book["u"], random_state=3, **data)
    assert_allclose(bound.values, called.values, rtol=1e-12)
    assert bound.observed == called.observed


def test_metrics_that_take_none_say_so(book):
    def blind(y_true, y_pred, *, sensitive_features):
        return 0.0

    with pytest.raises(TypeError, match="blind does not take control_features"):
        fm.null_distribution(blind, None, book["u"], sensitive_features=book["people"], control_features=book["cover"])


def test_small_cells_and_strata_of_one_group(book):
    people, cover = book["people"]["gender"].copy(), book["cover"].copy()
    cover[:30], people[:30] = "rare", "f"
    with pytest.warns(
        SensitiveFeaturesWarning, match=r"1 of 4 strata.*one group only, where nothing differs: 'rare': 30"
    ):
        found = fm.js_divergence(None, book["u"], sensitive_features=people, control_features=cover)
    rest = fm.js_divergence(None, book["u"][30:], sensitive_features=people[30:], control_features=cover[30:])
    assert_allclose(found, rest * 570 / 600, rtol=1e-12)
    people[:3] = "m"
    with (
        pytest.warns(SensitiveFeaturesWarning, match=r"1 group.s. have fewer than min_group_size=5 rows in a stratum"),
        pytest.warns(SensitiveFeaturesWarning, match="one group only"),
    ):
        small = fm.js_divergence(None, book["u"], sensitive_features=people, control_features=cover, min_group_size=5)
    assert_allclose(small, rest * 570 / 597, rtol=1e-12)


@pytest.mark.parametrize("metric", [fm.ccdcov, fm.js_divergence])
def test_control_features_that_determine_the_groups(book, metric):
    gender = book["people"]["gender"]
    with pytest.raises(ValueError, match=r"control features \['zone'\] determine"):
        metric(None, book["u"], sensitive_features=gender, control_features=(gender + book["cover"]).rename("zone"))
    with pytest.raises(ValueError, match="control_features must have as many rows as y_pred"):
        metric(None, book["u"], sensitive_features=gender, control_features=book["cover"][1:])
    control = book["cover"].where(book["cover"].index != 3).rename("cover")
    with pytest.raises(ValueError, match="control_features column 'cover' has 1 missing"):
        metric(None, book["u"], sensitive_features=gender, control_features=control)


@pytest.mark.parametrize("metric", [fm.ccdcov, fm.js_divergence])
def test_rows_of_weight_zero_are_absent(book, metric):
    weights = book["weights"].copy()
    weights[:50] = 0
    control = book["cover"].copy()
    control[:10] = "none"
    found, kept = (
        metric(
            None,
            book["u"][rows],
            sensitive_features=book["people"][rows],
            sample_weight=weights[rows],
            control_features=control[rows],
        )
        for rows in (slice(None), slice(50, None))
    )
    assert_allclose(found, kept, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_net_divergence_is_net_in_each_stratum(book, weighted):
    weights = {"sample_weight": book["weights"]} if weighted else {}
    data = {"sensitive_features": book["people"], "control_features": book["cover"], "net": True, **weights}
    expected = mean_over_strata(fm.js_divergence, book, weighted, net=True)
    assert_allclose(fm.js_divergence(None, book["u"], **data), expected, rtol=1e-12)


def test_scorers_get_the_control_features_of_the_fold(book):
    X = pd.DataFrame({"u": book["u"], "plus": book["cover"] == "plus"}).astype(float)
    y = np.random.default_rng(0).poisson(book["u"])
    seen = []

    def spy(y_true, y_pred, *, sensitive_features, control_features=None):
        seen.append((sensitive_features, control_features))
        return 0.0

    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            DCovPoissonRegressor(strength=1.0),
            X,
            y,
            params={"sensitive_features": book["people"], "control_features": book["cover"]},
            scoring={"within": fm.neg_ccdcov_scorer, "spy": fm.make_fairness_scorer(spy)},
            cv=3,
            error_score="raise",
        )
    assert (found["test_within"] < 0).all()
    assert [len(control) for _, control in seen] == [200, 200, 200]
    assert all((control.index == people.index).all() for people, control in seen)
    assert fm.neg_ks_disparity_scorer.requests["control_features"] is True
