"""RatingTable: tables distilled from any model, in balance and no more dependent; files, rounding, unknown values."""

import os

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_poisson_deviance

from fairdcov import CCDCovPenalty, DCovPoissonRegressor, with_probabilities
from fairdcov.actuarial import RatingTable, _distillation, relativities
from fairdcov.datasets import fetch_pg15training
from fairdcov.exceptions import MissingSensitiveFeaturesError, StrengthWarning
from fairdcov.metrics import ccdcov, gini, js_divergence


class Priced:
    """A model of another package: it has no more than ``predict``."""

    def __init__(self, price):
        self.price = price

    def predict(self, X):
        return np.asarray(self.price(X), dtype=float)


@pytest.fixture
def policies(rng):
    """4,000 policies with a number, a whole number and a category that lean on the gender of the driver."""
    n = 4000
    gender = rng.choice(["f", "m"], n)
    lean = 0.5 * (gender == "f")
    X = pd.DataFrame(
        {
            "power": rng.gamma(4.0, 20.0, n) + 30,
            "age": rng.integers(18, 80, n),
            "fuel": rng.choice(["diesel", "petrol", "electric", "=gas"], n, p=[0.4, 0.4, 0.15, 0.05]),
            "mileage": rng.gamma(3.0, 4.0, n) + 4 * lean,
        }
    )
    exposure = rng.choice([0.25, 0.5, 1.0], n)
    return X, exposure, pd.DataFrame({"gender": gender})


FUEL = {"diesel": 1.3, "petrol": 1.0, "electric": 1.0, "=gas": 0.8}


def product(X):
    """A price without interactions: a slope, a young drivers' loading, three rates of fuel."""
    return 0.1 * np.exp(0.004 * X["power"]) * np.where(X["age"] < 25, 2.0, 1.0) * X["fuel"].map(FUEL)


def leaning(X):
    """A price with an interaction, which depends on gender by mileage."""
    return product(X) * np.exp(0.05 * X["mileage"] * (1 + (X["age"] < 40)))


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------


def test_each_relativity_is_the_exposure_weighted_truth(policies):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(product), X, sample_weight=exposure)
    rows = table.frame.set_index("factor")
    assert table.factors == ("power", "age", "fuel")
    # What agrees is one level, and mileage, which tells nothing, is no factor.
    assert rows.loc["age", "level"].tolist() == ["[18, 25)", "[25, 79]"]
    assert rows.loc["fuel", "level"].tolist() == ["=gas", "diesel", "electric | petrol"]
    assert_allclose(rows.loc["age", "relativity"], [2.0, 1.0], rtol=0.01)
    assert_allclose(rows.loc["fuel", "relativity"], [0.8, 1.3, 1.0], rtol=0.01)
    power = rows.loc["power"]
    effect = pd.Series(exposure * np.exp(0.004 * X["power"]))
    bin_of_row = np.searchsorted(power["lower"].to_numpy()[1:], X["power"], side="right")
    truth = effect.groupby(bin_of_row).sum() / pd.Series(exposure).groupby(bin_of_row).sum()
    assert len(truth) == len(power) <= 40
    assert_allclose(power["relativity"], truth / truth[power["is_base"].to_numpy()].item(), rtol=0.01)
    assert_allclose(
        power["value"].astype(float),
        [np.average(X["power"][bin_of_row == k], weights=exposure[bin_of_row == k]) for k in truth.index],
    )
    assert_allclose(rows["exposure"].groupby("factor").sum(), exposure.sum())
    assert (table.frame.groupby("factor")["is_base"].sum() == 1).all()


def test_the_table_predicts_the_total_of_the_model_in_each_level(policies):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(leaning), X, sample_weight=exposure, max_relativities=40)
    assert table.n_relativities == len(table.frame) <= 40
    premium, predicted = exposure * table.predict(X), exposure * leaning(X)
    assert_allclose(premium.sum(), predicted.sum(), rtol=1e-10)
    frame = table.frame
    fuel = frame[frame["factor"] == "fuel"]
    for row in fuel.itertuples():
        inside = X["fuel"].isin(row.level.split(" | "))
        assert_allclose(premium[inside].sum() / predicted[inside].sum(), row.table_to_model)
    # Without a penalty the totals of the Poisson fit agree in every level.
    assert_allclose(frame["table_to_model"], 1.0, atol=2e-3)
    assert_allclose(frame["premium"], table.base_premium * frame["relativity"])


