"""Accuracy against fairness: penalised GLM, boosting and network, other public methods, and what was published.

    FAIRDCOV_DATA=folder python benchmarks/frontier.py [pg15training] [compas] [--seed 0] [--output FOLDER] [--quick]

Every model is fitted on the same rows and measured on the same rows held back, once per split seed. The strengths are
not chosen: all of a path are shown. EquiPy, fairlearn and PyTorch are left out, with a line that says so, where they
are not installed.
"""

import argparse
import json
import platform
import time
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from paper import (
    AGE_GROUPS,
    ALPHA,
    MIN_GROUP_SIZE,
    PUBLISHED_JSD,
    PUBLISHED_TEST,
    fetch_compas,
    load_policies,
    measure_counts,
    number,
    print_table,
    published_row,
    record_columns,
    split,
    tariff_columns,
)
from scipy.special import xlogy
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

import fairdcov
from fairdcov import (
    CCDCovPenalty,
    DCovLGBMClassifier,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovPenalty,
    DCovPoissonRegressor,
    JDCovPenalty,
)
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, jdcov, js_divergence, ks_disparity, sensitive_groups, unfairness_ratio

LEVEL = 0.95
# Weight decay of networks, by row of the fit, and the name of the form they have it with.
WEIGHT_DECAY = 0.015
DECAYED = "CCdCov on counts, 4 x 64, decay"
# Deviance needs predictions above 0, which corrections and networks without a link do not promise.
SMALLEST = 1e-6
# A divergence that is nearer to 0 is that of a constant, for which a picture on a logarithmic scale has no room.
LEAST_SHOWN = 1e-4
# Totals of the rows of the fit that are nearer to the observed one are not put right.
IN_BALANCE = 1e-6


@dataclass(frozen=True)
class Settings:
    """How much is fitted."""

    n_policies: int | None = None
    strengths: tuple = (0, 2, 5, 12, 30, 100, 300)
    few_strengths: tuple = (0, 12, 100)
    published_form: tuple = (300, 1200, 5000, 10000, 20000, 40000)
    published_form_binary: tuple = (3, 12, 50, 100, 200)
    boosting_strengths: tuple = (0, 10, 30, 100, 300, 1000)
    network_strengths: tuple = (0, 10, 30, 100)
    decayed_strengths: tuple = (10, 30, 100)
    n_estimators: int = 200
    n_fair_rounds: int = 60
    epochs: int = 30
    n_resamples: int = 100


QUICK = Settings(
    n_policies=8_000,
    strengths=(0, 12, 100),
    few_strengths=(0, 12),
    published_form=(1200, 10000),
    published_form_binary=(12, 100),
    boosting_strengths=(0, 10, 100),
    network_strengths=(0, 10),
    decayed_strengths=(10,),
    n_estimators=60,
    n_fair_rounds=20,
    epochs=3,
    n_resamples=20,
)


# ---------------------------------------------------------------------------------------------------------------------
# The two tasks
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """Rows to fit or to measure: ``target`` is claims / exposure, or 0 and 1 with ``weight`` 1."""

    features: pd.DataFrame
    protected: pd.DataFrame
    target: np.ndarray
    weight: np.ndarray

    def part(self, rows):
        """Some of the rows."""
        return Rows(self.features.iloc[rows], self.protected.iloc[rows], self.target[rows], self.weight[rows])


@dataclass(frozen=True)
class Task:
    """What to fit on ``fit`` and measure on ``held``; ``base`` and ``calibration`` are ``fit`` in two parts."""

    name: str
    fit: Rows
    held: Rows
    base: Rows
    calibration: Rows
    policies: object = None

    @property
    def binary(self):
        """Whether probabilities are predicted."""
        return self.policies is None

    @property
    def group_options(self):
        """How numeric attributes are cut for the comparison of groups, and which groups are too small for one."""
        return {"bins": AGE_GROUPS, "min_group_size": MIN_GROUP_SIZE} if self.binary else {}


def policy_task(n_policies, seed):
    """pg15training, claim frequency; protected are region and gender."""
    parts = split(load_policies(n_policies), seed)

    def rows(part):
        return Rows(part.features, part.protected, part.claims / part.exposure, part.exposure)

    train, validation, rest, test = (rows(part) for part in parts)
    return Task("pg15training", rest, test, train, validation, policies=parts[3])


