"""Dask collections for the tests; partitions run one after the other unless a test asks for a cluster."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(autouse=True)
def in_this_thread():
    dask = pytest.importorskip("dask")
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def cluster():
    """Two workers that are threads of this process."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with (
        dask.config.set(scheduler=None),
        distributed.LocalCluster(memory_limit=None, **options) as started,
        distributed.Client(started) as client,
    ):
        yield client


@pytest.fixture
def book():
    """A small book: numbers, exposure, claims, and protected attributes of every kind that show in a feature."""
    rng = np.random.default_rng(14)
    n = 3_000
    people = pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n),
            "region": pd.Categorical(rng.choice(["n", "s", "w"], n), categories=["n", "s", "w", "e"]),
            "age": rng.integers(18, 30, n).astype(float),
        }
    )
    X = pd.DataFrame(rng.normal(size=(n, 4)).round(1), columns=list("abcd"))
    X["a"] += (people["gender"] == "f").to_numpy()
    weight = rng.uniform(0.2, 1.0, n)
    mean = np.exp(-1.0 + 0.3 * X["a"] + 0.2 * X["b"] - 0.02 * (people["age"] - 24)).to_numpy()
    y = rng.poisson(mean * weight) / weight
    return {"X": X, "y": y, "weight": weight, "people": people, "prediction": mean * rng.gamma(20, 1 / 20, n)}
