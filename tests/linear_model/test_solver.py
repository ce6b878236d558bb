"""The solvers stop: on functions with kinks, beyond the range of floats, and on features that cannot be squared."""

import numpy as np
import pytest
import scipy.sparse as sp

from fairdcov import DCovPoissonRegressor, DCovRidge
from fairdcov._fitting._objective import Parts
from fairdcov.linear_model._solver import minimise, newton


class Identity:
    """Coordinates that are the parameters."""

    @staticmethod
    def to_coordinates(parameters):
        return parameters

    @staticmethod
    def to_parameters(coordinates):
        return coordinates

    @staticmethod
    def gradient(gradient):
        return gradient


class Misled:
    """``|parameters|^2`` whose gradient points the wrong way in the first calls, so that a search there fails."""

    n_parameters = 2

    def __init__(self, n_misled):
        self.n_misled = n_misled
        self.n_calls = 0

    def parts_gradient(self, parameters):
        self.n_calls += 1
        if self.n_calls > 5_000:
            raise AssertionError("the solver does not stop")
        value = float(parameters @ parameters)
        sign = -1.0 if self.n_calls <= self.n_misled else 1.0
        return Parts(value, 0.0, 0.0, value), sign * 2 * parameters


def solve(objective, max_iterations=300):
    return minimise(
        objective.parts_gradient, np.array([5.0, -3.0]), Identity(), max_iterations=max_iterations, tolerance=1e-4
    )


def test_two_searches_without_a_descent_end_the_fit():
    objective = Misled(10**6)
    solution = solve(objective)
    assert solution.converged
    assert "no direction lowers the objective" in solution.message
    np.testing.assert_array_equal(solution.parameters, [5.0, -3.0])
    assert (solution.loss, solution.n_iterations) == (34.0, 0)


def test_one_search_without_a_descent_is_followed_by_another():
    solution = solve(Misled(15))
    assert solution.converged
    assert solution.n_iterations > 0
    np.testing.assert_allclose(solution.parameters, 0.0, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_start_that_is_not_finite_is_an_error_and_no_endless_loop(value):
    class Undefined:
        n_parameters = 2

        def parts_gradient(self, parameters):
            return Parts(value, 0.0, 0.0, value), np.zeros(2)

    with pytest.raises(ValueError, match="not finite at the start"):
        solve(Undefined())
    with pytest.raises(ValueError, match="not finite at the start"):
        newton(Undefined(), np.zeros(2), max_iterations=5, tolerance=1e-4)


@pytest.mark.parametrize("value", [1.7e308, 1e155, -1e160])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_features_too_large_to_square_are_refused(rng, value, sparse, strength):
    X = rng.normal(size=(60, 3))
    X[7, 1] = value
    y = rng.poisson(1.0, 60) + 0.0
    gender = rng.integers(0, 2, 60)
    model = DCovPoissonRegressor(strength=strength)
    with pytest.raises(ValueError, match=r"X has values too large.*in column 1"):
        model.fit(sp.csr_matrix(X) if sparse else X, y, sensitive_features=gender)
    assert not hasattr(model, "coef_")


def test_features_near_the_largest_squarable_number_fit(rng):
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + rng.normal(size=60)
    gender = rng.integers(0, 2, 60)
    usual = DCovRidge(strength=0.1, alpha=1e-9).fit(X, y, sensitive_features=gender)
    large = DCovRidge(strength=0.1, alpha=1e-9).fit(X * [1e140, 1.0], y, sensitive_features=gender)
    np.testing.assert_allclose(large.predict(X * [1e140, 1.0]), usual.predict(X), atol=0.05)
