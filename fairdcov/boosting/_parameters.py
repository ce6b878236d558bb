"""Further parameters of a learner, passed through as keywords and kept as attributes like all others."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, Self

import numpy as np

from fairdcov._checks import renamed_attribute, renamed_parameters, renamed_state

__all__ = ["PassThroughParameters", "check_monotone"]

# A name this much like one of ours is a slip of the pen, not a parameter of the learner.
_SIMILAR = 0.8
_RENAMED = {
    "n_fair_rounds": "n_penalised_rounds",
    "fair_learning_rate": "penalised_learning_rate",
    "fair_target": "penalised_target",
}
_RENAMED_ATTRIBUTES = {"n_fair_rounds_": "n_penalised_rounds_"}


def check_monotone(parameters, aliases, X, categories):
    """Raise for a monotone constraint on a category, whose levels have no order.

    LightGBM ends the whole process on one, from within its threads, and XGBoost takes it for something else.

    Parameters
    ----------
    parameters : dict
        Of the learner.
    aliases : collection of str
        What the learner calls its constraints.
    X : array, sparse matrix or DataFrame, (n, p)
        Features.
    categories : collection of int
        Positions of the features that the learner reads as categories.
    """
    for name in sorted(set(aliases) & set(parameters)):
        signs = parameters[name]
        if signs is None:
            continue
        columns = list(getattr(X, "columns", range(X.shape[1])))
        if isinstance(signs, str):
            signs = [sign.strip() for sign in signs.strip("()[] ").split(",")]
        if not isinstance(signs, dict):
            # What is no constraint at all, or too few of them, is for the learner to refuse.
            signs = dict(zip(columns, np.ravel(signs).tolist(), strict=False))
        for position in sorted(categories):
            if signs.get(columns[position], 0) not in (0, "0", ""):
                raise ValueError(
                    f"{name} has {signs[columns[position]]} for feature {columns[position]!r}, a category, whose "
                    "levels have no order: set 0 there, or turn its levels into numbers in an order of your own"
                )


class PassThroughParameters:
    """Mixin of an estimator whose ``__init__`` takes ``**parameters`` for its learner.

    Former names of our own parameters come in among them as well: they set the parameter of the new name.
    """

    n_fair_rounds = renamed_attribute("n_fair_rounds", "n_penalised_rounds")
    fair_learning_rate = renamed_attribute("fair_learning_rate", "penalised_learning_rate")
    fair_target = renamed_attribute("fair_target", "penalised_target")
    n_fair_rounds_ = renamed_attribute("n_fair_rounds_", "n_penalised_rounds_")

    def _set_further(self, parameters):
        defaults = inspect.signature(type(self)).parameters
        given = [new for new in _RENAMED.values() if getattr(self, new) is not defaults[new].default]
        for name, value in renamed_parameters(_RENAMED, parameters, given).items():
            setattr(self, name, value)

    def _further_parameters(self):
        """What was passed beyond the parameters that ``__init__`` names."""
        named = self._get_param_names()
        return {
            name: value
            for name, value in vars(self).items()
            if name not in named and not name.startswith("_") and not name.endswith("_")
        }

    def _check_further(self, refused):
        """Raise for names that are nearly ours, and for those the penalty does not go with.

        Parameters
        ----------
        refused : dict of str to str
            Reason for each name of a parameter that must not be passed.
        """
        for name in self._further_parameters():
            near = difflib.get_close_matches(name, self._get_param_names(), n=1, cutoff=_SIMILAR)
            if near:
                raise TypeError(f"{type(self).__name__} has no parameter {name!r}; did you mean {near[0]!r}?")
            if name in refused:
                raise ValueError(f"{name} cannot be passed to {type(self).__name__}: {refused[name]}")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, those for the learner included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into nested objects such as the penalty.

        Returns
        -------
        dict
        """
        return {**super().get_params(deep=deep), **self._further_parameters()}  # type: ignore[misc]

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters, also those for the learner that have not been set before.

        Parameters
        ----------
        **parameters
            Values by name; ``penalty__c`` and the like go into the penalty.

        Returns
        -------
        self
        """
        parameters = renamed_parameters(_RENAMED, parameters)
        known = self.get_params(deep=True)
        for name in parameters:
            if name not in known and "__" not in name:
                setattr(self, name, None)
        return super().set_params(**parameters)  # type: ignore[misc]

    def __setstate__(self, state):
        """Restore a state, also one of a version with the former names."""
        super().__setstate__(renamed_state({**_RENAMED, **_RENAMED_ATTRIBUTES}, state))
