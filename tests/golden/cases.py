"""The cases of the golden master, by area: small fits, metrics, tables, an audit and the command line.

All data are made here from seeds. An area is a function that returns its cases: ``{name: function}``, each function
without arguments, returning numbers, text, arrays, frames and nests of them.
"""

import contextlib
import io
import json
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

import fairdcov
from fairdcov import actuarial, datasets, dependence, metrics

# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------

ROWS = 240
REGIONS = ("coast", "north", "south", "west")


@cache
def book():
    """Features that carry the attributes, a target for every family, weights and protected attributes."""
    rng = np.random.default_rng(20250711)
    region, woman, age = rng.integers(0, 4, ROWS), rng.integers(0, 2, ROWS), rng.gamma(9.0, 5.0, ROWS).round(2)
    X = rng.normal(size=(ROWS, 4))
    X[:, 0] += 0.5 * woman
    X[:, 1] += 0.3 * region
    X[:, 2] += (age - 45) / 20
    rate = np.exp(-0.5 + 0.3 * X[:, 0] + 0.2 * X[:, 1] - 0.25 * X[:, 2])
    weight = rng.uniform(0.2, 1.5, ROWS).round(3)
    weight[::40] = 0.0
    claims = rng.poisson(rate * np.maximum(weight, 0.2))
    targets = {
        "ridge": np.log(rate) + 0.5 * rng.normal(size=ROWS),
        "poisson": claims / np.maximum(weight, 0.2),
        "gamma": rng.gamma(2.0, rate / 2.0) + 1e-3,
        "tweedie": np.where(claims > 0, rng.gamma(2.0, 0.7 * np.maximum(claims, 1)), 0.0),
        "logistic": (rng.uniform(size=ROWS) < rate / (1 + rate)).astype(int),
    }
    people = pd.DataFrame(
        {
            "region": pd.Categorical.from_codes(region, list(REGIONS)),
            "gender": np.where(woman == 1, "f", "m"),
            "age": age,
        }
    )
    return X, targets, weight, people


ATTRIBUTES = {
    "nominal": ["region"],
    "two": ["region", "gender"],
    "continuous": ["age"],
    "mixed": ["gender", "age"],
}


def people_of(attributes):
    """Protected attributes of the book by the name of a selection."""
    return book()[3][ATTRIBUTES[attributes]]


def predictions():
    """Predictions that depend on all attributes, with ties, for metrics and tables."""
    X, targets, weight, _ = book()
    # Without the last digits, which are another's on another processor: what is tied is tied on all of them.
    prediction = np.exp(-0.4 + 0.2 * X[:, 0].round(1) + 0.15 * X[:, 1].round(1)).round(12)
    return targets["poisson"], prediction, weight


def summary(values, n=8):
    """The first values, and two sums that tell of all of them."""
    values = np.asarray(values, float).ravel()
    return {"first": values[:n], "sum": values.sum(), "turned": values @ np.cos(np.arange(len(values)))}


# ---------------------------------------------------------------------------------------------------------------------
# Areas: functions that return {case: function without arguments that returns numbers, text, lists, dicts or frames}
# ---------------------------------------------------------------------------------------------------------------------


def measures():
    """Value and gradient of every measure by functions and by bound penalties, encodings and permutable forms."""
    functions = {
        "dcov": dependence.distance_covariance,
        "ccdcov": dependence.concatenated_distance_covariance,
        "jdcov": dependence.joint_distance_covariance,
    }
    cases = {}
    for measure, function in functions.items():
        for attributes in ATTRIBUTES:
            for statistic, weighted in (("u", False), ("v", False), ("v", True)):
                name = f"{measure} {attributes} {statistic}{' weighted' if weighted else ''}"
                cases[f"function {name}"] = partial(_function, function, attributes, statistic, weighted)
    cases["function jdcov scale-invariant"] = partial(
        _function, functions["jdcov"], "mixed", "v", False, scale_invariant=True, c=0.5
    )
    cases["function jdcov rank"] = lambda: functions["jdcov"](predictions()[1], *_points("mixed"), rank=True)
    for number, (measure, attributes) in enumerate((m, a) for m in functions for a in ATTRIBUTES):
        for normalize in (True, False):
            scale = ("response", "link", "total")[number % 3]
            cases[f"penalty {measure} {attributes} {'scale-free' if normalize else 'raw'} {scale}"] = partial(
                _penalty, measure, attributes, normalize, scale
            )
    for method in dependence.METHODS:
        cases[f"method {method}"] = partial(_method, method)
    for scaling in ("minmax", "standard"):
        cases[f"encoder {scaling}"] = partial(_encoder, scaling)
    cases["gini mean difference"] = _gini_mean_difference
    return cases


def _points(attributes):
    from fairdcov import SensitiveEncoder

    encoded = SensitiveEncoder().fit_encode(people_of(attributes))
    return [points[encoded.codes] for points in encoded.points]


