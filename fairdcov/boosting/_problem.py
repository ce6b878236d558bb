"""What the penalised boosters share: the fit in numbered stages, and the features that they take."""

from __future__ import annotations

import numbers
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from fairdcov._checks import (
    Table,
    check_choice,
    check_positive_number,
    check_whole_number,
    fill_docstring,
    resolve_n_threads,
    warn_user,
)
from fairdcov._fitting import (
    FIT_PARTS,
    BinaryClassifier,
    ObjectiveRegressor,
    OfNewRows,
    PenalisedEstimator,
    RawObjective,
    StrengthGuard,
    TrainingData,
    beside_chance,
    looks_independent,
    measures_of,
    observed_groups,
    of_new_rows,
    read_evaluation_data,
    read_training_data,
    warn_of_dependence,
    warn_of_level,
    warn_of_new_rows,
    warn_of_strength,
)
from fairdcov.boosting._objective import BalancedObjective, loss_missed_by_rounding
from fairdcov.boosting._penalised_rounds import Monitor, PenalisedRounds
from fairdcov.boosting._product import ProductProblem

__all__ = [
    "BoostedClassifier",
    "BoostedRegressor",
    "PenalisedBooster",
    "as_features",
    "learners_loss",
    "learners_names",
    "own_gradients",
    "step_bounds",
    "threads_for",
]

# Both learners hold targets and weights in single precision.
_LEAST_NUMBER, _LARGEST_NUMBER = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

# On the link scale, before the learning rate.
_LARGEST_LEAF = 2.0

# Values of X for each thread of a learner, where the user does not say how many.
_VALUES_OF_A_THREAD = 100_000

# Fits to parts of so few rows would not tell anything.
_LEAST_SPLIT_ROWS = 200
_NOT_KNOWN = OfNewRows(*[np.nan] * 5)


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


def learners_names(X, refused):
    """Names of the features as a learner takes them, a list of str; None where it has no names or takes them all.

    Parameters
    ----------
    X : array or DataFrame
        Features.
    refused : str
        Pattern of what no name may have for the learner: an underscore stands there in its place.
    """
    if not isinstance(X, pd.DataFrame):
        return None
    given = [str(name) for name in X.columns]
    taken = [re.sub(refused, "_", name) for name in given]
    if taken == given:
        return None
    # Two names may differ in nothing else.
    return [
        f"{name}_{position}" if taken.count(name) > 1 and name != was else name
        for position, (name, was) in enumerate(zip(taken, given, strict=True))
    ]


