"""A fit where its data are: loss, penalty and products with X on the device of the features.

Nothing here is loaded with PyTorch but what functions ask for. Arrays of other libraries become tensors without a copy,
and results go back the same way.
"""

import importlib
from dataclasses import dataclass, replace

import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import validate_data

from fairdcov._checks import check_sample_weight, import_optional
from fairdcov._fitting._functions import is_tensor
from fairdcov._fitting._objective import CoefficientObjective, RawObjective
from fairdcov._fitting._training_data import LEAST_PENALISED_ROWS, TrainingData, check_offset, encode_binary_target
from fairdcov.encoding import check_sensitive_features, select_rows
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.penalties import ProfileTerms, bind_penalty, device_sweep, resolve_penalty

__all__ = [
    "DeviceCoefficientObjective",
    "DeviceObjective",
    "as_given",
    "as_tensor",
    "bind_on_device",
    "every_row",
    "features_on_device",
    "follows_device",
    "on_host",
    "penalty_on_device",
    "read_device_data",
    "refuse_device",
    "refuse_dispatched",
]

# Rows whose products with the curvature are held at once for a Hessian, and rows that are summed in single precision.
_CHUNK_ROWS = 2**18
_SUM_ROWS = 2**12
# Combinations of attributes on a device; with more of them a matrix of all pairs takes longer than the rows.
_MOST_PROFILES = 4096
_MOST_COUNTED = 2**16
# Spreads of predictions that single precision has a number for, and differences, as a share, that are not rounding.
_SINGLE_RANGE = (1e-30, 1e30)
_DIFFERENT = 1e-10
# Whether tensors on the CPU, which NumPy reads where they are, go to the compiled kernels: faster than plain PyTorch.
COMPILED_ON_CPU = True
_NEEDED_BY = "a fit on a device"


# -- arrays and where they are -----------------------------------------------------------------------------------------


def follows_device(X):
    """Whether a fit or a prediction is to stay where ``X`` is, as scikit-learn's array API dispatch has it.

    Raises
    ------
    TypeError
        For an array that is not on the host where the dispatch is off.
    """
    if not _is_array_of_other_library(X):
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
        if _is_array_of_other_library(array) and get_config()["array_api_dispatch"]:
            raise TypeError(
                f"{name} is a {_kind(array)}, which scikit-learn leaves as it is with array_api_dispatch=True, and "
                f"{type(estimator).__name__} works on NumPy arrays: pass one"
            )
    refuse_device(estimator, **arrays)


def refuse_device(estimator, **arrays):
    """Raise a TypeError for arrays that NumPy cannot read where they are, and an estimator that works on the host."""
    for name, array in arrays.items():
        if _is_array_of_other_library(array) and _is_elsewhere(array):
            raise TypeError(
                f"{name} is a {_kind(array)} on {array.device}, and this {type(estimator).__name__} works on the host: "
                "pass a NumPy array"
            )


def _is_array_of_other_library(values):
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


def _tensor(array):
    """The tensor that an array of another library is, without a copy."""
    return array.detach() if is_tensor(array) else import_optional("torch", _NEEDED_BY).from_dlpack(array)


def as_tensor(values):
    """A tensor for an array of another library, anything else as it is."""
    return _tensor(values) if _is_array_of_other_library(values) else values


def as_given(values, like):
    """A tensor as an array of the library of ``like``, without a copy; anything else as it is."""
    if not is_tensor(values) or is_tensor(like) or not _is_array_of_other_library(like):
        return values
    if hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().from_dlpack(values)
    return importlib.import_module(type(like).__module__.partition(".")[0]).from_dlpack(values)


def on_host(values):
    """NumPy array of any array."""
    return _tensor(values).cpu().numpy() if _is_array_of_other_library(values) else values


