"""Networks on pg15training: what the penalty costs a step, how to train with it, and the published figures.

    FAIRDCOV_DATA=folder python benchmarks/neural.py [cost] [training] [paper] [--seeds 2] [--json FILE]

``cost``: value and gradient of the full-sample objective with and without the penalty, in one run. ``training``: the
penalised phase of DCovMLPRegressor (L-BFGS on the full sample) against loops around DependenceLoss (Adam on
mini-batches of 128, 1,024 and 8,192 rows and on the full sample) from the same unpenalised network, for as long.
``paper``: the split recipe, the network (4 x 64, ReLU) and the measures of benchmarks/paper.py, next to its published
rows. Without FAIRDCOV_DATA the file is downloaded.
"""

import argparse
import json
import platform
import time
import warnings

import numpy as np
import pandas as pd
import torch
from comparison import (
    COLUMNS,
    PUBLISHED_CHOICE,
    PUBLISHED_TEST,
    load_policies,
    measure_counts,
    number,
    print_table,
    split_policies,
)
from sklearn.compose import ColumnTransformer
from sklearn.metrics import mean_poisson_deviance
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fairdcov
from fairdcov import CCDCovPenalty, JDCovPenalty
from fairdcov.exceptions import ConvergenceWarning
from fairdcov.metrics import ccdcov
from fairdcov.neural import DCovMLPRegressor, DependenceLoss

LAYERS = {"hidden_layer_sizes": (64, 64, 64, 64), "objective": "poisson", "n_threads": 1}
# Weight decay for each training policy, beside the sum of losses: the best in deviance of 0, 30, 100, 300 and 800 for
# 80,000 policies; and one that draws in the long tail of the predictions, which the published divergence with its fixed
# bandwidth mostly measures.
ALPHA, STRONG_ALPHA = 100 / 80_000, 1200 / 80_000
STRENGTHS = (0, 1, 3, 10, 30)
COUNT_STRENGTHS = (0, 40, 80, 160)
TRAINING_STRENGTHS = (3.0, 10.0, 40.0)


def features(train, held):
    """The five quantities, standardised for the loops written by hand, and a column for each level of the factors."""
    columns = ColumnTransformer(
        [
            ("quantities", StandardScaler(), ["Age", "Bonus", "Poldur", "Value", "Density"]),
            (
                "levels",
                OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                ["Type", "Occupation", "Group1", "Category"],
            ),
        ]
    )
    return columns.fit_transform(train.features), columns.transform(held.features)


# ---------------------------------------------------------------------------------------------------------------------
# Cost of a step
# ---------------------------------------------------------------------------------------------------------------------


def layers_of(model):
    """The fitted network as a torch module."""
    module = torch.nn.Sequential()
    for position, (coef, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        layer = torch.nn.Linear(*coef.shape, dtype=torch.float32)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(coef.T))
            layer.bias.copy_(torch.from_numpy(intercept))
        module.append(layer)
        if position < len(model.coefs_) - 1:
            module.append(torch.nn.ReLU())
    return module


def poisson_loss(raw, rate, weights):
    """Mean Poisson loss of raw predictions."""
    return (weights * (torch.exp(raw) - rate * raw)).sum() / weights.sum()


