"""One bound penalty in several threads at the same time: every one of them has the bits that it has alone.

On builds without a global interpreter lock the evaluations run side by side also between the kernels.
"""

import threading

import numpy as np
import pandas as pd
import pytest

from fairdcov import CCDCovPenalty, DCovPenalty, JDCovPenalty, with_probabilities

N_THREADS, N_PREDICTIONS = 8, 3


def make_people(n, rng, *columns):
    """Protected attributes, those of ``columns`` alone."""
    people = {
        "region": rng.choice(list("abcdef"), n),
        "gender": rng.choice(["f", "m"], n),
        "age": rng.uniform(18.0, 90.0, n),
        "income": rng.gamma(2.0, size=n),
    }
    return pd.DataFrame({column: people[column] for column in columns})


def shares(n, rng):
    """Three levels of an attribute, known as probabilities."""
    drawn = rng.dirichlet(np.ones(3), n)
    names = ["p_a", "p_b", "p_c"]
    return with_probabilities(pd.DataFrame(drawn, columns=names), {"race": names})


# Name: rows, penalty, and what it is bound to beside the weights.
CASES = {
    "profiles": (20_000, CCDCovPenalty(), ("region", "gender"), {}),
    "profiles, U-statistic": (500, JDCovPenalty(statistic="u", weighted=False), ("region", "gender"), {}),
    "univariate": (3_000, CCDCovPenalty(), ("age",), {}),
    "sum": (3_000, DCovPenalty(), ("age", "gender"), {}),
    "tiles": (600, JDCovPenalty(method="tiles"), ("age", "income"), {}),
    "features": (1_500, CCDCovPenalty(method="approximate", n_components=20), ("age", "income"), {}),
    "nodes": (3_000, CCDCovPenalty(method="nodes"), ("age", "gender"), {}),
    "grid": (20_000, CCDCovPenalty(method="grid"), ("region", "gender"), {}),
    "memberships": (3_000, CCDCovPenalty(), None, {}),
    "strata": (3_000, CCDCovPenalty(), ("gender",), {"control_features": 4}),
    "total": (3_000, CCDCovPenalty(scale="total", normalize=False), ("region",), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_same_bits_in_eight_threads_at_once(name, rng):
    n, penalty, columns, options = CASES[name]
    people = shares(n, rng) if columns is None else make_people(n, rng, *columns)
    weights = rng.uniform(0.1, 1.0, n)
    options = {key: rng.integers(0, levels, n) for key, levels in options.items()}
    predictions = [np.round(rng.gamma(2.0, size=n), 2 + k) for k in range(N_PREDICTIONS)]

    def evaluate(bound, u):
        return bound.value(u), *bound.value_gradient(u), *bound.value_gradient_curvature(u)

    alone = penalty.bind(people, weights, n_threads=2, **options)
    expected = [evaluate(alone, u) for u in predictions]
    # A fresh one: what is computed at the first evaluation is computed by all threads at once.
    bound = penalty.bind(people, weights, n_threads=2, **options)
    barrier, found, errors = threading.Barrier(N_THREADS), {}, []

    def work(thread):
        try:
            barrier.wait(30)
            for turn in range(2 * N_PREDICTIONS):
                which = (thread + turn) % N_PREDICTIONS
                found[thread, turn] = which, evaluate(bound, predictions[which])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert len(found) == N_THREADS * 2 * N_PREDICTIONS
    for which, values in found.values():
        for value, wanted in zip(values, expected[which], strict=True):
            np.testing.assert_array_equal(value, wanted)
