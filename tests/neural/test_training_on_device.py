"""Networks trained where their rows are: the numbers of the fit on the host, bad devices; on a card if there is one."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fairdcov import CCDCovPenalty
from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

torch = pytest.importorskip("torch")

from fairdcov.neural import _torch_network  # noqa: E402 - which needs torch

NETWORK = {"hidden_layer_sizes": (6,), "max_epochs": 5, "max_iter": 15, "random_state": 0}


def as_on_a_device(monkeypatch):
    """Let the CPU be a device: tensors stay tensors."""
    monkeypatch.setattr(_torch_network, "device_named", lambda name: torch.device("cpu"))


@pytest.mark.filterwarnings("ignore:.*still getting better")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("penalty", ["ccdcov", CCDCovPenalty(scale="total"), CCDCovPenalty(method="tiles")])
def test_a_fit_is_the_one_on_the_host(book, data, monkeypatch, penalty, early_stopping):
    model = DCovMLPRegressor(penalty, strength=2.0, objective="poisson", early_stopping=early_stopping, **NETWORK)
    offset = 0.1 * book["X"][:, 0]
    host = model.fit(book["X"], book["y"], offset=offset, **data)
    expected = host.predict(book["X"], offset=offset), host.objective_value_, host.penalty_method_
    as_on_a_device(monkeypatch)
    there = model.fit(book["X"], book["y"], offset=offset, **data)
    # Single precision and a search among kinks: what differs in the last digit grows.
    assert_allclose(there.predict(book["X"], offset=offset), expected[0], rtol=1e-3)
    assert_allclose(there.objective_value_, expected[1], rtol=1e-6)
    assert there.penalty_method_ == expected[2]
    assert all(isinstance(part, np.ndarray) for part in there.coefs_)
    total = (there.predict(book["X"], offset=offset) * book["exposure"]).sum()
    if penalty == "ccdcov":
        assert_allclose(total, book["claims"].sum(), rtol=1e-6)
    assert_allclose(pickle.loads(pickle.dumps(there)).coefs_[0], there.coefs_[0])


def value_and_slope(output):
    """A function of all outputs together: the derivative for a row depends on the others."""
    u = np.asarray(output)
    slope = 2 * np.sign(u[:, None] - u).sum(1) / len(u) ** 2
    value = float(u @ slope)
    return value, slope if isinstance(output, np.ndarray) else output.new_tensor(slope)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("rows", [100, 333, 1])
def test_parts_of_the_rows_have_the_gradient_of_all(rng, monkeypatch, there, rows):
    shapes = [(7, 6), (6,), (6, 1), (1,)]
    X, parameters = rng.normal(size=(1003, 7)), rng.normal(size=55)
    found = []
    for chunk in (2000, rows):
        monkeypatch.setattr(_torch_network, "_CHUNK_ROWS_THERE", chunk)
        monkeypatch.setattr(_torch_network, "_CHUNK_ROWS", chunk)
        with _torch_network.training(1):
            network = _torch_network.Network(X, shapes, "tanh", torch.device("cpu") if there else None)
            value, gradient = network.value_gradient(parameters, value_and_slope)
            found.append((value, gradient, np.asarray(network.raw(parameters))))
    (value, gradient, raw), (value_of_parts, gradient_of_parts, raw_of_parts) = found
    # Sums of a thousand numbers of single precision; a part that is left out, or counted twice, is a tenth.
    assert_allclose(value_of_parts, value, rtol=1e-6)
    assert_allclose(raw_of_parts, raw, rtol=1e-5, atol=1e-6)
    assert_allclose(gradient_of_parts, gradient, atol=1e-5 * np.abs(gradient).max())


@pytest.mark.filterwarnings("ignore:.*still getting better")
def test_many_rows_go_in_parts(book, data, monkeypatch):
    as_on_a_device(monkeypatch)
    # The first steps: rounding grows with each of them, as a search among kinks does not go the same way twice.
    model = DCovMLPClassifier(strength=1.0, early_stopping=False, **{**NETWORK, "max_epochs": 1, "max_iter": 1})
    whole = model.fit(book["X"], book["y"] > 0, **data).objective_value_
    monkeypatch.setattr(_torch_network, "_CHUNK_ROWS_THERE", 100)
    monkeypatch.setattr(_torch_network, "_CHUNK_ROWS", 100)
    assert_allclose(model.fit(book["X"], book["y"] > 0, **data).objective_value_, whole, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*still getting better")
def test_batches_ask_nothing_of_the_device(book, data, monkeypatch):
    as_on_a_device(monkeypatch)
    asked, seen, adam = [], [], _torch_network.Network.adam

    def watched(network, parameters, rate):
        step = adam(network, parameters, rate)

        def watched_step(rows, slope_of, shrinkage):
            seen.append(isinstance(rows, torch.Tensor))

            def watched_slope(output):
                with monkeypatch.context() as patch:
                    for name in ("__bool__", "__float__", "__int__", "cpu", "item", "numpy", "tolist"):
                        patch.setattr(torch.Tensor, name, lambda *_, name=name: asked.append(name), raising=False)
                    return slope_of(output)

            return step(rows, watched_slope, shrinkage)

        return watched_step

    monkeypatch.setattr(_torch_network.Network, "adam", watched)
    model = DCovMLPRegressor(strength=0, objective="poisson", **{**NETWORK, "max_epochs": 1})
    model.fit(book["X"], book["y"], offset=0.1 * book["X"][:, 0], **data)
    assert len(seen) > 5
    assert all(seen)
    assert not asked


@pytest.mark.parametrize("device", ["nonsense", "mps", 3.5])
def test_unknown_devices(book, data, device):
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:1'"):
        DCovMLPRegressor(device=device).fit(book["X"], book["y"], **data)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda(book, data):
    with pytest.raises(ValueError, match="device='cuda' needs a CUDA device"):
        DCovMLPRegressor(device="cuda").fit(book["X"], book["y"], **data)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("ignore:.*still getting better")
@pytest.mark.parametrize("make", [DCovMLPRegressor, DCovMLPClassifier])
def test_training_on_a_card(book, data, make):
    y = book["y"] if make is DCovMLPRegressor else book["y"] > 0
    fits = [
        make(strength=2.0, device=device, **NETWORK).fit(book["X"], y, **data) for device in ("cuda", "cuda", "cpu")
    ]
    assert_allclose(fits[0].objective_value_, fits[2].objective_value_, rtol=0.05)
    for one, other in zip(fits[0].coefs_, fits[1].coefs_, strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(ValueError, match="device='cuda:99' is not there"):
        make(device="cuda:99").fit(book["X"], y, **data)
