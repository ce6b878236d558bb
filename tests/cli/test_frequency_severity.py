"""``--amount`` and ``--claims``: a premium of two models with one penalty."""

import json

import numpy as np
import pandas as pd
import pytest

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
    again = pd.read_parquet(tmp_path / "new_scored.parquet")["prediction"]
    np.testing.assert_allclose(again, scored["prediction"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--amount", "cost"], "--amount needs --claims"),
        (["--claims", "claims"], "--claims needs --amount"),
        ([], "name the column to be predicted with --target, or --amount and --claims"),
        (["--amount", "cost", "--claims", "claims", "--target", "cost"], "--target does not go with --amount"),
        (["--amount", "cost", "--claims", "claims", "--model", "lightgbm"], "--model lightgbm does not go with"),
        (["--amount", "cost", "--claims", "claims", "--family", "gamma"], "--family gamma does not go with"),
        (["--amount", "cost", "--claims", "exposure"], "--claims names 'exposure', which --exposure names already"),
        (["--amount", "nothing", "--claims", "claims"], "--amount is 0 in every row: there is nothing to fit"),
        (["--amount", "cost", "--claims", "wrong"], "--amount: column 'cost' is above 0 where 'wrong' is 0 in"),
    ],
)
def test_what_is_refused(run, save, tmp_path, arguments, message):
    book = portfolio(300)[COLUMNS].assign(wrong=0, nothing=0.0)
    result = run("fit", save(book), *ARGUMENTS, *arguments, "--output", tmp_path / "out")
    check_refused(result, message)
    assert not (tmp_path / "out").exists()
