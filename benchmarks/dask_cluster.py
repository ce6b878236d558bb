"""Dask: time of an evaluation and of a fit on a local cluster, memory of the workers; XGBoost beside one process.

    python benchmarks/dask_cluster.py linear --rows 1000000 10000000 --workers 4 --memory 1.5GB
    python benchmarks/dask_cluster.py xgboost --rows 200000

Rows are made in the workers, block by block; none of the processes ever holds all of them.
"""

import argparse
import resource
import time
from itertools import product

import numpy as np
from sklearn.base import clone

COLUMNS = 20
BLOCK = 250_000
STRENGTH = 10.0


def make_block(number, rows):
    """Policies: 20 numbers, two protected attributes of which two of them are proxies, exposure and a frequency."""
    rng = np.random.default_rng(number)
    X = rng.normal(size=(rows, COLUMNS))
    gender, region = rng.integers(2, size=rows), rng.integers(10, size=rows)
    X[:, 0] += gender
    X[:, 1] += 0.2 * region
    exposure = rng.uniform(0.2, 1.0, rows)
    coefficients = np.where(np.arange(COLUMNS) % 2, 0.1, -0.1)
    coefficients[:2] = 0.3, 0.2
    mean = np.exp(-2.0 + X @ coefficients + 0.2 * gender + 0.02 * region)
    people = np.column_stack([np.array(list("fm"))[gender], np.array(list("abcdefghij"))[region]])
    return X, rng.poisson(mean * exposure) / exposure, exposure, people


def portfolio(rows, block, single=False):
    """Collections of so many rows: features, in single precision on demand, frequency, exposure, attributes."""
    import dask
    import dask.array as da

    sizes = [min(block, rows - start) for start in range(0, rows, block)]
    blocks = [dask.delayed(make_block, nout=4)(number, size) for number, size in enumerate(sizes)]
    example = make_block(0, 1)
    collections = [
        da.concatenate(
            [
                da.from_delayed(made[position], (size, *values.shape[1:]), values.dtype)
                for made, size in zip(blocks, sizes, strict=True)
            ]
        )
        for position, values in enumerate(example)
    ]
    if single:
        collections[0] = collections[0].astype("float32")
    return collections


def in_memory(rows, block):
    """The same rows here."""
    sizes = [min(block, rows - start) for start in range(0, rows, block)]
    made = [make_block(number, size) for number, size in enumerate(sizes)]
    return [np.concatenate(parts) for parts in zip(*made, strict=True)]


