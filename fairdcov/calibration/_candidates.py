"""All models that were tried, as a table: of a calibration, and of scikit-learn's searches."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import Estimator, last_step
from fairdcov.calibration._parameters import name_of_rule

__all__ = ["calibration_candidates", "search_candidates"]


def _name_of(estimator):
    """Name of the class that learns: of the last step of a Pipeline."""
    return type(last_step(estimator)).__name__


def calibration_candidates(calibrator):
    """Table of a fitted calibrator, a row for each strength; see its ``candidates_``."""
    results = calibrator.calibration_results_
    n = len(results["strengths"])
    return pd.DataFrame(
        {
            "estimator": [_name_of(calibrator.estimator)] * n,
            "strength": results["strengths"],
            "rule": [name_of_rule(calibrator.rule)] * n,
            "score": results["mean_score"],
            "score_std_error": results["std_error_score"],
            "kept": results["kept"],
            "gini_kept": results["gini_kept"],
            "premium_that_changes": results["premium_that_changes"],
            "divergence": results["mean_divergence"],
            "divergence_std_error": results["std_error_divergence"],
            "net_divergence": results["mean_net_divergence"],
            "null_level": results["null_level"],
            "seconds": results["mean_fit_seconds"],
            "chosen": np.arange(n) == calibrator.best_index_,
        }
    )


def search_candidates(search: Estimator) -> pd.DataFrame:
    """All models that a search has tried: what they are, how they score, what they took, and which was chosen.

    The record of the search for less discriminatory alternatives, made by the search itself. A calibrator has its own
    in ``candidates_``.

    Parameters
    ----------
    search : fitted GridSearchCV, RandomizedSearchCV or the like
        With ``cv_results_``; over estimators of any kind, with one scorer or several.

    Returns
    -------
    pandas.DataFrame
        In the order of ``cv_results_``: ``estimator``, the class; each parameter of the search under its name, a
        strength of a step as ``strength``; ``rule``, the ``refit`` of a search with several scorers; for each scorer
        its mean over the folds, larger is better, under its name (``score`` for a single one) and
        ``..._std_error``; ``seconds`` of a fit; and ``chosen``, False for all where the search chooses none.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        For a search that has not been fitted.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from fairdcov import DCovPoissonRegressor
    >>> from fairdcov.calibration import search_candidates
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(1_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> search = GridSearchCV(DCovPoissonRegressor(strength=0), {"alpha": [0.01, 1.0]}, cv=2).fit(X, book.target)
    >>> search_candidates(search)[["estimator", "alpha", "chosen"]]
                  estimator  alpha  chosen
    0  DCovPoissonRegressor   0.01   False
    1  DCovPoissonRegressor   1.00    True
    """
    check_is_fitted(search, "cv_results_")
    results = search.cv_results_
    n = len(results["params"])
    table = {"estimator": [_name_of(search.estimator)] * n}
    for name in sorted({name for params in results["params"] for name in params}):
        short = name.rpartition("__")[2]
        values = [params.get(name) for params in results["params"]]
        # Two steps may each have a strength.
        table["strength" if short == "strength" and "strength" not in table else name] = values
    refit = getattr(search, "refit", None)
    table["rule"] = [refit if isinstance(refit, str) else repr(refit) if callable(refit) else None] * n
    for suffix in _test_suffixes(results):
        name = suffix.removeprefix("_test_")
        n_splits = sum(f"split{fold}{suffix}" in results for fold in range(len(results)))
        table[name] = results[f"mean{suffix}"]
        table[f"{name}_std_error"] = results[f"std{suffix}"] / np.sqrt(max(n_splits - 1, 1))
    table["seconds"] = results["mean_fit_time"]
    table["chosen"] = np.arange(n) == getattr(search, "best_index_", -1)
    return pd.DataFrame(table)


def _test_suffixes(results):
    """Ends of the keys of each scorer: ``_test_score``, or one for each name."""
    return [key.removeprefix("mean") for key in results if key.startswith("mean_test_")]