def _function(function, attributes, statistic, weighted, **options):
    _, u, weight = predictions()
    value, gradient = function(
        u,
        *_points(attributes),
        statistic=statistic,
        sample_weight=weight if weighted else None,
        return_gradient=True,
        **options,
    )
    return {"value": value, "gradient": summary(gradient)}


def penalty_of(measure, **options):
    """Penalty object by the name of its measure."""
    classes = {"dcov": "DCovPenalty", "ccdcov": "CCDCovPenalty", "jdcov": "JDCovPenalty"}
    return getattr(fairdcov, classes[measure])(**options)


def _penalty(measure, attributes, normalize, scale):
    _, u, weight = predictions()
    bound = penalty_of(measure, normalize=normalize, scale=scale).bind(people_of(attributes), weight)
    value, gradient = bound.value_gradient(u)
    found = {"value": bound.value(u), "same": value, "gradient": summary(gradient), "method": bound.method}
    value, gradient, curvature = bound.value_gradient_curvature(u)
    return found | {"third": value, "third gradient": summary(gradient), "curvature": summary(curvature)}


def _method(method):
    if method == "univariate":
        attributes = "continuous"
    else:
        attributes = "two" if method in ("auto", "profiles") else "mixed"
    _, u, weight = predictions()
    bound = fairdcov.CCDCovPenalty(method=method, normalize=False).bind(people_of(attributes), weight)
    value, gradient = bound.value_gradient(u)
    return {"value": value, "gradient": summary(gradient), "method": bound.method, "bound": bound.error_bound}


def _encoder(scaling):
    from fairdcov import SensitiveEncoder

    _, _, weight = predictions()
    encoder = SensitiveEncoder(continuous_scaling=scaling).fit(book()[3], sample_weight=weight)
    transformed = encoder.transform(book()[3])
    return {
        "names": list(encoder.get_feature_names_out()),
        "kinds": encoder.kinds_,
        "rows": np.asarray(transformed)[:4],
        "all": summary(transformed),
    }


def _gini_mean_difference():
    _, u, weight = predictions()
    plain_value, plain_gradient = dependence.gini_mean_difference(u, statistic="u")
    value, gradient = dependence.gini_mean_difference(u, weight / weight.sum())
    return {"u": [plain_value, summary(plain_gradient)], "v": [value, summary(gradient)]}


FAMILIES = ("ridge", "poisson", "gamma", "tweedie", "logistic")
FORMS = ("raw", "scale-free", "total")
# Strengths at which each form of the penalty matters and outweighs nothing.
STRENGTHS = {"raw": 2.0, "scale-free": 0.6, "total": 0.6}


def _linear_model(family, form, measure, **options):
    classes = {
        "ridge": "DCovRidge",
        "poisson": "DCovPoissonRegressor",
        "gamma": "DCovGammaRegressor",
        "tweedie": "DCovTweedieRegressor",
        "logistic": "DCovLogisticRegression",
    }
    if family == "tweedie":
        options |= {"power": 1.5}
    scale = "total" if form == "total" else options.pop("scale", "response")
    penalty = penalty_of(measure, normalize=form != "raw", scale=scale, statistic=options.pop("statistic", "v"))
    # Below 1e-5 the solver would stop at a kink of the penalty that the last bits of BLAS choose.
    return getattr(fairdcov, classes[family])(
        penalty, **{"strength": STRENGTHS[form], "alpha": 1e-3, "tol": 1e-5, "max_iter": 500, **options}
    )


def linear_models():
    """Every family with every form, each twice; attributes, weights and measures in turn, so that all pairs occur."""
    cases = {}
    for i, family in enumerate(FAMILIES):
        for j, form in enumerate(FORMS):
            for k in range(2):
                attributes = list(ATTRIBUTES)[(i + 3 * j + 2 * k + j * k) % 4]
                measure = ("ccdcov", "jdcov", "dcov")[(i + j + k) % 3]
                weighted = (i + j + k + j * k) % 2 == 0
                name = f"{family} {form} {measure} {attributes}{' weighted' if weighted else ''}"
                cases[name] = partial(_fit_linear, family, form, measure, attributes, weighted)
    two = ("ccdcov", "two", True)
    cases["poisson on the link scale"] = partial(_fit_linear, "poisson", "scale-free", *two, scale="link")
    cases["logistic on the link scale"] = partial(_fit_linear, "logistic", "raw", *two, scale="link")
    cases["poisson U-statistic"] = partial(_fit_linear, "poisson", "scale-free", "ccdcov", "two", False, statistic="u")
    cases["poisson without intercept"] = partial(_fit_linear, "poisson", "scale-free", *two, fit_intercept=False)
    cases["poisson strength too large"] = _strength_too_large
    cases["poisson as a user has it"] = partial(_fit_linear, "poisson", "scale-free", *two, tol=1e-4)
    cases["poisson path"] = _linear_path
    cases["poisson sensitive columns in X"] = _sensitive_columns
    for family in FAMILIES:
        cases[f"{family} unpenalised"] = partial(_fit_linear, family, "raw", *two, strength=0.0)
    return cases


