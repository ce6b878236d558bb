"""``--model-option NAME=VALUE``: parameters of the estimator, or of both that a premium is the product of."""

import json
from contextlib import suppress

from fairdcov.encoding import nearest_name

__all__ = ["read_model_options"]

# Parameters that options of their own set; a second value would be one that nothing else knows of.
_OPTIONS = {
    "penalty": "--penalty",
    "strength": "--strengths",
    "objective": "--family",
    "power": "--power",
    "tweedie_power": "--power",
    "dispersion": "--dispersion",
    "monotone_constraints": "--monotone",
}
# Roles of columns are those of the book.
_COLUMNS = {
    "sensitive_columns",
    "drop_sensitive_columns",
    "frequency_features",
    "severity_features",
}


def read_model_options(texts, estimator, parts=()):
    """Parameters of an estimator by name.

    Parameters
    ----------
    texts : list of str
        As they were typed. Values are read as JSON where they are JSON, and are text elsewhere.
    estimator : estimator
        Whose parameters they are.
    parts : tuple of str, default=()
        Parameters of it that are estimators themselves. What is a parameter of theirs and not of its own is set in all
        of them, ``frequency__num_leaves=7`` in one.

    Returns
    -------
    dict of str to object
        For ``set_params``.

    Raises
    ------
    ValueError
        For text of another form, for names that are no parameters, and for those that have an option of their own.
    """
    own = set(estimator.get_params(deep=False)) - set(parts)
    of_part = {name: set(getattr(estimator, name).get_params()) for name in parts}
    shared = set.intersection(*of_part.values()) if parts else set()
    reserved = _OPTIONS.keys() | _COLUMNS
    single = {f"{name}__{parameter}" for name, found in of_part.items() for parameter in found - reserved}
    known = ((own | shared) - reserved) | single
    chosen: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        last = name.rpartition("__")[2]
        if equals and last in _OPTIONS:
            raise ValueError(f"--model-option: {last} is what {_OPTIONS[last]} sets; found {text!r}")
        if not equals or name not in known:
            of_this_part = {each for each in single if each.startswith(name.partition("__")[0] + "__")}
            meant = of_this_part if "__" in name and of_this_part else known - single
            hint = nearest_name(name, sorted(meant), "parameters") if equals else ""
            raise ValueError(f"--model-option takes NAME=VALUE of {_called(estimator, parts)}; found {text!r}{hint}")
        with suppress(json.JSONDecodeError):
            value = json.loads(value)
        # What was said of one part stands beside what was said of all.
        names = [name] if name in own or name in single else [f"{part}__{name}" for part in parts]
        chosen |= {name: value for name in names if len(names) == 1 or name not in chosen}
    return chosen


def _called(estimator, parts):
    if not parts:
        return type(estimator).__name__
    return " and ".join(dict.fromkeys(type(getattr(estimator, name)).__name__ for name in parts))
