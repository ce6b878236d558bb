"""The divergence less what chance adds to it, and its standard error."""

import numpy as np
import pandas as pd
import pytest

from fairdcov.metrics import (
    DivergenceSummary,
    divergence_summary,
    group_predictions,
    js_divergence,
    neg_net_js_divergence_scorer,
    null_distribution,
)
from fairdcov.metrics._divergence import _BinnedDensities, _shares, _variance

GROUP_WEIGHTS = ["proportion", "equal"]


def groups_of(rng, n, n_groups, unequal):
    shares = 1.0 / np.arange(1, n_groups + 1) if unequal else np.ones(n_groups)
    codes = rng.choice(n_groups, n, p=shares / shares.sum())
    return np.array([f"group {code:02d}" for code in codes])


@pytest.mark.parametrize("group_weights", GROUP_WEIGHTS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "n_groups", "unequal"), [(200, 2, False), (3000, 20, True), (20_000, 20, False)])
def test_net_of_its_mean_under_permuted_groups(rng, n, n_groups, unequal, weighted, group_weights):
    """Against permutations of the rows by another way and seed, within three standard errors of the two means."""
    prediction = rng.standard_t(3, n) if unequal else np.exp(rng.normal(-2, 0.4, n))
    arguments = {
        "sensitive_features": groups_of(rng, n, n_groups, unequal),
        "sample_weight": rng.lognormal(0, 1, n) if weighted else None,
        "group_weights": group_weights,
    }
    raw = js_divergence(None, prediction, **arguments)
    net = js_divergence(None, prediction, net=True, **arguments)
    null = null_distribution(js_divergence, None, prediction, n_permutations=100, random_state=1, **arguments)
    error = null.values.std(ddof=1) * np.sqrt(1 / 100 + 1 / 50)
    assert raw - net == pytest.approx(null.mean, abs=3 * error)
    # The groups do not matter here: the net value is 0 but for chance.
    assert abs(net) < 4 * null.values.std(ddof=1)


def test_the_level_of_twenty_groups():
    rng = np.random.default_rng(0)
    group = rng.integers(20, size=20_000).astype(str)
    summary = divergence_summary(None, np.exp(rng.normal(size=20_000)), sensitive_features=group, bandwidth=0.05)
    plain = divergence_summary(None, np.exp(rng.normal(-2, 0.4, 20_000)), sensitive_features=group)
    assert plain.null_mean == pytest.approx(0.0138, abs=0.001)
    # Narrower kernels add more.
    assert summary.null_mean > 1.5 * plain.null_mean
    for found in (summary, plain):
        assert abs(found.net) < 3 * found.standard_error


@pytest.mark.parametrize("weighted", [False, True])
def test_neither_the_order_of_rows_nor_names_matter(book, weighted):
    people, prediction, exposure = book
    weights = exposure if weighted else None
    prediction = np.round(prediction, 2)  # ties
    order = np.random.default_rng(3).permutation(len(prediction))
    renamed = people.map({"north": "z", "south": "a", "west": "m", "f": "y", "m": "b"}.get)
    expected = divergence_summary(None, prediction, sensitive_features=people, sample_weight=weights)
    moved = divergence_summary(
        None,
        prediction[order],
        sensitive_features=renamed.iloc[order].reset_index(drop=True),
        sample_weight=None if weights is None else 4 * weights[order],
    )
    for name in ("divergence", "null_mean", "net", "standard_error"):
        assert getattr(moved, name) == pytest.approx(getattr(expected, name), rel=1e-9)


def test_rows_of_weight_zero_are_absent(book):
    people, prediction, exposure = book
    weights = np.where(np.arange(len(prediction)) % 3 == 0, 0.0, exposure)
    keep = weights > 0
    whole = divergence_summary(None, prediction, sensitive_features=people, sample_weight=weights)
    part = divergence_summary(None, prediction[keep], sensitive_features=people[keep], sample_weight=weights[keep])
    assert whole == part


@pytest.mark.parametrize("net", [False, True])
def test_summary_and_function_agree(book, net):
    people, prediction, exposure = book
    options = {"sensitive_features": people, "sample_weight": exposure, "bandwidth": "scott", "n_points": 300}
    summary = divergence_summary(None, prediction, **options)
    value = js_divergence(None, prediction, net=net, **options)
    assert value == pytest.approx(summary.net if net else summary.divergence, rel=1e-12)
    assert summary.net == summary.divergence - summary.null_mean
    assert "net=" in repr(summary)


