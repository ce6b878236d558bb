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
from importlib.util import find_spec
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from candidates import (
    DECAYED,
    QUICK,
    Settings,
    boosted_candidates,
    frame_features,
    levels,
    linear_candidates,
    load_task,
    network_candidates,
    rebalanced,
)
from comparison import PUBLISHED_JSD, PUBLISHED_TEST, measure_counts, number, print_table
from competitors import (
    adversarial_candidates,
    constant_candidates,
    discrimination_free_candidates,
    discrimination_free_model,
    equipy_candidates,
    remover_candidates,
)
from scipy.special import xlogy

import fairdcov
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, jdcov, js_divergence, ks_disparity, proxy_discrimination, unfairness_ratio

LEVEL = 0.95
# A divergence that is nearer to 0 is that of a constant, for which a picture on a logarithmic scale has no room.
LEAST_SHOWN = 1e-4
# Totals of the rows of the fit that are nearer to the observed one are not put right.
IN_BALANCE = 1e-6


def progress(line):
    """Say at once where the run is."""
    print(line, flush=True)


SOURCES = {
    "constant": (constant_candidates, ()),
    "GLM": (linear_candidates, ()),
    "LightGBM": (boosted_candidates, ()),
    "MLP": (network_candidates, ("torch",)),
    "discrimination-free": (discrimination_free_candidates, ()),
    "EquiPy": (equipy_candidates, ("equipy",)),
    "CorrelationRemover": (remover_candidates, ("fairlearn",)),
    "fairlearn adversarial": (adversarial_candidates, ("fairlearn", "torch")),
}


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
    y, mean = task.held.claims, prediction * task.held.exposure
    if task.binary:
        return -2.0 * (xlogy(y, mean) + xlogy(1.0 - y, 1.0 - mean))
    return 2.0 * (xlogy(y, y / mean) - y + mean)


def measure(task, prediction):
    """The published columns, and JSD with a bandwidth by Silverman's rule, KS, and the predicted / observed total."""
    counts = prediction * task.held.exposure
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
            row = measure_counts(task.held, prediction)
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
        counts = (prediction * self.task.held.exposure)[self.large_enough]
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
        if all(row[column] < value for column, value in values.items())
    ]


def run(task, settings, seed, report=progress):
    """Rows by label: what each candidate is, its measures, its intervals; and the draws behind them."""
    resamples = Resamples(task, settings.n_resamples, seed)
    estimates = None
    if not task.binary:
        estimates = discrimination_free_model(task, settings).best_estimates(frame_features(task.held, False))
    rows, draws = {}, {}
    for candidate in all_candidates(task, settings, report):
        label = candidate.label
        drawn = resamples.draws(candidate.prediction)
        measured = measure(task, candidate.prediction)
        if estimates is not None:
            # Given the best estimates of LightGBM: of other models, what they see otherwise counts too.
            measured["PD"] = proxy_discrimination(candidate.prediction, estimates, sample_weight=task.held.exposure)
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

SHOWN = (
    "RPS",
    "deviance",
    "CCdCov",
    "JdCov",
    "JdCov net",
    "JSD",
    "JSD null",
    "JSD silverman",
    "UF",
    "KS",
    "PD",
    "total",
)


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
        cells = [f"published: {published_name(*key)}", "no", *(number(values.get(name), name) for name in columns)]
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
        paths["published"] = [(row["JSD"], row["deviance"]) for row in PUBLISHED_TEST.values()]
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
        task = load_task(name, settings.n_policies, options.seed)
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
