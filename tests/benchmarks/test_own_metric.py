"""The metric of the example keeps to what every metric promises, and goes where the package's own go."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_validate

from fairdcov.metrics import make_fairness_scorer, null_distribution


@pytest.fixture(scope="module")
def balance_gap(import_example):
    return import_example("own_metric").balance_gap


@pytest.fixture
def rows(rng):
    n = 60
    protected = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "region": rng.choice(["A", "B"], n)})
    return {
        "y_true": rng.gamma(2.0, size=n),
        "y_pred": rng.gamma(2.0, size=n),
        "sensitive_features": protected,
        "sample_weight": rng.integers(0, 3, n),
    }


def taken(rows, positions):
    return {
        "y_true": rows["y_true"][positions],
        "y_pred": rows["y_pred"][positions],
        "sensitive_features": rows["sensitive_features"].iloc[positions],
    }


def test_definition(balance_gap):
    gap = balance_gap([1.0, 1.0, 2.0], [1.0, 2.0, 1.0], sensitive_features=["a", "a", "b"], sample_weight=[1, 3, 5])
    assert gap == pytest.approx(7 / 4 - 1 / 2)


def test_weights_are_repetition_and_rows_of_weight_0_are_absent(balance_gap, rows):
    repeated = np.repeat(np.arange(60), rows["sample_weight"])
    assert balance_gap(**rows) == pytest.approx(balance_gap(**taken(rows, repeated)), rel=1e-12)


def test_neither_the_order_of_rows_nor_names_of_groups_matter(balance_gap, rows, rng):
    own = taken(rows, np.arange(60))
    turned = taken(rows, rng.permutation(60))
    turned["sensitive_features"] = turned["sensitive_features"].replace({"f": "x", "m": "e", "A": "é", "B": "a"})
    assert balance_gap(**own) == pytest.approx(balance_gap(**turned), rel=1e-12)


def test_groups_without_claims_are_named(balance_gap):
    with pytest.raises(ValueError, match="total of 0 in some groups, for which there is no balance: b"):
        balance_gap([1.0, 0.0], [1.0, 1.0], sensitive_features=["a", "b"])


def test_null_distributions_and_searches_take_it(balance_gap, rows):
    null = null_distribution(balance_gap, n_permutations=5, random_state=0, **rows)
    assert null.observed == balance_gap(**rows)
    X, attributes = np.zeros((60, 1)), rows["sensitive_features"]
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            DummyRegressor(),
            X,
            rows["y_true"],
            scoring=make_fairness_scorer(balance_gap),
            cv=2,
            params={"sensitive_features": attributes},
            error_score="raise",
        )["test_score"]
    assert (scores < 0).all()
