"""Folders of models made to run code, to crash or to hang: refused in one line, and nothing is run."""

import functools
import hashlib
import io
import json
import operator
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

from fairdcov import DCovLGBMRegressor, DCovPoissonRegressor

from .conftest import check_refused

pytest.importorskip("lightgbm")
skops_io = pytest.importorskip("skops.io")

QUANTITY = {"kind": "quantity", "missing": 0}


def book():
    """Two quantities and a count, which depends on both."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.uniform(size=200), "power": rng.uniform(size=200)})
    return frame, rng.poisson(np.exp(frame["age"] + frame["power"]))


@functools.cache
def models():
    """Files of a small model of each kind."""
    X, y = book()
    trees = DCovLGBMRegressor(strength=0, objective="poisson", n_estimators=2, num_leaves=4, n_jobs=1)
    linear = DCovPoissonRegressor(strength=0)
    return {
        "glm": skops_io.dumps(make_pipeline(linear.fit(X, y))),
        "lightgbm": skops_io.dumps(make_pipeline(trees.fit(X, y))),
    }


@pytest.fixture
def folder(tmp_path):
    """Write a folder of a model whose checksum fits."""

    def write(content, kind="glm", **changes):
        path = tmp_path / "model"
        path.mkdir(exist_ok=True)
        (path / "model.skops").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        settings = {"format": 1, "model": kind, "model_sha256": digest, "features": dict.fromkeys(book()[0], QUANTITY)}
        (path / "settings.json").write_text(json.dumps({**settings, **changes}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def predict(run, save, tmp_path):
    """Score the book with a folder."""
    path = save(book()[0])
    return lambda model: run("predict", model, path, "--output", tmp_path / "out.csv")


@pytest.fixture
def canary(tmp_path):
    """A file that the attacks would make."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def entries(content):
    """Content of each entry of a model."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(parts, compression=zipfile.ZIP_STORED):
    """A model of such entries, pairs of name and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return buffer.getvalue()


def forge(content, change):
    """A model whose schema has been changed in place; every part of it has an own identity."""
    parts = entries(content)
    schema = json.loads(parts["schema.json"])
    change(schema)
    return pack({**parts, "schema.json": json.dumps(schema)}.items())


def estimator_of(schema):
    """State of the last step of a pipeline, by name."""
    steps = schema["content"]["content"]["steps"]["content"]
    return steps[-1]["content"][1]["content"]["content"]


def node(loader, kind, **state):
    """A part of a schema."""
    module, _, name = kind.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": name, **state}


def value(content):
    """A part of a schema that is JSON."""
    return node("JsonNode", "builtins.str", content=json.dumps(content), is_json=True)


def listing(loader, *parts):
    """A part of a schema that is a list or a tuple."""
    return node(loader, f"builtins.{loader.removesuffix('Node').lower()}", content=list(parts))


def mapping(**parts):
    """A part of a schema that is a dict."""
    types = listing("ListNode", *(node("TypeNode", "builtins.str") for _ in parts))
    return node("DictNode", "builtins.dict", content=parts, key_types=types)


@pytest.mark.parametrize("kind", ["glm", "lightgbm"])
def test_the_models_that_are_spoilt_below_are_good(folder, predict, kind):
    result = predict(folder(forge(models()[kind], lambda schema: None), kind))
    assert result.code == 0, result.err


# ---------------------------------------------------------------------------------------------------------------------
# Code
# ---------------------------------------------------------------------------------------------------------------------


