"""Prices without the protected attributes: what the features of estimates and posteriors buy, and the barycentres.

    FAIRDCOV_DATA=folder python benchmarks/unaware.py [--seeds 0 1 2 3 4] [--processes 5] [--policies N]
        [--parts features barycentre predict]

On pg15training, region × gender, rates weighted by exposure. Three tables: penalised learners with the columns of
UnawareFeatures against the same learner without, and LightGBM that begins with the GLM against LightGBM alone, at the
net divergences of four strengths of the latter and where the net CCdCov is the same (the penalty is of the combinations
of levels, as the divergence is); barycentres, the S-aware one against EquiPy's transport of the same predictions
(seconds without the booster that both have); time to predict by the average of five folds' models. Differences in
deviance are paired by row. Their first error is that of the deviances alone; the second, by a jackknife over twenty
parts of the rows, also has that of the divergences at which models are matched.
"""

import argparse
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec

import lightgbm
import numpy as np
import pandas as pd
from candidates import Settings, boosting_settings, frame_features, levels, load_task
from comparison import ALPHA, print_table, tariff_columns
from portfolios import columns_of
from scipy.special import xlogy
from sklearn.base import clone

from fairdcov import (
    DCovLGBMRegressor,
    DCovPoissonRegressor,
    FairBarycentreRegressor,
    StagedFairRegressor,
    UnawareFairRegressor,
    UnawareFeatures,
)
from fairdcov.metrics import ccdcov, divergence_summary, js_divergence, mean_deviance

GLM_STRENGTHS, GLM_COMPARED = (0, 1, 2, 5, 12, 30, 60, 100, 300, 1000), (2, 5, 12, 30)
BOOSTED_STRENGTHS, BOOSTED_COMPARED = (0, 1, 3, 10, 30, 100, 300, 1000), (3, 10, 30, 100)
# The default first, so that its seconds are those of a single fit.
BARYCENTRES = (100.0, 1.0, 10.0, np.inf)
REPEATS = 3
N_PARTS = 20


def booster():
    """Unpenalised estimates of LightGBM, with the settings of all benchmarks."""
    return lightgbm.LGBMRegressor(objective="poisson", verbose=-1, **boosting_settings(Settings()))


