"""Reads and audits a large Parquet file by the real command, in a process of its own.

Makes a synthetic book in a temporary folder, runs ``fairdcov audit`` on it and prints seconds, peak memory and the load
of the machine. The aim is 30 s for 1,000,000 rows and 30 columns on two cores that have nothing else to do.

    python benchmarks/command_line.py [rows] [--csv] [--features N]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fairdcov.datasets import make_motor_portfolio

COLUMNS = 30


def make_book(n_rows, seed=0):
    """Motor book with a prediction and with further columns that no audit needs, 30 in all."""
    book = make_motor_portfolio(n_rows, random_state=seed)
    frame = book.frame.drop(columns=["true_rate", "cost"]).rename(columns={"fair_rate": "prediction"})
    rng = np.random.default_rng(seed)
    while frame.shape[1] < COLUMNS:
        number = frame.shape[1]
        frame[f"extra_{number}"] = rng.normal(size=n_rows) if number % 2 else rng.integers(0, 50, n_rows).astype(str)
    return frame


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--csv", action="store_true", help="read CSV instead of Parquet")
    parser.add_argument("--features", type=int, default=9, help="rating factors that are screened (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        frame = make_book(options.rows)
        path = folder / ("book.csv" if options.csv else "book.parquet")
        frame.to_csv(path, index=False) if options.csv else frame.to_parquet(path, index=False)
        features = list(frame.columns[: options.features])
        size, shape = path.stat().st_size, frame.shape
        del frame
        command = [
            sys.executable,
            "-m",
            "fairdcov.cli",
            "audit",
            path,
            "--prediction",
            "prediction",
            "--target",
            "claims",
        ]
        command += ["--exposure", "exposure", "--sensitive", "gender", "region", "age", "--bins", "age=0,25,40,60,120"]
        command += [*(["--features", *features] if features else []), "--output", folder / "audit", "--quiet"]
        before = os.getloadavg()[0]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
        # Of the largest child, in KiB on Linux and in bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
        pages = sum(file.stat().st_size for file in (folder / "audit").iterdir())
    print(
        f"{shape[0]:,} rows x {shape[1]} columns, {size / 2**20:.0f} MiB of {path.suffix[1:]}, {len(features)} features"
    )
    print(f"{seconds:.1f} s, peak memory {peak / 2**20:.0f} MiB, reports {pages / 2**20:.1f} MiB")
    print(f"load of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
