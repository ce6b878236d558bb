"""What a rating table keeps of a penalised booster on pg15training, and whether a table adds up.

    FAIRDCOV_DATA=folder python benchmarks/rating_table.py [--policies N] [--splits 3] [--most 120]

The table is distilled from the predictions on the rows of the fit and measured on those held back: the share of the
explained deviance that it keeps, and the divergence between region x gender beside the booster's and its standard
error. Then the exact table of a penalised GLM with splines: the total on its own policies, and the relativity of each
bin beside the mean of the model's, weighted by exposure, computed by pandas.
"""

import argparse
import platform
import time

import lightgbm
import numpy as np
import pandas as pd
from comparison import ALPHA, load_policies, split_policies, tariff_columns
from sklearn.pipeline import make_pipeline

import fairdcov
from fairdcov import DCovLGBMRegressor, DCovPoissonRegressor
from fairdcov.actuarial import RatingTable, relativities

STRENGTHS = (3.0, 10.0, 30.0, 100.0)
TREES = {"n_estimators": 200, "n_penalised_rounds": 60, "learning_rate": 0.05, "num_leaves": 15}
MEASURES = ("explained deviance", "Gini", "dependence", "divergence", "divergence, standard error")


def measure_split(policies, seed, strength, most):
    """Figures of the table of a booster on the rows held back."""
    _, _, fitted, held = split_policies(policies, seed)
    model = DCovLGBMRegressor(
        objective="poisson", strength=strength, random_state=seed, n_jobs=1, min_child_samples=50, **TREES
    )
    data = {"sample_weight": fitted.exposure, "sensitive_features": fitted.protected}
    model.fit(fitted.features, fitted.target, **data)
    start = time.perf_counter()
    table = RatingTable.from_model(model, fitted.features, fitted.target, max_relativities=most, **data)
    seconds = time.perf_counter() - start
    total = fitted.exposure @ table.predict(fitted.features) / (fitted.exposure @ model.predict(fitted.features))
    compared = table.compare(
        model,
        held.features,
        held.target,
        sample_weight=held.exposure,
        sensitive_features=held.protected,
        unknown="nearest",
    ).set_index("measure")
    row = {"strength": strength, "split": seed, "relativities": table.n_relativities, "pairs": _pairs(table)}
    row |= {"of the table": table.strength, "total / model's": total, "seconds": seconds}
    for name in MEASURES:
        row[f"{name}, model"], row[f"{name}, table"] = compared.loc[name, ["model", "table"]]
    row["kept"] = compared.loc["explained deviance", "kept"]
    return row


def _pairs(table):
    return sum(" × " in name for name in table.factors)


def table_of_glm(policies):
    """Whether the table of a GLM adds up: its total over the model's, and the largest error of a bin's relativity."""
    _, _, fitted, _ = split_policies(policies, 0)
    model = make_pipeline(tariff_columns(), DCovPoissonRegressor(strength=10.0, alpha=ALPHA))
    X = fitted.features
    model.fit(
        X,
        fitted.target,
        dcovpoissonregressor__sample_weight=fitted.exposure,
        dcovpoissonregressor__sensitive_features=fitted.protected,
    )
    frame = relativities(model, X, sample_weight=fitted.exposure)
    table = RatingTable.from_relativities(frame)
    total = fitted.exposure @ table.predict(X) / (fitted.exposure @ model.predict(X))
    worst = 0.0
    typical = X.iloc[[0]]
    for name, part in frame.groupby("factor"):
        # The model along one column, all others as in one policy; then the mean by level, weighted by exposure.
        along = typical.loc[typical.index.repeat(len(X))].reset_index(drop=True).assign(**{name: X[name].to_numpy()})
        cut = [level for level in part["level"] if isinstance(level, pd.Interval)]
        level = X[name].to_numpy()
        if cut:
            level = np.searchsorted([interval.left for interval in cut][1:], level, side="right")
        mass = pd.DataFrame({"level": level, "exposure": fitted.exposure})
        mass["premium"] = mass["exposure"] * model.predict(along)
        means = mass.groupby("level", observed=True).sum()
        means = means["premium"] / means["exposure"]
        found = part["relativity"].to_numpy()
        wanted = means.to_numpy() if cut else means.loc[part["level"]].to_numpy()
        wanted = wanted / wanted[part["is_base"].to_numpy()]
        worst = max(worst, float(np.abs(found / wanted - 1).max()))
    return len(frame), frame.attrs["off_balance_before"], total, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, help="a random part of the book, for a quick run")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--most", type=int, default=120, help="relativities (%(default)s)")
    options = parser.parse_args()
    print(f"python {platform.python_version()}, lightgbm {lightgbm.__version__}, fairdcov {fairdcov.__version__}")
    policies = load_policies(options.policies)
    n_rows, before, total, worst = table_of_glm(policies)
    print(
        f"exact table of a penalised GLM: {n_rows} relativities, off-balance {before:.5f}; after the base premium was "
        f"rebalanced total / model's - 1 = {total - 1:.1e}; largest error of a relativity {worst:.1e}"
    )
    rows = [
        measure_split(policies, seed, strength, options.most)
        for strength in STRENGTHS
        for seed in range(options.splits)
    ]
    found = pd.DataFrame(rows)
    print(found.to_string(index=False, float_format="{:.5g}".format))
    print(found.drop(columns="split").groupby("strength").mean().T.to_string(float_format="{:.5g}".format))
    allowed = found["divergence, model"] + found["divergence, standard error, model"]
    least, held = found["kept"].min(), (found["divergence, table"] <= allowed).all()
    print(f"least kept {least:.1%} (bar: 90 %); divergence within a standard error of the booster's in all: {held}")


if __name__ == "__main__":
    main()
