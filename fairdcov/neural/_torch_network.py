"""The layers on PyTorch: raw predictions, the gradient of any function of them, and Adam on mini-batches."""

from contextlib import contextmanager

import numpy as np

from fairdcov._checks import import_optional

torch = import_optional("torch", "training a network of fairdcov.neural")

__all__ = ["Network", "device_named", "raw_predictions_there", "training"]

# Single precision: on the policies of docs/neural.rst it gives the same models as double, in a fifth of the time.
_TYPE = torch.float32
# Rows that pass through the layers at a time, a bound on the memory for activations; on the CPU, and on a device, where
# rows that fit in one part need no second pass.
_CHUNK_ROWS = 2**16
_CHUNK_ROWS_THERE = 2**21
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
    device : torch.device or None
        Where the features are moved to once, and where outputs and their derivatives stay; None for NumPy on the CPU.
    """

    def __init__(self, X, shapes, activation, device=None):
        self._activation = _ACTIVATIONS[activation]
        self._device = device
        self._chunk_rows = _CHUNK_ROWS if device is None else _CHUNK_ROWS_THERE
        self._X = self.tensor(X)
        place = device or torch.device("cpu")
        self._layers = [torch.zeros(shape, dtype=_TYPE, device=place, requires_grad=True) for shape in shapes]

    def tensor(self, X):
        """Features or a gradient as the network takes them."""
        if isinstance(X, torch.Tensor):
            return X.to(_TYPE)
        tensor = torch.from_numpy(np.asarray(X, dtype=np.float32))
        return tensor if self._device is None else tensor.to(self._device)

    def place(self, rows):
        """Positions of rows as what the outputs are, where they are: parts of them need no way to a device."""
        return rows if self._device is None else torch.from_numpy(rows).to(self._device)

    def _output(self, tensor):
        """Output as a loss takes it, float64."""
        return _numpy(tensor) if self._device is None else tensor.detach().double()

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
            parts = [self._output(self._forward(part)) for part in X.split(self._chunk_rows)]
        return np.concatenate(parts) if self._device is None else torch.cat(parts)

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
        parts = self._X.split(self._chunk_rows)
        if len(parts) == 1:
            output = self._forward(self._X)
            value, slope = function(self._output(output))
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
        """Start Adam; returns ``step(rows, function)``, which moves along the gradient from a batch.

        Rows are some of :meth:`place`.
        """
        self.load(parameters)
        optimiser = torch.optim.Adam(self._layers, lr=learning_rate, foreach=False)

        def step(rows, slope_of, shrinkage):
            output = self._forward(self._X[rows if isinstance(rows, torch.Tensor) else torch.from_numpy(rows)])
            gradients = self._pull_back(output, slope_of(self._output(output)))
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
    return tensor.detach().cpu().numpy().astype(np.float64)


def device_named(name):
    """The device of a parameter ``device``, None for the CPU; raises where there is none."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:1'; found {name!r}") from error
    if device.type == "cpu":
        return None
    if device.type != "cuda":
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:1', since double precision is needed; found {name!r}")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={name!r} needs a CUDA device, and PyTorch {torch.__version__} finds none here: install its CUDA "
            "build on a machine with a card, or set device='cpu'"
        )
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise ValueError(f"device={name!r} is not there: PyTorch finds {torch.cuda.device_count()} CUDA device(s)")
    return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device


def raw_predictions_there(X, coefs, intercepts, activation, device):
    """Output (n,) of published layers for features on the host, a float64 tensor on a device."""
    layers = [torch.as_tensor(part, device=device) for pair in zip(coefs, intercepts, strict=True) for part in pair]
    found = []
    for first in range(0, len(X), _CHUNK_ROWS):
        part = torch.tensor(X[first : first + _CHUNK_ROWS], dtype=torch.float64, device=device)
        for position in range(0, len(layers), 2):
            part = part @ layers[position] + layers[position + 1]
            if position < len(layers) - 2:
                part = _ACTIVATIONS[activation](part)
        found.append(part[:, 0])
    return torch.cat(found)


def _flat(tensors):
    return _numpy(torch.cat([tensor.detach().ravel() for tensor in tensors]))
