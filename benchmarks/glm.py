"""Penalised Poisson fits on pg15training against scikit-learn's unpenalised newton-cholesky solver, in one run.

    FAIRDCOV_DATA=folder/with/pg15training.rda python benchmarks/glm.py [--cold] [--made-up]

Prints the time of a fit from cold and of a path of 16 strengths as multiples of scikit-learn's fit on the same matrix,
and what the fits are worth on the test policies.
"""

import argparse
import json
import platform

import numpy as np
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, SplineTransformer
from timing import timed

import fairdcov
from fairdcov import CCDCovPenalty, DCovPoissonRegressor, SensitiveEncoder, concatenated_distance_covariance
from fairdcov.datasets import fetch_pg15training, make_motor_portfolio

ALPHA = 1e-6


def load(made_up):
    """Spline and one-hot columns of the published split recipe: 20 % test, stratified on claims x gender x region.

    Made-up policies, in as many rows and about as many columns, are for machines that do not have the data.
    """
    book = make_motor_portfolio(100_000, random_state=0) if made_up else fetch_pg15training()
    claims, exposure = np.asarray(book.claims, float), np.asarray(book.exposure, float)
    protected = book.sensitive_features[["gender", "region"]] if made_up else book.sensitive_features
    strata = [
        f"{min(c, 2):.0f}|{row}" for c, row in zip(claims, protected.astype(str).agg("|".join, axis=1), strict=True)
    ]
    train, test = train_test_split(np.arange(len(claims)), test_size=0.2, random_state=0, stratify=strata)
    quantities = ["Age", "Bonus", "Poldur", "Value", "Density"]
    if made_up:
        quantities = list(book.data.select_dtypes("number"))
    levels = [name for name in book.data if name not in quantities]
    columns = ColumnTransformer(
        [
            ("splines", SplineTransformer(n_knots=8, include_bias=False), quantities),
            ("levels", OneHotEncoder(drop="first", sparse_output=False), levels),
        ]
    )
    X_train = columns.fit_transform(book.data.iloc[train])
    return {
        "X": X_train,
        "y": claims[train] / exposure[train],
        "exposure": exposure[train],
        "protected": protected.iloc[train],
        "X_test": columns.transform(book.data.iloc[test]),
        "claims_test": claims[test],
        "exposure_test": exposure[test],
        "protected_test": protected.iloc[test],
    }


def quality(model, data):
    """Deviance of counts, CCdCov of expected counts and total predicted / observed, on the test policies."""
    counts = model.predict(data["X_test"]) * data["exposure_test"]
    encoded = SensitiveEncoder().fit_encode(data["protected_test"])
    blocks = [points[encoded.codes] for points in encoded.points]
    return {
        "deviance": mean_poisson_deviance(data["claims_test"], counts),
        "ccdcov": concatenated_distance_covariance(counts, *blocks),
        "total": counts.sum() / data["claims_test"].sum(),
    }


def main():
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each fit; the median ratio counts")
    parser.add_argument("--made-up", action="store_true", help="made-up policies instead of pg15training")
    parser.add_argument("--cold", action="store_true", help="fits from cold only, not the paths")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    data = load(options.made_up)
    fit = {"sample_weight": data["exposure"], "sensitive_features": data["protected"]}
    X, y = data["X"], data["y"]
    raw = CCDCovPenalty(normalize=False)
    # The strength of the scale-free penalty that gives about the dependence of the raw strength 80.
    candidates = {
        "strength 0": DCovPoissonRegressor(strength=0, alpha=ALPHA),
        "raw strength 80": DCovPoissonRegressor(raw, strength=80, alpha=ALPHA),
        "scale-free strength 10": DCovPoissonRegressor(strength=10, alpha=ALPHA),
        "scale-free strength 10, grid": DCovPoissonRegressor(CCDCovPenalty(method="grid"), strength=10, alpha=ALPHA),
    }
    paths = {
        "path of 16 raw strengths 0..150": (DCovPoissonRegressor(raw, alpha=ALPHA), np.linspace(0, 150, 16)),
        "path of 16 scale-free strengths 0..100": (DCovPoissonRegressor(alpha=ALPHA), [0, *np.geomspace(0.1, 100, 15)]),
    }
    if options.cold:
        paths = {}
    ratios = {name: [] for name in [*candidates, *paths]}
    fitted, baseline_seconds = {}, []
    for _ in range(options.repeat):
        baseline = PoissonRegressor(alpha=ALPHA, solver="newton-cholesky")
        _, reference = timed(lambda: baseline.fit(X, y, sample_weight=data["exposure"]))  # noqa: B023
        baseline_seconds.append(reference)
        for name, model in candidates.items():
            fitted[name], elapsed = timed(lambda: model.fit(X, y, **fit))  # noqa: B023
            ratios[name].append(elapsed / reference)
        for name, (model, strengths) in paths.items():
            _, elapsed = timed(lambda: list(model.strength_path(X, y, strengths, **fit)))  # noqa: B023
            ratios[name].append(elapsed / reference)
    fitted["scikit-learn, no penalty"] = baseline

    print(f"python {platform.python_version()}, scikit-learn {sklearn.__version__}, numpy {np.__version__}, ", end="")
    print(f"fairdcov {fairdcov.__version__}, {platform.machine()}")
    print(f"{X.shape[0]:,} training policies, {X.shape[1]} columns; ", end="")
    print(f"scikit-learn newton-cholesky: median {np.median(baseline_seconds):.2f} s of {options.repeat} runs\n")
    bars = {"raw strength 80": 3.0, "scale-free strength 10": 1.1, "path of 16 raw strengths 0..150": 20.0}
    print("| fit | x scikit-learn (median) | range | bar |\n|---|---|---|---|")
    for name, values in ratios.items():
        print(f"| {name} | {np.median(values):.2f} | {min(values):.2f}-{max(values):.2f} | {bars.get(name, '')} |")
    print(
        "\n| on the test policies | deviance | CCdCov of counts | predicted / observed | iterations |\n"
        "|---|---|---|---|---|"
    )
    results = {}
    for name, model in fitted.items():
        row = results[name] = quality(model, data)
        iterations = model.n_iter_
        print(f"| {name} | {row['deviance']:.5f} | {row['ccdcov']:.2e} | {row['total']:.4f} | {iterations} |")
    print("\nbar: CCdCov <= 4.5e-5 at deviance <= .512, total within 1 % of the unpenalised fit's")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"ratios": ratios, "test": results}, file, indent=1)


if __name__ == "__main__":
    main()
