"""The penalty as a loss of PyTorch. The only modules that import torch at their top are those named ``_torch_...``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from fairdcov._checks import (
    PenaltyLike,
    Table,
    check_consistent_rows,
    check_finite_vector,
    check_sample_weight,
    import_optional,
)
from fairdcov.encoding import SensitiveBlocks, SensitiveEncoder, check_sensitive_features
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.penalties import bind_penalty, resolve_penalty

torch = import_optional("torch", "fairdcov.neural.DependenceLoss")

__all__ = ["BoundDependenceLoss", "DependenceLoss"]

LEAST_ROWS = 4


class _PenaltyOf(torch.autograd.Function):
    """A function of predictions whose value and gradient NumPy computes together."""

    @staticmethod
    def forward(ctx, predictions, bound):
        found = bound.value_gradient_there(predictions)
        if found is not None:
            value, gradient = found
            ctx.save_for_backward(gradient.reshape(predictions.shape).to(predictions))
            return torch.full((), value, dtype=predictions.dtype, device=predictions.device)
        # Only the predictions leave their device, and only the gradient goes back to it.
        u = _prediction_vector(predictions, bound.n_samples)
        value, gradient = bound.value_gradient(u)
        ctx.save_for_backward(torch.as_tensor(gradient.reshape(predictions.shape)).to(predictions))
        return torch.as_tensor(value, dtype=torch.float64).to(predictions)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, output_gradient):
        (gradient,) = ctx.saved_tensors
        return output_gradient * gradient, None


class BoundDependenceLoss(torch.nn.Module):
    """A dependence penalty bound to protected attributes: a function of the predictions of their rows.

    Made by :meth:`DependenceLoss.bind`.

    Parameters
    ----------
    bound : BoundPenalty or None
        What the penalty is once bound; None stands for no dependence at all.
    n_samples : int
        Rows that it is bound to.

    Attributes
    ----------
    bound : BoundPenalty or None
        With ``method``, ``n_profiles`` and ``error_bound``.
    """

    def __init__(self, bound, n_samples):
        super().__init__()
        self.bound = bound
        self.n_samples = n_samples
        self._there = {}

    def value_gradient_there(self, predictions):
        """Value and gradient of a tensor, on its device; None where it has to come to the CPU.

        On CUDA devices, for the penalties whose ``method`` is ``"profiles"``.
        """
        device = predictions.device
        if device.type != "cuda" or not hasattr(self.bound, "on_device"):
            return None
        if device not in self._there:
            self._there[device] = self.bound.on_device(device)
        there = self._there[device]
        if there is None:
            return None
        u = predictions.detach().reshape(-1)
        if u.dtype not in (torch.float32, torch.float64):
            u = u.float()
        check_consistent_rows(self.n_samples, u, "predictions", reference="sensitive_features")
        return there.value_gradient(u)

    def __getstate__(self):
        # Copies on devices are made anew where they are needed.
        return {**super().__getstate__(), "_there": {}}

    def value_gradient(self, u):
        """Value and gradient (n,) of a float64 vector."""
        return (0.0, np.zeros(len(u))) if self.bound is None else self.bound.value_gradient(u)

    def forward(self, predictions):
        """Penalty of the predictions.

        Parameters
        ----------
        predictions : (n,) or (n, 1) floating point tensor
            Predictions of all rows, on any device.

        Returns
        -------
        tensor, ()
            On the device and of the type of ``predictions``, differentiable once.

        Raises
        ------
        ValueError
            For NaN, infinite values, and another number of rows.
        TypeError
            For anything but a tensor of floating point numbers.
        """
        return _PenaltyOf.apply(_checked_tensor(predictions), self)

    def extra_repr(self):
        """What ``print`` shows in the parentheses.

        Returns
        -------
        str
            Parameters and what they are.
        """
        return f"n_samples={self.n_samples}, method={getattr(self.bound, 'method', None)!r}"


class DependenceLoss(torch.nn.Module):
    """Dependence of predictions on protected attributes, as a term of the loss of any PyTorch model.

    Value and gradient are those of the penalties, exact and computed by the same compiled kernels in O(n log n): on the
    full sample with :meth:`bind`, or on mini-batches with :meth:`encode`. Tensors on a CUDA device stay there where the
    attributes are few profiles (``bound.method == "profiles"``) and there are no strata: the same sums in double
    precision, by kernels in Triton where it is installed (it comes with PyTorch on Linux). For other methods and
    devices the predictions are copied to the CPU, and the gradient is copied back.

    Parameters
    ----------
    penalty : {"ccdcov", "jdcov", "dcov"} or penalty object, default="ccdcov"
        Dependence measure; see :class:`fairdcov.CCDCovPenalty`. Its ``scale`` is of no meaning here unless it is
        ``"total"``: what is passed as predictions is what is penalised.
    n_threads : int, optional
        Threads of the tile kernels.

    See Also
    --------
    fairdcov.neural.DCovMLPRegressor : Networks that need no training loop.

    Notes
    -----
    The penalty is a functional of the whole sample. A mini-batch estimates it: without bias with
    ``CCDCovPenalty(statistic="u", normalize=False)``, which takes no weights; with the default V-statistic the bias is
    of order 1 / n. In both cases the estimate from 128 rows is noisier than the values one wants to reach, so prefer
    the full sample, or batches of thousands. Batches of fewer than 4 rows (of positive weight) and batches whose rows
    share all attributes have a loss of 0 with gradient 0.

    Examples
    --------
    >>> import torch
    >>> from fairdcov.neural import DependenceLoss
    >>> gender = ["f", "f", "m", "m", "f", "m"]
    >>> u = torch.tensor([1.0, 2.0, 3.0, 4.0, 1.5, 3.5], requires_grad=True)
    >>> fairness = DependenceLoss()
    >>> value = fairness(u, gender)
    >>> value.backward()
    >>> round(value.item(), 4), u.grad.shape
    (0.3182, torch.Size([6]))

    Bound once, for training on the full sample, and encoded once, for mini-batches:

    >>> bound = fairness.bind(gender)
    >>> bool(bound(u) == value)
    True
    >>> encoded = fairness.encode(gender)
    >>> batch = torch.tensor([0, 2, 3, 4])
    >>> fairness(u[batch], encoded[batch]).item() > 0
    True
    """

    def __init__(self, penalty: PenaltyLike = "ccdcov", *, n_threads: int | None = None) -> None:
        super().__init__()
        self.penalty = resolve_penalty(penalty)
        self.n_threads = n_threads

    def bind(
        self,
        sensitive_features: Table,
        sample_weight: ArrayLike | None = None,
        *,
        control_features: Table | None = None,
    ) -> BoundDependenceLoss:
        """Compute once all that depends on the protected attributes.

        Parameters
        ----------
        sensitive_features : DataFrame, Series, array, tensor or SensitiveBlocks, (n,) or (n, d)
            Protected attributes of any type, at least 4 rows.
        sample_weight : (n,) array or tensor, optional
            Row weights, such as exposure.
        control_features : DataFrame, Series, array or tensor, (n,) or (n, d), optional
            Legitimate factors within whose strata dependence is measured. Mini-batches have too few rows in each
            stratum for that, and the loss of a batch takes none.

        Returns
        -------
        BoundDependenceLoss
            A module that takes the predictions alone.

        Raises
        ------
        ValueError
            For fewer than 4 rows of positive weight, missing values, weights with the U-statistic, and unequal lengths.
        """
        sensitive_features, weights, n_rows = _check_rows(sensitive_features, sample_weight)
        if n_rows < LEAST_ROWS:
            raise ValueError(
                f"a dependence penalty needs at least {LEAST_ROWS} rows of positive sample_weight; found {n_rows}"
            )
        return self._bind(sensitive_features, weights, _to_numpy(control_features))

    def encode(self, sensitive_features: Table) -> SensitiveBlocks:
        """Encode protected attributes once, for mini-batches.

        Parameters
        ----------
        sensitive_features : DataFrame, Series, array or tensor, (n,) or (n, d)
            Protected attributes of the whole sample.

        Returns
        -------
        SensitiveBlocks
            Rows of it, ``encoded[batch]``, are passed to the loss as ``sensitive_features``. Levels and scales are
            those of the whole sample.

        Raises
        ------
        TypeError
            For a penalty of your own that has no parameter ``encoder``.
        """
        sensitive_features = _to_numpy(sensitive_features)
        _check_given(sensitive_features)
        if isinstance(sensitive_features, SensitiveBlocks):
            return sensitive_features
        if not hasattr(self.penalty, "encoder"):
            raise TypeError(
                f"{type(self.penalty).__name__} has no parameter encoder, which a penalty of encoded rows needs: "
                "derive it from fairdcov.penalties.Penalty, or pass the attributes of each batch as they are"
            )
        encoder = SensitiveEncoder() if self.penalty.encoder is None else self.penalty.encoder
        return clone(encoder).fit_encode(sensitive_features)

    def forward(
        self, predictions: Mapping[str, Any], sensitive_features: Table, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Penalty of the predictions of a sample or of a mini-batch.

        Parameters
        ----------
        predictions : (n,) or (n, 1) floating point tensor
            What is to be independent of the protected attributes, on any device.
        sensitive_features : DataFrame, Series, array, tensor or SensitiveBlocks, (n,) or (n, d)
            Protected attributes of these rows.
        sample_weight : (n,) array or tensor, optional
            Row weights.

        Returns
        -------
        tensor, ()
            On the device and of the type of ``predictions``, differentiable once. For fewer than 4 rows of positive
            weight it is 0 with gradient 0: the statistic is not defined there.

        Raises
        ------
        ValueError
            For NaN, infinite values and unequal lengths; ``MissingSensitiveFeaturesError`` for no attributes.
        TypeError
            For anything but a tensor of floating point numbers.
        """
        sensitive_features, weights, n_rows = _check_rows(sensitive_features, sample_weight)
        if n_rows < LEAST_ROWS:
            return BoundDependenceLoss(None, len(sensitive_features))(predictions)
        return self._bind(sensitive_features, weights)(predictions)

    def _bind(self, sensitive_features, weights, control_features=None):
        penalty = self.penalty
        if isinstance(sensitive_features, SensitiveBlocks):
            if sensitive_features.is_constant(weights):
                # Nothing can depend on what does not vary; a batch may well be like that, so it is no warning either.
                return BoundDependenceLoss(None, len(sensitive_features))
            # The encoder has done its work; this one takes rows of blocks as they are.
            penalty = clone(penalty).set_params(encoder=SensitiveEncoder())
        bound = bind_penalty(
            penalty, sensitive_features, weights, n_threads=self.n_threads, control_features=control_features
        )
        return BoundDependenceLoss(bound, len(sensitive_features))

    def extra_repr(self) -> str:
        """What ``print`` shows in the parentheses.

        Returns
        -------
        str
            Parameters and what they are.
        """
        return f"penalty={self.penalty!r}"


