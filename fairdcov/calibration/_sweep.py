"""The sweep: one estimator fitted at many strengths, and what does not depend on them done once in each fold."""

import inspect

import sklearn
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from fairdcov.calibration._data import handed_to, route_to

__all__ = ["Sweep"]


def _takes(function, names):
    parameters = inspect.signature(function).parameters
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values()) or set(names) <= set(parameters)


class Sweep:
    """Fits one estimator at many strengths; preprocessing and whatever else does not depend on them is done once.

    ``models(...)`` yields fitted models that take features prepared by ``prepare``; a model of a path with a method
    ``prepare`` has a say in that. Where there is no path, or it does not take all the metadata that ``fit`` gets (such
    as a validation set), each model is fitted from cold.

    Parameters
    ----------
    estimator : estimator
        Estimator, or Pipeline.
    param_name : str
        Its strength-like parameter.
    params : dict
        Metadata that its ``fit`` will get; only the names are looked at.
    """

    def __init__(self, estimator, param_name, params):
        self.estimator = estimator
        self.param_name = param_name
        self._head = self._last = None
        owner, _, name = param_name.rpartition("__")
        if name != "strength":
            return
        last, head = estimator, None
        # A meta-estimator with a path of its own follows the strength of the estimator within.
        if owner and not (owner == "estimator" and hasattr(estimator, "strength_path")):
            # A pipeline that transforms metadata on their way (transform_input) has to do it itself.
            if not isinstance(estimator, Pipeline) or owner != estimator.steps[-1][0] or estimator.transform_input:
                return
            last = estimator[-1]
            head = clone(estimator[:-1]) if len(estimator.steps) > 1 else None
        if not hasattr(last, "strength_path"):
            return
        self._head, self._last = head, last
        if not _takes(last.strength_path, self._split(params)[1]):
            self._head = self._last = None

    def with_estimator(self, estimator, params):
        """The same sweep of another estimator."""
        return Sweep(estimator, self.param_name, params)

    def _split(self, params):
        """Metadata for the steps before the last, and for the last."""
        if not isinstance(self.estimator, Pipeline):
            return {}, params
        if sklearn.get_config()["enable_metadata_routing"]:
            head = {} if self._head is None else route_to(self._head, "fit_transform", params)
            return head, route_to(self._last, "fit", params)
        prefix = self.estimator.steps[-1][0] + "__"
        last = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
        return {name: value for name, value in params.items() if not name.startswith(prefix)}, last

    def models(self, X, y, strengths, params):
        """Fitted models, one for each strength, made as they are asked for."""
        if self._last is None:
            # What holds an estimator of the user's hands on to it what it gets.
            params = handed_to(None if hasattr(self.estimator, "estimator") else self.estimator.fit, params)
            for strength in strengths:
                yield clone(self.estimator).set_params(**{self.param_name: strength}).fit(X, y, **params)
            return
        head, last = self._split(params)
        if self._head is not None:
            X = self._head.fit_transform(X, y, **handed_to(None, head))
        last = handed_to(self._last.strength_path, last)
        yield from clone(self._last).strength_path(X, y, strengths, **last)

    def prepare(self, X, model):
        """Features as the models take them, from the first model on; what all of a path have in common is done once."""
        if self._head is not None:
            X = self._head.transform(X)
        return model.prepare(X) if self._last is not None and hasattr(model, "prepare") else X

    def own_score_params(self, params):
        """What the models' own ``score`` takes of the metadata for the estimator's ``score``."""
        if self._last is None or not isinstance(self.estimator, Pipeline):
            return params
        routing = sklearn.get_config()["enable_metadata_routing"]
        return route_to(self._last, "score", params) if routing else params

    def fit_last(self, X, y, strengths, params):
        """The whole estimator at the last of the strengths, reached by the same path as in the folds.

        The penalised objective is not convex: a fit from cold may end elsewhere than the models that were measured.
        """
        if self._last is None:
            strengths = strengths[-1:]
        *_, model = self.models(X, y, strengths, params)
        if self._last is None or not isinstance(self.estimator, Pipeline):
            return model
        head = [] if self._head is None else self._head.steps
        return clone(self.estimator).set_params(steps=[*head, (self.estimator.steps[-1][0], model)])