def compas_task(seed):
    """COMPAS, new charge within two years; protected are sex, race and age in years. The split of ``paper.py``."""
    compas = fetch_compas()
    protected, target = compas.sensitive_features, np.asarray(compas.target, float)
    features = compas.data.astype(
        {name: "category" for name in compas.data if not pd.api.types.is_numeric_dtype(compas.data[name])}
    )
    whole = Rows(features, protected, target, np.ones(len(target)))
    # As text, to stratify by.
    cells = protected["sex"].astype(str) + "|" + protected["race"].astype(str) + "|" + target.astype(str)
    fit, held = train_test_split(np.arange(len(target)), test_size=0.3, random_state=seed, stratify=cells)
    base, calibration = train_test_split(fit, test_size=0.3, random_state=seed, stratify=cells.iloc[fit])
    return Task("COMPAS", *(whole.part(rows) for rows in (fit, held, base, calibration)))


def levels(task, protected):
    """Protected attributes as text, with age in groups, for methods that know levels only."""
    return sensitive_groups(protected, **({"bins": AGE_GROUPS} if task.binary else {})).astype(str)


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """Predictions for the rows held back; ``balance`` is observed / predicted total on the rows of the fit."""

    family: str
    method: str
    strength: float | None
    aware: bool  # the protected attributes are needed to predict
    prediction: np.ndarray
    balance: float | None = None

    @property
    def path(self):
        """Name of the path it lies on."""
        return f"{self.family}, {self.method}" + (", S in X" if self.aware and self.strength is not None else "")

    @property
    def label(self):
        """Name of its row."""
        return self.path + ("" if self.strength is None else f", {self.strength:g}")


def predicted(model, X):
    """Rates or probabilities."""
    return model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)


def balance(rows, prediction):
    """Observed / predicted total."""
    return float(rows.weight @ rows.target / (rows.weight @ prediction))


def protected_columns():
    """One column for each level of the attributes that have levels, a spline of numbers."""
    return ColumnTransformer(
        [
            ("levels", OneHotEncoder(drop="first", sparse_output=False), make_column_selector(dtype_exclude="number")),
            ("splines", SplineTransformer(include_bias=False), make_column_selector(dtype_include="number")),
        ]
    )


def linear_features(task, aware):
    """Numeric columns of the rows of the fit and of those held back, with the protected attributes or without."""
    columns = record_columns() if task.binary else tariff_columns()
    X = [columns.fit_transform(task.fit.features), columns.transform(task.held.features)]
    if aware:
        own = protected_columns()
        added = own.fit_transform(task.fit.protected), own.transform(task.held.protected)
        X = [np.hstack(parts) for parts in zip(X, added, strict=True)]
    return X


def frame_features(rows, aware):
    """Columns as LightGBM takes them."""
    if not aware:
        return rows.features
    protected = rows.protected.astype(
        {name: "category" for name in rows.protected if not pd.api.types.is_numeric_dtype(rows.protected[name])}
    )
    return pd.concat([rows.features, protected], axis=1)


@dataclass(frozen=True)
class Form:
    """A penalty, its strengths, and whether it takes ages in the groups that are compared, or in years."""

    name: str
    penalty: object
    strengths: tuple
    grouped: bool = False


def forms(task, strengths, settings, aware=False):
    """Measures and forms, fewer for models that get the protected attributes.

    On counts: on expected claims, which the metrics take, instead of the frequency.
    """
    for form in all_forms(task, strengths, settings):
        if not aware or form.name not in ("JdCov", "dCov"):
            yield form


def all_forms(task, strengths, settings):
    """All measures and forms."""
    yield Form("CCdCov", CCDCovPenalty(), strengths)
    yield Form("JdCov", JDCovPenalty(), strengths)
    yield Form("dCov", DCovPenalty(), settings.few_strengths)
    if task.binary:
        yield Form("CCdCov, age in groups", CCDCovPenalty(), strengths, grouped=True)
        yield Form("JdCov, age in groups", JDCovPenalty(), strengths, grouped=True)
        scale, published = "response", settings.published_form_binary
    else:
        yield Form("CCdCov on counts", CCDCovPenalty(scale="total"), strengths)
        yield Form("JdCov on counts", JDCovPenalty(scale="total"), strengths)
        scale, published = "total", settings.published_form
    yield Form("CCdCov, published form", CCDCovPenalty(normalize=False, scale=scale), published)
    yield Form("JdCov, published form", JDCovPenalty(normalize=False, scale=scale), published)


