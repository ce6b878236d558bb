"""Gradients of penalised rounds made on a device: those of the host; trees of XGBoost on a card."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fairdcov import CCDCovPenalty, DCovXGBRegressor, JDCovPenalty
from fairdcov._fitting import HalfTweedieLoss
from fairdcov.boosting import _xgboost as module
from fairdcov.boosting._objective import BalancedObjective, DeviceBalancedObjective

torch = pytest.importorskip("torch")
xgboost = pytest.importorskip("xgboost")

N = 500
ROUNDS = {"objective": "poisson", "n_estimators": 10, "n_penalised_rounds": 10, "max_depth": 3, "random_state": 0}
PENALTIES = {
    "scale-free": CCDCovPenalty(),
    "raw": CCDCovPenalty(normalize=False),
    "link": JDCovPenalty(scale="link"),
    "u": CCDCovPenalty(statistic="u"),
    "total": CCDCovPenalty(scale="total"),
    "copied": CCDCovPenalty(method="tiles"),
}


@pytest.fixture
def book(rng):
    people = np.column_stack([rng.integers(0, 2, N), rng.integers(0, 4, N)])
    X = rng.normal(size=(N, 4))
    X[:, 0] += people[:, 0]
    weights = rng.uniform(0.2, 1.0, N)
    return X, rng.poisson(np.exp(0.3 * X[:, 0])) * 1.0, weights, people


@pytest.mark.parametrize("digits", [12, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_terms_and_curvature_are_those_of_the_host(rng, book, name, weighted, digits):
    _, y, weights, people = book
    if name == "u" and weighted:
        pytest.skip("the U-statistic takes no weights")
    if name == "total" and not weighted:
        pytest.skip("totals are those of weighted rows")
    bound = PENALTIES[name].bind(people, weights if weighted else None)
    shares = weights / weights.sum() if weighted else np.full(N, 1 / N)
    host = BalancedObjective(HalfTweedieLoss(1.0), y, shares, bound, 0.1 * rng.normal(size=N))
    there = DeviceBalancedObjective(host, torch.device("cpu"))
    raw = rng.normal(size=N).round(digits)
    shift, expected = host.balanced_terms_curvature(raw, 2.0)
    found_shift, found = there.balanced_terms_curvature(there.vector(raw), 2.0)
    assert_allclose(found_shift, shift, rtol=1e-12)
    assert_allclose(found[:2], expected[:2], rtol=1e-10, atol=1e-14)
    for one, other in zip(found[2:], expected[2:], strict=True):
        assert_allclose(one, other, rtol=1e-8, atol=1e-13)
    assert there.host is host


def test_rounds_with_gradients_made_elsewhere_grow_the_same_trees(book, monkeypatch):
    X, y, weights, people = book
    fits = []
    for device in (None, torch.device("cpu")):
        monkeypatch.setattr(module, "device_of", lambda name, device=device: device)
        if device is not None:
            grow = module.XGBoostGrower.grow
            # Without a card XGBoost takes NumPy alone.
            monkeypatch.setattr(
                module.XGBoostGrower,
                "grow",
                lambda self, gradient, curvature, rate, grow=grow: grow(
                    self, gradient.numpy(), curvature.numpy(), rate
                ),
            )
        model = DCovXGBRegressor(strength=10.0, validation_fraction=None, **ROUNDS)
        fits.append(model.fit(X, y, sample_weight=weights, sensitive_features=people))
    assert_allclose(fits[1].predict(X), fits[0].predict(X), rtol=1e-6)


def test_no_card_no_device():
    assert module.device_of("cpu") is None
    if not torch.cuda.is_available():
        assert module.device_of("cuda") is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rounds_on_a_card(book):
    if not xgboost.build_info().get("USE_CUDA"):
        pytest.skip("XGBoost without CUDA")
    X, y, weights, people = book
    fits = [
        DCovXGBRegressor(strength=1.0, device=device, validation_fraction=None, **ROUNDS).fit(
            X, y, sample_weight=weights, sensitive_features=people
        )
        for device in ("cuda", "cpu")
    ]
    assert_allclose(fits[0].loss_value_, fits[1].loss_value_, rtol=1e-2)
    assert_allclose(fits[0].penalty_value_, fits[1].penalty_value_, rtol=0.2, atol=1e-4)
