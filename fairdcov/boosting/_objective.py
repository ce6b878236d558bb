"""The objective for learners that divide a gradient by a curvature, with the level of predictions kept in balance."""

import numpy as np

from fairdcov._fitting import RawObjective

__all__ = ["SHARE_OF_BOUND", "BalancedObjective", "loss_missed_by_rounding"]

# Of the bound on the curvature of the penalty. It is for rows that move one by one; those of a leaf move together and
# have mixed attributes, so that most of it cancels.
SHARE_OF_BOUND = 0.25
# Of a mean, by rounding in single precision.
_SHARE_MISSED = 8 * float(np.finfo(np.float32).eps)


class BalancedObjective(RawObjective):
    """A :class:`RawObjective` with a curvature, and with the shift of all raw predictions that is best for the loss."""

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
        if not np.isfinite(prediction).all():
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
            gradient -= gradient.sum() / weights.sum() * weights
        return gradient

    def best_shift(self, raw):
        """What added to all raw predictions gives the lowest loss, 0 where that is not known.

        It keeps totals in balance however far the penalty moves predictions, also where the penalty would gain from
        lower ones.
        """
        shift = self.loss.best_shift(self.y, self.whole(raw), self.probabilities)
        return shift if shift is not None and np.isfinite(shift) else 0.0

    def _shift_moves_penalty(self, strength):
        """Whether a shift of all raw predictions changes the penalty, if only a little where that is scale-free."""
        if self.penalty is None or strength == 0 or self.penalty.scale == "link":
            return False
        if self.loss.link == "identity":
            return not self.penalty.shift_free
        return not (self.loss.link == "log" and self.penalty.scale_free)


def loss_missed_by_rounding(objective):
    """What a constant costs at most that is missed by rounding in single precision."""
    link, level = objective.loss.link, objective.constant()
    # Half the square of the miss on the link scale, times the curvature there.
    size = 1.0
    if link == "identity":
        size = float(objective.probabilities @ objective.y**2)
    elif link == "log":
        size = float(objective.probabilities @ objective.curvature(np.full(len(objective.y), level)))
    return size * _SHARE_MISSED**2 / 2
