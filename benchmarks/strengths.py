"""Do fits at any strength stay better than a constant, and say so where the strength is not the one asked for?

Random small books (rows, features, weights, families, attributes and penalties drawn by seed), every learner, strengths
from 0 to a million. Deviances are scikit-learn's, of the predictions of the training rows; no attribute of a model is
believed. Prints a line for each learner, and each fit that breaks the rule.

    python benchmarks/strengths.py --books 200
    python benchmarks/strengths.py --books 20 --learners linear
"""

import argparse
import time
import warnings
from collections import Counter

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, mean_tweedie_deviance

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPenalty,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    JDCovPenalty,
)
from fairdcov.exceptions import ConvergenceWarning, SensitiveFeaturesWarning, StrengthWarning

STRENGTHS = (0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
FAMILIES = {"squared_error": 0.0, "poisson": 1.0, "gamma": 2.0, "tweedie": 1.5, "binomial": None}
# Objectives that sum rows in another order may differ by this share of the constant's.
TOLERANCE = 1e-7


def random_book(seed):
    """Features, target, weights and attributes of a small book, and the family of its target."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(40, 400)), int(rng.integers(1, 8))
    S = pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n, p=[0.3, 0.7]),
            "region": rng.choice(list("abcde")[: rng.integers(2, 6)], n),
            "age": rng.integers(18, 90, n) if rng.random() < 0.5 else rng.uniform(18, 90, n),
        }
    )
    S = S[list(rng.choice(S.columns, rng.integers(1, 4), replace=False))]
    lean = sum(pd.factorize(S[name])[0] for name in S)
    X = rng.normal(size=(n, p)) * rng.choice([0.1, 1.0, 10.0], p)
    # Heavy tails and few values, as real rating factors have.
    X[:, 0] = np.where(rng.random(n) < 0.05, 8.0, 1.0) * X[:, 0] + rng.choice([0.0, 0.05]) * lean
    if p > 1:
        X[:, 1] = (X[:, 1] > X[:, 1].mean()).astype(float)
    linear = 0.5 * (X / X.std(axis=0).clip(1e-9)) @ rng.normal(size=p) + 0.05 * rng.choice([0, 1]) * lean
    weights = rng.uniform(0.01, 1.0, n) if rng.random() < 0.7 else None
    w = np.ones(n) if weights is None else weights
    family = str(rng.choice(list(FAMILIES)))
    mean = np.exp(np.clip(linear, -4, 4) - 1.0)
    if family == "squared_error":
        y = linear + rng.standard_t(3, n)
    elif family == "poisson":
        y = rng.poisson(mean * w) / w
        y[0] += not y.any()
    elif family == "gamma":
        y = rng.gamma(1.0, mean) + 1e-6
    elif family == "tweedie":
        y = rng.poisson(mean * w) * rng.gamma(1.0, 100.0, n) / w
        y[0] += not y.any()
    else:
        y = (rng.random(n) < 1 / (1 + np.exp(-linear))).astype(int)
        y[:2] = 0, 1
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(p)]), y, weights, S, family


def learners(family, seed):
    """Estimators of this family by name of the learner; those that are not installed are left out."""
    rng = np.random.default_rng(seed)
    penalties = [
        CCDCovPenalty(),
        JDCovPenalty(),
        DCovPenalty(),
        CCDCovPenalty(normalize=False),
        CCDCovPenalty(scale="link"),
        CCDCovPenalty(scale="total"),
        JDCovPenalty(c=0.5, normalize=False),
    ]
    penalty = penalties[rng.integers(len(penalties))]
    linear = {
        "squared_error": lambda: DCovRidge(penalty, alpha=1e-3),
        "poisson": lambda: DCovPoissonRegressor(penalty, alpha=1e-4),
        "gamma": lambda: DCovGammaRegressor(penalty, alpha=1e-4),
        "tweedie": lambda: DCovTweedieRegressor(penalty, alpha=1e-4, power=1.5),
        "binomial": lambda: DCovLogisticRegression(penalty),
    }
    found = {"linear": linear[family]()}
    small = {"n_estimators": 30, "n_penalised_rounds": 60, "random_state": 0}
    try:
        import lightgbm  # noqa: F401

        from fairdcov import DCovLGBMClassifier, DCovLGBMRegressor

        options = {**small, "num_leaves": 7, "min_child_samples": 5, "n_jobs": 1}
        found["lightgbm"] = (
            DCovLGBMClassifier(penalty, **options)
            if family == "binomial"
            else DCovLGBMRegressor(penalty, objective=family, **options)
        )
    except ImportError:
        pass
    try:
        import xgboost  # noqa: F401

        from fairdcov import DCovXGBRegressor

        if family != "binomial":
            found["xgboost"] = DCovXGBRegressor(penalty, objective=family, max_depth=3, n_jobs=1, **small)
    except ImportError:
        pass
    try:
        import torch  # noqa: F401

        from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

        options = {"hidden_layer_sizes": (8,), "max_epochs": 30, "max_iter": 60, "random_state": 0, "n_threads": 1}
        found["network"] = (
            DCovMLPClassifier(penalty, **options)
            if family == "binomial"
            else DCovMLPRegressor(penalty, objective=family, **options)
        )
    except ImportError:
        pass
    return found


def deviance(family, y, prediction, weights):
    """Mean deviance of the family, or log loss."""
    if FAMILIES[family] is None:
        return log_loss(y, prediction, sample_weight=weights, labels=[0, 1])
    return mean_tweedie_deviance(y, prediction, sample_weight=weights, power=FAMILIES[family])


def check_fit(model, strength, data, family):
    """What a fit did wrong, a list of words; its deviance as a share of the constant's."""
    X, y, weights, S = data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.set_params(strength=strength).fit(X, y, sample_weight=weights, sensitive_features=S)
    categories = {warning.category for warning in caught}
    known = (ConvergenceWarning, SensitiveFeaturesWarning, StrengthWarning)
    wrong = [str(warning.message) for warning in caught if not issubclass(warning.category, known)]
    prediction = model.predict_proba(X)[:, 1] if family == "binomial" else model.predict(X)
    if not np.isfinite(prediction).all():
        return [*wrong, "predictions are not finite"], np.inf
    constant = deviance(family, y, np.full(len(y), np.average(y, weights=weights)), weights)
    share = deviance(family, y, prediction, weights) / constant
    if share > 1 + TOLERANCE and not (strength == 0 and ConvergenceWarning in categories):
        wrong.append(f"deviance {share:.6f} of the constant's")
    remarks = [str(warning.message) for warning in caught if issubclass(warning.category, StrengthWarning)]
    another = [remark for remark in remarks if "instead of strength" in remark]
    if (model.effective_strength_ < strength) != bool(another):
        wrong.append(f"effective strength {model.effective_strength_:g}, remarks {remarks}")
    level = np.average(prediction, weights=weights) / np.average(y, weights=weights)
    said = any("times the observed total" in remark for remark in remarks)
    if strength > 0 and family in ("poisson", "gamma", "tweedie") and not 0.5 <= level <= 2 and not said:
        wrong.append(f"{level:.3g} times the observed total without a word")
    return wrong, share


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--books", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first book")
    parser.add_argument("--learners", nargs="+", help="only these")
    options = parser.parse_args()
    fits, broken, refused, capped, worst, seconds = (Counter() for _ in range(6))
    for seed in range(options.first, options.first + options.books):
        *data, family = random_book(seed)
        for name, model in learners(family, seed).items():
            if options.learners and name not in options.learners:
                continue
            for strength in STRENGTHS:
                start = time.perf_counter()
                try:
                    wrong, share = check_fit(model, strength, data, family)
                except ValueError as error:
                    # A learner of its own that runs away on such a target is an error that says so.
                    known = str(error).startswith("the unpenalised rounds diverge")
                    refused[name] += known
                    wrong, share = [] if known else [f"ValueError: {error}"], np.nan
                seconds[name] += time.perf_counter() - start
                fits[name] += 1
                capped[name] += getattr(model, "effective_strength_", strength) < strength
                worst[name] = np.fmax(worst[name], share)
                broken[name] += bool(wrong)
                if wrong:
                    print(f"book {seed}, {family}, {name}, {model.penalty}, strength {strength:g}: {'; '.join(wrong)}")
    for name in fits:
        print(
            f"{name}: {fits[name]} fits, {broken[name]} broken, {refused[name]} refused, {capped[name]} at less than "
            f"the strength asked for, highest deviance {worst[name]:.6f} of the constant's, {seconds[name]:.0f} s"
        )


if __name__ == "__main__":
    main()
