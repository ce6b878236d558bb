import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def book(rng):
    """1,200 policies: levels with names that mean no good, missing values, rows of zero exposure, a rare level."""
    n = 1200
    exposure = rng.choice([0.0, 0.25, 0.5, 1.0], n, p=[0.05, 0.2, 0.25, 0.5])
    frame = pd.DataFrame(
        {
            "fuel": rng.choice(["<script>", "=SUM(A1)", "diesel"], n),
            "area": pd.Series(rng.choice(["town", "country", None], n, p=[0.5, 0.4, 0.1]), dtype=object),
            "doors": rng.integers(2, 6, n),
            "age": rng.uniform(18, 90, n),
        }
    )
    rate = 0.4 * np.exp(0.5 * (frame["fuel"] == "diesel") - 0.01 * (frame["age"] - 50)).to_numpy()
    claims = rng.poisson(exposure * rate)
    observed = np.divide(claims, exposure, out=np.zeros(n), where=exposure > 0)
    frame["y_true"], frame["claims"], frame["exposure"] = observed, claims, exposure
    frame["y_pred"] = rate * rng.uniform(0.8, 1.25, n)
    frame["baseline"] = rate.mean() * rng.uniform(0.7, 1.4, n)
    return frame


FACTORS = ["fuel", "area", "doors", "age"]


@pytest.fixture
def arguments(book):
    """What most tables take: observed, predicted, factors, exposure."""
    return book["y_true"], book["y_pred"], book[FACTORS], {"sample_weight": book["exposure"]}