def peak_gigabytes():
    """Largest resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def load_all():
    """What a worker loads before it holds any rows."""
    import dask.dataframe

    import fairdcov.distributed
    import fairdcov.linear_model

    return dask.dataframe.__name__, fairdcov.distributed.__name__, fairdcov.linear_model.__name__


def resident_gigabytes():
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / 1e9


def spilled_gigabytes(dask_worker):
    """What a worker has put on disk."""
    spilled = getattr(dask_worker.data, "spilled_total", None)
    return 0.0 if spilled is None else spilled.disk / 1e9


def linear(options, client):
    """One line for each number of rows; the growth of the time of an evaluation."""
    from fairdcov import DCovPoissonRegressor
    from fairdcov.distributed import DaskDCovRegressor
    from fairdcov.distributed._linear import DaskParts
    from fairdcov.distributed._partitions import read_partitions
    from fairdcov.linear_model import BlockProblem

    heads = zip(
        (12, 7, 10, 13, 10, 7, 8, 10, 8),
        ("rows", "blocks", "prepare s", "evaluation s", "held B/row", "on disk", "fit s", "worker GB", "here GB"),
        strict=True,
    )
    print(*(name.rjust(width) for width, name in heads))
    found = []
    client.run(load_all)
    before = sum(client.run(resident_gigabytes).values())
    for rows in options.rows:
        X, y, exposure, people = portfolio(rows, options.block, options.single)
        estimator = DCovPoissonRegressor(strength=STRENGTH, alpha=1e-6, n_threads=1)
        start = time.perf_counter()
        parts = DaskParts(
            read_partitions(X=X, y=y, sample_weight=exposure, sensitive_features=people, offset=None),
            not options.forget,
        )
        problem = BlockProblem(estimator, parts, [STRENGTH])
        parameters = np.append(np.full(COLUMNS, 0.01), -2.0)
        problem.objective.parts_gradient(parameters, STRENGTH)
        prepared = time.perf_counter() - start
        times = []
        for step in range(options.repeats):
            start = time.perf_counter()
            problem.objective.parts_gradient(parameters + 0.01 * (step + 1), STRENGTH)
            times.append(time.perf_counter() - start)
        per_row = (sum(client.run(resident_gigabytes).values()) - before) * 1e9 / rows
        on_disk = sum(client.run(spilled_gigabytes).values())
        del problem, parts
        fit = float("nan")
        if not options.no_fit:
            start = time.perf_counter()
            model = DaskDCovRegressor(
                DCovPoissonRegressor(strength=STRENGTH, alpha=1e-6), keep_features=not options.forget
            )
            model.fit(X, y, sample_weight=exposure, sensitive_features=people)
            fit = time.perf_counter() - start
        worker = max(client.run(peak_gigabytes).values())
        found.append((rows, min(times)))
        print(
            f"{rows:>12,} {-(-rows // options.block):>7} {prepared:>10.1f} {min(times):>13.3f} {per_row:>10.0f} "
            f"{on_disk:>7.2f} {fit:>8.1f} {worker:>10.2f} {peak_gigabytes():>8.2f}",
            flush=True,
        )
    if len(found) > 1:
        (few, first), (many, last) = found[0], found[-1]
        print(f"growth of an evaluation: rows ** {np.log(last / first) / np.log(many / few):.2f}")
    if options.compare:
        compare(options, found)


def compare(options, found):
    """The fewest rows in one process: coefficients and the time of an evaluation."""
    from fairdcov import CCDCovPenalty, DCovPoissonRegressor
    from fairdcov.distributed import DaskDCovRegressor

    rows = found[0][0]
    X, y, exposure, people = in_memory(rows, options.block)
    tight = {"strength": STRENGTH, "alpha": 1e-6, "tol": 1e-6}
    start = time.perf_counter()
    expected = DCovPoissonRegressor(CCDCovPenalty(method="grid"), **tight)
    expected.fit(X, y, sample_weight=exposure, sensitive_features=people)
    took = time.perf_counter() - start
    models = []
    for _ in range(2):
        X, y, exposure, people = portfolio(rows, options.block, options.single)
        model = DaskDCovRegressor(DCovPoissonRegressor(**tight))
        models.append(model.fit(X, y, sample_weight=exposure, sensitive_features=people).estimator_)
    apart = np.abs(models[0].coef_ / expected.coef_ - 1).max()
    same = models[0].coef_.tobytes() == models[1].coef_.tobytes()
    print(
        f"{rows:,} rows in one process: {took:.1f} s; coefficients apart by {apart:.1e}; two runs the same bits: {same}"
    )


def boosted(options):
    """Deviance and penalty of XGBoost over the workers and of one process with the rows in other orders."""
    from fairdcov import CCDCovPenalty, DCovXGBRegressor
    from fairdcov.distributed import DaskDCovXGBRegressor

    heads = zip(
        (12, 6, 8, 15, 8, 10, 12), ("rows", "digits", "strength", "", "seconds", "deviance", "penalty"), strict=True
    )
    print(*(name.rjust(width) for width, name in heads), " apart by")
    for rows, digits, strength in product(options.rows, options.digits, options.strengths):
        estimator = DCovXGBRegressor(
            CCDCovPenalty(method="grid"),
            strength=strength,
            objective="poisson",
            n_estimators=options.rounds,
            n_penalised_rounds=options.rounds,
            validation_fraction=None,
            max_depth=4,
            learning_rate=0.1,
            random_state=0,
            n_jobs=options.threads,
        )
        block = min(options.block, rows // (2 * options.workers))
        here, (X, y, exposure, people) = in_memory(rows, block), portfolio(rows, block)
        if digits is not None:
            here[0], X = here[0].round(digits), X.round(digits)
        first = None
        for who in ["one process", *[f"another order {seed}" for seed in range(options.orders)], "workers"]:
            start = time.perf_counter()
            if who == "workers":
                model = DaskDCovXGBRegressor(estimator)
                fitted = model.fit(X, y, sample_weight=exposure, sensitive_features=people).estimator_
            else:
                order = np.random.default_rng(int(who[-1])).permutation(rows) if first else slice(None)
                features, target, weight, attributes = (values[order] for values in here)
                fitted = clone(estimator).fit(features, target, sample_weight=weight, sensitive_features=attributes)
            seconds, apart = time.perf_counter() - start, ""
            first = first or fitted
            if fitted is not first:
                names = ("loss_value_", "penalty_value_")
                apart = ", ".join(f"{getattr(fitted, name) / getattr(first, name) - 1:.1e}" for name in names)
            print(
                f"{rows:>12,} {digits!s:>6} {strength:>8g} {who:>15} {seconds:>8.1f} {2 * fitted.loss_value_:>10.6f} "
                f"{fitted.penalty_value_:>12.4e}  {apart}",
                flush=True,
            )


def main():
    """Start the cluster and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["linear", "xgboost"])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of a worker")
    parser.add_argument("--memory", default="1.5GB", help="of a worker")
    parser.add_argument("--block", type=int, default=BLOCK, help="rows of a partition")
    parser.add_argument("--repeats", type=int, default=5, help="evaluations that are timed")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.2, 2.0], help="of XGBoost")
    digits = {"type": lambda text: None if text == "all" else int(text), "default": [None, 1]}
    parser.add_argument("--digits", nargs="+", help="of the features of XGBoost, after the point; or all", **digits)
    parser.add_argument("--orders", type=int, default=2, help="of the rows, in one process, beside the first")
    parser.add_argument("--no-fit", action="store_true")
    parser.add_argument("--single", action="store_true", help="features in single precision")
    parser.add_argument("--forget", action="store_true", help="features are made anew for each evaluation")
    parser.add_argument("--compare", action="store_true", help="with the fit of the fewest rows in memory")
    options = parser.parse_args()
    from dask.distributed import Client, LocalCluster

    cluster = {"threads_per_worker": options.threads, "memory_limit": options.memory, "dashboard_address": None}
    with LocalCluster(n_workers=options.workers, **cluster) as started, Client(started) as client:
        print(f"{options.workers} workers of {options.threads} thread(s) and {options.memory}", flush=True)
        if options.what == "linear":
            linear(options, client)
        else:
            boosted(options)


if __name__ == "__main__":
    main()
