"""Who may import whom: the levels of the package, enforced on its source and on what is loaded at run time.

``python -m tests.test_imports`` prints the import graph.
"""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import fairdcov

PACKAGE = Path(fairdcov.__file__).parent

# A module imports from lower levels only. Modules of the same level do not know each other.
LEVELS = {
    "_kernels": 0,
    "exceptions": 0,
    "_checks": 1,
    "encoding": 2,
    "datasets": 2,
    "dependence": 3,
    "penalties": 4,
    "metrics": 4,
    "_fitting": 5,
    "linear_model": 6,
    "boosting": 6,
    "neural": 6,
    "inference": 6,
    "actuarial": 7,
    "calibration": 7,
    "reference_prices": 7,
    "plots": 8,
    "report": 9,
    "distributed": 9,
    "cli": 10,
}
# Narrower than their level: what a module must not import although its level would allow it.
FORBIDDEN = {estimators: {"metrics", "plots", "report"} for estimators in ("linear_model", "boosting", "neural")}
FORBIDDEN["calibration"] = {"linear_model", "boosting", "neural"}
KERNEL_USERS = {"dependence"}
KERNEL_PACKAGES = {"numpy"}
CYTHON_PACKAGES = {"numpy", "cython", "libc"}
# Slow to import, or optional: nobody pays for them before they are needed.
HEAVY = {
    "dask",
    "distributed",
    "fairlearn",
    "jinja2",
    "lightgbm",
    "matplotlib",
    "rdata",
    "skops",
    "torch",
    "xgboost",
}
# The one exception: classes that derive from torch's are made where torch is imported. Only functions import these
# modules, so that no public module loads torch.
TORCH_MODULES = ("fairdcov.dependence._torch_", "fairdcov.neural._torch_")
# Extras for work on the package; distributions of modules that have another name or come with another package.
NOT_FOR_USERS = {"test", "lint", "docs", "benchmark", "dev"}
OF_MODULES = {"sklearn": "scikit-learn", "markupsafe": "jinja2", "triton": "torch"}
# How entangled the package may be.
MOST_ROOMS = 20
MOST_ARROWS = 75
MOST_PRIVATE_IMPORTS = 0


@dataclass(frozen=True)
class Import:
    """A module that some line of source imports, what from it, and whether only when a function runs."""

    target: str
    line: int
    deferred: bool
    names: tuple = ()


def find_imports(source, module, *, is_package=False):
    """Absolute names of all modules that Python source imports; ``import_optional("name", ...)`` counts."""
    found = []
    package = module.split(".") if is_package else module.split(".")[:-1]

    def visit(node, deferred):
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, deferred) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            # `from fairdcov import _kernels` imports a module, `from fairdcov import DCovRidge` the package.
            taken = {base: tuple(alias.name for alias in node.names)}
            if base == "fairdcov":
                taken = {f"fairdcov.{alias.name}" if alias.name in LEVELS else "fairdcov": () for alias in node.names}
            found.extend(Import(name, node.lineno, deferred, taken[name]) for name in sorted(taken))
        elif isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_optional", "import_module", "__import__") and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    found.append(Import(name.value, node.lineno, deferred))
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def violations(source, module, *, is_package=False):
    """What is wrong with the imports of Python source that is the module ``module``."""
    top = _top_level(module)
    problems = []
    if top is not None and top not in LEVELS:
        return [f"{module}: add the new top-level module {top!r} to LEVELS in tests/test_imports.py"]
    for imported in find_imports(source, module, is_package=is_package):
        place = f"{module}:{imported.line} imports {imported.target}"
        problems += [
            f"{place}: {reason}" for reason in _reasons(module, top, imported.target, deferred=imported.deferred)
        ]
    return problems


def _top_level(module):
    return module.split(".")[1] if "." in module else None


def _reasons(module, top, target, *, deferred):
    package = target.split(".")[0]
    if package == "fairdcov":
        yield from _internal_reasons(module, top, target, deferred=deferred)
    elif package in HEAVY and not deferred:
        if package == "torch" and module.startswith(TORCH_MODULES):
            return
        yield f"{package} is imported inside functions only"
    elif top == "_kernels" and package not in KERNEL_PACKAGES | sys.stdlib_module_names:
        yield f"_kernels needs nothing but {', '.join(sorted(KERNEL_PACKAGES))}"


