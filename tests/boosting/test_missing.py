"""Without the learners: the package imports, and a fit names the extra to install."""

import sys

import numpy as np
import pytest

from fairdcov import DCovLGBMClassifier, DCovLGBMRegressor, DCovXGBRegressor


@pytest.mark.parametrize(
    ("model", "module"),
    [
        (DCovLGBMRegressor(strength=0), "lightgbm"),
        (DCovLGBMClassifier(strength=0), "lightgbm"),
        (DCovXGBRegressor(strength=0), "xgboost"),
    ],
)
def test_a_missing_learner_names_its_extra(model, module, monkeypatch, rng):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'fairdcov\[boosting\]'"):
        model.fit(rng.normal(size=(20, 2)), rng.integers(0, 2, 20))
    assert not hasattr(model, "n_features_in_")
    assert not any(name.endswith("_") for name in vars(model))
    assert np.isclose(model.strength, 0)
