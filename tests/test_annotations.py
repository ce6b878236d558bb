"""The interface is typed: every public function and method says the type of each argument and of what it returns.

``make lint`` checks the types, and calls of a user's code under ``mypy --strict`` (tests/typing).
"""

import importlib
import inspect
import typing

import pytest

MODULES = (
    "fairdcov",
    "fairdcov.actuarial",
    "fairdcov.boosting",
    "fairdcov.calibration",
    "fairdcov.datasets",
    "fairdcov.exceptions",
    "fairdcov.inference",
    "fairdcov.linear_model",
    "fairdcov.metrics",
    "fairdcov.neural",
    "fairdcov.penalties",
    "fairdcov.plots",
    "fairdcov.reference_prices",
    "fairdcov.report",
)
# Names that begin like this have no types yet: the list may become shorter only.
NOT_YET: tuple[str, ...] = ()


def function_of(member):
    """The function behind a method, a property or a decorated function, None where there is none."""
    if isinstance(member, classmethod | staticmethod):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    member = inspect.unwrap(member) if callable(member) else member
    return member if inspect.isfunction(member) else None


def public_functions():
    """Name and function of all that is public, each once, with the methods that public classes inherit from ours."""
    found = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            try:
                thing = getattr(importlib.import_module(module), name)
            except ImportError:  # DependenceLoss is a class of PyTorch's, which few have
                continue
            members = [thing]
            if inspect.isclass(thing):
                ours = [base for base in thing.__mro__ if base.__module__.startswith("fairdcov.")]
                named = [pair for base in ours for pair in vars(base).items()]
                members = [member for key, member in named if key == "__init__" or not key.startswith("_")]
            for member in members:
                function = function_of(member)
                # The former name of an attribute is a property that a function makes, and dataclasses write their own.
                if function is not None and "<locals>" not in function.__qualname__:
                    found[f"{function.__module__}.{function.__qualname__}"] = function
    return {
        name: function
        for name, function in found.items()
        if name.startswith("fairdcov.") and not name.startswith(NOT_YET)
    }


FUNCTIONS = public_functions()


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_arguments_and_result_have_types(name):
    function = FUNCTIONS[name]
    signature = inspect.signature(function, follow_wrapped=False)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    assert [p.name for p in parameters if p.annotation is p.empty] == []
    if "__create_fn__" not in function.__qualname__:
        assert signature.return_annotation is not signature.empty
    # Names in annotations are those of the module; PyTorch's are not loaded for it.
    typing.get_type_hints(function)
