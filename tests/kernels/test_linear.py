"""Products with features: NumPy's, whatever the layout, and the same bits for any number of threads."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov._kernels import feature_sums, features_times

LAYOUTS = {
    "by rows": np.ascontiguousarray,
    "by columns": np.asfortranarray,
    "neither": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [0, 1, 2, 4, 7, 8, 9, 75])
@pytest.mark.parametrize("n", [0, 1, 3, 5, 8, 17, 257, 2_500, 40_000])
def test_products_are_those_of_numpy(rng, n, size, layout):
    X, vector, factors = LAYOUTS[layout](rng.normal(size=(n, size))), rng.normal(size=size), rng.normal(size=n)
    before = X.copy()
    terms, sums = np.abs(X), {}
    for n_threads in (1, 2, 5, 16):
        product, sums[n_threads] = (
            features_times(X, vector, 0.5, n_threads=n_threads),
            feature_sums(X, factors, n_threads=n_threads),
        )
        sums[n_threads] = np.append(product, sums[n_threads])
        assert_array_equal(sums[n_threads], sums[1])
    expected = np.append(X @ vector + 0.5, X.T @ factors)
    size_of_terms = np.append(terms @ np.abs(vector) + 0.5, terms.T @ np.abs(factors))
    assert (np.abs(sums[1] - expected) <= 1e-13 * size_of_terms).all()
    assert_array_equal(X, before)


def test_a_value_that_is_not_finite_stays_in_its_row(rng):
    X, vector = rng.normal(size=(100, 9)), rng.normal(size=9)
    X[17, 8] = np.inf
    for layout in (np.ascontiguousarray, np.asfortranarray):
        found = features_times(layout(X), vector)
        assert np.isinf(found[17])
        assert_allclose(np.delete(found, 17), np.delete(X, 17, axis=0) @ vector, rtol=1e-12, atol=1e-13)


def test_lengths_that_do_not_go_together_are_refused(rng):
    X = rng.normal(size=(6, 3))
    with pytest.raises(ValueError, match="do not go together"):
        features_times(X, np.ones(4))
    with pytest.raises(ValueError, match="do not go together"):
        feature_sums(X, np.ones(5))
    with pytest.raises(ValueError, match="two dimensions"):
        feature_sums(np.ones(6), np.ones(6))
