"""Penalties on a grid: the same numbers as the exact ones but for a small error, in a fit as well."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovPenalty,
    DCovPoissonRegressor,
    DCovRidge,
    JDCovPenalty,
    with_probabilities,
)
from fairdcov.dependence import Reduction

N = 3000
PENALTIES = [CCDCovPenalty, JDCovPenalty, DCovPenalty]


@pytest.fixture
def people(rng):
    return pd.DataFrame({"gender": rng.choice(["f", "m"], N), "region": rng.choice(list("abcde"), N)})


@pytest.fixture
def weights(rng):
    return rng.uniform(0.1, 1.0, N)


@pytest.fixture
def u(rng, people):
    return np.exp(0.5 * rng.normal(size=N) - 2 + 0.3 * (people["gender"] == "f"))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    "options", [{}, {"normalize": False}, {"statistic": "u", "weighted": False}, {"scale": "total"}]
)
def test_value_gradient_and_curvature(penalty, options, people, weights, u):
    exact = penalty(**options).bind(people, weights)
    found = penalty(method="grid", **options).bind(people, weights, n_threads=2)
    assert found.method == "profiles on a grid"
    assert (found.constant, found.n_profiles, found.scale_free) == (exact.constant, 10, exact.scale_free)
    assert found.error_bound == np.inf
    value, gradient, curvature = exact.value_gradient_curvature(u)
    value_found, gradient_found, curvature_found = found.value_gradient_curvature(u)
    assert_allclose(value_found, value, rtol=1e-5)
    assert np.linalg.norm(gradient_found - gradient) <= 1e-2 * np.linalg.norm(gradient)
    # Densities are those of a cell; a window reaches as far as whole rows on the one side, fractions on the other.
    assert_allclose(curvature_found, curvature, rtol=0.25)
    assert_allclose(np.median(curvature_found / curvature), 1, rtol=1e-2)
    assert abs(found.value(u) - exact.value(u)) < found.error_bound * (1 if exact.scale_free else u.mean()) < 1e-3


def test_constant_and_wrong_predictions(people, weights, u):
    bound = CCDCovPenalty(method="grid").bind(people, weights)
    value, gradient, curvature = bound.value_gradient_curvature(np.full(N, 0.3))
    assert value == 0
    assert not gradient.any()
    assert not curvature.any()
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="u must"):
            bound.value(np.where(np.arange(N) == 3, wrong, u))
    with pytest.raises(ValueError, match="the protected attributes that the penalty is bound to"):
        bound.value(u[1:])


def test_rows_without_weight_have_no_say(people, weights, u):
    weights[::5] = 0.0
    bound = CCDCovPenalty(method="grid").bind(people, weights)
    other = u.copy()
    other[::5] = 1e6
    value, gradient = bound.value_gradient(u)
    value_other, gradient_other = bound.value_gradient(other)
    # They take a place within the range of the others, and change where nodes are by no more than that.
    assert_allclose(value_other, value, rtol=1e-5)
    assert not gradient_other[::5].any()
    assert np.linalg.norm(gradient_other - gradient) <= 5e-3 * np.linalg.norm(gradient)


def test_probabilities(people, u, rng):
    shares = pd.DataFrame(rng.dirichlet(np.ones(3), N), columns=list("abc")).assign(gender=people["gender"])
    attributes = with_probabilities(shares, {"origin": list("abc")})
    exact = JDCovPenalty().bind(attributes)
    found = JDCovPenalty(method="grid").bind(attributes)
    assert found.method == "memberships on a grid"
    assert_allclose(found.value(u), exact.value(u), rtol=1e-5)


def test_within_strata(people, weights, u, rng):
    levels = rng.integers(0, 3, N).astype(str)
    exact = CCDCovPenalty().bind(people, weights, control_features=levels)
    found = CCDCovPenalty(method="grid").bind(people, weights, control_features=levels)
    assert_allclose(found.value(u), exact.value(u), rtol=1e-5)
    assert 0 < found.error_bound < 1e-3


def test_one_process_is_all_processes(people, weights, u):
    """The identity is the default; equal weights are not left out, since they may be others elsewhere."""
    for given in (weights, np.ones(N), None):
        expected = CCDCovPenalty(method="grid").bind(people, given).value_gradient(u)
        found = CCDCovPenalty(method="grid").bind(people, given, reduction=Reduction()).value_gradient(u)
        assert_allclose(found[0], expected[0], rtol=1e-10)
        assert_allclose(found[1], expected[1], rtol=1e-8, atol=1e-14)
    with pytest.raises(ValueError, match="control_features do not go with rows in several processes"):
        CCDCovPenalty(method="grid").bind(people, control_features=np.arange(N) % 3, reduction=Reduction())
    with pytest.raises(ValueError, match="rows in several processes need method='grid'"):
        CCDCovPenalty().bind(people, reduction=Reduction())


def test_more_nodes_are_closer(people, weights, u):
    exact = CCDCovPenalty().bind(people, weights)
    value, gradient = exact.value_gradient(u)
    errors = []
    for size in (128, 2048, 32_768):
        found = CCDCovPenalty(method="grid", grid_size=size).bind(people, weights).value_gradient(u)
        errors.append([abs(found[0] - value), np.linalg.norm(found[1] - gradient)])
    errors = np.array(errors)
    assert (errors[1] < errors[0] / 3).all()
    assert (errors[2] < errors[1] / 3).all()


@pytest.mark.parametrize("estimator", [DCovPoissonRegressor, DCovGammaRegressor, DCovRidge])
@pytest.mark.parametrize("penalty", [CCDCovPenalty, JDCovPenalty])
def test_a_fit_is_as_good_and_takes_as_many_evaluations(estimator, penalty, people, weights, rng):
    X = np.column_stack([rng.normal(size=(N, 4)), people["gender"] == "f", people["region"].isin(["a", "b"])])
    y = rng.gamma(2.0, size=N) * np.exp(0.3 * X[:, 0] + 0.3 * X[:, 4] - 0.2 * X[:, 5])
    fits = {
        method: estimator(strength=0.5, penalty=penalty(method=method)).fit(
            X, y, sample_weight=weights, sensitive_features=people
        )
        for method in ("auto", "grid")
    }
    exact = penalty().bind(people, weights)
    objective = {method: fit.loss_value_ + 0.5 * exact.value(fit.predict(X)) for method, fit in fits.items()}
    # The exact measure has a kink wherever two rows pass each other: both fits stop near one.
    assert_allclose(objective["grid"], objective["auto"], rtol=2e-5)
    assert fits["grid"].n_iter_ <= fits["auto"].n_iter_ + 2
    assert fits["grid"].penalty_method_ == "profiles on a grid"
    assert 0 < fits["grid"].penalty_error_bound_ < 1e-3


def test_grid_size_is_checked(people):
    for wrong in (0, 2.5, "many"):
        with pytest.raises((ValueError, TypeError), match="grid_size must be"):
            CCDCovPenalty(method="grid", grid_size=wrong).bind(people)


def test_the_same_bits_every_time_and_for_any_number_of_threads(people, weights, u):
    first = CCDCovPenalty(method="grid").bind(people, weights, n_threads=1)
    second = CCDCovPenalty(method="grid").bind(people, weights, n_threads=3)
    first.value(u * 3)
    for bound in (first, second):
        assert bound.value(u) == first.value(u)
        assert_array_equal(bound.value_gradient(u)[1], first.value_gradient(u)[1])
