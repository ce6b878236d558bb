"""The example and the benchmark run and show what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """Standard output of a script of the repository."""
    file = ROOT / arguments[0]
    if not file.exists():
        pytest.skip("the tests run away from the repository")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(file), *arguments[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
def test_example_of_a_module_of_ones_own():
    dependence = [float(found) for found in re.findall(r"dependence ([\d.]+)", run("examples/neural_own_module.py"))]
    assert len(dependence) == 3
    assert dependence[1] < 0.3 * dependence[0]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("FAIRDCOV_DATA"), reason="FAIRDCOV_DATA is not set")
def test_benchmark_on_a_part():
    pytest.importorskip("rdata")
    printed = run("benchmarks/neural.py", "cost", "training", "--policies", "3000", "--seeds", "1")
    assert printed.count("L-BFGS, full sample") == 3
    assert "nan" not in printed
