"""The tasks of the frontier and our own models on them: penalised GLM, boosting and network on paths of strengths."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from comparison import (
    AGE_GROUPS,
    ALPHA,
    MIN_GROUP_SIZE,
    Rows,
    load_defendants,
    load_policies,
    record_columns,
    split_defendants,
    split_policies,
    tariff_columns,
)
from portfolios import PORTFOLIOS, columns_of, split
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from fairdcov import (
    CCDCovPenalty,
    DCovLGBMClassifier,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovPenalty,
    DCovPoissonRegressor,
    JDCovPenalty,
)
from fairdcov.metrics import sensitive_groups

__all__ = [
    "DECAYED",
    "QUICK",
    "Candidate",
    "Settings",
    "Task",
    "boosted_candidates",
    "boosting_settings",
    "frame_features",
    "levels",
    "linear_candidates",
    "linear_features",
    "load_task",
    "network_candidates",
    "predicted",
]

# Weight decay of networks, by row of the fit, and the name of the form they have it with.
WEIGHT_DECAY = 0.015
DECAYED = "CCdCov on counts, 4 x 64, decay"


@dataclass(frozen=True)
class Settings:
    """How much is fitted."""

    n_policies: int | None = None
    strengths: tuple = (0, 2, 5, 12, 30, 100, 300)
    few_strengths: tuple = (0, 12, 100)
    published_form: tuple = (300, 1200, 5000, 10000, 20000, 40000)
    published_form_binary: tuple = (3, 12, 50, 100, 200)
    boosting_strengths: tuple = (0, 3, 10, 30, 100, 300, 1000, 10000)
    network_strengths: tuple = (0, 10, 30, 100)
    decayed_strengths: tuple = (10, 30, 100)
    epsilons: tuple = (0.0, 0.25, 0.5, 0.75, 1.0)
    n_estimators: int = 200
    n_penalised_rounds: int = 60
    epochs: int = 30


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
    n_penalised_rounds=20,
    epochs=3,
)


# ---------------------------------------------------------------------------------------------------------------------
# The two tasks
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What to fit on ``fit`` and measure on ``held``; ``base`` and ``calibration`` are ``fit`` in two parts."""

    name: str
    binary: bool  # whether probabilities are predicted
    base: Rows
    calibration: Rows
    fit: Rows
    held: Rows

    @property
    def group_options(self):
        """How numeric attributes are cut for the comparison of groups, and which groups are too small for one."""
        return {"bins": AGE_GROUPS, "min_group_size": MIN_GROUP_SIZE} if self.binary else {}


def load_task(data, n_policies=None, seed=0):
    """Claim frequencies on pg15training; on COMPAS the probability of a new charge, with characters as categories.

    Or one of the other portfolios.
    """
    if data in PORTFOLIOS:
        return Task(data, False, *split(PORTFOLIOS[data](), seed))
    if data == "pg15training":
        return Task("pg15training", False, *split_policies(load_policies(n_policies), seed))
    defendants = load_defendants()
    parts = split_defendants(replace(defendants, features=with_categories(defendants.features)), seed)
    return Task("COMPAS", True, *parts)


def with_categories(frame):
    """The same with every column that holds no numbers as a category, as LightGBM takes them."""
    return frame.astype({name: "category" for name in frame if not pd.api.types.is_numeric_dtype(frame[name])})


def levels(task, protected):
    """Protected attributes as text, with age in groups, for methods that know levels only."""
    return sensitive_groups(protected, **({"bins": AGE_GROUPS} if task.binary else {})).astype(str)


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """Predictions for the rows held back."""

    family: str
    method: str
    strength: float | None
    aware: bool  # the protected attributes are needed to predict
    prediction: np.ndarray

    @property
    def path(self):
        """Name of the path it lies on."""
        return f"{self.family}, {self.method}" + (
            ", S in X" if self.aware and self.strength is not None and " S" not in self.method else ""
        )

    @property
    def label(self):
        """Name of its row."""
        return self.path + ("" if self.strength is None else f", {self.strength:g}")


def predicted(model, X):
    """Rates or probabilities."""
    return model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)


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
    if task.name in PORTFOLIOS:
        columns = columns_of(task.fit.features)
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
    return pd.concat([rows.features, with_categories(rows.protected)], axis=1)


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
        data["sample_weight"] = task.fit.exposure
    for fitted in model.strength_path(X, task.fit.target, form.strengths, **data):
        yield Candidate(
            family,
            form.name if fitted.strength else "no penalty",
            float(fitted.strength),
            aware,
            predicted(fitted, X_held),
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
    """LightGBM with penalised rounds: all measures and forms, without and with the protected attributes as features."""
    for aware in (False, True):
        X, X_held = (frame_features(rows, aware) for rows in (task.fit, task.held))
        for form in forms(task, settings.boosting_strengths, settings, aware):
            options = boosting_settings(settings) | {"n_penalised_rounds": settings.n_penalised_rounds}
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
