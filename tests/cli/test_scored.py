"""What is written beside predictions is what was read: names, numbers and text of the input go through untouched."""

import csv

import numpy as np
import pandas as pd
import pytest

from fairdcov.cli._files import open_table
from fairdcov.cli._scored import write_table

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def scored(tmp_path):
    """Score a CSV text or an Arrow table; returns the cells of the CSV file, or the Parquet table, that is written."""

    def scored(content, suffix="csv", **options):
        source = tmp_path / ("in.csv" if isinstance(content, str) else "in.parquet")
        if isinstance(content, str):
            source.write_text(content, encoding="utf-8")
        else:
            parquet.write_table(content, source)
        table = open_table(source).read(**options)
        path = tmp_path / f"out.{suffix}"
        write_table(table, {"prediction": np.full(table.n_rows, 0.1)}, path)
        if suffix == "parquet":
            return parquet.read_table(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))

    return scored


def test_fields_of_a_csv_file_are_written_as_they_were(scored):
    rows = [
        ["id", " padded name ", "n", "price", "code", "flag", "day", "note"],
        ["9007199254740993", "123456", "1", "1.10", "007", "TRUE", "2024-01-01", 'say "no"'],
        ["9007199254740995", "", "NA", "1e5", "010", "FALSE", "2024-01-02", "two\nlines"],
        ["", "7", "+3", "0.30000000000000004", "", "", "", " x "],
    ]
    content = "\n".join(",".join(f'"{cell}"'.replace('y "no"', 'y ""no""') for cell in row) for row in rows)
    found = scored(content)
    assert [row[:-1] for row in found] == rows
    assert [row[-1] for row in found] == ["prediction", "0.1", "0.1", "0.1"]


def test_whole_numbers_with_gaps_stay_whole(scored, tmp_path):
    assert scored("a,b\n9007199254740993,123456\n,\n")[1:] == [["9007199254740993", "123456", "0.1"], ["", "", "0.1"]]
    large, usual = pa.array([2**53 + 1, None]), pa.array([123456, None], pa.int32())
    found = scored(pa.table({"a": large, "b": usual}))
    assert found[1:] == [["9007199254740993", "123456", "0.1"], ["", "", "0.1"]]
    columns = scored("a,b\n9007199254740993,123456\n,\n", "parquet")
    assert columns.column("a").to_pylist() == [2**53 + 1, None]
    assert columns.schema.types == [pa.int64(), pa.int64(), pa.float64()]


def test_numbers_that_the_new_file_cannot_have_are_written_plainly(scored):
    found = scored("a;b;c\n1.234,50;12;1.000\n0,5;;x\n")
    assert found[1:] == [["1234.50", "12", "1.000", "0.1"], ["0.5", "", "x", "0.1"]]


def test_values_of_a_parquet_file_are_written_in_full(scored):
    values = np.random.default_rng(0).normal(size=4) * [1e-9, 1, 1e17, 1e300]
    table = pa.table(
        {
            "float": values,
            "single": pa.array([0.1, 1.0, None, float("nan")], pa.float32()),
            "money": pa.array([125, 250, None, 0]).cast(pa.decimal128(30, 2)),
            "flag": [True, None, False, True],
            "day": pa.array([0, 1, None, 2], pa.date32()),
            "moment": pa.array([0, 1, None, 2], pa.timestamp("ms")),
            "items": [[1], None, [], [2, 3]],
            "text": ["=1", "'=1", "-1", "NA"],
        }
    )
    found = {name: [row[k] for row in scored(table)[1:]] for k, name in enumerate(table.column_names)}
    assert [float(text) for text in found["float"]] == values.tolist()
    assert found["single"] == ["0.1", "1.0", "", ""]
    assert found["money"] == ["125.00", "250.00", "", "0.00"]
    assert found["flag"] == ["True", "", "False", "True"]
    assert found["day"] == ["1970-01-01", "1970-01-02", "", "1970-01-03"]
    assert found["moment"][1] == "1970-01-01 00:00:00.001"
    assert found["items"] == ["[1]", "", "[]", "[2, 3]"]
    assert found["text"] == ["'=1", "''=1", "'-1", "NA"]


def test_what_is_disarmed_once_is_not_disarmed_again(scored, tmp_path):
    rows = [["'=a", "b"], ["'=1", "-5"], ["=1", "5"], [" =1", "6"], ["''=1", "7"], ["'text", "8"]]
    found = scored("\n".join(",".join(row) for row in rows))
    assert [row[0] for row in found] == ["'=a", "'=1", "'=1", "' =1", "''=1", "'text"]
    again = open_table(tmp_path / "out.csv").read()
    first = open_table(tmp_path / "in.csv").read()
    assert (
        again.attribute("=a", "").tolist() == first.attribute("=a", "").tolist() == ["=1", "=1", " =1", "'=1", "'text"]
    )
    assert again.attribute("b", "").tolist() == [-5, 5, 6, 7, 8]


def test_many_rows_are_written_in_parts(tmp_path):
    n_rows = 150_000
    frame = pd.DataFrame({"n": np.arange(n_rows), "x": np.arange(n_rows) / 7, "text": np.arange(n_rows).astype(str)})
    frame["text"] = "t" + frame["text"]
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    write_table(open_table(tmp_path / "in.parquet").read(), {"p": frame["x"].to_numpy()}, tmp_path / "out.csv")
    again = open_table(tmp_path / "out.csv").read()
    for name, source in (("n", "n"), ("x", "x"), ("p", "x")):
        np.testing.assert_array_equal(again.numbers(name, ""), frame[source])
    assert again.attribute("text", "").tolist() == frame["text"].tolist()
    write_table(again, {"q": frame["x"].to_numpy()}, tmp_path / "again.csv")
    lines = (tmp_path / "again.csv").read_text(encoding="utf-8-sig").splitlines()
    assert [line.rpartition(",")[0] for line in lines] == (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()