def _fitted_linear(model, prediction, attributes):
    fitted = {
        "coef": model.coef_,
        "intercept": model.intercept_,
        "iterations": model.n_iter_,
        "converged": model.converged_,
        "effective strength": model.effective_strength_,
        "loss": model.loss_value_,
        "penalty": model.penalty_value_,
        "objective": model.objective_value_,
        "method": model.penalty_method_,
    }
    divergence = metrics.js_divergence(
        None,
        prediction,
        sensitive_features=people_of(attributes),
        bins={"age": 3} if "age" in ATTRIBUTES[attributes] else None,
    )
    return fitted | {"prediction": summary(prediction), "divergence": divergence}


def _predict(model, X):
    return model.predict_proba(X)[:, 1] if hasattr(model, "predict_proba") else model.predict(X)


def _fit_linear(family, form, measure, attributes, weighted, **options):
    X, targets, weight, _ = book()
    model = _linear_model(family, form, measure, **options)
    model.fit(X, targets[family], weight if weighted else None, sensitive_features=people_of(attributes))
    return _fitted_linear(model, _predict(model, X), attributes) | {"score": model.score(X, targets[family])}


def _strength_too_large():
    """The guard's strength is where a constant is as good: its digits are rounding errors."""
    found = _fit_linear("poisson", "raw", "ccdcov", "two", True, strength=1e4, tol=1e-4)
    first = found["prediction"]["first"]
    return {"smaller": found["effective strength"] < 1e4, "constant": bool(np.ptp(first) < 1e-4)}


def _linear_path():
    X, targets, weight, _ = book()
    model = _linear_model("poisson", "scale-free", "ccdcov")
    path = model.strength_path(X, targets["poisson"], [0.0, 0.3, 1.0], weight, sensitive_features=people_of("two"))
    return [_fitted_linear(model, model.predict(X), "two") for model in path]


def _sensitive_columns():
    X, targets, weight, people = book()
    frame = pd.DataFrame(X, columns=list("abcd")).assign(age=people["age"])
    model = _linear_model("poisson", "scale-free", "ccdcov", sensitive_columns=["age"])
    model.fit(frame, targets["poisson"], weight)
    return _fitted_linear(model, model.predict(frame), "continuous") | {"names": list(model.feature_names_in_)}


def lightgbm():
    """LightGBM for every objective, with and without penalty and weights, categories, a path and early stopping."""
    trees = {
        "n_estimators": 8,
        "n_penalised_rounds": 8,
        "num_leaves": 5,
        "min_child_samples": 15,
        "n_jobs": 1,
        "random_state": 0,
    }
    cases = {}
    objectives = {"squared_error": "ridge", "poisson": "poisson", "gamma": "gamma", "tweedie": "tweedie"}
    for number, (objective, target) in enumerate(objectives.items()):
        attributes, measure = list(ATTRIBUTES)[number], ("ccdcov", "jdcov", "dcov", "ccdcov")[number]
        make = partial(fairdcov.DCovLGBMRegressor, penalty_of(measure), 0.5, objective=objective, **trees)
        cases[f"{objective} {measure} {attributes}"] = partial(_boost, make, target, attributes, number % 2 == 1)
    poisson = partial(fairdcov.DCovLGBMRegressor, objective="poisson", **trees)
    raw, total = penalty_of("ccdcov", normalize=False), penalty_of("ccdcov", scale="total")
    cases["poisson raw two weighted"] = partial(_boost, partial(poisson, raw, 2.0), "poisson", "two", True)
    cases["poisson total two"] = partial(_boost, partial(poisson, total, 0.5), "poisson", "two", False)
    cases["poisson too large two"] = partial(_boost, partial(poisson, raw, 1e4), "poisson", "two", True)
    cases["poisson unpenalised"] = partial(_boost, partial(poisson, strength=0.0), "poisson", "two", True)
    cases["poisson own target"] = partial(
        _boost,
        partial(poisson, strength=0.5, min_split_gain=0.01, subsample=0.7, subsample_freq=1),
        "poisson",
        "two",
        True,
    )
    cases["poisson early stopping"] = partial(
        _boost, partial(poisson, strength=0.5, early_stopping_rounds=3), "poisson", "two", True, eval_set=True
    )
    steps = partial(poisson, "ccdcov", 30.0, **{"penalised_learning_rate": 1.0, "min_child_samples": 5})
    cases["poisson full steps at a large strength"] = partial(_boost, steps, "poisson", "mixed", True)
    classifier = partial(fairdcov.DCovLGBMClassifier, strength=0.5, **trees)
    cases["classifier two weighted"] = partial(_boost, classifier, "logistic", "two", True)
    cases["poisson path"] = partial(_boosted_path, poisson)
    return cases


