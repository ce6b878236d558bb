"""Is this revision slower than that one? The same timed jobs on two builds, alternating, in processes of their own.

    python benchmarks/gate.py BASE [HEAD] [--alternations 5] [--jobs kernels glm ...]

BASE and HEAD are revisions of this repository or folders of checkouts; HEAD is this checkout by default. Revisions are
checked out and compiled in a temporary folder; a folder is used as it is, kernels included, and compiled only where it
has none. Ends with 1 only where the fastest run of HEAD is slower than that of BASE by more than 15 % and by more than
50 ms, with 2 where nothing can be measured. Both run with the Python and the packages that run this script.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_SHARE, MOST_SECONDS = 0.15, 0.05

# ---------------------------------------------------------------------------------------------------------------------
# The jobs, run by a child that imports the package of one of the two folders. Public names alone: both must have them.
# ---------------------------------------------------------------------------------------------------------------------


def kernel_profiles():
    """CCdCov value and gradient of 200,000 rows in 20 profiles."""
    from suite.book import make_book

    from fairdcov import CCDCovPenalty

    X, _, weight, people = make_book(200_000)
    bound = CCDCovPenalty().bind(people, weight, n_threads=1)
    return lambda: [bound.value_gradient(X[:, 0] + shift) for shift in range(5)]


def kernel_continuous():
    """CCdCov value and gradient of 200,000 rows with a continuous attribute."""
    from suite.book import make_book

    from fairdcov import CCDCovPenalty

    X, _, weight, _ = make_book(200_000)
    bound = CCDCovPenalty().bind(X[:, 1], weight, n_threads=1)
    return lambda: bound.value_gradient(X[:, 0])


def glm():
    """Penalised Poisson GLM of 20,000 rows."""
    from suite.book import make_book

    from fairdcov import DCovPoissonRegressor

    X, y, weight, people = make_book(20_000)
    model = DCovPoissonRegressor(strength=5.0, alpha=1e-4, n_threads=1)
    return lambda: model.fit(X, y, weight, sensitive_features=people)


def calibration():
    """Calibration of 3 strengths in 2 folds of 5,000 rows."""
    from suite.book import make_book

    from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator

    X, y, weight, people = make_book(5_000)
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(alpha=1e-4, n_threads=1),
        strengths=[0.0, 1.0, 10.0],
        rule="score_budget",
        score_budget=1.0,
        cv=2,
        random_state=0,
        verbose=0,
    )
    return lambda: calibrator.fit(X, y, weight, sensitive_features=people)


def boosting():
    """Penalised LightGBM of 10,000 rows."""
    from suite.book import make_book

    from fairdcov import DCovLGBMRegressor

    X, y, weight, people = make_book(10_000)
    model = DCovLGBMRegressor(strength=5.0, objective="poisson", n_estimators=50, n_fair_rounds=50, n_jobs=1)
    return lambda: model.fit(X, y, weight, sensitive_features=people)


JOBS = {job.__name__: job for job in (kernel_profiles, kernel_continuous, glm, calibration, boosting)}


def run_jobs(names, folder):
    """Seconds of each job, the faster of two runs; prints them as JSON."""
    import warnings

    # Only one of the two may warn, and of what does not matter here.
    warnings.simplefilter("ignore")
    import fairdcov

    found = Path(fairdcov.__file__).resolve()
    if Path(folder).resolve() not in found.parents:
        sys.exit(f"the package in {folder} should be timed, but {found} is imported")
    from timing import seconds

    print(json.dumps({name: fastest_of_two(JOBS[name](), seconds) for name in names}))


def fastest_of_two(call, seconds):
    """The faster of two runs."""
    return min(seconds(call), seconds(call))


# ---------------------------------------------------------------------------------------------------------------------
# Builds
# ---------------------------------------------------------------------------------------------------------------------


class GateError(Exception):
    """What keeps the gate from measuring, in words for whoever runs it."""


def _run(command, folder, what):
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        last = (run.stderr.strip() or run.stdout.strip() or "no message").splitlines()[-12:]
        raise GateError(f"{what} failed ({' '.join(map(str, command))}):\n" + "\n".join(last))
    return run.stdout.strip()


def find_build(name, temporary, repository=REPOSITORY):
    """Folder with a compiled package: that of the name, or a checkout of the revision of the name.

    Raises
    ------
    GateError
        For a name that is neither, and for a build that fails.
    """
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "fairdcov" / "__init__.py").is_file():
            raise GateError(f"{name} is a folder without the package fairdcov: name a checkout, or a revision")
        folder = folder.resolve()
    else:
        folder = check_out(name, temporary, repository)
    if not list(folder.glob("fairdcov/_kernels/*.so")) + list(folder.glob("fairdcov/_kernels/*.pyd")):
        print(f"compiling the kernels of {name}", file=sys.stderr, flush=True)
        _run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], folder, f"compiling {name}")
    return folder


def check_out(name, temporary, repository=REPOSITORY):
    """A copy of the files of a revision in a folder of its own; the repository is left as it is."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if run.returncode:
        raise GateError(f"{name!r} is neither a folder nor a revision of {repository}: git log lists revisions")
    revision = run.stdout.strip()
    folder = Path(tempfile.mkdtemp(prefix=f"{revision[:10]}-", dir=temporary))
    archive = folder / "source.tar"
    _run(["git", "archive", f"--output={archive}", revision], repository, f"reading {name}")
    _run(["tar", "-xf", str(archive)], folder, f"unpacking {name}")
    archive.unlink()
    return folder


