"""Tables of stored results, for the page of benchmarks (its directive ``stored-table``) and for whoever asks.

    python benchmarks/tables.py [NAME ...]

``results/NAME.json`` has what a script printed: ``script``, the day it was ``measured``, ``machine`` and ``versions``
(null where they were not noted), ``columns`` and ``rows``; :func:`store` writes one. The comparisons of the frontier
are computed from ``frontier.json``, what ``frontier.py`` stored.
"""

import datetime
import json
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
MEASURES = ("net JSD", "JSD", "UF", "CCdCov")
# Models in the order of the page, and whether they need the protected attributes to predict.
FRONTIER_MODELS = {
    "GLM, features": "no",
    "GLM, UnawareFeatures": "no",
    "LightGBM, features": "no",
    "LightGBM, UnawareFeatures": "no",
    "GLM, then LightGBM, features": "no",
    "barycentre, without S": "no",
    "LightGBM, features and S": "yes",
    "barycentre, with S": "yes",
}
# The share of the differences that the reference leaves.
FRONTIER_EPSILONS = {"frontier_whole": 0.0, "frontier_half": 0.5}
# What the same models are called where probabilities stand in place of rates.
BINARY_NAMES = {
    "GLM, features": "GLM, CCdCov",
    "LightGBM, features": "LightGBM, CCdCov",
    "LightGBM, features and S": "LightGBM, CCdCov, S in X",
}


def read(name):
    """A stored table: dict with ``columns``, ``rows`` and where they come from."""
    if name in FRONTIER_EPSILONS:
        return frontier_table(FRONTIER_EPSILONS[name])
    if name == "frontier_elsewhere":
        return elsewhere_table()
    return json.loads((FOLDER / "results" / f"{name}.json").read_text(encoding="utf-8"))


def names():
    """All tables that can be read."""
    stored = [file.stem for file in (FOLDER / "results").glob("*.json")]
    return sorted([*FRONTIER_EPSILONS, "frontier_elsewhere", *stored])


def store(name, script, columns, rows, folder=FOLDER / "results"):
    """Write a table beside the others, with the day, the class of the machine and the versions of what was run."""
    packages = ("fairdcov", "numpy", "scipy", "scikit-learn", "lightgbm", "xgboost", "torch")
    installed = {package.metadata["Name"]: package.version for package in metadata.distributions()}
    versions = {"python": platform.python_version(), **{p: installed[p] for p in packages if p in installed}}
    table = {
        "script": script,
        "measured": str(datetime.date.today()),
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        "versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
        "columns": list(columns),
        "rows": [[str(cell) for cell in row] for row in rows],
    }
    (folder / f"{name}.json").write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def stored_frontier(file=FOLDER / "frontier.json"):
    """What ``frontier.py`` stored, by portfolio and split: its tables as lists of entries with names."""

    def entries(part):
        names, *lines = part
        return [dict(zip(names, line, strict=True)) for line in lines]

    stored = json.loads(file.read_text(encoding="utf-8"))
    return {
        data: {
            seed: {name: entries(part) if isinstance(part, list) else part for name, part in split.items()}
            for seed, split in splits.items()
        }
        for data, splits in stored.items()
    }


def frontier_cell(splits, model, epsilon, measure, digits):
    """Difference in deviance to the reference where a path has its measure: mean of splits ± mean error; – if none."""
    found = [
        entry
        for split in splits.values()
        for entry in split["comparisons"]
        if (entry["epsilon"], entry["path"], entry["measure"]) == (epsilon, model, measure)
    ]
    if not found:
        return "–"
    mean, error = (np.mean([entry[key] for entry in found]) for key in ("difference", "std_error"))
    reached = sum(entry["reached"] for entry in found)
    short = "" if reached == len(found) else f" ({reached} of {len(found)})"
    return f"{mean:+.{digits}f} ± {error:.{digits}f}{short}".replace("-", "−")


def is_stored(splits, model):
    """Whether a model was run on all splits."""
    return all(any(entry["path"] == model for entry in split["comparisons"]) for split in splits.values())


