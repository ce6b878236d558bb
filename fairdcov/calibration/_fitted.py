"""What a fitted calibrator says of its choice, and the model that it has chosen."""

from __future__ import annotations

from typing import Any

import pandas as pd
import sklearn
from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import Table
from fairdcov._fitting import name_of_own_score
from fairdcov.calibration._candidates import calibration_candidates
from fairdcov.calibration._cost import cost_lines, cost_table
from fairdcov.calibration._frontier import gap_lines, gap_rows
from fairdcov.calibration._parameters import name_of_rule

__all__ = ["FittedCalibration"]


def _fitted_has(attribute):
    """Whether the estimator in charge has a method, for ``available_if``."""

    def check(self):
        getattr(self.best_estimator_ if hasattr(self, "best_estimator_") else self.estimator, attribute)
        return True

    return check


class FittedCalibration:
    """The part of a calibrator that begins after its fit."""

    # Of the calibrator and its fit.
    estimator: Any
    rule: Any
    scoring: Any
    best_estimator_: Any
    best_index_: int
    best_strength_: float
    calibration_results_: dict[str, Any]
    levels_: list[Any]
    scorer_: Any

    @property
    def candidates_(self) -> Any:
        """All models that were tried, made of ``calibration_results_`` when it is asked for."""
        check_is_fitted(self, "calibration_results_")
        return calibration_candidates(self)

    @property
    def cost_(self) -> Any:
        """What the chosen strength costs, made of ``calibration_results_`` when it is asked for."""
        check_is_fitted(self, "calibration_results_")
        table = cost_table(self.calibration_results_, self.levels_, self.best_index_, "score")
        if self._gap is None:
            return table
        return pd.concat([table, pd.DataFrame(gap_rows(self._gap), columns=table.columns)], ignore_index=True)

    @property
    def _gap(self):
        """Distance to the references; calibrators of earlier versions have none."""
        return getattr(self, "frontier_gap_", None)

    @property
    def score_name_(self) -> str:
        """Name of the score: what the estimator scores by, or the text given as ``scoring``."""
        if self.scoring is None:
            return name_of_own_score(self.estimator) or "score"
        return self.scoring if isinstance(self.scoring, str) else "score"

    def summary(self) -> str:
        """What was chosen, and what that costs on the rows held out, in words.

        Returns
        -------
        str
        """
        check_is_fitted(self, "calibration_results_")
        results, best = self.calibration_results_, self.best_index_
        first = (
            f"strength {self.best_strength_:g} by rule {name_of_rule(self.rule)}, of {len(results['strengths'])}: "
            f"divergence {results['mean_divergence'][0]:.4g} -> {results['mean_divergence'][best]:.4g} (null level "
            f"{results['null_level'][best]:.4g})"
        )
        lines = [first, *cost_lines(self.cost_, self.score_name_)]
        return "\n".join(lines if self._gap is None else [*lines, *gap_lines(self._gap)])

    # -- the model ---------------------------------------------------------------------------------------------------

    @available_if(_fitted_has("predict"))
    def predict(self, X, **params):
        """Prediction of the chosen model; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the model predicts with, such as ``offset``.

        Returns
        -------
        (n,) array
        """
        return self._predict("predict", X, params)

    @available_if(_fitted_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Class probabilities of the chosen model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the model predicts with, such as ``offset``.

        Returns
        -------
        (n, 2) array
        """
        return self._predict("predict_proba", X, params)

    @available_if(_fitted_has("decision_function"))
    def decision_function(self, X, **params):
        """Decision function of the chosen model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        **params
            Metadata that the model predicts with, such as ``offset``.

        Returns
        -------
        (n,) array
        """
        return self._predict("decision_function", X, params)

    def _predict(self, method, X, params):
        check_is_fitted(self, "best_estimator_")
        if params and sklearn.get_config()["enable_metadata_routing"]:
            params = process_routing(self, method, **params)["estimator"][method]
        return getattr(self.best_estimator_, method)(X, **params)

    def score(self, X: Table, y: ArrayLike, **params: Any) -> float:
        """Score of the chosen model by the scorer that was used to choose it.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        **params
            Metadata of the scorer, such as ``sample_weight``.

        Returns
        -------
        float
        """
        check_is_fitted(self, "best_estimator_")
        if sklearn.get_config()["enable_metadata_routing"]:
            params = process_routing(self, "score", **params).scorer.score if params else {}
        return self.scorer_(self.best_estimator_, X, y, **params)