@pytest.mark.parametrize("people", [["all"] * 6, list("aabbcc")])
def test_nothing_to_differ_is_zero(people):
    if len(set(people)) == 1:
        with pytest.warns(UserWarning, match="one group"):
            summary = divergence_summary(None, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], sensitive_features=people)
    else:
        summary = divergence_summary(None, np.full(6, 2.5), sensitive_features=people)
        assert js_divergence(None, np.full(6, 2.5), sensitive_features=people, net=True) == 0
    assert summary == DivergenceSummary(0.0, 0.0, 0.0)


@pytest.mark.parametrize("group_weights", GROUP_WEIGHTS)
def test_influences_are_derivatives(rng, group_weights):
    """The variance is the sum of squares of w_i dJSD / dw_i, here by differences of the weights of some rows."""
    n, step = 60, 1e-4
    codes = rng.integers(3, size=n)
    prediction, weights = rng.gamma(3.0 + codes), rng.uniform(0.2, 2.0, n)
    people = codes.astype(str)

    def value(changed):
        return js_divergence(
            None, prediction, sensitive_features=people, sample_weight=changed, bandwidth=0.7, n_points=200,
            group_weights=group_weights,
        )  # fmt: skip

    influences = np.empty(n)
    for row in range(n):
        change = np.zeros(n)
        change[row] = step * weights[row]
        influences[row] = (value(weights + change) - value(weights - change)) / (2 * step)
    sample = group_predictions(None, prediction, people, weights)
    binned = _BinnedDensities(sample, 0.7, 200)
    masses, shares = binned.masses(sample.codes), _shares(sample, group_weights, sample.codes)
    found = _variance(binned, masses, shares, sample.codes, group_weights)
    assert found == pytest.approx(influences @ influences, rel=1e-5)


@pytest.mark.parametrize("group_weights", GROUP_WEIGHTS)
@pytest.mark.parametrize("shift", [0.0, 0.15, 0.5])
def test_standard_error_against_simulation(shift, group_weights):
    rng = np.random.default_rng(11)
    net, error = [], []
    for _ in range(150):
        code = rng.integers(4, size=800)
        prediction, weights = rng.gamma(4.0 + shift * code), rng.uniform(0.2, 2.0, 800)
        summary = divergence_summary(
            None, prediction, sensitive_features=code.astype(str), sample_weight=weights, group_weights=group_weights
        )
        net.append(summary.net)
        error.append(summary.standard_error)
    spread = np.std(net, ddof=1)
    assert 0.8 * spread < np.sqrt(np.mean(np.square(error))) < 1.35 * spread
    if shift == 0:
        assert abs(np.mean(net)) < 4 * spread / np.sqrt(150)


def test_null_distribution_of_the_net_value_is_about_zero(book):
    people, prediction, _ = book
    null = null_distribution(
        js_divergence, None, prediction, sensitive_features=people, net=True, n_permutations=100, random_state=0
    )
    raw = null_distribution(
        js_divergence, None, prediction, sensitive_features=people, n_permutations=100, random_state=0
    )
    assert np.ptp(raw.values - null.values) < 1e-12
    assert abs(null.mean) < 0.1 * raw.mean


def test_net_is_checked(book):
    people, prediction, _ = book
    with pytest.raises((TypeError, ValueError), match="net must be"):
        js_divergence(None, prediction, sensitive_features=people, net="yes")
    with pytest.raises(ValueError, match="group_weights"):
        divergence_summary(None, prediction, sensitive_features=people, group_weights="rows")


def test_scorer(book):
    class Model:
        def predict(self, X):
            return X[:, 0]

    people, prediction, exposure = book
    found = neg_net_js_divergence_scorer(
        Model(), prediction[:, None], None, sensitive_features=people, sample_weight=exposure
    )
    assert found == -js_divergence(None, prediction, sensitive_features=people, sample_weight=exposure, net=True)


def test_frames_and_arrays_agree(book):
    people, prediction, _ = book
    assert divergence_summary(None, prediction, sensitive_features=people) == divergence_summary(
        None, pd.Series(prediction), sensitive_features=people.to_numpy(dtype=object)
    )