def frontier_table(epsilon):
    """Difference in deviance to the reference at ``epsilon``, at each of its measures, over the splits."""
    splits = stored_frontier()["pg15training"]
    rows = [
        [model, aware, *(frontier_cell(splits, model, epsilon, measure, 4) for measure in MEASURES)]
        for model, aware in FRONTIER_MODELS.items()
        if is_stored(splits, model)
    ]
    return computed_table(["model", "S", *MEASURES], rows)


def elsewhere_table():
    """The same at the reference's net divergence, of the other portfolios, where it leaves nothing and where half."""
    stored = stored_frontier()
    rows = []
    for model, aware in FRONTIER_MODELS.items():
        if not is_stored(stored["randhie"], model):
            continue
        row = [model, aware]
        for data in ("randhie", "fair", "compas"):
            path = BINARY_NAMES.get(model, model) if data == "compas" else model
            row += [frontier_cell(stored[data], path, epsilon, "net JSD", 3) for epsilon in (0.0, 0.5)]
        rows.append(row)
    columns = [f"{data}, {part}" for data in ("randhie", "fair", "COMPAS") for part in ("whole", "ε = 0.5")]
    return computed_table(["model", "S", *columns], rows)


def computed_table(columns, rows):
    """A table of what ``frontier.py`` stored."""
    return {
        "script": "benchmarks/frontier.py",
        "measured": "2026-11-26",
        "machine": "any machine, no figure depends on it",
        "versions": "python 3.12.3 or 3.11.7, numpy 2.5.2 or 2.4.6, scikit-learn 1.9.1, LightGBM 4.7.0",
        "columns": columns,
        "rows": rows,
    }


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of two of them
# ---------------------------------------------------------------------------------------------------------------------


def number_and_range(cell):
    """Mean, smallest and largest of a cell such as ``0.76 (0.73–0.81)``; one number stands for all three."""
    found = [float(number) for number in re.findall(r"\d*\.?\d+", cell)]
    return (found[0], *found[1:3]) if len(found) > 2 else (found[0],) * 3


def draw_how_far():
    """Divergence of the training rows over its mean under random groups, trees alone and at strength 1,000."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 3.8), layout="constrained")
    rows = [(row[0].rsplit(", ", 1), number_and_range(row[1])) for row in read("how_far")["rows"]]
    models = list(dict.fromkeys(name for (name, _), _ in rows))
    for (name, what), (mean, low, high) in rows:
        alone = what == "trees alone"
        style = {"color": "0.55" if alone else "C0", "fmt": "o" if alone else "s"}
        label = what if name == models[0] else None
        axes.errorbar(mean, models.index(name), xerr=[[mean - low], [high - mean]], label=label, capsize=3, **style)
    axes.axvline(1.0, color="0.3", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(models)), models)
    axes.invert_yaxis()
    axes.set_xlabel("divergence of the training rows / that of random groups")
    axes.legend()
    return figure


def draw_paper():
    """Deviance against CCdCov, published and own; what a penalty changes is a line."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 3.8), layout="constrained")
    colors = {"published": "0.55", "own": "C0"}
    start = {}
    for row in read("paper")["rows"]:
        whose = row[0].partition(": ")[0]
        deviance, dependence = (number_and_range(cell)[0] for cell in (row[2], row[3]))
        first = start.setdefault(whose, (dependence, deviance))
        axes.plot(*zip(first, (dependence, deviance), strict=True), "o-", color=colors[whose], linewidth=0.8)
        if first == (dependence, deviance):
            axes.annotate(f"{whose}, no penalty", first, xytext=(-6, -10), textcoords="offset points", ha="right")
    axes.set_xlabel("dependence of the test policies: CCdCov, 10⁻⁵")
    axes.set_ylabel("Poisson deviance")
    axes.set_xlim(0, None)
    return figure


def main(arguments):
    """Print tables."""
    for name in arguments or names():
        table = read(name)
        print(f"\n{name}: {table['script']}, {table['measured']}")
        for row in [table["columns"], *table["rows"]]:
            print(" | ".join(row))


if __name__ == "__main__":
    main(sys.argv[1:])
