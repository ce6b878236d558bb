"""Write models of ``fairdcov fit`` in one environment, and predict with them in another.

``exchange_models.py write FOLDER`` fits one model of each kind; ``exchange_models.py read FOLDER ...`` predicts with
the models in these folders, written by any environment, and compares with what they predicted there.
"""

import platform
import sys
import tempfile
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fairdcov import report
from fairdcov.cli import main
from fairdcov.datasets import make_motor_portfolio

FEATURES = ["mileage", "vehicle_age", "vehicle_type", "density"]
KINDS = ("glm", "lightgbm")


def leave_empty(figure, file, **options):
    """In the place of ``Figure.savefig``: an empty picture."""
    file.write("<svg></svg>") if hasattr(file, "write") else Path(file).touch()


def run(*arguments):
    """Run a command without a word, unless it fails."""
    printed = StringIO()
    with redirect_stdout(printed):
        code = main([str(argument) for argument in arguments])
    if code:
        sys.exit(f"fairdcov {arguments[0]} ended with {code}\n{printed.getvalue()}")


def write(folder):
    """One model of each kind; what lies beside it is not exchanged, and takes most of the time."""
    Figure.savefig = leave_empty
    report.audit = partial(report.audit, n_permutations=0, n_bootstrap=0)
    folder.mkdir(parents=True)
    book = make_motor_portfolio(800, random_state=0).frame
    book.loc[::9, "vehicle_age"] = np.nan
    book.to_csv(folder / "book.csv", index=False)
    what = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "region", "--features", *FEATURES]
    how = ["--strengths", 3, 30, "--folds", 2, "--if-unmet", "warn", "--quiet"]
    for kind in KINDS:
        run("fit", folder / "book.csv", *what, *how, "--model", kind, "--output", folder / kind)


def read(folder):
    """The predictions are those of the environment that wrote the models."""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as output:
            scored = Path(output, "scored.csv")
            run("predict", folder / kind, folder / "book.csv", "--output", scored)
            here, there = (pd.read_csv(file, encoding="utf-8-sig") for file in (scored, folder / kind / "scored.csv"))
        np.testing.assert_allclose(here["prediction"], there["prediction"], rtol=1e-12)
        print(f"{kind} written in {folder.name}: read with Python {platform.python_version()}")


if __name__ == "__main__":
    action = {"write": write, "read": read}[sys.argv[1]]
    for name in sys.argv[2:]:
        action(Path(name))
