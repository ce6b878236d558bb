"""Dask: metrics, samples and estimators on collections whose rows do not fit one process (extra ``distributed``).

What is global is a sum: each partition makes its part, and the parts are added in a fixed order. Importing this package
loads neither Dask nor XGBoost.
"""

from fairdcov.distributed._linear import DaskDCovRegressor
from fairdcov.distributed._metrics import (
    ccdcov,
    compress,
    dcov,
    demographic_parity_gap,
    group_summary,
    jdcov,
    js_divergence,
    wasserstein_disparity,
)
from fairdcov.distributed._sample import on_sample
from fairdcov.distributed._xgboost import DaskDCovXGBRegressor

__all__ = [
    "DaskDCovRegressor",
    "DaskDCovXGBRegressor",
    "ccdcov",
    "compress",
    "dcov",
    "demographic_parity_gap",
    "group_summary",
    "jdcov",
    "js_divergence",
    "on_sample",
    "wasserstein_disparity",
]