def test_pairs_are_taken_where_they_pay(policies):
    X, exposure, _ = policies
    data = {"sample_weight": exposure}
    plain = RatingTable.from_model(Priced(leaning), X, pairs=None, **data)
    paired = RatingTable.from_model(Priced(leaning), X, **data)
    assert "age × mileage" in paired.factors
    assert not any("×" in name for name in plain.factors)

    def lost(table):
        return mean_poisson_deviance(leaning(X), table.predict(X), sample_weight=exposure)

    assert lost(paired) < 0.7 * lost(plain)
    assert paired.n_relativities == len(paired.frame) <= 120
    # Where nothing interacts none is taken, unless it is named.
    assert not any("×" in name for name in RatingTable.from_model(Priced(product), X, **data).factors)
    named = RatingTable.from_model(Priced(product), X, pairs=[("fuel", "age")], **data)
    assert "age × fuel" in named.factors or "fuel × age" in named.factors
    pair = named.frame[named.frame["by"].notna()]
    assert_allclose(pair["relativity"], 1.0, atol=0.02)
    assert pair.loc[pair["is_base"], "relativity"].tolist() == [1.0]


def test_the_penalty_is_kept(policies):
    X, exposure, people = policies
    # A price that makes up for the mileage of women, which a table by mileage cannot do: there it is a proxy.
    model = Priced(lambda X: product(X) * np.exp(0.08 * (X["mileage"] - 2 * (people["gender"] == "f"))))
    data = {"sample_weight": exposure}
    free = RatingTable.from_model(model, X, strength=0, sensitive_features=people, pairs=None, **data)
    table = RatingTable.from_model(model, X, sensitive_features=people, pairs=None, **data)

    def measure(predicted):
        return ccdcov(None, predicted, sensitive_features=people, sample_weight=exposure, normalize=True)

    own = measure(model.predict(X))
    assert measure(free.predict(X)) > own
    # Or than chance would have it, where the model happens to be below that.
    generator = np.random.default_rng(0)
    by_chance = np.mean([measure(generator.permutation(model.predict(X))) for _ in range(20)])
    assert measure(table.predict(X)) <= max(own * (1 + 1e-5), 1.1 * by_chance)
    assert table.strength > 0
    assert free.strength == 0
    assert_allclose(exposure @ table.predict(X), exposure @ model.predict(X), rtol=1e-10)
    strong = RatingTable.from_model(
        model, X, strength=300.0, penalty=CCDCovPenalty(), sensitive_features=people, pairs=None, **data
    )
    assert measure(strong.predict(X)) < 0.5 * own
    assert 0 < strong.strength <= 300


def test_a_table_that_is_more_dependent_than_the_model_says_so(policies, monkeypatch):
    X, exposure, people = policies
    monkeypatch.setattr(_distillation, "_LAST_STRENGTH", 0.1)
    model = Priced(lambda X: product(X) * np.exp(0.08 * (X["mileage"] - 2 * (people["gender"] == "f"))))
    with pytest.warns(StrengthWarning, match=r"depends more on the protected attributes .*\(dependence [\d.e-]+, "):
        RatingTable.from_model(model, X, sample_weight=exposure, sensitive_features=people, pairs=None)


def test_a_table_need_not_beat_chance(policies):
    # A model that is less dependent than predictions in random order, by luck or by its penalty.
    X, exposure, people = policies
    leaned = product(X)
    lean = np.bincount(people["gender"] == "f", exposure * leaned) / np.bincount(people["gender"] == "f", exposure)
    model = Priced(lambda X: leaned / lean[(people["gender"] == "f").astype(int)])
    data = {"sample_weight": exposure, "sensitive_features": people}

    def measure(predicted):
        return ccdcov(None, predicted, normalize=True, **data)

    generator = np.random.default_rng(0)
    by_chance = np.mean([measure(generator.permutation(model.predict(X))) for _ in range(20)])
    assert measure(model.predict(X)) < by_chance
    table = RatingTable.from_model(model, X, pairs=None, **data)
    assert measure(table.predict(X)) < 1.1 * by_chance
    assert table.comparison.set_index("measure").loc["deviance from the model", "kept"] > 0.9


