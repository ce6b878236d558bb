"""relativities: coefficients of GLMs, products that give the prediction back, what is not multiplicative is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler

from fairdcov.actuarial import Rebalancer, relativities

FACTORS = ["fuel", "area", "doors"]


@pytest.fixture
def rated(book):
    """Only the columns of the model, without rows of zero exposure."""
    return book[book["exposure"] > 0].reset_index(drop=True)


def encoder():
    return make_column_transformer(
        (OneHotEncoder(drop="first", sparse_output=False), ["fuel", "area"]),
        (OneHotEncoder(drop="first", sparse_output=False), ["doors"]),
    )


@pytest.fixture
def model(rated):
    glm = make_pipeline(encoder(), PoissonRegressor(alpha=1e-3, tol=1e-10))
    return glm.fit(rated[FACTORS], rated["y_true"], poissonregressor__sample_weight=rated["exposure"])


def relativity_of_each_row(table, frame, factors):
    """Product over the factors, looked up level by level."""
    product = np.full(len(frame), table.attrs["base_premium"])
    for name in factors:
        part = table[table["factor"] == name].set_index("level")["relativity"]
        product *= frame[name].astype(object).where(frame[name].notna(), "(missing)").map(part).to_numpy(dtype=float)
    return product


def test_exponential_of_the_coefficients(rated, model):
    table = relativities(model, rated[FACTORS], sample_weight=rated["exposure"])
    glm, columns = model[-1], model[0].get_feature_names_out()
    coefficients = dict(zip((name.split("__")[1] for name in columns), glm.coef_, strict=True))
    log_base = glm.intercept_
    for name, part in table.groupby("factor"):
        # a column for each level but the first, missing values called as the encoder calls them
        logs = np.array([coefficients.get(f"{name}_{value}", 0.0) for value in part["value"]])
        assert (logs != 0).sum() == len(part) - 1
        exposure = rated["exposure"].groupby(rated[name].astype(object).where(rated[name].notna(), "(missing)")).sum()
        assert_allclose(part["exposure"], exposure.loc[part["level"]])
        assert_allclose(part["share"].sum(), 1.0)
        assert part["is_base"].sum() == 1
        base = int(np.flatnonzero(part["is_base"])[0])
        assert base == int(np.argmax(part["exposure"]))
        assert_allclose(part["relativity"], np.exp(logs - logs[base]))
        log_base += logs[base]
    assert_allclose(table.attrs["base_premium"], np.exp(log_base))
    assert_allclose(table["premium"], table["relativity"] * np.exp(log_base))
    assert {"<script>", "=SUM(A1)", "(missing)"} <= set(table["level"])


def test_relativities_multiply_back_to_the_predictions(rated, model):
    table = relativities(model, rated[FACTORS], sample_weight=rated["exposure"])
    assert_allclose(relativity_of_each_row(table, rated, FACTORS), model.predict(rated[FACTORS]), rtol=1e-10)


def test_glum(rated):
    glum = pytest.importorskip("glum")
    X = pd.DataFrame({"fuel": rated["fuel"].astype("category"), "doors": rated["doors"].astype("category")})
    model = glum.GeneralizedLinearRegressor(family="poisson", alpha=0, drop_first=True, gradient_tol=1e-9)
    model.fit(X, rated["y_true"], sample_weight=rated["exposure"])
    table = relativities(model, X, sample_weight=rated["exposure"])
    coefficients = dict(zip(model.feature_names_, model.coef_, strict=True))
    for name, part in table.groupby("factor"):
        logs = np.array([coefficients.get(f"{name}[{level}]", 0.0) for level in part["level"]])
        assert (logs != 0).sum() == len(part) - 1
        assert_allclose(part["relativity"], np.exp(logs - logs[part["is_base"].to_numpy()]))


AGE_EDGES = [-np.inf, 30, 50, 70, np.inf]


@pytest.fixture
def smooth(rated):
    """A model of a measurement, a whole number and a category."""
    numbers = make_pipeline(StandardScaler(), SplineTransformer(n_knots=4))
    columns = make_column_transformer((numbers, ["age", "mileage"]), (OneHotEncoder(), ["fuel"]))
    rated["mileage"] = np.rint(400 * rated["age"] ** 0.5 * (1 + np.arange(len(rated)) % 7))
    X = rated[["age", "mileage", "fuel"]]
    return make_pipeline(columns, PoissonRegressor(alpha=1e-4)).fit(X, rated["y_true"]), X


def applied(table, frame, factors):
    """Premiums by a table, each number looked up in its bin by hand."""
    premium = np.full(len(frame), table.attrs["base_premium"])
    for name in factors:
        part = table[table["factor"] == name]
        for row, value in enumerate(frame[name]):
            fits = [(value in level) if isinstance(level, pd.Interval) else level == value for level in part["level"]]
            premium[row] *= part["relativity"].to_numpy()[fits].item()
    return premium


def test_bins_have_the_mean_relativity_of_their_exposure(rated, smooth):
    model, X = smooth
    exposure = rated["exposure"].to_numpy()
    table = relativities(model, X, sample_weight=exposure, bins={"age": AGE_EDGES, "mileage": 4})
    ages = table[table["factor"] == "age"]
    assert ages["level"].astype(str).tolist() == ["[-inf, 30.0)", "[30.0, 50.0)", "[50.0, 70.0)", "[70.0, inf]"]
    base = ages["is_base"].to_numpy()
    predicted = model.predict(X.assign(mileage=X["mileage"].iloc[0], fuel="diesel"))
    bins = np.digitize(X["age"], AGE_EDGES[1:-1])
    means = np.array([np.average(predicted[bins == k], weights=exposure[bins == k]) for k in range(4)])
    assert_allclose(ages["relativity"], means / means[base])
    of_bin = [np.average(X["age"][bins == k], weights=exposure[bins == k]) for k in range(4)]
    assert_allclose(ages["value"].astype(float), of_bin)
    assert len(relativities(model, X, bins=5).query("factor == 'age'")) == 5


def test_the_table_predicts_the_total_of_the_model(rated, smooth):
    model, X = smooth
    exposure = rated["exposure"].to_numpy()
    table = relativities(model, X, sample_weight=exposure, bins={"age": AGE_EDGES, "mileage": 3})
    premium, predicted = applied(table, X, X), model.predict(X)
    total = exposure @ predicted
    assert_allclose(exposure @ premium, total, rtol=1e-12)
    assert_allclose(table.attrs["model_total"], total)
    assert_allclose(table.attrs["off_balance_after"], 1.0, rtol=1e-12)
    # without the rebalanced base: that of the model, with every factor at the mean of its base level
    bases = table[table["is_base"]].set_index("factor")
    effects = {
        name: np.average(
            model.predict(X.assign(**{other: X[other].iloc[0] for other in X if other != name}))[inside],
            weights=exposure[inside],
        )
        / model.predict(X[:1]).item()
        for name, inside in ((name, [v in level for v in X[name]]) for name, level in bases["level"].items())
        if name != "fuel"
    }
    fuel = model.predict(X[:1].assign(fuel=bases.loc["fuel", "level"])).item()
    before = fuel * effects["age"] * effects["mileage"]
    assert_allclose(table.attrs["off_balance_before"], before / table.attrs["base_premium"])
    assert abs(table.attrs["off_balance_before"] - 1) > 1e-4
    # level by level
    vans = (X["fuel"] == "diesel").to_numpy()
    diesel = table[(table["factor"] == "fuel") & (table["level"] == "diesel")]
    of_level = exposure[vans] @ premium[vans] / (exposure[vans] @ predicted[vans])
    assert_allclose(diesel["table_to_model"].item(), of_level)
    assert abs(of_level - 1) > 1e-5
    # factors that are not shown still count
    assert relativities(model, X, sample_weight=exposure, factors="fuel").attrs["off_balance_after"] == 1.0
    shown = relativities(model, X, sample_weight=exposure, bins={"age": AGE_EDGES, "mileage": 3}, factors="fuel")
    assert shown.attrs == {**table.attrs, "left_out": ["age", "mileage"]}


def test_whole_numbers_are_rated_at_themselves(rng):
    X = pd.DataFrame({"age": rng.integers(18, 80, 2000), "mileage": rng.uniform(0, 10, 2000)})
    X["value"] = 1000 * rng.integers(1, 2000, 2000)
    model = make_pipeline(SplineTransformer(n_knots=4), PoissonRegressor()).fit(X, rng.poisson(X["age"] / 40))
    counts = relativities(model, X)["factor"].value_counts()
    assert counts.to_dict() == {"age": 62, "mileage": 10, "value": 10}
    assert relativities(model, X, bins=7)["factor"].value_counts().to_dict() == {"age": 7, "mileage": 7, "value": 7}
    assert relativities(model, X, bins={"value": 3})["factor"].value_counts().to_dict() == counts.to_dict() | {
        "value": 3
    }
    table = relativities(model, X, factors="age")
    assert table["level"].tolist() == table["value"].tolist() == list(range(18, 80))
    predicted = model.predict(pd.DataFrame({"age": range(18, 80), "mileage": 1.0, "value": 5000}))
    assert_allclose(table["relativity"], predicted / predicted[table["is_base"]])


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        (np.arange(20), 20),
        (np.arange(21), 21),
        (np.arange(100), 100),
        (np.arange(101), 10),
        (np.append(np.arange(40), 3.5), 10),
        (np.append(np.arange(40.0), np.nan), 41),
    ],
)
def test_which_numbers_are_rated_at_each_value(values, rows):
    class Product:
        def predict(self, X):
            return np.exp(np.nan_to_num(X["x"].to_numpy(dtype=float)) / 100)

    assert len(relativities(Product(), pd.DataFrame({"x": np.repeat(values, 3)}))) == rows


def test_a_bin_without_exposure_has_no_relativity(rated, smooth):
    model, X = smooth
    exposure = np.where((X["age"] >= 30) & (X["age"] < 50), 0.0, rated["exposure"])
    edges = [-200.0, -100.0, *AGE_EDGES[1:]]
    ages = relativities(model, X, sample_weight=exposure, bins={"age": edges}).query("factor == 'age'")
    assert ages["level"].astype(str).tolist()[:3] == ["[-200.0, -100.0)", "[-100.0, 30.0)", "[30.0, 50.0)"]
    empty = [True, False, True, False, False]
    assert ages["relativity"].isna().tolist() == ages["premium"].isna().tolist() == empty
    assert ages["table_to_model"].isna().tolist() == empty
    assert (ages["rows"] == 0).tolist() == (ages["exposure"] == 0).tolist() == empty
    assert ages["note"].tolist() == ["no exposure, no relativity" if nothing else "" for nothing in empty]


def test_column_names_that_are_numbers(rng):
    values = rng.integers(0, 4, (300, 2)).astype(float)
    y = rng.poisson(np.exp(values[:, 0] / 4))
    # 1 is the name of the first column and the position of the second
    X = pd.DataFrame(values, columns=[1, 0])
    model = PoissonRegressor(alpha=0).fit(X, y)
    expected = relativities(
        PoissonRegressor(alpha=0).fit(X.set_axis(["1", "0"], axis=1), y), X.set_axis(["1", "0"], axis=1)
    )
    assert_frame_equal(relativities(model, X), expected)
    assert_frame_equal(relativities(model, X, factors=[1], bins={1: None}), expected[expected["factor"] == "1"])


def test_rebalancer_changes_the_base_alone(rated, model):
    plain = relativities(model, rated[FACTORS], sample_weight=rated["exposure"])
    balanced = Rebalancer(FrozenEstimator(model)).fit(
        rated[FACTORS], 2 * rated["y_true"], sample_weight=rated["exposure"]
    )
    table = relativities(balanced, rated[FACTORS], sample_weight=rated["exposure"])
    assert_allclose(table["relativity"], plain["relativity"])
    assert_allclose(table.attrs["base_premium"], plain.attrs["base_premium"] * balanced.factor_)


def test_polars_arrays_and_any_index(rng, rated, model):
    pytest.importorskip("pyarrow")  # polars asks for it
    weights = {"sample_weight": rated["exposure"]}
    expected = relativities(model, rated[FACTORS], **weights)
    repeated = rated[FACTORS].set_axis(np.zeros(len(rated), dtype=int), axis=0)
    assert_frame_equal(relativities(model, repeated, **weights), expected)
    in_polars = relativities(model, pl.from_pandas(rated[FACTORS]), **weights)
    assert_frame_equal(in_polars, expected, check_dtype=False)
    order = rng.permutation(len(rated))
    shuffled = relativities(model, rated[FACTORS].iloc[order], sample_weight=rated["exposure"].iloc[order])
    assert_frame_equal(shuffled, expected)

    X = rng.integers(0, 3, (300, 2)).astype(float)
    array_model = PoissonRegressor(alpha=0).fit(X, rng.poisson(1.0, 300))
    table = relativities(array_model, X)
    assert table["factor"].drop_duplicates().tolist() == ["x0", "x1"]
    for column, name in enumerate(["x0", "x1"]):
        part = table[table["factor"] == name]
        steps = part["level"].astype(float) - float(part.loc[part["is_base"], "level"].item())
        assert_allclose(part["relativity"], np.exp(array_model.coef_[column] * steps))
    text = np.array([["a", "x"], ["b", "x"], ["b", "y"]] * 5, dtype=object)
    text_model = make_pipeline(OneHotEncoder(), PoissonRegressor()).fit(text, np.arange(15))
    assert relativities(text_model, text)["level"].tolist() == ["a", "b", "x", "y"]


def test_exposure_is_repetition_and_no_exposure_is_absence(rng, rated, model):
    counts = rng.integers(0, 3, len(rated))
    repeated = rated.loc[rated.index.repeat(counts)]
    one = relativities(model, rated[FACTORS], sample_weight=counts)
    other = relativities(model, repeated[FACTORS])
    assert_frame_equal(one.drop(columns="rows"), other.drop(columns="rows"))
    strange = rated[FACTORS].copy()
    strange.loc[0, "fuel"] = "never seen by the encoder"
    weight = np.where(np.arange(len(rated)) == 0, 0.0, 1.0)
    assert "never seen by the encoder" not in relativities(model, strange, sample_weight=weight)["level"].tolist()


def test_only_factors_that_matter_or_are_asked_for(rated, model):
    X = rated[[*FACTORS, "age"]]
    assert relativities(model, X)["factor"].drop_duplicates().tolist() == FACTORS
    table = relativities(model, X, factors=["age", "fuel"], bins=3)
    assert table["factor"].drop_duplicates().tolist() == ["fuel", "age"]
    assert table.loc[table["factor"] == "age", "relativity"].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="factors names 'feul', which is not a column of X; did you mean 'fuel'"):
        relativities(model, X, factors=["feul"])


def test_stumps_are_multiplicative_and_deeper_trees_are_not(rng):
    lightgbm = pytest.importorskip("lightgbm")
    X = pd.DataFrame(rng.integers(0, 4, (2000, 3)), columns=["power", "mileage", "colour"])
    y = rng.poisson(np.exp(0.3 * X["power"] * (X["mileage"] > 1) - 1))
    options = {"objective": "poisson", "n_estimators": 20, "verbose": -1, "n_jobs": 1}
    stumps = lightgbm.LGBMRegressor(num_leaves=2, **options).fit(X, y)
    table = relativities(stumps, X, factors=list(X))
    assert_allclose(relativity_of_each_row(table, X, X), stumps.predict(X), rtol=1e-6)
    trees = lightgbm.LGBMRegressor(num_leaves=8, **options).fit(X, y)
    with pytest.raises(ValueError, match=r"multiplicative model .* factor of up to 1.*'power' and 'mileage' interact"):
        relativities(trees, X)


@pytest.mark.parametrize(("size", "refused"), [(1e-4, True), (1e-6, False)])
def test_interactions_of_the_size_of_rounding(size, refused):
    class Almost:
        def predict(self, X):
            return np.exp(0.3 * X[:, 0] + 0.2 * X[:, 1] + size * X[:, 0] * X[:, 1])

    X = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    if refused:
        with pytest.raises(ValueError, match=r"'x0' and 'x1' interact"):
            relativities(Almost(), X)
    else:
        assert len(relativities(Almost(), X)) == 4


def test_interaction_of_three_columns_without_any_of_two(rng):
    class OfThree:
        def predict(self, X):
            return np.exp(0.1 * X[:, 0] * X[:, 1] * X[:, 2])

    # at the base, the level of the largest exposure, no two columns change anything
    X = np.where(rng.random((400, 3)) < 0.7, 0.0, 1.0)
    with pytest.raises(ValueError, match="three or more columns interact"):
        relativities(OfThree(), X)


def test_bad_input_is_named(rated, model):
    X = rated[FACTORS]
    with pytest.raises(ValueError, match="X has no column 'fuel', which the model needs; did you mean 'feul'"):
        relativities(model, X.rename(columns={"fuel": "feul"}))
    with pytest.raises(ValueError, match="X must have distinct column names"):
        relativities(model, pd.concat([X, X["fuel"]], axis=1))
    with pytest.raises(ValueError, match="bins names 'door', which is not a column; did you mean 'doors'"):
        relativities(model, X, bins={"door": 2})
    with pytest.raises(ValueError, match="X must have at least one row"):
        relativities(model, X[:0])
    with pytest.raises(ValueError, match="sample_weight must have as many rows as X"):
        relativities(model, X, sample_weight=[1.0])
    numeric = rated[["age", "doors"]]
    constant = PoissonRegressor(alpha=1e12).fit(numeric, rated["y_true"])
    with pytest.raises(ValueError, match="no column of X changes the prediction"):
        relativities(constant, numeric)
    assert_allclose(relativities(constant, numeric, factors="doors")["relativity"], 1.0, rtol=1e-9)
    negative = LinearRegression().fit(numeric, -rated["age"])
    with pytest.raises(ValueError, match="need positive predictions, of a model with a log link; found -"):
        relativities(negative, numeric)
    classifier = LogisticRegression().fit(numeric, rated["y_true"] > 0)
    with pytest.raises(TypeError, match="need a regressor with a log link; found the classifier LogisticRegression"):
        relativities(classifier, numeric)
    identity = LinearRegression().fit(numeric, 100 + numeric["age"] + 10 * numeric["doors"])
    with pytest.raises(ValueError, match="'age' and 'doors' interact"):
        relativities(identity, numeric)


def test_missing_numbers_are_a_level(rng):
    class Product:
        """A factor for missing values of each column; needs no more of scikit-learn than predict."""

        def predict(self, X):
            a, b = np.asarray(X, dtype=float).T
            return np.where(np.isnan(a), 0.5, 1 + a) * np.where(np.isnan(b), 3.0, np.exp(b))

    X = pd.DataFrame({"a": rng.uniform(0, 1, 300), "b": rng.integers(0, 3, 300).astype(float)})
    X.loc[:20, "a"] = np.nan
    X.loc[10:30, "b"] = np.nan
    for frame in (X, pl.from_pandas(X), pl.DataFrame({name: X[name].to_numpy() for name in X})):
        table = relativities(Product(), frame, bins={"a": 3})
        for name, missing in (("a", 0.5), ("b", 3.0)):
            part = table[table["factor"] == name]
            assert part["level"].tolist()[-1] == "(missing)"
            assert part["rows"].tolist()[-1] == 21
            assert part["value"].isna().tolist() == [False] * 3 + [True]
            values = part["value"].astype(float).to_numpy()
            rated = 1 + values if name == "a" else np.exp(values)
            rated = np.where(np.isnan(values), missing, rated)
            assert_allclose(part["relativity"], rated / rated[part["is_base"].to_numpy()])


def test_text_that_is_called_like_missing_values():
    class Text:
        def predict(self, X):
            return X["fuel"].map({"(missing)": 4.0, "petrol": 1.0}).fillna(2.0).to_numpy()

    X = pd.DataFrame({"fuel": ["(missing)", None, None, "petrol", "petrol", "petrol", "petrol"]})
    table = relativities(Text(), X)
    assert table["level"].tolist() == ["(missing)", "petrol"]
    assert_allclose(table["relativity"], [8 / 3, 1.0])


def test_a_factor_of_thousands_of_levels(rng):
    names = np.array([f"street {k}" for k in range(1200)])
    X = pd.DataFrame({"street": rng.permutation(np.repeat(names, 2)), "doors": rng.integers(2, 6, 2400)})
    X["policy"] = [f"number {k}" for k in range(2400)]
    columns = make_column_transformer((OneHotEncoder(), ["street", "doors"]))
    model = make_pipeline(columns, PoissonRegressor(alpha=1e-3)).fit(X, rng.poisson(X["doors"] / 3))
    with pytest.raises(ValueError, match=r"'street' has 1,200 levels, more than max_levels=1,000: .* out of factors"):
        relativities(model, X)
    assert len(relativities(model, X, max_levels=None)) == len(relativities(model, X, max_levels=1200)) == 1204
    # what is not shown need not be filed; names of rows that the model does not use are no factor
    assert relativities(model, X, factors="doors")["level"].tolist() == [2, 3, 4, 5]
    with pytest.raises(ValueError, match="max_levels must be a whole number >= 1 or None; found 0"):
        relativities(model, X, max_levels=0)
