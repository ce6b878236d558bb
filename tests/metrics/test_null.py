import numpy as np
import pandas as pd
import polars as pl
import pytest

from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.metrics import (
    NullDistribution,
    ccdcov,
    dcov,
    demographic_parity_gap,
    jdcov,
    js_divergence,
    ks_disparity,
    null_distribution,
    unfairness_ratio,
    wasserstein_disparity,
)

METRICS = [
    js_divergence,
    unfairness_ratio,
    ks_disparity,
    wasserstein_disparity,
    demographic_parity_gap,
    dcov,
    ccdcov,
    jdcov,
]


def plain(metric):
    """The same metric as a function that null_distribution does not know."""
    return lambda *args, **kwargs: metric(*args, **kwargs)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_fast_path_is_the_metric_of_permuted_attributes(book, metric, weighted):
    people, prediction, exposure = book
    people, prediction, exposure = people[:400], prediction[:400], exposure[:400]
    options = {"sensitive_features": people, "n_permutations": 5, "random_state": 3}
    if weighted:
        options["sample_weight"] = exposure
    fast = null_distribution(metric, None, prediction, **options)
    slow = null_distribution(plain(metric), None, prediction, **options)
    assert fast.values == pytest.approx(slow.values, rel=1e-8)
    assert fast.observed == pytest.approx(slow.observed, rel=1e-10)
    assert np.unique(fast.values).size == 5
    rows = np.random.RandomState(3).permutation(400)
    by_hand = metric(
        None, prediction, sensitive_features=people.iloc[rows], sample_weight=exposure if weighted else None
    )
    assert fast.values[0] == pytest.approx(by_hand, rel=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("metric", "options"),
    [
        (ccdcov, {"statistic": "u"}),
        (dcov, {"normalize": True}),
        (jdcov, {"net": False, "c": 0.5}),
        (jdcov, {"net": False, "normalize": True}),
        (ccdcov, {"method": "tiles"}),
        (dcov, {"method": "univariate", "normalize": True}),
        (jdcov, {"method": "approximate"}),
    ],
)
def test_dependence_of_permuted_attributes_with_any_options(book, metric, options, weighted):
    people, prediction, exposure = book
    people, prediction, exposure = people[:300].copy(), 1e-200 * prediction[:300], exposure[:300]
    people["age"] = np.random.default_rng(0).normal(40, 10, 300).round()
    if options.get("method") == "univariate":
        people = people[["age"]]
    if options.get("statistic") == "u" and weighted:
        pytest.skip("not defined")
    options = options | {"sensitive_features": people, "sample_weight": exposure if weighted else None}
    fast = null_distribution(metric, None, prediction, n_permutations=6, random_state=1, **options)
    slow = null_distribution(plain(metric), None, prediction, n_permutations=6, random_state=1, **options)
    # Pivots of an approximation that are drawn with the weights change with every permutation.
    tolerance = 0.02 if weighted and options.get("method") == "approximate" else 1e-8
    assert fast.values == pytest.approx(slow.values, rel=tolerance)
    assert fast.observed == pytest.approx(slow.observed, rel=tolerance)


@pytest.mark.parametrize("convert", [lambda s: pl.DataFrame(s.to_dict("list")), lambda s: s.to_numpy(), lambda s: s])
def test_metrics_of_the_user_are_called_with_permuted_rows(book, convert):
    people, prediction, _ = book

    def share_gap(y_true, y_pred, *, sensitive_features, sample_weight=None, threshold):
        column = pd.DataFrame(np.asarray(sensitive_features), columns=["region", "gender"])["gender"]
        above = pd.Series(np.asarray(y_pred) > threshold).groupby(column).mean()
        return abs(above["f"] - above["m"])

    found = null_distribution(
        share_gap,
        None,
        prediction,
        sensitive_features=convert(people),
        threshold=0.15,
        n_permutations=50,
        random_state=0,
    )
    assert found.observed == pytest.approx(share_gap(None, prediction, sensitive_features=people, threshold=0.15))
    assert found.observed > found.quantile(0.9)


