"""The record of what was tried, as a calibration or a search made it."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.calibration import search_candidates
from fairdcov.report import audit

pytestmark = pytest.mark.filterwarnings("ignore:rule='elbow' chooses strength 0")
QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}


@pytest.fixture
def book(rng):
    n = 600
    gender = rng.choice(["f", "m"], n)
    X = np.column_stack([(gender == "m") + rng.normal(size=n), rng.normal(size=n)])
    return X, rng.poisson(np.exp(0.4 * X[:, 0] - 0.5)).astype(float), gender


@pytest.fixture
def calibrator(book):
    X, y, gender = book
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(), strengths=[0.5, 5.0], rule="elbow", cv=2, n_permutations=5, verbose=0
    )
    return calibrator.fit(X, y, sensitive_features=gender)


def test_a_calibrator_is_its_own_record(book, calibrator):
    X, y, gender = book
    metadata = {"scope": "all", "alternatives": "a rating by hand"}
    report = audit(y, calibrator.predict(X), gender, alternatives=calibrator, metadata=metadata, **QUICK)
    *rows, stated = report.to_dict()["alternatives"]
    assert stated == "a rating by hand"
    assert [row["strength"] for row in rows] == [0.0, 0.5, 5.0]
    assert [row["chosen"] for row in rows] == (np.arange(3) == calibrator.best_index_).tolist()
    assert [row["divergence"] for row in rows] == calibrator.calibration_results_["mean_divergence"].tolist()
    # It is in what is handed on, and the user's own dict stays as it was.
    assert json.loads(report.to_json())["metadata"]["alternatives_recorded_by"] == "JSDivergenceCalibrator"
    assert "Alternatives, recorded by JSDivergenceCalibrator" in report.to_markdown()
    assert "The chosen strength" in str(report)
    assert metadata == {"scope": "all", "alternatives": "a rating by hand"}


def test_a_search_is_a_table(book):
    X, y, gender = book
    search = GridSearchCV(DCovPoissonRegressor(strength=0), {"alpha": [0.01, 1.0]}, cv=2).fit(X, y)
    table = search_candidates(search).assign(note=[None, np.nan])
    report = audit(y, search.predict(X), gender, alternatives=table, **QUICK)
    rows = report.to_dict()["alternatives"]
    assert [row["alpha"] for row in rows] == [0.01, 1.0]
    assert [row["note"] for row in rows] == [None, None]
    assert "Alternatives, recorded by a table" in report.to_markdown()


def test_what_is_no_record(book):
    _, y, gender = book
    for given in (JSDivergenceCalibrator(DCovPoissonRegressor()), [{"strength": 1.0}], pd.Series([1.0])):
        with pytest.raises(TypeError, match="alternatives must be a fitted JSDivergenceCalibrator or a DataFrame"):
            audit(y, y + 1, gender, alternatives=given, **QUICK)