def test_a_table_that_says_little_of_its_model_says_so(policies):
    X, exposure, people = policies
    X = X.assign(title=np.where(people["gender"] == "f", "Mrs", "Mr"))
    model = Priced(lambda X: np.exp(0.5 * (X["title"] == "Mrs") + 0.1 * (X["fuel"] == "diesel")))
    data = {"sample_weight": exposure, "sensitive_features": people, "pairs": None}
    with pytest.warns(StrengthWarning, match=r"keeps \d+% of the variation of the model's premiums: it takes"):
        RatingTable.from_model(model, X, strength=1.0, **data)


def test_attributes_known_as_probabilities(policies):
    X, exposure, people = policies
    share = np.where(people["gender"] == "f", 0.9, 0.2)
    imputed = with_probabilities(pd.DataFrame({"p_f": share, "p_m": 1 - share}), {"gender": ["p_f", "p_m"]})
    model = Priced(lambda X: product(X) * np.exp(0.08 * (X["mileage"] - 2 * (people["gender"] == "f"))))
    data = {"sample_weight": exposure, "sensitive_features": imputed}
    table = RatingTable.from_model(model, X, pairs=None, **data)

    def measure(predicted):
        return ccdcov(None, predicted, normalize=True, **data)

    assert measure(table.predict(X)) <= measure(model.predict(X)) * (1 + 1e-5)
    beside = table.compare(model, X, model.predict(X), **data).set_index("measure")
    assert beside.loc["dependence", "table"] == pytest.approx(measure(table.predict(X)))


def test_a_penalised_model_needs_the_attributes(policies):
    X, _, people = policies
    numbers = X[["power", "mileage"]]
    model = DCovPoissonRegressor(strength=2.0, alpha=1e-4).fit(numbers / 100, product(X), sensitive_features=people)
    with pytest.raises(MissingSensitiveFeaturesError, match="penalty of strength 2, which the table keeps only if"):
        RatingTable.from_model(model, numbers / 100)
    with pytest.raises(MissingSensitiveFeaturesError, match="strength=3 needs sensitive_features"):
        RatingTable.from_model(Priced(product), X, strength=3)
    with pytest.raises(MissingSensitiveFeaturesError, match="control_features need sensitive_features"):
        RatingTable.from_model(Priced(product), X, control_features=X["age"])
    assert RatingTable.from_model(model, numbers / 100, strength=0).strength == 0


def test_within_control_features(policies):
    X, exposure, people = policies
    control = pd.DataFrame({"long": X["mileage"] > 14})
    table = RatingTable.from_model(
        Priced(leaning), X, product(X), sample_weight=exposure, sensitive_features=people, control_features=control
    )
    found = table.comparison.set_index("measure").loc["dependence"]
    given = {"sensitive_features": people, "control_features": control, "sample_weight": exposure, "normalize": True}
    assert_allclose(found["table"], ccdcov(None, table.predict(X), **given))
    assert found["table"] <= found["model"] * (1 + 1e-5)


def test_no_exposure_is_absence_and_exposure_is_repetition(policies):
    X, exposure, people = policies
    absent = X.assign(fuel=np.where(np.arange(len(X)) % 10 == 0, "wood", X["fuel"]))
    weights = np.where(absent["fuel"] == "wood", 0.0, 4 * exposure)
    price = Priced(lambda X: product(X.assign(fuel=X["fuel"].replace("wood", "diesel"))))
    table = RatingTable.from_model(price, absent, product(X), sample_weight=weights, sensitive_features=people)
    kept = np.repeat(np.flatnonzero(weights > 0), (4 * exposure[weights > 0]).astype(int))
    parts = (X.iloc[kept].reset_index(drop=True), product(X).iloc[kept].reset_index(drop=True))
    repeated = RatingTable.from_model(price, *parts, sensitive_features=people.iloc[kept].reset_index(drop=True))
    assert_allclose(table.predict(X), repeated.predict(X), rtol=1e-5)
    with pytest.raises(ValueError, match=r"400 row.s. with values of column 'fuel' .* such as 'wood' in row 0"):
        table.predict(absent)


def test_polars_and_arrays(policies):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(product), X, sample_weight=exposure)
    assert_allclose(table.predict(pl.from_pandas(X)), table.predict(X))
    numbers = X[["power", "age"]].to_numpy()
    unnamed = RatingTable.from_model(Priced(lambda A: np.exp(0.01 * A[:, 0] + 0.01 * A[:, 1])), numbers)
    assert unnamed.columns == ["x0", "x1"]
    assert unnamed.predict(numbers).shape == (len(X),)
    with pytest.raises(ValueError, match="X has no column 'power', which the table rates by"):
        table.predict(numbers)
    with pytest.raises(ValueError, match=r"X has no column 'power', .* did you mean 'powers'"):
        table.predict(X.rename(columns={"power": "powers"}))


