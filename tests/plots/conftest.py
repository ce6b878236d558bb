import sys

import numpy as np
import pandas as pd
import pytest

from fairdcov._checks import _optional


@pytest.fixture(autouse=True)
def close_figures():
    yield
    sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As if matplotlib were not installed, for everything that goes through the one helper."""
    real = _optional.importlib.import_module

    def import_module(name, *arguments):
        if name.split(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *arguments)

    monkeypatch.setattr(_optional.importlib, "import_module", import_module)


@pytest.fixture
def results():
    """Calibration results of eight strengths whose divergence falls by far more than a factor of ten."""
    strengths = np.append(0.0, np.geomspace(0.1, 100, 7))
    divergence = 0.03 / (1 + 5 * strengths)
    return {
        "strengths": strengths,
        "mean_divergence": divergence,
        "std_error_divergence": 0.1 * divergence,
        "mean_score": -0.5 - 0.01 * np.log1p(strengths),
        "std_error_score": np.linspace(0.001, 0.002, 8),
        "null_mean": np.linspace(5e-4, 4e-4, 8),
        "null_level": np.linspace(8e-4, 6e-4, 8),
        "mean_fit_seconds": np.ones(8),
        "fold_divergence": np.ones((8, 5)),
    }


class FakeCalibrator:
    """What the displays read of a fitted calibrator."""

    def __init__(self, results, best_index, **parameters):
        self.calibration_results_ = results
        self.best_index_ = best_index
        self.best_strength_ = results["strengths"][best_index]
        for name, value in ({"rule": "null_level", "max_divergence": None, "scoring": None} | parameters).items():
            setattr(self, name, value)


@pytest.fixture
def fake_calibrator(results):
    def make(best_index=4, results=results, **parameters):
        return FakeCalibrator(results, best_index, **parameters)

    return make


@pytest.fixture
def grouped(rng):
    """Predictions in 20 groups, of which "f" in r0 is far away from the rest."""
    n = 4000
    frame = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "region": rng.choice([f"r{k}" for k in range(10)], n)})
    prediction = rng.gamma(4.0, 0.02, n)
    far = (frame["gender"] == "f") & (frame["region"] == "r0")
    return prediction + 0.1 * far, frame, rng.uniform(0.1, 1.0, n)


def legend_texts(display):
    return [text.get_text() for text in display.legend_.get_texts()]


@pytest.fixture(name="legend_texts")
def legend_texts_fixture():
    return legend_texts
