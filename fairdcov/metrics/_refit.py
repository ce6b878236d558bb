"""Rules that pick the model of a multi-metric search: values of its ``refit`` parameter."""

from __future__ import annotations

import re
import warnings
from typing import Literal

import numpy as np

from fairdcov._checks import check_choice, check_positive_number, renamed_class
from fairdcov.encoding import SensitiveFeaturesWarning

__all__ = ["best_score_below", "fairest_within", "lowest_divergence_within"]


def _means(cv_results, name, parameter):
    key = f"mean_test_{name}"
    if key not in cv_results:
        known = sorted(found[len("mean_test_") :] for found in cv_results if found.startswith("mean_test_"))
        raise ValueError(
            f"{parameter}={name!r} is not a key of the search's scoring; found {known}. Pass scoring={{{name!r}: ...}} "
            f"to the search, or {parameter}= one of these"
        )
    return np.asarray(cv_results[key], dtype=np.float64)


def _finite(score, fairness, names):
    finite = np.isfinite(score) & np.isfinite(fairness)
    if not finite.any():
        raise ValueError(
            f"no candidate has finite values of both {names[0]!r} and {names[1]!r}: look at the warnings of the "
            "search, or run it with error_score='raise'"
        )
    return finite


def _first_of_best(candidates, *keys):
    """The candidate with the largest first key, then second key, then the lowest index."""
    order = np.lexsort([candidates] + [-key[candidates] for key in reversed(keys)])
    return int(candidates[order[0]])


class _RefitRule:
    """What the rules share. They are never changed after construction, so a clone is the rule itself."""

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def __sklearn_clone__(self):
        return self


class lowest_divergence_within(_RefitRule):
    """Pick the lowest divergence among candidates of nearly the best score: a ``refit`` for multi-metric searches.

    Parameters
    ----------
    score_tolerance : float or "standard_error", default=0.01
        How much score may be given up: a share of the best mean score (0.01 is one per cent of its absolute value), or
        one standard error of the best candidate's score over the folds.
    score : str, default="score"
        Key of the score in the search's ``scoring``; larger is better, as for every scorer.
    divergence : str, default="divergence"
        Key of the fairness scorer in ``scoring``, a negated disparity such as ``neg_js_divergence_scorer``.

    Notes
    -----
    Called with ``cv_results_``, returns ``best_index_``. Of candidates of the same divergence the one with the better
    score is taken. Candidates with NaN do not take part. scikit-learn sets no ``best_score_`` with such a rule.

    Examples
    --------
    >>> from fairdcov.metrics import lowest_divergence_within
    >>> rule = lowest_divergence_within(score_tolerance=0.05)
    >>> rule({"mean_test_score": [-1.0, -1.02, -1.2], "mean_test_divergence": [-0.3, -0.1, 0.0]})
    1
    """

    def __init__(
        self,
        score_tolerance: float | Literal["standard_error"] = 0.01,
        *,
        score: str = "score",
        divergence: str = "divergence",
    ) -> None:
        if isinstance(score_tolerance, str):
            check_choice(score_tolerance, "score_tolerance", ("standard_error",))
        else:
            check_positive_number(score_tolerance, "score_tolerance", allow_zero=True)
        self.score_tolerance = score_tolerance
        self.score = score
        self.divergence = divergence

    def __call__(self, cv_results):
        """Index of the chosen candidate.

        Parameters
        ----------
        cv_results : dict of arrays
            ``cv_results_`` of a search.

        Returns
        -------
        int
        """
        score = _means(cv_results, self.score, "score")
        fairness = _means(cv_results, self.divergence, "divergence")
        finite = _finite(score, fairness, (self.score, self.divergence))
        best = int(np.flatnonzero(finite)[np.argmax(score[finite])])
        allowed = self._allowed(cv_results, score, best)
        close = np.flatnonzero(finite & (score >= score[best] - allowed))
        return _first_of_best(close, fairness, score)

    def _allowed(self, cv_results, score, best):
        if self.score_tolerance != "standard_error":
            return self.score_tolerance * abs(score[best])
        pattern = re.compile(rf"split\d+_test_{re.escape(self.score)}")
        n_splits = sum(1 for key in cv_results if pattern.fullmatch(key))
        if n_splits < 2:
            raise ValueError("score_tolerance='standard_error' needs at least two folds")
        # std_test_ has no degrees of freedom taken off; the standard error of a mean has one.
        return float(np.asarray(cv_results[f"std_test_{self.score}"])[best]) / np.sqrt(n_splits - 1)


fairest_within = renamed_class("fairest_within", lowest_divergence_within)


class best_score_below(_RefitRule):
    """Pick the best score among the candidates that meet a fairness limit: a ``refit`` for multi-metric searches.

    Parameters
    ----------
    max_divergence : float
        Largest mean disparity over the folds that is allowed, as a positive number.
    score : str, default="score"
        Key of the score in the search's ``scoring``; larger is better, as for every scorer.
    divergence : str, default="divergence"
        Key of the fairness scorer in ``scoring``, a negated disparity such as ``neg_js_divergence_scorer``.
    if_unmet : {"raise", "warn"}, default="raise"
        When no candidate meets the limit: a ValueError, or a SensitiveFeaturesWarning and the candidate of the lowest
        divergence. Both say the lowest value reached. With ``"raise"`` the search is lost, so a long one may prefer the
        warning.

    Examples
    --------
    >>> from fairdcov.metrics import best_score_below
    >>> rule = best_score_below(max_divergence=0.2)
    >>> rule({"mean_test_score": [-1.0, -1.02, -1.2], "mean_test_divergence": [-0.3, -0.1, 0.0]})
    1
    """

    def __init__(
        self,
        max_divergence: float,
        *,
        score: str = "score",
        divergence: str = "divergence",
        if_unmet: Literal["raise", "warn"] = "raise",
    ) -> None:
        check_positive_number(max_divergence, "max_divergence", allow_zero=True)
        check_choice(if_unmet, "if_unmet", ("raise", "warn"))
        self.max_divergence = max_divergence
        self.score = score
        self.divergence = divergence
        self.if_unmet = if_unmet

    def __call__(self, cv_results):
        """Index of the chosen candidate.

        Parameters
        ----------
        cv_results : dict of arrays
            ``cv_results_`` of a search.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            When no candidate meets the limit.
        """
        score = _means(cv_results, self.score, "score")
        fairness = _means(cv_results, self.divergence, "divergence")
        finite = _finite(score, fairness, (self.score, self.divergence))
        met = np.flatnonzero(finite & (-fairness <= self.max_divergence))
        if len(met):
            return _first_of_best(met, score, fairness)
        lowest = _first_of_best(np.flatnonzero(finite), fairness, score)
        candidate = f", by {cv_results['params'][lowest]}" if "params" in cv_results else ""
        message = (
            f"no candidate has a mean {self.divergence!r} of at most {self.max_divergence:g}: the lowest reached is "
            f"{-fairness[lowest]:g}{candidate} (score {score[lowest]:g}). Search larger penalty strengths, or raise "
            "max_divergence if it is below what permuted groups give (fairdcov.metrics.null_distribution)"
        )
        if self.if_unmet == "raise":
            raise ValueError(message)
        warnings.warn(message, SensitiveFeaturesWarning, stacklevel=2)
        return lowest