def follow_path(task, family, form, model, X, X_held, aware):
    """A candidate for every strength of a path; strength 0 is the unaware model, whatever the penalty."""
    data = {"sensitive_features": levels(task, task.fit.protected) if form.grouped else task.fit.protected}
    if not task.binary:
        data["sample_weight"] = task.fit.weight
    for fitted in model.strength_path(X, task.fit.target, form.strengths, **data):
        yield Candidate(
            family,
            form.name if fitted.strength else "no penalty",
            float(fitted.strength),
            aware,
            predicted(fitted, X_held),
            None if form.penalty.normalize else balance(task.fit, predicted(fitted, X)),
        )


def linear_candidates(task, settings):
    """GLMs: all measures and forms, without and with the protected attributes among the features."""
    for aware in (False, True):
        X, X_held = linear_features(task, aware)
        for form in forms(task, settings.strengths, settings, aware):
            model = (
                DCovLogisticRegression(form.penalty, alpha=1.0)
                if task.binary
                else DCovPoissonRegressor(form.penalty, alpha=ALPHA)
            )
            yield from follow_path(task, "GLM", form, model, X, X_held, aware)


def boosting_settings(settings):
    """The unpenalised rounds of every boosted model here, own or not."""
    return {
        "n_estimators": settings.n_estimators,
        "learning_rate": 0.05,
        "num_leaves": 16,
        "min_child_samples": 50,
        "n_jobs": 1,
        "random_state": 0,
    }


def boosted_candidates(task, settings):
    """LightGBM with fair rounds: all measures and forms, without and with the protected attributes as features."""
    for aware in (False, True):
        X, X_held = (frame_features(rows, aware) for rows in (task.fit, task.held))
        for form in forms(task, settings.boosting_strengths, settings, aware):
            options = boosting_settings(settings) | {"n_fair_rounds": settings.n_fair_rounds}
            model = (
                DCovLGBMClassifier(form.penalty, **options)
                if task.binary
                else DCovLGBMRegressor(form.penalty, objective="poisson", **options)
            )
            yield from follow_path(task, "LightGBM", form, model, X, X_held, aware)


def network_candidates(task, settings):
    """Fully connected networks of two layers of 32, CCdCov and JdCov; of four of 64 with weight decay on policies."""
    from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

    X, X_held = linear_features(task, aware=False)
    options = {"hidden_layer_sizes": (32, 32), "max_epochs": settings.epochs, "n_threads": 1, "random_state": 0}
    wanted = ("CCdCov", "JdCov", "CCdCov on counts")
    for form in forms(task, settings.network_strengths, settings):
        if form.name not in wanted:
            continue
        model = (
            DCovMLPClassifier(form.penalty, **options)
            if task.binary
            else DCovMLPRegressor(form.penalty, objective="poisson", **options)
        )
        yield from follow_path(task, "MLP", form, model, X, X_held, aware=False)
    if not task.binary:
        # The published architecture; the decay draws predictions together, which the divergence rewards.
        deep = {"hidden_layer_sizes": (64,) * 4, "alpha": WEIGHT_DECAY * len(task.fit.target)}
        form = Form(DECAYED, CCDCovPenalty(scale="total"), settings.decayed_strengths)
        model = DCovMLPRegressor(form.penalty, objective="poisson", **options | deep)
        yield from follow_path(task, "MLP", form, model, X, X_held, aware=False)


def unpenalised_booster(task, settings):
    """LightGBM's own estimator, with the same settings."""
    options = boosting_settings(settings) | {"verbose": -1}
    return lightgbm.LGBMClassifier(**options) if task.binary else lightgbm.LGBMRegressor(objective="poisson", **options)


def constant_candidates(task, settings):
    """The same frequency or probability for everybody."""
    mean = task.fit.weight @ task.fit.target / task.fit.weight.sum()
    yield Candidate("constant", "the mean", None, False, np.full(len(task.held.target), mean))


