"""Two boosters with one penalty on the product of their predictions, such as claim frequency and severity.

The unpenalised boosters are those of the two models fitted apart. Then a penalised round grows a tree on each of them,
on all rows: of their predictions laid end to end, loss and penalty are one objective, and what is done with one booster
elsewhere (its rounds, the leaves of all its trees moved together) is done with the two as it stands.
"""

import numpy as np

from fairdcov._fitting import ProductObjective, StrengthGuard, warn_of_dependence, warn_of_level, warn_of_strength
from fairdcov.boosting._grower import Grower
from fairdcov.boosting._objective import SHARE_OF_BOUND, BalancedObjective, HostObjective, loss_missed_by_rounding
from fairdcov.boosting._penalised_rounds import PenalisedRounds

__all__ = ["BalancedProduct", "PairGrower", "ProductProblem"]

_NAMES = ("frequency", "severity")


class BalancedProduct(HostObjective, ProductObjective):
    """A :class:`ProductObjective` as learners that divide a gradient by a curvature want it: each part in balance.

    Raw predictions, gradients, curvatures and shifts are (2n,), those of the one model and then of the other. The parts
    are :class:`BalancedObjective`.
    """

    @property
    def offset(self):
        """Offset of a part that has one, or None."""
        return next((part.offset for part in self.objectives if part.offset is not None), None)

    def terms(self, raw, strength=0.0):
        """See :class:`ProductObjective`."""
        value, penalty, gradient = super().terms(raw.reshape(2, -1), strength)
        return value, penalty, gradient.ravel()

    def terms_curvature(self, raw, strength=0.0):
        """See :meth:`BalancedObjective.terms_curvature`; both parts move at once, which doubles the penalty's."""
        raw = raw.reshape(2, -1)
        value, parts = 0.0, []
        for objective, share, own in zip(self.objectives, self.shares, raw, strict=True):
            loss, _, slope, bend = objective.terms_curvature(own)
            value += share * loss
            parts.append((share * slope, share * bend))
        gradient, curvature = (np.stack(found) for found in zip(*parts, strict=True))
        penalty = 0.0
        if self.penalty is not None and strength != 0 and np.isfinite(value):
            prediction, chain = self._penalised(raw)
            if np.isfinite(prediction).all():
                penalty, slope, bend = self.penalty.value_gradient_curvature(prediction)
                gradient += strength * (slope * chain)
                curvature += 2 * SHARE_OF_BOUND * strength * (bend * chain**2)
            else:
                penalty = np.nan
        return value, penalty, gradient.ravel(), curvature.ravel()

    def balanced_terms_curvature(self, raw, strength=0.0):
        """See :meth:`BalancedObjective.balanced_terms_curvature`."""
        shift = self.best_shift(raw)
        raw = raw + shift
        value, penalty, gradient, curvature = self.terms_curvature(raw, strength)
        return shift, (value, penalty, self._in_balance(gradient, raw, strength), curvature)

    def balanced_terms(self, raw, strength=0.0):
        """See :meth:`BalancedObjective.balanced_terms`."""
        shift = self.best_shift(raw)
        raw = raw + shift
        value, penalty, gradient = self.terms(raw, strength)
        return shift, (value, penalty, self._in_balance(gradient, raw, strength))

    def _in_balance(self, gradient, raw, strength):
        if strength == 0 or self.penalty is None or self.penalty.scale == "link" or self.penalty.scale_free:
            return gradient
        parts = []
        for objective, own, slope in zip(self.objectives, raw.reshape(2, -1), gradient.reshape(2, -1), strict=True):
            weights = objective.curvature(own) * objective.probabilities
            parts.append(slope - slope.sum() / weights.sum() * weights)
        return np.concatenate(parts)

    def best_shift(self, raw):
        """Shift of each model that is best for its loss, (2n,)."""
        return self._of_parts(raw, BalancedObjective.best_shift)

    def constant(self):
        """Raw predictions of the best two constants, (2n,)."""
        return np.concatenate([np.full(len(self.y), objective.constant()) for objective in self.objectives])

    def constant_raw(self, value):
        """See :class:`RawObjective`; both constants are rows already."""
        return value

    def constant_loss(self):
        """Loss of the best two constants."""
        return self.mean_loss(self.constant())

    def slack(self):
        """See :func:`loss_missed_by_rounding`."""
        slacks = map(loss_missed_by_rounding, self.objectives)
        return sum(share * slack for share, slack in zip(self.shares, slacks, strict=True))

    def whole(self, raw):
        """See :class:`ProductObjective`."""
        return super().whole(raw.reshape(2, -1))

    def balancing_shift(self, raw):
        """Shift of each model that gives the observed total of the first one's target and of the product, (2n,)."""
        counts = self.objectives[0]
        frequency, severity = raw.reshape(2, -1)
        first = np.log((counts.probabilities @ counts.y) / (counts.probabilities @ counts.response(frequency)))
        product = np.exp(self.whole(np.concatenate([frequency + first, severity])))
        second = np.log((self.probabilities @ self.y) / (self.probabilities @ product))
        return np.repeat([first, second], len(self.y))

    def _of_parts(self, raw, function):
        parts = zip(self.objectives, raw.reshape(2, -1), strict=True)
        return np.repeat([function(objective, own) for objective, own in parts], len(self.y))


