"""No penalised fit ends worse than a constant model: the strength that a fit can go by, in one place for all learners.

A scale-free penalty is also small for predictions that are constant but for a few outliers. At huge strengths such
differences outweigh the loss, and the optimum of the objective is a model that no one would use.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from fairdcov._checks import warn_user
from fairdcov.encoding import DEFAULT_GROUPS, Attributes
from fairdcov.exceptions import StrengthWarning

__all__ = [
    "BesideChance",
    "OfNewRows",
    "StrengthGuard",
    "beside_chance",
    "largest_sensible_strength",
    "looks_independent",
    "measures_of",
    "observed_groups",
    "of_new_rows",
    "warn_of_dependence",
    "warn_of_level",
    "warn_of_new_rows",
    "warn_of_strength",
]

# Losses that differ by this share are equal: they were summed in another order.
_ROUNDING = 1e-9
# A strength at which the penalty of the start weighs so many times what the start explains of the loss: a tenth of that
# penalty is then worth as much as the whole model.
_MOST_WEIGHT = 10.0
# A total that is off by this factor is no matter of rounding, nor of a family that does not balance by itself.
_MOST_OFF_BALANCE = 2.0
# The largest of so many values under independence is their 95 % level.
_N_PERMUTATIONS = 19
# Bins of the predictions in which their distributions are compared between groups, before they are smoothed.
_BINS_PER_BANDWIDTH, _MOST_BINS = 3, 4096
# New rows are as many, beside those of the fit, as a quarter of all rows that is kept for a test.
_NEW_ROWS = 1 / 3
# Such rows are warned of when so large a share of them shows more than in 95 % of all cases under independence.
_WARNED_EXCEEDANCE = 0.25
# The search goes down by decades, at most so many, and ends when its bounds are this factor apart.
_MOST_DECADES = 10
_CLOSE = 1.5


def largest_sensible_strength(constant_loss, loss, penalty):
    """Strength at which the penalty weighs ten times what a model explains; infinite where it explains nothing.

    Parameters
    ----------
    constant_loss : float
        Mean loss of the best constant model.
    loss, penalty : float
        Mean loss and penalty of the unpenalised model.

    Returns
    -------
    float

    Examples
    --------
    >>> from fairdcov._fitting._guard import largest_sensible_strength
    >>> largest_sensible_strength(0.5, 0.25, 0.125)
    20.0
    """
    explained = constant_loss - loss
    return _MOST_WEIGHT * explained / penalty if explained > 0 and penalty > 0 else float("inf")


class StrengthGuard:
    """Solutions whose loss is not above a limit, at the strength asked for or at the largest one found below it.

    What one strength of a path has shown holds for the later ones.

    Parameters
    ----------
    highest_loss : float
        Mean loss of the constant model.
    slack : float, default=0.0
        What a loss may be above it beside rounding of the loss itself: learners in single precision miss a constant.
    """

    def __init__(self, highest_loss, slack=0.0):
        self.highest_loss = highest_loss
        self._slack = slack
        self._refused = float("inf")
        self._largest = None

    def admits(self, loss):
        """Whether a model of this mean loss is not worse than the constant one."""
        return loss <= self.highest_loss + _ROUNDING * abs(self.highest_loss) + self._slack

    def solve(self, strength, solve, *, first_guess):
        """The solution at a strength, or at a smaller one.

        Parameters
        ----------
        strength : float
            Strength that was asked for.
        solve : callable
            ``solve(strength)`` returns a solution with an attribute ``loss``; at 0 it has to be admissible.
        first_guess : callable
            ``first_guess()`` is a smaller strength to try first when the solution at ``strength`` is worse than a
            constant.

        Returns
        -------
        effective_strength : float
            ``strength``, or the largest smaller one that was found, to a factor of 1.5; 0 when there is none.
        solution : object
            What ``solve`` returned there.
        """
        if strength < self._refused:
            solution = solve(strength)
            if self.admits(solution.loss):
                return strength, solution
            self._refused = strength
            self._largest = self._search(strength, solve, first_guess())
        return self._largest

    def _search(self, refused, solve, guess):
        floor = refused / 10.0**_MOST_DECADES
        trial = guess if floor < guess < refused else refused / 10.0
        accepted, solution = 0.0, None
        while trial > floor:
            found = solve(trial)
            if self.admits(found.loss):
                accepted, solution = trial, found
                break
            refused, trial = trial, trial / 10.0
        if solution is None:
            return 0.0, solve(0.0)
        while refused > _CLOSE * accepted:
            trial = (refused * accepted) ** 0.5
            found = solve(trial)
            if self.admits(found.loss):
                accepted, solution = trial, found
            else:
                refused = trial
        return accepted, solution


def warn_of_strength(estimator, strength, effective_strength):
    """Warn when a fit goes by another strength than the one that was asked for."""
    if effective_strength < strength:
        warn_user(
            f"{type(estimator).__name__} was fitted with strength {effective_strength:.4g} (effective_strength_) "
            f"instead of strength={strength:g}: larger ones outweigh all that the model explains, for predictions that "
            "may end worse than a constant",
            StrengthWarning,
        )


def warn_of_level(estimator, raw_objective, raw, effective_strength):
    """Warn when a penalised model with a log link predicts twice, or half, the observed total of its training rows.

    A gamma loss hardly minds a few predictions that are far too high, and its equation of the intercept is not one of
    totals, so that a penalised fit may be better than a constant by its deviance and still be no tariff.

    ``raw()`` gives the raw predictions, which are not needed for other links.
    """
    # Without an intercept there is no level to lose.
    if effective_strength == 0 or raw_objective.loss.link != "log" or not getattr(estimator, "fit_intercept", True):
        return
    probabilities = raw_objective.probabilities
    predicted = float(probabilities @ raw_objective.loss.response(raw()))
    observed = float(probabilities @ raw_objective.y)
    if not observed / _MOST_OFF_BALANCE <= predicted <= observed * _MOST_OFF_BALANCE:
        warn_user(
            f"{type(estimator).__name__} with strength={effective_strength:g} predicts "
            f"{predicted / observed:.3g} times the observed total of its training rows: look at its largest "
            "predictions, take a smaller strength, and put the level right with fairdcov.actuarial.Rebalancer",
            StrengthWarning,
        )


def warn_of_dependence(estimator, raw_objective, raw, strength, remedy, *, rows="its training rows"):
    """Warn when a strength has not bought the independence that it asks for; the penalty that independence shows.

    A constant depends on nothing, beside an offset on no more than that. Where what is left of the penalty weighs more
    than all that a model explains, the constant has the lower objective, and the model is an answer only if no less
    dependence can be told from none: its penalty must not be above that of the same predictions against attributes in
    random order.

    Parameters
    ----------
    estimator : estimator
        Named in the warning.
    raw_objective : RawObjective
        Loss and penalty of the rows.
    raw : (n,) array
        Their raw predictions.
    strength : float
        Strength that was asked for.
    remedy : str
        What to do, for the warning.
    rows : str
        What the rows are called there.

    Returns
    -------
    float
        The 95 % level of the penalty under independence; NaN where the strength does not ask for it.
    """
    if strength == 0 or raw_objective.penalty is None:
        return float("nan")
    penalty = raw_objective.penalty_value(raw)
    explained = raw_objective.constant_loss() - raw_objective.mean_loss(raw)
    of_constant = 0.0
    if raw_objective.offset is not None:
        of_constant = raw_objective.penalty_value(raw_objective.constant_raw(raw_objective.constant()))
    if not strength * (penalty - of_constant) > max(explained, 0.0):
        return float("nan")
    level = _null_level(raw_objective.penalty, raw_objective.prediction(raw))
    if penalty > level:
        warn_user(
            f"{type(estimator).__name__} with strength={strength:g} leaves a penalty of {penalty:.3g} on {rows}, where "
            f"attributes that do not matter show at most {level:.3g} in 95 % of all cases: {remedy}",
            StrengthWarning,
        )
    return level


def looks_independent(raw_objective, raw):
    """Whether the penalty of raw predictions is within its 95 % level under independence.

    Of training rows it says little. A flexible model takes the chance in them for dependence, and removes it as well.
    """
    penalty, prediction = raw_objective.penalty, raw_objective.prediction(raw)
    return penalty.value(prediction) <= _null_level(penalty, prediction)


def observed_groups(penalty, data):
    """Protected attributes whose levels are groups to compare; None for strata, and for shares in several groups."""
    encoder = getattr(penalty, "encoder", None)
    if data.control_features is not None or getattr(encoder, "probabilities", None):
        return None
    return None if Attributes.read(data.sensitive_features).probabilities else data.sensitive_features


class BesideChance(NamedTuple):
    """Penalty and divergence of some rows, and what they are when predictions fall to these rows at random.

    The divergence is that of Jensen and Shannon between groups in bits, by smoothed histograms; NaN where rows have
    shares in several groups, or are compared within strata.

    Attributes
    ----------
    values : (2,) array
        Penalty and divergence.
    null : (19, 2) array
        Both with the predictions in random order.
    """

    values: np.ndarray
    null: np.ndarray


def measures_of(raw_objective, raw, sensitive_features=None, *, share=1.0):
    """Penalty and divergence of raw predictions, (2,), as :class:`BesideChance` has them.

    ``share`` is that of the rows in those of the fit; densities are as smooth as those of new rows.
    """
    value = raw_objective.penalty.value(raw_objective.prediction(raw))
    divergence = _smoothed_divergence(raw_objective, raw, sensitive_features, _NEW_ROWS / share)
    return np.array([value, divergence(np.arange(len(raw)))])


def beside_chance(raw_objective, raw, sensitive_features=None, *, share=1.0):
    """Dependence of raw predictions beside what attributes that do not matter show.

    Parameters
    ----------
    raw_objective : RawObjective
        Penalty and weights of the rows.
    raw : (n,) array
        Raw predictions.
    sensitive_features : DataFrame, Series or array, optional
        What the groups are made of.
    share : float, default=1.0
        As in :func:`measures_of`.

    Returns
    -------
    BesideChance
    """
    divergence = _smoothed_divergence(raw_objective, raw, sensitive_features, _NEW_ROWS / share)
    penalties = _null_values(raw_objective.penalty, raw_objective.prediction(raw))
    null = np.column_stack([penalties, [divergence(order) for order in _random_orders(len(raw))]])
    return BesideChance(measures_of(raw_objective, raw, sensitive_features, share=share), null)


class OfNewRows(NamedTuple):
    """What is to be expected of rows that a fit has not seen, a third as many as it was fitted on.

    Attributes
    ----------
    penalty, divergence : float
        As :class:`BesideChance` has them.
    penalty_level, divergence_level : float
        What they are at most in 95 % of all cases under independence.
    exceedance : float
        Share of such rows, drawn again and again, that show more than the level, 0.05 under independence; by the
        divergence, where it is known, or else by the penalty.
    """

    penalty: float
    divergence: float
    penalty_level: float
    divergence_level: float
    exceedance: float


def of_new_rows(whole, seen, unseen, share):
    """Dependence that a fit will show on new rows, by fits to parts of its rows.

    Let new rows show ``left + moved / n`` beyond chance: what trees have left of the dependence, and what a fit to n
    rows took for dependence and was chance in them, the square of which falls with their number. The rows of a fit show
    chance and what is left, less what was fitted to their chance, which falls with their number as well. So the rows
    that parts have seen, and all rows, tell what is left; those that parts have not seen, the rest.

    Parameters
    ----------
    whole : (2,) array
        :func:`measures_of` the rows of the fit.
    seen : list of (2,) arrays
        The same of the rows of each fit to a part.
    unseen : list of BesideChance
        Of the rows that each of them has left out.
    share : float
        Share of the rows that each of them has left out.

    Returns
    -------
    OfNewRows
    """
    means = np.mean([part.null.mean(axis=0) for part in unseen], axis=0)
    beyond = np.mean([part.values for part in unseen], axis=0) - means
    deviations = np.concatenate([part.null - part.null.mean(axis=0) for part in unseen])
    spread = np.quantile(deviations, 0.95, axis=0)
    # Chance goes with one over the number of rows, too; between the two fits it cancels.
    least = np.maximum(whole - share * means, 0.0)
    left = (whole - (1.0 - share) * np.mean(seen, axis=0)) / share
    left = np.clip(left, least, np.maximum(beyond, least))
    expected = np.maximum(left + (1.0 - share) * (beyond - left), least)
    scale = share / _NEW_ROWS
    # Rows of a test set scatter around what is expected of them as they do under independence.
    exceedance = (expected + scale * deviations > scale * spread).mean(axis=0)
    known = exceedance[int(np.isfinite(expected[1]))]
    return OfNewRows(*map(float, (*(scale * means + expected), *(scale * (means + spread)), known)))


def _smoothed_divergence(raw_objective, raw, sensitive_features, new_rows):
    """Function of the order of the predictions (n,): their divergence between groups, NaN without any.

    By densities with the bandwidth of ``new_rows`` times as many rows, about as ``fairdcov.metrics`` has them.
    """
    if sensitive_features is None:
        return lambda order: float("nan")
    attributes, weights = Attributes.read(sensitive_features), raw_objective.probabilities
    codes, labels, _ = attributes.groups(attributes.edges(DEFAULT_GROUPS, weights))
    predicted = raw_objective.response(raw)
    low, high = float(predicted.min()), float(predicted.max())
    quartiles = np.quantile(predicted, [0.25, 0.75], weights=weights, method="inverted_cdf")
    robust = float(quartiles[1] - quartiles[0]) / 1.349
    deviation = float(np.sqrt(weights @ (predicted - weights @ predicted) ** 2))
    spread = min(deviation, robust) if robust > 0 else deviation
    # Silverman's rule.
    bandwidth = 0.9 * spread * (new_rows / (weights @ weights)) ** -0.2
    if not (bandwidth > 0 and high > low):
        return lambda order: 0.0
    n_bins = int(min(_MOST_BINS, np.ceil(_BINS_PER_BANDWIDTH * (high - low) / bandwidth))) + 1
    bins = np.rint((predicted - low) * ((n_bins - 1) / (high - low))).astype(np.intp)
    sigma = bandwidth * (n_bins - 1) / (high - low)

    def divergence(order):
        table = np.bincount(codes * n_bins + bins[order], weights, len(labels) * n_bins).reshape(len(labels), n_bins)
        totals = table.sum(axis=1, keepdims=True)
        smooth = gaussian_filter1d(table, sigma, axis=1, mode="constant")
        smooth *= totals / smooth.sum(axis=1, keepdims=True)
        mixture = np.broadcast_to(totals * smooth.sum(axis=0), smooth.shape)
        held = smooth > 0
        return float(smooth[held] @ np.log2(smooth[held] / mixture[held]))

    return divergence


def warn_of_new_rows(estimator, strength, found, remedy):
    """Warn when the independence of the training rows may well not be that of rows that a fit has not seen.

    Parameters
    ----------
    estimator : estimator
        Named in the warning.
    strength : float
        Strength that was asked for.
    found : OfNewRows
        What they will show.
    remedy : str
        What to do, for the warning.
    """
    if not found.exceedance >= _WARNED_EXCEEDANCE:
        return
    expected = f"a penalty of {found.penalty:.3g} ({found.penalty_level:.3g})"
    if np.isfinite(found.divergence):
        expected = (
            f"a divergence between groups of {found.divergence:.3g} bits ({found.divergence_level:.3g}) and {expected}"
        )
    warn_user(
        f"{type(estimator).__name__} with strength={strength:g} shows no more dependence on its training rows than "
        "chance would, which need not carry over to new ones. By two fits to part of the rows, "
        f"{found.exceedance:.0%} of all sets of a third as many new rows will show more than attributes that do not "
        f"matter, of which 5 % do: to be expected are {expected}, in brackets the level of these. {remedy}",
        StrengthWarning,
    )


def _random_orders(n_rows):
    """Nineteen orders of rows, always the same."""
    rng = np.random.default_rng(0)
    for _ in range(_N_PERMUTATIONS):
        yield rng.permutation(n_rows)


def _null_level(penalty, prediction):
    """95 % level of a bound penalty when predictions fall to the rows at random."""
    return float(max(_null_values(penalty, prediction)))


def _null_values(penalty, prediction):
    """Values of a bound penalty when predictions fall to the rows at random."""
    multiplier = getattr(penalty, "multiplier", None)
    compared = prediction if multiplier is None else prediction * multiplier
    values = []
    for order in _random_orders(len(compared)):
        permuted = compared[order]
        values.append(penalty.value(permuted if multiplier is None else permuted / multiplier))
    return values
