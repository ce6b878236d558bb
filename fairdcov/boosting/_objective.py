"""The objective for learners that divide a gradient by a curvature, with the level of predictions kept in balance."""

import numpy as np

from fairdcov._checks import import_optional
from fairdcov._fitting import ONE_PROCESS, DeviceObjective, RawObjective, penalty_on_device

__all__ = ["SHARE_OF_BOUND", "BalancedObjective", "DeviceBalancedObjective", "HostObjective", "loss_missed_by_rounding"]

# Of the bound on the curvature of the penalty. It is for rows that move one by one; those of a leaf move together and
# have mixed attributes, so that most of it cancels.
SHARE_OF_BOUND = 0.25
# Of a mean, by rounding in single precision.
_SHARE_MISSED = 8 * float(np.finfo(np.float32).eps)


class HostObjective:
    """What penalised rounds ask of an objective beside its terms, with all rows here and vectors of NumPy."""

    reduction = ONE_PROCESS

    @property
    def host(self):
        """The same objective for NumPy vectors."""
        return self

    def vector(self, values):
        """Numbers of the rows as the objective takes them, (n,)."""
        return values


class BalancedObjective(HostObjective, RawObjective):
    """A :class:`RawObjective` with a curvature, and with the shift of all raw predictions that is best for the loss.

    Parameters
    ----------
    loss, y, probabilities, penalty, offset
        As in :class:`RawObjective`; with rows in other processes too, the probabilities of all have sum 1.
    reduction : Reduction, optional
        Over the processes that share the rows: all of them then see the same loss and the same shifts, beside a penalty
        that was bound with it.
    """

    def __init__(self, loss, y, probabilities, penalty=None, offset=None, reduction=None):
        super().__init__(loss, y, probabilities, penalty, offset)
        self.reduction = ONE_PROCESS if reduction is None else reduction

    def total(self, values):
        """Sum of ``values`` (n,) over all rows, by their probabilities."""
        return float(self.reduction.add(np.array(float(self.probabilities @ values))))

    def _loss(self, raw):
        value, gradient = super()._loss(raw)
        return float(self.reduction.add(np.array(value))), gradient

    def _is_finite(self, prediction):
        # What one process finds all have to know, for they go on together.
        return not self.reduction.maximum(np.array(0.0 if super()._is_finite(prediction) else 1.0))

    def constant(self):
        """Raw prediction of the best constant model; what it adds to the offset where there is one."""
        if self.offset is None:
            return float(self.loss.intercept(self.total(self.y)))
        return super().constant() if self.reduction is ONE_PROCESS else self.best_shift(np.zeros(len(self.y)))

    def terms_curvature(self, raw, strength=0.0):
        """:meth:`terms` and a curvature (n,), never negative, for learners that divide the gradient by one.

        The Fisher weights of the loss plus a quarter of the bound on the penalty's curvature, without the bend of the
        inverse link.
        """
        value, gradient = self._loss(raw)
        if self.penalty is None or strength == 0 or not np.isfinite(value):
            return value, 0.0, gradient, self.curvature(raw) * self.probabilities
        prediction, chain = self._penalised(raw)
        response = None if self.penalty.scale == "link" else prediction
        curvature = self.curvature(raw, response) * self.probabilities
        if not self._is_finite(prediction):
            return value, np.nan, gradient, curvature
        penalty, slope, bend = self.penalty.value_gradient_curvature(prediction)
        # In place where an array is ours: at this length a new one costs more than the arithmetic.
        slope = slope * chain
        slope *= strength
        slope += gradient
        bend = bend * chain
        bend *= chain
        bend *= SHARE_OF_BOUND * strength
        bend += curvature
        return value, penalty, slope, bend

    def balanced_terms_curvature(self, raw, strength=0.0):
        """:meth:`terms_curvature` of the raw predictions plus :meth:`best_shift`, as functions of ``raw``; that shift.

        The shift follows ``raw``. Where it moves the penalty, the gradient is that along predictions in balance: what
        ``raw_i`` adds to the total is taken off all rows again.
        """
        shift = self.best_shift(raw)
        raw = raw + shift
        value, penalty, gradient, curvature = self.terms_curvature(raw, strength)
        return shift, (value, penalty, self._in_balance(gradient, raw, shift, strength), curvature)

    def balanced_terms(self, raw, strength=0.0):
        """:meth:`balanced_terms_curvature` without the curvature."""
        shift = self.best_shift(raw)
        raw = raw + shift
        value, penalty, gradient = self.terms(raw, strength)
        return shift, (value, penalty, self._in_balance(gradient, raw, shift, strength))

    def _in_balance(self, gradient, raw, shift, strength):
        if shift and self._shift_moves_penalty(strength):
            weights = self.curvature(raw) * self.probabilities
            pull, total = self.reduction.add(np.array([float(gradient.sum()), float(weights.sum())]))
            gradient -= pull / total * weights
        return gradient

    def best_shift(self, raw):
        """What added to all raw predictions gives the lowest loss, 0 where that is not known.

        It keeps totals in balance however far the penalty moves predictions, also where the penalty would gain from
        lower ones.
        """
        shift = self.loss.best_shift(self.y, self.whole(raw), self.probabilities, self.reduction)
        return shift if shift is not None and np.isfinite(shift) else 0.0

    def _shift_moves_penalty(self, strength):
        """Whether a shift of all raw predictions changes the penalty, if only a little where that is scale-free."""
        if self.penalty is None or strength == 0 or self.penalty.scale == "link":
            return False
        if self.loss.link == "identity":
            return not self.penalty.shift_free
        return not (self.loss.link == "log" and self.penalty.scale_free)


class DeviceBalancedObjective(DeviceObjective, BalancedObjective):
    """A :class:`BalancedObjective` whose vectors are tensors on a device.

    Parameters
    ----------
    host : BalancedObjective
        The objective on the host.
    device : torch.device
        Where to.
    """

    def __init__(self, host, device):
        torch = import_optional("torch", "penalised rounds on a device")
        y, probabilities, offset = (
            None if vector is None else torch.tensor(vector, device=device)
            for vector in (host.y, host.probabilities, host.offset)
        )
        super().__init__(host.loss, y, probabilities, penalty_on_device(host.penalty, device), offset)
        self._host = host

    @property
    def host(self):
        """The same objective for NumPy vectors."""
        return self._host


def loss_missed_by_rounding(objective):
    """What a constant costs at most that is missed by rounding in single precision."""
    link, level = objective.loss.link, objective.constant()
    # Half the square of the miss on the link scale, times the curvature there.
    size = 1.0
    if link == "identity":
        size = objective.total(objective.y**2)
    elif link == "log":
        size = objective.total(objective.curvature(np.full(len(objective.y), level)))
    return size * _SHARE_MISSED**2 / 2
