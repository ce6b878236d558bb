"""Golden master: store the numbers of the cases, or say which are no longer what was stored.

    python -m tests.golden.make_golden [AREA ...]                # compare
    python -m tests.golden.make_golden --overwrite [AREA ...]    # store what comes out now

For changes of the code that must change no number: ``test_golden.py`` computes every case again and compares. Where a
number is meant to change, overwrite the area, and say in the commit which numbers changed and why. The files of
``models/`` are of an earlier version and stay as they are, see ``make_models.py``.
"""

import argparse
import importlib.util
import json
import math
import platform
import re
import sys
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from .cases import AREAS

FOLDER = Path(__file__).parent
# Other names under which a package is installed.
SYNONYMS = {"xgboost": "xgboost-cpu"}


@dataclass(frozen=True)
class Terms:
    """What an area needs, and how close its numbers must come.

    ``imports`` have to be installed; ``same`` are distributions whose version decides the numbers, so that the area is
    compared only where they are of the stored one (major and minor). ``loose`` has wider tolerances of some quantities.
    """

    relative: float
    absolute: float = 1e-12
    imports: tuple = ()
    same: tuple = ()
    loose: Mapping = field(default_factory=dict)


# Compiled sums and closed formulas: nothing but the order of additions may differ. Differences about 0 (net measures,
# changes) are rounding errors of terms of order 1.
_EXACT = 1e-9
# The last bits of BLAS grow on the way of a solver: to less than 1e-9 with several kernels of OpenBLAS, as long as it
# stops before it meets a kink of the penalty. Trees sum in single or double precision, and split alike.
_FITTED = 1e-6
_WORDS = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
# Names that matplotlib makes of all digits of what they name.
_NAMES = re.compile(r"(?<=-)[a-zA-Z][0-9a-f]{10}\b")

TERMS = {
    "measures": Terms(_EXACT),
    # The path of the solver may take a step more or less.
    "linear_models": Terms(_FITTED, 1e-9, loose={"iterations": (0.1, 2)}),
    "lightgbm": Terms(_FITTED, 1e-9, imports=("lightgbm",), same=("lightgbm",)),
    "xgboost": Terms(_FITTED, 1e-9, imports=("xgboost",), same=("xgboost",)),
    # Single precision.
    "neural": Terms(1e-4, 1e-6, imports=("torch",), same=("torch",)),
    "calibration": Terms(_FITTED, 1e-9, same=("scikit-learn",)),
    "metrics": Terms(_EXACT),
    "inference": Terms(_EXACT),
    "actuarial": Terms(_EXACT, same=("scipy",), loose={"relativities": (_FITTED, 1e-9), "rebalancer": (_FITTED, 1e-9)}),
    # Trees of scikit-learn tell how well features predict attributes.
    "report": Terms(_FITTED, 1e-9, same=("scikit-learn", "scipy")),
    # Coordinates have six digits.
    "pages": Terms(
        1e-4, 1e-4, imports=("jinja2", "matplotlib"), same=("scikit-learn", "scipy", "matplotlib", "jinja2")
    ),
    "plots": Terms(_FITTED, 1e-9, imports=("matplotlib",), same=("matplotlib", "scikit-learn")),
    "command_line": Terms(
        1e-5, 1e-9, imports=("matplotlib", "jinja2", "skops", "lightgbm"), same=("scikit-learn", "scipy", "lightgbm")
    ),
}


