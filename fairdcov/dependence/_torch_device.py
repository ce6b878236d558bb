"""A dependence penalty of profiles on the device of the predictions: four numbers come back to the host, no more."""

import math
from functools import cached_property

import numpy as np

from fairdcov._checks import import_optional
from fairdcov.dependence._curvature import HALF_WINDOW, LEAST_DENSITY, LEAST_WINDOW

torch = import_optional("torch", "a dependence penalty on a device")

__all__ = ["LONGEST_RUN", "DeviceDependence", "PlainSums", "TiedSums"]

# Rows with equal predictions that kernels look up one by one; longer runs of them go the plain way.
LONGEST_RUN = 64
# Cells of a table of distinct predictions and profiles, of which there may be so many to each row.
_CELLS_OF_A_ROW = 4

# Running sums, of rows in profiles, that plain torch holds at once.
_CELLS = 2**26
# Predictions whose squares may leave the range of floats take the way over the CPU, which rescales them.
_SMALL, _LARGE = 1e-100, 1e100
# What weights are multiplied by where whole numbers stand for them.
_WHOLE = 2.0**60
# As for predictions on the CPU: equal up to rounding is constant.
_ROUNDING = 64 * 2.0**-52


def _kernels_on(device):
    """The sums by kernels in Triton, where it is installed and has a device to run on; else None."""
    if device.type == "cuda":
        try:
            from fairdcov.dependence._torch_triton import SortedSums
        except ImportError:
            return None
        return SortedSums
    return None


