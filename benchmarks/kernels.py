"""Kernels against what one would use instead, as ratios measured in one run.

    python benchmarks/kernels.py [--quick | --large] [--json FILE]

Each ratio is the median over interleaved repetitions. PyTorch is compared with where it is installed.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
from timing import seconds

import fairdcov
from fairdcov import CCDCovPenalty, concatenated_distance_covariance, distance_covariance, with_probabilities

MEMORY_PROBE = """
import numpy as np, pandas as pd
from fairdcov import CCDCovPenalty

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024
rng = np.random.default_rng(0)
n = 1_000_000
S = pd.DataFrame({"gender": pd.Categorical.from_codes(rng.integers(0, 2, n), list("fm")),
                  "region": pd.Categorical.from_codes(rng.integers(0, 10, n), list("abcdefghij"))})
u = rng.gamma(2.0, size=n)
CCDCovPenalty().bind(S[:1000]).value_gradient(u[:1000])
before = status("VmRSS")
CCDCovPenalty(normalize=False).bind(S).value_gradient(u)
print(status("VmHWM") - before)
"""


def ratio(function, reference, repeat):
    """Median of the ratios of interleaved runs, and their range, after one warm-up of each."""
    function()
    reference()
    ratios = sorted(seconds(function) / seconds(reference) for _ in range(repeat))
    return float(np.median(ratios)), ratios[0], ratios[-1]


def rested(function):
    """Wall-clock seconds of a call after a short pause."""
    # Threads of the BLAS that the function before woke go on waiting for some 20 ms, in the way of the next one's.
    time.sleep(0.05)
    return seconds(function)


def fastest(functions, repeat):
    """Shortest time of each of several functions over interleaved runs, with a pause before each."""
    return np.min([[rested(function) for function in functions] for _ in range(repeat + 1)], axis=0)


def attributes(rng, n):
    """Two categorical columns with 20 combinations."""
    return pd.DataFrame(
        {
            "gender": pd.Categorical.from_codes(rng.integers(0, 2, n), list("fm")),
            "region": pd.Categorical.from_codes(rng.integers(0, 10, n), list("abcdefghij")),
        }
    )


def torch_covariance(u, S):
    """The O(n^2) way: distance matrices, double centring and autograd."""
    import torch

    u = torch.tensor(u, requires_grad=True)
    S = torch.tensor(S)

    def centred(a):
        return a - a.mean(0, keepdim=True) - a.mean(1, keepdim=True) + a.mean()

    value = (centred((u[:, None] - u[None, :]).abs()) * centred(torch.cdist(S, S))).mean()
    value.backward()
    return value.item(), u.grad.numpy()


def rows(quick, repeat):
    """(what, ratio, lowest, highest, bar) for each comparison."""
    rng = np.random.default_rng(0)
    n = 200_000 if quick else 1_000_000
    u = rng.gamma(2.0, size=n)
    S = attributes(rng, n)
    text = S.astype(str)
    bound = CCDCovPenalty(normalize=False).bind(S, n_threads=1)
    scale_free = CCDCovPenalty().bind(S, rng.uniform(size=n), n_threads=1)

    def argsort():
        return np.argsort(u)

    yield (
        (f"CCdCov value + gradient, n = {n:,}, 20 profiles, 1 thread / np.argsort(u)",)
        + ratio(lambda: bound.value_gradient(u), argsort, repeat)
        + ("<= 2.0",)
    )
    yield (
        ("the same, scale-free and weighted / np.argsort(u)",)
        + ratio(lambda: scale_free.value_gradient(u), argsort, repeat)
        + ("",)
    )
    for threads, bar in ((1, ""), (2, "<= 0.10")):
        on_grid = CCDCovPenalty(method="grid").bind(S, n_threads=threads)
        yield (
            (f"scale-free on a grid of 4,096 nodes, {threads} thread(s) / np.argsort(u)",)
            + ratio(partial(on_grid.value_gradient, u), argsort, repeat)
            + (bar,)
        )
    age = S.assign(age=np.round(365 * np.clip(rng.gamma(9.0, 5.0, n) + 10, 18, 95)))
    with_age = CCDCovPenalty().bind(age, n_threads=2)
    yield (
        (f"age in days beside the 20 profiles, {with_age.method}, 2 threads / np.argsort(u)",)
        + ratio(lambda: with_age.value_gradient(u), argsort, max(1, repeat // 2))
        + ("(1 second)",)
    )
    imputed = pd.DataFrame(rng.dirichlet(np.ones(20), n), columns=[f"level {level}" for level in range(20)])
    soft = CCDCovPenalty(normalize=False).bind(with_probabilities(imputed, {"level": list(imputed)}))
    yield (
        ("the same, dense probabilities of 20 levels / observed levels",)
        + ratio(lambda: soft.value_gradient(u), lambda: bound.value_gradient(u), repeat)
        + ("<= 3.0",)
    )
    yield (
        (f"bind, {n:,} rows of two categorical columns / np.argsort(u)",)
        + ratio(lambda: CCDCovPenalty().bind(S), argsort, repeat)
        + ("<= 6",)
    )
    yield (
        ("bind, the same columns as text / np.argsort(u)",)
        + ratio(lambda: CCDCovPenalty().bind(text), argsort, repeat)
        + ("",)
    )

    strata = pd.Series(pd.Categorical.from_codes(rng.integers(0, 50, n), [f"level {k}" for k in range(50)]))
    unweighted = CCDCovPenalty().bind(S, n_threads=1)
    for what, plain, weights in (("unweighted", unweighted, None), ("weighted", scale_free, rng.uniform(size=n))):
        within = CCDCovPenalty().bind(S, weights, control_features=strata, n_threads=1)
        yield (
            (f"scale-free and {what}, within 50 strata / unconditional",)
            + ratio(partial(within.value_gradient, u), partial(plain.value_gradient, u), repeat)
            + ("<= 1.5",)
        )

    import dcor

    z = rng.normal(size=n)
    x = u + z
    fastest = min(("avl", "mergesort"), key=lambda m: seconds(lambda: dcor.distance_covariance_sqr(x, z, method=m)))
    yield (
        (f"one continuous attribute, value + gradient, n = {n:,} / dcor's value ({fastest})",)
        + ratio(
            lambda: distance_covariance(x, z, statistic="v", return_gradient=True),
            lambda: dcor.distance_covariance_sqr(x, z, method=fastest),
            max(1, repeat // 2),
        )
        + ("<= 0.5",)
    )

    m = 4_000 if quick else 10_000
    points, v = rng.normal(size=(m, 12)), rng.normal(size=m)
    found = ratio(
        lambda: dcor.distance_covariance_sqr(v, points),
        lambda: concatenated_distance_covariance(v, points, statistic="v", method="tiles", return_gradient=True),
        max(1, repeat // 2),
    )
    yield (f"dcor's value / tiles, value + gradient, n = {m:,}, 12 dimensions",) + found + (">= 50",)
    tiles = CCDCovPenalty(normalize=False, method="tiles").bind(points)
    found = ratio(lambda: dcor.distance_covariance_sqr(v, points), lambda: tiles.value_gradient(v), max(1, repeat // 2))
    yield ("the same once bound, as in a fit",) + found + ("",)
    try:
        import torch  # noqa: F401
    except ImportError:
        print("(PyTorch is not installed: its rows are left out)", file=sys.stderr)
        return
    value, gradient = concatenated_distance_covariance(v, points, statistic="v", method="tiles", return_gradient=True)
    expected, slope = torch_covariance(v, points)
    np.testing.assert_allclose(value, expected, rtol=1e-8)
    np.testing.assert_allclose(gradient, slope, atol=1e-8 * np.abs(slope).max())
    yield (
        (f"PyTorch O(n^2) value + gradient / tiles, n = {m:,}, 12 dimensions",)
        + ratio(
            lambda: torch_covariance(v, points),
            lambda: concatenated_distance_covariance(v, points, statistic="v", method="tiles", return_gradient=True),
            max(1, repeat // 2),
        )
        + ("",)
    )


def large(repeat):
    """Rows (what, milliseconds, over np.argsort(u), bar) for many rows and many profiles, shortest times."""
    rng = np.random.default_rng(0)
    n = 1_000_000
    u, S = rng.gamma(2.0, size=n), attributes(rng, n)
    age = S.assign(age=np.round(365 * np.clip(rng.gamma(9.0, 5.0, n) + 10, 18, 95)))
    exposure = rng.uniform(size=n)
    bound = {}
    for threads in (1, 2):
        bound["exact sweep, scale-free", threads] = CCDCovPenalty().bind(S, n_threads=threads)
        bound["exact sweep, scale-free and weighted", threads] = CCDCovPenalty().bind(S, exposure, n_threads=threads)
        bound["grid of 4,096 nodes", threads] = CCDCovPenalty(method="grid").bind(S, n_threads=threads)
        bound["grid, weighted", threads] = CCDCovPenalty(method="grid").bind(S, exposure, n_threads=threads)
        bound["age in days beside the 20 profiles", threads] = CCDCovPenalty().bind(age, n_threads=threads)
    functions = [partial(np.argsort, u), *(partial(penalty.value_gradient, u) for penalty in bound.values())]
    sort, *times = fastest(functions, repeat)
    yield f"np.argsort(u), n = {n:,}", sort, 1.0, None
    one_thread = {}
    for ((what, threads), penalty), elapsed in zip(bound.items(), times, strict=True):
        one_thread.setdefault(what, elapsed)
        yield f"{what} ({penalty.method}), {threads} thread(s)", elapsed, elapsed / sort, elapsed / one_thread[what]
    for what in one_thread:
        # Value and gradient by both numbers of threads, to the last bit.
        (value, gradient), (other, slope) = (bound[what, threads].value_gradient(u) for threads in (1, 2))
        if value != other or not (gradient == slope).all():
            print(f"(other bits with two threads: {what})")

    m = 100_000
    v = rng.gamma(2.0, size=m)
    people = attributes(rng, m).assign(age=rng.integers(18, 91, m))
    for threads in (1, 2):
        penalty = CCDCovPenalty().bind(people, n_threads=threads)
        sort, elapsed = fastest([partial(np.argsort, v), partial(penalty.value_gradient, v)], repeat)
        what = f"{penalty.n_profiles:,} profiles, n = {m:,} ({penalty.method}), {threads} thread(s)"
        yield what, elapsed, elapsed / sort, None


def growth(quick, repeat):
    """Exponent of the time in n, and time against the number of profiles."""
    rng = np.random.default_rng(1)
    sizes = [100_000, 400_000] if quick else [100_000, 400_000, 1_000_000, 4_000_000]
    samples = [rng.gamma(2.0, size=n) for n in sizes]
    penalties = [CCDCovPenalty(normalize=False).bind(attributes(rng, n)) for n in sizes]
    calls = {
        "sweep": [partial(bound.value_gradient, u) for bound, u in zip(penalties, samples, strict=True)],
        "sort": [partial(np.argsort, u) for u in samples],
    }
    exponents = {
        name: float(np.polyfit(np.log(sizes), np.log(fastest(functions, repeat)), 1)[0])
        for name, functions in calls.items()
    }
    n, u = sizes[1], samples[1]
    counts = (2, 20, 200, 1000)
    penalties = [CCDCovPenalty(normalize=False).bind(rng.integers(0, k, n).astype(str)) for k in counts]
    *times, sort = fastest([*(partial(bound.value_gradient, u) for bound in penalties), calls["sort"][1]], repeat)
    return exponents, sizes, [(k, t / sort) for k, t in zip(counts, times, strict=True)]


def main():
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller samples")
    parser.add_argument("--large", action="store_true", help="many rows, many profiles and threads only")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    print(f"python {platform.python_version()}, numpy {np.__version__}, ", end="")
    print(f"fairdcov {fairdcov.__version__}, {platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"load average {os.getloadavg()[0]:.1f}\n" if hasattr(os, "getloadavg") else "\n")
    if options.large:
        print("| value + gradient | ms | / np.argsort(u) | / one thread |\n|---|---|---|---|")
        for what, elapsed, over_sort, over_one in large(options.repeat):
            last = "" if over_one is None else f"{over_one:.2f}"
            print(f"| {what} | {1e3 * elapsed:.1f} | {over_sort:.3f} | {last} |", flush=True)
        return
    print("| ratio | median | range | bar |\n|---|---|---|---|")
    results = []
    for what, median, low, high, bar in rows(options.quick, options.repeat):
        print(f"| {what} | {median:.2f} | {low:.2f}-{high:.2f} | {bar} |", flush=True)
        results.append({"what": what, "median": median, "range": [low, high], "bar": bar})
    exponents, sizes, by_profiles = growth(options.quick, options.repeat)
    print(
        f"| exponent of the profiles path in n, {sizes[0]:,} to {sizes[-1]:,} | {exponents['sweep']:.2f} | | <= 1.1 |"
    )
    print(f"| the same for np.argsort(u) alone, which it contains | {exponents['sort']:.2f} | | |")
    probe = subprocess.run([sys.executable, "-c", MEMORY_PROBE], capture_output=True, text=True, check=True)
    megabytes = float(probe.stdout)
    print(
        f"| growth of resident memory, bind + value + gradient, n = 1,000,000 (MiB) | {megabytes:.0f} | | <= 200 MB |"
    )
    print(f"\nvalue + gradient / np.argsort(u) by number of profiles, n = {sizes[1]:,}: ", end="")
    print(", ".join(f"{k}: {r:.2f}" for k, r in by_profiles))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the whole run: {peak:.1f} GiB")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"ratios": results, "exponents": exponents, "memory_mib": megabytes}, file, indent=1)


if __name__ == "__main__":
    main()
