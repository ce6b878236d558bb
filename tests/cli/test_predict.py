"""``fairdcov predict``: the model that was saved, on a book without its other columns, and nothing untrusted."""

import hashlib
import json
import os
import pickle
import subprocess
import zipfile
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.preprocessing import FunctionTransformer, SplineTransformer

from fairdcov.cli import main
from fairdcov.cli._features import QuantityColumns
from fairdcov.cli._models import trusted_types
from fairdcov.cli._settings import read_settings

from .conftest import BOOK, QUICK, check_refused, portfolio, read_scored

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
skops_io = pytest.importorskip("skops.io")

FEATURES = ["mileage", "vehicle_age", "vehicle_type", "doors"]


def book(n_policies=600, random_state=0):
    """A portfolio with a number of few values, and gaps."""
    frame = portfolio(n_policies, random_state)
    frame["doors"] = np.random.default_rng(random_state).integers(3, 6, n_policies)
    frame.loc[::9, "vehicle_age"] = np.nan
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fitted model."""
    path = tmp_path_factory.mktemp("predict")
    book().to_parquet(path / "book.parquet", index=False)
    arguments = ["fit", path / "book.parquet", *BOOK, "--features", *FEATURES, "--output", path / "out", *QUICK]
    assert main([str(argument) for argument in arguments]) == 0
    return path / "out"


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the model's folder, to be spoilt."""
    target = tmp_path / "model"
    target.mkdir()
    for name in ("model.skops", "settings.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target


def test_the_book_of_the_fit_is_scored_as_then(run, folder, tmp_path):
    result = run("predict", folder, folder.parent / "book.parquet", "--output", tmp_path / "new.parquet")
    assert result.code == 0, result.err
    scored = read_scored(folder / "scored.parquet")
    new = read_scored(tmp_path / "new.parquet")
    np.testing.assert_array_equal(new["prediction"], scored["prediction"])
    assert new.columns.tolist() == [*book().columns, "prediction"]


@pytest.mark.parametrize("options", [{}, {"sep": ";", "decimal": ",", "encoding": "utf-16"}])
def test_neither_protected_attributes_nor_claims_are_needed(run, save, folder, tmp_path, options):
    new_book = book(random_state=1)[FEATURES[::-1]]
    path = save(new_book, "new.csv", **options)
    result = run("predict", folder, path, "--output", tmp_path / "out.csv", "--prediction-name", "frequency")
    assert result.code == 0, result.err
    file = folder / "model.skops"
    model = skops_io.load(file, trusted=skops_io.get_untrusted_types(file=file))
    np.testing.assert_allclose(
        read_scored(tmp_path / "out.csv")["frequency"], model.predict(new_book[FEATURES]), rtol=1e-12
    )


def test_what_the_model_does_not_know_is_said(run, save, folder, tmp_path):
    new_book = book(60, random_state=1)[FEATURES]
    new_book["vehicle_type"] = new_book["vehicle_type"].astype(object)
    new_book.loc[[3, 4], "vehicle_type"] = "zeppelin"
    new_book.loc[5, "vehicle_type"] = None
    new_book.loc[6, "doors"] = 7
    new_book.loc[7, "mileage"] = np.nan
    result = run("predict", folder, save(new_book), "--output", tmp_path / "out.parquet")
    assert result.code == 0, result.err
    assert "vehicle_type has 2 level(s) that the model does not know, in 3 row(s): 'zeppelin', 'missing'" in result.out
    assert "doors has 1 level(s) that the model does not know, in 1 row(s): 7.0" in result.out
    assert "1 row(s) lack mileage, which was complete when the model was fitted" in result.out
    # as the most frequent level, and as the median
    scored = read_scored(tmp_path / "out.parquet")
    fitted = read_scored(folder / "scored.parquet")
    usual = new_book.copy()
    usual.loc[[3, 4, 5], "vehicle_type"] = fitted["vehicle_type"].mode()[0]
    usual.loc[6, "doors"] = fitted["doors"].mode()[0]
    usual.loc[7, "mileage"] = fitted.loc[fitted["prediction_rows"] == "fitted", "mileage"].median()
    run("predict", folder, save(usual), "--output", tmp_path / "usual.parquet")
    np.testing.assert_allclose(scored["prediction"], read_scored(tmp_path / "usual.parquet")["prediction"], rtol=1e-12)
    assert scored["prediction"].notna().all()


def test_missing_columns_get_the_nearest_name(run, save, folder, tmp_path):
    path = save(book(60).rename(columns={"mileage": "milage"}))
    result = run("predict", folder, path, "--output", tmp_path / "out.csv")
    check_refused(result, "has no column 'mileage', which the model needs; did you mean 'milage'?")
    path = save(book(60).rename(columns={"mileage": "milage", "doors": "x"}))
    result = run("predict", folder, path, "--output", tmp_path / "out.csv")
    check_refused(result, "lacks 2 columns that the model needs: 'mileage' (did you mean 'milage'?), 'doors'")
    path = save(book(60).assign(mileage="far"))
    check_refused(
        run("predict", folder, path, "--output", tmp_path / "out.csv"), "'mileage' must be numbers; found 'far'"
    )
    assert not (tmp_path / "out.csv").exists()


def test_output_is_not_overwritten_and_has_a_place(run, save, folder, tmp_path):
    path, output = save(book(60)), tmp_path / "out.csv"
    output.write_text("precious")
    check_refused(run("predict", folder, path, "--output", output), "exists; name another file, or replace it")
    assert output.read_text() == "precious"
    assert run("predict", folder, path, "--output", output, "--force").code == 0
    assert len(read_scored(output)) == 60
    check_refused(run("predict", folder, path, "--output", tmp_path / "no" / "out.csv"), "a folder that does not exist")
    check_refused(run("predict", folder, path, "--output", tmp_path), "must end in .csv")
    check_refused(run("predict", folder, path, "--output", tmp_path / "out.xlsx"), "must end in .csv")
    result = run("predict", folder, output, "--output", tmp_path / "again.csv")
    check_refused(result, "has a column 'prediction' already")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["book.parquet", "out.csv"]


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_force_never_overwrites_what_is_read(run, save, copy, tmp_path):
    path = save(book(60), "book.csv")
    (tmp_path / "link.csv").symlink_to(path)
    (copy / "scored.csv").write_text("of the fit")
    before = path.read_bytes()
    for output in (path, tmp_path / "link.csv", copy / "scored.csv"):
        result = run("predict", copy, path, "--output", output, "--force")
        check_refused(result, "which the command reads and never overwrites")
    assert path.read_bytes() == before
    assert (copy / "scored.csv").read_text() == "of the fit"


def test_folders_that_hold_no_model(run, save, copy, tmp_path):
    path = save(book(60))
    arguments = [path, "--output", tmp_path / "out.csv"]
    check_refused(run("predict", tmp_path, *arguments), "holds no model: name a folder that fairdcov fit has written")
    settings = json.loads((copy / "settings.json").read_text(encoding="utf-8"))
    for spoilt, message in (
        ("{", "is damaged"),
        ("[]", "'format' is missing"),
        (json.dumps({**settings, "format": 99}), "has format 99"),
        (json.dumps({**settings, "features": {"mileage": {"kind": "?"}}}), "feature 'mileage' must be one of"),
        ("[" * 100_000, "is damaged"),
        (json.dumps(settings)[:-40], "is damaged"),
        (
            json.dumps({**settings, "features": {"mileage": {"kind": "category"}}}),
            "'mileage' has no list of its levels",
        ),
        (
            json.dumps({**settings, "features": {"mileage": {"kind": "number", "levels": 3}}}),
            "has no list of its levels",
        ),
        (json.dumps({**settings, "features": {"mileage": {"kind": "quantity"}}}), "other features than the model"),
        (json.dumps({**settings, "features": {}}), "other features than the model"),
        (json.dumps({**settings, "model": "forest"}), "a model of kind 'forest'"),
        (json.dumps({**settings, "model_sha256": "0" * 64}), "its SHA-256 differs"),
    ):
        (copy / "settings.json").write_text(spoilt, encoding="utf-8")
        check_refused(run("predict", copy, *arguments), message)
    (copy / "settings.json").write_bytes(b"\xff\xfe\x00")
    check_refused(run("predict", copy, *arguments), "settings.json is damaged")
    (copy / "settings.json").unlink()
    check_refused(run("predict", copy, *arguments), "holds no model")


def replace_model(folder, content):
    """Put another model into a folder, with a checksum that fits."""
    (folder / "model.skops").write_bytes(content)
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    settings["model_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def test_untrusted_types_are_listed_and_not_loaded(run, save, copy, tmp_path, monkeypatch):
    monkeypatch.setattr(skops_io, "load", lambda *_, **__: pytest.fail("an untrusted file was loaded"))
    arguments = [save(book(60)), "--output", tmp_path / "out.csv"]
    # a step that runs a command of the system
    replace_model(copy, skops_io.dumps(FunctionTransformer(subprocess.run)))
    result = run("predict", copy, *arguments)
    check_refused(result, "holds types that a model of fairdcov does not have and was not loaded: subprocess.run")
    # a name that only begins as the package does
    replace_model(copy, skops_io.dumps(FunctionTransformer(main)))
    check_refused(run("predict", copy, *arguments), "fairdcov.cli.main")
    assert not (tmp_path / "out.csv").exists()


def modules_of(node):
    """Modules of all objects in the schema of a file of skops."""
    if isinstance(node, dict):
        yield from [node["__module__"]] if "__module__" in node else []
        node = list(node.values())
    for part in node if isinstance(node, list) else []:
        yield from modules_of(part)


def test_a_file_has_no_parts_that_change_with_the_release_of_a_package(folder):
    """Private objects of SciPy kept a file from being read by another release, or by the one that wrote it."""
    with zipfile.ZipFile(folder / "model.skops") as archive:
        modules = set(modules_of(json.loads(archive.read("schema.json"))))
    assert {name.partition(".")[0] for name in modules} <= {"builtins", "fairdcov", "numpy", "sklearn"}
    assert trusted_types("glm") == {name for name in trusted_types("glm") if name.startswith("fairdcov.")}


def test_splines_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    for knots in (np.array([-1.0, 4.0]), np.sort(rng.normal(size=6)), 1e9 * np.arange(3.0)):
        values = np.concatenate([knots, rng.normal(size=50), 3 * knots])[:, None]
        ours = QuantityColumns(knots).fit(values)
        theirs = SplineTransformer(knots=knots[:, None], include_bias=False).fit(values)
        np.testing.assert_array_equal(ours.transform(values), theirs.transform(values))
        assert ours.get_feature_names_out(["x"]).tolist() == theirs.get_feature_names_out(["x"]).tolist()
        # a missing value counts as the median, and as the middle knot where all are missing
        median = np.median(values)
        np.testing.assert_array_equal(ours.transform([[np.nan]]), ours.transform([[median]]))
        empty = QuantityColumns(knots).fit([[np.nan]])
        np.testing.assert_array_equal(empty.transform([[np.nan]]), empty.transform([[np.median(knots)]]))


def test_another_version_is_said_once(run, save, copy, tmp_path, monkeypatch):
    settings = json.loads((copy / "settings.json").read_text(encoding="utf-8"))
    settings["versions"] |= {"scikit-learn": "1.5.0", "numpy": "1.99"}
    (copy / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.setattr(sklearn.base, "__version__", "99.0")  # for scikit-learn, a file of an older release
    result = run("predict", copy, save(book(60)), "--output", tmp_path / "out.csv")
    assert result.code == 0, result.err
    assert result.out.count("the model was written with") == 1
    assert f"written with scikit-learn 1.5.0; here is {version('scikit-learn')}" in result.out

    def fail(*_, **__):
        raise AttributeError("no attribute '_fill_dtype'")

    monkeypatch.setattr(skops_io, "load", fail)
    result = run("predict", copy, save(book(60)), "--output", tmp_path / "out.parquet")
    check_refused(result, "is not a model that can be read: no attribute '_fill_dtype'")
    assert "written with scikit-learn 1.5.0" in result.out


def test_files_that_are_no_models(run, save, copy, tmp_path):
    arguments = [save(book(60)), "--output", tmp_path / "out.csv"]
    for content in (b"", b"nothing", pickle.dumps({"a": 1})):
        replace_model(copy, content)
        check_refused(run("predict", copy, *arguments), "is not a model that can be read")
    with zipfile.ZipFile(copy / "model.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
    replace_model(copy, (copy / "model.skops").read_bytes())
    check_refused(run("predict", copy, *arguments), "is not a model that can be read")


def test_categories_of_digits_stay_categories(run, save, tmp_path):
    frame = portfolio(600)[["mileage", "gender", "claims"]].assign(code=lambda frame: np.arange(600) % 30 + 1)
    arguments = ["--target", "claims", "--sensitive", "gender", "--categorical", "code", *QUICK]
    result = run("fit", save(frame), *arguments, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    # in a CSV file they would look like numbers
    result = run("predict", tmp_path / "out", save(frame, "new.csv"), "--output", tmp_path / "new.parquet")
    assert result.code == 0, result.err
    assert "does not know" not in result.out
    one, other = read_scored(tmp_path / "out" / "scored.parquet"), pd.read_parquet(tmp_path / "new.parquet")
    np.testing.assert_allclose(one["prediction"], other["prediction"], rtol=1e-10)
    assert one["code"].tolist() == frame["code"].tolist()


def test_numbers_in_another_unit_are_said(run, save, folder, tmp_path):
    new_book = book(100, random_state=1)[FEATURES]
    result = run("predict", folder, save(new_book), "--output", tmp_path / "out.parquet")
    assert "beyond the rows fitted" not in result.out
    # A few rows beyond are nothing to speak of, and missing ones are in no unit.
    new_book.loc[:4, "mileage"] = 1e6
    new_book.loc[50:, "mileage"] = np.nan
    result = run("predict", folder, save(new_book), "--force", "--output", tmp_path / "out.parquet")
    assert "beyond the rows fitted" not in result.out
    new_book["mileage"] *= 1000
    result = run("predict", folder, save(new_book), "--force", "--output", tmp_path / "out.parquet")
    known = read_settings(folder)["features"]["mileage"]["range"]
    assert f"mileage is beyond the rows fitted, {known[0]:.6g} to {known[1]:.6g}, in 50% of the rows" in result.out
