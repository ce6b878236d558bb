"""Prices without the protected attributes: what the features of estimates and posteriors buy, and the barycentres.

    FAIRDCOV_DATA=folder python benchmarks/unaware.py [--seeds 0 1] [--policies N] [--parts features barycentre predict]

On pg15training, region × gender, rates weighted by exposure. Three tables: penalised learners with the columns of
UnawareFeatures against the same learner without, at the net divergences of four strengths of the latter; barycentres,
the S-aware one against EquiPy's transport of the same predictions (seconds without the booster that both have); time to
predict by the average of five folds' models. Differences in deviance are paired by row, with their standard errors.
"""

import argparse
import time
import warnings
from importlib.util import find_spec

import lightgbm
import numpy as np
from candidates import Settings, boosting_settings, frame_features, levels, load_task
from comparison import ALPHA, print_table, tariff_columns

from fairdcov import (
    DCovLGBMRegressor,
    DCovPoissonRegressor,
    FairBarycentreRegressor,
    UnawareFairRegressor,
    UnawareFeatures,
    frontier_gap,
)
from fairdcov.metrics import divergence_summary, mean_deviance

GLM_STRENGTHS, GLM_COMPARED = (0, 1, 2, 5, 12, 30, 100, 300), (2, 5, 12, 30)
BOOSTED_STRENGTHS, BOOSTED_COMPARED = (0, 1, 3, 10, 30, 100, 300, 1000), (3, 10, 30, 100)
# The default first, so that its seconds are those of a single fit.
BARYCENTRES = (100.0, 1.0, 10.0, np.inf)
REPEATS = 3


def booster():
    """Unpenalised estimates of LightGBM, with the settings of all benchmarks."""
    return lightgbm.LGBMRegressor(objective="poisson", verbose=-1, **boosting_settings(Settings()))


def teller():
    """Small boosted classifier: the features hardly tell regions, and what few rows say of them is noise."""
    return lightgbm.LGBMClassifier(
        n_estimators=20, learning_rate=0.1, num_leaves=6, min_child_samples=1000, n_jobs=1, verbose=-1, random_state=0
    )


def rows_of(task):
    """Keyword arguments of fits, and of what is measured."""
    fitted = {"sample_weight": task.fit.exposure, "sensitive_features": task.fit.protected}
    return fitted, {"sample_weight": task.held.exposure, "sensitive_features": task.held.protected}


# ---------------------------------------------------------------------------------------------------------------------
# Features
# ---------------------------------------------------------------------------------------------------------------------


def follow(model, X, X_held, task, strengths):
    """Predictions for the rows held back by strength."""
    prepared, found = None, {}
    for fitted in model.strength_path(X, task.fit.target, strengths, **rows_of(task)[0]):
        if prepared is None:
            prepared = fitted.prepare(X_held) if hasattr(fitted, "prepare") else X_held
        found[fitted.strength if hasattr(fitted, "strength") else fitted.estimator.strength] = fitted.predict(prepared)
    return found


class TariffGLM(DCovPoissonRegressor):
    """The penalised GLM of all benchmarks, on its own splines and dummies, and appended columns as they are."""

    def strength_path(self, X, y, strengths, sample_weight=None, **given):
        columns = tariff_columns().set_params(remainder="passthrough")
        own = set(X.columns) - {name for name in X if name.startswith(("log_estimate", "estimate_", "probability_"))}
        columns = columns.fit(X) if len(own) < X.shape[1] else tariff_columns().fit(X)
        for model in super().strength_path(columns.transform(X), y, strengths, sample_weight, **given):
            model.columns_ = columns
            yield model

    def predict(self, X):
        return super().predict(self.columns_.transform(X))


def compare_features(task, summary):
    """Lines of the table: learner, net divergence, deviance without the features, difference with them."""
    _, held = rows_of(task)
    boosted = DCovLGBMRegressor(objective="poisson", n_penalised_rounds=60, **boosting_settings(Settings()))
    for name, model, strengths, compared, columns in (
        ("GLM", TariffGLM(alpha=ALPHA), GLM_STRENGTHS, GLM_COMPARED, "all"),
        ("LightGBM", boosted, BOOSTED_STRENGTHS, BOOSTED_COMPARED, "probabilities"),
    ):
        featured = UnawareFairRegressor(model, booster(), teller(), summary=summary, columns=columns)
        paths = {}
        for which, estimator in (("without", model), ("with", featured)):
            start = time.perf_counter()
            paths[which] = follow(estimator, task.fit.features, task.held.features, task, strengths)
            print(f"{name} {which}: {time.perf_counter() - start:.0f} s", flush=True)
        for strength in compared:
            gap = frontier_gap(task.held.target, paths["without"][strength], unaware=paths["with"], **held)
            own, other = gap.table.iloc[0], gap.table.iloc[1]
            yield [
                name,
                f"{strength:g}",
                f"{own['divergence']:.2e}",
                f"{own['deviance']:.5f}",
                f"{-other['difference']:+.5f} ± {other['std_error']:.5f}",
                "yes" if other["reached"] else "no",
            ]


