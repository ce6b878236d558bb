"""The report as an object: its schema, its tables, what it says of bad and of little input."""

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from fairdcov.actuarial import write_csv
from fairdcov.encoding import SensitiveColumn, _attributes
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.report import AuditReport, audit
from fairdcov.report._summary import number, p_value, percent

from .conftest import page_of

QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}
SECTIONS = {
    "schema",
    "schema_version",
    "created",
    "metadata",
    "data",
    "settings",
    "software",
    "summary",
    "remarks",
    "balance",
    "lift",
    "groups",
    "distributions",
    "pairs",
    "tiers",
    "dependence",
    "conditional",
    "proxy_discrimination",
    "left_out",
    "partial",
    "proxies",
    "change",
    "cost",
    "frontier",
    "binning",
    "alternatives",
    "equivalence",
    "limits",
    "rules",
}
FRAMES = (
    "groups",
    "measures",
    "too_small",
    "pairs",
    "tiers",
    "dependence",
    "partial",
    "proxies",
    "proxy_prediction",
    "lift",
    "double_lift",
    "premium_changes",
    "premium_changes_by_group",
    "before_after",
    "cross_subsidies",
    "binning",
    "alternatives",
    "equivalence",
    "equivalence_groups",
)


def small(rng, n=300):
    u = rng.gamma(5, 0.1, n)
    return rng.poisson(u).astype(float), u, rng.choice(["f", "m"], n)


# --- schema and forms ----------------------------------------------------------------------------------------------


def test_the_keys_are_those_of_the_schema(data):
    assert set(data) == SECTIONS
    assert (data["schema"], data["schema_version"]) == ("fairdcov.audit", "1.3")
    assert set(data["groups"][0]["groups"][0]) == {
        "label",
        "levels",
        "rows",
        "exposure",
        "share",
        "observed_total",
        "lower",
        "upper",
        "bootstrap_lower",
        "bootstrap_upper",
        "predicted",
        "observed",
        "actual_to_expected",
        "deviance",
        "too_small",
    }


def test_json_is_strict_and_plain(report, data, tmp_path):
    text = report.to_json(tmp_path / "report.json", indent=None)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse) == data
    assert (tmp_path / "report.json").read_text() == text
    assert "\n" not in text


def test_the_report_does_not_share_its_data(report):
    report.to_dict()["groups"].clear()
    assert report.to_dict()["groups"]


def test_the_same_seed_gives_the_same_figures(rng):
    y, u, group = small(rng)
    found = [audit(y, u, group, n_permutations=9, n_bootstrap=20, verbose=0).to_dict() for _ in range(2)]
    other = audit(y, u, group, n_permutations=9, n_bootstrap=20, random_state=1, verbose=0).to_dict()
    for part in (*found, other):
        part.pop("created")
    assert found[0] == found[1]
    assert found[0]["groups"] != other["groups"]


