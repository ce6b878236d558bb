"""comparison_table: each figure by hand, and what has no figure is left out."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import mean_gamma_deviance, mean_squared_error

from fairdcov import with_probabilities
from fairdcov.actuarial import balance_table, comparison_table
from fairdcov.metrics import ccdcov, gini, js_divergence


@pytest.fixture
def tariffs(rng):
    n = 600
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "age": rng.integers(18, 80, n)})
    before = rng.gamma(4.0, 0.05, n) * np.where(people["gender"] == "f", 0.8, 1.2)
    after = before**0.5 * rng.uniform(0.8, 1.2, n)
    exposure = rng.choice([0.0, 0.5, 1.0], n)
    return rng.poisson(before), after, before, people, exposure


def test_every_figure_by_hand(tariffs):
    y, after, before, people, exposure = tariffs
    data = {"sample_weight": exposure}
    table = comparison_table(y, after, before, people, power=0, **data).set_index("measure")
    mean = np.average(y, weights=exposure)
    for name, values in (("baseline", before), ("prediction", after)):
        column = table[name]
        assert_allclose(column["predicted total"], exposure @ values)
        assert_allclose(column["predicted / observed"], exposure @ values / (exposure @ y))
        error = mean_squared_error(y, values, sample_weight=exposure)
        assert_allclose(column["deviance"], error)
        constant = mean_squared_error(y, np.full(len(y), mean), sample_weight=exposure)
        assert_allclose(column["explained deviance"], 1 - error / constant)
        assert_allclose(column["Gini"], gini(y, values, **data))
        own = {"sensitive_features": people, **data}
        assert_allclose(column["dependence"], ccdcov(None, values, normalize=True, **own))
        assert_allclose(column["divergence"], js_divergence(None, values, bins=5, **own))
        by_group = balance_table(y, values, people, bins=5, interval="normal", **data)
        women = by_group[(by_group["factor"] == "gender") & (by_group["level"] == "f")]
        assert_allclose(column["A/E of gender f"], women["actual_to_expected"].item())
        inside = ((people["gender"] == "f") & (exposure > 0)).to_numpy()
        assert_allclose(column["A/E of gender f"], (exposure * y)[inside].sum() / (exposure * values)[inside].sum())
    assert sum(name.startswith("A/E of age [") for name in table.index) == 5
    assert_allclose(table.loc["Gini", "kept"], table.loc["Gini", "prediction"] / table.loc["Gini", "baseline"])
    change = after / before - 1
    assert_allclose(
        table.loc["premium that changes", "prediction"], exposure @ np.abs(after - before) / (exposure @ before)
    )
    large = exposure[np.abs(change) > 0.1].sum() / exposure.sum()
    assert_allclose(table.loc["exposure that changes by over 10 %", "prediction"], large)
    assert table.loc["predicted total":"deviance", "kept"].isna().all()


def test_what_has_no_figure_is_left_out(tariffs):
    y, after, before, people, exposure = tariffs
    gamma = comparison_table(y, after, before, sample_weight=exposure, power=2).set_index("measure")
    assert "explained deviance" not in gamma.index
    assert "dependence" not in gamma.index
    costs = comparison_table(y + 1.0, after + 1, before + 1, sample_weight=exposure, power=2).set_index("measure")
    assert_allclose(
        costs.loc["deviance", "prediction"], mean_gamma_deviance(y + 1.0, after + 1, sample_weight=exposure)
    )
    nothing = comparison_table(0 * y, after, before, people, sample_weight=exposure).set_index("measure")
    assert "Gini" not in nothing.index
    assert "predicted / observed" not in nothing.index
    below = comparison_table(y, after - 1, before - 1, people, power=0).set_index("measure")
    assert not any("changes" in name or "A/E" in name for name in below.index)
    # a baseline that explains nothing has nothing to keep
    worse = comparison_table(y, after, np.full(len(y), 5.0)).set_index("measure")
    assert np.isnan(worse.loc["explained deviance", "kept"])


def test_given_control_features(tariffs):
    y, after, before, people, exposure = tariffs
    control = people[["gender"]]
    table = comparison_table(y, after, before, people["age"], control_features=control, sample_weight=exposure)
    found = table.set_index("measure")
    own = {"sensitive_features": people["age"], "control_features": control, "sample_weight": exposure}
    assert_allclose(found.loc["dependence", "prediction"], ccdcov(None, after, normalize=True, **own))
    assert_allclose(found.loc["divergence", "prediction"], js_divergence(None, after, bins=5, **own))
    assert "divergence, standard error" not in found.index


def test_bad_input_is_named(tariffs):
    y, after, before, people, _ = tariffs
    with pytest.raises(ValueError, match="baseline must have as many rows as y_pred"):
        comparison_table(y, after, before[:-1])
    with pytest.raises(ValueError, match="sensitive_features must have as many rows as y_pred"):
        comparison_table(y, after, before, people[:-1])
    with pytest.raises(ValueError, match="y_true"):
        comparison_table(np.where(y > 1, np.nan, y), after, before)


def test_shares_of_0_and_1_have_the_ratios_of_the_observed_attribute(rng):
    n = 300
    gender = rng.choice(["f", "m"], n)
    observed, premium = rng.poisson(1.0, n).astype(float), rng.uniform(0.5, 2.0, (2, n))
    certain = pd.DataFrame({"f": (gender == "f") * 1.0, "m": (gender == "m") * 1.0})
    imputed = with_probabilities(certain, {"gender": ["f", "m"]})
    exposure = rng.uniform(0.1, 1.0, n)
    tables = [
        comparison_table(observed, *premium, people, sample_weight=exposure).set_index("measure")
        for people in (pd.DataFrame({"gender": gender}), imputed)
    ]
    for level in ("f", "m"):
        name = f"A/E of gender {level}"
        np.testing.assert_allclose(*(table.loc[name, ["baseline", "prediction"]].tolist() for table in tables))
    rows = gender == "f"
    expected = (exposure * observed)[rows].sum() / (exposure * premium[0])[rows].sum()
    assert tables[1].loc["A/E of gender f", "prediction"] == pytest.approx(expected)
