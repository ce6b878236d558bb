"""The layers in NumPy: their shapes, their initial values, and predictions, which need no PyTorch."""

import numbers
from itertools import pairwise

import numpy as np
from scipy.special import expit

from fairdcov._fitting import RawObjective

__all__ = ["ACTIVATIONS", "Layers", "Units", "check_hidden_layer_sizes", "raw_predictions"]

# Rows that pass through the layers at a time, a bound on the memory for activations.
_CHUNK_ROWS = 2**16


def _identity(x):
    return x


def _rectify(x):
    return np.maximum(x, 0.0, out=x)


ACTIVATIONS = {"identity": _identity, "logistic": expit, "relu": _rectify, "tanh": np.tanh}


def check_hidden_layer_sizes(sizes):
    """Return sizes of hidden layers as a tuple of whole numbers >= 1, or raise."""
    listed = (sizes,) if isinstance(sizes, numbers.Integral) else tuple(np.ravel(sizes).tolist())
    if any(isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1 for size in listed):
        raise ValueError(f"hidden_layer_sizes must be whole numbers >= 1, one for each layer; found {sizes!r}")
    return tuple(int(size) for size in listed)


def raw_predictions(X, coefs, intercepts, activation):
    """Output (n,) of the layers.

    Parameters
    ----------
    X : (n, p) float64 array
        Features.
    coefs, intercepts : lists of arrays
        Weights (inputs, outputs) and intercepts (outputs,) of each layer.
    activation : str
        Of the hidden layers.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.neural._layers import raw_predictions
    >>> coefs, intercepts = [np.array([[1.0, -1.0]]), np.ones((2, 1))], [np.zeros(2), np.array([0.5])]
    >>> raw_predictions(np.array([[2.0], [-3.0]]), coefs, intercepts, "relu")
    array([2.5, 3.5])
    """
    parts = []
    for start in range(0, len(X), _CHUNK_ROWS):
        part = X[start : start + _CHUNK_ROWS]
        for position, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
            part = part @ coef + intercept
            if position < len(coefs) - 1:
                part = ACTIVATIONS[activation](part)
        parts.append(part[:, 0])
    return np.concatenate(parts) if parts else np.empty(0)


class Units:
    """Units in which a network is trained: standardised features (indicators are centred), and an output of order one.

    Attributes
    ----------
    mean, scale : (p,) arrays
        Of the features.
    shift, spread : float
        The raw prediction is ``shift + spread * output``: an output of 0 is the constant model.
    """

    def __init__(self, X, y, probabilities, loss, offset=None):
        self.mean = probabilities @ X
        self.scale = np.sqrt(probabilities @ (X - self.mean) ** 2)
        # A column that is constant up to rounding stays as it is. So do indicators: divided by its standard deviation,
        # a rare level would weigh more than a frequent one (0.007 of deviance on the policies of docs/neural.rst).
        constant = self.scale <= 1e-10 * np.maximum(np.abs(self.mean), np.finfo(float).tiny)
        self.scale[constant | ((X == 0) | (X == 1)).all(axis=0)] = 1.0
        average = float(probabilities @ y)
        self.shift = float(loss.intercept(average))
        residual = y - average
        if offset is not None:
            self.shift = RawObjective(loss, y, probabilities, offset=offset).constant()
            residual = y - offset - self.shift
        self.spread = 1.0
        if loss.link == "identity":
            self.spread = float(np.sqrt(probabilities @ residual**2)) or 1.0

    def standardise(self, X):
        """Features as the network takes them."""
        return (X - self.mean) / self.scale


class Layers:
    """Fully connected layers from ``n_features`` to one output, as one vector of parameters.

    Attributes
    ----------
    shapes : list of shape
        Of the weights and the intercepts of all layers, in turn.
    is_weight : (m,) bool array
        Which parameters weight decay shrinks.
    """

    def __init__(self, n_features, hidden_layer_sizes):
        sizes = [n_features, *hidden_layer_sizes, 1]
        self.shapes = []
        for inputs, outputs in pairwise(sizes):
            self.shapes += [(inputs, outputs), (outputs,)]
        self.is_weight = np.concatenate([np.full(np.prod(shape), len(shape) == 2) for shape in self.shapes])

    def initial(self, activation, random_state):
        """Weights after Glorot and Bengio (2010), and an output of 0: training starts from the constant model."""
        factor = 2.0 if activation == "logistic" else 6.0
        values = np.zeros(len(self.is_weight))
        position = 0
        for inputs, outputs in self.shapes[:-2:2]:
            bound = np.sqrt(factor / (inputs + outputs))
            values[position : position + inputs * outputs] = random_state.uniform(-bound, bound, inputs * outputs)
            position += (inputs + 1) * outputs
        return values

    def settle(self, parameters, slope, offset):
        """Parameters whose output is ``slope * output + offset``."""
        last = self.shapes[-2][0] + 1
        settled = parameters.copy()
        settled[-last:] *= slope
        settled[-1] += offset
        return settled

    def publish(self, parameters, units):
        """Weights and intercepts of layers that take the features, and give the raw prediction, in their own units."""
        parts = np.split(parameters, np.cumsum([np.prod(shape) for shape in self.shapes])[:-1])
        parts = [part.reshape(shape).copy() for part, shape in zip(parts, self.shapes, strict=True)]
        coefs, intercepts = parts[::2], parts[1::2]
        coefs[0] = coefs[0] / units.scale[:, None]
        intercepts[0] = intercepts[0] - units.mean @ coefs[0]
        coefs[-1] = coefs[-1] * units.spread
        intercepts[-1] = intercepts[-1] * units.spread + units.shift
        return coefs, intercepts

    def read(self, coefs, intercepts, units):
        """The parameters that :meth:`publish` makes these of; None for layers of other shapes."""
        found = [np.shape(part) for pair in zip(coefs, intercepts, strict=True) for part in pair]
        if found != self.shapes:
            return None
        coefs, intercepts = list(coefs), list(intercepts)
        coefs[-1] = coefs[-1] / units.spread
        intercepts[-1] = (intercepts[-1] - units.shift) / units.spread
        intercepts[0] = intercepts[0] + units.mean @ coefs[0]
        coefs[0] = coefs[0] * units.scale[:, None]
        return np.concatenate([np.ravel(part) for pair in zip(coefs, intercepts, strict=True) for part in pair])
