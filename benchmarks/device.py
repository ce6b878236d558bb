"""The dependence penalty on a CUDA device, beside the sort of the same predictions and beside a network's step.

    python benchmarks/device.py [--rows 1000000 10000000 100000000] [--profiles 20] [--json FILE]

Of each number of rows: the time of ``torch.sort`` of the predictions, of value and gradient of the penalty (CCdCov,
scale-free, float64) by the kernels in Triton and in plain torch, and the error of the gradient against the compiled
kernels on the CPU. Then a step of a small network at a million rows with the penalty and without. Medians of 20
repetitions after three warm-ups, each until the device is done.
"""

import argparse
import json
import time

import numpy as np
import torch

from fairdcov.dependence import _torch_device as device_module
from fairdcov.encoding import SensitiveBlocks
from fairdcov.neural import DependenceLoss


def median_time(function, repetitions=20):
    """Seconds until the device is done, median of some repetitions."""
    for _ in range(3):
        function()
    seconds = []
    for _ in range(repetitions):
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def attributes(n, n_profiles, rng):
    """Profiles of the rows and their coordinates, which are drawn as well."""
    codes = rng.integers(n_profiles, size=n, dtype=np.int32)
    return SensitiveBlocks(codes, (rng.normal(size=(n_profiles, 3)),), ("profile",))


def penalty(n, n_profiles, *, compared, weighted):
    """Times of one number of rows."""
    rng = np.random.default_rng(0)
    blocks = attributes(n, n_profiles, rng)
    weights = rng.uniform(0.1, 1.0, n) if weighted else None
    host = rng.gamma(2.0, size=n) * (1 + 0.01 * blocks.codes)
    loss = DependenceLoss().bind(blocks, weights)
    u = torch.as_tensor(host, device="cuda")
    line = {"n": n, "profiles": n_profiles, "weighted": weighted, "sort": median_time(lambda: torch.sort(u))}
    line["triton"] = median_time(lambda: loss.value_gradient_there(u))
    line["triton / sort"] = line["triton"] / line["sort"]
    line["gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    value, gradient = loss.value_gradient_there(u)
    if compared:
        start = time.perf_counter()
        expected_value, expected = loss.value_gradient(host)
        line["cpu, one call"] = time.perf_counter() - start
        line["value error"] = abs(float(value) / expected_value - 1)
        line["gradient error"] = float(np.linalg.norm(gradient.cpu().numpy() - expected) / np.linalg.norm(expected))
        plain = device_module.DeviceDependence(loss.bound.profile_terms(), u.device)
        plain._sums = device_module.PlainSums
        line["torch"] = median_time(lambda: plain.value_gradient(u), 5)
        rounded = u.float().double()
        line["triton, single precision"] = median_time(lambda: loss.value_gradient_there(rounded), 5)
    torch.cuda.reset_peak_memory_stats()
    return line


def network_step(n, n_profiles):
    """A step of Adam on all rows, Poisson loss, three layers of 64, with the penalty and without."""
    rng = np.random.default_rng(0)
    blocks = attributes(n, n_profiles, rng)
    X = torch.as_tensor(rng.normal(size=(n, 30)), dtype=torch.float32, device="cuda")
    y = torch.as_tensor(rng.poisson(0.1, size=n), dtype=torch.float32, device="cuda")
    layers = [
        torch.nn.Linear(30, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 1),
    ]
    network = torch.nn.Sequential(*layers).cuda()
    optimiser = torch.optim.Adam(network.parameters())
    penalty_of = DependenceLoss().bind(blocks)

    def step(strength):
        optimiser.zero_grad()
        raw = network(X)[:, 0]
        loss = torch.nn.functional.poisson_nll_loss(raw, y)
        if strength:
            loss = loss + strength * penalty_of(torch.exp(raw))
        loss.backward()
        optimiser.step()

    without, with_penalty = (median_time(lambda s=s: step(s), 10) for s in (0.0, 1.0))
    return {"n": n, "step": without, "step with penalty": with_penalty, "ratio": with_penalty / without}


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--profiles", type=int, default=20)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    lines = [{"device": torch.cuda.get_device_name(), "torch": torch.__version__}]
    print(lines[0])
    for n in options.rows:
        for weighted in (False, True):
            lines.append(penalty(n, options.profiles, compared=n <= 10_000_000, weighted=weighted))
            print(lines[-1], flush=True)
    lines.append(network_step(1_000_000, options.profiles))
    print(lines[-1])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(lines, file, indent=2)


if __name__ == "__main__":
    main()