def test_the_time_can_be_fixed(rng, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert audit(*small(rng), **QUICK).to_dict()["created"] == "1970-01-01T00:00:00+00:00"


@pytest.mark.parametrize("section", FRAMES)
def test_every_section_is_a_table(report, section):
    table = report.to_frame(section)
    assert len(table)
    assert not any(isinstance(value, dict | list) for value in table.to_numpy().ravel())


@pytest.mark.parametrize("section", FRAMES)
def test_a_section_that_is_not_there_is_an_empty_table(rng, section):
    _, u, group = small(rng)
    table = audit(None, u, group, min_group_size=10, **QUICK).to_frame(section)
    assert (len(table) > 0) == (section in ("groups", "measures", "pairs", "tiers", "dependence"))


def test_an_unknown_section_is_named(report):
    with pytest.raises(ValueError, match=r"section must be one of 'groups'.*found 'gruops'"):
        report.to_frame("gruops")


def test_tables_can_be_saved_for_a_spreadsheet(rng, tmp_path):
    y, u, _ = small(rng)
    report = audit(y, u, rng.choice(["=SUM(A1)", "b"], len(u)), **QUICK)
    write_csv(report.to_frame("groups"), tmp_path / "groups.csv")
    assert '"=SUM' not in (tmp_path / "groups.csv").read_text()
    assert "\n=SUM" not in (tmp_path / "groups.csv").read_text()


def test_the_summary_names_the_figures(report, data):
    assert report.summary == str(report) == "\n".join(data["summary"])
    assert "3,000 rows" in report.summary
    assert f"{data['balance']['actual_to_expected']:.3f}" in report.summary
    assert "too small to judge" in report.summary
    assert repr(report) == "<AuditReport of 3,000 rows, attributes: gender, region, age>"


def test_the_notebook_shows_the_summary_escaped(rng):
    y, u, _ = small(rng)
    report = audit(y, u, np.where(u > np.median(u), "<b>", "c"), **QUICK)
    assert "&lt;b&gt;" in report._repr_html_()
    assert "<b>" not in report._repr_html_()


def test_reports_of_another_schema_are_refused(data):
    with pytest.raises(ValueError, match=r"schema 'fairdcov\.audit'"):
        AuditReport({"schema": "other"})
    with pytest.raises(ValueError, match=r"reads reports of schema 1\.3; found 2\.0"):
        AuditReport(data | {"schema_version": "2.0"})


def test_a_progress_bar_is_shown_when_wanted(rng, capsys):
    audit(*small(rng), **(QUICK | {"verbose": 1}))
    assert "audit" in capsys.readouterr().err
    audit(*small(rng), **QUICK)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_the_error_names_it(package, report, monkeypatch):
    from fairdcov.report import _html

    if package != "matplotlib":
        pytest.importorskip("matplotlib")  # which is asked for first

    _html._template.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    extra = {"jinja2": "report", "matplotlib": "plots"}[package]
    with pytest.raises(ImportError, match=rf"AuditReport.to_html needs.*fairdcov\[{extra}\]"):
        report.to_html()
    assert report.to_markdown().startswith("# Audit")
    _html._template.cache_clear()


def test_the_figures_need_neither_pictures_nor_pages():
    program = (
        "import sys\n"
        "for name in ('matplotlib', 'jinja2'):\n"
        "    sys.modules[name] = None\n"
        "from fairdcov.report import audit\n"
        "report = audit([0, 1, 0, 2], [.5, 1, .5, 1], list('fmfm'), min_group_size=2, verbose=0)\n"
        "report.to_json(); report.to_markdown(); print(report.to_frame())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ, timeout=120
    )
    assert run.returncode == 0, run.stderr


def _intervals(data, place=()):
    """Every pair of ends in the data, under the place and the kind of interval."""
    found = {}
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(value, dict | list):
            found |= _intervals(value, (*place, key))
        elif key in ("lower", "bootstrap_lower") and place[0] != "pairs":
            found[(*place, key)] = value, data[key.replace("lower", "upper")]
    return found


def test_all_intervals_have_the_confidence_asked_for(rng):
    y, u, group = small(rng)
    given = {"baseline": u[::-1], "n_permutations": 0, "n_bootstrap": 100, "verbose": 0}
    wide, narrow = (audit(y, u, group, confidence=level, **given).to_dict() for level in (0.95, 0.5))
    wide_ends, narrow_ends = _intervals(wide), _intervals(narrow)
    assert {place[:2] for place in wide_ends} >= {
        ("balance", "lower"), ("change", "before"), ("change", "after"), ("change", "double_lift"), ("lift", "table"),
        ("groups", 0),
    }  # fmt: skip
    assert wide_ends.keys() == narrow_ends.keys()
    for place, (low, high) in narrow_ends.items():
        assert wide_ends[place][0] < low < high < wide_ends[place][1], place
    for name in ("lower", "upper"):
        assert narrow["change"]["after"][name] == narrow["balance"][name]


def test_attributes_are_read_once_and_crossed_once(book, prediction, monkeypatch):
    read, crossed = Counter(), Counter()
    real_read, real_cross = SensitiveColumn.__init__, _attributes.cross_columns

    def count_read(column, name, *arguments, **options):
        read[name] += 1
        real_read(column, name, *arguments, **options)

    def count_cross(columns, edges):
        crossed[tuple(columns), tuple((name, str(edge)) for name, edge in edges.items())] += 1
        return real_cross(columns, edges)

    monkeypatch.setattr(SensitiveColumn, "__init__", count_read)
    monkeypatch.setattr(_attributes, "cross_columns", count_cross)
    exposure = np.where(np.arange(len(prediction)) % 7 == 0, 0.0, book.exposure)
    report = audit(
        book.target,
        prediction,
        book.sensitive_features,
        sample_weight=exposure,
        features=book.data,
        baseline=book.fair_rate,
        legitimate_features=["vehicle_power"],
        tolerance=0.1,
        n_permutations=3,
        n_bootstrap=10,
        max_partial_rows=50,
        max_learning_rows=100,
        min_group_size=20,
        verbose=0,
    )
    absent = {"metadata", "alternatives", "conditional", "proxy_discrimination", "left_out", "frontier"}
    assert all(report.to_dict()[section] for section in SECTIONS - absent)
    # The legitimate factor is read for the gaps given it.
    assert read == {"gender": 1, "region": 1, "age": 1, "vehicle_power": 1}
    assert set(crossed.values()) == {1}
    crossed = [names for names, _ in crossed if names != ("vehicle_power",)]
    # singles, pairs, all; and age by three other numbers of groups, alone and in all
    assert len(crossed) == 7 + 2 * 3


# --- little input --------------------------------------------------------------------------------------------------


def test_without_observed_values(rng):
    _, u, group = small(rng)
    report = audit(None, u, group, features=pd.DataFrame({"x": rng.random(len(u))}), baseline=u * 1.1, **QUICK)
    found = report.to_dict()
    assert found["lift"] is None
    assert found["change"]["double_lift"] is None
    assert "observed" not in found["groups"][0]["groups"][0]
    assert found["change"]["by_attribute"][0]["change"] == pytest.approx(1 / 1.1 - 1)
    assert "No observed values" in page_of(report)


def test_a_single_group(rng):
    y, u, _ = small(rng)
    report = audit(
        y, u, np.full(len(u), "f"), features=pd.DataFrame({"x": u}), baseline=u, **(QUICK | {"n_permutations": 5})
    )
    found = report.to_dict()
    assert found["groups"][0]["n_compared"] == 0
    assert found["groups"][0]["measures"]["js_divergence"]["value"] is None
    assert found["dependence"][0]["value"] == 0
    assert found["proxies"]["prediction"][0]["note"] == "constant"
    assert any("is constant: nothing can depend on it" in remark for remark in found["remarks"])
    page_of(report)


def test_all_groups_too_small(rng):
    y, u, group = small(rng)
    report = audit(y, u, group, min_group_size=1000, baseline=u, **QUICK)
    found = report.to_dict()
    assert len(found["groups"][0]["too_small"]) == 2
    assert any("fewer than two groups have 1000 rows" in remark for remark in found["remarks"])
    assert found["groups"][0]["share_too_small"] == pytest.approx(1)
    page_of(report)


def test_a_constant_prediction(rng):
    y, u, group = small(rng)
    report = audit(y, np.full(len(u), 0.5), group, features=pd.DataFrame({"x": u}), n_permutations=5, verbose=0)
    found = report.to_dict()
    measures = found["groups"][0]["measures"]
    assert all(measure["value"] == 0 for measure in measures.values())
    assert found["dependence"][0]["test"]["p_value"] == 1
    assert found["distributions"] is None
    assert any("prediction is constant" in remark for remark in found["remarks"])
    page_of(report)


def test_a_group_without_claims(rng):
    y, u, group = small(rng)
    y[group == "f"] = 0
    report = audit(y, u, group, baseline=u, n_permutations=5, n_bootstrap=10, verbose=0)
    row = report.to_dict()["groups"][0]["groups"][0]
    assert (row["label"], row["observed"], row["actual_to_expected"], row["lower"]) == ("f", 0, 0, 0)
    assert row["upper"] > 0
    assert any("nothing was observed in 1 of 2 groups" in remark for remark in report.to_dict()["remarks"])
    page_of(report)


def test_no_claims_at_all(rng):
    _, u, group = small(rng)
    report = audit(np.zeros(len(u)), u, group, **QUICK)
    assert report.to_dict()["balance"]["gini"] is None
    assert report.to_dict()["balance"]["deviance"] > 0
    page_of(report)
    report.to_markdown()


def test_rows_of_zero_exposure_do_not_count(rng):
    y, u, group = small(rng)
    w = rng.uniform(0.5, 1, len(u))
    w[:50] = 0
    features = pd.DataFrame({"x": rng.random(len(u)), "c": rng.choice(list("xy"), len(u))})
    options = {"features": features, "baseline": u[::-1], "legitimate_features": ["x"], "max_partial_rows": 50}
    found = audit(y, u, group, sample_weight=w, **options, **QUICK).to_dict()
    options |= {"features": features[50:], "baseline": u[::-1][50:]}
    kept = audit(y[50:], u[50:], group[50:], sample_weight=w[50:], **options, **QUICK).to_dict()
    assert found["data"]["rows_without_exposure"] == 50
    assert any("50 row(s) of zero exposure" in remark for remark in found["remarks"])
    for name in ("groups", "balance", "dependence", "proxies", "partial", "change"):
        assert found[name] == kept[name]


def test_levels_of_rows_of_zero_exposure_do_not_count(rng):
    y, u, group = small(rng)
    w = np.where(np.arange(len(u)) < 50, 0.0, 1.0)
    S = pd.DataFrame({"a": np.where(w == 0, "only here", group), "b": rng.choice(["x", "y"], len(u))})
    found = audit(y, u, S, sample_weight=w, **QUICK).to_dict()
    kept = audit(y[50:], u[50:], S[50:], **QUICK).to_dict()
    for name in ("groups", "balance", "dependence"):
        assert found[name] == kept[name]


def test_four_rows():
    report = audit([0, 1, 0, 1], [0.2, 0.7, 0.3, 0.6], list("abab"), features=np.arange(8).reshape(4, 2), verbose=0)
    assert report.to_dict()["balance"]["task"] == "classification"
    page_of(report)
    with pytest.raises(ValueError, match="at least one row; found 0"):
        audit([], [], [], verbose=0)


def test_one_row():
    report = audit([1.0], [0.7], ["a"], features=[[1.0]], verbose=0)
    assert report.to_dict()["data"]["rows"] == 1
    page_of(report)


def test_three_attributes_have_pairs_and_an_intersection(data):
    assert [(section["kind"], len(section["attributes"])) for section in data["groups"]] == [
        ("attribute", 1),
        ("attribute", 1),
        ("attribute", 1),
        ("pair", 2),
        ("pair", 2),
        ("pair", 2),
        ("intersection", 3),
    ]


def test_pairs_left_out_are_named(rng):
    y, u, group = small(rng)
    S = pd.DataFrame({"a": group, "b": rng.choice(list("xy"), len(u)), "c": rng.choice([True, False], len(u))})
    found = audit(y, u, S, max_pairs=1, **QUICK).to_dict()
    assert len(found["groups"]) == 5
    assert any("max_pairs=1 without a section: a × c, b × c" in remark for remark in found["remarks"])


# --- input of many kinds -------------------------------------------------------------------------------------------


def test_polars_frames_give_the_same_report(rng):
    polars = pytest.importorskip("polars")
    y, u, group = small(rng)
    S = {"gender": group.tolist(), "age": rng.integers(18, 90, len(u)).tolist()}
    X = {"x": rng.random(len(u)).tolist(), "c": rng.choice(list("xyz"), len(u)).tolist()}
    options = {"legitimate_features": ["x"], "min_group_size": 10, "max_partial_rows": 50, **QUICK}
    found = [
        audit(y, u, module.DataFrame(S), features=module.DataFrame(X), **options).to_dict() for module in (pd, polars)
    ]
    for part in found:
        part.pop("created")
    assert found[0] == found[1]


def test_attributes_in_arrays_series_and_dicts(rng):
    y, u, group = small(rng)
    sections = [
        audit(y, u, given, **QUICK).to_dict()["groups"][0]["groups"]
        for given in (
            group,
            pd.Series(group, name="g"),
            {"g": group},
            group[:, None].tolist(),
            pd.DataFrame({"g": group}),
        )
    ]
    assert all([row["rows"] for row in section] == [row["rows"] for row in sections[0]] for section in sections)


def test_ages_are_cut_by_default_and_as_asked(rng):
    y, u, _ = small(rng, 600)
    S = pd.DataFrame({"age": rng.integers(18, 90, 600)})
    found = audit(y, u, S, **QUICK).to_dict()
    assert found["groups"][0]["n_groups"] == 5
    assert found["settings"]["bins"]["age"]["quantile_groups"] == 5
    for bins in ({"age": [-np.inf, 40, np.inf]}, {0: [-np.inf, 40, np.inf]}):
        found = audit(y, u, S, bins=bins, **QUICK).to_dict()
        assert found["settings"]["bins"]["age"]["edges"] == ["-inf", 40, "inf"]
        assert [group["label"] for group in found["groups"][0]["groups"]] == ["< 40", "≥ 40"]
    assert audit(y, u, S, bins=3, **QUICK).to_dict()["groups"][0]["n_groups"] == 3
    every = audit(y, u, S, bins={"age": None}, **QUICK).to_dict()
    assert every["groups"][0]["n_groups"] == S["age"].nunique()
    assert every["binning"] == []


def test_features_of_every_kind(rng):
    n = 300
    y, u, group = small(rng, n)
    X = pd.DataFrame(
        {
            "number": rng.random(n),
            "missing": np.where(rng.random(n) < 0.2, np.nan, rng.random(n)),
            "text": rng.choice(["a", None, "c"], n),
            "flag": rng.random(n) < 0.5,
            "day": pd.date_range("2024-01-01", periods=n),
            "policy": [f"P{k}" for k in range(n)],
            "nothing": np.full(n, np.nan),
            "constant": "x",
            "gender": group,
        }
    )
    report = audit(y, u, pd.DataFrame({"gender": group}), features=X, legitimate_features=["missing", "text"], **QUICK)
    found = report.to_dict()["proxies"]
    assert found["protected_features"] == ["gender"]
    assert found["skipped"] == [{"feature": "policy", "reason": "300 different values in 300 rows: not a factor"}]
    by_name = {entry["feature"]: entry for entry in found["features"]}
    assert set(by_name) == set(X) - {"gender", "policy"}
    assert by_name["nothing"]["jointly"] is None
    assert by_name["nothing"]["distance_correlation"] == by_name["constant"]["distance_correlation"] == {"gender": 0}
    assert by_name["text"]["share_missing"] == pytest.approx(X["text"].isna().mean())
    # The copy of the attribute is no proxy to learn from.
    assert found["prediction"][0]["value"] < 0.7
    page_of(report)


def test_legitimate_factors_beside_the_features(rng):
    y, u, group = small(rng)
    X, Z = pd.DataFrame({"x": rng.random(len(u))}), pd.DataFrame({"z": rng.random(len(u))})
    found = audit(y, u, group, features=X, legitimate_features=Z, max_partial_rows=50, **QUICK).to_dict()
    assert found["partial"]["given"] == ["z"]
    assert found["data"]["features"] == ["x", "z"]
    alone = audit(y, u, group, legitimate_features=Z, max_partial_rows=50, **QUICK).to_dict()
    assert alone["partial"] == found["partial"]


def test_metadata_of_any_type_becomes_json(rng):
    class Model:
        def __str__(self):
            return "a model"

    metadata = {
        "n": np.int64(3),
        "share": np.float32(0.5),
        "nan": float("nan"),
        "path": __import__("pathlib").Path("a/b"),
        "model": Model(),
        "when": pd.Timestamp("2024-01-01"),
        "set": {"b", "a"},
        1: [np.array([1.0, np.inf])],
        "alternatives": "none",
    }
    given = dict(metadata)
    found = audit(*small(rng), metadata=metadata, **QUICK).to_dict()
    assert metadata.keys() == given.keys()
    assert found["metadata"] == {
        "n": 3,
        "share": 0.5,
        "nan": None,
        "path": "a/b",
        "model": "a model",
        "when": "2024-01-01T00:00:00",
        "set": ["a", "b"],
        "1": [[1.0, None]],
    }
    assert found["alternatives"] == ["none"]


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_pred": [0.1, np.nan, 0.3, 0.4]}, "y_pred must be finite; found 1 NaN"),
        ({"y_true": [0.0, np.inf, 1, 1]}, "y_true must be finite"),
        ({"y_true": [0.0, 1.0]}, "y_true must have as many rows as y_pred: found 2 instead of 4"),
        ({"sensitive_features": ["a", "b"]}, "sensitive_features must have as many rows"),
        ({"sensitive_features": ["a", "b", None, "a"]}, "missing value"),
        ({"sample_weight": [0.0, 0, 0, 0]}, "sample_weight must not be all zero"),
        ({"sample_weight": [1.0, -1, 1, 1]}, "must not be negative"),
        ({"features": [[1], [2]]}, "features must have as many rows"),
        ({"baseline": [1.0, 0.0, 1, 1]}, "baseline must be positive"),
        ({"baseline": [1.0, 1.0]}, "baseline must have as many rows"),
        (
            {"baseline": np.ones(4), "y_pred": [-0.1, 0.2, 0.3, 0.4]},
            "y_pred must not be negative where there is a baseline",
        ),
        (
            {"features": np.ones((4, 1)), "legitimate_features": ["xx0"]},
            "names 'xx0'.*did you mean 'x0'",
        ),
        ({"legitimate_features": ["x"]}, "there are no features"),
        ({"task": "counts"}, "task must be one of 'auto', 'frequency'"),
        ({"min_group_size": 0}, "min_group_size must be a whole number >= 1; found 0"),
        ({"n_permutations": 1.5}, "n_permutations must be 'auto' or a whole number >= 0; found 1.5"),
        ({"n_bootstrap": "many"}, "n_bootstrap must be 'auto' or"),
        ({"confidence": 95}, "confidence must be between 0 and 1"),
        ({"max_partial_rows": 3}, "max_partial_rows must be a whole number >= 4"),
        ({"bins": {"x": 3}}, "bins names 'x'"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {
        "y_true": [0.0, 1, 0, 1],
        "y_pred": [0.1, 0.2, 0.3, 0.4],
        "sensitive_features": ["a", "b", "a", "b"],
        "verbose": 0,
    }
    with pytest.raises(ValueError, match=message):
        audit(**(given | change))


def test_missing_attributes_and_metadata_of_the_wrong_type():
    with pytest.raises(MissingSensitiveFeaturesError, match="audit needs sensitive_features"):
        audit([0.0, 1], [0.1, 0.2], None)
    with pytest.raises(TypeError, match="metadata must be a dict; found list"):
        audit([0.0, 1], [0.1, 0.2], ["a", "b"], metadata=["x"])


@pytest.mark.parametrize("argument", ["sensitive_features", "features"])
def test_repeated_column_names_are_refused(argument):
    twice = pd.DataFrame([["a", "b"]] * 4, columns=["g", "g"])
    given = {"sensitive_features": list("abab")} | {argument: twice}
    with pytest.raises(ValueError, match=f"{argument} must have distinct column names"):
        audit([0.0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], **given, verbose=0)


def test_a_deviance_that_is_not_defined_is_null_with_a_reason(rng):
    y, u, group = small(rng)
    found = audit(y, u, group, task="severity", **QUICK).to_dict()
    assert found["balance"]["deviance"] is None
    assert any("gamma deviance needs observed values that are positive" in remark for remark in found["remarks"])
    assert "deviance" not in found["groups"][0]["groups"][0]


def test_the_summary_says_what_is_kept(rng):
    u, group = rng.gamma(5, 0.1, 3_000), rng.choice(["f", "m"], 3_000)
    y = rng.poisson(u).astype(float)
    tried = [
        {"strength": 0.0, "kept": 1.0, "chosen": False},
        "by eye",
        {"strength": 12.0, "kept": 0.064, "chosen": True},
    ]
    found = audit(y, np.sqrt(u), group, baseline=u, metadata={"alternatives": tried}, **QUICK).to_dict()
    before, after = (found["change"][name]["deviance_explained"] for name in ("before", "after"))
    gini = [found["change"][name]["gini"] for name in ("before", "after")]
    assert found["summary"][-1] == (
        "The chosen strength, 12, keeps 6 % of what the model without penalty explains, by cross-validation."
    )
    assert found["summary"][2] == (
        f"Of the Poisson deviance the baseline explains {percent(before, 2)}, the predictions {percent(after, 2)}, "
        f"{percent(after / before, 0)} of it; Gini index {number(gini[0])} before, {number(gini[1])} now."
    )
    # a baseline that explains nothing has no share, and what is not observed is not explained
    worse = audit(y, u, group, baseline=1 / u, **QUICK).to_dict()["summary"]
    assert any("the baseline explains -" in text and "of it" not in text for text in worse)
    alone = audit(None, u, group, baseline=u, metadata={"alternatives": {"chosen": 1, "kept": "all"}}, **QUICK)
    assert not any("explains" in text for text in alone.to_dict()["summary"])


def test_the_page_says_what_is_predicted_and_why(rng):
    y, u, group = small(rng)
    pages = [audit(y, u, group, task=task, **QUICK).to_markdown() for task in ("auto", "frequency")]
    for page, chosen in zip(pages, ("since observed values are whole numbers", "as stated"), strict=True):
        assert f"claim frequency, {chosen}" in page
        assert "Poisson deviance" in page
    data = audit(y, u, group, **QUICK).to_dict()
    del data["settings"]["task_found_since"]
    assert "claim frequency, " not in AuditReport(data | {"schema_version": "1.0"}).to_markdown()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (3, "3"),
        (1234567, "1,234,567"),
        (1234.56, "1,235"),
        (0.12345, "0.123"),
        (0.00012345, "0.000123"),
        (1.2e-7, "1.20e-7"),
        (-0.5, "-0.500"),
        (40.0, "40"),
        (12.345, "12.3"),
        (0.9996, "1.00"),
        (True, "yes"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, text):
    assert number(value) == text


def test_shares_and_p_values_are_written_as_people_read_them():
    assert [percent(value) for value in (None, 0.1234, -0.0001, 12.0)] == ["–", "12.3 %", "0.0 %", "1,200.0 %"]
    assert [p_value(*given) for given in ((0.01, 99), (0.02, 99), (None, 99))] == ["≤ 0.01", "0.02", "–"]
