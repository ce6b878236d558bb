"""Loss and penalty of tensors, and of coefficients that are multiplied with features on a device."""

from dataclasses import dataclass

import numpy as np

from fairdcov._checks import import_optional
from fairdcov._fitting._device_arrays import NEEDED_BY
from fairdcov._fitting._device_penalty import penalty_on_device
from fairdcov._fitting._objective import CoefficientObjective, RawObjective

__all__ = ["DeviceCoefficientObjective", "DeviceObjective"]

# Rows whose products with the curvature are held at once for a Hessian, and rows that are summed in single precision.
_CHUNK_ROWS = 2**18
_SUM_ROWS = 2**12


class DeviceObjective(RawObjective):
    """:class:`RawObjective` of tensors, on one device and in double precision."""

    @classmethod
    def of_data(cls, loss, data, penalty, device):
        """The objective of rows on the host and a penalty bound to them there, moved to a device."""
        torch = import_optional("torch", NEEDED_BY)
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
