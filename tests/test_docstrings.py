"""The examples in the docstrings run and print what they say, and every public name has one."""

import doctest
import importlib
import inspect
import pkgutil
import types

import pytest

import fairdcov
import fairdcov.actuarial
import fairdcov.boosting
import fairdcov.calibration
import fairdcov.datasets
import fairdcov.distributed
import fairdcov.inference
import fairdcov.metrics
import fairdcov.neural
import fairdcov.penalties
import fairdcov.plots
import fairdcov.reference_prices
import fairdcov.report
from fairdcov._checks._docstrings import fill_docstring


def modules():
    """All modules that import without a package of an extra."""
    for info in pkgutil.walk_packages(fairdcov.__path__, "fairdcov."):
        if info.name.endswith(".__main__"):
            continue
        try:
            yield importlib.import_module(info.name)
        except ImportError as error:
            if "pip install" not in str(error):  # what fairdcov._checks._optional says of a package that is not there
                raise


def examples():
    """Every docstring with an example, once, under the name of the module that holds it."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in (fairdcov, *modules()):
        for test in finder.find(module, module.__name__):
            if test.examples:
                yield test


EXAMPLES = list(examples())


def test_examples_are_found():
    """An import that goes wrong must not leave the examples out without a word."""
    names = {test.name for test in EXAMPLES}
    assert {
        "fairdcov.dependence._functions.distance_covariance",
        "fairdcov.dependence._binding.bind_dependence",
        "fairdcov.penalties.CCDCovPenalty",
        "fairdcov._checks._optional.import_optional",
    } <= names


# Packages of extras that the examples of a module need to run.
NEEDED = {
    "fairdcov.boosting._lightgbm": "lightgbm",
    "fairdcov.distributed": "dask",
    "fairdcov.linear_model._blocks.ParquetBlocks": "pyarrow",
    "fairdcov.neural": "torch",
    "fairdcov.plots": "matplotlib",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=[test.name for test in EXAMPLES])
def test_example(example, tmp_path, monkeypatch):
    for module, package in NEEDED.items():
        if example.name.startswith(module):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    result = runner.run(example, out=report.append, clear_globs=False)
    # Python 3.13 counts the examples that are skipped among those attempted.
    attempted = result.attempted - getattr(result, "skipped", 0)
    assert attempted == len([e for e in example.examples if not e.options.get(doctest.SKIP)])
    assert result.failed == 0, "".join(report)


def public():
    for module in (
        fairdcov,
        fairdcov.actuarial,
        fairdcov.boosting,
        fairdcov.datasets,
        fairdcov.dependence,
        fairdcov.distributed,
        fairdcov.inference,
        fairdcov.linear_model,
        fairdcov.metrics,
        fairdcov.plots,
        fairdcov.report,
    ):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{module.__name__}.{name}", thing


PUBLIC = dict(public())


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    """A numpydoc docstring: what goes in, what comes out, an example."""
    thing = PUBLIC[name]
    text = inspect.getdoc(thing) or ""
    assert len(text.splitlines()[0]) > 10, f"{name} has no summary"
    if inspect.isfunction(thing):
        parameters = inspect.signature(thing).parameters
        assert not parameters or "Parameters\n-----" in text
        assert "Returns\n-----" in text or "Yields\n-----" in text or "->" in text
        for parameter in parameters:
            assert parameter in text, f"{name} does not describe {parameter}"


# What numpydoc finds: a parameter that is not described or does not exist or lacks a text, a function without Returns
# or with one that it cannot read, no Yields, no docstring.
NUMPYDOC_CHECKS = {"PR01", "PR02", "PR07", "PR10", "RT01", "RT02", "YD01", "GL08"}


def public_with_methods():
    """Dotted names of all public functions, classes and the methods that a class defines itself, each once."""
    seen = set()
    for module in (
        fairdcov,
        fairdcov.actuarial,
        fairdcov.boosting,
        fairdcov.calibration,
        fairdcov.datasets,
        fairdcov.distributed,
        fairdcov.inference,
        fairdcov.linear_model,
        fairdcov.metrics,
        fairdcov.neural,
        fairdcov.plots,
        fairdcov.reference_prices,
        fairdcov.report,
    ):
        for name in module.__all__:
            try:
                thing = getattr(module, name)
            except ImportError:  # made of a class of a package that is not installed
                continue
            if id(thing) in seen or not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            seen.add(id(thing))
            yield f"{module.__name__}.{name}"
            for member, value in vars(thing).items() if inspect.isclass(thing) else ():
                if not member.startswith("_") and isinstance(value, (types.FunctionType, classmethod, staticmethod)):
                    yield f"{module.__name__}.{name}.{member}"
    for name in ("BoundPenalty", "BoundDependence"):
        for member, value in vars(getattr(fairdcov.penalties, name)).items():
            if not member.startswith("_") and inspect.isfunction(value):
                yield f"fairdcov.penalties.{name}.{member}"


@pytest.mark.parametrize("name", list(public_with_methods()))
def test_numpydoc_finds_nothing(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    doc = validate(name)
    findings = [(code, text) for code, text in doc["errors"] if code in NUMPYDOC_CHECKS]
    parts = name.removeprefix("fairdcov.").split(".")
    thing = fairdcov
    for part in parts:
        thing = getattr(thing, part)
    if inspect.isclass(thing) and "Parameters\n----------" not in inspect.getdoc(thing):
        # A result is read, not made: its fields are described as attributes. A former name refers to the one of today.
        assert "Attributes\n----------" in inspect.getdoc(thing) or inspect.getdoc(thing).startswith("Former name of")
        findings = [finding for finding in findings if finding[0] != "PR01"]
    assert findings == []


@pytest.mark.parametrize("indentation", ["", "    "])
def test_shared_parts_take_the_indentation_of_their_place(indentation):
    """Python 3.13 takes the indentation out of docstrings when it compiles them."""

    class Filled:
        pass

    Filled.__doc__ = "Summary.\n\n" + f"{indentation}Parameters\n{indentation}----------\n{indentation}<options>\n"
    fill_docstring(Filled, options="a : float\n        What it is.\n    b : float\n        What else.", other="unused")
    assert inspect.getdoc(Filled).splitlines()[2:] == [
        "Parameters",
        "----------",
        "a : float",
        "    What it is.",
        "b : float",
        "    What else.",
    ]
