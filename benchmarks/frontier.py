"""Accuracy against fairness, compared where models are equally fair: own models, EquiPy, the discrimination-free price.

    FAIRDCOV_DATA=folder python benchmarks/frontier.py [pg15training | compas | randhie | fair] [--seeds 0 1 2 3 4]
        [--processes 16] [--policies N] [--others] [--models EquiPy staged --epsilons 0 0.5]
    python benchmarks/frontier.py --show

Every model is fitted on the same rows and measured on the same rows held back, for several splits; rates, weighted by
exposure. A divergence between groups is never 0 by chance, and what it is by chance differs between models: it is shown
net of that as well as raw. Models are compared with each point of the reference, EquiPy's transport with the protected
attributes, where their own path has the same measure (JSD and CCdCov, net and raw, UF), by interpolation between two
strengths; differences in deviance are paired by row. Results are added to frontier.json beside this script, from
which --show prints the tables and --picture FILE draws; with --models only these are fitted, and replace what is stored
of them. Of COMPAS and of the points of the reference the project keeps
what the page of benchmarks shows or names. Packages that are not installed are named and left out.
"""

import argparse
import json
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from candidates import (
    QUICK,
    Candidate,
    Settings,
    boosted_candidates,
    boosting_settings,
    frame_features,
    levels,
    linear_candidates,
    linear_features,
    load_task,
    network_candidates,
)
from comparison import AGE_GROUPS, ALPHA, print_table
from competitors import (
    adversarial_candidates,
    constant_candidates,
    discrimination_free_candidates,
    equipy_candidates,
    remover_candidates,
    unpenalised_booster,
)
from portfolios import PORTFOLIOS
from scipy.special import xlogy
from tables import stored_frontier
from unaware import TariffGLM, follow, teller

from fairdcov import (
    DCovLGBMClassifier,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    FairBarycentreRegressor,
    StagedFairRegressor,
    UnawareFairRegressor,
    UnawareFeatures,
)
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, divergence_summary, unfairness_ratio

RESULTS = Path(__file__).with_suffix(".json")
MEASURES = ("net JSD", "JSD", "UF", "CCdCov", "net CCdCov")
N_NULL = 20  # permutations for the mean CCdCov of groups that do not matter
BARYCENTRES = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, np.inf)
REFERENCE = "EquiPy, LightGBM with S"


