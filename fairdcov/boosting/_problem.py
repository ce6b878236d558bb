"""What the penalised boosters share: the fit in numbered stages, and the features that they take."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from fairdcov._checks import Table, check_choice, check_positive_number, check_whole_number, fill_docstring, warn_user
from fairdcov._fitting import (
    FIT_PARTS,
    BinaryClassifier,
    ObjectiveRegressor,
    PenalisedEstimator,
    RawObjective,
    StrengthGuard,
    TrainingData,
    read_evaluation_data,
    read_training_data,
    warn_of_dependence,
    warn_of_level,
    warn_of_strength,
)
from fairdcov.boosting._objective import BalancedObjective
from fairdcov.boosting._penalised_rounds import Monitor, PenalisedRounds

__all__ = [
    "BoostedClassifier",
    "BoostedRegressor",
    "PenalisedBooster",
    "as_features",
    "learners_loss",
    "own_gradients",
    "step_bounds",
]

# Both learners hold targets and weights in single precision.
_LEAST_NUMBER, _LARGEST_NUMBER = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

# Of a mean, by rounding in single precision.
_SHARE_MISSED = 8 * float(np.finfo(np.float32).eps)

# On the link scale, before the learning rate.
_LARGEST_LEAF = 2.0


def as_features(X):
    """Data frames as pandas, which the learners know; anything else as it is."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame) and not isinstance(X, pd.DataFrame):
        return frame.to_pandas()
    return X


def _as_matrix(X):
    """LightGBM knows SciPy's sparse matrices, not its sparse arrays."""
    return sp.csr_matrix(X) if sp.issparse(X) else X


def check_single_precision(values, name, *, positive=False):
    """Raise for numbers that are all zero, or infinite, in single precision; with ``positive`` if a single one is."""
    sizes = np.abs(values[values != 0])
    if not len(sizes):
        return
    least = sizes.min() if positive else sizes.max()
    if not (least >= _LEAST_NUMBER and sizes.max() <= _LARGEST_NUMBER):
        raise ValueError(
            f"{name} must have sizes between {_LEAST_NUMBER:.3g} and {_LARGEST_NUMBER:.3g}, since the learner holds it "
            f"in single precision; found {sizes.min():.3g} to {sizes.max():.3g}: give it in another unit"
        )


def step_bounds(loss, parameters):
    """Parameters of a learner for penalised rounds: no leaf moves raw predictions by more than a few units of the link.

    The curvature takes the inverse link for straight; on the logarithmic and logistic scales steps beyond about 2 would
    not be short enough for that. ``max_delta_step`` of the user goes first.
    """
    if loss.link == "identity" or parameters.get("max_delta_step"):
        return {}
    return {"max_delta_step": _LARGEST_LEAF}


def own_gradients(objective, total_weight):
    """Custom objective for a learner that does not have the family: gradient and Fisher weights of the loss.

    Learners apply no row weights to the gradients of a custom objective, and their thresholds mean sums over rows.
    """

    # An offset is in the learner's raw scores.
    def gradients(raw, rows):
        _, _, gradient, curvature = objective.terms_curvature(objective.without_offset(raw.astype(np.float64)))
        return total_weight * gradient, total_weight * curvature

    return gradients


def learners_loss(objective, raw):
    """Mean loss at a learner's raw scores, which have an offset in them."""
    return objective.mean_loss(objective.without_offset(raw.astype(np.float64)))