def transported(task, calibration, rows, prediction, prediction_rows, on_counts, epsilon=None):
    """EquiPy's sequential transport to the barycentre of the groups, for rates or for expected counts."""
    from equipy.fairness import MultiWasserstein

    def units(part):
        return part.weight if on_counts else 1.0

    transport = MultiWasserstein()
    transport.fit(prediction * units(calibration), levels(task, calibration.protected))
    fair = transport.transform(prediction_rows * units(rows), levels(task, rows.protected), epsilon)
    return np.clip(fair / units(rows), SMALLEST, 1 - SMALLEST if task.binary else None)


def equipy_candidates(task, settings):
    """LightGBM followed by EquiPy, fitted on a calibration part or on all rows that the model has seen."""
    n_attributes = task.fit.protected.shape[1]
    for aware in (True, False):
        for name, base, calibration in (
            ("calibrated on a part", task.base, task.calibration),
            ("calibrated on all rows", task.fit, task.fit),
        ):
            model = unpenalised_booster(task, settings).fit(
                frame_features(base, aware), base.target, sample_weight=base.weight
            )
            of_calibration = predicted(model, frame_features(calibration, aware))
            of_held = predicted(model, frame_features(task.held, aware))
            variants = [("counts", True, None), ("rates", False, None)]
            if task.binary:
                variants = [("probabilities", False, None)]
            if aware and base is not task.base:
                variants += [(f"{variants[0][0]}, ε = {epsilon}", variants[0][1], epsilon) for epsilon in (0.25, 0.5)]
            for units, on_counts, epsilon in variants:
                epsilons = None if epsilon is None else [epsilon] * n_attributes
                fair = transported(task, calibration, task.held, of_calibration, of_held, on_counts, epsilons)
                yield Candidate(
                    "EquiPy",
                    f"LightGBM {'with' if aware else 'without'} S, {units}, {name}",
                    None,
                    True,
                    fair,
                )


def remover_candidates(task, settings):
    """fairlearn's CorrelationRemover before LightGBM; it needs the protected attributes to predict."""
    from fairlearn.preprocessing import CorrelationRemover

    X = pd.concat([task.fit.features, task.held.features])
    X, S = (pd.get_dummies(X, dtype=float), pd.get_dummies(both_protected(task), dtype=float, drop_first=True))
    # LightGBM refuses some characters that levels have.
    X.columns = [f"x{k}" for k in range(X.shape[1])]
    S.columns = [f"s{k}" for k in range(S.shape[1])]
    table, n = pd.concat([X, S], axis=1), len(task.fit.target)
    remover = CorrelationRemover(sensitive_feature_ids=list(S.columns)).fit(table.iloc[:n])
    model = unpenalised_booster(task, settings)
    X_fit, X_held = remover.transform(table.iloc[:n]), remover.transform(table.iloc[n:])
    model.fit(X_fit, task.fit.target, sample_weight=task.fit.weight)
    yield Candidate(
        "CorrelationRemover",
        "LightGBM",
        None,
        True,
        predicted(model, X_held),
    )


def both_protected(task):
    """Protected attributes of the rows of the fit, then of those held back."""
    return pd.concat([task.fit.protected, task.held.protected])


def adversarial_candidates(task, settings):
    """fairlearn's adversarial networks, whose adversary has to tell the intersectional group.

    The regressor knows the squared error only and has no weights: it learns the count, with exposure as a feature. The
    classifier does not show probabilities, so the regressor takes its place. The target is shifted by a half, because
    whole numbers would be read as classes.
    """
    from fairlearn.adversarial import AdversarialFairnessRegressor

    X, X_held = linear_features(task, aware=False)
    if not task.binary:
        X, X_held = np.column_stack([X, task.fit.weight]), np.column_stack([X_held, task.held.weight])
    scaler = StandardScaler().fit(X)
    group = levels(task, task.fit.protected).agg("|".join, axis=1).to_numpy()
    for alpha in (0.0, 1.0, 10.0):
        model = AdversarialFairnessRegressor(
            backend="torch",
            predictor_model=[32, "relu", 32, "relu"],
            adversary_model=[32, "relu"],
            alpha=alpha,
            epochs=settings.epochs,
            batch_size=128,
            shuffle=True,
            random_state=0,
        )
        model.fit(scaler.transform(X), task.fit.target * task.fit.weight + 0.5, sensitive_features=group)
        prediction = (np.ravel(model.predict(scaler.transform(X_held))) - 0.5) / task.held.weight
        prediction = np.clip(prediction, SMALLEST, 1 - SMALLEST if task.binary else None)
        yield Candidate("fairlearn adversarial", f"α = {alpha:g}", None, False, prediction)


