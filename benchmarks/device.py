"""Fits with the dependence penalty on a CUDA device, each beside what one would do without it.

    python benchmarks/device.py [--parts sweep linear step network boosting] [--rows 1000000 10000000 100000000]
        [--profiles 20] [--fit-rows 10000000] [--json FILE]

``sweep``: of each number of rows the time of ``torch.sort`` of the predictions, of value and gradient of the penalty
(CCdCov, scale-free, float64) by the kernels in Triton and in plain torch, and the error of the gradient against the
compiled kernels on the CPU. ``linear``: a penalised Poisson fit beside scikit-learn's ``PoissonRegressor`` on the same
float32 tensors, and what it is made of. ``step``: a step of networks of several widths at a million rows with the
penalty and without. ``network`` and ``boosting``: fits of the estimators on the device and on the CPU. Medians after
warm-ups, pairs in turn, each until the device is done.
"""

import argparse
import json
import os
import time
import warnings

os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import sklearn
import torch
from sklearn.linear_model import PoissonRegressor

from fairdcov import DCovPoissonRegressor
from fairdcov.dependence import _torch_device as device_module
from fairdcov.encoding import SensitiveBlocks
from fairdcov.neural import DependenceLoss

DEVICE = "cuda"


def median_time(function, repetitions=20, warm_ups=3):
    """Seconds until the device is done, median of some repetitions."""
    for _ in range(warm_ups):
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
    u = torch.as_tensor(host, device=DEVICE)
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
        plain._kernels = None
        line["torch"] = median_time(lambda: plain.value_gradient(u), 5)
        rounded = u.float().double()
        line["triton, single precision"] = median_time(lambda: loss.value_gradient_there(rounded), 5)
    torch.cuda.reset_peak_memory_stats()
    return line


def in_turn(functions, repetitions):
    """Seconds of each function, medians, one after the other in each repetition."""
    seconds = {name: [] for name in functions}
    for repetition in range(repetitions + 1):
        for name, function in functions.items():
            taken = median_time(function, 1, warm_ups=0)
            if repetition:
                seconds[name].append(taken)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def portfolio(n, p, device=None):
    """Features in single precision, claims, exposure, and two attributes of together 20 combinations."""
    device = device or DEVICE
    generator = torch.Generator(device=device).manual_seed(0)
    draw = {"generator": generator, "device": device}
    X = torch.randn((n, p), **draw)
    people = torch.stack([torch.randint(0, 2, (n,), **draw), torch.randint(0, 10, (n,), **draw)], 1)
    X[:, 0] += people[:, 0]
    X[:, 1] += 0.2 * people[:, 1]
    weights = torch.rand(n, **draw) * 0.9 + 0.1
    slope = torch.linspace(0.3, 0.0, p, device=device)
    mean = torch.exp(X @ slope - 2.5)
    y = torch.poisson(mean * weights, generator=generator) / weights
    return X, y, weights, people


def linear_fit(n, p, repetitions=3):
    """Poisson fits on the device, of scikit-learn and penalised, and the parts that one is made of."""
    X, y, weights, people = portfolio(n, p)
    line = {"n": n, "p": p, "scikit-learn version": sklearn.__version__}
    with sklearn.config_context(array_api_dispatch=True):
        model = DCovPoissonRegressor(strength=10.0, alpha=1e-4)
        plain = DCovPoissonRegressor(strength=0.0, alpha=1e-4)
        other = PoissonRegressor(alpha=1e-4, max_iter=500)
        fits = {
            "penalised": lambda: model.fit(X, y, sample_weight=weights, sensitive_features=people),
            "strength 0": lambda: plain.fit(X, y, sample_weight=weights),
        }
        if getattr(other.__sklearn_tags__(), "array_api_support", False):
            fits["scikit-learn"] = lambda: other.fit(X, y, sample_weight=weights)
        line.update(in_turn(fits, repetitions))
        if "scikit-learn" in line:
            line["penalised / scikit-learn"] = line["penalised"] / line["scikit-learn"]
            line["its iterations"] = int(other.n_iter_)
            both = plain.coef_.double().cpu(), other.coef_.double().cpu()
            line["coefficients apart"] = float((both[0] - both[1]).abs().max())
        line["iterations"], line["penalty left"] = model.n_iter_, model.penalty_value_
        line["penalty without"] = plain.fit(X, y, sample_weight=weights, sensitive_features=people).penalty_value_
        start = time.perf_counter()
        problem = model._problem_class(model, X, y, weights, people, [10.0])
        torch.cuda.synchronize()
        line["until bound"] = time.perf_counter() - start
    objective = problem.objective
    parameters = np.append(model.coef_.double().cpu().numpy(), model.intercept_)
    raw = objective.raw(parameters)
    vector = torch.rand(n, device=DEVICE, dtype=torch.float64)
    line["parts"] = {
        "evaluation": median_time(lambda: objective.parts_gradient(parameters, 10.0), 5),
        "without penalty": median_time(lambda: objective.parts_gradient(parameters), 5),
        "X b": median_time(lambda: objective.raw(parameters), 5),
        "X' g": median_time(lambda: objective._products.columns(vector), 5),
        "penalty": median_time(lambda: objective.raw_objective.penalty.value_gradient(torch.exp(raw)), 5),
        "loss": median_time(lambda: objective.raw_objective.terms(raw), 5),
        "hessian": median_time(lambda: objective.hessian(parameters), 5),
        "sort": median_time(lambda: torch.sort(raw), 5),
    }
    single = vector.float()
    line["ways of X' g"] = {"plain": median_time(lambda: X.T @ single, 3)}
    for rows in (256, 1024, 4096, 16384):
        whole = n // rows * rows
        parts, ones = X[:whole].reshape(-1, rows, p), single[:whole].reshape(-1, 1, rows)
        line["ways of X' g"][f"batches of {rows}"] = median_time(lambda a=ones, b=parts: (a @ b).double().sum(0), 3)
    line["ways of X' g"]["products"] = median_time(lambda: (X * single[:, None]).sum(0), 3)
    return line