class BoostingProblem:
    """All of a fit that does not depend on the strength: checked data, bound penalties and the unpenalised booster."""

    def __init__(
        self,
        estimator,
        X,
        y,
        sample_weight,
        sensitive_features,
        strengths,
        *,
        control_features=None,
        eval_set=None,
        eval_sample_weight=None,
        eval_sensitive_features=None,
        eval_control_features=None,
        offset=None,
        eval_offset=None,
        callbacks=None,
    ):
        # 1. Parameters.
        self.estimator = estimator
        for name in ("n_estimators", "n_penalised_rounds"):
            check_whole_number(getattr(estimator, name), name)
        for name in ("learning_rate", "penalised_learning_rate"):
            check_positive_number(getattr(estimator, name), name)
        if estimator.early_stopping_rounds is not None:
            check_whole_number(estimator.early_stopping_rounds, "early_stopping_rounds")
            if eval_set is None:
                raise ValueError(
                    f"early_stopping_rounds={estimator.early_stopping_rounds} needs rows to watch: pass "
                    "fit(..., eval_set=(X, y), eval_sensitive_features=S)"
                )
        check_choice(estimator.penalised_target, "penalised_target", ("unpenalised", "observed"))
        estimator._check_learner()
        penalised = any(strengths)

        # 2. Data.
        loss = estimator._loss()
        data = read_training_data(
            estimator,
            X,
            y,
            sample_weight,
            sensitive_features,
            loss,
            penalised=penalised,
            control_features=control_features,
            offset=offset,
        )
        if data.offset is not None and not estimator._takes_offset:
            raise ValueError(f"{type(estimator).__name__} takes no offset: its unpenalised rounds would not see it")
        monitored = read_evaluation_data(
            estimator,
            eval_set,
            eval_sample_weight,
            eval_sensitive_features,
            loss,
            penalised=penalised,
            control_features=eval_control_features,
            conditional=control_features is not None,
            offset=eval_offset,
        )
        for part, names in ((data, ("y", "sample_weight")), (monitored, ("y of eval_set", "eval_sample_weight"))):
            if part is not None:
                check_single_precision(part.y, names[0], positive=loss.target_range == "positive")
                check_single_precision(part.weights, names[1])

        # 3. What depends on the protected attributes alone.
        bind = partial(TrainingData.bind, penalty=estimator.penalty, penalised=penalised, n_threads=estimator.n_jobs)
        self.objective = BalancedObjective(loss, data.y, data.probabilities, bind(data), data.offset)
        monitor = None
        if monitored is not None:
            objective = RawObjective(loss, monitored.y, monitored.probabilities, bind(monitored), monitored.offset)
            monitor = Monitor(objective, estimator.early_stopping_rounds)

        # 4. The unpenalised booster.
        seed = estimator.random_state
        if seed is not None and not isinstance(seed, numbers.Integral):
            seed = int(check_random_state(seed).randint(np.iinfo(np.int32).max))
        self.callbacks = list(callbacks or ())
        watched = None if monitor is None else monitor.objective
        self.grower = estimator._start(data, monitored, seed, self.callbacks, self.objective, watched)
        self._guard = StrengthGuard(self.objective.constant_loss(), slack=_slack(self.objective))
        self._take_diverged_rounds_back()
        self.n_unpenalised = self.grower.n_trees()

        # 5. What the penalised rounds keep close to.
        target = data.y
        if penalised and estimator.penalised_target == "unpenalised":
            raw = self.grower.raw()
            target = self.objective.response(raw + self.objective.best_shift(raw))
        self.rounds = PenalisedRounds(
            BalancedObjective(loss, target, self.objective.probabilities, self.objective.penalty, data.offset),
            self.grower,
            data.weights.sum(),
            float(estimator.penalised_learning_rate),
            monitor,
        )
        self._n_penalised = 0

    def _warn_of_dependence(self, strength, raw, shift, refined):
        estimator = self.estimator
        remedy = "take more n_penalised_rounds, or trees of more leaves"
        null_level = warn_of_dependence(estimator, self.objective, raw, strength, remedy)
        if strength > 0 and self.rounds.monitor is not None:
            watched_raw = self.grower.monitored_raw() + shift
            if refined is not None:
                watched_raw = self.rounds.refined_watched_raw(refined)
            warn_of_dependence(
                estimator,
                self.rounds.monitor.objective,
                watched_raw,
                strength,
                "what was learnt of the attributes does not hold there: take larger leaves, or more rows",
                rows="the rows of eval_set",
            )
        return null_level

    def _admits(self, raw):
        """Whether raw predictions of the training rows are not worse than a constant."""
        return self._guard.admits(self.objective.mean_loss(raw))

    def _take_diverged_rounds_back(self):
        """Drop rounds of a learner that has run away: the rest must be better than a constant, but for its level."""
        n_rounds = self.grower.n_trees()
        while True:
            raw = self.grower.raw()
            with np.errstate(over="ignore", invalid="ignore"):
                if self._guard.admits(self.objective.mean_loss(raw + self.objective.best_shift(raw))):
                    break
            if self.grower.n_trees() == 1:
                raise ValueError(
                    "the unpenalised rounds diverge: after the first one the predictions are worse than a constant; "
                    "set max_delta_step=1, a smaller learning_rate or larger leaves, and check y for extreme values"
                )
            self.grower.drop()
        if self.grower.n_trees() < n_rounds:
            warn_user(
                f"the unpenalised rounds diverged: predictions were worse than a constant after {n_rounds} rounds, and "
                f"{self.grower.n_trees()} were kept; set max_delta_step=1, a smaller learning_rate or larger leaves, "
                "and check y for extreme values",
                ConvergenceWarning,
            )

    def solve(self, strength, start=None):
        """Fitted attributes at a strength: penalised rounds on top of what is there."""
        estimator = self.estimator
        shift, effective, refined = 0.0, 0.0, None
        if strength > 0:
            # Leaves that were moved are where a larger strength goes on from, not the trees as they were grown.
            if self.rounds.refined is None:
                n_rounds, shift = self.rounds.train(
                    strength,
                    estimator.n_penalised_rounds,
                    self.grower.after_round(self.callbacks, estimator.n_penalised_rounds),
                )
                self._n_penalised += n_rounds
            effective = self.rounds.effective_strength(strength)
            refined = self.rounds.refine(strength, min(self._n_penalised, estimator.n_penalised_rounds), self._admits)
        if refined is None:
            booster, raw = self.grower.snapshot(shift), self.grower.raw() + shift
        else:
            effective, raw = refined.strength, refined.raw
            first = self.grower.n_trees() - len(refined.moves)
            booster = self.grower.with_leaves_moved(self.grower.snapshot(refined.shift), first, refined.moves)
        loss, penalty = self.objective.mean_loss(raw), self.objective.penalty_value(raw)
        if not self._guard.admits(loss):
            warn_user(
                f"{type(estimator).__name__} has a loss of {loss:.6g} on its training rows, above the "
                f"{self._guard.highest_loss:.6g} of a constant: it needs more rounds than "
                f"n_estimators={estimator.n_estimators}, or a larger learning_rate than {estimator.learning_rate:g}",
                ConvergenceWarning,
            )
        warn_of_strength(estimator, strength, effective)
        warn_of_level(estimator, self.objective, lambda: self.objective.whole(raw), effective)
        null_level = self._warn_of_dependence(strength, raw, shift, refined)
        if estimator.verbose:
            print(
                f"strength {strength:g}: {self._n_penalised} penalised rounds, loss {loss:.8g}, penalty {penalty:.4g}",
                flush=True,
            )
        return None, {
            "booster_": booster,
            "n_unpenalised_rounds_": self.n_unpenalised,
            "n_penalised_rounds_": self._n_penalised,
            "effective_strength_": effective,
            "penalty_null_level_": null_level,
            **self.objective.attributes(loss, penalty, loss + (effective * penalty if strength > 0 else 0.0)),
            "history_": {name: np.array(values) for name, values in self.rounds.history.items()},
        }


