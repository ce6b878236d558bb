"""The published comparison on pg15training, published and own rows side by side, and the same set-up on COMPAS.

    FAIRDCOV_DATA=folder python benchmarks/paper.py [pg15training] [compas] [--seeds 5] [--json FILE]

Published: H. M. Lee, K. Antonio, B. Avanzi, L. Marchi, R. Zhou (2025), arXiv 2509.08163, a neural network (4 layers of
64) trained on mini-batches. Own: a spline GLM penalised on the whole sample. The split recipe and the metrics are the
published ones: on expected counts (exposure times rate), unweighted. One thing differs besides the model: the published
penalty is on the count, ours on the rate, weighted by exposure. Without FAIRDCOV_DATA the files are downloaded.
"""

import argparse
import json
import platform
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, mean_poisson_deviance, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer

import fairdcov
from fairdcov import (
    CCDCovPenalty,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    JDCovPenalty,
    JSDivergenceCalibrator,
)
from fairdcov.datasets import fetch_compas, fetch_pg15training
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, jdcov, js_divergence, null_distribution, rps, unfairness_ratio

ALPHA = 1e-5

# ---------------------------------------------------------------------------------------------------------------------
# What was published
# ---------------------------------------------------------------------------------------------------------------------

# Smaller is better in all six. JdCov is raw: it contains the dependence of gender and region on each other.
COLUMNS = ("RPS", "deviance", "CCdCov", "JdCov", "JSD", "UF")
PUBLISHED_TEST = {
    ("none", 0): (0.12248, 0.54503, 1.0083e-3, 1.3230e-3, 2.8238e-2, 8.0775e-2),
    ("CCdCov", 40): (0.12314, 0.54936, 5.846e-5, 8.452e-5, 1.817e-3, 6.175e-3),
    ("JdCov", 30): (0.12366, 0.55378, 5.288e-5, 7.522e-5, 1.504e-3, 5.654e-3),
}
# Means of ten seeds; the deviance was not published.
PUBLISHED_VALIDATION = {
    ("CCdCov", 0): (0.11919, None, 9.138e-4, 1.478e-3, 2.889e-2, 7.736e-2),
    ("CCdCov", 10): (0.11974, None, 1.965e-4, 5.463e-4, 7.883e-3, 2.030e-2),
    ("CCdCov", 40): (0.12081, None, 4.452e-5, 3.479e-4, 1.639e-3, 4.700e-3),
    ("CCdCov", 80): (0.12148, None, 2.513e-5, 3.219e-4, 8.171e-4, 2.640e-3),
    ("CCdCov", 150): (0.12212, None, 1.877e-5, 3.123e-4, 5.648e-4, 2.133e-3),
    ("JdCov", 0): (0.11919, None, 9.138e-4, 1.478e-3, 2.889e-2, 7.736e-2),
    ("JdCov", 10): (0.11992, None, 1.522e-4, 4.884e-4, 6.147e-3, 1.594e-2),
    ("JdCov", 40): (0.12120, None, 3.381e-5, 3.331e-4, 1.172e-3, 3.614e-3),
    ("JdCov", 80): (0.12196, None, 2.117e-5, 3.153e-4, 6.789e-4, 2.439e-3),
    ("JdCov", 150): (0.12286, None, 1.475e-5, 3.039e-4, 4.548e-4, 2.080e-3),
}
PUBLISHED_STRENGTHS = tuple(range(0, 151, 10))
# Strengths of the scale-free penalty, which have no units.
SCALE_FREE_STRENGTHS = (0, 1, 2, 3, 5, 8, 12, 20, 30)
PUBLISHED_CHOICE = {"CCdCov": 40, "JdCov": 30}
N_NULL = 20  # permutations for the mean JSD of groups that do not matter
PUBLISHED_JSD = {"bandwidth": 0.15, "n_points": 1000}
PENALTIES = {"CCdCov": CCDCovPenalty, "JdCov": JDCovPenalty}


