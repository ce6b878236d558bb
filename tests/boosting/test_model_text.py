"""The text of a LightGBM model: what LightGBM writes passes, what would make it crash or hang does not."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from fairdcov import DCovLGBMClassifier, DCovLGBMRegressor
from fairdcov.boosting._model_text import check_model_text

pytest.importorskip("lightgbm")

SMALL = {"n_estimators": 3, "n_penalised_rounds": 2, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1}


def rows(n=400):
    """Numbers with and without gaps, few and many categories, and a count."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "gaps": np.where(rng.uniform(size=n) < 0.2, np.nan, rng.uniform(size=n)),
            "many": pd.Categorical(rng.choice([f"é{level}" for level in range(40)], n)),
            "few": pd.Categorical(rng.choice([3, 1, 2], n)),
        }
    )
    y = rng.poisson(np.exp(0.5 * X["a"] + 0.3 * (X["many"].cat.codes % 5) + (X["few"] == 1)))
    return X, y, rng.choice(["f", "m"], n)


def fitted():
    """Models of every kind of tree."""
    X, y, S = rows()
    categorical = {"min_data_per_group": 5, "cat_smooth": 1.0}
    poisson = DCovLGBMRegressor(strength=3, objective="poisson", **categorical, **SMALL)
    yield "poisson", poisson.fit(X, y, sensitive_features=S), X
    for objective in ("squared_error", "gamma", "tweedie"):
        model = DCovLGBMRegressor(strength=1, objective=objective, monotone_constraints=[1, 0], **SMALL)
        numbers = X[["a", "gaps"]].to_numpy()
        yield objective, model.fit(numbers, y + 0.1, sensitive_features=S), numbers
    zero = DCovLGBMRegressor(strength=0, zero_as_missing=True, **SMALL)
    yield "zero is missing", zero.fit(numbers, y), numbers
    yield "binary", DCovLGBMClassifier(strength=3, **SMALL).fit(X[["a"]], y > 1, sensitive_features=S), X[["a"]]
    yield "constant", DCovLGBMRegressor(strength=0, **SMALL).fit(X[["few"]], np.ones(len(y))), X[["few"]]
    gap = np.where(np.arange(400) % 3 == 0, np.nan, 1.0)
    yield "all or nothing", DCovLGBMRegressor(strength=0, **SMALL).fit(gap[:, None], np.isnan(gap)), gap[:, None]


MODELS = [pytest.param(model, X, id=name) for name, model, X in fitted()]
TEXT = MODELS[0].values[0].booster_.model_to_string()


@pytest.mark.parametrize(("model", "X"), MODELS)
def test_what_lightgbm_writes_passes(model, X):
    text = model.booster_.model_to_string()
    check_model_text(text)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy._raw_predict(X), model._raw_predict(X))
    assert copy.booster_.model_to_string() == text
    np.testing.assert_array_equal(copy.feature_importances_, model.feature_importances_)
    assert copy.booster_.pandas_categorical == model.booster_.pandas_categorical


def with_sizes(text):
    """The text with ``tree_sizes`` that fit its trees."""
    head, *trees = re.split(r"(?m)^(?=Tree=)", text)
    last, end, rest = trees[-1].partition("end of trees\n")
    sizes = " ".join(str(len(tree.encode())) for tree in [*trees[:-1], last])
    return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head) + "".join(trees[:-1]) + last + end + rest


def line(name, text=TEXT):
    """First line of a name, without the name."""
    return re.search(rf"(?m)^{name}=(.*)$", text).group(1)