# ---------------------------------------------------------------------------------------------------------------------
# Barycentres
# ---------------------------------------------------------------------------------------------------------------------


def line_of(task, name, prediction, seconds, reference=None):
    """Deviance and divergences of one model, and the difference in deviance to a reference."""
    _, held = rows_of(task)
    summary = divergence_summary(None, prediction, **held)
    difference = ""
    if reference is not None:
        weights = task.held.exposure / task.held.exposure.sum()
        rows = 2 * (prediction - reference - task.held.target * np.log(prediction / reference))
        mean = weights @ rows
        difference = f"{mean:+.5f} ± {np.sqrt(weights**2 @ (rows - mean) ** 2):.5f}"
    deviance = mean_deviance(task.held.target, prediction, sample_weight=task.held.exposure)
    shown = [f"{deviance:.5f}", difference, f"{summary.divergence:.2e}", f"{summary.net:.2e}", f"{seconds:.1f}"]
    return [name, *shown]


def compare_barycentres(task):
    """Lines of the table; seconds are those of what comes after the booster."""
    fitted, _ = rows_of(task)
    reference = None
    if find_spec("equipy") is not None:
        from equipy.fairness import MultiWasserstein

        X, X_held = frame_features(task.fit, True), frame_features(task.held, True)
        model = booster().fit(X, task.fit.target, sample_weight=task.fit.exposure)
        predictions = model.predict(X), model.predict(X_held)
        start = time.perf_counter()
        transport = MultiWasserstein()
        transport.fit(predictions[0], levels(task, task.fit.protected))
        reference = np.clip(transport.transform(predictions[1], levels(task, task.held.protected)), 1e-6, None)
        yield line_of(task, "EquiPy, with S", reference, time.perf_counter() - start)
    for aware in (True, False):
        model = FairBarycentreRegressor(booster(), teller(), aware=aware)
        path = model.strength_path(task.fit.features, task.fit.target, BARYCENTRES, **fitted)
        given = {"sensitive_features": task.held.protected} if aware else {}
        for strength in BARYCENTRES:
            # Learners are fitted when the path is made.
            start = time.perf_counter()
            prediction = next(path).predict(task.held.features, **given)
            seconds = time.perf_counter() - start
            yield line_of(task, f"{'with' if aware else 'without'} S, {strength:g}", prediction, seconds, reference)


# ---------------------------------------------------------------------------------------------------------------------
# Time to predict
# ---------------------------------------------------------------------------------------------------------------------


def compare_predictions(task, n_rows):
    """Ratio of five folds averaged to one fit of the same two learners, and to the booster alone; best of three."""
    fitted, _ = rows_of(task)
    features = UnawareFeatures(booster(), teller(), n_knots=0)
    features.fit(task.fit.features, task.fit.target, **fitted)
    model, classifiers = features.models_[0]
    rows = np.random.default_rng(0).integers(len(task.held.target), size=n_rows)
    X = task.held.features.iloc[rows].reset_index(drop=True)
    splined = UnawareFeatures(booster(), teller()).fit(task.fit.features, task.fit.target, **fitted)
    calls = {
        "booster": lambda: model.predict(X),
        "booster and classifiers": lambda: (model.predict(X), [teller.predict_proba(X) for teller in classifiers]),
        "five folds averaged": lambda: features.transform(X),
        "with splines and products": lambda: splined.transform(X),
    }
    best = dict.fromkeys(calls, np.inf)
    for _ in range(REPEATS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        one = best["booster and classifiers"]
        yield [name, f"{seconds:.1f}", f"{seconds / best['booster']:.1f}", f"{seconds / one:.1f}"]


def main():
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of the split")
    parser.add_argument("--policies", type=int, help="a random part of the portfolio, to see it run")
    parser.add_argument("--parts", nargs="+", default=["features", "barycentre", "predict"])
    parser.add_argument("--summary", default="marginals", choices=["marginals", "profiles"])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to predict")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for seed in options.seeds:
        task = load_task("pg15training", options.policies, seed)
        print(f"\n### split {seed}: {len(task.fit.target):,} rows fitted, {len(task.held.target):,} held back\n")
        if "features" in options.parts:
            lines = list(compare_features(task, options.summary))
            header = ["learner", "strength", "net JSD", "deviance without", "difference with", "reached"]
            print_table(header, lines)
        if "barycentre" in options.parts:
            header = ["barycentre", "deviance", "to EquiPy", "JSD", "net JSD", "seconds"]
            print_table(header, list(compare_barycentres(task)))
        if "predict" in options.parts and seed == options.seeds[-1]:
            header = [f"{options.rows:,} rows", "seconds", "to one booster", "to one of both"]
            print_table(header, list(compare_predictions(task, options.rows)))


if __name__ == "__main__":
    main()
