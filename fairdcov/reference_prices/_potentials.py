"""The best predictions under a penalty on dependence, over all that are functions of estimates and posteriors.

With ``|a - b| = int (1{a <= t} + 1{b <= t} - 2 1{a <= t} 1{b <= t}) dt`` the squared distance covariance of predictions
u and profiles is ``int F(t)' A F(t) dt``: ``F_k(t)`` is the weight of the rows of profile k with ``u <= t``, and A is
minus twice the centred matrix of the profiles' distances, positive semidefinite. That is convex in the joint law of
rows and predictions, and the problem

    minimise  sum_i w_i loss(eta_i, u_i) + strength * int F(t)' A F(t) dt

has a concave dual in potentials phi(u), one number for each profile at each node of a grid: with ``A = L L'``

    sum_i w_i min_u {loss(eta_i, u) + pi_i' L phi(u)} - sum_m |phi_m - phi_(m+1)|^2 / (4 strength (u_(m+1) - u_m)).

A row's prediction is the u of its minimum. Infinite strength leaves the quadratic term out.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

__all__ = ["DualProblem", "Potentials", "gini_mean_difference"]

# Half of the nodes are quantiles of the estimates, half are evenly spaced, for the tail where quantiles are rare.
_NODES = 96
# Smoothing of the minimum over the nodes, as a share of the loss that the estimates explain.
_SMOOTHING = 3e-3
_MOST_STEPS = 300
# Steps of Newton's method between two nodes, each within a bracket.
_REFINEMENTS = 12
# Cells of rows times nodes that are looked at together when predicting.
_CHUNK = 2**22
# Eigenvalues of A below this share of the largest are rounding.
_NULL = 1e-10


def gini_mean_difference(values, weights):
    """``sum_ij w_i w_j |v_i - v_j|`` for weights of sum 1."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])[:-1]
    return float(2.0 * (below * (1.0 - below)) @ np.diff(values[order]))


