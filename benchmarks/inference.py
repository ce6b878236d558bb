"""Independence tests: elapsed time against the sort that they contain, and against dcor's permutation test, in one run.

    python benchmarks/inference.py [--quick] [--level] [--json FILE]

Times depend on what else the machine does, so the load average is printed with them. ``--level`` adds the share of
samples that each test rejects at 5 % under independence.
"""

import argparse
import json
import os
import platform
import warnings

import dcor
import numpy as np
import pandas as pd
from timing import timed

import fairdcov
from fairdcov import SensitiveEncoder
from fairdcov.inference import independence_test


def attributes(rng, n, *, age=False):
    """Two categorical columns with 20 combinations, and a continuous one."""
    frame = pd.DataFrame(
        {
            "gender": pd.Categorical.from_codes(rng.integers(0, 2, n), list("fm")),
            "region": pd.Categorical.from_codes(rng.integers(0, 10, n), list("abcdefghij")),
        }
    )
    return frame.assign(age=rng.uniform(18, 90, n)) if age else frame


def cases(quick):
    """(what, predictions, attributes, options, permutations, bar in seconds)."""
    rng = np.random.default_rng(0)
    n, B = (20_000, 200) if quick else (100_000, 1000)
    u, weights, S = rng.gamma(2.0, size=n), rng.uniform(0.1, 1.0, n), attributes(rng, n)
    yield "20 profiles", u, S, {}, B, None if quick else 15.0
    yield "20 profiles, 1 thread", u, S, {"n_threads": 1}, B, None
    yield "20 profiles, weighted", u, S, {"sample_weight": weights}, B, None
    yield "20 profiles, JdCov", u, S, {"measure": "jdcov"}, B, None
    yield "20 profiles, JdCov, mutual", u, S, {"measure": "jdcov", "hypothesis": "mutual"}, B, None
    yield "20 profiles, chi-square", u, S, {"test": "chi2"}, 0, None
    years = S.assign(age=rng.integers(18, 90, n))
    yield "with age in years (1,440 profiles)", u, years, {}, B // 10, None
    yield "one continuous attribute", u, years["age"] + rng.uniform(size=n), {}, B // 10, None
    yield "with continuous age, approximate", u, attributes(rng, n, age=True), {}, B // 10, None
    yield "with continuous age, chi-square", u, attributes(rng, n, age=True), {"test": "chi2"}, 0, None
    m = 5_000
    yield f"with continuous age, tiles, n = {m:,}", u[:m], attributes(rng, m, age=True), {}, B // 10, None


def measure(quick):
    """Rows of the table."""
    for what, u, S, options, permutations, bar in cases(quick):
        options = {"n_permutations": max(permutations, 1), **options}
        independence_test(u[:500], S[:500], **{**options, "n_permutations": 1, "sample_weight": None})
        sort = min(timed(lambda u=u: np.argsort(u))[1] for _ in range(7))
        found, elapsed = timed(lambda u=u, S=S, options=options: independence_test(u, S, **options))
        yield {
            "what": what,
            "n": len(u),
            "profiles": found.n_profiles,
            "method": found.method,
            "permutations": permutations,
            "seconds": elapsed,
            "sorts_per_permutation": elapsed / sort / max(permutations, 1),
            "bar_seconds": bar,
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        }


def against_dcor(quick):
    """dcor's permutation test, which keeps two n x n arrays, over ours; the largest sample it is pleasant with."""
    rng = np.random.default_rng(1)
    n, B = (1_000, 20) if quick else (2_000, 100)
    u, S = rng.gamma(2.0, size=n), attributes(rng, n)
    encoded = SensitiveEncoder().fit_transform(S)
    ratios = []
    for _ in range(3):
        _, ours = timed(lambda: independence_test(u, S, n_permutations=B))
        _, theirs = timed(lambda: dcor.independence.distance_covariance_test(u, encoded, num_resamples=B))
        ratios.append(theirs / ours)
    return n, B, float(np.median(ratios))


def levels(repetitions):
    """Share of independent samples that are rejected at 5 %."""
    rng = np.random.default_rng(2)
    ways = {
        "permutation": {},
        "permutation, weighted": {"sample_weight": rng.uniform(0.1, 1.0, 60)},
        "permutation, JdCov": {"measure": "jdcov"},
        "permutation, JdCov, mutual": {"measure": "jdcov", "hypothesis": "mutual"},
        "chi-square": {"test": "chi2"},
    }
    for name, options in ways.items():
        count = 0
        for seed in range(repetitions):
            u, S = rng.gamma(2.0, size=60), attributes(rng, 60)
            count += independence_test(u, S, n_permutations=99, random_state=seed, **options).p_value <= 0.05
        yield name, count / repetitions


def main():
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller samples")
    parser.add_argument("--level", action="store_true", help="rejections under independence as well (minutes)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"python {platform.python_version()}, numpy {np.__version__}, dcor {dcor.__version__}, ", end="")
    print(f"fairdcov {fairdcov.__version__}, {platform.machine()}, {os.cpu_count()} cores\n")
    print("| test | n | permutations | seconds | np.argsort(u) per permutation | bar | load average |")
    print("|---|---|---|---|---|---|---|")
    results = []
    for row in measure(options.quick):
        results.append(row)
        bar = f"<= {row['bar_seconds']:.0f} s" if row["bar_seconds"] else ""
        load = "" if row["load"] is None else f"{row['load']:.1f}"
        print(
            f"| {row['what']} ({row['method']}) | {row['n']:,} | {row['permutations']:,} | {row['seconds']:.2f} | "
            f"{row['sorts_per_permutation']:.2f} | {bar} | {load} |",
            flush=True,
        )
    n, B, ratio = against_dcor(options.quick)
    print(f"\ndcor.independence.distance_covariance_test / independence_test, n = {n:,}, {B} permutations: {ratio:.0f}")
    rejected = {}
    if options.level:
        print("\n| independent samples of 60 rows | rejected at 5 % |\n|---|---|")
        for name, share in levels(400 if options.quick else 2000):
            rejected[name] = share
            print(f"| {name} | {100 * share:.1f} % |", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"times": results, "dcor_ratio": ratio, "rejected": rejected}, file, indent=1)


if __name__ == "__main__":
    main()
