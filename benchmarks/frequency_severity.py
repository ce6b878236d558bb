"""One penalty on the premium against two: frequency x severity fitted jointly and apart, at the same deviance.

    FAIRDCOV_DATA=folder/with/pg15training.rda python benchmarks/frequency_severity.py [--trees] [--jobs 6]

Fits a Poisson and a gamma model (boosters with --trees) on three random splits, penalised apart along a grid of
strengths, and jointly with one penalty on their product. For every pair of models that were fitted apart it looks for
the joint model of the same deviance (Poisson and gamma deviance, summed, per unit of exposure) and prints how much
dependence its premium has beside theirs: distance covariance with the protected attributes, scale-free, net of its
mean when the attributes are permuted. Deviance and dependence are once those of the policies held out, and once those
of the policies of the fit, where the joint model is to be the best there is: --starts says whether it is, by fits that
come from the unpenalised model at once, up a path of strengths, and down from a strong one.
"""

import argparse

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from fairdcov import DCovGammaRegressor, DCovLGBMRegressor, DCovPoissonRegressor, FrequencySeverityRegressor
from fairdcov.datasets import fetch_pg15training, make_motor_portfolio
from fairdcov.metrics import ccdcov, null_distribution

ALPHA = 1e-4
N_SPLITS = 3
# In units of the mean loss of each model.
APART = np.geomspace(0.03, 30.0, 7)
JOINT = np.geomspace(0.01, 300.0, 16)
# From a cold start at much larger ones no fit in balance is better than constants.
STARTS, MOST = (0.1, 1.0, 10.0), 40.0
TREES = {"n_estimators": 100, "learning_rate": 0.05, "n_penalised_rounds": 40, "num_leaves": 15, "n_jobs": 1}


def motor(random_state):
    """The synthetic book."""
    book = make_motor_portfolio(60_000, random_state=random_state)
    return book.data, book.sensitive_features, book.exposure, book.claims, book.cost


def pg15training(random_state):
    """Third-party property damage of pg15training."""
    book = fetch_pg15training()
    cost = book.frame["Indtppd"].to_numpy(dtype=float)
    return book.data, book.sensitive_features, np.asarray(book.exposure), np.asarray(book.claims, float), cost


# By name, since processes of a pool know nothing of this module.
BOOKS = {"motor": motor, "pg15training": pg15training}


def design(data):
    """Splines of quantities and a column for each level."""
    quantities = list(data.select_dtypes("number"))
    levels = [name for name in data if name not in quantities]
    return ColumnTransformer(
        [
            ("splines", SplineTransformer(n_knots=5, include_bias=False), quantities),
            ("levels", OneHotEncoder(drop="first", sparse_output=False, handle_unknown="ignore"), levels),
        ]
    )


def measure(frequency, severity, rows):
    """Deviance per unit of exposure and net dependence of the premium, on some policies."""
    exposure, claims, cost, people = rows
    some = claims > 0
    poisson, gamma = DCovPoissonRegressor()._loss(), DCovGammaRegressor()._loss()
    deviance = exposure @ poisson.deviance(claims / exposure, frequency)
    deviance += claims[some] @ gamma.deviance(cost[some] / claims[some], severity[some])
    null = null_distribution(
        ccdcov,
        None,
        frequency * severity,
        sensitive_features=people,
        sample_weight=exposure,
        n_permutations=20,
        random_state=0,
        normalize=True,
    )
    return deviance / exposure.sum(), null.observed - null.values.mean()


def models(trees):
    """The two models."""
    if trees:
        options = {"random_state": 0, "min_child_samples": 50, **TREES}
        return DCovLGBMRegressor(objective="poisson", **options), DCovLGBMRegressor(objective="gamma", **options)
    return DCovPoissonRegressor(alpha=ALPHA), DCovGammaRegressor(alpha=ALPHA)


def split_book(book, seed, *, trees):
    """Features and policies, (X, (exposure, claims, cost, people)), of the fit and held out."""
    data, people, exposure, claims, cost = BOOKS[book](seed)
    fitted, held = train_test_split(np.arange(len(cost)), test_size=0.3, random_state=seed)
    if trees:
        text = data.select_dtypes(exclude="number").columns
        data = data.astype(dict.fromkeys(text, "category"))
        X, X_held = data.iloc[fitted], data.iloc[held]
    else:
        columns = design(data)
        X, X_held = columns.fit_transform(data.iloc[fitted]), columns.transform(data.iloc[held])
    return [
        (features, (exposure[rows], claims[rows], cost[rows], people.iloc[rows].reset_index(drop=True)))
        for features, rows in ((X, fitted), (X_held, held))
    ]