@dataclass(frozen=True, eq=False)
class Potentials:
    """What is added to the loss of a prediction, for each profile.

    Attributes
    ----------
    grid : (M,) array
        Increasing predictions; the potentials are linear in between.
    values : (M, K) array
        Potential of each profile.
    loss : PointwiseLoss
        Half a deviance, linear in the target but for what the prediction has no part in.
    shift : float
        What is added to the raw predictions at last, so that the total is that of the estimates.
    """

    grid: np.ndarray
    values: np.ndarray
    loss: object
    shift: float = 0.0

    def predict(self, eta, memberships):
        """Best prediction (n,) for estimates (n,) and probabilities of the profiles (n, K)."""
        found = np.empty(len(eta))
        step = max(1, _CHUNK // len(self.grid))
        for start in range(0, len(eta), step):
            rows = slice(start, start + step)
            found[rows] = self._predict(eta[rows], memberships[rows] @ self.values.T)
        if self.shift == 0.0:
            return found
        return self.loss.response(self.loss.intercept(found) + self.shift)

    def _predict(self, eta, added):
        constant, slope = _linear_terms(self.loss, self.grid)
        total = added + slope * eta[:, None]
        total += constant
        every = np.arange(len(eta))
        node = total.argmin(axis=1)
        best, lowest = self.grid[node], total[every, node]
        # Beyond the ends of the grid the potentials are what they are there.
        for beyond, end in ((eta < self.grid[0], 0), (eta > self.grid[-1], -1)):
            if beyond.any():
                constant, slope = _linear_terms(self.loss, eta[beyond])
                value = constant + eta[beyond] * slope + added[beyond, end]
                best[beyond] = np.where(value < lowest[beyond], eta[beyond], best[beyond])
                lowest[beyond] = np.minimum(value, lowest[beyond])
        if len(self.grid) == 1:
            return best
        for cell in (np.maximum(node - 1, 0), np.minimum(node, len(self.grid) - 2)):
            low, high = self.grid[cell], self.grid[cell + 1]
            tilt = (added[every, cell + 1] - added[every, cell]) / (high - low)
            within = _least_between(self.loss, eta, tilt, low, high)
            constant, slope = _linear_terms(self.loss, within)
            value = constant + eta * slope + added[every, cell] + tilt * (within - low)
            better = value < lowest
            best = np.where(better, within, best)
            lowest = np.where(better, value, lowest)
        return best


def _linear_terms(loss, prediction):
    """``a`` and ``b`` of ``loss(eta, u) = a(u) + eta b(u) +`` what does not depend on u."""
    raw = loss.intercept(prediction)
    at_zero, at_one = (loss.loss_gradient(y, raw, 0.0)[0] for y in (np.zeros_like(raw), np.ones_like(raw)))
    if loss.link == "identity":
        # Its half square has a part in the target that is no term of its own.
        return at_zero, at_one - at_zero - 0.5
    return at_zero, at_one - at_zero


def _least_between(loss, eta, tilt, low, high):
    """Where ``loss(eta, u) + tilt u`` is least between low and high: Newton's method in a bracket, all rows at once."""
    low, high = low.copy(), high.copy()
    u = np.clip(eta, low, high)
    for _ in range(_REFINEMENTS):
        raw = loss.intercept(u)
        slope = loss.response_slope(raw)
        # d loss / du is (u - eta) / V(u) with V = slope^2 / curvature.
        variance = slope**2 / loss.curvature(raw)
        excess = (u - eta) + tilt * variance
        rising = excess > 0
        high = np.where(rising, u, high)
        low = np.where(rising, low, u)
        step = u - excess / np.maximum(1.0 + tilt * _variance_slope(loss, u, variance), 1e-6)
        u = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        if (high - low <= 1e-13 * np.abs(u)).all():
            break
    return u


def _variance_slope(loss, u, variance):
    """Derivative of the variance function, exact for powers."""
    if loss.link == "identity":
        return 0.0
    return (1.0 - 2.0 * u) if loss.link == "logit" else getattr(loss, "power", 1.0) * variance / u


class DualProblem:
    """The dual for one sample of estimates and memberships, at any strength.

    Parameters
    ----------
    loss : PointwiseLoss
        See :class:`Potentials`.
    eta : (n,) array
        Estimates, within the range of the loss.
    memberships : (n, K) array
        Probability of each profile; 0 and 1 where they are known.
    weights : (n,) array
        Of sum 1.
    points : (K, q) array
        Coordinates of the profiles.
    n_nodes : int, optional
        Nodes of the grid.
    """

    def __init__(self, loss, eta, memberships, weights, points, n_nodes=_NODES):
        self._loss, self._eta, self._memberships, self._weights = loss, eta, memberships, weights
        distances = np.sqrt(((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2))
        shares = weights @ memberships
        means = distances @ shares
        self.form = -2.0 * (distances - means[:, None] - means[None, :] + shares @ means)
        values, vectors = np.linalg.eigh(self.form)
        kept = values > _NULL * max(values.max(), 0.0)
        self._root = vectors[:, kept] * np.sqrt(values[kept])
        self._coordinates = memberships @ self._root
        self.grid = _nodes(eta, weights, n_nodes)
        self.spread = gini_mean_difference(eta, weights)
        self._prepare()

    def _prepare(self):
        mean = np.full_like(self._eta, self._weights @ self._eta)
        explained = self._loss.deviance(self._eta, mean) - self._loss.deviance(self._eta, self._eta)
        self._explained = 0.5 * float(self._weights @ explained)
        self._smoothing = _SMOOTHING * self._explained
        if not self.trivial:
            constant, slope = _linear_terms(self._loss, self.grid)
            losses = constant + self._eta[:, None] * slope
            losses -= losses.min(axis=1, keepdims=True)
            self._scores = losses / -self._smoothing

    @property
    def trivial(self):
        """Whether nothing is to be done: all estimates alike, or profiles that the rows do not tell apart."""
        return len(self.grid) < 2 or self._root.shape[1] == 0 or not self._explained > 0

    def solve(self, strength, start=None):
        """Potentials for a strength, ``inf`` for independence, and where the next one may start."""
        if strength == 0 or self.trivial:
            grid = (
                self.grid if len(self.grid) > 1 else self.grid[0] + np.array([0.0, 1e-9 * max(abs(self.grid[0]), 1e-9)])
            )
            return Potentials(grid, np.zeros((len(grid), len(self.form))), self._loss), start
        steps = np.diff(self.grid)
        scale = np.sqrt(steps)[:, None]
        cost = 0.0 if np.isinf(strength) else self.spread / (4.0 * strength)
        shape = (len(steps), self._root.shape[1])

        def potentials(parameters):
            return np.vstack([np.cumsum((parameters * scale)[::-1], axis=0)[::-1], np.zeros((1, shape[1]))])

        def negative_dual(parameters):
            parameters = parameters.reshape(shape)
            scores = self._coordinates @ (potentials(parameters).T / -self._smoothing)
            scores += self._scores
            largest = scores.max(axis=1, keepdims=True)
            scores -= largest
            np.exp(scores, out=scores)
            sums = scores.sum(axis=1, keepdims=True)
            value = -self._smoothing * (self._weights @ (largest + np.log(sums))[:, 0])
            scores *= self._weights[:, None] / sums
            # How far the law of each coordinate below a node is from its share: 0 under independence.
            below = np.cumsum(scores.T @ self._coordinates, axis=0)[:-1]
            value -= cost * float((parameters**2).sum())
            gradient = below * scale - 2.0 * cost * parameters
            return -value / self._explained, -gradient.ravel() / self._explained

        start = np.zeros(shape) if start is None else start
        found = minimize(
            negative_dual,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-6},
        )
        parameters = found.x.reshape(shape)
        solved = Potentials(self.grid, potentials(parameters) @ self._root.T, self._loss)
        return solved, parameters


def _nodes(eta, weights, n_nodes):
    """Nodes from the smallest to the largest estimate."""
    low, high = eta.min(), eta.max()
    if not high > low:
        return np.array([low])
    levels = np.linspace(0.0, 1.0, n_nodes // 2)
    quantiles = np.quantile(eta, levels, weights=weights, method="inverted_cdf")
    nodes = np.unique(np.concatenate([[low, high], quantiles, np.linspace(low, high, n_nodes - n_nodes // 2)]))
    # Nodes that are as good as the same would make for slopes of rounding.
    apart = np.concatenate([[True], np.diff(nodes) > 1e-6 * (high - low)])
    apart[-1] = True
    return nodes[apart]
