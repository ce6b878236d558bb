"""Calibration of the strength on pg15training, and the divergence of a million predictions.

    FAIRDCOV_DATA=folder/with/pg15training.rda python benchmarks/calibration.py [divergence] [sweep]

Prints the seconds of js_divergence for a million predictions in 20 groups, and those of a calibration of 16 strengths
in 5 folds on the training policies as a multiple of one unpenalised 5-fold cross-validation with scikit-learn's
newton-cholesky solver on the same matrix, with the same number of jobs, in the same run. Every figure is the median of
interleaved repetitions.
"""

import argparse
import json
import os
import platform

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from timing import seconds

import fairdcov
from fairdcov import CCDCovPenalty, DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.datasets import fetch_pg15training
from fairdcov.metrics import js_divergence

ALPHA = 1e-6
# 16 of them, 0 included: in the published units, and scale-free.
STRENGTHS = {
    "raw": [0, *range(10, 151, 10)],
    "scale-free": [0, *np.geomspace(0.5, 40, 15).tolist()],
}


def medians(calls, repeat):
    """Median seconds of several calls over interleaved repetitions, the first of which does not count."""
    times = [[seconds(call) for call in calls.values()] for _ in range(repeat + 1)][1:]
    return dict(zip(calls, np.median(times, axis=0).tolist(), strict=True))


def measure_divergence(n, repeat):
    """Seconds of js_divergence in 20 groups."""
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {
            "region": pd.Categorical(rng.choice(list("LMNOPQRSTU"), n)),
            "gender": pd.Categorical(rng.choice(["f", "m"], n)),
        }
    )
    prediction, weight = rng.gamma(2.0, 0.1, n), rng.uniform(0.1, 1.0, n)
    text = people.astype(str)
    return medians(
        {
            "categorical columns": lambda: js_divergence(None, prediction, sensitive_features=people),
            "the same, weighted": lambda: js_divergence(
                None, prediction, sensitive_features=people, sample_weight=weight
            ),
            "text columns": lambda: js_divergence(None, prediction, sensitive_features=text),
        },
        repeat,
    )


def load_training_policies():
    """Spline and one-hot columns, frequency, exposure and protected attributes of 80 % of the policies."""
    book = fetch_pg15training()
    claims, exposure = np.asarray(book.claims, float), np.asarray(book.exposure, float)
    train, _ = train_test_split(np.arange(len(claims)), test_size=0.2, random_state=0, stratify=np.minimum(claims, 2))
    columns = ColumnTransformer(
        [
            (
                "splines",
                SplineTransformer(n_knots=8, knots="quantile", include_bias=False),
                ["Age", "Bonus", "Poldur", "Value", "Density"],
            ),
            (
                "levels",
                OneHotEncoder(drop="first", sparse_output=False),
                ["Type", "Occupation", "Group1", "Category"],
            ),
        ]
    )
    X = columns.fit_transform(book.data.iloc[train])
    return X, claims[train] / exposure[train], exposure[train], book.sensitive_features.iloc[train]


def measure_sweep(n_jobs, repeat):
    """Seconds of an unpenalised cross-validation and of calibrations, and what these chose."""
    X, y, exposure, protected = load_training_policies()
    print(f"{X.shape[0]:,} policies, {X.shape[1]} columns, n_jobs={n_jobs}", flush=True)
    unpenalised = PoissonRegressor(alpha=ALPHA, solver="newton-cholesky", max_iter=300)
    calibrators = {
        form: JSDivergenceCalibrator(
            DCovPoissonRegressor(CCDCovPenalty(normalize=form == "scale-free"), alpha=ALPHA),
            strengths=strengths,
            rule="elbow",
            n_jobs=n_jobs,
            verbose=0,
        )
        for form, strengths in STRENGTHS.items()
    }

    def cross_validation():
        cross_validate(unpenalised, X, y, params={"sample_weight": exposure}, cv=5, n_jobs=n_jobs, error_score="raise")

    def calibration(calibrator):
        return lambda: calibrator.fit(X, y, exposure, sensitive_features=protected)

    calls = {"unpenalised cross-validation": cross_validation}
    calls |= {f"calibration, {form}": calibration(calibrator) for form, calibrator in calibrators.items()}
    found = medians(calls, repeat)
    return found, {form: calibrator.best_strength_ for form, calibrator in calibrators.items()}


def main(arguments=None):
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", metavar="PART", help="divergence, sweep; both by default")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions beside the first, which does not count")
    parser.add_argument("--jobs", type=int, default=2, help="folds at a time")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args(arguments)
    unknown = set(options.part) - {"divergence", "sweep"}
    if unknown or options.repeat < 1:
        parser.error(f"unknown part {sorted(unknown)}" if unknown else "--repeat must be at least 1")
    print(f"python {platform.python_version()}, scikit-learn {sklearn.__version__}, numpy {np.__version__}, ", end="")
    print(f"fairdcov {fairdcov.__version__}, {platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"load average {os.getloadavg()[0]:.1f}\n" if hasattr(os, "getloadavg") else "\n")
    figures = {}
    parts = options.part or ["divergence", "sweep"]
    if "divergence" in parts:
        figures["divergence"] = measure_divergence(1_000_000, options.repeat)
        print("| js_divergence, 1,000,000 predictions in 20 groups | seconds | bar |\n|---|---|---|")
        for what, found in figures["divergence"].items():
            print(f"| {what} | {found:.2f} | <= 0.5 |")
        print(flush=True)
    if "sweep" in parts:
        found, chosen = measure_sweep(options.jobs, options.repeat)
        figures["sweep"] = found
        baseline = found["unpenalised cross-validation"]
        print("\n| 5 folds | seconds | bar | ratio | bar |\n|---|---|---|---|---|")
        for what, taken in found.items():
            bars = ("", "") if taken == baseline else ("<= 45", "<= 12")
            print(f"| {what} | {taken:.1f} | {bars[0]} | {taken / baseline:.1f} | {bars[1]} |")
        print("\nchosen by the elbow: " + ", ".join(f"{form} {strength:g}" for form, strength in chosen.items()))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