def xgboost():
    """XGBoost for every objective and a path."""
    trees = {"n_estimators": 8, "n_penalised_rounds": 8, "max_depth": 2, "n_jobs": 1, "random_state": 0}
    cases = {}
    objectives = {"squared_error": "ridge", "poisson": "poisson", "gamma": "gamma", "tweedie": "tweedie"}
    for number, (objective, target) in enumerate(objectives.items()):
        attributes, measure = list(ATTRIBUTES)[number], ("ccdcov", "jdcov", "dcov", "ccdcov")[number]
        make = partial(fairdcov.DCovXGBRegressor, penalty_of(measure), 0.5, objective=objective, **trees)
        cases[f"{objective} {measure} {attributes}"] = partial(_boost, make, target, attributes, number % 2 == 1)
    cases["poisson path"] = partial(_boosted_path, partial(fairdcov.DCovXGBRegressor, objective="poisson", **trees))
    return cases


def _boosted(model, prediction, attributes):
    found = {"prediction": summary(prediction, 16)}
    for name in (
        "effective_strength_",
        "penalty_value_",
        "loss_value_",
        "objective_value_",
        "n_iter_",
        "best_iteration_",
    ):
        if hasattr(model, name):
            found[name] = getattr(model, name)
    bins = {"age": 3} if "age" in ATTRIBUTES[attributes] else None
    found["divergence"] = metrics.js_divergence(None, prediction, sensitive_features=people_of(attributes), bins=bins)
    return found


def _boost(make, target, attributes, weighted, *, eval_set=False):
    X, targets, weight, _ = book()
    model, people = make(), people_of(attributes)
    given = {"sample_weight": weight if weighted else None, "sensitive_features": people}
    if eval_set:
        given |= {"eval_set": [(X[:80], targets[target][:80])]}
        given |= {"eval_sample_weight": [weight[:80]], "eval_sensitive_features": [people[:80]]}
    model.fit(X, targets[target], **given)
    return _boosted(model, _predict(model, X), attributes) | {"importances": model.feature_importances_}


def _boosted_path(make):
    X, targets, weight, _ = book()
    path = make().strength_path(X, targets["poisson"], [0.0, 0.3, 1.0], weight, sensitive_features=people_of("two"))
    return [_boosted(model, model.predict(X), "two") for model in path]


def neural():
    """Networks of each kind, and the loss for networks of one's own."""
    return {
        "regressor poisson weighted": partial(_network, "DCovMLPRegressor", "poisson", True, objective="poisson"),
        "regressor squared error mini-batches": partial(_network, "DCovMLPRegressor", "ridge", False, batch_size=60),
        "classifier": partial(_network, "DCovMLPClassifier", "logistic", True),
        "dependence loss": _dependence_loss,
    }


def _network(kind, target, weighted, **options):
    from fairdcov import neural

    X, targets, weight, _ = book()
    model = getattr(neural, kind)(
        **{
            "strength": 0.5,
            "hidden_layer_sizes": (6,),
            "max_epochs": 6,
            "max_iter": 4,
            "early_stopping": False,
            "random_state": 0,
            "n_threads": 1,
            **options,
        }
    )
    model.fit(X, targets[target], sample_weight=weight if weighted else None, sensitive_features=people_of("two"))
    return _boosted(model, _predict(model, X), "two")


def _dependence_loss():
    import torch

    from fairdcov.neural import DependenceLoss

    _, u, weight = predictions()
    u = torch.tensor(u, requires_grad=True)
    loss = DependenceLoss("ccdcov").bind(people_of("mixed"), weight)
    value = loss(u)
    value.backward()
    return {"value": value.item(), "gradient": summary(u.grad.numpy())}


def calibration():
    """Tables and choices of the calibrator: every rule, a classifier, trees, searched strengths, a pipeline."""
    grid = {
        "strengths": [0.0, 0.3, 1.0, 3.0],
        "cv": 2,
        "n_permutations": 5,
        "random_state": 0,
        "verbose": 0,
        "if_unmet": "warn",
    }
    poisson = partial(_linear_model, "poisson", "scale-free", "ccdcov")
    cases = {
        "null level": partial(_calibrate, poisson, "poisson", "two", rule="null_level", **grid),
        "threshold": partial(_calibrate, poisson, "poisson", "nominal", rule="threshold", max_divergence=0.05, **grid),
        "elbow": partial(_calibrate, poisson, "poisson", "mixed", rule="elbow", bins={"age": 2}, **grid),
        "score budget": partial(_calibrate, poisson, "poisson", "two", rule="score_budget", score_budget=0.4, **grid),
        "logistic": partial(
            _calibrate, partial(_linear_model, "logistic", "raw", "ccdcov"), "logistic", "nominal", rule="elbow", **grid
        ),
        "searched strengths": partial(
            _calibrate, poisson, "poisson", "nominal", rule="elbow", **{**grid, "strengths": "auto", "n_strengths": 4}
        ),
        "unweighted, equal groups": partial(
            _calibrate,
            poisson,
            "poisson",
            "two",
            weighted=False,
            rule="elbow",
            group_weights="equal",
            min_group_size=5,
            **grid,
        ),
    }
    return cases


