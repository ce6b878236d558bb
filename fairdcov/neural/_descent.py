"""How a network is trained: Adam on mini-batches for the loss, then L-BFGS on the full sample with the penalty.

Numbers only: no PyTorch here, and no data but through the functions that are passed in.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

__all__ = ["Watch", "adam_phase", "penalised_phase", "settle_output", "strength_ramp"]

# Strengths on the way to a large one: factor from one to the next, and iterations at each.
_RAMP_FACTOR = 10.0**0.5
RAMP_ITERATIONS = 5

# Scale of a settled output at least: at 0 a scale-free penalty has no value, and the model would be lost.
_LEAST_SLOPE = 0.01


@dataclass
class Watch:
    """Keeps the best parameters by a score that is to fall, and says when it has stopped falling.

    Attributes
    ----------
    tolerance : float
        Falls of less than this share of the score do not count.
    patience : int
        Steps without a fall that counts before training stops.
    """

    tolerance: float
    patience: int
    best: float = np.inf
    parameters: np.ndarray | None = None
    position: int = 0
    scores: list = field(default_factory=list)
    _reference: float = np.inf
    _reference_position: int = 0

    def update(self, score, parameters):
        """Take note of a score; returns whether training should stop."""
        position = len(self.scores)
        self.scores.append(score)
        if score < self.best or self.parameters is None:
            self.best, self.position, self.parameters = score, position, parameters.copy()
        if np.isinf(self._reference) or score < self._reference - self.tolerance * abs(self._reference):
            self._reference, self._reference_position = score, position
        return position - self._reference_position >= self.patience


def adam_phase(network, start, slope_of, score_of, watch, options):
    """Adam on mini-batches of the loss.

    Parameters
    ----------
    network : Network
        With ``adam``, ``parameters`` and ``place``.
    start : (m,) array
        Parameters to start from.
    slope_of : callable
        ``slope_of(rows, output)`` is the derivative of the loss of a batch with respect to its output.
    score_of : callable
        ``score_of(parameters)`` is what ``watch`` keeps the smallest of.
    watch : Watch
        Stops it.
    options : object
        With ``n_rows``, ``batch_size``, ``learning_rate``, ``shrinkage``, ``max_epochs``, ``random_state``, ``report``.

    Returns
    -------
    bool
        Whether the watch, and not the number of epochs, has ended it.
    """
    if watch.update(score_of(start), start):
        return True
    rate = options.learning_rate
    step = network.adam(start, rate)
    for _ in range(options.max_epochs):
        order = network.place(options.random_state.permutation(options.n_rows))
        for first in range(0, options.n_rows, options.batch_size):
            rows = order[first : first + options.batch_size]
            step(rows, lambda output, rows=rows: slope_of(rows, output), options.shrinkage)
        parameters = network.parameters()
        score = score_of(parameters) if np.isfinite(parameters).all() else np.inf
        stop = watch.update(score, parameters)
        options.report(score)
        if stop:
            return True
        if not np.isfinite(score):
            # The steps were too long for the loss: back to the best, with shorter ones.
            rate /= 2
            step = network.adam(watch.parameters, rate)
    return False


def strength_ramp(strength, loss, penalty, constant_loss):
    """Strengths to pass through on the way to a large one.

    A strength is large when it makes more of the penalty than there is to lose, the loss of the constant model minus
    that of the start. Beyond that the loss hardly counts in the first steps: they lead away from all good models, and
    the way back is long. So the penalty is made small first, at strengths where the loss still counts.

    Parameters
    ----------
    strength : float
        Where to end; it is not in the list.
    loss, penalty : float
        Of the start.
    constant_loss : float
        Of the constant model.

    Examples
    --------
    >>> from fairdcov.neural._descent import strength_ramp
    >>> [round(strength) for strength in strength_ramp(100.0, 0.9, 0.1, 1.0)]
    [3, 10, 32]
    >>> strength_ramp(3.0, 0.9, 0.1, 1.0)
    []
    """
    ramp = []
    if penalty > 0 and constant_loss > loss:
        following = _RAMP_FACTOR * (constant_loss - loss) / penalty
        while following < 0.99 * strength:
            ramp.append(following)
            following *= _RAMP_FACTOR
    return ramp


def penalised_phase(objective, start, loss_limit, watch, score_of, max_iterations, report):
    """L-BFGS on the objective of the full sample.

    The penalty is piecewise linear, so its gradient jumps by O(1 / n) wherever two predictions change places: a search
    that finds no descent starts afresh from the best point and gives up when that brings nothing either.

    Parameters
    ----------
    objective : callable
        ``objective(parameters)`` returns :class:`~fairdcov._fitting._objective.Parts` and the gradient.
    start : (m,) array
        Parameters to start from.
    loss_limit : float
        Points with a larger loss are not entered.
    watch : Watch
        Stops it, and keeps the best parameters.
    score_of : callable
        ``score_of(parameters, parts)`` is what ``watch`` keeps the smallest of.
    max_iterations : int
        At most that many.
    report : callable
        Called with the parts after each iteration.

    Returns
    -------
    bool
        Whether it has ended before ``max_iterations``.
    """
    parts, _ = objective(start)
    watch.update(score_of(start, parts), start)
    reached = {"parameters": start, "parts": parts}
    unit = max(abs(parts.total), np.finfo(float).tiny)
    n_iterations, stopped = 0, False

    def value_gradient(parameters):
        parts, gradient = objective(parameters)
        if not (np.isfinite(parts.total) and np.isfinite(gradient).all()) or parts.loss > loss_limit:
            # Worse than no model, or beyond the range of floats: a wall sends the search back to the best point.
            away = parameters - reached["parameters"]
            return 2 * abs(reached["parts"].total) / unit + 1.0 + float(away @ away), 2 * away
        if parts.total < reached["parts"].total:
            reached.update(parameters=parameters.copy(), parts=parts)
        return parts.total / unit, gradient / unit

    def after_iteration(_):
        nonlocal n_iterations, stopped
        n_iterations += 1
        report(reached["parts"])
        stopped = watch.update(score_of(reached["parameters"], reached["parts"]), reached["parameters"])
        if stopped:
            raise StopIteration

    while n_iterations < max_iterations and not stopped:
        before = reached["parts"].total
        minimize(
            value_gradient,
            reached["parameters"],
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={"maxiter": max_iterations - n_iterations, "maxfun": 10**9, "maxcor": 20, "ftol": 0, "gtol": 0},
        )
        if not before - reached["parts"].total > watch.tolerance * abs(before):
            return True
    return stopped


def settle_output(raw, raw_objective, shift, strength):
    """Scale and intercept of the output on all rows: ``shift + slope * (raw - shift) + offset``.

    The slope is at most 1; the offset is the minimum of the objective along it, to the last digits. With a log link
    that keeps the balance of the Poisson loss for any penalty that is free of scale, and the network itself need not be
    evaluated again.

    Parameters
    ----------
    raw : (n,) array
        Raw predictions.
    raw_objective : RawObjective
        Objective of these rows.
    shift : float
        Raw prediction of the constant model.
    strength : float
        Multiplier of the penalty.

    Returns
    -------
    slope, offset : float
    """
    centred = raw - shift

    def value_gradient(point):
        slope, offset = point
        loss, penalty, gradient = raw_objective.terms(shift + slope * centred + offset, strength)
        total = loss + strength * penalty
        return total, np.array([float(gradient @ centred), float(gradient.sum())])

    with np.errstate(over="ignore", invalid="ignore"):
        start = np.array([1.0, 0.0])
        result = minimize(
            value_gradient, start, jac=True, method="L-BFGS-B", bounds=[(_LEAST_SLOPE, 1.0), (None, None)]
        )
        slope = float(result.x[0]) if result.fun <= value_gradient(start)[0] else 1.0
        return slope, _settle_offset(shift + slope * centred, raw_objective, strength)


def _settle_offset(raw, raw_objective, strength, max_iterations=30):
    """The constant to add to raw predictions that minimises the objective, by Newton steps, halved until it falls."""
    offset = 0.0
    loss, penalty, gradient = raw_objective.terms(raw, strength)
    total = loss + strength * penalty
    for _ in range(max_iterations):
        curvature = float(raw_objective.probabilities @ raw_objective.curvature(raw + offset))
        move = -float(gradient.sum()) / curvature if curvature > 0 else 0.0
        # Far from the minimum the curvature says little: no step of more than a factor of e.
        move = float(np.clip(move, -1.0, 1.0)) if raw_objective.loss.link != "identity" else move
        step = 1.0
        while step > 1e-6:
            loss, penalty, gradient_there = raw_objective.terms(raw + offset + step * move, strength)
            there = loss + strength * penalty
            if there <= total + 1e-14 * abs(total):
                break
            step /= 2
        else:
            return offset
        offset, total, gradient = offset + step * move, there, gradient_there
        if abs(step * move) <= 1e-12 * max(1.0, abs(offset)):
            break
    return offset
