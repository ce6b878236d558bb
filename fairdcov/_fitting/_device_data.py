"""The rows of a fit on the device of its features: read and checked as those on the host are."""

from dataclasses import replace

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import validate_data

from fairdcov._checks import check_consistent_rows, check_sample_weight, import_optional
from fairdcov._fitting._device_arrays import NEEDED_BY, is_array_of_other_library, tensor_of
from fairdcov._fitting._functions import is_tensor
from fairdcov._fitting._training_data import LEAST_PENALISED_ROWS, TrainingData, check_offset, encode_binary_target
from fairdcov.encoding import check_sensitive_features, select_rows

__all__ = ["every_row", "features_on_device", "read_device_data"]


def features_on_device(estimator, X, *, reset=False, least=1):
    """Features as a floating point tensor (n, p), checked by scikit-learn as those on the host are."""
    torch = import_optional("torch", NEEDED_BY)
    X = tensor_of(X)
    if X.layout is not torch.strided:
        raise TypeError(f"X must be a dense array on a device; found a tensor of layout {X.layout}")
    if X.device.type == "mps":
        raise TypeError("X is on an MPS device, which has no double precision: pass a NumPy array or a CUDA tensor")
    return validate_data(
        estimator, X, reset=reset, dtype=[torch.float64, torch.float32], ensure_min_samples=least, copy=False
    )


def read_device_data(
    estimator, X, y, sample_weight, sensitive_features, loss, *, penalised, control_features=None, offset=None
):
    """Check the input of a fit on the device of ``X``; see :func:`read_training_data`.

    Returns
    -------
    TrainingData
        Of tensors on the device; attributes stay on the host where they are there.
    """
    if control_features is not None:
        raise ValueError(
            "control_features are not supported on a device, where the penalty is one of profiles without strata: fit "
            "on NumPy arrays"
        )
    if estimator.sensitive_columns is not None:
        raise ValueError(
            "sensitive_columns are not supported on a device: pass these columns as sensitive_features, and X without "
            "them"
        )
    least = LEAST_PENALISED_ROWS if penalised else 1
    X = features_on_device(estimator, X, reset=True, least=least)
    if is_classifier(estimator):
        y = _encode_classes(estimator, y)
    y = _vector(y, "y", X)
    weights = _weights(sample_weight, X)
    if sensitive_features is not None and not is_array_of_other_library(sensitive_features):
        check_sensitive_features(sensitive_features, len(X))
    elif sensitive_features is not None:
        sensitive_features = _device_attributes(sensitive_features, X)
    weighted = weights is not None
    if offset is not None:
        if not is_array_of_other_library(offset):
            offset = check_offset(offset, len(X))
        offset = _vector(offset, "offset", X)
    estimator.fitted_with_offset_ = offset is not None
    weights = y.new_ones(len(y)) if weights is None else weights
    data = TrainingData(X, y, weights, sensitive_features, weighted, None, offset)
    keep = weights > 0
    if not keep.all():
        data = _rows(data, keep)
    if len(data.y) < least:
        raise ValueError(f"a penalised fit needs at least {least} rows of positive sample_weight; found {len(data.y)}")
    loss.check_target(data.y)
    return data


def every_row(data, step):
    """Each ``step``-th of the rows; attributes only if they are on the device."""
    rows = slice(None, None, step)
    people = data.sensitive_features
    return replace(
        data,
        X=data.X[rows].contiguous(),
        y=data.y[rows].contiguous(),
        weights=data.weights[rows].contiguous(),
        sensitive_features=people[rows] if is_tensor(people) else None,
        offset=None if data.offset is None else data.offset[rows].contiguous(),
    )


def _rows(data, keep):
    """Some of the rows, by a mask on the device."""
    people = data.sensitive_features
    if people is not None:
        people = people[keep] if is_tensor(people) else select_rows(people, keep.cpu().numpy())
    return replace(
        data,
        X=data.X[keep],
        y=data.y[keep],
        weights=data.weights[keep],
        sensitive_features=people,
        offset=None if data.offset is None else data.offset[keep],
    )


def _vector(values, name, X):
    """A vector (n,) of finite numbers beside ``X``, float64 on its device; arrays on the host are copied to it."""
    torch = import_optional("torch", NEEDED_BY)
    if is_array_of_other_library(values):
        tensor = tensor_of(values)
        _check_device(tensor, name, X)
        if tensor.is_complex():
            raise ValueError(f"{name} must be numeric; found {tensor.dtype}")
    else:
        tensor = torch.from_numpy(np.array(values, dtype=np.float64, ndmin=1))
    if tensor.ndim == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim != 1:
        raise ValueError(f"{name} must have one dimension, (n,); found shape {tuple(tensor.shape)}")
    check_consistent_rows(len(X), tensor, name)
    tensor = tensor.to(device=X.device, dtype=torch.float64)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite; found {int((~torch.isfinite(tensor)).sum())} values that are not")
    return tensor


def _weights(sample_weight, X):
    if sample_weight is None:
        return None
    if not is_array_of_other_library(sample_weight):
        sample_weight = check_sample_weight(sample_weight, len(X))
    weights = _vector(sample_weight, "sample_weight", X)
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative; found {int((weights < 0).sum())} negative values")
    # The rest of the rules is about their sum.
    check_sample_weight(np.array([float(weights.sum())]), 1)
    return weights


def _encode_classes(estimator, y):
    """0 and 1 for labels on any device; the labels themselves are kept on the host."""
    if not is_array_of_other_library(y):
        return estimator._encode_target(np.asarray(y))
    y = tensor_of(y)
    estimator.classes_, _ = encode_binary_target(y.unique().cpu().numpy())
    return (y == y.new_tensor(estimator.classes_[1])).double()


def _device_attributes(sensitive_features, X):
    """Attributes on the device of ``X`` as a tensor (n, d)."""
    people = tensor_of(sensitive_features)
    _check_device(people, "sensitive_features", X)
    if people.device != X.device:
        return people.numpy()
    people = people[:, None] if people.ndim == 1 else people
    if people.ndim != 2 or people.shape[1] == 0:
        raise ValueError(f"sensitive_features must have shape (n,) or (n, d); found {tuple(people.shape)}")
    check_consistent_rows(len(X), people, "sensitive_features")
    if people.is_floating_point() and not people.isfinite().all():
        raise ValueError("sensitive_features must be finite; found NaN or infinite values")
    return people


def _check_device(tensor, name, X):
    """Raise for a tensor that is neither where ``X`` is nor on the host."""
    if tensor.device != X.device and tensor.device.type != "cpu":
        verb = "are" if name.endswith("s") else "is"
        raise ValueError(f"{name} {verb} on {tensor.device} and X on {X.device}: move one of them to the other")
