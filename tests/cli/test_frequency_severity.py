"""``--amount`` and ``--claims``: a premium of two models with one penalty."""

import json

import numpy as np
import pandas as pd
import pytest

from fairdcov.actuarial import RatingTable
from fairdcov.cli._models import load_model

from .conftest import QUICK, check_refused, portfolio

COLUMNS = ["mileage", "vehicle_value", "vehicle_type", "gender", "exposure", "claims", "cost"]
ARGUMENTS = ["--exposure", "exposure", "--sensitive", "gender", *QUICK]


def test_fit_and_predict_a_premium(run, save, tmp_path):
    book = portfolio(3_000)[COLUMNS]
    result = run(
        "fit", save(book), *ARGUMENTS, "--amount", "cost", "--claims", "claims", "--output", tmp_path / "premium"
    )
    assert result.code == 0, result.err
    settings = json.loads((tmp_path / "premium" / "settings.json").read_text(encoding="utf-8"))
    assert (settings["model"], settings["claims"]) == ("frequency_severity", "claims")
    assert set(settings["features"]) == {"mileage", "vehicle_value", "vehicle_type"}
    scored = pd.read_parquet(tmp_path / "premium" / "scored.parquet")
    fitted = scored[scored["prediction_rows"] == "fitted"]
    for name in ("prediction", "prediction_unpenalised"):
        assert fitted[name] @ fitted["exposure"] == pytest.approx(fitted["cost"].sum())
    table = pd.read_csv(tmp_path / "premium" / "relativities.csv")
    assert {"mileage", "vehicle_value", "vehicle_type"} <= set(table["factor"])
    new = save(book[["mileage", "vehicle_value", "vehicle_type"]], "new.parquet")
    assert run("predict", tmp_path / "premium", new, "--output", tmp_path / "new_scored.parquet").code == 0
    again = pd.read_parquet(tmp_path / "new_scored.parquet")
    for name in ("prediction", "prediction_frequency", "prediction_severity"):
        np.testing.assert_allclose(again[name], scored[name])
    expected = (scored["prediction_frequency"] * scored["exposure"])[scored["prediction_rows"] == "fitted"].sum()
    assert expected == pytest.approx(fitted["claims"].sum())
    taken = save(book.assign(prediction_severity=1.0), "taken.parquet")
    result = run("predict", tmp_path / "premium", taken, "--output", tmp_path / "t.parquet")
    check_refused(result, "has a column 'prediction_severity' already: choose another --prediction-name")


TREES = ["n_estimators=20", "n_penalised_rounds=10", "num_leaves=4", "severity__num_leaves=3"]


