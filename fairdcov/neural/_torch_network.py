"""The layers on PyTorch: raw predictions, the gradient of any function of them, and Adam on mini-batches."""

from contextlib import contextmanager

import numpy as np

from fairdcov._checks import import_optional

torch = import_optional("torch", "training a network of fairdcov.neural")

__all__ = ["Network", "training"]

# Single precision: on the policies of docs/neural.rst it gives the same models as double, in a fifth of the time.
_TYPE = torch.float32
# Rows that pass through the layers at a time, a bound on the memory for activations.
_CHUNK_ROWS = 2**16
_ACTIVATIONS = {
    "identity": lambda x: x,
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "tanh": torch.tanh,
}


@contextmanager
def training(n_threads):
    """Gradients on, whatever the caller has switched off, and torch's number of threads put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(before)


class Network:
    """Fully connected layers on standardised features, with parameters as one NumPy vector.

    Parameters
    ----------
    X : (n, p) float64 array
        Standardised training features.
    shapes : list of shape
        Of the weights and the intercepts of all layers, in turn.
    activation : str
        Of the hidden layers.
    """

    def __init__(self, X, shapes, activation):
        self._activation = _ACTIVATIONS[activation]
        self._X = self.tensor(X)
        self._layers = [torch.zeros(shape, dtype=_TYPE, device="cpu", requires_grad=True) for shape in shapes]

    @staticmethod
    def tensor(X):
        """Features or a gradient as the network takes them."""
        return torch.from_numpy(np.asarray(X, dtype=np.float32))

    def load(self, parameters):
        """Set the parameters from a vector."""
        position = 0
        with torch.no_grad():
            for layer in self._layers:
                part = parameters[position : position + layer.numel()].astype(np.float32)
                layer.copy_(torch.from_numpy(part).reshape(layer.shape))
                position += layer.numel()

    def parameters(self):
        """Parameters as a float64 vector."""
        return _flat([layer.detach() for layer in self._layers])

    def raw(self, parameters, X=None):
        """Output (n,) for features of :meth:`tensor`, of the training rows by default."""
        self.load(parameters)
        X = self._X if X is None else X
        with torch.no_grad():
            return np.concatenate([_numpy(self._forward(part)) for part in X.split(_CHUNK_ROWS)])

    def value_gradient(self, parameters, function):
        """A function of the output for all training rows, and its gradient with respect to the parameters.

        Parameters
        ----------
        parameters : (m,) array
            Where.
        function : callable
            ``function(output)`` returns a value and the derivative (n,) with respect to the output.

        Returns
        -------
        value : object
            What the function returned first.
        gradient : (m,) array
        """
        self.load(parameters)
        parts = self._X.split(_CHUNK_ROWS)
        if len(parts) == 1:
            output = self._forward(self._X)
            value, slope = function(_numpy(output))
            return value, _flat(self._pull_back(output, slope))
        # The derivative for a row depends on all rows: forwards twice, so that one part's activations are held only.
        value, slope = function(self.raw(parameters))
        gradient, row = 0.0, 0
        for part in parts:
            output = self._forward(part)
            gradient = gradient + _flat(self._pull_back(output, slope[row : row + len(part)]))
            row += len(part)
        return value, gradient

    def adam(self, parameters, learning_rate):
        """Start Adam; returns ``step(rows, function)``, which moves along the gradient from a batch."""
        self.load(parameters)
        optimiser = torch.optim.Adam(self._layers, lr=learning_rate, foreach=False)

        def step(rows, slope_of, shrinkage):
            output = self._forward(self._X[torch.from_numpy(rows)])
            gradients = self._pull_back(output, slope_of(_numpy(output)))
            for i, (layer, gradient) in enumerate(zip(self._layers, gradients, strict=True)):
                layer.grad = gradient.add(layer.detach(), alpha=shrinkage) if i % 2 == 0 else gradient
            optimiser.step()

        return step

    def _forward(self, X):
        last = len(self._layers) - 2
        for i in range(0, len(self._layers), 2):
            X = torch.addmm(self._layers[i + 1], X, self._layers[i])
            if i < last:
                X = self._activation(X)
        return X[:, 0]

    def _pull_back(self, output, slope):
        return torch.autograd.grad(output, self._layers, self.tensor(slope))


def _numpy(tensor):
    return tensor.detach().numpy().astype(np.float64)


def _flat(tensors):
    return np.concatenate([_numpy(tensor).ravel() for tensor in tensors])
