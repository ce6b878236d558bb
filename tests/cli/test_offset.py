"""``--offset``: a known part of the prediction that fit and predict read from a column."""

import json

import numpy as np
import pandas as pd
import pytest

from fairdcov.actuarial import RatingTable

from .conftest import QUICK, check_refused, portfolio

COLUMNS = ["mileage", "density", "vehicle_type", "gender", "exposure", "claims", "log_base"]


@pytest.fixture
def book():
    book = portfolio(1_000)
    return book.assign(log_base=np.log(0.1) + 0.02 * (book["bonus_malus"] - 100))[COLUMNS]


ARGUMENTS = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]


@pytest.mark.parametrize("model", ["glm", "lightgbm"])
def test_fit_and_predict_with_an_offset(run, save, tmp_path, book, model):
    if model == "lightgbm":
        pytest.importorskip("lightgbm")
    path = save(book)
    options = [] if model == "glm" else ["--model-option", "n_estimators=20", "n_penalised_rounds=10", "num_leaves=4"]
    result = run(
        "fit", path, *ARGUMENTS, "--offset", "log_base", "--model", model, *options, "--output", tmp_path / "o"
    )
    assert result.code == 0, result.err
    assert "relativities.csv is what the model adds to log_base: multiply by exp(log_base)" in result.out + result.err
    assert "of the model's total, 1.000000 after its base premium was rebalanced" in result.out
    base = np.exp(book["log_base"])
    assert f"offset log_base: exp(log_base) from {base.min():.4g} to {base.max():.4g}" in result.out
    settings = json.loads((tmp_path / "o" / "settings.json").read_text(encoding="utf-8"))
    assert settings["offset"] == "log_base"
    assert set(settings["features"]) == {"mileage", "density", "vehicle_type"}
    scored = pd.read_parquet(tmp_path / "o" / "scored.parquet")
    fitted = scored["prediction_rows"] == "fitted"
    total = (scored["prediction"] * scored["exposure"])[fitted].sum()
    assert total == pytest.approx(scored["claims"][fitted].sum(), rel=0.02)
    # The column of the same name, or another one, and never none.
    new = book.drop(columns=["gender", "claims", "exposure"])
    assert run("predict", tmp_path / "o", save(new, "new.parquet"), "--output", tmp_path / "n.parquet").code == 0
    again = pd.read_parquet(tmp_path / "n.parquet")["prediction"]
    np.testing.assert_allclose(again, scored["prediction"])
    renamed = save(new.rename(columns={"log_base": "log_bass"}), "renamed.parquet")
    result = run("predict", tmp_path / "o", renamed, "--output", tmp_path / "r.parquet")
    check_refused(result, "has no column 'log_base', the offset that the model was fitted with")
    result = run("predict", tmp_path / "o", renamed, "--offset", "log_bass", "--output", tmp_path / "r.parquet")
    assert result.code == 0, result.err
    assert any(line.split()[:2] == ["log_bass", "offset"] for line in result.out.splitlines())
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "r.parquet")["prediction"], again)
    table = RatingTable.from_csv(tmp_path / "o" / "relativities.csv")
    features = book[list(settings["features"])]
    total = (table.predict(features, unknown="nearest") * base * book["exposure"])[fitted].sum()
    assert total == pytest.approx((scored["prediction"] * scored["exposure"])[fitted].sum(), rel=1e-6)


def test_offsets_that_are_refused(run, save, tmp_path, book):
    output = ["--output", tmp_path / "out"]
    result = run("fit", save(book), *ARGUMENTS, "--offset", "claims", *output)
    check_refused(result, "--offset names 'claims', which --target names already")
    result = run("fit", save(book), *ARGUMENTS, "--offset", "log_bas", *output)
    check_refused(result, "did you mean 'log_base'?")
    result = run("fit", save(book), *ARGUMENTS, "--offset", "log_base", "--features", "log_base", "mileage", *output)
    check_refused(result, "--features names 'log_base', which --offset names already")
    result = run(
        "fit", save(book.assign(log_base=[None, *book["log_base"][1:]])), *ARGUMENTS, "--offset", "log_base", *output
    )
    check_refused(result, "--offset: column 'log_base' has 1 missing value(s), the first in data row 1")
    infinite = save(book.assign(log_base=[np.inf, *book["log_base"][1:]]), "infinite.parquet")
    result = run("fit", infinite, *ARGUMENTS, "--offset", "log_base", *output)
    check_refused(result, "--offset: column 'log_base' has 1 infinite value(s), the first in data row 1")
    assert not (tmp_path / "out").exists()
    assert run("fit", save(book), *ARGUMENTS, "--offset", "log_base", *output).code == 0
    result = run("predict", tmp_path / "out", infinite, "--output", tmp_path / "s.parquet")
    check_refused(result, "--offset: column 'log_base' has 1 infinite value(s), the first in data row 1")
    assert not (tmp_path / "s.parquet").exists()