def published_row(values):
    """A published tuple by name of column."""
    return {name: value for name, value in zip(COLUMNS, values, strict=True) if value is not None}


# ---------------------------------------------------------------------------------------------------------------------
# pg15training
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Policies:
    """Policies of one part of the split."""

    features: pd.DataFrame
    claims: np.ndarray
    exposure: np.ndarray
    protected: pd.DataFrame

    def part(self, rows):
        """Some of the policies."""
        return Policies(self.features.iloc[rows], self.claims[rows], self.exposure[rows], self.protected.iloc[rows])

    def __len__(self):
        return len(self.claims)


def load_policies(n_policies=None):
    """The portfolio, or a random part of it for a quick run."""
    book = fetch_pg15training()
    policies = Policies(
        book.data, np.asarray(book.claims, float), np.asarray(book.exposure, float), book.sensitive_features
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


def split(policies, seed):
    """The published recipe: 20 % to test, then 30 % of the rest to validate the sweep."""
    rest, test = train_test_split(np.arange(len(policies)), test_size=0.2, random_state=seed, stratify=strata(policies))
    train, validation = train_test_split(rest, test_size=0.3, random_state=seed, stratify=strata(policies.part(rest)))
    return policies.part(train), policies.part(validation), policies.part(rest), policies.part(test)


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


def path_metrics(train, held, penalty, strengths):
    """Metrics on the policies held back for every strength of a path, and the seconds the path took to fit."""
    columns = tariff_columns()
    X, X_held = columns.fit_transform(train.features), columns.transform(held.features)
    start = time.perf_counter()
    models = list(
        DCovPoissonRegressor(penalty, alpha=ALPHA).strength_path(
            X,
            train.claims / train.exposure,
            strengths,
            sample_weight=train.exposure,
            sensitive_features=train.protected,
        )
    )
    seconds = time.perf_counter() - start
    return {model.strength: measure_counts(held, model.predict(X_held)) for model in models}, seconds


def first_that_meets(rows, column, limit):
    """Smallest strength whose value is at most the limit, or the one with the smallest value."""
    met = [strength for strength, row in sorted(rows.items()) if row[column] <= limit]
    return met[0] if met else min(rows, key=lambda strength: rows[strength][column])


def run_policies_seed(policies, seed):
    """One split: the sweep on the validation policies, then fits on the rest measured on the test policies."""
    train, validation, rest, test = split(policies, seed)
    result = {"validation": {}, "test": {}, "seconds": {}}
    for name, chosen in PUBLISHED_CHOICE.items():
        limit = published_row(PUBLISHED_VALIDATION[name, 40])["CCdCov"]
        for form, penalty, strengths in (
            ("λ", PENALTIES[name](normalize=False), PUBLISHED_STRENGTHS),
            ("scale-free", PENALTIES[name](), SCALE_FREE_STRENGTHS),
        ):
            sweep, seconds = path_metrics(train, validation, penalty, strengths)
            result["seconds"][f"{name}, {form}, {len(strengths)} strengths"] = seconds
            matched = first_that_meets(sweep, "CCdCov", limit)
            last = max(matched, chosen) if form == "λ" else matched
            refits, _ = path_metrics(rest, test, penalty, [strength for strength in strengths if strength <= last])
            result["test"].setdefault("λ = 0", refits[0])
            result["test"][f"{name}, {form} matched"] = {**refits[matched], "strength": matched}
            if form == "λ":
                result["test"][f"{name}, λ = {chosen}"] = refits[chosen]
                result["validation"].update({f"{name}, λ = {strength:g}": row for strength, row in sweep.items()})
    return result


# ---------------------------------------------------------------------------------------------------------------------
# COMPAS
# ---------------------------------------------------------------------------------------------------------------------

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
N_PERMUTATIONS = 200
COMPAS_STRENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20, 40)
# A record holds counts, so predicted probabilities lie on few values. Differences below five points do not count; the
# bandwidth of a rule would tell all values apart, and only a constant could pass.
COMPAS_BANDWIDTH = 0.05
# Asked for of the calibration: about half of what the unpenalised model shows.
COMPAS_MAX_DIVERGENCE = 0.06


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


