"""The commands that the help and the guide show are commands that there are, and the help is there at once."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fairdcov.cli import main
from fairdcov.cli._parser import make_parser

COMMANDS = ["demo", "fit", "audit", "predict"]
GUIDE = Path(__file__).parents[2] / "docs" / "command_line.rst"


def commands_in(text):
    """Complete commands in a text, with the lines that a backslash continues."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        command = re.split(r"\s{2,}[(#]", line.strip())[0]
        if command.startswith("fairdcov ") and "..." not in command and "COMMAND" not in command:
            yield shlex.split(command)[1:]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_that_parse_and_exit_codes(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "exit codes:" in text
    examples = list(commands_in(text.partition("examples:")[2]))
    assert len(examples) >= 2
    for example in examples:
        assert make_parser().parse_args(example).command == command


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not beside the tests")
def test_commands_of_the_guide_parse():
    shown = [make_parser().parse_args(command).command for command in commands_in(GUIDE.read_text(encoding="utf-8"))]
    assert {"fit", "audit", "predict", "demo"} <= set(shown)


def test_help_loads_nothing_that_takes_time():
    program = (
        "import sys\nfrom fairdcov.cli import main\n"
        "try:\n    main(['fit', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'fairlearn', 'jinja2', 'lightgbm', 'matplotlib', 'skops'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert "usage: fairdcov fit" in run.stdout
    assert run.stderr.split() == []


def test_an_unknown_option_is_an_error_of_the_user(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "book.csv", "--target", "claims", "--sensitive", "gender", "--output", "out", "--strenghts", "1"])
    assert stop.value.code == 2
    assert "--strenghts" in capsys.readouterr().err


def test_a_learner_that_is_there_in_python_alone(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "book.csv", "--target", "claims", "--sensitive", "a", "--output", "o", "--model", "xgboost"])
    assert stop.value.code == 2
    assert "argument --model: xgboost models are not written: " in capsys.readouterr().err
