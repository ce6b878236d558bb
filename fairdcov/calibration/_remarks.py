"""What a calibration warns of once it has measured: grids that end, folds that disagree, choices that cost all."""

import numpy as np

from fairdcov._checks import warn_user
from fairdcov.exceptions import CalibrationWarning, SensitiveFeaturesWarning, StrengthWarning

__all__ = ["warn_of_choice", "warn_of_end", "warn_of_folds", "warn_of_limit"]

# A chosen model that keeps less than this share of what the unpenalised one explains is worth a warning.
_LEAST_KEPT = 0.2
# Folds that a warning names; of repeated folds there can be hundreds.
_MOST_FOLDS_NAMED = 5


def warn_of_end(strengths, end):
    """Warn of strengths that are left out, since the models of all folds go by a smaller one."""
    left_out = ", ".join(f"{strength:g}" for strength in strengths[end + 1 :])
    warn_user(
        f"the grid of strengths ends at {strengths[end]:g}: from there on the models of all folds go by a "
        "smaller strength (effective_strength_), since a larger one would outweigh all that they explain. "
        f"Left out: {left_out}",
        StrengthWarning,
    )


def warn_of_limit(results, max_divergence):
    """Warn of a limit that independent predictions would not meet."""
    if max_divergence < results["null_mean"].min():
        warn_user(
            f"max_divergence={max_divergence:g} is below the mean divergence under permuted groups, "
            f"{results['null_mean'].min():.4g}: independent predictions would not meet it; use rule='null_level', "
            "coarser groups or more rows",
            SensitiveFeaturesWarning,
        )


def warn_of_folds(results, n_seeds):
    """Warn of folds where the unpenalised model is worse than a constant, although it explains something in all."""
    scores, constants = results["fold_score"][0], results["fold_constant_score"]
    # Scores of a constant that are not known (NaN) are no measure of anything.
    worse = np.flatnonzero(scores < constants)
    if len(worse) == 0 or not results["mean_explained"][0] > 0:
        return
    # A fold has a score for each seed of the learner.
    named = [
        f"fold {k // n_seeds}{f' seed {k % n_seeds}' if n_seeds > 1 else ''} ({scores[k]:.4g}, "
        f"{constants[k]:.4g} for a constant)"
        for k in worse[:_MOST_FOLDS_NAMED]
    ]
    if len(worse) > len(named):
        named.append(f"{len(worse) - len(named)} more")
    warn_user(
        f"the folds disagree: without penalty the score is below that of a constant prediction in {len(worse)} of "
        f"{len(scores)}, {', '.join(named)}; mean score {results['mean_score'][0]:.4g}, standard error "
        f"{results['std_error_score'][0]:.2g}. Look for levels of factors without claims in the rows that such a "
        "fold is fitted to, which a GLM with log link prices next to 0: merge them with others, or raise alpha",
        CalibrationWarning,
    )


def warn_of_choice(results, best, *, larger_may_help):
    """Warn of a choice that explains little or nothing, or that the end of the grid has made."""
    strength, score, constant = results["strengths"][best], results["mean_score"], results["fold_constant_score"]
    explained, kept = results["mean_explained"], results["kept"][best]
    said = f"mean score {score[best]:.4g} on the rows held out, {constant.mean():.4g} for a constant prediction"
    if not np.isfinite(score[best]):
        _warn(f"the chosen strength, {strength:g}, has no finite score in some fold: what it keeps is not known")
    elif explained[0] <= 0:
        _warn(
            f"the model without penalty explains nothing: its score is {score[0]:.4g} on the rows held out, "
            f"{constant.mean():.4g} for a constant prediction. There is nothing that a penalty could keep"
        )
    elif explained[best] <= 0:
        _warn(
            f"the model with the chosen strength, {strength:g}, explains nothing: {said}. Smaller strengths keep "
            "more, see their table"
        )
    elif kept < _LEAST_KEPT:
        _warn(
            f"the chosen strength, {strength:g}, keeps {kept:.0%} of what the model without penalty explains: "
            f"{said}, {score[0]:.4g} at strength 0. Smaller strengths keep more, see their table"
        )
    # A rule that is not met has said already that larger strengths may be needed; models that go by no larger one
    # have no use for them.
    if larger_may_help and 0 < best == len(score) - 1:
        _warn(
            f"the chosen strength, {strength:g}, is the largest that was tried: a larger one may suit the rule as "
            "well or better, try some"
        )


def _warn(message):
    warn_user(message, CalibrationWarning)
