"""Encoding of protected attributes: distances that do not depend on names, and errors that name the column."""

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import pdist
from sklearn.base import clone

from fairdcov import SensitiveEncoder
from fairdcov.encoding import select_rows, sensitive_columns_of
from fairdcov.exceptions import MissingSensitiveFeaturesError


@pytest.fixture
def people():
    return pd.DataFrame(
        {
            "gender": ["f", "m", "f", "m", "f"],
            "region": pd.Categorical(["n", "s", "w", "n", "s"], categories=["n", "s", "w", "e"]),
            "age": [20, 30, 60, 45, 30],
            "disabled": [True, False, False, False, True],
        }
    )


def test_coordinates_written_by_hand(people):
    encoder = SensitiveEncoder().fit(people)
    expected = [
        [0, 1, 0, 0, 0, 0.0, 1],
        [1, 0, 1, 0, 0, 0.25, 0],
        [0, 0, 0, 1, 0, 1.0, 0],
        [1, 1, 0, 0, 0, 0.625, 0],
        [0, 0, 1, 0, 0, 0.25, 1],
    ]
    np.testing.assert_allclose(encoder.transform(people), expected)
    names = ["gender_m", "region_n", "region_s", "region_w", "region_e", "age", "disabled_True"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.kinds_ == {
        "gender": "categorical",
        "region": "categorical",
        "age": "continuous",
        "disabled": "categorical",
    }


def test_distance_between_levels_is_one_or_root_two():
    three = SensitiveEncoder().fit_transform(np.array(["a", "b", "c"]))
    np.testing.assert_allclose(pdist(three), np.sqrt(2))
    two = SensitiveEncoder().fit_transform(np.array(["a", "b"]))
    np.testing.assert_allclose(pdist(two), 1.0)


def test_declared_levels_keep_the_geometry_of_a_fold(people):
    fold = people[people["region"].isin(["n", "s"])]
    coordinates = SensitiveEncoder().fit_transform(fold[["region"]])
    np.testing.assert_allclose(np.unique(pdist(coordinates).round(12)), np.unique([0, np.sqrt(2)]).round(12))
    enumerated = pl.DataFrame({"region": ["n", "s"]}, schema={"region": pl.Enum(["n", "s", "w"])})
    np.testing.assert_allclose(pdist(SensitiveEncoder().fit_transform(enumerated)), np.sqrt(2))


def test_profiles_are_the_distinct_rows(people):
    blocks = SensitiveEncoder().fit_encode(people)
    matrix = np.hstack([points[blocks.codes] for points in blocks.points])
    np.testing.assert_allclose(matrix, SensitiveEncoder().fit_transform(people))
    assert blocks.n_profiles == 5
    assert blocks.names == ("gender", "region", "age", "disabled")
    pairs = SensitiveEncoder().fit_encode(people[["gender", "disabled"]])
    assert pairs.n_profiles == 3
    np.testing.assert_array_equal(pairs.profile_weights(), [2, 2, 1])


@pytest.mark.parametrize("n", [1, 2, 257, 5_000])
def test_encode_agrees_with_transform_for_random_attributes(n):
    rng = np.random.default_rng(n)
    frame = pd.DataFrame(
        {"a": rng.integers(0, 40, n).astype(str), "b": rng.normal(size=n).round(1), "c": rng.integers(0, 3, n) + 0.5}
    )
    encoder = SensitiveEncoder(categorical_features=["a", "c"])
    blocks = encoder.fit_encode(frame)
    np.testing.assert_array_equal(
        np.hstack([points[blocks.codes] for points in blocks.points]), encoder.transform(frame)
    )
    assert blocks.n_profiles == len(frame.drop_duplicates())


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: pl.DataFrame({name: frame[name].tolist() for name in frame}),
        lambda frame: frame.astype({"gender": "category", "region": object}),
        lambda frame: frame.astype({"age": "Float64"}),
        lambda frame: frame.astype({"age": "Int32", "gender": "string"}),
        lambda frame: pytest.importorskip("pyarrow") and frame.astype({"age": "int32[pyarrow]", "gender": "string"}),
        lambda frame: frame.astype({"age": object}),
        lambda frame: pl.DataFrame({name: frame[name].tolist() for name in frame}).with_columns(
            pl.col("gender").cast(pl.Categorical)
        ),
    ],
)
def test_frames_of_any_kind_agree(people, convert):
    people = people.assign(region=people["region"].astype(str))
    np.testing.assert_array_equal(
        SensitiveEncoder().fit_transform(convert(people)), SensitiveEncoder().fit_transform(people)
    )


