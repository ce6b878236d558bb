"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

# What packages that old cannot work with: matplotlib 3.9 calls functions of pyparsing that 3.3 warns of.
OF_THEIR_TIME = ["pyparsing<3.3"]

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
requirements = [
    *project["dependencies"],
    *(line for extra in project["optional-dependencies"].values() for line in extra),
]
lowest = {line.replace(">=", "==") for line in requirements if re.fullmatch(r"[\w-]+>=[\d.]+", line)}
print(*sorted(lowest), *OF_THEIR_TIME, sep="\n")
