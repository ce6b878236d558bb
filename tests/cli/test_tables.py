"""Tables as other systems write them: what they hold is read, or refused by a message that says where and why."""

import contextlib
import csv
import io

import numpy as np
import pandas as pd
import pytest

from fairdcov.cli._files import file_sha256, open_table
from fairdcov.cli._scored import write_table

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file of a name and return its path."""

    def write(content, name="book.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


FRAME = pd.DataFrame(
    {
        "policy": ["00012", "00013", "00014", "00120"],
        "exposure": [0.5, 1.0, 0.25, 1234.5],
        "claims": [0, 1, 2, 0],
        "region": ["Île-de-France", "Köln", "Málaga", "Köln"],
        "cost": [0.0, 1234567.25, 12.5, 0.0],
    }
)


def render(frame, separator, decimal, thousands=""):
    """CSV text by Python's csv module, with numbers as a spreadsheet of some country writes them."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(frame.columns)
    swap = str.maketrans({",": thousands, ".": decimal})
    for row in frame.itertuples(index=False):
        writer.writerow([f"{value:,}".translate(swap) if isinstance(value, float) else value for value in row])
    return text.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("decimal", "thousands"), [(".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", "'")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_what_other_systems_write_is_found_out(write, separator, decimal, thousands, encoding):
    path = write(render(FRAME, separator, decimal, thousands), encoding=encoding)
    table = open_table(path).read()
    pd.testing.assert_frame_equal(
        table.to_pandas().astype({"policy": object, "region": object}),
        FRAME.astype({"policy": object, "region": object}),
    )
    np.testing.assert_array_equal(table.numbers("cost", "--target"), FRAME["cost"])
    assert table.attribute("region", "--sensitive").tolist() == FRAME["region"].tolist()
    # digits with zeros in front are names
    assert table.attribute("policy", "--features").tolist() == FRAME["policy"].tolist()
    assert f"decimal {'point' if decimal == '.' else 'comma'}, encoding {encoding}" in table.remarks[0]


@pytest.mark.parametrize("decimal", [".", ","])
def test_what_is_said_is_not_found_out(write, decimal):
    path = write("a;b\n1.234;x\n2.500;y\n")
    with pytest.raises(ValueError, match=r"'a' has numbers such as 1.234, .* --decimal"):
        open_table(path).read()
    values = open_table(path, decimal=decimal).read().numbers("a", "--target")
    np.testing.assert_array_equal(values, [1.234, 2.5] if decimal == "." else [1234, 2500])
    # one of the values decides
    path = write("a;b\n1.234;x\n2.500,5;y\n")
    np.testing.assert_array_equal(open_table(path).read().numbers("a", "--target"), [1234, 2500.5])
    path = write("a;b\n1.234;x\n2.5;y\n")
    np.testing.assert_array_equal(open_table(path).read().numbers("a", "--target"), [1.234, 2.5])


def test_doubtful_numbers_between_commas_are_read_as_in_english_and_said(write):
    table = open_table(write('a,b\n"1,234",x\n"2,500",y\n')).read()
    np.testing.assert_array_equal(table.numbers("a", "--target"), [1234, 2500])
    assert "'1,234' in column 'a' was read with a decimal point" in table.remarks[1]


def test_columns_that_disagree_are_an_error_and_those_not_used_have_no_say(write):
    path = write("a;b;c\n1,5;2.5;x\n")
    with pytest.raises(ValueError, match="'b' has points and 'a' has commas"):
        open_table(path).read()
    table = open_table(path).read(used={"a", "c"})
    assert table.numbers("a", "--target").tolist() == [1.5]
    assert table.to_pandas()["b"].tolist() == ["2.5"]
    assert open_table(path).read(["b"]).numbers("b", "--target").tolist() == [2.5]


@pytest.mark.parametrize("text", ["1e-3", "-.5", "+12", "7.", "1E5", "0.001"])
def test_numbers_in_every_form(write, text):
    path = write(f"a,b\n{text},x\n  {text} ,y\n")
    assert open_table(path).read().numbers("a", "--target").tolist() == [float(text)] * 2


def test_missing_values_are_missing_whoever_wrote_them(write):
    path = write("a,b\n1,x\nNA,NA\n.,.\n,\nNaN,NULL\n#N/A,N/A\n2,y\n")
    table = open_table(path).read()
    values = table.numbers("a", "--features", allow_missing=True)
    np.testing.assert_array_equal(values, [1] + [np.nan] * 5 + [2])
    assert table.attribute("b", "--features").tolist() == ["x"] + ["(missing)"] * 5 + ["y"]
    with pytest.raises(ValueError, match=r"--target: column 'a' has 5 missing value\(s\), the first in data row 2"):
        table.numbers("a", "--target")


def test_mixed_encodings_name_the_line(write):
    path = write("region,a\nKöln,1\n".encode() + "Köln,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"mixed encodings: line 3 is not UTF-8 \(1 such lines\) although 1 other"):
        open_table(path)
    assert open_table(path, encoding="latin-1").read().to_pandas()["region"].tolist() == ["KÃ¶ln", "Köln"]
    path = write("region,a\nKöln,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match="cannot be read as utf-8"):
        open_table(path, encoding="utf-8").read()
    with pytest.raises(ValueError, match="--encoding 'klingon' is not known"):
        open_table(path, encoding="klingon")
    # bytes that Windows does not use
    assert open_table(write(b"a,b\n\x81,1\n")).encoding == "latin-1"


def test_encodings_far_from_the_beginning_are_found(write):
    rows = "".join(f"{i},x\n" for i in range(100_000))
    assert len(rows) > 1 << 19
    path = write(f"a,b\n{rows}".encode() + "1,é\n".encode("cp1252"))
    assert open_table(path).read().attribute("b", "--features").cat.categories.tolist() == ["x", "é"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"a,b\n", "has no rows below the names"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,a,b,b\n1,2,3,4\n", "duplicated column names: 'a', 'b'"),
        (b" a,a\n1,2\n", "duplicated column names: 'a'"),
        (b"a,b\n1,2\n3\n", "cannot be read as utf-8 text: .*Expected 2 columns, got 1"),
        (b"PAR1abc", "a Parquet file: rename it"),
        (b"PK\x03\x04abc", "an Excel workbook"),
        (b"a,b\n1,\x00\n", "is not text"),
        (b",\n1,2\n", "no columns with names"),
    ],
)
def test_files_that_are_no_tables(write, content, message):
    with pytest.raises(ValueError, match=message):
        open_table(write(content)).read()


def test_files_that_are_not_there(tmp_path, write):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        open_table(tmp_path / "folder.csv")
    with pytest.raises(ValueError, match=r"must end in .csv, .txt"):
        open_table(write("a,b\n", "book.xlsx"))
    with pytest.raises(ValueError, match="--separator must be a single character"):
        open_table(write("a,b\n1,2\n"), separator=";;")
    with pytest.raises(ValueError, match="are both ','"):
        open_table(write("a,b\n1,2\n"), separator=",", decimal=",")


def test_forms_of_the_head(write):
    # R: numbers of the rows without a name; Excel: its own first line; SAS: blank lines in front
    assert open_table(write(",a,b\n1,5,x\n2,6,y\n")).read().to_pandas().columns.tolist() == ["a", "b"]
    table = open_table(write('"a" "b"\n'.replace(" ", ",") + '"1",5,"x"\n"2",6,"y"\n')).read()
    assert table.to_pandas().to_dict("list") == {"a": [5, 6], "b": ["x", "y"]}
    assert "left out 1 column(s) without a name" in table.remarks
    table = open_table(write("a;b\n5;x;\n6;y;\n")).read()
    assert table.to_pandas().to_dict("list") == {"a": [5, 6], "b": ["x", "y"]}
    assert open_table(write("sep=|\na|b\n5,5|x\n")).read().numbers("a", "--target").tolist() == [5.5]
    assert open_table(write("\n\na,b\n5,x\n")).read().numbers("a", "--target").tolist() == [5]
    assert open_table(write("a\n5\n6\n")).read().numbers("a", "--target").tolist() == [5, 6]
    assert open_table(write("a\tb\r\n5\tx\r\n", "book.txt"), separator="tab").read().to_pandas()["b"].tolist() == ["x"]


def test_line_breaks_and_separators_inside_quotation_marks(write):
    table = open_table(write('a,b\n1,"x, y"\n2,"two\nlines"\n3,"say ""no"""\n')).read()
    assert table.to_pandas()["b"].tolist() == ["x, y", "two\nlines", 'say "no"']


def test_text_where_numbers_are_needed_names_the_row(write):
    table = open_table(write("a,b\n1,x\ntwo,y\n3,z\nfour,z\n")).read()
    with pytest.raises(
        ValueError, match="--target: column 'a' must be numbers; found 'two' in data row 2 and in 1 more"
    ):
        table.numbers("a", "--target")
    table = open_table(write("a,b\n1,x\ninf,y\n")).read()
    with pytest.raises(ValueError, match=r"--target: column 'a' has 1 infinite value\(s\), the first in data row 2"):
        table.numbers("a", "--target")
    # as text it would be a level, and make levels of all numbers beside it
    with pytest.raises(ValueError, match=r"--features: column 'a' has 1 infinite value"):
        table.attribute("a", "--features")


def test_requested_columns_get_the_nearest_name(write):
    source = open_table(write("claims,exposure\n1,2\n"))
    with pytest.raises(ValueError, match=r"--target names 'claim', which is not a column of .*; did you mean 'claims'"):
        source.check_names({"--target": ["claim"]})
    with pytest.raises(ValueError, match=r"the columns are \['claims', 'exposure'\]"):
        source.check_names({"--target": ["zzz"]})


def test_digits_that_are_names(write, tmp_path):
    path = write("region,a\n1,5\n2,6\n10,7\n")
    column = open_table(path).read(as_text=["region"]).attribute("region", "--sensitive")
    assert column.cat.categories.tolist() == ["1", "10", "2"]
    # whole numbers beyond what a float holds are names too
    path = write("policy,a\n12345678901234567890,5\n12345678901234567891,6\n")
    assert open_table(path).read().attribute("policy", "--features").nunique() == 2
    frame = pd.DataFrame({"region": [1.0, 2.0, np.nan], "code": [7, 8, 8]})
    frame.to_parquet(tmp_path / "book.parquet")
    table = open_table(tmp_path / "book.parquet").read(as_text=["region", "code"])
    assert table.attribute("region", "--sensitive").tolist() == ["1", "2", "(missing)"]
    assert table.attribute("code", "--sensitive").tolist() == ["7", "8", "8"]


def parquet_file(tmp_path, **columns):
    path = tmp_path / "book.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def test_types_of_parquet(tmp_path):
    path = parquet_file(
        tmp_path,
        whole=pa.array([1, 2, None], pa.int16()),
        money=pa.array([1.25, 2.5, None]).cast(pa.decimal128(10, 2)),
        flag=[True, False, None],
        text=["a", None, "b"],
        large=pa.array(["a", None, "b"], pa.large_string()),
        digits=["1.5", "2", None],
        category=pa.array(["a", None, "b"]).dictionary_encode(),
        nothing=pa.nulls(3),
        date=pa.array([1, 2, 3], pa.date32()),
        items=[[1], [2], None],
    )
    table = open_table(path).read()
    np.testing.assert_array_equal(table.attribute("whole", "--features"), [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(table.attribute("money", "--features"), [1.25, 2.5, np.nan])
    for name in ("text", "large", "category"):
        assert table.attribute(name, "--features").tolist() == ["a", "(missing)", "b"]
    assert table.attribute("flag", "--features").tolist() == ["true", "false", "(missing)"]
    assert table.attribute("nothing", "--features").tolist() == ["(missing)"] * 3
    np.testing.assert_array_equal(table.numbers("digits", "--target", allow_missing=True), [1.5, 2.0, np.nan])
    for name in ("date", "items"):
        with pytest.raises(ValueError, match=f"--features: column '{name}' has values of type .* neither numbers nor"):
            table.attribute(name, "--features")
        with pytest.raises(ValueError, match=f"--target: column '{name}' must be numbers; found values of type"):
            table.numbers(name, "--target")


def test_damaged_parquet(tmp_path, write):
    with pytest.raises(ValueError, match="not a Parquet file that can be read"):
        open_table(write("a,b\n1,2\n", "book.parquet"))
    path = parquet_file(tmp_path, a=np.arange(10_000), b=np.random.default_rng(0).normal(size=10_000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a Parquet file that can be read"):
        open_table(path)
    path.write_bytes(whole[:8] + bytes(len(whole) // 2) + whole[8 + len(whole) // 2 :])
    with pytest.raises(ValueError, match="is damaged"):
        open_table(path).read()
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(ValueError, match="duplicated column names: 'a'"):
        open_table(path)
    parquet.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(ValueError, match="has no rows"):
        open_table(path)


def test_an_index_that_pandas_has_written_is_no_column(tmp_path):
    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 7])
    frame.to_parquet(tmp_path / "book.parquet")
    source = open_table(tmp_path / "book.parquet")
    assert source.names == ["a"]
    assert source.read().to_pandas()["a"].tolist() == [1, 2]


def test_written_tables_are_read_back(tmp_path, write):
    hostile = pd.DataFrame(
        {"=name": ["=SUM(A1)", "<script>alert(1)</script>", "+1", "@x", "-", None], "n": [1, 2, 3, 4, 5, None]}
    )
    path = tmp_path / "hostile.parquet"
    hostile.to_parquet(path)
    table = open_table(path).read()
    write_table(table, {"prediction": np.arange(6) / 10}, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = list(csv.reader(file))
    assert cells[0] == ["'=name", "n", "prediction"]
    assert [row[0] for row in cells[1:]] == ["'=SUM(A1)", "<script>alert(1)</script>", "'+1", "'@x", "'-", ""]
    # the apostrophes are for spreadsheets; the levels are those that were written
    again = open_table(tmp_path / "out.csv").read()
    assert again.attribute("=name", "--features").tolist() == table.attribute("=name", "--features").tolist()
    np.testing.assert_array_equal(again.numbers("prediction", "--prediction"), np.arange(6) / 10)

    write_table(again, {"more": np.ones(6)}, tmp_path / "out.parquet")
    columns = parquet.read_table(tmp_path / "out.parquet")
    assert columns.column_names == ["=name", "n", "prediction", "more"]
    with pytest.raises(ValueError, match="has a column 'n' already"):
        write_table(again, {"n": np.ones(6)}, tmp_path / "out.parquet")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hostile.parquet", "out.csv", "out.parquet"]


def test_parquet_columns_keep_their_types(tmp_path):
    columns = {
        "date": pa.array([1, 2], pa.date32()),
        "small": pa.array([1, None], pa.int8()),
        "text": pa.array(["a", None], pa.large_string()),
        "category": pa.array(["a", "b"]).dictionary_encode(),
    }
    path = parquet_file(tmp_path, **columns)
    table = open_table(path).read(as_text=["small"])
    assert table.attribute("small", "--features").tolist() == ["1", "(missing)"]
    write_table(table, {"prediction": np.array([0.5, 1.5])}, tmp_path / "out.parquet")
    written = parquet.read_table(tmp_path / "out.parquet")
    assert written.schema.types == [*(column.type for column in columns.values()), pa.float64()]
    assert written.drop_columns("prediction").equals(pa.table(columns))


def test_sha256(write):
    path = write("abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# -- what a hostile user, or another program, may write ----------------------------------------------------------------


@pytest.mark.parametrize("length", [140_000, 5_000_000])
def test_fields_of_any_length(write, length):
    path = write(f"a,b\n1,{'x' * length}\n2,y\n")
    table = open_table(path).read()
    assert table.numbers("a", "--target").tolist() == [1, 2]
    assert [len(text) for text in table.attribute("b", "--features")] == [length, 1]
    assert open_table(write(f"a,{'n' * length}\n1,2\n")).names[0] == "a"


def test_names_with_line_breaks(write):
    table = open_table(write('a,"two\nlines",b\n1,2,3\n4,5,6\n')).read()
    assert table.numbers("two\nlines", "--target").tolist() == [2, 5]


def test_numbers_of_many_digits_are_numbers(write):
    values = np.random.default_rng(0).uniform(size=500) * 1e-3
    for text in ("\n".join(map(repr, values.tolist())), "\n".join(f"{value:.25g}" for value in values)):
        column = open_table(write(f"a\n{text}\n")).read().attribute("a", "--features")
        assert column.tolist() == values.tolist()


def test_whole_numbers_that_are_no_floats_are_names_in_every_format(write, tmp_path):
    for values in ([2**53, 2**53 + 1], [-(2**63), 2**63 - 1]):
        path = write("a\n" + "\n".join(map(str, values)) + "\n")
        columns = [open_table(path).read(), open_table(parquet_file(tmp_path, a=values)).read()]
        for table in columns:
            assert set(table.attribute("a", "--features")) == set(map(str, values))
            with pytest.raises(ValueError, match="--target: column 'a' must be numbers; found whole numbers of more"):
                table.numbers("a", "--target")
    exact = [2**53 + 2, 2**60, -(2**62)]
    for path in (write("a\n" + "\n".join(map(str, exact)) + "\n"), parquet_file(tmp_path, a=exact)):
        assert open_table(path).read().attribute("a", "--features").tolist() == exact


def test_decimals_of_a_database_are_read_to_the_nearest_float(tmp_path):
    table = open_table(
        parquet_file(tmp_path, a=pa.array(["0.1", "123456789.123456789012"]).cast(pa.decimal128(30, 12)))
    )
    assert table.read().numbers("a", "--target").tolist() == [0.1, 123456789.123456789012]


def test_blanks_around_missing_values(write):
    table = open_table(write("a,b\n1, x\n  , . \n . ,  \n 2 ,y\n")).read()
    np.testing.assert_array_equal(table.attribute("a", ""), [1, np.nan, np.nan, 2])
    assert table.attribute("b", "").tolist() == [" x", "(missing)", "(missing)", "y"]


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
def test_truth_values(write, words):
    table = open_table(write(f"a,b\n{words[0]},1\n{words[1]},2\n,3\n")).read()
    assert table.attribute("a", "--features").tolist() == ["true", "false", "(missing)"]
    np.testing.assert_array_equal(table.numbers("a", "--target", allow_missing=True), [1, 0, np.nan])


@pytest.mark.parametrize(
    "days",
    [("2024-01-31", "2024-02-29"), ("31.01.2024", "1.2.2024"), ("1/31/2024", "2/1/2024"), ("10:30", "9:05:01.5")],
)
def test_dates_are_no_categories_unless_they_are_said_to_be(write, days):
    source = open_table(write("a;b\n" + "".join(f"{day};1\n" for day in days)))
    with pytest.raises(ValueError, match=r"--features: column 'a' has values of type text \(dates or times\).*--categ"):
        source.read().attribute("a", "--features")
    assert source.read(as_text=["a"]).attribute("a", "--features").tolist() == list(days)


def test_exponents_leave_no_doubt_about_the_decimal_mark(write):
    table = open_table(write("a;b\n1e-05;x\n2e+10;y\n")).read()
    assert table.numbers("a", "--target").tolist() == [1e-5, 2e10]


def test_columns_that_know_nothing_are_alike(write, tmp_path):
    path = parquet_file(
        tmp_path, a=pa.array([None, None], pa.float64()), b=[np.nan, np.nan], c=pa.nulls(2), d=["", "NA"]
    )
    for table in (open_table(path).read(), open_table(write("a,b,c,d\n,NA,,\n,,.,\n")).read()):
        for name in "abcd":
            assert table.attribute(name, "--features").tolist() == ["(missing)"] * 2
            assert np.isnan(table.numbers(name, "--features", allow_missing=True)).all()


def test_rows_of_tabs_are_rows(write):
    table = open_table(write("a\tb\n\t\n\t\n")).read()
    assert table.n_rows == 2
    table = open_table(write("a\tb\n\t\n1\tx\n")).read()
    assert table.attribute("b", "").tolist() == ["(missing)", "x"]


def test_levels_are_read_in_the_spelling_of_the_model(write):
    table = open_table(write("flag,code\nTrue,1.0\nFALSE,2.0\nmaybe,\n")).read(as_text=["flag", "code"])
    assert table.attribute("flag", "", levels=["false", "true"]).tolist() == ["true", "false", "maybe"]
    assert table.attribute("flag", "", levels=["FALSE", "TRUE", "True"]).tolist() == ["True", "FALSE", "maybe"]
    assert table.attribute("code", "", levels=["1", "2"]).tolist() == ["1", "2", "(missing)"]
    assert table.attribute("code", "", levels=["1.0", "1", "2.0"]).tolist() == ["1.0", "2.0", "(missing)"]


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n"1,2\n3,4\n',
        b"a,b\n1,2,3\n",
        b'a,b\n1,"x"y"\n',
        b"a,b\r1,2\r",
        b'"a,b\n1,2\n',
        b"a\tb\n1,2\n",
        b"\x80\x81\n1\n",
    ],
)
def test_broken_text_is_read_or_refused_in_words(write, content):
    with contextlib.suppress(ValueError):
        open_table(write(content)).read()
