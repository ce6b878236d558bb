"""The sweep: one estimator fitted at many strengths, and what is measured on the rows held out.

Rows are cut and metadata handed on as scikit-learn's searches do it; preprocessing that does not depend on the strength
is fitted once in each fold.
"""

import inspect
import time
import warnings
from dataclasses import dataclass, field

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from fairdcov.calibration._cost import FoldCost, summarise_cost
from fairdcov.calibration._stand_in import predicting_once, score_of_constant
from fairdcov.encoding import given_to, take_rows
from fairdcov.exceptions import SensitiveFeaturesWarning, StrengthWarning
from fairdcov.metrics import js_divergence, null_distribution, predictions_of

__all__ = ["CalibrationData", "Sweep", "count_rows", "find_range", "measure_fold", "summarise_folds"]

# Decades tried on each side of 1 when the range of strengths is looked for.
_MOST_DECADES = 8
# A divergence within this share of the one at strength 0 counts as unchanged.
_UNCHANGED = 0.03


# ---------------------------------------------------------------------------------------------------------------------
# Rows and metadata
# ---------------------------------------------------------------------------------------------------------------------


def count_rows(X):
    """Number of rows of a frame, matrix or list."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def _is_per_row(value, n_samples):
    if isinstance(value, str | bytes | dict) or not (hasattr(value, "shape") or hasattr(value, "__len__")):
        return False
    return getattr(value, "shape", None) != () and count_rows(value) == n_samples


def take_metadata(params, rows, n_samples):
    """Metadata of some rows; what is not one value per row goes through as it is."""
    return {name: take_rows(value, rows) if _is_per_row(value, n_samples) else value for name, value in params.items()}


def route_to(consumer, method, params):
    """What a consumer's or router's method is to be called with, under the names that it uses itself."""
    router = MetadataRouter(owner=consumer).add(
        consumer=consumer, method_mapping=MethodMapping().add(caller="fit", callee=method)
    )
    return dict(router.route_params(caller="fit", params=params)["consumer"][method])


def _handed_to(function, params):
    """Metadata for a function: protected attributes as the user gave them unless it is one of this package."""
    return {name: given_to(function, value) for name, value in params.items()}


@dataclass(frozen=True)
class CalibrationData:
    """Rows with their metadata, for ``fit``, for the scorer and for ``predict``."""

    X: object
    y: object
    attributes: object
    sample_weight: object
    fit_params: dict
    score_params: dict
    control: object = None
    predict_params: dict = field(default_factory=dict)

    def part(self, rows):
        """Some of the rows."""
        n_samples = count_rows(self.X)
        return CalibrationData(
            take_rows(self.X, rows),
            take_rows(self.y, rows),
            self.attributes.rows(rows),
            None if self.sample_weight is None else self.sample_weight[rows],
            take_metadata(self.fit_params, rows, n_samples),
            take_metadata(self.score_params, rows, n_samples),
            None if self.control is None else self.control.rows(rows),
            take_metadata(self.predict_params, rows, n_samples),
        )


# ---------------------------------------------------------------------------------------------------------------------
# Paths
# ---------------------------------------------------------------------------------------------------------------------


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
            params = _handed_to(None if hasattr(self.estimator, "estimator") else self.estimator.fit, params)
            for strength in strengths:
                yield clone(self.estimator).set_params(**{self.param_name: strength}).fit(X, y, **params)
            return
        head, last = self._split(params)
        if self._head is not None:
            X = self._head.fit_transform(X, y, **_handed_to(None, head))
        last = _handed_to(self._last.strength_path, last)
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


# ---------------------------------------------------------------------------------------------------------------------
# Measurements
# ---------------------------------------------------------------------------------------------------------------------


def effective_strength(model, strength):
    """Strength that a fitted model, or the last step of a Pipeline, goes by; the one asked for if it does not say."""
    final = model[-1] if isinstance(model, Pipeline) else model
    return getattr(final, "effective_strength_", strength)


def end_of_grid(found):
    """Index of the first strength at which the models of all folds go by a smaller one, as at later ones, or None."""
    capped = np.all([part["capped"] for part in found], axis=0)
    return int(np.argmax(capped)) if capped.any() else None


def measure_fold(sweep, data, split, strengths, scorer, *, n_permutations, divergence, seed, report=None):
    """What is measured on the rows held out, by name: arrays with an entry for each strength.

    ``divergence``, its values under permuted groups in ``permuted``, ``score``, ``seconds``, and ``capped``, whether
    the model goes by a smaller strength than the one asked for; ``constant_score`` is one number, the score of the
    constant prediction, and ``cost`` what :class:`FoldCost` has found. All strengths are compared with the same
    permutations, so that the null level is a smooth function of the strength.
    """
    fitted, held = (data.part(rows) for rows in split)
    score_params = _handed_to(scorer, held.score_params)
    rows, prepared, cost = [], None, None
    start = time.perf_counter()
    with warnings.catch_warnings():
        # Groups too small to compare have been reported for all folds together.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        # Strengths beyond the largest that a model can go by end the grid, which is said once.
        warnings.simplefilter("ignore", StrengthWarning)
        models = sweep.models(fitted.X, fitted.y, strengths, fitted.fit_params)
        for strength, model in zip(strengths, models, strict=True):
            seconds = time.perf_counter() - start
            if prepared is None:
                prepared = sweep.prepare(held.X, model)
                constant_score = score_of_constant(
                    model, scorer, fitted.y, fitted.sample_weight, (prepared, held.y), score_params
                )
            model = predicting_once(model, prepared, held.predict_params)
            predictions = predictions_of(model, prepared)
            if cost is None:
                cost = FoldCost(held.y, model, held.attributes, divergence["bins"], held.sample_weight)
            cost.add(predictions)
            null = null_distribution(
                js_divergence,
                None,
                predictions,
                sensitive_features=held.attributes,
                sample_weight=held.sample_weight,
                n_permutations=n_permutations,
                random_state=seed,
                control_features=held.control,
                **divergence,
            )
            rows.append(
                {
                    "divergence": null.observed,
                    "permuted": null.values,
                    "score": float(scorer(model, prepared, held.y, **score_params)),
                    "seconds": seconds,
                    "capped": effective_strength(model, strength) < strength,
                }
            )
            if report is not None:
                report()
            start = time.perf_counter()
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return found | {"constant_score": constant_score, "cost": cost.found()}


def summarise_folds(strengths, found, n_seeds, null_quantile):
    """Results of a calibration from what ``measure_fold`` found in each fold and, within it, for each seed.

    Seeds share the rows of their fold: they are averaged first, and the standard errors are those over the folds.
    """
    names = [name for name in found[0] if name != "cost"]
    folds = {name: np.stack([part[name] for part in found], axis=-1) for name in names}
    # Of the strengths measured those up to the end of the grid.
    folds = {name: values if values.ndim == 1 else values[: len(strengths)] for name, values in folds.items()}
    # A draw of the mean divergence under permuted groups is the mean over the folds of one draw each.
    null = folds["permuted"].mean(axis=-1)

    def mean_and_error(values):
        folds = values.reshape(len(strengths), -1, n_seeds).mean(axis=-1)
        n_folds = folds.shape[1]
        error = folds.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else np.zeros(len(strengths))
        return folds.mean(axis=1), error

    divergence, divergence_error = mean_and_error(folds["divergence"])
    net, net_error = mean_and_error(folds["divergence"] - folds["permuted"].mean(axis=1))
    score, score_error = mean_and_error(folds["score"])
    explained = score - folds["constant_score"].mean()
    return {
        "strengths": np.asarray(strengths),
        "mean_divergence": divergence,
        "std_error_divergence": divergence_error,
        "mean_net_divergence": net,
        "std_error_net_divergence": net_error,
        "mean_score": score,
        "std_error_score": score_error,
        "mean_explained": explained,
        "kept": explained / explained[0] if explained[0] > 0 else np.full(len(strengths), np.nan),
        **summarise_cost([part["cost"] for part in found], len(strengths)),
        "null_mean": null.mean(axis=1),
        "null_level": np.quantile(null, null_quantile, axis=1),
        "mean_fit_seconds": folds["seconds"].mean(axis=1),
        "fold_divergence": folds["divergence"],
        "fold_score": folds["score"],
        "fold_constant_score": folds["constant_score"],
    }


def find_range(measure):
    """From the smallest strength that changes the divergence to the one where it reaches its null level.

    Parameters
    ----------
    measure : callable
        Strengths to their divergences and null levels.

    Returns
    -------
    (float, float) or None
        None when there is no divergence to be changed, or none above its null level and no strength that changes it.

    Raises
    ------
    ValueError
        When no strength changes anything.
    """
    (start, at_one), (start_level, level) = measure([0.0, 1.0])
    if start == 0:
        return None
    low = high = 1.0
    if at_one >= (1 - _UNCHANGED) * start:
        # Too weak: go up to the first decade that changes something.
        for _ in range(_MOST_DECADES):
            high *= 10.0
            (_, reached), (_, level) = measure([0.0, high])
            if reached < (1 - _UNCHANGED) * start:
                break
            low = high
        else:
            if start <= start_level:
                return None
            raise ValueError(
                f"strengths='auto' found no strength up to {high:g} that changes the divergence of "
                f"{start:.4g}: pass strengths, and check that the penalty sees the groups' attributes"
            )
    else:
        reached = at_one
        for _ in range(_MOST_DECADES):
            (_, value), _ = measure([0.0, low / 10.0])
            low /= 10.0
            if value >= (1 - _UNCHANGED) * start:
                break
    best = reached
    for _ in range(_MOST_DECADES):
        if reached <= level:
            break
        (_, reached), (_, level) = measure([0.0, 10.0 * high])
        if reached > (1 - _UNCHANGED) * best:
            break
        best = min(best, reached)
        high *= 10.0
    # Half a decade of room, since one fold has decided.
    return low, max(high, 10.0 * low) * 10.0**0.5
