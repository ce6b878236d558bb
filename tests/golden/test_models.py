"""Models that earlier versions wrote are read and predict what they did, or an error says which version wrote them."""

import json
import pickle
import shutil
import warnings
from importlib.metadata import packages_distributions

import pytest
from sklearn.exceptions import InconsistentVersionWarning

from .make_golden import differences, installed_version

skops_io = pytest.importorskip("skops.io")
from .make_models import FOLDER, predict, predict_by_command  # noqa: E402 - it imports skops

RECORDS = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*/models.json")}
FILES = [
    pytest.param(version, name, form, id=f"{version} {name} {form}")
    for version, record in RECORDS.items()
    for name in record["models"]
    for form in ("pickle", "skops")
]
# Types of scikit-learn that skops does not know by itself.
TRUSTED = {"sklearn.metrics._scorer._PassthroughScorer"}


def other_versions(holds):
    """Packages that a file holds objects of and that are another version here, or are not here."""
    names = packages_distributions()
    here = {package: installed_version(names.get(package, [package])[0]) for package in holds}
    return [f"{name} {was} (here {here[name]})" for name, was in holds.items() if was != here[name]]


def load(path):
    """The model of a file of either form."""
    if path.suffix == ".pickle":
        return pickle.loads(path.read_bytes())
    types = skops_io.get_untrusted_types(file=path)
    assert all(found.startswith(("fairdcov.", "numpy.")) or found in TRUSTED for found in types), types
    return skops_io.load(path, trusted=types)


def read_and_predict(name, path):
    with warnings.catch_warnings():
        # A file that holds an estimator of another scikit-learn is read, and scikit-learn says so.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        # Names that have been replaced go on working.
        warnings.simplefilter("ignore", FutureWarning)
        return predict(name, load(path))


@pytest.mark.parametrize(("version", "name", "form"), FILES)
def test_models_of_earlier_versions_predict_what_they_did(version, name, form):
    if name == "lightgbm":
        pytest.importorskip("lightgbm")
    record = RECORDS[version]["models"][name]
    others = other_versions(record["holds"])
    try:
        found = read_and_predict(name, FOLDER / version / f"{name}.{form}")
    except Exception as error:
        if others:
            pytest.skip(f"the file holds objects of {', '.join(others)}, and cannot be read here: {error}")
        if f"fairdcov {version}" not in str(error):
            pytest.fail(f"the error says nothing of the version that wrote the file: {error!r}")
        return
    # The estimators of other packages may compute otherwise in other versions; ours are as exact as BLAS.
    assert not differences(found, record["prediction"], 1e-9, 1e-12)


@pytest.mark.parametrize("version", RECORDS)
def test_folders_of_the_command_line_predict_what_they_did(version, tmp_path):
    record = RECORDS[version]["command_line"]
    shutil.unpack_archive(FOLDER / version / "command_line.zip", tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        found = predict_by_command(tmp_path / "model", tmp_path)
    assert not differences(found, record["prediction"], 1e-9, 1e-12)


def test_there_are_models():
    assert "0.1.0" in RECORDS
    assert RECORDS["0.1.0"]["models"].keys() == {"poisson", "lightgbm", "calibrator", "encoder", "rebalancer"}
