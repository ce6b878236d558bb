"""Gradient boosting with a dependence penalty: LightGBM and XGBoost (extra ``boosting``).

An unpenalised booster first, then *penalised rounds*: trees grown on loss plus penalty of the whole sample, with a
curvature for the penalty, so that no strength makes them diverge. Importing this package loads neither learner.
"""

from fairdcov.boosting._grower import Grower
from fairdcov.boosting._lightgbm import DCovLGBMClassifier, DCovLGBMRegressor
from fairdcov.boosting._problem import BoostedRegressor
from fairdcov.boosting._xgboost import DCovXGBRegressor

__all__ = ["DCovLGBMClassifier", "DCovLGBMRegressor", "DCovXGBRegressor"]