class DeviceDependence:
    """Value and gradient of a penalty of profiles for predictions on one device.

    Parameters
    ----------
    terms : ProfileTerms
        What the penalty is made of, arrays or tensors.
    device : torch.device
        Where the predictions are, and where the attributes are copied to once.
    """

    def __init__(self, terms, device):
        def tensor(array):
            return None if array is None else torch.as_tensor(array, device=device)

        # Less to gather: the rows are put in order at every call.
        smallest = torch.uint8 if len(terms.matrix) < 256 else torch.int32
        self._codes, self._matrix = tensor(terms.codes).to(smallest), tensor(terms.matrix).contiguous()
        # V-statistics have the same weights in both measures, U-statistics none.
        self._weights = tensor(terms.row_weights)
        self._counted, self._multiplier = tensor(terms.counted), tensor(terms.multiplier)
        self._scale_free, n = terms.scale_free, len(terms.codes)
        self._scale = 1.0
        if terms.row_weights is None:
            self._scale = 1.0 / (n * (n - 1)) if terms.statistic == "u" else 1.0 / n**2
        # A number passed to a kernel would be one of single precision.
        self._scale_there = tensor(np.array([self._scale])) if self._scale_free else None
        self._kernels = _kernels_on(device)

    def value_gradient(self, u, *, long_runs_too=True):
        """Value, a float, and gradient (n,), of the type of a float32 or float64 vector; None for extreme predictions.

        Computed in float64. Predictions that are not finite raise a ValueError; those whose squares may leave the range
        of floats are for the caller to rescale. None as well, unless ``long_runs_too``, where too many of them are
        equal for the kernels.
        """
        if self._multiplier is not None:
            u = u.double() * self._multiplier
        hidden = False
        if self._counted is not None:
            # Rows of weight 0 have no say in what is large or small.
            hidden = ~torch.isfinite(u).all()
            u = torch.clamp(u, *torch.aminmax(u[self._counted]))
        # Single precision keeps the order, and halves the time of the sort.
        values, order = torch.sort(u)
        codes = self._codes[order]
        weights = None if self._weights is None else self._weights[order]
        long_runs = self._kernels is None
        if self._kernels is not None:
            # All is queued before anything is looked at: the device need not wait for the host.
            sums = self._kernels(values, codes, weights, self._matrix, True)
            gradient, looked_at = sums.gradient_value(order, self._scale_there, u.dtype)
            value, low, high, long_runs = looked_at.tolist()
        else:
            low, high = torch.stack([values[0], values[-1]]).tolist()
        if bool(hidden) or not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("predictions must be finite; found NaN or infinite values")
        largest = max(abs(low), abs(high))
        if high - low <= _ROUNDING * largest:
            return 0.0, torch.zeros_like(u)
        if not _SMALL < largest < _LARGE:
            return None
        if long_runs:
            if not long_runs_too:
                return None
            value, gradient = self._plain(values.double(), codes, weights, order)
        gradient = gradient if self._multiplier is None else gradient * self._multiplier
        return value, gradient.to(u.dtype)

    def curvature(self, u):
        """What :meth:`fairdcov.penalties.BoundDependence.value_gradient_curvature` adds to value and gradient, (n,)."""
        u = u.double() if self._multiplier is None else u.double() * self._multiplier
        if self._counted is not None:
            u = torch.clamp(u, *torch.aminmax(u[self._counted]))
        values, order = torch.sort(u)
        if not values[-1] - values[0] > _ROUNDING * values.abs().max():
            return torch.zeros_like(u)
        n = len(u)
        weights = u.new_full((n,), 1.0 / n) if self._weights is None else self._weights[order]
        gini = 2.0 * float((values - values[n // 2]) @ (_signed_weights(weights) * weights))
        if self._weights is None:
            gini *= self._scale * n**2
        density = u.new_empty(n)
        density[order] = torch.clamp(window_density(values, weights), min=LEAST_DENSITY / gini)
        density *= self._pulls * (4.0 / gini if self._scale_free else 4.0)
        return density if self._multiplier is None else density * self._multiplier**2

    @cached_property
    def _pulls(self):
        """``sum_j |M_ij|`` for every row."""
        codes = self._codes.long()
        n_profiles = len(self._matrix)
        if self._weights is None:
            return (self._matrix.abs() @ codes.bincount(minlength=n_profiles).double())[codes]
        masses = torch.stack([self._weights[codes == code].sum() for code in range(n_profiles)])
        return self._weights * (self._matrix.abs() @ masses)[codes]

    def _plain(self, values, codes, weights, order):
        n_distinct = 1 + int((values[1:] != values[:-1]).sum())
        if n_distinct * len(self._matrix) <= _CELLS_OF_A_ROW * len(values):
            sums = TiedSums(values, codes, weights, self._matrix)
        else:
            sums = PlainSums(values, codes, weights, self._matrix, n_distinct < len(values))
        value, value_part, spread_part = 2.0 * float(sums.products_value()), 2.0, 0.0
        if self._scale_free:
            spread = 2.0 * self._scale * float(sums.weights_value())
            value = value / spread
            value_part, spread_part = 2.0 / spread, -2.0 * self._scale * value / spread
        return value, sums.gradient(order, value_part, spread_part)


def window_density(values, weights):
    """:func:`fairdcov.dependence.local_density` of values in ascending order, weights of sum 1.

    By whole numbers, whose running sums are the same bits each time.
    """
    distinct, run, counts = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
    shares = torch.cumsum((weights * _WHOLE).round().long(), 0)[torch.cumsum(counts, 0) - 1]
    upto = shares.double() / shares[-1]
    middle = upto.clone()
    middle[1:] += upto[:-1]
    middle /= 2
    own = torch.arange(len(distinct), device=values.device)
    last = len(distinct) - 1
    below = torch.searchsorted(upto, middle - HALF_WINDOW, right=True).clamp(max=last)
    above = torch.searchsorted(upto, middle + HALF_WINDOW, right=True).clamp(max=last)
    below = torch.minimum(below, own - 1).clamp(min=0)
    above = torch.maximum(above, own + 1).clamp(max=last)
    width = (distinct[above] - distinct[below]).clamp(min=float(LEAST_WINDOW * (distinct[-1] - distinct[0])))
    return ((middle[above] - middle[below]) / width)[run]


class PlainSums:
    """Signed sums of rows in order of the predictions, in plain torch.

    Parameters
    ----------
    values : (n,) float64 tensor
        Predictions, ascending.
    codes : (n,) integer tensor
        Profiles k of the rows.
    weights : (n,) float64 tensor or None
        w, None for ones.
    matrix : (K, K) float64 tensor
        D.
    ties : bool
        Whether some values are equal.

    Attributes
    ----------
    products : (n,) tensor
        ``w_i sum_j sign(u_i - u_j) w_j D[k_i, k_j]``.
    weight_products : (n,) tensor
        ``w_i sum_j sign(u_i - u_j) w_j``.
    """

    def __init__(self, values, codes, weights, matrix, ties):
        mirror = _mirrored_ties(values) if ties else None
        self._values = values
        self.products = _without_ties(signed_sums, mirror, codes, weights, matrix)
        given = torch.ones_like(values) if weights is None else weights
        self.weight_products = _without_ties(lambda _, w, __: _signed_weights(w), mirror, codes, given, matrix)
        if weights is not None:
            self.products *= weights
            self.weight_products *= weights

    def products_value(self):
        """``u . products``, about the middle of u to lose no digits."""
        return (self._values - self._values[len(self._values) // 2]) @ self.products

    def weights_value(self):
        """``u . weight_products``."""
        return (self._values - self._values[len(self._values) // 2]) @ self.weight_products

    def gradient(self, order, value_part, spread_part):
        """``value_part * products + spread_part * weight_products`` in the order that the rows came in."""
        found = torch.empty_like(self.products)
        found[order] = value_part * self.products + spread_part * self.weight_products
        return found


class TiedSums(PlainSums):
    """The same for predictions of few distinct values, by a table of the weight that each has in each profile."""

    def __init__(self, values, codes, weights, matrix):
        self._values = values
        distinct, run = torch.unique_consecutive(values, return_inverse=True)
        shape = len(distinct), len(matrix)
        cells = run * shape[1] + codes.long()
        # Whole numbers: the same sums in any order.
        unit = 1.0 if weights is None else _WHOLE / float(weights.sum())
        whole = torch.ones_like(cells) if weights is None else (weights * unit).round().long()
        table = torch.zeros(shape[0] * shape[1], dtype=torch.int64, device=values.device).index_add_(0, cells, whole)
        table = table.reshape(shape)
        reached = torch.cumsum(table, 0)
        # Twice what is below is beyond the range of whole numbers where all is near it.
        signed = (reached - table).double() - (reached[-1] - reached).double()
        signed /= unit
        self.products = (signed @ matrix.T).reshape(-1)[cells]
        self.weight_products = signed.sum(1)[run]
        if weights is not None:
            self.products *= weights
            self.weight_products *= weights


def _without_ties(function, mirror, codes, weights, matrix):
    """Sums by the order of the rows, and by that with ties turned round: what is between equal rows cancels."""
    found = function(codes, weights, matrix)
    if mirror is None:
        return found
    turned = function(codes[mirror], None if weights is None else weights[mirror], matrix)
    return (found + turned[mirror]) / 2


def _signed_weights(weights):
    """``sum_j w_j sign(i - j)`` of each row i."""
    reached = torch.cumsum(weights, 0)
    return 2 * reached - weights - reached[-1]


def _mirrored_ties(values):
    """Positions with every run of equal values turned round."""
    new = values[1:] != values[:-1]
    starts = torch.cat([torch.zeros(1, dtype=torch.int64, device=new.device), torch.nonzero(new)[:, 0] + 1])
    ends = torch.cat([starts[1:] - 1, torch.full((1,), len(values) - 1, device=new.device)])
    run = torch.zeros(len(values), dtype=torch.int64, device=new.device)
    run[starts[1:]] = 1
    run = torch.cumsum(run, 0)
    return starts[run] + ends[run] - torch.arange(len(values), device=new.device)


def signed_sums(codes, weights, matrix):
    """``sum_j sign(i - j) w_j D[k_i, k_j]`` of each row i, by running sums of the weight in each profile.

    Parameters
    ----------
    codes : (n,) integer tensor
        Profiles k of the rows, in order of the predictions.
    weights : (n,) float64 tensor or None
        w, None for ones.
    matrix : (K, K) float64 tensor
        D.

    Returns
    -------
    (n,) float64 tensor
    """
    n, n_profiles = len(codes), len(matrix)
    found = torch.zeros(n, dtype=torch.float64, device=codes.device)
    codes = codes.long()
    step = max(1, _CELLS // n)
    for start in range(0, n_profiles, step):
        profiles = torch.arange(start, min(start + step, n_profiles), device=codes.device)
        member = (codes == profiles[:, None]).to(torch.float64)
        if weights is not None:
            member *= weights
        reached = torch.cumsum(member, 1)
        total = reached[:, -1:].clone()
        reached.mul_(2).sub_(member).sub_(total)
        found += (matrix[:, profiles].T[:, codes] * reached).sum(0)
    return found
