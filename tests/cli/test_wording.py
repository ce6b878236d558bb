"""What the library says reaches the user in the words of the command line."""

import ast
import re
import warnings
from pathlib import Path

import pytest

import fairdcov
from fairdcov.cli._remarks import notes_of_warnings
from fairdcov.cli._wording import in_options
from fairdcov.exceptions import CalibrationError

PACKAGE = Path(fairdcov.__file__).parent
# Arguments of functions, which nobody who types a command has seen.
PYTHON = re.compile(
    r"\b(sensitive_features|sample_weight|if_unmet|max_divergence|min_group_size|score_budget|y_true|y_pred|random_state|"
    r"legitimate_features|n_jobs|rule=|bins=|strengths=|cv=|numpy)"
)
# What the commands cannot bring about: arguments that they never pass, and types that they always pass.
UNREACHABLE = re.compile(
    r"found None|fit\(\.\.\.|must be a DataFrame|found shape|distinct column names|encoder was fitted|"
    # The command line reads probabilities and best estimates by itself.
    r"best_estimates|columns seen in fit|fairdcov\.metrics|sensitive_columns|must be 'auto' or a sequence"
)


def messages(place):
    """Every message of an error or a warning of a module or a folder, with values in the place of what is computed."""
    files = [PACKAGE / f"{place}.py"] if (PACKAGE / f"{place}.py").exists() else sorted((PACKAGE / place).glob("*.py"))
    for call in (call for file in files for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        name = getattr(getattr(call, "func", None), "attr", getattr(getattr(call, "func", None), "id", ""))
        if not isinstance(call, ast.Call) or not (name == "warn" or name.endswith(("Error", "Warning"))):
            continue
        for argument in call.args[:1]:
            if isinstance(argument, ast.JoinedStr):
                yield "".join(_value(part) for part in argument.values)
            elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def _value(part):
    if isinstance(part, ast.Constant):
        return part.value
    quoted = part.conversion == ord("r") and "self." not in ast.unparse(part.value)
    return "'age'" if quoted else "10"


FIT = ["_fitting/_training_data", "encoding", "penalties", "calibration", "metrics/_grouped"]
AUDIT = ["metrics/_grouped", "encoding", "report/_read", "report/_tasks"]
CASES = [("fit", place) for place in FIT] + [("audit", place) for place in AUDIT]


@pytest.mark.parametrize(("command", "place"), CASES)
def test_no_message_that_can_be_reached_speaks_python(command, place):
    found = [message for message in messages(place) if not UNREACHABLE.search(message)]
    if command == "fit":  # whose groups have the size that the calibrator asks for
        found = [message for message in found if not message.startswith("min_group_size must")]
    assert found
    for message in found:
        worded = in_options(message, command)
        assert not PYTHON.search(worded), (message, worded)


@pytest.mark.parametrize(
    ("command", "message", "worded"),
    [
        (
            "fit",
            "max_divergence=0.01 is below the mean divergence under permuted groups, 0.02: independent predictions "
            "would not meet it; use rule='null_level', coarser groups or more rows",
            "--max-divergence 0.01 is below the mean divergence under permuted groups, 0.02: independent predictions "
            "would not meet it; use --rule null_level, coarser groups or more rows",
        ),
        (
            "fit",
            "2 group(s) have fewer than min_group_size=10 rows in some of the 3 folds; set coarser bins or fewer folds",
            "2 group(s) have fewer than 10 rows in some of the 3 folds; take coarser --bins or fewer --folds",
        ),
        (
            "audit",
            "no group has min_group_size=500 rows; the largest of 4 has 99",
            "no group has --min-group-size 500 rows; the largest of 4 has 99",
        ),
        (
            "fit",
            "DCovGammaRegressor with strength=3.0 stopped before it converged (max_iter=5): increase max_iter or tol",
            "the model with strength 3.0 stopped before it converged (--model-option max_iter=5): "
            "increase --model-option max_iter or --model-option tol",
        ),
        (
            "audit",
            "sensitive_features column 'age' is numeric with 90 distinct values, too many to be groups: pass "
            "bins={'age': 5} for quantile groups, bins={'age': [edges]} for groups of your own, or bins={'age': None} "
            "to take every value as a group",
            "protected attribute 'age' is numeric with 90 distinct values, too many to be groups: say --bins age=5 "
            "for quantile groups, or --bins age=EDGES for groups of your own",
        ),
        (
            "fit",
            "column 'zip' has 1,438 levels, more than max_levels=1,000: group its rare levels before the fit (such as "
            "postcodes to zones), cut its numbers by bins, leave it out of factors, or raise max_levels",
            "column 'zip' has 1,438 levels, more than the 1,000 that a table has: group its rare levels before the fit "
            "(such as postcodes to zones), or leave it out with --exclude",
        ),
        (
            "fit",
            "the levels asked for by bins, and those of missing values, are 1,150 relativities, more than the 119 that "
            "max_relativities leaves: ask for fewer bins, leave columns out of factors, or raise max_relativities",
            "the levels of its factors are 1,150 relativities, more than the 119 that a table has: group rare levels "
            "before the fit, or leave columns out with --exclude",
        ),
        (
            "fit",
            "FrequencySeverityRegressor was fitted with strength 18.4 (effective_strength_) instead of strength=30: "
            "larger ones outweigh all that the model explains",
            "the model was fitted with strength 18.4 instead of strength 30: larger ones outweigh all that the model "
            "explains",
        ),
        (
            "fit",
            "sensitive_features has a single group, [0, 120]: there is nothing to calibrate; fit the estimator with "
            "strength 0",
            "the rows to fit are all of one protected group: there is nothing to compare; cut finer with --bins, or "
            "name other columns with --sensitive",
        ),
        (
            "fit",
            "the unpenalised rounds diverged; set max_delta_step=1, a smaller learning_rate or larger leaves, and "
            "check y for extreme values",
            "the unpenalised rounds diverged; take a smaller --model-option learning_rate or larger leaves, and check "
            "the target for extreme values",
        ),
        ("predict", "offset must be finite", "--offset must be finite"),
        # names of the user's are as they are
        ("fit", "column 'sample_weight' has the bins 'rule' and \"y_true\"", None),
        ("fit", "the rule and the bins of all strengths", None),
        ("predict", "Found unknown categories in columns [0] during transform. These unknown ...", None),
    ],
)
def test_messages(command, message, worded):
    assert in_options(message, command) == (worded or message)


def test_advice_for_trees_is_not_that_for_glms():
    message = (
        "the folds disagree: ... Look for levels of factors without claims in the rows that such a fold is fitted to, "
        "which a GLM with log link prices next to 0: merge them with others, or raise alpha"
    )
    assert in_options(message, "fit").endswith("merge them with others, or raise --model-option alpha")
    worded = in_options(message, "fit", trees=True)
    assert "GLM" not in worded
    assert worded.endswith("take fewer or smaller ones, as in --model-option n_estimators=50 num_leaves=8")


def test_columns_have_names_instead_of_positions():
    message = (
        "Found unknown categories in columns [0, 2] during transform. These unknown categories will be encoded as the "
        "infrequent category."
    )
    assert in_options(message, "fit", ["make", "fuel", "zip"]).startswith("some rows have levels of make, zip that")


def test_warnings_and_errors_of_a_block(capsys):
    with (
        pytest.raises(CalibrationError, match=r"^down to --max-divergence 0\.1$") as error,
        notes_of_warnings("fit"),
    ):
        raise CalibrationError("down to max_divergence=0.1", {"results": 1}, 2)
    assert error.value.best_index == 2
    with notes_of_warnings("fit"):
        warnings.warn("pass strengths", UserWarning, 2)
        warnings.warn("in future", FutureWarning, 2)
    assert capsys.readouterr().out == "  note: name some with --strengths\n"
