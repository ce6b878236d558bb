"""Neural networks with a dependence penalty, and the penalty as a loss for networks of one's own.

PyTorch trains them (``pip install 'fairdcov[neural]'``); importing this package and predicting do without it.
"""

from fairdcov.neural._estimators import DCovMLPClassifier, DCovMLPRegressor

__all__ = ["DCovMLPClassifier", "DCovMLPRegressor", "DependenceLoss"]


def __getattr__(name):
    """Load :class:`DependenceLoss`, a subclass of ``torch.nn.Module``, when it is first asked for (PEP 562)."""
    if name == "DependenceLoss":
        from fairdcov.neural._torch_loss import DependenceLoss

        globals()[name] = DependenceLoss
        return DependenceLoss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