def measure_cost(policies, repeat=15):
    """Milliseconds of a gradient on all training policies without and with the penalty, and their median ratio."""
    _, _, rest, test = split_policies(policies, 0)
    X, _ = features(rest, test)
    rate, exposure = rest.target, rest.exposure
    model = DCovMLPRegressor(strength=0, max_epochs=2, random_state=0, **LAYERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        module = layers_of(model.fit(X, rate, exposure))
    X, rate = torch.tensor(X, dtype=torch.float32), torch.tensor(rate, dtype=torch.float32)
    weights = torch.tensor(exposure, dtype=torch.float32)
    dependence = DependenceLoss().bind(rest.protected, exposure)
    times = {"loss": [], "loss and penalty": []}
    for _ in range(repeat):
        for name, found in times.items():
            start = time.perf_counter()
            raw = module(X)[:, 0]
            objective = poisson_loss(raw, rate, weights)
            if name != "loss":
                objective = objective + 10.0 * dependence(torch.exp(raw))
            module.zero_grad()
            objective.backward()
            found.append(1e3 * (time.perf_counter() - start))
    ratios = np.array(times["loss and penalty"]) / np.array(times["loss"])
    return {
        "rows": len(X),
        "profiles": dependence.bound.n_profiles,
        "loss": float(np.median(times["loss"])),
        "loss and penalty": float(np.median(times["loss and penalty"])),
        "ratio": float(np.median(ratios)),
    }


# ---------------------------------------------------------------------------------------------------------------------
# How to train
# ---------------------------------------------------------------------------------------------------------------------


def train_by_hand(start, X, rest, held, strength, batch, seconds):
    """Adam from a fitted network, loss and penalty of the same batch, the best by the estimator's own criterion."""
    module = layers_of(start)
    rate, exposure = rest.target, rest.exposure
    rows = np.flatnonzero(~held)
    tensor = {
        "X": torch.tensor(X, dtype=torch.float32),
        "rate": torch.tensor(rate, dtype=torch.float32),
        "weights": torch.tensor(exposure, dtype=torch.float32),
    }
    fairness = DependenceLoss()
    encoded = fairness.encode(rest.protected)
    bound = fairness.bind(rest.protected.iloc[rows], exposure[rows]) if batch is None else None
    whole = CCDCovPenalty().bind(rest.protected, exposure)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    generator = np.random.default_rng(0)
    best, state, begin = np.inf, None, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        order = generator.permutation(rows)
        for part in np.array_split(order, max(1, len(order) // batch)) if batch else [rows]:
            index = torch.from_numpy(part)
            raw = module(tensor["X"][index])[:, 0]
            u = torch.exp(raw)
            penalty = bound(u) if batch is None else fairness(u, encoded[part], exposure[part])
            objective = poisson_loss(raw, tensor["rate"][index], tensor["weights"][index]) + strength * penalty
            optimiser.zero_grad()
            objective.backward()
            optimiser.step()
        with torch.no_grad():
            raw = module(tensor["X"])[:, 0].double().numpy()
        loss = mean_poisson_deviance(rate[held], np.exp(raw[held]), sample_weight=exposure[held]) / 2
        score = loss + strength * whole.value(np.exp(raw))
        if score < best:
            best, state = score, {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    return module


def compare_training(policies, seed):
    """Held-back deviance and CCdCov of the penalised phase and of its alternatives, each for the same time."""
    _, _, rest, test = split_policies(policies, seed)
    X, X_test = features(rest, test)
    rate, exposure = rest.target, rest.exposure
    held = np.zeros(len(rest), dtype=bool)
    held[np.random.default_rng(seed).permutation(len(rest))[: len(rest) // 10]] = True
    estimator = DCovMLPRegressor(alpha=0.0, random_state=seed, **LAYERS)
    data = {
        "sample_weight": exposure[~held],
        "sensitive_features": rest.protected[~held],
        "eval_set": (X[held], rate[held]),
        "eval_sample_weight": exposure[held],
        "eval_sensitive_features": rest.protected[held],
    }
    rows = {}
    start, *_ = estimator.strength_path(X[~held], rate[~held], [0.0], **data)
    for strength in TRAINING_STRENGTHS:
        # The path without the unpenalised network, which all share.
        path = estimator.strength_path(X[~held], rate[~held], [0.0, strength], **data)
        next(path)
        begin = time.perf_counter()
        model = next(path)
        seconds = time.perf_counter() - begin
        rows[strength, "L-BFGS, full sample"] = quality(test, model.predict(X_test)) | {"seconds": seconds}
        for name, batch in {
            "Adam, batches of 128": 128,
            "Adam, batches of 1,024": 1024,
            "Adam, batches of 8,192": 8192,
            "Adam, full sample": None,
        }.items():
            module = train_by_hand(start, X, rest, held, strength, batch, seconds)
            with torch.no_grad():
                raw = module(torch.tensor(X_test, dtype=torch.float32))[:, 0].double().numpy()
            rows[strength, name] = quality(test, np.exp(raw)) | {"seconds": seconds}
    return rows


def quality(test, rate):
    """Deviance and dependence of expected counts, and the total."""
    counts = rate * test.exposure
    return {
        "deviance": mean_poisson_deviance(test.claims, counts),
        "CCdCov": ccdcov(None, counts, statistic="u", sensitive_features=test.protected),
        "total": counts.sum() / test.claims.sum(),
    }


# ---------------------------------------------------------------------------------------------------------------------
# The published figures
# ---------------------------------------------------------------------------------------------------------------------


def paper_rows(policies, seed):
    """The published measures on the test policies for paths of strengths."""
    _, _, rest, test = split_policies(policies, seed)
    X, X_test = features(rest, test)
    rows = {}
    for name, penalty, strengths, alpha in (
        ("CCdCov of rates, scale-free", CCDCovPenalty(), STRENGTHS, ALPHA),
        ("CCdCov of counts", CCDCovPenalty(normalize=False, scale="total"), COUNT_STRENGTHS, STRONG_ALPHA),
        ("CCdCov of counts, scale-free", CCDCovPenalty(scale="total"), STRENGTHS[2:], STRONG_ALPHA),
        ("JdCov of counts", JDCovPenalty(normalize=False, scale="total"), COUNT_STRENGTHS, STRONG_ALPHA),
    ):
        estimator = DCovMLPRegressor(penalty, alpha=alpha * len(rest), random_state=seed, **LAYERS)
        path = estimator.strength_path(
            X, rest.target, strengths, sample_weight=rest.exposure, sensitive_features=rest.protected
        )
        begin = time.perf_counter()
        for model in path:
            seconds = time.perf_counter() - begin
            row = measure_counts(test, model.predict(X_test)) | {"seconds": seconds}
            rows[f"{name}, strength {model.strength:g}, alpha {alpha * len(rest):.0f}"] = row
            begin = time.perf_counter()
    return rows


def report_paper(results):
    """Published and own rows; own ones say in which columns they are not below which published row."""
    columns = [*COLUMNS, "JSD null", "total", "seconds"]
    mean = sum(pd.DataFrame(result).T for result in results) / len(results)
    rows = []
    for (name, chosen), values in PUBLISHED_TEST.items():
        shown = [number(values[column], column) for column in COLUMNS]
        rows.append([f"published: {name}, strength {chosen}", *shown, "", "", "", ""])
    for label, row in mean.iterrows():
        missed = []
        for name, chosen in PUBLISHED_CHOICE.items():
            published = PUBLISHED_TEST[name, chosen]
            worse = [column for column in COLUMNS if not row[column] < published[column]]
            missed.append(f"{name}: {', '.join(worse) or 'none'}")
        rows.append([label, *(number(row[column], column) for column in columns), "; ".join(missed)])
    print_table(["", *columns, "columns not below the published row"], rows)


def main(arguments=None):
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="cost, training, paper; all by default")
    parser.add_argument("--seeds", type=int, default=2, help="number of split seeds")
    parser.add_argument("--policies", type=int, help="a random part only, for a quick look")
    parser.add_argument("--json", metavar="FILE", help="write all figures to a file as well")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - {"cost", "training", "paper"}
    if unknown or options.seeds < 1:
        parser.error(f"unknown part {sorted(unknown)}" if unknown else "--seeds must be at least 1")
    parts = options.parts or ["cost", "training", "paper"]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, ", end="")
    print(f"fairdcov {fairdcov.__version__}; {options.seeds} split seed(s), one thread\n")
    policies = load_policies(options.policies)
    figures = {}
    if "cost" in parts:
        figures["cost"] = cost = measure_cost(policies)
        print("### A gradient on all training policies\n")
        print_table(
            ["policies", "profiles", "loss, ms", "loss and penalty, ms", "ratio"],
            [[f"{cost['rows']:,}", str(cost["profiles"]), *(f"{cost[name]:.3g}" for name in list(cost)[2:])]],
        )
    if "training" in parts:
        results = [compare_training(policies, seed) for seed in range(options.seeds)]
        figures["training"] = [{f"{key[0]:g}, {key[1]}": row for key, row in result.items()} for result in results]
        mean = sum(pd.DataFrame(result).T for result in results) / len(results)
        print("### Training with the penalty, from the same network and for the same time\n")
        rows = [
            [f"{strength:g}", name, f"{row['deviance']:.5f}", f"{row['CCdCov']:.3e}", f"{row['total']:.4f}",
             f"{row['seconds']:.1f}"]
            for (strength, name), row in mean.iterrows()
        ]  # fmt: skip
        print_table(["strength", "by", "deviance", "CCdCov", "total", "seconds"], rows)
    if "paper" in parts:
        figures["paper"] = [paper_rows(policies, seed) for seed in range(options.seeds)]
        print("### pg15training, test policies\n")
        report_paper(figures["paper"])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1, default=float)


if __name__ == "__main__":
    main()
