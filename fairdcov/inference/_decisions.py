"""Decisions about several gaps at once: two one-sided tests of each, adjusted for their number."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from fairdcov.inference._gaps import correlations

__all__ = ["Bent", "Decided", "decide", "holm", "joint_tail"]

# t-statistics beyond this are shifted, and not bent any further.
_STRAIGHT = 3.0
# Draws of the largest of several correlated estimates.
_DRAWS = 20_000


@dataclass(frozen=True, eq=False)
class Decided:
    """For each gap its p-values, adjusted, the ends of its interval, and the half width of that of its decision."""

    p_within: np.ndarray
    p_outside: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    decisive: np.ndarray
    n_compared: int


@dataclass(frozen=True, eq=False)
class Bent:
    """Distributions of t-statistics: ``t + bend t^2 + skewness / 6``, straight on beyond 3, is Student's."""

    degrees: np.ndarray
    skewness: np.ndarray
    bend: np.ndarray

    def straightened(self, scores):
        """Scores of Student's distribution."""
        return scores + self.bend * np.minimum(scores**2, _STRAIGHT**2) + self.skewness / 6

    def scores(self, straight):
        """The inverse of :meth:`straightened`."""
        straight = straight - self.skewness / 6
        root = np.sqrt(np.maximum(1 + 4 * self.bend * straight, 0.0))
        bent = 2 * straight / (1 + root)
        return np.where(np.abs(bent) <= _STRAIGHT, bent, straight - self.bend * _STRAIGHT**2)


def decide(families, parts, judged, options, n_samples, random_state):
    """What is decided of the gaps of all families.

    ``parts`` have the gaps of the families and the influence of the rows on them; ``judged`` says which are decided.
    """
    gaps = [part.gaps for part in parts]
    lower, upper = (
        [np.concatenate([getattr(gap, side + name) for gap in gaps]) for name in ("estimates", "errors")]
        for side in ("", "upper_")
    )
    # The two gaps of two groups are one with the sign changed.
    firsts, position = judged.copy(), 0
    for family in families:
        if len(family.labels) == 2 and firsts[position : position + 2].all():
            firsts[position + 1] = False
        position += len(family.labels)
    n_compared = int(firsts.sum())
    bent = Bent(*(np.concatenate([getattr(gap, name) for gap in gaps]) for name in ("degrees", "skewness", "bend")))
    p_within, p_outside = p_values(lower, upper, bent, options.bound)
    tail = options.alpha
    if options.adjust == "holm":
        decisive_tail = tail / max(n_compared, 1)
        p_within, p_outside = holm(p_within, judged, firsts), holm(p_outside, judged, firsts)
    elif options.adjust == "max_t":
        tail = decisive_tail = joint_tail(correlations(parts, firsts, n_samples), options.alpha, random_state)
        # Comparing them with alpha is what comparing the band with the tolerance is.
        p_within, p_outside = (np.minimum(1.0, p * (options.alpha / tail)) for p in (p_within, p_outside))
    else:
        decisive_tail = tail
    return Decided(
        p_within,
        p_outside,
        lower[0] - bent.scores(student.isf(tail, bent.degrees)) * lower[1],
        upper[0] - bent.scores(student.ppf(tail, bent.degrees)) * upper[1],
        student.isf(decisive_tail, bent.degrees) * np.where(np.abs(lower[0]) < options.bound, upper[1], lower[1]),
        n_compared,
    )


def p_values(lower, upper, bent, bound):
    """Of two one-sided tests: that the gap is not within the bounds, and that it is not outside.

    ``upper`` are the estimates and errors that show gaps to be small, ``lower`` those that show them to be large.
    """

    def tail(side, end, function):
        estimates, errors = side
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = bent.straightened((estimates - end) / errors)
        # Without an error, an estimate at the end is neither above nor below.
        return np.where(np.isnan(scores), 1.0, function(scores, bent.degrees))

    p_within = np.maximum(tail(upper, -bound, student.sf), tail(upper, bound, student.cdf))
    p_outside = np.minimum(tail(lower, -bound, student.cdf), tail(lower, bound, student.sf))
    return p_within, p_outside


def holm(p_values, judged, firsts):
    """Adjusted p-values by Holm's method; what is not first has that of the gap before it."""
    found = np.ones(len(p_values))
    positions = np.flatnonzero(firsts)
    order = positions[np.argsort(p_values[positions], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    found[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    for k in np.flatnonzero(judged & ~firsts):
        found[k] = found[k - 1]
    return found


def joint_tail(correlation, alpha, random_state):
    """Tail probability of one estimate at which all stay inside their bounds with probability 1 - alpha."""
    n_compared = len(correlation)
    if n_compared < 2:
        return alpha
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    largest = np.empty(_DRAWS)
    step = max(1, 2**22 // n_compared)
    for start in range(0, _DRAWS, step):
        draws = random_state.standard_normal((min(step, _DRAWS - start), n_compared))
        largest[start : start + len(draws)] = np.abs(draws @ root.T).max(axis=1)
    return float(max(norm.sf(np.quantile(largest, 1 - alpha)), alpha / n_compared))