def test_two_boosters_of_a_premium(run, save, tmp_path):
    """Everything that two GLMs have: costs, table, a model file that predicts, monotone constraints."""
    pytest.importorskip("lightgbm")
    book, folder = portfolio(3_000)[COLUMNS], tmp_path / "premium"
    arguments = [*ARGUMENTS, "--amount", "cost", "--claims", "claims", "--model", "lightgbm", "--model-option", *TREES]
    result = run("fit", save(book), *arguments, "--monotone", "mileage=+", "--output", folder)
    assert result.code == 0, result.err
    assert "calibrating ccdcov of a poisson and gamma lightgbm" in result.out
    assert "what the penalty costs there" in result.out
    assert "gender female" in result.out
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert (settings["model"], settings["claims"]) == ("frequency_severity_lightgbm", "claims")
    assert "lightgbm" in settings["versions"]
    assert {path.name for path in folder.iterdir()} >= {"calibration.csv", "cost.csv", "report.html", "trade_off.png"}
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["metadata"]["model"] == "poisson and gamma lightgbm with penalty ccdcov"
    model = load_model(folder / "model.skops", settings["model"])[-1]
    assert (model.frequency_.num_leaves, model.severity_.num_leaves) == (4, 3)
    features = book[["mileage", "vehicle_value", "vehicle_type"]]
    known = features.astype({"vehicle_type": "category"})
    scored = pd.read_parquet(folder / "scored.parquet")
    np.testing.assert_array_equal(scored["prediction_frequency"], model.predict_frequency(known))
    np.testing.assert_allclose(scored["prediction_severity"], model.predict_severity(known), rtol=1e-12)
    np.testing.assert_allclose(scored.eval("prediction_frequency * prediction_severity"), scored["prediction"])
    # Premiums add up to the observed cost, claims to the observed number, of the rows fitted.
    fitted = scored["prediction_rows"] == "fitted"
    for name in ("prediction", "prediction_unpenalised"):
        assert (scored[name] * scored["exposure"])[fitted].sum() == pytest.approx(scored["cost"][fitted].sum())
    expected = (model.predict_frequency(known) * scored["exposure"])[fitted].sum()
    assert expected == pytest.approx(scored["claims"][fitted].sum())
    table = RatingTable.from_csv(folder / "relativities.csv")
    total = (table.predict(features, unknown="nearest") * scored["exposure"])[fitted].sum()
    assert total == pytest.approx(scored["cost"][fitted].sum(), rel=1e-6)
    # The file alone predicts the same, and keeps the constraint.
    assert run("predict", folder, save(features, "new.parquet"), "--output", tmp_path / "again.parquet").code == 0
    np.testing.assert_array_equal(pd.read_parquet(tmp_path / "again.parquet")["prediction"], scored["prediction"])
    values = np.linspace(book["mileage"].min(), book["mileage"].max(), 60)
    risks = pd.concat([features.iloc[[row] * 60].assign(mileage=values) for row in range(5)])
    assert run("predict", folder, save(risks, "risks.parquet"), "--output", tmp_path / "curves.parquet").code == 0
    curves = pd.read_parquet(tmp_path / "curves.parquet")["prediction"].to_numpy().reshape(5, 60)
    assert (np.diff(curves, axis=1) >= -1e-9).all()
    assert np.ptp(curves) > 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("num_leafs=3", "NAME=VALUE of DCovLGBMRegressor; found 'num_leafs=3'; did you mean 'num_leaves"),
        ("severity__num_leafs=3", "found 'severity__num_leafs=3'; did you mean 'severity__num_leaves"),
        ("foo=1", "found 'foo=1'; the parameters are ["),
        ("severity__objective=tweedie", "--model-option: objective is what --family sets"),
        ("power=1.2", "--model-option: power is what --power sets"),
        ("frequency=1", "found 'frequency=1'"),
        ("early_stopping_rounds=5", "--model-option early_stopping_rounds of the frequency must be None"),
        ("frequency__n_penalised_rounds=5", "n_penalised_rounds must be the same; found 5 for the"),
    ],
)
def test_options_of_two_boosters_that_are_refused(run, save, tmp_path, option, message):
    pytest.importorskip("lightgbm")
    arguments = [*ARGUMENTS, "--amount", "cost", "--claims", "claims", "--model", "lightgbm", "--model-option", option]
    check_refused(run("fit", save(portfolio(300)[COLUMNS]), *arguments, "--output", tmp_path / "out"), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--amount", "cost"], "--amount needs --claims"),
        (["--claims", "claims"], "--claims needs --amount"),
        ([], "name the column to be predicted with --target, or --amount and --claims"),
        (["--amount", "cost", "--claims", "claims", "--target", "cost"], "--target does not go with --amount"),
        (["--amount", "cost", "--claims", "claims", "--offset", "cost"], "whose two models have an offset each: fit"),
        (["--amount", "cost", "--claims", "claims", "--family", "gamma"], "--family gamma does not go with"),
        (["--amount", "cost", "--claims", "exposure"], "--claims names 'exposure', which --exposure names already"),
        (["--amount", "costs", "--claims", "claims"], "--amount names 'costs', which is not a column of"),
        (["--amount", "cost", "--claims", "cost"], "--claims names 'cost', which --amount names already"),
        (["--amount", "vehicle_type", "--claims", "claims"], "--amount: column 'vehicle_type' must be numbers"),
        (["--amount", "nothing", "--claims", "claims"], "--amount is 0 in every row: there is nothing to fit"),
        (["--amount", "cost", "--claims", "wrong"], "--amount: column 'cost' is above 0 where 'wrong' is 0 in"),
    ],
)
def test_what_is_refused(run, save, tmp_path, arguments, message):
    book = portfolio(300)[COLUMNS].assign(wrong=0, nothing=0.0)
    result = run("fit", save(book), *ARGUMENTS, *arguments, "--output", tmp_path / "out")
    check_refused(result, message)
    assert not (tmp_path / "out").exists()
