"""``fairdcov audit``: predictions of other systems, in the units and formats that they have."""

import json

import numpy as np
import pytest

from fairdcov import report

from .conftest import check_refused, portfolio

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

ROLES = ["--target", "claims", "--exposure", "exposure", "--sensitive", "gender", "region"]
FILES = {".fairdcov-output", "report.html", "report.json", "report.md"}


def predictions(n_policies=400):
    """A portfolio with a tariff per year of exposure, and the one before."""
    frame = portfolio(n_policies)
    rate = 0.15 * np.exp(0.02 * (frame["mileage"] - 12) / 3)
    return frame.assign(
        rate=rate, expected=rate * frame["exposure"], before=0.15 * np.exp(0.01 * frame["vehicle_power"] - 0.9)
    )


@pytest.fixture
def spy(monkeypatch):
    """What the audit was called with, instead of an audit."""
    calls = []

    class Report:
        summary = "as it is"

        def to_html(self, path):
            path.write_text("<html>", encoding="utf-8")

        def to_json(self, path):
            path.write_text("{}", encoding="utf-8")

        def to_markdown(self, path):
            path.write_text("#", encoding="utf-8")

    def audit(*arguments, **options):
        calls.append((arguments, options))
        return Report()

    monkeypatch.setattr(report, "audit", audit)
    return calls