def test_labels_of_pandas_stay_with_the_predictions(book):
    """Permuted labels would be taken for rows in another order, by the metric or by what it does with them."""
    people, prediction, _ = book
    people, prediction = people[:50], pd.Series(prediction[:50], index=people.index[:50])
    seen = []

    def metric(y_true, y_pred, *, sensitive_features):
        seen.append(sensitive_features)
        return js_divergence(y_true, y_pred, sensitive_features=sensitive_features)

    found = null_distribution(metric, None, prediction, sensitive_features=people, n_permutations=3, random_state=0)
    assert all(permuted.index.equals(people.index) for permuted in seen)
    assert len(np.unique(found.values)) == 3


def test_options_and_bins_are_passed_on(book):
    people, prediction, exposure = book
    people = people.assign(age=np.random.default_rng(0).normal(40, 10, len(people)))
    options = {"bins": {"age": 3}, "bandwidth": 0.15, "n_points": 1000, "group_weights": "equal"}
    null = null_distribution(
        js_divergence,
        None,
        prediction,
        sensitive_features=people,
        sample_weight=exposure,
        n_permutations=3,
        random_state=0,
        **options,
    )
    expected = js_divergence(None, prediction, sensitive_features=people, sample_weight=exposure, **options)
    assert null.observed == pytest.approx(expected, rel=1e-12)
    assert null.observed != pytest.approx(js_divergence(None, prediction, sensitive_features=people, bins=3), rel=1e-2)


def test_p_values_are_uniform_without_dependence():
    """Mean and spread of p-values over independent samples."""
    rng = np.random.default_rng(0)
    p_values = [
        null_distribution(
            js_divergence,
            None,
            rng.normal(size=120),
            sensitive_features=rng.integers(0, 3, 120),
            n_permutations=39,
            random_state=seed,
        ).p_value()
        for seed in range(200)
    ]
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.07)
    assert min(p_values) >= 1 / 40


def test_p_values_are_small_with_dependence(book):
    people, prediction, exposure = book
    null = null_distribution(
        js_divergence,
        None,
        prediction,
        sensitive_features=people,
        sample_weight=exposure,
        n_permutations=99,
        random_state=0,
    )
    assert null.p_value() == 0.01
    assert null.observed > 2 * null.quantile(0.95)
    assert null.mean > 0


def test_object():
    null = NullDistribution(np.array([1.0, 2.0, 3.0, 4.0]), 3.0)
    assert null.p_value() == pytest.approx(3 / 5)
    assert null.p_value(3.0 + 1e-13) == pytest.approx(3 / 5)
    assert null.p_value(5.0) == pytest.approx(1 / 5)
    assert null.p_value(0.0) == 1.0
    assert null.mean == 2.5
    assert null.quantile(0.5) == 2.5
    assert null.quantile([0.0, 1.0]).tolist() == [1.0, 4.0]
    assert np.asarray(null).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert "observed=3" in repr(null)


@pytest.mark.parametrize("metric", METRICS)
def test_constant_predictions(metric):
    null = null_distribution(
        metric, None, np.ones(20), sensitive_features=["a", "b"] * 10, n_permutations=4, random_state=0
    )
    assert null.values.tolist() == [0.0] * 4
    assert null.p_value() == 1.0


def test_random_state_is_reproducible(book):
    people, prediction, _ = book
    options = {"sensitive_features": people, "n_permutations": 4}
    first, second, other = (
        null_distribution(js_divergence, None, prediction, random_state=seed, **options).values for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("metric", [js_divergence, plain(js_divergence)], ids=["own", "other"])
def test_errors(metric):
    with pytest.raises(ValueError, match="n_permutations"):
        null_distribution(metric, None, [1.0, 2.0], sensitive_features=["a", "b"], n_permutations=0)
    with pytest.raises(MissingSensitiveFeaturesError):
        null_distribution(metric, None, [1.0, 2.0], sensitive_features=None)
    with pytest.raises(ValueError, match="sensitive_features must have as many rows"):
        null_distribution(metric, None, [1.0, 2.0], sensitive_features=["a", "b", "c"])