def threads_for(n_jobs, X):
    """Threads that grow trees on ``X``; for None no more than have something to do.

    A tree on ten thousand rows is a matter of a millisecond in which threads wait for each other some hundred times:
    where others keep the processors busy, each of these waits can take longer than the tree.
    """
    n_threads = resolve_n_threads(n_jobs)
    if n_jobs is not None:
        return n_threads
    n_values = X.nnz if sp.issparse(X) else X.shape[0] * X.shape[1]
    return max(1, min(n_threads, n_values // _VALUES_OF_A_THREAD))


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
        reduction=None,
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
        # Learners of others need not have it.
        share = getattr(estimator, "validation_fraction", None)
        if share is not None and not check_positive_number(share, "validation_fraction") <= 0.5:
            raise ValueError(
                f"validation_fraction must be at most 0.5, or None: two parts are left out in turn; found {share!r}"
            )
        penalised = any(strengths)
        if reduction is not None and (eval_set is not None or control_features is not None):
            raise ValueError("rows in several processes go without eval_set and control_features: leave them out")

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
        if reduction is not None:
            data = replace(data, shared_weight=float(reduction.add(np.array(data.weights.sum()))))
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
        penalty = bind(data, reduction=reduction)
        self.objective = BalancedObjective(loss, data.y, data.probabilities, penalty, data.offset, reduction)
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
        self._guard = StrengthGuard(self.objective.constant_loss(), slack=loss_missed_by_rounding(self.objective))
        self._take_diverged_rounds_back()
        self.n_unpenalised = self.grower.n_trees()

        # 5. What the penalised rounds keep close to.
        target = data.y
        if penalised and estimator.penalised_target == "unpenalised":
            raw = self.grower.raw()
            target = self.objective.response(raw + self.objective.best_shift(raw))
        objective = BalancedObjective(loss, target, self.objective.probabilities, penalty, data.offset, reduction)
        self.rounds = PenalisedRounds(
            estimator._objective_of_rounds(objective),
            self.grower,
            data.total_weight,
            float(estimator.penalised_learning_rate),
            monitor,
        )
        self._n_penalised = 0
        # Who follows a path compares its models on rows of their own; of rows in several processes nobody has all.
        once = share is not None and len(strengths) == 1 and reduction is None
        self._data = data if once else None

    def _warn_of_dependence(self, strength, raw, shift, refined):
        estimator = self.estimator
        remedy = "take more n_penalised_rounds, or trees of more leaves"
        level = warn_of_dependence(estimator, self.objective, raw, strength, remedy)
        new_rows = _NOT_KNOWN
        said = False
        if strength > 0 and self.rounds.monitor is not None:
            watched = self.rounds.monitor.objective
            watched_raw = self._watched_raw(shift, refined)
            remedy = "what was learnt of the attributes does not hold there: take larger leaves, or more rows"
            of_watched = warn_of_dependence(
                estimator, watched, watched_raw, strength, remedy, rows="the rows of eval_set"
            )
            said = watched.penalty_value(watched_raw) > of_watched
        if strength > 0 and not said and self._data is not None and looks_independent(self.objective, raw):
            new_rows = self._of_new_rows(strength, raw)
            remedy = "Take larger leaves, fewer n_penalised_rounds or more rows, and measure it on rows of your own"
            warn_of_new_rows(estimator, strength, new_rows, remedy)
        return {
            "penalty_null_level_": level,
            "unseen_penalty_": new_rows.penalty,
            "unseen_null_level_": new_rows.penalty_level,
            "unseen_divergence_": new_rows.divergence,
            "unseen_divergence_level_": new_rows.divergence_level,
            "unseen_exceedance_": new_rows.exceedance,
        }

    def _watched_raw(self, shift, refined):
        """Raw predictions of the rows of ``eval_set``."""
        return self.grower.monitored_raw() + shift if refined is None else self.rounds.refined_watched_raw(refined)

    def _of_new_rows(self, strength, raw):
        """What rows that the fit has not seen will show of dependence, by two fits to parts of its rows."""
        estimator, data = self.estimator, self._data
        n_rows, n_held = len(data.y), round(estimator.validation_fraction * len(data.y))
        if self._n_penalised == 0 or not _LEAST_SPLIT_ROWS / 2 <= n_held <= n_rows - _LEAST_SPLIT_ROWS / 2:
            return _NOT_KNOWN
        order = np.random.default_rng(0).permutation(n_rows)
        try:
            parts = [self._fit_to_part(strength, order[first : first + n_held]) for first in (0, n_held)]
        except ValueError:
            # A part has one class, or one level of an attribute.
            return _NOT_KNOWN
        whole = measures_of(self.objective, raw, observed_groups(estimator.penalty, data))
        return of_new_rows(whole, *zip(*parts, strict=True), n_held / n_rows)

    def _fit_to_part(self, strength, held):
        """Dependence of another fit on its rows, and on the others, at some positions, beside chance.

        It is a fit from the beginning. The splits of the first one have seen all rows, as its unpenalised trees have:
        with these and other leaves much of the dependence that new rows show would be hidden.
        """
        estimator, data = self.estimator, self._data
        keep = np.ones(len(data.y), dtype=bool)
        keep[held] = False
        seen, unseen = data.part(keep), data.part(~keep)
        again = clone(estimator).set_params(
            n_estimators=self.n_unpenalised,
            n_penalised_rounds=self._n_penalised,
            early_stopping_rounds=None,
            validation_fraction=None,
            # These columns have been read.
            sensitive_columns=None,
            verbose=0,
        )
        given = {
            "control_features": seen.control_features,
            "offset": seen.offset,
            "eval_set": (unseen.X, unseen.y),
            "eval_sample_weight": unseen.weights if data.weighted else None,
            "eval_sensitive_features": unseen.sensitive_features,
            "eval_control_features": unseen.control_features,
            "eval_offset": unseen.offset,
        }
        weights = seen.weights if data.weighted else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem = BoostingProblem(again, seen.X, seen.y, weights, seen.sensitive_features, [strength], **given)
            shift, refined = problem.descend(strength)[:2]
        share = len(held) / len(data.y)
        raw = problem.grower.raw() + shift if refined is None else refined.raw
        of_seen = measures_of(problem.objective, raw, observed_groups(again.penalty, seen), share=1.0 - share)
        objective, raw = problem.rounds.monitor.objective, problem._watched_raw(shift, refined)
        return of_seen, beside_chance(objective, raw, observed_groups(again.penalty, unseen), share=share)

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

    def descend(self, strength):
        """Penalised rounds on top of what is there; the shift of all raw predictions, moved leaves, the strength."""
        estimator = self.estimator
        if strength == 0:
            return 0.0, None, 0.0
        shift = 0.0
        # Leaves that were moved are where a larger strength goes on from, not the trees as they were grown.
        if self.rounds.refined is None:
            n_rounds, shift = self.rounds.train(
                strength,
                estimator.n_penalised_rounds,
                self.grower.after_round(self.callbacks, estimator.n_penalised_rounds),
            )
            self._n_penalised += n_rounds
        refined = self.rounds.refine(strength, min(self._n_penalised, estimator.n_penalised_rounds), self._admits)
        return shift, refined, self.rounds.effective_strength(strength)

    def solve(self, strength, start=None):
        """Fitted attributes at a strength: penalised rounds on top of what is there."""
        estimator = self.estimator
        shift, refined, effective = self.descend(strength)
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
        dependence = self._warn_of_dependence(strength, raw, shift, refined)
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
            **dependence,
            **self.objective.attributes(loss, penalty, loss + (effective * penalty if strength > 0 else 0.0)),
            "history_": {name: np.array(values) for name, values in self.rounds.history.items()},
        }


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
    # What fits two of them with one penalty on the product of their predictions.
    _product_problem = ProductProblem
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

    def _objective_of_rounds(self, objective):
        """The objective of penalised rounds, where the learner works."""
        return objective

    def _start(self, data, monitored, seed, callbacks, objective, watched_objective):
        """Fit the unpenalised booster; what grows trees on it.

        The objectives are of the rows to train on and of those to watch, for families that the learner does not have.
        """
        raise NotImplementedError

    def _continued(self, X, y):
        """A :class:`Grower` of further trees on this fitted, unpenalised model, on rows that may be others.

        Gradients are ours, and what is known of the raw predictions beside the model is known to them.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features, from :meth:`_taken_features`.
        y : (n,) float64 array
            Targets, which no tree will be grown on.
        """
        raise NotImplementedError

    def _taken_features(self, X):
        """Features of any rows, checked, as the learner takes them."""
        X = as_features(X)
        if isinstance(X, pd.DataFrame):
            return X
        return _as_matrix(check_array(X, **{**self._input, "input_name": "X"}))

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
            above its level under independence although a constant would have the lower objective; when training rows
            show no more dependence than chance would, and fits to parts of them say that new ones
            will (``validation_fraction``).
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
