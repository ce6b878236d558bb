"""The penalty in PyTorch, and networks, with attributes that are known as probabilities."""

import numpy as np
import pandas as pd
import pytest

from fairdcov import CCDCovPenalty, SensitiveEncoder, with_probabilities

LEVELS = ["p_a", "p_b", "p_c"]


@pytest.fixture
def people(rng):
    return pd.DataFrame(rng.dirichlet([1.0, 1.0, 0.5], 300), columns=LEVELS)


def test_batches_of_encoded_rows(people, rng):
    torch = pytest.importorskip("torch")
    from fairdcov.neural import DependenceLoss

    penalty = CCDCovPenalty(encoder=SensitiveEncoder(probabilities={"race": LEVELS}))
    loss = DependenceLoss(penalty)
    encoded = loss.encode(people)
    rows = torch.tensor(rng.permutation(300)[:64])
    u = torch.tensor(rng.normal(size=64), requires_grad=True)
    value = loss(u, encoded[rows])
    value.backward()
    expected, gradient = penalty.bind(people.iloc[rows.numpy()]).value_gradient(u.detach().numpy())
    assert value.item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(u.grad.numpy(), gradient, rtol=1e-9, atol=1e-15)
    alike = encoded[np.zeros(64, dtype=int)]
    assert loss(u, alike).item() == 0.0


def test_a_network_on_declared_attributes(people, rng):
    pytest.importorskip("torch")
    from fairdcov.neural import DCovMLPRegressor

    X = rng.normal(size=(300, 2))
    X[:, 0] += 2 * people["p_a"]
    y = rng.poisson(np.exp(X[:, 0] / 2)).astype(float)
    protected = with_probabilities(people, {"race": LEVELS})
    bound = CCDCovPenalty().bind(protected)
    options = {"hidden_layer_sizes": (4,), "max_iter": 100, "random_state": 0}
    values = [
        bound.value(DCovMLPRegressor(strength=strength, **options).fit(X, y, sensitive_features=protected).predict(X))
        for strength in (0.0, 20.0)
    ]
    assert values[1] < 0.8 * values[0]
