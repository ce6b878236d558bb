"""``fairdcov demo``: the main job from policies to a chosen, fair claim frequency model."""

import time
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from fairdcov import (
    DCovPoissonRegressor,
    JSDivergenceCalibrator,
    SensitiveEncoder,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov._checks import import_optional
from fairdcov.cli._experience import crossed_strata
from fairdcov.cli._features import feature_columns
from fairdcov.cli._models import PENALTIES
from fairdcov.cli._output import check_output_folder, output_folder
from fairdcov.cli._pictures import CALIBRATION_COLUMNS, draw_calibrations, save
from fairdcov.cli._remarks import kept_text
from fairdcov.datasets import fetch_pg15training, make_motor_portfolio
from fairdcov.exceptions import CalibrationWarning, SensitiveFeaturesWarning
from fairdcov.metrics import gini, js_divergence, null_distribution, rps, unfairness_ratio

__all__ = ["run_demo"]

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# The published comparison penalises in the units of the prediction, and measures counts with a fixed bandwidth.
PUBLISHED_STRENGTHS = (10.0, 20.0, 40.0, 80.0, 150.0)
PUBLISHED_BANDWIDTH = 0.15
PUBLISHED_ROWS = {
    "published, strength 0": (0.12248, 0.54503, 1.0083e-3, 1.3230e-3, 2.8238e-2, 8.0775e-2),
    "published, CCdCov, strength 40": (0.12314, 0.54936, 5.846e-5, 8.452e-5, 1.817e-3, 6.175e-3),
    "published, JdCov, strength 30": (0.12366, 0.55378, 5.288e-5, 7.522e-5, 1.504e-3, 5.654e-3),
}
N_PERMUTATIONS = 200
AGE_BANDS = [0, 30, 120]
AGE_LABELS = ["under 30", "30 and over"]
ALPHA = 1e-5


@dataclass(frozen=True)
class Book:
    """Policies of one half of the split."""

    features: pd.DataFrame
    claims: np.ndarray
    exposure: np.ndarray
    sensitive: pd.DataFrame
    groups: pd.DataFrame

    @property
    def frequency(self):
        """Claims per unit of exposure."""
        return self.claims / self.exposure

    def part(self, rows):
        """Some of the policies."""
        return Book(
            self.features.iloc[rows],
            self.claims[rows],
            self.exposure[rows],
            self.sensitive.iloc[rows],
            self.groups.iloc[rows],
        )


def load_book(options):
    """The portfolio, with age cut into bands where groups are compared."""
    if options.data == "motor":
        bunch = make_motor_portfolio(options.policies, random_state=options.seed)
    else:
        bunch = fetch_pg15training()
    groups = bunch.sensitive_features.copy()
    if "age" in groups:
        groups["age"] = pd.cut(groups["age"], AGE_BANDS, right=False, labels=AGE_LABELS).astype(str)
    return Book(
        bunch.data, np.asarray(bunch.claims, float), np.asarray(bunch.exposure, float), bunch.sensitive_features, groups
    )


def strata(book):
    """Claims x protected categories, as the published split."""
    return crossed_strata(np.minimum(book.claims, 2), book.sensitive.select_dtypes(exclude="number"))


def blocks_of(sensitive):
    """Protected attributes as numeric blocks, encoded as the penalties do."""
    encoded = SensitiveEncoder().fit_encode(sensitive)
    return [points[encoded.codes] for points in encoded.points]


def evaluate(book, prediction, blocks):
    """Row of the table: exposure-weighted quality and dependence of predicted frequencies on policies held back."""
    weights = {"sample_weight": book.exposure}
    measured = {"statistic": "v", "sample_weight": book.exposure}
    grouped = {"sensitive_features": book.groups, **weights}
    return {
        "deviance": mean_poisson_deviance(book.frequency, prediction, **weights),
        "Gini": gini(book.frequency, prediction, **weights),
        "dCov": distance_covariance(prediction, *blocks, **measured),
        "JdCov": joint_distance_covariance(prediction, *blocks, **measured)
        - joint_distance_covariance(np.zeros_like(prediction), *blocks, **measured),
        "CCdCov": concatenated_distance_covariance(prediction, *blocks, **measured),
        "JSD": js_divergence(book.frequency, prediction, **grouped),
        "UF": unfairness_ratio(book.frequency, prediction, **grouped),
        "total": float(prediction @ book.exposure / book.claims.sum()),
    }


def evaluate_as_published(book, prediction, blocks):
    """The six published columns: unweighted, on expected counts."""
    counts = prediction * book.exposure
    groups = {"sensitive_features": book.groups}
    return {
        "RPS": rps(book.claims, counts),
        "deviance": mean_poisson_deviance(book.claims, counts),
        "CCdCov": concatenated_distance_covariance(counts, *blocks),
        "JdCov": joint_distance_covariance(counts, *blocks) - joint_distance_covariance(np.zeros_like(counts), *blocks),
        "JSD": js_divergence(book.claims, counts, bandwidth=PUBLISHED_BANDWIDTH, **groups),
        "UF": unfairness_ratio(book.claims, counts, **groups),
    }


def calibrate(book, columns, measure, *, published, options):
    """Calibrator of one measure, fitted by cross-validation on the policies to fit, and what it had to say."""
    penalty = PENALTIES[measure](normalize=not published)
    calibrator = JSDivergenceCalibrator(
        Pipeline([("features", columns), ("model", DCovPoissonRegressor(penalty, alpha=ALPHA))]),
        strengths=PUBLISHED_STRENGTHS if published else STRENGTHS,
        rule="null_level",
        if_unmet="warn",
        cv=3,
        bins={"age": AGE_BANDS} if "age" in book.sensitive else None,
        random_state=options.seed,
        verbose=not options.quiet,
    )
    with warnings.catch_warnings(record=True) as caught:
        for category in (SensitiveFeaturesWarning, CalibrationWarning):
            warnings.simplefilter("always", category)
        calibrator.fit(book.features, book.frequency, book.exposure, sensitive_features=book.sensitive)
    return calibrator, [str(warning.message) for warning in caught]


def fit_paths(book, columns, calibrators, *, quiet):
    """The unpenalised model and the path of each measure on all policies to fit, as (measure, model, seconds)."""
    X = columns.fit_transform(book.features)
    fit = {"sample_weight": book.exposure, "sensitive_features": book.sensitive}
    models: list = []
    total = 1 + sum(len(calibrator.calibration_results_["strengths"]) - 1 for calibrator in calibrators.values())
    with tqdm(total=total, desc="fitting", unit="model", disable=quiet, leave=False) as bar:
        for measure, calibrator in calibrators.items():
            strengths = calibrator.calibration_results_["strengths"]
            path = calibrator.best_estimator_[-1].strength_path(X, book.frequency, strengths, **fit)
            # Every path begins at strength 0, where the measures do not differ: shown once.
            for strength in strengths:
                start = time.perf_counter()
                model = next(path)
                if strength > 0 or not models:
                    models.append((measure if strength > 0 else "none", model, time.perf_counter() - start))
                    bar.update()
    return models


def choose(calibrators):
    """Of the measures that met the rule the one with the best score; if none did, the lowest divergence."""

    def rank(measure):
        results, best = calibrators[measure].calibration_results_, calibrators[measure].best_index_
        met = results["mean_divergence"][best] <= results["null_level"][best]
        return met, results["mean_score"][best] if met else -results["mean_divergence"][best]

    return max(calibrators, key=rank)


def draw_group_means(book, predictions, file):
    """Mean predicted frequency of the groups at both ends, before and after."""
    pyplot = import_optional("matplotlib.pyplot", "fairdcov demo")
    names = [" × ".join(map(str, key)) for key in book.groups.itertuples(index=False)]
    frame = pd.DataFrame({"group": names, "exposure": book.exposure, **predictions})
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


def draw(folder, calibrators, chosen_measure, test, before, after):
    """Pictures of the calibration, of what fairness costs, and of the groups before and after."""
    grouped = {"sensitive_features": test.groups, "sample_weight": test.exposure}
    draw_calibrations(folder, calibrators, chosen_measure, before, after, score_name="D²", **grouped)
    draw_group_means(test, {"no penalty": before, "chosen": after}, folder / "group_means.png")


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


def run_demo(options):
    """Run the command with parsed options."""
    if options.policies < 1_000:
        raise ValueError(f"--policies must be at least 1000 for a book worth fitting; found {options.policies}")
    check_output_folder(options.output, force=options.force)
    skops = import_optional("skops.io", "fairdcov demo")
    import_optional("matplotlib", "fairdcov demo")
    started = time.perf_counter()
    published = options.data == "pg15training"
    book = load_book(options)
    train_rows, test_rows = train_test_split(
        np.arange(len(book.claims)), test_size=0.2, random_state=options.seed, stratify=strata(book)
    )
    train, test = book.part(train_rows), book.part(test_rows)
    attributes = ", ".join(book.sensitive.columns)
    print(f"{len(book.claims):,} policies, {book.claims.sum():,.0f} claims; protected: {attributes}")
    print(f"{len(train_rows):,} policies to fit, {len(test_rows):,} held back to compare\n")

    columns = feature_columns(book.features)
    calibrators = {}
    print(
        "calibrating on the policies to fit (3 folds; rule: smallest strength whose groups cannot be told from chance)"
    )
    for measure in PENALTIES:
        calibrator, remarks = calibrate(train, columns, measure, published=published, options=options)
        calibrators[measure] = calibrator
        results, best = calibrator.calibration_results_, calibrator.best_index_
        print(
            f"  {measure}: strength {calibrator.best_strength_:g}, JSD {results['mean_divergence'][0]:.3f} -> "
            f"{results['mean_divergence'][best]:.3f} (null level {results['null_level'][best]:.3f}), "
            f"D2 {results['mean_score'][0]:.4f} -> {results['mean_score'][best]:.4f}: "
            f"{kept_text(results['kept'][best])}"
        )
        for remark in remarks:
            print(f"    {remark}")
    measure = choose(calibrators)
    models = fit_paths(train, columns, calibrators, quiet=options.quiet)
    X_test = columns.transform(test.features)
    blocks = blocks_of(test.sensitive)
    predictions = [model.predict(X_test) for _, model, _ in models]
    table = pd.DataFrame(
        [
            {"measure": name, "strength": model.strength, **evaluate(test, prediction, blocks), "seconds": seconds}
            for (name, model, seconds), prediction in zip(models, predictions, strict=True)
        ]
    )
    best_strength = calibrators[measure].best_strength_
    chosen = int(
        np.flatnonzero((table["strength"] == best_strength) & ((table["measure"] == measure) | (best_strength == 0)))[0]
    )
    null = null_distribution(
        js_divergence,
        test.frequency,
        predictions[chosen],
        sensitive_features=test.groups,
        sample_weight=test.exposure,
        n_permutations=N_PERMUTATIONS,
        random_state=options.seed,
    )
    null_level = null.quantile(0.95)
    print("\non the policies held back, weighted by exposure (total: predicted / observed claims; * chosen)")
    _print_table(table.assign(measure=[f"* {m}" if k == chosen else m for k, m in enumerate(table["measure"])]))
    print(
        f"\nchosen: {measure}, strength {best_strength:g}; its JSD is {null.observed:.4f} on the policies held back, "
        f"where 95 % of {N_PERMUTATIONS} permutations of the groups stay below {null_level:.4f}"
    )

    comparison = None
    if published:
        rows = {
            f"own, {name}, strength {model.strength:g}": evaluate_as_published(test, prediction, blocks)
            for (name, model, _), prediction in zip(models, predictions, strict=True)
        }
        names = list(next(iter(rows.values())))
        rows.update({name: dict(zip(names, values, strict=True)) for name, values in PUBLISHED_ROWS.items()})
        comparison = pd.DataFrame(rows).T.rename_axis("model").reset_index()
        print("\nin the published units: expected counts, no weights, JSD with bandwidth 0.15, JdCov net")
        _print_table(comparison)

    with output_folder(options.output, force=options.force) as folder:
        table.to_csv(folder / "models.csv", index=False)
        if comparison is not None:
            comparison.to_csv(folder / "published.csv", index=False)
        scored = test.features.assign(
            **{f"protected_{name}": test.sensitive[name] for name in test.sensitive},
            exposure=test.exposure,
            claims=test.claims,
            frequency_unpenalised=predictions[0],
            frequency_fair=predictions[chosen],
        )
        scored.to_csv(folder / "scored_policies.csv", index_label="policy")
        pd.DataFrame(
            {
                "measure": np.repeat(
                    list(calibrators), [len(c.calibration_results_["strengths"]) for c in calibrators.values()]
                ),
                **{
                    name: np.concatenate([c.calibration_results_[name] for c in calibrators.values()])
                    for name in CALIBRATION_COLUMNS
                },
            }
        ).to_csv(folder / "calibration.csv", index=False)
        skops.dump(calibrators[measure].best_estimator_, folder / "model.skops")
        draw(folder, calibrators, measure, test, predictions[0], predictions[chosen])
    seconds = time.perf_counter() - started
    print(f"\nwrote tables, scored policies, the model and pictures to {options.output} in {seconds:.0f} s")
