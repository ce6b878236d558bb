"""``--probabilities``, ``--control`` and ``--control-bins`` of ``fairdcov fit`` and ``fairdcov audit``."""

import json

import numpy as np
import pandas as pd
import pytest

from .conftest import BOOK, QUICK, check_refused, portfolio, read_scored

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

LEVELS = ["p_white", "p_black", "p_other"]
RACE = ["--probabilities", "race=p_white,p_black,p_other"]
AUDIT = ["--prediction", "rate", "--target", "claims", "--exposure", "exposure", "--quiet"]


def imputed(n_policies=600):
    """A portfolio with an imputed race and a tariff."""
    frame = portfolio(n_policies).drop(columns="cost")
    frame[LEVELS] = np.random.default_rng(0).dirichlet([2.0, 1.0, 0.6], n_policies)
    rate = 0.1 * np.exp(0.02 * frame["mileage"] + frame["p_black"])
    return frame.assign(rate=rate, copy=frame["gender"].astype(str).str.upper())


def test_audit(run, save, tmp_path):
    frame = imputed()
    result = run(
        "audit", save(frame), *AUDIT, "--sensitive", "gender", *RACE, "--control", "mileage,occupation",
        "--control-bins", "mileage=0,10,100", "--tiers", "0.1", "0.2", "--min-group-size", "20",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert result.code == 0, result.err
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["data"]["control_features"] == ["mileage", "occupation"]
    assert report["tiers"]["thresholds"] == [0.1, 0.2]
    assert report["metadata"]["probabilities"] == {"race": LEVELS}
    race = next(section for section in report["groups"] if section["attributes"] == ["race"])
    weight = frame["exposure"] * frame["p_black"]
    assert race["groups"][1]["predicted"] == pytest.approx(np.average(frame["rate"], weights=weight))
    strata = frame["occupation"].nunique() * pd.cut(frame["mileage"], [0, 10, 100], right=False).nunique()
    assert report["conditional"]["n_strata"] == strata


def test_an_audit_at_equal_claims(run, save, tmp_path):
    path, sensitive = save(imputed(), "book.csv"), ["--sensitive", "gender", "--tolerance", "0.1"]
    result = run("audit", path, *AUDIT, *sensitive, "--given", "target", "--output", tmp_path / "out")
    assert result.code == 0, result.err
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["data"]["control_features"] == ["target"]
    assert report["metadata"]["given"] == "target"
    assert report["conditional"]["given"] == ["target"]
    assert report["equivalence"]["decided_by"] == "given_factors"


def test_given_target_needs_a_target(run, save, tmp_path):
    given = ["--prediction", "rate", "--sensitive", "gender", "--given", "target"]
    result = run("audit", save(imputed(), "book.csv"), *given, "--output", tmp_path / "out")
    check_refused(result, "--given target needs --target")


def test_an_audit_of_probabilities_alone(run, save, tmp_path):
    result = run("audit", save(imputed(), "book.csv"), *AUDIT, *RACE, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    assert "p_black" in result.out


BAD = {
    "negative": (RACE, "column 'p_black' must lie between 0 and 1; found -0.2 in data row 7"),
    "missing": (RACE, "column 'p_black' has 1 missing value(s), the first in data row 7"),
    "sum": (RACE, "p_white, p_black, p_other, must sum to 1 in each row; found"),
    "one level": (["--probabilities", "race=p_white"], "--probabilities takes NAME=COLUMN,COLUMN"),
    "column": (["--probabilities", "race=p_white,p_blac"], "did you mean 'p_black'?"),
    "twice": ([*RACE, "other=p_white,p_black"], "names the column 'p_white' twice, for 'race' and 'other'"),
    "both": ([*RACE, "--sensitive", "p_black"], "--probabilities names 'p_black', which --sensitive names already"),
    "none": ([], "no protected attributes: name columns with --sensitive, or with --probabilities"),
    "determined": (["--sensitive", "gender", "--control", "copy"], "determine the protected attributes ['gender']"),
    "same": (["--sensitive", "gender", "--control", "gender"], "--control names 'gender', which --sensitive names"),
    "no control": (["--sensitive", "gender", "--control-bins", "mileage=5"], "--control-bins needs --control"),
    "bins": (
        ["--sensitive", "gender", "--control", "mileage", "--control-bins", "milage=5"],
        "--control-bins names 'milage'; the control numbers are ['mileage']",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_options(run, save, tmp_path, what):
    frame = imputed(200)
    frame["p_black"] = frame["p_black"].where(frame.index != 6, {"negative": -0.2, "missing": np.nan}.get(what, 0.5))
    if what not in ("negative", "missing", "sum"):
        frame[LEVELS] = frame[LEVELS].div(frame[LEVELS].sum(axis=1), axis=0)
    options, message = BAD[what]
    options = options.copy()
    if "--probabilities" in options and what == "twice":
        options = ["--probabilities", *options[1:]]
    check_refused(run("audit", save(frame), *AUDIT, *options, "--output", tmp_path / "out"), message)
    assert not (tmp_path / "out").exists()


def test_fit_on_probabilities(run, save, tmp_path):
    pytest.importorskip("skops")
    frame = imputed(800).drop(columns=["rate", "copy"])
    path = save(frame)
    out = tmp_path / "model"
    arguments = ["--target", "claims", "--exposure", "exposure", *RACE, "--exclude", "gender", "region", "age", *QUICK]
    result = run("fit", path, *arguments, "--output", out)
    assert result.code == 0, result.err
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert settings["probabilities"] == {"race": LEVELS}
    assert settings["sensitive"] == []
    assert not set(LEVELS) & set(settings["features"])
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["metadata"]["protected_attributes"] == "race as probabilities in p_white, p_black, p_other"
    # Without probabilities the model predicts the same.
    bare = save(frame.drop(columns=LEVELS), "bare.parquet")
    scored = tmp_path / "scored.parquet"
    assert run("predict", out, bare, "--output", scored).code == 0
    np.testing.assert_allclose(
        read_scored(scored)["prediction"], read_scored(out / "scored.parquet")["prediction"], rtol=1e-12
    )
    taken = run("fit", path, *arguments, "--features", "p_black", "--output", tmp_path / "no")
    assert taken.code == 2


def test_trees_on_probabilities_with_everything(run, save, tmp_path):
    pytest.importorskip("skops")
    pytest.importorskip("lightgbm")
    frame = imputed(800).drop(columns=["rate", "copy"])
    frame["base"] = -1.5
    frame["power, kW"] = np.where(frame.index % 9 == 0, np.nan, frame.index % 100)
    out = tmp_path / "model"
    trees = ["--model", "lightgbm", "--model-option", "n_estimators=10", "n_penalised_rounds=10"]
    given = ["--offset", "base", "--monotone", "power, kW=+", "--rebalance", "--control", "region"]
    arguments = ["--target", "claims", "--exposure", "exposure", *RACE, "--exclude", "gender", "age", *trees, *given]
    result = run("fit", save(frame), *arguments, *QUICK, "--output", out)
    assert result.code == 0, result.err
    assert "relativities.csv: " in result.out
    assert "power, kW" in (out / "relativities.csv").read_text(encoding="utf-8")


def test_fit_cuts_control_features_as_it_is_told(run, save, tmp_path):
    pytest.importorskip("skops")
    path = save(imputed(800).drop(columns=["rate", "copy", *LEVELS]))
    arguments = [*BOOK, "--exclude", "age", *QUICK, "--control", "mileage"]
    strengths = []
    for number, bins in enumerate((["--control-bins", "mileage=0,10,100"], [])):
        out = tmp_path / f"out{number}"
        result = run("fit", path, *arguments, *bins, "--output", out)
        assert result.code == 0, result.err
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        assert report["conditional"]["n_strata"] == (2 if bins else 5)
        strengths.append(pd.read_csv(out / "calibration.csv", encoding="utf-8-sig")["mean_divergence"].tolist())
        assert run("predict", out, path, "--output", tmp_path / f"{number}.parquet").code == 0
    assert strengths[0] != strengths[1]