def _calibrate(make, target, attributes, *, weighted=True, **options):
    X, targets, weight, _ = book()
    calibrator = fairdcov.JSDivergenceCalibrator(make(), **options)
    calibrator.fit(X, targets[target], weight if weighted else None, sensitive_features=people_of(attributes))
    return {
        "strength": calibrator.best_strength_,
        "index": calibrator.best_index_,
        "labels": [str(label) for label in calibrator.group_labels_],
        "results": {name: part for name, part in calibrator.calibration_results_.items() if "seconds" not in name},
        "prediction": summary(_predict(calibrator, X)),
    }


def public_metrics():
    """Every public metric, with and without weights."""
    cases = {}
    for name in ("ccdcov", "dcov", "jdcov"):
        for attributes in ("two", "mixed"):
            cases[f"{name} {attributes}"] = partial(_dependence_metric, name, attributes)
    options = {
        "demographic_parity_gap": [{}, {"relative": True}],
        "js_divergence": [{}, {"group_weights": "equal", "bandwidth": 0.1}, {"min_group_size": 20}, {"net": True}],
        "ks_disparity": [{}, {"comparison": "rest"}],
        "tier_parity_gap": [{}, {"thresholds": [0.2, 0.5]}, {"comparison": "rest", "reduction": "mean"}],
        "tier_parity_ratio": [{}, {"quantiles": [0.8], "comparison": "rest"}],
        "unfairness_ratio": [{}, {"group_weights": "proportion"}],
        "wasserstein_disparity": [{}, {"comparison": "rest"}, {"reduction": "mean"}],
    }
    for name, several in options.items():
        cases[name] = partial(_group_metric, name, several)
    cases["group_summary"] = partial(_group_metric, "group_summary", [{}])
    cases["tier_summary"] = partial(_group_metric, "tier_summary", [{}])
    cases["group_densities"] = _group_densities
    cases["sensitive_groups"] = _sensitive_groups
    cases["scores"] = _scores
    cases["null_distribution"] = _null_distribution
    cases["scorers"] = _scorers
    cases["refit"] = _refit_rules
    return cases


def _dependence_metric(name, attributes):
    y, u, weight = predictions()
    metric, people = getattr(metrics, name), people_of(attributes)
    found = [
        metric(y, u, sensitive_features=people, sample_weight=weights, statistic=statistic, normalize=normalize)
        for statistic, weights in (("u", None), ("v", None), ("v", weight))
        for normalize in (False, True)
    ]
    if name == "jdcov":
        found.append(metric(y, u, sensitive_features=people, net=False, c=0.5))
    return found


def _group_metric(name, several):
    y, u, weight = predictions()
    metric = getattr(metrics, name)
    return [
        metric(y, u, sensitive_features=people_of(attributes), sample_weight=weights, bins=bins, **options)
        for attributes, bins in (("two", None), ("mixed", {"age": 3}))
        for weights in (None, weight)
        for options in several
    ]


def _group_densities():
    _, u, weight = predictions()
    found = metrics.group_densities(u, sensitive_features=people_of("two"), sample_weight=weight, n_points=64)
    return {
        "grid": summary(found.grid),
        "densities": [summary(row, 2) for row in found.densities],
        "shares": found.shares,
        "labels": [str(label) for label in found.labels],
        "omitted": [str(label) for label in found.omitted],
        "bandwidth": found.bandwidth,
        "divergence": found.divergence,
    }


def _sensitive_groups():
    _, _, weight = predictions()
    found = {}
    for attributes, bins in (("two", None), ("mixed", {"age": 3}), ("mixed", {"age": [0, 40, 60, 200]})):
        groups = metrics.sensitive_groups(people_of(attributes), bins=bins, sample_weight=weight)
        found[f"{attributes} {bins}"] = groups.astype(str)[:30]
    return found


def _scores():
    y, u, weight = predictions()
    events, counts = book()[1]["logistic"], np.round(y)
    found = {}
    for which, weights in (("plain", None), ("weighted", weight)):
        given = {"sample_weight": weights}
        found[which] = {
            "binary_log_loss": metrics.binary_log_loss(events, u / (1 + u), **given),
            "gini": [metrics.gini(y, u, **given), metrics.gini(y, u, normalize=True, **given)],
            "lorenz_curve": [summary(part, 3) for part in metrics.lorenz_curve(y, u, **given)],
            "mean_deviance": [metrics.mean_deviance(y + 0.1, u, power=power, **given) for power in (0, 1, 1.5, 2)],
            "predicted_to_observed": metrics.predicted_to_observed(y, u, **given),
            "root_mean_squared_error": metrics.root_mean_squared_error(y, u, **given),
            "rps": [
                metrics.rps(counts, u, **given),
                metrics.rps(counts / (0.5 + weight), u, exposure=0.5 + weight, **given),
                metrics.rps(events, u / (1 + u), family="binary", **given),
            ],
        }
    return found


