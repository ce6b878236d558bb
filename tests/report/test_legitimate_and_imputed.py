"""Control features, attributes known as probabilities, tiers of the premium, and best estimates."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from fairdcov import DCovPoissonRegressor, DiscriminationFreeRegressor, with_probabilities
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.inference import equivalence_test
from fairdcov.metrics import ccdcov, js_divergence, null_distribution, proxy_discrimination, tier_summary
from fairdcov.report import AuditReport, audit

from .conftest import page_of

N = 1_200
LEVELS = ["p_white", "p_black", "p_other"]
RACE = {"race": LEVELS}
QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}


@pytest.fixture(scope="module")
def book():
    """A book with an imputed race, a gender that shows in the mileage, and prices that follow both."""
    rng = np.random.default_rng(5)
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], N)})
    people[LEVELS] = rng.dirichlet([2.0, 1.0, 0.6], N)
    mileage = rng.gamma(4.0, 2.0 + (people["gender"] == "m"))
    price = 0.02 * mileage * np.exp(0.5 * people["p_black"] + 0.2 * rng.normal(size=N))
    exposure = rng.uniform(0.2, 1.0, N)
    return {
        "people": people,
        "price": price.to_numpy(),
        "exposure": exposure,
        "observed": rng.poisson(exposure * price) / exposure,
        "features": pd.DataFrame({"mileage": mileage, "use": rng.choice(["home", "work"], N)}),
    }


@pytest.fixture(scope="module")
def soft(book):
    """An audit of imputed race beside an observed gender, given the mileage, with a tolerance."""
    return audit(
        book["observed"],
        book["price"],
        book["people"],
        sample_weight=book["exposure"],
        features=book["features"],
        baseline=book["price"][::-1].copy(),
        probabilities=RACE,
        control_features=book["features"][["mileage"]],
        tolerance=0.5,
        min_group_size=20,
        n_permutations=9,
        n_bootstrap=20,
        max_learning_rows=300,
        verbose=0,
    )


@pytest.fixture(scope="module")
def soft_data(soft):
    return soft.to_dict()


# --- probabilities -------------------------------------------------------------------------------------------------


def test_figures_of_groups_are_weighted_by_exposure_times_probability(book, soft_data):
    section = next(part for part in soft_data["groups"] if part["attributes"] == ["race"])
    for level, row in zip(LEVELS, section["groups"], strict=True):
        weight = book["exposure"] * book["people"][level]
        assert row["label"] == level
        assert row["rows"] == pytest.approx(book["people"][level].sum())
        assert row["exposure"] == pytest.approx(weight.sum())
        assert row["predicted"] == pytest.approx(np.average(book["price"], weights=weight))
        ratio = (weight @ book["observed"]) / (weight @ book["price"])
        assert row["actual_to_expected"] == pytest.approx(ratio)
        spread = np.sqrt(((weight * (book["observed"] - ratio * book["price"])) ** 2).sum()) / (weight @ book["price"])
        assert (row["upper"] - row["lower"]) / 2 == pytest.approx(1.96 * spread, rel=2e-3)
    both = next(part for part in soft_data["groups"] if part["kind"] == "intersection")
    women = (book["people"]["gender"] == "f") * book["people"]["p_black"] * book["exposure"]
    row = next(row for row in both["groups"] if row["levels"] == {"gender": "f", "race": "p_black"})
    assert row["predicted"] == pytest.approx(np.average(book["price"], weights=women))


def test_premium_changes_are_weighted_as_well(book, soft_data):
    row = next(row for row in soft_data["change"]["by_attribute"] if row["level"] == "p_black")
    weight = book["exposure"] * book["people"]["p_black"]
    change = (weight @ book["price"]) / (weight @ book["price"][::-1]) - 1
    assert (row["attribute"], row["change"]) == ("race", pytest.approx(change))
    assert row["rows"] == pytest.approx(book["people"]["p_black"].sum())


def test_probabilities_0_and_1_give_the_figures_of_the_observed_attribute(book):
    level = book["people"][LEVELS].to_numpy().argmax(axis=1)
    people = book["people"].assign(**{name: (level == k).astype(float) for k, name in enumerate(LEVELS)})
    observed = book["people"][["gender"]].assign(race=pd.Categorical(np.array(LEVELS)[level], LEVELS))
    common = {"sample_weight": book["exposure"], "control_features": book["features"]["use"], **QUICK}
    given = {"baseline": book["price"][::-1].copy(), "min_group_size": 20}
    first = audit(book["observed"], book["price"], people, probabilities=RACE, **common, **given).to_dict()
    second = audit(book["observed"], book["price"], observed, **common, **given).to_dict()
    for one, other in zip(first["groups"], second["groups"], strict=True):
        for name, measure in one["measures"].items():
            assert measure["value"] == pytest.approx(other["measures"][name]["value"], rel=1e-9), name
        for a, b in zip(one["groups"], other["groups"], strict=True):
            for name in ("label", "rows", "exposure", "predicted", "observed", "actual_to_expected", "too_small"):
                assert a[name] == (b[name] if isinstance(b[name], str | bool) else pytest.approx(b[name])), name
    for one, other in zip(first["dependence"], second["dependence"], strict=True):
        assert one["normalized"] == pytest.approx(other["normalized"], rel=1e-9)
    for one, other in zip(first["conditional"]["results"], second["conditional"]["results"], strict=True):
        assert one["normalized"] == pytest.approx(other["normalized"], rel=1e-9)
    for one, other in zip(first["conditional"]["gaps"], second["conditional"]["gaps"], strict=True):
        for a, b in zip(one["groups"], other["groups"], strict=True):
            assert a["gap_adjusted"] == pytest.approx(b["gap_adjusted"])
    for one, other in zip(first["tiers"]["groups"], second["tiers"]["groups"], strict=True):
        for name in ("rows", "share", "share_lower", "rest", "difference_upper", "ratio_lower"):
            assert [row[name] for row in one["tiers"]] == pytest.approx([row[name] for row in other["tiers"]]), name
    for one, other in zip(first["pairs"], second["pairs"], strict=True):
        for a, b in zip(one["pairs"], other["pairs"], strict=True):
            assert a["by_chance"] == pytest.approx(b["by_chance"])


def test_what_is_not_there_for_probabilities_is_said(soft, soft_data):
    assert {entry["section"] for entry in soft_data["left_out"]} >= {"groups", "proxies"}
    assert "tiers" not in {entry["section"] for entry in soft_data["left_out"]}
    text = soft.to_markdown()
    for words in ("no screening of the features for race", "no bootstrap intervals of actual to expected for race"):
        assert words in text
    assert "known as probabilities. Every row counts in each group" in text
    assert "race" in page_of(soft)
    row = next(row for row in soft.to_frame("tiers").to_dict("records") if row["label"] == "p_black")
    assert 0 < row["share_lower"] < row["share"] < row["share_upper"]
    assert row["difference_lower"] < row["difference"] < row["difference_upper"]


def test_gaps_of_probabilities_are_judged(book, soft_data):
    found = soft_data["equivalence"]
    judged = found["tests"][0]
    assert [part["attributes"] for part in judged["attributes"]] == [["gender"], ["race"], ["gender", "race"]]
    given = with_probabilities(book["people"], RACE)
    expected = equivalence_test(
        book["price"], given, tolerance=found["tolerance"], sample_weight=book["exposure"], min_group_size=4
    )
    assert [row["gap"] for row in judged["groups"]] == pytest.approx([row["gap"] for row in expected.groups])
    assert judged["outcome"] == expected.outcome


def test_declared_attributes_do_as_well_and_so_does_race_alone(book):
    people = with_probabilities(book["people"][LEVELS], RACE)
    found = audit(None, book["price"], people, features=book["features"], tolerance=0.1, **QUICK).to_dict()
    assert [part["attributes"] for part in found["groups"]] == [["race"]]
    assert found["equivalence"]["outcome"] in ("within tolerance", "not enough evidence", "outside tolerance")
    assert [part["attributes"] for part in found["equivalence"]["tests"][0]["attributes"]] == [["race"]]
    assert found["proxies"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_black": -0.1}, r"must lie between 0 and 1; found -0.1 in row 7 of 'p_black'"),
        ({"p_black": 0.9, "p_white": 0.9}, r"must sum to 1 in each row; found .* in row 7"),
        ({"p_black": np.nan}, r"p_black.*missing"),
    ],
)
def test_rows_that_are_no_probabilities_are_named(book, change, message):
    people = book["people"].copy()
    for name, value in change.items():
        people.loc[7, name] = value
    with pytest.raises(ValueError, match=message):
        audit(None, book["price"], people, probabilities=RACE, **QUICK)
    with pytest.raises(ValueError, match="bins names 'p_black', which holds the probability"):
        audit(None, book["price"], book["people"], probabilities=RACE, bins={"p_black": 3}, **QUICK)


# --- control features ----------------------------------------------------------------------------------------------


def test_dependence_within_strata_is_that_of_the_metrics(book, soft_data):
    found = soft_data["conditional"]
    given = {
        "sensitive_features": book["people"]["gender"],
        "sample_weight": book["exposure"],
        "control_features": book["features"][["mileage"]],
    }
    (gender, race, both) = found["results"]
    assert (found["given"], found["n_strata"]) == (["mileage"], 5)
    assert gender["value"] == pytest.approx(ccdcov(None, book["price"], **given))
    assert gender["normalized"] == pytest.approx(ccdcov(None, book["price"], normalize=True, **given))
    assert gender["js_divergence"] == pytest.approx(js_divergence(None, book["price"], min_group_size=4, **given))
    given["sensitive_features"] = with_probabilities(book["people"][LEVELS], RACE)
    assert race["normalized"] == pytest.approx(ccdcov(None, book["price"], normalize=True, **given))
    assert race["test"]["p_value"] == 0.1
    assert race["test"]["n_strata"] == 5
    soft_divergence = js_divergence(None, book["price"], min_group_size=4, **given)
    assert race["js_divergence"] == pytest.approx(soft_divergence)
    assert both["normalized"] > 0


def test_the_level_by_chance(book, soft_data):
    for position, names in ((0, ["gender"]), (1, LEVELS)):
        people = book["people"][names]
        people = with_probabilities(people, RACE) if position else people
        given = {"sensitive_features": people, "sample_weight": book["exposure"], "normalize": True}
        null = null_distribution(ccdcov, None, book["price"], n_permutations=40, random_state=0, **given)
        entry = soft_data["conditional"]["results"][position]
        assert entry["without_by_chance"] == pytest.approx(null.mean, rel=0.6)
        within = null_distribution(
            ccdcov, None, book["price"], control_features=book["features"]["mileage"], random_state=0,
            n_permutations=40, **given,
        )  # fmt: skip
        assert entry["by_chance"] == pytest.approx(within.mean, rel=0.5)


def test_adjusted_gaps_by_hand(book, soft_data):
    frame = book["people"].assign(
        price=book["price"], w=book["exposure"], stratum=_quintiles(book["features"]["mileage"], book["exposure"])
    )
    frame["female"] = (frame["gender"] == "f") * frame["w"]
    for section, row, weight in ((0, 0, frame["female"]), (1, 1, frame["w"] * frame["p_black"])):
        own, rest = weight, frame["w"] - weight
        table = pd.DataFrame({"o": own, "op": own * frame["price"], "r": rest, "rp": rest * frame["price"]})
        table = table.groupby(frame["stratum"]).sum()
        adjusted = (table["o"] * table["rp"] / table["r"]).sum() / table["o"].sum()
        found = soft_data["conditional"]["gaps"][section]["groups"][row]
        assert found["rest_adjusted"] == pytest.approx(adjusted)
        assert found["gap_adjusted"] == pytest.approx(table["op"].sum() / table["o"].sum() / adjusted - 1)


def _quintiles(values, weights):
    edges = np.quantile(values, np.linspace(0, 1, 6), weights=weights, method="inverted_cdf")
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 4)


def test_control_features_take_the_place_of_the_partial_correlation(book, soft, soft_data):
    assert soft_data["partial"] is None
    assert soft_data["equivalence"]["decided_by"] == "given_factors"
    assert soft_data["equivalence"]["tests"][1]["legitimate_features"] == ["mileage"]
    assert soft.to_markdown().count("## Given legitimate factors") == 1
    assert "Given mileage (5 strata)" in soft.summary
    assert list(soft.to_frame("adjusted_gaps")["label"][:2]) == ["f", "m"]


def test_strata_that_say_nothing_are_named(book):
    zone = pd.Series(np.where(book["people"]["gender"] == "f", "a", "b"))
    zone[:400] = "both"
    zone[401] = "alone"
    report = audit(None, book["price"], book["people"]["gender"], control_features=zone.rename("zone"), **QUICK)
    (left_out,) = report.to_dict()["conditional"]["left_out"]
    assert {(row["label"], row["reason"]) for row in left_out["strata"]} == {
        ("a", "one profile"), ("alone", "too few rows"), ("b", "one profile"),
    }  # fmt: skip
    assert left_out["share"] == pytest.approx(800 / N)
    assert "Strata that say nothing about gender" in report.to_markdown()


def test_control_features_that_are_an_attribute_or_determine_all(book):
    people = book["people"][["gender"]].assign(use=book["features"]["use"])
    copy = people["gender"].str.upper().rename("copy")
    refused = pytest.raises(ValueError, match=r"\['copy'\] determine the protected attributes \['gender'\]")
    with warnings.catch_warnings(), refused:
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        audit(None, book["price"], people["gender"], control_features=copy, **QUICK)
    with pytest.warns(SensitiveFeaturesWarning, match="'copy' has a level for each of those of the protected"):
        found = audit(None, book["price"], people, control_features=copy, **QUICK).to_dict()
    alone, use, both = found["conditional"]["results"]
    assert alone["normalized"] is None
    assert "determine it" in alone["reason"]
    assert use["normalized"] is not None
    assert both["normalized"] is not None


# --- tiers ---------------------------------------------------------------------------------------------------------


def test_tiers_are_those_of_the_metric(book):
    people = book["people"]["gender"]
    report = audit(
        None,
        book["price"],
        people,
        sample_weight=book["exposure"],
        tier_thresholds=[0.15, 0.3],
        confidence=0.9,
        **QUICK,
    )
    table = tier_summary(
        None, book["price"], sensitive_features=people, sample_weight=book["exposure"], thresholds=[0.15, 0.3],
        confidence=0.9,
    )  # fmt: skip
    found = report.to_frame("tiers")
    for name in ("share", "share_lower", "share_upper", "rest", "difference_lower", "ratio_upper"):
        np.testing.assert_allclose(found[name], table[name])
    weight = book["exposure"] * (people == "f")
    assert found["share"][0] == pytest.approx(weight @ (book["price"] > 0.15) / weight.sum())
    default = audit(None, book["price"], people, sample_weight=book["exposure"], **QUICK).to_dict()["tiers"]
    expected = np.quantile(book["price"], default["quantiles"], weights=book["exposure"], method="inverted_cdf")
    np.testing.assert_allclose(default["thresholds"], expected)


@pytest.mark.parametrize(("bad", "error"), [([2, 1], ValueError), ("a", TypeError), ([np.nan], ValueError)])
def test_bad_thresholds(book, bad, error):
    with pytest.raises(error, match="tier_thresholds must be"):
        audit(None, book["price"], book["people"]["gender"], tier_thresholds=bad, **QUICK)


# --- best estimates ------------------------------------------------------------------------------------------------


def test_proxy_discrimination_by_a_model(book):
    X = book["features"][["mileage"]].assign(carrier=(book["people"]["gender"] == "m") + 0.0)
    gender, weights = book["people"]["gender"], book["exposure"]
    # Men pay for the carrier, which says who they are; best estimates know of the gender itself.
    target = book["observed"] * np.where(gender == "m", 1.6, 1.0)
    model = DiscriminationFreeRegressor(DCovPoissonRegressor(strength=0, alpha=0.1))
    model.fit(X[["mileage"]], target, sample_weight=weights, sensitive_features=gender)
    price = model.best_estimates(X[["mileage"]])
    price = np.where(gender == "m", price[:, 1], price[:, 0])
    options = {"sample_weight": weights, "features": X, **QUICK}
    report = audit(target, price, gender, best_estimates=model, **options)
    found = report.to_dict()["proxy_discrimination"]
    expected = proxy_discrimination(price, model.best_estimates(X[["mileage"]]), sample_weight=weights)
    assert found["prices"][0]["proxy_discrimination"] == pytest.approx(expected)
    assert expected > 0.01
    assert [row["price"] for row in found["prices"]] == ["y_pred", "admissible", "discrimination_free"]
    assert found["prices"][2]["proxy_discrimination"] == 0
    assert found["features"][0]["feature"] == "carrier"
    assert sum(row["effect"] for row in found["features"]) == pytest.approx(expected)
    assert "## Proxy discrimination" in report.to_markdown()
    same = audit(target, price, gender, best_estimates=model.best_estimates(X[["mileage"]]), **options).to_dict()
    assert same["proxy_discrimination"]["prices"][0] == found["prices"][0]
    with pytest.raises(ValueError, match="best_estimates is a model, which needs features"):
        audit(None, price, gender, best_estimates=model, **QUICK)
    with pytest.raises(ValueError, match="best_estimates was fitted to 'mileage', which is not a column"):
        audit(None, price, gender, best_estimates=model, features=X[["carrier"]], **QUICK)
    with pytest.raises(ValueError, match=r"best_estimates must have shape \(n, K\)"):
        audit(None, price, gender, best_estimates=price, **QUICK)


# --- forms ---------------------------------------------------------------------------------------------------------


def test_the_schema_holds(soft_data):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(AuditReport.json_schema()).validate(soft_data)


def test_reports_of_the_last_schema_are_read_and_shown(book):
    old = audit(None, book["price"], book["people"]["gender"], **QUICK).to_dict() | {"schema_version": "1.2"}
    for name in ("tiers", "conditional", "proxy_discrimination", "left_out"):
        del old[name]
    for name in ("control_features", "best_estimates"):
        del old["data"][name]
    report = AuditReport.from_json(json.dumps(old))
    assert "Tiers" not in report.to_markdown()
    assert len(report.to_frame("conditional")) == len(report.to_frame("tiers")) == len(report.to_frame("prices")) == 0
