"""``--monotone`` and ``--rebalance``: predictions that rise or fall with a feature, and that add up."""

import json

import numpy as np
import pandas as pd
import pytest

from fairdcov.cli._models import load_model, rebalanced
from fairdcov.cli._monotone import notes_on_table

from .conftest import QUICK, check_refused, portfolio

COLUMNS = ["mileage", "density", "vehicle_type", "gender", "exposure", "claims", "cost"]
ARGUMENTS = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "--exclude", "cost", *QUICK]
TREES = ["--model", "lightgbm", "--model-option", "n_estimators=30", "n_penalised_rounds=20", "min_child_samples=5"]


@pytest.fixture
def book():
    return portfolio(1_000)[COLUMNS]


def test_trees_keep_monotone_constraints_by_name(run, save, tmp_path, book):
    pytest.importorskip("lightgbm")
    path, folder = save(book), tmp_path / "o"
    result = run("fit", path, *ARGUMENTS, *TREES, "--monotone", "density=-", "mileage=+", "--output", folder)
    assert result.code == 0, result.err
    assert "monotone: the prediction falls with density, rises with mileage" in result.out
    assert json.loads((folder / "settings.json").read_text(encoding="utf-8"))["monotone"] == {
        "density": "-",
        "mileage": "+",
    }
    # Columns in another order, with nothing but the two changing.
    for column, sign in {"mileage": 1, "density": -1}.items():
        values = np.linspace(book[column].min(), book[column].max(), 60)
        risks = pd.concat([book.iloc[[row] * 60].assign(**{column: values}) for row in range(5)])
        new = save(risks[["vehicle_type", "density", "mileage"]], "new.parquet")
        assert run("predict", folder, new, "--force", "--output", tmp_path / "n.parquet").code == 0
        curves = pd.read_parquet(tmp_path / "n.parquet")["prediction"].to_numpy().reshape(5, 60)
        assert (sign * np.diff(curves, axis=1) >= -1e-12).all()
        assert np.ptp(curves) > 0
    # Without them these trees go up and down.
    assert run("fit", path, *ARGUMENTS, *TREES, "--force", "--output", folder).code == 0
    assert "monotone" not in json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert run("predict", folder, new, "--force", "--output", tmp_path / "n.parquet").code == 0
    curves = pd.read_parquet(tmp_path / "n.parquet")["prediction"].to_numpy().reshape(5, 60)
    assert (np.diff(curves, axis=1) > 1e-6).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["mileage=+"], "--monotone is for --model lightgbm; --model glm fits splines"),
        ([*TREES, "vehicle_type=+"], "--monotone names 'vehicle_type', a category of 5 levels, which have no order"),
        ([*TREES, "milage=+"], "there is no column 'milage'; did you mean 'mileage'?"),
        ([*TREES, "mileage=up"], "--monotone takes COLUMN=+ or COLUMN=-, as in power=+; found 'mileage=up'"),
        ([*TREES, "mileage"], "--monotone takes COLUMN=+ or COLUMN=-"),
        ([*TREES, "mileage=+", "mileage=-"], "--monotone names 'mileage' twice"),
        ([*TREES, "cost=+"], "--monotone names 'cost', which is no feature"),
        ([*TREES, "gender=+"], "--monotone names 'gender', which is no feature"),
    ],
)
def test_constraints_that_are_refused(run, save, tmp_path, book, options, message):
    if options[0] == "--model":
        pytest.importorskip("lightgbm")
    model = [option for option in options if option in TREES]
    signs = [option for option in options if option not in model]
    result = run("fit", save(book), *ARGUMENTS, *model, "--monotone", *signs, "--output", tmp_path / "o")
    check_refused(result, message)
    assert not (tmp_path / "o").exists()


def test_glms_of_frequency_and_severity_take_no_constraints(run, save, tmp_path, book):
    arguments = ["--amount", "cost", "--claims", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    result = run("fit", save(book), *arguments, "--monotone", "mileage=+", "--output", tmp_path / "o")
    check_refused(result, "--monotone is for --model lightgbm; --model glm fits splines")


def test_a_rating_table_that_turns_is_remarked_on():
    class Table:
        frame = pd.DataFrame(
            {
                "factor": ["mileage"] * 4 + ["density"] * 2,
                "value": [1.0, 2.0, 3.0, np.nan, 1.0, 2.0],
                "relativity": [1.0, 1.2, 1.1, 0.2, 1.0, 2.0],
            }
        )

    (note,) = notes_on_table({"mileage": "+", "density": "+"}, Table)
    assert note.endswith("--monotone mileage=+, relativities.csv does not: it falls at 1 of 2 steps")
    assert not notes_on_table({"density": "+"}, Table)


@pytest.mark.parametrize(
    ("options", "target"),
    [
        (["--family", "tweedie", "--target", "cost"], "cost"),
        (["--family", "gaussian", "--target", "cost"], "cost"),
        (["--family", "tweedie", "--target", "cost", *TREES], "cost"),
        (["--amount", "cost", "--claims", "claims"], "cost"),
        (["--target", "claims", "--offset", "base"], "claims"),
    ],
)
def test_rebalanced_predictions_add_up_on_the_rows_fitted(run, save, tmp_path, book, options, target):
    if "lightgbm" in options:
        pytest.importorskip("lightgbm")
    book = book.assign(base=0.001 * book["mileage"])
    exclude = {"base"} if "--offset" not in options else set()
    exclude |= {"cost", "claims"} - set(options)
    given = [*options, "--exposure", "exposure", "--sensitive", "gender", "--exclude", *sorted(exclude), *QUICK]
    folder = tmp_path / "o"
    result = run("fit", save(book), *given, "--rebalance", "--output", folder)
    assert result.code == 0, result.err
    assert "rebalanced on the rows fitted: predictions " in result.out
    scored = pd.read_parquet(folder / "scored.parquet")
    fitted = scored[scored["prediction_rows"] == "fitted"]
    for name in ("prediction", "prediction_unpenalised"):
        assert fitted[name] @ fitted["exposure"] == pytest.approx(fitted[target].sum(), rel=1e-9)
    recorded = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["rebalance"]
    if "gaussian" in options:
        assert recorded["factor"] == 1
        assert recorded["shift"] != 0
    else:
        assert recorded["shift"] == 0
    # The table of relativities is that of the rebalanced model.
    assert (folder / "relativities.csv").exists() == ("gaussian" not in options)
    # The model file keeps it.
    new = save(book.drop(columns=["gender", "claims", "cost"]), "new.parquet")
    result = run("predict", folder, new, "--output", tmp_path / "n.parquet")
    assert result.code == 0, result.err
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "n.parquet")["prediction"], scored["prediction"], rtol=1e-12)


