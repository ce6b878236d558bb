"""Types of what users pass and get, for the annotations of the public interface.

Estimators and scorers are whatever has the methods that scikit-learn's have, which has no types of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Bins",
    "Estimator",
    "FloatArray",
    "GroupWeights",
    "Interval",
    "MetricFunction",
    "Options",
    "PenaltyLike",
    "RandomState",
    "Table",
]

FloatArray: TypeAlias = NDArray[np.float64]
# Anything with rows: arrays, lists, data frames of pandas and polars, and for features sparse matrices.
Table: TypeAlias = ArrayLike | pd.DataFrame | pd.Series | sp.sparray | sp.spmatrix
# A number of groups, or those of each column by its name: a number, or edges.
Bins: TypeAlias = int | Mapping[Any, Any]
GroupWeights: TypeAlias = Literal["proportion", "equal"]
Interval: TypeAlias = Literal["auto", "poisson", "normal"]
RandomState: TypeAlias = int | np.random.Generator | np.random.RandomState
Estimator: TypeAlias = Any
MetricFunction: TypeAlias = Callable[..., Any]
# What is passed on to matplotlib.
Options: TypeAlias = dict[str, Any]


class _Binds(Protocol):
    @property
    def bind(self) -> Callable[..., Any]: ...


PenaltyLike: TypeAlias = Literal["ccdcov", "jdcov", "dcov"] | _Binds