def _slack(objective):
    """What a constant costs at most that is missed by rounding in single precision."""
    link, level = objective.loss.link, objective.constant()
    # Half the square of the miss on the link scale, times the curvature there.
    size = 1.0
    if link == "identity":
        size = float(objective.probabilities @ objective.y**2)
    elif link == "log":
        size = float(objective.probabilities @ objective.curvature(np.full(len(objective.y), level)))
    return size * _SHARE_MISSED**2 / 2


class PenalisedBooster(PenalisedEstimator):
    """Trees grown on ``mean loss + strength * penalty``, after an unpenalised booster.

    Subclasses say which learner grows them.
    """

    __metadata_request__fit = {  # noqa: RUF012
        "eval_set": True,
        "eval_sample_weight": True,
        "eval_sensitive_features": True,
        "eval_control_features": True,
        "eval_offset": True,
        "callbacks": True,
    }

    _problem_class = BoostingProblem
    _learnt = "booster_"
    # Whether ``_start`` reckons with the offset of its rows, and ``raw`` of its grower leaves it out.
    _takes_offset = False
    # What the learners read beside data frames: numbers that may be missing.
    _input = {  # noqa: RUF012
        "accept_sparse": "csr",
        "dtype": [np.float64, np.float32],
        "ensure_all_finite": "allow-nan",
    }

    # -- what subclasses provide ---------------------------------------------------------------------------------------

    def _check_learner(self):
        """Raise for parameters that the learner does not combine with a penalty."""
        return

    def _start(self, data, monitored, seed, callbacks, objective, watched_objective):
        """Fit the unpenalised booster; what grows trees on it.

        The objectives are of the rows to train on and of those to watch, for families that the learner does not have.
        """
        raise NotImplementedError

    # -- fit -----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        eval_set: Any = None,
        eval_sample_weight: Any = None,
        eval_sensitive_features: Any = None,
        eval_control_features: Any = None,
        offset: ArrayLike | None = None,
        eval_offset: Any = None,
        callbacks: Sequence[Callable[..., Any]] | None = None,
    ) -> Self:
        """Fit the unpenalised booster and, for ``strength > 0``, the penalised rounds.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features, with missing values and, in data frames, categorical columns as the learner takes them.
        <rows>
        <evaluation>
        callbacks : list of callables, optional
            Callbacks of the learner. They see two trainings: the unpenalised rounds, then the penalised ones with
            ``objective``, ``loss`` and ``penalty`` as metrics.

        <outcome>
        ImportError
            When the learner is not installed.

        Warns
        -----
        StrengthWarning
            When a smaller strength was reached (``effective_strength_``), since what is left of the penalty would
            outweigh ten times what is left of the model; when the penalty of the training rows, or of ``eval_set``, is
            above its level under independence although a constant would have the lower objective.
        ConvergenceWarning
            When the learner's own rounds end worse than a constant.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            sensitive_features,
            control_features=control_features,
            eval_set=eval_set,
            eval_sample_weight=eval_sample_weight,
            eval_sensitive_features=eval_sensitive_features,
            eval_control_features=eval_control_features,
            offset=offset,
            eval_offset=eval_offset,
            callbacks=callbacks,
        )

    _USE = "Rows to watch the objective on; with ``early_stopping_rounds`` they end both phases of the training."
    fill_docstring(fit, **FIT_PARTS, **{"use of eval_set": _USE})

    def _check_path(self, strengths):
        if any(later <= earlier for earlier, later in pairwise(strengths)):
            raise ValueError(f"strengths must increase along a path of penalised rounds; found {strengths}")

    def _validate(self, X, y, *, ensure_min_samples, reset):
        X = as_features(X)
        if not isinstance(X, pd.DataFrame):
            least = max(ensure_min_samples, 2) if reset else ensure_min_samples
            X, y = super()._validate(X, y, ensure_min_samples=least, reset=reset)
            return _as_matrix(X), y
        validate_data(self, X, skip_check_array=True, reset=reset)
        y = column_or_1d(y, warn=True)
        if is_regressor(self):
            y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        check_consistent_length(X, y)
        if len(X) < ensure_min_samples:
            raise ValueError(f"X must have at least {ensure_min_samples} rows; found {len(X)}")
        return X, y

    def _validate_features(self, X):
        X = as_features(X)
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, skip_check_array=True, reset=False)
            return X
        return _as_matrix(super()._validate_features(X))

    def _raw_predict(self, X):
        """Raw (link-scale) predictions, the initial score of the training included, the offset not, (n,)."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class BoostedRegressor(ObjectiveRegressor, PenalisedBooster):
    """Regression by objective; scores by the share of deviance explained."""


class BoostedClassifier(BinaryClassifier, PenalisedBooster):
    """Two classes by the log loss."""
