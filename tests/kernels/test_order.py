"""The radix sort against NumPy's, where bits of doubles are awkward."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fairdcov._kernels import ascending_order

VECTORS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.gamma(0.3, size=n),
    "tied": lambda rng, n: np.round(rng.normal(size=n), 1) + 0.0,
    "a few tied": lambda rng, n: rng.choice(rng.normal(size=3 * n // 4 + 1), n),
    "one pair tied": lambda rng, n: (
        rng.permutation(np.append(rng.normal(size=n - 2), [0.5, 0.5])) if n > 1 else np.ones(n)
    ),
    "all equal": lambda rng, n: np.full(n, -2.5),
    "ascending": lambda rng, n: np.arange(n) / 7,
    "descending": lambda rng, n: -np.arange(n) / 7,
    "of all magnitudes": lambda rng, n: rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-320, 308, n),
    "one bit apart": lambda rng, n: 1.0 + np.finfo(float).eps * rng.integers(0, 5, n),
    "outliers": lambda rng, n: np.where(rng.uniform(size=n) < 0.01, 1e12, 1.0) * rng.normal(size=n),
    "one outlier": lambda rng, n: np.append(rng.normal(size=n - 1), 1e15) if n else np.empty(0),
    "two clusters": lambda rng, n: rng.integers(0, 2, n) + 1e-10 * rng.normal(size=n),
    "extremes": lambda rng, n: rng.choice([-np.finfo(float).max, -5e-324, 0.0, 5e-324, np.finfo(float).max], n),
}


@pytest.mark.parametrize("n", [0, 1, 2, 17, 100, 1023, 1024, 1025, 5_000])
@pytest.mark.parametrize("kind", VECTORS)
def test_order_is_the_stable_one(rng, kind, n):
    u = VECTORS[kind](rng, n)
    assert_array_equal(ascending_order(u), np.argsort(u, kind="stable"))


@pytest.mark.parametrize("kind", VECTORS)
def test_order_by_several_threads(rng, kind):
    """Parts of the rows, whose borders fall into tied rows and into rows of one cell."""
    u = VECTORS[kind](rng, 50_000)
    expected = np.argsort(u, kind="stable")
    for n_threads in (2, 3, 16):
        assert_array_equal(ascending_order(u, n_threads=n_threads), expected)


@pytest.mark.parametrize("n", [1_500, 20_000])
def test_rows_of_equal_value_keep_their_order(rng, n):
    """Whole numbers in disguise say which row is which."""
    for distinct in (2, 40, n // 8, n // 2, n):
        u = rng.integers(0, distinct, n) / 7
        order = ascending_order(u)
        tied = u[order[1:]] == u[order[:-1]]
        assert tied.any()
        assert (order[1:] > order[:-1])[tied].all()


def test_values_that_share_cells_of_the_grid(rng):
    """From a few to nearly all: put right by hand, or sorted by all bits."""
    n = 4_000
    for spread in 10.0 ** np.arange(-16, 1):
        u = np.append(spread * rng.normal(size=n), [-1.0, 1.0])
        assert_array_equal(ascending_order(u), np.argsort(u, kind="stable"))


def test_zeros_of_both_signs_stay_together(rng):
    u = rng.choice([-1.0, -0.0, 0.0, 1.0], 3_000)
    order = ascending_order(u)
    assert_array_equal(np.sort(order), np.arange(3_000))
    assert (np.diff(u[order]) >= 0).all()


def test_input_is_left_alone(rng):
    u = rng.normal(size=4_000)[::2]
    before = u.copy()
    ascending_order(u)
    assert_array_equal(u, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_still_give_a_permutation(rng, value):
    u = rng.normal(size=3_000)
    u[rng.integers(0, 3_000, 7)] = value
    assert_array_equal(np.sort(ascending_order(u)), np.arange(3_000))
