"""``fairdcov fit``: the folder holds what it says, and what cannot be fitted is refused and leaves nothing."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import GammaRegressor, LogisticRegression, PoissonRegressor, Ridge, TweedieRegressor
from sklearn.pipeline import make_pipeline

from fairdcov import DCovNegativeBinomialRegressor
from fairdcov.actuarial import RatingTable
from fairdcov.cli._features import feature_columns
from fairdcov.metrics import gini, js_divergence

from .conftest import BOOK, QUICK, check_refused, portfolio, read_scored

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
skops_io = pytest.importorskip("skops.io")

FILES = {
    ".fairdcov-output",
    "calibration.csv",
    "calibration.png",
    "cost.csv",
    "distributions.png",
    "held_back.csv",
    "model.skops",
    "relativities.csv",
    "report.html",
    "report.json",
    "settings.json",
    "trade_off.png",
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """One fit of a Parquet book: its folder, the book and what was printed."""
    import contextlib
    import io

    from fairdcov.cli import main

    folder = tmp_path_factory.mktemp("fit")
    book = portfolio(2_000).drop(columns="cost")
    book.loc[::7, "vehicle_value"] = np.nan
    book["occupation"] = book["occupation"].astype(object).where(book.index % 5 > 0, None)
    book.to_parquet(folder / "book.parquet", index=False)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(["fit", str(folder / "book.parquet"), *BOOK, "age", "--output", str(folder / "out"), *QUICK])
    assert code == 0
    return folder / "out", book, printed.getvalue()


def test_folder(fitted):
    folder, _, printed = fitted
    assert {file.name for file in folder.iterdir()} == FILES | {"scored.parquet"}
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8").lower()
    json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert "target claims / exposure" in printed
    assert "protected: gender, region, age" in printed


def test_settings_say_what_was_fitted_to_what(fitted):
    folder, book, _ = fitted
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    for file, found in (
        (folder.parent / "book.parquet", settings["book"]["sha256"]),
        (folder / "model.skops", settings["model_sha256"]),
    ):
        assert found == hashlib.sha256(file.read_bytes()).hexdigest()
    assert settings["book"]["rows"] == len(book) == settings["book"]["fitted"] + settings["book"]["held_back"]
    assert settings["book"]["file"] == "book.parquet"
    assert settings["sensitive"] == ["gender", "region", "age"]
    assert set(settings["features"]) == set(book) - {"gender", "region", "age", "claims", "exposure"}
    assert settings["features"]["occupation"]["levels"][0] == "(missing)"
    assert settings["features"]["vehicle_value"]["kind"] == "quantity"
    assert settings["options"]["penalty"] == "ccdcov"
    assert settings["versions"]["fairdcov"]
    assert str(folder.parent) not in json.dumps(settings)


def test_unpenalised_prediction_is_that_of_scikit_learn(fitted):
    folder, book, _ = fitted
    scored = read_scored(folder / "scored.parquet")
    pd.testing.assert_frame_equal(scored[list(book)], pd.read_parquet(folder.parent / "book.parquet"))
    features = book.drop(columns=["gender", "region", "age", "claims", "exposure"])
    features = features.assign(occupation=features["occupation"].fillna("(missing)"))
    rows = scored["prediction_rows"] == "fitted"
    assert 0.78 < rows.mean() < 0.82
    reference = make_pipeline(
        feature_columns(features), PoissonRegressor(alpha=1e-5, solver="newton-cholesky", tol=1e-8)
    )
    reference.fit(
        features[rows],
        (book["claims"] / book["exposure"])[rows],
        poissonregressor__sample_weight=book["exposure"][rows],
    )
    np.testing.assert_allclose(scored["prediction_unpenalised"], reference.predict(features), rtol=1e-4)


def test_the_model_is_fairer_and_keeps_the_premium(fitted):
    folder, _, _ = fitted
    scored = read_scored(folder / "scored.parquet")
    fitted_rows = scored[scored["prediction_rows"] == "fitted"]
    assert fitted_rows["prediction"] @ fitted_rows["exposure"] == pytest.approx(fitted_rows["claims"].sum(), rel=1e-3)
    divergences = [
        js_divergence(None, fitted_rows[name], sensitive_features=fitted_rows[["gender", "region"]])
        for name in ("prediction", "prediction_unpenalised")
    ]
    assert divergences[0] < divergences[1]
    calibration = pd.read_csv(folder / "calibration.csv", encoding="utf-8-sig")
    assert calibration["strengths"].tolist() == [0, 3, 30]
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    chosen = calibration[calibration["chosen"]]
    assert chosen["strengths"].tolist() == [settings["strength"]]
    assert chosen["mean_divergence"].tolist() == [pytest.approx(settings["divergence"])]
    held = pd.read_csv(folder / "held_back.csv", encoding="utf-8-sig")
    rest = scored[scored["prediction_rows"] == "held back"]
    ratio = rest["prediction"] @ rest["exposure"] / rest["claims"].sum()
    assert held["predicted/observed"].tolist()[1] == pytest.approx(ratio)


def test_relativities_multiply_to_the_prediction(fitted):
    folder, book, _ = fitted
    table = pd.read_csv(folder / "relativities.csv", encoding="utf-8-sig")
    first, table = table.iloc[0], table.iloc[1:]
    assert first["factor"] == "(base premium)"
    assert set(table["factor"]) == set(book) - {"gender", "region", "age", "claims", "exposure"}
    table = table.assign(is_base=table["is_base"] == True)  # noqa: E712  (a column with an empty cell)
    assert table.loc[table["is_base"], "premium"].unique().tolist() == [first["premium"]]
    bases = table[table["is_base"]]
    assert (bases["relativity"] == 1).all()
    assert bases["premium"].nunique() == 1
    # two rows that differ in the level of one factor alone differ by its relativity
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    from fairdcov.cli._models import load_model

    model = load_model(folder / "model.skops", settings["model"])
    features = book[list(settings["features"])].assign(occupation=book["occupation"].fillna("(missing)"))
    pair = features.iloc[[0, 0]].assign(vehicle_type=["city", "van"])
    low, high = model.predict(pair)
    relativity = table[table["factor"] == "vehicle_type"].set_index("level")["relativity"]
    assert high / low == pytest.approx(relativity["van"] / relativity["city"])


def test_a_model_that_explains_nothing_is_said(fitted):
    folder, _, printed = fitted
    calibration = pd.read_csv(folder / "calibration.csv", encoding="utf-8-sig")
    assert calibration["mean_explained"][0] < 0
    assert calibration["kept"].isna().all()
    assert json.loads((folder / "settings.json").read_text(encoding="utf-8"))["kept"] is None
    assert "what it keeps is not known, since the model without penalty explains nothing" in printed
    assert "note: the model without penalty explains nothing" in printed


def test_what_the_chosen_strength_keeps_is_said(run, save, tmp_path):
    book = portfolio(1_500)[["vehicle_power", "gender", "exposure", "claims"]]
    rng = np.random.default_rng(0)
    # what the claims depend on is what tells the groups apart
    book["vehicle_power"] = (book["gender"] == "male") * 3 + 0.3 * rng.normal(size=len(book))
    book["claims"] = rng.poisson(book["exposure"] * np.exp(-1 + 0.5 * book["vehicle_power"]))
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    result = run("fit", save(book), *arguments, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    calibration = pd.read_csv(tmp_path / "out" / "calibration.csv", encoding="utf-8-sig")
    kept = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))["kept"]
    assert calibration.loc[calibration["chosen"], "kept"].tolist() == [pytest.approx(kept)]
    assert kept < 0.2
    assert f": keeps {kept:.0%} of what the model without penalty explains" in result.out
    assert re.search(r"note: the chosen strength, 30?, keeps -?\d+% of what|note: .* explains nothing", result.out)
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [entry["kept"] for entry in report["alternatives"] if entry["chosen"]] == [kept]
    assert any(text.startswith("The chosen strength, ") for text in report["summary"])


def test_premiums_that_are_not_positive_have_no_changes_and_it_is_said(run, save, tmp_path):
    book = portfolio(600).assign(margin=lambda frame: frame["bonus_malus"] - frame["bonus_malus"].mean())
    roles = ["--target", "margin", "--sensitive", "region", "--features", "mileage", "density"]
    result = run("fit", save(book), *roles, "--family", "gaussian", "--output", tmp_path / "out", *QUICK)
    assert result.code == 0, result.err
    assert re.search(r"note: the report has no changes of premiums: \d+ prediction\(s\) are not above 0", result.out)
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["change"] is None


def test_the_rating_table_is_in_balance_and_says_so(fitted):
    folder, _, printed = fitted
    table = pd.read_csv(folder / "relativities.csv", encoding="utf-8-sig")
    said = re.search(
        r"relativities.csv: (\d+) relativities of (\d+) factors; .* predicts (\S+) of .* total, (\S+) after", printed
    )
    # the first row is the base premium
    assert [int(said[1]), int(said[2])] == [len(table) - 1, table["factor"].nunique() - 1]
    assert 0.9 < float(said[3]) < 1.1
    assert float(said[3]) != 1.0
    assert said[4] == "1.000000"
    beside = re.search(r"the table on the rows held back: (\S+)% of the variation of the premiums is kept; .*", printed)
    assert float(beside[1]) > 50
    assert re.search(r"; Gini: \S+, \S+ of the model, \S+ kept; predicted / observed: .*; dependence: ", beside[0])


def test_the_rating_table_predicts_what_it_says(fitted):
    folder, book, _ = fitted
    scored = read_scored(folder / "scored.parquet")
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    table = RatingTable.from_csv(folder / "relativities.csv")
    rows = (scored["prediction_rows"] == "fitted").to_numpy()
    features = book[list(settings["features"])].assign(occupation=book["occupation"].fillna("(missing)"))[rows]
    exposure = book["exposure"].to_numpy()[rows]
    assert table.predict(features) @ exposure == pytest.approx(scored["prediction"][rows] @ exposure, rel=1e-9)


def test_the_cost_of_the_penalty_is_printed_and_written(fitted):
    folder, _, printed = fitted
    cost = pd.read_csv(folder / "cost.csv", encoding="utf-8-sig").set_index("measure")
    assert cost.columns.tolist() == ["no penalty", "ccdcov", "kept"]
    scored = read_scored(folder / "scored.parquet")
    held = scored[scored["prediction_rows"] == "held back"]
    for name, column in (("no penalty", "prediction_unpenalised"), ("ccdcov", "prediction")):
        y, weight = held["claims"] / held["exposure"], held["exposure"]
        assert cost.loc["Gini", name] == pytest.approx(gini(y, held[column], sample_weight=weight))
        for gender, part in held.groupby("gender", observed=True):
            ratio = part["claims"].sum() / (part["exposure"] @ part[column])
            assert cost.loc[f"A/E of gender {gender}", name] == pytest.approx(ratio)
    change = (held["prediction"] - held["prediction_unpenalised"]).abs()
    share = held["exposure"] @ change / (held["exposure"] @ held["prediction_unpenalised"])
    assert cost.loc["premium that changes", "ccdcov"] == pytest.approx(share)
    assert re.search(r"what the penalty costs there\n  explained deviance -?\d\.\d{4} -> -?\d\.\d{4}: ", printed)
    assert re.search(r"\n  Gini \S+ -> \S+", printed)
    assert re.search(rf"\n  {share:.1%} of the premium changes; \d+% of the exposure by over 10%\n", printed)
    assert re.search(r"actual / expected +no penalty +ccdcov\n.*gender .*\d\.\d{3}", printed)
    explains = cost.loc["explained deviance", "ccdcov"] > 0
    assert ("note: the chosen model explains nothing of the rows held back" in printed) != explains


def test_protected_attributes_are_not_in_the_model(fitted):
    folder, _, _ = fitted
    file = folder / "model.skops"
    model = skops_io.load(file, trusted=skops_io.get_untrusted_types(file=file))
    assert not {"gender", "region", "age", "claims", "exposure"} & set(model.feature_names_in_)


FAMILIES = {
    "gamma": (
        ["--target", "cost", "--exposure", "claims"],
        GammaRegressor(alpha=1e-5, solver="newton-cholesky", tol=1e-8),
    ),
    "tweedie": (
        ["--target", "cost", "--exposure", "exposure", "--power", "1.6"],
        TweedieRegressor(power=1.6, alpha=1e-5, solver="newton-cholesky", tol=1e-8),
    ),
    "negative_binomial": (
        ["--target", "claims", "--exposure", "exposure", "--dispersion", "0.4"],
        DCovNegativeBinomialRegressor(strength=0, dispersion=0.4, alpha=1e-5, tol=1e-8),
    ),
    "gaussian": (["--target", "bonus_malus"], Ridge(alpha=1e-5)),
    "binomial": (["--target", "claimed"], LogisticRegression(C=1e5, solver="newton-cholesky", tol=1e-8)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families(run, save, tmp_path, family):
    arguments, reference = FAMILIES[family]
    book = portfolio(2_500 if family == "gamma" else 800).assign(claimed=lambda frame: (frame["claims"] > 0) * 1)
    path = save(book)
    features = ["mileage", "density", "vehicle_type"]
    result = run(
        "fit", path, *arguments, "--sensitive", "region", "--features", *features, "--family", family,
        "--output", tmp_path / "out", "--rule", "threshold", "--max-divergence", "1e-6", *QUICK,
    )  # fmt: skip
    assert result.code == 0, result.err
    scored = read_scored(tmp_path / "out" / "scored.parquet")
    target, weight = scored[arguments[1]], np.ones(len(scored))
    if "--exposure" in arguments:
        weight = scored[arguments[3]].to_numpy()
        target = target / np.where(weight > 0, weight, 1)
        assert ((scored["prediction_rows"] == "left out") == (weight == 0)).all()
    assert (tmp_path / "out" / "relativities.csv").exists() == (family in ("gamma", "negative_binomial", "tweedie"))
    rows = (scored["prediction_rows"] == "fitted").to_numpy()
    pipeline = make_pipeline(feature_columns(book[features][weight > 0]), reference)
    name = pipeline.steps[-1][0]
    pipeline.fit(book[features][rows], target[rows], **{f"{name}__sample_weight": weight[rows]})
    expected = (
        pipeline.predict_proba(book[features])[:, 1] if family == "binomial" else pipeline.predict(book[features])
    )
    np.testing.assert_allclose(scored["prediction_unpenalised"], expected, rtol=2e-3)
    assert not np.allclose(scored["prediction"], scored["prediction_unpenalised"], rtol=1e-3)


def test_csv_of_another_country_gives_the_same_model(run, save, tmp_path):
    book = portfolio(600)[["mileage", "vehicle_type", "gender", "exposure", "claims"]]
    book["vehicle_type"] = book["vehicle_type"].astype(str).replace("city", "Stadtauto für Köln")
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    first = run("fit", save(book), *arguments, "--output", tmp_path / "a")
    path = save(book, "book.csv", sep=";", decimal=",", encoding="cp1252")
    second = run("fit", path, *arguments, "--output", tmp_path / "b")
    assert first.code == second.code == 0, first.err + second.err
    assert "separated by semicolons, decimal comma, encoding cp1252" in second.out
    one, other = read_scored(tmp_path / "a" / "scored.parquet"), read_scored(tmp_path / "b" / "scored.csv")
    np.testing.assert_allclose(one["prediction"], other["prediction"], rtol=1e-10)
    assert one["vehicle_type"].tolist() == other["vehicle_type"].tolist()
    np.testing.assert_array_equal(one["mileage"], other["mileage"])


def test_a_seed_gives_the_same_folder_again(run, save, tmp_path):
    path = save(portfolio(400)[["mileage", "gender", "claims"]])
    arguments = ["fit", path, "--target", "claims", "--sensitive", "gender", *QUICK]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*arguments, "--seed", seed, "--output", tmp_path / name).code == 0
    scored = {name: read_scored(tmp_path / name / "scored.parquet") for name in "abc"}
    pd.testing.assert_frame_equal(scored["a"], scored["b"])
    assert not scored["a"]["prediction_rows"].equals(scored["c"]["prediction_rows"])
    calibrations = [(tmp_path / name / "calibration.csv").read_bytes() for name in "abc"]
    assert calibrations[0] == calibrations[1] != calibrations[2]


def test_boosted_trees(run, save, tmp_path):
    pytest.importorskip("lightgbm")
    book = portfolio(600).drop(columns=["cost", "age"])
    book.loc[::5, "mileage"] = np.nan
    trees = ["n_estimators=10", "n_penalised_rounds=10", "num_leaves=5"]
    result = run(
        "fit", save(book), *BOOK, "--model", "lightgbm", "--model-option", *trees, "--output", tmp_path / "out", *QUICK
    )
    assert result.code == 0, result.err
    table = RatingTable.from_csv(tmp_path / "out" / "relativities.csv")
    assert table.n_relativities <= 120
    assert re.search(r"relativities.csv: \d+ relativities of \d+ factors.* 1.000000 after", result.out)
    scored = read_scored(tmp_path / "out" / "scored.parquet")
    assert scored["prediction"].nunique() > 5
    result = run("predict", tmp_path / "out", tmp_path / "book.parquet", "--output", tmp_path / "new.parquet")
    assert result.code == 0, result.err
    np.testing.assert_array_equal(read_scored(tmp_path / "new.parquet")["prediction"], scored["prediction"])


# -- rows and columns that are not as they should be -------------------------------------------------------------------


def test_rows_without_exposure(run, save, tmp_path):
    book = portfolio(400)[["mileage", "gender", "exposure", "claims"]]
    book.loc[[3, 8], ["exposure", "claims"]] = 0.0
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "--output", tmp_path / "out"]
    result = run("fit", save(book), *arguments, *QUICK)
    assert result.code == 0, result.err
    assert "left out 2 row(s) without exposure and without claims" in result.out
    scored = read_scored(tmp_path / "out" / "scored.parquet")
    assert np.flatnonzero(scored["prediction_rows"] == "left out").tolist() == [3, 8]
    assert (scored["prediction"] > 0).all()

    book.loc[8, "claims"] = 1.0
    result = run("fit", save(book), *arguments, "--force", *QUICK)
    check_refused(result, "'exposure' is 0 although 'claims' is not in 1 row(s), the first is data row 9")
    book.loc[5, "exposure"] = -1.0
    check_refused(run("fit", save(book), *arguments, "--force", *QUICK), "'exposure' is negative in 1 row(s)")
    result = run("fit", save(book.assign(exposure=0.0, claims=0.0)), *arguments, "--force", *QUICK)
    check_refused(result, "'exposure' is 0 in every row")


def test_groups_without_claims_are_named(run, save, tmp_path):
    book = portfolio(500)[["mileage", "gender", "region", "exposure", "claims"]]
    book.loc[(book["gender"] == "male") & (book["region"] == "south"), "claims"] = 0.0
    result = run("fit", save(book), *BOOK, "--output", tmp_path / "out", *QUICK)
    assert result.code == 0, result.err
    assert "1 of 12 groups have no claims: male × south" in result.out


def test_levels_with_few_claims_are_named(run, save, tmp_path):
    book = portfolio(500)[["mileage", "gender", "region", "exposure", "claims"]]
    book["area"] = ["moor"] * 25 + ["town", "coast"] * 237 + ["town"]
    book.loc[:24, "claims"] = [1.0] * 9 + [0.0] * 16
    result = run("fit", save(book), *BOOK, "--output", tmp_path / "out", *QUICK)
    assert result.code == 0, result.err
    assert "area: under 10 rows with claims at moor (9 of 25); in a fold" in result.out
    book.loc[9, "claims"] = 1.0
    result = run("fit", save(book), *BOOK, "--output", tmp_path / "out", "--force", *QUICK)
    assert "rows with claims at" not in result.out


def test_hostile_names_stay_text(run, pictures, save, tmp_path):
    book = portfolio(500)[["mileage", "vehicle_type", "gender", "exposure", "claims"]]
    book["gender"] = book["gender"].astype(object).replace({"male": "<script>alert(1)</script>"})
    book["=1+1"] = book.pop("vehicle_type").astype(object).replace({"city": "=SUM(A1)", "van": "@x"})
    path = save(book, "book.csv")
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    result = run("fit", path, *arguments, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    for file in ("scored.csv", "relativities.csv", "calibration.csv"):
        for line in (tmp_path / "out" / file).read_text(encoding="utf-8-sig").splitlines():
            assert not any(cell.lstrip('"').startswith(("=", "@")) for cell in line.split(",")), line
    # a file that is safe for spreadsheets is still the same book
    scored = pd.read_csv(tmp_path / "out" / "scored.csv", encoding="utf-8-sig")
    (tmp_path / "again.csv").write_bytes((tmp_path / "out" / "scored.csv").read_bytes())
    result = run(
        "predict", tmp_path / "out", tmp_path / "again.csv", "--output", tmp_path / "new.csv", "--prediction-name", "p"
    )
    assert result.code == 0, result.err
    assert "does not know" not in result.out
    np.testing.assert_allclose(read_scored(tmp_path / "new.csv")["p"], scored["prediction"], rtol=1e-12)


def test_a_rule_that_cannot_be_met_has_an_exit_code_of_its_own(run, save, tmp_path):
    arguments = ["--rule", "threshold", "--max-divergence", "1e-9", "--strengths", "1", "--folds", "2", "--quiet"]
    book = portfolio(400)[["mileage", "gender", "region", "exposure", "claims"]]
    result = run("fit", save(book), *BOOK, *arguments, "--output", tmp_path / "out")
    assert result.code == 3
    assert "no strength brings the mean divergence down to --max-divergence 1e-09" in result.err
    assert "mean_divergence" in result.out
    assert not (tmp_path / "out").exists()


BAD = {
    "nearest target": (["--target", "claim"], "--target names 'claim', which is not a column"),
    "nearest sensitive": (["--sensitive", "gendre"], "did you mean 'gender'?"),
    "no such feature": (["--features", "milage"], "did you mean 'mileage'?"),
    "text target": (["--target", "vehicle_type"], "--target: column 'vehicle_type' must be numbers; found"),
    "text exposure": (["--exposure", "vehicle_type"], "--exposure: column 'vehicle_type' must be numbers"),
    "two roles": (["--exposure", "claims"], "--exposure names 'claims', which --target names already"),
    "protected feature": (["--features", "mileage", "gender"], "--features names 'gender', which --sensitive names"),
    "name of each row": (["--features", "mileage", "policy"], "'policy' has 400 levels in 400 rows"),
    "constant feature": (["--features", "constant"], "every feature has one value only"),
    "constant attribute": (["--sensitive", "constant"], "--sensitive: column 'constant' has the same value"),
    "missing numbers": (["--sensitive", "gappy"], "--sensitive: column 'gappy' has 1 missing value(s)"),
    "threshold": (["--rule", "threshold"], "--rule threshold needs --max-divergence"),
    "threshold of another rule": (["--max-divergence", "0.1"], "--max-divergence is for --rule threshold"),
    "test size": (["--test-size", "1.5"], "--test-size must be between 0 and 1"),
    "folds": (["--folds", "1"], "--folds must be at least 2"),
    "binomial exposure": (["--family", "binomial"], "without --exposure"),
    "gamma of zeros": (["--family", "gamma"], "--family gamma needs a target above 0"),
    "power": (["--family", "tweedie", "--power", "3"], "--power must be between 1 and 2"),
    "dispersion": (["--family", "negative_binomial", "--dispersion", "0"], "--dispersion must be above 0"),
    "strengths": (["--strengths", "10", "1"], "strengths must increase"),
    "model option": (["--model-option", "alhpa=1"], "did you mean 'alpha'?"),
    "model option without value": (["--model-option", "alpha"], "--model-option takes NAME=VALUE"),
    "bins of text": (["--bins", "gender=1,2"], "--bins names 'gender'; the protected numbers are []"),
    "bins": (["--bins", "age:1,2"], "--bins takes COLUMN=EDGES"),
    "prediction name": (["--prediction-name", "mileage"], "has a column 'mileage' already"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_options(run, save, tmp_path, what):
    arguments, message = BAD[what]
    book = portfolio(400).assign(policy=[f"P{i}" for i in range(400)], constant=1.0, gappy=np.arange(400.0))
    book.loc[5, "gappy"] = np.nan
    defaults = {"--target": ["claims"], "--exposure": ["exposure"], "--sensitive": ["gender"], "--exclude": ["policy"]}
    given = {**defaults, **({"--features": []} if "--features" in arguments else {})}
    if "--features" in arguments:
        del given["--features"], given["--exclude"]
    for option, values in given.items():
        if option not in arguments:
            arguments = [*arguments, option, *values]
    path = save(book)
    result = run("fit", path, *arguments, "--output", tmp_path / "out", "--quiet")
    check_refused(result, message)
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_read(run, tmp_path):
    for name, content, message in (
        ("empty.csv", b"", "is empty"),
        ("head.csv", b"claims,exposure,gender\n", "has no rows"),
        ("twice.csv", b"claims,claims,exposure,gender\n1,2,3,4\n", "duplicated column names: 'claims'"),
        (
            "mixed.csv",
            "claims,gender,region\n1,é,a\n".encode() + "1,é,a\n".encode("latin-1"),
            "mixed encodings: line 3",
        ),
        ("damaged.parquet", b"PAR1 and nothing more", "not a Parquet file that can be read"),
        ("short.csv", b"claims,exposure,gender,region,x\n" + b"1,1,a,b,1\n1,1,b,a,2\n" * 9, "at least 100 rows"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        check_refused(run("fit", path, *BOOK, "--output", tmp_path / "out", "--quiet"), message)
        path.unlink()
    check_refused(run("fit", tmp_path / "none.csv", *BOOK, "--output", tmp_path / "out"), "does not exist")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept_without_force(run, save, tmp_path):
    path = save(portfolio(400)[["mileage", "gender", "claims"]])
    arguments = ["fit", path, "--target", "claims", "--sensitive", "gender", "--output", tmp_path / "out", *QUICK]
    assert run(*arguments).code == 0
    before = (tmp_path / "out" / "model.skops").read_bytes()
    check_refused(run(*arguments), "exists; name another folder, or replace it with --force")
    assert (tmp_path / "out" / "model.skops").read_bytes() == before
    assert run(*arguments, "--force", "--prediction-name", "p").code == 0
    assert "p" in read_scored(tmp_path / "out" / "scored.parquet")


def test_an_interruption_while_writing_leaves_nothing(run, save, tmp_path, monkeypatch):
    from fairdcov.cli import _fit

    def interrupt(*_, **__):
        assert any(tmp_path.glob(".out-*/model.skops")), "the folder has been begun"
        raise KeyboardInterrupt

    monkeypatch.setattr(_fit, "draw_calibrations", interrupt)
    path = save(portfolio(400)[["mileage", "gender", "claims"]])
    result = run("fit", path, "--target", "claims", "--sensitive", "gender", "--output", tmp_path / "out", *QUICK)
    check_refused(result, "interrupted; nothing was written", code=130)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_control_c_ends_a_real_run_and_leaves_nothing(save, tmp_path):
    path = save(portfolio(3_000).drop(columns="cost"))
    strengths = [str(strength) for strength in np.geomspace(0.1, 1000, 400).round(4)]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fairdcov.cli",
            "fit",
            path,
            *BOOK,
            "--output",
            tmp_path / "out",
            "--strengths",
            *strengths,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # a shell that runs the tests in the background may have turned the signal off
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for line in process.stdout:
            if line.startswith("calibrating"):
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1].endswith("fairdcov fit: interrupted; nothing was written")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [path]


def test_control_features(run, save, tmp_path):
    book = portfolio(1_000)[["mileage", "density", "vehicle_type", "gender", "region", "exposure", "claims"]]
    path = save(book)
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    result = run("fit", path, *arguments, "--control", "mileage", "region", "--output", tmp_path / "out")
    assert result.code == 0, result.err
    assert "protected: gender, given mileage, region; 4 feature(s)" in result.out
    settings = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))
    assert settings["control"] == ["mileage", "region"]
    assert set(settings["features"]) == {"mileage", "density", "vehicle_type", "region"}
    scored, held = read_scored(tmp_path / "out" / "scored.parquet"), pd.read_csv(tmp_path / "out" / "held_back.csv")
    rows = scored[scored["prediction_rows"] == "held back"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = js_divergence(
            None,
            rows["prediction"],
            sensitive_features=rows["gender"],
            sample_weight=rows["exposure"],
            control_features=rows[["mileage", "region"]],
        )
    assert held["given mileage, region"][1] == pytest.approx(expected, rel=1e-6)
    # The model is another one than without control features, and predicts without them where they are no features.
    plain = run("fit", path, *arguments, "--output", tmp_path / "plain")
    assert plain.code == 0, plain.err
    assert not np.allclose(read_scored(tmp_path / "plain" / "scored.parquet")["prediction"], scored["prediction"])
    outside = run("fit", path, *arguments, "--control", "region", "--exclude", "region", "--output", tmp_path / "other")
    assert outside.code == 0, outside.err
    new = save(book.drop(columns=["region", "gender"]), "new.parquet")
    assert run("predict", tmp_path / "other", new, "--output", tmp_path / "new_scored.parquet").code == 0


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (["claims"], "--control names 'claims', which --target names already"),
        (["gender"], "--control names 'gender', which --sensitive names already"),
        (["milage"], "did you mean 'mileage'?"),
        (["copy"], "control features ['copy'] determine the protected attributes ['gender']"),
    ],
)
def test_control_features_that_are_refused(run, save, tmp_path, control, message):
    book = portfolio(300)[["mileage", "gender", "claims"]].assign(copy=lambda frame: frame["gender"].astype(str) + "!")
    arguments = ["--target", "claims", "--sensitive", "gender", "--output", tmp_path / "out", *QUICK]
    result = run("fit", save(book), *arguments, "--control", *control)
    assert (result.code, (tmp_path / "out").exists()) == (2, False)
    assert message in result.err


def test_folds_that_disagree_are_remarked_on(run, save, tmp_path):
    # All claims of a level are those of one policy: the fold that holds it out is fitted to a level without.
    book = portfolio(1_000)[["mileage", "density", "bonus_malus", "gender", "exposure", "claims"]]
    book = book.assign(use=np.where(book.index % 40 == 0, "hire", "own"))
    book["claims"] = ((book["density"] > book["density"].median()) & (book.index % 3 > 0)).astype(int)
    book.loc[book["use"] == "hire", "claims"] = 0
    book.loc[80, "claims"] = 22
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    result = run("fit", save(book), *arguments, "--output", tmp_path / "o")
    assert result.code == 0, result.err
    notes = [line for line in result.out.splitlines() if line.startswith("  note: the folds disagree: ")]
    assert len(notes) == 1
    assert "in 1 of 2, fold " in notes[0]
    assert notes[0].endswith("merge them with others, or raise --model-option alpha")