def _to_numpy(values):
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values


def _check_given(sensitive_features):
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("DependenceLoss needs sensitive_features; found None")
    check_sensitive_features(sensitive_features, len(sensitive_features))


def _check_rows(sensitive_features, sample_weight):
    """Protected attributes and weights out of torch, and how many rows count."""
    sensitive_features = _to_numpy(sensitive_features)
    _check_given(sensitive_features)
    n_samples = len(sensitive_features)
    if sample_weight is None:
        return sensitive_features, None, n_samples
    weights = np.asarray(_to_numpy(sample_weight))
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if len(weights) == n_samples and not weights.any():
        return sensitive_features, weights, 0
    weights = check_sample_weight(weights, n_samples, reference="sensitive_features")
    return sensitive_features, weights, np.count_nonzero(weights)


def _checked_tensor(predictions):
    if not isinstance(predictions, torch.Tensor):
        raise TypeError(f"predictions must be a torch tensor; found {type(predictions).__name__}")
    if not predictions.is_floating_point():
        raise TypeError(f"predictions must hold floating point numbers; found {predictions.dtype}")
    if predictions.is_meta:
        raise ValueError("predictions are on the meta device, which holds no values: move the model to a real device")
    return predictions


def _prediction_vector(predictions, n_samples):
    """Predictions as float64 (n,) on the CPU."""
    u = check_finite_vector(predictions.detach().to(device="cpu", dtype=torch.float64).numpy(), "predictions")
    check_consistent_rows(n_samples, u, "predictions", reference="sensitive_features")
    return u
