"""Are the gaps within the tolerance? What the page opens with, and the section."""

import json

import numpy as np
import pandas as pd
import pytest

from fairdcov.inference import equivalence_test
from fairdcov.report import AuditReport, audit

from .conftest import BINS, LEGITIMATE

QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}


@pytest.fixture
def tariff(rng):
    """Prices of 3,000 policies: the same in the mean for both genders, 30 % higher in the west."""
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], 3_000), "region": rng.choice(["east", "west"], 3_000)})
    return rng.gamma(50.0, size=3_000) * np.where(people["region"] == "west", 1.3, 1.0), people


def test_the_section_is_the_equivalence_test(book, prediction, data):
    found = data["equivalence"]
    assert [test["measure"] for test in found["tests"]] == ["relative_mean", "given_factors"]
    assert (found["tolerance"], found["adjust"]) == (0.1, "holm")
    assert found["alpha"] == pytest.approx(0.05)
    for test, given in zip(found["tests"], ({}, {"legitimate_features": book.data[LEGITIMATE]}), strict=True):
        expected = equivalence_test(
            prediction,
            book.sensitive_features,
            tolerance=0.1,
            measure=test["measure"],
            sample_weight=book.exposure,
            bins=BINS,
            min_group_size=40,
            **given,
        )
        assert test["outcome"] == expected.outcome
        assert test["attributes"] == expected.attributes
        for row, wanted in zip(test["groups"], expected.groups, strict=True):
            assert row["too_small"] == (row["rows"] < 40)
            for name, value in wanted.items():
                assert row[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    assert found["outcome"] == found["tests"][1]["outcome"]
    assert found["decided_by"] == "given_factors"


def test_the_page_opens_with_it_and_the_summary_says_it(report, data):
    text = report.to_markdown()
    opening = text.partition("## Summary")[0]
    for part in data["equivalence"]["tests"][-1]["attributes"]:
        name = " × ".join(part["attributes"])
        assert f"- **{name}: {part['outcome']}**: of {part['n_groups']} groups {part['n_within']} within" in opening
    assert text.index("## Summary") < text.index("## Within tolerance?") < text.index("## What was audited")
    assert "from -9.09 % to 10.00 %" in text
    assert "Legitimate factors were named: the gaps given these factors decide." in text
    sentences = [sentence for sentence in report.summary.splitlines() if sentence.startswith("Gaps of mean pred")]
    assert len(sentences) == 2
    assert "given vehicle_power, policy_duration" in sentences[1]
    assert "gender × region × age" in sentences[0]


def test_the_tables(report, data):
    attributes, groups = report.to_frame("equivalence"), report.to_frame("equivalence_groups")
    assert set(attributes["measure"]) == set(groups["measure"]) == {"relative_mean", "given_factors"}
    assert len(groups) == sum(len(test["groups"]) for test in data["equivalence"]["tests"])
    assert set(attributes["attributes"]) == {"gender", "region", "age", "gender × region × age"}


def test_without_a_tolerance_there_is_no_section(tariff):
    prices, people = tariff
    report = audit(None, prices, people, **QUICK)
    assert report.to_dict()["equivalence"] is None
    assert "tolerance" not in report.to_markdown().partition("## Limits")[0]
    assert len(report.to_frame("equivalence")) == 0


def test_reports_of_the_last_schema_are_read_and_shown(tariff):
    prices, people = tariff
    old = audit(None, prices, people, **QUICK).to_dict()
    del old["equivalence"]
    old["schema_version"] = "1.1"
    report = AuditReport.from_json(json.dumps(old))
    assert "Within tolerance?" not in report.to_markdown()
    assert len(report.to_frame("equivalence_groups")) == 0


def test_outcomes_of_groups_and_attributes(tariff):
    prices, people = tariff
    found = audit(None, prices, people, tolerance=0.05, **QUICK).to_dict()["equivalence"]
    assert found["decided_by"] == "relative_mean"
    assert found["outcome"] == "outside tolerance"
    (test,) = found["tests"]
    assert {part["attributes"][0]: part["outcome"] for part in test["attributes"][:2]} == {
        "gender": "within tolerance",
        "region": "outside tolerance",
    }


def test_the_confidence_is_the_level_of_the_tests(tariff):
    prices, people = tariff
    found = audit(None, prices, people, tolerance=0.05, confidence=0.99, **QUICK)
    assert found.to_dict()["equivalence"]["alpha"] == pytest.approx(0.01)
    assert "Intervals at 98 %" in found.to_markdown()
    with pytest.raises(ValueError, match=r"confidence must be above 0.5 where a tolerance is given; found 0.4"):
        audit(None, prices, people, tolerance=0.05, confidence=0.4, **QUICK)


def test_a_constant_attribute_is_left_out(tariff):
    prices, people = tariff
    found = audit(None, prices, people.assign(all="same"), tolerance=0.05, **QUICK).to_dict()
    attributes = [part["attributes"] for part in found["equivalence"]["tests"][0]["attributes"]]
    assert attributes == [["gender"], ["region"], ["gender", "region"]]
    nothing = audit(None, prices, ["same"] * len(prices), tolerance=0.05, **QUICK)
    assert nothing.to_dict()["equivalence"]["outcome"] == "not enough evidence"
    assert "there are no gaps to judge" in nothing.summary


def test_factors_that_determine_the_attributes_are_said(tariff):
    prices, people = tariff
    report = audit(
        None,
        prices,
        people["region"],
        features=pd.DataFrame({"zone": people["region"]}),
        legitimate_features=["zone"],
        tolerance=0.5,
        **QUICK,
    )
    found = report.to_dict()["equivalence"]
    assert [test["outcome"] for test in found["tests"]] == ["within tolerance", "not enough evidence"]
    assert found["outcome"] == "not enough evidence"
    assert "determine the groups" in found["tests"][1]["reason"]
    assert "determine the groups" in report.to_markdown()


@pytest.mark.parametrize(
    ("tolerance", "error", "message"),
    [
        (0.0, ValueError, "tolerance must be a finite number > 0"),
        ("5 %", TypeError, "tolerance must be a number"),
    ],
)
def test_bad_tolerances(tariff, tolerance, error, message):
    prices, people = tariff
    with pytest.raises(error, match=message):
        audit(None, prices, people, tolerance=tolerance, **QUICK)


def test_predictions_without_relative_gaps_and_too_few_rows(tariff):
    prices, people = tariff
    with pytest.raises(ValueError, match=r"too few to ever decide.*min_group_size=100 rows each, 200 in all"):
        audit(None, prices[:150], people[:150], tolerance=0.05, **QUICK)
    prices[3] = -1.0
    with pytest.raises(ValueError, match=r"y_pred must be positive where a tolerance is given.*1 value.*such as -1"):
        audit(None, prices, people, tolerance=0.05, **QUICK)