def _vector(values, name, X):
    """A vector (n,) of finite numbers beside ``X``, float64 on its device; arrays on the host are copied to it."""
    torch = import_optional("torch", _NEEDED_BY)
    if _is_array_of_other_library(values):
        tensor = _tensor(values)
        if tensor.device not in (X.device, torch.device("cpu")):
            raise ValueError(f"{name} is on {tensor.device} and X on {X.device}: move one of them to the other")
        if tensor.is_complex():
            raise ValueError(f"{name} must be numeric; found {tensor.dtype}")
    else:
        tensor = torch.from_numpy(np.array(values, dtype=np.float64, ndmin=1))
    if tensor.ndim == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim != 1:
        raise ValueError(f"{name} must have one dimension, (n,); found shape {tuple(tensor.shape)}")
    if len(tensor) != len(X):
        raise ValueError(f"{name} must have as many rows as X: found {len(tensor)} instead of {len(X)}")
    tensor = tensor.to(device=X.device, dtype=torch.float64)
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite; found {int((~torch.isfinite(tensor)).sum())} values that are not")
    return tensor


# -- what a fit gets ---------------------------------------------------------------------------------------------------


def features_on_device(estimator, X, *, reset=False, least=1):
    """Features as a floating point tensor (n, p), checked by scikit-learn as those on the host are."""
    torch = import_optional("torch", _NEEDED_BY)
    X = _tensor(X)
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
    if sensitive_features is not None and not _is_array_of_other_library(sensitive_features):
        check_sensitive_features(sensitive_features, len(X))
    elif sensitive_features is not None:
        sensitive_features = _device_attributes(sensitive_features, X)
    weighted = weights is not None
    if offset is not None:
        if not _is_array_of_other_library(offset):
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


def _encode_classes(estimator, y):
    """0 and 1 for labels on any device; the labels themselves are kept on the host."""
    if not _is_array_of_other_library(y):
        return estimator._encode_target(np.asarray(y))
    y = _tensor(y)
    estimator.classes_, _ = encode_binary_target(y.unique().cpu().numpy())
    return (y == y.new_tensor(estimator.classes_[1])).double()


def _weights(sample_weight, X):
    if sample_weight is None:
        return None
    if not _is_array_of_other_library(sample_weight):
        sample_weight = check_sample_weight(sample_weight, len(X))
    weights = _vector(sample_weight, "sample_weight", X)
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative; found {int((weights < 0).sum())} negative values")
    # The rest of the rules is about their sum.
    check_sample_weight(np.array([float(weights.sum())]), 1)
    return weights


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


# -- the penalty -------------------------------------------------------------------------------------------------------


def _device_attributes(sensitive_features, X):
    """Attributes on the device of ``X`` as a tensor (n, d)."""
    people = _tensor(sensitive_features)
    if people.device != X.device:
        return people.cpu().numpy() if people.device.type == "cpu" else _wrong_device(people, X)
    people = people[:, None] if people.ndim == 1 else people
    if people.ndim != 2 or people.shape[1] == 0:
        raise ValueError(f"sensitive_features must have shape (n,) or (n, d); found {tuple(people.shape)}")
    if len(people) != len(X):
        raise ValueError(f"sensitive_features must have as many rows as X: found {len(people)} instead of {len(X)}")
    if people.is_floating_point() and not people.isfinite().all():
        raise ValueError("sensitive_features must be finite; found NaN or infinite values")
    return people


def _wrong_device(people, X):
    raise ValueError(f"sensitive_features are on {people.device} and X on {X.device}: move one of them to the other")


def bind_on_device(data, penalty, *, penalised, n_threads=None):
    """The penalty bound to rows on a device; None when it is not needed and there are no attributes.

    Parameters
    ----------
    data : TrainingData
        Of :func:`read_device_data`.
    penalty : {"ccdcov", "jdcov", "dcov"} or penalty object
        What the user passed.
    penalised : bool
        Whether it will be evaluated.
    n_threads : int, optional
        Threads on the host.

    Returns
    -------
    DevicePenalty or None
    """
    people = data.sensitive_features
    if people is None:
        if penalised:
            raise MissingSensitiveFeaturesError(
                "strength > 0 needs sensitive_features: pass fit(..., sensitive_features=S), or set strength=0 for an "
                "unpenalised fit"
            )
        return None
    device = data.X.device
    compiled = COMPILED_ON_CPU and device.type == "cpu"
    if is_tensor(people) and not compiled:
        bound, terms = _bind_profiles(data, resolve_penalty(penalty), n_threads)
    else:
        people = people.numpy() if is_tensor(people) else people
        weights = data.weights.cpu().numpy() if data.weighted else None
        bound = bind_penalty(penalty, people, weights, n_threads=n_threads)
        terms = bound.profile_terms() if hasattr(bound, "profile_terms") else None
        if terms is None:
            raise ValueError(_not_profiles(bound))
    if compiled:
        return CopiedPenalty(bound, device)
    return DevicePenalty(bound, terms, device, single=data.X.element_size() < 8)


