"""Rules: from the results of a calibration and the options of the rule to the index of the chosen strength."""

import numbers

import numpy as np

from fairdcov._checks import warn_user
from fairdcov.exceptions import CalibrationError, CalibrationWarning, SensitiveFeaturesWarning

__all__ = ["RULES", "apply_rule", "choose"]


def _first_at_most(results, limit, what):
    """Smallest strength whose mean divergence is at most the limit (one for each strength)."""
    divergence = results["mean_divergence"]
    met = np.flatnonzero(divergence <= limit)
    if len(met):
        return int(met[0])
    best = int(np.argmin(divergence))
    raise CalibrationError(
        f"no strength brings the mean divergence down to {what}: the lowest reached is {divergence[best]:.4g} "
        f"(standard error {results['std_error_divergence'][best]:.2g}) at strength {results['strengths'][best]:g}. "
        "Allow more, or try larger strengths",
        results,
        best,
    )


def null_level(results):
    """Smallest strength whose mean divergence is at most its null level."""
    return _first_at_most(results, results["null_level"], "its null level (the one under permuted groups)")


def threshold(results, *, max_divergence):
    """Smallest strength whose mean divergence is at most ``max_divergence``."""
    return _first_at_most(results, max_divergence, f"max_divergence={max_divergence:g}")


def elbow(results):
    """Farthest from the chord between the ends of the curve of score against divergence, both scaled to [0, 1].

    The plane has no axis of strengths, so it does not matter whether they are spaced evenly or by factors. The curve
    ends where nothing is explained any more: a model worse than a constant is no part of a trade-off, and beside its
    loss every other one would look cheap.
    """
    divergence, score = results["mean_divergence"], _finite_scores(results, "elbow")
    explaining = _explaining(results)
    last = int(np.argmin(np.where(explaining, divergence, np.inf)))
    if last == 0:
        raise CalibrationError(
            "rule='elbow' needs a strength that lowers the divergence"
            + ("" if explaining.all() else " of a model that still explains something")
            + f": the lowest is at strength {results['strengths'][0]:g} ({divergence[0]:.4g})",
            results,
            0,
        )
    gain = (divergence[0] - divergence[: last + 1]) / (divergence[0] - divergence[last])
    loss = score[0] - score[: last + 1]
    cost = loss / loss[last] if loss[last] > 0 else np.zeros(last + 1)
    return int(np.argmax(np.where(explaining[: last + 1], gain - cost, -np.inf)))


def _explaining(results):
    """Which strengths leave something explained; all where that is not known or the first one explains nothing."""
    explained = np.asarray(results.get("mean_explained", np.full(len(results["strengths"]), np.nan)))
    if not np.isfinite(explained).all() or explained[0] <= 0:
        return np.ones(len(explained), dtype=bool)
    return explained > 0


def score_budget(results, *, budget):
    """Lowest divergence among the strengths whose score is within the budget, a share, of the first one's."""
    score = _finite_scores(results, "score_budget")
    allowed = np.flatnonzero(score >= score[0] - budget * abs(score[0]))
    return int(allowed[np.argmin(results["mean_divergence"][allowed])])


def _finite_scores(results, rule):
    score = results["mean_score"]
    if not np.isfinite(score).all():
        position = int(np.flatnonzero(~np.isfinite(score))[0])
        raise ValueError(
            f"rule={rule!r} compares scores, and some fold has none that is finite at strength "
            f"{results['strengths'][position]:g}: check the scorer"
        )
    return score


# Each with the options that it takes.
RULES = {"null_level": null_level, "threshold": threshold, "elbow": elbow, "score_budget": score_budget}


def apply_rule(rule, results, **options):
    """Index of the strength that a rule by name, or a function of the results, chooses; errors for what is no index."""
    if not np.isfinite(results["mean_divergence"]).all():
        raise ValueError("some fold has a divergence that is not finite: check the estimator's predictions")
    if not callable(rule):
        return RULES[rule](results, **options)
    index = rule(results)
    n_strengths = len(results["strengths"])
    if isinstance(index, bool) or not isinstance(index, numbers.Integral) or not 0 <= index < n_strengths:
        raise ValueError(f"the rule must return an index into the {n_strengths} strengths; found {index!r}")
    return int(index)


def choose(rule, results, if_unmet, **options):
    """Index of the strength that a rule chooses, and whether the rule is met; raises or warns where it is not."""
    try:
        best = apply_rule(rule, results, **options)
    except CalibrationError as error:
        if if_unmet == "raise":
            error.add_note("what was measured is kept in calibration_results of this error")
            raise
        warn_user(str(error), SensitiveFeaturesWarning)
        return error.best_index, False
    if rule == "elbow" and best == 0:
        warn_user(
            "rule='elbow' chooses strength 0, no penalty: no strength is above the chord between it and the lowest "
            "divergence, so that there is no elbow. Try strengths in between, or another rule",
            CalibrationWarning,
        )
    return best, True
