"""Parts that several docstrings share: written once, put in where a docstring names them."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["documented", "fill_docstring"]

_Documented = TypeVar("_Documented", bound=Any)


def documented(**parts: str) -> Callable[[_Documented], _Documented]:
    """Decorator that puts texts where the docstring of a function or class says ``<name>``.

    Parameters
    ----------
    **parts : str
        As for :func:`fill_docstring`, in this order: a text may name one that comes later.

    Returns
    -------
    callable
    """
    return lambda thing: fill_docstring(thing, **parts)


def fill_docstring(thing: _Documented, **parts: str) -> _Documented:
    r"""Put texts where the docstring of a function or class says ``<name>``.

    Parameters
    ----------
    thing : function or class
        Its docstring is changed.
    **parts : str
        Text for each name, written as it would stand in a docstring at module level: every line but the first is
        indented by four spaces. It gets the indentation of the line it is put in, which is none from Python 3.13 on,
        where the compiler takes it out of docstrings.

    Returns
    -------
    function or class
        The same.

    Examples
    --------
    >>> def double(x):
    ...     '''Twice as much.
    ...
    ...     <x>
    ...     '''
    >>> import inspect
    >>> inspect.getdoc(fill_docstring(double, x="x : float\n        What is doubled.")).splitlines()[2:]
    ['x : float', '    What is doubled.']
    """
    if thing.__doc__ is None:  # python -OO
        return thing
    for name, text in parts.items():
        before, place, after = thing.__doc__.partition(f"<{name}>")
        if place:
            line = before.rpartition("\n")[2]
            indentation = line[: len(line) - len(line.lstrip())]
            thing.__doc__ = before + text.replace("\n    ", "\n" + indentation) + after
    return thing
