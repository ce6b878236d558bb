"""The page of benchmarks shows what is stored, and no table is typed into it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables(script):
    """The module benchmarks/tables.py."""
    return script("tables")


@pytest.fixture(scope="module")
def page():
    file = ROOT / "docs" / "benchmarks.rst"
    if not file.exists():
        pytest.skip("the tests run away from the repository, without docs/")
    return file.read_text(encoding="utf-8")


def test_every_table_of_the_page_is_stored_and_every_stored_one_is_shown(tables, page):
    shown = re.findall(r"^\.\. stored-table:: (\w+)$", page, flags=re.MULTILINE)
    assert sorted(shown) == tables.names()
    assert "list-table" not in page
    assert not re.search(r"^=+ +=+", page, flags=re.MULTILINE)


def test_tables_are_complete_and_say_where_they_come_from(tables):
    for name in tables.names():
        table = tables.read(name)
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}, name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", table["measured"]), name
        assert (ROOT / table["script"].split()[0]).exists(), name
        assert {"machine", "versions"} <= set(table), name


def test_the_frontier_is_computed_from_its_stored_results(tables):
    splits = tables.stored_frontier()["pg15training"]
    table = tables.read("frontier_whole")
    model, measure = "LightGBM, features", "UF"
    found = [
        entry["difference"]
        for split in splits.values()
        for entry in split["comparisons"]
        if entry["epsilon"] == 0 and entry["path"] == model and entry["measure"] == measure
    ]
    row = next(row for row in table["rows"] if row[0] == model)
    cell = row[table["columns"].index(measure)].replace("−", "-")
    assert float(cell.split(" ± ")[0]) == pytest.approx(np.mean(found), abs=5e-5)
    # Every model of the stored results is on the page.
    paths = {entry["path"] for split in splits.values() for entry in split["comparisons"]}
    assert paths == {row[0] for row in table["rows"]}


def test_other_portfolios_are_computed_from_their_stored_results(tables):
    stored = tables.stored_frontier()
    table = tables.read("frontier_elsewhere")
    # A model that was not run somewhere is a dash there, and no other cell is.
    assert not any("nan" in cell for row in table["rows"] for cell in row)
    assert {row[0] for row in table["rows"] if "–" in row} <= {"GLM, then LightGBM, features"}
    for column, data, path in [
        ("randhie, ε = 0.5", "randhie", "LightGBM, features and S"),
        ("COMPAS, ε = 0.5", "compas", "LightGBM, CCdCov, S in X"),
    ]:
        found = [
            entry["difference"]
            for split in stored[data].values()
            for entry in split["comparisons"]
            if (entry["epsilon"], entry["path"], entry["measure"]) == (0.5, path, "net JSD")
        ]
        row = next(row for row in table["rows"] if row[0] == "LightGBM, features and S")
        cell = row[table["columns"].index(column)].replace("−", "-")
        assert len(found) == 5
        assert float(cell.split(" ± ")[0]) == pytest.approx(np.mean(found), abs=5e-4)


def test_what_is_stored_is_read_again(tables, tmp_path):
    tables.store("own", "benchmarks/gate.py", ["job", "s"], [["glm", 1.5]], folder=tmp_path)
    table = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))
    assert table["columns"] == ["job", "s"]
    assert table["rows"] == [["glm", "1.5"]]
    assert "numpy 2" in table["versions"]
    assert "processors" in table["machine"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("0.76 (0.73–0.81)", (0.76, 0.73, 0.81)), ("0.97", (0.97,) * 3), (".495 ± .003", (0.495,) * 3)],
)
def test_numbers_and_ranges_of_cells(tables, cell, expected):
    assert tables.number_and_range(cell) == expected


@pytest.mark.parametrize("name", ["draw_how_far", "draw_paper"])
def test_pictures_are_drawn(tables, name):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure = getattr(tables, name)()
    assert figure.axes[0].lines
    pyplot.close(figure)
