import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def book():
    """A small book: features, claims per exposure, exposure, and three protected attributes that drive a feature."""
    rng = np.random.default_rng(7)
    n = 800
    people = pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n),
            "region": pd.Categorical(rng.choice(["n", "s", "w"], n)),
            "age": rng.integers(18, 80, n),
        }
    )
    X = np.column_stack(
        [
            (people["gender"] == "f") * (people["region"] == "n") + 0.5 * rng.normal(size=n),
            people["age"] / 40 + 0.3 * rng.normal(size=n),
            100 + 30 * rng.normal(size=n),
            rng.uniform(size=n),
        ]
    )
    exposure = rng.uniform(0.2, 1.0, n)
    rate = np.exp(-0.5 + 0.8 * X[:, 0] + 0.3 * X[:, 1] + 0.01 * (X[:, 2] - 100))
    claims = rng.poisson(exposure * rate)
    return {"X": X, "y": claims / exposure, "exposure": exposure, "claims": claims, "people": people}


@pytest.fixture
def data(book):
    """What ``fit`` takes by name."""
    return {"sample_weight": book["exposure"], "sensitive_features": book["people"]}