def progress(line):
    """Say at once where the run is."""
    print(line, flush=True)


SOURCES = {
    "constant": (constant_candidates, ()),
    "GLM": (linear_candidates, ()),
    "LightGBM": (boosted_candidates, ()),
    "MLP": (network_candidates, ("torch",)),
    "EquiPy": (equipy_candidates, ("equipy",)),
    "CorrelationRemover": (remover_candidates, ("fairlearn",)),
    "fairlearn adversarial": (adversarial_candidates, ("fairlearn", "torch")),
}


def rebalanced(candidate):
    """The same with the total of the rows of the fit."""
    return replace(
        candidate, method=candidate.method + ", rebalanced", prediction=candidate.prediction * candidate.balance
    )


def all_candidates(task, settings, report=progress):
    """Every candidate once."""
    seen = set()
    for name, (source, packages) in SOURCES.items():
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            report(f"{name} left out: {', '.join(missing)} not installed")
            continue
        start = time.perf_counter()
        for candidate in source(task, settings):
            # Strength 0 is on every path.
            if candidate.label in seen:
                continue
            seen.add(candidate.label)
            yield candidate
            if candidate.balance is not None and not task.binary and abs(candidate.balance - 1) > IN_BALANCE:
                yield rebalanced(candidate)
        report(f"{name}: {time.perf_counter() - start:.0f} s")


# ---------------------------------------------------------------------------------------------------------------------
# Measures
# ---------------------------------------------------------------------------------------------------------------------


def deviances(task, prediction):
    """Deviance of each row held back: Poisson of the counts, or binomial."""
    y, mean = task.held.target * task.held.weight, prediction * task.held.weight
    if task.binary:
        return -2.0 * (xlogy(y, mean) + xlogy(1.0 - y, 1.0 - mean))
    return 2.0 * (xlogy(y, y / mean) - y + mean)


def measure(task, prediction):
    """The published columns, and JSD with a bandwidth by Silverman's rule, KS, and the predicted / observed total."""
    counts = prediction * task.held.weight
    groups = {"sensitive_features": task.held.protected, **task.group_options}
    with warnings.catch_warnings():
        # Groups below MIN_GROUP_SIZE: known.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        if task.binary:
            dependence = {"sensitive_features": task.held.protected, "statistic": "u"}
            row = {
                # With two outcomes the ranked probability score is the Brier score.
                "RPS": float(np.mean((task.held.target - prediction) ** 2)),
                "deviance": float(deviances(task, prediction).mean()),
                "CCdCov": ccdcov(None, counts, **dependence),
                "JdCov net": jdcov(None, counts, **dependence),
                "JSD": js_divergence(None, counts, **PUBLISHED_JSD, **groups),
                "UF": unfairness_ratio(None, counts, **groups),
                "total": float(counts.sum() / task.held.target.sum()),
            }
        else:
            row = measure_counts(task.policies, prediction)
        row["JSD silverman"] = js_divergence(None, counts, **groups)
        row["KS"] = ks_disparity(None, counts, **groups)
    return {name: float(value) for name, value in row.items()}


class Resamples:
    """Resamples of the rows held back, the same for every candidate, so that differences are paired."""

    def __init__(self, task, n_resamples, seed):
        n = len(task.held.target)
        rng = np.random.default_rng(seed)
        self.task = task
        self.multiplicities = np.array([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(n_resamples)])
        labels = levels(task, task.held.protected).agg("|".join, axis=1)
        sizes = labels.map(labels.value_counts())
        # The same groups in every resample.
        self.large_enough = (sizes >= task.group_options.get("min_group_size", 1)).to_numpy()
        self.groups = pd.factorize(labels[self.large_enough])[0].astype(str)

    def draws(self, prediction):
        """Mean deviance and JSD of each resample."""
        counts = (prediction * self.task.held.weight)[self.large_enough]
        divergence = [
            js_divergence(
                None, counts, sensitive_features=self.groups, sample_weight=row[self.large_enough], **PUBLISHED_JSD
            )
            for row in self.multiplicities.astype(float)
        ]
        deviance = self.multiplicities @ deviances(self.task, prediction) / len(prediction)
        return {"deviance": deviance, "JSD": np.array(divergence)}