def test_a_model_without_an_offset_takes_none(run, save, tmp_path, book):
    assert run("fit", save(book), *ARGUMENTS, "--exclude", "log_base", "--output", tmp_path / "out").code == 0
    result = run("predict", tmp_path / "out", save(book), "--offset", "log_base", "--output", tmp_path / "s.parquet")
    check_refused(result, "the model was fitted without an offset")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda book: 1e3,
            "column 'log_base' runs from 1000 to 1000, which are no logarithms of rates: --offset is on",
        ),
        (lambda book: 400 * np.exp(book["log_base"]), "name a column with the logarithm of the base rate"),
        (
            lambda book: -np.geomspace(1, 40, len(book)),
            "column 'log_base' runs from -40 to -1, which are no logarithms",
        ),
        (
            lambda book: np.log(book["exposure"]) - 2,
            "column 'log_base' is the logarithm of the --exposure, by which --target is divided already",
        ),
    ],
    ids=["huge", "money", "wide", "exposure"],
)
def test_offsets_of_another_scale(run, save, tmp_path, book, make, message):
    path = save(book.assign(log_base=make(book)))
    check_refused(run("fit", path, *ARGUMENTS, "--offset", "log_base", "--output", tmp_path / "o"), message)
    assert not (tmp_path / "o").exists()


def test_counts_with_the_logarithm_of_the_exposure_are_a_model(run, save, tmp_path, book):
    path = save(book.assign(log_base=np.log(book["exposure"])).drop(columns="exposure"))
    arguments = ["--target", "claims", "--sensitive", "gender", "--offset", "log_base", *QUICK]
    result = run("fit", path, *arguments, "--output", tmp_path / "o")
    assert result.code == 0, result.err


def test_rates_in_the_place_of_their_logarithm_are_remarked_on(run, save, tmp_path, book):
    rate = np.exp(book["log_base"]) * book["claims"].sum() / (np.exp(book["log_base"]) @ book["exposure"])
    note = "note: --offset: the mean of log_base is 0."
    result = run(
        "fit", save(book.assign(log_base=rate)), *ARGUMENTS, "--offset", "log_base", "--output", tmp_path / "o"
    )
    assert result.code == 0, result.err
    assert note in result.out
    assert "if log_base is a rate, take its logarithm" in result.out
    # And where one is asked to predict with another one than it was fitted with.
    arguments = ["--offset", "log_base", "--force", "--output", tmp_path / "o"]
    result = run("fit", save(book.assign(log_base=np.log(rate))), *ARGUMENTS, *arguments)
    assert result.code == 0, result.err
    assert note not in result.out
    settings = json.loads((tmp_path / "o" / "settings.json").read_text(encoding="utf-8"))
    assert settings["offset_range"] == [np.log(rate).min(), np.log(rate).max()]
    again = save(book.assign(log_base=np.log(rate)))
    result = run("predict", tmp_path / "o", again, "--output", tmp_path / "s.parquet")
    assert result.code == 0, result.err
    assert "beyond the rows fitted" not in result.out
    result = run("predict", tmp_path / "o", save(book.assign(log_base=rate)), "--output", tmp_path / "r.parquet")
    assert "note: log_base is beyond the rows fitted, -" in result.out
    assert "in 100% of the rows" in result.out
    money = save(book.assign(log_base=1e4 * rate))
    result = run("predict", tmp_path / "o", money, "--output", tmp_path / "m.parquet")
    check_refused(result, "which are no logarithms of rates")
    (tmp_path / "o" / "settings.json").write_text(
        json.dumps({**settings, "offset_range": ["a", None]}), encoding="utf-8"
    )
    check_refused(
        run("predict", tmp_path / "o", save(book), "--output", tmp_path / "d.parquet"), "settings.json is damaged"
    )
