"""Rating factors as columns: every fold can be fitted, whatever levels it lacks."""

import numpy as np
import pandas as pd
import pytest

from fairdcov.cli._features import feature_columns, level_columns


@pytest.mark.parametrize("n_levels", [3, 60, 100, 101, 400])
@pytest.mark.parametrize("numeric", [False, True])
def test_folds_that_lack_levels(rng, n_levels, numeric):
    if numeric and n_levels > 8:
        pytest.skip("a quantity")
    codes = rng.permutation(np.arange(2 * n_levels) % n_levels)
    column = codes.astype(float) if numeric else pd.Categorical([f"level {code}" for code in codes])
    features = pd.DataFrame({"level": column, "mileage": rng.normal(size=len(codes))})
    if numeric:
        features.loc[0, "level"] = np.nan
    columns = feature_columns(features)
    base = features["level"].value_counts(dropna=False).index[0]
    without_base = features[features["level"] != base].reset_index(drop=True)
    encoded = columns.fit(without_base).transform(features)
    assert np.isfinite(encoded).all()
    for seed in range(5):
        half = np.random.default_rng(seed).permutation(len(features))[: len(features) // 2]
        encoded = columns.fit(features.iloc[half]).transform(features)
        assert np.isfinite(encoded).all()
        # levels are told apart as before
        if n_levels <= 100:
            assert len(np.unique(encoded[:, -(features["level"].nunique(dropna=False) - 1) :], axis=0)) > n_levels // 2


def test_columns_that_are_levels(rng):
    features = pd.DataFrame(
        {
            "many": pd.Categorical([f"m{k % 150}" for k in range(300)]),
            "mileage": rng.normal(size=300),
            "few": pd.Categorical([f"f{k % 3}" for k in range(300)]),
        }
    )
    assert level_columns([feature_columns(features)]) == ["few"]
    assert level_columns([object()]) == []