class PairGrower(Grower):
    """Two learners as one: the rows of the one, then the same rows of the other; a round grows a tree on each.

    Parameters
    ----------
    growers : pair of Grower
        Of the same rows.
    """

    def __init__(self, growers):
        self.growers = growers
        self._rounds = []
        self._first_numbers = None

    def n_trees(self):
        """Rounds so far."""
        return len(self._rounds)

    def grow(self, gradient, curvature, learning_rate):
        """See :meth:`Grower.grow`; True where either of them has a tree that splits."""
        parts = zip(self.growers, np.split(gradient, 2), np.split(curvature, 2), strict=True)
        grown = tuple(grower.grow(slope, bend, learning_rate) for grower, slope, bend in parts)
        if any(grown):
            self._rounds.append(grown)
        return any(grown)

    def drop(self):
        """See :meth:`Grower.drop`."""
        for grower, grew in zip(self.growers, self._rounds.pop(), strict=True):
            if grew:
                grower.drop()

    def raw(self):
        """See :meth:`Grower.raw`."""
        return np.concatenate([grower.raw() for grower in self.growers])

    def leaf_nodes(self, first, *, monitored=False):
        """See :meth:`Grower.leaf_nodes`; None also where a round of them has grown but one tree."""
        if not all(map(all, self._rounds[first:])):
            return None
        n_rounds = len(self._rounds) - first
        nodes = [grower.leaf_nodes(grower.n_trees() - n_rounds) for grower in self.growers]
        if any(found is None for found in nodes):
            return None
        one, other = (found.astype(np.int32, copy=False) for found in nodes)
        # Leaves of the second tree of a round have numbers of their own.
        self._first_numbers = one.max(axis=0) + 1
        return np.concatenate([one, other + self._first_numbers])

    def with_leaves_moved(self, booster, first, moves):
        """See :meth:`Grower.with_leaves_moved`; of a pair of boosters."""
        of_one, of_other = [], []
        for (numbers, values), start in zip(moves, self._first_numbers, strict=True):
            theirs = numbers >= start
            of_one.append((numbers[~theirs], values[~theirs]))
            of_other.append((numbers[theirs] - start, values[theirs]))
        return tuple(
            grower.with_leaves_moved(own, grower.n_trees() - len(moves), moved)
            for grower, own, moved in zip(self.growers, booster, (of_one, of_other), strict=True)
        )

    def snapshot(self, shift):
        """The two boosters so far, each with its own shift of ``shift``, (2n,)."""
        n_rows = len(shift) // 2
        return tuple(
            grower.snapshot(float(own)) for grower, own in zip(self.growers, (shift[0], shift[n_rows]), strict=True)
        )