def test_report_of_a_tariff(run, save, tmp_path):
    path = save(predictions())
    result = run(
        "audit", path, "--prediction", "rate", *ROLES, "age", "--bins", "age=0,25,40,60,120", "--baseline", "before",
        "--features", "mileage", "vehicle_type", "--legitimate", "mileage", "--output", tmp_path / "out", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    assert "400 rows, 9 of 18 columns" in result.out
    json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for text in ("gender", "region", "age", "mileage"):
        assert text in page


def test_the_same_rows_reach_the_audit_whatever_the_format(run, save, spy, tmp_path):
    frame = predictions()
    frame.loc[[3, 5], ["exposure", "claims"]] = 0.0
    paths = [
        save(frame),
        save(frame, "a.csv"),
        save(frame, "b.csv", sep=";", decimal=",", encoding="cp1252"),
        save(frame, "c.txt", sep="\t", encoding="utf-16"),
    ]
    for number, path in enumerate(paths):
        arguments = ["--prediction", "rate", *ROLES, "age", "--features", "mileage", "vehicle_type", "--seed", "7"]
        result = run("audit", path, *arguments, "--output", tmp_path / f"out{number}", "--quiet")
        assert result.code == 0, result.err
        assert "left out 2 row(s) without exposure and without claims" in result.out
    kept = frame.drop(index=[3, 5])
    for (target, prediction, sensitive), options in spy:
        np.testing.assert_allclose(target, kept["claims"] / kept["exposure"], rtol=1e-12)
        np.testing.assert_allclose(prediction, kept["rate"], rtol=1e-12)
        np.testing.assert_allclose(options["sample_weight"], kept["exposure"], rtol=1e-12)
        assert sensitive["gender"].tolist() == kept["gender"].tolist()
        np.testing.assert_array_equal(sensitive["age"], kept["age"])
        np.testing.assert_allclose(options["features"]["mileage"], kept["mileage"])
        assert options["features"]["vehicle_type"].tolist() == kept["vehicle_type"].tolist()
        assert options["random_state"] == 7
        assert options["bins"] == {"age": 5}
        assert options["verbose"] == 0
        assert options["metadata"]["prediction"] == "rate"


def test_units_of_predictions(run, save, spy, tmp_path):
    frame = predictions()
    path = save(frame)
    for number, arguments in enumerate((["rate"], ["expected", "--predictions-are", "total"])):
        result = run("audit", path, "--prediction", *arguments, *ROLES, "--output", tmp_path / f"out{number}")
        assert result.code == 0, result.err
        assert "check the unit" not in result.out
        np.testing.assert_allclose(spy[number][0][1], frame["rate"], rtol=1e-12)
    # with short exposures the wrong unit is far off, and the other reading is not
    short = frame.assign(exposure=frame["exposure"] / 10, expected=frame["expected"] / 10, rate=frame["rate"] * 10)
    short["expected"] = short["rate"] * short["exposure"]
    result = run("audit", save(short), "--prediction", "expected", *ROLES, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    assert "with --predictions-are total: check the unit of 'expected'" in result.out


def test_without_target_and_exposure(run, save, spy, tmp_path):
    result = run(
        "audit", save(predictions()), "--prediction", "rate", "--sensitive", "gender", "--output", tmp_path / "out"
    )
    assert result.code == 0, result.err
    (target, _, _), options = spy[0]
    assert target is None
    assert options["sample_weight"] is None
    assert options["features"] is None
    assert options["baseline"] is None


def test_hostile_names(run, pictures, save, tmp_path):
    frame = predictions()
    frame["gender"] = (
        frame["gender"].astype(object).replace({"male": "<script>alert(1)</script>", "female": "=SUM(A1)"})
    )
    result = run("audit", save(frame), "--prediction", "rate", *ROLES, "--output", tmp_path / "out", "--quiet")
    assert result.code == 0, result.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


BAD = {
    "prediction": (["--prediction", "rat"], "--prediction names 'rat', which is not a column"),
    "nearest": (["--baseline", "befor"], "did you mean 'before'?"),
    "text": (["--prediction", "vehicle_type"], "--prediction: column 'vehicle_type' must be numbers; found"),
    "missing": (
        ["--prediction", "gappy"],
        "--prediction: column 'gappy' has 1 missing value(s), the first in data row 6",
    ),
    "infinite": (["--prediction", "endless"], "--prediction: column 'endless' has 1 infinite value(s)"),
    "seed": (["--seed", "-1"], "--seed must be at least 0"),
    "dates": (["--features", "start"], "--features: column 'start' has values of type"),
    "constant attribute": (["--sensitive", "constant"], "--sensitive: column 'constant' has the same value"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_options(run, save, tmp_path, what):
    frame = predictions(100).assign(gappy=0.5, endless=0.5, constant="a", start=np.datetime64("2024-01-01", "s"))
    frame.loc[5, ["gappy", "endless"]] = [np.nan, np.inf]
    arguments, message = BAD[what]
    for option, values in {"--prediction": ["rate"], "--sensitive": ["gender"]}.items():
        if option not in arguments:
            arguments = [*arguments, option, *values]
    path = save(frame)
    check_refused(run("audit", path, *arguments, "--output", tmp_path / "out", "--quiet"), message)
    assert list(tmp_path.iterdir()) == [path]


def test_totals_need_an_exposure(run, save, tmp_path):
    arguments = ["--prediction", "expected", "--predictions-are", "total", "--sensitive", "gender"]
    result = run("audit", save(predictions(100)), *arguments, "--output", tmp_path / "out")
    check_refused(result, "--predictions-are total needs --exposure")


def test_what_the_target_is_taken_for_is_said(run, save, spy, tmp_path):
    frame = predictions().assign(cost=lambda frame: 100.5 * frame["claims"])
    path = save(frame)
    whole = "since observed values times exposure are whole numbers; --task says otherwise"
    cases = (
        ("claims", [], f"taken for a claim frequency and judged by the Poisson deviance, {whole}"),
        ("cost", [], "taken for a pure premium and judged by the Tweedie deviance of power 1.5, since"),
        ("claims", ["--task", "frequency"], None),
    )
    for number, (target, task, said) in enumerate(cases):
        roles = ["--target", target, "--exposure", "exposure", "--sensitive", "gender", *task]
        result = run("audit", path, "--prediction", "rate", *roles, "--output", tmp_path / f"out{number}")
        assert result.code == 0, result.err
        assert ("is taken for" in result.out) == (said is not None)
        assert said is None or said in result.out


@pytest.mark.parametrize("wrong", [0.0, -0.25])
def test_a_prediction_that_cannot_be_is_refused_in_words_of_the_command_line(run, save, tmp_path, wrong):
    frame = predictions()
    frame.loc[3, ["exposure", "claims"]] = 0.0
    row = int(np.flatnonzero(frame["claims"] > 0)[2])
    frame.loc[row, "rate"] = wrong
    path = save(frame)
    message = (
        "--task frequency needs predictions that are not negative, and positive where something was observed; column "
        f"'rate' has 1 other value(s), the first is {wrong:g} in data row {row + 1}: correct them"
    )
    arguments = ["audit", path, "--prediction", "rate", *ROLES, "--output", tmp_path / "out", "--quiet"]
    check_refused(run(*arguments), message)
    assert list(tmp_path.iterdir()) == [path]
    result = run(*arguments, "--task", "regression")
    assert result.code == 0, result.err
    # beside a baseline changes are relative
    changed = predictions()
    changed.loc[7, "before"] = wrong
    result = run(*arguments[:1], save(changed), *arguments[2:], "--baseline", "before", "--force")
    check_refused(result, "--baseline: column 'before' must be above 0, since changes are relative; found 1")
    assert "data row 8" in result.err


def test_an_existing_folder_is_kept_without_force(run, save, spy, tmp_path):
    path, output = save(predictions(100)), tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("precious")
    arguments = ["audit", path, "--prediction", "rate", "--sensitive", "gender", "--output", output]
    check_refused(run(*arguments), "exists; name another folder")
    check_refused(run(*arguments, "--force"), "was not written by fairdcov")
    assert (output / "mine.txt").read_text() == "precious"
    assert not spy


def test_force_keeps_the_input(run, save, spy, tmp_path):
    output = tmp_path / "out"
    arguments = ["--prediction", "rate", "--sensitive", "gender", "--output", output, "--force"]
    assert run("audit", save(predictions(100)), *arguments).code == 0
    book = (tmp_path / "book.parquet").rename(output / "book.parquet")
    check_refused(run("audit", book, *arguments), f"is the folder that {book} is in, which would go")
    assert book.exists()
    assert len(spy) == 1


# --- the gate ------------------------------------------------------------------------------------------------------


def gated(run, save, tmp_path, ratio, *options):
    """Exit code and report of a tariff with so much higher prices for one gender."""
    frame = predictions(1_200)
    frame["rate"] = 0.15 * np.where(frame["gender"] == frame["gender"].iloc[0], ratio, 1.0)
    # Prices that are not all the same in a group.
    frame["rate"] *= 1 + 0.2 * np.sin(np.arange(len(frame)))
    arguments = ["--prediction", "rate", "--exposure", "exposure", "--sensitive", "gender", "--quiet", *options]
    result = run("audit", save(frame), *arguments, "--output", tmp_path / "out")
    return result, json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["equivalence"]


@pytest.mark.parametrize(
    ("ratio", "outcome", "options", "code"),
    [
        (1.0, "within tolerance", ["--fail-if", "outside", "--fail-if-unsure"], 0),
        (1.5, "outside tolerance", ["--fail-if", "outside"], 4),
        (1.5, "outside tolerance", ["--fail-if", "outside", "--fail-if-unsure"], 4),
        (1.5, "outside tolerance", ["--fail-if-unsure"], 5),
        (1.5, "outside tolerance", [], 0),
        (1.1, "not enough evidence", ["--fail-if", "outside"], 0),
        (1.1, "not enough evidence", ["--fail-if", "outside", "--fail-if-unsure"], 5),
    ],
)
def test_the_gate(run, save, tmp_path, ratio, outcome, options, code):
    result, found = gated(run, save, tmp_path, ratio, "--tolerance", "0.1", *options)
    assert found["outcome"] == outcome
    assert result.code == code, result.err
    assert (f"exit code {code}" in result.out) == (code > 0)
    assert "wrote report.html" in result.out


def test_no_tolerance_no_section(run, save, tmp_path):
    result, found = gated(run, save, tmp_path, 1.5)
    assert (result.code, found) == (0, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fail-if", "outside"], "--fail-if needs --tolerance"),
        (["--fail-if-unsure"], "--fail-if-unsure needs --tolerance"),
        (["--tolerance", "0"], "--tolerance must be a finite number > 0; found 0"),
        (["--tolerance", "nan"], "--tolerance must be a finite number > 0; found nan"),
    ],
)
def test_a_gate_without_a_tolerance(run, save, tmp_path, options, message):
    arguments = ["audit", save(predictions()), "--prediction", "rate", *ROLES, *options, "--output", tmp_path / "out"]
    check_refused(run(*arguments), message)
    assert not (tmp_path / "out").exists()