def _not_profiles(bound):
    if not hasattr(bound, "profile_terms"):
        return "penalty must be one of fairdcov's on a device, such as CCDCovPenalty(): fit on NumPy arrays"
    return (
        f"penalty is bound by method {bound.method!r}, and a device takes the method 'profiles' alone: pass "
        "sensitive_features of fewer distinct values (age in whole years), no probabilities, and method='auto', or fit "
        "on NumPy arrays"
    )


def _bind_profiles(data, penalty, n_threads):
    """A penalty bound to the distinct rows of attributes on a device, which is all that its matrix depends on."""
    options = penalty.get_params(deep=False)
    if options.get("method") not in ("auto", "profiles") or options.get("statistic") != "v":
        raise ValueError(
            "penalty must have method='auto' or 'profiles' and statistic='v' for sensitive_features on a device; found "
            f"{penalty!r}: pass sensitive_features on the host"
        )
    if options["scale"] == "total":
        raise ValueError("penalty with scale='total' needs sensitive_features on the host, such as a DataFrame")
    codes, distinct = _profiles_of(data.sensitive_features)
    if len(distinct) > _MOST_PROFILES:
        raise ValueError(
            f"sensitive_features have {len(distinct)} distinct rows, and a device takes at most {_MOST_PROFILES}: bin "
            "numbers, such as age in whole years"
        )
    n_samples = len(codes)
    weights = data.weights if data.weighted and options["weighted"] else None
    if weights is None:
        masses = codes.bincount(minlength=len(distinct)).double().cpu().numpy()
    else:
        # Whole numbers, whose sums are exact: bincount adds up in any order.
        unit = 2.0**52 / float(weights.sum())
        masses = codes.bincount((weights * unit).round(), minlength=len(distinct)).cpu().numpy() / unit
    bound = clone(penalty).set_params(weighted=True, method="profiles")
    bound = bind_penalty(bound, distinct, masses, n_threads=n_threads)
    terms = bound.profile_terms()
    matrix = terms.matrix if terms.row_weights is not None else terms.matrix * len(distinct) ** 2
    if weights is None:
        matrix = matrix / n_samples**2
    else:
        weights = weights / weights.sum()
    # The encoder may have put the profiles into another order.
    codes = codes.new_tensor(terms.codes)[codes.long()]
    return bound, ProfileTerms(codes, matrix, weights, None, None, None, terms.scale_free, "v")


def _profiles_of(people):
    """Codes (n,) of the distinct rows of a tensor (n, d), and these rows as an array (K, d)."""
    codes, n_codes = None, 1
    for column in people.T:
        own, n_own = _codes_of(column)
        codes = own if codes is None else codes * n_own + own
        codes, n_codes = _codes_of(codes)
    # Any row of a profile will do.
    rows = codes.new_zeros(n_codes)
    rows[codes] = import_optional("torch", _NEEDED_BY).arange(len(codes), device=codes.device)
    return codes, people[rows].cpu().numpy()


def penalty_on_device(bound, device):
    """A bound penalty as a function of tensors on a device; None for none.

    Those that are not made of profiles are evaluated on the host: predictions go there, and gradients come back.
    """
    if bound is None:
        return None
    terms = bound.profile_terms() if hasattr(bound, "profile_terms") else None
    return CopiedPenalty(bound, device) if terms is None else DevicePenalty(bound, terms, device)