class ProductProblem:
    """All of a fit of two boosters that does not depend on the strength; see :class:`BoostingProblem`."""

    def __init__(
        self,
        estimator,
        X,
        y,
        sample_weight,
        sensitive_features,
        strengths,
        *,
        claims=None,
        control_features=None,
        frequency_offset=None,
        severity_offset=None,
    ):
        # 1. Parameters.
        self.estimator = estimator
        estimator._check_parameters()
        finals = [estimator._final(name) for name in _NAMES]
        _check_rounds(finals)
        penalised = any(strengths)

        # 2. Data.
        data = estimator._read(
            X,
            y,
            sample_weight,
            sensitive_features,
            penalised=penalised,
            claims=claims,
            control_features=control_features,
            frequency_offset=frequency_offset,
            severity_offset=severity_offset,
        )
        rows = data.rows
        penalty = rows.bind(estimator.penalty, penalised=penalised, n_threads=estimator.n_threads)

        # 3. The unpenalised boosters, each fitted to the rows that have its target, and what goes on with all rows.
        self.parts, growers, losses = [], [], []
        for position, name in enumerate(_NAMES):
            offset, weights, target = data.offsets[position], data.weights[position], data.targets[position]
            (head, final), features = estimator._transformed_part(name, rows.X, target)
            features = final._taken_features(features)
            some = weights > 0
            final.set_params(strength=0.0)
            own = {} if offset is None else {"offset": offset[some]}
            final.fit(features if some.all() else features[some], target[some], sample_weight=weights[some], **own)
            self.parts.append((head, final))
            growers.append(final._continued(features, target))
            losses.append(final._loss())
        estimator.fitted_with_offsets_ = dict(zip(_NAMES, (offset is not None for offset in data.offsets), strict=True))
        self.grower = PairGrower(growers)

        def product(targets, weights):
            parts = [
                BalancedObjective(loss, target, weight / weight.sum(), None, offset)
                for loss, target, weight, offset in zip(losses, targets, weights, data.offsets, strict=True)
            ]
            shares = [weight.sum() / rows.weights.sum() for weight in weights]
            return BalancedProduct(parts, shares, rows.y, rows.probabilities, penalty)

        # 4. The objective of what was observed, and that of the rounds: the unpenalised predictions, and for the
        # severity as many claims as are expected, since the price of rows without claims is a price all the same.
        self.objective = product(data.targets, data.weights)
        self._guard = StrengthGuard(self.objective.constant_loss(), slack=self.objective.slack())
        raw = self.grower.raw()
        expected = [
            objective.response(own)
            for objective, own in zip(
                self.objective.objectives, (raw + self.objective.best_shift(raw)).reshape(2, -1), strict=True
            )
        ]
        target = product(expected, (rows.weights, rows.weights * expected[0]))
        self.rounds = PenalisedRounds(target, self.grower, rows.weights.sum(), float(finals[0].penalised_learning_rate))
        self._most_rounds = finals[0].n_penalised_rounds
        self._n_penalised = 0

    def solve(self, strength, start=None):
        """Fitted attributes at a strength: penalised rounds on top of what is there."""
        estimator, n_rows = self.estimator, len(self.objective.y)
        shift, effective, refined = np.zeros(2 * n_rows), 0.0, None
        if strength > 0:
            if self.rounds.refined is None:
                n_rounds, shift = self.rounds.train(strength, self._most_rounds)
                self._n_penalised += n_rounds
            effective = self.rounds.effective_strength(strength)
            refined = self.rounds.refine(strength, min(self._n_penalised, self._most_rounds), self._admits)
        raw = self.grower.raw() + shift
        if refined is not None:
            effective, raw, shift = refined.strength, refined.raw, refined.shift
        if estimator.balance:
            further = self.objective.balancing_shift(raw)
            raw, shift = raw + further, shift + further
        boosters = self.grower.snapshot(shift)
        if refined is not None:
            first = self.grower.n_trees() - len(refined.moves)
            boosters = self.grower.with_leaves_moved(boosters, first, refined.moves)
        loss, penalty = self.objective.mean_loss(raw), self.objective.penalty_value(raw)
        warn_of_strength(estimator, strength, effective)
        warn_of_level(estimator, self.objective, lambda: self.objective.whole(raw), effective)
        null_level = warn_of_dependence(
            estimator, self.objective, raw, strength, "take more n_penalised_rounds, or trees of more leaves"
        )
        if estimator.verbose:
            print(
                f"strength {strength:g}: {self._n_penalised} penalised rounds, loss {loss:.8g}, penalty {penalty:.4g}",
                flush=True,
            )
        attributes = {
            **self.objective.attributes(loss, penalty, loss + (effective * penalty if strength > 0 else 0.0)),
            "n_penalised_rounds_": self._n_penalised,
            "effective_strength_": effective,
            "penalty_null_level_": null_level,
        }
        for position, (name, booster) in enumerate(zip(_NAMES, boosters, strict=True)):
            head, final = self.parts[position]
            own = self.objective.objectives[position].mean_loss(raw.reshape(2, -1)[position])
            learnt = {name: value for name, value in vars(final).items() if name.endswith("_")} | {
                "booster_": booster,
                "n_penalised_rounds_": self._n_penalised,
                "effective_strength_": effective,
                "loss_value_": own,
                "objective_value_": own,
            }
            attributes[f"{name}_"] = estimator._finish_part(head, final, learnt)
        return None, attributes

    def _admits(self, raw):
        return self._guard.admits(self.objective.mean_loss(raw))


def _check_rounds(finals):
    """Raise for parameters of two boosters that joint rounds cannot go by."""
    for name in ("n_penalised_rounds", "penalised_learning_rate"):
        first, second = (getattr(final, name) for final in finals)
        if first != second:
            raise ValueError(
                f"a penalised round is one of both boosters: {name} must be the same; found {first!r} for the "
                f"frequency and {second!r} for the severity"
            )
    for part, final in zip(_NAMES, finals, strict=True):
        if final.penalised_target != "unpenalised":
            raise ValueError(
                f"penalised_target of the {part} must be 'unpenalised' in a joint fit; found {final.penalised_target!r}"
            )
        if final.early_stopping_rounds is not None:
            raise ValueError(
                f"early_stopping_rounds of the {part} must be None in a joint fit, which watches no eval_set; found "
                f"{final.early_stopping_rounds!r}"
            )
