"""Boosting rounds on loss plus penalty, for any learner that grows a tree on a gradient and a curvature.

Starts from the raw predictions of an unpenalised booster. The loss is that of a target which the caller chooses: the
predictions of the unpenalised booster, so that more rounds mean a better approximation and nothing else, or the
observed target, which they then go on fitting. In each round a tree is grown on the gradient of the full
objective, with the curvature that :meth:`fairdcov.penalties.BoundPenalty.value_gradient_curvature` gives the penalty
beside that of the loss, and it is kept only if the exact objective of the whole sample falls; otherwise it is dropped
and grown again with half the learning rate.
"""

from dataclasses import dataclass, field

import numpy as np

from fairdcov._checks import one_blas_thread
from fairdcov._fitting import largest_sensible_strength
from fairdcov.boosting._leaves import Leaves, refine_leaves, spread_over

__all__ = ["Monitor", "PenalisedRounds", "State"]

# A round gives up after so many halvings of the learning rate; four rounds in a row that give up end the training.
_MOST_HALVINGS = 8
_MOST_FAILURES = 4
# What is gained below this share of the objective is rounding.
_RELATIVE_NOISE = 1e-12


@dataclass(eq=False)
class Monitor:
    """Objective on rows that are not trained on, and the round at which it was lowest.

    Attributes
    ----------
    objective : RawObjective
        Loss and penalty of these rows.
    patience : int or None
        Rounds without improvement after which the training ends and goes back to the best round; None only watches.
    best : float
        Lowest objective so far.
    best_round : int
        Round in which it was reached; 0 is the start.
    """

    objective: object
    patience: int | None
    best: float = np.inf
    best_round: int = 0

    def restart(self, raw, strength):
        """Begin to watch at a strength, from the raw predictions ``raw``."""
        self.best, self.best_round = np.inf, 0
        return self.update(0, raw, strength)

    def update(self, round_number, raw, strength):
        """Mean loss, penalty and objective of these rows after a round."""
        loss, penalty, _ = self.objective.terms(raw, strength)
        total = loss + strength * penalty
        if total < self.best:
            self.best, self.best_round = total, round_number
        return loss, penalty, total

    def is_over(self, round_number):
        """Whether the last improvement was ``patience`` rounds ago."""
        return self.patience is not None and round_number - self.best_round >= self.patience

    def n_worse(self, round_number):
        """How many of the rounds are to be taken back."""
        return 0 if self.patience is None else round_number - self.best_round


@dataclass(frozen=True, eq=False)
class State:
    """Objective at the raw predictions of a grower plus a shift, and its derivatives."""

    loss: float
    penalty: float
    total: float
    gradient: np.ndarray
    curvature: np.ndarray
    shift: float