def replaced(name, value):
    """The text with another value in the first line of a name."""
    return with_sizes(re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", TEXT, count=1))


def entry(name, position, value):
    """The text with another entry in the first line of a name."""
    entries = line(name).split(" ")
    entries[position] = value
    return replaced(name, " ".join(entries))


# The parts of a tree with a categorical split, for changes to it.
CATEGORICAL = next(tree for tree in re.split(r"(?m)^(?=Tree=)", TEXT) if "cat_threshold" in tree)
OTHERS = {
    "cat_boundaries": ("0 99", "1 2", "0", "0 0", "-1 2", "0 x"),
    "cat_threshold": ("", "4294967296", "-1", "1 2 3 4 5 6 7 8 9"),
    "num_cat": ("0", "5", "-1", "999999999", "x"),
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'it has no line "tree_sizes"'),
        (TEXT[: len(TEXT) // 2], "tree"),
        (TEXT.replace("\n", "\r\n"), "control character"),
        (TEXT.replace("Tree=1", "Tree=1\x00"), "control character"),
        (TEXT + "\ud800", "not UTF-8"),
        (TEXT.replace("tree\n", "Tree=0\n", 1), "begins with"),
        (TEXT.replace("version=v4\n", "", 1), "no line 'version'"),
        (TEXT.replace("version=v4\n", "version=v4\nversion=v4\n", 1), "version twice"),
        (TEXT.replace("version=v4\n", "version=v4\naverage_output\n", 1), "the line 'average_output'"),
        (replaced("num_class", "0"), "num_class is '0'"),
        (replaced("num_tree_per_iteration", "0"), "num_tree_per_iteration is '0'"),
        (replaced("num_tree_per_iteration", "3"), "num_tree_per_iteration is '3'"),
        (replaced("objective", "lambdarank"), "objective is 'lambdarank'"),
        (replaced("max_feature_idx", "999999999"), "feature_names has not one entry for each feature"),
        (replaced("max_feature_idx", "-1"), "feature_names has not one entry for each feature"),
        (replaced("feature_infos", "[0:1 none none none"), "feature_infos has the entry"),
        (re.sub(r"(?m)^tree_sizes=.*$", "tree_sizes=", TEXT), "tree_sizes are not whole numbers"),
        (re.sub(r"(?m)^tree_sizes=.*$", "tree_sizes=1", TEXT), "tree 0 is not where tree_sizes puts it"),
        (re.sub(r"(?m)^tree_sizes=\d+", "tree_sizes=9999999999", TEXT), "tree 0 is not where tree_sizes puts it"),
        (re.sub(r"(?m)^(tree_sizes=.*) \d+$", r"\1", TEXT), "more follows the trees"),
        (replaced("num_leaves", "7"), "has 6 entries, not 7"),
        (replaced("num_leaves", "5"), "has 6 entries, not 5"),
        (replaced("num_leaves", "0"), "has 0 leaves"),
        (replaced("num_leaves", "999999999"), "has 999999999 leaves"),
        (replaced("num_leaves", "99999999999"), "num_leaves of tree 0 is"),
        (replaced("is_linear", "1"), "has linear leaves"),
        (replaced("leaf_value", "1 2 3"), "leaf_value of tree 0 has 3 entries"),
        (entry("leaf_value", 0, "nan"), "leaf_value of tree 0 is"),
        (entry("leaf_value", 0, "1e999"), "has infinite values"),
        (entry("leaf_value", 0, "1_0"), "leaf_value of tree 0 is"),
        (entry("leaf_value", 0, "١"), "leaf_value of tree 0 is"),
        (entry("threshold", 0, "nan"), "a threshold that is not a number"),
        (entry("split_feature", 0, "4"), "splits by features that there are not"),
        (entry("split_feature", 0, "-1"), "splits by features that there are not"),
        (entry("left_child", 0, "0"), "a child before its parent"),
        (entry("right_child", 2, "1"), "a child before its parent"),
        (entry("left_child", 0, "999999"), "children that are out of range"),
        (entry("left_child", 0, "-7"), "children that are out of range"),
        (
            entry("left_child", 0, line("right_child").split(" ")[0]),
            "children that are out of range, missing or of two",
        ),
        (replaced("left_child", line("right_child")), "a child|children"),
        (entry("decision_type", 0, "12"), "a decision_type that there is not"),
        (entry("decision_type", 0, "-1"), "a decision_type that there is not"),
        (
            entry("decision_type", 0, str(int(line("decision_type").split(" ")[0]) ^ 1)),
            "categorical splits, num_cat differs",
        ),
        (with_sizes(TEXT.replace("left_child=", "left_kind=", 1)), "no line 'left_child'"),
        (with_sizes(TEXT.replace("Tree=0\n", "Tree=0\n\n", 1)), "the line ''"),
        (with_sizes(TEXT.replace("Tree=0\n", "Tree=0\n" + "".join(f"{a}_=1\n" for a in "abcdefgh"), 1)), "lines"),
        (TEXT.replace("end of parameters", "", 1), "one list of parameters"),
        (TEXT.replace("[seed: 0]", "seed: 0", 1), "its parameters have the line"),
        (TEXT.rpartition("pandas_categorical")[0], "does not end with the categories"),
        (re.sub("pandas_categorical:.*", "pandas_categorical:[", TEXT), "not JSON"),
        (re.sub("pandas_categorical:.*", "pandas_categorical:" + "[" * 100_000, TEXT), "not JSON"),
        (re.sub("pandas_categorical:.*", "pandas_categorical:[[1, 1]]", TEXT), "not lists of distinct labels"),
        (re.sub("pandas_categorical:.*", 'pandas_categorical:{"a": 1}', TEXT), "not lists of distinct labels"),
        *[
            (with_sizes(TEXT.replace(CATEGORICAL, re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", CATEGORICAL))), "tree")
            for name, values in OTHERS.items()
            for value in values
        ],
    ],
)
def test_what_lightgbm_would_take_on_trust_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as raised:
        check_model_text(text)
    assert str(raised.value).startswith("the text of the LightGBM model is damaged: ")
    assert len(str(raised.value)) < 300


def mutants(n, rng):
    """Texts with some numbers, entries or lines changed, and sizes that fit them."""
    texts = [model.values[0].booster_.model_to_string() for model in MODELS]
    special = ("0", "-1", "1", "7", "-8", "99", "2147483647", "1e308", "nan", "-inf", "0.5", "00001")
    for _ in range(n):
        lines = rng.choice(texts).split("\n")
        for _ in range(rng.integers(1, 4)):
            position = rng.choice([k for k, text in enumerate(lines) if "=" in text])
            name, _, value = lines[position].partition("=")
            if name == "Tree":
                continue
            entries = value.split(" ")
            first, second = rng.integers(len(entries), size=2)
            if rng.uniform() < 0.6:
                entries[first] = str(rng.choice(special))
            else:
                entries[first], entries[second] = entries[second], entries[first]
            lines[position] = f"{name}={' '.join(entries)}"
        yield with_sizes("\n".join(lines))


READ_ALL = """
import contextlib, sys
import numpy as np, lightgbm
for text in sys.stdin.buffer.read().decode().split("\\x00"):
    booster = lightgbm.Booster(model_str=text)
    X = np.random.default_rng(0).normal(scale=3, size=(40, booster.num_feature()))
    X[:20] = np.round(X[:20])
    X[20:30] = np.array([np.nan, np.inf, -np.inf, 0, 1e300, -1e300, 2**31, -(2**31) - 1, 39, 40])[:, None]
    assert np.isfinite(booster.predict(X, raw_score=True, num_threads=1)).all()
    booster.predict(X, pred_contrib=True, num_threads=1)
    with contextlib.suppress(ValueError):  # "00001" is no number in JSON
        booster.dump_model()
    booster.model_to_string()
"""


def test_what_passes_neither_crashes_nor_hangs(rng):
    passed, n_refused = [], 0
    for text in mutants(600, rng):
        try:
            check_model_text(text)
        except ValueError:
            n_refused += 1
        else:
            passed.append(text)
    assert n_refused > 200
    assert len(passed) > 50
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_ALL],
        input="\x00".join(passed).encode(),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )


def test_a_long_chain():
    """Each node has a leaf to its left and the next node to its right."""
    n = 20_000
    nodes = np.arange(n - 1)
    tree = {
        "num_leaves": n,
        "num_cat": 0,
        **dict.fromkeys(("split_feature", "split_gain", "decision_type", "internal_value"), "0 " * (n - 2) + "0"),
        "threshold": " ".join(map(str, nodes)),
        "left_child": " ".join(map(str, -nodes - 1)),
        "right_child": " ".join(map(str, [*(nodes[:-1] + 1), -n])),
        "leaf_value": " ".join(map(str, range(n))),
        "leaf_weight": "1 " * (n - 1) + "1",
        "leaf_count": "1 " * (n - 1) + "1",
        "internal_weight": "1 " * (n - 2) + "1",
        "internal_count": "1 " * (n - 2) + "1",
        "is_linear": 0,
        "shrinkage": 1,
    }
    block = "Tree=0\n" + "".join(f"{name}={value}\n" for name, value in tree.items()) + "\n\n"
    text = with_sizes(re.sub(r"(?s)Tree=0\n.*end of trees", lambda _: block + "end of trees", TEXT))
    check_model_text(text)
    model = MODELS[0].values[0]
    copy = DCovLGBMRegressor()
    copy.__setstate__({**model.__getstate__(), "booster_": text})
    X = rows(3)[0].assign(a=[0.0, 1_000.5, 1e9])
    np.testing.assert_array_equal(copy._raw_predict(X), [0, 1_001, n - 1])


def test_estimator_without_a_fit_is_saved():
    assert pickle.loads(pickle.dumps(DCovLGBMRegressor(num_leaves=7))).num_leaves == 7


def test_state_of_other_types_is_refused():
    state = MODELS[0].values[0].__getstate__()
    with pytest.raises(ValueError, match="must be a str; found int"):
        DCovLGBMRegressor().__setstate__({**state, "booster_": 3})
    with pytest.raises(ValueError, match="has 4 features, the DCovLGBMRegressor around it 5"):
        DCovLGBMRegressor().__setstate__({**state, "n_features_in_": 5})