def progress(line):
    """Say at once where the run is."""
    print(line, flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


def path_of(task, family, method, model, strengths, aware=False):
    """A candidate for every strength of an own model that takes data frames."""
    X, X_held = (frame_features(rows, aware) for rows in (task.fit, task.held))
    for strength, prediction in follow(model, X, X_held, task, strengths).items():
        yield Candidate(family, method, float(strength), aware, prediction)


def booster(task, settings):
    """LightGBM with penalised rounds."""
    rounds = settings.n_penalised_rounds
    return DCovLGBMRegressor(objective="poisson", n_penalised_rounds=rounds, **boosting_settings(settings))


def glm_paths(task, settings):
    """The penalised GLM, on the features and on estimates and posteriors as well."""
    model = TariffGLM(alpha=ALPHA)
    yield from path_of(task, "GLM", "features", model, settings.strengths)
    small = teller(len(task.fit))
    featured = UnawareFairRegressor(model, unpenalised_booster(task, settings), small, columns="all")
    yield from path_of(task, "GLM", "UnawareFeatures", featured, settings.strengths)


def boosted_paths(task, settings):
    """LightGBM on the features, with posteriors as well, and with S among them."""
    model, strengths = booster(task, settings), settings.boosting_strengths
    yield from path_of(task, "LightGBM", "features", model, strengths)
    yield from path_of(task, "LightGBM", "features and S", model, strengths, aware=True)
    small = teller(len(task.fit))
    featured = UnawareFairRegressor(model, unpenalised_booster(task, settings), small, columns="probabilities")
    yield from path_of(task, "LightGBM", "UnawareFeatures", featured, strengths)


def staged_paths(task, settings):
    """The penalised GLM, and LightGBM that begins where it ends, half of its rounds without a penalty."""
    trees = booster(task, settings).set_params(n_estimators=settings.n_estimators // 2)
    model = StagedFairRegressor(TariffGLM(alpha=ALPHA), trees)
    yield from path_of(task, "GLM, then LightGBM", "features", model, settings.boosting_strengths)


def binary_features_paths(task, settings):
    """Logistic regression and LightGBM of two classes on estimates and posteriors as well."""
    people = levels(task, task.fit.protected)
    for family, model, aware_frames, strengths, columns in (
        ("GLM", DCovLogisticRegression(alpha=1.0), linear_features(task, False), settings.strengths, "all"),
        (
            "LightGBM",
            DCovLGBMClassifier(n_penalised_rounds=settings.n_penalised_rounds, **boosting_settings(settings)),
            [task.fit.features, task.held.features],
            settings.boosting_strengths,
            "probabilities",
        ),
    ):
        X, X_held = aware_frames
        features = UnawareFeatures(
            unpenalised_booster(task, settings), teller(len(task.fit)), link="logit", columns=columns
        )
        table = features.fit_transform(X, task.fit.target, sensitive_features=people)
        tables = list(features.tables_of_folds(X_held))
        for fitted in model.strength_path(table, task.fit.target, strengths, sensitive_features=people):
            prediction = np.mean([fitted.predict_proba(each)[:, 1] for each in tables], axis=0)
            yield Candidate(family, "UnawareFeatures", float(fitted.strength), False, prediction)


def barycentre_paths(task, settings):
    """Fair barycentres of LightGBM, with S at prediction and without."""
    given = {"sample_weight": task.fit.exposure, "sensitive_features": task.fit.protected}
    for aware in (True, False):
        of_kind = {"loss": "binomial", "bins": AGE_GROUPS} if task.binary else {}
        learners = unpenalised_booster(task, settings), teller(len(task.fit))
        model = FairBarycentreRegressor(*learners, aware=aware, **of_kind)
        seen = {"sensitive_features": task.held.protected} if aware else {}
        path = model.strength_path(task.fit.features, task.fit.target, BARYCENTRES, **given)
        for fitted in path:
            prediction = fitted.predict(task.held.features, **seen)
            yield Candidate(
                "barycentre", f"{'with' if aware else 'without'} S", float(fitted.strength), aware, prediction
            )


# For policies; the second group only when asked for, and, with probabilities in place of rates, for COMPAS.
SOURCES = {
    "constant": (constant_candidates, ()),
    "EquiPy": (equipy_candidates, ("equipy",)),
    "barycentre": (barycentre_paths, ()),
    "GLM": (glm_paths, ()),
    "LightGBM": (boosted_paths, ()),
    "staged": (staged_paths, ()),
    "discrimination-free": (discrimination_free_candidates, ()),
}
OTHERS = {
    "MLP": (network_candidates, ("torch",)),
    "CorrelationRemover": (remover_candidates, ("fairlearn",)),
    "fairlearn adversarial": (adversarial_candidates, ("fairlearn", "torch")),
}
BINARY = {
    "constant": (constant_candidates, ()),
    "EquiPy": (equipy_candidates, ("equipy",)),
    "barycentre": (barycentre_paths, ()),
    "features": (binary_features_paths, ()),
    "GLM": (linear_candidates, ()),
    "LightGBM": (boosted_candidates, ()),
}


def all_candidates(task, settings, sources, report=progress):
    """Every candidate once."""
    seen = set()
    for name, (source, packages) in sources.items():
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            report(f"{name} left out: {', '.join(missing)} not installed")
            continue
        start = time.perf_counter()
        for candidate in source(task, settings):
            # Strength 0 is on every path of a form.
            if candidate.label not in seen:
                seen.add(candidate.label)
                yield candidate
        report(f"{name}: {time.perf_counter() - start:.0f} s")


# ---------------------------------------------------------------------------------------------------------------------
# Measures, and comparisons where they are equal
# ---------------------------------------------------------------------------------------------------------------------


def deviances(task, prediction):
    """Deviance of each row held back per unit of exposure: Poisson, or binomial."""
    y = task.held.target
    if task.binary:
        return -2.0 * (xlogy(y, prediction) + xlogy(1.0 - y, 1.0 - prediction))
    return 2.0 * (xlogy(y, y / prediction) - y + prediction)


def measure(task, prediction):
    """Deviance, the measures at which models are matched, and predicted / observed, in all and by group."""
    weights = task.held.exposure
    given = {"sensitive_features": task.held.protected, "sample_weight": weights}
    with warnings.catch_warnings():
        # Groups below the least size: known.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        summary = divergence_summary(None, prediction, **given, **task.group_options)
        row = {
            "deviance": weights @ deviances(task, prediction) / weights.sum(),
            "net JSD": summary.net,
            "JSD": summary.divergence,
            "UF": unfairness_ratio(None, prediction, **given, **task.group_options),
            "CCdCov": ccdcov(None, prediction, **given),
            "net CCdCov": net_ccdcov(prediction, given),
            "total": weights @ prediction / (weights @ task.held.target),
        }
    return {name: float(value) for name, value in row.items()}


def net_ccdcov(prediction, given):
    """CCdCov less its mean where attributes fall to the rows at random."""
    rng, people = np.random.default_rng(0), given["sensitive_features"]
    null = [
        ccdcov(None, prediction, **given | {"sensitive_features": people.iloc[rng.permutation(len(people))]})
        for _ in range(N_NULL)
    ]
    return ccdcov(None, prediction, **given) - np.mean(null)


def at_measure(points, name, wanted):
    """Deviances of the rows where a path first gets down to a measure, and whether it does.

    ``points`` are (measures, deviances of the rows) from the lowest strength to the highest; between two of them both
    are interpolated. A path that does not get there is taken at its lowest.
    """
    if points[0][0][name] <= wanted:
        return points[0][1], True
    for before, after in pairwise(points):
        if after[0][name] <= wanted:
            share = (before[0][name] - wanted) / (before[0][name] - after[0][name])
            return (1 - share) * before[1] + share * after[1], True
    return min(points, key=lambda point: point[0][name])[1], False


def compare(task, paths):
    """Each path beside each point of the reference where it has the same measure: difference in deviance, paired."""
    weights = task.held.exposure / task.held.exposure.sum()
    for strength, measured, of_reference in paths.get(REFERENCE, ()):
        for path, points in paths.items():
            if path == REFERENCE or len(points) < 2:
                continue
            for name in MEASURES:
                found, reached = at_measure([point[1:] for point in points], name, measured[name])
                difference = found - of_reference
                mean = float(weights @ difference)
                error = float(np.sqrt(weights**2 @ (difference - mean) ** 2))
                yield {
                    "epsilon": 1 - strength,
                    "path": path,
                    "measure": name,
                    "difference": mean,
                    "std_error": error,
                    "reached": reached,
                }


def rounded(value):
    """The same with five digits, as it is stored."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def a_line_each(stored):
    """JSON of what is stored: of a list of entries their names once, then a line each, which is half as long."""
    if isinstance(stored, dict):
        parts = [f"{json.dumps(name)}: {a_line_each(part)}" for name, part in stored.items()]
        return "{\n" + ",\n".join(parts) + "\n}"
    if isinstance(stored, list):
        names = list(dict.fromkeys(name for entry in stored for name in entry))
        table = [names, *([entry.get(name) for name in names] for entry in stored)]
        lines = (json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in table)
        return "[\n" + ",\n".join(lines) + "\n]"
    return json.dumps(stored)


def run(task, settings, sources, report=progress):
    """Measures of every candidate of one split, comparisons, and the least and the most predicted / observed."""
    return assembled(task, list(measured(task, settings, sources, report)))


def measured(task, settings, sources, report=progress):
    """Of every candidate its row of figures, and the deviances of the rows held back."""
    weights = task.held.exposure
    groups = levels(task, task.held.protected).agg(" | ".join, axis=1)
    claims = pd.Series(weights * task.held.target).groupby(groups.to_numpy()).sum()
    for candidate in all_candidates(task, settings, sources, report):
        found = measure(task, candidate.prediction)
        expected = pd.Series(weights * candidate.prediction).groupby(groups.to_numpy()).sum()
        charged = (expected / claims)[claims > 0]
        row = {"path": candidate.path, "strength": candidate.strength, "aware": candidate.aware}
        report(f"  {candidate.label}: deviance {found['deviance']:.5f}, net JSD {found['net JSD']:.2e}")
        yield (
            row | found | {"charged": [charged.min(), charged.max()]},
            found,
            deviances(task, candidate.prediction),
        )


def assembled(task, found):
    """What is stored of a split."""
    paths, rows, weights = {}, [], task.held.exposure
    for row, measures, of_rows in found:
        rows.append(row)
        paths.setdefault(row["path"], []).append((row["strength"], measures, of_rows))
    for points in paths.values():
        points.sort(key=lambda point: point[0] or 0)
    # Beside the reference at its end, for the error bars of the picture.
    if REFERENCE in paths:
        end, shares = paths[REFERENCE][-1][2], weights / weights.sum()
        for row in rows:
            own = next(point[2] for point in paths[row["path"]] if point[0] == row["strength"])
            difference = own - end
            mean = float(shares @ difference)
            row |= {"difference": mean, "std_error": float(np.sqrt(shares**2 @ (difference - mean) ** 2))}
    found = {
        "rows_fitted": len(task.fit.target),
        "rows_held_back": len(task.held.target),
        "rows": rows,
        "comparisons": list(compare(task, paths)),
    }
    return rounded(found)


def merged(stored, found):
    """What is stored of a split with what was found of some of its models."""
    keys = {"rows": ("path", "strength"), "comparisons": ("epsilon", "path", "measure")}
    together = {**stored, **found}
    for part, names in keys.items():
        entries = {tuple(entry[name] for name in names): entry for entry in stored.get(part, ())}
        entries |= {tuple(entry[name] for name in names): entry for entry in found[part]}
        together[part] = list(entries.values())
    return together


def part_of_run(data, n_policies, seed, settings, name):
    """One source on one split, in a process of its own."""
    warnings.simplefilter("ignore")
    task = load_task(data, n_policies, seed)
    source = (SOURCES | OTHERS | (BINARY if task.binary else {}))[name]
    return list(measured(task, settings, {name: source}, report=lambda line: None))


def parts_of_source(name, settings):
    """Settings of the processes of one source: EquiPy takes a while for each ε."""
    if name != "EquiPy":
        return [settings]
    return [replace(settings, epsilons=(epsilon,)) for epsilon in settings.epsilons]


def in_processes(options, settings, names):
    """All splits, every source of each in a process of its own."""
    with ProcessPoolExecutor(options.processes) as pool:
        n_policies = options.policies or settings.n_policies
        # The long ones first.
        names = sorted(names, key=lambda name: name not in ("LightGBM", "GLM", "EquiPy"))
        runs = {
            seed: [
                pool.submit(part_of_run, options.data, n_policies, seed, part, name)
                for name in names
                for part in parts_of_source(name, settings)
            ]
            for seed in options.seeds
        }
        for seed, parts in runs.items():
            found, seen = [], set()
            for part in parts:
                for entry in part.result():
                    key = entry[0]["path"], entry[0]["strength"]
                    if key not in seen:
                        seen.add(key)
                        found.append(entry)
            yield seed, assembled(load_task(options.data, n_policies, seed), found)


def of_splits(options, settings, sources):
    """What is found of each split."""
    if options.processes > 1:
        yield from in_processes(options, settings, list(sources))
        return
    for seed in options.seeds:
        task = load_task(options.data, options.policies or settings.n_policies, seed)
        progress(f"split {seed}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield seed, run(task, settings, sources)


# ---------------------------------------------------------------------------------------------------------------------
# Tables and the picture, from stored results
# ---------------------------------------------------------------------------------------------------------------------


def gather(splits, part, keys):
    """Entries of all splits with the same keys, in the order of the first split that has them."""
    found = {}
    for split in splits.values():
        for entry in split[part]:
            found.setdefault(tuple(entry[key] for key in keys), []).append(entry)
    return found


def mean_and_error(entries, key):
    """Mean over splits, and its standard error from the spread between them; NaN of one split."""
    values = np.array([entry[key] for entry in entries])
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return values.mean(), error


def show(splits):
    """Print the measures of every model, and the comparisons at every point of the reference."""
    rows = gather(splits, "rows", ("path", "strength"))
    lines = []
    for (path, strength), entries in rows.items():
        means = [mean_and_error(entries, key)[0] for key in ("deviance", *MEASURES, "total")]
        shown = [f"{means[0]:.5f}", *(f"{value:.2e}" for value in means[1:-1]), f"{means[-1]:.3f}"]
        charged = np.mean([entry["charged"] for entry in entries], axis=0)
        lines.append(
            [
                path,
                "" if strength is None else f"{strength:g}",
                *shown,
                f"{charged[0]:.2f} to {charged[1]:.2f}",
            ]
        )
    print_table(["model", "strength", "deviance", *MEASURES, "total", "charged / observed by group"], lines)
    lines = []
    for (epsilon, path, name), entries in gather(splits, "comparisons", ("epsilon", "path", "measure")).items():
        each = ", ".join(f"{entry['difference']:+.4f}" + ("" if entry["reached"] else "*") for entry in entries)
        paired = np.mean([entry["std_error"] for entry in entries])
        mean, error = mean_and_error(entries, "difference")
        reached = f"{sum(entry['reached'] for entry in entries)} of {len(entries)}"
        cells = [f"{epsilon:g}", name, path, f"{mean:+.5f}", f"{paired:.5f}", f"{error:.5f}", reached, each]
        lines.append(cells)
    header = ["ε", "at its", "model", "difference in deviance", "paired error", "between splits", "reached", "each"]
    print_table(header, sorted(lines, key=lambda line: (line[0], MEASURES.index(line[1]))))


def draw(splits, file):
    """Deviance less that of EquiPy's whole transport against net divergence, with paired errors: means over splits."""
    from matplotlib import pyplot

    rows = gather(splits, "rows", ("path", "strength"))
    figure, ax = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    # Others in black, so that the colours last longer for the own ones.
    colours, markers = cycle(f"C{number}" for number in (0, 1, 2, 3, 4, 5, 6, 8, 9, 7)), cycle("sD^v")
    for path in dict.fromkeys(path for path, _ in rows):
        if path.startswith("constant"):
            continue
        found = {strength or 0.0: entries for (name, strength), entries in rows.items() if name == path}
        entries = [found[strength] for strength in sorted(found)]
        x = np.array([mean_and_error(each, "net JSD")[0] for each in entries])
        y = np.array([mean_and_error(each, "difference")[0] for each in entries])
        error = np.array([np.mean([entry["std_error"] for entry in each]) for each in entries])
        # A path that turns back costs more and is no fairer: up to its lowest point.
        shown = slice(int(np.argmin(x)) + 1)
        x, y, error = x[shown], y[shown], error[shown]
        own = not path.startswith(("EquiPy", "discrimination"))
        aware = entries[0][0]["aware"]
        ax.errorbar(
            1e3 * x,
            1e3 * y,
            1e3 * error,
            label=path,
            color=next(colours) if own else "black",
            marker="o" if own else next(markers),
            markersize=4,
            linewidth=1.6 if own else 1.0,
            linestyle=("--" if aware else "-") if len(entries) > 1 else "none",
            capsize=2,
            elinewidth=0.8,
        )
    ax.axhline(0, color="0.8", zorder=0)
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xlim(right=1.3 * ax.get_xlim()[1])
    ax.set_xlabel("Jensen–Shannon divergence between groups, net of chance, 10⁻³ (dashed: S at prediction)")
    ax.set_ylabel("deviance less that of EquiPy's transport, 10⁻³")
    ax.legend(fontsize=8, ncols=2)
    first = next(iter(splits.values()))
    number = f"{len(splits)} splits" if len(splits) > 1 else "one split"
    ax.set_title(f"{number}, {first['rows_fitted']:,} rows fitted, {first['rows_held_back']:,} held back")
    figure.savefig(file, dpi=90)
    pyplot.close(figure)


def main(arguments=None):
    """Run the benchmark, print its tables and draw its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="pg15training", choices=["pg15training", "compas", *PORTFOLIOS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the splits")
    parser.add_argument("--policies", type=int, help="a random part of the portfolio")
    parser.add_argument("--quick", action="store_true", help="few policies, strengths and rounds, to see it run")
    parser.add_argument("--others", action="store_true", help="networks and fairlearn's methods as well")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--processes", type=int, default=1, help="each source of each split in one of its own")
    parser.add_argument(
        "--models", nargs="+", help="only these, such as EquiPy staged; beside EquiPy they are compared"
    )
    parser.add_argument(
        "--epsilons", type=float, nargs="+", help="of EquiPy, the share of the differences that is left"
    )
    parser.add_argument("--show", action="store_true", help="fit nothing; print what is stored")
    parser.add_argument("--picture", metavar="FILE", help="draw what is stored")
    options = parser.parse_args(arguments)
    stored = stored_frontier(options.results) if options.results.exists() else {}
    splits = stored.setdefault(options.data, {})
    if not options.show:
        settings = QUICK if options.quick else Settings()
        if options.epsilons:
            settings = replace(settings, epsilons=tuple(options.epsilons))
        sources = (BINARY if options.data == "compas" else SOURCES) | (OTHERS if options.others else {})
        if options.models:
            sources = {name: sources[name] for name in options.models}
        for seed, found in of_splits(options, settings, sources):
            splits[str(seed)] = merged(splits.get(str(seed), {}), found) if options.models else found
            # After every split: a long run that is cut short keeps what it has.
            options.results.write_text(a_line_each(stored) + "\n", encoding="utf-8")
    if splits:
        show(splits)
        if options.picture:
            draw(splits, options.picture)


if __name__ == "__main__":
    main()