def test_a_constant_model_is_a_base_premium(policies):
    X, exposure, people = policies
    table = RatingTable.from_model(
        Priced(lambda X: np.full(len(X), 0.2)), X, sample_weight=exposure, sensitive_features=people
    )
    assert table.factors == ()
    assert_allclose(table.predict(X), 0.2)
    assert "0 relativities of 0 factors" in table.summary()


# ---------------------------------------------------------------------------------------------------------------------
# Beside the model
# ---------------------------------------------------------------------------------------------------------------------


def test_comparison_by_hand(policies, rng):
    X, exposure, people = policies
    y = rng.poisson(exposure * leaning(X)) / exposure
    data = {"sample_weight": exposure, "sensitive_features": people}
    table = RatingTable.from_model(Priced(leaning), X, y, pairs=None, **data)
    compared = table.compare(Priced(leaning), X, y, **data)
    assert_frame_equal(compared, table.comparison)
    assert_frame_equal(compared, table.compare(leaning(X), X, y, **data))
    found = compared.set_index("measure")
    for name, predicted in (("model", leaning(X).to_numpy()), ("table", table.predict(X))):
        column = found[name]
        assert_allclose(column["predicted total"], exposure @ predicted)
        assert_allclose(column["predicted / observed"], exposure @ predicted / (exposure @ y))
        deviance = mean_poisson_deviance(y, predicted, sample_weight=exposure)
        none = mean_poisson_deviance(y, np.full(len(y), np.average(y, weights=exposure)), sample_weight=exposure)
        assert_allclose(column["deviance"], deviance)
        assert_allclose(column["explained deviance"], 1 - deviance / none)
        assert_allclose(column["Gini"], gini(y, predicted, sample_weight=exposure))
        assert_allclose(column["divergence"], js_divergence(None, predicted, **data))
        women = people["gender"] == "f"
        assert_allclose(column["A/E of gender f"], (exposure * y)[women].sum() / (exposure * predicted)[women].sum())
    explained = found.loc["explained deviance"]
    assert_allclose(explained["kept"], explained["table"] / explained["model"])
    lost = mean_poisson_deviance(leaning(X), table.predict(X), sample_weight=exposure)
    mean = np.full(len(X), np.average(leaning(X), weights=exposure))
    whole = mean_poisson_deviance(leaning(X), mean, sample_weight=exposure)
    assert_allclose(found.loc["deviance from the model", "kept"], 1 - lost / whole)
    text = table.summary()
    assert f"{table.n_relativities} relativities of 4 factors" in text
    assert f"explained deviance: {explained['table']:.4f}, {explained['model']:.4f} of the model" in text
    assert "dependence" in text


def test_gamma_and_tweedie_tables(policies, rng):
    X, exposure, _ = policies
    cost = rng.gamma(2.0, 500 * product(X))
    for power in (1.5, 2.0):
        model = Priced(lambda X: 1000 * product(X))
        table = RatingTable.from_model(model, X, cost, sample_weight=exposure, power=power)
        assert np.quantile(np.abs(table.predict(X) / model.predict(X) - 1), 0.9) < 0.05
        assert_allclose(exposure @ table.predict(X), exposure @ model.predict(X))
        assert table.comparison.set_index("measure").loc["explained deviance", "kept"] > 0.99
        read = RatingTable.from_relativities(relativities(model, X[["power", "age", "fuel"]], sample_weight=exposure))
        compared = read.compare(model, X, cost, sample_weight=exposure, power=power).set_index("measure")["model"]
        assert_allclose(compared, table.comparison.set_index("measure")["model"])


# ---------------------------------------------------------------------------------------------------------------------
# The exact table of a multiplicative model
# ---------------------------------------------------------------------------------------------------------------------


