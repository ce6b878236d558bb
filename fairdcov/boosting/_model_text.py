"""LightGBM's text of a model, checked before LightGBM reads it.

Its parser takes numbers of nodes, leaves, features and bytes on trust: a child out of range is a crash, a cycle a
prediction that never ends. Here every number that it goes by is checked; what LightGBM would have written passes.
"""

import json
import re

import numpy as np

__all__ = ["check_model_text"]

# LightGBM allows no more in its parameters.
_MOST_LEAVES = 131_072
# Lines of a tree that LightGBM reads; the rest would be taken for the next tree.
_MOST_LINES = 22

_OBJECTIVES = ("regression", "poisson", "gamma", "tweedie", "binary sigmoid:1")
_HEADER = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective"),
    *("feature_names", "feature_infos", "tree_sizes"),
)
_NODE_INTEGERS = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_NODE_NUMBERS = ("split_gain", "internal_value", "internal_weight")

_NAME = re.compile(r"[a-z_]+", re.ASCII)
# Nine digits fit into 32 bits, whatever they are.
_INTEGERS = re.compile(r"-?\d{1,9}(?: -?\d{1,9})*", re.ASCII)
_COUNTS = re.compile(r"\d{1,10}(?: \d{1,10})*", re.ASCII)
_FINITE = r"-?\d{1,25}(?:\.\d{1,25})?(?:e[-+]?\d{1,3})?"
_FINITE_NUMBERS = re.compile(f"{_FINITE}(?: {_FINITE})*", re.ASCII)
_ANY = f"(?:{_FINITE}|-?nan|-?inf)"
_ANY_NUMBERS = re.compile(f"{_ANY}(?: {_ANY})*", re.ASCII)
_FEATURE_INFO = re.compile(rf"none|\[{_ANY}:{_ANY}\]|-?\d{{1,10}}(?::-?\d{{1,10}})*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_PARAMETER = re.compile(r"\[[a-z0-9_]+: [^\n]*\]", re.ASCII)
_PARAMETERS = re.compile(r"\nparameters:\n(.*?)\n*end of parameters\n", re.ASCII | re.DOTALL)
_CATEGORIES = "pandas_categorical:"


def check_model_text(text):
    """Raise unless LightGBM can read a text and predict with it, whatever the rows.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` writes it, of one raw prediction for each row and constant leaves.

    Raises
    ------
    ValueError
        Naming the first thing that is wrong.

    Examples
    --------
    >>> from fairdcov.boosting._model_text import check_model_text
    >>> check_model_text("tree")
    Traceback (most recent call last):
    ...
    ValueError: the text of the LightGBM model is damaged: it has no line "tree_sizes" before its trees
    """
    if not isinstance(text, str):
        raise ValueError(f"the text of a LightGBM model must be a str; found {type(text).__name__}")
    try:
        _check(text)
    except _Damaged as damaged:
        raise ValueError(f"the text of the LightGBM model is damaged: {damaged}") from None


class _Damaged(Exception):
    """What is wrong with a text."""


def _need(condition, message):
    if not condition:
        raise _Damaged(message)


def _check(text):
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise _Damaged("it is not UTF-8") from None
    found = _CONTROL.search(text)
    _need(found is None, f"it has the control character {found and found.group()!r}")
    header, blank, _ = content.partition(b"\n\n")
    sizes, n_features = _check_header(header.decode())
    position = len(header) + len(blank)
    for number, size in enumerate(sizes):
        block = content[position : position + size].decode(errors="replace")
        start = f"Tree={number}\n"
        _need(
            block.startswith(start) and block.endswith("\n") and "\nTree=" not in block,
            f"tree {number} is not where tree_sizes puts it",
        )
        _check_tree(block.removeprefix(start), f"tree {number}", n_features)
        position += size
    rest = content[position:].decode(errors="replace")
    _need(rest.startswith("end of trees\n"), "more follows the trees that tree_sizes counts")
    _check_rest(rest, n_features)


def _read_lines(text, where):
    """Values by name; names that are not read by LightGBM may be there, none may be there twice."""
    values = {}
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        _need(equals and _NAME.fullmatch(name), f"{where} has the line {line[:40]!r}")
        _need(name not in values, f"{where} has {name} twice")
        values[name] = value
    return values


def _check_header(text):
    """Sizes of the trees in bytes, and the number of features."""
    first, _, lines = text.partition("\n")
    _need("tree_sizes=" in lines, 'it has no line "tree_sizes" before its trees')
    _need(first == "tree", f"it begins with {first[:40]!r}")
    values = _read_lines(lines, "its head")
    for name in _HEADER:
        _need(name in values, f"it has no line {name!r}")
    _need(re.fullmatch(r"v\d{1,3}", values["version"], re.ASCII), f"version is {values['version'][:40]!r}")
    for name in ("num_class", "num_tree_per_iteration"):
        _need(values[name] == "1", f"{name} is {values[name][:40]!r}, not 1")
    _need(values["label_index"] == "0", f"label_index is {values['label_index'][:40]!r}, not 0")
    _need(values["objective"] in _OBJECTIVES, f"objective is {values['objective'][:40]!r}")
    (last,) = _integers(values, "max_feature_idx", 1, "its head")
    n_features = int(last) + 1
    for name in ("feature_names", "feature_infos"):
        entries = values[name].split(" ")
        _need(all(entries) and len(entries) == n_features, f"{name} has not one entry for each feature")
    for entry in values["feature_infos"].split(" "):
        _need(_FEATURE_INFO.fullmatch(entry), f"feature_infos has the entry {entry[:40]!r}")
    if "monotone_constraints" in values:
        constraints = _integers(values, "monotone_constraints", n_features, "its head")
        _need((np.abs(constraints) <= 1).all(), "monotone_constraints are not -1, 0 or 1")
    sizes = values["tree_sizes"]
    _need(_COUNTS.fullmatch(sizes), "tree_sizes are not whole numbers")
    return [int(size) for size in sizes.split(" ")], n_features


def _check_rest(text, n_features):
    """What follows the trees: importances, which nobody reads, the parameters, and the categories of pandas."""
    parameters = _PARAMETERS.findall(text)
    _need(len(parameters) == 1, "it has not one list of parameters")
    for line in parameters[0].split("\n"):
        _need(_PARAMETER.fullmatch(line), f"its parameters have the line {line[:40]!r}")
    last = text.rstrip("\n").rpartition("\n")[2]
    _need(last.startswith(_CATEGORIES), "it does not end with the categories of pandas")
    try:
        categories = json.loads(last.removeprefix(_CATEGORIES))
    except (ValueError, RecursionError):
        raise _Damaged("the categories of pandas are not JSON") from None
    _need(
        categories is None
        or (isinstance(categories, list) and len(categories) <= n_features and all(map(_is_category_list, categories))),
        "the categories of pandas are not lists of distinct labels",
    )


def _is_category_list(labels):
    return (
        isinstance(labels, list)
        and all(isinstance(label, str | int | float) for label in labels)
        and len({(type(label), label) for label in labels}) == len(labels)
    )


def _check_tree(text, where, n_features):
    values = _read_lines(text.rstrip("\n"), where)
    _need(len(values) <= _MOST_LINES, f"{where} has {len(values)} lines")
    (n_leaves,) = _integers(values, "num_leaves", 1, where)
    _need(1 <= n_leaves <= _MOST_LEAVES, f"{where} has {n_leaves} leaves")
    _need(values.get("is_linear", "0") == "0", f"{where} has linear leaves")
    leaves = _numbers(values, "leaf_value", n_leaves, where, _FINITE_NUMBERS)
    shrinkage = _numbers(values, "shrinkage", 1, where, _FINITE_NUMBERS)
    _need(np.isfinite(leaves).all() and np.isfinite(shrinkage).all(), f"{where} has infinite values")
    (n_categorical,) = _integers(values, "num_cat", 1, where)
    n_nodes = int(n_leaves) - 1
    if n_nodes == 0:
        _need(n_categorical == 0, f"{where} has one leaf and {n_categorical} categorical splits")
        return
    integers = {name: _integers(values, name, n_nodes, where) for name in _NODE_INTEGERS}
    for name in _NODE_NUMBERS:
        _numbers(values, name, n_nodes, where)
    _integers(values, "leaf_count", n_leaves, where)
    _numbers(values, "leaf_weight", n_leaves, where)
    features = integers["split_feature"]
    _need(((features >= 0) & (features < n_features)).all(), f"{where} splits by features that there are not")
    _check_children(integers["left_child"], integers["right_child"], where)
    # Infinite where missing values are split from all others.
    thresholds = _numbers(values, "threshold", n_nodes, where)
    _need(not np.isnan(thresholds).any(), f"{where} has a threshold that is not a number")
    # Bits: categorical, default direction, and two for the kind of missing value, which is 0, 1 or 2.
    kinds = integers["decision_type"]
    _need(((kinds >= 0) & (kinds < 12)).all(), f"{where} has a decision_type that there is not")
    _check_categorical(values, thresholds[(kinds & 1) == 1], n_categorical, where)


def _check_children(left, right, where):
    """Raise unless the nodes and leaves are one tree below node 0: a child comes after its parent, and has only one."""
    n_nodes = len(left)
    for children in (left, right):
        is_node = children >= 0
        _need((children[is_node] > np.flatnonzero(is_node)).all(), f"{where} has a child before its parent")
    expected = np.concatenate([np.arange(-n_nodes - 1, 0), np.arange(1, n_nodes)])
    found = np.sort(np.concatenate([left, right]))
    _need(np.array_equal(found, expected), f"{where} has children that are out of range, missing or of two parents")


def _check_categorical(values, thresholds, n_categorical, where):
    """Raise unless each categorical split has its set of categories, as words of 32 bits, in ``cat_threshold``."""
    _need(len(thresholds) == n_categorical, f"{where} has {len(thresholds)} categorical splits, num_cat differs")
    if n_categorical == 0:
        return
    _need(
        np.array_equal(np.sort(thresholds), np.arange(n_categorical)),
        f"{where} has categorical splits that do not have a set each",
    )
    boundaries = _integers(values, "cat_boundaries", n_categorical + 1, where)
    _need(boundaries[0] == 0 and (np.diff(boundaries) > 0).all(), f"{where} has cat_boundaries that do not increase")
    words = values.get("cat_threshold", "")
    _need(_COUNTS.fullmatch(words), f"cat_threshold of {where} is not whole numbers")
    words = np.array(words.split(" "), dtype=np.int64)
    _need(len(words) == boundaries[-1], f"cat_threshold of {where} has {len(words)} entries, not {boundaries[-1]}")
    _need((words < 2**32).all(), f"cat_threshold of {where} has numbers of more than 32 bits")


def _integers(values, name, n, where):
    return _numbers(values, name, n, where, _INTEGERS, np.int64)


def _numbers(values, name, n, where, pattern=_ANY_NUMBERS, dtype=np.float64):
    """The ``n`` numbers of a line as an array."""
    _need(name in values, f"{where} has no line {name!r}")
    _need(pattern.fullmatch(values[name]), f"{name} of {where} is {values[name][:40]!r}")
    numbers = np.array(values[name].split(" "), dtype=dtype)
    _need(len(numbers) == n, f"{name} of {where} has {len(numbers)} entries, not {n}")
    return numbers