def _null_distribution():
    y, u, weight = predictions()
    found = {}
    for name in ("js_divergence", "ccdcov", "ks_disparity"):
        null = metrics.null_distribution(
            getattr(metrics, name),
            y,
            u,
            sensitive_features=people_of("two"),
            sample_weight=weight,
            n_permutations=9,
            random_state=0,
        )
        found[name] = [null.observed, np.asarray(null.values), null.quantile(0.9), null.p_value()]
    return found


def _scorers():
    X, targets, weight, _ = book()
    people, found = people_of("two"), {}
    models = {
        family: _linear_model(family, "raw", "ccdcov", strength=0.0).fit(X, targets[family])
        for family in ("poisson", "gamma", "logistic")
    }
    for name in sorted(metrics.__all__):
        if not name.endswith("_scorer") or name.startswith("make_"):
            continue
        family = {
            "neg_gamma_deviance_scorer": "gamma",
            "neg_brier_scorer": "logistic",
            "neg_log_loss_scorer": "logistic",
        }
        family = family.get(name, "poisson")
        scorer, y = getattr(metrics, name), targets[family]
        weights = weight
        if name == "neg_rps_scorer":
            y, weights = np.round(y), 1.0 + (weight > 0.8)
        given = {"sensitive_features": people} if isinstance(scorer, metrics.FairnessScorer) else {}
        found[name] = [
            scorer(models[family], X, y, **given),
            scorer(models[family], X, y, sample_weight=weights, **given),
        ]
    own = metrics.make_fairness_scorer(metrics.ks_disparity, comparison="rest")
    found["make_fairness_scorer"] = own(models["poisson"], X, targets["poisson"], sensitive_features=people)
    own = metrics.make_weighted_scorer(metrics.mean_deviance, greater_is_better=False, power=1.5)
    found["make_weighted_scorer"] = own(models["poisson"], X, targets["poisson"], sample_weight=weight)
    return found


def _refit_rules():
    results = {
        "mean_test_score": np.array([-1.0, -1.02, -1.2, -1.005]),
        "std_test_score": np.array([0.03, 0.03, 0.03, 0.03]),
        "split0_test_score": np.array([-1.0, -1.02, -1.2, -1.0]),
        "split1_test_score": np.array([-1.0, -1.02, -1.2, -1.01]),
        "mean_test_divergence": np.array([-0.3, -0.1, 0.0, -0.2]),
    }
    return [
        metrics.fairest_within(0.01)(results),
        metrics.fairest_within("standard_error")(results),
        metrics.best_score_below(0.15)(results),
    ]


def inference():
    """Independence tests: every measure and hypothesis, permutations and the chi-square test."""
    cases = {}
    for measure in ("ccdcov", "jdcov", "dcov"):
        for attributes in ATTRIBUTES:
            weighted = attributes in ("two", "continuous")
            cases[f"{measure} {attributes}{' weighted' if weighted else ''}"] = partial(
                _test, measure, attributes, weighted
            )
    cases["chi2"] = partial(_test, "ccdcov", "two", False, test="chi2")
    cases["mutual"] = partial(_test, "jdcov", "two", False, hypothesis="mutual")
    return cases


def _test(measure, attributes, weighted, **options):
    _, u, weight = predictions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fairdcov.independence_test(
            u,
            people_of(attributes),
            measure=measure,
            sample_weight=weight if weighted else None,
            n_permutations=39,
            random_state=3,
            **options,
        )
    return {**found.to_dict(), "null": None if found.null_distribution is None else summary(found.null_distribution)}


def actuarial_tables():
    """Every public table."""
    y, u, weight = predictions()
    _, _, _, people = book()
    baseline, given = u[::-1] ** 0.5, {"sample_weight": weight}
    features = pd.DataFrame({"x": book()[0][:, 0].round(2), "region": people["region"]})
    return {
        "balance_table": lambda: [
            actuarial.balance_table(y, u),
            actuarial.balance_table(y, u, people, **given),
            actuarial.balance_table(y, u, people, bins={"age": 4}, confidence=0.8, **given),
        ],
        "double_lift_table": lambda: actuarial.double_lift_table(y, u, baseline, n_bins=5, **given),
        "lift_table": lambda: [actuarial.lift_table(y, u), actuarial.lift_table(y, u, n_bins=4, **given)],
        "one_way": lambda: [
            actuarial.one_way(y, u, features),
            actuarial.one_way(y, u, features, baseline=baseline, bins=4, confidence=0.9, **given),
        ],
        "largest_dislocations": lambda: [
            actuarial.largest_dislocations(u, baseline, features, n=6, **given),
            actuarial.largest_dislocations(u, baseline, n=4, by="absolute", direction="up"),
        ],
        "premium_change_by_group": lambda: actuarial.premium_change_by_group(
            u, baseline, people, bins={"age": 2}, **given
        ),
        "premium_changes": lambda: [
            actuarial.premium_changes(u, baseline, **given),
            actuarial.premium_changes(u, baseline, people, thresholds=(0.1,)),
        ],
        "relativities": _relativities,
        "rebalancer": _rebalancer,
        "write_csv": _written_table,
        "excel_safe": lambda: actuarial.excel_safe(pd.DataFrame({"=a": ["=1+1", "-2", "b"], "n": [-1.5, 2.0, 0.0]})),
    }