def test_relativities_become_a_table_that_predicts(policies):
    X, exposure, _ = policies
    X = X.assign(age=X["age"].where(np.arange(len(X)) % 50 > 0), fuel=X["fuel"].where(X["fuel"] != "=gas"))
    price = Priced(
        lambda X: 0.1 * np.exp(0.004 * X["power"] + 0.01 * X["age"].fillna(90)) * X["fuel"].map(FUEL).fillna(3)
    )
    frame = relativities(price, X, sample_weight=exposure, bins={"power": [0, 60, 100, 1000]})
    table = RatingTable.from_relativities(frame)
    assert_allclose(exposure @ table.predict(X), frame.attrs["model_total"])
    assert_allclose(table.off_balance, frame.attrs["off_balance_before"])
    assert table.columns == ["power", "age", "fuel"]
    for name in ("relativity", "exposure", "premium", "table_to_model"):
        assert_allclose(table.frame[name], frame[name])
    # A table is multiplicative itself.
    again = relativities(table, X, sample_weight=exposure, bins={"power": [0, 60, 100, 1000]})
    assert_allclose(again["relativity"], frame["relativity"], rtol=1e-9)
    with pytest.raises(ValueError, match="table must be what relativities"):
        RatingTable.from_relativities(pd.DataFrame(frame.to_dict()))
    with pytest.raises(ValueError, match="has levels twice, the first of them of factor 'power'"):
        RatingTable.from_relativities(pd.concat([frame, frame]))
    some = relativities(price, X, sample_weight=exposure, factors=["age"])
    with pytest.raises(ValueError, match=r"lacks the factors \['power', 'fuel'\]"):
        RatingTable.from_relativities(some)


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def awkward(policies):
    """A table with a pair, missing values, formulas, separators and lines in its levels and names."""
    X, exposure, _ = policies
    X = X.rename(columns={"fuel": "=fuel", "mileage": 'a "b", c'})
    X["=fuel"] = X["=fuel"].replace({"electric": "a | b", "petrol": "\\|", "diesel": "-1"})
    X["age"] = X["age"].astype(float).where(np.arange(len(X)) % 40 > 0)
    X["=fuel"] = X["=fuel"].where(np.arange(len(X)) % 30 > 0)
    price = Priced(
        lambda X: np.exp(
            0.3 * X["=fuel"].map({"=gas": 0, "a | b": 1, "\\|": 1, "-1": 2}).fillna(4)
            + 0.02 * X['a "b", c'] * (X["age"].fillna(30) < 40)
        )
    )
    return RatingTable.from_model(price, X, sample_weight=exposure), X


def test_csv_and_back(awkward, tmp_path):
    table, X = awkward
    assert any("×" in name for name in table.factors)
    path = table.to_csv(tmp_path / "table.csv")
    again = RatingTable.from_csv(path)
    assert again.factors == table.factors
    assert (again.predict(X) == table.predict(X)).all()
    assert_frame_equal(again.frame, table.frame)
    assert again.to_csv(tmp_path / "again.csv").read_bytes() == path.read_bytes()
    # Nothing that a spreadsheet would run.
    cells = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    assert not cells[["factor", "level"]].map(lambda text: text.startswith(("=", "+", "@"))).any(axis=None)


def test_excel_and_back(awkward, tmp_path):
    pytest.importorskip("openpyxl")
    table, X = awkward
    again = RatingTable.from_excel(table.to_excel(tmp_path / "table.xlsx"))
    assert_allclose(again.predict(X), table.predict(X), rtol=1e-14)


def test_an_edited_file(policies, tmp_path):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(product), X, sample_weight=exposure)
    cells = pd.read_csv(table.to_csv(tmp_path / "table.csv"), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    young = (cells["factor"] == "age") & (cells["level"] == "[18, 25)")
    cells.loc[young, "relativity"] = "1.5"
    cells.to_csv(tmp_path / "edited.csv", index=False)
    edited = RatingTable.from_csv(tmp_path / "edited.csv")
    assert_allclose(edited.predict(X)[X["age"] >= 25], table.predict(X)[X["age"] >= 25])
    total = exposure @ table.predict(X)
    balanced = edited.adjusted(X, sample_weight=exposure, total=total)
    assert_allclose(exposure @ balanced.predict(X), total)
    assert_allclose(balanced.off_balance, exposure @ edited.predict(X) / total)
    assert balanced.frame["relativity"].tolist() == edited.frame["relativity"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="lower"), "is no rating table of to_csv: it has no column 'lower'"),
        (lambda t: t.iloc[1:], "must have one row of factor '.base premium.'; found 0"),
        (
            lambda t: t.assign(relativity=t["relativity"].where(t.index != 3, "x")),
            "number above 0 in data row 4; found 'x'",
        ),
        (
            lambda t: t.assign(relativity=t["relativity"].where(t.index != 3, "0")),
            "number above 0 in data row 4; found '0'",
        ),
        (
            lambda t: t.assign(relativity=t["relativity"].where(t.index != 3, "")),
            "number above 0 in data row 4; found ''",
        ),
        (lambda t: t.assign(upper=t["upper"].where(t.index != 1, "9000")), "ranges of factor 'power' must increase"),
        (lambda t: t.assign(upper=t["upper"].where(t.index != 1, "x")), "lower and upper must be numbers in data row"),
        (lambda t: pd.concat([t, t.iloc[[1]]]), "factor 'power' must have each level"),
    ],
)
def test_files_that_are_no_tables(policies, tmp_path, change, message):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(product), X, sample_weight=exposure)
    cells = pd.read_csv(table.to_csv(tmp_path / "table.csv"), dtype=str, keep_default_na=False, encoding="utf-8-sig")
    change(cells).to_csv(tmp_path / "wrong.csv", index=False)
    with pytest.raises(ValueError, match=message):
        RatingTable.from_csv(tmp_path / "wrong.csv")


