"""Processes that share the rows see the objective of all rows, and take the same decisions."""

import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import CCDCovPenalty, SensitiveEncoder
from fairdcov._fitting import FAMILIES, HalfSquaredError, HalfTweedieLoss
from fairdcov.boosting._leaves import Leaves, refine_leaves
from fairdcov.boosting._objective import BalancedObjective
from fairdcov.dependence import Reduction

N = 300
LOSSES = {
    "normal": HalfSquaredError(),
    "poisson": HalfTweedieLoss(1.0),
    "tweedie": HalfTweedieLoss(1.5),
    "gamma": HalfTweedieLoss(2.0),
    "binomial": FAMILIES["binomial"].loss(),
    "negative_binomial": FAMILIES["negative_binomial"].make_loss(0.7),
}


class Together(Reduction):
    """Threads that wait for each other, in an order of their own."""

    def __init__(self, size):
        self.barrier, self.given, self.order = threading.Barrier(size), {}, {}

    def _all(self, array, combine):
        name = threading.current_thread().name
        self.given[name] = np.asarray(array)
        self.barrier.wait(30)
        found = combine(np.array([self.given[key] for key in sorted(self.given)]))
        self.barrier.wait(30)
        return found

    def add(self, array):
        return self._all(array, lambda given: given.sum(axis=0))

    def maximum(self, array):
        return self._all(array, lambda given: given.max(axis=0))


def in_parts(parts, function):
    reduction, found = Together(len(parts)), [None] * len(parts)

    def run(k):
        try:
            found[k] = function(parts[k], reduction)
        except BaseException as error:
            found[k] = error
            reduction.barrier.abort()

    threads = [threading.Thread(target=run, args=(k,), name=f"{k}") for k in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [result for result in found if isinstance(result, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return found


PARTS = [slice(0, 40), slice(40, 290), slice(290, N)]


def sample(name, rng, *, offset=False):
    """Loss, target, weights of sum 1, profiles, raw predictions and an offset."""
    y = rng.gamma(2.0, size=N)
    if name in ("poisson", "negative_binomial"):
        y = rng.poisson(1.0, N).astype(float)
        # A part without claims.
        y[290:] = 0.0
    elif name == "binomial":
        y = (y > 1).astype(float)
    weights = rng.uniform(0.1, 1.0, N)
    people = SensitiveEncoder().fit_encode(rng.choice(["a", "b", "c"], N))
    shift = rng.normal(size=N) if offset else None
    return LOSSES[name], y, weights, people, 0.3 * rng.normal(size=N), shift


def objective_of(rows, loss, y, weights, people, offset, reduction, penalty):
    probabilities = weights[rows] / weights.sum()
    bound = penalty.bind(people[rows], weights[rows], reduction=reduction)
    offset = None if offset is None else offset[rows]
    return BalancedObjective(loss, y[rows], probabilities, bound, offset, reduction)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", list(LOSSES))
def test_values_gradients_and_shifts_are_those_of_all_rows(name, normalize, offset, rng):
    loss, y, weights, people, raw, shift = sample(name, rng, offset=offset)
    penalty = CCDCovPenalty(method="grid", normalize=normalize)

    def evaluate(rows, reduction):
        objective = objective_of(rows, loss, y, weights, people, shift, reduction, penalty)
        found = objective.balanced_terms_curvature(raw[rows], 2.0)
        return found, objective.constant(), objective.constant_loss(), objective.penalty_value(raw[rows])

    ((shift_of_all, (value, dependence, gradient, curvature)), *others) = evaluate(slice(None), Reduction())
    found = in_parts(PARTS, evaluate)
    for (one_shift, (one_value, one_dependence, _, _)), *rest in found:
        assert_allclose(one_shift, shift_of_all, rtol=1e-9, atol=1e-12)
        assert_allclose(one_value, value, rtol=1e-10)
        assert_allclose(one_dependence, dependence, rtol=1e-9)
        assert_allclose(rest, others, rtol=1e-7)
        assert tuple(rest) == found[0][1:]
    assert_allclose(np.concatenate([f[0][1][2] for f in found]), gradient, rtol=1e-6, atol=1e-9)
    assert_allclose(np.concatenate([f[0][1][3] for f in found]), curvature, rtol=1e-6)


def test_leaves_of_all_rows(rng):
    nodes = rng.integers(0, 6, size=(N, 5))
    # A leaf that one part alone has.
    nodes[:20, 2] = 9
    values = rng.normal(size=N)
    whole = Leaves(nodes)
    moves = rng.normal(size=whole.n_leaves)

    def evaluate(rows, reduction):
        leaves = Leaves(nodes[rows], reduction)
        return leaves.n_leaves, leaves.sums(values[rows]), leaves.spread(moves)

    found = in_parts(PARTS, evaluate)
    for n_leaves, sums, _ in found:
        assert n_leaves == whole.n_leaves
        assert_allclose(sums, whole.sums(values), atol=1e-12)
    assert_allclose(np.concatenate([spread for _, _, spread in found]), whole.spread(moves), atol=1e-12)


def test_leaves_are_moved_alike(rng):
    loss, y, weights, people, raw, _ = sample("poisson", rng)
    nodes = rng.integers(0, 6, size=(N, 5))
    raw = raw + 0.5 * (people.codes == 1)
    penalty = CCDCovPenalty(method="grid")

    def refine(rows, reduction):
        objective = objective_of(rows, loss, y, weights, people, None, reduction, penalty)
        leaves = Leaves(nodes[rows], reduction)
        return refine_leaves(objective, raw[rows], leaves, 5.0, 1.0, lambda following, before: True)

    expected = refine(slice(None), Reduction())
    found = in_parts(PARTS, refine)
    for refined in found:
        assert_array_equal(refined.values, found[0].values)
        assert (refined.shift, refined.loss, refined.penalty) == (found[0].shift, found[0].loss, found[0].penalty)
        assert_allclose(refined.total, expected.total, rtol=1e-4)


def test_what_is_not_finite_in_one_part_all_of_them_know(rng):
    loss, y, weights, people, raw, _ = sample("gamma", rng)
    raw[:40] = 800.0  # its exponential is infinite, the loss of gamma is not
    penalty = CCDCovPenalty(method="grid")

    def evaluate(rows, reduction):
        objective = objective_of(rows, loss, y, weights, people, None, reduction, penalty)
        with np.errstate(over="ignore"):
            return objective.terms(raw[rows], 1.0)[1], objective.terms_curvature(raw[rows], 1.0)[1]

    assert np.isnan(in_parts(PARTS, evaluate)).all()
