"""Fits from Parquet files that are never in memory as a whole: time, passes and peak memory, by number of rows.

    python benchmarks/blocks.py [--rows 1_000_000 10_000_000] [--columns 30] [--threads 2] [--folder FOLDER]

Each size is fitted in a process of its own, whose peak resident memory counts. The file is written by another one.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import fairdcov
from fairdcov import CCDCovPenalty, DCovPoissonRegressor
from fairdcov.linear_model import BlockParts, BlockProblem, ParquetBlocks

GROUP = 500_000
PENALTY = CCDCovPenalty(method="grid")


def names(n_columns):
    """Names of the features."""
    return [f"x{column}" for column in range(n_columns)]


def policies(generator, n_rows, n_columns):
    """A book of claims with 20 profiles that drive some of the features."""
    gender, region = generator.integers(0, 2, n_rows), generator.integers(0, 10, n_rows)
    X = generator.normal(size=(n_rows, n_columns), scale=0.5)
    X[:, 0] += gender
    X[:, 1] += region / 5
    exposure = generator.uniform(0.1, 1.0, n_rows)
    effects = 0.3 * np.cos(np.arange(n_columns))
    claims = generator.poisson(exposure * np.exp(-1.5 + X @ effects / np.sqrt(n_columns / 5))).astype(np.float64)
    frame = pd.DataFrame(X, columns=names(n_columns))
    return frame.assign(
        claims=claims,
        exposure=exposure,
        gender=np.array(["f", "m"])[gender],
        region=np.array(list("abcdefghij"))[region],
    )


def write(path, n_rows, n_columns):
    """Write the file by row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(0)
    writer = None
    for start in range(0, n_rows, GROUP):
        table = pa.Table.from_pandas(policies(generator, min(GROUP, n_rows - start), n_columns), preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def blocks_of(path, n_columns):
    """The blocks of the file."""
    return ParquetBlocks(
        path,
        features=names(n_columns),
        target="claims",
        exposure="exposure",
        sensitive_features=["gender", "region"],
    )


def fit(path, n_columns, threads, strength):
    """Fit the file and print figures as JSON."""
    found, start = {}, time.perf_counter()
    blocks = blocks_of(path, n_columns)
    for _ in blocks.features_only():
        pass
    found["read"] = time.perf_counter() - start
    model = DCovPoissonRegressor(PENALTY, strength=strength, alpha=1e-6, n_threads=threads)
    start = time.perf_counter()
    problem = BlockProblem(model, BlockParts(blocks), [strength])
    found["first pass"] = time.perf_counter() - start
    timed = {"evaluation": [], "step": []}
    evaluate = problem.objective.parts_gradient

    def clocked(parameters, strength=0.0):
        begun = time.perf_counter()
        result = evaluate(parameters, strength)
        timed["evaluation" if strength else "step"].append(time.perf_counter() - begun)
        return result

    problem.objective.parts_gradient = clocked
    _, attributes = problem.solve(strength)
    found["fit"] = time.perf_counter() - start
    found["evaluations"], found["steps"] = len(timed["evaluation"]), len(timed["step"])
    found["evaluation"], found["step"] = float(np.median(timed["evaluation"])), float(np.median(timed["step"]))
    found["passes"] = problem.objective.n_passes + 1
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    found["objective"], found["converged"] = attributes["objective_value_"], bool(attributes["converged_"])
    found["penalty"] = attributes["penalty_value_"]
    found["coefficients"] = attributes["coef_"].tolist()
    print(json.dumps(found))


def in_memory(path, n_columns, threads, strength):
    """The same fit in memory, exact and on the grid, as JSON."""
    frame = pd.read_parquet(path)
    exposure = frame["exposure"].to_numpy()
    X, y = frame[names(n_columns)], frame["claims"].to_numpy() / exposure
    people = frame[["gender", "region"]]
    del frame
    found = {}
    for what, penalty in (("exact", "ccdcov"), ("grid", PENALTY)):
        model = DCovPoissonRegressor(penalty, strength=strength, alpha=1e-6, n_threads=threads)
        start = time.perf_counter()
        model.fit(X, y, sample_weight=exposure, sensitive_features=people)
        found[what] = {
            "fit": time.perf_counter() - start,
            "iterations": model.n_iter_,
            "objective": model.objective_value_,
            "coefficients": model.coef_.tolist(),
        }
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps(found))


def run(task, *arguments):
    """One of the tasks above in a process of its own."""
    command = [sys.executable, __file__, "--task", task, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else None


def main():
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--compare", type=int, default=1_000_000, help="rows up to which to fit in memory as well")
    parser.add_argument("--folder", help="where to write the files")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        name, path, *numbers = options.task
        if name == "write":
            write(path, *map(int, numbers))
        else:
            {"fit": fit, "memory": in_memory}[name](path, int(numbers[0]), int(numbers[1]), float(numbers[2]))
        return
    print(f"python {platform.python_version()}, numpy {np.__version__}, fairdcov {fairdcov.__version__}, ", end="")
    print(f"{platform.machine()}; {options.columns} columns, {options.threads} threads\n")
    print(
        "| rows | file (MB) | reading (s) | first pass (s) | step of the start (s) | evaluation (s) | steps | ", end=""
    )
    print("evaluations | passes | fit (s) | peak resident (MB) | converged |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    times = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for n_rows in options.rows:
            path = Path(folder) / "policies.parquet"
            run("write", path, n_rows, options.columns)
            arguments = path, options.columns, options.threads, options.strength
            found = run("fit", *arguments)
            times.append(found["evaluation"])
            print(
                f"| {n_rows:,} | {path.stat().st_size / 1e6:,.0f} | {found['read']:.1f} | {found['first pass']:.1f} | "
                f"{found['step']:.2f} | {found['evaluation']:.2f} | {found['steps']} | {found['evaluations']} | "
                f"{found['passes']} | {found['fit']:.0f} | {found['peak']:,.0f} | {found['converged']} |",
                flush=True,
            )
            if n_rows <= options.compare:
                other = run("memory", *arguments)
                coefficients = np.array(found["coefficients"])
                for what in ("exact", "grid"):
                    apart = np.abs(coefficients - other[what]["coefficients"]).max() / np.abs(coefficients).max()
                    objective = found["objective"] / other[what]["objective"] - 1
                    print(
                        f"  in memory, {what}: fit {other[what]['fit']:.1f} s, {other[what]['iterations']} iterations; "
                        f"objective of the blocks over it - 1 = {objective:.1e}, coefficients apart by {apart:.1e} of "
                        f"the largest; peak of both {other['peak']:,.0f} MB",
                        flush=True,
                    )
            path.unlink()
    if len(times) > 1:
        sizes = np.log(options.rows)
        print(f"\nexponent of the time of an evaluation: {np.polyfit(sizes, np.log(times), 1)[0]:.2f} (bar <= 1.1)")


if __name__ == "__main__":
    main()
