"""Public names that have another name now: the old ones go on working, and say so."""

import functools
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from fairdcov._checks._warning import warn_user

__all__ = ["renamed_attribute", "renamed_class", "renamed_parameters", "renamed_state"]

_Instance = TypeVar("_Instance", bound=Any)


def renamed_parameters(
    renamed: Mapping[str, str], parameters: Mapping[str, Any], given: Collection[str] = ()
) -> dict[str, Any]:
    """Parameters by their new names, with a warning of each that came by an old one.

    Parameters
    ----------
    renamed : dict of str to str
        New name of each old one.
    parameters : dict
        What was given, by old or new names.
    given : collection of str, optional
        Further names that were given.

    Raises
    ------
    TypeError
        When a parameter was given by both names.
    """
    known = dict(parameters)
    for old in renamed.keys() & parameters.keys():
        new = renamed[old]
        if new in parameters or new in given:
            raise TypeError(f"{old} is the former name of {new}, and both were given: leave {old} out")
        warn_user(f"{old} is called {new} now; the old name will go", FutureWarning)
        known[new] = known.pop(old)
    return known


def renamed_attribute(old: str, new: str) -> property:
    """Property for the former name of a fitted attribute."""

    def read(self: Any) -> Any:
        if new not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {old!r}")
        warn_user(f"{old} is called {new} now; the old name will go", FutureWarning)
        return getattr(self, new)

    return property(read, doc=f"Former name of ``{new}``.")


def renamed_class(old: str, cls: type[_Instance]) -> type[_Instance]:
    """The class under its former name: a subclass that warns when it is made."""

    @functools.wraps(cls.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        warn_user(f"{old} is called {cls.__name__} now; the old name will go", FutureWarning)
        cls.__init__(self, *args, **kwargs)

    namespace = {
        "__init__": __init__,
        "__doc__": f"Former name of :class:`{cls.__name__}`.",
        "__module__": cls.__module__,
    }
    return type(old, (cls,), namespace)


def renamed_state(renamed: Mapping[str, str], state: Mapping[str, Any]) -> dict[str, Any]:
    """State of an object that an earlier version has saved, by the new names; for ``__setstate__``."""
    return {renamed.get(name, name): value for name, value in state.items()}
