"""The helper for optional packages, and the extras that its messages promise."""

import ast
import re
import sys
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest

import fairdcov
from fairdcov._checks._optional import import_optional


def test_an_installed_module_is_returned():
    assert import_optional("xml.etree.ElementTree", "this test").__name__ == "xml.etree.ElementTree"


@pytest.mark.parametrize(
    ("module", "package", "remedy"),
    [
        ("matplotlib", "matplotlib", "pip install 'fairdcov[plots]'"),
        ("matplotlib.pyplot", "matplotlib", "pip install 'fairdcov[plots]'"),
        ("rdata", "rdata", "pip install 'fairdcov[data]'"),
        ("skops.io", "skops", "pip install 'fairdcov[cli]'"),
        ("no_such_package", "no_such_package", "pip install no_such_package"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, module, package, remedy):
    monkeypatch.setitem(sys.modules, package, None)
    if module != package:
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=re.escape(f"needs the package {package!r}, which is not")) as caught:
        import_optional(module, "CalibrationDisplay.plot")
    assert str(caught.value).startswith("CalibrationDisplay.plot needs")
    assert remedy in str(caught.value)
    assert isinstance(caught.value.__cause__, ImportError)


def _used_modules():
    """Modules that the source imports through the helper."""
    for path in Path(fairdcov.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_optional":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}: name the module literally"
                yield node.args[0].value


def test_every_promised_extra_exists_and_brings_the_package(monkeypatch):
    declared = set(metadata("fairdcov").get_all("Provides-Extra"))
    used = {module.partition(".")[0] for module in _used_modules()}
    for package in used:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError) as caught:
            import_optional(package, "this test")
        extra = re.search(r"fairdcov\[(\w+)\]", str(caught.value))
        assert extra, f"{package} is imported as optional but belongs to no extra"
        assert extra[1] in declared, f"the extra {extra[1]!r} promised for {package} does not exist"
        brought = [r for r in requires("fairdcov") if re.match(rf"{package}\b.*extra == ['\"]{extra[1]}['\"]", r)]
        assert brought, f"the extra {extra[1]!r} does not bring {package}"