def test_arrays_and_series():
    values = np.array(["x", "y", "z", "x"])
    expected = SensitiveEncoder().fit_transform(pd.DataFrame({"v": values}))
    for given in (values, values.tolist(), values[:, None], pd.Series(values, name="v"), pl.Series("v", values)):
        np.testing.assert_array_equal(SensitiveEncoder().fit_transform(given), expected)
    ages = np.array([18, 40, 62])
    np.testing.assert_allclose(SensitiveEncoder().fit_transform(ages)[:, 0], [0, 0.5, 1])


def test_numeric_codes_are_categories_when_named():
    regions = np.array([[1, 18], [2, 40], [7, 62], [1, 40]])
    encoder = SensitiveEncoder(categorical_features=[0]).fit(regions)
    assert encoder.transform(regions).shape == (4, 4)
    everything = SensitiveEncoder(categorical_features="all").fit(regions)
    assert everything.transform(regions).shape == (4, 6)


def test_scalings():
    ages = np.array([20.0, 30.0, 60.0])
    weights = np.array([1.0, 2.0, 1.0])
    standard = SensitiveEncoder(continuous_scaling="standard").fit(ages, sample_weight=weights).transform(ages)[:, 0]
    repeated = np.array([20.0, 30.0, 30.0, 60.0])
    np.testing.assert_allclose(standard, (ages - repeated.mean()) / repeated.std())
    np.testing.assert_array_equal(SensitiveEncoder(continuous_scaling=None).fit_transform(ages)[:, 0], ages)
    np.testing.assert_array_equal(SensitiveEncoder().fit_transform(np.full(3, 5.0))[:, 0], 0.0)


def test_rows_of_weight_zero_are_not_seen(people):
    weights = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    encoder = SensitiveEncoder().fit(people, sample_weight=weights)
    ages = encoder.transform(people)[:, list(encoder.get_feature_names_out()).index("age")]
    np.testing.assert_allclose(ages, (people["age"] - 20) / 25)
    encoder.fit(people.assign(gender=["f", "m", "x", "m", "f"]), sample_weight=weights)
    assert encoder.get_feature_names_out()[0] == "gender_m"


def test_set_output(people):
    frame = SensitiveEncoder().set_output(transform="pandas").fit_transform(people)
    assert frame.columns[0] == "gender_m"
    assert isinstance(SensitiveEncoder().set_output(transform="polars").fit_transform(people), pl.DataFrame)


def test_clone_and_refit(people):
    encoder = SensitiveEncoder(continuous_scaling=None).fit(people)
    assert not hasattr(clone(encoder), "attributes_")
    encoder.fit(people[["age"]].to_numpy())
    assert encoder.n_features_in_ == 1
    assert not hasattr(encoder, "feature_names_in_")


def test_select_rows_keeps_the_type(people):
    keep = np.array([True, False, True, False, False])
    assert select_rows(people, keep)["age"].tolist() == [20, 60]
    assert select_rows(pl.DataFrame({"age": [1, 2, 3, 4, 5]}), keep)["age"].to_list() == [1, 3]
    assert select_rows(people["age"], keep).tolist() == [20, 60]
    assert select_rows([1, 2, 3, 4, 5], keep).tolist() == [1, 3]
    sparse = select_rows(sp.csr_array(np.diag([1.0, 2.0, 3.0, 4.0, 5.0])), keep)
    assert sp.issparse(sparse)
    assert sparse.sum(axis=1).tolist() == [1.0, 3.0]


