"""One version everywhere, and the script that sets it for a release."""

import importlib.util
import re
import shutil
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")
SCRIPT = ROOT / ".ci" / "set_version.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the tests run away from the repository")


def versions(root):
    """Version in each file; in the changelog that of the newest section of a release, None where there is none."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = re.search(r'^version: "(.*)"$', (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)[1]
    released = re.search(r"^## (\d\S*)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    return project, citation, released and released[1]


def test_files_agree():
    project, citation, released = versions(ROOT)
    assert citation == project
    assert released in (None, project)


@pytest.fixture
def set_version():
    spec = importlib.util.spec_from_file_location("set_version", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_a_release_is_one_command(set_version, tmp_path):
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    for version in ("9.8.0rc1", "9.8.7"):
        set_version([version, "--date", "2031-02-03"], tmp_path)
        assert versions(tmp_path) == (version, version, version)
    citation = (tmp_path / "CITATION.cff").read_text(encoding="utf-8")
    assert citation.count("date-released") == 1
    changelog = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changelog.count("## Unreleased\n\n## 9.8.7 (2031-02-03)\n") == 1


@pytest.mark.parametrize("version", ["1.2", "v1.2.3", "1.2.3.dev0"])
def test_what_is_no_version_changes_nothing(set_version, tmp_path, version):
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    with pytest.raises(SystemExit):
        set_version([version], tmp_path)
    assert versions(tmp_path) == versions(ROOT)


def test_a_file_without_its_line_changes_nothing(set_version, tmp_path):
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="Unreleased"):
        set_version(["9.8.7"], tmp_path)
    assert versions(tmp_path)[:2] == versions(ROOT)[:2]
