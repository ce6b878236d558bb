"""The code in the README runs as it stands, block after block, and prints the figures that the README states."""

import re
import shlex
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
README = REPOSITORY / "README.md"
# Where the pages are, by pyproject.toml; what it serves from there is made of docs/.
PAGES = "https://fairdcov.readthedocs.io/en/latest/"
FIGURES = re.compile(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", flags=re.MULTILINE)


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_code_blocks_run(capsys, tmp_path, monkeypatch):
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 2
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    namespace, printed = {}, []
    for block in blocks:
        exec(compile(block, str(README), "exec"), namespace)
        printed.append(capsys.readouterr().out)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    stated = [[float(figure) for figure in row] for row in FIGURES.findall(text)]
    found = [[float(figure) for figure in line.split()] for line in printed[0].splitlines()]
    assert len(stated) == len(found) == 2
    for stated_row, found_row in zip(stated, found, strict=True):
        assert found_row == pytest.approx(stated_row, rel=2e-3, abs=6e-4)


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_it_is_short_and_its_files_are_there():
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) < 700
    if not (REPOSITORY / "docs").exists():
        pytest.skip("the tests run away from the repository, without docs/ and examples/")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    beside = [target for target in linked if not target.startswith("http")]
    assert [target for target in beside if not (REPOSITORY / target).exists()] == []
    # An index of packages shows the README without the files beside it: pictures and pages are at their address.
    assert f'Documentation = "{PAGES.removesuffix("/en/latest/")}"' in (REPOSITORY / "pyproject.toml").read_text()
    served = [target.removeprefix(PAGES) for target in linked if target.startswith(PAGES)]
    assert len(served) >= 5
    assert any(target.endswith(".png") for target in served)
    made = {"auto_examples/index.html": "../examples/GALLERY_HEADER.txt"}
    for target in served:
        sources = (
            [made[target]] if target in made else [target, *(target.replace(".html", end) for end in (".rst", ".md"))]
        )
        assert any((REPOSITORY / "docs" / source).exists() for source in sources), target


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_totals_are_as_stated():
    """Which models keep the total of the training policies, and by how much two of those that do not are off."""
    from fairdcov import (
        DCovGammaRegressor,
        DCovLogisticRegression,
        DCovPoissonRegressor,
        DCovRidge,
        DCovTweedieRegressor,
    )
    from fairdcov.datasets import make_motor_portfolio

    book = make_motor_portfolio(20_000, random_state=0)
    X, attributes, claimed = book.data.select_dtypes("number"), book.sensitive_features, book.claims > 0

    def total(model, observed, weight, rows=slice(None)):
        model.fit(X[rows], observed / weight, sample_weight=weight, sensitive_features=attributes[rows])
        return (model.predict(X[rows]) * weight).sum() / observed.sum()

    for strength in (0, 10):
        assert total(DCovPoissonRegressor(strength=strength), book.claims, book.exposure) == pytest.approx(1, abs=1e-3)
        assert total(DCovRidge(strength=strength), book.claims, book.exposure) == pytest.approx(1, abs=1e-3)
        logistic = DCovLogisticRegression(strength=strength).fit(X, claimed, sensitive_features=attributes)
        assert logistic.predict_proba(X)[:, 1].sum() / claimed.sum() == pytest.approx(1, abs=1e-3)
    text = README.read_text(encoding="utf-8")
    stated = re.search(r"Tweedie GLM of power 1.5 gives\s+([\d.]+) of it, the gamma GLM ([\d.]+)", text)
    tweedie, gamma = map(float, stated.groups())
    severity = DCovGammaRegressor(alpha=1e-4)
    assert total(severity, book.cost[claimed], book.claims[claimed], claimed) == pytest.approx(gamma, abs=6e-4)
    pure_premium = DCovTweedieRegressor(power=1.5, alpha=1e-4)
    assert total(pure_premium, book.cost, book.exposure) == pytest.approx(tweedie, abs=6e-4)


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_commands_are_ones_that_the_program_knows():
    from fairdcov.cli._parser import make_parser

    text = README.read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("fairdcov ")]
    assert [command.split()[1] for command in commands] == ["fit", "audit", "predict"]
    for command in commands:
        _, *arguments = shlex.split(command)
        assert make_parser().parse_args(arguments).command == arguments[0]
