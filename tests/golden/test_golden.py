"""The numbers are those that ``make_golden.py`` stored: a change of the code that means to change none changes none."""

import pytest

from .make_golden import AREAS, TERMS, compare, differences, read_area, reason_to_skip

STORED = {area: read_area(area) for area in AREAS}
CASES = [pytest.param(area, case, id=f"{area}: {case}") for area, stored in STORED.items() for case in stored["cases"]]


@pytest.mark.parametrize(("area", "case"), CASES)
def test_the_numbers_are_what_they_were(area, case):
    reason = reason_to_skip(area, STORED[area]["made_with"])
    if reason:
        pytest.skip(reason)
    found = compare(area, case, STORED[area]["cases"][case])
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:20])


def test_every_case_is_stored():
    assert TERMS.keys() == AREAS.keys()
    for area, cases in AREAS.items():
        if reason_to_skip(area) is None:
            assert list(cases()) == list(STORED[area]["cases"]), area


@pytest.mark.parametrize(
    ("found", "stored", "differs"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.0 + 1e-12]}, False),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.00001]}, True),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, True),
        ({"a": 1.0}, {"b": 1.0}, True),
        ({"a": 1}, {"a": True}, True),
        ({"a": None}, {"a": 0.0}, True),
        (float("nan"), float("nan"), False),
        (float("nan"), 0.0, True),
        (float("inf"), float("inf"), False),
        ("p 0.123", "p 0.124", False),
        ("p 0.123", "p 0.126", True),
        ("p 12", "p 13", True),
        ("p 0.123", "q 0.123", True),
        ("p 1,234.5", "p 1,234.6", False),
        ("1.25,3.5,100.5,2", "1.25,3.6,100.5,2", False),
        ("1.25,3.5,100.5,2", "1.25,3.8,100.5,2", True),
        ("version 1.2.3 of 2024-01-05", "version 1.2.3 of 2024-01-06", True),
        ("url(#lift-p1f60d9fe55) 1.5", "url(#lift-p7d262e219c) 1.5", False),
        ("url(#lift-p1f60d9fe55) 1.5", "url(#tiers-p7d262e219c) 1.5", True),
    ],
)
def test_differences_are_found(found, stored, differs):
    assert bool(differences(found, stored, 1e-9, 1e-12)) == differs


def test_some_quantities_may_be_looser():
    found, stored = {"iterations": 11, "value": 11.0}, {"iterations": 12, "value": 12.0}
    assert len(differences(found, stored, 1e-9, 0.0, loose={"iterations": (0.1, 3)})) == 1