def installed_version(distribution):
    """Version of an installed distribution under either of its names, or None."""
    for name in (distribution, SYNONYMS.get(distribution, distribution)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def made_with():
    """What the numbers were made with, for the record and for the areas that hang on a version."""
    distributions = sorted({"numpy", "pandas", *(name for terms in TERMS.values() for name in terms.same)})
    return {"python": platform.python_version()} | {name: installed_version(name) for name in distributions}


def reason_to_skip(area, stored=None):
    """Why an area cannot be compared here, or None."""
    terms = TERMS[area]
    for name in terms.imports:
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    for name in terms.same:
        was, here = (stored or {}).get(name), installed_version(name)
        if was is not None and _series(was) != _series(here):
            return f"the numbers were made with {name} {was}; here is {here}"
    return None


def _series(number):
    return str(number).split(".")[:2]


def plain(value):
    """Numbers, text, lists and dicts of text, as JSON has them."""
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, pd.DataFrame):
        return {"index": plain(value.index), "columns": {str(name): plain(value[name]) for name in value}}
    if isinstance(value, np.ndarray | pd.Series | pd.Index | list | tuple):
        return [plain(part) for part in (value if isinstance(value, list | tuple) else value.tolist())]
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def compute(area, case):
    """A case as plain data. Names that have been replaced go on working: what they warn of is not what is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain(AREAS[area]()[case]())


def differences(found, stored, relative, absolute, *, loose=(), place=""):
    """Places at which two nests of plain data differ by more than the tolerances."""
    if isinstance(stored, dict) and isinstance(found, dict):
        missing, new = [name for name in stored if name not in found], [name for name in found if name not in stored]
        problems = [f"{place}: {what} {names}" for what, names in (("lacks", missing), ("has", new)) if names]
        for name in stored.keys() & found.keys():
            tolerances = dict(loose).get(name, (relative, absolute))
            problems += differences(found[name], stored[name], *tolerances, loose=loose, place=f"{place}/{name}")
        return problems
    if isinstance(stored, list) and isinstance(found, list):
        if len(stored) != len(found):
            return [f"{place}: {len(found)} values instead of {len(stored)}"]
        pairs = zip(found, stored, strict=True)
        return [
            problem
            for position, (one, other) in enumerate(pairs)
            for problem in differences(one, other, relative, absolute, loose=loose, place=f"{place}[{position}]")
        ]
    if _is_number(stored) and _is_number(found):
        near = math.isclose(found, stored, rel_tol=relative, abs_tol=absolute)
        return (
            [] if near or found == stored or (found != found and stored != stored) else [_differ(place, found, stored)]
        )
    if isinstance(stored, str) and isinstance(found, str):
        return [] if _same_words(found, stored, relative, absolute) else [_differ(place, found, stored)]
    return [] if type(found) is type(stored) and found == stored else [_differ(place, found, stored)]


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_words(found, stored, relative, absolute):
    """The same text, but for numbers in it whose last printed digit differs, and names made of all their digits."""
    found, stored = (_NAMES.sub("name", text) for text in (found, stored))
    if found == stored:
        return True
    ours, theirs = _WORDS.findall(found), _WORDS.findall(stored)
    if _WORDS.sub("#", found) != _WORDS.sub("#", stored) or len(ours) != len(theirs):
        return False
    return all(
        one == other
        or math.isclose(_read(one), _read(other), rel_tol=relative, abs_tol=max(absolute, 1.01 * _last_digit(other)))
        for one, other in zip(ours, theirs, strict=True)
    )


def _read(number):
    return float(number.replace(",", ""))


def _last_digit(number):
    """Worth of the last digit of a number with a decimal point; a whole number is exact."""
    mantissa, _, exponent = number.partition("e")
    digits = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - digits) if digits and mantissa.count(".") == 1 else 0.0


def _differ(place, found, stored):
    if isinstance(stored, str) and isinstance(found, str) and len(stored) > 80:
        start = next(
            (i for i, (a, b) in enumerate(zip(found, stored, strict=False)) if a != b), min(len(found), len(stored))
        )
        start = max(0, start - 20)
        found, stored = found[start : start + 60], stored[start : start + 60]
    return f"{place}: {found!r} instead of {stored!r}"


def compare(area, case, stored):
    """Differences of a case, computed now, from what is stored of it."""
    terms = TERMS[area]
    tolerances = terms.loose.get(case, (terms.relative, terms.absolute))
    return differences(compute(area, case), stored, *tolerances, loose=terms.loose, place=case)


def path_of(area):
    """File of an area; that of the pages is compressed."""
    return FOLDER / (f"{area}.json.z" if area == "pages" else f"{area}.json")


def read_area(area):
    """Stored cases of an area and what they were made with."""
    content = path_of(area).read_bytes()
    return json.loads(zlib.decompress(content) if path_of(area).suffix == ".z" else content)


def write_area(area):
    """Compute the cases of an area and store them, a line for each."""
    lines = [
        f"{json.dumps(case)}: {json.dumps(compute(area, case), ensure_ascii=False, separators=(',', ':'))}"
        for case in AREAS[area]()
    ]
    cases = ",\n".join(lines)
    text = f'{{"made_with": {json.dumps(made_with())},\n"cases": {{\n{cases}\n}}}}\n'
    content = text.encode()
    path_of(area).write_bytes(zlib.compress(content, 9) if path_of(area).suffix == ".z" else content)


def main(arguments=None):
    """Compare or store areas; 1 when a number is no longer what was stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; all by default")
    parser.add_argument("--overwrite", action="store_true", help="store what comes out now")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.areas) - set(AREAS))
    if unknown:
        parser.error(f"no such area: {', '.join(unknown)}")
    failed = False
    for area in options.areas or AREAS:
        stored = None if options.overwrite else read_area(area)
        reason = reason_to_skip(area, None if stored is None else stored["made_with"])
        if reason:
            print(f"{area}: skipped, {reason}")
        elif options.overwrite:
            write_area(area)
            print(f"{area}: {path_of(area).stat().st_size:,} bytes")
        else:
            found = [problem for case, values in stored["cases"].items() for problem in compare(area, case, values)]
            failed = failed or bool(found)
            print(f"{area}: {len(found)} differences", *found[:20], sep="\n    ")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