# ---------------------------------------------------------------------------------------------------------------------
# Rounding and caps
# ---------------------------------------------------------------------------------------------------------------------


def test_rounded_and_capped_and_in_balance(policies):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(leaning), X, sample_weight=exposure)
    filed = table.adjusted(X, sample_weight=exposure, decimals=2, lower=0.85, upper=1.5)
    before, after = table.frame, filed.frame
    assert_allclose(after["relativity"], before["relativity"].round(2).clip(0.85, 1.5))
    assert (after["relativity"] != before["relativity"]).any()
    total = exposure @ table.predict(X)
    assert_allclose(exposure @ filed.predict(X), total, rtol=1e-12)
    # The off-balance is what the base premium has made up for.
    assert_allclose(filed.base_premium, table.base_premium / filed.off_balance)
    fuel = after[after["factor"] == "fuel"]
    for row in fuel.itertuples():
        inside = X["fuel"].isin(row.level.split(" | "))
        ratio = (exposure * filed.predict(X))[inside].sum() / (exposure * leaning(X))[inside].sum()
        assert_allclose(row.table_to_model, ratio, rtol=1e-6)
    one = table.adjusted(X, sample_weight=exposure, decimals=1, factors="fuel").frame
    changed = one["relativity"] != before["relativity"]
    assert set(one["factor"][changed]) == {"fuel"}
    claims = table.adjusted(X, sample_weight=exposure, total=1234.5)
    assert_allclose(exposure @ claims.predict(X), 1234.5)


def test_adjustments_that_make_no_sense(policies):
    X, _, _ = policies
    table = RatingTable.from_model(Priced(lambda X: np.where(X["age"] < 25, 0.01, 1.0)), X)
    with pytest.raises(ValueError, match=r"decimals=1 rounds relativities of 'age' to 0, such as 0.01"):
        table.adjusted(X, decimals=1)
    with pytest.raises(ValueError, match="lower must be at most 1 and upper at least 1"):
        table.adjusted(X, lower=1.2)
    with pytest.raises(ValueError, match="lower must be at most 1 and upper at least 1"):
        table.adjusted(X, upper=0.9)
    with pytest.raises(ValueError, match="factors names 'ages', which is no factor of the table; did you mean 'age'"):
        table.adjusted(X, factors=["ages"])
    with pytest.raises(ValueError, match="total must be"):
        table.adjusted(X, total=0)


# ---------------------------------------------------------------------------------------------------------------------
# Values that no level contains, and bad input
# ---------------------------------------------------------------------------------------------------------------------


def test_values_that_the_table_has_not_seen(policies):
    X, exposure, _ = policies
    table = RatingTable.from_model(Priced(product), X, sample_weight=exposure, bins={"age": [18, 25, 50, 80]})
    risk = X.iloc[:1].assign(power=60.0, age=30, fuel="petrol")
    rate = {name: part.set_index("level")["relativity"] for name, part in table.frame.groupby("factor")}
    base = table.predict(risk).item()
    for change in ({"fuel": "steam"}, {"age": 17}, {"age": 81}, {"power": 1e4}, {"power": np.nan}, {"fuel": None}):
        (name,) = change
        with pytest.raises(
            ValueError, match=f"1 row.s. with values of column '{name}' that the table has no level for"
        ):
            table.predict(risk.assign(**change))
    steam = table.predict(risk.assign(fuel="steam"), unknown="base").item()
    assert_allclose(steam, base / rate["fuel"]["electric | petrol"])
    young = table.predict(risk.assign(age=17), unknown="nearest").item()
    assert_allclose(young, base / rate["age"]["[25, 50)"] * rate["age"]["[18, 25)"])
    assert_allclose(table.predict(risk.assign(age=17), unknown="base").item(), base / rate["age"]["[25, 50)"])
    strong = table.predict(risk.assign(power=1e4), unknown="nearest").item()
    assert_allclose(strong, table.predict(risk.assign(power=X["power"].max())).item())
    with pytest.raises(ValueError, match="unknown must be one of"):
        table.predict(risk, unknown="ignore")


