import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def portfolio():
    """A small book: features, claims per exposure, exposure, and two protected attributes that drive a feature."""
    rng = np.random.default_rng(7)
    n = 600
    people = pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n),
            "region": pd.Categorical(rng.choice(["n", "s", "w"], n)),
            "age": rng.uniform(18, 80, n),
        }
    )
    X = np.column_stack(
        [
            (people["gender"] == "f") * (people["region"] == "n") + 0.5 * rng.normal(size=n),
            people["age"] / 40 + 0.3 * rng.normal(size=n),
            rng.normal(size=n),
            rng.uniform(size=n),
        ]
    )
    exposure = rng.uniform(0.2, 1.0, n)
    rate = np.exp(-1.0 + 0.5 * X[:, 0] + 0.3 * X[:, 1] + 0.2 * X[:, 2])
    claims = rng.poisson(exposure * rate)
    return {"X": X, "y": claims / exposure, "exposure": exposure, "claims": claims, "people": people, "rate": rate}


@pytest.fixture
def book(portfolio):
    """The portfolio of the other tests with ages in classes and an offset."""
    rng = np.random.default_rng(3)
    people = portfolio["people"].assign(age=portfolio["people"]["age"] // 10 * 10)
    X = pd.DataFrame(portfolio["X"], columns=list("abcd"))
    offset = 0.3 * rng.normal(size=len(X))
    return {"X": X, "y": portfolio["y"], "weight": portfolio["exposure"], "people": people, "offset": offset}