class Reduced:
    """Runs a command where a pickle is read."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def _touch(canary):
    return f"touch {canary}"


@pytest.mark.parametrize(
    "make",
    [
        lambda canary: FunctionTransformer(os.system, kw_args={"command": _touch(canary)}),
        lambda canary: FunctionTransformer(eval),
        lambda canary: FunctionTransformer(exec),
        lambda canary: FunctionTransformer(pickle.loads),
        lambda canary: FunctionTransformer(functools.partial(os.system, _touch(canary))),
        lambda canary: FunctionTransformer(operator.methodcaller("to_pickle", str(canary))),
        lambda canary: FunctionTransformer(DCovPoissonRegressor().set_params),
        lambda canary: FunctionTransformer(Reduced(_touch(canary)).__init__),
    ],
    ids=["system", "eval", "exec", "loads", "partial", "methodcaller", "method", "own method"],
)
def test_functions_are_not_called(folder, predict, canary, make):
    X, y = book()
    step = make(canary)
    content = skops_io.dumps(make_pipeline(step, DCovPoissonRegressor(strength=0).fit(X, y)))
    check_refused(predict(folder(content)), "holds types that a model of fairdcov does not have and was not loaded")


@pytest.mark.parametrize("kind", ["glm", "lightgbm"])
@pytest.mark.parametrize(
    "make",
    [
        lambda command: node("ConstructorFromReduceNode", "subprocess.Popen", content=listing("ListNode", command)),
        lambda command: node("ConstructorFromReduceNode", "pandas.read_pickle", content=listing("ListNode", command)),
        lambda command: node("ReduceNode", "os.system", reduce=listing("TupleNode", command)),
        lambda command: node("ObjectNode", "fairdcov.cli.main", content=mapping(command=command)),
        lambda command: node("ObjectNode", "lightgbm.basic.Booster", content=mapping(_handle=command)),
        lambda command: node(
            "PartialNode",
            "functools.partial",
            content={
                "func": node("FunctionNode", "os.system"),
                "args": listing("TupleNode", command),
                "kwds": mapping(),
                "namespace": value(None),
            },
        ),
        lambda command: node("MethodNode", "os.system", content={"func": "__call__", "obj": command}),
        lambda command: node("OperatorFuncNode", "operator.methodcaller", attrs=listing("TupleNode", command)),
        lambda command: node("TypeNode", "subprocess.Popen"),
        lambda command: {"__loader__": ["TypeNode"], "__module__": 1, "__class__": {}},
        lambda command: node("NdArrayNode", "os.system", type="numpy", file="schema.json"),
        lambda command: node(
            "DefaultDictNode",
            "collections.defaultdict",
            content={"main": mapping(), "default_factory": node("TypeNode", "os.abort")},
        ),
        lambda command: node(
            "RandomGeneratorNode",
            "numpy.random.Generator",
            content={"bit_generator": mapping(bit_generator=value("seed"))},
        ),
    ],
)
def test_parts_that_run_something_are_not_built(folder, predict, canary, kind, make):
    def change(schema):
        estimator_of(schema)["tol"] = make(value(_touch(canary)))

    check_refused(predict(folder(forge(models()[kind], change), kind)), "was not loaded")


def test_pickles_are_not_read(folder, predict, canary):
    check_refused(predict(folder(pickle.dumps(Reduced(_touch(canary))))), "is not a model that can be read")
    buffer = io.BytesIO()
    np.save(buffer, np.array([Reduced(_touch(canary))], dtype=object))
    parts = entries(models()["glm"])
    array = next(name for name in parts if name.endswith(".npy"))
    check_refused(predict(folder(pack({**parts, array: buffer.getvalue()}.items()))), "holds pickled objects")


@pytest.mark.parametrize("make", [DecisionTreeRegressor, KNeighborsRegressor])
def test_compiled_estimators_of_scikit_learn_are_not_built(folder, predict, make):
    X, y = book()
    content = skops_io.dumps(make_pipeline(make().fit(X, y)))
    check_refused(predict(folder(content)), f"{make.__module__}.{make.__name__} (ObjectNode)")


# ---------------------------------------------------------------------------------------------------------------------
# Archives
# ---------------------------------------------------------------------------------------------------------------------


def test_archives_of_another_form(folder, predict, tmp_path):
    parts = entries(models()["glm"])
    refused = "is not a model that can be read: "
    for name in ("../canary.npy", "/tmp/canary.npy", "a\\b.npy", "canary.py"):
        check_refused(predict(folder(pack([*parts.items(), (name, b"")]))), refused + "it has an entry")
    check_refused(predict(folder(pack(parts.items(), zipfile.ZIP_DEFLATED))), "is compressed")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = pack([*parts.items(), ("schema.json", b"{}")])
    check_refused(predict(folder(twice)), "two entries of one name")
    content = models()["glm"]
    for cut in (10, len(content) // 2, len(content) - 10):
        check_refused(predict(folder(content[:cut])), refused)
    assert not list(tmp_path.glob("**/canary*"))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "codec can't decode"),
        (b"[]", "object has no attribute 'get'"),
        (b"{}", "protocol"),
        (b'{"__loader__": "JsonNode"}', "'__module__'"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "recursion"),
        (b'{"protocol": 99}', "protocol 99"),
    ],
)
def test_broken_schemas(folder, predict, schema, message):
    result = predict(folder(pack({**entries(models()["glm"]), "schema.json": schema}.items())))
    check_refused(result, "is not a model that can be read: ")
    assert message in result.err


@pytest.mark.parametrize(
    "header",
    [
        {"descr": "<f8", "fortran_order": False, "shape": (10**15,)},
        {"descr": "<f8", "fortran_order": False, "shape": (10**200, 10**200)},
        {"descr": "<f8", "fortran_order": False, "shape": (-1,)},
        {"descr": "<U0", "fortran_order": False, "shape": (10**15,)},
        {"descr": "|V2000000000", "fortran_order": False, "shape": (1,)},
    ],
)
def test_arrays_that_say_they_are_larger(folder, predict, header):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    parts = entries(models()["glm"])
    array = next(name for name in parts if name.endswith(".npy"))
    result = predict(folder(pack({**parts, array: buffer.getvalue()}.items())))
    check_refused(result, "is not a model that can be read: its array")


def test_another_model_than_the_settings_name(folder, predict, tmp_path):
    path = folder(models()["glm"])
    (path / "model.skops").write_bytes(models()["lightgbm"])
    check_refused(predict(path), "its SHA-256 differs")
    check_refused(predict(folder(models()["lightgbm"], "glm")), "holds types")
    check_refused(predict(folder(models()["glm"], "lightgbm")), "holds types")
    # a link to another file, whose content must not show
    (tmp_path / "secret").write_text("the secret")
    path = folder(b"the secret")
    (path / "model.skops").unlink()
    (path / "model.skops").symlink_to(tmp_path / "secret")
    result = predict(path)
    check_refused(result, "is not a model that can be read")
    assert "the secret" not in result.err + result.out
    (path / "model.skops").unlink()
    (path / "model.skops").symlink_to("/dev/zero")
    check_refused(predict(path), "holds no model")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": True},
        {"format": "1"},
        {"model": ["glm"]},
        {"model": None},
        {"model_sha256": 1},
        {"features": []},
        {"features": {"age": None}},
        {"features": {"age": {"kind": ["quantity"]}}},
        {"features": {"age": {"kind": "category"}}},
        {"features": {"age": {"kind": "category", "levels": 7}}},
        {"features": {"age": {"kind": "category", "levels": [["a"], {}]}}},
        {"features": {"age": {"kind": "number", "levels": "abc"}}},
        {"features": {}},
        {"features": {"age": QUANTITY}},
    ],
)
def test_settings_of_other_types(folder, predict, changes):
    check_refused(predict(folder(models()["glm"], **changes)), "")


# ---------------------------------------------------------------------------------------------------------------------
# Boosters
# ---------------------------------------------------------------------------------------------------------------------


def _replace(old, new):
    def change(schema):
        booster = estimator_of(schema)["booster_"]
        text = json.loads(booster["content"])
        assert text.count(old) >= 1
        booster["content"] = json.dumps(text.replace(old, new, 1))

    return change


def _with_booster(part):
    def change(schema):
        estimator_of(schema)["booster_"] = part

    return change


def _without(name):
    def change(schema):
        del estimator_of(schema)[name]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replace("\nleft_child=", "\nleft_child=9"), "the text of the LightGBM model is damaged: left_child"),
        (_replace("\nnum_leaves=4", "\nnum_leaves=9"), "leaf_value of tree 0 has 4 entries, not 9"),
        (_replace("\nversion=v4", "\nversion=v4\naverage_output"), "its head has the line 'average_output'"),
        (_with_booster(value(None)), "the text of a LightGBM model must be a str; found NoneType"),
        (_with_booster(value({"a": 1})), "the text of a LightGBM model must be a str; found dict"),
        (_with_booster(listing("ListNode")), "the text of a LightGBM model must be a str; found list"),
        (_without("booster_"), "is not fitted yet"),
        (_without("n_features_in_"), "has 2 features, the DCovLGBMRegressor around it None"),
    ],
)
def test_boosters_that_do_not_fit_together(folder, predict, change, message):
    check_refused(predict(folder(forge(models()["lightgbm"], change), "lightgbm")), message)


def test_booster_shared_with_another_text(folder, predict):
    """A part may stand for an earlier one of its identity: the text that is checked is the one that is read."""

    def change(schema):
        state = estimator_of(schema)
        wrong = dict(state["booster_"], content=json.dumps("tree"), __id__=1)
        right = dict(state["booster_"], __id__=1)
        schema["content"]["content"] = {"first": wrong, **schema["content"]["content"]}
        state["booster_"] = right

    check_refused(predict(folder(forge(models()["lightgbm"], change), "lightgbm")), "the LightGBM model is damaged")


def test_more_threads_than_a_machine_has(folder, predict):
    def change(schema):
        estimator_of(schema)["n_jobs"] = value(10**6)

    assert predict(folder(forge(models()["lightgbm"], change), "lightgbm")).code == 0