def test_a_bin_without_exposure(policies):
    X, exposure, _ = policies
    bins = {"age": [0, 18, 40, 80, 120]}
    older = Priced(lambda X: np.exp(0.01 * X["age"]))
    table = RatingTable.from_model(older, X, factors=["age"], bins=bins, sample_weight=exposure)
    age = table.frame
    assert age["level"].tolist() == ["[0, 18)", "[18, 40)", "[40, 80)", "[80, 120]"]
    assert age["relativity"].isna().tolist() == [True, False, False, True]
    assert age["note"].tolist() == ["no exposure, no relativity", "", "", "no exposure, no relativity"]
    risk = X.iloc[:1].assign(age=100)
    with pytest.raises(ValueError, match=r"1 row.s. in level '\[80, 120\]' of factor 'age', which has no relativity"):
        table.predict(risk)
    assert_allclose(table.predict(risk, unknown="base"), table.base_premium)


def test_ranges_have_short_ends_and_contain_every_policy(policies, rng):
    X, exposure, _ = policies
    X = X.assign(
        power=X["power"].clip(upper=120.123456789),
        mileage=X["mileage"] * 1e-7,
        age=rng.choice([0.5, 1.0, 1.25], len(X)),
    )
    price = Priced(lambda X: np.exp((X["power"] > 120.1) + 5e5 * X["mileage"] + X["age"]))
    rows = RatingTable.from_model(price, X, sample_weight=exposure).frame.set_index("factor")
    ends = rows.loc["mileage", ["lower", "upper"]].to_numpy()
    assert all(len(f"{end:e}".split("e")[0].strip("0")) <= 6 for end in ends.ravel())
    assert ends[0, 0] <= X["mileage"].min()
    assert ends[-1, 1] >= X["mileage"].max()
    assert (ends[1:, 0] == ends[:-1, 1]).all()
    # The limit, which many have, is a level of its own; few values are levels each.
    assert rows.loc["power", "lower"].iloc[-1] == 120.123456789
    at_limit = X["power"] == 120.123456789
    assert_allclose(rows.loc["power", "exposure"].iloc[-1], exposure[at_limit].sum())
    assert rows.loc["age", "level"].tolist() == ["0.5", "1", "1.25"]
    assert_allclose(
        rows.loc["age", "relativity"] / rows.loc["age", "relativity"].iloc[0], np.exp([0, 0.5, 0.75]), rtol=0.05
    )


def test_bins_that_were_asked_for_stay(policies):
    X, exposure, _ = policies
    data = {"sample_weight": exposure, "factors": ["age", "mileage"]}
    flat = Priced(lambda X: np.where(X["age"] < 20, 2.0, 1.0))
    table = RatingTable.from_model(flat, X, bins={"age": 4, "mileage": [0, 10, 100]}, **data).frame
    assert table["factor"].tolist() == ["age"] * 4 + ["mileage"] * 2
    assert table["level"].tolist()[4:] == ["[0, 10)", "[10, 100]"]
    assert_allclose(table["share"][:4], 0.25, atol=0.02)
    all_of_them = RatingTable.from_model(flat, X, bins=3, **data).frame
    assert all_of_them["factor"].value_counts().tolist() == [3, 3]
    with pytest.raises(ValueError, match="bins for 'mileage' leave out"):
        RatingTable.from_model(flat, X, bins={"mileage": [0, 10]}, **data)


def test_missing_values_are_a_level(policies):
    X, exposure, _ = policies
    X = X.assign(age=X["age"].astype(float).where(np.arange(len(X)) % 8 > 0), fuel=X["fuel"].where(X["age"] > 30))
    price = Priced(lambda X: np.where(X["age"].isna(), 3.0, 1.0) * np.where(X["fuel"].isna(), 0.5, 1.0))
    table = RatingTable.from_model(price, X, sample_weight=exposure)
    assert [level for level in table.frame["level"] if "(missing)" in level] == ["(missing)"] * 2
    assert_allclose(table.predict(X), price.predict(X), rtol=1e-3)


