"""Losses and objective against finite differences and independent formulas."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_tweedie_deviance

from fairdcov import CCDCovPenalty, DCovPenalty, JDCovPenalty
from fairdcov._fitting._losses import HalfBinomialLoss, HalfSquaredError, HalfTweedieLoss
from fairdcov._fitting._negative_binomial import HalfNegativeBinomialLoss
from fairdcov._fitting._objective import CoefficientObjective, RawObjective

LOSSES = {
    "squared error": HalfSquaredError(),
    "binomial": HalfBinomialLoss(),
    **{f"negative binomial {a}": HalfNegativeBinomialLoss(a) for a in (1e-9, 0.3, 2.0, 1e6)},
    **{f"tweedie {power} log": HalfTweedieLoss(power) for power in (-1.0, 0.0, 1.0, 1.5, 1.9, 2.0, 3.0)},
    **{f"tweedie {power} identity": HalfTweedieLoss(power, "identity") for power in (0.0, 1.0, 1.5, 2.0, 3.0)},
}


def central_difference(function, point, step):
    """Fourth-order central differences of a scalar function, one coordinate at a time."""
    gradient = np.empty_like(point)
    for i in range(len(point)):
        unit = np.zeros_like(point)
        unit[i] = step
        near = function(point + unit) - function(point - unit)
        far = function(point + 2 * unit) - function(point - 2 * unit)
        gradient[i] = (8 * near - far) / (12 * step)
    return gradient


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    n = 12
    return {
        "y": rng.integers(0, 2, n) + 0.0,
        "positive": rng.gamma(2.0, 1.0, n) + 0.1,
        "raw": rng.uniform(0.3, 1.5, n),
        "p": rng.dirichlet(np.ones(n)),
        "S": np.column_stack([rng.integers(0, 2, n), rng.normal(size=n)]),
        "X": rng.normal(size=(n, 3)),
    }


def _target(name, rows):
    return rows["y"] if name == "binomial" else rows["positive"]


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_and_response_slope(name, rows):
    loss, y, raw = LOSSES[name], _target(name, rows), rows["raw"]
    numeric = central_difference(lambda r: loss.loss_gradient(y, r)[0].sum(), raw, 1e-3)
    np.testing.assert_allclose(loss.loss_gradient(y, raw)[1], numeric, rtol=1e-7, atol=1e-9)
    slope = central_difference(lambda r: loss.response(r).sum(), raw, 1e-3)
    np.testing.assert_allclose(loss.response_slope(raw), slope, rtol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_curvature_is_the_expected_second_derivative(name, rows):
    # Every derivative of these losses is linear in y, so its expectation is its value at y = mean.
    loss, raw = LOSSES[name], rows["raw"]
    mean = loss.response(raw)
    second = central_difference(lambda r: loss.loss_gradient(mean, r)[1].sum(), raw, 1e-3)
    np.testing.assert_allclose(loss.curvature(raw), second, rtol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_intercept_inverts_the_link(name):
    loss = LOSSES[name]
    np.testing.assert_allclose(loss.response(np.array([loss.intercept(0.3)])), 0.3, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith("tweedie")])
def test_loss_is_half_the_deviance(name, rows):
    loss, raw = LOSSES[name], rows["raw"]
    losses, _ = loss.loss_gradient(rows["positive"], raw)
    deviance = mean_tweedie_deviance(rows["positive"], loss.response(raw), sample_weight=rows["p"], power=loss.power)
    np.testing.assert_allclose(rows["p"] @ losses, deviance / 2, rtol=1e-10)


def test_binomial_loss_is_the_log_loss(rows):
    losses, _ = LOSSES["binomial"].loss_gradient(rows["y"], rows["raw"])
    probability = LOSSES["binomial"].response(rows["raw"])
    np.testing.assert_allclose(
        rows["p"] @ losses, log_loss(rows["y"], probability, sample_weight=rows["p"]), rtol=1e-12
    )


def test_losses_survive_extreme_raw_predictions():
    for loss in LOSSES.values():
        losses, gradient = loss.loss_gradient(np.array([1.0, 1.0]), np.array([-800.0, 800.0]))
        assert not np.isnan(losses).any()
        assert gradient.shape == (2,)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("scale", ["response", "link"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("penalty", [CCDCovPenalty, JDCovPenalty, DCovPenalty])
@pytest.mark.parametrize(
    "name", ["squared error", "binomial", "tweedie 1.0 log", "tweedie 2.0 log", "negative binomial 0.3"]
)
def test_gradient_of_the_whole_objective(name, penalty, normalize, scale, weighted, rows):
    bound = penalty(normalize=normalize, scale=scale, weighted=weighted).bind(rows["S"], rows["p"])
    raw_objective = RawObjective(LOSSES[name], _target(name, rows), rows["p"], bound)
    objective = CoefficientObjective(rows["X"], raw_objective, ridge=0.7, fit_intercept=True)
    point = np.array([0.3, -0.2, 0.1, 0.4])
    numeric = central_difference(lambda q: objective.parts_gradient(q, 3.0)[0].total, point, 1e-4)
    np.testing.assert_allclose(objective.parts_gradient(point, 3.0)[1], numeric, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_threads_show_in_no_bit_of_a_linear_objective(rng, layout):
    n, loss = 40_000, LOSSES["tweedie 1.0 log"]
    X, y = layout(rng.normal(size=(n, 5))), rng.poisson(1.0, n) + 0.0
    raw_objective = RawObjective(loss, y, np.full(n, 1 / n))
    point = rng.normal(size=6) / 3
    models = [CoefficientObjective(X, raw_objective, 0.1, True, n_threads) for n_threads in (1, 2, 3)]
    found = [(model.raw(point), model.parts_gradient(point)[1], model.hessian(point)) for model in models]
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(first, second)
    curvature = loss.curvature(found[0][0]) / n
    design = np.column_stack([X, np.ones(n)])
    expected = design.T @ (curvature[:, None] * design) + np.diag([0.1] * 5 + [0.0])
    np.testing.assert_allclose(found[0][2], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found[0][0], design @ point, rtol=1e-12, atol=1e-12)


def test_hessian_of_the_loss_and_its_diagonal(rows):
    raw_objective = RawObjective(LOSSES["tweedie 1.0 log"], rows["positive"], rows["p"])
    objective = CoefficientObjective(rows["X"], raw_objective, ridge=0.7, fit_intercept=True)
    point = np.array([0.3, -0.2, 0.1, 0.4])
    hessian = objective.hessian(point)
    for i in range(4):
        unit = 1e-4 * np.eye(4)[i]
        column = (objective.parts_gradient(point + unit)[1] - objective.parts_gradient(point - unit)[1]) / 2e-4
        np.testing.assert_allclose(hessian[:, i], column, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(objective.hessian_diagonal(point), np.diag(hessian), rtol=1e-12)
