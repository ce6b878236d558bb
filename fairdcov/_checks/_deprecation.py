"""Public names that have another name now: the old ones go on working, and say so.

A parameter of a constructor keeps its old name beside the new one, with the default ``"deprecated"``, so that
``get_params``, ``set_params``, ``clone`` and searches know it; what was given there is what applies. A class names its
pairs of old and new name in ``_renamed_parameters``.
"""

import functools
import inspect
import warnings

__all__ = ["NOT_GIVEN", "parameter_value", "renamed_attribute", "renamed_class", "renamed_state", "warn_of_renamed"]

NOT_GIVEN = "deprecated"


def _given(estimator):
    """Old and new name of each renamed parameter that was given by its old name."""
    for old, new in estimator._renamed_parameters:
        value = getattr(estimator, old, NOT_GIVEN)
        if not (isinstance(value, str) and value == NOT_GIVEN):
            yield old, new


def parameter_value(estimator, name):
    """What applies of a parameter: what was given by an old name of it, or else by ``name``."""
    return getattr(estimator, {new: old for old, new in _given(estimator)}.get(name, name))


def warn_of_renamed(estimator):
    """Warn of parameters that were given by their old names; for the beginning of ``fit``.

    Raises
    ------
    ValueError
        When both names were given.
    """
    defaults = inspect.signature(type(estimator).__init__).parameters
    for old, new in _given(estimator):
        if getattr(estimator, new) != defaults[new].default:
            raise ValueError(f"{old} is the former name of {new}, and both were given: leave {old} out")
        warnings.warn(f"{old} is called {new} now; the old name will go", FutureWarning, stacklevel=4)


def renamed_attribute(old, new):
    """Property for the former name of a fitted attribute."""

    def read(self):
        if new not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {old!r}")
        warnings.warn(f"{old} is called {new} now; the old name will go", FutureWarning, stacklevel=2)
        return getattr(self, new)

    return property(read, doc=f"Former name of ``{new}``.")


def renamed_class(old, cls):
    """The class under its former name: a subclass that warns when it is made."""

    @functools.wraps(cls.__init__)
    def __init__(self, *args, **kwargs):
        warnings.warn(f"{old} is called {cls.__name__} now; the old name will go", FutureWarning, stacklevel=2)
        cls.__init__(self, *args, **kwargs)

    namespace = {
        "__init__": __init__,
        "__doc__": f"Former name of :class:`{cls.__name__}`.",
        "__module__": cls.__module__,
    }
    return type(old, (cls,), namespace)


def renamed_state(estimator, state):
    """State of an object that an earlier version has saved, with its parameters and attributes by their new names.

    For ``__setstate__``: old names of parameters that were given become new ones.
    """
    state = dict(state)
    for old, new in estimator._renamed_parameters:
        if new not in state and old in state:
            state[new], state[old] = state[old], NOT_GIVEN
        if f"{new}_" not in state and f"{old}_" in state:
            state[f"{new}_"] = state.pop(f"{old}_")
    return state