def _internal_reasons(module, top, target, *, deferred):
    other = _top_level(target)
    if top is None:
        if other in ("cli", "_kernels"):
            yield f"the package itself does not load {other}"
        return
    # The command line starts quickly: the modules of the commands may import anything, but only commands load them.
    if top == "cli":
        if module in ("fairdcov.cli", "fairdcov.cli.__main__") and target != "fairdcov.cli" and not deferred:
            yield "the command line imports inside its functions only"
        if other == "_kernels":
            yield "only dependence calls the kernels"
        return
    if other == top:
        if target.startswith(TORCH_MODULES) and not (deferred or module.startswith(TORCH_MODULES)):
            yield f"{target} imports torch: import it inside functions only"
        return
    if other is None:
        yield "modules import each other, not the package that gathers them"
    elif other not in LEVELS:
        yield f"add the new top-level module {other!r} to LEVELS in tests/test_imports.py"
    elif LEVELS[other] >= LEVELS[top]:
        yield f"level {LEVELS[top]} imports from lower levels only, {other} has level {LEVELS[other]}"
    elif other == "_kernels" and top not in KERNEL_USERS:
        yield "only dependence calls the kernels"
    elif other in FORBIDDEN.get(top, ()):
        yield f"{top} does not know {other}"


@dataclass(frozen=True)
class Graph:
    """Rooms (top-level files and folders of the package), arrows from one that imports to one that is imported.

    The package itself, which gathers what is public, is no room. ``private_imports`` says which line takes something
    from a private module of another room, or a private name from another room.
    """

    rooms: frozenset
    arrows: frozenset
    private_imports: tuple

    def circle(self):
        """Rooms that import each other in a circle, or an empty tuple."""
        imported = {room: {other for one, other in self.arrows if one == room} for room in self.rooms}
        try:
            graphlib.TopologicalSorter(imported).prepare()
        except graphlib.CycleError as error:
            return tuple(error.args[1])
        return ()


def import_graph(sources):
    """Graph of sources: (text, module, whether it is a package) of each; imports inside functions count."""
    rooms, arrows, private = set(), set(), []
    for text, module, is_package in sources:
        room = _top_level(module)
        if room is None:
            continue
        rooms.add(room)
        for imported in find_imports(text, module, is_package=is_package):
            other = _top_level(imported.target)
            if imported.target.split(".")[0] != "fairdcov" or other in (None, room):
                continue
            arrows.add((room, other))
            inside = [*imported.target.split(".")[2:], *imported.names]
            if any(part.startswith("_") for part in inside):
                private.append(f"{module}:{imported.line} takes {', '.join(imported.names)} from {imported.target}")
    return Graph(frozenset(rooms), frozenset(arrows), tuple(private))


def describe(graph):
    """The graph in words."""
    lines = sum(path.read_text(encoding="utf-8").count("\n") for path, _, _ in MODULES)
    imports = {room: sorted(other for one, other in graph.arrows if one == room) for room in sorted(graph.rooms)}
    return "\n".join(
        [
            f"{len(graph.rooms)} rooms, {len(graph.arrows)} arrows, {len(graph.private_imports)} imports of private "
            f"parts of another room, {len(MODULES)} files, {lines:,} lines",
            *(f"  {room}: {', '.join(others) or 'nothing'}" for room, others in imports.items()),
            *(f"  {line}" for line in graph.private_imports),
            f"  in a circle: {' -> '.join(graph.circle()) or 'nothing'}",
        ]
    )


def cython_violations(source, name):
    """Imports in Cython source that are neither NumPy's nor Cython's own."""
    problems = []
    for number, line in enumerate(source.splitlines(), start=1):
        match = re.match(r"\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+(.+))", line)
        targets = [match[1]] if match and match[1] else re.split(r"\s*,\s*", match[2]) if match else []
        for target in targets:
            if re.split(r"[.\s]", target.strip(), maxsplit=1)[0] not in CYTHON_PACKAGES:
                problems.append(f"{name}:{number} imports {target}: kernels need nothing but numpy, cython and libc")
    return problems


def _modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield path, ".".join(parts[:-1] if is_package else parts), is_package


