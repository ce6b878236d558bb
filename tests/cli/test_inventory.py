"""What was read of every column is printed; what made a column text is said, and which features know the target."""

import json

import numpy as np
import pandas as pd
import pytest

from fairdcov.cli._files import open_table
from fairdcov.cli._inventory import ColumnRead, column_read, print_columns
from fairdcov.cli._leakage import notes_on_leakage

from .conftest import QUICK, portfolio

pytest.importorskip("pyarrow")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 2], ("whole number", 2, 0)),
        ([1.0, 2.0, np.nan], ("whole number", 2, 1)),
        ([0.5, 2.0, np.nan], ("number", 2, 1)),
        (pd.Categorical(["a", "(missing)", "(missing)"]), ("category", 1, 2)),
        (pd.Categorical(["(missing)"] * 3), ("empty", 0, 3)),
    ],
)
def test_kinds(values, expected):
    found = column_read(pd.Series(values, name="x"), "feature")
    assert (found.kind, found.levels, found.missing) == expected


def test_wide_books_are_counted(capsys):
    columns = [ColumnRead(f"x{k}", "feature", "number" if k % 2 else "category", 3, k == 99) for k in range(100)]
    print_columns([ColumnRead("claims\nin\tall", "target", "whole number", 1234, 0), *columns], all_in="settings.json")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 43
    assert lines[0].split() == ["column", "role", "kind", "levels", "missing"]
    assert lines[1].startswith("  claims in all  target")
    assert lines[-1] == (
        "  and 60 more features: 30 categories, 30 numbers; 1 with missing values (all in settings.json)"
    )


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["12", "13", "12a", "x"] + ["14"] * 9, "x: numbers but for '12a', 'x' in 2 row(s), which make all of it text"),
        (
            ["1", "2", "a", "b", "c", "d", "e", "f"] + ["1"] * 9,
            "but for 'a', 'b', 'c', 'd', 'e' and 1 more in 6 row(s)",
        ),
        (["007", "012"], "x: digits with zeros in front, such as '007', which are names"),
        (["123456789012345678901", "123456789012345678902"], "x: whole numbers of more digits than numbers can"),
        (["a", "b", "1"], None),
        (["1", "2"], None),
        (["", "NA"], None),
    ],
)
def test_why_a_column_is_text(tmp_path, values, note):
    path = tmp_path / "book.csv"
    path.write_text("y,x\n" + "".join(f"1,{value}\n" for value in values))
    remarks = open_table(path).read().remarks[1:]
    assert (note in remarks[0] and len(remarks) == 1) if note else not remarks
    assert len(open_table(path).read(as_text=["x"]).remarks) == 1
    assert len(open_table(path).read(used={"y"}).remarks) == 1


def test_numbers_that_a_parquet_file_has_as_text_stay_text_and_are_said(tmp_path):
    pd.DataFrame({"x": ["1", "2"]}).to_parquet(tmp_path / "book.parquet")
    table = open_table(tmp_path / "book.parquet").read()
    assert table.attribute("x", "").tolist() == ["1", "2"]
    assert table.remarks == ["x: numbers that the file has as text; convert them there if they are quantities"]


def test_account_numbers_are_said_to_be_names(tmp_path):
    frame = pd.DataFrame({"account": [2**53 + 1, 2**53 + 2]})
    frame.to_parquet(tmp_path / "book.parquet")
    frame.to_csv(tmp_path / "book.csv", index=False)
    for name in ("book.parquet", "book.csv"):
        remarks = open_table(tmp_path / name).read().remarks
        assert remarks[-1] == "account: whole numbers of more digits than numbers can hold, which are names"