BAD = {
    "nothing": (None, MissingSensitiveFeaturesError, "found None"),
    "three dimensions": (np.zeros((2, 2, 2)), ValueError, r"shape \(2, 2, 2\)"),
    "no rows": (np.zeros((0, 2)), ValueError, "at least one row"),
    "no columns": (np.zeros((3, 0)), ValueError, "at least one column"),
    "nan": (pd.DataFrame({"age": [1.0, np.nan]}), ValueError, r"'age' has 1 missing"),
    "infinite": (np.array([1.0, np.inf]), ValueError, "1 NaN or infinite"),
    "missing category": (pd.DataFrame({"g": pd.Categorical(["a", None])}), ValueError, "'g' has 1 missing"),
    "missing text": (pl.DataFrame({"g": ["a", None]}), ValueError, "'g' has 1 missing"),
    "mixed": (pd.DataFrame({"g": pd.Series(["a", 1], dtype=object)}), TypeError, r"'g' mixes types \(int, str\)"),
    "dates": (pd.DataFrame({"born": pd.to_datetime(["2000-01-01"])}), TypeError, "'born' holds dates"),
    "polars dates": (pl.DataFrame({"born": [date(2000, 1, 1)]}), TypeError, "'born' holds dates"),
    "array of dates": (np.array(["2000-01-01"], dtype="datetime64[D]"), TypeError, "holds dates"),
    "complex": (np.array([1j]), ValueError, "complex"),
    "repeated names": (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, "must have distinct column names"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_attributes(case):
    value, error, message = BAD[case]
    with pytest.raises(error, match=message):
        SensitiveEncoder().fit(value)


def test_bad_parameters_and_later_surprises(people):
    with pytest.raises(ValueError, match="continuous_scaling must be one of"):
        SensitiveEncoder(continuous_scaling="max").fit(people)
    with pytest.raises(ValueError, match="categorical_features must be one of"):
        SensitiveEncoder(categorical_features="gender").fit(people)
    with pytest.raises(ValueError, match="categorical_features names 'sex'"):
        SensitiveEncoder(categorical_features=["sex"]).fit(people)
    with pytest.raises(ValueError, match=r"leaves out \['gender', 'disabled'\]"):
        SensitiveEncoder(categorical_features=["region"]).fit(people)
    encoder = SensitiveEncoder().fit(people[["gender"]])
    with pytest.raises(ValueError, match=r"level\(s\) 'x' that were not there"):
        encoder.transform(pd.DataFrame({"gender": ["x", "f"]}))
    with pytest.raises(ValueError, match="must have the columns seen in fit"):
        encoder.transform(people[["age"]])
    with pytest.raises(ValueError, match=r"seen in fit, \['gender', 'age'\]; found \['age', 'gender'\]"):
        SensitiveEncoder().fit(people[["gender", "age"]]).transform(people[["age", "gender"]])


def test_levels_declared_later_are_no_surprise_until_a_row_has_them(people):
    encoder = SensitiveEncoder().fit(people[["region"]])
    later = people[["region"]].astype(pd.CategoricalDtype(["x", *people["region"].cat.categories]))
    np.testing.assert_array_equal(encoder.transform(later), encoder.transform(people[["region"]]))
    later.loc[1, "region"] = "x"
    with pytest.raises(ValueError, match=r"level\(s\) 'x' that were not there"):
        encoder.transform(later)


def test_columns_have_names():
    assert list(sensitive_columns_of(np.zeros((2, 2)))) == ["sensitive feature 0", "sensitive feature 1"]
    assert list(sensitive_columns_of(pd.Series([1, 2], name="age"))) == ["age"]
    assert list(sensitive_columns_of(pd.Series([1, 2]))) == ["sensitive feature"]