def network_fit(n, p=30):
    """Fits of the estimator on the device and on the CPU, ten epochs and thirty iterations."""
    from fairdcov.neural import DCovMLPRegressor

    X, y, weights, people = (part.cpu().numpy() for part in portfolio(n, p))
    settings = {"objective": "poisson", "random_state": 0, "max_epochs": 2, "max_iter": 30, "batch_size": 16384}
    line = {"n": n, "network": "(64, 64)"}
    for device in (DEVICE, "cpu"):
        for strength in (0.0, 10.0):
            model = DCovMLPRegressor(strength=strength, device=device, **settings)
            start = time.perf_counter()
            model.fit(X, y, sample_weight=weights, sensitive_features=people)
            line[f"{device}, strength {strength:g}"] = time.perf_counter() - start
            line[f"{device}, {strength:g}, objective"] = model.objective_value_
            line[f"{device}, {strength:g}, penalty"] = model.penalty_value_
    return line


def boosted_fit(n, p=30):
    """Fits of the estimator on the device and on the CPU, 50 rounds and 50 penalised ones."""
    from fairdcov import DCovXGBRegressor

    X, y, weights, people = (part.cpu().numpy() for part in portfolio(n, p))
    line = {"n": n, "boosting": "50 + 50 rounds"}
    for device in (DEVICE, "cpu"):
        for strength in (0.0, 10.0):
            model = DCovXGBRegressor(
                strength=strength, objective="poisson", n_estimators=50, n_penalised_rounds=50, device=device
            )
            start = time.perf_counter()
            model.fit(X, y, sample_weight=weights, sensitive_features=people)
            line[f"{device}, strength {strength:g}"] = time.perf_counter() - start
            line[f"{device}, {strength:g}, loss"] = model.loss_value_
            line[f"{device}, {strength:g}, penalty"] = model.penalty_value_
    return line


def network_step(n, n_profiles, width):
    """A step of Adam on all rows, Poisson loss, two hidden layers, with the penalty and without."""
    rng = np.random.default_rng(0)
    blocks = attributes(n, n_profiles, rng)
    X = torch.as_tensor(rng.normal(size=(n, 30)), dtype=torch.float32, device=DEVICE)
    y = torch.as_tensor(rng.poisson(0.1, size=n), dtype=torch.float32, device=DEVICE)
    layers = [
        torch.nn.Linear(30, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, 1),
    ]
    network = torch.nn.Sequential(*layers).to(DEVICE)
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

    both = in_turn({"step": lambda: step(0.0), "step with penalty": lambda: step(1.0)}, 20)
    return {"n": n, "width": width, **both, "ratio": both["step with penalty"] / both["step"]}


def shown(line):
    """Numbers with four digits."""
    if isinstance(line, dict):
        return "{" + ", ".join(f"{name}: {shown(value)}" for name, value in line.items()) + "}"
    return f"{line:.4g}" if isinstance(line, float) else str(line)


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--profiles", type=int, default=20)
    parser.add_argument("--parts", nargs="+", default=["sweep", "linear", "step", "network", "boosting"])
    parser.add_argument("--fit-rows", type=int, default=10_000_000)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
    lines = []

    def note(line):
        lines.append(line)
        print(shown(line), flush=True)

    note({"device": torch.cuda.get_device_name(), "torch": torch.__version__})
    if "sweep" in options.parts:
        for n in options.rows:
            for weighted in (False, True):
                note(penalty(n, options.profiles, compared=n <= 10_000_000, weighted=weighted))
    if "linear" in options.parts:
        for n in sorted({options.fit_rows // 10, options.fit_rows}):
            note(linear_fit(n, 50))
            torch.cuda.empty_cache()
    if "step" in options.parts:
        for width in (64, 256, 512):
            note(network_step(1_000_000, options.profiles, width))
    if "network" in options.parts:
        note(network_fit(options.fit_rows // 10))
    if "boosting" in options.parts:
        note(boosted_fit(options.fit_rows // 10))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(lines, file, indent=2)


if __name__ == "__main__":
    main()
