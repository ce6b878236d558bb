"""The dual problem of the best predictions, against a primal solved by brute force and against quantile averages."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import LinearConstraint, minimize

from fairdcov._fitting import FAMILIES_BY_LOSS
from fairdcov.metrics import ccdcov
from fairdcov.reference_prices._potentials import DualProblem, gini_mean_difference

ALL = sorted(FAMILIES_BY_LOSS)


def estimates_of(loss, raw):
    """Estimates in the range of a loss."""
    return {"squared_error": raw, "binomial": 1 / (1 + np.exp(1 - raw))}.get(loss, np.exp(raw - 2))


@pytest.fixture
def sample(rng):
    """Raw estimates, profiles, weights and memberships of 2,000 rows in three profiles of unequal shares."""
    n = 2000
    profile = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    raw = rng.normal(size=n) * (0.3 + 0.1 * profile) + 0.3 * profile
    weights = rng.uniform(0.2, 1.0, n)
    return raw, profile, weights / weights.sum()


def quantile_average(eta, profile, weights):
    """Barycentre of the profiles' distributions: at each level the average of their quantiles by their shares."""
    shares = np.bincount(profile, weights)
    levels, quantiles = np.empty_like(eta), []
    for k in range(len(shares)):
        rows = np.flatnonzero(profile == k)
        rows = rows[np.argsort(eta[rows])]
        level = (np.cumsum(weights[rows]) - 0.5 * weights[rows]) / shares[k]
        levels[rows] = level
        quantiles.append((level, eta[rows]))
    return sum(share * np.interp(levels, *known) for share, known in zip(shares, quantiles, strict=True))


@pytest.mark.parametrize("loss", ["poisson", "squared_error", "binomial"])
@pytest.mark.parametrize("soft", [False, True])
def test_no_duality_gap(rng, loss, soft):
    """The primal over laws on the grid, by a general solver, is the dual value of the potentials."""
    n, n_profiles, strength = 6, 3, 2.0
    eta = estimates_of(loss, rng.normal(size=n))
    weights = rng.uniform(0.5, 1.0, n)
    weights /= weights.sum()
    memberships = rng.dirichlet(np.ones(n_profiles), n) if soft else np.eye(n_profiles)[np.arange(n) % n_profiles]
    family = FAMILIES_BY_LOSS[loss].loss()
    problem = DualProblem(family, eta, memberships, weights, np.eye(n_profiles), n_nodes=8)
    potentials, _ = problem.solve(strength)
    grid, form = problem.grid, problem.form
    penalty = strength / problem.spread
    own = family.deviance(eta, eta) / 2
    losses = np.array([family.deviance(eta, np.full(n, u)) / 2 - own for u in grid]).T

    jumps = np.diff(potentials.values, axis=0)
    quadratic = np.einsum("mk,kl,ml->m", jumps, np.linalg.pinv(form), jumps) / (4 * penalty * np.diff(grid))
    dual = weights @ (losses + memberships @ potentials.values.T).min(axis=1) - quadratic.sum()

    def primal(law):
        below = np.cumsum((weights[:, None] * law.reshape(n, -1)).T @ memberships, axis=0)[:-1]
        dependence = np.einsum("mk,kl,ml,m->", below, form, below, np.diff(grid))
        slopes = 2 * penalty * np.diff(grid)[:, None] * (below @ form)
        # A row's mass at a node counts below all nodes after it.
        later = np.vstack([np.cumsum(slopes[::-1], axis=0)[::-1], np.zeros(n_profiles)])
        value = weights @ (losses * law.reshape(n, -1)).sum(axis=1) + penalty * dependence
        return value, (weights[:, None] * (losses + memberships @ later.T)).ravel()

    sums = np.kron(np.eye(n), np.ones(len(grid)))
    found = minimize(
        primal,
        np.full(n * len(grid), 1 / len(grid)),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * (n * len(grid)),
        constraints=LinearConstraint(sums, 1, 1),
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert dual <= found.fun + 1e-9
    assert dual == pytest.approx(found.fun, rel=0.02)
    assert found.fun > 1e-4


def test_the_form_is_that_of_ccdcov(sample):
    raw, profile, weights = sample
    problem = DualProblem(FAMILIES_BY_LOSS["poisson"].loss(), np.exp(raw), np.eye(3)[profile], weights, np.eye(3))
    order = np.argsort(raw)
    below = np.cumsum((weights[:, None] * np.eye(3)[profile])[order], axis=0)[:-1]
    value = np.einsum("tk,kl,tl,t->", below, problem.form, below, np.diff(np.exp(raw)[order]))
    expected = ccdcov(None, np.exp(raw), sensitive_features=profile.astype(str), sample_weight=weights, statistic="v")
    assert value == pytest.approx(expected, rel=1e-8)


def test_gini_mean_difference(sample):
    raw, _, weights = sample
    raw, weights = raw[:50], weights[:50] / weights[:50].sum()
    expected = weights @ np.abs(raw[:, None] - raw[None, :]) @ weights
    assert gini_mean_difference(raw, weights) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ALL)