@dataclass(eq=False)
class PenalisedRounds:
    """Grows trees on the full objective.

    Parameters
    ----------
    objective : BalancedObjective
        Loss of the target and penalty on the training rows.
    grower : Grower
        The unpenalised booster, and how it grows further trees.
    total_weight : float
        Sum of the row weights: the learner's own thresholds mean sums over rows, the objective is a mean.
    learning_rate : float
        Share of a Newton step that a round takes.
    monitor : Monitor, optional
        Ends the training early.

    Attributes
    ----------
    history : dict of lists
        Objective, loss and penalty at the start of each strength and after each round that was kept, of the training
        rows and of the monitored ones.
    largest_strength : float or None
        Largest strength that trees are grown at with a scale-free penalty, which cannot be had for less by predictions
        that shrink to a constant. Larger ones would trade all that the model explains for differences in the penalty
        that are those of the next tree; they are for the leaves of all trees together (:meth:`refine`). None before the
        first round.
    refined : Refined or None
        Leaves that :meth:`refine` has moved.
    """

    objective: object
    grower: object
    total_weight: float
    learning_rate: float
    monitor: Monitor | None = None
    history: dict = field(default_factory=dict)
    largest_strength: float | None = None
    refined: object = None
    _leaves: Leaves | None = None
    _watched_nodes: np.ndarray | None = None

    def train(self, strength, n_rounds, after_round=None):
        """Grow up to ``n_rounds`` trees at a strength; the objective never rises.

        Parameters
        ----------
        strength : float
            Multiplier of the penalty.
        n_rounds : int
            Rounds at most.
        after_round : callable, optional
            Called with the number of the round and the last entries of :attr:`history`; a true answer ends the
            training.

        Returns
        -------
        n_kept : int
            Trees added. With a monitor those after its best round have been dropped.
        shift : float
            What is to be added to all raw predictions of the grower.
        """
        with one_blas_thread():
            return self._train(strength, n_rounds, after_round)

    def effective_strength(self, strength):
        """The strength that all goes by; it differs from a ``strength`` above :attr:`largest_strength`."""
        return strength if self.largest_strength is None else min(strength, self.largest_strength)

    def _train(self, strength, n_rounds, after_round):
        constant_loss = self.objective.constant_loss()
        if self.largest_strength is None:
            self.largest_strength = self._find_largest_strength(strength, constant_loss)
        strength = self.effective_strength(strength)
        state = self._state(strength)
        # A model worse than the constant one is none, whatever its penalty: at huge strengths it would be preferred.
        highest_loss = max(state.loss, constant_loss)
        # What a smaller strength has reached is not given up for a better loss.
        highest_penalty = state.penalty
        kept, failures, learning_rate = [state], 0, self.learning_rate
        monitored = None
        if self.monitor is not None:
            monitored = self.monitor.restart(self.grower.monitored_raw() + state.shift, strength)
        self._record(state, monitored)
        while len(kept) <= n_rounds and failures < _MOST_FAILURES:
            following, learning_rate = self._round(state, strength, learning_rate, highest_loss, highest_penalty)
            if following is None:
                failures += 1
                learning_rate = self.learning_rate
                continue
            failures, state = 0, following
            kept.append(state)
            # After a halving the full rate comes back within a few rounds.
            learning_rate = min(self.learning_rate, 1.5 * learning_rate)
            number = len(kept) - 1
            if self.monitor is not None:
                monitored = self.monitor.update(number, self.grower.monitored_raw() + state.shift, strength)
            self._record(state, monitored)
            if after_round is not None and after_round(number, {name: row[-1] for name, row in self.history.items()}):
                break
            if self.monitor is not None and self.monitor.is_over(number):
                break
        if self.monitor is not None:
            for _ in range(self.monitor.n_worse(len(kept) - 1)):
                self.grower.drop()
                kept.pop()
        return len(kept) - 1, kept[-1].shift

    def refine(self, strength, n_trees, admits):
        """Move the leaves of the last trees to where a strength above :attr:`largest_strength` wants them.

        The grower's own trees stay as they are. What was moved before, for a smaller strength, is where it starts.

        Parameters
        ----------
        strength : float
            Multiplier of the penalty.
        n_trees : int
            How many trees, where none have been moved before.
        admits : callable
            ``admits(raw)`` says whether raw predictions of the training rows may be those of a model.

        Returns
        -------
        Refined or None
            None where the leaves stay as they are.
        """
        if n_trees == 0 or not self.effective_strength(strength) < strength:
            return None
        if self._leaves is None:
            first = self.grower.n_trees() - n_trees
            nodes = self.grower.leaf_nodes(first)
            if nodes is None:
                return None
            self._leaves = Leaves(nodes, self.objective.reduction)
            self._watched_nodes = None if self.monitor is None else self.grower.leaf_nodes(first, monitored=True)

        def accepts(following, before):
            if not admits(following.raw):
                return False
            if self.monitor is None or self.monitor.patience is None:
                return True
            now, then = (self._watched_terms(refined, following.strength)[-1] for refined in (following, before))
            return now < then

        with one_blas_thread():
            start = self.refined if self.refined is not None else self.largest_strength
            refined = refine_leaves(self.objective.host, self.grower.raw(), self._leaves, strength, start, accepts)
        if refined is not None:
            self.refined = refined
            self._record(refined, None if self.monitor is None else self._watched_terms(refined, refined.strength))
        return self.refined

    def refined_watched_raw(self, refined):
        """Raw predictions of the rows of ``eval_set`` with leaves moved, (m,)."""
        return self.grower.monitored_raw() + spread_over(self._watched_nodes, refined.moves) + refined.shift

    def _watched_terms(self, refined, strength):
        loss, penalty, _ = self.monitor.objective.terms(self.refined_watched_raw(refined), strength)
        return loss, penalty, loss + strength * penalty

    def _find_largest_strength(self, strength, constant_loss):
        if not self.objective.penalty.scale_free:
            return np.inf
        start = self._state(strength)
        return largest_sensible_strength(constant_loss, start.loss, start.penalty)

    def _round(self, state, strength, learning_rate, highest_loss, highest_penalty):
        """State after one more tree and the learning rate it took; no state where no rate lowers the objective."""
        gradient, curvature = self.total_weight * state.gradient, self.total_weight * state.curvature
        noise = _RELATIVE_NOISE * max(abs(state.total), 1.0)
        for _ in range(_MOST_HALVINGS):
            if not self.grower.grow(gradient, curvature, learning_rate):
                return None, learning_rate
            following = self._state(strength)
            # Written so that an objective that is not a number counts as no improvement.
            within = following.loss <= highest_loss and following.penalty <= highest_penalty
            if within and following.total < state.total - noise:
                return following, learning_rate
            self.grower.drop()
            learning_rate /= 2
        return None, learning_rate

    def _state(self, strength):
        raw = self.objective.vector(self.grower.raw())
        shift, (loss, penalty, gradient, curvature) = self.objective.balanced_terms_curvature(raw, strength)
        return State(loss, penalty, loss + strength * penalty, gradient, curvature, shift)

    def _record(self, state, monitored):
        row = {"objective": state.total, "loss": state.loss, "penalty": state.penalty}
        if monitored is not None:
            row.update(zip(("validation_loss", "validation_penalty", "validation_objective"), monitored, strict=True))
        for name, value in row.items():
            self.history.setdefault(name, []).append(float(value))
