"""The penalty on the device of the predictions: the numbers of the compiled kernels, ties, weights, memory, bad input.

What runs on a card is marked ``gpu`` and skips itself without one; the same code in plain torch runs on the CPU.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fairdcov import CCDCovPenalty, DCovPenalty, JDCovPenalty

torch = pytest.importorskip("torch")

from fairdcov.dependence import _torch_device as device_module  # noqa: E402
from fairdcov.neural import DependenceLoss  # noqa: E402

DeviceDependence = device_module.DeviceDependence
N = 400
PENALTIES = {
    "ccdcov": CCDCovPenalty(),
    "jdcov": JDCovPenalty(),
    "dcov": DCovPenalty(),
    "u": CCDCovPenalty(statistic="u"),
    "raw u": JDCovPenalty(statistic="u", normalize=False),
    "raw": CCDCovPenalty(normalize=False),
    "total": CCDCovPenalty(scale="total"),
}


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request):
    return torch.device(request.param)


@pytest.fixture
def people(rng):
    return pd.DataFrame(
        {"gender": rng.choice(["f", "m"], N), "region": rng.choice(list("nesw"), N, p=[0.6, 0.2, 0.15, 0.05])}
    )


def predictions_of(kind, rng):
    u = rng.gamma(2.0, size=N)
    return {"distinct": u, "ties": np.round(u, 1), "two values": 1.0 + (u > 2), "negative": u - 5, "one off": u**9}[
        kind
    ]


@pytest.mark.parametrize("kind", ["distinct", "ties", "two values", "negative", "one off"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", PENALTIES)
def test_value_and_gradient_are_those_of_the_kernels(rng, people, device, name, weighted, kind):
    penalty = PENALTIES[name]
    weights = rng.uniform(0.1, 1.0, N) * (rng.uniform(size=N) < 0.9) if weighted or name == "total" else None
    if weights is not None and penalty.statistic == "u":
        pytest.skip("the U-statistic takes no weights")
    bound = penalty.bind(people, weights)
    u = predictions_of(kind, rng)
    value, gradient = bound.value_gradient(u)
    found = DeviceDependence(bound.profile_terms(), device).value_gradient(torch.as_tensor(u, device=device))
    assert_allclose(float(found[0]), value, rtol=1e-10, atol=1e-14 * np.abs(u).max())
    assert_allclose(found[1].cpu().numpy(), gradient, rtol=1e-8, atol=1e-12 * np.abs(gradient).max())


def test_sums_in_parts_are_the_same(rng, people, monkeypatch):
    bound, u = CCDCovPenalty().bind(people), torch.as_tensor(rng.gamma(2.0, size=N))
    there = DeviceDependence(bound.profile_terms(), torch.device("cpu"))
    value, gradient = there.value_gradient(u)
    monkeypatch.setattr(device_module, "_CELLS", 3 * N)
    in_parts = there.value_gradient(u)
    assert_allclose(float(in_parts[0]), float(value), rtol=1e-13)
    assert_allclose(in_parts[1].numpy(), gradient.numpy(), rtol=1e-10, atol=1e-15)


def test_constant_extreme_and_bad_predictions(people, device):
    there = DeviceDependence(CCDCovPenalty().bind(people).profile_terms(), device)
    u = torch.full((N,), 3.0, dtype=torch.float64, device=device)
    value, gradient = there.value_gradient(u)
    assert float(value) == 0.0
    assert not gradient.any()
    # The CPU rescales what squares would lose.
    assert there.value_gradient(torch.linspace(0, 1e200, N, dtype=torch.float64, device=device)) is None
    for bad in (float("nan"), float("inf")):
        u[5] = bad
        with pytest.raises(ValueError, match="predictions must be finite"):
            there.value_gradient(u)


def test_rows_without_weight_may_be_anything_but_infinite(rng, people, device):
    weights = np.ones(N)
    weights[:50] = 0
    bound = CCDCovPenalty().bind(people, weights)
    u = rng.gamma(2.0, size=N)
    u[:50] = 1e9
    there = DeviceDependence(bound.profile_terms(), device)
    found = there.value_gradient(torch.as_tensor(u, device=device))
    value, gradient = bound.value_gradient(u)
    assert_allclose(float(found[0]), value, rtol=1e-12)
    assert_allclose(found[1].cpu().numpy(), gradient, rtol=1e-9, atol=1e-15)
    u[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        there.value_gradient(torch.as_tensor(u, device=device))


def test_what_is_not_made_of_profiles_has_no_terms(rng, people):
    ages = pd.DataFrame({"age": rng.uniform(18, 80, N)})
    assert CCDCovPenalty(method="univariate").bind(ages).profile_terms() is None
    assert CCDCovPenalty().bind(people, control_features=rng.choice(list("ab"), N)).profile_terms() is None
    assert DCovPenalty(method="tiles").bind(people.join(ages)).profile_terms() is None


@pytest.mark.gpu
def test_the_loss_stays_on_the_card(rng, people):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    weights = rng.uniform(0.1, 1.0, N)
    loss = DependenceLoss("jdcov").bind(people, weights)
    u = rng.gamma(2.0, size=(N, 1))
    host = torch.tensor(u, requires_grad=True)
    there = torch.tensor(u, device="cuda", requires_grad=True)
    values = [loss(one) for one in (host, there)]
    for value in values:
        value.backward()
    assert values[1].device.type == there.grad.device.type == "cuda"
    assert_allclose(values[1].item(), values[0].item(), rtol=1e-12)
    assert_allclose(there.grad.cpu().numpy(), host.grad.numpy(), rtol=1e-9, atol=1e-15)
    single = there.detach().float().requires_grad_()
    loss(single).backward()
    assert single.grad.dtype == torch.float32
    again = pickle.loads(pickle.dumps(loss))
    assert_allclose(again(there).item(), values[0].item(), rtol=1e-12)
    with pytest.raises(ValueError, match="predictions must have as many rows"):
        loss(there[1:])


@pytest.mark.gpu
@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 5_000] if torch.cuda.is_available() else [1])
def test_triton_sums_are_those_of_torch(rng, n):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    triton_module = pytest.importorskip("fairdcov.dependence._torch_triton")
    for n_profiles in (1, 2, 20, 33, 300):
        compare(triton_module, rng, n, n_profiles)


def compare(triton_module, rng, n, n_profiles):
    codes = torch.as_tensor(rng.integers(n_profiles, size=n).astype(np.int32), device="cuda")
    matrix = torch.as_tensor(rng.normal(size=(n_profiles, n_profiles)), device="cuda")
    for weights in (None, torch.as_tensor(rng.uniform(size=n), device="cuda")):
        for digits in (17, 4, 3):
            values = torch.sort(torch.as_tensor(rng.normal(size=n).round(digits), device="cuda"))[0]
            given = values, codes, weights, matrix, True
            if digits < 17 and bool((values[16:] == values[:-16]).any()):
                continue
            found, again = triton_module.SortedSums(*given), triton_module.SortedSums(*given)
            expected = device_module.PlainSums(*given)
            for name in ("products", "weight_products"):
                one, other = getattr(found, name), getattr(expected, name)
                assert_allclose(one.cpu(), other.cpu(), rtol=1e-9, atol=1e-9)
                assert torch.equal(one, getattr(again, name))
            for name in ("products_value", "weights_value"):
                assert_allclose(float(getattr(found, name)()), float(getattr(expected, name)()), rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_distinct", [1, 2, 9])
def test_sums_of_few_distinct_values(rng, device, n_distinct, weighted):
    codes = torch.as_tensor(rng.integers(5, size=N), device=device)
    matrix = torch.as_tensor(rng.normal(size=(5, 5)), device=device)
    weights = torch.as_tensor(rng.uniform(size=N), device=device) if weighted else None
    values = torch.sort(torch.as_tensor(rng.integers(n_distinct, size=N) * 1.5, device=device))[0]
    found = device_module.TiedSums(values, codes, weights, matrix)
    expected = device_module.PlainSums(values, codes, weights, matrix, True)
    for name in ("products", "weight_products"):
        assert_allclose(getattr(found, name).cpu(), getattr(expected, name).cpu(), rtol=1e-9, atol=1e-9)
    assert_allclose(float(found.products_value()), float(expected.products_value()), rtol=1e-10, atol=1e-9)
    assert_allclose(float(found.weights_value()), float(expected.weights_value()), rtol=1e-10, atol=1e-9)
