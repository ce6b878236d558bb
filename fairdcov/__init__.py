"""Fairness-regularised regression for scikit-learn.

Estimators whose predictions do not depend on several protected attributes jointly, by an exact distance-covariance
penalty on the whole sample. See the documentation's theory page for the mathematics.
"""

from importlib.metadata import PackageNotFoundError, version

from fairdcov._checks import show_versions
from fairdcov.boosting import DCovLGBMClassifier, DCovLGBMRegressor, DCovXGBRegressor
from fairdcov.calibration import JSDivergenceCalibrator
from fairdcov.dependence import (
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov.encoding import SensitiveEncoder, with_probabilities
from fairdcov.inference import equivalence_test, frontier_gap, independence_test
from fairdcov.linear_model import (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    FrequencySeverityRegressor,
)
from fairdcov.penalties import CCDCovPenalty, DCovPenalty, JDCovPenalty
from fairdcov.reference_prices import (
    DiscriminationFreeRegressor,
    FairBarycentreRegressor,
    StagedFairRegressor,
    UnawareFairRegressor,
    UnawareFeatures,
)
from fairdcov.report import AuditReport, audit

try:
    __version__ = version("fairdcov")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "AuditReport",
    "CCDCovPenalty",
    "DCovGammaRegressor",
    "DCovLGBMClassifier",
    "DCovLGBMRegressor",
    "DCovLogisticRegression",
    "DCovNegativeBinomialRegressor",
    "DCovPenalty",
    "DCovPoissonRegressor",
    "DCovRidge",
    "DCovTweedieRegressor",
    "DCovXGBRegressor",
    "DiscriminationFreeRegressor",
    "FairBarycentreRegressor",
    "FrequencySeverityRegressor",
    "JDCovPenalty",
    "JSDivergenceCalibrator",
    "SensitiveEncoder",
    "StagedFairRegressor",
    "UnawareFairRegressor",
    "UnawareFeatures",
    "__version__",
    "audit",
    "concatenated_distance_covariance",
    "distance_covariance",
    "equivalence_test",
    "frontier_gap",
    "independence_test",
    "joint_distance_covariance",
    "show_versions",
    "with_probabilities",
]
