"""Files of fitted models, kept so that later versions of the package can be asked to read them.

    python -m tests.golden.make_models

Writes the models of the version at hand into ``models/<version>/``: pickles, skops files, a packed folder of the
command line, and ``models.json`` with what they predict and the versions of the packages whose objects they hold. A
folder that is there is never written again: it is what users of that version have on their disks.
"""

import io
import json
import pickle
import shutil
import sys
import tempfile
import warnings
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pandas as pd
import skops.io
from sklearn.linear_model import PoissonRegressor

import fairdcov
from fairdcov import actuarial

from .cases import FIT, book, people_of, quick_audits, run_command, small_book, summary
from .make_golden import installed_version, plain

FOLDER = Path(__file__).parent / "models"
OWN = {"fairdcov", "builtins", "copyreg", "collections"}
TREES = {"n_estimators": 4, "n_fair_rounds": 4, "num_leaves": 4, "n_jobs": 1, "objective": "poisson", "random_state": 0}


@cache
def fitted_models():
    """A fitted model of each kind."""
    X, targets, weight, people = book()
    y, given = targets["poisson"], {"sensitive_features": people_of("two")}
    penalty = fairdcov.CCDCovPenalty()
    calibrator = fairdcov.JSDivergenceCalibrator(
        fairdcov.DCovPoissonRegressor(penalty, alpha=1e-3),
        strengths=[0.0, 1.0, 3.0],
        rule="threshold",
        max_divergence=0.06,
        cv=2,
        n_permutations=3,
        random_state=0,
        verbose=0,
    )
    return {
        "poisson": fairdcov.DCovPoissonRegressor(penalty, strength=0.6, alpha=1e-3).fit(X, y, weight, **given),
        "lightgbm": fairdcov.DCovLGBMRegressor(penalty, strength=0.5, **TREES).fit(X, y, weight, **given),
        "calibrator": calibrator.fit(X, y, weight, sensitive_features=people_of("nominal")),
        "encoder": fairdcov.SensitiveEncoder(continuous_scaling="standard").fit(people, sample_weight=weight),
        "rebalancer": actuarial.Rebalancer(PoissonRegressor(alpha=1.0)).fit(X, y, sample_weight=weight),
    }


def predict(name, model):
    """What a model says of the book, as it is stored."""
    X, _, _, people = book()
    return plain(summary(model.transform(people) if name == "encoder" else model.predict(X), 12))


class _Recorder(pickle.Unpickler):
    """Notes from which modules a pickle takes its objects."""

    def __init__(self, content):
        super().__init__(io.BytesIO(content))
        self.modules = set()

    def find_class(self, module, name):
        self.modules.add(module)
        return super().find_class(module, name)


def held_packages(content):
    """Top-level packages of others whose objects a pickle names."""
    recorder = _Recorder(content)
    recorder.load()
    return sorted({module.split(".")[0] for module in recorder.modules} - OWN)


def predict_by_command(folder, temporary):
    """Predictions of ``fairdcov predict`` for the small book with a folder that ``fairdcov fit`` wrote."""
    scored = Path(temporary, "again.csv")
    run_command("predict", folder, small_book(Path(temporary)), "--output", scored, "--force")
    return plain(summary(pd.read_csv(scored, encoding="utf-8-sig")["prediction"], 12))


def main():
    """Write the folder of this version."""
    folder = FOLDER / fairdcov.__version__
    if folder.exists():
        sys.exit(f"{folder} is there already, and stays as it is")
    folder.mkdir(parents=True)
    record = {"fairdcov": fairdcov.__version__, "models": {}}
    distributions = packages_distributions()
    for name, model in fitted_models().items():
        content = pickle.dumps(model, protocol=4)
        (folder / f"{name}.pickle").write_bytes(content)
        (folder / f"{name}.skops").write_bytes(skops.io.dumps(model, compression=8))
        held = {package: installed_version(distributions[package][0]) for package in held_packages(content)}
        record["models"][name] = {"holds": held, "prediction": predict(name, model)}
    with tempfile.TemporaryDirectory() as temporary, quick_audits(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, output = small_book(Path(temporary)), Path(temporary, "out")
        run_command("fit", source, *FIT, "--features", "mileage", "vehicle_type", "density", "--output", output)
        kept = Path(temporary, "command_line")
        kept.mkdir()
        for name in ("model.skops", "settings.json"):
            (kept / name).write_bytes((output / name).read_bytes())
        settings = json.loads((kept / "settings.json").read_text(encoding="utf-8"))
        # A file of arrays as they are in memory, which the command line does not compress.
        shutil.make_archive(folder / "command_line", "zip", kept)
        record["command_line"] = {"holds": settings["versions"], "prediction": predict_by_command(kept, temporary)}
    (folder / "models.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