def test_no_strength_gives_the_estimates(sample, loss):
    raw, profile, weights = sample
    eta = estimates_of(loss, raw)
    problem = DualProblem(FAMILIES_BY_LOSS[loss].loss(), eta, np.eye(3)[profile], weights, np.eye(3))
    potentials, _ = problem.solve(0.0)
    beyond = estimates_of(loss, np.array([raw.min() - 1, 0.0, raw.max() + 1]))
    np.testing.assert_allclose(potentials.predict(eta, np.eye(3)[profile]), eta, rtol=1e-12)
    np.testing.assert_allclose(potentials.predict(beyond, np.eye(3)), beyond, rtol=1e-12)


@pytest.mark.parametrize("loss", ALL)
def test_infinite_strength_averages_quantiles(sample, loss):
    raw, profile, weights = sample
    eta = estimates_of(loss, raw)
    family = FAMILIES_BY_LOSS[loss].loss()
    problem = DualProblem(family, eta, np.eye(3)[profile], weights, np.eye(3))
    potentials, _ = problem.solve(np.inf)
    found, expected = potentials.predict(eta, np.eye(3)[profile]), quantile_average(eta, profile, weights)
    away = np.sqrt(weights @ (found - expected) ** 2)
    assert away < 0.02 * np.sqrt(weights @ (eta - weights @ eta) ** 2)

    def cost(u):
        return weights @ (family.deviance(eta, u) - family.deviance(eta, eta))

    assert cost(found) == pytest.approx(cost(expected), rel=0.01)


def test_dependence_falls_with_the_strength_and_the_loss_rises(sample):
    raw, profile, weights = sample
    eta, family = np.exp(raw), FAMILIES_BY_LOSS["poisson"].loss()
    problem = DualProblem(family, eta, np.eye(3)[profile], weights, np.eye(3))
    given = {"sensitive_features": profile.astype(str), "sample_weight": weights, "statistic": "v"}
    start, found = None, []
    for strength in (0.0, 0.3, 3.0, 30.0, np.inf):
        potentials, start = problem.solve(strength, start)
        u = potentials.predict(eta, np.eye(3)[profile])
        found.append((weights @ family.deviance(eta, u), ccdcov(None, u, **given)))
    deviances, dependences = np.array(found).T
    assert (np.diff(deviances) > 0).all()
    assert (np.diff(dependences) < 0).all()
    assert dependences[-1] < 1e-3 * dependences[0]


def test_equal_estimates_are_left_alone():
    memberships = np.eye(2)[[0, 1, 0, 1]]
    problem = DualProblem(FAMILIES_BY_LOSS["poisson"].loss(), np.full(4, 0.3), memberships, np.full(4, 0.25), np.eye(2))
    potentials, _ = problem.solve(np.inf)
    np.testing.assert_allclose(potentials.predict(np.array([0.3, 0.5]), np.eye(2)), [0.3, 0.5])


def test_ties_get_equal_predictions(sample):
    """Estimates of few distinct values: predictions are functions of them, and as independent as these can be."""
    raw, profile, weights = sample
    eta = np.exp(np.round(raw, 1))
    problem = DualProblem(FAMILIES_BY_LOSS["poisson"].loss(), eta, np.eye(3)[profile], weights, np.eye(3))
    u = problem.solve(np.inf)[0].predict(eta, np.eye(3)[profile])
    assert pd.DataFrame({"eta": eta, "profile": profile, "u": u}).groupby(["eta", "profile"])["u"].nunique().max() == 1
    given = {"sensitive_features": profile.astype(str), "sample_weight": weights, "statistic": "v"}
    assert ccdcov(None, u, **given) < 0.02 * ccdcov(None, eta, **given)
