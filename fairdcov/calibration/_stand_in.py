"""Copies of a fitted model that answer in its place: with a constant, or with what it has said before."""

import warnings

import numpy as np
from sklearn.base import is_classifier
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import Pipeline

__all__ = ["predicting_once", "score_of_constant"]

_METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def score_of_constant(model, scorer, y, sample_weight, held, score_params):
    """Score of the constant prediction that a model of some rows would make without features.

    Parameters
    ----------
    model : estimator
        Fitted; a scorer may be the model's own ``score``, and gets a copy whose predictions are constant.
    scorer : callable
        ``scorer(estimator, X, y, **score_params)``.
    y, sample_weight : (n,) arrays
        Target and weights (or None) of the rows that the model was fitted to; the constant is their mean, or the shares
        of the classes.
    held : (X, y)
        Rows to score, features as the model takes them.
    score_params : dict
        Metadata of the scorer.

    Returns
    -------
    float
        NaN where the scorer does not ask the model for predictions, such as the score of a search, which asks an
        estimator within, or where it has no value for constant ones.
    """
    asked = []
    constant = _constant_copy(model, _fit_dummy(model, y, sample_weight), asked)
    with warnings.catch_warnings():
        # That some measure is not defined for constant predictions is no news about the model.
        warnings.simplefilter("ignore")
        try:
            score = float(scorer(constant, *held, **score_params))
        except Exception:  # a scorer of the user may fail as it likes
            return float("nan")
    return score if asked else float("nan")


def _fit_dummy(model, y, sample_weight):
    dummy = DummyClassifier(strategy="prior") if is_classifier(model) else DummyRegressor()
    return dummy.fit(np.zeros((len(y), 1)), y, sample_weight=sample_weight)


def _constant_copy(model, dummy, asked):
    """Copy of a fitted model with the predictions of a dummy; names of the methods that are called go to ``asked``."""
    if isinstance(model, Pipeline):
        # Its score is that of the last step.
        constant = _shallow_copy(model)
        name, last = model.steps[-1]
        constant.steps = [*model.steps[:-1], (name, _constant_copy(last, dummy, asked))]
        return constant

    def answer(method, X, *arguments, **options):
        asked.append(method)
        n_samples = X.shape[0] if hasattr(X, "shape") else len(X)
        if method == "decision_function":
            return np.zeros(n_samples)
        return getattr(dummy, method)(np.zeros((n_samples, 1)))

    return _copy_that_answers(model, answer)


def predicting_once(model, X, params=None):
    """Copy of a fitted model that computes each kind of prediction of ``X`` once, whoever asks for it.

    ``params`` are metadata that predictions of ``X`` need, such as an offset; those who ask need not know of them.
    """
    known, params = {}, params or {}

    def answer(method, rows, *arguments, **options):
        if rows is not X or arguments or options:
            return getattr(model, method)(rows, *arguments, **options)
        if method not in known:
            known[method] = getattr(model, method)(X, **params)
        return known[method]

    return _copy_that_answers(model, answer)


def _shallow_copy(model):
    # Not by copy.copy, which turns some models into text and back.
    twin = object.__new__(type(model))
    twin.__dict__.update(vars(model))
    return twin


def _copy_that_answers(model, answer):
    """Copy of a fitted model whose methods of prediction return ``answer(method, X, ...)``."""
    twin = _shallow_copy(model)

    def responder(method):
        def respond(X, *arguments, **options):
            return answer(method, X, *arguments, **options)

        # scikit-learn's scorers know a method by its name.
        respond.__name__ = method
        return respond

    for method in _METHODS:
        if hasattr(model, method):
            setattr(twin, method, responder(method))
    return twin