def measure_probabilities(target, probability, protected, seed):
    """Quality, and the divergence per attribute and per intersection with what permuted groups would show (95 %)."""
    row = {
        "accuracy": accuracy_score(target, probability > 0.5),
        "Brier": brier_score_loss(target, probability),
        "AUC": roc_auc_score(target, probability),
        "log loss": log_loss(target, probability),
        "CCdCov": ccdcov(None, probability, sensitive_features=protected, statistic="u"),
        "JdCov net": jdcov(None, probability, sensitive_features=protected, statistic="u"),
    }
    for name, attributes in GROUPINGS.items():
        with warnings.catch_warnings():
            # Groups below the size that can be compared: known, see MIN_GROUP_SIZE.
            warnings.simplefilter("ignore", SensitiveFeaturesWarning)
            null = null_distribution(
                js_divergence,
                None,
                probability,
                sensitive_features=protected[attributes],
                bandwidth=COMPAS_BANDWIDTH,
                bins=AGE_GROUPS if "age" in attributes else None,
                min_group_size=MIN_GROUP_SIZE,
                n_permutations=N_PERMUTATIONS,
                random_state=seed,
            )
        row[f"JSD {name}"], row[f"null {name}"] = null.observed, null.quantile(0.95)
    return row


def calibrate_compas(compas, rows, penalty, seed):
    """A calibrator fitted by the threshold rule; the null level is read from its results."""
    calibrator = JSDivergenceCalibrator(
        Pipeline([("record", record_columns()), ("model", DCovLogisticRegression(penalty, alpha=1.0))]),
        strengths=COMPAS_STRENGTHS,
        rule="threshold",
        max_divergence=COMPAS_MAX_DIVERGENCE,
        if_unmet="warn",
        bandwidth=COMPAS_BANDWIDTH,
        scoring="neg_brier_score",
        bins=AGE_GROUPS,
        min_group_size=MIN_GROUP_SIZE,
        random_state=seed,
        verbose=0,
    )
    with warnings.catch_warnings():
        # Groups below MIN_GROUP_SIZE in a fold; a threshold below their null level (at strength 0 it is close).
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        return calibrator.fit(
            compas.data.iloc[rows], compas.target[rows], sensitive_features=compas.sensitive_features.iloc[rows]
        )


def smallest_within(results, limit):
    """Position of the smallest strength within the limit, or of the lowest divergence, and whether it was met."""
    met = np.flatnonzero(results["mean_divergence"] <= limit)
    return (int(met[0]), True) if len(met) else (int(np.argmin(results["mean_divergence"])), False)


def run_compas_seed(compas, seed):
    """One split: calibrate on 70 % in cross-validation, measure on 30 %."""
    protected, target = compas.sensitive_features, compas.target
    cells = protected["sex"].astype(str) + "|" + protected["race"].astype(str) + "|" + target.astype(str)
    train, test = train_test_split(np.arange(len(target)), test_size=0.3, random_state=seed, stratify=cells)
    columns = record_columns()
    X, X_test = columns.fit_transform(compas.data.iloc[train]), columns.transform(compas.data.iloc[test])
    result = {"test": {}, "strength": {}, "met": {}, "seconds": {}}
    for name, penalty in PENALTIES.items():
        start = time.perf_counter()
        calibrator = calibrate_compas(compas, train, penalty(), seed)
        result["seconds"][f"{name}, calibration"] = time.perf_counter() - start
        results = calibrator.calibration_results_
        strengths = results["strengths"]
        chosen = {"threshold": calibrator.best_index_}
        chosen["null level"], null_met = smallest_within(results, results["null_level"])
        models = list(
            DCovLogisticRegression(penalty(), alpha=1.0).strength_path(
                X, target[train], strengths[: max(chosen.values()) + 1], sensitive_features=protected.iloc[train]
            )
        )
        picked = {f"{name}, {rule}": models[index] for rule, index in chosen.items()}
        for label, model in ({"no penalty": models[0]} | picked).items():
            if label not in result["test"]:
                probability = model.predict_proba(X_test)[:, 1]
                result["test"][label] = measure_probabilities(target[test], probability, protected.iloc[test], seed)
        result["strength"] |= {label: float(model.strength) for label, model in picked.items()}
        result["met"][f"{name}, threshold"] = bool(
            results["mean_divergence"][calibrator.best_index_] <= COMPAS_MAX_DIVERGENCE
        )
        result["met"][f"{name}, null level"] = null_met
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