def compare(book, seed, trees):
    """Measurements of the models apart and joint, (2, strengths, 2): on the policies of the fit and held out."""
    parts = split_book(book, seed, trees=trees)
    X, (exposure, claims, cost, people) = parts[0]
    some = claims > 0
    frequency, severity = models(trees)
    frequencies = frequency.strength_path(X, claims / exposure, APART, exposure, sensitive_features=people)
    severities = severity.strength_path(
        X[some], cost[some] / claims[some], APART, claims[some], sensitive_features=people[some]
    )
    apart = []
    for one, other in zip(frequencies, severities, strict=True):
        apart.append([measure(one.predict(rows), other.predict(rows), policies) for rows, policies in parts])
    path = FrequencySeverityRegressor(*models(trees), balance=False).strength_path(
        X, cost / exposure, [0.0, *JOINT], exposure, claims=claims, sensitive_features=people
    )
    joint = []
    for model in path:
        both = ((model.predict_frequency(rows), model.predict_severity(rows), policies) for rows, policies in parts)
        joint.append([measure(*given) for given in both])
    return np.swapaxes(apart, 0, 1), np.swapaxes(joint, 0, 1)


def at_same_deviance(joint, deviance):
    """Dependence of the joint model of a deviance: the least that any of at most that has, between two of them."""
    order = np.argsort(joint[:, 0])
    deviances, least = joint[order, 0], np.minimum.accumulate(joint[order, 1])
    return np.interp(deviance, deviances, least)


def print_comparison(found, where):
    """A table of the mean of the splits; shares are of what the unpenalised model has."""
    tables = []
    for apart, joint in found:
        apart, joint = apart[where], joint[where]
        tables.append(
            pd.DataFrame(
                {
                    "strength apart": APART,
                    "deviance at 0": joint[0, 0],
                    "deviance": apart[:, 0],
                    "dependence at 0": joint[0, 1],
                    "apart": apart[:, 1],
                    "joint": [at_same_deviance(joint, deviance) for deviance in apart[:, 0]],
                }
            )
        )
    mean = pd.concat(tables).groupby("strength apart").mean()
    mean["joint / apart"] = mean["joint"] / mean["apart"]
    print(mean.to_string(float_format="{:.5f}".format))


def compare_starts(book, seed):
    """Objective of the joint GLMs at some strengths from three starts, relative to the lowest of them."""
    (X, (exposure, claims, cost, people)), _ = split_book(book, seed, trees=False)
    given = {"sample_weight": exposure, "claims": claims, "sensitive_features": people}
    model = FrequencySeverityRegressor(*models(False), max_iter=2_000, tol=1e-6)
    grid = sorted({*JOINT[JOINT < MOST], *STARTS})
    found = {
        "at once": [next(model.strength_path(X, cost / exposure, [strength], **given)) for strength in STARTS],
        "up": list(model.strength_path(X, cost / exposure, grid, **given)),
        "down": list(model.strength_path(X, cost / exposure, grid[::-1], **given)),
    }
    table = pd.DataFrame(
        {
            name: {fitted.strength: fitted.objective_value_ for fitted in path if fitted.strength in STARTS}
            for name, path in found.items()
        }
    )
    return table.sub(table.min(axis=1), axis=0).div(table.min(axis=1), axis=0)


def main():
    """Print tables for each book."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--books", nargs="+", default=["motor", "pg15training"])
    parser.add_argument("--trees", action="store_true", help="boosters instead of generalised linear models")
    parser.add_argument("--starts", action="store_true", help="where joint GLMs end from several starts, and no more")
    parser.add_argument("--jobs", type=int, default=1, help="splits at a time")
    options = parser.parse_args()
    tasks = [(book, split) for book in options.books for split in range(N_SPLITS)]
    run = Parallel(n_jobs=options.jobs)
    if options.starts:
        for (book, split), table in zip(tasks, run(delayed(compare_starts)(*task) for task in tasks), strict=True):
            print(f"{book}, split {split}: objective above the lowest, as a share of it")
            print(table.to_string(float_format="{:.1e}".format))
        return
    found = run(delayed(compare)(*task, options.trees) for task in tasks)
    for position, book in enumerate(options.books):
        of_book = found[position * N_SPLITS : (position + 1) * N_SPLITS]
        for where, name in enumerate(("policies of the fit", "policies held out")):
            print(f"{book}, {name}: mean of {N_SPLITS} splits")
            print_comparison(of_book, where)


if __name__ == "__main__":
    main()
