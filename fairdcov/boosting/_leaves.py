"""Leaf values of the penalised trees, fitted together on the exact objective.

A round grows one tree by a Newton step and never looks back. At large strengths that ends at a floor: what a hundred
trees have left of the dependence takes hundreds more to lose. Their leaves can lose it. With the splits as they are,
the objective is a function of a few thousand numbers whose gradient is a sum over the rows of each leaf, and L-BFGS
takes it down for the price of a few dozen evaluations.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from fairdcov._fitting import ONE_PROCESS, largest_sensible_strength

__all__ = ["Leaves", "Refined", "refine_leaves", "spread_over"]

# The strength rises in stages of so many iterations, as far as the penalty that is left allows.
_STAGES = 3
_ITERATIONS = 20
# At the strength asked for, a stage that takes less than this share off the objective is the last one.
_LEAST_FALL = 0.02
# Share of the largest curvature of a leaf: none counts as flatter.
_LEAST_CURVATURE = 1e-4
# Multiplier of the ridge term, a sum over trees of half of what the moves of each alone would bend the loss, times the
# number of trees. A move that all trees share in costs so many times what it bends the loss; one that a single leaf
# makes, so many times more as there are trees: that is as often the chance of its rows, and does not hold on new ones.
# On pg15training the penalty of new rows is then lower by a quarter at the same deviance; 1 and 10 do about as well.
_RIDGE = 3.0
# One pass over the rows is for several trees, as long as their leaves have no more combinations.
_MOST_CELLS = 4096


class Leaves:
    """Which leaves each row falls into, for sums over trees and over rows.

    Parameters
    ----------
    nodes : (n, t) integer array
        The learner's number of the leaf of each row in each of t trees.
    reduction : Reduction, optional
        Over the processes that share the rows.
    """

    def __init__(self, nodes, reduction=ONE_PROCESS):
        self._reduction = reduction
        most = int(reduction.maximum(np.array(float(nodes.max(initial=0)))))
        found = np.array([np.bincount(column, minlength=most + 1) for column in nodes.T], dtype=np.float64)
        self.numbers = [np.flatnonzero(counts) for counts in reduction.maximum(found)]
        sizes = [len(numbers) for numbers in self.numbers]
        ends = np.cumsum(sizes)
        self._parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.n_leaves = int(ends[-1])
        self._groups = []
        first = 0
        while first < len(sizes):
            last, n_cells, cells = first, 1, 0
            while last < len(sizes) and (last == first or n_cells * sizes[last] <= _MOST_CELLS):
                position = np.zeros(self.numbers[last][-1] + 1, dtype=np.intp)
                position[self.numbers[last]] = np.arange(sizes[last])
                cells = cells * sizes[last] + position[nodes[:, last]]
                n_cells *= sizes[last]
                last += 1
            self._groups.append((self._parts[first:last], sizes[first:last], cells.astype(np.min_scalar_type(n_cells))))
            first = last

    def by_tree(self, values):
        """Values (n_leaves,) as pairs of the learner's numbers of leaves and their values, one for each tree."""
        return [(numbers, values[part]) for numbers, part in zip(self.numbers, self._parts, strict=True)]

    def spread(self, values):
        """Sum over the trees of the value of each row's leaf, (n,)."""
        total = 0.0
        for parts, _, cells in self._groups:
            table = np.zeros(1)
            for part in parts:
                table = np.add.outer(table, values[part]).ravel()
            total = total + table[cells]
        return total

    def sums(self, row_values):
        """Sum of values (n,) over the rows of each leaf, (n_leaves,)."""
        sums = np.empty(self.n_leaves)
        for parts, sizes, cells in self._groups:
            table = np.bincount(cells, row_values, minlength=int(np.prod(sizes))).reshape(sizes)
            for axis, part in enumerate(parts):
                sums[part] = table.sum(axis=tuple(other for other in range(len(sizes)) if other != axis))
        return self._reduction.add(sums)


def spread_over(nodes, moves):
    """Sum over trees of the value of each row's leaf, (n,), by :meth:`Leaves.by_tree`; slow, for other rows."""
    total = np.zeros(len(nodes))
    for column, (numbers, values) in zip(nodes.T, moves, strict=True):
        table = np.zeros(max(column.max(), numbers[-1]) + 1)
        table[numbers] = values
        total += table[column]
    return total


