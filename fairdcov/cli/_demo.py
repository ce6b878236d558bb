"""``fairdcov demo``: the main job from policies to claim frequencies with a penalty whose strength is calibrated."""

import time
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

import numpy as np
import pandas as pd
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from fairdcov import (
    SensitiveEncoder,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov._checks import import_optional
from fairdcov.cli._calibration import Rows, calibrate, calibration_table, calibration_text
from fairdcov.cli._cost import cost_of_penalty, print_cost
from fairdcov.cli._experience import crossed_strata
from fairdcov.cli._models import FAMILIES, PENALTIES, build_model
from fairdcov.cli._output import check_output_folder, output_folder
from fairdcov.cli._parser import AGE_EDGES
from fairdcov.cli._pictures import draw_calibrations, save
from fairdcov.cli._protected import Protected
from fairdcov.datasets import fetch_pg15training, load_published_results, make_motor_portfolio
from fairdcov.metrics import gini, js_divergence, null_distribution, rps, unfairness_ratio

__all__ = ["run_demo"]

FAMILY = FAMILIES["poisson"]
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# The published comparison penalises in the units of the prediction, and measures counts with a fixed bandwidth.
PUBLISHED_STRENGTHS = (10.0, 20.0, 40.0, 80.0, 150.0)
PUBLISHED_BANDWIDTH = 0.15
N_FOLDS = 3
N_PERMUTATIONS = 200
AGE_LABELS = ["under 25", "25 to 39", "40 to 59", "60 and over"]


@dataclass(frozen=True)
class HeldBack:
    """Policies that models are compared on."""

    rows: Rows
    claims: np.ndarray

    @cached_property
    def groups(self):
        """Protected attributes with age in bands."""
        groups = self.rows.sensitive.copy()
        if "age" in groups:
            groups["age"] = pd.cut(groups["age"], AGE_EDGES, right=False, labels=AGE_LABELS).astype(str)
        return groups

    @cached_property
    def blocks(self):
        """Protected attributes as numeric blocks, encoded as the penalties do."""
        encoded = SensitiveEncoder().fit_encode(self.rows.sensitive)
        return [points[encoded.codes] for points in encoded.points]


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


def load_book(options):
    """The portfolio."""
    if options.data == "motor":
        return make_motor_portfolio(options.policies, random_state=options.seed)
    return fetch_pg15training()


def split(book, seed):
    """Positions of the policies to fit and of those held back, by claims x protected categories as published."""
    strata = crossed_strata(np.minimum(book.claims, 2), book.sensitive_features.select_dtypes(exclude="number"))
    return train_test_split(np.arange(len(strata)), test_size=0.2, random_state=seed, stratify=strata)


def age_bins(rows):
    """How the protected ages are cut, where there are any."""
    return {"age": list(AGE_EDGES)} if "age" in rows.sensitive else None


def calibrate_measure(measure, book, train, options):
    """A calibrator of the strength of one measure."""
    published = options.data == "pg15training"
    pipeline = build_model(
        "glm", FAMILY, book.data, penalty=measure, parameter=None, model_options=None, random_state=options.seed
    )
    return calibrate(
        pipeline.set_params(model__penalty=PENALTIES[measure](normalize=not published)),
        train,
        age_bins(train),
        options,
        strengths=PUBLISHED_STRENGTHS if published else STRENGTHS,
        rule="null_level",
        if_unmet="warn",
        cv=N_FOLDS,
    )


def fit_path(measure, calibrator, train, *, quiet):
    """The models of all strengths of a measure on all policies to fit, without penalty first: (model, seconds)."""
    strengths = calibrator.calibration_results_["strengths"]
    X = calibrator.best_estimator_[:-1].transform(train.features)
    fit = {"sample_weight": train.exposure, "sensitive_features": train.sensitive}
    path = calibrator.best_estimator_[-1].strength_path(X, train.target, strengths, **fit)
    models = []
    for _ in tqdm(strengths, desc=f"fitting {measure}", unit="model", disable=quiet, leave=False):
        start = time.perf_counter()
        models.append((next(path), time.perf_counter() - start))
    return models


def choose(calibrators):
    """Of the measures that met the rule the one with the best score; if none did, the lowest divergence."""

    def rank(measure):
        results, best = calibrators[measure].calibration_results_, calibrators[measure].best_index_
        met = results["mean_divergence"][best] <= results["null_level"][best]
        return met, results["mean_score"][best] if met else -results["mean_divergence"][best]

    return max(calibrators, key=rank)


# ---------------------------------------------------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------------------------------------------------


def evaluate(test, prediction):
    """Row of the table: exposure-weighted quality and dependence of predicted frequencies on policies held back."""
    frequency, weights = test.rows.target, {"sample_weight": test.rows.exposure}
    measured = {"statistic": "v", **weights}
    grouped = {"sensitive_features": test.groups, **weights}
    return {
        "deviance": mean_poisson_deviance(frequency, prediction, **weights),
        "Gini": gini(frequency, prediction, **weights),
        "dCov": distance_covariance(prediction, *test.blocks, **measured),
        "JdCov": joint_distance_covariance(prediction, *test.blocks, **measured)
        - joint_distance_covariance(np.zeros_like(prediction), *test.blocks, **measured),
        "CCdCov": concatenated_distance_covariance(prediction, *test.blocks, **measured),
        "JSD": js_divergence(frequency, prediction, **grouped),
        "UF": unfairness_ratio(frequency, prediction, **grouped),
        "total": float(prediction @ test.rows.exposure / test.claims.sum()),
    }


def evaluate_as_published(test, prediction):
    """The six published columns: unweighted, on expected counts."""
    counts = prediction * test.rows.exposure
    groups = {"sensitive_features": test.groups}
    return {
        "RPS": rps(test.claims, counts),
        "deviance": mean_poisson_deviance(test.claims, counts),
        "CCdCov": concatenated_distance_covariance(counts, *test.blocks),
        "JdCov": joint_distance_covariance(counts, *test.blocks)
        - joint_distance_covariance(np.zeros_like(counts), *test.blocks),
        "JSD": js_divergence(test.claims, counts, bandwidth=PUBLISHED_BANDWIDTH, **groups),
        "UF": unfairness_ratio(test.claims, counts, **groups),
    }


def compare_with_published(test, paths):
    """Own models in the published units, and what was published below them."""
    first = next(iter(paths))
    own = [
        {
            "model": f"own, {measure if strength > 0 else 'none'}, strength {strength:g}",
            **evaluate_as_published(test, prediction),
        }
        for measure, path in paths.items()
        for strength, prediction in path.items()
        if strength > 0 or measure == first
    ]
    published = load_published_results()
    names = [f"published, {name}, strength {s}" if s else "published, strength 0" for name, s in published.index]
    return pd.concat([pd.DataFrame(own), published.assign(model=names)], ignore_index=True)


def _print_table(table):
    formats = {
        "strength": "{:g}",
        "deviance": "{:.5f}",
        "RPS": "{:.5f}",
        "Gini": "{:.4f}",
        "total": "{:.4f}",
        "seconds": "{:.2f}",
    }
    shown = table.copy()
    for name in shown:
        if pd.api.types.is_numeric_dtype(shown[name]):
            shown[name] = shown[name].map(formats.get(name, "{:.2e}").format)
    print(shown.to_string(index=False))


def compare_path(measure, models, predictions, test, *, first):
    """Rows of the table: a model for each strength, the one without penalty only for the first measure."""
    rows = [
        {
            "measure": measure if model.strength > 0 else "none",
            "strength": model.strength,
            **evaluate(test, prediction),
            "seconds": seconds,
        }
        for (model, seconds), prediction in zip(models, predictions, strict=True)
        # Every path begins at strength 0, where the measures do not differ: shown once.
        if first or model.strength > 0
    ]
    return pd.DataFrame(rows)


def print_path(table, best_strength):
    """The models of one measure on the policies held back, the calibrated strength marked."""
    best = table["strength"] == best_strength
    _print_table(table.assign(measure=np.where(best, "* ", "") + table["measure"]))
    print()


def print_choice(test, measure, strength, prediction, seed):
    """How far the chosen model is from chance."""
    null = null_distribution(
        js_divergence,
        test.rows.target,
        prediction,
        sensitive_features=test.groups,
        sample_weight=test.rows.exposure,
        n_permutations=N_PERMUTATIONS,
        random_state=seed,
    )
    print(
        f"chosen: {measure}, strength {strength:g}; its JSD is {null.observed:.4f} on the policies held back, where "
        f"95 % of {N_PERMUTATIONS} permutations of the groups stay below {null.quantile(0.95):.4f}"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Output
# ---------------------------------------------------------------------------------------------------------------------


def draw_group_means(test, predictions, file):
    """Mean predicted frequency of the groups at both ends, before and after."""
    pyplot = import_optional("matplotlib.pyplot", "fairdcov demo")
    names = [" × ".join(map(str, key)) for key in test.groups.itertuples(index=False)]
    frame = pd.DataFrame({"group": names, "exposure": test.rows.exposure, **predictions})
    weighted = frame.assign(**{name: frame[name] * frame["exposure"] for name in predictions})
    sums = weighted.groupby("group")[["exposure", *predictions]].sum()
    means = sums[list(predictions)].div(sums["exposure"], axis=0).sort_values(next(iter(predictions)))
    # Many groups: the outermost ones tell the story, and their names stay readable.
    if len(means) > 24:
        means = pd.concat([means.iloc[:12], means.iloc[-12:]])
    figure, ax = pyplot.subplots(figsize=(8, 6), layout="constrained")
    positions = np.arange(len(means))
    ax.hlines(positions, means.min(axis=1), means.max(axis=1), color="0.8", zorder=1)
    for (name, values), colour, marker in zip(means.items(), ["black", "#0072B2"], ["D", "o"], strict=True):
        ax.scatter(values, positions, color=colour, marker=marker, label=name, zorder=2)
    ax.set_yticks(positions, means.index, fontsize=8)
    ax.set(xlabel="mean predicted claim frequency", title="Groups with the lowest and highest frequency")
    ax.legend()
    save(figure, file)


def scored_policies(test, positions, before, after):
    """Policies held back with their predictions; ``positions`` are those in the book."""
    rows = test.rows
    return rows.features.set_index(positions).assign(
        **{f"protected_{name}": rows.sensitive[name].to_numpy() for name in rows.sensitive},
        exposure=rows.exposure,
        claims=test.claims,
        frequency_unpenalised=before,
        frequency_penalised=after,
    )


def run_demo(options):
    """Run the command with parsed options."""
    # 1. What can be wrong.
    started = time.perf_counter()
    if options.policies < 1_000:
        raise ValueError(f"--policies must be at least 1000 for a book worth fitting; found {options.policies}")
    check_output_folder(options.output, force=options.force)
    # They take seconds to import, and are needed last.
    if find_spec("skops") is None:
        import_optional("skops", "fairdcov demo")
    if find_spec("matplotlib") is None:
        import_optional("matplotlib", "fairdcov demo")

    # 2. Policies.
    book = load_book(options)
    claims, exposure = np.asarray(book.claims, float), np.asarray(book.exposure, float)
    policies = Rows(book.data, Protected(book.sensitive_features, {}), claims / exposure, exposure, weighted=True)
    train_rows, test_rows = split(book, options.seed)
    train, test = policies.part(train_rows), HeldBack(policies.part(test_rows), claims[test_rows])
    print(f"{len(claims):,} policies, {claims.sum():,.0f} claims; protected: {', '.join(policies.sensitive)}")
    print(f"{len(train_rows):,} policies to fit, {len(test_rows):,} held back to compare\n")

    # 3. Models of every measure and strength, and what they do to the policies held back.
    print(
        f"calibrating on the policies to fit ({N_FOLDS} folds; rule: smallest strength whose groups cannot be told "
        "from chance);\nthen all strengths on the policies held back, weighted by exposure\n(total: predicted / "
        "observed claims; * smallest strength that meets the rule, or lowest divergence)\n"
    )
    calibrators, paths = {}, {}
    tables: list = []
    for measure in PENALTIES:
        print(measure)
        calibrators[measure] = calibrator = calibrate_measure(measure, book, train, options)
        print(f"  {calibration_text(calibrator, FAMILY.score)}")
        models = fit_path(measure, calibrator, train, quiet=options.quiet)
        X = calibrator.best_estimator_[:-1].transform(test.rows.features)
        paths[measure] = {model.strength: model.predict(X) for model, _ in models}
        tables.append(compare_path(measure, models, paths[measure].values(), test, first=not tables))
        print_path(tables[-1], calibrator.best_strength_)
    table = pd.concat(tables, ignore_index=True)

    # 4. One of them.
    measure = choose(calibrators)
    strength = calibrators[measure].best_strength_
    before, after = paths[measure][0.0], paths[measure][strength]
    print_choice(test, measure, strength, after, options.seed)
    cost = cost_of_penalty(before, after, test.rows, age_bins(test.rows), FAMILY, options, measure)
    print("what it costs there")
    print_cost(cost)
    published = None
    if options.data == "pg15training":
        published = compare_with_published(test, paths)
        print("\nin the published units: expected counts, no weights, JSD with bandwidth 0.15, JdCov net")
        _print_table(published)

    # 5. The folder, whole or not at all.
    skops = import_optional("skops.io", "fairdcov demo")
    with output_folder(options.output, force=options.force) as folder:
        table.to_csv(folder / "models.csv", index=False)
        cost.to_csv(folder / "cost.csv", index=False)
        if published is not None:
            published.to_csv(folder / "published.csv", index=False)
        scored_policies(test, test_rows, before, after).to_csv(folder / "scored_policies.csv", index_label="policy")
        calibrations = {name: calibration_table(c.calibration_results_) for name, c in calibrators.items()}
        pd.concat(calibrations, names=["measure"]).reset_index(level=0).to_csv(folder / "calibration.csv", index=False)
        skops.dump(calibrators[measure].best_estimator_, folder / "model.skops")
        grouped = {"sensitive_features": test.groups, "sample_weight": test.rows.exposure}
        name = f"{measure}, strength {strength:g}"
        draw_calibrations(folder, calibrators, measure, before, after, score_name=FAMILY.score, **grouped)
        draw_group_means(test, {"no penalty": before, name: after}, folder / "group_means.png")
    seconds = time.perf_counter() - started
    print(f"\nwrote tables, scored policies, the model and pictures to {options.output} in {seconds:.0f} s")
