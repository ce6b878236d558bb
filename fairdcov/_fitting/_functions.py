"""The functions that losses are made of, for vectors of NumPy and for tensors of PyTorch."""

import functools
import sys
from types import SimpleNamespace

import numpy as np
from scipy.special import expit, xlogy

__all__ = ["functions_of", "is_tensor"]

_NUMPY = SimpleNamespace(
    column_stack=np.column_stack,
    exp=np.exp,
    expit=expit,
    isfinite=np.isfinite,
    isnan=np.isnan,
    log=np.log,
    log1p=np.log1p,
    log1pexp=lambda x: np.logaddexp(0.0, x),
    not_negative=lambda x: np.maximum(x, 0.0),
    ones_like=np.ones_like,
    where=np.where,
    xlogy=xlogy,
)


def is_tensor(values):
    """Whether these are a tensor of PyTorch, which need not be installed."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def functions_of(values):
    """Functions for what ``values`` are: tensors of PyTorch, or anything that NumPy takes."""
    return _of_torch() if is_tensor(values) else _NUMPY


@functools.cache
def _of_torch():
    import torch

    return SimpleNamespace(
        column_stack=torch.column_stack,
        exp=torch.exp,
        expit=torch.special.expit,
        isfinite=torch.isfinite,
        isnan=torch.isnan,
        log=torch.log,
        log1p=torch.log1p,
        log1pexp=lambda x: torch.logaddexp(torch.zeros_like(x), x),
        not_negative=lambda x: torch.clamp(x, min=0.0),
        ones_like=torch.ones_like,
        where=torch.where,
        xlogy=torch.xlogy,
    )
