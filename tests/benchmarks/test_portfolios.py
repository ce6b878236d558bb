"""The portfolios that nothing was tuned on are read and split as they say."""

import numpy as np
import pytest

pytest.importorskip("statsmodels")


@pytest.fixture(scope="module")
def portfolios(script):
    """The module benchmarks/portfolios.py."""
    return script("portfolios")


@pytest.mark.parametrize(
    ("name", "n_rows", "n_groups", "mean"), [("randhie", 20_190, 6, 2.8604), ("fair", 6_366, 12, 0.7054)]
)
def test_rows_and_groups(portfolios, name, n_rows, n_groups, mean):
    rows = portfolios.PORTFOLIOS[name]()
    assert len(rows) == n_rows
    # The published means of the targets.
    assert rows.target.mean() == pytest.approx(mean, abs=1e-3)
    sizes = rows.protected.agg("|".join, axis=1).value_counts()
    assert len(sizes) == n_groups
    assert sizes.min() > 100
    assert not set(rows.features) & set(rows.protected)
    assert np.isfinite(rows.features.to_numpy()).all()
    base, calibration, rest, held = portfolios.split(rows, 0)
    assert not set(rest.features.index) & set(held.features.index)
    assert sorted([*base.features.index, *calibration.features.index]) == sorted(rest.features.index)
    assert len(held) == pytest.approx(n_rows / 4, abs=1)
    columns = portfolios.columns_of(rest.features)
    table = columns.fit(rest.features).transform(held.features)
    assert table.shape[0] == len(held)
    assert np.isfinite(table).all()
