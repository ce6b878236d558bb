"""A small book as a file, and the command line run in the process of the tests."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from fairdcov import report
from fairdcov.cli import main
from fairdcov.datasets import make_motor_portfolio

# What every fit of the tests is asked for: few strengths, few folds, and a result whether or not the rule is met.
QUICK = ["--strengths", "3", "30", "--folds", "2", "--if-unmet", "warn", "--quiet"]
BOOK = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "region"]


def portfolio(n_policies=1_000, random_state=0):
    """Columns that a portfolio would have: features, protected attributes, exposure, claims and their cost."""
    return make_motor_portfolio(n_policies, random_state=random_state).frame.drop(columns=["true_rate", "fair_rate"])


def leave_empty(figure, file, **options):
    """In the place of ``Figure.savefig``: an empty picture."""
    if hasattr(file, "write"):
        file.write('<svg width="1pt" height="1pt" viewBox="0 0 1 1"></svg>')
    else:
        Path(file).write_bytes(b"\x89PNG")


@pytest.fixture
def pictures():
    """Asked for by tests of ``run`` that look at pictures."""


@pytest.fixture
def run(capsys, monkeypatch, request):
    """Run a command; returns its exit code and what it printed.

    Audits are real, without permutations and resamples. Figures are made and not drawn, which would take two thirds of
    the time; the runs of ``fitted`` and ``demo``, the tests of reports and those that ask for ``pictures`` draw them.
    """
    monkeypatch.setattr(report, "audit", partial(report.audit, n_permutations=0, n_bootstrap=0))
    if "pictures" not in request.fixturenames and find_spec("matplotlib"):
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", leave_empty)

    def run(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def save(tmp_path):
    """Write a frame as a file of a name and return its path."""

    def save(frame, name="book.parquet", **options):
        path = tmp_path / name
        if path.suffix == ".parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False, **options)
        return path

    return save


def check_refused(result, message, *, code=2):
    """One line on the standard error that says what is wrong, and no traceback."""
    assert result.code == code, result.out + result.err
    assert message in result.err
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err


def read_scored(path):
    """A scored file of either format."""
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, encoding="utf-8-sig")
