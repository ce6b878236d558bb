"""The book that everything is timed on; public names of the package alone, so that old revisions can be timed too."""

import numpy as np
import pandas as pd


def make_book(n, seed=0):
    """Features that carry region and gender, claim frequencies, weights and 20 profiles."""
    rng = np.random.default_rng(seed)
    region, gender = rng.integers(0, 10, n), rng.integers(0, 2, n)
    people = pd.DataFrame(
        {
            "region": pd.Categorical.from_codes(region, list("ABCDEFGHIJ")),
            "gender": pd.Categorical.from_codes(gender, ["f", "m"]),
        }
    )
    X = rng.normal(size=(n, 8))
    X[:, 0] += 0.1 * region + 0.3 * gender
    weight = rng.uniform(0.25, 1.0, n)
    rate = 0.15 * np.exp(0.3 * X[:, 0] + 0.2 * X[:, 1])
    return X, rng.poisson(weight * rate) / weight, weight, people
