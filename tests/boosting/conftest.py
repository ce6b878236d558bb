import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def portfolio():
    """A small book: features of every kind, exposure, claims, and protected attributes that show in a feature."""
    rng = np.random.default_rng(11)
    n = 1_500
    people = pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n),
            "region": pd.Categorical(rng.choice(["n", "s", "w"], n)),
        }
    )
    X = pd.DataFrame(
        {
            "mileage": (people["gender"] == "f") * (people["region"] == "n") + 0.5 * rng.normal(size=n),
            "power": rng.normal(size=n),
            "value": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.uniform(size=n)),
            "fuel": pd.Categorical(rng.choice(["diesel", "petrol", "electric"], n)),
        }
    )
    exposure = rng.uniform(0.2, 1.0, n)
    rate = np.exp(-1.0 + 0.6 * X["mileage"] + 0.2 * X["power"] + 0.4 * (X["fuel"] == "diesel")).to_numpy()
    claims = rng.poisson(exposure * rate)
    return {"X": X, "y": claims / exposure, "exposure": exposure, "claims": claims, "people": people, "rate": rate}
