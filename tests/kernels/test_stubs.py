"""The types of the compiled modules name what is compiled."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from fairdcov import _kernels

STUBS = sorted(Path(_kernels.__file__).parent.glob("*.pyi"))


def test_every_compiled_module_has_a_stub():
    compiled = {file.name.split(".")[0] for file in Path(_kernels.__file__).parent.glob("*.pyx")}
    assert {stub.stem for stub in STUBS} == compiled


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.stem)
def test_stub_has_the_functions_and_their_parameters(stub):
    module = importlib.import_module(f"fairdcov._kernels.{stub.stem}")
    body = ast.parse(stub.read_text(encoding="utf-8")).body
    written = {node.name: [a.arg for a in node.args.args] for node in body if isinstance(node, ast.FunctionDef)}
    numbers = {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    functions = {name: list(inspect.signature(f).parameters) for name, f in public.items() if inspect.isroutine(f)}
    assert written == functions
    assert numbers == {name for name, value in public.items() if isinstance(value, int)}