class CopiedPenalty:
    """A bound penalty of tensors that are copied to the host."""

    def __init__(self, bound, device):
        self._bound = bound
        self.scale, self.scale_free, self.shift_free = bound.scale, bound.scale_free, bound.shift_free
        self.multiplier = None
        if getattr(bound, "multiplier", None) is not None:
            self.multiplier = import_optional("torch", _NEEDED_BY).as_tensor(bound.multiplier, device=device)

    @property
    def method(self):
        """Algorithm on the host."""
        return self._bound.method

    @property
    def error_bound(self):
        """See :class:`fairdcov.penalties.BoundPenalty`."""
        return self._bound.error_bound

    def value_gradient(self, u):
        """Value, a float, and gradient (n,) of a float64 tensor."""
        value, gradient = self._bound.value_gradient(u.cpu().numpy())
        return float(value), u.new_tensor(gradient)

    def value(self, u):
        """Value, a float."""
        return float(self._bound.value(u.cpu().numpy()))

    def value_gradient_curvature(self, u):
        """See :meth:`fairdcov.penalties.BoundPenalty.value_gradient_curvature`."""
        value, *derivatives = self._bound.value_gradient_curvature(u.cpu().numpy())
        return float(value), *(u.new_tensor(vector) for vector in derivatives)


def _codes_of(column):
    """Codes of the values of a vector, without gaps and in their order, and their number."""
    if not column.is_floating_point():
        column = column.long()
        low, high = (int(end) for end in column.aminmax())
        if high - low < _MOST_COUNTED:
            # Whole numbers of a short range are counted, which is faster than to sort them.
            column = column - low
            present = column.bincount(minlength=high - low + 1) > 0
            return (present.cumsum(0) - 1)[column], int(present.sum())
    values, codes = column.unique(return_inverse=True)
    return codes, len(values)


class DevicePenalty:
    """A bound dependence penalty of profiles as a function of tensors; with what the objective asks of a penalty.

    Parameters
    ----------
    bound : BoundDependence
        Bound to the same attributes on the host.
    terms : ProfileTerms
        Of the rows on the device.
    device : torch.device
        Where predictions are.
    single : bool
        Whether predictions are no more precise than single precision, in which they are then compared: the sort takes
        half the time. Sums are of double precision all the same.
    """

    method = "profiles"
    error_bound = 0.0

    def __init__(self, bound, terms, device, single=False):
        self._single = single and bound.shift_free
        self.scale, self.scale_free, self.shift_free = bound.scale, bound.scale_free, bound.shift_free
        self._sweep = device_sweep(terms, device)
        torch = import_optional("torch", _NEEDED_BY)
        self.multiplier = None if terms.multiplier is None else torch.as_tensor(terms.multiplier, device=device)

    def value_gradient(self, u):
        """Value, a float, and gradient (n,) of a float64 tensor."""
        if self._single:
            low, high = (float(end) for end in u.aminmax())
            # Differences alone count: about the mean they keep their digits, if they are not rounding themselves.
            if _SINGLE_RANGE[0] < high - low < _SINGLE_RANGE[1] and high - low > _DIFFERENT * max(abs(low), abs(high)):
                found = self._sweep.value_gradient((u - u.mean()).float(), long_runs_too=False)
                if found is not None:
                    return found[0], found[1].double()
                # So many rows that too many are equal, which they are not in double precision.
                self._single = False
        found = self._sweep.value_gradient(u)
        if found is not None:
            return found
        # Squares would leave the range of floats: in another unit.
        unit = 2.0 ** float(u.abs().max().log2().ceil())
        value, gradient = self._sweep.value_gradient(u / unit)
        return (value, gradient / unit) if self.scale_free else (value * unit, gradient)

    def value(self, u):
        """Value, a float."""
        return self.value_gradient(u)[0]

    def value_gradient_curvature(self, u):
        """See :meth:`fairdcov.penalties.BoundPenalty.value_gradient_curvature`."""
        return *self.value_gradient(u), self._sweep.curvature(u)


# -- the objective -----------------------------------------------------------------------------------------------------