def test_every_command_says_what_it_read(run, save, tmp_path):
    book = portfolio(400)[["mileage", "gender", "exposure", "claims"]]
    book["make"] = [f"make {k % 150}" for k in range(400)]
    book.loc[::10, "mileage"] = np.nan
    path = save(book, "book.csv")
    roles = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender"]
    result = run("fit", path, *roles, *QUICK, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert ["claims", "target", "whole", "number", str(book["claims"].nunique()), "0"] in lines
    assert ["gender", "protected", "category", "2", "0"] in lines
    assert ["mileage", "feature", "number", str(book["mileage"].nunique()), "40"] in lines
    assert "note: make is a category of 150 levels in 400 rows" in result.out
    settings = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))
    assert set(settings["columns"]) == set(book)
    assert settings["columns"]["mileage"] == {
        "role": "feature", "kind": "number", "levels": book["mileage"].nunique(), "missing": 40,
    }  # fmt: skip

    scored = tmp_path / "scored.csv"
    result = run("predict", tmp_path / "out", path, "--output", scored)
    assert ["make", "feature", "category", "150", "0"] in [line.split() for line in result.out.splitlines()]
    roles += ["--prediction", "prediction", "--features", "mileage", "--quiet"]
    result = run("audit", scored, *roles, "--output", tmp_path / "audit")
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert ["prediction", "prediction", "number"] in [line[:3] for line in lines]
    assert ["mileage", "feature", "number", str(book["mileage"].nunique()), "40"] in lines


# -- features that know the target -------------------------------------------------------------------------------------


def experience(n_rows=4_000):
    rng = np.random.default_rng(0)
    claims = rng.poisson(0.1, n_rows)
    cost = np.where(claims > 0, rng.gamma(2, 500, n_rows), 0.0)
    return rng, claims, cost


LEAKS = {
    "cost": (lambda rng, claims, cost: cost, "is 0 where"),
    "nearly": (
        lambda rng, claims, cost: np.where(rng.uniform(size=len(cost)) < 0.003, 1.0 - (cost > 0), cost),
        "is 0 where",
    ),
    "missing": (lambda rng, claims, cost: np.where(cost > 0, cost, np.nan), "or missing where"),
    "days since": (lambda rng, claims, cost: np.where(cost > 0, rng.integers(1, 300, len(cost)), -1), "is -1 where"),
    "whether": (lambda rng, claims, cost: pd.Categorical(np.where(cost > 0, "true", "false")), "is 'false' where"),
    "kind": (
        lambda rng, claims, cost: pd.Categorical(
            np.where(cost > 0, rng.choice(["hit", "theft"], len(cost)), "(missing)")
        ),
        "is missing where",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_features_that_know_the_target(name):
    make, words = LEAKS[name]
    rng, claims, cost = experience()
    notes = notes_on_leakage(pd.DataFrame({name: make(rng, claims, cost), "other": rng.normal(size=len(cost))}), claims)
    assert len(notes) == 1
    assert notes[0].startswith(f"{name} ")
    assert words in notes[0]
    assert f"--exclude {name!r}" in notes[0] or f"--exclude {name};" in f"{notes[0]};"


def test_features_that_do_not_know_it():
    rng, claims, cost = experience()
    often = np.where(rng.uniform(size=len(cost)) < 0.02, 1.0, cost)  # elsewhere as well
    seldom = np.where(rng.uniform(size=len(cost)) < 0.02, 0.0, cost)  # not always
    features = pd.DataFrame({"often": often, "seldom": seldom, "rare": claims * 0 + rng.poisson(0.1, len(cost))})
    features["constant"] = 0.0
    features["empty"] = pd.Categorical(["(missing)"] * len(cost))
    assert notes_on_leakage(features, claims) == []
    # every row has a claim, or too few have
    assert notes_on_leakage(pd.DataFrame({"cost": cost[claims > 0]}), claims[claims > 0]) == []
    few = np.append(np.zeros(500), np.ones(19))
    assert notes_on_leakage(pd.DataFrame({"cost": few}), few) == []


def test_fit_names_the_cost_of_claims(run, save, tmp_path):
    book = portfolio(500)[["mileage", "gender", "exposure", "claims", "cost"]]
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", *QUICK]
    result = run("fit", save(book), *arguments, "--output", tmp_path / "out")
    assert "note: cost is 0 where the target is 0, and is not elsewhere" in result.out
    assert "leave it out with --exclude cost" in result.out
    assert "mileage is" not in result.out
