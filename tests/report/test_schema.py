"""The JSON Schema that ships with the package, on real reports."""

import copy
import re
import shlex
from pathlib import Path

import pytest

from fairdcov.report import AuditReport, audit

jsonschema = pytest.importorskip("jsonschema")

QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}
WORKFLOW = Path(__file__).parents[2] / "docs" / "tariff_gate.yml"


@pytest.fixture(scope="module")
def validator():
    schema = AuditReport.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_report_with_every_section(validator, data):
    validator.validate(data)
    assert set(AuditReport.json_schema()["required"]) == set(data)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tolerance": 0.05},
        {"min_group_size": 1_000},
        {"sensitive_features": ["same"] * 400},
        {"y_true": None},
        {"y_pred": [0.3] * 400, "tolerance": 0.05},
        {"metadata": {"alternatives": ["none"], "scope": None}},
        {"features": [[1.0, 2.0]] * 400, "legitimate_features": ["x0"], "tolerance": 0.1},
    ],
)
def test_reports_of_little(validator, rng, options):
    u = rng.gamma(5, 0.1, 400)
    given = {"y_true": rng.poisson(u), "y_pred": u, "sensitive_features": rng.choice(["f", "m"], 400), **options}
    validator.validate(audit(**given, **QUICK).to_dict())


def test_four_rows(validator):
    validator.validate(audit([0, 1, 0, 2], [0.5, 1.0, 0.5, 1.0], ["f", "m", "f", "m"], **QUICK).to_dict())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), "another"),
        (("schema_version",), "2.0"),
        (("equivalence", "outcome"), "fine"),
        (("equivalence", "tolerance"), 0),
        (("equivalence", "tests", 0, "groups", 0, "p_within"), 1.2),
        (("equivalence", "tests", 0, "groups", 0, "rows"), "many"),
        (("groups", 0, "groups", 0, "too_small"), None),
        (("summary",), "one sentence"),
    ],
)
def test_what_is_no_report_is_refused(validator, data, place, value):
    broken = copy.deepcopy(data)
    part = broken
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(broken)
    del part[place[-1]]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(broken)


def test_the_command_of_the_workflow_is_one():
    if not WORKFLOW.exists():
        pytest.skip("the tests run away from the repository, without docs/")
    from fairdcov.cli._parser import make_parser

    text = WORKFLOW.read_text(encoding="utf-8")
    command = re.search(r"run: >\n((?: {10}.*\n)+)", text)[1]
    program, *arguments = shlex.split(command)
    options = make_parser().parse_args(arguments)
    assert program == "fairdcov"
    assert (options.tolerance, options.fail_if, options.fail_if_unsure) == (0.05, "outside", True)