class DeviceObjective(RawObjective):
    """:class:`RawObjective` of tensors, on one device and in double precision."""

    @classmethod
    def of_data(cls, loss, data, penalty, device):
        """The objective of rows on the host and a penalty bound to them there, moved to a device."""
        torch = import_optional("torch", _NEEDED_BY)
        vectors = (
            None if vector is None else torch.tensor(vector, device=device)
            for vector in (data.y, data.probabilities, data.offset)
        )
        y, probabilities, offset = vectors
        return cls(loss, y, probabilities, penalty_on_device(penalty, device), offset)

    def vector(self, values):
        """Numbers of the rows, (n,), on the device."""
        return self.y.new_tensor(values)

    def constant_raw(self, value):
        """See :class:`RawObjective`."""
        return self.y.new_full((len(self.y),), value)

    def _search_constant(self):
        raise ValueError(
            f"offset does not go with the {self.loss.name} and link={self.loss.link!r} on a device: fit on NumPy arrays"
        )


@dataclass(frozen=True)
class _Products:
    """Products with a tall matrix of features, sums of single precision in parts."""

    X: object

    def columns(self, vector):
        """``X' vector``, (p,) float64 array."""
        X, n = self.X, len(self.X)
        vector = vector.to(X.dtype)
        n_parts = n // _SUM_ROWS
        whole = n_parts * _SUM_ROWS
        found = (X[whole:].T @ vector[whole:]).double()
        if n_parts:
            parts = X[:whole].reshape(n_parts, _SUM_ROWS, X.shape[1])
            found = found + (vector[:whole].reshape(n_parts, 1, _SUM_ROWS) @ parts)[:, 0].double().sum(0)
        return found.cpu().numpy()

    def cross(self, weights):
        """``X' diag(weights) X``, (p, p) float64 array."""
        found = 0.0
        root = weights.sqrt().to(self.X.dtype)
        for first in range(0, len(self.X), _CHUNK_ROWS):
            part = self.X[first : first + _CHUNK_ROWS] * root[first : first + _CHUNK_ROWS, None]
            found = found + (part.T @ part).double()
        return found.cpu().numpy()

    def squares(self, weights):
        """``sum_i weights_i X_ij^2``, (p,) float64 array."""
        found = 0.0
        for first in range(0, len(self.X), _CHUNK_ROWS):
            rows = slice(first, first + _CHUNK_ROWS)
            found = found + ((self.X[rows] ** 2).T @ weights[rows].to(self.X.dtype)).double()
        return found.cpu().numpy()


class DeviceCoefficientObjective(CoefficientObjective):
    """:class:`CoefficientObjective` of features on a device: vectors of parameters cross to it and back, no rows.

    Products with X are of its precision, all else is double.
    """

    def __init__(self, X, raw_objective, ridge, fit_intercept):
        super().__init__(X, raw_objective, ridge, fit_intercept)
        self._products = _Products(X)

    def raw(self, parameters):
        """Raw predictions, a float64 tensor."""
        X = self.X
        coefficients = X.new_tensor(parameters[: self.n_features])
        raw = (X @ coefficients).double()
        return raw + float(parameters[-1]) if self.fit_intercept else raw

    def gradient(self, parameters, raw_gradient):
        """See :class:`CoefficientObjective`."""
        gradient = self._products.columns(raw_gradient) + self.ridge * parameters[: self.n_features]
        return np.append(gradient, float(raw_gradient.sum())) if self.fit_intercept else gradient

    def hessian(self, parameters):
        """See :class:`CoefficientObjective`."""
        p, weights = self.n_features, self._row_curvature(parameters)
        hessian = np.empty((self.n_parameters, self.n_parameters))
        hessian[:p, :p] = self._products.cross(weights)
        hessian[np.arange(p), np.arange(p)] += self.ridge
        if self.fit_intercept:
            hessian[:p, -1] = hessian[-1, :p] = self._products.columns(weights)
            hessian[-1, -1] = float(weights.sum())
        return hessian

    def hessian_diagonal(self, parameters):
        """See :class:`CoefficientObjective`."""
        weights = self._row_curvature(parameters)
        diagonal = self._products.squares(weights) + self.ridge
        return np.append(diagonal, float(weights.sum())) if self.fit_intercept else diagonal