# ---------------------------------------------------------------------------------------------------------------------
# Measurement and verdict
# ---------------------------------------------------------------------------------------------------------------------


def time_build(folder, names):
    """Seconds of each job with the package in a folder, in a process of its own."""
    # This script's folder comes first on the child's path, and has no fairdcov; the folder to time comes next.
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[variable] = "1"
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(folder), *names]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        last = "\n".join(run.stderr.strip().splitlines()[-12:])
        raise GateError(f"the jobs failed with the package in {folder}:\n{last}")
    return json.loads(run.stdout.splitlines()[-1])


def measure(base, head, names, alternations):
    """Seconds of all runs, by job and build. Which of the two comes first changes from one alternation to the next."""
    found = {name: {"base": [], "head": []} for name in names}
    builds = [("base", base), ("head", head)]
    for number in range(alternations):
        for which, folder in builds if number % 2 == 0 else builds[::-1]:
            for name, elapsed in time_build(folder, names).items():
                found[name][which].append(elapsed)
    return found


def is_slower(base, head):
    """Whether seconds ``head`` are too many beside ``base``: by more than the share, and by more than the seconds."""
    return head > base * (1 + MOST_SHARE) and head > base + MOST_SECONDS


def verdict(found):
    """(job, base, head, slower) of each job, by the fastest runs: other processes make runs slower, never faster."""
    fastest = [(name, min(times["base"]), min(times["head"])) for name, times in found.items()]
    return [(name, base, head, is_slower(base, head)) for name, base, head in fastest]


def table(rows):
    """The verdict in words."""
    lines = [f"{'job':20}{'base, s':>10}{'head, s':>10}{'ratio':>8}"]
    for name, base, head, slower in rows:
        lines.append(f"{name:20}{base:10.4f}{head:10.4f}{head / base:8.2f}{'  slower' if slower else ''}")
    return "\n".join(lines)


def main(arguments=None):
    """Run the gate."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--child"]:
        run_jobs(arguments[2:], arguments[1])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", help="revision, or folder of a checkout")
    parser.add_argument("head", nargs="?", default=str(REPOSITORY), help="the same; this checkout by default")
    parser.add_argument("--alternations", type=int, default=5, help="processes of each build; the fastest run counts")
    parser.add_argument(
        "--jobs", nargs="+", choices=list(JOBS), default=list(JOBS), metavar="JOB", help=", ".join(JOBS)
    )
    options = parser.parse_args(arguments)
    if options.alternations < 1:
        parser.error(f"--alternations must be at least 1; found {options.alternations}")
    with tempfile.TemporaryDirectory() as temporary:
        try:
            base, head = (find_build(name, temporary) for name in (options.base, options.head))
            rows = verdict(measure(base, head, options.jobs, options.alternations))
        except GateError as error:
            print(f"gate: {error}", file=sys.stderr)
            return 2
    print(table(rows))
    slower = [name for name, *_, is_slow in rows if is_slow]
    if slower:
        limit = f"more than {MOST_SHARE:.0%} and {1000 * MOST_SECONDS:.0f} ms"
        print(f"slower by {limit}: {', '.join(slower)}")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
