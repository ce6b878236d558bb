"""A CSV and a Parquet file of one frame mean the same: kinds, values to the last bit, categories, errors and models."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairdcov.actuarial._export import armed
from fairdcov.cli._files import open_table

from .conftest import QUICK, portfolio

pytest.importorskip("pyarrow")

# -- frames ------------------------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)
# In a CSV file an apostrophe before a formula is there to disarm it; a Parquet file has no need of one.
LETTERS = st.text(st.sampled_from("abzÄéñ €=+-'\",;|\t\n.019_"), max_size=6).filter(lambda text: armed(text) == text)
# Words for missing values, numbers, truth values and formulas among other text.
WORDS = st.sampled_from(
    ["NA", "", ".", "null", "1.5", "-1", "1,5", "007", "True", "2024-01-01", "=SUM(A1)", "12a", "inf"]
)


def gaps(values):
    return st.one_of(st.none(), values)


def column_of(values, dtype, n_rows):
    return st.lists(values, min_size=n_rows, max_size=n_rows).map(lambda found: pd.Series(found, dtype=dtype))


def floats_of_sixteen_digits(n_rows):
    return st.integers(0, 2**32).map(lambda seed: pd.Series(np.random.default_rng(seed).uniform(size=n_rows)))


def text_with_a_word(values, n_rows, dtype=object):
    """Text that no format could take for anything else: at least one level is a word."""
    found = st.lists(values, min_size=n_rows, max_size=n_rows)
    return found.map(lambda texts: pd.Series(["a word", *texts[1:]], dtype=dtype))


def kinds(n_rows):
    """Strategies of columns by name."""
    days = st.integers(0, 20_000).map(lambda day: np.datetime64("1970-01-01", "s") + np.timedelta64(day, "D"))
    seconds = st.integers(0, 2**31).map(lambda second: np.datetime64(second, "s"))
    return {
        "float": column_of(FLOATS, "float64", n_rows),
        "ordinary": floats_of_sixteen_digits(n_rows),
        "float with gaps": column_of(gaps(FLOATS), "float64", n_rows),
        "large": column_of(st.floats(1e15, 1e300) | st.floats(1e-300, 1e-5), "float64", n_rows),
        "whole": column_of(st.integers(-5, 5), "int64", n_rows),
        "whole floats": column_of(st.integers(-5, 5), "float64", n_rows),
        "whole with gaps": column_of(gaps(st.integers(-5, 10**6)), "float64", n_rows),
        "long": column_of(WHOLE, "int64", n_rows),
        "long with gaps": column_of(gaps(WHOLE), "Int64", n_rows),
        "nearly too long": column_of(st.integers(2**53 - 2, 2**53 + 2), "int64", n_rows),
        "unsigned": column_of(st.integers(0, 2**64 - 1), "uint64", n_rows),
        "small": column_of(st.integers(0, 200), "uint8", n_rows),
        "infinite": column_of(st.sampled_from([1.0, np.inf, -np.inf]), "float64", n_rows),
        "nothing": column_of(st.none(), "float64", n_rows),
        "no text": column_of(st.none(), "object", n_rows),
        "truth": column_of(st.booleans(), "bool", n_rows),
        "truth with gaps": column_of(gaps(st.booleans()), "object", n_rows),
        "text": text_with_a_word(gaps(LETTERS | WORDS), n_rows),
        "categories": text_with_a_word(gaps(LETTERS | WORDS), n_rows, "category"),
        "zeros in front": column_of(
            gaps(st.integers(0, 99)).map(lambda n: None if n is None else f"0{n}"), object, n_rows
        ),
        "days": column_of(days, "datetime64[s]", n_rows),
        "seconds": column_of(gaps(seconds), "datetime64[s]", n_rows),
    }


@st.composite
def frames(draw):
    n_rows = draw(st.integers(1, 12))
    available = kinds(n_rows)
    chosen = draw(st.lists(st.sampled_from(sorted(available)), min_size=1, max_size=6))
    return pd.DataFrame({f"{kind} {k}": draw(available[kind]) for k, kind in enumerate(chosen)})


@st.composite
def dialects(draw):
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    return {
        "sep": separator,
        "decimal": draw(st.sampled_from([".", ","] if separator != "," else ["."])),
        "float_format": draw(st.sampled_from([None, "%.17g"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n"])),
    }


# -- what they mean ----------------------------------------------------------------------------------------------------


def outcome(read, *arguments, **options):
    """What a reader returns, in a form that compares bits, or that it refuses."""
    try:
        found = read(*arguments, **options)
    except ValueError as error:
        return "infinite" if "infinite" in str(error) else "refused"
    if isinstance(found, np.ndarray):
        return found.dtype, (found + 0.0).tobytes()
    if isinstance(found.dtype, pd.CategoricalDtype):
        return "category", found.cat.categories.tolist(), found.tolist()
    return found.dtype, (found.to_numpy() + 0).tobytes()


def check_the_same(frame, dialect, folder):
    frame.to_csv(folder / "frame.csv", index=False, **dialect)
    frame.to_parquet(folder / "frame.parquet", index=False)
    # Some frames leave two marks possible, or two encodings: "Ä€" of Windows is text in UTF-8 too.
    said = {"decimal": dialect["decimal"], "encoding": "cp1252" if dialect["encoding"] == "cp1252" else None}
    source = open_table(folder / "frame.csv", separator=dialect["sep"], **said)
    assert source.names == list(frame)
    names = [name for name in frame if not name.startswith(("float", "ordinary", "large", "infinite"))]
    for as_text in ((), names):
        one = source.read(as_text=as_text)
        other = open_table(folder / "frame.parquet").read(as_text=as_text)
        for name in frame:
            found = [outcome(table.attribute, name, "--features") for table in (one, other)]
            assert found[0] == found[1], (name, as_text)
            numbers = [outcome(table.numbers, name, "--target", allow_missing=True) for table in (one, other)]
            assert numbers[0] == numbers[1] or as_text, name
            if found[0][0] == "category":
                # a model knows the levels of either
                assert outcome(one.attribute, name, "BOOK", levels=found[1][1]) == found[1]
                assert outcome(other.attribute, name, "BOOK", levels=found[0][1]) == found[0]


FRAMES = {"suppress_health_check": list(HealthCheck), "deadline": None, "derandomize": True}


@settings(max_examples=40, **FRAMES)
@given(frame=frames(), dialect=dialects())
def test_a_csv_and_a_parquet_file_mean_the_same(tmp_path_factory, frame, dialect):
    check_the_same(frame, dialect, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@settings(max_examples=1_000, **FRAMES)
@given(frame=frames(), dialect=dialects())
def test_a_csv_and_a_parquet_file_mean_the_same_in_a_thousand_frames(tmp_path_factory, frame, dialect):
    check_the_same(frame, dialect, tmp_path_factory.getbasetemp())


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["glm", pytest.param("lightgbm", marks=pytest.mark.slow)])
def test_the_model_of_a_csv_file_is_that_of_a_parquet_file(run, save, tmp_path, model):
    options = []
    if model == "lightgbm":
        pytest.importorskip("lightgbm")
        options = ["--model-option", "n_estimators=10", "n_penalised_rounds=10", "num_leaves=5"]
    rng = np.random.default_rng(0)
    book = portfolio(500)[["mileage", "vehicle_type", "gender", "exposure", "claims"]]
    book["score"] = rng.uniform(size=500)  # 16 digits and more
    book["tiny"] = rng.uniform(size=500) * 1e-20
    book["sum insured"] = rng.integers(1, 500, 500) * 2**54
    book["bonus"] = np.where(rng.uniform(size=500) < 0.1, np.nan, rng.integers(0, 20, 500))
    book["garage"] = rng.uniform(size=500) < 0.5
    book["account"] = 2**53 + rng.integers(0, 9, 500)
    arguments = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "--model", model]
    books = {
        "parquet": save(book),
        "repr": save(book, "repr.csv"),
        "digits": save(book, "digits.csv", sep=";", decimal=",", float_format="%.17g", quoting=csv.QUOTE_ALL),
    }
    scored = {}
    for name, path in books.items():
        result = run("fit", path, *arguments, *options, *QUICK, "--output", tmp_path / name)
        assert result.code == 0, result.err
        table = open_table(next((tmp_path / name).glob("scored.*"))).read()
        scored[name] = [table.numbers(column, "") for column in ("prediction", "prediction_unpenalised")]
    assert scored["parquet"][0].std() > 0
    for name in ("repr", "digits"):
        np.testing.assert_array_equal(scored[name], scored["parquet"], err_msg=name)
    # and each model scores the file of another as its own
    for name, path in zip(books, [*list(books.values())[1:], books["parquet"]], strict=True):
        result = run("predict", tmp_path / name, path, "--output", tmp_path / "new.parquet", "--force")
        assert result.code == 0, result.err
        assert "does not know" not in result.out
        new = open_table(tmp_path / "new.parquet").read().numbers("prediction", "")
        np.testing.assert_array_equal(new, scored[name][0])
