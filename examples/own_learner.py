"""
A learner of one's own: penalised rounds on other trees
=======================================================

It takes no gradients of others. But one of its trees, fitted by the squared error to ``-gradient / curvature`` with the
curvature as weights, has the splits and the leaves of a Newton step, so that it can be driven round by round by public
means. Each round cuts the features into bins anew: fine for tens of thousands of rows, beyond that take LightGBM.
"""

from itertools import islice

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.validation import check_is_fitted

from fairdcov.boosting import BoostedRegressor, Grower

# On the link scale and before the learning rate, for links whose curvature is not constant.
LARGEST_LEAF = 2.0


class Step:
    """A tree and how far to go by it."""

    def __init__(self, tree, learning_rate, largest):
        self.tree = tree
        self.learning_rate = learning_rate
        self.largest = largest

    def raw(self, X):
        """What it adds to raw predictions, (n,)."""
        return self.learning_rate * np.clip(self.tree.predict(X), -self.largest, self.largest)


class Booster:
    """The unpenalised model of scikit-learn, or the first rounds of it, and the steps after it."""

    def __init__(self, start, n_rounds, steps, link, shift=0.0):
        self.start = start
        self.n_rounds = n_rounds
        self.steps = steps
        self.link = link
        self.shift = shift

    def raw(self, X):
        """Raw predictions, (n,)."""
        prediction = next(islice(self.start.staged_predict(X), self.n_rounds - 1, None))
        raw = np.log(prediction) if self.link == "log" else prediction
        return raw + self.shift + sum(step.raw(X) for step in self.steps)


class HistGrower(Grower):
    """Grows one tree of scikit-learn at a time."""

    def __init__(self, start, X, X_monitored, link, options):
        self.booster = Booster(start, start.n_iter_, [], link)
        self._X = [X, X_monitored]
        self._raw = [None if rows is None else self.booster.raw(rows) for rows in self._X]
        self._options = options

    def n_trees(self):
        """See :meth:`Grower.n_trees`."""
        return self.booster.n_rounds + len(self.booster.steps)

    def grow(self, gradient, curvature, learning_rate):
        """See :meth:`Grower.grow`."""
        weights = np.maximum(curvature, 1e-9 * curvature.mean())
        tree = HistGradientBoostingRegressor(**{**self._options, "max_iter": 1, "learning_rate": 1.0})
        tree.fit(self._X[0], -gradient / weights, weights)
        step = Step(tree, learning_rate, np.inf if self.booster.link == "identity" else LARGEST_LEAF)
        if np.ptp(step.raw(self._X[0])) == 0:
            return False
        self.booster.steps.append(step)
        self._move(step, 1.0)
        return True

    def drop(self):
        """See :meth:`Grower.drop`."""
        if self.booster.steps:
            self._move(self.booster.steps.pop(), -1.0)
        else:
            self.booster.n_rounds -= 1
            self._raw = [None if rows is None else self.booster.raw(rows) for rows in self._X]

    def _move(self, step, sign):
        self._raw = [
            None if rows is None else raw + sign * step.raw(rows) for rows, raw in zip(self._X, self._raw, strict=True)
        ]

    def raw(self):
        """See :meth:`Grower.raw`."""
        return self._raw[0]

    def monitored_raw(self):
        """See :meth:`Grower.monitored_raw`."""
        return self._raw[1]

    def snapshot(self, shift):
        """See :meth:`Grower.snapshot`."""
        booster = self.booster
        return Booster(booster.start, booster.n_rounds, list(booster.steps), booster.link, shift)


class DCovHistGradientBoostingRegressor(BoostedRegressor):
    """scikit-learn's histogram gradient boosting whose predictions do not depend on protected attributes."""

    def __init__(
        self,
        penalty="ccdcov",
        strength=1.0,
        *,
        objective="squared_error",
        n_estimators=100,
        learning_rate=0.1,
        n_penalised_rounds=100,
        penalised_learning_rate=0.5,
        penalised_target="unpenalised",
        early_stopping_rounds=None,
        max_leaf_nodes=31,
        min_samples_leaf=20,
        l2_regularization=0.0,
        random_state=None,
        n_jobs=None,
        sensitive_columns=None,
        drop_sensitive_columns=True,
        verbose=0,
    ):
        self.penalty = penalty
        self.strength = strength
        self.objective = objective
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.n_penalised_rounds = n_penalised_rounds
        self.penalised_learning_rate = penalised_learning_rate
        self.penalised_target = penalised_target
        self.early_stopping_rounds = early_stopping_rounds
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.sensitive_columns = sensitive_columns
        self.drop_sensitive_columns = drop_sensitive_columns
        self.verbose = verbose

    tweedie_power = 1.5  # of a family that scikit-learn's learner does not have

    def _check_learner(self):
        if self.objective not in ("squared_error", "poisson", "gamma"):
            raise ValueError(f"objective must be 'squared_error', 'poisson' or 'gamma'; found {self.objective!r}")

    def _start(self, data, monitored, seed, callbacks, objective, watched_objective):
        options = {
            "max_iter": self.n_estimators,
            "learning_rate": self.learning_rate,
            "max_leaf_nodes": self.max_leaf_nodes,
            "min_samples_leaf": self.min_samples_leaf,
            "l2_regularization": self.l2_regularization,
            "early_stopping": False,
            "random_state": seed,
        }
        start = HistGradientBoostingRegressor(loss=self.objective, **options)
        start.fit(data.X, data.y, data.weights if data.weighted else None)
        return HistGrower(start, data.X, None if monitored is None else monitored.X, self._loss().link, options)

    def _raw_predict(self, X):
        check_is_fitted(self, "booster_")
        return self.booster_.raw(self._features(X))
