"""Linear models with a dependence penalty."""

from fairdcov.linear_model._estimators import (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)

__all__ = [
    "DCovGammaRegressor",
    "DCovLogisticRegression",
    "DCovPoissonRegressor",
    "DCovRidge",
    "DCovTweedieRegressor",
]