def test_bad_input_is_named(policies):
    X, exposure, people = policies
    model = Priced(product)
    postcodes = X.assign(postcode=[f"p{row}" for row in range(len(X))])
    with pytest.raises(
        ValueError, match="column 'postcode' has 4,000 levels, more than max_levels=1,000: group its rare"
    ):
        RatingTable.from_model(model, postcodes)
    assert "postcode" not in RatingTable.from_model(model, postcodes, factors=["age", "fuel"]).columns
    with pytest.raises(ValueError, match="needs positive predictions, which a log link gives; found -1"):
        RatingTable.from_model(Priced(lambda X: np.full(len(X), -1.0)), X)
    with pytest.raises(TypeError, match="needs a regressor; found the classifier LogisticRegression"):
        RatingTable.from_model(LogisticRegression(), X)
    for arguments, error, message in (
        ({"max_relativities": 0}, ValueError, "max_relativities must be a whole number >= 1"),
        ({"bins": {"age": None}, "max_relativities": 20}, ValueError, "are 6[0-9] relativities, more than the 20"),
        ({"bins": {"fuel": 3}}, TypeError, "bins names 'fuel', which holds categories"),
        ({"bins": {"ages": 3}}, ValueError, "bins names 'ages', which is not a factor; did you mean 'age'"),
        ({"factors": ["ages"]}, ValueError, "factors names 'ages', which is not a column of X; did you mean 'age'"),
        ({"pairs": [("age", "age")]}, ValueError, "list of pairs of different columns"),
        ({"pairs": [("age", "fuels")]}, ValueError, "pairs names 'fuels'"),
        ({"pairs": [("age", "power")], "max_relativities": 20}, ValueError, "pairs take 25 relativities, which leaves"),
        ({"power": 0}, ValueError, "power must be a number between 1 .Poisson. and 2 .gamma."),
        ({"penalty": "dcor"}, ValueError, "penalty must be one of"),
        ({"strength": -1}, ValueError, "strength must be"),
        ({"sample_weight": exposure[:-1]}, ValueError, "sample_weight must have"),
        ({"y": exposure[:-1]}, ValueError, "y must have as many rows as X"),
        ({"sensitive_features": people[:-1]}, ValueError, "sensitive_features must have as many rows as X"),
    ):
        with pytest.raises(error, match=message):
            RatingTable.from_model(model, X, **arguments)
    with pytest.raises(ValueError, match="distinct column names"):
        RatingTable.from_model(model, pd.concat([X, X], axis=1))
    with pytest.raises(ValueError, match="'power' has infinite values"):
        RatingTable.from_model(Priced(lambda X: np.ones(len(X))), X.assign(power=np.inf))


@pytest.mark.real_data
@pytest.mark.skipif(not os.environ.get("FAIRDCOV_DATA"), reason="FAIRDCOV_DATA is not set")
def test_the_table_of_a_penalised_booster_on_pg15training():
    pytest.importorskip("rdata")
    pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMRegressor

    book = fetch_pg15training()
    fitted = np.random.default_rng(0).uniform(size=len(book.target)) < 0.8

    def part(rows):
        people = book.sensitive_features[rows].reset_index(drop=True)
        weights = {"sample_weight": np.asarray(book.exposure)[rows], "sensitive_features": people}
        return book.data[rows].reset_index(drop=True), np.asarray(book.target)[rows], weights

    X, y, data = part(fitted)
    model = DCovLGBMRegressor(
        objective="poisson",
        strength=10,
        n_estimators=100,
        n_penalised_rounds=40,
        num_leaves=15,
        n_jobs=1,
        random_state=0,
    )
    model.fit(X, y, **data)
    table = RatingTable.from_model(model, X, **data)
    assert table.n_relativities <= 120
    assert_allclose(data["sample_weight"] @ table.predict(X) / (data["sample_weight"] @ model.predict(X)), 1, rtol=1e-6)
    X, y, data = part(~fitted)
    beside = table.compare(model, X, y, **data, unknown="nearest").set_index("measure")
    assert beside.loc["explained deviance", "kept"] > 0.9
    error = beside.loc["divergence, standard error", "model"]
    assert beside.loc["divergence", "table"] <= beside.loc["divergence", "model"] + error
