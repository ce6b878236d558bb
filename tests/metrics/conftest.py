import numpy as np
import pandas as pd
import pytest
import sklearn


@pytest.fixture
def book():
    """Predictions that depend on region, gender and their intersection, with exposure."""
    rng = np.random.default_rng(7)
    n = 1500
    people = pd.DataFrame({"region": rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2])})
    people["gender"] = rng.choice(["f", "m"], n)
    shift = 0.2 * (people["region"] == "south") + 0.4 * ((people["region"] == "west") & (people["gender"] == "m"))
    prediction = np.exp(rng.normal(-2.0 + shift.to_numpy(), 0.4))
    exposure = rng.uniform(0.1, 1.0, n)
    return people, prediction, exposure


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield
