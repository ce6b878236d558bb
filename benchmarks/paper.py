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

import numpy as np
import pandas as pd
import sklearn
from comparison import (
    AGE_GROUPS,
    ALPHA,
    COLUMNS,
    GROUPINGS,
    MIN_GROUP_SIZE,
    N_NULL,
    PUBLISHED_CHOICE,
    PUBLISHED_TEST,
    PUBLISHED_VALIDATION,
    load_defendants,
    load_policies,
    measure_counts,
    number,
    print_table,
    record_columns,
    split_defendants,
    split_policies,
    tariff_columns,
)
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline

import fairdcov
from fairdcov import (
    CCDCovPenalty,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    JDCovPenalty,
    JSDivergenceCalibrator,
)
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, jdcov, js_divergence, null_distribution

PENALTIES = {"CCdCov": CCDCovPenalty, "JdCov": JDCovPenalty}

# ---------------------------------------------------------------------------------------------------------------------
# pg15training
# ---------------------------------------------------------------------------------------------------------------------

PUBLISHED_STRENGTHS = tuple(range(0, 151, 10))
# Strengths of the scale-free penalty, which have no units.
SCALE_FREE_STRENGTHS = (0, 1, 2, 3, 5, 8, 12, 20, 30)


def path_metrics(train, held, penalty, strengths):
    """Metrics on the policies held back for every strength of a path, and the seconds the path took to fit."""
    columns = tariff_columns()
    X, X_held = columns.fit_transform(train.features), columns.transform(held.features)
    start = time.perf_counter()
    models = list(
        DCovPoissonRegressor(penalty, alpha=ALPHA).strength_path(
            X,
            train.target,
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
    train, validation, rest, test = split_policies(policies, seed)
    result = {"validation": {}, "test": {}, "seconds": {}}
    for name, chosen in PUBLISHED_CHOICE.items():
        limit = PUBLISHED_VALIDATION[name, 40]["CCdCov"]
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

N_PERMUTATIONS = 200
COMPAS_STRENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20, 40)
# A record holds counts, so predicted probabilities lie on few values. Differences below five points do not count; the
# bandwidth of a rule would tell all values apart, and only a constant could pass.
COMPAS_BANDWIDTH = 0.05
# Asked for of the calibration: about half of what the unpenalised model shows.
COMPAS_MAX_DIVERGENCE = 0.06


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


def calibrate_compas(rows, penalty, seed):
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
        return calibrator.fit(rows.features, rows.target, sensitive_features=rows.protected)


def smallest_within(results, limit):
    """Position of the smallest strength within the limit, or of the lowest divergence, and whether it was met."""
    met = np.flatnonzero(results["mean_divergence"] <= limit)
    return (int(met[0]), True) if len(met) else (int(np.argmin(results["mean_divergence"])), False)


def run_compas_seed(defendants, seed):
    """One split: calibrate on 70 % in cross-validation, measure on 30 %."""
    _, _, train, test = split_defendants(defendants, seed)
    columns = record_columns()
    X, X_test = columns.fit_transform(train.features), columns.transform(test.features)
    result = {"test": {}, "strength": {}, "met": {}, "seconds": {}}
    for name, penalty in PENALTIES.items():
        start = time.perf_counter()
        calibrator = calibrate_compas(train, penalty(), seed)
        result["seconds"][f"{name}, calibration"] = time.perf_counter() - start
        results = calibrator.calibration_results_
        strengths = results["strengths"]
        chosen = {"threshold": calibrator.best_index_}
        chosen["null level"], null_met = smallest_within(results, results["null_level"])
        models = list(
            DCovLogisticRegression(penalty(), alpha=1.0).strength_path(
                X, train.target, strengths[: max(chosen.values()) + 1], sensitive_features=train.protected
            )
        )
        picked = {f"{name}, {rule}": models[index] for rule, index in chosen.items()}
        for label, model in ({"no penalty": models[0]} | picked).items():
            if label not in result["test"]:
                probability = model.predict_proba(X_test)[:, 1]
                result["test"][label] = measure_probabilities(test.target, probability, test.protected, seed)
        result["strength"] |= {label: float(model.strength) for label, model in picked.items()}
        result["met"][f"{name}, threshold"] = bool(
            results["mean_divergence"][calibrator.best_index_] <= COMPAS_MAX_DIVERGENCE
        )
        result["met"][f"{name}, null level"] = null_met
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------------------------


def summarise(results, part):
    """Mean over the seeds and standard error of the mean, as frames of rows by columns."""
    frames = [pd.DataFrame(result[part]).T for result in results]
    grouped = pd.concat(frames).astype(float).groupby(level=0, sort=False)
    return grouped.mean(), grouped.std(ddof=1) / np.sqrt(len(frames))


def with_error(mean, error, column):
    """A figure with its standard error, where there is more than one split."""
    shown = number(mean, column)
    return shown if np.isnan(error) else f"{shown} ± {error:.1g}"


def comparison_rows(pairs, mean, error):
    """The published row of each pair, where there is one, and the own row below it."""
    columns = [*COLUMNS, "JdCov net", "JSD null", "total"]
    for published, label in pairs:
        if published is not None:
            yield [f"published: {label}", *(number(published.get(column), column) for column in columns)]
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
    for choice, published in choices.items():
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
            defendants = load_defendants()
            figures[name] = [run_compas_seed(defendants, seed) for seed in range(options.seeds)]
            report_compas(figures[name])
        steps = pd.DataFrame([result["seconds"] for result in figures[name]]).median()
        timed = "; ".join(f"{step} {seconds:.1f} s" for step, seconds in steps.items())
        print(f"Median over the seeds: {timed}. In all {time.perf_counter() - start:.0f} s.\n", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1, default=float)


if __name__ == "__main__":
    main()
