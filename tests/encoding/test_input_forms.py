"""The same protected attributes in any form mean the same to everything that reads them."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.spatial.distance import cdist
from sklearn.linear_model import PoissonRegressor

from fairdcov import (
    CCDCovPenalty,
    DCovPoissonRegressor,
    JSDivergenceCalibrator,
    SensitiveEncoder,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov.actuarial import (
    RatingTable,
    Rebalancer,
    comparison_table,
    largest_dislocations,
    one_way,
    premium_change_by_group,
    premium_changes,
    relativities,
)
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.inference import independence_test
from fairdcov.metrics import (
    ccdcov,
    gini,
    group_summary,
    js_divergence,
    make_fairness_scorer,
    null_distribution,
    sensitive_groups,
)
from fairdcov.report import audit

N = 120


@pytest.fixture(scope="module")
def book():
    """Features, claims, weights, predictions and attributes of text, booleans and many numbers, all of pandas."""
    rng = np.random.default_rng(7)
    people = pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], N),
            "region": rng.choice(["n", "s", "w"], N),
            "age": rng.integers(18, 90, N),
            "owner": rng.integers(0, 2, N).astype(bool),
        }
    )
    X = pd.DataFrame({"power": rng.normal(size=N) + (people["gender"] == "f"), "km": rng.normal(size=N)})
    exposure = pd.Series(rng.uniform(0.2, 1.0, N))
    claims = pd.Series(rng.poisson(np.exp(0.3 * X["power"] + 0.01 * (people["age"] - 50))).astype(float))
    prediction = np.exp(0.2 * X["power"] + 0.01 * (people["age"] - 50))
    return {"X": X, "y": claims, "weight": exposure, "prediction": prediction, "people": people}


def calibrated(book, people, name):
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(),
        strengths=[0.1],
        rule="score_budget",
        score_budget=10.0,
        cv=2,
        bins={name(2): 3},
        n_permutations=2,
        random_state=0,
        verbose=0,
    )
    return calibrator.fit(book["X"], book["y"], sensitive_features=people).predict(book["X"])


def permuted_metric(book, people, name):
    def metric(y_true, y_pred, *, sensitive_features):
        return ccdcov(y_true, y_pred, sensitive_features=sensitive_features)

    null = null_distribution(
        metric, book["y"], book["prediction"], sensitive_features=people, n_permutations=2, random_state=0
    )
    return np.append(null.values, null.observed)


# Everything that takes protected attributes: a function of the data, of the attributes in some form and of what the
# column at a position is called in that form.
READERS = {
    "encoder": lambda book, people, name: SensitiveEncoder().fit_transform(people),
    "penalty": lambda book, people, name: CCDCovPenalty().bind(people).value(np.asarray(book["prediction"])),
    "fit": lambda book, people, name: (
        DCovPoissonRegressor(strength=0.5)
        .fit(book["X"], book["y"], sample_weight=book["weight"], sensitive_features=people)
        .predict(book["X"])
    ),
    "fit with rows of weight 0": lambda book, people, name: (
        DCovPoissonRegressor(strength=0.5)
        .fit(book["X"], book["y"], sample_weight=book["weight"] * (book["X"]["km"] > 0), sensitive_features=people)
        .predict(book["X"])
    ),
    "calibrator": calibrated,
    "independence test": lambda book, people, name: (
        independence_test(book["prediction"], people, sample_weight=book["weight"], n_permutations=9).null_distribution
    ),
    "dependence": lambda book, people, name: ccdcov(book["y"], book["prediction"], sensitive_features=people),
    "divergence": lambda book, people, name: js_divergence(
        book["y"], book["prediction"], sensitive_features=people, bins={name(2): 3}
    ),
    "null distribution": permuted_metric,
    "group summary": lambda book, people, name: group_summary(
        book["y"],
        book["prediction"],
        sensitive_features=people,
        sample_weight=book["weight"],
        bins={name(2): [0, 50, 99]},
    ).to_numpy(dtype=float),
    "groups": lambda book, people, name: sensitive_groups(people, bins={name(2): 3}).to_numpy().astype(str),
    "one-way": lambda book, people, name: one_way(book["y"], book["prediction"], people)["observed"].to_numpy(),
    "premium changes": lambda book, people, name: premium_changes(book["prediction"], book["prediction"] + 0.1, people)[
        "rows"
    ].to_numpy(),
    "premium change by group": lambda book, people, name: premium_change_by_group(
        book["prediction"], book["prediction"] + 0.1, people, bins={name(2): 3}
    )["rows"].to_numpy(),
    "dislocations": lambda book, people, name: (
        largest_dislocations(book["prediction"], book["prediction"] + 0.1, people).iloc[:, -1].to_numpy()
    ),
    "audit": lambda book, people, name: audit(
        book["y"], book["prediction"], people, bins={name(2): 3}, n_permutations=2, n_bootstrap=0, verbose=0
    ).to_dict()["dependence"][0]["value"],
}

FORMS = {
    "lists": lambda people: people.to_numpy().tolist(),
    "tuples": lambda people: [tuple(row) for row in people.to_numpy().tolist()],
    "tuple of arrays": lambda people: tuple(np.array(row, dtype=object) for row in people.to_numpy()),
    "array of objects": lambda people: people.to_numpy(),
    "integer names": lambda people: people.set_axis(range(4), axis=1),
    "integer names of objects": lambda people: pd.DataFrame(people.to_numpy()),
    "polars": lambda people: pl.DataFrame({name: people[name].tolist() for name in people}),
    "categorical": lambda people: people.astype({"gender": "category", "region": "category"}),
    "nullable": lambda people: people.convert_dtypes(),
}


NULS = ["", "\x00", "a", "a\x00"]


@pytest.mark.skipif(pd.__version__ < "3", reason="hash tables of pandas 2 end text at a NUL")
@pytest.mark.parametrize(
    "form",
    [
        lambda text: pd.DataFrame({"g": text}),
        lambda text: pd.DataFrame({"g": text}, dtype="category"),
        lambda text: pl.DataFrame({"g": text}),
        lambda text: pl.DataFrame({"g": text}, schema={"g": pl.Categorical}),
        lambda text: pl.DataFrame({"g": text}, schema={"g": pl.Enum(NULS)}),
        lambda text: [[value] for value in text],
    ],
    ids=["pandas", "categorical", "polars", "polars categories", "polars enum", "lists"],
)
def test_levels_that_differ_by_a_final_nul_are_not_one(form):
    encoder = SensitiveEncoder().fit(form(NULS))
    assert len(np.unique(encoder.transform(form(NULS)), axis=0)) == 4
    assert sensitive_groups(form(NULS)).iloc[:, 0].tolist() == NULS


@pytest.mark.filterwarnings("ignore:.*fewer than min_group_size")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", READERS)
def test_every_form_means_the_same(reader, form, book):
    given = FORMS[form](book["people"])
    by_name = hasattr(given, "columns") and not form.startswith("integer")
    name = book["people"].columns.__getitem__ if by_name else int
    expected = READERS[reader](book, book["people"], book["people"].columns.__getitem__)
    found = READERS[reader](book, given, name)
    np.testing.assert_array_equal(found, expected)


# --- lists ---------------------------------------------------------------------------------------------------------


def test_lists_are_read_column_by_column():
    encoder = SensitiveEncoder().fit([["f", 20, True], ["m", 31, False], ["f", 40, True]])
    assert list(encoder.kinds_.values()) == ["categorical", "continuous", "categorical"]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([["f", 20], ["m"]], ValueError, "rows of equal length; found 1, 2"),
        ([["f", 20], "m"], ValueError, "rows of equal length; found 2, a single value"),
        (["f", 20], TypeError, r"mixes types \(int, str\)"),
        ([b"f", "m"], TypeError, r"mixes types \(bytes, str\)"),
        ([True, 2], TypeError, r"mixes types \(bool, int\)"),
        ([True, None], ValueError, "has 1 missing"),
        ([[["f"]], [["m"]]], ValueError, r"shape \(2, 1, 1\)"),
        ([np.array(1.0), np.array(2.0)], TypeError, r"convert it to text, to numbers or to a categorical dtype"),
    ],
)
def test_lists_that_say_nothing_clear(rows, error, message):
    with pytest.raises(error, match=message):
        SensitiveEncoder().fit(rows)


def test_columns_in_place_of_rows(book):
    people = book["people"]
    columns = [people["gender"].to_numpy(), people["age"].to_numpy()]
    with pytest.raises(ValueError, match="must be rows; found 2 columns of 120 values: pass a "):
        DCovPoissonRegressor().fit(book["X"], book["y"], sensitive_features=columns)
    rows = people.to_numpy().tolist()
    with pytest.raises(ValueError, match=r"must have as many rows as X.*found 119 instead of 120"):
        DCovPoissonRegressor().fit(book["X"], book["y"], sensitive_features=rows[1:])


# --- numbers as text -----------------------------------------------------------------------------------------------

NUMBERS_AS_TEXT = {
    "column": lambda: pd.DataFrame({"age": [str(k) for k in range(18, 43)]}),
    "polars": lambda: pl.DataFrame({"age": [f"{k}.5" for k in range(25)]}),
    "bytes": lambda: np.array([b"%d" % k for k in range(25)]),
    "array of text": lambda: np.array([["f", "20"], ["m", "31"], ["f", "40"]]),
    "arrays of text": lambda: [np.array(["f", "20"]), np.array(["m", "31"]), np.array(["f", "40"])],
}


@pytest.mark.parametrize("form", NUMBERS_AS_TEXT)
def test_numbers_as_text_are_remarked_on(form):
    people = NUMBERS_AS_TEXT[form]()
    n = len(people)
    expected = f"holds numbers as text .* nominal with {n} levels"
    prediction = np.arange(1.0, n + 1)
    for read in (
        lambda: SensitiveEncoder().fit(people),
        lambda: CCDCovPenalty().bind(people),
        lambda: js_divergence(None, prediction, sensitive_features=people),
        lambda: ccdcov(None, prediction, sensitive_features=people),
    ):
        with pytest.warns(SensitiveFeaturesWarning, match=expected):
            read()


@pytest.mark.parametrize(
    "people",
    [
        pd.DataFrame({"region": [str(k % 20) for k in range(40)]}),
        pd.DataFrame({"region": pd.Categorical([str(k) for k in range(40)])}),
        pd.DataFrame({"region": [*(str(k) for k in range(40)), "abroad"]}),
        np.array([["f", "0"], ["m", "1"], ["f", "1"]]),
    ],
    ids=["few levels", "declared", "names among them", "two levels"],
)
def test_labels_that_look_like_numbers_are_none(people):
    """Warnings are errors in these tests."""
    SensitiveEncoder().fit(people)
    js_divergence(None, np.arange(1.0, len(people) + 1), sensitive_features=people)


def test_remarks_are_about_the_line_of_the_user():
    attributes = np.arange(30).astype(str)
    line = sys._getframe().f_lineno + 2
    with pytest.warns(SensitiveFeaturesWarning, match="numbers as text") as caught:
        SensitiveEncoder().fit(attributes)
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, line)]


def test_text_that_is_meant_as_nominal():
    people = NUMBERS_AS_TEXT["column"]()
    SensitiveEncoder(categorical_features=["age"]).fit(people)
    SensitiveEncoder(categorical_features="all").fit(people)


# --- order of the rows ---------------------------------------------------------------------------------------------


def shuffled(data):
    return data.sample(frac=1, random_state=3)


MISMATCHED = {
    "fit, attributes": (
        "sensitive_features",
        lambda b: DCovPoissonRegressor().fit(b["X"], b["y"], sensitive_features=shuffled(b["people"])),
    ),
    "fit, weights": (
        "sample_weight",
        lambda b: DCovPoissonRegressor(strength=0).fit(b["X"], b["y"], sample_weight=shuffled(b["weight"])),
    ),
    "fit, target": ("y", lambda b: DCovPoissonRegressor(strength=0).fit(b["X"], shuffled(b["y"]))),
    "fit, features as an array": (
        "sensitive_features",
        lambda b: DCovPoissonRegressor().fit(b["X"].to_numpy(), b["y"], sensitive_features=shuffled(b["people"])),
    ),
    "penalty": ("sample_weight", lambda b: CCDCovPenalty().bind(b["people"], shuffled(b["weight"]))),
    "calibrator": (
        "sensitive_features",
        lambda b: calibrated(b, shuffled(b["people"]), b["people"].columns.__getitem__),
    ),
    "independence test": (
        "sensitive_features",
        lambda b: independence_test(b["prediction"], shuffled(b["people"]), n_permutations=2),
    ),
    "dependence": (
        "sensitive_features",
        lambda b: ccdcov(None, b["prediction"], sensitive_features=shuffled(b["people"])),
    ),
    "divergence": (
        "sensitive_features",
        lambda b: js_divergence(None, b["prediction"], sensitive_features=shuffled(b["people"][["region"]])),
    ),
    "score": ("y_pred", lambda b: gini(b["y"], shuffled(b["prediction"]))),
    "one-way, weights": (
        "sample_weight",
        lambda b: one_way(b["y"], b["prediction"], b["people"], sample_weight=shuffled(b["weight"])),
    ),
    "one-way, factors": ("features", lambda b: one_way(b["y"], b["prediction"], shuffled(b["people"]))),
    "premium change by group": (
        "sensitive_features",
        lambda b: premium_change_by_group(b["prediction"], b["prediction"], shuffled(b["people"][["region"]])),
    ),
    "dislocations": (
        "features",
        lambda b: largest_dislocations(b["prediction"], b["prediction"], shuffled(b["people"])),
    ),
    "rebalancer": ("y", lambda b: Rebalancer(PoissonRegressor()).fit(b["X"], shuffled(b["y"]))),
    "relativities": (
        "sample_weight",
        lambda b: relativities(
            PoissonRegressor().fit(b["X"], b["y"]), b["X"], sample_weight=shuffled(b["weight"]), bins=3
        ),
    ),
    "rating table": (
        "sensitive_features",
        lambda b: RatingTable.from_model(
            PoissonRegressor().fit(b["X"], b["y"]), b["X"], sensitive_features=shuffled(b["people"]), strength=0
        ),
    ),
    "comparison of tariffs": (
        "sensitive_features",
        lambda b: comparison_table(b["y"], b["prediction"], b["prediction"], shuffled(b["people"][["region"]])),
    ),
    "audit": (
        "features",
        lambda b: audit(
            b["y"],
            b["prediction"],
            b["people"][["region"]],
            features=shuffled(b["X"]),
            n_permutations=2,
            n_bootstrap=0,
            verbose=0,
        ),
    ),
}


@pytest.mark.parametrize("case", MISMATCHED)
@pytest.mark.filterwarnings("ignore:.*fewer than min_group_size")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning")
@pytest.mark.filterwarnings("ignore:.*:sklearn.exceptions.ConvergenceWarning")
def test_labels_in_another_order_are_remarked_on(case, book):
    name, call = MISMATCHED[case]
    expected = rf"matched by position, .* order: \d+ of 120 rows .* {name}\.loc\["
    with pytest.warns(SensitiveFeaturesWarning, match=expected) as caught:
        call(book)
    remarks = [warning for warning in caught if "matched by position" in str(warning.message)]
    assert {warning.filename for warning in remarks} == {__file__}
    assert len({str(warning.message) for warning in remarks}) == 1


def test_other_numbers_of_rows_are_told_from_another_order(book):
    """Labels are compared row by row; where there are more of one the error is that of the lengths."""
    for rows in (slice(1, None), slice(None, 1)):
        with pytest.raises(ValueError, match=rf"must have as many rows as y_pred.*found {len(range(N)[rows])} instead"):
            js_divergence(None, book["X"]["km"], sensitive_features=book["people"][["region"]].iloc[rows])


def test_rows_left_out_here_and_there(book):
    """The same number of rows, but others: after the first gap nothing is side by side any more."""
    people, X = book["people"].drop(index=10), book["X"].drop(index=100)
    with pytest.warns(SensitiveFeaturesWarning, match="90 of 119 rows have different labels"):
        DCovPoissonRegressor(strength=0).fit(X, np.ones(119), sensitive_features=people)


@pytest.mark.parametrize(
    "relabel",
    [
        lambda people: people.reset_index(drop=True),
        lambda people: people.set_axis(people.index.to_numpy(), axis=0),
        lambda people: people.set_axis([f"row {label}" for label in people.index], axis=0),
        lambda people: people.set_axis(people.index + 10_000, axis=0),
        lambda people: people.to_numpy(),
        lambda people: people.to_numpy().tolist(),
        lambda people: pl.DataFrame({name: people[name].tolist() for name in people}),
    ],
    ids=["reset", "equal", "text", "others", "array", "lists", "polars"],
)
def test_labels_that_are_no_contradiction(relabel, book):
    """A part of the rows in some order, with attributes under the same labels, others or none."""
    rows = np.random.default_rng(0).permutation(N)[:90]
    part = {name: data.iloc[rows] for name, data in book.items()}
    fitted = DCovPoissonRegressor().fit(part["X"], part["y"], sensitive_features=relabel(part["people"]))
    expected = DCovPoissonRegressor().fit(
        part["X"].to_numpy(), part["y"].to_numpy(), sensitive_features=part["people"].to_numpy()
    )
    np.testing.assert_array_equal(fitted.coef_, expected.coef_)


def test_labels_of_any_kind(book):
    """Repeated, missing, of mixed types and of several levels."""
    for labels in (
        [k // 2 for k in range(N)],
        [None, *range(1, N)],
        ["a", *range(1, N)],
        pd.MultiIndex.from_product([["a", "b"], range(N // 2)]),
        pd.date_range("2020-01-01", periods=N),
    ):
        X, people = (book[name].set_axis(labels, axis=0) for name in ("X", "people"))
        js_divergence(None, X["km"], sensitive_features=people[["region"]])
        with pytest.warns(SensitiveFeaturesWarning, match="matched by position"):
            js_divergence(None, X["km"], sensitive_features=people[["region"]].iloc[::-1])


def test_scorer_reads_columns_with_integer_names(book):
    X = book["X"].assign(region=book["people"]["region"]).set_axis(range(3), axis=1)
    scorer = make_fairness_scorer(js_divergence, sensitive_columns=[2])
    model = PoissonRegressor().fit(X[[0, 1]], book["y"])

    class Narrow:
        def predict(self, X):
            return model.predict(X[[0, 1]])

    expected = js_divergence(None, model.predict(X[[0, 1]]), sensitive_features=X[2])
    assert scorer(Narrow(), X, book["y"]) == pytest.approx(-expected)


# --- names of columns ----------------------------------------------------------------------------------------------


def test_integer_names_in_options():
    people = pd.DataFrame({5: [1, 2, 7, 1], 6: [18.0, 40.0, 62.0, 40.0]})
    assert SensitiveEncoder(categorical_features=[5]).fit(people).kinds_ == {"5": "categorical", "6": "continuous"}
    assert SensitiveEncoder(categorical_features=[0]).fit(people).kinds_ == {"5": "categorical", "6": "continuous"}
    groups = sensitive_groups(people, bins={6: [18, 40, 62]})
    assert groups["6"].nunique() == 2
    with pytest.raises(ValueError, match="categorical_features names True; the protected attributes are"):
        SensitiveEncoder(categorical_features=[True]).fit(people)


def test_a_number_that_is_a_name_and_a_position():
    people = pd.DataFrame({1: [1, 2, 7, 1], 0: [18.0, 40.0, 62.0, 40.0]})
    with pytest.raises(ValueError, match="names 0, which is both the column '0' and the position of '1'"):
        SensitiveEncoder(categorical_features=[0]).fit(people)
    with pytest.raises(ValueError, match="bins names 1, which is both the column '1' and the position of '0'"):
        sensitive_groups(people, bins={1: 2})
    assert SensitiveEncoder(categorical_features=["1"]).fit(people).kinds_ == {"1": "categorical", "0": "continuous"}


@pytest.mark.parametrize("reader", ["encoder", "fit", "divergence", "one-way", "audit"])
def test_names_that_are_equal_as_text(reader, book):
    people = book["people"].iloc[:, :2].set_axis([1, "1"], axis=1)
    with pytest.raises(ValueError, match=r"distinct column names.*found \[1, '1'\]"):
        READERS[reader](book, people, lambda position: "1")


def test_sensitive_columns_with_integer_names(book):
    X = book["X"].assign(owner=book["people"]["owner"].astype(float)).set_axis(range(3), axis=1)
    fitted = DCovPoissonRegressor(sensitive_columns=[2]).fit(X, book["y"])
    expected = DCovPoissonRegressor().fit(X[[0, 1]], book["y"], sensitive_features=X[[2]])
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X[[0, 1]]))


# --- declared levels -----------------------------------------------------------------------------------------------

UNUSED = {
    "pandas": lambda values, levels: pd.DataFrame({"g": pd.Categorical(values, categories=levels)}),
    "polars": lambda values, levels: pl.DataFrame({"g": values}, schema={"g": pl.Enum(levels)}),
}


@pytest.mark.parametrize("library", UNUSED)
def test_an_unused_level_that_moves_distances_is_remarked_on(library):
    people = UNUSED[library](["b", "a", "b", "b", "a"], ["a", "x", "b"])
    prediction = np.arange(1.0, 6.0)
    expected = r"'g' declares level\(s\) that no row has, 'x': .* sqrt\(2\) apart instead of 1"
    for read in (
        lambda: CCDCovPenalty().bind(people),
        lambda: ccdcov(None, prediction, sensitive_features=people),
        lambda: independence_test(prediction, people, n_permutations=2),
        lambda: DCovPoissonRegressor().fit(prediction[:, None], prediction, sensitive_features=people),
    ):
        with pytest.warns(SensitiveFeaturesWarning, match=expected):
            read()


@pytest.mark.parametrize("library", UNUSED)
def test_unused_levels_that_change_nothing(library):
    """Three levels in use are as far apart with a fourth; a level that only rows of weight 0 have is not in use."""
    CCDCovPenalty().bind(UNUSED[library](["a", "b", "c", "a"], ["a", "b", "c", "x"]))
    CCDCovPenalty().bind(UNUSED[library](["a", "b", "b", "a"], ["a", "b"]))
    js_divergence(None, [1.0, 2, 3, 4], sensitive_features=UNUSED[library](["a", "b", "b", "a"], ["a", "b", "x"]))
    people = UNUSED[library](["a", "b", "x", "a"], ["a", "b", "x"])
    CCDCovPenalty().bind(people)
    with pytest.warns(SensitiveFeaturesWarning, match="that no row has, 'x'"):
        CCDCovPenalty().bind(people, np.array([1.0, 2.0, 0.0, 1.0]))
    with pytest.warns(SensitiveFeaturesWarning, match="that no row has, 'x'"):
        ccdcov(None, [1.0, 2, 3, 4], sensitive_features=people, sample_weight=[1.0, 2.0, 0.0, 1.0])


def test_levels_of_an_enum_are_in_their_order():
    groups = group_summary(
        [0, 1, 0], [1.0, 2.0, 3.0], sensitive_features=UNUSED["polars"](["high", "low", "high"], ["low", "high"])
    )
    assert groups.index.get_level_values(0).tolist() == ["low", "high"]


def test_a_missing_level_of_an_enum():
    with pytest.raises(ValueError, match="'g' has 1 missing"):
        SensitiveEncoder().fit(UNUSED["polars"](["low", None], ["low", "high"]))


# --- many levels ---------------------------------------------------------------------------------------------------


def test_many_levels_are_remarked_on():
    streets = np.array([f"street {k}" for k in range(1001)])
    with pytest.warns(SensitiveFeaturesWarning, match="is nominal with 1,001 levels"):
        bound = CCDCovPenalty().bind(streets)
    assert bound.n_profiles == 1001
    CCDCovPenalty().bind(streets[:1000])


def test_coordinates_that_do_not_fit_the_memory():
    """One megabyte holds 131,072 numbers: 400 levels of 300 ages in 400 profiles are too many, 300 are not."""
    people = pd.DataFrame({"street": [f"street {k}" for k in range(400)], "age": np.arange(400.0)})
    with sklearn.config_context(working_memory=1):
        SensitiveEncoder().fit_encode(people[:300])
        with pytest.raises(
            ValueError, match=r"400 distinct rows .* need about 1 MiB, more than .* 400 levels of 'street'"
        ):
            SensitiveEncoder().fit_encode(people)


@pytest.mark.parametrize("measure", [concatenated_distance_covariance, joint_distance_covariance, distance_covariance])
@pytest.mark.parametrize("method", ["profiles", "tiles"])
def test_wide_attributes_by_every_method(measure, method, rng):
    """One-hot columns of many levels take a way of their own to the distances."""
    n = 257
    blocks = [np.eye(150)[rng.integers(0, 150, n)], rng.uniform(size=(n, 1)), np.eye(70)[rng.integers(0, 70, n)]]
    x = rng.normal(size=n)
    expected = {
        concatenated_distance_covariance: lambda: reference(x, [np.hstack(blocks)], 0.0),
        joint_distance_covariance: lambda: reference(x, blocks, 1.0),
        distance_covariance: lambda: sum(reference(x, [block], 0.0) for block in blocks),
    }[measure]()
    assert measure(x, *blocks, statistic="v", method=method) == pytest.approx(expected, rel=1e-10)


def reference(x, blocks, c):
    """The V-statistic written down: mean of the product of (centred distances + c), less c to the number of factors."""
    product = np.ones((len(x), len(x)))
    for points in (x[:, None], *blocks):
        distances = cdist(points, points)
        rows = distances.mean(axis=0)
        product *= rows[:, None] + rows[None, :] - rows.mean() - distances + c
    return product.mean() - c ** (len(blocks) + 1)


# --- sizes of numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["minmax", "standard"])
@pytest.mark.parametrize("size", [2.0**1023, 2.0**600, 2.0**-600, 2.0**-1060])
def test_scales_of_any_size(scaling, size):
    """Ranges and squares that no float holds, and numbers next to the least of all."""
    values = np.array([-1.0, 0.25, 0.5, 1.0])
    encoder = SensitiveEncoder(continuous_scaling=scaling)
    expected = encoder.fit_transform(values)
    np.testing.assert_allclose(encoder.fit_transform(values * size), expected, rtol=1e-12, atol=1e-15)
