"""Linear models with a dependence penalty."""

from fairdcov.linear_model._estimators import (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)
from fairdcov.linear_model._frequency_severity import FrequencySeverityRegressor

__all__ = [
    "DCovGammaRegressor",
    "DCovLogisticRegression",
    "DCovNegativeBinomialRegressor",
    "DCovPoissonRegressor",
    "DCovRidge",
    "DCovTweedieRegressor",
    "FrequencySeverityRegressor",
]
