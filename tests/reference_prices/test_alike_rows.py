"""Rows sorted so that neighbours are alike: nothing is lost, and predictions are those of the rows as they were."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from fairdcov import UnawareFairRegressor, UnawareFeatures
from fairdcov.linear_model import DCovPoissonRegressor
from fairdcov.reference_prices import _alike_rows, _unaware_fair
from fairdcov.reference_prices._alike_rows import alike_rows


def mixed_frame(rng, n):
    """Columns of every kind, with gaps, and labels that are no positions."""
    return pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "whole": rng.integers(0, 30, n),
            "flag": rng.integers(0, 2, n) > 0,
            "text": rng.choice(["x", "y", None], n),
            "category": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.random(n)),
            "constant": 1.0,
            "nothing": np.nan,
            "name": [f"policy {k}" for k in range(n)],
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 9, n), "D"),
        },
        index=rng.permutation(n),
    )


def test_a_frame_comes_back(rng):
    X = mixed_frame(rng, 3_000)
    rows, back = alike_rows(X)
    pd.testing.assert_frame_equal(rows.iloc[back], X)
    flags = rows["flag"].to_numpy()
    # The first column to sort by has one change; rows at random have 1,500.
    assert (flags[1:] != flags[:-1]).sum() == 1
    columns = ["number", "whole", "flag", "text", "category", "gaps"]
    codes = rows[columns].apply(lambda column: pd.factorize(column.astype(str))[0])
    before = X[columns].apply(lambda column: pd.factorize(column.astype(str))[0])
    changes, changes_before = ((np.diff(table.to_numpy(), axis=0) != 0).sum() for table in (codes, before))
    assert changes < 0.8 * changes_before


def test_polars_comes_back(rng):
    polars = pytest.importorskip("polars")
    X = polars.from_pandas(mixed_frame(rng, 3_000).reset_index(drop=True))
    rows, back = alike_rows(X)
    assert not rows.equals(X)
    assert rows[back].equals(X)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.normal(size=(3_000, 3)),
        lambda rng: rng.normal(size=(3_000, 40)).astype(np.float32),
        lambda rng: np.where(rng.random((3_000, 2)) < 0.5, np.nan, np.inf),
        lambda rng: np.column_stack([rng.choice(["a", "b"], 3_000), rng.normal(size=3_000)]).astype(object),
    ],
)
def test_arrays_come_back(rng, make):
    X = make(rng)
    rows, back = alike_rows(X)
    assert pd.DataFrame(rows[back]).equals(pd.DataFrame(X))


@pytest.mark.parametrize(
    "X",
    [np.zeros((3_000, 2)), np.arange(20.0).reshape(10, 2), sp.csr_array(np.eye(3_000)), np.full((3_000, 1), np.nan)],
)
def test_nothing_to_sort(X):
    rows, back = alike_rows(X)
    assert rows is X
    assert back == slice(None)


def test_predictions_are_those_of_the_rows_as_they_were(rng, monkeypatch):
    n = 2_400
    X = pd.DataFrame(
        {"a": rng.normal(size=n), "b": rng.integers(0, 4, n), "c": rng.random(n)}, index=rng.permutation(n)
    )
    gender = np.where(X["a"] + rng.normal(size=n) > 0, "m", "f")
    y = rng.poisson(np.exp(0.3 * X["a"] - 0.2 * X["b"]))
    small = {"max_iter": 5, "max_leaf_nodes": 6, "random_state": 0}
    learners = HistGradientBoostingRegressor(loss="poisson", **small), HistGradientBoostingClassifier(**small)
    features = UnawareFeatures(*learners, cv=2, n_knots=3).fit(X, y, sensitive_features=gender)
    model = UnawareFairRegressor(DCovPoissonRegressor(strength=1.0), *learners, cv=2, n_knots=3)
    model = model.fit(X, y, sensitive_features=gender)
    monkeypatch.setattr(_unaware_fair, "_CHUNK", 1_000)
    sorted_, prediction = features.transform(X), model.predict(X)
    tables = list(features.tables_of_folds(X))
    monkeypatch.setattr(_alike_rows, "_FEWEST_ROWS", n + 1)
    pd.testing.assert_frame_equal(sorted_, features.transform(X))
    np.testing.assert_allclose(prediction, model.predict(X), rtol=1e-13)
    for table, plain in zip(tables, features.tables_of_folds(X), strict=True):
        pd.testing.assert_frame_equal(table, plain)
