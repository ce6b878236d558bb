"""What holds for any predictions and groups: of the metrics, drawn at random."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import (
    ccdcov,
    dcov,
    demographic_parity_gap,
    jdcov,
    js_divergence,
    ks_disparity,
    tier_parity_gap,
    tier_parity_ratio,
    unfairness_ratio,
    wasserstein_disparity,
)


def ratio_by_share(*arguments, **options):
    return unfairness_ratio(*arguments, group_weights="proportion", **options)


def shares_apart(*arguments, **options):
    return 1.0 - tier_parity_ratio(*arguments, **options)


# Each with an upper bound, and whether whole weights are repetition: a bandwidth and a degree of freedom count rows.
METRICS = {
    "gap": (demographic_parity_gap, np.inf, True),
    "ratio": (unfairness_ratio, np.inf, False),
    "ratio by share": (ratio_by_share, 1.0, True),
    "divergence": (js_divergence, np.inf, False),
    "ks": (ks_disparity, 1.0, True),
    "wasserstein": (wasserstein_disparity, np.inf, True),
    "tiers": (tier_parity_gap, 1.0, True),
    "tiers by ratio": (shares_apart, 1.0, True),
    "dcov": (dcov, np.inf, True),
    "ccdcov": (ccdcov, np.inf, True),
    "jdcov": (jdcov, np.inf, True),
}


@st.composite
def books(draw):
    """Predictions, whole weights of which some are 0, and one or two attributes."""
    n = draw(st.integers(2, 14))
    column = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    predictions = st.one_of(st.integers(-4, 4).map(float), st.floats(-100, 100).map(lambda value: round(value, 6)))
    people = {f"s{c}": [f"level {code}" for code in draw(column)] for c in range(draw(st.integers(1, 2)))}
    weights = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    return (
        np.array(draw(st.lists(predictions, min_size=n, max_size=n))),
        np.array(weights, dtype=float),
        pd.DataFrame(people),
        draw(st.integers(0, 2**32 - 1)),
    )


def value(metric, predictions, people, weights=None):
    with warnings.catch_warnings():
        # One group, a group without weight and constant attributes are remarked on; here they are wanted.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        return metric(None, predictions, sensitive_features=people, sample_weight=weights)


def check(name, book):
    metric, highest, repetition = METRICS[name]
    predictions, weights, people, seed = book
    rng = np.random.default_rng(seed)
    found = value(metric, predictions, people, weights)
    # Rounding of the predictions, in their units; measures without units are far below that.
    close = {"rel": 1e-7, "abs": 1e-9 * (1 + np.abs(predictions).max())}

    # A finite number within its bounds.
    assert -close["abs"] <= found <= highest * (1 + 1e-12)
    # Neither the order of the rows nor the names of the groups matter.
    order = rng.permutation(len(predictions))
    moved = people.iloc[order].reset_index(drop=True)
    assert value(metric, predictions[order], moved, weights[order]) == pytest.approx(found, **close)
    names = {f"level {code}": f"{name} {code}" for code, name in enumerate(rng.permutation(["z", "b", "y", "a"]))}
    renamed = people.map(names.get)
    assert value(metric, predictions, renamed, weights) == pytest.approx(found, **close)
    # The unit of the weights does not matter; rows of weight 0 are absent, whatever stands in them.
    assert value(metric, predictions, people, 4 * weights) == pytest.approx(found, **close)
    keep = weights > 0
    assert value(metric, predictions[keep], people[keep], weights[keep]) == pytest.approx(found, **close)
    odd, other = predictions.copy(), people.copy()
    odd[~keep], other.loc[~keep, "s0"] = 1e6, "someone else"
    assert value(metric, odd, other, weights) == pytest.approx(found, **close)
    # Whole weights repeat rows.
    if repetition:
        rows = np.repeat(np.arange(len(predictions)), weights.astype(int))
        assert value(metric, predictions[rows], people.iloc[rows]) == pytest.approx(found, **close)
    # Nothing depends on a single group, and a constant prediction depends on nothing.
    assert value(metric, predictions, ["all"] * len(predictions), weights) == 0
    assert value(metric, np.full(len(predictions), 2.5), people, weights) == 0


@pytest.mark.parametrize("n_examples", [8, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", METRICS)
def test_properties_of_the_metrics(name, n_examples):
    run = given(book=books())(lambda book: check(name, book))
    settings(max_examples=n_examples, deadline=None, derandomize=True, database=None)(run)()
