"""What penalised rounds cost: ratios to LightGBM's own rounds within one run, on two books of 20 profiles.

    FAIRDCOV_DATA=folder python benchmarks/boosting.py [--rows 80000] [--repeat 5] [--json FILE]

A synthetic one of 9 numbers, and the training rows of pg15training with its categorical columns, if it is there.
LightGBM's first rounds cost more than later ones, whose trees are less balanced: both are given.
"""

import argparse
import json
import os
import platform

import lightgbm
import numpy as np
import pandas as pd
from comparison import load_policies
from timing import seconds

import fairdcov
from fairdcov import DCovLGBMRegressor

N_FEATURES = 9
PARAMETERS = {"num_leaves": 31, "learning_rate": 0.05, "min_child_samples": 50}


def make_book(n_rows, seed=0):
    """Features that carry region and gender, claim frequencies, exposure, and the 20 combinations."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame(
        {
            "region": pd.Categorical(rng.choice(list("ABCDEFGHIJ"), n_rows)),
            "gender": pd.Categorical(rng.choice(["f", "m"], n_rows)),
        }
    )
    shown = 0.1 * people["region"].cat.codes.to_numpy() + 0.3 * (people["gender"] == "f").to_numpy()
    X = rng.normal(size=(n_rows, N_FEATURES))
    X[:, 0] += shown
    X[:, 1] += shown
    exposure = rng.uniform(0.25, 1.0, n_rows)
    rate = 0.15 * np.exp(0.3 * X[:, 0] + 0.2 * X[:, 1] * (X[:, 2] > 0) + 0.2 * np.abs(X[:, 3]))
    return X, rng.poisson(exposure * rate) / exposure, exposure, people


def read_book(n_rows):
    """The same of pg15training, with LightGBM's native categories."""
    policies = load_policies(n_rows)
    return policies.features, policies.target, policies.exposure, policies.protected


def measure(book, repeat):
    """Ratios by name, and the rounds in seconds."""
    X, y, exposure, people = book
    data = {"sample_weight": exposure, "sensitive_features": people}

    def unpenalised(n_rounds):
        model = lightgbm.LGBMRegressor(
            objective="poisson", n_estimators=n_rounds, n_jobs=os.cpu_count(), verbose=-1, **PARAMETERS
        )
        return lambda: model.fit(X, y, sample_weight=exposure)

    def penalised(n_estimators, n_penalised_rounds):
        model = DCovLGBMRegressor(
            strength=10.0,
            objective="poisson",
            n_estimators=n_estimators,
            n_penalised_rounds=n_penalised_rounds,
            **PARAMETERS,
        )
        return lambda: model.fit(X, y, **data)

    calls = {
        "1": unpenalised(1),
        "100": unpenalised(100),
        "300": unpenalised(300),
        "100 + 100": penalised(100, 100),
        "100 + 200": penalised(100, 200),
        "300 + 300": penalised(300, 300),
    }
    times = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            times[name].append(seconds(call))
    times = {name: np.array(values) for name, values in times.items()}
    first_round = (times["100"] - times["1"]) / 99
    later_round = (times["300"] - times["100"]) / 200
    penalised_round = (times["100 + 200"] - times["100 + 100"]) / 100
    ratios = {
        ("a penalised round / one of the first 100 unpenalised rounds", "<= 2"): penalised_round / first_round,
        ("a penalised round / one of the 200 rounds after these", "<= 2"): penalised_round / later_round,
        ("a fit of 300 rounds, 200 of them penalised / 300 unpenalised", "<= 3"): times["100 + 200"] / times["300"],
        ("a fit of 300 rounds and 300 penalised ones / 300 unpenalised", ""): times["300 + 300"] / times["300"],
    }
    return ratios, {"first": first_round, "later": later_round, "penalised": penalised_round}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=80_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    print(
        f"python {platform.python_version()}, lightgbm {lightgbm.__version__}, fairdcov {fairdcov.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; {options.rows:,} rows"
    )
    books = {"synthetic book": make_book, "pg15training": read_book}
    found = {}
    for name, book in books.items():
        try:
            book = book(options.rows)
        except OSError as error:
            print(f"\n{name} left out: {error}")
            continue
        ratios, rounds = measure(book, options.repeat)
        milliseconds = ", ".join(f"{which} {1e3 * np.median(values):.1f} ms" for which, values in rounds.items())
        print(f"\n{name}: rounds {milliseconds}\n\n| ratio | median | range | bar |\n|---|---|---|---|")
        for (what, bar), values in ratios.items():
            print(f"| {what} | {np.median(values):.2f} | {values.min():.2f}-{values.max():.2f} | {bar} |")
        found[name] = {what: values.tolist() for (what, _), values in ratios.items()}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
