"""What the comparisons on pg15training and COMPAS share: rows, split recipes, columns, measures and printed tables.

The split recipe and the measures are those of H. M. Lee, K. Antonio, B. Avanzi, L. Marchi, R. Zhou (2025), arXiv
2509.08163: on expected counts (exposure times rate), unweighted.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer

from fairdcov.datasets import fetch_compas, fetch_pg15training, load_published_results
from fairdcov.metrics import ccdcov, jdcov, js_divergence, null_distribution, rps, unfairness_ratio

__all__ = [
    "AGE_GROUPS",
    "ALPHA",
    "COLUMNS",
    "GROUPINGS",
    "MIN_GROUP_SIZE",
    "N_NULL",
    "PUBLISHED_CHOICE",
    "PUBLISHED_JSD",
    "PUBLISHED_TEST",
    "PUBLISHED_VALIDATION",
    "Rows",
    "load_defendants",
    "load_policies",
    "measure_counts",
    "number",
    "print_table",
    "record_columns",
    "split_defendants",
    "split_policies",
    "tariff_columns",
]

# Of the ridge term of the models of policies.
ALPHA = 1e-5
# By measure and strength, then by column; NaN where a figure was not published.
PUBLISHED_TEST = load_published_results("test").to_dict("index")
PUBLISHED_VALIDATION = load_published_results("validation").to_dict("index")
PUBLISHED_CHOICE = {measure: strength for measure, strength in PUBLISHED_TEST if strength}
COLUMNS = tuple(load_published_results())
PUBLISHED_JSD = {"bandwidth": 0.15, "n_points": 1000}
N_NULL = 20  # permutations for the mean JSD of groups that do not matter

# ProPublica's three age groups. Only the group metrics need them, the penalty takes age in years.
AGE_GROUPS = {"age": [0, 25, 46, 120]}
GROUPINGS = {
    "sex": ["sex"],
    "race": ["race"],
    "age": ["age"],
    "sex × race": ["sex", "race"],
    "sex × race × age": ["sex", "race", "age"],
}
# Of the 24 intersections some have five defendants in a test set; they are counted, but not compared.
MIN_GROUP_SIZE = 10


@dataclass(frozen=True)
class Rows:
    """Policies with their claims; or defendants, 1 where there was a new charge, with an ``exposure`` of 1."""

    features: pd.DataFrame
    protected: pd.DataFrame
    claims: np.ndarray
    exposure: np.ndarray

    @property
    def target(self):
        """Claims per unit of exposure, which is what models predict."""
        return self.claims / self.exposure

    def part(self, rows):
        """Some of the rows."""
        return Rows(self.features.iloc[rows], self.protected.iloc[rows], self.claims[rows], self.exposure[rows])

    def __len__(self):
        return len(self.claims)


# ---------------------------------------------------------------------------------------------------------------------
# pg15training
# ---------------------------------------------------------------------------------------------------------------------


def load_policies(n_policies=None):
    """The portfolio, or a random part of it for a quick run."""
    book = fetch_pg15training()
    policies = Rows(
        book.data, book.sensitive_features, np.asarray(book.claims, float), np.asarray(book.exposure, float)
    )
    if n_policies is None:
        return policies
    return policies.part(np.random.default_rng(0).choice(len(policies), n_policies, replace=False))


def strata(policies):
    """Claims x gender x region; two and more claims together, and strata too rare to split by claims alone."""
    claims = pd.Series(np.minimum(policies.claims, 2).astype(int).astype(str))
    protected = policies.protected.astype(str)
    crossed = claims + "|" + (protected["region"] + "|" + protected["gender"]).to_numpy()
    return crossed.where(crossed.map(crossed.value_counts()) >= 10, claims).to_numpy(dtype=str)


def split_policies(policies, seed):
    """The published recipe: 20 % to test, then 30 % of the rest to validate the sweep."""
    rest, test = train_test_split(np.arange(len(policies)), test_size=0.2, random_state=seed, stratify=strata(policies))
    train, validation = train_test_split(rest, test_size=0.3, random_state=seed, stratify=strata(policies.part(rest)))
    return tuple(policies.part(rows) for rows in (train, validation, rest, test))


def tariff_columns():
    """Splines of the five quantities, one column for each level of the four other factors."""
    return ColumnTransformer(
        [
            (
                "splines",
                SplineTransformer(n_knots=8, knots="quantile", include_bias=False),
                ["Age", "Bonus", "Poldur", "Value", "Density"],
            ),
            (
                "levels",
                OneHotEncoder(drop="first", handle_unknown="ignore", sparse_output=False),
                ["Type", "Occupation", "Group1", "Category"],
            ),
        ]
    )


def measure_counts(policies, rate):
    """The published columns on expected counts; JdCov without its S-only term, null level of JSD, and the balance."""
    counts = rate * policies.exposure
    protected = {"sensitive_features": policies.protected}
    null = null_distribution(
        js_divergence, None, counts, **PUBLISHED_JSD, **protected, n_permutations=N_NULL, random_state=0
    )
    return {
        "RPS": rps(policies.claims, counts),
        "deviance": mean_poisson_deviance(policies.claims, counts),
        "CCdCov": ccdcov(None, counts, statistic="u", **protected),
        "JdCov": jdcov(None, counts, statistic="u", net=False, **protected),
        "JdCov net": jdcov(None, counts, statistic="u", **protected),
        "JSD": null.observed,
        "JSD null": null.mean,
        "UF": unfairness_ratio(None, counts, **protected),
        "total": counts.sum() / policies.claims.sum(),
    }


# ---------------------------------------------------------------------------------------------------------------------
# COMPAS
# ---------------------------------------------------------------------------------------------------------------------


def load_defendants():
    """The defendants; protected are sex, race and age in years."""
    compas = fetch_compas()
    target = np.asarray(compas.target, float)
    return Rows(compas.data, compas.sensitive_features, target, np.ones(len(target)))


def split_defendants(defendants, seed):
    """30 % held back, and 30 % of the rest to calibrate by: base, calibration, both of them, held back."""
    protected = defendants.protected
    # As text, to stratify by.
    cells = protected["sex"].astype(str) + "|" + protected["race"].astype(str) + "|" + defendants.claims.astype(str)
    rest, held = train_test_split(np.arange(len(defendants)), test_size=0.3, random_state=seed, stratify=cells)
    base, calibration = train_test_split(rest, test_size=0.3, random_state=seed, stratify=cells.iloc[rest])
    return tuple(defendants.part(rows) for rows in (base, calibration, rest, held))


def record_columns():
    """Splines of the logarithm of prior convictions; the juvenile counts, nearly all 0, as logarithms; the charge."""
    log = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    spline = SplineTransformer(n_knots=5, knots="uniform", include_bias=False)
    return ColumnTransformer(
        [
            ("priors", Pipeline([("log", log), ("spline", spline)]), ["priors_count"]),
            ("juvenile", log, ["juv_fel_count", "juv_misd_count", "juv_other_count"]),
            ("charge", OneHotEncoder(drop="first", sparse_output=False), ["c_charge_degree"]),
        ]
    )


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------

# Digits after the point; the others are printed with a power of ten.
DIGITS = {"RPS": 5, "deviance": 5, "total": 4, "accuracy": 4, "Brier": 4, "AUC": 4, "log loss": 4}
DIGITS |= {f"{what} {grouping}": 4 for what in ("JSD", "null") for grouping in GROUPINGS}


def number(value, column):
    """A figure with as many digits as the paper prints."""
    if value is None or np.isnan(value):
        return ""
    digits = DIGITS.get(column)
    return f"{value:.3e}" if digits is None else f"{value:.{digits}f}"


def print_table(header, rows):
    """A Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()