# Digits after the point; the others are printed with a power of ten.
DIGITS = {"RPS": 5, "deviance": 5, "total": 4, "accuracy": 4, "Brier": 4, "AUC": 4, "log loss": 4}
DIGITS |= {f"{what} {grouping}": 4 for what in ("JSD", "null") for grouping in GROUPINGS}


def summarise(results, part):
    """Mean over the seeds and standard error of the mean, as frames of rows by columns."""
    frames = [pd.DataFrame(result[part]).T for result in results]
    grouped = pd.concat(frames).astype(float).groupby(level=0, sort=False)
    return grouped.mean(), grouped.std(ddof=1) / np.sqrt(len(frames))


def number(value, column):
    """A figure with as many digits as the paper prints."""
    if value is None or np.isnan(value):
        return ""
    digits = DIGITS.get(column)
    return f"{value:.3e}" if digits is None else f"{value:.{digits}f}"


def with_error(mean, error, column):
    """A figure with its standard error, where there is more than one split."""
    shown = number(mean, column)
    return shown if np.isnan(error) else f"{shown} ± {error:.1g}"


def print_table(header, rows):
    """A Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def comparison_rows(pairs, mean, error):
    """The published row of each pair, where there is one, and the own row below it."""
    columns = [*COLUMNS, "JdCov net", "JSD null", "total"]
    for published, label in pairs:
        if published is not None:
            values = published_row(published)
            yield [f"published: {label}", *(number(values.get(column), column) for column in columns)]
        own = [with_error(mean.loc[label, column], error.loc[label, column], column) for column in columns]
        strength = mean.loc[label].get("strength", np.nan)
        yield [f"own: {label}" + ("" if np.isnan(strength) else f" (mean {strength:.3g})"), *own]


def verdict(own, error, published):
    """Own against published in per cent; better or worse where they differ by more than two standard errors."""
    change = f"{100 * (own / published - 1):+.1f} %"
    if np.isnan(error):
        return f"{change} (one split)"
    if abs(own - published) <= 2 * error:
        return f"{change}, within 2 s.e."
    return f"{change}, {'better' if own < published else 'worse'}"


def report_policies(results):
    """The tables of pg15training."""
    mean, error = summarise(results, "test")
    header = ["", *COLUMNS, "JdCov net", "JSD null", "predicted / observed"]
    choices = {"λ = 0": PUBLISHED_TEST["none", 0]}
    choices |= {f"{name}, λ = {chosen}": PUBLISHED_TEST[name, chosen] for name, chosen in PUBLISHED_CHOICE.items()}
    own_rows = {"λ = 0": ["λ = 0"]}
    for name, chosen in PUBLISHED_CHOICE.items():
        own_rows[f"{name}, λ = {chosen}"] = [
            f"{name}, λ = {chosen}",
            f"{name}, λ matched",
            f"{name}, scale-free matched",
        ]
    print("### pg15training, test policies\n")
    pairs = [
        (values if label == choice else None, label) for choice, values in choices.items() for label in own_rows[choice]
    ]
    print_table(header, comparison_rows(pairs, mean, error))
    print(
        "matched: the smallest strength whose CCdCov on the validation policies is at most the published one of that\n"
        f"measure at λ = 40. JSD null: mean JSD of {N_NULL} permutations of the groups; with a bandwidth of "
        "0.15 it grows\n"
        "with the tail of the predictions. The published rows are one test set, without standard errors.\n"
    )
    print("### Own against published on the test policies (smaller is better in every column)\n")
    rows = []
    for choice, values in choices.items():
        published = published_row(values)
        for label in own_rows[choice]:
            cells = [
                verdict(mean.loc[label, column], error.loc[label, column], published[column]) for column in COLUMNS
            ]
            rows.append([f"{label} against {choice}", *cells])
    print_table(["own against published", *COLUMNS], rows)
    print("### pg15training, validation policies of the sweep\n")
    mean, error = summarise(results, "validation")
    pairs = [(values, f"{name}, λ = {strength}") for (name, strength), values in PUBLISHED_VALIDATION.items()]
    print_table(header, comparison_rows(pairs, mean, error))
    print(
        "Published: ten seeds. JdCov is raw, as published: it contains the dependence of gender and "
        "region on each other\n"
        "in those policies, at which the published column levels off (3e-4) and which no model can change. "
        "JdCov net is\n"
        "without it.\n"
    )


def report_compas(results):
    """The tables of COMPAS."""
    mean, error = summarise(results, "test")
    labels = ["no penalty", *(f"{name}, {rule}" for name in PENALTIES for rule in ("threshold", "null level"))]
    print("### COMPAS, defendants held back\n")
    rows = []
    for column in mean:
        if column.startswith("null "):
            continue
        cells = [with_error(mean.loc[label, column], error.loc[label, column], column) for label in labels]
        if column.startswith("JSD "):
            null = "null " + column.removeprefix("JSD ")
            cells = [
                f"{cell} (null {number(mean.loc[label, null], null)})"
                for cell, label in zip(cells, labels, strict=True)
            ]
        rows.append([column, *cells])
    print_table(["", *labels], rows)
    for label in labels[1:]:
        strengths = ", ".join(f"{result['strength'][label]:g}" for result in results)
        met = sum(result["met"][label] for result in results)
        print(f"{label}: strengths {strengths}; rule met in cross-validation in {met} of {len(results)} splits")
    print(
        f"\n(null): what {N_PERMUTATIONS} permutations of the groups stay below in 95 %; JSD with a bandwidth of\n"
        f"{COMPAS_BANDWIDTH}. threshold: smallest strength whose mean JSD over the folds and all intersections is at\n"
        f"most {COMPAS_MAX_DIVERGENCE}; null level: at most its null level, or the lowest JSD. Age groups, for the\n"
        "comparison only: under 25, 25 to 45, over 45.\n"
    )


def main(arguments=None):
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", metavar="DATA", help="pg15training, compas; both by default")
    parser.add_argument("--seeds", type=int, default=5, help="number of split seeds")
    parser.add_argument("--policies", type=int, help="a random part of pg15training only, for a quick look")
    parser.add_argument("--json", metavar="FILE", help="write all figures to a file as well")
    options = parser.parse_args(arguments)
    unknown = set(options.data) - {"pg15training", "compas"}
    if unknown or options.seeds < 1:
        parser.error(f"unknown data {sorted(unknown)}" if unknown else "--seeds must be at least 1")
    print(f"python {platform.python_version()}, scikit-learn {sklearn.__version__}, numpy {np.__version__}, ", end="")
    print(f"fairdcov {fairdcov.__version__}; {options.seeds} split seed(s), mean ± standard error\n")
    figures = {}
    for name in options.data or ["pg15training", "compas"]:
        start = time.perf_counter()
        if name == "pg15training":
            policies = load_policies(options.policies)
            figures[name] = [run_policies_seed(policies, seed) for seed in range(options.seeds)]
            report_policies(figures[name])
        else:
            compas = fetch_compas()
            figures[name] = [run_compas_seed(compas, seed) for seed in range(options.seeds)]
            report_compas(figures[name])
        steps = pd.DataFrame([result["seconds"] for result in figures[name]]).median()
        timed = "; ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items())
        print(f"Median over the seeds: {timed}. In all {time.perf_counter() - start:.0f} s.\n", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1, default=float)


if __name__ == "__main__":
    main()
