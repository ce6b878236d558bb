"""excel_safe and write_csv: no formula survives, numbers are read back as they were, a file is whole or not there."""

import csv
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from fairdcov.actuarial import excel_safe, one_way, premium_change_by_group, write_csv
from fairdcov.actuarial._export import armed, disarmed

DANGEROUS = ["=SUM(A1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "－2"]
HARMLESS = ["<script>", "diesel", "1=1", "a,b;c", 'say "no"', "ä ö 漢", " ", ""]


def test_text_is_disarmed_and_nothing_else():
    table = pd.DataFrame({"level": DANGEROUS + HARMLESS, "effect": np.linspace(-1, 1, 17)})
    safe = excel_safe(table)
    assert safe["level"].tolist() == [f"'{text}" for text in DANGEROUS] + HARMLESS
    assert safe["effect"].equals(table["effect"])
    assert table["level"][0] == "=SUM(A1)"  # the input is as it was


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫", "⁼"])
@pytest.mark.parametrize(
    "front",
    ["", " ", "   ", "\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}", "\ufeff", "\N{SOFT HYPHEN}", "\N{IDEOGRAPHIC SPACE}"]
    + [
        "\N{RIGHT-TO-LEFT OVERRIDE}",
        "\x00",
        "\x1f",
        "\N{HANGUL FILLER}",
        "\N{VARIATION SELECTOR-16}",
        " \u200b\t",
        "'",
    ],
)
def test_what_cannot_be_seen_in_front_does_not_hide_a_formula(front, sign):
    text = f"{front}{sign}1+1"
    assert excel_safe(pd.DataFrame({text: [text]})).iloc[0, 0] == f"'{text}"
    assert excel_safe(pd.DataFrame({text: [text]})).columns[0] == f"'{text}"


@given(st.text(st.sampled_from("'=+-@＝ \t\n\u200b\ufeffa1"), max_size=6) | st.text(max_size=8))
def test_disarmed_text_is_no_formula_and_is_read_back_as_it_was(text):
    safe = disarmed(text)
    assert armed(safe) == text
    assert not safe.lstrip(" \t\n\u200b\ufeff").startswith(("=", "+", "-", "@", "＝"))


def test_whole_numbers_beside_gaps_stay_what_they_are(tmp_path):
    large = 2**53 + 1
    table = pd.DataFrame({"n": pd.Series([large, None, 123456], dtype=object), "mixed": ["a", large, None]})
    assert excel_safe(table)["n"].tolist()[::2] == [large, 123456]
    assert write_csv(table, tmp_path / "table.csv").read_text(encoding="utf-8-sig").splitlines()[1:] == [
        f'{large},"a"', f'"",{large}', '123456,""',
    ]  # fmt: skip


def test_names_index_and_types():
    table = pd.DataFrame(
        {
            "=name": pd.Categorical(["-a", "b"]),
            "mixed": [-1, "-1"],
            "bins": [pd.Interval(0, 1), pd.Interval(1, 2)],
            "missing": [None, "=x"],
            "decimal": [decimal.Decimal("-1.5"), decimal.Decimal(2)],
            "flag": [True, False],
        },
        index=pd.MultiIndex.from_tuples([("@f", 1), ("m", 2)], names=["-gender", "age"]),
    )
    safe = excel_safe(table)
    assert safe.columns.tolist() == ["'-gender", "age", "'=name", "mixed", "bins", "missing", "decimal", "flag"]
    assert safe["'-gender"].tolist() == ["'@f", "m"]
    assert safe["age"].tolist() == [1, 2]
    assert safe["'=name"].tolist() == ["'-a", "b"]
    assert safe["mixed"].tolist() == [-1, "'-1"]
    assert safe["bins"].tolist() == ["(0, 1]", "(1, 2]"]
    assert safe["missing"].isna().tolist() == [True, False]
    assert safe["decimal"].tolist() == [decimal.Decimal("-1.5"), 2]
    assert safe["flag"].tolist() == [True, False]


def test_an_index_that_is_named_like_a_column():
    table = pd.DataFrame({"level": [1.0, 2.0]}, index=pd.Index(["=a", "b"], name="level"))
    safe = excel_safe(table)
    assert safe.columns.tolist() == ["level", "level"]
    assert safe.iloc[:, 0].tolist() == ["'=a", "b"]


def test_duplicated_names_series_and_polars():
    doubled = pd.DataFrame([["=a", "b"]], columns=["x", "x"])
    assert excel_safe(doubled).to_numpy().tolist() == [["'=a", "b"]]
    assert excel_safe(pd.Series(["=a"], name="level"))["level"].tolist() == ["'=a"]
    polars = excel_safe(pl.DataFrame({"level": ["=a", None], "n": [1, 2]}))
    assert polars["level"].tolist()[0] == "'=a"
    assert polars["level"].isna().tolist() == [False, True]
    assert polars["n"].tolist() == [1, 2]
    with pytest.raises(TypeError, match="table must be a DataFrame; found list"):
        excel_safe(["=a"])


def test_numbers_are_read_back_as_they_were(rng, tmp_path):
    values = np.append(rng.normal(size=50) * 10.0 ** rng.integers(-12, 12, 50), [0.1, -0.0, np.nan])
    table = pd.DataFrame({"level": [f"{k}" for k in range(53)], "value": values, "n": np.arange(53)})
    path = write_csv(table, tmp_path / "table.csv")
    read = pd.read_csv(path, encoding="utf-8-sig", dtype={"level": str})
    assert_frame_equal(read, table)


def test_a_spreadsheet_finds_no_formula_in_the_file(tmp_path, book):
    table = one_way(book["y_true"], book["y_pred"], book[["fuel", "area"]], sample_weight=book["exposure"])
    path = write_csv(table, str(tmp_path / "one way.csv"))
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    for separator in ",;":
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [cell for line in csv.reader(file, delimiter=separator) for cell in line]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert "'=SUM(A1)" in [line["level"] for line in csv.DictReader(file)]
    grouped = premium_change_by_group(book["y_pred"], book["baseline"], book[["fuel", "doors"]])
    back = pd.read_csv(write_csv(grouped, tmp_path / "groups.csv"), encoding="utf-8-sig")
    assert back.columns[:3].tolist() == ["fuel", "doors", "rows"]
    assert len(back) == len(grouped)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write_csv(pd.DataFrame({"a": [1]}), path)

    def fail(*arguments, **options):
        arguments[1].write("half of it")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        write_csv(pd.DataFrame({"a": [2]}), path)
    assert path.read_text(encoding="utf-8-sig") == '"a"\n1\n'
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_csv(pd.DataFrame({"a": [2]}), path)
    assert path.read_text(encoding="utf-8-sig") == '"a"\n2\n'
    with pytest.raises(FileNotFoundError, match=r"folder that does not exist: make '.*nowhere' first"):
        write_csv(pd.DataFrame({"a": [2]}), tmp_path / "nowhere" / "table.csv")
