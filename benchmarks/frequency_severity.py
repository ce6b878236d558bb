"""One penalty on the premium against two: frequency x severity fitted jointly and apart, at the same deviance.

    FAIRDCOV_DATA=folder/with/pg15training.rda python benchmarks/frequency_severity.py

Fits a Poisson and a gamma model on three random splits, penalised apart along a grid of strengths, and jointly with one
penalty on their product. For every pair of models that were fitted apart it looks, on the policies held out, for the
joint model of the same deviance (Poisson and gamma deviance, summed, per unit of exposure) and prints how much
dependence its premium has beside theirs: distance covariance with the protected attributes, scale-free, net of its
mean when the attributes are permuted.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from fairdcov import DCovGammaRegressor, DCovPoissonRegressor, FrequencySeverityRegressor
from fairdcov.datasets import fetch_pg15training, make_motor_portfolio
from fairdcov.metrics import ccdcov, null_distribution

ALPHA = 1e-4
N_SPLITS = 3
# In units of the mean loss of each model.
APART = np.geomspace(0.03, 30.0, 7)
JOINT = np.geomspace(0.01, 300.0, 16)


def motor(random_state):
    """The synthetic book."""
    book = make_motor_portfolio(60_000, random_state=random_state)
    return book.data, book.sensitive_features, book.exposure, book.claims, book.cost


def pg15training(random_state):
    """Third-party property damage of pg15training."""
    book = fetch_pg15training()
    cost = book.frame["Indtppd"].to_numpy(dtype=float)
    return book.data, book.sensitive_features, np.asarray(book.exposure), np.asarray(book.claims, float), cost


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


def measure(frequency, severity, held):
    """Deviance per unit of exposure and net dependence of the premium, on the policies held out."""
    exposure, claims, cost, people = held
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


def compare(data, people, exposure, claims, cost, seed):
    """Measurements of the models apart and joint, a row for each strength."""
    fitted, rows = train_test_split(np.arange(len(cost)), test_size=0.3, random_state=seed)
    columns = design(data)
    X, X_held = columns.fit_transform(data.iloc[fitted]), columns.transform(data.iloc[rows])
    held = (exposure[rows], claims[rows], cost[rows], people.iloc[rows])
    exposure, claims, cost, people = exposure[fitted], claims[fitted], cost[fitted], people.iloc[fitted]
    some = claims > 0
    frequencies = DCovPoissonRegressor(alpha=ALPHA).strength_path(
        X, claims / exposure, APART, exposure, sensitive_features=people
    )
    severities = DCovGammaRegressor(alpha=ALPHA).strength_path(
        X[some], cost[some] / claims[some], APART, claims[some], sensitive_features=people[some]
    )
    pairs = zip(frequencies, severities, strict=True)
    apart = [measure(frequency.predict(X_held), severity.predict(X_held), held) for frequency, severity in pairs]
    models = FrequencySeverityRegressor(
        DCovPoissonRegressor(alpha=ALPHA), DCovGammaRegressor(alpha=ALPHA), balance=False
    ).strength_path(X, cost / exposure, [0.0, *JOINT], exposure, claims=claims, sensitive_features=people)
    joint = [measure(model.predict_frequency(X_held), model.predict_severity(X_held), held) for model in models]
    return np.array(apart), np.array(joint)


def at_same_deviance(joint, deviance):
    """Dependence of the joint model of a deviance: the least that any of at most that has, between two of them."""
    order = np.argsort(joint[:, 0])
    deviances, least = joint[order, 0], np.minimum.accumulate(joint[order, 1])
    return np.interp(deviance, deviances, least)


def main():
    """Print a table for each book."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--books", nargs="+", default=["motor", "pg15training"])
    for name in parser.parse_args().books:
        found = []
        for split in range(N_SPLITS):
            apart, joint = compare(*globals()[name](split), seed=split)
            found.append(
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
        mean = pd.concat(found).groupby("strength apart").mean()
        mean["joint / apart"] = mean["joint"] / mean["apart"]
        print(f"{name}: mean of {N_SPLITS} splits")
        print(mean.to_string(float_format="{:.5f}".format))


if __name__ == "__main__":
    main()
