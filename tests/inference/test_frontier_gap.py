"""The distance of a model to references at its divergence."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_poisson_deviance

from fairdcov import frontier_gap
from fairdcov.metrics import js_divergence


@pytest.fixture
def book(rng):
    """Observed values, group, weights, and predictions that differ by group less and less."""
    n = 2000
    group = rng.choice(["f", "m"], n)
    base = rng.gamma(4.0, 0.25, n)
    weights = rng.uniform(0.5, 1.0, n)
    y = rng.poisson(5 * base) / 5

    def prediction(effect):
        return base * np.exp(effect * (group == "m"))

    return y, group, weights, prediction


def deviance(y, prediction, weights):
    return mean_poisson_deviance(y, prediction, sample_weight=weights)


@pytest.mark.parametrize("net", [False, True])
def test_by_hand(book, net):
    y, group, weights, prediction = book
    given = {"sensitive_features": group, "sample_weight": weights}
    own = 1.1 * prediction(0.3)
    paths = {
        "unaware": {0: prediction(0.5), 10: prediction(0.1)},
        "aware": {0: 0.9 * prediction(0.6), 5: prediction(0.0)},
    }
    gap = frontier_gap(y, own, **given, **paths, net=net)
    reached = js_divergence(None, own, **given, net=net)
    expected = {}
    for name, path in paths.items():
        (low, first), (high, second) = path.items()
        start, end = (js_divergence(None, each, **given, net=net) for each in (first, second))
        share = (start - reached) / (start - end)
        assert 0 < share < 1
        row = gap.table.loc[f"best {'with' if name == 'aware' else 'without'} S"]
        expected[name] = (1 - share) * deviance(y, first, weights) + share * deviance(y, second, weights)
        assert row["deviance"] == pytest.approx(expected[name])
        assert row["strength"] == pytest.approx((1 - share) * low + share * high)
        assert row["divergence"] == reached
        assert row["reached"]
    assert gap.left_on_the_table == pytest.approx(deviance(y, own, weights) - expected["unaware"])
    assert gap.cost_of_not_seeing == pytest.approx(expected["unaware"] - expected["aware"])
    assert "what this model leaves on the table" in str(gap)
    assert "what not seeing S costs" in str(gap)


def test_standard_errors_are_paired(book):
    y, group, weights, prediction = book
    own, other = 1.2 * prediction(0.0), prediction(0.0)
    gap = frontier_gap(y, own, sensitive_features=group, sample_weight=weights, unaware={0.0: other})
    rows = 2 * (own - other - y * np.log(own / other))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(500):
        chosen = rng.integers(len(y), size=len(y))
        draws.append(np.average(rows[chosen], weights=weights[chosen]))
    assert gap.left_on_the_table == pytest.approx(np.average(rows, weights=weights))
    assert gap.left_on_the_table_std_error == pytest.approx(np.std(draws), rel=0.15)
    assert gap.cost_of_not_seeing is None
    assert gap.cost_of_not_seeing_std_error is None


def test_references_that_do_not_get_there(book):
    y, group, weights, prediction = book
    path = {0: prediction(0.8), 1: prediction(0.5), 2: prediction(0.6)}
    gap = frontier_gap(y, prediction(0.1), sensitive_features=group, sample_weight=weights, aware=path)
    row = gap.table.loc["best with S"]
    assert not row["reached"]
    assert row["strength"] == 1
    assert row["deviance"] == pytest.approx(deviance(y, prediction(0.5), weights))
    assert "does not reach" in str(gap)
    # A reference that is as independent without any penalty is taken as it is.
    gap = frontier_gap(y, prediction(0.9), sensitive_features=group, aware=path)
    assert gap.table.loc["best with S", ["strength", "reached"]].tolist() == [0, True]
    # Between a strength and an infinite one there is no strength to name.
    path = {1.0: prediction(0.8), np.inf: prediction(0.0)}
    gap = frontier_gap(y, prediction(0.4), sensitive_features=group, unaware=path)
    assert gap.table.loc["best without S", "strength"] == np.inf


def test_a_model_is_no_distance_from_itself(book):
    y, group, _, prediction = book
    gap = frontier_gap(y, prediction(0.3), sensitive_features=group, unaware={3.0: prediction(0.3)})
    assert gap.left_on_the_table == 0
    assert gap.left_on_the_table_std_error == 0


def test_other_losses_and_options(book):
    y, group, _, prediction = book
    groups = pd.DataFrame({"group": group, "size": np.arange(len(y)) % 100})
    given = {"sensitive_features": groups, "bins": 2, "loss": "squared_error"}
    gap = frontier_gap(y, prediction(0.3), unaware={0: prediction(0.2)}, **given)
    expected = np.mean((y - prediction(0.3)) ** 2) - np.mean((y - prediction(0.2)) ** 2)
    assert gap.left_on_the_table == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unaware": None}, "needs reference predictions by strength"),
        ({"loss": "absolute"}, "loss must be one of"),
        ({"net": "no"}, "net must be True or False"),
        ({"y_pred": np.zeros(2000)}, "y_pred has 2000 prediction.* without a finite deviance for loss='poisson'"),
        ({"unaware": {1.0: np.ones(3)}}, r"unaware\[1.0\] must have as many rows as y_true: found 3"),
    ],
)
def test_bad_input(book, changes, message):
    y, group, _, prediction = book
    given = {"y_true": y, "y_pred": prediction(0.3), "unaware": {0: prediction(0.3)}, "sensitive_features": group}
    with pytest.raises(ValueError, match=message):
        frontier_gap(**(given | changes))
