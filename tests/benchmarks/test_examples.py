"""The examples run from their first line to their last and draw their pictures."""

import os
import runpy
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

import fairdcov.datasets

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURES = {
    "plot_pg15training": 3,
    "plot_compas": 4,
    "plot_conditional_parity": 1,
    "plot_unaware_features": 1,
    "plot_quickstart": 1,
    "plot_choosing_a_strength": 1,
    "plot_how_it_works": 5,
    "plot_gerrymandering": 1,
    "plot_lightgbm": 2,
    "plot_certificate": 1,
    "plot_rating_table": 1,
    "plot_displays": 8,
    "plot_reference_prices": 1,
}


def run(name, folder, monkeypatch, *arguments):
    """Run an example as a script and count its pictures."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    file = EXAMPLES / f"{name}.py"
    if not file.exists():
        pytest.skip("the tests run away from the repository, without examples/")
    monkeypatch.setattr(sys, "argv", [str(file), "--output", str(folder), *arguments])
    try:
        with warnings.catch_warnings():
            # An example says which warnings it expects, for good.
            runpy.run_path(str(file), run_name="__main__")
    finally:
        pyplot.close("all")
    assert len(list(folder.glob("*.png"))) == PICTURES[name]


def test_every_example_with_pictures_is_run_here():
    if not EXAMPLES.exists():
        pytest.skip("the tests run away from the repository, without examples/")
    assert {file.stem for file in EXAMPLES.glob("plot_*.py")} == set(PICTURES)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")
@pytest.mark.parametrize(
    ("name", "loader", "data"),
    [("plot_pg15training", "fetch_pg15training", "book"), ("plot_compas", "fetch_compas", "defendants")],
)
def test_examples_on_a_few_made_up_rows(name, loader, data, request, tmp_path, monkeypatch, capsys):
    rows = request.getfixturevalue(data)
    monkeypatch.setattr(fairdcov.datasets, loader, lambda: rows)
    run(name, tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert ("published, CCdCov, λ = 40" if loader == "fetch_pg15training" else "CCdCov, calibrated") in printed
    assert "nan" not in printed.lower()


def test_conditional_parity_costs_less_than_parity_at_equal_conditional_dependence(tmp_path, monkeypatch, capsys):
    run("plot_conditional_parity", tmp_path, monkeypatch, "--policies", "40000")
    lines = capsys.readouterr().out.split("deviance at equal dependence given mileage\n")[1].splitlines()
    assert len(lines) == 3
    for line in lines:
        unconditional, conditional = (float(part.split()[-1]) for part in line.split(": ")[1].split(", "))
        assert conditional < unconditional


def test_quickstart_brings_the_groups_together_and_draws_the_picture_of_the_readme(tmp_path, monkeypatch, capsys):
    run("plot_quickstart", tmp_path, monkeypatch)
    assert (tmp_path / "group_means.png").stat().st_size < 100_000
    before, after = (float(line.split()[1]) for line in capsys.readouterr().out.splitlines()[1:])
    assert after - 1 < (before - 1) / 4


def test_rules_choose_what_they_say(tmp_path, monkeypatch, capsys):
    run("plot_choosing_a_strength", tmp_path, monkeypatch)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    chosen = {rule: tuple(map(float, figures)) for rule, *figures in lines}
    assert chosen["null_level"][1] <= chosen["null_level"][2]
    assert chosen["threshold"][1] <= 0.1
    assert chosen["score_budget"][3] >= 0.9


def test_features_of_estimates_and_posteriors_leave_less_on_the_table(tmp_path, monkeypatch, capsys):
    run("plot_unaware_features", tmp_path, monkeypatch, "--policies", "5000")
    plain, featured = (line.split("leaves on the table: ")[1] for line in capsys.readouterr().out.splitlines())
    assert float(featured.split()[0]) < float(plain.split()[0])


def test_an_audit_of_a_file(tmp_path, monkeypatch, capsys, rng):
    pytest.importorskip("jinja2")
    columns = {"gender": rng.choice(["f", "m"], 300), "region": rng.choice(["n", "s"], 300)}
    columns |= {name: rng.gamma(2.0, size=300) for name in ("price", "mileage", "vehicle_power", "density", "exposure")}
    pd.DataFrame(columns).assign(claims=rng.poisson(1.0, 300)).to_csv(tmp_path / "prices.csv", index=False)
    monkeypatch.setitem(PICTURES, "audit_a_file", 0)
    run("audit_a_file", tmp_path, monkeypatch, "--file", str(tmp_path / "prices.csv"))
    printed = capsys.readouterr().out
    assert "300 rows" in printed
    assert "gender × region" in printed
    assert "<h2>Within tolerance?" in (tmp_path / "audit.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("FAIRDCOV_DATA"), reason="FAIRDCOV_DATA is not set")
@pytest.mark.parametrize("name", sorted(PICTURES))
def test_examples_on_their_own_data(name, tmp_path, monkeypatch):
    pytest.importorskip("rdata")
    run(name, tmp_path, monkeypatch)
