"""Networks and a GLM along a path of strengths on a made-up book: what each level of dependence costs on other rows.

    python benchmarks/networks.py [--policies 20000] [--seeds 2]

Needs PyTorch. The page on networks draws what is stored.
"""

import argparse

import numpy as np
import tables

from fairdcov import DCovPoissonRegressor
from fairdcov.datasets import make_motor_portfolio
from fairdcov.metrics import ccdcov, mean_deviance
from fairdcov.neural import DCovMLPRegressor

STRENGTHS = [0, 1, 3, 10, 30]
COLUMNS = ("model", "strength", "Poisson deviance", "CCdCov, scale-free")


def path_of(model, book, train, test):
    """Deviance and dependence of the test policies at each strength."""
    X = book.data.select_dtypes("number").to_numpy()
    X = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    given = {"sample_weight": book.exposure[train], "sensitive_features": book.sensitive_features.iloc[train]}
    found = []
    for fitted in model.strength_path(X[train], book.target[train], STRENGTHS, **given):
        price, weight = fitted.predict(X[test]), book.exposure[test]
        attributes = book.sensitive_features.iloc[test]
        dependence = ccdcov(None, price, sensitive_features=attributes, sample_weight=weight, normalize=True)
        found.append((mean_deviance(book.target[test], price, sample_weight=weight), dependence))
    return np.array(found)


def main():
    """Print and store the means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for name in ("GLM", "network"):
        found = []
        for seed in range(options.seeds):
            book = make_motor_portfolio(options.policies, random_state=seed)
            train, test = np.array_split(np.random.default_rng(seed).permutation(options.policies), 2)
            network = DCovMLPRegressor(objective="poisson", hidden_layer_sizes=(32, 32), random_state=seed)
            model = network if name == "network" else DCovPoissonRegressor(alpha=1e-4)
            found.append(path_of(model, book, train, test))
        for strength, (deviance, dependence) in zip(STRENGTHS, np.mean(found, axis=0), strict=True):
            rows.append((name, strength, f"{deviance:.4f}", f"{dependence:.5f}"))
            print(*rows[-1])
    if options.policies == 20_000:
        tables.store("networks", "benchmarks/networks.py", COLUMNS, rows)


if __name__ == "__main__":
    main()