def interval(draws, estimate):
    """Percentile interval, moved to the estimate: resampled rows add noise to a divergence, which is then too large."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - draws.mean() + estimate
    return [float(low), float(high)]


def published_name(penalty, strength):
    """Name of a published row."""
    return f"{penalty}, λ = {strength}" if strength else "no penalty"


def published_beaten(row):
    """Names of the published rows that are larger in all six columns."""
    return [
        published_name(*key)
        for key, values in PUBLISHED_TEST.items()
        if all(row[column] < value for column, value in published_row(values).items())
    ]


def run(task, settings, seed, report=progress):
    """Rows by label: what each candidate is, its measures, its intervals; and the draws behind them."""
    resamples = Resamples(task, settings.n_resamples, seed)
    rows, draws = {}, {}
    for candidate in all_candidates(task, settings, report):
        label = candidate.label
        drawn = resamples.draws(candidate.prediction)
        measured = measure(task, candidate.prediction)
        rows[label] = {
            "family": candidate.family,
            "path": candidate.path,
            "strength": candidate.strength,
            "aware": candidate.aware,
            **measured,
            **{f"{column} interval": interval(values, measured[column]) for column, values in drawn.items()},
        }
        if not task.binary:
            rows[label]["beats"] = published_beaten(rows[label])
        draws[label] = drawn
        report(f"  {label}: deviance {measured['deviance']:.4f}, JSD {measured['JSD']:.2e}")
    return rows, draws


def matched_to(reference, rows, draws):
    """Of each family, without and with S at prediction: the lowest deviance whose JSD is at most the reference's."""
    limit = rows[reference]["JSD"]
    for family in ("GLM", "LightGBM", "MLP"):
        for aware in (False, True):
            eligible = [
                label
                for label, row in rows.items()
                if row["family"] == family and row["aware"] == aware and row["JSD"] <= limit
            ]
            if not eligible:
                continue
            best = min(eligible, key=lambda label: rows[label]["deviance"])
            differences = {}
            for column in ("deviance", "JSD"):
                difference = rows[best][column] - rows[reference][column]
                drawn = draws[best][column] - draws[reference][column]
                differences[column] = (difference, *interval(drawn, difference))
            yield best, differences


# ---------------------------------------------------------------------------------------------------------------------
# Tables and pictures
# ---------------------------------------------------------------------------------------------------------------------

SHOWN = ("RPS", "deviance", "CCdCov", "JdCov", "JdCov net", "JSD", "JSD null", "JSD silverman", "UF", "KS", "total")


def with_interval(row, column):
    """A figure with its interval where it has one."""
    shown = number(row.get(column), column)
    if f"{column} interval" not in row:
        return shown
    low, high = row[f"{column} interval"]
    return f"{shown} [{number(low, column)}, {number(high, column)}]"


def print_rows(task, rows):
    """All candidates, published rows first."""
    columns = [column for column in SHOWN if any(column in row for row in rows.values())]
    header = ["", "S at prediction", *columns] + ([] if task.binary else ["beats in all six"])
    lines = []
    for key, values in ({} if task.binary else PUBLISHED_TEST).items():
        published = published_row(values)
        cells = [f"published: {published_name(*key)}", "no", *(number(published.get(name), name) for name in columns)]
        lines.append([*cells, ""])
    for label, row in rows.items():
        cells = [label, "yes" if row["aware"] else "no", *(with_interval(row, column) for column in columns)]
        lines.append(cells + ([] if task.binary else ["; ".join(row["beats"])]))
    print_table(header, lines)


def print_matches(rows, draws):
    """What the own models lose or win in deviance where EquiPy's divergence is asked for."""
    lines = []
    for reference in [label for label, row in rows.items() if row["family"] == "EquiPy"]:
        for label, differences in matched_to(reference, rows, draws):
            lines.append(
                [
                    reference,
                    f"{rows[reference]['deviance']:.5f}",
                    f"{rows[reference]['JSD']:.3e}",
                    label,
                    "yes" if rows[label]["aware"] else "no",
                    f"{rows[label]['deviance']:.5f}",
                    f"{rows[label]['JSD']:.3e}",
                    "{:+.5f} [{:+.5f}, {:+.5f}]".format(*differences["deviance"]),
                    "{:+.1e} [{:+.1e}, {:+.1e}]".format(*differences["JSD"]),
                ]
            )
    if lines:
        header = ["EquiPy", "deviance", "JSD", "own, lowest deviance at most that JSD", "S at prediction"]
        print_table(header + ["deviance", "JSD", "difference in deviance", "difference in JSD"], lines)


