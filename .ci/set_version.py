"""Write the version of a release where it stands: ``python .ci/set_version.py 0.2.0 [--date 2026-12-01]``.

That is pyproject.toml, CITATION.cff with the date, and the changelog, whose section *Unreleased* becomes the version's.
``tests/test_versions.py`` fails where they differ.
"""

import argparse
import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "## Unreleased\n"


def replaced(text, pattern, replacement, what):
    """Text with one line replaced; anything but one match ends the script."""
    text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    if found != 1:
        sys.exit(f"{what}: {found} lines match {pattern!r}, not one")
    return text


def main(arguments=None, root=ROOT):
    """Read all three files before any is written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--date", default=str(datetime.date.today()), help="of the release; today by default")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", options.version):
        parser.error(f"{options.version!r} is no version such as 0.2.0 or 0.2.0rc1")
    datetime.date.fromisoformat(options.date)
    files = {name: (root / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CITATION.cff")}
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    project = replaced(files["pyproject.toml"], r'^version = ".*"$', f'version = "{options.version}"', "pyproject.toml")
    citation = replaced(files["CITATION.cff"], r"^version: .*$", f'version: "{options.version}"', "CITATION.cff")
    citation = re.sub(r"^date-released: .*\n", "", citation, flags=re.MULTILINE)
    citation = replaced(citation, r"^(version: .*)$", rf'\1\ndate-released: "{options.date}"', "CITATION.cff")
    if changelog.count(UNRELEASED) != 1:
        sys.exit("CHANGELOG.md: there is no section Unreleased, or there are several")
    changelog = changelog.replace(UNRELEASED, f"{UNRELEASED}\n## {options.version} ({options.date})\n")
    for name, text in (("pyproject.toml", project), ("CITATION.cff", citation), ("CHANGELOG.md", changelog)):
        (root / name).write_text(text, encoding="utf-8")
    print(f"{options.version}: pyproject.toml, CITATION.cff and CHANGELOG.md")


if __name__ == "__main__":
    main()