def teller(n_rows=80_000):
    """Small boosted classifier: the features hardly tell regions, and what few rows say of them is noise."""
    return lightgbm.LGBMClassifier(
        n_estimators=20,
        learning_rate=0.1,
        num_leaves=6,
        min_child_samples=max(20, n_rows // 80),
        n_jobs=1,
        verbose=-1,
        random_state=0,
    )


def rows_of(task):
    """Keyword arguments of fits, and of what is measured."""
    fitted = {"sample_weight": task.fit.exposure, "sensitive_features": task.fit.protected}
    return fitted, {"sample_weight": task.held.exposure, "sensitive_features": task.held.protected}


# ---------------------------------------------------------------------------------------------------------------------
# Features
# ---------------------------------------------------------------------------------------------------------------------


def crossed(protected):
    """The attributes as one of all combinations of their levels."""
    return protected.astype(str).agg(" | ".join, axis=1).rename("profile")


def follow(model, X, X_held, task, strengths, given=None):
    """Predictions for the rows held back by strength."""
    prepared, found = None, {}
    for fitted in model.strength_path(X, task.fit.target, strengths, **(given or rows_of(task)[0])):
        if prepared is None:
            prepared = fitted.prepare(X_held) if hasattr(fitted, "prepare") else X_held
        found[fitted.strength if hasattr(fitted, "strength") else fitted.estimator.strength] = fitted.predict(prepared)
    return found


class TariffGLM(DCovPoissonRegressor):
    """The penalised GLM of all benchmarks, on its own splines and dummies, and appended columns as they are."""

    def fit(self, X, y, sample_weight=None, **given):
        (model,) = self.strength_path(X, y, [self.strength], sample_weight, **given)
        self.__dict__.update({name: value for name, value in vars(model).items() if name.endswith("_")})
        return self

    def strength_path(self, X, y, strengths, sample_weight=None, **given):
        own = [name for name in X if not name.startswith(("log_estimate", "estimate_", "probability_"))]
        columns = tariff_columns() if "Poldur" in own else columns_of(X[own])
        columns = columns.set_params(remainder="passthrough" if len(own) < X.shape[1] else "drop").fit(X)
        for model in super().strength_path(columns.transform(X), y, strengths, sample_weight, **given):
            model.columns_ = columns
            yield model

    def predict(self, X):
        return super().predict(self.columns_.transform(X))


def net_ccdcov(prediction, sensitive_features, sample_weight):
    """Scale-free CCdCov less its mean under permutation."""
    given = {"sensitive_features": sensitive_features, "sample_weight": sample_weight, "normalize": True}
    rng = np.random.default_rng(0)
    order = [rng.permutation(len(prediction)) for _ in range(10)]
    # Policies keep prediction and weight together.
    people = [sensitive_features.iloc[rows] for rows in order]
    null = [ccdcov(None, prediction, **given | {"sensitive_features": shuffled}) for shuffled in people]
    return ccdcov(None, prediction, **given) - np.mean(null)


def net_jsd(prediction, sensitive_features, sample_weight):
    """Jensen-Shannon divergence less its mean under permutation."""
    return js_divergence(None, prediction, sensitive_features=sensitive_features, sample_weight=sample_weight, net=True)


def parts_of(n_rows):
    """All rows, and all but a twentieth of them, twenty times."""
    part = np.random.default_rng(0).permutation(n_rows) % N_PARTS
    return [np.arange(n_rows)] + [np.flatnonzero(part != k) for k in range(N_PARTS)]


def difference_at(points, wanted, own):
    """Mean of the row deviances where a path first gets down to a measure, less those of a model; whether it does."""
    strengths = sorted(points)
    before = None
    for strength in strengths:
        value, deviance = points[strength]
        if value <= wanted:
            if before is None:
                return deviance - own, True
            share = (before[0] - wanted) / (before[0] - value)
            return (1 - share) * before[1] + share * deviance - own, True
        before = value, deviance
    return min(points.values(), key=lambda point: point[0])[1] - own, False


def compare_features(task, learner, summary, apart=False):
    """Lines of the table: learner, measure, strength, its value, deviance without, difference, errors, reached.

    The divergence compares groups of all combinations, and so does the penalty unless ``apart``.
    """
    given = {"sample_weight": task.fit.exposure, "sensitive_features": task.fit.protected}
    if not apart:
        given["sensitive_features"] = crossed(task.fit.protected)
    boosted = DCovLGBMRegressor(objective="poisson", n_penalised_rounds=60, **boosting_settings(Settings()))
    model, strengths, compared, columns = {
        "GLM": (TariffGLM(alpha=ALPHA), GLM_STRENGTHS, GLM_COMPARED, "all"),
        "LightGBM": (boosted, BOOSTED_STRENGTHS, BOOSTED_COMPARED, "probabilities"),
        "staged": (boosted, BOOSTED_STRENGTHS, BOOSTED_COMPARED, None),
    }[learner]
    if learner == "staged":
        trees = clone(boosted).set_params(n_estimators=Settings().n_estimators // 2)
        featured = StagedFairRegressor(TariffGLM(alpha=ALPHA), trees)
    else:
        featured = UnawareFairRegressor(model, booster(), teller(), summary=summary, columns=columns)
    y, weights = task.held.target, task.held.exposure
    people = task.held.protected if apart else crossed(task.held.protected)
    parts, paths = parts_of(len(y)), {}
    for which, estimator in (("without", model), ("with", featured)):
        found = follow(estimator, task.fit.features, task.held.features, task, strengths, given)
        deviances = {s: 2 * (xlogy(y, y / p) - y + p) for s, p in found.items()}
        for name, measured in (("net JSD", net_jsd), ("net CCdCov", net_ccdcov)):
            # By part of the rows, then by strength: the measure and the mean deviance.
            paths[which, name] = [
                {
                    s: (
                        measured(p[rows], people.iloc[rows], weights[rows]),
                        np.average(deviances[s][rows], weights=weights[rows]),
                    )
                    for s, p in found.items()
                }
                for rows in parts
            ]
        paths[which] = deviances
    for name in ("net JSD", "net CCdCov"):
        for strength in compared:
            differences, reached = [], []
            for without, featured_path in zip(paths["without", name], paths["with", name], strict=True):
                difference, met = difference_at(featured_path, *without[strength])
                differences.append(difference)
                reached.append(met)
            replicates = np.array(differences[1:])
            error = np.sqrt((N_PARTS - 1) / N_PARTS * ((replicates - replicates.mean()) ** 2).sum())
            # Of the deviances alone: of the strength next to the match.
            value, own = paths["without", name][0][strength]
            points = paths["with", name][0]
            near = min(points, key=lambda s: abs(points[s][0] - value))
            rows, shares = paths["with"][near] - paths["without"][strength], weights / weights.sum()
            paired = np.sqrt(shares**2 @ (rows - shares @ rows) ** 2)
            yield learner, name, strength, value, own, differences[0], paired, error, reached[0]


def features_of_seed(seed, policies, *options):
    """The lines of one split, in a process of its own."""
    warnings.simplefilter("ignore")
    return list(compare_features(load_task("pg15training", policies, seed), *options))


def show_features(found):
    """Print the comparisons of all splits, and their means with both errors."""
    header = ["learner", "at equal", "strength", "value", "deviance without", "difference with", "paired", "with match"]
    rows = {}
    for lines in found:
        for line in lines:
            rows.setdefault(line[:3], []).append(line[3:])
    table = []
    for (learner, name, strength), lines in rows.items():
        value, own, difference, paired, error, reached = np.array(lines, dtype=float).T
        each = ", ".join(f"{d:+.4f}{'' if met else '*'}" for d, met in zip(difference, reached, strict=True))
        table.append(
            [learner, name, f"{strength:g}", f"{value.mean():.2e}", f"{own.mean():.5f}", f"{difference.mean():+.5f}"]
            + [f"{paired.mean():.5f}", f"{error.mean():.5f}", each]
        )
    print_table([*header, "each (* not reached)"], table)


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


def distinct_rows(X, n_rows):
    """So many policies in a random order, beyond those there are with quantities a little off: none is there twice."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(len(X)) for _ in range(-(-n_rows // len(X)))])[:n_rows]
    more = X.iloc[rows].reset_index(drop=True)
    numbers = more.select_dtypes("number").columns
    off = rng.uniform(0.9, 1.1, (n_rows, len(numbers)))
    off[: len(X)] = 1.0
    more[numbers] *= off
    return more


def compare_predictions(task, n_rows):
    """Ratio of five folds averaged to one fit of the same two learners, and to the booster alone; best of three."""
    fitted, _ = rows_of(task)
    features = UnawareFeatures(booster(), teller(), n_knots=0)
    features.fit(task.fit.features, task.fit.target, **fitted)
    model, classifiers = features.models_[0]
    X = distinct_rows(pd.concat([task.fit.features, task.held.features]), n_rows)
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
    parser.add_argument("--learners", nargs="+", default=["GLM", "LightGBM", "staged"], help="of the features")
    parser.add_argument("--processes", type=int, default=1, help="for the features")
    parser.add_argument("--apart", action="store_true", help="penalise attributes as they are, not their combinations")
    parser.add_argument("--policies", type=int, help="a random part of the portfolio, to see it run")
    parser.add_argument("--parts", nargs="+", default=["features", "barycentre", "predict"])
    parser.add_argument("--summary", default="marginals", choices=["marginals", "profiles"])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to predict")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if "features" in options.parts:
        with ProcessPoolExecutor(options.processes) as pool:
            runs = [
                pool.submit(features_of_seed, seed, options.policies, learner, options.summary, options.apart)
                for learner in options.learners
                for seed in options.seeds
            ]
            show_features([run.result() for run in runs])
    for seed in options.seeds if set(options.parts) - {"features"} else ():
        task = load_task("pg15training", options.policies, seed)
        print(f"\n### split {seed}: {len(task.fit.target):,} rows fitted, {len(task.held.target):,} held back\n")
        if "barycentre" in options.parts:
            header = ["barycentre", "deviance", "to EquiPy", "JSD", "net JSD", "seconds"]
            print_table(header, list(compare_barycentres(task)))
        if "predict" in options.parts and seed == options.seeds[-1]:
            header = [f"{options.rows:,} rows", "seconds", "to one booster", "to one of both"]
            print_table(header, list(compare_predictions(task, options.rows)))


if __name__ == "__main__":
    main()