@dataclass(frozen=True, eq=False)
class Refined:
    """Leaf values that were moved.

    Attributes
    ----------
    values : (n_leaves,) array
        What is added to the leaves.
    moves : list of (numbers, values)
        The same by trees, see :meth:`Leaves.by_tree`.
    shift : float
        What is to be added to all raw predictions beside.
    raw : (n,) array
        Raw predictions of the training rows with both.
    loss, penalty : float
        There.
    strength : float
        Strength of the last stage.
    """

    values: np.ndarray
    moves: list
    shift: float
    raw: np.ndarray
    loss: float
    penalty: float
    strength: float

    @property
    def total(self):
        """Objective at :attr:`strength`."""
        return self.loss + self.strength * self.penalty


def refine_leaves(objective, raw, leaves, strength, start, accepts):
    """Move the leaves of grown trees down the objective, at strengths that rise to ``strength``.

    A stage goes by the largest strength at which what is left of the penalty weighs no more than ten times what is
    left of the model, so that a strength is passed on the way only if the loss still counts there. A ridge term keeps
    moves to what trees have in common.

    Parameters
    ----------
    objective : BalancedObjective
        Loss and penalty.
    raw : (n,) array
        Raw predictions with the leaves as they are.
    leaves : Leaves
        Of the trees whose leaves may move.
    strength : float
        Strength to end at.
    start : Refined or float
        Where to start: leaves moved before, or the strength that the trees were grown at.
    accepts : callable
        ``accepts(following, before)`` says whether the outcome of a stage may replace what there was.

    Returns
    -------
    Refined or None
        None where no stage led anywhere.
    """

    def at(values, strength):
        moved = raw + leaves.spread(values)
        shift = objective.best_shift(moved)
        loss, penalty, _ = objective.terms(moved + shift, strength)
        return Refined(values, leaves.by_tree(values), shift, moved + shift, loss, penalty, strength)

    constant_loss = objective.constant_loss()
    current = start if isinstance(start, Refined) else at(np.zeros(leaves.n_leaves), start)
    # A model worse than the constant one is none; and what was reached is not given up for a better loss.
    highest_loss, highest_penalty = max(current.loss, constant_loss), current.penalty
    curvature = leaves.sums(objective.terms_curvature(current.raw, current.strength)[-1])
    unit = 1.0 / np.sqrt(np.maximum(curvature, _LEAST_CURVATURE * curvature.max()))
    ridge = _RIDGE * len(leaves.numbers) * leaves.sums(objective.terms_curvature(current.raw)[-1])
    best = None
    for _ in range(_STAGES):
        passing = largest_sensible_strength(constant_loss, current.loss, current.penalty)
        passing = min(strength, max(current.strength, passing))
        before = current.loss + passing * current.penalty
        descended = _descend(objective, raw, leaves, passing, current.values, unit, ridge, highest_loss, before)
        following = at(descended, passing)
        # Written so that numbers that are none count as no improvement.
        within = following.loss <= highest_loss and following.penalty <= highest_penalty
        if not (within and following.total < before and accepts(following, current)):
            break
        best = current = following
        if passing >= strength and before - following.total < _LEAST_FALL * before:
            break
    return best


def _descend(objective, raw, leaves, strength, values, unit, ridge, highest_loss, before):
    """Leaf values after a stage of L-BFGS at a strength, with a ridge term of multipliers (n_leaves,)."""
    best = {"total": before + 0.5 * float(ridge @ values**2), "values": values}
    start = values / unit

    def value_gradient(point):
        moved = unit * point
        _, (loss, penalty, gradient) = objective.balanced_terms(raw + leaves.spread(moved), strength)
        total, gradient = loss + strength * penalty + 0.5 * float(ridge @ moved**2), leaves.sums(gradient)
        if not np.isfinite(total) or not np.isfinite(gradient).all() or loss > highest_loss:
            # A wall that sends the search back.
            away = point - best["values"] / unit
            return 2.0 + float(away @ away), 2.0 * away
        if total < best["total"]:
            best.update(total=total, values=moved)
        return total / before, unit * (gradient + ridge * moved) / before

    with np.errstate(over="ignore", invalid="ignore"):
        options = {"maxiter": _ITERATIONS, "maxcor": _ITERATIONS, "ftol": 1e-9, "gtol": 0.0}
        minimize(value_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return best["values"]
