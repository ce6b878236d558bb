"""Fits of blocks of rows: equal to those in memory on the grid, for all families, penalties and kinds of blocks."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPenalty,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    JDCovPenalty,
    SensitiveEncoder,
    with_probabilities,
)
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.linear_model import (
    ArrayBlocks,
    BlockParts,
    BlockProblem,
    FrequencySeverityRegressor,
    fit_parts,
    hold_part,
    read_features,
    read_part,
)
from fairdcov.linear_model._problem import LinearProblem
from fairdcov.penalties import BoundPenalty, Penalty

GRID = CCDCovPenalty(method="grid")
MODELS = {
    "poisson": DCovPoissonRegressor(GRID, alpha=1e-3),
    "negative binomial": DCovNegativeBinomialRegressor(GRID, alpha=1e-3, dispersion=0.5),
    "gamma": DCovGammaRegressor(GRID, alpha=1e-3),
    "tweedie": DCovTweedieRegressor(GRID, alpha=1e-3, power=1.5),
    "normal, log link": DCovTweedieRegressor(GRID, alpha=1e-3, power=0, link="log"),
    "poisson, identity link": DCovTweedieRegressor(GRID, alpha=1e-3, power=1, link="identity"),
    "ridge": DCovRidge(GRID, alpha=1e-3),
    "logistic": DCovLogisticRegression(GRID, alpha=1e-3),
    "no intercept": DCovPoissonRegressor(GRID, alpha=1e-3, fit_intercept=False),
}


def target_of(name, y):
    if name == "logistic":
        return np.where(y > np.median(y), "high", "low")
    return y + 0.5 if name in ("gamma", "poisson, identity link") else y


def given_of(book, *names):
    keys = {"sample_weight": "weight", "sensitive_features": "people", "offset": "offset"}
    return {name: book[keys[name]] for name in names}


def both_objectives(model, X, y, given, strength, rows=77):
    """The objective in memory, that of blocks, and parameters to compare them at."""
    estimator = model.set_params(strength=strength)
    options = {"offset": given.get("offset")}
    arguments = given.get("sample_weight"), given.get("sensitive_features")
    whole = LinearProblem(estimator, X, y, *arguments, [strength], **options)
    blocks = BlockProblem(estimator, BlockParts(ArrayBlocks(X, y, rows=rows, **given)), [strength])
    parameters = 0.1 * np.random.default_rng(0).normal(size=whole.objective.n_parameters)
    if estimator.fit_intercept:
        parameters[-1] += 1.0
    return whole, blocks, parameters


@pytest.mark.parametrize("with_offset", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_the_objective_is_that_in_memory(name, with_offset, book):
    model, y = MODELS[name], target_of(name, book["y"])
    names = ("sample_weight", "sensitive_features") + (("offset",) if with_offset else ())
    given = given_of(book, *names)
    if name == "poisson, identity link":
        given = {key: np.abs(value) if key == "offset" else value for key, value in given.items()}
    whole, blocks, parameters = both_objectives(model, book["X"], y, given, 2.0)
    for strength in (0.0, 2.0):
        expected, gradient = whole.objective.parts_gradient(parameters, strength)
        found, own = blocks.objective.parts_gradient(parameters, strength)
        assert_allclose(
            [found.loss, found.penalty, found.total], [expected.loss, expected.penalty, expected.total], rtol=1e-11
        )
        assert_allclose(own, gradient, rtol=1e-9, atol=1e-12)
    assert_allclose(blocks.objective.hessian(parameters), whole.objective.hessian(parameters), rtol=1e-11, atol=1e-14)
    assert_allclose(blocks._constant_model(), whole._constant_model(), rtol=1e-6, atol=1e-9)
    assert_allclose(blocks._guard.highest_loss, whole._guard.highest_loss, rtol=1e-11)


PENALTIES = {
    "ccdcov": CCDCovPenalty(method="grid"),
    "jdcov": JDCovPenalty(method="grid", c=0.5),
    "dcov": DCovPenalty(method="grid"),
    "raw": CCDCovPenalty(method="grid", normalize=False),
    "link": CCDCovPenalty(method="grid", scale="link"),
    "total": CCDCovPenalty(method="grid", scale="total"),
    "total, raw": JDCovPenalty(method="grid", scale="total", normalize=False),
    "unweighted": CCDCovPenalty(method="grid", weighted=False),
    "u": CCDCovPenalty("u", method="grid", weighted=False),
    "u, jdcov": JDCovPenalty("u", method="grid", weighted=False, normalize=False),
    "few nodes": CCDCovPenalty(method="grid", grid_size=64),
    "encoder": CCDCovPenalty(method="grid", encoder=SensitiveEncoder(["gender", "age"], continuous_scaling="standard")),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_all_penalties_are_those_in_memory(name, weighted, book):
    people = book["people"]
    if name == "encoder":
        people = people.assign(region=np.arange(len(people)) % 5)
    given = {"sensitive_features": people}
    if weighted:
        given["sample_weight"] = book["weight"]
    model = DCovPoissonRegressor(PENALTIES[name], alpha=1e-3)
    whole, blocks, parameters = both_objectives(model, book["X"], book["y"], given, 1.0)
    expected, gradient = whole.objective.parts_gradient(parameters, 1.0)
    found, own = blocks.objective.parts_gradient(parameters, 1.0)
    assert_allclose(found.penalty, expected.penalty, rtol=1e-9)
    assert_allclose(own, gradient, rtol=1e-8, atol=1e-11)
    assert_allclose(blocks.objective.penalty.error_bound, whole.raw_objective.penalty.error_bound, rtol=1e-6)
    assert blocks.objective.penalty.method == whole.raw_objective.penalty.method


def test_predictions_far_from_1(book):
    given = given_of(book, "sample_weight", "sensitive_features")
    model = DCovRidge(CCDCovPenalty(method="grid", normalize=False), alpha=1e-3)
    for scale in (1e70, 1e-70):
        whole, blocks, parameters = both_objectives(model, book["X"], book["y"] * scale, given, 1.0)
        expected, gradient = whole.objective.parts_gradient(parameters * scale, 1.0)
        found, own = blocks.objective.parts_gradient(parameters * scale, 1.0)
        assert_allclose(found.penalty, expected.penalty, rtol=1e-9)
        assert_allclose(own, gradient, rtol=1e-8)


@pytest.mark.parametrize("strength", [0.0, 3.0])
@pytest.mark.parametrize("name", ["poisson", "ridge", "logistic"])
def test_the_fit_is_that_in_memory(name, strength, book):
    model, y = MODELS[name].set_params(strength=strength), target_of(name, book["y"])
    given = given_of(book, "sample_weight", "sensitive_features", "offset")
    expected = model.fit(book["X"], y, **given)
    expected = pickle.loads(pickle.dumps(expected))
    found = model.fit_blocks(ArrayBlocks(book["X"], y, rows=101, **given))
    exact = pickle.loads(pickle.dumps(model)).set_params(penalty="ccdcov").fit(book["X"], y, **given)
    assert found is model
    assert set(vars(found)) == set(vars(expected))
    assert_allclose(found.objective_value_, expected.objective_value_, rtol=1e-7)
    assert_allclose(found.objective_value_, exact.objective_value_, rtol=2e-6)
    for other in (expected, exact):
        assert_allclose(found.coef_, other.coef_, rtol=1e-2, atol=3e-2 * np.abs(other.coef_).max())
    assert found.feature_names_in_.tolist() == list("abcd")
    assert found.fitted_with_offset_
    assert found.converged_
    if name == "logistic":
        assert_array_equal(found.classes_, expected.classes_)
        assert_array_equal(found.predict(book["X"], book["offset"]), expected.predict(book["X"], book["offset"]))
    else:
        assert_allclose(
            found.predict(book["X"], book["offset"]), expected.predict(book["X"], book["offset"]), rtol=2e-2, atol=1e-3
        )


def test_the_total_is_kept_in_balance(book):
    given = given_of(book, "sample_weight", "sensitive_features")
    model = DCovPoissonRegressor(strength=5.0, alpha=1e-3).fit_blocks(
        ArrayBlocks(book["X"], book["y"], rows=90, **given)
    )
    assert_allclose(model.predict(book["X"]) @ book["weight"], book["y"] @ book["weight"], rtol=1e-3)
    assert model.penalty_method_ == "profiles on a grid"


def frames(book, kind):
    X, people = book["X"], book["people"].assign(region=book["people"]["region"].astype(str))
    y, weight = book["y"], book["weight"]
    if kind == "numpy":
        X, people = X.to_numpy(), people.astype(object).to_numpy()
    elif kind == "polars":
        pl = pytest.importorskip("polars")
        pytest.importorskip("pyarrow")
        X, people, y = pl.from_pandas(X), pl.from_pandas(people), pl.Series(y)
    elif kind == "arrow":
        pa = pytest.importorskip("pyarrow")
        X, people = pa.Table.from_pandas(X), pa.Table.from_pandas(people)
    elif kind == "sparse":
        X = sp.csr_array(X.to_numpy())
    return X, y, {"sample_weight": weight, "sensitive_features": people}


@pytest.mark.parametrize("kind", ["numpy", "polars", "arrow", "sparse", "memory map"])
def test_blocks_of_any_kind(kind, book, tmp_path):
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3)
    X, y, given = frames(book, "pandas")
    expected = model.fit_blocks(ArrayBlocks(X, y, rows=100, **given)).coef_.copy()
    X, y, given = frames(book, kind)
    if kind == "memory map":
        X = np.memmap(tmp_path / "X", dtype=np.float64, mode="w+", shape=X.shape)
        X[:] = book["X"].to_numpy()
    found = model.fit_blocks(ArrayBlocks(X, y, rows=100, **given)).coef_
    assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_the_same_blocks_have_the_same_bits_and_no_block_counts_by_its_size(book):
    X, y, given = frames(book, "pandas")
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3)
    blocks = ArrayBlocks(X, y, rows=100, **given)
    first, second = model.fit_blocks(blocks).coef_.copy(), model.fit_blocks(blocks).coef_.copy()
    assert_array_equal(first, second)
    threads = model.set_params(n_threads=2).fit_blocks(blocks).coef_
    assert_array_equal(first, threads)

    cuts = [0, 0, 1, 5, 400, 400, 599, 600, 600]
    uneven = [
        {"X": X[a:b], "y": y[a:b], **{name: values[a:b] for name, values in given.items()}} for a, b in pairwise(cuts)
    ]
    assert_allclose(model.fit_blocks(uneven).objective_value_, model.fit_blocks(blocks).objective_value_, rtol=1e-9)
    objective = model.objective_value_
    assert_allclose(model.fit_blocks(uneven[::-1]).objective_value_, objective, rtol=1e-9)


def test_rows_of_weight_0_are_absent(book):
    X, y, given = frames(book, "pandas")
    weight = given["sample_weight"].copy()
    weight[200:310] = 0
    weight[::7] = 0
    people = given["sensitive_features"].copy()
    people.loc[weight == 0, "gender"] = "unknown"
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3)
    keep = weight > 0
    given = {"sample_weight": weight[keep], "sensitive_features": people[keep]}
    expected = model.fit_blocks(ArrayBlocks(X[keep], y[keep], rows=100, **given)).objective_value_
    found = model.fit_blocks(ArrayBlocks(X, y, sample_weight=weight, sensitive_features=people, rows=100))
    assert_allclose(found.objective_value_, expected, rtol=1e-6)


def test_a_category_of_one_block_only_is_a_category(book):
    X, y, given = frames(book, "pandas")
    people = given["sensitive_features"].copy()
    people.loc[:99, "region"] = "x"
    model = DCovPoissonRegressor(GRID, strength=2.0, alpha=1e-3)
    given = {"sample_weight": given["sample_weight"], "sensitive_features": people}
    expected = model.fit(X, y, **given).objective_value_
    found = model.fit_blocks(ArrayBlocks(X, y, rows=100, **given)).objective_value_
    assert_allclose(found, expected, rtol=1e-7)
    # As categories that are declared in each block as that block has them.
    blocks = [
        (Xb, yb, wb, pb.assign(region=pd.Categorical(pb["region"])), None)
        for Xb, yb, wb, pb, _ in ArrayBlocks(X, y, rows=100, **given)
    ]
    assert_allclose(model.fit_blocks(blocks).objective_value_, expected, rtol=1e-7)


def test_declared_levels_without_rows_count_as_in_memory(book):
    people = book["people"][["gender"]].assign(gender=pd.Categorical(book["people"]["gender"], ["f", "m", "x"]))
    model = DCovPoissonRegressor(GRID, strength=2.0, alpha=1e-3)
    given = {"sensitive_features": people}
    with pytest.warns(match="declares level"):
        expected = model.fit(book["X"], book["y"], **given).penalty_value_
    with pytest.warns(match="declares level"):
        found = model.fit_blocks(ArrayBlocks(book["X"], book["y"], rows=100, **given)).penalty_value_
    assert_allclose(found, expected, rtol=1e-3)


def test_protected_attributes_among_the_features(book):
    X = book["X"].assign(gender=book["people"]["gender"])
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3, sensitive_columns=["gender"])
    found = model.fit_blocks(ArrayBlocks(X, book["y"], rows=100))
    assert found.feature_names_in_.tolist() == list("abcd")
    other = DCovPoissonRegressor(strength=2.0, alpha=1e-3)
    other.fit_blocks(ArrayBlocks(book["X"], book["y"], sensitive_features=book["people"]["gender"], rows=100))
    # To rounding: what is left of a frame may lie in memory in another order, and sums of products with it.
    assert_allclose(found.coef_, other.coef_, rtol=1e-8)
    assert_allclose(found.predict(X), other.predict(book["X"]), rtol=1e-8)


def test_an_unpenalised_fit_needs_no_attributes(book):
    model = DCovPoissonRegressor(strength=0.0, alpha=1e-3)
    expected = model.fit(book["X"], book["y"]).coef_.copy()
    model.fit_blocks(ArrayBlocks(book["X"], book["y"], rows=100))
    assert_allclose(model.coef_, expected, rtol=1e-9)
    assert np.isnan(model.penalty_value_)
    assert model.penalty_method_ is None


def test_more_columns_than_a_dense_hessian_has(book, monkeypatch):
    for module in ("_problem", "_solver", "_block_problem"):
        monkeypatch.setattr(f"fairdcov.linear_model.{module}.MAX_DENSE_PARAMETERS", 2)
    given = given_of(book, "sample_weight", "sensitive_features")
    model = DCovPoissonRegressor(GRID, strength=2.0, alpha=1e-3)
    expected = model.fit(book["X"], book["y"], **given).objective_value_
    found = model.fit_blocks(ArrayBlocks(book["X"], book["y"], rows=100, **given)).objective_value_
    assert_allclose(found, expected, rtol=1e-6)


def test_constant_predictions_have_no_penalty(book):
    given = given_of(book, "sensitive_features")
    problem = BlockProblem(
        DCovPoissonRegressor(alpha=1e-3), BlockParts(ArrayBlocks(book["X"], book["y"], rows=100, **given)), [1.0]
    )
    parameters = np.append(np.zeros(4), 0.5)
    parts, gradient = problem.objective.parts_gradient(parameters, 1.0)
    assert parts.penalty == 0
    assert_allclose(gradient, problem.objective.parts_gradient(parameters, 0.0)[1])


def test_passes_over_the_blocks(book):
    """An unpenalised step goes once over them, a penalised evaluation twice, the constant model never."""
    passes = []

    class Counted:
        def __init__(self, blocks):
            self.blocks = blocks

        def __iter__(self):
            passes.append(1)
            return iter(self.blocks)

    given = given_of(book, "sensitive_features")
    blocks = Counted(list(ArrayBlocks(book["X"], book["y"], rows=100, **given)))
    problem = BlockProblem(DCovPoissonRegressor(alpha=1e-3, strength=1.0), BlockParts(blocks), [1.0])
    assert len(passes) == 1
    problem.solve(1.0)
    objective = problem.objective
    assert len(passes) == 1 + objective.n_passes <= 1 + 2 * objective.n_evaluations


# -- strength and level ------------------------------------------------------------------------------------------------


def test_the_guard_is_that_in_memory(book):
    rng = np.random.default_rng(0)
    n = 400
    people = rng.integers(0, 2, n).astype(str)
    X = np.column_stack([people == "1", rng.normal(size=n)]).astype(float)
    y = rng.poisson(np.exp(X[:, 0])).astype(float)
    given = {"sensitive_features": people}
    model = DCovPoissonRegressor(GRID, strength=1e6, alpha=1e-6, max_iter=100)
    strengths = []
    for fit in (lambda: model.fit(X, y, **given), lambda: model.fit_blocks(ArrayBlocks(X, y, rows=50, **given))):
        with pytest.warns():
            fit()
        strengths.append((model.effective_strength_, model.loss_value_))
    constant = DCovPoissonRegressor(strength=0, alpha=1e9).fit(X, y).loss_value_
    for strength, loss in strengths:
        # From here on fits end next to the constant, on this or that side by what rounding makes of their last step:
        # features that differ by 1e-12 lead to strengths of 165 to 352.
        assert 50 < strength < 1_000
        assert loss <= constant * (1 + 1e-6)


def test_a_level_that_is_off_is_remarked_on(book, monkeypatch):
    said = []
    monkeypatch.setattr(
        "fairdcov.linear_model._block_problem.warn_of_level",
        lambda estimator, whole, raw, strength: said.append(
            (whole.probabilities @ whole.y, whole.loss.response(raw()))
        ),
    )
    given = given_of(book, "sample_weight", "sensitive_features")
    DCovPoissonRegressor(strength=2.0, alpha=1e-3).fit_blocks(ArrayBlocks(book["X"], book["y"], rows=100, **given))
    ((observed, predicted),) = said
    assert_allclose(observed, np.average(book["y"], weights=book["weight"]))
    assert_allclose(predicted, observed, rtol=1e-3)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def broken(book, number, **changes):
    blocks = [
        {"X": X, "y": y, "sample_weight": weight, "sensitive_features": people}
        for X, y, weight, people, _ in ArrayBlocks(
            book["X"], book["y"], sample_weight=book["weight"], sensitive_features=book["people"], rows=100
        )
    ]
    for name, change in changes.items():
        blocks[number][name] = change(blocks[number][name])
    return blocks


def with_nan(X):
    X = X.copy()
    X.iloc[17, 2] = np.nan
    return X


def with_infinity(y):
    return np.where(np.arange(len(y)) == 5, np.inf, y)


def negative(values):
    values = values.copy()
    values[3] = -1.0
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": with_nan}, "block 3: X in row 17, column 'c': Input X contains NaN"),
        (
            {"y": lambda y: np.where(np.arange(len(y)) == 5, np.inf, y)},
            "block 3: y in row 5: Input y contains infinity",
        ),
        ({"y": negative}, "block 3: Some value.* of y are out of the valid range"),
        ({"sample_weight": negative}, "block 3: sample_weight must not be negative"),
        ({"X": lambda X: X.rename(columns={"b": "z"})}, r"columns of X differ.*block 3 lacks \['b'\] and has \['z'\]"),
        ({"X": lambda X: X[["b", "a", "c", "d"]]}, "columns of X differ.*put them in one order"),
        ({"X": lambda X: X.iloc[:, :3]}, r"columns of X differ.*block 3 lacks \['d'\]"),
        ({"X": lambda X: X.iloc[:-1]}, "block 3: .*inconsistent numbers of samples"),
        ({"sample_weight": lambda w: None}, "sample_weight is given in block 0 and not in block 3"),
        ({"sensitive_features": lambda S: None}, "sensitive_features is given in block 0 and not in block 3"),
        ({"sensitive_features": lambda S: S[["age"]]}, "columns of sensitive_features differ"),
        ({"sensitive_features": lambda S: S.iloc[:-1]}, "block 3: sensitive_features must have as many rows"),
        ({"sensitive_features": lambda S: S.assign(age="old")}, "'age' holds numbers in block 0 and categories in"),
        ({"sensitive_features": lambda S: S.assign(age=np.nan)}, "block 3: .*'age' has 100 missing value"),
        ({"sensitive_features": lambda S: S.assign(age=np.arange(100) / 7)}, None),
    ],
)
def test_what_is_wrong_with_a_block_is_said(changes, message, book):
    model = DCovPoissonRegressor(strength=1.0, alpha=1e-3)
    if message is None:
        model.fit_blocks(broken(book, 3, **changes))
        return
    before = vars(model).copy()
    with pytest.raises(ValueError, match=message):
        model.fit_blocks(broken(book, 3, **changes))
    assert vars(model) == before


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        (iter([]), TypeError, "can be read only once"),
        ((part for part in []), TypeError, "can be read only once"),
        ([], ValueError, "at least one block"),
        (5, TypeError, "must be an iterable"),
        ([5], TypeError, "block 0: a block must be a tuple or a dict"),
        ([(1,)], ValueError, "block 0: a block is a tuple of 2 to 5 entries"),
        ([{"X": 1, "y": 2, "control_features": 3}], ValueError, "found .'control_features'"),
        ([{"X": np.ones((5, 1))}], ValueError, "a block needs y"),
        ([(np.ones((0, 2)), np.ones(0))], ValueError, "at least 4 rows of positive sample_weight; found 0"),
    ],
)
def test_what_is_no_blocks_is_said(blocks, error, message):
    with pytest.raises(error, match=message):
        DCovPoissonRegressor().fit_blocks(blocks)


def test_a_penalty_needs_attributes(book):
    with pytest.raises(MissingSensitiveFeaturesError, match="strength > 0 needs sensitive_features"):
        DCovPoissonRegressor().fit_blocks(ArrayBlocks(book["X"], book["y"], rows=100))


class Custom(Penalty):
    def bind_attributes(self, attributes, probabilities):
        return BoundPenalty()


@pytest.mark.parametrize(
    ("penalty", "error", "message"),
    [
        (Custom(), TypeError, "rows in blocks take the distance-covariance penalties"),
        (CCDCovPenalty(method="profiles"), ValueError, "use method='grid' or 'auto'"),
        (CCDCovPenalty("u"), ValueError, "a weighted U-statistic is not defined"),
        (CCDCovPenalty(encoder=SensitiveEncoder(probabilities={"g": ["p", "q"]})), ValueError, "probabilities"),
    ],
)
def test_penalties_that_have_no_blocks_are_refused(penalty, error, message, book):
    given = given_of(book, "sample_weight", "sensitive_features")
    with pytest.raises(error, match=message):
        DCovPoissonRegressor(penalty).fit_blocks(ArrayBlocks(book["X"], book["y"], rows=100, **given))


def test_probabilities_are_refused(book):
    share = np.linspace(0, 1, len(book["y"]))
    people = with_probabilities(pd.DataFrame({"p": share, "q": 1 - share}), {"g": ["p", "q"]})
    with pytest.raises(TypeError, match=r"block 0: .*known as probabilities"):
        DCovPoissonRegressor().fit_blocks([(book["X"], book["y"], None, people)])


def test_too_many_profiles_are_refused():
    rng = np.random.default_rng(0)
    X, y, age = rng.normal(size=(3000, 2)), rng.poisson(1.0, 3000), rng.uniform(size=3000)
    for rows, message in ((3000, "3,000 distinct rows in this block"), (1000, "3,000 distinct rows up to block 2")):
        with pytest.raises(ValueError, match=message):
            DCovPoissonRegressor().fit_blocks(ArrayBlocks(X, y, sensitive_features=age, rows=rows))


def test_labels_of_a_classifier(book):
    X = book["X"].to_numpy()
    y = np.where(np.arange(len(X)) < 100, "no", "yes")
    gender = book["people"]["gender"].to_numpy()
    model = DCovLogisticRegression(strength=0.1).fit_blocks(ArrayBlocks(X, y, sensitive_features=gender, rows=100))
    assert model.classes_.tolist() == ["no", "yes"]
    with pytest.raises(ValueError, match="two classes; found one class, 'yes'"):
        model.fit_blocks(ArrayBlocks(X[100:], y[100:], sensitive_features=gender[100:], rows=100))
    y[-1] = "maybe"
    with pytest.raises(ValueError, match="binary classification is supported; found 3 labels"):
        model.fit_blocks(ArrayBlocks(X, y, sensitive_features=gender, rows=100))
    y[-2:] = "no"
    y[-1] = "maybe"
    with pytest.raises(ValueError, match="block 5: Only binary classification is supported; found 3 labels"):
        model.fit_blocks(ArrayBlocks(X, y, sensitive_features=gender, rows=100))


def test_a_target_of_zeros_is_refused(book):
    with pytest.raises(ValueError, match="y must have a positive mean"):
        DCovPoissonRegressor(strength=0).fit_blocks(ArrayBlocks(book["X"], np.zeros(600), rows=100))


def test_frequency_and_severity_have_no_blocks():
    assert not hasattr(FrequencySeverityRegressor, "fit_blocks")


# -- interrupted fits --------------------------------------------------------------------------------------------------


class Failing:
    """Blocks that end with an error in some pass."""

    def __init__(self, blocks, good_passes, error):
        self.blocks, self.left, self.error = list(blocks), good_passes, error

    def __iter__(self):
        self.left -= 1
        for number, block in enumerate(self.blocks):
            if self.left < 0 and number == 2:
                raise self.error
            yield block


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()])
def test_an_interrupted_fit_keeps_what_it_had(error, book):
    given = given_of(book, "sample_weight", "sensitive_features")
    blocks = ArrayBlocks(book["X"], book["y"], rows=100, **given)
    complete = DCovPoissonRegressor(strength=2.0, alpha=1e-3).fit_blocks(blocks)
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3)
    with pytest.raises(type(error)) as caught:
        model.fit_blocks(Failing(blocks, 16, error))
    assert "warm_start=True" in caught.value.__notes__[-1]
    assert not model.converged_
    assert model.effective_strength_ == 2.0
    assert model.objective_value_ > complete.objective_value_
    assert model.predict(book["X"]).shape == (600,)
    model.set_params(warm_start=True).fit_blocks(blocks)
    assert model.converged_
    assert_allclose(model.objective_value_, complete.objective_value_, rtol=1e-6)
    assert model.n_iter_ < complete.n_iter_


def test_a_fit_that_never_began_leaves_nothing(book):
    given = given_of(book, "sensitive_features")
    blocks = Failing(ArrayBlocks(book["X"], book["y"], rows=100, **given), 1, OSError("gone"))
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-3)
    before = vars(model).copy()
    with pytest.raises(OSError, match="gone"):
        model.fit_blocks(blocks)
    assert vars(model) == before


def test_blocks_that_change_are_noticed(book):
    given = given_of(book, "sensitive_features")
    blocks = list(ArrayBlocks(book["X"], book["y"], rows=100, **given))

    class Changing:
        def __init__(self, later):
            self.found = [blocks]
            self.later = later

        def __iter__(self):
            return iter(self.found.pop() if self.found else self.later)

    shorter = [tuple(None if part is None else part[:50] for part in block) for block in blocks]
    for later, message in (
        (blocks[:4], r"6 block\(s\) when they were read first and 4 now"),
        (blocks * 2, r"6 block\(s\) when they were read first and more now"),
        (shorter, "block 0: it has 50 rows and had 100 before"),
    ):
        with pytest.raises(ValueError, match=message):
            DCovPoissonRegressor(strength=1.0).fit_blocks(Changing(later))


def test_an_unfinished_fit_warns(book):
    given = given_of(book, "sensitive_features")
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        DCovPoissonRegressor(strength=2.0, max_iter=2, alpha=1e-3).fit_blocks(
            ArrayBlocks(book["X"], book["y"], rows=100, **given)
        )


# -- other holders of parts --------------------------------------------------------------------------------------------


class Elsewhere(BlockParts):
    """Each part and each argument travels as bytes, and sums are added as a tree."""

    def describe(self, estimator):
        parts = [travelled(read_part)(estimator, block, number) for number, block in enumerate(self._blocks)]
        self._kept = [kept for kept, _ in parts]
        return tree([description for _, description in parts])

    def hold(self, estimator, plan):
        self._estimator = estimator
        self._rows = [travelled(hold_part)(plan, kept) for kept in self._kept]
        self._raw = [None] * len(self._rows)

    def predict(self, stage, parameters):
        self._raw = [travelled(stage)(X, rows, parameters) for X, rows in self._features()]

    def total(self, stage, *arguments):
        return tree([travelled(stage)(rows, raw, *arguments) for rows, raw in zip(self._rows, self._raw, strict=True)])

    def total_with_features(self, stage, *arguments):
        return tree([travelled(stage)(X, rows, *arguments) for X, rows in self._features()])

    def total_with_predictions(self, stage, *arguments):
        pairs = zip(self._features(), self._raw, strict=True)
        return tree([travelled(stage)(X, rows, raw, *arguments) for (X, rows), raw in pairs])

    def _features(self):
        for number, (block, rows) in enumerate(zip(self._blocks, self._rows, strict=True)):
            yield travelled(read_features)(self._estimator, block, rows, number), rows


def travelled(function):
    def call(*arguments):
        function_there, arguments_there = pickle.loads(pickle.dumps((function, arguments)))
        return pickle.loads(pickle.dumps(function_there(*arguments_there)))

    return call


def tree(sums):
    while len(sums) > 1:
        sums = [sums[i] if i + 1 == len(sums) else sums[i] + sums[i + 1] for i in range(0, len(sums), 2)]
    return sums[0]


@pytest.mark.parametrize("name", ["poisson", "logistic"])
def test_parts_may_be_in_other_places(name, book):
    y = target_of(name, book["y"])
    given = given_of(book, "sample_weight", "sensitive_features", "offset")
    blocks = ArrayBlocks(book["X"], y, rows=70, **given)
    model = MODELS[name].set_params(strength=2.0)
    expected = model.fit_blocks(blocks).objective_value_
    first = fit_parts(model, Elsewhere(blocks)).coef_.copy()
    assert_allclose(model.objective_value_, expected, rtol=1e-8)
    assert_array_equal(fit_parts(model, Elsewhere(blocks)).coef_, first)


def test_the_lengths_of_arrays_are_checked():
    with pytest.raises(ValueError, match="y must have as many rows as X"):
        ArrayBlocks(np.ones((3, 1)), np.ones(2))
    with pytest.raises(ValueError, match="rows must be a whole number"):
        ArrayBlocks(np.ones((3, 1)), np.ones(3), rows=0)
