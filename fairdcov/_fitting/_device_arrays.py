"""Arrays of other libraries: whether a fit follows them, as tensors without a copy, and back.

Nothing here is loaded with PyTorch but what functions ask for.
"""

import importlib

import numpy as np
from sklearn import get_config

from fairdcov._checks import import_optional
from fairdcov._fitting._functions import is_tensor

__all__ = [
    "NEEDED_BY",
    "as_given",
    "as_tensor",
    "follows_device",
    "is_array_of_other_library",
    "on_host",
    "refuse_device",
    "refuse_dispatched",
    "tensor_of",
]

# What the error for a missing PyTorch names.
NEEDED_BY = "a fit on a device"


def follows_device(X):
    """Whether a fit or a prediction is to stay where ``X`` is, as scikit-learn's array API dispatch has it.

    Raises
    ------
    TypeError
        For an array that is not on the host where the dispatch is off.
    """
    if not is_array_of_other_library(X):
        return False
    if get_config()["array_api_dispatch"]:
        return True
    if _is_elsewhere(X):
        raise TypeError(
            f"X is a {_kind(X)} on {X.device}: call sklearn.set_config(array_api_dispatch=True) to fit and predict "
            "there (with SCIPY_ARRAY_API=1 in the environment), or pass a NumPy array"
        )
    return False


def refuse_dispatched(estimator, **arrays):
    """The same for an estimator that works on the host alone, and arrays that scikit-learn would leave as they are."""
    for name, array in arrays.items():
        if is_array_of_other_library(array) and get_config()["array_api_dispatch"]:
            raise TypeError(
                f"{name} is a {_kind(array)}, which scikit-learn leaves as it is with array_api_dispatch=True, and "
                f"{type(estimator).__name__} works on NumPy arrays: pass one"
            )
    refuse_device(estimator, **arrays)


def refuse_device(estimator, **arrays):
    """Raise a TypeError for arrays that NumPy cannot read where they are, and an estimator that works on the host."""
    for name, array in arrays.items():
        if is_array_of_other_library(array) and _is_elsewhere(array):
            raise TypeError(
                f"{name} is a {_kind(array)} on {array.device}, and this {type(estimator).__name__} works on the host: "
                "pass a NumPy array"
            )


def is_array_of_other_library(values):
    if is_tensor(values):
        return True
    of_a_library = hasattr(values, "__array_namespace__") or hasattr(values, "__cuda_array_interface__")
    return of_a_library and hasattr(values, "__dlpack__") and not _is_numpy(values)


def _is_numpy(values):
    return isinstance(values, np.ndarray | np.generic)


def _is_elsewhere(array):
    """Whether NumPy cannot read an array where it is."""
    if is_tensor(array):
        return array.device.type != "cpu"
    return array.__dlpack_device__()[0] != 1


def _kind(array):
    return f"{type(array).__module__.partition('.')[0]} {type(array).__name__}"


def tensor_of(array):
    """The tensor that an array of another library is, without a copy."""
    return array.detach() if is_tensor(array) else import_optional("torch", NEEDED_BY).from_dlpack(array)


def as_tensor(values):
    """A tensor for an array of another library, anything else as it is."""
    return tensor_of(values) if is_array_of_other_library(values) else values


def as_given(values, like):
    """A tensor as an array of the library of ``like``, without a copy; anything else as it is."""
    if not is_tensor(values) or is_tensor(like) or not is_array_of_other_library(like):
        return values
    if hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().from_dlpack(values)
    return importlib.import_module(type(like).__module__.partition(".")[0]).from_dlpack(values)


def on_host(values):
    """NumPy array of any array."""
    return tensor_of(values).cpu().numpy() if is_array_of_other_library(values) else values
