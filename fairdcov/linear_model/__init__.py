"""Linear models with a dependence penalty."""

from fairdcov._fitting import Sums, hold_part, read_features, read_part
from fairdcov.linear_model._block_problem import BlockProblem, RowParts, fit_parts
from fairdcov.linear_model._blocks import ArrayBlocks, BlockParts, ParquetBlocks
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
    "ArrayBlocks",
    "DCovGammaRegressor",
    "DCovLogisticRegression",
    "DCovNegativeBinomialRegressor",
    "DCovPoissonRegressor",
    "DCovRidge",
    "DCovTweedieRegressor",
    "FrequencySeverityRegressor",
    "ParquetBlocks",
]