def _relativities():
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    X, targets, weight, people = book()
    frame = pd.DataFrame({"region": people["region"].astype(str), "x": X[:, 0].round(1)})
    columns = make_column_transformer((OneHotEncoder(drop="first"), ["region"]), remainder="passthrough")
    glm = _linear_model("poisson", "scale-free", "ccdcov")
    model = make_pipeline(columns, glm)
    model.fit(
        frame,
        targets["poisson"],
        dcovpoissonregressor__sample_weight=weight,
        dcovpoissonregressor__sensitive_features=people_of("two"),
    )
    return [
        actuarial.relativities(model, frame, sample_weight=weight),
        actuarial.relativities(model, frame, factors=["x"], bins={"x": 4}),
    ]


def _rebalancer():
    X, targets, weight, _ = book()
    found = {}
    for method in ("multiplicative", "additive"):
        model = actuarial.Rebalancer(_linear_model("poisson", "raw", "ccdcov", strength=0.0, alpha=1.0), method=method)
        model.fit(X, targets["poisson"], sample_weight=weight)
        found[method] = [model.factor_, model.shift_, summary(model.predict(X))]
    return found


def _written_table():
    y, u, weight = predictions()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        actuarial.write_csv(actuarial.lift_table(y, u, n_bins=3, sample_weight=weight), path)
        return path.read_text(encoding="utf-8-sig").splitlines()


@cache
def _audit(legitimate_features=None):
    """A small audit with every section."""
    portfolio = datasets.make_motor_portfolio(240, random_state=1)
    prediction = portfolio.true_rate * np.exp(0.1 * np.sin(np.arange(240)))
    return fairdcov.audit(
        portfolio.target,
        prediction,
        portfolio.sensitive_features[["gender", "age"]],
        sample_weight=portfolio.exposure,
        features=portfolio.data[["mileage", "vehicle_type", "vehicle_power"]],
        baseline=portfolio.fair_rate,
        legitimate_features=legitimate_features,
        bins={"age": [18, 35, 100]},
        min_group_size=10,
        n_permutations=9,
        n_bootstrap=10,
        max_partial_rows=80,
        max_learning_rows=120,
        metadata={"scope": "synthetic", "alternatives": [{"model": "GLM", "deviance": 0.61, "js_divergence": 0.2}]},
        random_state=0,
        verbose=0,
    )


def _timeless():
    """The audit as plain data, without time and versions."""
    return json.loads(_audit().to_json()) | {"created": "1970-01-01T00:00:00+00:00", "software": {"fairdcov": "any"}}


def _shortened(data):
    """Plain data with sums in place of long lists of numbers."""
    if isinstance(data, dict):
        return {name: _shortened(part) for name, part in data.items()}
    if not isinstance(data, list):
        return data
    if len(data) > 30 and all(isinstance(value, float) for value in data):
        return {"values": len(data), **summary(data, 3)}
    return [_shortened(part) for part in data]


def report():
    """JSON, summary, Markdown and page of a small audit."""
    return {
        "json": lambda: _shortened(_timeless()),
        "summary": lambda: _audit().summary,
        "partial": lambda: _audit(("vehicle_power",)).to_dict()["partial"],
        "markdown": lambda: fairdcov.AuditReport(_timeless()).to_markdown().splitlines(),
        "frames": lambda: {
            name: list(_audit().to_frame(name).columns) for name in ("groups", "measures", "proxies", "lift")
        },
    }


def pages():
    """The page of the audit, text and pictures."""
    return {"html": lambda: fairdcov.AuditReport(_timeless()).to_html().splitlines()}


def command_line():
    """What ``fairdcov fit``, ``predict`` and ``audit`` write for a small book."""
    glm = ["--model", "glm", "--features", "mileage", "vehicle_type", "density"]
    trees = [
        "--model",
        "lightgbm",
        "--features",
        "mileage",
        "density",
        "--model-option",
        "n_estimators=5",
        "n_penalised_rounds=5",
        "n_jobs=1",
    ]
    return {
        "glm": partial(_command_line, glm),
        "lightgbm": partial(_command_line, trees),
    }


def small_book(folder):
    """A portfolio with missing values, as a file."""
    frame = datasets.make_motor_portfolio(300, random_state=0).frame
    frame = frame[["mileage", "vehicle_type", "density", "gender", "region", "age", "exposure", "claims"]]
    frame.loc[::9, "density"] = np.nan
    frame.to_csv(folder / "book.csv", index=False)
    return folder / "book.csv"


def run_command(*arguments):
    """Run a command without a word, unless it fails."""
    from fairdcov.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main([str(argument) for argument in arguments])
    if code:
        raise RuntimeError(f"fairdcov {arguments[0]} ended with {code}\n{printed.getvalue()}")