def test_a_rebalanced_model_is_out_of_balance_without(run, save, tmp_path, book):
    given = ["--family", "tweedie", "--target", "cost", "--exposure", "exposure", "--sensitive", "gender"]
    result = run("fit", save(book), *given, "--exclude", "claims", *QUICK, "--output", tmp_path / "o")
    assert result.code == 0, result.err
    fitted = pd.read_parquet(tmp_path / "o" / "scored.parquet").query("prediction_rows == 'fitted'")
    assert fitted["prediction"] @ fitted["exposure"] != pytest.approx(fitted["cost"].sum(), rel=1e-4)


def test_probabilities_are_not_rebalanced(run, save, tmp_path, book):
    book = book.assign(claims=(book["claims"] > 0).astype(int))
    given = ["--family", "binomial", "--target", "claims", "--sensitive", "gender", "--exclude", "cost", "exposure"]
    result = run("fit", save(book), *given, *QUICK, "--rebalance", "--output", tmp_path / "o")
    check_refused(result, "--rebalance is not for --family binomial")


@pytest.mark.parametrize("factor", [float("nan"), "2", None])
def test_a_balance_that_is_no_number_is_refused(run, save, tmp_path, book, factor):
    skops = pytest.importorskip("skops.io")
    assert run("fit", save(book), *ARGUMENTS, "--rebalance", "--output", tmp_path / "o").code == 0
    file = tmp_path / "o" / "model.skops"
    model = load_model(file, "glm")
    model[-1].factor_ = factor
    skops.dump(model, file)
    with pytest.raises(ValueError, match="it holds no pipeline of a glm"):
        load_model(file, "glm")


def test_rebalancing_leaves_the_model_alone(run, save, tmp_path, book):
    assert run("fit", save(book), *ARGUMENTS, "--output", tmp_path / "o").code == 0
    model = load_model(tmp_path / "o" / "model.skops", "glm")
    before = model.predict(book)

    class Rows:
        features, target, weights, offset = book, 2 * before, None, None

    np.testing.assert_allclose(rebalanced(model, Rows, method="multiplicative").predict(book), 2 * before)
    np.testing.assert_array_equal(model.predict(book), before)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"claims": 0.0, "cost": None},
            "--amount: column 'Cost €' has no value where '# claims' is 0 in 1 row(s), the first is data row 8: write",
        ),
        (
            {"claims": 1.0, "cost": None},
            "--amount: column 'Cost €' has 1 missing value(s), the first in data row 8: fill them or leave these",
        ),
        (
            {"claims": 1.0, "cost": -5.0},
            "--amount: column 'Cost €' is negative in 1 row(s), the first is data row 8: a recovery belongs to the",
        ),
        (
            {"claims": -1.0, "cost": 0.0},
            "--claims: column '# claims' is negative in 1 row(s), the first is data row 8:",
        ),
        (
            {"claims": 0.5, "cost": 100.0},
            "--claims: column '# claims' is no whole number in 1 row(s), the first is data",
        ),
        (
            {"claims": 0.0, "cost": 100.0},
            "--amount: column 'Cost €' is above 0 where '# claims' is 0 in 1 row(s), the first is data row 8",
        ),
        (
            {"claims": 1.0, "cost": 0.0},
            "--amount: column 'Cost €' is not above 0 where '# claims' is in 1 row(s), the first is data row 8",
        ),
    ],
)
def test_claims_without_amount_are_named_by_column_and_row_of_the_book(run, save, tmp_path, book, row, message):
    book = book.astype({"claims": float})
    # A row that is left out does not move the numbers of the others.
    book.loc[2, ["exposure", "claims", "cost"]] = 0.0
    book.loc[7, list(row)] = list(row.values())
    path = save(book.rename(columns={"claims": "# claims", "cost": "Cost €"}))
    arguments = ["--amount", "Cost €", "--claims", "# claims", "--exposure", "exposure", "--sensitive", "gender"]
    check_refused(run("fit", path, *arguments, *QUICK, "--output", tmp_path / "o"), message)
