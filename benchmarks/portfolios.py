"""Two public portfolios that nothing here was tuned on, shipped by statsmodels: rows to fit and rows to measure on.

``randhie``: visits to a doctor per year in the RAND Health Insurance Experiment, 20,190 person-years. Protected are a
physical limitation and the health that people say they have; features are the coinsurance and the terms of the plan,
and the number of chronic diseases, which tells both. Persons are there for several years and have no number, so that a
person may be on both sides of a split.

``fair``: R. Fair's survey of 1974, 6,366 married women: time spent in affairs. Protected are religiousness and age in
three bands, which the years of marriage all but give away.
"""

import numpy as np
import pandas as pd
from comparison import Rows
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

__all__ = ["PORTFOLIOS", "columns_of", "split"]

# Numbers of so few values are taken as levels by linear models.
_MOST_LEVELS = 7


def load_randhie():
    """Visits by plan and diseases; limitation and health are protected."""
    from statsmodels.datasets import randhie

    data = randhie.load_pandas().data.astype(float)
    health = np.select([data["hlthg"] == 1, data["hlthf"] + data["hlthp"] > 0], ["good", "fair or poor"], "excellent")
    protected = pd.DataFrame(
        {"limitation": np.where(data["physlm"] >= 0.5, "yes", "no"), "health": health}, index=data.index
    )
    features = data[["lncoins", "idp", "lpi", "fmde", "disea"]]
    return Rows(features, protected, data["mdvis"].to_numpy(), np.ones(len(data)))


def load_fair():
    """Time in affairs by marriage, education and occupation; religiousness and age are protected."""
    from statsmodels.datasets import fair

    data = fair.load_pandas().data.astype(float)
    age = pd.cut(data["age"], [0, 25, 30, 100], right=False, labels=["below 25", "25 to 29", "from 30"]).astype(str)
    protected = pd.DataFrame({"religious": data["religious"].astype(int).astype(str), "age": age})
    features = data[["rate_marriage", "yrs_married", "children", "educ", "occupation", "occupation_husb"]]
    return Rows(features, protected, data["affairs"].to_numpy(), np.ones(len(data)))


PORTFOLIOS = {"randhie": load_randhie, "fair": load_fair}


def split(rows, seed):
    """A quarter held back; 30 % of the rest to calibrate by: base, calibration, both of them, held back."""
    cells = rows.protected.agg(" | ".join, axis=1)
    rest, held = train_test_split(np.arange(len(rows)), test_size=0.25, random_state=seed, stratify=cells)
    base, calibration = train_test_split(rest, test_size=0.3, random_state=seed, stratify=cells.iloc[rest])
    return tuple(rows.part(part) for part in (base, calibration, rest, held))


def columns_of(X):
    """Splines of quantities, one column for each level of the rest."""
    many = [name for name in X if X[name].nunique() > _MOST_LEVELS]
    few = [name for name in X if name not in many]
    return ColumnTransformer(
        [
            ("splines", SplineTransformer(n_knots=5, knots="uniform", include_bias=False), many),
            ("levels", OneHotEncoder(drop="first", handle_unknown="ignore", sparse_output=False), few),
        ]
    )
