"""Where PyTorch is not installed: a clear error where it is needed, and everything else works."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import fairdcov.neural
from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

TORCH_MODULES = ("fairdcov.neural._torch_loss", "fairdcov.neural._torch_network")


@pytest.fixture
def no_torch(monkeypatch):
    """An environment without the package, whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "torch", None)
    # Not by delattr, which asks the module for the name first, and that imports the package.
    names = vars(fairdcov.neural)
    for name in TORCH_MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delitem(names, name.rpartition(".")[2], raising=False)
    monkeypatch.delitem(names, "DependenceLoss", raising=False)


@pytest.mark.parametrize("estimator", [DCovMLPRegressor(), DCovMLPClassifier()])
def test_fit_names_the_extra(no_torch, estimator):
    with pytest.raises(ImportError, match=r"needs the package 'torch'.*pip install 'fairdcov\[neural\]'"):
        estimator.fit(np.eye(8), np.arange(8) % 2, sensitive_features=np.arange(8) % 2)
    assert not [name for name in vars(estimator) if name.endswith("_")]


def test_loss_names_the_extra(no_torch):
    with pytest.raises(ImportError, match=r"DependenceLoss needs the package 'torch'.*fairdcov\[neural\]"):
        _ = fairdcov.neural.DependenceLoss


def test_bad_parameters_come_before_the_missing_package(no_torch):
    with pytest.raises(ValueError, match="strength must be a finite number >= 0"):
        DCovMLPRegressor(strength=-1.0).fit(np.eye(8), np.arange(8))


def test_unknown_names_and_dir():
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = fairdcov.neural.Missing
    assert {"DCovMLPRegressor", "DCovMLPClassifier", "DependenceLoss"} <= set(dir(fairdcov.neural))


def test_predictions_and_pickles_need_no_torch(tmp_path, book):
    pytest.importorskip("torch")
    model = DCovMLPRegressor(objective="poisson", hidden_layer_sizes=(5,), strength=0, max_epochs=2, tol=0)
    with pytest.warns(fairdcov.exceptions.ConvergenceWarning):
        model.set_params(n_iter_no_change=50).fit(book["X"], book["y"])
    (tmp_path / "model.pickle").write_bytes(pickle.dumps((model, book["X"], model.predict(book["X"]))))
    program = (
        "import pickle, sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import numpy as np\n"
        f"model, X, expected = pickle.load(open({str(tmp_path / 'model.pickle')!r}, 'rb'))\n"
        "np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