MODULES = list(_modules())
KERNELS = sorted(PACKAGE.rglob("*.pyx")) + sorted(PACKAGE.rglob("*.pxd"))


@pytest.mark.parametrize(("path", "module", "is_package"), MODULES, ids=[module for _, module, _ in MODULES])
def test_modules_import_from_lower_levels(path, module, is_package):
    problems = violations(path.read_text(encoding="utf-8"), module, is_package=is_package)
    assert not problems, "\n".join(problems)


def test_the_sources_were_found():
    assert {"fairdcov", "fairdcov._kernels", "fairdcov.dependence", "fairdcov.linear_model"} <= {
        module for _, module, _ in MODULES
    }
    assert {path.stem for path in KERNELS} >= {"_profiles", "_univariate", "_tiles", "_features"}


def test_the_package_imports_what_it_asks_for_and_no_more():
    """What only tests and pages need, such as dcor, is no requirement, and what is imported is asked for."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    offered = {re.match(r"[\w-]+", line)[0] for name in set(extras) - NOT_FOR_USERS for line in extras[name]}
    imported = {
        found.target.split(".")[0]
        for path, module, is_package in MODULES
        for found in find_imports(path.read_text(encoding="utf-8"), module, is_package=is_package)
    }
    imported = {OF_MODULES.get(name, name) for name in imported - sys.stdlib_module_names - {"fairdcov"}}
    assert imported - offered - required == set()
    assert required - imported == set()


def package_graph():
    """Graph of the package."""
    return import_graph((path.read_text(encoding="utf-8"), module, package) for path, module, package in MODULES)


def test_the_rooms_are_no_more_entangled_than_they_were():
    graph = package_graph()
    print(describe(graph))
    assert graph.circle() == ()
    assert len(graph.rooms) <= MOST_ROOMS
    assert len(graph.arrows) <= MOST_ARROWS
    assert len(graph.private_imports) <= MOST_PRIVATE_IMPORTS


def test_the_graph_of_a_small_package():
    graph = import_graph(
        [
            ("from fairdcov.a import f", "fairdcov", True),
            ("from fairdcov.a._inner import f", "fairdcov.a", True),
            ("def f():\n    from ..b import _shared, shared\n    import numpy", "fairdcov.a._inner", False),
            ("from fairdcov import metrics\nfrom fairdcov.c._inner import g", "fairdcov.b", False),
            ("import fairdcov.a._inner", "fairdcov.c", True),
        ]
    )
    assert graph.rooms == {"a", "b", "c"}
    assert graph.arrows == {("a", "b"), ("b", "metrics"), ("b", "c"), ("c", "a")}
    assert len(graph.private_imports) == 3
    assert graph.private_imports[0] == "fairdcov.a._inner:2 takes _shared, shared from fairdcov.b"
    assert set(graph.circle()) == {"a", "b", "c"}
    assert import_graph([("from fairdcov.b import f", "fairdcov.a", False)]).circle() == ()


@pytest.mark.parametrize("path", KERNELS, ids=[path.stem for path in KERNELS])
def test_kernels_need_numpy_cython_and_libc_only(path):
    problems = cython_violations(path.read_text(encoding="utf-8"), path.name)
    assert not problems, "\n".join(problems)


def test_importing_the_package_loads_no_heavy_package():
    # pyarrow is loaded by pandas where it is installed, so it is not ours to defer.
    public = sorted(
        module for _, module, _ in MODULES if not any(part.startswith("_") for part in module.split(".")[1:])
    )
    program = (
        "import importlib, sys\n"
        f"for name in {public!r}:\n"
        "    importlib.import_module(name)\n"
        f"print(*sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("fairdcov.encoding", "from fairdcov.penalties import CCDCovPenalty", "encoding.* penalties has level 4"),
        ("fairdcov.penalties", "def f():\n    from fairdcov.metrics import gini", "metrics has level 4"),
        ("fairdcov.penalties", "import fairdcov.metrics", "metrics has level 4"),
        ("fairdcov.penalties", "from fairdcov import metrics", "metrics has level 4"),
        ("fairdcov.metrics._scores", "from ..linear_model import DCovRidge", "linear_model has level 6"),
        ("fairdcov.metrics._scores", "from .. import linear_model", "linear_model has level 6"),
        ("fairdcov.metrics._scores", "from fairdcov import DCovRidge", "not the package that gathers them"),
        ("fairdcov.linear_model._problem", "class A:\n    from fairdcov.metrics import gini", "does not know metrics"),
        ("fairdcov.boosting", "def f():\n    from fairdcov.report import audit", "report has level 9"),
        ("fairdcov.calibration", "from fairdcov.linear_model import DCovRidge", "does not know linear_model"),
        ("fairdcov.penalties", "from fairdcov import _kernels", "only dependence calls the kernels"),
        ("fairdcov.cli._demo", "from fairdcov._kernels import signed_sums", "only dependence calls the kernels"),
        ("fairdcov._kernels", "from scipy import sparse", "_kernels needs nothing but numpy"),
        ("fairdcov._kernels._reference", "from fairdcov.exceptions import IntegrityError", "exceptions has level 0"),
        ("fairdcov.plots", "import matplotlib.pyplot as plt", "matplotlib is imported inside functions only"),
        ("fairdcov.plots", "try:\n    import matplotlib\nexcept ImportError:\n    pass", "inside functions only"),
        ("fairdcov.plots", "plt = import_optional('matplotlib.pyplot', 'plots')", "inside functions only"),
        ("fairdcov.neural._networks", "torch = import_optional('torch', 'a network')", "inside functions only"),
        (
            "fairdcov.neural._networks",
            "from fairdcov.neural._torch_loss import DependenceLoss",
            "inside functions only",
        ),
        ("fairdcov.neural._torch_loss", "import matplotlib", "inside functions only"),
        ("fairdcov.cli", "from fairdcov.datasets import make_motor_portfolio", "inside its functions only"),
        ("fairdcov.cli", "from fairdcov.cli._demo import run_demo", "inside its functions only"),
        ("fairdcov", "from fairdcov import cli", "does not load cli"),
        ("fairdcov.novelty", "import numpy", "add the new top-level module 'novelty' to LEVELS"),
        ("fairdcov.penalties", "from fairdcov.novelty import f", "add the new top-level module 'novelty'"),
    ],
)
def test_a_forbidden_import_is_found(module, source, reason):
    is_package = module in ("fairdcov", "fairdcov.cli", "fairdcov._kernels")
    problems = violations(source, module, is_package=is_package)
    assert len(problems) == 1
    assert re.search(reason, problems[0])


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "fairdcov.dependence._binding",
            "from fairdcov import _kernels\nfrom fairdcov.encoding import factorise",
        ),
        ("fairdcov.dependence._binding", "from fairdcov.dependence._forms import SumForm\nimport numpy as np"),
        ("fairdcov.plots", "def plot():\n    import matplotlib.pyplot as plt\n    return plt"),
        ("fairdcov.plots", "def plot():\n    return import_optional('matplotlib.pyplot', 'plots')"),
        ("fairdcov.neural._torch_loss", "torch = import_optional('torch', 'DependenceLoss')"),
        ("fairdcov.neural", "def __getattr__(name):\n    from fairdcov.neural._torch_loss import DependenceLoss"),
        ("fairdcov.cli", "import argparse\ndef main():\n    from fairdcov.cli._demo import run_demo"),
        ("fairdcov.cli._demo", "from fairdcov import DCovRidge\nfrom fairdcov.metrics import gini"),
        ("fairdcov.linear_model", "from fairdcov.linear_model._problem import PenalisedLinearModel"),
        ("fairdcov", "from fairdcov.penalties import CCDCovPenalty"),
    ],
)
def test_an_allowed_import_is_not_found(module, source):
    assert violations(source, module, is_package=module in ("fairdcov", "fairdcov.cli", "fairdcov.linear_model")) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("cimport scipy.linalg.cython_blas", 1),
        ("from scipy.linalg cimport cython_blas", 1),
        ("from fairdcov.exceptions import IntegrityError", 1),
        ("import numpy as np, pandas as pd", 1),
        ("from libc.math cimport sqrt", 0),
        ("from cython.parallel cimport prange", 0),
        ("cimport numpy as cnp", 0),
        ("important = 1", 0),
    ],
)
def test_forbidden_imports_in_cython_are_found(line, wrong):
    assert len(cython_violations(line, "_kernel.pyx")) == wrong


if __name__ == "__main__":
    print(describe(package_graph()))