FIT = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "age", "--bins", "age=18,40,100"]
FIT += ["--strengths", "3", "30", "--folds", "2", "--if-unmet", "warn", "--quiet"]


@contextlib.contextmanager
def quick_audits():
    """Audits of the command line without permutations and resamples."""
    from fairdcov import report as reports

    own = reports.audit
    reports.audit = partial(own, n_permutations=0, n_bootstrap=0, max_partial_rows=60, max_learning_rows=100)
    try:
        yield
    finally:
        reports.audit = own


def _command_line(options):
    with tempfile.TemporaryDirectory() as temporary, quick_audits():
        folder = Path(temporary)
        source = small_book(folder)
        run_command("fit", source, *FIT, *options, "--output", folder / "out")
        run_command("predict", folder / "out", source, "--output", folder / "again.csv")
        settings = json.loads((folder / "out/settings.json").read_text(encoding="utf-8"))
        for name in ("versions", "model_sha256"):
            settings.pop(name)
        settings["book"].pop("sha256")
        found = {"settings": settings, "files": sorted(path.name for path in (folder / "out").iterdir())}
        for name in ("calibration", "relativities"):
            path = folder / "out" / f"{name}.csv"
            if path.exists():
                found[name] = _read_numbers(path)
        scored, again = (_read_numbers(path) for path in (folder / "out/scored.csv", folder / "again.csv"))
        found["scored"] = {"columns": list(scored), "prediction": summary(scored["prediction"], 20)}
        found["predicted"] = {"columns": list(again), "prediction": summary(again["prediction"], 20)}
        held = _read_numbers(folder / "out/held_back.csv")
        found["held back"] = {name: values.iloc[:20] for name, values in held.items()}
        report = json.loads((folder / "out/report.json").read_text(encoding="utf-8"))
        found["balance"] = report["balance"]
        return found


def _read_numbers(path):
    return pd.read_csv(path, encoding="utf-8-sig")


def plots():
    """What the displays draw: points, lines, areas and words."""
    y, u, weight = predictions()
    people, baseline = people_of("two"), predictions()[1][::-1] ** 0.5

    def drawn(name, make, *arguments, **options):
        from fairdcov import plots as displays

        display = getattr(getattr(displays, name), make)(*arguments, **options)
        return _drawn(display.figure_)

    given = {"sample_weight": weight}
    return {
        "groups": lambda: drawn("GroupDistributionDisplay", "from_predictions", u, sensitive_features=people, **given),
        "lorenz": lambda: drawn("LorenzDisplay", "from_predictions", y, u, **given),
        "lift": lambda: drawn("LiftDisplay", "from_predictions", y, u, n_bins=4, **given),
        "double lift": lambda: drawn("DoubleLiftDisplay", "from_predictions", y, u, baseline, n_bins=4, **given),
        "one-way": lambda: drawn("OneWayDisplay", "from_predictions", y, u, people["region"], **given),
        "premium changes": lambda: drawn("PremiumChangeDisplay", "from_predictions", u, baseline, people, **given),
        "calibration": _drawn_calibration,
    }


def _drawn_calibration():
    from fairdcov.plots import CalibrationDisplay

    X, targets, weight, _ = book()
    calibrator = fairdcov.JSDivergenceCalibrator(
        _linear_model("poisson", "scale-free", "ccdcov"),
        strengths=[0.0, 1.0, 3.0],
        rule="score_budget",
        score_budget=0.5,
        cv=2,
        n_permutations=3,
        random_state=0,
        verbose=0,
    ).fit(X, targets["poisson"], weight, sensitive_features=people_of("two"))
    return _drawn(CalibrationDisplay.from_estimator(calibrator).figure_)


def _drawn(figure):
    found = []
    for axes in figure.axes:
        found.append(
            {
                "title": axes.get_title(),
                "labels": [axes.get_xlabel(), axes.get_ylabel()],
                "scales": [axes.get_xscale(), axes.get_yscale()],
                "ticks": [text.get_text() for text in axes.get_yticklabels()] if axes.get_yticklabels() else [],
                "lines": [[summary(line.get_xdata(), 2), summary(line.get_ydata(), 2)] for line in axes.lines],
                "areas": [
                    [summary(path.vertices, 2) for path in collection.get_paths()[:3]]
                    for collection in axes.collections
                ],
                "bars": [summary(patch.get_path().vertices, 2) for patch in axes.patches],
                "texts": [text.get_text() for text in axes.texts],
                "legend": [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else [],
            }
        )
    import matplotlib.pyplot as plt

    plt.close(figure)
    return found


AREAS = {
    "measures": measures,
    "linear_models": linear_models,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "neural": neural,
    "calibration": calibration,
    "metrics": public_metrics,
    "inference": inference,
    "actuarial": actuarial_tables,
    "report": report,
    "pages": pages,
    "plots": plots,
    "command_line": command_line,
}