def draw(task, rows, file):
    """Deviance against JSD: own paths, EquiPy, what else there is, and the published rows."""
    from matplotlib import pyplot

    from fairdcov.plots import FrontierDisplay

    wanted = {"CCdCov", "CCdCov, published form", DECAYED}
    wanted |= {f"{name}, S in X" for name in (*wanted, "CCdCov, age in groups")}
    constant = rows["constant, the mean"]["deviance"]
    paths, hidden = {}, 0
    for row in rows.values():
        family, _, method = row["path"].partition(", ")
        point = (row["JSD"], row["deviance"])
        if family == "constant":
            continue
        if row["deviance"] > constant or row["JSD"] < LEAST_SHOWN:
            hidden += 1
        elif family not in ("GLM", "LightGBM", "MLP"):
            paths.setdefault(family, []).append(point)
        elif method.startswith("no penalty"):
            paths.setdefault("no penalty", []).append(point)
        elif method in wanted:
            paths.setdefault(row["path"], []).append(point)
    if not task.binary:
        published = [published_row(values) for values in PUBLISHED_TEST.values()]
        paths["published"] = [(row["JSD"], row["deviance"]) for row in published]
    figure, ax = pyplot.subplots(figsize=(11, 6.5), layout="constrained")
    points = {name: tuple(np.array(sorted(path, reverse=True)).T) for name, path in paths.items()}
    display = FrontierDisplay.from_points(points, score_name="deviance", greater_is_better=False, ax=ax)
    for name, line in display.lines_.items():
        if name in ("no penalty", "EquiPy", "published", "fairlearn adversarial"):
            line.set_linestyle("none")
        if name in ("EquiPy", "published"):
            ax.plot(*points[name], linestyle="none", marker="o", markersize=13, mfc="none", mec="black", zorder=5)
            position = (points[name][0][-1], points[name][1][-1])
            ax.annotate(name, position, xytext=(-10, 12), textcoords="offset points", weight="bold")
    title = f"{task.name}, rows held back, bandwidth 0.15; a constant has a deviance of {constant:.4f}"
    if hidden:
        title += f"\n{hidden} rows above it or with a divergence below {LEAST_SHOWN:g} are not shown"
    ax.set_title(title, fontsize=10)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def main(arguments=None):
    """Run the benchmark, print its tables and draw its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", metavar="DATA", help="pg15training, compas; both by default")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and of the resamples")
    parser.add_argument("--quick", action="store_true", help="few policies, strengths and rounds, to see it run")
    parser.add_argument("--output", metavar="FOLDER", help="folder for the pictures")
    parser.add_argument("--json", metavar="FILE", help="write all figures to a file as well")
    options = parser.parse_args(arguments)
    unknown = set(options.data) - {"pg15training", "compas"}
    if unknown:
        parser.error(f"unknown data {sorted(unknown)}")
    settings = QUICK if options.quick else Settings()
    print(
        f"python {platform.python_version()}, lightgbm {lightgbm.__version__}, fairdcov {fairdcov.__version__}, "
        f"split seed {options.seed}; [{LEVEL:.0%} percentile intervals of {settings.n_resamples} resamples of the rows "
        "held back]\n"
    )
    figures = {}
    for name in options.data or ["pg15training", "compas"]:
        if name == "compas":
            task = compas_task(options.seed)
        else:
            task = policy_task(settings.n_policies, options.seed)
        rows, draws = run(task, settings, options.seed)
        figures[name] = rows
        print(f"\n### {task.name}, {len(task.fit.target):,} rows fitted, {len(task.held.target):,} held back\n")
        print_rows(task, rows)
        print_matches(rows, draws)
        if options.output:
            folder = Path(options.output)
            folder.mkdir(parents=True, exist_ok=True)
            draw(task, rows, folder / f"frontier_{name}.png")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
