"""A penalty as a function of predictions on a device."""

from sklearn.base import clone

from fairdcov._checks import import_optional
from fairdcov._fitting._device_arrays import NEEDED_BY
from fairdcov._fitting._functions import is_tensor
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.penalties import ProfileTerms, bind_penalty, device_sweep, resolve_penalty

__all__ = ["CopiedPenalty", "DevicePenalty", "bind_on_device", "penalty_on_device"]

# Combinations of attributes on a device; with more of them a matrix of all pairs takes longer than the rows.
_MOST_PROFILES = 4096
_MOST_COUNTED = 2**16
# Spreads of predictions that single precision has a number for, and differences, as a share, that are not rounding.
_SINGLE_RANGE = (1e-30, 1e30)
_DIFFERENT = 1e-10
# Whether tensors on the CPU, which NumPy reads where they are, go to the compiled kernels: faster than plain PyTorch.
COMPILED_ON_CPU = True


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
    rows[codes] = import_optional("torch", NEEDED_BY).arange(len(codes), device=codes.device)
    return codes, people[rows].cpu().numpy()


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
            self.multiplier = import_optional("torch", NEEDED_BY).as_tensor(bound.multiplier, device=device)

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
        torch = import_optional("torch", NEEDED_BY)
        self.multiplier = None if terms.multiplier is None else torch.as_tensor(terms.multiplier, device=device)

    def value_gradient(self, u):
        """Value, a float, and gradient (n,) of a float64 tensor."""
        if self._single:
            # One copy to the host, not two.
            low, high = import_optional("torch", NEEDED_BY).stack(u.aminmax()).tolist()
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
