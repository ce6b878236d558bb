"""What the documentation is checked with: links that lead nowhere are found."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the tests run away from the repository, without docs/")


@pytest.fixture
def broken_links():
    spec = importlib.util.spec_from_file_location("check_links", DOCS / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.broken_links


def test_links_that_lead_nowhere_are_found(tmp_path, broken_links):
    (tmp_path / "api").mkdir()
    (tmp_path / "picture one.png").touch()
    (tmp_path / "index.html").write_text(
        '<a href="api/a.html#here">x</a> <a href="#top">x</a> <img src="picture%20one.png"> <a href="https://a.org">x</a>'
    )
    (tmp_path / "api" / "a.html").write_text('<p id="here"><a href="../index.html">x</a> <a href="../">x</a>')
    assert broken_links(tmp_path) == ([], 5)
    (tmp_path / "api" / "a.html").write_text(
        '<a href="../index.html#gone">x</a> <img src="gone.png"> <a href="../../elsewhere.html">x</a>'
    )
    found, followed = broken_links(tmp_path)
    assert found == [
        "api/a.html: ../../elsewhere.html",
        "api/a.html: ../index.html#gone",
        "api/a.html: gone.png",
        "index.html: api/a.html#here",
    ]
    assert followed == 6


def test_a_folder_without_pages_is_no_success(tmp_path, broken_links):
    with pytest.raises(SystemExit, match="has no pages"):
        broken_links(tmp_path)


def test_pages_that_leave_the_reader_without_a_picture_are_few():
    """At least fifteen pages have one, and at least twelve guides are there."""
    pages = [*DOCS.glob("*.rst"), *(DOCS / "api").glob("*.rst")]
    assert sum(".. image::" in page.read_text(encoding="utf-8") for page in pages) >= 15
    guides = [line.strip() for line in (DOCS / "guide.rst").read_text(encoding="utf-8").splitlines()]
    assert sum((DOCS / f"{name}.rst").exists() for name in set(guides) - {""}) >= 12
